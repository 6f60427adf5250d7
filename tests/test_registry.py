"""The registry's commands, from a bundle to a version that was rolled back, and back out of a file."""

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import BINARY, GRAPHS, MODELS, Registry


def test_push_alias_and_rollback(registry, graph):
    first = registry.out("push", graph("matmul"), "--alias", "champion", "--commit", "4f2c", "--tag", "team=risk")
    name, digest = first.split()
    assert name == "m:1" and digest.startswith("sha256:") and len(digest) == 71
    assert registry.out("push", graph("softmax"), "--alias", "champion").startswith("m:2 sha256:")
    assert [(v["version"], v["aliases"]) for v in registry.versions()] == [(1, []), (2, ["champion"])]
    assert registry.out("rollback", "m") == "m@champion -> m:1 (was m:2)"
    assert "[nothing_to_roll_back_to]" in registry.error("rollback", "m")
    shown = json.loads(registry.out("registry", "show", "m@champion", "--json"))
    assert shown["version"] == 1 and shown["digest"] == digest and shown["pushed_by"].startswith("ada@")
    assert shown["manifest"]["lineage"]["commit"] == "4f2c" and shown["manifest"]["tags"] == {"team": "risk"}
    history = registry.out("registry", "alias", "list", "m", "champion").splitlines()
    assert [line.split()[0] for line in history] == ["VERSION", "m:1", "m:2", "m:1"]
    assert "rollback" in history[-1]


def test_the_same_content_is_the_same_version(registry):
    first = registry.run("push", MODELS / "digits")
    again = registry.run("push", MODELS / "digits")
    assert first.stdout == again.stdout and "already has a version with this content" in again.stderr
    bare = registry.out("push", MODELS / "digits/model.onnx", "--name", "bare")
    assert bare.startswith("bare:1 ")


def test_diff_shows_operators_and_signature(registry, graph):
    registry.run("push", graph("matmul"))
    registry.run("push", graph("gemm_relu_gemm"))
    text = registry.out("registry", "diff", "m:1", "m:2")
    assert "operators" in text and "- MatMul: 1" in text and "+ Gemm: 2" in text and "~ model.onnx:" in text


def test_what_fails_its_checks_is_not_pushed(registry, graph, tmp_path):
    bundle = graph("matmul", manifest='[[signature.inputs]]\nname = "nobody"\n')
    ended = registry.run("push", bundle, check=False)
    assert ended.returncode != 0 and "FAILED   signature" in ended.stdout
    assert "is not pushed" in ended.stderr and registry.versions() == []
    assert registry.out("push", bundle, "--no-check").startswith("m:1 ")
    junit = tmp_path / "junit.xml"
    checked = subprocess.run([BINARY, "check", bundle, "--junit", junit], capture_output=True, text=True, timeout=120)
    assert checked.returncode == 1
    cases = ElementTree.parse(junit).getroot().findall("testsuite/testcase")
    failed = {case.get("name"): case.find("failure").get("message") for case in cases if case.find("failure") is not None}
    assert list(failed) == ["signature"] and '"nobody" is declared but not in the model' in failed["signature"]
    assert "batch" in [case.get("name") for case in cases]


@pytest.mark.parametrize("model", ["digits", "fraud", "language"])
def test_the_examples_pass_their_checks(model):
    subprocess.run([BINARY, "check", MODELS / model], check=True, capture_output=True, timeout=300)


def test_signed_versions_only(registry, graph):
    key = registry.out("keys", "generate")
    assert registry.out("keys", "list").splitlines()[1].split() == [key, "trusted", "here"]
    registry.run("push", graph("matmul"))
    always = {"environment": {"TIDEGATE_REGISTRY__REQUIRE_SIGNATURE": "always"}}
    folder = registry.out("registry", "fetch", "m", **always)
    assert sorted(os.listdir(folder)) == ["model.onnx", "model.toml"]
    assert f"by key {key}" in registry.out("registry", "show", "m:1")
    registry.run("keys", "revoke", key)
    assert "[revoked_key]" in registry.error("registry", "fetch", "m", **always)
    registry.run("keys", "generate")
    registry.run("keys", "sign", "m:1")
    registry.run("registry", "fetch", "m", **always)


def test_verify_finds_a_flipped_bit(registry, graph):
    registry.run("push", graph("matmul"))
    assert registry.out("registry", "verify").endswith(": 0 problems")
    stored = max((registry.data / "objects/objects").glob("*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    ended = registry.run("registry", "verify", check=False)
    assert ended.returncode == 1 and "m:1" in ended.stdout and "[object_corrupt]" in ended.stdout
    assert "[object_corrupt]" in registry.error("registry", "fetch", "m:1")


def test_delete_collect_export_import(registry, graph, tmp_path):
    for name in ("matmul", "softmax"):
        registry.run("push", graph(name), "--alias", "champion")
    assert "[in_use]" in registry.error("registry", "delete", "m:2")
    file = tmp_path / "m.tar.zst"
    registry.run("registry", "export", "m:1", "m:2", "--output", file)
    registry.run("registry", "delete", "m:1")
    # The two versions share their manifest, which stays.
    assert registry.out("registry", "gc", "--grace", "0").startswith("removed 1 file (")
    other = Registry(tmp_path / "other")
    lines = other.out("registry", "import", file, "--aliases").splitlines()
    assert [line.split()[0] for line in lines] == ["m:1", "m:2"]
    assert other.out("registry", "alias", "list").splitlines()[1].split() == ["m@champion", "m:2"]
    cut = tmp_path / "cut.tar.zst"
    cut.write_bytes(file.read_bytes()[:-40])
    assert "[invalid_archive]" in Registry(tmp_path / "third").error("registry", "import", cut)


def test_encrypted_at_rest(registry, graph, tmp_path):
    key = tmp_path / "data.key"
    registry.run("keys", "generate", "--encryption", key)
    config = tmp_path / "tidegate.toml"
    config.write_text(f'[registry.encryption]\nkey_file = "{key}"\n')
    bundle = graph("matmul")
    registry.run("push", bundle, "--config", config)
    content = (bundle / "model.onnx").read_bytes()
    assert all(content[:100] not in path.read_bytes() for path in (registry.data / "objects/objects").glob("*/*"))
    assert "[wrong_key]" in registry.error("registry", "fetch", "m")
    folder = registry.out("registry", "fetch", "m", "--config", config)
    assert open(f"{folder}/model.onnx", "rb").read() == content
    new = tmp_path / "new.key"
    registry.run("keys", "generate", "--encryption", new)
    config.write_text(f'[registry.encryption]\nkey_file = "{new}"\nprevious_keys = ["{key}"]\n')
    assert registry.out("keys", "rewrap", "--config", config) == "2 data keys re-encrypted"


def test_a_triton_repository_becomes_versions(registry, tmp_path):
    for version in ("1", "2"):
        (tmp_path / "repository/scorer" / version).mkdir(parents=True)
    shutil.copy(GRAPHS / "matmul.onnx", tmp_path / "repository/scorer/1/model.onnx")
    shutil.copy(GRAPHS / "softmax.onnx", tmp_path / "repository/scorer/2/model.onnx")
    config = 'name: "scorer"\nmax_batch_size: 16\nversion_policy: { all {} }\n'
    (tmp_path / "repository/scorer/config.pbtxt").write_text(config)
    lines = registry.out("push", tmp_path / "repository").splitlines()
    assert [line.split()[0] for line in lines] == ["scorer:1", "scorer:2"]
    shown = json.loads(registry.out("registry", "show", "scorer:1", "--json"))
    assert shown["manifest"]["batching"]["max_batch_size"] == 16


def test_an_mlflow_model_keeps_its_signature_and_example(registry, tmp_path):
    folder = tmp_path / "mlflow"
    folder.mkdir()
    shutil.copy(MODELS / "digits/model.onnx", folder / "model.onnx")
    signature = json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 64]}}])
    flavour = "flavors:\n  onnx:\n    data: model.onnx\n"
    about = f"run_id: abc\nsignature:\n  inputs: '{signature}'\nsaved_input_example_info:\n  artifact_path: example.json\n"
    (folder / "MLmodel").write_text(flavour + about)
    (folder / "example.json").write_text(json.dumps({"inputs": [[0.0] * 64]}))
    assert registry.out("push", folder, "--name", "digits").startswith("digits:1 ")
    manifest = json.loads(registry.out("registry", "show", "digits", "--json"))["manifest"]
    assert manifest["signature"]["inputs"][0]["shape"] == [-1, 64]
    assert manifest["lineage"]["training_run"] == "abc" and len(manifest["warmup"]) == 1
    (folder / "MLmodel").write_text(about + flavour.replace("onnx:", "xgboost:"))
    error = registry.error("push", folder, "--name", "digits")
    assert "the flavour xgboost is not served" in error and "[unsupported]" in error


def test_hostile_bundles_are_refused(registry, graph):
    link = graph("matmul")
    (link / "labels.txt").symlink_to("/etc/passwd")
    assert "is a symbolic link" in registry.error("push", link)
    outside = graph("softmax", manifest='artifact = "../../../etc/passwd"')
    assert "[unsafe_path]" in registry.error("push", outside)
    large = graph("conv_pool")
    with (large / "model.toml").open("r+b") as file:
        file.truncate(100 << 20)
    assert "[too_large]" in registry.error("push", large)
    assert registry.versions() == []


def test_weights_outside_of_the_bundle_are_refused(registry, tmp_path, graph):
    bundle = graph("matmul")
    # An initializer "w" whose data is in ../secret: field 7 (graph), 5 (initializer), 13 (external_data), 14 (EXTERNAL).
    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    entry = field(1, b"location") + field(2, b"../secret")
    tensor = b"\x08\x01\x10\x01" + field(8, b"w") + field(13, entry) + b"\x70\x01"
    model = (bundle / "model.onnx").read_bytes() + field(7, field(5, tensor))
    (bundle / "model.onnx").write_bytes(model)
    (tmp_path / "secret").write_bytes(b"1234")
    ended = registry.run("push", bundle, check=False)
    assert ended.returncode != 0 and "outside of the model's folder" in ended.stdout


def test_unknown_things_are_named(registry, graph):
    assert "[not_found]" in registry.error("registry", "show", "nobody")
    assert "[invalid_reference]" in registry.error("registry", "show", "a/b")
    registry.run("push", graph("matmul"))
    assert "the model has the versions 1 [not_found]" in registry.error("registry", "alias", "set", "champion", "m:9")
    error = registry.error("registry", "list", environment={"TIDEGATE_REGISTRY__STORAG": "x"})
    assert "did you mean `storage`?" in error
