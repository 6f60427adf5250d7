"""Measures `tidegate batch run` beside the bare engine and a tuned script, in turns, on one machine.

    bench/batch.py [--rows 2000000] [--rounds 5] [--binary target/release/tidegate]

Each round runs the contestants in the reverse order of the one before. The figures are rows per second of wall time, start of
the process included for the two that read files; the engine runs over arrays that are in memory, in a process that is warm, on as
many threads. Needs the packages of bench/peers/batch/requirements.txt.
"""

import argparse
import concurrent.futures
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
FRAUD = ROOT / "examples/models/fraud"
PEER = ROOT / "bench/peers/batch/score.py"
FILES = 8
sys.path.insert(0, str(PEER.parent))
import score as peer  # noqa: E402


def transactions(rows, seed):
    numbers, columns = np.random.default_rng(seed), {"id": np.arange(rows)}
    for field in tomllib.loads((FRAUD / "model.toml").read_text())["pipeline"]["fields"]:
        low, high = field.get("min", 0), field.get("max", 1000)
        if field["type"] == "boolean":
            columns[field["name"]] = numbers.random(rows) < 0.5
        elif field["type"] == "integer":
            columns[field["name"]] = numbers.integers(low, high, rows, endpoint=True)
        else:
            columns[field["name"]] = numbers.uniform(max(low, 0.01), high, rows)
    return pa.table(columns)


def engine(arrays, batch_rows, threads):
    """Rows per second of the bare engine: a session for each thread, over arrays."""
    model = str(FRAUD / "model.onnx")

    def work(rows):
        session = peer.session(model)
        session.run(None, {"transaction": rows[:batch_rows]})
        began = time.perf_counter()
        for first in range(0, len(rows), batch_rows):
            session.run(["probabilities"], {"transaction": rows[first : first + batch_rows]})
        return len(rows) / (time.perf_counter() - began)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(work, np.array_split(arrays, threads)))


def timed(command, rows):
    began = time.perf_counter()
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return rows / (time.perf_counter() - began)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--binary", default=ROOT / "target/release/tidegate")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "tx").mkdir()
        for number in range(FILES):
            table = transactions(args.rows // FILES, number)
            pq.write_table(table, folder / f"tx/part-{number}.parquet", row_group_size=128 << 10)
        rows = FILES * (args.rows // FILES)
        arrays = peer.matrix(transactions(200_000, 99).to_batches()[0])

        def tidegate():
            shutil.rmtree(folder / "scores", ignore_errors=True)
            command = [args.binary, "batch", "run", "--model", FRAUD, "--input", folder / "tx", "--keep", "id"]
            command += ["--output", folder / "scores", "--threads", args.threads, "--data", folder / "data"]
            return timed(command, rows)

        def script():
            shutil.rmtree(folder / "peer", ignore_errors=True)
            model = FRAUD / "model.onnx"
            return timed([sys.executable, PEER, model, folder / "tx", folder / "peer", args.threads], rows)

        contestants = {
            "tidegate": tidegate,
            "pyarrow + onnxruntime": script,
            "engine, batches of 64": lambda: engine(arrays, 64, args.threads),
            "engine, batches of 4096": lambda: engine(arrays, 4096, args.threads),
        }
        found = {name: [] for name in contestants}
        for number in range(args.rounds):
            for name in list(contestants)[:: 1 if number % 2 == 0 else -1]:
                found[name].append(contestants[name]())
        for name, rates in found.items():
            ratios = [ours / other for ours, other in zip(found["tidegate"], rates)]
            median, ratio = statistics.median(rates), statistics.median(ratios)
            print(f"{name:26} {median:12,.0f} rows/s   tidegate is {ratio:.2f} x")


if __name__ == "__main__":
    main()
