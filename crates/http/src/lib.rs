//! HTTP surface
