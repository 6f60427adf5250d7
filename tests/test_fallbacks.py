"""What answers in place of an endpoint's own version that fails: another version, another endpoint, the last answer, a constant."""

import queue
import shutil
import socket
import subprocess

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from collector import attributes
from conftest import BINARY, BUSY, PATIENCE_S
from onnx_file import identity, picky_lookup, table_lookup
from test_auth import Keys, bearer, wait_for, wait_until_known
from test_lifecycle import busy
from test_remote import DECLARED, NO_BREAKER
from test_traces import collector, traced, until  # noqa: F401

# Version 2 of `m` knows only numbers below 4, version 1 and `other` all of them.
OWN, OLDER, OTHER = 2.0, 1.0, 7.0
GOOD, BAD = 1.0, 9.0
OLDER_VERSION = '[[endpoints.fallback]]\nversion = "1"\n'
OTHER_ENDPOINT = '[[endpoints.fallback]]\nendpoint = "other"\n'
CONSTANT = "[[endpoints.fallback]]\nconstant = { y = [0.0, 0.5, 0.25, 0.25] }\n"
CACHED = "[[endpoints.fallback]]\ncached_max_age_ms = 3600000\n"
# An answer is fresh for so short a time that no request finds it so.
CACHE = '[[cache.endpoint]]\nname = "m"\nttl_ms = 1\n'
CHAIN = '[[endpoints]]\nname = "m"\n'


def model(folder, name, versions):
    for number, content in versions.items():
        (folder / name / number).mkdir(parents=True)
        (folder / name / number / "model.onnx").write_bytes(content)
    policy = "version_policy { all { } }"
    (folder / name / "config.pbtxt").write_text(f'name: "{name}"\nplatform: "onnxruntime_onnx"\n{policy}\n')


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    model(folder, "m", {"1": table_lookup(OLDER), "2": table_lookup(OWN, 4)})
    model(folder, "other", {"1": table_lookup(OTHER)})
    return folder


@pytest.fixture
def without_sample(models):
    """Gives `m` a version that runs no synthetic sample: each failed run of it counts for its breaker."""
    (models / "m/2/model.onnx").write_bytes(picky_lookup(OWN))


@pytest.fixture
def configured(start, tmp_path, models):
    """Starts a server over the models with these settings."""

    def configured(settings, *paths, **options):
        config = tmp_path / "tidegate.toml"
        config.write_text(settings)
        return start(*(paths or (models,)), flags=("--config", str(config)), **options)

    return configured


def rows(*values):
    data = [value for value in values for _ in range(4)]
    return {"inputs": [{"name": "x", "shape": [len(values), 4], "datatype": "FP32", "data": data}]}


def infer(server, *values, **options):
    return server.infer("m", rows(*values), **options)


def values(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["outputs"][0]["data"]


def marks(answer):
    return answer.headers.get("Tidegate-Fallback"), answer.headers.get("Tidegate-Fallback-Reason")


def test_another_version_answers_for_one_that_fails_and_says_so(configured):
    server = configured(CHAIN + OLDER_VERSION)
    own = infer(server, GOOD)
    assert values(own) == [OWN] * 4 and marks(own) == (None, None)
    assert own.json()["model_version"] == "2" and "parameters" not in own.json()
    answer = infer(server, BAD, BAD)
    assert values(answer) == [OLDER] * 8
    assert marks(answer) == ("version:1", "execution_failed")
    body = answer.json()
    assert (body["model_name"], body["model_version"]) == ("m", "1")
    assert body["parameters"] == {"fallback": "version:1", "fallback_reason": "execution_failed"}
    counted = {"endpoint": "m", "fallback": "version:1", "reason": "execution_failed"}
    wait_for(lambda: server.metric("tidegate_fallbacks_total", **counted) == 1)
    # The observation is that of the version that answered.
    wait_for(lambda: server.metric("nv_inference_request_success", model="m", version="1") == 1)
    assert server.metric("nv_inference_request_success", model="m", version="2") == 1
    assert not server.metric("nv_inference_request_failure", model="m", version="2")


def test_a_request_for_a_version_gets_that_version_or_its_error(configured):
    server = configured(CHAIN + OLDER_VERSION)
    failed = requests.post(server.url("/v2/models/m/versions/2/infer"), json=rows(BAD), timeout=PATIENCE_S)
    assert (failed.status_code, failed.json()["code"]) == (500, "execution_failed")


def test_faults_of_the_client_do_not_fall_back(configured):
    server = configured(CHAIN + CONSTANT)
    wrong = rows(GOOD)
    wrong["inputs"][0]["name"] = "z"
    refused = server.infer("m", wrong)
    assert (refused.status_code, refused.json()["code"]) == (400, "unknown_input")
    assert server.metric("tidegate_fallbacks_total", endpoint="m") is None


def test_choices_are_tried_in_order(configured):
    server = configured(CHAIN + '[[endpoints.fallback]]\nversion = "2"\n' + OTHER_ENDPOINT + CONSTANT)
    answer = infer(server, BAD)
    assert values(answer) == [OTHER] * 4
    assert marks(answer) == ("endpoint:other", "execution_failed")
    assert answer.json()["model_name"] == "other"
    # The version that has failed is not asked again.
    assert server.metric("tidegate_fallback_failures_total", endpoint="m", fallback="version:2") == 1
    assert server.metric("nv_inference_exec_count", model="other", version="1") == 1


def test_without_a_choice_that_can_answer_the_first_error_stands(configured):
    server = configured(CHAIN + '[[endpoints.fallback]]\nendpoint = "missing"\n')
    failed = infer(server, BAD)
    assert (failed.status_code, failed.json()["code"]) == (500, "execution_failed")
    assert server.metric("nv_inference_request_failure", model="m", version="2") == 1
    assert marks(failed) == (None, None)


def test_a_constant_is_given_for_each_row(configured):
    server = configured(CHAIN + CONSTANT)
    answer = infer(server, BAD, GOOD)
    assert values(answer) == [0.0, 0.5, 0.25, 0.25] * 2
    assert answer.json()["outputs"][0]["shape"] == [2, 4]
    assert answer.json()["model_version"] == "constant"
    assert marks(answer) == ("constant", "execution_failed")


def test_the_last_answer_to_an_equal_request_is_given(configured, without_sample):
    server = configured(CACHE + CHAIN + "[endpoints.breaker]\nmin_requests = 1\nfailure_percent = 1\nopen_ms = 3600000\n" + CACHED)
    assert values(infer(server, GOOD)) == [OWN] * 4
    assert infer(server, BAD).status_code == 500
    # The breaker is open now.
    answer = infer(server, GOOD)
    assert values(answer) == [OWN] * 4
    assert marks(answer) == ("cached", "breaker_open")
    assert answer.headers["Tidegate-Cache"] == "stale" and int(answer.headers["Age"]) >= 0
    other = infer(server, GOOD, GOOD)
    assert (other.status_code, other.json()["code"]) == (503, "breaker_open")
    fresh = infer(server, GOOD, headers={"Cache-Control": "no-cache"})
    assert fresh.status_code == 503


def test_an_open_breaker_falls_back(configured, without_sample):
    server = configured(CHAIN + "[endpoints.breaker]\nmin_requests = 1\nfailure_percent = 1\nopen_ms = 3600000\n" + OLDER_VERSION)
    assert marks(infer(server, BAD)) == ("version:1", "execution_failed")
    answer = infer(server, GOOD)
    assert values(answer) == [OLDER] * 4
    assert marks(answer) == ("version:1", "breaker_open")


def slow_model(tmp_path):
    bundle = tmp_path / "busy"
    shutil.copytree(BUSY, bundle)
    settings = "[engine_options]\ninstances = 1\n[batching]\nmax_batch_size = 1\nmax_queue_requests = 1\n"
    (bundle / "model.toml").write_text(f'name = "busy"\n{settings}')
    return bundle


def test_a_choice_that_takes_too_long_is_followed_by_the_next(configured, tmp_path):
    settings = '[[endpoints]]\nname = "busy"\nattempt_timeout_ms = 20\n[[endpoints.fallback]]\nconstant = { done = [-1] }\n'
    server = configured(settings, slow_model(tmp_path))
    answer = server.infer("busy", busy(60_000))
    assert values(answer) == [-1]
    assert marks(answer) == ("constant", "deadline_exceeded")
    # The deadline of the request itself holds over all choices.
    late = server.infer("busy", busy(60_000), headers={"Request-Timeout": "0.015"})
    assert late.status_code in (400, 504), late.text
    assert late.json()["code"] in ("deadline_exceeded", "deadline_too_short")


def test_overload_falls_back(configured, tmp_path):
    settings = '[[endpoints]]\nname = "busy"\n[[endpoints.fallback]]\nconstant = { done = [-1] }\n'
    server = configured(settings, slow_model(tmp_path))
    answers = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        tensor = triton.InferInput("rounds", [1, 1], "INT64")
        tensor.set_data_from_numpy(np.array([[30_000]]))
        for _ in range(6):
            client.async_infer("busy", [tensor], lambda result, error: answers.put((result, error)))
        got = [answers.get(timeout=PATIENCE_S) for _ in range(6)]
    assert [error for _, error in got] == [None] * 6
    done = [result.as_numpy("done").tolist() for result, _ in got]
    # One runs, one waits unless the first has not begun yet, and nobody is refused.
    assert done.count([[30_000]]) in (1, 2) and done.count([[30_000]]) + done.count([[-1]]) == 6
    constants = [result for result, _ in got if result.as_numpy("done").tolist() == [[-1]]]
    for result in constants:
        response = result.get_response()
        assert response.parameters["fallback"].string_param == "constant"
        assert response.parameters["fallback_reason"].string_param == "queue_full"


def tensor_of(value):
    tensor = triton.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.full((1, 4), value, np.float32))
    return tensor


def test_answers_over_grpc_and_in_streams_say_what_answered(configured):
    server = configured(CHAIN + OLDER_VERSION)
    answers = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        alone = client.infer("m", [tensor_of(BAD)])
        client.start_stream(lambda result, error: answers.put((result, error)))
        for value in (GOOD, BAD):
            client.async_stream_infer("m", [tensor_of(value)])
        streamed = [answers.get(timeout=PATIENCE_S) for _ in range(2)]
        client.stop_stream()
        with pytest.raises(InferenceServerException):
            client.infer("m", [tensor_of(BAD)], model_version="2")
    assert [error for _, error in streamed] == [None, None]
    own, fallback = (result for result, _ in streamed)
    assert own.as_numpy("y").tolist() == [[OWN] * 4] and "fallback" not in own.get_response().parameters
    for result in (alone, fallback):
        assert result.as_numpy("y").tolist() == [[OLDER] * 4]
        response = result.get_response()
        assert response.model_version == "1"
        assert response.parameters["fallback"].string_param == "version:1"
        assert response.parameters["fallback_reason"].string_param == "execution_failed"


def test_kserve_v1_falls_back(configured):
    server = configured(CHAIN + OLDER_VERSION)
    answer = requests.post(server.url("/v1/models/m:predict"), json={"instances": [[BAD] * 4]}, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == [[OLDER] * 4]
    assert marks(answer) == ("version:1", "execution_failed")


def test_a_trace_says_what_answered(configured, collector):
    server = configured(CHAIN + OLDER_VERSION, environment=traced(collector, sample=1))
    assert marks(infer(server, BAD))[0] == "version:1"
    (span,) = until(lambda: collector.spans(tidegate__fallback="version:1"))
    assert attributes(span)["tidegate.version"] == "1"


def test_who_may_call_an_endpoint_is_served_by_its_fallbacks(configured, tmp_path):
    key = Keys(tmp_path / "data").create("one", "caller", "--on", "m")
    server = configured("[auth]\nenabled = true\n" + CHAIN + OTHER_ENDPOINT, data=tmp_path / "data")
    wait_until_known(server, key)
    assert server.infer("other", rows(BAD), headers=bearer(key)).status_code == 403
    answer = infer(server, BAD, headers=bearer(key))
    assert values(answer) == [OTHER] * 4 and marks(answer)[0] == "endpoint:other"
    assert infer(server, BAD).status_code == 401


def test_a_request_uses_up_its_rows_once(configured):
    limit = '[[limits.rule]]\nname = "rows"\nendpoint = "m"\nrows_per_day = 2\n'
    server = configured(limit + CHAIN + OLDER_VERSION)
    for _ in range(2):
        assert values(infer(server, BAD)) == [OLDER] * 4
    refused = infer(server, BAD)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
    assert marks(refused) == (None, None)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("[[endpoints.fallback]]\n", "exactly one of version, endpoint"),
        ('[[endpoints.fallback]]\nversion = "1"\nendpoint = "other"\n', "exactly one of version, endpoint"),
        ('[[endpoints.fallback]]\nendpoint = "m"\n', "its own endpoint is no fallback"),
        (CACHED, "add it to cache.endpoint"),
        ("[[endpoints.fallback]]\nconstant = { z = 1 }\n", 'there is no output "z"'),
        ("[[endpoints.fallback]]\nconstant = { y = [1.0] }\n", 'output "y" has shape [1], the signature says [4]'),
        ('[[endpoints.fallback]]\nendpoint = "double"\n', 'output "y" is FP64 [-1, 4], not FP32 [-1, 4]'),
    ],
)
def test_a_fallback_that_cannot_answer_is_refused_at_start(start, tmp_path, models, settings, problem):
    model(models, "double", {"1": double()})
    config = tmp_path / "tidegate.toml"
    config.write_text(CHAIN + settings)
    with pytest.raises(RuntimeError) as refused:
        start(models, flags=("--config", str(config)))
    assert problem in str(refused.value)


def double():
    """A model of the same input whose output is FP64."""
    from onnx_file import integer, tensor, text

    cast = text(1, "x") + text(2, "y") + text(4, "Cast") + text(5, text(1, "to") + integer(3, 11) + integer(20, 2))
    graph = text(1, cast) + text(2, "g") + tensor(11, "x", 1, ("N", 4)) + tensor(12, "y", 11, ("N", 4))
    return integer(1, 8) + text(7, graph) + text(8, integer(2, 17))


def load(server, name):
    return requests.post(server.url(f"/v2/repository/models/{name}/load"), timeout=PATIENCE_S)


def test_a_load_that_makes_a_fallback_impossible_is_refused_and_the_old_version_serves_on(configured, models):
    server = configured(CHAIN + OTHER_ENDPOINT)
    shutil.copy(models / "other/1/model.onnx", models / "other.onnx.kept")
    (models / "other/1/model.onnx").write_bytes(identity("x", "y", 1, ("N", 2)))
    refused = load(server, "other")
    assert refused.status_code == 400 and 'input "x" is FP32' in refused.json()["error"], refused.text
    assert values(infer(server, BAD)) == [OTHER] * 4
    (models / "other/1/model.onnx").write_bytes(table_lookup(3.0))
    assert load(server, "other").status_code == 200
    assert values(infer(server, BAD)) == [3.0] * 4


def test_a_version_that_is_not_loaded_falls_back(configured):
    server = configured(CHAIN + OTHER_ENDPOINT)
    unloaded = requests.post(server.url("/v2/repository/models/m/unload"), timeout=PATIENCE_S)
    assert unloaded.status_code == 200
    answer = infer(server, GOOD)
    assert values(answer) == [OTHER] * 4
    assert marks(answer) == ("endpoint:other", "not_ready")


def test_a_configured_name_without_a_model_is_told_until_the_model_comes(configured, models):
    settings = """
        [[endpoints]]
        name = "m"
        [[endpoints.fallback]]
        endpoint = "late"
        [[cache.endpoint]]
        name = "m"
        [platform]
        contract = "vertex"
        model = "late"
        [[endpoints]]
        name = "mistyped"
        breaker = {}
    """
    server = configured(settings)

    def problems():
        return requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S).json()["problems"]

    told = problems()
    assert len(told) == 3 and all("does not exist" in problem for problem in told), told
    keys = [problem.partition(" names the model ") for problem in told]
    assert {(key, name.split('"')[1]) for key, _, name in keys} == {
        ('endpoints.fallback.endpoint of "m"', "late"),
        ("platform.model", "late"),
        ("endpoints.name", "mistyped"),
    }
    assert [line for line in server.lines if line.startswith("warning")] == [f"warning  {problem}" for problem in told]
    command = [BINARY, "doctor", "--url", server.http, "--watch", "1"]
    doctor = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "mistyped" in doctor.stdout, doctor.stdout
    model(models, "late", {"1": table_lookup(OTHER)})
    assert requests.post(server.url("/v2/repository/models/late/load"), timeout=PATIENCE_S).status_code == 200
    assert [problem for problem in problems() if "late" in problem] == []
    assert len(problems()) == 1, "the mistyped one is still told"


def test_a_fallback_version_that_does_not_exist_is_told_until_it_comes(configured, models):
    third = '[[endpoints.fallback]]\nversion = "3"\n'
    server = configured(CHAIN + OLDER_VERSION + third)

    def problems():
        return requests.get(server.url("/v2/health/ready"), timeout=PATIENCE_S).json().get("problems", [])

    (told,) = problems()
    assert told == 'endpoints.fallback.version of "m" names the version "3" of "m", which this server does not serve: it has no effect'
    assert [line for line in server.lines if line.startswith("warning")] == [f"warning  {told}"]
    command = [BINARY, "doctor", "--url", server.http, "--watch", "1"]
    doctor = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "endpoints.fallback.version" in doctor.stdout, doctor.stdout
    (models / "m/3").mkdir()
    (models / "m/3/model.onnx").write_bytes(table_lookup(OTHER))
    assert requests.post(server.url("/v2/repository/models/m/load"), timeout=PATIENCE_S).status_code == 200
    assert problems() == []


def test_a_request_that_a_fallback_has_run_counts_also_if_all_fail(configured, models, without_sample):
    shutil.rmtree(models / "other")
    model(models, "other", {"1": table_lookup(OTHER, 4)})
    limit = '[[limits.rule]]\nname = "calls"\nendpoint = "m"\nrequests_per_day = 100\n'
    breaker = "[endpoints.breaker]\nmin_requests = 1\nfailure_percent = 1\nopen_ms = 3600000\n"
    server = configured(limit + CHAIN + breaker + OTHER_ENDPOINT)
    assert infer(server, BAD).json()["code"] == "execution_failed"
    # The own version refuses it unrun, but the other endpoint has run it.
    assert infer(server, BAD).json()["code"] == "breaker_open"
    answer = infer(server, GOOD)
    assert marks(answer) == ("endpoint:other", "breaker_open")
    assert ";r=97" in answer.headers["RateLimit"], answer.headers["RateLimit"]


def test_a_request_that_no_choice_has_run_is_given_back(configured, tmp_path):
    """The own version is not loaded, and nothing listens where the other endpoint is."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.onnx").write_bytes(identity())
    (tmp_path / "dead").mkdir()
    remote = f'engine = "remote"\n[remote]\nendpoints = ["{dead}"]\nload_timeout_ms = 1\n{NO_BREAKER}\n{DECLARED}'
    (tmp_path / "dead/model.toml").write_text(remote)
    limit = '[[limits.rule]]\nname = "calls"\nendpoint = "m"\nrequests_per_day = 3\n'
    fallback = '[[endpoints.fallback]]\nendpoint = "dead"\n'
    server = configured(limit + CHAIN + fallback, tmp_path / "m", tmp_path / "dead")
    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}]}
    assert server.infer("m", body).status_code == 200
    assert requests.post(server.url("/v2/repository/models/m/unload"), timeout=PATIENCE_S).status_code == 200
    assert [server.infer("m", body).json()["code"] for _ in range(4)] == ["not_ready"] * 4
    failed = {"endpoint": "m", "fallback": "endpoint:dead", "reason": "upstream_unavailable"}
    assert server.metric("tidegate_fallback_failures_total", **failed) == 4
    assert load(server, "m").status_code == 200
    assert [server.infer("m", body).status_code for _ in range(3)] == [200, 200, 429]
