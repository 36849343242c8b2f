//! Places for requests whose images are decoded and compared at the same time.
//!
//! In: the tenant of a request. Out: a place, which is free again when its value is dropped, or a refusal. Guarantees: never more places are
//! taken than there are; one tenant has at most half of them, or the only one, so it alone cannot keep the others out.

use std::sync::Arc;

use api_kit::shares::{NotFree, Shares, Units};
use contracts::TenantId;
use metrics::Gauge;

use super::error::FaceError;

/// All places.
pub struct ImagePlaces(Arc<Shares>);

/// A place that is taken.
pub type Place = Units;

impl ImagePlaces {
    /// So many places, all free.
    pub fn new(places: usize) -> Self {
        Self(Shares::new(places, places / 2, Gauge::noop()))
    }

    /// Takes a place.
    ///
    /// # Errors
    /// `ShareInUse` if the tenant has its share, `Busy` if no place is free.
    pub fn take(&self, tenant: &TenantId) -> Result<Place, FaceError> {
        self.0.take(Some(tenant.as_str()), 1).map_err(|not_free| match not_free {
            NotFree::OfTenant => FaceError::ShareInUse(self.0.share()),
            NotFree::OfAll => FaceError::Busy,
        })
    }
}

#[cfg(test)]
mod tests {
    use api_kit::error::HttpError;

    use super::*;

    /// Code and `Retry-After` of a refusal.
    fn refusal(outcome: Result<Place, FaceError>) -> (&'static str, Option<u64>) {
        let error = outcome.err().expect("the place is refused");
        (error.status_and_code().1, error.retry_after())
    }

    const SHARE_IN_USE: (&str, Option<u64>) = ("share_in_use", Some(1));
    const BUSY: (&str, Option<u64>) = ("busy", Some(1));

    #[test]
    fn one_tenant_has_at_most_half_of_the_places() {
        let places = ImagePlaces::new(4);
        let [a, b, c] = ["a", "b", "c"].map(|name| name.parse::<TenantId>().unwrap());
        let mut of_a = vec![places.take(&a).unwrap(), places.take(&a).unwrap()];
        assert_eq!(refusal(places.take(&a)), SHARE_IN_USE);
        let _of_b = [places.take(&b).unwrap(), places.take(&b).unwrap()];
        assert_eq!(refusal(places.take(&c)), BUSY);

        drop(of_a.pop());
        drop(places.take(&c).expect("the place is free for another tenant"));
        of_a.push(places.take(&a).unwrap());
        assert_eq!(refusal(places.take(&a)), SHARE_IN_USE);
    }

    #[test]
    fn a_share_is_rounded_down_and_at_least_one_place() {
        let [a, b] = ["a", "b"].map(|name| name.parse::<TenantId>().unwrap());
        let three = ImagePlaces::new(3);
        let _held = three.take(&a).unwrap();
        assert_eq!(refusal(three.take(&a)), SHARE_IN_USE);
        let one = ImagePlaces::new(1);
        let held = one.take(&a).unwrap();
        assert_eq!(refusal(one.take(&b)), BUSY);
        drop(held);
        assert!(one.take(&b).is_ok());
    }
}
