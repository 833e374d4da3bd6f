//! The load tool against servers that behave, and against one that does not: what it measures, it must also check.

mod faulty;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use faulty::{Fault, FaultyServer};
use towncrier_loadtest::{Error, FanoutArgs, FanoutReport, Faults, Floor, Target, Traffic, fanout};

/// A floor server in a thread, stopped when dropped.
struct RunningFloor {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl RunningFloor {
    fn start(coalesce: bool) -> Self {
        let mut floor = Floor::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), coalesce).expect("a free port");
        let port = floor.port().expect("the port");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || floor.run(Duration::from_secs(60), &stopped).expect("the floor runs"));
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for RunningFloor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))), "the floor thread panicked");
    }
}

/// Forty events to twenty subscribers on four topics.
fn small_load(port: u16) -> FanoutArgs {
    FanoutArgs {
        target: Target {
            target: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            server_pid: None,
            sources: 2,
            connect_timeout: Duration::from_secs(10),
            json: None,
            quiet: true,
        },
        traffic: Traffic {
            size: 100,
            publish_target: None,
            seconds: Duration::from_millis(300),
            warmup: Duration::from_millis(100),
            publishers: 2,
            // Room for all of them: however slow the machine, each is published.
            pipeline: 64,
            drain: Duration::from_secs(10),
        },
        subscribers: 20,
        topics: 4,
        rate: 100.0,
    }
}

fn run_on_faulty(fault: Fault) -> FanoutReport {
    let server = FaultyServer::start(fault);
    let mut args = small_load(server.port());
    // One topic over one connection: the fault hits the same events in every run.
    args.topics = 1;
    args.traffic.drain = Duration::from_secs(1);
    fanout(&args).expect("the load runs")
}

#[test]
fn every_delivery_of_a_good_server_counts() {
    for coalesce in [false, true] {
        let floor = RunningFloor::start(coalesce);
        let report = fanout(&small_load(floor.port)).expect("the load runs");
        assert_eq!(report.faults, Faults::default(), "{report}");
        assert_eq!(report.scheduled, 40, "{report}");
        assert_eq!((report.published, report.acknowledged), (40, 40), "{report}");
        assert!(report.deliveries > 0 && report.latency.is_some(), "{report}");
    }
}

#[test]
fn large_events_cross_many_reads() {
    let floor = RunningFloor::start(false);
    let mut args = small_load(floor.port);
    args.traffic.size = 300_000;
    args.rate = 20.0;
    let report = fanout(&args).expect("the load runs");
    assert_eq!(report.faults, Faults::default(), "{report}");
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
    assert_eq!(report.faults, Faults { lost: 20 * (report.published - 34), ..Faults::default() }, "{report}");
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
fn a_stream_that_ends_is_counted() {
    let report = run_on_faulty(Fault::Hangup(40));
    assert_eq!(report.faults.ended, 20, "{report}");
}

#[test]
fn only_loopback_targets() {
    let mut args = small_load(80);
    args.target.target = "192.0.2.1:80".parse().expect("address");
    assert!(matches!(fanout(&args), Err(Error::NotLoopback(_))));
}
