//! Prices and totals.

use contracts::Money;

use crate::ShopError;

/// Highest price of a book, in the minor unit of its currency.
pub const MAX_PRICE_MINOR: i64 = 10_000_000;

/// Refuses a price that nobody means. A book may cost nothing.
pub(crate) fn check_price(price: Money) -> Result<Money, ShopError> {
    if (0..=MAX_PRICE_MINOR).contains(&price.minor) {
        return Ok(price);
    }
    let reason = format!("a price must be 0 to {MAX_PRICE_MINOR} in the minor unit of its currency, such as cents");
    Err(ShopError::invalid("price", reason))
}

/// The sum of prices of one currency. `None` without a price, of several currencies, or beyond what can be counted.
pub(crate) fn total(prices: impl IntoIterator<Item = Money>) -> Option<Money> {
    let mut prices = prices.into_iter();
    let first = prices.next()?;
    prices.try_fold(first, Money::checked_add)
}

#[cfg(test)]
mod tests {
    use contracts::Currency;

    use super::*;

    fn euro(minor: i64) -> Money {
        Money { minor, currency: Currency::EUR }
    }

    #[test]
    fn a_price_is_zero_to_the_highest() {
        for valid in [0, 1, MAX_PRICE_MINOR] {
            assert_eq!(check_price(euro(valid)), Ok(euro(valid)));
        }
        for absurd in [-1, i64::MIN, MAX_PRICE_MINOR + 1, i64::MAX] {
            assert_eq!(check_price(euro(absurd)).map_err(|error| error.field()), Err(Some("price")), "{absurd}");
        }
    }

    #[test]
    fn a_total_is_exact_and_of_one_currency() {
        assert_eq!(total([euro(1), euro(2), euro(999)]), Some(euro(1_002)));
        assert_eq!(total([]), None);
        let dollar = Money { minor: 1, currency: "USD".parse().unwrap() };
        assert_eq!(total([euro(1), dollar]), None);
        assert_eq!(total([euro(i64::MAX), euro(1)]), None);
    }
}
