//! Tokens and keys that others wrote.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::process::Command;

use towncrier_auth::{Alg, Claims, Demands, Jwks, Key, KeyError, Minter, Refused, Secret, UnixTime, Verifier};

use crate::{
    openssl,
    tokens::{SECRET, b64, now},
};

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

fn verifier(key: Key) -> Verifier {
    Verifier::new(vec![key], None, Demands::default()).expect("a verifier")
}

fn public(pair: &openssl::Pair) -> Key {
    Key::from_pem(pair.public_pem.as_bytes(), None).expect("a key").remove(0)
}

/// The fixed form of an ECDSA signature from its DER: two numbers of 32 bytes.
fn fixed(der: &[u8]) -> Vec<u8> {
    let number = |at: usize| {
        let length = usize::from(der[at + 1]);
        let digits: Vec<u8> = der[at + 2..at + 2 + length].iter().copied().skip_while(|digit| *digit == 0).collect();
        ([vec![0; 32 - digits.len()], digits].concat(), at + 2 + length)
    };
    let (r, next) = number(2);
    let (s, _) = number(next);
    [r, s].concat()
}

/// And back.
fn der(fixed: &[u8]) -> Vec<u8> {
    let number = |digits: &[u8]| {
        let mut digits: Vec<u8> = digits.iter().copied().skip_while(|digit| *digit == 0).collect();
        if digits[0] >= 0x80 {
            digits.insert(0, 0);
        }
        [vec![2, digits.len() as u8], digits].concat()
    };
    let numbers = [number(&fixed[..32]), number(&fixed[32..])].concat();
    [vec![0x30, numbers.len() as u8], numbers].concat()
}

#[test]
fn the_examples_of_the_rfcs() {
    let at = UnixTime::from_secs(1_300_819_379);
    // RFC 7515, appendix A.1: white space in both parts.
    let secret = decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
    let hs256 = verifier(Key::hs256(&Secret::new(secret), None).expect("a key"));
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert!(hs256.verify(token, at).is_ok());
    assert_eq!(hs256.verify(token, now()), Err(Refused::Expired));

    // RFC 7515, appendix A.3.
    let document = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                                "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let es256 = verifier(Jwks::parse(document.as_bytes()).expect("a document").keys.remove(0));
    let token = "eyJhbGciOiJFUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    assert!(es256.verify(token, at).is_ok());

    // RFC 8037, appendix A.4, whose payload is no JSON: its signature is good, its claims are not.
    let document = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let ed25519 = verifier(Jwks::parse(document.as_bytes()).expect("a document").keys.remove(0));
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
                 hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    match ed25519.verify(token, at) {
        Err(Refused::Claim(error)) => assert_eq!(error.field, "claims"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tokens_that_openssl_signed_are_taken() {
    let claims = b64(r#"{"sub":"alice","exp":1795161660}"#);
    let signed = |alg: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let message = format!("{}.{claims}", b64(format!(r#"{{"typ":"JWT","alg":"{alg}"}}"#)));
        format!("{message}.{}", b64(sign(message.as_bytes())))
    };
    let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
    let hmac = |message: &[u8]| {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), message).expect("a message");
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256", "-mac", "HMAC", "-macopt", &format!("hexkey:{hex}"), "-binary"]);
        openssl::run(command.arg(file.path()))
    };
    let (rsa, p256, ed25519) = (openssl::rsa(), openssl::p256(), openssl::ed25519());
    for (key, token) in [
        (Key::hs256(&Secret::new(*SECRET), None).expect("a key"), signed("HS256", &hmac)),
        (public(rsa), signed("RS256", &|message| rsa.sign_digest(message))),
        (public(p256), signed("ES256", &|message| fixed(&p256.sign_digest(message)))),
        (public(ed25519), signed("EdDSA", &|message| ed25519.sign_whole(message))),
    ] {
        let user =
            verifier(key.clone()).verify(&token, now()).map(|identity| identity.user.map(|name| name.to_string()));
        assert_eq!(user, Ok(Some("alice".to_owned())), "{:?}", key.alg());
    }
}

#[test]
fn openssl_takes_the_signatures_that_are_made_here() {
    let claims = Claims::parse(r#"{"exp":1795161660}"#).expect("claims");
    let mint = |pair: &openssl::Pair| {
        let minter = Minter::from_pem(&Secret::new(pair.private_pem.clone()), None).expect("a minter");
        let token = minter.mint(&claims).expect("a token");
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        (message.as_bytes().to_vec(), decode(signature))
    };
    let (message, signature) = mint(openssl::rsa());
    assert!(openssl::rsa().accepts_digest(&message, &signature));
    let (message, signature) = mint(openssl::p256());
    assert!(openssl::p256().accepts_digest(&message, &der(&signature)));
    let (message, signature) = mint(openssl::ed25519());
    assert!(openssl::ed25519().accepts_whole(&message, &signature));
    assert!(!openssl::ed25519().accepts_whole(b"another message", &signature), "the judge tells");
}

#[test]
fn public_keys_are_read_from_pem() {
    let (rsa, p256, ed25519) = (openssl::rsa(), openssl::p256(), openssl::ed25519());
    let all = format!("# rotated in May\n{}\n{}{}", rsa.public_pem, p256.public_pem, ed25519.public_pem);
    let keys = Key::from_pem(all.as_bytes(), Some("k")).expect("keys");
    let found: Vec<_> = keys.iter().map(|key| (key.alg(), key.kid())).collect();
    assert_eq!(found, [(Alg::Rs256, Some("k")), (Alg::Es256, Some("k")), (Alg::EdDsa, Some("k"))]);
    let windows = all.replace('\n', "\r\n");
    assert_eq!(Key::from_pem(windows.as_bytes(), Some("k")).map(|keys| keys.len()), Ok(3));

    let other = |options: &[&str]| openssl::other(options).public_pem;
    let cut = rsa.public_pem.lines().filter(|line| !line.contains("END")).collect::<Vec<_>>().join("\n");
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, _) = openssl::certificate(folder.path());
    for (pem, expected) in [
        (other(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]), KeyError::RsaBits { bits: 1024 }),
        (other(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2047"]), KeyError::RsaBits { bits: 2047 }),
        (other(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]), KeyError::Unsupported),
        (other(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]), KeyError::Unsupported),
        (other(&["-algorithm", "ED448"]), KeyError::Unsupported),
        (other(&["-algorithm", "X25519"]), KeyError::Unsupported),
        (rsa.private_pem.clone(), KeyError::PrivateKey),
        (format!("{}{}", rsa.public_pem, p256.private_pem), KeyError::PrivateKey),
        (std::fs::read_to_string(certificate).expect("a certificate"), KeyError::NoPublicKey),
        (String::new(), KeyError::NoPublicKey),
        ("not a PEM".to_owned(), KeyError::NoPublicKey),
        (cut, KeyError::Pem),
        (rsa.public_pem.replace("MII", "M*I"), KeyError::Pem),
        (rsa.public_pem.repeat(17), KeyError::TooMany),
    ] {
        assert_eq!(Key::from_pem(pem.as_bytes(), None).err(), Some(expected), "{pem}");
    }
}

#[test]
fn private_keys_are_read_from_pem() {
    let minter = |pem: &str| Minter::from_pem(&Secret::new(pem), None).map(|minter| minter.key().alg());
    let (rsa, p256) = (openssl::rsa(), openssl::p256());
    assert_eq!(minter(&rsa.converted(&["rsa", "-traditional"])), Ok(Alg::Rs256), "PKCS#1");
    assert_eq!(minter(&format!("{}{}", p256.public_pem, p256.private_pem)), Ok(Alg::Es256), "after its public half");
    for pem in [
        p256.converted(&["ec"]),
        rsa.converted(&["pkcs8", "-topk8", "-passout", "pass:open sesame"]),
        rsa.public_pem.clone(),
        openssl::other(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]).private_pem,
        openssl::other(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]).private_pem,
        String::new(),
    ] {
        let error = minter(&pem).expect_err(&pem);
        assert_eq!(error, KeyError::NoPrivateKey, "{pem}");
    }
}

#[test]
fn a_secret_must_not_be_guessed() {
    for (length, expected) in [
        (0, Some(KeyError::SecretTooShort(0))),
        (31, Some(KeyError::SecretTooShort(31))),
        (32, None),
        (4096, None),
        (4097, Some(KeyError::SecretTooLong)),
    ] {
        assert_eq!(Key::hs256(&Secret::new(vec![b's'; length]), None).err(), expected, "{length}");
    }
    let pem = Secret::new(openssl::rsa().public_pem.clone());
    assert_eq!(Key::hs256(&pem, None).err(), Some(KeyError::SecretIsPem));
    assert_eq!(Key::hs256(&Secret::new(*SECRET), Some("")).err(), Some(KeyError::Kid));
    let shown =
        format!("{:?} {:?}", Key::hs256(&Secret::new(*SECRET), None), Minter::hs256(&Secret::new(*SECRET), None));
    assert!(!shown.contains("thirty") && !shown.contains("116, 104"), "{shown}");
}
