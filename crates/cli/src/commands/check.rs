//! `tidegate check`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use tidegate_core::EngineChoice;
use tidegate_serving::{CheckOutcome, CheckReport};

use crate::config::EnginesConfig;
use crate::options::Engine;
use crate::{bundle_checks, bundles};

/// Test a bundle before pushing it, for example in CI
#[derive(Debug, Args)]
pub(super) struct Check {
    /// What to check: an .onnx file, a bundle, an MLflow model, or a Triton model or repository
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The engine that runs the checks
    #[arg(long)]
    engine: Option<Engine>,
}

impl Check {
    /// Fails if a check of any bundle fails.
    pub(super) fn run(self) -> Result<ExitCode> {
        let config = EnginesConfig {
            default: self.engine.map_or(EngineChoice::Auto, Into::into),
            ..EnginesConfig::default()
        };
        let reports = bundle_checks::run(&bundles::find(&self.path, None)?, &config);
        reports.iter().for_each(bundle_checks::print);
        // Also if a check failed: CI shows the reasons from this file.
        if let Some(file) = &self.junit {
            std::fs::write(file, junit(&reports)?)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(match reports.iter().all(CheckReport::passed) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

fn junit(reports: &[CheckReport]) -> Result<String> {
    let mut page = Report::new("tidegate check");
    for report in reports {
        let mut suite = TestSuite::new(&report.model);
        for case in &report.cases {
            let mut test = TestCase::new(&case.name, junit_status(&case.outcome));
            test.set_classname(&report.model).set_time(case.took);
            suite.add_test_case(test);
        }
        page.add_test_suite(suite);
    }
    Ok(page.to_string()?)
}

fn junit_status(outcome: &CheckOutcome) -> TestCaseStatus {
    let (mut status, message) = match outcome {
        CheckOutcome::Passed => return TestCaseStatus::success(),
        CheckOutcome::Failed(why) => (TestCaseStatus::non_success(NonSuccessKind::Failure), why),
        CheckOutcome::Skipped(why) => (TestCaseStatus::skipped(), why),
    };
    status.set_message(message);
    status
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_serving::CheckCase;

    use super::*;

    #[test]
    fn junit_counts_what_failed_and_what_was_skipped() {
        let case = |name: &str, outcome| CheckCase {
            name: name.to_owned(),
            outcome,
            took: Duration::from_millis(5),
        };
        let cases = vec![
            case("files", CheckOutcome::Passed),
            case(
                "load",
                CheckOutcome::Failed("operator <X> & more".to_owned()),
            ),
            case("batch", CheckOutcome::Skipped("none".to_owned())),
        ];
        let xml = junit(&[CheckReport {
            model: "fraud".to_owned(),
            cases,
        }])
        .unwrap();
        assert!(
            xml.contains(
                r#"<testsuite name="fraud" tests="3" skipped="1" errors="0" failures="1">"#
            ),
            "{xml}"
        );
        assert!(xml.contains(r#"operator &lt;X&gt; &amp; more"#), "{xml}");
    }
}
