"""Writes probabilities.json: what Python's onnxruntime answers for silero-vad's model with its state given explicitly.

python -m venv work && work/bin/pip install numpy==2.4.6 onnxruntime==1.31.1
python -m pip download --no-deps silero-vad==6.2.3 && work/bin/python record_probabilities.py silero_vad-6.2.3-*.whl
"""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np

CHUNKS, CHUNK, CONTEXT, RATE = 24, 512, 64, 16000


def chunks():
    """Noise, then something like a vowel, then noise: each chunk with the end of the one before it."""
    time = np.arange(CHUNKS * CHUNK) / RATE
    pitch = 120 + 20 * np.sin(2 * np.pi * 3 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = sum(np.sin(k * phase) / k * np.exp(-((k * 120 - 700) ** 2) / 4e5) for k in range(1, 30))
    loud = (time > 0.2) & (time < 0.55)
    signal = 0.3 * voice * loud + 0.003 * np.random.default_rng(7).normal(size=time.size)
    padded = np.concatenate([np.zeros(CONTEXT), signal]).astype(np.float32)
    return [padded[at : at + CONTEXT + CHUNK][None] for at in range(0, CHUNKS * CHUNK, CHUNK)]


def main():
    import onnxruntime

    content = zipfile.ZipFile(sys.argv[1]).read("silero_vad/data/silero_vad.onnx")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    state, probabilities = np.zeros((2, 1, 128), np.float32), []
    for chunk in chunks():
        inputs = {"input": chunk, "state": state, "sr": np.array(RATE, np.int64)}
        output, state = session.run(["output", "stateN"], inputs)
        probabilities.append(float(output[0, 0]))
    Path(__file__).with_name("probabilities.json").write_text(json.dumps(probabilities, indent=1) + "\n")


if __name__ == "__main__":
    main()
