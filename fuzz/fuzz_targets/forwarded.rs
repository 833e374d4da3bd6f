//! The values of the header that proxies set, a line each: who is taken for the client, and that nothing which a client writes
//! stands in for what the proxy in front of the hub says of it.

#![no_main]

use std::{net::IpAddr, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use towncrier_http::{ForwardedBy, Network, Proxies, fuzzing::client};

const PROXY: &str = "10.0.0.1";
const CLIENT: &str = "198.51.100.7";
const NETWORKS: [&str; 3] = ["10.0.0.0/8", "127.0.0.1", "fd00::/8"];

static PROXIES: LazyLock<[Proxies; 2]> = LazyLock::new(|| {
    let network = |text: &str| text.parse::<Network>().expect("is a network");
    [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded]
        .map(|header| Proxies { networks: NETWORKS.map(network).into(), header })
});

fuzz_target!(|data: &[u8]| {
    let values: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    for proxies in &*PROXIES {
        check(proxies, &values);
    }
    check_plain(&PROXIES[0], data);
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(network) = text.parse::<Network>()
    {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
});

fn check(proxies: &Proxies, values: &[&[u8]]) {
    // A stranger may say what it likes; a value that no header can have makes no request.
    let stranger = address(CLIENT);
    if client(proxies, stranger, values).is_none() {
        return;
    }
    assert_eq!(client(proxies, stranger, values), Some(stranger));

    if let Some(found) = client(proxies, address(PROXY), values) {
        assert_eq!(found, found.to_canonical());
    }
    // What the proxy adds, behind what it got or in a header of its own.
    let added = match proxies.header {
        ForwardedBy::XForwardedFor => CLIENT.to_owned(),
        ForwardedBy::Forwarded => format!("for={CLIENT};proto=\"https\""),
    };
    let mut apart = values.to_vec();
    apart.push(added.as_bytes());
    assert_eq!(client(proxies, address(PROXY), &apart), Some(stranger));

    let mut joined = values.last().map(|value| value.to_vec()).unwrap_or_default();
    joined.extend_from_slice(b", ");
    joined.extend_from_slice(added.as_bytes());
    *apart.last_mut().expect("it has what was added") = &joined;
    apart.remove(apart.len() - 2);
    assert_eq!(client(proxies, address(PROXY), &apart), Some(stranger));
}

/// Of plain addresses alone it is easy to say who the client is.
fn check_plain(proxies: &Proxies, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let items: Result<Vec<IpAddr>, _> =
        text.split([',', '\n']).map(|item| item.trim_matches([' ', '\t']).parse()).collect();
    let Ok(items) = items else { return };
    if items.len() > 32 {
        return;
    }
    let values: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    let trusted = |address: &IpAddr| match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] == 10 || v4.octets() == [127, 0, 0, 1],
        IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
    };
    let expected = items.iter().rev().find(|address| !trusted(address)).unwrap_or(&items[0]);
    assert_eq!(client(proxies, address(PROXY), &values), Some(expected.to_canonical()), "{text:?}");
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("is an address")
}
