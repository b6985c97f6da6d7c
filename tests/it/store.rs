//! What every store must hold, whatever it is made of: one suite, run on each adapter.
//!
//! A new adapter implements [`Harness`] and adds one `conformance!` line. The promises are those of
//! `braze_relay::store`; each is one named test, and random histories are played against the plain map besides.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

mod accepting;
mod committing;
mod copying;
mod counting;
mod forgetting;
mod histories;
mod jobs;
mod leasing;
mod letters;
mod material;
mod on_map;
mod on_sled;
mod papers;
mod replays;
mod restarting;
mod turns;

use std::future::Future;

use braze_relay::store::entry::Entry;
use braze_relay::store::{Operate, Settings, Store, StoreError};

/// A store under test, together with whatever it needs to stand (a folder, threads).
trait Harness: Sized {
    /// The adapter.
    type S: Store + Operate;
    /// How many random histories are played: as many as take about three seconds.
    const HISTORIES: u32;

    /// An empty store.
    async fn open(settings: Settings) -> Self;

    /// A store with these settings, of what another one told.
    async fn import(
        settings: Settings,
        secret: [u8; 32],
        entries: Vec<Entry>,
    ) -> Result<Self, StoreError>;

    /// A handle on it as it stands now. Handles from before a reopening are of no use any more.
    fn store(&self) -> Self::S;

    /// The process dies without a word, and the store is opened again with the same settings.
    async fn crash_and_reopen(&mut self);

    /// The store is closed as a clean stop does it, and opened again with the same settings.
    async fn close_and_reopen(&mut self);
}

/// Runs one promise to its end.
fn hold(promise: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(promise);
}

macro_rules! conformance {
    ($adapter:ident, $harness:ty) => {
        conformance! { @ $adapter, $harness;
            accepting {
                an_empty_call_stores_nothing
                ids_grow_in_order_of_acceptance_even_when_the_clock_goes_back
                the_same_key_again_is_a_duplicate_and_shows_the_first_id
                a_duplicate_within_a_call_is_found_too
                the_same_key_with_other_content_is_a_duplicate
                a_key_counts_within_source_scope_and_participant
                a_key_is_forgotten_when_its_time_is_over_and_its_jobs_are_done
                a_derived_key_is_remembered_for_a_time_of_its_own
                a_key_is_remembered_while_a_job_lives_or_is_dead
                a_key_is_remembered_while_its_job_waits_beside_others
                a_further_participation_starts_what_further_says
                a_further_participation_is_seen_within_one_call
                only_participations_of_the_same_source_scope_and_participant_make_one_further
                a_forgotten_participation_makes_none_further
                an_event_that_starts_buried_is_a_dead_letter_at_once
                a_full_queue_takes_nothing_new_but_knows_duplicates
                records_of_any_size_and_script_come_back_as_they_were
            }
            leasing {
                only_due_jobs_of_the_lane_are_lent
                a_lent_job_is_not_lent_again_until_it_is_given_back
                fresh_jobs_go_in_order_of_acceptance_whenever_they_were_due
                jobs_accepted_together_go_before_one_accepted_later
                failed_jobs_go_in_order_of_their_due_time
                failed_work_gets_a_quarter_and_what_fresh_work_leaves
                failed_work_gets_its_quarter_however_little_is_lent_at_a_time
                next_due_tells_the_earliest_job_that_is_not_lent
                a_begun_job_stays_lent_and_keeps_its_mark_until_a_commit
                a_lost_lease_neither_begins_nor_gives_back
                whoever_waits_for_a_lane_is_woken_by_whatever_brings_work
            }
            committing {
                a_kept_job_is_as_it_was_committed
                a_finished_job_is_gone
                a_buried_job_is_a_dead_letter_with_everything
                a_token_is_good_for_one_commit
                a_commit_without_a_lease_stores_nothing_of_it
                every_move_of_a_call_has_its_own_answer
                a_child_runs_under_the_event_of_its_parent
                a_number_is_spawned_once_even_when_its_job_is_done
                a_dying_job_may_leave_children
                once_is_kept_per_participant_whatever_the_event
                once_is_forgotten_when_its_time_is_over_and_its_job_is_done
                once_is_remembered_while_its_job_lives_or_is_dead
                what_a_job_held_once_is_free_for_its_own_child_when_it_ends
                an_event_is_done_when_all_its_jobs_are
            }
            letters {
                letters_are_listed_in_order_and_page_by_page
                letters_are_filtered_by_what_they_are
                a_letter_is_found_by_its_id
                a_revived_job_lives_again_under_its_id
                only_dead_letters_are_revived_and_each_once
                a_letter_buried_anew_keeps_its_job
                a_revival_is_not_refused_when_the_queue_is_full
                an_old_letter_is_discarded_and_its_key_forgotten
            }
            jobs {
                jobs_are_listed_page_by_page_wherever_they_stand
                jobs_are_told_in_the_state_they_are_in
                jobs_are_filtered_by_what_they_are
                a_participants_jobs_are_found_without_looking_at_others
                whatever_lies_far_behind_is_found_slice_by_slice
                a_job_that_moves_between_two_pages_is_told_once
            }
            replays {
                a_discarded_letter_is_gone_and_counted_and_its_key_remembered_no_longer_than_done
                a_replay_counts_what_lives_what_is_spawned_what_is_delivered_and_what_dies
                a_job_buried_with_its_creation_has_died_in_its_replay
                the_counts_of_the_last_replays_are_kept
                what_belongs_to_a_replay_never_goes_before_fresh_work
                what_is_noted_of_letters_is_written_with_what_becomes_of_them
                letters_are_filtered_by_class_time_participant_and_words
            }
            papers {
                papers_are_found_by_their_names_from_either_end
                a_paper_is_written_anew_and_taken_away
                papers_are_there_after_a_crash_and_when_the_queue_is_full
            }
            counting {
                a_job_is_waiting_then_ready_then_in_flight
                a_lane_counts_what_is_due_lent_or_not
                an_unknown_workspace_is_counted_as_none
                what_is_done_is_counted_by_group_and_outcome
                dead_letters_are_counted_by_group_and_reason
                a_commit_with_children_moves_the_counts_in_one_step
                commit_numbers_grow_with_every_write
            }
            forgetting {
                everything_of_a_person_goes_wherever_it_stands
                a_forgotten_event_that_comes_again_is_a_duplicate_and_credits_nothing
                what_a_lent_job_learns_after_its_person_was_forgotten_is_not_kept
                only_what_is_in_the_workspace_goes_when_one_is_named
                what_was_done_or_discarded_stays_counted_so
                a_timeline_tells_what_has_ended_too_the_newest_first_and_of_nobody_else
                a_long_life_goes_slice_by_slice_and_nobody_else_with_it
                an_older_one_behind_a_lent_holder_goes_too
                nothing_that_comes_in_the_same_moment_brings_somebody_back
                a_removal_under_way_is_left_alone_and_its_letter_is_not
                somebody_is_found_by_phone_and_by_what_nameless_leads_say
                whoever_has_the_same_name_by_another_brand_or_key_is_left_alone
                updates_lent_along_with_a_forgotten_holder_are_lost_with_it
            }
            restarting {
                what_was_lent_is_due_again
                a_token_from_before_is_lost_even_when_the_job_is_lent_again
                counts_are_the_same_as_before
                everything_remembered_is_still_remembered
                jobs_and_letters_are_as_they_were_to_the_byte
                order_and_due_times_are_as_they_were
                what_was_noted_of_a_budget_is_found_by_the_next_process
                a_complete_budget_is_complete_for_one_opening
            }
            copying {
                an_empty_store_is_copied_into_an_empty_store
                what_is_copied_is_there_again_to_the_byte
                a_copy_taken_while_the_queue_is_worked_tells_what_stands_at_its_end
                a_later_copy_breaks_an_earlier_one_off
                an_export_that_lacks_something_is_refused
            }
            turns {
                one_job_of_a_participant_goes_at_a_time_in_order_of_acceptance
                the_turn_passes_when_its_holder_ends_dies_or_goes_on_without_it
                a_kept_holder_keeps_the_turn_retries_included
                the_next_one_is_due_after_the_gap_and_never_before_its_own_time
                whoever_waits_for_a_lane_is_woken_when_a_turn_passes_to_it
                those_that_follow_a_creation_that_died_are_buried_with_it
                only_the_end_of_a_turn_buries_those_behind
                a_revived_job_goes_before_whoever_is_younger_and_not_lent
                one_who_is_lent_keeps_the_turn_until_it_ends
                a_child_takes_its_place_before_the_turn_of_its_parent_ends
                a_job_that_comes_to_take_the_turn_takes_its_place_by_its_id
                turns_hold_between_calls_that_come_at_once
                turns_are_the_same_after_a_restart
                updates_of_one_participant_are_lent_along_in_order
                only_what_follows_in_the_same_lane_is_lent_along
                those_lent_along_are_committed_like_others
                one_lent_along_gets_the_turn_while_it_is_out
                one_lent_along_and_buried_with_the_first_has_lost_its_lease
                what_was_learnt_of_a_participant_is_lent_with_its_jobs
                what_was_learnt_is_believed_for_so_long_and_longer_when_it_was_learnt_again
            }
        }
    };
    (@ $adapter:ident, $harness:ty; $($part:ident { $($promise:ident)* })*) => {
        mod $adapter {
            $(mod $part {
                $(#[test]
                fn $promise() {
                    crate::store::hold(crate::store::$part::$promise::<$harness>());
                })*
            })*

            #[test]
            fn random_histories_agree_with_the_plain_map_and_lose_nothing() {
                crate::store::histories::agree_with_the_plain_map::<$harness>();
            }
        }
    };
}

conformance!(map, crate::store::on_map::MapHarness);
conformance!(sled, crate::store::on_sled::SledHarness);
