//! What every answer tells browsers not to do with it.
//!
//! Answers are data for programs. The page, which is meant to be looked at, says more and allows itself its own parts:
//! see `assets.rs`. None says what made it, or of which version that is.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// For whatever allows nothing by itself: should it ever be shown as a page, it loads and runs nothing and is framed by
/// nobody.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    // Data that a publisher chose must not become a script because it looks like one.
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // A token may be in the query.
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // Who may read it from elsewhere asks with CORS, which this is not about; as an image or a script nobody may load it.
    (header::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    // As `frame-ancestors`, for those that do not know it.
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// Adds them to an answer.
pub(crate) fn add(headers: &mut HeaderMap) {
    for (name, value) in ALWAYS {
        headers.insert(name, value);
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, NOTHING);
    }
}
