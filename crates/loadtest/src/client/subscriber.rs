//! One subscriber: a socket, and how far it has read. About 150 bytes, plus a cut line while there is one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::http::{Piece, Responses};
use super::inbox::Inbox;
use super::sequence::Sequence;
use super::sse::Events;
use crate::poll::Ready;
use crate::stats::Clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The socket is connecting; the request has not been sent.
    Connecting,
    /// The request has been sent.
    Open,
    /// The stream has ended.
    Ended,
}

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    stream: TcpStream,
    topic: u32,
    phase: Phase,
    responses: Responses,
    events: Events,
    sequence: Sequence,
}

impl Subscriber {
    /// Takes a socket whose connecting has begun.
    pub(crate) fn new(stream: TcpStream, topic: u32) -> Self {
        Self {
            stream,
            topic,
            phase: Phase::Connecting,
            responses: Responses::new(),
            events: Events::default(),
            sequence: Sequence::new(),
        }
    }

    /// Events that it should have received by now and has not, if `published` is its topic's newest.
    pub(crate) fn behind(&self, published: u64) -> u64 {
        (published + 1).saturating_sub(self.sequence.next())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    pub(crate) fn topic(&self) -> usize {
        self.topic as usize
    }

    /// Sends the request once connected, and reads all there is through the shared `buffer`.
    pub(crate) fn on_ready(
        &mut self,
        index: usize,
        ready: Ready,
        request: impl FnOnce(usize) -> Vec<u8>,
        buffer: &mut [u8],
        clock: Clock,
        inbox: &mut Inbox,
    ) {
        if self.phase == Phase::Connecting && (ready.writable || ready.ended) {
            if let Err(error) = self.send(&request(self.topic())) {
                return self.end(index, error.to_string(), inbox);
            }
            self.phase = Phase::Open;
        }
        while self.phase == Phase::Open {
            match self.stream.read(buffer) {
                Ok(0) => self.end(index, "the server closed the connection".to_owned(), inbox),
                Ok(length) => {
                    inbox.bytes += length as u64;
                    self.receive(index, &buffer[..length], clock.now_ns(), inbox);
                    // A short read has emptied the socket (epoll(7)), unless its end is still to be read.
                    if length < buffer.len() && !ready.ended {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.end(index, error.to_string(), inbox),
            }
        }
    }

    fn send(&mut self, request: &[u8]) -> std::io::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        // A few hundred bytes into an empty socket buffer go in whole or not at all.
        let written = self.stream.write(request)?;
        if written == request.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    fn receive(&mut self, index: usize, mut input: &[u8], now_ns: u64, inbox: &mut Inbox) {
        let Self { topic, responses, events, sequence, .. } = self;
        let reason = loop {
            match responses.next(&mut input) {
                Ok(None) => return,
                Ok(Some(Piece::Head(200))) => {}
                Ok(Some(Piece::Body(body))) => events.feed(body, |message| {
                    inbox.take(message, *topic, sequence, now_ns);
                }),
                Ok(Some(Piece::Head(status))) => break format!("status {status}"),
                Ok(Some(Piece::End)) => break "the server ended the stream".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        self.end(index, reason, inbox);
    }

    fn end(&mut self, index: usize, reason: String, inbox: &mut Inbox) {
        self.phase = Phase::Ended;
        inbox.ended(index, reason);
    }
}
