//! What must hold between keys.

use towncrier_telemetry::spans;

use super::{Merged, problem::Problem, units::ShowBytes, value::Setting};

/// `key` must be at least `floor` and `extra` bytes more.
struct AtLeast {
    key: &'static str,
    floor: &'static str,
    extra: u64,
}

const AT_LEAST: &[AtLeast] = &[
    // The largest event must fit, with its frame.
    AtLeast { key: "session.outbox_bytes", floor: "limits.data_bytes", extra: 64 << 10 },
    AtLeast { key: "http.body_bytes", floor: "limits.data_bytes", extra: 0 },
    // Otherwise the largest event could never be published, nor kept.
    AtLeast { key: "publish.inflight_bytes", floor: "limits.data_bytes", extra: 0 },
    AtLeast { key: "history.bytes", floor: "limits.data_bytes", extra: 0 },
];

/// Checks all relations whose keys are good by themselves.
pub(super) fn check(merged: &Merged, problems: &mut Vec<Problem>) {
    for relation in AT_LEAST {
        check_at_least(relation, merged, problems);
    }
    check_open(merged, problems);
    check_needs(merged, problems);
    check_keys(merged, problems);
    check_collector(merged, problems);
    check_watchdog(merged, problems);
}

/// A process that ended before it was said to be unwell would never be said to be.
fn check_watchdog(merged: &Merged, problems: &mut Vec<Problem>) {
    let (Some((Setting::Time(exit), origin)), Some((Setting::Time(stalled), stalled_origin))) =
        (merged.good("watchdog.exit"), merged.good("watchdog.stalled"))
    else {
        return;
    };
    if !exit.is_zero() && exit <= stalled {
        let (exit, stalled) = (Setting::Time(exit), Setting::Time(stalled));
        let text = format!("must be longer than watchdog.stalled ({stalled}, {stalled_origin}), not {exit}");
        problems.push(Problem::new("watchdog.exit", origin, text));
    }
}

fn check_at_least(relation: &AtLeast, merged: &Merged, problems: &mut Vec<Problem>) {
    let (Some((Setting::Bytes(value), origin)), Some((Setting::Bytes(floor), floor_origin))) =
        (merged.good(relation.key), merged.good(relation.floor))
    else {
        return;
    };
    let mut require = |key: &str, value: u64, origin: &str| {
        if value >= floor + relation.extra {
            return;
        }
        let mut text = format!("must be at least {} ({}, {floor_origin})", relation.floor, ShowBytes(floor));
        if relation.extra > 0 {
            text += &format!(" and {} more", ShowBytes(relation.extra));
        }
        text += &format!(", not {}", ShowBytes(value));
        problems.push(Problem::new(key, origin, text));
    };
    require(relation.key, value, &origin);
    if relation.key == super::namespaces::OUTBOX_BYTES
        && let Some((origin, namespaces)) = &merged.namespaces
    {
        for (position, namespace) in namespaces.iter().enumerate() {
            if let Some(bytes) = namespace.outbox_bytes {
                require(&format!("namespaces[{position}].{}", relation.key), bytes as u64, origin);
            }
        }
    }
}

/// A hub that asks nobody who they are serves this machine only, unless it was told otherwise in so many words.
fn check_open(merged: &Merged, problems: &mut Vec<Problem>) {
    let (Some((Setting::Flag(open_to_network), _)), Some((mode, _))) =
        (merged.good("auth.open_to_network"), merged.good("auth.mode"))
    else {
        return;
    };
    if open_to_network || mode != Setting::Text("open".into()) {
        return;
    }
    for key in ["http.listen", "http.tls_listen", "http.admin_listen"] {
        let Some((Setting::Address(listen) | Setting::AddressOrNone(Some(listen)), origin)) = merged.good(key) else {
            continue;
        };
        if listen.ip().is_loopback() {
            continue;
        }
        problems.push(Problem::new(
            key,
            origin,
            format!(
                "{listen} can be reached from the network, and auth.mode = \"open\" asks nobody who they are; \
                 listen on 127.0.0.1, or set auth.open_to_network = true if that is meant"
            ),
        ));
    }
}

/// Tokens can be checked only with a key, and logins need one that signs.
fn check_keys(merged: &Merged, problems: &mut Vec<Problem>) {
    const SECRETS: [&str; 2] = ["auth.hs256_secret", "auth.hs256_secret_file"];
    const PUBLIC: [&str; 2] = ["auth.public_key", "auth.jwks_url"];
    let Some((mode, origin)) = merged.good("auth.mode") else { return };
    let is_set = |key: &&str| match merged.good(key) {
        Some((Setting::Secret(secret), _)) => !secret.is_empty(),
        Some((Setting::Text(text), _)) => !text.is_empty(),
        // One that is wrong is meant to be there.
        _ => true,
    };
    let tokens = mode == Setting::Text("jwt".into());
    if tokens && !SECRETS.iter().chain(&PUBLIC).any(is_set) {
        let text = "\"jwt\" needs a key: auth.hs256_secret, auth.hs256_secret_file, auth.public_key or auth.jwks_url";
        problems.push(Problem::new("auth.mode", origin, text));
    }
    if SECRETS.iter().all(is_set) {
        problems.push(Problem::new(SECRETS[1], "", format!("is set beside {}: only one can be", SECRETS[0])));
    }
    if let Some((Setting::Flag(true), origin)) = merged.good("auth.register")
        && (!tokens || !SECRETS.iter().any(is_set))
    {
        let text = "needs auth.mode = \"jwt\" and auth.hs256_secret, with which logins are signed";
        problems.push(Problem::new("auth.register", origin, text));
    }
    if let Some((origin, users)) = &merged.users
        && !users.is_empty()
        && (!tokens || !SECRETS.iter().any(is_set))
    {
        let text = "need auth.mode = \"jwt\" and auth.hs256_secret, with which their logins are signed";
        problems.push(Problem::new("auth.users", origin, text));
    }
}

/// Spans can be sent only to what is a URL, with what are headers.
fn check_collector(merged: &Merged, problems: &mut Vec<Problem>) {
    if let Some((Setting::Text(endpoint), origin)) = merged.good("tracing.otlp_endpoint")
        && !endpoint.is_empty()
        && let Err(error) = spans::check_endpoint(&endpoint)
    {
        problems.push(Problem::new("tracing.otlp_endpoint", origin, error.to_string()));
    }
    if let Some((Setting::Secret(headers), origin)) = merged.good("tracing.otlp_headers")
        && let Err(error) = spans::parse_headers(headers.reveal())
    {
        problems.push(Problem::new("tracing.otlp_headers", origin, error.to_string()));
    }
}

/// `key` means nothing without `other`.
const NEEDS: &[(&str, &str)] = &[
    ("http.tls_listen", "http.tls_cert"),
    ("http.tls_cert", "http.tls_key"),
    ("http.tls_key", "http.tls_cert"),
    ("http.admin_tls", "http.tls_cert"),
    ("http.admin_tls", "http.admin_listen"),
    ("http.admin_client_ca", "http.admin_tls"),
    ("tracing.otlp_headers", "tracing.otlp_endpoint"),
    ("limits.connects_burst", "limits.connects_per_second"),
    ("limits.connects_burst_per_address", "limits.connects_per_second_per_address"),
    ("limits.publishes_burst_per_client", "limits.publishes_per_second_per_client"),
    ("limits.requests_burst_per_address", "limits.requests_per_second_per_address"),
];

fn check_needs(merged: &Merged, problems: &mut Vec<Problem>) {
    let is_set = |setting: &Setting| match setting {
        Setting::Flag(flag) => *flag,
        Setting::Count(number) => *number > 0,
        Setting::AddressOrNone(address) => address.is_some(),
        Setting::Text(text) => !text.is_empty(),
        Setting::Secret(secret) => !secret.is_empty(),
        _ => true,
    };
    for (key, other) in NEEDS {
        let (Some((value, origin)), Some((needed, _))) = (merged.good(key), merged.good(other)) else { continue };
        if is_set(&value) && !is_set(&needed) {
            problems.push(Problem::new(*key, origin, format!("needs {other}")));
        }
    }
}
