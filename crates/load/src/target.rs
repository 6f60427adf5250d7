//! The server under load: its address, and the signatures of its models.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use tidegate_core::{Dim, Signature, TensorSpec};
use tidegate_protocol::inference::{
    ModelMetadataRequest, ModelMetadataResponse, model_metadata_response,
};

use crate::error::LoadError;
use crate::failure::Failure;
use crate::grpc::{self, Channel};
use crate::http::fetch;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
/// More than the metadata of any model, in bytes.
const METADATA_BYTES: usize = 16 << 20;
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const METADATA: &str = "/inference.GRPCInferenceService/ModelMetadata";

/// The protocol of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Tensors as JSON numbers over HTTP/1.1.
    RestJson,
    /// Tensors as bytes behind a JSON header over HTTP/1.1.
    RestBinary,
    /// gRPC, tensors as raw contents.
    Grpc,
}

impl Protocol {
    /// The name, as it stands on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RestJson => "rest-json",
            Self::RestBinary => "rest-binary",
            Self::Grpc => "grpc",
        }
    }
}

/// A server that took a connection when this was made.
#[derive(Clone, Debug)]
pub struct Target {
    protocol: Protocol,
    address: SocketAddr,
    /// The value of `Host` headers.
    authority: String,
    /// The path before `/v2`, without a slash at its end.
    prefix: String,
    headers: HeaderMap,
}

impl Target {
    /// The server at a URL, or for gRPC also at a bare `host:port`; `headers` are sent with every
    /// request.
    ///
    /// # Errors
    /// If that is not an address, or nothing listens there.
    pub fn new(
        protocol: Protocol,
        url: &str,
        headers: &[(String, String)],
    ) -> Result<Self, LoadError> {
        let full = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = full
            .parse()
            .map_err(|error: http::uri::InvalidUri| address_error(url, error))?;
        // No TLS: the clients of this crate speak plain TCP.
        if uri.scheme_str() != Some("http") {
            return Err(address_error(url, "the URL must begin with http://"));
        }
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| address_error(url, "it has no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        // Resolved once: a name server's answer time is not the server's.
        let address = reach(host.trim_matches(['[', ']']), port)?;
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name
                .parse()
                .map_err(|_| address_error(url, format!("{name:?} is not a header name")))?;
            let value: HeaderValue = value.parse().map_err(|_| {
                address_error(
                    url,
                    format!("the value of header {name:?} is not printable"),
                )
            })?;
            map.append(name, value);
        }
        Ok(Self {
            protocol,
            address,
            authority,
            prefix,
            headers: map,
        })
    }

    /// The protocol of the requests.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The server as people write it.
    pub fn url(&self) -> String {
        match self.protocol {
            Protocol::Grpc => self.authority.clone(),
            _ => format!("http://{}{}", self.authority, self.prefix),
        }
    }

    /// The signature of a model, as the server describes it.
    ///
    /// # Errors
    /// If the server cannot be reached, does not know the model, or sends another kind of answer.
    pub fn signature(&self, model: &str) -> Result<Signature, LoadError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let metadata = runtime
            .block_on(async { tokio::time::timeout(METADATA_TIMEOUT, self.metadata(model)).await });
        metadata
            .map_err(|_| "the server does not respond".to_owned())
            .and_then(|metadata| metadata.map_err(|failure| failure.message))
            .and_then(Metadata::signature)
            .map_err(|problem| LoadError::Metadata {
                model: model.to_owned(),
                problem,
            })
    }

    async fn metadata(&self, model: &str) -> Result<Metadata, Failure> {
        if self.protocol == Protocol::Grpc {
            let channel = Channel::new(self.address, self.uri(METADATA), &self.grpc_headers());
            channel.connect().await?;
            let ask = ModelMetadataRequest {
                name: model.to_owned(),
                version: String::new(),
            };
            let (parts, _) = channel.call(&grpc::frame(&ask)).await?;
            return Ok(grpc::message::<ModelMetadataResponse>(&parts)?.into());
        }
        let head = self.head("GET", &format!("/v2/models/{}", escape(model)), &[]);
        let (status, body) = fetch(
            self.address,
            format!("{head}\r\n").as_bytes(),
            METADATA_BYTES,
        )
        .await?;
        match status {
            200 => serde_json::from_slice(&body).map_err(|error| {
                Failure::new(
                    crate::FailureKind::Malformed,
                    format!("not metadata: {error}"),
                )
            }),
            status => Err(Failure::http(status, &body)),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A gRPC connection for inference; `None` for other protocols.
    pub(crate) fn channel(&self) -> Option<Channel> {
        let is_grpc = self.protocol == Protocol::Grpc;
        is_grpc.then(|| Channel::new(self.address, self.uri(INFER), &self.grpc_headers()))
    }

    /// The head of an HTTP request, without the empty line at its end. The user's own headers
    /// replace those given here that have the same name.
    pub(crate) fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut head = format!("{method} {}{path} HTTP/1.1\r\n", self.prefix);
        let given = headers
            .iter()
            .filter(|(name, _)| !self.headers.contains_key(*name));
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
        // HTTP/1.1 wants exactly one `Host` (RFC 9112, section 3.2).
        let host =
            (!self.headers.contains_key("host")).then_some(("host", self.authority.as_str()));
        for (name, value) in host.into_iter().chain(given.copied()).chain(own) {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head
    }

    fn uri(&self, path: &'static str) -> Uri {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.authority.as_str())
            .path_and_query(path);
        uri.build()
            .expect("scheme, authority and path were parsed before")
    }

    fn grpc_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        // The gRPC protocol requires it, to detect proxies that would drop the trailers.
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        headers
    }
}

fn address_error(url: &str, problem: impl ToString) -> LoadError {
    LoadError::Address {
        given: url.to_owned(),
        problem: problem.to_string(),
    }
}

/// The first of a host's addresses that accepts a connection.
fn reach(host: &str, port: u16) -> Result<SocketAddr, LoadError> {
    let address = format!("{host}:{port}");
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    let candidates = (host, port).to_socket_addrs();
    let candidates = candidates.map_err(|error| LoadError::Connect {
        address: address.clone(),
        error,
    })?;
    for candidate in candidates {
        match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(candidate),
            Err(error) => last = error,
        }
    }
    Err(LoadError::Connect {
        address,
        error: last,
    })
}

/// The characters that need no escaping in a segment of a path: RFC 3986, section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A model's name as one segment of a path.
pub(crate) fn escape(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

#[derive(Deserialize)]
struct Metadata {
    inputs: Vec<TensorMetadata>,
    #[serde(default)]
    outputs: Vec<TensorMetadata>,
}

#[derive(Deserialize)]
struct TensorMetadata {
    name: String,
    datatype: String,
    shape: Vec<i64>,
}

impl Metadata {
    fn signature(self) -> Result<Signature, String> {
        let inputs = self.inputs.into_iter().map(TensorMetadata::spec);
        let outputs = self.outputs.into_iter().map(TensorMetadata::spec);
        Ok(Signature {
            inputs: inputs.collect::<Result<_, _>>()?,
            outputs: outputs.collect::<Result<_, _>>()?,
        })
    }
}

impl TensorMetadata {
    fn spec(self) -> Result<TensorSpec, String> {
        let datatype = self
            .datatype
            .parse()
            .map_err(|error| format!("\"{}\": {error}", self.name))?;
        let dims = Some(self.shape.into_iter().map(Dim::from_wire).collect());
        Ok(TensorSpec {
            name: self.name,
            datatype,
            dims,
            // Metadata does not say which inputs may be left out, so that all are sent.
            optional: false,
        })
    }
}

impl From<ModelMetadataResponse> for Metadata {
    fn from(message: ModelMetadataResponse) -> Self {
        Self {
            inputs: message.inputs.into_iter().map(Into::into).collect(),
            outputs: message.outputs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<model_metadata_response::TensorMetadata> for TensorMetadata {
    fn from(message: model_metadata_response::TensorMetadata) -> Self {
        Self {
            name: message.name,
            datatype: message.datatype,
            shape: message.shape,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_addresses_are_refused() {
        for url in [
            "https://localhost:8000",
            "http://",
            "ftp://x",
            "http://local host",
        ] {
            assert!(
                matches!(
                    Target::new(Protocol::RestJson, url, &[]),
                    Err(LoadError::Address { .. })
                ),
                "{url} was taken"
            );
        }
    }

    #[test]
    fn a_port_without_a_listener_is_refused() {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = Target::new(Protocol::Grpc, &free.to_string(), &[]).unwrap_err();
        assert!(
            error.to_string().contains("is the server running"),
            "{error}"
        );
    }

    #[test]
    fn names_become_one_path_segment() {
        assert_eq!(escape("my model/2"), "my%20model%2F2");
    }
}
