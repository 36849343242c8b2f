//! The contract suite of [`store::Documents`]: each function checks one guarantee on an empty store.

pub mod counts;
pub mod expiry;
pub mod operations;
pub mod queries;
pub mod recognitions;
pub mod rules;
pub mod streams;
pub mod watchlists;
pub mod writes;

/// Passes the list of all tests to `$run!`, so that an implementation cannot leave one out.
macro_rules! for_each_contract_test {
    ($run:ident) => {
        $run! {
            writes::stored_results_read_back_unchanged,
            writes::a_repeated_batch_changes_nothing,
            writes::a_repeated_batch_completes_a_partial_write,
            writes::the_first_result_of_a_frame_and_detector_wins,
            writes::the_first_result_wins_within_a_batch,
            writes::a_result_replaces_a_failure,
            writes::a_result_of_another_tenant_with_the_same_id_is_ignored,
            writes::ten_thousand_detections_fit_in_one_batch,
            writes::concurrent_puts_of_the_same_results_agree,
            writes::non_finite_numbers_are_refused,
            writes::any_text_reads_back_unchanged,
            queries::pages_with_equal_times_have_no_gap_or_repeat,
            queries::sub_millisecond_times_keep_their_order,
            queries::oldest_first_pages_skip_by_number,
            queries::frame_pages_never_split_a_frame,
            queries::oldest_first_frames_skip_whole_frames,
            queries::each_detection_filter_selects_only_matches,
            queries::attribute_filters_match_value_and_type,
            queries::each_frame_filter_selects_only_matches,
            queries::alerts_are_listed_and_filtered,
            queries::a_tenant_sees_its_own_and_shared_data,
            counts::counts_group_by_every_field,
            counts::counts_group_by_any_attribute,
            counts::numbers_that_differ_in_any_digit_are_separate_groups,
            counts::hours_are_listed_in_order,
            counts::counts_respect_scope_and_filter,
            expiry::expired_documents_are_hidden_before_the_sweep,
            expiry::a_sweep_deletes_only_expired_documents,
            expiry::strangers_expire_before_the_others,
            recognitions::a_forgotten_subject_is_on_no_detection_alert_or_image,
            recognitions::a_subject_on_many_detections_is_forgotten_in_batches,
            recognitions::forgetting_goes_on_where_it_was_interrupted,
            recognitions::only_the_image_of_its_own_frame_is_found_with_a_subject,
            recognitions::a_rejected_detection_has_no_subject_until_that_is_taken_back,
            recognitions::a_forgotten_subject_is_not_remembered_by_rejections,
            recognitions::alerts_of_a_rejected_detection_follow_it,
            recognitions::an_alert_that_is_stored_after_a_rejection_follows_it,
            rules::a_tenant_creates_replaces_and_deletes_its_rules,
            rules::rule_names_are_unique_within_a_tenant,
            rules::a_changed_rule_does_not_return_after_its_deletion,
            streams::a_tenant_sets_lists_and_deletes_its_streams,
            streams::a_stream_has_a_retention_of_its_own,
            streams::settings_reports_and_frames_of_a_stream_keep_each_other,
            streams::frames_that_are_recorded_at_the_same_time_are_all_counted,
            streams::a_stream_without_settings_expires_after_a_week,
            streams::a_tenant_has_at_most_as_many_streams_as_allowed,
            streams::a_new_report_displaces_only_a_stream_that_was_silent_for_a_day,
            streams::frames_with_results_are_told_from_others,
            watchlists::a_tenant_sets_changes_and_deletes_its_watchlists,
            watchlists::a_subject_leaves_the_watchlists_of_its_tenant,
            watchlists::watchlists_and_their_subjects_are_bounded,
            watchlists::every_change_of_a_watchlist_has_another_revision,
            operations::deleting_a_tenant_deletes_only_its_documents,
            operations::a_working_store_passes_its_check,
        }
    };
}
pub(crate) use for_each_contract_test;
