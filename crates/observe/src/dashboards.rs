//! Dashboards for Grafana, over Tidegate's metrics and the series that the [rules](crate::rules())
//! record.

mod debug;
mod executive;
mod model;
mod on_call;

pub use model::Dashboard;

use crate::promql::escaped;

/// The three dashboards, for servers that Prometheus scrapes as `job`: for the owner of the
/// service, for the engineer on call, and for whoever looks for a cause. The data source is a
/// variable, so they can be imported unchanged.
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
