//! The hub over HTTP. The only crate that knows actix-web.
//!
//! A handler checks a request, has the hub's actors do the work, and writes the answer. A stream is a session's
//! [`SessionStream`] behind a response body; whatever else comes in ends in a JSON answer or a problem that names the
//! field at fault.
//!
//! [`SessionStream`]: towncrier_actors::SessionStream

mod access;
mod admin;
mod admission;
mod answer;
mod assets;
mod body;
mod client;
mod cors;
mod directory;
mod forwarded;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod guard;
mod headers;
mod ingest;
mod json;
mod lean;
mod log_level;
mod login;
mod options;
mod paced;
mod poll;
mod probes;
mod problem;
mod publish;
mod query;
mod rates;
mod routes;
mod sealing;
mod server;
mod state;
mod subscribe;
mod tls;
mod trace;

pub use access::{Auth, Logins, Public, SameSite, Tokens};
pub use cors::{Origin, OriginError};
pub use directory::{Directory, Registration};
pub use forwarded::{ForwardedBy, Network, NetworkError, Proxies};
pub use log_level::LogLevel;
pub use login::Attempts;
pub use options::{Listener, Options, Role};
pub use rates::{Allowance, RateOptions};
pub use sealing::Sealing;
pub use server::{Server, ServerError, bind};
pub use tls::{TlsError, TlsFiles};
