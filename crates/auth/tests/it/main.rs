//! Who may do what, from outside of the crate.

mod claims;
mod covering;
