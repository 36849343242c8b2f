//! What gRPC and REST call about the files of books: links, an upload as one stream, and the completion of a book.

use std::time::Duration;

use api_kit::error::ApiError;
use bytes::Bytes;
use contracts::{AssetKind, BookId};
use futures::Stream;
use jiff::Timestamp;
use shop::{Book, Link, NewBookFields, UploadRequest, UploadTicket};
use store::{MediaUploadRecord, MediaUploadState};

use super::append::Appended;
use super::error::FileError;
use super::writer::{self, Commit};
use super::{Files, MediaUrl};
use crate::Viewer;
use crate::error::refused;

/// A new book, and its file.
pub struct UploadHeaderFacts {
    /// The book.
    pub book: NewBookFields,
    /// The name of its file.
    pub file_name: String,
    /// The media type of its file.
    pub content_type: String,
    /// Bytes of the file, if they are known.
    pub length: Option<u64>,
}

/// Where the file of a book is uploaded. Whoever has the address may upload.
pub struct UploadLink {
    /// The book.
    pub book: BookId,
    /// The address.
    pub url: String,
    /// Most bytes of the file.
    pub max_bytes: u64,
    /// Until when the address works.
    pub expires_at: Timestamp,
}

impl Files {
    /// A draft, its file as one stream, and the completion of the book, for which it waits at most `wait`. If the stream breaks off, what
    /// arrived is kept, and the upload goes on by [`Self::upload_link`].
    ///
    /// # Errors
    /// When a value or the file is refused, the stream breaks off, or a store fails.
    pub async fn upload_stream<S>(
        &self,
        viewer: &Viewer,
        header: UploadHeaderFacts,
        chunks: S,
        wait: Duration,
    ) -> Result<Book, ApiError>
    where
        S: Stream<Item = Result<Bytes, ApiError>> + Send + 'static,
    {
        let UploadTicket { upload, .. } = self.new_upload(viewer, header).await?;
        let appended = Appended { offset: 0, length: None, declared: None, commit: Commit::EachPart, checksum: None };
        self.append(&upload, appended, chunks).await?;
        writer::finish(self.shop(), upload.id).await?;
        self.complete(upload.book, wait).await
    }

    /// A draft with a link to which its file is uploaded.
    ///
    /// # Errors
    /// When a value is refused.
    pub async fn create_upload(&self, viewer: &Viewer, header: UploadHeaderFacts) -> Result<UploadLink, ApiError> {
        let ticket = self.new_upload(viewer, header).await?;
        Ok(self.upload_link_of(&ticket))
    }

    /// A further link to the open upload of a book, or to a new one.
    ///
    /// # Errors
    /// When there is no such book.
    pub async fn upload_link(&self, viewer: &Viewer, book: BookId) -> Result<UploadLink, ApiError> {
        let request = UploadRequest { file_name: None, content_type: None, length: None };
        let admin = self.shop().acting_user(&viewer.shop()).await.map_err(refused)?;
        let ticket = self.shop().upload_ticket(admin, book, request).await.map_err(refused)?;
        Ok(self.upload_link_of(&ticket))
    }

    /// Ends the upload of a book, and waits at most `wait` for the rest: the file is checked, and the book becomes ready. Again: the same.
    ///
    /// # Errors
    /// When bytes are missing, or the file is refused.
    pub async fn complete(&self, book: BookId, wait: Duration) -> Result<Book, ApiError> {
        self.end_open_upload(book).await?;
        self.shop().complete(book, wait).await.map_err(refused)
    }

    /// A link to the recording of a book, for its buyers and for admins.
    ///
    /// # Errors
    /// When the caller has not bought the book.
    pub async fn download_link(&self, viewer: &Viewer, book: BookId) -> Result<MediaUrl, ApiError> {
        self.media_link(viewer, book, AssetKind::Master).await
    }

    /// A link to a file of a book, which needs no credential.
    ///
    /// # Errors
    /// When the caller may not have it, or there is none.
    pub async fn media_link(&self, viewer: &Viewer, book: BookId, asset: AssetKind) -> Result<MediaUrl, ApiError> {
        match self.shop().link(&viewer.shop(), book, asset).await.map_err(refused)? {
            Link::Token { token, expires_at } => {
                Ok(MediaUrl { url: self.address(&format!("media/{}", token.expose())), expires_at })
            }
            Link::Direct { url, expires_at } => Ok(MediaUrl { url: url.expose().to_owned(), expires_at }),
        }
    }

    /// The address of the cover of a book. It needs the credential of a user who may see the book.
    pub fn cover_url(&self, book: BookId) -> String {
        self.address(&format!("books/{book}/cover"))
    }

    /// The address of the preview of a book. It needs the credential of a user who may see the book.
    pub fn preview_url(&self, book: BookId) -> String {
        self.address(&format!("books/{book}/preview"))
    }

    /// A draft and an upload for it.
    ///
    /// # Errors
    /// When a value is refused. Then there is no draft.
    pub(crate) async fn new_upload(
        &self,
        viewer: &Viewer,
        header: UploadHeaderFacts,
    ) -> Result<UploadTicket, ApiError> {
        let UploadHeaderFacts { book, file_name, content_type, length } = header;
        self.check_length(length)?;
        let admin = self.shop().acting_user(&viewer.shop()).await.map_err(refused)?;
        let book = self.shop().create_book(book, &viewer.actor()).await.map_err(refused)?.id;
        let request = UploadRequest { file_name: Some(file_name), content_type: Some(content_type), length };
        match self.shop().begin_upload(admin, book, request).await {
            Ok(ticket) => Ok(ticket),
            Err(error) => {
                // If this fails too, a draft is left, which an admin can see and delete.
                drop(self.shop().delete_book(book, &viewer.actor()).await);
                Err(refused(error))
            }
        }
    }

    /// Checks the length of a new upload.
    ///
    /// # Errors
    /// When it is nothing, or more than a file may have.
    pub(crate) fn check_length(&self, length: Option<u64>) -> Result<(), FileError> {
        let most = self.shop().max_upload();
        match length {
            Some(0) => Err(FileError::Empty),
            Some(length) if length > most => Err(FileError::TooLong { most }),
            _ => Ok(()),
        }
    }

    /// The link of a ticket.
    pub(crate) fn upload_link_of(&self, ticket: &UploadTicket) -> UploadLink {
        UploadLink {
            book: ticket.upload.book,
            url: self.address(&format!("uploads/{}", ticket.token.expose())),
            max_bytes: ticket.max_bytes,
            expires_at: ticket.expires_at,
        }
    }

    /// Makes the file of the newest upload of a book, if it has bytes and that was not done: a client of tus that told no length tells no end
    /// either, and a process may have died after the last byte.
    async fn end_open_upload(&self, book: BookId) -> Result<(), ApiError> {
        let (database, now) = (self.shop().database(), self.shop().now());
        match database.open_media_upload(book, AssetKind::Master, now).await? {
            Some(MediaUploadRecord { id, state: MediaUploadState::Open, offset: 1.., .. }) => {
                writer::finish(self.shop(), id).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
