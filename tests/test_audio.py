"""Pipelines that take sounds: samples beside libsndfile's and soxr's, a real model, forms and raw bodies, and hostile files."""

import base64
import io
import struct
import subprocess
import sys

import numpy as np
import onnx
import pytest
import requests
import soundfile
import soxr
from onnx import TensorProto, helper

from conftest import BINARY, PATIENCE_S, ROOT, wheel

SPEECH = ROOT / "crates/audio/tests/vectors/speech.flac"
MEL = 'n_fft = 512, hop_length = 160, win_length = 400, n_mels = 40, log = "db"'


def tones(seconds, rate, channels=1):
    """Tones below 3 kHz with a little noise."""
    time = np.arange(int(seconds * rate)) / rate
    random = np.random.default_rng(channels)
    waves = [sum(np.sin(2 * np.pi * f * (c + 1) * time) for f in (220, 501, 950)) / 8 for c in range(channels)]
    return np.stack(waves, 1).astype(np.float32) + random.normal(0, 1e-3, (len(time), channels)).astype(np.float32)


def file_of(samples, rate, kind="WAV", subtype="PCM_16"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def reference(content, rate=16_000):
    """What `librosa.load(file, sr=rate)` does: libsndfile, the mean of the channels, soxr."""
    samples, found = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    mono = np.mean(samples.T, axis=0)
    return mono if found == rate else soxr.resample(mono, found, rate, quality="HQ")


def bundle(folder, steps):
    """A model that answers its input: what the answer shows is what the steps have made."""
    folder.mkdir()
    rank = 3 if "mel_spectrogram" in steps else 2
    dims = ["rows", *"ab"[: rank - 1]]
    tensor = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)  # noqa: E731
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [tensor("x")], [tensor("y")])
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]), folder / "model.onnx")
    text = f'name = "sounds"\n[pipeline]\nfields = [{{ name = "sound", type = "bytes" }}]\nbefore = [{steps}]\n'
    (folder / "model.toml").write_text(text + 'inputs = [{ name = "x", columns = ["sound"] }]\n')
    return folder


def ask(server, body=None, name="sounds", path="", **options):
    url = server.url(f"/v1/endpoints/{name}/predict{path}")
    return requests.post(url, timeout=PATIENCE_S, **{"json": body, **options})


def record(*files):
    return {"instances": [{"sound": {"b64": base64.b64encode(content).decode()}} for content in files]}


def made(server, *files):
    answer = ask(server, record(*files))
    assert answer.status_code == 200, answer.text
    return [np.array(row["y"], dtype=np.float32) for row in answer.json()["predictions"]]


def refused(server, content):
    answer = ask(server, record(content))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_field"), answer.text
    return answer.json()["error"]


def memory(server):
    """The most memory that the process has had, in bytes."""
    with open(f"/proc/{server.process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Servers of bundles that show what their steps make, each begun once."""
    from conftest import Server

    folder = tmp_path_factory.mktemp("audio")
    servers = {}

    def served(steps):
        if steps not in servers:
            place = folder / str(len(servers))
            servers[steps] = Server(place.with_suffix(".data"), bundle(place, steps))
        return servers[steps]

    yield served
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="module")
def plain(served):
    return served('{ step = "audio", input = "sound", sample_rate = 16000, max_seconds = 2 }')


@pytest.mark.parametrize("kind, subtype", [
    ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"),
    ("WAVEX", "PCM_16"), ("WAVEX", "PCM_24"), ("WAVEX", "FLOAT"), ("FLAC", "PCM_S8"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"),
])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_samples_are_those_of_libsndfile_mixed_as_librosa_mixes_them(plain, kind, subtype, channels):
    content = file_of(tones(0.1, 16_000, channels), 16_000, kind, subtype)
    np.testing.assert_array_equal(made(plain, content)[0], reference(content))


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000])
def test_resampled_sounds_are_those_of_soxr_within_the_tolerance(plain, rate):
    """The sound has nothing above 3 kHz but a little noise, where the filters pass the same."""
    content = file_of(tones(0.5, rate, 2), rate, subtype="FLOAT")
    found, wanted = made(plain, content)[0], reference(content)
    assert abs(len(found) - len(wanted)) <= 1
    length = min(len(found), len(wanted))
    error = found[:length] - wanted[:length]
    # Beside the ends, where the filters see silence.
    assert np.sqrt(np.mean(error[400:-400] ** 2) / np.mean(wanted**2)) < 2e-3


def test_real_speech_keeps_its_length_and_its_sound(served):
    server = served('{ step = "audio", input = "sound", sample_rate = 8000 }')
    found, wanted = made(server, SPEECH.read_bytes())[0], reference(SPEECH.read_bytes(), 8000)
    assert len(found) == len(wanted) == 3200
    assert np.sum((found - wanted) ** 2) / np.sum(wanted**2) < 1e-6


def test_sounds_get_one_length(served):
    step = '{{ step = "audio", input = "sound", sample_rate = 16000, length = 1000, {} }}'
    short, long = file_of(tones(0.05, 16_000), 16_000), file_of(tones(0.1, 16_000), 16_000)
    both = served(step.format('longer = "truncate"'))
    padded, cut = made(both, short, long)
    np.testing.assert_array_equal(padded, np.pad(reference(short), (0, 200)))
    np.testing.assert_array_equal(cut, reference(long)[:1000])
    strict = served(step.format('shorter = "reject"'))
    message = 'row 0: field "sound" has {} samples at 16000 Hz, the model takes 1000'
    assert refused(strict, short) == message.format(800)
    assert refused(strict, long) == message.format(1600)


def test_sounds_are_normalized_each_by_itself(served):
    for kind, expected in [
        ("peak", lambda x: x / np.abs(x).max()),
        ("standard", lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-7)),
    ]:
        server = served(f'{{ step = "audio", input = "sound", sample_rate = 16000, normalize = "{kind}" }}')
        files = [file_of(tones(0.05, 16_000) * loudness + 0.01, 16_000) for loudness in (0.1, 0.9)]
        for found, content in zip(made(server, *files), files):
            np.testing.assert_allclose(found, expected(reference(content).astype(np.float64)), atol=1e-5)


def test_a_batch_is_the_sounds_one_by_one(served):
    steps = f'{{ step = "audio", input = "sound", sample_rate = 16000 }}, {{ step = "mel_spectrogram", input = "sound", {MEL} }}'
    server = served(steps)
    files = [file_of(tones(0.2, 16_000) * loudness, 16_000) for loudness in (1, 1e-3, 0.1, 0)]
    for together, content in zip(made(server, *files), files):
        np.testing.assert_array_equal(together, made(server, content)[0])
        assert together.shape == (40, 21)


def test_sounds_of_other_lengths_are_refused_together(plain):
    files = [file_of(tones(length, 16_000), 16_000) for length in (0.1, 0.1, 0.2)]
    answer = ask(plain, record(*files))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith('row 2: field "sound" becomes 3200 samples, row 0 has 1600'), answer.text


def test_a_bad_sound_fails_alone_in_partial_mode(plain):
    good = file_of(tones(0.05, 16_000), 16_000)
    answer = ask(plain, record(good, b"no sound", good), path="?partial=true").json()
    assert [row is None for row in answer["predictions"]] == [False, True, False], answer
    assert "is no WAV or FLAC file" in str(answer["errors"])


def test_raw_bodies_and_forms_are_answered_as_records_are(plain):
    for kind, media_types in [("WAV", ["audio/wav", "audio/x-wav", "application/octet-stream"]), ("FLAC", ["audio/flac"])]:
        content = file_of(tones(0.02, 16_000), 16_000, kind)
        wanted = ask(plain, record(content)).json()
        assert "predictions" in wanted
        for media_type in media_types:
            raw = ask(plain, json=None, data=content, headers={"content-type": media_type})
            assert raw.json() == wanted, media_type
        form = ask(plain, json=None, files={"sound": ("a", content, media_types[0])})
        assert form.json() == wanted


def wav(content, rate=16_000, channels=1, bits=16, encoding=1, length=None):
    """A WAV file whose header says what it is told."""
    frame = channels * bits // 8
    head = struct.pack("<HHIIHH", encoding, channels, rate, rate * frame & 0xFFFFFFFF, frame, bits)
    data = struct.pack("<I", len(content) if length is None else length) + content
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def test_hostile_files_get_an_error_and_no_memory(plain):
    good, flac = file_of(tones(0.5, 16_000), 16_000), file_of(tones(0.5, 16_000), 16_000, "FLAC")
    before = memory(plain)
    for content in [good[:-10], good[:40], good[:20], flac[: len(flac) // 2], flac[:-3], flac[:30], flac[:50]]:
        assert "cannot be read" in refused(plain, content)
    for content in [b"", b"ID3\4" + good, b"RIFX" + good[4:], b"OggS", b"\0" * 1000]:
        assert refused(plain, content) == 'row 0: field "sound" is no WAV or FLAC file'
    for content, message in [
        (wav(bytes(100), rate=1_000_000_000), "has a sample rate of 1000000000 Hz, it may be 1000 to 384000"),
        (wav(bytes(100), rate=0), "has a sample rate of 0 Hz"),
        (wav(bytes(6553500), channels=65535, bits=8), "has 65535 channels, there may be 64"),
        (wav(bytes(100), channels=0), "has no samples"),
        (wav(b""), "has no samples"),
        (wav(bytes(100), bits=12), "samples of 12 bits are not known"),
        (wav(bytes(100), encoding=85), "its encoding 0x0055 is not known"),
        (wav(bytes(100), length=1 << 30), "its end is cut off"),
        (wav(bytes(2 * 32_001)), "has 2.0 seconds, there may be 2 (max_seconds)"),
        (wav(struct.pack("<f", float("nan")) * 9, bits=32, encoding=3), "a sample is no finite number"),
    ]:
        assert message in refused(plain, content)
    # Hours of silence, in a few bytes; and a length that is a lie in both directions.
    silence = bytearray(file_of(np.zeros(16_000 * 3600, dtype=np.int16), 16_000, "FLAC"))
    assert "has 3600.0 seconds, there may be 2" in refused(plain, bytes(silence))
    silence[21:26] = bytes([silence[21] & 0xF0]) + struct.pack(">I", 16_000)
    assert "its header says 16000 samples, it has more" in refused(plain, bytes(silence))
    silence[21:26] = bytes([silence[21] & 0xF0]) + bytes(4)
    assert "it has more than 32000 samples (max_seconds)" in refused(plain, bytes(silence))
    longer = bytearray(flac)
    longer[22:26] = struct.pack(">I", 9000)
    assert "cannot be read" in refused(plain, bytes(longer))
    assert memory(plain) < before + (64 << 20)


def test_lengths_that_programs_write_into_pipes_are_understood(plain):
    samples = tones(0.05, 16_000)
    content = file_of(samples, 16_000)
    at = content.index(b"data") + 4
    for unknown in (0xFFFFFFFF, 0x7FFFF000):
        piped = content[:at] + struct.pack("<I", unknown) + content[at + 4 :]
        np.testing.assert_array_equal(made(plain, piped)[0], reference(content))


@pytest.mark.parametrize("steps, message", [
    ('{ step = "audio", input = "sound", sample_rate = 1 }', "sample_rate is 1, it must be 1000 to 192000"),
    ('{ step = "audio", input = "sound", sample_rate = 16000, max_seconds = 0 }', "max_seconds is 0"),
    ('{ step = "audio", input = "sound", sample_rate = 16000, length = 0 }', "length is 0"),
    ('{ step = "mel_spectrogram", input = "sound" }', "is of type bytes, the step takes tensor"),
    ('{ step = "audio", input = "sound", sample_rate = 8000 }, { step = "mel_spectrogram", input = "sound", fmax = 8000 }',
     "fmin is 0 and fmax 8000: they must be in order, from 0 to 4000"),
    ('{ step = "audio", input = "sound", sample_rate = 8000 }, { step = "mel_spectrogram", input = "sound", n_fft = 1 }', "n_fft is 1"),
])
def test_steps_that_make_no_sense_are_refused_by_name(tmp_path, steps, message):
    command = [BINARY, "check", bundle(tmp_path / "b", steps)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert checked.returncode != 0
    assert message in checked.stdout + checked.stderr


VAD = """
name = "vad"

[pipeline]
fields = [{ name = "sound", type = "bytes" }]
before = [{ step = "audio", input = "sound", sample_rate = 16000, length = 16384, longer = "truncate" }]
inputs = [{ name = "samples", columns = ["sound"] }]
response = [{ name = "speech" }, { name = "probabilities" }]
"""


@pytest.fixture(scope="module")
def vad(tmp_path_factory):
    """The model of PyPI's silero-vad over whole sounds, served."""
    from conftest import Server

    folder = tmp_path_factory.mktemp("vad")
    script = [sys.executable, ROOT / "examples/make_vad.py", wheel("silero-vad"), folder / "vad", "16384"]
    subprocess.run(script, check=True)
    (folder / "vad/model.toml").write_text(VAD)
    server = Server(folder / "data", folder / "vad")
    yield server
    server.stop()


def test_a_real_model_hears_in_files_what_it_hears_in_samples_of_python(vad):
    """Python decodes and resamples as librosa does, and sends numbers to the same model; ours begins with the file."""
    speech, _ = soundfile.read(SPEECH, dtype="float32")
    once = np.concatenate([np.zeros(4000, dtype=np.float32), speech, speech, np.zeros(2000, dtype=np.float32)])
    at_48 = soxr.resample(once, 16_000, 48_000)
    sounds = {
        "wav": (file_of(once, 16_000), 1e-6, True),
        "flac": (file_of(once, 16_000, "FLAC"), 1e-6, True),
        "stereo at 48 kHz": (file_of(np.stack([at_48, at_48 * 0.5], 1), 48_000), 1e-2, True),
        "silence": (file_of(np.zeros(16_000, dtype=np.float32), 16_000), 1e-6, False),
    }
    for name, (content, tolerance, has_speech) in sounds.items():
        samples = np.zeros(16_384, dtype=np.float32)
        heard = reference(content)[:16_384]
        samples[: len(heard)] = heard
        tensor = {"name": "samples", "datatype": "FP32", "shape": [1, 16_384], "data": samples.tolist()}
        infer = requests.post(vad.url("/v2/models/vad/infer"), json={"inputs": [tensor]}, timeout=PATIENCE_S).json()
        wanted = next(o["data"] for o in infer["outputs"] if o["name"] == "probabilities")
        raw = ask(vad, name="vad", json=None, data=content, headers={"content-type": "audio/wav"})
        (row,) = raw.json()["predictions"]
        np.testing.assert_allclose(row["probabilities"], wanted, atol=tolerance, err_msg=name)
        speech_found = np.max(row["speech"])
        assert (speech_found > 0.5) == has_speech, (name, row)
