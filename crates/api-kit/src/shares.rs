//! A number of units, such as bytes of memory or places, of which one tenant cannot take all.
//!
//! In: the tenant of a request, and how many units the request needs. Out: the units, which are free again when their value is dropped, or
//! a refusal. Guarantees: never more units are given than there are; one tenant gets more than its share only while at most half of all are
//! taken, so it alone cannot keep the others out. Requests without a credential have one share together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;

/// All units.
pub struct Shares {
    all: usize,
    share: usize,
    taken: Mutex<Taken>,
    gauge: Gauge,
}

#[derive(Default)]
struct Taken {
    all: usize,
    /// Only tenants that have some.
    of_tenant: BTreeMap<Option<String>, usize>,
}

impl Taken {
    fn add(&mut self, tenant: &Option<String>, number: usize) {
        self.all += number;
        *self.of_tenant.entry(tenant.clone()).or_default() += number;
    }
}

/// Units that are taken, free again when this is dropped.
pub struct Units {
    shares: Arc<Shares>,
    tenant: Option<String>,
    number: usize,
}

/// Why units are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotFree {
    /// The tenant would have more than its share, and more than half of all would be taken.
    OfTenant,
    /// All tenants together would have more than there are.
    OfAll,
}

impl Shares {
    /// So many units, all free, and the share of a tenant; at least one unit, at most all. The gauge shows how many are taken.
    pub fn new(all: usize, share: usize, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { all, share: share.clamp(1, all.max(1)), taken: Mutex::default(), gauge })
    }

    /// The share of a tenant.
    pub const fn share(&self) -> usize {
        self.share
    }

    /// Takes units.
    ///
    /// # Errors
    /// When so many are not free, or not within the share of the tenant.
    pub fn take(self: &Arc<Self>, tenant: Option<&str>, number: usize) -> Result<Units, NotFree> {
        let mut units = Units { shares: Arc::clone(self), tenant: tenant.map(str::to_owned), number: 0 };
        units.grow_to(number)?;
        Ok(units)
    }

    /// Takes units that are in use already, whether they are free or not.
    pub fn take_in_use(self: &Arc<Self>, tenant: Option<&str>, number: usize) -> Units {
        let tenant = tenant.map(str::to_owned);
        let mut taken = self.taken();
        taken.add(&tenant, number);
        self.set_gauge(taken.all);
        drop(taken);
        Units { shares: Arc::clone(self), tenant, number }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and memory is far below 2^52 bytes")]
    fn set_gauge(&self, taken: usize) {
        self.gauge.set(taken as f64);
    }
}

impl Units {
    /// Takes more, until there are `number`; keeps them if there are as many already.
    ///
    /// # Errors
    /// When so many are not free, or not within the share of the tenant. The earlier ones stay.
    pub fn grow_to(&mut self, number: usize) -> Result<(), NotFree> {
        let more = number.saturating_sub(self.number);
        if more == 0 {
            return Ok(());
        }
        let mut taken = self.shares.taken();
        let own = taken.of_tenant.get(&self.tenant).copied().unwrap_or(0).saturating_add(more);
        let all = taken.all.saturating_add(more);
        if own > self.shares.share && all > self.shares.all / 2 {
            return Err(NotFree::OfTenant);
        }
        if all > self.shares.all {
            return Err(NotFree::OfAll);
        }
        taken.add(&self.tenant, more);
        self.shares.set_gauge(all);
        self.number += more;
        Ok(())
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        if self.number == 0 {
            return;
        }
        let mut taken = self.shares.taken();
        taken.all -= self.number;
        if let Some(own) = taken.of_tenant.get_mut(&self.tenant) {
            *own -= self.number;
            if *own == 0 {
                taken.of_tenant.remove(&self.tenant);
            }
        }
        self.shares.set_gauge(taken.all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Option<&str> = Some("a");
    const B: Option<&str> = Some("b");

    #[test]
    fn one_tenant_has_at_most_its_share() {
        let shares = Shares::new(10, 5, Gauge::noop());
        let mut of_a = shares.take(A, 3).unwrap();
        assert_eq!(of_a.grow_to(6), Err(NotFree::OfTenant));
        of_a.grow_to(4).unwrap();
        of_a.grow_to(2).unwrap();
        let second = shares.take(A, 1).unwrap();
        assert_eq!(shares.take(A, 1).err(), Some(NotFree::OfTenant));
        let of_b = shares.take(B, 4).unwrap();
        let anonymous = shares.take(None, 1).unwrap();
        assert_eq!(shares.take(Some("c"), 1).err(), Some(NotFree::OfAll));

        drop(second);
        drop(shares.take(Some("c"), 1).expect("the unit is free for another tenant"));
        drop((of_a, of_b, anonymous));
        assert!(shares.taken().of_tenant.is_empty(), "tenants without a unit are forgotten");
        assert_eq!(shares.taken().all, 0);
    }

    #[test]
    fn a_tenant_gets_more_than_its_share_while_half_is_free() {
        let shares = Shares::new(8, 1, Gauge::noop());
        let alone = shares.take(A, 4).unwrap();
        assert_eq!(shares.take(A, 1).err(), Some(NotFree::OfTenant));
        let of_b = shares.take(B, 1).unwrap();
        assert_eq!(shares.take(B, 1).err(), Some(NotFree::OfTenant));
        drop(alone);
        assert!(shares.take(B, 3).is_ok());
        drop(of_b);
    }

    #[test]
    fn units_in_use_count_without_a_refusal() {
        let shares = Shares::new(4, 1, Gauge::noop());
        let in_use = shares.take_in_use(A, 9);
        assert_eq!(shares.take(B, 1).err(), Some(NotFree::OfAll));
        drop(in_use);
        assert!(shares.take(B, 1).is_ok());
        assert_eq!(shares.taken().all, 0);
    }

    #[test]
    fn requests_without_a_credential_have_one_share_together() {
        let shares = Shares::new(4, 2, Gauge::noop());
        let _held = [shares.take(None, 1).unwrap(), shares.take(None, 1).unwrap()];
        assert_eq!(shares.take(None, 1).err(), Some(NotFree::OfTenant));
        assert!(shares.take(A, 2).is_ok());
    }

    #[test]
    fn a_share_is_at_least_one_unit_and_at_most_all() {
        assert_eq!(Shares::new(1, 0, Gauge::noop()).share(), 1);
        assert_eq!(Shares::new(3, 9, Gauge::noop()).share(), 3);
        assert_eq!(Shares::new(0, 9, Gauge::noop()).take(A, 1).err(), Some(NotFree::OfAll));
    }
}
