//! JSON Web Key sets (RFC 7517): what identity providers publish their keys in.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Key, KeyError, Public};
use crate::{
    json::too_deep,
    limits::{JWKS_BYTES_MAX, JWKS_ENTRIES_MAX, JWKS_KEYS_MAX},
};

/// Why a whole document was refused. What is said follows on the document's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Longer than its bound.
    #[error("is longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// No `{"keys":[…]}`.
    #[error("is no JWKS document")]
    NotJwks,
    /// No key of it can be used.
    #[error("has no key for RS256, ES256 or EdDSA signatures")]
    NoKeys,
}

/// Why an entry was passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// No JSON object with the members of its type.
    #[error("is malformed")]
    Malformed,
    /// Another `kty` or `crv`.
    #[error("is of a type that is not supported")]
    Type,
    /// A shared secret, which whoever can read the document would have.
    #[error("is a shared secret, which does not belong into a published document")]
    Shared,
    /// `use` or `key_ops` say that it is for something else.
    #[error("is not for signatures")]
    Use,
    /// `alg` says another algorithm than ours for this type.
    #[error("is for another algorithm")]
    Algorithm,
    /// One of the keys that are refused wherever they come from.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Beyond [`JWKS_KEYS_MAX`].
    #[error("is beyond the first {JWKS_KEYS_MAX}")]
    TooMany,
}

/// The keys of a document that can be used, and why the others cannot.
#[derive(Debug, Clone, PartialEq)]
pub struct Jwks {
    /// At least one, at most [`JWKS_KEYS_MAX`].
    pub keys: Vec<Key>,
    /// The others, by their place in the document.
    pub skipped: Vec<(usize, Skipped)>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// What is read of an entry. A member given twice is an error of serde's.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

impl Jwks {
    /// Reads a document. Entries that cannot be used are passed over, since a provider may publish keys of new kinds at any
    /// time.
    ///
    /// # Errors
    /// If it is too long, no JWKS, or has no key that can be used.
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        if document.len() > JWKS_BYTES_MAX {
            return Err(JwksError::TooLong);
        }
        if too_deep(document) {
            return Err(JwksError::NotJwks);
        }
        let Document { keys: entries } = serde_json::from_slice(document).map_err(|_| JwksError::NotJwks)?;
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, entry) in entries.into_iter().enumerate().take(JWKS_ENTRIES_MAX) {
            match read(entry.get()) {
                Ok(_) if keys.len() == JWKS_KEYS_MAX => {
                    skipped.push((index, Skipped::TooMany));
                    break;
                }
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push((index, reason)),
            }
        }
        if keys.is_empty() { Err(JwksError::NoKeys) } else { Ok(Self { keys, skipped }) }
    }
}

fn read(entry: &str) -> Result<Key, Skipped> {
    let entry: Entry = serde_json::from_str(entry).map_err(|_| Skipped::Malformed)?;
    if entry.kty == "oct" {
        return Err(Skipped::Shared);
    }
    if entry.usage.as_ref().is_some_and(|usage| usage != "sig")
        || entry.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
    {
        return Err(Skipped::Use);
    }
    let public = match (entry.kty.as_str(), entry.crv.as_deref()) {
        ("RSA", _) => Public::Rsa { modulus: number(entry.n)?, exponent: number(entry.e)? },
        ("EC", Some("P-256")) => {
            let mut point = [4; 65];
            point[1..33].copy_from_slice(&coordinate(entry.x)?);
            point[33..].copy_from_slice(&coordinate(entry.y)?);
            Public::P256(point)
        }
        ("OKP", Some("Ed25519")) => Public::Ed25519(coordinate(entry.x)?),
        _ => return Err(Skipped::Type),
    };
    if entry.d.is_some() {
        return Err(Skipped::Key(KeyError::PrivateKey));
    }
    let key = Key::from_public(public, entry.kid.as_deref())?;
    let ed25519 = key.alg().as_str() == "EdDSA" && entry.alg.as_deref() == Some("Ed25519");
    if entry.alg.is_some_and(|alg| alg != key.alg().as_str()) && !ed25519 {
        return Err(Skipped::Algorithm);
    }
    Ok(key)
}

fn number(text: Option<String>) -> Result<Vec<u8>, Skipped> {
    URL_SAFE_NO_PAD.decode(text.ok_or(Skipped::Malformed)?).map_err(|_| Skipped::Malformed)
}

fn coordinate(text: Option<String>) -> Result<[u8; 32], Skipped> {
    number(text)?.try_into().map_err(|_| Skipped::Malformed)
}
