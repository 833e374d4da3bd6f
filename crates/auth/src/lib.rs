//! Who may do what: tokens and their claims, keys, passwords, rate limits and the encryption of payloads.
//!
//! A leaf: knows neither an HTTP server nor Redis. Whoever has a request asks here, and gets a value or a reason that is
//! safe to show and to log. The clock is an argument, save where something waits.

mod claims;
mod covering;
mod json;
mod jwe;
mod keys;
pub mod limits;
mod minter;
mod passwords;
mod provider;
mod rate;
mod refused;
mod rights;
mod secret;
mod source;
mod time;
mod token;
mod verifier;

pub use self::{
    claims::{ClaimError, Claims, Problem},
    covering::covers,
    jwe::{OpenError, SealError, Sealer, SealingKey, SealingKeyError},
    keys::{Alg, Jwks, JwksError, Key, KeyError, Skipped},
    minter::{LoginTimes, LoginTimesError, MintError, Minter},
    passwords::{HashError, PasswordError, PasswordHash, PasswordOptions, Passwords, User, Users, UsersError},
    rate::{AddressKey, Limiter, Rate, RateError, RetryAfter, TooMuch},
    refused::Refused,
    rights::{Identity, Login, Rights, Scope},
    secret::Secret,
    source::{JwksOptions, JwksSource, JwksStatus, SourceError},
    time::UnixTime,
    verifier::{Demands, Verifier},
};
