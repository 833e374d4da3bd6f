//! Who a client is: the peer, or whoever a trusted proxy says, and nobody else.

use towncrier_e2e::{Front, Hub, SOON, Subscribe, Subscriber, eventually};

/// The address under which administrators see a session.
#[track_caller]
fn remote(hub: &Hub, session: &Subscriber) -> String {
    eventually("the session is known", SOON, || {
        let answer = hub.get(&format!("/admin/v1/sessions/{}", session.session));
        if answer.status() == 200 {
            Ok(answer.json()["remote"].as_str().expect("an address").to_owned())
        } else {
            Err(answer.text())
        }
    })
}

#[test]
fn a_stranger_is_not_believed() {
    for proxies in ["", "10.0.0.0/8,192.0.2.1"] {
        let hub = Hub::with("http.trusted_proxies", proxies).set("http.max_connections_per_address", "2").start();
        let subscription = |number: u32| {
            let spoofed = format!("198.51.100.{number}");
            hub.subscription(&["news"])
                .header("X-Forwarded-For", &spoofed)
                .header("Forwarded", &format!("for={spoofed}"))
                .header("X-Real-IP", &spoofed)
        };
        let sessions = [1, 2].map(|number| eventually("there is room", SOON, || subscription(number).try_open()));
        for session in &sessions {
            assert_eq!(remote(&hub, session), "127.0.0.1");
        }
        let (head, _) = subscription(3).accept("application/json").answer();
        assert_eq!(head.status, 429, "another address in a header is no other client");
    }
}

#[test]
fn behind_a_proxy_each_client_has_its_own_limit() {
    let hub =
        Hub::with("http.trusted_proxies", "127.0.0.1,10.0.0.0/8").set("http.max_connections_per_address", "1").start();
    let subscription = |chain: &str| hub.subscription(&["news"]).header("X-Forwarded-For", chain);
    let first = subscription("198.51.100.1").open();
    let second = subscription("198.51.100.1, 198.51.100.2, 10.1.1.1").open();
    assert_eq!((remote(&hub, &first), remote(&hub, &second)), ("198.51.100.1".to_owned(), "198.51.100.2".to_owned()));

    for spoofed in ["", "1.1.1.1, ", "127.0.0.1, ", "garbage, ", "\", ", ",,, "] {
        let (head, _) = subscription(&format!("{spoofed}198.51.100.1")).accept("*/*").answer();
        assert_eq!(head.status, 429, "{spoofed:?} does not make it another client");
    }
    drop(first);
    eventually("its place is free again", SOON, || subscription("198.51.100.1").try_open());
}

#[test]
fn all_of_an_ipv6_network_is_one_client() {
    let hub = Hub::with("http.trusted_proxies", "127.0.0.1").set("http.max_connections_per_address", "1").start();
    let subscription = |address: &str| hub.subscription(&["news"]).header("X-Forwarded-For", address);
    let first = subscription("[2001:db8::1]:4711").open();
    assert_eq!(remote(&hub, &first), "2001:db8::1");
    for same in ["2001:db8::2", "[2001:db8::ffff:ffff:ffff:ffff]:1"] {
        let (head, _) = subscription(same).accept("*/*").answer();
        assert_eq!(head.status, 429, "{same}");
    }
    let _other = subscription("2001:db8:0:1::1").open();
}

#[test]
fn a_proxy_that_names_nobody_is_the_client_itself_and_is_counted() {
    let hub = Hub::with("http.trusted_proxies", "127.0.0.1").start();
    let long = "x".repeat(60_000);
    let many = "127.0.0.1, ".repeat(100);
    let garbage = ["unknown", "_x", "1.2.3", "1.2.3.4:x", "[::1", "1.2.3.4\u{e9}", &long, &many];
    for value in garbage {
        let session = hub.subscription(&["news"]).header("X-Forwarded-For", value).open();
        assert_eq!(remote(&hub, &session), "127.0.0.1", "{value:.40}");
    }
    assert_eq!(hub.metric("towncrier_forwarded_malformed_total"), garbage.len() as f64);
}

#[test]
fn nginx_names_its_clients_whatever_they_say() {
    for (trusted, expect) in [(Front::ADDRESS, "127.0.0.1"), ("", Front::ADDRESS)] {
        let hub = Hub::with("http.trusted_proxies", trusted).start();
        let front = Front::before(hub.addr());
        for spoofed in ["198.51.100.1", "198.51.100.1, 127.0.0.9", "127.0.0.9", "unknown", "\""] {
            let forwarded = format!("for=\"{spoofed}\"");
            let mut session = Subscribe::to(front.addr())
                .topic(spoofed)
                .header("X-Forwarded-For", spoofed)
                .header("Forwarded", &forwarded)
                .header("X-Real-IP", "198.51.100.1")
                .open();
            assert_eq!(remote(&hub, &session), expect, "{spoofed}");
            hub.publish(spoofed, "x");
            assert_eq!(session.event().data, "x", "the stream comes through");
        }
    }
}

#[test]
fn of_two_headers_the_one_that_is_set_is_read() {
    for (setting, expect) in [("x-forwarded-for", "198.51.100.1"), ("forwarded", "2001:db8::2")] {
        let hub = Hub::with("http.trusted_proxies", "127.0.0.1").set("http.forwarded_by", setting).start();
        let session = hub
            .subscription(&["news"])
            .header("X-Forwarded-For", "198.51.100.1")
            .header("Forwarded", "for=1.1.1.1, for=\"[2001:db8::2]:80\";proto=https")
            .open();
        assert_eq!(remote(&hub, &session), expect, "{setting}");
    }
}
