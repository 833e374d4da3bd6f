//! Edge-triggered epoll, as thin as it goes: the floor and the client both stand or fall by what one turn costs.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::Error;

/// Sockets handled between two looks at the clock: few enough that a due publish waits well under a millisecond.
const BATCH: usize = 256;

/// One socket that something happened to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    /// The number it was added under.
    pub(crate) token: u64,
    /// It can be written again.
    pub(crate) writable: bool,
    /// The other side is gone or has finished sending: read until the end to learn more.
    pub(crate) ended: bool,
}

/// A set of sockets to wait for.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    /// What the last wait found. Not the kernel's own records: those hold a pointer and so may not change threads.
    found: Vec<Ready>,
}

impl Poller {
    pub(crate) fn new() -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::io("epoll_create"))?;
        Ok(Self { epoll, found: Vec::with_capacity(BATCH) })
    }

    /// Adds a socket for reading and writing, edge-triggered. Closing the socket removes it.
    pub(crate) fn add(&self, socket: impl AsFd, token: u64) -> Result<(), Error> {
        use epoll::EventFlags as On;
        self.register(socket, token, On::IN | On::OUT | On::RDHUP | On::ET)
    }

    /// Adds a listener or timer: reported in each turn until it has been dealt with.
    pub(crate) fn add_level(&self, source: impl AsFd, token: u64) -> Result<(), Error> {
        self.register(source, token, epoll::EventFlags::IN)
    }

    fn register(&self, source: impl AsFd, token: u64, flags: epoll::EventFlags) -> Result<(), Error> {
        epoll::add(&self.epoll, source, epoll::EventData::new_u64(token), flags).map_err(Error::io("epoll_ctl"))
    }

    /// Waits until something is ready or `timeout` (rounded up to a millisecond) has passed.
    pub(crate) fn wait(&mut self, timeout: Duration) -> Result<(), Error> {
        let timeout = Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: timeout.subsec_nanos().into() };
        self.found.clear();
        let mut events = [const { MaybeUninit::uninit() }; BATCH];
        match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok((events, _)) => self.found.extend(events.iter().map(Ready::from)),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("epoll_wait")(errno)),
        }
        Ok(())
    }

    /// How many sockets the last wait found ready.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// The one at `index`, by value, so that handling it may borrow the owner of this set.
    pub(crate) fn ready(&self, index: usize) -> Ready {
        self.found[index]
    }
}

impl From<&epoll::Event> for Ready {
    fn from(event: &epoll::Event) -> Self {
        use epoll::EventFlags as On;
        // Copied out: the kernel's record is packed.
        let (flags, data) = (event.flags, event.data);
        Self {
            token: data.u64(),
            writable: flags.contains(On::OUT),
            ended: flags.intersects(On::RDHUP | On::HUP | On::ERR),
        }
    }
}
