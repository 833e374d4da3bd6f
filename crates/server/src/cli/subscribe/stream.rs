//! An event stream out of a blocking reader.

use std::{
    io::{self, Read},
    time::Duration,
};

use bytes::BytesMut;
use russe::Event;
use tokio_util::codec::Decoder as _;
use towncrier_wire::limits;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 64 << 10;

/// Longest block, in bytes: data of nothing but line ends becomes seven times as long, `data: ` before each.
const BLOCK_BYTES_MAX: usize = 8 * limits::DATA_BYTES_MAX;

/// What a stream carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Message(Message),
    /// A cursor by itself, as heartbeats carry it.
    Checkpoint(String),
    /// When to reconnect.
    Retry(Duration),
}

/// An event as a client sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Direct events have none.
    pub(super) id: Option<String>,
    pub(super) event: Option<String>,
    pub(super) data: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("nothing came for too long")]
    Idle,
    #[error("an event is longer than {0} bytes")]
    TooLong(usize),
    #[error("the stream cannot be read: {0}")]
    Read(io::Error),
    #[error("the stream is not UTF-8")]
    Malformed,
}

/// Decodes what a reader gives.
pub(super) struct EventStream<R> {
    reader: R,
    decoder: russe::Decoder,
    buffer: BytesMut,
    chunk: Box<[u8]>,
    /// Longest block, in bytes.
    block_bytes_max: usize,
    after_comment: bool,
    /// The other half of a block that was a retry time and a message.
    pending: Option<Item>,
}

impl<R: Read> EventStream<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            decoder: russe::Decoder::default(),
            buffer: BytesMut::new(),
            chunk: vec![0; READ_BYTES].into_boxed_slice(),
            block_bytes_max: BLOCK_BYTES_MAX,
            after_comment: false,
            pending: None,
        }
    }

    /// The next item, or nothing at the end of the stream. An unfinished block at its end is dropped, as browsers do.
    pub(super) fn next(&mut self) -> Result<Option<Item>, StreamError> {
        loop {
            if let Some(item) = self.pending.take() {
                return Ok(Some(item));
            }
            let unread = self.buffer.len();
            match self.decoder.decode(&mut self.buffer).map_err(|_| StreamError::Malformed)? {
                Some(Event::Comment(_)) => self.after_comment = true,
                Some(Event::Retry(retry)) => {
                    self.after_comment = false;
                    return Ok(Some(Item::Retry(retry)));
                }
                Some(Event::Message(message)) => {
                    // The decoder gives a block's comments first and the rest of it without consuming more.
                    let same_block = self.after_comment && unread == self.buffer.len();
                    self.after_comment = false;
                    return Ok(Some(self.item(message, same_block)));
                }
                None => {
                    if !self.fill()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn item(&mut self, message: russe::Message, with_comment: bool) -> Item {
        let id = message.id.map(String::from);
        let item = match (id, message.event) {
            // The decoder does not tell a block without data from one with empty data; the hub's checkpoints have a
            // comment in them and its events never do.
            (Some(id), None) if with_comment && message.data.is_empty() => Item::Checkpoint(id),
            (id, event) => Item::Message(Message { id, event: event.map(String::from), data: message.data.into() }),
        };
        match message.retry {
            Some(retry) => {
                self.pending = Some(item);
                Item::Retry(retry)
            }
            None => item,
        }
    }

    /// Reads some more; false at the end of the stream.
    fn fill(&mut self) -> Result<bool, StreamError> {
        if self.buffer.len() > self.block_bytes_max {
            return Err(StreamError::TooLong(self.block_bytes_max));
        }
        let read = loop {
            match self.reader.read(&mut self.chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(read_error)?,
            }
        };
        self.buffer.extend_from_slice(&self.chunk[..read]);
        Ok(read > 0)
    }
}

fn read_error(error: io::Error) -> StreamError {
    match ureq::Error::from(error) {
        ureq::Error::Timeout(_) => StreamError::Idle,
        ureq::Error::Io(error) => StreamError::Read(error),
        other => StreamError::Read(io::Error::other(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    fn all(mut stream: EventStream<impl Read>) -> Vec<Item> {
        std::iter::from_fn(|| stream.next().expect("a good stream")).collect()
    }

    fn message(id: &str, event: Option<&str>, data: &str) -> Item {
        let id = (!id.is_empty()).then(|| id.to_owned());
        Item::Message(Message { id, event: event.map(str::to_owned), data: data.to_owned() })
    }

    #[test]
    fn a_hubs_stream() {
        let text = "retry: 2714\nid: 1-0\nevent: connected\ndata: {}\n\n\
                    id: 1-1\nevent: a\ndata: one\ndata: two\n\n\
                    : ping\nid: 1-2\n\n\
                    : ping\n\n\
                    id: 1-3\ndata: \n\n\
                    event: direct\ndata: x\n\n\
                    data: unfinished";
        let expected = [
            Item::Retry(Duration::from_millis(2714)),
            message("1-0", Some("connected"), "{}"),
            message("1-1", Some("a"), "one\ntwo"),
            Item::Checkpoint("1-2".into()),
            message("1-3", None, ""),
            message("", Some("direct"), "x"),
        ];
        assert_eq!(all(EventStream::new(text.as_bytes())), expected);
        assert_eq!(all(EventStream::new(Trickle(text.as_bytes()))), expected);
    }

    #[test]
    fn a_stream_that_is_not_utf8_is_an_error() {
        let mut stream = EventStream::new(&b"data: \xff\n\n"[..]);
        assert!(matches!(stream.next(), Err(StreamError::Malformed)));
    }

    #[test]
    fn a_block_without_an_end_is_bounded() {
        let mut stream = EventStream::new(io::repeat(b'x'));
        stream.block_bytes_max = 1 << 20;
        assert!(matches!(stream.next(), Err(StreamError::TooLong(_))));
    }
}
