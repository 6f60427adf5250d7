//! `tidegate check`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use tidegate_core::EngineChoice;
use tidegate_engines::Engines;
use tidegate_serving::{CheckOutcome, CheckReport};

use super::args::Check;
use super::source::{self, Found};

/// Checks bundles; the exit status says whether all of them passed.
pub(super) fn run(args: &Check) -> Result<ExitCode> {
    let engines = Engines::discover(None, args.engine.map_or(EngineChoice::Auto, Into::into));
    let reports = reports(&source::find(&args.path, None)?, &engines)?;
    reports.iter().for_each(print);
    if let Some(file) = &args.junit {
        std::fs::write(file, junit(&reports)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let passed = reports.iter().all(CheckReport::passed);
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the checks of each bundle.
pub(super) fn reports(found: &[Found], engines: &Engines) -> Result<Vec<CheckReport>> {
    let one = |one: &Found| {
        let mut report = tidegate_serving::check(one.bundle.name().as_str(), &one.plan, engines);
        if !one.bundle.manifest().files.is_empty() {
            report.run("digests", || {
                one.bundle
                    .check_digests()
                    .map_err(|error| error.to_string())
            });
        }
        Ok(report)
    };
    found.iter().map(one).collect()
}

/// Prints one line for each thing that was looked at.
pub(super) fn print(report: &CheckReport) {
    println!("{}", report.model);
    for case in &report.cases {
        let (word, why) = match &case.outcome {
            CheckOutcome::Passed => ("passed", ""),
            CheckOutcome::Failed(why) => ("FAILED", why.as_str()),
            CheckOutcome::Skipped(why) => ("skipped", why.as_str()),
        };
        let colon = if why.is_empty() { "" } else { ": " };
        println!("  {word:<8} {}{colon}{why}", case.name);
    }
}

fn junit(reports: &[CheckReport]) -> Result<String> {
    let mut page = Report::new("tidegate check");
    for report in reports {
        let mut suite = TestSuite::new(&report.model);
        for case in &report.cases {
            let status = match &case.outcome {
                CheckOutcome::Passed => TestCaseStatus::success(),
                CheckOutcome::Failed(why) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(why);
                    status
                }
                CheckOutcome::Skipped(why) => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(why);
                    status
                }
            };
            let mut test = TestCase::new(&case.name, status);
            test.set_classname(&report.model).set_time(case.took);
            suite.add_test_case(test);
        }
        page.add_test_suite(suite);
    }
    Ok(page.to_string()?)
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
