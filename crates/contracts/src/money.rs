//! Money: whole minor units of a currency of ISO 4217. No fractions and no floating-point numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A currency in which something can be sold, as its code of ISO 4217: `EUR`. Funds, precious metals and codes that another one replaced are
/// none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[A-Z]{3}$")]
pub struct Currency(iso_currency::Currency);

/// The text is no currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency must be a code of ISO 4217 that is in use, in capital letters, like EUR")]
pub struct CurrencyError;

impl Currency {
    /// The euro.
    pub const EUR: Self = Self(iso_currency::Currency::EUR);

    /// The code of three letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits after the point of an amount: 2 for the euro, 0 for the yen.
    pub fn exponent(self) -> u16 {
        // Those without one are refused by `from_str`.
        self.0.exponent().unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(text: &str) -> Result<Self, CurrencyError> {
        let is_sold_in = |known: &iso_currency::Currency| {
            known.exponent().is_some() && !known.is_fund() && !known.is_special() && known.is_superseded().is_none()
        };
        iso_currency::Currency::from_code(text).filter(is_sold_in).map(Self).ok_or(CurrencyError)
    }
}

impl TryFrom<String> for Currency {
    type Error = CurrencyError;

    fn try_from(text: String) -> Result<Self, CurrencyError> {
        text.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct Money {
    /// The amount in the smallest unit of the currency: 1299 is 12.99 EUR.
    pub minor: i64,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Nothing of a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// The sum; `None` of two currencies, or beyond what a number holds.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let minor = self.minor.checked_add(other.minor).filter(|_| self.currency == other.currency)?;
        Some(Self { minor, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.currency.exponent());
        let sign = if self.minor < 0 { "-" } else { "" };
        let amount = self.minor.unsigned_abs();
        let Some(unit) = 10_u64.checked_pow(self.currency.exponent().into()).filter(|unit| *unit > 1) else {
            return write!(f, "{sign}{amount} {}", self.currency);
        };
        write!(f, "{sign}{}.{:0digits$} {}", amount / unit, amount % unit, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(minor: i64, code: &str) -> Money {
        Money { minor, currency: code.parse().unwrap() }
    }

    #[test]
    fn an_amount_is_shown_with_the_digits_of_its_currency() {
        for (amount, shown) in [
            (money(1299, "EUR"), "12.99 EUR"),
            (money(5, "EUR"), "0.05 EUR"),
            (money(-1205, "USD"), "-12.05 USD"),
            (money(1299, "JPY"), "1299 JPY"),
            (money(1299, "KWD"), "1.299 KWD"),
            (money(i64::MIN, "EUR"), "-92233720368547758.08 EUR"),
        ] {
            assert_eq!(amount.to_string(), shown);
        }
    }

    #[test]
    fn what_nothing_is_sold_in_is_no_currency() {
        // No code, lower case, a fund, gold, none, a code that the euro replaced.
        for text in ["", "EURO", "eur", "USN", "XAU", "XXX", "HRK", "€", "E\0R"] {
            assert_eq!(text.parse::<Currency>(), Err(CurrencyError), "{text}");
        }
        assert_eq!(serde_json::from_str::<Currency>("\"EUR\"").unwrap(), Currency::EUR);
        assert!(serde_json::from_str::<Currency>("\"EUX\"").is_err());
    }

    #[test]
    fn a_sum_is_exact_or_none() {
        assert_eq!(money(1, "EUR").checked_add(money(2, "EUR")), Some(money(3, "EUR")));
        assert_eq!(money(1, "EUR").checked_add(money(2, "USD")), None);
        assert_eq!(money(i64::MAX, "EUR").checked_add(money(1, "EUR")), None);
        assert_eq!(Money::zero(Currency::EUR).checked_add(money(0, "EUR")), Some(money(0, "EUR")));
    }

    #[test]
    fn money_is_a_number_and_a_code_in_json() {
        let text = r#"{"minor":1299,"currency":"EUR"}"#;
        assert_eq!(serde_json::from_str::<Money>(text).unwrap(), money(1299, "EUR"));
        assert_eq!(serde_json::to_string(&money(1299, "EUR")).unwrap(), text);
        assert!(serde_json::from_str::<Money>(r#"{"minor":12.99,"currency":"EUR"}"#).is_err());
    }
}
