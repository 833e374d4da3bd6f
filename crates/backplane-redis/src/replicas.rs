//! Waiting until replicas have what was published.
//!
//! `WAIT` holds up its connection, so publishes have one of their own, and one `WAIT` answers all that were stored before
//! it began: whoever comes meanwhile waits for the next. With each goes a script that fails in another era, on the same
//! connection: were the server another one by now, its replicas would say nothing of what the old one stored.

use std::sync::atomic::{AtomicU64, Ordering};

use fred::{
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Value},
};
use tokio::sync::Mutex;

use crate::{
    commands::{Commands, number, text},
    options::millis,
    scripts,
};

/// The waits of one server.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    begun: AtomicU64,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    number: u64,
    /// The server that was asked, if enough of its replicas answered.
    server: Option<String>,
}

impl Commands {
    /// Whether enough replicas have all that was stored in a partition so far, in an era.
    pub(crate) async fn replicated(&self, partition: usize, era: &str) -> bool {
        if self.options.replicas == 0 {
            return true;
        }
        let server = era.split(':').next().unwrap_or_default();
        let turn = &self.turns[if self.is_clustered() { partition } else { 0 }];
        let before = turn.begun.load(Ordering::SeqCst);
        let mut last = turn.last.lock().await;
        if last.number <= before {
            let number = turn.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let enough = self.wait(partition, era).await;
            *last = Last { number, server: enough.then(|| server.to_owned()) };
        }
        last.server.as_deref() == Some(server)
    }

    async fn wait(&self, partition: usize, era: &str) -> bool {
        let names = &self.keys[partition];
        let hash = ClusterHash::Custom(fred::util::redis_keyslot(names.meta.as_bytes()));
        let mut check = vec![text(scripts::HEADS.source.as_str()), number(2)];
        check.extend([text(names.meta.as_str()), text(names.nodes.as_str())]);
        check.extend(self.arguments(partition, era));
        check.extend([text(self.node.to_string()), text(""), text(""), text("")]);
        let longest = self.options.replica_timeout.min(self.options.command_timeout / 2);
        let wait = vec![number(self.options.replicas), number(usize::try_from(millis(longest).max(1)).unwrap_or(1))];
        let pipeline = self.publisher.client().pipeline();
        let queued = async {
            pipeline.custom::<Value, _>(CustomCommand::new_static("EVAL", hash.clone(), false), check).await?;
            pipeline.custom::<Value, _>(CustomCommand::new_static("WAIT", hash, false), wait).await?;
            Ok::<_, fred::error::Error>(())
        };
        if queued.await.is_err() {
            return false;
        }
        match &pipeline.try_all::<Value>().await[..] {
            [Ok(_), Ok(Value::Integer(acknowledged))] => {
                let enough =
                    usize::try_from(*acknowledged).is_ok_and(|acknowledged| acknowledged >= self.options.replicas);
                if !enough {
                    tracing::warn!(acknowledged, wanted = self.options.replicas, "too few replicas keep up");
                }
                enough
            }
            results => {
                let error = results.iter().find_map(|result| result.as_ref().err());
                tracing::warn!(error = error.map(tracing::field::display), "cannot wait for replicas");
                false
            }
        }
    }
}
