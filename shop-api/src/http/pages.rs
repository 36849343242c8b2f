//! The query of lists that only have pages.

use std::marker::PhantomData;

use api_kit::extract::cursor_of;
use platform::query::{Invalid, Parameters, Query};
use store::{List, PageCursor};

use crate::app::{DEFAULT_PAGE, MAX_PAGE};

/// A list, as a type.
pub trait Listed: Send {
    /// The list.
    const LIST: List;
}

/// The purchases of a user.
#[derive(Debug)]
pub struct Purchases;

/// The orders of a user.
#[derive(Debug)]
pub struct Orders;

/// The orders that are kept of deleted users.
#[derive(Debug)]
pub struct KeptOrders;

impl Listed for Purchases {
    const LIST: List = List::Purchases;
}

impl Listed for Orders {
    const LIST: List = List::Orders;
}

impl Listed for KeptOrders {
    const LIST: List = List::KeptOrders;
}

/// A page of a list.
#[derive(Debug)]
pub struct PageOf<L> {
    /// Most items of the page.
    pub limit: u32,
    /// The end of the previous page.
    pub cursor: Option<PageCursor>,
    list: PhantomData<fn() -> L>,
}

/// The parameters of a page, for the document.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: PageOf has the values")]
pub struct PageQuery {
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    limit: u32,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<PageCursor>,
}

impl<L: Listed> Parameters for PageOf<L> {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let cursor = query.text("cursor")?.map(|text| cursor_of(L::LIST, &text)).transpose()?;
        Ok(Self { limit: limit(query)?, cursor, list: PhantomData })
    }
}

/// The parameter `limit` of the shop's lists, whose items are longer than those of others.
///
/// # Errors
/// When it is not a number or out of range.
pub fn limit(query: &mut Query) -> Result<u32, Invalid> {
    let Some(text) = query.text("limit")? else { return Ok(DEFAULT_PAGE) };
    let number = text.parse().ok().filter(|number| (1..=MAX_PAGE).contains(number));
    number.ok_or_else(|| Invalid(format!("limit must be a whole number from 1 to {MAX_PAGE}")))
}
