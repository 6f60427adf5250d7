"""`language`: tells the language of a short text, from the messages that Django shows to its users.

Every message of one translated text goes to the same side of the split: no held-out text has its translation, let
alone its twin, among the training texts.
"""

import importlib.resources
import random
import re
import warnings

import numpy as np
import polib
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import StringTensorType
from threadpoolctl import threadpool_limits

import bundle

SEED = 5
LANGUAGES = ["de", "el", "en", "es", "fr", "it", "nl", "pl", "pt", "ru", "sv", "tr"]
HELDOUT_SHARE = 0.2
SHORTEST = 12
FEATURES = 4000
# What is not language: placeholders of three kinds, markup, and the mark of a menu's accelerator key.
PLACEHOLDER = re.compile(r"%(\(\w+\))?[#0\- +]*[\d.]*[a-zA-Z%]|\{\w*\}|<[^>]*>|&\w+;")
# Longer than any character, so that padding is never mistaken for text.
PADDING = "<padding>"


def main():
    """Reads the messages, trains, converts and writes the bundle."""
    train, heldout = split(read_messages())
    train_texts, train_labels = zip(*train)
    heldout_texts, heldout_labels = zip(*heldout)
    # Case is kept: lower case needs a locale that a server may not have, and capitals tell German from Dutch.
    pipeline = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), max_features=FEATURES, lowercase=False, dtype=np.float32),
        LogisticRegression(C=30, max_iter=1000, random_state=SEED),
    ).fit(train_texts, train_labels)

    inputs = np.array(heldout_texts, dtype=object)[:, None]
    labels, probabilities = bundle.write(
        "language",
        "Language of a short text, one of twelve",
        convert(pipeline),
        ["text"],
        inputs,
        heldout_labels,
        list(pipeline.classes_),
    )
    reference = pipeline.predict(heldout_texts), pipeline.predict_proba(heldout_texts)
    bundle.check_agreement(labels, probabilities, *reference)
    check_odd_texts(pipeline)
    accuracy = np.mean(labels == np.array(heldout_labels))
    print(f"language: {len(train)} training texts, {len(heldout)} held-out texts, accuracy {accuracy:.4f}")


def read_messages():
    """Maps each English message to its clean texts by language."""
    messages = {}
    for language in LANGUAGES:
        for catalogue in catalogues(language):
            for entry in polib.pofile(catalogue.read_text(encoding="utf-8")):
                if entry.obsolete or entry.fuzzy:
                    continue
                text = entry.msgid if language == "en" else entry.msgstr or entry.msgstr_plural.get(0, "")
                messages.setdefault(entry.msgid, {})[language] = clean(text)
    return messages


def catalogues(language):
    """Every `.po` file of one language in the installed Django."""
    django = importlib.resources.files("django")
    folders = [django / "conf"] + sorted((django / "contrib").iterdir(), key=lambda folder: folder.name)
    for folder in folders:
        for name in ["django.po", "djangojs.po"]:
            catalogue = folder / "locale" / language / "LC_MESSAGES" / name
            if catalogue.is_file():
                yield catalogue


def clean(text):
    """The words of a message on one line."""
    return " ".join(PLACEHOLDER.sub(" ", text).split())


def split(messages):
    """Lists of (text, language), training and held-out; a text that two languages share is nobody's."""
    languages_of = {}
    for texts in messages.values():
        for language, text in texts.items():
            languages_of.setdefault(text, set()).add(language)
    order = sorted(messages)
    random.Random(SEED).shuffle(order)
    seen = set()
    sides = [], []
    for place, message in enumerate(order):
        side = sides[place < len(order) * HELDOUT_SHARE]
        for language, text in sorted(messages[message].items()):
            translated = language == "en" or text != clean(message)
            spoken = len(text) >= SHORTEST and " " in text and sum(map(str.isalpha, text)) >= 0.7 * len(text)
            if translated and spoken and len(languages_of[text]) == 1 and text not in seen:
                seen.add(text)
                side.append((text, language))
    for side in sides:
        random.Random(SEED).shuffle(side)
    return sides


def convert(pipeline):
    """The pipeline as ONNX, with what the converter gets wrong for characters put right."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The conversion of CountVectorizer may not work")
        model = convert_sklearn(
            pipeline,
            initial_types=[("text", StringTensorType([None, 1]))],
            options={id(pipeline): {"zipmap": False}},
            target_opset=bundle.OPSETS,
        )
    for node in model.graph.node:
        if node.op_type == "Tokenizer":
            for attribute in node.attribute:
                if attribute.name == "pad_value":
                    attribute.s = PADDING.encode()
                if attribute.name == "tokenexp":
                    # Any character, line ends among them.
                    attribute.s = b"(?s)."
    return model


def check_odd_texts(pipeline):
    """Texts that the held-out ones do not cover must agree too, also beside longer ones in one batch."""
    texts = ["", " ", "#", "##", "a", "日本語のテキスト", "🦀", "two words", "C# and F#", "line\nend", "x" * 500]
    session = bundle.open_session(bundle.ROOT / "language" / "model.onnx")
    wanted = pipeline.predict_proba(texts)
    rows = np.array(texts, dtype=object)[:, None]
    alone = np.concatenate([session.run(["probabilities"], {"text": row[None]})[0] for row in rows])
    together = session.run(["probabilities"], {"text": rows})[0]
    difference = max(np.abs(alone - wanted).max(), np.abs(together - wanted).max())
    print(f"  odd texts: largest difference {difference:.1e}")
    if difference > bundle.TOLERANCE:
        for text, one, other in zip(texts, np.abs(alone - wanted).max(1), np.abs(together - wanted).max(1)):
            print(f"    {text[:20]!r}: alone {one:.1e}, together {other:.1e}")
        raise SystemExit("the artifact disagrees with the framework on odd texts")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
