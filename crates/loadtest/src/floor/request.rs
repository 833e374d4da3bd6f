//! Reads the few requests that the load client sends. Nothing else needs to be understood.

/// The longest request, head and body, in bytes: room for the largest event of the load client.
const REQUEST_MAX: usize = crate::payload::SIZE_MAX + 16 * 1024;

/// A request of the load client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// To the topics of a query, from behind an event if it resumes.
    Subscribe {
        query: &'a [u8],
        after: Option<u64>,
    },
    Publish {
        topic: &'a [u8],
        data: &'a [u8],
    },
    Ready,
    Unknown,
}

/// The input is not a request that the floor reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Takes a request off the front of `input`, with its length in bytes; `None` if it is not complete.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Request<'_>, usize)>, Unreadable> {
    let Some(head_end) = find(input, b"\r\n\r\n") else {
        return if input.len() > REQUEST_MAX { Err(Unreadable) } else { Ok(None) };
    };
    let (head, rest) = input.split_at(head_end + 4);
    let length = content_length(head)?;
    if length > REQUEST_MAX {
        return Err(Unreadable);
    }
    let Some(body) = rest.get(..length) else {
        return Ok(None);
    };
    let request = if let Some(path) = head.strip_prefix(b"GET ") {
        get(path, head)
    } else if head.starts_with(b"POST /admin/v1/publish ") {
        match (string_field(body, b"\"topic\":\""), string_field(body, b"\"data\":\"")) {
            (Some(topic), Some(data)) => Request::Publish { topic, data },
            _ => Request::Unknown,
        }
    } else {
        Request::Unknown
    };
    Ok(Some((request, head.len() + length)))
}

/// The topics of a query.
pub(super) fn topics(query: &[u8]) -> impl Iterator<Item = &[u8]> {
    query.split(|byte| *byte == b'&').filter_map(|part| part.strip_prefix(b"topic="))
}

fn get<'a>(path: &'a [u8], head: &[u8]) -> Request<'a> {
    if let Some(query) = path.strip_prefix(b"/events?")
        && let Some(end) = query.iter().position(|byte| *byte == b' ')
    {
        return Request::Subscribe { query: &query[..end], after: last_event(head) };
    }
    if path.starts_with(b"/ready ") || path.starts_with(b"/health ") { Request::Ready } else { Request::Unknown }
}

fn content_length(head: &[u8]) -> Result<usize, Unreadable> {
    let Some(value) = header(head, b"\r\ncontent-length:") else {
        return Ok(0);
    };
    let digits = std::str::from_utf8(value).map_err(|_| Unreadable)?;
    digits.trim().parse().map_err(|_| Unreadable)
}

/// The number of the event that a client got last: what follows the dash of our ids.
fn last_event(head: &[u8]) -> Option<u64> {
    let id = std::str::from_utf8(header(head, b"\r\nlast-event-id:")?).ok()?;
    id.trim().split_once('-')?.1.parse().ok()
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = head.windows(name.len()).position(|window| window.eq_ignore_ascii_case(name))?;
    head[at + name.len()..].split(|byte| *byte == b'\r').next()
}

/// The value of a string field that holds no escapes, as the load client writes them.
fn string_field<'a>(body: &'a [u8], opening: &[u8]) -> Option<&'a [u8]> {
    let value = &body[find(body, opening)? + opening.len()..];
    Some(&value[..value.iter().position(|byte| *byte == b'"')?])
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_requests() {
        let get = b"GET /events?topic=a/b HTTP/1.1\r\nHost: x\r\n\r\n";
        let subscribe = Request::Subscribe { query: b"topic=a/b", after: None };
        assert_eq!(parse(get), Ok(Some((subscribe, get.len()))));
        let again = b"GET /events?topic=a&topic=b HTTP/1.1\r\nLast-Event-ID: 170-12\r\n\r\n";
        let resume = Request::Subscribe { query: b"topic=a&topic=b", after: Some(12) };
        assert_eq!(parse(again), Ok(Some((resume, again.len()))));
        assert!(topics(b"topic=a&topic=b").eq([b"a", b"b"]));
        let ready = b"GET /ready HTTP/1.1\r\n\r\n";
        assert_eq!(parse(ready), Ok(Some((Request::Ready, ready.len()))));
        let post =
            b"POST /admin/v1/publish HTTP/1.1\r\nContent-Length: 26\r\n\r\n{\"topic\":\"t\",\"data\":\"1 2\"}NEXT";
        let publish = Request::Publish { topic: b"t", data: b"1 2" };
        assert_eq!(parse(post), Ok(Some((publish, post.len() - 4))));
        for cut in 0..post.len() - 4 {
            assert_eq!(parse(&post[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn bounded() {
        assert_eq!(parse(&vec![b'a'; REQUEST_MAX + 1]), Err(Unreadable));
        assert_eq!(parse(b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n"), Err(Unreadable));
        assert_eq!(parse(b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"), Err(Unreadable));
    }
}
