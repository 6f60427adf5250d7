"""The response cache: equal requests run once, and nothing else is given for them."""

import shutil
import threading

import pytest
import requests

from conftest import FRAGILE, MODELS, PATIENCE_S
from test_auth import DIGITS, Keys, bearer, wait_for, wait_until_known

ON = '[[cache.endpoint]]\nname = "*"\nttl_ms = 3600000\n'
ONES = {"inputs": [{"name": "image", "shape": [1, 64], "datatype": "FP32", "data": [1.0] * 64}]}


@pytest.fixture
def cached(start, tmp_path):
    def cached(*models, settings=ON, **options):
        config = tmp_path / "cache.toml"
        config.write_text(settings)
        return start(*(models or (MODELS,)), data=tmp_path / "data", flags=("--config", str(config)), **options)

    return cached


def outcome(server, body=DIGITS, model="digits", **headers):
    answer = server.infer(model, body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["Tidegate-Cache"], answer.json()["outputs"]


def runs(server):
    return server.metric("nv_inference_exec_count", model="digits") or 0


def test_an_equal_request_is_answered_without_a_run(cached):
    server = cached()
    first, outputs = outcome(server)
    assert first == "miss"
    before = runs(server)
    assert outcome(server) == ("hit", outputs)
    other, different = outcome(server, ONES)
    assert other == "miss" and different != outputs
    assert runs(server) == before + 1
    assert server.metric("tidegate_cache_requests_total", outcome="hit") == 1
    assert server.metric("tidegate_cache_entries") is not None


def test_other_outputs_of_the_same_inputs_are_another_answer(cached):
    server = cached()
    outcome(server)
    label = {**DIGITS, "outputs": [{"name": "label"}]}
    first, outputs = outcome(server, label)
    assert first == "miss" and [output["name"] for output in outputs] == ["label"]
    assert outcome(server, label) == ("hit", outputs)


def test_grpc_and_rest_share_answers(cached, digits):
    import tritonclient.grpc as triton_grpc

    server = cached()
    client = triton_grpc.InferenceServerClient(server.grpc)
    tensor = triton_grpc.InferInput("image", [1, 64], "FP32")
    tensor.set_data_from_numpy(digits.inputs[:1].reshape(1, 64))
    label = client.infer("digits", [tensor]).as_numpy("label")
    answer, outputs = outcome(server, {"inputs": [digits.tensor(slice(0, 1))]})
    assert answer == "hit"
    assert next(output["data"] for output in outputs if output["name"] == "label") == label.ravel().tolist()


def test_clients_can_ask_for_a_new_answer(cached):
    server = cached()
    outcome(server)
    before = runs(server)
    assert outcome(server, **{"Cache-Control": "no-store"})[0] == "bypass"
    assert outcome(server, **{"Cache-Control": "no-cache"})[0] == "bypass"
    assert runs(server) == before + 2
    assert outcome(server)[0] == "hit"


def test_a_model_that_is_loaded_again_starts_without_answers(cached, tmp_path):
    model = tmp_path / "models/m/model.onnx"
    model.parent.mkdir(parents=True)
    shutil.copy(MODELS / "digits/model.onnx", model)
    server = cached(model.parent)
    assert outcome(server, model="m")[0] == "miss"
    assert outcome(server, model="m")[0] == "hit"
    loaded = requests.post(server.url("/v2/repository/models/m/load"), timeout=PATIENCE_S)
    assert loaded.status_code == 200
    assert outcome(server, model="m")[0] == "miss"


def test_tenants_do_not_share_answers_unless_configured(cached, tmp_path):
    keys = Keys(tmp_path / "data")
    one, two = keys.create("one", "caller", "--tenant", "acme"), keys.create("two", "caller", "--tenant", "globex")
    server = cached(settings="[auth]\nenabled = true\n" + ON)
    wait_until_known(server, two)
    assert outcome(server, **bearer(one))[0] == "miss"
    assert outcome(server, **bearer(one))[0] == "hit"
    assert outcome(server, **bearer(two))[0] == "miss"
    server.stop()
    server = cached(settings="[auth]\nenabled = true\n" + ON + "shared_between_tenants = true\n")
    wait_until_known(server, two)
    assert outcome(server, **bearer(one))[0] == "miss"
    assert outcome(server, **bearer(two))[0] == "hit"


def test_errors_are_not_kept(cached):
    server = cached(FRAGILE)
    wrong = {"inputs": [{"name": "index", "shape": [1], "datatype": "INT64", "data": [99]}]}
    assert [server.infer(FRAGILE.stem, wrong).status_code for _ in range(3)] == [500] * 3
    assert server.metric("tidegate_cache_requests_total", outcome="hit") == 0


def test_a_stale_answer_is_given_while_a_new_one_is_computed(cached):
    settings = '[[cache.endpoint]]\nname = "digits"\nttl_ms = 1\nstale_while_revalidate_ms = 3600000\n'
    server = cached(settings=settings)
    first, outputs = outcome(server)
    assert first == "miss"
    before = runs(server)
    wait_for(lambda: outcome(server) == ("stale", outputs))
    wait_for(lambda: runs(server) > before)


def test_requests_that_come_at_once_run_once(cached):
    server = cached()
    before = runs(server)
    outcomes = []

    def ask():
        outcomes.append(outcome(server)[0])

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs(server) == before + 1 and outcomes.count("miss") == 1
    assert set(outcomes) <= {"miss", "hit", "coalesced"}


def test_settings_that_cannot_be_meant_keep_the_server_from_starting(refusal):
    assert "ttl_ms" in refusal('[[cache.endpoint]]\nname = "a"\nttl_ms = 0\n')
    assert "twice" in refusal('[[cache.endpoint]]\nname = "a"\n' * 2)
