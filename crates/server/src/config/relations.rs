//! What must hold between keys.

use super::{
    Merged,
    problem::Problem,
    value::{Setting, ShowBytes},
};

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
    let (Some((Setting::Address(listen), origin)), Some((Setting::Flag(open_to_network), _)), Some((mode, _))) =
        (merged.good("http.listen"), merged.good("auth.open_to_network"), merged.good("auth.mode"))
    else {
        return;
    };
    let open = mode == Setting::Text("open".into());
    if open && !open_to_network && !listen.ip().is_loopback() {
        problems.push(Problem::new(
            "http.listen",
            origin,
            format!(
                "{listen} can be reached from the network, and auth.mode = \"open\" asks nobody who they are; \
                 listen on 127.0.0.1, or set auth.open_to_network = true if that is meant"
            ),
        ));
    }
}
