//! The hub's actors
