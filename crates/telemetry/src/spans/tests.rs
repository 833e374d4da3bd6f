use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span as Decoded, SpanFlags, Status, span::SpanKind},
};
use prost::Message as _;

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// What three more tries wait for, at least.
const RETRIES_LEAST: Duration = Duration::from_millis(1750);

/// Flags of a span: that of its `traceparent`, that something is known of where its parent is, and that it is elsewhere.
const SAMPLED: u32 = 1;
const KNOWN: u32 = SpanFlags::ContextHasIsRemoteMask as u32;
const REMOTE: u32 = SpanFlags::ContextIsRemoteMask as u32;

/// What a collector answers to its requests, one after the other; then it is gone.
fn collector(answers: Vec<(u16, Vec<u8>)>) -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, received) = sync_channel(answers.len());
    thread::spawn(move || {
        for (status, answer) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let (mut seen, mut chunk) = (Vec::new(), [0; 4096]);
            let (head, body) = loop {
                let read = stream.read(&mut chunk).unwrap();
                assert!(read > 0, "the request ends early");
                seen.extend_from_slice(&chunk[..read]);
                let Some(at) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                let head = String::from_utf8(seen[..at].to_vec()).unwrap().to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let length: usize = length.parse().unwrap();
                if seen.len() >= at + 4 + length {
                    break (head, seen[at + 4..].to_vec());
                }
            };
            let head_of_answer =
                format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len());
            stream.write_all(&[head_of_answer.as_bytes(), &answer].concat()).unwrap();
            sender.send((head, body)).unwrap();
        }
    });
    (address, received)
}

fn options(address: SocketAddr) -> Options {
    Options {
        endpoint: format!("http://{address}/base/"),
        headers: vec![("Authorization".into(), "Bearer s3cret".into())],
        timeout: Duration::from_secs(5),
        queue: 1000,
        ratio: 1.0,
        service: "towncrier".into(),
        instance: "node-1".into(),
        version: "1.2.3".into(),
    }
}

fn start(options: &Options) -> (Tracer, Metrics) {
    let metrics = Metrics::new("test");
    (Tracer::start(options, &metrics).unwrap(), metrics)
}

const PLACE: Place = Place { trace_id: 0x4bf9 << 100 | 1, span_id: 0xf0_67aa, parent: 7 };

fn spans(body: &[u8]) -> Vec<Decoded> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn attributes(attributes: &[KeyValue]) -> Vec<(String, Any)> {
    attributes.iter().map(|one| (one.key.clone(), one.value.clone().unwrap().value.unwrap())).collect()
}

#[test]
fn a_collector_reads_what_is_sent() {
    let (address, received) = collector(vec![(200, Vec::new())]);
    let (tracer, metrics) = start(&options(address));
    let mut span = tracer.span(Kind::Producer, "store", PLACE);
    span.set("text", "é".repeat(1000));
    span.set("count", 300_usize);
    span.set("negative", Value::Number(-2));
    (0..100).for_each(|_| span.set("more", "x"));
    span.fail("it did not answer");
    drop(span);
    let first = Place { parent: 0, ..PLACE };
    let mut request = tracer.span(Kind::Server, "GET", first);
    request.rename(String::from("GET /events"));
    drop(request);
    drop(tracer.span(Kind::Consumer, "deliver", PLACE));
    tracer.finish(SOON);

    let (head, body) = received.recv_timeout(SOON).unwrap();
    assert!(head.starts_with("post /base/v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf") && head.contains("authorization: bearer s3cret"));
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let mut resource = attributes(&request.resource_spans[0].resource.as_ref().unwrap().attributes);
    resource.sort_by(|one, other| one.0.cmp(&other.0));
    let text = |text: &str| Any::StringValue(text.to_owned());
    let expected = [("service.instance.id", "node-1"), ("service.name", "towncrier"), ("service.version", "1.2.3")];
    assert_eq!(resource, expected.map(|(key, value)| (key.to_owned(), text(value))));
    let found = spans(&body);
    let [stored, request, delivered] = &found[..] else { panic!("{found:?}") };
    assert_eq!(stored.trace_id, PLACE.trace_id.to_be_bytes());
    assert_eq!(stored.span_id, PLACE.span_id.to_be_bytes());
    assert_eq!(stored.parent_span_id, PLACE.parent.to_be_bytes());
    assert_eq!((stored.name.as_str(), stored.kind(), stored.flags), ("store", SpanKind::Producer, SAMPLED | KNOWN));
    assert!(stored.start_time_unix_nano > 1_600_000_000_000_000_000);
    assert!(stored.end_time_unix_nano >= stored.start_time_unix_nano);
    let status = stored.status.as_ref().unwrap();
    assert_eq!((status.message.as_str(), status.code), ("it did not answer", 2));
    let said = attributes(&stored.attributes);
    assert_eq!((said.len(), stored.dropped_attributes_count), (ATTRIBUTES_MAX, 103 - ATTRIBUTES_MAX as u32));
    assert_eq!(said[0], ("text".to_owned(), text(&"é".repeat(TEXT_BYTES_MAX / 2))));
    assert_eq!(said[1], ("count".to_owned(), Any::IntValue(300)));
    assert_eq!(said[2], ("negative".to_owned(), Any::IntValue(-2)));
    assert_eq!(
        (request.name.as_str(), request.kind(), &request.parent_span_id[..], request.flags),
        ("GET /events", SpanKind::Server, &[][..], SAMPLED | KNOWN)
    );
    assert_eq!(request.status, Some(Status::default()));
    assert_eq!((delivered.kind(), delivered.flags), (SpanKind::Consumer, SAMPLED | KNOWN | REMOTE));
    assert_eq!((metrics.spans_exported.get(), metrics.spans_dropped.get()), (3, 0));
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_is_counted() {
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "one too many".into() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    for (answers, exported, dropped) in [
        (vec![(503, Vec::new()), (429, Vec::new()), (200, Vec::new())], 3, 0),
        (vec![(400, Vec::new())], 0, 3),
        (vec![(301, Vec::new())], 0, 3),
        (vec![(200, partial)], 2, 1),
        (vec![(200, b"\xff\xff no protobuf".to_vec())], 3, 0),
        // Nobody listens any more.
        (Vec::new(), 0, 3),
    ] {
        let requests = answers.len();
        let (address, received) = collector(answers.clone());
        let (tracer, metrics) = start(&options(address));
        (0..3).for_each(|_| drop(tracer.span(Kind::Server, "x", PLACE)));
        let began = Instant::now();
        while metrics.spans_exported.get() + metrics.spans_dropped.get() < 3 {
            assert!(began.elapsed() < SOON, "{answers:?}");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!((metrics.spans_exported.get(), metrics.spans_dropped.get()), (exported, dropped), "{answers:?}");
        assert_eq!(received.iter().take(requests).filter(|(_, body)| spans(body).len() == 3).count(), requests);
    }
}

#[test]
fn a_collector_that_does_not_answer_costs_spans_and_no_time() {
    // It is connected to, by the kernel, and never accepts.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let (tracer, metrics) = start(&Options { queue: 10, timeout: Duration::from_secs(2), ..options(address) });
    let began = Instant::now();
    for _ in 0..100_000 {
        drop(tracer.span(Kind::Server, "x", PLACE));
    }
    let dropped = metrics.spans_dropped.get();
    assert!((99_900..=99_990).contains(&dropped), "a queue of 10, and one batch of it under way: {dropped}");
    tracer.finish(Duration::from_millis(300));
    assert!(began.elapsed() < SOON / 2, "{:?}", began.elapsed());
    let ended = Instant::now();
    while metrics.spans_dropped.get() < 100_000 {
        assert!(ended.elapsed() < SOON, "what was under way is counted: {}", metrics.spans_dropped.get());
        thread::sleep(Duration::from_millis(5));
    }
    drop(tracer.span(Kind::Server, "late", PLACE));
    assert_eq!((metrics.spans_dropped.get(), metrics.spans_exported.get()), (100_001, 0));
}

#[test]
fn each_span_is_counted_once_whenever_it_ends() {
    let (address, _received) = collector(vec![(200, Vec::new()); 10_000]);
    for room in [1, 100, 100_000] {
        let (tracer, metrics) = start(&Options { queue: room, ..options(address) });
        let ended = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        drop(tracer.span(Kind::Server, "x", PLACE));
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while ended.load(Ordering::Relaxed) < 10_000 {
                thread::yield_now();
            }
            tracer.finish(SOON);
        });
        let (exported, dropped) = (metrics.spans_exported.get(), metrics.spans_dropped.get());
        assert_eq!(exported + dropped, 20_000, "{room}: {exported} {dropped}");
        assert!(exported >= room.min(5_000) as u64, "{room}: {exported}");
    }
}

#[test]
fn who_ends_does_not_wait_for_a_collector_that_is_gone() {
    let (tracer, metrics) = start(&options(([127, 0, 0, 1], 1).into()));
    (0..3).for_each(|_| drop(tracer.span(Kind::Server, "x", PLACE)));
    let began = Instant::now();
    tracer.finish(SOON);
    tracer.finish(SOON);
    assert!(began.elapsed() < RETRIES_LEAST, "{:?}", began.elapsed());
    assert_eq!((metrics.spans_exported.get(), metrics.spans_dropped.get()), (0, 3));
}

#[test]
fn a_share_of_traces_is_sampled_and_the_same_everywhere() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let tracer = |ratio| start(&Options { ratio, ..options(silent.local_addr().unwrap()) }).0;
    let (none, some, same, all) = (tracer(0.0), tracer(0.25), tracer(0.25), tracer(1.0));
    let ids: Vec<u128> = (0..10_000).map(|_| fastrand::u128(1..)).collect();
    let sampled = ids.iter().filter(|id| some.samples(**id)).count();
    assert!((2_000..3_000).contains(&sampled), "{sampled}");
    assert!(ids.iter().all(|id| some.samples(*id) == same.samples(*id) && all.samples(*id) && !none.samples(*id)));
    assert!(!Tracer::default().samples(ids[0]));
}

#[test]
fn a_tracer_that_is_off_records_nothing() {
    let tracer = Tracer::default();
    let mut span = tracer.span(Kind::Server, "x", PLACE);
    span.set("key", "value");
    assert!(!tracer.is_on() && !span.is_recorded() && !Span::none().is_recorded());
    tracer.finish(SOON);
}

#[test]
fn bad_options_are_refused() {
    let metrics = Metrics::new("test");
    for endpoint in ["", "127.0.0.1:4318", "ftp://x", "http://me:s3cret@x", "http://", "http://x?y", "http://x y"] {
        let options = Options { endpoint: endpoint.into(), ..options(([127, 0, 0, 1], 1).into()) };
        let error = Tracer::start(&options, &metrics).map(drop).expect_err(endpoint);
        assert!(matches!(error, SpansError::Endpoint), "{endpoint}: {error}");
    }
    let parsed = parse_headers(" a=b=c , d = e,").unwrap();
    assert_eq!(parsed, [("a", "b=c"), ("d", "e")].map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert!(parse_headers("").unwrap().is_empty());
    for text in ["a", "=b", "a b=c"] {
        assert!(matches!(parse_headers(text), Err(SpansError::Header)), "{text}");
    }
    for (name, value) in [("a b", "x"), ("", "x"), ("a", "x\ny")] {
        let headers = vec![(name.to_owned(), value.to_owned())];
        let options = Options { headers, ..options(([127, 0, 0, 1], 1).into()) };
        assert!(matches!(Tracer::start(&options, &metrics).map(drop), Err(SpansError::Header)), "{name:?}");
    }
}
