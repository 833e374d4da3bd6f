//! Where a body ends, by RFC 9112 section 6.

use std::io;

use bytes::{Buf, BytesMut};

use crate::Head;

/// How reading a body went on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Progress {
    /// There may be more.
    More,
    /// The body ended as its framing says it must.
    Clean,
    /// The connection ended before the body did.
    Cut,
}

/// What is still to come of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body(Framing);

#[derive(Clone, Copy, Debug)]
enum Framing {
    ChunkSize,
    Chunk(usize),
    ChunkEnd,
    LastChunk,
    Length(usize),
    UntilClose,
    Over,
}

impl Body {
    pub(crate) fn none() -> Self {
        Self(Framing::Over)
    }

    pub(crate) fn of(head: &Head) -> Self {
        let empty = head.status == 204 || head.status == 304 || head.status < 200;
        Self(match (head.header("transfer-encoding"), head.header("content-length")) {
            _ if empty => Framing::Over,
            (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Framing::ChunkSize,
            (_, Some(length)) => Framing::Length(length.parse().expect("content-length is a number")),
            _ => Framing::UntilClose,
        })
    }

    pub(crate) fn ends_with_connection(self) -> bool {
        matches!(self.0, Framing::UntilClose | Framing::Over)
    }

    /// Moves body bytes from `unread` to `out`; true when the body is over.
    pub(crate) fn take(&mut self, unread: &mut BytesMut, out: &mut BytesMut) -> io::Result<bool> {
        loop {
            self.0 = match self.0 {
                Framing::Over => return Ok(true),
                Framing::UntilClose => {
                    out.unsplit(unread.split());
                    return Ok(false);
                }
                Framing::Length(0) => Framing::Over,
                Framing::Chunk(0) => Framing::ChunkEnd,
                Framing::Length(_) | Framing::Chunk(_) if unread.is_empty() => return Ok(false),
                Framing::Length(left) => Framing::Length(left - move_up_to(left, unread, out)),
                Framing::Chunk(left) => Framing::Chunk(left - move_up_to(left, unread, out)),
                Framing::ChunkSize => match httparse::parse_chunk_size(unread) {
                    Ok(httparse::Status::Partial) => return Ok(false),
                    Ok(httparse::Status::Complete((length, size))) => {
                        unread.advance(length);
                        if size == 0 {
                            Framing::LastChunk
                        } else {
                            Framing::Chunk(usize::try_from(size).expect("64 bits"))
                        }
                    }
                    Err(error) => return Err(invalid(&format!("{error} before {unread:?}"))),
                },
                Framing::ChunkEnd | Framing::LastChunk if unread.len() < 2 => return Ok(false),
                Framing::ChunkEnd | Framing::LastChunk if !unread.starts_with(b"\r\n") => {
                    return Err(invalid(&format!("no line end after a chunk but {unread:?}")));
                }
                end => {
                    unread.advance(2);
                    if matches!(end, Framing::LastChunk) { Framing::Over } else { Framing::ChunkSize }
                }
            };
        }
    }
}

fn move_up_to(most: usize, unread: &mut BytesMut, out: &mut BytesMut) -> usize {
    let taken = unread.split_to(unread.len().min(most));
    out.extend_from_slice(&taken);
    taken.len()
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
