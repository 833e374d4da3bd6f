//! The covering rule against the matching of topics.

use proptest::prelude::*;
use towncrier_auth::{Rights, Scope, covers};
use towncrier_wire::{Selector, Topic};

fn selector(text: &str) -> Selector {
    Selector::new(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Selectors over few names, so that they meet often.
fn selectors() -> impl Strategy<Value = Selector> {
    let segment = prop::sample::select(vec!["a", "b", "", "*"]);
    (prop::collection::vec(segment, 0..5), any::<bool>()).prop_filter_map("no selector", |(mut segments, rest)| {
        if rest {
            segments.push("**");
        }
        Selector::new(&segments.join("/")).ok()
    })
}

fn topics() -> impl Strategy<Value = Topic> {
    let segment = prop::sample::select(vec!["a", "b", "", "c"]);
    prop::collection::vec(segment, 1..7).prop_filter_map("no topic", |segments| Topic::new(&segments.join("/")).ok())
}

/// Topics that fit a selector and as little else as possible: its wildcards become a name that is in no selector, and a
/// final `**` one, two or many of them.
fn witnesses(selector: &Selector) -> Vec<Topic> {
    ["new", "new/new", "new/new/new/new/new/new/new"]
        .into_iter()
        .map(|rest| {
            let segments = selector.as_str().split('/').map(|segment| match segment {
                "**" => rest,
                "*" => "new",
                name => name,
            });
            Topic::new(&segments.collect::<Vec<_>>().join("/")).expect("a topic")
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn what_fits_a_covered_selector_fits_the_grant(granted in selectors(), requested in selectors(), topic in topics()) {
        if covers(&granted, &requested) && requested.matches(&topic) {
            prop_assert!(granted.matches(&topic), "{granted} covers {requested}, not {topic}");
        }
    }

    #[test]
    fn what_is_not_covered_has_a_topic_that_does_not_fit_the_grant(granted in selectors(), requested in selectors()) {
        let witnesses = witnesses(&requested);
        prop_assert!(witnesses.iter().all(|topic| requested.matches(topic)));
        prop_assert_eq!(covers(&granted, &requested), witnesses.iter().all(|topic| granted.matches(topic)));
    }

    #[test]
    fn covering_is_an_order(a in selectors(), b in selectors(), c in selectors()) {
        prop_assert!(covers(&a, &a));
        prop_assert!(!(covers(&a, &b) && covers(&b, &c)) || covers(&a, &c));
        prop_assert!(!(covers(&a, &b) && covers(&b, &a)) || a == b);
    }

    #[test]
    fn a_topic_is_covered_when_it_fits(granted in selectors(), topic in topics()) {
        prop_assert_eq!(covers(&granted, &Selector::Topic(topic.clone())), granted.matches(&topic));
    }
}

#[test]
fn the_examples_of_the_documentation() {
    for (granted, requested, covered) in [
        ("orders/42", "orders/42", true),
        ("orders/42", "orders/43", false),
        ("orders/42", "orders/*", false),
        ("orders/42", "orders/42/items", false),
        ("orders/*", "orders/42", true),
        ("orders/*", "orders/*", true),
        ("orders/*", "orders/**", false),
        ("orders/*", "orders", false),
        ("orders/*/items", "orders/42/items", true),
        ("orders/*/items", "orders/*/*", false),
        ("orders/**", "orders/**", true),
        ("orders/**", "orders/*/items/**", true),
        ("orders/**", "orders", false),
        ("orders/**", "**", false),
        ("*/42", "orders/42", true),
        ("*", "**", false),
        ("**", "*", true),
        ("**", "**", true),
        ("**", "anything/at/all", true),
    ] {
        assert_eq!(covers(&selector(granted), &selector(requested)), covered, "{granted} covers {requested}");
    }
}

#[test]
fn rights_are_grants_and_nothing_else() {
    let rights = Rights {
        subscribe: vec![selector("orders/*"), selector("news")],
        publish: vec![selector("orders/**")],
        admin: vec![Scope::Write],
    };
    assert!(rights.may_subscribe(&selector("orders/42")) && rights.may_subscribe(&selector("news")));
    assert!(!rights.may_subscribe(&selector("orders/42/items")) && !rights.may_subscribe(&selector("*")));
    let topic = |text| Topic::new(text).expect("a topic");
    assert!(rights.may_publish(&topic("orders/42/items")));
    assert!(!rights.may_publish(&topic("news")), "to subscribe is not to publish");
    assert!(rights.may_admin(Scope::Write) && !rights.may_admin(Scope::Read));

    let none = Rights::default();
    assert!(!none.may_subscribe(&selector("news")) && !none.may_publish(&topic("news")));
    assert!(!none.may_admin(Scope::Read) && !none.may_admin(Scope::Write));
}
