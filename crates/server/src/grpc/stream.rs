//! The requests of a stream, and their answers.

use std::net::IpAddr;

use futures_util::{Stream, StreamExt};
use tidegate_gateway::{Credentials, Permission};
use tidegate_protocol::inference as pb;
use tidegate_protocol::inference::infer_parameter::ParameterChoice;
use tidegate_serving::{ErrorCode, InferError, MemoryReservation, Via};
use tonic::{Status, Streaming};

use super::exchange::GrpcExchange;
use super::held_memory::{HeldMemory, MIN_HELD_BYTES};
use super::stream_order::StreamPlace;
use super::{status, too_large};
use crate::audit::{DeniedAction, is_denial};
use crate::front_end::FrontEnd;

/// Marks the last response to a request of a stream.
const FINAL_RESPONSE: &str = "triton_final_response";

/// The messages of a stream until the client ends it; once the server is stopping, those that have
/// arrived, and then an error on which the client turns to another server.
pub(super) fn until_stopped(
    front_end: &FrontEnd,
    messages: Streaming<pb::ModelInferRequest>,
) -> impl Stream<Item = Result<pb::ModelInferRequest, Status>> + Send + use<> {
    futures_util::stream::unfold(
        Some((messages, Box::pin(front_end.lifecycle.stopping()))),
        |state| async {
            let (mut messages, mut stopped) = state?;
            tokio::select! {
                // Messages first: those that have arrived are answered even while stopping.
                biased;
                message = messages.next() => message.map(|message| {
                    let message = message.map_err(|refused| too_large(&refused).unwrap_or(refused));
                    (message, Some((messages, stopped)))
                }),
                () = &mut stopped => {
                    let error = InferError::new(ErrorCode::ShuttingDown, "the server is stopping: open a stream to another");
                    Some((Err(status(&error)), None))
                }
            }
        },
    )
}

/// Answers one request of a stream. One that fails is answered with its error, and the stream goes
/// on, unless the credentials of the whole stream are no longer valid.
pub(super) async fn answer_in_stream(
    front_end: &FrontEnd,
    credentials: Credentials<'_>,
    source: Option<IpAddr>,
    message: pb::ModelInferRequest,
    memory: MemoryReservation,
    mut place: Option<StreamPlace>,
) -> Result<(pb::ModelStreamInferResponse, MemoryReservation), Status> {
    // Each request of a stream is a span of its own under the client's.
    let headers = credentials.headers();
    let trace = front_end
        .traces
        .begin(headers, Via::GrpcStream, &message.model_name);
    let id = message.id.clone();
    let mut exchange = GrpcExchange::new(front_end, credentials, message, trace, memory);
    if let Some(place) = &mut place
        && let Err(error) = place.wait().await
    {
        exchange = exchange.refused(error);
    }
    let answer = front_end.serving.answer(exchange).await;
    if let Some(place) = place {
        place.finish(answer.is_ok());
    }
    if let Err(error) = &answer
        && is_denial(error.code)
    {
        let gateway = front_end.serving.gateway();
        let denied = DeniedAction::new(Permission::Call.name(), gateway, credentials);
        front_end.audit.deny(&denied, source, error.code);
    }
    let (error_message, mut response, memory) = match answer {
        Ok(answer) => (String::new(), answer.message, answer.memory),
        Err(error) if error.code == ErrorCode::Unauthenticated => return Err(status(&error)),
        Err(error) => {
            let response = pb::ModelInferResponse {
                id,
                ..pb::ModelInferResponse::default()
            };
            (error.to_string(), response, MemoryReservation::default())
        }
    };
    // Every request has one response, which is its last. Clients that also read models with several
    // responses wait for this parameter (Triton, "Decoupled Backends and Models").
    let is_last = pb::InferParameter {
        parameter_choice: Some(ParameterChoice::BoolParam(true)),
    };
    response
        .parameters
        .insert(FINAL_RESPONSE.to_owned(), is_last);
    let answer = pb::ModelStreamInferResponse {
        error_message,
        infer_response: Some(response),
    };
    Ok((answer, memory))
}

/// An answer of a stream that is encoded next, and whose memory is given back once it was sent.
pub(super) fn hold_in_stream(
    held: &HeldMemory,
    (answer, memory): (pb::ModelStreamInferResponse, MemoryReservation),
) -> pb::ModelStreamInferResponse {
    if memory.bytes() >= MIN_HELD_BYTES {
        held.hold(memory);
    }
    answer
}
