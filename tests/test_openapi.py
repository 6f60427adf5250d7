"""The server keeps to its own OpenAPI description, whatever is thrown at it."""

import subprocess
import sys


def test_schemathesis_finds_nothing(server, tmp_path):
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", server.url("/openapi.json"),
        # Loading and unloading would take the models of the other tests away.
        "--exclude-path-regex", "/v2/repository/models/.*",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples", "40", "--seed", "7", "--phases", "examples,coverage,fuzzing",
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
