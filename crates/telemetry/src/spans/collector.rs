//! Requests to the collector.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use ureq::{
    Agent, Body,
    http::{HeaderName, HeaderValue, Uri, header},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

use super::{Options, SpansError};

/// Bytes of an answer's head, and of its body.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// A collector of spans. What is to be known of it beyond the SDK's yes or no is seen here.
#[derive(Debug)]
pub(super) struct Collector {
    agent: Agent,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    /// Whether the last request failed, which is told once.
    failing: AtomicBool,
    rejected: AtomicU64,
    /// Until when requests may take, once the hub ends.
    until: OnceLock<Instant>,
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
            timeout: options.timeout,
            failing: AtomicBool::new(false),
            rejected: AtomicU64::new(0),
            until: OnceLock::new(),
        })
    }

    /// Where requests go.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Lets no request take longer than until then.
    pub(super) fn end_at(&self, until: Instant) {
        let _ = self.until.set(until);
    }

    /// Whether that was said.
    pub(super) fn is_over(&self) -> bool {
        self.until.get().is_some()
    }

    /// How many spans it took a request with, but said that it rejects, since the last call.
    pub(super) fn take_rejected(&self) -> u64 {
        self.rejected.swap(0, Ordering::Relaxed)
    }

    fn post(&self, body: &[u8]) -> Result<Response<Body>, ureq::Error> {
        let left = self.until.get().map(|until| until.saturating_duration_since(Instant::now()));
        let within = left.map_or(self.timeout, |left| left.clamp(Duration::from_millis(1), self.timeout));
        // Not the exporter's headers, to which it adds those of `OTEL_EXPORTER_OTLP_HEADERS`.
        let request = self.agent.post(&self.url).header(header::CONTENT_TYPE, "application/x-protobuf");
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.config().timeout_global(Some(within)).build().send(body)
    }

    fn takes(&self, answer: &[u8]) {
        let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        if let Ok(rejected @ 1..) = u64::try_from(rejected) {
            self.rejected.fetch_add(rejected, Ordering::Relaxed);
            tracing::warn!(rejected, "the collector rejects spans");
        }
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the collector takes spans again");
        }
    }

    fn refuses(&self, why: &str) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, "the collector takes no spans");
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// Blocks, as it may on the SDK's thread. What has failed may be sent again: a span that is taken twice is shown once.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, mut body) =
            self.post(request.body()).inspect_err(|error| self.refuses(&error.to_string()))?.into_parts();
        let mut answer = Bytes::new();
        if head.status.is_success() {
            // It has them, whatever it wanted to say.
            answer = body.with_config().limit(BODY_BYTES_MAX).read_to_vec().unwrap_or_default().into();
            self.takes(&answer);
        } else {
            self.refuses(&format!("it answers {}", head.status));
        }
        Ok(Response::from_parts(head, answer))
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
