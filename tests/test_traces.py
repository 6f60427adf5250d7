"""Traces, as a collector gets them: real OTLP over gRPC and over HTTP, from requests of REST and gRPC clients."""

from concurrent import futures

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from collector import Collector, attributes
from conftest import BUSY, FRAGILE, MODELS
from parts import until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01"
NOT_SAMPLED = f"00-{TRACE}-{PARENT}-00"
ROUTE = "/v2/models/{model}/infer"
SERVICE = "inference.GRPCInferenceService"
IMAGE = {"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [0] * 64}


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


def traced(collector, **settings):
    """The environment of a server that sends its traces there."""
    named = {"ENDPOINT": collector.grpc, "SAMPLE": 0, "KEEP_SLOWEST": 0, **{k.upper(): v for k, v in settings.items()}}
    return {f"TIDEGATE_TRACES__{name}": str(value) for name, value in named.items()}


def test_a_request_joins_its_clients_trace_with_a_span_for_each_stage(start, collector):
    server = start(MODELS / "digits", environment=traced(collector, baggage='["tenant"]', service_name="shop"))
    headers = {"traceparent": SAMPLED, "tracestate": "vendor=1", "baggage": "tenant=acme%20inc,other=x"}
    answer = server.infer("digits", {"id": "order-7", "inputs": [IMAGE]}, headers=headers)
    assert answer.status_code == 200
    (span,) = until(lambda: collector.spans(name=f"POST {ROUTE}"))
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, PARENT, Span.SPAN_KIND_SERVER)
    assert (span.trace_state, span.status.code) == ("vendor=1", Status.STATUS_CODE_UNSET)
    assert answer.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    told = attributes(span)
    assert (told["http.request.method"], told["http.response.status_code"]) == ("POST", 200)
    assert (told["tidegate.model"], told["tidegate.version"], told["tidegate.rows"]) == ("digits", "1", 1)
    assert (told["tidegate.request.id"], told["baggage.tenant"]) == ("order-7", "acme inc")
    assert "baggage.other" not in told
    stages = [collector.spans(name=name)[0] for name in ("prepare", "queue", "run", "finish", "encode")]
    assert all(stage.trace_id == span.trace_id and stage.parent_span_id == span.span_id for stage in stages)
    edges = [span.start_time_unix_nano, *(stage.end_time_unix_nano for stage in stages)]
    assert [stage.start_time_unix_nano for stage in stages] == edges[:-1]
    assert edges[-1] == span.end_time_unix_nano
    assert attributes(stages[2])["tidegate.run.engine_s"] > 0
    resource = collector.resources[0]
    assert resource["service.name"] == "shop" and resource["service.version"] and resource["service.instance.id"]


def test_nothing_is_kept_without_a_reason_and_failures_always_are(start, collector):
    server = start(MODELS / "digits", FRAGILE, environment=traced(collector))
    assert "traceparent" not in server.infer("digits", {"inputs": [IMAGE]}).headers
    server.infer("digits", {"inputs": [IMAGE]}, headers={"traceparent": NOT_SAMPLED})
    wrong = server.infer("digits", {"inputs": [{**IMAGE, "name": "picture"}]})
    assert wrong.status_code == 400
    hasty = server.infer("digits", {"inputs": [IMAGE]}, headers={"request-timeout": "0"})
    assert (hasty.status_code, hasty.json()["code"]) == (400, "deadline_too_short")
    # Nothing there is the server's fault; a run that fails is.
    index = {"name": "index", "shape": [1], "datatype": "INT64", "data": [99]}
    late = server.infer(FRAGILE.stem, {"id": "late-1", "inputs": [index]})
    assert late.status_code == 500
    (span,) = until(lambda: collector.spans(name=f"POST {ROUTE}"))
    told = attributes(span)
    assert (told["error.type"], told["http.response.status_code"]) == ("execution_failed", 500)
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert late.headers["traceparent"] == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-00"
    assert wrong.headers["traceparent"].split("-")[1] != span.trace_id.hex()
    server.stop()
    assert len(collector.spans(kind=Span.SPAN_KIND_SERVER)) == 1
    log = server.log.read_text()
    (line,) = [line for line in log.splitlines() if "a request failed" in line]
    assert span.trace_id.hex() in line and "late-1" in line and "execution_failed" in line


def test_refused_before_a_version_is_reached(start, collector):
    server = start(MODELS / "digits", environment=traced(collector, sample=1))
    assert requests.post(server.url("/v2/models/none/infer"), json={"inputs": [IMAGE]}, timeout=60).status_code == 404
    assert requests.post(server.url("/v2/models/digits/infer"), data="{", timeout=60).status_code == 400
    for code in ("unknown_model", "malformed_json"):
        (span,) = until(lambda code=code: collector.spans(error__type=code))
        assert "tidegate.version" not in attributes(span) and span.status.code == Status.STATUS_CODE_UNSET


def rounds(count, name):
    """A body for `busy`, which takes the longer the more rounds there are."""
    return {"id": name, "inputs": [{"name": "rounds", "shape": [1, 1], "datatype": "INT64", "data": [count]}]}


def test_the_slowest_are_kept(start, collector):
    server = start(BUSY, environment=traced(collector, keep_slowest=2))
    slow = {11: "slow-1", 17: "slow-2"}
    for at in range(30):
        body = rounds(300, slow[at]) if at in slow else rounds(1, "quick")
        assert server.infer("busy", body).status_code == 200
    server.stop()
    kept = [attributes(span)["tidegate.request.id"] for span in collector.spans(name=f"POST {ROUTE}")]
    assert set(slow.values()) <= set(kept) and 2 <= len(kept) < 30


def test_grpc_requests_and_streams(start, collector):
    server = start(MODELS / "digits", environment=traced(collector))
    client = triton_grpc.InferenceServerClient(server.grpc)
    image = triton_grpc.InferInput("image", [1, 64], "FP32")
    image.set_data_from_numpy(np.zeros((1, 64), np.float32))
    client.infer("digits", [image], headers={"traceparent": SAMPLED}, request_id="g-1")
    answers = []
    client.start_stream(lambda result, error: answers.append(error or result), headers={"traceparent": SAMPLED})
    for _ in range(3):
        client.async_stream_infer("digits", [image])
    until(lambda: len(answers) == 3)
    client.stop_stream()
    (one,) = until(lambda: collector.spans(name=f"{SERVICE}/ModelInfer"))
    until(lambda: len(collector.spans(name=f"{SERVICE}/ModelStreamInfer")) == 3)
    told = attributes(one)
    assert (told["rpc.system"], told["rpc.service"], told["rpc.method"]) == ("grpc", SERVICE, "ModelInfer")
    assert (told["rpc.grpc.status_code"], told["tidegate.request.id"]) == (0, "g-1")
    assert len(until(lambda: collector.spans(name="encode"))) >= 1
    assert {span.trace_id.hex() for span in collector.spans(kind=Span.SPAN_KIND_SERVER)} == {TRACE}
    client.close()


def test_requests_of_one_batch_name_its_span(start, collector):
    server = start(BUSY, environment=traced(collector, sample=1))

    def shared():
        with futures.ThreadPoolExecutor(16) as pool:
            for answer in pool.map(lambda _: server.infer("busy", rounds(20, "x")), range(32)):
                assert answer.status_code == 200
        return [span for span in collector.spans(name="run") if span.links]

    until(shared)
    server.stop()
    batches = {span.span_id: span for span in collector.spans(name="batch")}
    runs = [span for span in collector.spans(name="run") if span.links]
    assert len(batches) == len(collector.spans(name="batch"))
    for run in runs:
        batch = batches[run.links[0].span_id]
        assert attributes(batch)["tidegate.batch.number"] == attributes(run)["tidegate.batch.number"]
        assert batch.trace_id == run.links[0].trace_id != run.trace_id
        assert (batch.start_time_unix_nano // 10**6) == pytest.approx(run.start_time_unix_nano // 10**6, abs=50)


def test_over_http_with_headers_of_a_file_and_opentelemetrys_own_variables(start, collector, tmp_path):
    keys = tmp_path / "headers"
    keys.write_text("authorization: Bearer hunter2\n")
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "from-the-environment",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "TIDEGATE_TRACES__HEADERS_FILE": str(keys),
    }
    server = start(MODELS / "digits", environment=environment)
    server.infer("digits", {"inputs": [IMAGE]}, headers={"traceparent": SAMPLED})
    until(lambda: collector.spans(name=f"POST {ROUTE}"))
    headers, resource = collector.headers[0], collector.resources[0]
    assert (headers["path"], headers["authorization"]) == ("/v1/traces", "Bearer hunter2")
    assert headers["content-encoding"] == "gzip"
    assert resource["service.name"] == "from-the-environment" and resource["deployment.environment.name"] == "test"
    assert "hunter2" not in server.log.read_text()


def test_what_waits_is_sent_before_the_end(start, collector):
    server = start(MODELS / "digits", environment=traced(collector, sample=1))
    for _ in range(20):
        server.infer("digits", {"inputs": [IMAGE]})
    server.stop()
    assert len(collector.spans(name=f"POST {ROUTE}")) == 20


def test_a_collector_that_refuses_or_is_gone_holds_nothing_up(start, collector):
    collector.refuses = True
    server = start(MODELS / "digits", environment=traced(collector, sample=1))
    spans = lambda outcome: server.metric("tidegate_trace_spans_total", outcome=outcome)  # noqa: E731
    assert server.infer("digits", {"inputs": [IMAGE]}).status_code == 200
    until(lambda: spans("failed") > 0)
    collector.refuses = False
    server.infer("digits", {"inputs": [IMAGE]})
    until(lambda: spans("sent") > 0)
    collector.stop()
    for _ in range(10):
        assert server.infer("digits", {"inputs": [IMAGE]}).status_code == 200
    assert server.metric("tidegate_traces_kept_total", reason="sampled") == 12
    log = server.log.read_text()
    assert "traces cannot be sent" in log and "traces can be sent again" in log


def test_histograms_name_traces_that_are_kept(start, collector):
    server = start(MODELS / "digits", environment=traced(collector))
    server.infer("digits", {"inputs": [IMAGE]})
    openmetrics = {"accept": "application/openmetrics-text; version=1.0.0"}
    text = lambda headers: requests.get(server.url("/metrics"), headers=headers, timeout=60).text  # noqa: E731
    assert "# {" not in text(openmetrics)
    server.infer("digits", {"inputs": [IMAGE]}, headers={"traceparent": SAMPLED})
    (line,) = [line for line in text(openmetrics).splitlines() if "# {" in line]
    assert line.startswith("tidegate_request_duration_seconds_bucket") and f'# {{trace_id="{TRACE}"}} 0.' in line
    assert "# {" not in text({})


def test_clients_traces_are_named_without_a_collector(start):
    server = start(MODELS / "digits", FRAGILE)
    answer = server.infer("digits", {"inputs": [IMAGE]}, headers={"traceparent": SAMPLED})
    assert answer.headers["traceparent"].startswith(f"00-{TRACE}-")
    index = {"name": "index", "shape": [1], "datatype": "INT64", "data": [99]}
    failed = server.infer(FRAGILE.stem, {"inputs": [index]}, headers={"traceparent": NOT_SAMPLED})
    assert failed.status_code == 500
    text = requests.get(
        server.url("/metrics"), headers={"accept": "application/openmetrics-text; version=1.0.0"}, timeout=60
    ).text
    assert f'trace_id="{TRACE}"' in text
    until(lambda: TRACE in server.log.read_text())


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("SAMPLE", "1.5", "traces.sample is 1.5"),
        ("ENDPOINT", "not a url", "traces cannot be sent"),
        ("HEADERS_FILE", "/nowhere", "traces.headers_file cannot be read"),
        ("PROTOCOL", "smoke", "TIDEGATE_TRACES__PROTOCOL"),
    ],
)
def test_a_wrong_setting_stops_the_start(start, collector, name, value, words):
    environment = {**traced(collector), f"TIDEGATE_TRACES__{name}": value}
    with pytest.raises(RuntimeError) as error:
        start(MODELS / "digits", environment=environment)
    assert words in str(error.value)
