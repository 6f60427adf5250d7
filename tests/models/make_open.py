"""Makes `open`: answers FP32 [rows, columns] as it came, both extents open, for tests of what an open shape lets in.

Run it in the environment of `examples/requirements.txt`.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

shape = ["rows", "columns"]
graph = helper.make_graph(
    [helper.make_node("Identity", ["x"], ["y"])],
    "open",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="tidegate-tests")
model.ir_version = 8
onnx.checker.check_model(model)
folder = Path(__file__).parent / "open"
folder.mkdir(exist_ok=True)
onnx.save(model, folder / "model.onnx")
