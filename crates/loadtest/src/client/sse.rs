//! Reads Server-Sent Events out of a body that arrives in pieces of any size.
//!
//! No more of the format than the hub writes: LF line ends, one data line per event. A line that lies whole in the read
//! buffer is looked at in place; only one that is cut in two is kept, and its memory is given back at its end.

use std::io::BufRead;

use crate::payload::{SIZE_MAX, Stamp};

/// The longest line that can be right, in bytes; one that grows past it counts as damage.
const LINE_MAX: usize = SIZE_MAX + 64;

/// What one block of the stream means to the load tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// One of our own events.
    Event(Stamp),
    /// The stream has begun: from here on nothing may be missed.
    Connected,
    /// A comment or an event that only shows that the stream lives.
    Heartbeat,
    /// The hub admits to have lost events.
    Gap,
    /// The hub ends the stream.
    Close,
    /// An event whose data is not what was published.
    Damaged,
}

#[derive(Debug, Clone, Copy, Default)]
enum Kind {
    #[default]
    Event,
    Connected,
    Heartbeat,
    Gap,
    Close,
    Unknown,
}

#[derive(Debug, Clone, Copy, Default)]
enum Data {
    #[default]
    Absent,
    Stamped(Stamp),
    Unreadable,
}

/// The fields of the block that is being read.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    kind: Kind,
    data: Data,
    comment: bool,
}

/// A position in one event stream.
#[derive(Debug, Default)]
pub(crate) struct Events {
    cut_line: Vec<u8>,
    block: Block,
}

impl Events {
    /// Reads on, and hands each complete block to `take`.
    pub(crate) fn feed(&mut self, mut input: &[u8], mut take: impl FnMut(Message)) {
        while !input.is_empty() {
            // The standard library's memchr, which has no name of its own: several times faster than a byte loop.
            let mut rest = input;
            let length = rest.skip_until(b'\n').unwrap_or(input.len());
            let (line, rest) = input.split_at(length);
            input = rest;
            let Some((b'\n', line)) = line.split_last() else {
                // Past the bound a line is damaged anyway, and its length shows that even if the excess is dropped.
                let room = LINE_MAX.saturating_sub(self.cut_line.len());
                self.cut_line.extend_from_slice(&line[..line.len().min(room)]);
                return;
            };
            let message = if self.cut_line.is_empty() {
                self.block.line(line)
            } else {
                let mut whole = std::mem::take(&mut self.cut_line);
                whole.extend_from_slice(line);
                self.block.line(&whole)
            };
            if let Some(message) = message {
                take(message);
            }
        }
    }
}

impl Block {
    /// Takes in one line without its end; the block's meaning if the line was the empty one that ends it.
    fn line(&mut self, line: &[u8]) -> Option<Message> {
        match line {
            [] => return std::mem::take(self).meaning(),
            [b'd', b'a', b't', b'a', b':', b' ', data @ ..] => {
                self.data = match (self.data, Stamp::parse(data)) {
                    (Data::Absent, Some(stamp)) => Data::Stamped(stamp),
                    _ => Data::Unreadable,
                };
            }
            [b':', ..] => self.comment = true,
            [b'e', b'v', b'e', b'n', b't', b':', b' ', kind @ ..] => {
                self.kind = match kind {
                    b"connected" => Kind::Connected,
                    b"heartbeat" => Kind::Heartbeat,
                    b"gap" => Kind::Gap,
                    b"close" => Kind::Close,
                    _ => Kind::Unknown,
                };
            }
            // `id:` and `retry:` mean nothing to us.
            _ => {}
        }
        None
    }

    fn meaning(self) -> Option<Message> {
        match (self.kind, self.data) {
            (Kind::Connected, _) => Some(Message::Connected),
            (Kind::Heartbeat, _) => Some(Message::Heartbeat),
            (Kind::Gap, _) => Some(Message::Gap),
            (Kind::Close, _) => Some(Message::Close),
            (Kind::Event, Data::Stamped(stamp)) => Some(Message::Event(stamp)),
            (Kind::Event, Data::Absent) => self.comment.then_some(Message::Heartbeat),
            (Kind::Event, Data::Unreadable) | (Kind::Unknown, _) => Some(Message::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: &[&[u8]]) -> Vec<Message> {
        let mut events = Events::default();
        let mut seen = Vec::new();
        for part in parts {
            events.feed(part, |message| seen.push(message));
        }
        seen
    }

    fn stamp(sequence: u64) -> Stamp {
        Stamp { sequence, topic: 3, due_ns: 1_000, size: 64 }
    }

    fn stream() -> Vec<u8> {
        let mut data = Vec::new();
        stamp(1).write(&mut data);
        let mut again = Vec::new();
        stamp(2).write(&mut again);
        [
            b"retry: 2714\nid: 5-0\nevent: connected\ndata: {\"session\":\"s\"}\n\n".as_slice(),
            b"id: 5-1\ndata: ",
            &data,
            b"\n\n: ping\nid: 5-1\n\nid: 5-2\ndata: ",
            &again,
            b"\n\nevent: heartbeat\ndata: {}\n\nevent: gap\ndata: {}\n\nevent: close\ndata: {}\nid: 9-9\n\n",
            b"data: something else\n\nevent: other\ndata: 1\n\nid: 6-0\n\n",
        ]
        .concat()
    }

    #[test]
    fn cut_anywhere_reads_the_same() {
        let stream = stream();
        let expected = [
            Message::Connected,
            Message::Event(stamp(1)),
            Message::Heartbeat,
            Message::Event(stamp(2)),
            Message::Heartbeat,
            Message::Gap,
            Message::Close,
            Message::Damaged,
            Message::Damaged,
        ];
        assert_eq!(read(&[&stream]), expected);
        for cut in 0..=stream.len() {
            let (front, back) = stream.split_at(cut);
            assert_eq!(read(&[front, back]), expected, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn two_data_lines_are_not_one_of_our_events() {
        let mut data = b"data: ".to_vec();
        stamp(1).write(&mut data);
        data.push(b'\n');
        let twice = [data.as_slice(), &data, b"\n"].concat();
        assert_eq!(read(&[&twice]), [Message::Damaged]);
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let mut events = Events::default();
        events.feed(b"data: ", |_| {});
        for _ in 0..3 {
            events.feed(&vec![b'x'; LINE_MAX], |message| panic!("{message:?}"));
        }
        assert_eq!(events.cut_line.len(), LINE_MAX);
    }
}
