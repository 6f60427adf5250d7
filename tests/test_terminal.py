"""What reaches a terminal: no command lets text from elsewhere move its cursor, forge a line or turn its direction, a
closed pipe is no error, and programs end with their terminal."""

import json
import os
import pty
import signal
import subprocess
import termios
import threading

import pytest
import requests

from conftest import BINARY, MODELS, PATIENCE_S
from onnx_file import identity

FORGED = "\r\nsigned        by key 0000"
HOSTILE = f"a\x1b[31mb\x1b]0;title\x07c\x9b2Jd\u202ee\u2066f\x7f{FORGED}"
HIDDEN = set(map(chr, range(0x20))) - {"\n"} | set(map(chr, range(0x7F, 0xA0))) | set("\u202a\u202e\u2066\u2069\u2028")


def check_harmless(shown, name):
    found = sorted(HIDDEN & set(shown))
    assert not found, f"{name} shows {found}: {shown!r}"
    assert not any(line.startswith("signed        by key 0000") for line in shown.splitlines()), f"{name}: {shown}"


@pytest.fixture
def hostile(tmp_path):
    """A bundle whose every text is hostile."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(identity(name="x" + HOSTILE, output="y" + HOSTILE))
    text = json.dumps(HOSTILE)
    (folder / "model.toml").write_text(
        f"""name = "m"
description = {text}
license = {text}
tags = {{ {text} = {text} }}
[lineage]
author = {text}
commit = {text}
dataset = {text}
[lineage.metrics]
{text} = 1.0
"""
    )
    return folder


def run(*arguments, **options):
    ended = subprocess.run([BINARY, *map(str, arguments)], capture_output=True, timeout=PATIENCE_S, **options)
    return ended.stdout.decode() + ended.stderr.decode()


def on_terminal(*arguments, **options):
    """What a terminal gets of a command."""
    master, slave = pty.openpty()
    process = subprocess.Popen([BINARY, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, **options)
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    process.wait(PATIENCE_S)
    # The terminal itself writes CR before each LF.
    return shown.decode().replace("\r\n", "\n")


def test_no_command_about_files_or_the_registry_shows_control_characters(hostile, registry, tmp_path):
    registry.environment = {"USER": HOSTILE.replace("\r\n", "")}
    other = tmp_path / f"n\x1b[31m\u202e.onnx"
    other.write_bytes(b"\x08\x08 nothing")
    rows = tmp_path / "rows.json"
    rows.write_text("{}")
    for command in [
        ("inspect", hostile),
        ("inspect", other),
        ("models", hostile),
        ("models", other),
        ("check", hostile),
        ("check", other),
        ("predict", hostile, "--input", rows),
        ("serve", other, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"),
        ("models", "--url", "http://127.0.0.1:1/\x1b[31m"),
        ("doctor", "--watch", "1", "--url", "127.0.0.1:1\u202e"),
        (HOSTILE,),
        ("inspect", "--" + HOSTILE.replace("=", "")),
    ]:
        check_harmless(run(*command), command[0])
    for command in [
        ("push", hostile, "--no-check", "--alias", "champion"),
        ("push", hostile, "--no-check", "--tag", "a=b"),
        ("push", other),
        ("registry", "list"),
        ("registry", "list", HOSTILE),
        ("registry", "show", "m:1"),
        ("registry", "diff", "m:1", "m:2"),
        ("registry", "events"),
        ("registry", "alias", "list", "m", "champion"),
        ("registry", "alias", "list"),
        ("registry", "alias", "set", HOSTILE, "m:2"),
        ("registry", "deprecate", "m:2", "--reason", HOSTILE),
        ("registry", "show", "m:2"),
        ("registry", "fetch", "m:2"),
        ("registry", "verify"),
        ("registry", "show", "m:2", "--json"),
        ("registry", "list", "--json"),
        ("rollback", HOSTILE),
    ]:
        ended = registry.run(*command, check=False)
        check_harmless(ended.stdout + ended.stderr, command[:2])
    shown = json.loads(registry.out("registry", "show", "m:2", "--json"))
    assert shown["manifest"]["description"] == HOSTILE, "JSON means the same"


def test_no_command_about_a_server_shows_control_characters(start, tmp_path, hostile):
    bad = tmp_path / f"n\x1b[31m\u202e"
    bad.mkdir()
    (bad / "model.onnx").write_bytes(b"\x08\x08 nothing")
    config = tmp_path / "t.toml"
    config.write_text('[[slo]]\nname = "s"\nendpoint = "*"\ntarget = 0.99\n')
    server = start(tmp_path / "bundle", MODELS / "digits", bad, flags=("--config", str(config)))
    check_harmless("\n".join(server.lines), "serve")
    silence = {"matchers": ["alertname=x"], "duration_s": 3600, "author": HOSTILE, "comment": HOSTILE}
    assert requests.post(server.url("/api/silences"), json=silence, timeout=PATIENCE_S).ok
    url = ("--url", server.http)
    for command in [
        ("models", *url),
        ("models", "--server", server.http),
        ("alerts", *url),
        ("alerts", *url, "--json"),
        ("silence", "list", *url),
        ("silence", "list", *url, "--json"),
        ("slo", *url),
        ("cost", "report", *url),
        ("doctor", "--watch", "1", *url),
        ("doctor", "--watch", "1", *url, "--json"),
        ("top", "--once", "--interval", "0.2", *url),
    ]:
        check_harmless(run(*command), command[0])
    check_harmless(server.log.read_text(), "the log")


def test_predicted_text_is_data_in_a_pipe_and_harmless_on_a_terminal(tmp_path):
    model = tmp_path / "echo.onnx"
    model.write_bytes(identity(datatype=8, dimensions=("N", 1)))
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"x": HOSTILE}]))
    command = ("predict", model, "--input", rows, "--output")
    assert HOSTILE in run(*command, "csv")
    check_harmless(on_terminal(*command, "csv"), "predict --output csv")
    shown = on_terminal(*command, "json")
    check_harmless(shown, "predict")
    assert json.loads(shown.splitlines()[-1])["y"] == [HOSTILE]


@pytest.mark.parametrize("command", [("completions", "bash"), ("openapi",), ("registry", "events"), ("--help",)])
def test_a_closed_pipe_is_no_error(command, registry, hostile):
    registry.run("push", hostile, "--no-check")
    reader, writer = os.pipe()
    os.close(reader)
    data = ("--data", str(registry.data)) if command[0] == "registry" else ()
    ended = subprocess.run([BINARY, *command, *data], stdout=writer, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_full_disk_is_an_error():
    with open("/dev/full", "w") as full:
        ended = subprocess.run([BINARY, "openapi"], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    assert ended.returncode == 1 and b"cannot write to standard output" in ended.stderr


def watch(slave):
    """`tidegate top` on a terminal that is not its controlling one, so that no SIGHUP comes."""
    command = [BINARY, "top", "--url", "127.0.0.1:1", "--interval", "0.2"]
    return subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_top_ends_with_its_terminal_and_by_signals(number):
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (30, 120))
    process = watch(slave)
    os.close(slave)
    shown = os.read(master, 1 << 16)
    while b"does not respond" not in shown:
        shown += os.read(master, 1 << 16)
    if number is None:
        os.close(master)
        assert process.wait(PATIENCE_S) is not None
    else:
        # Nobody reads what it draws from now on.
        process.send_signal(number)
        drained = threading.Thread(target=drain, args=(master,))
        drained.start()
        assert process.wait(PATIENCE_S) == 0
        drained.join()
        os.close(master)


def drain(master):
    try:
        while os.read(master, 1 << 16):
            pass
    except OSError:
        pass


def test_a_hang_up_drains_the_server_unless_it_was_started_to_ignore_it(start):
    server = start(MODELS / "digits")
    server.process.send_signal(signal.SIGHUP)
    assert server.wait() == 0, server.log.read_text()
    assert "SIGHUP" in server.log.read_text()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server = start(MODELS / "digits")
    finally:
        signal.signal(signal.SIGHUP, before)
    server.process.send_signal(signal.SIGHUP)
    # A later signal is handled after an earlier one.
    server.stop()
    assert "SIGHUP" not in server.log.read_text()
