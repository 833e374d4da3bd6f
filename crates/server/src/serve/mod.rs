//! The hub itself: wiring, signals, the end.

pub(crate) mod auth;
pub(crate) mod options;
pub(crate) mod surroundings;
mod watchdog;

use std::{error::Error, sync::Arc, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use towncrier_actors::Hub;
use towncrier_backplane::{Accounts, AccountsInMemory, Embedded, Ends, Findings};
use towncrier_http::{LogLevel, Role};
use towncrier_telemetry::{
    Metrics,
    logging::{self, Log, Repeats},
    spans::Tracer,
};

use self::watchdog::Watchdog;
use crate::config::{BackplaneKind, Config};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How often the end looks whether the last stream has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How often lines that were held back are told.
const TELL_REPEATS: Duration = Duration::from_secs(1);

/// How long the collector has for the last spans, even if no time is left to stop.
const SPANS_LEAST: Duration = Duration::from_millis(500);

/// How long it may take to tell the others, once nothing is published any more.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the hub until it is told to stop.
///
/// # Errors
/// If it cannot start, or an actor that it needs ended.
pub(crate) fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    run_with(config, |_| ())
}

/// The same, and hands the hub over once it listens.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_with(config: &Config, started: impl FnOnce(&Hub)) -> Result<(), Box<dyn Error>> {
    let repeats = Repeats { lines: config.log.repeats, period: config.log.repeats_period };
    let log = logging::init(config.log.format, &config.log.level, repeats)?;
    surroundings::raise_descriptor_limit();
    // TLS of clients and of Redis use the same, whatever else is linked.
    let installed = rustls::crypto::ring::default_provider().install_default();
    installed.map_err(|_| "another provider of cryptography is installed")?;
    let served = actix_rt::System::new().block_on(serve(config, &log, started));
    log.finish();
    served
}

async fn serve(config: &Config, log: &Log, started: impl FnOnce(&Hub)) -> Result<(), Box<dyn Error>> {
    // Before anything listens, so that a signal can never kill a hub that has clients.
    let mut signals = Signals::new()?;
    let metrics = Arc::new(Metrics::new(VERSION));
    let (ends, accounts) = join(config).await?;
    let auth = auth::auth(config, accounts)?;
    let node = options::node(config);
    let tracer = options::tracer(config, &node, VERSION, &metrics).map_err(|error| format!("tracing: {error}"))?;
    let hub = Hub::start(options::actors(config, node, tracer.clone(), VERSION), ends, metrics);
    actix_rt::spawn(tell_repeats(log.clone()));
    let log_level = LogLevel::new(log.clone());
    let server = towncrier_http::bind(options::http(config, auth, auth::sealing(config)?, log_level, VERSION), &hub)?;
    surroundings::tell(&Findings { findings: surroundings::machine(config), ..Findings::default() });
    tracing::info!(node = hub.options().node, version = VERSION, "ready");
    for (listener, address) in server.addresses() {
        let scheme = if listener.tls { "https" } else { "http" };
        match listener.role {
            Role::Admin => tracing::info!(%address, "listening for administration at {scheme}://{address}/admin/v1"),
            Role::All | Role::Public => tracing::info!(%address, "listening, try {scheme}://{address}/"),
        }
    }

    let handle = server.handle();
    let mut running = actix_rt::spawn(server.run());
    let watchdog = Watchdog::start(&hub, config.watchdog.stalled, config.watchdog.exit)?;
    started(&hub);
    tokio::select! {
        name = signals.next() => tracing::info!(signal = name, "stopping"),
        () = hub.drain_requested() => tracing::info!("stopping, as an administrator asked"),
        actor = hub.failed() => {
            hub.end_sessions_now();
            // What is left of the hub gets a moment to end its streams; clients resume elsewhere.
            sleep(Duration::from_millis(200)).await;
            return Err(format!("the {actor} actor ended, so the hub cannot go on").into());
        }
        ended = &mut running => {
            ended??;
            return Err("the server ended by itself".into());
        }
    }

    // From here on `shutdown.timeout` holds: workers end one after the other, and that is as it should be.
    drop(watchdog);
    hub.begin_pause();
    let deadline = Instant::now() + config.shutdown.pause + config.shutdown.timeout;
    let stop = async {
        sleep(config.shutdown.pause).await;
        drain(&hub, config.shutdown.timeout).await;
        handle.stop(true).await;
    };
    tokio::select! {
        stopped = timeout(config.shutdown.pause + config.shutdown.timeout, stop) => {
            if stopped.is_err() {
                tracing::warn!("some connections did not end in time");
            }
            if timeout(LEAVE_TIMEOUT, hub.take_leave()).await.is_err() {
                tracing::warn!("the other nodes were not told in time that this one ends");
            }
            let left = deadline.saturating_duration_since(Instant::now()).max(SPANS_LEAST);
            tokio::select! {
                () = last_spans(tracer, left) => {}
                name = signals.next() => tracing::warn!(signal = name, "stopping at once"),
            }
        }
        name = signals.next() => tracing::warn!(signal = name, "stopping at once"),
    }
    hub.stop();
    tracing::info!("stopped");
    Ok(())
}

/// This node's ends of the hub that the configuration wants, and where accounts are kept.
async fn join(config: &Config) -> Result<(Ends, Arc<dyn Accounts>), Box<dyn Error>> {
    Ok(match config.backplane.kind {
        BackplaneKind::Embedded => {
            let clock = Arc::new(options::wall_clock_ms);
            let (backplane, signals) = Embedded::new(options::store(config), options::SIGNAL_BYTES_MAX, clock);
            (Ends::alone(Arc::new(backplane), signals), Arc::new(AccountsInMemory::default()) as Arc<dyn Accounts>)
        }
        BackplaneKind::Redis => {
            tracing::info!(url = %config.redis.url, prefix = config.redis.prefix, "joining the hub in Redis");
            let (backplane, signals) = towncrier_backplane_redis::connect(options::redis(config)).await?;
            actix_rt::spawn(surroundings::watch(backplane.surroundings()));
            let (peers, messages) = backplane.peers();
            let accounts = Arc::new(backplane.accounts());
            (Ends { backplane: Arc::new(backplane), signals, peers: Arc::new(peers), messages }, accounts)
        }
    })
}

/// Ends every stream, and waits for their clients to get the end, but leaves time for the connections to close.
async fn drain(hub: &Hub, within: Duration) {
    let deadline = Instant::now() + within * 3 / 4;
    hub.begin_drain();
    hub.end_sessions();
    while hub.metrics().sessions_open.get() > 0 && Instant::now() < deadline {
        sleep(DRAIN_LOOK).await;
    }
}

/// Exports what was recorded last. On a thread of its own, for it blocks.
async fn last_spans(tracer: Tracer, within: Duration) {
    let (sender, finished) = oneshot::channel();
    std::thread::spawn(move || {
        tracer.finish(within);
        let _ = sender.send(());
    });
    let _ = finished.await;
}

/// Tells of lines that came again and again, also when no more come.
async fn tell_repeats(log: Log) {
    loop {
        sleep(TELL_REPEATS).await;
        log.tell_repeats();
    }
}

/// The signals that end the hub.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
