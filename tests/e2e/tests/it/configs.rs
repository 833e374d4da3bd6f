//! The configurations of `configs/`, and the service of systemd in the guide that runs one of them.

use towncrier_e2e::{
    Towncrier,
    shipped::{after, seconds, text},
};

/// Descriptors that the hub needs beside its connections.
const OWN_DESCRIPTORS: u64 = 512;

fn settings(name: &str) -> Vec<(String, String)> {
    let run = Towncrier::new(&["check-config", "--config", name]).file(name, &text(&format!("configs/{name}"))).run();
    assert_eq!(run.code, Some(0), "{name}: {run:?}");
    let settings = run.settings();
    assert!(!settings.is_empty(), "{name} changes nothing: {run:?}");
    settings
}

#[track_caller]
fn value(settings: &[(String, String)], key: &str) -> String {
    let found = settings.iter().find(|(name, _)| name == key);
    found.unwrap_or_else(|| panic!("{key} is not in {settings:?}")).1.clone()
}

#[test]
fn production_asks_who_comes() {
    let settings = settings("production.toml");
    assert_eq!(value(&settings, "auth.mode"), "jwt");
    assert_eq!(value(&settings, "backplane.kind"), "redis");
    assert_ne!(value(&settings, "http.admin_listen"), value(&settings, "http.listen"));
    let raw = text("configs/production.toml");
    assert!(after(&raw, "hs256_secret =").is_empty() && after(&raw, "url =").is_empty(), "a secret in a file");
}

#[test]
fn development_is_for_this_machine() {
    let settings = settings("development.toml");
    for (key, value) in &settings {
        assert!(!key.starts_with("http.") && !key.starts_with("auth."), "{key} = {value}");
    }
}

#[test]
fn the_service_has_what_production_needs() {
    let settings = settings("production.toml");
    let guide = text("docs/operations.md");
    let one = |word: &str| after(&guide, word).first().unwrap_or_else(|| panic!("no {word} in the guide")).to_string();
    let descriptors: u64 = one("LimitNOFILE=").parse().expect("a number");
    let connections: u64 = value(&settings, "http.max_connections").parse().expect("a number");
    assert!(descriptors >= connections + OWN_DESCRIPTORS, "{descriptors} for {connections}");
    let patience = seconds(&(one("TimeoutStopSec=") + "s"));
    assert!(patience > seconds(&value(&settings, "shutdown.timeout")), "{patience:?}");
    assert!(one("ExecStart=").ends_with("serve --config /etc/towncrier/production.toml"));
}
