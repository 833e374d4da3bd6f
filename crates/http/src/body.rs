//! A session's stream as a response body.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::{
    HttpMessage, HttpRequest,
    body::{BodySize, MessageBody},
};
use bytes::Bytes;
use towncrier_actors::SessionStream;

use crate::admission::Admitted;

/// Most bytes handed to actix-http at a time. Its write buffer grows to the largest chunk that it was ever given and is
/// never given back while the connection lives, so large frames go in slices.
const SLICE_BYTES: usize = 4096;

/// A stream that a handler has begun. It leaves it in the extensions of its request, where whoever sends the answer takes it.
pub(crate) struct Begun {
    pub(crate) stream: SessionStream,
    pub(crate) admitted: Admitted,
}

impl Begun {
    /// What a request has begun, if it has.
    pub(crate) fn take(request: &HttpRequest) -> Option<Self> {
        request.extensions_mut().remove()
    }
}

/// Ends the session when it is dropped, which is when the connection ends.
pub(crate) struct StreamBody {
    stream: SessionStream,
    rest: Bytes,
    _admitted: Admitted,
}

impl From<Begun> for StreamBody {
    fn from(Begun { stream, admitted }: Begun) -> Self {
        Self { stream, rest: Bytes::new(), _admitted: admitted }
    }
}

impl MessageBody for StreamBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        if self.rest.is_empty() {
            match ready!(self.stream.poll_frames(cx)) {
                Some(frames) => self.rest = frames,
                None => return Poll::Ready(None),
            }
        }
        let len = self.rest.len().min(SLICE_BYTES);
        Poll::Ready(Some(Ok(self.rest.split_to(len))))
    }
}
