"""Tensors in system shared memory, with Triton's own clients."""

import numpy
import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import tritonclient.utils.shared_memory as shm
from tritonclient.utils import InferenceServerException

from conftest import MODELS, PATIENCE_S
from test_auth import Keys, bearer, wait_until_known

ON = {"TIDEGATE_SERVER__SHARED_MEMORY": "true"}
INPUT_BYTES, OUTPUT_BYTES = 4 * 64 * 4, 4 * 10 * 4


@pytest.fixture(scope="module")
def sharing(tmp_path_factory):
    from conftest import Server

    server = Server(tmp_path_factory.mktemp("shared") / "data", MODELS, environment=ON)
    yield server
    server.stop()


@pytest.fixture
def region(request):
    """Makes shared memory objects that are gone after the test."""
    handles = []

    def region(name, size):
        handles.append(shm.create_shared_memory_region(name, f"/tidegate-{name}", size))
        return handles[-1]

    yield region
    for handle in handles:
        shm.destroy_shared_memory_region(handle)


@pytest.fixture(params=["http", "grpc"])
def triton(request, sharing):
    module, address = (triton_http, sharing.http) if request.param == "http" else (triton_grpc, sharing.grpc)
    client = module.InferenceServerClient(address)
    yield module, client
    client.unregister_system_shared_memory()


def sizes(client):
    """The sizes of the registered regions by name, whatever form a client has."""
    status = client.get_system_shared_memory_status()
    if isinstance(status, list):
        return {entry["name"]: entry["byte_size"] for entry in status}
    return {name: entry.byte_size for name, entry in status.regions.items()}


def test_inputs_and_outputs_are_in_shared_memory(triton, region, digits):
    module, client = triton
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
    rows = digits.inputs[:4].reshape(4, 64).astype("float32")
    inputs, outputs = region("input", INPUT_BYTES), region("output", 32 + OUTPUT_BYTES)
    shm.set_shared_memory_region(inputs, [rows])
    client.register_system_shared_memory("in", "/tidegate-input", INPUT_BYTES)
    client.register_system_shared_memory("out", "/tidegate-output", OUTPUT_BYTES, offset=32)
    assert sizes(client) == {"in": INPUT_BYTES, "out": OUTPUT_BYTES}

    image = module.InferInput("image", [4, 64], "FP32")
    image.set_shared_memory("in", INPUT_BYTES)
    probabilities = module.InferRequestedOutput("probabilities")
    probabilities.set_shared_memory("out", OUTPUT_BYTES)
    label = module.InferRequestedOutput("label")
    answer = client.infer("digits", [image], outputs=[probabilities, label])

    plain = module.InferInput("image", [4, 64], "FP32")
    plain.set_data_from_numpy(rows)
    expected = client.infer("digits", [plain])
    found = shm.get_contents_as_numpy(outputs, numpy.float32, [4, 10], offset=32)
    numpy.testing.assert_array_equal(found, expected.as_numpy("probabilities"))
    numpy.testing.assert_array_equal(answer.as_numpy("label"), expected.as_numpy("label"))


def test_a_part_of_a_region_can_be_used(triton, region, digits):
    module, client = triton
    rows = digits.inputs[:4].reshape(4, 64).astype("float32")
    shm.set_shared_memory_region(region("input", INPUT_BYTES), [rows])
    client.register_system_shared_memory("in", "/tidegate-input", INPUT_BYTES)
    image = module.InferInput("image", [1, 64], "FP32")
    image.set_shared_memory("in", 256, offset=512)
    plain = module.InferInput("image", [1, 64], "FP32")
    plain.set_data_from_numpy(rows[2:3])
    found, expected = (client.infer("digits", [tensor]).as_numpy("probabilities") for tensor in (image, plain))
    numpy.testing.assert_array_equal(found, expected)


def test_what_is_not_there_is_refused(triton, region):
    module, client = triton
    region("small", 64)
    for arguments in [("a", "/tidegate-nothing", 64), ("a", "/tidegate-small", 4096), ("a", "/../../etc/passwd", 64)]:
        with pytest.raises(InferenceServerException):
            client.register_system_shared_memory(*arguments)
    client.register_system_shared_memory("small", "/tidegate-small", 64)
    with pytest.raises(InferenceServerException, match="registered already"):
        client.register_system_shared_memory("small", "/tidegate-small", 64)
    image = module.InferInput("image", [1, 64], "FP32")
    for name, message in [("none", "no shared memory region"), ("small", "not within the shared memory region")]:
        image.set_shared_memory(name, 256)
        with pytest.raises(InferenceServerException, match=message):
            client.infer("digits", [image])
    image.set_shared_memory("small", 64)
    with pytest.raises(InferenceServerException, match="256 bytes"):
        client.infer("digits", [image])
    image.set_data_from_numpy(numpy.zeros((1, 64), "float32"))
    output = module.InferRequestedOutput("probabilities")
    output.set_shared_memory("small", 64)
    assert client.infer("digits", [image], outputs=[output])
    output.set_shared_memory("small", 8)
    with pytest.raises(InferenceServerException, match="an output takes 40 bytes"):
        client.infer("digits", [image], outputs=[output])


def test_inputs_are_bounded_as_a_body_is(start, region):
    server = start(MODELS / "digits", environment={**ON, "TIDEGATE_SERVER__MAX_BODY_BYTES": "1000"})
    region("large", INPUT_BYTES)
    client = triton_http.InferenceServerClient(server.http)
    client.register_system_shared_memory("large", "/tidegate-large", INPUT_BYTES)
    image = triton_http.InferInput("image", [4, 64], "FP32")
    image.set_shared_memory("large", INPUT_BYTES)
    with pytest.raises(InferenceServerException, match="server.max_body_bytes"):
        client.infer("digits", [image])


def test_memory_that_gets_smaller_is_an_error_and_no_crash(sharing, region):
    import os

    region("shrunk", INPUT_BYTES)
    client = triton_http.InferenceServerClient(sharing.http)
    client.register_system_shared_memory("shrunk", "/tidegate-shrunk", INPUT_BYTES)
    os.truncate("/dev/shm/tidegate-shrunk", 16)
    image = triton_http.InferInput("image", [1, 64], "FP32")
    image.set_shared_memory("shrunk", 256)
    with pytest.raises(InferenceServerException, match="cannot be used"):
        client.infer("digits", [image])
    client.unregister_system_shared_memory("shrunk")
    assert client.is_server_ready()


def test_it_is_off_unless_the_operator_switches_it_on(server):
    client = triton_http.InferenceServerClient(server.http)
    with pytest.raises(InferenceServerException, match="server.shared_memory"):
        client.register_system_shared_memory("a", "/tidegate-a", 64)
    image = triton_http.InferInput("image", [1, 64], "FP32")
    image.set_shared_memory("a", 256)
    with pytest.raises(InferenceServerException, match="server.shared_memory"):
        client.infer("digits", [image])


def test_callers_may_use_regions_and_not_register_them(start, tmp_path):
    keys = Keys(tmp_path / "data")
    caller, admin = keys.create("c", "caller"), keys.create("a", "admin")
    server = start(MODELS / "digits", data=tmp_path / "data", environment={**ON, "TIDEGATE_AUTH__ENABLED": "true"})
    wait_until_known(server, admin)
    path = server.url("/v2/systemsharedmemory/region/a/register")
    body = {"key": "/tidegate-none", "offset": 0, "byte_size": 8}
    assert requests.post(path, json=body, headers=bearer(caller), timeout=PATIENCE_S).status_code == 403
    refused = requests.post(path, json=body, headers=bearer(admin), timeout=PATIENCE_S)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
    client = triton_grpc.InferenceServerClient(server.grpc)
    with pytest.raises(InferenceServerException, match="no permission"):
        client.register_system_shared_memory("a", "/tidegate-none", 8, headers={"authorization": f"Bearer {caller}"})
    log = keys_log(tmp_path)
    assert any(row["action"] == "shared-memory.register" and row["result"] == "failed" for row in log)


def keys_log(folder):
    import json
    import subprocess

    from conftest import BINARY

    command = [BINARY, "audit", "list", "--json", "--data", str(folder / "data")]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    return [json.loads(line) for line in printed.splitlines()]
