//! Metrics, logs and spans: what an operator sees of a running hub.
//!
//! [`Metrics`] holds every metric of the process, created and registered in one place, so that the list of names is
//! here and nowhere else. [`logging`] sets up the log, [`spans`] exports traces. A leaf: it knows no other crate of the hub, and the words of its
//! labels are the vocabulary of `docs/protocol.md`.

mod histogram;
mod label;
pub mod logging;
mod metrics;
mod namespace;
mod process;
pub mod spans;

pub use self::{
    histogram::{Histogram, Tally},
    label::{
        Actor, AuthResult, CloseReason, Counters, DropReason, Each, GapReason, Gauges, Histograms, Label, Limit,
        Operation, Part, PublishResult, RefusedReason, ReplaySource,
    },
    metrics::{CONTENT_TYPE, Count, Gauge, Metrics},
    namespace::{Namespace, Namespaces},
    process::{Usage, usage},
};
