//! Alerts of detections whose subject was rejected.
//!
//! In: the alerts of a page, as they are stored. Out: the same; those of a rejected detection are `rejected` too, and name no subject.
//!
//! A rejection is recorded on its detection alone, and an alert is compared with its detection when it is read. So it follows at once,
//! also one that an indexer stores after the rejection, and has its subject again when the rejection is undone.

use std::collections::{BTreeMap, BTreeSet};

use contracts::AttributeValue;

use super::{FORGOTTEN, RECOGNISED, REJECTED};
use crate::stored_docs::AlertDoc;

/// The ids of the detections that these alerts are about, each once, if they may be rejected: they have a subject, or had one that was
/// forgotten.
pub(super) fn recognised_detections(alerts: &[AlertDoc<'_>]) -> BTreeSet<String> {
    let recognised = alerts.iter().filter(|alert| {
        let identity = alert.attributes.as_ref().and_then(|attributes| attributes.get("identity"));
        matches!(identity, Some(AttributeValue::Text(word)) if [RECOGNISED, FORGOTTEN].contains(&word.as_str()))
    });
    recognised.map(|alert| alert.detection_id.to_string()).collect()
}

/// Removes the subject from the alerts of rejected detections. `rejected` has the tenants of these by their ids: the alert of another
/// tenant stays as it is.
pub(super) fn remove_rejected(alerts: &mut [AlertDoc<'_>], rejected: &BTreeMap<String, String>) {
    for alert in alerts {
        if rejected.get(&*alert.detection_id).is_none_or(|tenant| *tenant != alert.tenant) {
            continue;
        }
        let Some(attributes) = &mut alert.attributes else { continue };
        attributes.remove("subject");
        attributes.remove("similarity");
        if let Some(identity) = attributes.get_mut("identity") {
            *identity = REJECTED.into();
        }
    }
}
