//! Reads the few requests that the load client sends. Nothing else needs to be understood.

/// The longest request, head and body, in bytes: room for the largest event of the load client.
const REQUEST_MAX: usize = crate::payload::SIZE_MAX + 16 * 1024;

/// A request of the load client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Subscribe { topic: &'a [u8] },
    Publish { topic: &'a [u8], data: &'a [u8] },
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
        get(path)
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

fn get(path: &[u8]) -> Request<'_> {
    if let Some(query) = path.strip_prefix(b"/events?topic=")
        && let Some(end) = query.iter().position(|byte| *byte == b' ')
    {
        return Request::Subscribe { topic: &query[..end] };
    }
    if path.starts_with(b"/ready ") || path.starts_with(b"/health ") { Request::Ready } else { Request::Unknown }
}

fn content_length(head: &[u8]) -> Result<usize, Unreadable> {
    const NAME: &[u8] = b"\r\ncontent-length:";
    let Some(at) = head.windows(NAME.len()).position(|window| window.eq_ignore_ascii_case(NAME)) else {
        return Ok(0);
    };
    let line = head[at + NAME.len()..].split(|byte| *byte == b'\r').next().unwrap_or_default();
    let digits = std::str::from_utf8(line).map_err(|_| Unreadable)?;
    digits.trim().parse().map_err(|_| Unreadable)
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
        assert_eq!(parse(get), Ok(Some((Request::Subscribe { topic: b"a/b" }, get.len()))));
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
