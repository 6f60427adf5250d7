//! From captured predictions and their labels to the users of an experiment.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMillisecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, Float64Array, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use tidegate_capture::{CaptureError, CaptureFolder, Hour, PartitionKey};
use tidegate_datasets::label_of;
use tidegate_store::Store;
use uuid::Uuid;

use super::definition::ExperimentDefinition;
use super::users::UserTable;
use crate::quality::{LabelPages, Labels, PAGE, columns, read_files};

/// What is measured.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) definition: ExperimentDefinition,
    /// The predictions that count, in milliseconds since 1970: those of the time of the experiment.
    pub(super) time_ms: std::ops::Range<i64>,
    /// The labels of predictions before this time have come.
    pub(super) mature_ms: i64,
}

impl Measured {
    /// The users that this server has seen. Reads hour after hour, in memory for the users alone.
    ///
    /// # Errors
    /// Why predictions or labels cannot be read.
    pub(super) async fn users(
        &self,
        folder: &CaptureFolder,
        store: &Store,
    ) -> Result<UserTable, String> {
        let hour = |ms: i64| Hour::of_ms(u64::try_from(ms).unwrap_or(0));
        let (from, to) = (hour(self.time_ms.start), hour(self.time_ms.end));
        let (listed, endpoint) = (folder.clone(), self.definition.endpoint.clone());
        let partitions = read_files(move || listed.partitions_of(&endpoint, from, to)).await?;
        let mut table = UserTable::default();
        for partition in partitions {
            let mut pages = LabelPages::new(store, &partition.key, PAGE);
            let mut is_first = true;
            while let Some(labels) = pages.next().await? {
                let (measured, folder) = (self.clone(), folder.clone());
                let key = partition.key.clone();
                table = read_files(move || {
                    measured.add_partition(&folder, &key, (&labels, is_first), &mut table)?;
                    Ok(table)
                })
                .await?;
                is_first = false;
            }
        }
        Ok(table)
    }

    /// Adds the labels of a page, and the predictions themselves with the first one.
    fn add_partition(
        &self,
        folder: &CaptureFolder,
        key: &PartitionKey,
        (labels, is_first): (&Labels, bool),
        table: &mut UserTable,
    ) -> Result<(), CaptureError> {
        let mut wanted = columns::OF_EXPERIMENTS.to_vec();
        wanted.extend(self.definition.covariate.as_deref());
        for batch in folder.read(key, Some(&wanted))? {
            let batch = batch?;
            // Files without requests of the experiment lack its columns.
            if let Some(rows) = Rows::of(&batch, self.definition.covariate.as_deref()) {
                rows.add(self, (labels, is_first), table);
                table.bound();
            }
        }
        Ok(())
    }
}

/// The columns of some rows.
struct Rows<'a> {
    ids: &'a StringArray,
    rows: &'a arrow_array::UInt32Array,
    times: &'a arrow_array::TimestampMillisecondArray,
    tenants: &'a StringArray,
    outcomes: &'a StringArray,
    latencies: &'a arrow_array::UInt64Array,
    experiments: &'a StringArray,
    arms: &'a StringArray,
    users: &'a StringArray,
    covariates: Option<Float64Array>,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch, covariate: Option<&str>) -> Option<Self> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let column = |name: &str| batch.column_by_name(name);
        Some(Self {
            ids: text(columns::PREDICTION_ID)?,
            rows: column(columns::ROW)?.as_primitive_opt::<UInt32Type>()?,
            times: column(columns::TIME)?.as_primitive_opt::<TimestampMillisecondType>()?,
            tenants: text(columns::TENANT)?,
            outcomes: text(columns::OUTCOME)?,
            latencies: column(columns::LATENCY_US)?.as_primitive_opt::<UInt64Type>()?,
            experiments: text(columns::EXPERIMENT)?,
            arms: text(columns::ARM)?,
            users: text(columns::USER)?,
            covariates: covariate
                .and_then(column)
                .and_then(|column| cast(column, &DataType::Float64).ok())
                .and_then(|column| Some(column.as_primitive_opt::<Float64Type>()?.clone())),
        })
    }

    fn add(&self, measured: &Measured, (labels, is_first): (&Labels, bool), table: &mut UserTable) {
        let definition = &measured.definition;
        let label_metrics = definition.label_metrics().count();
        for at in 0..self.ids.len() {
            let time_ms = self.times.value(at);
            if self.experiments.value(at) != measured.name || !measured.time_ms.contains(&time_ms) {
                continue;
            }
            let user = u64::from_str_radix(self.users.value(at), 16);
            let (Ok(user), Some(arm)) = (user, definition.arm(self.arms.value(at))) else {
                continue;
            };
            let Some(sums) = table.of(user, arm, label_metrics) else {
                continue;
            };
            if is_first {
                if time_ms < sums.first_ms {
                    sums.first_ms = time_ms;
                    sums.covariate = self.covariate(at);
                }
                sums.predictions += 1;
                sums.mature += u32::from(time_ms < measured.mature_ms);
                sums.failed += u32::from(self.outcomes.value(at) != columns::ANSWERED);
                sums.latency_ms += self.latencies.value(at) as f64 / 1e3;
            }
            if time_ms >= measured.mature_ms {
                continue;
            }
            let Ok(id) = self.ids.value(at).parse::<Uuid>() else {
                continue;
            };
            let given = labels.get(&(id, self.rows.value(at)));
            let Some(given) = given.and_then(|given| label_of(given, self.tenants.value(at)))
            else {
                continue;
            };
            for (sums, metric) in sums.labels.iter_mut().zip(definition.label_metrics()) {
                if let Some(number) = metric.number(&given.label) {
                    sums.labelled += 1;
                    sums.positive += u32::from(number > 0.0);
                    sums.sum += number;
                }
            }
        }
    }

    fn covariate(&self, at: usize) -> Option<f64> {
        let values = self.covariates.as_ref()?;
        let value = (!values.is_null(at)).then(|| values.value(at))?;
        value.is_finite().then_some(value)
    }
}
