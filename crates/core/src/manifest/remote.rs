//! Where a version is served that another inference server runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The section `[remote]`: a version that other servers run, over the Open Inference Protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteSpec {
    /// The servers, all with the same model: `http://` and `https://` for REST, `grpc://` and
    /// `grpcs://` for gRPC, each with host and port.
    pub endpoints: Vec<String>,
    /// The model's name on these servers; by default the name of this model.
    pub model: String,
    /// Its version on these servers; empty for the one that they choose.
    pub version: String,
    /// A file with a bearer token for these servers, relative to the server's
    /// `engines.remote_credentials`. Credentials of callers are never passed on.
    pub bearer_token_file: Option<String>,
    /// A PEM file with the authorities of these servers' certificates, in place of those of the
    /// operating system, relative to the server's `engines.remote_credentials`.
    pub ca_file: Option<String>,
    /// The longest that a connection may take to open, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The longest that a request may take with all its attempts, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long a load waits for a server that can say the signature, in milliseconds.
    pub load_timeout_ms: u64,
    /// Requests in flight to all servers together, and so most connections; further ones wait.
    pub max_in_flight: usize,
    /// The largest answer that is read, in bytes.
    pub max_answer_bytes: usize,
    /// The time between two health checks of a server, in milliseconds.
    pub health_interval_ms: u64,
    /// So many failed requests in a row eject a server.
    pub ejection_failures: u32,
    /// How long a server is ejected for the first time, in milliseconds; each next time is twice as
    /// long.
    pub ejection_ms: u64,
    /// The longest ejection, in milliseconds.
    pub ejection_max_ms: u64,
    /// Where less than this share of the servers is healthy, in percent, all of them get requests.
    pub panic_percent: u32,
    /// The most further attempts of a request that failed before its answer began.
    pub max_retries: u32,
    /// Further attempts, hedges included, as a share of the requests of the last ten seconds, in
    /// percent.
    pub retry_budget_percent: u32,
    /// About how long the first further attempt waits, in milliseconds; each next one twice as long.
    pub retry_backoff_ms: u64,
    /// Whether a request that takes longer than 95 % of the last ones is sent to a second server.
    pub hedge: bool,
    /// When requests are refused without being sent.
    pub breaker: BreakerSpec,
}

/// The section `[remote.breaker]`: when a version refuses requests because too many have failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerSpec {
    /// The time that is looked at, in milliseconds.
    pub window_ms: u64,
    /// The least requests in that time for a decision.
    pub min_requests: u32,
    /// The share of failed requests that opens the breaker, in percent; 0 switches this off.
    pub failure_percent: u32,
    /// A request that takes longer counts as slow, in milliseconds; 0 switches this off.
    pub slow_request_ms: u64,
    /// The share of slow requests that opens the breaker, in percent.
    pub slow_percent: u32,
    /// How long it stays open before one request tries, in milliseconds.
    pub open_ms: u64,
}

impl Default for RemoteSpec {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            model: String::new(),
            version: String::new(),
            bearer_token_file: None,
            ca_file: None,
            connect_timeout_ms: 1000,
            request_timeout_ms: 30_000,
            load_timeout_ms: 10_000,
            max_in_flight: 64,
            max_answer_bytes: 256 << 20,
            health_interval_ms: 5000,
            ejection_failures: 5,
            ejection_ms: 5000,
            ejection_max_ms: 300_000,
            panic_percent: 50,
            max_retries: 2,
            retry_budget_percent: 20,
            retry_backoff_ms: 25,
            hedge: false,
            breaker: BreakerSpec::default(),
        }
    }
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self {
            window_ms: 10_000,
            min_requests: 20,
            failure_percent: 50,
            slow_request_ms: 0,
            slow_percent: 80,
            open_ms: 5000,
        }
    }
}
