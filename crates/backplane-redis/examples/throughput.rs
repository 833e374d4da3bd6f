//! How many events a node stores and is told in a second, beside what the publish script reaches when a pipelining client
//! does nothing else (`redis-benchmark`). On a Redis of its own that it starts; ratios of one run, not absolute figures:
//! `cargo run --release -p towncrier-backplane-redis --example throughput`

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use towncrier_backplane::{Backplane, Signal};
use towncrier_backplane_redis::{Options, connect};
use towncrier_wire::{NewEvent, Partitions, Selector, Topic};

const EVENTS: usize = 200_000;
const TOPICS: usize = 100;
const TASKS: usize = 200;

fn event(number: usize) -> NewEvent {
    let topic = Topic::new(&format!("t/{}", number % TOPICS)).expect("a topic");
    NewEvent { topic, event_type: None, data: "x".repeat(100).into(), idempotency_key: None, trace: None }
}

fn per_second(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// The script alone: redis-benchmark with 50 commands under way, on topics of the first partition.
fn floor(socket: &str) -> f64 {
    let read = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lua/");
        std::fs::read_to_string(format!("{folder}{name}")).expect("a script")
    };
    let source = ["prelude.lua", "events.lua", "store.lua", "publish.lua"].map(read).join("\n");
    let load = Command::new("redis-cli").args(["-s", socket, "SCRIPT", "LOAD", &source]).output().expect("redis-cli");
    let digest = String::from_utf8_lossy(&load.stdout).trim().to_owned();
    let info = Command::new("redis-cli").args(["-s", socket, "INFO", "replication"]).output().expect("redis-cli");
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    let server = info.lines().find_map(|line| line.strip_prefix("master_replid:")).expect("its name");
    let era = format!("{}:0", server.trim());
    let key = |name: &str| format!("{{floor:0}}:{name}");
    let mut arguments: Vec<String> =
        ["-s", socket, "-n", &EVENTS.to_string(), "-P", "50", "-c", "1", "-r", "100", "-q", "EVALSHA", &digest, "6"]
            .map(str::to_owned)
            .to_vec();
    arguments.extend(["meta", "topics", "names", "recent", "due", "s:t/__rand_int__"].map(key));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let rest = [&now.to_string(), "0-0", &era, "t/__rand_int__", "", &"x".repeat(100), "200", "3600000", "600000"];
    arguments.extend(rest.map(str::to_owned));
    arguments.extend([key("c:t/__rand_int__"), key("all"), "PUBLISH".to_owned(), String::new()]);
    let output = Command::new("redis-benchmark").args(arguments).output().expect("redis-benchmark");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<_> = text.split_whitespace().collect();
    let at = words.iter().rposition(|word| *word == "requests").expect("a result");
    words[at - 1].parse().expect("a number")
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("s");
    let mut server = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server");
    while !socket.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let path = socket.to_str().expect("a path").to_owned();
    println!("{:>10.0}/s  the script alone", floor(&path));

    let resident = || {
        std::fs::read_to_string("/proc/self/status")
            .unwrap_or_default()
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap_or_default()
            .to_owned()
    };
    println!("before connecting: {}", resident());
    for follows in [false, true] {
        let options = Options::new(format!("redis+unix://{path}"), format!("follows-{follows}"), Partitions::ONE);
        let (node, mut signals) = connect(options.clone()).await.expect("a connection");
        let node = Arc::new(node);
        let (other, mut other_signals) = connect(options).await.expect("a connection");
        let told = Arc::new(AtomicUsize::new(0));
        if follows {
            other.join(vec![Selector::new("t/*").expect("a selector")]).await.expect("taken");
        }
        let count = told.clone();
        tokio::spawn(async move {
            loop {
                let signals = other_signals.next(256).await;
                if signals.is_empty() {
                    return;
                }
                for signal in signals {
                    if let Signal::Events(events, _) = signal {
                        count.fetch_add(events.len(), Ordering::Relaxed);
                    }
                }
            }
        });
        tokio::spawn(async move { while !signals.next(256).await.is_empty() {} });
        tokio::time::sleep(Duration::from_millis(300)).await;

        println!("connected twice: {}", resident());
        for batch in [1, 100] {
            told.store(0, Ordering::Relaxed);
            let began = Instant::now();
            let tasks = (0..TASKS).map(|task| {
                let node = node.clone();
                tokio::spawn(async move {
                    for first in (0..EVENTS / TASKS).step_by(batch) {
                        let events = (first..first + batch).map(|number| event(task + number * 7)).collect();
                        for published in node.publish(events).await {
                            published.expect("stored");
                        }
                    }
                })
            });
            for task in tasks.collect::<Vec<_>>() {
                task.await.expect("a publisher");
            }
            println!(
                "{:>10.0}/s  stored, in batches of {batch}, {}",
                per_second(EVENTS, began),
                if follows { "another node follows" } else { "nobody follows" }
            );
            if follows {
                while told.load(Ordering::Relaxed) < EVENTS {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                println!("{:>10.0}/s  told", per_second(EVENTS, began));
            }
        }
    }
    let _ = server.kill();
    let _ = server.wait();
}
