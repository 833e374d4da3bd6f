//! The hub's own events, which tell a session about itself.

use std::fmt::Display;

use bytes::Bytes;
use serde::Serialize;

use crate::{Topic, limits::GAP_TOPICS_MAX, sse};

/// Why a session lost events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Older than the history holds.
    Expired,
    /// The backplane lost its history.
    BackplaneLost,
    /// The cursor is none of this hub's.
    UnknownCursor,
    /// A policy dropped them.
    Dropped,
}

impl GapReason {
    /// As it stands in the protocol and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::BackplaneLost => "backplane_lost",
            Self::UnknownCursor => "unknown_cursor",
            Self::Dropped => "dropped",
        }
    }
}

/// Events that a session will not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// Of which topics, at most [`GAP_TOPICS_MAX`]; empty where that is not known.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_texts")]
    pub topics: Vec<Topic>,
}

fn as_texts<S: serde::Serializer>(topics: &[Topic], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(topics.iter().map(Topic::as_str))
}

impl Gap {
    /// A gap in these topics. More than [`GAP_TOPICS_MAX`] are told as unknown: a part of the list would mislead.
    #[must_use]
    pub fn new(reason: GapReason, mut topics: Vec<Topic>) -> Self {
        topics.sort_unstable();
        topics.dedup();
        if topics.len() > GAP_TOPICS_MAX {
            topics.clear();
        }
        Self { reason, topics }
    }

    /// The `gap` event for a loss that leaves the session's cursor where it is.
    #[must_use]
    pub fn frame_without_id(&self) -> Bytes {
        sse::control("gap", None, None, &json(self))
    }

    /// The `gap` event. Its id is the cursor that the session has after it.
    #[must_use]
    pub fn frame(&self, cursor: &dyn Display) -> Bytes {
        sse::control("gap", Some(cursor), None, &json(self))
    }
}

/// Why the hub ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The node stops.
    Shutdown,
    /// The session read too slowly; it resumes from history.
    Slow,
    /// The stream reached its age.
    MaxLifetime,
    /// The token that the session came with has expired.
    TokenExpired,
    /// An administrator ended it for good.
    Disconnected,
    /// The node lost track of what it had sent; the session resumes from history.
    Resync,
}

impl CloseReason {
    /// As it stands in the protocol and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Slow => "slow",
            Self::MaxLifetime => "max_lifetime",
            Self::TokenExpired => "token_expired",
            Self::Disconnected => "disconnected",
            Self::Resync => "resync",
        }
    }

    /// Whether the client should come back.
    #[must_use]
    pub fn reconnect(self) -> bool {
        self != Self::Disconnected
    }

    /// The `close` event. One for good moves the client's cursor to [`crate::Start::CLOSED`], so that the hub, whichever
    /// node is asked, can tell the client's own reconnection from a new session.
    #[must_use]
    pub fn frame(self, retry_ms: u64) -> Bytes {
        #[derive(Serialize)]
        struct Data {
            reason: CloseReason,
            reconnect: bool,
        }
        let data = json(&Data { reason: self, reconnect: self.reconnect() });
        if self.reconnect() {
            sse::control("close", None, Some(retry_ms), &data)
        } else {
            sse::control("close", Some(&crate::Start::CLOSED), None, &data)
        }
    }
}

/// The first block of a stream. Without a cursor, the client keeps the one that it has.
#[must_use]
pub fn connected(cursor: Option<&dyn Display>, retry_ms: u64, session: &str, node: &str, resumed: bool) -> Bytes {
    #[derive(Serialize)]
    struct Data<'a> {
        session: &'a str,
        node: &'a str,
        resumed: bool,
    }
    sse::control("connected", cursor, Some(retry_ms), &json(&Data { session, node, resumed }))
}

/// A heartbeat that scripts see.
#[must_use]
pub fn heartbeat(cursor: Option<&dyn Display>) -> Bytes {
    sse::control("heartbeat", cursor, None, "{}")
}

fn json(value: &impl Serialize) -> String {
    // None of the types above can fail: their keys are text and they hold no maps.
    serde_json::to_string(value).unwrap_or_default()
}
