//! Which columns of a file are those of an input.

use tidegate_core::TensorSpec;
use tidegate_serving::Version;

use crate::input::{Columns, InputFile};

/// The columns of an input; `None` for one that may be left out, and is.
pub(super) fn columns_of(
    version: &Version,
    spec: &TensorSpec,
    file: &InputFile,
    given: &[String],
) -> Result<Option<Vec<String>>, String> {
    let is_only = version.signature().inputs.len() == 1;
    if is_only && !given.is_empty() {
        return present(given.to_vec(), "--columns names", file).map(Some);
    }
    let declared = declared_columns(version, spec, is_only);
    if file.columns.find(&spec.name)?.is_some() && (declared.is_empty() || !is_open(file)) {
        return Ok(Some(vec![spec.name.clone()]));
    }
    if !declared.is_empty() {
        let by = format!("model.toml declares for input \"{}\"", spec.name);
        return present(declared, &by, file).map(Some);
    }
    if spec.optional {
        return Ok(None);
    }
    let hint = match is_only {
        true => "; model.toml may declare its columns ([signature]), or --columns may name them",
        false => "; model.toml may declare its columns ([signature])",
    };
    let listed = file.columns.listed();
    Err(format!(
        "has no column \"{}\" for the input of this name; it has {listed}{hint}",
        spec.name
    ))
}

fn is_open(file: &InputFile) -> bool {
    matches!(file.columns, Columns::Open)
}

fn present(names: Vec<String>, by: &str, file: &InputFile) -> Result<Vec<String>, String> {
    for name in &names {
        if file.columns.find(name)?.is_none() {
            let listed = file.columns.listed();
            return Err(format!(
                "has no column \"{name}\", which {by}; it has {listed}"
            ));
        }
    }
    Ok(names)
}

fn declared_columns(version: &Version, spec: &TensorSpec, is_only: bool) -> Vec<String> {
    let declared = version.plan().manifest.signature.inputs.iter();
    let mut of_input =
        declared.filter(|tensor| tensor.name == spec.name || (is_only && tensor.name.is_empty()));
    let columns = of_input.next().map_or(&[][..], |tensor| &tensor.columns);
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    // Columns may be declared by their units alone.
    match names.iter().any(String::is_empty) {
        true => Vec::new(),
        false => names,
    }
}
