//! The audited hub: its nodes and what they keep their events in.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::ValueEnum;
use towncrier_e2e::{Proxy, Redis, eventually, join_cluster};

use crate::node::Node;

/// How long all of it may take to be up.
const UP_WITHIN: Duration = Duration::from_secs(60);

/// How Redis is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// One Redis that has on disk what it acknowledged; a proxy between it and each node. Nothing may be lost.
    Single,
    /// A primary and a replica that Sentinel puts in its place. What the replica did not have may be lost, but is told.
    Sentinel,
    /// A cluster of three, each with its part of the slots, on disk as in `single`. Nothing may be lost.
    Cluster,
}

impl Mode {
    /// Whether Redis itself may lose what it acknowledged.
    #[must_use]
    pub fn is_lossy(self) -> bool {
        self == Self::Sentinel
    }

    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct System {
    /// How Redis is run.
    pub mode: Mode,
    /// Every Redis that holds data.
    pub redis: Vec<Redis>,
    sentinel: Option<Redis>,
    /// The links between nodes and Redis, by node, in a mode that has them.
    pub links: Vec<Proxy>,
    /// The nodes.
    pub nodes: Vec<Node>,
    folder: PathBuf,
}

impl System {
    /// Starts all of it and waits until it is up. Logs go into `folder`.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(mode: Mode, nodes: usize, folder: &Path) -> Self {
        let (redis, sentinel, links) = match mode {
            Mode::Single => {
                let redis = Redis::durable();
                let links = (0..nodes).map(|_| Proxy::to(redis.addr())).collect();
                (vec![redis], None, links)
            }
            Mode::Sentinel => {
                let primary = Redis::durable();
                let replica = Redis::replica_of(&primary);
                replica.catches_up();
                let sentinel = Redis::sentinel(&primary);
                eventually("the Sentinel knows the replica", UP_WITHIN, || {
                    let known = sentinel.command("SENTINEL replicas main");
                    let follows = known.contains("master-link-status\r\n$2\r\nok");
                    let is_it = known.contains(&format!("\r\n{}\r\n", replica.addr().port()));
                    if follows && is_it { Ok(()) } else { Err(known) }
                });
                (vec![primary, replica], Some(sentinel), Vec::new())
            }
            Mode::Cluster => {
                let parts: Vec<_> = (0..3).map(|_| Redis::clustered()).collect();
                join_cluster(&parts);
                (parts, None, Vec::new())
            }
        };
        let url = |number: usize| match (mode, &sentinel) {
            (Mode::Cluster, _) => format!("redis-cluster://{}?node={}", redis[0].addr(), redis[1].addr()),
            (_, Some(sentinel)) => sentinel.sentinel_url(),
            (_, None) => format!("redis://{}", Proxy::addr(&links[number])),
        };
        let nodes = (0..nodes).map(|number| Node::new(number, url(number), folder)).collect();
        let mut system = Self { mode, redis, sentinel, links, nodes, folder: folder.to_owned() };
        system.wait_until_up();
        system
    }

    /// Which Redis is the primary, as far as the Sentinel knows.
    #[must_use]
    pub fn primary(&self) -> usize {
        let Some(sentinel) = &self.sentinel else { return 0 };
        let answer = sentinel.try_command("SENTINEL get-master-addr-by-name main").unwrap_or_default();
        let is_named = |redis: &Redis| answer.contains(&format!("\r\n{}\r\n", redis.addr().port()));
        self.redis.iter().position(is_named).unwrap_or(0)
    }

    /// Asks the Sentinel to change the roles; gives what it says.
    #[must_use]
    pub fn fail_over(&self) -> String {
        let sentinel = self.sentinel.as_ref();
        let answer = sentinel.map(|sentinel| sentinel.try_command("SENTINEL failover main"));
        answer.map_or_else(String::new, |answer| answer.unwrap_or_else(|error| error.to_string()))
    }

    /// Looks after each node.
    pub fn tend(&mut self) {
        self.nodes.iter_mut().for_each(Node::tend);
    }

    /// Takes every fault away, and starts what does not run.
    pub fn heal(&mut self) {
        self.links.iter().for_each(Proxy::thaw);
        for redis in &mut self.redis {
            if redis.runs() {
                redis.thaw();
                let _ = redis.follow_again();
            } else {
                redis.restart();
            }
        }
        for node in &mut self.nodes {
            node.signal(rustix::process::Signal::CONT);
            node.want();
        }
    }

    /// Whether Redis itself has come to rest: the Sentinel's primary is one, and the other follows it.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        if self.sentinel.is_none() {
            return true;
        }
        let primary = self.primary();
        let info = |redis: &Redis| redis.try_command("INFO replication").unwrap_or_default();
        self.redis.iter().enumerate().all(|(number, redis)| match number == primary {
            true => info(redis).contains("role:master"),
            false => info(redis).contains("master_link_status:up"),
        })
    }

    /// Copies the logs of Redis to those of the nodes.
    pub fn keep_logs(&self) {
        for (number, redis) in self.redis.iter().enumerate() {
            let _ = fs::copy(redis.log(), self.folder.join(format!("redis-{number}-at-{}.log", redis.addr().port())));
        }
        if let Some(sentinel) = &self.sentinel {
            let _ = fs::copy(sentinel.log(), self.folder.join("sentinel.log"));
        }
    }

    /// Waits until each node says that it is ready.
    ///
    /// # Panics
    /// When one does not.
    pub fn wait_until_up(&mut self) {
        eventually("all nodes are ready", UP_WITHIN, || {
            self.tend();
            let complaint = self.nodes.iter().find_map(|node| node.complaints.first());
            assert!(complaint.is_none(), "{complaint:?}");
            let unready = self.nodes.iter().find(|node| !crate::admin::is_ready(node.addr()));
            unready.map_or(Ok(()), |node| Err(format!("{} is not; logs are in {}", node.addr(), self.folder.display())))
        });
    }
}
