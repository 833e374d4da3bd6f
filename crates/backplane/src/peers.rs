//! How the nodes of a hub know and reach each other.

use std::{fmt, str::FromStr};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::{Answer, BackplaneError};

/// How many control messages may wait for the node. While there is no room, nothing more is taken from the network.
const MESSAGES_MAX: usize = 64;

/// Which run of which process: drawn at random when it starts, so a node that is started again is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u64);

impl NodeId {
    /// A new one.
    #[must_use]
    pub fn draw() -> Self {
        Self(fastrand::u64(..))
    }

    /// Its upper half, which a session's id begins with: whoever has the id knows whom to ask.
    #[must_use]
    pub fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let sound = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if sound { u64::from_str_radix(text, 16).map(Self).map_err(drop) } else { Err(()) }
    }
}

/// A node that said lately that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Which.
    pub id: NodeId,
    /// What it said of itself.
    pub card: String,
}

/// To whom a control message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// One node.
    Node(NodeId),
    /// All but the sender.
    Others,
}

/// What one node says to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlMessage {
    /// Who says it.
    pub from: NodeId,
    /// What.
    pub payload: Bytes,
}

/// Presence and control messages: what the nodes of a hub need beside events. All calls may be made at the same time.
pub trait Peers: fmt::Debug + Send + Sync + 'static {
    /// This node.
    fn node(&self) -> NodeId;

    /// Says that this node is there for a few more seconds, with a card of at most some KiB; gives all nodes of which that
    /// holds now, this one among them.
    fn appear(&self, card: String) -> Answer<'_, Result<Vec<Peer>, BackplaneError>>;

    /// Says that this node is not there any more.
    fn disappear(&self) -> Answer<'_, Result<(), BackplaneError>>;

    /// Sends a message. It may be lost, and come late, but not twice: who needs an answer asks for one, and again.
    fn tell(&self, to: To, payload: Bytes) -> Answer<'_, Result<(), BackplaneError>>;
}

/// Makes the two ends of a stream of control messages.
#[must_use]
pub fn control_messages() -> (mpsc::Sender<ControlMessage>, mpsc::Receiver<ControlMessage>) {
    mpsc::channel(MESSAGES_MAX)
}

/// A node that has no peers.
#[derive(Debug)]
pub struct Alone {
    node: NodeId,
    /// Keeps the stream of messages open: that nothing comes does not mean that the node is over.
    _messages: mpsc::Sender<ControlMessage>,
}

impl Alone {
    /// A new node, and the messages that never come.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ControlMessage>) {
        let (sender, receiver) = control_messages();
        (Self { node: NodeId::draw(), _messages: sender }, receiver)
    }
}

impl Peers for Alone {
    fn node(&self) -> NodeId {
        self.node
    }

    fn appear(&self, card: String) -> Answer<'_, Result<Vec<Peer>, BackplaneError>> {
        Box::pin(std::future::ready(Ok(vec![Peer { id: self.node, card }])))
    }

    fn disappear(&self) -> Answer<'_, Result<(), BackplaneError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn tell(&self, _: To, _: Bytes) -> Answer<'_, Result<(), BackplaneError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_by_sixteen_digits() {
        let node = NodeId(0x00ab_cdef_0000_0001);
        assert_eq!(node.to_string(), "00abcdef00000001");
        assert_eq!("00abcdef00000001".parse(), Ok(node));
        assert_eq!(format!("{:08x}", node.tag()), "00abcdef");
        for wrong in ["", "1", "+0abcdef00000001", "00abcdef0000000g", "00abcdef000000011"] {
            assert_eq!(wrong.parse::<NodeId>(), Err(()), "{wrong}");
        }
    }

    #[tokio::test]
    async fn who_is_alone_sees_only_itself() {
        let (alone, mut messages) = Alone::new();
        let seen = alone.appear("card".into()).await.unwrap();
        assert_eq!(seen, [Peer { id: alone.node(), card: "card".into() }]);
        alone.tell(To::Others, Bytes::from_static(b"hello")).await.unwrap();
        assert!(messages.try_recv().is_err_and(|error| error == mpsc::error::TryRecvError::Empty));
    }
}
