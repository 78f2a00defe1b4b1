"""What `agree.py` knows better than both programs: the truth, and what each must make of it.

From the ledgers of `agree_proxy.py` this works out, for any window, the true numbers, and two
predictions with known flaws: what Prometheus must say, given the moments of its scrapes and the
formula of its `rate`, and what zaidash must say, given its own. Flaws are switched off one by one,
so a difference falls into its causes. Nothing here is shared with `zaidash.py`.

A window (begin, end] is open at its begin, as counters are: what happens at the moment of a scrape
is in it. Times are seconds since the epoch.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

import common  # noqa: F401  (the path to what follows)
from fake_proxy import DURATION_BUCKETS_S, TOKEN_DIRECTIONS

BOUNDS_S = (*DURATION_BUCKETS_S, math.inf)

#: A series as it is exported: measure, key, and the upper bound of a bucket.
Series = tuple[str, str, float]

#: Increases by measure and key: ("requests", "200"), ("tokens", "input"), ("latency", "0.5") ...
Totals = Mapping[tuple[str, str], float]

SIZES = ("request_size", "response_size")

#: Numbers by quantity; None where there is nothing to say.
Answers = dict[str, float | None]


# --------------------------------------------------------------------------------------
# What happened to one replica
# --------------------------------------------------------------------------------------


class Track:
    """Amounts at moments, in order, and their sum up to any moment."""

    __slots__ = ("_sums", "_times")

    def __init__(self) -> None:
        self._times = array("d")
        self._sums = array("d")

    def add(self, at_s: float, amount: float) -> None:
        self._times.append(at_s)
        self._sums.append(amount + (self._sums[-1] if self._sums else 0))

    def total(self, at_s: float) -> float:
        index = bisect_right(self._times, at_s)
        return self._sums[index - 1] if index else 0.0

    def has_any(self, after_s: float, until_s: float) -> bool:
        return bisect_right(self._times, after_s) < bisect_right(self._times, until_s)


@dataclass(eq=False)
class Replica:
    """The ledger of one proxy."""

    tracks: dict[tuple[str, str, int], Track] = field(default_factory=lambda: defaultdict(Track))
    restarts: list[float] = field(default_factory=list)
    #: Answered scrapes by who asked.
    scrapes: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    events: int = 0

    @classmethod
    def read(cls, path: Path) -> Replica:
        replica = cls()
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                what, at, *rest = line.split(" ")
                if what == "request":
                    replica._add_request(float(at), *map(float, rest))
                elif what == "restart":
                    replica.restarts.append(float(at))
                else:
                    replica.scrapes[rest[0].strip()].append(float(at))
        return replica

    def _add_request(
        self, at_s: float, code: float, seconds: float, sent: float, got: float, *tokens: float
    ) -> None:
        name = f"{code:.0f}"
        self.events += 1
        self.tracks["requests", name, 0].add(at_s, 1)
        self.tracks["latency", name, bisect_left(BOUNDS_S, seconds)].add(at_s, 1)
        for measure, size in zip(SIZES, (sent, got), strict=True):
            self.tracks[f"{measure}_sum", "", 0].add(at_s, size)
            self.tracks[f"{measure}_count", "", 0].add(at_s, 1)
        for direction, count in zip(TOKEN_DIRECTIONS, tokens, strict=True):
            if count:
                self.tracks["tokens", direction, 0].add(at_s, count)

    def exposition(
        self, at_s: float, *, is_immortal: bool = False, has_every_series: bool = False
    ) -> dict[Series, float]:
        """Return every series at a moment; an immortal replica never lost its counts."""
        index = 0 if is_immortal else bisect_right(self.restarts, at_s)
        since_s = self.restarts[index - 1] if index else -math.inf
        values: dict[Series, float] = {}
        buckets: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(BOUNDS_S))
        for (measure, key, bucket), track in self.tracks.items():
            value = track.total(at_s) - (track.total(since_s) if index else 0.0)
            if measure == "latency":
                buckets[key][bucket] = value
            elif value or has_every_series:
                values[measure, key, 0.0] = value
        for key, counts in buckets.items():
            if any(counts) or has_every_series:
                for bound, count in zip(BOUNDS_S, accumulate(counts), strict=True):
                    values["latency", key, bound] = count
        return values


def increases(before: Mapping[Series, float], after: Mapping[Series, float]) -> Totals:
    """Return what a series grew by from one exposition to the next one of the same process."""
    found: dict[tuple[str, str], float] = defaultdict(float)
    for series, value in after.items():
        found[_slot(series)] += value - before.get(series, 0.0)
    return found


def _slot(series: Series) -> tuple[str, str]:
    """Return where a series is counted: buckets of all status codes together, by bound."""
    measure, key, bound = series
    return (measure, repr(bound)) if measure == "latency" else (measure, key)


def _add(sums: Counter[tuple[str, str]], more: Totals, weight: float = 1.0) -> None:
    for slot, value in more.items():
        sums[slot] += value * weight  # type: ignore[assignment]  # typeshed: ints alone


# --------------------------------------------------------------------------------------
# From increases to what is shown
# --------------------------------------------------------------------------------------

QUANTILES = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}


def answers(totals: Totals, seconds: float) -> Answers:
    """Return every quantity for increases over so many seconds."""
    found: Answers = {}
    codes = {key: n for (measure, key), n in totals.items() if measure == "requests"}
    everything = sum(codes.values())
    found["req_rate"] = everything / seconds
    for name, direction in TOKEN_RATES.items():
        found[name] = totals.get(("tokens", direction), 0.0) / seconds
    errors = sum(n for code, n in codes.items() if code[0] == "5")
    found["error_rate_pct"] = 100 * errors / everything if everything > 0 else None
    buckets = sorted((float(le), n) for (measure, le), n in totals.items() if measure == "latency")
    for name, q in QUANTILES.items():
        value = interpolate(q, buckets)
        found[name] = None if value is None else 1000 * value
    for measure in SIZES:
        count = totals.get((f"{measure}_count", ""), 0.0)
        total = totals.get((f"{measure}_sum", ""), 0.0)
        found[f"{measure}_avg"] = total / count if count > 0 else None
    return found


TOKEN_RATES = {
    "token_rate_in": "input",
    "token_rate_out": "output",
    "token_rate_cache_read": "cache_read",
    "token_rate_cache_write": "cache_write",
}


def interpolate(q: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """Return a quantile of cumulative buckets, with requests spread evenly inside each."""
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = q * buckets[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in buckets:
        if count >= rank and count > below:
            share = (rank - below) / (count - below)
            return lower if math.isinf(upper) else lower + (upper - lower) * share
        lower, below = upper, max(count, below)
    return lower


# --------------------------------------------------------------------------------------
# The truth, and the two predictions
# --------------------------------------------------------------------------------------


class Window(NamedTuple):
    """(begin, end], seconds since the epoch."""

    begin_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s


class Flaws(NamedTuple):
    """What a scraper suffers from. Without them all, only the moments of its scrapes are left."""

    new_series: bool = True  # the first sample of a series counts for nothing
    restarts: bool = True  # what was counted after the last scrape of a process is lost
    missed_scrapes: bool = True  # there is no sample while a target fails


#: In this order they are taken away, and each takes its part of the difference with it.
FLAWS = {
    "new series": Flaws(new_series=False),
    "restart": Flaws(new_series=False, restarts=False),
    "failed scrape": Flaws(new_series=False, restarts=False, missed_scrapes=False),
}


def truth(replicas: Iterable[Replica], window: Window) -> Totals:
    """Return what really happened within a window."""
    totals: Counter[tuple[str, str]] = Counter()
    for replica in replicas:
        before, after = (replica.exposition(at_s, is_immortal=True) for at_s in window)
        _add(totals, increases(before, after))
    return totals


def fill_gaps(times: Sequence[float], interval_s: float) -> list[float]:
    """Return the moments of scrapes with those that failed."""
    filled: list[float] = []
    for before, after in pairwise(times):
        missing = round((after - before) / interval_s) - 1
        filled += [before, *(before + interval_s * (n + 1) for n in range(missing))]
    return filled + list(times[-1:])


def predict_prometheus(
    replicas: Mapping[Replica, Sequence[float]],
    window: Window,
    interval_s: float,
    flaws: Flaws = Flaws(),  # noqa: B008  (immutable)
) -> Totals:
    """Return the `increase` over a window by a Prometheus whose scrapes were at these moments."""
    totals: Counter[tuple[str, str]] = Counter()
    for replica, scrapes in replicas.items():
        times = scrapes if flaws.missed_scrapes else fill_gaps(scrapes, interval_s)
        samples: dict[Series, list[tuple[float, float]]] = defaultdict(list)
        for at_s in times:
            exposed = replica.exposition(
                at_s, is_immortal=not flaws.restarts, has_every_series=not flaws.new_series
            )
            for series, value in exposed.items():
                samples[series].append((at_s, value))
        for series, points in samples.items():
            totals[_slot(series)] += extrapolated_increase(points, window)  # type: ignore[assignment]
    return totals


def extrapolated_increase(points: Sequence[tuple[float, float]], window: Window) -> float:
    """Return the increase as Prometheus computes it; 0 where it has no answer.

    extrapolatedRate in https://github.com/prometheus/prometheus/blob/v2.42.0/promql/functions.go
    """
    if len(points) < 2:
        return 0.0
    (first_s, first), (last_s, last) = points[0], points[-1]
    increase = last - first + sum(a for (_, a), (_, b) in pairwise(points) if b < a)
    sampled_s = last_s - first_s
    interval_s = sampled_s / (len(points) - 1)
    to_begin_s = first_s - window.begin_s
    if increase > 0:  # a counter is not extrapolated to less than 0
        to_begin_s = min(to_begin_s, sampled_s * first / increase)
    covered_s = sampled_s
    for border_s in (to_begin_s, window.end_s - last_s):
        covered_s += border_s if border_s < 1.1 * interval_s else interval_s / 2
    return increase * covered_s / sampled_s


def predict_zaidash(
    replicas: Mapping[Replica, Sequence[float]],
    window: Window,
    interval_s: float,
    flaws: Flaws = Flaws(),  # noqa: B008  (immutable)
) -> tuple[Totals, Totals]:
    """Return what zaidash counts in a window, in two ways.

    The increases: percentiles, sizes, the error rate of a snapshot, and `/api/summary`, where a
    rate times the time it covers is the increase it was made from. And what the rates come to,
    averaged by the time they cover, times the window (`/api/metrics`). Its first scrapes lie before
    every window.
    """
    counted, averaged = Counter(), Counter()  # type: ignore[var-annotated]
    ticks: set[int] = set()
    for replica, scrapes in replicas.items():
        times = scrapes if flaws.missed_scrapes else fill_gaps(scrapes, interval_s)
        before_s: float | None = None
        for at_s in times:
            tick = math.floor(at_s / interval_s + 0.001)
            ticks.add(tick)
            if before_s is not None and window.begin_s < tick * interval_s <= window.end_s:
                _add(counted, _grown(replica, before_s, at_s, is_immortal=not flaws.restarts))
            before_s = at_s
    # An outage over the border of the window belongs to the snapshot after it.
    first, last = (
        max(tick for tick in ticks if tick * interval_s <= border_s)
        for border_s in (window.begin_s, window.end_s)
    )
    if last > first:
        _add(averaged, counted, window.seconds / interval_s / (last - first))
    return counted, averaged


def _grown(replica: Replica, before_s: float, at_s: float, *, is_immortal: bool) -> Totals:
    """Return what zaidash takes for the increase between two scrapes: after a restart, from 0."""
    after = replica.exposition(at_s, is_immortal=is_immortal)
    is_new = not is_immortal and any(before_s < r <= at_s for r in replica.restarts)
    return increases({} if is_new else replica.exposition(before_s, is_immortal=is_immortal), after)
