//! A collector of traces, which reads OTLP with the official definitions.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{span::SpanKind, status::StatusCode},
};
use prost::Message as _;

use crate::{SOON, eventually};

/// Largest request that it reads, in bytes.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A span that it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `service.name` and `service.instance.id`.
    pub service: (String, String),
    /// In hexadecimal digits, as are the other ids.
    pub trace_id: String,
    /// Its own.
    pub span_id: String,
    /// Empty for the first of its trace.
    pub parent: String,
    /// What it is called.
    pub name: String,
    /// `Server`, `Producer`, `Consumer`.
    pub kind: String,
    /// Its attributes, numbers as text.
    pub attributes: BTreeMap<String, String>,
    /// What went wrong, if anything did.
    pub failure: Option<String>,
    /// When it began and ended, in nanoseconds since 1970.
    pub times: (u64, u64),
}

/// A collector on a port of its own.
#[derive(Debug)]
pub struct Collector {
    addr: SocketAddr,
    over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    spans: Vec<Span>,
    heads: Vec<String>,
    wrong: Vec<String>,
}

impl Collector {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let (ended, shared) = (over.clone(), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = shared.clone();
                thread::spawn(move || {
                    if let Err(error) = serve(stream, &shared) {
                        lock(&shared).wrong.push(error.to_string());
                    }
                });
            }
        });
        Self { addr, over, seen }
    }

    /// For `tracing.otlp_endpoint`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it was sent until now.
    ///
    /// # Panics
    /// When something of it was not OTLP.
    #[track_caller]
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let seen = lock(&self.seen);
        assert!(seen.wrong.is_empty(), "{:?}", seen.wrong);
        seen.spans.clone()
    }

    /// The heads of the requests that came.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        lock(&self.seen).heads.clone()
    }

    /// Waits for spans of this trace with these names, in any order, and gives them in the order of the names.
    #[track_caller]
    #[must_use]
    pub fn trace(&self, trace_id: &str, names: &[&str]) -> Vec<Span> {
        eventually("the spans are exported", SOON, || {
            let spans: Vec<Span> = self.spans().into_iter().filter(|span| span.trace_id == trace_id).collect();
            let mut left = spans.clone();
            let mut take = |name: &&str| Some(left.remove(left.iter().position(|span| span.name == *name)?));
            names.iter().map(&mut take).collect::<Option<Vec<_>>>().ok_or_else(|| format!("{spans:#?}"))
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of a connection until it ends.
fn serve(mut stream: TcpStream, seen: &Mutex<Seen>) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut read = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(&read).map_err(io::Error::other)?;
        if let httparse::Status::Complete(head) = parsed {
            let header = |name: &str| {
                let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
                found.map(|header| String::from_utf8_lossy(header.value).into_owned()).unwrap_or_default()
            };
            let length: usize = header("content-length").parse().map_err(io::Error::other)?;
            if read.len() >= head + length {
                let is_otlp = request.path == Some("/v1/traces") && header("content-type") == "application/x-protobuf";
                let text = String::from_utf8_lossy(&read[..head]).into_owned();
                let spans = decode(&read[head..head + length]).map_err(io::Error::other)?;
                let mut seen = lock(seen);
                if !is_otlp {
                    seen.wrong.push(text.clone());
                }
                seen.heads.push(text);
                seen.spans.extend(spans);
                drop(seen);
                read.drain(..head + length);
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
                )?;
                continue;
            }
        }
        let mut bytes = [0; 16 * 1024];
        match stream.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(count) if read.len() + count <= REQUEST_BYTES_MAX => read.extend_from_slice(&bytes[..count]),
            Ok(_) => return Err(io::Error::other("a request is too large")),
            // Hubs are killed at the end of tests.
            Err(_) if read.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn decode(body: &[u8]) -> Result<Vec<Span>, prost::DecodeError> {
    let request = ExportTraceServiceRequest::decode(body)?;
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let said = attributes(&resource.resource.unwrap_or_default().attributes);
        let of = |key: &str| said.get(key).cloned().unwrap_or_default();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: (of("service.name"), of("service.instance.id")),
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: SpanKind::try_from(span.kind).map_or(String::new(), |kind| format!("{kind:?}")),
                attributes: attributes(&span.attributes),
                failure: span.status.filter(|status| status.code() == StatusCode::Error).map(|status| status.message),
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
                name: span.name,
            });
        }
    }
    Ok(spans)
}

fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.iter().map(|one| (one.key.clone(), text(one))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
