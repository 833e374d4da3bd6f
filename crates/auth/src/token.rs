//! The outside of a token: three parts, and a header that says which key may have signed it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    Refused,
    json::{members, too_deep},
    keys::Alg,
    limits::{KID_BYTES_MAX, TOKEN_BYTES_MAX},
};

/// A token taken apart, with nothing in it believed yet.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) alg: Alg,
    pub(crate) kid: Option<String>,
    /// The claims' JSON.
    pub(crate) claims: String,
}

impl Token {
    /// Takes a token apart: its length first, then its form, its depth and its header.
    ///
    /// A key, or the address of one, in the header (`jwk`, `x5c`, `jku`, `x5u`) is passed over: whoever made the token chose it.
    pub(crate) fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let mut parts = text.split('.');
        let (Some(header), Some(claims), Some(_signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Malformed);
        };
        let (header, claims) = (decode(header)?, decode(claims)?);
        if too_deep(header.as_bytes()) || too_deep(claims.as_bytes()) {
            return Err(Refused::TooDeep);
        }
        let (mut alg, mut kid, mut critical) = (None, None, false);
        for (name, value) in members(&header).map_err(|_| Refused::Malformed)? {
            match name.as_ref() {
                "alg" => alg = Some(string(value.get())?),
                "kid" => kid = Some(string(value.get())?),
                "crit" => critical = true,
                _ => {}
            }
        }
        let alg = Alg::from_name(&alg.ok_or(Refused::Malformed)?).ok_or(Refused::Algorithm)?;
        if critical {
            return Err(Refused::Critical);
        }
        if kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(Refused::UnknownKey);
        }
        Ok(Self { alg, kid, claims })
    }
}

/// Base64url without padding and without spare bits, and UTF-8.
fn decode(part: &str) -> Result<String, Refused> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Refused::Malformed)?;
    String::from_utf8(bytes).map_err(|_| Refused::Malformed)
}

fn string(json: &str) -> Result<String, Refused> {
    serde_json::from_str(json).map_err(|_| Refused::Malformed)
}
