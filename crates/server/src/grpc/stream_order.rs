//! The order of requests of one sequence in a stream.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use tidegate_protocol::inference::ModelInferRequest;
use tidegate_protocol::inference::infer_parameter::ParameterChoice;
use tidegate_serving::{ErrorCode, InferError, Serving};
use tokio::sync::oneshot;

/// So many sequences are remembered before those that are done are looked for.
const MAX_REMEMBERED: usize = 256;

/// The last request of each sequence in a stream. The requests of a stream are handled at the same
/// time, and one that takes longer to decode must not be overtaken within its sequence.
#[derive(Default)]
pub(super) struct StreamOrder {
    /// By a hash of model, version and id: ids are as long as their client wants.
    last: HashMap<u64, oneshot::Receiver<bool>>,
    hasher: RandomState,
}

/// The place of a request among those of its sequence.
pub(super) struct StreamPlace {
    before: Option<oneshot::Receiver<bool>>,
    after: oneshot::Sender<bool>,
    is_start: bool,
}

impl StreamOrder {
    /// The place of a request that has arrived; `None` if it belongs to no sequence, or the model keeps
    /// no states.
    pub(super) fn join(
        &mut self,
        serving: &Serving,
        message: &ModelInferRequest,
    ) -> Option<StreamPlace> {
        let parameters = &message.parameters;
        let id = parameters.get("sequence_id")?.parameter_choice.as_ref()?;
        let (model, version) = (&message.model_name, &message.model_version);
        if !serving.may_keep_states(
            model,
            Some(version.as_str()).filter(|text| !text.is_empty()),
        ) {
            return None;
        }
        if self.last.len() >= MAX_REMEMBERED {
            self.last.retain(|_, last| is_waiting(last));
        }
        let (after, follower) = oneshot::channel();
        let key = self.hasher.hash_one((model, version, format!("{id:?}")));
        let before = self.last.insert(key, follower);
        let start = parameters.get("sequence_start");
        let start = start.and_then(|start| start.parameter_choice.as_ref());
        Some(StreamPlace {
            before: before.and_then(|mut before| is_waiting(&mut before).then_some(before)),
            after,
            is_start: matches!(start, Some(ParameterChoice::BoolParam(true))),
        })
    }
}

impl StreamPlace {
    /// Waits for the request before.
    ///
    /// # Errors
    /// If it has failed, and this one does not begin anew.
    pub(super) async fn wait(&mut self) -> Result<(), InferError> {
        let Some(before) = self.before.take() else {
            return Ok(());
        };
        let is_answered = before.await.unwrap_or(false);
        if is_answered || self.is_start {
            return Ok(());
        }
        let message = "an earlier request of the sequence in this stream failed: send it again, then \
                       this one";
        Err(InferError::new(ErrorCode::SequenceInterrupted, message))
    }

    /// The request is answered, or has failed.
    pub(super) fn finish(self, is_answered: bool) {
        // Most often no other one waits.
        let _ = self.after.send(is_answered);
    }
}

fn is_waiting(last: &mut oneshot::Receiver<bool>) -> bool {
    last.try_recv() == Err(oneshot::error::TryRecvError::Empty)
}
