//! What every log does, as tests that each adapter runs with [`crate::conformance_suite!`].
//!
//! They hold for any number of partitions: order is looked for within a key only, and positions may have gaps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "tests: a name says what holds, and a failure is a panic"
)]

mod compacted;
mod content;
mod finishing;
mod member;
mod reading;
mod trimming;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_model::topics::{Keep, TopicSpec};
use postrider_model::{Group, NewRecord, Topic};

pub use self::compacted::*;
pub use self::content::*;
pub use self::finishing::*;
pub use self::member::Member;
pub use self::reading::*;
pub use self::trimming::*;
use crate::{Durability, Log, Purpose};

/// How an adapter is opened.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A new, empty log with these topics.
    async fn open(&self, topics: Vec<TopicSpec>) -> Arc<dyn Log>;

    /// The same log after its process has ended and begun again.
    async fn reopen(&self, log: Arc<dyn Log>) -> Arc<dyn Log>;

    /// False if finished records are removed by something other than the log's own trimming.
    fn trims(&self) -> bool {
        true
    }
}

/// Reads `A` and `B`.
pub const FIRST: Group = Group("first");
/// Reads `A`.
pub const SECOND: Group = Group("second");
/// Is declared nowhere.
pub const STRANGER: Group = Group("stranger");
/// Kept until both groups have finished.
pub const A: Topic = Topic("a");
/// Kept until the first group has finished.
pub const B: Topic = Topic("b");
/// Compacted.
pub const NEWEST: Topic = Topic("newest");

/// How long anything in here may take: a bound for a broken log, not a measure.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The topics of most tests.
pub fn topics() -> Vec<TopicSpec> {
    let spec = |topic, keep| TopicSpec { topic, keep };
    vec![
        spec(A, Keep::UntilFinished(&[FIRST, SECOND])),
        spec(B, Keep::UntilFinished(&[FIRST])),
        spec(NEWEST, Keep::Newest),
    ]
}

/// `count` records with the values `from`, `from + 1`, …, over `keys` keys in turn.
pub fn numbered(topic: Topic, keys: u64, from: u64, count: u64) -> Vec<NewRecord> {
    (from..from + count)
        .map(|n| NewRecord::new(topic, format!("key-{}", n % keys), n.to_string()))
        .collect()
}

/// Appends as the pipeline does, and must succeed.
pub async fn append(log: &dyn Log, records: Vec<NewRecord>) {
    log.append(records, Durability::Ordered, Purpose::Pipeline)
        .await
        .expect("an append succeeds");
}

/// Runs the whole suite: `conformance_suite!(expression that makes a harness)`.
#[macro_export]
macro_rules! conformance_suite {
    ($harness:expr) => {
        $crate::conformance_suite!(@each $harness;
            records_of_one_key_keep_their_order
            nothing_is_missing_and_nothing_comes_twice_from_many_writers
            two_groups_each_get_everything
            reading_resumes_at_the_watermark_after_reopening
            a_batch_keeps_its_limits
            a_paused_partition_is_silent_until_it_is_resumed
            cancelling_a_read_loses_nothing
            a_heavier_topic_is_read_more_often_and_the_lighter_one_still
            a_reader_that_was_left_behind_joins_the_tail_without_gap_or_repeat
            large_records_are_taken_and_larger_ones_refused_with_all_that_came_along
            empty_and_binary_values_come_back_as_they_went
            headers_keep_their_order_and_repeated_names
            values_that_end_alike_come_back_as_they_went
            an_unknown_topic_is_refused
            a_closed_log_says_so
            positions_and_their_metadata_survive_reopening
            the_watermark_never_goes_back
            outputs_are_there_once_their_positions_are_finished
            an_output_that_is_refused_leaves_its_positions_unfinished
            what_was_given_up_cannot_be_finished_and_giving_it_up_again_is_no_error
            waiting_for_a_group_ends_when_it_has_finished
            lag_counts_what_a_group_has_not_finished
            what_is_acknowledged_can_be_synced
            what_lies_in_a_partition_is_read_without_a_group
            a_trimmed_position_is_reported_and_reading_goes_on
            after_everything_was_trimmed_a_position_is_never_given_out_again
            a_group_that_never_committed_keeps_everything
            a_compacted_topic_gives_the_newest_of_each_key
            a_follower_is_caught_up_once_and_sees_what_is_written_later
        );
    };
    (@each $harness:expr; $($name:ident)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let harness = $harness;
            $crate::testing::conformance::$name(&harness).await;
        }
    )* };
}
