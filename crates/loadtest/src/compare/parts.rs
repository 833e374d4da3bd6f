//! What each part of the comparison asks of a server: the same of all.

use std::time::Duration;

use serde::Serialize;

use crate::args::{
    Audience, CompareArgs, FanoutArgs, IdleArgs, MaxArgs, PublishArgs, StormArgs, Target, TopicsArgs, Traffic,
};

/// What one load looks like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Shape {
    pub(crate) subscribers: usize,
    pub(crate) topics: usize,
    pub(crate) topics_each: u16,
    pub(crate) rate: f64,
    pub(crate) size: usize,
}

/// All make 100,000 deliveries a second: few connections often, and many seldom.
const SHAPES: [Shape; 2] = [
    Shape { subscribers: 1_000, topics: 1, topics_each: 1, rate: 100.0, size: 100 },
    Shape { subscribers: 10_000, topics: 1, topics_each: 1, rate: 10.0, size: 100 },
];
/// No two subscribers have the same five of twenty topics; each topic has 250.
const SETS: Shape = Shape { subscribers: 1_000, topics: 20, topics_each: 5, rate: 100.0, size: 100 };
const MAX_SUBSCRIBERS: usize = 1_000;
const MAX_SECONDS: Duration = Duration::from_secs(4);
const IDLE_SUBSCRIBERS: usize = 15_000;
const IDLE_SETTLE: Duration = Duration::from_secs(5);
const IDLE_ROUNDS: u16 = 3;
const IDLE_EVENTS: u32 = 50;
const STORM_SUBSCRIBERS: usize = 5_000;
const STORM_MISSED: u32 = 150;
const PUBLISH_TOPICS: usize = 4;
const TOPICS_SUBSCRIBERS: usize = 10_000;
const TOPIC_COUNTS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const TOPIC_DELIVERIES_PER_S: f64 = 20_000.0;
const TOPIC_SECONDS_MAX: Duration = Duration::from_secs(5);

/// The sizes of all parts.
pub(super) struct Plan<'a> {
    args: &'a CompareArgs,
}

impl<'a> Plan<'a> {
    pub(super) fn new(args: &'a CompareArgs) -> Self {
        Self { args }
    }

    /// The usual number, or the share of it that was asked for.
    fn scaled(&self, subscribers: usize) -> usize {
        (subscribers / usize::from(self.args.smaller)).max(10)
    }

    fn traffic(&self, size: usize) -> Traffic {
        Traffic { size, seconds: self.args.seconds, warmup: self.args.warmup, ..Traffic::default() }
    }

    pub(super) fn shapes(&self) -> [Shape; 2] {
        SHAPES.map(|shape| Shape { subscribers: self.scaled(shape.subscribers), ..shape })
    }

    pub(super) fn sets(&self) -> Shape {
        Shape { subscribers: self.scaled(SETS.subscribers), ..SETS }
    }

    pub(super) fn fanout(&self, target: Target, shape: Shape) -> FanoutArgs {
        let Shape { subscribers, topics, topics_each, rate, size } = shape;
        FanoutArgs {
            target,
            traffic: self.traffic(size),
            audience: Audience { subscribers, topics, topics_each },
            rate,
        }
    }

    pub(super) fn max(&self, target: Target) -> MaxArgs {
        MaxArgs {
            target,
            audience: Audience::new(self.scaled(MAX_SUBSCRIBERS), 1),
            rate: 100.0,
            factor: 1.5,
            steps: 24,
            refine: 3,
            p99_ms: 1_000.0,
            achieved: 0.95,
            size: 100,
            seconds: self.args.seconds.min(MAX_SECONDS),
            warmup: self.args.warmup.min(Duration::from_secs(1)),
            pipeline: 64,
        }
    }

    pub(super) fn idle(&self, target: Target) -> IdleArgs {
        IdleArgs {
            target,
            subscribers: self.scaled(IDLE_SUBSCRIBERS),
            topics: 1,
            seconds: IDLE_SETTLE,
            events: IDLE_EVENTS,
            rate: 10.0,
            size: 100,
            rounds: IDLE_ROUNDS,
        }
    }

    pub(super) fn storm(&self, target: Target) -> StormArgs {
        StormArgs {
            target,
            audience: Audience::new(self.scaled(STORM_SUBSCRIBERS), 1),
            missed: STORM_MISSED,
            rate: 1_000.0,
            live_rate: 0.0,
            size: 100,
            catch_up: Duration::from_secs(60),
            rounds: 1,
        }
    }

    pub(super) fn publish(&self, target: Target) -> PublishArgs {
        let traffic = Traffic { pipeline: 16, ..self.traffic(100) };
        PublishArgs { target, traffic, subscribers: 1, topics: PUBLISH_TOPICS, rate: None }
    }

    pub(super) fn topics(&self, target: Target) -> TopicsArgs {
        let traffic = Traffic { seconds: self.args.seconds.min(TOPIC_SECONDS_MAX), ..self.traffic(100) };
        let subscribers = self.scaled(TOPICS_SUBSCRIBERS);
        let counts = TOPIC_COUNTS.into_iter().filter(|count| *count <= subscribers).collect();
        TopicsArgs { target, traffic, subscribers, counts, deliveries: TOPIC_DELIVERIES_PER_S }
    }
}
