//! Reads Server-Sent Events out of a body that arrives in pieces of any size.
//!
//! No more of the format than hubs write: LF line ends, one data line per event. A line that lies whole in the read
//! buffer is looked at in place; only one that is cut in two is kept, and its memory is given back at its end.

use std::io::BufRead;

use crate::payload::{Found, SIZE_MAX, Stamp};

/// The longest line that can be right, in bytes; one that grows past it counts as damage. The margin is for what some hubs
/// wrap around the data.
const LINE_MAX: usize = SIZE_MAX + 4096;
/// The longest id that is kept to resume with, in bytes; a longer one is not believed.
const CURSOR_MAX: usize = 1024;

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
    /// What the hub says for itself.
    Foreign,
    Unreadable,
}

/// The fields of the block that is being read.
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    kind: Kind,
    data: Data,
    comment: bool,
}

/// The id to resume with. As the standard has it, an `id:` line counts once its block is complete.
#[derive(Debug, Default)]
struct Ids {
    complete: Vec<u8>,
    block: Option<Vec<u8>>,
}

/// A position in one event stream.
#[derive(Debug, Default)]
pub(crate) struct Events {
    cut_line: Vec<u8>,
    block: Block,
    /// Only where somebody wants to resume.
    ids: Option<Box<Ids>>,
}

impl Events {
    /// One that remembers ids, so far `cursor`.
    pub(crate) fn after(cursor: &[u8]) -> Self {
        let ids = Ids { complete: cursor.to_owned(), block: None };
        Self { ids: Some(Box::new(ids)), ..Self::default() }
    }

    /// The id of the newest complete block that had one.
    pub(crate) fn cursor(&self) -> &[u8] {
        self.ids.as_ref().map_or(&[], |ids| &ids.complete)
    }

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
                self.line(line)
            } else {
                let mut whole = std::mem::take(&mut self.cut_line);
                whole.extend_from_slice(line);
                self.line(&whole)
            };
            if let Some(message) = message {
                take(message);
            }
        }
    }

    #[inline]
    fn line(&mut self, line: &[u8]) -> Option<Message> {
        if let Some(ids) = &mut self.ids {
            ids.line(line);
        }
        self.block.line(line)
    }
}

impl Ids {
    fn line(&mut self, line: &[u8]) {
        if line.is_empty() {
            if let Some(id) = self.block.take() {
                self.complete = id;
            }
        } else if let Some(id) = line.strip_prefix(b"id:")
            && id.len() <= CURSOR_MAX
        {
            self.block = Some(id.strip_prefix(b" ").unwrap_or(id).to_owned());
        }
    }
}

impl Block {
    /// Takes in one line without its end; the block's meaning if the line was the empty one that ends it.
    fn line(&mut self, line: &[u8]) -> Option<Message> {
        match line {
            [] => return std::mem::take(self).meaning(),
            [b'd', b'a', b't', b'a', b':', b' ', data @ ..] => {
                self.data = match (self.data, Stamp::find(data)) {
                    (Data::Absent, Found::Stamp(stamp)) => Data::Stamped(stamp),
                    (Data::Absent, Found::Foreign) => Data::Foreign,
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
                    b"message" => Kind::Event,
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
            (Kind::Heartbeat, _) | (Kind::Event, Data::Foreign) => Some(Message::Heartbeat),
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
    fn an_id_counts_once_its_block_is_complete() {
        let mut events = Events::after(b"0-0");
        for (part, cursor) in [
            ("id: 5-0\ndata", "0-0"),
            (": {}\n", "0-0"),
            ("\n", "5-0"),
            ("id: 6-0\n: ping\n\n", "6-0"),
            ("data: {}\n\nid: 7-0", "6-0"),
            ("\n\n", "7-0"),
        ] {
            events.feed(part.as_bytes(), |_| {});
            assert_eq!(events.cursor(), cursor.as_bytes(), "after {part:?}");
        }
        let mut forgetful = Events::default();
        forgetful.feed(b"id: 5-0\n\n", |_| {});
        assert_eq!(forgetful.cursor(), b"");
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
