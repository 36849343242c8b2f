//! The audiobook shop: catalogue, cart, checkout, entitlements, links and the files of books. No HTTP, no gRPC.
//!
//! ```text
//!  admin ─▶ create ─▶ upload ─▶ finish: probe ─▶ asset ─▶ preview ─▶ ready      (hide, delete)
//!                                               └─ with the audio pipeline: it makes the book ready, at its end
//!                                                                      │
//!  user ──▶ list ─▶ cart ─▶ checkout: order ─▶ pay ─▶ settle ─▶ entitlement ─▶ link ─▶ bytes
//!                                       └── reconciler: find ──┘         └─ refund
//! ```
//!
//! In: what users and admins want, already authenticated: the services decide who is an admin, the shop decides what a viewer may see
//! and what it has bought. Out: books, carts, orders, and the bytes of files in ranges.
//!
//! Guarantees:
//! - Money is counted in integers. An order has the prices of its moment; a user pays no total that it did not see.
//! - An order is paid once and granted once, however often and wherever it is repeated. A crash between paying and granting is
//!   finished by [`Shop::work`] of any instance, which asks the provider.
//! - A book that is no longer for sale, or not yet, is not found by anybody who has not bought it.
//! - Each read of a file asks the database whether it is still allowed, so a refund or a disabled user ends it within a second.
//! - A file that is refused, replaced or abandoned is deleted, also after a crash.

mod args;
mod audit;
mod blocking;
mod cart;
mod catalogue;
mod categories;
mod checkout;
mod covers;
mod error;
mod files;
mod finish;
mod links;
mod money;
mod orders;
mod payments;
mod pipeline;
mod positions;
mod previews;
mod ranged;
mod reconcile;
mod refunds;
mod settle;
mod status;
mod timing;
mod uploads;
mod viewer;
mod work;

pub use args::{MediaLinks, ShopArgs};
pub use cart::{Cart, CartLine};
pub use catalogue::{Book, BookFields, BookQuery, NewBookFields};
pub use covers::MAX_COVER;
pub use error::{Kind, ShopError};
pub use files::Opened;
pub use links::Link;
pub use money::MAX_PRICE_MINOR;
pub use orders::Purchase;
pub use payments::{MockBehaviour, MockPayments, PaymentError, PaymentOutcome, PaymentRequest, PaymentState, Payments};
pub use timing::Timing;
pub use uploads::{UploadRequest, UploadTicket};
pub use viewer::Viewer;

use std::sync::Arc;
use std::time::Duration;

use accounts::{AccountsService, Clock};
use contracts::{Currency, UserId};
use jiff::Timestamp;
use media::Pipelines;
use store::{Media, Relational};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What the shop needs.
pub struct ShopDeps {
    /// The database of books, orders and uploads.
    pub database: Relational,
    /// The files of books.
    pub media: Arc<dyn Media>,
    /// The payment provider.
    pub payments: Arc<dyn Payments>,
    /// Signs and verifies links.
    pub accounts: Arc<AccountsService>,
    /// The work on recordings after their upload; `None` without it: a book is then ready as soon as it has a preview.
    pub pipelines: Option<Pipelines>,
    /// The clock; a test may advance it.
    pub clock: Clock,
}

/// The shop. A clone is the same shop. [`Self::work`] must run in every instance.
#[derive(Clone)]
pub struct Shop(Arc<Inner>);

struct Inner {
    database: Relational,
    media: Arc<dyn Media>,
    payments: Arc<dyn Payments>,
    accounts: Arc<AccountsService>,
    pipelines: Option<Pipelines>,
    clock: Clock,
    currency: Currency,
    max_upload: u64,
    media_links: MediaLinks,
    upload_lifetime: Duration,
    timing: Timing,
    /// One permit for each file that is read for its content.
    probes: Arc<Semaphore>,
    /// Ends the reading of files.
    stopping: CancellationToken,
}

/// Files that are read for their content at the same time. Each holds some MiB and a thread.
const PROBES: usize = 2;

impl Shop {
    /// A shop on a database whose tables exist. Sends no request.
    pub fn new(deps: ShopDeps, args: &ShopArgs) -> Self {
        Self::with_timing(deps, args, Timing::default())
    }

    /// The same with other times, for tests.
    pub fn with_timing(deps: ShopDeps, args: &ShopArgs, timing: Timing) -> Self {
        let ShopDeps { database, media, payments, accounts, pipelines, clock } = deps;
        Self(Arc::new(Inner {
            database,
            media,
            payments,
            accounts,
            pipelines,
            clock,
            currency: args.shop_currency,
            max_upload: args.shop_book_bytes,
            media_links: args.media_links,
            upload_lifetime: args.media_upload_lifetime,
            timing,
            probes: Arc::new(Semaphore::new(PROBES)),
            stopping: CancellationToken::new(),
        }))
    }

    /// The present time by the shop's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The shop's database.
    pub fn database(&self) -> &Relational {
        &self.0.database
    }

    /// The files of books.
    pub fn media(&self) -> &Arc<dyn Media> {
        &self.0.media
    }

    /// The work on recordings, if there is any.
    pub fn pipelines(&self) -> Option<&Pipelines> {
        self.0.pipelines.as_ref()
    }

    /// The currency of prices that name none.
    pub fn currency(&self) -> Currency {
        self.0.currency
    }

    /// Longest audio file, in bytes.
    pub fn max_upload(&self) -> u64 {
        self.0.max_upload
    }

    /// The end of an upload that gets no bytes after now.
    pub fn upload_expires_at(&self) -> Timestamp {
        self.now() + self.0.upload_lifetime
    }

    /// How clients get files.
    pub fn media_links(&self) -> MediaLinks {
        self.0.media_links
    }

    /// The user on whose behalf a viewer acts: itself, or the operator's user for the operator's own token.
    ///
    /// # Errors
    /// `NoUser` for a viewer without a user who is no admin.
    pub async fn acting_user(&self, viewer: &Viewer) -> Result<UserId, ShopError> {
        match viewer {
            Viewer { user: Some(user), .. } => Ok(*user),
            Viewer { admin: true, .. } => Ok(self.0.accounts.operator().await?.id),
            Viewer { .. } => Err(ShopError::NoUser),
        }
    }

    /// Succeeds while the database and the files can be used.
    ///
    /// # Errors
    /// `Unavailable` otherwise.
    pub async fn check(&self) -> Result<(), ShopError> {
        self.0.database.check().await?;
        Ok(self.0.media.check().await?)
    }
}
