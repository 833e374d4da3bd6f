//! Reading JSON that an attacker wrote: bounded in depth and members, and no member twice.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer as _,
    de::{DeserializeSeed, Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::limits::{JSON_DEPTH_MAX, JSON_MEMBERS_MAX};

/// Why a text is not an object to look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ObjectError {
    #[error("is not a JSON object")]
    NotAnObject,
    #[error("has the same member twice")]
    Twice,
    #[error("has more than {JSON_MEMBERS_MAX} members")]
    TooMany,
}

/// Whether arrays and objects are nested deeper than allowed. Looks at the brackets only, without recursion, so it goes
/// before any parser.
pub(crate) fn too_deep(text: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// An object's members in their order, their values unread.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// Reads an object. serde_json alone would let the last of two members of the same name win, where another library lets
/// the first.
pub(crate) fn members(text: &str) -> Result<Members<'_>, ObjectError> {
    let mut problem = ObjectError::NotAnObject;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Object { problem: &mut problem });
    match (members, deserializer.end()) {
        (Ok(members), Ok(())) => Ok(members),
        _ => Err(problem),
    }
}

struct Object<'p> {
    problem: &'p mut ObjectError,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::new();
        while let Some(name) = map.next_key_seed(Name)? {
            if members.iter().any(|(other, _)| *other == name) {
                *self.problem = ObjectError::Twice;
                return Err(A::Error::custom("twice"));
            }
            if members.len() == JSON_MEMBERS_MAX {
                *self.problem = ObjectError::TooMany;
                return Err(A::Error::custom("too many"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

/// A member's name: borrowed where it has no escapes, which `Cow` by itself never is.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{ObjectError, members, too_deep};
    use crate::limits::{JSON_DEPTH_MAX, JSON_MEMBERS_MAX};

    #[test]
    fn depth_counts_brackets_outside_of_strings() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!too_deep(nested(JSON_DEPTH_MAX).as_bytes()));
        assert!(too_deep(nested(JSON_DEPTH_MAX + 1).as_bytes()));
        assert!(too_deep(&b"[".repeat(JSON_DEPTH_MAX + 1)), "never closed");
        assert!(too_deep(r#"{"a":"#.repeat(JSON_DEPTH_MAX + 1).as_bytes()));
        let text = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(1000));
        assert!(!too_deep(text.as_bytes()), "in a string, after an escaped quote");
        assert!(!too_deep("[][]{}".repeat(1000).as_bytes()), "side by side");
    }

    #[test]
    fn members_are_told_apart_after_unescaping() {
        let found = members(r#"{"a":1,"b":{"a":[2]}}"#).expect("an object");
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_ref(), value.get())).collect();
        assert_eq!(found, [("a", "1"), ("b", r#"{"a":[2]}"#)]);
        assert_eq!(members(r#"{"a":1,"\u0061":2}"#).err(), Some(ObjectError::Twice));
    }

    #[test]
    fn only_whole_objects_of_bounded_size_are_read() {
        for text in ["", "[]", "1", "null", "{", r#"{"a":}"#, r#"{"a":1}x"#, "{}{}", r#"{"a":1,}"#, "{a:1}"] {
            assert_eq!(members(text).err(), Some(ObjectError::NotAnObject), "{text}");
        }
        let many = |count| {
            let all: Vec<_> = (0..count).map(|index| format!(r#""{index}":0"#)).collect();
            format!("{{{}}}", all.join(","))
        };
        assert_eq!(members(&many(JSON_MEMBERS_MAX)).map(|found| found.len()), Ok(JSON_MEMBERS_MAX));
        assert_eq!(members(&many(JSON_MEMBERS_MAX + 1)).err(), Some(ObjectError::TooMany));
    }
}
