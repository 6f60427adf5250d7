//! The steps from the queue to the outputs that the client asked for.

use tidegate_gateway::CacheOutcome;

use super::postprocess::postprocess;
use crate::scheduler::{AllowedTime, Work};
use crate::{InferError, OutputTensor, RequestTrace, Timing, Version};

/// What a run gave.
#[derive(Clone, Debug)]
pub struct Executed {
    /// In the order asked for, or of the signature.
    pub outputs: Vec<OutputTensor>,
    /// Where the time went.
    pub timing: Timing,
}

impl Executed {
    /// The same as an answer: a run that was made for another request takes no time of this one.
    pub(super) fn answering(self, outcome: CacheOutcome) -> Self {
        match outcome {
            CacheOutcome::Miss | CacheOutcome::Bypass => self,
            _ => Self {
                timing: Timing::default(),
                ..self
            },
        }
    }

    /// Bytes of all outputs.
    pub(super) fn bytes(&self) -> usize {
        self.outputs
            .iter()
            .map(|output| output.tensor.byte_len())
            .sum()
    }
}

/// Schedules work, runs it, and picks the outputs that were asked for.
pub(super) async fn execute(
    version: &Version,
    work: Work,
    wanted: &[(usize, usize)],
    allowed: Option<AllowedTime>,
    trace: Option<&RequestTrace>,
) -> Result<Executed, InferError> {
    let scheduler = version.scheduler();
    let submitted = match version.remote() {
        None => scheduler.submit(work).await,
        Some(remote) => remote.run(work, trace).await,
    };
    let completed = submitted.map_err(|error| scheduler.explain_deadline(error, allowed))?;
    Ok(Executed {
        timing: completed.timing,
        outputs: postprocess(version, completed.outputs, wanted)?,
    })
}
