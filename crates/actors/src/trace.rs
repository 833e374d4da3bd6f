//! What is told of a request or an event that is part of a trace.
//!
//! An event that is part of none costs a look at an `Option` here, at each place that it passes.

use towncrier_telemetry::spans::{Kind, Place, Span, Tracer};
use towncrier_wire::{Event, NewEvent, SpanId, TraceContext};

/// A new span of the same trace.
#[must_use]
pub fn child_of(parent: TraceContext) -> TraceContext {
    parent.with_span(new_span_id())
}

/// An id that no other span has.
#[must_use]
pub fn new_span_id() -> SpanId {
    SpanId::new(fastrand::u64(1..)).unwrap_or_else(|| unreachable!("zero is not drawn"))
}

/// Begins to record a span, if its trace is recorded.
#[must_use]
pub fn begin(tracer: &Tracer, kind: Kind, name: &'static str, own: &TraceContext, parent: Option<SpanId>) -> Span {
    if !own.is_sampled() {
        return Span::none();
    }
    let place = Place {
        trace_id: own.trace_id().number(),
        span_id: own.span_id().number(),
        parent: parent.map_or(0, SpanId::number),
    };
    tracer.span(kind, name, place)
}

/// Begins the span of events on their way to the backplane, which from here on are parts of it. All are of one request.
pub(crate) fn store(tracer: &Tracer, events: &mut [NewEvent]) -> Span {
    let Some(trace) = events.first().and_then(|event| event.trace) else { return Span::none() };
    let own = child_of(trace);
    let mut span = begin(tracer, Kind::Producer, "store", &own, Some(trace.span_id()));
    if span.is_recorded() {
        events.iter_mut().for_each(|event| event.trace = Some(own));
        message(&mut span, "send");
        span.set("messaging.batch.message_count", events.len());
        if let [event] = events {
            span.set("messaging.destination.name", event.topic.to_string());
        }
    }
    span
}

/// Tells that a worker delivers an event, and begins the span of that. `audience` finds how many cohorts and members get
/// it, if somebody wants to know.
pub(crate) fn deliver(
    tracer: &Tracer,
    event: &Event,
    trace: &TraceContext,
    worker: Option<usize>,
    audience: impl FnOnce() -> (usize, usize),
) -> Span {
    let mut span = begin(tracer, Kind::Consumer, "deliver", &child_of(*trace), Some(trace.span_id()));
    if !span.is_recorded() && !tracing::enabled!(tracing::Level::DEBUG) {
        return span;
    }
    let (cohorts, members) = audience();
    tracing::debug!(
        trace_id = %trace.trace_id(),
        event = %event.id(),
        topic = %event.topic(),
        worker,
        sessions = members,
        "an event is delivered"
    );
    message(&mut span, "process");
    span.set("messaging.destination.name", event.topic().to_string());
    span.set("messaging.message.id", event.id().to_string());
    span.set("towncrier.worker", worker.unwrap_or_default());
    span.set("towncrier.cohorts", cohorts);
    span.set("towncrier.sessions", members);
    span
}

fn message(span: &mut Span, operation: &'static str) {
    span.set("messaging.system", "towncrier");
    span.set("messaging.operation.type", operation);
}
