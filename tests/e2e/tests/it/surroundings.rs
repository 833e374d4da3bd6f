//! What the hub says of the machine and the Redis that it finds.

use std::{fs, process::Command};

use towncrier_e2e::{Hub, Redis, SOON, Towncrier, eventually};

const BAD: [&str; 4] = ["--maxmemory-policy", "allkeys-lru", "--appendonly", "no"];

fn configured(redis: &Redis) -> Towncrier {
    Towncrier::new(&["check-config", "--connect"])
        .set("backplane.kind", "redis")
        .set("backplane.redis.url", &redis.url())
}

#[test]
fn a_hub_says_in_a_line_each_what_is_wrong_with_its_redis() {
    let redis = Redis::with(&BAD);
    let hub = Hub::with("backplane.kind", "redis").set("backplane.redis.url", &redis.url()).start();
    let lines = |what: &str| {
        let wanted =
            ["\"WARN\"".to_owned(), format!("redis {}: {what} is ", redis.addr()), format!("\"what\":\"{what}\"")];
        let log = hub.log();
        log.lines().filter(|line| wanted.iter().all(|part| line.contains(part))).count()
    };
    eventually("it has looked", SOON, || if lines("appendonly") > 0 { Ok(()) } else { Err(hub.log()) });
    assert_eq!((lines("appendonly"), lines("maxmemory-policy"), lines("clock")), (1, 1, 0), "{}", hub.log());
    hub.publish("news", "it works all the same");
}

#[test]
fn a_configuration_is_checked_against_its_redis() {
    let redis = Redis::with(&BAD);
    let run = configured(&redis).run();
    assert_eq!(run.code, Some(0), "{run:?}");
    let place = format!("redis {}: ", redis.addr());
    let told: Vec<&str> = run.stdout.lines().filter_map(|line| line.strip_prefix(&*place)).collect();
    assert_eq!(told.len(), 2, "{run:?}");
    assert!(told[0].starts_with("maxmemory-policy is allkeys-lru, and should be noeviction: "), "{run:?}");
    assert!(told[1].starts_with("appendonly is no, and there are no snapshots, and should be yes: "), "{run:?}");
    assert!(redis.command("DBSIZE").starts_with(":0"), "it has written something");

    let away = configured(&redis).set("backplane.redis.url", "redis://anna:secret@127.0.0.1:1").run();
    assert_eq!(away.code, Some(1), "{away:?}");
    assert!(away.stderr.contains("cannot reach Redis") && !away.stderr.contains("secret"), "{away:?}");
}

#[test]
fn a_configuration_is_checked_against_its_machine() {
    let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("Linux");
    let somaxconn: u32 = somaxconn.trim().parse().expect("a number");
    let (own, _folder) = Towncrier::new(&["check-config", "--connect"])
        .set("http.max_connections", "5000")
        .set("http.backlog", "65535")
        .into_parts();
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=1000:2000").arg(own.get_program()).args(own.get_args());
    limited.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(own.get_current_dir().expect("a folder of its own"));
    let run = limited.output().expect("prlimit is there");
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{run:?}");
    let descriptors = "this machine: the limit of file descriptors is 2000, and should be 5512 or more: ";
    assert!(said.lines().any(|line| line.starts_with(descriptors)), "{said}");
    let backlog = format!("this machine: net.core.somaxconn is {somaxconn}, and should be 65535 or more: ");
    assert_eq!(said.lines().any(|line| line.starts_with(&backlog)), somaxconn < 65_535, "{said}");
}
