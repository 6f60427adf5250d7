"""What pages of the console say, read without a browser."""

import requests

from conftest import MODELS


def test_pages_name_what_they_show(start, tmp_path):
    """A model that is not there, an objective of all endpoints, and a silence by its id."""
    config = tmp_path / "named.toml"
    config.write_text(
        '[[slo]]\nname = "everything"\nendpoint = "*"\ntarget = 0.99\n'
    )
    server = start(MODELS / "digits", flags=("--config", str(config)))

    def page(path):
        return requests.get(server.url(path), timeout=60).text

    assert "There is no model nope." in page("/console/try?model=nope")
    assert "There is no model" not in page("/console/try?model=digits")
    assert "all endpoints together" in page("/console/endpoints/digits")
    body = {"matchers": ["alertname=x"], "duration_s": 3600, "author": "ada", "comment": "c"}
    silence = requests.post(server.url("/api/silences"), json=body, timeout=60).json()["id"]
    assert f"<code>{silence}</code>" in page("/console/alerts")
