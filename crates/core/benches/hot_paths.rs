//! What each event, delivery and reconnect passes through, by itself.
//!
//! `cargo bench -p towncrier-core` prints nanoseconds, of which only the order of magnitude holds on a shared machine.
//! `tests/bench/instructions` runs one of them so many times under callgrind and holds the number of instructions against
//! what it was: that holds to the last percent.

use std::{collections::HashMap, hint::black_box, process::ExitCode, sync::Arc, time::Instant};

use towncrier_core::{
    Rooms, TopicRead,
    outbox::{Next, Outbox},
    replay,
    rooms::{CohortKey, MemberId, Policy, Slow},
};
use towncrier_wire::{Cursor, Event, EventId, Heads, Partitions, Selectors, Topic, limits::PARTITIONS_MAX};

const MEMBERS: usize = 100;
const COHORTS: usize = 10;
const TOPICS: u64 = 10;
const EVENTS_EACH: u64 = 20;
const TIMED_RUNS: u32 = 2_000;

/// Prepares something and gives it to be done once.
type Path = (&'static str, &'static str, fn() -> Box<dyn FnMut()>);

const PATHS: &[Path] = &[
    ("encode", "an event of 100 bytes becomes a frame", encode),
    ("outbox", "an event is appended, and taken by each of 100 members", outbox),
    ("fan_out", "an event is delivered to 10 cohorts of 10 members of a room, and taken by each", fan_out),
    ("cursor", "a cursor of 16 partitions is read", cursor),
    ("replay", "a page is merged from 10 topics with 20 events each", merge),
];

fn id(seq: u64) -> EventId {
    EventId::new(1_795_161_600_000, seq).expect("an id")
}

fn topic(number: u64) -> Topic {
    Topic::new(&format!("orders/{number}")).expect("a topic")
}

fn event(topic: Topic, seq: u64) -> Arc<Event> {
    Arc::new(Event::new(topic, id(seq), EventId::ZERO, None, &"x".repeat(100)))
}

fn encode() -> Box<dyn FnMut()> {
    let (topic, data) = (topic(1), "x".repeat(100));
    Box::new(move || drop(black_box(Event::new(topic.clone(), id(1), EventId::ZERO, None, black_box(&data)))))
}

fn outbox() -> Box<dyn FnMut()> {
    let mut outbox = Outbox::new(false);
    let members: Vec<usize> = (0..MEMBERS).map(|_| outbox.attach(())).collect();
    let event = event(topic(1), 1);
    Box::new(move || {
        outbox.push(&event, event.frame().clone(), 0);
        outbox.seal();
        for member in &members {
            assert!(matches!(outbox.next(*member), Next::Frames { events: 1, .. }));
        }
    })
}

fn fan_out() -> Box<dyn FnMut()> {
    let mut rooms = Rooms::new(Partitions::ONE);
    let mut members: Vec<MemberId> = Vec::with_capacity(MEMBERS);
    for other in 0..COHORTS {
        // All listen to one topic, and each cohort to another one besides.
        let own = format!("own/{other}");
        let selectors = Selectors::new(["orders/1", own.as_str()], 10).expect("selectors");
        let policy = Policy { slow: Slow::Disconnect, lag_bytes: 1 << 20, lag_events: 10_000, rate: None };
        let (cohort, to_join) = rooms.subscribe(CohortKey { selectors, policy });
        to_join.iter().for_each(|selector| drop(rooms.joined(selector, &[EventId::ZERO; PARTITIONS_MAX])));
        members.extend((0..MEMBERS / COHORTS).map(|_| rooms.attach(cohort, ()).expect("ready").0));
    }
    let mut seq = 0;
    let topic = topic(1);
    Box::new(move || {
        seq += 1;
        rooms.deliver(&event(topic.clone(), seq), 0);
        black_box(rooms.seal());
        for member in &members {
            assert!(matches!(rooms.next(*member), Next::Frames { events: 1, .. }));
        }
    })
}

fn cursor() -> Box<dyn FnMut()> {
    let partitions = Partitions::new(PARTITIONS_MAX.min(16)).expect("a number of partitions");
    let text = Cursor::everywhere(partitions, id(7)).to_string();
    Box::new(move || {
        black_box(Cursor::parse(black_box(&text), partitions).expect("a cursor"));
    })
}

fn merge() -> Box<dyn FnMut()> {
    let reads: HashMap<Topic, TopicRead> = (0..TOPICS)
        .map(|number| {
            let topic = topic(number);
            let seqs = (0..EVENTS_EACH).map(|place| 1 + place * TOPICS + number);
            let events = seqs.map(|seq| event(topic.clone(), seq)).collect();
            (topic, TopicRead { events, ..TopicRead::default() })
        })
        .collect();
    let upto: Heads = [id(TOPICS * EVENTS_EACH); PARTITIONS_MAX];
    let selectors = Selectors::new(["orders/*"], 10).expect("selectors");
    let request = replay::Request { selectors, from: replay::From::Earliest, upto };
    let floors = [EventId::ZERO; PARTITIONS_MAX];
    Box::new(move || {
        let page = request.page(black_box(&reads), &floors, Partitions::ONE);
        assert_eq!(page.events.len() as u64, TOPICS * EVENTS_EACH);
    })
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.as_slice() {
        [] => PATHS.iter().for_each(|(name, what, prepare)| {
            let mut path = prepare();
            (0..TIMED_RUNS / 10).for_each(|_| path());
            let began = Instant::now();
            (0..TIMED_RUNS).for_each(|_| path());
            println!("{name:>8}: {:>8} ns, {what}", began.elapsed().as_nanos() / u128::from(TIMED_RUNS));
        }),
        [list] if list == "--list" => PATHS.iter().for_each(|(name, ..)| println!("{name}")),
        [name, times] => {
            let found = PATHS.iter().find(|(path, ..)| path == name);
            let (Some((.., prepare)), Ok(times)) = (found, times.parse::<u32>()) else {
                eprintln!("no such path, or no number: {name} {times}");
                return ExitCode::FAILURE;
            };
            let mut path = prepare();
            (0..times).for_each(|_| path());
        }
        _ => {
            eprintln!("hot_paths [NAME TIMES | --list]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
