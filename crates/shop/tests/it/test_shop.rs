//! Two instances of the shop on one database, like two processes.

use std::sync::Arc;
use std::time::Duration;

use accounts::{
    AccountsService, Actor, Clock, Deps, Hashing, Mail, Mailer, Registration, SecretText, Settings, SharedState,
    UserAccess,
};
use async_trait::async_trait;
use bytes::Bytes;
use contracts::{BookId, BookStatus, Currency, Money, UploadId, UserId};
use futures::TryStreamExt;
use media::Pipelines;
use sha2::{Digest, Sha256};
use shop::{
    Book, Link, MediaLinks, MockPayments, NewBookFields, Opened, Shop, ShopArgs, ShopDeps, ShopError, Timing,
    UploadRequest, Viewer,
};
use store::relational::{MockPaymentRecord, Role};
use store::{Media, PartFacts, Relational, UploadProgress, media_folder};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::wav::wav;

/// Longest wait for the work on a book.
const WAIT: Duration = Duration::from_secs(20);

/// Two instances that share a database, the files, the provider and the clock.
pub struct TestShop {
    pub one: Shop,
    pub other: Shop,
    /// It waits for a provider for two seconds only.
    pub hasty: Shop,
    pub database: Relational,
    pub media: Arc<dyn Media>,
    pub payments: Arc<MockPayments>,
    pub accounts: Arc<AccountsService>,
    pub clock: Clock,
    pub actor: Actor,
    pub admin: UserId,
    stop: CancellationToken,
    running: Option<JoinHandle<()>>,
    _folder: TempDir,
}

struct NoMail;

#[async_trait]
impl Mailer for NoMail {
    async fn send(&self, _: &Mail) -> Result<(), String> {
        Ok(())
    }
}

/// Times of an instance that waits this long for a provider.
fn patience(seconds: u64) -> Timing {
    let patience = Duration::from_secs(seconds);
    Timing { payment: patience, question: patience, ..Timing::default() }
}

fn args() -> ShopArgs {
    ShopArgs {
        shop_currency: Currency::EUR,
        shop_book_bytes: 16 << 20,
        media_links: MediaLinks::Proxy,
        media_upload_lifetime: Duration::from_secs(24 * 60 * 60),
    }
}

pub fn euro(minor: i64) -> Money {
    Money { minor, currency: Currency::EUR }
}

impl TestShop {
    /// On SQLite, in a new folder.
    pub async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("shop.sqlite");
        let stores = [Relational::sqlite(&path).await.unwrap(), Relational::sqlite(&path).await.unwrap()];
        Self::on(stores, folder).await
    }

    /// On PostgreSQL.
    pub async fn on_postgres(url: &str) -> Self {
        let stores = [Relational::postgres(url, 8).await.unwrap(), Relational::postgres(url, 8).await.unwrap()];
        Self::on(stores, TempDir::new().unwrap()).await
    }

    async fn on(stores: [Relational; 2], folder: TempDir) -> Self {
        stores[0].migrate().await.unwrap();
        let (clock, stop) = (Clock::default(), CancellationToken::new());
        let hashing = Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 1000 };
        let settings = Settings { hashing, revocation_poll: Duration::from_millis(50), ..Settings::default() };
        let deps = Deps {
            shared: SharedState::in_process(),
            mailer: Arc::new(NoMail),
            clock: clock.clone(),
            erasers: Vec::new(),
        };
        let accounts = AccountsService::open(stores[0].clone(), settings, deps).await.unwrap();
        let running = Some(tokio::spawn(Arc::clone(&accounts).run(stop.clone())));
        let media = media_folder(folder.path().join("media")).unwrap();
        let payments = Arc::new(MockPayments::new(stores[1].clone(), clock.clone()));
        let open = |database: &Relational, seconds| {
            let deps = ShopDeps {
                database: database.clone(),
                media: Arc::clone(&media),
                payments: payments.clone(),
                accounts: Arc::clone(&accounts),
                pipelines: None,
                clock: clock.clone(),
            };
            Shop::with_timing(deps, &args(), patience(seconds))
        };
        let (one, other, hasty) = (open(&stores[0], 30), open(&stores[1], 30), open(&stores[0], 2));
        let [database, _] = stores;
        let mut shop = Self {
            one,
            other,
            hasty,
            database,
            media,
            payments,
            accounts,
            clock,
            actor: Actor::default(),
            admin: UserId::now(),
            stop,
            running,
            _folder: folder,
        };
        shop.admin = shop.user_with("admin@example.org", Role::Admin).await;
        shop.actor = Actor { user: Some(shop.admin), address: None };
        shop
    }

    /// An instance with the audio pipeline.
    pub fn with_pipelines(&self, pipelines: Pipelines) -> Shop {
        let deps = ShopDeps {
            database: self.database.clone(),
            media: Arc::clone(&self.media),
            payments: self.payments.clone(),
            accounts: Arc::clone(&self.accounts),
            pipelines: Some(pipelines),
            clock: self.clock.clone(),
        };
        Shop::with_timing(deps, &args(), patience(30))
    }

    /// Stops the background work.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }

    async fn user_with(&self, email: &str, role: Role) -> UserId {
        let new = Registration {
            email: Some(email.to_owned()),
            password: Some(SecretText::new("lamp ostrich kettle")),
            ..Registration::default()
        };
        let access = UserAccess { role, ..UserAccess::default() };
        self.accounts.register(&new, access, &Actor::default()).await.unwrap().id
    }

    /// A new user.
    pub async fn user(&self, name: &str) -> UserId {
        self.user_with(&format!("{name}@example.org"), Role::User).await
    }

    pub fn as_admin(&self) -> Viewer {
        Viewer::admin(Some(self.admin))
    }

    /// A draft with a price.
    pub async fn draft(&self, title: &str, price: i64) -> BookId {
        let new = NewBookFields {
            title: title.to_owned(),
            author: "An Author".to_owned(),
            price: Some(euro(price)),
            ..NewBookFields::default()
        };
        self.one.create_book(new, &self.actor).await.unwrap().id
    }

    /// Uploads a file for a book, all its bytes, and does not finish the book.
    pub async fn upload(&self, book: BookId, content: &[u8]) -> UploadId {
        let length = Some(content.len() as u64);
        let request = UploadRequest { file_name: Some("tone.wav".to_owned()), content_type: None, length };
        let upload = self.one.begin_upload(self.admin, book, request).await.unwrap().upload;
        let now = self.one.now();
        let taken = self.database.take_media_upload(upload.id, now).await.unwrap().unwrap();
        let multipart = self.media.begin(&taken.key, "audio/wav").await.unwrap();
        assert!(self.database.set_media_multipart(taken.id, taken.writer, &multipart).await.unwrap());
        let bytes = Bytes::copy_from_slice(content);
        let part = self.media.put_part(&taken.key, &multipart, taken.next_number, bytes).await.unwrap();
        let parts: Vec<PartFacts> = vec![part];
        let progress = UploadProgress {
            parts: parts.clone(),
            offset: content.len() as u64,
            tail: 0,
            hash_state: vec![0; 32],
            length,
            expires_at: taken.expires_at,
        };
        assert!(self.database.append_media_upload(taken.id, taken.writer, &progress).await.unwrap());
        self.media.finish(&taken.key, &multipart, &parts).await.unwrap();
        let hash: [u8; 32] = Sha256::digest(content).into();
        let bytes = content.len() as u64;
        let stored =
            self.database.complete_media_upload(taken.id, taken.writer, &hash, bytes, taken.expires_at).await.unwrap();
        assert!(stored, "the upload is complete");
        taken.id
    }

    /// A book for sale.
    pub async fn book(&self, title: &str, price: i64) -> BookId {
        let id = self.draft(title, price).await;
        let upload = self.upload(id, &wav(2)).await;
        let book = self.one.finish_upload(upload, WAIT).await.unwrap();
        assert_eq!((book.status, &book.fault), (BookStatus::Ready, &None));
        id
    }

    pub async fn finish(&self, upload: UploadId) -> Result<Book, ShopError> {
        self.one.finish_upload(upload, WAIT).await
    }

    /// A user with these books in its cart.
    pub async fn shopper(&self, name: &str, books: &[BookId]) -> UserId {
        let user = self.user(name).await;
        for book in books {
            self.one.add_to_cart(user, *book).await.unwrap();
        }
        user
    }

    /// The ids of the books that a user has bought, the newest first.
    pub async fn bought(&self, user: UserId) -> Vec<BookId> {
        let purchases = self.other.purchases(user, None, 100).await.unwrap();
        purchases.iter().map(|purchase| purchase.book.id).collect()
    }

    /// The payments that the provider knows.
    pub async fn payments(&self) -> Vec<MockPaymentRecord> {
        self.database.mock_payments(None, 200).await.unwrap()
    }

    /// Runs the regular tasks of the other instance after this time.
    pub async fn work_after(&self, time: Duration) {
        self.clock.advance(time);
        self.other.work_once().await.unwrap();
    }
}

/// The token of a link.
pub fn token(link: Link) -> String {
    match link {
        Link::Token { token, .. } => token.expose().to_owned(),
        Link::Direct { .. } => String::new(),
    }
}

/// The bytes of a range of a file.
pub async fn bytes(opened: &Opened, range: std::ops::Range<u64>) -> Vec<u8> {
    let blocks: Vec<Bytes> = opened.read(range).await.unwrap().try_collect().await.unwrap();
    blocks.concat()
}

/// The code of a refusal.
pub fn code<T>(result: Result<T, ShopError>) -> Option<&'static str> {
    result.err().map(|error| error.code())
}
