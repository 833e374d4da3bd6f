//! Between the connection that messages come by and the feed that tells them: bounded by bytes, and honest about it.
//!
//! A node that does not keep up must not make this process hold all of Redis' messages, nor may a message vanish between
//! two others. So once there is no room, everything is dropped until the feed has taken what is here, was told of the
//! loss and has called [`Intake::resume`]; what was dropped, it reads from history.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::message::Message;

/// What a message costs beside its bytes.
const MESSAGE_COST: usize = 256;

#[derive(Debug)]
pub(crate) struct Intake {
    state: Mutex<State>,
    changed: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Waiting>,
    bytes: usize,
    losing: bool,
    closed: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    cost: usize,
    came: Instant,
}

/// What the feed takes.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Messages in the order in which they came, and when the first of them did.
    Messages(Vec<Message>, Instant),
    /// Between what was taken and what will come, messages are missing. None come until [`Intake::resume`].
    Lost,
    /// The connection is gone; nothing will come any more.
    Closed(String),
}

impl Intake {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), bytes_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the next message, of so many bytes.
    pub(crate) fn push(&self, message: Message, bytes: usize) {
        let mut state = self.state();
        // Once one of several connections is gone, the others must not keep the feed from hearing of it.
        if state.losing || state.closed.is_some() {
            return;
        }
        let cost = bytes + MESSAGE_COST;
        if !state.queue.is_empty() && state.bytes + cost > self.bytes_max {
            state.losing = true;
        } else {
            state.bytes += cost;
            state.queue.push_back(Waiting { message, cost, came: Instant::now() });
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Takes in that messages are missing.
    pub(crate) fn lose(&self) {
        self.state().losing = true;
        self.changed.notify_one();
    }

    /// Takes in that no more will come.
    pub(crate) fn close(&self, why: String) {
        self.state().closed.get_or_insert(why);
        self.changed.notify_one();
    }

    /// Lets messages in again.
    pub(crate) fn resume(&self) {
        self.state().losing = false;
    }

    /// Waits for something. Nothing is lost if the future is dropped.
    pub(crate) async fn take(&self, max: usize) -> Taken {
        loop {
            if let Some(taken) = self.try_take(max) {
                return taken;
            }
            self.changed.notified().await;
        }
    }

    fn try_take(&self, max: usize) -> Option<Taken> {
        let mut state = self.state();
        if let Some(came) = state.queue.front().map(|first| first.came) {
            let count = state.queue.len().min(max);
            let taken: Vec<_> = state.queue.drain(..count).collect();
            state.bytes -= taken.iter().map(|one| one.cost).sum::<usize>();
            return Some(Taken::Messages(taken.into_iter().map(|one| one.message).collect(), came));
        }
        if let Some(why) = &state.closed {
            return Some(Taken::Closed(why.clone()));
        }
        state.losing.then_some(Taken::Lost)
    }
}

#[cfg(test)]
mod tests {
    use towncrier_wire::EventId;

    use super::*;

    fn beat(nonce: u64) -> Message {
        Message::Beat { partition: 0, nonce, head: EventId::ZERO }
    }

    fn nonces(taken: Taken) -> Vec<u64> {
        let Taken::Messages(messages, _) = taken else { panic!("messages, not {taken:?}") };
        let nonce = |message| if let Message::Beat { nonce, .. } = message { nonce } else { 0 };
        messages.into_iter().map(nonce).collect()
    }

    #[tokio::test]
    async fn what_came_before_a_loss_is_taken_first_and_nothing_in_between() {
        let intake = Intake::new(2 * MESSAGE_COST);
        (1..=4).for_each(|nonce| intake.push(beat(nonce), 0));
        assert_eq!(nonces(intake.take(1).await), [1]);
        intake.push(beat(5), 0);
        assert_eq!(nonces(intake.take(9).await), [2]);
        assert!(matches!(intake.take(9).await, Taken::Lost));
        intake.push(beat(6), 0);
        assert!(matches!(intake.take(9).await, Taken::Lost), "until it is told to go on");
        intake.resume();
        intake.push(beat(7), 1 << 40);
        assert_eq!(nonces(intake.take(9).await), [7], "one message always fits");
        intake.close("gone".to_owned());
        assert!(matches!(intake.take(9).await, Taken::Closed(_)));
    }
}
