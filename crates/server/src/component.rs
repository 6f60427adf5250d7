//! The interface of subsystems that live as long as the server.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use crate::routes::Routes;

/// A subsystem that lives as long as the server: alerting, objectives, cost, the console…
///
/// A component gets what it needs in its constructor: its section of the configuration, where it
/// registers its metrics, and the components that it reads. It never gets all of them. The other
/// calls of the server are here; a component implements those that it needs.
///
/// The list of components is in [`crate::components`].
pub(crate) trait Component: Send + Sync + 'static {
    /// A short name, for the log.
    fn name(&self) -> &'static str;

    /// Its routes, each with the permission that it needs, and their description.
    fn routes(self: Arc<Self>) -> Routes<()> {
        Routes::described_by(utoipa::openapi::OpenApi::default())
    }

    /// Starts its background tasks. They are aborted once the last request has been answered.
    fn start(self: Arc<Self>, _background: &mut JoinSet<()>) {}

    /// Problems that an operator should know although the server may be ready: its part of the
    /// answer of `/v2/health/ready`.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }

    /// Writes and sends state that must not be lost, after the last request has been answered and
    /// the background tasks have ended. Called in the order of the list.
    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
