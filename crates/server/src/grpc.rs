//! gRPC: `inference.GRPCInferenceService`, health and reflection.

mod audited;
mod convert;
mod exchange;
mod health;
mod held_memory;
mod message_boundary;
mod methods;
mod packed_messages;
mod received_body;
mod service;
mod settings;
mod shared_memory;
mod statistics;
mod stream;
mod stream_order;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::map_request;
use axum::response::Response;
use futures_util::StreamExt;
use tidegate_protocol::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use tidegate_protocol::{CODE_KEY, FILE_DESCRIPTOR_SET};
use tidegate_serving::{ErrorCode, InferError};
use tonic::codec::CompressionEncoding;
use tonic::metadata::{AsciiMetadataKey, MetadataValue};
use tonic::service::Routes;
use tonic::{Code, Status};

pub(crate) use self::convert::request;
pub(crate) use self::methods::GrpcService;
#[cfg(test)]
pub(crate) use self::methods::{METHODS, NAMED};
use self::service::Service;
use crate::front_end::FrontEnd;
use crate::limit_headers;

/// Every service of the gRPC front end.
pub(crate) async fn router(front_end: Arc<FrontEnd>) -> Router {
    let limit = front_end.config.max_body_bytes;
    let (health, health_service) = tonic_health::server::health_reporter();
    let mut inference = GrpcInferenceServiceServer::new(Service::new(front_end.clone(), health))
        .max_decoding_message_size(limit)
        // `convert::response` refuses large answers. tonic's limit applies after the request was
        // recorded, as a success.
        .max_encoding_message_size(usize::MAX);
    for encoding in [
        CompressionEncoding::Gzip,
        CompressionEncoding::Deflate,
        CompressionEncoding::Zstd,
    ] {
        inference = inference
            .accept_compressed(encoding)
            .send_compressed(encoding);
    }
    let routes = Routes::new(inference).add_service(health_service);
    routes
        .prepare()
        .into_axum_router()
        .merge(reflection(front_end))
}

/// Server reflection, for tools such as grpcurl. A tool that keeps its stream open does not delay
/// the end of the server.
fn reflection(front_end: Arc<FrontEnd>) -> Router {
    let mut routes = Routes::default();
    // Without its description the service still works, so an error is no reason not to start.
    if let Ok(service) = descriptions().build_v1() {
        routes = routes.add_service(service);
    }
    // Older tools ask for the alpha version alone.
    if let Ok(service) = descriptions().build_v1alpha() {
        routes = routes.add_service(service);
    }
    routes
        .prepare()
        .into_axum_router()
        // Both routers have one, and such two cannot be merged.
        .reset_fallback()
        .layer(map_request(move |request: Request| {
            let stopped = front_end.lifecycle.stopping();
            std::future::ready(
                request.map(|body| Body::from_stream(body.into_data_stream().take_until(stopped))),
            )
        }))
}

fn descriptions() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Gives the transport's refusal of a message that is too large the code that it has elsewhere.
fn with_code(answer: Response) -> Response {
    // A refusal has no body, so that its status stands in the head.
    let Some(found) = Status::from_header_map(answer.headers()) else {
        return answer;
    };
    match too_large(&found) {
        Some(status) => status.into_http(),
        None => answer,
    }
}

/// The refusal of a message that is too large, as an error of ours.
fn too_large(refused: &Status) -> Option<Status> {
    let is_too_large = refused.code() == Code::OutOfRange
        && refused.message().contains("message length too large");
    is_too_large.then(|| {
        let message = format!("{} (server.max_body_bytes)", refused.message());
        status(&InferError::new(ErrorCode::BodyTooLarge, message))
    })
}

/// An error as gRPC carries it; its code stands in the trailer `tidegate-code` too.
fn status(error: &InferError) -> Status {
    let mut status = Status::new(
        Code::from(error.code.grpc_code()),
        error.message.to_string(),
    );
    let metadata = status.metadata_mut();
    metadata.insert(CODE_KEY, MetadataValue::from_static(error.code.name()));
    if let Some(limited) = &error.limited {
        for (name, value) in limit_headers::pairs(&limited.status) {
            if let (Ok(name), Ok(value)) =
                (name.as_str().parse::<AsciiMetadataKey>(), value.parse())
            {
                metadata.insert(name, value);
            }
        }
    }
    if let Some(seconds) = error.retry_after_s() {
        metadata.insert("retry-after", MetadataValue::from(seconds));
        // What gRPC's own retries wait for (gRFC A6).
        metadata.insert(
            "grpc-retry-pushback-ms",
            MetadataValue::from(seconds * 1000),
        );
    }
    status
}
