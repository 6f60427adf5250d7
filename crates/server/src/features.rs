//! Features that requests look up, and the embedded store of them.

mod api;
mod look_up;
mod metrics;

use std::sync::Arc;

use tidegate_features::FeatureStores;
use tidegate_serving::{MemoryBudget, MetricRegistry};

use self::metrics::FeatureMetrics;
use crate::ServerConfig;
use crate::component::Component;
use crate::routes::Routes;

/// The feature stores of a server.
pub(crate) struct Features {
    stores: Arc<FeatureStores>,
    metrics: FeatureMetrics,
    server: ServerConfig,
    memory: Arc<MemoryBudget>,
}

impl Features {
    /// Registers the metrics of the stores.
    pub(crate) fn new(
        stores: FeatureStores,
        server: ServerConfig,
        memory: Arc<MemoryBudget>,
        registry: &MetricRegistry,
    ) -> Self {
        let stores = Arc::new(stores);
        Self {
            metrics: FeatureMetrics::new(stores.clone(), registry),
            stores,
            server,
            memory,
        }
    }
}

impl Component for Features {
    fn name(&self) -> &'static str {
        "features"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn problems(&self) -> Vec<String> {
        self.stores.problems()
    }
}
