//! The suite: each function is one promise of accounts, checked with two instances on an empty database.

pub mod limits;
pub mod sessions;
pub mod tokens;
pub mod users;

/// Calls `$run!(promise)` once for every promise, so that a database cannot leave one out.
macro_rules! for_every_promise {
    ($run:ident) => {
        $run! {
            users::a_user_signs_in_by_name_or_address_in_any_case,
            users::what_a_registration_lacks_or_has_wrong_is_named,
            users::a_quota_and_a_role_are_never_taken_from_who_registers,
            users::a_wrong_password_and_an_unknown_user_are_refused_alike,
            users::who_is_shut_out_is_refused_everywhere_within_a_second,
            users::a_deleted_user_is_refused_everywhere_within_a_second,
            users::who_becomes_admin_has_to_sign_in_again_and_sees_everything,
            users::the_operators_user_is_made_once_without_limits,
            users::a_new_password_ends_the_other_sessions,
            users::a_new_address_or_name_takes_the_password,
            users::a_mailed_token_sets_a_new_password_once,
            users::asking_for_a_reset_tells_nothing_about_who_there_is,
            users::nobody_is_mailed_more_than_a_few_resets_whoever_asks,
            users::what_happens_to_an_account_is_in_the_audit_log_without_secrets,
            users::an_identity_signs_in_one_user,
            sessions::a_session_is_renewed_and_listed_and_ended,
            sessions::a_spent_token_is_refused_at_once_and_kills_the_session_after_the_grace,
            sessions::of_fifty_at_once_one_renews_and_the_session_lives_on,
            sessions::a_revoked_token_is_refused_everywhere_within_a_second,
            sessions::many_who_sign_out_at_once_are_out_at_once_and_disturb_nobody,
            sessions::signing_out_everywhere_spares_later_sign_ins_and_api_tokens,
            sessions::a_sign_in_right_after_a_reset_is_good_on_every_instance,
            sessions::an_access_token_ends_after_its_time,
            sessions::introspection_tells_every_kind_of_token_and_nothing_of_others,
            sessions::a_sign_in_may_ask_for_less_and_never_gets_more,
            sessions::while_the_database_is_away_tokens_hold_for_a_while_and_then_nothing_does,
            sessions::an_opaque_session_stands_for_its_user_until_it_ends,
            sessions::keys_change_on_both_instances_without_a_refused_token,
            tokens::an_api_token_allows_what_it_names_until_it_ends,
            tokens::an_api_token_that_was_taken_back_is_refused_everywhere_within_a_second,
            tokens::nobody_passes_on_more_than_it_may_itself,
            tokens::the_last_use_is_written_down_in_time,
            tokens::who_was_signed_out_meanwhile_makes_no_api_token,
            tokens::garbage_is_refused_and_never_an_error,
            limits::of_a_thousand_frames_at_once_as_many_as_the_quota_are_charged,
            limits::a_frame_costs_once_and_a_refused_one_nothing,
            limits::an_account_without_a_quota_costs_no_write,
            limits::a_change_of_quota_counts_at_once,
            limits::a_quota_begins_anew_with_its_period,
            limits::requests_beyond_the_rate_are_refused_with_a_time,
            limits::guessing_at_an_account_does_not_shut_its_owner_out,
            limits::guessing_from_one_address_is_slowed_down,
            limits::registering_from_one_address_is_slowed_down,
        }
    };
}
pub(crate) use for_every_promise;
