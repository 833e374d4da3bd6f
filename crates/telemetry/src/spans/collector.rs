//! Requests to the collector.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent, RequestBuilder,
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
    typestate::WithBody,
};

use super::{Options, SpansError, otlp};

/// Bytes of an answer's head, and of its body.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// A collector of spans.
pub(super) struct Collector {
    agent: Agent,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why spans were not taken.
pub(super) struct Refused {
    pub(super) why: String,
    /// Whether the same may be taken later. A span that was taken twice is shown once: it has an id.
    pub(super) may_pass: bool,
}

impl Collector {
    pub(super) fn new(options: &Options) -> Result<Self, SpansError> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_response_header_size(HEAD_BYTES_MAX)
            .max_idle_connections(1)
            .user_agent("towncrier");
        config = if check_endpoint(&options.endpoint)? {
            config.https_only(true).tls_config(
                TlsConfig::builder()
                    .provider(TlsProvider::Rustls)
                    .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
                    .root_certs(RootCerts::Specific(Arc::new(roots()?)))
                    .build(),
            )
        } else {
            // The collector's agent on this machine, or beside the hub: no proxy lies between.
            config.proxy(None)
        };
        Ok(Self {
            agent: config.build().new_agent(),
            url: format!("{}/v1/traces", options.endpoint.trim_end_matches('/')),
            headers: options.headers.iter().map(header).collect::<Result<_, _>>()?,
        })
    }

    /// Sends a request and gives how many of its spans were rejected. Blocks, but no longer than `within`.
    pub(super) fn send(&self, request: &[u8], within: Duration) -> Result<u64, Refused> {
        let failed = |error: ureq::Error| Refused { why: error.to_string(), may_pass: true };
        let mut response = self.request(within).send(request).map_err(failed)?;
        let status = response.status();
        if !status.is_success() {
            let may_pass = matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
            return Err(Refused { why: format!("it answers {status}"), may_pass });
        }
        let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec();
        // It has them, whatever it wanted to say.
        Ok(body.map_or(0, |body| otlp::rejected(&body)))
    }

    fn request(&self, within: Duration) -> RequestBuilder<WithBody> {
        let request = self.agent.post(&self.url).header(header::CONTENT_TYPE, "application/x-protobuf");
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.config().timeout_global(Some(within)).build()
    }
}

/// Whether spans can be sent to this URL; and if so, whether by TLS.
///
/// # Errors
/// If they cannot.
pub fn check_endpoint(url: &str) -> Result<bool, SpansError> {
    let uri: Uri = url.parse().map_err(|_| SpansError::Endpoint)?;
    let named = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("http") if named && uri.query().is_none() => Ok(false),
        Some("https") if named && uri.query().is_none() => Ok(true),
        _ => Err(SpansError::Endpoint),
    }
}

/// The headers in a text such as `authorization=Bearer TOKEN,tenant=7`.
///
/// # Errors
/// If one of them is none; it is not shown.
pub fn parse_headers(text: &str) -> Result<Vec<(String, String)>, SpansError> {
    let each = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    let parse = |one: &str| {
        let (name, value) = one.split_once('=').ok_or(SpansError::Header)?;
        let pair = (name.trim().to_owned(), value.trim().to_owned());
        header(&pair).map(|_| pair)
    };
    each.map(parse).collect()
}

fn header((name, value): &(String, String)) -> Result<(HeaderName, HeaderValue), SpansError> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| SpansError::Header)?;
    let mut value = HeaderValue::from_str(value).map_err(|_| SpansError::Header)?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn roots() -> Result<Vec<Certificate<'static>>, SpansError> {
    let native = rustls_native_certs::load_native_certs();
    if native.certs.is_empty() {
        return Err(SpansError::Roots);
    }
    Ok(native.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect())
}
