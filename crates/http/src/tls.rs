//! TLS: certificates that may change while the hub runs, and the handshake.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

/// How often it is looked whether the files have changed.
const LOOK: Duration = Duration::from_secs(2);

/// Largest file of certificates or keys, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where the hub's certificate and key lie, both as PEM: the certificate first, then those that lead to its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct TlsError {
    path: PathBuf,
    what: String,
}

/// The hub's certificate as it is now.
pub(crate) struct Certificates {
    files: TlsFiles,
    /// Locked for as long as it takes to count a reference.
    current: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// # Errors
    /// If a file cannot be read, or the key is not the certificate's.
    pub(crate) fn load(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Arc::new(read(&files)?));
        Ok(Arc::new(Self { files, current }))
    }

    /// Takes up new files when they come. One that is wrong is told of once and the old one kept: a renewal that went wrong
    /// must not end a hub that works. Connections that are open keep what they began with.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut known = contents(&self.files).ok();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = contents(&self.files).ok();
            if now == known {
                continue;
            }
            known = now;
            match read(&self.files) {
                Ok(certified) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    tracing::info!(cert = %self.files.cert.display(), "took up a new certificate");
                }
                Err(error) => tracing::error!(%error, "cannot take up the new certificate, going on with the old one"),
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What accepts a connection. With `clients`, only of those whose certificate one of these authorities has signed.
///
/// # Errors
/// If the file of authorities is wrong, or no provider of cryptography was installed.
pub(crate) fn acceptor(certificates: Arc<Certificates>, clients: Option<&Path>) -> Result<TlsAcceptor, TlsError> {
    let builder = ServerConfig::builder();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in pem_certificates(path, &read_file(path)?)? {
                roots.add(authority).map_err(|error| wrong(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, error))?)
        }
    };
    let path = certificates.files.cert.clone();
    let mut config = builder.with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Clients that come back by the thousands resume with a ticket, and cost no signature; nothing is kept of them here.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(|error| wrong(&path, error))?;
    config.send_tls13_tickets = 1;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn read(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let [cert, key] = contents(files)?;
    let chain = pem_certificates(&files.cert, &cert)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong(&files.key, error))?;
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => wrong(&files.key, "it is not the certificate's key"),
        error => wrong(&files.key, error),
    })
}

fn contents(files: &TlsFiles) -> Result<[Vec<u8>; 2], TlsError> {
    Ok([read_file(&files.cert)?, read_file(&files.key)?])
}

fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let size = fs::metadata(path).map_err(|error| wrong(path, error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(wrong(path, format_args!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    fs::read(path).map_err(|error| wrong(path, error))
}

fn pem_certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| wrong(path, error))?;
    if certificates.is_empty() { Err(wrong(path, "there is no certificate in it")) } else { Ok(certificates) }
}

fn wrong(path: &Path, what: impl fmt::Display) -> TlsError {
    TlsError { path: path.to_owned(), what: what.to_string() }
}
