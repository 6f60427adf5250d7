"""A request whose answer cannot be encoded is a failed one, for the client and for every figure of the server."""

import queue

import numpy as np
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from conftest import MODELS, PATIENCE_S, input_name
from parts import until

# An answer for 1 row of `digits` is smaller than this in every protocol, one for 64 rows is larger.
LIMITS = {"TIDEGATE_SERVER__MAX_ANSWER_BYTES": "1500"}
SMALL, LARGE = slice(0, 1), slice(0, 64)
SLOS = '[[slo]]\nname = "available"\n[[slo]]\nname = "fast"\nsli = "latency"\nthreshold_ms = 13107.2\ntarget = 0.99\n'


def rest_json(server, digits, rows):
    answer = server.infer("digits", {"inputs": [digits.tensor(rows)]})
    return answer.status_code, answer.json().get("code")


def rest_binary(server, digits, rows):
    with_binary = {"inputs": [digits.tensor(rows)], "parameters": {"binary_data_output": True}}
    answer = server.infer("digits", with_binary)
    return answer.status_code, answer.json().get("code") if answer.status_code != 200 else None


def rest_v1(server, digits, rows):
    body = {"instances": digits.inputs[rows].tolist()}
    answer = requests.post(server.url("/v1/models/digits:predict"), json=body, timeout=PATIENCE_S)
    return answer.status_code, answer.json().get("code")


def grpc_input(digits, rows):
    values = digits.inputs[rows]
    tensor = triton_grpc.InferInput(input_name("digits"), list(values.shape), "FP32")
    tensor.set_data_from_numpy(np.ascontiguousarray(values))
    return tensor


def grpc(server, digits, rows):
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        try:
            client.infer("digits", [grpc_input(digits, rows)], client_timeout=PATIENCE_S)
        except InferenceServerException as error:
            assert error.status() == "StatusCode.RESOURCE_EXHAUSTED", error
            return 413, "answer_too_large"
    return 200, None


def grpc_stream(server, digits, rows):
    answers = queue.Queue()
    with triton_grpc.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("digits", [grpc_input(digits, rows)])
        _, error = answers.get(timeout=PATIENCE_S)
        client.stop_stream()
    if error is not None:
        assert "max_answer_bytes" in str(error)
        return 413, "answer_too_large"
    return 200, None


@pytest.mark.parametrize("ask", [rest_json, rest_binary, rest_v1, grpc, grpc_stream])
def test_an_answer_that_cannot_be_encoded_is_a_failure_in_every_figure(start, digits, tmp_path, ask):
    config = tmp_path / "tidegate.toml"
    config.write_text(SLOS)
    server = start(MODELS / "digits", flags=("--config", str(config)), environment=LIMITS)
    answered = [ask(server, digits, SMALL) for _ in range(3)]
    refused = [ask(server, digits, LARGE) for _ in range(2)]
    assert answered == [(200, None)] * 3
    assert refused == [(413, "answer_too_large")] * 2

    assert server.metric("nv_inference_request_success", model="digits") == 3
    assert server.metric("nv_inference_request_failure", model="digits") == 2
    stats = triton_http.InferenceServerClient(server.http).get_inference_statistics("digits")["model_stats"][0]
    assert stats["inference_stats"]["success"]["count"] == 3
    assert stats["inference_stats"]["fail"]["count"] == 2
    assert stats["inference_count"] == 3
    # A refusal by a limit is not the server's fault: it counts for no objective, and never as good.
    assert until(lambda: counted(server)["available"][1] >= 3 and counted(server)) == {
        "available": (3, 3),
        "fast": (3, 3),
    }


def counted(server):
    slos = requests.get(server.url("/api/slos"), timeout=PATIENCE_S).json()
    return {slo["name"]: (slo["good"], slo["total"]) for slo in slos}
