//! Names as JSON strings, checked when they are read: nodes tell each other of sessions and topics.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{Name, Selector, Selectors, Topic, limits::SELECTORS_MAX};

macro_rules! as_text {
    ($($name:ident),*) => {
        $(impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(D::Error::custom)
            }
        })*
    };
}

as_text!(Name, Topic, Selector);

impl Serialize for Selectors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Selectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        Self::new(texts.iter().map(String::as_str), SELECTORS_MAX).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_and_what_is_none_is_refused() {
        let selectors = Selectors::new(["orders/*", "news \"ü\""], 10).unwrap();
        let text = serde_json::to_string(&selectors).unwrap();
        assert_eq!(serde_json::from_str::<Selectors>(&text).unwrap(), selectors);
        assert_eq!(serde_json::from_str::<Topic>("\"a\\/b\"").unwrap(), Topic::new("a/b").unwrap());
        assert!(serde_json::from_str::<Topic>("\"a*\"").is_err());
        assert!(serde_json::from_str::<Name>("\"\\u0000\"").is_err());
        assert!(serde_json::from_str::<Selectors>("[]").is_err());
    }
}
