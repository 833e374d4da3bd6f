//! How `compare` starts its servers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::Error;
use crate::args::{CompareArgs, Subject};
use crate::server::{Server, free_address, hub};

/// How to start a server.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) name: &'static str,
    program: PathBuf,
    kind: Subject,
    /// What stands before our own scenario's name on the command line: nothing, or the sub-command that leads here.
    prefix: Vec<OsString>,
    core: usize,
}

impl Launch {
    /// The yardstick.
    pub(super) fn floor(args: &CompareArgs) -> Result<Self, Error> {
        Self::new(args, Subject::Floor)
    }

    /// What is held against it.
    pub(super) fn subject(args: &CompareArgs) -> Result<Self, Error> {
        Self::new(args, args.subject)
    }

    fn new(args: &CompareArgs, kind: Subject) -> Result<Self, Error> {
        let this = || std::env::current_exe().map_err(Error::io("own executable"));
        let (name, program) = match kind {
            Subject::Hub => ("hub", args.hub.clone().map_or_else(this, Ok)?),
            Subject::Coalesce => ("coalescing floor", this()?),
            Subject::Floor => ("floor", this()?),
        };
        // This process was started with `[prefix…] compare …`, so `[prefix…] floor` starts the floor.
        let prefix = std::env::args_os().skip(1).take_while(|arg| arg != "compare").collect();
        Ok(Self { name, program, kind, prefix, core: args.server_core })
    }

    /// Starts the server on its core and waits until it is ready.
    pub(super) fn start(&self) -> Result<Server, Error> {
        let address = free_address()?;
        let command = if self.kind == Subject::Hub {
            hub(&self.program, address)
        } else {
            let mut command = Command::new(&self.program);
            command.args(&self.prefix).arg("floor").arg("--listen").arg(address.to_string());
            if self.kind == Subject::Coalesce {
                command.arg("--coalesce");
            }
            command
        };
        let mut server = Server::start(command, address, self.core)?;
        server.wait_until_ready(self.name)?;
        Ok(server)
    }
}
