//! A sample request, for people who try a version.

use serde_json::{Value, json};
use tidegate_core::{Category, Column, DataType, DeclaredTensor, Dim, Signature, TensorSpec};

use crate::sample::{self, AnySample};
use crate::{VersionPlan, check, source};

/// Larger samples of a bundle are not handed out, in bytes.
const MAX_FILE_BYTES: u64 = 256 << 10;
/// Larger inputs are left empty, in elements: nobody edits that many by hand.
const MAX_ELEMENTS: usize = 4096;

/// A request that a version accepts, as JSON of the Open Inference Protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestSample {
    /// `{"inputs": […]}`.
    pub body: Value,
    /// The file of the bundle that it is from; `None` if it is made from the signature.
    pub file: Option<String>,
}

impl RequestSample {
    /// The first sample in the version's bundle that can be read, else one row of zeros that fits
    /// the signature.
    pub(crate) fn of(plan: &VersionPlan, signature: &Signature) -> Self {
        let warmup = plan.manifest.warmup.iter().map(|sample| &sample.file);
        let golden = plan.manifest.golden.iter().map(|sample| &sample.file);
        let from_bundle = warmup.chain(golden).find_map(|file| {
            let inputs = inputs(plan, file)?;
            Some(Self {
                body: json!({ "inputs": inputs }),
                file: Some(file.clone()),
            })
        });
        let declared = &plan.manifest.signature.inputs;
        let mut sample = from_bundle.unwrap_or_else(|| Self::made_from(signature, declared));
        if plan.manifest.sequences.is_some() {
            sample.make_sequence(signature);
        }
        sample
    }

    /// Makes it the only request of a sequence, without the inputs that the server sets.
    fn make_sequence(&mut self, signature: &Signature) {
        if let Some(inputs) = self.body["inputs"].as_array_mut() {
            let names = signature.inputs.iter().map(|spec| spec.name.as_str());
            let names: Vec<&str> = names.collect();
            inputs.retain(|input| {
                input["name"]
                    .as_str()
                    .is_some_and(|name| names.contains(&name))
            });
        }
        self.body["parameters"] =
            json!({ "sequence_id": 1, "sequence_start": true, "sequence_end": true });
    }

    fn made_from(signature: &Signature, declared: &[DeclaredTensor]) -> Self {
        let required = signature.inputs.iter().filter(|spec| !spec.optional);
        // The only input may be declared without a name.
        let is_only = signature.inputs.len() == 1;
        let inputs: Vec<Value> = required
            .map(|spec| made_up(spec, columns_of(&spec.name, is_only, declared)))
            .collect();
        Self {
            body: json!({ "inputs": inputs }),
            file: None,
        }
    }
}

fn columns_of<'a>(input: &str, is_only: bool, declared: &'a [DeclaredTensor]) -> &'a [Column] {
    declared
        .iter()
        .find(|declared| declared.name == input || is_only)
        .map_or(&[], |declared| &declared.columns)
}

/// The records of the first sample in the version's bundle that has any.
pub(crate) fn records(plan: &VersionPlan) -> Option<Value> {
    let warmup = plan.manifest.warmup.iter().map(|sample| &sample.file);
    let mut files = warmup.chain(plan.manifest.golden.iter().map(|sample| &sample.file));
    files.find_map(|file| match sample::read(&check::folder(plan), file) {
        Ok(AnySample::Records(sample)) if sample.body.len() <= MAX_FILE_BYTES as usize => {
            serde_json::from_slice(&sample.body).ok()
        }
        _ => None,
    })
}

/// The inputs of a sample's file.
fn inputs(plan: &VersionPlan, file: &str) -> Option<Value> {
    let path = source::inside(&check::folder(plan), file).ok()?;
    if std::fs::metadata(&path).ok()?.len() > MAX_FILE_BYTES {
        return None;
    }
    let mut sample: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    sample.get_mut("inputs").map(Value::take)
}

/// One row of an input, or the smallest that its shape allows.
fn made_up(spec: &TensorSpec, columns: &[Column]) -> Value {
    let shape: Vec<usize> = match &spec.dims {
        Some(dims) => dims.iter().map(smallest_extent).collect(),
        None => vec![1],
    };
    let mut extents = shape.iter();
    let count = extents.try_fold(1usize, |count, extent| count.checked_mul(*extent));
    let width = shape.last().copied().unwrap_or(1).max(1);
    // Columns that are not those of the last axis say nothing about its elements.
    let columns = if columns.len() == width { columns } else { &[] };
    let data: Vec<Value> = match count {
        Some(count) if count <= MAX_ELEMENTS => (0..count)
            .map(|at| value(spec.datatype, columns.get(at % width)))
            .collect(),
        _ => Vec::new(),
    };
    json!({ "name": spec.name, "shape": shape, "datatype": spec.datatype.name(), "data": data })
}

fn smallest_extent(dim: &Dim) -> usize {
    match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Any => 1,
    }
}

/// The column's first category, else the value in its range that is nearest to zero.
fn value(datatype: DataType, column: Option<&Column>) -> Value {
    let category = column.and_then(|column| column.categories.first());
    let nearest = nearest_to_zero(column);
    match (datatype, category) {
        (DataType::Bytes, Some(Category::Text(text))) => json!(text),
        (DataType::Bytes, _) => json!("text"),
        (DataType::Bool, _) => json!(false),
        (_, Some(Category::Number(number))) if is_float(datatype) => json!(number),
        (_, Some(Category::Integer(number))) => json!(number),
        _ if is_float(datatype) && nearest.fract() != 0.0 => json!(nearest),
        // Rounded up, as rounding down could leave the column's range.
        _ => json!(nearest.ceil() as i64),
    }
}

fn nearest_to_zero(column: Option<&Column>) -> f64 {
    let (min, max) = column.map_or((None, None), |column| (column.min, column.max));
    0f64.max(min.unwrap_or(f64::MIN))
        .min(max.unwrap_or(f64::MAX))
}

fn is_float(datatype: DataType) -> bool {
    matches!(
        datatype,
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(datatype: DataType, dims: Option<Vec<Dim>>) -> TensorSpec {
        TensorSpec {
            name: "x".to_owned(),
            datatype,
            dims,
            optional: false,
        }
    }

    #[test]
    fn one_row_is_made_from_the_signature() {
        let columns = [
            Column {
                min: Some(3.5),
                ..Column::default()
            },
            Column {
                categories: vec![Category::Integer(7)],
                ..Column::default()
            },
        ];
        let row = made_up(
            &spec(DataType::Fp32, Some(vec![Dim::Any, Dim::Fixed(2)])),
            &columns,
        );
        assert_eq!(
            row,
            json!({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [3.5, 7]})
        );
        let texts = made_up(&spec(DataType::Bytes, None), &columns);
        assert_eq!(
            texts,
            json!({"name": "x", "shape": [1], "datatype": "BYTES", "data": ["text"]})
        );
    }

    #[test]
    fn a_large_input_is_left_empty() {
        let large = made_up(
            &spec(
                DataType::Int8,
                Some(vec![Dim::Fixed(usize::MAX), Dim::Fixed(3)]),
            ),
            &[],
        );
        assert_eq!(large["data"], json!([]));
    }

    #[test]
    fn an_optional_input_is_left_out() {
        let optional = TensorSpec {
            optional: true,
            ..spec(DataType::Fp32, None)
        };
        let signature = Signature {
            inputs: vec![optional],
            outputs: Vec::new(),
        };
        assert_eq!(
            RequestSample::made_from(&signature, &[]).body,
            json!({"inputs": []})
        );
    }

    #[test]
    fn a_sample_of_the_bundle_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.onnx"), "").unwrap();
        std::fs::write(
            folder.path().join("one.json"),
            r#"{"inputs": [{"name": "x"}], "outputs": [1]}"#,
        )
        .unwrap();
        let mut manifest = tidegate_core::Manifest::default();
        for file in ["absent.json", "one.json"] {
            manifest.warmup.push(tidegate_core::WarmupSample {
                file: file.to_owned(),
            });
        }
        let plan = VersionPlan::new(manifest, folder.path().join("model.onnx"));
        let sample = RequestSample::of(&plan, &Signature::default());
        assert_eq!(
            sample,
            RequestSample {
                body: json!({"inputs": [{"name": "x"}]}),
                file: Some("one.json".to_owned())
            }
        );
    }
}
