//! Metrics and logs
