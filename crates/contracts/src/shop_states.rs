//! States of the shop: of a book, of an order, and what a file of a book is. Stores and both protocols have the same names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An enum whose variants have names in lower case.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $what:literal, $count:literal, { $($(#[$of:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$of])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: [Self; $count] = [$(Self::$variant),*];

            /// The name in the database and in the public API.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
                let known = Self::ALL.map(Self::as_str).join(", ");
                found.ok_or_else(|| format!("there is no {} {text:?}; there are {known}", $what))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use named;

named!(
    /// Where a book is between its first line and its end.
    BookStatus,
    "status of a book",
    5,
    {
        /// Described, without its file or its price.
        Draft => "draft",
        /// Its file is there and being worked on.
        Processing => "processing",
        /// For sale.
        Ready => "ready",
        /// Taken out of the catalogue by an admin. Buyers keep it.
        Hidden => "hidden",
        /// Deleted by an admin. Buyers keep it.
        Deleted => "deleted",
    }
);

named!(
    /// What a file of a book is.
    AssetKind,
    "kind of file",
    3,
    {
        /// The whole book, for its buyers.
        Master => "master",
        /// Its first minute, for everybody who sees the book.
        Preview => "preview",
        /// Its picture.
        Cover => "cover",
    }
);

named!(
    /// Where an order is.
    OrderStatus,
    "status of an order",
    5,
    {
        /// It is being paid.
        Pending => "pending",
        /// Paid, and its books belong to the buyer.
        Paid => "paid",
        /// Not paid, and never will be.
        Declined => "declined",
        /// The user has lost its books, and the money is being paid back.
        Refunding => "refunding",
        /// The money is paid back.
        Refunded => "refunded",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_texts_and_json() {
        for status in BookStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
        for status in OrderStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
        for kind in AssetKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_those_that_are_known() {
        let refused = "master tape".parse::<AssetKind>().unwrap_err();
        assert_eq!(refused, "there is no kind of file \"master tape\"; there are master, preview, cover");
        assert!("Ready".parse::<BookStatus>().is_err() && "".parse::<OrderStatus>().is_err());
    }
}
