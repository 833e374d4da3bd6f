//! The trace that a request is part of: its client's, if that sends a `traceparent`, or one of its own.
//!
//! Every line of the log that a request brings has its trace id. A `tracestate` is not looked at nor passed on.

use std::time::Instant;

use actix_web::{
    HttpMessage, HttpRequest,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
};
use towncrier_actors::trace::{begin, child_of, new_span_id};
use towncrier_telemetry::spans::{Kind, Span, Tracer};
use towncrier_wire::{SpanId, TraceContext, TraceId};

use crate::routes;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Asked every few seconds by machines, which nobody wants to see in traces.
const PROBES: [&str; 3] = ["/health", "/ready", "/metrics"];

/// Where a request stands in its trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traced {
    own: TraceContext,
    /// The client's span.
    parent: Option<SpanId>,
}

impl Traced {
    fn new(request: &ServiceRequest, tracer: &Tracer) -> Self {
        if let Some(client) = sent(request.headers()) {
            return Self { own: child_of(client), parent: Some(client.span_id()) };
        }
        let drawn = fastrand::u128(1..);
        let sampled = tracer.samples(drawn) && !PROBES.contains(&request.path());
        let trace_id = TraceId::new(drawn).unwrap_or_else(|| unreachable!("zero is not drawn"));
        Self { own: TraceContext::new(trace_id, new_span_id(), sampled), parent: None }
    }

    /// Of a request that the gate has let in.
    pub(crate) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get().copied()
    }

    /// The request's own span.
    pub(crate) fn own(&self) -> TraceContext {
        self.own
    }

    /// What events of the request are part of, if anybody follows them: the client, or a collector.
    pub(crate) fn for_events(&self) -> Option<TraceContext> {
        (self.parent.is_some() || self.own.is_sampled()).then_some(self.own)
    }
}

/// A request that is being answered.
pub(crate) struct Answering {
    traced: Traced,
    began: Instant,
    recorded: Span,
    pub(crate) logged: tracing::Span,
}

impl Answering {
    pub(crate) fn begin(request: &ServiceRequest, tracer: &Tracer) -> Self {
        let traced = Traced::new(request, tracer);
        request.extensions_mut().insert(traced);
        // At the level that every filter lets through, for every line needs it.
        let logged = tracing::error_span!("request", trace_id = %traced.own.trace_id());
        let recorded = begin(tracer, Kind::Server, "request", &traced.own, traced.parent);
        Self { traced, began: Instant::now(), recorded, logged }
    }

    /// The head of the answer is ready. A stream that follows is not part of the span, which would last for hours.
    pub(crate) fn end(mut self, answer: &mut ServiceResponse<BoxBody>) {
        if let Ok(value) = HeaderValue::from_str(&self.traced.own.to_string()) {
            answer.headers_mut().insert(TRACEPARENT, value);
        }
        let (request, status) = (answer.request(), answer.status());
        tracing::debug!(
            parent: &self.logged,
            method = %request.method(),
            // Not its query, which may hold a token.
            path = request.path(),
            status = status.as_u16(),
            ms = self.began.elapsed().as_secs_f64() * 1e3,
            "answered"
        );
        if self.recorded.is_recorded() {
            let (method, route) = (known(request.method()), routes::route(request));
            self.recorded.rename(format!("{method} {route}"));
            self.recorded.set("http.request.method", method);
            self.recorded.set("http.route", route);
            self.recorded.set("http.response.status_code", status.as_u16());
            if status.is_server_error() {
                self.recorded.fail(status.canonical_reason().unwrap_or("failed"));
            }
        }
    }
}

/// The client's own, if it sends just one that is good.
fn sent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut all = headers.get_all(TRACEPARENT);
    let one = all.next()?;
    if all.next().is_some() {
        return None;
    }
    one.to_str().ok()?.parse().ok()
}

/// Methods that clients make up must not become names of spans.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
