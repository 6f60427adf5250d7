//! The bounded queue of spans and the task that sends them.

use std::collections::HashMap;
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
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::{OtlpProtocol, Recorder, Tracer, TracesConfig};

/// Spans that are sent at once, at most.
const BATCH: usize = 512;
/// How long a span waits for others.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Longest that what is left is sent for at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_HEADER_FILE_BYTES: u64 = 64 << 10;

/// What became of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanOutcome {
    /// The collector has them.
    Sent,
    /// The collector refused them, or could not be reached.
    Failed,
    /// Too many waited.
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
    /// A value is none that there can be.
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

type Told = Arc<dyn Fn(SpanOutcome, usize) + Send + Sync>;

/// Where spans wait to be sent.
pub(crate) struct Queue {
    spans: mpsc::Sender<SpanData>,
    told: Told,
}

impl Queue {
    /// Lets spans wait; those that find no place are dropped.
    pub(crate) fn push(&self, spans: Vec<SpanData>) {
        let dropped = spans
            .into_iter()
            .filter_map(|span| self.spans.try_send(span).err())
            .count();
        if dropped > 0 {
            (self.told)(SpanOutcome::Dropped, dropped);
        }
    }
}

/// The task that sends spans.
pub struct Exporter {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporter {
    /// Starts to send, from within a runtime; `told` hears what became of spans.
    ///
    /// # Errors
    /// If the configuration, or a variable of OpenTelemetry's, cannot be used. A collector that is
    /// not there is no error: it may come.
    pub fn start(
        config: &TracesConfig,
        told: impl Fn(SpanOutcome, usize) + Send + Sync + 'static,
    ) -> Result<(Tracer, Recorder, Self), TracesError> {
        if !(0.0..=1.0).contains(&config.sample) {
            let problem = format!("is {}, it must be a share from 0 to 1", config.sample);
            return Err(TracesError::Value {
                key: "sample",
                problem,
            });
        }
        let told: Told = Arc::new(told);
        let mut exporter = exporter(config)?;
        exporter.set_resource(&resource(config));
        let (spans, waiting) = mpsc::channel(config.queue_spans.max(1));
        let (stop, stopped) = watch::channel(false);
        let sender = Sender {
            exporter,
            waiting,
            told: told.clone(),
            is_failing: false,
        };
        let task = tokio::spawn(sender.run(stopped));
        let recorder = Recorder::new(config, Queue { spans, told });
        Ok((
            Tracer::new(config.sample, &config.baggage),
            recorder,
            Self { stop, task },
        ))
    }

    /// Sends what waits, within a few seconds.
    pub async fn finish(self) {
        self.stop.send_replace(true);
        if timeout(SHUTDOWN_TIMEOUT, self.task).await.is_err() {
            warn!("traces that waited at the end could not be sent in time");
        }
    }
}

struct Sender {
    exporter: SpanExporter,
    waiting: mpsc::Receiver<SpanData>,
    told: Told,
    is_failing: bool,
}

impl Sender {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut tick = interval(FLUSH_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let room = BATCH - batch.len();
            let is_due = tokio::select! {
                received = self.waiting.recv_many(&mut batch, room) => received == 0 || batch.len() >= BATCH,
                _ = tick.tick() => true,
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
        (self.told)(
            if sent.is_ok() {
                SpanOutcome::Sent
            } else {
                SpanOutcome::Failed
            },
            count,
        );
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
    // Another part of the process may have set it: the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let patience = Duration::from_millis(config.timeout_ms.max(1));
    let headers = config
        .headers_file
        .as_deref()
        .map(headers)
        .transpose()?
        .unwrap_or_default();
    let built = match config.protocol(|name| std::env::var(name).ok()) {
        OtlpProtocol::Grpc => {
            let builder = SpanExporter::builder().with_tonic().with_timeout(patience);
            let builder = builder.with_metadata(MetadataMap::from_headers(headers));
            match &config.endpoint {
                Some(endpoint) => builder.with_endpoint(endpoint).build(),
                None => builder.build(),
            }
        }
        OtlpProtocol::Http => {
            let client = reqwest::Client::builder()
                .timeout(patience)
                .redirect(reqwest::redirect::Policy::none());
            let client = client
                .build()
                .map_err(|error| TracesError::Exporter(error.to_string()))?;
            let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
            let headers: HashMap<_, _> = headers
                .iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect();
            let builder = SpanExporter::builder().with_http().with_timeout(patience);
            let builder = builder.with_http_client(client).with_headers(headers);
            match &config.endpoint {
                Some(endpoint) => builder.with_endpoint(traces_path(endpoint)).build(),
                None => builder.build(),
            }
        }
    };
    built.map_err(|error| TracesError::Exporter(error.to_string()))
}

/// The address that takes traces: that of OTLP where only a server is named.
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
    use std::io::Read;
    let wrong = |problem: String| TracesError::Value {
        key: "headers_file",
        problem,
    };
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_HEADER_FILE_BYTES).read_to_string(&mut text));
    read.map_err(|error| wrong(format!("cannot be read: {}: {error}", path.display())))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(at, line)| {
        let pair = line.split_once(':').and_then(|(name, value)| {
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_str(name.trim()).ok()?, value))
        });
        pair.ok_or_else(|| {
            wrong(format!(
                "{}: line {} is no \"name: value\"",
                path.display(),
                at + 1
            ))
        })
    });
    parsed.collect()
}

/// What the server says of itself. OpenTelemetry's own variables come first, but for what the
/// configuration names.
fn resource(config: &TracesConfig) -> Resource {
    const NAME: Key = Key::from_static_str("service.name");
    let known = Resource::builder().build();
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
    async fn what_finds_no_place_is_dropped_and_told() {
        let dropped = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = dropped.clone();
        let told = move |outcome, spans| {
            assert_eq!(outcome, SpanOutcome::Dropped);
            count.fetch_add(spans, std::sync::atomic::Ordering::Relaxed);
        };
        let (spans, _waiting) = mpsc::channel(2);
        let queue = Queue {
            spans,
            told: Arc::new(told),
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
            stages: None,
        };
        let mut made = crate::spans::Spans::new(Vec::new());
        for _ in 0..5 {
            queue.push(made.of(&request));
        }
        assert_eq!(dropped.load(std::sync::atomic::Ordering::Relaxed), 3);
    }
}
