//! Documents of keys as identity providers publish them.

use std::process::Command;

use serde_json::{Value, json};
use towncrier_auth::{
    Alg, Claims, Demands, Jwks, JwksError, Key, KeyError, Minter, Secret, Skipped, Verifier,
    limits::{JWKS_BYTES_MAX, JWKS_KEYS_MAX},
};

use crate::{
    openssl,
    tokens::{b64, now},
};

/// An entry for a key of openssl's, from what openssl tells about it.
pub(crate) fn entry(pair: &openssl::Pair, kid: &str) -> Value {
    let der = &pair.public_der;
    let mut command = Command::new("openssl");
    command.args(["pkey", "-pubin", "-text", "-noout", "-in"]).arg(pair.file("public.pem"));
    let text = String::from_utf8(openssl::run(&mut command)).expect("text");
    if text.contains("ED25519") {
        return json!({"kty": "OKP", "crv": "Ed25519", "x": b64(&der[der.len() - 32..]), "kid": kid, "use": "sig"});
    }
    if text.contains("P-256") {
        let (x, y) = der[der.len() - 64..].split_at(32);
        return json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y), "kid": kid, "alg": "ES256"});
    }
    let mut command = Command::new("openssl");
    command.args(["rsa", "-pubin", "-modulus", "-noout", "-in"]).arg(pair.file("public.pem"));
    let modulus = String::from_utf8(openssl::run(&mut command)).expect("text");
    let hex = modulus.trim().strip_prefix("Modulus=").expect("a modulus");
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"));
    json!({"kty": "RSA", "n": b64(bytes.collect::<Vec<_>>()), "e": "AQAB", "kid": kid, "use": "sig", "alg": "RS256"})
}

pub(crate) fn document(entries: &[Value]) -> String {
    json!({ "keys": entries }).to_string()
}

fn pairs() -> [(&'static openssl::Pair, &'static str); 3] {
    [(openssl::rsa(), "r"), (openssl::p256(), "e"), (openssl::ed25519(), "d")]
}

#[test]
fn a_documents_keys_are_those_of_the_pem() {
    let entries = pairs().map(|(pair, kid)| entry(pair, kid));
    let jwks = Jwks::parse(document(&entries).as_bytes()).expect("a document");
    assert_eq!(jwks.skipped, []);
    for (key, (pair, kid)) in jwks.keys.iter().zip(pairs()) {
        assert_eq!(vec![key.clone()], Key::from_pem(pair.public_pem.as_bytes(), Some(kid)).expect("a key"));
    }
    let verifier = Verifier::new(jwks.keys, None, Demands::default()).expect("a verifier");
    for (pair, kid) in pairs() {
        let minter = Minter::from_pem(&Secret::new(pair.private_pem.clone()), Some(kid)).expect("a minter");
        let token = minter.mint(&Claims::parse(r#"{"exp":9999999999}"#).expect("claims")).expect("a token");
        assert!(verifier.verify(&token, now()).is_ok(), "{kid}");
    }
}

#[test]
fn entries_that_cannot_be_used_are_passed_over() {
    let good = entry(openssl::p256(), "good");
    let rsa = entry(openssl::rsa(), "r");
    let with = |base: &Value, changes: Value| {
        let mut entry = base.clone();
        let changes = changes.as_object().expect("an object").clone();
        entry.as_object_mut().expect("an object").extend(changes);
        entry
    };
    let small = openssl::other(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let strange = [
        (json!({"kty": "oct", "k": b64([7; 32]), "kid": "o"}), Skipped::Shared),
        (with(&good, json!({"use": "enc"})), Skipped::Use),
        (with(&good, json!({"key_ops": ["sign"]})), Skipped::Use),
        (with(&good, json!({"alg": "ES384"})), Skipped::Algorithm),
        (with(&rsa, json!({"alg": "PS256"})), Skipped::Algorithm),
        (with(&rsa, json!({"alg": "HS256"})), Skipped::Algorithm),
        (with(&rsa, json!({"alg": "none"})), Skipped::Algorithm),
        (with(&rsa, json!({"kty": "rsa"})), Skipped::Type),
        (with(&good, json!({"crv": "P-384"})), Skipped::Type),
        (with(&good, json!({"crv": "secp256k1"})), Skipped::Type),
        (json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}), Skipped::Type),
        (json!({"kty": "OKP", "crv": "X25519", "x": b64([7; 32])}), Skipped::Type),
        (with(&good, json!({"d": "AA"})), Skipped::Key(KeyError::PrivateKey)),
        (with(&good, json!({"x": "AA"})), Skipped::Malformed),
        (with(&good, json!({"y": null})), Skipped::Malformed),
        (with(&rsa, json!({"n": "A+/="})), Skipped::Malformed),
        (with(&good, json!({"kid": 7})), Skipped::Malformed),
        (with(&good, json!({"kid": ""})), Skipped::Key(KeyError::Kid)),
        (with(&good, json!({"kid": "k".repeat(257)})), Skipped::Key(KeyError::Kid)),
        (json!("a key"), Skipped::Malformed),
        (entry(&small, "small"), Skipped::Key(KeyError::RsaBits { bits: 1024 })),
        (with(&rsa, json!({"e": "AA"})), Skipped::Key(KeyError::RsaExponent)),
        (with(&rsa, json!({"e": "AQ"})), Skipped::Key(KeyError::RsaExponent)),
        (with(&rsa, json!({"e": "AQAA"})), Skipped::Key(KeyError::RsaExponent)),
        (with(&rsa, json!({"e": "AQAAAAAB"})), Skipped::Key(KeyError::RsaExponent)),
        (
            json!({"kty": "OKP", "crv": "Ed25519", "x": b64([vec![1], vec![0; 31]].concat())}),
            Skipped::Key(KeyError::SmallOrder),
        ),
    ];
    for (entry, reason) in &strange {
        let jwks = Jwks::parse(document(&[entry.clone(), good.clone()]).as_bytes()).expect("a document");
        assert_eq!(jwks.skipped, [(0, reason.clone())], "{entry}");
        assert_eq!(
            jwks.keys.iter().map(|key| (key.alg(), key.kid())).collect::<Vec<_>>(),
            [(Alg::Es256, Some("good"))]
        );
    }
    let twice = document(&[good]).replacen(r#""kid""#, r#""kid":"other","kid""#, 1);
    assert_eq!(Jwks::parse(twice.as_bytes()), Err(JwksError::NoKeys), "a member twice");
}

#[test]
fn documents_are_bounded() {
    let good = entry(openssl::ed25519(), "k");
    let many = Jwks::parse(document(&vec![good.clone(); JWKS_KEYS_MAX + 5]).as_bytes()).expect("a document");
    assert_eq!(many.keys.len(), JWKS_KEYS_MAX);
    assert_eq!(many.skipped, [(JWKS_KEYS_MAX, Skipped::TooMany)]);
    let nulls = format!(r#"{{"keys":[{}null]}}"#, "null,".repeat(50_000));
    assert_eq!(Jwks::parse(nulls.as_bytes()), Err(JwksError::NoKeys));
    let long = format!("{}{}", document(&[good]), " ".repeat(JWKS_BYTES_MAX));
    assert_eq!(Jwks::parse(long.as_bytes()), Err(JwksError::TooLong));
    let deep = format!(r#"{{"keys":[],"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for text in ["", "null", "[]", "{}", r#"{"keys":{}}"#, "<html>", r#"{"keys":[],"keys":[]}"#, &deep] {
        assert_eq!(Jwks::parse(text.as_bytes()), Err(JwksError::NotJwks), "{}", &text[..text.len().min(50)]);
    }
    assert_eq!(Jwks::parse(br#"{"keys":[]}"#), Err(JwksError::NoKeys));
}
