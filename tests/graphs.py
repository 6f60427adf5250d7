"""A writer of ONNX files for the tests: graphs that no exporter makes, from the protobuf up."""

import struct

import numpy as np

FLOAT, UINT8, INT32, INT64, STRING, BOOL, DOUBLE = 1, 2, 6, 7, 8, 9, 11
NUMBERS = {np.dtype(np.bool_): BOOL, np.dtype(np.float32): FLOAT, np.dtype(np.int64): INT64, np.dtype(np.int32): INT32, np.dtype(np.float64): DOUBLE}


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field, value):
    return varint(field << 3) + varint(value)


def chunk(field, value):
    value = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(value)) + value


def dimension(extent):
    """An extent; a text is symbolic, None says nothing."""
    if extent is None:
        return b""
    return chunk(2, extent) if isinstance(extent, str) else integer(1, extent)


def tensor_type(kind, extents):
    shape = b"".join(chunk(1, dimension(extent)) for extent in extents)
    return chunk(1, integer(1, kind) + chunk(2, shape))


def value(name, kind, extents):
    """An input or output of a graph."""
    return chunk(1, name) + chunk(2, tensor_type(kind, extents))


def scores_by_class(name, key):
    """An output that is a sequence of maps from a class to its score."""
    map_type = chunk(5, integer(1, key) + chunk(2, chunk(1, integer(1, FLOAT))))
    return chunk(1, name) + chunk(2, chunk(4, chunk(1, map_type)))


def weights(name, array):
    array = np.asarray(array)
    extents = b"".join(integer(1, extent) for extent in array.shape)
    return extents + integer(2, NUMBERS[array.dtype]) + chunk(8, name) + chunk(9, array.tobytes())


def attribute(name, setting):
    if isinstance(setting, bool | int):
        return chunk(1, name) + integer(3, int(setting)) + integer(20, 2)
    if isinstance(setting, float):
        return chunk(1, name) + varint(2 << 3 | 5) + struct.pack("<f", setting) + integer(20, 1)
    if isinstance(setting, bytes):  # a graph
        return chunk(1, name) + chunk(6, setting) + integer(20, 5)
    if setting and isinstance(setting[0], str):
        return chunk(1, name) + b"".join(chunk(9, text) for text in setting) + integer(20, 8)
    return chunk(1, name) + b"".join(integer(8, number) for number in setting) + integer(20, 7)


def node(operator, inputs, outputs, domain="", **attributes):
    out = b"".join(chunk(1, name) for name in inputs) + b"".join(chunk(2, name) for name in outputs)
    out += chunk(4, operator) + b"".join(chunk(5, attribute(*item)) for item in attributes.items())
    return out + (chunk(7, domain) if domain else b"")


def graph(nodes, inputs, outputs, initializers=()):
    out = b"".join(chunk(1, one) for one in nodes) + chunk(2, "g")
    out += b"".join(chunk(5, one) for one in initializers)
    return out + b"".join(chunk(11, one) for one in inputs) + b"".join(chunk(12, one) for one in outputs)


def model(nodes, inputs, outputs, initializers=(), domains=(("", 17), ("ai.onnx.ml", 3)), ir=8):
    opsets = b"".join(chunk(8, chunk(1, domain) + integer(2, version)) for domain, version in domains)
    return integer(1, ir) + chunk(7, graph(nodes, inputs, outputs, initializers)) + opsets


def save(path, *parts, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model(*parts, **options))
    return path


def linear(path):
    """Twice its input."""
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    eye = weights("w", np.eye(2, dtype=np.float32) * 2)
    return save(path, nodes, [value("x", FLOAT, ["N", 2])], [value("y", FLOAT, ["N", 2])], [eye])


def enormous(path, extent=1 << 49):
    """A graph of 89 bytes whose input and output have an extent that no machine holds."""
    both = [value(name, FLOAT, ["N", extent]) for name in "xy"]
    return save(path, [node("Identity", ["x"], ["y"])], both[:1], both[1:])
