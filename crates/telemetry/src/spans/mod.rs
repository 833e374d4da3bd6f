//! Spans of distributed traces, recorded by hand where the hub does something for a request, and exported by OTLP.
//!
//! They are few: one of a request, one of its way to the backplane, and one on each worker that delivers an event of it.
//! A [`Tracer`] that is off records nothing, and [`Span`]s of it cost a comparison. What is recorded goes to OpenTelemetry's
//! SDK, into a bounded queue that a thread of its own empties: a collector that is slow or gone costs spans, which are counted,
//! and nothing else. Of the SDK, its own tracers are passed by: they draw the ids of spans, and ours travel with events.

mod collector;
mod exporter;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// What a span is about: `Server` is a request that is answered, `Producer` an event that is sent on its way, `Consumer` an
/// event that has come.
pub use opentelemetry::trace::SpanKind as Kind;
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

pub use self::collector::{check_endpoint, parse_headers};
use self::exporter::Exporter;
use crate::Metrics;

/// Most attributes of a span.
const ATTRIBUTES_MAX: usize = 16;

/// Longest text in a span, in bytes; the rest is cut off.
const TEXT_BYTES_MAX: usize = 512;

/// Where spans go, and which.
#[derive(Clone)]
pub struct Options {
    /// The collector's base URL, to which `/v1/traces` is added: `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Headers of each request to it. Nobody may see their values.
    pub headers: Vec<(String, String)>,
    /// How long the collector may take to answer, and how long it is tried again.
    pub timeout: Duration,
    /// Most spans that wait, 0 counting as 1; more are dropped and counted. The memory for them is taken at the start.
    pub queue: usize,
    /// Which share of the traces that begin here is recorded, from 0 to 1.
    pub ratio: f64,
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`: the node.
    pub instance: String,
    /// `service.version`.
    pub version: String,
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum SpansError {
    /// The endpoint is not one.
    #[error("must be an http:// or https:// URL without a user or a query, such as http://127.0.0.1:4318")]
    Endpoint,
    /// A header is not one.
    #[error("must be NAME=VALUE, with commas between several")]
    Header,
    /// The system's root certificates cannot be read.
    #[error("the system's root certificates cannot be read")]
    Roots,
    /// The exporter refuses the options.
    #[error("cannot export spans: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Where a span stands: the ids of W3C Trace Context, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The trace; not zero.
    pub trace_id: u128,
    /// The span; not zero.
    pub span_id: u64,
    /// The span that it comes of; zero for the first of its trace.
    pub parent: u64,
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<Value> for opentelemetry::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) => cut(text).into(),
            Value::Number(number) => number.into(),
        }
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

/// Records spans, or does not. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<On>>);

struct On {
    ratio: f64,
    exporter: Exporter,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_on() { "Tracer(on)" } else { "Tracer(off)" })
    }
}

impl Tracer {
    /// Begins to export spans, and counts them.
    ///
    /// # Errors
    /// If the options are none.
    pub fn start(options: &Options, metrics: &Metrics) -> Result<Self, SpansError> {
        let ratio = options.ratio.clamp(0.0, 1.0);
        let exporter = Exporter::start(options, metrics.spans_exported.clone(), metrics.spans_dropped.clone())?;
        Ok(Self(Some(Arc::new(On { ratio, exporter }))))
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a trace that begins here is to be recorded. All nodes decide the same of the same trace.
    #[must_use]
    pub fn samples(&self, trace_id: u128) -> bool {
        // 53 random bits, as many as a double holds.
        let drawn = (trace_id as u64 >> 11) as f64 / (1_u64 << 53) as f64;
        self.0.as_ref().is_some_and(|on| drawn < on.ratio)
    }

    /// Begins a span, which ends when it is dropped.
    #[must_use]
    pub fn span(&self, kind: Kind, name: impl Into<Cow<'static, str>>, place: Place) -> Span {
        let Some(on) = &self.0 else { return Span(None) };
        let (trace, span) = (TraceId::from(place.trace_id), SpanId::from(place.span_id));
        let start_time = SystemTime::now();
        let data = SpanData {
            span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: SpanId::from(place.parent),
            // What begins here comes with a request or an event, but for what is sent, which the request's own span sends.
            parent_span_is_remote: place.parent != 0 && kind != Kind::Producer,
            span_kind: kind,
            name: name.into(),
            start_time,
            end_time: start_time,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("towncrier").build(),
        };
        Span(Some(Box::new(Open { data, began: Instant::now(), on: on.clone() })))
    }

    /// Exports what waits, and nothing from then on. Blocks, but no longer than `within`.
    pub fn finish(&self, within: Duration) {
        if let Some(on) = &self.0 {
            on.exporter.finish(within);
        }
    }
}

/// Something that is going on. Ends, and is exported, when it is dropped.
#[derive(Default)]
pub struct Span(Option<Box<Open>>);

struct Open {
    data: SpanData,
    began: Instant,
    on: Arc<On>,
}

impl Span {
    /// Nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Whether it is recorded, so that what an attribute costs can be saved.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Says more about it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let Some(open) = &mut self.0 else { return };
        if open.data.attributes.len() < ATTRIBUTES_MAX {
            open.data.attributes.push(KeyValue::new(key, value.into()));
        } else {
            open.data.dropped_attributes_count += 1;
        }
    }

    /// Calls it by another name.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(open) = &mut self.0 {
            open.data.name = cut(name.into());
        }
    }

    /// Says that it failed, and why.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        if let Some(open) = &mut self.0 {
            open.data.status = Status::error(cut(why.into()));
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            let Open { mut data, began, on } = *open;
            // A clock that is set meanwhile makes no span longer.
            data.end_time = data.start_time + began.elapsed();
            on.exporter.push(data);
        }
    }
}

fn cut(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let mut text = text.into_owned();
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text.into()
}
