//! Payloads that only holders of a key can read, judged by another implementation of AES-GCM.

use std::process::Command;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;
use towncrier_auth::{OpenError, Sealer, SealingKey, SealingKeyError, Secret, limits::SEALER_KEYS_MAX};

use crate::{openssl, tokens::b64};

fn key(kid: &str, byte: u8) -> SealingKey {
    SealingKey::new(kid, &Secret::from(STANDARD.encode([byte; 32]))).expect("a key")
}

fn sealer(keys: Vec<SealingKey>) -> Sealer {
    Sealer::new(keys).expect("a sealer")
}

#[test]
fn its_form_is_that_of_the_rfc() {
    let sealed = sealer(vec![key("2026-11", 7)]).seal("hello").expect("sealed");
    let parts: Vec<&str> = sealed.split('.').collect();
    let decoded: Vec<Vec<u8>> = parts.iter().map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url")).collect();
    let header: serde_json::Value = serde_json::from_slice(&decoded[0]).expect("JSON");
    assert_eq!(header, serde_json::json!({"alg": "dir", "enc": "A256GCM", "kid": "2026-11"}));
    let lengths: Vec<usize> = decoded[1..].iter().map(Vec::len).collect();
    assert_eq!(lengths, [0, 12, 5, 16]);
}

#[test]
fn an_older_key_still_opens_and_no_longer_seals() {
    let old = sealer(vec![key("old", 1)]);
    let both = sealer(vec![key("new", 2), key("old", 1)]);
    let by_old = old.seal("then").expect("sealed");
    let by_both = both.seal("now").expect("sealed");
    assert_eq!(both.open(&by_old).as_deref(), Ok("then"));
    assert_eq!(both.open(&by_both).as_deref(), Ok("now"));
    assert_eq!(old.open(&by_both), Err(OpenError::UnknownKey));
    assert_eq!(sealer(vec![key("old", 9)]).open(&by_old), Err(OpenError::Forged), "another key of that id");
}

#[test]
fn no_iv_comes_twice() {
    let sealer = sealer(vec![key("k", 7)]);
    let ivs: std::collections::HashSet<String> = (0..10_000)
        .map(|_| sealer.seal("the same").expect("sealed").split('.').nth(2).expect("an IV").to_owned())
        .collect();
    assert_eq!((ivs.len(), sealer.sealed()), (10_000, 10_000));
}

#[test]
fn whatever_was_changed_is_not_opened() {
    let sealer = sealer(vec![key("k", 7)]);
    let sealed = sealer.seal("hello").expect("sealed");
    for place in 0..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        assert!(sealer.open(&String::from_utf8(bytes).expect("text")).is_err(), "byte {place}");
    }
    let (header, rest) = sealed.split_once('.').expect("parts");
    let with = |json: &str| format!("{}.{rest}", b64(json));
    let parts: Vec<&str> = rest.split('.').collect();
    let [_, iv, text, tag] = parts[..] else { panic!("{rest}") };
    for (changed, expected) in [
        (String::new(), OpenError::Malformed),
        ("....".to_owned(), OpenError::Malformed),
        (format!("{sealed}."), OpenError::Malformed),
        (format!("{sealed}="), OpenError::Malformed),
        (format!("{header}.AA.{iv}.{text}.{tag}"), OpenError::Malformed),
        (format!("{header}..{iv}.{text}"), OpenError::Malformed),
        (format!("{header}..{iv}AAAA.{text}.{tag}"), OpenError::Malformed),
        (format!("{header}..{iv}.{text}.{}", &tag[..16]), OpenError::Malformed),
        (format!("{header}..{iv}..{tag}"), OpenError::Forged),
        (with(r#"{"alg":"dir","enc":"A256GCM","kid":"k","x":1}"#), OpenError::Forged),
        (with(r#"{"alg":"dir","enc":"A256GCM"}"#), OpenError::UnknownKey),
        (with(r#"{"alg":"dir","enc":"A256GCM","kid":"K"}"#), OpenError::UnknownKey),
        (with(r#"{"alg":"dir","enc":"A128GCM","kid":"k"}"#), OpenError::Malformed),
        (with(r#"{"alg":"A256KW","enc":"A256GCM","kid":"k"}"#), OpenError::Malformed),
        (with(r#"{"alg":"dir","enc":"A256GCM","kid":"k","zip":"DEF"}"#), OpenError::Malformed),
        (with(r#"{"alg":"dir","enc":"A256GCM","kid":"k","crit":[]}"#), OpenError::Malformed),
        (with(r#"{"alg":"dir","enc":"A256GCM","kid":"k","kid":"k"}"#), OpenError::Malformed),
        (with(r#"{"alg":"dir","enc":"A256GCM","kid":7}"#), OpenError::Malformed),
        (with("null"), OpenError::Malformed),
    ] {
        assert_eq!(sealer.open(&changed), Err(expected), "{changed}");
    }
}

#[test]
fn keys_are_checked_and_not_shown() {
    let new = |text: String| SealingKey::new("k", &Secret::from(text)).err();
    for bytes in [0, 16, 31, 33, 64] {
        assert_eq!(new(STANDARD.encode(vec![7; bytes])), Some(SealingKeyError::Key), "{bytes}");
    }
    assert_eq!(new("not base64, but about as long as it!".to_owned()), Some(SealingKeyError::Key));
    assert_eq!(new(URL_SAFE_NO_PAD.encode([255; 32])), None, "as in a JWK");
    let sealer = Sealer::new(Vec::new()).err();
    assert_eq!(sealer, Some(SealingKeyError::Number));
    assert_eq!(Sealer::new(vec![key("k", 1), key("k", 2)]).err(), Some(SealingKeyError::Twice));
    let many = (0..=SEALER_KEYS_MAX).map(|number| key(&number.to_string(), 1)).collect();
    assert_eq!(Sealer::new(many).err(), Some(SealingKeyError::Number));
    let shown = format!("{:?}", self::sealer(vec![key("k", 201)]));
    assert!(!shown.contains("201") && !shown.contains("c9"), "{shown}");
}

/// The browser's own AES-GCM, as a page would use it.
const WEBCRYPTO: &str = "
    import { webcrypto as crypto } from 'node:crypto';
    const [sealed, raw] = process.argv.slice(1);
    const decode = (part) => Buffer.from(part, 'base64url');
    const [header, , iv, text, tag] = sealed.split('.');
    const key = await crypto.subtle.importKey('raw', Buffer.from(raw, 'base64'), 'AES-GCM', false, ['decrypt', 'encrypt']);
    const additionalData = new TextEncoder().encode(header);
    const opened = await crypto.subtle.decrypt(
        { name: 'AES-GCM', iv: decode(iv), additionalData }, key, Buffer.concat([decode(text), decode(tag)]));
    const fresh = crypto.getRandomValues(new Uint8Array(12));
    const again = Buffer.from(await crypto.subtle.encrypt({ name: 'AES-GCM', iv: fresh, additionalData }, key, opened));
    const encode = (bytes) => Buffer.from(bytes).toString('base64url');
    const parts = [header, '', encode(fresh), encode(again.subarray(0, -16)), encode(again.subarray(-16))];
    process.stdout.write(JSON.stringify({ opened: new TextDecoder().decode(opened), sealed: parts.join('.') }));
";

#[test]
fn a_browsers_cryptography_opens_and_seals_the_same() {
    let sealer = sealer(vec![key("2026-11", 7)]);
    for payload in ["", "hello", "{\"order\":42}", "größer als 日本 \u{1f680}\n\0", &"x".repeat(50_000)] {
        let sealed = sealer.seal(payload).expect("sealed");
        let mut node = Command::new("node");
        node.args(["--input-type=module", "--eval", WEBCRYPTO, "--"]).arg(&sealed).arg(STANDARD.encode([7; 32]));
        let answer: serde_json::Value = serde_json::from_slice(&openssl::run(&mut node)).expect("JSON");
        assert_eq!(answer["opened"], payload);
        let back = answer["sealed"].as_str().expect("a text");
        assert_eq!(sealer.open(back).as_deref(), Ok(payload));
    }
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(payload in "\\PC{0,500}") {
        let sealer = sealer(vec![key("k", 7)]);
        let sealed = sealer.seal(&payload).expect("sealed");
        prop_assert!(sealed.len() <= payload.len() * 4 / 3 + 200);
        prop_assert_eq!(sealer.open(&sealed), Ok(payload));
    }

    #[test]
    fn whatever_is_there_is_opened_or_refused(text in "[A-Za-z0-9_.=-]{0,200}") {
        prop_assert!(sealer(vec![key("k", 7)]).open(&text).is_err());
    }
}
