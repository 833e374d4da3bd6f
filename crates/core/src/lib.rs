//! The hub's state machines: plain data and functions, with no IO, no async and no clock of their own, so that every
//! interleaving that can happen in a running hub can also be made to happen in a test.
//!
//! * [`Store`] is the truth of an embedded hub: what is retained, and what is lost.
//! * [`Cache`] mirrors the recent part of any backplane's truth, for replays.
//! * [`Rooms`] knows who listens on one worker, and holds the [`outbox`] of each cohort.
//! * [`Handover`] takes one session from replay to live without loss, repeat or reorder.
//! * [`Wheel`] tells what is due.

pub mod cache;
mod conflate;
mod fifo;
pub mod handover;
mod index;
pub mod outbox;
pub mod replay;
mod ring;
pub mod rooms;
pub mod store;
mod wheel;

pub use cache::Cache;
pub use handover::Handover;
pub use index::SelectorIndex;
pub use ring::{Ring, TopicRead};
pub use rooms::Rooms;
pub use store::{Retention, Store};
pub use wheel::Wheel;
