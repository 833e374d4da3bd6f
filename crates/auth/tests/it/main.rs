//! Who may do what, from outside of the crate. Keys are made by the `openssl` program, so that what is read and signed here
//! is judged by what others write and accept.

mod attacks;
mod claims;
mod covering;
mod interop;
mod judge;
mod jwks;
mod openssl;
mod sealed;
mod source;
mod tokens;
