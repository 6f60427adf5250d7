//! The configuration of the front ends.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[server]` section of `tidegate.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// The address of REST and `/metrics`; port 0 means any free port.
    #[serde(deserialize_with = "crate::listen_address::deserialize")]
    pub http: SocketAddr,
    /// The address of gRPC; port 0 means any free port.
    #[serde(deserialize_with = "crate::listen_address::deserialize")]
    pub grpc: SocketAddr,
    /// Whether the server may listen on addresses that other machines can reach while
    /// `auth.enabled` is false. Everybody who can connect may then do everything.
    pub allow_unauthenticated: bool,
    /// The host names of this server that clients may send in `Host`. Addresses, `localhost`, names
    /// without a dot and names of private networks are always allowed. `*.example.com` allows all
    /// names below `example.com`, `*` allows every name. If the list is empty, a port checks names
    /// only if its own address is a loopback address.
    pub allowed_hosts: Vec<String>,
    /// Largest body, before and after decompression, and largest gRPC message, in bytes.
    pub max_body_bytes: usize,
    /// Maximum memory of all requests and answers in flight together, in bytes: bodies, decoded
    /// tensors, outputs and encoded answers that are not sent yet. 0 means a quarter of the memory
    /// that the process may use.
    pub memory_budget_bytes: usize,
    /// Maximum memory of the requests and answers of one client together (one IP address), in bytes.
    /// A single request may take more. 0 means three quarters of `memory_budget_bytes`. A proxy counts
    /// as one client.
    pub memory_budget_bytes_per_client: usize,
    /// Maximum number of open connections of both front ends; further ones are closed immediately.
    pub max_connections: usize,
    /// Maximum number of open connections of one client (one IP address); further ones are closed
    /// immediately. 0 means three quarters of `max_connections`. A proxy counts as one client.
    pub max_connections_per_client: usize,
    /// Time limit for the headers of a request, and idle timeout of an HTTP/1.1 connection, in
    /// milliseconds. It must be longer than the idle timeout of load balancers (60 seconds for
    /// most), so that they close idle connections first.
    pub header_timeout_ms: u64,
    /// Time limit for the body of a request, in milliseconds.
    pub body_timeout_ms: u64,
    /// Minimum rate of a body of which 64 KiB have arrived, on average over 10 seconds, in bytes per
    /// second. 0 means any rate.
    pub min_body_bytes_per_s: usize,
    /// If a client reads nothing of an answer that is ready for this time, in milliseconds, its
    /// connection is closed, or over HTTP/2 the stream of the answer is reset.
    pub write_timeout_ms: u64,
    /// Idle timeout of an HTTP/2 connection without a request, in milliseconds.
    pub http2_idle_timeout_ms: u64,
    /// Time for accepted requests to finish after SIGTERM, in milliseconds.
    pub drain_timeout_ms: u64,
    /// Minimum size of an answer to be compressed, in bytes, if the client accepts compression.
    pub compress_min_bytes: usize,
    /// Largest body of an answer before compression, and largest gRPC answer, in bytes. gRPC itself
    /// allows less than 4 GiB, protobuf less than 2 GiB.
    pub max_answer_bytes: usize,
    /// Whether clients may load and unload models through the repository API.
    pub model_control: bool,
    /// Whether clients on this machine may register POSIX shared memory, and pass tensors in it.
    pub shared_memory: bool,
    /// How often the model folders are checked for models that were added, changed or removed, in
    /// milliseconds, at least 100; 0 means never. A model is loaded when two checks in a row find
    /// the same files.
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
            memory_budget_bytes_per_client: 0,
            max_connections: 4096,
            max_connections_per_client: 0,
            header_timeout_ms: 75_000,
            body_timeout_ms: 60_000,
            min_body_bytes_per_s: 4096,
            write_timeout_ms: 30_000,
            http2_idle_timeout_ms: 300_000,
            drain_timeout_ms: 30_000,
            compress_min_bytes: 1024,
            max_answer_bytes: 1 << 30,
            model_control: true,
            shared_memory: false,
            repository_poll_ms: 0,
        }
    }
}

impl ServerConfig {
    /// The first address that other machines can reach, with the key that sets it.
    pub(crate) fn reachable_address(&self) -> Option<(&'static str, SocketAddr)> {
        let mut addresses = [("server.http", self.http), ("server.grpc", self.grpc)].into_iter();
        // `::ffff:127.0.0.1` is an address of this machine too.
        addresses.find(|(_, address)| !address.ip().to_canonical().is_loopback())
    }

    /// Longest that a server that is stopping waits for a client that sends or reads nothing: 5
    /// seconds, and a part of its time only, which is for requests that run.
    pub(crate) fn client_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms / 4).min(Duration::from_secs(5))
    }
}
