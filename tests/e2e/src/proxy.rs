//! A TCP proxy between a client and a hub, to be cut or frozen at will.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

/// What the kernel is asked for in a small buffer, in bytes; it takes at least a few of its own.
const SMALL: usize = 4096;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The proxy; its connections end with it.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    /// Both ends of each connection, by its number; it goes when both directions are over.
    open: Mutex<HashMap<usize, [TcpStream; 2]>>,
    accepted: AtomicUsize,
    /// Bytes that went to clients.
    brought: AtomicUsize,
    frozen: AtomicBool,
    over: AtomicBool,
    /// Bytes that a connection may bring to its client before it is cut; 0 for no end.
    allowance: AtomicUsize,
    /// Whether it holds as little as the kernel lets it, so that a client that stalls is felt early.
    small: bool,
}

impl Proxy {
    /// A proxy to a hub.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        Self::new(target, false)
    }

    /// A proxy with the smallest buffers that there are: a client that stalls makes the hub wait soon.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn small(target: SocketAddr) -> Self {
        Self::new(target, true)
    }

    fn new(target: SocketAddr, small: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind the proxy");
        let addr = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            open: Mutex::default(),
            accepted: AtomicUsize::new(0),
            brought: AtomicUsize::new(0),
            frozen: AtomicBool::new(false),
            over: AtomicBool::new(false),
            allowance: AtomicUsize::new(0),
            small,
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { addr, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A URL at this proxy.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Sends later connections to another hub.
    pub fn retarget(&self, target: SocketAddr) {
        *self.shared.target.lock().expect("target") = target;
    }

    /// Cuts every connection that is open.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// Cuts each connection from now on after it has brought its client this many bytes, wherever in a frame that is.
    pub fn cut_each_after(&self, bytes: usize) {
        self.shared.allowance.store(bytes, Ordering::SeqCst);
    }

    /// Reads and writes nothing more, and closes nothing: a peer that has vanished.
    pub fn freeze(&self) {
        self.shared.frozen.store(true, Ordering::SeqCst);
    }

    /// Goes on.
    pub fn thaw(&self) {
        self.shared.frozen.store(false, Ordering::SeqCst);
    }

    /// How many bytes have gone to clients so far.
    #[must_use]
    pub fn brought(&self) -> usize {
        self.shared.brought.load(Ordering::SeqCst)
    }

    /// How many connections have come in so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the accepting thread, which then sees that it is over.
        let _ = TcpStream::connect(self.addr);
    }
}

impl Shared {
    fn cut(&self) {
        for (_, both) in self.open.lock().expect("open").drain() {
            both.iter().for_each(|stream| _ = stream.shutdown(Shutdown::Both));
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let target = *shared.target.lock().expect("target");
        // A target that is gone looks to the client like one that hangs up.
        let Ok(hub) = connect(target, shared.small) else {
            continue;
        };
        if shared.small {
            let _ = SockRef::from(&client).set_send_buffer_size(SMALL);
        }
        let both = || [&client, &hub].map(|stream| stream.try_clone().expect("a second handle"));
        shared.open.lock().expect("open").insert(number, both());
        let last = Arc::new(Last { number, shared: Arc::clone(shared) });
        let allowance = shared.allowance.load(Ordering::SeqCst);
        let ([client, hub], [client_too, hub_too]) = (both(), both());
        pump(client, hub, 0, false, Arc::clone(&last));
        pump(hub_too, client_too, allowance, true, last);
    }
}

fn connect(target: SocketAddr, small: bool) -> io::Result<TcpStream> {
    if !small {
        return TcpStream::connect(target);
    }
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    socket.set_recv_buffer_size(SMALL)?;
    socket.connect(&target.into())?;
    Ok(socket.into())
}

/// Forgets a connection when its second direction is over.
struct Last {
    number: usize,
    shared: Arc<Shared>,
}

impl Drop for Last {
    fn drop(&mut self) {
        if let Ok(mut open) = self.shared.open.lock() {
            open.remove(&self.number);
        }
    }
}

/// Copies one direction of a connection in a thread of its own.
fn pump(mut from: TcpStream, mut to: TcpStream, allowance: usize, brings: bool, last: Arc<Last>) {
    from.set_nodelay(true).expect("nodelay");
    thread::spawn(move || {
        let shared = &last.shared;
        let mut bytes = [0; 16 * 1024];
        let mut left = if allowance == 0 { usize::MAX } else { allowance };
        while left > 0 {
            let most = bytes.len().min(left);
            let Ok(count @ 1..) = from.read(&mut bytes[..most]) else {
                break;
            };
            while shared.frozen.load(Ordering::SeqCst) && !shared.over.load(Ordering::SeqCst) {
                thread::sleep(LOOK_EVERY);
            }
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
            left -= count;
            if brings {
                shared.brought.fetch_add(count, Ordering::SeqCst);
            }
        }
        let half = if left == 0 { Shutdown::Both } else { Shutdown::Write };
        let _ = to.shutdown(half);
        let _ = from.shutdown(if left == 0 { Shutdown::Both } else { Shutdown::Read });
    });
}
