//! Labels and the predictions that they are of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type};
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow_cast::cast;
use arrow_schema::DataType;
use tidegate_capture::{CaptureFolder, PartitionKey};
use tidegate_datasets::{GivenLabel, LabelTarget, label_of};
use tidegate_serving::prediction_ms;
use tidegate_store::{Feedback, Store};
use uuid::Uuid;

use super::columns::{PREDICTION_ID, ROW, TENANT};
use super::counts::{AccuracyCounts, Answered};
use super::estimate::{Estimated, Reference, Sample};
use super::read_files;
use super::rows::output_column;

/// Labels that are in memory at once.
pub(crate) const PAGE: i64 = 200_000;
/// The same while a reference is looked for, which needs the earliest alone.
const SAMPLED_PAGE: i64 = 20_000;

/// Values of a segment that are told apart; the others are counted together.
const MAX_SEGMENTS: usize = 50;
/// The name of the further ones.
const FURTHER: &str = "(further values)";
/// The name of rows without a value.
const MISSING: &str = "(missing)";

/// Labelled predictions, all together and by the values of a column.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) all: AccuracyCounts,
    pub(super) segments: BTreeMap<String, AccuracyCounts>,
}

/// Labels by prediction and row.
pub(crate) type Labels = HashMap<(Uuid, u32), Vec<GivenLabel>>;

/// What the rows of a version are compared with.
#[derive(Clone)]
pub(super) struct Comparison {
    /// What labels are compared with.
    pub(super) target: LabelTarget,
    /// What estimates rest on, if there is something.
    pub(super) reference: Option<Arc<Reference>>,
}

/// Counts the predictions of a partition, and their labels; by the values of a column too, if one is
/// named. Reads the partition once for each page of labels, so that any number of them takes bounded
/// memory.
///
/// # Errors
/// Why the labels or the predictions cannot be read.
pub(super) async fn count(
    store: &Store,
    folder: &CaptureFolder,
    key: &PartitionKey,
    comparison: &Comparison,
    segment: Option<&str>,
) -> Result<Counted, String> {
    let mut pages = LabelPages::new(store, key, PAGE);
    let mut counted = Counted::default();
    let mut is_first = true;
    while let Some(labels) = pages.next().await? {
        let (folder, key, compared) = (folder.clone(), key.clone(), comparison.clone());
        let segment = segment.map(str::to_owned);
        let counting =
            read_files(move || count_page(&folder, &key, &compared, segment.as_deref(), &labels));
        let mut page = counting.await?;
        if !is_first {
            page.forget_predictions(comparison.reference.as_deref());
        }
        counted.merge(&page);
        is_first = false;
    }
    Ok(counted)
}

/// Labelled predictions of a partition.
#[derive(Default)]
pub(super) struct Samples {
    /// Those whose answers are probabilities.
    pub(super) usable: Vec<Sample>,
    /// All that were looked at.
    pub(super) labelled: usize,
}

/// The earliest labelled predictions of a partition: until so many that are wanted have been looked at, or
/// somewhat more.
///
/// # Errors
/// Why the labels or the predictions cannot be read.
pub(super) async fn samples(
    store: &Store,
    folder: &CaptureFolder,
    key: &PartitionKey,
    target: &LabelTarget,
    wanted: usize,
) -> Result<Samples, String> {
    let mut pages = LabelPages::new(store, key, SAMPLED_PAGE);
    let mut samples = Samples::default();
    while let Some(labels) = pages.next().await? {
        if labels.is_empty() || samples.is_enough(wanted) {
            break;
        }
        let (folder, key, target) = (folder.clone(), key.clone(), target.clone());
        let sampling = read_files(move || sample_page(&folder, &key, &target, &labels));
        samples.extend(sampling.await?);
    }
    Ok(samples)
}

impl Samples {
    /// Whether there are so many, or it is clear that none will come.
    pub(super) fn is_enough(&self, wanted: usize) -> bool {
        self.usable.len() >= wanted || self.are_no_probabilities(wanted)
    }

    /// Whether of so many answers none was of probabilities.
    pub(super) fn are_no_probabilities(&self, wanted: usize) -> bool {
        self.usable.is_empty() && self.labelled >= wanted
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.usable.extend(more.usable);
        self.labelled += more.labelled;
    }
}

/// The labels of the predictions of a partition, so many at a time, from the earliest prediction on.
pub(crate) struct LabelPages<'a> {
    store: &'a Store,
    key: &'a PartitionKey,
    size: i64,
    after: Option<(String, i64, String)>,
    is_over: bool,
}

impl<'a> LabelPages<'a> {
    /// Pages of so many labels.
    pub(crate) fn new(store: &'a Store, key: &'a PartitionKey, size: i64) -> Self {
        Self {
            store,
            key,
            size,
            after: None,
            is_over: false,
        }
    }

    /// The next page; the first one is there even if it is empty.
    ///
    /// # Errors
    /// Why the labels cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Labels>, String> {
        if self.is_over {
            return Ok(None);
        }
        let from = self.after.as_ref();
        let from = from.map(|(id, row, tenant)| (id.as_str(), *row, tenant.as_str()));
        let time_ms = milliseconds(self.key);
        let reading = self
            .store
            .feedback(&self.key.endpoint, time_ms, from, self.size);
        let page = reading.await.map_err(|error| error.to_string())?;
        self.is_over = (page.len() as i64) < self.size;
        self.after = page
            .last()
            .map(|last| (last.prediction_id.clone(), last.row, last.tenant.clone()));
        Ok(Some(by_prediction(page)))
    }
}

impl Counted {
    pub(super) fn merge(&mut self, other: &Self) {
        self.all.merge(&other.all);
        for (value, counts) in &other.segments {
            self.segment(value).merge(counts);
        }
    }

    /// They were counted with the first page of labels.
    fn forget_predictions(&mut self, reference: Option<&Reference>) {
        if let (Some(estimated), Some(reference)) = (&mut self.all.estimated, reference) {
            estimated.forget_answers(reference);
        }
        let segments = self.segments.values_mut();
        for counts in segments.chain([&mut self.all]) {
            counts.predictions = 0;
        }
    }

    fn segment(&mut self, value: &str) -> &mut AccuracyCounts {
        let is_known = self.segments.contains_key(value);
        let name = match is_known || self.segments.len() < MAX_SEGMENTS {
            true => value,
            false => FURTHER,
        };
        self.segments.entry(name.to_owned()).or_default()
    }
}

/// The time of the predictions of a partition, in milliseconds since 1970.
pub(super) fn milliseconds(key: &PartitionKey) -> std::ops::Range<i64> {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    ms(key.hour.begin_ms())..ms(key.hour.end_ms())
}

fn by_prediction(page: Vec<Feedback>) -> Labels {
    let mut labels = Labels::new();
    for one in page {
        let (Ok(id), Ok(row), Ok(label)) = (
            one.prediction_id.parse::<Uuid>(),
            u32::try_from(one.row),
            serde_json::from_str(&one.label),
        ) else {
            continue;
        };
        labels.entry((id, row)).or_default().push(GivenLabel {
            tenant: one.tenant,
            label,
            at_ms: one.event_ms.unwrap_or(one.received_ms),
        });
    }
    labels
}

fn count_page(
    folder: &CaptureFolder,
    key: &PartitionKey,
    comparison: &Comparison,
    segment: Option<&str>,
    labels: &Labels,
) -> Result<Counted, tidegate_capture::CaptureError> {
    let output = output_column(&comparison.target.output);
    let mut columns = vec![PREDICTION_ID, ROW, TENANT, output.as_str()];
    columns.extend(segment);
    let mut counted = Counted::default();
    let reference = comparison.reference.as_deref();
    counted.all.estimated = reference.map(|reference| Box::new(Estimated::new(reference)));
    for batch in folder.read(key, Some(&columns))? {
        let batch = batch?;
        counted.all.predictions += batch.num_rows() as u64;
        let segments = segment.map(|name| segment_values(&batch, name));
        for value in segments.iter().flatten() {
            counted.segment(value).predictions += 1;
        }
        // Rows of failed requests have no outputs, and no labels either.
        let Some(rows) = BatchRows::of(&batch, &output) else {
            continue;
        };
        if let (Some(estimated), Some(reference)) = (&mut counted.all.estimated, reference) {
            rows.estimate(reference, estimated);
        }
        if !labels.is_empty() {
            rows.count(comparison, labels, segments.as_deref(), &mut counted);
        }
    }
    Ok(counted)
}

fn sample_page(
    folder: &CaptureFolder,
    key: &PartitionKey,
    target: &LabelTarget,
    labels: &Labels,
) -> Result<Samples, tidegate_capture::CaptureError> {
    let output = output_column(&target.output);
    let columns = [PREDICTION_ID, ROW, TENANT, output.as_str()];
    let mut samples = Samples::default();
    for batch in folder.read(key, Some(&columns))? {
        let batch = batch?;
        let Some(rows) = BatchRows::of(&batch, &output) else {
            continue;
        };
        for at in 0..batch.num_rows() {
            if let Some((label, id)) = rows.label(at, labels)
                && let Some(answered) = rows.answers.row(at, &mut Vec::new())
            {
                let sample = Sample::new(target, &answered, &label.label, prediction_ms(id));
                samples.usable.extend(sample);
                samples.labelled += 1;
            }
        }
    }
    Ok(samples)
}

/// The value of each row in a column.
fn segment_values(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name);
    let rows = 0..batch.num_rows();
    rows.map(|row| match column {
        Some(column) if !column.is_null(row) => {
            arrow_cast::display::array_value_to_string(column, row).unwrap_or_default()
        }
        _ => MISSING.to_owned(),
    })
    .collect()
}

/// What is read of some rows.
struct BatchRows<'a> {
    ids: &'a StringArray,
    numbers: &'a UInt32Array,
    tenants: &'a StringArray,
    answers: Answers,
}

impl<'a> BatchRows<'a> {
    fn of(batch: &'a RecordBatch, output: &str) -> Option<Self> {
        Some(Self {
            ids: batch.column_by_name(PREDICTION_ID)?.as_string_opt()?,
            numbers: batch
                .column_by_name(ROW)?
                .as_primitive_opt::<UInt32Type>()?,
            tenants: batch.column_by_name(TENANT)?.as_string_opt()?,
            answers: Answers::new(batch.column_by_name(output)?)?,
        })
    }

    fn id(&self, at: usize) -> Option<Uuid> {
        self.ids.value(at).parse().ok()
    }

    /// The label of a row, with the id of its prediction.
    fn label<'l>(&self, at: usize, labels: &'l Labels) -> Option<(&'l GivenLabel, Uuid)> {
        let id = self.id(at)?;
        let given = labels.get(&(id, self.numbers.value(at)))?;
        Some((label_of(given, self.tenants.value(at))?, id))
    }

    /// Counts what is expected of the answers that came after the reference.
    fn estimate(&self, reference: &Reference, estimated: &mut Estimated) {
        for at in 0..self.ids.len() {
            let is_later = |id| reference.is_before(prediction_ms(id));
            if !self.id(at).is_some_and(is_later) {
                continue;
            }
            if let Some(answered) = self.answers.row(at, &mut Vec::new()) {
                estimated.add_answer(reference, &answered);
            }
        }
    }

    fn count(
        &self,
        comparison: &Comparison,
        labels: &Labels,
        segments: Option<&[String]>,
        counted: &mut Counted,
    ) {
        let target = &comparison.target;
        let reference = comparison.reference.as_deref();
        for at in 0..self.ids.len() {
            let Some((given, id)) = self.label(at, labels) else {
                continue;
            };
            let at_ms = prediction_ms(id);
            let predicted_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
            let delay_s = given.at_ms.saturating_sub(predicted_ms) as f64 / 1e3;
            let mut numbers = Vec::new();
            let Some(answered) = self.answers.row(at, &mut numbers) else {
                continue;
            };
            let label = &given.label;
            counted.all.add(target, &answered, label, delay_s);
            if let (Some(estimated), Some(reference)) = (&mut counted.all.estimated, reference)
                && reference.is_before(at_ms)
            {
                estimated.add_label(reference, &answered, label, delay_s);
            }
            if let Some(segments) = segments {
                let counts = counted.segment(&segments[at]);
                counts.add(target, &answered, label, delay_s);
            }
        }
    }
}

/// The values of an output.
enum Answers {
    Texts(StringArray),
    Single(Float64Array),
    Lists(arrow_array::ListArray),
}

impl Answers {
    fn new(column: &ArrayRef) -> Option<Self> {
        Some(match column.data_type() {
            DataType::Utf8 => Self::Texts(column.as_string_opt()?.clone()),
            DataType::List(_) => Self::Lists(column.as_list_opt()?.clone()),
            _ => Self::Single(numbers(column)?),
        })
    }

    fn row<'a>(&'a self, at: usize, buffer: &'a mut Vec<f64>) -> Option<Answered<'a>> {
        match self {
            Self::Texts(texts) => (!texts.is_null(at)).then(|| Answered::Text(texts.value(at))),
            Self::Single(values) => {
                buffer.push((!values.is_null(at)).then(|| values.value(at))?);
                Some(Answered::Numbers(buffer))
            }
            Self::Lists(lists) => {
                if lists.is_null(at) {
                    return None;
                }
                let values = numbers(&lists.value(at))?;
                // A text is no number, and no 0 either.
                if values.null_count() > 0 {
                    return None;
                }
                buffer.extend_from_slice(values.values());
                Some(Answered::Numbers(buffer))
            }
        }
    }
}

fn numbers(column: &ArrayRef) -> Option<Float64Array> {
    let numbers = cast(column, &DataType::Float64).ok()?;
    Some(numbers.as_primitive_opt::<Float64Type>()?.clone())
}
