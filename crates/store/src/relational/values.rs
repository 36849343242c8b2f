//! Arguments of statements and columns of rows, in the types of both databases.

use contracts::{ApiTokenId, BookId, FrameId, IdError, OrderId, SessionId, SubjectId, TenantId, UserId, VectorId};
use gallery::Embedding;
use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::passwords::TokenHash;
use crate::{PageCursor, StoreError};

/// An argument of a statement. Without `Debug`, because some are hashes of secrets.
#[derive(Clone)]
pub(super) enum Value {
    Text(Option<String>),
    Bytes(Vec<u8>),
    Integer(Option<i64>),
    Real(f64),
    /// A value of pgvector.
    Numbers(pgvector::Vector),
    Flag(bool),
    Id(Option<Uuid>),
    Time(Option<Timestamp>),
}

/// The arguments of a statement, in the order of `$1`, `$2` and so on.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::relational::values::Value::from($value)),*] };
}
pub(super) use values;

macro_rules! from {
    ($($given:ty => |$value:ident| $made:expr),* $(,)?) => {
        $(impl From<$given> for Value {
            fn from($value: $given) -> Self {
                $made
            }
        })*
    };
}
from! {
    &str => |text| Self::Text(Some(text.to_owned())),
    &String => |text| Self::Text(Some(text.clone())),
    String => |text| Self::Text(Some(text)),
    Option<&str> => |text| Self::Text(text.map(str::to_owned)),
    &Option<String> => |text| Self::Text(text.clone()),
    &[u8] => |bytes| Self::Bytes(bytes.to_vec()),
    &TokenHash => |hash| Self::Bytes(hash.0.to_vec()),
    i64 => |number| Self::Integer(Some(number)),
    Option<i64> => |number| Self::Integer(number),
    f64 => |number| Self::Real(number),
    &Embedding => |embedding| Self::Numbers(embedding.numbers().to_vec().into()),
    bool => |flag| Self::Flag(flag),
    Uuid => |id| Self::Id(Some(id)),
    Option<Uuid> => |id| Self::Id(id),
    UserId => |id| Self::Id(Some(id.uuid())),
    Option<UserId> => |id| Self::Id(id.map(|id| id.uuid())),
    SessionId => |id| Self::Id(Some(id.uuid())),
    Option<SessionId> => |id| Self::Id(id.map(|id| id.uuid())),
    ApiTokenId => |id| Self::Id(Some(id.uuid())),
    FrameId => |id| Self::Id(Some(id.uuid())),
    SubjectId => |id| Self::Id(Some(id.uuid())),
    VectorId => |id| Self::Id(Some(id.uuid())),
    BookId => |id| Self::Id(Some(id.uuid())),
    OrderId => |id| Self::Id(Some(id.uuid())),
    &TenantId => |tenant| Self::Text(Some(tenant.as_str().to_owned())),
    Timestamp => |at| Self::Time(Some(at)),
    Option<Timestamp> => |at| Self::Time(at),
}

/// Binds the values to a query of PostgreSQL.
macro_rules! bind_postgres {
    ($query:expr, $values:expr) => {
        $values.into_iter().fold($query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
            Value::Integer(number) => query.bind(number),
            Value::Real(number) => query.bind(number),
            Value::Numbers(numbers) => query.bind(numbers),
            Value::Flag(flag) => query.bind(flag),
            Value::Id(id) => query.bind(id),
            Value::Time(at) => query.bind(at.map(crate::relational::values::to_postgres)),
        })
    };
}
pub(super) use bind_postgres;

/// Binds the values to a query of SQLite.
macro_rules! bind_sqlite {
    ($query:expr, $values:expr) => {
        $values.into_iter().fold($query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
            Value::Integer(number) => query.bind(number),
            Value::Real(number) => query.bind(number),
            // SQLite has no such type.
            Value::Numbers(numbers) => {
                query.bind(numbers.as_slice().iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
            }
            Value::Flag(flag) => query.bind(flag),
            Value::Id(id) => query.bind(id.map(|id| id.to_string())),
            Value::Time(at) => query.bind(at.map(jiff::Timestamp::as_microsecond)),
        })
    };
}
pub(super) use bind_sqlite;

/// A row of a query result.
pub(super) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl Row {
    /// The value of a column.
    pub(super) fn get<T: Column>(&self, column: &str) -> Result<T, StoreError> {
        let value = match self {
            Self::Postgres(row) => T::of_postgres(row, column),
            Self::Sqlite(row) => T::of_sqlite(row, column),
        };
        value.map_err(|error| unreadable(column, &error))
    }

    /// The value of the column `tenant`.
    pub(super) fn tenant(&self) -> Result<TenantId, StoreError> {
        self.get::<String>("tenant")?.parse().map_err(|error: IdError| unreadable("tenant", &error))
    }
}

/// The error for an invalid stored value, which this program never writes.
pub(super) fn unreadable(what: &str, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Fatal(format!("the stored {what} cannot be read: {error}"))
}

/// A type of a column.
pub(super) trait Column: Sized {
    fn of_postgres(row: &PgRow, column: &str) -> Result<Self, sqlx::Error>;
    fn of_sqlite(row: &SqliteRow, column: &str) -> Result<Self, sqlx::Error>;
}

/// Types that both databases have.
macro_rules! plain_column {
    ($($type:ty),*) => {
        $(impl Column for $type {
            fn of_postgres(row: &PgRow, column: &str) -> Result<Self, sqlx::Error> {
                sqlx::Row::try_get(row, column)
            }

            fn of_sqlite(row: &SqliteRow, column: &str) -> Result<Self, sqlx::Error> {
                sqlx::Row::try_get(row, column)
            }
        })*
    };
}
plain_column!(String, Option<String>, Vec<u8>, i64, Option<i64>, f64, Option<f64>, bool, Option<bool>);

impl Column for Option<Uuid> {
    fn of_postgres(row: &PgRow, column: &str) -> Result<Self, sqlx::Error> {
        sqlx::Row::try_get(row, column)
    }

    fn of_sqlite(row: &SqliteRow, column: &str) -> Result<Self, sqlx::Error> {
        let text: Option<&str> = sqlx::Row::try_get(row, column)?;
        text.map(Uuid::try_parse).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

impl Column for Option<Timestamp> {
    fn of_postgres(row: &PgRow, column: &str) -> Result<Self, sqlx::Error> {
        let at: Option<OffsetDateTime> = sqlx::Row::try_get(row, column)?;
        let at = at.map(|at| Timestamp::from_nanosecond(at.unix_timestamp_nanos()));
        at.transpose().map_err(|error| sqlx::Error::Decode(error.into()))
    }

    fn of_sqlite(row: &SqliteRow, column: &str) -> Result<Self, sqlx::Error> {
        let at: Option<i64> = sqlx::Row::try_get(row, column)?;
        at.map(Timestamp::from_microsecond).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

/// Columns without NULL.
macro_rules! required_column {
    ($($type:ty),*) => {
        $(impl Column for $type {
            fn of_postgres(row: &PgRow, column: &str) -> Result<Self, sqlx::Error> {
                Option::<Self>::of_postgres(row, column)?.ok_or_else(|| sqlx::Error::Decode("it is missing".into()))
            }

            fn of_sqlite(row: &SqliteRow, column: &str) -> Result<Self, sqlx::Error> {
                Option::<Self>::of_sqlite(row, column)?.ok_or_else(|| sqlx::Error::Decode("it is missing".into()))
            }
        })*
    };
}
required_column!(Uuid, Timestamp);

/// The tenant in a column.
pub(super) fn tenant(row: &Row) -> Result<TenantId, StoreError> {
    Ok(TenantId::from_uuid(row.get("tenant")?))
}

/// A time in the type of PostgreSQL's driver.
pub(super) fn to_postgres(at: Timestamp) -> OffsetDateTime {
    // Whole microseconds, as both databases store them. Both types cover the years up to 9999.
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.as_microsecond()) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The position of a cursor in a list that is ordered by time, newest first; without a cursor, the
/// start. A forged cursor is harmless: its time is clamped to the range of both databases, and an
/// invalid id counts as nil.
pub(super) fn cursor_position(cursor: Option<&PageCursor>) -> (Timestamp, Uuid) {
    let Some(cursor) = cursor else { return (END_OF_TIME, Uuid::max()) };
    let id = Uuid::try_parse(&cursor.id).unwrap_or_default();
    (cursor.at.clamp(Timestamp::UNIX_EPOCH, END_OF_TIME), id)
}

/// As [`cursor_position`], for lists with the oldest first.
pub(super) fn position_from_oldest(cursor: Option<&PageCursor>) -> (Timestamp, Uuid) {
    cursor.map_or((Timestamp::UNIX_EPOCH, Uuid::nil()), |cursor| cursor_position(Some(cursor)))
}

/// Later than every stored time.
const END_OF_TIME: Timestamp = Timestamp::constant(253_370_764_800, 0);
