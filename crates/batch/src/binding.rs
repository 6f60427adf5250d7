//! Which columns of a file become which inputs of the version, by name.

mod cells;
mod fields;
mod input_columns;
mod tensors;

use std::collections::BTreeMap;

pub(crate) use self::fields::FieldBinding;
pub(crate) use self::tensors::TensorBinding;
use crate::error::{BatchError, Result};
use crate::input::{InputFile, Projection};
use crate::version::ScoringVersion;

/// How the columns of one file are bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileBinding {
    /// The columns to read.
    pub(crate) projection: Projection,
    pub(crate) inputs: BoundInputs,
}

/// What the bound columns become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BoundInputs {
    /// The fields of the version's pipeline.
    Fields(FieldBinding),
    /// The inputs of its signature.
    Tensors(TensorBinding),
}

/// Rows that cannot be bound, with the reason of each; by their place in the batch.
pub(crate) type BadPlaces = BTreeMap<usize, String>;

impl FileBinding {
    /// Binds the columns of a file. `columns` names those of the only input, where nothing else does.
    pub(crate) fn new(
        version: &ScoringVersion,
        file: &InputFile,
        columns: &[String],
        kept: Vec<String>,
    ) -> Result<Self> {
        let version = version.version();
        let mut bound = Vec::new();
        let inputs = match version.pipeline() {
            Some(pipeline) => {
                FieldBinding::new(pipeline, file, &mut bound).map(BoundInputs::Fields)
            }
            None => {
                TensorBinding::new(version, file, columns, &mut bound).map(BoundInputs::Tensors)
            }
        };
        Ok(Self {
            inputs: inputs.map_err(|problem| BatchError::input(&file.path, problem))?,
            projection: Projection { bound, kept },
        })
    }

    /// A line for each input: what it is bound to.
    pub(crate) fn describe(&self) -> Vec<(String, String)> {
        match &self.inputs {
            BoundInputs::Fields(fields) => fields.describe(),
            BoundInputs::Tensors(tensors) => tensors.describe(&self.projection.bound),
        }
    }
}
