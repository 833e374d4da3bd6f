//! A cluster of three, whose slots move, and a primary that Sentinel replaces.

mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use support::{Node, Redis, data, options, port, topic, until};
use towncrier_backplane::{Backplane, Findings};
use towncrier_backplane_redis::Options;
use towncrier_wire::EventId;

struct Cluster {
    nodes: Vec<Redis>,
    ports: Vec<String>,
    ids: Vec<String>,
}

fn serve(port: &str, bus: &str) -> Redis {
    let cluster =
        ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0"];
    let own = ["--bind", "127.0.0.1", "--port", port, "--cluster-port", bus, "--save", ""];
    Redis::with(&[&cluster[..], &own[..], &["--repl-diskless-sync-delay", "0"]].concat())
}

/// The line of an answer that is one text.
fn text_of(answer: &str) -> String {
    answer.lines().nth(1).unwrap_or(answer).to_owned()
}

impl Cluster {
    /// As `redis-cli --cluster reshard` does it.
    fn move_slot(&self, slot: u16, from: usize, to: usize) {
        let slot = slot.to_string();
        let ok = |node: &Redis, command: &[&str]| {
            let answer = node.ask(command);
            assert!(answer.starts_with("+OK") || answer.starts_with("+NOKEY"), "{command:?}: {answer}");
        };
        ok(&self.nodes[to], &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.ids[from]]);
        ok(&self.nodes[from], &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.ids[to]]);
        loop {
            let keys = self.nodes[from].read(&["CLUSTER", "GETKEYSINSLOT", &slot, "5"]);
            let keys: Vec<_> = keys.lines().skip(1).filter(|line| !line.starts_with('$')).collect();
            if keys.is_empty() {
                break;
            }
            let migrate = ["MIGRATE", "127.0.0.1", &self.ports[to], "", "0", "5000", "KEYS"];
            ok(&self.nodes[from], &[&migrate[..], &keys].concat());
        }
        ok(&self.nodes[to], &["CLUSTER", "SETSLOT", &slot, "NODE", &self.ids[to]]);
        ok(&self.nodes[from], &["CLUSTER", "SETSLOT", &slot, "NODE", &self.ids[to]]);
        ok(&self.nodes[3 - from - to], &["CLUSTER", "SETSLOT", &slot, "NODE", &self.ids[to]]);
    }

    fn start() -> Self {
        let ports: Vec<_> = (0..3).map(|_| port()).collect();
        let buses: Vec<_> = (0..3).map(|_| port()).collect();
        let start = |index: usize| serve(&ports[index], &buses[index]);
        let nodes: Vec<_> = (0..3).map(start).collect();
        for (node, slots) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
        }
        for index in 1..3 {
            nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &ports[index], &buses[index]]);
        }
        let whole = |node: &Redis| {
            let info = node.read(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        until("the cluster does not come up", || nodes.iter().all(whole));
        let ids = nodes.iter().map(|node| text_of(&node.read(&["CLUSTER", "MYID"]))).collect();
        Self { nodes, ports, ids }
    }

    /// Gives a node a replica.
    fn replica_of(&self, index: usize) -> Redis {
        let (port, bus) = (port(), port());
        let replica = serve(&port, &bus);
        self.nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        until("the replica does not know its primary", || {
            replica.ask(&["CLUSTER", "REPLICATE", &self.ids[index]]).starts_with("+OK")
        });
        let own = text_of(&replica.read(&["CLUSTER", "MYID"]));
        until("the replica does not follow", || {
            self.nodes[index].read(&["INFO", "replication"]).contains("state=online")
                && replica.read(&["INFO", "replication"]).contains("master_link_status:up")
                && self.nodes.iter().all(|node| {
                    node.read(&["CLUSTER", "NODES"])
                        .lines()
                        .any(|line| line.starts_with(&own) && line.contains("slave") && line.contains(&self.ids[index]))
                })
        });
        replica
    }

    /// Which node has a slot.
    fn owner(&self, slot: u16) -> usize {
        [5460, 10922, 16383].iter().position(|last| slot <= *last).expect("a slot")
    }

    fn options(&self, partitions: usize) -> Options {
        let url = format!("redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}", self.ports[0], self.ports[1]);
        Options { url, ..options(&self.nodes[0], partitions) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_one_hub() {
    let cluster = Cluster::start();
    let (node, other) = (Node::start(cluster.options(8)).await, Node::start(cluster.options(8)).await);
    other.join("**").await;
    node.join("t/1").await;
    let mut published = BTreeSet::new();
    for number in 0..200 {
        published.insert(node.publish(&format!("t/{}", number % 20), &number.to_string()).await);
    }
    let batch = (200..400).map(|number| support::event(&format!("t/{}", number % 20), &number.to_string(), None));
    let batch = node.backplane.publish(batch.collect()).await;
    published.extend(batch.into_iter().map(|published| published.expect("stored").id));
    assert_eq!(other.hears(400).await.len(), 400);
    assert_eq!(node.hears(20).await.len(), 20);
    let read = node.backplane.read(topic("t/1"), EventId::ZERO, 100).await.unwrap();
    assert_eq!(read.events, node.hears(20).await);
    assert_eq!(node.backplane.topics("t/".into(), None, 100).await.unwrap().len(), 20);
    assert_eq!(node.backplane.totals().await.unwrap().events, 400);
    let holding = cluster.nodes.iter().filter(|node| !node.read(&["DBSIZE"]).starts_with(":0")).count();
    assert!(holding > 1, "the partitions are spread over the cluster");
}

/// An answer to a join names a head for each partition, so it waits for the slowest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_waits_for_every_partition() {
    let cluster = Cluster::start();
    let node = Node::start(Options { command_timeout: Duration::from_secs(5), ..cluster.options(8) }).await;
    node.settle().await;
    let holding = |redis: &&Redis| !redis.read(&["DBSIZE"]).starts_with(":0");
    let slow = cluster.nodes.iter().rfind(holding).expect("one with a partition");
    slow.freeze();
    let frozen = Instant::now();
    let thaw = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        slow.thaw();
    };
    let join = async { (node.join("t").await, frozen.elapsed()) };
    let ((heads, after), ()) = tokio::join!(join, thaw);
    assert!(after >= Duration::from_millis(700), "answered after {after:?}");
    assert!(heads.iter().all(|head| *head > EventId::ZERO), "{heads:?}");
}

/// A shard's replica, which lagged, takes over: its partitions are healed, and the others know nothing of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_replica_of_a_shard_gets_what_it_lacks_from_the_nodes() {
    let mut cluster = Cluster::start();
    let slots: Vec<_> = (0..8).map(|partition| cluster.owner(slot(partition))).collect();
    let victim = slots[0];
    assert!(slots.iter().any(|owner| *owner != victim), "{slots:?}");
    let replica = cluster.replica_of(victim);
    let options = cluster.options(8);
    let other_port = cluster.ports[(victim + 1) % 3].clone();
    let url = format!("redis-cluster://127.0.0.1:{other_port}?node=127.0.0.1:{}", cluster.ports[(victim + 2) % 3]);
    let options = Options { url, ..options };
    let nodes = [Node::start(options.clone()).await, Node::start(options).await];
    nodes[1].join("**").await;
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    let mut publish = async |number: usize| {
        let name = format!("t/{}", number % 20);
        let count = counts.entry(name.clone()).or_default();
        nodes[number % 2].publish(&name, &count.to_string()).await;
        *count += 1;
    };
    for number in 0..100 {
        publish(number).await;
    }
    let offset = |redis: &Redis| {
        let info = redis.read(&["INFO", "replication"]);
        info.lines().find_map(|line| line.strip_prefix("master_repl_offset:").map(str::to_owned))
    };
    until("the replica lags", || offset(&cluster.nodes[victim]) == offset(&replica));
    replica.freeze();
    cluster.nodes[victim].ask(&["CLIENT", "KILL", "TYPE", "replica"]);
    for number in 100..300 {
        publish(number).await;
    }
    let floors = nodes[0].backplane.floors().await.unwrap();
    cluster.nodes[victim].kill();
    replica.thaw();
    let began = Instant::now();
    for number in 300..500 {
        publish(number).await;
    }
    println!("all are stored after {:?}", began.elapsed());
    let told = nodes[1].hears_all(500).await;
    for (name, count) in &counts {
        let expected: Vec<_> = (0..*count).map(|number| number.to_string()).collect();
        let of_topic: Vec<_> = told.iter().filter(|event| event.topic().as_str() == name).cloned().collect();
        assert_eq!(data(&of_topic), expected, "{name}");
        let read = nodes[0].backplane.read(topic(name), EventId::ZERO, 1000).await.unwrap();
        support::same(&read.events, &of_topic);
    }
    assert_eq!(nodes[0].backplane.floors().await.unwrap(), floors);
    let heals: Vec<_> = nodes.iter().map(|node| node.backplane.heals()).collect();
    let lost = slots.iter().filter(|owner| **owner == victim).count();
    let sum = |of: fn(&towncrier_backplane_redis::Heals) -> u64| heals.iter().map(of).sum::<u64>();
    assert_eq!(sum(|heals| heals.censuses), lost as u64, "one for each partition of the shard: {heals:?}");
    assert!(sum(|heals| heals.events) > 0 && sum(|heals| heals.incomplete) == 0, "{heals:?}");
}

fn slot(partition: usize) -> u16 {
    fred::util::redis_keyslot(format!("{{test:{partition}}}").as_bytes())
}

/// The slot of the only partition goes to another node and back, key by key, while nodes publish: what its channels told,
/// they tell there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_loses_nothing() {
    let cluster = Cluster::start();
    let (node, other) = (Arc::new(Node::start(cluster.options(1)).await), Node::start(cluster.options(1)).await);
    other.join("**").await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishers: Vec<_> = (0..3)
        .map(|publisher| {
            let (node, stop) = (node.clone(), stop.clone());
            tokio::spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    node.publish(&format!("t/{publisher}/{}", count % 20), &count.to_string()).await;
                    count += 1;
                }
                count
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let own = slot(0);
    let mut from = cluster.owner(own);
    for _ in 0..3 {
        let to = (from + 1) % 3;
        tokio::task::block_in_place(|| cluster.move_slot(own, from, to));
        from = to;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut count = 0;
    for publisher in publishers {
        count += publisher.await.expect("a publisher");
    }
    let told = other.hears_all(count).await;
    let mut held = 0;
    for publisher in 0..3 {
        for number in 0..20 {
            let name = format!("t/{publisher}/{number}");
            let read = node.backplane.read(topic(&name), EventId::ZERO, usize::MAX).await.unwrap();
            let of_topic: Vec<_> = told.iter().filter(|event| event.topic().as_str() == name).cloned().collect();
            support::same(&read.events, &of_topic);
            held += read.events.len();
        }
    }
    assert_eq!(held, count);
    println!("{count} published, {:?}", node.backplane.heals());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinel_is_survived() {
    let (first, second, third) = (port(), port(), port());
    let mut primary = Redis::with(&["--bind", "127.0.0.1", "--port", &first, "--save", ""]);
    let follow = format!("127.0.0.1 {first}");
    let replica = Redis::with(&["--bind", "127.0.0.1", "--port", &second, "--save", "", "--replicaof", &follow]);
    until("the replica does not follow", || replica.read(&["INFO", "replication"]).contains("master_link_status:up"));
    let sentinel = Redis::sentinel(&third, &first);
    until("the sentinel does not know the replica", || {
        sentinel.read(&["SENTINEL", "REPLICAS", "main"]).contains(&second)
    });
    let url = format!("redis-sentinel://127.0.0.1:{third}?sentinelServiceName=main");
    let options = Options { url, ..options(&primary, 2) };
    let (node, other) = (Node::start(options.clone()).await, Node::start(options).await);
    other.join("**").await;
    let mut last = EventId::ZERO;
    for number in 0..50 {
        last = node.publish("a", &number.to_string()).await;
    }
    until("the replica lags", || replica.read(&["XLEN", &stream(&node)]).starts_with(":50"));
    primary.kill();
    let began = Instant::now();
    for number in 50..100 {
        let id = node.publish("a", &number.to_string()).await;
        assert!(id > last, "{id} after {last}");
        last = id;
    }
    println!("published again after {:?}", began.elapsed());
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(data(&other.hears(100).await), expected);
    assert_eq!(data(&node.backplane.read(topic("a"), EventId::ZERO, 1000).await.unwrap().events), expected);
}

fn stream(node: &Node) -> String {
    format!("{{test:{}}}:s:a", node.backplane.partitions().of(&topic("a")).index())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_primary_of_a_cluster_is_looked_at() {
    let cluster = Cluster::start();
    for (node, policy) in cluster.nodes.iter().zip(["noeviction", "allkeys-lru", "volatile-ttl"]) {
        node.ask(&["CONFIG", "SET", "appendonly", "yes"]);
        node.ask(&["CONFIG", "SET", "maxmemory-policy", policy]);
    }
    let node = Node::start(cluster.options(2)).await;
    let found = node.backplane.surroundings().next().await.expect("a backplane");
    let mut found: Vec<_> = found.findings.iter().map(|one| (one.place.as_str(), one.found.as_str())).collect();
    found.sort_by_key(|(_, policy)| *policy);
    let places = [1, 2].map(|index| format!("redis 127.0.0.1:{}", cluster.ports[index]));
    assert_eq!(found, [(places[0].as_str(), "allkeys-lru"), (places[1].as_str(), "volatile-ttl")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_after_a_failover_is_looked_at() {
    let (first, second, third) = (port(), port(), port());
    let kept = ["--appendonly", "yes", "--appenddirname"];
    let own = |port: &str| ["--bind", "127.0.0.1", "--port"].into_iter().chain([port]).map(str::to_owned).collect();
    let with = |port: &str, folder: &str, more: &[&str]| {
        let own: Vec<String> = own(port);
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        Redis::with(&[&own[..], &kept, &[folder, "--save", ""], more].concat())
    };
    let mut primary = with(&first, "one", &[]);
    let follow = format!("127.0.0.1 {first}");
    let replica = with(&second, "other", &["--replicaof", &follow, "--maxmemory-policy", "allkeys-random"]);
    until("the replica does not follow", || replica.read(&["INFO", "replication"]).contains("master_link_status:up"));
    let sentinel = Redis::sentinel(&third, &first);
    until("the sentinel does not know the replica", || {
        sentinel.read(&["SENTINEL", "REPLICAS", "main"]).contains(&second)
    });
    let url = format!("redis-sentinel://127.0.0.1:{third}?sentinelServiceName=main");
    let node = Node::start(Options { url, ..options(&primary, 1) }).await;
    let mut surroundings = node.backplane.surroundings();
    assert_eq!(surroundings.next().await, Some(Findings::default()));

    primary.kill();

    let found = tokio::time::timeout(support::DEADLINE, surroundings.next()).await.expect("in time");
    let found = found.expect("a backplane").findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].place.as_str(), found[0].found.as_str()),
        (&*format!("redis 127.0.0.1:{second}"), "allkeys-random")
    );
    drop(node);
    assert_eq!(tokio::time::timeout(support::DEADLINE, surroundings.next()).await.expect("in time"), None);
}
