//! `towncrier health`, which a container's health check runs.

use towncrier_e2e::{Hub, Redis, Towncrier};

#[test]
fn a_hub_that_works_is_healthy_and_ready() {
    let hub = Hub::start();
    for probe in [&["health"][..], &["health", "--ready"]] {
        let by_url = Towncrier::new(&[probe, &["--url", &hub.url("")]].concat()).run();
        assert_eq!(by_url.code, Some(0), "{by_url:?}");
        let by_configuration = Towncrier::new(probe).set("http.listen", &hub.addr().to_string()).run();
        assert_eq!(by_configuration.code, Some(0), "{by_configuration:?}");
    }
}

#[test]
fn a_hub_that_listens_everywhere_is_found() {
    let hub = Hub::with("auth.open_to_network", "true").start();
    let everywhere = format!("0.0.0.0:{}", hub.addr().port());
    let probe = Towncrier::new(&["health"]).set("http.listen", &everywhere).set("auth.open_to_network", "true").run();
    assert_eq!(probe.code, Some(0), "{probe:?}");
}

#[test]
fn a_hub_without_its_backplane_is_healthy_and_not_ready() {
    let mut redis = Redis::start();
    let hub = Hub::with("backplane.kind", "redis").set("backplane.redis.url", &redis.url()).start();
    redis.kill();
    let health = Towncrier::new(&["health", "--url", &hub.url("")]).run();
    assert_eq!(health.code, Some(0), "{health:?}");
    let ready = Towncrier::new(&["health", "--ready", "--timeout", "10s", "--url", &hub.url("")]).run();
    assert_eq!(ready.code, Some(1), "{ready:?}");
    assert!(ready.stderr.contains("backplane"), "{ready:?}");
}

#[test]
fn where_nothing_works_nothing_is_healthy() {
    let mut hub = Hub::start();
    let url = hub.url("");
    hub.kill();
    let probe = Towncrier::new(&["health", "--url", &url]).run();
    assert_eq!(probe.code, Some(1), "{probe:?}");
    assert!(probe.stderr.contains(&url), "{probe:?}");
    let probe = Towncrier::new(&["health"]).set("http.listen", "nowhere").run();
    assert_eq!(probe.code, Some(1), "{probe:?}");
    assert!(probe.stderr.contains("http.listen"), "{probe:?}");
}
