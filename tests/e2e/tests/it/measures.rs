//! What a hub says of itself in its metrics is what happened.

use towncrier_e2e::{Hub, Redis, SOON, eventually, json};

/// Waits until a hub says this of a series.
#[track_caller]
fn says(hub: &Hub, series: &str, what: &str, holds: impl Fn(f64) -> bool) {
    eventually(&format!("{series} {what}"), SOON, || {
        let value = hub.metric(series);
        if holds(value) { Ok(()) } else { Err(value) }
    });
}

#[test]
fn a_node_measures_the_way_of_what_another_one_published() {
    let redis = Redis::start();
    let node = || Hub::with("backplane.kind", "redis").set("backplane.redis.url", &redis.url()).start();
    let (publisher, deliverer) = (node(), node());
    let mut session = deliverer.subscribe(&["news"]);
    publisher.publish("news", "12345");
    assert_eq!(session.data(1), ["12345"]);

    for series in ["towncrier_delivery_seconds", "towncrier_event_age_seconds", "towncrier_fanout_seconds"] {
        says(&deliverer, &format!("{series}_count"), "is one", |count| count == 1.0);
        // Of one machine the clocks do not differ.
        says(&deliverer, &format!("{series}_sum"), "is a short time", |sum| sum < SOON.as_secs_f64());
        assert_eq!(publisher.metric(&format!("{series}_count")), 0.0, "{series} of a node that delivered nothing");
    }
    assert_eq!(publisher.metric("towncrier_published_bytes_total"), 5.0);
    assert_eq!(publisher.metric(r#"towncrier_backplane_seconds_count{operation="publish"}"#), 1.0);
    assert_eq!(deliverer.metric(r#"towncrier_backplane_seconds_count{operation="join"}"#), 1.0);
    says(&deliverer, r#"towncrier_backplane_seconds_count{operation="probe"}"#, "goes on", |count| count >= 2.0);
    says(&deliverer, "towncrier_backplane_selectors", "is one", |count| count == 1.0);
    says(&publisher, "towncrier_backplane_selectors", "is none", |count| count == 0.0);

    // Whoever comes back gets the event again, from a ring or from Redis.
    let mut late = publisher.subscription(&["news"]).query("last", "1").open();
    assert_eq!(late.data(1), ["12345"]);
    let events = r#"towncrier_replay_events_sum{source="backplane"}"#;
    says(&publisher, events, "is one", |sum| sum == 1.0);
    assert_eq!(publisher.metric(r#"towncrier_replay_seconds_count{source="backplane"}"#), 1.0);
}

#[test]
fn a_namespace_is_counted_by_itself_if_it_is_to_be() {
    let counted = "[[namespaces]]\nprefix = \"orders/\"\nmetrics = true\n[[namespaces]]\nprefix = \"news/\"\n";
    let hub = Hub::with("http.workers", "2").file(counted).start();
    let sessions = [(); 3].map(|()| hub.subscribe(&["orders/*", "news/*"]));
    hub.publish("orders/1", "four");
    hub.publish("news/1", "1");
    hub.publish("orders/2", "fourteen chars");
    for mut session in sessions {
        assert_eq!(session.data(3), ["four", "1", "fourteen chars"]);
    }
    let of = |what: &str| format!("towncrier_namespace_{what}_total{{namespace=\"orders/\"}}");
    says(&hub, &of("deliveries"), "is two for each", |count| count == 6.0);
    assert_eq!((hub.metric(&of("publishes")), hub.metric(&of("published_bytes"))), (2.0, 18.0));
    assert!(hub.metric(&of("delivered_bytes")) > 6.0 * 18.0 / 2.0);
    assert!(!hub.get("/metrics").text().contains("namespace=\"news/\""), "it did not ask for that");
}

#[test]
fn requests_are_timed_but_not_streams() {
    let hub = Hub::start();
    let _session = hub.subscribe(&["a"]);
    hub.send(&json!({ "topic": "a", "data": "1" })).ok();
    assert_eq!(hub.get("/poll?topic=a").status(), 200);
    let of = |route: &str| format!("towncrier_http_request_seconds_count{{route=\"{route}\"}}");
    assert_eq!(hub.metric(&of("/admin/v1/publish")), 1.0);
    assert_eq!(hub.metric(r#"towncrier_http_requests_total{route="/poll",status="200"}"#), 1.0);
    let metrics = hub.get("/metrics").text();
    for route in ["/events", "/poll"] {
        assert!(!metrics.contains(&of(route)), "{route} lasts as its clients like");
    }
}
