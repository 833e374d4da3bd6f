//! The receiving end of an event stream, as small as it can be.

/// One block of a stream.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    /// `None` if nothing is dispatched.
    pub(crate) data: Option<String>,
}

/// Bytes that are under way to a client.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    bytes: Vec<u8>,
}

impl Socket {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole block.
    pub(crate) fn read(&mut self) -> Option<Block> {
        let end = self.bytes.windows(2).position(|pair| pair == b"\n\n")? + 2;
        let text = String::from_utf8(self.bytes.drain(..end).collect()).expect("UTF-8");
        let mut block = Block::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with(':')) {
            let (field, value) = line.split_once(": ").expect("a field");
            match field {
                "id" => block.id = Some(value.to_owned()),
                "event" => block.event = Some(value.to_owned()),
                "data" => block.data = Some(block.data.map_or(value.to_owned(), |data| data + "\n" + value)),
                "retry" => {}
                other => panic!("an unknown field {other}"),
            }
        }
        Some(block)
    }
}
