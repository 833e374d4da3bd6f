//! What nodes say to each other: one line of JSON, and behind it the encoded event where there is one. A node that does not
//! understand another's line, because one of them is of a newer version, does not answer it.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use super::question::{Question, Reply};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// The sender has just begun.
    Hello,
    /// The sender is about to end.
    Bye,
    Ask {
        /// Tells questions of one node apart.
        id: u64,
        question: Question,
    },
    Answer {
        /// Of the question.
        id: u64,
        reply: Reply,
    },
}

impl Said {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = serde_json::to_vec(self).unwrap_or_default();
        if let Self::Ask { question: Question::Send { frame, .. }, .. } = self {
            out.push(b'\n');
            out.extend_from_slice(frame);
        }
        out.into()
    }

    /// `None` if it is not understood.
    pub(crate) fn decode(payload: &Bytes) -> Option<Self> {
        let line_end = payload.iter().position(|&byte| byte == b'\n').unwrap_or(payload.len());
        let mut said = serde_json::from_slice(&payload[..line_end]).ok()?;
        if let Self::Ask { question: Question::Send { frame, .. }, .. } = &mut said {
            // A copy: the message's buffer goes when it is answered, the event stays until the slowest session has it.
            *frame = BytesMut::from(payload.get(line_end + 1..)?).freeze();
        }
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use towncrier_wire::Name;

    use super::*;
    use crate::cluster::question::Who;

    #[test]
    fn an_event_goes_beside_the_line_as_it_is() {
        let who = Who::User(Name::new("a\"b").unwrap());
        let frame = Bytes::from_static(b"event: x\ndata: {\"a\":1}\n\n");
        let said = Said::Ask { id: 7, question: Question::Send { who, frame: frame.clone() } }.encode();
        assert!(said.ends_with(&frame));
        let Some(Said::Ask { id: 7, question: Question::Send { who: Who::User(user), frame: got } }) =
            Said::decode(&said)
        else {
            panic!("{said:?}")
        };
        assert_eq!((user.as_str(), got), ("a\"b", frame));
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        for strange in [
            "",
            "{}",
            "\"sing\"",
            "{\"ask\":{\"id\":1}}",
            "{\"ask\":{\"id\":1,\"question\":{\"send\":{\"who\":\"everyone\"}}}}",
        ] {
            assert!(Said::decode(&Bytes::from_static(strange.as_bytes())).is_none(), "{strange}");
        }
        assert!(matches!(Said::decode(&Bytes::from_static(b"\"hello\"")), Some(Said::Hello)));
    }
}
