//! The standard health service.

use std::sync::Weak;
use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::front_end::FrontEnd;

/// The names that the standard health service knows: the server as a whole, and its service.
const HEALTH_SERVICES: [&str; 2] = ["", "inference.GRPCInferenceService"];

/// Keeps the standard health service in step with readiness, until the server is stopping or gone.
pub(super) async fn report_health(front_end: Weak<FrontEnd>, mut health: HealthReporter) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut reported = None;
    loop {
        // Readiness comes from many parts, none of which notifies anybody: it is read.
        tick.tick().await;
        let Some(front_end) = front_end.upgrade() else {
            return;
        };
        let ready = front_end.lifecycle.is_ready();
        if reported != Some(ready) {
            let serving = if ready {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            for service in HEALTH_SERVICES {
                health.set_service_status(service, serving).await;
            }
            reported = Some(ready);
        }
        if front_end.lifecycle.is_stopping() {
            // Clients that watch have received the last status. Their streams end here, so that they
            // do not delay the end of the server.
            for service in HEALTH_SERVICES {
                health.clear_service_status(service).await;
                health
                    .set_service_status(service, ServingStatus::NotServing)
                    .await;
            }
            return;
        }
    }
}
