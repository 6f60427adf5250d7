"""Models of known cost for the benchmarks: graphs with seeded random weights, nothing learnt.

    python make_models.py FOLDER

makes bundles of

- `medium`: a perceptron, some 300 µs a row on one core,
- `slow`: a small convolutional network, some 20 ms a row,
- `resnet50`: a network of ResNet-50's depth, width and cost (He et al., 2016, table 1), batch normalization folded.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RANDOM = np.random.default_rng(50)


class Graph:
    """A chain of operators under construction."""

    def __init__(self, name, shape):
        self.name, self.nodes, self.weights, self.last = name, [], [], "input"
        self.input = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", *shape])

    def weight(self, shape, fan_in):
        values = (RANDOM.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, f"weight{len(self.weights)}"))
        return self.weights[-1].name

    def add(self, operator, *inputs, **attributes):
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        self.last = output
        return output

    def conv(self, source, channels_in, channels, size=1, stride=1):
        weight = self.weight([channels, channels_in, size, size], channels_in * size * size)
        bias = self.weight([channels], 1e6)
        pads = [size // 2] * 4
        return self.add("Conv", source, weight, bias, kernel_shape=[size, size], strides=[stride, stride], pads=pads)

    def dense(self, source, width_in, width):
        return self.add("Gemm", source, self.weight([width_in, width], width_in), self.weight([width], 1e6))

    def save(self, folder, width):
        output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["rows", width])
        self.nodes.append(helper.make_node("Softmax", [self.last], ["output"], axis=-1))
        graph = helper.make_graph(self.nodes, self.name, [self.input], [output], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        bundle = folder / self.name
        bundle.mkdir(parents=True, exist_ok=True)
        onnx.save(model, bundle / "model.onnx")
        (bundle / "model.toml").write_text(f'description = "{self.name}: random weights, for benchmarks"\n')


def medium(folder):
    graph = Graph("medium", [256])
    value = graph.add("Relu", graph.dense("input", 256, 1024))
    for _ in range(5):
        value = graph.add("Relu", graph.dense(value, 1024, 1024))
    graph.dense(value, 1024, 16)
    graph.save(folder, 16)


def slow(folder):
    graph = Graph("slow", [3, 64, 64])
    value = graph.add("Relu", graph.conv("input", 3, 64, size=3))
    for _ in range(6):
        value = graph.add("Relu", graph.conv(value, 64, 64, size=3))
    value = graph.add("Flatten", graph.add("GlobalAveragePool", value))
    graph.dense(value, 64, 16)
    graph.save(folder, 16)


def resnet50(folder):
    graph = Graph("resnet50", [3, 224, 224])
    value = graph.add("Relu", graph.conv("input", 3, 64, size=7, stride=2))
    value = graph.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            shortcut = value if block > 0 else graph.conv(value, channels, 4 * width, stride=stride)
            inner = graph.add("Relu", graph.conv(value, channels, width))
            inner = graph.add("Relu", graph.conv(inner, width, width, size=3, stride=stride))
            inner = graph.conv(inner, width, 4 * width)
            value = graph.add("Relu", graph.add("Add", inner, shortcut))
            channels = 4 * width
    value = graph.add("Flatten", graph.add("GlobalAveragePool", value))
    graph.dense(value, channels, 1000)
    graph.save(folder, 1000)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for make in (medium, slow, resnet50):
        make(target)
