//! Every fixed bound in one place, with the relations between them checked at compile time. Bounds that an operator may
//! want to move are configuration keys; these are the ceilings that keep the formats and the arithmetic sound.

/// Longest topic or selector, in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 256;

/// Most selectors of one session.
pub const SELECTORS_MAX: usize = 100;

/// Most topics of one publish.
pub const PUBLISH_TOPICS_MAX: usize = 100;

/// Longest event type, in bytes of UTF-8.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;

/// Longest user id, session id or idempotency key, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;

/// Longest data of one event that any configuration may allow, in bytes.
pub const DATA_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest cursor, in bytes: Fetch safelists `Last-Event-ID` up to this length.
pub const CURSOR_BYTES_MAX: usize = 128;

/// Most partitions of a hub.
pub const PARTITIONS_MAX: usize = 8;

/// Most newest events of each topic that `last=N` may ask for, and most that it brings of all topics together.
pub const LAST_MAX: u32 = 1000;

/// Most bytes of frames that `last=N` brings, or one event.
pub const LAST_BYTES_MAX: usize = 1024 * 1024;

/// Largest millisecond part of an event id (the year 2527).
pub const ID_MS_MAX: u64 = (1 << 44) - 1;

/// Largest sequence part of an event id; one more event in the same millisecond moves the millisecond part on.
pub const ID_SEQ_MAX: u64 = (1 << 20) - 1;

/// Longest text of one id within a cursor: 9 base-36 digits, a dash, 4 base-36 digits.
pub(crate) const CURSOR_ID_BYTES_MAX: usize = 14;

/// Most bytes of live frames that are joined into one chunk, so that one write serves them all.
pub const BATCH_BYTES_MAX: usize = 16 * 1024;

/// Most events of one page of a replay.
pub const REPLAY_PAGE_EVENTS_MAX: usize = 500;

/// Most bytes of one page of a replay; a single larger event is a page of its own.
pub const REPLAY_PAGE_BYTES_MAX: usize = 256 * 1024;

/// Most topics that one `gap` names; more are told as unknown.
pub const GAP_TOPICS_MAX: usize = 100;

/// Most topics of which a conflating cohort keeps the newest event.
pub const CONFLATE_TOPICS_MAX: usize = 1024;

/// Most worker threads: interest in a topic is a set of workers in one machine word.
pub const WORKERS_MAX: usize = 64;

const _: () = assert!(ID_MS_MAX < 36u64.pow(9), "a cursor writes the milliseconds in 9 base-36 digits");
const _: () = assert!(ID_SEQ_MAX < 36u64.pow(4), "a cursor writes the sequence in 4 base-36 digits");
const _: () = assert!(2 + PARTITIONS_MAX * (CURSOR_ID_BYTES_MAX + 1) <= CURSOR_BYTES_MAX);
const _: () = assert!(PARTITIONS_MAX < 10, "a cursor writes the number of partitions as one digit");
const _: () = assert!(BATCH_BYTES_MAX <= REPLAY_PAGE_BYTES_MAX);
