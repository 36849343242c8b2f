//! The catalogue in both protocols: who sees what, pages, and bad input.

use contracts::{BookId, BookStatus};
use reqwest::Method;
use serde_json::json;
use shop_api::proto::shop_v1::{
    AddToCartRequest, CreateAudiobookRequest, GetAudiobookRequest, GetAudiobookStatusRequest, GetDescriptionRequest,
    GetDownloadUrlRequest, GetPositionRequest, HideAudiobookRequest, ListAudiobooksRequest, ListOrdersRequest,
    MediaStatus, PublishAudiobookRequest, UpdateAudiobookRequest,
};
use tonic::Code;

use crate::both::{Both, as_json, denied, euro, ids, like_grpc, on_sale, refusal, shelve};
use crate::test_service::TestShop;

#[tokio::test]
async fn both_protocols_say_the_same_of_a_book() {
    let shop = TestShop::start().await;
    let (ann, admin) = (shop.user("ann").await, shop.admin("root").await);
    on_sale(&shop.database, "Emma", 1_299).await;
    shelve(&shop.database, "Sanditon", None, BookStatus::Draft).await;
    let hidden = shelve(&shop.database, "Lady Susan", Some(euro(0)), BookStatus::Hidden).await;
    for (token, count) in [(&ann.access_token, 1), (&admin.access_token, 3)] {
        let both = Both::of(&shop, token);
        let list = both.get("/v1/books").await;
        let listed =
            both.shop().list_audiobooks(both.call(ListAudiobooksRequest::default())).await.unwrap().into_inner();
        assert_eq!((ids(&list).len(), listed.items.len()), (count, count));
        assert_eq!((list["next_cursor"].as_str(), listed.next_page_token.as_str()), (None, ""));
        for (rest, message) in list["items"].as_array().unwrap().iter().zip(&listed.items) {
            assert_eq!(like_grpc(rest.clone()), as_json(message));
            let one = both.get(&format!("/v1/books/{}", message.id)).await;
            assert_eq!(&one, rest);
            let id = message.id.clone();
            let got = both.shop().get_audiobook(both.call(GetAudiobookRequest { id })).await.unwrap().into_inner();
            assert_eq!(got.book.as_ref(), Some(message));
            assert_eq!((got.description, got.transcript_preview), (message.ai_description.clone(), String::new()));
        }
    }
    let both = Both::of(&shop, &admin.access_token);
    let audiobook_id = hidden.to_string();
    let request = GetDescriptionRequest { audiobook_id: audiobook_id.clone() };
    let told = both.shop().get_description(both.call(request)).await.unwrap().into_inner();
    assert_eq!(told.description, "The story of Lady Susan.");
    let status = both.shop().get_audiobook_status(both.call(GetAudiobookStatusRequest { audiobook_id })).await.unwrap();
    assert_eq!(status.into_inner().status, i32::from(MediaStatus::MediaHide));
}

#[tokio::test]
async fn drafts_and_hidden_books_never_leak() {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let ready = on_sale(&shop.database, "Emma and the others", 1_299).await;
    let unseen = [BookStatus::Draft, BookStatus::Processing, BookStatus::Hidden, BookStatus::Deleted];
    let mut concealed = vec![BookId::now()];
    for status in unseen {
        concealed.push(shelve(&shop.database, &format!("Emma {status}"), Some(euro(1_299)), status).await);
    }
    let unknown = concealed[0].to_string();
    for id in concealed.into_iter().map(|id| id.to_string()) {
        let without_id = |text: &str| text.replace(&id, "…");
        for (method, path) in [
            (Method::GET, format!("/v1/books/{id}")),
            (Method::PUT, format!("/v1/cart/{id}")),
            (Method::POST, format!("/v1/books/{id}/download")),
            (Method::GET, format!("/v1/books/{id}/position")),
            (Method::GET, format!("/v1/books/{id}/preview")),
            (Method::GET, format!("/v1/books/{id}/cover")),
        ] {
            let (status, refused) = ann.refused(method.clone(), &path, None).await;
            assert_eq!((status, refused.code.as_str()), (404, "not_found"), "{method} {path}");
            let of_unknown = ann.refused(method.clone(), &path.replace(&id, &unknown), None).await.1;
            assert_eq!(without_id(&refused.text), of_unknown.text.replace(&unknown, "…"), "{method} {path}");
        }
        let not_found = (Code::NotFound, "not_found".to_owned());
        let mut calls = ann.shop();
        let (audiobook_id, get) = (id.clone(), GetAudiobookRequest { id: id.clone() });
        assert_eq!(denied(calls.get_audiobook(ann.call(get)).await), not_found);
        let get = GetDescriptionRequest { audiobook_id: audiobook_id.clone() };
        assert_eq!(denied(calls.get_description(ann.call(get)).await), not_found);
        let get = GetAudiobookStatusRequest { audiobook_id: audiobook_id.clone() };
        assert_eq!(denied(calls.get_audiobook_status(ann.call(get)).await), not_found);
        let add = AddToCartRequest { audiobook_id: audiobook_id.clone() };
        assert_eq!(denied(calls.add_to_cart(ann.call(add)).await), not_found);
        let get = GetPositionRequest { audiobook_id: audiobook_id.clone() };
        assert_eq!(denied(calls.get_position(ann.call(get)).await), not_found);
        let get = GetDownloadUrlRequest { audiobook_id };
        assert_eq!(denied(calls.get_download_url(ann.call(get)).await), not_found);
    }
    for list in ["/v1/books", "/v1/books?query=emma", "/v1/books?query=Austen", "/v1/books?status=ready"] {
        assert_eq!(ids(&ann.get(list).await), [ready.to_string()], "{list}");
    }
    for status in unseen {
        let path = format!("/v1/books?status={status}");
        assert_eq!(ann.refused(Method::GET, &path, None).await.0, 422, "{path}");
    }
    let list = ListAudiobooksRequest { statuses: vec![MediaStatus::MediaHide.into()], ..Default::default() };
    let refused = denied(ann.shop().list_audiobooks(ann.call(list)).await);
    assert_eq!(refused, (Code::InvalidArgument, "invalid".to_owned()));
    let cart = ann.get("/v1/cart").await;
    assert_eq!(cart["items"], json!([]), "none of the attempts put a book into the cart");
}

#[tokio::test]
async fn a_list_has_every_book_once_in_both_protocols() {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let mut expected = Vec::new();
    for number in 0..7 {
        expected.insert(0, on_sale(&shop.database, &format!("Volume {number}"), 500).await.to_string());
    }
    let (mut by_rest, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ann.get(&format!("/v1/books?limit=3{cursor}")).await;
        by_rest.extend(ids(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    let (mut by_grpc, mut page_token) = (Vec::new(), String::new());
    loop {
        let list = ListAudiobooksRequest { page_size: 3, page_token, ..Default::default() };
        let page = ann.shop().list_audiobooks(ann.call(list)).await.unwrap().into_inner();
        by_grpc.extend(page.items.into_iter().map(|book| book.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!((&by_rest, &by_grpc), (&expected, &expected));
    // A cursor is a position and no right: that of another user goes on in the same list.
    let bob = Both::of(&shop, &shop.user("bob").await.access_token);
    let first = ann.get("/v1/books?limit=3").await;
    let rest = bob.get(&format!("/v1/books?limit=50&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(ids(&rest), expected[3..]);
}

#[tokio::test]
async fn bad_pages_are_refused_by_name_in_both_protocols() {
    let shop = TestShop::start().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    for number in 0..3 {
        on_sale(&shop.database, &format!("Volume {number}"), 500).await;
    }
    let of_books = ann.get("/v1/books?limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    for (path, part) in [
        ("/v1/books?limit=0".to_owned(), "limit"),
        ("/v1/books?limit=51".to_owned(), "limit"),
        ("/v1/books?limit=-1".to_owned(), "limit"),
        ("/v1/books?cursor=x".to_owned(), "cursor"),
        (format!("/v1/orders?cursor={of_books}"), "another list"),
        (format!("/v1/purchases?cursor={of_books}"), "another list"),
        ("/v1/books?category=No%20slug".to_owned(), "category"),
        ("/v1/books?status=sold".to_owned(), "status"),
        (format!("/v1/books?query={}", "x".repeat(201)), "query"),
        ("/v1/books?query=a%00b".to_owned(), "query"),
        ("/v1/books?page=2".to_owned(), "no parameter"),
    ] {
        let (status, refused) = ann.refused(Method::GET, &path, None).await;
        assert_eq!((status, refused.code.as_str()), (422, "invalid"), "{path}");
        assert!(refused.text.contains(part), "{path}: {}", refused.text);
    }
    let mut calls = ann.shop();
    let list = ListAudiobooksRequest::default;
    for (list, part) in [
        (ListAudiobooksRequest { page_size: -1, ..list() }, "page_size"),
        (ListAudiobooksRequest { page_token: "x".to_owned(), ..list() }, "page_token"),
        (ListAudiobooksRequest { category: "No slug".to_owned(), ..list() }, "category"),
        (ListAudiobooksRequest { statuses: vec![99], ..list() }, "statuses"),
        (ListAudiobooksRequest { query: "x".repeat(201), ..list() }, "query"),
        (ListAudiobooksRequest { query: "a\0b".to_owned(), ..list() }, "query"),
    ] {
        let refused = refusal(calls.list_audiobooks(ann.call(list)).await);
        assert_eq!(refused.code, "invalid", "{part}");
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    let foreign = ListOrdersRequest { page_size: 1, page_token: of_books };
    assert!(refusal(calls.list_orders(ann.call(foreign)).await).text.contains("another list"));
    // As clients of gRPC expect, a page that is too large is the largest.
    let large = ListAudiobooksRequest { page_size: 1_000, ..list() };
    assert_eq!(calls.list_audiobooks(ann.call(large)).await.unwrap().into_inner().items.len(), 3);
}

#[tokio::test]
async fn bad_books_are_refused_by_name_in_both_protocols() {
    let shop = TestShop::start().await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let good = || CreateAudiobookRequest {
        title: "Emma".to_owned(),
        author: "Jane Austen".to_owned(),
        price_cents: Some(1_299),
        currency: "EUR".to_owned(),
        ..Default::default()
    };
    let bad = |change: &dyn Fn(&mut CreateAudiobookRequest)| {
        let mut new = good();
        change(&mut new);
        new
    };
    let cases = [
        ("title", bad(&|new| new.title = String::new())),
        ("title", bad(&|new| new.title = "  ".to_owned())),
        ("title", bad(&|new| new.title = "a\0b".to_owned())),
        ("title", bad(&|new| new.title = "a\u{1b}[2Jb".to_owned())),
        ("title", bad(&|new| new.title = "x".repeat(201))),
        ("author", bad(&|new| new.author = "a\nb".to_owned())),
        ("price", bad(&|new| new.price_cents = Some(-1))),
        ("price", bad(&|new| new.price_cents = Some(i64::MIN))),
        ("price", bad(&|new| new.price_cents = Some(i64::MAX))),
        ("currency", bad(&|new| new.currency = "EURO".to_owned())),
        ("currency", bad(&|new| new.currency = "eur".to_owned())),
        ("currency", bad(&|new| new.currency = "XXX".to_owned())),
        ("language", bad(&|new| new.language = "the English language".to_owned())),
        ("description", bad(&|new| new.description = "x".repeat(5_001))),
        ("categories", bad(&|new| new.categories = vec!["no-such".to_owned()])),
        ("categories", bad(&|new| new.categories = vec!["No Slug".to_owned()])),
        ("categories", bad(&|new| new.categories = (0..30).map(|n| format!("c{n}")).collect())),
    ];
    for (field, new) in cases {
        let mut body = json!({
            "title": new.title, "author": new.author,
            "price": {"minor": new.price_cents, "currency": new.currency}, "categories": new.categories,
        });
        for (name, text) in [("language", &new.language), ("description", &new.description)] {
            if !text.is_empty() {
                body[name] = json!(text);
            }
        }
        let (status, by_rest) = admin.refused(Method::POST, "/v1/books", Some(body.clone())).await;
        let by_grpc = refusal(admin.admin().create_audiobook(admin.call(new)).await);
        assert_eq!((status, by_rest.code.as_str(), by_grpc.code.as_str()), (422, "invalid", "invalid"), "{body:.200}");
        assert!(by_rest.text.contains(field) && by_grpc.text.contains(field), "{by_rest:?} {by_grpc:?}");
    }
    assert_eq!(admin.get("/v1/books").await["items"], json!([]));
    let created = admin.admin().create_audiobook(admin.call(good())).await.unwrap().into_inner().book.unwrap();
    let path = format!("/v1/books/{}", created.id);
    for (body, status, code) in [
        (json!({"price": {"minor": -5, "currency": "EUR"}}), 422, "invalid"),
        (json!({"price": {"minor": 12.99, "currency": "EUR"}}), 422, "invalid"),
        (json!({"price": 1299}), 422, "invalid"),
        (json!({"titel": "Emma"}), 422, "invalid"),
        (json!({"title": "Emma", "version": created.version + 1}), 409, "version_conflict"),
    ] {
        let refused = admin.refused(Method::PATCH, &path, Some(body.clone())).await;
        assert_eq!((refused.0, refused.1.code.as_str()), (status, code), "{body}");
    }
    let change = UpdateAudiobookRequest { audiobook_id: created.id.clone(), ..Default::default() };
    for (change, code, reason) in [
        (UpdateAudiobookRequest { price_cents: Some(-5), ..change.clone() }, Code::InvalidArgument, "invalid"),
        (
            UpdateAudiobookRequest { currency: Some("EUR".to_owned()), ..change.clone() },
            Code::InvalidArgument,
            "invalid",
        ),
        (
            UpdateAudiobookRequest { title: Some("Emma".to_owned()), version: Some(created.version + 1), ..change },
            Code::Aborted,
            "version_conflict",
        ),
    ] {
        assert_eq!(denied(admin.admin().update_audiobook(admin.call(change)).await), (code, reason.to_owned()));
    }
    assert_eq!(like_grpc(admin.get(&path).await), as_json(&created), "nothing is changed");
}

#[tokio::test]
async fn a_book_is_changed_hidden_and_shown_again() {
    let shop = TestShop::start().await;
    let (ann, admin) = (shop.user("ann").await, shop.admin("root").await);
    let (ann, admin) = (Both::of(&shop, &ann.access_token), Both::of(&shop, &admin.access_token));
    let id = on_sale(&shop.database, "Emma", 1_299).await.to_string();
    let path = format!("/v1/books/{id}");
    let change = UpdateAudiobookRequest {
        audiobook_id: id.clone(),
        price_cents: Some(999),
        description: Some(String::new()),
        ..Default::default()
    };
    let changed = admin.admin().update_audiobook(admin.call(change)).await.unwrap().into_inner().book.unwrap();
    assert_eq!((changed.price_cents, changed.currency.as_str(), changed.ai_description.as_str()), (999, "EUR", ""));
    let seen = ann.get(&path).await;
    assert_eq!((&seen["price"], seen.get("description")), (&json!({"minor": 999, "currency": "EUR"}), None));
    let body = json!({"title": "Emma, retold", "language": null});
    let (status, changed) = admin.send(Method::PATCH, &path, Some(body)).await;
    assert_eq!((status, &changed["title"], changed.get("language")), (200, &json!("Emma, retold"), None));

    let hide = HideAudiobookRequest { audiobook_id: id.clone() };
    let hidden = admin.admin().hide_audiobook(admin.call(hide)).await.unwrap().into_inner().book.unwrap();
    assert_eq!(hidden.status, i32::from(MediaStatus::MediaHide));
    assert_eq!(ann.refused(Method::GET, &path, None).await.0, 404);
    // A book that never had a recording cannot be published, in either protocol.
    let refused = admin.refused(Method::POST, &format!("{path}/publish"), None).await;
    assert_eq!((refused.0, refused.1.code.as_str()), (409, "incomplete"));
    let publish = PublishAudiobookRequest { audiobook_id: id };
    let by_grpc = refusal(admin.admin().publish_audiobook(admin.call(publish)).await);
    assert_eq!(by_grpc, refused.1);
    for action in ["hide", "publish"] {
        let unknown = format!("/v1/books/{}/{action}", BookId::now());
        assert_eq!(admin.refused(Method::POST, &unknown, None).await.0, 404, "{action}");
    }
}
