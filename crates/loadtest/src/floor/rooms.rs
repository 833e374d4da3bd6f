//! Who listens to which topic: for each topic a plain list of connection numbers.

use std::collections::HashMap;

/// The listeners of one topic.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) members: Vec<u32>,
    /// With coalescing: frames of this loop turn that no member has been sent yet.
    pub(super) unsent: Vec<u8>,
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
        let room = match self.by_topic.get(topic) {
            Some(room) => *room,
            None => {
                let room = self.rooms.len() as u32;
                self.by_topic.insert(topic.into(), room);
                self.rooms.push(Room::default());
                room
            }
        };
        let members = &mut self.rooms[room as usize].members;
        members.push(connection);
        Seat { room, place: (members.len() - 1) as u32 }
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
}
