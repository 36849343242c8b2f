//! A price as people write it: `12.99` with the digits of its currency.

use contracts::{Currency, Money};

/// The amount in the smallest unit of the currency.
///
/// # Errors
/// When it is no amount, or has more digits after the point than the currency. The message says what is right.
pub fn parse(text: &str, currency: Currency) -> Result<Money, String> {
    let digits = usize::from(currency.exponent());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_amount = !whole.is_empty() && is_number(whole) && is_number(fraction) && !text.ends_with('.');
    if !is_amount || fraction.len() > digits {
        let example = Money { minor: 1299, currency };
        return Err(format!("--price: it must be an amount of {currency} such as {}", amount(example)));
    }
    let minor = format!("{whole}{fraction:0<digits$}").parse::<i64>();
    minor.map(|minor| Money { minor, currency }).map_err(|_| "--price: it is too high".to_owned())
}

/// The amount without its currency.
fn amount(money: Money) -> String {
    money.to_string().split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minor(text: &str, code: &str) -> Result<i64, String> {
        parse(text, code.parse().unwrap()).map(|money| money.minor)
    }

    #[test]
    fn an_amount_has_the_digits_of_its_currency() {
        for (text, code, expected) in [
            ("12.99", "EUR", 1299),
            ("12.9", "EUR", 1290),
            ("12", "EUR", 1200),
            ("0", "EUR", 0),
            ("0.05", "EUR", 5),
            ("1299", "JPY", 1299),
            ("1.299", "KWD", 1299),
        ] {
            assert_eq!(minor(text, code), Ok(expected), "{text} {code}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_an_example() {
        for text in ["", "-1", "1,5", "12.999", "12.", ".5", "1e3", "twelve", " 1"] {
            assert!(minor(text, "EUR").unwrap_err().ends_with("such as 12.99"), "{text}");
        }
        assert!(minor("1.5", "JPY").unwrap_err().ends_with("such as 1299"));
        assert!(minor("99999999999999999999", "EUR").unwrap_err().contains("too high"));
    }
}
