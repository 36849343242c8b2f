//! The suite: each function is one guarantee of accounts, checked with two instances on an empty database.

pub mod erasure;
pub mod limits;
pub mod links;
pub mod sessions;
pub mod spelling;
pub mod tokens;
pub mod users;

/// Calls `$run!` with the list of all guarantees, so that every database checks each of them.
macro_rules! for_each_guarantee {
    ($run:ident) => {
        $run! {
            users::a_user_signs_in_by_name_or_address_in_any_case,
            users::an_invalid_registration_names_its_field,
            users::a_registration_chooses_no_role_and_no_quota,
            users::a_wrong_password_and_an_unknown_user_are_refused_alike,
            users::a_disabled_user_is_refused_everywhere_within_a_second,
            users::a_deleted_user_is_refused_everywhere_within_a_second,
            users::a_new_admin_signs_in_again_and_sees_everything,
            users::the_operators_user_is_created_once_without_limits,
            users::a_new_password_ends_the_other_sessions,
            users::a_new_address_or_name_requires_the_password,
            users::a_reset_token_sets_a_new_password_once,
            users::a_reset_request_does_not_reveal_whether_a_user_exists,
            users::reset_mails_to_one_user_are_limited,
            users::the_audit_log_has_every_event_and_no_secret,
            users::an_identity_signs_in_one_user,
            users::a_sign_up_signs_in_and_an_address_is_registered_once,
            users::an_identity_with_the_address_of_a_user_must_be_linked,
            users::a_federated_user_gets_a_password_by_mail,
            sessions::a_session_is_renewed_and_listed_and_ended,
            sessions::a_reused_refresh_token_ends_the_session_after_the_grace,
            sessions::of_fifty_concurrent_renewals_one_succeeds,
            sessions::a_revoked_token_is_refused_everywhere_within_a_second,
            sessions::concurrent_sign_outs_take_effect_within_a_second,
            sessions::signing_out_everywhere_spares_later_sign_ins_and_api_tokens,
            sessions::a_sign_in_after_a_reset_is_valid_on_every_instance,
            sessions::an_access_token_expires,
            sessions::introspection_describes_every_kind_of_valid_token,
            sessions::validation_tells_a_valid_token_from_any_other,
            sessions::revoking_a_refresh_token_twice_is_no_error,
            sessions::a_sign_in_may_narrow_its_scopes_and_never_widen_them,
            sessions::a_full_session_stays_full_when_users_get_a_new_scope,
            sessions::without_the_database_tokens_are_refused_once_stale,
            sessions::an_opaque_session_identifies_its_user_until_it_ends,
            sessions::a_key_rotation_refuses_no_token_on_either_instance,
            tokens::an_api_token_allows_its_scopes_until_it_expires,
            tokens::a_deleted_api_token_is_refused_within_a_second,
            tokens::an_api_token_has_no_more_scopes_than_its_maker,
            tokens::the_last_use_of_an_api_token_is_recorded,
            tokens::an_ended_session_creates_no_api_token,
            tokens::malformed_tokens_are_refused_without_an_error,
            erasure::a_failed_deletion_can_be_repeated_and_returns_receipts,
            erasure::erasers_run_after_every_instance_refuses_the_user,
            erasure::the_operators_own_user_is_not_deleted,
            spelling::one_mailbox_is_one_account_in_any_spelling,
            spelling::blanks_around_a_name_do_not_count_at_sign_in,
            spelling::a_password_signs_in_in_any_normalisation,
            spelling::a_reset_by_mail_revokes_api_tokens_everywhere,
            links::a_link_returns_what_it_was_signed_for_until_it_expires,
            links::a_link_is_of_one_kind_and_no_access_token,
            links::a_link_ends_within_a_second_with_its_user,
            limits::of_a_thousand_concurrent_frames_the_quota_is_charged,
            limits::a_frame_is_charged_once_and_a_refused_one_never,
            limits::an_account_without_a_quota_costs_no_write,
            limits::a_changed_quota_applies_at_once,
            limits::a_quota_restarts_with_its_period,
            limits::requests_beyond_the_rate_are_refused_with_a_retry_time,
            limits::guesses_at_an_account_do_not_lock_its_owner_out,
            limits::guesses_from_one_address_are_limited,
            limits::without_a_limit_by_address_accounts_stay_limited,
            limits::registrations_from_one_address_are_limited,
        }
    };
}
pub(crate) use for_each_guarantee;
