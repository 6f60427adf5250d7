"""Limits of tenants, keys and endpoints: rates, requests in work, and quotas that survive a restart."""

import json
import signal
import socket

import pytest
import requests
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from conftest import FRAGILE, MODELS, PATIENCE_S
from onnx_file import identity
from test_auth import DIGITS, Keys, bearer, grpc_rows, grpc_stub, wait_for, wait_until_known


@pytest.fixture
def limited(start, tmp_path):
    """Starts a server with these limits on the data folder of the test."""

    def limited(rules, auth=True, models=(MODELS,), **options):
        config = tmp_path / "limits.toml"
        config.write_text(f"[auth]\nenabled = {str(auth).lower()}\n{rules}")
        return start(*models, data=tmp_path / "data", flags=("--config", str(config)), **options)

    return limited


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "data")


def codes(server, count, key=None, model="digits", body=DIGITS):
    return [server.infer(model, body, headers=bearer(key)).status_code for _ in range(count)]


def test_one_tenant_at_its_rate_leaves_the_other_alone(limited, keys):
    one, two = keys.create("one", "caller", "--tenant", "acme"), keys.create("two", "caller", "--tenant", "globex")
    server = limited('[[limits.rule]]\nname = "tenants"\ntenant = "*"\nrequests_per_second = 0.001\nburst_requests = 3\n')
    wait_until_known(server, two)
    assert codes(server, 5, one) == [200, 200, 200, 429, 429]
    assert codes(server, 1, two) == [200]
    refused = server.infer("digits", DIGITS, headers=bearer(one))
    assert refused.json()["code"] == "rate_limited" and "tenants" in refused.json()["error"]
    assert 900 <= int(refused.headers["Retry-After"]) <= 1000
    assert refused.headers["RateLimit-Policy"] == '"tenants-requests";q=3;w=3000'
    assert refused.headers["RateLimit"].startswith('"tenants-requests";r=0;t=')
    answered = server.infer("digits", DIGITS, headers=bearer(two))
    assert answered.headers["RateLimit"].startswith('"tenants-requests";r=1;t=')
    # What is not a prediction is not counted.
    assert requests.get(server.url("/v2/models/digits"), headers=bearer(one), timeout=PATIENCE_S).status_code == 200


def test_limits_hold_over_grpc(limited, keys):
    key = keys.create("one", "caller")
    server = limited('[[limits.rule]]\nname = "all"\nprincipal = "key:one"\nrequests_per_second = 0.001\nburst_requests = 1\n')
    wait_until_known(server, key)
    client = triton_grpc.InferenceServerClient(server.grpc)
    tensor = triton_grpc.InferInput("image", [1, 64], "FP32")
    import numpy

    tensor.set_data_from_numpy(numpy.zeros((1, 64), "float32"))
    headers = {"authorization": f"Bearer {key}"}
    client.infer("digits", [tensor], headers=headers)
    with pytest.raises(InferenceServerException) as refused:
        client.infer("digits", [tensor], headers=headers)
    assert "RESOURCE_EXHAUSTED" in str(refused.value) and '"all"' in str(refused.value)


def test_answers_over_grpc_say_what_is_left(limited):
    import grpc

    rules = '[[limits.rule]]\nname = "all"\nrequests_per_second = 0.001\nburst_requests = 3\n'
    server = limited(rules + '[[cache.endpoint]]\nname = "digits"\n', auth=False)
    with grpc.insecure_channel(server.grpc) as channel:
        infer = grpc_stub(channel).ModelInfer
        found = []
        for _ in range(2):
            _, call = infer.with_call(grpc_rows("digits", "image", 64), timeout=PATIENCE_S)
            found.append(dict(call.initial_metadata()))
    assert [metadata["tidegate-cache"] for metadata in found] == ["miss", "hit"]
    assert [metadata["ratelimit"].split(";t=")[0] for metadata in found] == ['"all-requests";r=2', '"all-requests";r=1']
    assert found[0]["ratelimit-policy"] == '"all-requests";q=3;w=3000'


def test_each_request_of_a_stream_is_counted(limited):
    import grpc

    server = limited('[[limits.rule]]\nname = "rows"\nendpoint = "digits"\nrows_per_day = 10\n', auth=False)
    four = grpc_rows("digits", "image", 64, rows=4)
    with grpc.insecure_channel(server.grpc) as channel:
        answers = grpc_stub(channel).ModelStreamInfer(iter([four, four, four]), timeout=PATIENCE_S)
        errors = [answer.error_message for answer in answers]
    assert errors[:2] == ["", ""] and 'the limit "rows" is reached' in errors[2]
    # The refused one has used up nothing.
    assert codes(server, 3) == [200, 200, 429]


def test_rows_count_and_not_only_requests(limited):
    server = limited('[[limits.rule]]\nname = "rows"\nendpoint = "digits"\nrows_per_day = 10\n', auth=False)
    eight = {"inputs": [{"name": "image", "shape": [8, 64], "datatype": "FP32", "data": [0.0] * 512}]}
    assert codes(server, 2, body=eight) == [200, 429]
    assert codes(server, 3) == [200, 200, 429]
    assert server.infer("digits", DIGITS).json()["code"] == "quota_exceeded"


def test_a_quota_survives_restarts_and_kills(limited, tmp_path):
    rules = '[[limits.rule]]\nname = "day"\nrequests_per_day = 6\n'
    server = limited(rules, auth=False)
    assert codes(server, 2) == [200, 200]
    server.stop()
    server = limited(rules, auth=False)
    assert codes(server, 2) == [200, 200]
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(PATIENCE_S)
    server = limited(rules, auth=False)
    # A kill may lose what was leased, one request here, and never admits more.
    rest = codes(server, 4)
    assert rest[:1] == [200] and rest.count(200) in (1, 2) and rest[-1] == 429


def test_servers_of_one_database_share_a_quota(limited, start, tmp_path):
    rules = '[[limits.rule]]\nname = "day"\nrequests_per_day = 20\n'
    first = limited(rules, auth=False)
    second = start(
        MODELS,
        flags=("--config", str(tmp_path / "limits.toml")),
        environment={"TIDEGATE_AUTH__DATABASE": str(tmp_path / "data/registry.db")},
    )
    admitted = sum(codes(server, 1)[0] == 200 for _ in range(15) for server in (first, second))
    assert admitted == 20


def test_only_a_request_that_was_refused_before_it_ran_is_not_counted(limited):
    rules = '[[limits.rule]]\nname = "day"\nrequests_per_day = 4\n'
    server = limited(rules, auth=False, models=(MODELS, FRAGILE))
    unloaded = requests.post(server.url("/v2/repository/models/fraud/unload"), timeout=PATIENCE_S)
    assert unloaded.status_code == 200
    assert set(codes(server, 6, model="fraud", body={"inputs": []})) <= {404, 503}
    assert codes(server, 6, model="unknown") == [404] * 6
    # A run that fails, and a wrong request, are work for the server.
    failing = {"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [99]}]}
    assert codes(server, 2, model=FRAGILE.stem, body=failing) == [500] * 2
    assert server.infer("digits", {"inputs": []}).status_code == 400
    assert codes(server, 2) == [200, 429]


def test_a_request_that_ran_counts_although_its_answer_finds_no_memory(limited, tmp_path):
    """An upload that does not end holds the memory that the answer would take as JSON."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.onnx").write_bytes(identity())
    rules = '[[limits.rule]]\nname = "calls"\nendpoint = "m"\nrequests_per_day = 2\n'
    memory = "[server]\nmemory_budget_bytes = 4000000\nmemory_budget_bytes_per_client = 4000000\n"
    server = limited(rules + memory, auth=False, models=(tmp_path / "m", MODELS / "digits"))
    rows, values = 50_000, bytes(400_000)
    tensor = {"name": "x", "shape": [rows, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(values)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    host, port = server.http.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as upload:
        request = f"POST /v2/models/digits/infer HTTP/1.1\r\nHost: {server.http}\r\nContent-Length: 3000000\r\n\r\n"
        upload.sendall(request.encode() + bytes(2_800_000))
        wait_for(lambda: server.metric("tidegate_request_memory_bytes") >= 2_800_000)
        runs = [server.metric("nv_inference_exec_count", model="m")]
        for code in ("memory_full", "memory_full", "quota_exceeded"):
            url = server.url("/v2/models/m/infer")
            refused = requests.post(url, data=head + values, headers=headers, timeout=PATIENCE_S)
            assert refused.json()["code"] == code, refused.text
            runs.append(server.metric("nv_inference_exec_count", model="m"))
    assert runs[0] < runs[1] < runs[2] == runs[3], runs


def test_limits_that_cannot_be_meant_keep_the_server_from_starting(refusal):
    assert "limits nothing" in refusal('[[limits.rule]]\nname = "a"\n')
    assert "requests_per_second" in refusal('[[limits.rule]]\nname = "a"\nrequests_per_second = -1.0\n')
    assert "twice" in refusal('[[limits.rule]]\nname = "a"\nmax_in_flight = 1\n' * 2)
