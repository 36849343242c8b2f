//! The end of consents: the faces of a person whose consent ended are erased within a second or two.
//!
//! A consent that is withdrawn is enforced by the request that does so. One that ends by itself is found here.

use std::time::Duration;

use clap::ValueEnum;
use contracts::{SubjectId, TenantId};
use jiff::Timestamp;
use store::{Blobs, Relational, StoreError};
use tokio::time::MissedTickBehavior;

use crate::{Config, Deps};

/// Time between two looks at consents that ended.
const PAUSE: Duration = Duration::from_secs(1);
/// Number of subjects that are read at once.
const BATCH: u32 = 100;
/// Number of subjects without consent that an error names.
const NAMED: u32 = 20;

/// Whether a person must have given consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ConsentRule {
    /// A face is enrolled and compared only with a recorded consent.
    Required,
    /// Also without one. A consent that is recorded and has ended counts all the same.
    Optional,
}

/// Checks that nobody is enrolled without consent where it is required: such faces would be found, and nothing may erase them unasked.
///
/// # Errors
/// Says how many have no consent, names the first of them with their tenants, and what to do.
pub async fn check_consents(config: &Config, database: &Relational) -> anyhow::Result<()> {
    if config.faces_consent == ConsentRule::Optional {
        return Ok(());
    }
    let first = database.enrolled_without_consent(NAMED).await?;
    if first.is_empty() {
        return Ok(());
    }
    let (subjects, tenants) = database.count_without_consent().await?;
    anyhow::bail!(
        "SIGHTLINE_FACES_CONSENT: subjects with enrolled faces and no recorded consent: {subjects}, of {tenants} tenants: {}{}; start with \
         optional, record their consent or delete them, and then set required",
        named(&first),
        if subjects > first.len() as u64 { ", and others" } else { "" }
    )
}

/// Subjects by their tenants, which they are sorted by.
fn named(subjects: &[(TenantId, SubjectId)]) -> String {
    let of_tenant = |of: &[(TenantId, SubjectId)]| {
        let ids: Vec<String> = of.iter().map(|(_, id)| id.to_string()).collect();
        of.first().map_or_else(String::new, |(tenant, _)| format!("tenant {tenant}: {}", ids.join(", ")))
    };
    subjects.chunk_by(|one, next| one.0 == next.0).map(of_tenant).collect::<Vec<_>>().join("; ")
}

/// Erases the faces of people whose consent ended, without end. Several processes may do so at once.
pub async fn end_consents_regularly(deps: &Deps) {
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        ticks.tick().await;
        let ended = end_consents(deps).await;
        if let Err(error) = &ended
            && !failed
        {
            tracing::warn!(%error, "not everything of people whose consent ended could be erased; trying again every second");
        }
        failed = ended.is_err();
    }
}

/// Erases the vectors of a subject whose consent ended by `now`, and deletes its kept enrolment images. Returns the number of vectors; does
/// nothing if no consent of it is to end. A repeat after a failure does the rest.
pub async fn end_consent(
    database: &Relational,
    blobs: &dyn Blobs,
    tenant: &TenantId,
    subject: SubjectId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    if !database.is_consent_to_end(tenant, subject, now).await? {
        return Ok(0);
    }
    // First what is compared. The images after it: nobody is enrolled with one from then on.
    let erased = database.end_consent(tenant, subject, now).await?;
    delete_enrolment_images(database, blobs, tenant, subject).await?;
    database.finish_consent(tenant, subject, now).await?;
    Ok(erased)
}

async fn delete_enrolment_images(
    database: &Relational,
    blobs: &dyn Blobs,
    tenant: &TenantId,
    subject: SubjectId,
) -> Result<(), StoreError> {
    for id in database.merged_subjects(tenant, subject).await?.into_iter().chain([subject]) {
        blobs.delete_enrolled(tenant, id).await?;
    }
    Ok(())
}

async fn end_consents(deps: &Deps) -> Result<(), StoreError> {
    // Those that ended by the start: each is found once, so the loop ends.
    let now = Timestamp::now();
    loop {
        let ended = deps.database.ended_consents(now, BATCH).await?;
        let mut failure = Ok(());
        for (tenant, subject) in &ended {
            match end_consent(&deps.database, &*deps.blobs, tenant, *subject, now).await {
                Ok(erased) => tracing::info!(erased, "the consent of a subject ended; its enrolled faces are erased"),
                // The others do not wait for it. It is found again at the next look.
                Err(error) => failure = Err(error),
            }
        }
        failure?;
        if ended.len() < BATCH as usize {
            return Ok(());
        }
    }
}
