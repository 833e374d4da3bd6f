//! Two files, divided by a line `---`, and behind another such line the environment, a variable a line: nothing is taken that
//! would be refused when it is written again, and nothing secret is shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use towncrier::fuzzing::load;

/// What stands for a password in the seeds. It is long enough not to be found by chance.
const PASSWORD: &str = "hunter2-hunter2-hunter2-hunter2-";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut parts = text.splitn(3, "\n---\n");
    let files: Vec<&str> = parts.by_ref().take(2).collect();
    let variables: Vec<(&str, &str)> =
        parts.next().unwrap_or_default().lines().filter_map(|line| line.split_once('=')).collect();
    match load(&files, &variables) {
        Err(problems) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.is_empty()));
            check_secrets(text, problems.iter().map(String::as_str));
        }
        Ok(changed) => {
            check_secrets(text, changed.iter().map(|(_, value)| value.as_str()));
            check_again(&changed);
        }
    }
});

/// A value of a key that holds a secret is not shown, however it is wrong, unless it stands in a key of another kind.
fn check_secrets<'a>(text: &str, mut shown: impl Iterator<Item = &'a str>) {
    let secret_only = text.lines().filter(|line| line.contains(PASSWORD)).all(|line| {
        let name = line.split_once('=').map_or("", |(name, _)| name.trim());
        [
            "auth.hs256_secret",
            "auth.hs256_old_secret",
            "encryption.keys",
            "tracing.otlp_headers",
            "TOWNCRIER__AUTH__HS256_SECRET",
        ]
        .contains(&name)
    });
    assert!(!secret_only || shown.all(|text| !text.contains(PASSWORD)), "a secret is shown");
}

/// What differs from the defaults, written as a file, comes to the same.
fn check_again(changed: &[(String, String)]) {
    // Secrets and passwords within URLs are not shown, so these cannot be written; nor are users.
    if changed.iter().any(|(_, value)| value.contains("***")) {
        return;
    }
    let mut text = String::new();
    let (namespaces, keys): (Vec<_>, Vec<_>) = changed.iter().partition(|(key, _)| key.starts_with("namespaces["));
    for (key, value) in keys {
        text += &format!("{key} = {value}\n");
    }
    let mut last = None;
    for (key, value) in namespaces {
        let (place, key) = key.split_once("].").expect("a key within a namespace");
        if last.replace(place) != Some(place) {
            text += "[[namespaces]]\n";
        }
        text += &format!("{key} = {value}\n");
    }
    match load(&[&text], &[]) {
        Ok(again) => assert_eq!(again, changed, "written as\n{text}"),
        Err(problems) => panic!("{problems:?} when written again as\n{text}"),
    }
}
