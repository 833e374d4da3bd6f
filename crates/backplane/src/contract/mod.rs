//! What every backplane keeps, as checks that an implementation runs in its own tests: it implements [`Harness`], and
//! [`contract_tests!`](crate::contract_tests) makes one test of each check.
//!
//! A check knows nothing but the trait and the signals. It asks the harness for a hub of its own, waits for what must
//! come with a deadline, and proves that something does *not* come by what stands behind it in the stream, since nothing
//! promises that things happen at once.
//!
//! * [`publishing`]: ids, links, answers, content, idempotency keys.
//! * [`following`]: what is told to a node, and what is not.
//! * [`handover`]: how a join divides history from what comes live, while publishers are at work.
//! * [`history`]: reading, and knowing exactly what is lost.
//! * [`directory`]: topics and totals.
//!
//! Whatever a check is about, `Node::settle` also makes sure that nothing in the stream goes backwards.

pub mod directory;
pub mod following;
pub mod handover;
pub mod history;
mod node;
pub mod publishing;
mod traffic;

use std::{sync::Arc, time::Duration};

use towncrier_wire::Partitions;

use crate::{Backplane, Signals};

/// The hub that a check wants.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// How many partitions.
    pub partitions: Partitions,
    /// Most events that are kept of each topic.
    pub history_events: usize,
    /// How long an event is kept.
    pub history_age: Duration,
    /// How much may wait in the signals; an implementation that has no such bound may ignore it.
    pub signal_bytes_max: usize,
}

impl Setup {
    /// A hub in which nothing is lost while a check runs.
    #[must_use]
    pub fn roomy(partitions: usize) -> Self {
        Self {
            partitions: Partitions::new(partitions).expect("a number of partitions"),
            history_events: 100_000,
            history_age: Duration::from_secs(3600),
            signal_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Starts backplanes of one kind.
pub trait Harness: Sync {
    /// Starts an empty hub that nobody else uses, and gives one node's end of it. It remembers idempotency keys for at
    /// least a minute, and takes events of at least 1 MiB.
    fn start(&self, setup: Setup) -> impl Future<Output = (Arc<dyn Backplane>, Signals)> + Send;
}

/// Makes a `#[tokio::test]` of each check of the [contract](crate::contract), for the harness that the expression gives.
/// The crate that calls it needs `tokio` with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! contract_tests {
    ($harness:expr) => {
        $crate::contract_tests! { @each $harness;
            publishing {
                ids_rise_within_a_partition,
                publishers_at_the_same_time_share_no_id,
                a_batch_is_answered_in_its_order,
                each_event_names_the_one_before_it_on_its_topic,
                what_is_published_comes_back_unchanged,
                a_trace_goes_along_with_its_event_and_no_other,
                a_key_takes_effect_once,
                a_key_used_by_many_at_once_takes_effect_once,
                a_key_counts_once_within_a_batch,
                a_key_belongs_to_its_topic,
                a_key_outlives_the_event,
            }
            following {
                a_join_is_answered_once_with_the_newest_ids,
                joins_at_the_same_time_are_answered_each,
                only_what_fits_is_told,
                what_fits_several_selectors_is_told_once,
                joining_again_is_answered_and_doubles_nothing,
                leaving_stops_what_is_told,
                leaving_keeps_what_another_selector_wants,
                leaving_what_was_not_joined_changes_nothing,
                a_quiet_node_learns_how_far_it_is,
                heads_keep_their_place_among_events,
                a_node_that_does_not_read_loses_nothing,
            }
            handover {
                heads_divide_history_from_live,
                a_pattern_is_divided_in_every_partition,
                a_session_that_comes_and_goes_gets_everything_once,
            }
            history {
                what_was_answered_can_be_read,
                a_read_gives_what_came_after_an_id,
                a_read_stops_at_its_limit_and_tells_of_more,
                a_topic_without_events_has_lost_nothing,
                a_topic_keeps_its_newest_events_and_names_the_newest_lost,
                clearing_takes_all_and_is_told_as_a_loss,
                events_expire_by_age,
                the_floor_is_above_all_that_came_before,
            }
            directory {
                topics_come_in_order_page_by_page,
                topics_are_found_by_prefix,
                a_topic_tells_what_it_holds,
                totals_count_everything_held,
            }
        }
    };
    (@each $harness:expr; $($group:ident { $($check:ident,)* })*) => {
        $(mod $group {
            #[allow(unused_imports, reason = "the harness may be given by a full path")]
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                $crate::contract::$group::$check(&$harness).await;
            })*
        })*
    };
}
