//! From the configuration to what each part wants to know.

use std::{
    num::NonZeroU32,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use towncrier_actors::Policies;
use towncrier_core::{
    rooms::{Over, Policy, Rate, Slow},
    store::{self, Retention},
};
use towncrier_http::{Allowance, Auth, Listener, LogLevel, Proxies, RateOptions, Role, Sealing, TlsFiles};
use towncrier_telemetry::{
    Metrics,
    spans::{self, SpansError, Tracer},
};
use towncrier_wire::{Partitions, limits::WORKERS_MAX};

use crate::config::{self, Config};

/// Most bytes of events between the backplane and the bridge.
pub(super) const SIGNAL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most bytes of events between the bridge and one worker.
const WORKER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a topic is followed that nobody listens to: longer than clients take to come back.
const LINGER: Duration = Duration::from_secs(10);

/// Milliseconds since 1970.
pub(super) fn wall_clock_ms() -> u64 {
    ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn partitions(config: &Config) -> Partitions {
    Partitions::new(config.backplane.partitions).unwrap_or(Partitions::ONE)
}

pub(super) fn store(config: &Config) -> store::Options {
    let retention = Retention { events: config.history.events, age_ms: ms(config.history.age) };
    let namespaces = config.namespaces.iter().map(|namespace| {
        let own = Retention {
            events: namespace.history_events.unwrap_or(retention.events),
            age_ms: namespace.history_age.map_or(retention.age_ms, ms),
        };
        (namespace.prefix.clone(), own)
    });
    store::Options {
        partitions: partitions(config),
        retention,
        namespaces: namespaces.collect(),
        bytes_max: config.history.bytes,
        topics_max: config.history.topics,
        idempotency_age_ms: ms(config.publish.idempotency_age),
        idempotency_keys_max: config.publish.idempotency_keys,
    }
}

pub(crate) fn redis(config: &Config) -> towncrier_backplane_redis::Options {
    let store = store(config);
    let redis = &config.redis;
    towncrier_backplane_redis::Options {
        retention: store.retention,
        namespaces: store.namespaces,
        idempotency_age: config.publish.idempotency_age,
        topics_max: config.history.topics,
        command_timeout: redis.command_timeout,
        probe_interval: redis.probe_interval,
        heal_bytes: redis.heal_bytes,
        replicas: redis.replicas,
        replica_timeout: redis.replica_timeout,
        publishing_bytes_max: config.publish.inflight_bytes,
        signal_bytes_max: SIGNAL_BYTES_MAX,
        ..towncrier_backplane_redis::Options::new(redis.url.reveal(), redis.prefix.as_str(), store.partitions)
    }
}

pub(super) fn actors(config: &Config, node: String, tracer: Tracer, version: &str) -> towncrier_actors::Options {
    let slow = |slow| match slow {
        config::Slow::Disconnect => Slow::Disconnect,
        config::Slow::Conflate => Slow::Conflate,
    };
    let rate = |events: u32, over| {
        let over = match over {
            config::Over::Drop => Over::Drop,
            config::Over::Conflate => Over::Conflate,
        };
        NonZeroU32::new(events).map(|events_per_second| Rate { events_per_second, over })
    };
    let session = &config.session;
    let fallback = Policy {
        slow: slow(session.slow),
        lag_bytes: session.outbox_bytes,
        lag_events: session.outbox_events,
        rate: rate(session.events_per_second, session.over),
    };
    let namespaces = config.namespaces.iter().map(|namespace| {
        let own = Policy {
            slow: namespace.slow.map_or(fallback.slow, slow),
            lag_bytes: namespace.outbox_bytes.unwrap_or(fallback.lag_bytes),
            lag_events: fallback.lag_events,
            rate: rate(
                namespace.events_per_second.unwrap_or(session.events_per_second),
                namespace.over.unwrap_or(session.over),
            ),
        };
        (namespace.prefix.clone(), own)
    });
    let cached = config.namespaces.iter().filter_map(|own| Some((own.prefix.clone(), own.history_events?)));
    let counted = config.namespaces.iter().filter(|own| own.metrics == Some(true));
    towncrier_actors::Options {
        node,
        version: version.to_owned(),
        heartbeat: session.heartbeat,
        retry: session.retry,
        max_lifetime: session.max_lifetime.unwrap_or_default(),
        ends_per_second: config.shutdown.ends_per_second,
        end_window: config.shutdown.window.min(config.shutdown.timeout / 2),
        direct_events_max: session.direct_events,
        policies: Policies { fallback, namespaces: namespaces.collect() },
        counted_namespaces: counted.map(|own| own.prefix.clone()).collect(),
        worker_bytes_max: WORKER_BYTES_MAX,
        cache_bytes_max: config.history.bytes,
        cache_topic_events_max: config.history.events,
        cache_namespaces: cached.collect(),
        cache_topics_max: config.history.topics,
        linger: LINGER,
        publish_bytes_max: config.publish.inflight_bytes,
        publish_timeout: config.publish.timeout,
        tracer,
    }
}

/// What this node is called.
pub(super) fn node(config: &Config) -> String {
    config.node.id.clone().unwrap_or_else(random_node)
}

/// What exports spans, if anything does.
pub(super) fn tracer(config: &Config, node: &str, version: &str, metrics: &Metrics) -> Result<Tracer, SpansError> {
    let own = &config.tracing;
    if own.otlp_endpoint.is_empty() {
        return Ok(Tracer::default());
    }
    let options = spans::Options {
        endpoint: own.otlp_endpoint.clone(),
        headers: spans::parse_headers(own.otlp_headers.reveal())?,
        timeout: own.otlp_timeout,
        queue: own.queue,
        ratio: own.sample_ratio.get(),
        service: own.service_name.clone(),
        instance: node.to_owned(),
        version: version.to_owned(),
    };
    Tracer::start(&options, metrics)
}

pub(super) fn http(
    config: &Config,
    auth: Auth,
    sealing: Option<Arc<Sealing>>,
    log_level: LogLevel,
    version: &'static str,
) -> towncrier_http::Options {
    let http = &config.http;
    let cores = || available_parallelism().map_or(1, usize::from);
    let rest = if http.admin_listen.is_some() { Role::Public } else { Role::All };
    let mut listeners = vec![Listener { address: http.listen, role: rest, tls: false, client_ca: None }];
    listeners.extend(http.tls_listen.map(|address| Listener { address, role: rest, tls: true, client_ca: None }));
    listeners.extend(http.admin_listen.map(|address| Listener {
        address,
        role: Role::Admin,
        tls: http.admin_tls,
        client_ca: http.admin_client_ca.clone(),
    }));
    let tls = http.tls_cert.clone().zip(http.tls_key.clone()).map(|(cert, key)| TlsFiles { cert, key });
    towncrier_http::Options {
        listeners,
        tls,
        hsts: http.hsts.unwrap_or_default(),
        workers: http.workers.unwrap_or_else(cores).min(WORKERS_MAX),
        max_connections: http.max_connections,
        max_connections_per_address: http.max_connections_per_address,
        request_head_timeout: http.request_head_timeout,
        request_body_timeout: http.request_body_timeout,
        body_bytes: http.body_bytes,
        tcp_user_timeout: http.tcp_user_timeout,
        send_buffer: http.send_buffer,
        lean: http.lean,
        backlog: http.backlog,
        data_bytes: config.limits.data_bytes,
        batch_events: config.limits.batch_events,
        selectors: config.limits.selectors,
        shutdown_timeout: config.shutdown.timeout,
        guarded: matches!(auth, Auth::Open) && !config.auth.open_to_network,
        auth,
        sealing,
        origins: config.cors.origins.clone(),
        rates: rates(config),
        log_level,
        proxies: Proxies { networks: http.trusted_proxies.clone(), header: http.forwarded_by },
        version,
    }
}

fn rates(config: &Config) -> RateOptions {
    let limits = &config.limits;
    // A burst that is not set is what a second brings.
    let allowance = |per_second, burst| {
        let per_second = NonZeroU32::new(per_second)?;
        Some(Allowance { per_second, burst: NonZeroU32::new(burst).unwrap_or(per_second) })
    };
    let publish_namespaces = config.namespaces.iter().filter_map(|own| {
        let (per_second, burst) = match (own.publishes_per_second, own.publishes_burst) {
            (None, None) => return None,
            (Some(per_second), burst) => (per_second, burst.unwrap_or_default()),
            (None, Some(burst)) => (limits.publishes_per_second_per_client, burst),
        };
        Some((own.prefix.clone(), allowance(per_second, burst)))
    });
    RateOptions {
        connects: allowance(limits.connects_per_second, limits.connects_burst),
        connects_per_address: allowance(limits.connects_per_second_per_address, limits.connects_burst_per_address),
        publishes_per_client: allowance(limits.publishes_per_second_per_client, limits.publishes_burst_per_client),
        publish_namespaces: publish_namespaces.collect(),
        requests_per_address: allowance(limits.requests_per_second_per_address, limits.requests_burst_per_address),
    }
}

/// A name for a node that was given none.
fn random_node() -> String {
    let mut bytes = [0; 4];
    if getrandom::fill(&mut bytes).is_err() {
        bytes.fill_with(|| fastrand::u8(..));
    }
    format!("node-{:08x}", u32::from_be_bytes(bytes))
}
