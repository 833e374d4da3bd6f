//! A connection that is read in small steps.
//!
//! actix-http decodes all requests that lie in its read buffer before it looks whether too many wait, and a waiting
//! request costs it some 8 KB: a client that pipelines short requests behind a stream would turn 128 KB of them into 30
//! MB. Read in steps, with a turn of the connection's task between them, its own limit of 16 requests holds.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes of one step: about a head of a usual request.
const STEP_BYTES: usize = 2048;

/// See the module.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    /// The last step was a full one, so there may be more; it has to wait for the next turn.
    pause: bool,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, pause: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut step = [MaybeUninit::uninit(); STEP_BYTES];
        let len = buf.remaining().min(STEP_BYTES);
        let mut own = ReadBuf::uninit(&mut step[..len]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut own))?;
        self.pause = own.filled().len() == STEP_BYTES;
        buf.put_slice(own.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
