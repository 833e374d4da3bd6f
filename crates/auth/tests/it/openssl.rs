//! Keys and signatures by the `openssl` program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

/// A key pair as files.
pub(crate) struct Pair {
    folder: TempDir,
    pub(crate) private_pem: String,
    pub(crate) public_pem: String,
    /// SubjectPublicKeyInfo in DER.
    pub(crate) public_der: Vec<u8>,
}

impl Pair {
    fn generate(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        run(Command::new("openssl").arg("genpkey").args(options).arg("-out").arg(file("private.pem")));
        let public = |form, name| {
            let mut command = Command::new("openssl");
            command.args(["pkey", "-pubout", "-outform", form, "-in"]).arg(file("private.pem"));
            run(command.arg("-out").arg(file(name)));
        };
        public("PEM", "public.pem");
        public("DER", "public.der");
        let text = |name| fs::read_to_string(file(name)).expect("a PEM");
        Self {
            private_pem: text("private.pem"),
            public_pem: text("public.pem"),
            public_der: fs::read(file("public.der")).expect("a DER"),
            folder,
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The private key in another form, such as PKCS#1.
    pub(crate) fn converted(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("openssl");
        String::from_utf8(run(command.args(arguments).arg("-in").arg(self.file("private.pem")))).expect("a PEM")
    }

    /// RSA with PKCS#1 v1.5, or ECDSA in DER, over SHA-256.
    pub(crate) fn sign_digest(&self, message: &[u8]) -> Vec<u8> {
        self.sign(message, &["dgst", "-sha256", "-sign"])
    }

    /// Ed25519.
    pub(crate) fn sign_whole(&self, message: &[u8]) -> Vec<u8> {
        self.sign(message, &["pkeyutl", "-sign", "-rawin", "-inkey"])
    }

    fn sign(&self, message: &[u8], how: &[&str]) -> Vec<u8> {
        let work = tempfile::tempdir().expect("a folder");
        let file = work.path().join("message");
        fs::write(&file, message).expect("a message");
        let mut command = Command::new("openssl");
        command.args(how).arg(self.file("private.pem"));
        if how[0] == "pkeyutl" {
            command.arg("-in");
        }
        run(command.arg(file))
    }

    /// Whether openssl takes a signature: RSA or ECDSA in DER.
    pub(crate) fn accepts_digest(&self, message: &[u8], signature: &[u8]) -> bool {
        let work = tempfile::tempdir().expect("a folder");
        let [message_file, signature_file] = ["message", "signature"].map(|name| work.path().join(name));
        fs::write(&message_file, message).expect("a message");
        fs::write(&signature_file, signature).expect("a signature");
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256", "-verify"]).arg(self.file("public.pem"));
        command.arg("-signature").arg(signature_file).arg(message_file).output().expect("openssl").status.success()
    }

    /// The same for Ed25519.
    pub(crate) fn accepts_whole(&self, message: &[u8], signature: &[u8]) -> bool {
        let work = tempfile::tempdir().expect("a folder");
        let [message_file, signature_file] = ["message", "signature"].map(|name| work.path().join(name));
        fs::write(&message_file, message).expect("a message");
        fs::write(&signature_file, signature).expect("a signature");
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"]).arg(self.file("public.pem"));
        command.arg("-sigfile").arg(signature_file).arg("-in").arg(message_file);
        command.output().expect("openssl").status.success()
    }
}

/// Runs it and gives what it printed.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    assert!(output.status.success(), "{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub(crate) fn rsa() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::generate(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]))
}

pub(crate) fn p256() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::generate(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]))
}

pub(crate) fn ed25519() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair::generate(&["-algorithm", "ED25519"]))
}

/// A key of a kind that the hub does not take.
pub(crate) fn other(options: &[&str]) -> Pair {
    Pair::generate(options)
}

/// A certificate for `127.0.0.1`, signed by itself, and its key: as files in a folder.
pub(crate) fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=towncrier test", "-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]);
    run(command.arg(&key).arg("-out").arg(&certificate));
    (certificate, key)
}
