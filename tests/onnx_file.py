"""A small writer of ONNX files, for models whose names no exporter would give them."""

import struct


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    value = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(value)) + value


def tensor(field, name, datatype, dimensions):
    """An input or output of a graph; a dimension that is a text is symbolic."""
    axes = [text(2, axis) if isinstance(axis, str) else integer(1, axis) for axis in dimensions]
    shape = b"".join(text(1, axis) for axis in axes)
    return text(field, text(1, name) + text(2, text(1, integer(1, datatype) + text(2, shape))))


def identity(name="x", output="y", datatype=1, dimensions=("N", 2), opset=17, operator="Identity"):
    """A model with one node that gives its input. Datatype 1 is FLOAT, 8 is STRING."""
    node = text(1, text(1, name) + text(2, output) + text(4, operator))
    graph = node + text(2, "g")
    graph += tensor(11, name, datatype, dimensions) + tensor(12, output, datatype, dimensions)
    return integer(1, 8) + text(7, graph) + text(8, integer(2, opset))


def table_lookup(value, size=4096):
    """A model that gives `value` for four numbers from 0 to `size` in each row, and fails for larger ones."""
    cast = text(1, "x") + text(2, "i") + text(4, "Cast") + text(5, text(1, "to") + integer(3, 7) + integer(20, 2))
    gather = text(1, "table") + text(1, "i") + text(2, "y") + text(4, "Gather")
    table = integer(1, size) + integer(2, 1) + text(8, "table") + text(9, struct.pack("<f", value) * size)
    graph = text(1, cast) + text(1, gather) + text(2, "g") + text(5, table)
    graph += tensor(11, "x", 1, ("N", 4)) + tensor(12, "y", 1, ("N", 4))
    return integer(1, 8) + text(7, graph) + text(8, integer(2, 17))


def picky_lookup(value, size=4):
    """As `table_lookup`, for numbers close to 1 only: it fails for every synthetic sample."""
    scaled = text(1, "x") + text(1, "sixteen") + text(2, "scaled") + text(4, "Mul")
    moved = text(1, "scaled") + text(1, "sixteen") + text(2, "moved") + text(4, "Sub")
    cast = text(1, "moved") + text(2, "i") + text(4, "Cast") + text(5, text(1, "to") + integer(3, 7) + integer(20, 2))
    gather = text(1, "table") + text(1, "i") + text(2, "y") + text(4, "Gather")
    table = integer(1, size) + integer(2, 1) + text(8, "table") + text(9, struct.pack("<f", value) * size)
    sixteen = integer(2, 1) + text(8, "sixteen") + text(9, struct.pack("<f", 16.0))
    graph = b"".join(text(1, node) for node in (scaled, moved, cast, gather)) + text(2, "g") + text(5, table) + text(5, sixteen)
    graph += tensor(11, "x", 1, ("N", 4)) + tensor(12, "y", 1, ("N", 4))
    return integer(1, 8) + text(7, graph) + text(8, integer(2, 17))
