//! The components of `k8s/`: what can be added to an overlay, and what stands in for pods that are not ready.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use towncrier_e2e::{
    Connection, Nginx, SOON, Value, json,
    shipped::{list, path, seconds, text, yaml},
};

use crate::deploy::{OVERLAYS, Objects};

/// The cluster with these components in place of what it has for ingress-nginx.
fn cluster_with(components: &[&str]) -> Objects {
    const OWN: &str = "  - ../../components/come-back\n";
    let folder = tempfile::tempdir().expect("a folder");
    let copied = Command::new("cp").arg("-r").arg(path("k8s")).arg(folder.path()).status().expect("cp");
    assert!(copied.success(), "{copied}");
    let overlay = folder.path().join("k8s/overlays/cluster");
    let file = overlay.join("kustomization.yaml");
    let own = fs::read_to_string(&file).expect("read the overlay");
    let more: String = components.iter().map(|name| format!("  - ../../components/{name}\n")).collect();
    assert!(own.contains(OWN), "{own}");
    fs::write(&file, own.replace(OWN, &more)).expect("write the overlay");
    Objects::of_folder(&overlay)
}

#[test]
fn what_prometheus_operator_reads_can_be_added() {
    let objects = cluster_with(&["servicemonitor", "prometheusrule"]);
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        let object = objects.get(kind, "towncrier");
        assert_eq!(object["metadata"]["namespace"], "towncrier", "{object}");
    }
    let groups = &yaml("configs/alerts.yml")[0]["groups"];
    assert!(list(groups).iter().any(|group| !list(&group["rules"]).is_empty()), "{groups}");
    let rule = objects.get("PrometheusRule", "towncrier");
    assert_eq!(rule["spec"]["groups"], *groups, "run k8s/components/prometheusrule/make");
}

#[test]
fn a_gateway_takes_the_place_of_the_ingress() {
    let objects = cluster_with(&["gateway"]);
    assert_eq!(objects.all("Ingress").count(), 0);
    let route = &objects.get("HTTPRoute", "towncrier")["spec"];
    let rules = list(&route["rules"]);
    for rule in rules {
        let [to] = list(&rule["backendRefs"]) else { panic!("{rule}") };
        let service = objects.get("Service", to["name"].as_str().expect("a name"));
        let ports = list(&service["spec"]["ports"]);
        let port = ports.iter().find(|port| port["port"] == to["port"]).expect("the route's port");
        assert_eq!(port["targetPort"], "http", "only subscribers come from outside");
    }
    let of = |path: &str| {
        let fits = |rule: &&Value| list(&rule["matches"]).iter().any(|one| one["path"]["value"] == path);
        rules.iter().find(fits).unwrap_or_else(|| panic!("no rule for {path}"))["timeouts"].clone()
    };
    assert_eq!((of("/events"), of("/topics")), (of("/topics"), json!({"request": "0s", "backendRequest": "0s"})));
    assert!(seconds(of("/")["request"].as_str().expect("a time")) > Duration::from_secs(60), "polls wait so long");
}

/// The real nginx with what stands in for pods that are not ready, asked as ingress-nginx asks: with the client's own path, or
/// after an error for `/`, with that in a header.
#[test]
fn while_no_pod_is_ready_an_event_source_is_told_to_come_back() {
    for overlay in OVERLAYS {
        let objects = Objects::of(overlay);
        let annotations = &objects.get("Ingress", "towncrier")["metadata"]["annotations"];
        assert_eq!(annotations["nginx.ingress.kubernetes.io/custom-http-errors"], "502,504", "503 is the hub's own");
        let name = annotations["nginx.ingress.kubernetes.io/default-backend"].as_str().expect("a name");
        let port = &list(&objects.get("Service", name)["spec"]["ports"])[0];
        let pod = &objects.get("Deployment", name)["spec"]["template"]["spec"];
        assert_eq!(list(&pod["containers"][0]["ports"])[0]["name"], port["targetPort"], "{overlay}");
        let config = pod["volumes"][0]["configMap"]["name"].as_str().expect("a name");
        assert_eq!(objects.get("ConfigMap", config)["data"]["nginx.conf"], text("k8s/components/come-back/nginx.conf"));
    }
    let nginx =
        Nginx::shipped("k8s/components/come-back/nginx.conf", &[("listen 8080", "listen {addr}"), ("/tmp/", "")]);
    let ask = |path: &str, headers: &str| {
        let mut connection = Connection::open(nginx.addr());
        let origin = "Origin: https://app.example.com\r\n";
        connection
            .send(format!("GET {path} HTTP/1.1\r\nHost: hub.example.com\r\n{origin}{headers}\r\n"))
            .expect("send");
        connection.response(SOON).expect("an answer")
    };
    let accept = "Accept: text/event-stream\r\n";
    let original = |path: &str| format!("{accept}X-Code: 502\r\nX-Original-URI: {path}\r\n");
    let mut waits = BTreeSet::new();
    for _ in 0..10 {
        for answer in [
            ask("/events?topic=a&topic=b", accept),
            ask("/topics/a/b%20c/events", accept),
            ask("/", &original("/events?topic=a")),
            ask("/", &original("/topics/a/events")),
        ] {
            assert_eq!(answer.status(), 200, "any other stops an EventSource: {}", answer.text());
            assert_eq!(answer.head.header("content-type"), Some("text/event-stream"));
            assert_eq!(answer.head.header("access-control-allow-origin"), Some("https://app.example.com"));
            let text = answer.text();
            let wait = text.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n")?.parse::<u64>().ok());
            waits.insert(wait.unwrap_or_else(|| panic!("{text:?}")));
        }
    }
    assert!(waits.len() > 1, "not all at the same time: {waits:?}");
    for answer in [
        ask("/poll?topic=a", ""),
        ask("/", accept),
        ask("/events?topic=a", "Accept: */*\r\n"),
        ask("/login?next=/events", accept),
        ask("/", &original("/poll?topic=a")),
    ] {
        answer.problem(503);
        assert!(answer.head.header("retry-after").is_some(), "{:?}", answer.head);
    }
    assert_eq!(ask("/healthz", "").status(), 204);
}
