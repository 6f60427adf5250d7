//! Quality in production: captured predictions, their labels, accuracy and drift.

mod accuracy;
mod api;
pub(crate) mod columns;
mod config;
mod counts;
mod drift;
mod estimate;
mod feedback;
mod join;
mod metrics;
mod page;
mod recorder;
mod references;
mod rows;
mod target;
mod trigger_facts;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tidegate_capture::{CaptureError, CaptureFolder, Hour, Partition, Subject, SubjectRows};
use tidegate_redaction::Redactor;
use tidegate_serving::{Capture, ErrorCode, InferError, MemoryBudget, MetricRegistry, Serving};
use tidegate_store::{Store, StoreError};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tracing::warn;

use self::accuracy::{Accuracy, VersionAccuracy};
pub(crate) use self::api::description;
use self::api::{ErasedCaptures, ErasedSubject};
pub use self::config::{CaptureConfig, CaptureConfigError, CapturedEndpoint};
use self::drift::{DriftMonitor, PersistedWindow};
use self::feedback::{FeedbackBody, FeedbackReceipt, Sender};
pub(crate) use self::join::{LabelPages, Labels, PAGE};
use self::metrics::QualityMetrics;
use self::recorder::{Recorder, RecorderContext};
pub(crate) use self::trigger_facts::{DriftFact, MeasuredFact};
use crate::ServerConfig;
use crate::blocking::run_blocking;
use crate::clock::now_ms;
use crate::component::Component;
use crate::events::EventJournal;
use crate::persisted_state::StateFile;
use crate::routes::Routes;

/// How often accuracy is measured, and drift windows are written.
const STEP: Duration = Duration::from_secs(15);
/// How often old labels are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Captures predictions, takes their labels, and watches accuracy and drift.
pub(crate) struct Quality {
    config: CaptureConfig,
    server: ServerConfig,
    memory: Arc<MemoryBudget>,
    capture: Option<Arc<Capture>>,
    folder: CaptureFolder,
    database: String,
    store: OnceCell<Store>,
    recorder: Option<Recorder>,
    serving: Arc<Serving>,
    accuracy: Accuracy,
    drift: Arc<DriftMonitor>,
    metrics: QualityMetrics,
    redactor: Arc<Redactor>,
    windows: Option<StateFile>,
    /// What was measured last, by endpoint and version.
    measured: parking_lot::Mutex<MeasuredEndpoints>,
    /// Why accuracy could not be computed last.
    problem: parking_lot::Mutex<Option<String>>,
}

/// The accuracy of versions, by endpoint.
type MeasuredEndpoints = Vec<(String, BTreeMap<String, VersionAccuracy>)>;

/// What the component is made from.
pub(crate) struct QualityContext {
    pub(crate) server: ServerConfig,
    /// What requests may take together.
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) serving: Arc<Serving>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) events: Arc<EventJournal>,
    /// The folder of the process, if it has one.
    pub(crate) data_folder: Option<PathBuf>,
    /// The file of windows that have not ended.
    pub(crate) state_file: Option<PathBuf>,
    pub(crate) database: String,
}

impl Quality {
    /// Starts to capture what [`Serving`] notes.
    ///
    /// # Errors
    /// If predictions are captured and there is no folder for them, or no thread can be started.
    pub(crate) fn start(
        config: &CaptureConfig,
        context: QualityContext,
        registry: &MetricRegistry,
    ) -> Result<Self, CaptureConfigError> {
        let capture = context.serving.capture().cloned();
        let metrics = QualityMetrics::new(registry, capture.clone());
        let default_folder = || Some(context.data_folder.as_ref()?.join("captures"));
        let folder = config.folder.clone().or_else(default_folder);
        let folder = match (folder, &capture) {
            (Some(folder), _) => CaptureFolder::new(folder),
            (None, None) => CaptureFolder::new(PathBuf::new()),
            (None, Some(_)) => return Err(CaptureConfigError::NoFolder),
        };
        let state = context.state_file.filter(|_| capture.is_some());
        let (windows, earlier) = state.map(StateFile::open::<Vec<PersistedWindow>>).unzip();
        let drift = Arc::new(DriftMonitor::new(
            config.drift,
            config.drift_window_s,
            earlier.unwrap_or_default(),
            context.redactor.clone(),
            metrics.clone(),
        ));
        let quality = Self {
            accuracy: Accuracy::new(folder.clone(), config.estimate_labels),
            recorder: None,
            server: context.server,
            memory: context.memory,
            database: config.database.clone().unwrap_or(context.database),
            store: OnceCell::new(),
            serving: context.serving,
            drift,
            metrics,
            redactor: context.redactor,
            windows,
            measured: parking_lot::Mutex::default(),
            problem: parking_lot::Mutex::default(),
            config: config.clone(),
            folder,
            capture,
        };
        match quality.capture.clone() {
            None => Ok(quality),
            Some(capture) => quality.record(capture, context.events),
        }
    }

    fn record(
        mut self,
        capture: Arc<Capture>,
        events: Arc<EventJournal>,
    ) -> Result<Self, CaptureConfigError> {
        let lock = self.folder.lock();
        let lock = lock.map_err(|error| CaptureConfigError::Folder(error.to_string()))?;
        let context = RecorderContext {
            folder: self.folder.clone(),
            _lock: lock,
            flush_every: Duration::from_secs(self.config.flush_s),
            max_disk_bytes: self.config.max_disk_bytes,
            retention: self.retention(),
            redactor: self.redactor.clone(),
            drift: self.drift.clone(),
            metrics: self.metrics.clone(),
            events,
        };
        let recorder = Recorder::start(context, capture);
        let recorder = recorder.map_err(|error| CaptureConfigError::NoThread(error.to_string()))?;
        let observer = recorder.clone();
        let observations = self.serving.metrics().observations();
        observations.subscribe(move |finished| observer.observe(finished));
        self.recorder = Some(recorder);
        Ok(self)
    }

    /// How long captured predictions are kept.
    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs(self.config.retention_days * 24 * 3600)
    }

    /// The share of the requests of an endpoint that is captured.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] if it is not captured.
    pub(crate) fn check_captured(&self, endpoint: &str) -> Result<f64, InferError> {
        let rate = self.capture.as_ref().and_then(|one| one.rate(endpoint));
        // `*` is every endpoint that there is.
        let exists = self.serving.would_answer(endpoint, None);
        let is_unknown = exists.is_err_and(|error| error.code == ErrorCode::UnknownModel);
        rate.filter(|_| !is_unknown).ok_or_else(|| {
            let message = format!(
                "predictions of \"{endpoint}\" are not captured: name it in [[capture.endpoint]]"
            );
            InferError::new(ErrorCode::NotFound, message)
        })
    }

    /// Whether any endpoint is captured.
    pub(crate) fn is_capturing(&self) -> bool {
        self.capture.is_some()
    }

    /// The folder of captured predictions.
    pub(crate) fn capture_folder(&self) -> &CaptureFolder {
        &self.folder
    }

    /// The database of labels.
    pub(crate) async fn store(&self) -> Result<&Store, InferError> {
        let open = || Store::open(&self.database);
        self.store.get_or_try_init(open).await.map_err(not_reached)
    }

    async fn add_feedback(
        &self,
        body: FeedbackBody,
        sender: &Sender<'_>,
    ) -> Result<FeedbackReceipt, InferError> {
        let (rows, not_captured) = feedback::rows(body, sender, &self.redactor)?;
        let outcomes = self.store().await?.add_feedback(&rows).await;
        let outcomes = outcomes.map_err(not_reached)?;
        let receipt = FeedbackReceipt::new(&outcomes, not_captured);
        for (outcome, labels) in [
            ("new", receipt.new),
            ("corrected", receipt.corrected),
            ("same", receipt.same),
            ("not_captured", receipt.not_captured),
        ] {
            self.metrics
                .count_feedback(sender.endpoint, outcome, labels);
        }
        Ok(receipt)
    }

    async fn accuracy_of(
        &self,
        endpoint: &str,
        hours: (Hour, Hour),
        segment: Option<&str>,
    ) -> Result<BTreeMap<String, VersionAccuracy>, InferError> {
        self.flush().await;
        let store = self.store().await?;
        let accuracy = self.accuracy.of_endpoint(store, endpoint, hours, segment);
        accuracy.await.map_err(unavailable)
    }

    /// Writes what was answered before.
    pub(crate) async fn flush(&self) {
        self.serving.metrics().observations().drain();
        if let Some(recorder) = &self.recorder {
            recorder.flush().await;
        }
    }

    async fn captures(
        &self,
        endpoint: String,
        version: Option<String>,
        hours: u64,
        limit: usize,
    ) -> Result<Vec<Value>, InferError> {
        self.flush().await;
        let (from, to) = last_hours(hours);
        let folder = self.folder.clone();
        let reading = read_files(move || {
            newest_rows(&folder, &endpoint, version.as_deref(), (from, to), limit)
        });
        reading.await.map_err(unavailable)
    }

    /// Erases the rows of a subject, and their labels. The labels first: a server that is killed meanwhile
    /// finds the rows again.
    async fn erase(
        &self,
        endpoint: String,
        subject: ErasedSubject,
    ) -> Result<ErasedCaptures, InferError> {
        self.flush().await;
        // Data sets that are being made of these rows are not finished.
        let folder = self.folder.clone();
        let erasure = read_files(move || folder.begin_erasure());
        let _erasure = erasure.await.map_err(unavailable)?;
        let subject = Arc::new(subject);
        let (folder, name, wanted) = (self.folder.clone(), endpoint.clone(), subject.clone());
        let finding = read_files(move || find_rows(&folder, &name, &wanted));
        let found = finding.await.map_err(unavailable)?;
        if !found.has_column {
            let message = format!("nothing is captured in the column {:?}", subject.column);
            return Err(InferError::new(ErrorCode::NotFound, message));
        }
        let ids = found.ids.into_iter();
        let ids: Vec<(String, i64)> = ids
            .filter_map(|[id, row]| Some((id, row.parse().ok()?)))
            .collect();
        let labels = self.store().await?.erase_feedback(&endpoint, &ids).await;
        let labels = labels.map_err(not_reached)?;
        let folder = self.folder.clone();
        let erasing = read_files(move || erase_rows(&folder, &endpoint, &subject));
        let rows = erasing.await.map_err(unavailable)?;
        Ok(ErasedCaptures { rows, labels })
    }

    async fn run(self: Arc<Self>) {
        // What an earlier configuration has captured is not kept for ever.
        if self.capture.is_none() && !self.folder.root().is_dir() {
            return;
        }
        let mut forgotten: Option<Instant> = None;
        loop {
            if forgotten.is_none_or(|forgotten| forgotten.elapsed() >= FORGET_EVERY) {
                forgotten = Some(Instant::now());
                self.forget_old().await;
            }
            if self.capture.is_some() {
                let problem = self.measure_accuracy().await.err();
                if let Some(problem) = &problem {
                    warn!(problem, "accuracy is not computed");
                }
                *self.problem.lock() = problem;
                self.persist_windows().await;
            }
            tokio::time::sleep(STEP).await;
        }
    }

    /// Sets the metrics of accuracy. An endpoint whose files cannot be read has none, and the others do.
    async fn measure_accuracy(&self) -> Result<(), String> {
        let hours = last_hours(self.config.accuracy_window_h);
        let mut endpoints = Vec::new();
        let mut problem = None;
        for endpoint in self.accuracy.endpoints().await? {
            match self.measure(&endpoint, hours).await {
                Ok(versions) => endpoints.push((endpoint, versions)),
                Err(error) => problem = Some(format!("\"{endpoint}\": {error}")),
            }
        }
        self.metrics.reset_accuracy();
        for (endpoint, versions) in &endpoints {
            for (version, accuracy) in versions {
                let counts = &accuracy.counts;
                self.metrics.set_labels(endpoint, version, counts.labelled);
                self.metrics
                    .set_accuracy(endpoint, version, &counts.metrics());
                let estimated = accuracy.estimated(counts);
                self.metrics.set_estimated(endpoint, version, &estimated);
            }
        }
        *self.measured.lock() = endpoints;
        problem.map_or(Ok(()), Err)
    }

    async fn measure(
        &self,
        endpoint: &str,
        hours: (Hour, Hour),
    ) -> Result<BTreeMap<String, VersionAccuracy>, String> {
        let store = self.store().await;
        let store = store.map_err(|error| error.message.to_string())?;
        self.accuracy
            .of_endpoint(store, endpoint, hours, None)
            .await
    }

    /// Forgets labels that are too old, and files if nothing is captured any more.
    async fn forget_old(&self) {
        let retention_ms = u64::try_from(self.retention().as_millis()).unwrap_or(u64::MAX);
        let oldest_ms = now_ms().saturating_sub(retention_ms);
        if self.capture.is_none() {
            let (folder, max_bytes) = (self.folder.clone(), self.config.max_disk_bytes);
            let retaining = read_files(move || folder.retain(oldest_ms, max_bytes));
            if let Err(error) = retaining.await {
                warn!(error, "old captures cannot be removed");
            }
        }
        let oldest_ms = i64::try_from(oldest_ms).unwrap_or(i64::MAX);
        let forgotten = match self.store().await {
            Ok(store) => store.forget_feedback(oldest_ms).await.map_err(not_reached),
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            warn!(%error, "old labels cannot be removed");
        }
    }

    async fn persist_windows(&self) {
        if let Some(file) = &self.windows {
            file.write(|| serde_json::to_vec(&self.drift.persisted()))
                .await;
        }
    }
}

impl Component for Quality {
    fn name(&self) -> &'static str {
        "quality"
    }

    fn routes(self: Arc<Self>) -> Routes<()> {
        api::routes(self)
    }

    fn start(self: Arc<Self>, background: &mut JoinSet<()>) {
        background.spawn(self.run());
    }

    fn problems(&self) -> Vec<String> {
        let problem = self.problem.lock().clone();
        let accuracy = problem.map(|problem| format!("accuracy is not computed: {problem}"));
        accuracy.into_iter().chain(self.drift.problems()).collect()
    }

    /// Writes what was captured last.
    fn finish(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.flush().await;
            self.persist_windows().await;
        })
    }
}

/// Runs work on captured files beside the threads that serve connections; what went wrong, in words.
pub(crate) async fn read_files<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CaptureError> + Send + 'static,
) -> Result<T, String> {
    let done = run_blocking(work).await;
    let done = done.map_err(|error| error.message.to_string())?;
    done.map_err(|error| error.to_string())
}

/// The current hour and those before it.
fn last_hours(hours: u64) -> (Hour, Hour) {
    let now_ms = now_ms();
    let before_ms = hours.saturating_sub(1) * 3_600_000;
    (
        Hour::of_ms(now_ms.saturating_sub(before_ms)),
        Hour::of_ms(now_ms),
    )
}

fn newest_rows(
    folder: &CaptureFolder,
    endpoint: &str,
    version: Option<&str>,
    (from, to): (Hour, Hour),
    limit: usize,
) -> Result<Vec<Value>, CaptureError> {
    let mut partitions = folder.partitions_of(endpoint, from, to)?;
    partitions.retain(|one| version.is_none_or(|version| one.key.version == version));
    let mut newest = Vec::new();
    for partition in partitions.iter().rev() {
        // Files are read from the earliest on: only the last rows are kept.
        let mut last: VecDeque<Value> = VecDeque::new();
        for batch in folder.read(&partition.key, None)? {
            let batch = batch?;
            let rows = batch.num_rows();
            for row in rows.saturating_sub(limit)..rows {
                last.push_back(rows::json_row(&batch, row));
            }
            let more = last.len().saturating_sub(limit - newest.len());
            last.drain(..more);
        }
        newest.extend(last.into_iter().rev());
        if newest.len() >= limit {
            break;
        }
    }
    Ok(newest)
}

fn find_rows(
    folder: &CaptureFolder,
    endpoint: &str,
    subject: &ErasedSubject,
) -> Result<SubjectRows, CaptureError> {
    let mut all = SubjectRows::default();
    for partition in partitions_of(folder, endpoint)? {
        let mut found = folder.find(&partition.key, subject.rows())?;
        all.has_column |= found.has_column;
        all.ids.append(&mut found.ids);
    }
    Ok(all)
}

fn erase_rows(
    folder: &CaptureFolder,
    endpoint: &str,
    subject: &ErasedSubject,
) -> Result<u64, CaptureError> {
    let mut rows = 0;
    for partition in partitions_of(folder, endpoint)? {
        rows += folder.erase(&partition.key, subject.rows())?;
    }
    Ok(rows)
}

fn partitions_of(folder: &CaptureFolder, endpoint: &str) -> Result<Vec<Partition>, CaptureError> {
    folder.partitions_of(endpoint, Hour::of_ms(0), Hour::of_ms(u64::MAX))
}

impl ErasedSubject {
    fn rows(&self) -> Subject<'_> {
        Subject {
            column: &self.column,
            value: &self.value,
            id_columns: [columns::PREDICTION_ID, columns::ROW],
        }
    }
}

fn unavailable(problem: impl ToString) -> InferError {
    InferError::new(ErrorCode::NotReady, problem.to_string())
}

fn not_reached(error: StoreError) -> InferError {
    let message = format!("the labels cannot be reached: {error}");
    InferError::new(ErrorCode::NotReady, message)
}
