//! The listener and its worker threads.

use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_http::{HttpService, error::DispatchError};
use actix_server::{Server as Running, ServerHandle};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{AppConfig, Service, ServiceResponse},
    rt::net::TcpStream,
    web::Data,
};
use futures_util::{FutureExt, future::Either};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use towncrier_actors::Hub;

use crate::{Options, admission::Admission, guard, ingest::Bodies, paced::Paced, routes, state::State};

/// How long a connection without a request is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a connection may take to close.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

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
    address: SocketAddr,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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
    let failed = |source| ServerError { address: options.listen, source };
    let listener = listen(options.listen, options.backlog).map_err(failed)?;
    let listen = listener.local_addr().map_err(failed)?;
    let bodies = Bodies::default();
    let (hub, settings, started) = (hub.clone(), options.clone(), Instant::now());
    let builder = actix_server::Server::build()
        .workers(options.workers)
        .max_concurrent_connections(options.max_connections + SPARE_CONNECTIONS)
        .shutdown_timeout(options.shutdown_timeout.as_secs().max(1))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let worker = move || {
        let options = settings.clone();
        let state = State {
            worker: hub.worker(),
            admission: admission.clone(),
            options: options.clone(),
            bodies: bodies.clone(),
            started,
        };
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(options.request_head_timeout)
            .client_disconnect_timeout(DISCONNECT_TIMEOUT)
            // A client that has sent its FIN has closed its `EventSource`: nobody half-closes a stream to go on reading.
            .h1_allow_half_closed(false)
            // With slices of the same size in the body, bounds what a connection keeps of a burst.
            .h1_write_buffer_size(4096)
            .local_addr(listen)
            .h1(map_config(app(state).into_factory(), |()| AppConfig::default()));
        let (timeout, buffer) = (options.tcp_user_timeout, options.send_buffer);
        fn_service(move |stream: TcpStream| {
            prepare(&stream, timeout, buffer);
            let peer = stream.peer_addr().ok();
            ready(Ok::<_, DispatchError>((Paced::new(stream), peer)))
        })
        .and_then(http)
    };
    let builder = builder.listen("hub", listener, worker).map_err(failed)?;
    Ok(Server { running: builder.run(), address: listen })
}

/// With a port of 0, the system chooses one.
fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn app(
    state: State,
) -> App<
    impl ServiceFactory<
        actix_web::dev::ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let guarded = state.options.guarded;
    App::new()
        .app_data(Data::new(state))
        .wrap_fn(move |request, next| {
            let refused = if guarded { guard::check(&request).err() } else { None };
            let answered = match refused {
                Some(problem) => Either::Left(ready(Ok(request.error_response(problem).map_into_boxed_body()))),
                None => {
                    Either::Right(next.call(request).map(|answer| answer.map(ServiceResponse::map_into_boxed_body)))
                }
            };
            answered.map(|answer| answer.inspect(routes::count))
        })
        .configure(routes::configure)
}

/// Bounds what the kernel holds for a client, and for how long it waits for one.
fn prepare(stream: &TcpStream, user_timeout: Duration, send_buffer: usize) {
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
