//! Labels and the predictions that they are of.

use std::collections::{BTreeMap, HashMap};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type};
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use tidegate_capture::{CaptureFolder, PartitionKey};
use tidegate_datasets::{GivenLabel, LabelTarget, label_of};
use tidegate_serving::prediction_ms;
use tidegate_store::{Feedback, Store};
use uuid::Uuid;

use super::columns::{PREDICTION_ID, ROW, TENANT};
use super::counts::{AccuracyCounts, Answered};
use super::read_files;
use super::rows::output_column;

/// Labels that are in memory at once.
const PAGE: i64 = 200_000;

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
    target: &LabelTarget,
    segment: Option<&str>,
) -> Result<Counted, String> {
    let mut counted = Counted::default();
    let mut is_first = true;
    let mut pages = LabelPages::of(key);
    while let Some(labels) = pages.next(store).await? {
        let (folder, key, target) = (folder.clone(), key.clone(), target.clone());
        let segment = segment.map(str::to_owned);
        let counting =
            read_files(move || count_page(&folder, &key, &target, segment.as_deref(), &labels));
        let mut page = counting.await?;
        if !is_first {
            page.forget_predictions();
        }
        counted.merge(&page);
        is_first = false;
    }
    Ok(counted)
}

/// The labels of the predictions of a partition, so many at a time that any number of them takes bounded
/// memory.
pub(crate) struct LabelPages {
    key: PartitionKey,
    /// The last row of the page before.
    after: Option<(String, i64, String)>,
    is_over: bool,
}

impl LabelPages {
    pub(crate) fn of(key: &PartitionKey) -> Self {
        Self {
            key: key.clone(),
            after: None,
            is_over: false,
        }
    }

    /// The next page; the first one comes also if there are no labels.
    ///
    /// # Errors
    /// Why the labels cannot be read.
    pub(crate) async fn next(&mut self, store: &Store) -> Result<Option<Labels>, String> {
        if self.is_over {
            return Ok(None);
        }
        let from = self.after.as_ref();
        let from = from.map(|(id, row, tenant)| (id.as_str(), *row, tenant.as_str()));
        let time_ms = milliseconds(&self.key);
        let page = store
            .feedback(&self.key.endpoint, time_ms, from, PAGE)
            .await;
        let page = page.map_err(|error| error.to_string())?;
        self.is_over = page.len() < PAGE as usize;
        self.after = page.last().map(|last| {
            let Feedback {
                prediction_id,
                row,
                tenant,
                ..
            } = last;
            (prediction_id.clone(), *row, tenant.clone())
        });
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
    fn forget_predictions(&mut self) {
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
    target: &LabelTarget,
    segment: Option<&str>,
    labels: &Labels,
) -> Result<Counted, tidegate_capture::CaptureError> {
    let output = output_column(&target.output);
    let mut columns = vec![PREDICTION_ID, ROW, TENANT, output.as_str()];
    columns.extend(segment);
    let mut counted = Counted::default();
    for batch in folder.read(key, Some(&columns))? {
        let batch = batch?;
        counted.all.predictions += batch.num_rows() as u64;
        let segments = segment.map(|name| segment_values(&batch, name));
        for value in segments.iter().flatten() {
            counted.segment(value).predictions += 1;
        }
        if !labels.is_empty() {
            let columns = BatchColumns {
                batch: &batch,
                output: &output,
                segments: segments.as_deref(),
            };
            // Rows of failed requests have no outputs, and no labels either.
            let _ = columns.count(target, labels, &mut counted);
        }
    }
    Ok(counted)
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
struct BatchColumns<'a> {
    batch: &'a RecordBatch,
    output: &'a str,
    segments: Option<&'a [String]>,
}

impl BatchColumns<'_> {
    fn count(&self, target: &LabelTarget, labels: &Labels, counted: &mut Counted) -> Option<()> {
        let Self {
            batch,
            output,
            segments,
        } = self;
        let ids: &StringArray = batch.column_by_name(PREDICTION_ID)?.as_string_opt()?;
        let rows = batch
            .column_by_name(ROW)?
            .as_primitive_opt::<UInt32Type>()?;
        let tenants: &StringArray = batch.column_by_name(TENANT)?.as_string_opt()?;
        let answers = Answers::new(batch.column_by_name(output)?)?;
        for at in 0..batch.num_rows() {
            let Ok(id) = ids.value(at).parse::<Uuid>() else {
                continue;
            };
            let given = labels.get(&(id, rows.value(at)));
            let Some(given) = given.and_then(|given| label_of(given, tenants.value(at))) else {
                continue;
            };
            let predicted_ms = i64::try_from(prediction_ms(id)).unwrap_or(i64::MAX);
            let delay_s = given.at_ms.saturating_sub(predicted_ms) as f64 / 1e3;
            let mut numbers = Vec::new();
            if let Some(answered) = answers.row(at, &mut numbers) {
                counted.all.add(target, &answered, &given.label, delay_s);
                if let Some(segments) = segments {
                    let counts = counted.segment(&segments[at]);
                    counts.add(target, &answered, &given.label, delay_s);
                }
            }
        }
        Some(())
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
