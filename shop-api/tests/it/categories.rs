//! Categories, in both protocols.

use reqwest::Method;
use serde_json::json;
use shop_api::proto::shop_v1::{
    Category, CategoryDecision, CategoryState, CreateAudiobookRequest, DecideCategoryRequest, ListAudiobooksRequest,
    ListCategoriesRequest, PutCategoryRequest,
};
use tonic::Code;

use crate::both::{Both, denied, ids};
use crate::test_service::TestShop;

#[tokio::test]
async fn categories_are_managed_in_both_protocols() {
    let shop = TestShop::start().await;
    let (user, admin) = (shop.user("ann").await, shop.admin("root").await);
    let (user, admin) = (Both::of(&shop, &user.access_token), Both::of(&shop, &admin.access_token));
    let body = json!({"label": "Crime", "hint": "Somebody did it."});
    let (status, crime) = admin.send(Method::PUT, "/v1/categories/crime", Some(body)).await;
    assert_eq!((status, &crime["accepted"]), (200, &json!(true)));
    let romance = PutCategoryRequest { slug: "romance".to_owned(), label: "Romance".to_owned(), hint: String::new() };
    admin.admin().put_category(admin.call(romance)).await.unwrap();
    let list = user.get("/v1/categories").await;
    let messages = user.shop().list_categories(user.call(ListCategoriesRequest {})).await.unwrap().into_inner();
    let category = |slug: &str, label: &str, hint: &str| Category {
        slug: slug.to_owned(),
        label: label.to_owned(),
        hint: hint.to_owned(),
        state: CategoryState::Accepted.into(),
    };
    assert_eq!(
        messages.categories,
        [category("crime", "Crime", "Somebody did it."), category("romance", "Romance", "")]
    );
    let labels: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["label"]).collect();
    assert_eq!(labels, [&json!("Crime"), &json!("Romance")]);

    let new = CreateAudiobookRequest {
        title: "The Moonstone".to_owned(),
        author: "Wilkie Collins".to_owned(),
        categories: vec!["crime".to_owned()],
        ..Default::default()
    };
    let book = admin.admin().create_audiobook(admin.call(new)).await.unwrap().into_inner().book.unwrap();
    let found = |category: &str| ListAudiobooksRequest { category: category.to_owned(), ..Default::default() };
    let of_crime = admin.shop().list_audiobooks(admin.call(found("crime"))).await.unwrap().into_inner().items;
    assert_eq!(of_crime, std::slice::from_ref(&book));
    assert_eq!(ids(&admin.get("/v1/books?category=crime").await), std::slice::from_ref(&book.id));
    assert_eq!(admin.get("/v1/books?category=romance").await["items"], json!([]));

    let decide = |slug: &str, decision: CategoryDecision| DecideCategoryRequest {
        slug: slug.to_owned(),
        decision: decision.into(),
    };
    let accepted = admin.admin().decide_category(admin.call(decide("crime", CategoryDecision::Accept))).await.unwrap();
    assert_eq!(accepted.into_inner().category, Some(category("crime", "Crime", "Somebody did it.")));
    let rejected = admin.admin().decide_category(admin.call(decide("crime", CategoryDecision::Reject))).await.unwrap();
    assert_eq!(rejected.into_inner().category, None);
    let path = format!("/v1/books/{}", book.id);
    assert_eq!(admin.get(&path).await["categories"], json!([]), "it leaves its books too");
    let (status, refused) = admin.refused(Method::DELETE, "/v1/categories/crime", None).await;
    assert_eq!((status, refused.code.as_str()), (404, "not_found"));
    for (request, code) in [
        (decide("crime", CategoryDecision::Accept), Code::NotFound),
        (decide("crime", CategoryDecision::Reject), Code::NotFound),
        (decide("romance", CategoryDecision::Unspecified), Code::InvalidArgument),
        (decide("No slug", CategoryDecision::Accept), Code::InvalidArgument),
    ] {
        assert_eq!(denied(admin.admin().decide_category(admin.call(request)).await).0, code);
    }
    for label in ["", "a\nb", &"x".repeat(61)] {
        let body = json!({"label": label});
        assert_eq!(admin.refused(Method::PUT, "/v1/categories/crime", Some(body)).await.0, 422, "{label:?}");
        let put = PutCategoryRequest { slug: "crime".to_owned(), label: label.to_owned(), hint: String::new() };
        assert_eq!(denied(admin.admin().put_category(admin.call(put)).await).0, Code::InvalidArgument, "{label:?}");
    }
    assert_eq!(user.refused(Method::DELETE, "/v1/categories/romance", None).await.0, 403);
}
