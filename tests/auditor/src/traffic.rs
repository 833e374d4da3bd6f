//! Who publishes what, and who subscribes to what.

/// All topics. `brief/` has a history of [`BRIEF_EVENTS`] only, so that what is missed for long expires; subscribers of
/// `latest/` alone are conflated when they are slow.
pub const TOPICS: [&str; 12] = [
    "orders/0",
    "orders/1",
    "orders/2",
    "orders/3",
    "orders/4",
    "news/europe",
    "news/europe/north",
    "news/asia",
    "brief/0",
    "brief/1",
    "latest/0",
    "latest/1",
];

/// How many events of a topic below `brief/` are kept.
pub const BRIEF_EVENTS: usize = 12;

/// What subscribers ask for, in turn. Some selectors overlap: what fits two of them must still come once.
const SELECTORS: [&[&str]; 8] = [
    &["**"],
    &["orders/*", "orders/1", "news/**"],
    &["orders/0"],
    &["latest/*"],
    &["brief/*"],
    &["news/**", "orders/3", "orders/4"],
    &["brief/0", "orders/*"],
    &["latest/0", "latest/1"],
];

/// What a subscriber asks for, by its number.
#[must_use]
pub fn selectors_of(subscriber: usize) -> &'static [&'static str] {
    SELECTORS[subscriber % SELECTORS.len()]
}

/// The place of a topic in [`TOPICS`].
#[must_use]
pub fn topic(name: &str) -> Option<u16> {
    TOPICS.iter().position(|topic| *topic == name).and_then(|place| u16::try_from(place).ok())
}

/// Whether a topic's history is short.
#[must_use]
pub fn is_brief(topic: u16) -> bool {
    TOPICS[usize::from(topic)].starts_with("brief/")
}

/// Whether a slow session with these selectors is conflated: all of them must lie in a namespace that says so.
#[must_use]
pub fn is_conflated<S: AsRef<str>>(selectors: &[S]) -> bool {
    selectors.iter().all(|selector| selector.as_ref().starts_with("latest/"))
}

/// Whether a topic fits a selector, by the rules of the protocol.
#[must_use]
pub fn fits(selector: &str, topic: &str) -> bool {
    let (mut wanted, mut given) = (selector.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (Some("**"), rest) => return rest.is_some(),
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// The configuration of the namespaces.
#[must_use]
pub fn namespaces() -> String {
    format!(
        "[[namespaces]]\nprefix = \"brief/\"\nhistory.events = {BRIEF_EVENTS}\n\n\
         [[namespaces]]\nprefix = \"latest/\"\nsession.slow = \"conflate\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_fit_as_the_protocol_says() {
        for (selector, topic, expected) in [
            ("**", "orders/0", true),
            ("orders/*", "orders/0", true),
            ("orders/*", "orders/0/1", false),
            ("news/**", "news/europe/north", true),
            ("news/**", "news", false),
            ("orders/0", "orders/0", true),
            ("orders/0", "orders/1", false),
            ("orders", "orders/0", false),
        ] {
            assert_eq!(fits(selector, topic), expected, "{selector} {topic}");
        }
    }
}
