//! One subscriber connection.

use std::{
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use towncrier_backplane::NodeId;
use towncrier_core::{
    Handover,
    handover::{Opening, Output, Step},
    outbox::Next,
    replay::Request,
    rooms::frames,
};
use towncrier_telemetry as telemetry;
use towncrier_wire::{CloseReason, GapReason, Name, Selectors, Start, TraceContext, TraceId, control};
use tracing::field::{DisplayValue, display};

use crate::{
    Post,
    local::{Format, Local, Shared},
    messages::{
        Attach, Attached, Drained, End, Gone, JoinAgain, Lagged, Read, Ready, Register, Replayed, Subscribe,
        Unregister, Unsubscribe,
    },
    registry::Entry,
};

/// How many frames of a replay may wait to be sent before the next page is read.
const READ_AHEAD_FRAMES: usize = 8;

/// How long a session waits before it asks a backplane again that did not answer: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// What a client asked for, already checked.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// What it listens to.
    pub selectors: Selectors,
    /// Where it starts.
    pub start: Start,
    /// Whose it is.
    pub user: Option<Name>,
    /// The address it comes from.
    pub remote: Option<IpAddr>,
    /// Whether its heartbeats are events that scripts see.
    pub heartbeat_events: bool,
    /// How long its token is good for, if that is limited: then it ends.
    pub lifetime: Option<Duration>,
    /// The trace of the request that began it: what the log says of the session names it.
    pub trace: Option<TraceContext>,
}

/// See the module. It lives until its stream is dropped or the hub ends it, and takes everything back when it is dropped
/// itself, be it by a panic.
pub struct Session {
    id: Option<Name>,
    local: Rc<Local>,
    shared: Rc<Shared>,
    /// That of the request which began it.
    trace: Option<TraceId>,
    /// Until it is live.
    beginning: Option<Box<Beginning>>,
    closed: Option<telemetry::CloseReason>,
    registered: bool,
}

/// What only the way to live needs, so that it takes no room in a session's quiet life after it.
struct Beginning {
    spec: SessionSpec,
    handover: Handover,
    next_read: Option<Request>,
    /// From its first read on.
    replay: Option<Replay>,
    retry: Duration,
}

impl Session {
    /// Starts a session on this worker thread. Polls are no sessions that anybody is told of.
    pub(crate) fn begin(local: &Rc<Local>, spec: SessionSpec, format: Format) -> Rc<Shared> {
        let shared = local.admit(format, spec.lifetime);
        let handover = Handover::new(spec.selectors.clone(), spec.start, local.hub.partitions());
        let session = Self {
            id: (format != Format::Events).then(|| new_id(local.hub.node())),
            local: local.clone(),
            shared: shared.clone(),
            trace: spec.trace.map(|trace| trace.trace_id()),
            beginning: Some(Box::new(Beginning { spec, handover, next_read: None, replay: None, retry: RETRY_FIRST })),
            closed: None,
            registered: false,
        };
        let waiting = local.metrics.mailbox_messages.of(telemetry::Actor::Session);
        shared.address.replace(Some(Post::new(session.start(), waiting)));
        shared
    }

    /// For the log.
    fn trace_id(&self) -> Option<DisplayValue<TraceId>> {
        self.trace.map(display)
    }

    fn take(&mut self, (output, step): (Output, Step), ctx: &mut Context<Self>) {
        if let Some(replay) = self.beginning.as_mut().and_then(|beginning| beginning.replay.as_mut()) {
            replay.events += output.events.len();
        }
        self.emit(output);
        match step {
            Step::Attach => self.local.rooms_address().do_send(Attach(self.shared.key)),
            Step::Join => self.local.rooms_address().do_send(JoinAgain(self.shared.key)),
            Step::Read(request) => {
                if let Some(beginning) = &mut self.beginning {
                    beginning.next_read = Some(request);
                    beginning.replay.get_or_insert_with(Replay::begin);
                }
                self.read(ctx);
            }
            Step::Live => {
                let mut beginning = self.beginning.take();
                if let Some(replay) = beginning.as_mut().and_then(|beginning| beginning.replay.take()) {
                    replay.end(&self.local.metrics);
                }
                let mut out = self.shared.out.borrow_mut();
                out.live = true;
                if let (Some(polled), Some(beginning)) = (&mut out.polled, beginning) {
                    polled.cursor = Some(beginning.handover.cursor().to_string());
                    polled.complete = true;
                }
            }
        }
        self.shared.wake();
    }

    /// Hands over to the stream what a step brought.
    fn emit(&self, output: Output) {
        for gap in &output.gaps {
            self.local.metrics.gaps.of(label(gap.reason)).inc();
        }
        self.local.metrics.replayed_events.inc_by(output.events.len() as u64);
        let mut out = self.shared.out.borrow_mut();
        if let Some(polled) = &mut out.polled {
            polled.gap = polled.gap.take().or_else(|| output.gaps.into_iter().next());
            polled.events.extend(output.events);
            polled.cursor = self.beginning.as_ref().map(|beginning| beginning.handover.cursor().to_string());
            // An answer need not wait for the next page.
            polled.complete |= !polled.events.is_empty();
            return;
        }
        if let (Some(opening), Some(id)) = (output.opening, &self.id) {
            let cursor: Option<&dyn std::fmt::Display> = match &opening {
                Opening::At(cursor) => Some(cursor),
                Opening::Earliest => Some(&Start::EARLIEST),
                Opening::Unknown => None,
            };
            let options = &self.local.options;
            let resumed = self.beginning.as_ref().is_some_and(|beginning| beginning.handover.resumed());
            out.open(control::connected(cursor, options.draw_retry_ms(), id.as_str(), &options.node, resumed));
        }
        let Some(mut cursor) = output.cursor else { return };
        output.gaps.iter().for_each(|gap| out.push(gap.frame(&cursor)));
        frames(&mut cursor, &output.events, &mut *out);
    }

    /// Asks history for the next page, once the last one is on its way to the client.
    fn read(&mut self, ctx: &mut Context<Self>) {
        {
            let mut out = self.shared.out.borrow_mut();
            let answered = out.polled.as_ref().is_some_and(|polled| polled.complete);
            if answered || out.len() > READ_AHEAD_FRAMES {
                out.tell_drained = !answered;
                return;
            }
        }
        let Some(request) = self.beginning.as_mut().and_then(|beginning| beginning.next_read.take()) else { return };
        let history = self.local.hub.history().clone();
        let page = async move { (history.send(Read(request.clone())).await, request) };
        ctx.spawn(page.into_actor(self).map(|(answer, request), session, ctx| {
            let Some(beginning) = &mut session.beginning else { return };
            if let Ok(Ok(Replayed { page, source })) = answer {
                beginning.retry = RETRY_FIRST;
                if let Some(replay) = &mut beginning.replay {
                    replay.read(source);
                }
                let next = beginning.handover.page(page);
                session.take(next, ctx);
            } else {
                // The stream stays open and gets heartbeats; nothing newer is sent before what is missing.
                beginning.next_read = Some(request);
                let wait = beginning.retry.mul_f64(0.5 + fastrand::f64());
                beginning.retry = (beginning.retry * 2).min(RETRY_MOST);
                ctx.run_later(wait, Self::read);
            }
        }));
    }

    fn end(&mut self, reason: CloseReason, ctx: &mut Context<Self>) {
        if self.closed.is_some() {
            return;
        }
        self.closed = Some(match reason {
            CloseReason::Shutdown => telemetry::CloseReason::Shutdown,
            CloseReason::Slow => telemetry::CloseReason::Slow,
            CloseReason::TokenExpired => telemetry::CloseReason::TokenExpired,
            CloseReason::MaxLifetime => telemetry::CloseReason::MaxLifetime,
            CloseReason::Disconnected => telemetry::CloseReason::Disconnected,
            CloseReason::Resync => telemetry::CloseReason::Resync,
        });
        let mut out = self.shared.out.borrow_mut();
        if let (true, Some(member)) = (out.live, self.shared.member.get()) {
            // What lies in the outbox was delivered before the end.
            let mut rooms = self.local.rooms.borrow_mut();
            while let Next::Frames { bytes, events } = rooms.next(member) {
                // Its bytes count when they are sent.
                self.local.sent.add(events, 0);
                out.push(bytes);
            }
        }
        let spread_ms = u64::try_from(self.local.retry_spread.get().as_millis()).unwrap_or(u64::MAX / 2);
        out.push(reason.frame(self.local.options.draw_retry_ms().saturating_add(fastrand::u64(0..=spread_ms))));
        out.ended = true;
        ctx.stop();
    }
}

/// What a session reads of history.
struct Replay {
    began: Instant,
    events: usize,
    /// The backplane, if any page came from there.
    source: telemetry::ReplaySource,
}

impl Replay {
    fn begin() -> Self {
        Self { began: Instant::now(), events: 0, source: telemetry::ReplaySource::Ring }
    }

    fn read(&mut self, source: telemetry::ReplaySource) {
        if source == telemetry::ReplaySource::Backplane {
            self.source = source;
        }
    }

    fn end(&self, metrics: &telemetry::Metrics) {
        metrics.replays.of(self.source).inc();
        metrics.replay_events.of(self.source).observe(self.events as f64);
        metrics.replay_seconds.of(self.source).observe_time(self.began.elapsed());
    }
}

fn label(reason: GapReason) -> telemetry::GapReason {
    match reason {
        GapReason::Expired => telemetry::GapReason::Expired,
        GapReason::BackplaneLost => telemetry::GapReason::BackplaneLost,
        GapReason::UnknownCursor => telemetry::GapReason::UnknownCursor,
        GapReason::Dropped => telemetry::GapReason::Dropped,
    }
}

/// The node's tag and 96 random bits: whoever has it knows which node to ask, and nobody can guess what others have.
fn new_id(node: NodeId) -> Name {
    let mut bytes = [0; 12];
    if getrandom::fill(&mut bytes).is_err() {
        bytes.fill_with(|| fastrand::u8(..));
    }
    let random: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Name::new(&format!("{:08x}{random}", node.tag())).unwrap_or_else(|_| unreachable!("hexadecimal digits are a name"))
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        let Some(Beginning { spec, .. }) = self.beginning.as_deref() else { return };
        let rooms = self.local.rooms_address();
        if let Some(id) = &self.id {
            self.registered = true;
            self.local.metrics.sessions_open.inc();
            self.local.metrics.sessions_opened.inc();
            let entry = Entry::new(self.shared.key, spec);
            self.local.hub.registry().do_send(Register { id: id.clone(), rooms: rooms.clone(), entry });
            let selectors = spec.selectors.iter().count();
            tracing::debug!(session = id.as_str(), trace_id = self.trace_id(), selectors, "a session has begun");
        }
        let selectors = spec.selectors.clone();
        rooms.do_send(Subscribe { session: self.shared.key, selectors });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut reason = self.closed.unwrap_or(telemetry::CloseReason::Client);
        if std::thread::panicking() {
            self.local.metrics.actor_failures.of(telemetry::Actor::Session).inc();
            reason = telemetry::CloseReason::Failed;
        }
        if let Some(id) = self.id.take().filter(|_| self.registered) {
            self.local.metrics.sessions_open.dec();
            self.local.metrics.sessions_closed.of(reason).inc();
            let reason = telemetry::Label::value(reason);
            tracing::debug!(session = id.as_str(), trace_id = self.trace_id(), reason, "a session has ended");
            self.local.hub.registry().do_send(Unregister(id));
        }
        if let Ok(mut out) = self.shared.out.try_borrow_mut() {
            out.ended = true;
            out.live = false;
        }
        self.local.rooms_address().do_send(Unsubscribe(self.shared.key));
        self.shared.wake();
    }
}

impl Handler<Ready> for Session {
    type Result = ();

    fn handle(&mut self, Ready(heads): Ready, ctx: &mut Self::Context) {
        if let Some(beginning) = &mut self.beginning {
            let next = beginning.handover.begin(&heads);
            self.take(next, ctx);
        }
    }
}

impl Handler<Attached> for Session {
    type Result = ();

    fn handle(&mut self, Attached(heads): Attached, ctx: &mut Self::Context) {
        if let Some(beginning) = &mut self.beginning {
            let next = beginning.handover.attached(&heads);
            self.take(next, ctx);
        }
    }
}

impl Handler<Lagged> for Session {
    type Result = ();

    fn handle(&mut self, _: Lagged, ctx: &mut Self::Context) {
        match &mut self.beginning {
            // It has not begun to read the outbox: it reads on in history and comes back.
            Some(beginning) => beginning.handover.detached(),
            None => {
                self.local.metrics.lagging.inc();
                self.end(CloseReason::Slow, ctx);
                self.shared.wake();
            }
        }
    }
}

impl Handler<Drained> for Session {
    type Result = ();

    fn handle(&mut self, _: Drained, ctx: &mut Self::Context) {
        self.read(ctx);
    }
}

impl Handler<Gone> for Session {
    type Result = ();

    fn handle(&mut self, _: Gone, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<End> for Session {
    type Result = ();

    fn handle(&mut self, End(reason): End, ctx: &mut Self::Context) {
        self.end(reason, ctx);
        self.shared.wake();
    }
}
