//! The hub as its users' programs see it: real processes, real sockets, and clients that others wrote as judges.
//!
//! Each test starts a hub of its own. They hold it to `docs/protocol.md`, not to how it is made.

mod addresses;
mod admin;
mod attack;
mod auth;
mod browser;
mod cli;
mod clients;
mod cluster;
mod components;
mod compose;
mod configs;
mod cors;
mod deploy;
mod dev_cluster;
mod direct;
mod disconnects;
mod drain;
mod failures;
mod fanout;
mod guides;
mod headers;
mod health;
mod http;
mod limits;
mod nginx;
mod nodes;
mod observe;
mod payloads;
mod poll;
mod process;
mod proxies;
mod publish;
mod rates;
mod refusals;
mod resume;
mod sealing;
mod selectors;
mod slow;
mod start;
mod subscribe;
mod surroundings;
mod tls;
