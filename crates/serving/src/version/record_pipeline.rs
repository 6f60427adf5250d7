//! The pipeline of a version, compiled when it is loaded.

use std::path::Path;

use tidegate_core::{Dim, Manifest, Signature, TensorSpec};
use tidegate_pipeline::{BundleFiles, Pipeline};
use tracing::warn;

use super::{Version, VersionPlan};
use crate::{RequestedOutput, check, source};

/// Larger files of a pipeline are not read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// The pipeline of a version, held against its files and the signature of its artifact; `None`
/// if its manifest has none.
///
/// # Errors
/// What does not fit, by name.
pub fn compile(plan: &VersionPlan, signature: &Signature) -> Result<Option<Pipeline>, String> {
    let Some(spec) = &plan.manifest.pipeline else {
        return Ok(None);
    };
    let folder = check::folder(plan);
    let mut files = BundleFiles::new();
    for file in spec.files() {
        files.insert(file.to_owned(), read_file(&folder, file)?);
    }
    let signature = narrowed(signature, &plan.manifest);
    let pipeline =
        Pipeline::compile(spec, &files, &signature).map_err(|error| error.to_string())?;
    if !pipeline.unused().is_empty() {
        let unused = pipeline.unused().join(", ");
        warn!(
            model = plan.manifest.name,
            version = plan.number,
            unused,
            "nothing uses these"
        );
    }
    Ok(Some(pipeline))
}

impl Version {
    /// The outputs that its pipeline takes; none without a pipeline.
    pub fn pipeline_outputs(&self) -> Vec<RequestedOutput> {
        let mut wanted = Vec::new();
        for place in self.pipeline.iter().flat_map(|pipeline| pipeline.outputs()) {
            wanted.push(RequestedOutput {
                name: self.signature.outputs[place].name.clone(),
                classes: 0,
            });
        }
        wanted
    }
}

fn read_file(folder: &Path, file: &str) -> Result<Vec<u8>, String> {
    let path = source::inside(folder, file).map_err(|error| error.to_string())?;
    let length = std::fs::metadata(&path)
        .map_err(|error| error.to_string())?
        .len();
    if length > MAX_FILE_BYTES {
        return Err(format!(
            "{file} has {length} bytes, at most {MAX_FILE_BYTES} are read"
        ));
    }
    std::fs::read(&path).map_err(|error| format!("{file}: {error}"))
}

/// The signature with the extents that only the manifest knows: how many columns an output has.
fn narrowed(signature: &Signature, manifest: &Manifest) -> Signature {
    let mut narrowed = signature.clone();
    for declared in &manifest.signature.outputs {
        let Some(shape) = &declared.shape else {
            continue;
        };
        let is_only = narrowed.outputs.len() == 1 && declared.name.is_empty();
        for output in &mut narrowed.outputs {
            if is_only || output.name == declared.name {
                narrow(output, shape);
            }
        }
    }
    narrowed
}

fn narrow(output: &mut TensorSpec, shape: &[i64]) {
    let declared = shape.iter().map(|extent| Dim::from_wire(*extent));
    match &mut output.dims {
        None => output.dims = Some(declared.collect()),
        Some(dims) if dims.len() == shape.len() => {
            for (dim, declared) in dims.iter_mut().zip(declared) {
                if *dim == Dim::Any {
                    *dim = declared;
                }
            }
        }
        // The check of the signature says what is wrong.
        Some(_) => {}
    }
}
