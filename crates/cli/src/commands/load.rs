//! `tidegate load`.

mod args;
mod plan;
mod progress;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tidegate_load::{Arrival, Arrivals, Objective, Pattern, Plan, Report, Run};

pub(super) use self::args::Load;
use self::args::{Results, Sweep};
use self::plan::Model;
use crate::output::{counted, eprint_line, print_data, print_text};

/// The first rate of a search, in requests per second.
const FIRST_RATE: f64 = 100.0;

impl Load {
    /// Fails if an objective is not met.
    pub(super) fn run(self) -> Result<ExitCode> {
        let objectives = match &self.results.slo {
            Some(list) => tidegate_load::objectives(list)?,
            None => Vec::new(),
        };
        let target = plan::target(&self.server, self.requests.path.is_some())?;
        let models = plan::models(&self, &target)?;
        let plan = plan::plan(&self, &target, &models)?;
        let mut report = Report::new(&plan, &content(&self));
        let mut session = Session {
            interrupt: watch_interrupts()?,
            progress: progress::Line::new(self.results.quiet),
            runs: Vec::new(),
        };
        if self.rate.find_max {
            report.is_search = true;
            let first = self.rate.rate.unwrap_or(FIRST_RATE);
            let arrival = self.rate.arrival.into();
            report.highest_per_s = session.search(&plan, first, &objectives, arrival)?;
        } else {
            session.sweep(&self, plan, &models)?;
        }
        report.runs = session.runs;
        report.check(&objectives);
        write_reports(&self.results, &report)?;
        Ok(match report.is_met() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// Runs, one after the other.
struct Session {
    interrupt: Arc<AtomicBool>,
    progress: progress::Line,
    runs: Vec<Run>,
}

impl Session {
    fn run(&mut self, plan: &Plan) -> Result<&[Run]> {
        let before = self.runs.len();
        let runs = tidegate_load::run(plan, &self.interrupt, &mut |now| self.progress.show(now))?;
        self.progress.clear();
        self.runs.extend(runs);
        Ok(&self.runs[before..])
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }

    /// One run for each value of the sweep, or a single run without one.
    fn sweep(&mut self, args: &Load, mut plan: Plan, models: &[Model]) -> Result<()> {
        match &args.rate.sweep {
            None => {
                self.run(&plan)?;
            }
            Some(Sweep::Concurrency(values)) => {
                for concurrency in values {
                    plan.pattern = Pattern::Closed {
                        concurrency: *concurrency,
                    };
                    self.run_labelled(&plan, &format!("concurrency={concurrency}"))?;
                }
            }
            Some(Sweep::Rate(values)) => {
                for rate in values {
                    plan.pattern = at_rate(*rate, args.rate.arrival.into());
                    self.run_labelled(&plan, &format!("rate={rate}"))?;
                }
            }
            Some(Sweep::Rows(values)) => {
                for rows in values {
                    plan.mix = plan::mix(args, &plan.target, models, *rows)?;
                    self.run_labelled(&plan, &format!("rows={rows}"))?;
                }
            }
        }
        Ok(())
    }

    fn run_labelled(&mut self, plan: &Plan, label: &str) -> Result<()> {
        if self.is_interrupted() {
            return Ok(());
        }
        // The runs that ended before an interrupt are still reported.
        label.clone_into(&mut self.progress.label);
        let before = self.runs.len();
        self.run(plan)?;
        for run in &mut self.runs[before..] {
            label.clone_into(&mut run.label);
        }
        Ok(())
    }

    /// The highest rate that meets the objectives and that the generator reaches. An interrupt ends
    /// the search with the result so far.
    fn search(
        &mut self,
        plan: &Plan,
        first: f64,
        objectives: &[Objective],
        arrival: Arrival,
    ) -> Result<Option<f64>> {
        tidegate_load::highest(first, |rate| {
            if self.is_interrupted() {
                return Ok(false);
            }
            let plan = Plan {
                pattern: at_rate(rate, arrival),
                ..plan.clone()
            };
            self.progress.label = format!("rate={rate:.1}");
            let runs = self.run(&plan)?;
            Ok(runs
                .iter()
                .all(|run| meets(run, objectives) && is_rate_reached(run)))
        })
    }
}

fn at_rate(rate: f64, arrival: Arrival) -> Pattern {
    Pattern::Open(Arrivals::Rates {
        rates: vec![rate],
        arrival,
    })
}

fn meets(run: &Run, objectives: &[Objective]) -> bool {
    objectives
        .iter()
        .all(|objective| objective.breach(run).is_none())
}

/// Whether the generator sent what it was asked for; else the run proves nothing about the server.
fn is_rate_reached(run: &Run) -> bool {
    run.generator
        .as_ref()
        .is_none_or(|generator| !generator.is_saturated)
}

/// A flag that becomes true at Ctrl-C. A second Ctrl-C ends the process.
fn watch_interrupts() -> Result<Arc<AtomicBool>> {
    let interrupt = Arc::new(AtomicBool::new(false));
    // The main thread is busy with the load, so signals are awaited on a thread of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let seen = interrupt.clone();
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || runtime.block_on(wait_for_interrupts(&seen)))?;
    Ok(interrupt)
}

async fn wait_for_interrupts(seen: &AtomicBool) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if seen.swap(true, Ordering::Relaxed) {
            // 128 + SIGINT, as shells have it.
            std::process::exit(130);
        }
    }
}

/// What is sent, for the heading of the report.
fn content(args: &Load) -> String {
    if let Some(path) = &args.requests.path {
        return path.clone();
    }
    let names: Vec<String> = match args.models.as_slice() {
        [only] => vec![only.model.clone()],
        models => models
            .iter()
            .map(|one| format!("{} ({})", one.model, one.weight))
            .collect(),
    };
    let rows = counted(args.requests.rows as u64, "row");
    format!("{}, {rows} per request", names.join(", "))
}

/// Prints the table, unless another report goes to standard output, and writes the files.
fn write_reports(results: &Results, report: &Report) -> Result<()> {
    let files = [&results.json, &results.csv, &results.html];
    let is_stdout_taken = files.iter().any(|file| file.as_deref() == Some(stdout()));
    if is_stdout_taken {
        // The table would have named the objectives that are not met.
        for breach in &report.breaches {
            eprint_line!("{breach}");
        }
    } else {
        print_text(&report.to_text());
    }
    write_report(results.json.as_deref(), || report.to_json())?;
    write_report(results.csv.as_deref(), || report.to_csv())?;
    write_report(results.html.as_deref(), || report.to_html())
}

fn write_report(path: Option<&Path>, render: impl FnOnce() -> String) -> Result<()> {
    match path {
        None => Ok(()),
        Some(path) if path == stdout() => {
            print_data(&format!("{}\n", render().trim_end()));
            Ok(())
        }
        Some(path) => std::fs::write(path, render())
            .with_context(|| format!("cannot write {}", path.display())),
    }
}

/// The name of a file that means standard output.
fn stdout() -> &'static Path {
    Path::new("-")
}
