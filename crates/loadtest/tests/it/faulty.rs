//! A small hub with one fault of choice: a thread per connection, no cleverness. All subscribers get all events, and those
//! who resume get what they missed as it was sent to the others, fault and all.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it does wrong, and to which event, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Drop(u64),
    DropFrom(u64),
    Repeat(u64),
    /// Sends this one after the next.
    Exchange(u64),
    Damage(u64),
    Refuse(u64),
    /// Says instead of this one that it was lost.
    Admit(u64),
    /// Closes the connection after its answer, as it may, and looks at nothing that came after.
    Close(u64),
    /// Ends every stream instead of sending this one.
    Hangup(u64),
}

#[derive(Default)]
struct Hub {
    subscribers: Vec<TcpStream>,
    events: u64,
    held_back: Vec<u8>,
    sent: Vec<(u64, Vec<u8>)>,
}

/// Listens until the test process ends.
pub(crate) struct FaultyServer {
    port: u16,
}

impl FaultyServer {
    pub(crate) fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let hub = Arc::new(Mutex::new(Hub::default()));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, hub) = (stream.expect("a connection"), Arc::clone(&hub));
                // A client that leaves ends its thread with an error, as it should.
                thread::spawn(move || serve(&stream, fault, &hub));
            }
        });
        Self { port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

fn serve(stream: &TcpStream, fault: Fault, hub: &Mutex<Hub>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut length, mut after) = (String::new(), 0, None);
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().expect("a length");
            } else if let Some(value) = line.strip_prefix("Last-Event-ID: ") {
                after = Some(value.trim().parse().expect("one of our ids"));
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut writer = stream;
        if first.starts_with("GET /events") {
            hub.lock().expect("no panic").subscribe(stream, after)?;
        } else if first.starts_with("POST") {
            let body = String::from_utf8(body).expect("text");
            let data = body.split("\"data\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("data");
            let status = hub.lock().expect("no panic").publish(fault, data);
            let closes = fault == Fault::Close(hub.lock().expect("no panic").events);
            let head = if closes { "Connection: close\r\n" } else { "" };
            writer.write_all(format!("HTTP/1.1 {status}\r\n{head}Content-Length: 2\r\n\r\n{{}}").as_bytes())?;
            if closes {
                // Not at once: a reset would overtake the answer.
                stream.shutdown(Shutdown::Write)?;
                return reader.read_to_end(&mut Vec::new()).map(drop);
            }
        } else {
            return writer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    }
}

impl Hub {
    /// Under the lock, so that nothing is published between the replay and the place among the others.
    fn subscribe(&mut self, mut stream: &TcpStream, after: Option<u64>) -> std::io::Result<()> {
        let id = after.unwrap_or(self.events);
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut opening =
            [head, chunk(format!("id: {id}\nevent: connected\ndata: {{}}\n\n").as_bytes()).as_slice()].concat();
        let missed = self.sent.iter().filter(|(event, _)| *event > id);
        missed.for_each(|(_, frames)| opening.extend_from_slice(frames));
        stream.write_all(&opening)?;
        self.subscribers.push(stream.try_clone()?);
        Ok(())
    }

    fn publish(&mut self, fault: Fault, data: &str) -> &'static str {
        self.events += 1;
        let event = self.events;
        let frame = chunk(format!("id: {event}\ndata: {data}\n\n").as_bytes());
        let frames = match fault {
            Fault::Refuse(which) if which == event => return "503 Service Unavailable",
            Fault::Drop(which) if which == event => Vec::new(),
            Fault::DropFrom(which) if which <= event => Vec::new(),
            Fault::Repeat(which) if which == event => frame.repeat(2),
            Fault::Exchange(which) if which == event => {
                self.held_back = frame.clone();
                Vec::new()
            }
            Fault::Damage(which) if which == event => {
                String::from_utf8(frame.clone()).expect("text").replace('x', "y").into()
            }
            Fault::Admit(which) if which == event => {
                chunk(format!("id: {event}\nevent: gap\ndata: {{}}\n\n").as_bytes())
            }
            Fault::Hangup(which) if which == event => chunk(b""),
            _ => [frame.as_slice(), &std::mem::take(&mut self.held_back)].concat(),
        };
        for mut subscriber in &self.subscribers {
            // One that has left has no complaints.
            let _ = subscriber.write_all(&frames);
        }
        // Who comes back after a hang-up gets the event after all.
        let kept = if fault == Fault::Hangup(event) { frame } else { frames };
        self.sent.push((event, kept));
        "200 OK"
    }
}

/// One HTTP chunk; of nothing, the end of the stream.
fn chunk(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}
