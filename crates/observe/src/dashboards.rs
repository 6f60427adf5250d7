//! Dashboards for Grafana, over Tidegate's metrics and the series that the [rules](crate::rules())
//! record.

mod debug;
mod executive;
mod model;
mod on_call;

pub use model::Dashboard;

use crate::promql::escaped;

/// The three dashboards, for servers that Prometheus scrapes as `job`: for who answers for the
/// service, for who is woken up, and for who looks for a cause. Where the figures come from is a
/// variable; import them as they are.
///
/// What has no metric yet has no panel: correctness, drift, traces and GPUs.
pub fn dashboards(job: &str) -> [Dashboard; 3] {
    let job = format!("job=\"{}\"", escaped(job));
    [
        executive::dashboard(&job),
        on_call::dashboard(&job),
        debug::dashboard(&job),
    ]
}
