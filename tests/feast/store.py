"""A real Feast for the tests: it applies views, materializes them to Redis, serves them over HTTP, and then does what
the lines of its standard input say. Each line is a JSON object, and gets one as its answer.

    python store.py FOLDER REDIS_PORT HTTP_PORT
"""

import json
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import uvicorn
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.data_source import PushMode
from feast.feature_server import get_app
from feast.types import Bool, Float32, Float64, Int64, String, UnixTimestamp

folder, redis_port, http_port = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
NOW = datetime.now(timezone.utc).replace(microsecond=0)
# Driver 999 is beyond the ttl of the view.
AGES = {driver: timedelta(minutes=10) for driver in range(200)} | {999: timedelta(hours=5)}


def drivers(numbers, event_timestamp, rate=0.001):
    return pd.DataFrame([
        {"driver_id": number, "event_timestamp": event_timestamp(number), "created": NOW, "conv_rate": number * rate,
         "acc_rate": number / 7, "trips": number * 10**9, "city": f"Zürich {number}", "is_new": number % 2 == 0,
         "since": NOW - timedelta(days=number)}
        for number in numbers
    ])


def baskets():
    rows = [{"customer": f"c{number}", "shop": number % 3, "event_timestamp": NOW, "amount": number / 4} for number in range(20)]
    return pd.DataFrame(rows).astype({"shop": "int32"})


def source(name, frame):
    frame.to_parquet(folder / f"{name}.parquet")
    return FileSource(name=name, path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp")


folder.mkdir(exist_ok=True)
store = FeatureStore(config=RepoConfig(
    project="shop",
    registry=str(folder / "registry.db"),
    provider="local",
    online_store={"type": "redis", "connection_string": f"127.0.0.1:{redis_port}"},
    offline_store={"type": "file"},
    entity_key_serialization_version=3,
))
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.STRING)
shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT32)
driver_source = source("drivers", drivers(AGES, lambda number: NOW - AGES[number]))
pushed = PushSource(name="driver_push", batch_source=driver_source)
store.apply([driver, customer, shop, pushed, FeatureView(
    name="driver_stats", entities=[driver], ttl=timedelta(hours=2), source=pushed,
    schema=[Field(name="conv_rate", dtype=Float64), Field(name="acc_rate", dtype=Float32), Field(name="trips", dtype=Int64),
            Field(name="city", dtype=String), Field(name="is_new", dtype=Bool), Field(name="since", dtype=UnixTimestamp)],
), FeatureView(
    name="baskets", entities=[shop, customer], ttl=timedelta(days=1), source=source("baskets", baskets()),
    schema=[Field(name="amount", dtype=Float64)],
)])


def materialize():
    store.materialize(NOW - timedelta(days=1), NOW + timedelta(minutes=1))


def read(features, entities):
    rows = [dict(zip(entities, values)) for values in zip(*entities.values())]
    answer = store.get_online_features(features=features, entity_rows=rows).to_dict()
    return {name: [one.timestamp() if isinstance(one, datetime) else one for one in values] for name, values in answer.items()}


def push(numbers, rate):
    store.push("driver_push", drivers(numbers, lambda number: NOW + timedelta(seconds=1), rate), to=PushMode.ONLINE)


materialize()
server = uvicorn.Server(uvicorn.Config(get_app(store), host="127.0.0.1", port=http_port, log_level="warning"))
threading.Thread(target=server.run, daemon=True).start()
commands = {"materialize": materialize, "read": read, "push": push}
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    answer = commands[wanted.pop("do")](**wanted)
    print(json.dumps({"answer": answer}), flush=True)
