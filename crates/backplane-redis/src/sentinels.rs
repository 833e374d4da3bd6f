//! Which server is the primary, as the Sentinels name it, asked again and again.
//!
//! A primary that another one took the place of does not know that for seconds: Sentinel lets ten go by before it demotes it.
//! Until then it stores what it gets, and all of that vanishes. So a node publishes only as long as it has a *lease*: it has
//! looked of late, and was not told of another primary. A look in vain counts as well, since Redis is worth more than its
//! Sentinels. The lease is shorter than a census waits, and a census at the new primary begins when a node was told of it.
//! So whoever published at the old one has stopped before the census ends, and comes in time to hand in what it holds.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::ClientLike,
    types::{
        Builder, ClusterHash, CustomCommand, Value,
        config::{Config, Server, ServerConfig},
    },
};
use futures_util::future::join_all;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::{
    ConnectError, Options, address,
    census::LEAST,
    commands::{Commands, text},
    connection::Router,
};

/// Most Sentinels that are asked: those of the URL, and those that they know of.
const SENTINELS_MAX: usize = 16;

/// How long a Sentinel may take at most.
const ANSWER_MOST: Duration = Duration::from_millis(500);

/// The wait between two looks while the node is on its way to another primary, or when something went wrong.
const SOON: Duration = Duration::from_millis(50);

/// Until when this node may publish.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Whether there are Sentinels at all.
    watched: bool,
    until: Mutex<Option<Instant>>,
    /// Told when something is wrong with the primary.
    pub(crate) doubt: Notify,
}

impl Lease {
    pub(crate) fn new(watched: bool) -> Self {
        Self { watched, ..Self::default() }
    }

    pub(crate) fn holds(&self) -> bool {
        !self.watched
            || self.until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|end| Instant::now() < end)
    }

    pub(crate) fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// How long a lease lasts: less than a census waits, by as long as it takes to get there.
pub(crate) fn lasts(options: &Options) -> Duration {
    LEAST / 2 + options.command_timeout + options.probe_interval
}

pub(crate) struct Sentinels {
    /// For a Sentinel, but for its address.
    config: Config,
    /// What they call the primary.
    name: String,
    known: Vec<Sentinel>,
    options: Options,
    /// Whether none answered when they were asked last.
    silent: AtomicBool,
}

struct Sentinel {
    server: Server,
    link: Option<(Client, Router)>,
}

/// What a Sentinel says: which server is the primary, if it knows it, and who else watches it.
struct Said {
    primary: Option<Server>,
    others: Vec<Server>,
}

impl Sentinels {
    /// Finds the server that a URL stands for. With it come the Sentinels, if it is by them that it is known.
    pub(crate) async fn resolve(config: Config, options: &Options) -> Result<(Config, Option<Self>), ConnectError> {
        let ServerConfig::Sentinel { hosts, service_name, username, password } = &config.server else {
            return Ok((config, None));
        };
        let own = Config {
            username: username.clone(),
            password: password.clone(),
            database: None,
            server: ServerConfig::default(),
            ..config.clone()
        };
        let known = hosts.iter().take(SENTINELS_MAX).map(|server| Sentinel { server: server.clone(), link: None });
        let mut sentinels = Self {
            config: own,
            name: service_name.clone(),
            known: known.collect(),
            options: options.clone(),
            silent: AtomicBool::new(false),
        };
        let server = sentinels.primary(None).await.map_err(|error| ConnectError::of(&error))?;
        Ok((address::at(&config, server), Some(sentinels)))
    }

    /// The server that most of those who answer name; of two that as many name, the one in use.
    async fn primary(&mut self, in_use: Option<&Server>) -> Result<Server, Error> {
        let patience = (self.options.command_timeout / 2).min(ANSWER_MOST);
        let (config, name, options) = (&self.config, &self.name, &self.options);
        let asked = self.known.iter_mut().map(|sentinel| sentinel.ask(config, name, options, patience));
        let mut votes: Vec<(Server, usize)> = Vec::new();
        let mut failed = Error::new(ErrorKind::Sentinel, "no Sentinel knows a primary by that name");
        let mut others = Vec::new();
        for said in join_all(asked).await {
            match said {
                Ok(Said { primary, others: more }) => {
                    others.extend(more);
                    let Some(primary) = primary else { continue };
                    match votes.iter_mut().find(|(server, _)| *server == primary) {
                        Some((_, count)) => *count += 1,
                        None => votes.push((primary, 1)),
                    }
                }
                Err(error) => failed = error,
            }
        }
        for server in others {
            if self.known.len() < SENTINELS_MAX && self.known.iter().all(|known| known.server != server) {
                self.known.push(Sentinel { server, link: None });
            }
        }
        let most = votes.into_iter().max_by_key(|(server, count)| (*count, Some(server) == in_use));
        most.map(|(server, _)| server).ok_or(failed)
    }
}

impl Sentinel {
    async fn ask(&mut self, config: &Config, name: &str, options: &Options, patience: Duration) -> Result<Said, Error> {
        let late = || Error::new(ErrorKind::Timeout, "a Sentinel does not answer in time");
        let said = timeout(patience, self.ask_now(config, name, options)).await.unwrap_or_else(|_| Err(late()));
        if said.is_err() {
            self.link = None;
        }
        said
    }

    async fn ask_now(&mut self, config: &Config, name: &str, options: &Options) -> Result<Said, Error> {
        if self.link.is_none() {
            // No policy: it never connects again, but is replaced.
            let client = Builder::from_config(address::at(config, self.server.clone()))
                .set_connection_config(address::connection(options))
                .set_performance_config(address::performance(options, None))
                .build()?;
            let router = Router(client.connect());
            client.wait_for_connect().await?;
            self.link = Some((client, router));
        }
        let Some((client, _)) = &self.link else { return Err(Error::new_canceled()) };
        let command = || CustomCommand::new_static("SENTINEL", ClusterHash::FirstKey, false);
        let primary: Value = client.custom(command(), vec![text("GET-MASTER-ADDR-BY-NAME"), text(name)]).await?;
        let primary = match primary {
            Value::Null => None,
            address => {
                let (host, port): (String, u16) = address.convert()?;
                Some(Server::new(host, port))
            }
        };
        let mut others = Vec::new();
        if primary.is_some() {
            let told: Value = client.custom(command(), vec![text("SENTINELS"), text(name)]).await?;
            for fields in told.convert::<Vec<std::collections::HashMap<String, String>>>()? {
                if let (Some(host), Some(Ok(port))) = (fields.get("ip"), fields.get("port").map(|port| port.parse())) {
                    others.push(Server::new(host.clone(), port));
                }
            }
        }
        Ok(Said { primary, others })
    }
}

/// Looks at the Sentinels for as long as there is a node.
pub(crate) async fn watch(node: Weak<Commands>, mut sentinels: Sentinels) {
    let mut pause = Duration::ZERO;
    loop {
        let Some(lease) = node.upgrade().map(|commands| commands.lease.clone()) else { return };
        tokio::select! {
            () = sleep(pause.mul_f64(0.7 + 0.3 * fastrand::f64())) => {}
            () = lease.doubt.notified() => sleep(SOON).await,
        }
        let Some(commands) = node.upgrade() else { return };
        pause = if commands.look(&mut sentinels).await { sentinels.options.probe_interval } else { SOON };
    }
}

impl Commands {
    /// Asks the Sentinels, and goes where they say. Gives whether this node is there.
    async fn look(self: &Arc<Self>, sentinels: &mut Sentinels) -> bool {
        let began = Instant::now();
        let in_use = self.client.server();
        let named = sentinels.primary(in_use.as_ref()).await;
        let silent = sentinels.silent.swap(named.is_err(), Ordering::Relaxed);
        let moving = match named {
            Ok(named) => {
                if silent {
                    tracing::info!("the Sentinels answer again");
                }
                let moving = [&self.client, &self.publisher].map(|connection| connection.go_to(&named));
                if moving[0] && self.lease.holds() {
                    tracing::warn!(from = ?in_use.map(|server| server.to_string()), to = %named, "the Sentinels name another primary");
                }
                moving[0] || moving[1]
            }
            Err(error) => {
                if !silent {
                    tracing::warn!(%error, "no Sentinel names the primary, this node stays where it is");
                }
                false
            }
        };
        self.lease.set((!moving).then(|| began + lasts(&sentinels.options)));
        !moving
    }
}
