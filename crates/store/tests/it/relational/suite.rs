//! The contract suite: each function is one promise of [`store::Relational`], checked by two programs on an empty database.

pub mod credentials;
pub mod quota;
pub mod users;

/// Calls `$run!(promise)` once for every promise, so that a database cannot leave one out.
macro_rules! for_every_promise {
    ($run:ident) => {
        $run! {
            users::a_user_reads_back_as_it_was,
            users::names_and_addresses_are_one_users_in_any_case_of_their_letters,
            users::of_many_who_want_a_name_at_once_one_gets_it,
            users::a_rename_to_anothers_name_is_refused,
            users::the_list_has_no_gap_and_no_repeat_under_ties,
            users::the_search_takes_every_letter_as_itself,
            users::a_cursor_that_a_client_made_up_is_a_place_like_any_other,
            users::a_deleted_user_is_in_no_table_but_the_audit_log,
            users::a_person_at_a_provider_is_one_user,
            users::what_happened_is_listed_newest_first,
            users::migrating_again_changes_nothing,
            credentials::of_fifty_at_once_one_spends_a_refresh_token_and_the_session_lives_on,
            credentials::a_copy_of_a_spent_token_ends_the_session_after_the_grace,
            credentials::a_session_that_ended_is_not_renewed,
            credentials::who_is_shut_out_is_not_signed_in_nor_renewed,
            credentials::a_password_that_was_changed_meanwhile_signs_nobody_in,
            credentials::changing_the_password_ends_the_other_sessions,
            credentials::of_many_at_once_one_spends_a_reset_token,
            credentials::a_new_address_ends_the_reset_tokens_mailed_to_the_one_before,
            credentials::api_tokens_are_found_listed_and_taken_back,
            credentials::no_user_has_more_api_tokens_than_there_may_be,
            credentials::who_reads_revocations_by_number_misses_none,
            credentials::of_many_that_see_no_key_one_adds_it,
            credentials::a_sweep_deletes_only_what_is_over,
            quota::of_a_thousand_at_once_as_many_as_the_quota_are_admitted,
            quota::a_frame_counts_once_however_often_it_is_sent,
            quota::a_refund_gives_back_what_its_own_request_took,
            quota::a_frame_of_the_last_period_does_not_count_again,
            quota::nobody_is_charged_who_is_gone,
            quota::a_user_is_deleted_in_the_midst_of_its_requests,
        }
    };
}
pub(crate) use for_every_promise;
