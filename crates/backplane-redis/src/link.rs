//! The connections that messages come by.
//!
//! fred connects again by itself, but neither says so in the order of the messages nor can be relied on to subscribe
//! again. So a link never comes back: when its connection is gone it is closed, with everything that came before taken
//! first, and the feed opens a new one, for which it knows that nothing before its barrier can be trusted. One Redis has
//! one connection for all; in a cluster there is one for each partition, to the node that has its slot, since a shard
//! channel lives and moves with its slot.
//!
//! `subscribe` of fred returns before the server has heard of it. A PING on the same connection is answered after it.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, ClusterInterface, EventInterface, PubsubInterface},
    types::{Builder, Value},
};
use futures_util::future::try_join_all;
use tokio::{
    sync::{
        broadcast::error::{RecvError, TryRecvError},
        watch,
    },
    task::JoinHandle,
    time::timeout,
};

use crate::{address, commands::Commands, connection::Router, intake::Intake, message};

/// Most channels of one SUBSCRIBE.
const CHANNELS_PER_COMMAND: usize = 5000;

/// A channel and the partition that it belongs to.
pub(crate) type Channel = (usize, String);

pub(crate) struct Link {
    clients: Vec<Client>,
    tasks: Vec<JoinHandle<()>>,
    /// In a cluster, the partition of the first client.
    sharded: Option<usize>,
    patience: Duration,
    moves: watch::Receiver<u64>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Link {
    /// Connects for these partitions, and lets what comes flow into the intake.
    pub(crate) async fn open(
        commands: &Commands,
        intake: &Arc<Intake>,
        partitions: Range<usize>,
    ) -> Result<Self, Error> {
        let moves = commands.moves.subscribe();
        let client = commands.client.client();
        let own = client.client_config();
        let configs: Vec<_> = if commands.is_clustered() {
            timeout(commands.options.command_timeout, client.sync_cluster()).await.map_err(|_| late())??;
            let routes = client.cached_cluster_state();
            let server = |slot| routes.as_ref().and_then(|routes| routes.get_server(slot)).cloned();
            let nobody = || Error::new(ErrorKind::Cluster, "no node of the cluster serves a partition's slot");
            let at = |meta: &String| server(fred::util::redis_keyslot(meta.as_bytes())).ok_or_else(nobody);
            let servers =
                commands.keys[partitions.clone()].iter().map(|keys| at(&keys.meta)).collect::<Result<Vec<_>, _>>()?;
            servers.into_iter().map(|server| address::at(&own, server)).collect()
        } else {
            vec![own]
        };
        let mut link = Self {
            clients: Vec::new(),
            tasks: Vec::new(),
            sharded: commands.is_clustered().then_some(partitions.start),
            patience: commands.options.command_timeout,
            moves,
        };
        let links = configs.len();
        for config in configs {
            // No policy: this client never connects again.
            let client = Builder::from_config(config)
                .set_connection_config(address::connection(&commands.options))
                .set_performance_config(address::performance(&commands.options, Some(links)))
                .build()?;
            let messages = client.message_rx();
            let router = timeout(commands.patience(), client.init()).await.map_err(|_| late())??;
            link.tasks.push(tokio::spawn(carry(messages, router, intake.clone())));
            link.clients.push(client);
        }
        Ok(link)
    }

    /// Subscribes; in force only after [`Link::barrier`].
    pub(crate) async fn subscribe(&self, channels: &[Channel]) -> Result<(), Error> {
        for (client, channels) in self.spread(channels) {
            for batch in channels.chunks(CHANNELS_PER_COMMAND) {
                let batch = batch.to_vec();
                if self.sharded.is_some() {
                    timeout(self.patience, client.ssubscribe(batch)).await.map_err(|_| late())??;
                } else {
                    timeout(self.patience, client.subscribe(batch)).await.map_err(|_| late())??;
                }
            }
        }
        Ok(())
    }

    /// Unsubscribes. Messages that are under way still come.
    pub(crate) async fn unsubscribe(&self, channels: &[Channel]) -> Result<(), Error> {
        for (client, channels) in self.spread(channels) {
            for batch in channels.chunks(CHANNELS_PER_COMMAND) {
                let batch = batch.to_vec();
                if self.sharded.is_some() {
                    timeout(self.patience, client.sunsubscribe(batch)).await.map_err(|_| late())??;
                } else {
                    timeout(self.patience, client.unsubscribe(batch)).await.map_err(|_| late())??;
                }
            }
        }
        Ok(())
    }

    /// Waits until the server has heard everything that was asked before.
    pub(crate) async fn barrier(&self) -> Result<(), Error> {
        try_join_all(
            self.clients.iter().map(|client| async move {
                timeout(self.patience, client.ping::<Value>(None)).await.map_err(|_| late())?
            }),
        )
        .await
        .map(drop)
    }

    /// Waits until commands may go to another server than messages come from.
    pub(crate) fn left_behind(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut moves = self.moves.clone();
        async move {
            if moves.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Each client with its channels, if it has any.
    fn spread(&self, channels: &[Channel]) -> Vec<(&Client, Vec<String>)> {
        let mut spread: Vec<_> = self.clients.iter().map(|client| (client, Vec::new())).collect();
        for (partition, channel) in channels {
            let index = self.sharded.map_or(0, |first| partition - first);
            spread[index].1.push(channel.clone());
        }
        spread.retain(|(_, channels)| !channels.is_empty());
        spread
    }
}

fn late() -> Error {
    Error::new(ErrorKind::Timeout, "redis does not answer in time")
}

/// Carries messages into the intake until the connection is gone. Does nothing else, so that it keeps up.
async fn carry(
    mut messages: tokio::sync::broadcast::Receiver<fred::types::Message>,
    router: JoinHandle<Result<(), Error>>,
    intake: Arc<Intake>,
) {
    let mut router = Router(router);
    let ended = loop {
        tokio::select! {
            biased;
            message = messages.recv() => match message {
                Ok(message) => take(message.value, &intake),
                Err(RecvError::Lagged(count)) => {
                    tracing::warn!(count, "messages came faster than they were taken");
                    intake.lose();
                }
                Err(RecvError::Closed) => break None,
            },
            ended = &mut router.0 => break Some(ended),
        }
    };
    // The rest of what came before the end.
    loop {
        match messages.try_recv() {
            Ok(message) => take(message.value, &intake),
            Err(TryRecvError::Lagged(_)) => intake.lose(),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    intake.close(match ended {
        Some(Ok(Err(error))) => error.to_string(),
        _ => "the connection was closed".to_owned(),
    });
}

fn take(value: Value, intake: &Intake) {
    let payload = match value {
        Value::String(text) => text.into_inner(),
        Value::Bytes(bytes) => bytes,
        _ => Bytes::new(),
    };
    let bytes = payload.len();
    match message::parse(&payload) {
        Some(message) => intake.push(message, bytes),
        None => tracing::warn!(bytes, "a message on one of the hub's channels is not the hub's and is ignored"),
    }
}
