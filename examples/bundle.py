"""Writes a bundle: the manifest, the artifact, and held-out examples with the outputs that they must give.

Nothing is stored that was not computed from the files themselves: `write` first writes the inputs, reads them back,
and runs ONNX Runtime on what it read, one row at a time.
"""

import csv
import pathlib

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent / "models"
OPSETS = {"": 17, "ai.onnx.ml": 3}
TOLERANCE = 1e-5


def write(name, description, model, features, inputs, labels, classes):
    """Writes `models/<name>` and returns what ONNX Runtime answers: the labels and the probabilities.

    `inputs` is a float32 matrix or a matrix of str, one row per held-out example; `features` names its columns,
    `classes` the columns of the probabilities. `labels` are the true ones.
    """
    folder = ROOT / name
    heldout = folder / "heldout"
    heldout.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(manifest(name, description), encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in classes), encoding="utf-8")
    # Converters put a random name here, and the operator sets in any order.
    model.graph.name = name
    model.opset_import.sort(key=lambda opset: opset.domain)
    name_batch_axis(model)
    onnx.checker.check_model(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))

    write_csv(heldout / "inputs.csv", features, inputs)
    write_csv(heldout / "labels.csv", ["label"], [[label] for label in labels])

    session = open_session(folder / "model.onnx")
    rows = read_inputs(heldout / "inputs.csv", inputs.dtype)
    if not np.array_equal(rows, inputs):
        raise SystemExit(f"{name}: the inputs are not what was written")
    answers = [session.run(["label", "probabilities"], {session.get_inputs()[0].name: row[None]}) for row in rows]
    got_labels = np.concatenate([label for label, _ in answers])
    got_probabilities = np.concatenate([probabilities for _, probabilities in answers])
    check_batched(session, rows, got_labels, got_probabilities)
    write_csv(
        heldout / "expected.csv",
        ["label", *classes],
        [[label, *row] for label, row in zip(got_labels, got_probabilities)],
    )
    return got_labels, got_probabilities


def manifest(name, description):
    """`model.toml`, with the label file for the classification extension."""
    return (
        "schema = 1\n"
        f'name = "{name}"\n'
        f'description = "{description}"\n'
        'artifact = "model.onnx"\n'
        "\n"
        "[[outputs]]\n"
        'name = "probabilities"\n'
        'labels = "labels.txt"\n'
        f"{pipeline(name)}"
    )


def pipeline(name):
    """The steps around the model, if it has some."""
    file = pathlib.Path(__file__).resolve().parent / f"{name}_pipeline.toml"
    return "\n" + file.read_text(encoding="utf-8") if file.exists() else ""


def name_batch_axis(model):
    """Calls axis 0 `N` in every input and output, so that an engine sees that they are the same."""
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "N"


def open_session(path):
    """One thread, so that sums are added in one order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def read_inputs(path, dtype):
    """The matrix that `write_csv` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array(rows, dtype=object if dtype == object else np.float32)


def write_csv(path, header, rows):
    """Floats in the shortest text that reads back as the same float32, everything else as it is."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([text(cell) for cell in row] for row in rows)


def text(cell):
    """One cell."""
    return str(np.float32(cell)).removesuffix(".0") if isinstance(cell, (float, np.floating)) else str(cell)


def check_batched(session, rows, labels, probabilities):
    """All rows in one run must give what each row gives alone."""
    batched_labels, batched = session.run(["label", "probabilities"], {session.get_inputs()[0].name: rows})
    if not np.array_equal(batched_labels, labels):
        raise SystemExit("the labels depend on the batch")
    difference = float(np.abs(batched - probabilities).max())
    print(f"  one batch against single rows: largest difference {difference:.1e}")
    if difference > TOLERANCE:
        raise SystemExit("the probabilities depend on the batch")


def check_agreement(labels, probabilities, reference_labels, reference_probabilities):
    """The artifact must say what the framework that trained it says."""
    difference = float(np.abs(probabilities - reference_probabilities).max())
    flipped = int((labels != reference_labels).sum())
    print(f"  artifact against training framework: largest difference {difference:.1e}, {flipped} labels differ")
    if flipped or difference > TOLERANCE:
        raise SystemExit("the artifact disagrees with the framework that trained it")
