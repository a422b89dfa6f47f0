//! What every store does. An adapter implements [`Harness`] and runs all of it by [`crate::store_conformance!`].
#![allow(missing_docs, reason = "the names of the tests are sentences")]

pub mod attempts;
pub mod claims;
pub mod config;
pub mod dead_letters;
pub mod feed;
pub mod history;
pub mod paging;
pub mod replays;
mod samples;

use std::sync::Arc;

use async_trait::async_trait;

use crate::Store;

/// How the suite gets at a store.
#[async_trait]
pub trait Harness: Send {
    /// A new store over a new, empty database.
    async fn open(&mut self) -> Arc<dyn Store>;

    /// The store over the database of the last [`Harness::open`], as the next process finds it. `store` is what was
    /// returned there, closed or not; the test has no other reference to it.
    async fn reopen(&mut self, store: Arc<dyn Store>) -> Arc<dyn Store>;
}

/// Runs the suite, one test each, against the [`Harness`] that the expression makes.
#[macro_export]
macro_rules! store_conformance {
    ($harness:expr) => {
        $crate::store_conformance! { @tests $harness;
            config::what_was_written_is_read_back,
            config::what_was_written_before_the_end_is_there_at_the_next_start,
            config::what_changed_since_it_was_read_is_not_replaced,
            config::what_is_not_there_is_not_found,
            config::an_uid_names_one_application,
            config::an_uid_names_one_endpoint_of_an_application,
            config::names_and_hashes_are_taken_once,
            config::an_endpoint_of_another_application_is_not_found,
            config::an_application_takes_its_endpoints_with_it,
            config::archived_event_types_are_listed_only_if_asked_for,
            config::of_many_changes_at_once_to_one_thing_one_wins,
            feed::from_zero_the_feed_shows_all_that_is_there_and_nothing_that_is_gone,
            feed::later_the_feed_shows_only_what_is_newer,
            feed::versions_grow_with_every_change,
            feed::a_removal_is_shown_to_whoever_knew_the_thing,
            feed::a_thing_made_again_under_its_name_is_shown_as_it_is_now,
            feed::no_change_is_hidden_behind_a_later_one,
            feed::a_change_that_failed_is_not_shown,
            feed::who_has_not_heard_of_a_removal_that_is_forgotten_reads_everything_again,
            feed::a_database_is_known_by_its_id,
            paging::applications_come_in_pages_in_both_orders,
            paging::endpoints_come_in_pages_in_both_orders,
            paging::event_types_come_in_pages_in_both_orders,
            paging::tokens_come_in_pages_in_both_orders,
            paging::events_of_one_time_come_in_pages_by_id,
            paging::attempts_of_one_time_come_in_pages_by_id,
            paging::dead_letters_of_one_time_come_in_pages_by_id,
            paging::replays_come_in_pages_in_both_orders,
            history::history_written_twice_is_there_once,
            history::an_event_is_found_by_id_and_by_uid_in_its_application_only,
            history::events_are_found_by_many_ids_at_once_in_their_application_only,
            history::any_byte_comes_back_as_it_was,
            history::events_are_filtered_by_type_channel_and_time,
            history::parts_of_a_fan_out_add_up_and_may_come_before_the_event,
            history::a_batch_with_a_row_that_is_refused_writes_nothing,
            history::a_large_batch_is_written_whole,
            history::old_events_go_in_small_batches_the_oldest_first,
            history::whom_an_event_went_to_goes_with_its_age_also_where_the_event_was_refused,
            attempts::attempts_are_listed_by_event_and_by_endpoint,
            attempts::each_filter_of_attempts_selects,
            attempts::only_the_newest_attempt_of_each_event_to_each_endpoint_is_listed_where_that_is_asked_for,
            attempts::the_latest_attempt_to_each_endpoint_is_the_newest,
            attempts::an_attempt_is_found_in_its_application_and_event_only,
            attempts::an_answer_of_any_bytes_comes_back_as_it_was,
            attempts::old_attempts_go_in_small_batches_the_oldest_first,
            dead_letters::a_dead_letter_kept_twice_is_there_once,
            dead_letters::each_filter_of_dead_letters_selects_and_counts,
            dead_letters::a_dead_letter_says_what_was_deleted_and_is_not_replayable_then,
            dead_letters::a_dead_letter_without_its_payload_is_listed_and_no_replay_selects_it,
            dead_letters::what_was_given_up_is_known_until_a_replay_publishes_it,
            dead_letters::a_dead_letter_is_deleted_once,
            dead_letters::old_dead_letters_go_in_small_batches_the_oldest_first,
            replays::a_replay_comes_back_as_it_was,
            replays::one_of_many_gets_a_replay,
            replays::a_lease_that_ended_is_taken_over,
            replays::an_owner_that_lost_its_lease_cannot_advance,
            replays::progress_is_counted_once_and_marks_what_was_published,
            replays::a_pause_is_seen_by_the_owner_and_ends_its_lease,
            replays::why_a_replay_was_paused_is_kept_until_it_is_resumed,
            replays::the_end_of_a_replay_is_final,
            replays::a_lease_that_is_given_up_is_free_at_once,
            replays::no_generation_is_given_twice,
            replays::what_one_replay_has_in_hand_no_other_gets_until_it_ends,
            replays::the_last_step_of_a_cancelled_replay_is_its_own_until_its_lease_ends,
            replays::what_another_replay_published_first_is_not_taken,
            replays::replays_that_ended_go_in_small_batches_the_oldest_first,
            claims::of_many_at_once_one_gets_the_claim,
            claims::a_claim_is_held_until_its_lease_ends_and_then_taken_over_once,
            claims::who_takes_a_claim_over_is_told_since_when_there_is_one,
            claims::what_is_done_stays_done,
            claims::a_holder_that_lost_its_claim_changes_nothing,
            claims::a_released_claim_is_free,
            claims::old_claims_go_in_small_batches_the_oldest_first,
        }
    };
    (@tests $harness:expr; $($module:ident::$name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::testing::conformance::$module::$name(&mut $harness).await;
            }
        )*
    };
}
