//! Passwords: argon2id, never on a thread that serves requests, and never more at once than configured.

mod hash;
mod users;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::{
    hash::{HashError, PasswordHash},
    users::{User, Users, UsersError},
};
use crate::{
    Secret,
    limits::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN},
};

/// How much hashing goes on at once. Each takes a core for tens of milliseconds, and 19 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordOptions {
    /// How many at the same time.
    pub running: usize,
    /// How many more wait.
    pub waiting: usize,
    /// How long one waits.
    pub wait: Duration,
}

impl Default for PasswordOptions {
    fn default() -> Self {
        Self { running: 2, waiting: 64, wait: Duration::from_secs(5) }
    }
}

/// Why a password was neither hashed nor checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short to become somebody's.
    #[error("a password needs at least {PASSWORD_BYTES_MIN} bytes")]
    TooShort,
    /// Longer than anybody needs.
    #[error("a password may have at most {PASSWORD_BYTES_MAX} bytes")]
    TooLong,
    /// Too many others, or the hub is going down.
    #[error("too many passwords are being checked; try again")]
    Overloaded,
}

/// Hashes and checks passwords on tokio's threads for blocking work.
#[derive(Debug)]
pub struct Passwords {
    /// One for each that runs or waits.
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
    wait: Duration,
}

impl Passwords {
    /// With bounds; at least one runs.
    #[must_use]
    pub fn new(options: PasswordOptions) -> Self {
        let running = options.running.clamp(1, 64);
        let admitted = running + options.waiting.min(4096);
        Self {
            admitted: Arc::new(Semaphore::new(admitted)),
            running: Arc::new(Semaphore::new(running)),
            wait: options.wait,
        }
    }

    /// Whether a password may become somebody's.
    ///
    /// # Errors
    /// If it is too short or too long.
    pub fn check_new(password: &Secret) -> Result<(), PasswordError> {
        if password.len() < PASSWORD_BYTES_MIN { Err(PasswordError::TooShort) } else { check_length(password) }
    }

    /// Hashes a password that is to become somebody's.
    ///
    /// # Errors
    /// If it is too short or too long, or too many are at work.
    pub async fn hash(&self, password: Secret) -> Result<PasswordHash, PasswordError> {
        Self::check_new(&password)?;
        self.run(move || PasswordHash::of(&password)).await?.map_err(|_| PasswordError::Overloaded)
    }

    /// Whether a password is right. For a user that does not exist, give [`Users::stranger`] or [`PasswordHash::stranger`]:
    /// it takes the same time, and the answer is no.
    ///
    /// # Errors
    /// If the password is too long, or too many are at work.
    pub async fn verify(&self, password: Secret, hash: PasswordHash) -> Result<bool, PasswordError> {
        check_length(&password)?;
        self.run(move || hash.verify(&password)).await
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| PasswordError::Overloaded)?;
        let running = tokio::time::timeout(self.wait, self.running.clone().acquire_owned());
        let running = running.await.ok().and_then(Result::ok).ok_or(PasswordError::Overloaded)?;
        let permits: [OwnedSemaphorePermit; 2] = [admitted, running];
        // Whoever asked may go away; the work goes on, so its permits go with it.
        let work = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permits);
            result
        });
        work.await.map_err(|_| PasswordError::Overloaded)
    }
}

fn check_length(password: &Secret) -> Result<(), PasswordError> {
    if password.len() > PASSWORD_BYTES_MAX { Err(PasswordError::TooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
