//! Asking other nodes, and waiting for what they say.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, timeout_at},
};
use towncrier_backplane::{BackplaneError, NodeId, Peers, To};

use super::question::Reply;

/// After these times those that have not answered are asked again, but for the last: then it is over. What is asked twice
/// is not done twice.
const PATIENCE: [Duration; 3] = [Duration::from_millis(400), Duration::from_millis(700), Duration::from_millis(900)];

/// What nodes answered, and the names of those that did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gathered<T> {
    /// Of those that did.
    pub value: T,
    /// Nodes that did not answer in time: whether they are there, and did what was asked, is not known.
    pub unanswered: Vec<String>,
}

impl<T> Gathered<T> {
    pub(super) fn map<U>(self, value: impl FnOnce(T) -> U) -> Gathered<U> {
        Gathered { value: value(self.value), unanswered: self.unanswered }
    }
}

/// One question on its way.
pub(super) struct Exchange {
    pub(super) peers: Arc<dyn Peers>,
    pub(super) payload: Bytes,
    /// Who is asked, and their names.
    pub(super) others: BTreeMap<NodeId, String>,
    /// Whether these are all.
    pub(super) everyone: bool,
    pub(super) answers: Receiver<(NodeId, Reply)>,
    /// Set if too much is being asked: nobody is.
    pub(super) full: bool,
}

impl Exchange {
    pub(super) async fn run(mut self) -> Gathered<Vec<Reply>> {
        let mut replies = Vec::with_capacity(self.others.len() + 1);
        let mut first = true;
        for patience in PATIENCE {
            if self.others.is_empty() || self.full || !self.tell(first).await {
                break;
            }
            first = false;
            let until = Instant::now() + patience.mul_f64(0.9 + 0.2 * fastrand::f64());
            while !self.others.is_empty()
                && let Ok(Some((node, reply))) = timeout_at(until, self.answers.recv()).await
            {
                if self.others.remove(&node).is_some() {
                    replies.push(reply);
                }
            }
        }
        let mut unanswered: Vec<_> = self.others.into_values().collect();
        unanswered.sort_unstable();
        Gathered { value: replies, unanswered }
    }

    /// Asks those that have not answered; false if there is no way to them.
    async fn tell(&self, first: bool) -> bool {
        if first && self.everyone {
            return self.peers.tell(To::Others, self.payload.clone()).await != Err(BackplaneError::Unavailable);
        }
        let each = self.others.keys().map(|node| self.peers.tell(To::Node(*node), self.payload.clone()));
        join_all(each).await.into_iter().any(|told| told != Err(BackplaneError::Unavailable))
    }
}
