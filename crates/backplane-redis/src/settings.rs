//! What all nodes of a hub should be set to alike, as a text that the node that starts last leaves for the next one.

use crate::{Options, options::millis};

/// How this version stores what a hub keeps in Redis. Versions with different layouts cannot share a prefix.
pub(crate) const LAYOUT: u32 = 1;

const LAYOUT_NAME: &str = "layout";

/// A line for each, by the name of its key in the configuration.
pub(crate) fn text(options: &Options) -> String {
    let ms = |name: &str, ms: u64| format!("{name}={ms} ms");
    let mut lines = vec![
        format!("{LAYOUT_NAME}={LAYOUT}"),
        format!("history.events={}", options.retention.events),
        ms("history.age", options.retention.age_ms),
        format!("history.topics={}", options.topics_max),
        ms("publish.idempotency_age", millis(options.idempotency_age)),
        format!("backplane.redis.replicas={}", options.replicas),
        ms("backplane.redis.command_timeout", millis(options.command_timeout)),
        ms("backplane.redis.probe_interval", millis(options.probe_interval)),
    ];
    let mut namespaces: Vec<_> = options.namespaces.iter().collect();
    namespaces.sort_by(|one, other| one.0.cmp(&other.0));
    lines.extend(
        namespaces
            .into_iter()
            .map(|(prefix, own)| format!("history of namespace {prefix}={} events, {} ms", own.events, own.age_ms)),
    );
    lines.join("\n")
}

/// Which layout such a text names.
pub(crate) fn layout(text: &str) -> Option<&str> {
    let (name, value) = text.lines().next()?.rsplit_once('=')?;
    (name == LAYOUT_NAME).then_some(value)
}

/// Where two texts differ: the name, and what either says of it, if it does.
pub(crate) fn differences<'a>(one: &'a str, other: &'a str) -> Vec<(&'a str, Option<&'a str>, Option<&'a str>)> {
    let of = |text: &'a str, name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let names = |text: &'a str| text.lines().filter_map(|line| Some(line.rsplit_once('=')?.0));
    let more = names(other).filter(|name| of(one, name).is_none());
    let all = names(one).chain(more).map(|name| (name, of(one, name), of(other, name)));
    all.filter(|(_, one, other)| one != other).collect()
}

#[cfg(test)]
mod tests {
    use towncrier_core::store::Retention;
    use towncrier_wire::Partitions;

    use super::*;

    fn options(namespaces: &[(&str, usize)]) -> Options {
        let own = |(prefix, events): &(&str, usize)| (prefix.to_string(), Retention { events: *events, age_ms: 1000 });
        Options {
            namespaces: namespaces.iter().map(own).collect(),
            ..Options::new("redis://x", "test", Partitions::ONE)
        }
    }

    #[test]
    fn nodes_that_are_set_alike_say_the_same_in_whatever_order() {
        let (one, other) = (options(&[("a/", 1), ("b=c/", 2)]), options(&[("b=c/", 2), ("a/", 1)]));
        assert_eq!(text(&one), text(&other));
        assert_eq!(layout(&text(&one)), Some("1"));
        assert_eq!((layout(""), layout("something else"), layout("layouts=3")), (None, None, None));
    }

    #[test]
    fn what_differs_is_named() {
        let one = text(&options(&[("a/", 1), ("b=c/", 2)]));
        let other = text(&Options { topics_max: 7, ..options(&[("b=c/", 3), ("d/", 4)]) });
        let expected = [
            ("history.topics", Some("1000000"), Some("7")),
            ("history of namespace a/", Some("1 events, 1000 ms"), None),
            ("history of namespace b=c/", Some("2 events, 1000 ms"), Some("3 events, 1000 ms")),
            ("history of namespace d/", None, Some("4 events, 1000 ms")),
        ];
        assert_eq!(differences(&one, &other), expected);
        assert!(differences(&one, &one).is_empty());
    }
}
