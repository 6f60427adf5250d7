"""Makes three days of requests and what NumPy makes of them: `three_days.bin` and `three_days.json`.

The requests have a daily rhythm, times that are log-normal with a slow tail, an outage, an hour of slowness, and a night
with hardly any traffic. Each is 9 bytes, little-endian: milliseconds since the beginning (u32), its time in microseconds
(u32), and how it ended (u8: 0 answered, 1 failed by the server's fault, 2 the client's mistake).

What is expected is worked out here from the requests alone, with exact quantiles: the value at index floor(q * (n - 1)) of
the sorted times. Run with NumPy 2: `python make_three_days.py`.
"""

import json
from pathlib import Path

import numpy as np

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
REQUESTS = 30_000
OBJECTIVE = 0.99
# In minutes.
BURN_WINDOWS = {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360, "1d": 1440, "3d": 4320}
HERE = Path(__file__).parent

random = np.random.default_rng(2026)
# Arrivals by thinning: the rate swings between a twentieth and all of its peak over a day.
candidates = np.sort(random.uniform(0, 3 * DAY_MS, REQUESTS * 2))
rate = 0.525 - 0.475 * np.cos(candidates / DAY_MS * 2 * np.pi)
at_ms = candidates[random.uniform(size=candidates.size) < rate][:REQUESTS].astype(np.uint32)
took_us = random.lognormal(np.log(4_000), 0.6, at_ms.size)
took_us[random.uniform(size=at_ms.size) < 0.01] *= 30
slow = (at_ms > 30 * HOUR_MS) & (at_ms < 31 * HOUR_MS)
took_us[slow] *= 8
took_us = np.clip(took_us, 50, 60_000_000).astype(np.uint32)
chance = random.uniform(size=at_ms.size)
ended = np.where(chance < 0.002, 1, np.where(chance < 0.01, 2, 0)).astype(np.uint8)
ended[(at_ms > 50 * HOUR_MS) & (at_ms < 50 * HOUR_MS + 12 * MINUTE_MS)] = 1

records = np.empty(at_ms.size, dtype=[("at", "<u4"), ("took", "<u4"), ("ended", "u1")])
records["at"], records["took"], records["ended"] = at_ms, took_us, ended
(HERE / "three_days.bin").write_bytes(records.tobytes())


def exact(times, q):
    ordered = np.sort(times)
    return int(ordered[int(np.floor(q * (ordered.size - 1)))]) if ordered.size else None


def traffic(until_ms, span_ms):
    """What the requests of a span came to."""
    since_ms = max(0, until_ms - span_ms)
    inside = (at_ms >= since_ms) & (at_ms < until_ms)
    answered = took_us[inside & (ended == 0)]
    counts = [int(np.sum(inside & (ended == kind))) for kind in range(3)]
    quantiles = {str(q): exact(answered, q) for q in (0.5, 0.95, 0.99)}
    return {"until_ms": until_ms, "since_ms": since_ms, "counts": counts, "quantiles_us": quantiles}


def burn(until_ms, minutes):
    """The burn rate of an availability objective of 99 %, for which clients' mistakes do not count."""
    inside = (at_ms >= max(0, until_ms - minutes * MINUTE_MS)) & (at_ms < until_ms) & (ended != 2)
    if not inside.any():
        return None
    return float(np.mean(ended[inside] == 1) / (1 - OBJECTIVE))


spans = []
# The finest steps are looked at as they are remembered: 10 s for half an hour, minutes for six hours, ten for three days.
for hour in range(1, 73):
    until_ms = hour * HOUR_MS
    spans.extend(traffic(until_ms, span) for span in (MINUTE_MS, 10 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS))
    if hour % 6 == 0:
        spans.extend(traffic(until_ms, span) for span in (6 * HOUR_MS, DAY_MS, 3 * DAY_MS))
burns = []
for minute in sorted({*range(60, 4321, 60), *range(3000, 3020)}):
    # Windows above six hours are counted in ten minutes and hours: asked where these begin.
    asked = {name: width for name, width in BURN_WINDOWS.items() if width <= 360 or minute % 60 == 0}
    windows = {name: burn(minute * MINUTE_MS, width) for name, width in asked.items()}
    burns.append({"at_ms": minute * MINUTE_MS, "windows": windows})
(HERE / "three_days.json").write_text(json.dumps({"objective": OBJECTIVE, "spans": spans, "burns": burns}))
print(at_ms.size, "requests")
