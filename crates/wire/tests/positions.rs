//! Event ids and cursors: their order, their clock, and texts that mean one thing only.

use proptest::{collection::vec, prelude::*, sample::Index};
use towncrier_wire::{Cursor, CursorError, EventId, EventIdError, Partitions, Start, limits};

const MS_MAX: u64 = limits::ID_MS_MAX;
const SEQ_MAX: u64 = limits::ID_SEQ_MAX;

fn id_of(ms: u64, seq: u64) -> EventId {
    EventId::new(ms, seq).unwrap()
}

/// Near each end as often as between.
fn part(max: u64) -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, max - 3..=max, 0..=max]
}

fn id() -> impl Strategy<Value = EventId> {
    (part(MS_MAX), part(SEQ_MAX)).prop_map(|(ms, seq)| id_of(ms, seq))
}

fn partitions() -> impl Strategy<Value = Partitions> {
    (1..=limits::PARTITIONS_MAX).prop_map(|count| Partitions::new(count).unwrap())
}

/// A cursor as a session has it: with one partition it always has an id.
fn cursor_in(partitions: Partitions) -> impl Strategy<Value = Cursor> {
    vec((id(), any::<bool>()), partitions.count()).prop_map(move |ids| {
        let mut cursor = Cursor::empty(partitions);
        for (partition, (id, known)) in partitions.iter().zip(ids) {
            if known || partitions == Partitions::ONE {
                cursor.set(partition, id);
            }
        }
        cursor
    })
}

fn cursor() -> impl Strategy<Value = Cursor> {
    partitions().prop_flat_map(cursor_in)
}

/// Texts near a cursor's, and any others.
fn cursor_like() -> impl Strategy<Value = String> {
    let edits = vec((any::<Index>(), 0..3, "[0-9a-zA-Z~._+é -]|\\PC"), 1..4);
    let edited = (cursor(), edits).prop_map(|(cursor, edits)| {
        edits.iter().fold(cursor.to_string(), |text, (at, kind, new)| {
            let mut chars: Vec<_> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            chars.splice(at..(at + usize::from(*kind > 0)).min(chars.len()), new.chars().filter(|_| *kind < 2));
            chars.into_iter().collect()
        })
    });
    prop_oneof![4 => edited, 1 => "[0-9a-z~-]{0,130}", 1 => "[0-9]{1,15}-[0-9]{1,8}", 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2048) })]

    #[test]
    fn ids_are_ordered_as_their_parts(a in id(), b in id()) {
        prop_assert_eq!(a.cmp(&b), (a.ms(), a.seq()).cmp(&(b.ms(), b.seq())));
        prop_assert_eq!(a.to_string().parse(), Ok(a));
        prop_assert_eq!(a.to_string(), format!("{}-{}", a.ms(), a.seq()));
    }

    #[test]
    fn ids_have_parts_within_bounds(ms: u64, seq: u64) {
        let inside = ms <= MS_MAX && seq <= SEQ_MAX;
        let parts = EventId::new(ms, seq).map(|id| (id.ms(), id.seq()));
        prop_assert_eq!(parts, inside.then_some((ms, seq)));
        prop_assert_eq!(format!("{ms}-{seq}").parse::<EventId>().is_ok(), inside);
    }

    #[test]
    fn next_is_greater_whatever_the_clock_does(mut id in id(), clock in vec(prop_oneof![part(MS_MAX), any::<u64>()], 1..20)) {
        for now_ms in clock {
            let next = id.next(now_ms);
            if id == EventId::MAX {
                prop_assert_eq!(next, id);
            } else {
                prop_assert!(next > id, "{next} after {id} at {now_ms}");
                // As new as the clock, but no newer than it must be.
                prop_assert_eq!(next, id_of(now_ms.min(MS_MAX), 0).max(id.successor()));
            }
            id = next;
        }
    }

    #[test]
    fn neighbours_have_nothing_between(id in id()) {
        let number = |id: EventId| u128::from(id.ms()) * u128::from(SEQ_MAX + 1) + u128::from(id.seq());
        let top = number(EventId::MAX);
        prop_assert_eq!(number(id.successor()), (number(id) + 1).min(top));
        prop_assert_eq!(number(id.predecessor()), number(id).saturating_sub(1));
    }

    #[test]
    fn id_texts_are_canonical(text in cursor_like()) {
        if let Ok(id) = text.parse::<EventId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn cursors_come_back(cursor in cursor()) {
        let text = cursor.to_string();
        prop_assert_eq!(Cursor::parse(&text, cursor.partitions()), Ok(cursor));
        prop_assert_eq!(Start::from_cursor(&text, cursor.partitions()), Start::After(cursor));
        prop_assert!(text.len() <= limits::CURSOR_BYTES_MAX, "{text}");
        prop_assert!(!text.is_empty());
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte)), "{text}");
    }

    #[test]
    fn cursors_of_other_hubs_are_refused(cursor in cursor(), other in partitions()) {
        let own = cursor.partitions();
        prop_assume!(own != other);
        let text = cursor.to_string();
        if own == Partitions::ONE {
            // A plain id is a point in time for each partition of any hub.
            let id = cursor.get(own.iter().next().unwrap()).unwrap();
            prop_assert_eq!(Cursor::parse(&text, other), Ok(Cursor::everywhere(other, id)));
        } else {
            prop_assert_eq!(Cursor::parse(&text, other), Err(CursorError));
            prop_assert_eq!(Start::from_cursor(&text, other), Start::Unknown);
        }
    }

    #[test]
    fn cursor_texts_are_canonical(text in cursor_like(), partitions in partitions()) {
        match (Cursor::parse(&text, partitions), text.parse()) {
            (Ok(cursor), Ok(id)) => prop_assert_eq!(cursor, Cursor::everywhere(partitions, id)),
            (Ok(cursor), Err(_)) => prop_assert_eq!(cursor.to_string(), text),
            (Err(_), Ok(id)) => prop_assert!(false, "{id} is a cursor in every hub"),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn set_and_get(cursor in cursor(), id in id(), at in any::<Index>()) {
        let at = at.index(cursor.partitions().count());
        let mut changed = cursor;
        changed.set(cursor.partitions().iter().nth(at).unwrap(), id);
        for partition in cursor.partitions().iter() {
            let expect = if partition.index() == at { Some(id) } else { cursor.get(partition) };
            prop_assert_eq!(changed.get(partition), expect);
        }
    }
}

#[test]
fn ids_at_the_ends() {
    assert_eq!(EventId::ZERO, EventId::default());
    assert_eq!(EventId::ZERO.to_string(), "0-0");
    assert_eq!(EventId::MAX.to_string(), "17592186044415-1048575");
    assert_eq!(EventId::MAX, id_of(MS_MAX, SEQ_MAX));
    assert_eq!(EventId::ZERO.predecessor(), EventId::ZERO);
    assert_eq!(EventId::MAX.successor(), EventId::MAX);
    assert_eq!(EventId::MAX.next(0), EventId::MAX);
    // A full millisecond runs over into the next.
    assert_eq!(id_of(5, SEQ_MAX).successor(), id_of(6, 0));
    assert_eq!(id_of(5, SEQ_MAX).next(5), id_of(6, 0));
    assert_eq!(id_of(6, 0).predecessor(), id_of(5, SEQ_MAX));
}

#[test]
fn next_follows_the_clock() {
    for (now_ms, expect) in [(0, "7-4"), (6, "7-4"), (7, "7-4"), (8, "8-0"), (u64::MAX, "17592186044415-0")] {
        assert_eq!(id_of(7, 3).next(now_ms).to_string(), expect, "at {now_ms}");
    }
}

#[test]
fn bad_ids() {
    for text in [
        "",
        "-",
        "0",
        "1-",
        "-1",
        "1--1",
        "1-1-1",
        "01-1",
        "1-01",
        "00-0",
        "+1-1",
        "1-+1",
        " 1-1",
        "1-1 ",
        "1 -1",
        "1-1\n",
        "1_0-1",
        "1.0-1",
        "a-1",
        "1-a",
        "0x1-1",
        "１-1",
        "١-١",
        "1\u{2212}1",
        "1-1\0",
        "17592186044416-0",
        "1-1048576",
        "18446744073709551616-0",
        "1-18446744073709551616",
        "99999999999999999999999999999999-1",
    ] {
        assert_eq!(text.parse::<EventId>(), Err(EventIdError), "{text:?}");
    }
}

/// What a cursor's text is in a hub of so many partitions: a cursor that reads so, or refused.
#[track_caller]
fn check(text: &str, partitions: usize, expect: Option<&str>) {
    let cursor = Cursor::parse(text, Partitions::new(partitions).unwrap());
    assert_eq!(cursor.map(|cursor| cursor.to_string()).ok().as_deref(), expect, "{text:?} of {partitions}");
}

#[test]
fn good_cursors() {
    for (text, partitions, expect) in [
        ("0-0", 1, "0-0"),
        ("1795161600123-0", 1, "1795161600123-0"),
        ("17592186044415-1048575", 1, "17592186044415-1048575"),
        ("1795161600123-36", 2, "2~mwoov7nf-10~mwoov7nf-10"),
        ("2~~", 2, "2~~"),
        ("2~0-0~", 2, "2~0-0~"),
        ("3~mxq4u3sb-0~~mxq4u3sc-2", 3, "3~mxq4u3sb-0~~mxq4u3sc-2"),
        ("8~~~~~~~~68hqlcqv3-mh33", 8, "8~~~~~~~~68hqlcqv3-mh33"),
    ] {
        check(text, partitions, Some(expect));
    }
}

#[test]
fn bad_cursors() {
    for (text, partitions) in [
        ("", 1),
        ("", 2),
        ("1", 1),
        ("~", 2),
        ("1~0-0", 1),
        ("1~0-0", 2),
        ("2~0-0~0-0", 1),
        // Too few, too many, another number, the number in another form.
        ("2", 2),
        ("2~0-0", 2),
        ("2~~~", 2),
        ("2~~~", 3),
        ("3~~", 2),
        ("02~~", 2),
        ("+2~~", 2),
        (" 2~~", 2),
        ("2 ~~", 2),
        ("~~", 2),
        ("9~~~~~~~~~", 8),
        // Numbers in another form, or out of bounds.
        ("2~0~", 2),
        ("2~-~", 2),
        ("2~0-~", 2),
        ("2~-0~", 2),
        ("2~00-0~", 2),
        ("2~0-00~", 2),
        ("2~+1-0~", 2),
        ("2~0--0~", 2),
        ("2~A-0~", 2),
        ("2~0-A~", 2),
        ("2~0-0-0~", 2),
        ("2~.-0~", 2),
        ("2~68hqlcqv4-0~", 2),
        ("2~zzzzzzzzz-0~", 2),
        ("2~0-mh34~", 2),
        ("2~zzzzzzzzzzzzzzzzzzzzzzzzz-0~", 2),
        ("2~0-0~\n", 2),
        ("2~0-0~ ", 2),
        ("2~é-0~", 2),
        ("2~\0~", 2),
        ("closed", 1),
        ("earliest", 2),
        ("EARLIEST", 2),
    ] {
        check(text, partitions, None);
    }
    check(&"0".repeat(limits::CURSOR_BYTES_MAX + 1), 1, None);
    check(&format!("2~~{}", "~".repeat(limits::CURSOR_BYTES_MAX)), 2, None);
}

#[test]
fn starts() {
    let two = Partitions::new(2).unwrap();
    for (text, expect) in [
        ("earliest", Start::Earliest),
        ("closed", Start::Closed),
        ("", Start::Unknown),
        ("Earliest", Start::Unknown),
        (" earliest", Start::Unknown),
        ("closed\n", Start::Unknown),
        ("live", Start::Unknown),
        ("3~~~", Start::Unknown),
        ("2~~", Start::After(Cursor::empty(two))),
        ("5-1", Start::After(Cursor::everywhere(two, id_of(5, 1)))),
    ] {
        assert_eq!(Start::from_cursor(text, two), expect, "{text:?}");
    }
}

#[test]
fn the_longest_cursor() {
    let partitions = Partitions::new(limits::PARTITIONS_MAX).unwrap();
    let text = Cursor::everywhere(partitions, EventId::MAX).to_string();
    let one = text.split('~').nth(1).unwrap();
    assert_eq!(text, format!("8{}", format!("~{one}").repeat(8)));
    assert_eq!(text.len(), 121);
}
