//! What is sent by those who have no token, or not this one.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use towncrier_auth::{
    Demands, Key, Minter, Refused, Secret, UnixTime, Verifier,
    limits::{JSON_DEPTH_MAX, TOKEN_BYTES_MAX},
};

use crate::{
    openssl,
    tokens::{SECRET, b64, hs256, now, with_claims},
};

const CLAIMS: &str = r#"{"sub":"alice","exp":9999999999,"towncrier":{"admin":["read"]}}"#;

/// A verifier with a key of each kind, each with an id, as a hub would have that takes tokens of several issuers.
fn verifier() -> Verifier {
    let mut keys = vec![Key::hs256(&Secret::new(*SECRET), Some("h")).expect("a key")];
    for (kid, pair) in [("r", openssl::rsa()), ("e", openssl::p256()), ("d", openssl::ed25519())] {
        keys.extend(Key::from_pem(pair.public_pem.as_bytes(), Some(kid)).expect("a key"));
    }
    Verifier::new(keys, None, Demands::default()).expect("a verifier")
}

fn mint(pair: &openssl::Pair, kid: &str) -> String {
    let minter = Minter::from_pem(&Secret::new(pair.private_pem.clone()), Some(kid)).expect("a minter");
    minter.mint(&towncrier_auth::Claims::parse(CLAIMS).expect("claims")).expect("a token")
}

/// Refused, for this reason, and without a word of the token in what is said about it.
fn refused(what: &str, token: &str, expected: &Refused) {
    let refused = verifier().verify(token, now()).expect_err(what);
    assert_eq!(refused, *expected, "{what}");
    let said = format!("{refused} {refused:?}");
    assert!(said.len() < 300 && !said.contains("alice") && !said.contains("eyJ"), "{what}: {said}");
}

#[test]
fn the_good_ones_are_good() {
    let verifier = verifier();
    for token in [
        hs256(r#"{"alg":"HS256","kid":"h","typ":"JWT"}"#, CLAIMS, SECRET),
        hs256(r#"{"alg":"HS256"}"#, CLAIMS, SECRET),
        mint(openssl::rsa(), "r"),
        mint(openssl::p256(), "e"),
        mint(openssl::ed25519(), "d"),
    ] {
        assert!(verifier.verify(&token, now()).is_ok(), "{token}");
    }
}

#[test]
fn no_algorithm_but_the_keys_own() {
    for alg in
        ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS384", "PS256", "ES384", "hs256", "HS256 ", "RS1"]
    {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        refused(alg, &hs256(&header, CLAIMS, SECRET), &Refused::Algorithm);
        refused(alg, &format!("{}.{}.", b64(&header), b64(CLAIMS)), &Refused::Algorithm);
    }
    for header in
        [r#"{"alg":["HS256"]}"#, r#"{"alg":null}"#, "{}", r#"{"alg":"HS256","alg":"none"}"#, "[]", "HS256", ""]
    {
        refused(header, &hs256(header, CLAIMS, SECRET), &Refused::Malformed);
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let rsa = openssl::rsa();
    let pem = rsa.public_pem.as_bytes();
    for secret in [pem, pem.trim_ascii_end(), &rsa.public_der] {
        refused("without id", &hs256(r#"{"alg":"HS256"}"#, CLAIMS, secret), &Refused::Signature);
        refused("with its id", &hs256(r#"{"alg":"HS256","kid":"r"}"#, CLAIMS, secret), &Refused::UnknownKey);
    }
    // And a token by a key of one kind as one of another.
    let (_, rest) =
        mint(openssl::ed25519(), "d").split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("two");
    for (header, expected) in [
        (r#"{"alg":"ES256","kid":"d"}"#, Refused::UnknownKey),
        (r#"{"alg":"ES256","kid":"e"}"#, Refused::Signature),
        (r#"{"alg":"RS256"}"#, Refused::Signature),
        (r#"{"alg":"HS256"}"#, Refused::Signature),
    ] {
        refused(header, &format!("{}.{rest}", b64(header)), &expected);
    }
}

#[test]
fn a_key_id_names_a_key_and_nothing_else() {
    let long = "k".repeat(4000);
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "file:///etc/passwd",
        "http://127.0.0.1/keys",
        "h' OR '1'='1",
        "h\\u0000",
        "h ",
        "H",
        "",
        "%68",
        "| whoami",
        "ﬂ",
        &long,
    ] {
        let header = format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#);
        for secret in [&SECRET[..], b"", b"\0"] {
            refused(kid, &hs256(&header, CLAIMS, secret), &Refused::UnknownKey);
        }
    }
    for kid in ["7", "null", "[\"h\"]", "{}", "true"] {
        refused(kid, &hs256(&format!(r#"{{"alg":"HS256","kid":{kid}}}"#), CLAIMS, SECRET), &Refused::Malformed);
    }
}

#[test]
fn a_key_in_the_header_is_nobodys() {
    let own = openssl::other(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let point = &own.public_der[own.public_der.len() - 64..];
    let (x, y) = (b64(&point[..32]), b64(&point[32..]));
    let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(own.private_pem.as_bytes()).expect("a key");
    let random = SystemRandom::new();
    let pair =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.secret_pkcs8_der(), &random).expect("a key");
    for brings in [
        format!(r#""jwk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#),
        r#""jku":"https://attacker.example/keys""#.to_owned(),
        r#""x5u":"https://attacker.example/certificate""#.to_owned(),
        format!(r#""x5c":["{}"]"#, b64(&own.public_der)),
    ] {
        let message = format!("{}.{}", b64(format!(r#"{{"alg":"ES256",{brings}}}"#)), b64(CLAIMS));
        let signature = pair.sign(&random, message.as_bytes()).expect("a signature");
        refused(&brings, &format!("{message}.{}", b64(signature)), &Refused::Signature);
    }
}

#[test]
fn what_the_header_demands_must_be_known() {
    for crit in [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", r#""b64""#] {
        let header = format!(r#"{{"alg":"HS256","b64":false,"crit":{crit}}}"#);
        refused(crit, &hs256(&header, CLAIMS, SECRET), &Refused::Critical);
    }
}

#[test]
fn a_changed_token_is_refused() {
    let good = mint(openssl::p256(), "e");
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{good}") };
    let other = b64(CLAIMS.replace("alice", "admin"));
    let of_other = mint(openssl::p256(), "e");
    let of_other = of_other.rsplit('.').next().expect("a signature");
    for (what, token, expected) in [
        ("no signature", format!("{header}.{claims}."), Refused::Signature),
        ("no signature, no point", format!("{header}.{claims}"), Refused::Malformed),
        ("other claims", format!("{header}.{other}.{signature}"), Refused::Signature),
        ("other header", format!("{}.{claims}.{signature}", b64(r#"{"kid":"e","alg":"ES256"}"#)), Refused::Signature),
        ("signature cut", format!("{header}.{claims}.{}", &signature[..84]), Refused::Signature),
        ("signature doubled", format!("{header}.{claims}.{}{signature}", &signature[..84]), Refused::Signature),
        ("claims twice", format!("{header}.{claims}.{claims}.{signature}"), Refused::Malformed),
        ("five parts", format!("{header}.{claims}.{signature}.."), Refused::Malformed),
    ] {
        refused(what, &token, &expected);
    }
    // ECDSA makes another signature each time: both are good for the same claims.
    assert!(verifier().verify(&format!("{header}.{claims}.{of_other}"), now()).is_ok());
    for place in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("text");
        assert!(verifier().verify(&changed, now()).is_err(), "byte {place}");
    }
}

/// The order of P-256.
fn order() -> Vec<u8> {
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    (0..32).map(|at| u8::from_str_radix(&order[at * 2..at * 2 + 2], 16).expect("hex")).collect()
}

/// Whoever has a signature can make a second one, which says the same and nothing else.
#[test]
fn a_mirrored_signature_changes_nothing() {
    let good = mint(openssl::p256(), "e");
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let mut borrow = 0;
    for (digit, of_order) in bytes[32..].iter_mut().zip(order()).rev() {
        let difference = i32::from(of_order) - i32::from(*digit) - borrow;
        borrow = i32::from(difference < 0);
        *digit = difference.rem_euclid(256) as u8;
    }
    let mirrored = format!("{message}.{}", b64(bytes));
    assert_ne!(mirrored, good);
    assert_eq!(verifier().verify(&mirrored, now()), verifier().verify(&good, now()));
    assert!(verifier().verify(&mirrored, now()).is_ok());
}

#[test]
fn numbers_that_break_ecdsa_are_no_signature() {
    let order = order();
    let (zero, one) = (vec![0; 32], [vec![0; 31], vec![1]].concat());
    let message = format!("{}.{}", b64(r#"{"alg":"ES256","kid":"e"}"#), b64(CLAIMS));
    for (r, s) in [(&zero, &zero), (&zero, &one), (&one, &zero), (&order, &one), (&one, &order), (&order, &order)] {
        let signature = b64([r.as_slice(), s].concat());
        refused("r or s", &format!("{message}.{signature}"), &Refused::Signature);
    }
    let message = format!("{}.{}", b64(r#"{"alg":"EdDSA","kid":"d"}"#), b64(CLAIMS));
    for signature in [[0; 64], [255; 64]] {
        refused("zero or all ones", &format!("{message}.{}", b64(signature)), &Refused::Signature);
    }
}

#[test]
fn the_form_is_exact() {
    let good = with_claims(CLAIMS);
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (header, claims) = message.split_once('.').expect("three parts");
    // The last character of 43 has two bits that carry nothing.
    let (head, last) = signature.split_at(signature.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let spare = alphabet.chars().nth(alphabet.find(last).expect("base64url") + 1).expect("another");
    for (what, token) in [
        ("nothing", String::new()),
        ("points", "..".to_owned()),
        ("a space before", format!(" {good}")),
        ("a line end after", format!("{good}\n")),
        ("a space within", format!("{header} .{claims}.{signature}")),
        ("Bearer", format!("Bearer {good}")),
        ("padding", format!("{header}=.{claims}.{signature}")),
        ("padding at the end", format!("{good}=")),
        ("spare bits", format!("{message}.{head}{spare}")),
        ("base64 of the other kind", format!("{header}.{claims}+/.{signature}")),
        ("no ASCII", format!("{header}.{claims}é.{signature}")),
        ("NUL", format!("{header}.{claims}\0.{signature}")),
        ("claims that are no UTF-8", format!("{header}.{}.{signature}", b64(b"{\"sub\":\"\xff\"}"))),
        ("a header with a byte order mark", hs256("\u{feff}{\"alg\":\"HS256\"}", CLAIMS, SECRET)),
        ("a header and more", hs256(r#"{"alg":"HS256"}{"alg":"none"}"#, CLAIMS, SECRET)),
    ] {
        refused(what, &token, &Refused::Malformed);
    }
}

#[test]
fn size_and_depth_are_bounded_before_anything_is_believed() {
    let long = with_claims(&format!(r#"{{"exp":9999999999,"x":"{}"}}"#, "x".repeat(TOKEN_BYTES_MAX)));
    refused("long", &long, &Refused::TooLong);
    refused("long garbage", &"A".repeat(10_000_000), &Refused::TooLong);
    refused("many points", &".".repeat(TOKEN_BYTES_MAX), &Refused::Malformed);

    let nested = |depth: usize| format!(r#"{{"exp":9999999999,"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(verifier().verify(&with_claims(&nested(JSON_DEPTH_MAX - 1)), now()).is_ok());
    for depth in [JSON_DEPTH_MAX, 128, 2000] {
        refused("deep", &with_claims(&nested(depth)), &Refused::TooDeep);
        refused("deep, by nobody", &hs256(r#"{"alg":"HS256"}"#, &nested(depth), b""), &Refused::TooDeep);
    }
    let header = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, r#"{"a":"#.repeat(900), "}".repeat(900));
    refused("a deep header", &hs256(&header, CLAIMS, SECRET), &Refused::TooDeep);
}

#[test]
fn claims_are_read_only_once_they_are_believed() {
    let broken = r#"{"exp":"soon"}"#;
    refused("by nobody", &hs256(r#"{"alg":"HS256"}"#, broken, b"another secret"), &Refused::Signature);
    for (claims, field) in [
        (broken, "exp"),
        ("sub=alice", "claims"),
        (r#"{"exp":-1}"#, "exp"),
        (r#"{"exp":1e400}"#, "exp"),
        (r#"{"exp":9999999999,"nbf":-9}"#, "nbf"),
        (r#"{"exp":9999999999,"exp":1}"#, "claims"),
        (r#"{"exp":9999999999,"aud":[1]}"#, "aud[0]"),
        (r#"{"exp":9999999999,"towncrier":{"admin":["alice"]}}"#, "towncrier.admin[0]"),
    ] {
        match verifier().verify(&with_claims(claims), now()) {
            Err(Refused::Claim(error)) => {
                assert_eq!(error.field, field, "{claims}");
                assert!(!error.to_string().contains("alice"), "{error}");
            }
            other => panic!("{claims}: {other:?}"),
        }
    }
}

#[test]
fn far_ends_of_time_do_not_overflow() {
    let last = r#"{"exp":253402300799,"nbf":0}"#;
    let verifier = verifier();
    assert!(verifier.verify(&with_claims(last), now()).is_ok());
    assert!(verifier.verify(&with_claims(last), UnixTime::from_secs(u64::MAX)).is_err());
    let first = with_claims(r#"{"exp":0,"nbf":253402300799}"#);
    assert_eq!(verifier.verify(&first, now()).err(), Some(Refused::Expired));
}

/// A verifier that is built once.
fn shared_verifier() -> &'static Verifier {
    static VERIFIER: std::sync::OnceLock<Verifier> = std::sync::OnceLock::new();
    VERIFIER.get_or_init(verifier)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_sent_is_refused(text in "[A-Za-z0-9_.=-]{0,300}|\\PC{0,100}") {
        prop_assert!(shared_verifier().verify(&text, now()).is_err());
    }

    #[test]
    fn whatever_is_signed_is_read_or_refused(header in "\\{(\"(alg|kid|crit|x)\":(\"(HS256|h|none)\"|[0-9\\[\\]{}]),?){0,3}\\}", claims in "\\PC{0,200}") {
        let token = hs256(&header, &claims, SECRET);
        prop_assert!(shared_verifier().verify(&token, now()).is_err());
        let claims = format!(r#"{{"exp":9999999999,"towncrier":{claims}}}"#);
        let _ = shared_verifier().verify(&with_claims(&claims), now());
    }
}
