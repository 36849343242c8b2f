//! Books that a crash left in work, and files that cannot be read.

use std::time::Duration;

use contracts::{AssetKind, BookStatus, MediaStep, PipelineState};
use media::Pipelines;
use shop::Viewer;
use store::relational::BookWriteOutcome;

use crate::test_shop::{TestShop, code};
use crate::wav::wav;

/// Longer than any wait before a repeat.
const LATER: Duration = Duration::from_secs(2 * 60 * 60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_left_in_work_is_finished_by_another_instance() {
    let shop = TestShop::new().await;
    let id = shop.draft("Emma", 999).await;
    shop.upload(id, &wav(2)).await;
    let (from, to) = ([BookStatus::Draft], BookStatus::Processing);
    let left = shop.database.set_book_status(id, &from, to, None, shop.one.now()).await.unwrap();
    assert!(matches!(left, BookWriteOutcome::Stored(_)), "{left:?}");
    // As a claim of the instance that died.
    assert!(shop.database.claim_book_work(id, 0, shop.one.now() + Duration::from_secs(300)).await.unwrap());
    shop.work_after(Duration::from_secs(120)).await;
    assert_eq!(shop.one.book(&shop.as_admin(), id).await.unwrap().status, BookStatus::Processing, "it is claimed");
    shop.work_after(Duration::from_secs(300)).await;
    assert_eq!(shop.one.book(&shop.as_admin(), id).await.unwrap().status, BookStatus::Ready);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_the_audio_pipeline_does_not_leave_it_out() {
    let shop = TestShop::new().await;
    // Its files are there, and its pipeline was not begun.
    let id = shop.book("Emma", 999).await;
    let (from, to) = ([BookStatus::Ready], BookStatus::Processing);
    shop.database.set_book_status(id, &from, to, None, shop.one.now()).await.unwrap();
    let pipelines = Pipelines::new(shop.database.clone(), media::Clock::system());
    let with_audio = shop.with_pipelines(pipelines.clone());
    shop.clock.advance(Duration::from_secs(120));
    with_audio.work_once().await.unwrap();
    assert_eq!(shop.one.book(&shop.as_admin(), id).await.unwrap().status, BookStatus::Processing);
    let progress = pipelines.status(id).await.unwrap().unwrap();
    assert_eq!((progress.step, progress.state), (MediaStep::Transcribe, PipelineState::Due));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_is_not_called_done_while_another_instance_reads_it() {
    let shop = TestShop::new().await;
    let id = shop.book("Emma", 999).await;
    let upload = shop.upload(id, &wav(3)).await;
    // As a claim of an instance that died.
    assert!(shop.database.claim_book_work(id, 0, shop.one.now() + Duration::from_secs(300)).await.unwrap());
    assert_eq!(code(shop.finish(upload).await), Some("unavailable"));
    shop.clock.advance(Duration::from_secs(301));
    let book = shop.finish(upload).await.unwrap();
    assert_eq!((book.status, book.duration), (BookStatus::Ready, Some(Duration::from_secs(3))));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_in_work_without_a_file_becomes_a_draft() {
    let shop = TestShop::new().await;
    let id = shop.draft("Emma", 999).await;
    let (from, to) = ([BookStatus::Draft], BookStatus::Processing);
    shop.database.set_book_status(id, &from, to, None, shop.one.now()).await.unwrap();
    shop.work_after(Duration::from_secs(120)).await;
    assert_eq!(shop.one.book(&shop.as_admin(), id).await.unwrap().status, BookStatus::Draft);
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_becomes_a_fault_and_is_not_tried_for_ever() {
    let shop = TestShop::new().await;
    let id = shop.book("Emma", 999).await;
    let now = shop.one.now();
    let key = shop.database.asset(id, AssetKind::Master).await.unwrap().unwrap().key;
    shop.media.delete(&key).await.unwrap();
    shop.database.remove_asset(id, AssetKind::Preview, now).await.unwrap();
    shop.database.set_book_fault(id, None, 0, Some(now), now).await.unwrap();
    let mut rounds = 0;
    let faulty = loop {
        shop.work_after(LATER).await;
        rounds += 1;
        let book = shop.one.book(&shop.as_admin(), id).await.unwrap();
        if book.fault.is_some() || rounds == 20 {
            break book;
        }
    };
    assert_eq!((faulty.fault.as_deref(), rounds), (Some("file_unreadable"), 7));
    assert_eq!(faulty.status, BookStatus::Ready, "what is for sale stays it; the admin sees the fault");
    shop.work_after(LATER).await;
    let book = shop.one.book(&shop.as_admin(), id).await.unwrap();
    assert_eq!((book.preview_attempts, book.fault.clone()), (faulty.preview_attempts, faulty.fault.clone()));

    // A new file ends the fault.
    let upload = shop.upload(id, &wav(3)).await;
    let book = shop.finish(upload).await.unwrap();
    assert_eq!((book.status, &book.fault, book.has_preview), (BookStatus::Ready, &None, true));
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_file_is_deleted_when_nobody_reads_it() {
    let shop = TestShop::new().await;
    let id = shop.book("Emma", 999).await;
    let old = shop.database.assets(id).await.unwrap();
    let upload = shop.upload(id, &wav(3)).await;
    shop.finish(upload).await.unwrap();
    shop.other.work_once().await.unwrap();
    for file in &old {
        assert!(shop.media.head(&file.key).await.unwrap().is_some(), "somebody may still read it");
    }
    shop.work_after(Duration::from_secs(3 * 24 * 60 * 60)).await;
    for file in &old {
        assert_eq!(shop.media.head(&file.key).await.unwrap(), None);
    }
    for file in shop.database.assets(id).await.unwrap() {
        assert!(shop.media.head(&file.key).await.unwrap().is_some(), "the new files stay");
    }
    shop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_listener_stopped_follows_the_latest_event() {
    let shop = TestShop::new().await;
    let id = shop.book("Emma", 999).await;
    let user = shop.shopper("ann", &[id]).await;
    let viewer = Viewer::user(user);
    let at = |seconds, age| store::relational::Position {
        at: Duration::from_secs(seconds),
        event_time: shop.one.now() - Duration::from_secs(age),
    };
    assert_eq!(code(shop.one.position(&viewer, id).await), Some("not_bought"));
    shop.one.checkout(user, None, None).await.unwrap();
    assert_eq!(shop.one.position(&viewer, id).await.unwrap(), None);
    let later = shop.one.put_position(&viewer, id, at(1, 10)).await.unwrap();
    assert_eq!(shop.other.put_position(&viewer, id, at(0, 20)).await.unwrap(), later, "an older event changes nothing");
    let end = shop.other.put_position(&viewer, id, at(1_000, 5)).await.unwrap();
    assert_eq!(end.at, Duration::from_secs(2), "the end of the book");
    assert_eq!(shop.one.position(&viewer, id).await.unwrap(), Some(end));
    shop.stop().await;
}
