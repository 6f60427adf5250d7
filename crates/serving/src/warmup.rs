//! Running a version before it answers: warm caches, measured run times, and proof that its
//! requests can share a run.

mod batch_check;
mod samples;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tidegate_core::{Signature, Tensor};
use tidegate_engines::{Instance, LoadError};
use tracing::debug;

use self::batch_check::NotBatched;
use self::samples::{byte_len, samples};

/// Warm-up stops before a batch size that would take it beyond this, however many are left. The
/// scheduler learns the rest from requests.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// Where a row takes longer, warm-up only proves that rows can share a run: a swap to the version
/// waits for it, and such a row keeps the cores busy by itself.
const SLOW_ROW: Duration = Duration::from_millis(30);
/// Runs of each size. The shortest counts, as everything else on the machine can only add time.
const REPEATS: u32 = 3;
/// Larger inputs are not tried: a large `max_batch_size` is a limit, not a request to take the
/// memory at the start.
const MAX_SAMPLE_BYTES: usize = 64 << 20;
/// Extents to try for open dimensions other than the batch. Some models need at least this much:
/// 32 and 224 are usual sizes of images.
const OPEN_EXTENTS: [usize; 4] = [8, 1, 32, 224];

/// The size of inputs in bytes, and how long a run over them took.
pub(crate) type RunTime = (usize, Duration);

/// What warm-up found out.
#[derive(Debug, Default)]
pub(crate) struct WarmupReport {
    /// Most rows in one run; `None` where requests cannot share a run.
    pub(crate) max_batch_rows: Option<NonZeroUsize>,
    /// Why requests cannot share a run, where that was not configured.
    pub(crate) not_batched: Option<String>,
    pub(crate) run_times: Vec<RunTime>,
}

/// Warms all instances. `max_batch_size` is the configured largest batch, `Some(0)` for none. If it
/// is set and the artifact does not support batches, the version is refused, with the tensor that
/// does not follow the batch axis.
pub(crate) fn run(
    signature: &Signature,
    instances: &mut [Box<dyn Instance>],
    max_batch_size: Option<usize>,
    default: NonZeroUsize,
) -> Result<WarmupReport, LoadError> {
    let Some((first, others)) = instances.split_first_mut() else {
        return Ok(WarmupReport::default());
    };
    let Some((open, one_row)) = find_open_extent(signature, &mut **first) else {
        return Ok(without_samples(max_batch_size));
    };
    let mut warmup = Warmup {
        signature,
        open,
        one_row,
        report: WarmupReport::default(),
    };
    warmup.check_batches(&mut **first, max_batch_size, default)?;
    if warmup.is_slow() {
        warmup.run_once(others);
    } else {
        let largest = warmup.measure_sizes(&mut **first);
        warmup.warm_others(others, largest);
    }
    Ok(warmup.report)
}

/// Synthetic inputs of one row that the artifact runs, with its outputs; none where it runs none.
pub(crate) fn synthetic(
    signature: &Signature,
    instance: &mut dyn Instance,
) -> Option<(Vec<Option<Tensor>>, Vec<Tensor>)> {
    OPEN_EXTENTS.into_iter().find_map(|open| {
        let sample = samples(signature, 1, open);
        let outputs = instance.run(&sample).ok()?;
        Some((sample, outputs))
    })
}

/// A warm-up in progress.
struct Warmup<'a> {
    signature: &'a Signature,
    /// The extent of open dimensions with which samples run.
    open: usize,
    /// How long the first run of one row took.
    one_row: Duration,
    report: WarmupReport,
}

impl Warmup<'_> {
    fn is_slow(&self) -> bool {
        self.one_row > SLOW_ROW
    }

    fn sample(&self, rows: usize) -> Vec<Option<Tensor>> {
        samples(self.signature, rows, self.open)
    }

    /// Proves that rows can share a run, if that is wanted.
    fn check_batches(
        &mut self,
        instance: &mut dyn Instance,
        max_batch_size: Option<usize>,
        default: NonZeroUsize,
    ) -> Result<(), LoadError> {
        let limit = match max_batch_size {
            Some(rows) => NonZeroUsize::new(rows),
            None => Some(default),
        };
        let Some(limit) = limit else { return Ok(()) };
        // Two rows are the least that can depend on each other; with five, rows that depend on
        // each other are less likely to agree by chance.
        let rows = limit.get().min(if self.is_slow() { 2 } else { 5 });
        match batch_check::run(self.signature, instance, rows, self.open) {
            Ok(run_times) => {
                self.report.max_batch_rows = Some(limit);
                if self.is_slow() {
                    self.report.run_times = run_times;
                }
                Ok(())
            }
            // The owner asked for batches, so running requests one by one would ignore the plan.
            Err(NotBatched { tensor, problem }) if max_batch_size.is_some() => {
                Err(LoadError::Unsupported {
                    side: "tensor",
                    name: tensor,
                    problem,
                })
            }
            Err(NotBatched { tensor, problem }) => {
                self.report.not_batched = Some(format!("\"{tensor}\" {problem}"));
                Ok(())
            }
        }
    }

    /// For a slow version: one run of each other instance.
    fn run_once(&mut self, others: &mut [Box<dyn Instance>]) {
        let sample = self.sample(1);
        if self.report.run_times.is_empty() {
            self.report
                .run_times
                .push((byte_len(&sample), self.one_row));
        }
        for instance in others {
            timed(&mut **instance, &sample);
        }
    }

    /// Measures runs of 1, 2, 4… rows. Returns the largest number that ran.
    fn measure_sizes(&mut self, instance: &mut dyn Instance) -> usize {
        let started = Instant::now();
        let limit = self.report.max_batch_rows.map_or(1, NonZeroUsize::get);
        let row_bytes = byte_len(&self.sample(1)).max(1);
        let (mut largest, mut last) = (1, self.one_row);
        for rows in batch_sizes(limit) {
            // Twice the rows take up to twice the time.
            let expected = last.saturating_mul(2 * REPEATS);
            let is_too_slow = started.elapsed() + expected > TIME_LIMIT;
            if rows > 1 && (is_too_slow || rows > MAX_SAMPLE_BYTES / row_bytes) {
                break;
            }
            largest = rows;
            let sample = self.sample(rows);
            let fastest = (0..REPEATS).filter_map(|_| timed(instance, &sample)).min();
            if let Some(run_time) = fastest {
                last = run_time;
                self.report.run_times.push((byte_len(&sample), run_time));
            }
        }
        largest
    }

    /// Other instances are the same: the smallest and the largest run fill their caches.
    fn warm_others(&self, others: &mut [Box<dyn Instance>], largest: usize) {
        for instance in others {
            for rows in [1, largest] {
                timed(&mut **instance, &self.sample(rows));
            }
        }
    }
}

/// Powers of two, and the limit itself.
fn batch_sizes(limit: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1usize), |rows| Some(rows * 2))
        .take_while(move |rows| *rows / 2 < limit)
        .map(move |rows| rows.min(limit))
}

/// Synthetic values are not for every model, for example where an input is an index with a meaning.
/// Without proof, requests share runs only if the configuration says so.
fn without_samples(max_batch_size: Option<usize>) -> WarmupReport {
    let max_batch_rows = max_batch_size.and_then(NonZeroUsize::new);
    let reason = "the model does not take synthetic samples".to_owned();
    WarmupReport {
        max_batch_rows,
        not_batched: max_batch_rows.is_none().then_some(reason),
        run_times: Vec::new(),
    }
}

/// An extent for open dimensions with which one row runs, and how long that took.
fn find_open_extent(
    signature: &Signature,
    instance: &mut dyn Instance,
) -> Option<(usize, Duration)> {
    OPEN_EXTENTS.into_iter().find_map(|open| {
        let started = Instant::now();
        match instance.run(&samples(signature, 1, open)) {
            Ok(_) => Some((open, started.elapsed())),
            Err(error) => {
                // No warning: the next extent may be one that the model takes.
                debug!(%error, open, "a synthetic sample does not run");
                None
            }
        }
    })
}

fn timed(instance: &mut dyn Instance, sample: &[Option<Tensor>]) -> Option<Duration> {
    let started = Instant::now();
    instance.run(sample).ok().map(|_| started.elapsed())
}
