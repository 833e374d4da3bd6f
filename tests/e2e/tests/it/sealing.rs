//! Payloads that only those read who hold a key.

use std::process::Command;

use towncrier_e2e::{Builder, Hub, Page, Redis, SOON, Towncrier, json, judge};

const KEYS: &str = "new:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= old:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
const CLEAR: &str = "{\"price\": 42, \"for\": \"größer\"}";

fn hub() -> Builder {
    Hub::with("encryption.keys", KEYS).file(
        "[[namespaces]]\nprefix = \"secret/\"\nencryption.enabled = true\n\
         [[namespaces]]\nprefix = \"secret/open/\"\nencryption.enabled = false\n",
    )
}

/// Node's WebCrypto, by the code that the demo page has.
fn unseal(sealed: &str, keys: &str) -> String {
    let program = format!(
        "import {{ importKeys, unseal }} from '{}/../../crates/http/assets/unseal.js';\n\
         process.stdout.write(await unseal({sealed:?}, await importKeys({keys:?})));",
        env!("CARGO_MANIFEST_DIR")
    );
    let run =
        Command::new("node").args(["--input-type=module", "--eval", &program]).output().expect("node is installed");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("text")
}

#[test]
fn what_is_published_lies_and_leaves_sealed() {
    let redis = Redis::start();
    let hub =
        hub().set("backplane.kind", "redis").set("backplane.redis.url", &redis.url()).set("log.level", "trace").start();
    let mut session = hub.subscribe(&["secret/**", "news"]);
    hub.publish("secret/a", CLEAR);
    hub.publish("secret/open/a", "clear by a namespace of its own");
    hub.publish("news", "clear");

    let sealed = session.event().data;
    assert!(!sealed.contains("price") && sealed.starts_with("eyJ"), "{sealed}");
    assert_eq!(unseal(&sealed, KEYS), CLEAR);
    assert_eq!(session.data(2), ["clear by a namespace of its own", "clear"]);
    let history = hub.get("/admin/v1/topics/secret%2Fa/history").ok();
    assert_eq!(history["events"][0]["data"], json!(sealed), "the hub does not open it either");
    let batch = json!([{"topic": "secret/b", "data": {"price": 1}}]).to_string();
    hub.post_bytes("/admin/v1/publish/batch", "application/json", batch.as_bytes()).ok();
    assert_eq!(unseal(&session.event().data, KEYS), "{\"price\":1}");
    let again = hub.publish("secret/a", CLEAR);
    let twice = session.event();
    assert_eq!(twice.id(), again);
    assert_ne!(twice.data, sealed, "the same is never sealed the same");
    let log = hub.log();
    assert!(!log.contains("price") && !log.contains("AAECAw"), "{log}");
}

#[test]
fn keys_change_while_what_the_old_ones_sealed_is_still_there() {
    let old =
        Hub::with("encryption.keys", KEYS.split(' ').nth(1).expect("a key")).set("encryption.enabled", "true").start();
    let mut session = old.subscribe(&["a"]);
    old.publish("a", "by the old key");
    let sealed = session.event().data;
    assert_eq!(unseal(&sealed, KEYS), "by the old key", "clients hold both");

    let large = hub().set("limits.data_bytes", "4KiB").start();
    let problem = large.send(&json!({"topic": "secret/a", "data": "x".repeat(4000)})).problem(413);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("sealed")), "{problem}");
    large.publish("secret/open/a", &"x".repeat(4000));
}

#[test]
fn another_library_opens_it() {
    let hub = hub().start();
    let mut session = hub.subscribe(&["secret/a"]);
    hub.publish("secret/a", CLEAR);
    let sealed = session.event().data;
    let key = KEYS.split(' ').next().and_then(|one| one.split_once(':')).expect("a key").1;
    let mut jose = judge("jose-open.mjs", &[key, &sealed]);
    assert_eq!(jose.next(SOON * 4), json!({"opened": CLEAR, "kid": "new"}));
}

#[test]
fn the_page_opens_it_with_a_key() {
    let hub = hub().start();
    let mut page = Page::open(&hub.url("/"));
    page.fill("topics", "secret/**");
    page.fill("keys", KEYS);
    page.click("connect");
    page.status("live");
    hub.send(&json!({"topic": "secret/a", "data": "a word in your ear"})).ok();
    page.rows("it is shown in clear", |rows| {
        rows.iter().any(|row| row.data.as_deref() == Some("a word in your ear")).then_some(())
    });
    assert_eq!(page.complaints(), json!([]));
}

#[test]
fn what_is_wrong_with_keys_is_said_at_start_and_they_are_not() {
    for (keys, said) in [("", "encryption.keys"), ("k:AAAA", "encryption.keys"), ("AAECAwQFBg", "ID:BASE64")] {
        let run = Towncrier::new(&["serve"]).set("encryption.enabled", "true").set("encryption.keys", keys).run();
        assert_ne!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.contains(said) && !run.stderr.contains("AAECAw"), "{run:?}");
    }
}
