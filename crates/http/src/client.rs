//! Where a request comes from, as limits, logs and administrators see it.

use std::net::IpAddr;

use actix_web::{HttpMessage, HttpRequest, dev::ServiceRequest};
use towncrier_telemetry::Metrics;

use crate::forwarded::Proxies;

/// A client that is not the peer, kept with the request.
#[derive(Debug, Clone, Copy)]
struct Client(IpAddr);

/// Finds out who a request is from, once, if it may be somebody else than the peer.
pub(crate) fn note(request: &ServiceRequest, proxies: &Proxies, metrics: &Metrics) {
    if proxies.networks.is_empty() {
        return;
    }
    let Some(peer) = request.peer_addr().map(|address| address.ip()) else { return };
    match proxies.client(peer, request.headers()) {
        Ok(client) if client == peer => {}
        Ok(client) => {
            request.extensions_mut().insert(Client(client));
        }
        Err(_) => {
            metrics.forwarded_malformed.inc();
            tracing::debug!(%peer, "a trusted proxy names no client");
        }
    }
}

/// Who a request is from.
pub(crate) fn address(request: &HttpRequest) -> Option<IpAddr> {
    let noted = request.extensions().get::<Client>().copied();
    noted.map(|client| client.0).or_else(|| Some(request.peer_addr()?.ip().to_canonical()))
}
