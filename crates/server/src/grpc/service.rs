//! The methods of `inference.GRPCInferenceService`.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tidegate_core::TensorSpec;
use tidegate_gateway::Permission::{self, ManageDiagnostics, ManageModels, ViewModels};
use tidegate_gateway::{Caller, ClientCertificate, Credentials};
use tidegate_protocol::inference::grpc_inference_service_server::GrpcInferenceService;
use tidegate_protocol::inference::model_metadata_response::TensorMetadata;
use tidegate_protocol::inference::repository_index_response::ModelIndex;
use tidegate_protocol::inference::{self as pb};
use tidegate_serving::{ErrorCode, InferError, Version, Via};
use tonic::metadata::AsciiMetadataKey;
use tonic::{Extensions, Request, Response, Status, Streaming};
use tonic_health::server::HealthReporter;

use super::exchange::{GrpcAnswer, GrpcExchange};
use super::health::report_health;
use super::held_memory::{HeldMemory, MIN_HELD_BYTES};
use super::methods::permit;
use super::statistics::statistics;
use super::stream::{answer_in_stream, hold_in_stream, until_stopped};
use super::stream_order::StreamOrder;
use super::{convert, settings, shared_memory, status};
use crate::audit::{DeniedAction, Peer, is_denial};
use crate::describe::{self, EXTENSIONS, SERVER_NAME, SERVER_VERSION};
use crate::front_end::FrontEnd;
use crate::request_memory::{self, client_share};
use crate::shared_memory::no_cuda_shared_memory;
use crate::traces::TraceHeader;

/// Requests of one stream that are handled at once; answers keep the order of the requests.
const STREAM_DEPTH: usize = 64;

type Answer<T> = Result<Response<T>, Status>;

/// The service over the shared state.
pub(super) struct Service {
    pub(super) front_end: Arc<FrontEnd>,
}

impl Service {
    pub(super) fn new(front_end: Arc<FrontEnd>, health: HealthReporter) -> Self {
        // Weak: else the task would keep alive the server that it reports on.
        tokio::spawn(report_health(Arc::downgrade(&front_end), health));
        Self { front_end }
    }

    /// The extensions and the message of a call whose caller has the permission on the model that it names.
    fn permitted<T>(
        &self,
        request: Request<T>,
        permission: Permission,
        name: impl FnOnce(&T) -> &str,
    ) -> Result<(Extensions, T), Status> {
        let (_, extensions, message) = request.into_parts();
        let gateway = self.front_end.serving.gateway();
        match permit(gateway, &extensions, permission, name(&message)) {
            Ok(()) => Ok((extensions, message)),
            Err(error) => {
                note_denial(&self.front_end, &extensions, permission, &error);
                Err(status(&error))
            }
        }
    }

    async fn version(&self, name: &str, version: &str) -> Result<Arc<Version>, Status> {
        let version = (!version.is_empty()).then_some(version);
        let found = self.front_end.serving.demand(name, version, None).await;
        found
            .map(|(version, _)| version)
            .map_err(|error| status(&error))
    }
}

/// Counts a call that was denied to its caller.
fn note_denial(
    front_end: &FrontEnd,
    extensions: &Extensions,
    permission: Permission,
    error: &InferError,
) {
    if is_denial(error.code) {
        let denied = DeniedAction::of(permission.name(), extensions.get());
        front_end
            .audit
            .deny(&denied, source(extensions), error.code);
    }
}

/// Where a call came from; it is known where callers are asked for credentials.
pub(super) fn source(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get().map(|Peer(source)| *source)
}

/// Names the trace of its request in an answer.
fn set_trace_header<T>(header: Option<TraceHeader>, answer: &mut Answer<T>) {
    let Some((name, value)) = header.and_then(|header| header.pair(answer.is_err())) else {
        return;
    };
    let metadata = match answer {
        Ok(response) => response.metadata_mut(),
        Err(status) => status.metadata_mut(),
    };
    if let (Ok(name), Ok(value)) = (
        AsciiMetadataKey::from_bytes(name.as_ref()),
        value.as_bytes().try_into(),
    ) {
        metadata.insert(name, value);
    }
}

/// An answer whose memory is given back once it was sent.
fn held_answer(mut answer: GrpcAnswer) -> Response<pb::ModelInferResponse> {
    let memory = std::mem::take(&mut answer.memory);
    let mut response = Response::new(std::mem::take(&mut answer.message));
    answer.add_metadata(response.metadata_mut());
    if memory.bytes() >= MIN_HELD_BYTES {
        let held = HeldMemory::default();
        held.hold(memory);
        response.extensions_mut().insert(held);
    }
    response
}

fn client_timeout<T>(request: &Request<T>) -> Option<Duration> {
    request
        .metadata()
        .get("grpc-timeout")
        .and_then(|value| convert::timeout(value.to_str().ok()?))
}

/// Whether the client compresses. Most clients declare that they accept compressed answers without
/// having been asked to; compression is worth its time only for those that compress too.
fn is_compressed<T>(request: &Request<T>) -> bool {
    request
        .metadata()
        .get("grpc-encoding")
        .is_some_and(|encoding| encoding != "identity")
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn server_live(
        &self,
        _: Request<pb::ServerLiveRequest>,
    ) -> Answer<pb::ServerLiveResponse> {
        Ok(Response::new(pb::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<pb::ServerReadyRequest>,
    ) -> Answer<pb::ServerReadyResponse> {
        Ok(Response::new(pb::ServerReadyResponse {
            ready: self.front_end.lifecycle.is_ready(),
        }))
    }

    async fn model_ready(
        &self,
        request: Request<pb::ModelReadyRequest>,
    ) -> Answer<pb::ModelReadyResponse> {
        let pb::ModelReadyRequest { name, version } = request.into_inner();
        let version = (!version.is_empty()).then_some(version);
        let ready = match self
            .front_end
            .serving
            .would_answer(&name, version.as_deref())
        {
            Ok(()) => true,
            Err(error) if error.code == ErrorCode::NotReady => false,
            Err(error) => return Err(status(&error)),
        };
        Ok(Response::new(pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<pb::ServerMetadataRequest>,
    ) -> Answer<pb::ServerMetadataResponse> {
        Ok(Response::new(pb::ServerMetadataResponse {
            name: SERVER_NAME.to_owned(),
            version: SERVER_VERSION.to_owned(),
            extensions: EXTENSIONS
                .iter()
                .map(|extension| (*extension).to_owned())
                .collect(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<pb::ModelMetadataRequest>,
    ) -> Answer<pb::ModelMetadataResponse> {
        let (_, pb::ModelMetadataRequest { name, version }) =
            self.permitted(request, ViewModels, |request| &request.name)?;
        let version = self.version(&name, &version).await?;
        let model = self
            .front_end
            .serving
            .model(&name)
            .map_err(|error| status(&error))?;
        Ok(Response::new(pb::ModelMetadataResponse {
            name,
            versions: model
                .versions()
                .map(|version| version.number().to_owned())
                .collect(),
            platform: version.platform().to_owned(),
            inputs: version
                .signature()
                .inputs
                .iter()
                .map(tensor_metadata)
                .collect(),
            outputs: version
                .signature()
                .outputs
                .iter()
                .map(tensor_metadata)
                .collect(),
        }))
    }

    async fn model_infer(
        &self,
        request: Request<pb::ModelInferRequest>,
    ) -> Answer<pb::ModelInferResponse> {
        let timeout = client_timeout(&request);
        let compress = is_compressed(&request);
        let (metadata, extensions, message) = request.into_parts();
        let traces = &self.front_end.traces;
        let trace = traces.begin(metadata.as_ref(), Via::Grpc, &message.model_name);
        let trace_header = trace.as_deref().map(TraceHeader::of);
        let memory = request_memory::begin(&self.front_end.memory);
        let credentials = Credentials::of(metadata.as_ref()).with_extensions(&extensions);
        let exchange = GrpcExchange::new(&self.front_end, credentials, message, trace, memory)
            .with_caller(extensions.get::<Caller>())
            .with_timeout(timeout);
        let answer = self.front_end.serving.answer(exchange).await;
        if let Err(error) = &answer {
            note_denial(&self.front_end, &extensions, Permission::Call, error);
        }
        let mut answer = answer.map(held_answer).map_err(|error| status(&error));
        set_trace_header(trace_header, &mut answer);
        let mut answer = answer?;
        if !compress {
            answer.disable_compression();
        }
        Ok(answer)
    }

    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<pb::ModelStreamInferResponse, Status>> + Send>>;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<pb::ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        let front_end = self.front_end.clone();
        let compress = is_compressed(&request);
        let (metadata, extensions, messages) = request.into_parts();
        let (metadata, source) = (Arc::new(metadata), source(&extensions));
        let certificate: Option<ClientCertificate> = extensions.get().cloned();
        let share = client_share(&front_end.memory);
        let mut order = StreamOrder::default();
        let answers = until_stopped(&front_end, messages).map(move |message| {
            let (front_end, metadata) = (front_end.clone(), metadata.clone());
            let in_order = message.as_ref().ok();
            let place = in_order.and_then(|message| order.join(&front_end.serving, message));
            let certificate = certificate.clone();
            let memory = share.begin();
            async move {
                let credentials = Credentials::of(metadata.as_ref().as_ref());
                let credentials = credentials.with_certificate(certificate.as_ref());
                answer_in_stream(&front_end, credentials, source, message?, memory, place).await
            }
        });
        // In order: clients match answers to requests by it. Answers that wait for those before them
        // count in the memory budget, and so do those that are being sent.
        let held = HeldMemory::default();
        let holds = held.clone();
        let answers = answers
            .buffered(STREAM_DEPTH)
            .map(move |answer| answer.map(|answer| hold_in_stream(&holds, answer)));
        let mut answers: Response<Self::ModelStreamInferStream> = Response::new(Box::pin(answers));
        answers.extensions_mut().insert(held);
        if !compress {
            answers.disable_compression();
        }
        Ok(answers)
    }

    async fn model_config(
        &self,
        request: Request<pb::ModelConfigRequest>,
    ) -> Answer<pb::ModelConfigResponse> {
        let (_, pb::ModelConfigRequest { name, version }) =
            self.permitted(request, ViewModels, |request| &request.name)?;
        let version = self.version(&name, &version).await?;
        Ok(Response::new(pb::ModelConfigResponse {
            config: Some(describe::model_config(&version)),
        }))
    }

    async fn model_statistics(
        &self,
        request: Request<pb::ModelStatisticsRequest>,
    ) -> Answer<pb::ModelStatisticsResponse> {
        let (_, pb::ModelStatisticsRequest { name, version }) =
            self.permitted(request, ViewModels, |request| &request.name)?;
        let models = self.front_end.serving.models();
        let versions: Vec<Arc<Version>> = match (name.is_empty(), version.is_empty()) {
            (true, _) => models
                .all()
                .iter()
                .flat_map(|model| model.versions().cloned().collect::<Vec<_>>())
                .collect(),
            (false, true) => self
                .front_end
                .serving
                .model(&name)
                .map_err(|error| status(&error))?
                .versions()
                .cloned()
                .collect(),
            (false, false) => vec![
                self.front_end
                    .serving
                    .version(&name, Some(&version))
                    .map_err(|error| status(&error))?,
            ],
        };
        let model_stats = versions.iter().map(|version| statistics(version)).collect();
        Ok(Response::new(pb::ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<pb::RepositoryIndexRequest>,
    ) -> Answer<pb::RepositoryIndexResponse> {
        let only_ready = request.into_inner().ready;
        let index = self
            .front_end
            .index()
            .await
            .map_err(|error| status(&error))?;
        let models = index.into_iter().map(|entry| {
            let (state, reason) = describe::state(&entry.state);
            ModelIndex {
                name: entry.name,
                version: entry.version,
                state: state.to_owned(),
                reason,
            }
        });
        let models = models
            .filter(|entry| !only_ready || entry.state == "READY")
            .collect();
        Ok(Response::new(pb::RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<pb::RepositoryModelLoadRequest>,
    ) -> Answer<pb::RepositoryModelLoadResponse> {
        let (extensions, request) =
            self.permitted(request, ManageModels, |request| &request.model_name)?;
        let front_end = self.front_end.clone();
        let model = request.model_name.clone();
        let loading = async move {
            let given = convert::given_model(request.parameters)?;
            front_end.load(request.model_name, given).await
        };
        self.change_model("model.load", &model, &extensions, loading)
            .await?;
        Ok(Response::new(pb::RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<pb::RepositoryModelUnloadRequest>,
    ) -> Answer<pb::RepositoryModelUnloadResponse> {
        let (extensions, request) =
            self.permitted(request, ManageModels, |request| &request.model_name)?;
        let front_end = self.front_end.clone();
        let model = request.model_name.clone();
        let unloading = async move { front_end.unload(request.model_name).await };
        self.change_model("model.unload", &model, &extensions, unloading)
            .await?;
        Ok(Response::new(pb::RepositoryModelUnloadResponse {}))
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<pb::SystemSharedMemoryStatusRequest>,
    ) -> Answer<pb::SystemSharedMemoryStatusResponse> {
        let name = request.into_inner().name;
        let regions = self.front_end.shared_memory.status(named(&name));
        let regions = regions.map_err(|error| status(&error))?;
        Ok(Response::new(shared_memory::regions(regions)))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<pb::SystemSharedMemoryRegisterRequest>,
    ) -> Answer<pb::SystemSharedMemoryRegisterResponse> {
        let (_, extensions, message) = request.into_parts();
        let region = shared_memory::region(message);
        let name = region.name.clone();
        let memory = self.front_end.shared_memory.clone();
        let registering = async move { memory.register(region) };
        self.change_shared_memory(("shared-memory.register", &name), &extensions, registering)
            .await?;
        Ok(Response::new(pb::SystemSharedMemoryRegisterResponse {}))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<pb::SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<pb::SystemSharedMemoryUnregisterResponse> {
        let (_, extensions, message) = request.into_parts();
        let memory = self.front_end.shared_memory.clone();
        let name = message.name.clone();
        let unregistering = async move { memory.unregister(named(&name)) };
        let action = ("shared-memory.unregister", &*message.name);
        self.change_shared_memory(action, &extensions, unregistering)
            .await?;
        Ok(Response::new(pb::SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<pb::CudaSharedMemoryStatusRequest>,
    ) -> Answer<pb::CudaSharedMemoryStatusResponse> {
        // Clients ask for all regions to see whether any is left.
        match named(&request.into_inner().name) {
            None => Ok(Response::new(pb::CudaSharedMemoryStatusResponse::default())),
            Some(_) => Err(status(&no_cuda_shared_memory())),
        }
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<pb::CudaSharedMemoryRegisterRequest>,
    ) -> Answer<pb::CudaSharedMemoryRegisterResponse> {
        Err(status(&no_cuda_shared_memory()))
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<pb::CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<pb::CudaSharedMemoryUnregisterResponse> {
        // There is none, as the client wants it: many begin with this call.
        Ok(Response::new(pb::CudaSharedMemoryUnregisterResponse {}))
    }

    async fn trace_setting(
        &self,
        request: Request<pb::TraceSettingRequest>,
    ) -> Answer<pb::TraceSettingResponse> {
        let model = request.get_ref().model_name.clone();
        if !request.get_ref().settings.is_empty() {
            let (extensions, message) =
                self.permitted(request, ManageDiagnostics, |request| &request.model_name)?;
            let changed = settings::trace_settings(message.settings);
            self.change_traces(&model, changed, &extensions).await?;
        }
        let shown = self.front_end.trace_settings(&model);
        let shown = shown.map_err(|error| status(&error))?;
        Ok(Response::new(settings::trace_response(shown)))
    }

    async fn log_settings(
        &self,
        request: Request<pb::LogSettingsRequest>,
    ) -> Answer<pb::LogSettingsResponse> {
        if !request.get_ref().settings.is_empty() {
            let (extensions, message) = self.permitted(request, ManageDiagnostics, |_| "")?;
            let changed = settings::log_settings(message.settings);
            self.change_log(changed, &extensions).await?;
        }
        let shown = self.front_end.log.show().map_err(|error| status(&error))?;
        Ok(Response::new(settings::log_response(shown)))
    }
}

/// The name of a region; `None` where an empty one stands for all regions.
fn named(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}

fn tensor_metadata(spec: &TensorSpec) -> TensorMetadata {
    TensorMetadata {
        name: spec.name.clone(),
        datatype: spec.datatype.name().to_owned(),
        shape: spec.wire_shape(),
    }
}
