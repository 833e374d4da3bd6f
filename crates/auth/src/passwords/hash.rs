//! Hashes of passwords in PHC strings: `$argon2id$v=19$m=19456,t=2,p=1$…`.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};

use crate::{
    Secret,
    limits::{ARGON2_LANES_MAX, ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX},
};

/// What OWASP's Password Storage Cheat Sheet asks for at least: 19 MiB, 2 passes, 1 lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Shortest salt and hash of a PHC string from outside, in bytes.
const SALT_BYTES_MIN: usize = 8;
const HASH_BYTES_MIN: usize = 16;

/// Why a hash was refused. Never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Most often the password itself, or bcrypt.
    #[error("is no argon2id hash as 'towncrier hash-password' prints it")]
    NotArgon2id,
    /// Cheaper to guess than it should be, or dearer to check than the hub can afford.
    #[error(
        "needs 8 MiB to {} MiB, at most {ARGON2_PASSES_MAX} passes and {ARGON2_LANES_MAX} lanes, \
         a salt of {SALT_BYTES_MIN} bytes and a hash of {HASH_BYTES_MIN}",
        ARGON2_MEMORY_KIB_MAX / 1024
    )]
    Parameters,
    /// The system has no random numbers or no memory.
    #[error("could not be made")]
    Failed,
}

/// The hash of a password. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<phc::PasswordHash>);

impl PasswordHash {
    /// Takes a PHC string from a configuration or a store.
    ///
    /// # Errors
    /// If it is not argon2id, or its parameters are too weak or too costly.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| HashError::NotArgon2id)?;
        let (Some(salt), Some(output)) = (&hash.salt, &hash.hash) else { return Err(HashError::NotArgon2id) };
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(u32::from(Version::V0x13)) {
            return Err(HashError::NotArgon2id);
        }
        let params = Params::try_from(&hash).map_err(|_| HashError::NotArgon2id)?;
        let sane = (8 * 1024..=ARGON2_MEMORY_KIB_MAX).contains(&params.m_cost())
            && params.t_cost() <= ARGON2_PASSES_MAX
            && params.p_cost() <= ARGON2_LANES_MAX
            && salt.len() >= SALT_BYTES_MIN
            && output.as_bytes().len() >= HASH_BYTES_MIN;
        if sane { Ok(Self(Arc::new(hash))) } else { Err(HashError::Parameters) }
    }

    /// Hashes a password, whatever its length, with a salt of its own. Blocks for tens of milliseconds.
    ///
    /// # Errors
    /// If the system has no random numbers or no memory.
    pub fn of(password: &Secret) -> Result<Self, HashError> {
        let hash = argon2(MEMORY_KIB, PASSES, LANES)?.hash_password(password.expose());
        hash.map(|hash| Self(Arc::new(hash))).map_err(|_| HashError::Failed)
    }

    /// Whether a password is the one. Blocks for as long as the hash's parameters say.
    #[must_use]
    pub fn verify(&self, password: &Secret) -> bool {
        Argon2::default().verify_password(password.expose(), self.0.as_ref()).is_ok()
    }

    /// A hash that no password has, and that takes as long to check as those made here.
    #[must_use]
    pub fn stranger() -> Self {
        Self::stranger_as(MEMORY_KIB, PASSES, LANES)
    }

    /// A hash that no password has, and that takes as long to check as this one.
    #[must_use]
    pub(super) fn stranger_like(&self) -> Self {
        match Params::try_from(self.0.as_ref()) {
            Ok(params) => Self::stranger_as(params.m_cost(), params.t_cost(), params.p_cost()),
            Err(_) => Self::stranger(),
        }
    }

    fn stranger_as(memory_kib: u32, passes: u32, lanes: u32) -> Self {
        // Nobody finds a password of which the hash is zero.
        let zero = phc::Output::new(&[0; Params::DEFAULT_OUTPUT_LEN]).ok();
        let params = Params::new(memory_kib, passes, lanes, None).unwrap_or_default();
        Self(Arc::new(phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: phc::ParamsString::try_from(&params).unwrap_or_default(),
            salt: phc::Salt::new(&[0; 16]).ok(),
            hash: zero,
        }))
    }

    /// What a check costs, to compare hashes by.
    pub(super) fn cost(&self) -> u64 {
        Params::try_from(self.0.as_ref()).map_or(0, |params| u64::from(params.m_cost()) * u64::from(params.t_cost()))
    }

    /// The PHC string, for a store. Whoever has it can guess passwords at leisure.
    #[must_use]
    pub fn to_phc(&self) -> String {
        self.0.to_string()
    }
}

fn argon2(memory_kib: u32, passes: u32, lanes: u32) -> Result<Argon2<'static>, HashError> {
    let params = Params::new(memory_kib, passes, lanes, None).map_err(|_| HashError::Failed)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}
