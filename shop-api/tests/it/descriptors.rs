//! The published descriptors: what a client was built with stays as it is.
//!
//! `UPDATE_GOLDEN=1 cargo test --release -p shop-api` rewrites the file after an addition. A change of what is there fails all the same.

use std::collections::BTreeMap;
use std::path::PathBuf;

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use shop_api::proto::DESCRIPTORS;

/// The packages whose wire is published.
const PACKAGES: [&str; 3] = ["auth.v1", "shop.v1", "sightline"];

fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(relative)
}

fn committed() -> PathBuf {
    path("crates/contracts/proto/descriptors.binpb")
}

/// Everything that a client relies on: for each name or number, what it means.
fn facts(set: &FileDescriptorSet) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for file in set.file.iter().filter(|file| PACKAGES.contains(&file.package())) {
        let package = file.package();
        for message in &file.message_type {
            message_facts(&mut facts, package, message);
        }
        for one in &file.enum_type {
            enum_facts(&mut facts, package, one);
        }
        for service in &file.service {
            for method in &service.method {
                let name = format!("method {package}.{}.{}", service.name(), method.name());
                let (sends, receives) = (method.client_streaming(), method.server_streaming());
                let meaning = format!("{} {sends} -> {} {receives}", method.input_type(), method.output_type());
                facts.insert(name, meaning);
            }
        }
    }
    facts
}

fn message_facts(facts: &mut BTreeMap<String, String>, parent: &str, message: &DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    facts.insert(format!("message {name}"), String::new());
    for field in &message.field {
        let meaning = format!("{} {:?} {:?} {:?}", field.name(), field.r#type(), field.label(), field.type_name());
        facts.insert(format!("field {} of {name}", field.number()), meaning);
    }
    for one in &message.enum_type {
        enum_facts(facts, &name, one);
    }
    for nested in &message.nested_type {
        message_facts(facts, &name, nested);
    }
}

fn enum_facts(facts: &mut BTreeMap<String, String>, parent: &str, one: &EnumDescriptorProto) {
    for value in &one.value {
        facts.insert(format!("value {} of {parent}.{}", value.number(), one.name()), value.name().to_owned());
    }
}

/// What a client of `old` no longer finds in `new`.
fn broken(old: &FileDescriptorSet, new: &FileDescriptorSet) -> Vec<String> {
    let (old, new) = (facts(old), facts(new));
    let changed = old.iter().filter(|(name, meaning)| new.get(*name) != Some(*meaning));
    changed.map(|(name, meaning)| format!("{name}: {meaning:?} is now {:?}", new.get(name))).collect()
}

fn current() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).unwrap()
}

#[test]
fn a_published_field_is_never_removed_or_renumbered() {
    let bytes = std::fs::read(committed()).unwrap_or_default();
    let broken = broken(&FileDescriptorSet::decode(bytes.as_slice()).unwrap(), &current());
    assert!(broken.is_empty(), "clients rely on these; add new ones instead: {broken:#?}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(committed(), DESCRIPTORS).unwrap();
    }
    let bytes = std::fs::read(committed()).unwrap_or_default();
    assert!(bytes == DESCRIPTORS, "{} is out of date; UPDATE_GOLDEN=1 rewrites it", committed().display());
}

#[test]
fn the_comparison_finds_removed_and_renumbered_fields() {
    let book = |set: &mut FileDescriptorSet, change: fn(&mut DescriptorProto)| {
        let messages = set.file.iter_mut().flat_map(|file| &mut file.message_type);
        messages.filter(|message| message.name() == "Audiobook").for_each(change);
    };
    let changes: [fn(&mut DescriptorProto); 3] = [
        |message| drop(message.field.remove(1)),
        |message| message.field[1].number = Some(49),
        |message| message.field[1].name = Some("heading".to_owned()),
    ];
    for change in changes {
        let mut changed = current();
        book(&mut changed, change);
        let found = broken(&current(), &changed);
        assert!(found.len() == 1 && found[0].contains("field 2 of shop.v1.Audiobook"), "{found:?}");
    }
    assert!(broken(&current(), &current()).is_empty());
}

#[test]
fn the_protos_are_published_in_the_documents() {
    for name in ["auth/v1/auth.proto", "shop/v1/shop.proto", "shop/v1/admin.proto", "sightline/access.proto"] {
        let published = std::fs::read(path("docs/proto").join(name)).unwrap();
        assert_eq!(published, std::fs::read(path("crates/contracts/proto").join(name)).unwrap(), "{name}");
    }
}

#[test]
fn the_wire_of_the_reference_system_is_kept() {
    let facts = facts(&current());
    let field = |number: i32, message: &str| {
        let meaning = facts.get(&format!("field {number} of {message}")).map(String::as_str).unwrap_or_default();
        meaning.split(' ').next().unwrap_or_default().to_owned()
    };
    for (message, names) in [
        ("auth.v1.User", &["id", "email", "provider", "email_verified", "created_at", "updated_at", "role"][..]),
        (
            "auth.v1.TokenPair",
            &["access_token", "refresh_token", "access_token_expires_at", "refresh_token_expires_at", "token_type"],
        ),
        ("auth.v1.AuthResponse", &["user", "tokens"]),
        ("auth.v1.ValidateTokenResponse", &["valid", "user", "expires_at"]),
        (
            "shop.v1.Audiobook",
            &[
                "id",
                "title",
                "author",
                "duration_seconds",
                "price_cents",
                "cover_url",
                "status",
                "categories",
                "ai_description",
                "created_at",
                "updated_at",
                "content_type",
            ],
        ),
        ("shop.v1.UploadHeader", &["title", "author", "price_cents", "filename", "content_type"]),
        ("shop.v1.UploadChunk", &["header", "data"]),
        ("shop.v1.CreateUploadUrlResponse", &["audiobook_id", "upload_url", "max_bytes"]),
        ("shop.v1.CompleteUploadRequest", &["audiobook_id", "ai_provider", "force_status"]),
        ("shop.v1.ListAudiobooksRequest", &["page_size", "page_token", "query", "category"]),
        ("shop.v1.ListAudiobooksResponse", &["items", "next_page_token"]),
        ("shop.v1.GetAudiobookResponse", &["book", "transcript_preview", "description"]),
        ("shop.v1.ViewCartResponse", &["items", "subtotal_cents"]),
        ("shop.v1.CheckoutResponse", &["order_id", "total_cents", "created_at"]),
        ("shop.v1.ListPurchasesResponse.PurchasedItem", &["order_id", "book", "price_cents", "purchased_at"]),
        ("shop.v1.GetDownloadURLResponse", &["download_url"]),
    ] {
        for (number, name) in (1..).zip(names) {
            assert_eq!(field(number, message), *name, "field {number} of {message}");
        }
    }
    for (number, name) in [(3, "MEDIA_PROCESSING_SUMMARY"), (4, "MEDIA_READY"), (6, "MEDIA_DETETED")] {
        assert_eq!(facts.get(&format!("value {number} of shop.v1.MediaStatus")).map(String::as_str), Some(name));
    }
    assert_eq!(facts.get("value 1 of shop.v1.AIProvider").map(String::as_str), Some("AIProvider_AWS"));
}
