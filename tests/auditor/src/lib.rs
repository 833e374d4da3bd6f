//! The auditor: it runs a hub of several nodes and its Redis, breaks them on purpose by a schedule that a seed gives, and
//! then holds what every subscriber got against what was acknowledged. `docs/testing.md` says how to run it and what it
//! holds to be right.
//!
//! [`run`] drives a run and ends with a [`Record`](judge::Record) of what everybody wrote down; [`judge`] knows nothing but
//! that record.

pub mod admin;
pub mod faults;
pub mod ids;
pub mod journal;
pub mod judge;
pub mod node;
pub mod publisher;
pub mod report;
pub mod run;
pub mod schedule;
pub mod subscriber;
pub mod system;
pub mod traffic;
