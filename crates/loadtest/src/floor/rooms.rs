//! Who listens to which topic: for each topic a plain list of connection numbers.

use std::collections::{HashMap, VecDeque};

/// The listeners of one topic.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) members: Vec<u32>,
    /// With coalescing: frames of this loop turn that no member has been sent yet.
    pub(super) unsent: Vec<u8>,
    /// The newest frames by the number of their event, for those who resume.
    history: VecDeque<(u64, Box<[u8]>)>,
}

impl Room {
    /// Keeps a frame, and at most `most` of them.
    pub(super) fn remember(&mut self, event: u64, frame: &[u8], most: usize) {
        while self.history.len() >= most {
            self.history.pop_front();
        }
        self.history.push_back((event, frame.into()));
    }
}

/// All topics that were ever subscribed to.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    by_topic: HashMap<Box<[u8]>, u32>,
    rooms: Vec<Room>,
}

/// Where a connection is listed: lets it leave without a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) room: u32,
    pub(super) place: u32,
}

impl Rooms {
    pub(super) fn join(&mut self, topic: &[u8], connection: u32) -> Seat {
        let room = self.enter(topic);
        let members = &mut self.rooms[room as usize].members;
        members.push(connection);
        Seat { room, place: (members.len() - 1) as u32 }
    }

    /// The room of a topic, new if need be.
    pub(super) fn enter(&mut self, topic: &[u8]) -> u32 {
        if let Some(room) = self.by_topic.get(topic) {
            return *room;
        }
        let room = self.rooms.len() as u32;
        self.by_topic.insert(topic.into(), room);
        self.rooms.push(Room::default());
        room
    }

    /// Appends what these rooms remember after an event, in the order of the events.
    pub(super) fn replay(&self, rooms: impl Iterator<Item = u32>, after: u64, out: &mut Vec<u8>) {
        let histories = rooms.flat_map(|room| &self.rooms[room as usize].history);
        let mut missed: Vec<_> = histories.filter(|(event, _)| *event > after).collect();
        missed.sort_unstable_by_key(|(event, _)| *event);
        missed.into_iter().for_each(|(_, frame)| out.extend_from_slice(frame));
    }

    /// Removes a member; another one that has moved to its place.
    pub(super) fn leave(&mut self, seat: Seat) -> Option<u32> {
        let members = &mut self.rooms[seat.room as usize].members;
        members.swap_remove(seat.place as usize);
        members.get(seat.place as usize).copied()
    }

    pub(super) fn find(&self, topic: &[u8]) -> Option<u32> {
        self.by_topic.get(topic).copied()
    }

    pub(super) fn room(&mut self, room: u32) -> &mut Room {
        &mut self.rooms[room as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaving_keeps_the_others_listed() {
        let mut rooms = Rooms::default();
        let seats = [7, 8, 9].map(|connection| rooms.join(b"a", connection));
        assert_eq!(rooms.join(b"b", 10), Seat { room: 1, place: 0 });
        assert_eq!(rooms.leave(seats[0]), Some(9));
        assert_eq!(rooms.room(0).members, [9, 8]);
        assert_eq!(rooms.leave(Seat { room: 0, place: 1 }), None);
        assert_eq!(rooms.leave(Seat { room: 0, place: 0 }), None);
        assert_eq!(rooms.find(b"a"), Some(0));
        assert_eq!(rooms.find(b"c"), None);
    }

    #[test]
    fn what_was_missed_comes_in_order_and_is_bounded() {
        let mut rooms = Rooms::default();
        let (a, b) = (rooms.enter(b"a"), rooms.enter(b"b"));
        for (event, room) in [(1, a), (2, b), (3, a), (4, b), (5, a)] {
            rooms.room(room).remember(event, format!("{event}").as_bytes(), 2);
        }
        for (after, missed) in [(0, "2345"), (3, "45"), (5, "")] {
            let mut out = Vec::new();
            rooms.replay([a, b].into_iter(), after, &mut out);
            assert_eq!(out, missed.as_bytes());
        }
    }
}
