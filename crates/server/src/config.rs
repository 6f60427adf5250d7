//! The configuration of the front ends.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The `[server]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Where REST and `/metrics` listen; port 0 picks a free one.
    #[serde(deserialize_with = "crate::listen_address::deserialize")]
    pub http: SocketAddr,
    /// Where gRPC listens; port 0 picks a free one.
    #[serde(deserialize_with = "crate::listen_address::deserialize")]
    pub grpc: SocketAddr,
    /// Whether the server may listen on addresses that others can reach although `auth.enabled` is
    /// false, so that everybody who can connect may do everything.
    pub allow_unauthenticated: bool,
    /// The names that clients may call this server by, beside addresses, `localhost`, names without a
    /// dot and names of private networks; `*.` before a name stands for all below it, `*` alone for
    /// every name. If empty, names are checked only where `http` is an address of this machine alone.
    pub allowed_hosts: Vec<String>,
    /// Largest body, before and after decompression, and largest gRPC message, in bytes.
    pub max_body_bytes: usize,
    /// Memory that all requests and answers in flight may take together, in bytes: bodies, decoded
    /// tensors, outputs and encoded answers that are not sent yet. 0 is a quarter of the memory
    /// that the process may use.
    pub memory_budget_bytes: usize,
    /// Open connections over both front ends; one more is closed at once.
    pub max_connections: usize,
    /// Open connections of one client, by its address; one more is closed at once. 0 is three
    /// quarters of `max_connections`. A proxy counts as one client.
    pub max_connections_per_client: usize,
    /// How long a client may take to send a request's headers, and how long an HTTP/1.1 connection
    /// may lie idle between requests, in milliseconds. Longer than load balancers keep idle
    /// connections, most of them 60 seconds: the side that sends requests should be the one that
    /// closes.
    pub header_timeout_ms: u64,
    /// How long a client may take to send a request's body, in milliseconds.
    pub body_timeout_ms: u64,
    /// How long a client may read nothing of an answer that is ready, in milliseconds; then its
    /// connection is closed.
    pub write_timeout_ms: u64,
    /// How long an HTTP/2 connection may lie idle, without a request, in milliseconds.
    pub http2_idle_timeout_ms: u64,
    /// How long requests that were accepted may take to finish after SIGTERM, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Answers smaller than this are sent uncompressed even where the client accepts compression,
    /// in bytes.
    pub compress_min_bytes: usize,
    /// Largest body of an answer before compression, and largest gRPC answer, in bytes. gRPC itself
    /// allows less than 4 GiB, protobuf less than 2 GiB.
    pub max_answer_bytes: usize,
    /// Whether clients may load and unload models through the repository API.
    pub model_control: bool,
    /// How often the folders of models are looked at for models that came, changed or went, in
    /// milliseconds, at least 100; 0 is never. A model is loaded once two looks found the same files.
    pub repository_poll_ms: u64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            http: SocketAddr::from(([127, 0, 0, 1], 8000)),
            grpc: SocketAddr::from(([127, 0, 0, 1], 8001)),
            allow_unauthenticated: false,
            allowed_hosts: Vec::new(),
            max_body_bytes: 64 << 20,
            memory_budget_bytes: 0,
            max_connections: 4096,
            max_connections_per_client: 0,
            header_timeout_ms: 75_000,
            body_timeout_ms: 60_000,
            write_timeout_ms: 30_000,
            http2_idle_timeout_ms: 300_000,
            drain_timeout_ms: 30_000,
            compress_min_bytes: 1024,
            max_answer_bytes: 1 << 30,
            model_control: true,
            repository_poll_ms: 0,
        }
    }
}

impl ServerConfig {
    /// The first address that others than this machine can reach, with the key that sets it.
    pub(crate) fn reachable_address(&self) -> Option<(&'static str, SocketAddr)> {
        let mut addresses = [("server.http", self.http), ("server.grpc", self.grpc)].into_iter();
        // `::ffff:127.0.0.1` is an address of this machine too.
        addresses.find(|(_, address)| !address.ip().to_canonical().is_loopback())
    }
}
