//! The checks of bundles, which `check` runs, and `push` before it pushes.

use tidegate_engines::Engines;
use tidegate_serving::{CheckOutcome, CheckReport};

use crate::bundles::BundleToCheck;
use crate::output::print_line;

/// Runs the checks of each bundle.
pub(crate) fn run(bundles: &[BundleToCheck], engines: &Engines) -> Vec<CheckReport> {
    bundles
        .iter()
        .map(|bundle| report(bundle, engines))
        .collect()
}

fn report(BundleToCheck { bundle, plan, .. }: &BundleToCheck, engines: &Engines) -> CheckReport {
    let mut report = tidegate_serving::check(bundle.name().as_str(), plan, engines);
    // Digests are optional in a manifest.
    if !bundle.manifest().files.is_empty() {
        report.run("digests", || {
            bundle.check_digests().map_err(|error| error.to_string())
        });
    }
    report
}

/// Prints a line for each check.
pub(crate) fn print(report: &CheckReport) {
    print_line!("{}", report.model);
    for case in &report.cases {
        let name = &case.name;
        match &case.outcome {
            CheckOutcome::Passed => print_line!("  passed   {name}"),
            // Upper case, so that a failed check stands out in a long list.
            CheckOutcome::Failed(why) => print_line!("  FAILED   {name}: {why}"),
            CheckOutcome::Skipped(why) => print_line!("  skipped  {name}: {why}"),
        }
    }
}
