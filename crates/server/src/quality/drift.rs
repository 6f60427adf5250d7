//! Captured predictions held against the baselines of their versions, window by window.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_core::{StringArray, Tensor, TensorView};
use tidegate_observe::Event;
use tidegate_pipeline::Column;
use tidegate_quality::DriftReport;
use tidegate_quality::drift::DriftPolicy;
use tidegate_quality::profile::{Baseline, Kind, TableProfile, Value};
use tidegate_serving::{PredictionContent, Version};

use super::metrics::QualityMetrics;

/// Windows that are remembered of each version.
const REMEMBERED: usize = 48;
/// Columns that an event names, at most.
const NAMED_COLUMNS: usize = 5;

/// The windows of every version that has a baseline.
pub(super) struct DriftMonitor {
    policy: DriftPolicy,
    window_ms: u64,
    state: Mutex<HashMap<VersionName, WatchedVersion>>,
    /// Windows of an earlier process that are not continued yet.
    earlier: Mutex<HashMap<VersionName, PersistedWindow>>,
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
    version: std::sync::Weak<Version>,
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
#[derive(Serialize, Deserialize)]
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
        metrics: QualityMetrics,
    ) -> Self {
        let earlier = earlier.into_iter();
        let earlier = earlier.map(|one| ((one.model.clone(), one.version.clone()), one));
        Self {
            policy,
            window_ms: window_s * 1000,
            state: Mutex::default(),
            earlier: Mutex::new(earlier.collect()),
            metrics,
        }
    }

    /// Counts what a version got and gave.
    pub(super) fn add(&self, version: &Arc<Version>, content: &PredictionContent, now_ms: u64) {
        if version.plan().manifest.baseline.is_none() {
            return;
        }
        let name = (version.model().to_owned(), version.number().to_owned());
        let mut state = self.state.lock();
        let is_known = state
            .get(&name)
            .is_some_and(|watched| watched.load.is_of(version));
        if !is_known {
            let watched = self.watch(version, &name, now_ms);
            state.insert(name.clone(), watched);
        }
        let Some(watched) = state.get_mut(&name) else {
            return;
        };
        let load = watched.load.clone();
        if let Ok(columns) = &load.baseline {
            watched.rows += content.rows as u64;
            columns.add(&mut watched.window, content);
        }
    }

    fn watch(&self, version: &Arc<Version>, name: &VersionName, now_ms: u64) -> WatchedVersion {
        let baseline = BaselineColumns::of(version);
        let window = match &baseline {
            Ok(columns) => columns.baseline.new_window(),
            Err(problem) => {
                let (model, number) = name;
                tracing::warn!(model, version = number, problem, "drift is not watched");
                empty_window()
            }
        };
        let mut watched = WatchedVersion {
            load: Arc::new(Watched {
                baseline,
                version: Arc::downgrade(version),
            }),
            window,
            begin_ms: now_ms - now_ms % self.window_ms,
            rows: 0,
            finished: VecDeque::new(),
        };
        if let Some(earlier) = self.earlier.lock().remove(name)
            && earlier.begin_ms == watched.begin_ms
            // Of another baseline, it cannot be continued.
            && watched.window.merge(&earlier.window).is_ok()
        {
            watched.rows = earlier.rows;
        }
        watched
    }

    /// Ends the windows whose time is over; what they showed of those that have drifted.
    pub(super) fn end_windows(&self, now_ms: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for ((model, version), watched) in self.state.lock().iter_mut() {
            let end_ms = watched.begin_ms + self.window_ms;
            if now_ms < end_ms {
                continue;
            }
            let begin_ms =
                std::mem::replace(&mut watched.begin_ms, now_ms - now_ms % self.window_ms);
            let rows = std::mem::take(&mut watched.rows);
            let Ok(columns) = &watched.load.baseline else {
                continue;
            };
            let window = std::mem::replace(&mut watched.window, columns.baseline.new_window());
            if rows == 0 {
                continue;
            }
            let report = DriftReport::new(&columns.baseline, &window, &self.policy);
            let drifted = report.drifted().count();
            self.metrics.set_drift(model, version, drifted);
            let was_drifted = watched
                .finished
                .front()
                .is_some_and(|last| last.report.drifted().next().is_some());
            if drifted > 0 || was_drifted {
                events.push(event(model, version, &report, (begin_ms, end_ms)));
            }
            watched.finished.push_front(FinishedWindow {
                begin_ms,
                end_ms,
                report: Arc::new(report),
            });
            watched.finished.truncate(REMEMBERED);
        }
        events
    }

    /// Forgets versions that are not loaded any more.
    pub(super) fn forget_unloaded(&self) {
        self.state.lock().retain(|(model, version), watched| {
            let is_loaded = watched.load.version.strong_count() > 0;
            if !is_loaded {
                self.metrics.remove_drift(model, version);
            }
            is_loaded
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
            .collect();
        windows
            .sort_by(|one, other| (&one.model, &one.version).cmp(&(&other.model, &other.version)));
        windows
    }
}

impl Watched {
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
    /// Reads the baseline of a version, and finds its columns.
    fn of(version: &Version) -> Result<Self, String> {
        let plan = version.plan();
        let name = plan.manifest.baseline.as_deref().unwrap_or_default();
        let path = plan.folder().join(name);
        let size = std::fs::metadata(&path).map_err(|error| format!("{name}: {error}"))?;
        if size.len() > Baseline::MAX_FILE_BYTES as u64 {
            return Err(format!("{name} is too large for a baseline"));
        }
        let content = std::fs::read(&path).map_err(|error| format!("{name}: {error}"))?;
        let baseline = Baseline::from_file(&content).map_err(|error| format!("{name}: {error}"))?;
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
                "{name} has columns that are no field, input or output of the version: {}",
                missing.join(", ")
            )),
        }
    }

    fn add(&self, window: &mut TableProfile, content: &PredictionContent) {
        let tensors = Tensors::of(content);
        for (at, (column, place)) in self.baseline.columns().iter().zip(&self.places).enumerate() {
            let fields = content.fields.iter();
            let field = fields
                .map(|(name, values)| (name, values))
                .find(|(name, _)| **name == column.name);
            match field {
                Some((_, values)) => self.add_field(window, at, values),
                None => self.add_tensor(window, at, place, &tensors, content.rows),
            }
        }
    }

    fn add_field(&self, window: &mut TableProfile, at: usize, values: &Column) {
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
                    window.add(&self.baseline, at, text_value(text, kind));
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
    Texts(StringArray),
    None,
}

impl Tensors {
    fn of(content: &PredictionContent) -> Self {
        let inputs = content.inputs.iter();
        let outputs = content.outputs.iter();
        Self {
            inputs: inputs
                .map(|tensor| tensor.as_ref().map_or(TensorValues::None, TensorValues::of))
                .collect(),
            outputs: outputs
                .map(|output| (output.index, TensorValues::of(&output.tensor)))
                .collect(),
        }
    }
}

impl TensorValues {
    fn of(tensor: &Tensor) -> Self {
        match tensor.view() {
            TensorView::Strings(strings) => Self::Texts(strings.clone()),
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
                let text = texts.iter().nth(place(texts.len()));
                text_value(text.and_then(|text| std::str::from_utf8(text).ok()), kind)
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
