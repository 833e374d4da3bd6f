//! What is asked of the backplane and answered to whoever asked: its order does not matter.

use std::time::Instant;

use actix::{Handler, ResponseFuture};
use towncrier_backplane::{BackplaneError, Published};
use towncrier_core::store::{TopicInfo, Totals};
use towncrier_telemetry::Operation;
use tracing::Instrument as _;

use super::Bridge;
use crate::messages::{AskTopic, AskTotals, Clear, Close, Forget, ListTopics, Publish};

impl Handler<Publish> for Bridge {
    type Result = ResponseFuture<Vec<Result<Published, BackplaneError>>>;

    fn handle(&mut self, Publish { events, waiting, span }: Publish, _: &mut Self::Context) -> Self::Result {
        let (backplane, metrics) = (self.backplane.clone(), self.metrics.clone());
        let publish = async move {
            let began = Instant::now();
            let answers = backplane.publish(events).await;
            metrics.backplane_seconds.of(Operation::Publish).observe_time(began.elapsed());
            drop(waiting);
            answers
        };
        Box::pin(publish.instrument(span))
    }
}

impl Handler<Close> for Bridge {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Close, _: &mut Self::Context) -> Self::Result {
        let backplane = self.backplane.clone();
        Box::pin(async move { backplane.close().await })
    }
}

impl Handler<Clear> for Bridge {
    type Result = ResponseFuture<Result<usize, BackplaneError>>;

    fn handle(&mut self, Clear(topic): Clear, _: &mut Self::Context) -> Self::Result {
        let (backplane, history) = (self.backplane.clone(), self.history.clone());
        Box::pin(async move {
            let cleared = backplane.clear(topic.clone()).await?;
            history.do_send(Forget(topic));
            Ok(cleared)
        })
    }
}

impl Handler<ListTopics> for Bridge {
    type Result = ResponseFuture<Result<Vec<TopicInfo>, BackplaneError>>;

    fn handle(&mut self, ListTopics { prefix, after, limit }: ListTopics, _: &mut Self::Context) -> Self::Result {
        let backplane = self.backplane.clone();
        Box::pin(async move { backplane.topics(prefix, after, limit).await })
    }
}

impl Handler<AskTopic> for Bridge {
    type Result = ResponseFuture<Result<Option<TopicInfo>, BackplaneError>>;

    fn handle(&mut self, AskTopic(topic): AskTopic, _: &mut Self::Context) -> Self::Result {
        let backplane = self.backplane.clone();
        Box::pin(async move { backplane.topic(topic).await })
    }
}

impl Handler<AskTotals> for Bridge {
    type Result = ResponseFuture<Result<Totals, BackplaneError>>;

    fn handle(&mut self, _: AskTotals, _: &mut Self::Context) -> Self::Result {
        let backplane = self.backplane.clone();
        Box::pin(async move { backplane.totals().await })
    }
}
