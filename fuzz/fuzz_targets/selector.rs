//! Three lines: a selector that is granted, one that is requested, a topic. What selectors fit and cover, judged by a slow
//! model that shares no code with them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towncrier_auth::covers;
use towncrier_wire::{Partitions, Selector, Selectors, Topic, limits::TOPIC_BYTES_MAX};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (granted, requested, topic) = (line(), line(), line());

    let parsed = [granted, requested].map(|text| {
        let parsed = Selector::new(text);
        assert_eq!(parsed.is_ok(), is_selector(text), "{text:?}");
        parsed.inspect(|selector| assert_eq!(selector.as_str(), text))
    });
    let topic = match Topic::new(topic) {
        Ok(parsed) => parsed,
        Err(_) => {
            assert!(!(is_short_text(topic) && !topic.contains('*')), "{topic:?}");
            return;
        }
    };
    for selector in parsed.iter().flatten() {
        check_match(selector, &topic);
    }
    let [Ok(granted), Ok(requested)] = parsed else { return };
    let exact = instances(&requested, &granted).iter().all(|topic| fits(&segments(granted.as_str()), topic));
    assert_eq!(covers(&granted, &requested), exact, "{granted} over {requested}");
    if covers(&granted, &requested) && requested.matches(&topic) {
        assert!(granted.matches(&topic), "{granted} over {requested}, of {topic}");
    }
    check_set(&granted, &requested, &topic);
});

fn check_match(selector: &Selector, topic: &Topic) {
    let expected = fits(&segments(selector.as_str()), &segments(topic.as_str()));
    assert_eq!(selector.matches(topic), expected, "{selector} of {topic}");
    assert_eq!(covers(selector, &Selector::Topic(topic.clone())), expected, "{selector} over {topic}");
    if expected {
        assert!(topic.as_str().starts_with(selector.prefix()), "{selector} of {topic}");
    }
}

/// In any order and number, two selectors are one set.
fn check_set(one: &Selector, other: &Selector, topic: &Topic) {
    let set = |texts: &[&Selector]| Selectors::new(texts.iter().map(|one| one.as_str()), 3).expect("they are good");
    let both = set(&[one, other]);
    assert_eq!(both, set(&[other, one, other]));
    assert_eq!(both.matches(topic), one.matches(topic) || other.matches(topic));
    for partitions in (1..=8).filter_map(Partitions::new) {
        let touched = both.touched(partitions);
        assert!(!both.matches(topic) || touched[partitions.of(topic).index()], "{topic} of {partitions:?}");
    }
}

fn is_short_text(text: &str) -> bool {
    (1..=TOPIC_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_selector(text: &str) -> bool {
    let segments = segments(text);
    let last = segments.len() - 1;
    let is_sound = |(at, segment): (usize, &&str)| match *segment {
        "**" => at == last,
        segment => segment == "*" || !segment.contains('*'),
    };
    is_short_text(text) && segments.iter().enumerate().all(is_sound)
}

fn segments(text: &str) -> Vec<&str> {
    text.split('/').collect()
}

/// By recursion, as the rules are written down.
fn fits(selector: &[&str], topic: &[&str]) -> bool {
    match (selector, topic) {
        ([], []) => true,
        (["**"], topic) => !topic.is_empty(),
        (["*", selector @ ..], [_, topic @ ..]) => fits(selector, topic),
        ([name, selector @ ..], [segment, topic @ ..]) => name == segment && fits(selector, topic),
        _ => false,
    }
}

/// Topics that stand for all that fit `requested`: their wildcards are a name that `granted` does not have, so that only its
/// wildcards take them, and a `**` is of every length that `granted` could tell apart.
fn instances<'a>(requested: &'a Selector, granted: &Selector) -> Vec<Vec<&'a str>> {
    const STRANGE: &str = "\u{1}";
    let names: Vec<&str> = requested.as_str().split('/').collect();
    let (head, tail) = match names.split_last() {
        Some((&"**", head)) => (head, 1..=segments(granted.as_str()).len() + 1),
        _ => (names.as_slice(), 0..=0),
    };
    let head: Vec<&str> = head.iter().map(|name| if *name == "*" { STRANGE } else { *name }).collect();
    tail.map(|more| head.iter().copied().chain(std::iter::repeat_n(STRANGE, more)).collect()).collect()
}
