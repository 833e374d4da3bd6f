//! `k8s/`: what its files say of the program, the image and each other must hold. The objects
//! are what kustomize makes of the overlays; `tests/run lint` holds them to the schemas of Kubernetes.

use std::{fs, net::SocketAddr, path::Path, sync::OnceLock, time::Duration};

use towncrier_e2e::{
    Connection, Hub, Redis, SOON, Towncrier, Value, free_address,
    shipped::{after, kustomize, list, path, seconds, strings, text, yaml},
};

pub(crate) const OVERLAYS: [&str; 3] = ["single", "cluster", "trial"];
const FOLDER: &str = "/etc/towncrier/config/";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What an overlay becomes.
pub(crate) struct Objects(Vec<Value>);

impl Objects {
    /// Made once for all tests.
    pub(crate) fn of(overlay: &str) -> &'static Self {
        static MADE: [OnceLock<Objects>; OVERLAYS.len()] = [const { OnceLock::new() }; OVERLAYS.len()];
        let position = OVERLAYS.iter().position(|known| *known == overlay).expect("an overlay");
        MADE[position].get_or_init(|| Self(kustomize(&path("k8s/overlays").join(overlay))))
    }

    /// Made of another folder.
    pub(crate) fn of_folder(folder: &Path) -> Self {
        Self(kustomize(folder))
    }

    #[track_caller]
    pub(crate) fn get(&self, kind: &str, name: &str) -> &Value {
        let found = self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    pub(crate) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// The specification of the hub's pods.
    fn pod(&self) -> &Value {
        &self.get("Deployment", "towncrier")["spec"]["template"]["spec"]
    }

    fn container(&self) -> &Value {
        &self.pod()["containers"][0]
    }

    /// The templates of all pods.
    fn templates(&self) -> Vec<&Value> {
        let owners = self.all("Deployment").chain(self.all("StatefulSet"));
        owners.map(|owner| &owner["spec"]["template"]).collect()
    }

    /// The configuration files of the hub's pods, in the order in which they are read.
    fn configuration(&self) -> Vec<(&str, &str)> {
        let volume = list(&self.pod()["volumes"]).iter().find(|volume| volume["name"] == "config");
        let name = volume.expect("a volume")["configMap"]["name"].as_str().expect("a name");
        let data = &self.get("ConfigMap", name)["data"];
        let arguments = strings(&self.container()["args"]);
        let (serve, files) = arguments.split_first().expect("arguments");
        assert_eq!(*serve, "serve");
        let read: Vec<(&str, &str)> = files
            .chunks(2)
            .map(|pair| {
                assert_eq!(pair[0], "--config");
                let file = pair[1].strip_prefix(FOLDER).unwrap_or_else(|| panic!("{} is not mounted", pair[1]));
                (file, data[file].as_str().unwrap_or_else(|| panic!("no {file} in {data}")))
            })
            .collect();
        assert_eq!(data.as_object().expect("an object").len(), read.len(), "one is never read");
        read
    }

    /// What `towncrier check-config` says that this configuration changes.
    fn checked(&self) -> Vec<(String, String)> {
        let files = self.configuration();
        let arguments: Vec<&str> = files.iter().flat_map(|(name, _)| ["--config", name]).collect();
        let run = Towncrier::new(&[&["check-config"][..], &arguments].concat());
        let run = files.iter().fold(run, |run, (name, text)| run.file(name, text)).run();
        assert_eq!(run.code, Some(0), "{run:?}");
        run.settings()
    }

    /// The value of a key, which the configuration must set.
    fn setting(&self, key: &str) -> String {
        let found = self.checked().into_iter().find(|(name, _)| name == key);
        found.unwrap_or_else(|| panic!("{key} is not set")).1
    }

    /// The number of a port of the hub's pods, by its name or itself.
    fn port(&self, port: &Value) -> u64 {
        let mut ports = list(&self.container()["ports"]).iter();
        let found = ports.find(|known| known["name"] == *port || known["containerPort"] == *port);
        found.unwrap_or_else(|| panic!("the pods have no port {port}"))["containerPort"].as_u64().expect("a number")
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().expect("labels");
    !wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value)
}

#[test]
fn overlays_are_what_they_say() {
    let hub =
        ["ConfigMap", "Deployment", "Ingress", "Namespace", "NetworkPolicy", "Service", "Service", "ServiceAccount"];
    let come_back = ["ConfigMap", "Deployment", "NetworkPolicy", "Service"];
    let base = [&hub[..], &come_back].concat();
    let cluster = ["HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget"];
    let redis = ["ConfigMap", "NetworkPolicy", "NetworkPolicy", "Service", "StatefulSet"];
    for (overlay, mut wanted) in [
        ("single", base.clone()),
        ("cluster", [&base[..], &cluster].concat()),
        ("trial", [&base[..], &cluster, &redis].concat()),
    ] {
        let objects = Objects::of(overlay);
        let mut kinds: Vec<&str> = objects.0.iter().map(|object| object["kind"].as_str().expect("a kind")).collect();
        kinds.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(kinds, wanted, "{overlay}");
        for object in objects.0.iter().filter(|object| object["kind"] != "Namespace") {
            assert_eq!(object["metadata"]["namespace"], "towncrier", "{object}");
        }
        assert_eq!(objects.setting("auth.mode"), "jwt");
        let joined = objects.checked().contains(&("backplane.kind".into(), "redis".into()));
        assert_eq!(joined, overlay != "single");
        let deployment = &objects.get("Deployment", "towncrier")["spec"];
        if overlay == "single" {
            // Two embedded hubs beside each other would each have a part of the clients.
            assert_eq!(deployment["replicas"], 1);
            assert_eq!(deployment["strategy"]["type"], "Recreate");
        } else {
            assert!(deployment["replicas"].is_null(), "the number of pods is the autoscaler's");
            assert_eq!(deployment["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        }
    }
}

/// A hub with a pod's configuration, on ports of this machine, and the address of its other listener.
fn pod(objects: &Objects, secret: &tempfile::TempDir, redis: Option<&Redis>) -> (Hub, SocketAddr) {
    let file = secret.path().join("hs256");
    fs::write(&file, SECRET).expect("write the secret");
    let admin = free_address();
    let configuration: String = objects.configuration().into_iter().map(|(_, text)| text.to_owned() + "\n").collect();
    let hub = Hub::with("auth.hs256_secret_file", &file.to_string_lossy())
        .set("http.admin_listen", &admin.to_string())
        .file(&configuration);
    let hub = match redis {
        Some(redis) => hub.set("backplane.redis.url", &redis.url()),
        None => hub,
    };
    (hub.start(), admin)
}

/// The status of an answer to somebody who names the host by a pod's address, as a kubelet does.
fn asked(addr: SocketAddr, path: &str, headers: &str) -> u16 {
    let mut connection = Connection::open(addr);
    let request = format!("GET {path} HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nConnection: close\r\n{headers}\r\n");
    connection.send(request).expect("send");
    connection.response(SOON).expect("an answer").status()
}

#[test]
fn pods_answer_their_probes_and_prometheus() {
    let conf = text("k8s/components/redis/redis.conf");
    // Its folder is the harness', and it listens on loopback anyway.
    let kept = conf.lines().filter(|line| !line.is_empty() && !line.starts_with(['#', 'd']));
    let arguments: Vec<String> = kept
        .flat_map(|line| {
            let (key, value) = line.split_once(' ').expect("a key and its value");
            let values = if value == "\"\"" { vec![""] } else { value.split(' ').collect() };
            [vec![format!("--{key}")], values.into_iter().map(str::to_owned).collect()].concat()
        })
        .collect();
    let redis = Redis::with(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(redis.command("CONFIG GET maxmemory-policy").contains("noeviction"));

    let token = Towncrier::new(&["token", "--user", "ops", "--admin", "read", "--subscribe", "a"])
        .set("auth.mode", "jwt")
        .set("auth.hs256_secret", SECRET)
        .run();
    assert_eq!(token.code, Some(0), "{token:?}");
    let token = format!("Authorization: Bearer {}\r\n", token.stdout.trim());
    let monitor = &yaml("k8s/components/servicemonitor/servicemonitor.yaml")[0];
    for (overlay, redis) in [("single", None), ("cluster", Some(&redis))] {
        let objects = Objects::of(overlay);
        let secret = tempfile::tempdir().expect("a folder");
        let (hub, admin) = pod(objects, &secret, redis);
        for (probe, path) in [("startupProbe", "/health"), ("livenessProbe", "/health"), ("readinessProbe", "/ready")] {
            let probe = &objects.container()[probe]["httpGet"];
            assert_eq!(probe["path"], path);
            assert_eq!(probe["port"], "http");
            assert_eq!(asked(hub.addr(), path, ""), 200, "{overlay} {path}");
        }
        let metrics = monitor["spec"]["endpoints"][0]["path"].as_str().expect("a path");
        assert_eq!(asked(admin, metrics, ""), 200, "{overlay}");
        assert_eq!(asked(admin, "/admin/v1/stats", &token), 200, "{overlay}");
        assert_eq!(asked(admin, "/admin/v1/stats", ""), 401, "strangers may administer");
        for path in [metrics, "/admin/v1/stats"] {
            assert_eq!(asked(hub.addr(), path, &token), 404, "{path} is where the public is");
        }
        assert_eq!(asked(hub.addr(), "/poll?topic=a&timeout=0", &token) / 100, 2, "{overlay}");
    }
}

#[test]
fn ports_lead_to_the_hub() {
    let image = text("Dockerfile");
    for overlay in OVERLAYS {
        let objects = Objects::of(overlay);
        for (key, name) in [("http.listen", "http"), ("http.admin_listen", "admin")] {
            let listen = objects.setting(key);
            let (address, port) = listen.rsplit_once(':').expect("a port");
            assert_eq!(address, "0.0.0.0", "kubelets and Services come by the pod's address");
            assert_eq!(port, objects.port(&name.into()).to_string(), "{overlay} {key}");
        }
        assert_eq!(after(&image, "EXPOSE "), [objects.port(&"http".into()).to_string()]);
        let backend = &list(&objects.get("Ingress", "towncrier")["spec"]["rules"])[0]["http"]["paths"][0]["backend"];
        let backend = &backend["service"];
        let service = objects.get("Service", backend["name"].as_str().expect("a name"));
        let port = list(&service["spec"]["ports"]).iter().find(|port| port["name"] == backend["port"]["name"]);
        assert_eq!(port.expect("the Ingress' port")["targetPort"], "http", "only subscribers come from outside");
        let policy = objects.get("NetworkPolicy", "towncrier");
        for port in list(&policy["spec"]["ingress"]).iter().flat_map(|rule| list(&rule["ports"])) {
            objects.port(&port["port"]);
        }
        let monitor = &yaml("k8s/components/servicemonitor/servicemonitor.yaml")[0]["spec"];
        let watched: Vec<&Value> = objects
            .all("Service")
            .filter(|service| selects(&monitor["selector"]["matchLabels"], &service["metadata"]["labels"]))
            .collect();
        assert_eq!(watched.len(), 1, "{watched:?}");
        assert_eq!(watched[0]["spec"]["ports"][0]["name"], monitor["endpoints"][0]["port"]);
        assert_eq!(watched[0]["spec"]["ports"][0]["targetPort"], "admin");
        let label = monitor["jobLabel"].as_str().expect("a label");
        assert_eq!(watched[0]["metadata"]["labels"][label], "towncrier", "the job of configs/alerts.yml");
    }
}

#[test]
fn selectors_find_their_pods() {
    for overlay in OVERLAYS {
        let objects = Objects::of(overlay);
        let templates = objects.templates();
        let labels = |selector: &Value| {
            let found = templates.iter().filter(|pod| selects(selector, &pod["metadata"]["labels"])).count();
            assert_eq!(found, 1, "{overlay}: {selector}");
        };
        objects.all("Service").for_each(|service| labels(&service["spec"]["selector"]));
        objects.all("NetworkPolicy").for_each(|policy| labels(&policy["spec"]["podSelector"]["matchLabels"]));
        objects.all("PodDisruptionBudget").for_each(|budget| labels(&budget["spec"]["selector"]["matchLabels"]));
        for spread in objects.pod()["topologySpreadConstraints"].as_array().into_iter().flatten() {
            labels(&spread["labelSelector"]["matchLabels"]);
        }
        for policy in objects.all("NetworkPolicy") {
            assert!(list(&policy["spec"]["policyTypes"]).contains(&"Egress".into()), "{policy}");
        }
    }
}

#[test]
fn a_pod_has_the_time_to_end() {
    for overlay in OVERLAYS {
        let objects = Objects::of(overlay);
        let grace = objects.pod()["terminationGracePeriodSeconds"].as_u64().expect("seconds");
        let pause = objects.container()["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("seconds");
        let drain = seconds(&objects.setting("shutdown.timeout")) + Duration::from_secs(pause);
        assert!(Duration::from_secs(grace) >= drain + Duration::from_secs(5), "{overlay}: {grace} s for {drain:?}");
    }
}

#[test]
fn no_pod_may_more_than_it_needs() {
    for overlay in OVERLAYS {
        let objects = Objects::of(overlay);
        for pod in objects.templates().into_iter().map(|template| &template["spec"]) {
            assert_eq!(pod["automountServiceAccountToken"], false, "{pod}");
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{pod}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{pod}");
            for container in list(&pod["containers"]) {
                let context = &container["securityContext"];
                assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
                assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"], "{container}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
                assert!(container["resources"]["requests"]["cpu"].is_string(), "{container}");
            }
        }
        let user = after(&text("Dockerfile"), "USER ")[0].to_owned();
        let context = &objects.pod()["securityContext"];
        assert_eq!(user, format!("{}:{}", context["runAsUser"], context["runAsGroup"]), "the image's user");
        let labels = &objects.get("Namespace", "towncrier")["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    }
}

#[test]
fn images_are_those_of_compose() {
    let compose = &yaml("docker-compose.yml")[0]["services"];
    let objects = Objects::of("trial");
    let hub = compose["hub"]["image"].as_str().expect("an image");
    let version = text("Cargo.toml");
    let version = after(&version, "version = ")[0].trim_matches('"').to_owned();
    assert_eq!(objects.container()["image"], format!("{hub}:{version}"));
    let redis = &objects.get("StatefulSet", "towncrier-redis")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(redis["image"], compose["redis"]["image"]);
    let nginx = &objects.get("Deployment", "towncrier-come-back")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(nginx["image"], compose["nginx"]["image"]);
}

#[test]
fn pods_are_added_before_they_are_full() {
    let objects = Objects::of("cluster");
    let scaler = &objects.get("HorizontalPodAutoscaler", "towncrier")["spec"];
    let target = |kind: &str| list(&scaler["metrics"]).iter().find(|metric| metric["type"] == kind).expect("a metric");
    let connections = target("Pods")["pods"]["target"]["averageValue"].as_str().expect("a number").parse::<u64>();
    let most: u64 = objects.setting("http.max_connections").parse().expect("a number");
    let least = scaler["minReplicas"].as_u64().expect("a number");
    // Those of a pod that dies find room in the others.
    assert!(connections.expect("a number") * least <= most * (least - 1), "{scaler}");
    assert!(target("Resource")["resource"]["target"]["averageUtilization"].as_u64().expect("a share") < 100);
    assert_ne!(objects.setting("session.max_lifetime"), "0s", "streams would never come to a new pod");
    let budget = &objects.get("PodDisruptionBudget", "towncrier")["spec"];
    assert_eq!(budget["maxUnavailable"], 1);
    assert!(least > 1);
}

#[test]
fn no_secret_is_shipped_that_works() {
    let example = &yaml("k8s/secret.example.yaml")[0];
    let values = example["stringData"].as_object().expect("values");
    for overlay in OVERLAYS {
        let objects = Objects::of(overlay);
        assert_eq!(objects.all("Secret").count(), 0, "{overlay}");
        let volume = list(&objects.pod()["volumes"]).iter().find(|volume| volume["name"] == "secret");
        let volume = &volume.expect("a volume")["secret"];
        assert_eq!(volume["secretName"], example["metadata"]["name"]);
        let items = list(&volume["items"]);
        assert!(items.iter().all(|item| values.contains_key(item["key"].as_str().expect("a key"))), "{volume}");
        let mounts = list(&objects.container()["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["name"] == "secret").expect("a mount");
        let file =
            format!("{}/{}", mount["mountPath"].as_str().expect("a path"), items[0]["path"].as_str().expect("a path"));
        assert_eq!(objects.setting("auth.hs256_secret_file"), file);
        for variable in objects.container()["env"].as_array().into_iter().flatten() {
            assert_eq!(variable["name"], "TOWNCRIER__BACKPLANE__REDIS__URL");
            let from = &variable["valueFrom"]["secretKeyRef"];
            assert_eq!(from["name"], example["metadata"]["name"]);
            assert!(values.contains_key(from["key"].as_str().expect("a key")), "{from}");
        }
    }
    let refused = Towncrier::new(&["serve"])
        .file("hs256", values["hs256"].as_str().expect("a text"))
        .set("auth.mode", "jwt")
        .set("auth.hs256_secret_file", "hs256")
        .set("http.listen", &free_address().to_string())
        .run();
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("32"), "{refused:?}");
}
