//! The way of a request.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_core::{StringArray, Tensor, with_element};

use crate::ending::Ending;
use crate::observation::{Observation, Outcome};
use crate::version::Prepared;
use crate::{
    Completed, ErrorCode, Fleet, IndexEntry, InferError, InferRequest, InferResponse, Metrics,
    Model, Models, OutputTensor, RequestTrace, Timing, Version,
};

/// Everything that answers requests; shared by all front ends.
pub struct Serving {
    models: Arc<Models>,
    fleet: Option<Arc<Fleet>>,
    metrics: Arc<Metrics>,
}

impl Serving {
    /// Serves what `models` has loaded.
    pub fn new(models: impl Into<Arc<Models>>, metrics: Arc<Metrics>) -> Self {
        Self {
            models: models.into(),
            fleet: None,
            metrics,
        }
    }

    /// Serves what the fleet loads, too; it must load into the same models.
    #[must_use]
    pub fn with_fleet(self, fleet: Arc<Fleet>) -> Self {
        Self {
            fleet: Some(fleet),
            ..self
        }
    }

    /// The models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// The models of the registry, where it is followed.
    pub fn fleet(&self) -> Option<&Arc<Fleet>> {
        self.fleet.as_ref()
    }

    /// The fleet, if a model is its business.
    fn fleet_of(&self, model: &str) -> Option<&Arc<Fleet>> {
        self.fleet.as_ref().filter(|fleet| fleet.manages(model))
    }

    /// A loaded model.
    ///
    /// # Errors
    /// [`ErrorCode::UnknownModel`], or [`ErrorCode::NotReady`] with the reason.
    pub fn model(&self, name: &str) -> Result<Arc<Model>, InferError> {
        self.models.model(name).map_err(|error| {
            self.fleet_of(name)
                .map_or(error, |fleet| fleet.explain(name, None))
        })
    }

    /// A loaded version of a model.
    ///
    /// # Errors
    /// As [`Serving::model`], and [`ErrorCode::UnknownVersion`].
    pub fn version(&self, name: &str, version: Option<&str>) -> Result<Arc<Version>, InferError> {
        let explain = |error| {
            self.fleet_of(name)
                .map_or(error, |fleet| fleet.explain(name, version))
        };
        self.models.version(name, version).map_err(explain)
    }

    /// A version of a model, loaded if it is not, and whether this had to wait for it.
    ///
    /// # Errors
    /// As [`Serving::version`], [`ErrorCode::QueueFull`] if too many wait,
    /// [`ErrorCode::DeadlineExceeded`].
    pub async fn demand(
        &self,
        name: &str,
        version: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<(Arc<Version>, bool), InferError> {
        match self.models.version(name, version) {
            Ok(version) => Ok((version, false)),
            Err(error) => match self.fleet_of(name) {
                // Boxed: requests that do not wait here need not carry the place for it.
                Some(fleet) => Box::pin(fleet.demand(name, version, deadline)).await,
                None => Err(error),
            },
        }
    }

    /// Whether a request would be answered, be it after its version was loaded.
    ///
    /// # Errors
    /// Why it would not.
    pub fn would_answer(&self, name: &str, version: Option<&str>) -> Result<(), InferError> {
        match self.fleet_of(name) {
            Some(fleet) => fleet.would_answer(name, version),
            None => self.models.version(name, version).map(|_| ()),
        }
    }

    /// Every version that is loaded or could be, with where it stands; and models that have none.
    /// Looks into folders.
    pub fn index(&self) -> Vec<IndexEntry> {
        self.with_those_of_the_fleet(self.models.index())
    }

    /// As [`Serving::index`], without looking for models that came into the folders since. Reads no
    /// file.
    pub fn known(&self) -> Vec<IndexEntry> {
        self.with_those_of_the_fleet(self.models.known())
    }

    fn with_those_of_the_fleet(&self, mut index: Vec<IndexEntry>) -> Vec<IndexEntry> {
        index.extend(self.fleet.iter().flat_map(|fleet| fleet.index()));
        index.sort_by(|one, two| one.name.cmp(&two.name));
        index
    }

    /// Whether traffic should be sent here: everything that was found in folders answers, and every
    /// pinned model.
    pub fn is_ready(&self) -> bool {
        match &self.fleet {
            None => self.models.ready() && !self.models.is_empty(),
            Some(fleet) => self.models.ready() && fleet.is_ready(),
        }
    }

    /// What is not as it should be, while traffic may be sent here.
    pub fn problems(&self) -> Vec<String> {
        self.fleet
            .as_ref()
            .map(|fleet| fleet.problems())
            .unwrap_or_default()
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers a request. `received` is when its last byte arrived.
    ///
    /// # Errors
    /// Every [`ErrorCode`] that a decoded request can meet. Dropping the future gives up the
    /// request.
    pub async fn infer(
        &self,
        mut request: InferRequest,
        received: Instant,
    ) -> Result<InferResponse, InferError> {
        let trace = request.trace.take();
        let (version, cold_start) = match self.route(&request).await {
            Ok(routed) => routed,
            Err(error) => {
                self.metrics.refused(error.code, trace, received);
                return Err(error);
            }
        };
        if !cold_start {
            // Else the load has set it, after this was received.
            version.last_used().set(received);
        }
        let unfinished = Unfinished {
            version: &version,
            received,
            trace,
        };
        match answer(&version, request, received).await {
            Ok((outputs, answered)) => {
                let ending = unfinished.answered(&answered);
                Ok(InferResponse {
                    version,
                    outputs,
                    timing: answered.timing,
                    cold_start,
                    _ending: ending,
                })
            }
            Err(error) => {
                unfinished.failed(error.code);
                Err(error)
            }
        }
    }

    /// Picks the version that answers, and says whether it was loaded for this.
    async fn route(&self, request: &InferRequest) -> Result<(Arc<Version>, bool), InferError> {
        self.demand(&request.model, request.version.as_deref(), request.deadline)
            .await
    }
}

/// A request on its way to its observation: abandoned if it is dropped there, for then the client
/// has gone.
struct Unfinished<'a> {
    version: &'a Version,
    received: Instant,
    trace: Option<Box<RequestTrace>>,
}

impl Unfinished<'_> {
    fn answered(mut self, answered: &Answered) -> Ending {
        let ending = Ending::of(
            self.observation(Outcome::Answered, answered),
            self.version.stats(),
        );
        std::mem::forget(self);
        ending
    }

    fn failed(mut self, code: ErrorCode) {
        self.leave(Outcome::Failed(code));
        std::mem::forget(self);
    }

    /// Leaves the one observation of a request without an answer.
    fn leave(&mut self, outcome: Outcome) {
        let observation = self.observation(outcome, &Answered::default());
        self.version.stats().leave(observation);
    }

    fn observation(&mut self, outcome: Outcome, answered: &Answered) -> Observation {
        Observation {
            stats: Some(self.version.stats().clone()),
            outcome,
            received: self.received,
            total: self.received.elapsed(),
            encode: Duration::ZERO,
            timing: answered.timing,
            rows: answered.rows,
            trace: self.trace.take(),
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.leave(Outcome::Abandoned);
    }
}

/// What a version does with a request: prepare, schedule and run, finish.
async fn answer(
    version: &Version,
    request: InferRequest,
    received: Instant,
) -> Result<(Vec<OutputTensor>, Answered), InferError> {
    let Prepared { work, outputs } = version.prepare(request, received)?;
    let rows = work.rows;
    let completed = version.scheduler().submit(work).await?;
    let Completed {
        outputs: tensors,
        timing,
    } = completed;
    let outputs = finish(version, tensors, &outputs)?;
    Ok((outputs, Answered { rows, timing }))
}

#[derive(Default)]
struct Answered {
    rows: usize,
    timing: Timing,
}

/// Picks the outputs that were asked for and classifies where classes were asked for.
fn finish(
    version: &Version,
    tensors: Vec<Tensor>,
    wanted: &[(usize, usize)],
) -> Result<Vec<OutputTensor>, InferError> {
    let mut tensors: Vec<Option<Tensor>> = tensors.into_iter().map(Some).collect();
    let mut outputs = Vec::with_capacity(wanted.len());
    for &(index, classes) in wanted {
        let missing = || {
            InferError::new(
                ErrorCode::ExecutionFailed,
                format!("the model gave no output {index}"),
            )
        };
        let tensor = tensors
            .get_mut(index)
            .and_then(Option::take)
            .ok_or_else(missing)?;
        let tensor = match classes {
            0 => tensor,
            classes => {
                let name = &version.signature().outputs[index].name;
                classify(&tensor, classes, version.labels(name)).ok_or_else(|| {
                    let datatype = tensor.datatype();
                    let message =
                        format!("output \"{name}\" is {datatype} and cannot be classified");
                    InferError::new(ErrorCode::InvalidParameter, message)
                })?
            }
        };
        outputs.push(OutputTensor { index, tensor });
    }
    Ok(outputs)
}

/// The highest `classes` values of the last axis, each as `value:index` or `value:index:label`, as
/// the classification extension of the protocol writes them. `None` for data types without an
/// order.
fn classify(tensor: &Tensor, classes: usize, labels: Option<&[String]>) -> Option<Tensor> {
    let shape = tensor.shape();
    let width = shape.last().copied().unwrap_or(1);
    let kept = classes.min(width);
    let texts: StringArray = with_element!(tensor.datatype(), T => {
        let values = tensor.to_vec::<T>()?;
        let mut texts = Vec::with_capacity(values.len());
        for row in values.chunks(width.max(1)) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|a, b| descending(&row[*a], &row[*b]));
            texts.extend(order.into_iter().take(kept).map(|index| match labels.and_then(|labels| labels.get(index)) {
                Some(label) => format!("{}:{index}:{label}", row[index]),
                None => format!("{}:{index}", row[index]),
            }));
        }
        texts.into_iter().collect()
    }, else => return None);
    let mut extents = shape.to_vec();
    match extents.last_mut() {
        Some(last) => *last = kept,
        None => extents.push(1),
    }
    Tensor::from_strings(tidegate_core::Shape::new(&extents).ok()?, texts).ok()
}

/// The higher value first; NaN, which has no order of its own, behind every number.
fn descending<T: PartialOrd>(one: &T, two: &T) -> Ordering {
    let is_nan = |value: &T| value.partial_cmp(value).is_none();
    two.partial_cmp(one)
        .unwrap_or_else(|| is_nan(one).cmp(&is_nan(two)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_the_highest_values_with_their_labels() {
        let shape = tidegate_core::Shape::new(&[2, 3]).unwrap();
        let tensor = Tensor::from_vec(shape, vec![0.1f32, 0.7, 0.2, 0.5, 0.25, 0.25]).unwrap();
        let labels = ["cat".to_owned(), "dog".to_owned()];
        let classes = classify(&tensor, 2, Some(&labels)).unwrap();
        assert_eq!(&classes.shape()[..], [2, 2]);
        let tidegate_core::TensorView::Strings(texts) = classes.view() else {
            panic!("classes are strings")
        };
        let texts: Vec<&str> = texts
            .iter()
            .map(|text| std::str::from_utf8(text).unwrap())
            .collect();
        assert_eq!(texts, ["0.7:1:dog", "0.2:2", "0.5:0:cat", "0.25:1:dog"]);
    }

    #[test]
    fn values_that_are_no_number_come_last_and_break_no_sort() {
        let value = |at: u16| {
            if at.is_multiple_of(3) {
                f32::NAN
            } else {
                f32::from(at * 7 % 64)
            }
        };
        let row: Vec<f32> = (0..64).map(value).collect();
        let shape = tidegate_core::Shape::new(&[1, row.len()]).unwrap();
        let numbers = row.iter().filter(|value| !value.is_nan()).count();
        let classes = classify(
            &Tensor::from_vec(shape, row.clone()).unwrap(),
            row.len(),
            None,
        )
        .unwrap();
        let tidegate_core::TensorView::Strings(texts) = classes.view() else {
            panic!("classes are strings")
        };
        let value = |text: &[u8]| -> f32 {
            std::str::from_utf8(text)
                .unwrap()
                .split(':')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        let values: Vec<f32> = texts.iter().map(value).collect();
        assert!(
            values[..numbers].is_sorted_by(|a, b| a >= b)
                && values[numbers..].iter().all(|value| value.is_nan())
        );
    }
}
