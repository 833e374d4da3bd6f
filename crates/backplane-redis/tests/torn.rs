//! Redis is torn back to older copies again and again while nodes publish and listen. Whatever was acknowledged is told to
//! each listener once, in order, and is in history once; or a loss was told that covers it. While no node dies, nothing is
//! lost at all.
//!
//! Seeded: `TOWNCRIER_SEED` repeats a run, `TOWNCRIER_TORN_SECONDS` makes it longer.

mod support;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use support::{Node, Redis, options, topic};
use towncrier_backplane::Backplane;
use towncrier_backplane_redis::Options;
use towncrier_wire::{EventId, Heads, Selector};

const TOPICS: usize = 5;
const PARTITIONS: usize = 2;

/// The copies that Redis is torn back to.
const COPIES: usize = 3;

/// What was acknowledged: data -> topic and id.
type Acknowledged = Arc<Mutex<HashMap<String, (String, EventId)>>>;

struct Member {
    node: Arc<Node>,
    selector: &'static str,
    since: Heads,
    stop: Arc<AtomicBool>,
    publisher: tokio::task::JoinHandle<()>,
}

impl Member {
    async fn start(options: Options, name: String, selector: &'static str, acknowledged: &Acknowledged) -> Self {
        let began = Instant::now();
        let node = loop {
            // Redis may be away just now.
            match towncrier_backplane_redis::connect(options.clone()).await {
                Ok((backplane, signals)) => break Arc::new(Node::of(backplane, signals)),
                Err(error) => assert!(began.elapsed() < support::DEADLINE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let since = node.join(selector).await;
        let stop = Arc::new(AtomicBool::new(false));
        let publisher = tokio::spawn({
            let (node, stop, acknowledged) = (node.clone(), stop.clone(), acknowledged.clone());
            async move {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (topic, data) = (format!("t/{}", fastrand::usize(..TOPICS)), format!("{name}/{number}"));
                    let id = node.publish(&topic, &data).await;
                    let before = acknowledged.lock().unwrap().insert(data, (topic, id));
                    assert!(before.is_none());
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(..4))).await;
                }
            }
        });
        Self { node, selector, since, stop, publisher }
    }

    async fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.publisher).await.expect("a publisher");
    }

    /// As SIGKILL: nobody is told.
    async fn die(self) {
        self.publisher.abort();
        let _ = self.publisher.await;
    }
}

fn tight(redis: &Redis, deaths: bool) -> Options {
    Options {
        // It is also how long a census waits: briefly for those that died, and on a machine that is busy long enough for
        // those that did not.
        command_timeout: Duration::from_millis(if deaths { 500 } else { 2000 }),
        probe_interval: Duration::from_millis(100),
        ..options(redis, PARTITIONS)
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect(name))
}

async fn torn(deaths: bool) {
    let seed = setting("TOWNCRIER_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = setting("TOWNCRIER_TORN_SECONDS").unwrap_or(6);
    println!("TOWNCRIER_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut redis = Redis::start();
    let acknowledged = Acknowledged::default();
    let mut members = Vec::new();
    // Where nodes die, nobody else holds what they published to the topics that are not followed.
    let first = if deaths { "t/2" } else { "**" };
    for (name, selector) in [("a", first), ("b", "t/1"), ("c", "none")] {
        members.push(Member::start(tight(&redis, deaths), name.to_owned(), selector, &acknowledged).await);
    }
    redis.copy("0");
    let (mut copies, mut tears, mut died) = (1, 0, 0);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until || tears == 0 || (deaths && died == 0) {
        tokio::time::sleep(Duration::from_millis(random.u64(20..300))).await;
        match random.u32(..10) {
            0..5 => {
                redis.copy(&(copies % COPIES).to_string());
                copies += 1;
            }
            5..7 if deaths && died <= tears => {
                let member = members.remove(random.usize(1..members.len()));
                let (selector, name) = (member.selector, format!("d{died}"));
                // What it published last is gone with it, if Redis is as well.
                member.die().await;
                if random.u32(..4) > 0 {
                    redis.kill();
                    redis.tear_to(&random.usize(..copies.min(COPIES)).to_string());
                }
                members.push(Member::start(tight(&redis, deaths), name, selector, &acknowledged).await);
                died += 1;
            }
            _ => {
                redis.kill();
                tokio::time::sleep(Duration::from_millis(random.u64(..200))).await;
                redis.tear_to(&random.usize(..copies.min(COPIES)).to_string());
                tears += 1;
            }
        }
    }
    for member in &mut members {
        member.stop().await;
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    println!("{} acknowledged, {tears} times torn, {died} nodes died", acknowledged.len());
    check(&members, &acknowledged, deaths).await;
}

async fn check(members: &[Member], acknowledged: &HashMap<String, (String, EventId)>, deaths: bool) {
    let partitions = members[0].node.backplane.partitions();
    let partition = |name: &str| partitions.of(&topic(name)).index();
    // No id was given twice: neither to two that were acknowledged, nor to one of these and one that was told.
    let mut given: BTreeMap<(usize, EventId), &str> = BTreeMap::new();
    for (data, (name, id)) in acknowledged {
        let before = given.insert((partition(name), *id), data);
        assert!(before.is_none(), "{id} is {data} and {before:?}");
    }
    for member in members {
        member.node.settle().await;
        let heard = member.node.heard.lock().unwrap();
        member.node.in_order(&heard.events);
        let mut told: HashMap<&str, usize> = HashMap::new();
        for event in &heard.events {
            *told.entry(event.data()).or_default() += 1;
            let given = given.get(&(partition(event.topic().as_str()), event.id()));
            assert!(
                given.is_none_or(|given| *given == event.data()),
                "{} is {given:?} and {}",
                event.id(),
                event.data()
            );
        }
        if !deaths {
            assert!(heard.lost.is_empty(), "nobody died, so nothing is lost");
            assert_eq!(member.node.backplane.heals().incomplete, 0);
        }
        let selector = Selector::new(member.selector).unwrap();
        for (data, (name, id)) in acknowledged {
            let partition = partition(name);
            if !selector.matches(&topic(name)) || *id <= member.since[partition] {
                continue;
            }
            let times = told.get(data.as_str()).copied().unwrap_or_default();
            let lost = heard.lost.iter().any(|heads| heads[partition] >= *id);
            assert!(times == 1 || (times == 0 && lost), "{data}, {id} of {name}, was told {times} times, lost: {lost}");
        }
    }
    let node = &members[0].node;
    let mut held: HashMap<String, Vec<EventId>> = HashMap::new();
    let mut trimmed = HashMap::new();
    for number in 0..TOPICS {
        let name = format!("t/{number}");
        let read = node.backplane.read(topic(&name), EventId::ZERO, usize::MAX).await.unwrap();
        for event in &read.events {
            held.entry(event.data().to_owned()).or_default().push(event.id());
        }
        trimmed.insert(name, read.trimmed);
    }
    let floors = node.backplane.floors().await.unwrap();
    for (data, (name, id)) in acknowledged {
        let lost = *id <= floors[partition(name)] || *id <= trimmed[name];
        let held = held.get(data).map(Vec::as_slice).unwrap_or_default();
        assert!(
            *held == [*id] || (held.is_empty() && lost),
            "{data}, {id} of {name}, is held as {held:?}, lost: {lost}"
        );
    }
    println!("{:?}", members.iter().map(|member| member.node.backplane.heals()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_no_node_dies() {
    torn(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_with_a_node_is_told() {
    torn(true).await;
}
