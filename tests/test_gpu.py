"""GPUs in `/metrics`, as a driver's library tells of them. The library is one of ours: the tests need no GPU."""

import re
import subprocess
import time

import pytest
import requests

from conftest import MODELS, PATIENCE_S, ROOT

LABELS = 'gpu="{}",name="NVIDIA Fake {}100",uuid="GPU-{}"'
FIRST, SECOND = LABELS.format(0, "A", 11), LABELS.format(1, "B", 22)
GIB = 2**30


@pytest.fixture
def driver(tmp_path):
    """A library that says what NVIDIA's would."""
    library = tmp_path / "libfake-nvml.so"
    source = ROOT / "tests/nvml/fake.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-Wall", "-Werror", source, "-o", library], check=True)
    return library


def gpu_series(server):
    """The series of GPUs, with their values."""
    lines = requests.get(server.url("/metrics"), timeout=PATIENCE_S).text.splitlines()
    found = (re.match(r"tidegate_gpu_(\w+)\{(.*)\} (\S+)", line) for line in lines)
    return {(one[1], one[2]): float(one[3]) for one in found if one}


def test_what_the_driver_says_is_in_the_metrics(start, driver):
    server = start(MODELS / "digits", environment={"TIDEGATE_GPU__NVML": str(driver)})
    until = time.monotonic() + PATIENCE_S
    while not (told := gpu_series(server)):
        assert time.monotonic() < until, server.log.read_text()
    assert told == {
        ("utilization_ratio", FIRST): 0.37,
        ("memory_used_bytes", FIRST): 3 * GIB,
        ("memory_used_bytes", SECOND): 3 * GIB,
        ("memory_size_bytes", FIRST): 80 * GIB,
        ("memory_size_bytes", SECOND): 16 * GIB,
        ("power_watts", FIRST): 123.456,
        ("temperature_celsius", FIRST): 54,
        ("temperature_celsius", SECOND): 61,
    }
    assert "GPUs found" in server.log.read_text()


def test_a_library_that_is_named_and_is_none_is_warned_of_once(start, tmp_path):
    server = start(MODELS / "digits", environment={"TIDEGATE_GPU__NVML": str(tmp_path / "none.so")})
    until = time.monotonic() + PATIENCE_S
    while not (lines := [line for line in server.log.read_text().splitlines() if "gpu" in line.lower()]):
        assert time.monotonic() < until
    assert len(lines) == 1 and "WARN" in lines[0] and "none.so" in lines[0]
    assert gpu_series(server) == {}


def test_without_a_driver_there_are_no_series_and_no_words(start):
    if subprocess.run(["sh", "-c", "ldconfig -p | grep -q libnvidia-ml"]).returncode == 0:
        pytest.skip("this machine has a driver")
    server = start(MODELS / "digits", environment={"TIDEGATE_LOG__LEVEL": "info,tidegate_server::gpu=debug"})
    until = time.monotonic() + PATIENCE_S
    while "no GPU is measured" not in server.log.read_text():
        assert time.monotonic() < until
    assert gpu_series(server) == {}
    (line,) = [line for line in server.log.read_text().splitlines() if "gpu" in line.lower()]
    assert "DEBUG" in line
