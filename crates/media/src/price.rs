//! Prices of providers, in millionths of a currency's unit. Costs are rounded up, so that what is reserved is never too little by rounding.

/// What a provider charges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// The currency, as its code of ISO 4217.
    pub currency: String,
    /// For a minute of sound.
    pub per_audio_minute: i64,
    /// For a million tokens that are read.
    pub per_million_tokens_in: i64,
    /// For a million tokens that are written.
    pub per_million_tokens_out: i64,
}

impl Price {
    /// The cost of this much sound.
    pub fn of_audio(&self, ms: u64) -> i64 {
        rounded_up(i128::from(self.per_audio_minute) * i128::from(ms), 60_000)
    }

    /// The cost of these tokens.
    pub fn of_tokens(&self, tokens_in: u64, tokens_out: u64) -> i64 {
        let read = i128::from(self.per_million_tokens_in) * i128::from(tokens_in);
        let written = i128::from(self.per_million_tokens_out) * i128::from(tokens_out);
        rounded_up(read + written, 1_000_000)
    }
}

fn rounded_up(sum: i128, unit: i128) -> i64 {
    let sum = sum.max(0);
    i64::try_from(sum / unit + i128::from(sum % unit > 0)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price() -> Price {
        Price {
            currency: "USD".to_owned(),
            per_audio_minute: 700,
            per_million_tokens_in: 150_000,
            per_million_tokens_out: 600_000,
        }
    }

    #[test]
    fn sound_is_charged_by_the_millisecond_and_rounded_up() {
        let costs = [0, 1, 60_000, 60_001, 90_000].map(|ms| price().of_audio(ms));
        assert_eq!(costs, [0, 1, 700, 701, 1_050]);
    }

    #[test]
    fn tokens_are_charged_together_and_rounded_up_once() {
        assert_eq!(price().of_tokens(1_000_000, 0), 150_000);
        assert_eq!(price().of_tokens(1, 1), 1);
        assert_eq!(price().of_tokens(1_000, 500), 450);
        assert_eq!(price().of_tokens(u64::MAX, u64::MAX), i64::MAX);
    }
}
