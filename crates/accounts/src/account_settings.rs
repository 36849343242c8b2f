//! Converts the settings of a program to the settings of accounts.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use crate::args::{AccountArgs, LimitOrNone, TokenArgs};
use crate::limits::Rate;
use crate::mail::{LogMailer, Mailer, SmtpMailer};
use crate::settings::{Hashing, PasswordRules, Settings, Throttle};

/// Number of token requests that are allowed per allowed sign-in of an address.
const TOKENS_PER_SIGN_IN: u32 = 10;

impl AccountArgs {
    /// The mailer of the settings. Without an SMTP server, mails go to the log.
    ///
    /// # Errors
    /// When the URL of the server or the address of the sender is invalid.
    pub fn mailer(&self) -> anyhow::Result<Arc<dyn Mailer>> {
        let Some(url) = &self.smtp_url else { return Ok(Arc::new(LogMailer)) };
        let mailer = SmtpMailer::new(url.expose(), &self.mail_from).map_err(anyhow::Error::msg)?;
        Ok(Arc::new(mailer))
    }

    /// The settings of accounts.
    pub fn settings(&self, tokens: &TokenArgs) -> Settings {
        let defaults = Settings::default();
        Settings {
            issuer: tokens.token_issuer.clone(),
            audience: tokens.token_audience.clone(),
            access_token_life: tokens.access_token_life,
            rate_limit: tokens.rate_limit_rps.0,
            session_life: self.session_life,
            refresh_grace: self.refresh_grace,
            opaque_session_life: self.opaque_session_life,
            reset_life: self.reset_life,
            reset_url: self.reset_url.clone(),
            registration: self.registration,
            passwords: PasswordRules {
                min_length: self.password_min_length.into(),
                refuse_common: self.password_refuse_common,
            },
            hashing: Hashing {
                memory_kib: self.password_hash_memory_kib,
                passes: self.password_hash_passes,
                threads: self.password_hash_threads.map_or(defaults.hashing.threads, NonZero::get),
                ..defaults.hashing
            },
            quota: self.api_request_quota.0,
            quota_period: self.api_request_quota_period,
            throttle: throttle(self.sign_ins_per_address, defaults.throttle),
            ..defaults
        }
    }
}

/// The limits on sign-ins, with this limit of an address.
fn throttle(LimitOrNone(sign_ins): LimitOrNone, defaults: Throttle) -> Throttle {
    Throttle {
        address: sign_ins.map(per_minute),
        tokens: sign_ins.map(|sign_ins| per_minute(sign_ins.saturating_mul(TOKENS_PER_SIGN_IN))),
        ..defaults
    }
}

/// A rate per minute, with a burst of five sixths of it.
fn per_minute(count: u32) -> Rate {
    Rate::new(Duration::from_secs(60) / count.max(1), (count / 6 * 5).max(1))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        tokens: TokenArgs,
        #[command(flatten)]
        accounts: AccountArgs,
    }

    fn settings(flags: &[&str]) -> Settings {
        let program = Program::try_parse_from([&["program"][..], flags].concat()).unwrap();
        program.accounts.settings(&program.tokens)
    }

    #[test]
    fn without_flags_the_settings_are_the_defaults() {
        let (set, defaults) = (settings(&[]), Settings::default());
        assert_eq!(set.throttle.address, defaults.throttle.address);
        assert_eq!(set.throttle.tokens, defaults.throttle.tokens);
        assert_eq!((set.registration, set.rate_limit, set.quota), (true, defaults.rate_limit, defaults.quota));
        assert_eq!((set.passwords.min_length, set.passwords.refuse_common), (8, true));
    }

    #[test]
    fn the_demo_settings_allow_weak_passwords_and_any_number_of_sign_ins() {
        let flags = ["--password-min-length=6", "--password-refuse-common=off", "--sign-ins-per-address=none"];
        let demo = settings(&flags);
        assert_eq!((demo.throttle.address, demo.throttle.tokens), (None, None));
        assert_eq!((demo.passwords.min_length, demo.passwords.refuse_common), (6, false));
        assert_eq!(demo.throttle.pair, Throttle::default().pair, "guesses at one account stay limited");
        assert!(!settings(&["--registration=off"]).registration);
    }
}
