//! The `[traces]` section.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which traces are sent, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TracesConfig {
    /// The collector's address, such as `http://localhost:4317`. If absent, OpenTelemetry's
    /// environment variables are used; if they are not set, no traces are sent.
    pub endpoint: Option<String>,
    /// The transport of OTLP. If absent, OpenTelemetry's environment variables are used; the
    /// default is gRPC.
    pub protocol: Option<OtlpProtocol>,
    /// A file of headers to send along, each on a line as `name: value`.
    pub headers_file: Option<PathBuf>,
    /// The name of the server in traces.
    pub service_name: Option<String>,
    /// The share of requests whose trace is kept, from 0 to 1. If the client sends `traceparent`,
    /// the client decides instead.
    pub sample: f64,
    /// Whether every request that failed through a fault of the server is kept.
    pub keep_failed: bool,
    /// How many of the slowest requests of each version are kept in each period of 10 seconds.
    pub keep_slowest: usize,
    /// Entries of clients' `baggage` that become attributes of spans.
    pub baggage: Vec<String>,
    /// Maximum number of spans in the queue; further ones are dropped.
    pub queue_spans: usize,
    /// Time limit for a response of the collector, in milliseconds.
    pub timeout_ms: u64,
}

/// The form of OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpProtocol {
    /// gRPC, usually at port 4317.
    Grpc,
    /// Protobuf over HTTP, usually at port 4318.
    Http,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: None,
            headers_file: None,
            service_name: None,
            sample: 0.01,
            keep_failed: true,
            keep_slowest: 5,
            baggage: Vec::new(),
            queue_spans: 8192,
            timeout_ms: 10_000,
        }
    }
}

impl TracesConfig {
    /// Whether traces should be sent; `variable` reads the environment.
    pub fn is_on(&self, variable: impl Fn(&str) -> Option<String>) -> bool {
        // The configuration file wins: OTEL_SDK_DISABLED does not switch off what the file asks for.
        if self.endpoint.is_some() {
            return true;
        }
        let has_endpoint = ENDPOINT_VARIABLES
            .iter()
            .any(|name| variable(name).is_some_and(|address| !address.is_empty()));
        let is_off = is_set_to(variable("OTEL_SDK_DISABLED"), "true")
            || is_set_to(variable("OTEL_TRACES_EXPORTER"), "none");
        has_endpoint && !is_off
    }

    /// The form of OTLP to speak.
    pub(crate) fn protocol(&self, variable: impl Fn(&str) -> Option<String>) -> OtlpProtocol {
        if let Some(protocol) = self.protocol {
            return protocol;
        }
        match PROTOCOL_VARIABLES.iter().find_map(|name| variable(name)) {
            // `http/protobuf` and `http/json` are both values of the specification.
            Some(protocol) if protocol.starts_with("http") => OtlpProtocol::Http,
            _ => OtlpProtocol::Grpc,
        }
    }
}

/// Whether a variable has a value, in any case of letters.
fn is_set_to(variable: Option<String>, value: &str) -> bool {
    variable.is_some_and(|set| set.eq_ignore_ascii_case(value))
}

// The names are those of the OpenTelemetry specification, "OpenTelemetry Protocol Exporter". The variable
// for traces alone takes precedence over the one for all signals, so it stands first.
const ENDPOINT_VARIABLES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
const PROTOCOL_VARIABLES: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_or_the_environment_names_a_collector() {
        fn none(_: &str) -> Option<String> {
            None
        }
        fn set(name: &str) -> Option<String> {
            (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://collector:4317".to_owned())
        }
        fn off(name: &str) -> Option<String> {
            set(name).or_else(|| (name == "OTEL_SDK_DISABLED").then(|| "True".to_owned()))
        }
        let config = TracesConfig::default();
        assert_eq!(
            (config.is_on(none), config.is_on(set), config.is_on(off)),
            (false, true, false)
        );
        let config: TracesConfig = toml::from_str("endpoint = \"http://other:4317\"").unwrap();
        assert_eq!((config.is_on(none), config.is_on(off)), (true, true));
    }

    #[test]
    fn the_protocol_is_grpc_where_nobody_says_http() {
        let config = TracesConfig::default();
        assert_eq!(config.protocol(|_| None), OtlpProtocol::Grpc);
        assert_eq!(
            config.protocol(|_| Some("http/protobuf".to_owned())),
            OtlpProtocol::Http
        );
        let config: TracesConfig = toml::from_str("protocol = \"grpc\"").unwrap();
        assert_eq!(
            config.protocol(|_| Some("http/protobuf".to_owned())),
            OtlpProtocol::Grpc
        );
    }
}
