//! The standard service for health, `grpc.health.v1.Health`: what `/readyz` says, for each service and for the server.

use std::time::Duration;

use platform::Health;
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::proto::METHODS;

/// Interval of the checks.
const EVERY: Duration = Duration::from_secs(2);

/// Keeps the statuses up to date until `leaving`. Then nothing is served any more.
pub async fn report(reporter: &HealthReporter, health: &Health, leaving: CancellationToken) {
    let checking = async {
        let mut known = ServingStatus::NotServing;
        // A new reporter says that the server serves.
        set(reporter, known).await;
        loop {
            let now = if health.is_ready().await { ServingStatus::Serving } else { ServingStatus::NotServing };
            // Clients that watch get every status that is set.
            if known != now {
                set(reporter, now).await;
                known = now;
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    leaving.run_until_cancelled(checking).await;
    set(reporter, ServingStatus::NotServing).await;
}

async fn set(reporter: &HealthReporter, status: ServingStatus) {
    // The empty name is the whole server.
    let mut services = vec![""];
    services.extend(METHODS.iter().map(|method| method.service));
    services.dedup();
    for service in services {
        reporter.set_service_status(service, status).await;
    }
}
