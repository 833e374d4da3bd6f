//! Steady loads, and every fault that a delivery can have.

use std::time::Duration;

use towncrier_loadtest::{Audience, Error, FanoutArgs, FanoutReport, Faults, Target, fanout};

use crate::faulty::{Fault, FaultyServer};
use crate::servers::{RunningFloor, short, target};

/// Forty events to twenty subscribers on four topics.
fn small_load(target: Target) -> FanoutArgs {
    FanoutArgs { target, traffic: short(), audience: Audience::new(20, 4), rate: 100.0 }
}

fn run_on_faulty(fault: Fault) -> FanoutReport {
    let server = FaultyServer::start(fault);
    let mut args = small_load(target(server.port()));
    // One topic over one connection: the fault hits the same events in every run.
    args.audience.topics = 1;
    args.traffic.drain = Duration::from_secs(1);
    fanout(&args).expect("the load runs")
}

#[test]
fn every_delivery_of_a_good_server_counts() {
    for coalesce in [false, true] {
        let floor = RunningFloor::start(coalesce);
        let report = fanout(&small_load(floor.target())).expect("the load runs");
        assert_eq!(report.faults, Faults::default(), "{report:?}");
        assert_eq!(report.scheduled, 40, "{report:?}");
        assert_eq!((report.published, report.acknowledged), (40, 40), "{report:?}");
        assert!(report.deliveries > 0 && report.latency.is_some(), "{report:?}");
        assert!(report.bytes_per_delivery > 100.0 && report.server.is_some(), "{report:?}");
    }
}

#[test]
fn subscribers_of_several_topics_get_all_of_them() {
    for coalesce in [false, true] {
        let floor = RunningFloor::start(coalesce);
        let mut args = small_load(floor.target());
        args.audience.topics = 10;
        args.audience.topics_each = 3;
        let report = fanout(&args).expect("the load runs");
        assert_eq!((report.faults, report.published), (Faults::default(), 40), "{report:?}");
    }
}

#[test]
fn large_events_cross_many_reads() {
    let floor = RunningFloor::start(false);
    let mut args = small_load(floor.target());
    args.traffic.size = 300_000;
    args.rate = 20.0;
    let report = fanout(&args).expect("the load runs");
    assert_eq!(report.faults, Faults::default(), "{report:?}");
}

#[test]
fn a_server_without_faults_passes_the_same_test() {
    assert_eq!(run_on_faulty(Fault::None).faults, Faults::default());
}

#[test]
fn a_dropped_event_is_lost_to_each_subscriber() {
    assert_eq!(run_on_faulty(Fault::Drop(7)).faults, Faults { lost: 20, ..Faults::default() });
}

#[test]
fn a_dropped_last_event_is_lost_too() {
    let report = run_on_faulty(Fault::DropFrom(35));
    assert_eq!(report.faults, Faults { lost: 20 * (report.published - 34), ..Faults::default() }, "{report:?}");
}

#[test]
fn a_repeated_event_is_a_duplicate() {
    assert_eq!(run_on_faulty(Fault::Repeat(7)).faults, Faults { duplicated: 20, ..Faults::default() });
}

#[test]
fn two_exchanged_events_are_out_of_order() {
    assert_eq!(run_on_faulty(Fault::Exchange(7)).faults, Faults { reordered: 20, ..Faults::default() });
}

#[test]
fn a_changed_byte_is_damage() {
    let faults = run_on_faulty(Fault::Damage(7)).faults;
    assert_eq!(faults, Faults { damaged: 20, lost: 20, ..Faults::default() });
}

#[test]
fn a_refused_publish_is_counted() {
    let report = run_on_faulty(Fault::Refuse(7));
    assert_eq!(report.faults, Faults { refused: 1, lost: 20, ..Faults::default() });
    assert!(report.problem.is_some_and(|problem| problem.contains("503")));
}

#[test]
fn a_connection_that_the_server_closes_is_made_again() {
    let report = run_on_faulty(Fault::Close(7));
    assert_eq!((report.faults, report.publisher_reconnects), (Faults::default(), 1), "{report:?}");
    assert_eq!((report.published, report.acknowledged), (40, 40), "{report:?}");
}

#[test]
fn a_loss_that_is_admitted_is_a_gap_and_not_lost_too() {
    assert_eq!(run_on_faulty(Fault::Admit(7)).faults, Faults { gaps: 20, ..Faults::default() });
}

#[test]
fn a_stream_that_ends_is_counted() {
    let report = run_on_faulty(Fault::Hangup(40));
    assert_eq!(report.faults.ended, 20, "{report:?}");
}

#[test]
fn only_loopback_targets() {
    let args = small_load(Target::new("192.0.2.1:80".parse().expect("address")));
    assert!(matches!(fanout(&args), Err(Error::NotLoopback(_))));
    let mut args = small_load(target(80));
    args.target.target.push("192.0.2.1:80".parse().expect("address"));
    assert!(matches!(fanout(&args), Err(Error::NotLoopback(_))));
}
