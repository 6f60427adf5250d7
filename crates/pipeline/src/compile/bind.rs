//! Columns as inputs of the engine, and as fields of the answer.

use tidegate_core::{DataType, Dim, EngineInputSpec, ResponseFieldSpec, Signature, TensorSpec};

use super::names::Names;
use crate::answer::ResponseField;
use crate::error::{CompileError, listed};
use crate::program::{Kind, Source};
use crate::tensors::EngineInput;

/// The columns that each input of the model takes.
pub(super) fn inputs(
    specs: &[EngineInputSpec],
    signature: &Signature,
    names: &mut Names,
) -> Result<Vec<EngineInput>, CompileError> {
    for (at, spec) in specs.iter().enumerate() {
        if !signature.inputs.iter().any(|input| input.name == spec.name) {
            let known = listed(signature.inputs.iter().map(|input| input.name.as_str()));
            let problem = format!(
                "[[pipeline.inputs]] has \"{}\", the model has the inputs {known}",
                spec.name
            );
            return Err(CompileError::new(problem));
        }
        if specs[..at].iter().any(|other| other.name == spec.name) {
            let problem = format!("[[pipeline.inputs]] has \"{}\" twice", spec.name);
            return Err(CompileError::new(problem));
        }
    }
    let mut inputs = Vec::with_capacity(signature.inputs.len());
    for input in &signature.inputs {
        let spec = specs.iter().find(|spec| spec.name == input.name);
        let own = [input.name.clone()];
        let columns = match spec {
            Some(spec) => spec.columns.as_slice(),
            None if names.has(&input.name) => &own,
            None if input.optional => continue,
            None => {
                let problem = format!(
                    "input \"{}\" of the model takes nothing: name its columns in \
                     [[pipeline.inputs]]",
                    input.name
                );
                return Err(CompileError::new(problem));
            }
        };
        let place = format!("input \"{}\" of the model", input.name);
        inputs.push(bind(input, columns, names).map_err(|error| error.at(&place))?);
    }
    Ok(inputs)
}

fn bind(
    input: &TensorSpec,
    columns: &[String],
    names: &mut Names,
) -> Result<EngineInput, CompileError> {
    let mut sources = Vec::new();
    for column in columns {
        sources.extend(names.find(column)?);
    }
    check_kinds(input.datatype, &sources)?;
    let width = sources.len();
    let rank = match input.dims.as_deref() {
        None | Some([Dim::Any, Dim::Any]) => 2,
        Some([Dim::Any, Dim::Fixed(wanted)]) if *wanted == width => 2,
        Some([Dim::Any]) if width == 1 => 1,
        Some(_) => {
            let shape = input.wire_shape();
            let problem = format!("it has the shape {shape:?}, and there are {width} columns");
            return Err(CompileError::new(problem));
        }
    };
    Ok(EngineInput {
        name: input.name.clone(),
        datatype: input.datatype,
        has_columns: rank == 2,
        sources,
    })
}

fn check_kinds(datatype: DataType, sources: &[Source]) -> Result<(), CompileError> {
    let wants_text = datatype == DataType::Bytes;
    for source in sources {
        let fits = match source.kind {
            Kind::Text => wants_text,
            Kind::Time => false,
            _ => !wants_text,
        };
        if !fits {
            let (name, kind) = (&source.name, source.kind.name());
            let problem = format!("it takes {datatype}, and \"{name}\" is of type {kind}");
            return Err(CompileError::new(problem));
        }
    }
    Ok(())
}

/// What each field of the answer shows.
pub(super) fn response(
    specs: &[ResponseFieldSpec],
    signature: &Signature,
    names: &mut Names,
) -> Result<Vec<ResponseField>, CompileError> {
    if specs.is_empty() {
        let outputs = signature.outputs.iter();
        return outputs
            .map(|output| field(&output.name, &output.name, names))
            .collect();
    }
    let mut fields: Vec<ResponseField> = Vec::with_capacity(specs.len());
    for spec in specs {
        if fields.iter().any(|field| field.name == spec.name) {
            let problem = format!("[[pipeline.response]] has \"{}\" twice", spec.name);
            return Err(CompileError::new(problem));
        }
        fields.push(field(
            &spec.name,
            spec.from.as_deref().unwrap_or(&spec.name),
            names,
        )?);
    }
    Ok(fields)
}

fn field(name: &str, from: &str, names: &mut Names) -> Result<ResponseField, CompileError> {
    let place = format!("field \"{name}\" of the answer");
    let sources = names.find(from).map_err(|error| error.at(&place))?;
    Ok(ResponseField::new(name, sources))
}
