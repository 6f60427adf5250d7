//! Scores tables with the model at a path: `score MODEL OUTPUT INPUT…`.
//!
//! What `tidegate batch run` does, without its registry and command line.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_batch::{Job, JobSpec, Keep, Progress, RunOptions, ScoringVersion};
use tidegate_core::EngineChoice;
use tidegate_engines::Engines;
use tidegate_serving::{MetricRegistry, Models, Serving};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: score MODEL OUTPUT INPUT…".into());
    };
    let engines = Engines::discover(None, EngineChoice::Auto);
    let models = Models::new(vec![model.clone().into()], engines, &MetricRegistry::new());
    // No connection waits for a thread here.
    let models = models.with_inline_run(Duration::from_secs(3600));
    let name = models.load_all().ready.pop().ok_or("no model")?;
    let version = models.version(&name, None)?;
    let version = ScoringVersion::new(Arc::new(Serving::new(models)), version, "local".to_owned())?;
    let spec = JobSpec {
        keep: Keep::Columns(vec!["id".to_owned()]),
        ..JobSpec::new(model, arguments.collect())
    };
    let job = Job::plan(version, spec, PathBuf::from(output))?;
    let options = RunOptions {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        max_errors: None,
    };
    let began = Instant::now();
    let outcome = job.run(options, &Progress::default())?;
    let rate = outcome.manifest.rows as f64 / began.elapsed().as_secs_f64();
    eprintln!("{} rows at {rate:.0} rows/s", outcome.manifest.rows);
    Ok(())
}
