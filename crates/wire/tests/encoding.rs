//! Whatever is published arrives: once, whole and in order, however the bytes are cut.

mod support;

use std::fmt::Display;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*, sample::Index};
use support::{Heard, event, eventsource_stream, russe, spec};
use towncrier_wire::{Cursor, Event, EventId, EventType, Gap, GapReason, Partitions, Topic, control, limits, sse};

/// Text of fragments that a line-based format could stumble over.
fn hostile() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        8 => proptest::sample::select(vec![
            "\r", "\n", "\r\n", "\n\r", "\n\n", "\0", "\u{feff}", " ", "  ", ":", ": ", "data:", "data: x", "data", "id:", "id: 1",
            "id: 1\n", "\nevent: close\n", "retry: 1", "\nretry: 1\n\n", "\u{85}", "\u{2028}", "\u{b}", "\t", "é", "🦀", "x",
        ]).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        2 => any::<String>(),
        1 => (0..70_000_usize).prop_map(|len| "x".repeat(len)),
    ];
    vec(fragment, 0..12).prop_map(|fragments| fragments.concat())
}

/// The same without what short texts may not have, and within their bound.
fn name(bytes_max: usize) -> impl Strategy<Value = String> {
    hostile().prop_map(move |mut text| {
        text.retain(|char| !char.is_control() && char != '*');
        text.truncate(text.floor_char_boundary(bytes_max));
        if text.is_empty() { "x".into() } else { text }
    })
}

fn topic() -> impl Strategy<Value = Topic> {
    name(limits::TOPIC_BYTES_MAX).prop_map(|text| Topic::new(&text).unwrap())
}

fn event_type() -> impl Strategy<Value = Option<EventType>> {
    option::of(name(limits::EVENT_TYPE_BYTES_MAX).prop_map(|text| EventType::new(&text).unwrap()))
}

fn id() -> impl Strategy<Value = EventId> {
    (0..=limits::ID_MS_MAX, prop_oneof![0..3_u64, 0..=limits::ID_SEQ_MAX])
        .prop_map(|(ms, seq)| EventId::new(ms, seq).unwrap())
}

fn cursor() -> impl Strategy<Value = Cursor> {
    (1..=limits::PARTITIONS_MAX, vec(option::of(id()), limits::PARTITIONS_MAX)).prop_map(|(count, ids)| {
        let partitions = Partitions::new(count).unwrap();
        let mut cursor = Cursor::empty(partitions);
        for (partition, id) in partitions.iter().zip(ids) {
            if let Some(id) = id {
                cursor.set(partition, id);
            }
        }
        cursor
    })
}

fn normalised(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

/// A frame and what a client should make of it.
#[derive(Debug, Clone)]
struct Sent {
    frame: Bytes,
    id: Option<String>,
    retry: Option<u64>,
    /// Type and data; `None` for what no script sees.
    event: Option<(String, String)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let typed = |event_type: &Option<EventType>| event_type.as_ref().map_or("message", EventType::as_str).to_owned();
    prop_oneof![
        4 => (topic(), id(), event_type(), hostile(), option::of(cursor())).prop_map(
            move |(topic, id, event_type, data, cursor)| {
                let stored = Event::new(topic, id, EventId::ZERO, event_type.clone(), &data);
                assert_eq!(stored.data(), data);
                Sent {
                    frame: cursor.map_or_else(|| stored.frame().clone(), |cursor| stored.frame_with(&cursor)),
                    id: Some(cursor.map_or_else(|| id.to_string(), |cursor| cursor.to_string())),
                    retry: None,
                    event: Some((typed(&event_type), normalised(&data))),
                }
            }
        ),
        2 => (event_type(), hostile()).prop_map(move |(event_type, data)| Sent {
            frame: sse::direct(event_type.as_ref(), &data),
            id: None,
            retry: None,
            event: Some((typed(&event_type), normalised(&data))),
        }),
        1 => (option::of(cursor()), option::of(0..u64::MAX), hostile()).prop_map(|(cursor, retry, data)| Sent {
            frame: sse::control("x", cursor.as_ref().map(|cursor| cursor as &dyn Display), retry, &data),
            id: cursor.map(|cursor| cursor.to_string()),
            retry,
            event: Some(("x".into(), normalised(&data))),
        }),
        1 => (cursor(), 0..u64::MAX, hostile(), hostile(), any::<bool>()).prop_map(
            |(cursor, retry, session, node, resumed)| Sent {
                frame: control::connected(Some(&cursor), retry, &session, &node, resumed),
                id: Some(cursor.to_string()),
                retry: Some(retry),
                event: Some((
                    "connected".into(),
                    format!(
                        r#"{{"session":{},"node":{},"resumed":{resumed}}}"#,
                        serde_json::json!(session),
                        serde_json::json!(node)
                    ),
                )),
            }
        ),
        1 => (cursor(), topic()).prop_map(|(cursor, topic)| Sent {
            event: Some(("gap".into(), format!(r#"{{"reason":"dropped","topics":[{}]}}"#, serde_json::json!(topic.as_str())))),
            frame: Gap::new(GapReason::Dropped, vec![topic]).frame(&cursor),
            id: Some(cursor.to_string()),
            retry: None,
        }),
        1 => option::of(cursor()).prop_map(|cursor| Sent {
            frame: sse::ping(cursor.as_ref().map(|cursor| cursor as &dyn Display)),
            id: cursor.map(|cursor| cursor.to_string()),
            retry: None,
            event: None,
        }),
        1 => (0..u64::MAX).prop_map(|retry| Sent { frame: sse::retry(retry), id: None, retry: Some(retry), event: None }),
    ]
}

/// What a client should know after all of it. With `dataless`, a block that has an id but no data is an event too: russe's
/// one deviation that our frames can meet.
fn expected(stream: &[Sent], dataless: bool) -> Heard {
    let mut heard = Heard::default();
    for sent in stream {
        if let Some(id) = &sent.id {
            heard.last_id.clone_from(id);
        }
        heard.retry = sent.retry.or(heard.retry);
        match &sent.event {
            Some((name, data)) => heard.events.push(event(&heard.last_id, name, data)),
            None if dataless && sent.id.is_some() => {
                heard.events.push(event(&heard.last_id, "message", ""));
            }
            None => {}
        }
    }
    heard
}

/// The bytes in chunks that end at these places, and anywhere within a character too.
fn cut<'a>(bytes: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = at.iter().map(|at| at.index(bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    ends.iter().scan(0, |start, &end| Some(&bytes[std::mem::replace(start, end)..end])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn arrives_once_whole_and_in_order(stream in vec(sent(), 1..6), at in vec(any::<Index>(), 0..8)) {
        let bytes = stream.iter().flat_map(|sent| sent.frame.clone()).collect::<Vec<_>>();
        let chunks = cut(&bytes, &at);
        let expect = expected(&stream, false);
        prop_assert_eq!(&spec(&chunks), &expect);
        prop_assert_eq!(eventsource_stream(&chunks), expect.events);
        prop_assert_eq!(russe(&chunks), expected(&stream, true));
    }

    #[test]
    fn only_our_fields_and_line_ends(sent in sent()) {
        let text = std::str::from_utf8(&sent.frame).unwrap();
        let lines = text.strip_suffix("\n\n").unwrap();
        prop_assert!(!text.contains('\r'));
        for line in lines.split('\n') {
            let ours = ["id: ", "event: ", "data: ", "retry: "].iter().any(|field| line.starts_with(field));
            prop_assert!(ours || line == ": ping", "{line:?}");
        }
    }

    #[test]
    fn a_cut_frame_commits_nothing(sent in sent(), at in any::<Index>()) {
        let Heard { events, last_id, .. } = spec(&[&sent.frame[..at.index(sent.frame.len())]]);
        prop_assert_eq!((events, last_id), (vec![], String::new()));
    }

    #[test]
    fn keeps_what_was_stored(topic in topic(), id in id(), prev in id(), event_type in event_type(), data in hostile()) {
        let stored = Event::new(topic.clone(), id, prev, event_type.clone(), &data);
        prop_assert_eq!(stored.topic(), &topic);
        prop_assert_eq!(stored.id(), id);
        prop_assert_eq!(stored.prev(), prev);
        prop_assert_eq!(stored.event_type(), event_type.as_ref());
        prop_assert_eq!(stored.data(), data.as_str());
        // With one partition the cursor is the id.
        prop_assert_eq!(&stored.frame_with(&Cursor::everywhere(Partitions::ONE, id)), stored.frame());
    }

    #[test]
    fn costs_what_it_holds(topic in topic(), data in hostile()) {
        let stored = Event::new(topic.clone(), EventId::ZERO, EventId::ZERO, None, &data);
        // Data of one line lies within the frame, any other beside it.
        let beside = if data.contains(['\r', '\n']) { data.len() } else { 0 };
        let held = topic.as_str().len() + stored.frame().len() + beside;
        prop_assert!((held..held + 512).contains(&stored.cost()), "{} for {held}", stored.cost());
    }
}

proptest! {
    /// What bounds data bounds its lines in the frame: they never take more, and never much less.
    #[test]
    fn data_weighs_what_its_lines_take(data in hostile()) {
        let frame = sse::direct(None, &data);
        let lines = frame.len() - "\n".len();
        let weight = sse::data_weight(&data) + "data: \n".len();
        prop_assert!(lines <= weight, "{lines} bytes of lines, but a weight of {weight}");
        let ends = data.bytes().filter(|byte| matches!(byte, b'\r' | b'\n')).count();
        prop_assert!(weight <= lines + ends, "a weight of {weight} for {lines} bytes of lines");
    }
}

#[test]
fn data_is_received_with_line_feeds() {
    let event = |data| Event::new(Topic::new("t").unwrap(), EventId::ZERO, EventId::ZERO, None, data);
    for (data, received) in [("a", "a"), ("a\r\nb\rc\nd", "a\nb\nc\nd"), ("\r\r\n", "\n\n"), ("", "")] {
        assert_eq!(event(data).data(), data);
        assert_eq!(event(data).received_data(), received);
    }
}
