//! Waiting for a condition, with a deadline.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// How long a test waits for what should happen at once. Long, because a busy machine is no failure.
pub const SOON: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(20);

/// Looks until `look` succeeds; its error says what was seen instead.
///
/// # Panics
/// When `within` has passed, with the last thing seen.
#[track_caller]
pub fn eventually<T, E: Display>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => {
                panic!("not within {within:?}: {what}; last seen: {seen}")
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}
