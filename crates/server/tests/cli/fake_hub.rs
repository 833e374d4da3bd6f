//! A hub that gives prepared answers, one for each connection.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What happens to one connection after its request has been read.
pub(crate) enum Step {
    /// It is closed without an answer.
    Drop,
    /// A whole answer.
    Status(u16, String),
    /// A stream that ends.
    Stream(Vec<String>),
    /// A stream that stays open and says no more.
    Stall(Vec<String>),
}

impl Step {
    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self::Status(status, body.to_owned())
    }

    pub(crate) fn stream<const N: usize>(blocks: [&str; N]) -> Self {
        Self::Stream(blocks.map(str::to_owned).into())
    }

    pub(crate) fn stall<const N: usize>(blocks: [&str; N]) -> Self {
        Self::Stall(blocks.map(str::to_owned).into())
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) body: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = || {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            Some(line.trim_end().to_owned())
        };
        let first = line()?;
        let mut headers = Vec::new();
        while let Some((name, value)) = line()?.split_once(": ") {
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let mut request = Self { line: first, body: String::new(), headers };
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        stream.take(length).read_to_string(&mut request.body).ok()?;
        Some(request)
    }
}

pub(crate) struct FakeHub {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeHub {
    /// Listens; after the last step nobody answers, and connections are refused.
    pub(crate) fn start(steps: impl IntoIterator<Item = Step, IntoIter: Send + 'static>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let hub = Self { url, requests: Arc::clone(&requests) };
        let steps = steps.into_iter();
        thread::spawn(move || {
            let mut open = Vec::new();
            for step in steps {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                let mut stream = BufReader::new(stream);
                if let Some(request) = Request::read(&mut stream) {
                    requests.lock().expect("no test panics with it").push(request);
                }
                // A client that has gone is the client's affair.
                if let Ok(Some(stalled)) = answer(stream.into_inner(), &step) {
                    open.push(stalled);
                }
            }
            drop(listener);
            // Keeps stalled streams open until their clients close them.
            for mut stream in open {
                let _ = stream.read(&mut [0]);
            }
        });
        hub
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panics with it").clone()
    }
}

fn answer(mut stream: TcpStream, step: &Step) -> std::io::Result<Option<TcpStream>> {
    const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

    let mut chunks = |blocks: &[String]| {
        stream.write_all(STREAM.as_bytes())?;
        for block in blocks {
            write!(stream, "{:X}\r\n{block}\r\n", block.len())?;
        }
        std::io::Result::Ok(())
    };
    match step {
        Step::Drop => Ok(None),
        Step::Status(status, body) => {
            let length = if *status == 204 { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
            write!(stream, "HTTP/1.1 {status} Status\r\n{length}\r\n{body}")?;
            Ok(None)
        }
        Step::Stream(blocks) => {
            chunks(blocks)?;
            stream.write_all(b"0\r\n\r\n")?;
            Ok(None)
        }
        Step::Stall(blocks) => {
            chunks(blocks)?;
            Ok(Some(stream))
        }
    }
}
