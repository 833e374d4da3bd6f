//! Keys from a URL: a server that counts what it is asked, and answers as the test says.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use towncrier_auth::{Claims, Demands, JwksOptions, JwksSource, Key, Minter, Refused, Secret, SourceError, Verifier};

use crate::{
    jwks::{document, entry},
    openssl,
    tokens::{SECRET, now, with_claims},
};

/// How the server answers.
#[derive(Debug, Clone)]
enum Answer {
    Document {
        body: String,
        cache_control: &'static str,
        after: Duration,
    },
    Status(&'static str),
    /// Takes the request and closes.
    Nothing,
    /// Takes the request and keeps silent.
    Silence,
}

impl Answer {
    fn keys(kids: &[&str]) -> Self {
        let entries: Vec<_> = kids.iter().map(|kid| entry(openssl::ed25519(), kid)).collect();
        Self::Document { body: document(&entries), cache_control: "max-age=3600", after: Duration::ZERO }
    }

    fn after(self, after: Duration) -> Self {
        match self {
            Self::Document { body, cache_control, .. } => Self::Document { body, cache_control, after },
            other => other,
        }
    }
}

struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    requests: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answer = Arc::new(Mutex::new(answer));
        let (requests, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let shared = (answer.clone(), requests.clone(), stopped.clone());
        let thread = thread::spawn(move || {
            let (answer, requests, stopped) = shared;
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                requests.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().expect("an answer").clone();
                silent.extend(respond(stream, &answer));
            }
        });
        Self { address, answer, requests, stopped, thread: Some(thread) }
    }

    fn answer(&self, answer: Answer) {
        *self.answer.lock().expect("an answer") = answer;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn options(&self) -> JwksOptions {
        JwksOptions::new(format!("http://{}/keys", self.address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers, or gives the stream back that is to stay open.
fn respond(stream: TcpStream, answer: &Answer) -> Option<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let head = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    head.for_each(drop);
    let mut out = &stream;
    let written = match answer {
        Answer::Document { body, cache_control, after } => {
            thread::sleep(*after);
            write!(
                out,
                "HTTP/1.1 200 OK\r\nCache-Control: {cache_control}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        }
        Answer::Status(status) => write!(out, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        Answer::Nothing => Ok(()),
        Answer::Silence => return Some(stream),
    };
    // The client may be gone, which is for the test to find.
    let _ = written;
    None
}

/// A token by the key of that id.
fn token(kid: &str) -> String {
    let pem = Secret::new(openssl::ed25519().private_pem.clone());
    let minter = Minter::from_pem(&pem, Some(kid)).expect("a minter");
    minter.mint(&Claims::parse(r#"{"exp":9999999999}"#).expect("claims")).expect("a token")
}

fn verifier(options: JwksOptions) -> (Arc<JwksSource>, Verifier) {
    let source = Arc::new(JwksSource::start(options).expect("a source"));
    let own = Key::hs256(&Secret::new(*SECRET), Some("own")).expect("a key");
    (source.clone(), Verifier::new(vec![own], Some(source), Demands::default()).expect("a verifier"))
}

/// Waits until it is so, and says what was seen if it never is.
fn until<T: std::fmt::Debug>(what: &str, look: impl Fn() -> T, so: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = look();
        if so(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: {seen:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_requests_wait_for_the_first_reading_together() {
    let token = token("a");
    let server = Server::start(Answer::keys(&["a"]).after(Duration::from_secs(1)));
    let (source, verifier) = verifier(server.options());
    assert_eq!(verifier.verify(&token, now()), Err(Refused::KeysUnavailable), "who does not wait is told");
    let verifier = Arc::new(verifier);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move { verifier.verify_or_renew(&token, now()).await })
        })
        .collect();
    for request in waiting {
        assert!(request.await.expect("no panic").is_ok());
    }
    assert_eq!((server.requests(), source.status().attempts), (1, 1), "one request for all");
    assert!(verifier.verify(&token, now()).is_ok());
    let own = with_claims(r#"{"exp":9999999999}"#);
    assert!(verifier.verify(&own, now()).is_ok(), "the verifier's own keys are there all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_found_by_the_first_token_of_it() {
    let server = Server::start(Answer::keys(&["old"]));
    let token = token("new");
    let (source, verifier) = verifier(JwksOptions { ask_min: Duration::from_secs(2), ..server.options() });
    until("the first reading", || source.status(), |status| status.keys == 1);
    server.answer(Answer::keys(&["new", "old"]));
    assert_eq!(verifier.verify_or_renew(&token, now()).await, Err(Refused::UnknownKey), "too soon after a reading");
    assert_eq!(server.requests(), 1);
    let verifier = Arc::new(verifier);
    let deadline = Instant::now() + Duration::from_secs(20);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move {
                while verifier.verify_or_renew(&token, now()).await.is_err() {
                    assert!(Instant::now() < deadline, "the new key is never found");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    for request in asking {
        request.await.expect("it was found");
    }
    assert_eq!(server.requests(), 2, "one request for all");
    assert!(verifier.verify(&self::token("old"), now()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_does_not_reach_the_url() {
    let server = Server::start(Answer::keys(&["a"]));
    let (source, verifier) = verifier(server.options());
    until("the first reading", || source.status(), |status| status.keys == 1);
    let begun = Instant::now();
    for number in 0..2000 {
        let kid = format!("garbage-{number}");
        assert_eq!(verifier.verify_or_renew(&token(&kid), now()).await, Err(Refused::UnknownKey));
    }
    // One at most that the hold of five seconds lets through now and then.
    let most = 1 + begun.elapsed().as_secs() as usize / 5;
    assert!(server.requests() <= most, "{} requests in {:?}", server.requests(), begun.elapsed());
    let secret = with_claims(r#"{"exp":1}"#).replacen("eyJ", "eyI", 1);
    assert!(verifier.verify_or_renew(&secret, now()).await.is_err());
}

#[test]
fn keys_stay_while_the_url_fails_but_not_for_ever() {
    let server = Server::start(Answer::keys(&["a"]));
    let options = JwksOptions {
        refresh_min: Duration::from_millis(50),
        refresh_max: Duration::from_millis(50),
        stale: Duration::from_secs(2),
        ..server.options()
    };
    let (source, verifier) = verifier(options);
    until("the first reading", || source.status(), |status| status.keys == 1);
    until("it is read again and again", || server.requests(), |requests| *requests >= 3);
    server.answer(Answer::Status("500 Internal Server Error"));
    let status = until("a failure", || source.status(), |status| status.failures >= 1);
    assert_eq!((status.keys, status.error), (1, Some(SourceError::Status(500))));
    assert!(verifier.verify(&token("a"), now()).is_ok(), "stale is better than nothing");

    until("the keys are too old", || source.status(), |status| status.keys == 0);
    assert_eq!(verifier.verify(&token("a"), now()), Err(Refused::KeysUnavailable));
    server.answer(Answer::keys(&["a"]));
    until("it is back", || source.status(), |status| status.keys == 1 && status.error.is_none());
    assert!(verifier.verify(&token("a"), now()).is_ok());
}

#[test]
fn an_answer_that_is_no_good_is_a_failure_with_a_reason() {
    let document = |body: String| Answer::Document { body, cache_control: "no-store", after: Duration::ZERO };
    for (answer, expected) in [
        (Answer::Status("404 Not Found"), "the server answered 404"),
        (Answer::Status("302 Found\r\nLocation: http://127.0.0.1:1/"), "the server answered 302"),
        (Answer::Nothing, "the request failed"),
        (Answer::Silence, "the request failed: timeout"),
        (Answer::keys(&["a"]).after(Duration::from_secs(1)), "the request failed: timeout"),
        (document("<html>".to_owned()), "the document is no JWKS document"),
        (document(r#"{"keys":[]}"#.to_owned()), "the document has no key"),
        (document(" ".repeat(256 * 1024 + 1)), "the document is longer than 262144 bytes"),
        (document(" ".repeat(5_000_000)), "the document is longer than 262144 bytes"),
    ] {
        let what = format!("{answer:?}").chars().take(100).collect::<String>();
        let server = Server::start(answer);
        let hasty = expected.ends_with("timeout");
        let timeout = if hasty { Duration::from_millis(300) } else { Duration::from_secs(10) };
        let source = JwksSource::start(JwksOptions { timeout, ..server.options() }).expect("a source");
        let status = until(&what, || source.status(), |status| status.failures >= 1);
        let error = status.error.expect("a reason").to_string();
        assert!(error.starts_with(expected), "{what}: {error}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let source = JwksSource::start(JwksOptions::new(format!("http://{nobody}/keys"))).expect("a source");
    until("nobody listens", || source.status(), |status| status.failures >= 1);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let options = |url: &str| JwksOptions::new(url);
    let error = |options| JwksSource::start(options).err();
    assert_eq!(error(options("http://id.example/keys")), Some(SourceError::NotHttps));
    assert_eq!(error(options("https://user:word@id.example/keys")), Some(SourceError::Url));
    let url = "https://127.0.0.1:1/keys";
    let roots = |text: &str| JwksOptions { roots: Some(text.as_bytes().to_vec()), ..options(url) };
    assert_eq!(error(roots("no certificate")), Some(SourceError::Roots));
    assert_eq!(error(roots(&openssl::rsa().public_pem)), Some(SourceError::Roots));
    let times = JwksOptions { timeout: Duration::ZERO, ..options(url) };
    assert_eq!(error(times), Some(SourceError::Times));
    let times =
        JwksOptions { refresh_min: Duration::from_secs(9), refresh_max: Duration::from_secs(8), ..options(url) };
    assert_eq!(error(times), Some(SourceError::Times));
}

#[test]
fn the_thread_ends_with_the_source() {
    let server = Server::start(Answer::keys(&["a"]));
    let short = Duration::from_millis(20);
    let options = JwksOptions { refresh_min: short, refresh_max: short, ..server.options() };
    let source = JwksSource::start(options).expect("a source");
    until("it is read again and again", || server.requests(), |requests| *requests >= 3);
    drop(source);
    let requests = server.requests();
    thread::sleep(Duration::from_millis(600));
    let more = server.requests() - requests;
    assert!(more <= 1, "only the one that was on its way, not {more}");
}

/// A file server with TLS, as a process of its own.
struct TlsServer {
    child: Child,
    port: u16,
}

impl TlsServer {
    fn start(folder: &std::path::Path) -> Self {
        let (certificate, key) = openssl::certificate(folder);
        let script = "import http.server, ssl, sys\n\
            server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n\
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
            context.load_cert_chain(sys.argv[1], sys.argv[2])\n\
            server.socket = context.wrap_socket(server.socket, server_side=True)\n\
            print(server.server_address[1], flush=True)\n\
            server.serve_forever()\n";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(certificate).arg(key).current_dir(folder);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("its output")).read_line(&mut line).expect("a line");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no port: {line:?}"));
        Self { child, port }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_server_of_an_https_url_must_be_certified() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("keys"), document(&[entry(openssl::ed25519(), "a")])).expect("a document");
    let server = TlsServer::start(folder.path());
    let options = |roots| JwksOptions { roots, ..JwksOptions::new(format!("https://127.0.0.1:{}/keys", server.port)) };

    let trusted = std::fs::read(folder.path().join("certificate.pem")).expect("a certificate");
    let (source, verifier) = verifier(options(Some(trusted.clone())));
    until("the keys", || source.status(), |status| status.keys == 1);
    assert!(verifier.verify(&token("a"), now()).is_ok());

    let other = tempfile::tempdir().expect("a folder");
    let (certificate, _) = openssl::certificate(other.path());
    let stranger =
        JwksSource::start(options(Some(std::fs::read(certificate).expect("a certificate")))).expect("a source");
    let status = until("a refusal", || stranger.status(), |status| status.failures >= 1);
    assert!(status.error.expect("a reason").to_string().contains("certificate"));

    let by_name = format!("https://localhost:{}/keys", server.port);
    let elsewhere = JwksOptions { roots: Some(trusted), ..JwksOptions::new(by_name) };
    let elsewhere = JwksSource::start(elsewhere).expect("a source");
    until("another name than the certificate's", || elsewhere.status(), |status| status.failures >= 1);
}
