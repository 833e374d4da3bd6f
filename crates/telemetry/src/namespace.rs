//! Counters of single topic prefixes, for those that an operator has named: as many as the configuration has, and no more.

use std::{collections::HashMap, fmt};

use prometheus_client::{
    encoding::{EncodeLabelSet, LabelSetEncoder},
    metrics::family::Family,
    registry::Registry,
};

use crate::{label::encode_label, metrics::Count};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NamespaceLabel {
    namespace: String,
}

impl EncodeLabelSet for NamespaceLabel {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode_label(encoder, "namespace", &self.namespace)
    }
}

/// What is counted of one namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Events stored.
    pub publishes: Count,
    /// Bytes of their data.
    pub published_bytes: Count,
    /// Events put into the outboxes of sessions: one for each session.
    pub deliveries: Count,
    /// Bytes of their frames.
    pub delivered_bytes: Count,
}

/// The families, to which each namespace adds a series.
#[derive(Debug, Default)]
pub(crate) struct Families {
    publishes: Family<NamespaceLabel, Count>,
    published_bytes: Family<NamespaceLabel, Count>,
    deliveries: Family<NamespaceLabel, Count>,
    delivered_bytes: Family<NamespaceLabel, Count>,
}

impl Families {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        for (name, help, family) in [
            ("namespace_publishes", "Events stored, by namespace", &own.publishes),
            ("namespace_published_bytes", "Bytes of data stored, by namespace", &own.published_bytes),
            ("namespace_deliveries", "Events put into outboxes, one for each session, by namespace", &own.deliveries),
            ("namespace_delivered_bytes", "Bytes of their frames, by namespace", &own.delivered_bytes),
        ] {
            registry.register(name, help, family.clone());
        }
        own
    }

    pub(crate) fn resolve(&self, prefixes: &[String]) -> Namespaces {
        let mut lengths: Vec<usize> = prefixes.iter().map(String::len).collect();
        lengths.sort_unstable_by(|one, other| other.cmp(one));
        lengths.dedup();
        let own = |prefix: &String| {
            let label = NamespaceLabel { namespace: prefix.clone() };
            Namespace {
                publishes: self.publishes.get_or_create_owned(&label),
                published_bytes: self.published_bytes.get_or_create_owned(&label),
                deliveries: self.deliveries.get_or_create_owned(&label),
                delivered_bytes: self.delivered_bytes.get_or_create_owned(&label),
            }
        };
        let by_prefix = prefixes.iter().enumerate().map(|(index, prefix)| (prefix.clone(), index)).collect();
        Namespaces { list: prefixes.iter().map(own).collect(), by_prefix, lengths }
    }
}

/// The namespaces that are counted.
#[derive(Debug)]
pub struct Namespaces {
    list: Box<[Namespace]>,
    by_prefix: HashMap<String, usize>,
    /// The lengths of prefixes that there are, the longest first.
    lengths: Vec<usize>,
}

impl Namespaces {
    /// All of them, by their numbers.
    #[must_use]
    pub fn all(&self) -> &[Namespace] {
        &self.list
    }

    /// The number of the one whose prefix is the longest that a topic begins with.
    #[must_use]
    pub fn find(&self, topic: &str) -> Option<usize> {
        self.lengths.iter().find_map(|length| self.by_prefix.get(topic.get(..*length)?).copied())
    }

    /// The same itself.
    #[must_use]
    pub fn of(&self, topic: &str) -> Option<&Namespace> {
        self.find(topic).map(|index| &self.list[index])
    }
}
