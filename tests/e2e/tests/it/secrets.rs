//! What is never logged, at whatever level, by whatever library.

use std::collections::BTreeSet;

use towncrier_e2e::{
    Authority, Collector, Hub, Redis, SOON, Signal, Towncrier, Value, encode, eventually, free_address, json,
};

/// All of them can be found by this, and none by chance.
const MARK: &str = "s3cr3t";

const HS256: &str = "s3cr3t-hs256-and-more-than-thirty-two-bytes";
const REDIS: &str = "s3cr3t-redis";
const HEADER: &str = "s3cr3t-collector";
const PASSWORD: &str = "s3cr3t-password-of-anna";
const WRONG: &str = "s3cr3t-password-that-is-wrong";
const OTHER: &str = "s3cr3t-password-of-berta";
const GARBAGE: &str = "s3cr3t-that-is-no-token";
/// What is published, to be sealed and not.
const PAYLOAD: &str = "s3cr3t-payload";

fn token(options: &[&str]) -> String {
    let run = Towncrier::new(&[&["token"], options].concat()).set("auth.hs256_secret", HS256).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    run.stdout.trim().to_owned()
}

/// Who says something in a log.
fn targets(log: &str) -> BTreeSet<String> {
    let objects = log.lines().filter_map(|line| line.parse::<Value>().ok());
    objects.filter_map(|line| Some(line["target"].as_str()?.to_owned())).collect()
}

#[test]
fn no_secret_is_in_the_log_at_any_level() {
    let (redis, collector) = (Redis::start(), Collector::start());
    assert!(redis.command(&format!("ACL SETUSER hub on >{REDIS} ~* &* +@all")).starts_with("+OK"));
    // Thirty-two bytes, of which only the text is looked for.
    let key = "czNjcjN0LWtleS1vZi10aGlydHktdHdvLWJ5dGVzLi4";
    let (authority, tls) = (Authority::new(), free_address());
    authority.sign("hub");
    let hub = Hub::with("log.level", "trace,actix_server=trace")
        .set("log.repeats", "0")
        .set("backplane.kind", "redis")
        .set("backplane.redis.url", &redis.url().replace("redis://", &format!("redis://hub:{REDIS}@")))
        .set("http.tls_listen", &tls.to_string())
        .set("http.tls_cert", &authority.file("hub.pem"))
        .set("http.tls_key", &authority.file("hub.key"))
        .set("auth.mode", "jwt")
        .set("auth.hs256_secret", HS256)
        .set("tracing.otlp_endpoint", &collector.endpoint())
        .set("tracing.otlp_headers", &format!("x-key={HEADER}, authorization=Bearer {HEADER}"))
        .set("tracing.sample_ratio", "1")
        .set("encryption.enabled", "true")
        .set("encryption.keys", &format!("k1:{key}"))
        .file("[[namespaces]]\nprefix = \"plain/\"\nencryption.enabled = false\n");
    let mut hub = hub.start();

    let token =
        token(&["--user", "anna", "--subscribe", "**", "--publish", "**", "--admin", "read", "--admin", "write"]);
    let bearer = format!("Bearer {token}");
    let origin = format!("http://{}", hub.addr());
    let cookie = format!("towncrier_token={token}");
    let json_type = ("Content-Type", "application/json");

    let mut by_query = hub.subscription(&["news", "plain/*"]).query("token", &token).open();
    let by_header = hub.subscription(&["news"]).header("Authorization", &bearer).open();
    let by_cookie = hub.subscription(&["news"]).header("Cookie", &cookie).open();
    let poll = format!("/poll?topic=news&wait=0&token={}", encode(&token));
    assert_eq!(hub.get(&poll).status(), 200);
    let publish = json!({ "topic": "news", "data": PAYLOAD, "idempotency_key": "k" }).to_string();
    let by_token = [("Authorization", bearer.as_str()), json_type];
    assert_eq!(hub.request("POST", "/admin/v1/publish", &by_token, &publish).status(), 200);
    let plain = publish.replace("news", "plain/1");
    assert_eq!(hub.request("POST", "/admin/v1/publish", &by_token, &plain).status(), 200);
    let admin = [("Cookie", cookie.as_str()), ("Origin", origin.as_str()), json_type];
    for (name, password) in [("anna", PASSWORD), ("berta", OTHER)] {
        let account = json!({ "password": password, "subscribe": ["**"] }).to_string();
        let target = format!("/admin/v1/accounts/{name}");
        assert_eq!(hub.request("PUT", &target, &admin, &account).status(), 201);
    }

    let login = |name: &str, password: &str| {
        let body = json!({ "username": name, "password": password });
        let answer = hub.request("POST", "/login", &[json_type, ("Origin", &origin)], body.to_string());
        (answer.status(), answer.head.header("set-cookie").map(str::to_owned))
    };
    let (status, set) = login("anna", PASSWORD);
    assert_eq!(status, 200);
    let session = set.expect("a cookie");
    let session = session.split(';').next().expect("its value").to_owned();
    assert_eq!(login("anna", WRONG).0, 401);
    assert_eq!(login("berta", OTHER).0, 200);
    assert_eq!(login(GARBAGE, WRONG).0, 401);
    let form = format!("username=anna&password={WRONG}");
    let form_type = ("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(hub.request("POST", "/login", &[form_type, ("Origin", &origin)], form).status(), 401);
    assert_eq!(hub.request("GET", "/me", &[("Cookie", &session)], "").status(), 200);

    // What is wrong is no less a secret: it may be right elsewhere.
    for (target, header) in [
        (format!("/poll?topic=news&token={GARBAGE}"), None),
        (format!("/poll?topic=news&token={GARBAGE}%ff"), None),
        (format!("/poll?topic=news&token={GARBAGE}&token={GARBAGE}"), None),
        ("/poll?topic=news".to_owned(), Some(("Authorization", format!("Bearer {GARBAGE}")))),
        ("/poll?topic=news".to_owned(), Some(("Authorization", format!("Basic {GARBAGE}")))),
        ("/poll?topic=news".to_owned(), Some(("Cookie", format!("towncrier_token={GARBAGE}")))),
    ] {
        let headers: Vec<_> = header.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let status = hub.request("GET", &target, &headers, "").status();
        assert!([400, 401].contains(&status), "{target}: {status}");
    }

    // In the clear to those who subscribe, and in Redis, but not in the log.
    let told = [by_query.event().data, by_query.event().data];
    assert_eq!(told.iter().filter(|data| *data == PAYLOAD).count(), 1, "{told:?}");
    for version in ["--http2", "--http1.1"] {
        let by_tls = |path: &str, arguments: &[&str]| {
            let url = format!("https://{tls}{path}");
            let said = authority.curl(&[&[version], arguments, &[&url]].concat());
            assert!(said.status.success(), "{said:?}");
        };
        let (poll, json_type) = ("/poll?topic=news&wait=0", "Content-Type: application/json");
        let (header, cookie) = (format!("Authorization: {bearer}"), format!("Cookie: {cookie}"));
        let login = json!({ "username": "anna", "password": PASSWORD }).to_string();
        by_tls(&format!("{poll}&token={}", encode(&token)), &[]);
        by_tls(poll, &["--header", &header]);
        by_tls(poll, &["--header", &cookie]);
        by_tls("/login", &["--header", json_type, "--data", &login]);
        by_tls("/admin/v1/publish", &["--header", &header, "--header", json_type, "--data", &publish]);
    }

    // The clients of Redis log in again.
    assert!(redis.command("CLIENT KILL TYPE normal SKIPME yes").starts_with(':'));
    assert!(redis.command("CLIENT KILL TYPE pubsub").starts_with(':'));
    eventually("it is published again", SOON, || {
        let answer = hub.request("POST", "/admin/v1/publish", &by_token, &publish);
        if answer.status() == 200 { Ok(()) } else { Err(answer.text()) }
    });
    drop((by_query, by_header, by_cookie));
    hub.signal(Signal::TERM);
    assert_eq!(hub.wait_exit(SOON).code(), Some(0));
    assert!(collector.heads().iter().any(|head| head.contains(HEADER)), "the collector was sent its headers");

    let log = hub.log();
    for level in ["TRACE", "DEBUG", "INFO"] {
        assert!(!hub.lines("level", level).is_empty(), "nothing is logged at {level}");
    }
    let from = |target: &str| hub.log().lines().any(|line| line.contains(&format!("\"target\":\"{target}")));
    for library in ["fred", "ureq", "actix_server", "towncrier_http", "towncrier_actors", "h2", "rustls", "mio"] {
        assert!(from(library), "{library} logs nothing: {:?}", targets(&log));
    }
    let signature = |token: &str| token.rsplit('.').next().expect("a part").to_owned();
    let secrets = [MARK, key, &signature(&token), &signature(&session), "argon2"];
    for secret in secrets {
        let found: Vec<&str> = log.lines().filter(|line| line.contains(secret)).take(5).collect();
        assert!(found.is_empty(), "{secret} is logged:\n{}", found.join("\n"));
    }
    for span in collector.spans() {
        assert!(!format!("{span:?}").contains(MARK), "{span:?}");
    }
}
