//! How a server is spoken to: paths, bodies and headers as templates. A kind of server is a set of them; `generic` takes
//! them from the command line, and there they also override what differs in an installation, such as a token.

use std::io::Write;

use crate::Error;

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// This hub
    Towncrier,
    /// The yardstick of this tool
    Floor,
    /// nginx with nchan, as `tests/bench/nchan` sets it up
    Nchan,
    /// A Mercure hub; give its token with --header
    Mercure,
    /// Centrifugo by `uni_sse`; give its key with --publish-header
    Centrifugo,
    /// Whatever --subscribe and --publish say
    Generic,
}

impl Kind {
    /// Its name on the command line and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Towncrier => "towncrier",
            Self::Floor => "floor",
            Self::Nchan => "nchan",
            Self::Mercure => "mercure",
            Self::Centrifugo => "centrifugo",
            Self::Generic => "generic",
        }
    }
}

/// What shows that a subscription is in force, so that from there on nothing may be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Opens {
    /// The event `connected`
    Event,
    /// The first block of the stream, a comment too
    Block,
    /// The head of the answer
    Head,
}

/// Templates of the command line.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Templates {
    /// Path and query of a subscription; {topics} stands for its topics
    #[arg(long, value_name = "PATH", help_heading = "Other servers")]
    pub subscribe: Option<String>,
    /// What stands for each topic there; {topic} is its name
    #[arg(long, value_name = "TEXT", help_heading = "Other servers")]
    pub topic_part: Option<String>,
    /// What stands between two topics there
    #[arg(long, value_name = "TEXT", help_heading = "Other servers")]
    pub topic_joint: Option<String>,
    /// Path and query of a publish; {topic} is the topic's name
    #[arg(long, value_name = "PATH", help_heading = "Other servers")]
    pub publish: Option<String>,
    /// Body of a publish; {topic} and {data}
    #[arg(long, value_name = "TEXT", help_heading = "Other servers")]
    pub publish_body: Option<String>,
    /// Its content type
    #[arg(long, value_name = "TYPE", help_heading = "Other servers")]
    pub publish_type: Option<String>,
    /// What shows that a subscription is in force
    #[arg(long, value_enum, help_heading = "Other servers")]
    pub opened_by: Option<Opens>,
    /// A header of every request, such as "Authorization: Bearer …"
    #[arg(long, value_name = "HEADER", help_heading = "Other servers")]
    pub header: Vec<String>,
    /// A header of every publish
    #[arg(long, value_name = "HEADER", help_heading = "Other servers")]
    pub publish_header: Vec<String>,
}

/// A server's way to be spoken to, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialect {
    subscribe: String,
    part: String,
    joint: String,
    publish: String,
    /// The body before the data, with `{topic}`, and after it.
    body: (String, String),
    content_type: String,
    /// Whole lines.
    headers: String,
    publish_headers: String,
    pub(crate) opens: Opens,
    /// Part of the body of an answer that is no success in spite of its status.
    pub(crate) refusal: Option<&'static str>,
    /// Whether a subscriber can resume with the id of the last event that it got.
    pub(crate) resumes: bool,
}

/// What a kind of server usually is.
struct Usual {
    subscribe: &'static str,
    part: &'static str,
    joint: &'static str,
    publish: &'static str,
    body: &'static str,
    content_type: &'static str,
    opens: Opens,
    refusal: Option<&'static str>,
    resumes: bool,
}

const TOWNCRIER: Usual = Usual {
    subscribe: "/events?{topics}",
    part: "topic={topic}",
    joint: "&",
    publish: "/admin/v1/publish",
    body: "{\"topic\":\"{topic}\",\"data\":\"{data}\"}",
    content_type: "application/json",
    opens: Opens::Event,
    refusal: None,
    resumes: true,
};

const NCHAN: Usual = Usual {
    subscribe: "/sub/{topics}",
    part: "{topic}",
    joint: ",",
    publish: "/pub/{topic}",
    body: "{data}",
    content_type: "text/plain",
    opens: Opens::Head,
    ..TOWNCRIER
};

const MERCURE: Usual = Usual {
    subscribe: "/.well-known/mercure?{topics}",
    publish: "/.well-known/mercure",
    body: "topic={topic}&data={data}",
    content_type: FORM,
    opens: Opens::Head,
    ..TOWNCRIER
};

const CENTRIFUGO: Usual = Usual {
    subscribe: "/connection/uni_sse?cf_connect=%7B%22subs%22%3A%7B{topics}%7D%7D",
    part: "%22{topic}%22%3A%7B%7D",
    joint: "%2C",
    publish: "/api/publish",
    body: "{\"channel\":\"{topic}\",\"data\":\"{data}\"}",
    content_type: "application/json",
    // The reply to the connect command, which comes once all of its channels are subscribed to.
    opens: Opens::Block,
    refusal: Some("\"error\""),
    // Its events have no ids.
    resumes: false,
};

const GENERIC: Usual = Usual { subscribe: "", publish: "", opens: Opens::Head, ..TOWNCRIER };

/// Bodies of this type have `+` for a space.
const FORM: &str = "application/x-www-form-urlencoded";

impl Dialect {
    /// That of a kind of server, as changed by the command line.
    ///
    /// # Errors
    /// If a template that is needed is missing or lacks its place, or a header has a line end.
    pub(crate) fn new(kind: Kind, own: &Templates) -> Result<Self, Error> {
        let usual = match kind {
            Kind::Towncrier | Kind::Floor => TOWNCRIER,
            Kind::Nchan => NCHAN,
            Kind::Mercure => MERCURE,
            Kind::Centrifugo => CENTRIFUGO,
            Kind::Generic => GENERIC,
        };
        let text = |own: &Option<String>, usual: &str| own.as_deref().unwrap_or(usual).to_owned();
        let body = text(&own.publish_body, usual.body);
        let wrong = |what: &str| Error::Options(what.to_owned());
        let (before, after) = body.split_once("{data}").ok_or_else(|| wrong("--publish-body needs {data}"))?;
        let dialect = Self {
            subscribe: text(&own.subscribe, usual.subscribe),
            part: text(&own.topic_part, usual.part),
            joint: text(&own.topic_joint, usual.joint),
            publish: text(&own.publish, usual.publish),
            body: (before.to_owned(), after.to_owned()),
            content_type: text(&own.publish_type, usual.content_type),
            headers: lines(&own.header),
            publish_headers: lines(&own.publish_header),
            opens: own.opened_by.unwrap_or(usual.opens),
            refusal: usual.refusal,
            resumes: usual.resumes,
        };
        if !dialect.subscribe.contains("{topics}") || !dialect.part.contains("{topic}") {
            return Err(wrong("--subscribe needs {topics}, and --topic-part needs {topic}"));
        }
        if !dialect.publish.starts_with('/') {
            return Err(wrong("--publish needs a path"));
        }
        if !(dialect.publish.contains("{topic}") || body.contains("{topic}")) {
            return Err(wrong("--publish or --publish-body needs {topic}"));
        }
        let single = [&dialect.subscribe, &dialect.part, &dialect.joint, &dialect.publish, &dialect.content_type];
        let headers = own.header.iter().chain(&own.publish_header);
        if single.into_iter().chain(headers).any(|text| text.contains(['\r', '\n'])) {
            return Err(wrong("a path, type or header has a line end"));
        }
        Ok(dialect)
    }

    /// The request that subscribes to `topics`, from behind the event `cursor` if there is one.
    pub(crate) fn subscribe_request<'a>(
        &self,
        host: impl std::fmt::Display,
        topics: impl Iterator<Item = String> + 'a,
        cursor: &[u8],
    ) -> Vec<u8> {
        let parts: Vec<String> = topics.map(|topic| self.part.replace("{topic}", &topic)).collect();
        let path = self.subscribe.replace("{topics}", &parts.join(&self.joint));
        let headers = &self.headers;
        let mut request =
            format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n{headers}").into_bytes();
        if !cursor.is_empty() {
            request.extend_from_slice(b"Last-Event-ID: ");
            request.extend_from_slice(cursor);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    /// Appends the request that publishes to `topic` what `write_data` appends, `size` bytes.
    pub(crate) fn publish_request(
        &self,
        out: &mut Vec<u8>,
        host: impl std::fmt::Display,
        topic: &str,
        size: usize,
        write_data: impl FnOnce(&mut Vec<u8>),
    ) {
        let path = self.publish.replace("{topic}", topic);
        let [before, after] = [&self.body.0, &self.body.1].map(|part| part.replace("{topic}", topic));
        let length = before.len() + size + after.len();
        let Self { content_type, headers, publish_headers, .. } = self;
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n{headers}{publish_headers}\r\n{before}"
        );
        let data_at = out.len();
        write_data(out);
        if content_type == FORM {
            out[data_at..].iter_mut().filter(|byte| **byte == b' ').for_each(|byte| *byte = b'+');
        }
        out.extend_from_slice(after.as_bytes());
    }
}

fn lines(headers: &[String]) -> String {
    headers.iter().flat_map(|header| [header.as_str(), "\r\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(kind: Kind, own: &Templates) -> (String, String) {
        let dialect = Dialect::new(kind, own).expect("complete");
        let topics = ["t/0", "t/1"].map(str::to_owned);
        let subscribe = dialect.subscribe_request("h:1", topics.into_iter(), b"5-0");
        let mut publish = Vec::new();
        dialect.publish_request(&mut publish, "h:1", "t/1", 3, |out| out.extend_from_slice(b"1 2"));
        (String::from_utf8(subscribe).expect("text"), String::from_utf8(publish).expect("text"))
    }

    fn publish(path: &str, content_type: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: h:1\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }

    #[test]
    fn each_kind_has_its_requests() {
        let json = "application/json";
        for (kind, path, published) in [
            (
                Kind::Towncrier,
                "/events?topic=t/0&topic=t/1",
                publish("/admin/v1/publish", json, r#"{"topic":"t/1","data":"1 2"}"#),
            ),
            (Kind::Nchan, "/sub/t/0,t/1", publish("/pub/t/1", "text/plain", "1 2")),
            (
                Kind::Mercure,
                "/.well-known/mercure?topic=t/0&topic=t/1",
                publish("/.well-known/mercure", FORM, "topic=t/1&data=1+2"),
            ),
            (
                Kind::Centrifugo,
                "/connection/uni_sse?cf_connect=%7B%22subs%22%3A%7B%22t/0%22%3A%7B%7D%2C%22t/1%22%3A%7B%7D%7D%7D",
                publish("/api/publish", json, r#"{"channel":"t/1","data":"1 2"}"#),
            ),
        ] {
            let (subscribe, publish) = requests(kind, &Templates::default());
            let head = format!("GET {path} HTTP/1.1\r\nHost: h:1\r\nAccept: text/event-stream\r\n");
            assert_eq!(subscribe, format!("{head}Last-Event-ID: 5-0\r\n\r\n"), "{kind:?}");
            assert_eq!(publish, published, "{kind:?}");
        }
    }

    #[test]
    fn templates_of_ones_own() {
        let own = Templates {
            subscribe: Some("/s/{topics}".to_owned()),
            topic_part: Some("<{topic}>".to_owned()),
            topic_joint: Some(String::new()),
            publish: Some("/p?to={topic}".to_owned()),
            publish_body: Some("={data}=".to_owned()),
            publish_type: Some("text/x".to_owned()),
            opened_by: None,
            header: vec!["A: 1".to_owned()],
            publish_header: vec!["B: 2".to_owned()],
        };
        let (subscribe, publish) = requests(Kind::Generic, &own);
        assert!(subscribe.starts_with("GET /s/<t/0><t/1> HTTP/1.1\r\n") && subscribe.contains("\r\nA: 1\r\n"));
        assert!(!subscribe.contains("B: 2"), "{subscribe}");
        assert!(publish.starts_with("POST /p?to=t/1 ") && publish.ends_with("A: 1\r\nB: 2\r\n\r\n=1 2="), "{publish}");
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let text = |text: &str| Some(text.to_owned());
        for wrong in [
            Templates::default(),
            Templates { subscribe: text("/s/{topics}"), ..Templates::default() },
            Templates { subscribe: text("/s"), publish: text("/p"), ..Templates::default() },
            Templates { publish_body: text("nothing"), ..Templates::default() },
            Templates {
                subscribe: text("/s/{topics}"),
                publish: text("/p"),
                publish_body: text("{data}"),
                ..Templates::default()
            },
        ] {
            assert!(Dialect::new(Kind::Generic, &wrong).is_err(), "{wrong:?}");
        }
        let two_lines = Templates { header: vec!["A: 1\r\nB: 2".to_owned()], ..Templates::default() };
        assert!(Dialect::new(Kind::Towncrier, &two_lines).is_err());
    }
}
