//! The dashboard, the alerts and what the guide says of them: every metric, label and value that they name is one that a
//! running hub exports.

use std::collections::{BTreeMap, BTreeSet};

use towncrier_e2e::{
    Hub, SOON, Value, eventually, json,
    shipped::{after, list, path, text, tool, yaml},
};

/// Labels that Prometheus gives to what it scrapes.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// The series of a hub, by the name of the metric: each a list of labels and values.
type Exposed = BTreeMap<String, Vec<BTreeMap<String, String>>>;

fn exposed() -> Exposed {
    let hub = Hub::with("http.workers", "1").file("[[namespaces]]\nprefix = \"a\"\nmetrics = true\n").start();
    let _subscriber = hub.subscribe(&["a"]);
    // Requests are counted by route and status as they come.
    assert_eq!(hub.get("/poll?topic=a&timeout=0").status() / 100, 2);
    hub.publish("a", "1");
    assert_eq!(hub.get("/nowhere").status(), 404);
    // Workers set theirs by a clock of their own.
    let metrics = eventually("a worker's figures", SOON, || {
        let text = hub.get("/metrics").text();
        if text.contains("\ntowncrier_worker_queue_bytes{") { Ok(text) } else { Err(text) }
    });
    let mut exposed = Exposed::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}');
        exposed
            .entry(name.to_owned())
            .or_default()
            .push(matchers(labels).map(|(label, _, value)| (label, value)).collect());
    }
    exposed
}

/// `a="b",c=~"d"` as label, operator and value. No value here has a comma or a quote in it.
fn matchers(text: &str) -> impl Iterator<Item = (String, String, String)> {
    text.split(',').filter(|part| !part.trim().is_empty()).map(move |part| {
        let start = part.find(['=', '!']).unwrap_or_else(|| panic!("no matcher: {part:?} of {text:?}"));
        let quote = part.find('"').unwrap_or_else(|| panic!("no value: {part:?}"));
        let value = part[quote..].trim_end().trim_matches('"');
        (part[..start].trim().to_owned(), part[start..quote].trim().to_owned(), value.to_owned())
    })
}

/// The metrics of the hub that an expression names, and what stands in the braces after each.
fn named(expression: &str) -> Vec<(String, String)> {
    let word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(word) {
        let before = rest[..start].chars().last();
        rest = &rest[start..];
        let end = rest.find(|char| !word(char)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let ours = name.starts_with("towncrier_") || name.starts_with("process_");
        if ours && before != Some('$') {
            let braces = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            found.push((name.to_owned(), braces.map_or(String::new(), |(braces, _)| braces.to_owned())));
        }
        rest = after;
    }
    found
}

/// Holds an expression to what a hub exports.
fn check(exposed: &Exposed, whose: &str, expression: &str) -> usize {
    let metrics = named(expression);
    for (name, braces) in &metrics {
        let series = exposed.get(name).unwrap_or_else(|| panic!("{whose}: no hub exports {name}"));
        for (label, operator, value) in matchers(braces) {
            if OF_PROMETHEUS.contains(&label.as_str()) {
                continue;
            }
            // Others may name what is there only when something has gone wrong, such as statuses.
            let fixed = operator == "=";
            let there = series.iter().any(|labels| labels.get(&label).is_some_and(|known| !fixed || *known == value));
            assert!(there, "{whose}: no {name} has {label}{operator}{value:?}");
        }
    }
    let labels: BTreeSet<&str> =
        exposed.values().flatten().flat_map(BTreeMap::keys).map(String::as_str).chain(OF_PROMETHEUS).collect();
    for group in expression.split("by (").skip(1) {
        let group = group.split_once(')').unwrap_or_else(|| panic!("{whose}: {expression}")).0;
        for label in group.split(',').map(str::trim) {
            assert!(labels.contains(label), "{whose}: nothing has the label {label}");
        }
    }
    metrics.len()
}

fn rules() -> Vec<(String, String)> {
    let alerts = &yaml("configs/alerts.yml")[0];
    let rules = list(&alerts["groups"]).iter().flat_map(|group| list(&group["rules"]));
    rules.map(|rule| (string(&rule["alert"]), string(&rule["expr"]))).collect()
}

#[track_caller]
fn string(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// The expressions of the dashboard, by the panels' titles.
fn panels() -> Vec<(String, String)> {
    let dashboard: Value = text("configs/grafana.json").parse().expect("JSON");
    let panels = list(&dashboard["panels"]);
    let numbers: BTreeSet<String> = panels.iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(numbers.len(), panels.len(), "two panels have one number");
    let of = |panel: &Value| {
        let title = string(&panel["title"]);
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert!(panel["type"] == "row" || !targets.is_empty(), "{title} shows nothing");
        targets.into_iter().map(move |target| (title.clone(), string(&target["expr"])))
    };
    panels.iter().flat_map(of).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is() {
    let exposed = exposed();
    let mut asked = 0;
    for (name, expression) in rules().into_iter().chain(panels()) {
        asked += check(&exposed, &name, &expression);
    }
    assert!(asked > 60, "only {asked} metrics were found in the files");

    let adapter = &yaml("k8s/prometheus-adapter.yaml")[0];
    let query = string(&adapter["rules"]["custom"][0]["seriesQuery"]);
    let served = query.split('{').next().expect("a name").to_owned();
    assert!(exposed.contains_key(&served), "no hub exports {served}");
    let scaler = &yaml("k8s/overlays/cluster/horizontalpodautoscaler.yaml")[0];
    let pods = list(&scaler["spec"]["metrics"]).iter().find(|metric| metric["type"] == "Pods").expect("a metric");
    assert_eq!(pods["pods"]["metric"]["name"], served, "the adapter serves another one");
}

#[test]
fn the_dashboard_shows_everything() {
    let shown: BTreeSet<String> =
        panels().iter().flat_map(|(_, expression)| named(expression)).map(|(name, _)| name).collect();
    let left: Vec<String> = exposed()
        .into_keys()
        .filter(|name| {
            // Of a distribution its buckets are enough.
            let whole = ["_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .map(|name| name.to_owned() + "_bucket");
            !shown.contains(name) && !whole.is_some_and(|buckets| shown.contains(&buckets))
        })
        .collect();
    assert!(left.is_empty(), "on no panel: {left:?}");
}

#[test]
fn prometheus_takes_all_of_it() {
    let promtool = |arguments: &[&str]| {
        let run = tool("bin/promtool", arguments, "");
        let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "promtool {arguments:?}: {said}");
    };
    promtool(&["check", "config", &path("configs/prometheus.yml").to_string_lossy()]);
    promtool(&["test", "rules", &path("tests/containers/alerts_test.yml").to_string_lossy()]);

    // What the panels ask is checked as rules would be; JSON is YAML as well.
    let record = |(number, (_, expression)): (usize, (String, String))| {
        let expression = expression.replace("$__rate_interval", "1m");
        json!({ "record": format!("panel_{number}"), "expr": expression })
    };
    let rules: Vec<Value> = panels().into_iter().enumerate().map(record).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string()).expect("write");
    promtool(&["check", "rules", &file.to_string_lossy()]);
}

#[test]
fn every_alert_is_tried_and_explained() {
    let tried = text("tests/containers/alerts_test.yml");
    let guide = text("docs/operations.md");
    let explained = after(&guide, "| `Towncrier");
    let rules = rules();
    for (alert, _) in &rules {
        assert!(tried.contains(&format!("alertname=\"{alert}\"")), "{alert} is not tried");
        let name = alert.strip_prefix("Towncrier").unwrap_or_else(|| panic!("{alert} is not ours"));
        assert!(explained.iter().any(|row| row.starts_with(&format!("{name}` |"))), "{alert} is not explained");
    }
    assert_eq!(explained.len(), rules.len(), "an alert is explained that there is not");
}

#[test]
fn the_guides_name_what_there_is() {
    let exposed = exposed();
    for name in ["docs/operations.md", "docs/scaling.md"] {
        let words = text(name);
        let metrics = named(&words);
        assert!(!metrics.is_empty(), "{name} names no metric");
        for (metric, _) in metrics {
            assert!(exposed.contains_key(&metric), "{name}: no hub exports {metric}");
        }
    }
}
