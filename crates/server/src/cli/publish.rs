//! `towncrier publish`.

use std::{
    io::{self, Read as _},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use ureq::Agent;

use super::{
    backoff::Backoff,
    hub::{self, Answer, HubArgs},
    parse_time,
};

const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    #[command(flatten)]
    hub: HubArgs,
    /// The topic; repeat it for more.
    #[arg(long = "topic", value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// The type of the event.
    #[arg(long)]
    event: Option<String>,
    /// What makes a repeated publish take effect once [default: a random one, so that the retries are safe].
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// How long to try.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    timeout: Duration,
    /// The event's data; `-` reads it from standard input.
    data: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error("standard input: {0}")]
    Input(io::Error),
    #[error("no randomness for an idempotency key: {0}")]
    Random(getrandom::Error),
    #[error("not published: {0}")]
    Refused(String),
    #[error("not known to be published: {reason} (idempotency key {key})")]
    Failed { reason: String, key: String },
}

#[derive(Debug, Serialize)]
struct Publish<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    topics: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    data: &'a str,
    idempotency_key: &'a str,
}

/// Publishes, and prints the hub's answer.
pub(super) fn run(mut args: PublishArgs) -> Result<(), PublishError> {
    if args.data == "-" {
        args.data.clear();
        io::stdin().lock().read_to_string(&mut args.data).map_err(PublishError::Input)?;
    }
    let key = match args.idempotency_key.take() {
        Some(key) => key,
        None => random_key()?,
    };
    let (topic, topics) = match args.topics.as_slice() {
        [topic] => (Some(topic.as_str()), &[][..]),
        topics => (None, topics),
    };
    let publish = Publish { topic, topics, event: args.event.as_deref(), data: &args.data, idempotency_key: &key };
    let body = serde_json::to_string(&publish).expect("strings are always JSON");
    let answer = send(&args, &body, &key)?;
    println!("{}", answer.text.trim_end());
    Ok(())
}

fn random_key() -> Result<String, PublishError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(PublishError::Random)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// Tries until the hub has said yes or no, or the time is over.
fn send(args: &PublishArgs, body: &str, key: &str) -> Result<Answer, PublishError> {
    let agent = hub::agent(hub::client().build());
    let deadline = Instant::now() + args.timeout;
    let mut backoff = Backoff::default();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let (reason, asked) = match attempt(&agent, args, body, left) {
            Ok(answer) if (200..300).contains(&answer.status) => return Ok(answer),
            Ok(answer) if hub::may_pass_status(answer.status) => (answer.problem(), answer.retry_after),
            Ok(answer) => return Err(PublishError::Refused(answer.problem())),
            Err(error) if hub::may_pass(&error) => (error.to_string(), None),
            Err(error) => return Err(PublishError::Refused(error.to_string())),
        };
        let wait = backoff.next(BACKOFF_BASE, BACKOFF_MOST).max(asked.unwrap_or_default());
        if Instant::now() + wait >= deadline {
            return Err(PublishError::Failed { reason, key: key.to_owned() });
        }
        thread::sleep(wait);
    }
}

fn attempt(agent: &Agent, args: &PublishArgs, body: &str, left: Duration) -> Result<Answer, ureq::Error> {
    let mut request = agent.post(args.hub.url("/admin/v1/publish")).content_type("application/json");
    for (name, value) in args.hub.headers() {
        request = request.header(name, value);
    }
    // A timeout of nothing at all would be reported for a connection that is about to stand.
    let left = left.max(Duration::from_millis(1));
    Answer::read(request.config().timeout_global(Some(left)).build().send(body)?)
}
