//! The spans that a request makes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use percent_encoding::percent_decode_str;
use tidegate_redaction::Redactor;

use crate::batches::Batches;
use crate::{Call, FinishedRequest, NodeTimes, RequestOutcome, StageTimes};

const SERVICE: &str = "inference.GRPCInferenceService";
/// Longest text of a client that becomes an attribute, in bytes.
const MAX_TEXT: usize = 256;

/// Makes spans of requests.
pub(crate) struct Spans {
    scope: InstrumentationScope,
    batches: Batches,
    /// Entries of `baggage` that become attributes.
    baggage: Vec<String>,
    redactor: Arc<Redactor>,
}

impl Spans {
    pub(crate) fn new(baggage: Vec<String>, redactor: Arc<Redactor>) -> Self {
        let scope = InstrumentationScope::builder("tidegate")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self {
            scope,
            batches: Batches::default(),
            baggage,
            redactor,
        }
    }

    /// The spans of a request: its own, one for each node of a graph and for each stage, and the span of its batch if this is the
    /// first request of that batch.
    pub(crate) fn of(&mut self, request: &FinishedRequest<'_>) -> Vec<SpanData> {
        let context = own_context(request);
        let mut spans = vec![self.server_span(request, context.clone())];
        let nodes = request.nodes.iter();
        spans.extend(nodes.map(|node| self.node_span(&context, node)));
        let (Some((model, version)), Some(run)) = (request.version, request.stages) else {
            return spans;
        };
        let prepared = request.received + run.prepare;
        let started = prepared + run.queue;
        let ran = run.join + run.infer + run.split;
        let split = started + ran;
        let finished = request.received + request.total;
        spans.push(self.stage("prepare", &context, request.received, run.prepare));
        spans.push(self.stage("queue", &context, prepared, run.queue));

        let mut run_span = self.stage("run", &context, started, ran);
        run_span.attributes = run_attributes(&run);
        // A request that had its batch to itself needs no span of the batch: it would say the same.
        if run.batch_rows > request.rows {
            let batch = (model.clone(), version.clone(), run.batch);
            let (batch_context, is_new) = self.batches.context(batch);
            let link = Link::new(batch_context.clone(), Vec::new(), 0);
            run_span.links.links.push(link);
            if is_new {
                spans.push(self.batch_span(batch_context, (model, version), started, ran, &run));
            }
        }
        spans.push(run_span);
        spans.push(self.stage("finish", &context, split, since(finished, split)));
        if !request.encode.is_zero() {
            spans.push(self.stage("encode", &context, finished, request.encode));
        }
        spans
    }

    fn server_span(&self, request: &FinishedRequest<'_>, context: SpanContext) -> SpanData {
        let parent = request
            .context
            .parent_id
            .map_or(SpanId::INVALID, |parent| SpanId::from(parent.get()));
        SpanData {
            parent_span_id: parent,
            parent_span_is_remote: parent != SpanId::INVALID,
            span_kind: SpanKind::Server,
            attributes: self.server_attributes(request),
            status: status(request.outcome),
            ..self.span(
                name(request.call),
                context,
                request.received,
                request.total + request.encode,
            )
        }
    }

    fn stage(
        &self,
        name: &'static str,
        parent: &SpanContext,
        from: SystemTime,
        took: Duration,
    ) -> SpanData {
        let own = SpanId::from(fastrand::u64(1..));
        let context = SpanContext::new(
            parent.trace_id(),
            own,
            parent.trace_flags(),
            false,
            TraceState::NONE,
        );
        SpanData {
            parent_span_id: parent.span_id(),
            ..self.span(name, context, from, took)
        }
    }

    /// A model that ran as a node of a graph.
    fn node_span(&self, parent: &SpanContext, node: &NodeTimes<'_>) -> SpanData {
        let mut span = self.stage("node", parent, node.began, node.took);
        let (model, version) = node.version;
        span.attributes = vec![
            KeyValue::new("tidegate.node", node.node.to_owned()),
            KeyValue::new("tidegate.rows", count(node.rows)),
            KeyValue::new("tidegate.batch.rows", count(node.batch_rows)),
            KeyValue::new("tidegate.run.queue_s", node.queue.as_secs_f64()),
            KeyValue::new("tidegate.run.engine_s", node.infer.as_secs_f64()),
        ];
        span.attributes.extend(version_attributes(model, version));
        if let Some(code) = node.failed {
            span.attributes.push(KeyValue::new("error.type", code));
            span.status = Status::error(code);
        }
        span
    }

    fn batch_span(
        &self,
        context: SpanContext,
        (model, version): (&Arc<str>, &Arc<str>),
        from: SystemTime,
        took: Duration,
        run: &StageTimes,
    ) -> SpanData {
        let mut attributes = run_attributes(run);
        attributes.extend(version_attributes(model, version));
        SpanData {
            attributes,
            ..self.span("batch", context, from, took)
        }
    }

    fn span(
        &self,
        name: impl Into<Cow<'static, str>>,
        span_context: SpanContext,
        from: SystemTime,
        took: Duration,
    ) -> SpanData {
        SpanData {
            span_context,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: from,
            end_time: from + took,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// The attributes of OpenTelemetry's semantic conventions for HTTP and RPC servers, and our own
    /// under `tidegate`.
    fn server_attributes(&self, request: &FinishedRequest<'_>) -> Vec<KeyValue> {
        let mut attributes = call_attributes(request.call);
        attributes.extend(status_code(request.call, request.outcome));
        attributes.extend(error_type(request.outcome));
        if let Some((model, version)) = request.version {
            attributes.extend(version_attributes(model, version));
        }
        if let Some(id) = request.id {
            attributes.push({
                let id = self.redactor.text(id);
                KeyValue::new("tidegate.request.id", cut(&id).to_owned())
            });
        }
        if request.rows > 0 {
            attributes.push(KeyValue::new("tidegate.rows", count(request.rows)));
        }
        if let Some(fallback) = request.fallback {
            attributes.push(KeyValue::new("tidegate.fallback", fallback.to_owned()));
        }
        if let Some(baggage) = request.baggage {
            attributes.extend(self.baggage_attributes(baggage));
        }
        attributes
    }

    /// The entries of a `baggage` header that the configuration asks for. The header is that of the W3C
    /// Baggage recommendation: `name=value;property` items, with percent-encoded values.
    fn baggage_attributes(&self, baggage: &str) -> Vec<KeyValue> {
        let entries = baggage
            .split(',')
            .filter_map(|entry| entry.split(';').next()?.split_once('='));
        let asked_for = entries.filter_map(|(name, value)| {
            let name = self.baggage.iter().find(|own| **own == name.trim())?;
            let value = percent_decode_str(value.trim()).decode_utf8_lossy();
            let value = self.redactor.named(name, &value);
            Some(KeyValue::new(
                format!("baggage.{name}"),
                cut(&value).to_owned(),
            ))
        });
        // A client may repeat an entry as often as its header is long.
        asked_for.take(self.baggage.len()).collect()
    }
}

/// The context of the request's own span.
fn own_context(request: &FinishedRequest<'_>) -> SpanContext {
    let context = request.context;
    let state = context
        .state
        .as_deref()
        .and_then(|state| state.parse().ok())
        .unwrap_or(TraceState::NONE);
    // Marked as sampled even if the client did not ask for it: collectors drop spans without the mark.
    SpanContext::new(
        TraceId::from(context.trace_id),
        SpanId::from(context.span_id),
        TraceFlags::SAMPLED,
        false,
        state,
    )
}

fn call_attributes(call: Call) -> Vec<KeyValue> {
    match call {
        Call::Http(route) => vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("http.route", route),
        ],
        Call::Grpc(method) => vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", SERVICE),
            KeyValue::new("rpc.method", method),
        ],
    }
}

/// The status of the answer in the protocol of the call; `None` if no answer was sent.
fn status_code(call: Call, outcome: RequestOutcome) -> Option<KeyValue> {
    let (http_status, grpc_status) = match outcome {
        RequestOutcome::Answered => (200, 0),
        RequestOutcome::Abandoned => return None,
        RequestOutcome::Failed {
            http_status,
            grpc_status,
            ..
        } => (http_status, grpc_status),
    };
    Some(match call {
        Call::Http(_) => KeyValue::new("http.response.status_code", i64::from(http_status)),
        Call::Grpc(_) => KeyValue::new("rpc.grpc.status_code", i64::from(grpc_status)),
    })
}

fn error_type(outcome: RequestOutcome) -> Option<KeyValue> {
    match outcome {
        RequestOutcome::Answered => None,
        RequestOutcome::Abandoned => Some(KeyValue::new("error.type", "abandoned")),
        RequestOutcome::Failed { code, .. } => Some(KeyValue::new("error.type", code)),
    }
}

fn name(call: Call) -> Cow<'static, str> {
    match call {
        Call::Http(route) => format!("POST {route}").into(),
        Call::Grpc(method) => format!("{SERVICE}/{method}").into(),
    }
}

/// A span has failed only if the server was at fault: for errors of the client the semantic conventions
/// leave the status of a server's span unset.
fn status(outcome: RequestOutcome) -> Status {
    match outcome {
        RequestOutcome::Failed {
            code,
            is_fault: true,
            ..
        } => Status::error(code),
        _ => Status::Unset,
    }
}

fn version_attributes(model: &Arc<str>, version: &Arc<str>) -> [KeyValue; 2] {
    [
        KeyValue::new("tidegate.model", model.clone()),
        KeyValue::new("tidegate.version", version.clone()),
    ]
}

fn run_attributes(run: &StageTimes) -> Vec<KeyValue> {
    vec![
        KeyValue::new("tidegate.batch.rows", count(run.batch_rows)),
        KeyValue::new(
            "tidegate.batch.number",
            i64::try_from(run.batch).unwrap_or(i64::MAX),
        ),
        KeyValue::new("tidegate.run.join_s", run.join.as_secs_f64()),
        KeyValue::new("tidegate.run.engine_s", run.infer.as_secs_f64()),
        KeyValue::new("tidegate.run.split_s", run.split.as_secs_f64()),
    ]
}

/// OpenTelemetry knows signed integers only.
fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Zero if the wall clock was set back in between.
fn since(later: SystemTime, earlier: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap_or_default()
}

/// The beginning of a client's text, of at most [`MAX_TEXT`] bytes.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use opentelemetry::Value;

    use tidegate_core::TraceContext;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn with<T>(rows: usize, batch_rows: usize, read: impl FnOnce(&FinishedRequest<'_>) -> T) -> T {
        let context = TraceContext::child(PARENT, Some("vendor=1"), 7).unwrap();
        let (model, version) = (Arc::from("digits"), Arc::from("3"));
        let (prepare, queue) = (ms(1), ms(2));
        let run = StageTimes {
            prepare,
            queue,
            join: ms(1),
            infer: ms(4),
            split: ms(1),
            batch: 9,
            batch_rows,
        };
        read(&FinishedRequest {
            context: &context,
            call: Call::Http("/v2/models/{model}/infer"),
            id: Some("order-1"),
            baggage: Some("tenant=a%20b;secret, other=c,tenant2=d"),
            version: Some((&model, &version)),
            outcome: RequestOutcome::Answered,
            received: UNIX_EPOCH + ms(1000),
            total: ms(10),
            encode: ms(2),
            rows,
            fallback: None,
            stages: Some(run),
            nodes: &[],
        })
    }

    fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
        span.attributes
            .iter()
            .find(|pair| pair.key.as_str() == key)
            .map(|pair| &pair.value)
    }

    #[test]
    fn stages_follow_one_another_from_the_last_byte_to_the_answer() {
        let spans = with(1, 1, |request| {
            Spans::new(vec!["tenant".to_owned()], Arc::default()).of(request)
        });
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        assert_eq!(
            names,
            [
                "POST /v2/models/{model}/infer",
                "prepare",
                "queue",
                "run",
                "finish",
                "encode"
            ]
        );
        let [server, stages @ ..] = spans.as_slice() else {
            panic!("there are spans")
        };
        assert!(stages.is_sorted_by(|one, next| one.end_time == next.start_time));
        assert_eq!(
            (stages[0].start_time, stages[4].end_time),
            (server.start_time, server.end_time)
        );
        assert!(
            stages
                .iter()
                .all(|stage| stage.parent_span_id == SpanId::from(7)
                    && stage.span_context.trace_id() == server.span_context.trace_id()
                    && stage.links.is_empty())
        );
        assert_eq!(server.parent_span_id, SpanId::from(0x00f0_67aa_0ba9_02b7));
        assert_eq!(server.span_context.trace_state().header(), "vendor=1");
        assert_eq!(
            attribute(server, "tidegate.request.id"),
            Some(&Value::from("order-1"))
        );
        assert_eq!(
            attribute(server, "baggage.tenant"),
            Some(&Value::from("a b"))
        );
        assert!(
            server
                .attributes
                .iter()
                .filter(|pair| pair.key.as_str().starts_with("baggage"))
                .count()
                == 1
        );
    }

    #[test]
    fn a_shared_batch_is_sent_once_and_named_by_each_of_its_requests() {
        let mut spans = Spans::new(Vec::new(), Arc::default());
        let first = with(1, 3, |request| spans.of(request));
        let second = with(2, 3, |request| spans.of(request));
        let batch = first.iter().find(|span| span.name == "batch").unwrap();
        assert!(second.iter().all(|span| span.name != "batch"));
        for request in [&first, &second] {
            let run = request.iter().find(|span| span.name == "run").unwrap();
            assert_eq!(run.links[0].span_context, batch.span_context);
            assert_ne!(run.span_context.trace_id(), batch.span_context.trace_id());
        }
        assert_eq!(
            attribute(batch, "tidegate.model"),
            Some(&Value::from("digits"))
        );
    }

    #[test]
    fn only_the_servers_faults_are_errors() {
        assert_eq!(
            (status_of_failed(true), status_of_failed(false)),
            (Status::error("some_code"), Status::Unset)
        );
    }

    fn status_of_failed(is_fault: bool) -> Status {
        with(0, 0, |request| {
            let outcome = RequestOutcome::Failed {
                code: "some_code",
                is_fault,
                http_status: 503,
                grpc_status: 14,
            };
            let spans = Spans::new(Vec::new(), Arc::default()).of(&FinishedRequest {
                outcome,
                stages: None,
                ..*request
            });
            assert_eq!(spans.len(), 1);
            assert_eq!(
                attribute(&spans[0], "error.type"),
                Some(&Value::from("some_code"))
            );
            assert_eq!(
                attribute(&spans[0], "http.response.status_code"),
                Some(&Value::from(503))
            );
            spans[0].status.clone()
        })
    }
}
