//! The actors together, on real threads, without HTTP: a stream is read where a transport would read it.

mod behind;
mod cluster;
mod hub;
mod measures;
mod panics;
mod replay;
mod streams;
