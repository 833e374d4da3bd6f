//! Reads HTTP/1.1 responses as they arrive, in pieces of any size, without copying bodies.

/// A response head longer than this is refused, in bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Hexadecimal digits of a chunk's size: up to 4 GiB - 1.
const CHUNK_DIGITS_MAX: u8 = 8;

/// The next thing found in the input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// The head is complete; its status code.
    Head(u16),
    /// A part of the body.
    Body(&'a [u8]),
    /// The response is complete; the next one may follow.
    End,
}

/// What in a response cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the response head is too long")]
    HeadLength,
    #[error("the response head cannot be read")]
    Head,
    #[error("the chunk framing is wrong")]
    Chunk,
}

/// A position in a stream of responses. Holds bytes only while a head is incomplete.
#[derive(Debug)]
pub(crate) struct Responses {
    state: State,
    closes: bool,
}

#[derive(Debug)]
enum State {
    Head(Vec<u8>),
    ChunkSize { size: u64, digits: u8 },
    ChunkExtension { size: u64 },
    ChunkSizeLf { size: u64 },
    Chunk { left: u64 },
    ChunkCr,
    ChunkLf,
    Trailer { line_is_empty: bool },
    Length { left: u64 },
    UntilClose,
}

impl Responses {
    pub(crate) fn new() -> Self {
        Self { state: State::Head(Vec::new()), closes: false }
    }

    /// Whether the last head said that the server closes the connection, and so answers nothing that follows.
    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    /// Takes the next piece off the front of `input`; `None` if that needs more input.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Malformed> {
        loop {
            if let State::Length { left: 0 } = self.state {
                self.state = State::Head(Vec::new());
                return Ok(Some(Piece::End));
            }
            if input.is_empty() {
                return Ok(None);
            }
            match &mut self.state {
                State::Head(head) => {
                    let Some(status) = read_head(head, input)? else {
                        return Ok(None);
                    };
                    let (framing, closes) = parse_framing(head, status)?;
                    (self.state, self.closes) = (framing, closes);
                    return Ok(Some(Piece::Head(status)));
                }
                State::Chunk { left } | State::Length { left } => {
                    let body = take(input, *left);
                    *left -= body.len() as u64;
                    if matches!(self.state, State::Chunk { left: 0 }) {
                        self.state = State::ChunkCr;
                    }
                    return Ok(Some(Piece::Body(body)));
                }
                State::UntilClose => return Ok(Some(Piece::Body(take(input, u64::MAX)))),
                _ => {
                    let byte = input[0];
                    *input = &input[1..];
                    if self.framing_byte(byte)? {
                        return Ok(Some(Piece::End));
                    }
                }
            }
        }
    }

    /// Takes one byte between the chunks; true at the end of the response.
    fn framing_byte(&mut self, byte: u8) -> Result<bool, Malformed> {
        self.state = match (&self.state, byte) {
            (&State::ChunkSize { size, digits }, _) if byte.is_ascii_hexdigit() && digits < CHUNK_DIGITS_MAX => {
                let digit = u64::from(char::from(byte).to_digit(16).unwrap_or(0));
                State::ChunkSize { size: size * 16 + digit, digits: digits + 1 }
            }
            (&State::ChunkSize { size, digits: 1.. } | &State::ChunkExtension { size }, b'\r') => {
                State::ChunkSizeLf { size }
            }
            (&State::ChunkSize { size, digits: 1.. }, b';' | b' ' | b'\t') | (&State::ChunkExtension { size }, _) => {
                State::ChunkExtension { size }
            }
            (&State::ChunkSizeLf { size: 0 }, b'\n') => State::Trailer { line_is_empty: true },
            (&State::ChunkSizeLf { size }, b'\n') => State::Chunk { left: size },
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::ChunkLf, b'\n') => State::ChunkSize { size: 0, digits: 0 },
            (State::Trailer { line_is_empty: true }, b'\n') => {
                self.state = State::Head(Vec::new());
                return Ok(true);
            }
            (State::Trailer { .. }, b'\n') => State::Trailer { line_is_empty: true },
            (&State::Trailer { line_is_empty }, b'\r') => State::Trailer { line_is_empty },
            (State::Trailer { .. }, _) => State::Trailer { line_is_empty: false },
            _ => return Err(Malformed::Chunk),
        };
        Ok(false)
    }
}

fn take<'a>(input: &mut &'a [u8], most: u64) -> &'a [u8] {
    let (taken, rest) = input.split_at(usize::try_from(most).unwrap_or(usize::MAX).min(input.len()));
    *input = rest;
    taken
}

/// Moves bytes of the head from `input` to `head`; its status code once it is complete.
fn read_head(head: &mut Vec<u8>, input: &mut &[u8]) -> Result<Option<u16>, Malformed> {
    const END: &[u8] = b"\r\n\r\n";
    let had = head.len();
    let part = &input[..input.len().min(HEAD_MAX - had)];
    head.extend_from_slice(part);
    // The end may lie across the border between the old bytes and the new.
    let from = had.saturating_sub(END.len() - 1);
    let Some(found) = head[from..].windows(END.len()).position(|window| window == END) else {
        *input = &input[part.len()..];
        return if head.len() == HEAD_MAX { Err(Malformed::HeadLength) } else { Ok(None) };
    };
    let end = from + found + END.len();
    *input = &input[end - had..];
    head.truncate(end);
    let status = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3)).ok_or(Malformed::Head)?;
    let status = std::str::from_utf8(status).ok().and_then(|digits| digits.parse().ok());
    status.map(Some).ok_or(Malformed::Head)
}

/// How the body is framed, and whether the connection ends with it.
fn parse_framing(head: &[u8], status: u16) -> Result<(State, bool), Malformed> {
    let text = std::str::from_utf8(head).map_err(|_| Malformed::Head)?;
    let (mut framing, mut chunked, mut closes) = (State::UntilClose, false, false);
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked |= value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("content-length") {
            framing = State::Length { left: value.parse().map_err(|_| Malformed::Head)? };
        } else if name.eq_ignore_ascii_case("connection") {
            closes |= value.eq_ignore_ascii_case("close");
        }
    }
    Ok(match status {
        204 | 304 => (State::Length { left: 0 }, closes),
        _ if chunked => (State::ChunkSize { size: 0, digits: 0 }, closes),
        _ => (framing, closes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a stream of responses says, however it was cut: statuses, whole bodies.
    fn read(parts: &[&[u8]]) -> Result<Vec<(u16, String, bool)>, Malformed> {
        let mut responses = Responses::new();
        let mut seen: Vec<(u16, Vec<u8>, bool)> = Vec::new();
        for part in parts {
            let mut input = *part;
            while let Some(piece) = responses.next(&mut input)? {
                match piece {
                    Piece::Head(status) => seen.push((status, Vec::new(), false)),
                    Piece::Body(body) => seen.last_mut().expect("a head first").1.extend_from_slice(body),
                    Piece::End => seen.last_mut().expect("a head first").2 = true,
                }
            }
            assert!(input.is_empty(), "left over: {input:?}");
        }
        Ok(seen.into_iter().map(|(status, body, end)| (status, String::from_utf8(body).expect("text"), end)).collect())
    }

    const STREAM: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0b;x=\"y\"\r\n, \r\nworld!\n\r\n\
        0\r\nTrailer: 1\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone\
        HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nrest";

    #[test]
    fn cut_anywhere_reads_the_same() {
        let whole = read(&[STREAM]).expect("well formed");
        let text = |status, body: &str, end| (status, body.to_owned(), end);
        let expected = [
            text(200, "hello, \r\nworld!\n", true),
            text(404, "none", true),
            text(204, "", true),
            text(200, "", true),
            text(200, "rest", false),
        ];
        assert_eq!(whole, expected);
        for cut in 0..=STREAM.len() {
            let (front, back) = STREAM.split_at(cut);
            assert_eq!(read(&[front, back]).expect("well formed"), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(read(&bytes).expect("well formed"), expected);
    }

    #[test]
    fn tells_when_the_server_closes() {
        let mut responses = Responses::new();
        for (head, closes) in [("Connection: close\r\n", true), ("", false), ("connection: keep-alive\r\n", false)] {
            let text = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 0\r\n\r\n");
            let mut input = text.as_bytes();
            while responses.next(&mut input).expect("well formed").is_some() {}
            assert_eq!(responses.closes(), closes, "{head}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_frame() {
        let chunked = |rest: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{rest}");
        for wrong in ["\r\n", "x\r\n", "123456789\r\n", "1\nab", "1\r\nabc", "-1\r\n"] {
            assert_eq!(read(&[chunked(wrong).as_bytes()]), Err(Malformed::Chunk), "{wrong:?}");
        }
        assert_eq!(read(&[b"SSH-2.0\r\n\r\n"]), Err(Malformed::Head));
        assert_eq!(read(&[b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"]), Err(Malformed::Head));
        assert_eq!(read(&[&[b'a'; HEAD_MAX]]), Err(Malformed::HeadLength));
    }
}
