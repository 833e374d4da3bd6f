//! Who a client is that comes through proxies.
//!
//! A proxy that is trusted appends the address that it was reached from to a header. What stands left of that was sent by the
//! client and may be anything, so the list is read from its end: the first address that is not a trusted proxy's own is
//! the client's, and nothing further left is looked at. Only one header is read, the one that the proxies are known to set: of the
//! other, which they pass on as it came, a client could make what it likes.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use actix_web::http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;

/// Most trusted proxies that a request may have come through.
const HOPS_MAX: usize = 32;

/// Addresses of proxies whose word is taken. One address is a network of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is no network of proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It has every address.
    #[error("would take everybody's word for where they come from; name the proxies")]
    Everybody,
    /// It is no network at all.
    #[error("must be an address or a network, such as 127.0.0.1 or 10.0.0.0/8")]
    Malformed,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse::<IpNet>().map_err(|_| NetworkError::Malformed)?.trunc(),
        };
        if network.prefix_len() == 0 { Err(NetworkError::Everybody) } else { Ok(Self(network)) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() { self.0.addr().fmt(f) } else { self.0.fmt(f) }
    }
}

/// The header by which proxies tell who they were reached from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedBy {
    /// `X-Forwarded-For: 192.0.2.1, 10.0.0.1`.
    XForwardedFor,
    /// `Forwarded: for=192.0.2.1;proto=https, for=10.0.0.1` (RFC 7239).
    Forwarded,
}

/// The proxies before the hub.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// Where they are.
    pub networks: Vec<Network>,
    /// What they set.
    pub header: ForwardedBy,
}

/// A trusted proxy said something that names no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Proxies {
    /// The client of a request that came from `peer`: the peer itself, unless it is a trusted proxy and says otherwise.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<IpAddr, Malformed> {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Ok(peer);
        }
        let mut client = peer;
        let mut hops = 0;
        for value in headers.get_all(self.header.name()).collect::<Vec<_>>().into_iter().rev() {
            for item in FromTheEnd(Some(value.as_bytes())) {
                if item.is_empty() {
                    continue;
                }
                hops += 1;
                client = self.header.address(item).filter(|_| hops <= HOPS_MAX).ok_or(Malformed)?;
                if !self.trusts(client) {
                    return Ok(client);
                }
            }
        }
        // All of them are trusted, so the one furthest away is where the request came from.
        Ok(client)
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.0.contains(&address))
    }
}

impl ForwardedBy {
    fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => header::X_FORWARDED_FOR,
            Self::Forwarded => header::FORWARDED,
        }
    }

    fn address(self, item: &[u8]) -> Option<IpAddr> {
        let item = str::from_utf8(item).ok()?;
        match self {
            Self::XForwardedFor => node(item),
            Self::Forwarded => {
                let mut named = item.split(';').filter_map(|pair| pair.split_once('='));
                let mut fors = named.by_ref().filter(|(name, _)| name.trim().eq_ignore_ascii_case("for"));
                let (_, value) = fors.next()?;
                // Two are one too many to know whom to believe.
                if fors.next().is_some() {
                    return None;
                }
                let value = value.trim();
                match value.strip_prefix('"') {
                    Some(quoted) => node(quoted.strip_suffix('"')?),
                    None => node(value),
                }
            }
        }
    }
}

/// An address with or without a port, a zone, and brackets; proxies write all of these.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
            return without_zone(address)
                .filter(|_| port.is_none_or(is_port))
                .map(IpAddr::V6)
                .map(|ip| ip.to_canonical());
        }
        // Of an address without brackets, only one colon is a port's.
        None if text.bytes().filter(|byte| *byte == b':').count() == 1 => {
            let (address, port) = text.split_once(':')?;
            (address, Some(port))
        }
        None => (text, None),
    };
    if !port.is_none_or(is_port) {
        return None;
    }
    let address = address.parse().ok().or_else(|| without_zone(address).filter(|_| port.is_none()).map(IpAddr::V6))?;
    Some(address.to_canonical())
}

/// A zone is of meaning to the machine only that wrote it.
fn without_zone(text: &str) -> Option<Ipv6Addr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    let named = !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    address.parse().ok().filter(|_| named)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The items of a list, the last first. A comma within quotes divides nothing, as seen from the end: what a client wrote before
/// the items of proxies cannot swallow them by a quote that it never closes.
struct FromTheEnd<'a>(Option<&'a [u8]>);

impl<'a> Iterator for FromTheEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let mut quoted = false;
        for (at, byte) in rest.iter().enumerate().rev() {
            match byte {
                b'"' if !is_escaped(&rest[..at]) => quoted = !quoted,
                b',' if !quoted => {
                    self.0 = Some(&rest[..at]);
                    return Some(rest[at + 1..].trim_ascii());
                }
                _ => {}
            }
        }
        self.0 = None;
        Some(rest.trim_ascii())
    }
}

fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests;
