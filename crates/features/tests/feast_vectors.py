"""Writes feast_vectors.json: keys, names of fields, values and times as Feast itself encodes them.

Run it with feast[redis]==0.67.0: python feast_vectors.py > feast_vectors.json
"""

import json
import sys
from datetime import datetime, timezone

from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, Value
from google.protobuf.timestamp_pb2 import Timestamp

KEYS = [
    {"driver_id": {"int64_val": 1001}},
    {"driver_id": {"int64_val": -1}, "city": {"string_val": "Zürich"}},
    {"b": {"int32_val": 7}, "a": {"string_val": ""}, "c": {"int64_val": 2**62}},
]
FIELDS = ["driver_stats:conv_rate", "v:ü", "a:b"]
VALUES = [
    {"double_val": 0.1},
    {"float_val": 0.5},
    {"int32_val": -5},
    {"int64_val": -(2**60)},
    {"bool_val": False},
    {"bool_val": True},
    {"string_val": "Zürich"},
    {"string_val": ""},
    {"unix_timestamp_val": 1_700_000_000},
    {"null_val": 0},
    {"double_list_val": DoubleList(val=[1.0, 2.0])},
    {},
]


def key(parts):
    proto = EntityKey(join_keys=list(parts), entity_values=[Value(**value) for value in parts.values()])
    return {"parts": parts, "hex": serialize_entity_key(proto, entity_key_serialization_version=3).hex()}


def value(fields):
    shown = {name: list(one.val) if isinstance(one, DoubleList) else one for name, one in fields.items()}
    return {"value": shown, "hex": Value(**fields).SerializeToString().hex()}


time = Timestamp()
time.FromDatetime(datetime(2026, 1, 31, 12, 0, 0, 250_000, timezone.utc))
vectors = {
    "keys": [key(parts) for parts in KEYS],
    "fields": [{"name": name, "hex": _mmh3(name).hex()} for name in FIELDS],
    "values": [value(fields) for fields in VALUES],
    "time": {"millis": 1_769_860_800_250, "hex": time.SerializeToString().hex()},
}
json.dump(vectors, sys.stdout, indent=1, ensure_ascii=False)
print()
