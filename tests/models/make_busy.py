"""Makes `busy`: a model that takes as long as its input says, for tests of deadlines, queues and stopping.

`rounds` is INT64 [batch, 1]. The model multiplies a 128 x 128 matrix max(rounds) times, which takes about 0.1 ms each
time, and answers `rounds` as it came, so that every caller can see whether it got its own rows back.

Run it in the environment of `examples/requirements.txt`.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 128
OPSET = 17

state = helper.make_tensor_value_info("state", TensorProto.FLOAT, [SIZE, SIZE])
body = helper.make_graph(
    [
        helper.make_node("MatMul", ["state", "weights"], ["product"]),
        helper.make_node("Tanh", ["product"], ["next"]),
        helper.make_node("Identity", ["go_on"], ["still_go_on"]),
    ],
    "round",
    [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
        state,
    ],
    [
        helper.make_tensor_value_info("still_go_on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("next", TensorProto.FLOAT, [SIZE, SIZE]),
    ],
)
# Twice the scale at which values would fade: numbers too small to be normal take a hundred times as long.
weights = np.random.default_rng(7).normal(0, 2 * SIZE**-0.5, (SIZE, SIZE)).astype(np.float32)
graph = helper.make_graph(
    [
        helper.make_node("ReduceMax", ["rounds"], ["trips"], keepdims=0),
        helper.make_node("Loop", ["trips", "", "weights"], ["last"], body=body),
        # The result goes into the answer, times nothing: the rounds cannot be optimized away.
        helper.make_node("ReduceMax", ["last"], ["peak"], keepdims=0),
        helper.make_node("Mul", ["peak", "nothing"], ["zero"]),
        helper.make_node("Cast", ["zero"], ["zero_int"], to=TensorProto.INT64),
        helper.make_node("Add", ["rounds", "zero_int"], ["done"]),
    ],
    "busy",
    [helper.make_tensor_value_info("rounds", TensorProto.INT64, ["batch", 1])],
    [helper.make_tensor_value_info("done", TensorProto.INT64, ["batch", 1])],
    [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array(0, np.float32), "nothing"),
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tidegate-tests")
model.ir_version = 8
onnx.checker.check_model(model)
onnx.save(model, Path(__file__).parent / "busy" / "model.onnx")
