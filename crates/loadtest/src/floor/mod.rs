//! The floor: a bare epoll server, the least that any hub must do. It is what a hub is measured against.
//!
//! One thread. A publish makes one frame and one `write` per subscriber; with coalescing the frames of a loop turn go out
//! together. It knows no patterns and no heartbeats, no history unless it is told to keep some, and reads only what the load
//! client sends.

mod connection;
mod request;
mod rooms;

use std::collections::HashMap;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::args::FloorArgs;
use crate::poll::{Poller, Ready};
use crate::{Error, sys};
use connection::{Connection, Gone};
use request::{Request, Unreadable};
use rooms::{Rooms, Seat};

/// Connections that the kernel may hold for us; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// The longest sleep without a look at the end.
const TICK: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 64 * 1024;
const LISTENER: u64 = u64::MAX;

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-store, no-transform\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Runs the `floor` sub-command until its lifetime is over.
pub(crate) fn serve(args: &FloorArgs) -> Result<ExitCode, Error> {
    sys::raise_file_limit();
    let mut floor = Floor::bind(args.listen, args.coalesce)?.remember(args.history as usize);
    floor.run(args.lifetime, &AtomicBool::new(false))?;
    Ok(ExitCode::SUCCESS)
}

/// The floor server.
#[derive(Debug)]
pub struct Floor {
    listener: TcpListener,
    poller: Poller,
    coalesce: bool,
    /// Events of each topic that are kept.
    history: usize,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    /// Requests that have come only in part, by connection.
    partial: HashMap<u32, Vec<u8>>,
    rooms: Rooms,
    /// With coalescing: rooms with something unsent.
    dirty: Vec<u32>,
    gone: Vec<u32>,
    frame: Vec<u8>,
    sequence: u64,
}

impl Floor {
    /// Listens on `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// If the address is not loopback or is taken.
    pub fn bind(address: SocketAddrV4, coalesce: bool) -> Result<Self, Error> {
        sys::require_loopback(address)?;
        let failed = || Error::io(format!("cannot listen on {address}"));
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).map_err(failed())?;
        sockopt::set_socket_reuseaddr(&socket, true).map_err(failed())?;
        bind(&socket, &address).map_err(failed())?;
        listen(&socket, BACKLOG).map_err(failed())?;
        let listener = TcpListener::from(socket);
        let poller = Poller::new()?;
        poller.add_level(&listener, LISTENER)?;
        Ok(Self {
            listener,
            poller,
            coalesce,
            history: 0,
            connections: Vec::new(),
            free: Vec::new(),
            partial: HashMap::new(),
            rooms: Rooms::default(),
            dirty: Vec::new(),
            gone: Vec::new(),
            frame: Vec::new(),
            sequence: 0,
        })
    }

    /// Keeps so many events of each topic for those who resume.
    #[must_use]
    pub fn remember(mut self, events: usize) -> Self {
        self.history = events;
        self
    }

    /// The port that it listens on.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn port(&self) -> Result<u16, Error> {
        Ok(self.listener.local_addr().map_err(Error::io("getsockname"))?.port())
    }

    /// Serves until `stop` is set (seen within 100 ms) or `lifetime` is over.
    ///
    /// # Errors
    /// If epoll fails; a broken connection only ends that connection.
    pub fn run(&mut self, lifetime: Duration, stop: &AtomicBool) -> Result<(), Error> {
        let mut buffer = vec![0; READ_BYTES];
        let started = Instant::now();
        while started.elapsed() < lifetime && !stop.load(Ordering::Relaxed) {
            self.poller.wait(TICK)?;
            for index in 0..self.poller.len() {
                let ready = self.poller.ready(index);
                if ready.token == LISTENER {
                    self.accept()?;
                } else if self.on_ready(ready.token as u32, ready, &mut buffer).is_err() {
                    self.gone.push(ready.token as u32);
                }
                // At once: noted twice, a number could have gone to a new connection by its second time.
                self.remove_gone();
            }
            self.send_coalesced();
            self.remove_gone();
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), Error> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                // Out of descriptors or a connection that has already gone: try again at the next turn.
                Err(error) if error.kind() != ErrorKind::Interrupted => return Ok(()),
                Err(_) => continue,
            };
            if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_ok() {
                self.admit(stream)?;
            }
        }
    }

    fn admit(&mut self, stream: TcpStream) -> Result<(), Error> {
        let number = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            (self.connections.len() - 1) as u32
        });
        self.poller.add(&stream, u64::from(number))?;
        self.connections[number as usize] = Some(Connection::new(stream));
        Ok(())
    }

    fn on_ready(&mut self, number: u32, ready: Ready, buffer: &mut [u8]) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(number as usize).and_then(Option::as_mut) else {
            return Ok(());
        };
        let mut input = self.partial.remove(&number).unwrap_or_default();
        connection.read(ready, buffer, &mut input)?;
        connection.flush()?;
        let mut rest = input.as_slice();
        while let Some((request, length)) = request::parse(rest).map_err(|Unreadable| Gone)? {
            self.answer(number, request)?;
            rest = &rest[length..];
        }
        if !rest.is_empty() {
            self.partial.insert(number, rest.to_vec());
        }
        Ok(())
    }

    fn answer(&mut self, number: u32, request: Request<'_>) -> Result<(), Gone> {
        let (status, body) = match request {
            Request::Subscribe { query, after } => return self.subscribe(number, query, after),
            Request::Publish { topic, data } => {
                let id = self.publish(topic, data);
                ("200 OK", format!("{{\"id\":\"{id}\",\"topic\":\"{}\"}}", String::from_utf8_lossy(topic)))
            }
            Request::Ready => ("200 OK", "{}".to_owned()),
            Request::Unknown => ("404 Not Found", "{}".to_owned()),
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
        self.send(number, (head + &body).as_bytes())
    }

    fn subscribe(&mut self, number: u32, query: &[u8], after: Option<u64>) -> Result<(), Gone> {
        if self.connections[number as usize].as_ref().is_none_or(|connection| !connection.seats.is_empty()) {
            return Err(Gone);
        }
        // Whoever comes in this turn has what is unsent in the history, or does not want it.
        self.send_coalesced();
        let seats: Box<[Seat]> = request::topics(query).map(|topic| self.rooms.join(topic, number)).collect();
        let id = after.unwrap_or(self.sequence);
        let resumed = after.is_some();
        let first = format!(
            "retry: 2000\nid: 0-{id}\nevent: connected\n\
             data: {{\"session\":\"\",\"node\":\"floor\",\"resumed\":{resumed}}}\n\n"
        );
        let mut opening = STREAM_HEAD.to_vec();
        chunk(&mut opening, &[first.as_bytes()]);
        if let Some(after) = after {
            self.rooms.replay(seats.iter().map(|seat| seat.room), after, &mut opening);
        }
        if let Some(connection) = &mut self.connections[number as usize] {
            connection.seats = seats;
        }
        self.send(number, &opening)
    }

    fn send(&mut self, number: u32, bytes: &[u8]) -> Result<(), Gone> {
        self.connections[number as usize].as_mut().map_or(Ok(()), |connection| connection.write(bytes))
    }

    /// Sends an event to everyone in its room, at once or at the end of the turn; its id.
    fn publish(&mut self, topic: &[u8], data: &[u8]) -> String {
        self.sequence += 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = format!("{}-{}", now.as_millis(), self.sequence);
        let Some(number) = self.rooms.find(topic) else {
            return id;
        };
        let event: [&[u8]; 5] = [b"id: ", id.as_bytes(), b"\ndata: ", data, b"\n\n"];
        let mut frame = std::mem::take(&mut self.frame);
        chunk(&mut frame, &event);
        if self.history > 0 {
            self.rooms.room(number).remember(self.sequence, &frame, self.history);
        }
        if self.coalesce {
            let room = self.rooms.room(number);
            if room.unsent.is_empty() {
                self.dirty.push(number);
            }
            room.unsent.extend_from_slice(&frame);
        } else {
            self.send_to_room(number, &frame);
        }
        frame.clear();
        self.frame = frame;
        id
    }

    fn send_to_room(&mut self, room: u32, bytes: &[u8]) {
        for member in &self.rooms.room(room).members {
            if let Some(connection) = &mut self.connections[*member as usize]
                && connection.write(bytes).is_err()
            {
                self.gone.push(*member);
            }
        }
    }

    fn send_coalesced(&mut self) {
        while let Some(number) = self.dirty.pop() {
            let mut unsent = std::mem::take(&mut self.rooms.room(number).unsent);
            self.send_to_room(number, &unsent);
            unsent.clear();
            self.rooms.room(number).unsent = unsent;
        }
    }

    fn remove_gone(&mut self) {
        while let Some(number) = self.gone.pop() {
            let Some(connection) = self.connections[number as usize].take() else {
                continue;
            };
            self.partial.remove(&number);
            self.free.push(number);
            for seat in connection.seats {
                if let Some(moved) = self.rooms.leave(seat)
                    && let Some(moved) = &mut self.connections[moved as usize]
                    && let Some(place) = moved.seats.iter_mut().find(|other| other.room == seat.room)
                {
                    *place = seat;
                }
            }
        }
    }
}

/// Appends one HTTP chunk with the given parts.
fn chunk(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{length:x}\r\n");
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}
