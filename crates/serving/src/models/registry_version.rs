//! One version of the registry, for a process that runs nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_registry::CachedVersion;

use super::{Model, Models};
use crate::load_trials::Trial;
use crate::{Version, source};

impl Models {
    /// Loads a version whose files are in the local cache, with the checks that a server makes, and
    /// serves it. Blocks.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub fn load_registry_version(&self, files: CachedVersion) -> Result<Arc<Version>, String> {
        let model = files.version().model.clone();
        let plan = source::cached(files).map_err(|problem| problem.to_string())?;
        let _loading = self.loading.lock();
        // If the load ends the process, nobody else is hurt.
        let (number, version) = self.load_version(&model, plan, Trial::Skip)?;
        let versions = BTreeMap::from([(number, version.clone())]);
        let model = Model::of_versions(model, versions).ok_or("there is no version to serve")?;
        self.publish(model);
        Ok(version)
    }
}
