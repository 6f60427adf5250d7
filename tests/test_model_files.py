"""What the command line says of files: other formats, names that clash, labels, and what only an engine can tell."""

import shutil
import subprocess

import pytest

from conftest import BINARY, GRAPHS, MODELS, PATIENCE_S


def run(*arguments):
    return subprocess.run([BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("churn.json", "onnxmltools.convert_xgboost"),
        ("churn.ubj", "onnxmltools.convert_xgboost"),
        ("churn.txt", "onnxmltools.convert_lightgbm"),
        ("churn.pkl", "skl2onnx.to_onnx"),
    ],
)
def test_a_model_of_another_format_comes_with_the_lines_that_convert_it(name, line, registry, tmp_path):
    path = tmp_path / name
    path.write_text("{}")
    rows = tmp_path / "rows.csv"
    rows.write_text("x\n1\n")
    said = [
        registry.error("push", path),
        run("predict", path, "--input", rows).stderr,
        run("serve", path, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0").stdout,
        run("inspect", path).stderr,
        run("models", tmp_path).stderr,
    ]
    for one in said:
        assert line in one and f'"{name}"' in one, one
    assert said[1].count(str(path)) == 1, "the path is named once"


def test_two_models_of_one_name_are_not_pushed_as_versions_of_each_other(registry, tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(MODELS / "digits", folder / "digits_bundle")
    shutil.copy(GRAPHS / "identity_fp32.onnx", folder / "digits.onnx")
    said = registry.error("push", folder, "--no-check")
    assert "two models are named digits" in said and "digits_bundle" in said and "digits.onnx" in said
    assert registry.versions() == []


def test_a_class_without_a_name_fails_the_check(tmp_path):
    bundle = tmp_path / "digits"
    shutil.copytree(MODELS / "digits", bundle)
    assert run("check", bundle).returncode == 0
    (labels,) = bundle.glob("*labels*")
    labels.write_text("zero\n")
    checked = run("check", bundle)
    assert checked.returncode == 1
    assert '1 class names for the 10 classes of output "probabilities"' in checked.stdout


def test_inspect_shows_what_the_engine_gives_where_the_file_alone_does_not_tell():
    shown = run("inspect", GRAPHS / "zipmap_int64.onnx")
    assert shown.returncode == 0, shown.stderr
    if "onnxruntime" in shown.stdout:
        assert "\noutput " in shown.stdout and "signature" not in shown.stdout, shown.stdout
    else:
        assert "zipmap=False" in shown.stdout
