//! The budget of a tenant: how much its rules may cost together, for one detection.
//!
//! All tenants share the indexer, so the rules of one tenant must not delay the alerts of the others. Which rules are within
//! the budget follows from the rules alone: ingest-api shows it and the indexer applies it, and neither stores it.

use std::collections::HashSet;

use contracts::RuleId;

/// Maximum cost of the enabled rules of a tenant together. A hundred rules with three comparisons each cost less.
pub const MAX_TENANT_COST: u32 = 4_000;
/// Maximum cost of evaluating all rules of a tenant on one result: some 50 ms.
const MAX_RESULT_COST: u64 = 1_000_000;

/// The rules of a tenant that are within its budget, from the costs of its enabled rules.
///
/// The oldest rules come first, so a new rule never stops another. A rule that does not fit is left out; a cheaper one after it
/// may fit.
pub fn within_budget(costs: impl IntoIterator<Item = (RuleId, u32)>) -> HashSet<RuleId> {
    let mut costs: Vec<_> = costs.into_iter().collect();
    // Ids are in the order of creation.
    costs.sort_unstable();
    let mut left = MAX_TENANT_COST;
    let fits = |(id, cost): (RuleId, u32)| {
        left = left.checked_sub(cost)?;
        Some(id)
    };
    costs.into_iter().filter_map(fits).collect()
}

/// The number of detections of one result on which rules of this cost are evaluated.
pub fn evaluated_detections(cost: u32) -> usize {
    usize::try_from(MAX_RESULT_COST / u64::from(cost.max(1))).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_rules_keep_their_place_in_the_budget() {
        let ids: Vec<RuleId> = (0..4).map(|_| RuleId::now()).collect();
        let costs = |costs: [u32; 4]| ids.iter().copied().zip(costs);
        let kept = |costs_of_rules| {
            let kept = within_budget(costs(costs_of_rules).rev());
            ids.iter().map(|id| kept.contains(id)).collect::<Vec<_>>()
        };
        assert_eq!(kept([1_000; 4]), [true; 4]);
        assert_eq!(kept([1_000, 2_500, 1_000, 500]), [true, true, false, true]);
        assert_eq!(kept([4_001, 1, 3_999, 1]), [false, true, true, false]);
    }
}
