//! Simulated rollouts: how often a good version is aborted, how soon a bad one, and how many requests it
//! answers until then. It prints tables in Markdown.
//!
//! `cargo run --release -p tidegate-delivery --example simulate`; a number after `--` is the count of
//! rollouts of good versions, 2000 without it.

mod harm;
mod minimum;
mod other_tools;
mod rollout;
mod traffic;

use std::thread;

use rollout::{Outcome, Plan};
use traffic::{Defect, Traffic, World};

/// Runs of each bad version.
const BAD_RUNS: u64 = 300;

fn main() {
    let argument = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let good_runs: u64 = argument.unwrap_or(2000);
    false_aborts(good_runs);
    detection();
    harm::print(BAD_RUNS);
}

/// Good versions through all steps, looked at every second.
fn false_aborts(runs: u64) {
    println!("### Good versions\n");
    println!(
        "Alpha 5 % over four checks, {runs} rollouts of 45 minutes, looked at every second.\n"
    );
    println!(
        "| latency and errors | aborted | rate | z-test of errors, once a minute |\n|---|---|---|---|"
    );
    for (name, world) in [
        ("common to both versions", World::Common),
        ("pauses of each version of its own", World::OwnPauses),
    ] {
        let results = parallel(runs, |seed| {
            let plan = Plan::steps(0.05);
            plan.run(&mut Traffic::new(seed, Defect::None, world))
        });
        let aborted = results
            .iter()
            .filter(|result| result.aborted_by.is_some())
            .count();
        let z_tests = results
            .iter()
            .filter(|result| result.z_test_rejects)
            .count();
        let rate = |count: usize| 100.0 * count as f64 / runs as f64;
        println!(
            "| {name} | {aborted} | {:.2} % | {:.1} % |",
            rate(aborted),
            rate(z_tests)
        );
        for check in rollout::CHECKS {
            let by = results
                .iter()
                .filter(|result| result.aborted_by.as_deref() == Some(check));
            eprintln!("{name}: {check} {}", by.count());
        }
    }
    println!();
}

/// Bad versions at the step of 5 %, until they are aborted.
fn detection() {
    println!("### Bad versions at 5 %\n");
    println!(
        "Alpha 1 % over four checks, {BAD_RUNS} rollouts each; requests of the new version until the abort.\n"
    );
    println!("| defect | aborted | median | mean | 90 % | least possible mean | mean by least |");
    println!("|---|---|---|---|---|---|---|");
    for defect in Defect::ALL {
        let results = parallel(BAD_RUNS, |seed| {
            Plan::only(0.01, 3600).run(&mut Traffic::new(seed, defect, World::Common))
        });
        let mut requests: Vec<u64> = aborted(&results)
            .map(|result| result.bad_requests)
            .collect();
        requests.sort_unstable();
        let count = requests.len().max(1);
        let mean = requests.iter().sum::<u64>() as f64 / count as f64;
        let at = |share: f64| {
            requests
                .get((count as f64 * share) as usize)
                .copied()
                .unwrap_or_default()
        };
        let least = minimum::requests(defect, 0.01 / 4.0);
        println!(
            "| {} | {:.1} % | {} | {mean:.0} | {} | {least:.0} | {:.2} |",
            defect.name(),
            100.0 * requests.len() as f64 / BAD_RUNS as f64,
            at(0.5),
            at(0.9),
            mean / least,
        );
    }
    println!();
}

fn aborted(results: &[Outcome]) -> impl Iterator<Item = &Outcome> {
    results.iter().filter(|result| result.aborted_by.is_some())
}

/// The results of `runs` seeds, on all cores.
fn parallel<T: Send>(runs: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let run = &run;
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || {
                    (first..runs)
                        .step_by(threads as usize)
                        .map(run)
                        .collect::<Vec<T>>()
                })
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_default())
            .collect()
    })
}
