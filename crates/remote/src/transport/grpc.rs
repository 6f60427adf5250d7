//! gRPC of the Open Inference Protocol.

mod answer;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use tidegate_core::{Signature, Tensor};
use tidegate_engines::UpstreamFailure;
use tidegate_protocol::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use tidegate_protocol::inference::model_infer_request::InferInputTensor;
use tidegate_protocol::inference::model_metadata_response::TensorMetadata as MetadataMessage;
use tidegate_protocol::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelReadyRequest,
    ServerReadyRequest,
};
use tidegate_protocol::{BoundedCodec, CODE_KEY};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint as ChannelEndpoint};
use tonic::{Code, ConnectError, Request, Status};

use super::metadata::{self, TensorMetadata};
use super::{Authorities, Credentials};
use crate::call::{Answer, Call};
use crate::config::{Endpoint, RemoteConfig};
use crate::failure::{CallFailure, causes, shown};

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
/// Servers that are gone without a word are noticed by pings.
const PING_EVERY: Duration = Duration::from_secs(20);

/// One server, over one connection that all requests share.
pub(crate) struct GrpcTransport {
    channel: Channel,
    credentials: Arc<Credentials>,
    model: String,
    version: String,
    max_answer_bytes: usize,
}

impl GrpcTransport {
    /// From within a runtime.
    pub(super) fn new(
        endpoint: &Endpoint,
        config: &RemoteConfig,
        credentials: Arc<Credentials>,
        authorities: Option<&Authorities>,
    ) -> Result<Self, String> {
        let channel = ChannelEndpoint::from_shared(endpoint.url.clone());
        let mut channel = channel
            .map_err(|error| causes(&error))?
            .connect_timeout(config.connect_timeout)
            .http2_keep_alive_interval(PING_EVERY)
            .tcp_nodelay(true);
        if endpoint.url.starts_with("https:") {
            let tls = match authorities {
                None => ClientTlsConfig::new().with_native_roots(),
                Some(authorities) => {
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authorities.pem))
                }
            };
            channel = channel.tls_config(tls).map_err(|error| causes(&error))?;
        }
        Ok(Self {
            channel: channel.connect_lazy(),
            credentials,
            model: config.model.clone(),
            version: config.version.clone().unwrap_or_default(),
            max_answer_bytes: config.max_answer_bytes,
        })
    }

    pub(super) async fn infer(&self, call: &Call) -> Result<Answer, CallFailure> {
        let request = self.infer_request(call);
        let mut grpc = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(self.max_answer_bytes)
            .max_encoding_message_size(usize::MAX);
        grpc.ready()
            .await
            .map_err(|error| CallFailure::not_reached(&error))?;
        let codec: BoundedCodec<ModelInferRequest, ModelInferResponse> = BoundedCodec::default();
        let path = PathAndQuery::from_static(INFER);
        // As a stream of one message, which tells whether the answer had begun when it failed.
        let answered = grpc.server_streaming(request, path, codec).await;
        let mut answer = answered.map_err(|status| refused(&status))?.into_inner();
        match answer.message().await {
            Ok(Some(message)) => answer::read(message),
            Ok(None) => Err(CallFailure::invalid("ended without an answer")),
            Err(status) if status.source().is_some() => Err(CallFailure {
                may_retry: false,
                ..refused(&status).after_run()
            }),
            Err(status) => Err(refused(&status)),
        }
    }

    pub(super) async fn ready(&self) -> Result<(), CallFailure> {
        let mut client = self.client();
        let server = client
            .server_ready(self.request(ServerReadyRequest {}))
            .await;
        if !server
            .map_err(|status| refused(&status))?
            .into_inner()
            .ready
        {
            return Err(CallFailure::unavailable("is not ready"));
        }
        let request = ModelReadyRequest {
            name: self.model.clone(),
            version: self.version.clone(),
        };
        let model = client.model_ready(self.request(request)).await;
        match model.map_err(|status| refused(&status))?.into_inner().ready {
            true => Ok(()),
            false => Err(CallFailure::unavailable("does not have the model ready")),
        }
    }

    pub(super) async fn signature(&self) -> Result<Option<Signature>, CallFailure> {
        let request = ModelMetadataRequest {
            name: self.model.clone(),
            version: self.version.clone(),
        };
        let answered = self.client().model_metadata(self.request(request)).await;
        let model = answered.map_err(|status| refused(&status))?.into_inner();
        metadata::signature(tensors(model.inputs), tensors(model.outputs))
    }

    fn client(&self) -> GrpcInferenceServiceClient<Channel> {
        GrpcInferenceServiceClient::new(self.channel.clone())
    }

    fn infer_request(&self, call: &Call) -> Request<ModelInferRequest> {
        let inputs = call.given().map(|(name, tensor)| InferInputTensor {
            name: name.to_owned(),
            datatype: tensor.datatype().name().to_owned(),
            shape: wire_shape(tensor),
            ..InferInputTensor::default()
        });
        let message = ModelInferRequest {
            model_name: self.model.clone(),
            model_version: self.version.clone(),
            inputs: inputs.collect(),
            raw_input_contents: call.given().map(|(_, tensor)| tensor.wire()).collect(),
            ..ModelInferRequest::default()
        };
        let mut request = self.request(message);
        request.set_timeout(call.deadline.saturating_duration_since(Instant::now()));
        if let Some(trace) = &call.trace {
            insert(&mut request, "traceparent", &trace.traceparent());
            if let Some(state) = &trace.state {
                insert(&mut request, "tracestate", state);
            }
        }
        request
    }

    /// A message with the credentials of this server.
    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        let token = self.credentials.header();
        let token = token.and_then(|token| MetadataValue::try_from(token.as_bytes()).ok());
        if let Some(mut token) = token {
            token.set_sensitive(true);
            request.metadata_mut().insert("authorization", token);
        }
        request
    }
}

fn insert<M>(request: &mut Request<M>, name: &'static str, value: &str) {
    let value: Result<MetadataValue<Ascii>, _> = value.parse();
    if let Ok(value) = value {
        request.metadata_mut().insert(name, value);
    }
}

fn wire_shape(tensor: &Tensor) -> Vec<i64> {
    let extents = tensor.shape().iter();
    extents.map(|extent| *extent as i64).collect()
}

fn tensors(tensors: Vec<MetadataMessage>) -> Vec<TensorMetadata> {
    let tensors = tensors.into_iter().map(|tensor| TensorMetadata {
        name: tensor.name,
        datatype: tensor.datatype,
        shape: tensor.shape,
    });
    tensors.collect()
}

/// A status that is not OK.
fn refused(status: &Status) -> CallFailure {
    let code = status.code();
    let reason = shown(status.message());
    let own_code = status.metadata().get(CODE_KEY).map(MetadataValue::as_bytes);
    // The codec's own words for an answer that it cannot read: this server sends no such request.
    let is_unreadable = matches!(own_code, Some(b"malformed_request" | b"too_many_inputs"));
    if is_unreadable {
        return CallFailure::invalid(format!("answered with what is not an answer: {reason}"));
    }
    let is_late = matches!(code, Code::DeadlineExceeded | Code::Cancelled);
    if let Some(cause) = status.source()
        && !is_late
    {
        return transport_failure(cause);
    }
    match code {
        Code::Unavailable => CallFailure::unavailable(format!("is not ready: {reason}")),
        Code::NotFound => CallFailure::unavailable(format!("does not have the model: {reason}")),
        Code::DeadlineExceeded | Code::Cancelled => {
            CallFailure::timed_out(format!("was too late: {reason}")).after_run()
        }
        Code::InvalidArgument | Code::FailedPrecondition => {
            CallFailure::rejected(format!("refuses the request: {reason}"))
        }
        Code::ResourceExhausted => CallFailure::new(
            UpstreamFailure::Overloaded,
            format!("has too many requests: {reason}"),
        ),
        Code::Unauthenticated | Code::PermissionDenied => CallFailure::new(
            UpstreamFailure::Failed,
            format!("refuses the credentials of this server: {reason}"),
        ),
        Code::OutOfRange | Code::Unimplemented => {
            CallFailure::invalid(format!("does not speak the protocol: {reason}"))
        }
        _ => CallFailure::new(
            UpstreamFailure::Failed,
            format!("failed ({code:?}): {reason}"),
        )
        .after_run(),
    }
}

/// The connection failed, or what came over it is not HTTP/2.
fn transport_failure(failure: &(dyn Error + 'static)) -> CallFailure {
    let mut cause = Some(failure);
    let mut is_connected = true;
    while let Some(error) = cause {
        is_connected &= !error.is::<ConnectError>();
        let h2 = error.downcast_ref::<h2::Error>();
        // An error that this side found in what the server sent.
        if h2.is_some_and(|error| error.is_library() && error.reason().is_some()) {
            return CallFailure::invalid("answered with what is not gRPC").because_of(failure);
        }
        cause = error.source();
    }
    let failure = CallFailure::not_reached(failure);
    match is_connected {
        true => failure.after_run(),
        false => failure,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_server_that_could_not_be_connected_to_has_run_nothing() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(!transport_failure(&ConnectError(refused().into())).has_run);
        assert!(transport_failure(&refused()).has_run);
    }
}
