"""A database of full size for `bench_history.py`: what a busy zai-proxy leaves behind in a week.

The values are made up, yet as wide as real ones: totals that have grown for weeks, rates that are a
count divided by 5.0003 s and so fill twelve digits, five status codes, nine latency buckets.
"""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from common import ROOT  # noqa: F401  (the path to what follows)

from zaidash import FIELDS, Config, Snapshot, Store

DAY_S = 86_400
FINE_S = 5
MINUTE_S = 60
WEEK_DAYS = 7
VARIANTS = {"production": 20.0, "canary": 4.0}  # requests/s on average

_COLUMNS = ("variant", "ts", *(field.name for field in FIELDS))
_INSERT = "INSERT INTO {table} ({columns}) VALUES ({marks})"

#: Share of the requests by latency bucket, a log-normal around 1.2 s.
_BUCKET_SHARES = {
    "0.1": 0.01, "0.25": 0.03, "0.5": 0.10, "1": 0.27, "2.5": 0.36,
    "5": 0.15, "10": 0.06, "30": 0.015, "60": 0.005,
}  # fmt: skip
_CODE_SHARES = {"200": 0.955, "400": 0.008, "429": 0.03, "500": 0.002, "502": 0.005}


class Traffic:
    """One variant's requests, moment by moment."""

    def __init__(self, variant: str, rate: float) -> None:
        self.variant = variant
        self._rate = rate
        self._rng = random.Random(variant)
        self._totals = dict.fromkeys((*_CODE_SHARES, "in", "out", "read", "write"), 40_000_000)

    def snapshot(self, at_s: int, step_s: int) -> Snapshot:
        """Return what happened in the `step_s` before `at_s`."""
        rng = self._rng
        elapsed_s = step_s + rng.uniform(-0.004, 0.004)
        wave = 1 + 0.6 * math.sin(at_s / DAY_S * math.tau)
        requests = max(0.0, rng.gauss(self._rate * wave * step_s, math.sqrt(self._rate * step_s)))
        codes = {code: round(requests * share * rng.uniform(0.5, 1.5))
                 for code, share in _CODE_SHARES.items()}  # fmt: skip
        served = sum(codes.values())
        grown = {
            **codes,
            "in": served * rng.randrange(700, 1_100),
            "out": served * rng.randrange(300, 500),
            "read": served * rng.randrange(4_000, 6_000),
            "write": served * rng.randrange(400, 700),
        }
        for name, count in grown.items():
            self._totals[name] += count
        values = self._values(grown, served, elapsed_s)
        return Snapshot.build(at_s * 1000, self.variant, [values[field.name] for field in FIELDS])

    def _values(self, grown: dict[str, int], served: int, elapsed_s: float) -> dict[str, Any]:
        rng, totals = self._rng, self._totals
        errors = grown["500"] + grown["502"]
        buckets = {le: round(served * share * rng.uniform(0.7, 1.3))
                   for le, share in _BUCKET_SHARES.items()}  # fmt: skip
        busy = round(served / elapsed_s * rng.uniform(1.2, 1.9))
        return {
            "elapsed_s": elapsed_s,
            "requests_2xx": totals["200"],
            "requests_4xx": totals["400"] + totals["429"],
            "requests_5xx": totals["500"] + totals["502"],
            "tokens_input": totals["in"],
            "tokens_output": totals["out"],
            "tokens_cache_read": totals["read"],
            "tokens_cache_write": totals["write"],
            "rate_limit_rejections": totals["429"],
            "rate_limit_adj_increase": totals["400"] // 9,
            "rate_limit_adj_decrease": totals["429"] // 7,
            "upstream_errors": totals["502"],
            "retry_attempts": totals["502"] + totals["500"],
            "concurrent_requests": busy,
            "max_workers": 300,
            "worker_utilization": busy / 300,
            "rate_limit_rps": 60.0,
            "req_rate": served / elapsed_s,
            "token_rate_in": grown["in"] / elapsed_s,
            "token_rate_out": grown["out"] / elapsed_s,
            "token_rate_cache_read": grown["read"] / elapsed_s,
            "token_rate_cache_write": grown["write"] / elapsed_s,
            "rate_limit_rejection_rate": grown["429"] / elapsed_s,
            "rate_limit_adj_increase_rate": grown["400"] / 9 / elapsed_s,
            "rate_limit_adj_decrease_rate": grown["429"] / 7 / elapsed_s,
            "upstream_error_rate": grown["502"] / elapsed_s,
            "retry_rate": (grown["502"] + grown["500"]) / elapsed_s,
            "status_code_rates": {code: grown[code] / elapsed_s for code in _CODE_SHARES},
            "error_rate_pct": 100 * errors / max(served, 1),
            "latency_p50": 1_200 * rng.uniform(0.8, 1.2),
            "latency_p95": 6_000 * rng.uniform(0.8, 1.2),
            "latency_p99": 15_000 * rng.uniform(0.8, 1.2),
            "request_size_avg": 14_000 * rng.uniform(0.8, 1.2),
            "response_size_avg": 5_600 * rng.uniform(0.8, 1.2),
            "latency_buckets": {**{le: n for le, n in buckets.items() if n}, "+Inf": 0},
        }


class Sizes(NamedTuple):
    """Rows in the finished database, and what its last day takes of the file."""

    fine_rows: int
    minute_rows: int
    day_bytes: int


def build_database(config: Config, now_s: float) -> Sizes:
    """Fill the file that `config` names: a week of minutes and a day of 5 s rows, up to now.

    zaidash creates the tables. The rows go in tick by tick, as they would in a real week, so the
    file is laid out like a real one.
    """
    store = Store(config)
    store.open()
    store.close()
    fine_end_s = int(now_s) // FINE_S * FINE_S
    minute_end_s = int(now_s) // MINUTE_S * MINUTE_S - MINUTE_S
    traffic = [Traffic(variant, rate) for variant, rate in VARIANTS.items()]
    begin_s, last_day_s = minute_end_s - WEEK_DAYS * DAY_S, minute_end_s - DAY_S
    with sqlite3.connect(config.db_path) as database:
        minutes = _insert(database, "metrics_1m", _rows(traffic, begin_s, last_day_s, MINUTE_S))
        before_bytes = _checkpointed_size(database, config.db_path)
        fine = _insert(database, "metrics_5s",
                       _rows(traffic, fine_end_s - DAY_S, fine_end_s, FINE_S))  # fmt: skip
        minutes += _insert(
            database, "metrics_1m", _rows(traffic, last_day_s, minute_end_s, MINUTE_S)
        )
        after_bytes = _checkpointed_size(database, config.db_path)
    database.close()
    return Sizes(fine, minutes, after_bytes - before_bytes)


def _rows(traffic: list[Traffic], begin_s: int, end_s: int, step_s: int) -> Iterator[Any]:
    for at_s in range(begin_s + step_s, end_s + step_s, step_s):
        for one in traffic:
            yield one.snapshot(at_s, step_s).row()


def _insert(database: sqlite3.Connection, table: str, rows: Iterable[Any]) -> int:
    marks = ", ".join("?" * len(_COLUMNS))
    statement = _INSERT.format(table=table, columns=", ".join(_COLUMNS), marks=marks)
    count = database.executemany(statement, rows).rowcount
    database.commit()
    return count


def _checkpointed_size(database: sqlite3.Connection, path: Path) -> int:
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path.stat().st_size
