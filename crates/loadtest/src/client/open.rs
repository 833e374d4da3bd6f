//! Opens the subscribers' connections, and the timer that publishing needs.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::inbox::Inbox;
use super::subscriber::Subscriber;
use super::topics::{TopicSet, deal};
use super::{Client, READ_BYTES, TICK, TIMER_TOKEN};
use crate::Error;
use crate::args::{Audience, Target};
use crate::dialect::{Dialect, Opens};
use crate::poll::Poller;
use crate::progress::Progress;
use crate::stats::{Clock, nanoseconds};
use crate::sys;

/// The receive buffer of a subscriber that is to stall, in bytes: what it does not read must wait at the server.
const STALLED_BUFFER: usize = 4096;
/// Where a stream's head is all that shows that it has begun: until the server has surely entered it.
const SETTLE: Duration = Duration::from_millis(200);

/// Whether subscribers remember where they are, to resume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Cursors {
    /// No: nobody resumes.
    #[default]
    Needless,
    /// If the server's events have ids.
    IfAny,
    /// Yes: without ids there is nothing to measure.
    Needed,
}

/// What a run needs of its subscribers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs {
    /// Whether they remember where they are.
    pub(crate) cursors: Cursors,
    /// So many of them, the last, are told apart from the others, and will stall.
    pub(crate) stalled: usize,
}

impl Client {
    /// Connects subscribers; returns when the streams of all have begun.
    ///
    /// # Errors
    /// If the target is not loopback, if the server refuses one of them, or if the time is over.
    pub(crate) fn connect(target: &Target, audience: Audience, needs: Needs) -> Result<Self, Error> {
        target.target.iter().try_for_each(|address| sys::require_loopback(*address))?;
        sys::raise_file_limit();
        let dialect = Rc::new(Dialect::new(target.kind, &target.templates)?);
        if needs.cursors == Cursors::Needed && !dialect.resumes {
            return Err(Error::Options(format!("with {} nobody can resume", target.kind.name())));
        }
        let Audience { subscribers, topics, topics_each } = audience;
        let sets = deal(subscribers, topics, usize::from(topics_each))?;
        let poller = Poller::new()?;
        let timer = Timer::new()?;
        poller.add_level(&timer.fd, TIMER_TOKEN)?;
        let cursors = needs.cursors != Cursors::Needless && dialect.resumes;
        let settles = dialect.opens == Opens::Head;
        let topics = TopicSet::new(dialect, topics);
        let mut client = Self {
            poller,
            timer,
            clock: Clock::start(),
            buffer: vec![0; READ_BYTES].into(),
            target: target.clone(),
            unheard: topics.unheard(),
            topics,
            subscribers: sets.iter().map(|set| Subscriber::new(set, cursors)).collect(),
            readers: subscribers.saturating_sub(needs.stalled),
            inbox: Inbox::new(),
            stalled: Inbox::new(),
            opening: 0,
            progress: Progress::new(target.output.quiet),
        };
        client.open_all()?;
        if settles {
            client.rest(SETTLE)?;
        }
        // Those that come later are what a scenario asks about.
        client.inbox.connecting.reset();
        Ok(client)
    }

    fn open_all(&mut self) -> Result<(), Error> {
        let deadline_ns = self.clock.now_ns() + nanoseconds(self.target.connect_timeout);
        let wanted = self.subscribers.len();
        let mut next = 0;
        while self.connected() < wanted {
            while next < wanted && self.has_room() {
                self.open_one(next)?;
                next += 1;
            }
            self.turn(TICK, None)?;
            if let Some((index, reason)) = self.inbox.first_failure.take().or(self.stalled.first_failure.take()) {
                return Err(Error::Refused { index, reason });
            }
            let connected = self.connected();
            if self.clock.now_ns() > deadline_ns {
                let what = format!("connecting ({connected} of {wanted} subscribers connected)");
                return Err(Error::Deadline { what, limit: self.target.connect_timeout });
            }
            self.progress.show(|| format!("{connected} of {wanted} connected"));
        }
        Ok(())
    }

    fn connected(&self) -> usize {
        self.inbox.connected + self.stalled.connected
    }

    /// Whether another connection may be begun.
    pub(crate) fn has_room(&self) -> bool {
        let done = self.connected() as u64 + self.inbox.unopened + self.stalled.unopened;
        self.opening.saturating_sub(done) < u64::from(self.target.at_once)
    }

    /// Begins the connection of a subscriber that has none.
    pub(crate) fn open_one(&mut self, index: usize) -> Result<(), Error> {
        let source = Ipv4Addr::new(127, 0, 0, 2 + (index % usize::from(self.target.sources)) as u8);
        let failed = || Error::io(format!("cannot open connection {index} from {source}"));
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).map_err(failed())?;
        if index >= self.readers {
            sockopt::set_socket_recv_buffer_size(&socket, STALLED_BUFFER).map_err(failed())?;
        }
        bind(&socket, &SocketAddrV4::new(source, 0)).map_err(failed())?;
        match connect(&socket, &self.host_of(index)) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(failed()(errno)),
        }
        self.poller.add(&socket, index as u64)?;
        self.opening += 1;
        self.subscribers[index].connect(TcpStream::from(socket), self.clock.now_ns());
        Ok(())
    }
}

/// Wakes the loop at a given nanosecond; epoll's own timeout only counts milliseconds.
#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
    armed_for_ns: u64,
}

impl Timer {
    fn new() -> Result<Self, Error> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(Error::io("timerfd_create"))?;
        Ok(Self { fd, armed_for_ns: 0 })
    }

    /// Rings at `at_ns`, at once if that is past.
    pub(super) fn arm(&mut self, at_ns: u64, now_ns: u64) -> Result<(), Error> {
        if at_ns == self.armed_for_ns {
            return Ok(());
        }
        self.armed_for_ns = at_ns;
        self.set(at_ns.saturating_sub(now_ns).max(1))
    }

    /// Stops it from ringing.
    pub(super) fn disarm(&mut self) -> Result<(), Error> {
        self.armed_for_ns = 0;
        self.set(0)
    }

    fn set(&self, in_ns: u64) -> Result<(), Error> {
        let after = Duration::from_nanos(in_ns);
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once = Itimerspec {
            it_interval: zero,
            it_value: Timespec { tv_sec: after.as_secs().cast_signed(), tv_nsec: after.subsec_nanos().into() },
        };
        let set = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once);
        set.map(drop).map_err(Error::io("timerfd_settime"))
    }
}
