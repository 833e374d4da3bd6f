//! The listener and its worker threads.

use std::{any::Any, io, net::SocketAddr, sync::Arc, time::{Duration, Instant}};

use actix_web::{App, HttpServer, dev::{Extensions, Server as Running, ServerHandle, Service}, web::Data};
use socket2::{SockRef, TcpKeepalive};
use towncrier_actors::Hub;

use crate::{Options, admission::Admission, routes, state::State};

/// How long a connection without a request is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Connections of each worker beyond streams and polls: publishers, administrators, probes, and those to be refused.
const SPARE_CONNECTIONS: usize = 1024;

/// Why the hub does not listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ServerError {
    address: SocketAddr,
    source: io::Error,
}

/// A listening hub.
pub struct Server {
    running: Running,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// To stop it with.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.running.handle()
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// If accepting connections fails for good.
    pub async fn run(self) -> io::Result<()> {
        self.running.await
    }
}

/// Listens, and serves the hub as soon as [`Server::run`] is polled.
///
/// # Errors
/// If the address cannot be listened on.
pub fn bind(options: Options, hub: &Hub) -> Result<Server, ServerError> {
    let options = Arc::new(options);
    let metrics = hub.metrics().clone();
    let admission = Admission::new(options.max_connections, options.max_connections_per_address, metrics);
    let (hub, shared) = (hub.clone(), options.clone());
    let started = Instant::now();
    let server = HttpServer::new(move || {
        let state = State { worker: hub.worker(), admission: admission.clone(), options: shared.clone(), started };
        App::new()
            .app_data(Data::new(state))
            .wrap_fn(|request, next| {
                let counted = next.call(request);
                async move { counted.await.inspect(routes::count) }
            })
            .configure(routes::configure)
    });
    let (timeout, buffer) = (options.tcp_user_timeout, options.send_buffer);
    let listen = options.listen;
    let server = server
        .on_connect(move |connection: &dyn Any, _: &mut Extensions| prepare(connection, timeout, buffer))
        .workers(options.workers)
        .backlog(options.backlog)
        .max_connections(options.max_connections + SPARE_CONNECTIONS)
        .client_request_timeout(options.request_head_timeout)
        .keep_alive(KEEP_ALIVE)
        .client_disconnect_timeout(Duration::from_secs(1))
        // A client that has sent its FIN has closed its `EventSource`: nobody half-closes a stream to go on reading.
        .h1_allow_half_closed(false)
        // With slices of the same size in the body, bounds what a connection keeps of a burst.
        .h1_write_buffer_size(4096)
        .shutdown_timeout(options.shutdown_timeout.as_secs().max(1))
        .disable_signals()
        .bind(listen)
        .map_err(|source| ServerError { address: listen, source })?;
    let addresses = server.addrs();
    Ok(Server { running: server.run(), addresses })
}

/// Bounds what the kernel holds for a client, and for how long it waits for one.
fn prepare(connection: &dyn Any, user_timeout: Duration, send_buffer: usize) {
    let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() else { return };
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(user_timeout).with_interval(user_timeout / 4);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_user_timeout(Some(user_timeout)))
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_send_buffer_size(send_buffer));
    if let Err(error) = set {
        // The peer may be gone already, which the connection itself will find.
        tracing::debug!(%error, "cannot set the options of a connection");
    }
}
