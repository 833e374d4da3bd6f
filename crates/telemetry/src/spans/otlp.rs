//! Spans as OTLP, version 1, in protobuf: the few messages of `opentelemetry/proto/trace/v1/trace.proto` that are needed here.
//! Their fields are named beside their numbers; the tests read them with the official definitions.

use super::{Kind, Options, Record, Value};

/// The wire types of protobuf.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// `Span.flags`: the low byte is that of the `traceparent`, in which only sampled spans are recorded.
const SAMPLED: u32 = 1;

const STATUS_ERROR: u64 = 2;

/// What is the same in each request.
pub(super) struct Resource(Message);

impl Resource {
    pub(super) fn new(options: &Options) -> Self {
        let mut resource = Message::default();
        for (key, value) in [
            ("service.name", &options.service),
            ("service.instance.id", &options.instance),
            ("service.version", &options.version),
        ] {
            resource.message(1, &attribute(key, &Value::Text(value.clone().into()))); // Resource.attributes
        }
        Self(resource)
    }
}

/// An `ExportTraceServiceRequest` with these spans.
pub(super) fn request(resource: &Resource, records: &[Record]) -> Vec<u8> {
    let mut scope = Message::default();
    scope.text(1, "towncrier"); // InstrumentationScope.name
    let mut spans = Message::default();
    spans.message(1, &scope); // ScopeSpans.scope
    for record in records {
        spans.message(2, &span(record)); // ScopeSpans.spans
    }
    let mut all = Message::default();
    all.message(1, &resource.0); // ResourceSpans.resource
    all.message(2, &spans); // ResourceSpans.scope_spans
    let mut request = Message::default();
    request.message(1, &all); // ExportTraceServiceRequest.resource_spans
    request.0
}

/// How many spans an `ExportTraceServiceResponse` says were refused; of what cannot be read, none.
pub(super) fn rejected(response: &[u8]) -> u64 {
    let partial = find(response, 1).and_then(|found| match found {
        Found::Bytes(partial) => find(partial, 1), // ExportTracePartialSuccess.rejected_spans
        Found::Number(_) => None,
    });
    match partial {
        Some(Found::Number(rejected)) => rejected,
        _ => 0,
    }
}

fn span(record: &Record) -> Message {
    let mut span = Message::default();
    span.bytes(1, &record.place.trace_id.to_be_bytes()); // trace_id
    span.bytes(2, &record.place.span_id.to_be_bytes()); // span_id
    if record.place.parent != 0 {
        span.bytes(4, &record.place.parent.to_be_bytes()); // parent_span_id
    }
    span.text(5, &record.name); // name
    let kind = match record.kind {
        Kind::Server => 2,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    };
    span.number(6, kind); // kind
    span.fixed64(7, record.began); // start_time_unix_nano
    span.fixed64(8, record.ended); // end_time_unix_nano
    for (key, value) in &record.attributes {
        span.message(9, &attribute(key, value)); // attributes
    }
    if let Some(failure) = &record.failure {
        let mut status = Message::default();
        status.text(2, failure); // Status.message
        status.number(3, STATUS_ERROR); // Status.code
        span.message(15, &status); // status
    }
    span.fixed32(16, SAMPLED); // flags
    span
}

fn attribute(key: &str, value: &Value) -> Message {
    let mut any = Message::default();
    match value {
        Value::Text(text) => any.text(1, text), // AnyValue.string_value
        // Two's complement, as protobuf wants it of an int64.
        Value::Number(number) => any.number(3, number.cast_unsigned()), // AnyValue.int_value
    }
    let mut attribute = Message::default();
    attribute.text(1, key); // KeyValue.key
    attribute.message(2, &any); // KeyValue.value
    attribute
}

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | VARINT);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, number: u32) {
        self.varint(field << 3 | FIXED32);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}

enum Found<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The first field of this number in a message of somebody else.
fn find(mut message: &[u8], wanted: u64) -> Option<Found<'_>> {
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let found = match tag & 7 {
            VARINT => Found::Number(take_varint(&mut message)?),
            FIXED64 => Found::Bytes(message.split_off(..8)?),
            FIXED32 => Found::Bytes(message.split_off(..4)?),
            BYTES => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                Found::Bytes(message.split_off(..length)?)
            }
            _ => return None,
        };
        if tag >> 3 == wanted {
            return Some(found);
        }
    }
    None
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = message.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}
