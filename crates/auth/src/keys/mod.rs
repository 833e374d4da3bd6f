//! Keys that tokens are checked with. A key has one algorithm, which follows from what it is; a token never chooses.

mod der;
mod jwk;
mod pem;

use std::{fmt, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey};

use crate::{
    Secret,
    limits::{
        HS256_SECRET_BYTES_MAX, HS256_SECRET_BYTES_MIN, KEYS_MAX, KID_BYTES_MAX, PEM_BYTES_MAX, RSA_BITS, TRIES_MAX,
    },
};

pub use self::jwk::{Jwks, JwksError, Skipped};
pub(crate) use self::pem::private_key;

/// The algorithms of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alg {
    /// HMAC with SHA-256.
    Hs256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Alg {
    const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// As a token's header has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of exactly that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }

    pub(crate) fn of_library(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a key was refused. Never shows the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A secret that could be guessed.
    #[error("an HS256 secret needs at least {HS256_SECRET_BYTES_MIN} bytes, this one has {0}")]
    SecretTooShort(usize),
    /// A secret that is no secret but a file, most likely.
    #[error("an HS256 secret may have at most {HS256_SECRET_BYTES_MAX} bytes")]
    SecretTooLong,
    /// Somebody's public key as a secret that everybody knows.
    #[error("an HS256 secret must not be a PEM: that is a key for another algorithm")]
    SecretIsPem,
    /// A key id that is empty or too long.
    #[error("a key id must have 1 to {KID_BYTES_MAX} bytes")]
    Kid,
    /// No PEM, or more than its bound.
    #[error("is not PEM, or more than {PEM_BYTES_MAX} bytes")]
    Pem,
    /// A PEM without a public key.
    #[error("has no section 'PUBLIC KEY'; 'openssl pkey -pubout' and 'openssl x509 -pubkey' make one")]
    NoPublicKey,
    /// A private key where a public one is enough.
    #[error("has a private key; only the public one belongs here: 'openssl pkey -pubout' makes it")]
    PrivateKey,
    /// A PEM without a private key that can be read.
    #[error("has no private key in PKCS#8 for RSA, P-256 or Ed25519; 'openssl pkcs8 -topk8 -nocrypt' makes one")]
    NoPrivateKey,
    /// A public key of another kind, or a broken one.
    #[error("is no key for RSA, P-256 or Ed25519")]
    Unsupported,
    /// A weak or an absurd RSA key.
    #[error("an RSA key needs {} to {} bits, this one has {bits}", RSA_BITS.start(), RSA_BITS.end())]
    RsaBits {
        /// How many it has.
        bits: usize,
    },
    /// An RSA exponent that is even, one, or beyond 33 bits.
    #[error("an RSA key needs an odd exponent of 3 to 2^33-1")]
    RsaExponent,
    /// An Ed25519 key for which anybody can sign.
    #[error("is an Ed25519 key of small order, for which anybody can sign")]
    SmallOrder,
    /// More keys than allowed.
    #[error("at most {KEYS_MAX} keys are allowed")]
    TooMany,
}

/// One key, its algorithm, and the id by which tokens may name it.
#[derive(Clone)]
pub struct Key {
    kid: Option<Arc<str>>,
    alg: Alg,
    material: Arc<DecodingKey>,
}

impl Key {
    /// A shared secret for HS256.
    ///
    /// # Errors
    /// If it is shorter than [`HS256_SECRET_BYTES_MIN`], longer than [`HS256_SECRET_BYTES_MAX`], or a PEM.
    pub fn hs256(secret: &Secret, kid: Option<&str>) -> Result<Self, KeyError> {
        match secret.len() {
            short @ 0..HS256_SECRET_BYTES_MIN => return Err(KeyError::SecretTooShort(short)),
            HS256_SECRET_BYTES_MIN..=HS256_SECRET_BYTES_MAX => {}
            _ => return Err(KeyError::SecretTooLong),
        }
        if secret.expose().trim_ascii_start().starts_with(b"-----BEGIN ") {
            return Err(KeyError::SecretIsPem);
        }
        Self::new(kid, Alg::Hs256, DecodingKey::from_secret(secret.expose()))
    }

    /// The public keys of a PEM: RSA, P-256 or Ed25519, each in a section `PUBLIC KEY`. All get the same id, if any.
    ///
    /// # Errors
    /// If there is none, one of another kind, or a private key.
    pub fn from_pem(pem: &[u8], kid: Option<&str>) -> Result<Vec<Self>, KeyError> {
        let keys = pem::public_keys(pem)?;
        keys.into_iter().map(|public| Self::from_public(public, kid)).collect()
    }

    pub(crate) fn from_public(public: Public, kid: Option<&str>) -> Result<Self, KeyError> {
        match public {
            Public::Rsa { modulus, exponent } => {
                check_rsa(&modulus, &exponent)?;
                Self::new(kid, Alg::Rs256, DecodingKey::from_rsa_raw_components(&modulus, &exponent))
            }
            Public::P256(point) => Self::new(kid, Alg::Es256, DecodingKey::from_ec_der(&point)),
            Public::Ed25519(point) => {
                if is_of_small_order(&point) {
                    return Err(KeyError::SmallOrder);
                }
                Self::new(kid, Alg::EdDsa, DecodingKey::from_ed_der(&point))
            }
        }
    }

    fn new(kid: Option<&str>, alg: Alg, material: DecodingKey) -> Result<Self, KeyError> {
        if kid.is_some_and(|kid| !(1..=KID_BYTES_MAX).contains(&kid.len())) {
            return Err(KeyError::Kid);
        }
        Ok(Self { kid: kid.map(Arc::from), alg, material: Arc::new(material) })
    }

    /// The id by which tokens may name it.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm that it is for.
    #[must_use]
    pub fn alg(&self) -> Alg {
        self.alg
    }

    pub(crate) fn material(&self) -> &DecodingKey {
        &self.material
    }

    fn may_have_signed(&self, alg: Alg, kid: Option<&str>) -> bool {
        let named = match (self.kid(), kid) {
            (Some(own), Some(kid)) => own == kid,
            _ => true,
        };
        self.alg == alg && named
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

/// Whether two keys are the same in everything.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let parts = |key: &Self| match key.material.kind() {
            jsonwebtoken::DecodingKeyKind::SecretOrDer(bytes) => (Secret::new(bytes.clone()), Vec::new()),
            jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, e } => (Secret::new(n.clone()), e.clone()),
        };
        self.kid == other.kid && self.alg == other.alg && parts(self) == parts(other)
    }
}

/// The keys that may have signed a token: those of its algorithm that have its `kid` or none. A token without a `kid` may be
/// by any of its algorithm. At most [`TRIES_MAX`], those with the very id first.
pub(crate) fn candidates<'a>(keys: impl Iterator<Item = &'a Key>, alg: Alg, kid: Option<&str>) -> Vec<&'a Key> {
    let mut candidates: Vec<&Key> = keys.filter(|key| key.may_have_signed(alg, kid)).collect();
    candidates.sort_by_key(|key| key.kid() != kid);
    candidates.truncate(TRIES_MAX);
    candidates
}

/// A public key in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Public {
    /// Big-endian numbers.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    /// An uncompressed point.
    P256([u8; 65]),
    /// A compressed point.
    Ed25519([u8; 32]),
}

/// The bounds of ring's check, which otherwise would be met at the first token only.
fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), KeyError> {
    let bits = bits(modulus);
    if !RSA_BITS.contains(&bits) {
        return Err(KeyError::RsaBits { bits });
    }
    let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    if !odd || !(2..=33).contains(&self::bits(exponent)) { Err(KeyError::RsaExponent) } else { Ok(()) }
}

fn bits(number: &[u8]) -> usize {
    let significant = number.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &number[first..]);
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

/// The y coordinates of points of order 1, 2, 4 and 8 on Curve25519, also as written with p too much. Little-endian; the
/// highest bit is x's sign and does not matter. With such a key one signature is good for many messages.
const SMALL_ORDER: [[u8; 32]; 7] = [
    little_endian(0x00, 0x00, 0x00),
    little_endian(0x01, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    little_endian(0xec, 0xff, 0x7f),
    little_endian(0xed, 0xff, 0x7f),
    little_endian(0xee, 0xff, 0x7f),
];

const fn little_endian(lowest: u8, middle: u8, highest: u8) -> [u8; 32] {
    let mut number = [middle; 32];
    number[0] = lowest;
    number[31] = highest;
    number
}

fn is_of_small_order(point: &[u8; 32]) -> bool {
    let mut y = *point;
    y[31] &= 0x7f;
    SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests;
