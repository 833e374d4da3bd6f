//! `towncrier subscribe`: a tail that goes on after interruptions, from where it was.

mod print;
mod stream;

use std::{
    io::{self, Read},
    thread,
    time::Duration,
};

use clap::Args;
use serde::Deserialize;
use ureq::{
    Agent, Body,
    http::{HeaderValue, Response, header},
};

use self::{
    print::{OUTPUT, Printer, note},
    stream::{EventStream, Item, Message, StreamError},
};
use super::{
    backoff::Backoff,
    hub::{self, Answer, HubArgs},
    parse_time, signals,
};

/// The wait before a reconnect until the hub has said another.
const RETRY: Duration = Duration::from_secs(1);
/// What waits double up to.
const RETRY_MOST: Duration = Duration::from_secs(30);
/// Longest wait that a hub may ask for.
const RETRY_ASKED_MOST: Duration = Duration::from_secs(600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct SubscribeArgs {
    #[command(flatten)]
    hub: HubArgs,
    /// A topic, or a pattern such as `orders/*` or `orders/**`; repeat it for more.
    #[arg(long = "topic", value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Begin after this cursor; `earliest` begins with all that is retained.
    #[arg(long, value_parser = parse_cursor)]
    cursor: Option<String>,
    /// Begin with the newest N retained events of each topic.
    #[arg(long, value_name = "N", conflicts_with = "cursor", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    /// Print each event as a JSON object in one line: id, event, data.
    #[arg(long)]
    json: bool,
    /// Stop after N events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Reconnect when nothing at all has come for so long; heartbeats count.
    #[arg(long, value_name = "TIME", default_value = "45s", value_parser = parse_time)]
    idle_timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SubscribeError {
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error("standard output: {0}")]
    Output(io::Error),
    #[error("not subscribed: {0}")]
    Refused(String),
}

fn parse_cursor(text: &str) -> Result<String, &'static str> {
    HeaderValue::try_from(text).map(|_| text.to_owned()).map_err(|_| "must be visible ASCII")
}

/// Prints events until there are enough of them, the hub says that it is over, or a signal comes.
pub(super) fn run(mut args: SubscribeArgs) -> Result<(), SubscribeError> {
    signals::exit_on_signal(&OUTPUT).map_err(SubscribeError::Signals)?;
    let config = hub::client()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_per_read(Some(args.idle_timeout))
        .timeout_per_write(Some(args.idle_timeout))
        .build();
    let mut tail = Tail {
        agent: hub::agent(config),
        cursor: args.cursor.take(),
        retry: RETRY,
        left: args.count,
        printer: Printer::new(args.json),
        backoff: Backoff::default(),
        args,
    };
    while let Next::Reconnect(reason, asked) = tail.once()? {
        let wait = tail.backoff.next(tail.retry, RETRY_MOST).max(asked.unwrap_or_default().min(RETRY_ASKED_MOST));
        note(&format!("{reason}; reconnecting in {:.1} s", wait.as_secs_f64()));
        thread::sleep(wait);
    }
    Ok(())
}

/// What comes after a connection, or an attempt at one.
enum Next {
    /// Another, because of this, and not before the hub has asked to.
    Reconnect(String, Option<Duration>),
    Stop,
}

/// What outlives a connection.
struct Tail {
    args: SubscribeArgs,
    agent: Agent,
    /// The newest cursor.
    cursor: Option<String>,
    /// The wait that the hub asked for.
    retry: Duration,
    /// How many events are still wanted.
    left: Option<u64>,
    printer: Printer,
    backoff: Backoff,
}

impl Tail {
    /// One connection, to its end.
    fn once(&mut self) -> Result<Next, SubscribeError> {
        let response = match self.connect() {
            Ok(response) => response,
            Err(error) if hub::may_pass(&error) => {
                return Ok(Next::Reconnect(error.to_string(), None));
            }
            Err(error) => return Err(SubscribeError::Refused(error.to_string())),
        };
        match response.status().as_u16() {
            200 if is_stream(&response) => self.follow(response.into_body().into_reader()),
            200 => Err(SubscribeError::Refused("the answer is not an event stream; is this a hub?".into())),
            204 => {
                note("the hub has nothing more for this session");
                Ok(Next::Stop)
            }
            _ => match Answer::read(response) {
                Ok(answer) if hub::may_pass_status(answer.status) => {
                    Ok(Next::Reconnect(answer.problem(), answer.retry_after))
                }
                Ok(answer) => Err(SubscribeError::Refused(answer.problem())),
                Err(error) => Ok(Next::Reconnect(error.to_string(), None)),
            },
        }
    }

    fn connect(&self) -> Result<Response<Body>, ureq::Error> {
        let mut request = self.agent.get(self.args.hub.url("/events"));
        for topic in &self.args.topics {
            request = request.query("topic", topic);
        }
        match (&self.cursor, self.args.last) {
            (Some(cursor), _) => request = request.header("Last-Event-ID", cursor),
            (None, Some(last)) => request = request.query("last", last.to_string()),
            (None, None) => {}
        }
        for (name, value) in self.args.hub.headers() {
            request = request.header(name, value);
        }
        request.header(header::ACCEPT.as_str(), "text/event-stream").call()
    }

    fn follow(&mut self, body: impl Read) -> Result<Next, SubscribeError> {
        let mut stream = EventStream::new(body);
        loop {
            match stream.next() {
                Ok(Some(item)) => {
                    if let Some(next) = self.take(item)? {
                        return Ok(next);
                    }
                }
                Ok(None) => return Ok(Next::Reconnect("the stream ended".into(), None)),
                Err(StreamError::Idle) => {
                    let reason = format!("nothing came for {:.1} s", self.args.idle_timeout.as_secs_f64());
                    return Ok(Next::Reconnect(reason, None));
                }
                Err(error) => return Ok(Next::Reconnect(error.to_string(), None)),
            }
        }
    }

    /// Takes in one item; what comes after the connection if that is its end.
    fn take(&mut self, item: Item) -> Result<Option<Next>, SubscribeError> {
        let message = match item {
            Item::Retry(retry) => {
                self.retry = retry.min(RETRY_ASKED_MOST);
                return Ok(None);
            }
            Item::Checkpoint(cursor) => {
                self.cursor = Some(cursor);
                return Ok(None);
            }
            Item::Message(message) => message,
        };
        // The hub's own events: see docs/protocol.md.
        let next = match message.event.as_deref() {
            Some("connected") => {
                self.backoff.reset();
                note(&connected(&message.data));
                None
            }
            Some("heartbeat") => None,
            Some("gap") => {
                note(&gap(&message.data));
                None
            }
            Some("close") => Some(close(&message.data)),
            _ => self.show(&message)?,
        };
        if let Some(id) = message.id {
            self.cursor = Some(id);
        }
        Ok(next)
    }

    fn show(&mut self, message: &Message) -> Result<Option<Next>, SubscribeError> {
        match self.printer.print(message) {
            Ok(()) => {}
            // Whoever read this has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Some(Next::Stop)),
            Err(error) => return Err(SubscribeError::Output(error)),
        }
        self.left = self.left.map(|left| left - 1);
        Ok((self.left == Some(0)).then_some(Next::Stop))
    }
}

fn is_stream(response: &Response<Body>) -> bool {
    response.body().mime_type().is_some_and(|mime| mime.eq_ignore_ascii_case("text/event-stream"))
}

fn connected(data: &str) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Connected {
        session: String,
        node: String,
        resumed: bool,
    }

    let Connected { session, node, resumed } = serde_json::from_str(data).unwrap_or_default();
    format!("connected to node {node} as session {session}{}", if resumed { ", resumed" } else { "" })
}

fn gap(data: &str) -> String {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Gap {
        reason: String,
        topics: Vec<String>,
    }

    let Gap { reason, topics } = serde_json::from_str(data).unwrap_or_default();
    let of = if topics.is_empty() { String::new() } else { format!(" of {}", topics.join(", ")) };
    format!("gap: events{of} were lost ({reason})")
}

fn close(data: &str) -> Next {
    #[derive(Deserialize)]
    #[serde(default)]
    struct Close {
        reason: String,
        reconnect: bool,
    }

    impl Default for Close {
        fn default() -> Self {
            Self { reason: String::new(), reconnect: true }
        }
    }

    let Close { reason, reconnect } = serde_json::from_str(data).unwrap_or_default();
    if reconnect {
        return Next::Reconnect(format!("closed by the hub ({reason})"), None);
    }
    note(&format!("closed by the hub for good ({reason})"));
    Next::Stop
}
