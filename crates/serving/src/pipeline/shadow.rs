//! A copy of a request, run by a version whose answer nobody sees.

use std::sync::Arc;
use std::time::Instant;

use tidegate_core::Tensor;
use tidegate_gateway::TenantShare;

use super::execute::execute;
use super::graph::RunScope;
use crate::version::Prepared;
use crate::{InferError, InferRequest, MemoryReservation, Serving, Version};

/// The tenant of all copies, so that they take turns with nobody's requests.
const TENANT: &str = "tidegate-shadows";

impl Serving {
    /// preprocess, schedule, execute, postprocess: nothing is authorized, cached or recorded.
    ///
    /// # Errors
    /// As for any request of the version.
    pub(crate) async fn run_shadow(
        &self,
        version: &Arc<Version>,
        request: InferRequest,
    ) -> Result<Vec<(String, Tensor)>, InferError> {
        let share = TenantShare::new(TENANT, 1);
        let Prepared { work, outputs } = version.prepare(request, Instant::now(), share)?;
        let scope = RunScope {
            finder: self.finder(),
            trace: None,
            memory: &MemoryReservation::default(),
            graph: None,
            depth: 0,
        };
        let executed = execute(version, work, &outputs, None, &scope).await?;
        let signature = version.signature();
        let outputs = executed.outputs.into_iter().map(|output| {
            let name = signature.outputs[output.index].name.clone();
            (name, output.tensor)
        });
        Ok(outputs.collect())
    }
}
