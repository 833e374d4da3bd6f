//! Making tokens: those of logins, and those of `towncrier token`.

use std::{fmt, time::Duration};

use jsonwebtoken::{EncodingKey, Header};
use towncrier_wire::Name;

use crate::{
    Claims, Login, Rights, Secret, UnixTime,
    keys::{Alg, Key, KeyError, private_key},
    limits::{TOKEN_BYTES_MAX, TOKEN_LIFETIME_MAX},
    provider,
};

/// Why no token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// So many rights that no hub would take it.
    #[error("the token would be longer than {TOKEN_BYTES_MAX} bytes; give fewer selectors")]
    TooLong,
    /// The system has no random numbers.
    #[error("the token could not be signed")]
    Sign,
}

/// Signs tokens with one key.
pub struct Minter {
    header: Header,
    signing: EncodingKey,
    key: Key,
}

impl Minter {
    /// Signs by HS256.
    ///
    /// # Errors
    /// As [`Key::hs256`].
    pub fn hs256(secret: &Secret, kid: Option<&str>) -> Result<Self, KeyError> {
        let key = Key::hs256(secret, kid)?;
        Ok(Self::new(key, EncodingKey::from_secret(secret.expose())))
    }

    /// Signs with a private key in PEM: PKCS#8 of RSA, P-256 or Ed25519, or PKCS#1 of RSA.
    ///
    /// # Errors
    /// If there is none, or it is too weak.
    pub fn from_pem(pem: &Secret, kid: Option<&str>) -> Result<Self, KeyError> {
        let (alg, der, public) = private_key(pem)?;
        let key = Key::from_public(public, kid)?;
        let signing = match alg {
            Alg::Rs256 => EncodingKey::from_rsa_der(der.expose()),
            Alg::Es256 => EncodingKey::from_ec_der(der.expose()),
            Alg::EdDsa => EncodingKey::from_ed_der(der.expose()),
            Alg::Hs256 => return Err(KeyError::NoPrivateKey),
        };
        Ok(Self::new(key, signing))
    }

    fn new(key: Key, signing: EncodingKey) -> Self {
        provider::install();
        let mut header = Header::new(key.alg().of_library());
        header.kid = key.kid().map(str::to_owned);
        Self { header, signing, key }
    }

    /// The key that its tokens are checked with.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Makes a token. An RSA signature takes milliseconds.
    ///
    /// # Errors
    /// If it would be too long.
    pub fn mint(&self, claims: &Claims) -> Result<String, MintError> {
        let token =
            jsonwebtoken::encode(&self.header, &claims.to_json(), &self.signing).map_err(|_| MintError::Sign)?;
        if token.len() > TOKEN_BYTES_MAX { Err(MintError::TooLong) } else { Ok(token) }
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minter").field("key", &self.key).finish_non_exhaustive()
    }
}

/// How long logins last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoginTimes {
    lifetime: Duration,
    in_all: Duration,
}

/// Why the times of logins are no good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a login's token must live for 1 minute to 10 years, and the login at least as long as its token")]
pub struct LoginTimesError;

impl LoginTimes {
    /// Tokens of `lifetime`, renewed while they are used, until `in_all` since the login.
    ///
    /// # Errors
    /// If one is less than a minute, more than [`TOKEN_LIFETIME_MAX`], or `in_all` is the shorter one.
    pub fn new(lifetime: Duration, in_all: Duration) -> Result<Self, LoginTimesError> {
        let sane = Duration::from_secs(60)..=TOKEN_LIFETIME_MAX;
        if sane.contains(&lifetime) && sane.contains(&in_all) && lifetime <= in_all {
            Ok(Self { lifetime, in_all })
        } else {
            Err(LoginTimesError)
        }
    }

    /// The claims of whoever has just logged in.
    #[must_use]
    pub fn begin(&self, user: Name, rights: Rights, now: UnixTime) -> Claims {
        self.claims(user, rights, now, now)
    }

    /// Whether a login's token is to be replaced: it is valid, less than half of its life is left, and another would last
    /// longer.
    #[must_use]
    pub fn renewable(&self, login: &Login, now: UnixTime) -> bool {
        let left = login.expires_at.since(now);
        let whole = login.expires_at.since(login.issued_at);
        now < login.expires_at && left < whole / 2 && self.end(login.at, now) > login.expires_at
    }

    /// The claims that replace those of a login. The caller looks up which rights the user has by now.
    #[must_use]
    pub fn renew(&self, login: &Login, user: Name, rights: Rights, now: UnixTime) -> Claims {
        self.claims(user, rights, login.at, now)
    }

    fn end(&self, login_at: UnixTime, now: UnixTime) -> UnixTime {
        now.plus(self.lifetime).min(login_at.plus(self.in_all))
    }

    fn claims(&self, user: Name, rights: Rights, login_at: UnixTime, now: UnixTime) -> Claims {
        Claims {
            subject: Some(user),
            issued_at: Some(now),
            expires_at: Some(self.end(login_at, now)),
            rights,
            login_at: Some(login_at),
            ..Claims::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> LoginTimes {
        LoginTimes::new(Duration::from_secs(3600), Duration::from_secs(8 * 3600)).expect("sane times")
    }

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn login(claims: &Claims) -> Login {
        let given = |time: Option<UnixTime>| time.expect("a login has it");
        Login { at: given(claims.login_at), issued_at: given(claims.issued_at), expires_at: given(claims.expires_at) }
    }

    #[test]
    fn a_login_is_renewed_from_half_of_its_life_until_its_end() {
        let (times, user) = (times(), || Name::new("alice").expect("a name"));
        let first = login(&times.begin(user(), Rights::default(), at(0)));
        assert_eq!((first.at, first.expires_at), (at(0), at(3600)));
        assert!(!times.renewable(&first, at(1800)) && times.renewable(&first, at(1801)));
        assert!(times.renewable(&first, at(3599)) && !times.renewable(&first, at(3600)), "an expired one never");

        let mut current = first;
        let mut renewals = 0;
        for second in 0..10 * 3600 {
            if times.renewable(&current, at(second)) {
                let next = login(&times.renew(&current, user(), Rights::default(), at(second)));
                assert!(next.expires_at > current.expires_at && next.at == first.at);
                current = next;
                renewals += 1;
            }
        }
        assert_eq!(current.expires_at, at(8 * 3600), "the login's end, however often it is used");
        assert!((14..=20).contains(&renewals), "{renewals} renewals");
    }

    #[test]
    fn times_must_make_sense() {
        let secs = Duration::from_secs;
        for (lifetime, in_all) in [(59, 3600), (3600, 3599), (0, 0), (3600, u64::MAX)] {
            assert!(LoginTimes::new(secs(lifetime), secs(in_all)).is_err(), "{lifetime} {in_all}");
        }
    }
}
