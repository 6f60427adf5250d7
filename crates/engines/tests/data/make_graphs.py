"""Makes the engine conformance set: tiny ONNX graphs, and what Python's ONNX Runtime answers to a few inputs.

Each graph becomes `<name>.onnx` and `<name>.json`; see README.md for the layout. Runs in the environment of
`examples/requirements.txt`.
"""

import json
import pathlib
import zlib

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).resolve().parent
OPSETS = {"": 17, "ai.onnx.ml": 3}
IR_VERSION = 8

DATATYPES = {
    "BOOL": (TensorProto.BOOL, np.dtype(np.bool_)),
    "UINT8": (TensorProto.UINT8, np.dtype(np.uint8)),
    "UINT16": (TensorProto.UINT16, np.dtype(np.uint16)),
    "UINT32": (TensorProto.UINT32, np.dtype(np.uint32)),
    "UINT64": (TensorProto.UINT64, np.dtype(np.uint64)),
    "INT8": (TensorProto.INT8, np.dtype(np.int8)),
    "INT16": (TensorProto.INT16, np.dtype(np.int16)),
    "INT32": (TensorProto.INT32, np.dtype(np.int32)),
    "INT64": (TensorProto.INT64, np.dtype(np.int64)),
    "FP16": (TensorProto.FLOAT16, np.dtype(np.float16)),
    "BF16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
    "FP32": (TensorProto.FLOAT, np.dtype(np.float32)),
    "FP64": (TensorProto.DOUBLE, np.dtype(np.float64)),
    "BYTES": (TensorProto.STRING, np.dtype(object)),
}
NAMES = {dtype: name for name, (_, dtype) in DATATYPES.items()}


def main():
    """Writes every graph and says how many."""
    for old in [*FOLDER.glob("*.onnx"), *FOLDER.glob("*.json")]:
        old.unlink()
    makers = [
        identities,
        casts,
        arithmetic,
        layers,
        shapes,
        rows_that_depend_on_one_another,
        outputs_off_the_batch,
        lengths,
        optional_inputs,
        failures,
        control_flow,
        strings,
        classifiers,
        sequences,
        recurrent,
        quantized,
    ]
    for make in makers:
        make()
    written = sorted(FOLDER.glob("*.onnx"))
    size = sum(path.stat().st_size for path in FOLDER.glob("*.*"))
    print(f"{len(written)} graphs, {size / 1024:.0f} KiB")


# The graphs.


def identities():
    """One graph for each data type, with its extremes."""
    for datatype in DATATYPES:
        graph = [node("Identity", ["x"], ["y"])]
        cases = [{"x": extremes(datatype)}, {"x": extremes(datatype)[:1]}]
        write(f"identity_{datatype.lower()}", graph, {"x": (datatype, ["N", 2])}, {"y": (datatype, ["N", 2])}, cases)
    write(
        "identity_unknown_rank",
        [node("Identity", ["x"], ["y"])],
        {"x": ("FP32", None)},
        {"y": ("FP32", None)},
        [{"x": floats("rank", 3)}, {"x": floats("rank", 2, 2, 2)}, {"x": np.float32(1.5)}],
    )


def extremes(datatype):
    """Six values, [3, 2], with the largest and the smallest that the type holds."""
    if datatype == "BOOL":
        values = [True, False, False, True, True, True]
    elif datatype == "BYTES":
        values = ["", "a", "two words", "naïve café", "日本語 🦀", 'quote " and \\ and \n']
    elif datatype in ["FP16", "BF16", "FP32", "FP64"]:
        largest = float(ml_dtypes.finfo(DATATYPES[datatype][1]).max)
        values = [0.5, -largest, np.inf, -np.inf, np.nan, -0.1]
    else:
        limits = np.iinfo(DATATYPES[datatype][1])
        values = [limits.min, limits.max, 0, 1, 2, 3]
    return np.array(values, dtype=DATATYPES[datatype][1]).reshape(3, 2)


def casts():
    """From one type to every other. BF16 and BYTES have graphs of their own: not every engine knows them."""
    common = [name for name in DATATYPES if name not in ["BF16", "BYTES"]]
    # Within every type's range, since what lies outside is not defined.
    values = {"BOOL": [0, 1, 1], "FP16": [0, 1.5, 100.25], "FP32": [0, 1.7, 100.2], "FP64": [0, 2.9, 99.99]}
    for source in common:
        x = np.array(values.get(source, [0, 1, 100]), DATATYPES[source][1])
        write_casts(f"cast_from_{source.lower()}", source, common, [{"x": x}, {"x": x[:1]}], tolerance=1e-3)
    write_casts("cast_to_bf16", "FP32", ["BF16"], [{"x": np.float32([0, 1.7, -3e38, 1e-3])}], tolerance=1e-2)
    bf16 = np.array([0, 1.7, -3e38, 1e-3], DATATYPES["BF16"][1])
    write_casts("cast_from_bf16", "BF16", ["FP32", "FP64", "FP16"], [{"x": bf16[:2]}, {"x": bf16[3:]}])
    write_casts("cast_to_string", "INT64", ["BYTES"], [{"x": np.int64([0, -12, 2**62])}])
    write_casts("cast_from_string", "BYTES", ["FP32", "INT64"], [{"x": np.array(["1", "-25"], object)}])


def write_casts(name, source, targets, cases, tolerance=1e-5):
    """One input, one output for each target type."""
    nodes = [node("Cast", ["x"], [f"to_{to.lower()}"], to=DATATYPES[to][0]) for to in targets]
    outputs = {f"to_{to.lower()}": (to, ["N"]) for to in targets}
    write(name, nodes, {"x": (source, ["N"])}, outputs, cases, tolerance=tolerance)


def arithmetic():
    """Elementwise and matrix operators."""
    write(
        "add_constant",
        [node("Add", ["x", "bias"], ["y"])],
        {"x": ("FP32", ["N", 4])},
        {"y": ("FP32", ["N", 4])},
        [{"x": floats("add", rows, 4)} for rows in (1, 3, 0)],
        {"bias": np.float32([1, -1, 0.5, 2])},
    )
    write(
        "add_scalar_input",
        [node("Mul", ["x", "scale"], ["y"])],
        {"x": ("FP32", ["N", 2]), "scale": ("FP32", [])},
        {"y": ("FP32", ["N", 2])},
        [{"x": floats("scale", 2, 2), "scale": np.float32(factor)} for factor in (2, -0.5)],
    )
    write(
        "int_arithmetic",
        [node("Mul", ["a", "b"], ["product"]), node("Sub", ["product", "a"], ["y"])],
        {"a": ("INT64", ["N"]), "b": ("INT64", ["N"])},
        {"y": ("INT64", ["N"])},
        [{"a": np.int64([3, -4]), "b": np.int64([2**40, 7])}, {"a": np.int64([9]), "b": np.int64([-9])}],
    )
    write(
        "matmul",
        [node("MatMul", ["x", "w"], ["y"])],
        {"x": ("FP32", ["N", 4])},
        {"y": ("FP32", ["N", 3])},
        [{"x": floats("matmul", rows, 4)} for rows in (1, 5)],
        {"w": floats("matmul w", 4, 3)},
    )
    write(
        "matmul_fp64",
        [node("MatMul", ["x", "w"], ["y"])],
        {"x": ("FP64", ["N", 3])},
        {"y": ("FP64", ["N", 2])},
        [{"x": floats("matmul64", rows, 3).astype(np.float64)} for rows in (1, 2)],
        {"w": floats("matmul64 w", 3, 2).astype(np.float64)},
    )
    write(
        "gemm_relu_gemm",
        [
            node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
            node("Relu", ["h"], ["r"]),
            node("Gemm", ["r", "w2", "b2"], ["y"], alpha=0.5, beta=2.0),
        ],
        {"x": ("FP32", ["N", 4])},
        {"y": ("FP32", ["N", 2])},
        [{"x": floats("gemm", rows, 4)} for rows in (1, 2, 7)],
        {
            "w1": floats("w1", 6, 4),
            "b1": floats("b1", 6),
            "w2": floats("w2", 6, 2),
            "b2": floats("b2", 2),
        },
    )
    write(
        "add_fp16",
        [node("Add", ["a", "b"], ["y"])],
        {"a": ("FP16", ["N", 2]), "b": ("FP16", ["N", 2])},
        {"y": ("FP16", ["N", 2])},
        [{"a": floats("a16", n, 2).astype(np.float16), "b": floats("b16", n, 2).astype(np.float16)} for n in (1, 3)],
        tolerance=1e-3,
    )
    write(
        "comparison",
        [node("Greater", ["a", "b"], ["greater"]), node("And", ["greater", "mask"], ["y"])],
        {"a": ("FP32", ["N"]), "b": ("FP32", ["N"]), "mask": ("BOOL", ["N"])},
        {"greater": ("BOOL", ["N"]), "y": ("BOOL", ["N"])},
        [{"a": np.float32([1, np.nan, 3]), "b": np.float32([0, 0, 4]), "mask": np.array([True, True, False])}],
    )
    write(
        "not_a_number",
        [node("IsNaN", ["x"], ["is_nan"]), node("Sqrt", ["x"], ["root"]), node("Log", ["x"], ["log"])],
        {"x": ("FP32", ["N"])},
        {"is_nan": ("BOOL", ["N"]), "root": ("FP32", ["N"]), "log": ("FP32", ["N"])},
        [{"x": np.float32([4, -1, np.nan, np.inf, 0])}],
    )
    write(
        "two_in_two_out",
        [node("Sub", ["a", "b"], ["difference"]), node("Concat", ["a", "b"], ["both"], axis=1)],
        {"a": ("FP32", ["N", 2]), "b": ("FP32", ["N", 2])},
        {"difference": ("FP32", ["N", 2]), "both": ("FP32", ["N", 4])},
        [{"a": floats("a", rows, 2), "b": floats("b", rows, 2)} for rows in (1, 3)],
    )


def layers():
    """What networks are made of."""
    write(
        "softmax",
        [node("Softmax", ["x"], ["y"], axis=-1)],
        {"x": ("FP32", ["N", 5])},
        {"y": ("FP32", ["N", 5])},
        [{"x": floats("softmax", rows, 5)} for rows in (1, 4)],
    )
    write(
        "conv_pool",
        [
            node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["p"], ["y"]),
        ],
        {"x": ("FP32", ["N", 1, 6, 6])},
        {"y": ("FP32", ["N", 18])},
        [{"x": floats("conv", rows, 1, 6, 6)} for rows in (1, 2)],
        {"w": floats("conv w", 2, 1, 3, 3), "b": floats("conv b", 2)},
    )
    write(
        "layer_normalization",
        [node("LayerNormalization", ["x", "scale", "bias"], ["y"], axis=-1, epsilon=1e-5)],
        {"x": ("FP32", ["N", "L", 4])},
        {"y": ("FP32", ["N", "L", 4])},
        [{"x": floats("norm", 1, 2, 4)}, {"x": floats("norm", 2, 3, 4)}],
        {"scale": floats("norm scale", 4), "bias": floats("norm bias", 4)},
    )
    write(
        "normalization_by_parts",
        [
            node("ReduceMean", ["x"], ["mean"], axes=[-1], keepdims=1),
            node("Sub", ["x", "mean"], ["centred"]),
            node("Mul", ["centred", "centred"], ["square"]),
            node("ReduceMean", ["square"], ["variance"], axes=[-1], keepdims=1),
            node("Add", ["variance", "epsilon"], ["safe"]),
            node("Sqrt", ["safe"], ["deviation"]),
            node("Div", ["centred", "deviation"], ["y"]),
        ],
        {"x": ("FP32", ["N", 6])},
        {"y": ("FP32", ["N", 6])},
        [{"x": floats("parts", rows, 6)} for rows in (1, 3)],
        {"epsilon": np.float32(1e-5)},
    )
    write(
        "gather_columns",
        [node("Gather", ["x", "columns"], ["y"], axis=1)],
        {"x": ("FP32", ["N", 5])},
        {"y": ("FP32", ["N", 3])},
        [{"x": floats("gather", rows, 5)} for rows in (1, 3)],
        {"columns": np.int64([4, 0, -2])},
    )
    write(
        "top_k",
        [node("TopK", ["x", "k"], ["values", "indices"], axis=1)],
        {"x": ("FP32", ["N", 6])},
        {"values": ("FP32", ["N", 2]), "indices": ("INT64", ["N", 2])},
        [{"x": floats("top", rows, 6)} for rows in (1, 3)],
        {"k": np.int64([2])},
    )


def shapes():
    """Outputs that are laid out otherwise than the inputs."""
    write(
        "reshape",
        [node("Reshape", ["x", "shape"], ["y"])],
        {"x": ("FP32", ["N", 2, 3])},
        {"y": ("FP32", ["N", 6])},
        [{"x": floats("reshape", rows, 2, 3)} for rows in (1, 3)],
        {"shape": np.int64([-1, 6])},
    )
    write(
        "transpose_inner",
        [node("Transpose", ["x"], ["y"], perm=[0, 2, 1])],
        {"x": ("INT32", ["N", 2, 3])},
        {"y": ("INT32", ["N", 3, 2])},
        [{"x": np.arange(rows * 6, dtype=np.int32).reshape(rows, 2, 3)} for rows in (1, 2)],
    )
    write(
        "fixed_shape",
        [node("Neg", ["x"], ["y"])],
        {"x": ("FP32", [2, 3])},
        {"y": ("FP32", [2, 3])},
        [{"x": floats("fixed", 2, 3)}],
    )
    write(
        "non_zero",
        [node("NonZero", ["x"], ["y"])],
        {"x": ("FP32", ["N", 3])},
        {"y": ("INT64", [2, "found"])},
        [{"x": np.float32(x)} for x in ([[0, 1, 0]], [[0, 0, 2], [3, 0, 4]], [[0, 0, 0]])],
    )


def rows_that_depend_on_one_another():
    """Axis 0 is a sequence and no batch: to split it or to join it changes the answer."""
    x = {"x": ("FP32", ["L", 2])}
    y = {"y": ("FP32", ["L", 2])}
    cases = [{"x": floats("rows", rows, 2)} for rows in (1, 2, 5)]
    write("softmax_over_rows", [node("Softmax", ["x"], ["y"], axis=0)], x, y, cases)
    write("cumulative_sum_over_rows", [node("CumSum", ["x", "axis"], ["y"])], x, y, cases, {"axis": np.int64(0)})


def outputs_off_the_batch():
    """Outputs whose axis 0 is not the inputs'."""
    x = {"x": ("FP32", ["N", 3])}
    cases = [{"x": floats("off", rows, 3)} for rows in (1, 2, 4)]
    sum_rows = node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)
    write("sum_over_rows", [sum_rows], x, {"y": ("FP32", [1, 3])}, cases, {"axes": np.int64([0])})
    write("scalar_output", [node("ReduceMean", ["x"], ["y"], keepdims=0)], x, {"y": ("FP32", [])}, cases)
    write("shape_output", [node("Shape", ["x"], ["y"])], x, {"y": ("INT64", [2])}, cases)
    write(
        "constant_output",
        [node("Relu", ["x"], ["y"]), node("Identity", ["stored"], ["classes"])],
        x,
        {"y": ("FP32", ["N", 3]), "classes": ("INT64", [3])},
        cases,
        {"stored": np.int64([7, 8, 9])},
    )


def lengths():
    """Extents other than the batch that a request chooses."""
    write(
        "embedding_mean",
        [
            node("Gather", ["table", "tokens"], ["vectors"]),
            node("ReduceMean", ["vectors"], ["y"], axes=[1], keepdims=0),
        ],
        {"tokens": ("INT64", ["N", "L"])},
        {"y": ("FP32", ["N", 4])},
        [{"tokens": np.int64(tokens)} for tokens in ([[1]], [[0, 2, 4, 6], [7, 7, 1, 3]], [[5, 5], [1, 0], [2, 3]])],
        {"table": floats("table", 8, 4)},
    )
    write(
        "concat_lengths",
        [node("Concat", ["a", "b"], ["y"], axis=1)],
        {"a": ("FP32", ["N", "A"]), "b": ("FP32", ["N", "B"])},
        {"y": ("FP32", ["N", "C"])},
        [
            {"a": floats("ca", rows, left), "b": floats("cb", rows, right)}
            for rows, left, right in ((1, 2, 3), (2, 1, 1), (2, 0, 2))
        ],
    )


def optional_inputs():
    """An input with a default: an initializer of the same name."""
    write(
        "optional_input",
        [node("Mul", ["x", "scale"], ["y"])],
        {"x": ("FP32", ["N", 2]), "scale": ("FP32", [2])},
        {"y": ("FP32", ["N", 2])},
        [{"x": floats("optional", 2, 2)}, {"x": floats("optional", 2, 2), "scale": np.float32([0.5, -1])}],
        {"scale": np.float32([10, 100])},
    )


def failures():
    """What cannot be known before the run."""
    write(
        "gather_out_of_range",
        [node("Gather", ["table", "index"], ["y"])],
        {"index": ("INT64", ["N"])},
        {"y": ("FP32", ["N", 2])},
        [{"index": np.int64([0, 4])}, {"index": np.int64([1, 50])}, {"index": np.int64([2])}],
        {"table": floats("range", 5, 2)},
    )
    write(
        "reshape_by_input",
        [node("Reshape", ["x", "shape"], ["y"])],
        {"x": ("FP32", ["N"]), "shape": ("INT64", [2])},
        {"y": ("FP32", ["A", "B"])},
        [{"x": floats("by input", 6), "shape": np.int64(shape)} for shape in ([2, 3], [4, 2], [-1, 1])],
    )


def control_flow():
    """A branch that the data chooses."""
    true = helper.make_graph([node("Neg", ["x"], ["flipped"])], "negative", [], [value("flipped", "FP32", ["N"])])
    false = helper.make_graph([node("Sqrt", ["x"], ["root"])], "positive", [], [value("root", "FP32", ["N"])])
    write(
        "if_branch",
        [
            node("ReduceMin", ["x"], ["least"], keepdims=0),
            node("Less", ["least", "zero"], ["negative"]),
            node("If", ["negative"], ["y"], then_branch=true, else_branch=false),
        ],
        {"x": ("FP32", ["N"])},
        {"y": ("FP32", ["N"])},
        [{"x": np.float32([4, 9])}, {"x": np.float32([-1, 2, 3])}],
        {"zero": np.float32(0)},
    )


def strings():
    """Operators on BYTES. None changes case: that needs a locale which a server may not have."""
    text = np.array(["the", "Tide", "and", "gate"], object)
    write(
        "string_normalizer",
        [node("StringNormalizer", ["x"], ["y"], stopwords=["the", "and"], is_case_sensitive=1)],
        {"x": ("BYTES", ["N"])},
        {"y": ("BYTES", ["kept"])},
        [{"x": text}, {"x": text[:2]}, {"x": text[:1]}],
    )
    write(
        "label_encoder",
        [
            node(
                "LabelEncoder",
                ["x"],
                ["y"],
                domain="ai.onnx.ml",
                keys_strings=["low", "middle", "high"],
                values_int64s=[1, 2, 3],
                default_int64=-1,
            )
        ],
        {"x": ("BYTES", ["N", 1])},
        {"y": ("INT64", ["N", 1])},
        [{"x": np.array([["high"], ["unknown"], ["low"]], object)}, {"x": np.array([["middle"]], object)}],
    )


def classifiers():
    """What scikit-learn's exporter makes: with ZipMap the probabilities are a sequence of maps."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LogisticRegression

    x = floats("classifier", 60, 3)
    numbers = np.digitize(x @ [1, -2, 0.5], [-1, 1])
    names = np.array(["low", "middle", "high"])[numbers]
    cases = [{"x": x[:1]}, {"x": x[1:4]}]
    for name, labels, zipmap in [
        ("zipmap_int64", numbers, True),
        ("zipmap_string", names, True),
        ("linear_classifier", numbers, False),
    ]:
        model = convert_sklearn(
            LogisticRegression(random_state=0).fit(x, labels),
            initial_types=[("x", FloatTensorType([None, 3]))],
            options={"zipmap": zipmap},
            target_opset=OPSETS,
        )
        model.graph.name = name
        model.opset_import.sort(key=lambda opset: opset.domain)
        save(name, model, cases)


def sequences():
    """An output that is no tensor."""
    pieces = helper.make_tensor_sequence_value_info("pieces", TensorProto.FLOAT, ["rows", 2])
    write(
        "sequence_output",
        [node("SplitToSequence", ["x"], ["pieces"], axis=0), node("Neg", ["x"], ["y"])],
        {"x": ("FP32", ["N", 2])},
        {"y": ("FP32", ["N", 2]), "pieces": pieces},
        [{"x": floats("sequence", rows, 2)} for rows in (1, 2)],
    )


def recurrent():
    """The last state of a recurrent layer over [N, L, 3], from zeros unsaid and from zeros that the graph makes."""
    time_first = node("Transpose", ["x"], ["time_first"], perm=[1, 0, 2])
    zeros = [
        node("Shape", ["x"], ["rows"], start=0, end=1),
        node("Concat", ["direction", "rows", "hidden"], ["state"], axis=0),
        node("ConstantOfShape", ["state"], ["zeros"], value=numpy_helper.from_array(np.float32([0]))),
    ]
    last = node("Squeeze", ["last", "axis"], ["y"])
    for operator, gates, initial in [("LSTM", 4, ["", "zeros", "zeros"]), ("GRU", 3, ["", "zeros"])]:
        unsaid = node(operator, ["time_first", "w", "r", "b"], ["", "last"], hidden_size=2)
        said = node(operator, ["time_first", "w", "r", "b", *initial], ["", "last"], hidden_size=2)
        weights = {
            "w": floats(f"{operator} w", 1, gates * 2, 3),
            "r": floats(f"{operator} r", 1, gates * 2, 2),
            "b": floats(f"{operator} b", 1, gates * 4),
            "axis": np.int64([0]),
        }
        of_state = {"direction": np.int64([1]), "hidden": np.int64([2])}
        for name, nodes, initializers in [
            (operator.lower(), [time_first, unsaid, last], weights),
            (f"{operator.lower()}_initial_state", [time_first, *zeros, said, last], weights | of_state),
        ]:
            write(
                name,
                nodes,
                {"x": ("FP32", ["N", "L", 3])},
                {"y": ("FP32", ["N", 2])},
                [{"x": floats(operator, rows, length, 3)} for rows, length in ((1, 1), (1, 4), (3, 2))],
                initializers,
            )


def quantized():
    """To eight bits and back."""
    write(
        "quantize",
        [
            node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
        ],
        {"x": ("FP32", ["N", 3])},
        {"q": ("UINT8", ["N", 3]), "y": ("FP32", ["N", 3])},
        [{"x": floats("quantize", rows, 3)} for rows in (1, 2)],
        {"scale": np.float32(0.03), "zero": np.uint8(128)},
    )


# How they are built, run and written.


def floats(seed, *shape):
    """Numbers from -3 to 3 with two decimals, the same for the same seed."""
    random = np.random.default_rng(zlib.crc32(seed.encode()))
    return np.round(random.uniform(-3, 3, shape), 2).astype(np.float32)


def node(operator, inputs, outputs, **attributes):
    """One node of a graph."""
    return helper.make_node(operator, inputs, outputs, **attributes)


def value(name, datatype, dims):
    """An input or output by its protocol data type; `dims` is None where the rank is not known."""
    return helper.make_tensor_value_info(name, DATATYPES[datatype][0], dims)


def write(name, nodes, inputs, outputs, cases, initializers=None, tolerance=1e-5):
    """Builds the graph, then as `save`."""
    graph = helper.make_graph(
        nodes,
        name,
        [value(input, *of) for input, of in inputs.items()],
        [value(output, *of) if isinstance(of, tuple) else of for output, of in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), key) for key, array in (initializers or {}).items()],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    save(name, helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), cases, tolerance)


def save(name, model, cases, tolerance=1e-5):
    """Writes the graph, and each case with what ONNX Runtime answers to it."""
    if all(edge.type.tensor_type.HasField("shape") for edge in model.graph.input):
        # Without a shape it is no valid ONNX, though engines take it and exporters make it.
        onnx.checker.check_model(model, full_check=True)
    artifact = model.SerializeToString(deterministic=True)
    (FOLDER / f"{name}.onnx").write_bytes(artifact)
    session = open_session(with_bf16_as_fp32(model).SerializeToString())
    lines = ",\n".join(dump(answered(session, model, case)) for case in cases)
    text = f'{{"tolerance": {tolerance}, "cases": [\n{lines}\n]}}\n'
    json.loads(text)
    (FOLDER / f"{name}.json").write_text(text, encoding="utf-8")


def dump(of):
    """JSON on one line; NaN and infinities are strings by now, anything else that JSON lacks is an error."""
    return json.dumps(of, ensure_ascii=False, allow_nan=False)


def open_session(artifact):
    """One thread on the CPU, quiet: some cases are meant to fail."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])


def with_bf16_as_fp32(model):
    """A copy that takes and gives FP32 where `model` has BF16, which NumPy and so Python's ONNX Runtime lack."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    before, after = [], []
    for values, casts, to in [
        (copy.graph.input, before, TensorProto.BFLOAT16),
        (copy.graph.output, after, TensorProto.FLOAT),
    ]:
        for edge in values:
            if edge.type.tensor_type.elem_type == TensorProto.BFLOAT16:
                edge.type.tensor_type.elem_type = TensorProto.FLOAT
                inner = f"{edge.name}_inner"
                rename(copy.graph.node, edge.name, inner)
                ends = ([edge.name], [inner]) if casts is before else ([inner], [edge.name])
                casts.append(node("Cast", *ends, to=to))
    nodes = [*before, *copy.graph.node, *after]
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def rename(nodes, old, new):
    """Gives one edge another name."""
    for of in nodes:
        of.input[:] = [new if name == old else name for name in of.input]
        of.output[:] = [new if name == old else name for name in of.output]


def answered(session, model, case):
    """One case as it is stored."""
    stored = {"inputs": [tensor(name, np.asarray(array)) for name, array in case.items()]}
    bf16 = DATATYPES["BF16"][1]
    fed = {name: np.asarray(array) for name, array in case.items()}
    fed = {name: array.astype(np.float32) if array.dtype == bf16 else array for name, array in fed.items()}
    try:
        answers = session.run(None, fed)
    except Exception:  # Whatever ONNX Runtime raises: that it does is the expectation.
        return {**stored, "error": True}
    return {**stored, "outputs": [output(edge, answer) for edge, answer in zip(model.graph.output, answers)]}


def output(edge, answer):
    """A tensor, a sequence of tensors, or a sequence of maps as the tensor [maps, keys] that it amounts to."""
    if isinstance(answer, list) and isinstance(answer[0], dict):
        keys = list(answer[0])
        matrix = np.array([[row[key] for key in keys] for row in answer], np.float32)
        return {**tensor(edge.name, matrix), "map_keys": keys}
    if isinstance(answer, list):
        return {"name": edge.name, "sequence": [tensor(edge.name, np.asarray(piece)) for piece in answer]}
    array = np.asarray(answer)
    if edge.type.tensor_type.elem_type == TensorProto.BFLOAT16:
        array = array.astype(DATATYPES["BF16"][1])
    elif edge.type.tensor_type.elem_type == TensorProto.STRING:
        array = array.astype(object)
    return tensor(edge.name, array)


def tensor(name, array):
    """A tensor in the protocol's words."""
    data = [plain(element) for element in array.reshape(-1)]
    return {"name": name, "datatype": NAMES[array.dtype], "shape": list(array.shape), "data": data}


def plain(element):
    """An element as JSON has it: the shortest number that reads back, as FP32 or wider, as exactly this element."""
    if isinstance(element, str):
        return element
    if isinstance(element, (np.bool_, np.integer)):
        return element.item()
    if np.isnan(element):
        return "NaN"
    if np.isinf(element):
        return "Infinity" if element > 0 else "-Infinity"
    return float(element) if isinstance(element, np.float64) else float(str(np.float32(element)))


if __name__ == "__main__":
    main()
