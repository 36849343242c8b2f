//! The service on SQLite, over HTTP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

mod bad_input;
mod compare;
mod consent;
mod forget;
mod images;
mod kept_images;
mod limits;
mod model;
mod model_file;
mod reject;
mod stored;
mod subjects;
mod test_service;
mod test_uploads;
mod upload_folder;
mod uploads;
mod watchlists;
