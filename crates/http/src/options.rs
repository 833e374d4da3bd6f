//! What an operator decides about HTTP.

use std::{net::SocketAddr, time::Duration};

/// The settings of the HTTP side.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Threads that serve connections.
    pub workers: usize,
    /// Most streams and polls at a time.
    pub max_connections: usize,
    /// Most of them from one address, if that is limited.
    pub max_connections_per_address: Option<usize>,
    /// How long a client may take to send a request's head.
    pub request_head_timeout: Duration,
    /// How long it may take to send the body.
    pub request_body_timeout: Duration,
    /// Longest body, in bytes.
    pub body_bytes: usize,
    /// How long sent bytes may stay unacknowledged, or a peer's window closed, until its connection is cut.
    pub tcp_user_timeout: Duration,
    /// The kernel's send buffer of each connection, in bytes.
    pub send_buffer: usize,
    /// Connections that the kernel holds until they are accepted.
    pub backlog: u32,
    /// Longest data of an event as it stands in its frame, in bytes.
    pub data_bytes: usize,
    /// Most items of a batch.
    pub batch_events: usize,
    /// Most selectors of a subscription.
    pub selectors: usize,
    /// How long connections may take to end after their streams have.
    pub shutdown_timeout: Duration,
    /// Whether only this machine's own names and pages are answered, as befits a hub without authentication.
    pub guarded: bool,
    /// This build's version.
    pub version: &'static str,
}
