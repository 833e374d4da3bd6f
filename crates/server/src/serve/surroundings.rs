//! What is around the hub: what the system grants the process, and how Redis is set up.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use towncrier_backplane::{Finding, Findings};
use towncrier_backplane_redis::Surroundings;

use crate::config::Config;

const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Descriptors that the hub needs beside one for each connection.
const OWN_DESCRIPTORS: u64 = 512;

/// Asks for as many descriptors as the system allows without privileges.
pub(crate) fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Not to be allowed is no error: `machine` says what it means.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// What of this machine is too little for what the configuration promises.
pub(crate) fn machine(config: &Config) -> Vec<Finding> {
    [descriptors(config.http.max_connections as u64), backlog(config.http.backlog)].into_iter().flatten().collect()
}

fn descriptors(max_connections: u64) -> Option<Finding> {
    let needed = max_connections + OWN_DESCRIPTORS;
    let granted = getrlimit(Resource::Nofile).current.filter(|granted| *granted < needed)?;
    Some(finding(
        "the limit of file descriptors",
        granted,
        needed,
        "fewer connections than http.max_connections are possible; raise `ulimit -n` or LimitNOFILE, or lower the key",
    ))
}

/// The kernel lets fewer connections wait than the hub asks for, and says nothing.
fn backlog(wanted: u32) -> Option<Finding> {
    let granted: u32 = std::fs::read_to_string(SOMAXCONN).ok()?.trim().parse().ok()?;
    let todo = "connections that come all at once, as after a restart, are dropped and tried again seconds later; \
                sysctl -w net.core.somaxconn, or lower http.backlog";
    (granted < wanted).then(|| finding("net.core.somaxconn", granted, wanted, todo))
}

fn finding(what: &str, found: impl Into<u64>, wanted: impl Into<u64>, todo: &str) -> Finding {
    Finding {
        place: "this machine".to_owned(),
        what: what.to_owned(),
        found: found.into().to_string(),
        wanted: format!("{} or more", wanted.into()),
        todo: todo.to_owned(),
    }
}

/// Says in one line each what should be changed.
pub(super) fn tell(all: &Findings) {
    for one in &all.findings {
        tracing::warn!(what = one.what, found = one.found, wanted = one.wanted, "{one}");
    }
    for one in &all.unchecked {
        tracing::info!(what = one.what, "{one}");
    }
}

/// Tells what is found at Redis, for as long as there is one.
pub(super) async fn watch(mut surroundings: Surroundings) {
    while let Some(found) = surroundings.next().await {
        tell(&found);
    }
}
