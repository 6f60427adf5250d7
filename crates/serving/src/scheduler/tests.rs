//! The scheduler over an engine whose runs the test lets through one by one.

mod admission;
mod batching;
mod contract;
mod fairness;
mod inline;

use std::num::NonZeroUsize;
use std::sync::mpsc;
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_core::{Batching, Shape, Signature, Tensor};
use tidegate_engines::{LoadError, RunError};
use tidegate_gateway::TenantShare;

use super::*;
use crate::{MetricRegistry, RequestMetrics};

/// An engine that doubles its input, waits at a gate, and remembers the first value of every row
/// that it ran.
#[derive(Clone)]
struct Doubler {
    signature: Signature,
    ran: Arc<Mutex<Vec<Vec<f32>>>>,
    gate: Option<Arc<Mutex<mpsc::Receiver<()>>>>,
}

/// A value that makes the engine fail, and one that makes it panic.
const BAD: f32 = -1.0;
const POISON: f32 = -2.0;

impl Doubler {
    fn new() -> Self {
        Self {
            signature: Signature::default(),
            ran: Arc::default(),
            gate: None,
        }
    }

    /// Runs wait until the returned sender lets each through.
    fn gated() -> (Self, mpsc::Sender<()>) {
        let (open, gate) = mpsc::channel();
        (
            Self {
                gate: Some(Arc::new(Mutex::new(gate))),
                ..Self::new()
            },
            open,
        )
    }

    fn scheduler(&self, limits: Limits) -> Arc<Scheduler> {
        let metrics = RequestMetrics::new(&MetricRegistry::new());
        let stats = metrics.version_stats("doubler", "1", 64);
        let artifact = Arc::new(self.clone());
        let instances = vec![artifact.instance().unwrap()];
        Arc::new(Scheduler::new(
            "doubler:1".into(),
            limits,
            artifact,
            instances,
            Arc::new(stats),
        ))
    }

    /// Batches that ran, by the first values of their rows.
    fn batches(&self) -> Vec<Vec<f32>> {
        self.ran.lock().clone()
    }

    /// Waits until that many batches have begun.
    async fn begun(&self, batches: usize) {
        while self.ran.lock().len() < batches {
            tokio::task::yield_now().await;
        }
    }
}

impl LoadedArtifact for Doubler {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn default_instances(&self) -> usize {
        1
    }

    fn run_time_is_bounded(&self) -> bool {
        true
    }

    fn instance(&self) -> Result<Box<dyn Instance>, LoadError> {
        Ok(Box::new(self.clone()))
    }
}

impl Instance for Doubler {
    fn run(&mut self, inputs: &[Option<Tensor>]) -> Result<Vec<Tensor>, RunError> {
        let tensor = inputs[0].as_ref().unwrap();
        let values = tensor.to_vec::<f32>().unwrap();
        let width = values.len() / tensor.rows();
        self.ran
            .lock()
            .push(values.iter().copied().step_by(width.max(1)).collect());
        if let Some(gate) = &self.gate {
            gate.lock().recv().unwrap();
        }
        if values.contains(&POISON) {
            panic!("poisoned");
        }
        if values.contains(&BAD) {
            return Err(RunError::Engine("bad value".into()));
        }
        let doubled = values.iter().map(|value| value * 2.0).collect();
        Ok(vec![
            Tensor::from_vec(tensor.shape().clone(), doubled).unwrap(),
        ])
    }
}

/// Limits of batches of which no row runs again alone: the tests count runs.
fn limits(max_batch_rows: usize) -> Limits {
    Limits {
        contract: Arc::new(BatchContract::without_checks()),
        ..Limits::new(&Batching::default(), NonZeroUsize::new(max_batch_rows))
    }
}

/// A row is one FP32.
const ROW_BYTES: usize = 4;

fn work(values: &[f32]) -> Work {
    let shape = Shape::new(&[values.len(), 1]).unwrap();
    let inputs = vec![Some(Tensor::from_vec(shape, values.to_vec()).unwrap())];
    Work {
        inputs,
        rows: values.len(),
        deadline: None,
        level: 1,
        runs_alone: false,
        share: TenantShare::default(),
    }
}

fn doubled(answer: Result<Completed, InferError>) -> Vec<f32> {
    answer.unwrap().outputs[0].to_vec().unwrap()
}

/// Submits in a task of its own and waits until the request is in the queue.
async fn submit(
    scheduler: &Arc<Scheduler>,
    work: Work,
) -> tokio::task::JoinHandle<Result<Completed, InferError>> {
    let before = scheduler.queued();
    let task = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.submit(work).await }
    });
    while scheduler.queued() == before {
        tokio::task::yield_now().await;
    }
    task
}

/// Fills the only instance with a run that waits at the gate.
async fn occupy(
    scheduler: &Arc<Scheduler>,
    doubler: &Doubler,
) -> tokio::task::JoinHandle<Result<Completed, InferError>> {
    let begun = doubler.batches().len();
    let task = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { scheduler.submit(work(&[0.0])).await }
    });
    doubler.begun(begun + 1).await;
    task
}

/// Polls once.
fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
