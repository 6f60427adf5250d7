//! Bundles out of MLflow model folders.

mod reconcile;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_core::{
    Column, DataType, DeclaredSignature, DeclaredTensor, Lineage, Manifest, Signature, WarmupSample,
};

use crate::bundle::{BundleFile, BundleLimits, walk};
use crate::{Bundle, Error, ErrorCode, Result};

const MODEL: &str = "MLmodel";
const SAMPLE: &str = "samples/input_example.json";
const MAX_TEXT_BYTES: u64 = 4 << 20;

/// The fields of the file `MLmodel` that are read.
#[derive(Debug, Deserialize)]
struct MlModel {
    flavors: BTreeMap<String, Value>,
    #[serde(default)]
    signature: Option<MlSignature>,
    #[serde(default)]
    saved_input_example_info: Option<MlExample>,
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default)]
    utc_time_created: Option<String>,
}

/// Both are JSON in YAML.
#[derive(Debug, Default, Deserialize)]
struct MlSignature {
    #[serde(default)]
    inputs: Option<String>,
    #[serde(default)]
    outputs: Option<String>,
}

#[derive(Debug, Deserialize)]
struct MlExample {
    artifact_path: String,
}

/// One column, or one tensor.
#[derive(Debug, Deserialize)]
struct MlField {
    #[serde(default)]
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, rename = "tensor-spec")]
    tensor: Option<MlTensor>,
}

#[derive(Debug, Deserialize)]
struct MlTensor {
    dtype: String,
    shape: Vec<i64>,
}

impl Bundle {
    /// Whether a folder is an MLflow model.
    pub fn is_mlflow(path: &Path) -> bool {
        path.join(MODEL).is_file()
    }

    /// Reads an MLflow model folder with the ONNX flavour: its signature becomes the declared one,
    /// its input example a warm-up sample, its run the lineage. `signature_of` reads an
    /// artifact's own, which goes before MLflow's. Also gives a line for each difference.
    ///
    /// # Errors
    /// [`ErrorCode::Unsupported`] names a flavour that is not served, else as [`Bundle::open`].
    pub fn open_mlflow(
        path: &Path,
        name: Option<&str>,
        limits: &BundleLimits,
        signature_of: impl FnOnce(&Path) -> Result<Signature>,
    ) -> Result<(Self, Vec<String>)> {
        let mut files = walk(path, limits)?;
        let text = read(path, MODEL)?;
        let model: MlModel =
            serde_saphyr::from_str(&text).map_err(|error| invalid(path, &error.to_string()))?;
        let artifact = artifact(&model.flavors)
            .map_err(|problem| Error::new(ErrorCode::Unsupported, problem))?;
        crate::bundle::check_path(&artifact, limits)?;
        let graph = signature_of(&path.join(&artifact))?;
        let inputs: Vec<String> = graph.inputs.iter().map(|spec| spec.name.clone()).collect();
        let mut signature = signature(model.signature.unwrap_or_default(), &inputs)
            .map_err(|problem| invalid(path, &problem))?;
        let differences = reconcile::reconcile(&mut signature, &graph);
        let mut warmup = Vec::new();
        if let Some(example) = model.saved_input_example_info
            && let Some(sample) = read_sample(path, &example.artifact_path, limits, &graph)?
        {
            files.push(BundleFile::made(SAMPLE, sample.to_string().into_bytes()));
            warmup.push(WarmupSample {
                file: SAMPLE.to_owned(),
            });
        }
        let manifest = Manifest {
            name: name.map_or_else(|| crate::bundle::folder_name(path), str::to_owned),
            artifact,
            signature,
            warmup,
            lineage: lineage(model.run_id, model.utc_time_created),
            ..Manifest::default()
        };
        // A `model.toml` of the folder would be taken in place of the manifest made here.
        files.retain(|file| file.path != crate::bundle::MANIFEST);
        Ok((Self::new(manifest, files, limits)?, differences))
    }
}

/// MLflow writes the time with a space where RFC 3339 has a `T`.
fn lineage(run_id: Option<String>, created: Option<String>) -> Lineage {
    Lineage {
        training_run: run_id.unwrap_or_default(),
        trained_at: created
            .map(|time| time.replacen(' ', "T", 1))
            .unwrap_or_default(),
        ..Lineage::default()
    }
}

/// The artifact of the ONNX flavour, or why there is none.
fn artifact(flavors: &BTreeMap<String, Value>) -> std::result::Result<String, String> {
    if let Some(onnx) = flavors.get("onnx") {
        let data = onnx
            .get("data")
            .and_then(Value::as_str)
            .unwrap_or("model.onnx");
        return Ok(data.to_owned());
    }
    let known = ["lightgbm", "xgboost", "sklearn", "pytorch", "tensorflow"];
    let found: Vec<&str> = flavors
        .keys()
        .map(String::as_str)
        // Every model has this one: it says how Python loads it, not what it is.
        .filter(|flavor| *flavor != "python_function")
        .collect();
    let hint = match found.iter().find(|flavor| known.contains(flavor)) {
        Some(flavor) => {
            format!("the flavour {flavor} is not served: log the model with mlflow.onnx too")
        }
        None => format!(
            "there is no flavour that is served, among {}",
            found.join(", ")
        ),
    };
    Err(format!("{MODEL}: {hint}"))
}

fn signature(
    signature: MlSignature,
    inputs: &[String],
) -> std::result::Result<DeclaredSignature, String> {
    let outputs = parse_fields(signature.outputs)?;
    // Columns of the output are how MLflow shows it, and not how the artifact names it.
    let outputs = outputs
        .into_iter()
        .filter_map(|field| declared(&field))
        .collect();
    let fields = parse_fields(signature.inputs)?;
    if fields.iter().any(|field| field.tensor.is_some()) {
        return Ok(DeclaredSignature {
            inputs: fields.iter().filter_map(declared).collect(),
            outputs,
        });
    }
    let inputs = match inputs {
        _ if fields.is_empty() => Vec::new(),
        // One input takes all columns of a row; several take one column each.
        [_] => vec![DeclaredTensor {
            columns: fields.iter().map(column).collect(),
            ..DeclaredTensor::default()
        }],
        _ => fields.iter().map(column_tensor).collect(),
    };
    Ok(DeclaredSignature { inputs, outputs })
}

/// The signature's fields, which MLflow keeps as JSON in a string.
fn parse_fields(text: Option<String>) -> std::result::Result<Vec<MlField>, String> {
    match text {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(&text).map_err(|error| format!("signature: {error}")),
    }
}

fn column(field: &MlField) -> Column {
    Column {
        name: field.name.clone(),
        ..Column::default()
    }
}

fn column_tensor(field: &MlField) -> DeclaredTensor {
    DeclaredTensor {
        name: field.name.clone(),
        datatype: datatype(&field.kind),
        ..DeclaredTensor::default()
    }
}

fn declared(field: &MlField) -> Option<DeclaredTensor> {
    let tensor = field.tensor.as_ref()?;
    Some(DeclaredTensor {
        name: field.name.clone(),
        datatype: datatype(&tensor.dtype),
        shape: Some(tensor.shape.clone()),
        ..DeclaredTensor::default()
    })
}

/// NumPy's names, and those of MLflow's columns.
fn datatype(name: &str) -> Option<DataType> {
    Some(match name {
        "bool" | "boolean" => DataType::Bool,
        "uint8" => DataType::Uint8,
        "uint16" => DataType::Uint16,
        "uint32" => DataType::Uint32,
        "uint64" => DataType::Uint64,
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "int32" | "integer" => DataType::Int32,
        "int64" | "long" => DataType::Int64,
        "float16" => DataType::Fp16,
        "float32" | "float" => DataType::Fp32,
        "float64" | "double" => DataType::Fp64,
        "object" | "str" | "string" | "binary" => DataType::Bytes,
        _ => return None,
    })
}

/// The saved input example; `None` if it lacks a value for an input.
fn read_sample(
    folder: &Path,
    file: &str,
    limits: &BundleLimits,
    graph: &Signature,
) -> Result<Option<Value>> {
    // The path is text of the model's file, and could lead out of the folder.
    crate::bundle::check_path(file, limits)?;
    let example: Value = serde_json::from_str(&read(folder, file)?)
        .map_err(|error| invalid(folder, &format!("{file}: {error}")))?;
    Ok(sample(&example, graph))
}

/// The input example in our form, if it has a value for every input of the artifact: a tensor, a
/// tensor for each input, or a data frame as pandas' `split` writes it.
fn sample(example: &Value, graph: &Signature) -> Option<Value> {
    let values = ["inputs", "instances", "dataframe_split", "data"];
    let values = values.iter().find_map(|key| example.get(*key));
    let values = values.unwrap_or(example);
    let frame = [example, values]
        .into_iter()
        .find(|frame| frame.get("columns").is_some());
    let mut inputs = Vec::new();
    for spec in &graph.inputs {
        let data = match (values, frame) {
            (_, Some(frame)) if graph.inputs.len() > 1 => column_of(frame, &spec.name)?,
            (_, Some(frame)) => frame.get("data")?.clone(),
            (Value::Object(fields), None) => fields.get(&spec.name)?.clone(),
            (Value::Array(_), None) if graph.inputs.len() == 1 => values.clone(),
            _ => return None,
        };
        let (name, datatype, shape) = (&spec.name, spec.datatype.name(), shape(&data));
        inputs.push(json!({"name": name, "datatype": datatype, "shape": shape, "data": data}));
    }
    Some(json!({"inputs": inputs}))
}

/// The values of one column of a data frame, one a row.
fn column_of(frame: &Value, name: &str) -> Option<Value> {
    let columns = frame.get("columns")?.as_array()?;
    let at = columns.iter().position(|column| column == name)?;
    let rows = frame.get("data")?.as_array()?;
    let values: Option<Vec<Value>> = rows.iter().map(|row| Some(json!([row.get(at)?]))).collect();
    values.map(Value::from)
}

/// The extents of nested arrays, by their first elements.
fn shape(value: &Value) -> Vec<usize> {
    match value.as_array() {
        None => Vec::new(),
        Some(elements) => std::iter::once(elements.len())
            .chain(elements.first().into_iter().flat_map(shape))
            .collect(),
    }
}

fn read(folder: &Path, file: &str) -> Result<String> {
    let path = folder.join(file);
    let length = std::fs::metadata(&path)
        .map_err(|error| Error::file(&path, &error))?
        .len();
    if length > MAX_TEXT_BYTES {
        let problem = format!(
            "{} has {length} bytes, at most {MAX_TEXT_BYTES} are read",
            path.display()
        );
        return Err(Error::new(ErrorCode::TooLarge, problem));
    }
    std::fs::read_to_string(&path).map_err(|error| Error::file(&path, &error))
}

fn invalid(path: &Path, problem: &str) -> Error {
    Error::new(
        ErrorCode::InvalidBundle,
        format!("{}: {problem}", path.join(MODEL).display()),
    )
}

#[cfg(test)]
mod tests;
