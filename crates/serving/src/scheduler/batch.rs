//! Running requests together and handing each its own rows back.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tidegate_core::{Tensor, TensorError};
use tidegate_engines::{Instance, RunError};

use super::estimate::RunTimes;
use super::queue::Job;
use super::{Completed, Timing};
use crate::InferError;
use crate::stats::VersionStats;

/// Requests that run together.
pub(super) struct Batch {
    jobs: Vec<Job>,
}

/// What became of the instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Sound,
    Panicked,
}

/// The outputs of a run and where its time went.
struct Ran {
    outputs: Vec<Tensor>,
    join: Duration,
    infer: Duration,
    ended: Instant,
}

enum Failure {
    Run(RunError),
    Panic(String),
}

impl Batch {
    pub(super) fn new(jobs: Vec<Job>) -> Self {
        Self { jobs }
    }

    pub(super) fn single(job: Job) -> Self {
        Self { jobs: vec![job] }
    }

    /// Rows of all its requests.
    pub(super) fn rows(&self) -> usize {
        self.jobs.iter().map(|job| job.work.rows).sum()
    }

    /// Bytes of a row of its first request: the others' are much alike.
    pub(super) fn row_bytes(&self) -> usize {
        self.jobs.first().map_or(0, |job| job.work.row_bytes())
    }

    /// Runs the batch and answers each request. If a batch of several fails, each runs again by
    /// itself, so that a bad request fails alone.
    pub(super) fn run(
        self,
        instance: &mut dyn Instance,
        batched: bool,
        run_times: &RunTimes,
        stats: &VersionStats,
    ) -> Outcome {
        let started = Instant::now();
        let rows = self.rows();
        let bytes: usize = self.jobs.iter().map(|job| job.work.bytes()).sum();
        match run_jobs(instance, &self.jobs, rows, batched, started) {
            Ok(ran) => {
                run_times.learn(bytes, ran.infer);
                let number = stats.executed(rows, ran.join, ran.infer);
                self.answer(ran, started, number, batched);
                Outcome::Sound
            }
            Err(Failure::Panic(message)) => {
                let error =
                    InferError::from(RunError::Engine(format!("the engine panicked: {message}")));
                for job in self.jobs {
                    let _ = job.reply.send(Err(error.clone()));
                }
                Outcome::Panicked
            }
            Err(Failure::Run(error)) if self.jobs.len() == 1 => {
                for job in self.jobs {
                    let _ = job.reply.send(Err(error.clone().into()));
                }
                Outcome::Sound
            }
            Err(Failure::Run(_)) => {
                let mut outcome = Outcome::Sound;
                for job in self.jobs {
                    if outcome == Outcome::Panicked {
                        let error = RunError::Engine(
                            "the engine panicked on another request of the batch".to_owned(),
                        );
                        let _ = job.reply.send(Err(error.into()));
                    } else {
                        outcome = Self::single(job).run(instance, batched, run_times, stats);
                    }
                }
                outcome
            }
        }
    }

    fn answer(self, ran: Ran, started: Instant, number: u64, batched: bool) {
        let batch_rows = self.rows();
        let alone = self.jobs.len() == 1;
        let mut first = 0;
        let mut outputs = Some(ran.outputs);
        for job in self.jobs {
            let rows = job.work.rows;
            let own = if alone || !batched {
                outputs.take().unwrap_or_default()
            } else {
                outputs
                    .iter()
                    .flatten()
                    .map(|output| output.slice_rows(first, rows))
                    .collect()
            };
            first += rows;
            let timing = Timing {
                queue: started.saturating_duration_since(job.enqueued),
                compute_input: ran.join,
                compute_infer: ran.infer,
                // Alone, there is nothing to split, and the clock need not be looked at.
                compute_output: if alone {
                    Duration::ZERO
                } else {
                    ran.ended.elapsed()
                },
                batch_rows,
                started: Some(started),
                batch: number,
            };
            // The client may have gone.
            let _ = job.reply.send(Ok(Completed {
                outputs: own,
                timing,
            }));
        }
    }
}

fn run_jobs(
    instance: &mut dyn Instance,
    jobs: &[Job],
    rows: usize,
    batched: bool,
    started: Instant,
) -> Result<Ran, Failure> {
    let joined;
    let (inputs, join) = match jobs {
        [job] => (&job.work.inputs, Duration::ZERO),
        jobs => {
            joined = join_inputs(jobs)
                .map_err(|error| Failure::Run(RunError::Engine(error.to_string())))?;
            (&joined, started.elapsed())
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| instance.run(inputs)));
    let outputs = match result {
        Ok(outputs) => outputs.map_err(Failure::Run)?,
        Err(panic) => return Err(Failure::Panic(panic_message(&*panic))),
    };
    if batched
        && let Some(at) = outputs
            .iter()
            .position(|output| output.shape().first() != Some(&rows))
    {
        let shape = outputs[at].shape();
        let message = format!(
            "output {at} has shape {shape} for {rows} rows: it does not follow the batch axis"
        );
        return Err(Failure::Run(RunError::Engine(message)));
    }
    let ended = Instant::now();
    Ok(Ran {
        outputs,
        join,
        infer: ended - started - join,
        ended,
    })
}

fn join_inputs(jobs: &[Job]) -> Result<Vec<Option<Tensor>>, TensorError> {
    let inputs = jobs.first().map_or(0, |job| job.work.inputs.len());
    let join = |input: usize| {
        let parts: Vec<&Tensor> = jobs
            .iter()
            .filter_map(|job| job.work.inputs[input].as_ref())
            .collect();
        if parts.is_empty() {
            Ok(None)
        } else {
            Tensor::concat_rows(&parts).map(Some)
        }
    };
    (0..inputs).map(join).collect()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}
