//! What the system grants the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that the hub needs beside one for each connection.
const OWN_DESCRIPTORS: u64 = 512;

/// Asks for as many descriptors as the system allows without privileges.
pub(super) fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Not to be allowed is no error: `tell_limits` says what it means.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// Says so if the configuration promises more connections than the system grants.
pub(super) fn tell_limits(max_connections: usize) {
    let needed = max_connections as u64 + OWN_DESCRIPTORS;
    if let Some(granted) = getrlimit(Resource::Nofile).current.filter(|granted| *granted < needed) {
        tracing::warn!(
            granted,
            needed,
            "fewer file descriptors than http.max_connections needs; raise `ulimit -n` or LimitNOFILE, or lower the key"
        );
    }
}
