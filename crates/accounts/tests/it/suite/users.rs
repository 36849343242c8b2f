//! Users, their passwords and what is known of them.

use accounts::{AccessError, AccountError, Accounts, By, Granted, Mail, Profile, Registration, Right, Secret};
use store::relational::{AccessChange, Allowance, Identity, Role};

use crate::site::{PASSWORD, Site, from, home, registration, sign_in};

pub async fn a_user_signs_in_by_name_or_address_in_any_case(site: &mut Site) {
    let ann = site.register("Ann").await;
    for login in ["Ann", "aNN", "ann@example.org", "ANN@EXAMPLE.ORG"] {
        let grant = sign_in(&site.other, login, PASSWORD).await.unwrap();
        let caller = site.one.authenticate(grant.access_token.expose()).await.unwrap();
        assert_eq!((caller.user, &caller.tenant, caller.session), (Some(ann.id), &ann.tenant, Some(grant.session)));
        assert!(!caller.sees_all && !caller.may(Right::Admin) && caller.may(Right::FramesWrite));
        assert_eq!(caller.rate_limit, Some(10));
        assert!(caller.valid_until.is_some());
    }
    assert!(site.one.user(ann.id).await.unwrap().last_sign_in_at.is_some());
    let renamed = Profile {
        username: Some("anna".to_owned()),
        full_name: Some("Ann O.".to_owned()),
        present_password: password(),
        ..Profile::default()
    };
    let user = site.one.change_profile(ann.id, &renamed, &home()).await.unwrap();
    assert_eq!((user.username.as_deref(), user.full_name.as_deref()), (Some("anna"), Some("Ann O.")));
    assert_eq!(sign_in(&site.one, "Ann", PASSWORD).await.unwrap_err(), AccountError::WrongPassword);
    sign_in(&site.one, "anna", PASSWORD).await.unwrap();
}

pub async fn what_a_registration_lacks_or_has_wrong_is_named(site: &mut Site) {
    site.register("ann").await;
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
        ("password", with(|new| new.password = Some(Secret::new("short")))),
        ("password", with(|new| new.password = Some(Secret::new("password1")))),
        ("password", with(|new| new.password = Some(Secret::new("bob@example.org")))),
        ("password", with(|new| new.password = Some(Secret::new("x".repeat(129))))),
    ];
    for (field, new) in wrong {
        let refused = site.one.register(&new, Granted::default(), &By::default()).await.unwrap_err();
        assert!(
            matches!(&refused, AccountError::Invalid { field: named, .. } if *named == field),
            "{new:?}: {refused:?}"
        );
    }
    let taken =
        async |new: Registration| site.other.register(&new, Granted::default(), &By::default()).await.unwrap_err();
    assert_eq!(taken(Registration { email: None, ..registration("ANN") }).await, AccountError::UsernameTaken);
    assert_eq!(taken(Registration { username: None, ..registration("ANN") }).await, AccountError::EmailTaken);
    let (cem, rename) = (
        site.register("cem").await,
        Profile { username: Some("aNn".to_owned()), present_password: password(), ..Profile::default() },
    );
    let refused = site.one.change_profile(cem.id, &rename, &home()).await;
    assert_eq!(refused.unwrap_err(), AccountError::UsernameTaken);
}

pub async fn a_quota_and_a_role_are_never_taken_from_who_registers(site: &mut Site) {
    let ann = site.register("ann").await;
    assert_eq!((ann.role, ann.quota, ann.rate_limit), (Role::User, Allowance::Configured, Allowance::Configured));
    let caller = site.caller("ann").await;
    assert_eq!(site.one.quota(&caller).await.unwrap().limit, Some(100));
}

pub async fn a_wrong_password_and_an_unknown_user_are_refused_alike(site: &mut Site) {
    site.register("ann").await;
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
        assert_eq!(sign_in(&site.one, login, password).await.unwrap_err(), AccountError::WrongPassword, "{login:?}");
    }
}

pub async fn who_is_shut_out_is_refused_everywhere_within_a_second(site: &mut Site) {
    let ann = site.register("ann").await;
    let grant = site.sign_in("ann").await;
    let caller = site.one.authenticate(grant.access_token.expose()).await.unwrap();
    let (_, api_token) =
        site.one.add_api_token(&caller, "gate", &[Right::FramesWrite], None, &By::default()).await.unwrap();
    site.accepted(&grant.access_token).await;
    site.accepted(&api_token).await;

    let shut_out = AccessChange { disabled: Some(true), ..AccessChange::default() };
    site.one.change_access(ann.id, &shut_out, &By::default()).await.unwrap();

    site.refused_within_a_second(&grant.access_token).await;
    site.refused_within_a_second(&api_token).await;
    assert_eq!(sign_in(&site.one, "ann", PASSWORD).await.unwrap_err(), AccountError::WrongPassword);
    let refused = site.one.refresh(&grant.refresh_token, &home()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);

    let let_in = AccessChange { disabled: Some(false), ..AccessChange::default() };
    site.other.change_access(ann.id, &let_in, &By::default()).await.unwrap();
    let again = site.sign_in("ann").await;
    site.accepted(&again.access_token).await;
    crate::site::eventually("the API token is good again", async || {
        site.one.authenticate(api_token.expose()).await.is_ok()
    })
    .await;
}

pub async fn a_deleted_user_is_refused_everywhere_within_a_second(site: &mut Site) {
    let ann = site.register("ann").await;
    let grant = site.sign_in("ann").await;
    site.accepted(&grant.access_token).await;
    site.other.delete_user(ann.id, &By::default()).await.unwrap();
    site.refused_within_a_second(&grant.access_token).await;
    assert_eq!(site.one.user(ann.id).await.unwrap_err(), AccountError::NotFound("user"));
    let again = site.register("ann").await;
    assert_ne!(again.tenant, ann.tenant, "nobody gets the data of who had the name before");
}

pub async fn who_becomes_admin_has_to_sign_in_again_and_sees_everything(site: &mut Site) {
    let ann = site.register("ann").await;
    let before = site.sign_in("ann").await;
    let admin = AccessChange { role: Some(Role::Admin), ..AccessChange::default() };
    site.one.change_access(ann.id, &admin, &By::default()).await.unwrap();
    site.refused_within_a_second(&before.access_token).await;

    let caller = site.caller("ann").await;
    assert!(caller.sees_all && caller.may(Right::Admin));
    let rights = [Right::DetectionsRead];
    let (_, token) = site.one.add_api_token(&caller, "stats", &rights, None, &By::default()).await.unwrap();
    let program = site.other.authenticate(token.expose()).await.unwrap();
    assert!(!program.sees_all && program.rights == rights, "a token for less does not see everything");

    let user = AccessChange { role: Some(Role::User), ..AccessChange::default() };
    site.one.change_access(ann.id, &user, &By::default()).await.unwrap();
    assert!(!site.caller("ann").await.sees_all);
}

pub async fn the_operators_user_is_made_once_without_limits(site: &mut Site) {
    let taken = site.one.register(&registration("Admin"), Granted::default(), &By::default()).await;
    assert_eq!(taken.unwrap_err(), AccountError::UsernameTaken, "nobody is there first");
    let ann = site.register("ann").await;
    let rename = Profile { username: Some("ADMIN".to_owned()), present_password: password(), ..Profile::default() };
    let taken = site.one.change_profile(ann.id, &rename, &home()).await;
    assert_eq!(taken.unwrap_err(), AccountError::UsernameTaken);
    let (one, other) = tokio::join!(site.one.operator(), site.other.operator());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one, other);
    assert_eq!(one.tenant, contracts::TenantId::admin());
    assert_eq!((one.role, one.quota, one.rate_limit), (Role::Admin, Allowance::Unlimited, Allowance::Unlimited));
    assert_eq!(sign_in(&site.one, "admin", "").await.unwrap_err(), AccountError::WrongPassword);
    site.one.set_password(one.id, &Secret::new(PASSWORD), &By::default()).await.unwrap();
    let caller = site.caller("admin").await;
    assert!(caller.sees_all && caller.rate_limit.is_none());
}

pub async fn a_new_password_ends_the_other_sessions(site: &mut Site) {
    let ann = site.register("ann").await;
    let (kept, ended) = (site.sign_in("ann").await, site.sign_in("ann").await);
    let (present, new) = (Secret::new(PASSWORD), Secret::new("another kettle lamp"));
    let keep = Some(kept.session);
    let wrong = site.one.change_password(ann.id, &new, &new, keep, &home()).await;
    assert_eq!(wrong.unwrap_err(), AccountError::WrongPassword);
    let common = site.one.change_password(ann.id, &present, &Secret::new("ann@example.org"), keep, &home()).await;
    assert!(matches!(common, Err(AccountError::Invalid { field: "password", .. })), "{common:?}");
    site.accepted(&ended.access_token).await;

    site.one.change_password(ann.id, &present, &new, keep, &home()).await.unwrap();

    site.refused_within_a_second(&ended.access_token).await;
    let refused = site.other.refresh(&ended.refresh_token, &home()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidGrant);
    let renewed = site.other.refresh(&kept.refresh_token, &home()).await.unwrap();
    site.accepted(&renewed.access_token).await;
    assert_eq!(sign_in(&site.one, "ann", PASSWORD).await.unwrap_err(), AccountError::WrongPassword);
    sign_in(&site.one, "ann", new.expose()).await.unwrap();
}

/// The token in the last of so many mails.
async fn mailed(site: &Site, many: usize) -> Secret {
    token_in(site.mails.after(many).await.last().unwrap())
}

fn token_in(mail: &Mail) -> Secret {
    let (_, rest) = mail.text.split_once("#token=").unwrap();
    Secret::new(rest.split_whitespace().next().unwrap())
}

/// The usual password, for a change that takes it.
fn password() -> Option<Secret> {
    Some(Secret::new(PASSWORD))
}

pub async fn a_new_address_or_name_takes_the_password(site: &mut Site) {
    let ann = site.register("ann").await;
    let change = async |change: &Profile, password: Option<&str>| {
        let change = Profile { present_password: password.map(Secret::new), ..change.clone() };
        site.one.change_profile(ann.id, &change, &home()).await
    };
    let moved = Profile { email: Some("ann@example.com".to_owned()), ..Profile::default() };
    let renamed = Profile { username: Some("anna".to_owned()), ..Profile::default() };
    for wanted in [&moved, &renamed] {
        let refused = change(wanted, None).await;
        assert!(matches!(refused, Err(AccountError::Invalid { field: "present_password", .. })), "{refused:?}");
        assert_eq!(change(wanted, Some("another password")).await.unwrap_err(), AccountError::WrongPassword);
        assert_eq!(site.one.user(ann.id).await.unwrap(), ann);
    }
    assert_eq!(change(&moved, Some(PASSWORD)).await.unwrap().email.as_deref(), Some("ann@example.com"));
    assert_eq!(change(&renamed, Some(PASSWORD)).await.unwrap().username.as_deref(), Some("anna"));
    let named = Profile { full_name: Some("Ann".to_owned()), ..Profile::default() };
    change(&named, None).await.expect("a name for people takes none");
}

pub async fn a_mailed_token_sets_a_new_password_once(site: &mut Site) {
    site.register("ann").await;
    let grant = site.sign_in("ann").await;
    site.one.ask_for_reset("ANN@example.org", &home()).await.unwrap();
    let (token, new) = (mailed(site, 1).await, Secret::new("another kettle lamp"));
    assert_eq!(site.mails.after(1).await[0].to, "ann@example.org");
    let common = site.other.reset_password(&token, &Secret::new("password1"), &home()).await;
    assert!(matches!(common, Err(AccountError::Invalid { field: "password", .. })), "{common:?}");

    site.other.reset_password(&token, &new, &home()).await.unwrap();

    site.refused_within_a_second(&grant.access_token).await;
    sign_in(&site.one, "ann", new.expose()).await.unwrap();
    let again = site.one.reset_password(&token, &Secret::new("a third lamp kettle"), &home()).await;
    assert_eq!(again.unwrap_err(), AccountError::InvalidReset);

    site.one.ask_for_reset("ann@example.org", &home()).await.unwrap();
    let late = mailed(site, 2).await;
    site.clock.advance(accounts::Settings::default().reset_life);
    let refused = site.one.reset_password(&late, &new, &home()).await;
    assert_eq!(refused.unwrap_err(), AccountError::InvalidReset);
    for token in ["", "slp_", "slp_x", "x"] {
        let refused = site.one.reset_password(&Secret::new(token), &new, &home()).await;
        assert_eq!(refused.unwrap_err(), AccountError::InvalidReset, "{token}");
    }
}

pub async fn asking_for_a_reset_tells_nothing_about_who_there_is(site: &mut Site) {
    let ann = site.register("ann").await;
    let bob = site.register("bob").await;
    let shut_out = AccessChange { disabled: Some(true), ..AccessChange::default() };
    site.one.change_access(bob.id, &shut_out, &By::default()).await.unwrap();
    for email in ["nobody@example.org", "bob@example.org", "no address", "a\0b", "ann@example.org"] {
        assert_eq!(site.one.ask_for_reset(email, &home()).await, Ok(()), "{email:?}");
    }
    // They are looked at in their order: when the last has its mail, the others have been looked at.
    let mails = site.mails.after(1).await;
    assert_eq!((mails.len(), mails[0].to.as_str()), (1, ann.email.as_deref().unwrap()));
    assert!(!format!("{:?}", mails[0]).contains("slp_"), "a mail prints without its token");
}

pub async fn nobody_is_mailed_more_than_a_few_resets_whoever_asks(site: &mut Site) {
    for name in ["ann", "bob"] {
        site.register(name).await;
    }
    for n in 0..20 {
        site.one.ask_for_reset("ann@example.org", &from(&format!("198.51.100.{n}"))).await.unwrap();
    }
    site.one.ask_for_reset("bob@example.org", &home()).await.unwrap();
    // They are looked at in their order: bob's comes after all of ann's.
    let mails = site.mails.after(5).await;
    assert_eq!(mails.iter().filter(|mail| mail.to == "ann@example.org").count(), 4);
    assert_eq!(mails.last().unwrap().to, "bob@example.org");
    let (first, new) = (token_in(&mails[0]), Secret::new("another kettle lamp"));
    site.other.reset_password(&first, &new, &home()).await.expect("what was mailed first is still good");
}

pub async fn what_happens_to_an_account_is_in_the_audit_log_without_secrets(site: &mut Site) {
    let ann = site.register("ann").await;
    let grant = site.sign_in("ann").await;
    sign_in(&site.one, "ann", "wrong password").await.unwrap_err();
    let caller = site.one.authenticate(grant.access_token.expose()).await.unwrap();
    let by = By { user: Some(ann.id), address: Some(home().address) };
    let rights = [Right::FramesWrite];
    let (record, token) = site.one.add_api_token(&caller, "gate", &rights, None, &by).await.unwrap();
    site.one.delete_api_token(ann.id, record.id, &by).await.unwrap();
    let change = AccessChange { role: Some(Role::Admin), quota: Some(Allowance::AtMost(5)), ..AccessChange::default() };
    site.one.change_access(ann.id, &change, &by).await.unwrap();

    let log = site.store.audit_log(Some(ann.id), None, 50).await.unwrap();

    let mut actions: Vec<&str> = log.iter().map(|entry| entry.action.as_str()).collect();
    actions.reverse();
    let expected =
        ["registered", "signed_in", "sign_in_refused", "api_token_added", "api_token_deleted", "access_changed"];
    assert_eq!(actions, expected);
    assert_eq!(log[0].detail.as_deref(), Some("role admin, quota AtMost(5)"));
    assert_eq!((log[0].actor, log[0].address.as_deref()), (Some(ann.id), Some("192.0.2.1")));
    let shown = format!("{log:?}");
    for secret in [&grant.access_token, &grant.refresh_token, &token, &Secret::new(PASSWORD)] {
        assert!(!shown.contains(secret.expose()));
    }
}

pub async fn an_identity_signs_in_one_user(site: &mut Site) {
    let identity = Identity { issuer: "https://accounts.example".to_owned(), subject: "42".to_owned() };
    let new = Registration { identity: Some(identity.clone()), password: None, ..registration("ann") };
    let ann = site.one.register(&new, Granted::default(), &By::default()).await.unwrap();
    let found = site.other.user_by_identity(&identity).await.unwrap().unwrap();
    assert_eq!(found.id, ann.id);
    let grant = site.other.sign_in_vouched(&found, &from("2001:db8::1")).await.unwrap();
    site.accepted(&grant.access_token).await;
    assert_eq!(sign_in(&site.one, "ann", "").await.unwrap_err(), AccountError::WrongPassword);
    let bob = site.register("bob").await;
    let taken = site.one.link_identity(bob.id, &identity, password().as_ref(), &home()).await;
    assert_eq!(taken.unwrap_err(), AccountError::IdentityTaken);
    let shut_out = AccessChange { disabled: Some(true), ..AccessChange::default() };
    site.one.change_access(ann.id, &shut_out, &By::default()).await.unwrap();
    assert_eq!(site.other.sign_in_vouched(&found, &home()).await.unwrap_err(), AccountError::ShutOut);
    let refused = site.one.authenticate(grant.access_token.expose()).await;
    assert_eq!(refused.unwrap_err(), AccessError::InvalidCredential);
}
