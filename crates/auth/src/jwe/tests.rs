use super::*;

fn sealer(kids: &[&str]) -> Sealer {
    let key = |kid: &str| {
        let bytes: Vec<u8> = kid.bytes().cycle().take(KEY_BYTES).collect();
        SealingKey::new(kid, &Secret::from(STANDARD.encode(bytes))).expect("a key")
    };
    Sealer::new(kids.iter().map(|kid| key(kid)).collect()).expect("a sealer")
}

#[test]
fn a_key_is_used_up_at_its_bound() {
    let sealer = sealer(&["a"]);
    sealer.keys[0].sealed.store(SEALED_MAX - 2, Ordering::Relaxed);
    assert!(sealer.seal("one").is_ok());
    let last = sealer.seal("two").expect("the last");
    for _ in 0..3 {
        assert_eq!(sealer.seal("three"), Err(SealError::Exhausted));
    }
    assert_eq!(sealer.sealed(), SEALED_MAX);
    assert_eq!(sealer.open(&last).as_deref(), Ok("two"), "what it sealed can still be opened");
}
