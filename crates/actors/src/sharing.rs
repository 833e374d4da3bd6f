//! A question that many have at the same time, asked once.

use std::{cell::RefCell, collections::HashMap, hash::Hash, rc::Rc};

use futures_util::{FutureExt, future::LocalBoxFuture, future::Shared};
use tokio::sync::Semaphore;
use towncrier_backplane::BackplaneError;

type Asking<T> = Shared<LocalBoxFuture<'static, Result<T, BackplaneError>>>;

/// Answers are shared by all who come before the question goes out: nobody gets one that is older than their own question.
/// As only so many questions go out at a time, the more come, the more share.
pub(crate) struct Sharing<K, T> {
    to_be_asked: RefCell<HashMap<K, Asking<T>>>,
    turns: Semaphore,
}

impl<K: Clone + Eq + Hash + 'static, T: Clone + 'static> Sharing<K, T> {
    pub(crate) fn new(at_a_time: usize) -> Rc<Self> {
        Rc::new(Self { to_be_asked: RefCell::default(), turns: Semaphore::new(at_a_time) })
    }

    pub(crate) async fn ask<F>(self: &Rc<Self>, key: K, ask: impl FnOnce() -> F + 'static) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, BackplaneError>> + 'static,
    {
        let to_be_asked = self.to_be_asked.borrow().get(&key).cloned();
        if let Some(asking) = to_be_asked {
            return asking.await;
        }
        let (sharing, own) = (self.clone(), key.clone());
        let asking = async move {
            let _turn = sharing.turns.acquire().await.map_err(|_| BackplaneError::Unavailable)?;
            sharing.to_be_asked.borrow_mut().remove(&own);
            ask().await
        };
        let asking: Asking<T> = asking.boxed_local().shared();
        self.to_be_asked.borrow_mut().insert(key, asking.clone());
        asking.await
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use actix_rt::System;
    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn who_comes_while_it_is_asked_gets_the_next_answer() {
        System::new().block_on(async {
            let (sharing, asked) = (Sharing::new(1), Rc::new(Cell::new(0)));
            let ask = |delay: u64| {
                let (sharing, asked) = (sharing.clone(), asked.clone());
                async move {
                    sleep(Duration::from_millis(delay)).await;
                    let answer = move || async move {
                        asked.set(asked.get() + 1);
                        let answer = asked.get();
                        sleep(Duration::from_millis(50)).await;
                        Ok(answer)
                    };
                    sharing.ask("key", answer).await
                }
            };
            // The first at once; the others while it is on its way.
            let answers = join_all([0, 10, 20, 30].map(ask)).await;
            assert_eq!(answers, [Ok(1), Ok(2), Ok(2), Ok(2)]);
            assert_eq!(ask(0).await, Ok(3));
            assert!(sharing.to_be_asked.borrow().is_empty());
        });
    }
}
