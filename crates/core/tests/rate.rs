//! What members of a cohort with a rate get.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use towncrier_core::{
    Rooms,
    outbox::Next,
    rooms::{CohortId, CohortKey, MemberId, Over, Policy, Rate, Slow, Withheld},
};
use towncrier_wire::{
    Event, EventId, Partitions, Selectors, Topic,
    limits::{GAP_TOPICS_MAX, PARTITIONS_MAX},
};

fn event(topic: &str, seq: u64) -> Arc<Event> {
    let id = EventId::new(1, seq).expect("an id");
    Arc::new(Event::new(Topic::new(topic).expect("a topic"), id, EventId::ZERO, None, &seq.to_string()))
}

struct Audience {
    rooms: Rooms<()>,
    cohort: CohortId,
    seq: u64,
}

impl Audience {
    fn new(events_per_second: u32, over: Over, slow: Slow) -> Self {
        let rate = Rate { events_per_second: NonZeroU32::new(events_per_second).expect("a rate"), over };
        let policy = Policy { slow, lag_bytes: 100_000, lag_events: 5, rate: Some(rate) };
        let selectors = Selectors::new(["**"], 10).expect("selectors");
        let mut rooms = Rooms::new(Partitions::ONE);
        let (cohort, to_join) = rooms.subscribe(CohortKey { selectors, policy });
        to_join.iter().for_each(|selector| _ = rooms.joined(selector, &[EventId::ZERO; PARTITIONS_MAX]));
        Self { rooms, cohort, seq: 0 }
    }

    fn attach(&mut self) -> MemberId {
        self.rooms.attach(self.cohort, ()).expect("ready").0
    }

    fn publish(&mut self, topic: &str) {
        self.seq += 1;
        self.rooms.deliver(&event(topic, self.seq), 0);
    }

    /// What a member reads: data of events, and of gaps.
    fn read(&mut self, member: MemberId) -> Vec<String> {
        self.rooms.seal();
        let mut read = Vec::new();
        while let Next::Frames { bytes, .. } = self.rooms.next(member) {
            let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
            read.extend(text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned));
        }
        read
    }
}

#[test]
fn what_is_beyond_the_rate_is_dropped_and_told() {
    let mut audience = Audience::new(3, Over::Drop, Slow::Disconnect);
    let member = audience.attach();
    (0..7).for_each(|_| audience.publish("a"));
    assert_eq!(audience.read(member), ["1", "2", "3"]);
    assert!(audience.rooms.checkpoint(member).is_none(), "there is something that it does not know yet");

    audience.rooms.tick(300);
    assert!(audience.read(member).is_empty(), "a third of a second is not over");
    audience.rooms.tick(400);
    audience.publish("a");
    audience.publish("b");
    let told = [r#"{"reason":"dropped","topics":["a"]}"#, "8"];
    assert_eq!(audience.read(member), told, "one more, and what was dropped before it");
    assert_eq!(audience.rooms.take_withheld(), Withheld { events: 4, gaps: 1 });

    audience.rooms.tick(100_000);
    assert_eq!(audience.read(member), [r#"{"reason":"dropped","topics":["b"]}"#], "without another event");
    assert_eq!(audience.rooms.checkpoint(member).map(|cursor| cursor.to_string()), Some("1-9".into()));
    (0..4).for_each(|_| audience.publish("a"));
    assert_eq!(audience.read(member), ["10", "11", "12"], "no more than a second's worth after a rest");
}

#[test]
fn the_newest_of_each_topic_comes_when_the_rate_allows() {
    let mut audience = Audience::new(2, Over::Conflate, Slow::Disconnect);
    let member = audience.attach();
    ["a", "a", "a", "b", "a", "c"].into_iter().for_each(|topic| audience.publish(topic));
    assert_eq!(audience.read(member), ["1", "2"]);
    audience.rooms.tick(500);
    assert_eq!(audience.read(member), [r#"{"reason":"dropped","topics":["a"]}"#, "4", "5", "6"], "in their order");

    audience.publish("a");
    audience.rooms.tick(1_000);
    assert!(audience.read(member).is_empty(), "three at once count as three");
    audience.rooms.tick(2_000);
    assert_eq!(audience.read(member), ["7"], "nothing was dropped");
    assert_eq!(audience.rooms.take_withheld(), Withheld { events: 1, gaps: 1 });
}

#[test]
fn whoever_comes_has_from_history_what_others_are_told_of() {
    let mut audience = Audience::new(1, Over::Drop, Slow::Disconnect);
    let first = audience.attach();
    audience.publish("a");
    audience.publish("a");
    let second = audience.attach();
    assert_eq!(audience.read(first), ["1", r#"{"reason":"dropped","topics":["a"]}"#]);
    audience.rooms.tick(10_000);
    assert!(audience.read(second).is_empty());
}

#[test]
fn nothing_overtakes_what_is_held() {
    let mut audience = Audience::new(1, Over::Conflate, Slow::Disconnect);
    let member = audience.attach();
    audience.publish("a");
    audience.publish("b");
    // Time passes, but for another cohort's sake: this one's turn to be told has not come.
    audience.rooms.tick(900);
    audience.publish("a");
    audience.rooms.tick(1_000);
    assert_eq!(audience.read(member), ["1", "2", "3"]);
}

#[test]
fn a_gap_of_more_topics_than_it_may_name_names_none() {
    let mut audience = Audience::new(1, Over::Drop, Slow::Disconnect);
    let member = audience.attach();
    (0..GAP_TOPICS_MAX + 2).for_each(|number| audience.publish(&format!("t/{number}")));
    audience.rooms.tick(5_000);
    assert_eq!(audience.read(member), ["1", r#"{"reason":"dropped"}"#]);
}

#[test]
fn a_slow_member_that_is_conflated_is_told_of_what_the_rate_dropped() {
    let mut audience = Audience::new(8, Over::Drop, Slow::Conflate);
    let (slow, fast) = (audience.attach(), audience.attach());
    (0..8).for_each(|_| {
        audience.publish("a");
        audience.read(fast);
    });
    assert_eq!(audience.rooms.lagging(audience.cohort).len(), 1);
    audience.publish("b");
    audience.rooms.tick(10_000);
    assert_eq!(audience.read(fast), [r#"{"reason":"dropped","topics":["b"]}"#]);
    audience.rooms.seal();
    let Next::Conflated(conflated) = audience.rooms.next(slow) else { panic!("it was slow") };
    assert!(conflated.more_dropped, "{conflated:?}");
    let newest: BTreeMap<_, _> =
        conflated.events.iter().map(|event| (event.topic().as_str().to_owned(), event.id().to_string())).collect();
    assert_eq!(newest, BTreeMap::from([("a".to_owned(), "1-8".to_owned())]));
}
