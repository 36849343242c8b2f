//! Places for requests whose images are decoded and compared at the same time.
//!
//! In: the tenant of a request. Out: a place, which is free again when its value is dropped, or a refusal. Guarantees: never more places are
//! taken than there are; one tenant has at most half of them, or the only one, so it alone cannot keep the others out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contracts::TenantId;

use super::error::FaceError;

/// All places.
pub struct ImagePlaces {
    places: usize,
    /// Places of one tenant.
    share: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Only tenants that have one.
    of_tenant: BTreeMap<TenantId, usize>,
}

/// A place that is taken.
pub struct Place {
    places: Arc<ImagePlaces>,
    tenant: TenantId,
}

impl ImagePlaces {
    /// So many places, all free.
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { places, share: (places / 2).max(1), taken: Mutex::default() })
    }

    /// Takes a place.
    ///
    /// # Errors
    /// `ShareInUse` if the tenant has its share, `Busy` if no place is free.
    pub fn take(self: &Arc<Self>, tenant: &TenantId) -> Result<Place, FaceError> {
        let mut taken = self.taken();
        let own = taken.of_tenant.get(tenant).copied().unwrap_or(0);
        if own >= self.share {
            return Err(FaceError::ShareInUse(self.share));
        }
        if taken.all >= self.places {
            return Err(FaceError::Busy);
        }
        taken.all += 1;
        taken.of_tenant.insert(tenant.clone(), own + 1);
        Ok(Place { places: Arc::clone(self), tenant: tenant.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(own) = taken.of_tenant.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.of_tenant.remove(&self.tenant);
            }
        }
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
        let of_b = [places.take(&b).unwrap(), places.take(&b).unwrap()];
        assert_eq!(refusal(places.take(&c)), BUSY);

        drop(of_a.pop());
        drop(places.take(&c).expect("the place is free for another tenant"));
        of_a.push(places.take(&a).unwrap());
        assert_eq!(refusal(places.take(&a)), SHARE_IN_USE);
        drop((of_a, of_b));
        assert!(places.taken().of_tenant.is_empty(), "tenants without a place are forgotten");
        assert_eq!(places.taken().all, 0);
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
