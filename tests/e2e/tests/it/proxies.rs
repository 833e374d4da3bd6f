//! The same of every proxy whose configuration is shipped: nginx, Caddy, HAProxy and Envoy, the real ones, in front of two
//! nodes that a Redis joins.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use towncrier_e2e::{Edge, EdgeKind, Hub, Redis, SOON, Subscribe, eventually, json, judge};

/// What half of all events must take less than, from publisher to client: no proxy holds them back.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Longer than what nginx (60 s) and Envoy (15 s) let a stream be silent, or last, if they are not told otherwise.
const SILENT: Duration = Duration::from_secs(63);

/// From where a client comes, so that it can be told from a proxy.
const CLIENT: &str = "127.0.0.7";

/// Two nodes of one hub.
struct Nodes {
    hubs: [Hub; 2],
    _redis: Redis,
}

impl Nodes {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[(&str, &str)]) -> Self {
        let redis = Redis::start();
        let node = || {
            let hub = Hub::with("backplane.kind", "redis").set("backplane.redis.url", &redis.url());
            let hub = hub.set("http.trusted_proxies", "127.0.0.1");
            settings.iter().fold(hub, |hub, (key, value)| hub.set(key, value)).start()
        };
        Self { hubs: [node(), node()], _redis: redis }
    }

    fn behind(&self, kind: EdgeKind) -> Edge {
        let edge = Edge::start(kind, &self.addrs());
        eventually("a node answers through it", SOON, || Subscribe::to(edge.addr()).topic("first").try_open());
        edge
    }

    fn addrs(&self) -> [SocketAddr; 2] {
        self.hubs.each_ref().map(Hub::addr)
    }
}

/// What `curl` prints of a stream.
struct Curl {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Curl {
    /// By HTTP/2, from an address of its own, with headers that lie about it.
    fn open(edge: &Edge, topic: &str) -> Self {
        let mut curl = Command::new("curl");
        curl.args(["--http2", "--silent", "--show-error", "--no-buffer", "--include", "--max-time", "120"]);
        curl.args(["--cacert", &edge.certificate(), "--interface", CLIENT, "--header", "Accept: text/event-stream"]);
        for name in ["X-Forwarded-For: 198.51.100.1", "Forwarded: for=198.51.100.1", "X-Real-IP: 198.51.100.1"] {
            curl.args(["--header", name]);
        }
        curl.arg(edge.tls_url(&format!("/events?topic={topic}")));
        let mut child = curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("curl is installed");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// Reads up to a line; `curl`'s own deadline is the end of it.
    #[track_caller]
    fn until(&mut self, wanted: &str) {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let line = line.expect("text").trim_end().to_owned();
            if line == wanted {
                return;
            }
            seen.push(line);
        }
        panic!("the end before {wanted:?}, after {seen:#?}");
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn each(test: impl Fn(EdgeKind)) {
    for kind in EdgeKind::ALL {
        println!("{kind:?}");
        test(kind);
    }
}

#[test]
fn events_arrive_at_once_by_http_2_from_either_node() {
    let nodes = Nodes::start();
    each(|kind| {
        let edge = nodes.behind(kind);
        let mut stream = Curl::open(&edge, "news");
        stream.until("HTTP/2 200");
        stream.until("event: connected");
        let mut took: Vec<Duration> = (0..40)
            .map(|number| {
                let began = Instant::now();
                nodes.hubs[number % 2].publish("news", &number.to_string());
                stream.until(&format!("data: {number}"));
                began.elapsed()
            })
            .collect();
        took.sort();
        println!("{kind:?}: half within {:?}, all within {:?}", took[20], took[39]);
        assert!(took[20] < AT_ONCE, "{kind:?}: {took:?}");
    });
}

#[test]
fn many_streams_share_one_connection() {
    let nodes = Nodes::start();
    each(|kind| {
        let edge = nodes.behind(kind);
        let url = edge.tls_url("/events?topic=news");
        let mut client = judge("http2.mjs", &[&url, &edge.certificate(), "20"]);
        assert_eq!(client.next(SOON * 2), json!({"open": 20}), "{kind:?}");
        let spread = nodes.hubs.each_ref().map(|hub| hub.metric("towncrier_sessions_open"));
        assert!(spread.iter().all(|open| *open >= 5.0), "{kind:?}: {spread:?} of one client's streams");
        nodes.hubs[0].publish("news", "small");
        assert_eq!(client.next(SOON * 2)["data"], "small", "{kind:?}");
        nodes.hubs[1].publish("news", &"y".repeat(200_000));
        assert_eq!(client.next(SOON * 2)["length"], 200_000, "{kind:?}");
    });
}

#[test]
fn the_hub_knows_who_comes_whatever_they_say() {
    let nodes = Nodes::start();
    each(|kind| {
        let edge = nodes.behind(kind);
        let topic = format!("from-{kind:?}");
        let mut stream = Curl::open(&edge, &topic);
        stream.until("event: connected");
        let sessions = nodes.hubs[0].get(&format!("/admin/v1/sessions?topic={topic}")).ok();
        let remotes: Vec<_> =
            sessions["sessions"].as_array().expect("a list").iter().map(|one| &one["remote"]).collect();
        assert_eq!(remotes, [CLIENT], "{kind:?}");
    });
}

#[test]
fn a_session_resumes_on_either_node() {
    let nodes = Nodes::start();
    each(|kind| {
        let edge = nodes.behind(kind);
        let mut session = Subscribe::to(edge.addr()).topic("news").open();
        let mut seen = BTreeSet::from([session.node.clone()]);
        let mut earlier = Vec::new();
        for round in 0..6 {
            nodes.hubs[0].publish("news", &round.to_string());
            let resumed = Subscribe::to(edge.addr()).topic("news").last_event_id(&session.cursor).open();
            assert!(resumed.resumed, "{kind:?}");
            seen.insert(resumed.node.clone());
            earlier.push(std::mem::replace(&mut session, resumed));
            assert_eq!(session.data(1), [round.to_string()], "{kind:?}");
        }
        assert_eq!(seen.len(), 2, "{kind:?}: no node is preferred");
    });
}

#[test]
fn a_silent_stream_is_not_cut() {
    // Nothing comes by itself.
    let nodes = Nodes::with(&[("session.heartbeat", "1h")]);
    let edges = EdgeKind::ALL.map(|kind| nodes.behind(kind));
    let mut clear = edges.each_ref().map(|edge| Subscribe::to(edge.addr()).topic("quiet").open());
    let mut streams = edges.each_ref().map(|edge| Curl::open(edge, "quiet"));
    streams.iter_mut().for_each(|stream| stream.until("event: connected"));
    thread::sleep(SILENT);
    nodes.hubs[0].publish("quiet", "at last");
    for (edge, (stream, session)) in edges.iter().zip(streams.iter_mut().zip(&mut clear)) {
        assert_eq!(session.data(1), ["at last"], "{:?}", edge.kind);
        stream.until("data: at last");
    }
}

/// A proxy that takes what its client does not would hide it from the hub, which then could not end its session.
#[test]
fn the_hub_feels_a_client_that_does_not_read() {
    const EVENTS: usize = 3_000;
    let settings = [
        ("session.outbox_bytes", "256KiB"),
        ("limits.data_bytes", "64KiB"),
        ("http.send_buffer", "16KiB"),
        ("history.events", "10000"),
    ];
    let nodes = Nodes::with(&settings);
    each(|kind| {
        let edge = nodes.behind(kind);
        let topic = format!("slow-{kind:?}");
        let mut slow = Subscribe::to(edge.addr()).topic(&topic).small_buffer().open();
        for start in (0..EVENTS).step_by(20) {
            let data = |number: usize| format!("{number:05} {}", "x".repeat(10_000));
            nodes.hubs[0].publish_each(&topic, (start..start + 20).map(data).collect());
        }
        eventually("its session is ended", SOON, || match nodes.hubs[0].sessions(&topic) {
            sessions if sessions.is_empty() => Ok(()),
            sessions => Err(format!("{kind:?}: {sessions:?}")),
        });
        let got = slow.rest().0.iter().filter(|event| event.kind.is_none()).count();
        println!("{kind:?}: {got} of {EVENTS} events were on their way");
        assert!(got < EVENTS / 2, "{kind:?} had taken {got}");
    });
}

#[test]
fn where_no_node_is_left_an_event_source_is_told_to_come_back() {
    each(|kind| {
        let mut nodes = Nodes::start();
        let edge = nodes.behind(kind);
        let mut session = Subscribe::to(edge.addr()).topic("news").open();
        let name = |hub: &Hub| hub.get("/admin/v1/stats").ok()["node"].as_str().expect("a name").to_owned();
        let own = nodes.hubs.iter().position(|hub| name(hub) == session.node).expect("one of them has it");
        nodes.hubs[own].kill();
        session.rest();
        nodes.hubs[1 - own].publish("news", "after");
        for _ in 0..4 {
            let again = Subscribe::to(edge.addr()).topic("news").last_event_id(&session.cursor);
            let mut resumed = again.header("Origin", "https://evil.example.com").open();
            assert_eq!(resumed.data(1), ["after"], "{kind:?}");
            assert_eq!(resumed.head.header("access-control-allow-origin"), None, "{kind:?}: it is for the hub to say");
        }

        nodes.hubs[1 - own].kill();
        let until = Instant::now() + Duration::from_secs(6);
        // At once, and after the proxy has noticed.
        while Instant::now() < until {
            let asked = Subscribe::to(edge.addr()).topic("news").header("Origin", "https://app.example.com");
            let (head, mut connection) = asked.answer();
            assert_eq!(head.status, 200, "{kind:?}: any other stops an EventSource: {head:?}");
            assert_eq!(head.header("content-type"), Some("text/event-stream"), "{kind:?}: {head:?}");
            let cors = ["origin", "credentials"].map(|name| head.header(&format!("access-control-allow-{name}")));
            assert_eq!(cors, [Some("https://app.example.com"), Some("true")], "{kind:?}: pages of others stop as well");
            let text = String::from_utf8(connection.body(SOON).expect("a body")).expect("UTF-8");
            let retry = text.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n")?.parse::<u64>().ok());
            assert!(retry.is_some_and(|retry| (1000..=4000).contains(&retry)), "{kind:?}: {text:?}");
            thread::sleep(Duration::from_millis(200));
        }
        // Anybody else is told the truth.
        let (head, _) = Subscribe::to(edge.addr()).path("/poll").topic("news").accept("*/*").answer();
        assert!(matches!(head.status, 502..=504), "{kind:?}: {head:?}");
    });
}

#[test]
fn administration_is_not_for_those_outside() {
    let nodes = Nodes::start();
    // The others let private networks in, of which every address here is one.
    let edge = nodes.behind(EdgeKind::Envoy);
    for path in ["/admin/v1/stats", "/metrics"] {
        let (head, _) = Subscribe::to(edge.addr()).path(path).answer();
        assert_eq!(head.status, 403, "{path}");
    }
}
