"""ONNX files out of their protobuf fields, for tests that need one with weights in another file."""

import struct


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A field of a message: a number, or text, bytes or a message behind its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def float_tensor(name, *dims):
    """A `ValueInfoProto` of 32-bit floats; text is an open dimension."""
    extents = b"".join(field(1, field(2 if isinstance(dim, str) else 1, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, extents)))


def doubler(location):
    """`y = x @ w` for rows of two numbers. The weights, which `weights` gives, are in the file at `location`."""
    external = field(1, "location") + field(2, location)
    weights = field(1, 2) + field(1, 2) + field(2, 1) + field(8, "w") + field(13, external) + field(14, 1)
    node = field(1, "x") + field(1, "w") + field(2, "y") + field(4, "MatMul")
    graph = field(1, node) + field(2, "g") + field(5, weights)
    graph += field(11, float_tensor("x", "N", 2)) + field(12, float_tensor("y", "N", 2))
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


def weights():
    return struct.pack("<4f", 2, 0, 0, 2)
