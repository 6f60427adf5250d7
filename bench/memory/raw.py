"""Resident memory of raw ONNX Runtime sessions, beside that of the import alone.

    raw.py MODEL INPUTS SESSIONS

MODEL is an ONNX file and INPUTS a JSON object of the shapes of its inputs, in which integers are 16000 for "sr" and 1 else.
Makes so many sessions, runs one row in each, and prints the megabytes that they added to those of the
imports."""

import json
import sys

import numpy as np
import onnxruntime as ort

TYPES = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


def resident_mb():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def main():
    model, shapes, count = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    before = resident_mb()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = []
    for _ in range(count):
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        inputs = {}
        for each in session.get_inputs():
            value = 16000 if each.name == "sr" else 1
            inputs[each.name] = np.full(shapes[each.name], value, TYPES[each.type])
        session.run(None, inputs)
        sessions.append(session)
    print(resident_mb() - before)


main()
