"""`digits`: a multi-layer perceptron on scikit-learn's 8 x 8 images of handwritten digits."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from threadpoolctl import threadpool_limits

import bundle

SEED = 7


def main():
    """Trains, converts and writes the bundle."""
    images, digits = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    train, heldout, train_labels, heldout_labels = train_test_split(
        images, digits, test_size=0.2, stratify=digits, random_state=SEED
    )
    pipeline = make_pipeline(
        MinMaxScaler(), MLPClassifier((128, 64), alpha=1e-2, max_iter=400, random_state=SEED)
    ).fit(train, train_labels)

    model = convert_sklearn(
        pipeline,
        initial_types=[("image", FloatTensorType([None, 64]))],
        options={"zipmap": False},
        target_opset=bundle.OPSETS,
        # Plain arithmetic in its place, which every engine knows.
        black_op={"Scaler"},
    )
    features = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    labels, probabilities = bundle.write(
        "digits",
        "Handwritten digit in an 8 x 8 image of pixels from 0 to 16",
        model,
        features,
        heldout,
        heldout_labels,
        [str(digit) for digit in range(10)],
    )
    bundle.check_agreement(labels, probabilities, pipeline.predict(heldout), pipeline.predict_proba(heldout))
    print(f"digits: {len(heldout)} held-out images, accuracy {np.mean(labels == heldout_labels):.4f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
