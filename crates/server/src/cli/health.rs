//! `towncrier health`: what a container's health check runs.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use clap::Args;

use super::{
    ConfigArgs,
    hub::{self, Answer},
    parse_time,
};
use crate::config;

#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The address of the hub [default: http.listen of the configuration].
    #[arg(long, value_parser = hub::parse_url)]
    url: Option<String>,
    /// Ask whether it can serve, which it cannot without its backplane or while it stops, not whether it lives.
    #[arg(long)]
    ready: bool,
    /// How long the answer may take.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_time)]
    timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum HealthError {
    #[error("{0}")]
    Config(config::Problems),
    #[error("{url}: {error}")]
    Unreachable { url: String, error: ureq::Error },
    #[error("{url}: {problem}")]
    Unwell { url: String, problem: String },
}

/// Asks once, and prints the answer.
pub(super) fn run(args: &HealthArgs) -> Result<(), HealthError> {
    let base = match &args.url {
        Some(url) => url.clone(),
        None => {
            let loaded = config::load(&args.config.files).map_err(HealthError::Config)?;
            format!("http://{}", reachable(loaded.config.http.listen))
        }
    };
    let text = ask(&base, if args.ready { "/ready" } else { "/health" }, args.timeout)?;
    println!("{text}");
    Ok(())
}

/// The answer to a probe, if it is a good one.
pub(super) fn ask(base: &str, path: &str, timeout: Duration) -> Result<String, HealthError> {
    let url = format!("{base}{path}");
    let agent = hub::agent(hub::client().timeout_global(Some(timeout)).build());
    match agent.get(&url).call().and_then(Answer::read) {
        Ok(answer) if answer.status == 200 => Ok(answer.text.trim_end().to_owned()),
        Ok(answer) => Err(HealthError::Unwell { url, problem: answer.problem() }),
        Err(error) => Err(HealthError::Unreachable { url, error }),
    }
}

/// Where a hub that listens there can be reached from its own machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(address) if address.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_listens_everywhere_is_asked_by_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), asked);
        }
    }
}
