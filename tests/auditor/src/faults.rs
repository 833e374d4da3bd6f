//! Carries out the schedule.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rustix::process::Signal;
use towncrier_e2e::Redis;

use crate::{
    journal::Clock,
    publisher,
    schedule::{Fault, Planned},
    subscriber,
    system::System,
};

/// Where an answer to a publisher is cut: within its status line.
const ANSWER_BYTES: usize = 10;
/// After a failover that was made by a kill, the old primary stays away for so long, so that the Sentinel has decided.
const SUCCESSION: Duration = Duration::from_secs(3);

/// A step of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Begin,
    End,
    /// What a fault leaves to be mended later.
    Mend(usize),
}

/// See the module.
pub struct Faults<'a> {
    system: &'a mut System,
    subscribers: &'a [Arc<subscriber::Control>],
    publishers: &'a [Arc<publisher::Control>],
    clock: Clock,
    /// What is to be done, latest first.
    steps: Vec<(Duration, Step, usize)>,
    plan: Vec<Planned>,
    /// Which Redis each fault hit, by its place in the plan.
    hit: Vec<usize>,
    frozen: HashSet<usize>,
}

impl<'a> Faults<'a> {
    /// Ready to carry out a plan.
    #[must_use]
    pub fn new(
        system: &'a mut System,
        subscribers: &'a [Arc<subscriber::Control>],
        publishers: &'a [Arc<publisher::Control>],
        clock: Clock,
        plan: Vec<Planned>,
    ) -> Self {
        let mut steps: Vec<_> = plan
            .iter()
            .enumerate()
            .flat_map(|(at, one)| [(one.at, Step::Begin, at), (one.end(), Step::End, at)])
            .collect();
        // Of two at the same time the one that was planned first comes first, and its beginning before its end.
        steps.sort_by_key(|(at, step, index)| (*at, *index, *step != Step::Begin));
        steps.reverse();
        let hit = vec![0; plan.len()];
        Self { system, subscribers, publishers, clock, steps, plan, hit, frozen: HashSet::new() }
    }

    /// Does what is due. Gives whether anything is left to do.
    pub fn advance(&mut self) -> bool {
        self.system.tend();
        while let Some((at, step, index)) = self.steps.last().copied() {
            if at > self.clock.now() {
                return true;
            }
            self.steps.pop();
            match step {
                Step::Begin => {
                    // What happened is written down, with the time at which it did.
                    self.plan[index].at = self.clock.now();
                    self.begin(index);
                }
                Step::End => {
                    self.end(index);
                    self.plan[index].lasts = self.clock.now() - self.plan[index].at;
                }
                Step::Mend(redis) => {
                    if !self.system.redis[redis].runs() {
                        self.system.redis[redis].restart();
                    }
                    self.system.redis.iter().for_each(|redis| _ = redis.follow_again());
                    self.plan[index].lasts = self.clock.now() - self.plan[index].at;
                }
            }
        }
        false
    }

    /// What happened, and when.
    #[must_use]
    pub fn done(self) -> Vec<Planned> {
        self.plan
    }

    fn begin(&mut self, index: usize) {
        let system = &mut *self.system;
        match self.plan[index].fault {
            Fault::KillNode(node) => system.nodes[node].kill(),
            Fault::StopNode(node) => system.nodes[node].stop(),
            Fault::FreezeNode(node) => system.nodes[node].signal(Signal::STOP),
            Fault::KillRedis(redis) => self.kill_redis(redis),
            Fault::FreezeRedis(redis) => self.freeze_redis(index, redis),
            Fault::KillPrimary => {
                self.hit[index] = system.primary();
                self.kill_redis(self.hit[index]);
            }
            Fault::FreezePrimary => {
                let primary = system.primary();
                self.freeze_redis(index, primary);
            }
            Fault::PauseReplica | Fault::FailOverBehind => {
                self.hit[index] = system.primary();
                for (_, redis) in system.redis.iter().enumerate().filter(|(place, _)| *place != self.hit[index]) {
                    let _ = redis.stop_following();
                }
            }
            Fault::FailOver => _ = system.fail_over(),
            Fault::KillPubsub => self.on_all("CLIENT KILL TYPE pubsub"),
            Fault::KillCommands => self.on_all("CLIENT KILL TYPE normal"),
            Fault::CutRedisLink(node) => system.links[node].cut(),
            Fault::FreezeRedisLink(node) => system.links[node].freeze(),
            Fault::CutClients(first) => {
                self.subscribers.iter().skip(first).step_by(3).for_each(|subscriber| subscriber.proxy.cut());
            }
            Fault::FreezeClient(one) => self.subscribers[one].proxy.freeze(),
            Fault::StallReader(one) => self.subscribers[one].stalled.store(true, Ordering::SeqCst),
            Fault::LoseAnswers(one) => self.publishers[one].proxy.cut_each_after(ANSWER_BYTES),
        }
    }

    fn end(&mut self, index: usize) {
        let system = &mut *self.system;
        match self.plan[index].fault {
            Fault::KillNode(node) | Fault::StopNode(node) => system.nodes[node].want(),
            Fault::FreezeNode(node) => system.nodes[node].signal(Signal::CONT),
            Fault::KillRedis(redis) => system.redis[redis].restart(),
            Fault::KillPrimary => system.redis[self.hit[index]].restart(),
            Fault::FreezeRedis(_) | Fault::FreezePrimary => {
                system.redis[self.hit[index]].thaw();
                self.frozen.remove(&self.hit[index]);
            }
            Fault::PauseReplica => system.redis.iter().for_each(|redis| _ = redis.follow_again()),
            Fault::FailOverBehind => {
                self.kill_redis(self.hit[index]);
                let mend = (self.clock.now() + SUCCESSION, Step::Mend(self.hit[index]), index);
                let place = self.steps.partition_point(|(at, ..)| *at > mend.0);
                self.steps.insert(place, mend);
            }
            Fault::FreezeRedisLink(node) => system.links[node].thaw(),
            Fault::FreezeClient(one) => self.subscribers[one].proxy.thaw(),
            Fault::StallReader(one) => self.subscribers[one].stalled.store(false, Ordering::SeqCst),
            Fault::LoseAnswers(one) => self.publishers[one].proxy.cut_each_after(0),
            Fault::FailOver
            | Fault::KillPubsub
            | Fault::KillCommands
            | Fault::CutRedisLink(_)
            | Fault::CutClients(_) => {}
        }
    }

    fn kill_redis(&mut self, redis: usize) {
        if self.system.redis[redis].runs() {
            self.system.redis[redis].kill();
        }
    }

    fn freeze_redis(&mut self, index: usize, redis: usize) {
        self.hit[index] = redis;
        self.frozen.insert(redis);
        self.system.redis[redis].freeze();
    }

    fn on_all(&self, command: &str) {
        let reachable = |(place, redis): &(usize, &Redis)| redis.runs() && !self.frozen.contains(place);
        self.system.redis.iter().enumerate().filter(reachable).for_each(|(_, redis)| _ = redis.try_command(command));
    }
}
