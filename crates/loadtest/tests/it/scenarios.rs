//! Each scenario on servers that behave, and on one that does not: whatever is done to the subscribers meanwhile, what is
//! lost, repeated or out of order is found.

use std::time::Duration;

use towncrier_loadtest::{
    Audience, ChurnArgs, Error, Faults, IdleArgs, Kind, MaxArgs, PublishArgs, SlowArgs, StormArgs, Target, TopicsArgs,
    Traffic, churn, idle, max, publish, slow, storm, topics,
};

use crate::faulty::{Fault, FaultyServer};
use crate::servers::{RunningFloor, short, target};

const SUBSCRIBERS: usize = 10;

fn max_args(target: Target) -> MaxArgs {
    MaxArgs {
        target,
        audience: Audience::new(SUBSCRIBERS, 1),
        rate: 100.0,
        factor: 2.0,
        steps: 2,
        refine: 1,
        p99_ms: 10_000.0,
        achieved: 0.5,
        size: 100,
        seconds: Duration::from_millis(300),
        warmup: Duration::from_millis(100),
        pipeline: 64,
    }
}

/// Ten events first, then twenty that all miss.
fn storm_args(target: Target) -> StormArgs {
    StormArgs {
        target,
        audience: Audience::new(SUBSCRIBERS, 1),
        missed: 20,
        rate: 200.0,
        live_rate: 0.0,
        size: 100,
        catch_up: Duration::from_secs(2),
        rounds: 1,
    }
}

fn churn_args(target: Target, resume: bool) -> ChurnArgs {
    let audience = Audience::new(SUBSCRIBERS, 1);
    let traffic = Traffic { drain: Duration::from_secs(2), ..short() };
    ChurnArgs { target, traffic, audience, rate: 100.0, churn: 100.0, resume }
}

fn slow_args(target: Target) -> SlowArgs {
    let traffic = Traffic { drain: Duration::from_secs(2), ..short() };
    SlowArgs { target, traffic, audience: Audience::new(SUBSCRIBERS, 1), rate: 100.0, stalled: 0.5 }
}

fn publish_args(target: Target, rate: Option<f64>) -> PublishArgs {
    let traffic = Traffic { drain: Duration::from_secs(2), ..short() };
    PublishArgs { target, traffic, subscribers: SUBSCRIBERS, topics: 1, rate }
}

fn topics_args(target: Target, counts: &[usize]) -> TopicsArgs {
    let traffic = Traffic { drain: Duration::from_secs(2), ..short() };
    TopicsArgs { target, traffic, subscribers: SUBSCRIBERS, counts: counts.to_vec(), deliveries: 1_000.0 }
}

fn idle_args(target: Target, events: u32, rounds: u16) -> IdleArgs {
    IdleArgs {
        target,
        subscribers: SUBSCRIBERS,
        topics: 1,
        seconds: Duration::from_millis(100),
        events,
        rate: 100.0,
        size: 100,
        rounds,
    }
}

/// A scenario's name, and what it says of a server.
type Run = (&'static str, fn(Target) -> Faults);

/// What the scenarios say of a server with this fault, by their names.
fn on_faulty(fault: Fault) -> Vec<(&'static str, Faults)> {
    let runs: [Run; 8] = [
        ("max", |at| max(&max_args(at)).expect("max runs").faults),
        ("storm", |at| storm(&storm_args(at)).expect("storm runs").faults),
        ("churn", |at| churn(&churn_args(at, false)).expect("churn runs").faults),
        ("churn, resuming", |at| churn(&churn_args(at, true)).expect("churn runs").faults),
        ("slow", |at| slow(&slow_args(at)).expect("slow runs").faults),
        ("publish", |at| publish(&publish_args(at, Some(100.0))).expect("publish runs").faults),
        ("topics", |at| topics(&topics_args(at, &[1])).expect("topics runs").faults),
        ("idle", |at| idle(&idle_args(at, 40, 1)).expect("idle runs").faults),
    ];
    std::thread::scope(|scope| {
        let run = |(name, run): Run| (name, scope.spawn(move || run(target(FaultyServer::start(fault).port()))));
        let running: Vec<_> = runs.into_iter().map(run).collect();
        running.into_iter().map(|(name, run)| (name, run.join().expect(name))).collect()
    })
}

#[test]
fn a_server_without_faults_passes_each() {
    for (name, faults) in on_faulty(Fault::None) {
        assert_eq!(faults, Faults::default(), "{name}");
    }
}

#[test]
fn each_finds_what_is_lost() {
    for (name, faults) in on_faulty(Fault::Drop(25)) {
        assert!(faults.lost > 0 && faults.duplicated == 0 && faults.reordered == 0, "{name}: {faults:?}");
    }
}

#[test]
fn each_finds_what_comes_twice() {
    for (name, faults) in on_faulty(Fault::Repeat(25)) {
        assert!(faults.duplicated > 0 && faults.lost == 0 && faults.reordered == 0, "{name}: {faults:?}");
    }
}

#[test]
fn each_finds_what_is_out_of_order() {
    for (name, faults) in on_faulty(Fault::Exchange(25)) {
        // One who joins between the two cannot tell the earlier one from one that it had.
        assert!(faults.reordered > 0, "{name}: {faults:?}");
    }
}

#[test]
fn all_catch_up_after_a_storm() {
    for coalesce in [false, true] {
        let floor = RunningFloor::start(coalesce);
        let mut args = storm_args(floor.target());
        args.audience = Audience { subscribers: 20, topics: 10, topics_each: 2 };
        args.live_rate = 50.0;
        args.rounds = 2;
        let report = storm(&args).expect("the storm");
        assert_eq!(report.faults, Faults::default(), "{report:?}");
        assert_eq!(report.rounds.len(), 2);
        for round in &report.rounds {
            assert_eq!((round.missing, round.caught_up), (20, 20), "{report:?}");
            assert!(round.seconds.is_some() && round.deliveries >= 20 * 20 * 2, "{report:?}");
        }
        assert!(report.catching_up.is_some() && report.connecting.is_some(), "{report:?}");
    }
}

#[test]
fn who_never_catches_up_is_told_of() {
    let server = FaultyServer::start(Fault::DropFrom(25));
    let report = storm(&storm_args(target(server.port()))).expect("the storm");
    let round = &report.rounds[0];
    assert_eq!((round.missing, round.caught_up, round.seconds), (SUBSCRIBERS, 0, None), "{report:?}");
    assert_eq!(report.faults.lost, 6 * SUBSCRIBERS as u64, "{report:?}");
}

#[test]
fn without_ids_there_is_no_storm() {
    let mut args = storm_args(target(80));
    args.target.kind = Kind::Centrifugo;
    assert!(matches!(storm(&args), Err(Error::Options(why)) if why.contains("resume")));
}

#[test]
fn the_rate_rises_until_a_bound_breaks() {
    let floor = RunningFloor::start(false);
    let held = max(&max_args(floor.target())).expect("max runs");
    assert_eq!((held.faults, held.steps.len()), (Faults::default(), 2), "{held:?}");
    assert!(!held.limit_was_found && held.deliveries_per_s.is_some_and(|most| most > 500.0), "{held:?}");

    let strict = MaxArgs { p99_ms: 0.000_001, steps: 5, ..max_args(floor.target()) };
    let broke = max(&strict).expect("max runs");
    assert!(broke.limit_was_found && broke.deliveries_per_s.is_none(), "{broke:?}");
    assert!(broke.steps.iter().all(|step| step.broke.as_ref().is_some_and(|why| why.starts_with("p99"))), "{broke:?}");
    assert!(broke.steps[1].rate < broke.steps[0].rate, "it looks below: {broke:?}");
}

#[test]
fn what_a_server_cuts_beyond_its_limit_is_no_fault() {
    let server = FaultyServer::start(Fault::Hangup(30));
    let report = max(&MaxArgs { steps: 1, ..max_args(target(server.port())) }).expect("max runs");
    assert_eq!(report.faults, Faults::default(), "{report:?}");
    assert!(report.steps[0].broke.as_ref().is_some_and(|why| why.contains("streams ended")), "{report:?}");
}

#[test]
fn those_who_come_and_go_miss_nothing() {
    for resume in [false, true] {
        let floor = RunningFloor::start(false);
        let report = churn(&churn_args(floor.target(), resume)).expect("churn runs");
        assert_eq!(report.faults, Faults::default(), "{report:?}");
        assert!(report.connects_per_s > 10.0 && report.connecting.is_some(), "{report:?}");
    }
}

#[test]
fn who_stalls_gets_the_rest_or_is_told() {
    let floor = RunningFloor::start(false);
    let report = slow(&slow_args(floor.target())).expect("slow runs");
    assert_eq!(report.faults, Faults::default(), "{report:?}");
    assert_eq!((report.stalled.subscribers, report.stalled.behind), (5, 0), "{report:?}");

    let admits = slow(&slow_args(target(FaultyServer::start(Fault::Admit(25)).port()))).expect("slow runs");
    assert_eq!((admits.stalled.gaps, admits.faults), (5, Faults { gaps: 5, ..Faults::default() }), "{admits:?}");

    let hangs_up = slow(&slow_args(target(FaultyServer::start(Fault::Hangup(25)).port()))).expect("slow runs");
    assert_eq!((hangs_up.stalled.ended, hangs_up.stalled.behind), (5, 0), "{hangs_up:?}");
}

#[test]
fn publishing_goes_as_fast_as_it_is_answered() {
    let floor = RunningFloor::start(false);
    let report = publish(&publish_args(floor.target(), None)).expect("publish runs");
    assert_eq!(report.faults, Faults::default(), "{report:?}");
    assert!(report.published > 100 && report.acknowledged == report.published, "{report:?}");
    assert!(report.answer.is_some() && report.us_per_publish.is_some(), "{report:?}");
}

#[test]
fn a_refused_publish_is_found_there_too() {
    let server = FaultyServer::start(Fault::Refuse(7));
    let report = publish(&publish_args(target(server.port()), Some(100.0))).expect("publish runs");
    assert_eq!(report.faults.refused, 1, "{report:?}");
}

#[test]
fn more_topics_than_subscribers_are_shared_out() {
    let floor = RunningFloor::start(false);
    let report = topics(&topics_args(floor.target(), &[1, 10, 50])).expect("topics runs");
    assert_eq!(report.faults, Faults::default(), "{report:?}");
    assert_eq!(report.rows.iter().map(|row| row.topics).collect::<Vec<_>>(), [1, 10, 50]);
    assert!(report.rows.iter().all(|row| row.deliveries_per_s > 300.0), "{report:?}");
    let too_many = topics(&topics_args(floor.target(), &[SUBSCRIBERS * 100 + 1]));
    assert!(matches!(too_many, Err(Error::Options(_))), "{too_many:?}");
}

#[test]
fn memory_is_looked_at_in_each_round() {
    let floor = RunningFloor::start(false);
    let report = idle(&idle_args(floor.target(), 5, 2)).expect("idle runs");
    assert_eq!(report.faults, Faults::default(), "{report:?}");
    assert_eq!(report.memory.len(), 1 + 2 * 2, "{report:?}");
    assert!(report.memory.iter().all(|sample| sample.pss > 0), "{report:?}");
    let nobody =
        IdleArgs { target: Target { server_pid: Vec::new(), ..floor.target() }, ..idle_args(floor.target(), 0, 1) };
    assert!(matches!(idle(&nobody), Err(Error::Options(_))));
}
