//! Tokens made by hand, and what good ones give.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use towncrier_auth::{
    Claims, Demands, Identity, Key, Login, LoginTimes, MintError, Minter, Refused, Rights, Secret, UnixTime, Verifier,
};
use towncrier_wire::{Name, Selector};

use crate::openssl;

/// The secret of most tests.
pub(crate) const SECRET: &[u8; 32] = b"thirty-two bytes, and not a word";

/// The time of most tests.
pub(crate) fn now() -> UnixTime {
    UnixTime::from_secs(1_795_161_600)
}

pub(crate) fn b64(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A token with a signature by HS256.
pub(crate) fn hs256(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", b64(signature))
}

/// A good header and these claims, by [`SECRET`].
pub(crate) fn with_claims(claims: &str) -> String {
    hs256(r#"{"alg":"HS256"}"#, claims, SECRET)
}

/// A verifier with [`SECRET`] only.
pub(crate) fn verifier(demands: Demands) -> Verifier {
    let key = Key::hs256(&Secret::new(*SECRET), None).expect("a key");
    Verifier::new(vec![key], None, demands).expect("a verifier")
}

fn claims() -> Claims {
    let selectors = |texts: &[&str]| texts.iter().map(|text| Selector::new(text).expect("a selector")).collect();
    Claims {
        subject: Some(Name::new("alice").expect("a name")),
        expires_at: Some(now().plus(Duration::from_secs(60))),
        rights: Rights { subscribe: selectors(&["orders/*"]), publish: selectors(&["orders/42"]), admin: Vec::new() },
        ..Claims::default()
    }
}

#[test]
fn a_token_of_each_algorithm_gives_its_bearers_identity() {
    let secret = Secret::new(*SECRET);
    let pem = |pair: &openssl::Pair| Minter::from_pem(&Secret::new(pair.private_pem.clone()), None).expect("a minter");
    for (alg, minter) in [
        ("HS256", Minter::hs256(&secret, None).expect("a minter")),
        ("RS256", pem(openssl::rsa())),
        ("ES256", pem(openssl::p256())),
        ("EdDSA", pem(openssl::ed25519())),
    ] {
        assert_eq!(minter.key().alg().as_str(), alg);
        let verifier = Verifier::new(vec![minter.key().clone()], None, Demands::default()).expect("a verifier");
        let token = minter.mint(&claims()).expect("a token");
        let identity = Identity {
            user: claims().subject,
            expires_at: Some(now().plus(Duration::from_secs(70))),
            login: None,
            rights: claims().rights,
        };
        assert_eq!(verifier.verify(&token, now()), Ok(identity), "{alg}");
    }
}

#[test]
fn a_login_is_recognised_and_a_token_of_another_kind_is_not() {
    let minter = Minter::hs256(&Secret::new(*SECRET), Some("own")).expect("a minter");
    let verifier = Verifier::new(vec![minter.key().clone()], None, Demands::default()).expect("a verifier");
    let times = LoginTimes::new(Duration::from_secs(3600), Duration::from_secs(86_400)).expect("times");
    let begun = times.begin(Name::new("alice").expect("a name"), Rights::default(), now());
    let identity = verifier.verify(&minter.mint(&begun).expect("a token"), now()).expect("valid");
    let expires_at = now().plus(Duration::from_secs(3600));
    assert_eq!(identity.login, Some(Login { at: now(), issued_at: now(), expires_at }));

    let identity = verifier.verify(&minter.mint(&claims()).expect("a token"), now()).expect("valid");
    assert_eq!(identity.login, None);
}

#[test]
fn a_token_that_no_hub_would_take_is_not_minted() {
    let minter = Minter::hs256(&Secret::new(*SECRET), None).expect("a minter");
    let mut claims = claims();
    claims.rights.subscribe =
        (0..100).map(|n| Selector::new(&format!("{n}{}", "x".repeat(200))).expect("one")).collect();
    assert_eq!(minter.mint(&claims), Err(MintError::TooLong));
}

#[test]
fn times_are_kept_to_the_second_with_leeway() {
    let verifier = verifier(Demands { leeway: Duration::from_secs(10), ..Demands::default() });
    let (exp, nbf) = (1_795_161_600_u64, 1_795_161_500_u64);
    let token = with_claims(&format!(r#"{{"exp":{exp},"nbf":{nbf}}}"#));
    for (at, expected) in [
        (nbf - 11, Some(Refused::NotYetValid)),
        (nbf - 10, None),
        (nbf, None),
        (exp - 1, None),
        (exp, None),
        (exp + 9, None),
        (exp + 10, Some(Refused::Expired)),
        (exp + 1_000_000, Some(Refused::Expired)),
        (0, Some(Refused::NotYetValid)),
    ] {
        assert_eq!(verifier.verify(&token, UnixTime::from_secs(at)).err(), expected, "{at}");
    }
    let endless = self::verifier(Demands { leeway: Duration::MAX, ..Demands::default() });
    assert_eq!(endless.verify(&token, UnixTime::from_secs(exp + 299)).err(), None);
    assert_eq!(endless.verify(&token, UnixTime::from_secs(exp + 300)).err(), Some(Refused::Expired));
    let exact = self::verifier(Demands { leeway: Duration::ZERO, ..Demands::default() });
    assert_eq!(exact.verify(&token, UnixTime::from_secs(exp - 1)).err(), None);
    assert_eq!(exact.verify(&token, UnixTime::from_secs(exp)).err(), Some(Refused::Expired));
    assert_eq!(exact.verify(&token, UnixTime::from_secs(nbf - 1)).err(), Some(Refused::NotYetValid));
}

#[test]
fn a_token_without_end_is_taken_only_where_that_is_wanted() {
    let token = with_claims(r#"{"sub":"a"}"#);
    assert_eq!(verifier(Demands::default()).verify(&token, now()), Err(Refused::NoExpiry));
    let lax = verifier(Demands { expiry: false, ..Demands::default() });
    assert_eq!(lax.verify(&token, now()).map(|identity| identity.expires_at), Ok(None));
    let expired = with_claims(r#"{"sub":"a","exp":1}"#);
    assert_eq!(lax.verify(&expired, now()), Err(Refused::Expired), "one that has an end keeps to it");
}

#[test]
fn issuers_and_audiences_are_those_that_are_configured() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for (issuers, audiences, claims, expected) in [
        (&[][..], &[][..], r#""iss":"anyone""#, None),
        (&[], &[], r#""aud":"someone""#, Some(Refused::Audience)),
        (&["a", "b"], &[], r#""iss":"b""#, None),
        (&["a"], &[], r#""iss":"A""#, Some(Refused::Issuer)),
        (&["a"], &[], r#""sub":"x""#, Some(Refused::Issuer)),
        (&[], &["hub"], r#""aud":"hub""#, None),
        (&[], &["hub"], r#""aud":["other","hub"]"#, None),
        (&[], &["hub"], r#""aud":["other"]"#, Some(Refused::Audience)),
        (&[], &["hub"], r#""aud":[]"#, Some(Refused::Audience)),
        (&[], &["hub"], r#""aud":"hub2""#, Some(Refused::Audience)),
        (&[], &["hub"], r#""sub":"x""#, Some(Refused::Audience)),
        (&["a"], &["hub"], r#""iss":"a","aud":"hub""#, None),
    ] {
        let demands = Demands { issuers: texts(issuers), audiences: texts(audiences), ..Demands::default() };
        let token = with_claims(&format!(r#"{{"exp":9999999999,{claims}}}"#));
        assert_eq!(verifier(demands).verify(&token, now()).err(), expected, "{issuers:?} {audiences:?} {claims}");
    }
}

#[test]
fn keys_change_while_both_the_old_and_the_new_one_are_there() {
    let secrets = [b'a', b'b', b'c'].map(|letter| Secret::new([letter; 32]));
    let minters = [("old", 0), ("new", 1)].map(|(kid, at)| Minter::hs256(&secrets[at], Some(kid)).expect("a minter"));
    let keys = |minters: &[&Minter]| minters.iter().map(|minter| minter.key().clone()).collect();
    let verifier = |keys| Verifier::new(keys, None, Demands::default()).expect("a verifier");
    let [old, new] = minters.each_ref().map(|minter| minter.mint(&claims()).expect("a token"));
    let during = verifier(keys(&[&minters[1], &minters[0]]));
    assert!(during.verify(&old, now()).is_ok() && during.verify(&new, now()).is_ok());
    let after = verifier(keys(&[&minters[1]]));
    assert_eq!(after.verify(&old, now()), Err(Refused::UnknownKey));

    let nameless = Minter::hs256(&secrets[1], None).expect("a minter").mint(&claims()).expect("a token");
    assert!(during.verify(&nameless, now()).is_ok(), "a token without an id may be by any of the keys");
    let stranger = Minter::hs256(&secrets[2], None).expect("a minter").mint(&claims()).expect("a token");
    assert_eq!(during.verify(&stranger, now()), Err(Refused::Signature));
    let unnamed_key = verifier(vec![Key::hs256(&secrets[0], None).expect("a key")]);
    assert!(unnamed_key.verify(&old, now()).is_ok(), "a key without an id may have signed any token");
}
