//! Uploads from the embedded log to their outcomes, and the route that sends them.

use std::os::unix::fs::symlink;

use contracts::face_upload::FaceVerifiedData;
use contracts::{
    DeadLetter, Event, FaceUpload, FaceVerifiedEvent, SubjectId, TopicRole, UploadOutcome, VectorId, groups,
};
use faces::uploads::{MOST_OF_USER, UploadFolder};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use store::relational::{AccessChange, NewUpload, UploadPlace, UploadedFace};
use uuid::Uuid;

use crate::test_service::TestService;
use crate::test_uploads::{Answer, LIMIT, TestUploads};

/// The beginning of an image.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

#[tokio::test]
async fn every_bad_upload_is_refused_by_name() {
    let test = TestUploads::start(None).await;
    let ann = test.user("ann").await;
    let gone = test.user("gone").await;
    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    test.database().change_access(gone.id, &disable, Timestamp::now(), Timestamp::now()).await.unwrap();
    let secret = test.root.with_file_name("secret");
    std::fs::write(&secret, "secret").unwrap();
    symlink(&secret, test.root.join("link")).unwrap();
    std::fs::create_dir(test.root.join("folder")).unwrap();
    std::fs::write(test.root.join("large"), vec![0; LIMIT + 1]).unwrap();
    for path in ["../secret", "/etc/passwd", "link", "folder", "large", "missing", ""] {
        test.upload("ANN", path).await;
    }
    test.upload_file("nobody", "of-nobody", b"image").await;
    test.upload_file("gone", "of-a-disabled-user", b"image").await;
    test.upload("a\u{0}nn", "strange").await;
    test.send("no JSON").await;

    let events = test.events().await;

    let expected = [
        ("../secret", UploadOutcome::PathOutside),
        ("/etc/passwd", UploadOutcome::PathOutside),
        ("link", UploadOutcome::PathIsLink),
        ("folder", UploadOutcome::NotAFile),
        ("large", UploadOutcome::FileTooLarge),
        ("missing", UploadOutcome::FileMissing),
        ("", UploadOutcome::FileMissing),
        ("of-nobody", UploadOutcome::UnknownUser),
        ("of-a-disabled-user", UploadOutcome::UnknownUser),
        ("strange", UploadOutcome::UnknownUser),
    ];
    let found: Vec<_> = events.iter().map(|event| (event.data.path.as_str(), event.data.outcome)).collect();
    assert_eq!(found, expected);
    for event in &events {
        let FaceVerifiedEvent { tenant, data: FaceVerifiedData { user_id, verified, outcome, .. }, .. } = event;
        let is_known = *outcome != UploadOutcome::UnknownUser;
        assert_eq!(
            (tenant, user_id),
            (&is_known.then(|| ann.tenant.clone()), &is_known.then_some(ann.id)),
            "{outcome}"
        );
        assert!(!verified, "{outcome}");
    }
    assert_eq!((test.files(), secret.exists()), (vec!["folder".to_owned()], true));
    let letters = test.read(TopicRole::FacesUploadsDlq).await;
    let letters: Vec<DeadLetter> = letters.iter().map(|letter| DeadLetter::from_message(letter).unwrap()).collect();
    let causes: Vec<_> =
        letters.iter().map(|letter| (letter.cause.code.as_str(), &letter.original.value[..])).collect();
    assert_eq!(causes, [("undecodable", &b"no JSON"[..])]);
    assert_eq!(test.database().verified_at(ann.id, &ann.tenant).await.unwrap(), None);
}

#[tokio::test]
async fn a_message_that_is_delivered_again_goes_on_from_its_outcome() {
    goes_on(&TestUploads::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_message_that_kafka_delivers_again_goes_on_from_its_outcome() {
    goes_on(&TestUploads::on_kafka().await).await;
}

/// As after a crash between the transaction and the event: there is no model, so nothing could be compared again.
async fn goes_on(test: &TestUploads) {
    let ann = test.user("ann").await;
    let topic_id = test.bus.topic_id(TopicRole::FacesUploads).await.unwrap();
    let place = |offset| UploadPlace { topic_id: topic_id.clone(), partition: 0, offset };
    let folder = UploadFolder::open(&test.root, 1_000).unwrap();
    std::fs::write(test.root.join("first"), b"image").unwrap();
    let upload =
        NewUpload { place: place(0), message: [0; 32], file: Some(folder.read("first").unwrap().id.to_string()) };
    let face = UploadedFace {
        model: "mobilefacenet_128d".to_owned(),
        embedding: gallery::Embedding::new(&[1.0; 128], 128).unwrap(),
        target: None,
        target_embedding: None,
        threshold: 0.4,
        written_at: Timestamp::now(),
        subject: SubjectId::from_uuid(Uuid::now_v7()),
        vector: VectorId::from_uuid(Uuid::now_v7()),
    };
    test.database().decide_upload(&upload, ann.id, &face, Timestamp::now()).await.unwrap();
    // After the crash, another program wrote the next photograph to the path of one that was decided and deleted.
    let replaced = NewUpload { place: place(1), message: [1; 32], file: Some("of-a-deleted-file".to_owned()) };
    let refused = test.database().refuse_upload(&replaced, Some(ann.id), UploadOutcome::NoFace, Timestamp::now()).await;
    refused.unwrap();
    test.upload("ann", "first").await;
    test.upload_file("ann", "second", b"the next one").await;

    let events = test.events().await;

    let found: Vec<_> = events.iter().map(|event| (event.data.outcome, event.data.verified, event.id)).collect();
    let expected = [(UploadOutcome::Enrolled, true), (UploadOutcome::NoFace, false)].into_iter().zip(0..);
    let id = |offset| FaceVerifiedEvent::id_at(&topic_id, 0, offset);
    let expected: Vec<_> = expected.map(|((outcome, verified), offset)| (outcome, verified, id(offset))).collect();
    assert_eq!(found, expected);
    assert_eq!(test.files(), ["second"], "a file whose outcome is not stored stays");
}

#[tokio::test]
async fn a_second_copy_of_a_message_changes_nothing() {
    copies(&TestUploads::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn a_second_copy_of_a_message_on_kafka_changes_nothing() {
    copies(&TestUploads::on_kafka().await).await;
}

async fn copies(test: &TestUploads) {
    test.user("ann").await;
    test.upload_file("nobody", "a", b"image").await;
    test.upload("nobody", "a").await;
    test.upload("ann", "../b").await;
    test.upload("ann", "../b").await;
    let outcomes: Vec<_> = test.events().await.into_iter().map(|event| event.data.outcome).collect();
    assert_eq!(outcomes, [UploadOutcome::UnknownUser, UploadOutcome::PathOutside]);
    // The same path with another file is another upload.
    test.upload_file("nobody", "a", b"another image").await;
    assert_eq!((test.events().await.len(), test.files()), (3, Vec::new()));
}

#[tokio::test]
async fn a_photograph_waits_in_the_folder_with_its_message() {
    let test = TestUploads::start(None).await;
    let ann = test.user("ann").await;
    let (path, png) = ("/v1/users/me/photo", PNG.to_vec());
    let post = async |token: &str, body: Vec<u8>| test.service.send(token, Method::POST, path, body).await;
    let (status, accepted) = post(&ann.token(), png.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    let name = accepted["path"].as_str().unwrap().to_owned();
    // There is no model, so it waits.
    assert_eq!((test.files(), std::fs::read(test.root.join(&name)).unwrap()), (vec![name.clone()], png.clone()));
    let messages = test.read(TopicRole::FacesUploads).await;
    let sent: Vec<FaceUpload> = messages.iter().map(|message| FaceUpload::from_message(message).unwrap()).collect();
    assert_eq!(sent, [FaceUpload { username: "ann".to_owned(), path: name, user_id: Some(ann.id) }]);
    assert!(messages[0].headers.iter().next().is_none(), "it is bare JSON");

    let refused = async |token: &str, body: Vec<u8>| test.service.refused(token, Method::POST, path, body).await;
    assert_eq!(refused("a", png.clone()).await, (403, "no_user".to_owned()));
    assert_eq!(refused(&format!("a:faces:read@{}", ann.id), png.clone()).await, (403, "forbidden".to_owned()));
    assert_eq!(refused(&ann.token(), b"text".to_vec()).await, (415, "unsupported_media_type".to_owned()));
    assert_eq!(refused(&ann.token(), vec![0; LIMIT + 1]).await, (413, "too_large".to_owned()));
    for _ in 1..MOST_OF_USER {
        assert_eq!(post(&ann.token(), png.clone()).await.0, StatusCode::ACCEPTED);
    }
    assert_eq!(refused(&ann.token(), png.clone()).await, (409, "conflict".to_owned()));
    assert_eq!(test.files().len(), MOST_OF_USER);
    let off = TestService::start(None).await;
    assert_eq!(off.refused(&ann.token(), Method::POST, path, png).await, (403, "uploads_off".to_owned()));
}

#[tokio::test]
async fn the_answer_to_a_photograph_has_the_id_of_its_outcome() {
    has_the_id(&TestUploads::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn the_answer_to_a_photograph_on_kafka_has_the_id_of_its_outcome() {
    has_the_id(&TestUploads::on_kafka().await).await;
}

async fn has_the_id(test: &TestUploads) {
    let ann = test.user("ann").await;
    let mut expected = Vec::new();
    for _ in 0..2 {
        let (status, accepted) =
            test.service.send(&ann.token(), Method::POST, "/v1/users/me/photo", PNG.to_vec()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
        let text = |field: &str| accepted[field].as_str().unwrap().to_owned();
        // Without a model it waits, and without its file it is refused.
        std::fs::remove_file(test.root.join(text("path"))).unwrap();
        expected.push((text("path"), text("id"), UploadOutcome::FileMissing));
    }
    let events = test.events().await;
    let found: Vec<_> =
        events.into_iter().map(|event| (event.data.path, event.id.to_string(), event.data.outcome)).collect();
    assert_eq!(found, expected);
    let latest = test.database().photo_status(ann.id, &ann.tenant).await.unwrap().photo.unwrap();
    assert_eq!((latest.id.to_string(), latest.outcome), (expected[1].1.clone(), UploadOutcome::FileMissing));
}

#[tokio::test]
async fn a_photograph_whose_message_cannot_be_sent_does_not_stay() {
    let (test, _answers) = TestUploads::start_answering(Answer::Refuse).await;
    let ann = test.user("ann").await;
    let refused = test.service.refused(&ann.token(), Method::POST, "/v1/users/me/photo", PNG.to_vec()).await;
    assert_eq!((refused, test.files()), ((503, "unavailable".to_owned()), Vec::new()));
}

#[tokio::test]
async fn photographs_that_wait_are_erased_with_a_subject_of_their_user() {
    let test = TestUploads::start(None).await;
    let (ann, ben) = (test.user("ann").await, test.user("ben").await);
    let send = async |token: &str| {
        let (status, accepted) = test.service.send(token, Method::POST, "/v1/users/me/photo", PNG.to_vec()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
        accepted["path"].as_str().unwrap().to_owned()
    };
    let delete = async |id: &str| {
        let path = format!("/v1/faces/subjects/{id}");
        test.service.send(&ann.token(), Method::DELETE, &path, Vec::new()).await
    };
    let (of_ann, of_ben) = (send(&ann.token()).await, send(&ben.token()).await);
    std::fs::write(test.root.join("of-a-kiosk"), "image").unwrap();
    assert_eq!(delete(&Uuid::now_v7().to_string()).await.0, StatusCode::NOT_FOUND);
    assert!(test.files().contains(&of_ann), "nobody was deleted");

    let subject = test.service.subject(&ann.token(), "Ann").await;
    let (status, receipt) = delete(&subject).await;

    assert_eq!((status, test.files()), (StatusCode::OK, vec!["of-a-kiosk".to_owned(), of_ben]), "{receipt}");
    let remaining = receipt["remaining"].as_array().unwrap();
    assert!(remaining.iter().any(|data| data["place"] == faces::PHOTOGRAPHS), "those of other programs: {receipt}");
}

/// The log refuses the message after the client has gone.
#[tokio::test]
async fn a_client_that_goes_away_leaves_no_photograph_without_a_message() {
    let (test, answers) = TestUploads::start_answering(Answer::Hold).await;
    let token = test.user("ann").await.token();
    tokio::select! {
        answered = test.service.send(&token, Method::POST, "/v1/users/me/photo", PNG.to_vec()) => panic!("{answered:?}"),
        () = test.wait_for_files(1) => {}
    }
    // The server sees the end of the connection meanwhile.
    assert_eq!(test.service.get(&token, "/v1/faces/subjects").await.0, StatusCode::OK);
    answers.give(Answer::Refuse);
    test.wait_for_files(0).await;
}

/// The outcome is stored, and the event cannot be sent: the file stays until it is.
#[tokio::test]
async fn a_file_stays_until_its_event_is_sent() {
    let (test, answers) = TestUploads::start_answering(Answer::Refuse).await;
    test.upload_file("nobody", "a", b"image").await;
    // The second one shows what follows the first.
    answers.wait_for_refusals(2).await;
    let place =
        UploadPlace { topic_id: test.bus.topic_id(TopicRole::FacesUploads).await.unwrap(), partition: 0, offset: 0 };
    assert!(test.database().upload_outcome(&place).await.unwrap().is_some(), "no outcome is stored");
    assert_eq!(test.files(), ["a"]);
    assert!(test.bus.progress(TopicRole::FacesUploads, groups::FACES).await.unwrap().waiting > 0);
    answers.give(Answer::Accept);
    assert_eq!((test.events().await.len(), test.files()), (1, Vec::new()));
}

/// A fault of the operator is not one of the message: nothing is lost, and `/readyz` says what to do.
#[tokio::test]
async fn a_photograph_waits_until_the_operator_mends_the_database() {
    let test = TestUploads::start(None).await;
    let database = rusqlite::Connection::open(test.service.database_file()).unwrap();
    database.execute_batch("ALTER TABLE face_upload_outcomes RENAME TO away").unwrap();
    test.upload_file("nobody", "a", b"image").await;

    testing::eventually("/readyz says why it waits", async || {
        test.service.ready().await.1.contains("photographs wait: ")
    })
    .await;

    let (status, said) = test.service.ready().await;
    assert_eq!(status, StatusCode::OK, "everything else works: {said}");
    assert!(said.contains("no such table: face_upload_outcomes; the file is damaged"), "{said}");
    assert!(test.bus.progress(TopicRole::FacesUploads, groups::FACES).await.unwrap().waiting > 0);
    assert_eq!((test.read(TopicRole::FacesUploadsDlq).await.len(), test.files()), (0, vec!["a".to_owned()]));
    database.execute_batch("ALTER TABLE away RENAME TO face_upload_outcomes").unwrap();
    let outcomes: Vec<_> = test.events().await.into_iter().map(|event| event.data.outcome).collect();
    assert_eq!((outcomes, test.files()), (vec![UploadOutcome::UnknownUser], Vec::new()));
    assert_eq!(test.read(TopicRole::FacesUploadsDlq).await.len(), 0);
    let said = test.service.ready().await.1;
    assert!(!said.contains("photographs wait"), "{said}");
}

#[tokio::test]
async fn photographs_enrol_match_and_are_refused() {
    let Some((models, photographs)) = TestService::models("photographs_enrol_match_and_are_refused") else { return };
    let test = TestUploads::start(Some(&models)).await;
    let (ann, ben) = (test.user("ann").await, test.user("ben").await);
    let image = |name: &str| std::fs::read(photographs.join(name)).unwrap();
    test.upload_file("ann", "1.jpg", &image("obama_a.jpg")).await;
    test.upload_file("ann", "2.jpg", &image("obama_b.jpg")).await;
    test.upload_file("ann", "3.jpg", &image("biden_a.jpg")).await;
    test.upload_file("ann", "4.jpg", b"no image").await;
    test.upload_file("ann", "5.jpg", &image("obama_biden_2faces.jpg")).await;
    test.upload_file("ann", "6.png", &without_a_face()).await;
    test.upload_file("ben", "7.jpg", &image("biden_a.jpg")).await;
    // Five processes ended at this one.
    let topic_id = test.bus.topic_id(TopicRole::FacesUploads).await.unwrap();
    let place = UploadPlace { topic_id, partition: 0, offset: 7 };
    for _ in 0..5 {
        test.database().begin_upload(&place, Timestamp::now()).await.unwrap();
    }
    test.upload_file("ben", "8.jpg", &image("biden_b.jpg")).await;
    let expected = [
        ("1.jpg", UploadOutcome::Enrolled),
        ("2.jpg", UploadOutcome::Matched),
        ("3.jpg", UploadOutcome::AnotherPerson),
        ("4.jpg", UploadOutcome::InvalidImage),
        ("5.jpg", UploadOutcome::SeveralFaces),
        ("6.png", UploadOutcome::NoFace),
        ("7.jpg", UploadOutcome::Enrolled),
        ("8.jpg", UploadOutcome::Crashed),
    ];
    assert_eq!(test.outcomes().await, expected.map(|(path, outcome)| (path.to_owned(), outcome)).into());
    assert_eq!(test.files(), Vec::<String>::new());
    for user in [&ann, &ben] {
        assert!(test.database().verified_at(user.id, &user.tenant).await.unwrap().is_some());
        assert_eq!(test.database().subjects(&user.tenant, None, 9).await.unwrap().len(), 1);
    }
    // The subject is the user's own: a client of the user finds it.
    let (status, found) = test.service.send(&ann.token(), Method::POST, "/v1/faces/search", image("obama_c.jpg")).await;
    assert_eq!((status, found["matches"].as_array().unwrap().len()), (StatusCode::OK, 1), "{found}");
    let read = test.service.send(&ann.token(), Method::POST, "/v1/users/me/photo", image("obama_c.jpg")).await;
    assert_eq!(read.0, StatusCode::ACCEPTED, "{}", read.1);
    assert_eq!(test.events().await.last().unwrap().data.outcome, UploadOutcome::Matched);
    assert_eq!(test.files(), Vec::<String>::new());
}

/// A grey image.
fn without_a_face() -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut encoder = png::Encoder::new(&mut encoded, 64, 64);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[128; 64 * 64]).unwrap();
    writer.finish().unwrap();
    encoded
}
