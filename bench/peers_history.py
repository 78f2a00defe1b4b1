"""One week of two zai-proxies for `peers.py`, as zaidash, Prometheus and VictoriaMetrics keep it.

The counters are made up once, tick by tick, with the label sets of `tests/fake_proxy.py`: a status
code has its own histogram, so a variant has some 160 series. What each of the three gets of them
goes in by its own way in:

    zaidash           the samples of a tick are read by `TargetState` and become a snapshot by
                      `VariantState`, as those of a scrape do. Ticks of the last day, and minutes
                      before it, since older ticks have expired.
    Prometheus        all ticks as OpenMetrics text, a file per block of 18 hours, which is what
                      Prometheus itself would have compacted a week into; `promtool tsdb
                      create-blocks-from openmetrics` makes the blocks.
    VictoriaMetrics   the same by `/api/v1/import`.

Restarts and outages are left out: how they are counted is what `agree.py` is about.
"""

from __future__ import annotations

import heapq
import http.client
import json
import math
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from common import say
from fake_proxy import (
    DURATION_BUCKETS_S,
    MEDIAN_LATENCY_S,
    MESSAGES_PATH,
    SIZE_BUCKETS_BYTES,
    TOKEN_DIRECTIONS,
)
from history_rows import DAY_S, MINUTE_S, VARIANTS
from prometheus_client.utils import floatToGoString

from zaidash import (
    Config,
    Sample,
    Series,
    Snapshot,
    Store,
    TargetState,
    VariantState,
    resolve_series,
)

INTERVAL_S = 5
#: Blocks of Prometheus grow threefold up to a tenth of the retention: 2 h, 6 h, 18 h for 15 d.
BLOCK_S = 18 * 3_600
#: The snapshot of a minute is the average of these ticks after its beginning: 0 s ... 55 s.
LAST_TICK_S = MINUTE_S - INTERVAL_S
#: History ends so shortly before live scrapes begin.
LAST_GAP_S = 20
IMPORT_TIMEOUT_S = 120.0
PROMTOOL_TIMEOUT_S = 300.0

#: Status codes, their shares, and how long such an answer takes; 200 is spread over buckets.
_CODES = {
    "200": (0.957, None), "400": (0.008, 0.004), "429": (0.027, 0.002), "500": (0.002, 0.4),
    "502": (0.004, 0.5), "503": (0.001, 0.4), "529": (0.001, 0.8),
}  # fmt: skip
_LOG_SIGMA = 0.8
#: Median latencies wander between these factors over the hours: so many steps of them.
_SPEEDS = [0.75 + 0.05 * step for step in range(11)]
_TOKENS_EACH = {"input": 900, "output": 420, "cache_read": 5_200, "cache_write": 610}
_BYTES_EACH = {"request": 14_000, "response": 5_600}
_WORKERS = 300


class Named(NamedTuple):
    """A series as a proxy exports it."""

    name: str
    labels: Mapping[str, str]

    def text(self, extra: Mapping[str, str]) -> str:
        """Return it in the text format. No label here has anything to escape."""
        labels = ",".join(f'{key}="{value}"' for key, value in {**self.labels, **extra}.items())
        return f"{self.name}{{{labels}}}"


#: What all series of a tick are, in the order of `Proxy.series`.
Tick = tuple[float, ...]


class Proxy:
    """One variant's counters, tick by tick."""

    def __init__(self, variant: str, rate: float, start_s: float) -> None:
        self.variant = variant
        self.series: list[Named] = []
        self._rate = rate
        self._rng = random.Random(variant)
        self._values: list[float] = []
        by_path = {"method": "POST", "path": MESSAGES_PATH, "variant": variant}
        self._add("process_start_time_seconds", {}, start_s)
        self._codes = {
            code: (
                self._add("zai_proxy_requests_total", {**by_path, "status_code": code}),
                self._add_histogram(
                    "zai_proxy_request_duration_seconds",
                    {**by_path, "status_code": code},
                    DURATION_BUCKETS_S,
                ),
            )
            for code in _CODES
        }
        self._sizes = {
            size: self._add_histogram(f"zai_proxy_{size}_size_bytes", by_path, SIZE_BUCKETS_BYTES)
            for size in _BYTES_EACH
        }
        kind = {"model": "glm-4.6", "pricing_tier": "standard", "variant": variant}
        self._tokens = {
            direction: self._add("zai_proxy_tokens_total", {"direction": direction, **kind})
            for direction in TOKEN_DIRECTIONS
        }
        self._adjustments = {
            direction: self._add("zai_proxy_rate_limit_adjustments_total", {"direction": direction})
            for direction in ("increase", "decrease")
        }
        self._rejections = self._add("zai_proxy_rate_limit_rejections_total", {})
        self._errors = self._add("zai_proxy_upstream_errors_total", {})
        self._retries = self._add("zai_proxy_retry_attempts_total", {})
        self._busy = self._add("zai_proxy_concurrent_requests", {})
        self._add("zai_proxy_max_workers", {}, _WORKERS)
        self._utilization = self._add("zai_proxy_worker_utilization_ratio", {})
        self._add("zai_proxy_rate_limit_requests_per_second", {}, 3 * rate)

    def _add(self, name: str, labels: Mapping[str, str], value: float = 0) -> int:
        """Add a series; returns its place."""
        self.series.append(Named(name, dict(labels)))
        self._values.append(value)
        return len(self._values) - 1

    def _add_histogram(
        self, name: str, labels: Mapping[str, str], bounds: Sequence[float]
    ) -> tuple[int, int]:
        """Add buckets, `_count` and `_sum`; returns the places of the first bucket and the sum."""
        first = len(self._values)
        for bound in (*bounds, math.inf):
            # As the live proxy writes it: `1` and `1.0` are two series to the peers.
            le: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            self._add(f"{name}_bucket", {**labels, "le": le})
        self._add(f"{name}_count", labels)
        return first, self._add(f"{name}_sum", labels)

    def tick(self, at_s: int) -> Tick:
        """Let an interval pass; returns all values at `at_s`."""
        rng, values = self._rng, self._values
        wave = 1 + 0.6 * math.sin(at_s / DAY_S * math.tau)
        mean = self._rate * wave * INTERVAL_S
        wanted = max(0.0, rng.gauss(mean, math.sqrt(mean)))
        counts = {code: _round(wanted * share, rng) for code, (share, _) in _CODES.items()}
        speed = _SPEEDS[round(5 + 5 * math.sin(at_s / 7_000))]
        for code, (place, (first, total)) in self._codes.items():
            if count := counts[code]:
                values[place] += count
                seconds = _CODES[code][1]
                shares = _FIXED_SHARES[code] if seconds else _SPREAD_SHARES[speed]
                _observe(values, first, count, shares, rng)
                values[total] += count * (seconds or 1.38 * speed * MEDIAN_LATENCY_S)
        served, all_codes = counts["200"], sum(counts.values())
        for size, (first, total) in self._sizes.items():
            _observe(values, first, all_codes, _SIZE_SHARES[size], rng)
            values[total] += round(all_codes * _BYTES_EACH[size] * rng.uniform(0.9, 1.1))
        for direction, place in self._tokens.items():
            values[place] += round(served * _TOKENS_EACH[direction] * rng.uniform(0.85, 1.15))
        failed = counts["502"] + counts["503"] + counts["529"]
        values[self._rejections] += counts["429"]
        values[self._errors] += failed
        values[self._retries] += failed + _round(served * 0.004, rng)
        values[self._adjustments["increase"]] += _round(0.04, rng)
        values[self._adjustments["decrease"]] += _round(0.2 if counts["429"] else 0.04, rng)
        busy = min(_WORKERS, round(served / INTERVAL_S * rng.uniform(1.4, 1.9)))
        values[self._busy] = busy
        values[self._utilization] = round(busy / _WORKERS, 4)
        return tuple(values)


def _round(number: float, rng: random.Random) -> int:
    """Return a whole number that is `number` on average."""
    return math.floor(number + rng.random())


def _observe(
    values: list[float], first: int, count: int, shares: Sequence[float], rng: random.Random
) -> None:
    """Add so many requests to cumulative buckets and the `_count` behind them."""
    below = 0
    for place, share in enumerate(shares, first):
        if share:
            below = count if share == 1 else max(below, min(count, _round(count * share, rng)))
            values[place] += below


def _cumulative_shares(median: float, bounds: Sequence[float]) -> list[float]:
    """Return which share of log-normal requests lies below each bound; 1 for `+Inf` and count."""
    shares = [
        0.5 + 0.5 * math.erf(math.log(bound / median) / _LOG_SIGMA / math.sqrt(2))
        for bound in bounds
    ]
    return [0 if s < 1e-4 else 1 if s > 1 - 1e-4 else s for s in shares] + [1, 1]


_SPREAD_SHARES = {
    speed: _cumulative_shares(speed * MEDIAN_LATENCY_S, DURATION_BUCKETS_S) for speed in _SPEEDS
}
_FIXED_SHARES = {
    code: [*(float(bound >= seconds) for bound in DURATION_BUCKETS_S), 1.0, 1.0]
    for code, (_, seconds) in _CODES.items()
    if seconds
}
_SIZE_SHARES = {
    size: _cumulative_shares(0.7 * each, SIZE_BUCKETS_BYTES) for size, each in _BYTES_EACH.items()
}


# --------------------------------------------------------------------------------------
# The ways in
# --------------------------------------------------------------------------------------


def peer_labels(variant: str) -> dict[str, str]:
    """Return the labels that the peers add to a variant's series, in history and live."""
    return {"job": variant, "instance": f"{variant}:8080"}


class Sizes(NamedTuple):
    """How much there was to write."""

    series: int
    ticks: int
    samples: int
    #: What a day of snapshots, and their minutes, take of zaidash's file.
    day_bytes: int


def write_history(days: int, config: Config, blocks: Path, victoria_url: str) -> Sizes:
    """Make the history up to now, when it is finished, and hand it to all three.

    `config` names zaidash's database, `blocks` is Prometheus's data directory, and a
    VictoriaMetrics answers at `victoria_url`.
    """
    started_s = int(time.time())
    begin_s = int(started_s - days * DAY_S) // MINUTE_S * MINUTE_S
    proxies = [Proxy(variant, rate, begin_s) for variant, rate in VARIANTS.items()]
    fillers = [Filler(proxy, started_s - DAY_S) for proxy in proxies]
    ticks = 0
    # promtool has the one core while the next block is made on the other.
    with ThreadPoolExecutor(1) as background:
        promtool: Future[None] | None = None
        for times in _blocks(begin_s):
            text = blocks / f"{times[0]}.om"
            with text.open("w", encoding="utf-8") as file:
                for proxy, filler in zip(proxies, fillers, strict=True):
                    rows = [proxy.tick(at_s) for at_s in times]
                    filler.add(times, rows)
                    columns = list(zip(*rows, strict=True))
                    extra = peer_labels(proxy.variant)
                    file.writelines(openmetrics(proxy.series, extra, times, columns))
                    import_json(victoria_url, json_lines(proxy.series, extra, times, columns))
                file.write("# EOF\n")
            if promtool:
                promtool.result()
            promtool = background.submit(create_blocks, text, blocks)
            ticks += len(times)
            say(f"{ticks * INTERVAL_S / DAY_S:.1f} of {days} days")
        minutes_bytes = _fill(config, fillers, "metrics_1m")
        all_bytes = _fill(config, fillers, "metrics_5s")  # these average their minutes themselves
        if promtool:
            promtool.result()
    series = sum(len(proxy.series) for proxy in proxies)
    return Sizes(series, ticks, series * ticks, all_bytes - minutes_bytes)


def _fill(config: Config, fillers: Sequence[Filler], table: str) -> int:
    """Write rows as zaidash does at its start; returns the size of the file afterwards."""
    store = Store(config)
    store.open()
    # In the order of time, or the file is not laid out like one that grew.
    store.fill(heapq.merge(*(filler.rows(table) for filler in fillers), key=itemgetter(1)), table)
    store.close()
    return config.db_path.stat().st_size


def _blocks(begin_s: int) -> Iterator[range]:
    """Yield the ticks of each block up to now, which moves on meanwhile."""
    while (now_s := int(time.time())) - begin_s > LAST_GAP_S:
        end_s = min(begin_s // BLOCK_S * BLOCK_S + BLOCK_S, now_s // INTERVAL_S * INTERVAL_S)
        yield range(begin_s, end_s, INTERVAL_S)
        begin_s = end_s


class Filler:
    """Makes snapshots of a proxy's ticks: of each from `fine_from_s` on, of a minute before it."""

    def __init__(self, proxy: Proxy, fine_from_s: int) -> None:
        self._fine_from_s = fine_from_s // MINUTE_S * MINUTE_S
        self._series = [
            (place, Series(named.text({}).encode(), slot))
            for place, named in enumerate(proxy.series)
            if (slot := resolve_series(named.name, named.labels))
        ]
        self._states = {
            "metrics_1m": (TargetState(), VariantState(proxy.variant, MINUTE_S, MINUTE_S)),
            "metrics_5s": (TargetState(), VariantState(proxy.variant, INTERVAL_S, MINUTE_S)),
        }
        self._snapshots: dict[str, list[Snapshot]] = {table: [] for table in self._states}

    def add(self, times: Sequence[int], rows: Sequence[Tick]) -> None:
        for at_s, row in zip(times, rows, strict=True):
            if at_s >= self._fine_from_s:
                self._read("metrics_5s", at_s, at_s, row)
            elif at_s % MINUTE_S == LAST_TICK_S:
                self._read("metrics_1m", at_s - LAST_TICK_S, at_s, row)

    def _read(self, table: str, ts_s: int, at_s: int, row: Tick) -> None:
        target, variant = self._states[table]
        samples: list[Sample] = [(series, row[place]) for place, series in self._series]
        reading = target.read(samples, at_s)
        self._snapshots[table].append(variant.snapshot(ts_s * 1000, [reading]))

    def rows(self, table: str) -> Iterator[Sequence[Any]]:
        return (snapshot.row() for snapshot in self._snapshots[table])


def openmetrics(
    series: Sequence[Named],
    extra: Mapping[str, str],
    times: Sequence[int],
    columns: Sequence[Sequence[float]],
) -> Iterator[str]:
    """Yield the lines of each series in turn, in one text."""
    ends = [f" {at_s}\n" for at_s in times]
    for named, values in zip(series, columns, strict=True):
        begin = named.text(extra) + " "
        yield "".join([f"{begin}{value!r}{end}" for value, end in zip(values, ends, strict=True)])


def json_lines(
    series: Sequence[Named],
    extra: Mapping[str, str],
    times: Sequence[int],
    columns: Sequence[Sequence[float]],
) -> Iterator[bytes]:
    """Yield a line for each series, as `/api/v1/import` takes it."""
    stamps = json.dumps([1000 * at_s for at_s in times])
    for named, values in zip(series, columns, strict=True):
        metric = json.dumps({"__name__": named.name, **named.labels, **extra})
        yield (
            f'{{"metric":{metric},"values":{json.dumps(values)},"timestamps":{stamps}}}\n'
        ).encode()


def import_json(url: str, lines: Iterator[bytes]) -> None:
    """Send lines to a VictoriaMetrics, chunk by chunk."""
    address = urlsplit(url).netloc
    connection = http.client.HTTPConnection(address, timeout=IMPORT_TIMEOUT_S)
    try:
        connection.request("POST", "/api/v1/import", body=lines, encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        reply = connection.getresponse()
        body = reply.read()
        assert reply.status == 204, f"/api/v1/import: {reply.status} {body!r}"
    finally:
        connection.close()


def create_blocks(text: Path, blocks: Path) -> None:
    """Turn OpenMetrics text into blocks of Prometheus, and delete the text."""
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet",
               f"--max-block-duration={BLOCK_S // 3_600}h", str(text), str(blocks)]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PROMTOOL_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout} {done.stderr}"
    text.unlink()
