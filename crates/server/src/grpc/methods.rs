//! The list of gRPC methods, with the permission that a caller of each needs.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures_util::TryFutureExt;
use futures_util::future::{BoxFuture, Either, MapOk};
use http::{Extensions, Request};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tidegate_gateway::{AllResources, Caller, Credentials, Gateway, Permission};
use tidegate_serving::{ErrorCode, InferError, MemoryReservation, MemoryShare, Via};
use tokio::task::futures::TaskLocalFuture;

use super::held_memory::HeldMemory;
use super::received_body::ReceivedBody;
use super::{packed_messages, status, with_code};
use crate::audit::{AuditLog, DeniedAction, Peer};
use crate::front_end::FrontEnd;
use crate::hosts::AllowedHosts;
use crate::lifecycle::Lifecycle;
use crate::listen::ClientBody;
use crate::request_memory::for_client;
use crate::upload_timer::UploadLimits;

/// Every method, by the path of its HTTP/2 request. A method that is not listed cannot be called.
///
/// The request pipeline checks [`Permission::Call`], and [`permit`] that of the methods in [`NAMED`]:
/// they learn from the message what the call is about. All others are checked before the message is
/// read.
pub(crate) const METHODS: &[(&str, Permission)] = {
    use Permission::{Call, ManageModels, Public, ViewModels, ViewOperations};
    &[
        ("/inference.GRPCInferenceService/ModelInfer", Call),
        ("/inference.GRPCInferenceService/ModelStreamInfer", Call),
        ("/inference.GRPCInferenceService/ServerLive", Public),
        ("/inference.GRPCInferenceService/ServerReady", Public),
        ("/inference.GRPCInferenceService/ModelReady", Public),
        ("/inference.GRPCInferenceService/ServerMetadata", Public),
        ("/inference.GRPCInferenceService/ModelMetadata", ViewModels),
        ("/inference.GRPCInferenceService/ModelConfig", ViewModels),
        (
            "/inference.GRPCInferenceService/ModelStatistics",
            ViewModels,
        ),
        (
            "/inference.GRPCInferenceService/RepositoryIndex",
            ViewModels,
        ),
        (
            "/inference.GRPCInferenceService/RepositoryModelLoad",
            ManageModels,
        ),
        (
            "/inference.GRPCInferenceService/RepositoryModelUnload",
            ManageModels,
        ),
        (
            "/inference.GRPCInferenceService/SystemSharedMemoryStatus",
            ViewModels,
        ),
        (
            "/inference.GRPCInferenceService/SystemSharedMemoryRegister",
            ManageModels,
        ),
        (
            "/inference.GRPCInferenceService/SystemSharedMemoryUnregister",
            ManageModels,
        ),
        (
            "/inference.GRPCInferenceService/CudaSharedMemoryStatus",
            ViewModels,
        ),
        (
            "/inference.GRPCInferenceService/CudaSharedMemoryRegister",
            ManageModels,
        ),
        (
            "/inference.GRPCInferenceService/CudaSharedMemoryUnregister",
            ManageModels,
        ),
        // These two show settings, and change them where the message has some:
        // [`Permission::ManageDiagnostics`] is then checked by the method.
        (
            "/inference.GRPCInferenceService/TraceSetting",
            ViewOperations,
        ),
        (
            "/inference.GRPCInferenceService/LogSettings",
            ViewOperations,
        ),
        ("/grpc.health.v1.Health/Check", Public),
        ("/grpc.health.v1.Health/Watch", Public),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Public,
        ),
        (
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            Public,
        ),
    ]
};

/// The methods whose message names the model that they are about.
pub(crate) const NAMED: [&str; 5] = [
    "/inference.GRPCInferenceService/ModelMetadata",
    "/inference.GRPCInferenceService/ModelConfig",
    "/inference.GRPCInferenceService/ModelStatistics",
    "/inference.GRPCInferenceService/RepositoryModelLoad",
    "/inference.GRPCInferenceService/RepositoryModelUnload",
];

/// Checks the permission of a method of [`NAMED`] on the model of this name; on all of them where
/// the name is empty.
pub(super) fn permit(
    gateway: &Gateway,
    extensions: &Extensions,
    permission: Permission,
    name: &str,
) -> Result<(), InferError> {
    // Without a caller nobody has been authenticated, and nothing is permitted.
    let caller = extensions.get::<Caller>().cloned().ok_or_else(|| {
        InferError::new(
            ErrorCode::Internal,
            "the caller of this method is not known",
        )
    })?;
    gateway.authorize(caller, permission, name)?;
    Ok(())
}

/// Answers the calls of connections, each behind the permission of its method.
#[derive(Clone)]
pub(crate) struct GrpcService {
    front_end: Arc<FrontEnd>,
    gateway: Arc<Gateway>,
    limits: UploadLimits,
    max_message_bytes: usize,
    lifecycle: Arc<Lifecycle>,
    hosts: Arc<AllowedHosts>,
    audit: AuditLog,
    router: TowerToHyperService<Router>,
}

impl GrpcService {
    /// The methods of `router`.
    pub(crate) fn new(front_end: Arc<FrontEnd>, router: Router) -> Self {
        Self {
            gateway: front_end.serving.gateway().clone(),
            limits: UploadLimits::of(&front_end.config),
            max_message_bytes: front_end.config.max_body_bytes,
            lifecycle: front_end.lifecycle.clone(),
            hosts: Arc::new(AllowedHosts::new(
                &front_end.config.allowed_hosts,
                front_end.config.grpc.ip(),
            )),
            audit: front_end.audit.clone(),
            router: TowerToHyperService::new(router),
            front_end,
        }
    }

    /// The permission of the method that a request calls.
    fn permission(&self, request: &Request<ClientBody>) -> Result<Permission, InferError> {
        self.hosts.check(request)?;
        let path = request.uri().path();
        permission_of(path).ok_or_else(|| {
            // A path may be as long as the client likes, and the message repeats it.
            let path: String = path.chars().take(128).collect();
            let message = format!("there is no method {path:?}");
            InferError::new(ErrorCode::MethodNotAllowed, message)
        })
    }

    /// Checks as much as can be known before the message, and answers.
    async fn admit_and_answer(
        self,
        permission: Permission,
        mut request: Request<ClientBody>,
    ) -> Result<Response, Infallible> {
        match admit(&self.gateway, permission, &mut request).await {
            Ok(()) => self.answer(request).await,
            Err(error) => {
                if permission == Permission::Call {
                    self.record_refused(&request, &error);
                }
                Ok(self.denied(permission.name(), &request, &error))
            }
        }
    }

    /// Counts a request for a prediction that never reached the request pipeline.
    fn record_refused(&self, request: &Request<ClientBody>, error: &InferError) {
        let via = match takes_stream(request.uri().path()) {
            true => Via::GrpcStream,
            false => Via::Grpc,
        };
        let trace = self.front_end.traces.begin(request.headers(), via, "");
        self.front_end.serving.record_refused(error.code, trace);
    }

    /// The answer to a request that may not go on.
    fn denied(
        &self,
        action: &'static str,
        request: &Request<ClientBody>,
        error: &InferError,
    ) -> Response {
        let denied = DeniedAction::new(action, &self.gateway, credentials(request));
        self.audit
            .deny(&denied, Some(request.body().client()), error.code);
        status(error).into_http()
    }

    /// Has the router answer.
    fn answer(&self, request: Request<ClientBody>) -> AnsweredFuture {
        let share = request.body().client_memory().clone();
        let (head, body) = request.into_parts();
        let awaits_first = !takes_stream(head.uri.path());
        let (limits, lifecycle) = (self.limits, self.lifecycle.clone());
        let body = match packed_messages::encoding(&head.headers) {
            None => {
                let memory = share.begin();
                Body::new(ReceivedBody::new(
                    body,
                    limits,
                    awaits_first,
                    memory,
                    lifecycle,
                ))
            }
            Some(encoding) => {
                // Counted where it is unpacked.
                let memory = MemoryReservation::default();
                let body = ReceivedBody::new(body, limits, awaits_first, memory, lifecycle);
                let max_bytes = self.max_message_bytes;
                packed_messages::unpacked(body, encoding, max_bytes, share.begin())
            }
        };
        let answered: fn(Response) -> Response = answered;
        let answer = self.router.call(Request::from_parts(head, body));
        for_client(share, answer.map_ok(answered))
    }
}

/// Checks what can be known before the message, and gives the caller to the methods that learn more
/// from it.
async fn admit(
    gateway: &Gateway,
    permission: Permission,
    request: &mut Request<ClientBody>,
) -> Result<(), InferError> {
    let is_named = NAMED.contains(&request.uri().path());
    let credentials = credentials(request);
    let caller = if permission == Permission::Call || is_named {
        let caller = gateway.authenticate(credentials).await?;
        if !caller.may_somewhere(permission) {
            // The message is not worth reading, whatever it names.
            gateway.authorize(caller.clone(), permission, AllResources)?;
        }
        caller
    } else {
        let admitting = gateway.admit(credentials, permission, AllResources);
        admitting.await?.caller().clone()
    };
    let client = Peer(request.body().client());
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(client);
    Ok(())
}

fn credentials(request: &Request<ClientBody>) -> Credentials<'_> {
    Credentials::of(request.headers()).with_extensions(request.extensions())
}

/// The permission that a method declares; `None` if there is no such method.
fn permission_of(path: &str) -> Option<Permission> {
    let method = METHODS.iter().find(|(method, _)| *method == path)?;
    Some(method.1)
}

/// An answer of the transport with our codes, and with the memory that it takes.
fn answered(answer: Response) -> Response {
    HeldMemory::attach(with_code(answer))
}

/// Whether a method takes a stream of messages, between which a client may rest.
fn takes_stream(path: &str) -> bool {
    path.ends_with("/ModelStreamInfer") || path.ends_with("/ServerReflectionInfo")
}

type RouterFuture = <TowerToHyperService<Router> as Service<Request<Body>>>::Future;
type AnsweredFuture =
    TaskLocalFuture<Arc<MemoryShare>, MapOk<RouterFuture, fn(Response) -> Response>>;
type Answer = Result<Response, Infallible>;

impl Service<Request<ClientBody>> for GrpcService {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<AnsweredFuture, Either<Ready<Answer>, BoxFuture<'static, Answer>>>;

    fn call(&self, request: Request<ClientBody>) -> Self::Future {
        match self.permission(&request) {
            // The request pipeline does it all, and nobody is refused.
            Ok(Permission::Call) if self.gateway.is_open() => Either::Left(self.answer(request)),
            Ok(permission) => {
                let answer = self.clone().admit_and_answer(permission, request);
                Either::Right(Either::Right(Box::pin(answer)))
            }
            Err(error) => {
                let answer = self.denied("", &request, &error);
                Either::Right(Either::Left(ready(Ok(answer))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message;
    use tidegate_gateway::ResourceKind;
    use tidegate_protocol::FILE_DESCRIPTOR_SET;

    use super::*;

    /// The parts of `google.protobuf.FileDescriptorSet` that name methods.
    #[derive(Message)]
    struct Files {
        #[prost(message, repeated, tag = "1")]
        files: Vec<File>,
    }

    #[derive(Message)]
    struct File {
        #[prost(string, tag = "2")]
        package: String,
        #[prost(message, repeated, tag = "6")]
        services: Vec<NamedService>,
    }

    #[derive(Message)]
    struct NamedService {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, repeated, tag = "2")]
        methods: Vec<Method>,
    }

    #[derive(Message)]
    struct Method {
        #[prost(string, tag = "1")]
        name: String,
    }

    fn described(set: &[u8]) -> BTreeSet<String> {
        let mut methods = BTreeSet::new();
        for file in Files::decode(set).unwrap().files {
            for service in file.services {
                for method in service.methods {
                    let (package, service) = (&file.package, &service.name);
                    methods.insert(format!("/{package}.{service}/{}", method.name));
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_of_every_service_declares_a_permission() {
        let mut described_methods = BTreeSet::new();
        for set in [
            FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ] {
            described_methods.extend(described(set));
        }
        assert!(described_methods.len() > 12, "{described_methods:?}");
        let declared: BTreeSet<String> =
            METHODS.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(declared, described_methods);
    }

    #[test]
    fn methods_that_name_a_model_are_methods_of_models() {
        for method in NAMED {
            let permission = permission_of(method).unwrap();
            assert_eq!(permission.resource_kind(), ResourceKind::Model, "{method}");
        }
    }

    #[test]
    fn a_method_that_is_not_listed_has_no_permission() {
        assert_eq!(permission_of("/inference.GRPCInferenceService/Other"), None);
    }
}
