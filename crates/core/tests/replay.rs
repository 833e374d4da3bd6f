//! Stories of replays: pages, their bounds and what they tell of losses.

use std::{collections::HashMap, sync::Arc};

use towncrier_core::{
    Handover, TopicRead,
    handover::Step,
    replay::{From, Page, Request},
};
use towncrier_wire::{
    Cursor, Event, EventId, GapReason, Heads, Partitions, Selectors, Start, Topic,
    limits::{LAST_BYTES_MAX, LAST_MAX, PARTITIONS_MAX, REPLAY_PAGE_BYTES_MAX, REPLAY_PAGE_EVENTS_MAX},
};

fn id(seq: u64) -> EventId {
    EventId::new(1, seq).expect("an id")
}

fn topic(text: &str) -> Topic {
    Topic::new(text).expect("a topic")
}

/// Two topics of different partitions, if there are two.
const TOPICS: [&str; 2] = ["a", "b"];

fn event(topic: &Topic, seq: u64, bytes: usize) -> Arc<Event> {
    Arc::new(Event::new(topic.clone(), id(seq), EventId::ZERO, None, &"x".repeat(bytes)))
}

fn read(of: &str, trimmed: u64, seqs: impl IntoIterator<Item = u64>) -> (Topic, TopicRead) {
    let of = topic(of);
    let events = seqs.into_iter().map(|seq| event(&of, seq, 10)).collect();
    (of, TopicRead { trimmed: id(trimmed), events, more: false, head: EventId::MAX })
}

fn request(from: From, upto: u64) -> Request {
    Request { selectors: Selectors::new(["**"], 1).expect("a selector"), from, upto: [id(upto); PARTITIONS_MAX] }
}

fn after(seq: u64) -> From {
    From::After(Cursor::everywhere(Partitions::ONE, id(seq)))
}

const NO_FLOORS: Heads = [EventId::ZERO; PARTITIONS_MAX];

fn seqs(page: &Page) -> Vec<u64> {
    page.events.iter().map(|event| event.id().seq()).collect()
}

#[test]
fn pages_are_bounded_by_events() {
    let known = HashMap::from([read("a", 0, (1..1_300).step_by(2)), read("b", 0, (2..1_300).step_by(2))]);
    let (mut got, mut from, mut pages) = (Vec::new(), 0, 0);
    loop {
        let page = request(after(from), 1_299).page(&known, &NO_FLOORS, Partitions::ONE);
        assert!(page.events.len() <= REPLAY_PAGE_EVENTS_MAX);
        got.extend(seqs(&page));
        from = got[got.len() - 1];
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!((got, pages), ((1..1_300).collect(), 3));
}

#[test]
fn pages_are_bounded_by_bytes_but_hold_an_event() {
    let a = topic("a");
    let sizes = [100_000, 100_000, 100_000, REPLAY_PAGE_BYTES_MAX + 1, 10];
    let events = sizes.iter().zip(1..).map(|(&bytes, seq)| event(&a, seq, bytes)).collect();
    let known = HashMap::from([(a, TopicRead { events, ..TopicRead::default() })]);
    let page = |from| request(after(from), 5).page(&known, &NO_FLOORS, Partitions::ONE);
    assert_eq!((seqs(&page(0)), page(0).more), (vec![1, 2], true));
    assert_eq!((seqs(&page(2)), page(2).more), (vec![3], true));
    assert_eq!((seqs(&page(3)), page(3).more), (vec![4], true));
    assert_eq!((seqs(&page(4)), page(4).more), (vec![5], false));
}

#[test]
fn the_newest_of_each_topic_come_in_order_and_are_bounded_in_all() {
    let topics: Vec<_> = (0..11).map(|number| format!("t{number}")).collect();
    let seqs_of = |number: u64| (0..1_000).map(move |round| 1 + number + 11 * round);
    let known: HashMap<_, _> = topics.iter().zip(0..).map(|(topic, number)| read(topic, 0, seqs_of(number))).collect();

    let some = request(From::Last(2), 11_000).page(&known, &NO_FLOORS, Partitions::ONE);
    assert_eq!((seqs(&some), some.more), ((10_979..=11_000).collect(), false));
    assert_eq!(some.starts[0], id(10_978));

    let all = request(From::Last(1_000), 11_000).page(&known, &NO_FLOORS, Partitions::ONE);
    assert_eq!((seqs(&all), all.more), ((11_001 - u64::from(LAST_MAX)..=11_000).collect(), false));
    assert_eq!(all.starts[0], id(11_000 - u64::from(LAST_MAX)));
}

#[test]
fn the_newest_are_bounded_by_bytes_but_there_is_one() {
    let a = topic("a");
    let page = |sizes: &[usize]| {
        let events = sizes.iter().zip(1..).map(|(&bytes, seq)| event(&a, seq, bytes)).collect();
        let known = HashMap::from([(a.clone(), TopicRead { events, ..TopicRead::default() })]);
        seqs(&request(From::Last(10), 9).page(&known, &NO_FLOORS, Partitions::ONE))
    };
    assert_eq!(page(&[LAST_BYTES_MAX, LAST_BYTES_MAX / 2, LAST_BYTES_MAX / 3]), [2, 3]);
    assert_eq!(page(&[10, LAST_BYTES_MAX, 10]), [3]);
    assert_eq!(page(&[10, LAST_BYTES_MAX]), [2]);
    assert_eq!(page(&[]), [0; 0]);
}

#[test]
fn nothing_overtakes_a_read_that_was_cut_short() {
    let (a, mut short) = read("a", 0, [1, 4]);
    short.more = true;
    let known = HashMap::from([(a, short), read("b", 0, [2, 3, 5, 6])]);
    let page = request(after(0), 9).page(&known, &NO_FLOORS, Partitions::ONE);
    assert_eq!((seqs(&page), page.more), (vec![1, 2, 3, 4], true));
}

#[test]
fn earliest_brings_what_is_retained_below_a_floor() {
    let known = HashMap::from([read("a", 1, [2, 6])]);
    let page = request(From::Earliest, 9).page(&known, &[id(5); PARTITIONS_MAX], Partitions::ONE);
    assert_eq!(seqs(&page), [2, 6]);
    assert_eq!(page.starts[0], id(1));
}

/// A session that resumes below a floor: a gap first, and then all that is retained, page by page.
#[test]
fn what_is_retained_below_a_floor_follows_the_gap() {
    let partitions = Partitions::new(2).expect("two");
    let [first, second] = TOPICS.map(|text| partitions.of(&topic(text)).index());
    assert_ne!(first, second);
    let floors = [id(10); PARTITIONS_MAX];
    let start = Start::After(Cursor::everywhere(partitions, id(1)));
    let mut handover = Handover::new(Selectors::new(TOPICS, 2).expect("selectors"), start, partitions);
    let (_, Step::Read(request)) = handover.begin(&[id(20); PARTITIONS_MAX]) else { panic!("no read") };

    let (a, mut short) = read("a", 0, [2]);
    short.more = true;
    let page = request.page(&HashMap::from([(a, short), read("b", 0, [7, 12])]), &floors, partitions);
    let (output, Step::Read(request)) = handover.page(page) else { panic!("no read") };
    assert_eq!(output.gaps.iter().map(|gap| gap.reason).collect::<Vec<_>>(), [GapReason::BackplaneLost]);
    assert_eq!(output.events.len(), 1);

    let page = request.page(&HashMap::from([read("a", 0, [9]), read("b", 0, [7, 12])]), &floors, partitions);
    let (output, step) = handover.page(page);
    assert!(matches!(step, Step::Attach));
    assert_eq!(output.gaps, [], "it was told already");
    assert_eq!(output.events.iter().map(|event| event.id().seq()).collect::<Vec<_>>(), [7, 9, 12]);
}

/// So that a client that comes back at once is not told again.
#[test]
fn a_gap_moves_the_cursor_up_to_the_floor_where_nothing_is_below_it() {
    let start = Start::After(Cursor::everywhere(Partitions::ONE, id(1)));
    let mut handover = Handover::new(Selectors::new(["a"], 1).expect("a selector"), start, Partitions::ONE);
    let (_, Step::Read(request)) = handover.begin(&[id(20); PARTITIONS_MAX]) else { panic!("no read") };
    let floors = [id(10); PARTITIONS_MAX];
    let (output, _) = handover.page(request.page(&HashMap::from([read("a", 10, [12])]), &floors, Partitions::ONE));
    assert_eq!(output.cursor.map(|cursor| cursor.to_string()), Some(id(10).to_string()));
}
