//! nginx in front of the nodes: `configs/nginx.conf` as it is shipped, with this machine's addresses and folders.

use std::{fmt::Write as _, net::SocketAddr};

use rustix::process::{Resource, getrlimit};

const SHIPPED: &str = include_str!("../../../../../configs/nginx.conf");

/// The line of a node; what follows the address stays.
const NODE: &str = "server hub:8080 ";
const LISTEN: &str = "listen 8080";
const NAMES: &str = "server_name .localhost 127.0.0.1 [::1]";
const DESCRIPTORS: &str = "worker_rlimit_nofile 65536;";
const DESCRIPTORS_WANTED: u64 = 65536;
const HTTP: &str = "http {\n";

/// Where nginx keeps what does not fit into memory, from its prefix on, so that a folder's name is never part of the
/// file's syntax.
const FOLDERS: &str = "\
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
";

/// What nginx is told beside the file.
pub(super) const DIRECTIVES: &str = "daemon off; pid nginx.pid;";

/// The configuration for a proxy that listens there, in front of these nodes. It keeps within the descriptors that the
/// system grants, which nginx would only complain about.
pub(super) fn config(listen: SocketAddr, nodes: &[SocketAddr]) -> String {
    let mut text = String::with_capacity(SHIPPED.len() + 64 * nodes.len());
    for line in SHIPPED.split_inclusive('\n') {
        match line.split_once(NODE) {
            Some((indent, options)) => {
                for node in nodes {
                    let _ = write!(text, "{indent}server {node} {options}");
                }
            }
            None => text.push_str(line),
        }
    }
    let text = text.replace(LISTEN, &format!("listen {listen}"));
    let text = text.replacen(HTTP, &format!("{HTTP}{FOLDERS}"), 1);
    let granted = getrlimit(Resource::Nofile).maximum.filter(|granted| *granted < DESCRIPTORS_WANTED);
    let text = match granted {
        Some(granted) => text.replace(DESCRIPTORS, &format!("worker_rlimit_nofile {granted};")),
        None => text,
    };
    let ip = listen.ip().to_string();
    if ["127.0.0.1", "::1"].contains(&ip.as_str()) { text } else { text.replace(NAMES, &format!("{NAMES} {ip}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_in_the_shipped_file() {
        let count = |part: &str| SHIPPED.matches(part).count();
        assert_eq!([NODE, LISTEN, NAMES, DESCRIPTORS, HTTP].map(count), [1, 2, 1, 1, 1]);
        assert!(DESCRIPTORS.contains(&format!(" {DESCRIPTORS_WANTED};")));
    }

    #[test]
    fn every_node_gets_a_line_and_nothing_of_the_shipped_addresses_is_left() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = config(address(9000), &[address(1), address(2)]);
        for part in ["        server 127.0.0.1:1 max_fails=", "        server 127.0.0.1:2 max_fails="] {
            assert_eq!(text.matches(part).count(), 1, "{part}");
        }
        assert_eq!(text.matches("listen 127.0.0.1:9000").count(), 2);
        assert!(!text.contains("8080") && !text.contains("server hub"), "{text}");
        assert!(config("127.0.0.2:1".parse().expect("an address"), &[]).contains("[::1] 127.0.0.2;"));
    }
}
