//! The suite: each function checks one guarantee of [`store::Relational`], with two instances on an empty database.

pub mod answers;
pub mod consent;
pub mod credentials;
pub mod face_models;
pub mod faces;
pub mod media_uploads;
pub mod merging;
pub mod quota;
pub mod subjects;
pub mod uploads;
pub mod users;

/// Calls `$run!` with the list of all guarantees, so that both databases check each of them.
macro_rules! for_each_guarantee {
    ($run:ident) => {
        $run! {
            users::a_user_reads_back_as_it_was,
            users::a_name_or_mailbox_belongs_to_one_user,
            users::of_many_concurrent_claims_of_a_name_one_succeeds,
            users::a_rename_to_anothers_name_is_refused,
            users::the_list_has_no_gap_and_no_repeat_under_ties,
            users::the_search_treats_every_character_literally,
            users::a_made_up_cursor_is_a_position_like_any_other,
            users::a_deleted_user_is_in_no_table_but_the_audit_log,
            users::the_tenant_of_a_deleted_user_is_remembered_until_nothing_can_come,
            users::a_federated_identity_belongs_to_one_user,
            users::an_address_is_proven_by_its_provider_or_a_reset,
            users::a_change_of_a_user_has_a_time_and_a_sign_in_is_none,
            users::the_audit_log_is_listed_newest_first,
            users::migrating_again_changes_nothing,
            credentials::of_fifty_concurrent_renewals_one_spends_the_token,
            credentials::a_reused_token_ends_the_session_after_the_grace,
            credentials::an_ended_session_is_not_renewed,
            credentials::a_disabled_user_neither_signs_in_nor_renews,
            credentials::a_password_changed_meanwhile_does_not_sign_in,
            credentials::changing_the_password_ends_the_other_sessions,
            credentials::of_many_concurrent_resets_one_spends_the_token,
            credentials::a_new_address_ends_earlier_reset_tokens,
            credentials::api_tokens_are_found_listed_and_deleted,
            credentials::a_user_has_at_most_the_allowed_api_tokens,
            credentials::reading_revocations_by_number_misses_none,
            credentials::of_many_instances_without_a_key_one_adds_it,
            credentials::a_sweep_deletes_only_expired_rows,
            media_uploads::a_media_upload_reads_back_as_it_was,
            media_uploads::of_two_writers_of_an_upload_the_later_one_records,
            media_uploads::an_offset_follows_from_what_is_recorded,
            media_uploads::a_complete_upload_takes_nothing_more,
            media_uploads::an_expired_upload_ends_in_the_media_store_too,
            media_uploads::the_object_of_an_ended_upload_is_deleted,
            quota::of_a_thousand_concurrent_charges_the_quota_is_admitted,
            quota::a_frame_counts_once_however_often_it_is_sent,
            quota::a_refund_gives_back_its_own_charge,
            quota::a_frame_of_the_last_period_does_not_count_again,
            quota::a_deleted_user_is_not_charged,
            quota::a_user_is_deleted_during_its_requests,
            subjects::a_subject_reads_back_as_it_was,
            subjects::no_subject_is_added_for_a_disabled_or_deleted_user,
            subjects::an_external_id_belongs_to_one_subject_of_a_tenant,
            subjects::subjects_are_listed_without_gap_or_repeat,
            subjects::subjects_are_read_by_their_ids,
            subjects::a_tenant_has_no_more_subjects_than_its_limit,
            subjects::concurrent_additions_do_not_exceed_the_limit,
            faces::what_is_too_large_is_refused,
            faces::versions_become_visible_in_order,
            faces::a_deleted_subject_is_found_by_nobody_from_then_on,
            faces::no_vector_outlives_its_subject,
            faces::one_face_is_removed_for_all_models_and_no_other,
            faces::another_tenants_faces_are_out_of_reach,
            faces::a_tenants_faces_are_erased_as_a_whole,
            faces::removals_are_swept_after_their_time,
            merging::a_merge_moves_the_vectors_of_all_models,
            merging::of_faces_with_the_same_vector_one_stays,
            merging::deleted_and_merged_subjects_are_remembered_until_they_are_forgotten,
            consent::vectors_end_with_the_consent_of_their_subject,
            consent::without_a_valid_consent_no_vector_is_added,
            consent::without_a_valid_consent_no_source_is_recorded,
            consent::everybody_without_a_recorded_consent_is_counted_and_listed,
            consent::a_merge_neither_gives_nor_loses_a_consent,
            consent::a_consent_that_was_never_recorded_can_be_withdrawn,
            face_models::a_switch_waits_for_every_face_of_every_tenant,
            face_models::subjects_without_a_face_hold_up_a_switch,
            face_models::one_process_makes_vectors_until_its_lease_ends,
            face_models::a_face_for_a_model_that_does_not_compare_is_refused,
            face_models::a_face_that_was_deleted_meanwhile_gets_no_vector,
            face_models::a_gap_ends_with_its_face,
            face_models::a_model_is_switched_and_back_under_searches,
            uploads::the_first_upload_enrols_and_later_ones_must_match,
            uploads::a_user_whose_face_is_deleted_alone_enrols_again,
            uploads::an_upload_that_is_delivered_again_keeps_its_outcome,
            uploads::a_second_copy_of_an_upload_changes_nothing,
            uploads::of_many_concurrent_first_uploads_one_enrols,
            uploads::a_disabled_or_deleted_user_gets_no_vector,
            uploads::a_face_of_another_model_is_not_compared,
            uploads::a_user_sees_the_latest_outcome_of_its_own,
            uploads::a_shown_outcome_ends_with_the_face_the_user_and_its_time,
            uploads::outcomes_are_kept_as_long_as_a_message_can_come_again,
            answers::every_change_of_a_users_faces_ends_the_cached_answer,
            answers::an_answer_is_used_until_it_is_forgotten,
            answers::an_answer_from_before_a_change_is_not_cached_after_it,
            answers::without_its_cache_the_database_answers,
        }
    };
}
pub(crate) use for_each_guarantee;
