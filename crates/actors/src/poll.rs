//! Long polling: a session for the time of one request, for clients that cannot stream.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use towncrier_wire::{Cursor, Event, Gap, Start};

use crate::{SessionSpec, SessionStream, Worker, local::Format, local::Polled};

/// How long history may take, beyond the time for which the client wants to wait.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a poll brings.
#[derive(Debug)]
pub struct PollAnswer {
    /// Where the client stands after it.
    pub cursor: String,
    /// The events, in order.
    pub events: Vec<Arc<Event>>,
    /// What was lost before them.
    pub gap: Option<Gap>,
}

/// History did not answer, or the hub is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("history cannot be read now")]
pub struct PollError;

impl Worker {
    /// Waits until there is something for a client at its cursor, but no longer than `wait`. Without a cursor it does not
    /// wait.
    ///
    /// # Errors
    /// If history did not answer in time, or the hub is stopping.
    pub async fn poll(&self, mut spec: SessionSpec, wait: Duration) -> Result<PollAnswer, PollError> {
        let deadline = Instant::now() + wait;
        let mut gap = None;
        loop {
            if self.hub().is_draining() {
                return Err(PollError);
            }
            let mut stream = self.open(spec.clone(), Format::Events);
            let read = std::future::poll_fn(|cx| stream.poll_complete(cx));
            let polled = timeout_at(Instant::now() + HISTORY_TIMEOUT, read).await.map_err(|_| PollError)??;
            let cursor = polled.cursor.ok_or(PollError)?;
            gap = gap.or(polled.gap);
            let now = matches!(spec.start, Start::Live | Start::Last(_));
            if now || gap.is_some() || !polled.events.is_empty() {
                return Ok(PollAnswer { cursor, events: polled.events, gap });
            }
            // What comes now goes to the outbox that the session is a member of; history has it too, and in a form that
            // can be answered with.
            let news = std::future::poll_fn(|cx| stream.poll_news(cx));
            if timeout_at(deadline, news).await.is_err() || self.hub().is_draining() {
                let cursor = stream.checkpoint().map_or(cursor, |checkpoint| checkpoint.to_string());
                return Ok(PollAnswer { cursor, events: Vec::new(), gap: None });
            }
            let parsed = Cursor::parse(&cursor, self.hub().partitions()).map_err(|_| PollError)?;
            spec.start = Start::After(parsed);
        }
    }
}

impl SessionStream {
    /// Waits until the session has read what history holds for it.
    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<Result<Polled, PollError>> {
        let mut out = self.shared().out.borrow_mut();
        if out.polled.as_ref().is_some_and(|polled| polled.complete) {
            return Poll::Ready(out.polled.take().map(|polled| *polled).ok_or(PollError));
        }
        if out.ended {
            return Poll::Ready(Err(PollError));
        }
        self.shared().set_waker(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Waits until something lies in the outbox, or the session ends.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared().out.borrow().ended || self.checkpoint().is_none() {
            return Poll::Ready(());
        }
        self.shared().set_waker(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn checkpoint(&self) -> Option<Cursor> {
        let member = self.shared().member.get()?;
        self.local().rooms.borrow().checkpoint(member)
    }
}
