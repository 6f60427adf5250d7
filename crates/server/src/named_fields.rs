//! Requests of the Open Inference Protocol whose inputs are the fields of a pipeline.

use std::sync::Arc;

use tidegate_core::{Signature, Tensor};
use tidegate_pipeline::Pipeline;
use tidegate_serving::{ErrorCode, InferError, InferResponse, Received, RequestedOutput, Version};

use crate::features::Features;
use crate::rest::{RecordBody, RecordRun, not_loaded};

/// The parameter that says whether inputs are fields, where names alone do not.
pub(crate) const PIPELINE: &str = "pipeline";

/// The inputs of a request, if they are fields.
#[derive(Default)]
pub(crate) struct NamedFields {
    /// What the request says of its inputs.
    is_asked: Option<bool>,
    /// Boxed: requests of tensors need not carry the place for it.
    run: Option<Box<FieldsRun>>,
}

struct FieldsRun {
    /// The fields as they came: each version that may answer reads them by its own pipeline.
    body: RecordBody,
    wanted: Vec<RequestedOutput>,
    run: RecordRun,
}

impl NamedFields {
    pub(crate) fn new(is_asked: Option<bool>) -> Self {
        Self {
            is_asked,
            run: None,
        }
    }

    /// Whether the inputs are the tensors of the version, as most are: nothing has to be done.
    #[inline]
    pub(crate) fn are_tensors(&self, version: Option<&Arc<Version>>) -> bool {
        let is_plain = self.run.is_none() && self.is_asked != Some(true);
        is_plain && version.is_none_or(|version| version.pipeline().is_none())
    }

    /// Makes the inputs of a version of fields, if those of the request are fields.
    ///
    /// # Errors
    /// If names do not tell what the inputs are, or a field cannot be used.
    pub(crate) async fn before(
        &mut self,
        received: &mut Received,
        version: Option<&Arc<Version>>,
        features: &Features,
    ) -> Result<(), InferError> {
        let Some(version) = version else {
            return self.before_constant();
        };
        let Some(pipeline) = version.pipeline() else {
            return self.before_tensors(version);
        };
        if self.run.is_none() && !self.are_fields(&received.request.inputs, version, pipeline)? {
            return Ok(());
        }
        // Boxed for the same reason as the run.
        Box::pin(self.before_fields(received, version, pipeline, features)).await
    }

    /// An answer of the configuration goes through the pipeline of the version that has failed.
    fn before_constant(&self) -> Result<(), InferError> {
        match (self.is_asked, &self.run) {
            (Some(true), None) => Err(not_loaded()),
            _ => Ok(()),
        }
    }

    fn before_tensors(&self, version: &Version) -> Result<(), InferError> {
        let code = match (self.is_asked, &self.run) {
            // The client did not name a version that is a fallback.
            (_, Some(_)) => ErrorCode::NotReady,
            (Some(true), None) => ErrorCode::NoPipeline,
            _ => return Ok(()),
        };
        let (model, number) = (version.model(), version.number());
        let message = format!(
            "version {number} of \"{model}\" has no section [pipeline] in its model.toml, so its \
             inputs are tensors and no fields"
        );
        Err(InferError::new(code, message))
    }

    /// Whether inputs are fields. All of them are, or none.
    fn are_fields(
        &self,
        inputs: &[(String, Tensor)],
        version: &Version,
        pipeline: &Pipeline,
    ) -> Result<bool, InferError> {
        if let Some(is_asked) = self.is_asked {
            return Ok(is_asked);
        }
        let (mut field, mut tensor) = (None, None);
        for (name, _) in inputs {
            // A name of both is the tensor's, as it is for clients that know of no pipeline.
            if has_input(version.signature(), name) {
                tensor = Some(name);
            } else if pipeline.has_field(name) {
                field = Some(name);
            }
        }
        let (field, tensor) = match (field, tensor) {
            (Some(field), Some(tensor)) => (field, tensor),
            (field, _) => return Ok(field.is_some()),
        };
        let problem = format!(
            "input \"{field}\" is a field of the pipeline and \"{tensor}\" a tensor of the model; send \
             fields only, or tensors only"
        );
        Err(InferError::new(ErrorCode::MalformedRequest, problem))
    }

    async fn before_fields(
        &mut self,
        received: &mut Received,
        version: &Arc<Version>,
        pipeline: &Arc<Pipeline>,
        features: &Features,
    ) -> Result<(), InferError> {
        let fields = self.run.get_or_insert_with(|| {
            let request = &mut received.request;
            Box::new(FieldsRun {
                body: RecordBody::Tensors(std::mem::take(&mut request.inputs).into()),
                wanted: std::mem::take(&mut request.outputs),
                run: RecordRun::default(),
            })
        });
        // Before the model runs: an answer that cannot be had costs nothing.
        places(&fields.wanted, pipeline.tensor_signature())?;
        let (run, body) = (&mut fields.run, &fields.body);
        run.before(pipeline, body, received, version, features)
            .await
    }

    /// Whether the answer has fields in place of tensors.
    #[inline]
    pub(crate) fn have_run(&self) -> bool {
        self.run.is_some()
    }

    /// Makes the outputs of the answer of those of the model, if the inputs were fields.
    ///
    /// # Errors
    /// If a step cannot take an output, or a tensor cannot hold a value.
    pub(crate) async fn after(
        &mut self,
        response: InferResponse,
    ) -> Result<InferResponse, InferError> {
        match self.run.take() {
            None => Ok(response),
            Some(mut fields) => {
                let wanted = std::mem::take(&mut fields.wanted);
                Box::pin(fields.run.after_as_tensors(response, wanted)).await
            }
        }
    }
}

fn has_input(signature: &Signature, name: &str) -> bool {
    signature.inputs.iter().any(|input| input.name == name)
}

/// The places of the outputs that are asked for; all of them if none is named.
pub(crate) fn places(
    wanted: &[RequestedOutput],
    signature: &Signature,
) -> Result<Vec<usize>, InferError> {
    if wanted.is_empty() {
        return Ok((0..signature.outputs.len()).collect());
    }
    let mut places = Vec::with_capacity(wanted.len());
    for output in wanted {
        let name = &output.name;
        let place = signature.output(name)?;
        if output.classes > 0 {
            let message = format!("output \"{name}\" is a field of the pipeline, without classes");
            return Err(InferError::new(ErrorCode::InvalidParameter, message));
        }
        if places.contains(&place) {
            let message = format!("output \"{name}\" is requested twice");
            return Err(InferError::new(ErrorCode::MalformedRequest, message));
        }
        places.push(place);
    }
    Ok(places)
}
