//! How `compare` starts its servers.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::Error;
use crate::args::{CompareArgs, Foreign, Subject, Target};
use crate::dialect::Kind;
use crate::server::{Server, free_address, hub, join, redis};

/// Events of each topic that the floor keeps where subscribers resume: as many as the hub does by default.
const FLOOR_HISTORY: &str = "200";

/// How to start a server.
#[derive(Debug)]
pub(super) struct Launch {
    /// In tables and charts.
    pub(super) name: String,
    kind: Kind,
    start: Start,
    core: usize,
    quiet: bool,
}

#[derive(Debug)]
enum Start {
    /// This program's own floor. What stands before the scenario on the command line is nothing, or the sub-command that
    /// leads here.
    Floor {
        program: PathBuf,
        prefix: Vec<OsString>,
        coalesce: bool,
    },
    Hub {
        program: PathBuf,
        redis: bool,
    },
    Program(PathBuf),
}

impl Launch {
    /// The yardstick, what is held against it, and what others brought.
    pub(super) fn all(args: &CompareArgs) -> Result<Vec<Self>, Error> {
        let subjects = std::iter::once(Subject::Floor).chain(args.subject.iter().copied());
        let mut all = subjects.map(|subject| Self::own(args, subject)).collect::<Result<Vec<_>, Error>>()?;
        if all.iter().filter(|launch| launch.name == "floor").count() > 1 {
            let again = all.iter_mut().skip(1).filter(|launch| launch.name == "floor");
            again.for_each(|launch| "floor again".clone_into(&mut launch.name));
        }
        all.extend(args.server.iter().map(|foreign| Self::foreign(args, foreign)));
        Ok(all)
    }

    fn own(args: &CompareArgs, subject: Subject) -> Result<Self, Error> {
        let this = || std::env::current_exe().map_err(Error::io("own executable"));
        let floor = |coalesce| {
            // This process was started with `[prefix…] compare …`, so `[prefix…] floor` starts the floor.
            let prefix = std::env::args_os().skip(1).take_while(|arg| arg != "compare").collect();
            Ok::<_, Error>(Start::Floor { program: this()?, prefix, coalesce })
        };
        let hub = |redis| {
            let program = args.hub.clone().map_or_else(this, Ok)?;
            Ok::<_, Error>(Start::Hub { program, redis })
        };
        let (name, kind, start) = match subject {
            Subject::Hub => ("hub", Kind::Towncrier, hub(false)?),
            Subject::Redis => ("hub with Redis", Kind::Towncrier, hub(true)?),
            Subject::Coalesce => ("coalescing floor", Kind::Floor, floor(true)?),
            Subject::Floor => ("floor", Kind::Floor, floor(false)?),
        };
        Ok(Self { name: name.to_owned(), kind, start, core: args.server_core, quiet: args.output.quiet })
    }

    fn foreign(args: &CompareArgs, foreign: &Foreign) -> Self {
        Self {
            name: foreign.kind.name().to_owned(),
            kind: foreign.kind,
            start: Start::Program(foreign.program.clone()),
            core: args.server_core,
            quiet: args.output.quiet,
        }
    }

    /// Starts the server, and what it needs, on its core and waits until it is ready; with it, what a scenario must know.
    pub(super) fn start(&self) -> Result<(Vec<Server>, Target), Error> {
        let address = free_address()?;
        let mut needed = Vec::new();
        let command = match &self.start {
            Start::Floor { program, prefix, coalesce } => {
                let mut command = Command::new(program);
                command.args(prefix).args(["floor", "--listen"]).arg(address.to_string());
                command.args(["--history", FLOOR_HISTORY]);
                command.args(coalesce.then_some("--coalesce"));
                command
            }
            Start::Hub { program, redis: with_redis } => {
                let mut command = hub(program, address);
                if *with_redis {
                    let redis = redis(self.core)?;
                    join(&mut command, redis.address);
                    needed.push(redis);
                }
                command
            }
            Start::Program(program) => {
                let mut command = Command::new(program);
                command.arg(address.to_string());
                command
            }
        };
        let mut server = Server::start(command, address, self.core)?;
        if matches!(self.start, Start::Program(_)) {
            server = server.with_children();
            server.wait_until_listening(&self.name)?;
        } else {
            server.wait_until_ready(&self.name)?;
        }
        let mut target = Target::new(address);
        target.kind = self.kind;
        target.server_pid = server.pids()?;
        target.output.quiet = self.quiet;
        // The hub ends before its Redis does.
        Ok((std::iter::once(server).chain(needed).collect(), target))
    }
}
