//! Pages of other origins that may use the hub, as browsers ask for it.
//!
//! A browser sends cookies and tokens along only if the answer names the page's origin and allows credentials, so a listed
//! origin may act as its visitors. `*` therefore is no origin here. A page that is not listed gets its answer without a
//! word of CORS, and its browser keeps that from it.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use actix_cors::{Cors, CorsError};
use actix_web::{
    Error, ResponseError,
    body::{BoxBody, MessageBody},
    dev::ServiceResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::Condition,
};

use crate::{problem::Problem, trace};

/// How long a browser may rely on the answer to a preflight, in seconds.
const PREFLIGHT_AGE_S: usize = 600;

/// Longest origin, in bytes: a scheme, a DNS name and a port.
const ORIGIN_BYTES_MAX: usize = 300;

/// What a page may set on its requests.
const REQUEST_HEADERS: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_TYPE,
    HeaderName::from_static("last-event-id"),
    trace::TRACEPARENT,
    trace::TRACESTATE,
];

/// A page's origin, in the form in which browsers send it: lower case, no usual port, nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// `*`.
    #[error("`*` would let every page act as its visitors; name the origins")]
    Any,
    /// Anything else.
    #[error(
        "must be an origin such as https://app.example or http://localhost:3000: scheme, host, port, nothing behind"
    )]
    Malformed,
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.trim() == "*" {
            return Err(OriginError::Any);
        }
        parse(text).ok_or(OriginError::Malformed)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parse(text: &str) -> Option<Origin> {
    if text.len() > ORIGIN_BYTES_MAX {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let (scheme, rest) = text.split_once("://")?;
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_alphabetic()) || !scheme.bytes().all(in_scheme) {
        return None;
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let host = match host.strip_prefix('[') {
        Some(inner) => format!("[{}]", inner.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?),
        None => {
            let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!host.is_empty() && host.bytes().all(in_host)).then(|| host.to_owned())?
        }
    };
    let port = match port {
        // `parse` alone would take a sign.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    Some(Origin(match (scheme, port) {
        ("http", Some(80_u16)) | ("https", Some(443)) | (_, None) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    }))
}

/// Whether a request's `Origin` is one of these.
pub(crate) fn is_listed(origins: &[Origin], origin: &HeaderValue) -> bool {
    origins.iter().any(|listed| listed.0.as_bytes() == origin.as_bytes())
}

/// Answers preflights, and names a listed origin on every other answer. Without a list it does nothing.
pub(crate) fn layer(origins: &[Origin]) -> Condition<Cors> {
    let cors = origins.iter().fold(Cors::default(), |cors, origin| cors.allowed_origin(&origin.0));
    let cors = cors
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allowed_headers(REQUEST_HEADERS)
        .expose_headers([header::RETRY_AFTER, trace::TRACEPARENT])
        .supports_credentials()
        .max_age(PREFLIGHT_AGE_S);
    Condition::new(!origins.is_empty(), cors)
}

/// What actix-cors leaves to be done: a preflight that it refuses is told as a problem, and an origin that is not listed
/// gets none of its headers.
pub(crate) fn finish(mut answer: ServiceResponse<impl MessageBody + 'static>) -> ServiceResponse<BoxBody> {
    if let Some(problem) = answer.response().error().and_then(refused) {
        let (request, _) = answer.into_parts();
        let mut refusal = problem.error_response();
        refusal.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
        return ServiceResponse::new(request, refusal);
    }
    let headers = answer.headers_mut();
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    }
    answer.map_into_boxed_body()
}

fn refused(error: &Error) -> Option<Problem> {
    let (field, what) = match error.as_error::<CorsError>()? {
        CorsError::OriginNotAllowed | CorsError::MissingOrigin => ("Origin", "is not one of cors.origins"),
        CorsError::HeadersNotAllowed | CorsError::BadRequestHeaders => {
            ("Access-Control-Request-Headers", "names a header that pages may not set here")
        }
        _ => ("Access-Control-Request-Method", "is not a method that pages may use here"),
    };
    Some(Problem::field(field, what).with_status(StatusCode::FORBIDDEN))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn origins_are_kept_as_browsers_send_them() {
        for (text, kept) in [
            ("https://app.example", "https://app.example"),
            ("HTTPS://App.Example:443", "https://app.example"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://app.example:080", "https://app.example:80"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[0:0:0:0:0:0:0:1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(text.parse::<Origin>().map(|origin| origin.to_string()), Ok(kept.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_is_kept_as_it_is(text in "[a-zA-Z]{1,9}://[a-zA-Z0-9.:_\\[\\]/-]{1,20}(:[0-9]{1,5})?|.{0,40}") {
            if let Ok(origin) = text.parse::<Origin>() {
                let kept = origin.to_string();
                prop_assert!(kept.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'*'), "{kept}");
                prop_assert_eq!(kept.parse(), Ok(origin));
            }
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "null",
            "app.example",
            "//app.example",
            "https://",
            "https://*",
            "https://*.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?x",
            "https://app.example#x",
            "https://me@app.example",
            "https://app.example:",
            "https://app.example:0",
            "https://app.example:+1",
            "https://app.example:65536",
            "https://app example",
            "https://app.example\r\nX: y",
            "https://münchen.example",
            "https://[::1",
            "https://[x]:1",
            "1https://app.example",
            "file://",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(OriginError::Malformed), "{text}");
        }
        assert_eq!(format!("https://{}", "x".repeat(300)).parse::<Origin>(), Err(OriginError::Malformed));
        for text in ["*", " * "] {
            assert_eq!(text.parse::<Origin>(), Err(OriginError::Any));
        }
    }
}
