"""The parts that stand around a server, as real ones that tests start, cut off and stop: PostgreSQL, an S3-compatible
store, a network between them and us that can be slow or gone, Alertmanager, and receivers of messages."""

import json
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


class Redis:
    """A server of its own on a TCP port, with TLS if there are certificates. It keeps nothing."""

    def __init__(self, folder, *arguments, certificates=None):
        folder.mkdir()
        self.folder, self.arguments, self.certificates = folder, arguments, certificates
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.socket = folder / "redis.sock"
        self.process = None
        self.start()

    def start(self):
        program = shutil.which("redis-server")
        assert program, "Redis is not installed: run `cargo xtask setup --tests`"
        ports = ["--port", str(self.port)]
        if self.certificates:
            files = {"cert": "server.pem", "key": "server-key.pem", "ca-cert": "ca.pem"}
            ports = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            for option, file in files.items():
                ports += [f"--tls-{option}-file", str(self.certificates / file)]
        kept = ["--save", "", "--appendonly", "no", "--dir", str(self.folder), "--unixsocket", str(self.socket)]
        self.process = subprocess.Popen(
            [program, "--bind", "127.0.0.1", *ports, *kept, *self.arguments], stdout=subprocess.PIPE, text=True
        )
        for line in self.process.stdout:
            if "Ready to accept connections" in line:
                break
        else:
            raise RuntimeError("Redis ended before it was ready")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def command(self, *words):
        """Runs a command over the socket of the folder; gives its answer as text."""
        command = ["redis-cli", "-s", str(self.socket), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=PATIENCE_S).stdout

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self):
        if self.process.poll() is None:
            self.kill()


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
    """A way to a port that can be slow, or gone, or swallow what it carries."""

    def __init__(self, port):
        self.target = port
        self.delay_s = 0.0
        self.is_cut = False
        self.is_hanging = False
        self.open = set()
        self.swallowed = set()
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
            if self.is_hanging:
                self.open.add(client)
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
                if one not in self.swallowed:
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

    def swallow(self):
        """Loses everything on the connections of now, which stay open; new ones work."""
        self.swallowed |= self.open

    def hang(self):
        """Takes connections and says nothing on them."""
        self.is_hanging = True
        self.swallow()

    def mend(self):
        if self.is_hanging:
            self.cut()
        self.is_cut = self.is_hanging = False

    def stop(self):
        self.cut()
        self.listener.close()


class Receiver:
    """An HTTP server that takes what is posted. Each post is its path, its headers and its body."""

    def __init__(self, port=0, certificate=None):
        self.posts = []
        self.status = 200
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler):
                body = handler.rfile.read(int(handler.headers["content-length"]))
                status = self.status
                if status < 300:
                    posts.append((handler.path, handler.headers, body))
                handler.send_response(status)
                handler.send_header("content-length", "0")
                handler.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def bodies(self, path):
        return [json.loads(body) for posted, _, body in self.posts if posted == path]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Alertmanager:
    """A real one, which keeps to itself what it hears."""

    def __init__(self, folder):
        folder.mkdir()
        settings = folder / "alertmanager.yml"
        settings.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        assert program, "Alertmanager is not installed: run `cargo xtask setup --tests`"
        listen = f"127.0.0.1:{free_port()}"
        self.url = f"http://{listen}"
        command = [program, f"--config.file={settings}", f"--storage.path={folder / 'data'}", "--cluster.listen-address="]
        self.process = subprocess.Popen(
            [*command, f"--web.listen-address={listen}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def alerts(self):
        try:
            return requests.get(f"{self.url}/api/v2/alerts", timeout=PATIENCE_S).json()
        except requests.ConnectionError:
            return []

    def stop(self):
        self.process.kill()
        self.process.wait(PATIENCE_S)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def until(condition, *arguments, patience_s=PATIENCE_S):
    """Waits until a condition holds; gives what it gave."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        value = condition(*arguments)
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("waited in vain")
