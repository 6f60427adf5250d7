//! A request to begin with, for people who try a version.

use serde_json::{Value, json};
use tidegate_core::{Category, Column, DataType, DeclaredTensor, Dim, Signature, TensorSpec};

use crate::{VersionPlan, check, source};

/// Most bytes of a bundle's sample that is handed out.
const MAX_FILE_BYTES: u64 = 256 << 10;
/// Most elements of an input that are made up.
const MAX_ELEMENTS: usize = 4096;

/// A request that a version takes, as the Open Inference Protocol's JSON has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestSample {
    /// `{"inputs": […]}`.
    pub body: Value,
    /// The bundle's file that has it; `None` if it is made from the signature.
    pub file: Option<String>,
}

impl RequestSample {
    /// The first sample of a version's bundle that can be read; else zeros as the signature says,
    /// one row of them.
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
        from_bundle.unwrap_or_else(|| Self::made_from(signature, &plan.manifest.signature.inputs))
    }

    fn made_from(signature: &Signature, declared: &[DeclaredTensor]) -> Self {
        let needed = signature.inputs.iter().filter(|spec| !spec.optional);
        let input = |spec: &TensorSpec| {
            let declared = declared
                .iter()
                .find(|declared| declared.name == spec.name || signature.inputs.len() == 1);
            made_up(spec, declared.map_or(&[], |declared| &declared.columns))
        };
        Self {
            body: json!({ "inputs": needed.map(input).collect::<Vec<_>>() }),
            file: None,
        }
    }
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

/// One row of an input, or the least that its shape allows.
fn made_up(spec: &TensorSpec, columns: &[Column]) -> Value {
    let shape: Vec<usize> = match &spec.dims {
        Some(dims) => dims
            .iter()
            .map(|dim| {
                if let Dim::Fixed(extent) = dim {
                    *extent
                } else {
                    1
                }
            })
            .collect(),
        None => vec![1],
    };
    let count = shape
        .iter()
        .try_fold(1usize, |count, extent| count.checked_mul(*extent))
        .unwrap_or(usize::MAX);
    let width = shape.last().copied().unwrap_or(1).max(1);
    // Columns that are not those of the last axis say nothing of its elements.
    let columns = if columns.len() == width { columns } else { &[] };
    let element = |at: usize| value(spec.datatype, columns.get(at % width));
    let data: Vec<Value> = if count <= MAX_ELEMENTS {
        (0..count).map(element).collect()
    } else {
        Vec::new()
    };
    json!({ "name": spec.name, "shape": shape, "datatype": spec.datatype.name(), "data": data })
}

/// Nothing, or what a column has that is nearest to nothing.
fn value(datatype: DataType, column: Option<&Column>) -> Value {
    let category = column.and_then(|column| column.categories.first());
    let nearest = || {
        let (min, max) = column.map_or((None, None), |column| (column.min, column.max));
        0f64.max(min.unwrap_or(f64::MIN))
            .min(max.unwrap_or(f64::MAX))
    };
    match (datatype, category) {
        (DataType::Bytes, Some(Category::Text(text))) => json!(text),
        (DataType::Bytes, _) => json!("text"),
        (DataType::Bool, _) => json!(false),
        (
            DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64,
            Some(Category::Number(number)),
        ) => {
            json!(number)
        }
        (_, Some(Category::Integer(number))) => json!(number),
        (DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64, _)
            if nearest().fract() != 0.0 =>
        {
            json!(nearest())
        }
        _ => json!(nearest().ceil() as i64),
    }
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
    fn one_row_is_made_of_the_signature() {
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
    fn a_large_input_is_left_to_whoever_sends_it() {
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
    fn an_input_that_may_be_left_out_is() {
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
