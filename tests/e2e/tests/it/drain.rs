//! Nodes that end in good order: their clients go elsewhere, not all at once, and miss nothing.

use std::{
    collections::HashMap,
    env,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use towncrier_e2e::{Builder, Hub, Redis, SOON, Signal, Subscribe, eventually, json};

#[test]
fn while_it_pauses_a_hub_serves_but_wants_no_more() {
    let mut hub = Hub::with("shutdown.pause", "2s").start();
    let mut session = hub.subscribe(&["news"]);
    hub.signal(Signal::TERM);
    eventually("it is not ready", SOON, || match hub.get("/ready").status() {
        503 => Ok(()),
        status => Err(status),
    });
    assert_eq!(hub.get("/health").status(), 200);
    let mut late = hub.subscribe(&["news"]);
    hub.publish("news", "still");
    assert_eq!((session.event().data.as_str(), late.event().data.as_str()), ("still", "still"));
    session.closed("shutdown");
    late.closed("shutdown");
    assert!(hub.wait_exit(SOON).success());
}

#[test]
fn streams_end_one_after_the_other() {
    let mut hub =
        Hub::with("shutdown.ends_per_second", "50").set("shutdown.window", "4s").set("shutdown.timeout", "20s").start();
    let sessions: Vec<_> = (0..150).map(|_| hub.subscribe(&["news"])).collect();
    hub.signal(Signal::TERM);
    let began = Instant::now();
    let readers: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            thread::spawn(move || {
                session.closed("shutdown");
                began.elapsed()
            })
        })
        .collect();
    let mut ends: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("it ends")).collect();
    ends.sort();
    assert!(hub.wait_exit(SOON).success());
    let within = |from: u64, to: u64| {
        ends.iter().filter(|end| (from..to).contains(&u64::try_from(end.as_millis()).expect("short"))).count()
    };
    println!(
        "ends in each half second: {:?}",
        (0..10).map(|half| within(half * 500, half * 500 + 500)).collect::<Vec<_>>()
    );
    assert!(ends[149] > Duration::from_secs(2), "all at once: {:?}", ends[149]);
    assert!(ends[149] < Duration::from_secs(8), "{:?}", ends[149]);
    assert!(within(0, 500) < 60, "{} in the first half second", within(0, 500));
}

#[test]
fn what_the_window_has_no_room_for_clients_wait_for() {
    let mut hub =
        Hub::with("shutdown.ends_per_second", "10").set("shutdown.window", "1s").set("session.retry", "1s").start();
    let sessions: Vec<_> = (0..100).map(|_| hub.subscribe(&["news"])).collect();
    hub.signal(Signal::TERM);
    let retries: Vec<_> = sessions
        .into_iter()
        .map(|mut session| {
            let close = session.closed("shutdown");
            assert_eq!(close.json()["reconnect"], true);
            session.retry
        })
        .collect();
    assert!(hub.wait_exit(SOON * 2).success());
    let longest = retries.iter().max().expect("retries");
    assert!(*longest > Duration::from_secs(4) && *longest < Duration::from_secs(12), "{longest:?}");
}

#[test]
fn an_administrator_may_ask_for_it() {
    let mut hub = Hub::start();
    let mut session = hub.subscribe(&["news"]);
    let answer = hub.post("/admin/v1/drain", &json!({}));
    assert_eq!(answer.status(), 202);
    assert!(answer.json()["draining"].is_string());
    session.closed("shutdown");
    assert!(hub.wait_exit(SOON).success());
}

/// Where clients may connect, and when they did.
#[derive(Default)]
struct Nodes {
    addresses: Mutex<Vec<SocketAddr>>,
    connects: Mutex<Vec<(SocketAddr, Instant)>>,
}

impl Nodes {
    fn connect(&self, cursor: Option<&str>) -> Option<towncrier_e2e::Subscriber> {
        let addresses = self.addresses.lock().expect("addresses").clone();
        let address = addresses[rand(addresses.len())];
        let subscription = Subscribe::to(address).topic("news");
        let subscription = cursor.map_or(subscription.clone(), |cursor| subscription.last_event_id(cursor));
        let opened = subscription.try_open().ok()?;
        self.connects.lock().expect("connects").push((address, Instant::now()));
        Some(opened)
    }
}

/// A number below this one: nothing hangs on how random it is.
fn rand(below: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    usize::try_from(RandomState::new().hash_one(below) % below as u64).expect("small")
}

fn node(redis: &Redis) -> Builder {
    Hub::with("backplane.kind", "redis")
        .set("backplane.redis.url", &redis.url())
        .set("shutdown.ends_per_second", "100")
        .set("session.retry", "500ms")
        .set("history.events", "10000")
}

/// With more clients: `TOWNCRIER_CLIENTS=3000`.
#[test]
fn a_rolling_restart_loses_nothing_and_floods_nobody() {
    let clients: usize = env::var("TOWNCRIER_CLIENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(150);
    let redis = Redis::durable();
    let mut hubs: Vec<_> = (0..3).map(|_| node(&redis).start()).collect();
    let nodes = Arc::new(Nodes::default());
    *nodes.addresses.lock().expect("addresses") = hubs.iter().map(Hub::addr).collect();
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..clients)
        .map(|_| {
            let (nodes, over) = (nodes.clone(), over.clone());
            let builder = thread::Builder::new().stack_size(256 * 1024);
            let mut session = nodes.connect(None).expect("a first stream");
            builder.spawn(move || read_all(&nodes, &mut session, &over)).expect("a thread")
        })
        .collect();
    let publishing = {
        let (nodes, over) = (nodes.clone(), over.clone());
        thread::spawn(move || publish_all(&nodes, &over))
    };
    for index in 0..3 {
        thread::sleep(Duration::from_millis(500));
        let fresh = node(&redis).start();
        let old = std::mem::replace(&mut hubs[index], fresh);
        // The balancer learns of the new one, and that the old one is not ready, before that one ends.
        *nodes.addresses.lock().expect("addresses") = hubs.iter().map(Hub::addr).collect();
        let mut old = old;
        old.signal(Signal::TERM);
        assert!(old.wait_exit(Duration::from_secs(30)).success(), "{}", old.log());
    }
    thread::sleep(Duration::from_millis(500));
    over.store(true, Ordering::SeqCst);
    let published = publishing.join().expect("the publisher");
    for reader in readers {
        let got = reader.join().expect("a reader");
        assert_eq!(got, (0..published).map(|number| number.to_string()).collect::<Vec<_>>());
    }
    let connects = nodes.connects.lock().expect("connects");
    let first = connects[clients - 1].1;
    let mut by_second: HashMap<(SocketAddr, u64), usize> = HashMap::new();
    for (address, at) in connects.iter().skip(clients) {
        *by_second.entry((*address, at.duration_since(first).as_secs())).or_default() += 1;
    }
    let most = by_second.values().copied().max().unwrap_or(0);
    println!(
        "{clients} clients, {published} events, {} reconnects, at most {most} a second on a node",
        connects.len() - clients
    );
    // Each node ends at most 100 streams a second, half of whose clients come to each of the other two; those of a retry
    // spread over a second.
    assert!(most <= 150, "{most} reconnects a second on one node");
}

/// Reads until the end is published, coming back wherever a stream ended.
fn read_all(nodes: &Nodes, session: &mut towncrier_e2e::Subscriber, over: &AtomicBool) -> Vec<String> {
    let mut got = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        assert!(Instant::now() < deadline, "got {} events, over: {}", got.len(), over.load(Ordering::SeqCst));
        let (events, end) = session.rest_of(1);
        for event in events {
            match event.kind.as_deref() {
                None if event.data == "the end" => return got,
                None => got.push(event.data),
                Some("gap") => panic!("{event:?} after {}", got.len()),
                Some(_) => {}
            }
        }
        if end.is_some() {
            let (retry, cursor) = (session.retry, session.cursor.clone());
            thread::sleep(retry);
            while nodes.connect(Some(&cursor)).map(|opened| *session = opened).is_none() {
                thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

/// Publishes numbers, each until it is stored, on whichever node takes it; gives how many.
fn publish_all(nodes: &Nodes, over: &AtomicBool) -> usize {
    let mut number = 0;
    loop {
        let last = over.load(Ordering::SeqCst);
        let data = if last { "the end".to_owned() } else { number.to_string() };
        let body = json!({"topic": "news", "data": data, "idempotency_key": data}).to_string();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !publish(nodes, &body) {
            assert!(Instant::now() < deadline, "{data} cannot be published");
            thread::sleep(Duration::from_millis(20));
        }
        if last {
            return number;
        }
        number += 1;
        thread::sleep(Duration::from_millis(5));
    }
}

fn publish(nodes: &Nodes, body: &str) -> bool {
    let addresses = nodes.addresses.lock().expect("addresses").clone();
    let run = std::net::TcpStream::connect_timeout(&addresses[rand(addresses.len())], Duration::from_secs(1));
    let Ok(mut stream) = run else { return false };
    use std::io::{Read, Write};
    let request = format!(
        "POST /admin/v1/publish HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut answer = String::new();
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
