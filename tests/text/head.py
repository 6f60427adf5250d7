"""The head of a cross-encoder, of fixed random numbers."""

import numpy as np


def head(width):
    """A dense layer on the first token and one score: as `BertForSequenceClassification` names them."""
    random = np.random.RandomState(0)
    return {
        "pooler.dense.weight": random.normal(0, 0.1, (width, width)).astype(np.float32),
        "pooler.dense.bias": random.normal(0, 0.1, width).astype(np.float32),
        "classifier.weight": random.normal(0, 0.1, (1, width)).astype(np.float32),
        "classifier.bias": random.normal(0, 0.1, 1).astype(np.float32),
    }
