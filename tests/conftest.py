"""A `tidegate serve` process for the tests, on free ports, stopped at the end; a test fails if it does not end well."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import requests

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "examples/models"
GRAPHS = ROOT / "crates/engines/tests/data"
BUSY = ROOT / "tests/models/busy"
OPEN = ROOT / "tests/models/open"
BINARY = os.environ.get("TIDEGATE_BIN", str(ROOT / "target/debug/tidegate"))
PATIENCE_S = 60
# Its run fails for some inputs.
FRAGILE = GRAPHS / "gather_out_of_range.onnx"


# Files whose tests measure times, rates or memory: nothing else runs meanwhile.
ALONE = {
    "test_fairness",
    "test_fleet",
    "test_limits",
    "test_load",
    "test_slow_clients",
    "test_soak",
    "test_terminal",
    "test_top",
}


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: runs while nothing else does")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in ALONE:
            item.add_marker(pytest.mark.alone)


def wheel(package):
    """The wheel of a package, which `cargo xtask setup --tests` has downloaded."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tidegate/wheels"
    return next(cache.glob(f"{package}-*/*.whl"))


class Server:
    """A running server. `http` and `grpc` are its addresses, `lines` what it printed until it was ready."""

    def __init__(self, data, *paths, flags=(), environment=None, http="127.0.0.1:0"):
        command = [BINARY, "serve", *map(str, paths), "--grpc", "127.0.0.1:0", "--data", str(data), *flags]
        command += ["--http", http] if http else []
        self.log = Path(data).with_suffix(".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "TIDEGATE_LOG__LEVEL": "info", **(environment or {})},
            )
        self.lines = []
        self.http = self.grpc = None
        impatience = threading.Timer(PATIENCE_S, self.process.kill)
        impatience.start()
        try:
            self.read_until_ready()
        finally:
            impatience.cancel()

    def read_until_ready(self):
        for line in self.process.stdout:
            line = line.rstrip()
            self.lines.append(line)
            word, _, rest = line.partition(" ")
            if word == "REST":
                self.http = rest.strip().removeprefix("http://")
            elif word == "gRPC":
                self.grpc = rest.strip().removeprefix("http://")
            elif word == "ready":
                return
        raise RuntimeError(f"the server ended or was never ready; the log says:\n{self.log.read_text()}")

    def url(self, path):
        return f"http://{self.http}{path}"

    def infer(self, model, body, **options):
        return requests.post(self.url(f"/v2/models/{model}/infer"), json=body, timeout=PATIENCE_S, **options)

    def metric(self, name, **labels):
        """The sum of a metric over the series with these labels; None if there is none."""
        lines = requests.get(self.url("/metrics"), timeout=PATIENCE_S).text.splitlines()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        own = [line for line in lines if re.match(rf"{name}[{{ ]", line) and all(label in line for label in wanted)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in own) if own else None

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        return self.process.wait(PATIENCE_S)

    def stop(self):
        """Asks the server to end and insists on exit status 0."""
        if self.process.poll() is None:
            self.terminate()
        assert self.wait() == 0, self.log.read_text()
        self.process.stdout.close()


def server_fault(server):
    """A request for `FRAGILE` that fails through no fault of the client, and so spends error budgets."""
    body = {"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [99]}]}
    failed = server.infer(FRAGILE.stem, body)
    assert (failed.status_code, failed.json()["code"]) == (500, "execution_failed"), failed.text


class Registry:
    """A data folder, and `tidegate` with it."""

    def __init__(self, folder):
        self.data = folder / "data"
        self.environment = {}

    def run(self, *arguments, check=True, environment=None):
        command = [BINARY, *map(str, arguments), "--data", str(self.data)]
        env = {**os.environ, "USER": "ada", **self.environment, **(environment or {})}
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
        assert not check or ended.returncode == 0, ended.stderr
        return ended

    def out(self, *arguments, **options):
        return self.run(*arguments, **options).stdout.strip()

    def error(self, *arguments, **options):
        ended = self.run(*arguments, check=False, **options)
        assert ended.returncode != 0, ended.stdout
        return ended.stderr

    def versions(self):
        return json.loads(self.out("registry", "list", "--json"))


@pytest.fixture
def refusal(tmp_path):
    """What a server says that does not start for what its configuration has."""

    def refusal(settings):
        config = tmp_path / "tidegate.toml"
        config.write_text(settings)
        command = [BINARY, "serve", str(MODELS / "digits"), "--config", str(config), "--http", "127.0.0.1:0"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert ended.returncode != 0, ended.stderr
        return ended.stderr

    return refusal


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path)


@pytest.fixture
def graph(tmp_path):
    """A bundle around one of the test graphs."""

    def graph(name, model="m", manifest=""):
        folder = tmp_path / f"{model}-{name}"
        folder.mkdir()
        shutil.copy(GRAPHS / f"{name}.onnx", folder / "model.onnx")
        (folder / "model.toml").write_text(f'name = "{model}"\n{manifest}')
        return folder

    return graph


@pytest.fixture
def start(tmp_path):
    """Starts servers that live for one test."""
    servers = []

    def start(*paths, data=None, **options):
        data = data or tmp_path / f"data-{len(servers)}"
        servers.append(Server(data, *paths, **options))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for the whole run: the example models, `busy`, `open`, and a model that fails on some inputs."""
    folder = tmp_path_factory.mktemp("server")
    models = folder / "more"
    shutil.copytree(BUSY, models / "busy")
    shutil.copytree(OPEN, models / "open")
    (models / "fragile").mkdir()
    shutil.copy(GRAPHS / "gather_out_of_range.onnx", models / "fragile/model.onnx")
    server = Server(folder / "data", MODELS, models)
    yield server
    server.stop()


class Heldout:
    """The held-out rows of an example model with what Python's onnxruntime answers."""

    def __init__(self, name):
        folder = MODELS / name / "heldout"
        inputs = list(csv.reader((folder / "inputs.csv").open(encoding="utf-8", newline="")))
        expected = list(csv.reader((folder / "expected.csv").open(encoding="utf-8", newline="")))
        self.name = name
        self.is_text = name == "language"
        if self.is_text:
            self.inputs = np.array([[row[0].encode()] for row in inputs[1:]], dtype=np.object_)
        else:
            self.inputs = np.array(inputs[1:], dtype=np.float32)
        self.probabilities = np.array([row[1:] for row in expected[1:]], dtype=np.float32)
        self.labels = [row[0] for row in expected[1:]]
        self.datatype = "BYTES" if self.is_text else "FP32"

    def tensor(self, rows):
        """The input of the protocol's JSON for these rows."""
        values = self.inputs[rows]
        data = [text.decode() for text in values.ravel()] if self.is_text else [float(x) for x in values.ravel()]
        return {"name": input_name(self.name), "shape": list(values.shape), "datatype": self.datatype, "data": data}


def input_name(model):
    return {"digits": "image", "fraud": "transaction", "language": "text"}[model]


@pytest.fixture(scope="session", params=["digits", "fraud", "language"])
def heldout(request):
    return Heldout(request.param)


@pytest.fixture(scope="session")
def digits():
    return Heldout("digits")
