"""A real OpenID provider, oidc-provider from npm, on a port that stays the same over restarts."""

import base64
import json
import os
import socket
import subprocess
from pathlib import Path

import requests

from conftest import PATIENCE_S, ROOT

PROVIDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tidegate/npm/oidc"
RESOURCE = "https://models.example.com"


def new_key(key_id, algorithm):
    """A private key as a JSON Web Key, made by Node's own cryptography."""
    kinds = {
        "RS256": "generateKeyPairSync('rsa', { modulusLength: 2048 })",
        "ES256": "generateKeyPairSync('ec', { namedCurve: 'P-256' })",
        "EdDSA": "generateKeyPairSync('ed25519')",
    }
    script = f"const {{ generateKeyPairSync }} = require('crypto');\
        console.log(JSON.stringify({kinds[algorithm]}.privateKey.export({{ format: 'jwk' }})))"
    made = subprocess.run(["node", "--eval", script], check=True, capture_output=True, text=True)
    return {**json.loads(made.stdout), "kid": key_id, "alg": algorithm, "use": "sig"}


class OidcIssuer:
    """The running provider. It forgets everything when it is restarted, but for its keys and clients."""

    def __init__(self, *keys, redirect="http://127.0.0.1:1/callback", lifetime_s=300):
        self.redirect, self.lifetime_s = redirect, lifetime_s
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.start(*keys)

    def start(self, *keys):
        settings = {"url": self.url, "port": self.port, "jwks": {"keys": keys}, "provider": str(PROVIDER)}
        settings |= {"redirect": self.redirect, "lifetime": self.lifetime_s}
        command = ["node", ROOT / "tests/oidc/issuer.mjs", json.dumps(settings)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if line.strip() == "listening":
                return
        raise RuntimeError(f"the OpenID provider ended with {self.process.wait()}")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def restart(self, *keys):
        """Rotates: the same issuer with other keys."""
        self.stop()
        self.start(*keys)

    def token(self, client="batch", resource=RESOURCE):
        """An access token by the grant of client credentials."""
        answer = requests.post(
            f"{self.url}/token",
            data={"grant_type": "client_credentials", "resource": resource, "scope": "infer"},
            auth=(client, f"secret-of-{client}"),
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]


def decoded(part):
    """A part of a token."""
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def encoded(value):
    """The opposite."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
