"""A Tidegate in front of a real MLServer, over REST and gRPC, with models that say their signature and one that does not."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import requests
import tritonclient.http as client

from conftest import PATIENCE_S, ROOT, Server
from test_remote import until

PYTHON = os.environ.get("TIDEGATE_MLSERVER", str(Path.home() / ".cache/tidegate/venv/mlserver/bin/python"))
# model: (data type, whether MLServer says the signature)
MODELS = {"singles": ("FP32", True), "doubles": ("FP64", True), "whole": ("INT64", True), "silent": ("FP32", False), "texts": ("BYTES", True)}


def tensors(datatype):
    return {side: [{"name": name, "datatype": datatype, "shape": [-1, 1]}] for side, name in [("inputs", "x"), ("outputs", "y")]}


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory):
    """The addresses of a running MLServer."""
    folder = tmp_path_factory.mktemp("mlserver")
    shutil.copy(ROOT / "tests/mlserver/double.py", folder)
    for model, (datatype, says_signature) in MODELS.items():
        (folder / model).mkdir()
        settings = {"name": model, "implementation": "double.Double", **(tensors(datatype) if says_signature else {})}
        (folder / model / "model-settings.json").write_text(json.dumps(settings))
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    http, grpc, metrics = (one.getsockname()[1] for one in held)
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(settings))
    for one in held:
        one.close()
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with (folder / "log").open("wb") as log:
        command = [PYTHON, "-m", "mlserver.cli.main", "start", str(folder)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        until(lambda: is_ready(process, http, folder / "log"))
        yield {"http": f"http://127.0.0.1:{http}", "grpc": f"grpc://127.0.0.1:{grpc}"}
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def is_ready(process, port, log):
    assert process.poll() is None, log.read_text()
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=1).status_code == 200
    except requests.RequestException:
        return False


def declared(datatype):
    lines = [
        f'[[signature.{side}]]\nname = "{tensor["name"]}"\ndatatype = "{datatype}"\nshape = [-1, 1]'
        for side, found in tensors(datatype).items()
        for tensor in found
    ]
    return "\n".join(lines)


@pytest.fixture(scope="module", params=["http", "grpc"])
def gateway(request, mlserver, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")
    for model, (datatype, says_signature) in MODELS.items():
        (folder / "models" / model).mkdir(parents=True)
        settings = f'engine = "remote"\n[remote]\nendpoints = ["{mlserver[request.param]}"]\n'
        settings += "" if says_signature else declared(datatype)
        (folder / "models" / model / "model.toml").write_text(settings)
    server = Server(folder / "data", folder / "models")
    yield server
    server.stop()


def doubled(gateway, model, values):
    datatype = MODELS[model][0]
    tensor = client.InferInput("x", list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    with client.InferenceServerClient(gateway.http) as triton:
        return triton.infer(model, [tensor]).as_numpy("y")


@pytest.mark.parametrize(("model", "dtype"), [("singles", np.float32), ("doubles", np.float64), ("silent", np.float32)])
def test_numbers_of_mlserver_are_exact(gateway, model, dtype):
    values = np.random.default_rng(7).standard_normal((500, 1)).astype(dtype) * np.logspace(-30, 30, 500).astype(dtype)[:, None]
    np.testing.assert_array_equal(doubled(gateway, model, values), 2 * values)


def test_whole_numbers_and_texts_of_mlserver_are_exact(gateway):
    numbers = np.array([[2**53 + 1], [-(2**61) - 1], [0]])
    np.testing.assert_array_equal(doubled(gateway, "whole", numbers), 2 * numbers)
    texts = np.array([["größer ☃"], ['"quoted"\n']], dtype=np.object_)
    found = [text.decode() for text in doubled(gateway, "texts", texts).ravel()]
    assert found == [text * 2 for text in texts.ravel()]


def test_metadata_is_that_of_mlserver(gateway):
    described = requests.get(gateway.url("/v2/models/whole"), timeout=PATIENCE_S).json()
    assert described["inputs"] == tensors("INT64")["inputs"]
