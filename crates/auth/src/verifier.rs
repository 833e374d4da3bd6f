//! From a token to whom it speaks for.

use std::{sync::Arc, time::Duration};

use crate::{
    Claims, Identity, Login, Refused, UnixTime,
    keys::{Alg, Key, KeyError, candidates},
    limits::{KEYS_MAX, LEEWAY_MAX},
    provider,
    source::{JwksSource, Renewal},
    token::Token,
};

/// What a token must be, besides signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demands {
    /// Who may have minted it: `iss` must be one of these, unless there are none.
    pub issuers: Vec<String>,
    /// Whom it may be for: `aud` must have one of these. If there are none, a token with `aud` is refused (RFC 7519,
    /// section 4.1.3): it was made for somebody else.
    pub audiences: Vec<String>,
    /// How far the clocks of the hub and of whoever mints tokens may be apart; at most [`LEEWAY_MAX`] counts.
    pub leeway: Duration,
    /// Whether a token needs `exp`.
    pub expiry: bool,
}

impl Default for Demands {
    fn default() -> Self {
        Self { issuers: Vec::new(), audiences: Vec::new(), leeway: Duration::from_secs(10), expiry: true }
    }
}

/// Checks tokens against keys. Shared by all threads; nothing that it does without waiting locks for long.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<Key>,
    source: Option<Arc<JwksSource>>,
    demands: Demands,
}

impl Verifier {
    /// A verifier with keys of its own, and those of a JWKS URL if there is one.
    ///
    /// # Errors
    /// If there are more than [`KEYS_MAX`] keys.
    pub fn new(keys: Vec<Key>, source: Option<Arc<JwksSource>>, demands: Demands) -> Result<Self, KeyError> {
        if keys.len() > KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        provider::install();
        let demands = Demands { leeway: demands.leeway.min(LEEWAY_MAX), ..demands };
        Ok(Self { keys, source, demands })
    }

    /// Whom a token speaks for, by the keys that are known now. Does not wait.
    ///
    /// Nothing is remembered between calls: a check costs tens of microseconds, once for each request.
    ///
    /// # Errors
    /// If the token is not valid now, or nobody can tell.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Identity, Refused> {
        let parsed = Token::parse(token)?;
        self.check(token, &parsed, now)
    }

    /// The same, but if the token's key is unknown and there is a JWKS URL, has the document read again, at most as often
    /// as the source allows, and waits for it as long as the source says.
    ///
    /// # Errors
    /// If the token is not valid now, or nobody can tell.
    pub async fn verify_or_renew(&self, token: &str, now: UnixTime) -> Result<Identity, Refused> {
        let parsed = Token::parse(token)?;
        // No document has secrets.
        let source = self.source.as_ref().filter(|_| parsed.alg != Alg::Hs256);
        let seen = source.map_or(0, |source| source.attempts());
        match (self.check(token, &parsed, now), source) {
            (Err(Refused::UnknownKey | Refused::KeysUnavailable), Some(source)) => match source.renew(seen).await {
                Renewal::Done => self.check(token, &parsed, now),
                Renewal::Held if source.has_keys() => Err(Refused::UnknownKey),
                Renewal::Held => Err(Refused::KeysUnavailable),
            },
            (result, _) => result,
        }
    }

    fn check(&self, text: &str, token: &Token, now: UnixTime) -> Result<Identity, Refused> {
        self.check_signature(text, token)?;
        self.check_claims(Claims::parse(&token.claims)?, now)
    }

    fn check_signature(&self, text: &str, token: &Token) -> Result<(), Refused> {
        let published = self.source.as_ref().map(|source| source.keys());
        let keys = self.keys.iter().chain(published.iter().flat_map(|keys| keys.iter()));
        let candidates = candidates(keys, token.alg, token.kid.as_deref());
        if candidates.is_empty() {
            let none = published.is_some_and(|keys| keys.is_empty());
            return Err(if none { Refused::KeysUnavailable } else { Refused::UnknownKey });
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Refused::Malformed)?;
        for key in candidates {
            // The key's algorithm, which the candidates have in common with the token.
            let alg = key.alg().of_library();
            match jsonwebtoken::crypto::verify(signature, message.as_bytes(), key.material(), alg) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_) => return Err(Refused::Malformed),
            }
        }
        Err(Refused::Signature)
    }

    // jsonwebtoken would check these too, but by a clock of its own, and it takes some malformed claims for absent ones.
    fn check_claims(&self, claims: Claims, now: UnixTime) -> Result<Identity, Refused> {
        let Demands { issuers, audiences, leeway, expiry } = &self.demands;
        let expires_at = claims.expires_at.map(|at| at.plus(*leeway));
        match expires_at {
            None if *expiry => return Err(Refused::NoExpiry),
            Some(at) if now >= at => return Err(Refused::Expired),
            _ => {}
        }
        if claims.not_before.is_some_and(|at| now.plus(*leeway) < at) {
            return Err(Refused::NotYetValid);
        }
        if !issuers.is_empty() && !claims.issuer.is_some_and(|issuer| issuers.contains(&issuer)) {
            return Err(Refused::Issuer);
        }
        let for_us = match &claims.audience {
            None => audiences.is_empty(),
            Some(given) => given.iter().any(|audience| audiences.contains(audience)),
        };
        if !for_us {
            return Err(Refused::Audience);
        }
        let login = match (claims.login_at, claims.issued_at, claims.expires_at) {
            (Some(at), Some(issued_at), Some(expires_at)) => Some(Login { at, issued_at, expires_at }),
            _ => None,
        };
        Ok(Identity { user: claims.subject, expires_at, login, rights: claims.rights })
    }
}
