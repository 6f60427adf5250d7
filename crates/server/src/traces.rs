//! Traces of requests: read from their headers, returned to clients, and exported once they have
//! finished.

mod failure_log;
mod metrics;
mod settings;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tidegate_core::TraceContext;
use tidegate_observe::SERVER_FAULTS;
use tidegate_redaction::Redactor;
use tidegate_serving::{
    ErrorCode, MetricRegistry, NodeRun, Observation, Observations, Outcome, RequestTrace, Via,
};
use tidegate_traces::{
    Call, Exporter, FinishedRequest, NodeTimes, Recorder, RequestOutcome, StageTimes, Tracer,
    TracesConfig, TracesError,
};

use self::failure_log::FailureLog;
use self::metrics::TraceMetrics;
pub(crate) use self::settings::{TraceSetting, TraceSettings, TraceSettingsBody};
use crate::component::Component;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
/// Longest `baggage` that is read, in bytes; the standard requires at least as much.
const MAX_BAGGAGE_BYTES: usize = 8192;

/// The traces of requests.
pub(crate) struct Traces {
    tracer: Option<Tracer>,
    exporter: Mutex<Option<Exporter>>,
    observations: Arc<Observations>,
    /// Which traces are kept, as operators have changed it.
    pub(crate) settings: TraceSettings,
}

impl Traces {
    /// Sends traces as configured, from within a runtime; without a collector, only passes on those
    /// of clients.
    ///
    /// # Errors
    /// If the configuration, or a variable of OpenTelemetry's, cannot be used.
    pub(crate) fn start(
        config: &TracesConfig,
        registry: &MetricRegistry,
        observations: &Arc<Observations>,
        redactor: Arc<Redactor>,
    ) -> Result<Self, TracesError> {
        let metrics = TraceMetrics::new(registry);
        if !config.is_on(|name| std::env::var(name).ok()) {
            follow(observations, None);
            return Ok(Self {
                tracer: None,
                exporter: Mutex::new(None),
                observations: observations.clone(),
                settings: TraceSettings::without_collector(),
            });
        }
        metrics.start();
        let counters = metrics.clone();
        let (tracer, recorder, exporter) =
            Exporter::start(config, redactor, move |outcome, spans| {
                counters.count_spans(outcome, spans);
            })?;
        follow(observations, Some((recorder, metrics)));
        Ok(Self {
            tracer: Some(tracer),
            exporter: Mutex::new(Some(exporter)),
            observations: observations.clone(),
            settings: TraceSettings::new(config.sample),
        })
    }

    /// The place of a request in the trace that its headers name, or in a new one if traces are
    /// sent. `name` is what the request asks for, empty where that is not known.
    pub(crate) fn begin(
        &self,
        headers: &HeaderMap,
        via: Via,
        name: &str,
    ) -> Option<Box<RequestTrace>> {
        let parent = text(headers, TRACEPARENT);
        // `tracestate` means nothing without `traceparent` (W3C Trace Context, section 3.3).
        let state = parent.and_then(|_| text(headers, TRACESTATE));
        let sample = self
            .tracer
            .as_ref()
            .and_then(|_| self.settings.sample(name));
        let context = match (&self.tracer, sample) {
            (Some(tracer), Some(sample)) => tracer.begin(parent, state, sample),
            // A span id of zeros is invalid (W3C Trace Context, section 3.2.2.4).
            _ => TraceContext::child(parent?, state, fastrand::u64(1..))?,
        };
        Some(Box::new(RequestTrace {
            context,
            via,
            id: None,
            baggage: self.baggage(headers),
            nodes: OnceLock::new(),
            is_kept_here: sample.is_some(),
        }))
    }

    fn baggage(&self, headers: &HeaderMap) -> Option<Box<str>> {
        if !self.tracer.as_ref().is_some_and(Tracer::reads_baggage) {
            return None;
        }
        text(headers, BAGGAGE)
            .filter(|baggage| baggage.len() <= MAX_BAGGAGE_BYTES)
            .map(Into::into)
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

impl Component for Traces {
    fn name(&self) -> &'static str {
        "traces"
    }

    /// Sends the spans that wait, after the last request.
    fn finish(&self) -> BoxFuture<'_, ()> {
        // First: the last requests must reach the recorder before its exporter ends.
        self.observations.drain();
        let exporter = self.exporter.lock().take();
        Box::pin(async {
            if let Some(exporter) = exporter {
                exporter.finish().await;
            }
        })
    }
}

/// The `traceparent` header of a response: the place of its request in a trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceHeader {
    trace_id: u128,
    span_id: u64,
    is_sampled: bool,
    /// Whether the client knows of the trace already.
    is_known: bool,
}

impl TraceHeader {
    pub(crate) fn of(trace: &RequestTrace) -> Self {
        let TraceContext {
            trace_id,
            span_id,
            parent_id,
            is_sampled,
            ..
        } = trace.context;
        Self {
            trace_id,
            span_id,
            is_sampled,
            is_known: parent_id.is_some(),
        }
    }

    /// The `traceparent` of the answer: for clients that trace, for traces that are recorded, and
    /// for failures.
    pub(crate) fn pair(self, failed: bool) -> Option<(HeaderName, HeaderValue)> {
        if !(self.is_known || self.is_sampled || failed) {
            return None;
        }
        let text = TraceContext::root(self.trace_id, self.span_id, self.is_sampled).traceparent();
        Some((TRACEPARENT, HeaderValue::try_from(text).ok()?))
    }
}

/// Shows every request that ended to the recorder and, if it failed, to the log.
fn follow(observations: &Observations, mut recorder: Option<(Recorder, TraceMetrics)>) {
    let mut failures = FailureLog::default();
    observations.subscribe(move |batch| {
        let now = (Instant::now(), SystemTime::now());
        for one in batch {
            failures.log(one, now.0);
            let Some(trace) = &one.trace else { continue };
            let is_recorded = match &mut recorder {
                Some((recorder, metrics)) if trace.is_kept_here => {
                    let nodes = trace.nodes.get().map(|nodes| node_times(nodes, now));
                    let nodes = nodes.unwrap_or_default();
                    let reason = recorder.offer(&finished(one, trace, &nodes, now), now.0);
                    reason
                        .inspect(|reason| metrics.count_kept(*reason))
                        .is_some()
                }
                // The client's own tracing has recorded it.
                _ => trace.context.is_sampled,
            };
            // An exemplar links to a trace, so only requests whose trace exists get one.
            if is_recorded {
                one.set_exemplar();
            }
        }
    });
}

/// A request as traces see it; `now` is one moment by both clocks.
fn finished<'a>(
    one: &'a Observation,
    trace: &'a RequestTrace,
    nodes: &'a [NodeTimes<'a>],
    now: (Instant, SystemTime),
) -> FinishedRequest<'a> {
    FinishedRequest {
        context: &trace.context,
        call: match trace.via {
            // The route, not the path: names of spans should have few values (OpenTelemetry, "Span
            // name").
            Via::Rest => Call::Http("/v2/models/{model}/infer"),
            Via::RestV1 => Call::Http("/v1/models/{model}:predict"),
            Via::RestRecords => Call::Http("/v1/endpoints/{name}/predict"),
            Via::Grpc => Call::Grpc("ModelInfer"),
            Via::GrpcStream => Call::Grpc("ModelStreamInfer"),
        },
        id: trace.id.as_deref(),
        baggage: trace.baggage.as_deref(),
        version: one.version(),
        outcome: match one.outcome {
            Outcome::Answered => RequestOutcome::Answered,
            Outcome::Abandoned => RequestOutcome::Abandoned,
            Outcome::Failed(code) => RequestOutcome::Failed {
                code: code.name(),
                is_fault: SERVER_FAULTS.contains(&code.name()),
                http_status: code.http_status(),
                grpc_status: code.grpc_code(),
            },
        },
        // Spans have times of day; requests are timed by the clock that never goes back.
        received: now.1 - now.0.saturating_duration_since(one.received),
        // The span of encoding begins where the rest of the request ends.
        total: one.total.saturating_sub(one.encode),
        encode: one.encode,
        rows: one.rows,
        fallback: one.fallback.as_ref().map(|fallback| &*fallback.by),
        stages: stages(one),
        nodes,
    }
}

/// The nodes of a graph as traces see them.
fn node_times(nodes: &[NodeRun], now: (Instant, SystemTime)) -> Vec<NodeTimes<'_>> {
    let mut times = Vec::with_capacity(nodes.len());
    for one in nodes {
        times.push(NodeTimes {
            node: &one.node,
            version: (&one.model, &one.version),
            began: now.1 - now.0.saturating_duration_since(one.began),
            took: one.took,
            queue: one.timing.queue,
            infer: one.timing.compute_infer,
            rows: one.rows,
            batch_rows: one.timing.batch_rows,
            failed: one.failed.map(ErrorCode::name),
        });
    }
    times
}

fn stages(one: &Observation) -> Option<StageTimes> {
    let timing = &one.timing;
    let started = timing.started?;
    let before_run = started.saturating_duration_since(one.received);
    // The clock is read at different moments: no stage may begin before its request.
    let queue: Duration = timing.queue.min(before_run);
    Some(StageTimes {
        prepare: before_run - queue,
        queue,
        join: timing.compute_input,
        infer: timing.compute_infer,
        split: timing.compute_output,
        batch: timing.batch,
        batch_rows: timing.batch_rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn without_a_collector_only_traces_of_clients_are_followed() {
        let traces = Traces {
            tracer: None,
            exporter: Mutex::new(None),
            observations: Arc::default(),
            settings: TraceSettings::without_collector(),
        };
        assert_eq!(traces.begin(&headers(&[]), Via::Rest, "m"), None);
        assert_eq!(
            traces.begin(&headers(&[("traceparent", "nonsense")]), Via::Rest, "m"),
            None
        );
        let trace = traces
            .begin(
                &headers(&[("traceparent", PARENT), ("tracestate", "a=b")]),
                Via::Grpc,
                "m",
            )
            .unwrap();
        assert_eq!(trace.context.state.as_deref(), Some("a=b"));
        let (_, value) = TraceHeader::of(&trace).pair(false).unwrap();
        assert!(
            value
                .to_str()
                .unwrap()
                .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"),
            "{value:?}"
        );
    }

    #[test]
    fn clients_hear_of_traces_that_matter_to_them() {
        let unknown = TraceHeader {
            trace_id: 1,
            span_id: 2,
            is_sampled: false,
            is_known: false,
        };
        assert!(unknown.pair(false).is_none() && unknown.pair(true).is_some());
        assert!(
            TraceHeader {
                is_sampled: true,
                ..unknown
            }
            .pair(false)
            .is_some()
        );
        assert!(
            TraceHeader {
                is_known: true,
                ..unknown
            }
            .pair(false)
            .is_some()
        );
    }
}
