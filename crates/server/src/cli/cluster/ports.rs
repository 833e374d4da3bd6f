//! Ports that stay ours.

use std::{io, net::SocketAddr, os::fd::OwnedFd};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, socket_with, sockopt::set_socket_reuseaddr,
};

/// An address that is bound and not listened on.
///
/// The process that is to listen there still can, since it sets `SO_REUSEADDR` as this does; and the system gives the
/// port to nobody else, neither between the choice and the first use nor while the process is down.
#[derive(Debug)]
pub(super) struct Reserved {
    address: SocketAddr,
    _socket: OwnedFd,
}

impl Reserved {
    /// Reserves an address; with a port of 0, one that is free.
    ///
    /// # Errors
    /// If somebody listens there, or the address is not this machine's.
    pub(super) fn new(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
        set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address)?;
        let address = SocketAddr::try_from(getsockname(&socket)?)?;
        Ok(Self { address, _socket: socket })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_reserved_port_is_listened_on_by_who_may_and_given_to_nobody_else() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let reserved = Reserved::new(any).expect("a port");
        assert_ne!(reserved.address().port(), 0);
        for _ in 0..2 {
            // The standard library's listeners set SO_REUSEADDR, as nginx, Redis and the hub do.
            drop(TcpListener::bind(reserved.address()).expect("may listen"));
        }
        let others: Vec<Reserved> = (0..100).map(|_| Reserved::new(any).expect("a port")).collect();
        assert!(others.iter().all(|other| other.address() != reserved.address()));
    }

    #[test]
    fn a_port_that_is_listened_on_cannot_be_reserved() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let error = Reserved::new(listener.local_addr().expect("its address")).expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
