//! Labels and the predictions that they are of.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, UInt32Type};
use arrow_array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use serde_json::Value;
use tidegate_capture::{CaptureFolder, PartitionKey};
use tidegate_serving::prediction_ms;
use tidegate_store::{Feedback, Store};
use uuid::Uuid;

use super::counts::{AccuracyCounts, Answered};
use super::rows::{PREDICTION_ID, ROW, output_column};
use super::target::LabelTarget;

/// Labels that are in memory at once.
const PAGE: i64 = 200_000;

/// Labels by prediction and row.
type Labels = HashMap<(Uuid, u32), (Value, i64)>;

/// Counts the predictions of a partition, and their labels. Reads the partition once for each page of
/// labels, so that any number of them takes bounded memory.
///
/// # Errors
/// Why the labels or the predictions cannot be read.
pub(super) async fn count(
    store: &Store,
    folder: &CaptureFolder,
    key: &PartitionKey,
    target: &LabelTarget,
) -> Result<AccuracyCounts, String> {
    let time_ms = milliseconds(key);
    let mut counts = AccuracyCounts::default();
    let mut after: Option<(String, i64)> = None;
    let mut is_first = true;
    loop {
        let from = after.as_ref().map(|(id, row)| (id.as_str(), *row));
        let page = store
            .feedback(&key.endpoint, time_ms.clone(), from, PAGE)
            .await
            .map_err(|error| error.to_string())?;
        let is_last = page.len() < PAGE as usize;
        after = page
            .last()
            .map(|last| (last.prediction_id.clone(), last.row));
        let labels = by_prediction(page);
        let (folder, key, target) = (folder.clone(), key.clone(), target.clone());
        let counting = tokio::task::spawn_blocking(move || {
            count_page(&folder, &key, &target, &labels).map_err(|error| error.to_string())
        });
        let mut page = counting.await.map_err(|error| error.to_string())??;
        if !is_first {
            page.predictions = 0;
        }
        counts.merge(&page);
        is_first = false;
        if is_last {
            return Ok(counts);
        }
    }
}

/// The time of the predictions of a partition, in milliseconds since 1970.
pub(super) fn milliseconds(key: &PartitionKey) -> std::ops::Range<i64> {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    ms(key.hour.begin_ms())..ms(key.hour.end_ms())
}

fn by_prediction(page: Vec<Feedback>) -> Labels {
    let labels = page.into_iter().filter_map(|one| {
        let id: Uuid = one.prediction_id.parse().ok()?;
        let label = serde_json::from_str(&one.label).ok()?;
        let at_ms = one.event_ms.unwrap_or(one.received_ms);
        Some(((id, u32::try_from(one.row).ok()?), (label, at_ms)))
    });
    labels.collect()
}

fn count_page(
    folder: &CaptureFolder,
    key: &PartitionKey,
    target: &LabelTarget,
    labels: &Labels,
) -> Result<AccuracyCounts, tidegate_capture::CaptureError> {
    let output = output_column(&target.output);
    let columns = [PREDICTION_ID, ROW, output.as_str()];
    let mut counts = AccuracyCounts::default();
    for batch in folder.read(key, Some(&columns))? {
        let batch = batch?;
        counts.predictions += batch.num_rows() as u64;
        if !labels.is_empty() {
            // Rows of failed requests have no outputs, and no labels either.
            let _ = count_batch(&batch, &output, target, labels, &mut counts);
        }
    }
    Ok(counts)
}

fn count_batch(
    batch: &RecordBatch,
    output: &str,
    target: &LabelTarget,
    labels: &Labels,
    counts: &mut AccuracyCounts,
) -> Option<()> {
    let ids: &StringArray = batch.column_by_name(PREDICTION_ID)?.as_string_opt()?;
    let rows = batch
        .column_by_name(ROW)?
        .as_primitive_opt::<UInt32Type>()?;
    let answers = Answers::new(batch.column_by_name(output)?)?;
    for at in 0..batch.num_rows() {
        let Ok(id) = ids.value(at).parse::<Uuid>() else {
            continue;
        };
        let Some((label, at_ms)) = labels.get(&(id, rows.value(at))) else {
            continue;
        };
        let predicted_ms = i64::try_from(prediction_ms(id)).unwrap_or(i64::MAX);
        let delay_s = at_ms.saturating_sub(predicted_ms) as f64 / 1e3;
        let mut numbers = Vec::new();
        if let Some(answered) = answers.row(at, &mut numbers) {
            counts.add(target, &answered, label, delay_s);
        }
    }
    Some(())
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
                buffer.extend_from_slice(numbers(&lists.value(at))?.values());
                Some(Answered::Numbers(buffer))
            }
        }
    }
}

fn numbers(column: &ArrayRef) -> Option<Float64Array> {
    let numbers = cast(column, &DataType::Float64).ok()?;
    Some(numbers.as_primitive_opt::<Float64Type>()?.clone())
}
