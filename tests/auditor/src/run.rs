//! One run: everything up, the schedule, everything healed and drained, and the record of it.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    admin,
    faults::Faults,
    journal::{Clock, Journal},
    judge::Record,
    publisher::{self, FINAL, Published, Publisher},
    schedule::{self, Extent},
    subscriber::{self, Subscriber},
    system::{Mode, System},
    traffic::{TOPICS, fits, selectors_of},
};

/// How often the schedule is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How often the progress is printed.
const PROGRESS: Duration = Duration::from_secs(15);
/// How long it may take, after all is healed, until every publish is acknowledged and every event is delivered.
pub const RECOVERS_WITHIN: Duration = Duration::from_secs(60);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How Redis is run.
    pub mode: Mode,
    /// What the schedule and everybody's choices follow from.
    pub seed: u64,
    /// How long faults are made.
    pub lasts: Duration,
    /// How many nodes.
    pub nodes: usize,
    /// How many subscribers.
    pub subscribers: usize,
    /// How many publishers.
    pub publishers: usize,
    /// How many events a second, of all publishers together, while nothing is wrong.
    pub per_second: f64,
    /// Kinds of faults to leave out, by the names of [`Fault`](schedule::Fault).
    pub without: Vec<String>,
}

/// Carries it out. Logs of the nodes go into `folder`.
///
/// # Panics
/// When what is not audited does not work: Redis does not start, or a thread of the auditor fails.
#[must_use]
pub fn run(options: &Options, folder: &Path) -> Record {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let extent = Extent {
        nodes: options.nodes,
        redis: if options.mode == Mode::Cluster { 3 } else { 1 },
        subscribers: options.subscribers,
        publishers: options.publishers,
    };
    let plan = schedule::draw(options.mode, extent, options.lasts, &options.without, &mut random.fork());
    let mut system = System::start(options.mode, options.nodes, folder);
    let addrs: Vec<_> = system.nodes.iter().map(crate::node::Node::addr).collect();
    let clock = Clock::start();

    let readers: Vec<_> = (0..options.subscribers).map(|_| subscriber::Control::new(addrs[0])).collect();
    let writers: Vec<_> = (0..options.publishers).map(|_| publisher::Control::new(addrs[0])).collect();
    let follow = |(number, control): (usize, &Arc<subscriber::Control>)| {
        Subscriber::start(number, control.clone(), addrs.clone(), random.fork(), clock)
    };
    let journals: Vec<JoinHandle<Journal>> = readers.iter().enumerate().map(follow).collect();
    let share = options.per_second / f64::from(u32::try_from(options.publishers).expect("few"));
    let publish = |(number, control): (usize, &Arc<publisher::Control>)| {
        let number = u16::try_from(number).expect("few");
        Publisher::new(number, control.clone(), addrs.clone(), random.fork(), clock).start(share)
    };
    let published: Vec<JoinHandle<Published>> = writers.iter().enumerate().map(publish).collect();

    let mut faults = Faults::new(&mut system, &readers, &writers, clock, plan);
    let mut told = Duration::ZERO;
    while faults.advance() || clock.now() < options.lasts {
        if clock.now() - told >= PROGRESS {
            told = clock.now();
            let acked: u64 = writers.iter().map(|control| control.acked.load(Ordering::Relaxed)).sum();
            let got: u64 = readers.iter().map(|control| control.events.load(Ordering::Relaxed)).sum();
            eprintln!("{:4} s: {acked} events acknowledged, {got} deliveries", told.as_secs());
        }
        thread::sleep(TICK);
    }
    let faults = faults.done();

    let mut complaints = heal(&mut system, &readers, &writers);
    let began = clock.now();
    while !system.is_at_rest() {
        assert!(clock.now() < began + RECOVERS_WITHIN, "Redis and its Sentinel do not come to rest");
        system.tend();
        thread::sleep(TICK);
    }
    let healed = clock.now();
    let mut publishes = Vec::new();
    writers.iter().for_each(|control| control.over.store(true, Ordering::SeqCst));
    let over = |handles: &[JoinHandle<Published>]| handles.iter().all(JoinHandle::is_finished);
    wait(&mut system, clock, healed, || over(&published));
    if !over(&published) {
        complaints
            .push(format!("some publishes were not acknowledged within {RECOVERS_WITHIN:?} after all was healed"));
        writers.iter().for_each(|control| control.hopeless.store(true, Ordering::SeqCst));
    }
    for handle in published {
        let done = handle.join().expect("a publisher");
        publishes.extend(done.publishes);
        complaints.extend(done.nonsense);
    }
    let closing = publisher::Control::new(addrs[0]);
    let closer = Publisher::new(FINAL, closing.clone(), addrs.clone(), random.fork(), clock);
    let closer = thread::spawn(move || closer.close());
    wait(&mut system, clock, healed, || closer.is_finished());
    closing.hopeless.store(true, Ordering::SeqCst);
    let closer = closer.join().expect("the closing publisher");
    publishes.extend(closer.publishes);
    complaints.extend(closer.nonsense);

    let has_all = |(number, control): (usize, &Arc<subscriber::Control>)| {
        let selectors = selectors_of(number);
        let wanted = TOPICS.iter().filter(|topic| selectors.iter().any(|selector| fits(selector, topic))).count();
        control.finals.load(Ordering::SeqCst) >= wanted
    };
    wait(&mut system, clock, healed, || readers.iter().enumerate().all(has_all));
    let drained = clock.now() - healed;
    for (number, _) in readers.iter().enumerate().filter(|reader| !has_all(*reader)) {
        complaints
            .push(format!("subscriber {number} has not caught up within {RECOVERS_WITHIN:?} after all was healed"));
    }
    readers.iter().for_each(|control| control.over.store(true, Ordering::SeqCst));
    let journals = journals.into_iter().map(|handle| handle.join().expect("a subscriber")).collect();
    let histories = histories(&mut system, &mut complaints);
    system.keep_logs();
    for node in &system.nodes {
        complaints.extend(node.complaints.iter().cloned());
        complaints.extend(node.panics());
    }
    Record { mode: options.mode, clock, journals, publishes, histories, faults, complaints, drained }
}

/// Takes all faults away; gives what is wrong already.
fn heal(system: &mut System, readers: &[Arc<subscriber::Control>], writers: &[Arc<publisher::Control>]) -> Vec<String> {
    for reader in readers {
        reader.proxy.thaw();
        reader.stalled.store(false, Ordering::SeqCst);
    }
    writers.iter().for_each(|writer| writer.proxy.cut_each_after(0));
    system.heal();
    Vec::new()
}

/// Waits for something, at most as long as recovery may take.
fn wait(system: &mut System, clock: Clock, healed: Duration, is: impl Fn() -> bool) {
    while !is() && clock.now() < healed + RECOVERS_WITHIN {
        system.tend();
        thread::sleep(TICK);
    }
}

fn histories(
    system: &mut System,
    complaints: &mut Vec<String>,
) -> Vec<Vec<Vec<(crate::ids::Id, crate::journal::Key)>>> {
    let mut all = Vec::new();
    for node in &system.nodes {
        match admin::histories(node.addr()) {
            Ok(history) => all.push(history),
            Err(error) => complaints.push(format!("the history at {}: {error}", node.addr())),
        }
    }
    all
}
