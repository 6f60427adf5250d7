//! The bounded queue of spans and the task that sends them.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use thiserror::Error;
use tidegate_redaction::Redactor;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::{OtlpProtocol, Recorder, Tracer, TracesConfig};

/// Most spans in one message.
const BATCH: usize = 512;
/// How long a span waits for others.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// How long the spans that still wait may take to be sent when the server stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
/// A wrong path, such as that of a model, must not be read into memory as a whole.
const MAX_HEADER_FILE_BYTES: u64 = 64 << 10;

/// The outcome of sending spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanOutcome {
    /// The collector accepted them.
    Sent,
    /// The collector refused them, or could not be reached.
    Failed,
    /// The queue was full.
    Dropped,
}

impl SpanOutcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Dropped];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// Why traces cannot be sent.
#[derive(Debug, Error)]
pub enum TracesError {
    /// A value is not allowed.
    #[error("traces.{key} {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The address or a variable of OpenTelemetry's cannot be used.
    #[error("traces cannot be sent: {0}")]
    Exporter(String),
}

/// Called with the outcome and the number of spans.
type OnOutcome = Arc<dyn Fn(SpanOutcome, usize) + Send + Sync>;

/// The queue of spans to send.
pub(crate) struct Queue {
    spans: mpsc::Sender<SpanData>,
    on_outcome: OnOutcome,
}

impl Queue {
    /// Queues spans; those that do not fit are dropped and counted.
    pub(crate) fn push(&self, spans: Vec<SpanData>) {
        // Never waits: a slow collector must not slow requests down.
        let dropped = spans
            .into_iter()
            .filter_map(|span| self.spans.try_send(span).err())
            .count();
        if dropped > 0 {
            (self.on_outcome)(SpanOutcome::Dropped, dropped);
        }
    }
}

/// The task that sends spans.
pub struct Exporter {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts the task that sends spans; `on_outcome` is called with the outcome.
    ///
    /// Must be called within a tokio runtime. A collector that cannot be reached yet is not an error:
    /// it may start later.
    ///
    /// # Errors
    /// If the configuration, or a variable of OpenTelemetry's, cannot be used.
    pub fn start(
        config: &TracesConfig,
        redactor: Arc<Redactor>,
        on_outcome: impl Fn(SpanOutcome, usize) + Send + Sync + 'static,
    ) -> Result<(Tracer, Recorder, Self), TracesError> {
        if !(0.0..=1.0).contains(&config.sample) {
            let problem = format!("is {}, it must be a share from 0 to 1", config.sample);
            return Err(TracesError::Value {
                key: "sample",
                problem,
            });
        }
        let on_outcome: OnOutcome = Arc::new(on_outcome);
        let mut exporter = exporter(config)?;
        exporter.set_resource(&resource(config));
        let (spans, waiting) = mpsc::channel(config.queue_spans.max(1));
        let (stop, stopped) = watch::channel(false);
        let sender = Sender {
            exporter,
            waiting,
            on_outcome: on_outcome.clone(),
            is_failing: false,
        };
        let task = tokio::spawn(sender.run(stopped));
        let recorder = Recorder::new(config, redactor, Queue { spans, on_outcome });
        Ok((Tracer::new(&config.baggage), recorder, Self { stop, task }))
    }

    /// Sends the spans that wait, within a few seconds.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        if timeout(SHUTDOWN_TIMEOUT, self.task).await.is_err() {
            warn!("traces that waited at shutdown could not be sent in time");
        }
    }
}

struct Sender {
    exporter: SpanExporter,
    waiting: mpsc::Receiver<SpanData>,
    on_outcome: OnOutcome,
    is_failing: bool,
}

impl Sender {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut tick = interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let missing = BATCH - batch.len();
            let is_due = tokio::select! {
                // 0 spans: the channel is closed and empty, so nothing will fill the batch any more.
                received = self.waiting.recv_many(&mut batch, missing) => received == 0 || batch.len() >= BATCH,
                _ = tick.tick() => true,
                // Closing lets the spans that already wait be received, and drops later ones.
                _ = stopped.wait_for(|stop| *stop), if !self.waiting.is_closed() => {
                    self.waiting.close();
                    false
                }
            };
            if is_due && !batch.is_empty() {
                self.send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH)))
                    .await;
            }
            if self.waiting.is_closed() && self.waiting.is_empty() && batch.is_empty() {
                return;
            }
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let (count, began) = (batch.len(), Instant::now());
        let sent = self.exporter.export(batch).await;
        let outcome = match &sent {
            Ok(()) => SpanOutcome::Sent,
            Err(_) => SpanOutcome::Failed,
        };
        (self.on_outcome)(outcome, count);
        // Logged when it changes: a collector that is down fails once a second.
        match &sent {
            Ok(()) if self.is_failing => info!("traces can be sent again"),
            Err(error) if !self.is_failing => {
                warn!(%error, spans = count, after_ms = began.elapsed().as_millis() as u64, "traces cannot be sent");
            }
            _ => {}
        }
        self.is_failing = sent.is_err();
    }
}

fn exporter(config: &TracesConfig) -> Result<SpanExporter, TracesError> {
    // An error means that another part of the process has installed a provider: it is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let timeout = Duration::from_millis(config.timeout_ms.max(1));
    let endpoint = config.endpoint.as_deref();
    let headers = match config.headers_file.as_deref() {
        Some(path) => headers(path)?,
        None => HeaderMap::new(),
    };
    match config.protocol(|name| std::env::var(name).ok()) {
        OtlpProtocol::Grpc => grpc_exporter(endpoint, timeout, headers),
        OtlpProtocol::Http => http_exporter(endpoint, timeout, &headers),
    }
}

fn grpc_exporter(
    endpoint: Option<&str>,
    timeout: Duration,
    headers: HeaderMap,
) -> Result<SpanExporter, TracesError> {
    let builder = SpanExporter::builder().with_tonic().with_timeout(timeout);
    let builder = builder.with_metadata(MetadataMap::from_headers(headers));
    // Without an endpoint the builder reads OpenTelemetry's own variables.
    let built = match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint).build(),
        None => builder.build(),
    };
    built.map_err(|error| TracesError::Exporter(error.to_string()))
}

fn http_exporter(
    endpoint: Option<&str>,
    timeout: Duration,
    headers: &HeaderMap,
) -> Result<SpanExporter, TracesError> {
    // No redirects: the headers often hold a key, which must not reach another host.
    let client = reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| TracesError::Exporter(error.to_string()))?;
    let mut texts = HashMap::new();
    for (name, value) in headers {
        let value = value.to_str().unwrap_or_default().to_owned();
        texts.insert(name.to_string(), value);
    }
    let builder = SpanExporter::builder().with_http().with_timeout(timeout);
    let builder = builder.with_http_client(client).with_headers(texts);
    let built = match endpoint {
        Some(endpoint) => builder.with_endpoint(traces_path(endpoint)).build(),
        None => builder.build(),
    };
    built.map_err(|error| TracesError::Exporter(error.to_string()))
}

/// The address that takes traces: `/v1/traces`, the path of the OTLP specification, is added if the
/// address has no path.
fn traces_path(endpoint: &str) -> String {
    let has_path = endpoint
        .split_once("://")
        .is_some_and(|(_, rest)| rest.trim_end_matches('/').contains('/'));
    if has_path {
        endpoint.to_owned()
    } else {
        format!("{}/v1/traces", endpoint.trim_end_matches('/'))
    }
}

/// Reads `name: value` lines. Messages do not show values, which are often keys.
fn headers(path: &Path) -> Result<HeaderMap, TracesError> {
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_HEADER_FILE_BYTES).read_to_string(&mut text));
    let shown = path.display();
    read.map_err(|error| headers_error(format!("cannot be read: {shown}: {error}")))?;
    let mut headers = HeaderMap::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let Some((name, value)) = header(line) else {
            let problem = format!("{shown}: line {} is not \"name: value\"", at + 1);
            return Err(headers_error(problem));
        };
        // A header may be repeated: both values are sent.
        headers.append(name, value);
    }
    Ok(headers)
}

fn headers_error(problem: String) -> TracesError {
    TracesError::Value {
        key: "headers_file",
        problem,
    }
}

/// A `name: value` line, if it is one.
fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    // Keeps the value out of debug output and out of HTTP/2's table of repeated headers.
    value.set_sensitive(true);
    Some((HeaderName::from_str(name.trim()).ok()?, value))
}

/// The attributes that describe this server. OpenTelemetry's own variables win over the defaults, and
/// the configuration wins over them.
fn resource(config: &TracesConfig) -> Resource {
    const NAME: Key = Key::from_static_str("service.name");
    let known = Resource::builder().build();
    // The SDK's default is `unknown_service`, with the name of the program behind it.
    let is_named = known
        .get(&NAME)
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let name = config
        .service_name
        .clone()
        .or_else(|| (!is_named).then(|| "tidegate".to_owned()));
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let instance = format!("{host}:{}", std::process::id());
    let own = [
        (!has(&known, "service.version"))
            .then(|| KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))),
        (!has(&known, "service.instance.id"))
            .then(|| KeyValue::new("service.instance.id", instance)),
        (!has(&known, "host.name")).then(|| KeyValue::new("host.name", host)),
        name.map(|name| KeyValue::new(NAME, name)),
    ];
    Resource::builder()
        .with_attributes(own.into_iter().flatten())
        .build()
}

fn has(resource: &Resource, key: &'static str) -> bool {
    resource.get(&Key::from_static_str(key)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_alone_gets_the_path_of_the_standard() {
        assert_eq!(
            traces_path("http://collector:4318"),
            "http://collector:4318/v1/traces"
        );
        assert_eq!(
            traces_path("http://collector:4318/"),
            "http://collector:4318/v1/traces"
        );
        assert_eq!(
            traces_path("http://collector/otlp/v1/traces"),
            "http://collector/otlp/v1/traces"
        );
    }

    #[test]
    fn a_wrong_header_is_refused_without_showing_it() {
        let path = std::env::temp_dir().join(format!("tidegate-headers-{}", std::process::id()));
        std::fs::write(&path, "authorization: Bearer hunter2\n\nx-team: ml\n").unwrap();
        assert_eq!(headers(&path).unwrap().len(), 2);
        std::fs::write(&path, "authorization: fine\nhunter2\n").unwrap();
        let error = headers(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(
            error.contains("line 2") && !error.contains("hunter2"),
            "{error}"
        );
        assert!(
            headers(&path)
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
    }

    #[tokio::test]
    async fn spans_beyond_the_queue_are_dropped_and_counted() {
        let dropped = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = dropped.clone();
        let (spans, _waiting) = mpsc::channel(2);
        let queue = Queue {
            spans,
            on_outcome: Arc::new(move |outcome, spans| {
                assert_eq!(outcome, SpanOutcome::Dropped);
                count.fetch_add(spans, std::sync::atomic::Ordering::Relaxed);
            }),
        };
        let context = tidegate_core::TraceContext::root(1, 1, true);
        let request = crate::FinishedRequest {
            context: &context,
            call: crate::Call::Grpc("ModelInfer"),
            id: None,
            baggage: None,
            version: None,
            outcome: crate::RequestOutcome::Abandoned,
            received: std::time::SystemTime::now(),
            total: Duration::ZERO,
            encode: Duration::ZERO,
            rows: 0,
            fallback: None,
            stages: None,
            nodes: &[],
        };
        let mut made = crate::spans::Spans::new(Vec::new(), Arc::default());
        for _ in 0..5 {
            queue.push(made.of(&request));
        }
        assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 3);
    }
}
