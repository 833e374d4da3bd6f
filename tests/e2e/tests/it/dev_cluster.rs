//! `towncrier cluster`: one command, several nodes.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::symlink,
    path::Path,
    time::Duration,
};

use towncrier_e2e::{
    DevCluster, Finished, Page, Redis, SOON, Signal, Subscribe, Towncrier, eventually, gone, json, run_with_path,
};

/// Longest time in which what a killed cluster started must be gone: Redis and the nodes end in order.
const GONE: Duration = Duration::from_secs(10);

/// What a cluster that did not start must have said.
#[track_caller]
fn refused(run: Finished, parts: &[&str]) -> Finished {
    assert!(matches!(run.code, Some(1..)), "{run:?}");
    for part in parts {
        assert!(run.stderr.contains(part), "{part} is not in {run:?}");
    }
    assert!(!run.stderr.contains("panicked"), "{run:?}");
    run
}

#[test]
fn one_command_makes_one_hub_of_three_nodes() {
    let cluster = DevCluster::builder().start();
    assert_eq!(cluster.nodes().len(), 3);
    let subscribe = |address: SocketAddr| Subscribe::to(address).topic("news").open();
    let mut sessions: Vec<_> = cluster.nodes().iter().copied().chain([cluster.hub()]).map(subscribe).collect();
    let names: Vec<_> = sessions[..3].iter().map(|session| session.node.clone()).collect();
    assert_eq!(names, ["node-1", "node-2", "node-3"]);

    for number in 0..10 {
        cluster.publish("news", &number.to_string());
    }

    let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for session in &mut sessions {
        assert_eq!(session.data(10), expected, "on {}", session.node);
    }
    let log = cluster.log();
    for name in ["redis    | ", "node-1   | ", "node-2   | ", "node-3   | "] {
        assert!(log.lines().any(|line| line.starts_with(name)), "no line of {name:?} in:\n{log}");
    }
    assert!(!log.contains("[warn]") && !log.contains("[alert]"), "nginx complains:\n{log}");
}

#[test]
fn the_page_works_through_nginx() {
    let cluster = DevCluster::builder().start();
    let mut page = Page::open(&format!("http://{}/", cluster.hub()));
    page.fill("topics", "orders/*");
    page.click("connect");
    page.status("live");
    page.fill("publish-topic", "orders/42");
    page.fill("publish-data", "from the page");
    page.click("publish-send");
    page.rows("the event is listed", |rows| {
        rows.iter().any(|row| row.data.as_deref() == Some("from the page")).then_some(())
    });
    assert_eq!(page.complaints(), json!([]));

    let stranger = cluster.get(cluster.nodes()[0], "/", &[("Host", "evil.example")]);
    assert_ne!(stranger.status(), 200, "the nodes still answer only to this machine's names");
}

#[test]
fn the_configuration_is_the_nodes() {
    let cluster = DevCluster::builder().arguments(&["--nodes", "1"]).set("session.heartbeat", "200ms").start();
    let mut session = cluster.subscription(&["quiet"]).open();
    session.heartbeat();
    session.heartbeat();
}

#[test]
fn a_killed_node_comes_back_and_nothing_is_lost() {
    let cluster = DevCluster::builder().start();
    let (address, node) = (cluster.nodes()[0], cluster.node("node-1"));
    let mut session = Subscribe::to(address).topic("news").open();
    cluster.publish("news", "1");
    assert_eq!(session.event().data, "1");

    node.kill();
    session.rest();
    cluster.publish("news", "2");
    eventually("it is said", SOON, || {
        let log = cluster.log();
        if log.contains("node-1 ENDED") { Ok(()) } else { Err(log) }
    });
    eventually("another process has taken its place", SOON, || {
        match cluster.processes().into_iter().find(|process| process.node == node.node) {
            Some(process) if process != node => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    cluster.ready(address);
    cluster.publish("news", "3");

    let mut resumed = Subscribe::to(address).topic("news").last_event_id(&session.cursor).open();
    assert!(resumed.resumed);
    assert_eq!(resumed.node, "node-1");
    assert_eq!(resumed.data(2), ["2", "3"]);
}

#[test]
fn a_node_that_cannot_live_is_tried_again_until_it_can() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.toml");
    let write = |text: &str| std::fs::write(&file, text).expect("write the configuration");
    write("");
    let cluster = DevCluster::builder().arguments(&["--config", file.to_str().expect("UTF-8")]).start();
    let mut session = Subscribe::to(cluster.nodes()[0]).topic("news").open();
    let log = |what: &str, wanted: &dyn Fn(&str) -> bool| {
        eventually(what, SOON, || Some(cluster.log()).filter(|log| wanted(log)).map(drop).ok_or(cluster.log()));
    };

    write("nonsense = 1");
    cluster.node("node-2").kill();

    log("it is tried again", &|log| log.matches("node-2 ENDED (exit status: 2)").count() >= 2);
    assert!(cluster.log().contains("nonsense: unknown key"), "{}", cluster.log());
    cluster.publish("news", "meanwhile");
    assert_eq!(session.data(1), ["meanwhile"], "the others go on");
    write("");
    log("it lives", &|log| log.contains("node-2 is back"));
    assert_eq!(Subscribe::to(cluster.nodes()[1]).topic("news").open().node, "node-2");
}

#[test]
fn a_signal_stops_all_of_it_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut cluster = DevCluster::builder().start();
        let mut sessions = [cluster.subscription(&["news"]).open(), cluster.subscription(&["news"]).open()];
        let below = cluster.processes();
        // Redis, three nodes, and nginx with a worker or more.
        assert!(below.len() >= 6, "{below:#?}");

        cluster.signal(signal);

        for session in &mut sessions {
            session.closed("shutdown");
        }
        assert_eq!(cluster.wait_exit(SOON).code(), Some(0), "{}", cluster.log());
        assert!(cluster.log().contains("Redis is now ready to exit"), "{}", cluster.log());
        let left: Vec<_> = below.iter().filter(|process| process.runs()).collect();
        assert!(left.is_empty(), "{left:#?}");
        assert_eq!(cluster.temporary_files(), Vec::<std::path::PathBuf>::new());
        for address in cluster.nodes().iter().copied().chain([cluster.hub()]) {
            TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }
}

#[test]
fn a_node_that_does_not_stop_is_killed_and_named() {
    let mut cluster = DevCluster::builder().set("shutdown.timeout", "200ms").start();
    let below = cluster.processes();
    cluster.node("node-2").signal(Signal::STOP);

    cluster.signal(Signal::INT);

    assert_eq!(cluster.wait_exit(SOON).code(), Some(1));
    let log = cluster.log();
    assert!(log.contains("did not end in time and was killed: node-2\n"), "{log}");
    assert!(log.contains("Redis is now ready to exit"), "{log}");
    gone(&below, GONE);
}

#[test]
fn a_second_signal_stops_it_at_once() {
    let mut cluster = DevCluster::builder().start();
    let below = cluster.processes();
    let frozen = cluster.node("node-2");
    frozen.signal(Signal::STOP);

    cluster.signal(Signal::INT);
    eventually("it is said", SOON, || if cluster.log().contains("once more") { Ok(()) } else { Err("not yet") });
    cluster.signal(Signal::INT);

    assert_eq!(cluster.wait_exit(SOON).code(), Some(1));
    gone(&below, GONE);
}

#[test]
fn nothing_outlives_a_cluster_that_is_killed() {
    let mut cluster = DevCluster::builder().start();
    let below = cluster.processes();
    assert!(below.len() >= 6, "{below:#?}");

    cluster.signal(Signal::KILL);
    cluster.wait_exit(SOON);

    gone(&below, GONE);
}

#[test]
fn without_redis_or_nginx_it_ends() {
    for (part, name) in [("redis-server", "redis"), ("nginx: master", "nginx")] {
        let mut cluster = DevCluster::builder().start();
        let below = cluster.processes();

        cluster.process(part).kill();

        assert_eq!(cluster.wait_exit(SOON).code(), Some(1), "{name}");
        assert!(cluster.log().contains(&format!("{name} ended by itself")), "{}", cluster.log());
        gone(&below, GONE);
    }
}

#[test]
fn a_running_redis_is_used_and_left_alone() {
    let redis = Redis::start();
    let arguments = ["--nodes", "2", "--no-proxy", "--redis", &redis.url()];
    let mut cluster = DevCluster::bare().arguments(&arguments).start();
    assert!(!cluster.has_hub());
    assert_eq!((cluster.nodes().len(), cluster.redis()), (2, redis.url().as_str()));
    assert_eq!(cluster.processes().len(), 2, "{:#?}", cluster.processes());

    cluster.signal(Signal::TERM);

    assert_eq!(cluster.wait_exit(SOON).code(), Some(0), "{}", cluster.log());
    assert!(redis.command("PING").starts_with("+PONG"));
}

#[test]
fn data_is_kept_where_it_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let path = data.to_str().expect("UTF-8");
    let start = || DevCluster::builder().arguments(&["--nodes", "1", "--data", path]).start();
    let mut cluster = start();
    cluster.publish("news", "kept");
    let second = Towncrier::new(&["cluster", "--listen", "127.0.0.1:0", "--data", path]).run();
    refused(second, &[path, "another cluster"]);
    cluster.signal(Signal::INT);
    assert_eq!(cluster.wait_exit(SOON).code(), Some(0), "{}", cluster.log());

    let again = start();

    let mut session = again.subscription(&["news"]).query("cursor", "earliest").open();
    assert_eq!(session.event().data, "kept");
}

#[test]
fn what_is_missing_is_told_with_a_way_out() {
    let redis_only = tempfile::tempdir().expect("a folder");
    let installed = ["/usr/bin/redis-server", "/usr/local/bin/redis-server"].map(Path::new);
    let installed = installed.into_iter().find(|path| path.exists()).expect("redis-server is installed");
    symlink(installed, redis_only.path().join("redis-server")).expect("a link");
    let arguments = ["cluster", "--listen", "127.0.0.1:0"];

    let run = refused(
        run_with_path(redis_only.path(), &arguments),
        &["nginx is not installed", "apt-get install nginx", "--no-proxy"],
    );
    assert!(!run.stderr.contains("redis"), "{run:?}");
    let nothing = tempfile::tempdir().expect("a folder");
    refused(
        run_with_path(nothing.path(), &arguments),
        &["nginx is not installed", "apt-get install redis-server", "--redis URL"],
    );
}

#[test]
fn what_cannot_work_is_told_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let (address, port) = (taken.local_addr().expect("bound").to_string(), taken.local_addr().expect("bound").port());
    let with = |arguments: &[&str]| Towncrier::new(&[&["cluster"], arguments].concat());
    let cluster = |arguments: &[&str]| with(arguments).run();
    let free = ["--listen", "127.0.0.1:0"];

    refused(cluster(&["--listen", &address]), &[&address, "in use", "--listen"]);
    refused(cluster(&[&free[..], &["--redis-port", &port.to_string()]].concat()), &[&address, "--redis-port"]);
    refused(cluster(&[&free[..], &["--node-port", &port.to_string()]].concat()), &[&address, "--node-port"]);
    refused(cluster(&[&free[..], &["--node-port", "65535"]].concat()), &["--node-port"]);
    refused(cluster(&["--no-proxy", "--node-port", "12000", "--redis-port", "12000"]), &["in use", "--node-port"]);
    refused(cluster(&["--listen", "0.0.0.0:0"]), &["loopback"]);
    refused(cluster(&["--nodes", "17"]), &["16"]);
    refused(with(&free).set("session.heartbeat", "soon").run(), &["session.heartbeat"]);
    let run = refused(cluster(&[&free[..], &["--redis", "nonsense"]].concat()), &["backplane.redis.url"]);
    assert!(run.stdout.is_empty(), "{run:?}");
}

#[test]
fn a_node_that_cannot_start_is_no_cluster() {
    let mut redis = Redis::start();
    let url = redis.url();
    redis.kill();
    let run = refused(
        Towncrier::new(&["cluster", "--nodes", "1", "--no-proxy", "--redis", &url]).run(),
        &["cannot reach Redis", "node-1 ended by itself"],
    );
    assert!(run.stdout.is_empty(), "{run:?}");
}
