//! Captured predictions held against the baselines of their versions, window by window.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_core::{Tensor, TensorView};
use tidegate_observe::Event;
use tidegate_pipeline::Column;
use tidegate_quality::DriftReport;
use tidegate_quality::drift::DriftPolicy;
use tidegate_quality::profile::{Baseline, Kind, TableProfile, Value};
use tidegate_redaction::Redactor;
use tidegate_serving::{PredictionContent, Version};

use super::metrics::QualityMetrics;
use super::rows::is_private;

/// Windows that are remembered of each version.
const REMEMBERED: usize = 48;
/// Versions that are watched and not loaded any more: beyond so many they are forgotten at once.
const MAX_VERSIONS: usize = 1000;
/// Columns that an event names, at most.
const NAMED_COLUMNS: usize = 5;

/// The windows of every version that has a baseline.
pub(super) struct DriftMonitor {
    policy: DriftPolicy,
    window_ms: u64,
    state: Mutex<HashMap<VersionName, WatchedVersion>>,
    /// Windows of an earlier process that are not continued yet.
    earlier: Mutex<HashMap<VersionName, PersistedWindow>>,
    /// What windows showed that ended between two calls of [`DriftMonitor::end_windows`].
    ended: Mutex<Vec<Event>>,
    redactor: Arc<Redactor>,
    metrics: QualityMetrics,
}

/// A model and the number of a version.
type VersionName = (String, String);

/// A version whose captured predictions are counted.
struct WatchedVersion {
    load: Arc<Watched>,
    window: TableProfile,
    begin_ms: u64,
    rows: u64,
    finished: VecDeque<FinishedWindow>,
}

/// What does not change until the version is loaded again.
struct Watched {
    /// Why it cannot be watched, or its baseline.
    baseline: Result<BaselineColumns, String>,
    version: Weak<Version>,
    loaded_ms: u64,
}

/// A baseline, and where the values of its columns are.
struct BaselineColumns {
    baseline: Baseline,
    places: Vec<ColumnPlace>,
}

/// Where the values of a column are: in the field of its name, or in a tensor.
#[derive(Default)]
struct ColumnPlace {
    input: Option<(usize, usize)>,
    output: Option<(usize, usize)>,
}

/// A window that has ended.
#[derive(Clone, Serialize)]
pub(super) struct FinishedWindow {
    /// When it began, in milliseconds since 1970.
    pub(super) begin_ms: u64,
    /// When it ended.
    pub(super) end_ms: u64,
    /// What it showed.
    pub(super) report: Arc<DriftReport>,
}

/// What is known of the drift of a version.
pub(super) struct DriftStatus {
    pub(super) version: String,
    /// Why it is not watched.
    pub(super) problem: Option<String>,
    /// Rows in the window that has not ended.
    pub(super) rows: u64,
    /// The last windows, the newest first.
    pub(super) windows: Vec<FinishedWindow>,
}

/// A window over a restart.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PersistedWindow {
    model: String,
    version: String,
    begin_ms: u64,
    rows: u64,
    window: TableProfile,
}

impl DriftMonitor {
    pub(super) fn new(
        policy: DriftPolicy,
        window_s: u64,
        earlier: Vec<PersistedWindow>,
        redactor: Arc<Redactor>,
        metrics: QualityMetrics,
    ) -> Self {
        let earlier = earlier.into_iter();
        let earlier = earlier.map(|one| ((one.model.clone(), one.version.clone()), one));
        Self {
            policy,
            window_ms: window_s * 1000,
            state: Mutex::default(),
            earlier: Mutex::new(earlier.collect()),
            ended: Mutex::default(),
            redactor,
            metrics,
        }
    }

    /// Counts what a version got and gave.
    pub(super) fn add(&self, version: &Arc<Version>, content: &PredictionContent, now_ms: u64) {
        if version.plan().manifest.baseline.is_none() {
            return;
        }
        let name = (version.model().to_owned(), version.number().to_owned());
        let known = self.state.lock().get(&name).map(|one| one.load.clone());
        let is_known = known.as_ref().is_some_and(|load| load.is_of(version));
        let is_newer = known.is_none_or(|load| version.loaded_ms() >= load.loaded_ms);
        // A baseline may be large: it is read before the lock is taken.
        let load = match is_known {
            false if is_newer => Some(Arc::new(Watched::of(version, &self.redactor))),
            // An earlier load, whose last requests end: they may be of other columns.
            false => return,
            true => None,
        };
        let mut state = self.state.lock();
        if let Some(load) = load {
            let before = state.remove(&name);
            let watched = self.watch(load, before, &name, now_ms);
            state.insert(name.clone(), watched);
        }
        let Some(watched) = state.get_mut(&name) else {
            return;
        };
        // One of before a restart may be over.
        let ended = self.end_window(&name, watched, now_ms);
        self.ended.lock().extend(ended);
        let load = watched.load.clone();
        if let Ok(columns) = &load.baseline {
            watched.rows += content.rows as u64;
            columns.add(&mut watched.window, content, &self.redactor);
        }
    }

    /// Watches a load of a version. The window of the load before it goes on, or that of the process before,
    /// if the baseline is the same.
    fn watch(
        &self,
        load: Arc<Watched>,
        before: Option<WatchedVersion>,
        name: &VersionName,
        now_ms: u64,
    ) -> WatchedVersion {
        let window = match &load.baseline {
            Ok(columns) => columns.baseline.new_window(),
            Err(problem) => {
                let (model, number) = name;
                tracing::warn!(model, version = number, problem, "drift is not watched");
                empty_window()
            }
        };
        let mut watched = WatchedVersion {
            load,
            window,
            begin_ms: now_ms - now_ms % self.window_ms,
            rows: 0,
            finished: VecDeque::new(),
        };
        let earlier = self.earlier.lock().remove(name);
        let continued = match &before {
            Some(before) => Some((before.begin_ms, before.rows, &before.window)),
            None => earlier
                .as_ref()
                .map(|one| (one.begin_ms, one.rows, &one.window)),
        };
        if let Some((begin_ms, rows, window)) = continued
            && watched.window.merge(window).is_ok()
        {
            (watched.begin_ms, watched.rows) = (begin_ms, rows);
        }
        watched.finished = before.map(|before| before.finished).unwrap_or_default();
        watched
    }

    /// Ends the windows whose time is over; what they showed of those that have drifted.
    pub(super) fn end_windows(&self, now_ms: u64) -> Vec<Event> {
        let mut events = std::mem::take(&mut *self.ended.lock());
        for (name, watched) in self.state.lock().iter_mut() {
            events.extend(self.end_window(name, watched, now_ms));
        }
        events
    }

    fn end_window(
        &self,
        (model, version): &VersionName,
        watched: &mut WatchedVersion,
        now_ms: u64,
    ) -> Option<Event> {
        let (begin_ms, end_ms) = (watched.begin_ms, watched.begin_ms + self.window_ms);
        if now_ms < end_ms {
            return None;
        }
        watched.begin_ms = now_ms - now_ms % self.window_ms;
        let rows = std::mem::take(&mut watched.rows);
        let columns = watched.load.baseline.as_ref().ok()?;
        let window = std::mem::replace(&mut watched.window, columns.baseline.new_window());
        if rows == 0 {
            return None;
        }
        let report = DriftReport::new(&columns.baseline, &window, &self.policy);
        let drifted = report.drifted().count();
        self.metrics.set_drift(model, version, drifted);
        let last = watched.finished.front();
        let was_drifted = last.is_some_and(|last| last.report.drifted().next().is_some());
        let has_news = drifted > 0 || was_drifted;
        let event = has_news.then(|| event(model, version, &report, (begin_ms, end_ms)));
        watched.finished.push_front(FinishedWindow {
            begin_ms,
            end_ms,
            report: Arc::new(report),
        });
        watched.finished.truncate(REMEMBERED);
        event
    }

    /// Forgets versions that are not loaded any more once nothing of them was seen for as many windows as
    /// are remembered.
    pub(super) fn forget_unloaded(&self, now_ms: u64) {
        let kept_ms = self.window_ms.saturating_mul(REMEMBERED as u64);
        let oldest_ms = now_ms.saturating_sub(kept_ms);
        let mut state = self.state.lock();
        let is_full = state.len() > MAX_VERSIONS;
        state.retain(|(model, version), watched| {
            let is_loaded = watched.load.version.strong_count() > 0;
            let last_ms = watched.finished.front().map_or(0, |last| last.end_ms);
            let is_kept = is_loaded || (!is_full && (watched.rows > 0 || last_ms >= oldest_ms));
            if !is_kept {
                self.metrics.remove_drift(model, version);
            }
            is_kept
        });
    }

    /// What is known of the versions of a model.
    pub(super) fn status(&self, wanted: &str) -> Vec<DriftStatus> {
        let state = self.state.lock();
        let versions = state.iter().filter(|((model, _), _)| model == wanted);
        let mut status: Vec<DriftStatus> = versions
            .map(|((_, version), watched)| DriftStatus {
                version: version.clone(),
                problem: watched.load.baseline.as_ref().err().cloned(),
                rows: watched.rows,
                windows: watched.finished.iter().cloned().collect(),
            })
            .collect();
        status.sort_by(|one, other| one.version.cmp(&other.version));
        status
    }

    /// Why versions with a baseline are not watched.
    pub(super) fn problems(&self) -> Vec<String> {
        let state = self.state.lock();
        let problems = state.iter().filter_map(|((model, version), watched)| {
            let problem = watched.load.baseline.as_ref().err()?;
            Some(format!(
                "drift of version {version} of \"{model}\" is not watched: {problem}"
            ))
        });
        problems.collect()
    }

    /// The windows that have not ended, for the next process.
    pub(super) fn persisted(&self) -> Vec<PersistedWindow> {
        let state = self.state.lock();
        let earlier = self.earlier.lock();
        let mut windows: Vec<PersistedWindow> = state
            .iter()
            .filter(|(_, watched)| watched.rows > 0)
            .map(|((model, version), watched)| PersistedWindow {
                model: model.clone(),
                version: version.clone(),
                begin_ms: watched.begin_ms,
                rows: watched.rows,
                window: watched.window.clone(),
            })
            // Versions that were not called since the start.
            .chain(earlier.values().cloned())
            .collect();
        windows
            .sort_by(|one, other| (&one.model, &one.version).cmp(&(&other.model, &other.version)));
        windows
    }
}

impl Watched {
    fn of(version: &Arc<Version>, redactor: &Redactor) -> Self {
        Self {
            baseline: BaselineColumns::of(version, redactor),
            version: Arc::downgrade(version),
            loaded_ms: version.loaded_ms(),
        }
    }

    fn is_of(&self, version: &Arc<Version>) -> bool {
        std::ptr::eq(self.version.as_ptr(), Arc::as_ptr(version))
    }
}

fn empty_window() -> TableProfile {
    let none = Baseline::new(Vec::new());
    none.map(|baseline| baseline.new_window())
        .expect("a baseline without columns has no wrong ones")
}

fn event(
    model: &str,
    version: &str,
    report: &DriftReport,
    (begin_ms, end_ms): (u64, u64),
) -> Event {
    let drifted = report.drifted().count();
    let name = match drifted {
        0 => "drift.ended",
        _ => "drift.detected",
    };
    let described = report.drifted().take(NAMED_COLUMNS).map(|column| {
        let causes = column.causes.join("; ");
        format!("{}: {causes}", column.column)
    });
    let described: Vec<String> = described.collect();
    let event = Event::new(name, end_ms)
        .about(model, version)
        .with("drifted", drifted)
        .with("columns", report.columns.len())
        .with("rows", report.rows)
        .with("window_begin_ms", begin_ms);
    match described.is_empty() {
        true => event,
        false => event.with("causes", described.join(" | ")),
    }
}

impl BaselineColumns {
    /// Reads the baseline of a version, and finds its columns. Private ones are left out.
    fn of(version: &Version, redactor: &Redactor) -> Result<Self, String> {
        let plan = version.plan();
        let name = plan.manifest.baseline.as_deref().unwrap_or_default();
        let path = plan.folder().join(name);
        let size = std::fs::metadata(&path).map_err(|error| format!("{name}: {error}"))?;
        if size.len() > Baseline::MAX_FILE_BYTES as u64 {
            return Err(format!("{name} is too large for a baseline"));
        }
        let content = std::fs::read(&path).map_err(|error| format!("{name}: {error}"))?;
        let baseline = Baseline::from_file(&content).map_err(|error| format!("{name}: {error}"))?;
        let columns = baseline.columns().iter().cloned();
        let columns = columns.filter(|column| !is_private(&column.name, redactor));
        let baseline = Baseline::new(columns.collect()).map_err(|error| error.to_string())?;
        let places = baseline.columns().iter();
        let places: Vec<ColumnPlace> = places.map(|column| place(version, &column.name)).collect();
        let has_field = |name: &str| {
            let mut fields = version.pipeline().into_iter().flat_map(|one| one.fields());
            fields.any(|field| field == name)
        };
        let columns = baseline.columns().iter().zip(&places);
        let missing: Vec<&str> = columns
            .filter(|(column, place)| {
                place.input.is_none() && place.output.is_none() && !has_field(&column.name)
            })
            .map(|(column, _)| column.name.as_str())
            .collect();
        match missing.is_empty() {
            true => Ok(Self { baseline, places }),
            // They would count as missing in every row, and be an alarm for ever.
            false => Err(format!(
                "{name} has columns that are neither fields nor inputs or outputs of the version: {}",
                missing.join(", ")
            )),
        }
    }

    fn add(&self, window: &mut TableProfile, content: &PredictionContent, redactor: &Redactor) {
        let tensors = Tensors::of(content, redactor);
        for (at, (column, place)) in self.baseline.columns().iter().zip(&self.places).enumerate() {
            let fields = content.fields.columns.iter();
            let field = fields
                .map(|(name, values)| (name, values))
                .find(|(name, _)| **name == column.name);
            match field {
                Some((_, values)) => self.add_field(window, at, values, redactor),
                None => self.add_tensor(window, at, place, &tensors, content.rows),
            }
        }
    }

    fn add_field(
        &self,
        window: &mut TableProfile,
        at: usize,
        values: &Column,
        redactor: &Redactor,
    ) {
        let kind = self.baseline.columns()[at].bins.kind();
        match values {
            Column::Numbers(numbers) => {
                for number in numbers {
                    let value = match number.is_nan() {
                        true => Value::Missing,
                        false => Value::Number(*number),
                    };
                    window.add(&self.baseline, at, value);
                }
            }
            Column::Text(texts) => {
                for text in texts.iter() {
                    // New categories are remembered and named.
                    let text = text.map(|text| redactor.text(text));
                    window.add(&self.baseline, at, text_value(text.as_deref(), kind));
                }
            }
            // Nothing can be said of files.
            Column::Bytes(_) | Column::Tensor(_) => {}
        }
    }

    fn add_tensor(
        &self,
        window: &mut TableProfile,
        at: usize,
        place: &ColumnPlace,
        tensors: &Tensors,
        rows: usize,
    ) {
        let found = match (place.input, place.output) {
            (Some((tensor, column)), _) => {
                tensors.inputs.get(tensor).map(|values| (values, column))
            }
            (None, Some((tensor, column))) => {
                tensors.outputs.get(&tensor).map(|values| (values, column))
            }
            (None, None) => None,
        };
        let Some((values, column)) = found else {
            return;
        };
        for row in 0..rows {
            let kind = self.baseline.columns()[at].bins.kind();
            window.add(&self.baseline, at, values.value(row, rows, column, kind));
        }
    }
}

/// A text where a number is expected may be one, as in CSV files.
fn text_value(text: Option<&str>, kind: Kind) -> Value<'_> {
    match (text, kind) {
        (None, _) => Value::Missing,
        (Some(text), Kind::Number) => text.parse().map_or(Value::Text(text), Value::Number),
        (Some(text), Kind::Category) => Value::Text(text),
    }
}

/// Tensors whose elements can be read as numbers or texts.
struct Tensors {
    inputs: Vec<TensorValues>,
    outputs: HashMap<usize, TensorValues>,
}

enum TensorValues {
    Numbers(Vec<f64>),
    Texts(Vec<String>),
    None,
}

impl Tensors {
    fn of(content: &PredictionContent, redactor: &Redactor) -> Self {
        let inputs = content.inputs.iter().map(|tensor| match tensor {
            Some(tensor) => TensorValues::of(tensor, redactor),
            None => TensorValues::None,
        });
        let outputs = content.outputs.iter();
        Self {
            inputs: inputs.collect(),
            outputs: outputs
                .map(|output| (output.index, TensorValues::of(&output.tensor, redactor)))
                .collect(),
        }
    }
}

impl TensorValues {
    fn of(tensor: &Tensor, redactor: &Redactor) -> Self {
        match tensor.view() {
            TensorView::Strings(strings) => {
                let texts = strings.iter().map(String::from_utf8_lossy);
                let texts = texts.map(|text| redactor.text(&text).into_owned());
                Self::Texts(texts.collect())
            }
            TensorView::Fixed(_) => {
                tidegate_columns::numbers(tensor).map_or(Self::None, Self::Numbers)
            }
        }
    }

    fn value(&self, row: usize, rows: usize, column: usize, kind: Kind) -> Value<'_> {
        let place = |len: usize| row * (len / rows.max(1)) + column;
        match self {
            Self::Numbers(numbers) => {
                let number = numbers.get(place(numbers.len()));
                number.map_or(Value::Missing, |number| Value::Number(*number))
            }
            Self::Texts(texts) => {
                text_value(texts.get(place(texts.len())).map(String::as_str), kind)
            }
            Self::None => Value::Missing,
        }
    }
}

/// Where the values of a column of tensors are: the columns of a pipeline's inputs, those that the manifest
/// declares, and else `name` or `name[2]` of an input or output.
fn place(version: &Version, name: &str) -> ColumnPlace {
    let (plan, signature) = (version.plan(), version.signature());
    let input = |tensor: &str| signature.inputs.iter().position(|spec| spec.name == tensor);
    let spec = plan.manifest.pipeline.as_ref();
    for piped in spec.into_iter().flat_map(|spec| &spec.inputs) {
        let column = piped.columns.iter().position(|column| column == name);
        if let (Some(tensor), Some(column)) = (input(&piped.name), column) {
            return ColumnPlace {
                input: Some((tensor, column)),
                output: None,
            };
        }
    }
    for (at, declared) in plan.manifest.signature.inputs.iter().enumerate() {
        let column = declared
            .columns
            .iter()
            .position(|column| column.name == name);
        let tensor = input(&declared.name).or_else(|| declared.name.is_empty().then_some(at));
        if let (Some(tensor), Some(column)) = (tensor, column) {
            return ColumnPlace {
                input: Some((tensor, column)),
                output: None,
            };
        }
    }
    let (tensor, column) = split_index(name);
    let output = signature
        .outputs
        .iter()
        .position(|spec| spec.name == tensor);
    ColumnPlace {
        input: input(tensor).map(|at| (at, column)),
        output: output.map(|at| (at, column)),
    }
}

/// `name[2]` as the name of a tensor and a place in its rows.
fn split_index(name: &str) -> (&str, usize) {
    let split = name.strip_suffix(']').and_then(|name| name.split_once('['));
    match split.map(|(tensor, index)| (tensor, index.parse())) {
        Some((tensor, Ok(index))) => (tensor, index),
        _ => (name, 0),
    }
}
