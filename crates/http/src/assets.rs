//! The demo page, which lies in the binary.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::Path,
};

use crate::problem::Problem;

/// The page runs its own scripts only, talks to its own hub only, and is framed by nobody.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// It needs nothing of the machine that it is shown on.
const PERMISSIONS_POLICY: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
    magnetometer=(), microphone=(), midi=(), payment=(), usb=()";

struct Asset {
    name: &'static str,
    media_type: &'static str,
    body: &'static str,
}

macro_rules! assets {
    ($($name:literal: $media_type:literal,)+) => {
        &[$(Asset { name: $name, media_type: $media_type, body: include_str!(concat!("../assets/", $name)) },)+]
    };
}

const ASSETS: &[Asset] = assets! {
    "index.html": "text/html; charset=utf-8",
    "login.html": "text/html; charset=utf-8",
    "login.js": "text/javascript; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "fields.js": "text/javascript; charset=utf-8",
    "frame.js": "text/javascript; charset=utf-8",
    "hub.js": "text/javascript; charset=utf-8",
    "json.js": "text/javascript; charset=utf-8",
    "log.js": "text/javascript; charset=utf-8",
    "publish-form.js": "text/javascript; charset=utf-8",
    "row.js": "text/javascript; charset=utf-8",
    "selectors.js": "text/javascript; charset=utf-8",
    "stream.js": "text/javascript; charset=utf-8",
    "timing.js": "text/javascript; charset=utf-8",
    "unseal.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
};

pub(crate) async fn page(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve("index.html", &request)
}

/// The page to log in on.
pub(crate) async fn login(request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve("login.html", &request)
}

pub(crate) async fn asset(name: Path<String>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    serve(&name, &request)
}

fn serve(name: &str, request: &HttpRequest) -> Result<HttpResponse, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| Problem::not_found("no such page"))?;
    let tag = format!("\"{:016x}\"", fingerprint(asset.body));
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = HttpResponse::build(if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::PERMISSIONS_POLICY, PERMISSIONS_POLICY))
        .insert_header((header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"));
    if known {
        return Ok(response.finish());
    }
    Ok(response.insert_header((header::CONTENT_TYPE, asset.media_type)).body(asset.body))
}

/// FNV-1a: tells one build's file from another's.
fn fingerprint(text: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let mut served: Vec<_> = ASSETS.iter().map(|asset| asset.name.to_owned()).collect();
        files.sort();
        served.sort();
        assert_eq!(files, served);
    }
}
