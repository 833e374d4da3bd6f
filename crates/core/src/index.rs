//! Who wants a topic: an index from selectors to keys whose cost does not grow with the number of topics.

use std::collections::HashMap;

use towncrier_wire::{Selector, Topic};

/// Selectors, and the keys that were inserted under each.
#[derive(Debug)]
pub struct SelectorIndex<K> {
    topics: HashMap<Topic, Vec<K>>,
    patterns: Node<K>,
}

/// A segment of the patterns' trie. A walk visits each node at most once.
#[derive(Debug)]
struct Node<K> {
    literal: HashMap<Box<str>, Node<K>>,
    any: Option<Box<Node<K>>>,
    /// Patterns that end here.
    here: Vec<K>,
    /// Patterns that end with `**` below here.
    rest: Vec<K>,
}

impl<K> Default for Node<K> {
    fn default() -> Self {
        Self { literal: HashMap::new(), any: None, here: Vec::new(), rest: Vec::new() }
    }
}

impl<K> Default for SelectorIndex<K> {
    fn default() -> Self {
        Self { topics: HashMap::new(), patterns: Node::default() }
    }
}

impl<K: Copy + Eq> SelectorIndex<K> {
    /// Adds a key under a selector. The same pair must not be added twice.
    pub fn insert(&mut self, selector: &Selector, key: K) {
        match selector {
            Selector::Topic(topic) => self.topics.entry(topic.clone()).or_default().push(key),
            Selector::Pattern(pattern) => self.patterns.keys_of(pattern).push(key),
        }
    }

    /// Takes a key away again; nothing happens if it is not there.
    pub fn remove(&mut self, selector: &Selector, key: K) {
        match selector {
            Selector::Topic(topic) => {
                if let Some(keys) = self.topics.get_mut(topic) {
                    forget(keys, key);
                    if keys.is_empty() {
                        self.topics.remove(topic);
                    }
                }
            }
            Selector::Pattern(pattern) => self.patterns.remove(pattern.split('/'), key),
        }
    }

    /// Calls `visit` with each key whose selector fits the topic: once for each such selector.
    pub fn matches(&self, topic: &Topic, mut visit: impl FnMut(K)) {
        for &key in self.topics.get(topic).into_iter().flatten() {
            visit(key);
        }
        if !self.patterns.is_empty() {
            self.patterns.walk(topic.as_str().split('/'), &mut visit);
        }
    }

    /// Whether any selector fits the topic.
    #[must_use]
    pub fn any(&self, topic: &Topic) -> bool {
        let mut found = false;
        self.matches(topic, |_| found = true);
        found
    }
}

impl<K: Copy + Eq> Node<K> {
    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.any.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    fn keys_of(&mut self, pattern: &str) -> &mut Vec<K> {
        let mut node = self;
        for segment in pattern.split('/') {
            node = match segment {
                "**" => return &mut node.rest,
                "*" => node.any.get_or_insert_default(),
                literal => node.literal.entry(literal.into()).or_default(),
            };
        }
        &mut node.here
    }

    fn remove<'a>(&mut self, mut segments: impl Iterator<Item = &'a str>, key: K) {
        match segments.next() {
            None => forget(&mut self.here, key),
            Some("**") => forget(&mut self.rest, key),
            Some("*") => {
                if let Some(node) = &mut self.any {
                    node.remove(segments, key);
                    if node.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some(literal) => {
                if let Some(node) = self.literal.get_mut(literal) {
                    node.remove(segments, key);
                    if node.is_empty() {
                        self.literal.remove(literal);
                    }
                }
            }
        }
    }

    fn walk<'a>(&self, mut segments: impl Iterator<Item = &'a str> + Clone, visit: &mut impl FnMut(K)) {
        let Some(segment) = segments.next() else {
            self.here.iter().copied().for_each(visit);
            return;
        };
        self.rest.iter().copied().for_each(&mut *visit);
        if let Some(node) = self.literal.get(segment) {
            node.walk(segments.clone(), visit);
        }
        if let Some(node) = &self.any {
            node.walk(segments, visit);
        }
    }
}

fn forget<K: Copy + Eq>(keys: &mut Vec<K>, key: K) {
    if let Some(at) = keys.iter().position(|other| *other == key) {
        keys.swap_remove(at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic() -> impl Strategy<Value = String> {
        prop::collection::vec("[ab]?", 1..5)
            .prop_map(|segments| segments.join("/"))
            .prop_filter("a name", |t| !t.is_empty())
    }

    fn selector() -> impl Strategy<Value = Selector> {
        (prop::collection::vec("[ab]?|\\*", 1..5), any::<bool>())
            .prop_map(|(mut segments, rest)| {
                if rest {
                    segments.push("**".to_owned());
                }
                segments.join("/")
            })
            .prop_filter_map("a selector", |text| Selector::new(&text).ok())
    }

    proptest! {
        /// The index finds just the selectors that match one by one, whatever was inserted and removed before.
        #[test]
        fn finds_what_matches(
            selectors in prop::collection::vec((selector(), any::<bool>()), 0..20),
            topics in prop::collection::vec(topic(), 1..10),
        ) {
            let mut index = SelectorIndex::default();
            for (key, (selector, _)) in selectors.iter().enumerate() {
                index.insert(selector, key);
            }
            for (key, (selector, stays)) in selectors.iter().enumerate() {
                if !stays {
                    index.remove(selector, key);
                }
            }
            for topic in topics {
                let topic = Topic::new(&topic).unwrap();
                let mut found = Vec::new();
                index.matches(&topic, |key| found.push(key));
                found.sort_unstable();
                let expected: Vec<_> = selectors
                    .iter()
                    .enumerate()
                    .filter(|(_, (selector, stays))| *stays && selector.matches(&topic))
                    .map(|(key, _)| key)
                    .collect();
                prop_assert_eq!(found, expected);
            }
            for (key, (selector, _)) in selectors.iter().enumerate() {
                index.remove(selector, key);
            }
            prop_assert!(index.topics.is_empty() && index.patterns.is_empty(), "nothing is left behind");
        }
    }
}
