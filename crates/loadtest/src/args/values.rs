//! The values that options take, and their bounds.

use std::time::Duration;

use crate::payload;

/// Subscribers of a run. More than a machine has loopback ports for fails when they run out.
const SUBSCRIBERS_MAX: usize = 1_000_000;

/// A duration in seconds, at most a day: nothing here runs for ever.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if !(0.0..=86_400.0).contains(&value) {
        return Err("must be from 0 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(value))
}

/// Events or connections a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.001, 10_000_000.0)
}

/// The same, or none.
pub(super) fn rate_or_none(text: &str) -> Result<f64, String> {
    if text == "0" { Ok(0.0) } else { rate(text) }
}

/// A part of all, more than none of them.
pub(super) fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1.0)
}

/// By how much something grows.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    number(text, 1.05, 10.0)
}

/// Milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<f64, String> {
    number(text, 0.1, 60_000.0)
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    bounded(text, payload::SIZE_MIN, payload::SIZE_MAX)
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    bounded(text, 1, SUBSCRIBERS_MAX)
}

pub(super) fn topic_count(text: &str) -> Result<usize, String> {
    bounded(text, 1, payload::TOPICS_MAX)
}

pub(super) fn core(text: &str) -> Result<usize, String> {
    bounded(text, 0, rustix::thread::CpuSet::MAX_CPU - 1)
}

fn number(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(format!("must be from {min} to {max}")) }
}

fn bounded(text: &str, min: usize, max: usize) -> Result<usize, String> {
    let value = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if !(min..=max).contains(&value) {
        return Err(format!("must be from {min} to {max}"));
    }
    Ok(value)
}
