"""Hostile models, pushed one after the other into a registry that a loaded server follows: nobody else notices.

`TIDEGATE_HOSTILE_MODELS` is how many are pushed; a few by default.
"""

import os
import random
import threading

import numpy as np
import requests

import graphs
from graphs import BOOL, FLOAT, INT64, node, value, weights

COUNT = int(os.environ.get("TIDEGATE_HOSTILE_MODELS", "9"))
PATIENCE_S = 120
X = value("x", FLOAT, ["N", 2])
Y = value("y", FLOAT, ["N", 2])
SAME = node("Identity", ["x"], ["y"])


def huge_extents(chance):
    extent = chance.choice([1 << 33, 1 << 40, 1 << 49, (1 << 62) + 1])
    return [SAME], [value("x", FLOAT, ["N", extent])], [value("y", FLOAT, ["N", extent])], []


def huge_output(chance):
    repeats = weights("r", np.array([1, 1 << chance.randrange(30, 60)], np.int64))
    return [node("Tile", ["x", "r"], ["y"])], [X], [value("y", FLOAT, ["N", "M"])], [repeats]


def odd_extents(chance):
    extents = [chance.choice([-1, -5, 0, "N", "", None, 2]) for _ in range(chance.randrange(6))]
    return [SAME], [value("x", FLOAT, extents)], [value("y", FLOAT, extents)], []


def cycle(chance):
    names = [f"t{at}" for at in range(chance.randrange(2, 50))]
    ring = [node("Add", [one, "x"], [two]) for one, two in zip(names, names[1:] + names[:1], strict=True)]
    return [*ring, node("Identity", [names[0]], ["y"])], [X], [Y], []


def deep_graphs(chance):
    inner = graphs.graph([node("Identity", ["x"], ["b0"])], [], [value("b0", FLOAT, ["N", 2])])
    for depth in range(1, chance.choice([10, 40, 200])):
        branch = node("If", ["c"], [f"b{depth}"], then_branch=inner, else_branch=inner if depth < 3 else graphs.graph([], [], []))
        inner = graphs.graph([branch], [], [value(f"b{depth}", FLOAT, ["N", 2])])
    return [node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)], [X], [Y], [weights("c", np.array(True))]


def bad_indices(chance):
    at = weights("at", np.array([chance.choice([7, -9, 1 << 40, -(1 << 62)])], np.int64))
    return [node("Gather", ["x", "at"], ["y"], axis=1)], [X], [value("y", FLOAT, ["N", 1])], [at]


def many_outputs(chance):
    names = [f"y{at}" for at in range(chance.choice([100, 10_000]))]
    return [node("Identity", ["x"], [name]) for name in names], [X], [value(name, FLOAT, ["N", 2]) for name in names], []


def weights_without_data(chance):
    claimed = graphs.integer(1, 1 << 40) + graphs.integer(2, chance.choice([FLOAT, INT64])) + graphs.chunk(8, "w")
    return [node("Add", ["x", "w"], ["y"])], [X], [Y], [claimed + graphs.chunk(9, b"1234")]


def endless_loop(chance):
    counter = [value("i", INT64, []), value("go", BOOL, []), value("v", FLOAT, [])]
    steps = [node("Identity", ["go"], ["on"]), node("Identity", ["v"], ["w"])]
    body = graphs.graph(steps, counter, [value("on", BOOL, []), value("w", FLOAT, [])])
    loop = node("Loop", ["", "ever", "start"], ["end"], body=body)
    constants = [weights("ever", np.array(True)), weights("start", np.array(chance.random(), np.float32))]
    return [loop, node("Add", ["x", "end"], ["y"])], [X], [Y], constants


KINDS = [
    huge_extents,
    huge_output,
    odd_extents,
    cycle,
    deep_graphs,
    bad_indices,
    many_outputs,
    weights_without_data,
    endless_loop,
]


def save(path, seed):
    chance = random.Random(seed)
    graphs.save(path, *KINDS[seed % len(KINDS)](chance))
    if seed >= len(KINDS) and chance.random() < 0.3:
        broken = bytearray(path.read_bytes())
        for _ in range(chance.randrange(1, 20)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        path.write_bytes(broken)
    return path


class Traffic(threading.Thread):
    """Requests to the good model, one after the other, until it is stopped."""

    def __init__(self, server):
        super().__init__()
        self.server, self.stopped, self.answers, self.failures = server, threading.Event(), 0, []

    def run(self):
        body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
        with requests.Session() as session:
            while not self.stopped.is_set():
                try:
                    answer = session.post(self.server.url("/v2/models/good/infer"), json=body, timeout=60)
                    assert answer.json()["outputs"][0]["data"] == [2, 4], answer.text
                    self.answers += 1
                except Exception as failure:
                    self.failures.append(failure)


def state(server, name):
    index = requests.post(server.url("/v2/repository/index"), timeout=60).json()
    return next((entry["stage"] for entry in index if entry["name"] == name), "UNKNOWN")


def test_hostile_models_in_a_followed_registry_fail_alone(registry, start, tmp_path):
    registry.run("push", graphs.linear(tmp_path / "good.onnx"))
    server = start("--registry", data=registry.data, environment={"TIDEGATE_ENGINES__LOAD_TRIAL_TIMEOUT_S": "2"})
    traffic = Traffic(server)
    traffic.start()
    try:
        pushed = []
        for seed in range(COUNT):
            name = f"hostile-{seed}"
            ended = registry.run("push", save(tmp_path / f"{name}.onnx", seed), "--no-check", check=False)
            assert ended.returncode in (0, 1), ended
            if ended.returncode == 0:
                pushed.append(name)
        assert len(pushed) > COUNT / 3
        waiting = set(pushed)
        while waiting:
            waiting = {name for name in waiting if state(server, name) not in ("ready", "failed")}
            assert server.process.poll() is None, server.log.read_text()[-5000:]
    finally:
        traffic.stopped.set()
        traffic.join()
    assert traffic.failures == [] and traffic.answers > 0
    assert requests.get(server.url("/v2/health/ready"), timeout=60).status_code == 200
