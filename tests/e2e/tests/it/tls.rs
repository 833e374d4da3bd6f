//! TLS and HTTP/2, as `curl`, `openssl` and Node's HTTP/2 client see them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use towncrier_e2e::{Authority, Builder, Hub, SOON, Signal, Towncrier, eventually, free_address, json, judge, said};

/// A hub that also listens for TLS with a certificate called `hub`.
fn secure(authority: &Authority) -> (Builder, SocketAddr) {
    authority.sign("hub");
    let address = free_address();
    let hub = Hub::with("http.tls_listen", &address.to_string())
        .set("http.tls_cert", &authority.file("hub.pem"))
        .set("http.tls_key", &authority.file("hub.key"));
    (hub, address)
}

/// A stream that `curl` reads, line by line.
struct Stream {
    curl: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Stream {
    fn open(authority: &Authority, arguments: &[&str]) -> Self {
        let mut curl = authority.curl_command();
        let mut curl = curl.args(arguments).stdout(Stdio::piped()).spawn().expect("curl is installed");
        let lines = BufReader::new(curl.stdout.take().expect("piped")).lines();
        let mut stream = Self { curl, lines };
        stream.until("event: connected");
        stream
    }

    /// Reads up to a line.
    #[track_caller]
    fn until(&mut self, wanted: &str) {
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("the end before {wanted:?}")).expect("text");
            if line == wanted {
                return;
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

#[test]
fn streams_come_by_either_version_of_http() {
    let authority = Authority::new();
    let (hub, address) = secure(&authority);
    let hub = hub.set("http.hsts", "1h").start();
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let mut stream = Stream::open(&authority, &[flag, &format!("https://{address}/events?topic=news")]);
        hub.publish("news", version);
        stream.until(&format!("data: {version}"));

        let probe = authority.curl(&["--include", flag, &format!("https://localhost:{}/health", address.port())]);
        let head = said(&probe);
        assert!(head.contains(&format!("HTTP/{version} 200")), "{head}");
        assert!(head.to_ascii_lowercase().contains("strict-transport-security: max-age=3600"), "{head}");
    }
    // What comes in clear is none the wiser, and a publish by TLS is one like any other.
    assert_eq!(hub.get("/health").head.header("strict-transport-security"), None);
    let url = format!("https://{address}/admin/v1/publish");
    let body = json!({"topic": "news", "data": "x".repeat(100_000)}).to_string();
    let publish = authority.curl(&["--http2", "--header", "Content-Type: application/json", "--data", &body, &url]);
    assert!(said(&publish).contains("\"id\""), "{}", said(&publish));
}

#[test]
fn a_hundred_streams_share_one_connection() {
    let authority = Authority::new();
    let (hub, address) = secure(&authority);
    let hub = hub.start();
    let url = format!("https://{address}/events?topic=news");
    let mut client = judge("http2.mjs", &[&url, &authority.file("ca.pem"), "100"]);
    assert_eq!(client.next(SOON * 4), json!({"open": 100}));
    hub.publish("news", "small");
    assert_eq!(client.next(SOON * 4)["data"], "small");
    let large = "y".repeat(200_000);
    hub.publish("news", &large);
    assert_eq!(client.next(SOON * 4)["length"], 200_000);

    // Stopping ends streams, and with them the connection, in good order and in time.
    let began = Instant::now();
    let mut hub = hub;
    hub.signal(Signal::TERM);
    assert_eq!(client.next(SOON * 4), json!({"ended": 100}));
    assert!(hub.wait_exit(SOON * 4).success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[test]
fn a_new_certificate_is_taken_up_and_streams_stay() {
    let authority = Authority::new();
    let (hub, address) = secure(&authority);
    let hub = hub.start();
    let mut stream = Stream::open(&authority, &[&format!("https://{address}/events?topic=news")]);
    assert_eq!(authority.shown_by(address), "hub");

    // A renewal that went wrong ends nothing.
    std::fs::write(authority.path("hub.key"), "nonsense").expect("written");
    hub.publish("news", "0");
    stream.until("data: 0");
    assert_eq!(authority.shown_by(address), "hub");

    authority.sign("renewed");
    authority.replace("hub", "renewed");
    eventually("the new certificate is shown", SOON * 2, || match authority.shown_by(address).as_str() {
        "renewed" => Ok(()),
        other => Err(other.to_owned()),
    });
    hub.publish("news", "1");
    stream.until("data: 1");
}

#[test]
fn administration_may_have_a_listener_that_knows_its_clients() {
    let authority = Authority::new();
    let (hub, address) = secure(&authority);
    let admin = free_address();
    let hub = hub
        .set("http.admin_listen", &admin.to_string())
        .set("http.admin_tls", "true")
        .set("http.admin_client_ca", &authority.file("ca.pem"))
        .start();
    let url = format!("https://{admin}/admin/v1/stats");
    let stranger = authority.curl(&[&url]);
    assert!(!stranger.status.success(), "{}", said(&stranger));
    let other = Authority::new();
    other.sign("stranger");
    let (cert, key) = (other.file("stranger.pem"), other.file("stranger.key"));
    assert!(!authority.curl(&["--cert", &cert, "--key", &key, &url]).status.success());
    authority.sign("operator");
    let (cert, key) = (authority.file("operator.pem"), authority.file("operator.key"));
    let known = authority.curl(&["--cert", &cert, "--key", &key, &url]);
    assert!(said(&known).contains("\"uptime_s\""), "{}", said(&known));

    // The others do not serve it, and it serves no streams.
    for path in ["/admin/v1/stats", "/metrics"] {
        hub.get(path).problem(404);
        let by_tls = authority.curl(&["--write-out", "%{http_code}", &format!("https://{address}{path}")]);
        assert!(by_tls.stdout.ends_with(b"404"), "{}", said(&by_tls));
    }
    let stream = authority.curl(&["--cert", &cert, "--key", &key, &format!("https://{admin}/events?topic=a")]);
    assert!(said(&stream).contains("no such path"), "{}", said(&stream));
    let mut session = hub.subscribe(&["news"]);
    let publish = authority.curl(&[
        "--cert",
        &cert,
        "--key",
        &key,
        "--header",
        "Content-Type: application/json",
        "--data",
        r#"{"topic":"news","data":"by the other door"}"#,
        &format!("https://{admin}/admin/v1/publish"),
    ]);
    assert!(publish.status.success(), "{}", said(&publish));
    assert_eq!(session.event().data, "by the other door");
}

#[test]
fn a_handshake_that_never_comes_ends() {
    let authority = Authority::new();
    let (hub, address) = secure(&authority);
    let _hub = hub.start();
    let began = Instant::now();
    let mut silent = TcpStream::connect(address).expect("connected");
    silent.set_read_timeout(Some(SOON * 3)).expect("a timeout");
    assert_eq!(silent.read(&mut [0; 1]).expect("the end"), 0);
    assert!(began.elapsed() > Duration::from_secs(2), "it is given some time: {:?}", began.elapsed());
}

#[test]
fn a_request_that_never_comes_behind_a_handshake_ends() {
    let authority = Authority::new();
    let (hub, address) = secure(&authority);
    let _hub = hub.set("http.request_head_timeout", "500ms").start();
    let openings = [("h2", ""), ("h2", "PRI * HTTP/2.0\r\n\r\n"), ("http/1.1", ""), ("http/1.1", "GET /")];
    for (protocol, opening) in openings {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-connect", &address.to_string(), "-alpn", protocol]);
        client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = client.spawn().expect("openssl is installed");
        let mut input = client.stdin.take().expect("piped");
        input.write_all(opening.as_bytes()).expect("sent");
        let began = Instant::now();
        let ended = || client.try_wait().expect("a child").map(|_| ()).ok_or("it goes on");
        eventually(&format!("{protocol} ends after {opening:?}"), SOON, ended);
        assert!(began.elapsed() > Duration::from_millis(400), "it is given some time: {:?}", began.elapsed());
    }
}

#[test]
fn what_is_wrong_with_certificates_is_said_at_start() {
    let authority = Authority::new();
    authority.sign("hub");
    authority.sign("other");
    let run = |cert: &str, key: &str| {
        let run = Towncrier::new(&["serve"])
            .set("http.listen", &free_address().to_string())
            .set("http.tls_listen", &free_address().to_string())
            .set("http.tls_cert", &authority.file(cert))
            .set("http.tls_key", &authority.file(key))
            .run();
        assert_ne!(run.code, Some(0), "{run:?}");
        run.stderr
    };
    std::fs::write(authority.path("nonsense"), "nonsense").expect("written");
    let wrong = run("missing.pem", "hub.key");
    assert!(wrong.contains("missing.pem") && wrong.contains("No such file"), "{wrong}");
    assert!(run("nonsense", "hub.key").contains("there is no certificate in it"));
    assert!(run("hub.pem", "other.key").contains("it is not the certificate's key"));
    let refused = Towncrier::new(&["serve"])
        .set("http.tls_listen", "127.0.0.1:8443")
        .set("http.admin_client_ca", "/some/where")
        .run();
    assert!(refused.stderr.contains("http.tls_listen"), "{refused:?}");
    assert!(refused.stderr.contains("needs http.tls_cert"), "{refused:?}");
    assert!(refused.stderr.contains("needs http.admin_tls"), "{refused:?}");
}
