//! ring as jsonwebtoken's cryptography: HS256, RS256, ES256 and EdDSA, and nothing else.
//!
//! jsonwebtoken takes its cryptography from a global of the process that can be set once. This crate is the only one that
//! uses jsonwebtoken, and sets it before each use.

use std::sync::Once;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{Error as SignatureError, Signer, Verifier},
};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents, UnparsedPublicKey,
    },
};

/// Makes ring jsonwebtoken's cryptography.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // It was set already only if another crate uses jsonwebtoken too, which `deny.toml` forbids.
        let _ = PROVIDER.install_default();
    });
}

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, key_utils: NONE };

/// For making JWKs, which nobody here does.
const NONE: KeyUtils = KeyUtils {
    rsa_pub_components_from_private_key: |_| Err(unsupported()),
    rsa_pub_components_from_public_key: |_| Err(unsupported()),
    ec_pub_components_from_private_key: |_, _| Err(unsupported()),
    ed_pub_components_from_private_key: |_, _| Err(unsupported()),
    compute_digest: |_, _| Err(unsupported()),
};

fn unsupported() -> Error {
    ErrorKind::UnsupportedAlgorithm.into()
}

/// What checks signatures of one key.
enum Checker {
    Hmac(hmac::Key),
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    EcdsaP256(UnparsedPublicKey<Vec<u8>>),
    Ed25519(UnparsedPublicKey<Vec<u8>>),
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let checker = match (algorithm, key.family(), key.kind()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => {
            Checker::Hmac(hmac::Key::new(hmac::HMAC_SHA256, secret))
        }
        (Algorithm::RS256, AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            Checker::Rsa(RsaPublicKeyComponents { n: n.clone(), e: e.clone() })
        }
        (Algorithm::ES256, AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => {
            Checker::EcdsaP256(UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.clone()))
        }
        (Algorithm::EdDSA, AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => {
            Checker::Ed25519(UnparsedPublicKey::new(&ED25519, point.clone()))
        }
        _ => return Err(unsupported()),
    };
    Ok(Box::new(checker))
}

impl Verifier<Vec<u8>> for Checker {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        match self {
            Self::Hmac(key) => hmac::verify(key, message, signature),
            Self::Rsa(key) => key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            Self::EcdsaP256(key) | Self::Ed25519(key) => key.verify(message, signature),
        }
        .map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for Checker {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hmac(_) => Algorithm::HS256,
            Self::Rsa(_) => Algorithm::RS256,
            Self::EcdsaP256(_) => Algorithm::ES256,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }
}

/// What signs with one key.
enum Pen {
    Hmac(hmac::Key),
    Rsa(RsaKeyPair),
    EcdsaP256(EcdsaKeyPair, SystemRandom),
    Ed25519(Ed25519KeyPair),
}

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let pen = match (algorithm, key.family()) {
        (Algorithm::HS256, AlgorithmFamily::Hmac) => Pen::Hmac(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())),
        (Algorithm::RS256, AlgorithmFamily::Rsa) => Pen::Rsa(rsa_pair(key.as_bytes()).ok_or_else(unsupported)?),
        (Algorithm::ES256, AlgorithmFamily::Ec) => {
            Pen::EcdsaP256(ec_pair(key.as_bytes()).ok_or_else(unsupported)?, SystemRandom::new())
        }
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => Pen::Ed25519(ed_pair(key.as_bytes()).ok_or_else(unsupported)?),
        _ => return Err(unsupported()),
    };
    Ok(Box::new(pen))
}

/// An RSA key pair of PKCS#8 or PKCS#1.
pub(crate) fn rsa_pair(der: &[u8]) -> Option<RsaKeyPair> {
    RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok()
}

/// A P-256 key pair of PKCS#8.
pub(crate) fn ec_pair(der: &[u8]) -> Option<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new()).ok()
}

/// An Ed25519 key pair of PKCS#8; OpenSSL leaves the public key out, so it need not be there.
pub(crate) fn ed_pair(der: &[u8]) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()
}

impl Signer<Vec<u8>> for Pen {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map(|()| signature)
                    .map_err(|_| SignatureError::new())
            }
            Self::EcdsaP256(pair, random) => pair
                .sign(random, message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| SignatureError::new()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for Pen {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hmac(_) => Algorithm::HS256,
            Self::Rsa(_) => Algorithm::RS256,
            Self::EcdsaP256(..) => Algorithm::ES256,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }
}
