//! Cohorts: the sessions of a worker that share an outbox, and how they are treated.

use towncrier_wire::{Selectors, limits::PARTITIONS_MAX};

use super::rate::{Rate, Throttle};
use crate::outbox::Outbox;

/// What is done with a member that falls too far behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slow {
    /// Its stream ends; it resumes from history.
    Disconnect,
    /// It gets the newest event of each topic, and a gap for the rest.
    Conflate,
}

/// How a cohort treats its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// What is done with slow ones.
    pub slow: Slow,
    /// From how many bytes behind.
    pub lag_bytes: usize,
    /// Or from how many events behind.
    pub lag_events: usize,
    /// Most events a second that they get, if there is a bound.
    pub rate: Option<Rate>,
}

/// Sessions with the same key share an outbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CohortKey {
    /// What they listen to.
    pub selectors: Selectors,
    /// How they are treated.
    pub policy: Policy,
}

/// A cohort of one worker; valid as long as a subscription to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CohortId(pub(super) usize);

/// A member of a cohort; valid until it detaches or is found lagging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberId {
    pub(super) cohort: CohortId,
    pub(super) key: usize,
}

/// A member that fell behind further than its policy allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagging {
    /// Which.
    pub member: MemberId,
    /// What its policy wants: [`Slow::Conflate`] was done already, [`Slow::Disconnect`] is the caller's to do.
    pub slow: Slow,
}

#[derive(Debug)]
pub(super) struct Cohort<T> {
    pub(super) key: CohortKey,
    pub(super) touched: [bool; PARTITIONS_MAX],
    /// Selectors that have not been joined yet.
    pub(super) missing: usize,
    pub(super) subscriptions: usize,
    pub(super) outbox: Outbox<T>,
    pub(super) throttle: Option<Throttle>,
    /// The last delivery that reached it, so that two of its selectors do not bring an event twice.
    pub(super) stamp: u64,
    pub(super) dirty: bool,
    /// Whether it is among those that may hold bytes.
    pub(super) filled: bool,
}
