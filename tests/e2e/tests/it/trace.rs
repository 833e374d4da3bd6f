//! Traces: from a publisher to the delivery on another node, in the log and at a collector.

use std::time::{Duration, Instant};

use towncrier_e2e::{Builder, Collector, Hub, Redis, SOON, Signal, Span, Value, eventually, free_address, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn with_collector(collector: &Collector, ratio: &str) -> Builder {
    Hub::with("tracing.otlp_endpoint", &collector.endpoint()).set("tracing.sample_ratio", ratio)
}

fn node(redis: &Redis, collector: &Collector, name: &str) -> Hub {
    let hub = with_collector(collector, "0").set("backplane.kind", "redis").set("backplane.redis.url", &redis.url());
    hub.set("backplane.partitions", "4")
        .set("node.id", name)
        .set("log.level", "info,towncrier_http=debug,towncrier_actors=debug")
        .start()
}

/// Publishes with a `traceparent`; gives the event's id, and the span that the answer names.
#[track_caller]
fn publish(hub: &Hub, topic: &str, traceparent: &str) -> (String, String) {
    let headers = [("Content-Type", "application/json"), ("traceparent", traceparent)];
    let body = json!({ "topic": topic, "data": "x" }).to_string();
    let answer = hub.request("POST", "/admin/v1/publish", &headers, body);
    let own = answer.head.header("traceparent").unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    let parts: Vec<&str> = own.split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[1]), (4, "00", &traceparent[3..35]), "{own}");
    assert!(parts[2] != &traceparent[36..52] && parts[3] == &traceparent[53..], "{own}");
    (answer.ok()["id"].as_str().expect("an id").to_owned(), parts[2].to_owned())
}

#[track_caller]
fn attribute<'a>(span: &'a Span, key: &str) -> &'a str {
    span.attributes.get(key).unwrap_or_else(|| panic!("no {key}: {span:?}"))
}

#[test]
fn a_publish_is_followed_to_its_delivery_on_another_node() {
    let (redis, collector) = (Redis::start(), Collector::start());
    let (here, there) = (node(&redis, &collector, "here"), node(&redis, &collector, "there"));
    // By name and by pattern: the event comes to the node twice.
    let mut subscribers = [there.subscribe(&["orders/1"]), there.subscribe(&["orders/*"])];
    let _elsewhere = there.subscribe(&["news"]);

    let (id, server_span) = publish(&here, "orders/1", &format!("00-{TRACE}-{SPAN}-01"));
    for subscriber in &mut subscribers {
        assert_eq!(subscriber.event().data, "x");
    }
    let spans = collector.trace(TRACE, &["POST /admin/v1/publish", "store", "deliver"]);
    let [request, store, deliver] = &spans[..] else { panic!("{spans:?}") };
    for (span, node, kind, parent) in [
        (request, "here", "Server", SPAN),
        (store, "here", "Producer", &request.span_id),
        (deliver, "there", "Consumer", &store.span_id),
    ] {
        assert_eq!(span.service, ("towncrier".to_owned(), node.to_owned()), "{span:?}");
        assert_eq!((span.kind.as_str(), span.parent.as_str()), (kind, parent), "{span:?}");
        assert!(span.failure.is_none() && span.times.0 <= span.times.1, "{span:?}");
    }
    assert_eq!(request.span_id, server_span, "the answer names the span");
    assert_eq!(attribute(request, "http.response.status_code"), "200");
    assert_eq!(attribute(store, "messaging.destination.name"), "orders/1");
    assert_eq!(attribute(deliver, "messaging.message.id"), id);

    // Which worker took whose connection is chance: there are one or two that deliver.
    let sessions = || {
        let delivered = collector.spans().into_iter().filter(|span| span.name == "deliver");
        delivered.map(|span| attribute(&span, "towncrier.sessions").parse::<u32>().expect("a number")).sum::<u32>()
    };
    eventually("each is counted once", SOON, || {
        Some(sessions()).filter(|sum| *sum == 2).ok_or_else(|| sessions().to_string())
    });

    let answered = here.said("answered", TRACE);
    assert_eq!((&answered["path"], &answered["status"]), (&json!("/admin/v1/publish"), &json!(200)), "{answered}");
    assert_eq!(there.said("an event has come", TRACE)["event"], id);
    assert_eq!(there.said("an event is delivered", TRACE)["topic"], "orders/1");
}

#[test]
fn a_trace_that_nobody_records_is_still_in_the_logs() {
    let (redis, collector) = (Redis::start(), Collector::start());
    let (here, there) = (node(&redis, &collector, "here"), node(&redis, &collector, "there"));
    let mut subscriber = there.subscribe(&["orders/1"]);
    here.publish("orders/1", "of no trace");
    publish(&here, "orders/1", &format!("00-{TRACE}-{SPAN}-00"));
    assert_eq!(subscriber.data(2), ["of no trace", "x"]);
    there.said("an event has come", TRACE);
    there.said("an event is delivered", TRACE);
    assert_eq!(there.lines("message", "an event is delivered").len(), 1, "only the one that is part of a trace");

    // What comes after it has been exported, so it would be there.
    let other = TRACE.replace('4', "5");
    publish(&here, "orders/1", &format!("00-{other}-{SPAN}-01"));
    let _ = collector.trace(&other, &["deliver"]);
    assert!(collector.spans().iter().all(|span| span.trace_id == other), "{:?}", collector.spans());
}

#[test]
fn every_request_is_part_of_a_trace_and_so_is_the_session_that_it_opens() {
    let hub = Hub::with("log.level", "debug").set("cors.origins", "https://app.example").start();
    let traceparent = |headers: &[(&str, &str)]| {
        let answer = hub.request("GET", "/health", headers, "");
        answer.head.header("traceparent").expect("a traceparent").to_owned()
    };
    let good = format!("00-{TRACE}-{SPAN}-01");
    let own = [traceparent(&[]), traceparent(&[])];
    assert!(own[0][3..35] != own[1][3..35] && own.iter().all(|own| own.len() == 55 && own.ends_with("-00")), "{own:?}");
    assert_eq!(&traceparent(&[("traceparent", &good), ("tracestate", "a=b")])[3..35], TRACE);
    let long = format!("01-{TRACE}-{SPAN}-01-{}", "x".repeat(2000));
    for bad in
        ["", "00", &good.to_uppercase(), &good.replace("00-", "ff-"), &format!("{good}, {good}"), &long, "\u{e9}"]
    {
        assert_ne!(&traceparent(&[("traceparent", bad)])[3..35], TRACE, "{bad:?}");
    }
    assert_ne!(&traceparent(&[("traceparent", &good), ("traceparent", &good)])[3..35], TRACE, "twice");
    for (method, target, status) in
        [("GET", "/nowhere", 404), ("POST", "/admin/v1/publish", 415), ("GET", "/poll", 400)]
    {
        let answer = hub.request(method, target, &[("traceparent", &good)], "");
        assert_eq!(answer.status(), status);
        assert_eq!(&answer.head.header("traceparent").expect("one")[3..35], TRACE, "{target}");
    }

    let trace = TRACE.replace('4', "6");
    let subscriber = hub.subscription(&["news"]).header("traceparent", &format!("00-{trace}-{SPAN}-00")).open();
    let began = hub.said("a session has begun", &trace);
    assert_eq!(began["session"], subscriber.session, "{began}");
    let answered = hub.said("answered", &trace);
    assert_eq!(answered["path"], "/events", "{answered}");
    drop(subscriber);
    assert_eq!(hub.said("a session has ended", &trace)["reason"], "client");

    let asked = [
        ("Origin", "https://app.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "traceparent, tracestate"),
    ];
    assert_eq!(hub.request("OPTIONS", "/events", &asked, "").status(), 200);
}

#[test]
fn a_share_of_requests_is_recorded_but_no_probes() {
    let collector = Collector::start();
    let hub = with_collector(&collector, "1").set("tracing.service_name", "town").start();
    let mut subscriber = hub.subscribe(&["news"]);
    for target in ["/health", "/ready", "/metrics"] {
        assert_eq!(hub.get(target).status(), 200);
    }
    let answer = hub.post("/admin/v1/publish", &json!({ "topic": "news", "data": 1 }));
    subscriber.event();
    let trace = answer.head.header("traceparent").expect("one")[3..35].to_owned();
    let spans = collector.trace(&trace, &["POST /admin/v1/publish", "store", "deliver"]);
    assert_eq!((spans[0].parent.as_str(), spans[0].service.0.as_str()), ("", "town"));
    assert_eq!(hub.request("GET", "/nowhere/1", &[], "").status(), 404);
    assert_eq!(hub.request("BREW", "/nowhere/2", &[], "").status(), 404);
    let last = hub.get("/admin/v1/nodes").head.header("traceparent").expect("one")[3..35].to_owned();
    let _ = collector.trace(&last, &["GET /admin/v1/nodes"]);
    let mut names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names,
        [
            "GET /admin/v1/nodes",
            "GET /events",
            "GET other",
            "POST /admin/v1/publish",
            "_OTHER other",
            "deliver",
            "store"
        ]
    );
    eventually("they are counted", SOON, || {
        let exported = hub.metric("towncrier_spans_exported_total");
        if exported >= 6.0 { Ok(()) } else { Err(exported.to_string()) }
    });
}

#[test]
fn the_last_spans_are_exported_before_the_end() {
    let collector = Collector::start();
    let mut hub = with_collector(&collector, "1").start();
    let answer = hub.post("/admin/v1/publish", &json!({ "topic": "news", "data": 1 }));
    let trace = &answer.head.header("traceparent").expect("one")[3..35];
    hub.signal(Signal::TERM);
    assert_eq!(hub.wait_exit(SOON).code(), Some(0));
    let names: Vec<_> =
        collector.spans().into_iter().filter(|span| span.trace_id == trace).map(|span| span.name).collect();
    assert_eq!(names, ["store", "POST /admin/v1/publish"]);
}

#[test]
fn what_is_exported_and_where_to_is_said_in_one_place() {
    let (collector, other) = (Collector::start(), Collector::start());
    let hub = with_collector(&collector, "1").set("tracing.otlp_headers", "x-key=a%20b");
    let hub = [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", other.endpoint().as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-other=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-other=2"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
    ]
    .iter()
    .fold(hub, |hub, (name, value)| hub.variable(name, value))
    .start();
    let trace = hub.get("/admin/v1/nodes").head.header("traceparent").expect("one")[3..35].to_owned();
    let spans = collector.trace(&trace, &["GET /admin/v1/nodes"]);
    assert_eq!((spans[0].service.0.as_str(), spans[0].attributes.len()), ("towncrier", 3), "{spans:?}");
    let heads = collector.heads();
    assert!(heads.iter().all(|head| head.contains("x-key: a%20b") && !head.contains("x-other")), "{heads:?}");
    assert!(other.heads().is_empty());
}

#[test]
fn a_collector_that_is_gone_costs_only_spans() {
    let endpoint = format!("http://{}", free_address());
    let hub = Hub::with("tracing.otlp_endpoint", &endpoint).set("tracing.sample_ratio", "1").set("tracing.queue", "10");
    let mut hub = hub.set("shutdown.timeout", "3s").start();
    let mut subscriber = hub.subscribe(&["news"]);
    let sent = hub.publish_numbers("news", 200);
    assert_eq!(subscriber.data(200), sent);
    eventually("they are counted", SOON, || {
        let dropped = hub.metric("towncrier_spans_dropped_total");
        if dropped > 150.0 { Ok(()) } else { Err(dropped.to_string()) }
    });
    eventually("it is said once", SOON, || {
        let said = hub.lines("message", "the collector takes no spans");
        let refused = |line: &Value| line["why"].as_str().is_some_and(|why| why.contains("refused"));
        if said.len() == 1 && refused(&said[0]) { Ok(()) } else { Err(hub.log()) }
    });
    let began = Instant::now();
    hub.signal(Signal::TERM);
    assert_eq!(hub.wait_exit(SOON).code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_publish_that_is_not_stored_is_an_error_in_its_trace() {
    let (mut redis, collector) = (Redis::start(), Collector::start());
    let hub = node(&redis, &collector, "here");
    redis.kill();
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let headers = [("Content-Type", "application/json"), ("traceparent", traceparent.as_str())];
    let answer = hub.request("POST", "/admin/v1/publish", &headers, r#"{"topic":"news","data":"x"}"#);
    let why = answer.problem(503)["detail"].as_str().expect("text").to_owned();
    let spans = collector.trace(TRACE, &["POST /admin/v1/publish", "store"]);
    assert_eq!(spans[0].failure.as_deref(), Some("Service Unavailable"));
    assert_eq!(spans[1].failure.as_deref(), Some(why.as_str()));
    assert_eq!(hub.said("answered", TRACE)["status"], 503);
}
