//! Keys in PEM.

use rustls_pki_types::pem::{PemObject, SectionKind};

use super::{Alg, KeyError, Public, der};
use crate::{
    Secret,
    limits::{KEYS_MAX, PEM_BYTES_MAX},
    provider,
};

fn sections(pem: &[u8]) -> Result<Vec<(SectionKind, Vec<u8>)>, KeyError> {
    if pem.len() > PEM_BYTES_MAX {
        return Err(KeyError::Pem);
    }
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| KeyError::Pem)
}

/// Every public key; certificates and whatever else stands beside them is passed over.
pub(super) fn public_keys(pem: &[u8]) -> Result<Vec<Public>, KeyError> {
    let mut keys = Vec::new();
    for (kind, der) in sections(pem)? {
        match kind {
            SectionKind::PublicKey => keys.push(der::public_key(&der)?),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err(KeyError::PrivateKey);
            }
            _ => {}
        }
    }
    match keys.len() {
        0 => Err(KeyError::NoPublicKey),
        1..=KEYS_MAX => Ok(keys),
        _ => Err(KeyError::TooMany),
    }
}

/// The first private key: its algorithm, its DER, and its public half.
pub(crate) fn private_key(pem: &Secret) -> Result<(Alg, Secret, Public), KeyError> {
    let sections = sections(pem.expose())?.into_iter().map(|(kind, der)| (kind, Secret::new(der)));
    let mut keys = sections.filter(|(kind, _)| matches!(kind, SectionKind::PrivateKey | SectionKind::RsaPrivateKey));
    let (_, der) = keys.next().ok_or(KeyError::NoPrivateKey)?;
    read_private(&der).map(|(alg, public)| (alg, der, public)).ok_or(KeyError::NoPrivateKey)
}

fn read_private(der: &Secret) -> Option<(Alg, Public)> {
    use ring::signature::KeyPair;

    if let Some(pair) = provider::ed_pair(der.expose()) {
        return Some((Alg::EdDsa, Public::Ed25519(pair.public_key().as_ref().try_into().ok()?)));
    }
    if let Some(pair) = provider::ec_pair(der.expose()) {
        return Some((Alg::Es256, Public::P256(pair.public_key().as_ref().try_into().ok()?)));
    }
    let pair = provider::rsa_pair(der.expose())?;
    Some((Alg::Rs256, der::rsa(pair.public().as_ref())?))
}
