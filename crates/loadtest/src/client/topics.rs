//! The topics of a run: their names, how far each has been published, who listens to which, and the requests that name
//! them.

use std::collections::HashSet;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::dialect::Dialect;
use crate::payload::Stamp;

/// Sets that are drawn for a subscriber before it is said that there are too few.
const DRAWS_MAX: u64 = 1_000;

/// Topics that no other run uses, so that a hub's history of earlier runs cannot mix in.
#[derive(Debug)]
pub(crate) struct TopicSet {
    prefix: String,
    dialect: Rc<Dialect>,
    published: Vec<u64>,
}

impl TopicSet {
    pub(crate) fn new(dialect: Rc<Dialect>, count: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let prefix = format!("loadtest/{:x}-{:x}", std::process::id(), now.as_micros());
        Self { prefix, dialect, published: vec![0; count] }
    }

    /// As many topics as these, which nobody has subscribed to.
    pub(crate) fn unheard(&self) -> Self {
        let prefix = format!("{}/unheard", self.prefix);
        Self { prefix, dialect: Rc::clone(&self.dialect), published: vec![0; self.len()] }
    }

    pub(crate) fn len(&self) -> usize {
        self.published.len()
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    /// The topic of the run's event number `event`: round robin.
    pub(crate) fn of_event(&self, event: u64) -> usize {
        (event % self.published.len() as u64) as usize
    }

    /// Takes the next sequence number of `topic`.
    pub(crate) fn publish(&mut self, topic: usize) -> u64 {
        self.published[topic] += 1;
        self.published[topic]
    }

    /// The newest sequence number of `topic`, or 0.
    pub(crate) fn published(&self, topic: u32) -> u64 {
        self.published[topic as usize]
    }

    fn name(&self, topic: u32) -> String {
        format!("{}/{topic}", self.prefix)
    }

    /// The request that publishes `stamp`.
    pub(crate) fn publish_request(&self, out: &mut Vec<u8>, host: SocketAddrV4, stamp: Stamp) {
        let topic = self.name(stamp.topic);
        self.dialect.publish_request(out, host, &topic, stamp.size, |out| stamp.write(out));
    }

    /// The request that subscribes to `topics`, from behind the event `cursor` if there is one.
    pub(crate) fn subscribe_request(
        &self,
        host: SocketAddrV4,
        topics: impl Iterator<Item = u32>,
        cursor: &[u8],
    ) -> Vec<u8> {
        self.dialect.subscribe_request(host, topics.map(|topic| self.name(topic)), cursor)
    }
}

/// The topics of each of `subscribers`, `each` to each: one in turn, or sets of which no two are the same. With more
/// topics than that comes to, each gets as many more as it takes, so that every topic has a reader.
///
/// # Errors
/// If there are fewer different sets than subscribers.
pub(crate) fn deal(subscribers: usize, topics: usize, each: usize) -> Result<Vec<Vec<u32>>, Error> {
    if each == 1 {
        let rounds = topics.div_ceil(subscribers).max(1);
        let of = |index: usize| (0..rounds).map(move |round| index + round * subscribers);
        return Ok((0..subscribers)
            .map(|index| match rounds {
                1 => vec![(index % topics) as u32],
                _ => of(index).filter(|topic| *topic < topics).map(|topic| topic as u32).collect(),
            })
            .collect());
    }
    let few = || Error::Options(format!("{topics} topics make too few sets of {each} for {subscribers} subscribers"));
    if each > topics {
        return Err(few());
    }
    let (mut random, mut seen) = (SplitMix(1), HashSet::with_capacity(subscribers));
    let mut draw = || {
        (0..DRAWS_MAX).find_map(|_| {
            let mut set = Vec::with_capacity(each);
            while set.len() < each {
                let topic = (random.next() % topics as u64) as u32;
                if !set.contains(&topic) {
                    set.push(topic);
                }
            }
            set.sort_unstable();
            seen.insert(set.clone()).then_some(set)
        })
    };
    (0..subscribers).map(|_| draw().ok_or_else(few)).collect()
}

/// Steele and others' generator: the same sets in every run.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_topic_each_in_turn() {
        assert_eq!(deal(4, 3, 1).expect("enough"), [[0], [1], [2], [0]]);
    }

    #[test]
    fn more_topics_than_subscribers_are_all_read() {
        assert_eq!(deal(2, 5, 1).expect("enough"), [vec![0, 2, 4], vec![1, 3]]);
    }

    #[test]
    fn no_two_sets_are_the_same() {
        let sets = deal(1_000, 50, 5).expect("enough");
        let different: HashSet<_> = sets.iter().collect();
        assert_eq!(different.len(), 1_000);
        assert!(sets.iter().all(|set| set.is_sorted_by(|a, b| a < b) && set.len() == 5));
        assert_eq!(deal(10, 5, 2).expect("ten of ten").len(), 10);
        assert!(deal(11, 5, 2).is_err() && deal(1, 2, 3).is_err());
    }
}
