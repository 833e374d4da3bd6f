//! Servers that are spoken to in other ways than the hub is: small ones that answer as the real ones do on the wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use towncrier_loadtest::{Audience, FanoutArgs, FanoutReport, Faults, Kind, Opens, Templates, fanout};

use crate::servers::{short, target};

/// What a server says, and when.
#[derive(Clone, Copy)]
struct Manner {
    /// Begins the path of a subscription.
    subscribe: &'static str,
    /// After the head of a stream.
    first: &'static str,
    /// Around the data of each event.
    event: (&'static str, &'static str),
    /// Around the data in a publish.
    published: (&'static str, &'static str),
    /// The answer to it.
    answer: &'static str,
}

/// Sends everything to everybody.
fn start(manner: Manner) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let streams = Arc::new(Mutex::new(Vec::new()));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, streams) = (stream.expect("a connection"), Arc::clone(&streams));
            // A client that leaves ends its thread with an error, as it should.
            thread::spawn(move || serve(&stream, manner, &streams));
        }
    });
    port
}

fn serve(stream: &TcpStream, manner: Manner, streams: &Mutex<Vec<TcpStream>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        if let Some((_, rest)) = head.split_once("Content-Length: ") {
            length = rest.split("\r\n").next().and_then(|digits| digits.parse().ok()).expect("a length");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut writer = stream;
        if head.starts_with("GET") {
            assert!(head.starts_with(&format!("GET {}", manner.subscribe)), "{head}");
            let mut streams = streams.lock().expect("no panic");
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")?;
            writer.write_all(manner.first.as_bytes())?;
            streams.push(stream.try_clone()?);
        } else {
            let body = String::from_utf8(body).expect("text");
            let (before, after) = manner.published;
            let data = body.split_once(before).expect("a publish").1;
            let data = data.strip_suffix(after).expect("a publish").replace('+', " ");
            let event = format!("{}{data}{}", manner.event.0, manner.event.1);
            for mut other in streams.lock().expect("no panic").iter() {
                let _ = other.write_all(event.as_bytes());
            }
            writer.write_all(manner.answer.as_bytes())?;
        }
    }
}

fn run(kind: Kind, templates: Templates, manner: Manner) -> FanoutReport {
    let mut target = target(start(manner));
    (target.kind, target.templates) = (kind, templates);
    fanout(&FanoutArgs { target, traffic: short(), audience: Audience::new(5, 1), rate: 100.0 }).expect("it runs")
}

const NCHAN: Manner = Manner {
    subscribe: "/sub/loadtest/",
    first: ": hi\n\n",
    event: ("id: 1700000000:0\ndata: ", "\n\n"),
    published: ("", ""),
    answer: "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
};

const MERCURE: Manner = Manner {
    subscribe: "/.well-known/mercure?topic=loadtest/",
    first: ":\n",
    event: ("id: urn:uuid:1\ndata: ", "\n\n"),
    published: ("&data=", ""),
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nurn:uuid:1",
};

const CENTRIFUGO: Manner = Manner {
    subscribe: "/connection/uni_sse?cf_connect=%7B%22subs%22%3A%7B%22loadtest/",
    first: "data: {\"connect\":{\"client\":\"c\",\"ping\":25}}\n\n",
    event: ("data: {\"channel\":\"c\",\"pub\":{\"data\":\"", "\"}}\n\ndata: {}\n\n"),
    published: ("\"data\":\"", "\"}"),
    answer: "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"result\":{}}",
};

#[test]
fn each_kind_is_understood() {
    for (kind, manner) in [(Kind::Nchan, NCHAN), (Kind::Mercure, MERCURE), (Kind::Centrifugo, CENTRIFUGO)] {
        let report = run(kind, Templates::default(), manner);
        assert_eq!((report.faults, report.acknowledged), (Faults::default(), 40), "{kind:?}: {report:?}");
        assert!(report.deliveries > 0, "{kind:?}: {report:?}");
    }
}

#[test]
fn templates_make_any_other() {
    let templates = Templates {
        subscribe: Some("/listen?{topics}".to_owned()),
        publish: Some("/say".to_owned()),
        publish_body: Some("<{topic}>{data}".to_owned()),
        opened_by: Some(Opens::Block),
        ..Templates::default()
    };
    let manner = Manner { subscribe: "/listen?topic=loadtest/", published: (">", ""), first: ": welcome\n\n", ..NCHAN };
    let report = run(Kind::Generic, templates, manner);
    assert_eq!((report.faults, report.acknowledged), (Faults::default(), 40), "{report:?}");
}

#[test]
fn a_refusal_with_a_status_of_success_is_one() {
    let manner =
        Manner { answer: "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{\"error\":{\"code\":\"1234\"}}", ..CENTRIFUGO };
    let report = run(Kind::Centrifugo, Templates::default(), manner);
    assert!(report.faults.refused > 0 && report.acknowledged == 0, "{report:?}");
    assert!(report.problem.is_some_and(|problem| problem.contains("1234")));
}
