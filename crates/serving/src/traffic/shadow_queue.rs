//! Copies of requests that wait for shadows, and the thread that runs them.
//!
//! Invariants:
//! - Whoever answers clients never waits here: a copy that finds no room is dropped and counted.
//! - Copies are bounded in number, in bytes and in age.
//! - A copy runs while no request waits for its version, on a thread that gives way to others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntCounterVec;
use tidegate_core::Tensor;
use tokio::sync::{Semaphore, mpsc};

use super::shadow_report::difference;
use super::{EndpointTraffic, Endpoints, ShadowCopy, ShadowReport};
use crate::{ErrorCode, InferError, InferRequest, Serving, Version, scheduler};

/// Copies that wait, at most.
const MAX_WAITING: usize = 1024;
/// What waiting and running copies may hold together, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// A copy that has waited so long is dropped: the shadow cannot keep up.
const MAX_AGE: Duration = Duration::from_secs(5);
/// Longest run of a shadow.
const MAX_RUN: Duration = Duration::from_secs(30);
/// Copies that run at the same time, at most.
const MAX_RUNNING: usize = 8;
/// How long a copy lets waiting requests of its version go first, before it looks again.
const GIVE_WAY: Duration = Duration::from_millis(2);

/// An endpoint and the version of one of its shadows.
type EndpointShadow = (Arc<str>, Arc<str>);

/// Copies of requests on their way to shadows, and what came of them.
pub(crate) struct ShadowQueue {
    sender: mpsc::Sender<Job>,
    /// Until the thread is started.
    receiver: Mutex<Option<mpsc::Receiver<Job>>>,
    held_bytes: Arc<AtomicUsize>,
    /// By endpoint and version.
    reports: Mutex<BTreeMap<EndpointShadow, ShadowReport>>,
    copies: IntCounterVec,
    /// Checks of cascades.
    audits: IntCounterVec,
}

/// A copy in the queue, with the bytes that it holds.
struct Job {
    copy: Box<ShadowCopy>,
    _held: HeldBytes,
}

/// Gives bytes back when it is dropped.
struct HeldBytes(usize, Arc<AtomicUsize>);

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl HeldBytes {
    /// `None` if that would be too much together.
    fn take(bytes: usize, held: &Arc<AtomicUsize>) -> Option<Self> {
        // The guard first: dropping it takes the sum back.
        let before = held.fetch_add(bytes, Ordering::Relaxed);
        let taken = Self(bytes, held.clone());
        (before.saturating_add(bytes) <= MAX_BYTES).then_some(taken)
    }
}

/// What came of one copy.
enum Outcome {
    Compared {
        outputs: Vec<(String, Tensor)>,
        took: Duration,
    },
    Failed(InferError),
    Dropped,
    Skipped,
}

impl ShadowQueue {
    pub(super) fn new(copies: IntCounterVec, audits: IntCounterVec) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            held_bytes: Arc::default(),
            reports: Mutex::default(),
            copies,
            audits,
        }
    }

    /// Takes a copy of a request that was answered. Never waits.
    pub(crate) fn send(&self, copy: Box<ShadowCopy>) {
        let Some(held) = HeldBytes::take(copy.bytes(), &self.held_bytes) else {
            self.dropped(&copy);
            return;
        };
        let job = Job { copy, _held: held };
        if let Err(error) = self.sender.try_send(job) {
            self.dropped(&error.into_inner().copy);
        }
    }

    fn dropped(&self, copy: &ShadowCopy) {
        for shadow in &copy.shadows {
            self.note(copy, shadow, Outcome::Dropped);
        }
    }

    pub(super) fn reports(&self, endpoint: &str) -> BTreeMap<String, ShadowReport> {
        let reports = self.reports.lock();
        let of_endpoint = reports.iter().filter(|((of, _), _)| **of == *endpoint);
        of_endpoint
            .map(|((_, version), report)| (version.to_string(), report.clone()))
            .collect()
    }

    /// Forgets the reports of shadows that are none any more.
    pub(super) fn keep_reports_of(&self, endpoints: &Endpoints) {
        self.reports.lock().retain(|(endpoint, version), _| {
            let shadows = endpoints
                .get(&**endpoint)
                .map(|traffic| traffic.policy().shadows());
            let mut shadows = shadows.into_iter().flatten();
            shadows.any(|shadow| shadow.version.as_str() == &**version)
        });
    }

    fn note(&self, copy: &ShadowCopy, shadow: &Arc<str>, outcome: Outcome) {
        if let Some(traffic) = &copy.audit {
            return self.note_audit(traffic, copy, &outcome);
        }
        let primary = copy.primary.as_ref();
        let outputs = primary.map_or(&[][..], |(_, outputs)| outputs.as_slice());
        // Before the lock: comparing takes as long as the outputs are large.
        let (difference, outcome) = match outcome {
            Outcome::Compared {
                outputs: theirs,
                took,
            } => {
                if let Some(watch) = &copy.watch {
                    let theirs = theirs.iter();
                    watch.add(shadow, theirs.map(|(name, tensor)| (name.as_str(), tensor)));
                }
                (Some((difference(outputs, &theirs), took)), None)
            }
            other => (None, Some(other)),
        };
        let mut reports = self.reports.lock();
        let report = reports
            .entry((copy.endpoint.clone(), shadow.clone()))
            .or_default();
        let result = match (difference, outcome) {
            (Some((difference, took)), _) => match report.add(difference, took) {
                true => "agreed",
                false => "disagreed",
            },
            (None, Some(Outcome::Failed(error))) => {
                report.failed += 1;
                report.last_error = Some(error.code.name().to_owned());
                "failed"
            }
            (None, Some(Outcome::Skipped)) => {
                report.skipped += 1;
                "skipped"
            }
            (None, _) => {
                report.dropped += 1;
                "dropped"
            }
        };
        drop(reports);
        let labels = [&*copy.endpoint, &**shadow, result];
        self.copies.with_label_values(&labels).inc();
    }

    /// Notes whether a version of the weights agrees with the first version of a cascade.
    fn note_audit(&self, traffic: &EndpointTraffic, copy: &ShadowCopy, outcome: &Outcome) {
        let agrees = match (outcome, &copy.primary, traffic.cascade()) {
            (Outcome::Compared { outputs, .. }, Some((_, first)), Some(cascade)) => {
                cascade.audit(first, outputs)
            }
            _ => None,
        };
        let result = match agrees {
            Some(true) => "agreed",
            Some(false) => "disagreed",
            None => "unknown",
        };
        let labels = [&*copy.endpoint, result];
        self.audits.with_label_values(&labels).inc();
    }
}

/// Starts the thread that runs copies; a second call does nothing.
pub(super) fn start(serving: &Arc<Serving>) -> std::io::Result<()> {
    let queue = serving.traffic().shadows();
    let Some(receiver) = queue.receiver.lock().take() else {
        return Ok(());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let serving = Arc::downgrade(serving);
    let thread = std::thread::Builder::new().name("shadows".to_owned());
    thread.spawn(move || {
        // What clients wait for goes first.
        scheduler::lower_thread_priority();
        runtime.block_on(run(serving, receiver));
    })?;
    Ok(())
}

async fn run(serving: Weak<Serving>, mut jobs: mpsc::Receiver<Job>) {
    let running = Arc::new(Semaphore::new(MAX_RUNNING));
    while let Some(job) = jobs.recv().await {
        let Ok(permit) = running.clone().acquire_owned().await else {
            return;
        };
        let Some(serving) = serving.upgrade() else {
            return;
        };
        tokio::spawn(async move {
            for shadow in &job.copy.shadows {
                let outcome = serving.ask_shadow(&job.copy, shadow).await;
                let queue = serving.traffic().shadows();
                queue.note(&job.copy, shadow, outcome);
            }
            drop(permit);
        });
    }
}

impl Serving {
    async fn ask_shadow(&self, copy: &ShadowCopy, shadow: &str) -> Outcome {
        let Some((primary, _)) = &copy.primary else {
            return Outcome::Skipped;
        };
        let version = match self.models().version(&copy.endpoint, Some(shadow)) {
            Ok(version) => version,
            Err(error) => return Outcome::Failed(error),
        };
        if !reads_alike(primary, &version) {
            return Outcome::Skipped;
        }
        // Requests of clients go first, for as long as the copy is of use.
        while version.scheduler().has_waiting() && copy.answered.elapsed() < MAX_AGE {
            tokio::time::sleep(GIVE_WAY).await;
        }
        if copy.answered.elapsed() >= MAX_AGE {
            return Outcome::Dropped;
        }
        let request = InferRequest {
            // Beyond the last level, which is taken for the last.
            priority: u64::MAX,
            deadline: None,
            ..copy.request.clone()
        };
        let began = Instant::now();
        let running = tokio::time::timeout(MAX_RUN, self.run_shadow(&version, request));
        match running.await {
            Ok(Ok(outputs)) => Outcome::Compared {
                outputs,
                took: began.elapsed(),
            },
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_) => {
                let message = "the shadow did not answer in time";
                Outcome::Failed(InferError::new(ErrorCode::DeadlineExceeded, message))
            }
        }
    }
}

/// Whether the inputs of a request to one version are those of the other: tensors that the steps of one
/// pipeline made from records are not what another pipeline would make of them. Files that steps read
/// may differ although the steps do not.
pub(super) fn reads_alike(primary: &Version, shadow: &Version) -> bool {
    if shadow.sequences().is_some() {
        return false;
    }
    let pipelines = [primary, shadow].map(|version| version.plan().manifest.pipeline.as_ref());
    match pipelines {
        [None, None] => true,
        [Some(one), Some(other)] => one == other && one.files().is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::MetricRegistry;

    #[test]
    fn bytes_are_bounded_and_given_back() {
        let held = Arc::new(AtomicUsize::new(0));
        let most = HeldBytes::take(MAX_BYTES, &held).unwrap();
        assert!(HeldBytes::take(1, &held).is_none());
        drop(most);
        assert_eq!(held.load(Ordering::Relaxed), 0);
        assert!(HeldBytes::take(1, &held).is_some());
    }

    #[test]
    fn copies_without_room_are_counted_and_forgotten_with_their_shadow() {
        let registry = MetricRegistry::new();
        let copies = registry.counter_vec("copies", "copies", &["endpoint", "version", "result"]);
        let audits = registry.counter_vec("audits", "audits", &["endpoint", "result"]);
        let queue = ShadowQueue::new(copies, audits);
        let copy = || {
            let shadows = vec!["9".into()];
            Box::new(ShadowCopy::new(
                "fraud".into(),
                shadows,
                InferRequest::default(),
            ))
        };
        for _ in 0..=MAX_WAITING {
            queue.send(copy());
        }
        assert_eq!(queue.reports("fraud")["9"].dropped, 1);
        queue.keep_reports_of(&HashMap::new());
        assert!(queue.reports("fraud").is_empty());
    }
}
