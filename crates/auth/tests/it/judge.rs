//! npm's `jose` as a judge: what it makes is taken here, and it takes what is made here. `tests/run` installs it.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use towncrier_auth::{Claims, Demands, Jwks, Key, Minter, Sealer, SealingKey, Secret, Verifier};

use crate::{
    jwks::entry,
    openssl,
    tokens::{SECRET, now},
};

/// Asks the judge.
fn jose(request: &Value) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/judges/jose.mjs");
    let mut command = Command::new("node");
    command.arg(program).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("node");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(request.to_string().as_bytes()).expect("a request");
    drop(input);
    let output = child.wait_with_output().expect("an answer");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the judge says (is it installed? see tests/README.md): {said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn claims() -> Claims {
    let text = r#"{"sub":"zoë","exp":1795161660,"iat":1795161540,"iss":"https://id.example/",
                   "towncrier":{"subscribe":["orders/*"],"publish":["orders/42"],"admin":["read"]}}"#;
    Claims::parse(text).expect("claims")
}

fn secret() -> &'static str {
    std::str::from_utf8(SECRET).expect("text")
}

#[test]
fn the_tokens_and_keys_of_another_library_are_taken() {
    let made = jose(&json!({"action": "mint", "claims": claims().to_json(), "secret": secret()}));
    let jwks = Jwks::parse(made["jwks"].to_string().as_bytes()).expect("a document");
    assert_eq!((jwks.keys.len(), jwks.skipped.len()), (3, 0));
    let mut keys = jwks.keys;
    keys.push(Key::hs256(&Secret::new(*SECRET), None).expect("a key"));
    let verifier = Verifier::new(keys, None, Demands::default()).expect("a verifier");
    let tokens = made["tokens"].as_object().expect("tokens");
    assert_eq!(tokens.len(), 4);
    for (alg, token) in tokens {
        let identity = verifier.verify(token.as_str().expect("a text"), now());
        let identity = identity.unwrap_or_else(|refused| panic!("{alg}: {refused}"));
        assert_eq!((identity.user, identity.rights), (claims().subject, claims().rights), "{alg}");
    }
}

#[test]
fn another_library_takes_the_tokens_that_are_made_here() {
    let pairs = [(openssl::rsa(), "r"), (openssl::p256(), "e"), (openssl::ed25519(), "d")];
    let minter = |(pair, kid): &(&openssl::Pair, &str)| {
        Minter::from_pem(&Secret::new(pair.private_pem.clone()), Some(kid)).expect("a minter")
    };
    let mut minters: Vec<_> = pairs.iter().map(minter).collect();
    minters.push(Minter::hs256(&Secret::new(*SECRET), None).expect("a minter"));
    let tokens: Vec<_> = minters.iter().map(|minter| minter.mint(&claims()).expect("a token")).collect();
    let keys = pairs.map(|(pair, kid)| entry(pair, kid));
    let request = json!({
        "action": "verify", "tokens": tokens, "jwks": {"keys": keys}, "secret": secret(), "now_s": now().as_secs(),
    });
    assert_eq!(jose(&request), json!(vec![claims().to_json(); 4]));
}

#[test]
fn sealed_payloads_are_those_of_another_library() {
    let key = STANDARD.encode([7; 32]);
    let sealer = Sealer::new(vec![SealingKey::new("2026-11", &Secret::from(key.clone())).expect("a key")]);
    let sealer = sealer.expect("a sealer");
    for text in ["", "hello", r#"{"order":42}"#, "größer als 日本 \u{1f680}\r\n\0"] {
        let opened = jose(&json!({"action": "open", "key": key, "sealed": sealer.seal(text).expect("sealed")}));
        assert_eq!(opened["text"], text);
        assert_eq!(opened["header"], json!({"alg": "dir", "enc": "A256GCM", "kid": "2026-11"}));
        let sealed = jose(&json!({"action": "seal", "key": key, "kid": "2026-11", "text": text}));
        assert_eq!(sealer.open(sealed.as_str().expect("a text")).as_deref(), Ok(text));
    }
}
