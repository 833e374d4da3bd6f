//! Where clients stand.

use std::sync::Arc;

use bytes::Bytes;
use towncrier_wire::{Cursor, Event, Heads, Partitions, limits::PARTITIONS_MAX};

use crate::outbox::Entry;

/// Where a member stands that has got everything up to these heads.
pub(super) fn cursor_at(heads: &Heads, touched: &[bool; PARTITIONS_MAX], partitions: Partitions) -> Cursor {
    let mut cursor = Cursor::empty(partitions);
    for partition in partitions.iter().filter(|partition| touched[partition.index()]) {
        cursor.set(partition, heads[partition.index()]);
    }
    cursor
}

/// Where a client stands that has got everything up to `cursor` but these.
pub(super) fn before<'a>(
    unread: impl DoubleEndedIterator<Item = &'a Entry>,
    mut cursor: Cursor,
    partitions: Partitions,
) -> Cursor {
    for entry in unread.rev() {
        match entry {
            Entry::Event(event) => cursor.set(partitions.of(event.topic()), event.id().predecessor()),
            Entry::Gap(at) => cursor = **at,
        }
    }
    cursor
}

/// Frames of replayed events for a session at `cursor`, which goes on with each.
pub fn frames(cursor: &mut Cursor, events: &[Arc<Event>], out: &mut impl Extend<Bytes>) {
    let partitions = cursor.partitions();
    out.extend(events.iter().map(|event| {
        cursor.set(partitions.of(event.topic()), event.id());
        if partitions == Partitions::ONE { event.frame().clone() } else { event.frame_with(cursor) }
    }));
}
