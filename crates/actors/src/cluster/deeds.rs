//! What was done for other nodes of late, so that a question that comes again is answered and not done again.

use std::collections::{HashMap, VecDeque};

use towncrier_backplane::NodeId;

use super::question::Reply;

/// Most deeds that are remembered: those of some seconds, at thousands in a second.
const DEEDS_MAX: usize = 16_384;

/// Who asked, and the number of the question there.
type Key = (NodeId, u64);

#[derive(Debug, Default)]
pub(super) struct Deeds {
    /// Without a reply while it is being done.
    known: HashMap<Key, Option<Reply>>,
    order: VecDeque<Key>,
}

impl Deeds {
    /// Remembers that it is being done; or, if it was begun before, gives the reply if there is one yet.
    pub(super) fn begin(&mut self, key: Key) -> Option<Option<Reply>> {
        if let Some(known) = self.known.get(&key) {
            return Some(known.clone());
        }
        if self.order.len() == DEEDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(key, None);
        self.order.push_back(key);
        None
    }

    pub(super) fn done(&mut self, key: Key, reply: Reply) {
        if let Some(known) = self.known.get_mut(&key) {
            *known = Some(reply);
        }
    }

    /// It was not begun after all.
    pub(super) fn forget(&mut self, key: Key) {
        if self.known.remove(&key).is_some() {
            self.order.retain(|other| *other != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_known_until_much_else_was() {
        let (mut deeds, node) = (Deeds::default(), NodeId::draw());
        assert_eq!(deeds.begin((node, 1)), None);
        assert_eq!(deeds.begin((node, 1)), Some(None), "it is being done");
        deeds.done((node, 1), Reply::Count(Some(1)));
        assert_eq!(deeds.begin((node, 1)), Some(Some(Reply::Count(Some(1)))));
        assert_eq!(deeds.begin((NodeId::draw(), 1)), None, "another node's");
        deeds.begin((node, 2));
        deeds.forget((node, 2));
        assert_eq!(deeds.begin((node, 2)), None);
        for id in 0..DEEDS_MAX as u64 {
            deeds.begin((node, 10 + id));
        }
        assert_eq!(deeds.begin((node, 1)), None, "long ago");
        assert_eq!(deeds.known.len(), DEEDS_MAX);
        assert_eq!(deeds.order.len(), DEEDS_MAX);
    }
}
