//! Columns as inputs of the engine, and as fields of the answer.

use tidegate_core::{DataType, Dim, EngineInputSpec, ResponseFieldSpec, Signature, TensorSpec};

use super::names::Names;
use crate::answer::ResponseField;
use crate::error::{CompileError, listed};
use crate::program::{Kind, Source};
use crate::tensors::{EngineInput, InputForm};

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
    if let Some(tensor) = sources.iter().find(|source| source.kind == Kind::Tensor) {
        check_tensor(input, tensor, sources.len())?;
        return Ok(EngineInput {
            name: input.name.clone(),
            datatype: input.datatype,
            form: InputForm::Tensor,
            sources,
        });
    }
    check_kinds(input.datatype, &sources)?;
    let width = sources.len();
    let form = match input.dims.as_deref() {
        None | Some([Dim::Any, Dim::Any]) => InputForm::Columns,
        Some([Dim::Any, Dim::Fixed(wanted)]) if *wanted == width => InputForm::Columns,
        Some([Dim::Any]) if width == 1 => InputForm::Values,
        Some(_) => {
            let shape = input.wire_shape();
            let problem = format!("it has the shape {shape:?}, and there are {width} columns");
            return Err(CompileError::new(problem));
        }
    };
    Ok(EngineInput {
        name: input.name.clone(),
        datatype: input.datatype,
        form,
        sources,
    })
}

/// Refuses a tensor that an input cannot take. Extents that only a request tells are checked with it.
fn check_tensor(input: &TensorSpec, source: &Source, count: usize) -> Result<(), CompileError> {
    let name = &source.name;
    let Some(element) = source.element.as_deref().filter(|_| count == 1) else {
        let problem = format!("the tensor \"{name}\" must be its only column");
        return Err(CompileError::new(problem));
    };
    if element.datatype != input.datatype {
        let (wanted, found) = (input.datatype, element.datatype);
        let problem = format!("it takes {wanted}, and the tensor \"{name}\" has {found}");
        return Err(CompileError::new(problem));
    }
    let (Some(wanted), Some(dims)) = (&input.dims, &element.dims) else {
        return Ok(());
    };
    let fits = match wanted.split_first() {
        Some((Dim::Any, wanted)) if wanted.len() == dims.len() => wanted
            .iter()
            .zip(dims)
            .all(|(wanted, dim)| fits(wanted, dim)),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let shape = input.wire_shape();
    let dims: Vec<i64> = dims.iter().map(|dim| dim.to_wire()).collect();
    let problem =
        format!("it has the shape {shape:?}, and a row of the tensor \"{name}\" has {dims:?}");
    Err(CompileError::new(problem))
}

fn fits(wanted: &Dim, dim: &Dim) -> bool {
    match (wanted, dim) {
        (Dim::Fixed(wanted), Dim::Fixed(found)) => wanted == found,
        _ => true,
    }
}

fn check_kinds(datatype: DataType, sources: &[Source]) -> Result<(), CompileError> {
    let wants_text = datatype == DataType::Bytes;
    for source in sources {
        let fits = match source.kind {
            Kind::Text => wants_text,
            Kind::Time | Kind::Bytes | Kind::Tensor => false,
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
