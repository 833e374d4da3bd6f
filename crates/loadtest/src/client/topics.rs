//! The topics of a run: their names, how far each has been published, and the requests that name them.

use std::io::Write;
use std::net::SocketAddrV4;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::payload::Stamp;

/// Topics that no other run uses, so that a hub's history of earlier runs cannot mix in.
#[derive(Debug, Clone)]
pub(crate) struct TopicSet {
    prefix: String,
    target: SocketAddrV4,
    published: Vec<u64>,
}

impl TopicSet {
    pub(crate) fn new(target: SocketAddrV4, count: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let prefix = format!("loadtest/{:x}-{:x}", std::process::id(), now.as_nanos());
        Self { prefix, target, published: vec![0; count] }
    }

    /// As many topics as these, which nobody has subscribed to.
    pub(crate) fn unheard(&self) -> Self {
        Self { prefix: format!("{}/unheard", self.prefix), target: self.target, published: vec![0; self.len()] }
    }

    pub(crate) fn len(&self) -> usize {
        self.published.len()
    }

    /// The topic of the run's event number `event`: round robin.
    pub(crate) fn of_event(&self, event: u64) -> usize {
        (event % self.published.len() as u64) as usize
    }

    /// Takes the next sequence number of `topic`.
    pub(crate) fn publish(&mut self, topic: usize) -> u64 {
        self.published[topic] += 1;
        self.published[topic]
    }

    /// The newest sequence number of `topic`, or 0.
    pub(crate) fn published(&self, topic: usize) -> u64 {
        self.published[topic]
    }

    /// The request that publishes `stamp`.
    pub(crate) fn write_request(&self, out: &mut Vec<u8>, stamp: Stamp) {
        let (open, middle, close) = ("{\"topic\":\"", "\",\"data\":\"", "\"}");
        let topic = format!("{}/{}", self.prefix, stamp.topic);
        let length = open.len() + topic.len() + middle.len() + stamp.size + close.len();
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "POST /admin/v1/publish HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{open}{topic}{middle}",
            self.target
        );
        stamp.write(out);
        out.extend_from_slice(close.as_bytes());
    }

    /// The request that subscribes to `topic`.
    pub(crate) fn subscribe_request(&self, topic: usize) -> Vec<u8> {
        format!(
            "GET /events?topic={}/{topic} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
            self.prefix, self.target
        )
        .into_bytes()
    }
}
