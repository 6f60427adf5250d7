//! How many requests a bad version answers.

use tidegate_delivery::sequential::Unit;

use crate::other_tools::{OtherOutcome, argo, flagger};
use crate::parallel;
use crate::rollout::Plan;
use crate::traffic::{Defect, Traffic, World};

/// An hour: a version that nobody took back answers until then.
const WATCHED_S: u64 = 3600;

pub(crate) fn print(runs: u64) {
    println!("### Requests that a version answers within an hour of its start\n");
    println!("Means of {runs} rollouts; in brackets how many of them were taken back.\n");
    println!(
        "| defect | Tidegate | Flagger | Argo Rollouts | by the better of both |\n|---|---|---|---|---|"
    );
    for defect in [Defect::None].into_iter().chain(Defect::ALL) {
        let traffic = |seed| Traffic::new(seed, defect, World::Common);
        let own = parallel(runs, |seed| {
            let outcome = Plan::steps(0.01, Unit::Block)
                .watched_for(WATCHED_S)
                .run(&mut traffic(seed));
            OtherOutcome {
                rolled_back: outcome.aborted_by.is_some(),
                bad_requests: outcome.bad_requests,
            }
        });
        let others = [
            parallel(runs, |seed| flagger(&mut traffic(seed), WATCHED_S)),
            parallel(runs, |seed| argo(&mut traffic(seed), WATCHED_S)),
        ];
        let best = others
            .iter()
            .map(|results| mean(results))
            .fold(f64::INFINITY, f64::min);
        let ratio = match defect {
            // What a good version answers is no harm.
            Defect::None => "-".to_owned(),
            _ => format!("{:.3}", mean(&own) / best),
        };
        let cells = [&own, &others[0], &others[1]].map(|results| cell(results));
        println!("| {} | {} | {ratio} |", defect.name(), cells.join(" | "));
    }
    println!();
}

fn mean(results: &[OtherOutcome]) -> f64 {
    results
        .iter()
        .map(|result| result.bad_requests as f64)
        .sum::<f64>()
        / results.len() as f64
}

fn cell(results: &[OtherOutcome]) -> String {
    let rolled_back = results.iter().filter(|result| result.rolled_back).count();
    format!(
        "{:.0} ({:.0} %)",
        mean(results),
        100.0 * rolled_back as f64 / results.len() as f64
    )
}
