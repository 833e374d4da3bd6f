//! Where a request comes from, as limits, logs and administrators see it.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::{HttpMessage, HttpRequest, dev::ServiceRequest};
use towncrier_auth::AddressKey;
use towncrier_telemetry::Metrics;

use towncrier_wire::Name;

use crate::{access::Caller, forwarded::Proxies};

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

/// Whom the limits on publishing count: a token's user, wherever they publish from, and else an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    User(Name),
    Address(AddressKey),
}

/// The key of a request's client.
pub(crate) fn key(request: &HttpRequest) -> Key {
    match Caller::of(request).user() {
        Some(user) => Key::User(user.clone()),
        None => Key::Address(address_key(request)),
    }
}

/// The key of a request's address.
pub(crate) fn address_key(request: &HttpRequest) -> AddressKey {
    address(request).unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).into()
}

/// Who a request is from.
pub(crate) fn address(request: &HttpRequest) -> Option<IpAddr> {
    let noted = request.extensions().get::<Client>().copied();
    noted.map(|client| client.0).or_else(|| Some(request.peer_addr()?.ip().to_canonical()))
}
