//! A session's stream as a response body.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use towncrier_actors::SessionStream;

use crate::admission::Admitted;

/// Most bytes handed to actix-http at a time. Its write buffer grows to the largest chunk that it was ever given and is
/// never given back while the connection lives, so large frames go in slices.
const SLICE_BYTES: usize = 4096;

/// Ends the session when it is dropped, which is when the connection ends.
pub(crate) struct StreamBody {
    stream: SessionStream,
    rest: Bytes,
    _admitted: Admitted,
}

impl StreamBody {
    pub(crate) fn new(stream: SessionStream, admitted: Admitted) -> Self {
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
