//! The two ways to call a server: REST and gRPC.

mod credentials;
mod grpc;
mod metadata;
mod rest;

use std::path::Path;
use std::sync::Arc;

use tidegate_core::Signature;

pub(crate) use self::credentials::Credentials;
use self::grpc::GrpcTransport;
pub(crate) use self::metadata::{declared, name_of_empty};
use self::rest::{RestClient, RestTransport};
use crate::call::{Answer, Call};
use crate::config::{Endpoint, Protocol, RemoteConfig};
use crate::failure::{CallFailure, causes};

/// A way to call one server. Connections are opened when they are needed, kept, and used again.
pub(crate) enum Transport {
    // Boxed: it is four times as large.
    Rest(Box<RestTransport>),
    Grpc(GrpcTransport),
}

/// What the transports of a version share.
pub(crate) struct TransportContext {
    rest: RestClient,
    credentials: Arc<Credentials>,
    authorities: Option<Authorities>,
}

/// The authorities that sign the certificates of the servers, where those of the operating system do not.
struct Authorities {
    pem: Vec<u8>,
    certificates: Vec<reqwest::Certificate>,
}

impl TransportContext {
    pub(crate) fn new(config: &RemoteConfig) -> Result<Self, String> {
        // Another part of the process may have set it: the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authorities = config.ca_file.as_deref().map(Authorities::read);
        let authorities = authorities.transpose()?;
        Ok(Self {
            rest: RestClient::new(config, authorities.as_ref())?,
            authorities,
            credentials: Arc::new(Credentials::new(config.token_file.clone())?),
        })
    }

    pub(crate) fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }
}

impl Authorities {
    fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let pem =
            std::fs::read(file).map_err(|error| format!("remote.ca_file {shown}: {error}"))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| format!("remote.ca_file {shown}: {}", causes(&error)))?;
        if certificates.is_empty() {
            return Err(format!("remote.ca_file {shown} has no certificate"));
        }
        Ok(Self { pem, certificates })
    }
}

impl Transport {
    /// From within a runtime.
    pub(crate) fn new(
        endpoint: &Endpoint,
        config: &RemoteConfig,
        context: &TransportContext,
    ) -> Result<Self, String> {
        let credentials = context.credentials.clone();
        Ok(match endpoint.protocol {
            Protocol::Rest => {
                let client = context.rest.clone();
                let rest = RestTransport::new(endpoint, config, client, credentials)?;
                Self::Rest(Box::new(rest))
            }
            Protocol::Grpc => {
                let authorities = context.authorities.as_ref();
                Self::Grpc(GrpcTransport::new(
                    endpoint,
                    config,
                    credentials,
                    authorities,
                )?)
            }
        })
    }

    /// Sends a request. Whoever calls bounds the time.
    pub(crate) async fn infer(&self, call: &Call) -> Result<Answer, CallFailure> {
        match self {
            Self::Rest(rest) => rest.infer(call).await,
            Self::Grpc(grpc) => grpc.infer(call).await,
        }
    }

    /// Whether the server and the model are ready.
    pub(crate) async fn ready(&self) -> Result<(), CallFailure> {
        match self {
            Self::Rest(rest) => rest.ready().await,
            Self::Grpc(grpc) => grpc.ready().await,
        }
    }

    /// The signature that the server has for the model; `None` if it does not know it.
    pub(crate) async fn signature(&self) -> Result<Option<Signature>, CallFailure> {
        match self {
            Self::Rest(rest) => rest.signature().await,
            Self::Grpc(grpc) => grpc.signature().await,
        }
    }
}
