//! The Redis backplane keeps the contract that every backplane keeps, each check with a redis-server of its own.

mod support;

use std::{sync::Arc, time::Duration};

use support::Redis;
use towncrier_backplane::{
    Answer, Backplane, BackplaneError, Published, Signals,
    contract::{Harness, Setup},
    contract_tests,
};
use towncrier_backplane_redis::{Options, RedisBackplane, connect};
use towncrier_core::{
    TopicRead,
    store::{Retention, TopicInfo, Totals},
};
use towncrier_wire::{EventId, Heads, NewEvent, Partitions, Selector, Topic};

struct OwnRedis;

impl Harness for OwnRedis {
    async fn start(&self, setup: Setup) -> (Arc<dyn Backplane>, Signals) {
        let redis = Redis::start();
        let age_ms = u64::try_from(setup.history_age.as_millis()).expect("an age");
        let options = Options {
            retention: Retention { events: setup.history_events, age_ms },
            signal_bytes_max: setup.signal_bytes_max,
            probe_interval: Duration::from_millis(200),
            ..Options::new(redis.url(), "contract", setup.partitions)
        };
        let (backplane, signals) = connect(options).await.expect("a connection");
        (Arc::new(WithRedis { backplane, _redis: redis }), signals)
    }
}

contract_tests!(OwnRedis);

/// Ends its Redis with it.
#[derive(Debug)]
struct WithRedis {
    backplane: RedisBackplane,
    _redis: Redis,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
}

impl Backplane for WithRedis {
    fn partitions(&self) -> Partitions {
        self.backplane.partitions()
    }

    fn publish(&self, events: Vec<NewEvent>) -> Answer<'_, Vec<Result<Published, BackplaneError>>> {
        self.backplane.publish(events)
    }

    fn join(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>> {
        self.backplane.join(selectors)
    }

    fn leave(&self, selectors: Vec<Selector>) -> Answer<'_, Result<(), BackplaneError>> {
        self.backplane.leave(selectors)
    }

    fn announce(&self) -> Answer<'_, Result<(), BackplaneError>> {
        self.backplane.announce()
    }

    fn read(&self, topic: Topic, after: EventId, limit: usize) -> Answer<'_, Result<TopicRead, BackplaneError>> {
        self.backplane.read(topic, after, limit)
    }

    fn floors(&self) -> Answer<'_, Result<Heads, BackplaneError>> {
        self.backplane.floors()
    }

    fn topics(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Answer<'_, Result<Vec<TopicInfo>, BackplaneError>> {
        self.backplane.topics(prefix, after, limit)
    }

    fn topic(&self, topic: Topic) -> Answer<'_, Result<Option<TopicInfo>, BackplaneError>> {
        self.backplane.topic(topic)
    }

    fn clear(&self, topic: Topic) -> Answer<'_, Result<usize, BackplaneError>> {
        self.backplane.clear(topic)
    }

    fn totals(&self) -> Answer<'_, Result<Totals, BackplaneError>> {
        self.backplane.totals()
    }
}
