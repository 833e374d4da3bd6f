//! One request for a JWKS document.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent,
    http::{StatusCode, Uri, header::CACHE_CONTROL},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem},
};

use super::{JwksOptions, SourceError};
use crate::{
    keys::Jwks,
    limits::{JWKS_BYTES_MAX, PEM_BYTES_MAX},
};

/// Bytes of a response's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// A client for one URL.
#[derive(Debug)]
pub(super) struct Fetcher {
    agent: Agent,
    url: String,
}

/// A document that was read.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) jwks: Jwks,
    pub(super) max_age: Option<Duration>,
}

impl Fetcher {
    pub(super) fn new(options: &JwksOptions) -> Result<Self, SourceError> {
        let https = check(&options.url)?;
        let mut config = Agent::config_builder()
            .timeout_global(Some(options.timeout))
            .timeout_connect(Some(options.timeout))
            // A document elsewhere is another URL, and might be one without TLS.
            .max_redirects(0)
            .max_response_header_size(HEAD_BYTES_MAX)
            .max_idle_connections(0)
            .user_agent("towncrier")
            .accept("application/jwk-set+json, application/json");
        if https {
            config = config.https_only(true).tls_config(
                TlsConfig::builder()
                    .provider(TlsProvider::Rustls)
                    .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .root_certs(RootCerts::Specific(Arc::new(roots(options)?)))
                    .build(),
            );
        } else {
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().new_agent(), url: options.url.clone() })
    }

    /// Reads the document. Blocks, but not longer than the timeout.
    pub(super) fn fetch(&self) -> Result<Fetched, SourceError> {
        let mut response = self.agent.get(&self.url).call().map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(SourceError::Status(response.status().as_u16()));
        }
        let cache_control = response.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let max_age = cache_control.and_then(max_age);
        // One byte more than is allowed, so that what is too long is told from what is cut off.
        let body = response.body_mut().with_config().limit(JWKS_BYTES_MAX as u64 + 1).read_to_vec().map_err(failed)?;
        Ok(Fetched { jwks: Jwks::parse(&body)?, max_age })
    }
}

fn failed(error: ureq::Error) -> SourceError {
    match error {
        ureq::Error::StatusCode(status) => SourceError::Status(status),
        ureq::Error::BodyExceedsLimit(_) => SourceError::Document(crate::keys::JwksError::TooLong),
        error => SourceError::Request(error.to_string()),
    }
}

/// Whether it is https; without TLS only this machine will do.
fn check(url: &str) -> Result<bool, SourceError> {
    let uri: Uri = url.parse().map_err(|_| SourceError::Url)?;
    let authority = uri.authority().ok_or(SourceError::Url)?;
    if authority.as_str().contains('@') {
        return Err(SourceError::Url);
    }
    match uri.scheme_str() {
        Some("https") => Ok(true),
        Some("http") if is_loopback(authority.host()) => Ok(false),
        Some("http") => Err(SourceError::NotHttps),
        _ => Err(SourceError::Url),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn roots(options: &JwksOptions) -> Result<Vec<Certificate<'static>>, SourceError> {
    if let Some(pem) = &options.roots {
        if pem.len() > PEM_BYTES_MAX {
            return Err(SourceError::Roots);
        }
        let certificates = parse_pem(pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(_) => Some(Err(SourceError::Roots)),
        });
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        return if certificates.is_empty() { Err(SourceError::Roots) } else { Ok(certificates) };
    }
    let native = rustls_native_certs::load_native_certs();
    if native.certs.is_empty() {
        return Err(SourceError::Roots);
    }
    Ok(native.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}

/// How long a document may be kept (RFC 9111, section 5.2.2). What forbids to keep it means: as short as possible.
fn max_age(cache_control: &str) -> Option<Duration> {
    let mut age = None;
    for directive in cache_control.split(',') {
        let (name, value) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "max-age" => {
                let seconds: u32 = value.trim_matches('"').parse().ok()?;
                age = Some(Duration::from_secs(seconds.into()));
            }
            _ => {}
        }
    }
    age
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_this_machine() {
        for url in [
            "https://id.example/keys",
            "https://id.example:8443/keys?a=b",
            "http://localhost:80/keys",
            "http://LOCALHOST/keys",
            "http://127.0.0.1:1/keys",
            "http://127.9.9.9/keys",
            "http://[::1]:8080/keys",
        ] {
            assert!(check(url).is_ok(), "{url}");
        }
        for url in [
            "http://id.example/keys",
            "http://10.0.0.1/keys",
            "http://127.0.0.1.example/keys",
            "http://localhost.example/keys",
            "http://[::2]/keys",
        ] {
            assert_eq!(check(url).err(), Some(SourceError::NotHttps), "{url}");
        }
        for url in [
            "",
            "/keys",
            "id.example",
            "ftp://id.example/keys",
            "file:///keys",
            "https://a:b@id.example/keys",
            "http://",
        ] {
            assert_eq!(check(url).err(), Some(SourceError::Url), "{url}");
        }
    }

    #[test]
    fn the_age_is_what_the_header_says() {
        for (header, age) in [
            ("max-age=300", Some(300)),
            ("public, max-age=300, must-revalidate", Some(300)),
            ("Max-Age=\"300\"", Some(300)),
            ("no-cache", Some(0)),
            ("max-age=300, no-store", Some(0)),
            ("public", None),
            ("max-age=-1", None),
            ("max-age=soon", None),
            ("max-age=99999999999", None),
            ("", None),
        ] {
            assert_eq!(max_age(header), age.map(Duration::from_secs), "{header:?}");
        }
    }
}
