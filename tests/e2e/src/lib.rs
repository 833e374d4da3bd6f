//! The harness of the end-to-end tests: it starts real `towncrier` processes and watches them from outside.
//!
//! Nothing of the hub is linked in. HTTP is read with `httparse`, streams with `russe`, and the programs in `tests/judges`
//! are SSE clients that others wrote. A test tells a story with [`Hub`], [`Subscribe`] and [`Proxy`]; whatever it waits for has
//! a deadline, and the panic at its end says what was seen.

mod body;
mod collector;
mod dev_cluster;
mod edge;
mod front;
mod http;
mod hub;
mod judge;
mod nginx;
mod ports;
mod process;
mod proxy;
mod redis;
pub mod shipped;
mod site;
mod sse;
mod subscriber;
mod tls;
mod wait;

pub use collector::{Collector, Span};
pub use dev_cluster::{DevCluster, DevClusterBuilder, Process, gone, run_with_path};
pub use edge::{Edge, EdgeKind};
pub use front::Front;
pub use http::{Connection, Head, Response};
pub use hub::{Builder, Hub};
pub use judge::{Judge, Page, Row, judge};
pub use nginx::Nginx;
pub use ports::free as free_address;
pub use process::{Finished, Lines, Towncrier};
pub use proxy::Proxy;
pub use redis::{Redis, join_cluster};
pub use rustix::process::Signal;
pub use serde_json::{Value, json};
pub use site::Site;
pub use sse::{End, Event, Item, Stream};
pub use subscriber::{Subscribe, Subscriber};
pub use tls::{Authority, said};
pub use wait::{SOON, eventually};

/// Percent-encodes everything that is not unreserved in a URL.
#[must_use]
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
