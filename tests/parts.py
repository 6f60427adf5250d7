"""The parts that a registry grows onto, as real servers that tests start, cut off and stop: PostgreSQL, an
S3-compatible store, and a network between them and us that can be slow or gone."""

import os
import pwd
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import requests

PATIENCE_S = 60


class Postgres:
    """A cluster of its own in a folder, on a TCP port, as an unprivileged user."""

    def __init__(self, folder):
        folder.mkdir()
        self.cluster = folder / "cluster"
        self.folder = folder
        found = [path for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
        assert found, "PostgreSQL is not installed: run `cargo xtask setup --tests`"
        self.binaries = max(found, key=lambda path: int(path.parts[-3])).parent
        self.identity = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            self.identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(folder, user.pw_uid, user.pw_gid)
            # pytest keeps its folders from others.
            for parent in folder.parents:
                if parent.stat().st_uid == 0 and parent != Path("/") and parent.stat().st_mode & 0o777 == 0o700:
                    parent.chmod(0o711)
        self.run("initdb", "--username=tidegate", "--auth=trust", "--no-sync", "--encoding=UTF8", "-D", self.cluster)
        self.port = free_port()
        self.process = None
        self.start()
        self.run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "tidegate", "registry")

    def run(self, program, *arguments):
        command = [str(self.binaries / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, cwd="/", env={"LC_ALL": "C"}, **self.identity)

    def start(self):
        options = ["-c", "listen_addresses=127.0.0.1", "-p", str(self.port), "-c", "fsync=off", "-k", str(self.folder)]
        command = [str(self.binaries / "postgres"), "-D", str(self.cluster), *options]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd="/", env={"LC_ALL": "C"}, **self.identity
        )
        for line in self.process.stderr:
            if "ready to accept connections" in line:
                break
        else:
            raise RuntimeError("PostgreSQL ended before it was ready")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(3)
            self.process.wait(PATIENCE_S)


class ObjectStore:
    """A moto server with one bucket."""

    def __init__(self):
        self.port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                assert requests.put(f"http://127.0.0.1:{self.port}/models", timeout=PATIENCE_S).status_code == 200
                return
            except requests.ConnectionError:
                time.sleep(0.05)
        raise RuntimeError("the object store never answered")

    def stop(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)


class Network:
    """A way to a port that can be slow, or gone."""

    def __init__(self, port):
        self.target = port
        self.delay_s = 0.0
        self.is_cut = False
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.is_cut:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                client.close()
                continue
            self.open |= {client, server}
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        try:
            while data := one.recv(1 << 14):
                time.sleep(self.delay_s)
                other.sendall(data)
        except OSError:
            pass
        finally:
            for end in (one, other):
                self.open.discard(end)
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                end.close()

    def cut(self):
        self.is_cut = True
        for end in list(self.open):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def mend(self):
        self.is_cut = False

    def stop(self):
        self.cut()
        self.listener.close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
