//! Every key, once: its name, type, default, bounds and meaning. The typed structs, the reading, the messages and
//! `configs/default.toml` all come from this list.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use towncrier_http::{ForwardedBy, Network, Origin};
use towncrier_telemetry::logging;
use towncrier_wire::limits;

use super::{
    namespaces::Namespace,
    secret::{SecretText, SecretUrl},
    share::Share,
    types::{AuthMode, BackplaneKind, CookieSecure, Over, SameSite, Slow, Subscribing, typed},
    users::ConfiguredUser,
    value::{Item, Kind, Setting},
};

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its full name: `session.heartbeat`.
    pub(crate) name: &'static str,
    /// Its default, as in the environment.
    pub(crate) default: &'static str,
    /// What it means, a line each.
    pub(crate) doc: &'static [&'static str],
    /// What it takes.
    pub(crate) kind: Kind,
}

/// A group of keys with the same first part.
#[derive(Debug)]
pub(crate) struct Section {
    /// That first part.
    pub(crate) name: &'static str,
    /// What the group is about.
    pub(crate) doc: &'static [&'static str],
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

/// All keys.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> + Clone {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The key of this name.
pub(crate) fn key(name: &str) -> Option<&'static Key> {
    keys().find(|key| key.name == name)
}

macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $path:literal $section:ident: $Section:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:literal $field:ident: $type:ty = $default:literal, $kind:expr;
            )+
        }
    )+) => {
        /// Every section, in the order of `configs/default.toml`.
        pub(crate) const SECTIONS: &[Section] = &[$(Section {
            name: $path,
            doc: &[$($section_doc),+],
            keys: &[$(Key {
                name: concat!($path, ".", $key),
                default: $default,
                doc: &[$($doc),+],
                kind: $kind,
            }),+],
        }),+];

        /// A configuration that is complete and consistent.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub(crate) struct Config {
            $($(#[doc = $section_doc])+ pub(crate) $section: $Section,)+
            /// Topic prefixes with options of their own.
            pub(crate) namespaces: Vec<Namespace>,
            /// Who may log in.
            pub(crate) users: Vec<ConfiguredUser>,
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub(crate) struct $Section {
                $($(#[doc = $doc])+ pub(crate) $field: $type,)+
            }
        )+

        impl Config {
            /// The typed form of what `read` gives for each name.
            pub(crate) fn from_settings(
                read: impl Fn(&'static str) -> Setting,
                namespaces: Vec<Namespace>,
                users: Vec<ConfiguredUser>,
            ) -> Self {
                Self {
                    $($section: $Section {
                        $($field: typed(concat!($path, ".", $key), &read),)+
                    },)+
                    namespaces,
                    users,
                }
            }
        }
    };
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Most of anything a second, and at once.
const RATE_MAX: u64 = 1_000_000;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

settings! {
    /// The HTTP side.
    "http" http: Http {
        /// Where to listen. Without authentication only a loopback address is allowed: see auth.open_to_network.
        "listen" listen: SocketAddr = "127.0.0.1:8080", Kind::Address;
        /// Where to listen for TLS, with HTTP/2 for those who speak it; empty is nowhere.
        "tls_listen" tls_listen: Option<SocketAddr> = "", Kind::AddressOrNone;
        /// The certificate, and those that lead to its root: a PEM file. A new one is taken up while the hub runs.
        "tls_cert" tls_cert: Option<PathBuf> = "", Kind::Path;
        /// The certificate's private key: a PEM file.
        "tls_key" tls_key: Option<PathBuf> = "", Kind::Path;
        /// For how long browsers that came by TLS shall use nothing else (HSTS); 0s does not say so.
        "hsts" hsts: Option<Duration> = "0s", Kind::TimeOrNone(s(1), s(2 * 365 * DAY));
        /// A listener of its own for administration, publishing and metrics, which the others then do not serve; empty is none.
        "admin_listen" admin_listen: Option<SocketAddr> = "", Kind::AddressOrNone;
        /// Whether that listener speaks TLS, with the same certificate.
        "admin_tls" admin_tls: bool = "false", Kind::Flag;
        /// Authorities, one of which must have signed the certificate of whoever comes to that listener: a PEM file.
        "admin_client_ca" admin_client_ca: Option<PathBuf> = "", Kind::Path;
        /// Worker threads; 0 is one for each core.
        "workers" workers: Option<usize> = "0", Kind::Count(0, limits::WORKERS_MAX as u64);
        /// Most connections at once; more are told to come back later.
        "max_connections" max_connections: usize = "100000", Kind::Count(1, 10_000_000);
        /// Most connections at once from one address (of IPv6: from one /64); 0 is no limit but the one above.
        "max_connections_per_address" max_connections_per_address: Option<usize> = "0", Kind::Count(0, 10_000_000);
        /// Proxies that are believed when they say who a client is. Of anybody else's word nothing is believed.
        "trusted_proxies" trusted_proxies: Vec<Network> = "", Kind::List(Item::Network, 100);
        /// The header by which they say it; the other is not read, as proxies pass on what they do not set.
        "forwarded_by" forwarded_by: ForwardedBy = "x-forwarded-for", Kind::Choice(&["x-forwarded-for", "forwarded"], &[]);
        /// How long a client may take to send the head of a request.
        "request_head_timeout" request_head_timeout: Duration = "5s", Kind::Time(ms(100), s(5 * MINUTE));
        /// How long a client may take to send the body of a request.
        "request_body_timeout" request_body_timeout: Duration = "10s", Kind::Time(ms(100), s(5 * MINUTE));
        /// Longest body of a request. At least limits.data_bytes.
        "body_bytes" body_bytes: usize = "8MiB", Kind::Bytes(KIB, GIB);
        /// How long a client may leave what it was sent unacknowledged before its connection is dropped.
        "tcp_user_timeout" tcp_user_timeout: Duration = "20s", Kind::Time(ms(100), s(10 * MINUTE));
        /// The kernel's send buffer of each connection: what a slow reader may have waiting there.
        "send_buffer" send_buffer: usize = "64KiB", Kind::Bytes(4 * KIB, 16 * MIB);
        /// Whether streams without TLS are sent straight on their sockets, which costs least; otherwise as all other answers.
        "lean" lean: bool = "true", Kind::Flag;
        /// Connections that the kernel may hold until they are accepted.
        "backlog" backlog: u32 = "4096", Kind::Count(1, 65_535);
    }
    /// This process among the others.
    "node" node: Node {
        /// The name of this node, different from every other's; empty is a random one at each start.
        "id" id: Option<String> = "", Kind::Name(64);
    }
    /// What joins nodes and holds the history.
    "backplane" backplane: Backplane {
        /// Where it is: "embedded" is this process alone, its history gone when it stops; "redis" joins all nodes that use the
        /// same Redis and prefix.
        "kind" kind: BackplaneKind = "embedded", Kind::Choice(&["embedded", "redis"], &[]);
        /// Slices of all topics that are ordered by themselves.
        "partitions" partitions: usize = "1", Kind::Count(1, limits::PARTITIONS_MAX as u64);
    }
    /// The Redis of backplane.kind = "redis", 7.0 or later.
    "backplane.redis" redis: Redis {
        /// Where it is: redis://, rediss://, redis-sentinel:// or redis-cluster://, with user and password if it wants them.
        "url" url: SecretUrl = "redis://127.0.0.1:6379", Kind::Url;
        /// What all keys and channels begin with, the same on all nodes: hubs with different prefixes may share a Redis.
        "prefix" prefix: String = "towncrier", Kind::Name(64);
        /// How long an answer may take.
        "command_timeout" command_timeout: Duration = "2s", Kind::Time(ms(10), s(MINUTE));
        /// How often it is checked that everything still arrives.
        "probe_interval" probe_interval: Duration = "1s", Kind::Time(ms(100), s(MINUTE));
        /// Most bytes of its newest events that a node keeps, to give them back to a Redis that lost them; 0 keeps none.
        "heal_bytes" heal_bytes: usize = "32MiB", Kind::Bytes(0, 16 * GIB);
        /// How many replicas must have a publish before it is answered as stored; 0 is none. See docs/redis.md.
        "replicas" replicas: usize = "0", Kind::Count(0, 100);
        /// How long that may take, and no longer than half of command_timeout; then the answer is 503.
        "replica_timeout" replica_timeout: Duration = "500ms", Kind::Time(ms(10), s(MINUTE));
    }
    /// What is kept for sessions that come back.
    "history" history: History {
        /// Most events kept of each topic.
        "events" events: usize = "200", Kind::Count(1, 1_000_000);
        /// How long an event is kept.
        "age" age: Duration = "1h", Kind::Time(ms(100), s(365 * DAY));
        /// Most bytes kept by this node, over all topics.
        "bytes" bytes: usize = "256MiB", Kind::Bytes(64 * KIB, 1024 * GIB);
        /// Most topics with a history.
        "topics" topics: usize = "1000000", Kind::Count(1, 100_000_000);
    }
    /// Subscribers' connections.
    "session" session: Session {
        /// A heartbeat goes out when nothing else has for so long.
        "heartbeat" heartbeat: Duration = "15s", Kind::Time(ms(100), s(HOUR));
        /// When clients reconnect after a lost connection; each is told from 0.5 to 1.5 times of it.
        "retry" retry: Duration = "3s", Kind::Time(ms(10), s(HOUR));
        /// A session is ended after so long, to resume elsewhere; 0s is never.
        "max_lifetime" max_lifetime: Option<Duration> = "0s", Kind::TimeOrNone(ms(100), s(365 * DAY));
        /// How many bytes a session may lag behind. At least limits.data_bytes and 64KiB.
        "outbox_bytes" outbox_bytes: usize = "1MiB", Kind::Bytes(64 * KIB, GIB);
        /// How many events a session may lag behind.
        "outbox_events" outbox_events: usize = "10000", Kind::Count(1, 10_000_000);
        /// How many direct events may wait for a session.
        "direct_events" direct_events: usize = "256", Kind::Count(1, 1_000_000);
        /// What happens to a session that lags further: it is disconnected to resume from the history, or it gets the
        /// newest event of each topic and a gap that tells of the rest.
        "slow" slow: Slow = "disconnect", Kind::Choice(&["disconnect", "conflate"], &[]);
        /// Most events of its topics that a session gets live in a second, and at once after a rest; 0 is no limit. Best
        /// set for a namespace. What it resumes from the history is not counted.
        "events_per_second" events_per_second: u32 = "0", Kind::Count(0, RATE_MAX);
        /// What happens to the events beyond: they are dropped, or the newest of each topic comes as soon as the rate
        /// allows. A gap tells of the rest.
        "over_rate" over: Over = "drop", Kind::Choice(&["drop", "conflate"], &[]);
    }
    /// What a request may hold, and how often clients may come.
    "limits" limits: Limits {
        /// Longest data of an event.
        "data_bytes" data_bytes: usize = "256KiB", Kind::Bytes(1, limits::DATA_BYTES_MAX as u64);
        /// Most events of one batch.
        "batch_events" batch_events: usize = "1000", Kind::Count(1, 10_000);
        /// Most selectors of one session.
        "selectors" selectors: usize = "100", Kind::Count(1, limits::SELECTORS_MAX as u64);
        /// New streams and polls a second, in all; 0 is no limit.
        "connects_per_second" connects_per_second: u32 = "0", Kind::Count(0, RATE_MAX);
        /// How many of them at once, after a rest; 0 is those of a second.
        "connects_burst" connects_burst: u32 = "0", Kind::Count(0, RATE_MAX);
        /// New streams and polls a second from one address (of IPv6: from one /64); 0 is no limit.
        "connects_per_second_per_address" connects_per_second_per_address: u32 = "0", Kind::Count(0, RATE_MAX);
        /// How many of them at once, after a rest; 0 is those of a second.
        "connects_burst_per_address" connects_burst_per_address: u32 = "0", Kind::Count(0, RATE_MAX);
        /// Events a second that one client may publish, direct ones among them; 0 is no limit.
        "publishes_per_second_per_client" publishes_per_second_per_client: u32 = "0", Kind::Count(0, RATE_MAX);
        /// How many of them at once, after a rest, and so in one request; 0 is those of a second.
        "publishes_burst_per_client" publishes_burst_per_client: u32 = "0", Kind::Count(0, RATE_MAX);
        /// Requests a second from one address that are neither streams, polls nor probes; 0 is no limit.
        "requests_per_second_per_address" requests_per_second_per_address: u32 = "0", Kind::Count(0, RATE_MAX);
        /// How many of them at once, after a rest; 0 is those of a second.
        "requests_burst_per_address" requests_burst_per_address: u32 = "0", Kind::Count(0, RATE_MAX);
    }
    /// Publishing.
    "publish" publish: Publish {
        /// How long an idempotency key is remembered.
        "idempotency_age" idempotency_age: Duration = "10m", Kind::Time(ms(100), s(7 * DAY));
        /// How many idempotency keys are remembered; the oldest are forgotten first.
        "idempotency_keys" idempotency_keys: usize = "100000", Kind::Count(1, 100_000_000);
        /// Bytes that may wait for the backplane; more publishes are refused. At least limits.data_bytes.
        "inflight_bytes" inflight_bytes: usize = "64MiB", Kind::Bytes(KIB, 64 * GIB);
        /// How long the backplane may take before a publish has failed.
        "timeout" timeout: Duration = "5s", Kind::Time(ms(10), s(5 * MINUTE));
    }
    /// Who may do what.
    "auth" auth: Auth {
        /// "open" asks nobody who they are; "jwt" lets those in who bring a token, and only to what the token says.
        "mode" mode: AuthMode = "open", Kind::Choice(&["open", "jwt"], &[]);
        /// Whether a hub that asks nobody may listen on an address that is not loopback.
        "open_to_network" open_to_network: bool = "false", Kind::Flag;
        /// Whether topics may be subscribed to by "public", or need a "token". Publishing always needs one.
        "subscribe" subscribe: Subscribing = "token", Kind::Choice(&["token", "public"], &[]);
        /// Whether /metrics needs a "token" with admin:read, or is "public".
        "metrics" metrics: Subscribing = "token", Kind::Choice(&["token", "public"], &[]);
        /// The secret of HS256 tokens, at least 32 bytes. Logins are signed with it.
        "hs256_secret" hs256_secret: SecretText = "", Kind::Secret;
        /// The same in a file, whose last line end does not count.
        "hs256_secret_file" hs256_secret_file: Option<PathBuf> = "", Kind::Path;
        /// The secret before this one: tokens that were signed with it are still taken.
        "hs256_old_secret" hs256_old_secret: SecretText = "", Kind::Secret;
        /// Public keys of RS256, ES256 and EdDSA tokens: a PEM file, which may have several.
        "public_key" public_key: Option<PathBuf> = "", Kind::Path;
        /// A JWKS with such keys: an https:// URL. It is read again from time to time, and when a key is unknown.
        "jwks_url" jwks_url: Option<String> = "", Kind::Text(2048);
        /// Who may have made tokens (their claim iss); none is anybody who has the key.
        "issuers" issuers: Vec<String> = "", Kind::List(Item::Text, 100);
        /// Whom tokens may be for (their claim aud); with none, only those for nobody in particular.
        "audiences" audiences: Vec<String> = "", Kind::List(Item::Text, 100);
        /// How far clocks may be apart.
        "leeway" leeway: Duration = "10s", Kind::Time(ms(0), s(5 * MINUTE));
        /// Whether a token must say when it expires.
        "require_expiry" require_expiry: bool = "true", Kind::Flag;
        /// The cookie that may hold a token.
        "cookie" cookie: String = "towncrier_token", Kind::Name(64);
        /// Whether that cookie is for TLS only: "auto" is where the hub itself speaks TLS, "always" for one behind a proxy that does.
        "cookie_secure" cookie_secure: CookieSecure = "auto", Kind::Choice(&["auto", "always"], &[]);
        /// Which other sites' requests bring it: "strict", "lax" (links) or "none" (all, by TLS only).
        "cookie_same_site" cookie_same_site: SameSite = "lax", Kind::Choice(&["strict", "lax", "none"], &[]);
        /// For how long the token of a login is good; it is renewed while it is used.
        "login_lifetime" login_lifetime: Duration = "1h", Kind::Time(s(MINUTE), s(365 * DAY));
        /// After so long the password is asked for again.
        "login_max_lifetime" login_max_lifetime: Duration = "12h", Kind::Time(s(MINUTE), s(365 * DAY));
        /// Whether anybody may register, at POST /register. Accounts are kept in Redis; without one, only until the hub stops.
        "register" register: bool = "false", Kind::Flag;
        /// What those who have registered may subscribe to; {user} is their name.
        "registered_subscribe" registered_subscribe: Vec<String> = "", Kind::List(Item::Text, 100);
        /// What they may publish to.
        "registered_publish" registered_publish: Vec<String> = "", Kind::List(Item::Text, 100);
        /// How often one may try to log in to an account in a minute; four times as often from an address.
        "login_attempts" login_attempts: u32 = "5", Kind::Count(1, 10_000);
    }
    /// Payloads that leave the hub, and lie in its backplane, only sealed: as JWE (A256GCM), for those who hold a key.
    "encryption" encryption: Encryption {
        /// Whether payloads are sealed.
        "enabled" enabled: bool = "false", Kind::Flag;
        /// Keys, each an id, a colon and 32 bytes in base64, with spaces between. The first one seals; the others are only named
        /// here for as long as history has what they sealed.
        "keys" keys: SecretText = "", Kind::Secret;
        /// The same in a file, a key on each line.
        "keys_file" keys_file: Option<PathBuf> = "", Kind::Path;
    }
    /// Pages of other origins.
    "cors" cors: Cors {
        /// Origins whose pages may use the hub with their visitors' credentials; pages of others are kept from it by browsers.
        "origins" origins: Vec<Origin> = "", Kind::List(Item::Origin, 100);
    }
    /// The log, on standard error.
    "log" log: Log {
        /// A level (off, error, warn, info, debug, trace), and levels for single targets: info,towncrier_http=debug.
        "level" level: String = "info", Kind::LogFilter;
        /// "auto" is "human" on a terminal and "json" otherwise.
        "format" format: logging::Format = "auto", Kind::Choice(&["auto", "human", "json"], &[]);
        /// Most lines that one place in the program writes in a period; the rest are counted and told in one line. 0 is no
        /// limit. Lines of the audit log and of level trace are not limited.
        "repeats" repeats: u32 = "100", Kind::Count(0, 1_000_000);
        /// How long such a period is.
        "repeats_period" repeats_period: Duration = "10s", Kind::Time(ms(100), s(HOUR));
    }
    /// Traces, exported by OTLP. Requests have trace ids with or without.
    "tracing" tracing: Tracing {
        /// The collector, to whose /v1/traces spans are sent as protobuf over HTTP: http://127.0.0.1:4318. Empty is none.
        "otlp_endpoint" otlp_endpoint: String = "", Kind::Text(2048);
        /// Headers for it, such as authorization=Bearer TOKEN, with commas between.
        "otlp_headers" otlp_headers: SecretText = "", Kind::Secret;
        /// How long it may take to answer, and how long it is tried again.
        "otlp_timeout" otlp_timeout: Duration = "5s", Kind::Time(ms(100), s(MINUTE));
        /// Which share of the requests that come without a traceparent is recorded. Of the others those that say so.
        "sample_ratio" sample_ratio: Share = "0.01", Kind::Share;
        /// What the hub is called in traces.
        "service_name" service_name: String = "towncrier", Kind::Name(64);
        /// Most spans that wait for the collector; more are dropped, and counted. Memory for them is taken at the start.
        "queue" queue: usize = "4096", Kind::Count(1, 100_000);
    }
    /// Who looks whether the hub's threads and actors go on.
    "watchdog" watchdog: Watchdog {
        /// After so long without a sign of life of a thread or an actor that all need, /health and /ready answer 503.
        "stalled" stalled: Duration = "5s", Kind::Time(s(2), s(10 * MINUTE));
        /// After so long the process ends with the exit code 70, so that it is started again; 0s is never. Longer than stalled.
        "exit" exit: Option<Duration> = "30s", Kind::TimeOrNone(s(3), s(HOUR));
    }
    /// Stopping.
    "shutdown" shutdown: Shutdown {
        /// How long the hub goes on as before after SIGTERM or SIGINT, but says that it is not ready: what balancers take to notice.
        "pause" pause: Duration = "0s", Kind::Time(ms(0), s(5 * MINUTE));
        /// How many streams end in a second after that, so that the other nodes can bear those who come back.
        "ends_per_second" ends_per_second: u32 = "1000", Kind::Count(1, 1_000_000);
        /// But all of them within this time.
        "window" window: Duration = "5s", Kind::Time(ms(100), s(10 * MINUTE));
        /// How long all of it may take after the pause. The window takes at most half of it.
        "timeout" timeout: Duration = "10s", Kind::Time(ms(100), s(20 * MINUTE));
    }
}
