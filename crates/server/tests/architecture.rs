//! Which crate may depend on which: `docs/architecture.md` in a form that fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

/// What each crate of the workspace may depend on, of the others. `dev` also holds what its tests may.
struct Rule {
    name: &'static str,
    hub: &'static [&'static str],
    dev: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule { name: "wire", hub: &[], dev: &[] },
    Rule { name: "core", hub: &["wire"], dev: &[] },
    Rule { name: "backplane", hub: &["wire", "core"], dev: &[] },
    Rule { name: "backplane-redis", hub: &["wire", "core", "backplane"], dev: &[] },
    Rule { name: "telemetry", hub: &[], dev: &[] },
    Rule { name: "auth", hub: &["wire"], dev: &[] },
    Rule { name: "actors", hub: &["wire", "core", "backplane", "telemetry"], dev: &[] },
    Rule { name: "http", hub: &["wire", "core", "backplane", "actors", "telemetry", "auth"], dev: &[] },
    Rule { name: "loadtest", hub: &[], dev: &[] },
    Rule {
        name: "server",
        hub: &["wire", "core", "backplane", "backplane-redis", "actors", "http", "telemetry", "auth", "loadtest"],
        dev: &[],
    },
    // It judges the hub from outside: sharing its code would share its mistakes.
    Rule { name: "e2e", hub: &["wire"], dev: &[] },
    Rule { name: "auditor", hub: &["e2e"], dev: &[] },
];

/// Crates from elsewhere that only some crates may depend on directly, tests included.
const CONFINED: &[(&str, &[&str])] = &[
    ("actix-web", &["http", "server"]),
    ("actix-http", &["http", "server"]),
    ("actix-server", &["http", "server"]),
    ("actix-cors", &["http"]),
    ("actix", &["actors", "http", "server"]),
    ("fred", &["backplane-redis"]),
    ("clap", &["server", "loadtest", "auditor"]),
    ("config", &["server"]),
    ("prometheus-client", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry-otlp", &["telemetry"]),
    ("jsonwebtoken", &["auth"]),
    ("governor", &["auth"]),
    ("argon2", &["auth"]),
];

/// Crates without threads, sockets and clocks, and what they may depend on from elsewhere. A list of what is allowed,
/// since nobody can list all that does IO.
const PURE: &[&str] = &["wire", "core"];
const PURE_MAY_USE: &[&str] = &[
    "bytes",
    "fastrand",
    "hashbrown",
    "indexmap",
    "itoa",
    "memchr",
    "rustc-hash",
    "serde",
    "serde_json",
    "slab",
    "smallvec",
    "thiserror",
];
const PURE_TESTS_MAY_USE: &[&str] = &["eventsource-stream", "futures-util", "proptest", "russe", "tokio-util"];

/// A crate and what it depends on directly: names of the hub's own without their `towncrier-`.
#[derive(Debug, Default)]
struct Dependencies {
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

#[test]
fn dependencies_point_one_way() {
    let workspace = workspace();
    let mut wrong = Vec::new();
    for (name, dependencies) in &workspace {
        wrong.extend(broken(name, dependencies, &workspace));
    }
    assert!(wrong.is_empty(), "dependencies against the architecture:\n  {}", wrong.join("\n  "));
}

#[test]
fn a_wrong_dependency_is_found() {
    let workspace = workspace();
    for (from, to, in_tests, part) in [
        ("core", "actors", false, "core -> actors"),
        ("backplane", "http", false, "backplane -> http"),
        ("telemetry", "wire", false, "telemetry -> wire"),
        ("auth", "http", false, "auth -> http"),
        ("http", "jsonwebtoken", false, "http -> jsonwebtoken"),
        ("e2e", "core", true, "e2e -> core"),
        ("wire", "tokio", false, "wire -> tokio"),
        ("core", "tokio", true, "core -> tokio"),
        ("core", "socket2", false, "core -> socket2"),
        ("actors", "actix-web", false, "actors -> actix-web"),
        ("backplane", "actix", true, "backplane -> actix"),
        ("actors", "fred", false, "actors -> fred"),
    ] {
        let mut dependencies = Dependencies::default();
        let list = if in_tests { &mut dependencies.dev } else { &mut dependencies.normal };
        list.insert(to.to_owned());
        let wrong = broken(from, &dependencies, &workspace);
        assert!(wrong.iter().any(|line| line.contains(part)), "{from} -> {to}: {wrong:?}");
    }
    assert_eq!(broken("stranger", &Dependencies::default(), &workspace).len(), 1);
}

#[test]
fn every_dependency_is_explained() {
    let page = include_str!("../../../docs/dependencies.md");
    let words: BTreeSet<&str> =
        page.split(|char: char| !char.is_ascii_alphanumeric() && !"-_".contains(char)).collect();
    let workspace = workspace();
    let unexplained: BTreeSet<&str> = workspace
        .values()
        .flat_map(|dependencies| dependencies.normal.iter().chain(&dependencies.dev))
        .map(String::as_str)
        .filter(|name| !workspace.contains_key(*name) && !words.contains(name))
        .collect();
    assert!(unexplained.is_empty(), "say in docs/dependencies.md why these are there: {unexplained:?}");
}

/// What is wrong with a crate's dependencies, a line each.
fn broken(name: &str, dependencies: &Dependencies, workspace: &BTreeMap<String, Dependencies>) -> Vec<String> {
    let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
        return vec![format!("{name} has no rule; say in this test what it may depend on")];
    };
    let mut wrong = Vec::new();
    let kinds = [(&dependencies.normal, false), (&dependencies.dev, true)];
    for (to, in_tests) in kinds.into_iter().flat_map(|(list, in_tests)| list.iter().map(move |to| (to, in_tests))) {
        let to = to.as_str();
        let edge = format!("{name} -> {to}{}", if in_tests { " (tests)" } else { "" });
        // A crate's tests may use the crate itself with other features.
        if workspace.contains_key(to) && to != name {
            if !(rule.hub.contains(&to) || in_tests && rule.dev.contains(&to)) {
                wrong.push(format!("{edge}: {name} may depend on {:?} of the hub's crates only", rule.hub));
            }
            continue;
        }
        if let Some((_, homes)) = CONFINED.iter().find(|(confined, _)| *confined == to)
            && !homes.contains(&name)
        {
            wrong.push(format!("{edge}: {to} belongs into {homes:?} only"));
        }
        let pure_may = PURE_MAY_USE.contains(&to) || in_tests && PURE_TESTS_MAY_USE.contains(&to);
        if PURE.contains(&name) && to != name && !pure_may {
            wrong.push(format!("{edge}: {name} has no IO, no async and no clock, and {to} is not known to have none"));
        }
    }
    wrong
}

/// The workspace as cargo sees it.
fn workspace() -> BTreeMap<String, Dependencies> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");

    let list = |value: &Value| value.as_array().cloned().expect("a list");
    let workspace: BTreeMap<String, Dependencies> = list(&metadata["packages"])
        .iter()
        .map(|package| {
            let mut dependencies = Dependencies::default();
            for dependency in list(&package["dependencies"]) {
                let name = short(dependency["name"].as_str().expect("a name"));
                match dependency["kind"].as_str() {
                    Some("dev") => dependencies.dev.insert(name),
                    _ => dependencies.normal.insert(name),
                };
            }
            (short(package["name"].as_str().expect("a name")), dependencies)
        })
        .collect();
    for name in ["wire", "core", "backplane", "actors", "http", "server"] {
        assert!(workspace.contains_key(name), "{name} is not in the workspace: {:?}", workspace.keys());
    }
    workspace
}

/// `towncrier-core` is `core`, and the binary `towncrier` is `server`, as their folders are called.
fn short(package: &str) -> String {
    match package {
        "towncrier" => "server".to_owned(),
        other => other.strip_prefix("towncrier-").unwrap_or(other).to_owned(),
    }
}
