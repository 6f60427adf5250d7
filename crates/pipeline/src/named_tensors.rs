//! A pipeline as a model whose inputs are fields, and whose outputs are those of the answer.

use std::sync::Arc;

use tidegate_core::{DataType, Dim, Signature, Tensor, TensorSpec};

use crate::answer::{Answer, ResponseField};
use crate::field::Fields;
use crate::partial::BadRows;
use crate::program::Kind;
use crate::records::{self, Records};
use crate::{Pipeline, PipelineError};

/// The fields of a pipeline as tensors.
#[derive(Debug)]
pub(crate) struct NamedTensors {
    signature: Arc<Signature>,
    /// For each output of the signature, the place of its field in the answer.
    places: Vec<usize>,
}

impl NamedTensors {
    pub(crate) fn new(fields: &Fields, response: &[ResponseField]) -> Self {
        let inputs = fields.iter().map(|field| TensorSpec {
            name: field.name.to_string(),
            datatype: input_type(field.kind),
            dims: Some(vec![Dim::Any]),
            optional: field.is_optional,
        });
        let inputs = inputs.collect();
        let (mut outputs, mut places) = (Vec::new(), Vec::new());
        for (place, field) in response.iter().enumerate() {
            let Some((datatype, dims)) = field.tensor_form() else {
                continue;
            };
            places.push(place);
            outputs.push(TensorSpec {
                name: field.name.clone(),
                datatype,
                dims,
                optional: false,
            });
        }
        Self {
            signature: Arc::new(Signature { inputs, outputs }),
            places,
        }
    }
}

/// The type that clients are told; others are taken, too.
fn input_type(kind: Kind) -> DataType {
    match kind {
        Kind::Boolean => DataType::Bool,
        Kind::Time | Kind::Text | Kind::Bytes => DataType::Bytes,
        Kind::Number | Kind::Single | Kind::Integer | Kind::Tensor => DataType::Fp64,
    }
}

impl Pipeline {
    /// The fields as inputs, and the fields of the answer as outputs. A field of the answer that has
    /// values of several types is no output.
    pub fn tensor_signature(&self) -> &Arc<Signature> {
        &self.named_tensors.signature
    }

    /// Whether a request has a field of this name.
    pub fn has_field(&self, name: &str) -> bool {
        self.fields.find(name, 0).is_some()
    }

    /// Reads fields that come as tensors, one for each field.
    ///
    /// # Errors
    /// As [`Pipeline::read`] has them, and [`PipelineError::Datatype`] and [`PipelineError::Shape`].
    pub fn read_tensors(
        &self,
        inputs: &[(String, Tensor)],
        bad_rows: BadRows,
    ) -> Result<Records, PipelineError> {
        let read = records::read_tensors(inputs, &self.fields, &self.violations, bad_rows);
        self.counted(read)
    }

    /// What reading such tensors and running their records takes at most, in bytes.
    pub fn bytes_of_tensors_at_most(
        &self,
        inputs: &[(String, Tensor)],
        bad_rows: BadRows,
    ) -> usize {
        let tensors = inputs.iter().map(|(_, tensor)| tensor);
        let rows = tensors.clone().map(|tensor| tensor.shape().element_count());
        let bytes = tensors.map(Tensor::byte_len).sum();
        self.bytes_of_rows(rows.max().unwrap_or(0), bytes, bad_rows)
    }

    /// An output of [`Pipeline::tensor_signature`], by its place there.
    ///
    /// # Errors
    /// [`PipelineError::Form`] for a missing boolean, which no tensor can hold.
    pub fn answer_tensor(
        &self,
        answer: &Answer<'_>,
        output: usize,
    ) -> Result<Tensor, PipelineError> {
        answer.to_tensor(self.named_tensors.places[output])
    }
}
