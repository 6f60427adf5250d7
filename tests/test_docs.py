"""What the documentation tells people to type does what it says, and its links lead somewhere."""

import contextlib
import csv
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from conftest import BINARY, GRAPHS, ROOT, Server

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
IRIS = ROOT / "tests/models/iris"
# Commands that set a machine up: `cargo xtask test` and the demo do the same in their own way.
SETUP = ("cargo", "pip", "python", "python3")


def blocks(page, language):
    """The contents of the page's code blocks in a language, as they stand, without the indentation of lists."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(block):
    """Each command of a console block with the output that the page shows for it."""
    lines, found = block.splitlines(), []
    while lines:
        line = lines.pop(0)
        if not line.startswith("$ "):
            found[-1][1].append(line)
            continue
        command = line[2:]
        while lines and not is_whole(command):
            command += "\n" + lines.pop(0)
        found.append((command, []))
    return [(command, "\n".join(output).strip()) for command, output in found]


def is_whole(command):
    here = re.search(r"<<'(\w+)'", command)
    if here:
        return command.endswith("\n" + here[1])
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


class Shell:
    """Types the commands of a page in a folder of its own; `tidegate serve` is a server on free ports."""

    def __init__(self, folder):
        self.folder, self.server, self.servers = folder, None, 0
        (folder / "bin").mkdir()
        (folder / "bin/tidegate").symlink_to(Path(BINARY).resolve())
        self.work = folder / "work"
        self.work.mkdir()
        self.home = folder / "home"

    def serve(self, *arguments):
        self.stop()
        self.servers += 1
        paths, flags = arguments, ()
        if "--config" in arguments:
            at = arguments.index("--config")
            paths, flags = arguments[:at], ("--config", str(self.work / arguments[at + 1]))
        # Without a path it is the registry of the commands.
        data = self.folder / f"data-{self.servers}" if paths else self.home / "tidegate"
        self.server = Server(data, *(self.work / path for path in paths), flags=flags)

    def stop(self):
        if self.server:
            self.server.stop()

    def addressed(self, text):
        return text.replace("localhost:8000", self.server.http).replace("localhost:8001", self.server.grpc)

    def run(self, command):
        if self.server:
            command = self.addressed(command)
            command = re.sub(r"^tidegate models$", f"tidegate models --url http://{self.server.http}", command)
            command = re.sub(r"^tidegate (?:rollout|traffic) .*", rf"\g<0> --url http://{self.server.http}", command)
        command = re.sub(r"^curl ", "curl --silent --show-error --max-time 60 ", command)
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.work,
            env={**os.environ, "PATH": path, "XDG_DATA_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def type_all(self, page):
        """Types everything, compares what comes with what the page shows, and gives the number of commands."""
        typed = 0
        for command, shown in (pair for block in blocks(page, "console") for pair in commands(block)):
            program, *arguments = shlex.split(command, comments=True)
            if program in SETUP:
                continue
            typed += 1
            if program.endswith("tidegate") and arguments[0] == "serve":
                self.serve(*arguments[1:])
                continue
            ended = self.run(command)
            assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
            if shown and (command == "tidegate models" or command.startswith("tidegate rollout status")):
                self.until(command, shown)
            elif shown:
                compare(command, shown, ended.stdout.strip())
            else:
                assert '"error"' not in ended.stdout, f"{command}\n{ended.stdout}"
        return typed


    def until(self, command, shown):
        """A server follows what changes within a moment."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                return compare(command, shown, self.run(command).stdout.strip())
            except AssertionError:
                time.sleep(0.05)
        return compare(command, shown, self.run(command).stdout.strip())


NUMBER = r"(-?\d+\.\d+(?:e-?\d+)?)"


def compare(command, shown, found):
    """`…` on the page stands for anything, and so do the widths of columns; the last digits of a number may differ from one
    processor to another."""
    shown, found = (re.sub(" {2,}", "  ", text) for text in (shown, found))
    pattern = "".join(
        NUMBER if re.fullmatch(NUMBER, part) else re.escape(part).replace("…", ".*") for part in re.split(NUMBER, shown)
    )
    matched = re.fullmatch(pattern, found, re.DOTALL)
    assert matched, f"{command}\nthe page shows:\n{shown}\nwhat came:\n{found}"
    numbers = [float(number) for number in re.findall(NUMBER, shown)]
    assert [float(number) for number in matched.groups()] == pytest.approx(numbers, rel=1e-3), command


@pytest.fixture
def shell(tmp_path):
    shell = Shell(tmp_path)
    yield shell
    shell.stop()


def test_the_readme(shell):
    (shell.work / "examples").symlink_to(ROOT / "examples")
    assert shell.type_all(ROOT / "README.md") >= 3
    run_python(shell, ROOT / "README.md")


def test_the_guide_from_a_model_to_answers(shell):
    """All but training: the model and its rows are what the guide's program made."""
    shutil.copytree(IRIS, shell.work, dirs_exist_ok=True)
    page = ROOT / "docs/guides/serve-your-model.md"
    assert shell.type_all(page) >= 20
    shown = re.search(r"^```text\n(\[.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert run_python(shell, page) == shown[1]


def test_the_guide_of_the_registry(shell):
    """All but training: a stand-in for the guide's Python hands out what its program made."""
    made = ROOT / "tests/models/registry-guide"
    stand_in = shell.work / "work/bin/python"
    stand_in.parent.mkdir(parents=True)
    accuracies = "case $2 in 1.0) echo accuracy 0.9733333333333334;; 0.01) echo accuracy 0.8733333333333333;; esac"
    stand_in.write_text(f"#!/bin/sh\ncp {made}/$2/* iris/ && {accuracies}\n")
    stand_in.chmod(0o755)
    assert shell.type_all(ROOT / "docs/guides/registry.md") >= 15


def test_the_guide_of_feature_stores(shell):
    shutil.copy(GRAPHS / "matmul.onnx", shell.work / "trips.onnx")
    assert shell.type_all(ROOT / "docs/guides/feature-store.md") >= 8


def test_the_guide_of_drift(shell):
    assert shell.type_all(ROOT / "docs/guides/drift.md") >= 6


def test_the_guide_of_quality(shell):
    (shell.work / "examples").symlink_to(ROOT / "examples")
    page = ROOT / "docs/guides/quality.md"
    assert shell.type_all(page) >= 6
    programs = [program for program in blocks(page, "python")]
    assert len(programs) >= 4
    command = [sys.executable, "-c", shell.addressed("\n".join(programs))]
    ended = subprocess.run(command, cwd=shell.work, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "'new': 1000" in ended.stdout and "1000 of 1000" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("credit_limit ['values are multiplied by")


def test_the_guide_of_rollouts(shell):
    """What a rollout does is typed, while clients send held-out transactions; splits by hand are in test_traffic.py."""
    (shell.work / "examples").symlink_to(ROOT / "examples")
    page = ROOT / "docs/guides/rollouts.md"
    text = page.read_text(encoding="utf-8")
    part = shell.work / "rollout.md"
    part.write_text(text[text.index("## Roll a version out") : text.index("## What is compared")], encoding="utf-8")
    stop = threading.Event()
    sender = threading.Thread(target=send_transactions, args=(shell, stop))
    sender.start()
    try:
        assert shell.type_all(part) >= 10
    finally:
        stop.set()
        sender.join()


def send_transactions(shell, stop):
    with (ROOT / "examples/models/fraud/heldout/inputs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with requests.Session() as session:
        while not stop.is_set():
            if shell.server is None or shell.server.process.poll() is not None:
                time.sleep(0.05)
                continue
            row = {name: json.loads(value) for name, value in random.choice(rows).items() if not name.startswith("amount_to")}
            for name in ("is_foreign", "is_online", "chip_present", "device_new", "billing_matches_shipping"):
                row[name] = bool(row[name])
            with contextlib.suppress(requests.ConnectionError):
                session.post(f"http://{shell.server.http}/v1/endpoints/fraud/predict", json={"instances": [row]}, timeout=60)
            time.sleep(0.002)


def test_the_reference_of_rest(shell):
    shutil.copytree(IRIS, shell.work, dirs_exist_ok=True)
    shell.serve("iris.onnx")
    page = ROOT / "docs/reference/rest.md"
    assert shell.type_all(page) >= 2
    assert "(0.000144" in run_python(shell, page)


def run_python(shell, page):
    """Runs the page's Python programs that ask a server; gives what they print."""
    printed = ""
    for program in blocks(page, "python"):
        if "localhost:" in program:
            command = [sys.executable, "-c", shell.addressed(program)]
            ended = subprocess.run(command, cwd=shell.work, capture_output=True, text=True, timeout=120)
            assert ended.returncode == 0, f"{program}\n{ended.stderr}"
            printed += ended.stdout
    assert printed
    return printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(linked), f"{linked.name} has no heading for #{anchor}"


def anchors(page):
    """The anchors that Markdown makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
