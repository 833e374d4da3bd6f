//! `towncrier tether`: a process that does not outlive the one that started it.
//!
//! What `towncrier cluster` starts must end even when it is killed and can stop nothing any more. The kernel does that for
//! a process that has asked for it, and the wish survives `exec`; so this asks, and becomes the program.

use std::{ffi::OsString, io, os::unix::process::CommandExt as _, process::Command};

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

#[derive(Debug, Args)]
pub(super) struct TetherArgs {
    /// The process with which to end.
    #[arg(long)]
    parent: i32,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Becomes the program, and returns only if that fails.
///
/// SIGTERM, not SIGKILL: nodes drain, Redis saves, and nginx takes its workers with it.
pub(super) fn run(args: &TetherArgs) -> io::Error {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return error.into();
    }
    // It may have ended before the kernel knew the wish.
    if getppid() != Pid::from_raw(args.parent) {
        return io::Error::other("the process that started this one is gone");
    }
    let (program, arguments) = args.command.split_first().expect("required");
    let error = Command::new(program).args(arguments).exec();
    io::Error::new(error.kind(), format!("{}: {error}", program.display()))
}
