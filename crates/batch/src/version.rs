//! The version that scores, loaded in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tidegate_serving::{Serving, Target, Version};

use crate::error::{BatchError, Result};

/// A loaded version, and what answers requests to it as a server does.
pub struct ScoringVersion {
    serving: Arc<Serving>,
    version: Arc<Version>,
    digest: String,
}

impl ScoringVersion {
    /// A version that `serving` serves. `digest` is of all its files.
    ///
    /// # Errors
    /// If rows of a table cannot be requests to it.
    pub fn new(serving: Arc<Serving>, version: Arc<Version>, digest: String) -> Result<Self> {
        let name = format!("{}:{}", version.model(), version.number());
        if version.keeps_states() {
            return Err(refused(
                &name,
                "keeps states of sequences, and rows of a table are none",
            ));
        }
        if version.plan().is_graph() {
            return Err(refused(
                &name,
                "is a graph, which this release does not run over tables",
            ));
        }
        let pipeline = version.pipeline();
        if pipeline.is_some_and(|pipeline| !pipeline.lookups().is_empty()) {
            return Err(refused(
                &name,
                "looks features up, which this release does not do for tables",
            ));
        }
        Ok(Self {
            serving,
            version,
            digest,
        })
    }

    pub(crate) fn serving(&self) -> &Serving {
        &self.serving
    }

    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// `fraud:7`.
    pub(crate) fn name(&self) -> String {
        format!("{}:{}", self.version.model(), self.version.number())
    }

    pub(crate) fn target(&self) -> Target {
        Target {
            endpoint: self.version.model().to_owned(),
            version: Some(self.version.number().to_owned()),
        }
    }

    /// The most rows of a run; `None` if rows cannot share one.
    pub(crate) fn max_batch_rows(&self) -> Option<NonZeroUsize> {
        self.version.scheduler().limits().max_batch_rows
    }
}

fn refused(name: &str, why: &str) -> BatchError {
    BatchError::Request(format!("{name} {why}"))
}
