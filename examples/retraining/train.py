"""Trains the next version of a classifier on a data set of Tidegate, and pushes it.

Everything but the model is taken from the bundle that is served: the pipeline, the names of the classes, the manifest. What a
receiver of retraining messages has to do is here in full: export the data set (which verifies its digest), train, convert to
ONNX, profile the new training data, push with the data set and the trigger.
"""

import argparse
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

SEED = 7
OPSET = 15


def main():
    """Reads the arguments and runs the steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="the folder of the bundle that is served")
    parser.add_argument("--dataset", required=True, help="such as fraud@3")
    parser.add_argument("--trigger", help="the trigger that asked for the version")
    parser.add_argument("--work", type=Path, default=Path("retraining-work"), help="a folder for files of this run")
    parser.add_argument("--url", help="the server that has the data set; without it the registry's own folder has")
    parser.add_argument("--tidegate", default="tidegate", help="the program")
    parser.add_argument("--data", help="the data folder of the registry")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    file = export(options)
    manifest = tomllib.loads((options.bundle / "model.toml").read_text())
    classes = (options.bundle / "labels.txt").read_text().split()
    fields, inputs, truth = read(file, manifest, classes)
    model = train(inputs, truth)
    bundle = write_bundle(options, model, fields, inputs)
    push(options, bundle)


def registry(options):
    """The arguments that name the registry."""
    return ["--data", options.data] if options.data else []


def export(options):
    """The data set as a file. The command fails if its content is not that of its digest."""
    file = options.work / "data.parquet"
    place = ["--url", options.url] if options.url else registry(options)
    command = [options.tidegate, "dataset", "export", options.dataset, "--output", str(file), "--force", *place]
    subprocess.run(command, check=True)
    return file


def read(file, manifest, classes):
    """The fields by name, the inputs of the model in its order, and the place of each row's class."""
    table = parquet.read_table(file)
    rows = table.filter(table["label"].is_valid())
    truth = np.array([classes.index(label) for label in rows["label"].to_pylist()])
    fields = {
        name.removeprefix("field."): rows[name].to_numpy(zero_copy_only=False).astype(np.float64)
        for name in rows.column_names
        if name.startswith("field.")
    }
    columns = dict(fields)
    for step in manifest["pipeline"]["before"]:
        # Of the steps that a pipeline may have before the model, the example has this one.
        assert step["step"] == "ratio", step
        columns[step["output"]] = columns[step["numerator"]] / columns[step["denominator"]]
    order = manifest["pipeline"]["inputs"][0]["columns"]
    return fields, np.column_stack([columns[name] for name in order]).astype(np.float32), truth


def train(inputs, truth):
    """A classifier, and what it is worth on rows that it has not seen."""
    known, held_out, known_truth, held_out_truth = train_test_split(
        inputs, truth, test_size=0.25, random_state=SEED, stratify=truth
    )
    model = HistGradientBoostingClassifier(max_iter=60, min_samples_leaf=10, early_stopping=False, random_state=SEED)
    model.fit(known, known_truth)
    score = roc_auc_score(held_out_truth, model.predict_proba(held_out)[:, 1])
    print(f"{len(known)} rows to train on, {len(held_out)} held out: ROC AUC {score:.3f}")
    return model


def write_bundle(options, model, fields, inputs):
    """The served bundle with the new model and the profile of its data."""
    bundle = options.work / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    shutil.copytree(options.bundle, bundle, ignore=shutil.ignore_patterns("heldout"))
    name = "transaction"
    kind = [(name, FloatTensorType([None, inputs.shape[1]]))]
    onnx = to_onnx(model, initial_types=kind, options={"zipmap": False}, target_opset=OPSET)
    (bundle / "model.onnx").write_bytes(onnx.SerializeToString())
    table = options.work / "train.csv"
    rows = np.column_stack(list(fields.values()))
    np.savetxt(table, rows, delimiter=",", header=",".join(fields), comments="", fmt="%.10g")
    baseline = [options.tidegate, "baseline", str(table), "--output", str(bundle / "baseline.json")]
    subprocess.run(baseline, check=True)
    manifest = bundle / "model.toml"
    text = manifest.read_text()
    if "\nbaseline = " not in text:
        manifest.write_text(text.replace("\nartifact = ", '\nbaseline = "baseline.json"\nartifact = ', 1))
    return bundle


def push(options, bundle):
    """Makes a version of the bundle, which closes the trigger."""
    command = [options.tidegate, "push", str(bundle), "--dataset", options.dataset, *registry(options)]
    if options.trigger:
        command += ["--trigger", options.trigger]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
