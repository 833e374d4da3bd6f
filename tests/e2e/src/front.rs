//! An nginx that stands before one hub and connects to it from an address of its own.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{SOON, eventually, ports};

/// The address from which it connects to the hub, so that it can be told from its clients.
const OWN_ADDRESS: &str = "127.0.0.9";

/// It passes on what clients send, and appends to `X-Forwarded-For` as its documentation says one should.
#[derive(Debug)]
pub struct Front {
    addr: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Front {
    /// The address that the hub sees.
    pub const ADDRESS: &'static str = OWN_ADDRESS;

    /// Starts it before a hub.
    ///
    /// # Panics
    /// When it does not listen soon.
    #[track_caller]
    #[must_use]
    pub fn before(hub: SocketAddr) -> Self {
        let addr = ports::free();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {path}/{kind};\n"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr;
            events {{ }}
            http {{
                access_log off; {temporary}
                server {{
                    listen {addr};
                    location / {{
                        proxy_pass http://{hub};
                        proxy_bind {OWN_ADDRESS};
                        proxy_http_version 1.1;
                        proxy_set_header Host localhost;
                        proxy_set_header Connection \"\";
                        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    }}
                }}
            }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("a file");
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let child = Command::new("nginx")
            .env("PATH", path)
            .args(["-e", "stderr", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        let front = Self { addr, child, _folder: folder };
        eventually("nginx listens", SOON, || TcpStream::connect_timeout(&addr, Duration::from_secs(1)));
        front
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
