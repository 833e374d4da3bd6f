//! Who may do what: tokens and their claims, keys, passwords, rate limits and the encryption of payloads.
//!
//! A leaf: knows neither an HTTP server nor Redis. Whoever has a request asks here, and gets a value or a reason that is
//! safe to show and to log. The clock is an argument, save where something waits.

mod claims;
mod covering;
mod json;
pub mod limits;
mod rights;
mod secret;
mod time;

pub use self::{
    claims::{ClaimError, Claims, Problem},
    covering::covers,
    rights::{Identity, Login, Rights, Scope},
    secret::Secret,
    time::UnixTime,
};
