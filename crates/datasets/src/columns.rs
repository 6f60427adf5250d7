//! The columns of a data set: those that all its captured files have together, and the labels.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray,
    new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::QualityTask;

use crate::{DatasetError, GivenLabel, LabelTarget, truth};

pub(crate) const PREDICTION_ID: &str = "prediction_id";
pub(crate) const ROW: &str = "row";
pub(crate) const TIME: &str = "time";
pub(crate) const TENANT: &str = "tenant";
pub(crate) const OUTCOME: &str = "outcome";

/// Captured columns that say what a row is, in the order of the data set.
const ABOUT: [&str; 6] = [PREDICTION_ID, ROW, TIME, "model", "model_version", TENANT];
/// The columns that are not captured: the label, and when it came true.
pub const JOINED_COLUMNS: [&str; 2] = ["label", "label_time"];

/// What the column `label` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelKind {
    /// Numbers.
    Number,
    /// `true` or `false`.
    Truth,
    /// Names of classes.
    Class,
    /// The labels as they were sent, as JSON: the versions are of several kinds, or nobody knows which.
    Text,
}

impl LabelKind {
    /// The kind that all these versions have.
    pub(crate) fn of<'t>(mut targets: impl Iterator<Item = Option<&'t LabelTarget>>) -> Self {
        let Some(first) = targets.next().map(Self::of_one) else {
            return Self::Text;
        };
        match targets.all(|target| Self::of_one(target) == first) {
            true => first,
            false => Self::Text,
        }
    }

    fn of_one(target: Option<&LabelTarget>) -> Self {
        match target.map(|target| target.task) {
            Some(QualityTask::Number) => Self::Number,
            Some(QualityTask::Probability) => Self::Truth,
            Some(QualityTask::Classes) => Self::Class,
            None => Self::Text,
        }
    }

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Truth => "truth",
            Self::Class => "class",
            Self::Text => "text",
        }
    }

    /// A label in the form of the column; `None` if it cannot be used.
    pub(crate) fn value(self, target: Option<&LabelTarget>, label: &Value) -> Option<Value> {
        match self {
            Self::Number => label.is_number().then(|| label.clone()),
            Self::Truth => truth(label).map(Value::Bool),
            Self::Class => target?.class(label).map(Value::String),
            Self::Text => Some(Value::String(label.to_string())),
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Number => DataType::Float64,
            Self::Truth => DataType::Boolean,
            Self::Class | Self::Text => DataType::Utf8,
        }
    }

    fn column(self, values: &[Option<Value>]) -> ArrayRef {
        let values = values.iter().map(Option::as_ref);
        match self {
            Self::Number => Arc::new(
                values
                    .map(|value| value?.as_f64())
                    .collect::<Float64Array>(),
            ),
            Self::Truth => Arc::new(
                values
                    .map(|value| value?.as_bool())
                    .collect::<BooleanArray>(),
            ),
            Self::Class | Self::Text => {
                Arc::new(values.map(|value| value?.as_str()).collect::<StringArray>())
            }
        }
    }
}

/// The columns of captured files, collected one file after the other.
#[derive(Debug, Default)]
pub(crate) struct ColumnSurvey {
    types: BTreeMap<String, DataType>,
}

impl ColumnSurvey {
    /// Adds the columns of a file.
    pub(crate) fn add(&mut self, schema: &Schema) -> Result<(), DatasetError> {
        for field in schema.fields() {
            let (name, found) = (field.name(), field.data_type());
            let merged = match self.types.get(name) {
                None => found.clone(),
                Some(known) => merged(known, found).ok_or_else(|| {
                    DatasetError::Refused(format!(
                        "the column {name} is {known} in some captured files and {found} in others: \
                         choose a version, or a shorter time"
                    ))
                })?,
            };
            self.types.insert(name.clone(), merged);
        }
        Ok(())
    }

    /// Leaves out the columns whose names are private; which those are.
    pub(crate) fn leave_out(&mut self, is_private: impl Fn(&str) -> bool) -> Vec<String> {
        let names = self.types.keys().filter(|column| {
            let name = column.split_once('.').map(|(_, name)| name);
            name.is_some_and(&is_private)
        });
        let names: Vec<String> = names.cloned().collect();
        for name in &names {
            self.types.remove(name);
        }
        names
    }

    /// The columns of the data set: what a row is, its label, and the values by name.
    pub(crate) fn schema(self, label: LabelKind) -> SchemaRef {
        let mut types = self.types;
        let mut fields = Vec::new();
        for name in ABOUT {
            fields.extend(types.remove(name).map(|kind| (name.to_owned(), kind)));
        }
        let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        let joined = JOINED_COLUMNS.map(str::to_owned);
        fields.extend(joined.into_iter().zip([label.data_type(), time]));
        fields.extend(types.into_iter().filter(|(name, _)| name.contains('.')));
        let fields = fields.into_iter();
        let fields = fields.map(|(name, kind)| Field::new(name, kind, true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// The type that has the values of both.
fn merged(one: &DataType, two: &DataType) -> Option<DataType> {
    match (one, two) {
        (one, two) if one == two => Some(one.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (one, two) if one.is_numeric() && two.is_numeric() => Some(DataType::Float64),
        _ => None,
    }
}

/// Captured rows with their labels, in the columns of a data set. Columns that a file lacks are empty.
pub(crate) fn with_labels(
    rows: &RecordBatch,
    labels: &[Option<(Value, i64)>],
    kind: LabelKind,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let values: Vec<Option<Value>> = labels
        .iter()
        .map(|label| Some(label.as_ref()?.0.clone()))
        .collect();
    let times = labels.iter().map(|label| Some(label.as_ref()?.1));
    let times: TimestampMillisecondArray = times.collect();
    let [label, label_time] = JOINED_COLUMNS;
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name().as_str();
        columns.push(match rows.column_by_name(name) {
            _ if name == label => kind.column(&values),
            _ if name == label_time => Arc::new(times.clone().with_timezone("UTC")),
            None => new_null_array(field.data_type(), rows.num_rows()),
            Some(column) => arrow_cast::cast(column, field.data_type())?,
        });
    }
    RecordBatch::try_new(schema.clone(), columns)
}

/// A label with its time, in the form of the column; whether it could not be used.
pub(crate) fn usable(
    given: Option<&GivenLabel>,
    kind: LabelKind,
    target: Option<&LabelTarget>,
) -> (Option<(Value, i64)>, bool) {
    let Some(given) = given else {
        return (None, false);
    };
    let value = kind.value(target, &given.label);
    let is_unusable = value.is_none();
    (value.map(|value| (value, given.at_ms)), is_unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        let fields = fields.iter();
        let fields = fields.map(|(name, kind)| Field::new(*name, kind.clone(), true));
        Schema::new(fields.collect::<Vec<_>>())
    }

    #[test]
    fn columns_of_all_files_are_in_one_order() {
        let mut survey = ColumnSurvey::default();
        let id = (PREDICTION_ID, DataType::Utf8);
        let number = |name| (name, DataType::Float64);
        survey
            .add(&schema(&[
                id.clone(),
                number("field.b"),
                number("latency_us"),
            ]))
            .unwrap();
        survey
            .add(&schema(&[
                ("field.a", DataType::Int64),
                id,
                ("field.b", DataType::Int64),
            ]))
            .unwrap();
        let left_out = survey.leave_out(|name| name == "b");
        assert_eq!(left_out, ["field.b"]);
        let schema = survey.schema(LabelKind::Class);
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|one| one.name().as_str())
            .collect();
        assert_eq!(names, [PREDICTION_ID, "label", "label_time", "field.a"]);
    }

    #[test]
    fn numbers_of_two_types_become_one_and_texts_are_no_numbers() {
        let mut survey = ColumnSurvey::default();
        survey
            .add(&schema(&[("field.a", DataType::Int64)]))
            .unwrap();
        survey
            .add(&schema(&[("field.a", DataType::Float32)]))
            .unwrap();
        assert_eq!(survey.types["field.a"], DataType::Float64);
        let error = survey
            .add(&schema(&[("field.a", DataType::Utf8)]))
            .unwrap_err();
        assert!(error.to_string().contains("field.a is Float64"), "{error}");
    }
}
