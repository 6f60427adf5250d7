//! A cascade: a cheap version is asked first, and answers where it is confident.

use std::sync::Arc;

use tidegate_gateway::Authorized;

use super::exchange::{Exchange, Received};
use super::record::RequestRecord;
use crate::traffic::FirstOutcome;
use crate::{
    AnsweredBy, EndpointTraffic, ErrorCode, InferError, InferRequest, InferResponse,
    RunningCascade, Serving, Target,
};

impl Serving {
    /// Answers by the first version of the endpoint's cascade; `None` where the version of the weights has
    /// to, to which the request is left as it was.
    ///
    /// # Errors
    /// Where the client is at fault.
    pub(super) async fn ask_first<E: Exchange>(
        &self,
        traffic: &Arc<EndpointTraffic>,
        exchange: &mut E,
        authorized: &mut Authorized<Target>,
        record: &mut RequestRecord<'_>,
        received: &mut Received,
    ) -> Result<Option<InferResponse>, InferError> {
        let Some(cascade) = traffic.cascade().filter(|cascade| !cascade.is_stopped()) else {
            return Ok(None);
        };
        if !gives_output(&received.request, &cascade.cascade().output) {
            return Ok(None);
        }
        let headers = exchange.credentials().headers();
        let Some(chosen) = traffic.choose_first(authorized.caller(), headers) else {
            return Ok(None);
        };
        if self.cascade_problem(traffic, cascade).is_some() {
            return Ok(None);
        }
        record.request_bytes = received.memory.bytes();
        record.first_of_cascade = Some(Box::new(chosen));
        let outcome = self.attempt(exchange, authorized, record, received, None, None);
        let outcome = outcome.await;
        let (response, outcome) = match outcome {
            Ok(response) if is_confident(cascade, &response) => {
                (Some(response), FirstOutcome::Answered)
            }
            Ok(response) => {
                received.memory = response.memory;
                (None, FirstOutcome::Unsure)
            }
            Err(error) if lets_second_answer(error.code) => (None, FirstOutcome::Failed),
            Err(error) => return Err(error),
        };
        self.traffic().count_first(traffic, outcome);
        if response.is_none() {
            // The request stays as it was decoded: some wire forms can be read once only.
            let request_bytes = record.request_bytes;
            received
                .memory
                .resize(request_bytes, ErrorCode::MemoryFull)?;
            record.forget_first();
        }
        Ok(response)
    }

    /// Why the first version of a cascade cannot answer for those of the weights; `None` also while one of
    /// them is not loaded, which is no reason to load it.
    pub fn cascade_problem(
        &self,
        traffic: &EndpointTraffic,
        cascade: &RunningCascade,
    ) -> Option<String> {
        let loaded = |version: &str| {
            self.models()
                .version(traffic.endpoint(), Some(version))
                .ok()
        };
        let first = loaded(cascade.cascade().first.as_str())?;
        let others = traffic.policy().split().versions().iter();
        let mut others = others.filter_map(|other| loaded(other.version.as_str()));
        others.find_map(|other| cascade.problem(&first, &other))
    }
}

/// Whether the answer has the output that tells how confident it is. The names of classes may differ
/// between versions.
fn gives_output(request: &InferRequest, output: &str) -> bool {
    let mut outputs = request.outputs.iter();
    let asks_for_classes = request.outputs.iter().any(|one| one.classes > 0);
    request.outputs.is_empty() || (!asks_for_classes && outputs.any(|one| one.name == output))
}

fn is_confident(cascade: &RunningCascade, response: &InferResponse) -> bool {
    let AnsweredBy::Version(version) = &response.version else {
        return false;
    };
    let signature = &version.signature().outputs;
    let mut outputs = response.outputs.iter();
    let output = outputs.find(|output| signature[output.index].name == cascade.cascade().output);
    output.is_some_and(|output| cascade.is_confident(&output.tensor))
}

/// Whether the other version is to try: the first one alone is at fault, or too slow for the deadline.
fn lets_second_answer(code: ErrorCode) -> bool {
    code.lets_fall_back() || code == ErrorCode::DeadlineTooShort
}
