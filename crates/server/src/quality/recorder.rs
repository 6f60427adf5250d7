//! The thread that writes captured predictions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_capture::{CaptureFolder, CaptureWriter, FolderLock, Hour, PartitionKey, Written};
use tidegate_redaction::Redactor;
use tidegate_serving::{Capture, Observation, Outcome, Prediction, Version};
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::drift::DriftMonitor;
use super::metrics::QualityMetrics;
use super::rows::{self, CapturedCall};
use super::target::label_target;
use crate::clock::now_ms;
use crate::events::EventJournal;

/// Rows in memory until they are written, in bytes.
const MAX_BUFFERED_BYTES: usize = 32 << 20;
/// Finished requests that wait for the thread, at most.
const MAX_WAITING: usize = 10_000;
/// How often old files are looked for.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// How often drift windows and the time of the next flush are looked at.
const TICK: Duration = Duration::from_millis(200);

/// Takes what is captured from the request path.
#[derive(Clone)]
pub(super) struct Recorder {
    messages: SyncSender<Message>,
    capture: Arc<Capture>,
}

enum Message {
    Finished(Finished),
    Flush(oneshot::Sender<()>),
}

/// A finished request of a captured endpoint.
struct Finished {
    prediction: Arc<Prediction>,
    outcome: Outcome,
    took: Duration,
}

/// What the thread works with.
pub(super) struct RecorderContext {
    pub(super) folder: CaptureFolder,
    /// Keeps other servers from writing there.
    pub(super) _lock: FolderLock,
    pub(super) flush_every: Duration,
    pub(super) max_disk_bytes: u64,
    pub(super) retention: Duration,
    pub(super) redactor: Arc<Redactor>,
    pub(super) drift: Arc<DriftMonitor>,
    pub(super) metrics: QualityMetrics,
    pub(super) events: Arc<EventJournal>,
}

impl Recorder {
    /// Starts the thread. It ends when the recorder is dropped.
    pub(super) fn start(context: RecorderContext, capture: Arc<Capture>) -> std::io::Result<Self> {
        let (messages, received) = mpsc::sync_channel(MAX_WAITING);
        let name = "capture".to_owned();
        thread::Builder::new()
            .name(name)
            .spawn(move || Recording::new(context).run(&received))?;
        Ok(Self { messages, capture })
    }

    /// Takes the captured ones among finished requests; drops and counts them where too many wait.
    pub(super) fn observe(&self, finished: &[Observation]) {
        for one in finished {
            let Some(prediction) = one.prediction.as_ref().filter(|one| one.is_captured()) else {
                continue;
            };
            let finished = Finished {
                prediction: prediction.clone(),
                outcome: one.outcome,
                took: one.total,
            };
            if self.messages.try_send(Message::Finished(finished)).is_err() {
                self.capture.count_dropped();
            }
        }
    }

    /// Writes what was captured before; waits until it is written.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        let messages = self.messages.clone();
        // The queue may be full: waiting for it must not hold a thread of connections.
        let sending = tokio::task::spawn_blocking(move || messages.send(Message::Flush(done)));
        if matches!(sending.await, Ok(Ok(()))) {
            let _ = written.await;
        }
    }
}

/// The state of the thread.
struct Recording {
    context: RecorderContext,
    writer: CaptureWriter,
    /// The versions whose targets are written, by endpoint and number.
    targets: HashMap<(String, String), std::sync::Weak<Version>>,
    flushed: Instant,
    /// When old files were looked for; never before the first time.
    retained: Option<Instant>,
    /// Whether the last write failed: a full disk must not fill the log too.
    has_failed: bool,
}

impl Recording {
    fn new(context: RecorderContext) -> Self {
        let folder = context.folder.clone();
        Self {
            writer: CaptureWriter::new(folder, MAX_BUFFERED_BYTES),
            context,
            targets: HashMap::new(),
            flushed: Instant::now(),
            retained: None,
            has_failed: false,
        }
    }

    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(TICK) {
                Ok(Message::Finished(finished)) => self.add(&finished),
                Ok(Message::Flush(done)) => {
                    self.flush();
                    // Whoever asked may have gone away.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            for event in self.context.drift.end_windows(now_ms()) {
                self.context.events.add(event);
            }
            if self.flushed.elapsed() >= self.context.flush_every {
                self.flush();
            }
        }
    }

    fn add(&mut self, finished: &Finished) {
        let prediction = &finished.prediction;
        let Some(mut content) = prediction.take_content() else {
            return;
        };
        let Some(version) = content.version.clone() else {
            return;
        };
        content.rows = rows::count(&content);
        let version = &version;
        let call = CapturedCall {
            id: prediction.id(),
            at_ms: prediction.unix_ms(),
            tenant: prediction.tenant(),
            outcome: finished.outcome,
            took: finished.took,
            exposure: prediction.exposure(),
        };
        if finished.outcome == Outcome::Answered {
            self.context.drift.add(version, &content, now_ms());
        }
        let key = PartitionKey {
            endpoint: prediction.endpoint().to_owned(),
            version: version.number().to_owned(),
            hour: Hour::of_ms(call.at_ms),
        };
        self.write_target(&key, version);
        let rows = rows::table(&call, &content, version, &self.context.redactor);
        match rows {
            Ok(rows) => {
                let written = self.writer.add(key, rows);
                self.count(written);
            }
            Err(problem) => self.failed(content.rows as u64, &problem),
        }
    }

    /// Writes what labels of a version are compared with, once for each load.
    fn write_target(&mut self, key: &PartitionKey, version: &Arc<Version>) {
        let name = (key.endpoint.clone(), key.version.clone());
        let written = self.targets.get(&name);
        if written.is_some_and(|written| std::ptr::eq(written.as_ptr(), Arc::as_ptr(version))) {
            return;
        }
        let target = label_target(version);
        if let Err(problem) = &target {
            let (model, number) = (version.model(), version.number());
            warn!(model, version = number, problem, "labels are not compared");
        }
        let json = serde_json::to_vec(&target.map_err(|problem| problem.to_string()));
        let json = json.unwrap_or_default();
        match self.context.folder.write_note(key, &json) {
            Ok(()) => {
                self.targets.insert(name, Arc::downgrade(version));
            }
            Err(error) => self.failed(0, &error.to_string()),
        }
    }

    fn flush(&mut self) {
        self.flushed = Instant::now();
        let written = self.writer.flush();
        self.count(written);
        self.context.drift.forget_unloaded(now_ms());
        if self
            .retained
            .is_none_or(|retained| retained.elapsed() >= RETAIN_EVERY)
        {
            self.retained = Some(Instant::now());
            self.retain();
        }
    }

    fn retain(&self) {
        let context = &self.context;
        let retention_ms = u64::try_from(context.retention.as_millis()).unwrap_or(u64::MAX);
        let oldest_ms = now_ms().saturating_sub(retention_ms);
        match context.folder.retain(oldest_ms, context.max_disk_bytes) {
            Ok(kept) => context.metrics.set_disk(kept.bytes_left),
            Err(error) => warn!(%error, "old captures cannot be removed"),
        }
    }

    /// Counts what was written, and what was lost.
    fn count(&mut self, written: Written) {
        for (endpoint, rows) in &written.rows {
            self.context.metrics.count_rows(endpoint, *rows);
        }
        match written.error {
            Some(error) => self.failed(written.lost_rows, &error.to_string()),
            None if !written.rows.is_empty() => self.has_failed = false,
            None => {}
        }
    }

    fn failed(&mut self, rows: u64, problem: &str) {
        self.context.metrics.failures.inc_by(rows);
        if !std::mem::replace(&mut self.has_failed, true) {
            error!(problem, "captured predictions cannot be written");
        }
    }
}
