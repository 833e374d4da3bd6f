//! Free ports, from below the ephemeral range so that no outgoing connection can take one between the check and its use.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

static HANDED_OUT: AtomicU32 = AtomicU32::new(0);

/// A loopback address that nothing listens on; never the same one twice in a test run.
///
/// # Panics
/// When there is none left.
#[must_use]
pub fn free() -> SocketAddr {
    let start = process::id().wrapping_mul(89);
    loop {
        let turn = HANDED_OUT.fetch_add(1, Ordering::Relaxed);
        assert!(turn < COUNT, "no free port between {FIRST} and {}", FIRST + COUNT);
        let port = u16::try_from(FIRST + start.wrapping_add(turn) % COUNT).expect("below 65,536");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}
