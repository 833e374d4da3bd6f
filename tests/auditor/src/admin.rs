//! What is asked of a node after the run.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::Value;
use towncrier_e2e::{Connection, encode};

use crate::{ids::Id, journal::Key, traffic::TOPICS};

const PATIENCE: Duration = Duration::from_secs(10);
const PAGE: usize = 1000;

/// Whether a node says that it is ready.
#[must_use]
pub fn is_ready(node: SocketAddr) -> bool {
    get(node, "/ready", Duration::from_secs(1)).is_ok_and(|(status, _)| status == 200)
}

/// All that history has of each topic, as one node tells it.
///
/// # Errors
/// What was said in place of it.
pub fn histories(node: SocketAddr) -> io::Result<Vec<Vec<(Id, Key)>>> {
    TOPICS.iter().map(|topic| history(node, topic)).collect()
}

fn history(node: SocketAddr, topic: &str) -> io::Result<Vec<(Id, Key)>> {
    let mut events: Vec<(Id, Key)> = Vec::new();
    let mut after = String::new();
    loop {
        let target = format!("/admin/v1/topics/{}/history?limit={PAGE}{after}", encode(topic));
        let (status, body) = get(node, &target, PATIENCE)?;
        // Nobody knows a topic that nothing was ever published to.
        if status == 404 {
            return Ok(events);
        }
        let wrong = || io::Error::other(format!("{target}: {status} {body}"));
        let page: Value = serde_json::from_str(&body).map_err(|_| wrong())?;
        for event in page["events"].as_array().ok_or_else(wrong)? {
            let id = event["id"].as_str().and_then(Id::parse);
            let key = event["data"].as_str().and_then(Key::parse);
            events.push(id.zip(key).ok_or_else(wrong)?);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encode(next)),
            None => return Ok(events),
        }
    }
}

fn get(node: SocketAddr, target: &str, within: Duration) -> io::Result<(u16, String)> {
    let mut connection = Connection::try_open(node, within)?;
    connection.send(format!("GET {target} HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\n\r\n"))?;
    let answer = connection.response(within)?;
    Ok((answer.status(), answer.text()))
}
