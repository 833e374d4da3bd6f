//! Where and when a run was made: figures of another machine mean little without it.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::{Error, sys};

/// A load average above this makes the figures doubtful.
const LOAD_AVERAGE_QUIET: f64 = 0.5;

/// A machine, and how it was before a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Machine {
    /// The version of this tool, which is the hub's.
    pub(crate) version: &'static str,
    /// Seconds since 1970.
    pub(crate) unix_time: u64,
    /// The processor's name.
    pub(crate) cpu: String,
    /// Cores that may be used.
    pub(crate) cores: usize,
    /// The kernel's version.
    pub(crate) kernel: String,
    /// Runnable processes over the minute before.
    pub(crate) load_average: f64,
    /// Whether this is an optimised build.
    pub(crate) optimised: bool,
}

impl Machine {
    /// This one, now.
    pub(crate) fn look() -> Result<Self, Error> {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Self {
            version: env!("CARGO_PKG_VERSION"),
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            cpu: name.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            kernel: kernel.trim().to_owned(),
            load_average: sys::load_average()?,
            optimised: !cfg!(debug_assertions),
        })
    }

    /// The day of the run in UTC: `2026-11-20`.
    pub(crate) fn day(&self) -> String {
        // Hinnant's way from a count of days to a date, with years that begin in March.
        let days = self.unix_time / 86_400 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
        format!("{}-{month:02}-{day:02}", era * 400 + year + u64::from(month <= 2))
    }

    /// Whether what others did meanwhile may be in the figures.
    pub(crate) fn was_busy(&self) -> bool {
        self.load_average > LOAD_AVERAGE_QUIET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        let machine = Machine::look().expect("a machine");
        for (unix_time, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_161_600, "2026-11-20"),
            (1_798_761_599, "2026-12-31"),
        ] {
            assert_eq!(Machine { unix_time, ..machine.clone() }.day(), day);
        }
    }
}
