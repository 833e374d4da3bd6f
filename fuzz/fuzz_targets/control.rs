//! What nodes say to each other: what is understood is written, and understood again, as the same.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use towncrier_actors::fuzzing::say_again;

fuzz_target!(|data: &[u8]| {
    let Some(once) = say_again(&Bytes::copy_from_slice(data)) else { return };
    let twice = say_again(&once).expect("is understood by who wrote it");
    assert_eq!(once, twice);
    // An event goes beside the line as it came.
    if let Some(at) = once.iter().position(|&byte| byte == b'\n') {
        assert!(data.ends_with(&once[at..]), "{}", once.escape_ascii());
    }
});
