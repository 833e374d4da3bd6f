//! As much of DER as public keys need.

use rustls_pki_types::alg_id::{ECDSA_P256, ED25519, RSA_ENCRYPTION};

use super::{KeyError, Public};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// Reads a SubjectPublicKeyInfo (RFC 5280, section 4.1).
pub(super) fn public_key(spki: &[u8]) -> Result<Public, KeyError> {
    parse_spki(spki).ok_or(KeyError::Unsupported)
}

fn parse_spki(spki: &[u8]) -> Option<Public> {
    let mut outer = Reader(spki);
    let mut info = Reader(outer.value(SEQUENCE)?);
    let algorithm = info.value(SEQUENCE)?;
    // The first byte of a bit string tells how many bits of the last are not used.
    let (0, key) = info.value(BIT_STRING)?.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    if !outer.0.is_empty() || !info.0.is_empty() {
        return None;
    }
    if algorithm == RSA_ENCRYPTION.as_ref() {
        rsa(key)
    } else if algorithm == ECDSA_P256.as_ref() {
        let point: [u8; 65] = key.try_into().ok()?;
        (point[0] == 4).then_some(Public::P256(point))
    } else if algorithm == ED25519.as_ref() {
        Some(Public::Ed25519(key.try_into().ok()?))
    } else {
        None
    }
}

/// Reads an RSAPublicKey (RFC 8017, appendix A.1.1).
pub(crate) fn rsa(key: &[u8]) -> Option<Public> {
    let mut outer = Reader(key);
    let mut numbers = Reader(outer.value(SEQUENCE)?);
    let modulus = numbers.positive()?.to_vec();
    let exponent = numbers.positive()?.to_vec();
    (outer.0.is_empty() && numbers.0.is_empty()).then_some(Public::Rsa { modulus, exponent })
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The value of the next element, which must have this tag. Lengths must be written as short as they can be.
    fn value(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (header, rest) = self.0.split_first_chunk::<2>()?;
        if header[0] != tag {
            return None;
        }
        let (length, rest) = match header[1] {
            short @ 0..=0x7f => (usize::from(short), rest),
            0x81 => {
                let (length, rest) = rest.split_first_chunk::<1>()?;
                (usize::from(length[0]).checked_sub(0x80)? + 0x80, rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)).checked_sub(0x100)? + 0x100, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    /// A positive number without the zero byte that keeps its sign.
    fn positive(&mut self) -> Option<&'a [u8]> {
        match self.value(INTEGER)? {
            [0, number @ ..] if number.first().is_some_and(|first| *first >= 0x80) => Some(number),
            number @ [1..=0x7f, ..] => Some(number),
            _ => None,
        }
    }
}
