//! Who may talk to a hub that asks nobody who they are.
//!
//! Such a hub listens on loopback only, and the one stranger who still reaches it is a web page in a browser on the same
//! machine: one whose name was made to point to 127.0.0.1 would count as the hub's own page and might do everything. So
//! unless the hub was opened to the network, it answers only to a loopback name, and changes nothing for other origins than
//! those that it was told of.

use std::net::IpAddr;

use actix_web::{
    dev::ServiceRequest,
    http::{StatusCode, header, uri::Authority},
};

use crate::{
    cors::{self, Origin},
    problem::Problem,
};

/// Refuses a request to, or a change by a page of, another host than this machine's own; `origins` are no strangers.
pub(crate) fn check(request: &ServiceRequest, origins: &[Origin]) -> Result<(), Problem> {
    let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let host = named.or_else(|| request.uri().authority().map(Authority::as_str));
    // HTTP/1.0 has none, and no browser speaks that.
    if host.is_some_and(|host| !is_own(host)) {
        return Err(refuse("Host", "is not this machine; behind a proxy, set auth.open_to_network"));
    }
    let changes = !request.method().is_safe();
    let origin = request.headers().get(header::ORIGIN).filter(|origin| changes && !cors::is_listed(origins, origin));
    let own = |origin: &str| origin.split_once("://").is_some_and(|(_, host)| is_own(host));
    if origin.is_some_and(|origin| !origin.to_str().is_ok_and(own)) {
        return Err(refuse("Origin", "is another site"));
    }
    Ok(())
}

fn refuse(field: &str, what: &str) -> Problem {
    Problem::field(field, what).with_status(StatusCode::FORBIDDEN)
}

/// Whether a host, with a port or without, is a name of the loopback interface.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        // In an address without brackets, a colon is no port's.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_many_names() {
        for host in
            ["localhost", "LOCALHOST:8080", "hub.localhost:1", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:80", "::1"]
        {
            assert!(is_own(host), "{host}");
        }
        for host in
            ["", "evil.example", "localhost.evil.example:8080", "10.0.0.1", "127.0.0.1.evil.example", "[::2]:80"]
        {
            assert!(!is_own(host), "{host}");
        }
    }
}
