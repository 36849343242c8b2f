//! The contract suite: each function is one promise of [`Documents`], checked on an empty store.

pub mod lists;
pub mod rest;
pub mod writes;

/// Calls `$run!(promise)` once for every promise, so that an implementation cannot leave one out.
macro_rules! for_every_promise {
    ($run:ident) => {
        $run! {
            writes::what_is_put_reads_back_as_it_was,
            writes::the_same_batch_again_changes_nothing,
            writes::what_a_crash_left_out_is_completed,
            writes::the_first_result_of_a_frame_and_detector_wins,
            writes::the_first_result_wins_within_a_batch_too,
            writes::a_failure_gives_way_to_a_result,
            writes::another_tenants_result_under_the_same_id_is_ignored,
            writes::ten_thousand_detections_go_in_at_once,
            writes::concurrent_puts_of_the_same_results_agree,
            writes::numbers_that_are_none_do_not_get_in,
            writes::any_text_reads_back_as_it_was,
            lists::pages_have_no_gap_and_no_repeat_under_ties,
            lists::times_closer_than_a_millisecond_keep_their_order,
            lists::oldest_first_pages_by_number,
            lists::frames_come_whole_and_in_pages,
            lists::frames_oldest_first_skip_whole_frames,
            lists::each_filter_of_detections_leaves_out_what_it_should,
            lists::attributes_filter_by_their_value_and_kind,
            lists::each_filter_of_frames_leaves_out_what_it_should,
            lists::alerts_are_listed_and_filtered,
            lists::a_tenant_sees_its_own_and_the_shared,
            rest::counts_group_by_every_field,
            rest::counts_group_by_any_attribute,
            rest::hours_are_counted_in_their_order,
            rest::counts_keep_to_scope_and_filter,
            rest::what_expired_is_not_returned_even_before_it_is_swept,
            rest::a_sweep_deletes_only_what_expired,
            rest::rules_are_made_replaced_and_deleted_by_their_tenant,
            rest::no_two_rules_of_a_tenant_get_the_same_name,
            rest::what_a_tenant_had_is_deleted_and_nothing_else,
            rest::a_store_that_works_says_so,
        }
    };
}
pub(crate) use for_every_promise;
