//! What an operator decides about HTTP.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{Auth, LogLevel, Origin, Proxies, RateOptions, Sealing, TlsFiles};

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    All,
    /// Subscribers only: administration has a listener of its own.
    Public,
    /// Administration, publishing and metrics.
    Admin,
}

/// Where the hub listens, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where; with a port of 0 the system chooses one.
    pub address: SocketAddr,
    /// For what.
    pub role: Role,
    /// Whether it speaks TLS, with [`Options::tls`].
    pub tls: bool,
    /// If set, only clients with a certificate signed by one of the authorities in this file (PEM) are let in.
    pub client_ca: Option<PathBuf>,
}

/// The settings of the HTTP side.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub listeners: Vec<Listener>,
    /// The hub's certificate and key.
    pub tls: Option<TlsFiles>,
    /// For how long browsers shall use nothing but TLS, once they have; zero does not say so.
    pub hsts: Duration,
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
    /// Whether streams without TLS are sent straight on their sockets, rather than by actix-http.
    pub lean: bool,
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
    /// Whom it lets do what.
    pub auth: Auth,
    /// Whether only this machine's own names and pages are answered, as befits a hub without authentication.
    pub guarded: bool,
    /// Which payloads are sealed.
    pub sealing: Option<Arc<Sealing>>,
    /// Pages of other origins that may use the hub, with their visitors' credentials.
    pub origins: Vec<Origin>,
    /// The proxies that are believed when they say who a client is.
    pub proxies: Proxies,
    /// How often clients may do what.
    pub rates: RateOptions,
    /// What is logged, to be changed.
    pub log_level: LogLevel,
    /// This build's version.
    pub version: &'static str,
}
