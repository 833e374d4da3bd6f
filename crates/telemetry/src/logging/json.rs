//! Log lines as JSON objects: time and level, what the line says, what the spans around it say, and who says it.
//!
//! The fields of spans stand beside those of the line, so that a line of a request has its `trace_id` in the same place as
//! one that names it itself.

use std::fmt;

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::{LookupSpan, Scope},
};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Json;

impl<S> FormatEvent<S, Self> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Self>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        begin(&mut writer, *metadata.level())?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<Self>>() {
                writer.write_str(fields)?;
            }
        }
        end(&mut writer, metadata.target())
    }
}

impl<'w> FormatFields<'w> for Json {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut members = Members { writer, result: Ok(()) };
        fields.record(&mut members);
        members.result
    }
}

/// A line of its own, which no event brought.
pub(super) fn line(writer: &mut Writer<'_>, level: tracing::Level, target: &str, message: &str) -> fmt::Result {
    begin(writer, level)?;
    write!(writer, ",\"message\":{}", Text(message))?;
    end(writer, target)
}

fn begin(writer: &mut Writer<'_>, level: tracing::Level) -> fmt::Result {
    writer.write_str("{\"timestamp\":\"")?;
    SystemTime.format_time(writer)?;
    write!(writer, "\",\"level\":\"{level}\"")
}

fn end(writer: &mut Writer<'_>, target: &str) -> fmt::Result {
    writeln!(writer, ",\"target\":{}}}", Text(target))
}

/// Writes fields as further members of an object.
struct Members<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
}

impl Members<'_> {
    fn member(&mut self, field: &Field, value: impl fmt::Display) {
        // What a record of the `log` crate says of its origin; the target says it already.
        if field.name().starts_with("log.") {
            return;
        }
        let name = field.name().strip_prefix("r#").unwrap_or(field.name());
        self.result = self.result.and_then(|()| write!(self.writer, ",{}:{value}", Text(name)));
    }
}

impl Visit for Members<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.member(field, value);
        } else {
            self.member(field, Text(&value.to_string()));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, Text(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.member(field, Text(&format!("{value:?}")));
    }
}

/// Text as JSON quotes it.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self.0).map_err(|_| fmt::Error)?)
    }
}
