"""Writes what librosa 0.11 makes of a real sound: the vectors that the tests of this crate hold theirs against.

`pip install librosa==0.11.0 soundfile==0.13.1`, then `python make_vectors.py aepyx.wav`: a recording of speech at 16 kHz
from the source archive of silero-vad 6.2.3 (MIT), in `examples/c++`.
"""

import json
import pathlib
import sys

import librosa
import numpy as np
import soundfile

FOLDER = pathlib.Path(__file__).parent
RATE, BEGIN, LENGTH = 16_000, 121_000, 6_400
DB = {"log": "db", "amin": 1e-10, "top_db": 80.0}
CASES = {
    "defaults": {},
    "decibels": DB,
    "decibels without a limit": {"log": "db", "amin": 1e-10},
    "small frames": {"n_fft": 512, "hop_length": 160, "win_length": 400, "n_mels": 40, **DB},
    "htk without norm": {"n_fft": 512, "hop_length": 256, "n_mels": 64, "htk": True, "norm": None},
    "amplitude": {"n_fft": 1024, "hop_length": 256, "n_mels": 32, "power": 1.0, "fmin": 60.0, "fmax": 7600.0},
    "reflect": {"n_fft": 400, "hop_length": 160, "n_mels": 80, "pad_mode": "reflect", "log": "natural", "amin": 1e-5},
    "not centered": {"n_fft": 512, "hop_length": 128, "n_mels": 40, "center": False, "window": "hamming"},
    "odd": {"n_fft": 401, "hop_length": 133, "win_length": 333, "n_mels": 30},
    "whisper": {"n_fft": 400, "hop_length": 160, "n_mels": 80, "pad_mode": "reflect", "log": "whisper"},
    "mfcc": {"n_mfcc": 20, **DB},
    "mfcc of small frames": {"n_fft": 512, "hop_length": 160, "n_mels": 40, "n_mfcc": 13, **DB},
}


def mel(samples, options):
    """`librosa.feature.melspectrogram`, and what follows it."""
    options = dict(options)
    log, amin, top_db = options.pop("log", None), options.pop("amin", None), options.pop("top_db", None)
    n_mfcc = options.pop("n_mfcc", None)
    numbers = librosa.feature.melspectrogram(y=samples, sr=RATE, **options)
    if log == "db":
        numbers = librosa.power_to_db(numbers, ref=1.0, amin=amin, top_db=top_db)
    elif log == "natural":
        numbers = np.log(np.maximum(numbers, amin))
    elif log == "whisper":
        # whisper/audio.py, log_mel_spectrogram: the last frame is left out.
        numbers = np.log10(np.maximum(numbers[:, :-1], 1e-10))
        numbers = (np.maximum(numbers, numbers.max() - 8.0) + 4.0) / 4.0
    if n_mfcc:
        numbers = librosa.feature.mfcc(S=numbers, n_mfcc=n_mfcc)
    return numbers


def numbers(array):
    """The shortest texts that read back as the same numbers of single precision."""
    return [float(str(np.float32(number))) for number in np.asarray(array).ravel()]


def main():
    recording, rate = soundfile.read(sys.argv[1], dtype="int16")
    assert rate == RATE
    soundfile.write(FOLDER / "speech.flac", recording[BEGIN : BEGIN + LENGTH], RATE, subtype="PCM_16")
    samples, _ = librosa.load(FOLDER / "speech.flac", sr=None)
    cases = []
    for name, options in CASES.items():
        made = mel(samples, options)
        cases.append({"name": name, "options": options, "shape": made.shape, "numbers": numbers(made)})
    resampled = {rate: numbers(librosa.resample(samples, orig_sr=RATE, target_sr=rate)) for rate in (8_000, 11_025, 22_050)}
    (FOLDER / "vectors.json").write_text(json.dumps({"samples": numbers(samples[:100]), "mel": cases, "resampled": resampled}))


if __name__ == "__main__":
    main()
