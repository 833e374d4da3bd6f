//! The words of the hub and their exact form on the wire: topics, selectors, event ids, cursors, SSE frames, and every
//! limit that data from outside must keep to.
//!
//! Nothing here knows of threads, sockets or clocks. Whatever comes from a client is parsed into these types at the
//! edge, so that the rest of the hub handles only values that are already valid.

mod as_text;
pub mod control;
mod cursor;
mod event;
mod id;
pub mod limits;
mod selector;
pub mod sse;
mod text;
mod topic;
mod trace;

pub use control::{CloseReason, Gap, GapReason};
pub use cursor::{Cursor, CursorError, Heads, Start};
pub use event::{Event, NewEvent};
pub use id::{EventId, EventIdError};
pub use selector::{Selector, SelectorError, Selectors, SelectorsError};
pub use text::{EventType, Name, TextError};
pub use topic::{Partition, Partitions, Topic, TopicError};
pub use trace::{SpanId, TRACEPARENT_BYTES_MAX, TraceContext, TraceContextError, TraceId};
