//! The section `[remote]`, checked.

use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use tidegate_core::{BreakerSpec, Manifest};
use tidegate_gateway::BreakerPolicy;

/// Most servers of a version.
const MAX_ENDPOINTS: usize = 64;
/// The longest time of any setting, in milliseconds: a day.
const MAX_MS: u64 = 86_400_000;
/// The port of gRPC where an endpoint has none, as servers of the protocol have it.
const GRPC_PORT: u16 = 8001;

/// How a version is called.
#[derive(Clone, Debug)]
pub(crate) struct RemoteConfig {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) model: String,
    /// `None` for the one that the servers choose.
    pub(crate) version: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    /// The authorities of the servers' certificates; those of the operating system without it.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) load_timeout: Duration,
    pub(crate) health_interval: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) max_waiting: usize,
    pub(crate) max_answer_bytes: usize,
    pub(crate) ejection: EjectionPolicy,
    /// Share of healthy servers below which all of them are used.
    pub(crate) panic_share: f64,
    pub(crate) max_retries: u32,
    pub(crate) retry_share: f64,
    pub(crate) retry_backoff: Duration,
    pub(crate) hedge: bool,
    pub(crate) breaker: BreakerPolicy,
    /// Whether outputs must have as many rows as inputs.
    pub(crate) has_batch_axis: bool,
}

/// When a server is left out, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EjectionPolicy {
    pub(crate) failures: u32,
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) protocol: Protocol,
    /// With the scheme of HTTP and without a slash at its end.
    pub(crate) url: String,
    /// As metrics, logs and messages name it.
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Rest,
    Grpc,
}

impl RemoteConfig {
    /// Checks the settings of a manifest. `credentials` is the folder of bearer tokens;
    /// `folder_name` the model's name where nothing else says it.
    pub(crate) fn new(
        manifest: &Manifest,
        folder_name: &str,
        credentials: Option<&Path>,
    ) -> Result<Self, String> {
        let spec = manifest
            .remote
            .as_ref()
            .ok_or("model.toml has no section [remote]")?;
        let names = [&spec.model, &manifest.name, folder_name];
        let model = names.into_iter().find(|name| !name.is_empty());
        Ok(Self {
            endpoints: endpoints(&spec.endpoints)?,
            model: model.ok_or("remote.model is missing")?.to_owned(),
            version: (!spec.version.is_empty()).then(|| spec.version.clone()),
            token_file: credential(
                "bearer_token_file",
                spec.bearer_token_file.as_deref(),
                credentials,
            )?,
            ca_file: credential("ca_file", spec.ca_file.as_deref(), credentials)?,
            connect_timeout: duration("connect_timeout_ms", spec.connect_timeout_ms)?,
            request_timeout: duration("request_timeout_ms", spec.request_timeout_ms)?,
            load_timeout: duration("load_timeout_ms", spec.load_timeout_ms)?,
            health_interval: duration("health_interval_ms", spec.health_interval_ms)?,
            max_in_flight: within("max_in_flight", spec.max_in_flight, 1..=65_536)?,
            max_waiting: manifest.batching.max_queue_requests,
            max_answer_bytes: within("max_answer_bytes", spec.max_answer_bytes, 1..=1 << 32)?,
            ejection: EjectionPolicy {
                failures: within("ejection_failures", spec.ejection_failures, 1..=10_000)?,
                first: duration("ejection_ms", spec.ejection_ms)?,
                longest: duration("ejection_max_ms", spec.ejection_max_ms)?,
            },
            panic_share: percent("panic_percent", spec.panic_percent)?,
            max_retries: within("max_retries", spec.max_retries, 0..=10)?,
            retry_share: percent("retry_budget_percent", spec.retry_budget_percent)?,
            retry_backoff: duration("retry_backoff_ms", spec.retry_backoff_ms)?,
            hedge: spec.hedge,
            breaker: breaker(&spec.breaker)?,
            has_batch_axis: manifest
                .batching
                .max_batch_size
                .is_some_and(|rows| rows > 0),
        })
    }
}

fn breaker(spec: &BreakerSpec) -> Result<BreakerPolicy, String> {
    let failures = percent("breaker.failure_percent", spec.failure_percent)?;
    let slow_ms = within("breaker.slow_request_ms", spec.slow_request_ms, 0..=MAX_MS)?;
    Ok(BreakerPolicy {
        window: duration("breaker.window_ms", spec.window_ms)?,
        min_calls: within("breaker.min_requests", spec.min_requests, 1..=1_000_000)?.into(),
        failure_share: (failures > 0.0).then_some(failures),
        slow_call: (slow_ms > 0).then(|| Duration::from_millis(slow_ms)),
        slow_share: percent("breaker.slow_percent", spec.slow_percent)?,
        open: duration("breaker.open_ms", spec.open_ms)?,
    })
}

fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = range.into_inner();
    Err(format!(
        "remote.{key} is {value}, it must be from {least} to {most}"
    ))
}

fn duration(key: &str, ms: u64) -> Result<Duration, String> {
    within(key, ms, 1..=MAX_MS).map(Duration::from_millis)
}

fn percent(key: &str, percent: u32) -> Result<f64, String> {
    within(key, percent, 0..=100).map(|percent| f64::from(percent) / 100.0)
}

fn endpoints(texts: &[String]) -> Result<Vec<Endpoint>, String> {
    if texts.is_empty() || texts.len() > MAX_ENDPOINTS {
        let found = texts.len();
        return Err(format!(
            "remote.endpoints has {found} servers, it must have 1 to {MAX_ENDPOINTS}"
        ));
    }
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for text in texts {
        let endpoint = Endpoint::parse(text)
            .map_err(|problem| format!("remote.endpoints: {text:?} {problem}"))?;
        if endpoints.iter().any(|other| other.name == endpoint.name) {
            return Err(format!("remote.endpoints has {:?} twice", endpoint.name));
        }
        endpoints.push(endpoint);
    }
    Ok(endpoints)
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|problem| format!("is not a URL: {problem}"))?;
        let (protocol, scheme) = match url.scheme() {
            "http" => (Protocol::Rest, "http"),
            "https" => (Protocol::Rest, "https"),
            "grpc" => (Protocol::Grpc, "http"),
            "grpcs" => (Protocol::Grpc, "https"),
            _ => return Err("must begin with http://, https://, grpc:// or grpcs://".to_owned()),
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or("has no host")?;
        // A token in a URL would be in logs and metrics.
        if !url.username().is_empty() || url.password().is_some() {
            return Err("has credentials: use bearer_token_file".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has more than host, port and path".to_owned());
        }
        let path = url.path().trim_end_matches('/');
        if protocol == Protocol::Grpc && !path.is_empty() {
            return Err("has a path, which gRPC does not use".to_owned());
        }
        let port = match (url.port(), protocol) {
            (Some(port), _) => format!(":{port}"),
            (None, Protocol::Grpc) => format!(":{GRPC_PORT}"),
            (None, Protocol::Rest) => String::new(),
        };
        Ok(Self {
            protocol,
            url: format!("{scheme}://{host}{port}{path}"),
            name: format!("{}://{host}{port}{path}", url.scheme()),
        })
    }
}

/// The file of a token or of authorities, which must be in the folder that the operator of this server
/// gives: a bundle is not trusted with other files.
fn credential(
    key: &str,
    file: Option<&str>,
    folder: Option<&Path>,
) -> Result<Option<PathBuf>, String> {
    let Some(file) = file else {
        return Ok(None);
    };
    let folder = folder.ok_or_else(|| {
        format!("remote.{key} is set, and engines.remote_credentials of the server is not")
    })?;
    let mut parts = Path::new(file).components();
    if file.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!(
            "remote.{key} {file:?} is outside of engines.remote_credentials"
        ));
    }
    Ok(Some(folder.join(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RemoteConfig, String> {
        let manifest: Manifest = toml::from_str(text).unwrap();
        RemoteConfig::new(&manifest, "folder", Some(Path::new("/tokens")))
    }

    #[test]
    fn endpoints_have_a_protocol_a_host_and_a_port() {
        let config = parse(
            "[remote]\nendpoints = [\"http://a:1/x/\", \"https://b\", \"grpc://c\", \"grpcs://d:2\"]",
        )
        .unwrap();
        let urls: Vec<&str> = config
            .endpoints
            .iter()
            .map(|one| one.url.as_str())
            .collect();
        assert_eq!(
            urls,
            ["http://a:1/x", "https://b", "http://c:8001", "https://d:2"]
        );
        assert_eq!(config.endpoints[2].protocol, Protocol::Grpc);
        assert_eq!(config.endpoints[2].name, "grpc://c:8001");
        assert_eq!(config.model, "folder");
    }

    #[test]
    fn what_cannot_be_followed_is_refused_with_its_key() {
        for (settings, problem) in [
            ("endpoints = []", "remote.endpoints has 0 servers"),
            ("endpoints = [\"ftp://a\"]", "must begin with http://"),
            ("endpoints = [\"http://u:p@a\"]", "has credentials"),
            ("endpoints = [\"grpc://a/x\"]", "has a path"),
            ("endpoints = [\"http://a\", \"http://a/\"]", "twice"),
            (
                "endpoints = [\"http://a\"]\nmax_in_flight = 0",
                "remote.max_in_flight is 0",
            ),
            (
                "endpoints = [\"http://a\"]\nrequest_timeout_ms = 0",
                "remote.request_timeout_ms is 0",
            ),
            (
                "endpoints = [\"http://a\"]\nbearer_token_file = \"../x\"",
                "is outside of",
            ),
            (
                "endpoints = [\"http://a\"]\nbearer_token_file = \"/etc/x\"",
                "is outside of",
            ),
            (
                "endpoints = [\"https://a\"]\nca_file = \"../ca.pem\"",
                "remote.ca_file \"../ca.pem\" is outside of",
            ),
        ] {
            let found = parse(&format!("[remote]\n{settings}")).unwrap_err();
            assert!(found.contains(problem), "{settings}: {found}");
        }
    }
}
