//! Why the shop refuses something: one enum, with one stable code and one kind for each reason.
//!
//! Both protocols translate the [`Kind`] and the code, so that the same fact is told alike in both. The texts are for clients: they
//! say what to do, and contain no cause of a failure of the server. [`ShopError::cause`] has that, for the log.

use std::time::Duration;

use accounts::{AccessError, AccountError};
use contracts::{BookId, Money};
use store::StoreError;

/// The class of a refusal, which a protocol has a status for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request itself is wrong, whatever the state.
    Invalid,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The caller may not.
    Forbidden,
    /// It is there already.
    Exists,
    /// Another request was faster; read again and repeat.
    Conflict,
    /// The state does not allow it; something else must be done first.
    Precondition,
    /// More than the shop takes.
    TooLarge,
    /// The caller has as many as it may have.
    TooMany,
    /// A server that is needed cannot be used now; repeat later.
    Unavailable,
    /// A defect.
    Internal,
}

/// Why the shop refuses something.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ShopError {
    /// Nothing of this kind has the id, or the caller may not see it.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A link is forged, expired or revoked. One error for all, so that it tells nothing.
    #[error("this link is not valid, or no longer; request another one")]
    LinkInvalid,
    /// An upload has ended.
    #[error("this upload has ended; begin another one for the book")]
    UploadGone,
    /// A value is not valid.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field's name in the public interface.
        field: &'static str,
        /// Description of a valid value.
        reason: String,
    },
    /// The file is refused for what it contains.
    #[error("{text}")]
    Sound {
        /// The code of the refusal.
        code: &'static str,
        /// What is wrong and what to do.
        text: String,
    },
    /// An upload has no bytes.
    #[error("the file is empty; send the bytes of an audio file")]
    EmptyUpload,
    /// A cover is no picture.
    #[error("a cover must be a PNG, JPEG or WebP picture")]
    NotAnImage,
    /// The book was not bought.
    #[error("this book was not bought, or its order was refunded; buy it first")]
    NotBought,
    /// The credential belongs to no user.
    #[error("this credential belongs to no user; sign in as a user")]
    NoUser,
    /// The user has bought a book that it wants to buy.
    #[error("you have this book already, see your purchases; if it is in your cart, remove it there")]
    AlreadyOwned(Vec<BookId>),
    /// The book changed since it was read.
    #[error("the book was changed meanwhile; read it again, and repeat the change with its version")]
    VersionConflict,
    /// Other checkouts of the user come in between again and again.
    #[error("another checkout of yours is in progress; repeat this one in a moment")]
    CheckoutRunning,
    /// The idempotency key belongs to an order that is over.
    #[error("this idempotency key belongs to an order that is {0}; use another key for a new one")]
    KeySpent(&'static str),
    /// The cart has no lines.
    #[error("the cart is empty; add a book first")]
    CartEmpty,
    /// The cart has as many lines as it may have.
    #[error("a cart has at most {0} books; check out first, or remove one")]
    CartFull(usize),
    /// A price is another one than the user saw.
    #[error(
        "a price changed since you saw the cart; the total is now {0}: look at the cart, and check out again to agree"
    )]
    PriceChanged(Money),
    /// A book in the cart cannot be bought any more.
    #[error("{} can no longer be bought; remove it from the cart, then check out again", titles(.0))]
    BookGone(Vec<(BookId, String)>),
    /// The books of a cart have one currency.
    #[error("a cart has books of one currency only; check out what is in it first, or empty it")]
    MixedCurrency,
    /// The payment was refused.
    #[error("the payment was declined: {0}; your cart is as it was")]
    PaymentDeclined(String),
    /// The user must do something with the payment provider.
    #[error("the payment needs a step of yours: open {0}, then check out again with the same idempotency key")]
    PaymentAction(String),
    /// The outcome of a payment is not known yet.
    #[error(
        "the payment is not decided yet; check out again with the same idempotency key, or look at your orders in a minute"
    )]
    PaymentPending,
    /// A book lacks something that it needs to be sold.
    #[error("the book cannot be published yet; it has {}", lacking(.0))]
    Incomplete(Vec<&'static str>),
    /// An upload has not all its bytes.
    #[error("the upload has {offset} bytes{}; send the rest, then finish it", of_length(.length))]
    UploadIncomplete {
        /// The bytes that are stored.
        offset: u64,
        /// The bytes that were announced.
        length: Option<u64>,
    },
    /// The book has no upload and no file.
    #[error("the book has no audio file; upload one first")]
    NoFile,
    /// A step cannot be done again before it was done.
    #[error("the book has not reached the step {from}: it is at {at}; resume it without a step instead")]
    StepNotReached {
        /// The step.
        from: &'static str,
        /// The first step that is not done.
        at: &'static str,
    },
    /// The work on the recording has failed.
    #[error("the work on the recording failed: {message}; {action}")]
    PipelineFailed {
        /// What happened.
        message: String,
        /// What to do.
        action: String,
    },
    /// There is no transcript yet.
    #[error("the book has no transcript yet; its pipeline shows how far it is")]
    NoTranscript,
    /// The order cannot be refunded.
    #[error("only a paid order can be refunded; this one is {0}")]
    NotRefundable(&'static str),
    /// The book is deleted, which cannot be undone.
    #[error("the book is deleted, which cannot be undone")]
    BookDeleted,
    /// A file is longer than allowed.
    #[error("a file has at most {0} bytes")]
    UploadTooLarge(u64),
    /// A cover is longer than allowed.
    #[error("a cover has at most {0} bytes")]
    CoverTooLarge(usize),
    /// There are as many uploads as there may be.
    #[error("too many uploads are open; finish one, or try again later")]
    TooManyUploads,
    /// A server that is needed cannot be reached. The cause is not for clients.
    #[error("a server that the shop needs cannot be used now; try again soon")]
    Unavailable(String),
    /// A disk is full. The cause is not for clients.
    #[error(
        "the disk is full; the operator must free space, and then it works again without a restart; try again later"
    )]
    DiskFull(String),
    /// A defect, or data that cannot be read. The cause is not for clients.
    #[error("internal error; it was logged")]
    Internal(String),
}

/// The books for a message: at most three by title, then their number.
fn titles(books: &[(BookId, String)]) -> String {
    let named: Vec<String> = books.iter().take(3).map(|(_, title)| format!("{title:?}")).collect();
    match books.len().saturating_sub(named.len()) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// What a book lacks, for a message.
fn lacking(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("no {part}")).collect::<Vec<_>>().join(", ")
}

/// The length of an upload for a message, if it is known.
fn of_length(length: &Option<u64>) -> String {
    length.map(|length| format!(" of {length}")).unwrap_or_default()
}

impl ShopError {
    /// An invalid value of a field.
    pub fn invalid(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid { field, reason: reason.into() }
    }

    /// The stable code for programs.
    pub const fn code(&self) -> &'static str {
        self.kind_and_code().1
    }

    /// The class of the refusal.
    pub const fn kind(&self) -> Kind {
        self.kind_and_code().0
    }

    const fn kind_and_code(&self) -> (Kind, &'static str) {
        match self {
            Self::NotFound(_) => (Kind::NotFound, "not_found"),
            Self::LinkInvalid => (Kind::NotFound, "link_invalid"),
            Self::UploadGone => (Kind::NotFound, "upload_gone"),
            Self::Invalid { .. } => (Kind::Invalid, "invalid"),
            Self::Sound { code, .. } => (Kind::Invalid, *code),
            Self::EmptyUpload => (Kind::Invalid, "empty_upload"),
            Self::NotAnImage => (Kind::Invalid, "not_an_image"),
            Self::NotBought => (Kind::Forbidden, "not_bought"),
            Self::NoUser => (Kind::Forbidden, "no_user"),
            Self::AlreadyOwned(_) => (Kind::Exists, "already_owned"),
            Self::VersionConflict => (Kind::Conflict, "version_conflict"),
            Self::CheckoutRunning => (Kind::Conflict, "checkout_running"),
            Self::KeySpent(_) => (Kind::Conflict, "key_reused"),
            Self::CartEmpty => (Kind::Precondition, "cart_empty"),
            Self::CartFull(_) => (Kind::TooMany, "cart_full"),
            Self::PriceChanged(_) => (Kind::Precondition, "price_changed"),
            Self::BookGone(_) => (Kind::Precondition, "book_gone"),
            Self::MixedCurrency => (Kind::Precondition, "mixed_currency"),
            Self::PaymentDeclined(_) => (Kind::Precondition, "payment_declined"),
            Self::PaymentAction(_) => (Kind::Precondition, "payment_action"),
            Self::PaymentPending => (Kind::Unavailable, "payment_pending"),
            Self::Incomplete(_) => (Kind::Precondition, "incomplete"),
            Self::UploadIncomplete { .. } => (Kind::Precondition, "upload_incomplete"),
            Self::NoFile => (Kind::Precondition, "no_file"),
            Self::StepNotReached { .. } => (Kind::Precondition, "step_not_reached"),
            Self::PipelineFailed { .. } => (Kind::Precondition, "pipeline_failed"),
            Self::NoTranscript => (Kind::NotFound, "no_transcript"),
            Self::NotRefundable(_) => (Kind::Precondition, "not_refundable"),
            Self::BookDeleted => (Kind::Precondition, "book_deleted"),
            Self::UploadTooLarge(_) => (Kind::TooLarge, "upload_too_large"),
            Self::CoverTooLarge(_) => (Kind::TooLarge, "cover_too_large"),
            Self::TooManyUploads => (Kind::TooMany, "too_many_uploads"),
            Self::Unavailable(_) => (Kind::Unavailable, "unavailable"),
            Self::DiskFull(_) => (Kind::Unavailable, "disk_full"),
            Self::Internal(_) => (Kind::Internal, "internal"),
        }
    }

    /// When a repeat may succeed, for errors that pass by themselves.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::CheckoutRunning => Some(Duration::from_secs(1)),
            Self::Unavailable(_) | Self::PaymentPending => Some(Duration::from_secs(2)),
            Self::DiskFull(_) | Self::TooManyUploads => Some(Duration::from_secs(60)),
            _ => None,
        }
    }

    /// The field whose value is wrong.
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Invalid { field, .. } => Some(*field),
            _ => None,
        }
    }

    /// The total that the user must agree to.
    pub const fn new_total(&self) -> Option<Money> {
        match self {
            Self::PriceChanged(total) => Some(*total),
            _ => None,
        }
    }

    /// The cause of a failure of the server, for the log and never for a client.
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable(cause) | Self::DiskFull(cause) | Self::Internal(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<StoreError> for ShopError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => Self::Unavailable(cause),
            StoreError::DiskFull(cause) => Self::DiskFull(cause),
            StoreError::Misconfigured(cause) | StoreError::Fatal(cause) => Self::Internal(cause),
        }
    }
}

/// Of a link: everything but a failure of the server is one refusal.
impl From<AccessError> for ShopError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Unavailable(cause) => Self::Unavailable(cause),
            AccessError::DiskFull(cause) => Self::DiskFull(cause),
            AccessError::InvalidCredential | AccessError::QuotaExceeded { .. } | AccessError::RateLimited { .. } => {
                Self::LinkInvalid
            }
        }
    }
}

/// Of the signing of a link.
impl From<AccountError> for ShopError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::NotFound(_) | AccountError::Disabled => Self::NoUser,
            AccountError::Unavailable(cause) => Self::Unavailable(cause),
            AccountError::DiskFull(cause) => Self::DiskFull(cause),
            error => Self::Internal(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_at_most_three_books() {
        let books: Vec<_> = (1..=5).map(|n| (BookId::now(), format!("Book {n}"))).collect();
        let text = ShopError::BookGone(books.clone()).to_string();
        assert!(text.starts_with("\"Book 1\", \"Book 2\", \"Book 3\" and 2 more can"), "{text}");
        let text = ShopError::BookGone(books[..1].to_vec()).to_string();
        assert!(text.starts_with("\"Book 1\" can no longer"), "{text}");
    }

    #[test]
    fn no_message_for_clients_contains_a_cause() {
        let causes = [ShopError::Unavailable, ShopError::DiskFull, ShopError::Internal];
        for error in causes.map(|error| error("postgres://secret@host".to_owned())) {
            assert!(!error.to_string().contains("secret"), "{error}");
            assert_eq!(error.cause(), Some("postgres://secret@host"));
        }
    }
}
