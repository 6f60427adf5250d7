//! `tidegate load`.

mod args;
mod plan;
mod progress;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use tidegate_load::{Arrivals, Objective, Pattern, Plan, Report, Run};

pub(crate) use self::args::Load;
use self::args::Sweep;
use self::plan::Model;

/// Where the search for the highest rate begins unless it is told.
const FIRST_RATE: f64 = 100.0;

/// Loads a server and reports how it fared; fails where objectives are not met.
pub(crate) fn run(args: &Load) -> Result<ExitCode> {
    let objectives = args
        .results
        .slo
        .as_deref()
        .map(tidegate_load::objectives)
        .transpose()?
        .unwrap_or_default();
    let target = plan::target(&args.server, args.requests.path.is_some())?;
    let models = plan::models(args, &target)?;
    let plan = plan::plan(args, &target, &models)?;
    let mut report = Report::new(&plan, &what(args));
    let mut session = Session {
        interrupt: interrupted()?,
        progress: progress::Line::new(args.results.quiet),
        runs: Vec::new(),
    };
    if args.rhythm.find_max {
        report.is_search = true;
        let first = args.rhythm.rate.unwrap_or(FIRST_RATE);
        report.highest_per_s =
            session.search(&plan, first, &objectives, args.rhythm.arrival.into())?;
    } else {
        session.sweep(args, plan, &models)?;
    }
    report.runs = session.runs;
    report.hold_against(&objectives);
    write(args, &report)?;
    Ok(if report.is_met() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

    /// One run for each value of the sweep, or the only run if there is none.
    fn sweep(&mut self, args: &Load, mut plan: Plan, models: &[Model]) -> Result<()> {
        let arrival = args.rhythm.arrival.into();
        let at = |rate| {
            Pattern::Open(Arrivals::Rates {
                rates: vec![rate],
                arrival,
            })
        };
        match &args.rhythm.sweep {
            None => {
                self.run(&plan)?;
            }
            Some(Sweep::Concurrency(values)) => {
                for concurrency in values {
                    plan.pattern = Pattern::Closed {
                        concurrency: *concurrency,
                    };
                    self.labelled(&plan, &format!("concurrency={concurrency}"))?;
                }
            }
            Some(Sweep::Rate(values)) => {
                for rate in values {
                    plan.pattern = at(*rate);
                    self.labelled(&plan, &format!("rate={rate}"))?;
                }
            }
            Some(Sweep::Rows(values)) => {
                for rows in values {
                    plan.mix = plan::mix(args, &plan.target, models, *rows)?;
                    self.labelled(&plan, &format!("rows={rows}"))?;
                }
            }
        }
        Ok(())
    }

    fn labelled(&mut self, plan: &Plan, label: &str) -> Result<()> {
        if self.is_interrupted() {
            return Ok(());
        }
        label.clone_into(&mut self.progress.label);
        let before = self.runs.len();
        self.run(plan)?;
        self.runs[before..]
            .iter_mut()
            .for_each(|run| label.clone_into(&mut run.label));
        Ok(())
    }

    /// The highest rate that meets the objectives and that the generator reaches. An interrupt ends
    /// the search with what was found.
    fn search(
        &mut self,
        plan: &Plan,
        first: f64,
        objectives: &[Objective],
        arrival: tidegate_load::Arrival,
    ) -> Result<Option<f64>> {
        tidegate_load::highest(first, |rate| {
            if self.is_interrupted() {
                return Ok(false);
            }
            let rate_plan = Plan {
                pattern: Pattern::Open(Arrivals::Rates {
                    rates: vec![rate],
                    arrival,
                }),
                ..plan.clone()
            };
            self.progress.label = format!("rate={rate:.1}");
            let runs = self.run(&rate_plan)?;
            let meets = |run: &Run| {
                objectives
                    .iter()
                    .all(|objective| objective.breach(run).is_none())
            };
            let kept_up = |run: &Run| {
                run.generator
                    .as_ref()
                    .is_none_or(|generator| !generator.is_saturated)
            };
            Ok(runs.iter().all(|run| meets(run) && kept_up(run)))
        })
    }
}

/// Becomes true at Ctrl-C; a second one ends the process.
fn interrupted() -> Result<Arc<AtomicBool>> {
    let interrupt = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let seen = interrupt.clone();
    let wait = move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if seen.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(wait)?;
    Ok(interrupt)
}

/// What is sent, in a few words.
fn what(args: &Load) -> String {
    if let Some(path) = &args.requests.path {
        return path.clone();
    }
    let names = args.models.iter().map(|it| match args.models.len() {
        1 => it.model.clone(),
        _ => format!("{} ({})", it.model, it.weight),
    });
    let rows = if args.requests.rows == 1 {
        "row"
    } else {
        "rows"
    };
    format!(
        "{}, {} {rows} a request",
        names.collect::<Vec<_>>().join(", "),
        args.requests.rows
    )
}

fn write(args: &Load, report: &Report) -> Result<()> {
    let to_stdout = Path::new("-");
    let save = |path: &Option<PathBuf>, render: &dyn Fn() -> String| match path {
        None => Ok(()),
        Some(path) if path == to_stdout => {
            println!("{}", render().trim_end());
            Ok(())
        }
        Some(path) => std::fs::write(path, render())
            .with_context(|| format!("cannot write {}", path.display())),
    };
    let results = &args.results;
    if [&results.json, &results.csv, &results.html]
        .into_iter()
        .all(|path| path.as_deref() != Some(to_stdout))
    {
        print!("{}", report.to_text());
    } else {
        report
            .breaches
            .iter()
            .for_each(|breach| eprintln!("{breach}"));
    }
    save(&results.json, &|| report.to_json())?;
    save(&results.csv, &|| report.to_csv())?;
    save(&results.html, &|| report.to_html())
}
