//! The checks of bundles, which `check` runs, and `push` before it pushes.

use tidegate_serving::{CheckOutcome, CheckReport, TrialSettings, check_in_child};

use crate::bundles::BundleToCheck;
use crate::config::EnginesConfig;
use crate::engines;
use crate::output::print_line;

/// The longest that the checks of a bundle may take, in seconds: nobody waits for them but the
/// person who started them.
const TIMEOUT_S: u64 = 3600;

/// Runs the checks of each bundle.
pub(crate) fn run(bundles: &[BundleToCheck], config: &EnginesConfig) -> Vec<CheckReport> {
    bundles
        .iter()
        .map(|bundle| report(bundle, config))
        .collect()
}

/// The checks run in a process of their own, so that there is a report of what ends it, too.
fn report(
    BundleToCheck { bundle, plan, .. }: &BundleToCheck,
    config: &EnginesConfig,
) -> CheckReport {
    let settings = TrialSettings {
        timeout_s: TIMEOUT_S,
        ..config.trial_settings()
    };
    let name = bundle.name().as_str();
    let mut report = check_in_child(name, plan, &settings, || engines::find(config));
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
