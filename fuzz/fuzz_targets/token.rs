//! Tokens, in two ways. If the first line begins with `{`, it is a token's header and the second its claims, which are signed
//! here: what is accepted must say what they say. Otherwise each line is a part of a request (`A` a header `Authorization`, `C`
//! a header `Cookie`, `Q` the query): whatever is found there and accepted must have been signed.

#![no_main]

use std::{sync::LazyLock, time::Duration};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use libfuzzer_sys::fuzz_target;
use ring::{
    hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use serde_json::Value;
use towncrier_auth::{Claims, Demands, Identity, Key, Secret, UnixTime, Verifier};
use towncrier_http::{
    Public, Tokens,
    fuzzing::{Found, find_token},
};

const COOKIE: &str = "towncrier_token";
const LEEWAY_SECS: u64 = 10;
/// When all of this happens.
const NOW_SECS: u64 = 1_795_161_600;
/// The keys are no secrets, so that tokens that were signed with them can be among the seeds.
const SECRET: &[u8] = b"a secret of the fuzz targets only";
const SEED: [u8; 32] = *b"a seed of the fuzz targets only.";

static TOKENS: LazyLock<Tokens> = LazyLock::new(|| {
    let mut keys = vec![Key::hs256(&Secret::new(SECRET), None).expect("is a secret")];
    keys.extend(Key::from_pem(public_pem().as_bytes(), None).expect("is a public key"));
    let demands = Demands { leeway: Duration::from_secs(LEEWAY_SECS), ..Demands::default() };
    let verifier = Verifier::new(keys, None, demands).expect("are few keys");
    Tokens { verifier, cookie: COOKIE.into(), public: Public::default(), public_metrics: false, logins: None }
});

static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&SEED).expect("is a seed"));

fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"{") {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let (header, claims) = text.split_once('\n').unwrap_or((text, ""));
        check_signed(header, claims);
        check_claims(claims);
    } else {
        check_request(data);
    }
});

fn check_signed(header: &str, claims: &str) {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    for (alg, signature) in [("HS256", mac.as_ref()), ("EdDSA", PAIR.sign(message.as_bytes()).as_ref())] {
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        let verified = TOKENS.verifier.verify(&token, now());
        let Ok(identity) = verified else {
            let plain = header == format!("{{\"alg\":\"{alg}\",\"typ\":\"JWT\"}}");
            assert!(!(plain && is_good_now(claims)), "{verified:?} for {header} {claims}");
            continue;
        };
        if let Ok(header) = serde_json::from_str::<Value>(header) {
            assert_eq!(header["alg"], alg);
            assert!(header.get("crit").is_none());
        }
        check_identity(&identity, claims);
    }
}

/// What a parser that is not ours reads in the claims.
fn check_identity(identity: &Identity, claims: &str) {
    // Claims that nobody reads may have numbers that this parser does not take.
    let Ok(claims) = serde_json::from_str::<Value>(claims) else { return };
    assert_eq!(identity.user.as_ref().map(|user| user.as_str()), claims["sub"].as_str());
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp + LEEWAY_SECS as f64 > NOW_SECS as f64), "{claims}");
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64() <= Some((NOW_SECS + LEEWAY_SECS) as f64)), "{claims}");
    assert!(claims.get("aud").is_none(), "{claims}");
    let own = &claims["towncrier"];
    let texts = |name: &str| own[name].as_array().map(Vec::as_slice).unwrap_or_default().to_vec();
    let rights = &identity.rights;
    assert_eq!(texts("subscribe"), rights.subscribe.iter().map(|selector| selector.as_str()).collect::<Vec<_>>());
    assert_eq!(texts("publish"), rights.publish.iter().map(|selector| selector.as_str()).collect::<Vec<_>>());
    assert_eq!(texts("admin"), rights.admin.iter().map(|scope| scope.as_str()).collect::<Vec<_>>());
}

fn is_good_now(text: &str) -> bool {
    let Ok(claims) = Claims::parse(text) else { return false };
    let leeway = Duration::from_secs(LEEWAY_SECS);
    let timely = claims.expires_at.is_some_and(|at| now() < at.plus(leeway))
        && claims.not_before.is_none_or(|at| at <= now().plus(leeway));
    // A token has a longest length, and a greatest depth, also in claims that nobody reads.
    let plain = text.len() < 5000 && text.bytes().filter(|byte| b"[{".contains(byte)).count() <= 16;
    timely && plain && claims.audience.is_none()
}

fn check_claims(text: &str) {
    let Ok(claims) = Claims::parse(text) else { return };
    assert_eq!(Claims::parse(&claims.to_json().to_string()).as_ref(), Ok(&claims));
}

fn check_request(data: &[u8]) {
    let (mut authorization, mut cookies, mut target) = (Vec::new(), Vec::new(), "/events".to_owned());
    for line in data.split(|&byte| byte == b'\n') {
        match line.split_first() {
            Some((b'A', value)) => authorization.push(value),
            Some((b'C', value)) => cookies.push(value),
            Some((b'Q', value)) => target = format!("/events?{}", String::from_utf8_lossy(value)),
            _ => {}
        }
    }
    let Some(Ok(found)) = find_token(&TOKENS, &target, &authorization, &cookies) else { return };
    let Some((token, place)) = found else {
        assert!(authorization.is_empty());
        return;
    };
    // The first of them that is there is the one that counts.
    assert_eq!(place == Found::Header, !authorization.is_empty());
    let holds = |value: &[u8]| token.is_empty() || value.windows(token.len()).any(|part| part == token.as_bytes());
    match place {
        Found::Header => assert!(authorization.len() == 1 && holds(authorization[0])),
        Found::Cookie => assert!(!token.is_empty() && cookies.iter().any(|cookie| holds(cookie))),
        Found::Query => assert!(target.contains('?')),
    }
    if let Ok(identity) = TOKENS.verifier.verify(&token, now()) {
        let (message, signature) = token.rsplit_once('.').expect("has three parts");
        let bytes = URL_SAFE_NO_PAD.decode(signature).expect("is base64url");
        assert_eq!(URL_SAFE_NO_PAD.encode(&bytes), signature, "each token has one text");
        let signed = hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes(), &bytes).is_ok()
            || UnparsedPublicKey::new(&ED25519, PAIR.public_key().as_ref()).verify(message.as_bytes(), &bytes).is_ok();
        assert!(signed, "{identity:?} for {token}");
    }
}

fn now() -> UnixTime {
    UnixTime::from_secs(NOW_SECS)
}

/// The Ed25519 key as RFC 8410 writes it.
fn public_pem() -> String {
    const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = [&PREFIX, PAIR.public_key().as_ref()].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}
