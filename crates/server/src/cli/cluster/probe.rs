//! Waiting until a process does what it is there for.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::cli::health;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until a hub is ready.
///
/// # Errors
/// With what was seen last, when `within` has passed.
pub(super) async fn hub(address: SocketAddr, within: Duration) -> Result<(), String> {
    until(within, move || {
        let asked = health::ask(&format!("http://{address}"), "/ready", ATTEMPT);
        asked.map(drop).map_err(|error| error.to_string())
    })
    .await
}

/// Waits until a Redis has loaded its data.
///
/// # Errors
/// With what was seen last, when `within` has passed.
pub(super) async fn redis(address: SocketAddr, within: Duration) -> Result<(), String> {
    until(within, move || match ping(address) {
        Ok(answer) if answer.starts_with("+PONG") => Ok(()),
        Ok(answer) => Err(format!("Redis at {address} says {:?}", answer.trim_end())),
        Err(error) => Err(format!("Redis at {address}: {error}")),
    })
    .await
}

fn ping(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ATTEMPT)?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 256];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

async fn until(within: Duration, look: impl Fn() -> Result<(), String> + Clone + Send + 'static) -> Result<(), String> {
    let deadline = Instant::now() + within;
    loop {
        let seen = match spawn_blocking(look.clone()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(seen)) => seen,
            Err(error) => return Err(error.to_string()),
        };
        if Instant::now() >= deadline {
            return Err(seen);
        }
        sleep(PAUSE).await;
    }
}
