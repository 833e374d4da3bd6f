//! nginx with the configuration that is shipped, in front of whatever a test wants.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

use crate::{SOON, eventually, ports, process, shipped};

/// An nginx of a test's own; it ends with the test.
#[derive(Debug)]
pub struct Nginx {
    addr: SocketAddr,
    tls: Option<SocketAddr>,
    child: Child,
    folder: TempDir,
}

impl Nginx {
    /// `configs/nginx.conf` in front of these.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(nodes: &[SocketAddr]) -> Self {
        Self::with(nodes, false)
    }

    /// The same with the lines for TLS, and a certificate that it signed itself.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn tls(nodes: &[SocketAddr]) -> Self {
        Self::with(nodes, true)
    }

    /// Another shipped file, in which these texts are replaced, `{addr}` by where it is to listen.
    ///
    /// # Panics
    /// When it does not start, or does not have one of them.
    #[must_use]
    pub fn shipped(name: &str, replace: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let addr = ports::free();
        let mut text = shipped::text(name);
        for (from, to) in replace {
            assert!(text.contains(from), "{from:?} is not in {name}");
            text = text.replace(from, &to.replace("{addr}", &addr.to_string()));
        }
        // nginx takes one pid only, and it is on the command line.
        let text = text.replace("pid nginx.pid;", "");
        Self::run(addr, None, folder, &text)
    }

    fn with(nodes: &[SocketAddr], tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let addr = ports::free();
        let tls = tls.then(|| {
            certificate(folder.path());
            ports::free()
        });
        let text = whole(addr, tls, nodes, folder.path());
        Self::run(addr, tls, folder, &text)
    }

    fn run(addr: SocketAddr, tls: Option<SocketAddr>, folder: TempDir, text: &str) -> Self {
        // As root, nginx would switch to a user who may not enter a test's folder.
        let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
        let text = format!("{user}{text}");
        fs::write(folder.path().join("nginx.conf"), text).expect("write the configuration");
        let log = File::create(folder.path().join("log")).expect("create the log");
        let mut command = Command::new(program());
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-g", "daemon off; pid nginx.pid;"]);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log).spawn();
        let nginx = Self { addr, tls, child: child.expect("nginx is installed"), folder };
        eventually("nginx listens", SOON, || {
            TcpStream::connect(addr).map_err(|error| format!("{error}: {}", nginx.log()))
        });
        nginx
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it listens for TLS, if it was started so.
    #[track_caller]
    #[must_use]
    pub fn tls_addr(&self) -> SocketAddr {
        self.tls.expect("with TLS")
    }

    /// A URL by TLS.
    #[track_caller]
    #[must_use]
    pub fn tls_url(&self, path: &str) -> String {
        format!("https://{}{path}", self.tls_addr())
    }

    /// The certificate of [`Nginx::tls`].
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("fullchain.pem")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Killed, it would leave its workers behind.
        process::send(&self.child, rustix::process::Signal::TERM);
        if process::wait_exit(&mut self.child, SOON).is_none() {
            let _ = self.child.kill();
        }
        if thread::panicking() {
            eprintln!("the log of nginx:\n{}", self.log());
        }
    }
}

/// Debian has it where only root's PATH looks.
fn program() -> PathBuf {
    let debian = PathBuf::from("/usr/sbin/nginx");
    if debian.is_file() { debian } else { "nginx".into() }
}

/// The shipped file with a test's addresses and folders. What is replaced must be there.
fn whole(addr: SocketAddr, tls: Option<SocketAddr>, nodes: &[SocketAddr], folder: &Path) -> String {
    let mut text = shipped::text("configs/nginx.conf");
    let servers = nodes.iter().fold(String::new(), |mut text, node| {
        let _ = writeln!(text, "server {node} max_fails=1 fail_timeout=2s;");
        text
    });
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = folders.map(|name| format!("{name}_temp_path {name};")).join("\n");
    let mut replace = |from: &str, to: &str| {
        assert!(text.contains(from), "{from:?} is not in configs/nginx.conf");
        text = text.replace(from, to);
    };
    replace("server hub:8080 max_fails=1 fail_timeout=2s;\n", &servers);
    replace("listen 8080", &format!("listen {addr}"));
    replace("http {\n", &format!("http {{\n{folders}\n"));
    replace("worker_rlimit_nofile 65536;", "");
    replace("worker_connections 16384;", "worker_connections 512;");
    if let Some(tls) = tls {
        replace("#tls ", "");
        replace("listen 8443 ", &format!("listen {tls} "));
        for name in ["fullchain.pem", "privkey.pem"] {
            replace(&format!(" {name};"), &format!(" {};", folder.join(name).display()));
        }
    }
    text
}

fn certificate(folder: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-keyout", "privkey.pem", "-out", "fullchain.pem"]).current_dir(folder);
    let made = openssl.output().expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
