//! Who may do what, with tokens that `towncrier token` makes.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use towncrier_e2e::{Authority, Builder, Hub, SOON, Subscriber, Towncrier, Value, encode, eventually, json};

const SECRET: &str = "a secret of more than thirty-two bytes";

pub(crate) fn hub() -> Builder {
    Hub::with("auth.mode", "jwt").set("auth.hs256_secret", SECRET)
}

/// A token with these options of `towncrier token`.
pub(crate) fn token(options: &str) -> String {
    let options: Vec<_> = ["token"].into_iter().chain(options.split_whitespace()).collect();
    let run = Towncrier::new(&options).set("auth.hs256_secret", SECRET).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    run.stdout.trim().to_owned()
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn with_header(hub: &Hub, topics: &[&str], bearer: &str) -> Result<Subscriber, String> {
    hub.subscription(topics).header("Authorization", bearer).try_open()
}

/// What is asked for, by name.
const REQUESTS: [(&str, &str, &str, &str); 12] = [
    ("events", "GET", "/events?topic=orders/1&topic=news", ""),
    ("path", "GET", "/topics/orders%2F1/events", ""),
    ("poll", "GET", "/poll?topic=orders/*", ""),
    ("publish", "POST", "/admin/v1/publish", r#"{"topic":"orders/1","data":"x"}"#),
    ("publish-many", "POST", "/admin/v1/publish", r#"{"topics":["orders/1","news"],"data":"x"}"#),
    ("stats", "GET", "/admin/v1/stats", ""),
    ("topics", "GET", "/admin/v1/topics", ""),
    ("sessions", "GET", "/admin/v1/sessions", ""),
    ("metrics", "GET", "/metrics", ""),
    ("broadcast", "POST", "/admin/v1/broadcast", r#"{"data":"x"}"#),
    ("disconnect", "DELETE", "/admin/v1/users/anna/sessions", ""),
    ("me", "GET", "/me", ""),
];

/// The status of a request whose token is at a place.
fn ask(hub: &Hub, (method, target, body): (&str, &str, &str), place: &str, token: &str) -> u16 {
    let mut headers = vec![("Accept", "*/*"), ("Content-Type", "application/json")];
    let (authorization, cookie) = (bearer(token), format!("a=b; towncrier_token={token}; c=d"));
    let origin = format!("http://{}", hub.addr());
    let mut target = target.to_owned();
    match place {
        "header" => headers.push(("Authorization", &authorization)),
        "cookie" => headers.extend([("Cookie", cookie.as_str()), ("Origin", &origin)]),
        "query" => {
            target += if target.contains('?') { "&" } else { "?" };
            target += &format!("token={}", encode(token));
        }
        _ => {}
    }
    if target.starts_with("/events") || target.ends_with("/events") || target.contains("/events?") {
        let mut subscription = hub.subscription(&[]).path(&target);
        for (name, value) in headers {
            subscription = subscription.header(name, value);
        }
        return subscription.answer().0.status;
    }
    hub.request(method, &target, &headers, body.as_bytes()).status()
}

/// Every place of a token, with every kind of rights, at every kind of request.
#[test]
fn the_matrix_of_rights() {
    let hub = hub().start();
    let everything = ["events", "path", "poll", "publish", "publish-many", "stats", "topics", "sessions", "metrics"];
    let tokens: [(&str, &str, Vec<&str>); 7] = [
        ("nothing", "", vec![]),
        ("subscribe", "--subscribe orders/* --subscribe news", vec!["events", "path", "poll"]),
        ("subscribe-one", "--subscribe orders/1", vec!["path"]),
        ("publish", "--publish orders/* --publish news", vec!["publish", "publish-many"]),
        ("publish-one", "--publish orders/1", vec!["publish"]),
        ("read", "--admin read", vec!["stats", "topics", "sessions", "metrics"]),
        ("write", "--admin write", vec!["broadcast", "disconnect"]),
    ];
    let all = "--subscribe ** --publish ** --admin read --admin write";
    let every = [everything.as_slice(), &["broadcast", "disconnect"]].concat();
    let tokens = tokens.into_iter().chain([("all", all, every)]);
    for (kind, options, allowed) in tokens {
        let token = token(options);
        for place in ["header", "cookie", "query"] {
            for (name, method, target, body) in REQUESTS {
                let status = ask(&hub, (method, target, body), place, &token);
                let expected = if name == "me" || allowed.contains(&name) { 200 } else { 403 };
                assert_eq!(status, expected, "{kind} token in the {place}, {name}");
            }
        }
    }
    for (name, method, target, body) in REQUESTS {
        assert_eq!(ask(&hub, (method, target, body), "nowhere", ""), 401, "no token, {name}");
        let bad = token("--subscribe **").replace('.', ".A");
        assert_eq!(ask(&hub, (method, target, body), "header", &bad), 401, "a bad token, {name}");
    }
    for open in ["/health", "/ready", "/", "/login"] {
        assert_eq!(hub.get(open).status(), 200, "{open}");
    }
}

#[test]
fn what_is_refused_is_named() {
    let hub = hub().start();
    let token = bearer(&token("--subscribe orders/* --publish orders/*"));
    let auth = ("Authorization", token.as_str());
    let json_type = ("Content-Type", "application/json");
    let problem = hub.request("GET", "/poll?topic=orders/1&topic=secret/**", &[auth], b"").problem(403);
    assert_eq!(problem["field"], "topic");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("secret/**")), "{problem}");
    let publish =
        |body: Value| hub.request("POST", "/admin/v1/publish", &[auth, json_type], body.to_string().as_bytes());
    let problem = publish(json!({"topics": ["orders/1", "news"], "data": "x"})).problem(403);
    assert_eq!(problem["field"], "topics[1]");
    let batch = json!([{"topic": "orders/1", "data": "a"}, {"topic": "news", "data": "b"}]).to_string();
    let answers = hub.request("POST", "/admin/v1/publish/batch", &[auth, json_type], batch.as_bytes()).ok();
    assert!(answers[0]["id"].is_string() && answers[1]["error"]["status"] == 403, "{answers}");

    let unknown = hub.request("GET", "/poll?topic=a", &[], b"");
    assert_eq!(unknown.head.header("www-authenticate"), Some("Bearer"));
    let problem = hub.request("GET", "/admin/v1/stats", &[auth], b"").problem(403);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("admin:read")), "{problem}");
    // Users are who their tokens say they are.
    let problem = hub.request("GET", "/poll?topic=orders/1&user=somebody", &[auth], b"").problem(400);
    assert_eq!(problem["field"], "user");
}

#[test]
fn users_are_who_their_tokens_say() {
    let hub = hub().start();
    let anna = bearer(&token("--user anna --subscribe news"));
    let admin = bearer(&token("--admin read --admin write"));
    let mut session = with_header(&hub, &["news"], &anna).expect("a stream");
    let admin = [("Authorization", admin.as_str()), ("Content-Type", "application/json")];
    let found = hub.request("GET", "/admin/v1/sessions?user=anna", &admin, b"").ok();
    assert_eq!(found["sessions"][0]["id"], json!(session.session));
    let sent = hub.request("POST", "/admin/v1/users/anna/events", &admin, br#"{"data":"hi"}"#).ok();
    assert_eq!(sent, json!({"delivered": 1}));
    assert_eq!(session.event().data, "hi");
    eventually("who changed what is in the log", SOON, || {
        let log = hub.log();
        let told = log.contains("towncrier::audit") && log.contains("POST /admin/v1/users/anna/events");
        if told { Ok(()) } else { Err(log) }
    });
}

#[test]
fn a_stream_ends_with_its_token() {
    let hub = hub().set("auth.leeway", "0s").start();
    let token = bearer(&token("--subscribe news --expires 3s"));
    let began = Instant::now();
    let mut session = with_header(&hub, &["news"], &token).expect("a stream");
    session.closed("token_expired");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    thread::sleep(Duration::from_millis(1100));
    let refused = with_header(&hub, &["news"], &token).expect_err("it has expired");
    assert!(refused.contains("401"), "{refused}");
}

#[test]
fn namespaces_may_be_public_to_subscribe_but_not_to_publish() {
    let namespaces = "[[namespaces]]\nprefix = \"open/\"\nauth.subscribe = \"public\"\n\
                      [[namespaces]]\nprefix = \"open/secret/\"\nauth.subscribe = \"token\"\n";
    let hub = hub().file(namespaces).start();
    let mut session = hub.subscribe(&["open/a", "open/b/*"]);
    for closed in ["news", "open/**", "open/*/x", "open/secret/a", "**"] {
        assert_eq!(hub.get(&format!("/poll?topic={closed}")).status(), 401, "{closed}");
    }
    let publish = json!({"topic": "open/a", "data": "x"});
    hub.send(&publish).problem(401);
    let token = bearer(&token("--publish open/*"));
    let headers = [("Authorization", token.as_str()), ("Content-Type", "application/json")];
    hub.request("POST", "/admin/v1/publish", &headers, publish.to_string().as_bytes()).ok();
    assert_eq!(session.event().data, "x");
}

#[test]
fn keys_of_every_kind_are_taken_and_several_at_once() {
    let folder = Authority::new();
    let mut public = String::new();
    let mut tokens = Vec::new();
    for (kind, arguments) in [
        ("rsa", "-algorithm RSA -pkeyopt rsa_keygen_bits:2048"),
        ("ec", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"),
        ("ed", "-algorithm ed25519"),
        ("other", "-algorithm ed25519"),
    ] {
        let key = folder.file(&format!("{kind}.key"));
        let openssl = |arguments: &str| {
            let done = Command::new("openssl").args(arguments.split_whitespace()).output().expect("openssl");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).expect("PEM")
        };
        openssl(&format!("genpkey {arguments} -out {key}"));
        if kind != "other" {
            public += &openssl(&format!("pkey -in {key} -pubout"));
        }
        tokens.push((kind, bearer(&token(&format!("--subscribe news --key {key}")))));
    }
    std::fs::write(folder.path("public.pem"), public).expect("written");
    let hub = Hub::with("auth.mode", "jwt").set("auth.public_key", &folder.file("public.pem")).start();
    for (kind, token) in &tokens {
        let opened = with_header(&hub, &["news"], token);
        assert_eq!(opened.is_ok(), *kind != "other", "{kind}: {:?}", opened.err());
    }
    // A token by HS256 is nothing here, least of all one signed with the public key.
    assert!(with_header(&hub, &["news"], &bearer(&token("--subscribe news"))).is_err());

    // While secrets change, tokens by both are taken.
    let hub = Hub::with("auth.mode", "jwt")
        .set("auth.hs256_secret", "the new secret of more than thirty-two bytes")
        .set("auth.hs256_old_secret", SECRET)
        .start();
    assert!(with_header(&hub, &["news"], &bearer(&token("--subscribe news"))).is_ok());
}

#[test]
fn a_token_is_made_good_by_no_other() {
    let hub = hub().start();
    let (good, bad) = (token("--subscribe **"), token("--subscribe **").replace('.', ".x"));
    let status = |headers: &[(&str, &str)], query: &str| {
        hub.request("GET", &format!("/poll?topic=a{query}"), headers, b"").status()
    };
    let (good_bearer, bad_bearer) = (bearer(&good), bearer(&bad));
    let good_cookie = format!("towncrier_token={good}");
    let bad_cookie = format!("towncrier_token={bad}");
    let good_query = format!("&token={good}");
    assert_eq!(status(&[("Authorization", &bad_bearer), ("Cookie", &good_cookie)], &good_query), 401);
    assert_eq!(status(&[("Cookie", &bad_cookie)], &good_query), 401);
    assert_eq!(status(&[("Authorization", &good_bearer), ("Cookie", &bad_cookie)], ""), 200);
    assert_eq!(status(&[("Authorization", &good_bearer), ("Authorization", &bad_bearer)], ""), 401);
    assert_eq!(status(&[("Authorization", "Basic YTpi")], ""), 401);
    assert_eq!(status(&[("Authorization", "Bearer")], ""), 401);
    assert_eq!(status(&[("Authorization", &format!("bearer  {good}"))], ""), 200);
    assert_eq!(status(&[("Cookie", &format!("{good_cookie}; {bad_cookie}"))], ""), 401);
    assert_eq!(status(&[], &format!("&token={good}&token={good}")), 401);
    assert_eq!(status(&[("Authorization", &format!("Bearer {}", "x".repeat(20_000)))], ""), 401);
    // None of it is in the log.
    let log = hub.log();
    assert!(!log.contains(&good) && !log.contains(&bad) && !log.contains(SECRET), "{log}");
}

#[test]
fn a_change_by_cookie_needs_an_origin_that_is_known() {
    let hub = hub().start();
    let cookie = format!("towncrier_token={}", token("--publish ** --admin write"));
    let own = format!("http://{}", hub.addr());
    let publish = |origin: &[(&str, &str)]| {
        let headers = [&[("Cookie", cookie.as_str()), ("Content-Type", "application/json")], origin].concat();
        hub.request("POST", "/admin/v1/publish", &headers, br#"{"topic":"a","data":"x"}"#)
    };
    publish(&[("Origin", &own)]).ok();
    for origins in [vec![], vec![("Origin", "null")], vec![("Origin", "http://evil.example")]] {
        assert_eq!(publish(&origins).problem(403)["field"], "Origin", "{origins:?}");
    }
    let headers = [("Cookie", cookie.as_str())];
    hub.request("DELETE", "/admin/v1/users/anna/sessions", &headers, b"").problem(403);
    let header = bearer(&token("--publish **"));
    let headers = [("Authorization", header.as_str()), ("Content-Type", "application/json")];
    hub.request("POST", "/admin/v1/publish", &headers, br#"{"topic":"a","data":"x"}"#).ok();
}

/// A token by HS256, made with `openssl`.
pub(crate) fn signed(claims: &Value) -> String {
    let openssl = |arguments: &[&str], input: &[u8]| {
        let mut run = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl is installed");
        run.stdin.take().expect("piped").write_all(input).expect("written");
        run.wait_with_output().expect("it ends").stdout
    };
    let base64 = |bytes: &[u8]| {
        let text = String::from_utf8(openssl(&["base64", "-A"], bytes)).expect("text");
        text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_")
    };
    let message = format!("{}.{}", base64(br#"{"alg":"HS256"}"#), base64(claims.to_string().as_bytes()));
    let signature = openssl(&["dgst", "-sha256", "-hmac", SECRET, "-binary"], message.as_bytes());
    format!("{message}.{}", base64(&signature))
}

#[test]
fn what_is_wrong_with_keys_is_said_at_start() {
    let run = |settings: &[(&str, &str)]| {
        let towncrier = Towncrier::new(&["serve"]).set("auth.mode", "jwt");
        let run = settings.iter().fold(towncrier, |run, (key, value)| run.set(key, value)).run();
        assert_ne!(run.code, Some(0), "{run:?}");
        assert!(!run.stderr.contains("sh0rt"), "{run:?}");
        run.stderr
    };
    assert!(run(&[]).contains("needs a key"));
    assert!(run(&[("auth.hs256_secret", "sh0rt")]).contains("32 bytes"));
    assert!(run(&[("auth.public_key", "/none")]).contains("/none"));
    assert!(run(&[("auth.jwks_url", "http://example.org/jwks")]).contains("https"));
    let check = Towncrier::new(&["check-config"]).set("auth.mode", "jwt").set("auth.hs256_secret", SECRET).run();
    assert!(check.stdout.contains("***") && !check.stdout.contains(SECRET), "{check:?}");
}

/// The router decodes paths before it looks for their route: so must whoever decides what a route needs.
#[test]
fn a_path_in_disguise_opens_nothing() {
    let hub = hub().start();
    let token = bearer(&token("--subscribe ** --publish **"));
    for path in [
        "/%61dmin/v1/stats",
        "/admin/%76%31/stats",
        "/admin/v1%2Fstats",
        "/admin%2fv1/stats",
        "/admin/v1/publish/../stats",
        "/admin/v1/publish%2f..%2fstats",
        "//admin/v1/stats",
        "/./admin/v1/stats",
        "/%2561dmin/v1/stats",
        "/%6detrics",
        "/metrics%2f",
        "/%65vents?topic=a",
        "/%70oll?topic=a",
        "/topics/a/%65vents",
        "/%6de",
        "/ADMIN/v1/stats",
        "/admin/v1/sessions/..%2f..%2fstats",
    ] {
        let nobody = hub.request("GET", path, &[], b"").status();
        assert!(matches!(nobody, 400 | 401 | 404), "{path} gives {nobody} to nobody");
        if !path.contains('?') && !path.contains("topics") && !path.contains("%6de") {
            let other = hub.request("GET", path, &[("Authorization", &token)], b"").status();
            assert!(matches!(other, 403 | 404), "{path} gives {other} to somebody without admin rights");
        }
    }
    assert_eq!(
        hub.request("POST", "/%61dmin/v1/publish", &[("Content-Type", "application/json")], b"{}").status(),
        401
    );
    let open = Hub::start();
    assert_eq!(open.get("/%61dmin/v1/stats").status(), 200, "an open hub asks nobody, however it is written");
}
