//! Logins by password, and the accounts that they are of.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use towncrier_e2e::{Hub, Value, json};

use crate::auth::{bearer, hub, signed, token};

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
