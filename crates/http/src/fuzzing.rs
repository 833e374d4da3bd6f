//! What reads the bytes of strangers, for the fuzz targets: nothing here is for anybody else.

use std::net::IpAddr;

use actix_web::{
    http::{
        Uri,
        header::{self, HeaderMap, HeaderValue},
    },
    test::TestRequest,
};
use towncrier_wire::NewEvent;

use crate::{
    ForwardedBy, Proxies, Tokens,
    access::Place,
    ingest::{Content, PublishItem},
    json, problem, publish,
};

/// What a request was refused with.
#[derive(Debug, Clone)]
pub struct Refused(pub serde_json::Value);

impl From<problem::Problem> for Refused {
    fn from(problem: problem::Problem) -> Self {
        Self(problem.to_json())
    }
}

/// The events of a publish, and whether it came as `topics`.
///
/// # Errors
/// If it is refused.
pub fn publish(text: &str, data_bytes_max: usize) -> Result<(Vec<NewEvent>, bool), Refused> {
    let item = PublishItem::parse(text, data_bytes_max)?;
    Ok((item.events, item.many))
}

/// The data of a direct event, and its type.
///
/// # Errors
/// If it is refused.
pub fn direct(text: &str, data_bytes_max: usize) -> Result<(String, Option<String>), Refused> {
    let content = Content::parse(text, data_bytes_max)?;
    Ok((content.data.as_ref().into(), content.event_type.map(|event_type| event_type.as_str().into())))
}

/// The items of a batch.
///
/// # Errors
/// If it is refused.
pub fn batch(text: &str, lines: bool) -> Result<Vec<&str>, Refused> {
    Ok(publish::split(text, lines)?)
}

/// JSON without white space between its tokens.
#[must_use]
pub fn compact(text: &str) -> String {
    json::compact(text)
}

/// Where a token was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// In the header `Authorization`.
    Header,
    /// In the cookie.
    Cookie,
    /// In the query.
    Query,
}

/// The token of a request for this path and query with these headers, or what it is refused with. `None` if no such request
/// can be made.
#[must_use]
pub fn find_token(
    tokens: &Tokens,
    target: &str,
    authorization: &[&[u8]],
    cookies: &[&[u8]],
) -> Option<Result<Option<(String, Found)>, Refused>> {
    let uri = Uri::try_from(target).ok()?;
    let mut request = TestRequest::default().uri(&uri.to_string());
    for (name, values) in [(header::AUTHORIZATION, authorization), (header::COOKIE, cookies)] {
        for value in values {
            request = request.append_header((name.clone(), HeaderValue::from_bytes(value).ok()?));
        }
    }
    let found = tokens.find(&request.to_http_request());
    let place = |place| match place {
        Place::Header => Found::Header,
        Place::Cookie => Found::Cookie,
        Place::Query => Found::Query,
    };
    Some(found.map(|found| found.map(|(token, at)| (token, place(at)))).map_err(Refused::from))
}

/// The client of a request from `peer` with these values of the header that proxies set; `None` if a value is none, or a proxy
/// names nobody.
#[must_use]
pub fn client(proxies: &Proxies, peer: IpAddr, values: &[&[u8]]) -> Option<IpAddr> {
    let name = match proxies.header {
        ForwardedBy::XForwardedFor => header::X_FORWARDED_FOR,
        ForwardedBy::Forwarded => header::FORWARDED,
    };
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name.clone(), HeaderValue::from_bytes(value).ok()?);
    }
    proxies.client(peer, &headers).ok()
}
