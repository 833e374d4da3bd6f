//! One subscriber: a socket, and how far it has read. About 200 bytes, plus a cut line while there is one.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};

use super::http::{Piece, Responses};
use super::inbox::Inbox;
use super::sse::{Events, Message};
use super::topics::TopicSet;
use super::track::Track;
use crate::dialect::Opens;
use crate::poll::Ready;
use crate::stats::Clock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Away,
    /// The socket is connecting; the request has not been sent.
    Connecting,
    /// The request has been sent.
    Asked,
    /// The stream has begun.
    Open,
    /// The server ended the stream.
    Ended,
}

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    stream: Option<TcpStream>,
    phase: Phase,
    /// It does not read.
    paused: bool,
    /// It asked to go on where it was.
    resumes: bool,
    /// Tracks that have not reached their goals.
    goals: u32,
    /// When its connection began.
    since_ns: u64,
    responses: Responses,
    events: Events,
    tracks: Box<[Track]>,
}

/// What a subscriber needs of its surroundings when something has come for it.
pub(super) struct Context<'a> {
    pub(super) topics: &'a TopicSet,
    pub(super) host: SocketAddrV4,
    pub(super) buffer: &'a mut [u8],
    pub(super) clock: Clock,
    pub(super) inbox: &'a mut Inbox,
}

impl Subscriber {
    /// One that has not connected. With `cursors` it remembers where it is.
    pub(super) fn new(topics: &[u32], cursors: bool) -> Self {
        Self {
            stream: None,
            phase: Phase::Away,
            paused: false,
            resumes: false,
            goals: 0,
            since_ns: 0,
            responses: Responses::new(),
            events: if cursors { Events::after(b"") } else { Events::default() },
            tracks: topics.iter().map(|topic| Track::new(*topic)).collect(),
        }
    }

    /// Takes a socket whose connecting has begun.
    pub(super) fn connect(&mut self, stream: TcpStream, now_ns: u64) {
        self.stream = Some(stream);
        self.phase = Phase::Connecting;
        self.since_ns = now_ns;
        self.responses = Responses::new();
    }

    /// Closes the connection. It comes back where it was, or as somebody new.
    pub(super) fn cut(&mut self, comes_back: bool) {
        self.stream = None;
        self.phase = Phase::Away;
        self.paused = false;
        self.events = if comes_back { Events::after(self.events.cursor()) } else { Events::default() };
        // What was found missing is counted; a new stream without a cursor begins when it is open.
        if !comes_back {
            self.goals = 0;
        }
    }

    /// Events that it should have received by now and has not.
    pub(super) fn behind(&self, topics: &TopicSet) -> u64 {
        self.tracks.iter().map(|track| track.behind(topics.published(track.topic))).sum()
    }

    /// Sets what it must receive before it has caught up; whether that is anything.
    pub(super) fn aim(&mut self, topics: &TopicSet) -> bool {
        self.goals = self.tracks.iter_mut().map(|track| u32::from(track.aim(topics.published(track.topic)))).sum();
        self.goals > 0
    }

    /// How many topics it has.
    pub(super) fn topics(&self) -> usize {
        self.tracks.len()
    }

    /// Whether the server ended its stream.
    pub(super) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Whether its stream has begun and has not ended.
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Stops reading, or goes on. After that the socket must be looked at once, as it may long have been ready.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Sends the request once connected, and reads all there is.
    pub(super) fn on_ready(&mut self, index: usize, ready: Ready, context: &mut Context<'_>) {
        if self.phase == Phase::Connecting && (ready.writable || ready.ended) {
            let topics = self.tracks.iter().map(|track| track.topic);
            let cursor = self.events.cursor();
            let request = context.topics.subscribe_request(context.host, topics, cursor);
            self.resumes = !cursor.is_empty();
            if let Err(error) = self.send(&request) {
                return self.end(index, error.to_string(), context.inbox);
            }
            self.phase = Phase::Asked;
        }
        while matches!(self.phase, Phase::Asked | Phase::Open) && !self.paused {
            let Some(stream) = &mut self.stream else { return };
            match stream.read(context.buffer) {
                Ok(0) => self.end(index, "the server closed the connection".to_owned(), context.inbox),
                Ok(length) => {
                    context.inbox.bytes += length as u64;
                    self.receive(index, length, context);
                    // A short read has emptied the socket (epoll(7)), unless its end is still to be read.
                    if length < context.buffer.len() && !ready.ended {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.end(index, error.to_string(), context.inbox),
            }
        }
    }

    fn send(&mut self, request: &[u8]) -> std::io::Result<()> {
        let Some(stream) = &mut self.stream else { return Err(ErrorKind::NotConnected.into()) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        // Some kilobytes at most into an empty socket buffer go in whole or not at all.
        let written = stream.write(request)?;
        if written == request.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    fn receive(&mut self, index: usize, length: usize, context: &mut Context<'_>) {
        let now_ns = context.clock.now_ns();
        let mut input = &context.buffer[..length];
        let opens = context.topics.dialect().opens;
        let reason = loop {
            match self.responses.next(&mut input) {
                Ok(None) => return,
                Ok(Some(Piece::Head(200))) => {
                    if opens == Opens::Head {
                        self.open(now_ns, context.topics, context.inbox);
                    }
                }
                Ok(Some(Piece::Body(body))) => self.read(body, opens, now_ns, context.topics, context.inbox),
                Ok(Some(Piece::Head(status))) => break format!("status {status}"),
                Ok(Some(Piece::End)) => break "the server ended the stream".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        self.end(index, reason, context.inbox);
    }

    fn read(&mut self, body: &[u8], opens: Opens, now_ns: u64, topics: &TopicSet, inbox: &mut Inbox) {
        let mut events = std::mem::take(&mut self.events);
        events.feed(body, |message| {
            if self.phase == Phase::Asked && (opens == Opens::Block || message == Message::Connected) {
                self.open(now_ns, topics, inbox);
            }
            let arrived = inbox.take(message, &mut self.tracks, now_ns);
            if arrived > 0 {
                self.goals = self.goals.saturating_sub(arrived);
                if self.goals == 0 {
                    inbox.caught_up(now_ns);
                }
            }
        });
        self.events = events;
    }

    /// The stream has begun: who has no cursor begins with what is published from now on.
    fn open(&mut self, now_ns: u64, topics: &TopicSet, inbox: &mut Inbox) {
        self.phase = Phase::Open;
        inbox.began(now_ns.saturating_sub(self.since_ns));
        if !self.resumes {
            self.tracks.iter_mut().for_each(|track| track.join(topics.published(track.topic)));
        }
    }

    fn end(&mut self, index: usize, reason: String, inbox: &mut Inbox) {
        inbox.unopened += u64::from(self.phase != Phase::Open);
        self.phase = Phase::Ended;
        self.stream = None;
        inbox.ended(index, reason);
    }
}
