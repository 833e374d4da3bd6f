//! Certificates of a test's own, made by the `openssl` program, and requests by `curl`, which knows TLS.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
};

use tempfile::TempDir;

/// An authority, and what it has signed.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When `openssl` cannot make it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it runs a program")]
    pub fn new() -> Self {
        let authority = Self { folder: tempfile::tempdir().expect("a folder") };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=Test -keyout ca.key -out ca.pem",
        );
        authority
    }

    /// Signs a certificate for `localhost` and 127.0.0.1, or for a client, as the files `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// When `openssl` cannot make it.
    pub fn sign(&self, name: &str) {
        std::fs::write(self.path("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").expect("a file");
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
        ));
    }

    /// A file in the authority's folder.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// The same as text.
    ///
    /// # Panics
    /// When the temporary folder has a strange name.
    #[must_use]
    pub fn file(&self, file: &str) -> String {
        self.path(file).to_str().expect("a plain path").to_owned()
    }

    /// Puts a certificate and its key in the place of another's.
    ///
    /// # Panics
    /// When it cannot.
    pub fn replace(&self, name: &str, by: &str) {
        for kind in ["pem", "key"] {
            std::fs::copy(self.path(&format!("{by}.{kind}")), self.path(&format!("{name}.{kind}"))).expect("copied");
        }
    }

    /// The name in the certificate that a server shows.
    ///
    /// # Panics
    /// When `openssl` cannot be run.
    #[must_use]
    pub fn shown_by(&self, server: SocketAddr) -> String {
        let answer = Command::new("openssl")
            .args(["s_client", "-connect", &server.to_string(), "-CAfile", &self.file("ca.pem")])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl is installed");
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let subject = text.lines().find_map(|line| line.strip_prefix("subject=CN = ")).unwrap_or("nobody");
        subject.to_owned()
    }

    /// Runs `curl` with these arguments, trusting this authority.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn curl(&self, arguments: &[&str]) -> Output {
        let mut curl = self.curl_command();
        curl.args(["--max-time", "20"]).args(arguments).output().expect("curl is installed")
    }

    /// The same, to be run by the caller.
    #[must_use]
    pub fn curl_command(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--no-buffer", "--cacert", &self.file("ca.pem")]);
        curl
    }

    #[track_caller]
    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(&self.folder).output();
        let done = done.expect("openssl is installed");
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// What a program wrote, for the words of a failure.
#[must_use]
pub fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
