//! Which predictions are captured, and what is kept of one until it is written.
//!
//! The request path only notes tensors, which share their memory with the request: redaction, encoding
//! and writing are the work of whoever reads the [observations](crate::Observations).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
/// Random bits of an id that decide whether it is captured. The first random byte has bits of the
/// version, the second group those of the variant, so only whole bytes behind them are used.
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
    fastrand::fill(&mut random);
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
    capture: Arc<Capture>,
}

/// What went into a version and came out of it.
#[derive(Debug, Default)]
pub struct PredictionContent {
    /// The version that answered.
    pub version: Option<Arc<Version>>,
    /// The fields of the request, by name, if it was one of records.
    pub fields: Vec<(String, Column)>,
    /// The inputs of the model, in the order of its signature.
    pub inputs: Vec<Option<Tensor>>,
    /// The outputs of the model that the client asked for, or that its pipeline needs.
    pub outputs: Vec<OutputTensor>,
    /// Its rows.
    pub rows: usize,
    held_bytes: usize,
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

    /// Notes the fields of the request, as records have them.
    pub fn set_fields(&self, fields: impl FnOnce() -> Vec<(String, Column)>) {
        if let Some(content) = &self.content {
            content.lock().fields = fields();
        }
    }

    /// Notes what a version gets. An earlier version that did not answer is forgotten.
    pub(crate) fn set_inputs(
        &self,
        version: &Arc<Version>,
        inputs: &[Option<Tensor>],
        rows: usize,
    ) {
        let Some(content) = &self.content else {
            return;
        };
        let mut content = content.lock();
        content.version = Some(version.clone());
        content.inputs = inputs.to_vec();
        content.outputs.clear();
        content.rows = rows;
    }

    /// Notes what a version has answered. If others hold all of the memory, the content is dropped.
    pub(crate) fn set_outputs(&self, outputs: &[OutputTensor]) {
        let Some(content) = &self.content else {
            return;
        };
        let mut content = content.lock();
        content.outputs = outputs.to_vec();
        let bytes = content.bytes();
        // A fallback may have answered after another version did.
        self.give_back(&mut content);
        if self.capture.hold(bytes) {
            content.held_bytes = bytes;
        } else {
            *content = PredictionContent::default();
        }
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

impl PredictionContent {
    fn bytes(&self) -> usize {
        let fields = self.fields.iter().map(|(_, column)| column.bytes());
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
        one.set_outputs(&[output(10)]);
        other.set_outputs(&[output(10)]);
        assert_eq!((capture.held_bytes(), capture.dropped()), (80, 1));
        assert!(other.take_content().is_none());
        drop(one);
        assert_eq!(capture.held_bytes(), 0);
    }
}
