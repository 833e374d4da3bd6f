//! A digit, which is the number of partitions, and a cursor's text, or bytes of which event ids are made: what is read is
//! written and read again as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towncrier_wire::{Cursor, EventId, Partitions, Start, limits};

fuzz_target!(|data: &[u8]| {
    let Some((&digit, rest)) = data.split_first() else { return };
    let Some(partitions) = Partitions::new(usize::from(digit.wrapping_sub(b'0'))) else { return };
    if let Ok(text) = std::str::from_utf8(rest) {
        check_text(text, partitions);
    }
    check_ids(rest, partitions);
});

fn check_text(text: &str, partitions: Partitions) {
    let start = Start::from_cursor(text, partitions);
    let Ok(cursor) = Cursor::parse(text, partitions) else {
        let word = matches!(text, Start::EARLIEST | Start::CLOSED);
        assert_eq!(matches!(start, Start::Unknown), !word, "{text:?}");
        assert!(text.parse::<EventId>().is_err(), "{text:?}");
        return;
    };
    assert_eq!(start, Start::After(cursor));
    match text.parse::<EventId>() {
        Ok(id) => {
            assert_eq!(id.to_string(), text);
            assert_eq!(cursor, Cursor::everywhere(partitions, id));
        }
        // Each cursor has one text.
        Err(_) => assert_eq!(cursor.to_string(), text),
    }
    check_written(cursor);
}

fn check_ids(bytes: &[u8], partitions: Partitions) {
    let mut cursor = Cursor::empty(partitions);
    for (chunk, partition) in bytes.chunks_exact(8).zip(partitions.iter()) {
        let number = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let (ms, seq) = (number >> 20, number & limits::ID_SEQ_MAX);
        // Now and then none.
        if seq % 7 != 3 {
            let id = EventId::new(ms, seq).expect("is within its bounds");
            check_id(id);
            cursor.set(partition, id);
        }
    }
    if partitions == Partitions::ONE {
        // Its text is an event id: there is no writing of none.
        let partition = partitions.iter().next().expect("there is one");
        cursor.set(partition, cursor.get(partition).unwrap_or_default());
    }
    check_written(cursor);
}

fn check_id(id: EventId) {
    assert_eq!(id.to_string().parse(), Ok(id));
    assert!(id.successor() > id || id.successor().ms() > limits::ID_MS_MAX || id == EventId::MAX);
    assert!(id.predecessor() < id || id == EventId::ZERO);
    assert!(id == EventId::MAX || id.next(0) > id);
}

fn check_written(cursor: Cursor) {
    let text = cursor.to_string();
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    assert!(text.len() <= limits::CURSOR_BYTES_MAX && text.bytes().all(safe), "{text:?}");
    assert_eq!(Cursor::parse(&text, cursor.partitions()), Ok(cursor), "{text:?}");
}
