//! What can be measured of one server, a file each; and `cluster`, which starts its own.

pub(crate) mod churn;
pub(crate) mod cluster;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod max;
pub(crate) mod publish;
pub(crate) mod slow;
pub(crate) mod storm;
pub(crate) mod topics;

use crate::args::Target;
use crate::{Error, sys};

/// Refuses what would only fail later: a scenario that measures a process needs to know which.
fn require_pid(target: &Target) -> Result<&[u32], Error> {
    match sys::cpu_of_all(&target.server_pid)? {
        Some(_) => Ok(&target.server_pid),
        None => Err(Error::Options("--server-pid is needed to measure the server".to_owned())),
    }
}
