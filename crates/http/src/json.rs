//! JSON from publishers. Data that is JSON goes out as it came in, digit for digit, only without white space; parsing it
//! into numbers and maps and writing it again would change it.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::problem::Problem;

/// Deepest nesting of arrays and objects: what common parsers of subscribers bear.
pub(crate) const DEPTH_MAX: usize = 128;

/// The members of an object, each as it stands in the text.
#[derive(Debug)]
pub(crate) struct Object<'a>(BTreeMap<Cow<'a, str>, &'a RawValue>);

impl<'a> Object<'a> {
    /// Parses `text`, which `name` names in errors, and refuses members that are not `known`.
    pub(crate) fn parse(text: &'a str, name: &str, known: &[&str]) -> Result<Self, Problem> {
        if !text.trim_start().starts_with('{') {
            return Err(Problem::field(name, "must be a JSON object"));
        }
        check_depth(text, name)?;
        let Members(pairs) =
            serde_json::from_str(text).map_err(|error| Problem::field(name, format_args!("is not JSON: {error}")))?;
        let mut members = BTreeMap::new();
        for (key, value) in pairs {
            if members.contains_key(&key) {
                return Err(Problem::field(key.as_ref(), "is given twice"));
            }
            members.insert(key, value);
        }
        match members.keys().find(|key| !known.contains(&key.as_ref())) {
            Some(unknown) => {
                Err(Problem::field(unknown.as_ref(), format_args!("unknown, expected {}", known.join(", "))))
            }
            None => Ok(Self(members)),
        }
    }

    /// A member, unless it is absent or null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied().filter(|value| value.get() != "null")
    }

    /// Whether a member is there, be it null.
    pub(crate) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Problem> {
        self.get(name).map(|value| text(value, name)).transpose()
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<Cow<'a, str>>>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let values: Vec<&RawValue> =
            serde_json::from_str(value.get()).map_err(|_| Problem::field(name, "must be an array of strings"))?;
        let texts = values.into_iter().enumerate().map(|(index, value)| text(value, &format!("{name}[{index}]")));
        texts.collect::<Result<_, _>>().map(Some)
    }
}

/// The members of an object as they stand there, also those that stand there twice.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Members(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// A string.
pub(crate) fn text<'a>(value: &'a RawValue, name: &str) -> Result<Cow<'a, str>, Problem> {
    if !value.get().starts_with('"') {
        return Err(Problem::field(name, "must be a string"));
    }
    // Without an escape it is what stands between the quotes.
    let inner = &value.get()[1..value.get().len() - 1];
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    serde_json::from_str(value.get())
        .map(Cow::Owned)
        .map_err(|error| Problem::field(name, format_args!("is not a JSON string: {error}")))
}

/// Refuses text that is nested too deep, before anything recurses into it.
pub(crate) fn check_depth(text: &str, name: &str) -> Result<(), Problem> {
    let (mut depth, mut strings) = (0_usize, Strings::default());
    for byte in text.bytes() {
        if strings.outside(byte) {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > DEPTH_MAX {
                return Err(Problem::field(name, format_args!("is nested deeper than {DEPTH_MAX} levels")));
            }
        }
    }
    Ok(())
}

/// Valid JSON without the white space between its tokens.
pub(crate) fn compact(text: &str) -> String {
    let mut strings = Strings::default();
    let kept = text.bytes().filter(|&byte| !strings.outside(byte) || !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    // Only ASCII was taken out, and of none that belongs to a longer character.
    String::from_utf8(kept.collect()).unwrap_or_default()
}

/// Tells what lies outside of strings.
#[derive(Default)]
struct Strings {
    inside: bool,
    escaped: bool,
}

impl Strings {
    fn outside(&mut self, byte: u8) -> bool {
        let was_inside = self.inside;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.inside => self.escaped = true,
            b'"' => self.inside = !self.inside,
            _ => {}
        }
        !was_inside && !self.inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_keeps_every_token_as_it_is() {
        let compacts = [
            (
                "{ \"b\" : 1.0 ,\n\"a\":[ 1e400, 12345678901234567890123 ] }",
                r#"{"b":1.0,"a":[1e400,12345678901234567890123]}"#,
            ),
            (r#"{"a b":"c \" d \\"  , "é ":" x "}"#, r#"{"a b":"c \" d \\","é ":" x "}"#),
            (" true ", "true"),
            ("null", "null"),
        ];
        for (text, expected) in compacts {
            assert_eq!(compact(text), expected);
        }
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check_depth(&deep(DEPTH_MAX), "data").is_ok());
        assert!(check_depth(&deep(DEPTH_MAX + 1), "data").is_err());
        assert!(check_depth(&format!("\"{}\\\"{}\"", "[".repeat(1000), "[".repeat(1000)), "data").is_ok());
    }

    #[test]
    fn a_bad_object_is_told_by_name() {
        for (text, field) in [
            ("[1]", "body"),
            ("{", "body"),
            ("{\"a\":1}x", "body"),
            ("{\"b\":1}", "b"),
            ("", "body"),
            (r#"{"a":1,"a":2}"#, "a"),
        ] {
            let problem = Object::parse(text, "body", &["a"]).unwrap_err();
            assert_eq!(problem.to_json()["field"], field, "{text}");
        }
    }
}
