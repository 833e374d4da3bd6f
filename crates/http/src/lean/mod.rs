//! Subscriptions on the plain port, sent straight on their sockets.
//!
//! actix-http keeps two buffers of 8 KiB and a dispatcher for a connection, and copies what it sends through them. A stream
//! needs nothing of that once its request is answered. So where the first request of a connection is to subscribe, the
//! application answers it as any other, with the same checks, and then the connection is a socket and a
//! [`SessionStream`](towncrier_actors::SessionStream). Whatever else comes, also a subscription that is odd in any way, is handed to actix-http with every
//! byte that was read.

mod opening;
mod stream;

use std::{net::SocketAddr, rc::Rc, time::Duration};

use actix_http::{KeepAlive, Request, ServiceConfig, error::DispatchError};
use actix_server::GracefulShutdownSignal;
use actix_service::{ServiceFactory, fn_factory, fn_service};
use actix_web::{
    Error,
    body::MessageBody,
    dev::{AppConfig, Service, ServiceResponse},
    rt::net::TcpStream,
};

use self::{opening::Opened, stream::Scratch};
use crate::paced::Paced;

/// A connection that actix-http serves, and where it is from.
pub(crate) type Handed = (Paced<TcpStream>, Option<SocketAddr>);

/// Marks a request whose transport sends a stream by itself.
pub(crate) struct Direct;

/// What serves the connections of one listener on one worker.
struct Lean<A, H> {
    app: A,
    http: H,
    config: ServiceConfig,
    head_timeout: Duration,
    stopping: GracefulShutdownSignal,
    scratch: Rc<Scratch>,
}

/// A listener's service: `app` answers who subscribes, and `http` serves all others.
pub(crate) fn service<A, B, H>(
    app: A,
    http: H,
    head_timeout: Duration,
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    A: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error, InitError = ()>,
    A::Service: 'static,
    B: MessageBody + 'static,
    H: ServiceFactory<Handed, Config = (), Response = (), Error = DispatchError, InitError = ()>,
    H::Service: 'static,
{
    fn_factory(move || {
        let (app, http) = (app.new_service(AppConfig::default()), http.new_service(()));
        let stopping = stopping.clone();
        async move {
            let lean = Rc::new(Lean {
                app: app.await?,
                http: http.await?,
                config: ServiceConfig::new(KeepAlive::Os, Duration::ZERO, Duration::ZERO, false, None),
                head_timeout,
                stopping,
                scratch: Rc::default(),
            });
            Ok(fn_service(move |socket| serve(lean.clone(), socket)))
        }
    })
}

/// Each part is boxed: what a future holds in any of its states it has room for in all, and some of those around this one hold
/// it twice.
async fn serve<A, B, H>(lean: Rc<Lean<A, H>>, socket: TcpStream) -> Result<(), DispatchError>
where
    A: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
    H: Service<Handed, Response = (), Error = DispatchError>,
{
    match Box::pin(lean.open(socket)).await {
        Opened::Stream(stream) => stream.await,
        Opened::Other(handed) => return Box::pin(lean.http.call(*handed)).await,
        Opened::Ended => {}
    }
    Ok(())
}
