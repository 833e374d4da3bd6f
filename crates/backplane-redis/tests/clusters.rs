//! A cluster of three, whose slots move, and a primary that Sentinel replaces.

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use support::{Node, Redis, data, options, port, topic, until};
use towncrier_backplane::Backplane;
use towncrier_backplane_redis::Options;
use towncrier_wire::EventId;

struct Cluster {
    nodes: Vec<Redis>,
    ports: Vec<String>,
}

impl Cluster {
    fn start() -> Self {
        let ports: Vec<_> = (0..3).map(|_| port()).collect();
        let buses: Vec<_> = (0..3).map(|_| port()).collect();
        let start = |index: usize| {
            let (port, bus) = (ports[index].as_str(), buses[index].as_str());
            let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            let own = ["--bind", "127.0.0.1", "--port", port, "--cluster-port", bus, "--save", ""];
            Redis::with(&[&cluster[..], &own[..]].concat())
        };
        let nodes: Vec<_> = (0..3).map(start).collect();
        for (node, slots) in nodes.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]);
        }
        for index in 1..3 {
            nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &ports[index], &buses[index]]);
        }
        let whole = |node: &Redis| {
            let info = node.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        };
        until("the cluster does not come up", || nodes.iter().all(whole));
        Self { nodes, ports }
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
    let holding = cluster.nodes.iter().filter(|node| !node.ask(&["DBSIZE"]).starts_with(":0")).count();
    assert!(holding > 1, "the partitions are spread over the cluster");
}

/// An answer to a join names a head for each partition, so it waits for the slowest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_waits_for_every_partition() {
    let cluster = Cluster::start();
    let node = Node::start(Options { command_timeout: Duration::from_secs(5), ..cluster.options(8) }).await;
    node.settle().await;
    let holding = |redis: &&Redis| !redis.ask(&["DBSIZE"]).starts_with(":0");
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

/// The slot of the only partition goes to another node: what its channels told, they tell there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinel_is_survived() {
    let (first, second, third) = (port(), port(), port());
    let mut primary = Redis::with(&["--bind", "127.0.0.1", "--port", &first, "--save", ""]);
    let follow = format!("127.0.0.1 {first}");
    let replica = Redis::with(&["--bind", "127.0.0.1", "--port", &second, "--save", "", "--replicaof", &follow]);
    until("the replica does not follow", || replica.ask(&["INFO", "replication"]).contains("master_link_status:up"));
    let sentinel = Redis::sentinel(&third, &first);
    until("the sentinel does not know the replica", || {
        sentinel.ask(&["SENTINEL", "REPLICAS", "main"]).contains(&second)
    });
    let url = format!("redis-sentinel://127.0.0.1:{third}?sentinelServiceName=main");
    let options = Options { url, ..options(&primary, 2) };
    let (node, other) = (Node::start(options.clone()).await, Node::start(options).await);
    other.join("**").await;
    let mut last = EventId::ZERO;
    for number in 0..50 {
        last = node.publish("a", &number.to_string()).await;
    }
    until("the replica lags", || replica.ask(&["XLEN", &stream(&node)]).starts_with(":50"));
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
