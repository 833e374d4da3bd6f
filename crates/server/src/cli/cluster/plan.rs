//! What a cluster is made of, worked out before anything is started.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    ClusterArgs, ClusterError,
    ports::Reserved,
    processes::{Program, Role},
    programs::{NGINX, REDIS},
    proxy,
};
use crate::config::{self, BackplaneKind, Config, variable_of};

/// Held while a Redis uses the folder: two on the same files would spoil them.
const LOCK: &str = "towncrier.lock";

/// The processes and their addresses.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) nodes: Vec<Node>,
    /// Redis, unless a running one is used.
    pub(super) redis: Option<(Program, SocketAddr)>,
    /// Where the Redis is, without a password.
    pub(super) redis_url: String,
    pub(super) proxy: Option<(Program, SocketAddr)>,
    /// The nodes' `shutdown.timeout`.
    pub(super) drain: Duration,
    _ports: Vec<Reserved>,
    _lock: Option<File>,
    /// Goes away with the plan, and so when the processes are gone.
    _folder: TempDir,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) address: SocketAddr,
    pub(super) program: Program,
}

/// Addresses handed out so far.
#[derive(Debug, Default)]
struct Ports(Vec<Reserved>);

impl Ports {
    fn take(&mut self, address: SocketAddr, flag: &'static str) -> Result<SocketAddr, ClusterError> {
        // Two of our own could both be reserved, as none listens yet.
        let taken = self.0.iter().any(|reserved| reserved.address() == address);
        let reserved = if taken { Err(io::ErrorKind::AddrInUse.into()) } else { Reserved::new(address) };
        let reserved = reserved.map_err(|error| ClusterError::Listen { address, flag, error })?;
        let address = reserved.address();
        self.0.push(reserved);
        Ok(address)
    }
}

impl Plan {
    /// Looks for the programs, takes the ports, checks the configuration and writes what the programs read.
    ///
    /// # Errors
    /// If one of these cannot be done.
    pub(super) fn new(args: &ClusterArgs, towncrier: &Path) -> Result<Self, ClusterError> {
        let configured = check(args, &[])?;
        // Who has configured a Redis has one.
        let own_redis = args.redis.is_none() && configured.backplane.kind == BackplaneKind::Embedded;
        let (redis_program, nginx) = find(own_redis, !args.no_proxy)?;

        let mut ports = Ports::default();
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listen = nginx.is_some().then(|| ports.take(args.listen, "--listen")).transpose()?;
        let redis_address = own_redis.then(|| ports.take(loopback(args.redis_port), "--redis-port")).transpose()?;
        let mut addresses = Vec::new();
        for index in 0..args.nodes {
            let port = if args.node_port == 0 {
                0
            } else {
                args.node_port.checked_add(index).ok_or(ClusterError::PastLastPort)?
            };
            addresses.push(ports.take(loopback(port), "--node-port")?);
        }

        let common = common_variables(args, redis_address, &configured);
        let run = run_name(own_redis);
        let mut nodes = Vec::new();
        for (index, address) in addresses.iter().copied().enumerate() {
            let mut variables = common.clone();
            variables.push((variable_of("http.listen"), address.to_string()));
            variables.push((variable_of("node.id"), format!("{}{run}", Role::Node(index))));
            let mut arguments = vec!["serve".into()];
            arguments.extend(args.config.files.iter().flat_map(|file| ["--config".into(), file.into()]));
            nodes.push(Node { address, program: Program { path: towncrier.to_owned(), arguments, variables } });
        }
        let config = check(args, &nodes[0].program.variables)?;

        let folder = temporary_folder().map_err(ClusterError::Folder)?;
        let mut lock = None;
        let redis = match (redis_program, redis_address) {
            (Some(path), Some(address)) => {
                let (data, held) = data_folder(args, folder.path())?;
                lock = held;
                Some((redis(path, address, &data), address))
            }
            _ => None,
        };
        let proxy = match (nginx, listen) {
            (Some(path), Some(listen)) => {
                let prefix = folder.path().join("nginx");
                write_proxy(&prefix, &proxy::config(listen, &addresses)).map_err(ClusterError::Folder)?;
                Some((nginx_program(path, &prefix), listen))
            }
            _ => None,
        };
        Ok(Self {
            nodes,
            redis,
            redis_url: config.redis.url.to_string(),
            proxy,
            drain: config.shutdown.timeout,
            _ports: ports.0,
            _lock: lock,
            _folder: folder,
        })
    }
}

/// The configuration of a process with these variables.
fn check(args: &ClusterArgs, variables: &[(String, String)]) -> Result<Config, ClusterError> {
    let loaded = config::load_with(&args.config.files, variables).map_err(ClusterError::Config)?;
    Ok(loaded.config)
}

/// The programs that are needed, or all that are missing.
fn find(redis: bool, nginx: bool) -> Result<(Option<PathBuf>, Option<PathBuf>), ClusterError> {
    let found = [(redis, REDIS), (nginx, NGINX)].map(|(wanted, program)| wanted.then(|| program.find()).transpose());
    match found {
        [Ok(redis), Ok(nginx)] => Ok((redis, nginx)),
        found => {
            let missing: Vec<String> = found.into_iter().filter_map(Result::err).collect();
            Err(ClusterError::Missing(missing.join("\n")))
        }
    }
}

/// What each node is told alike.
fn common_variables(args: &ClusterArgs, redis: Option<SocketAddr>, configured: &Config) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    if let Some(url) = redis.map(|address| format!("redis://{address}")).or_else(|| args.redis.clone()) {
        variables.push((variable_of("backplane.kind"), "redis".into()));
        variables.push((variable_of("backplane.redis.url"), url));
    }
    // The lines go to people, with a name before each, even where the log is not a terminal.
    if configured.log.format == towncrier_telemetry::logging::Format::Auto {
        variables.push((variable_of("log.format"), "human".into()));
    }
    variables
}

/// What makes a node's name differ from those of other clusters on the same Redis.
fn run_name(own_redis: bool) -> String {
    if own_redis { String::new() } else { format!("-{:06x}", fastrand::u32(..1 << 24)) }
}

/// A folder that nginx's workers may walk through: started by root, they are another user.
fn temporary_folder() -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("towncrier-cluster-").tempdir()?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
    Ok(folder)
}

/// Where Redis keeps its files, and what keeps others off.
fn data_folder(args: &ClusterArgs, temporary: &Path) -> Result<(PathBuf, Option<File>), ClusterError> {
    let Some(folder) = &args.data else {
        let folder = temporary.join("redis");
        fs::create_dir(&folder).map_err(ClusterError::Folder)?;
        return Ok((folder, None));
    };
    let failed = |error| ClusterError::Data { folder: folder.clone(), error };
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join(LOCK)).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok((folder.canonicalize().map_err(failed)?, Some(lock))),
        Err(TryLockError::WouldBlock) => Err(ClusterError::DataInUse { folder: folder.clone() }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// A Redis that has on disk whatever it has acknowledged.
fn redis(path: PathBuf, address: SocketAddr, data: &Path) -> Program {
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let mut arguments = vec!["--bind".into(), ip.into(), "--port".into(), port.into(), "--dir".into(), data.into()];
    arguments.extend(["--appendonly", "yes", "--appendfsync", "always", "--save", ""].map(Into::into));
    Program { path, arguments, variables: Vec::new() }
}

fn write_proxy(prefix: &Path, config: &str) -> io::Result<()> {
    fs::create_dir(prefix)?;
    fs::write(prefix.join("nginx.conf"), config)
}

fn nginx_program(path: PathBuf, prefix: &Path) -> Program {
    let arguments = vec![
        "-p".into(),
        prefix.into(),
        "-c".into(),
        // From the prefix on.
        "nginx.conf".into(),
        "-g".into(),
        proxy::DIRECTIVES.into(),
    ];
    Program { path, arguments, variables: Vec::new() }
}
