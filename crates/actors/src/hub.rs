//! A hub: its actors, started and wired.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Arbiter};
use slab::Slab;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use towncrier_backplane::{BackplaneError, Ends, NodeId, Published};
use towncrier_core::{Cache, Rooms as RoomsCore, cache};
use towncrier_telemetry::{Actor as ActorLabel, Metrics, Namespaces, Part};
use towncrier_wire::{CloseReason, NewEvent, Partitions};

use crate::{
    Bridge, Cluster, History, Options, Post, Registry, Rooms, Session, SessionSpec, SessionStream, Watch,
    fatal::{Fatal, Vital},
    local::{Format, Local},
    messages::{EndAll, EndSessions, Publish},
    pulse::BEAT,
    timing::Timing,
    trace,
};

/// Why a publish was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Too many bytes wait for the backplane already. Nothing was done.
    #[error("too much is being published")]
    Overloaded,
    /// The backplane did not take it.
    #[error(transparent)]
    Backplane(#[from] BackplaneError),
}

/// A hub. Cheap to clone, to be given to each worker thread.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    number: u64,
    options: Arc<Options>,
    metrics: Arc<Metrics>,
    namespaces: Arc<Namespaces>,
    partitions: Partitions,
    bridge: Post<Bridge>,
    history: Post<History>,
    registry: Post<Registry>,
    cluster: Post<Cluster>,
    node: NodeId,
    fatal: Arc<Fatal>,
    workers: Mutex<Vec<Post<Rooms>>>,
    in_flight: Arc<InFlight>,
    pausing: AtomicBool,
    drain: Notify,
    arbiters: Vec<Arbiter>,
}

/// A hub on one worker thread. Not to leave it.
#[derive(Clone)]
pub struct Worker {
    local: Rc<Local>,
}

thread_local! {
    static WORKERS: RefCell<HashMap<u64, Worker>> = RefCell::new(HashMap::new());
}

static HUBS: AtomicU64 = AtomicU64::new(0);

impl Hub {
    /// Starts the actors on threads of their own. An actix system must be running. This thread, on which the backplane may
    /// have its connections, is watched like them.
    #[must_use]
    pub fn start(options: Options, ends: Ends, metrics: Arc<Metrics>) -> Self {
        let Ends { backplane, signals, peers, messages } = ends;
        let options = Arc::new(options);
        let partitions = backplane.partitions();
        let fatal = Fatal::new(metrics.clone());
        actix_rt::spawn(beat(fatal.clone()));
        let bridge_thread = Arbiter::new();
        let history_thread = Arbiter::new();
        let registry_thread = Arbiter::new();
        let waiting = |actor| metrics.mailbox_messages.of(actor).clone();

        let history = {
            let cache = cache::Options {
                partitions,
                topic_events_max: options.cache_topic_events_max,
                namespaces: options.cache_namespaces.clone(),
                bytes_max: options.cache_bytes_max,
                topics_max: options.cache_topics_max,
            };
            let (backplane, metrics) = (backplane.clone(), metrics.clone());
            let vital = Vital::new(ActorLabel::History, &fatal);
            History::start_in_arbiter(&history_thread.handle(), move |_| {
                History::new(backplane, Cache::new(cache), metrics, vital)
            })
        };
        let history = Post::new(history, &waiting(ActorLabel::History));
        let bridge = {
            let (history, options, metrics) = (history.clone(), options.clone(), metrics.clone());
            let vital = Vital::new(ActorLabel::Bridge, &fatal);
            Bridge::start_in_arbiter(&bridge_thread.handle(), move |_| {
                Bridge::new(backplane, signals, history, options, metrics, vital)
            })
        };
        let bridge = Post::new(bridge, &waiting(ActorLabel::Bridge));
        let registry = {
            let (metrics, vital) = (metrics.clone(), Vital::new(ActorLabel::Registry, &fatal));
            let name = options.node.clone();
            Registry::start_in_arbiter(&registry_thread.handle(), move |_| Registry::new(name, metrics, vital))
        };
        let registry = Post::new(registry, &waiting(ActorLabel::Registry));
        let node = peers.node();
        let cluster = {
            let (metrics, vital) = (metrics.clone(), Vital::new(ActorLabel::Cluster, &fatal));
            let (actors, own) = ((registry.clone(), history.clone()), (options.node.clone(), options.version.clone()));
            Cluster::start_in_arbiter(&registry_thread.handle(), move |_| {
                Cluster::new(peers, messages, actors, own, metrics, vital)
            })
        };
        let cluster = Post::new(cluster, &waiting(ActorLabel::Cluster));
        let namespaces = Arc::new(metrics.namespaces(&options.counted_namespaces));
        let in_flight = Arc::new(InFlight { bytes: AtomicUsize::new(0), metrics: metrics.clone() });
        let inner = Inner {
            number: HUBS.fetch_add(1, Ordering::Relaxed),
            options,
            metrics,
            namespaces,
            partitions,
            bridge,
            history,
            registry,
            cluster,
            node,
            fatal,
            workers: Mutex::new(Vec::new()),
            in_flight,
            pausing: AtomicBool::new(false),
            drain: Notify::new(),
            arbiters: vec![bridge_thread, history_thread, registry_thread],
        };
        Self { inner: Arc::new(inner) }
    }

    /// This thread's part of the hub, made at the first call.
    #[must_use]
    pub fn worker(&self) -> Worker {
        WORKERS.with_borrow_mut(|workers| workers.entry(self.inner.number).or_insert_with(|| self.new_worker()).clone())
    }

    fn new_worker(&self) -> Worker {
        let local = Rc::new(Local {
            hub: self.clone(),
            address: OnceCell::new(),
            options: self.inner.options.clone(),
            metrics: self.inner.metrics.clone(),
            rooms: RefCell::new(RoomsCore::new(self.inner.partitions)),
            sessions: RefCell::new(Slab::new()),
            tick: Default::default(),
            generation: Default::default(),
            retry_spread: Default::default(),
            sent: Default::default(),
            timing: Timing::new(&self.inner.metrics, self.inner.namespaces.clone()),
            reported: Default::default(),
        });
        let vital = Vital::new(ActorLabel::Rooms, &self.inner.fatal);
        let rooms = Rooms::new(local.clone(), self.inner.bridge.clone(), vital).start();
        let rooms = Post::new(rooms, self.inner.metrics.mailbox_messages.of(ActorLabel::Rooms));
        self.workers().push(rooms.clone());
        let _ = local.address.set(rooms);
        Worker { local }
    }

    pub(crate) fn workers(&self) -> std::sync::MutexGuard<'_, Vec<Post<Rooms>>> {
        self.inner.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this hub was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Where it counts.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// The counters of the namespaces that have some.
    #[must_use]
    pub fn namespaces(&self) -> &Namespaces {
        &self.inner.namespaces
    }

    /// How many partitions its topics are spread over.
    #[must_use]
    pub fn partitions(&self) -> Partitions {
        self.inner.partitions
    }

    /// The owner of the backplane.
    #[must_use]
    pub fn bridge(&self) -> &Post<Bridge> {
        &self.inner.bridge
    }

    /// What can be read of the past.
    #[must_use]
    pub fn history(&self) -> &Post<History> {
        &self.inner.history
    }

    /// Who is connected to this node.
    #[must_use]
    pub fn registry(&self) -> &Post<Registry> {
        &self.inner.registry
    }

    pub(crate) fn cluster(&self) -> &Post<Cluster> {
        &self.inner.cluster
    }

    /// This node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Stores events, each for itself; the answers are in their order. What is stored is delivered.
    pub async fn publish(&self, mut events: Vec<NewEvent>) -> Vec<Result<Published, PublishError>> {
        let count = events.len();
        let bytes = events.iter().map(NewEvent::cost).sum();
        let Some(waiting) = self.inner.in_flight.enter(bytes, self.inner.options.publish_bytes_max) else {
            return vec![Err(PublishError::Overloaded); count];
        };
        let mut span = trace::store(&self.inner.options.tracer, &mut events);
        let publish = Publish { events, waiting, span: tracing::Span::current() };
        let answers = timeout(self.inner.options.publish_timeout, self.inner.bridge.send(publish)).await;
        let failed = match answers {
            Ok(Ok(answers)) => {
                if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
                    span.fail(error.to_string());
                }
                return answers.into_iter().map(|answer| Ok(answer?)).collect();
            }
            Ok(Err(_)) => BackplaneError::Unavailable,
            Err(_) => BackplaneError::TimedOut,
        };
        span.fail(failed.to_string());
        vec![Err(failed.into()); count]
    }

    /// Resolves with the name of the first actor that ended while it should not: the process must end.
    pub async fn failed(&self) -> &'static str {
        self.inner.fatal.failed().await
    }

    /// Who is to look, from time to time, whether the threads and actors that everything needs go on; one that does not for
    /// `stalled` is named by [`Hub::stalled`]. There can be one who looks.
    #[must_use]
    pub fn watch(&self, stalled: Duration) -> Watch {
        Watch::new(self.inner.fatal.pulses().clone(), self.inner.metrics.clone(), stalled)
    }

    /// What stands still, as whoever watches saw it last: names such as `worker 1` and `the bridge`.
    #[must_use]
    pub fn stalled(&self) -> Vec<String> {
        self.inner.fatal.pulses().stalled()
    }

    /// From now on the hub is not ready, so that balancers send clients elsewhere; whoever comes is still let in.
    pub fn begin_pause(&self) {
        self.inner.pausing.store(true, Ordering::Release);
    }

    /// Whether the hub wants to be sent clients.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.inner.pausing.load(Ordering::Acquire) || self.is_draining()
    }

    /// Asks for the end of the process, in good order.
    pub fn request_drain(&self) {
        self.inner.drain.notify_one();
    }

    /// Resolves once somebody has asked for that.
    pub async fn drain_requested(&self) {
        self.inner.drain.notified().await;
    }

    /// From now on no session should be started.
    pub fn begin_drain(&self) {
        self.inner.fatal.stop();
    }

    /// Whether the hub is stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.fatal.is_stopping()
    }

    /// Ends every stream, each with what was published before, a `close` and a reconnection time of its own.
    pub fn end_sessions(&self) {
        self.inner.bridge.do_send(EndAll(CloseReason::Shutdown));
    }

    /// The same without regard to what was published: for a hub that has lost one of its actors.
    pub fn end_sessions_now(&self) {
        for rooms in self.workers().iter() {
            rooms.do_send(EndSessions { sessions: None, reason: CloseReason::Shutdown });
        }
    }

    /// Stops the actors' threads; to be called when nothing uses the hub any more.
    pub fn stop(&self) {
        self.inner.fatal.stop();
        for arbiter in &self.inner.arbiters {
            arbiter.stop();
        }
    }
}

/// Shows that this thread goes on.
async fn beat(fatal: Arc<Fatal>) {
    let pulse = fatal.pulses().add(Part::Main);
    while !fatal.is_stopping() {
        pulse.beat();
        sleep(BEAT).await;
    }
}

impl Worker {
    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.local.hub
    }

    #[cfg(feature = "faults")]
    pub(crate) fn rooms(&self) -> &Post<Rooms> {
        self.local.rooms_address()
    }

    /// Starts a session, whose frames the stream gives.
    #[must_use]
    pub fn subscribe(&self, spec: SessionSpec) -> SessionStream {
        let format = if spec.heartbeat_events { Format::SseWithHeartbeatEvents } else { Format::Sse };
        self.open(spec, format)
    }

    pub(crate) fn open(&self, spec: SessionSpec, format: Format) -> SessionStream {
        let shared = Session::begin(&self.local, spec, format);
        SessionStream::new(self.local.clone(), shared)
    }
}

/// Bytes of publishes that wait for the backplane.
#[derive(Debug)]
struct InFlight {
    bytes: AtomicUsize,
    metrics: Arc<Metrics>,
}

/// The bytes of one publish, as long as it waits for the backplane.
#[derive(Debug)]
pub(crate) struct Waiting {
    all: Arc<InFlight>,
    bytes: usize,
}

impl InFlight {
    fn enter(self: &Arc<Self>, bytes: usize, max: usize) -> Option<Waiting> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let waiting = Waiting { all: self.clone(), bytes };
        self.metrics.publish_inflight_bytes.set(i64::try_from(before + bytes).unwrap_or(i64::MAX));
        (before + bytes <= max).then_some(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let before = self.all.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.all.metrics.publish_inflight_bytes.set(i64::try_from(before - self.bytes).unwrap_or(i64::MAX));
    }
}
