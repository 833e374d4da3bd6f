//! The names of keys and channels. All of a partition's share its hash tag, and with it a slot of a cluster: one script
//! may touch them all, and one shard carries its channels.

use towncrier_backplane::NodeId;
use towncrier_wire::{Name, Topic};

/// The names of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    tag: String,
    pub(crate) meta: String,
    pub(crate) topics: String,
    pub(crate) names: String,
    pub(crate) recent: String,
    pub(crate) due: String,
    pub(crate) nodes: String,
    pub(crate) eras: String,
    pub(crate) awaited: String,
    pub(crate) came: String,
    pub(crate) handed: String,
    pub(crate) order: String,
    /// What a topic's stream begins with.
    pub(crate) streams: String,
    /// The channel of all its events.
    pub(crate) all: String,
    /// The channels of control messages to all nodes, and what that to one begins with. One partition's are used.
    pub(crate) control: String,
    /// A hash of who may log in, and a zset of their names. One partition's are used.
    pub(crate) accounts: String,
    pub(crate) account_names: String,
    /// A hash, node -> when it was last there, and its card.
    pub(crate) cards: String,
    /// What a node's own channel begins with.
    pub(crate) nodes_channels: String,
    /// The channel of this node's own beats.
    pub(crate) beats: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str, partition: usize, node: NodeId) -> Self {
        let tag = format!("{{{prefix}:{partition}}}");
        let key = |name: &str| format!("{tag}:{name}");
        Self {
            meta: key("meta"),
            topics: key("topics"),
            names: key("names"),
            recent: key("recent"),
            due: key("due"),
            nodes: key("nodes"),
            eras: key("eras"),
            awaited: key("awaited"),
            came: key("came"),
            handed: key("handed"),
            order: key("order"),
            streams: key("s:"),
            all: key("all"),
            control: key("control"),
            cards: key("cards"),
            accounts: key("accounts"),
            account_names: key("account-names"),
            nodes_channels: key("n:"),
            beats: key(&format!("n:{node}")),
            tag,
        }
    }

    pub(crate) fn stream(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.streams)
    }

    /// The channel of control messages to one node.
    pub(crate) fn control_of(&self, node: NodeId) -> String {
        format!("{}:{node}", self.control)
    }

    /// The channel of one topic.
    pub(crate) fn channel(&self, topic: &Topic) -> String {
        format!("{}:c:{topic}", self.tag)
    }

    /// The length keeps two pairs apart that would read the same.
    pub(crate) fn idempotency(&self, topic: &Topic, name: &Name) -> String {
        format!("{}:k:{}:{topic}{name}", self.tag, topic.as_str().len())
    }
}

/// Where a hub says how many partitions it has.
pub(crate) fn partitions(prefix: &str) -> String {
    format!("{{{prefix}}}:partitions")
}

/// Where the node that started last says what it is set to.
pub(crate) fn settings(prefix: &str) -> String {
    format!("{{{prefix}}}:settings")
}
