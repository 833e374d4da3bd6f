//! `Dockerfile` and `docker-compose.yml`: what they say of the program, of each other and of nginx must hold, since nothing
//! but a reader would notice otherwise.

use std::{fs, process::Command};

use towncrier_e2e::{
    Hub, Towncrier, Value,
    shipped::{after, path, seconds, strings, text, yaml},
};

const SERVICES: [&str; 5] = ["redis", "hub", "nginx", "prometheus", "grafana"];
/// Those that are there only for who asks for them.
const MONITORING: [&str; 2] = ["prometheus", "grafana"];
const BINARY: &str = "/usr/local/bin/towncrier";

fn compose() -> Value {
    let [compose] = <[Value; 1]>::try_from(yaml("docker-compose.yml")).expect("one document");
    compose
}

fn serde_json(bytes: &[u8]) -> Value {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    text.parse().unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The configuration keys that the hub's service sets, and their values.
fn hub_settings(compose: &Value) -> Vec<(String, String)> {
    let environment = compose["services"]["hub"]["environment"].as_object().expect("an environment");
    let setting = |(variable, value): (&String, &Value)| {
        let key = variable.strip_prefix("TOWNCRIER__").unwrap_or_else(|| panic!("{variable} is not ours"));
        (
            key.to_lowercase().replace("__", "."),
            value.as_str().expect("a string, as YAML has its own booleans").to_owned(),
        )
    };
    environment.iter().map(setting).collect()
}

fn hub_setting(compose: &Value, wanted: &str) -> String {
    let found = hub_settings(compose).into_iter().find(|(key, _)| key == wanted);
    found.unwrap_or_else(|| panic!("{wanted} is not set")).1
}

#[test]
fn the_program_takes_what_the_services_set() {
    let settings = hub_settings(&compose());
    let run = |arguments: &[&str]| {
        settings.iter().fold(Towncrier::new(arguments), |run, (key, value)| run.set(key, value)).run()
    };
    let checked = run(&["check-config"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    for (key, value) in &settings {
        assert!(checked.stdout.contains(&format!("{key} = ")), "{key} = {value} changes nothing: {checked:?}");
    }
}

#[test]
fn nothing_is_open_that_need_not_be() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    assert_eq!(services.keys().collect::<Vec<_>>(), SERVICES);
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(strings(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        let user = service["user"].as_str().unwrap_or_else(|| panic!("{name} is root"));
        assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{name} is {user}");
        assert!(service["healthcheck"]["test"].is_array(), "{name}");
        for port in service.get("ports").map(strings).unwrap_or_default() {
            let wanted = name == "nginx" || MONITORING.contains(&name.as_str());
            assert!(wanted && port.starts_with("127.0.0.1:"), "{name} has {port}");
        }
        let profiles = service.get("profiles").map(strings).unwrap_or_default();
        assert_eq!(profiles == ["monitoring"], MONITORING.contains(&name.as_str()), "{name} {profiles:?}");
    }
    let raw = text("docker-compose.yml");
    assert!(!raw.to_lowercase().contains("password") && !raw.contains('@'), "a secret?");
    assert!(raw.contains("`auth.open_to_network`"), "why everybody may come in is said");
}

#[test]
fn images_are_pinned() {
    let compose = compose();
    let dockerfile = text("Dockerfile");
    let bases = after(&dockerfile, "FROM ").into_iter().map(|base| base.split(' ').next().expect("a name").to_owned());
    let services = compose["services"].as_object().expect("services").values();
    let images = services.filter(|service| service.get("build").is_none());
    let images = images.map(|service| service["image"].as_str().expect("an image").to_owned());
    let all: Vec<String> = bases.chain(images).collect();
    assert_eq!(all.len(), 6, "{all:?}");
    for image in all {
        let version = image.split_once(':').map(|(_, tag)| tag.split('-').next().expect("a version").to_owned());
        assert!(version.is_some_and(|version| version.split('.').count() >= 2), "{image}");
    }
}

#[test]
fn services_find_each_other() {
    let compose = compose();
    let url = hub_setting(&compose, "backplane.redis.url");
    assert_eq!(url, "redis://redis:6379", "the service's name, and the port of a Redis that is told none");

    let nginx = text("configs/nginx.conf");
    let listen = hub_setting(&compose, "http.listen");
    let port = listen.rsplit_once(':').expect("a port").1;
    let servers = after(&nginx, "server hub:");
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert!(servers[0].starts_with(&format!("{port} ")), "{} is not {port}", servers[0]);

    let published = strings(&compose["services"]["nginx"]["ports"]);
    let inside = published[0].rsplit_once(':').expect("a port inside").1;
    assert!(after(&nginx, "listen ").contains(&format!("{inside};").as_str()), "nginx does not listen on {inside}");

    let scraped = &yaml("configs/prometheus.yml")[0]["scrape_configs"][0]["dns_sd_configs"][0];
    assert_eq!(strings(&scraped["names"]), ["hub"]);
    assert_eq!(scraped["port"].to_string(), port);
    let source = &yaml("configs/grafana-datasources.yml")[0]["datasources"][0]["url"];
    assert_eq!(source, "http://prometheus:9090");
    let shown = &yaml("configs/grafana-dashboards.yml")[0]["providers"][0]["options"]["path"];
    let shown = format!("./configs/grafana.json:{}/grafana.json:ro", shown.as_str().expect("a folder"));
    assert!(strings(&compose["services"]["grafana"]["volumes"]).contains(&shown.as_str()), "not at {shown}");

    for mount in SERVICES.iter().filter_map(|name| compose["services"][name].get("volumes")).flat_map(strings) {
        let source = mount.split(':').next().expect("a source");
        let named = compose["volumes"].get(source).is_some();
        assert!(named || path(source).exists(), "{mount}");
    }
    assert_eq!(compose["services"]["hub"]["deploy"]["replicas"], 3);
}

#[test]
fn probes_are_probes() {
    let compose = compose();
    let hub = Hub::start();
    let test = compose["services"]["hub"]["healthcheck"]["test"].clone();
    let test = strings(&test);
    let image = text("Dockerfile");
    let image = image.split_once("HEALTHCHECK").expect("a health check").1;
    let image = image.split_once("CMD ").expect("its command").1.lines().next().expect("a line").to_owned();
    let image = serde_json(image.as_bytes());
    for command in [test.strip_prefix(&["CMD"][..]).expect("no shell: there may be none"), &strings(&image)] {
        let (binary, arguments) = command.split_first().expect("a command");
        assert_eq!(*binary, BINARY);
        let probe = Towncrier::new(arguments).set("http.listen", &hub.addr().to_string()).run();
        assert_eq!(probe.code, Some(0), "{command:?}: {probe:?}");
    }
    let test = compose["services"]["nginx"]["healthcheck"]["test"].clone();
    let url = *strings(&test).last().expect("a URL");
    let path = url.strip_prefix("http://127.0.0.1:8080").unwrap_or_else(|| panic!("{url}"));
    assert_eq!(hub.get(path).status(), 200);
}

#[test]
fn everything_has_the_time_to_end() {
    let compose = compose();
    let grace = |name: &str| seconds(compose["services"][name]["stop_grace_period"].as_str().expect("a time"));
    let defaults = text("configs/default.toml");
    let shutdown = defaults.split_once("[shutdown]").expect("a section").1;
    let drain = after(shutdown, "timeout = ")[0].trim_matches('"').to_owned();
    assert!(grace("hub") > seconds(&drain), "{:?} is too short for {drain}", grace("hub"));
    let nginx = text("configs/nginx.conf");
    let cut = after(&nginx, "worker_shutdown_timeout ")[0].trim_end_matches(';').to_owned();
    assert!(grace("nginx") > seconds(&cut), "{:?} is too short for {cut}", grace("nginx"));
    // nginx passes what the nodes have to say to the end: it must not cut streams before they do.
    assert!(seconds(&cut) > seconds(&drain));
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_repository() {
    let toolchain = text("rust-toolchain.toml");
    let channel = after(&toolchain, "channel = ")[0].trim_matches('"').to_owned();
    let dockerfile = text("Dockerfile");
    assert!(after(&dockerfile, "FROM ")[0].starts_with(&format!("rust:{channel}-")), "not {channel}");
    assert_eq!(
        serde_json(after(&dockerfile, "ENTRYPOINT ")[0].as_bytes()),
        serde_json(format!("[{BINARY:?}]").as_bytes())
    );
    let user = after(&dockerfile, "USER ")[0].to_owned();
    assert_eq!(Value::String(user), compose()["services"]["hub"]["user"]);
}

/// What the image is built from is enough for cargo to see the workspace, and the lock file fits it.
#[test]
fn the_build_has_all_its_sources() {
    let dockerfile = text("Dockerfile");
    let allowed: Vec<String> = after(&text(".dockerignore"), "!").into_iter().map(str::to_owned).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut copied = Vec::new();
    for line in after(&dockerfile, "COPY ").into_iter().filter(|line| !line.starts_with("--from")) {
        let words: Vec<&str> = line.split(' ').collect();
        let (target, sources) = words.split_last().expect("a target");
        for source in sources {
            assert!(path(source).exists(), "{source}");
            assert!(allowed.iter().any(|path| path == source), "{source} is left out by .dockerignore");
            copied.push((*source).to_owned());
            let target = folder.path().join(if target.ends_with('/') { source } else { target });
            fs::create_dir_all(target.parent().expect("in the folder")).expect("a folder");
            let mut copy = Command::new("cp");
            assert!(copy.arg("-r").arg(path(source)).arg(target).status().expect("cp").success(), "{source}");
        }
    }
    assert_eq!(allowed.iter().filter(|path| !copied.contains(path)).count(), 0, "{allowed:?} but {copied:?}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline"]).current_dir(&folder);
    let seen = cargo.output().expect("cargo runs");
    assert!(seen.status.success(), "{}", String::from_utf8_lossy(&seen.stderr));
}
