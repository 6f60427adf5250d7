"""A soak: load at 70 % of what the server can, with everything that watches it, and memory that stays where it is.

`TIDEGATE_SOAK_S` seconds, 20 unless it is set; `TIDEGATE_SOAK_S=3600` for the hour that counts.
"""

import json
import os
import statistics
import subprocess
import threading
import time
from pathlib import Path

import requests

from collector import Collector
from conftest import BINARY, MODELS

SECONDS = float(os.environ.get("TIDEGATE_SOAK_S", "20"))
WARM_UP_S = min(60, max(10, SECONDS / 4))
SHARE = 0.7
CONNECTIONS = 32
# What the goal allows in an hour. A short run ends before an allocator has seen everything: there, nothing may be lost that
# would be as much as a request.
ALLOWED = 0.02
SHORT_S = 600
ALLOWED_BYTES_A_REQUEST = 1024


def resident_kb(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])


def load(server, *arguments):
    command = [BINARY, "load", "digits", "--url", f"http://{server.http}", "--quiet", "--json", "-", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS * 2 + 300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)["runs"][0]


def test_memory_is_flat_under_load_with_everything_that_watches(start, tmp_path):
    collector = Collector()
    config = tmp_path / "tidegate.toml"
    config.write_text(
        f'[traces]\nendpoint = "{collector.grpc}"\nsample = 0.01\n'
        '[[slo]]\nname = "fast"\nendpoint = "digits"\nsli = "latency"\nthreshold_ms = 25.6\ntarget = 0.99\n'
    )
    server = start(MODELS / "digits", flags=["--config", str(config)])
    # As many connections, and as much at once, as there will ever be.
    capacity = load(server, f"--concurrency={CONNECTIONS}", "--duration=5s")["throughput_per_s"]
    done = threading.Event()
    failures = []

    def watching(look):
        def watch():
            try:
                while not done.is_set():
                    look()
            except Exception as error:
                if not done.is_set():
                    failures.append(error)

        return threading.Thread(target=watch, daemon=True)

    def scrape():
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        assert requests.get(server.url("/metrics"), headers=accept, timeout=60).status_code == 200
        # The collector's own memory is not what is measured.
        with collector.lock:
            collector.kept.clear()
        done.wait(1)

    def look():
        headers = {"accept": "text/event-stream"}
        with requests.get(server.url("/console/endpoints/digits"), headers=headers, stream=True, timeout=60) as answer:
            assert answer.status_code == 200
            for _ in answer.iter_lines():
                if done.is_set():
                    return

    watchers = [watching(scrape), *(watching(look) for _ in range(4))]
    for watcher in watchers:
        watcher.start()
    samples = []

    def sample():
        samples.append((time.monotonic(), resident_kb(server.process)))
        done.wait(0.25)

    sampler = watching(sample)
    sampler.start()
    began = time.monotonic()
    at_once = (f"--connections={CONNECTIONS}", f"--max-outstanding={CONNECTIONS}")
    run = load(server, f"--rate={capacity * SHARE:.0f}", f"--duration={WARM_UP_S + SECONDS:.0f}s", *at_once)
    done.set()
    assert not failures, failures
    assert run["throughput_per_s"] > 0
    kept = [kb for at, kb in samples if began + WARM_UP_S < at < began + WARM_UP_S + SECONDS]
    first, last = kept[: len(kept) // 4], kept[-(len(kept) // 4) :]
    before, after = statistics.median(first), statistics.median(last)
    print(f"{before} KB, {SECONDS:.0f} s later {after} KB, {after / before - 1:+.2%}")
    requests_between = run["throughput_per_s"] * SECONDS * 3 / 4
    short = SECONDS < SHORT_S
    allowed = requests_between * ALLOWED_BYTES_A_REQUEST / 1024 if short else before * ALLOWED
    assert after - before <= allowed, f"{before} KB became {after} KB"
    sampler.join(60)
    collector.stop()
