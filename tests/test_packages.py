"""The packages of a release, made from the binary under test: each is installed in a folder of its own and serves a model."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
import requests

from conftest import BINARY, MODELS, PATIENCE_S, ROOT

INSTALL_TIMEOUT_S = 300


def run(*command, **options):
    ended = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, **options
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """The folder that `cargo xtask dist` makes."""
    folder = tmp_path_factory.mktemp("packages")
    xtask = os.environ.get("TIDEGATE_XTASK")
    command = [xtask] if xtask else ["cargo", "run", "--quiet", "--package", "xtask", "--"]
    run(*command, "dist", "--binary", BINARY, "--out", folder, "--compression", "1", cwd=ROOT)
    return folder


def one(folder, pattern):
    found = list(folder.glob(pattern))
    assert len(found) == 1, f"{pattern}: {found}"
    return found[0]


def serves_digits_on_onnxruntime(folder, *command):
    """Starts a server, asks it for a prediction, and stops it. Nothing of this machine's own may be found by it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    environment |= {"HOME": str(folder / "home"), "TIDEGATE_LOG__LEVEL": "info"}
    environment.pop("XDG_CACHE_HOME", None)
    log = folder / "server.log"
    arguments = ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data", folder / "data"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in (*command, "serve", MODELS / "digits", *arguments)],
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            env=environment,
        )
    impatience = threading.Timer(PATIENCE_S, process.kill)
    impatience.start()
    url = None
    for line in process.stdout:
        word, _, rest = line.partition(" ")
        if word == "REST":
            url = rest.strip()
        if word == "ready":
            break
    body = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 64], "data": [0.0] * 64}]}
    assert url, log.read_text()
    answer = requests.post(f"{url}/v2/models/digits/infer", json=body, timeout=PATIENCE_S).json()
    assert {output["name"] for output in answer["outputs"]} == {"label", "probabilities"}
    assert requests.get(f"{url}/v2/models/digits", timeout=PATIENCE_S).json()["platform"].startswith("onnxruntime")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0, log.read_text()
    impatience.cancel()
    process.stdout.close()


def test_wheel_in_a_fresh_environment_serves_with_the_library_of_onnxruntime(packages, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv/bin/pip", "install", "--quiet", one(packages, "*.whl"))
    serves_digits_on_onnxruntime(tmp_path, tmp_path / "venv/bin/tidegate")


def test_wheel_runs_with_uvx(packages, tmp_path):
    uv = [Path(sys.executable).with_name("uv"), "tool", "run", "--python", sys.executable]
    serves_digits_on_onnxruntime(tmp_path, *uv, "--from", one(packages, "*.whl"), "tidegate")


def test_wheel_passes_arguments_and_exit_status_on(packages, tmp_path):
    """Unpacked only: without `onnxruntime` the program runs all the same."""
    run(sys.executable, "-m", "zipfile", "-e", one(packages, "*.whl"), tmp_path)
    (tmp_path / "tidegate/bin/tidegate").chmod(0o755)
    module = [sys.executable, "-m", "tidegate"]
    assert run(*module, "--version", cwd=tmp_path).startswith("tidegate ")
    assert subprocess.run([*module, "no-such-command"], cwd=tmp_path, capture_output=True).returncode == 2


def test_archive_has_binary_licences_pages_and_completions(packages, tmp_path):
    archive = one(packages, "*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    folder = tmp_path / archive.name.removesuffix(".tar.gz")
    assert run(folder / "bin/tidegate", "--version").startswith("tidegate ")
    assert (folder / "bin/tidegate").stat().st_size < Path(BINARY).stat().st_size
    assert ".TH tidegate 1" in (folder / "share/man/man1/tidegate.1").read_text()
    assert "predict" in (folder / "share/bash-completion/completions/tidegate").read_text()
    licences = (folder / "share/doc/tidegate/THIRD-PARTY-LICENSES").read_text()
    # A crate, the C sources in a crate, and a licence that asks to be passed on.
    for part in ("tokio 1.", "zstd-sys", "Meta Platforms", "Permission is hereby granted"):
        assert part in licences
    components = json.loads((folder / "share/doc/tidegate/tidegate.cdx.json").read_text())["components"]
    names = {component["name"] for component in components}
    # In the binary, and of tests only.
    assert "tokio" in names and "proptest" not in names
    assert all(component["licenses"][0]["expression"] for component in components)


def test_files_in_the_archive_have_one_time_and_belong_to_root(packages):
    with tarfile.open(one(packages, "*.tar.gz")) as tar:
        assert len({member.mtime for member in tar}) == 1
        assert {(member.uid, member.gid) for member in tar} == {(0, 0)}


def test_checksums_are_those_of_the_files(packages):
    lines = (packages / "SHA256SUMS").read_text().splitlines()
    sums = dict(reversed(line.split("  ")) for line in lines)
    assert set(sums) == {path.name for path in packages.iterdir()} - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((packages / name).read_bytes()).hexdigest() == digest, name


def test_deb_is_installed_and_removed(packages, tmp_path):
    deb = one(packages, "*.deb")
    state = tmp_path / "root/var/lib/dpkg"
    for folder in ("info", "updates", "triggers"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    (state / "available").touch()
    # Into a folder, with an empty database: this machine's own packages and users stay as they are.
    dpkg = ["dpkg", f"--root={tmp_path / 'root'}", f"--log={tmp_path / 'log'}", "--force-script-chrootless"]
    dpkg += ["--force-not-root", "--force-depends", "--force-bad-path"]
    run(*dpkg, "--install", deb)
    root = tmp_path / "root"
    assert run(root / "usr/bin/tidegate", "--version").startswith("tidegate ")
    assert "tidegate.1.gz" in run(*dpkg, "--listfiles", "tidegate")
    unit = (root / "usr/lib/systemd/system/tidegate.service").read_text()
    config = root / re.search(r"--config /(\S+)", unit)[1]
    config.write_text(config.read_text() + "# changed\n")
    run(*dpkg, "--remove", "tidegate")
    left = {path.relative_to(root) for path in (root / "usr").rglob("*") if not path.is_dir()}
    assert not left
    assert config.read_text().endswith("# changed\n"), "changed configuration is kept until the package is purged"
    run(*dpkg, "--purge", "tidegate")
    assert not config.exists()


def test_deb_needs_the_libraries_that_the_binary_is_linked_with(packages):
    fields = run("dpkg-deb", "--field", one(packages, "*.deb"))
    assert re.search(r"^Depends: .*libc6 \(>= 2\.\d+\)", fields, re.MULTILINE), fields
    assert "libgcc-s1" in fields


def test_configuration_of_the_deb_is_valid(packages, tmp_path):
    """The server reads it and goes on to the folder of the service, which is not there."""
    run("dpkg-deb", "--extract", one(packages, "*.deb"), tmp_path)
    config = tmp_path / "etc/tidegate/tidegate.toml"
    config.write_text(config.read_text().replace("/var/lib/tidegate", str(tmp_path / "no-such-file/data")))
    (tmp_path / "no-such-file").touch()
    ended = subprocess.run(
        [BINARY, "serve", "--config", str(config)], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert ended.returncode == 1
    assert "no-such-file" in ended.stderr, ended.stderr


def test_container_file_copies_what_the_archive_has(packages):
    text = (packages / "Containerfile").read_text()
    assert "@" not in text
    archive = one(packages, "*.tar.gz")
    assert f"ADD {archive.name} /" in text
    with tarfile.open(archive) as tar:
        names = tar.getnames()
    for source in re.findall(rf"--from=files /({re.escape(archive.name.removesuffix('.tar.gz'))}\S+)", text):
        assert source in names
