//! Running a version before it answers: warm caches, measured run times, and proof that its
//! requests can share a run.

mod batch_check;
mod samples;

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tidegate_core::{Manifest, Signature, Tensor};
use tidegate_engines::{Instance, LoadError};
use tracing::debug;

use self::batch_check::{NotBatched, Proof};
pub(crate) use self::batch_check::{differing_output, is_float};
use self::samples::{SampleKind, byte_len, samples};

/// Warm-up stops before a batch size that would take it beyond this, however many are left. The
/// scheduler learns the rest from requests.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// Where a row takes longer, warm-up only proves that rows can share a run: a swap to the version
/// waits for it, and such a row keeps the cores busy by itself.
const SLOW_ROW: Duration = Duration::from_millis(30);
/// No further kind of sample is tried after this.
const FIND_LIMIT: Duration = Duration::from_secs(10);
/// Runs of each size. The shortest counts, as everything else on the machine can only add time.
const REPEATS: u32 = 3;
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
    /// Inputs of one row that ran, if any did.
    pub(crate) sample: Option<Vec<Option<Tensor>>>,
}

impl WarmupReport {
    /// What is known of a version that is not run before it answers.
    pub(crate) fn declared(manifest: &Manifest) -> Self {
        let max_batch_size = manifest.batching.max_batch_size;
        Self {
            max_batch_rows: max_batch_size.and_then(NonZeroUsize::new),
            ..Self::default()
        }
    }
}

/// The largest batch that a manifest asks for, `Some(0)` for none. Rows of a model that is random on
/// purpose cannot be compared.
pub(crate) fn wanted_batch_size(manifest: &Manifest) -> Option<usize> {
    if manifest.deterministic {
        manifest.batching.max_batch_size
    } else {
        Some(0)
    }
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
    let Some(first) = instances.first_mut() else {
        return Ok(WarmupReport::default());
    };
    let Some((kind, one_row)) = find_kind(signature, &mut **first) else {
        return Ok(without_samples(max_batch_size));
    };
    let mut warmup = Warmup {
        signature,
        kind,
        one_row,
        report: WarmupReport::default(),
    };
    warmup.check_batches(&mut **first, max_batch_size, default)?;
    if !warmup.is_slow() {
        warmup.measure_sizes(&mut **first);
    }
    warmup.finish(instances);
    Ok(warmup.report)
}

/// The part of [`run`] that can fail: runs one row, and rows together.
pub(crate) fn try_out(
    signature: &Signature,
    instance: &mut dyn Instance,
    max_batch_size: Option<usize>,
    default: NonZeroUsize,
) -> Result<(), LoadError> {
    let Some((kind, one_row)) = find_kind(signature, instance) else {
        return Ok(());
    };
    let mut warmup = Warmup {
        signature,
        kind,
        one_row,
        report: WarmupReport::default(),
    };
    warmup.check_batches(instance, max_batch_size, default)
}

/// Synthetic inputs of one row that the artifact runs, with its outputs; none where it runs none.
pub(crate) fn synthetic(
    signature: &Signature,
    instance: &mut dyn Instance,
) -> Option<(Vec<Option<Tensor>>, Vec<Tensor>)> {
    SampleKind::candidates(signature)
        .into_iter()
        .find_map(|kind| {
            let sample = samples(signature, 1, kind)?;
            let outputs = instance.run(&sample).ok()?;
            Some((sample, outputs))
        })
}

/// A warm-up in progress.
struct Warmup<'a> {
    signature: &'a Signature,
    /// Samples with which the artifact runs.
    kind: SampleKind,
    /// How long a run of one row took.
    one_row: Duration,
    report: WarmupReport,
}

impl Warmup<'_> {
    fn is_slow(&self) -> bool {
        self.one_row > SLOW_ROW
    }

    fn sample(&self, rows: usize) -> Option<Vec<Option<Tensor>>> {
        samples(self.signature, rows, self.kind)
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
        match self.prove(instance, rows) {
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

    /// Where all rows give the same, other samples may tell them apart. If none does, what the
    /// proof says is that outputs follow the batch axis; the rest is seen on requests.
    fn prove(&self, instance: &mut dyn Instance, rows: usize) -> Result<Vec<RunTime>, NotBatched> {
        let first = batch_check::run(self.signature, instance, rows, self.kind)?;
        if first.distinguishes_rows || rows == 1 || self.is_slow() {
            return Ok(first.run_times);
        }
        for kind in self.kind.alternatives(self.signature) {
            let sample = samples(self.signature, 1, kind);
            if sample.is_none_or(|sample| instance.run(&sample).is_err()) {
                continue;
            }
            let proof: Proof = batch_check::run(self.signature, instance, rows, kind)?;
            if proof.distinguishes_rows {
                break;
            }
        }
        Ok(first.run_times)
    }

    /// A run of one row in each instance: all have run before the first request, and none holds the
    /// memory of the largest batch.
    fn finish(&mut self, instances: &mut [Box<dyn Instance>]) {
        let Some(sample) = self.sample(1) else { return };
        if self.report.run_times.is_empty() {
            self.report
                .run_times
                .push((byte_len(&sample), self.one_row));
        }
        for instance in instances {
            // What fails here fails in a request too, which tells its client.
            let _ = instance.run_and_release(&sample);
        }
        self.report.sample = Some(sample);
    }

    /// Measures runs of 1, 2, 4… rows.
    fn measure_sizes(&mut self, instance: &mut dyn Instance) {
        let started = Instant::now();
        let limit = self.report.max_batch_rows.map_or(1, NonZeroUsize::get);
        let mut last = self.one_row;
        for rows in batch_sizes(limit) {
            // Twice the rows take up to twice the time.
            let expected = last.saturating_mul(2 * REPEATS);
            let is_too_slow = started.elapsed() + expected > TIME_LIMIT;
            if rows > 1 && is_too_slow {
                break;
            }
            let Some(sample) = self.sample(rows) else {
                break;
            };
            // Whatever else the machine does only makes runs slower, so that the fastest tells
            // most.
            let fastest = (0..REPEATS).filter_map(|_| timed(instance, &sample)).min();
            if let Some(run_time) = fastest {
                last = run_time;
                self.report.run_times.push((byte_len(&sample), run_time));
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
    let reason = "the model does not accept synthetic samples".to_owned();
    WarmupReport {
        max_batch_rows,
        not_batched: max_batch_rows.is_none().then_some(reason),
        run_times: Vec::new(),
        sample: None,
    }
}

/// Samples of which one row runs, and how long that took.
fn find_kind(signature: &Signature, instance: &mut dyn Instance) -> Option<(SampleKind, Duration)> {
    let started = Instant::now();
    for kind in SampleKind::candidates(signature) {
        if started.elapsed() > FIND_LIMIT {
            break;
        }
        let Some(sample) = samples(signature, 1, kind) else {
            continue;
        };
        let began = Instant::now();
        match instance.run(&sample) {
            Ok(_) => return Some((kind, row_time(instance, &sample, began.elapsed()))),
            // No warning: the next kind may be one that the model takes.
            Err(error) => debug!(%error, ?kind, "a synthetic sample does not run"),
        }
    }
    None
}

/// How long one row takes. The first run of an instance also makes its buffers and proves what it
/// can about its graph, so a short one is measured again.
fn row_time(instance: &mut dyn Instance, sample: &[Option<Tensor>], first: Duration) -> Duration {
    if first > 4 * SLOW_ROW {
        return first;
    }
    timed(instance, sample).map_or(first, |second| second.min(first))
}

fn timed(instance: &mut dyn Instance, sample: &[Option<Tensor>]) -> Option<Duration> {
    let started = Instant::now();
    instance.run(sample).ok().map(|_| started.elapsed())
}
