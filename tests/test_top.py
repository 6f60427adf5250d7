"""`tidegate top` on a real terminal, and as plain text."""

import os
import pty
import select
import signal
import struct
import subprocess
import termios
import threading
from fcntl import ioctl

import pyte
import pytest

from conftest import BINARY, MODELS, PATIENCE_S
from parts import free_port, until


class Screen:
    """A program on a pseudo-terminal, with an emulator that says what stands on its screen."""

    def __init__(self, *command, rows=30, columns=120):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.raw = b""
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.lock = threading.Lock()
        self.resize(rows, columns)
        terminal = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave}
        environment = {**os.environ, "TERM": "xterm-256color"}
        self.process = subprocess.Popen(command, **terminal, env=environment, start_new_session=True)
        self.stopped = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while not self.stopped.is_set():
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                try:
                    written = os.read(self.master, 1 << 16)
                except OSError:
                    return
                with self.lock:
                    self.raw += written
                    self.stream.feed(written)

    @property
    def text(self):
        with self.lock:
            return "\n".join(" ".join(line.split()) for line in self.screen.display)

    def shows(self, *texts):
        """Waits until all of these stand on the screen at once."""
        try:
            until(lambda: all(text in shown for shown in [self.text] for text in texts))
        except AssertionError:
            raise AssertionError(f"{texts} are not on the screen:\n{self.text}") from None

    def resize(self, rows, columns):
        with self.lock:
            self.screen.resize(rows, columns)
        ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.master, keys)

    def ended(self):
        """Waits for the end, insists that the terminal is as it was, and gives the exit status."""
        status = self.process.wait(PATIENCE_S)
        until(lambda: b"\x1b[?1049l" in self.raw)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal stays raw"
        assert b"\x1b[?25h" in self.raw, "the cursor stays hidden"
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE_S)
        self.stopped.set()
        self.reader.join()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen():
    screens = []

    def screen(*command, **options):
        screens.append(Screen(BINARY, *command, **options))
        return screens[-1]

    yield screen
    for one in screens:
        one.close()


def ask(server, digits, count=1):
    for _ in range(count):
        assert server.infer("digits", {"inputs": [digits.tensor(slice(0, 1))]}).status_code == 200


def test_a_server_is_watched_until_q(start, digits, screen):
    server = start(MODELS / "digits", MODELS / "fraud")
    ask(server, digits, 20)
    top = screen("top", "--server", f"http://{server.http}", "--interval", "0.3")
    top.shows("ready", "version", "requests/s", "endpoints 2", "digits", "fraud", "P99 ms")
    top.press(b"?")
    top.shows("estimated from the histogram")
    top.press(b"\x1b[B\x1b[A\r")
    top.shows("VERSION", "details", "memory")
    top.resize(16, 90)
    os.kill(top.process.pid, signal.SIGWINCH)
    until(lambda: top.text.splitlines()[15].startswith("q quit"))
    top.shows("VERSION", "details")
    top.press(b"q")
    assert top.ended() == 0


def test_a_server_that_goes_away_is_shown_again_when_it_is_back(screen, tmp_path):
    address = f"127.0.0.1:{free_port()}"
    top = screen("top", "--url", f"http://{address}", "--interval", "0.3")
    top.shows("does not respond")
    command = [BINARY, "serve", str(MODELS / "digits"), "--http", address, "--grpc", "127.0.0.1:0", "--data", str(tmp_path / "d")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        top.shows("digits", "ready")
    finally:
        server.terminate()
        assert server.wait(PATIENCE_S) == 0
    top.shows("does not respond", "showing the last data")
    os.kill(top.process.pid, signal.SIGTERM)
    assert top.ended() == 0


def test_plain_text_for_scripts(start, digits):
    server = start(MODELS / "digits")
    ask(server, digits, 5)
    command = [BINARY, "top", "--once", "--interval", "0.2", "--server", f"http://{server.http}"]
    page = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert f"http://{server.http}: ready, version" in page and "\x1b" not in page
    header = next(line for line in page.splitlines() if line.startswith("ENDPOINT"))
    assert header.split() == ["ENDPOINT", "STATE", "REQ/S", "ERR/S", "P50", "MS", "P95", "MS", "P99", "MS", "QUEUE", "BATCH"]
    row = next(line.split() for line in page.splitlines() if line.startswith("digits"))
    assert row[1] == "ready" and len(row) == 9


def test_without_a_terminal_or_a_server_it_says_so():
    ended = subprocess.run([BINARY, "top"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode != 0 and "--once" in ended.stderr
    nowhere = f"http://127.0.0.1:{free_port()}"
    ended = subprocess.run([BINARY, "top", "--once", "--url", nowhere], capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode != 0 and nowhere in ended.stderr
