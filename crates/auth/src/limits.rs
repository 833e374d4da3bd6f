//! Every fixed bound of this crate, with the relations between them checked at compile time.

use std::time::Duration;

use towncrier_wire::limits as wire;

/// Longest token, in bytes: what fits into a request head beside everything else.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Deepest nesting of arrays and objects within a token's header or claims.
pub const JSON_DEPTH_MAX: usize = 16;

/// Most members of an object within a token that is looked into.
pub const JSON_MEMBERS_MAX: usize = 128;

/// Most selectors of each kind of right.
pub const RIGHTS_SELECTORS_MAX: usize = wire::SELECTORS_MAX;

/// Most audiences of one token.
pub const AUDIENCES_MAX: usize = 32;

/// Longest issuer or audience, in bytes.
pub const PARTY_BYTES_MAX: usize = 1024;

/// Largest time in a claim, in seconds since 1970: the end of the year 9999. Milliseconds are beyond it.
pub const UNIX_TIME_MAX: u64 = 253_402_300_799;

/// Most that clocks may be apart.
pub const LEEWAY_MAX: Duration = Duration::from_secs(300);

/// Longest key id, in bytes.
pub const KID_BYTES_MAX: usize = 256;

/// Shortest HS256 secret, in bytes: as long as the hash (RFC 7518, section 3.2).
pub const HS256_SECRET_BYTES_MIN: usize = 32;

/// Longest HS256 secret, in bytes.
pub const HS256_SECRET_BYTES_MAX: usize = 4096;

/// Smallest and largest RSA modulus, in bits.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Longest PEM text of keys, in bytes.
pub const PEM_BYTES_MAX: usize = 256 * 1024;

/// Most keys that are configured at once.
pub const KEYS_MAX: usize = 16;

/// Most keys that one token is tried against.
pub const TRIES_MAX: usize = 8;

/// Longest JWKS document, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// Most keys that are taken from one JWKS document.
pub const JWKS_KEYS_MAX: usize = 32;

/// Most entries of one JWKS document that are looked at.
pub const JWKS_ENTRIES_MAX: usize = 256;

/// Most requests that wait for one JWKS document at the same time; more are refused at once.
pub const JWKS_WAITERS_MAX: usize = 1024;

/// Shortest password that is hashed, in bytes.
pub const PASSWORD_BYTES_MIN: usize = 8;

/// Longest password, in bytes: more is work for the hub and of no use to anybody.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Most users from a configuration.
pub const USERS_MAX: usize = 10_000;

/// Most memory that a password hash from outside may ask for, in KiB.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Most passes that a password hash from outside may ask for.
pub const ARGON2_PASSES_MAX: u32 = 16;

/// Most lanes that a password hash from outside may ask for.
pub const ARGON2_LANES_MAX: u32 = 16;

/// Longest life of a token that is minted here.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Most payloads that one process seals with one key. Random 96-bit IVs stay apart from each other, except with a
/// probability of 2⁻³², for 2³² payloads (NIST SP 800-38D, section 8.3); this leaves room for 16 processes.
pub const SEALED_MAX: u64 = 1 << 28;

/// Most keys for payloads at once: the current one and those before it.
pub const SEALER_KEYS_MAX: usize = 16;

const _: () = assert!(RIGHTS_SELECTORS_MAX <= wire::SELECTORS_MAX);
const _: () = assert!(TRIES_MAX <= KEYS_MAX);
const _: () = assert!(KID_BYTES_MAX < TOKEN_BYTES_MAX);
const _: () = assert!(JSON_DEPTH_MAX < 128, "serde_json stops at 128 by itself");
