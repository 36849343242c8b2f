//! Spellings of a password and of a mailbox.

use accounts::{AccountError, Actor, Registration, UserAccess};
use accounts::{Scope, SecretText};

use crate::test_accounts::{PASSWORD, TestAccounts, home_origin, registration, sign_in};

pub async fn one_mailbox_is_one_account_in_any_spelling(accounts: &mut TestAccounts) {
    let email = |email: &str| Registration { username: None, email: Some(email.to_owned()), ..registration("zoe") };
    let register =
        async |address: &str| accounts.one.register(&email(address), UserAccess::default(), &Actor::default()).await;
    let zoe = register(" Zoë@Bücher.example ").await.unwrap();
    assert_eq!(zoe.email.as_deref(), Some("Zoë@Bücher.example"), "blanks are trimmed");
    for spelling in ["zoë@bücher.example", "zoe\u{308}@bu\u{308}cher.example\t", " ZOË@xn--bcher-kva.example"] {
        let tokens = sign_in(&accounts.other, spelling, PASSWORD).await.unwrap();
        assert_eq!(tokens.user.id, zoe.id, "{spelling:?}");
        assert_eq!(register(spelling).await.unwrap_err(), AccountError::EmailTaken, "{spelling:?}");
    }
}

pub async fn blanks_around_a_name_do_not_count_at_sign_in(accounts: &mut TestAccounts) {
    let ann = accounts.register("ann").await;
    for login in ["ann ", " ann", "ann@example.org ", "\tANN@example.org\n"] {
        assert_eq!(sign_in(&accounts.one, login, PASSWORD).await.unwrap().user.id, ann.id, "{login:?}");
    }
}

pub async fn a_password_signs_in_in_any_normalisation(accounts: &mut TestAccounts) {
    let new = Registration { password: Some(SecretText::new("café 71 lampe")), ..registration("ann") };
    accounts.one.register(&new, UserAccess::default(), &Actor::default()).await.unwrap();
    for spelling in ["café 71 lampe", "cafe\u{301} 71 lampe"] {
        sign_in(&accounts.other, "ann", spelling).await.unwrap();
    }
    assert_eq!(sign_in(&accounts.one, "ann", "cafe 71 lampe").await.unwrap_err(), AccountError::WrongPassword);
}

pub async fn a_reset_by_mail_revokes_api_tokens_everywhere(accounts: &mut TestAccounts) {
    accounts.register("ann").await;
    let caller = accounts.caller("ann").await;
    let (_, token) =
        accounts.one.add_api_token(&caller, "gate", &[Scope::FramesWrite], None, &Actor::default()).await.unwrap();
    accounts.assert_accepted(&token).await;

    accounts.one.request_reset("ann@example.org ", &home_origin()).await.unwrap();
    let mail = accounts.mails.after(1).await.remove(0);
    let (_, reset) = mail.text.split_once("#token=").unwrap();
    let reset = SecretText::new(reset.split_whitespace().next().unwrap());
    accounts.other.reset_password(&reset, &SecretText::new("kettle of lamps"), &home_origin()).await.unwrap();

    accounts.assert_refused_within_a_second(&token).await;
    assert_eq!(accounts.one.api_tokens(caller.user.unwrap()).await.unwrap(), []);
}
