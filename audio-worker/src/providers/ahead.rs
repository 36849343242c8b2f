//! Whether a window can be transcribed now, asked before its sound is decoded: a book has hundreds of windows, which all wait while nobody can be
//! called, and each would be decoded at every try.

use contracts::{BookId, MediaStep};
use media::{Choice, MediaError, Reservation, codes};
use store::relational::CallPrice;

use super::Providers;
use super::outcome::{Outcome, WindowAnswer};
use super::selection::{self, Selection};

/// A window whose sound is not decoded yet.
#[derive(Debug, Clone, Copy)]
pub struct WindowAhead<'a> {
    /// The book.
    pub book: BookId,
    /// The length of the window.
    pub length_ms: u64,
    /// The group of providers that is asked for; all of them if it is `None`.
    pub group: Option<&'a str>,
    /// The cap of the book in millionths of the currency's unit, instead of the file's.
    pub budget_micro: Option<i64>,
}

impl Providers {
    /// What a window waits for, or fails of; `None` if a provider can be called. Nothing is claimed and nothing reserved, so it may be otherwise at
    /// the time of the call.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn obstacle(&self, window: &WindowAhead<'_>) -> Result<Option<Outcome<WindowAnswer>>, MediaError> {
        let WindowAhead { book, length_ms, group, budget_micro } = *window;
        let providers = &self.0.transcribe;
        let able = selection::able(providers);
        let fingerprints = selection::fingerprints(&able).await;
        let candidates = selection::candidates(&able, &fingerprints);
        let (choice, states) = self.0.registry.look(MediaStep::Transcribe, &candidates, group).await?;
        let Choice::Use { index, .. } = choice else {
            let mut selection = Selection::default();
            selection.know(&candidates, group, &states);
            return Ok(Some(self.stopped(&choice, providers, group, &selection, codes::WINDOW_REFUSED)));
        };
        let Some(price) = able.get(index).and_then(|provider| provider.entry.price()) else { return Ok(None) };
        let Some(caps) = self.caps(price, budget_micro) else { return Ok(None) };
        let wanted = CallPrice { currency: price.currency.clone(), reserved_micro: price.of_audio(length_ms) };
        Ok(match self.0.registry.over_cap(book, &wanted, &caps).await? {
            Some(Reservation::OverCap { which, spent, cap, until }) => {
                let (until, cause) = self.no_budget(which, spent, cap, until, &caps.currency);
                Some(Outcome::Wait { until, cause })
            }
            Some(Reservation::Granted(_)) | None => None,
        })
    }
}
