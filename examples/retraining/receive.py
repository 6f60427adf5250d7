"""Receives messages of retraining, verifies their signatures, and trains a version for each.

`RETRAIN_SECRET` in the environment is the key of the signatures. Everything after `--` is handed to `train.py`.
"""

import argparse
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

MAX_AGE_S = 300
MAX_BODY_BYTES = 1 << 20
TRAIN = Path(__file__).parent / "train.py"


def is_authentic(key, headers, body, now_s):
    """Whether the message is from who has the key, and fresh: an old one may be sent again by anybody."""
    timestamp = headers.get("x-tidegate-timestamp", "")
    if not timestamp.isdigit() or abs(now_s - int(timestamp)) > MAX_AGE_S:
        return False
    mac = hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256)
    return hmac.compare_digest("sha256=" + mac.hexdigest(), headers.get("x-tidegate-signature", ""))


class Handler(BaseHTTPRequestHandler):
    """Answers at once, and trains afterwards: a delivery that takes longer than ten seconds is tried again."""

    key = b""
    arguments = []
    # A delivery may come twice: its id stays the same.
    seen = set()

    def do_POST(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(min(length, MAX_BODY_BYTES))
        if not is_authentic(self.key, self.headers, body, time.time()):
            return self.answer(401)
        message = json.loads(body)
        if message["trigger"] not in self.seen:
            self.seen.add(message["trigger"])
            threading.Thread(target=train, args=(message, self.arguments)).start()
        self.answer(202)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


def train(message, arguments):
    """Runs the training of a message."""
    print(f"{message['trigger']}: {message['message']}", flush=True)
    wanted = ["--dataset", message["dataset"]["reference"], "--trigger", message["trigger"]]
    subprocess.run([sys.executable, str(TRAIN), *arguments, *wanted], check=True)


def main():
    """Listens until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("train", nargs="*", help="the arguments of train.py, after --")
    options = parser.parse_args()
    Handler.key = os.environ["RETRAIN_SECRET"].encode()
    Handler.arguments = options.train
    server = HTTPServer(("127.0.0.1", options.port), Handler)
    print(f"listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
