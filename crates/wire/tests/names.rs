//! Topics, selectors, event types and names: which are taken, what they match, where they fall.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use proptest::{collection::vec, prelude::*, sample::Index};
use towncrier_wire::{
    EventType, Name, Partitions, Selector, SelectorError, Selectors, SelectorsError, TextError, Topic, TopicError,
    limits,
};

fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

/// What each kind says of a text of `max` bytes at most.
fn verdicts(text: &str) -> [(usize, Option<TextError>); 4] {
    let of_topic = match Topic::new(text) {
        Err(TopicError::Text(error)) => Some(error),
        Ok(_) | Err(TopicError::Wildcard) => None,
    };
    let of_selector = match Selector::new(text) {
        Err(SelectorError::Text(error)) => Some(error),
        Ok(_) | Err(SelectorError::Wildcard) => None,
    };
    [
        (limits::TOPIC_BYTES_MAX, of_topic),
        (limits::TOPIC_BYTES_MAX, of_selector),
        (limits::EVENT_TYPE_BYTES_MAX, EventType::new(text).err()),
        (limits::NAME_BYTES_MAX, Name::new(text).err()),
    ]
}

#[test]
fn texts_refused_by_all() {
    for (text, expect) in [
        ("", TextError::Empty),
        ("\0", TextError::Control),
        ("a\0b", TextError::Control),
        ("a\r", TextError::Control),
        ("\na", TextError::Control),
        ("a\r\nb", TextError::Control),
        ("a\tb", TextError::Control),
        ("\u{1b}[0m", TextError::Control),
        ("a\u{7f}", TextError::Control),
        ("a\u{80}", TextError::Control),
        ("a\u{85}b", TextError::Control),
        ("\u{9f}", TextError::Control),
    ] {
        assert_eq!(verdicts(text).map(|(_, error)| error), [Some(expect); 4], "{text:?}");
    }
}

#[test]
fn texts_taken_by_all() {
    for text in [
        "a", " ", " a ", "/", "//", "/a/", ":", "data: x", "é", "🦀", "\u{feff}", "\u{2028}", "\u{a0}", "\u{200b}",
        "a\"b\\", "..", "?#%2f",
    ] {
        assert_eq!(verdicts(text).map(|(_, error)| error), [None; 4], "{text:?}");
        assert_eq!(topic(text).as_str(), text);
        assert_eq!(Selector::new(text), Ok(Selector::Topic(topic(text))));
        assert_eq!(EventType::new(text).unwrap().as_str(), text);
        assert_eq!(Name::new(text).unwrap().as_str(), text);
    }
}

#[test]
fn lengths_count_bytes() {
    for (unit, bytes) in [("a", 1), ("é", 2), ("🦀", 4)] {
        for count in (100 / bytes)..=(300 / bytes) {
            for (max, error) in verdicts(&unit.repeat(count)) {
                assert_eq!(error, (count * bytes > max).then_some(TextError::TooLong { max }), "{count} of {unit}");
            }
        }
    }
    // Length before content: a huge bad text is not searched.
    for (max, error) in verdicts(&"\0".repeat(1000)) {
        assert_eq!(error, Some(TextError::TooLong { max }));
    }
}

#[test]
fn event_types_of_the_hub() {
    for text in ["connected", "heartbeat", "gap", "close"] {
        assert_eq!(EventType::new(text), Err(TextError::Reserved), "{text:?}");
    }
    for text in ["message", "Connected", "GAP", "closed", " close", "gap ", "open", "error"] {
        assert!(EventType::new(text).is_ok(), "{text:?}");
    }
}

#[test]
fn topics_have_no_wildcards() {
    for text in ["*", "**", "a*", "a/*", "*/a", "a*b/c"] {
        assert_eq!(Topic::new(text), Err(TopicError::Wildcard), "{text:?}");
    }
}

#[test]
fn selectors() {
    for text in ["*", "**", "*/*", "a/*", "a/*/b", "*/a", "a/**", "*/**", "/*", "*/", "//**", "é/*", "a/*/**"] {
        assert_eq!(Selector::new(text), Ok(Selector::Pattern(text.into())), "{text:?}");
    }
    for text in [
        "a*", "*a", "a*b", "a/b*", "*b/c", "***", "a/***", "**/a", "**/**", "**/*", "a/**/b", "**/", "a**", "a/**b",
        "* ", " *",
    ] {
        assert_eq!(Selector::new(text), Err(SelectorError::Wildcard), "{text:?}");
    }
    // A bad text counts before a bad wildcard.
    assert_eq!(Selector::new("a*\0"), Err(SelectorError::Text(TextError::Control)));
    assert_eq!(Topic::new("a*\n"), Err(TopicError::Text(TextError::Control)));
}

#[test]
fn sets_of_selectors() {
    let many = |count: usize| (0..count).map(|number| format!("t{number}")).collect::<Vec<_>>();
    let wrong = |index, error| Err(SelectorsError::Selector { index, error });
    for (texts, max, expect) in [
        (many(0), 100, Err(SelectorsError::None)),
        (many(0), 0, Err(SelectorsError::None)),
        (many(1), 0, Err(SelectorsError::TooMany { max: 0 })),
        (many(1), 1, Ok(1)),
        (many(2), 1, Err(SelectorsError::TooMany { max: 1 })),
        (many(100), usize::MAX, Ok(100)),
        (many(101), usize::MAX, Err(SelectorsError::TooMany { max: 100 })),
        // Repeats count as often as they are sent.
        (vec!["a".into(); 100], 100, Ok(1)),
        (vec!["a".into(); 101], 100, Err(SelectorsError::TooMany { max: 100 })),
        (vec!["a".into(), "".into()], 100, wrong(1, SelectorError::Text(TextError::Empty))),
        (vec!["a*".into(), "".into()], 100, wrong(0, SelectorError::Wildcard)),
        (vec!["a".into(), "b".into(), "x\n".into()], 100, wrong(2, SelectorError::Text(TextError::Control))),
    ] {
        let made = Selectors::new(texts.iter().map(String::as_str), max).map(|selectors| selectors.iter().count());
        assert_eq!(made, expect, "{} of at most {max}", texts.len());
    }
}

/// The rule of the protocol page, by recursion.
fn fits(pattern: &[&str], topic: &[&str]) -> bool {
    match (pattern, topic) {
        (["**"], [_, ..]) | ([], []) => true,
        (["*", pattern @ ..], [_, topic @ ..]) => fits(pattern, topic),
        ([wanted, pattern @ ..], [segment, topic @ ..]) => wanted == segment && fits(pattern, topic),
        _ => false,
    }
}

/// Every path of 1 to `len` of these segments.
fn paths<'a>(segments: &[&'a str], len: usize) -> Vec<Vec<&'a str>> {
    let mut all: Vec<Vec<&str>> = segments.iter().map(|&segment| vec![segment]).collect();
    for start in 0.. {
        let Some(path) = all.get(start).filter(|path| path.len() < len).cloned() else {
            break;
        };
        all.extend(segments.iter().map(|segment| [&path[..], &[segment]].concat()));
    }
    all
}

#[test]
fn matches_as_the_protocol_says() {
    let topics: Vec<_> = paths(&["a", "b", "ab", ""], 4).into_iter().filter(|path| path != &[""]).collect();
    let patterns: Vec<_> = paths(&["a", "b", "", "*", "**"], 4).into_iter().filter(|path| path != &[""]).collect();
    let mut matched = 0;
    for pattern in &patterns {
        let Ok(selector) = Selector::new(&pattern.join("/")) else {
            assert!(pattern[..pattern.len() - 1].contains(&"**"), "{pattern:?}");
            continue;
        };
        for path in &topics {
            let topic = topic(&path.join("/"));
            let expect = fits(pattern, path);
            assert_eq!(selector.matches(&topic), expect, "{selector} of {topic}");
            assert!(!expect || topic.as_str().starts_with(selector.prefix()), "prefix of {selector} and {topic}");
            matched += usize::from(expect);
        }
    }
    assert!(matched > 1000, "{matched}");
}

#[test]
fn prefixes() {
    for (text, expect) in [("a/b", "a/b"), ("a/*", "a/"), ("a/*/b", "a/"), ("**", ""), ("*/a", ""), ("é/**", "é/")] {
        assert_eq!(Selector::new(text).unwrap().prefix(), expect, "{text:?}");
    }
}

fn selector_texts() -> impl Strategy<Value = Vec<String>> {
    vec("([ab]|\\*){1}(/([ab]|\\*)){0,2}(/\\*\\*)?", 1..8)
}

fn set_of(texts: &[String]) -> Selectors {
    Selectors::new(texts.iter().map(String::as_str), limits::SELECTORS_MAX).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn sets_know_no_order_and_no_repeats(texts in selector_texts(), repeats in vec(any::<Index>(), 0..8), swaps in vec(any::<[Index; 2]>(), 0..16)) {
        let mut other = texts.clone();
        other.extend(repeats.iter().map(|at| at.get(&texts).clone()));
        for [a, b] in swaps {
            let (a, b) = (a.index(other.len()), b.index(other.len()));
            other.swap(a, b);
        }
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        prop_assert_eq!(set_of(&texts), set_of(&other));
        prop_assert_eq!(hasher.hash_one(set_of(&texts)), hasher.hash_one(set_of(&other)));
    }

    #[test]
    fn sets_are_told_apart(texts in selector_texts(), others in selector_texts()) {
        let sorted = |texts: &[String]| texts.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(set_of(&texts) == set_of(&others), sorted(&texts) == sorted(&others));
    }

    #[test]
    fn sets_match_what_one_of_them_matches(texts in selector_texts(), path in "[ab](/[ab]){0,3}", count in 1..=limits::PARTITIONS_MAX) {
        let (set, topic, partitions) = (set_of(&texts), topic(&path), Partitions::new(count).unwrap());
        let expect = texts.iter().any(|text| Selector::new(text).unwrap().matches(&topic));
        prop_assert_eq!(set.matches(&topic), expect);
        // A session must listen to each partition that could have an event for it, and to none that could not.
        let touched = set.touched(partitions);
        prop_assert!(!expect || touched[partitions.of(&topic).index()]);
        prop_assert!(touched[count..].iter().all(|touched| !touched));
        let of_topics = |index| texts.iter().any(|text| Topic::new(text).is_ok_and(|topic| partitions.of(&topic).index() == index));
        let any_pattern = texts.iter().any(|text| text.contains('*'));
        for (index, touched) in touched[..count].iter().enumerate() {
            prop_assert_eq!(*touched, any_pattern || of_topics(index));
        }
    }
}

#[test]
fn partitions_have_bounds() {
    for count in 0..=20 {
        let expect = (1..=8).contains(&count).then_some(count);
        assert_eq!(Partitions::new(count).map(Partitions::count), expect);
    }
    for count in [256, 257, usize::MAX] {
        assert_eq!(Partitions::new(count), None, "{count}");
    }
    let indices: Vec<_> = Partitions::new(8).unwrap().iter().map(towncrier_wire::Partition::index).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn partitions_of_topics_stay() {
    // Of 1 to 8 partitions, computed elsewhere. A change here would split a cluster during an upgrade.
    for (text, expect) in [
        ("a", [0, 0, 1, 0, 1, 4, 5, 4]),
        ("/", [0, 0, 0, 2, 3, 0, 6, 6]),
        ("orders/42", [0, 1, 0, 3, 4, 3, 5, 7]),
        ("news/sport", [0, 1, 0, 3, 0, 3, 5, 3]),
        ("é/🦀", [0, 1, 2, 1, 4, 5, 2, 5]),
        (&"x".repeat(256), [0, 1, 2, 1, 0, 5, 6, 5]),
    ] {
        let of = |count| Partitions::new(count).unwrap().of(&topic(text)).index();
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(of), expect, "{text:?}");
    }
}
