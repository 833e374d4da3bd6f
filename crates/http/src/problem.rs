//! Errors as RFC 9457 problem details, with the field at fault.

use std::{borrow::Cow, fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde::Serialize;
use towncrier_actors::PublishError;
use towncrier_backplane::BackplaneError;

/// How long a client that may come back should wait, in seconds: each another time, so that they do not come at once.
const RETRY_AFTER_S: std::ops::RangeInclusive<u64> = 1..=5;

/// Something is wrong with a request, or with the hub.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    field: Option<String>,
    /// How long it is certain to last, at least.
    wait: Duration,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), field: None, wait: Duration::ZERO }
    }

    /// A bad value of a field; `what` says what is wrong with it.
    pub(crate) fn field(field: impl Into<String>, what: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, String::new()).at(field, what)
    }

    pub(crate) fn too_large(field: impl Into<String>, what: impl fmt::Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, String::new()).at(field, what)
    }

    pub(crate) fn not_found(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Names the field that it is about.
    pub(crate) fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// A problem that lasts for so long, which `Retry-After` then says.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    fn at(mut self, field: impl Into<String>, what: impl fmt::Display) -> Self {
        let field = field.into();
        self.detail = format!("{field}: {what}").into();
        self.field = Some(field);
        self
    }

    /// The problem within an array or an item of a batch.
    pub(crate) fn within(mut self, path: &str) -> Self {
        if let Some(field) = self.field.take() {
            self.detail = format!("{path}: {}", self.detail).into();
            self.field = Some(format!("{path}.{field}"));
        }
        self
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
        }
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
        };
        serde_json::to_value(body).unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                let whole_s = self.wait.as_secs();
                response.insert_header((header::RETRY_AFTER, whole_s + fastrand::u64(RETRY_AFTER_S)));
            }
            StatusCode::UNAUTHORIZED => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
            }
            // What is left of such a body is not worth reading.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                response.force_close();
            }
            _ => {}
        }
        response.body(self.to_json().to_string())
    }
}

impl From<BackplaneError> for Problem {
    fn from(error: BackplaneError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}
