//! Maps MongoDB's errors to [`StoreError`]: transient or permanent, with the setting to change.

use mongodb::error::{Error, ErrorKind, InsertManyError, WriteFailure};

use crate::StoreError;

/// Error code of a duplicate key.
pub(crate) const DUPLICATE_KEY: i32 = 11000;
/// Error codes of a refused document (invalid value, too large); a retry cannot succeed.
const REFUSED: [i32; 8] = [2, 9, 14, 22, 121, 10334, 17280, 17419];
/// Error codes of missing rights.
const FORBIDDEN: [i32; 2] = [13, 18];
/// Error code of a full disk (`OutOfDiskSpace`).
const DISK_FULL: i32 = 14031;
/// Maximum length of the driver's message within ours, in characters.
const MAX_CAUSE: usize = 400;

/// Error inside a call, before it is mapped for the caller.
pub(crate) enum CallError {
    Mongo(Error),
    Store(StoreError),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self::Mongo(error)
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl CallError {
    /// The error for the caller; `shown` names the server without secrets.
    pub(super) fn into_store_error(self, shown: &str) -> StoreError {
        match self {
            Self::Mongo(error) => store_error(shown, &error),
            Self::Store(error) => error,
        }
    }
}

fn store_error(shown: &str, error: &Error) -> StoreError {
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => forbidden(shown),
        ErrorKind::ServerSelection { message, .. } => StoreError::Unavailable(format!(
            "{shown} cannot be reached; start it, check that it is a replica set with a primary, or correct \
             SIGHTLINE_MONGODB_URI ({})",
            shortened(message)
        )),
        kind => match code(kind) {
            Some(code) if FORBIDDEN.contains(&code) => forbidden(shown),
            Some(DISK_FULL) => disk_full(shown, &kind.to_string()),
            Some(code) if REFUSED.contains(&code) => {
                StoreError::Fatal(format!("{shown} refused a document: {}", shortened(&kind.to_string())))
            }
            _ if is_client_error(kind) => {
                StoreError::Fatal(format!("a document of {shown} cannot be used: {}", shortened(&kind.to_string())))
            }
            _ => StoreError::Unavailable(format!("{shown} failed: {}", shortened(&kind.to_string()))),
        },
    }
}

fn disk_full(shown: &str, cause: &str) -> StoreError {
    StoreError::DiskFull(format!("the disk of {shown} is full ({}); free space on it", shortened(cause)))
}

fn forbidden(shown: &str) -> StoreError {
    StoreError::Fatal(format!(
        "{shown} refused the user; correct user name, password and authSource in SIGHTLINE_MONGODB_URI, and give the user \
         read and write access to this database"
    ))
}

/// Whether the document or the call is at fault, and not the server.
fn is_client_error(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BsonSerialization(_)
            | ErrorKind::BsonDeserialization(_)
            | ErrorKind::Bson(_)
            | ErrorKind::InvalidArgument { .. }
    )
}

fn code(kind: &ErrorKind) -> Option<i32> {
    match kind {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
        _ => None,
    }
}

/// The error code of a refused write.
pub(crate) fn write_error_code(error: &Error) -> Option<i32> {
    code(&error.kind)
}

/// The positions of the documents that an unordered insert found stored already.
///
/// # Errors
/// If any document failed for another reason, or the write may not be durable.
pub(super) fn duplicate_positions(error: Error) -> Result<Vec<usize>, CallError> {
    let ErrorKind::InsertMany(InsertManyError { write_errors, write_concern_error, .. }) = error.kind.as_ref() else {
        return Err(error.into());
    };
    if let Some(concern) = write_concern_error {
        if concern.code == DISK_FULL {
            return Err(disk_full("MongoDB", &concern.message).into());
        }
        let cause = shortened(&concern.message);
        return Err(StoreError::Unavailable(format!("MongoDB did not make a write durable: {cause}")).into());
    }
    let mut positions = Vec::new();
    for error in write_errors.iter().flatten() {
        if error.code == DISK_FULL {
            return Err(disk_full("MongoDB", &error.message).into());
        }
        if error.code != DUPLICATE_KEY {
            let line = format!("MongoDB refused a document: {} (code {})", shortened(&error.message), error.code);
            let transient = !REFUSED.contains(&error.code);
            return Err(if transient { StoreError::Unavailable(line) } else { StoreError::Fatal(line) }.into());
        }
        positions.push(error.index);
    }
    Ok(positions)
}

/// The driver's message as one line, truncated.
pub(super) fn shortened(text: &str) -> String {
    let line: String = text.chars().take(MAX_CAUSE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() < text.len() { format!("{line}…") } else { line }
}
