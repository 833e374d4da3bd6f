//! Where a request, or an event that came of one, stands in a distributed trace: the `traceparent` of W3C Trace Context.

use std::{fmt, str::FromStr};

/// How long the part of a `traceparent` is that every version shares: `00-<32 digits>-<16 digits>-<2 digits>`.
const TRACEPARENT_LEN: usize = 55;

/// Longest `traceparent` that is looked at, in bytes: later versions may be longer than ours.
pub const TRACEPARENT_BYTES_MAX: usize = 512;

const SAMPLED: u8 = 1;

/// Not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a traceparent such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct TraceContextError;

/// All spans of a trace share it; never zero. Shown as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Names a span within its trace; never zero. Shown as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// A span of a trace, as it is told to others: whatever comes of it names this span as its parent.
///
/// Held as bytes, so that a session or an event that has one is not aligned to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: SpanId,
    sampled: bool,
}

macro_rules! ids {
    ($($name:ident: $number:ty, $digits:literal;)+) => {
        $(impl $name {
            /// The id of this number; `None` for zero.
            #[must_use]
            pub const fn new(number: $number) -> Option<Self> {
                if number == 0 { None } else { Some(Self(number.to_be_bytes())) }
            }

            /// The id as a number.
            #[must_use]
            pub const fn number(self) -> $number {
                <$number>::from_be_bytes(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $digits, "x}"), self.number())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        })+
    };
}

ids! {
    TraceId: u128, "32";
    SpanId: u64, "16";
}

impl TraceContext {
    /// A span of a trace; `sampled` says whether it is recorded, and so what comes of it should be.
    #[must_use]
    pub const fn new(trace_id: TraceId, span_id: SpanId, sampled: bool) -> Self {
        Self { trace_id, span_id, sampled }
    }

    /// Another span of the same trace.
    #[must_use]
    pub const fn with_span(self, span_id: SpanId) -> Self {
        Self { span_id, ..self }
    }

    /// The trace.
    #[must_use]
    pub const fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The span.
    #[must_use]
    pub const fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// Whether it is recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }
}

impl fmt::Display for TraceContext {
    /// As version 00, without the flags that only others know.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    /// Takes version 00 just as it must be, and of later versions what they share with it.
    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        parse(text.as_bytes()).ok_or(TraceContextError)
    }
}

fn parse(text: &[u8]) -> Option<TraceContext> {
    let (known, later) = text.split_at_checked(TRACEPARENT_LEN)?;
    if text.len() > TRACEPARENT_BYTES_MAX || [2, 35, 52].iter().any(|&at| known[at] != b'-') {
        return None;
    }
    let version = hex(&known[..2])?;
    let is_whole = later.is_empty() || version > 0 && later[0] == b'-';
    if version == 0xff || !is_whole {
        return None;
    }
    let trace_id = TraceId::new(hex(&known[3..35])?)?;
    let span_id = SpanId::new(u64::try_from(hex(&known[36..52])?).ok()?)?;
    let flags = u8::try_from(hex(&known[53..])?).ok()?;
    Some(TraceContext { trace_id, span_id, sampled: flags & SAMPLED != 0 })
}

/// At most 32 lower-case digits: `from_str_radix` alone would take capitals and a sign.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}
