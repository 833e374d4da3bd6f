//! The hub's actors. They know neither HTTP nor Redis: a transport reads a [`SessionStream`], a [`Backplane`] stores.
//!
//! | actor | where | owns |
//! | --- | --- | --- |
//! | [`Session`] | one per connection, on the worker that holds its socket | the hand-over from replay to live |
//! | [`Rooms`] | one per worker | who listens there, each cohort's outbox, the timer wheel |
//! | [`Bridge`] | the hub's own thread | the backplane, and which worker wants what |
//! | [`History`] | a thread of its own | recent events, for replays |
//! | [`Registry`] | a thread of its own | who is connected to this node |
//! | [`Cluster`] | the registry's thread | which other nodes there are, and what is asked of them |
//!
//! All they say to each other is in [`messages`]. An event crosses to each worker in one message; from there on there are
//! no messages, only outboxes that the streams read by position.
//!
//! [`Backplane`]: towncrier_backplane::Backplane

mod bridge;
mod cluster;
mod fatal;
#[cfg(feature = "faults")]
mod faults;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod hub;
mod local;
pub mod messages;
mod options;
mod poll;
mod post;
mod pulse;
mod registry;
mod rooms;
mod session;
mod sharing;
mod stream;
mod timing;
pub mod trace;

pub use bridge::Bridge;
pub use cluster::{
    Cluster, Gathered, Load, NodeInfo, SinceStart, Stopping,
    question::{ListListened, ListSessions, ListUsers, Page, SessionInfo, UserInfo, Who},
};
#[cfg(feature = "faults")]
pub use faults::{Block, Panic};
pub use history::History;
pub use hub::{Hub, PublishError, Worker};
pub use options::{Options, Policies};
pub use poll::{PollAnswer, PollError};
pub use post::{Post, Posted};
pub use pulse::{Change, Look, Watch};
pub use registry::Registry;
pub use rooms::Rooms;
pub use session::{Session, SessionSpec};
pub use stream::SessionStream;
