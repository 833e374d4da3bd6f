//! The first request of a connection: is it one to subscribe, and what is the answer?

use std::{
    io,
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use actix_http::{
    ConnectionType, Request, Response,
    body::{BodySize, BoxBody, MessageBody},
    h1::{Codec, Message, MessageType},
};
use actix_web::{
    Error, HttpMessage,
    dev::{Service, ServiceResponse},
    http::Version,
    rt::net::TcpStream,
};
use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, poll_fn, select};
use tokio::{io::AsyncWriteExt, time::timeout};
use tokio_util::{
    codec::{Decoder, Encoder},
    io::poll_read_buf,
};

use super::{Direct, Handed, Lean, stream::LeanStream};
use crate::{
    body::Begun,
    paced::{Opening, Paced},
};

/// How the head of a request begins that is served here.
const BEGINNINGS: [&[u8]; 3] = [b"GET /events?", b"GET /events ", b"GET /topics/"];

/// The longest head that is read here; actix-http takes more of it, up to its own limit.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long an answer may take to fit into the empty send buffer of a new connection.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What becomes of a connection.
pub(super) enum Opened {
    /// It is a stream, and its head is sent.
    Stream(Box<LeanStream>),
    /// It is for actix-http, with what was read of it.
    Other(Box<Handed>),
    /// It was answered, or it ended.
    Ended,
}

/// Whether a head that begins like this, and may go on, can be one for here.
fn may_be_ours(head: &[u8]) -> bool {
    BEGINNINGS.iter().any(|beginning| head.iter().zip(*beginning).all(|(one, other)| one == other))
}

impl<A, B, H> Lean<A, H>
where
    A: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    pub(super) async fn open(&self, socket: TcpStream) -> Opened {
        let peer = socket.peer_addr().ok();
        let mut paced = Paced::new(socket, Opening::Request, self.head_timeout);
        let mut head = BytesMut::new();
        while !paced.has_head() && head.len() < HEAD_BYTES_MAX && may_be_ours(&head) {
            let silent = head.is_empty();
            let read = poll_fn(|cx| poll_read_buf(Pin::new(&mut paced), cx, &mut head));
            let read = match select(read, pin!(self.stopping.notified())).await {
                Either::Left((read, _)) => read,
                // As browsers open them ahead of time: nothing is lost if nobody waits for them.
                Either::Right(((), _)) if silent => return Opened::Ended,
                Either::Right(((), read)) => read.await,
            };
            match read {
                Ok(count) if count > 0 => {}
                // Without a whole head there is nobody to answer.
                Ok(_) | Err(_) => return Opened::Ended,
            }
        }
        let mut codec = Codec::new(self.config.clone());
        match decode(&head, &mut codec).filter(|_| paced.has_head()) {
            None => Opened::Other(Box::new((paced.with_unread(head.freeze()), peer))),
            Some(mut request) => {
                request.head_mut().peer_addr = peer;
                drop(head);
                self.answer(request, &mut codec, paced.into_inner()).await.unwrap_or(Opened::Ended)
            }
        }
    }

    async fn answer(&self, request: Request, codec: &mut Codec, mut socket: TcpStream) -> io::Result<Opened> {
        request.extensions_mut().insert(Direct);
        let (begun, answer) = match self.app.call(request).await {
            Ok(answer) => (Begun::take(answer.request()), answer.into_parts().1.map_into_boxed_body()),
            Err(error) => (None, error.error_response()),
        };
        let answer = Response::<BoxBody>::from(answer);
        let mut bytes = BytesMut::new();
        let Some(begun) = begun else {
            encode_whole(answer, codec, &mut bytes).await?;
            timeout(ANSWER_TIMEOUT, socket.write_all(&bytes)).await??;
            socket.shutdown().await?;
            return Ok(Opened::Ended);
        };
        codec.encode(Message::Item((answer.drop_body(), BodySize::Stream)), &mut bytes)?;
        let mut stream = LeanStream::new(socket, begun, Rc::clone(&self.scratch));
        stream.begin(&mut bytes).await?;
        Ok(Opened::Stream(Box::new(stream)))
    }
}

/// The request in a head, if it is one that has nothing unusual: no body, nothing behind it, no wish for another protocol.
fn decode(head: &BytesMut, codec: &mut Codec) -> Option<Request> {
    if !may_be_ours(head) {
        return None;
    }
    let mut rest = head.clone();
    let Ok(Some(Message::Item(request))) = codec.decode(&mut rest) else { return None };
    let usual = rest.is_empty()
        && codec.message_type() == MessageType::None
        && request.version() == Version::HTTP_11
        && !codec.upgrade()
        && !request.head().expect();
    usual.then_some(request)
}

/// An answer that is no stream, after which the connection ends.
async fn encode_whole(answer: Response<BoxBody>, codec: &mut Codec, bytes: &mut BytesMut) -> io::Result<()> {
    let (mut head, mut body) = answer.into_parts();
    head.head_mut().set_connection_type(ConnectionType::Close);
    let size = body.size();
    codec.encode(Message::Item((head, size)), bytes)?;
    if size.is_eof() {
        return Ok(());
    }
    while let Some(chunk) = poll_fn(|cx| Pin::new(&mut body).poll_next(cx)).await {
        let chunk: Bytes = chunk.map_err(|error| io::Error::other(error.to_string()))?;
        codec.encode(Message::Chunk(Some(chunk)), bytes)?;
    }
    codec.encode(Message::Chunk(None), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_a_subscription_is_waited_for() {
        for ours in ["", "G", "GET /", "GET /event", "GET /events?topic=a", "GET /events HTTP/1.1", "GET /topics/a"] {
            assert!(may_be_ours(ours.as_bytes()), "{ours:?}");
        }
        for other in ["P", "GET /p", "GET /eventsource", "get /events?", "GET  /events?", "HEAD /events?", "\r\nGET /"]
        {
            assert!(!may_be_ours(other.as_bytes()), "{other:?}");
        }
    }

    #[actix_web::test]
    async fn only_a_usual_request_is_served_here() {
        let is_ours = |head: &str| decode(&BytesMut::from(head), &mut Codec::default()).is_some();
        assert!(is_ours("GET /events?topic=a HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert!(is_ours("GET /events?topic=a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        for other in [
            "GET /events?topic=a HTTP/1.0\r\n\r\n",
            "GET /events?topic=a HTTP/1.1\r\nHost: h\r\n\r\nGET /",
            "GET /events?topic=a HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
            "GET /events?topic=a HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "GET /events?topic=a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /events?topic=a HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            "GET /events?topic=a HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /events?topic=a\x01 HTTP/1.1\r\n\r\n",
            "GET /events?topic=a HTTP/1.1\r\nHost: h\r\n",
        ] {
            assert!(!is_ours(other), "{other:?}");
        }
    }
}
