//! A connection that is read in small steps, and whose first head must come in time.
//!
//! actix-http decodes all requests that lie in its read buffer before it looks whether too many wait, and a waiting
//! request costs it some 8 KB: a client that pipelines short requests behind a stream would turn 128 KB of them into 30
//! MB. Read in steps, with a turn of the connection's task between them, its own limit of 16 requests holds.
//!
//! Its own time limit for a head is not used: it looks at the timer before it looks at the socket, so after a process stood
//! still whoever had come meanwhile would be answered 408, and any status but 200 stops an `EventSource` for good. Here
//! what has come is read first, and whoever is too late just sees the connection end, and comes again.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// Most bytes of one step: about a head of a usual request.
const STEP_BYTES: usize = 2048;

/// A timer that is due says that time has passed, not that this process ran meanwhile and has heard of all that came. So
/// there is a little more of it, once.
const GRACE: Duration = Duration::from_millis(250);

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A request's head, up to an empty line.
    Request,
    /// The preface of HTTP/2, in which there are two.
    Preface,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Paced<S> {
    stream: S,
    /// What was read before, and is to be read again.
    unread: Bytes,
    /// The last step was a full one, so there may be more; it has to wait for the next turn.
    pause: bool,
    /// Until it has come.
    head: Option<Box<Head>>,
}

/// The head that is waited for.
#[derive(Debug)]
struct Head {
    /// How many empty lines are to come.
    ends: u8,
    /// Whether there was anything since the last of them: those before a request do not count.
    begun: bool,
    /// Whether there was anything in this line.
    filled: bool,
    timer: Pin<Box<Sleep>>,
    late: bool,
}

impl Head {
    /// Takes in what has come. Gives whether that is all of it.
    fn is_over(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match byte {
                b'\r' => {}
                b'\n' if self.begun && !self.filled => {
                    self.ends -= 1;
                    self.begun = false;
                    if self.ends == 0 {
                        return true;
                    }
                }
                b'\n' => self.filled = false,
                _ => (self.begun, self.filled) = (true, true),
            }
        }
        false
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.late {
                return Poll::Ready(());
            }
            self.late = true;
            self.timer.as_mut().reset(Instant::now() + GRACE);
        }
    }
}

impl<S> Paced<S> {
    /// A connection that ends unless its opening comes within this time.
    pub(crate) fn new(stream: S, opening: Opening, within: Duration) -> Self {
        let ends = match opening {
            Opening::Request => 1,
            Opening::Preface => 2,
        };
        let head = Head { ends, begun: false, filled: false, timer: Box::pin(sleep(within)), late: false };
        Self { stream, unread: Bytes::new(), pause: false, head: Some(Box::new(head)) }
    }

    /// Whether all of its opening has been read.
    pub(crate) fn has_head(&self) -> bool {
        self.head.is_none()
    }

    /// The same, with what was read of it to be read again.
    pub(crate) fn with_unread(self, unread: Bytes) -> Self {
        Self { unread, ..self }
    }

    /// The connection itself.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.pause) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !self.unread.is_empty() {
            let len = self.unread.len().min(buf.remaining()).min(STEP_BYTES);
            buf.put_slice(&self.unread.split_to(len));
            self.pause = !self.unread.is_empty();
            return Poll::Ready(Ok(()));
        }
        let mut step = [MaybeUninit::uninit(); STEP_BYTES];
        let len = buf.remaining().min(STEP_BYTES);
        let mut own = ReadBuf::uninit(&mut step[..len]);
        match Pin::new(&mut self.stream).poll_read(cx, &mut own) {
            // As if the client had ended it: without an answer.
            Poll::Pending => return self.head.as_mut().map_or(Poll::Pending, |head| head.poll_late(cx).map(Ok)),
            Poll::Ready(read) => read?,
        }
        if self.head.as_mut().is_some_and(|head| head.is_over(own.filled())) {
            self.head = None;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn over_after(opening: Opening, bytes: &str) -> Option<usize> {
        let mut head = Paced::new((), opening, Duration::ZERO).head.expect("a head");
        bytes.bytes().position(|byte| head.is_over(&[byte])).map(|at| at + 1)
    }

    #[actix_web::test]
    async fn a_head_ends_with_an_empty_line() {
        let head = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        assert_eq!(over_after(Opening::Request, &format!("{head}GET")), Some(head.len()));
        assert_eq!(over_after(Opening::Request, "GET / HTTP/1.1\nHost: h\n\n"), Some(24));
        assert_eq!(over_after(Opening::Request, &format!("\r\n\r\n{head}")), Some(4 + head.len()));
        assert_eq!(over_after(Opening::Request, "\r\n\r\n\n\n"), None);
        assert_eq!(over_after(Opening::Request, "GET / HTTP/1.1\r\nHost: h\r\n"), None);
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(over_after(Opening::Preface, preface), Some(preface.len()));
        assert_eq!(over_after(Opening::Preface, head), None);
    }
}
