//! Users: registration, passwords, resets, roles.

use accounts::{
    AccessError, AccountError, Accounts, Actor, FederatedIdentity, Mail, Profile, Registration, Scope, SecretText,
    Settings, UserAccess,
};
use store::relational::{AccessChange, Identity, Role, UserLimit};

use crate::test_accounts::{PASSWORD, TestAccounts, home_origin, origin_from, registration, settings, sign_in};

pub async fn a_user_signs_in_by_name_or_address_in_any_case(accounts: &mut TestAccounts) {
    let ann = accounts.register("Ann").await;
    for login in ["Ann", "aNN", "ann@example.org", "ANN@EXAMPLE.ORG"] {
        let tokens = sign_in(&accounts.other, login, PASSWORD).await.unwrap();
        let caller = accounts.one.authenticate(tokens.access_token.expose()).await.unwrap();
        assert_eq!((caller.user, &caller.tenant, caller.session), (Some(ann.id), &ann.tenant, Some(tokens.session)));
        assert!(!caller.reads_all_tenants && !caller.may(Scope::Admin) && caller.may(Scope::FramesWrite));
        assert_eq!(caller.rate_limit, Some(10));
        assert!(caller.valid_until.is_some());
    }
    assert!(accounts.one.user(ann.id).await.unwrap().last_sign_in_at.is_some());
    let renamed = Profile {
        username: Some("anna".to_owned()),
        full_name: Some("Ann O.".to_owned()),
        present_password: password(),
        ..Profile::default()
    };
    let user = accounts.one.change_profile(ann.id, &renamed, &home_origin()).await.unwrap();
    assert_eq!((user.username.as_deref(), user.full_name.as_deref()), (Some("anna"), Some("Ann O.")));
    assert_eq!(sign_in(&accounts.one, "Ann", PASSWORD).await.unwrap_err(), AccountError::WrongPassword);
    sign_in(&accounts.one, "anna", PASSWORD).await.unwrap();
}

pub async fn an_invalid_registration_names_its_field(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let with = |change: fn(&mut Registration)| {
        let mut new = registration("bob");
        change(&mut new);
        new
    };
    let wrong = [
        ("email", with(|new| (new.email, new.username) = (None, None))),
        ("email", with(|new| new.email = Some("nowhere".to_owned()))),
        ("username", with(|new| new.username = Some("bob@home".to_owned()))),
        ("full_name", with(|new| new.full_name = Some("Bob\0".to_owned()))),
        ("password", with(|new| new.password = None)),
        ("password", with(|new| new.password = Some(SecretText::new("short")))),
        ("password", with(|new| new.password = Some(SecretText::new("password1")))),
        ("password", with(|new| new.password = Some(SecretText::new("bob@example.org")))),
        ("password", with(|new| new.password = Some(SecretText::new("x".repeat(129))))),
    ];
    for (field, new) in wrong {
        let refused = accounts.one.register(&new, UserAccess::default(), &Actor::default()).await.unwrap_err();
        assert!(
            matches!(&refused, AccountError::Invalid { field: named, .. } if *named == field),
            "{new:?}: {refused:?}"
        );
    }
    let taken = async |new: Registration| {
        accounts.other.register(&new, UserAccess::default(), &Actor::default()).await.unwrap_err()
    };
    assert_eq!(taken(Registration { email: None, ..registration("ANN") }).await, AccountError::UsernameTaken);
    assert_eq!(taken(Registration { username: None, ..registration("ANN") }).await, AccountError::EmailTaken);
    let (cem, rename) = (
        accounts.register("cem").await,
        Profile { username: Some("aNn".to_owned()), present_password: password(), ..Profile::default() },
    );
    let refused = accounts.one.change_profile(cem.id, &rename, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::UsernameTaken);
}

pub async fn a_registration_chooses_no_role_and_no_quota(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    assert_eq!((ann.role, ann.quota, ann.rate_limit), (Role::User, UserLimit::Configured, UserLimit::Configured));
    let caller = accounts.caller("ann").await;
    assert_eq!(accounts.one.quota(&caller).await.unwrap().limit, Some(100));
}

pub async fn a_wrong_password_and_an_unknown_user_are_refused_alike(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let nul = "a\0b";
    let long = "x".repeat(5000);
    for (login, password) in [
        ("ann", "lamp ostrich kettlf"),
        ("ann", ""),
        ("ann", long.as_str()),
        ("bob", PASSWORD),
        ("", PASSWORD),
        (nul, PASSWORD),
        (long.as_str(), PASSWORD),
        ("' OR 1=1 --", PASSWORD),
    ] {
        assert_eq!(
            sign_in(&accounts.one, login, password).await.unwrap_err(),
            AccountError::WrongPassword,
            "{login:?}"
        );
    }
}

pub async fn a_disabled_user_is_refused_everywhere_within_a_second(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    let caller = accounts.one.authenticate(tokens.access_token.expose()).await.unwrap();
    let (_, api_token) =
        accounts.one.add_api_token(&caller, "gate", &[Scope::FramesWrite], None, &Actor::default()).await.unwrap();
    accounts.assert_accepted(&tokens.access_token).await;
    accounts.assert_accepted(&api_token).await;

    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    accounts.one.change_access(ann.id, &disable, &Actor::default()).await.unwrap();

    accounts.assert_refused_within_a_second(&tokens.access_token).await;
    accounts.assert_refused_within_a_second(&api_token).await;
    assert_eq!(sign_in(&accounts.one, "ann", PASSWORD).await.unwrap_err(), AccountError::WrongPassword);
    let refused = accounts.one.refresh(&tokens.refresh_token, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);

    let enable = AccessChange { disabled: Some(false), ..AccessChange::default() };
    accounts.other.change_access(ann.id, &enable, &Actor::default()).await.unwrap();
    let again = accounts.sign_in("ann").await;
    accounts.assert_accepted(&again.access_token).await;
    testing::eventually("the API token is valid again", async || {
        accounts.one.authenticate(api_token.expose()).await.is_ok()
    })
    .await;
}

pub async fn a_deleted_user_is_refused_everywhere_within_a_second(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    accounts.assert_accepted(&tokens.access_token).await;
    accounts.other.delete_user(ann.id, &Actor::default()).await.unwrap();
    accounts.assert_refused_within_a_second(&tokens.access_token).await;
    assert_eq!(accounts.one.user(ann.id).await.unwrap_err(), AccountError::NotFound("user"));
    let again = accounts.register("ann").await;
    assert_ne!(again.tenant, ann.tenant, "the name has a new tenant");
}

pub async fn a_new_admin_signs_in_again_and_sees_everything(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let before = accounts.sign_in("ann").await;
    let admin = AccessChange { role: Some(Role::Admin), ..AccessChange::default() };
    accounts.one.change_access(ann.id, &admin, &Actor::default()).await.unwrap();
    accounts.assert_refused_within_a_second(&before.access_token).await;

    let caller = accounts.caller("ann").await;
    assert!(caller.reads_all_tenants && caller.may(Scope::Admin));
    let scopes = [Scope::DetectionsRead];
    let (_, token) = accounts.one.add_api_token(&caller, "stats", &scopes, None, &Actor::default()).await.unwrap();
    let program = accounts.other.authenticate(token.expose()).await.unwrap();
    assert!(!program.reads_all_tenants && program.scopes == scopes, "a token without the scope `admin` does not");

    let user = AccessChange { role: Some(Role::User), ..AccessChange::default() };
    accounts.one.change_access(ann.id, &user, &Actor::default()).await.unwrap();
    assert!(!accounts.caller("ann").await.reads_all_tenants);
}

pub async fn the_operators_user_is_created_once_without_limits(accounts: &mut TestAccounts) {
    let taken = accounts.one.register(&registration("Admin"), UserAccess::default(), &Actor::default()).await;
    assert_eq!(taken.unwrap_err(), AccountError::UsernameTaken, "the name is reserved");
    let ann = accounts.register("ann").await;
    let rename = Profile { username: Some("ADMIN".to_owned()), present_password: password(), ..Profile::default() };
    let taken = accounts.one.change_profile(ann.id, &rename, &home_origin()).await;
    assert_eq!(taken.unwrap_err(), AccountError::UsernameTaken);
    let (one, other) = tokio::join!(accounts.one.operator(), accounts.other.operator());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one, other);
    assert_eq!(one.tenant, contracts::TenantId::admin());
    assert_eq!((one.role, one.quota, one.rate_limit), (Role::Admin, UserLimit::Unlimited, UserLimit::Unlimited));
    assert_eq!(sign_in(&accounts.one, "admin", "").await.unwrap_err(), AccountError::WrongPassword);
    accounts.one.set_password(one.id, &SecretText::new(PASSWORD), &Actor::default()).await.unwrap();
    let caller = accounts.caller("admin").await;
    assert!(caller.reads_all_tenants && caller.rate_limit.is_none());
}

pub async fn a_new_password_ends_the_other_sessions(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let (kept, ended) = (accounts.sign_in("ann").await, accounts.sign_in("ann").await);
    let (present, new) = (SecretText::new(PASSWORD), SecretText::new("another kettle lamp"));
    let keep = Some(kept.session);
    let wrong = accounts.one.change_password(ann.id, &new, &new, keep, &home_origin()).await;
    assert_eq!(wrong.unwrap_err(), AccountError::WrongPresentPassword);
    let common =
        accounts.one.change_password(ann.id, &present, &SecretText::new("ann@example.org"), keep, &home_origin()).await;
    assert!(matches!(common, Err(AccountError::Invalid { field: "password", .. })), "{common:?}");
    accounts.assert_accepted(&ended.access_token).await;

    accounts.one.change_password(ann.id, &present, &new, keep, &home_origin()).await.unwrap();

    accounts.assert_refused_within_a_second(&ended.access_token).await;
    let refused = accounts.other.refresh(&ended.refresh_token, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    let renewed = accounts.other.refresh(&kept.refresh_token, &home_origin()).await.unwrap();
    accounts.assert_accepted(&renewed.access_token).await;
    assert_eq!(sign_in(&accounts.one, "ann", PASSWORD).await.unwrap_err(), AccountError::WrongPassword);
    sign_in(&accounts.one, "ann", new.expose()).await.unwrap();
}

/// The token in the last mail, once there are `many`.
async fn mailed(accounts: &TestAccounts, many: usize) -> SecretText {
    token_in(accounts.mails.after(many).await.last().unwrap())
}

fn token_in(mail: &Mail) -> SecretText {
    let (_, rest) = mail.text.split_once("#token=").unwrap();
    SecretText::new(rest.split_whitespace().next().unwrap())
}

/// The usual password, for a change that requires it.
fn password() -> Option<SecretText> {
    Some(SecretText::new(PASSWORD))
}

pub async fn a_new_address_or_name_requires_the_password(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let change = async |change: &Profile, password: Option<&str>| {
        let change = Profile { present_password: password.map(SecretText::new), ..change.clone() };
        accounts.one.change_profile(ann.id, &change, &home_origin()).await
    };
    let moved = Profile { email: Some("ann@example.com".to_owned()), ..Profile::default() };
    let renamed = Profile { username: Some("anna".to_owned()), ..Profile::default() };
    for wanted in [&moved, &renamed] {
        let refused = change(wanted, None).await;
        assert!(matches!(refused, Err(AccountError::Invalid { field: "present_password", .. })), "{refused:?}");
        assert_eq!(change(wanted, Some("another password")).await.unwrap_err(), AccountError::WrongPresentPassword);
        assert_eq!(accounts.one.user(ann.id).await.unwrap(), ann);
    }
    assert_eq!(change(&moved, Some(PASSWORD)).await.unwrap().email.as_deref(), Some("ann@example.com"));
    assert_eq!(change(&renamed, Some(PASSWORD)).await.unwrap().username.as_deref(), Some("anna"));
    let named = Profile { full_name: Some("Ann".to_owned()), ..Profile::default() };
    change(&named, None).await.expect("a full name requires no password");
}

pub async fn a_reset_token_sets_a_new_password_once(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    accounts.one.request_reset("ANN@example.org", &home_origin()).await.unwrap();
    let (token, new) = (mailed(accounts, 1).await, SecretText::new("another kettle lamp"));
    assert_eq!(accounts.mails.after(1).await[0].to, "ann@example.org");
    let common = accounts.other.reset_password(&token, &SecretText::new("password1"), &home_origin()).await;
    assert!(matches!(common, Err(AccountError::Invalid { field: "password", .. })), "{common:?}");

    accounts.other.reset_password(&token, &new, &home_origin()).await.unwrap();

    accounts.assert_refused_within_a_second(&tokens.access_token).await;
    sign_in(&accounts.one, "ann", new.expose()).await.unwrap();
    let again = accounts.one.reset_password(&token, &SecretText::new("a third lamp kettle"), &home_origin()).await;
    assert_eq!(again.unwrap_err(), AccountError::InvalidReset);

    accounts.one.request_reset("ann@example.org", &home_origin()).await.unwrap();
    let late = mailed(accounts, 2).await;
    accounts.clock.advance(Settings::default().reset_life);
    let refused = accounts.one.reset_password(&late, &new, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidReset);
    for token in ["", "slp_", "slp_x", "x"] {
        let refused = accounts.one.reset_password(&SecretText::new(token), &new, &home_origin()).await;
        assert_eq!(refused.unwrap_err(), AccountError::InvalidReset, "{token}");
    }
}

pub async fn a_reset_request_does_not_reveal_whether_a_user_exists(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let bob = accounts.register("bob").await;
    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    accounts.one.change_access(bob.id, &disable, &Actor::default()).await.unwrap();
    for email in ["nobody@example.org", "bob@example.org", "no address", "a\0b", "ann@example.org"] {
        assert_eq!(accounts.one.request_reset(email, &home_origin()).await, Ok(()), "{email:?}");
    }
    // Requests are processed in order: after the mail for the last one, the others are done.
    let mails = accounts.mails.after(1).await;
    assert_eq!((mails.len(), mails[0].to.as_str()), (1, ann.email.as_deref().unwrap()));
    assert!(!format!("{:?}", mails[0]).contains("slp_"), "Debug prints no token");
}

pub async fn reset_mails_to_one_user_are_limited(accounts: &mut TestAccounts) {
    for name in ["ann", "bob"] {
        accounts.register(name).await;
    }
    for n in 0..20 {
        accounts.one.request_reset("ann@example.org", &origin_from(&format!("198.51.100.{n}"))).await.unwrap();
    }
    accounts.one.request_reset("bob@example.org", &home_origin()).await.unwrap();
    // Requests are processed in order: bob's mail comes after those of ann.
    let mails = accounts.mails.after(5).await;
    assert_eq!(mails.iter().filter(|mail| mail.to == "ann@example.org").count(), 4);
    assert_eq!(mails.last().unwrap().to, "bob@example.org");
    let (first, new) = (token_in(&mails[0]), SecretText::new("another kettle lamp"));
    accounts.other.reset_password(&first, &new, &home_origin()).await.expect("the first mail is still valid");
}

pub async fn the_audit_log_has_every_event_and_no_secret(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    let tokens = accounts.sign_in("ann").await;
    sign_in(&accounts.one, "ann", "wrong password").await.unwrap_err();
    let caller = accounts.one.authenticate(tokens.access_token.expose()).await.unwrap();
    let actor = Actor { user: Some(ann.id), address: Some(home_origin().address) };
    let scopes = [Scope::FramesWrite];
    let (record, token) = accounts.one.add_api_token(&caller, "gate", &scopes, None, &actor).await.unwrap();
    accounts.one.delete_api_token(ann.id, record.id, &actor).await.unwrap();
    let change = AccessChange { role: Some(Role::Admin), quota: Some(UserLimit::AtMost(5)), ..AccessChange::default() };
    accounts.one.change_access(ann.id, &change, &actor).await.unwrap();

    let log = accounts.store.audit_log(Some(ann.id), None, 50).await.unwrap();

    let mut actions: Vec<&str> = log.iter().map(|entry| entry.action.as_str()).collect();
    actions.reverse();
    let expected =
        ["registered", "signed_in", "sign_in_refused", "api_token_added", "api_token_deleted", "access_changed"];
    assert_eq!(actions, expected);
    assert_eq!(log[0].detail.as_deref(), Some("role: admin, quota: 5 per period"));
    assert_eq!((log[0].actor, log[0].address.as_deref()), (Some(ann.id), Some("192.0.2.1")));
    let shown = format!("{log:?}");
    for secret in [&tokens.access_token, &tokens.refresh_token, &token, &SecretText::new(PASSWORD)] {
        assert!(!shown.contains(secret.expose()));
    }
}

pub async fn a_sign_up_signs_in_and_an_address_is_registered_once(accounts: &mut TestAccounts) {
    let sign_up = async |email: &str, password: &str| {
        accounts.one.sign_up(email, &SecretText::new(password), &home_origin()).await
    };
    let tokens = sign_up(" Ann@example.org ", PASSWORD).await.unwrap();
    let ann = &tokens.user;
    assert_eq!((ann.email.as_deref(), ann.username.as_deref(), ann.role), (Some("Ann@example.org"), None, Role::User));
    let state = accounts.other.user_state(ann.id).await.unwrap();
    assert_eq!((state.email_verified, state.is_federated, state.updated_at), (false, false, ann.created_at));
    accounts.assert_accepted(&tokens.access_token).await;
    accounts.other.refresh(&tokens.refresh_token, &home_origin()).await.unwrap();

    let again = sign_up("ann@EXAMPLE.org", "another kettle lamp").await;
    assert_eq!(again.unwrap_err(), AccountError::EmailTaken);
    sign_in(&accounts.other, "ann@example.org", PASSWORD).await.expect("the first password still signs in");
    for (email, password, field) in [
        ("", PASSWORD, "email"),
        ("no address", PASSWORD, "email"),
        ("bob@example.org", "short", "password"),
        ("bob@example.org", "password1", "password"),
    ] {
        let refused = sign_up(email, password).await.unwrap_err();
        assert!(matches!(&refused, AccountError::Invalid { field: named, .. } if *named == field), "{refused:?}");
    }
    let closed = accounts.open(Settings { registration: false, ..settings() }, Vec::new()).await;
    let refused = closed.sign_up("bob@example.org", &SecretText::new(PASSWORD), &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::RegistrationClosed);
    assert!(accounts.one.user_named("bob@example.org").await.is_err(), "a refused sign-up adds no user");
}

/// An account at the provider, with an address that the provider verified.
fn federated(subject: &str, email: &str) -> FederatedIdentity {
    let issuer = "https://accounts.example".to_owned();
    FederatedIdentity::new(issuer, subject.to_owned(), Some(email.to_owned()), None)
}

pub async fn an_identity_with_the_address_of_a_user_must_be_linked(accounts: &mut TestAccounts) {
    let bob = accounts.register("bob").await;
    let identity = federated("7", "BOB@example.org");
    let refused = accounts.one.sign_in_by_identity(&identity, &home_origin()).await.unwrap_err();
    assert_eq!(refused, AccountError::NotLinked);
    assert!(refused.to_string().contains("/v1/users/me/identities"), "it says how to link: {refused}");
    accounts.one.link_identity(bob.id, &identity.identity, password().as_ref(), &home_origin()).await.unwrap();
    assert!(!accounts.one.user_state(bob.id).await.unwrap().email_verified, "a link alone proves no address");

    let tokens = accounts.other.sign_in_by_identity(&identity, &home_origin()).await.unwrap();

    assert_eq!(tokens.user.id, bob.id);
    let state = accounts.one.user_state(bob.id).await.unwrap();
    assert!(state.email_verified && !state.is_federated, "the provider verified the address, and bob has a password");
    let closed = accounts.open(Settings { registration: false, ..settings() }, Vec::new()).await;
    closed.sign_in_by_identity(&identity, &home_origin()).await.expect("a linked user signs in without registration");
    let refused = closed.sign_in_by_identity(&federated("9", "cem@example.org"), &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::NotRegistered);
}

pub async fn a_federated_user_gets_a_password_by_mail(accounts: &mut TestAccounts) {
    let identity = federated("8", "ann@example.org");
    let tokens = accounts.one.sign_in_by_identity(&identity, &home_origin()).await.unwrap();
    let ann = tokens.user.id;
    let state = async || {
        let state = accounts.other.user_state(ann).await.unwrap();
        (state.email_verified, state.is_federated)
    };
    assert_eq!(state().await, (true, true));
    accounts.one.request_reset("ann@example.org", &home_origin()).await.unwrap();
    let (token, new) = (mailed(accounts, 1).await, SecretText::new("another kettle lamp"));
    accounts.other.reset_password(&token, &new, &home_origin()).await.unwrap();
    assert_eq!(state().await, (true, false), "the mail proves the address, and the reset unlinks the identity");
    sign_in(&accounts.one, "ann@example.org", new.expose()).await.unwrap();
    let refused = accounts.one.sign_in_by_identity(&identity, &home_origin()).await;
    assert_eq!(refused.unwrap_err(), AccountError::NotLinked);
}

pub async fn an_identity_signs_in_one_user(accounts: &mut TestAccounts) {
    let identity = Identity { issuer: "https://accounts.example".to_owned(), subject: "42".to_owned() };
    let new = Registration { identity: Some(identity.clone()), password: None, ..registration("ann") };
    let ann = accounts.one.register(&new, UserAccess::default(), &Actor::default()).await.unwrap();
    let found = accounts.other.user_by_identity(&identity).await.unwrap().unwrap();
    assert_eq!(found.id, ann.id);
    let tokens = accounts.other.sign_in_federated(&found, &origin_from("2001:db8::1")).await.unwrap();
    accounts.assert_accepted(&tokens.access_token).await;
    assert_eq!(sign_in(&accounts.one, "ann", "").await.unwrap_err(), AccountError::WrongPassword);
    let bob = accounts.register("bob").await;
    let taken = accounts.one.link_identity(bob.id, &identity, password().as_ref(), &home_origin()).await;
    assert_eq!(taken.unwrap_err(), AccountError::IdentityTaken);
    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    accounts.one.change_access(ann.id, &disable, &Actor::default()).await.unwrap();
    assert_eq!(accounts.other.sign_in_federated(&found, &home_origin()).await.unwrap_err(), AccountError::Disabled);
    let refused = accounts.one.authenticate(tokens.access_token.expose()).await;
    assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential);
}
