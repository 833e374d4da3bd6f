//! Stories of one worker's rooms.

use std::sync::Arc;

use towncrier_core::{
    Rooms,
    outbox::{Next, Oldest},
    rooms::{CohortId, CohortKey, Delivered, Fill, MemberId, Policy, Slow},
};
use towncrier_wire::{Event, EventId, Heads, Partitions, Selector, Selectors, Topic, limits::PARTITIONS_MAX};

fn id(seq: u64) -> EventId {
    EventId::new(1, seq).expect("an id")
}

fn heads(seq: u64) -> Heads {
    [id(seq); PARTITIONS_MAX]
}

fn event(topic: &str, seq: u64) -> Arc<Event> {
    Arc::new(Event::new(Topic::new(topic).expect("a topic"), id(seq), EventId::ZERO, None, &seq.to_string()))
}

fn key(selectors: &[&str]) -> CohortKey {
    let policy = Policy { slow: Slow::Disconnect, lag_bytes: 1_000, lag_events: 10, rate: None };
    CohortKey { selectors: Selectors::new(selectors.iter().copied(), 10).expect("selectors"), policy }
}

fn selector(text: &str) -> Selector {
    Selector::new(text).expect("a selector")
}

/// A worker with one member of one cohort.
fn audience(selectors: &[&str]) -> (Rooms<()>, CohortId, MemberId) {
    let mut rooms = Rooms::new(Partitions::ONE);
    let (cohort, to_join) = rooms.subscribe(key(selectors));
    to_join.iter().for_each(|selector| _ = rooms.joined(selector, &heads(0)));
    let (member, _) = rooms.attach(cohort, ()).expect("ready");
    (rooms, cohort, member)
}

fn received(rooms: &mut Rooms<()>, member: MemberId) -> usize {
    rooms.seal();
    std::iter::from_fn(|| match rooms.next(member) {
        Next::Frames { events, .. } => Some(events),
        Next::Conflated(_) | Next::Nothing => None,
    })
    .sum()
}

#[test]
fn the_audience_of_a_topic_counts_members_once_and_nobody_who_is_not_there() {
    let (mut rooms, cohort, _) = audience(&["a/1", "a/*"]);
    rooms.attach(cohort, ()).expect("ready");
    let (other, to_join) = rooms.subscribe(key(&["a/*", "b"]));
    to_join.iter().for_each(|selector| _ = rooms.joined(selector, &heads(0)));
    let count = |rooms: &Rooms<()>, topic: &str| rooms.audience(&Topic::new(topic).expect("a topic"));
    assert_eq!(count(&rooms, "a/1"), (1, 2));
    assert_eq!(count(&rooms, "b"), (0, 0), "nobody has attached there");
    let (member, _) = rooms.attach(other, ()).expect("ready");
    assert_eq!((count(&rooms, "a/1"), count(&rooms, "b"), count(&rooms, "c")), ((2, 3), (1, 1), (0, 0)));
    rooms.detach(member);
    assert_eq!(count(&rooms, "a/2"), (1, 2));
}

#[test]
fn an_event_that_comes_again_is_delivered_once() {
    let (mut rooms, _, member) = audience(&["a"]);
    for seq in [1, 2, 1, 2] {
        rooms.deliver(&event("a", seq), 0);
    }
    assert_eq!(received(&mut rooms, member), 2);
}

#[test]
fn selectors_that_overlap_bring_an_event_once() {
    let (mut rooms, _, member) = audience(&["a/1", "a/*", "**"]);
    rooms.deliver(&event("a/1", 1), 0);
    assert_eq!(received(&mut rooms, member), 1);
}

#[test]
fn nobody_attaches_before_all_selectors_are_joined() {
    let mut rooms = Rooms::new(Partitions::ONE);
    let (cohort, to_join) = rooms.subscribe(key(&["a", "b"]));
    assert_eq!(to_join, [selector("a"), selector("b")]);

    assert_eq!(rooms.joined(&selector("a"), &heads(1)), []);
    assert!(rooms.attach(cohort, ()).is_none());
    assert_eq!(rooms.joined(&selector("b"), &heads(2)), [cohort]);
    assert_eq!(rooms.attach(cohort, ()).map(|(_, heads)| heads), Some(heads(2)));
}

#[test]
fn a_selector_that_others_joined_is_not_joined_again() {
    let (mut rooms, ..) = audience(&["a"]);
    let (cohort, to_join) = rooms.subscribe(key(&["a", "b"]));
    assert_eq!(to_join, [selector("b")]);
    assert!(!rooms.is_ready(cohort));
    rooms.joined(&selector("b"), &heads(0));
    assert!(rooms.is_ready(cohort));
}

#[test]
fn a_topic_is_left_only_when_nobody_has_needed_it_for_a_while() {
    let (mut rooms, cohort, member) = audience(&["a"]);
    rooms.detach(member);
    rooms.unsubscribe(cohort, 100);
    assert_eq!(rooms.leave_idle(99), []);
    assert_eq!(rooms.leave_idle(100), [selector("a")]);
    assert_eq!(rooms.totals(), (0, 0));
}

#[test]
fn whoever_comes_back_in_time_keeps_the_topic() {
    let (mut rooms, cohort, member) = audience(&["a"]);
    rooms.detach(member);
    rooms.unsubscribe(cohort, 100);
    let (cohort, to_join) = rooms.subscribe(key(&["a"]));
    assert_eq!((to_join, rooms.is_ready(cohort)), (vec![], true));
    assert_eq!(rooms.leave_idle(u64::MAX), []);
}

/// Else that answer would be taken for the one to the next join, from before which nothing is delivered.
#[test]
fn a_topic_is_not_left_while_an_answer_is_under_way() {
    let (mut rooms, cohort, member) = audience(&["a"]);
    let again = rooms.join_again(cohort).expect("a cohort");
    rooms.detach(member);
    rooms.unsubscribe(cohort, 100);
    assert_eq!(rooms.leave_idle(u64::MAX), []);

    rooms.joined(again.selector(), &heads(1));

    assert_eq!(rooms.leave_idle(u64::MAX), [selector("a")]);
}

#[test]
fn each_further_join_waits_for_its_own_answer() {
    let (mut rooms, cohort, _) = audience(&["a"]);
    let first = rooms.join_again(cohort).expect("a cohort");
    let second = rooms.join_again(cohort).expect("a cohort");
    assert!(!rooms.is_answered(&first));

    rooms.joined(first.selector(), &heads(1));
    assert_eq!((rooms.is_answered(&first), rooms.is_answered(&second)), (true, false));

    rooms.joined(second.selector(), &heads(2));
    assert!(rooms.is_answered(&second));
}

#[test]
fn a_checkpoint_is_only_for_members_that_have_everything() {
    let (mut rooms, _, member) = audience(&["a"]);
    rooms.advance(&heads(5));
    assert_eq!(rooms.checkpoint(member).map(|cursor| cursor.to_string()), Some(id(5).to_string()));

    rooms.deliver(&event("a", 6), 0);
    assert!(rooms.checkpoint(member).is_none(), "it is not even readable");
    rooms.seal();
    assert!(rooms.checkpoint(member).is_none());
    received(&mut rooms, member);
    assert_eq!(rooms.checkpoint(member).map(|cursor| cursor.to_string()), Some(id(6).to_string()));
}

#[test]
fn what_lies_in_outboxes_and_for_how_long_is_known() {
    let (mut rooms, cohort, slow) = audience(&["a", "b"]);
    let (quick, _) = rooms.attach(cohort, ()).expect("ready");
    assert_eq!(rooms.fill(u64::MAX), Fill::default());

    let delivered = rooms.deliver(&event("a", 1), 100);
    let frame = event("a", 1).frame().len();
    assert_eq!(delivered, Delivered { members: 2, bytes: 2 * frame as u64 });
    assert_eq!(rooms.deliver(&event("c", 2), 150), Delivered::default(), "nobody listens");
    rooms.seal();
    rooms.deliver(&event("b", 3), 200);
    rooms.seal();
    assert_eq!(rooms.oldest_of(slow), Some(Oldest { taken_us: 100, id: Some(id(1)) }));
    assert_eq!(received(&mut rooms, quick), 2);
    assert_eq!(rooms.oldest_of(quick), None);
    assert_eq!(rooms.fill(100), Fill { bytes: 2 * frame, bytes_max: 2 * frame, behind: 0 });
    assert_eq!(rooms.fill(101).behind, 1, "it was there before that");

    rooms.next(slow);
    assert_eq!(rooms.oldest_of(slow), Some(Oldest { taken_us: 200, id: Some(id(3)) }));
    assert_eq!(rooms.fill(150), Fill { bytes: frame, bytes_max: frame, behind: 0 });
    rooms.detach(slow);
    assert_eq!(rooms.fill(u64::MAX), Fill::default());
}
