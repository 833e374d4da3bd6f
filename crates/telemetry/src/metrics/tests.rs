use std::collections::BTreeSet;

use super::*;

/// The samples of one scrape, as `name{labels}` → value.
fn samples(metrics: &Metrics) -> Vec<(String, f64)> {
    metrics
        .encode()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            (series.to_owned(), value.parse().expect("a sample's value is a number"))
        })
        .collect()
}

fn value(metrics: &Metrics, series: &str) -> f64 {
    let samples = samples(metrics);
    let found = samples.iter().find(|(name, _)| name == series);
    found.unwrap_or_else(|| panic!("{series} is not in {samples:#?}")).1
}

#[test]
fn every_metric_is_exposed_before_anything_has_happened() {
    let metrics = Metrics::new("1.2.3");
    let names: BTreeSet<String> = samples(&metrics)
        .into_iter()
        .map(|(series, _)| series.split('{').next().unwrap_or_default().to_owned())
        .collect();
    let expected = [
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "towncrier_actor_failures_total",
        "towncrier_auth_total",
        "towncrier_backplane_healed_events_total",
        "towncrier_backplane_heals_incomplete_total",
        "towncrier_backplane_heals_total",
        "towncrier_backplane_losses_total",
        "towncrier_backplane_reconnects_total",
        "towncrier_backplane_relinks_total",
        "towncrier_backplane_resyncs_total",
        "towncrier_backplane_seconds_bucket",
        "towncrier_backplane_seconds_count",
        "towncrier_backplane_seconds_sum",
        "towncrier_backplane_selectors",
        "towncrier_build_info",
        "towncrier_cohorts",
        "towncrier_connections_refused_total",
        "towncrier_delivered_bytes_total",
        "towncrier_deliveries_total",
        "towncrier_delivery_seconds_bucket",
        "towncrier_delivery_seconds_count",
        "towncrier_delivery_seconds_sum",
        "towncrier_direct_sent_total",
        "towncrier_dispatches_total",
        "towncrier_drops_total",
        "towncrier_event_age_seconds_bucket",
        "towncrier_event_age_seconds_count",
        "towncrier_event_age_seconds_sum",
        "towncrier_fanout_seconds_bucket",
        "towncrier_fanout_seconds_count",
        "towncrier_fanout_seconds_sum",
        "towncrier_forwarded_malformed_total",
        "towncrier_gaps_total",
        "towncrier_heartbeats_total",
        "towncrier_history_bytes",
        "towncrier_history_events",
        "towncrier_history_topics",
        "towncrier_lagging_total",
        "towncrier_limits_hit_total",
        "towncrier_logins_failed_total",
        "towncrier_logins_total",
        "towncrier_mailbox_messages",
        "towncrier_nodes",
        "towncrier_nodes_unanswered_total",
        "towncrier_outbox_bytes",
        "towncrier_poll_requests_total",
        "towncrier_publish_inflight_bytes",
        "towncrier_publish_seconds_bucket",
        "towncrier_publish_seconds_count",
        "towncrier_publish_seconds_sum",
        "towncrier_published_bytes_total",
        "towncrier_publishes_total",
        "towncrier_registry_sessions",
        "towncrier_registry_topics",
        "towncrier_registry_users",
        "towncrier_replay_events_bucket",
        "towncrier_replay_events_count",
        "towncrier_replay_events_sum",
        "towncrier_replay_seconds_bucket",
        "towncrier_replay_seconds_count",
        "towncrier_replay_seconds_sum",
        "towncrier_replay_waits_total",
        "towncrier_replayed_events_total",
        "towncrier_replays_total",
        "towncrier_rooms",
        "towncrier_sessions_closed_total",
        "towncrier_sessions_lagging",
        "towncrier_sessions_open",
        "towncrier_sessions_opened_total",
        "towncrier_spans_dropped_total",
        "towncrier_spans_exported_total",
        "towncrier_stalled",
        "towncrier_stalls_total",
        "towncrier_worker_delay_seconds_bucket",
        "towncrier_worker_delay_seconds_count",
        "towncrier_worker_delay_seconds_sum",
    ];
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(value(&metrics, r#"towncrier_build_info{version="1.2.3"}"#), 1.0);
    assert!(metrics.encode().ends_with("# EOF\n"));
}

#[test]
fn each_value_of_a_label_has_its_own_series() {
    fn check<L: Label>(metrics: &Metrics, counters: &Counters<L>, name: &str) {
        for (position, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), position);
            counters.of(*label).inc_by(position as u64 + 1);
        }
        for (position, label) in L::ALL.iter().enumerate() {
            let series = format!("towncrier_{name}_total{{{}=\"{}\"}}", L::NAME, label.value());
            assert_eq!(value(metrics, &series), (position + 1) as f64);
        }
        let all = L::ALL.len() as u64;
        assert_eq!(counters.total(), all * (all + 1) / 2);
    }

    let metrics = Metrics::new("0");
    check(&metrics, &metrics.sessions_closed, "sessions_closed");
    check(&metrics, &metrics.publishes, "publishes");
    check(&metrics, &metrics.replays, "replays");
    check(&metrics, &metrics.gaps, "gaps");
    check(&metrics, &metrics.drops, "drops");
    check(&metrics, &metrics.connections_refused, "connections_refused");
    check(&metrics, &metrics.limits_hit, "limits_hit");
    check(&metrics, &metrics.actor_failures, "actor_failures");
    check(&metrics, &metrics.stalls, "stalls");
}

#[test]
fn label_sets_are_bounded() {
    let metrics = Metrics::new("0");
    let before = samples(&metrics).len();
    for status in 0..=u16::MAX {
        metrics.http_requests("/events", status).inc();
    }
    assert_eq!(samples(&metrics).len() - before, 500);
    assert_eq!(value(&metrics, r#"towncrier_http_requests_total{route="/events",status="500"}"#), 65_537.0 - 500.0);

    let before = samples(&metrics).len();
    for worker in 0..10_000 {
        metrics.worker_queue_bytes(worker).set(1);
    }
    assert_eq!(samples(&metrics).len() - before, WORKERS_MAX + 1);
}

#[test]
fn a_namespace_has_series_once_it_is_named() {
    let metrics = Metrics::new("0");
    assert!(!metrics.encode().contains("namespace="), "none by default");
    let namespaces = metrics.namespaces(&["orders/".to_owned(), "orders/eu/".to_owned(), "größe/".to_owned()]);
    for (topic, expected) in [
        ("orders/1", Some(0)),
        ("orders/eu", Some(0)),
        ("orders/eu/1", Some(1)),
        ("order", None),
        ("grö", None),
        ("größe/", Some(2)),
        ("", None),
    ] {
        assert_eq!(namespaces.find(topic), expected, "{topic}");
    }
    namespaces.of("orders/eu/7").expect("a namespace").deliveries.inc_by(3);
    assert_eq!(value(&metrics, r#"towncrier_namespace_deliveries_total{namespace="orders/eu/"}"#), 3.0);
    assert_eq!(value(&metrics, r#"towncrier_namespace_publishes_total{namespace="orders/"}"#), 0.0);
}

#[test]
fn what_is_counted_shows() {
    let metrics = Metrics::new("0");
    metrics.sessions_open.inc_by(3);
    metrics.sessions_open.dec();
    metrics.delivered_bytes.inc_by(1000);
    metrics.publish_seconds.observe(0.0001);
    metrics.publish_seconds.observe(60.0);
    metrics.backplane_seconds.of(Operation::Read).observe_time(std::time::Duration::from_millis(250));
    metrics.mailbox_messages.of(Actor::Bridge).set(3);
    metrics.http_request_seconds("/health").observe(0.002);
    metrics.worker_queue_bytes(1).set(77);
    metrics.http_requests("/poll", 200).inc();

    for (series, expected) in [
        ("towncrier_sessions_open", 2.0),
        ("towncrier_delivered_bytes_total", 1000.0),
        (r#"towncrier_publish_seconds_bucket{le="0.00005"}"#, 0.0),
        (r#"towncrier_publish_seconds_bucket{le="0.0001"}"#, 1.0),
        (r#"towncrier_publish_seconds_bucket{le="+Inf"}"#, 2.0),
        ("towncrier_publish_seconds_count", 2.0),
        ("towncrier_publish_seconds_sum", 60.0001),
        (r#"towncrier_backplane_seconds_sum{operation="read"}"#, 0.25),
        (r#"towncrier_backplane_seconds_count{operation="probe"}"#, 0.0),
        (r#"towncrier_mailbox_messages{actor="bridge"}"#, 3.0),
        (r#"towncrier_http_request_seconds_bucket{le="0.005",route="/health"}"#, 1.0),
        (r#"towncrier_worker_queue_bytes{worker="1"}"#, 77.0),
        (r#"towncrier_http_requests_total{route="/poll",status="200"}"#, 1.0),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }
}
