//! A connection that commands go by, which always comes back.
//!
//! fred connects again by itself when a connection breaks. But its task may end for good: in a cluster, one command that is
//! redirected by `ASK`, as when a slot moves, is enough where nothing may be sent twice. Then another client takes its place;
//! and also when the server is not to be used any more.

use std::{
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, ClusterInterface, EventInterface},
    types::{
        Builder,
        config::{Config, Server, ServerConfig},
    },
};
use tokio::{
    sync::{
        Notify,
        broadcast::{Receiver, error::RecvError},
    },
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{ConnectError, Options, address};

/// The waits before a client is replaced, at first and at most.
const REPLACE_FIRST: Duration = Duration::from_millis(20);
const REPLACE_MOST: Duration = Duration::from_secs(2);

/// fred's task, which ends with ours.
pub(crate) struct Router(pub(crate) JoinHandle<Result<(), Error>>);

impl Drop for Router {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    client: RwLock<Client>,
    /// Whether fred has given up, and no other client has come yet.
    replacing: AtomicBool,
    /// Where it is to go instead.
    target: Mutex<Option<Server>>,
    /// Told when that changed.
    sent: Notify,
}

impl Connection {
    pub(crate) async fn open(config: &Config, options: &Options) -> Result<(Self, Router), ConnectError> {
        let (client, router) = open(config, options).await?;
        let (target, sent) = (Mutex::default(), Notify::new());
        Ok((Self { client: RwLock::new(client), replacing: AtomicBool::new(false), target, sent }, router))
    }

    /// What to send by, now.
    pub(crate) fn client(&self) -> Client {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn is_connected(&self) -> bool {
        !self.replacing.load(Ordering::Relaxed) && self.client().is_connected()
    }

    /// Which server it is made for; none if that is a cluster.
    pub(crate) fn server(&self) -> Option<Server> {
        match self.client().client_config().server {
            ServerConfig::Centralized { server } => Some(server),
            _ => None,
        }
    }

    /// What an operator would call it; nothing for a cluster.
    pub(crate) fn name(&self) -> String {
        match self.client().client_config().server {
            ServerConfig::Centralized { server } => server.to_string(),
            ServerConfig::Unix { path } => path.display().to_string(),
            _ => String::new(),
        }
    }

    /// Sees to it that it goes to a server. Gives whether it is still on its way.
    pub(crate) fn go_to(&self, server: &Server) -> bool {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        let there = self.server().as_ref() == Some(server);
        if target.as_ref() != Some(server) && !(there && target.is_none()) {
            *target = Some(server.clone());
            self.replacing.store(true, Ordering::Relaxed);
            self.sent.notify_one();
        }
        !there || self.replacing.load(Ordering::Relaxed)
    }

    /// Keeps it connected, and says so whenever it was connected again, and whether to another server. Never ends.
    pub(crate) async fn keep(&self, options: &Options, mut router: Router, mut again: impl FnMut(bool)) {
        let mut reconnects = self.client().reconnect_rx();
        loop {
            let before = self.server();
            tokio::select! {
                ended = &mut router.0 => {
                    tracing::warn!(?ended, "the redis client has given up, another one takes its place");
                    router = self.replace(options).await;
                    reconnects = self.client().reconnect_rx();
                }
                () = self.sent.notified() => {
                    // What is under way ends with the old one, and is not known to be stored.
                    router = self.replace(options).await;
                    reconnects = self.client().reconnect_rx();
                }
                () = next(&mut reconnects) => {}
            }
            again(self.server() != before);
        }
    }

    async fn replace(&self, options: &Options) -> Router {
        self.replacing.store(true, Ordering::Relaxed);
        let mut wait = REPLACE_FIRST;
        loop {
            sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait = (wait * 2).min(REPLACE_MOST);
            let config = self.config();
            let opened = tokio::select! {
                opened = open(&config, options) => opened,
                () = self.sent.notified() => continue,
            };
            match opened {
                Ok((client, router)) => {
                    *self.client.write().unwrap_or_else(PoisonError::into_inner) = client;
                    self.replacing.store(false, Ordering::Relaxed);
                    return router;
                }
                Err(error) => tracing::warn!(%error, "cannot connect to redis again"),
            }
        }
    }

    /// With the nodes of the cluster that are known by now: those of the URL may be gone.
    fn config(&self) -> Config {
        let client = self.client();
        let mut config = client.client_config();
        if let Some(server) = self.target.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            config.server = ServerConfig::Centralized { server };
        }
        if let (ServerConfig::Clustered { hosts, .. }, Some(routes)) =
            (&mut config.server, client.cached_cluster_state())
        {
            for server in routes.unique_primary_nodes() {
                if !hosts.contains(&server) {
                    hosts.push(server);
                }
            }
        }
        config
    }
}

/// Waits for the next time that fred has connected again.
async fn next(reconnects: &mut Receiver<fred::types::config::Server>) {
    if matches!(reconnects.recv().await, Err(RecvError::Closed)) {
        // The router's end is what follows.
        std::future::pending::<()>().await;
    }
}

async fn open(config: &Config, options: &Options) -> Result<(Client, Router), ConnectError> {
    let client = Builder::from_config(config.clone())
        .set_connection_config(address::connection(options))
        .set_performance_config(address::performance(options, None))
        .set_policy(address::reconnect())
        .build()
        .map_err(|error| ConnectError::of(&error))?;
    let connected = timeout(options.command_timeout * 4, client.init()).await;
    let late = |_| ConnectError::Unreachable("it does not answer in time".to_owned());
    let router = connected.map_err(late)?.map_err(|error| ConnectError::of(&error))?;
    Ok((client, Router(router)))
}
