//! Two servers that both take themselves for the primary, and nodes that publish to both.

mod support;

use std::{
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use support::{Node, Redis, data, options, port, topic, until, wait};
use towncrier_backplane::Backplane;
use towncrier_backplane_redis::{Heals, Options};
use towncrier_wire::EventId;

/// A primary and its replica, both in memory only, and their ports.
fn pair() -> ([Redis; 2], [String; 2]) {
    let ports = [port(), port()];
    let own = |port| ["--bind", "127.0.0.1", "--port", port, "--save", "", "--repl-diskless-sync-delay", "0"];
    let primary = Redis::with(&own(&ports[0]));
    let follow = format!("127.0.0.1 {}", ports[0]);
    let replica = Redis::with(&[&own(&ports[1])[..], &["--replicaof", &follow]].concat());
    until("the replica does not follow", || {
        primary.read(&["INFO", "replication"]).contains("state=online,offset")
            && replica.read(&["INFO", "replication"]).contains("link_status:up")
    });
    ([primary, replica], ports)
}

/// How many connections for messages a server has, but for the Sentinel's.
fn listeners(redis: &Redis) -> usize {
    let clients = redis.read(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    clients.lines().filter(|line| line.contains("addr=") && !line.contains("name=sentinel")).count()
}

/// The same, and a Sentinel that watches them.
struct Watched {
    servers: [Redis; 2],
    sentinel: Redis,
    url: String,
}

impl Watched {
    fn start() -> Self {
        let (servers, ports) = pair();
        let watcher = port();
        let sentinel = Redis::sentinel(&watcher, &ports[0]);
        until("the Sentinel does not know the replica", || {
            sentinel.read(&["SENTINEL", "REPLICAS", "main"]).contains(&ports[1])
        });
        let url = format!("redis-sentinel://127.0.0.1:{watcher}?sentinelServiceName=main");
        Self { servers, sentinel, url }
    }

    fn options(&self) -> Options {
        Options { url: self.url.clone(), ..options(&self.servers[0], 2) }
    }

    /// Whether a server takes itself for a primary.
    fn is_primary(&self, number: usize) -> bool {
        self.servers[number].read(&["INFO", "replication"]).contains("role:master")
    }
}

async fn sum(nodes: &[Node]) -> Heals {
    nodes.iter().map(|node| node.backplane.heals()).fold(Heals::default(), |one, other| Heals {
        censuses: one.censuses + other.censuses,
        events: one.events + other.events,
        incomplete: one.incomplete + other.incomplete,
    })
}

/// The old one is alive, and takes itself for the primary until the Sentinel demotes it, ten seconds later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_primary_gets_no_more_events() {
    let watched = Watched::start();
    let nodes = [
        Node::start(watched.options()).await,
        Node::start(watched.options()).await,
        Node::start(watched.options()).await,
    ];
    nodes[0].join("**").await;
    nodes[1].join("t/1").await;
    let mut count = 0;
    let mut publish = async || {
        nodes[count % 3].publish(&format!("t/{}", count % 2), &count.to_string()).await;
        count += 1;
        count
    };
    for _ in 0..30 {
        publish().await;
    }
    // Since then it lags by whatever comes.
    let head = |redis: &Redis| redis.read(&["HGET", "{test:0}:meta", "head"]);
    until("the replica lags", || head(&watched.servers[0]) == head(&watched.servers[1]));
    until("no failover", || watched.sentinel.ask(&["SENTINEL", "FAILOVER", "main"]).starts_with('+'));
    until("the replica does not take over", || watched.is_primary(1));
    let gone = || listeners(&watched.servers[0]) == 0;
    let mut total = 0;
    let began = Instant::now();
    while !gone() && began.elapsed() < support::DEADLINE {
        total = publish().await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert!(watched.is_primary(0), "the nodes left while it still took itself for the primary");
    assert!(gone(), "nobody listens to the old one any more");
    // Demoted, it would take what the new one has.
    until("the old primary is not demoted", || !watched.is_primary(0));
    let total = (0..20).fold(total, |total, _| total + 1);
    for _ in 0..20 {
        publish().await;
    }
    let told = nodes[0].hears_all(total).await;
    for number in 0..2 {
        let name = format!("t/{number}");
        let of_topic: Vec<_> = told.iter().filter(|event| event.topic().as_str() == name).cloned().collect();
        let read = nodes[2].backplane.read(topic(&name), EventId::ZERO, 10_000).await.unwrap();
        support::same(&read.events, &of_topic);
    }
    let heals = sum(&nodes).await;
    assert_eq!(heals.incomplete, 0, "{heals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_away_cost_nothing() {
    let mut watched = Watched::start();
    let node = Node::start(watched.options()).await;
    watched.sentinel.freeze();
    tokio::time::sleep(Duration::from_secs(3)).await;
    for number in 0..20 {
        node.try_publish("a", &number.to_string(), None).await.expect("stored");
    }
    watched.sentinel.thaw();
    watched.sentinel.kill();
    for number in 20..60 {
        node.try_publish("a", &number.to_string(), None).await.expect("stored");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sum(&[node]).await, Heals::default());
}

/// Nobody tells a node that its server was replaced, as where an address is moved by hand. It goes on there after the
/// census at the new one has ended without it, and with it the word that was given.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_to_both_sides_of_a_split_is_told_to_be_lost() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().join("s");
    let (servers, _) = pair();
    let [old, new] = &servers;
    symlink(old.socket(), &address).unwrap();
    let own = Options { url: format!("redis+unix://{}", address.display()), ..options(old, 1) };
    let late = Node::start(own).await;
    let first = late.publish("a", "both have it").await;
    until("the replica lags", || new.read(&["XLEN", "{test:0}:s:a"]).starts_with(":1"));
    new.ask(&["REPLICAOF", "NO", "ONE"]);

    let node = Node::start(options(new, 1)).await;
    node.join("**").await;
    let lost = || node.heard.lock().unwrap().lost.clone();
    // It was in the census that waited for the late one in vain, and the floor has told that.
    let before = node.publish("a", "new before").await;
    let mut floor = node.backplane.floors().await.unwrap()[0];
    assert!(floor > first && before > floor, "{floor} is the word that is given when a census is not whole");
    for round in 0..3 {
        // Ids of the old one, also below that floor: it does not know of it.
        let gone = late.publish("b", &format!("old {round}")).await;
        let passed = node.publish("a", &format!("new {round}")).await;
        let told = lost().len();
        std::fs::remove_file(&address).unwrap();
        symlink(new.socket(), &address).unwrap();
        for kind in ["normal", "pubsub"] {
            old.ask(&["CLIENT", "KILL", "TYPE", kind]);
        }
        wait("the second word", || lost().get(told).copied()).await;
        let risen = node.backplane.floors().await.unwrap()[0];
        assert!(risen > floor && risen >= gone && risen >= passed, "{risen} after {floor}, for {gone} and {passed}");
        floor = risen;
        let after = late.publish("b", &format!("after {round}")).await;
        assert!(after > floor);
        let held = data(&node.backplane.read(topic("b"), EventId::ZERO, 100).await.unwrap().events);
        assert_eq!(held.last().unwrap(), &format!("after {round}"));
        // Back to the old one, which knows nothing of all that.
        std::fs::remove_file(&address).unwrap();
        symlink(old.socket(), &address).unwrap();
        for kind in ["normal", "pubsub"] {
            new.ask(&["CLIENT", "KILL", "TYPE", kind]);
        }
        until("the late one is not back", || listeners(old) > 0);
    }
}
