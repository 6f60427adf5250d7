//! Which predictions are captured, and what is kept of one until it is written.
//!
//! The request path only notes tensors, which share their memory with the request: redaction, encoding
//! and writing are the work of whoever reads the [observations](crate::Observations).

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tidegate_core::Tensor;
use tidegate_pipeline::Column;
use uuid::{Builder, Uuid};

use crate::clock::unix_ms;
use crate::{OutputTensor, Version};

/// The endpoints whose predictions are captured, and how much memory what is captured may take until
/// it is written.
#[derive(Debug)]
pub struct Capture {
    /// By endpoint; `*` is every other endpoint.
    rates: HashMap<String, f64>,
    /// What predictions hold until they are written, in bytes.
    held_bytes: AtomicUsize,
    max_held_bytes: usize,
    dropped: AtomicU64,
}

/// The name that stands for every endpoint without a rate of its own.
const EVERY_ENDPOINT: &str = "*";
/// Random bits of an id that decide whether it is captured. The last 62 bits of an id are random, and a
/// double holds 53 exactly.
const DECIDING_BITS: u32 = 53;

impl Capture {
    /// Captures a share of the requests of each endpoint; `*` has that of all others.
    pub fn new(rates: HashMap<String, f64>, max_held_bytes: usize) -> Self {
        Self {
            rates,
            held_bytes: AtomicUsize::new(0),
            max_held_bytes,
            dropped: AtomicU64::new(0),
        }
    }

    /// The share of the requests of an endpoint that is captured; `None` if it is not captured at all.
    pub fn rate(&self, endpoint: &str) -> Option<f64> {
        let rate = self.rates.get(endpoint);
        rate.or_else(|| self.rates.get(EVERY_ENDPOINT)).copied()
    }

    /// What predictions hold until they are written, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// How many predictions were not kept because others held all of the memory.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Counts a prediction that was not kept as too many wait.
    pub fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A new prediction of an endpoint for a tenant; `None` if the endpoint is not captured.
    pub(crate) fn begin(self: &Arc<Self>, endpoint: &str, tenant: &str) -> Option<Arc<Prediction>> {
        let rate = self.rate(endpoint)?;
        let id = new_id();
        let content = is_captured(id, rate).then(Mutex::default);
        Some(Arc::new(Prediction {
            id,
            endpoint: endpoint.into(),
            tenant: tenant.into(),
            content,
            exposure: OnceLock::new(),
            capture: self.clone(),
        }))
    }

    /// Takes memory for a prediction, if there is enough left.
    fn hold(&self, bytes: usize) -> bool {
        let take = |held: usize| {
            let held = held.checked_add(bytes)?;
            (held <= self.max_held_bytes).then_some(held)
        };
        let taken = self
            .held_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if taken.is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

fn new_id() -> Uuid {
    let mut random = [0; 10];
    // Who cannot guess an id cannot label the prediction of somebody else.
    if getrandom::fill(&mut random).is_err() {
        fastrand::fill(&mut random);
    }
    Builder::from_unix_timestamp_millis(unix_ms(), &random).into_uuid()
}

/// Whether a prediction of this id is captured. The id alone decides, so that every server, and whoever
/// gets a label for it later, says the same.
pub fn is_captured(id: Uuid, rate: f64) -> bool {
    let random = id.as_u128() as u64 & ((1 << DECIDING_BITS) - 1);
    (random as f64) < rate * (1u64 << DECIDING_BITS) as f64
}

/// When a prediction of this id was made, in milliseconds since 1970: the id has it in it.
pub fn prediction_ms(id: Uuid) -> u64 {
    (id.as_u128() >> 80) as u64
}

/// One answer of a captured endpoint: its id, and its content if it is among those that are kept.
pub struct Prediction {
    id: Uuid,
    endpoint: Box<str>,
    tenant: Box<str>,
    content: Option<Mutex<PredictionContent>>,
    /// Whose request it was, if that user takes part in an experiment.
    exposure: OnceLock<Box<ExposedUser>>,
    capture: Arc<Capture>,
}

/// A user of an experiment, and the arm that they have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedUser {
    /// The experiment.
    pub experiment: String,
    /// The version of the arm, as the experiment names it.
    pub arm: String,
    /// The user, as a hash that is the experiment's own.
    pub user: u64,
}

/// What went into a version and came out of it.
#[derive(Debug, Default)]
pub struct PredictionContent {
    /// The version that answered.
    pub version: Option<Arc<Version>>,
    /// The fields of the request, if it was one of records.
    pub fields: RequestFields,
    /// The inputs of the model, in the order of its signature.
    pub inputs: Vec<Option<Tensor>>,
    /// The outputs of the model that the client asked for, or that its pipeline needs.
    pub outputs: Vec<OutputTensor>,
    /// Its rows.
    pub rows: usize,
    held_bytes: usize,
}

/// The fields of records.
#[derive(Debug, Default)]
pub struct RequestFields {
    /// Their values, by name.
    pub columns: Vec<(String, Column)>,
    /// The numbers of the rows in the request, where some were taken out.
    pub rows: Option<Vec<usize>>,
}

impl Prediction {
    /// Its id: a UUID of version 7, which has the time in it.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// When it was made, in milliseconds since 1970.
    pub fn unix_ms(&self) -> u64 {
        prediction_ms(self.id)
    }

    /// The endpoint that was called.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The tenant of the caller.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Whether it is among those that are kept.
    pub fn is_captured(&self) -> bool {
        self.content.is_some()
    }

    /// Notes the experiment that has chosen the version: the user counts for the arm, whatever comes of
    /// the request.
    pub(crate) fn set_exposure(&self, exposed: impl FnOnce() -> ExposedUser) {
        if self.content.is_some() {
            self.exposure.get_or_init(|| Box::new(exposed()));
        }
    }

    /// The experiment that has chosen the version.
    pub fn exposure(&self) -> Option<&ExposedUser> {
        self.exposure.get().map(|exposed| &**exposed)
    }

    /// Notes the fields of the request, as records have them.
    pub fn set_fields(&self, fields: impl FnOnce() -> RequestFields) {
        if let Some(content) = &self.content {
            content.lock().fields = fields();
        }
    }

    /// Notes what a version gets. An earlier version that did not answer is forgotten. Nothing is kept of
    /// a version of another model, which is a fallback of the endpoint: its outputs mean something else.
    pub(crate) fn set_inputs(&self, version: &Arc<Version>, inputs: &[Option<Tensor>]) {
        let Some(content) = &self.content else {
            return;
        };
        let mut content = content.lock();
        if version.model() != &*self.endpoint {
            return self.forget(&mut content);
        }
        let rows = content.fields.row_count();
        content.rows = rows.unwrap_or_else(|| tensor_rows(version, inputs));
        content.version = Some(version.clone());
        content.inputs = inputs.to_vec();
        content.outputs.clear();
        self.hold(&mut content);
    }

    /// Notes what a version has answered. Outputs of which the client wants the names of the highest classes
    /// are left out: their values are not in the answer.
    pub(crate) fn set_outputs(&self, outputs: &[OutputTensor], wanted: &[(usize, usize)]) {
        let Some(content) = &self.content else {
            return;
        };
        let mut content = content.lock();
        if content.version.is_none() {
            return;
        }
        let wanted = wanted.iter().map(|(_, classes)| *classes == 0);
        let plain = outputs.iter().zip(wanted).filter(|(_, is_plain)| *is_plain);
        content.outputs = plain.map(|(output, _)| output.clone()).collect();
        self.hold(&mut content);
    }

    /// Forgets what a version got and answered: another one is asked.
    pub(crate) fn forget_version(&self) {
        if let Some(content) = &self.content {
            let mut content = content.lock();
            let fields = std::mem::take(&mut content.fields);
            self.forget(&mut content);
            content.fields = fields;
        }
    }

    /// Takes memory for all of the content. If others hold all of it, the content is dropped.
    fn hold(&self, content: &mut PredictionContent) {
        let bytes = content.bytes();
        self.give_back(content);
        if self.capture.hold(bytes) {
            content.held_bytes = bytes;
        } else {
            *content = PredictionContent::default();
        }
    }

    fn forget(&self, content: &mut PredictionContent) {
        self.give_back(content);
        *content = PredictionContent::default();
    }

    /// Hands over what was kept of it; `None` if nothing was. The memory that it holds is given back
    /// when the prediction is dropped.
    pub fn take_content(&self) -> Option<PredictionContent> {
        let mut content = self.content.as_ref()?.lock();
        content.version.as_ref()?;
        let held_bytes = content.held_bytes;
        let taken = std::mem::take(&mut *content);
        content.held_bytes = held_bytes;
        Some(taken)
    }

    fn give_back(&self, content: &mut PredictionContent) {
        let bytes = std::mem::take(&mut content.held_bytes);
        self.capture.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The rows of a request of tensors, whether or not the version batches them.
fn tensor_rows(version: &Version, inputs: &[Option<Tensor>]) -> usize {
    let mut inputs = version.signature().inputs.iter().zip(inputs);
    let rows = inputs.find_map(|(spec, tensor)| {
        let tensor = tensor.as_ref().filter(|_| spec.has_dynamic_first_axis())?;
        Some(tensor.rows())
    });
    rows.unwrap_or(1)
}

impl RequestFields {
    /// Its rows; `None` if there are no fields.
    fn row_count(&self) -> Option<usize> {
        self.columns.first().map(|(_, column)| column.len())
    }
}

impl PredictionContent {
    fn bytes(&self) -> usize {
        let fields = self.fields.columns.iter().map(|(_, column)| column.bytes());
        let inputs = self.inputs.iter().flatten().map(Tensor::byte_len);
        let outputs = self.outputs.iter().map(|output| output.tensor.byte_len());
        fields.chain(inputs).chain(outputs).sum()
    }
}

impl Drop for Prediction {
    fn drop(&mut self) {
        if let Some(content) = &self.content {
            self.give_back(&mut content.lock());
        }
    }
}

impl fmt::Debug for Prediction {
    /// Without its content, which may be personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prediction")
            .field("id", &self.id)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::Shape;

    use super::*;

    fn capture(rate: f64, max_held_bytes: usize) -> Arc<Capture> {
        let rates = HashMap::from([("fraud".to_owned(), rate)]);
        Arc::new(Capture::new(rates, max_held_bytes))
    }

    fn output(values: usize) -> OutputTensor {
        let shape = Shape::new(&[values]).unwrap();
        let tensor = Tensor::from_vec(shape, vec![0f64; values]).unwrap();
        OutputTensor { index: 0, tensor }
    }

    #[test]
    fn the_share_of_captured_ids_is_the_rate() {
        let captured = (0..20_000).filter(|_| is_captured(new_id(), 0.1)).count();
        // Six standard deviations of a binomial distribution.
        assert!(captured.abs_diff(2_000) < 255, "{captured}");
        assert!((0..1_000).all(|_| is_captured(new_id(), 1.0)));
        assert!((0..1_000).all(|_| !is_captured(new_id(), 0.0)));
    }

    #[test]
    fn only_named_endpoints_are_captured() {
        let capture = capture(1.0, 1_000);
        assert!(capture.begin("digits", "").is_none());
        let prediction = capture.begin("fraud", "bank").unwrap();
        assert_eq!(
            (prediction.endpoint(), prediction.tenant()),
            ("fraud", "bank")
        );
        assert_eq!(prediction.id().get_version_num(), 7);
        let all = Arc::new(Capture::new(HashMap::from([("*".to_owned(), 0.0)]), 0));
        assert!(!all.begin("digits", "").unwrap().is_captured());
    }

    #[test]
    fn what_would_take_too_much_memory_is_dropped_and_counted() {
        let capture = capture(1.0, 100);
        let (one, other) = (
            capture.begin("fraud", "").unwrap(),
            capture.begin("fraud", "").unwrap(),
        );
        let hold = |prediction: &Prediction| {
            let mut content = prediction.content.as_ref().unwrap().lock();
            content.outputs = vec![output(10)];
            prediction.hold(&mut content);
        };
        hold(&one);
        hold(&other);
        assert_eq!((capture.held_bytes(), capture.dropped()), (80, 1));
        assert!(other.take_content().is_none());
        // What is held again is not held twice.
        hold(&one);
        assert_eq!(capture.held_bytes(), 80);
        drop(one);
        assert_eq!(capture.held_bytes(), 0);
    }
}
