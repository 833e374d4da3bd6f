//! The judge must acquit what is right and find what is wrong: small records of both, written by hand.

use std::time::Duration;

use super::{Kind, Record, Verdict, judge};
use crate::{
    ids::{Cursor, Id},
    journal::{Clock, Journal, Key, Line, Publish, Reason, Seen},
    schedule::{Fault, Planned},
    system::Mode,
    traffic::topic,
};

/// One subscriber of `**`, and events of one publisher, of which the number is also the id and the time.
struct Story {
    record: Record,
}

fn id(number: u32) -> Id {
    Id::parse(&format!("{number}-0")).expect("an id")
}

/// All topics lie in the first partition here.
fn at(number: u32) -> Cursor {
    Cursor([id(number), Id::default(), Id::default()])
}

fn key(number: u32, name: &str) -> Key {
    Key { publisher: 0, number, topic: topic(name).expect("a topic") }
}

fn ms(number: u32) -> Duration {
    Duration::from_millis(number.into())
}

impl Story {
    /// Events 101 to 109 were published to a topic, and history has them all. The subscriber began at 100.
    fn of(name: &str) -> Self {
        let publish = |number: u32| Publish {
            key: key(number, name),
            sent: ms(number),
            acked: Some((ms(number), id(number))),
            attempts: 1,
            keyed: true,
        };
        let mut history = vec![Vec::new(); crate::traffic::TOPICS.len()];
        history[usize::from(key(0, name).topic)] = (101..110).map(|number| (id(number), key(number, name))).collect();
        let journal = Journal { subscriber: 0, selectors: vec!["**".to_owned()], lines: Vec::new() };
        let record = Record {
            mode: Mode::Single,
            clock: Clock::begun_at(Duration::ZERO),
            journals: vec![journal],
            publishes: (101..110).map(publish).collect(),
            histories: vec![history],
            faults: Vec::new(),
            complaints: Vec::new(),
            drained: Duration::ZERO,
        };
        Self { record }.connected(None, 100, false)
    }

    fn lossy(mut self) -> Self {
        self.record.mode = Mode::Sentinel;
        self
    }

    fn befalls(mut self, fault: Fault, from: u32, until: u32) -> Self {
        self.record.faults.push(Planned { at: ms(from), lasts: ms(until - from), fault });
        self
    }

    /// History has let go of these.
    fn gone(mut self, numbers: std::ops::Range<u32>) -> Self {
        for topic in &mut self.record.histories[0] {
            topic.retain(|(_, key)| !numbers.contains(&key.number));
        }
        self
    }

    fn sees(mut self, seen: Seen) -> Self {
        self.record.journals[0].lines.push(Line { at: ms(1000), seen });
        self
    }

    fn connected(self, asked: Option<u32>, cursor: u32, resumed: bool) -> Self {
        self.sees(Seen::Connected { node: 0, asked: asked.map(at), cursor: at(cursor), resumed })
    }

    fn events(mut self, name: &str, numbers: std::ops::Range<u32>) -> Self {
        for number in numbers {
            self = self.sees(Seen::Event { key: key(number, name), cursor: at(number) });
        }
        self
    }

    fn gap(self, reason: Reason, names: &[&str], cursor: u32) -> Self {
        let topics = names.iter().map(|name| topic(name).expect("a topic")).collect();
        self.sees(Seen::Gap { reason, topics, cursor: Some(at(cursor)) })
    }

    fn verdict(&self) -> Verdict {
        judge(&self.record)
    }

    #[track_caller]
    fn passes(&self) {
        let verdict = self.verdict();
        assert!(verdict.violations.is_empty(), "{:#?}", verdict.violations);
    }

    #[track_caller]
    fn fails(&self, kind: Kind) {
        let verdict = self.verdict();
        assert!(verdict.count(kind) > 0, "not found: {kind:?}, but {:#?}", verdict.violations);
    }
}

#[test]
fn all_events_once_and_in_order_pass_over_any_number_of_streams() {
    Story::of("news/asia").events("news/asia", 101..110).passes();
    let resumed = Story::of("news/asia").events("news/asia", 101..105).connected(Some(104), 104, true);
    resumed.events("news/asia", 105..110).passes();
}

#[test]
fn an_event_that_is_left_out_is_lost() {
    Story::of("news/asia").events("news/asia", 101..104).events("news/asia", 105..110).fails(Kind::Lost);
    Story::of("news/asia").events("news/asia", 101..109).fails(Kind::Lost);
    let checkpoint = Story::of("news/asia").events("news/asia", 101..108).sees(Seen::Checkpoint(at(109)));
    checkpoint.fails(Kind::Lost);
    let resume = Story::of("news/asia").events("news/asia", 101..104).connected(Some(103), 104, true);
    resume.events("news/asia", 105..110).fails(Kind::Lost);
}

#[test]
fn repeats_and_disorder_are_found() {
    Story::of("news/asia").events("news/asia", 101..110).events("news/asia", 109..110).fails(Kind::Duplicated);
    let early = Story::of("news/asia").events("news/asia", 101..104).events("news/asia", 105..110);
    early.events("news/asia", 104..105).fails(Kind::OutOfOrder);
    let back = Story::of("news/asia").events("news/asia", 101..110).sees(Seen::Checkpoint(at(105)));
    back.fails(Kind::CursorWentBack);
}

#[test]
fn a_gap_covers_what_it_names_and_what_lay_before_it() {
    let brief = || Story::of("brief/0").gone(101..106).events("brief/0", 101..103).connected(Some(102), 102, true);
    brief().gap(Reason::Expired, &["brief/0"], 102).events("brief/0", 106..110).passes();
    assert_eq!(brief().gap(Reason::Expired, &["brief/0"], 102).events("brief/0", 106..110).verdict().told, 3);

    brief().events("brief/0", 106..110).fails(Kind::Lost);
    brief().gap(Reason::Expired, &["brief/1"], 102).events("brief/0", 106..110).fails(Kind::Lost);
    let late = brief().events("brief/0", 106..107).gap(Reason::Expired, &["brief/0"], 106);
    late.events("brief/0", 107..110).fails(Kind::Lost);
    let other_stream = brief().gap(Reason::Expired, &["brief/0"], 102).connected(Some(102), 102, true);
    other_stream.events("brief/0", 106..110).fails(Kind::Lost);
}

#[test]
fn a_gap_needs_a_reason() {
    let complete = || Story::of("news/asia").events("news/asia", 101..110);
    complete().gap(Reason::BackplaneLost, &[], 109).fails(Kind::WrongGap);
    complete().gap(Reason::Expired, &["news/asia"], 109).fails(Kind::WrongGap);
    complete().gap(Reason::Dropped, &[], 109).fails(Kind::WrongGap);
    complete().lossy().gap(Reason::BackplaneLost, &[], 109).passes();
    let held = Story::of("brief/0").events("brief/0", 101..103).gap(Reason::Expired, &["brief/0"], 102);
    held.events("brief/0", 104..110).fails(Kind::WrongGap);
}

#[test]
fn a_restart_of_redis_is_told_of_only_if_a_node_could_not_come() {
    let told = |cursor: u32| {
        let complete = Story::of("news/asia").events("news/asia", 101..110).befalls(Fault::KillRedis(0), 500, 600);
        complete.connected(Some(cursor), cursor, true).gap(Reason::BackplaneLost, &[], cursor)
    };
    told(109).fails(Kind::WrongGap);
    told(109).befalls(Fault::KillNode(1), 400, 3000).passes();
    assert_eq!(told(109).befalls(Fault::KillNode(1), 400, 3000).verdict().excused_gaps, 1);
    told(109).befalls(Fault::StopNode(1), 400, 3000).passes();
    told(109).befalls(Fault::FreezeNode(1), 400, 7000).passes();
    told(109).befalls(Fault::FreezeRedisLink(1), 400, 7000).passes();
    told(109).befalls(Fault::FreezeRedis(0), 700, 3000).passes();

    // It came back in time, or it went when all was over.
    told(109).befalls(Fault::FreezeNode(1), 400, 900).fails(Kind::WrongGap);
    told(109).befalls(Fault::KillNode(1), 9000, 10_000).fails(Kind::WrongGap);
    told(109).befalls(Fault::FreezeRedis(1), 700, 3000).fails(Kind::WrongGap);
    told(109).befalls(Fault::CutRedisLink(1), 500, 500).fails(Kind::WrongGap);
    // The client had been given its cursor long after.
    told(20_000).befalls(Fault::KillNode(1), 400, 3000).fails(Kind::WrongGap);
    // Redis was not restarted before that.
    let before = Story::of("news/asia").events("news/asia", 101..110).befalls(Fault::KillRedis(0), 1500, 1600);
    let before = before.befalls(Fault::KillNode(1), 400, 3000).connected(Some(109), 109, true);
    before.gap(Reason::BackplaneLost, &[], 109).fails(Kind::WrongGap);
}

#[test]
fn a_gap_behind_which_nothing_is_missing_is_found_unless_the_stream_ended_there() {
    let brief = || Story::of("brief/0").events("brief/0", 101..103).gap(Reason::Expired, &["brief/0"], 102);
    brief().events("brief/0", 103..110).fails(Kind::WrongGap);
    brief().connected(Some(102), 102, true).events("brief/0", 103..110).passes();
}

#[test]
fn what_redis_lost_is_to_be_told_before_the_cursor_passes_it() {
    let lost = || Story::of("news/asia").lossy().gone(103..106).events("news/asia", 101..103);
    lost().connected(Some(102), 102, true).gap(Reason::BackplaneLost, &[], 102).events("news/asia", 106..110).passes();
    lost().connected(Some(102), 102, true).events("news/asia", 106..110).fails(Kind::Lost);
    // The place of a stream that begins anew is told before the gap; the gap must follow at once.
    let anew = || lost().connected(Some(102), 105, false);
    anew().gap(Reason::UnknownCursor, &[], 105).events("news/asia", 106..110).passes();
    anew().events("news/asia", 106..110).fails(Kind::Lost);
}

#[test]
fn ids_and_histories_must_agree_with_what_was_acknowledged() {
    let complete = || Story::of("news/asia").events("news/asia", 101..110);
    complete().gone(104..105).fails(Kind::History);

    let mut twice = complete();
    twice.record.publishes[3].acked = Some((ms(104), id(103)));
    twice.fails(Kind::Identity);

    let mut back = complete();
    back.record.publishes[0].sent = ms(109) + Duration::from_micros(1);
    back.fails(Kind::IdWentBack);
}
