//! A blocking HTTP/1.1 client that sends whatever bytes it is given, so that a test can also misbehave.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use crate::{
    SOON,
    body::{Body, Progress},
};

/// The status line and headers of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    /// A header's value, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        Some(value)
    }

    /// Every header, with its name in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Status line and headers.
    pub head: Head,
    /// The decoded body.
    pub body: Vec<u8>,
}

impl Response {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of an answer that must be a 200 with JSON.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status(), 200, "{}", self.text());
        self.json()
    }

    /// The body as JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// Asserts that this is an RFC 9457 problem with this status, and gives it.
    #[track_caller]
    pub fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status(), status, "{}", self.text());
        let kind = self.head.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/problem+json"), "content-type {kind:?}: {}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
        problem
    }
}

/// One TCP connection to a hub or a proxy.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    unread: BytesMut,
    framing: Body,
}

impl Connection {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    #[track_caller]
    #[must_use]
    pub fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, SOON);
        Self::new(stream.unwrap_or_else(|error| panic!("connect to {addr}: {error}")))
    }

    /// Connects with a small receive buffer, so that a reader that stalls is felt early.
    ///
    /// # Panics
    /// When nobody listens there.
    #[track_caller]
    #[must_use]
    pub fn open_small(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("receive buffer");
        socket.connect(&addr.into()).unwrap_or_else(|error| panic!("connect to {addr}: {error}"));
        Self::new(socket.into())
    }

    /// Connects, if somebody listens there.
    ///
    /// # Errors
    /// Those of `connect`; `TimedOut` after `within`.
    pub fn try_open(addr: SocketAddr, within: Duration) -> io::Result<Self> {
        Ok(Self::new(TcpStream::connect_timeout(&addr, within)?))
    }

    /// The same with a small receive buffer.
    ///
    /// # Errors
    /// As [`Connection::try_open`].
    pub fn try_open_small(addr: SocketAddr, within: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_recv_buffer_size(4096)?;
        socket.connect_timeout(&addr.into(), within)?;
        Ok(Self::new(socket.into()))
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("nodelay");
        stream.set_write_timeout(Some(SOON)).expect("write timeout");
        Self { stream, unread: BytesMut::new(), framing: Body::none() }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the other side has closed, or reads nothing for long.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Reads the head of the next answer.
    ///
    /// # Errors
    /// `TimedOut` after `within`, `UnexpectedEof` when the connection ended first.
    pub fn head(&mut self, within: Duration) -> io::Result<Head> {
        let deadline = Instant::now() + within;
        loop {
            if let Some((length, head)) = parse_head(&self.unread)? {
                self.unread.advance(length);
                self.framing = Body::of(&head);
                return Ok(head);
            }
            if self.fill(deadline)? == 0 {
                let seen = String::from_utf8_lossy(&self.unread).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("no answer but {seen:?}")));
            }
        }
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// As [`Connection::head`].
    pub fn response(&mut self, within: Duration) -> io::Result<Response> {
        let head = self.head(within)?;
        let body = self.body(within)?;
        Ok(Response { head, body })
    }

    /// Reads the whole body of the answer whose head has been read.
    ///
    /// # Errors
    /// As [`Connection::head`].
    pub fn body(&mut self, within: Duration) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + within;
        let mut body = BytesMut::new();
        loop {
            match self.read_body(&mut body, deadline)? {
                Progress::More => {}
                Progress::Clean => return Ok(body.to_vec()),
                Progress::Cut => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "body cut short"));
                }
            }
        }
    }

    /// True once the other side has closed, whatever it said before.
    pub fn closed_within(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            match self.fill(deadline) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::TimedOut,
            }
        }
    }

    /// Sends FIN and keeps reading, as `shutdown(SHUT_WR)` does.
    pub fn half_close(&self) {
        // One that has been reset can no longer be half-closed, and need not be.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Goes away with an RST.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("linger");
    }

    /// Sends this over and over until the other side has taken `most` bytes, or takes no more for `patience`, or has
    /// closed; gives how many bytes it took.
    pub fn flood(&mut self, bytes: &[u8], most: usize, patience: Duration) -> usize {
        self.stream.set_write_timeout(Some(patience)).expect("write timeout");
        let mut taken = 0;
        while taken < most {
            let Ok(count) = self.stream.write(bytes) else {
                break;
            };
            taken += count;
        }
        taken
    }

    /// Appends what there is of the body to `out`, waiting for more if there is nothing.
    pub(crate) fn read_body(&mut self, out: &mut BytesMut, deadline: Instant) -> io::Result<Progress> {
        let before = out.len();
        let over = self.framing.take(&mut self.unread, out)?;
        // Bytes that came with the end are read before it.
        if out.len() > before {
            return Ok(Progress::More);
        }
        if over {
            return Ok(Progress::Clean);
        }
        match self.fill(deadline) {
            Ok(0) if self.framing.ends_with_connection() => Ok(Progress::Clean),
            Ok(0) => Ok(Progress::Cut),
            Ok(_) => Ok(Progress::More),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Progress::Cut),
            Err(error) => Err(error),
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left))?;
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Option<(usize, Head)>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let headers = response.headers.iter().map(|h| (h.name.to_ascii_lowercase(), text(h.value))).collect();
            Ok(Some((length, Head { status: response.code.expect("parsed"), headers })))
        }
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

/// Sends one request on a connection of its own and reads the answer.
///
/// # Panics
/// When there is none.
#[track_caller]
pub(crate) fn request(addr: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut message = format!("{method} {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in headers {
        message.push_str(&format!("{name}: {value}\r\n"));
    }
    message.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut connection = Connection::open(addr);
    // A hub that refuses a body early may close before it has read it all; its answer is what counts.
    let sent = connection.send([message.as_bytes(), body].concat());
    connection.response(SOON).unwrap_or_else(|error| panic!("{method} {target}: {error} (request: {sent:?})"))
}
