//! From a URL to what fred needs.
//!
//! * `redis://user:password@host:6379/0`: one Redis. `rediss://` with TLS; the system's certificate authorities are trusted.
//! * `redis-sentinel://user:password@sentinel:26379/0?sentinelServiceName=mymaster&node=other:26379`: the primary that the
//!   Sentinels name. `rediss-sentinel://` with TLS. User and password are Redis'; those of the Sentinels themselves, if they
//!   want any, are `&sentinelUsername=user&sentinelPassword=password`.
//! * `redis-cluster://user:password@node:6379?node=other:6379`: a cluster. `rediss-cluster://` with TLS.
//! * `redis+unix:///path/to/socket`: one Redis on this machine.
//!
//! Special characters of a password are percent-encoded. A user may be left out: `redis://:password@host`.

use fred::types::{
    RespVersion,
    config::{
        ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, Server, ServerConfig,
        TcpConfig, UnresponsiveConfig,
    },
};

use crate::{ConnectError, Options};

/// How many messages fred holds until our own intake has taken them, on all links together. fred makes nine channels of
/// this size for each client, all of it at once, so more would cost memory for nothing: the intake takes messages as they
/// come, and what is lost here is read again.
const MESSAGES_MAX: usize = 16_384;

/// The waits between two attempts to connect again, in ms.
const RECONNECT_MS: (u32, u32) = (100, 2000);

const SCHEMES: [&str; 7] =
    ["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster", "redis+unix"];

/// Reads a URL.
pub(crate) fn parse(url: &str) -> Result<Config, ConnectError> {
    let refuse = |why: String| ConnectError::Url(why);
    let Some((scheme, _)) = url.split_once("://") else {
        return Err(refuse("is no URL: it must look like redis://host:6379".to_owned()));
    };
    if !SCHEMES.contains(&scheme) {
        return Err(refuse(format!("has the unknown scheme '{scheme}': use one of {}", SCHEMES.join(", "))));
    }
    if scheme.ends_with("-sentinel") && !url.contains("sentinelServiceName=") {
        return Err(refuse("needs ?sentinelServiceName=, the name of the primary at the Sentinels".to_owned()));
    }
    // fred's own message would repeat the URL, and with it the password.
    let parsed = Config::from_url(url).map_err(|error| refuse(format!("cannot be read: {}", error.details())))?;
    let server = match parsed.server {
        // Whoever was asked first may be gone when the cluster is asked again.
        ServerConfig::Clustered { hosts, .. } => {
            ServerConfig::Clustered { hosts, policy: ClusterDiscoveryPolicy::UseCache }
        }
        other => other,
    };
    Ok(Config { server, version: RespVersion::RESP3, fail_fast: true, ..parsed })
}

/// The same credentials and TLS, but one server of a cluster.
pub(crate) fn at(config: &Config, server: Server) -> Config {
    Config { server: ServerConfig::Centralized { server }, ..config.clone() }
}

/// Nothing is ever sent twice: what a lost connection leaves unknown is the caller's to repeat with its key.
pub(crate) fn connection(options: &Options) -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: options.command_timeout * 2,
        internal_command_timeout: options.command_timeout * 2,
        max_command_attempts: 1,
        reconnect_on_auth_error: true,
        // A peer that is silent for so long is taken to be gone, however open its connection looks.
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(options.command_timeout * 4),
            interval: options.command_timeout,
        },
        tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
        ..ConnectionConfig::default()
    }
}

/// For a client that is one of so many links; none for the one that commands use.
pub(crate) fn performance(options: &Options, links: Option<usize>) -> PerformanceConfig {
    let mut performance =
        PerformanceConfig { default_command_timeout: options.command_timeout, ..PerformanceConfig::default() };
    if let Some(links) = links {
        performance.broadcast_channel_capacity = MESSAGES_MAX / links;
    }
    performance
}

/// For the connection that commands use. The one that messages come by has none: see `link`.
pub(crate) fn reconnect() -> ReconnectPolicy {
    let (least, most) = RECONNECT_MS;
    let mut policy = ReconnectPolicy::new_exponential(0, least, most, 2);
    policy.set_jitter(100);
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_server_or_say_what_is_wrong() {
        let config = parse("redis://user:p%40ss@example.com:7000/3").unwrap();
        assert_eq!(config.server, ServerConfig::new_centralized("example.com", 7000));
        assert_eq!((config.username.as_deref(), config.password.as_deref()), (Some("user"), Some("p@ss")));
        assert_eq!((config.database, config.tls.is_some()), (Some(3), false));
        assert!(parse("rediss://example.com").unwrap().tls.is_some());
        assert!(parse("redis-cluster://a:1?node=b:2").unwrap().server.is_clustered());
        assert_eq!(parse("redis-cluster://a:1?node=b:2").unwrap().server.hosts().len(), 2);
        assert!(parse("redis-sentinel://a:1?sentinelServiceName=m").unwrap().server.is_sentinel());

        for (url, part) in [
            ("localhost:6379", "is no URL"),
            ("http://localhost", "unknown scheme 'http'"),
            ("redis-sentinel://a:1", "sentinelServiceName"),
            ("redis://user:secret@", "cannot be read"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
