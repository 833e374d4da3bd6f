//! Labels with a closed list of values, and metrics that are resolved for each value beforehand.

use std::{fmt, marker::PhantomData};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder},
    metrics::{counter::Counter, family::Family},
};

use crate::{histogram::Histogram, metrics::Gauge};

/// A label whose values are the variants of an enum, so that the number of time series is known at compile time.
pub trait Label: Copy + fmt::Debug + 'static {
    /// The name of the label.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// The value as it stands in the exposition.
    fn value(self) -> &'static str;
    /// The position in [`Label::ALL`].
    fn index(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident($label:literal) { $($(#[$variant_doc:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn value(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label! {
    /// Why a session ended: the reasons of the `close` event, and those that the client cannot be told.
    CloseReason("reason") {
        /// The client went away.
        Client = "client",
        /// Writing to the client failed: reset, or no acknowledgement within `http.tcp_user_timeout`.
        Unreachable = "unreachable",
        /// The hub is stopping.
        Shutdown = "shutdown",
        /// The session lagged past its outbox's bound.
        Slow = "slow",
        /// `session.max_lifetime` has passed.
        MaxLifetime = "max_lifetime",
        /// The token that it came with has expired.
        TokenExpired = "token_expired",
        /// An administrator ended it for good.
        Disconnected = "disconnected",
        /// The hub lost track of what the session had and has it resume.
        Resync = "resync",
        /// A fault of the hub.
        Failed = "failed",
    }
}

label! {
    /// What became of a publish.
    PublishResult("result") {
        /// Stored in the backplane.
        Stored = "stored",
        /// Its idempotency key had been seen.
        Duplicate = "duplicate",
        /// The request was bad, or a limit was hit.
        Refused = "refused",
        /// The backplane did not take it.
        Failed = "failed",
    }
}

label! {
    /// Where replayed events came from.
    ReplaySource("source") {
        /// This node's own ring.
        Ring = "ring",
        /// The backplane's history.
        Backplane = "backplane",
    }
}

label! {
    /// The reasons of the `gap` event.
    GapReason("reason") {
        /// Older than the history holds.
        Expired = "expired",
        /// The backplane lost its history.
        BackplaneLost = "backplane_lost",
        /// The client's cursor means nothing here.
        UnknownCursor = "unknown_cursor",
        /// A policy dropped events.
        Dropped = "dropped",
    }
}

label! {
    /// Why events were not delivered to a session that wanted them.
    DropReason("reason") {
        /// The session lagged and was disconnected to resume from history.
        Slow = "slow",
        /// The session lagged and only the newest event of each topic was kept.
        Conflated = "conflated",
        /// More came in a second than a session may get.
        OverRate = "over_rate",
        /// The session's queue of direct events was full.
        DirectFull = "direct_full",
        /// A worker thread was too far behind to be handed more.
        WorkerBehind = "worker_behind",
        /// The backplane lost events that sessions had been waiting for: counted once each time, as nobody knows how many.
        BackplaneLost = "backplane_lost",
    }
}

label! {
    /// Why a connection was refused.
    RefusedReason("reason") {
        /// `http.max_connections` was reached.
        Total = "total",
        /// `http.max_connections_per_address` was reached.
        Address = "address",
        /// `limits.connects_per_second` was reached.
        Rate = "rate",
        /// `limits.connects_per_second_per_address` was reached.
        AddressRate = "address_rate",
        /// The hub is stopping.
        Draining = "draining",
        /// Its token could not be checked, as the keys are away.
        Unjudged = "unjudged",
    }
}

label! {
    /// What became of a request's token.
    AuthResult("result") {
        /// It is valid.
        Accepted = "accepted",
        /// There was none.
        None = "none",
        /// It is no token, or one that is too long or too deep.
        Malformed = "malformed",
        /// Its algorithm is not one of ours.
        Algorithm = "algorithm",
        /// Nobody knows its key.
        UnknownKey = "unknown_key",
        /// The keys could not be read.
        KeysUnavailable = "keys_unavailable",
        /// Somebody else signed it.
        Signature = "signature",
        /// Its claims are not what they must be.
        Claims = "claims",
        /// It has expired.
        Expired = "expired",
        /// It is not valid yet.
        NotYetValid = "not_yet_valid",
        /// It is somebody else's.
        Issuer = "issuer",
        /// It is for somebody else.
        Audience = "audience",
        /// It is valid, and its bearer may not do what was asked.
        Forbidden = "forbidden",
    }
}

label! {
    /// The limits that clients can hit.
    Limit("limit") {
        /// `http.max_connections`.
        Connections = "connections",
        /// `http.max_connections_per_address`.
        ConnectionsPerAddress = "connections_per_address",
        /// `limits.connects_per_second`.
        Connects = "connects",
        /// `limits.connects_per_second_per_address`.
        ConnectsPerAddress = "connects_per_address",
        /// `limits.publishes_per_second_per_client`.
        Publishes = "publishes",
        /// `limits.requests_per_second_per_address`.
        Requests = "requests",
    }
}

label! {
    /// The kinds of actors.
    Actor("actor") {
        /// One subscriber connection.
        Session = "session",
        /// One worker's rooms and cohorts.
        Rooms = "rooms",
        /// The rings of encoded events.
        History = "history",
        /// Who is connected to this node.
        Registry = "registry",
        /// The other nodes.
        Cluster = "cluster",
        /// The owner of the backplane.
        Bridge = "bridge",
    }
}

label! {
    /// What must go on.
    Part("part") {
        /// A thread that holds connections.
        Worker = "worker",
        /// The owner of the backplane.
        Bridge = "bridge",
        /// The rings of encoded events.
        History = "history",
        /// Who is connected to this node.
        Registry = "registry",
        /// The other nodes.
        Cluster = "cluster",
        /// The thread of signals, and of the connections to Redis.
        Main = "main",
    }
}

label! {
    /// What is asked of the backplane.
    Operation("operation") {
        /// Events to be stored.
        Publish = "publish",
        /// History of a topic.
        Read = "read",
        /// Selectors to be followed.
        Join = "join",
        /// What it holds in all, once a second: also shows that it answers.
        Probe = "probe",
    }
}

/// One metric for each value of a label.
///
/// All of them exist from the start: a scrape shows zeros rather than absent series, and counting takes neither a lock
/// nor a look-up.
#[derive(Clone, Debug)]
pub struct Each<L, M> {
    by_index: Box<[M]>,
    label: PhantomData<L>,
}

/// One counter for each value of a label.
pub type Counters<L> = Each<L, Counter>;

/// One gauge for each value of a label.
pub type Gauges<L> = Each<L, Gauge>;

/// One distribution for each value of a label.
pub type Histograms<L> = Each<L, Histogram>;

/// Metrics by a label.
pub(crate) type LabelFamily<M> = Family<LabelSet, M, fn() -> M>;

impl<L: Label, M: Clone> Each<L, M> {
    /// The metric for `value`.
    #[must_use]
    pub fn of(&self, value: L) -> &M {
        &self.by_index[value.index()]
    }

    pub(crate) fn new(make: fn() -> M) -> (Self, LabelFamily<M>) {
        let family = LabelFamily::new_with_constructor(make);
        let by_index = L::ALL
            .iter()
            .map(|value| family.get_or_create_owned(&LabelSet { name: L::NAME, value: value.value() }))
            .collect();
        (Self { by_index, label: PhantomData }, family)
    }
}

impl<L: Label> Counters<L> {
    /// The sum over all values of the label.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_index.iter().map(Counter::get).sum()
    }
}

/// A single label, both sides of which are in the program's text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LabelSet {
    name: &'static str,
    value: &'static str,
}

impl EncodeLabelSet for LabelSet {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        encode_label(encoder, self.name, &self.value)
    }
}

/// Writes one `name="value"`.
pub(crate) fn encode_label(
    encoder: &mut LabelSetEncoder<'_>,
    name: &str,
    value: &impl EncodeLabelValue,
) -> fmt::Result {
    use std::fmt::Write as _;

    let mut label = encoder.encode_label();
    let mut key = label.encode_label_key()?;
    key.write_str(name)?;
    let mut encoded: LabelValueEncoder<'_> = key.encode_label_value()?;
    value.encode(&mut encoded)?;
    encoded.finish()
}
