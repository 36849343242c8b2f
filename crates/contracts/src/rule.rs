//! Alert rules as they are stored. The crate `rules` compiles and evaluates them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{RuleId, TenantId};

/// A condition on detections that raises alerts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// UUIDv7; derived from the name for a built-in rule.
    pub id: RuleId,
    /// The tenant whose detections it applies to; missing for a built-in rule, which applies to all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Name, which is part of each alert.
    pub name: String,
    /// The condition in CEL, such as `label == "face" && confidence > 0.8`.
    pub condition: String,
    /// Whether the rule raises alerts.
    pub enabled: bool,
}
