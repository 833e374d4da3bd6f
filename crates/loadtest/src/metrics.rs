//! What a server says of itself at `/metrics`, where it has that page.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::time::Duration;

use serde::Serialize;

use crate::client::http::{Piece, Responses};

/// For connecting, and for each read.
const WITHIN: Duration = Duration::from_secs(2);
/// The longest page that is read, in bytes.
const PAGE_MAX: usize = 4 * 1024 * 1024;
const READ_BYTES: usize = 16 * 1024;

/// By how much a counter rose.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// Its name with its labels.
    pub name: String,
    /// How much.
    pub by: f64,
}

/// The values of the counters whose names begin with `prefix`. Nothing of a server that has no such page, or forbids it:
/// not every kind does.
pub(crate) fn read(server: SocketAddrV4, prefix: &str) -> BTreeMap<String, f64> {
    page(server).map_or_else(|_| BTreeMap::new(), |page| parse(&page, prefix))
}

/// What rose from `before` to `after`.
pub(crate) fn changes(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Vec<Change> {
    let rise = |(name, value): (&String, &f64)| Change {
        name: name.clone(),
        by: value - before.get(name).copied().unwrap_or(0.0),
    };
    after.iter().map(rise).filter(|change| change.by > 0.0).collect()
}

fn page(server: SocketAddrV4) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server.into(), WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let (mut responses, mut page, mut buffer) = (Responses::new(), Vec::new(), vec![0; READ_BYTES]);
    while page.len() < PAGE_MAX {
        let length = stream.read(&mut buffer)?;
        let mut input = &buffer[..length];
        if length == 0 {
            break;
        }
        while let Some(piece) = responses.next(&mut input).map_err(std::io::Error::other)? {
            match piece {
                Piece::Head(200) => {}
                Piece::Body(body) => page.extend_from_slice(body),
                Piece::Head(_) | Piece::End => return Ok(String::from_utf8_lossy(&page).into_owned()),
            }
        }
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Reads the lines of the text format.
fn parse(page: &str, prefix: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| line.starts_with(prefix));
    let parts = lines.filter_map(|line| line.rsplit_once(' '));
    parts.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_rose() {
        let before = parse("# HELP a_x 1\r\na_x{k=\"v w\"} 2\nb 1\n", "a_");
        let after = parse("a_x{k=\"v w\"} 5\na_y 7\na_z 0\n", "a_");
        let change = |name: &str, by| Change { name: name.to_owned(), by };
        assert_eq!(changes(&before, &after), [change("a_x{k=\"v w\"}", 3.0), change("a_y", 7.0)]);
    }
}
