use ring::signature::{ED25519, UnparsedPublicKey};

use super::*;

/// The encoding of the neutral element and the number 0: a signature for each message whose hash, as a number, takes the key
/// to the neutral element.
fn forged() -> [u8; 64] {
    let mut signature = [0; 64];
    signature[0] = 1;
    signature
}

#[test]
fn keys_of_small_order_are_refused_since_anybody_can_sign_for_them() {
    let mut forgeable = 0;
    for y in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut point = y;
            point[31] |= sign;
            assert_eq!(Key::from_public(Public::Ed25519(point), None).err(), Some(KeyError::SmallOrder), "{point:?}");
            let key = UnparsedPublicKey::new(&ED25519, point);
            forgeable += usize::from((0..200_u8).any(|message| key.verify(&[message], &forged()).is_ok()));
        }
    }
    assert!(forgeable >= 8, "ring takes such keys, so the list is needed: {forgeable}");
    let other = std::array::from_fn(|at| at as u8);
    assert!(Key::from_public(Public::Ed25519(other), None).is_ok());
}

#[test]
fn a_token_is_tried_against_few_keys_and_those_of_its_id_first() {
    let key = |kid: Option<&str>, letter| Key::hs256(&Secret::new([letter; 32]), kid).expect("a key");
    let mut keys: Vec<_> = (0..20).map(|letter| key(None, letter)).collect();
    keys.push(key(Some("a"), 100));
    keys.push(key(Some("b"), 101));
    keys.push(key(Some("a"), 102));
    let found = |kid| candidates(keys.iter(), Alg::Hs256, kid);
    let named = found(Some("a"));
    assert_eq!(named.iter().map(|key| key.kid()).collect::<Vec<_>>()[..3], [Some("a"), Some("a"), None]);
    assert_eq!((named.len(), found(None).len(), found(Some("c")).len()), (TRIES_MAX, TRIES_MAX, TRIES_MAX));
    assert!(found(Some("c")).iter().all(|key| key.kid().is_none()));
    assert!(candidates(keys.iter(), Alg::Rs256, Some("a")).is_empty());
    assert!(candidates(keys[20..].iter(), Alg::Hs256, Some("c")).is_empty());
}

#[test]
fn keys_are_equal_when_everything_is() {
    let key = |kid, letter| Key::hs256(&Secret::new([letter; 32]), kid).expect("a key");
    assert_eq!(key(None, 1), key(None, 1));
    assert_ne!(key(None, 1), key(None, 2));
    assert_ne!(key(None, 1), key(Some("a"), 1));
}

#[test]
fn der_is_read_strictly() {
    let good = [
        &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..],
        &std::array::from_fn::<u8, 32, _>(|at| at as u8),
    ]
    .concat();
    assert_eq!(der::public_key(&good), Ok(Public::Ed25519(std::array::from_fn(|at| at as u8))));
    for cut in 0..good.len() {
        assert!(der::public_key(&good[..cut]).is_err(), "{cut}");
    }
    assert!(der::public_key(&[&good[..], &[0]].concat()).is_err(), "something after it");
    for place in 0..12 {
        let mut changed = good.clone();
        changed[place] ^= 1;
        assert!(der::public_key(&changed).is_err(), "byte {place}");
    }
    // The same lengths, written longer than needed.
    let long = [&[0x30, 0x81, 0x2a][..], &good[2..]].concat();
    assert!(der::public_key(&long).is_err());
    let long = [&[0x30, 0x82, 0x00, 0x2a][..], &good[2..]].concat();
    assert!(der::public_key(&long).is_err());

    for (text, expected) in [
        (&[0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x03][..], true),
        (&[0x30, 0x07, 0x02, 0x02, 0x00, 0x85, 0x02, 0x01, 0x03], true),
        (&[0x30, 0x06, 0x02, 0x01, 0x85, 0x02, 0x01, 0x03], false),
        (&[0x30, 0x07, 0x02, 0x02, 0x00, 0x05, 0x02, 0x01, 0x03], false),
        (&[0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x03], false),
        (&[0x30, 0x05, 0x02, 0x00, 0x02, 0x01, 0x03], false),
        (&[0x30, 0x03, 0x02, 0x01, 0x05], false),
        (&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x02], false),
    ] {
        assert_eq!(der::rsa(text).is_some(), expected, "{text:?}");
    }
}

#[test]
fn bits_are_counted_without_leading_zeros() {
    for (number, expected) in
        [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 1, 0], 9), (&[0xff, 0], 16), (&[0x7f, 0], 15)]
    {
        assert_eq!(bits(number), expected, "{number:?}");
    }
}
