//! Payloads for those who hold a key: compact JWE (RFC 7516) with `dir` and `A256GCM`.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};

use crate::{
    Secret,
    json::members,
    limits::{KID_BYTES_MAX, SEALED_MAX, SEALER_KEYS_MAX},
};

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Bytes of the tag of AES-GCM.
const TAG_BYTES: usize = 16;

/// A key for payloads, and the id by which clients tell it from others.
pub struct SealingKey {
    kid: String,
    key: LessSafeKey,
    /// The first part of each JWE, in base64url.
    header: String,
    sealed: AtomicU64,
}

/// Why a key for payloads was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealingKeyError {
    /// No base64 of 32 bytes.
    #[error("must be 32 random bytes in base64, as 'openssl rand -base64 32' makes them")]
    Key,
    /// No id.
    #[error("needs an id of 1 to {KID_BYTES_MAX} bytes")]
    Kid,
    /// Two keys of the same id.
    #[error("has the id of another key")]
    Twice,
    /// No key, or too many.
    #[error("1 to {SEALER_KEYS_MAX} keys are needed")]
    Number,
}

/// Why a payload was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// One more payload might repeat an IV.
    #[error("the key has sealed as many payloads as it may; a new one is needed")]
    Exhausted,
    /// The system has no random numbers, or the payload is beyond 64 GiB.
    #[error("the payload could not be sealed")]
    Failed,
}

/// Why a payload was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No compact JWE with `dir` and `A256GCM`.
    #[error("is no compact JWE with 'dir' and 'A256GCM'")]
    Malformed,
    /// No key has its `kid`.
    #[error("is sealed with a key that is not known")]
    UnknownKey,
    /// Sealed with another key, or changed since.
    #[error("does not fit its key, or was changed")]
    Forged,
}

impl SealingKey {
    /// A key of 32 bytes in base64, with or without padding.
    ///
    /// # Errors
    /// If it is no such key, or the id is empty or too long.
    pub fn new(kid: &str, base64: &Secret) -> Result<Self, SealingKeyError> {
        if !(1..=KID_BYTES_MAX).contains(&kid.len()) {
            return Err(SealingKeyError::Kid);
        }
        let text = base64.expose();
        let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE_NO_PAD.decode(text)).map(Secret::new);
        let bytes = bytes.map_err(|_| SealingKeyError::Key)?;
        if bytes.len() != KEY_BYTES {
            return Err(SealingKeyError::Key);
        }
        let key = UnboundKey::new(&AES_256_GCM, bytes.expose()).map_err(|_| SealingKeyError::Key)?;
        let header = serde_json::json!({"alg": "dir", "enc": "A256GCM", "kid": kid}).to_string();
        Ok(Self {
            kid: kid.to_owned(),
            key: LessSafeKey::new(key),
            header: URL_SAFE_NO_PAD.encode(header),
            sealed: AtomicU64::new(0),
        })
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Seals payloads with the current key, and opens those of older ones too.
#[derive(Debug)]
pub struct Sealer {
    keys: Vec<SealingKey>,
    random: SystemRandom,
}

impl Sealer {
    /// Seals with the first key.
    ///
    /// # Errors
    /// If there is none, there are more than [`SEALER_KEYS_MAX`], or two have the same id.
    pub fn new(keys: Vec<SealingKey>) -> Result<Self, SealingKeyError> {
        if !(1..=SEALER_KEYS_MAX).contains(&keys.len()) {
            return Err(SealingKeyError::Number);
        }
        if keys.iter().enumerate().any(|(index, key)| keys[..index].iter().any(|other| other.kid == key.kid)) {
            return Err(SealingKeyError::Twice);
        }
        Ok(Self { keys, random: SystemRandom::new() })
    }

    /// How many payloads were sealed with the current key since the start; at [`SEALED_MAX`] it is used up. A restart begins
    /// anew, so keys are to be changed in time: see `docs/auth.md`.
    #[must_use]
    pub fn sealed(&self) -> u64 {
        self.keys.first().map_or(0, |key| key.sealed.load(Ordering::Relaxed).min(SEALED_MAX))
    }

    /// Seals a payload.
    ///
    /// # Errors
    /// If the key is used up.
    pub fn seal(&self, payload: &str) -> Result<String, SealError> {
        let key = self.keys.first().ok_or(SealError::Failed)?;
        let counted = key
            .sealed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sealed| (sealed < SEALED_MAX).then_some(sealed + 1));
        counted.map_err(|_| SealError::Exhausted)?;

        let mut iv = [0; NONCE_LEN];
        self.random.fill(&mut iv).map_err(|_| SealError::Failed)?;
        let mut text = payload.as_bytes().to_vec();
        let tag = key
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(iv), Aad::from(key.header.as_bytes()), &mut text)
            .map_err(|_| SealError::Failed)?;

        let mut sealed = String::with_capacity(key.header.len() + text.len() / 3 * 4 + 64);
        sealed.push_str(&key.header);
        // The second part is the encrypted key, of which `dir` has none.
        sealed.push_str("..");
        for (index, part) in [iv.as_slice(), &text, tag.as_ref()].into_iter().enumerate() {
            if index > 0 {
                sealed.push('.');
            }
            URL_SAFE_NO_PAD.encode_string(part, &mut sealed);
        }
        Ok(sealed)
    }

    /// Opens what was sealed with one of the keys.
    ///
    /// # Errors
    /// If it was sealed otherwise, with another key, or changed since.
    pub fn open(&self, sealed: &str) -> Result<String, OpenError> {
        let mut parts = sealed.split('.');
        let parts = [(); 5].map(|()| parts.next()).into_iter().chain([parts.next()]);
        let parts: Vec<&str> = parts.map_while(|part| part).collect();
        let &[header, "", iv, text, tag] = parts.as_slice() else { return Err(OpenError::Malformed) };
        let key = self.key_of(header)?;
        let iv: [u8; NONCE_LEN] = decode(iv)?.try_into().map_err(|_| OpenError::Malformed)?;
        let (mut text, tag) = (decode(text)?, decode(tag)?);
        if tag.len() != TAG_BYTES {
            return Err(OpenError::Malformed);
        }
        text.extend_from_slice(&tag);
        let opened = key
            .key
            .open_in_place(Nonce::assume_unique_for_key(iv), Aad::from(header.as_bytes()), &mut text)
            .map_err(|_| OpenError::Forged)?;
        String::from_utf8(opened.to_vec()).map_err(|_| OpenError::Malformed)
    }

    fn key_of(&self, header: &str) -> Result<&SealingKey, OpenError> {
        let json = String::from_utf8(decode(header)?).map_err(|_| OpenError::Malformed)?;
        let (mut alg, mut enc, mut kid) = (None, None, None);
        for (name, value) in members(&json).map_err(|_| OpenError::Malformed)? {
            let slot = match name.as_ref() {
                "alg" => &mut alg,
                "enc" => &mut enc,
                "kid" => &mut kid,
                // They change what the text is, or demand what is not known.
                "zip" | "crit" => return Err(OpenError::Malformed),
                _ => continue,
            };
            *slot = Some(serde_json::from_str::<String>(value.get()).map_err(|_| OpenError::Malformed)?);
        }
        if alg.as_deref() != Some("dir") || enc.as_deref() != Some("A256GCM") {
            return Err(OpenError::Malformed);
        }
        self.keys.iter().find(|key| kid.as_deref() == Some(&key.kid)).ok_or(OpenError::UnknownKey)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, OpenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| OpenError::Malformed)
}

#[cfg(test)]
mod tests;
