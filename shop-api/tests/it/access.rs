//! Who may call what: every method of the descriptors, as every kind of caller.

use std::collections::BTreeSet;

use accounts::Scope;
use prost::Message;
use prost_types::FileDescriptorSet;
use shop_api::proto::{Access, DESCRIPTORS, METHODS, Method};
use tonic::{Code, Request, Status};

use crate::test_service::{ADMIN_TOKEN, TestShop, reason, with_token};

/// A kind of caller: what it sends, and what it is refused with.
struct CallerKind<'a> {
    name: &'a str,
    token: Option<&'a str>,
    /// The code and the reason with which the method refuses it; `None` if it is let in.
    refusal: fn(Access) -> Option<(Code, &'static str)>,
}

const FORBIDDEN: (Code, &str) = (Code::PermissionDenied, "forbidden");

fn none(access: Access) -> Option<(Code, &'static str)> {
    (access != Access::Public).then_some((Code::Unauthenticated, "unauthorized"))
}

fn revoked(access: Access) -> Option<(Code, &'static str)> {
    (!matches!(access, Access::Public | Access::Bearer)).then_some((Code::Unauthenticated, "invalid_token"))
}

fn user(access: Access) -> Option<(Code, &'static str)> {
    (access == Access::Admin).then_some(FORBIDDEN)
}

fn narrowed(access: Access) -> Option<(Code, &'static str)> {
    (!matches!(access, Access::Public | Access::Bearer)).then_some(FORBIDDEN)
}

fn admin(_: Access) -> Option<(Code, &'static str)> {
    None
}

async fn call(shop: &TestShop, method: &Method, token: Option<&str>) -> Result<(), Status> {
    let request = token.map_or_else(|| Request::new(()), |token| with_token((), token));
    shop.call(method.path, request).await
}

#[tokio::test]
async fn every_method_accepts_the_callers_that_its_option_names() {
    let shop = TestShop::start().await;
    let (ann, root) = (shop.user("ann").await, shop.admin("root").await);
    let gone = shop.revoked_user("gone").await;
    let camera = shop.api_token(&ann, Scope::FramesWrite).await;
    let callers = [
        CallerKind { name: "none", token: None, refusal: none },
        CallerKind { name: "junk", token: Some("junk"), refusal: revoked },
        CallerKind { name: "revoked", token: Some(&gone.access_token), refusal: revoked },
        CallerKind { name: "API token of a camera", token: Some(&camera), refusal: narrowed },
        CallerKind { name: "user", token: Some(&ann.access_token), refusal: user },
        CallerKind { name: "admin", token: Some(&root.access_token), refusal: admin },
        CallerKind { name: "operator", token: Some(ADMIN_TOKEN), refusal: admin },
    ];
    let mut wrong = Vec::new();
    for method in METHODS {
        for CallerKind { name, token, refusal } in &callers {
            let outcome = call(&shop, method, *token).await;
            let found = outcome.err().map(|status| (status.code(), reason(&status)));
            let expected = refusal(method.access).map(|(code, reason)| (code, reason.to_owned()));
            let is_as_expected = match expected {
                Some(expected) => found == Some(expected),
                // What the service says then, about an empty message, is its own; but nothing about the credential.
                None => {
                    !found.as_ref().is_some_and(|(_, reason)| ["unauthorized", "forbidden"].contains(&reason.as_str()))
                }
            };
            if !is_as_expected {
                wrong.push(format!("{} as {name}: {found:?}", method.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_has_every_method_of_the_descriptors() {
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
    let mut described = BTreeSet::new();
    for file in &set.file {
        for service in &file.service {
            let service_name = format!("{}.{}", file.package(), service.name());
            described.extend(service.method.iter().map(|method| format!("/{service_name}/{}", method.name())));
        }
    }
    let tested: BTreeSet<String> = METHODS.iter().map(|method| method.path.to_owned()).collect();
    assert_eq!(tested, described);
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unimplemented() {
    let shop = TestShop::start().await;
    for path in ["/shop.v1.ShopService/Steal", "/shop.v2.ShopService/Checkout", "/"] {
        let status = shop.call(path, Request::new(())).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "unknown_method"), "{path}");
    }
}
