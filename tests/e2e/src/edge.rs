//! The proxies of `configs/`, each with the configuration that is shipped, in front of whatever a test wants.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use crate::{Authority, Nginx, SOON, eventually, ports, process, shipped};

/// Which proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// `configs/nginx.conf`.
    Nginx,
    /// `configs/proxies/Caddyfile`.
    Caddy,
    /// `configs/proxies/haproxy.cfg`.
    Haproxy,
    /// `configs/proxies/envoy.yaml`.
    Envoy,
}

impl EdgeKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Caddy, Self::Haproxy, Self::Envoy];
}

/// A proxy of a test's own, which listens in clear and for TLS; it ends with the test.
#[derive(Debug)]
pub struct Edge {
    /// Which one.
    pub kind: EdgeKind,
    addr: SocketAddr,
    tls: SocketAddr,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Nginx(Nginx),
    Other { child: Child, authority: Authority },
}

impl Edge {
    /// Starts it in front of these.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(kind: EdgeKind, nodes: &[SocketAddr]) -> Self {
        if kind == EdgeKind::Nginx {
            let nginx = Nginx::tls(nodes);
            return Self { kind, addr: nginx.addr(), tls: nginx.tls_addr(), running: Running::Nginx(nginx) };
        }
        let authority = Authority::new();
        authority.sign("edge");
        let (addr, tls) = (ports::free(), ports::free());
        let mut command = match kind {
            EdgeKind::Caddy => caddy(&authority, addr, tls, nodes),
            EdgeKind::Haproxy => haproxy(&authority, addr, tls, nodes),
            EdgeKind::Envoy | EdgeKind::Nginx => envoy(&authority, addr, tls, nodes),
        };
        let log = File::create(authority.path("log")).expect("create the log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; tests/run installs it"));
        let edge = Self { kind, addr, tls, running: Running::Other { child, authority } };
        for addr in [addr, tls] {
            eventually("the proxy listens", SOON, || {
                TcpStream::connect(addr).map_err(|error| format!("{error}: {}", edge.log()))
            });
        }
        edge
    }

    /// Where it listens in clear.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A URL by TLS.
    #[must_use]
    pub fn tls_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.tls)
    }

    /// Whom to trust for that.
    #[must_use]
    pub fn certificate(&self) -> String {
        let path = match &self.running {
            Running::Nginx(nginx) => nginx.certificate(),
            Running::Other { authority, .. } => authority.path("ca.pem"),
        };
        path.to_str().expect("a plain path").to_owned()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        match &self.running {
            Running::Nginx(nginx) => nginx.log(),
            Running::Other { authority, .. } => fs::read_to_string(authority.path("log")).unwrap_or_default(),
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let log = if thread::panicking() { self.log() } else { String::new() };
        if let Running::Other { child, .. } = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
            if thread::panicking() {
                eprintln!("the log of {:?}:\n{log}", self.kind);
            }
        }
    }
}

/// A shipped file in which everything is replaced that is a test's own. What is replaced must be there.
fn own(name: &str, folder: &Path, replace: &[(&str, String)]) -> String {
    let mut text = shipped::text(&format!("configs/proxies/{name}"));
    for (from, to) in replace {
        assert!(text.contains(from), "{from:?} is not in configs/proxies/{name}");
        text = text.replace(from, to);
    }
    let file = folder.join(name);
    fs::write(&file, text).expect("write the configuration");
    file.to_str().expect("a plain path").to_owned()
}

fn lines(nodes: &[SocketAddr], line: impl Fn(usize, &SocketAddr) -> String) -> String {
    nodes.iter().enumerate().fold(String::new(), |mut text, (number, node)| {
        let _ = writeln!(text, "{}", line(number + 1, node));
        text
    })
}

fn caddy(authority: &Authority, addr: SocketAddr, tls: SocketAddr, nodes: &[SocketAddr]) -> Command {
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let (cert, key) = (authority.file("edge.pem"), authority.file("edge.key"));
    let file = own(
        "Caddyfile",
        &authority.path(""),
        &[
            (
                "(hub) {",
                "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\tauto_https disable_redirects\n}\n(hub) {".to_owned(),
            ),
            ("hub-1:8080 hub-2:8080 hub-3:8080", nodes.join(" ")),
            ("hub.example.com {", format!("http://{addr} {{\n\timport hub\n}}\nhttps://{tls} {{\n\ttls {cert} {key}")),
        ],
    );
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config", &file]);
    // What it keeps for itself.
    command.env("XDG_DATA_HOME", authority.path("data")).env("XDG_CONFIG_HOME", authority.path("config"));
    command
}

fn haproxy(authority: &Authority, addr: SocketAddr, tls: SocketAddr, nodes: &[SocketAddr]) -> Command {
    let read = |name: &str| fs::read_to_string(authority.path(name)).expect("a certificate");
    fs::write(authority.path("both.pem"), read("edge.pem") + &read("edge.key")).expect("write the certificate");
    let servers = |more: &str| {
        let three = |number: usize| {
            format!("    server hub-{number} hub-{number}:8080{}\n", more.replace('#', &number.to_string()))
        };
        let from = (1..=3).map(three).collect::<String>();
        let line = |number: usize, node: &SocketAddr| {
            format!("    server hub-{number} {node}{}", more.replace('#', &number.to_string()))
        };
        (from, lines(nodes, line))
    };
    let (plain, tracked) = (servers(""), servers(" track nodes/hub-#"));
    let file = own(
        "haproxy.cfg",
        &authority.path(""),
        &[
            (&plain.0, plain.1),
            (&tracked.0, tracked.1),
            ("maxconn 16384", "maxconn 512".to_owned()),
            ("bind :8080", format!("bind {addr}")),
            ("bind :8443", format!("bind {tls}")),
            ("/etc/haproxy/hub.pem", authority.file("both.pem")),
            ("/etc/haproxy/come-back.http", shipped::path("configs/proxies/come-back.http").display().to_string()),
        ],
    );
    // Debian has it where only root's PATH looks.
    let debian = Path::new("/usr/sbin/haproxy");
    let mut command = Command::new(if debian.is_file() { debian } else { Path::new("haproxy") });
    command.args(["-db", "-f", &file]);
    command
}

fn envoy(authority: &Authority, addr: SocketAddr, tls: SocketAddr, nodes: &[SocketAddr]) -> Command {
    let endpoint = |address: &str, port: &str| {
        format!(
            "              - endpoint: {{ address: {{ socket_address: {{ address: {address}, port_value: {port} }} }} }}"
        )
    };
    let three: String = (1..=3).map(|number| endpoint(&format!("hub-{number}"), "8080") + "\n").collect();
    let listener = |addr: SocketAddr| format!("address: {}, port_value: {} }}", addr.ip(), addr.port());
    let file = own(
        "envoy.yaml",
        &authority.path(""),
        &[
            (&three, lines(nodes, |_, node| endpoint(&node.ip().to_string(), &node.port().to_string()))),
            ("address: 0.0.0.0, port_value: 8080 }", listener(addr)),
            ("address: 0.0.0.0, port_value: 8443 }", listener(tls)),
            (r#"["hub.example.com", "hub.example.com:*"]"#, r#"["*"]"#.to_owned()),
            ("/etc/envoy/fullchain.pem", authority.file("edge.pem")),
            ("/etc/envoy/privkey.pem", authority.file("edge.key")),
        ],
    );
    let mut command = Command::new(process::root().join(".tools/proxies/bin/envoy"));
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning", "-c", &file]);
    command
}
