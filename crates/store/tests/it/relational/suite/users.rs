//! Users: names, lists, deletion, identities, the audit log.

use contracts::{ApiTokenId, FrameId, TenantId, UserId};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use store::PageCursor;
use store::relational::{
    AccessChange, ApiTokenWriteOutcome, AuditEntry, Charge, DeletedTenant, Identity, NewApiToken, NewUser,
    ProfileChange, Role, UserLimit, UserWriteOutcome,
};
use uuid::Uuid;

use crate::relational::{TwoStores, add, later, named, now, password, session, token};

pub async fn a_user_reads_back_as_it_was(two: &TwoStores) {
    let full_name = "Ann O'Neil \u{1F600} % _ \\ \" ; --";
    let new = NewUser { full_name: Some(full_name.to_owned()), quota: UserLimit::AtMost(7), ..named("Ann") };
    let at = now();
    assert_eq!(two.one.add_user(&new, at).await.unwrap(), UserWriteOutcome::Stored);
    let change = AccessChange { rate_limit: Some(UserLimit::Unlimited), role: Some(Role::Admin), ..Default::default() };
    assert!(two.one.change_access(new.id, &change, at, later()).await.unwrap());

    let user = two.other.user(new.id).await.unwrap().unwrap();

    assert_eq!((user.id, user.tenant.to_string(), user.created_at), (new.id, new.tenant.to_string(), at));
    assert_eq!((user.username.as_deref(), user.email.as_deref()), (Some("Ann"), Some("Ann@example.org")));
    assert_eq!(user.full_name.as_deref(), Some(full_name));
    assert_eq!((user.role, user.quota, user.rate_limit), (Role::Admin, UserLimit::AtMost(7), UserLimit::Unlimited));
    assert!(!user.disabled && user.last_sign_in_at.is_none());
    assert_eq!(two.other.user(UserId::now()).await.unwrap(), None);
}

pub async fn a_name_or_mailbox_belongs_to_one_user(two: &TwoStores) {
    let ann = add(&two.one, "Ann").await;
    let same_name = NewUser { email: None, ..named("aNN") };
    assert_eq!(two.other.add_user(&same_name, now()).await.unwrap(), UserWriteOutcome::UsernameTaken);
    let same_address = NewUser { username: None, ..named("aNN") };
    assert_eq!(two.other.add_user(&same_address, now()).await.unwrap(), UserWriteOutcome::EmailTaken);
    for login in ["ANN", "ann", "ann@EXAMPLE.org"] {
        let found = two.other.password_by_login(login).await.unwrap();
        assert_eq!(found, (Some(ann), Some(password())), "{login}");
        assert_eq!(two.other.user_named(login).await.unwrap().map(|user| user.id), Some(ann), "{login}");
    }
    for unknown in ["an", "an@example.org", "ann\0", "a".repeat(2_000).as_str()] {
        assert_eq!(two.other.password_by_login(unknown).await.unwrap(), (None, None), "{unknown:?}");
        assert_eq!(two.other.user_named(unknown).await.unwrap(), None, "{unknown:?}");
    }
}

pub async fn of_many_concurrent_claims_of_a_name_one_succeeds(two: &TwoStores) {
    let attempts = (0..20).map(|n| async move {
        let store = if n % 2 == 0 { &two.one } else { &two.other };
        let name = if n % 3 == 0 { "ANN" } else { "ann" };
        store.add_user(&named(name), now()).await.unwrap()
    });
    let outcomes = join_all(attempts).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == UserWriteOutcome::Stored).count(), 1, "{outcomes:?}");
    assert_eq!(
        outcomes.iter().filter(|outcome| **outcome == UserWriteOutcome::UsernameTaken).count(),
        19,
        "{outcomes:?}"
    );
}

pub async fn a_rename_to_anothers_name_is_refused(two: &TwoStores) {
    let (ann, _) = (add(&two.one, "ann").await, add(&two.one, "bob").await);
    let rename = |name: &str| ProfileChange { username: Some(name.to_owned()), ..Default::default() };
    assert_eq!(
        two.one.change_profile(ann, &rename("BOB"), now(), later()).await.unwrap(),
        UserWriteOutcome::UsernameTaken
    );
    assert_eq!(two.one.change_profile(ann, &rename("ANN"), now(), later()).await.unwrap(), UserWriteOutcome::Stored);
    assert_eq!(
        two.one.change_profile(UserId::now(), &rename("x"), now(), later()).await.unwrap(),
        UserWriteOutcome::Unknown
    );
    let named = ProfileChange { full_name: Some(Some("Ann".to_owned())), ..Default::default() };
    assert_eq!(two.one.change_profile(ann, &named, now(), later()).await.unwrap(), UserWriteOutcome::Stored);
    let user = two.other.user(ann).await.unwrap().unwrap();
    assert_eq!((user.username.as_deref(), user.full_name.as_deref()), (Some("ANN"), Some("Ann")));
    assert_eq!(user.email.as_deref(), Some("ann@example.org"));
}

pub async fn the_list_has_no_gap_and_no_repeat_under_ties(two: &TwoStores) {
    let at = now();
    for n in 0..23 {
        two.one.add_user(&named(&format!("user{n}")), at).await.unwrap();
    }
    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let page = two.other.users(None, cursor.as_ref(), 5).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(PageCursor { at: last.created_at, id: last.id.to_string() });
        listed.extend(page.into_iter().map(|user| user.id));
    }
    assert_eq!(listed.len(), 23);
    assert!(listed.is_sorted_by(|a, b| a > b), "newest first");
}

pub async fn the_search_treats_every_character_literally(two: &TwoStores) {
    for (name, full_name) in [("ann", "100% Ann"), ("bob", "Bob_1"), ("cem", "Cem\\"), ("dee", "Dée")] {
        let user = NewUser { full_name: Some(full_name.to_owned()), ..named(name) };
        two.one.add_user(&user, now()).await.unwrap();
    }
    for (part, found) in
        [("NN", "ann"), ("%", "ann"), ("_", "bob"), ("\\", "cem"), ("DÉE", "dee"), ("bob@EXAMPLE", "bob")]
    {
        let users = two.one.users(Some(part), None, 9).await.unwrap();
        let names: Vec<_> = users.iter().filter_map(|user| user.username.as_deref()).collect();
        assert_eq!(names, [found], "{part}");
    }
}

pub async fn a_made_up_cursor_is_a_position_like_any_other(two: &TwoStores) {
    add(&two.one, "ann").await;
    let at = |at, id: &str| PageCursor { at, id: id.to_owned() };
    for (cursor, found) in [
        (at(Timestamp::MAX, "no id"), 1),
        (at(Timestamp::MIN, "no id"), 0),
        (at(later(), ""), 1),
        (at(Timestamp::UNIX_EPOCH, "'; --"), 0),
    ] {
        assert_eq!(two.one.users(None, Some(&cursor), 9).await.unwrap().len(), found, "{cursor:?}");
        assert_eq!(two.one.users(Some("ann"), Some(&cursor), 9).await.unwrap().len(), found, "{cursor:?}");
        assert!(two.one.audit_log(None, Some(&cursor), 9).await.unwrap().is_empty(), "{cursor:?}");
    }
}

pub async fn a_deleted_user_is_in_no_table_but_the_audit_log(two: &TwoStores) {
    let store = &two.one;
    let user = add(store, "ann").await;
    let (session, identity) = (session(user), Identity { issuer: "i".to_owned(), subject: "s".to_owned() });
    store.open_session(&session, None, now()).await.unwrap().unwrap();
    let api_token = NewApiToken {
        id: ApiTokenId::now(),
        user,
        name: "gate".to_owned(),
        token: token(),
        scopes: String::new(),
        expires_at: None,
        by_session: None,
    };
    assert_eq!(store.add_api_token(&api_token, now()).await.unwrap(), ApiTokenWriteOutcome::Stored);
    let reset = token();
    store.add_reset(user, "ann@example.org", &reset, later()).await.unwrap();
    assert!(store.link_identity(user, &identity, now()).await.unwrap());
    let frame = FrameId::now();
    let charge = Charge { user, frame, period: "total", limit: 1 };
    store.charge(&charge, now()).await.unwrap();
    store.add_audit_entry(&entry(user, "deleted")).await.unwrap();

    assert!(store.delete_user(user, now(), later()).await.unwrap());

    let other = &two.other;
    assert!(!other.delete_user(user, now(), later()).await.unwrap());
    assert!(other.user(user).await.unwrap().is_none());
    assert_eq!(other.password_by_login("ann").await.unwrap(), (None, None));
    assert!(other.sessions(user, now()).await.unwrap().is_empty());
    assert!(other.session_by_token(&session.token, now()).await.unwrap().is_none());
    assert!(other.api_token(&api_token.token).await.unwrap().is_none());
    assert!(other.api_tokens(user).await.unwrap().is_empty());
    assert!(other.reset_password(&reset, &password(), now(), later()).await.unwrap().is_none());
    assert!(other.user_by_identity(&identity).await.unwrap().is_none());
    assert_eq!(other.used(user, "total").await.unwrap(), 0);
    assert_eq!(other.audit_log(Some(user), None, 9).await.unwrap().len(), 1);
    let last = *other.revocations_after(0).await.unwrap().last().unwrap();
    assert_eq!((last.kind, last.subject), (store::relational::RevocationKind::User, user.uuid()));
}

pub async fn the_tenant_of_a_deleted_user_is_remembered_until_nothing_can_come(two: &TwoStores) {
    let (store, other, at) = (&two.one, &two.other, now());
    let (ann, ben, stays) = (named("ann"), named("ben"), named("cem"));
    for user in [&ann, &ben, &stays] {
        assert_eq!(store.add_user(user, at).await.unwrap(), UserWriteOutcome::Stored);
    }
    let (minute, far) = (SignedDuration::from_mins(1), at + SignedDuration::from_hours(1));
    assert_eq!(store.tenant_of_deleted_user(ann.id).await.unwrap(), None);
    assert!(store.delete_user(ann.id, at, later()).await.unwrap());
    assert!(store.delete_user(ben.id, at + minute, later()).await.unwrap());
    assert!(!store.delete_user(UserId::now(), at, later()).await.unwrap());

    let deleted = |user: &NewUser, deleted_at| DeletedTenant {
        tenant: TenantId::from_uuid(user.tenant),
        user: user.id,
        deleted_at,
    };
    let (of_ann, of_ben) = (deleted(&ann, at), deleted(&ben, at + minute));
    assert_eq!(other.deleted_tenants_due(at, 9).await.unwrap(), [], "its deletion erased it");
    assert_eq!(other.deleted_tenants_due(at + minute, 9).await.unwrap(), std::slice::from_ref(&of_ann));
    assert_eq!(other.deleted_tenants_due(far, 9).await.unwrap(), [of_ann.clone(), of_ben.clone()]);
    assert_eq!(other.deleted_tenants_due(far, 1).await.unwrap(), std::slice::from_ref(&of_ann));
    assert_eq!(other.tenant_of_deleted_user(ann.id).await.unwrap(), Some(of_ann.tenant.clone()));
    assert_eq!(other.tenant_of_deleted_user(stays.id).await.unwrap(), None);

    let kept = SignedDuration::from_hours(1);
    let next = of_ann.next(at + minute, kept).unwrap();
    assert_eq!(next, at + minute + minute);
    store.set_next_erasure(ann.id, Some(next)).await.unwrap();
    assert_eq!(other.deleted_tenants_due(next - SignedDuration::from_secs(1), 9).await.unwrap(), []);
    assert_eq!(of_ann.next(far, kept), None);
    store.set_next_erasure(ann.id, None).await.unwrap();
    assert_eq!(other.deleted_tenants_due(far, 9).await.unwrap(), [of_ben]);
    assert_eq!(other.tenant_of_deleted_user(ann.id).await.unwrap(), None);
}

pub async fn a_federated_identity_belongs_to_one_user(two: &TwoStores) {
    let identity = Identity { issuer: "https://issuer".to_owned(), subject: "42".to_owned() };
    let ann = NewUser { identity: Some(identity.clone()), password: None, ..named("ann") };
    assert_eq!(two.one.add_user(&ann, now()).await.unwrap(), UserWriteOutcome::Stored);
    let bob = NewUser { identity: Some(identity.clone()), ..named("bob") };
    assert_eq!(two.other.add_user(&bob, now()).await.unwrap(), UserWriteOutcome::IdentityTaken);
    assert!(two.other.user_named("bob").await.unwrap().is_none(), "a refused user leaves no row");
    let cem = add(&two.one, "cem").await;
    assert!(!two.other.link_identity(cem, &identity, now()).await.unwrap());
    assert!(two.other.link_identity(ann.id, &identity, now()).await.unwrap());
    assert_eq!(two.other.user_by_identity(&identity).await.unwrap().unwrap().id, ann.id);
    let elsewhere = Identity { issuer: "https://other".to_owned(), ..identity };
    assert!(two.other.user_by_identity(&elsewhere).await.unwrap().is_none());
    assert!(!two.other.link_identity(UserId::now(), &elsewhere, now()).await.unwrap());
}

pub async fn an_address_is_proven_by_its_provider_or_a_reset(two: &TwoStores) {
    let identity = Identity { issuer: "https://issuer".to_owned(), subject: "7".to_owned() };
    let ann = NewUser { identity: Some(identity.clone()), password: None, ..named("ann") };
    assert_eq!(two.one.add_user(&ann, now()).await.unwrap(), UserWriteOutcome::Stored);
    let bob = add(&two.one, "bob").await;
    let state = async |user: UserId| {
        let state = two.other.user_state(user).await.unwrap().unwrap();
        (state.email_verified, state.is_federated)
    };
    assert_eq!(state(ann.id).await, (true, true), "the provider has verified the address");
    assert_eq!(state(bob).await, (false, false));

    two.one.verify_email(bob, "ann@example.org").await.unwrap();
    assert_eq!(state(bob).await, (false, false), "another address proves nothing");
    two.one.verify_email(bob, "bob@example.org").await.unwrap();
    assert_eq!(state(bob).await, (true, false));
    let moved = ProfileChange { email: Some("bob@example.com".to_owned()), ..Default::default() };
    assert_eq!(two.one.change_profile(bob, &moved, now(), later()).await.unwrap(), UserWriteOutcome::Stored);
    assert_eq!(state(bob).await, (false, false), "a new address is not proven");
    let reset = token();
    assert!(two.one.add_reset(bob, "bob@example.com", &reset, later()).await.unwrap());
    assert!(two.other.reset_password(&reset, &password(), now(), later()).await.unwrap().is_some());
    assert_eq!(state(bob).await, (true, false));

    assert!(two.other.link_identity(bob, &Identity { subject: "8".to_owned(), ..identity }, now()).await.unwrap());
    assert_eq!(state(bob).await, (true, false), "a user with a password is not federated");
}

pub async fn a_change_of_a_user_has_a_time_and_a_sign_in_is_none(two: &TwoStores) {
    let at = now();
    let ann = named("ann");
    assert_eq!(two.one.add_user(&ann, at).await.unwrap(), UserWriteOutcome::Stored);
    let updated_at = async || two.other.user_state(ann.id).await.unwrap().unwrap().updated_at;
    assert_eq!(updated_at().await, at);
    let after = |seconds| at + SignedDuration::from_secs(seconds);
    two.one.open_session(&session(ann.id), None, after(1)).await.unwrap().unwrap();
    two.one.verify_email(ann.id, "ann@example.org").await.unwrap();
    assert_eq!(updated_at().await, at);
    let named = ProfileChange { full_name: Some(Some("Ann".to_owned())), ..Default::default() };
    two.one.change_profile(ann.id, &named, after(2), later()).await.unwrap();
    assert_eq!(updated_at().await, after(2));
    assert!(two.one.change_access(ann.id, &AccessChange::default(), after(3), later()).await.unwrap());
    assert_eq!(updated_at().await, after(3));
    assert!(two.one.change_password(ann.id, Some(&password()), &password(), None, after(4), later()).await.unwrap());
    assert_eq!(updated_at().await, after(4));
}

fn entry(user: UserId, action: &str) -> AuditEntry {
    AuditEntry {
        id: Uuid::now_v7(),
        at: now(),
        action: action.to_owned(),
        user: Some(user),
        actor: None,
        address: Some("192.0.2.1".to_owned()),
        detail: None,
    }
}

pub async fn the_audit_log_is_listed_newest_first(two: &TwoStores) {
    let (ann, bob) = (add(&two.one, "ann").await, add(&two.one, "bob").await);
    let mut noted = Vec::new();
    for n in 0..7 {
        let at = now() + SignedDuration::from_secs(n / 2);
        noted.push(AuditEntry { at, ..entry(if n % 2 == 0 { ann } else { bob }, "sign_in") });
    }
    for entry in &noted {
        two.one.add_audit_entry(entry).await.unwrap();
    }
    noted.reverse();
    noted.sort_by(|a, b| b.at.cmp(&a.at).then(b.id.cmp(&a.id)));
    assert_eq!(two.other.audit_log(None, None, 9).await.unwrap(), noted);
    let anns: Vec<_> = noted.iter().filter(|entry| entry.user == Some(ann)).cloned().collect();
    let first = two.other.audit_log(Some(ann), None, 2).await.unwrap();
    let cursor = PageCursor { at: first[1].at, id: first[1].id.to_string() };
    let rest = two.other.audit_log(Some(ann), Some(&cursor), 9).await.unwrap();
    assert_eq!([first, rest].concat(), anns);
}

pub async fn migrating_again_changes_nothing(two: &TwoStores) {
    let ann = add(&two.one, "ann").await;
    assert!(!two.other.migrate().await.unwrap().is_changed());
    two.other.check_schema().await.unwrap();
    two.other.check().await.unwrap();
    assert!(two.other.user(ann).await.unwrap().is_some());
}
