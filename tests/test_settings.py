"""The trace and logging extensions, with Triton's own clients."""

import json

import pytest
import requests
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from collector import Collector, attributes
from conftest import MODELS, PATIENCE_S
from parts import until
from test_audit import rows
from test_auth import Keys, wait_until_known
from test_traces import IMAGE, ROUTE, SAMPLED, traced


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.stop()


class Settings:
    """The settings calls of one of Triton's clients, with the same form of answers."""

    def __init__(self, server, kind):
        self.is_http = kind == "http"
        module, address = (triton_http, server.http) if self.is_http else (triton_grpc, server.grpc)
        self.client = module.InferenceServerClient(address)

    def plain(self, answer):
        if self.is_http:
            return answer
        found = {}
        for name, value in answer.settings.items():
            if hasattr(value, "value"):
                found[name] = list(value.value) if name == "trace_level" else value.value[0]
            else:
                found[name] = getattr(value, value.WhichOneof("parameter_choice"))
        return found

    def traces(self, model=None, headers=None):
        return self.plain(self.client.get_trace_settings(model, headers=headers))

    def set_traces(self, settings, model=None, headers=None):
        return self.plain(self.client.update_trace_settings(model, settings, headers=headers))

    def log(self, headers=None):
        return self.plain(self.client.get_log_settings(headers=headers))

    def set_log(self, settings, headers=None):
        return self.plain(self.client.update_log_settings(settings, headers=headers))


@pytest.fixture(params=["http", "grpc"])
def kind(request):
    return request.param


def ask(server, name, headers=None):
    return server.infer("digits", {"id": name, "inputs": [IMAGE]}, headers=headers)


def kept(collector):
    """The ids of the requests whose traces were sent."""
    return {attributes(span)["tidegate.request.id"] for span in collector.spans(name=f"POST {ROUTE}")}


def test_trace_settings_decide_which_traces_are_kept(start, collector, kind):
    server = start(MODELS / "digits", environment=traced(collector))
    settings = Settings(server, kind)
    first = settings.traces()
    assert first == {
        "trace_level": ["TIMESTAMPS"],
        "trace_rate": "0",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": "",
        "trace_mode": "opentelemetry",
    }
    ask(server, "not-sampled")
    assert settings.set_traces({"trace_rate": "1"}) == {**first, "trace_rate": "1"}
    ask(server, "sampled")
    assert settings.set_traces({"trace_level": ["OFF"]}, "digits")["trace_level"] == ["OFF"]
    assert settings.traces()["trace_level"] == ["TIMESTAMPS"]
    passed_on = ask(server, "off", headers={"traceparent": SAMPLED})
    assert passed_on.headers["traceparent"].split("-")[1] == SAMPLED.split("-")[1]
    assert settings.set_traces({"trace_level": None, "trace_rate": "0"}, "digits")["trace_rate"] == "0"
    ask(server, "not-sampled-again")
    assert settings.set_traces({"trace_rate": None}, "digits")["trace_rate"] == "1"
    ask(server, "last")
    until(lambda: "last" in kept(collector))
    assert kept(collector) == {"sampled", "last"}
    server.stop()
    assert kept(collector) == {"sampled", "last"}


def test_trace_settings_without_effect_are_refused(start, collector, kind):
    server = start(MODELS / "digits", environment=traced(collector))
    settings = Settings(server, kind)
    before = settings.traces()
    for wrong, message in [
        ({"trace_level": ["TENSORS"]}, "use OFF or TIMESTAMPS"),
        ({"trace_rate": "often"}, "not a number"),
        ({"trace_count": "10"}, "do not end after"),
        ({"trace_file": "/tmp/trace.json"}, "traces.endpoint"),
        ({"color": "red"}, "no trace setting"),
    ]:
        with pytest.raises(InferenceServerException, match=message):
            settings.set_traces({"trace_rate": "1", **wrong})
    with pytest.raises(InferenceServerException, match="none"):
        settings.set_traces({"trace_rate": "1"}, "none")
    assert settings.traces() == before
    # What a client has read it may send back.
    assert settings.set_traces(before) == before


def test_traces_cannot_be_switched_on_without_a_collector(digits_server, kind):
    settings = Settings(digits_server, kind)
    assert settings.traces()["trace_level"] == ["OFF"]
    with pytest.raises(InferenceServerException, match="traces.endpoint"):
        settings.set_traces({"trace_level": ["TIMESTAMPS"]})


@pytest.fixture
def digits_server(start):
    return start(MODELS / "digits")


def lines(server):
    return server.log.read_text()


def test_log_settings_decide_which_lines_are_logged(start, kind):
    server = start(MODELS / "digits", environment={"TIDEGATE_LOG__LEVEL": "info"})
    settings = Settings(server, kind)
    first = settings.log()
    assert first == {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "ISO8601",
    }
    load = server.url("/v2/repository/models/digits/load")

    def lines_of_load():
        before = len(lines(server))
        assert requests.post(load, timeout=PATIENCE_S).status_code == 200
        return lines(server)[before:]

    assert " INFO " in lines_of_load()
    assert settings.set_log({"log_info": False}) == {**first, "log_info": False}
    assert " INFO " not in lines_of_load()
    assert settings.set_log({"log_info": None, "log_verbose_level": 2})["log_info"]
    assert " INFO " in lines_of_load()
    assert settings.log()["log_verbose_level"] == 2
    assert settings.set_log({"log_verbose_level": 0}) == first
    server.stop()


def test_log_settings_without_effect_are_refused(digits_server, kind):
    settings = Settings(digits_server, kind)
    before = settings.log()
    for wrong, message in [
        ({"log_file": "/tmp/log"}, "standard error"),
        ({"log_format": "default"}, "log.format"),
        ({"log_verbose_level": 3}, "0, 1"),
        ({"log_color": True}, "no log setting"),
    ]:
        with pytest.raises(InferenceServerException, match=message):
            settings.set_log({"log_info": False, **wrong})
    assert settings.log() == before


def test_only_operators_change_settings_and_changes_are_audited(start, tmp_path, kind):
    keys = Keys(tmp_path / "data")
    operator, viewer = keys.create("op", "operator"), keys.create("view", "viewer")
    environment = {"TIDEGATE_AUTH__ENABLED": "true"}
    server = start(MODELS / "digits", data=tmp_path / "data", environment=environment)
    wait_until_known(server, operator)
    settings, lower = Settings(server, kind), "authorization" if kind == "grpc" else "Authorization"
    by_operator, by_viewer = ({lower: f"Bearer {key}"} for key in (operator, viewer))
    assert settings.log(by_viewer) == settings.log(by_operator)
    assert settings.traces(headers=by_viewer)["trace_level"] == ["OFF"]
    with pytest.raises(InferenceServerException):
        settings.log()
    with pytest.raises(InferenceServerException, match="manage-diagnostics"):
        settings.set_log({"log_info": False}, by_viewer)
    with pytest.raises(InferenceServerException, match="manage-diagnostics"):
        settings.set_traces({"trace_level": ["OFF"]}, headers=by_viewer)
    assert settings.set_log({"log_info": False}, by_operator)["log_info"] is False
    settings.set_traces({"trace_level": ["OFF"]}, "digits", headers=by_operator)
    answer = rows(keys.data)
    (log,) = [row for row in answer if row["action"] == "log-settings.change" and row["result"] == "ok"]
    states = [json.loads(log[state])["log_info"] for state in ("state_before", "state_after")]
    assert states == [True, False]
    (trace,) = [row for row in answer if row["action"] == "trace-settings.change" and row["result"] == "ok"]
    assert trace["resource"] == "digits"
