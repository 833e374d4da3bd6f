//! The listener and its worker threads.

use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_http::{
    HttpServiceBuilder, Protocol, Request, Response,
    body::BoxBody,
    error::DispatchError,
    h1::{ExpectHandler, UpgradeHandler},
};
use actix_server::{GracefulShutdownSignal, Server as Running, ServerHandle};
use actix_service::{IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error,
    body::MessageBody,
    dev::{AppConfig, Service, ServiceResponse},
    middleware::from_fn,
    rt::net::TcpStream,
    web::Data,
};
use futures_util::future::{Either, select};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use towncrier_actors::Hub;
use towncrier_auth::RateError;

use crate::{
    Options,
    admission::Admission,
    cors, gate,
    ingest::Bodies,
    lean,
    options::{Listener, Role},
    paced::{Opening, Paced},
    rates::Rates,
    routes,
    state::State,
    tls::{self, Certificates, TlsError},
};

/// How long a connection without a request is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a connection may take to close.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Connections of each worker beyond streams and polls: publishers, administrators, probes, and those to be refused.
const SPARE_CONNECTIONS: usize = 1024;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP/2 connection without a stream is kept for so long; it is also how often one is asked for a sign of life.
const H2_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How much of a request's body an HTTP/2 client may send before it is read, of one stream and of all.
const H2_STREAM_WINDOW: u32 = 64 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Why the hub does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("cannot use TLS: {0}")]
    Tls(#[from] TlsError),
    /// A rate is beyond all use.
    #[error("cannot limit a rate: {0}")]
    Rate(#[from] RateError),
}

/// A listening hub.
pub struct Server {
    running: Running,
    addresses: Vec<(Listener, SocketAddr)>,
    certificates: Option<Arc<Certificates>>,
}

impl Server {
    /// Where it listens, and for what.
    #[must_use]
    pub fn addresses(&self) -> &[(Listener, SocketAddr)] {
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
        let Self { running, certificates, .. } = self;
        match certificates {
            None => running.await,
            Some(certificates) => match select(Box::pin(running), Box::pin(certificates.watch())).await {
                Either::Left((ended, _)) => ended,
                Either::Right(((), running)) => running.await,
            },
        }
    }
}

/// Listens, and serves the hub as soon as [`Server::run`] is polled.
///
/// # Errors
/// If an address cannot be listened on, or a certificate cannot be used.
pub fn bind(options: Options, hub: &Hub) -> Result<Server, ServerError> {
    let options = Arc::new(options);
    let metrics = hub.metrics().clone();
    let common = Common {
        admission: Admission::new(options.as_ref().into(), metrics.clone())?,
        rates: Arc::new(Rates::new(&options.rates, metrics)?),
        options: options.clone(),
        bodies: Bodies::default(),
        started: Instant::now(),
        hub: hub.clone(),
    };
    let certificates = options.tls.clone().map(Certificates::load).transpose()?;
    let mut builder = actix_server::Server::build()
        .workers(options.workers)
        .max_concurrent_connections(options.max_connections + SPARE_CONNECTIONS)
        .shutdown_timeout(options.shutdown_timeout.as_secs().max(1))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let mut addresses = Vec::new();
    for own in &options.listeners {
        let failed = |source| ServerError::Listen { address: own.address, source };
        let listener = listen(own.address, options.backlog).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        addresses.push((own.clone(), address));
        let acceptor = match &certificates {
            Some(certificates) if own.tls => Some(tls::acceptor(certificates.clone(), own.client_ca.as_deref())?),
            _ => None,
        };
        let (common, stopping, role) = (common.clone(), stopping.clone(), own.role);
        let name = format!("{role:?}").to_lowercase();
        builder = match acceptor {
            None if options.lean && role != Role::Admin => {
                builder.listen(name, listener, move || direct(&common, role, address, stopping.clone()))
            }
            None => builder.listen(name, listener, move || plain(&common, role, address, stopping.clone())),
            Some(acceptor) => builder.listen(name, listener, move || {
                encrypted(common.state(role, true), address, stopping.clone(), acceptor.clone())
            }),
        }
        .map_err(failed)?;
    }
    Ok(Server { running: builder.run(), addresses, certificates })
}

/// What all listeners and workers share.
#[derive(Clone)]
struct Common {
    admission: Arc<Admission>,
    rates: Arc<Rates>,
    options: Arc<Options>,
    bodies: Bodies,
    started: Instant,
    hub: Hub,
}

impl Common {
    /// The state of one listener on this worker thread.
    fn state(&self, role: Role, secure: bool) -> State {
        State {
            worker: self.hub.worker(),
            admission: self.admission.clone(),
            rates: self.rates.clone(),
            options: self.options.clone(),
            bodies: self.bodies.clone(),
            started: self.started,
            role,
            secure,
        }
    }
}

/// HTTP/1.1 on a bare connection, with streams straight on it.
fn direct(
    common: &Common,
    role: Role,
    address: SocketAddr,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<> {
    let app = app(common.state(role, false)).into_factory();
    let http = h1(common.state(role, false), address, stopping.clone());
    prepared(common).and_then(lean::service(app, http, common.options.request_head_timeout, stopping))
}

/// HTTP/1.1 on a bare connection.
fn plain(
    common: &Common,
    role: Role,
    address: SocketAddr,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> + use<> {
    let within = common.options.request_head_timeout;
    let paced = fn_service(move |stream: TcpStream| {
        let peer = stream.peer_addr().ok();
        ready(Ok::<_, DispatchError>((Paced::new(stream, Opening::Request, within), peer)))
    });
    prepared(common).and_then(paced).and_then(h1(common.state(role, false), address, stopping))
}

fn h1(
    state: State,
    address: SocketAddr,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<lean::Handed, Config = (), Response = (), Error = DispatchError, InitError = ()> {
    let app = map_config(app(state).into_factory(), |()| AppConfig::default());
    protocol(address, stopping).keep_alive(KEEP_ALIVE).h1(app)
}

/// A connection with its options set.
fn prepared(
    common: &Common,
) -> impl ServiceFactory<TcpStream, Config = (), Response = TcpStream, Error = DispatchError, InitError = ()> + use<> {
    let options = common.options.clone();
    fn_service(move |stream: TcpStream| {
        prepare(&stream, &options);
        ready(Ok(stream))
    })
}

/// HTTP/2 or HTTP/1.1, as the client likes, behind TLS.
fn encrypted(
    state: State,
    address: SocketAddr,
    stopping: GracefulShutdownSignal,
    acceptor: TlsAcceptor,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()> {
    let options = state.options.clone();
    let http = protocol(address, stopping)
        .keep_alive(H2_KEEP_ALIVE)
        .h2_initial_window_size(H2_STREAM_WINDOW)
        .h2_initial_connection_window_size(H2_CONNECTION_WINDOW)
        .secure()
        .finish(map_config(app(state).into_factory(), |()| AppConfig::default()));
    fn_service(move |stream: TcpStream| {
        prepare(&stream, &options);
        let (acceptor, peer, within) = (acceptor.clone(), stream.peer_addr().ok(), options.request_head_timeout);
        async move {
            let accepted = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
            let stream = accepted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut)).flatten();
            let stream = stream.map_err(DispatchError::Io)?;
            let (protocol, opening) = match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => (Protocol::Http2, Opening::Preface),
                _ => (Protocol::Http1, Opening::Request),
            };
            Ok::<_, DispatchError>((Paced::new(stream, opening, within), protocol, peer))
        }
    })
    .and_then(http)
}

/// What holds for every connection.
fn protocol<T, S>(
    address: SocketAddr,
    stopping: GracefulShutdownSignal,
) -> HttpServiceBuilder<T, S, ExpectHandler, UpgradeHandler>
where
    S: ServiceFactory<Request, Config = ()>,
    S::Error: Into<Response<BoxBody>> + 'static,
    S::InitError: std::fmt::Debug,
    <S::Service as Service<Request>>::Future: 'static,
{
    HttpServiceBuilder::default()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        // `Paced` has one that reads first what has come.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        // A client that has sent its FIN has closed its `EventSource`: nobody half-closes a stream to go on reading.
        .h1_allow_half_closed(false)
        // With slices of the same size in the body, bounds what a connection keeps of a burst.
        .h1_write_buffer_size(4096)
        .local_addr(address)
}

/// With a port of 0, the system chooses one.
fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
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
    let role = state.role;
    let (options, rates) = (state.options.clone(), state.rates.clone());
    App::new()
        .app_data(Data::new(state))
        .wrap(from_fn(gate::identify))
        .wrap_fn(move |request, next| match rates.request(&request) {
            Ok(()) => Either::Left(next.call(request)),
            Err(problem) => Either::Right(ready(Ok(request.error_response(problem)))),
        })
        // Outside of the limits and of who may ask, so that pages may read why they were refused.
        .wrap(cors::layer(&options.origins))
        .wrap(from_fn(gate::pass))
        .configure(move |config| routes::configure(config, role))
}

/// Bounds what the kernel holds for a client, and for how long it waits for one.
fn prepare(stream: &TcpStream, options: &Options) {
    let (user_timeout, send_buffer) = (options.tcp_user_timeout, options.send_buffer);
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
