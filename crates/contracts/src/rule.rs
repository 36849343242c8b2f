//! An alert rule as it is kept; `rules` compiles and evaluates it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::{RuleId, TenantId};

/// A tenant's condition over detections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// Whose detections it looks at; none for a built-in rule, which looks at everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Its name, which alerts carry.
    pub name: String,
    /// The condition in CEL, such as `label == "face" && confidence > 0.8`.
    pub condition: String,
    /// Whether it is in force.
    pub enabled: bool,
}
