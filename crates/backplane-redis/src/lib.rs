//! Joins the nodes of a hub through Redis, and holds their history there. The only crate that knows fred.
//!
//! **A publish** is one call of `lua/publish.lua`: it gives the event its id, appends it to the topic's stream, trims that,
//! keeps the indexes, and tells the event on the topic's channel and on its partition's. It is atomic, so a partition's
//! events are told in the order of their ids, and what is told is stored. The scripts' own headers name keys and arguments;
//! `lua/prelude.lua` says what a partition's keys hold.
//!
//! **The stream of signals** is made by one task, `feed`: messages come by a `link` of their own, wait in a bounded
//! `intake`, and are told in order; what the node asks for is done in `rounds`. Pub/sub is only the fast path. Whenever something may have been missed, `recover`
//! reads it from the streams before anything newer is told.
//!
//! **When Redis is away**, calls fail at once (`commands`); when it is back, the feed tells what was missed, and nothing
//! twice. If its server is another one, and may have lost its tail, the nodes give it back what they hold (`census`, `tail`);
//! ids go on above every id that was given, and of what is lost for good, whoever resumes from before it is told.

#![deny(rust_2018_idioms, clippy::disallowed_methods, clippy::disallowed_types)]
#![forbid(unsafe_code)]

mod accounts;
pub mod address;
mod answers;
mod backplane;
mod census;
mod commands;
mod connection;
mod eras;
mod error;
mod feed;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod greet;
mod intake;
mod keys;
mod link;
mod message;
mod options;
mod peers;
mod publish;
mod reads;
mod recover;
mod replicas;
mod rounds;
mod scripts;
mod sentinels;
mod settings;
mod surroundings;
mod tail;

pub use accounts::RedisAccounts;
pub use backplane::{RedisBackplane, connect};
pub use census::Heals;
pub use error::ConnectError;
pub use options::Options;
pub use peers::RedisPeers;
pub use surroundings::{Surroundings, inspect};
