//! Which claims are read, and which are refused as a whole.

use proptest::prelude::*;
use towncrier_auth::{Claims, Rights, Scope, UnixTime, limits::RIGHTS_SELECTORS_MAX};
use towncrier_wire::{Name, Selector};

#[test]
fn a_token_of_another_issuer_is_read() {
    let claims = Claims::parse(
        r#"{"sub":"zoë","exp":1795161600.9,"nbf":1795161000.1,"iat":1795161000,"iss":"https://id.example/","aud":["a","b"],
            "jti":"7","email":null,"resource_access":{"account":{"roles":["x"]}},
            "towncrier":{"subscribe":["orders/*","news"],"publish":["orders/42"],"admin":["read","write"]}}"#,
    )
    .expect("claims");
    let selector = |text| Selector::new(text).expect("a selector");
    assert_eq!(
        claims,
        Claims {
            subject: Some(Name::new("zoë").expect("a name")),
            expires_at: Some(UnixTime::from_secs(1_795_161_600)),
            not_before: Some(UnixTime::from_secs(1_795_161_001)),
            issued_at: Some(UnixTime::from_secs(1_795_161_000)),
            issuer: Some("https://id.example/".to_owned()),
            audience: Some(vec!["a".to_owned(), "b".to_owned()]),
            rights: Rights {
                subscribe: vec![selector("orders/*"), selector("news")],
                publish: vec![selector("orders/42")],
                admin: vec![Scope::Read, Scope::Write],
            },
            login_at: None,
        }
    );
    assert_eq!(Claims::parse("{}").expect("no claims are claims"), Claims::default());
    assert_eq!(Claims::parse(r#"{"aud":"one"}"#).expect("claims").audience, Some(vec!["one".to_owned()]));
}

#[test]
fn a_malformed_claim_is_refused_by_its_name() {
    let many = |count: usize| format!("[{}]", vec![r#""a""#; count].join(","));
    let long = format!(r#"{{"sub":"{}"}}"#, "x".repeat(129));
    let too_many = format!(r#"{{"towncrier":{{"subscribe":{}}}}}"#, many(RIGHTS_SELECTORS_MAX + 1));
    let audiences = format!(r#"{{"aud":{}}}"#, many(33));
    for (text, field) in [
        ("[]", "claims"),
        ("null", "claims"),
        (r#"{"sub":"a","sub":"b"}"#, "claims"),
        (r#"{"exp":1,"\u0065xp":9999999999}"#, "claims"),
        (r#"{"unread":1,"unread":2}"#, "claims"),
        (r#"{"sub":null}"#, "sub"),
        (r#"{"sub":7}"#, "sub"),
        (r#"{"sub":""}"#, "sub"),
        (r#"{"sub":"a\r\nb"}"#, "sub"),
        (r#"{"sub":"\ud800"}"#, "sub"),
        (&long, "sub"),
        (r#"{"exp":null}"#, "exp"),
        (r#"{"exp":"1795161600"}"#, "exp"),
        (r#"{"exp":-1}"#, "exp"),
        (r#"{"exp":-0.5}"#, "exp"),
        (r#"{"exp":1795161600000}"#, "exp"),
        (r#"{"exp":18446744073709551616}"#, "exp"),
        (r#"{"exp":1e300}"#, "exp"),
        (r#"{"exp":1e999}"#, "exp"),
        (r#"{"exp":true}"#, "exp"),
        (r#"{"exp":[1]}"#, "exp"),
        (r#"{"nbf":"0"}"#, "nbf"),
        (r#"{"iat":{}}"#, "iat"),
        (r#"{"iss":["a"]}"#, "iss"),
        (r#"{"iss":""}"#, "iss"),
        (r#"{"aud":7}"#, "aud"),
        (r#"{"aud":null}"#, "aud"),
        (r#"{"aud":{"a":1}}"#, "aud"),
        (r#"{"aud":["a",7]}"#, "aud[1]"),
        (&audiences, "aud"),
        (r#"{"towncrier":[]}"#, "towncrier"),
        (r#"{"towncrier":null}"#, "towncrier"),
        (r#"{"towncrier":{"subscribe":[],"subscribe":["**"]}}"#, "towncrier"),
        (r#"{"towncrier":{"subscibe":["a"]}}"#, "towncrier"),
        (r#"{"towncrier":{"subscribe":"a"}}"#, "towncrier.subscribe"),
        (r#"{"towncrier":{"subscribe":null}}"#, "towncrier.subscribe"),
        (r#"{"towncrier":{"subscribe":["a","b*"]}}"#, "towncrier.subscribe[1]"),
        (r#"{"towncrier":{"subscribe":["a\nb"]}}"#, "towncrier.subscribe[0]"),
        (r#"{"towncrier":{"publish":[""]}}"#, "towncrier.publish[0]"),
        (r#"{"towncrier":{"publish":[["a"]]}}"#, "towncrier.publish[0]"),
        (r#"{"towncrier":{"admin":["root"]}}"#, "towncrier.admin[0]"),
        (r#"{"towncrier":{"admin":true}}"#, "towncrier.admin"),
        (r#"{"towncrier":{"login":"now"}}"#, "towncrier.login"),
        (&too_many, "towncrier.subscribe"),
    ] {
        match Claims::parse(text) {
            Ok(claims) => panic!("{text}: {claims:?}"),
            Err(error) => {
                assert_eq!(error.field, field, "{text}: {error}");
                assert!(!error.to_string().contains("root") && !error.to_string().contains("subscibe"), "{error}");
            }
        }
    }
}

fn times() -> impl Strategy<Value = Option<UnixTime>> {
    prop::option::of((0..=towncrier_auth::limits::UNIX_TIME_MAX).prop_map(UnixTime::from_secs))
}

fn selectors() -> impl Strategy<Value = Vec<Selector>> {
    let selector = prop::sample::select(vec!["a", "a/*", "**", "日本/\"quoted\"/**", "\\"]);
    prop::collection::vec(selector.prop_map(|text| Selector::new(text).expect("a selector")), 0..4)
}

prop_compose! {
    fn any_claims()(
        subject in prop::option::of("[^\\p{C}]{1,30}"),
        (expires_at, not_before, issued_at, login_at) in (times(), times(), times(), times()),
        issuer in prop::option::of("\\PC{1,30}"),
        audience in prop::option::of(prop::collection::vec("\\PC{1,9}", 0..3)),
        (subscribe, publish) in (selectors(), selectors()),
        admin in prop::collection::vec(prop::sample::select(vec![Scope::Read, Scope::Write]), 0..3),
    ) -> Claims {
        let subject = subject.map(|text| Name::new(&text).expect("a name"));
        let rights = Rights { subscribe, publish, admin };
        Claims { subject, expires_at, not_before, issued_at, issuer, audience, rights, login_at }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(claims in any_claims()) {
        prop_assert_eq!(Claims::parse(&claims.to_json().to_string()), Ok(claims));
    }

    #[test]
    fn whatever_is_there_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = Claims::parse(&text);
        let _ = Claims::parse(&format!(r#"{{"towncrier":{text}}}"#));
        let _ = Claims::parse(&format!(r#"{{"exp":{text}}}"#));
    }
}
