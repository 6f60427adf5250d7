"""ONNX models that keep states, made with the writer of graphs.py."""

import numpy as np

from graphs import BOOL, FLOAT, INT32, INT64, node, save, value, weights

UINT64 = 13


def accumulator(path, factor=1, batch="N", kind=INT32):
    """The sum of all x of a sequence, each times a factor."""
    numbers = {INT32: np.int32, FLOAT: np.float32}[kind]
    nodes = [node("Mul", ["x", "factor"], ["product"]), node("Add", ["product", "sum_in"], ["sum_out"])]
    nodes.append(node("Identity", ["sum_out"], ["y"]))
    tensor = lambda name: value(name, kind, [batch, 1])  # noqa: E731
    constant = [weights("factor", np.array([factor], numbers))]
    return save(path, nodes, [tensor("x"), tensor("sum_in")], [tensor("y"), tensor("sum_out")], constant)


def controls(path):
    """Answers its flags and its correlation id, and counts the requests of a sequence."""
    kinds = {"START": FLOAT, "END": INT32, "READY": BOOL, "CORRID": UINT64}
    inputs = [value("x", FLOAT, ["N", 1]), value("n_in", FLOAT, ["N", 1])]
    inputs += [value(name, kind, ["N", 1]) for name, kind in kinds.items()]
    outputs = [value("n", FLOAT, ["N", 1]), value("n_out", FLOAT, ["N", 1])]
    outputs += [value(name.lower(), kind, ["N", 1]) for name, kind in kinds.items()]
    nodes = [node("Add", ["n_in", "one"], ["n_out"]), node("Mul", ["x", "zero"], ["nothing"]), node("Add", ["n_out", "nothing"], ["n"])]
    nodes += [node("Identity", [name], [name.lower()]) for name in kinds]
    return save(path, nodes, inputs, outputs, [weights("one", np.ones(1, np.float32)), weights("zero", np.zeros(1, np.float32))])


def fragile(path):
    """The sum of table[x], which fails for an x above 3."""
    nodes = [node("Gather", ["table", "x"], ["found"]), node("Add", ["found", "sum_in"], ["sum_out"]), node("Identity", ["sum_out"], ["y"])]
    floats = lambda name: value(name, FLOAT, ["N", 1])  # noqa: E731
    table = [weights("table", np.arange(4, dtype=np.float32))]
    return save(path, nodes, [value("x", INT64, ["N", 1]), floats("sum_in")], [floats("y"), floats("sum_out")], table)


def history(path):
    """All x of a sequence, one after the other: its state grows."""
    nodes = [node("Concat", ["past", "x"], ["all"], axis=1), node("Identity", ["all"], ["y"])]
    inputs = [value("x", FLOAT, ["N", 1]), value("past", FLOAT, ["N", "T"])]
    return save(path, nodes, inputs, [value("y", FLOAT, ["N", "U"]), value("all", FLOAT, ["N", "U"])])


def slow(path, layers=60, width=2000):
    """The sum of all x of a sequence, after a long time without an effect."""
    nodes, last = [node("MatMul", ["x", "first"], ["h0"])], "h0"
    for layer in range(layers):
        nodes.append(node("MatMul", [last, "w"], [f"h{layer + 1}"]))
        last = f"h{layer + 1}"
    nodes += [node("ReduceSum", [last, "axis"], ["nothing"], keepdims=1), node("Add", ["x", "nothing"], ["same"])]
    nodes += [node("Add", ["same", "sum_in"], ["sum_out"]), node("Identity", ["sum_out"], ["y"])]
    floats = lambda name: value(name, FLOAT, ["N", 1])  # noqa: E731
    constants = [weights("first", np.zeros((1, width), np.float32)), weights("w", np.zeros((width, width), np.float32))]
    constants.append(weights("axis", np.array([1], np.int64)))
    return save(path, nodes, [floats("x"), floats("sum_in")], [floats("y"), floats("sum_out")], constants)
