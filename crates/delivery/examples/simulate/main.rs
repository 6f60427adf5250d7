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
use tidegate_delivery::sequential::Unit;
use traffic::{Defect, Traffic, World};

/// Runs of each bad version.
const BAD_RUNS: u64 = 300;

fn main() {
    let argument = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let good_runs: u64 = argument.unwrap_or(2000);
    detection();
    harm::print(BAD_RUNS);
    false_aborts(good_runs);
}

/// Good versions through all steps, looked at every second.
fn false_aborts(runs: u64) {
    println!("### Good versions\n");
    println!("Alpha 5 % over four checks, rollouts of 45 minutes, looked at every second.\n");
    println!(
        "| latency | its check counts | rollouts | aborted | by errors | missing outputs | latency | scores | z-test of errors, once a minute |\n\
         |---|---|---|---|---|---|---|---|---|"
    );
    for (world, unit, runs) in [
        (World::Common, Unit::Block, runs),
        (World::OwnPauses, Unit::Block, runs),
        (World::Common, Unit::Request, runs / 4),
        // Not what it is for: this shows why blocks are there.
        (World::OwnPauses, Unit::Request, runs / 10),
    ] {
        let results = parallel(runs, |seed| {
            Plan::steps(0.05, unit).run(&mut Traffic::new(seed, Defect::None, world))
        });
        let percent = |count: usize| format!("{:.2} %", 100.0 * count as f64 / runs as f64);
        let by = rollout::CHECKS.map(|check| {
            let by = results
                .iter()
                .filter(|result| result.aborted_by.as_deref() == Some(check));
            percent(by.count())
        });
        let z_tests = results
            .iter()
            .filter(|result| result.z_test_rejects)
            .count();
        println!(
            "| {} | {} | {runs} | {} | {} | {} |",
            world.name(),
            name_of(unit),
            percent(aborted(&results).count()),
            by.join(" | "),
            percent(z_tests),
        );
    }
    println!();
}

const fn name_of(unit: Unit) -> &'static str {
    match unit {
        Unit::Block => "blocks",
        Unit::Request => "requests",
    }
}

/// Bad versions at the step of 5 %, until they are aborted.
fn detection() {
    println!("### Bad versions at 5 %\n");
    println!(
        "Alpha 1 % over four checks, {BAD_RUNS} rollouts each, up to three hours; requests of the new version \
         until the abort.\n"
    );
    println!(
        "| defect | latency counts | aborted | median | mean | 90 % | least possible mean | mean by least |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for defect in Defect::ALL {
        print_detection(defect, Unit::Block);
    }
    print_detection(Defect::Slow, Unit::Request);
    println!();
}

fn print_detection(defect: Defect, unit: Unit) {
    let results = parallel(BAD_RUNS, |seed| {
        Plan::only(0.01, 3 * 3600, unit).run(&mut Traffic::new(seed, defect, World::Common))
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
        "| {} | {} | {:.1} % | {} | {mean:.0} | {} | {least:.0} | {:.2} |",
        defect.name(),
        name_of(unit),
        100.0 * requests.len() as f64 / BAD_RUNS as f64,
        at(0.5),
        at(0.9),
        mean / least,
    );
}

fn aborted(results: &[Outcome]) -> impl Iterator<Item = &Outcome> {
    results.iter().filter(|result| result.aborted_by.is_some())
}

/// The results of `runs` seeds, on all cores.
fn parallel<T: Send>(runs: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let run = &run;
    thread::scope(|scope| {
        let seeds = |first| (first..runs).step_by(threads as usize);
        let start = |first| scope.spawn(move || seeds(first).map(run).collect::<Vec<T>>());
        let handles: Vec<_> = (0..threads).map(start).collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_default())
            .collect()
    })
}
