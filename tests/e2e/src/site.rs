//! A web site of somebody else: one empty page, whatever is asked for.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

const PAGE: &str = "<!doctype html><title>another site</title><link rel=icon href=data:,>";

/// A site on a port of its own. By its address and by `localhost` it is two origins.
#[derive(Debug)]
pub struct Site {
    addr: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Site {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot listen.
    #[track_caller]
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a thread")]
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let ended = over.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // Browsers also open connections that they do not use yet, so each has a thread.
                thread::spawn(move || serve(stream));
            }
        });
        Self { addr, over }
    }

    /// Its origin, by a name of this machine.
    #[must_use]
    pub fn origin(&self, host: &str) -> String {
        format!("http://{host}:{}", self.addr.port())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 16 * 1024 {
        let mut bytes = [0; 1024];
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&bytes[..count]),
        }
    }
    let length = PAGE.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close");
    write!(stream, "{head}\r\n\r\n{PAGE}")
}
