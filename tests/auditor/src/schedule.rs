//! Which faults come when: all of it follows from the seed. What they meet there does not.

use std::{fmt, time::Duration};

use crate::{
    system::Mode,
    traffic::{is_conflated, selectors_of},
};

/// Something that goes wrong. Numbers are those of nodes, of Redis processes, of subscribers or of publishers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL; it is started again at the end.
    KillNode(usize),
    /// SIGTERM; it is started again at the end.
    StopNode(usize),
    /// SIGSTOP, and SIGCONT at the end.
    FreezeNode(usize),
    /// SIGKILL of a Redis; it is started again at the end.
    KillRedis(usize),
    /// SIGSTOP, and SIGCONT at the end.
    FreezeRedis(usize),
    /// SIGKILL of whichever Redis is the primary.
    KillPrimary,
    /// SIGSTOP of whichever Redis is the primary.
    FreezePrimary,
    /// The replica stops following for a while.
    PauseReplica,
    /// The replica stops following, and after that while the primary is killed.
    FailOverBehind,
    /// Sentinel is asked to change the roles.
    FailOver,
    /// `CLIENT KILL TYPE pubsub`, on every Redis.
    KillPubsub,
    /// `CLIENT KILL TYPE normal`, on every Redis.
    KillCommands,
    /// The link of a node to Redis is cut.
    CutRedisLink(usize),
    /// The link of a node to Redis carries nothing for a while.
    FreezeRedisLink(usize),
    /// The links of every third subscriber, from one on, are cut.
    CutClients(usize),
    /// The link of a subscriber carries nothing for a while.
    FreezeClient(usize),
    /// A subscriber reads nothing for a while.
    StallReader(usize),
    /// The answers to a publisher are cut off.
    LoseAnswers(usize),
}

impl Fault {
    /// Its name without the number.
    #[must_use]
    pub fn kind(self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }

    /// What can have one fault at a time.
    fn target(self) -> (&'static str, usize) {
        match self {
            Self::KillNode(node) | Self::StopNode(node) | Self::FreezeNode(node) => ("node", node),
            Self::KillRedis(redis) | Self::FreezeRedis(redis) => ("redis", redis),
            Self::KillPrimary | Self::FreezePrimary | Self::PauseReplica | Self::FailOverBehind | Self::FailOver => {
                ("redis", 0)
            }
            Self::KillPubsub | Self::KillCommands => ("connections", 0),
            Self::CutRedisLink(node) | Self::FreezeRedisLink(node) => ("link", node),
            Self::CutClients(first) => ("cut", first),
            Self::FreezeClient(one) | Self::StallReader(one) => ("client", one),
            Self::LoseAnswers(one) => ("publisher", one),
        }
    }

    /// Whether Redis may lose by it what it acknowledged.
    fn loses(self) -> bool {
        matches!(self, Self::KillPrimary | Self::FreezePrimary | Self::FailOverBehind | Self::FailOver)
    }

    fn ends_node(self) -> bool {
        matches!(self, Self::KillNode(_) | Self::StopNode(_))
    }

    /// How long after its end nothing may befall its target again, so that a failover finds a replica that follows.
    fn rest(self) -> Duration {
        Duration::from_secs(if self.loses() { 14 } else { 1 })
    }
}

/// A fault at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it begins, since the run began.
    pub at: Duration,
    /// How long it lasts; nothing for what is over at once.
    pub lasts: Duration,
    /// What.
    pub fault: Fault,
}

impl Planned {
    /// When it is over.
    #[must_use]
    pub fn end(self) -> Duration {
        self.at + self.lasts
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, end) = (self.at.as_secs_f64(), self.end().as_secs_f64());
        if self.lasts.is_zero() {
            write!(f, "{at:8.3}           {:?}", self.fault)
        } else {
            write!(f, "{at:8.3}–{end:8.3}  {:?}", self.fault)
        }
    }
}

/// How many there are of what can be hit.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Nodes.
    pub nodes: usize,
    /// Redis processes with data.
    pub redis: usize,
    /// Subscribers.
    pub subscribers: usize,
    /// Publishers.
    pub publishers: usize,
}

/// Draws the faults of a run, in the order of their times; the others stay where they are when some kinds are left out.
#[must_use]
pub fn draw(
    mode: Mode,
    extent: Extent,
    lasts: Duration,
    without: &[String],
    random: &mut fastrand::Rng,
) -> Vec<Planned> {
    /// Quiet before the first fault, so that everybody is connected.
    const QUIET: Duration = Duration::from_secs(2);
    /// How long nodes may take to find out what a failover has lost.
    const TELLING: Duration = Duration::from_secs(8);
    /// How long an event may take to be known at all nodes.
    const SPREADING: Duration = Duration::from_secs(2);
    let mut plan: Vec<Planned> = Vec::new();
    let mut at = QUIET;
    while at < lasts {
        let (fault, ms) = pick(mode, extent, random);
        let lasts = Duration::from_millis(if ms.is_empty() { 0 } else { random.u64(ms) });
        let clashes = |other: &Planned| {
            let same_target = other.fault.target() == fault.target() && other.end() + other.fault.rest() > at;
            // What Redis loses, only nodes can tell of: they live until they have had the time to.
            let untold = other.fault.loses() && fault.ends_node() && other.end() + TELLING > at
                || other.fault.ends_node() && fault.loses() && other.end() + SPREADING > at;
            same_target || untold
        };
        if !plan.iter().any(clashes) && !without.contains(&fault.kind()) {
            plan.push(Planned { at, lasts, fault });
        }
        at += Duration::from_millis(random.u64(150..1500));
    }
    plan
}

/// One fault, and between which bounds it lasts, in ms.
fn pick(mode: Mode, extent: Extent, random: &mut fastrand::Rng) -> (Fault, std::ops::Range<u64>) {
    let node = random.usize(..extent.nodes);
    let redis = random.usize(..extent.redis);
    let subscriber = random.usize(..extent.subscribers);
    let publisher = random.usize(..extent.publishers);
    // Half of the stalls are for those that are conflated: the others show less by it.
    let conflated: Vec<_> = (0..extent.subscribers).filter(|&number| is_conflated(selectors_of(number))).collect();
    let staller = if random.bool() { random.choice(&conflated).copied() } else { None }.unwrap_or(subscriber);
    let once = 0..0;
    match (random.u32(..100), mode) {
        (0..8, _) => (Fault::KillNode(node), 100..3000),
        (8..14, _) => (Fault::StopNode(node), 100..3000),
        (14..22, _) => (Fault::FreezeNode(node), 200..7000),
        (22..32, _) => (Fault::KillPubsub, once),
        (32..38, _) => (Fault::KillCommands, once),
        (38..50, _) | (90.., Mode::Cluster) => (Fault::CutClients(random.usize(..3)), once),
        (50..60, _) => (Fault::FreezeClient(subscriber), 500..9000),
        (60..70, _) => (Fault::StallReader(staller), 1000..12000),
        (70..78, _) => (Fault::LoseAnswers(publisher), 500..3000),
        (78..83, Mode::Single) => (Fault::CutRedisLink(node), once),
        (83..90, Mode::Single) => (Fault::FreezeRedisLink(node), 300..8000),
        (78..82, Mode::Sentinel) => (Fault::PauseReplica, 500..3000),
        (82..87, Mode::Sentinel) => (Fault::FailOver, once),
        (87..91, Mode::Sentinel) => (Fault::KillPrimary, 2500..6000),
        (91..95, Mode::Sentinel) => (Fault::FreezePrimary, 300..6000),
        (_, Mode::Sentinel) => (Fault::FailOverBehind, 500..3000),
        // A cluster of which one is away is away as a whole, and for some seconds after it is back: less often, then.
        (78..86, Mode::Cluster) | (90..96, Mode::Single) => (Fault::KillRedis(redis), 100..2500),
        (_, _) => (Fault::FreezeRedis(redis), 200..7000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_schedule_and_each_target_one_fault_at_a_time() {
        let extent = Extent { nodes: 3, redis: 1, subscribers: 16, publishers: 4 };
        for mode in [Mode::Single, Mode::Sentinel, Mode::Cluster] {
            let [one, same, other] = [7, 7, 8]
                .map(|seed| draw(mode, extent, Duration::from_secs(600), &[], &mut fastrand::Rng::with_seed(seed)));
            assert_eq!(one, same);
            assert_ne!(one, other);
            assert!(one.len() > 200, "{}", one.len());
            for (index, first) in one.iter().enumerate() {
                let clash = |later: &&Planned| later.fault.target() == first.fault.target() && later.at < first.end();
                assert_eq!(one[index + 1..].iter().find(clash), None, "{first}");
            }
        }
    }
}
