//! What the kernel knows: CPU time and memory of a process, limits, cores.

use std::fs;
use std::net::SocketAddrV4;
use std::ops::{Add, Sub};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::Error;

/// The kernel's default `nr_open`, above which no limit can go.
const FILES_MAX: u64 = 1_048_576;

/// CPU time of a process, all its threads together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user: self.user.saturating_sub(earlier.user), system: self.system.saturating_sub(earlier.system) }
    }
}

impl Add for Cpu {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

/// Memory of a process in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident pages, shared ones by their share.
    pub(crate) pss: u64,
    /// Resident pages.
    pub(crate) rss: u64,
}

/// Reads the CPU time that process `pid` has used so far, to 10 ms.
pub(crate) fn cpu(pid: u32) -> Result<Cpu, Error> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(Error::io(path))?;
    parse_stat(&text).ok_or_else(|| Error::Options(format!("/proc/{pid}/stat cannot be understood")))
}

fn parse_stat(text: &str) -> Option<Cpu> {
    // The name in parentheses may itself hold spaces and parentheses.
    let (_, fields) = text.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let per_second = rustix::param::clock_ticks_per_second();
    let (user, system) = (ticks()?, ticks()?);
    Some(Cpu {
        user: Duration::from_millis(user * 1000 / per_second),
        system: Duration::from_millis(system * 1000 / per_second),
    })
}

/// Reads the memory of process `pid`. Needs the same user or root.
pub(crate) fn memory(pid: u32) -> Result<Memory, Error> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(Error::io(path))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    match (field("Pss:"), field("Rss:")) {
        (Some(pss), Some(rss)) => Ok(Memory { pss, rss }),
        _ => Err(Error::Options(format!("/proc/{pid}/smaps_rollup cannot be understood"))),
    }
}

/// The CPU time of several processes together; `None` of none.
pub(crate) fn cpu_of_all(pids: &[u32]) -> Result<Option<Cpu>, Error> {
    let sum = pids.iter().try_fold(Cpu::default(), |sum, pid| Ok(sum + cpu(*pid)?))?;
    Ok((!pids.is_empty()).then_some(sum))
}

/// The memory of several processes together.
pub(crate) fn memory_of_all(pids: &[u32]) -> Result<Memory, Error> {
    pids.iter().try_fold(Memory::default(), |sum, pid| {
        let Memory { pss, rss } = memory(*pid)?;
        Ok(Memory { pss: sum.pss + pss, rss: sum.rss + rss })
    })
}

/// What the kernel holds, of the whole machine, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KernelMemory {
    /// Buffers of TCP sockets, from `/proc/net/sockstat`.
    pub(crate) tcp: u64,
    /// The slab allocator: sockets, files, epoll's records, and everything else, from `/proc/meminfo`.
    pub(crate) slab: u64,
}

/// Reads what the kernel holds.
pub(crate) fn kernel_memory() -> Result<KernelMemory, Error> {
    let read = |path: &str| fs::read_to_string(path).map_err(Error::io(path));
    let (sockets, memory) = (read("/proc/net/sockstat")?, read("/proc/meminfo")?);
    parse_kernel_memory(&sockets, &memory)
        .ok_or_else(|| Error::Options("/proc/net/sockstat or /proc/meminfo cannot be understood".to_owned()))
}

fn parse_kernel_memory(sockets: &str, memory: &str) -> Option<KernelMemory> {
    let tcp = sockets.lines().find_map(|line| line.strip_prefix("TCP: "))?;
    let mut words = tcp.split(' ').skip_while(|word| *word != "mem").skip(1);
    let pages: u64 = words.next()?.parse().ok()?;
    let slab = memory.lines().find_map(|line| line.strip_prefix("Slab:"))?;
    let kib: u64 = slab.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(KernelMemory { tcp: pages * rustix::param::page_size() as u64, slab: kib * 1024 })
}

/// A process and all that descend from it, as of now.
pub(crate) fn family(pid: u32) -> Result<Vec<u32>, Error> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").map_err(Error::io("/proc"))?.flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One that has ended since has no parent any more, and is none of the family.
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = text.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (child, parent)));
    }
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    Ok(family)
}

/// Runnable processes over the last minute, in all of the machine.
pub(crate) fn load_average() -> Result<f64, Error> {
    let text = fs::read_to_string("/proc/loadavg").map_err(Error::io("/proc/loadavg"))?;
    let first = text.split(' ').next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| Error::Options("/proc/loadavg cannot be understood".to_owned()))
}

/// CPU time of the calling thread: the client's own, even where a test runs a server in the same process.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Raises the limit of open files as far as it goes. Best effort: if it is too low, connecting says so.
pub(crate) fn raise_file_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let Some(maximum) = maximum else { return };
    let most = FILES_MAX.max(maximum);
    // Only root may raise the hard limit; try that first, then make do with what there is.
    let limits = [most, maximum].map(|hard| Rlimit { current: Some(hard), maximum: Some(hard) });
    if current.is_some_and(|current| current < most) {
        let _ = limits.into_iter().any(|limit| setrlimit(Resource::Nofile, limit).is_ok());
    }
}

/// Keeps the calling thread on one core for as long as this lives. Processes started meanwhile stay there too.
#[derive(Debug)]
pub(crate) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    pub(crate) fn to(core: usize) -> Result<Self, Error> {
        let before = sched_getaffinity(None).map_err(Error::io("sched_getaffinity"))?;
        let mut only = CpuSet::new();
        only.set(core);
        sched_setaffinity(None, &only).map_err(Error::io(format!("cannot stay on core {core}")))?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Nothing to be done about a failure: it went from this set a moment ago.
        let _ = sched_setaffinity(None, &self.before);
    }
}

/// Refuses every address but loopback ones: the tool must not be able to load other people's servers.
pub(crate) fn require_loopback(address: SocketAddrV4) -> Result<(), Error> {
    if address.ip().is_loopback() { Ok(()) } else { Err(Error::NotLoopback(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_of_a_process_with_an_awkward_name() {
        let text = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 125 0 0 20 0 1 0 120599\n";
        let ticks = rustix::param::clock_ticks_per_second();
        let cpu = parse_stat(text).expect("two fields");
        assert_eq!(cpu.user, Duration::from_millis(250_000 / ticks));
        assert_eq!(cpu.system, Duration::from_millis(125_000 / ticks));
        assert_eq!(parse_stat("77 (cut"), None);
    }

    #[test]
    fn reads_itself() {
        let pid = std::process::id();
        assert!(cpu(pid).is_ok() && load_average().is_ok());
        let memory = memory(pid).expect("own memory");
        assert!(memory.rss >= memory.pss && memory.pss > 0, "{memory:?}");
    }

    #[test]
    fn what_the_kernel_holds() {
        let sockets = "sockets: used 1\nTCP: inuse 5 orphan 0 tw 2 alloc 9 mem 3\nUDP: inuse 1 mem 7\n";
        let memory = parse_kernel_memory(sockets, "MemFree: 1 kB\nSlab:     2048 kB\n").expect("both");
        assert_eq!(memory, KernelMemory { tcp: 3 * rustix::param::page_size() as u64, slab: 2048 * 1024 });
        assert!(kernel_memory().is_ok_and(|memory| memory.slab > 0));
        assert_eq!(parse_kernel_memory("", ""), None);
    }

    #[test]
    fn a_family_has_its_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let family = family(std::process::id());
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(family.is_ok_and(|family| family.contains(&child.id()) && family[0] == std::process::id()));
    }

    #[test]
    fn only_loopback() {
        assert!(require_loopback("127.3.2.1:80".parse().expect("address")).is_ok());
        let other = "192.0.2.1:80".parse().expect("address");
        assert!(matches!(require_loopback(other), Err(Error::NotLoopback(address)) if address == other));
    }
}
