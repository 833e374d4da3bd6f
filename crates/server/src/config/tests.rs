use std::{fs, path::Path, time::Duration};

use super::{
    types::{AuthMode, BackplaneKind, Slow},
    *,
};

/// What a configuration of this file and environment comes to: the keys that differ, or all that is wrong; a line each.
#[track_caller]
fn check(toml: &str, env: &[(&str, &str)], expect: &[&str]) {
    let lines: Vec<String> = match of_texts(&[toml], env) {
        Ok(loaded) => loaded.changed.iter().map(|changed| format!("{} = {}", changed.key, changed.value)).collect(),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(lines, expect, "of {toml} and {env:?}");
}

#[test]
fn nothing_given_is_the_defaults() {
    check("", &[], &[]);
    let config = of_texts(&[], &[]).expect("the defaults are good").config;
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.workers, None);
    assert_eq!(config.http.max_connections_per_address, None);
    assert_eq!(config.http.body_bytes, 8 << 20);
    assert_eq!(config.node.id, None);
    assert_eq!(config.backplane.kind, BackplaneKind::Embedded);
    assert_eq!(config.history.age, Duration::from_secs(3600));
    assert_eq!(config.session.max_lifetime, None);
    assert_eq!(config.session.slow, Slow::Disconnect);
    assert_eq!(config.auth.mode, AuthMode::Open);
    assert!(!config.auth.open_to_network);
}

#[test]
fn the_file_in_the_repository_is_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/default.toml");
    let stored = fs::read_to_string(path).expect("configs/default.toml is there");
    assert_eq!(stored, default_toml(), "run `cargo run -- check-config --default > configs/default.toml`");
    check(&stored, &[], &[]);

    // Its commented example is good too.
    let (_, example) = stored.split_once("# [[namespaces]]").expect("there is an example");
    let example: String = example.lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let loaded = of_texts(&[&format!("[[namespaces]]{example}")], &[]).expect("the example is good");
    assert_eq!(loaded.config.namespaces.len(), 1);
    assert_eq!(loaded.changed.len(), 9);
}

#[test]
fn every_key_can_be_set_in_a_file_and_in_the_environment() {
    let mut variables = Vec::new();
    for key in keys() {
        let setting = key.kind.read_text(key.default).expect(key.name);
        check(&format!("{} = {setting}", key.name), &[], &[]);
        variables.push((source::variable_of(key.name), key.default));
    }
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    check("", &variables, &[]);
}

#[test]
fn lists_have_one_form_wherever_they_come_from() {
    check("cors.origins = []", &[], &[]);
    check(
        "http.trusted_proxies = [\"10.1.2.3/8\", \"::1\"]",
        &[("TOWNCRIER__HTTP__FORWARDED_BY", "forwarded")],
        &["http.trusted_proxies = [\"10.0.0.0/8\", \"::1\"]", "http.forwarded_by = \"forwarded\""],
    );
    check(
        "http.trusted_proxies = [\"127.0.0.1\", \"0.0.0.0/0\"]",
        &[],
        &[
            "http.trusted_proxies: \"0.0.0.0/0\": would take everybody's word for where they come from; name the proxies (a.toml)",
        ],
    );
    check(
        "cors.origins = [\"https://App.example:443\", \"http://localhost:3000\"]",
        &[],
        &["cors.origins = [\"https://app.example\", \"http://localhost:3000\"]"],
    );
    check(
        "cors.origins = [\"https://app.example\", \"https://b.example\"]",
        &[("TOWNCRIER__CORS__ORIGINS", "https://c.example , https://d.example:1")],
        &["cors.origins = [\"https://c.example\", \"https://d.example:1\"]"],
    );
    let config = of_texts(&["cors.origins = [\"https://app.example\"]"], &[]).expect("good").config;
    assert_eq!(config.cors.origins, ["https://app.example".parse().expect("an origin")]);
    let late = of_texts(
        &["cors.origins = [\"https://a.example\", \"https://b.example\"]", "cors.origins = [\"https://c.example\"]"],
        &[],
    );
    assert_eq!(late.expect("good").config.cors.origins.len(), 1, "a later list replaces an earlier one");
}

#[test]
fn what_is_wrong_with_a_list_is_told() {
    let malformed =
        "must be an origin such as https://app.example or http://localhost:3000: scheme, host, port, nothing behind";
    for (toml, env, expect) in [
        ("[\"*\"]", "", "\"*\": `*` would let every page act as its visitors; name the origins (a.toml)".to_owned()),
        ("[\"https://a.example/\"]", "", format!("\"https://a.example/\": {malformed} (a.toml)")),
        ("[\"\"]", "", format!("\"\": {malformed} (a.toml)")),
        ("\"https://a.example\"", "", "must be a list of at most 100 origins, such as [\"https://app.example\"], not \"https://a.example\" (a.toml)".to_owned()),
        ("[1]", "", "must be a list of at most 100 origins, such as [\"https://app.example\"], not a list with 1 (a.toml)".to_owned()),
        ("[]", "https://a.example,", format!("\"\": {malformed} (environment variable TOWNCRIER__CORS__ORIGINS)")),
        ("[]", &["http://x"; 101].join(","), "must be a list of at most 100, not 101 (environment variable TOWNCRIER__CORS__ORIGINS)".to_owned()),
    ] {
        let toml = format!("cors.origins = {toml}");
        let env = [("TOWNCRIER__CORS__ORIGINS", env)];
        let env = if env[0].1.is_empty() { &[] } else { &env[..] };
        check(&toml, env, &[&format!("cors.origins: {expect}")]);
    }
}

#[test]
fn the_watchdog_tells_before_it_ends_the_process() {
    check(
        "watchdog = { stalled = \"10s\", exit = \"10s\" }",
        &[],
        &["watchdog.exit: must be longer than watchdog.stalled (\"10s\", a.toml), not \"10s\" (a.toml)"],
    );
    check(
        "watchdog.stalled = \"45s\"",
        &[],
        &["watchdog.exit: must be longer than watchdog.stalled (\"45s\", a.toml), not \"30s\" (built-in default)"],
    );
    check(
        "watchdog = { stalled = \"45s\", exit = \"0s\" }",
        &[],
        &["watchdog.stalled = \"45s\"", "watchdog.exit = \"0s\""],
    );
    check("watchdog.stalled = \"1s\"", &[], &["watchdog.stalled: must be a time from 2s to 10m, not \"1s\" (a.toml)"]);
    let config = of_texts(&["watchdog.exit = \"0s\""], &[]).expect("good").config;
    assert_eq!(config.watchdog.exit, None);
}

#[test]
fn a_namespace_may_be_counted_by_itself() {
    let one = |value: &str| format!("[[namespaces]]\nprefix = \"orders/\"\nmetrics = {value}");
    check(&one("true"), &[], &["namespaces[0].prefix = \"orders/\"", "namespaces[0].metrics = true"]);
    check(&one("1"), &[], &["namespaces[0].metrics: must be true or false, not 1 (a.toml)"]);
}

#[test]
fn a_burst_belongs_to_a_rate() {
    check("limits.connects_burst = 5", &[], &["limits.connects_burst: needs limits.connects_per_second (a.toml)"]);
    check(
        "limits = { connects_burst = 5, connects_per_second = 2 }",
        &[],
        &["limits.connects_per_second = 2", "limits.connects_burst = 5"],
    );
    check(
        "namespaces = [{ prefix = \"a\", limits = { publishes_per_second_per_client = 0, publishes_burst_per_client = -1 } }]",
        &[],
        &["namespaces[0].limits.publishes_burst_per_client: must be a whole number from 0 to 1000000, not -1 (a.toml)"],
    );
}

#[test]
fn the_environment_goes_over_files_and_later_files_over_earlier_ones() {
    check(
        "history.events = 5\nsession.heartbeat = \"1s\"",
        &[("TOWNCRIER__HISTORY__EVENTS", "7"), ("TOWNCRIER__AUTH__OPEN_TO_NETWORK", "true"), ("TOWNCRIER_URL", "x")],
        &["history.events = 7", "session.heartbeat = \"1s\"", "auth.open_to_network = true"],
    );
    let loaded = of_texts(
        &["history.events = 5\nhistory.age = \"2h\"", "history.events = 6"],
        &[("TOWNCRIER__LOG__LEVEL", "info,towncrier_http=debug")],
    )
    .expect("all good");
    let changed: Vec<(&str, &str, &str)> =
        loaded.changed.iter().map(|it| (it.key.as_str(), it.value.as_str(), it.origin.as_str())).collect();
    assert_eq!(
        changed,
        [
            ("history.events", "6", "b.toml"),
            ("history.age", "\"2h\"", "a.toml"),
            ("log.level", "\"info,towncrier_http=debug\"", "environment variable TOWNCRIER__LOG__LEVEL"),
        ]
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    check(
        r#"
            htp.listen = "127.0.0.1:1"
            http.lisen = "127.0.0.1:1"
            http.heartbeat = "15s"
            nonsense = 1
            session = 3
            "log.level" = "debug"
            [history]
            events = 0
            age = 15
            [backplane]
            kind = "kafka"
        "#,
        &[
            ("TOWNCRIER__SESSION__SLOW", "drop"),
            ("TOWNCRIER__SESSION__RETRYY", "3s"),
            ("TOWNCRIER__log__level", "debug"),
            ("TOWNCRIER__NAMESPACES__0__PREFIX", "x"),
        ],
        &[
            "\"log.level\": unknown key; did you mean `log.level`? (a.toml)",
            "backplane.kind: must be \"embedded\" or \"redis\", not \"kafka\" (a.toml)",
            "history.age: must be a time from 100ms to 365d, not 15 (a.toml)",
            "history.events: must be a whole number from 1 to 1000000, not 0 (a.toml)",
            "htp: unknown section; did you mean `http`? (a.toml)",
            "http.heartbeat: unknown key; did you mean `session.heartbeat`? (a.toml)",
            "http.lisen: unknown key; did you mean `http.listen`? (a.toml)",
            "nonsense: unknown key (a.toml)",
            "session: is a section, not a key (a.toml)",
            "log.level: is written TOWNCRIER__LOG__LEVEL (environment variable TOWNCRIER__log__level)",
            "namespaces.0.prefix: can only be set in a file (environment variable TOWNCRIER__NAMESPACES__0__PREFIX)",
            "session.retryy: unknown key; did you mean `session.retry`? (environment variable TOWNCRIER__SESSION__RETRYY)",
            "session.slow: must be \"disconnect\" or \"conflate\", not \"drop\" (environment variable TOWNCRIER__SESSION__SLOW)",
        ],
    );
}

#[test]
fn a_bad_value_is_told_even_where_another_goes_over_it() {
    check(
        "history.events = -1",
        &[("TOWNCRIER__HISTORY__EVENTS", "7")],
        &["history.events: must be a whole number from 1 to 1000000, not -1 (a.toml)"],
    );
}

#[test]
fn values_are_read_by_the_type_of_their_key() {
    for (toml, expect) in [
        ("limits.data_bytes = 65536", "limits.data_bytes = \"64KiB\""),
        ("limits.data_bytes = \"64KB\"", "limits.data_bytes = 64000"),
        ("limits.data_bytes = \"17MiB\"", "must be a size from 1 to 16MiB, such as 256KiB, not \"17MiB\""),
        ("limits.data_bytes = \"64 KiB\"", "must be a size from 1 to 16MiB, such as 256KiB, not \"64 KiB\""),
        ("limits.data_bytes = 1.5", "must be a size from 1 to 16MiB, such as 256KiB, not 1.5"),
        ("history.events = \"200\"", "must be a whole number from 1 to 1000000, not \"200\""),
        ("history.events = [1]", "must be a whole number from 1 to 1000000, not a list"),
        ("history.age = \"1w\"", "must be a time from 100ms to 365d, not \"1w\""),
        ("session.max_lifetime = \"1d\"", "session.max_lifetime = \"1d\""),
        ("session.max_lifetime = \"1ms\"", "must be a time from 100ms to 365d, or 0s for none, not \"1ms\""),
        ("auth.open_to_network = \"true\"", "must be true or false, not \"true\""),
        (
            "http.listen = \"localhost:80\"",
            "must be an IP address and a port, such as 127.0.0.1:8080, not \"localhost:80\"",
        ),
        ("http.listen = \"[::1]:80\"", "http.listen = \"[::1]:80\""),
        ("node.id = \"pod-1\"", "node.id = \"pod-1\""),
        ("node.id = \"a b\"", "must be at most 64 of the characters A-Z a-z 0-9 . _ ~ -, not \"a b\""),
        ("log.level = \"loud\"", "`loud` is neither a level"),
        ("log.format = \"json\"", "log.format = \"json\""),
    ] {
        let shown = match of_texts(&[toml], &[]) {
            Ok(loaded) => format!("{} = {}", loaded.changed[0].key, loaded.changed[0].value),
            Err(problems) => problems.to_string(),
        };
        // Sizes are shown with quotes only where they have a unit in their text; both are good TOML.
        assert!(shown.replace("\"64000\"", "64000").contains(expect), "{toml}: {shown}");
    }
}

#[test]
fn relations_between_keys() {
    check(
        "limits.data_bytes = \"16MiB\"",
        &[("TOWNCRIER__HISTORY__BYTES", "1MiB")],
        &[
            "session.outbox_bytes: must be at least limits.data_bytes (16MiB, a.toml) and 64KiB more, not 1MiB (built-in default)",
            "http.body_bytes: must be at least limits.data_bytes (16MiB, a.toml), not 8MiB (built-in default)",
            "history.bytes: must be at least limits.data_bytes (16MiB, a.toml), not 1MiB (environment variable TOWNCRIER__HISTORY__BYTES)",
        ],
    );
    // 256KiB and 64KiB are just enough.
    check("session.outbox_bytes = \"320KiB\"", &[], &["session.outbox_bytes = \"320KiB\""]);
    check(
        "session.outbox_bytes = 327679",
        &[],
        &[
            "session.outbox_bytes: must be at least limits.data_bytes (256KiB, built-in default) and 64KiB more, not 327679 (a.toml)",
        ],
    );
    // A relation to a value that is bad by itself is not told as well.
    check(
        "limits.data_bytes = \"17MiB\"\nhttp.body_bytes = \"1KiB\"",
        &[],
        &["limits.data_bytes: must be a size from 1 to 16MiB, such as 256KiB, not \"17MiB\" (a.toml)"],
    );
}

#[test]
fn an_open_hub_listens_on_loopback_only() {
    for address in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
        let problems = of_texts(&[], &[("TOWNCRIER__HTTP__LISTEN", address)]).expect_err(address).to_string();
        for part in ["http.listen:", address, "auth.open_to_network = true", "TOWNCRIER__HTTP__LISTEN"] {
            assert!(problems.contains(part), "{problems}");
        }
        of_texts(&["auth.open_to_network = true"], &[("TOWNCRIER__HTTP__LISTEN", address)]).expect(address);
    }
    for address in ["127.0.0.1:80", "127.9.9.9:0", "[::1]:80"] {
        of_texts(&[], &[("TOWNCRIER__HTTP__LISTEN", address)]).expect(address);
    }
}

#[test]
fn namespaces() {
    check(
        r#"
            [[namespaces]]
            prefix = "orders/"
            history.events = 5
            session.slow = "conflate"
            session.events_per_second = 20
            session.over_rate = "conflate"
            [[namespaces]]
            prefix = "news"
        "#,
        &[],
        &[
            "namespaces[0].prefix = \"orders/\"",
            "namespaces[0].history.events = 5",
            "namespaces[0].session.slow = \"conflate\"",
            "namespaces[0].session.events_per_second = 20",
            "namespaces[0].session.over_rate = \"conflate\"",
            "namespaces[1].prefix = \"news\"",
        ],
    );
    check(
        r#"
            [[namespaces]]
            history.age = "0s"
            history.bytes = 5
            history.evnts = 5
            [[namespaces]]
            prefix = "a*"
            [[namespaces]]
            prefix = "b"
            session.outbox_bytes = "64KiB"
            [[namespaces]]
            prefix = "b"
            session = 3
        "#,
        &[],
        &[
            "namespaces[0].history.age: must be a time from 100ms to 365d, not \"0s\" (a.toml)",
            "namespaces[0].history.bytes: cannot be set for a namespace (a.toml)",
            "namespaces[0].history.evnts: unknown key; did you mean `history.events`? (a.toml)",
            "namespaces[0].prefix: is missing (a.toml)",
            "namespaces[1].prefix: must be 1 to 256 bytes without `*` and control characters, not \"a*\" (a.toml)",
            "namespaces[3].prefix: is the same as that of namespaces[2]: \"b\" (a.toml)",
            "namespaces[3].session: is a section, not a key (a.toml)",
            "namespaces[2].session.outbox_bytes: must be at least limits.data_bytes (256KiB, built-in default) and 64KiB more, not 64KiB (a.toml)",
        ],
    );
    check("namespaces = 3", &[], &["namespaces: must be [[namespaces]] tables, not 3 (a.toml)"]);
    check("namespaces = [3]", &[], &["namespaces[0]: must be a table, not 3 (a.toml)"]);
    check("[[namespace]]\nprefix = \"a\"", &[], &["namespace: unknown key; did you mean `namespaces`? (a.toml)"]);

    let two = ["namespaces = [{ prefix = \"a\" }]", "namespaces = [{ prefix = \"b\" }]"];
    let config = of_texts(&two, &[]).expect("both are good").config;
    assert_eq!(config.namespaces.iter().map(|it| it.prefix.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_file_that_cannot_be_read_is_one_problem_among_the_others() {
    let problems = of_texts(&["http = ["], &[("TOWNCRIER__HTTP__WORKERS", "many")]).expect_err("both are bad");
    assert_eq!(problems.0.len(), 2, "{problems}");
    assert!(problems.to_string().starts_with("a.toml: is not TOML: "), "{problems}");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let absent = folder.path().join("absent.toml");
    let problems = load(&[absent]).expect_err("it is not there").to_string();
    assert!(problems.contains("absent.toml: cannot be read: "), "{problems}");
}

#[test]
fn a_line_that_is_not_toml_is_told_by_its_place_only() {
    for (toml, place) in [
        ("auth.hs256_secret = \"s3cret\n", "line 1, column 28"),
        ("auth.hs256_secret = s3cret\n", "line 1, column 21"),
        ("auth.mode = \"jwt\"\nauth.hs256_secret = \"\"\"s3cret\n| s3cret\n", "line 3, column 10"),
        ("auth.hs256_secret = \"a\"\nauth.hs256_secret = \"s3cret\"\n", "line 2, column 6"),
    ] {
        let problems = of_texts(&[toml], &[]).expect_err(toml).to_string();
        assert!(problems.starts_with(&format!("a.toml: is not TOML: TOML parse error at {place}: ")), "{problems}");
        assert!(!problems.contains("s3cret") && !problems.contains('\n'), "{problems}");
    }
}

#[test]
fn what_differs_is_shown_as_it_can_be_written() {
    let written = |toml: &str| {
        let changed = of_texts(&[toml], &[]).expect(toml).changed;
        changed.iter().map(|changed| format!("{} = {}\n", changed.key, changed.value)).collect::<String>()
    };
    for text in ["\u{200b}", "e\u{301}", "\u{301}x", "\u{feff}", "'", "\\", "\"", "\u{e000}", "\u{10ffff}", "ä"] {
        let toml = format!("auth.public_key = '''a{text}b'''\nauth.issuers = ['''a{text}b''', 'b']\n");
        let once = written(&toml);
        assert_eq!(once.lines().count(), 2, "{once}");
        assert_eq!(of_texts(&[&once], &[]).expect(&once).config, of_texts(&[&toml], &[]).expect(&toml).config);
        assert_eq!(written(&once), once);
    }
    // A filter of logs may hold what no other text may.
    assert_eq!(written("log.level = \"a\\u0000=info\""), "log.level = \"a\\u0000=info\"\n");
}

#[test]
fn spans_go_to_a_url_with_headers_that_nobody_sees() {
    check(
        "tracing.otlp_endpoint = \"https://otlp.example/base\"\ntracing.otlp_headers = \"key=s3cret\"\ntracing.sample_ratio = 1",
        &[("TOWNCRIER__TRACING__QUEUE", "10")],
        &[
            "tracing.otlp_endpoint = \"https://otlp.example/base\"",
            "tracing.otlp_headers = \"***\"",
            "tracing.sample_ratio = 1.0",
            "tracing.queue = 10",
        ],
    );
    let wrong =
        "tracing.otlp_endpoint = \"localhost:4318\"\ntracing.otlp_headers = \"s3cret\"\ntracing.sample_ratio = 1.5";
    let problems = of_texts(&[wrong], &[]).expect_err("three are wrong").to_string();
    for part in ["tracing.otlp_endpoint: must be an http://", "tracing.otlp_headers: must be NAME=VALUE", "from 0 to 1"]
    {
        assert!(problems.contains(part), "{part} is not in {problems}");
    }
    assert!(!problems.contains("s3cret"), "{problems}");
    let alone = of_texts(&[], &[("TOWNCRIER__TRACING__OTLP_HEADERS", "a=b")]).expect_err("nowhere to go").to_string();
    assert!(alone.contains("needs tracing.otlp_endpoint"), "{alone}");
}
