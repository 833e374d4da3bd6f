//! Who may do what, with tokens that `towncrier token` makes.

use std::{
    io::Write,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use towncrier_e2e::{Authority, Builder, Hub, SOON, Subscriber, Towncrier, Value, encode, eventually, json};

const SECRET: &str = "a secret of more than thirty-two bytes";

fn hub() -> Builder {
    Hub::with("auth.mode", "jwt").set("auth.hs256_secret", SECRET)
}

/// A token with these options of `towncrier token`.
fn token(options: &str) -> String {
    let options: Vec<_> = ["token"].into_iter().chain(options.split_whitespace()).collect();
    let run = Towncrier::new(&options).set("auth.hs256_secret", SECRET).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    run.stdout.trim().to_owned()
}

fn bearer(token: &str) -> String {
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

/// A hub in which anna may log in.
fn with_users() -> Hub {
    let mut hash = Command::new(std::env::var_os("TOWNCRIER_BIN").map_or_else(binary, Into::into))
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the hub's binary");
    hash.stdin.take().expect("piped").write_all(b"correct horse battery\n").expect("written");
    let hash = String::from_utf8(hash.wait_with_output().expect("it ends").stdout).expect("text");
    let users = format!(
        "[[auth.users]]\nname = \"anna\"\npassword_hash = \"{}\"\nsubscribe = [\"orders/*\"]\nadmin = [\"read\"]\n",
        hash.trim()
    );
    hub().file(&users).set("auth.login_attempts", "3").start()
}

/// What cargo built beside this test.
fn binary() -> std::path::PathBuf {
    let test = std::env::current_exe().expect("this test");
    test.parent().and_then(|deps| deps.parent()).expect("a target folder").join("towncrier")
}

#[test]
fn users_log_in_and_out() {
    let hub = with_users();
    let json_type = ("Content-Type", "application/json");
    let own = format!("http://{}", hub.addr());
    let body = br#"{"username":"anna","password":"correct horse battery"}"#;
    let login = hub.request("POST", "/login", &[json_type, ("Origin", &own)], body);
    let cookie = login.head.header("set-cookie").expect("a cookie").to_owned();
    assert!(cookie.starts_with("towncrier_token=") && cookie.contains("HttpOnly"), "{cookie}");
    assert!(
        cookie.contains("SameSite=Lax") && cookie.contains("Path=/") && cookie.contains("Max-Age=3600"),
        "{cookie}"
    );
    assert!(!cookie.contains("Secure"), "not in clear: {cookie}");
    let me = login.ok();
    assert_eq!((&me["user"], &me["subscribe"], &me["admin"]), (&json!("anna"), &json!(["orders/*"]), &json!(["read"])));

    let cookie = cookie.split(';').next().expect("a pair").to_owned();
    let session = hub.subscription(&["orders/1"]).header("Cookie", &cookie).open();
    let sessions = hub.request("GET", "/admin/v1/sessions?user=anna", &[("Cookie", &cookie)], b"").ok();
    assert_eq!(sessions["sessions"][0]["id"], json!(session.session));
    assert_eq!(hub.request("GET", "/me", &[("Cookie", &cookie)], b"").ok()["user"], "anna");
    hub.request("GET", "/poll?topic=news", &[("Cookie", &cookie)], b"").problem(403);

    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = b"username=anna&password=correct+horse+battery";
    assert_eq!(hub.request("POST", "/login", &[form], body).status(), 200);
    hub.request("POST", "/login", &[json_type, ("Origin", "http://evil.example")], b"{}").problem(403);
    let out = hub.request("POST", "/logout", &[("Cookie", &cookie), ("Origin", &own)], b"");
    assert_eq!(out.status(), 204);
    let gone = out.head.header("set-cookie").expect("a cookie").to_owned();
    assert!(gone.starts_with("towncrier_token=;") && gone.contains("Max-Age=0"), "{gone}");
}

#[test]
fn strangers_and_wrong_passwords_get_the_same_answer_and_not_too_often() {
    let hub = with_users();
    let json_type = ("Content-Type", "application/json");
    let login = |user: &str, password: &str| {
        let body = json!({"username": user, "password": password}).to_string();
        hub.request("POST", "/login", &[json_type], body.as_bytes())
    };
    let (wrong, stranger) = (login("anna", "wrong").problem(401), login("nobody", "wrong").problem(401));
    assert_eq!(wrong, stranger);
    assert!(login("anna", "").problem(401)["detail"] == wrong["detail"]);
    assert_eq!(login("anna", "wrong").problem(401), wrong);
    let held = login("anna", "correct horse battery");
    assert_eq!(held.status(), 429);
    assert!(held.head.header("retry-after").is_some_and(|after| after.parse::<u64>().is_ok_and(|s| s <= 60)));
    assert_eq!(login("another", "wrong").status(), 401, "another account may still try");
    assert_eq!(hub.request("POST", "/login", &[json_type], b"{}").problem(400)["field"], "username");
    let log = hub.log();
    assert!(!log.contains("correct horse") && !log.contains("argon2"), "{log}");
}

/// A token of a login that is more than half over is replaced while it is used.
#[test]
fn a_login_is_renewed_while_it_is_used() {
    let hub = with_users();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = |user: &str, issued: u64| {
        json!({"sub": user, "iat": issued, "exp": issued + 3600,
               "towncrier": {"subscribe": ["orders/*"], "login": issued}})
    };
    let renewed = |claims: Value| {
        let cookie = format!("towncrier_token={}", signed(&claims));
        let answer = hub.request("GET", "/me", &[("Cookie", &cookie)], b"");
        assert_eq!(answer.status(), 200, "{}", answer.text());
        answer.head.header("set-cookie").map(str::to_owned)
    };
    assert_eq!(renewed(claims("anna", now - 60)), None, "it is fresh");
    let cookie = renewed(claims("anna", now - 2000)).expect("it is more than half over");
    assert!(cookie.contains("Max-Age=3600"), "{cookie}");
    assert_eq!(renewed(claims("former", now - 2000)), None, "no longer a user");
    assert_eq!(renewed(json!({"sub": "anna", "iat": now - 2000, "exp": now + 1600})), None, "no login's");
}

/// A token by HS256, made with `openssl`.
fn signed(claims: &Value) -> String {
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

/// A node on which users may register, with a Redis that others share.
fn with_registration(redis: &towncrier_e2e::Redis) -> Hub {
    hub()
        .set("backplane.kind", "redis")
        .set("backplane.redis.url", &redis.url())
        .set("auth.register", "true")
        .set("auth.registered_subscribe", "users/{user}/**,news")
        .set("auth.registered_publish", "users/{user}/out")
        .set("auth.login_attempts", "100")
        .start()
}

#[test]
fn who_registers_on_one_node_is_known_on_all() {
    let redis = towncrier_e2e::Redis::start();
    let nodes = [with_registration(&redis), with_registration(&redis)];
    let json_type = ("Content-Type", "application/json");
    let register = |node: &Hub, user: &str, password: &str| {
        let body = json!({"username": user, "password": password}).to_string();
        node.request("POST", "/register", &[json_type], body.as_bytes())
    };
    let made = register(&nodes[0], "anna", "correct horse");
    assert_eq!(made.status(), 201, "{}", made.text());
    let cookie =
        made.head.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    let _session = nodes[1].subscription(&["users/anna/**", "news"]).header("Cookie", &cookie).open();
    nodes[1].request("GET", "/poll?topic=users/bert/inbox", &[("Cookie", &cookie)], b"").problem(403);

    let body = br#"{"username":"anna","password":"correct horse"}"#;
    let me = nodes[1].request("POST", "/login", &[json_type], body).ok();
    assert_eq!((&me["user"], &me["publish"]), (&json!("anna"), &json!(["users/anna/out"])));
    assert_eq!(register(&nodes[1], "anna", "another one").problem(409)["field"], "username");
    for (user, password, field) in
        [("a/b", "correct horse", "username"), ("**", "correct horse", "username"), ("bert", "short", "password")]
    {
        assert_eq!(register(&nodes[0], user, password).problem(400)["field"], field, "{user}");
    }
    assert_eq!(
        hub().start().request("POST", "/register", &[json_type], b"{}").status(),
        404,
        "unless it is switched on"
    );
    assert!(!nodes[0].log().contains("correct horse") && !nodes[0].log().contains("argon2"));
}

#[test]
fn administrators_keep_accounts() {
    let redis = towncrier_e2e::Redis::start();
    let nodes = [with_registration(&redis), with_registration(&redis)];
    let admin = bearer(&token("--admin read --admin write"));
    let headers = [("Authorization", admin.as_str()), ("Content-Type", "application/json")];
    let put = |name: &str, body: Value| {
        nodes[0].request("PUT", &format!("/admin/v1/accounts/{name}"), &headers, body.to_string().as_bytes())
    };
    let login = |node: &Hub, password: &str| {
        let body = json!({"username": "bert", "password": password}).to_string();
        node.request("POST", "/login", &[("Content-Type", "application/json")], body.as_bytes())
    };
    assert_eq!(put("bert", json!({"subscribe": ["a"]})).problem(400)["field"], "password");
    let made = put("bert", json!({"password": "first password", "subscribe": ["a", "b/*"], "admin": ["read"]}));
    assert_eq!(made.status(), 201);
    assert_eq!(made.json(), json!({"name": "bert", "subscribe": ["a", "b/*"], "publish": [], "admin": ["read"]}));
    assert_eq!(login(&nodes[1], "first password").ok()["subscribe"], json!(["a", "b/*"]));
    // What is not given stays as it was.
    assert_eq!(put("bert", json!({"publish": ["c"]})).ok()["subscribe"], json!(["a", "b/*"]));
    put("bert", json!({"password": "second password"})).ok();
    assert_eq!(login(&nodes[1], "first password").status(), 401);
    assert_eq!(login(&nodes[1], "second password").ok()["publish"], json!(["c"]));

    assert_eq!(put("carl", json!({"password": "some password"})).status(), 201);
    let list = |query: &str| nodes[1].request("GET", &format!("/admin/v1/accounts{query}"), &headers, b"").ok();
    let names = |page: &Value| {
        page["accounts"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&list("")), ["bert", "carl"]);
    let page = list("?limit=1");
    assert_eq!((names(&page), &page["next"]), (vec![json!("bert")], &json!("bert")));
    assert_eq!(names(&list("?after=bert")), ["carl"]);
    assert!(!list("").to_string().contains("argon2"));

    assert_eq!(put("bert", json!({"subscribe": ["a", "*b"]})).problem(400)["field"], "subscribe[1]");
    assert_eq!(put("bert", json!({"admin": ["all"]})).problem(400)["field"], "admin[0]");
    assert_eq!(nodes[0].request("DELETE", "/admin/v1/accounts/bert", &headers, b"").ok(), json!({"deleted": 1}));
    nodes[0].request("DELETE", "/admin/v1/accounts/bert", &headers, b"").problem(404);
    assert_eq!(login(&nodes[1], "second password").status(), 401);
    let reader = bearer(&token("--admin read"));
    let reader = [("Authorization", reader.as_str()), ("Content-Type", "application/json")];
    nodes[0].request("PUT", "/admin/v1/accounts/x", &reader, br#"{"password":"some password"}"#).problem(403);
}
