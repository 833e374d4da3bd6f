//! A session's stream on a bare socket, in chunks.

use std::{
    cell::RefCell,
    io::{self, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_web::rt::net::TcpStream;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::future::poll_fn;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};
use towncrier_actors::SessionStream;
use towncrier_wire::limits::BATCH_BYTES_MAX;

use super::opening::ANSWER_TIMEOUT;
use crate::{admission::Admitted, body::Begun};

/// Most bytes of a chunk: a batch of frames fits.
const CHUNK_BYTES_MAX: usize = BATCH_BYTES_MAX;

/// The chunk after which there is none (RFC 9112, 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How much a client may send after its request. It has nothing to say: what comes is not kept, and more ends the stream.
const HEARD_BYTES_MAX: u16 = 4096;

/// Where the streams of a worker put together what they write, one after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch(RefCell<Vec<u8>>);

/// Ends when the session does, or the connection.
pub(super) struct LeanStream {
    socket: TcpStream,
    session: SessionStream,
    /// What the session gave last, without the chunks of it that are sent.
    frames: Bytes,
    /// How much of the chunk that is being sent the kernel has taken, its head and end counted.
    sent: usize,
    heard: u16,
    ended: bool,
    scratch: Rc<Scratch>,
    _admitted: Admitted,
}

impl LeanStream {
    pub(super) fn new(socket: TcpStream, begun: Begun, scratch: Rc<Scratch>) -> Self {
        let (Begun { stream: session, admitted }, frames) = (begun, Bytes::new());
        Self { socket, session, frames, sent: 0, heard: 0, ended: false, scratch, _admitted: admitted }
    }

    /// Sends the head of the answer, together with the first frames if they are there.
    pub(super) async fn begin(&mut self, head: &mut BytesMut) -> io::Result<()> {
        poll_fn(|cx| {
            let _ = self.poll_frames(cx);
            Poll::Ready(())
        })
        .await;
        if !self.frames.is_empty() {
            let mut chunk = Vec::new();
            let len = self.chunk(&mut chunk);
            head.extend_from_slice(&chunk);
            self.frames.advance(len);
        }
        timeout(ANSWER_TIMEOUT, self.socket.write_all(head)).await?
    }

    /// Makes sure that there are frames to send; false is the end.
    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.frames.is_empty() && !self.ended {
            match ready!(self.session.poll_frames(cx)) {
                Some(frames) => self.frames = frames,
                None => self.ended = true,
            }
        }
        Poll::Ready(!self.ended)
    }

    /// The next chunk, and how much of the frames is in it.
    fn chunk(&self, chunk: &mut Vec<u8>) -> usize {
        chunk.clear();
        let len = self.frames.len().min(CHUNK_BYTES_MAX);
        let _ = write!(chunk, "{len:X}\r\n");
        chunk.extend_from_slice(&self.frames[..len]);
        chunk.extend_from_slice(b"\r\n");
        len
    }

    /// Writes the chunk that is being sent, or what is left of it. It is put together anew each time, so that a client that
    /// does not read keeps nothing but its place in frames that it shares with others.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let scratch = Rc::clone(&self.scratch);
        let mut chunk = scratch.0.borrow_mut();
        let len = self.chunk(&mut chunk);
        while self.sent < chunk.len() {
            self.sent += ready!(Pin::new(&mut self.socket).poll_write(cx, &chunk[self.sent..]))?;
        }
        self.sent = 0;
        self.frames.advance(len);
        Poll::Ready(Ok(()))
    }

    fn poll_last_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < LAST_CHUNK.len() {
            self.sent += ready!(Pin::new(&mut self.socket).poll_write(cx, &LAST_CHUNK[self.sent..]))?;
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    /// Ready when the client is gone, or should be.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [std::mem::MaybeUninit::uninit(); 512];
        loop {
            let mut heard = ReadBuf::uninit(&mut bytes);
            match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut heard)) {
                Ok(()) if !heard.filled().is_empty() => {}
                // A client that has sent its FIN has closed its `EventSource`: nobody half-closes a stream to go on reading.
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
            self.heard = self.heard.saturating_add(heard.filled().len() as u16);
            if self.heard > HEARD_BYTES_MAX {
                return Poll::Ready(());
            }
        }
    }
}

impl Future for LeanStream {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.poll_gone(cx).is_ready() {
            return Poll::Ready(());
        }
        while ready!(this.poll_frames(cx)) {
            if ready!(this.poll_chunk(cx)).is_err() {
                return Poll::Ready(());
            }
        }
        this.poll_last_chunk(cx).map(drop)
    }
}
