//! Many clients that only want to keep the hub busy, and one that wants its events.
//!
//! Half of them never finish the head of a request, and come again when they are cut off. The others subscribe to what the
//! good client listens to, read nothing, and are replaced by new ones all the time. `TOWNCRIER_ATTACKERS` says how many there are of
//! each kind; see `docs/limits.md` for what was measured with 5,000.

use std::{
    collections::VecDeque,
    env,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use towncrier_e2e::{Connection, Hub, Subscriber, eventually};

/// Of each kind.
const ATTACKERS: usize = 1_000;

/// Before the attack and during it.
const EVENTS: usize = 400;

/// Enough in all to leave each stalled reader behind by more than its outbox.
const PADDING_BYTES: usize = 8_000;

/// Far more than an event takes, and far less than the client would wait if it had to wait for an attacker: the shortest
/// timeout that ends one is 5 s, and each attacker has its own.
const EVENT_TIME_MAX: Duration = Duration::from_secs(4);

/// What one attacker may cost, in KiB: a connection's buffers and tasks.
const ATTACKER_KIB_MAX: u64 = 40;

/// What all of them together may cost beside that: a shared outbox, and what it leaves behind.
const ATTACK_KIB_MAX: u64 = 48 * 1024;

/// How often each attacker does its little: often enough to keep its place, seldom enough to leave the machine to the hub.
const TURN: Duration = Duration::from_millis(200);

/// One kind of attackers, on a thread of its own.
struct Attack {
    over: Arc<AtomicBool>,
    opened: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    fn start(turn: impl Fn(&mut VecDeque<Connection>) -> usize + Send + 'static) -> Self {
        let (over, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (ended, count) = (over.clone(), opened.clone());
        let thread = thread::spawn(move || {
            let mut held = VecDeque::new();
            while !ended.load(Ordering::Relaxed) {
                count.fetch_add(turn(&mut held), Ordering::Relaxed);
                thread::sleep(TURN);
            }
        });
        Self { over, opened, thread: Some(thread) }
    }

    /// How many connections it has made.
    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "an attacker gave up");
    }
}

/// Heads that come byte by byte and never end.
fn slow_heads(hub: SocketAddr, count: usize) -> Attack {
    Attack::start(move |held| {
        held.retain_mut(|connection| connection.send("x").is_ok());
        let new = (count - held.len()).min(count / 10 + 1);
        for _ in 0..new {
            let mut connection = Connection::open(hub);
            // One that the hub does not want is replaced in the next turn.
            let _ = connection.send("GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
            held.push_back(connection);
        }
        new
    })
}

/// Streams that nobody reads.
fn stalled_readers(hub: SocketAddr, count: usize) -> Attack {
    Attack::start(move |held| {
        let new = (count - held.len()).clamp(count / 200 + 1, count / 10 + 1);
        for _ in 0..new {
            let mut connection = Connection::open_small(hub);
            let _ = connection.send("GET /events?topic=news HTTP/1.1\r\nHost: localhost\r\n\r\n");
            held.push_back(connection);
        }
        held.drain(..held.len().saturating_sub(count));
        new
    })
}

/// What publishing an event and receiving it took, and the most memory that the hub had meanwhile.
struct Measured {
    times: Vec<Duration>,
    rss_kib: u64,
}

impl Measured {
    /// Publishes numbered events one after the other; each must come, and be the next.
    fn of(hub: &Hub, client: &mut Subscriber, from: usize) -> Self {
        let mut measured = Self { times: Vec::new(), rss_kib: hub.rss_kib() };
        for number in from..from + EVENTS {
            let began = Instant::now();
            hub.publish("news", &format!("{number} {}", "x".repeat(PADDING_BYTES)));
            let event = client.event();
            measured.times.push(began.elapsed());
            assert_eq!(event.data.split(' ').next(), Some(number.to_string().as_str()), "{:.80}", event.data);
            measured.rss_kib = measured.rss_kib.max(hub.rss_kib());
            thread::sleep(Duration::from_millis(10));
        }
        measured.times.sort();
        measured
    }

    fn percentile(&self, percent: usize) -> Duration {
        self.times[(self.times.len() - 1) * percent / 100]
    }

    fn print(&self, when: &str) {
        let [median, p99, most] = [50, 99, 100].map(|percent| self.percentile(percent));
        println!(
            "{when}: published and received in {median:.1?} (p99 {p99:.1?}, most {most:.1?}), {} KiB",
            self.rss_kib
        );
    }
}

#[test]
fn slow_heads_and_stalled_readers_leave_others_alone() {
    let count = env::var("TOWNCRIER_ATTACKERS").map_or(ATTACKERS, |count| count.parse().expect("a number"));
    let hub = Hub::with("history.events", "10").start();
    let mut client = hub.subscribe(&["news"]);
    let calm = Measured::of(&hub, &mut client, 0);
    calm.print("without an attack");

    let attacks = [slow_heads(hub.addr(), count), stalled_readers(hub.addr(), count)];
    eventually("the attack is on", Duration::from_secs(120), || match hub.metric("process_open_fds") {
        open if open >= 1.8 * count as f64 => Ok(()),
        open => Err(format!("{open} descriptors")),
    });
    let under_attack = Measured::of(&hub, &mut client, EVENTS);
    under_attack.print(&format!("with {count} slow heads and {count} stalled readers"));
    println!(
        "they made {:?} connections; {} sessions fell behind",
        attacks.each_ref().map(Attack::opened),
        hub.metric("towncrier_lagging_total")
    );

    let slowest = under_attack.percentile(100);
    assert!(slowest < EVENT_TIME_MAX, "an event took {slowest:?}");
    let grown_kib = under_attack.rss_kib.saturating_sub(calm.rss_kib);
    let most_kib = ATTACK_KIB_MAX + 2 * count as u64 * ATTACKER_KIB_MAX;
    assert!(grown_kib < most_kib, "{grown_kib} KiB, and {most_kib} KiB are allowed");
    assert!(hub.metric("towncrier_lagging_total") > 0.0, "nobody was stalled for long enough to be thrown out");
    assert_eq!(hub.get("/ready").status(), 200);

    drop(attacks);
    eventually("only the client is left", Duration::from_secs(60), || match hub.metric("towncrier_sessions_open") {
        1.0 => Ok(()),
        open => Err(format!("{open} sessions")),
    });
    hub.publish("news", "the end");
    assert_eq!(client.event().data, "the end");
}
