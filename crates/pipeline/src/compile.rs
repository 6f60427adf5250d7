//! From a manifest, a state file and a signature to a pipeline that runs.

mod after;
mod audio;
mod before;
mod bind;
mod examples;
mod image;
mod lookup;
mod lower;
mod names;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::{PipelineSpec, Signature};

use self::names::Names;
pub(crate) use self::names::check_numbers;
use crate::error::CompileError;
use crate::field::Fields;
use crate::named_tensors::NamedTensors;
use crate::pipeline::Pipeline;
use crate::program::{Builder, Source};
use crate::state::State;
use crate::tensors::EngineOutput;
use crate::violations::FieldViolations;

/// The most steps of a pipeline.
const MAX_STEPS: usize = 4096;

/// What compiling needs at every step.
pub(super) struct Compiler<'a> {
    pub(super) names: Names,
    pub(super) builder: Builder,
    pub(super) state: &'a State,
    pub(super) files: &'a BundleFiles,
}

/// The files of a bundle that a pipeline reads ([`PipelineSpec::files`]), by name.
pub type BundleFiles = BTreeMap<String, Vec<u8>>;

/// The content of a file.
pub(super) fn file<'a>(files: &'a BundleFiles, name: &str) -> Result<&'a [u8], CompileError> {
    let content = files.get(name).map(Vec::as_slice);
    content.ok_or_else(|| CompileError::new(format!("the bundle has no file \"{name}\"")))
}

impl Pipeline {
    /// Checks a pipeline against its files and the signature of its model, and makes it ready
    /// to run.
    ///
    /// # Errors
    /// The first thing that does not fit, by name.
    pub fn compile(
        spec: &PipelineSpec,
        files: &BundleFiles,
        signature: &Signature,
    ) -> Result<Self, CompileError> {
        if spec.before.len() + spec.after.len() > MAX_STEPS {
            let problem = format!("it has more than {MAX_STEPS} steps");
            return Err(CompileError::new(problem));
        }
        let state = match &spec.state {
            Some(name) => {
                State::parse(file(files, name)?).map_err(|error| error.at("the state file"))?
            }
            None => State::default(),
        };
        let fields = Fields::new(spec)?;
        let complete = lookup::complete_fields(spec)?;
        let columns = complete.as_ref().unwrap_or(&fields);
        let violations = FieldViolations::new(columns);
        let mut compiler = Compiler {
            names: Names::default(),
            builder: Builder::after(columns.len()),
            state: &state,
            files,
        };
        for (register, field) in columns.iter().enumerate() {
            let source = Source::new(register, field.kind, field.name.clone());
            let definition = match register < fields.len() {
                true => format!("field \"{}\"", field.name),
                false => format!("looked-up feature \"{}\"", field.name),
            };
            compiler.names.define(&field.name, vec![source], definition);
        }
        let lookups = lookup::lookups(spec, &fields, &mut compiler.names)?;
        for (at, step) in spec.before.iter().enumerate() {
            let place = format!("step {} before the engine", at + 1);
            compiler.step(step).map_err(|error| error.at(&place))?;
        }
        let inputs = bind::inputs(&spec.inputs, signature, &mut compiler.names)?;
        let before = compiler.builder.take_program();
        let (outputs, definitions) = compiler.outputs(signature)?;
        for (at, step) in spec.after.iter().enumerate() {
            let place = format!("step {} after the engine", at + 1);
            compiler.step(step).map_err(|error| error.at(&place))?;
        }
        let response = bind::response(&spec.response, signature, &mut compiler.names)?;
        let after = compiler.builder.take_program();
        let is_used = |definition: &usize| compiler.names.is_used(*definition);
        let wanted = definitions.iter().map(is_used).collect();
        Ok(Self {
            violations: Arc::new(violations),
            named_tensors: NamedTensors::new(&fields, &response),
            columns: compiler.builder.columns(),
            memory: compiler.builder.memory(),
            is_sized_by_content: compiler.builder.is_sized_by_content(),
            unused: compiler.names.unused(),
            fields,
            complete,
            lookups,
            before,
            inputs,
            outputs,
            wanted,
            after,
            response,
        })
    }
}

impl Compiler<'_> {
    /// Defines the outputs of the engine as columns; gives the numbers of their definitions, too.
    fn outputs(
        &mut self,
        signature: &Signature,
    ) -> Result<(Vec<EngineOutput>, Vec<usize>), CompileError> {
        let mut outputs = Vec::with_capacity(signature.outputs.len());
        let mut definitions = Vec::with_capacity(signature.outputs.len());
        for spec in &signature.outputs {
            let output = EngineOutput::new(spec);
            let register = self.builder.reserve(output.width);
            let name: Arc<str> = spec.name.as_str().into();
            let first = Source {
                element: output.element.clone(),
                ..Source::new(register, output.kind, name)
            };
            let sources = (0..output.width).map(|column| Source {
                column,
                ..first.clone()
            });
            definitions.push(self.names.define_output(&spec.name, sources.collect())?);
            outputs.push(output);
        }
        Ok((outputs, definitions))
    }
}
