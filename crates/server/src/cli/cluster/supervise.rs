//! The life of a cluster: up in order, watched, down in order.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use rustix::process::Signal;
use tokio::{
    signal::unix::{self, SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    ClusterError,
    logs::Logs,
    plan::Plan,
    probe,
    processes::{Processes, Role},
};
use crate::cli::backoff::Backoff;

/// How long a process may take until it serves.
const START_WITHIN: Duration = Duration::from_secs(60);
/// The wait before a node is started again.
const RESTART_BASE: Duration = Duration::from_millis(500);
/// What it doubles up to, while the node does not live.
const RESTART_MOST: Duration = Duration::from_secs(15);
/// A node that was up for so long has started well.
const STEADY: Duration = Duration::from_secs(30);
/// Beyond `shutdown.timeout`, for a busy machine.
const DRAIN_SPARE: Duration = Duration::from_secs(3);
/// How long nginx may take after its last stream.
const PROXY_END: Duration = Duration::from_secs(2);
/// How long Redis may take to write what it holds.
const REDIS_END: Duration = Duration::from_secs(20);

/// The signals that end a cluster. The terminal's end is one of them.
struct Signals([(&'static str, unix::Signal); 3]);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self([
            ("SIGINT", signal(SignalKind::interrupt())?),
            ("SIGTERM", signal(SignalKind::terminate())?),
            ("SIGHUP", signal(SignalKind::hangup())?),
        ]))
    }

    async fn next(&mut self) -> &'static str {
        let [(interrupt, first), (terminate, second), (hangup, third)] = &mut self.0;
        tokio::select! {
            _ = first.recv() => interrupt,
            _ = second.recv() => terminate,
            _ = third.recv() => hangup,
        }
    }
}

/// Why a cluster goes down.
enum Cause {
    Signal(&'static str),
    Failed(ClusterError),
}

/// What a node that ended is waited for.
enum Event {
    Restart(usize),
    Ready(usize, Result<(), String>),
}

/// A node's record.
#[derive(Debug)]
struct Health {
    backoff: Backoff,
    started: Instant,
}

struct Cluster<'a> {
    plan: &'a Plan,
    logs: &'a Logs,
    processes: Processes,
    signals: Signals,
    nodes: Vec<Health>,
    events: JoinSet<Event>,
}

/// Runs a cluster until a signal ends it. `ready` is called once, when all of it serves.
///
/// # Errors
/// If something does not start, Redis or nginx ends by itself, or something has to be killed in the end.
pub(super) async fn run(
    plan: &Plan,
    towncrier: PathBuf,
    logs: &Logs,
    ready: impl FnOnce(),
) -> Result<(), ClusterError> {
    let signals = Signals::new().map_err(ClusterError::System)?;
    let health = || Health { backoff: Backoff::default(), started: Instant::now() };
    let mut cluster = Cluster {
        plan,
        logs,
        processes: Processes::new(towncrier, logs.clone()),
        signals,
        nodes: plan.nodes.iter().map(|_| health()).collect(),
        events: JoinSet::new(),
    };
    let cause = match cluster.start().await {
        Ok(()) => {
            ready();
            cluster.watch().await
        }
        Err(cause) => cause,
    };
    let failed = match cause {
        Cause::Signal(name) => {
            logs.say(format_args!("{name}: stopping; once more to stop at once"));
            None
        }
        Cause::Failed(error) => {
            logs.warn(format_args!("{error}; stopping"));
            Some(error)
        }
    };
    let stopped = cluster.stop().await;
    failed.map_or(stopped, Err)
}

impl Cluster<'_> {
    /// Redis, then the nodes, then nginx, each when the one before serves.
    async fn start(&mut self) -> Result<(), Cause> {
        let plan = self.plan;
        if let Some((program, address)) = &plan.redis {
            self.processes.start(Role::Redis, program).map_err(not_started(Role::Redis))?;
            self.serves(Role::Redis, probe::redis(*address, START_WITHIN)).await?;
        }
        for index in 0..plan.nodes.len() {
            self.start_node(index).map_err(not_started(Role::Node(index)))?;
        }
        for (index, node) in plan.nodes.iter().enumerate() {
            self.serves(Role::Node(index), probe::hub(node.address, START_WITHIN)).await?;
        }
        if let Some((program, address)) = &plan.proxy {
            self.processes.start(Role::Proxy, program).map_err(not_started(Role::Proxy))?;
            self.serves(Role::Proxy, probe::hub(*address, START_WITHIN)).await?;
        }
        Ok(())
    }

    /// Waits for a probe, unless a process ends or a signal comes first: what does not start once is not tried again.
    async fn serves(&mut self, role: Role, probe: impl Future<Output = Result<(), String>>) -> Result<(), Cause> {
        tokio::select! {
            biased;
            name = self.signals.next() => Err(Cause::Signal(name)),
            (role, status) = self.processes.ended() => Err(Cause::Failed(ClusterError::Ended { role, status })),
            served = probe => served.map_err(|seen| Cause::Failed(ClusterError::NotReady { role, seen })),
        }
    }

    fn start_node(&mut self, index: usize) -> io::Result<()> {
        self.nodes[index].started = Instant::now();
        self.processes.start(Role::Node(index), &self.plan.nodes[index].program)
    }

    /// Starts nodes again that end, until there is a reason to stop.
    async fn watch(&mut self) -> Cause {
        loop {
            tokio::select! {
                biased;
                name = self.signals.next() => return Cause::Signal(name),
                (role, status) = self.processes.ended() => match role {
                    Role::Node(index) => self.node_ended(index, &status),
                    Role::Redis | Role::Proxy => return Cause::Failed(ClusterError::Ended { role, status }),
                },
                Some(event) = self.events.join_next() => match event.expect("events do not panic and are not aborted") {
                    Event::Restart(index) => {
                        let role = Role::Node(index);
                        if let Err(Cause::Failed(error)) = self.start_node(index).map_err(not_started(role)) {
                            return Cause::Failed(error);
                        }
                        let address = self.plan.nodes[index].address;
                        self.events.spawn(async move { Event::Ready(index, probe::hub(address, START_WITHIN).await) });
                    }
                    Event::Ready(index, Ok(())) => self.logs.say(format_args!("{} is back", Role::Node(index))),
                    // A node that has ended meanwhile has said so already.
                    Event::Ready(index, Err(seen)) if self.processes.runs(|role| role == Role::Node(index)) => {
                        self.logs.warn(format_args!("{} runs, but is not ready: {seen}", Role::Node(index)));
                    }
                    Event::Ready(..) => {}
                },
            }
        }
    }

    fn node_ended(&mut self, index: usize, status: &str) {
        let health = &mut self.nodes[index];
        if health.started.elapsed() >= STEADY {
            health.backoff.reset();
        }
        let wait = health.backoff.next(RESTART_BASE, RESTART_MOST);
        let role = Role::Node(index);
        self.logs.warn(format_args!("{role} ENDED ({status}); starting it again in {:.1} s", wait.as_secs_f64()));
        self.events.spawn(async move {
            sleep(wait).await;
            Event::Restart(index)
        });
    }

    /// nginx takes no more connections, the nodes end their streams through it, and when nobody can publish any more,
    /// Redis writes what it holds.
    async fn stop(mut self) -> Result<(), ClusterError> {
        self.events.abort_all();
        let again = tokio::select! {
            killed = down(&mut self.processes, self.plan.drain + DRAIN_SPARE) => Ok(killed),
            name = self.signals.next() => Err(name),
        };
        match again {
            Ok(killed) if killed.is_empty() => Ok(()),
            Ok(killed) => {
                Err(ClusterError::Killed(killed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")))
            }
            Err(name) => {
                self.processes.kill(|_| true).await;
                Err(ClusterError::AtOnce(name))
            }
        }
    }
}

/// Stops all in order, and gives those that had to be killed.
async fn down(processes: &mut Processes, drain: Duration) -> Vec<Role> {
    let is_proxy = |role| role == Role::Proxy;
    processes.signal(is_proxy, Signal::QUIT);
    processes.signal(is_node, Signal::TERM);
    processes.wait(is_node, drain).await;
    if !processes.wait(is_proxy, PROXY_END).await {
        // Somebody's request still hangs, and there is nobody left to answer it.
        processes.signal(is_proxy, Signal::TERM);
        processes.wait(is_proxy, PROXY_END).await;
    }
    let mut killed = processes.kill(|role| role != Role::Redis).await;
    processes.signal(|role| role == Role::Redis, Signal::TERM);
    processes.wait(|role| role == Role::Redis, REDIS_END).await;
    killed.extend(processes.kill(|_| true).await);
    killed
}

fn is_node(role: Role) -> bool {
    matches!(role, Role::Node(_))
}

fn not_started(role: Role) -> impl FnOnce(io::Error) -> Cause {
    move |error| Cause::Failed(ClusterError::Start { role, error })
}

/// What a person needs to know of a cluster that serves.
pub(super) fn describe(plan: &Plan) -> String {
    let url = |address: &SocketAddr| format!("http://{address}/");
    let (count, plural) = (plan.nodes.len(), if plan.nodes.len() == 1 { "" } else { "s" });
    let mut lines = vec![format!("One hub of {count} node{plural} is ready:"), String::new()];
    if let Some((_, address)) = &plan.proxy {
        lines.push(format!("  hub      {}", url(address)));
    }
    lines.extend(
        plan.nodes.iter().enumerate().map(|(index, node)| format!("  {:<8} {}", Role::Node(index), url(&node.address))),
    );
    lines.push(format!("  redis    {}", plan.redis_url));
    lines.extend([String::new(), "Ctrl-C stops all of it.".into(), String::new()]);
    lines.join("\n")
}
