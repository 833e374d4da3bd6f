//! Opens the subscribers' connections, and the timer that publishing needs.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};

use super::inbox::Inbox;
use super::subscriber::Subscriber;
use super::topics::TopicSet;
use super::{Client, READ_BYTES, TICK, TIMER_TOKEN};
use crate::Error;
use crate::args::Target;
use crate::poll::Poller;
use crate::report::Progress;
use crate::stats::{Clock, nanoseconds};
use crate::sys;

/// Connections that are being opened at a time: below any sensible accept backlog, so that no SYN is dropped.
const OPENING_MAX: usize = 200;

impl Client {
    /// Connects `subscribers`, spread over `topics` round robin; returns when each has its `connected` event.
    ///
    /// # Errors
    /// If the target is not loopback, if the server refuses one of them, or if the time is over.
    pub(crate) fn connect(target: &Target, subscribers: usize, topics: usize) -> Result<Self, Error> {
        sys::require_loopback(target.target)?;
        sys::raise_file_limit();
        let poller = Poller::new()?;
        let timer = Timer::new()?;
        poller.add_level(&timer.fd, TIMER_TOKEN)?;
        let mut client = Self {
            poller,
            timer,
            clock: Clock::start(),
            buffer: vec![0; READ_BYTES].into(),
            target: target.clone(),
            topics: TopicSet::new(target.target, topics),
            subscribers: Vec::with_capacity(subscribers),
            inbox: Inbox::new(),
            progress: Progress::new(target.quiet),
        };
        client.open(subscribers)?;
        Ok(client)
    }

    fn open(&mut self, wanted: usize) -> Result<(), Error> {
        let deadline_ns = self.clock.now_ns() + nanoseconds(self.target.connect_timeout);
        while self.inbox.connected < wanted {
            while self.subscribers.len() < wanted && self.subscribers.len() - self.inbox.connected < OPENING_MAX {
                self.open_one()?;
            }
            self.turn(TICK, None)?;
            if let Some((index, reason)) = self.inbox.first_failure.take() {
                return Err(Error::Refused { index, reason });
            }
            let connected = self.inbox.connected;
            if self.clock.now_ns() > deadline_ns {
                let what = format!("connecting ({connected} of {wanted} subscribers connected)");
                return Err(Error::Deadline { what, limit: self.target.connect_timeout });
            }
            self.progress.show(|| format!("{connected} of {wanted} connected"));
        }
        Ok(())
    }

    fn open_one(&mut self) -> Result<(), Error> {
        let index = self.subscribers.len();
        let source = Ipv4Addr::new(127, 0, 0, 2 + (index % usize::from(self.target.sources)) as u8);
        let failed = || Error::io(format!("cannot open connection {index} from {source}"));
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).map_err(failed())?;
        bind(&socket, &SocketAddrV4::new(source, 0)).map_err(failed())?;
        match connect(&socket, &self.target.target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(failed()(errno)),
        }
        self.poller.add(&socket, index as u64)?;
        let topic = (index % self.topics.len()) as u32;
        self.subscribers.push(Subscriber::new(TcpStream::from(socket), topic));
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
