//! `tidegate exporter`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use tidegate_pipeline::SKLEARN_EXPORTER;

use crate::output::print_text;

/// Print the Python module that exports fitted scikit-learn transformers for a pipeline
///
///     tidegate exporter > tidegate_sklearn.py
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Exporter {}

impl Exporter {
    pub(super) fn run(self) -> Result<ExitCode> {
        print_text(SKLEARN_EXPORTER);
        Ok(ExitCode::SUCCESS)
    }
}
