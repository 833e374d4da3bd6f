//! `rediss://`, with a certificate authority of the operator's own: named by `SSL_CERT_FILE`, or not trusted.

mod support;

use std::{path::Path, process::Command};

use support::{Node, Redis, data, options};
use towncrier_backplane_redis::{ConnectError, Options, connect};

/// Set for the test process that is to trust our authority: the environment of a running process is not changed.
const URL: &str = "TOWNCRIER_TEST_REDISS_URL";

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn certificates(folder: &Path) {
    openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem");
    openssl(folder, "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout own.key -out own.csr");
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").expect("a file");
    openssl(
        folder,
        "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out own.pem",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_with_tls_is_used_if_its_authority_is_trusted() {
    let folder = tempfile::tempdir().expect("a folder");
    if let Ok(url) = std::env::var(URL) {
        let redis = Redis::start();
        let options = Options { url, ..options(&redis, 2) };
        let (node, other) = (Node::start(options.clone()).await, Node::start(options).await);
        other.join("**").await;
        node.publish("a", "over TLS").await;
        assert_eq!(data(&other.hears(1).await), ["over TLS"]);
        println!("it was trusted");
        return;
    }

    certificates(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
    let (cert, key, ca) = (path("own.pem"), path("own.key"), path("ca.pem"));
    let redis = Redis::with(&[
        "--port",
        "0",
        "--save",
        "",
        "--bind",
        "127.0.0.1",
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "secret",
    ]);
    let url = format!("rediss://:secret@localhost:{port}");
    let error = connect(Options { url: url.clone(), ..options(&redis, 2) }).await.map(drop).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable(_)), "not trusted: {error:?}");

    let this = std::env::current_exe().expect("this test");
    let trusting = Command::new(this)
        .args(["--exact", "a_redis_with_tls_is_used_if_its_authority_is_trusted", "--nocapture"])
        .env(URL, url)
        .env("SSL_CERT_FILE", &ca)
        .output()
        .expect("this test again");
    let said = String::from_utf8_lossy(&trusting.stdout);
    assert!(trusting.status.success() && said.contains("it was trusted"), "{said}");
}
