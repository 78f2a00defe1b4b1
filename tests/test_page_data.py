"""The page's data, end to end: what is drawn is what the API says, live and after every failure.

A real Chromium shows a real zaidash process that scrapes fake proxies. Numbers are read where a
user reads them: off the tiles, off the table, and out of the CSV file behind every chart. Where a
line must not be, the pixels of the canvas are counted.
"""

from __future__ import annotations

import json
import math
import random
import re
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from browser import (
    CHART_FIELDS,
    SERVER_GONE,
    Dashboard,
    Obstacle,
    OpenPage,
    Table,
    TimedOut,
    expect,
)
from fake_proxy import FakeProxy, generate_traffic
from support import Zaidash, eventually, free_port, run_zaidash

from zaidash import FIELDS, Snapshot, Store, load_config

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Request, Route

pytest_plugins = ["browser"]

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000

VARIANTS = ("production", "canary")

#: Rows further apart than this many ticks have an outage between them.
GAP_TICKS = 2.5

Row = dict[str, Any]
Column = dict[int, float | None]  # a value by time in ms


def now_ms() -> int:
    return round(time.time() * 1000)


# --------------------------------------------------------------------------------------
# A past: what happened before zaidash was started, and what was counted then
# --------------------------------------------------------------------------------------

#: Rows every 10 s for the first part of the past, and one every second for the last 70 minutes.
COARSE_MS = 10 * SECOND_MS
COARSE_FROM_MS = 8 * HOUR_MS
FINE_FROM_MS = 70 * MINUTE_MS

#: A live chart's window moves on by so much at once, and is ahead of the time by less.
LONGEST_REST_MS = 10_000

CODES = ("200", "404", "429", "500", "529")
BUCKETS = ("0.25", "0.5", "1", "2.5", "10", "+Inf")


class Span(NamedTuple):
    start: int  # ms
    end: int


class Past(NamedTuple):
    """A zaidash with eight hours of history, and what is special about some of them."""

    zaidash: Zaidash
    start: int  # ms, of the first row
    end: int  # ms; all rows before it are made up
    outage: Span  # no row in it
    blink: int  # the time of a single row that is missing
    no_latency: Span  # rows without any percentile
    no_p50: Span  # rows without the median alone
    requests: Mapping[tuple[str, int], int]  # really made, by variant and minute


class History:
    """Makes up the snapshots of one variant. Every rate is what the totals grow by."""

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self._rng = random.Random(variant)
        self._totals: defaultdict[str, int] = defaultdict(int)

    def snapshot(self, ts_ms: int, elapsed_ms: int, **changes: Any) -> tuple[Snapshot, int]:
        """Return the snapshot and the number of its requests."""
        rng, elapsed_s = self._rng, elapsed_ms / 1000
        codes = dict(zip(CODES, (rng.randint(5, 40), *rng.choices((0, 0, 1, 2), k=4)), strict=True))
        counts = {
            "requests_2xx": codes["200"],
            "requests_4xx": codes["404"] + codes["429"],
            "requests_5xx": codes["500"] + codes["529"],
            "tokens_input": rng.randint(1_000, 90_000),
            "tokens_output": rng.randint(500, 20_000),
            "tokens_cache_read": rng.randint(0, 50_000),
            "tokens_cache_write": rng.randint(0, 5_000),
            **{name: rng.choice((0, 0, 0, 1, 2)) for name in EVENTS},
        }
        for name, count in counts.items():
            self._totals[name] += count
        values: Row = {
            **self._totals,
            "elapsed_s": elapsed_s,
            "concurrent_requests": rng.randint(0, 50),
            "max_workers": 50,
            "worker_utilization": rng.random(),
            "rate_limit_rps": rng.randint(80, 120),
            "req_rate": sum(codes.values()) / elapsed_s,
            "token_rate_in": counts["tokens_input"] / elapsed_s,
            "token_rate_out": counts["tokens_output"] / elapsed_s,
            "token_rate_cache_read": counts["tokens_cache_read"] / elapsed_s,
            "token_rate_cache_write": counts["tokens_cache_write"] / elapsed_s,
            **{rate: counts[name] / elapsed_s for name, rate in EVENTS.items()},
            "status_code_rates": {code: n / elapsed_s for code, n in codes.items() if n},
            "error_rate_pct": rng.uniform(0, 6),
            "latency_p50": rng.uniform(100, 900),
            "latency_p95": rng.uniform(900, 4_000),
            "latency_p99": rng.uniform(4_000, 20_000),
            "request_size_avg": rng.uniform(500, 9_000),
            "response_size_avg": rng.uniform(500, 90_000),
            "latency_buckets": {le: rng.randint(1, 20) for le in BUCKETS if rng.random() < 0.8},
            **changes,
        }
        made = Snapshot.build(ts_ms, self.variant, [values.get(field.name) for field in FIELDS])
        return made, sum(codes.values())


#: Totals of events, and the rate that each of them has in a snapshot.
EVENTS = {
    "rate_limit_rejections": "rate_limit_rejection_rate",
    "rate_limit_adj_increase": "rate_limit_adj_increase_rate",
    "rate_limit_adj_decrease": "rate_limit_adj_decrease_rate",
    "upstream_errors": "upstream_error_rate",
    "retry_attempts": "retry_rate",
}


@contextmanager
def traffic(*proxies: FakeProxy, every_s: float = 0.05) -> Iterator[None]:
    """Let requests go through proxies all the time, never the same number in two ticks."""
    stop = threading.Event()

    def make() -> None:
        rng = random.Random(11)
        while not stop.wait(every_s):
            for proxy in proxies:
                generate_traffic(proxy, rng, rng.randint(0, 6), error_share=0.05)
                proxy.set_gauges(concurrent=rng.randint(0, 50), utilization=rng.random())

    thread = threading.Thread(target=make, name="traffic")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(scope="module")
def past(
    chromium: Browser,  # asked for first: without it there is nothing to be done here
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Past]:
    """A zaidash that scrapes two variants every second and has a past. Tests only look at it."""
    path = tmp_path_factory.mktemp("past") / "zaidash.db"
    end = now_ms() // MINUTE_MS * MINUTE_MS
    start = end - COARSE_FROM_MS
    outage = Span(end - 40 * MINUTE_MS, end - 38 * MINUTE_MS)
    no_latency = Span(end - 30 * MINUTE_MS, end - 29 * MINUTE_MS)
    no_p50 = Span(end - 25 * MINUTE_MS, end - 24 * MINUTE_MS)
    blink = end - 20 * MINUTE_MS
    requests: defaultdict[tuple[str, int], int] = defaultdict(int)

    def rows() -> Iterator[tuple[Any, ...]]:
        fine = end - FINE_FROM_MS
        histories = [History(variant) for variant in VARIANTS]
        times = [(ts, COARSE_MS) for ts in range(start, fine, COARSE_MS)]
        times += [(ts, SECOND_MS) for ts in range(fine, end, SECOND_MS)]
        for ts, elapsed in times:
            if outage.start < ts < outage.end or ts == blink:
                continue
            changes: Row = {}
            if no_latency.start <= ts < no_latency.end:
                changes = dict.fromkeys(("latency_p50", "latency_p95", "latency_p99"))
            if no_p50.start <= ts < no_p50.end:
                changes = {"latency_p50": None}
            for history in histories:
                made, count = history.snapshot(ts, elapsed, **changes)
                requests[made.variant, ts // MINUTE_MS * MINUTE_MS] += count
                yield made.row()

    store = Store(load_config(["--db-path", str(path)], {})[0])
    store.open()
    store.fill(rows())
    store.close()
    with FakeProxy("production") as production, FakeProxy("canary") as canary:
        env = {
            "DB_PATH": str(path),
            "SCRAPE_TARGETS": f"production={production.url},canary={canary.url}",
            "SCRAPE_INTERVAL": "1s",
        }
        with traffic(production, canary), run_zaidash(env=env) as zaidash:
            wait_ready(zaidash)
            yield Past(zaidash, start, end, outage, blink, no_latency, no_p50, requests)


@contextmanager
def quick(*proxies: FakeProxy, tick: str = "500ms", **env: str) -> Iterator[Zaidash]:
    """A zaidash with short ticks that scrapes proxies under their variants' names.

    With ticks of 500 ms, five minutes have as many rows as their chart has pixels: none of them
    is an average.
    """
    targets = ",".join(f"{proxy.variant}={proxy.url}" for proxy in proxies)
    with run_zaidash(env={"SCRAPE_TARGETS": targets, "SCRAPE_INTERVAL": tick, **env}) as zaidash:
        wait_ready(zaidash)
        yield zaidash


def wait_ready(zaidash: Zaidash) -> None:
    eventually(lambda: zaidash.get("/readyz").status == 200, what="/readyz to say ready")


# --------------------------------------------------------------------------------------
# What the API says
# --------------------------------------------------------------------------------------


def snapshots(zaidash: Zaidash, variant: str, span: Span) -> list[Row]:
    """All snapshots of a time, as they are: a question for more than an hour gets minutes."""
    found: list[Row] = []
    for start in range(span.start, span.end + 1, HOUR_MS // 2):
        end = min(start + HOUR_MS // 2 - 1, span.end)
        found += zaidash.json(f"/api/metrics?start={start}&end={end}&variant={variant}")
    return found


def minutes(zaidash: Zaidash, variant: str, span: Span) -> list[Row]:
    """All minutes of a time longer than an hour."""
    assert span.end - span.start > HOUR_MS
    found: list[Row] = zaidash.json(
        f"/api/metrics?start={span.start}&end={span.end}&variant={variant}"
    )
    return found


def newest(zaidash: Zaidash) -> dict[str, Row]:
    """The newest snapshot of every variant."""
    return {row["variant"]: row for row in zaidash.json("/api/metrics?range=10s")}


def ticks(zaidash: Zaidash, window: str = "5m") -> list[int]:
    rows = zaidash.json(f"/api/metrics?range={window}&variant=production&fields=req_rate")
    return [row["timestamp"] for row in rows]


def newest_tick(zaidash: Zaidash) -> int:
    """The time of the newest snapshot of the last minute, 0 where there is none."""
    return max(ticks(zaidash, "1m"), default=0)


def bins(rows: Iterable[Row], step_ms: int) -> dict[int, Row]:
    """Rows averaged in bins of some width, as the service has it for minutes."""
    grouped: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["timestamp"] // step_ms * step_ms].append(row)
    return {start: average(group) for start, group in grouped.items()}


def average(rows: Sequence[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    result: Row = {}
    for name in (field.name for field in FIELDS):
        is_rate = name.endswith(("_rate", "_rates")) or name.startswith("token_rate_")
        known = [
            (row[name], row["elapsed_s"] if is_rate else 1) for row in rows if row[name] is not None
        ]
        is_sum = name in ("elapsed_s", "latency_buckets")
        divisor = 1 if is_sum else math.fsum(weight for _, weight in known)
        if not known:
            result[name] = None
        elif name in ("status_code_rates", "latency_buckets"):
            keys = {key for one, _ in known for key in one}
            sums = {key: math.fsum(one.get(key, 0) * w for one, w in known) for key in keys}
            result[name] = {key: total / divisor for key, total in sums.items()}
        else:
            result[name] = math.fsum(value * weight for value, weight in known) / divisor
    return result


# --------------------------------------------------------------------------------------
# What the page says
# --------------------------------------------------------------------------------------

#: What one of a unit comes to in the API's units. A share from 0 to 1 is told in %.
UNITS = {
    None: 1.0,
    "s": 1000.0,  # ms
    "ms": 1.0,
    "%": 1.0,
    "B": 1.0,
    "KiB": 1024.0,
    "MiB": 1024.0**2,
}
SCALES = {None: 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
NUMBER = re.compile(
    r"([-\N{MINUS SIGN}]?\d+(?:\.\d+)?)([kMG])?(?:/s|/min)?(?: (ms|s|%|B|KiB|MiB))?"
)

DASH = "\N{EN DASH}"


def number_of(text: str) -> float | None:
    """A number as the page writes it, in the unit of the API; None for a dash."""
    if text.strip() == DASH:
        return None
    match = NUMBER.fullmatch(text.strip())
    assert match, f"{text!r} is no number"
    digits, scale, unit = match.groups()
    return float(digits.replace("\N{MINUS SIGN}", "-")) * SCALES[scale] * UNITS[unit]


def shows(text: str, value: float | None) -> bool:
    """Whether a text is that number, to three significant digits."""
    shown = number_of(text)
    if shown is None or value is None:
        return shown is value
    return math.isclose(shown, value, rel_tol=0.0051, abs_tol=0.0005)


def time_of(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def cells(table: Table) -> dict[str, Column]:
    """The columns of a chart's file: numbers by time, None where a field is empty."""
    times = [time_of(text) for text in table.column("time")]
    assert times == sorted(set(times)), "rows are double or out of order"
    return {
        name: dict(zip(times, map(parse_cell, table.column(name)), strict=True))
        for name in table.header[1:]
    }


def parse_cell(text: str) -> float | None:
    return float(text) if text else None


def times_in(dash: Dashboard, panel: str = "concurrency") -> list[int]:
    """The times of a chart's rows. The gauges of this panel are in every snapshot."""
    return [time_of(text) for text in dash.table(panel).column("time")]


#: Counts the columns of a chart's plot in which something is drawn in a colour: the grid is grey.
#: The copy is there since reading a chart's own canvas would slow it down, of which Chromium warns.
COUNT_COLOURED = """(panel, [from, to]) => {
    const canvas = panel.querySelector("canvas");
    const plot = panel.querySelector(".u-over").getBoundingClientRect();
    const box = canvas.getBoundingClientRect();
    const [across, down] = [canvas.width / box.width, canvas.height / box.height];
    const left = Math.ceil((plot.left - box.left + from * plot.width) * across);
    const right = Math.floor((plot.left - box.left + to * plot.width) * across);
    const [top, height] = [Math.round((plot.top - box.top) * down), Math.round(plot.height * down)];
    const width = right - left;
    if (width < 1) return -1;
    const copy = new OffscreenCanvas(width, height);
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, left, top, width, height, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const columns = new Set();
    for (let i = 0; i < data.length; i += 4) {
        const [r, g, b, a] = data.slice(i, i + 4);
        if (a > 60 && Math.max(r, g, b) - Math.min(r, g, b) > 60) columns.add((i / 4) % width);
    }
    return columns.size / width;
}"""


#: Resolves after so many frames.
FRAMES = """async (count) => {
  for (let i = 0; i < count; i += 1) await new Promise(requestAnimationFrame);
}"""


def coloured(dash: Dashboard, panel: str, part: Span, window: Span) -> float:
    """The share of a part of a chart, in time, in which there is a line or a point."""
    length = window.end - window.start
    place = [(part.start - window.start) / length, (part.end - window.start) / length]
    # A chart out of sight is drawn when it comes into it: that takes a frame or two.
    dash.panel(panel).scroll_into_view_if_needed()
    dash.page.evaluate(FRAMES, 6)
    share: float = dash.panel(panel).evaluate(COUNT_COLOURED, place)
    assert share >= 0, "this part is narrower than a pixel"
    return share


# --------------------------------------------------------------------------------------
# Tiles
# --------------------------------------------------------------------------------------


def cache_hits_pct(row: Row) -> float | None:
    everything = sum(row[f"token_rate_{name}"] or 0 for name in ("in", "cache_read", "cache_write"))
    return 100 * row["token_rate_cache_read"] / everything if everything else None


def percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


#: What stands in each tile: what a value begins with, and what it has to be.
TILES: dict[str, list[tuple[str, Callable[[Row], float | None]]]] = {
    "requests": [("", lambda row: row["req_rate"])],
    "errors": [("", lambda row: row["error_rate_pct"])],
    "latency": [
        ("p50", lambda row: row["latency_p50"]),
        ("p95", lambda row: row["latency_p95"]),
        ("p99", lambda row: row["latency_p99"]),
    ],
    "tokens": [
        ("in", lambda row: row["token_rate_in"]),
        ("out", lambda row: row["token_rate_out"]),
    ],
    "cache": [("", cache_hits_pct)],
    "concurrency": [
        ("", lambda row: row["concurrent_requests"]),
        ("of", lambda row: row["max_workers"]),
        ("=", lambda row: percent(row["worker_utilization"])),
    ],
    "rate-limit": [("", lambda row: row["rate_limit_rps"])],
}

TileTexts = dict[tuple[str, str], list[str]]


def tile_texts(dash: Dashboard) -> TileTexts:
    """The lines of all tiles at one moment, by tile and variant."""
    found = dash.page.evaluate(
        """() => [...document.querySelectorAll("[data-tile] [data-variant]")].map((row) => [
            row.closest("[data-tile]").dataset.tile, row.dataset.variant, row.innerText])"""
    )
    return {
        (tile, variant): [line.strip() for line in text.splitlines() if line.strip()]
        for tile, variant, text in found
    }


def tile_values(lines: Sequence[str], labels: Iterable[str]) -> list[str]:
    """The values of a variant's lines in a tile, without their labels."""
    values = [line for line in lines if line not in VARIANTS]
    for value, label in zip(values, labels, strict=False):
        assert value.startswith(label), f"{label} is not where it should be in {lines}"
    return [value.removeprefix(label) for value, label in zip(values, labels, strict=False)]


def wrong_tiles(texts: TileTexts, readings: Mapping[str, Row]) -> list[str]:
    """What is on a tile and should not be, by what the numbers of each variant are."""
    wrong = []
    for tile, values in TILES.items():
        for variant, reading in readings.items():
            told = tile_values(texts[tile, variant], [label for label, _ in values])
            for text, (label, of) in zip(told, values, strict=True):
                if not shows(text, of(reading)):
                    wrong.append(f"{tile} {label} of {variant}: {text}, and not {of(reading)}")
    return wrong


def test_tiles_show_the_newest_snapshot_of_every_variant(open_page: OpenPage, past: Past) -> None:
    dash = open_page(past.zaidash, "?range=5m", before=make_hideable)
    dash.wait_drawn()
    compared: set[int] = set()
    wrong: list[str] = ["nothing was compared"]

    def compare() -> bool:
        """The newest snapshot is the one the page has heard of: the service may be further."""
        nonlocal wrong
        heard, texts = newest_heard(dash), tile_texts(dash)
        if newest_heard(dash) == heard:
            rows = past.zaidash.json(f"/api/metrics?start={heard}&end={heard}")
            readings = {row["variant"]: row for row in rows}
            wrong = wrong_tiles(texts, readings)
            if len(readings) == 2 and not wrong:
                compared.add(heard)
        return len(compared) >= 3

    with suppress(AssertionError):
        dash.wait_until(compare, "three snapshots in the tiles")
    assert len(compared) >= 3, wrong


def test_figures_beside_a_title_are_those_of_now_when_their_panel_comes_into_sight(
    open_page: OpenPage, past: Past
) -> None:
    """Out of sight they stand still. The page is paused, so no tick can bring them up to date."""
    dash = open_page(past.zaidash, "?range=5m")
    dash.wait_drawn()
    first_ms = newest_tick(past.zaidash)
    dash.panel("targets").scroll_into_view_if_needed()
    dash.wait_until(lambda: newest_tick(past.zaidash) > first_ms + 3_000, "some ticks")
    dash.page.keyboard.press("Space")
    dash.wait_connection("paused")
    dash.page.evaluate("() => scrollTo(0, 0)")
    in_tile = dash.page.locator("[data-tile=requests] .live-text")
    figures = dash.panel("requests").locator(".live-text")
    dash.wait_until(
        lambda: figures.all_inner_texts() == in_tile.all_inner_texts(), "the tile's figures"
    )
    expect(in_tile).to_have_count(2)


#: Tiles, and what "vs before" stands for: a change in %, or in percentage points.
CHANGES: list[tuple[str, str, Callable[[Row], float | None], bool]] = [
    ("requests", "", lambda row: row["req_rate"], False),
    ("errors", "", lambda row: row["error_rate_pct"], True),
    ("latency", "p95 ", lambda row: row["latency_p95"], False),
    ("tokens", "", lambda row: row["token_rate_in"] + row["token_rate_out"], False),
    ("cache", "", lambda row: percent(row["cache_hit_ratio"]), True),
    ("concurrency", "", lambda row: row["concurrent_requests"], False),
    ("rate-limit", "", lambda row: row["rate_limit_rps"], False),
]


def change_of(text: str) -> float:
    """A change as the page writes it: in %, or in points."""
    text = text.replace("\N{MINUS SIGN}", "-").replace("\N{PLUS-MINUS SIGN}", "")
    if text.startswith("\N{MULTIPLICATION SIGN}"):
        return 100 * (float(text[1:]) - 1)
    return float(text.removesuffix(" %").removesuffix(" pt"))


def is_window_of(question: str, request: Request) -> bool:
    return "/api/summary" in request.url and question in request.url


WINDOWS_OF_SUMMARIES: list[Any] = [
    pytest.param("range=5m", "range=5m", id="a live window"),
    pytest.param("fixed", "start=", id="a fixed window"),
]


@pytest.mark.parametrize(("query", "asked"), WINDOWS_OF_SUMMARIES)
def test_changes_on_tiles_are_those_of_the_summary_against_the_window_before(
    open_page: OpenPage, past: Past, query: str, asked: str
) -> None:
    window = Span(past.end - 20 * MINUTE_MS, past.end - MINUTE_MS)
    if query == "fixed":
        query = f"start={window.start}&end={window.end}"
    answers: list[dict[str, Row]] = []

    def listen(dash: Dashboard) -> None:
        dash.page.on(
            "response",
            lambda response: (
                answers.append(response.json()) if is_window_of(asked, response.request) else None
            ),
        )

    dash = open_page(past.zaidash, f"?{query}", before=listen)
    dash.wait_drawn()
    dash.wait_until(lambda: answers, "a summary")
    expect(dash.tile("requests", "canary")).to_contain_text("vs before")
    if asked == "start=":
        own = past.zaidash.json(f"/api/summary?start={window.start + 1}&end={window.end}")
        assert answers[-1] == own
        assert wrong_tiles(tile_texts(dash), with_cache_rates(own)) == []
    wrong: list[str] = []

    def are_of_an_answer() -> bool:
        """An answer may be there, and not be drawn yet."""
        nonlocal wrong
        texts = tile_texts(dash)
        found = [wrong_changes(texts, summaries) for summaries in answers]
        wrong = found[-1]
        return [] in found

    with suppress(AssertionError):
        dash.wait_until(are_of_an_answer)
    assert are_of_an_answer(), wrong


def wrong_changes(texts: TileTexts, summaries: Mapping[str, Row]) -> list[str]:
    """What tiles say of the window before and should not, by the service's summaries."""
    wrong = []
    for variant in VARIANTS:
        summary = summaries[variant]
        for tile, label, of, in_points in CHANGES:
            now, before = of(summary), of(summary["previous"])
            assert now is not None and before
            change = now - before if in_points else 100 * (now / before - 1)
            text = texts[tile, variant][-1]
            assert text.endswith(" vs before"), f"{tile} of {variant} says {text}"
            told = change_of(text.removesuffix(" vs before").removeprefix(label))
            if abs(told - change) > (0.0051 if in_points else max(0.51, abs(change) / 150)):
                wrong.append(f"{tile} of {variant} says {text}, and it is {change}")
    return wrong


def with_cache_rates(summaries: Mapping[str, Row]) -> dict[str, Row]:
    """Summaries in the form of snapshots: the hit ratio is told by rates."""
    names = {"in": "input", "cache_read": "cache_read", "cache_write": "cache_write"}
    return {
        variant: summary
        | {
            f"token_rate_{rate}": summary.get(f"token_rate_{rate}", summary[f"tokens_{total}"])
            if rate == "in"
            else summary[f"tokens_{total}"] * summary["token_rate_in"] / summary["tokens_input"]
            for rate, total in names.items()
        }
        for variant, summary in summaries.items()
    }


def test_the_tokens_of_the_whole_window_stand_above_their_chart(
    open_page: OpenPage, past: Past
) -> None:
    window = Span(past.end - 20 * MINUTE_MS, past.end - MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}")
    totals = dash.panel("tokens").get_by_role("table", name="in all")
    expect(totals.locator("tbody td").first).to_have_text(re.compile("[0-9]"))
    _, *names = totals.locator("thead th").all_inner_texts()
    assert set(names) == {"input", "output", "cache read", "cache write"}
    summaries = past.zaidash.json(f"/api/summary?start={window.start + 1}&end={window.end}")
    rows = totals.locator("tbody tr")
    expect(rows).to_have_count(2)
    for row, variant in zip(rows.all(), VARIANTS, strict=True):
        assert row.locator("th").inner_text() == variant
        for name, told in zip(names, row.locator("td").all_inner_texts(), strict=True):
            value = summaries[variant][f"tokens_{name.replace(' ', '_')}"]
            assert shows(told, value), f"{name} of {variant}: {told}, and not {value}"


# --------------------------------------------------------------------------------------
# Charts
# --------------------------------------------------------------------------------------

#: Panels with a chart, each with its own state.
CHARTS = (
    "requests",
    "latency",
    "heat-map",
    "tokens",
    "concurrency",
    "rate-limit",
    "errors",
    "sizes",
)

#: Lines of events per minute, with the totals that they are increases of.
EVENT_LINES: dict[str, dict[str, str]] = {
    "rate-limit": {
        "rejections": "rate_limit_rejections",
        "limit raised": "rate_limit_adj_increase",
        "limit lowered": "rate_limit_adj_decrease",
    },
    "errors": {"upstream errors": "upstream_errors", "retries": "retry_attempts"},
}


class Shown(NamedTuple):
    """A chart's window and the API's rows of it, in bins as wide as the chart's."""

    window: Span
    step_ms: int
    rows: Mapping[str, Mapping[int, Row]]  # by variant and time
    plain: Mapping[str, Sequence[Row]]  # by variant, not in bins
    is_live: bool

    def times(self) -> list[int]:
        """The times at which a chart whose file has just been saved has to have rows.

        A live one's newest two still grow. Its oldest leave with the window, which has moved on.
        """
        first, last = self.window.start, self.window.end - self.step_ms + 1
        if self.is_live:
            first += now_ms() - self.window.end + LONGEST_REST_MS
            last -= 2 * self.step_ms
        return sorted({t for rows in self.rows.values() for t in rows if first <= t <= last})


def close(told: float | None, value: float | None, tolerance: float = 1e-9) -> bool:
    if told is None or value is None:
        return told is value
    return math.isclose(told, value, rel_tol=tolerance, abs_tol=1e-9)


def wrong_values(
    told: Column, expected: Callable[[int], float | None], times: Iterable[int]
) -> str:
    """The first three values that are not what they should be; nothing where all are."""
    wrong = [
        f"{t}: {told.get(t)}, and not {expected(t)}"
        for t in times
        if not close(told.get(t), expected(t))
    ]
    return "; ".join(wrong[:3])


def check_lines(dash: Dashboard, shown: Shown) -> None:
    """Compare all values of all charts of lines with the API's."""
    for panel, lines in CHART_FIELDS.items():
        columns = cells(dash.table(panel))
        times = shown.times()
        assert len(times) > 50, "there is too little to compare"
        for variant in VARIANTS:
            for label, field in lines.items():
                told = columns[f"{variant} {label}"]
                expected = {t: row[field] for t, row in shown.rows[variant].items()}
                surplus = {t for t, n in told.items() if n is not None} - set(expected)
                surplus = {t for t in surplus if times[0] <= t <= times[-1]}
                assert not surplus, f"{panel} has {variant} {label} at {surplus}, the API has not"
                wrong = wrong_values(told, expected.get, times)
                assert not wrong, f"{panel}, {variant} {label}: {wrong}"


def check_codes(dash: Dashboard, shown: Shown) -> None:
    columns = cells(dash.table("requests"))
    times = shown.times()
    for variant in VARIANTS:
        rows = shown.rows[variant]
        seen = [rows[t]["status_code_rates"] for t in times if t in rows]
        for code in {code for rates in seen for code in rates or ()}:
            told = columns[f"{variant} {code}"]

            def rate(t: int, rows: Any = rows, code: str = code) -> float | None:
                rates = rows[t]["status_code_rates"] if t in rows else None
                return None if rates is None else rates.get(code, 0)

            wrong = wrong_values(told, rate, times)
            assert not wrong, f"requests with {code} of {variant}: {wrong}"


def check_buckets(dash: Dashboard, shown: Shown) -> None:
    table = dash.table("heat-map")
    times = shown.times()
    told = {
        (variant, time_of(at)): dict(zip(table.header[2:], map(float, counts), strict=True))
        for at, variant, *counts in table.rows
    }
    assert len(told) == len(table.rows), "a row is double"
    for variant in VARIANTS:
        for t in times:
            row = shown.rows[variant].get(t)
            counts = row and row["latency_buckets"]
            if counts is None:
                assert (variant, t) not in told
                continue
            expected = {f"le {le}": n for le, n in counts.items()}
            found = {name: n for name, n in told[variant, t].items() if n or name in expected}
            assert found == expected, f"the latency distribution of {variant} at {t}"


def check_events(dash: Dashboard, shown: Shown, first_ms: int) -> None:
    """Compare events per minute with what the totals grew by in the minute up to each row."""
    for panel, lines in EVENT_LINES.items():
        columns = cells(dash.table(panel))
        for variant in VARIANTS:
            for label, field in lines.items():
                expected = per_minute(shown, variant, field)
                times = [t for t in shown.times() if t in expected and t >= first_ms]
                assert len(times) > 50, "there is too little to compare"
                wrong = wrong_values(columns[f"{variant} {label}"], expected.__getitem__, times)
                assert not wrong, f"{panel}, {variant} {label} per minute: {wrong}"


def per_minute(shown: Shown, variant: str, total: str) -> Column:
    """Events per minute by the time of a row, where the minute up to it is known in full."""
    if shown.step_ms >= MINUTE_MS:  # totals of minutes are averages; their rates are not
        rates = {t: row[EVENTS[total]] for t, row in shown.rows[variant].items()}
        return {t: None if rate is None else rate * 60 for t, rate in rates.items()}
    by_time = {row["timestamp"]: row for row in shown.plain[variant]}
    found: Column = {}
    for t in shown.rows[variant]:
        last = t + shown.step_ms - SECOND_MS
        minute = [by_time.get(at) for at in range(last - MINUTE_MS, last + 1, SECOND_MS)]
        rows = [row for row in minute if row is not None]
        is_regular = all(row["elapsed_s"] == 1 for row in rows)
        if len(rows) == len(minute) and is_regular:
            found[t] = rows[-1][total] - rows[0][total]
    return found


class Window(NamedTuple):
    """A window of the page, by how far it begins and ends before the made-up past does."""

    start_ms: int
    end_ms: int
    step_ms: int  # how wide rows have to be: as many as a chart has pixels, or fewer


FIXED: list[Any] = [
    pytest.param(Window(8 * MINUTE_MS, 100, 1_000), id="snapshots as they are"),
    pytest.param(Window(50 * MINUTE_MS + 777, 60_500, 5_000), id="50 minutes in bins of 5 s"),
    pytest.param(Window(7 * HOUR_MS, HOUR_MS, MINUTE_MS), id="6 hours of minutes"),
]


def shown_at(past: Past, window: Span, step_ms: int, *, is_live: bool = False) -> Shown:
    plain: dict[str, list[Row]] = {}
    for variant in VARIANTS:
        # Bins begin within the window, and they and their first minute are whole.
        if window.end - window.start > HOUR_MS:
            span = Span(window.start, window.end + step_ms)
            plain[variant] = minutes(past.zaidash, variant, span)
        else:
            span = Span(window.start - 2 * MINUTE_MS, window.end + step_ms)
            plain[variant] = snapshots(past.zaidash, variant, span)
    rows = {variant: bins(plain[variant], step_ms) for variant in VARIANTS}
    return Shown(window, step_ms, rows, plain, is_live)


@pytest.mark.parametrize("window", FIXED)
def test_every_value_of_every_chart_is_the_apis(
    open_page: OpenPage, past: Past, window: Window
) -> None:
    span = Span(past.end - window.start_ms, past.end - window.end_ms)
    dash = open_page(past.zaidash, f"?start={span.start}&end={span.end}")
    dash.wait_drawn()
    shown = shown_at(past, span, window.step_ms)
    check_lines(dash, shown)
    check_codes(dash, shown)
    check_buckets(dash, shown)
    check_events(dash, shown, first_ms=span.start + MINUTE_MS)


LIVE: list[Any] = [
    pytest.param("5m", 5 * MINUTE_MS, SECOND_MS, id="5 minutes of snapshots"),
    pytest.param("1h", HOUR_MS, 5 * SECOND_MS, id="an hour in bins of 5 s"),
    pytest.param("24h", 24 * HOUR_MS, 2 * MINUTE_MS, id="a day in bins of 2 minutes"),
]


@pytest.mark.parametrize(("query", "length_ms", "step_ms"), LIVE)
def test_every_value_of_every_live_chart_is_the_apis(
    open_page: OpenPage, past: Past, query: str, length_ms: int, step_ms: int
) -> None:
    dash = open_page(past.zaidash, f"?range={query}")
    dash.wait_drawn()
    now = now_ms()
    if step_ms < MINUTE_MS:  # so that some of it came live, and bins grew
        dash.wait_until(lambda: newest_tick(past.zaidash) > now + 3_000, "some ticks")
        now = newest_tick(past.zaidash)
        dash.wait_until(lambda: times_in(dash)[-1] + step_ms > now, "them on the page")
    shown = shown_at(past, Span(now - length_ms, now), step_ms, is_live=True)
    check_lines(dash, shown)
    check_codes(dash, shown)
    check_buckets(dash, shown)


def test_the_first_minute_of_a_window_counts_events_like_every_other(
    open_page: OpenPage, past: Past
) -> None:
    span = Span(past.end - 8 * MINUTE_MS, past.end - 5 * MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={span.start}&end={span.end}")
    dash.wait_drawn()
    shown = shown_at(past, span, SECOND_MS)
    check_events(dash, shown, first_ms=span.start)


def test_a_week_that_is_mostly_empty_shows_what_there_is(open_page: OpenPage, past: Past) -> None:
    dash = open_page(past.zaidash, "?range=7d")
    dash.wait_drawn()
    told = cells(dash.table("latency"))["canary p95"]
    step_ms = min(b - a for a, b in zip(list(told), list(told)[1:], strict=False))
    assert step_ms % MINUTE_MS == 0 and 7 * 24 * HOUR_MS / step_ms <= 720
    rows = bins(
        minutes(past.zaidash, "canary", Span(past.start - HOUR_MS, past.end + HOUR_MS)), step_ms
    )
    times = [t for t in sorted(rows) if t + step_ms <= past.end]
    assert len(times) > 20
    assert wrong_values(told, lambda t: rows[t]["latency_p95"], times) == ""


# --------------------------------------------------------------------------------------
# Gaps and nulls
# --------------------------------------------------------------------------------------


def test_an_outage_is_a_gap_and_not_a_straight_line(open_page: OpenPage, past: Past) -> None:
    window = Span(past.outage.start - 3 * MINUTE_MS, past.outage.end + 3 * MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}&variant=production")
    dash.wait_drawn()
    edge = 5 * SECOND_MS
    inside = Span(past.outage.start + edge, past.outage.end - edge)
    before = Span(window.start + edge, past.outage.start - edge)
    after = Span(past.outage.end + edge, window.end - edge)
    for panel in CHARTS:
        assert coloured(dash, panel, inside, window) == 0, f"{panel} is drawn over the outage"
        assert coloured(dash, panel, before, window) > 0.95, f"{panel} is empty before it"
        assert coloured(dash, panel, after, window) > 0.95, f"{panel} is empty after it"
    for panel in ("latency", "requests", "heat-map"):
        times = [time_of(text) for text in dash.table(panel).column("time")]
        assert not [t for t in times if past.outage.start < t < past.outage.end]
        assert {past.outage.start, past.outage.end} <= set(times)


def test_a_single_lost_tick_does_not_break_the_line(open_page: OpenPage, past: Past) -> None:
    window = Span(past.blink - 10 * SECOND_MS, past.blink + 10 * SECOND_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}&variant=production")
    dash.wait_drawn()
    assert past.blink not in times_in(dash, "latency")
    around = Span(past.blink - 3 * SECOND_MS, past.blink + 3 * SECOND_MS)
    assert coloured(dash, "latency", around, window) == 1


def test_null_is_a_gap_and_not_zero(open_page: OpenPage, past: Past) -> None:
    unknown = past.no_latency
    window = Span(unknown.start - 2 * MINUTE_MS, unknown.end + 2 * MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}&variant=canary")
    dash.wait_drawn()
    inside = Span(unknown.start + 3 * SECOND_MS, unknown.end - 3 * SECOND_MS)
    assert coloured(dash, "latency", inside, window) == 0
    assert coloured(dash, "tokens", inside, window) == 1
    before = Span(window.start + 3 * SECOND_MS, unknown.start - 3 * SECOND_MS)
    assert coloured(dash, "latency", before, window) > 0.95


def test_null_is_an_empty_field_in_the_file_beside_values_that_are_known(
    open_page: OpenPage, past: Past
) -> None:
    window = Span(past.no_p50.start - MINUTE_MS, past.no_p50.end + MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}")
    dash.wait_drawn()
    told = cells(dash.table("latency"))
    inside = [t for t in told["canary p50"] if past.no_p50.start <= t < past.no_p50.end]
    assert len(inside) == 60
    assert {told["canary p50"][t] for t in inside} == {None}
    assert None not in {told["canary p95"][t] for t in inside}


def test_a_file_has_a_row_for_every_snapshot_even_where_the_chart_has_no_value(
    open_page: OpenPage, past: Past
) -> None:
    window = Span(past.no_latency.start - MINUTE_MS, past.no_latency.end + MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}")
    dash.wait_drawn()
    assert len(times_in(dash, "latency")) == len(times_in(dash, "concurrency")) == 181


# --------------------------------------------------------------------------------------
# The request history
# --------------------------------------------------------------------------------------


def half_up(value: float) -> int:
    return math.floor(value + 0.5)


def test_the_request_history_is_the_apis_minutes_and_what_really_happened(
    open_page: OpenPage, past: Past
) -> None:
    window = Span(past.end - 7 * HOUR_MS, past.end - 5 * MINUTE_MS - 1)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}", timezone_id="UTC")
    table = dash.table("history")
    rows = {
        (row["variant"], row["timestamp"]): row
        for variant in VARIANTS
        for row in minutes(past.zaidash, variant, window)
    }
    assert len(rows) > 800
    places = [(variant, time_of(at)) for at, variant, *_ in table.rows]
    assert set(places) == set(rows) and len(places) == len(rows)
    assert [t for _, t in places] == sorted((t for _, t in places), reverse=True)
    for place, line in zip(places, table.rows, strict=True):
        told = dict(zip(table.header[2:], map(parse_cell, line[2:]), strict=True))
        expected = history_line(rows[place])
        assert all(close(told[name], value) for name, value in expected.items()), (
            f"{place}: {told}, and not {expected}"
        )
        made = past.requests[place]
        assert told["requests"] == made, f"{place}: {told['requests']}, and there were {made}"
    check_visible_rows(dash, table)


def history_line(minute: Row) -> dict[str, float | None]:
    """A line of the table, from a minute of the API."""
    covered_s, rates = minute["elapsed_s"], minute["status_code_rates"]
    classes = {digit: sum(n for code, n in rates.items() if code[0] == digit) for digit in "2345"}
    everything = sum(classes.values())
    return {
        "requests": half_up(minute["req_rate"] * covered_s),
        **{f"{digit}xx": half_up(rate * covered_s) for digit, rate in classes.items()},
        "error_rate_pct": 100 * classes["5"] / everything if everything else 0,
        "latency_p95_ms": minute["latency_p95"],
        "tokens_input": half_up(minute["token_rate_in"] * covered_s),
        "tokens_output": half_up(minute["token_rate_out"] * covered_s),
        "covered_s": round(covered_s, 3),
    }


def check_visible_rows(dash: Dashboard, table: Table) -> None:
    """The rows in sight are the first of the file, rounded for the eye."""
    texts = dash.panel("history").locator("tbody tr[aria-rowindex]").all_inner_texts()
    assert len(texts) > 10
    for text, (at, variant, *values, _) in zip(texts, table.rows, strict=False):
        when, told_variant, *told = text.split("\t")
        assert when.strip() == datetime.fromtimestamp(time_of(at) / 1000, UTC).strftime(
            "%Y-%m-%d %H:%M"
        )
        assert told_variant.strip() == variant
        assert len(told) == len(values)
        assert all(map(shows, told, map(parse_cell, values))), f"{text} stands for {values}"


LEDGERS: list[Any] = [
    pytest.param(False, id="while all goes well"),
    pytest.param(True, id="though the proxy could not be scraped for a while"),
]


@pytest.mark.parametrize("has_outage", LEDGERS)
def test_the_request_history_adds_up_to_what_the_proxy_counted(
    open_page: OpenPage, fake_proxy: FakeProxy, has_outage: bool
) -> None:
    with quick(fake_proxy) as zaidash:
        dash = open_page(zaidash, "?range=5m")
        dash.wait_loaded("requests")
        eventually(lambda: len(ticks(zaidash)) >= 2, what="two ticks")
        for count in (40, 7, 90, 0, 13, 60):
            generate_traffic(fake_proxy, random.Random(count), count, error_share=0.2)
            dash.page.wait_for_timeout(250)
        if has_outage:
            fake_proxy.stop_serving()
            generate_traffic(fake_proxy, random.Random(1), 200)
            dash.wait_until(lambda: "down" in str(zaidash.json("/api/targets")), "the outage")
            dash.page.wait_for_timeout(3_000)  # as long as the outage is to be
            fake_proxy.start_serving()
        scraped = eventually(partial(total_requests, zaidash, fake_proxy), what="the last request")
        truth = fake_proxy.truth

        def told() -> dict[str, float]:
            table = dash.table("history")
            names = ("requests", "2xx", "4xx", "5xx", "tokens_input", "tokens_output")
            return {name: sum(map(float, filter(None, table.column(name)))) for name in names}

        wait_ticks(dash, zaidash, 1)
        check_partial_minutes(dash)
        expected = {
            "requests": scraped,
            **{f"{digit}xx": truth.count_class(digit) for digit in (2, 4, 5)},
            "tokens_input": truth.tokens["input"],
            "tokens_output": truth.tokens["output"],
        }
        for query in (None, "?range=6h"):  # as it came, from snapshots, and from minutes
            if query:
                dash.page.goto(f"{zaidash.url}/{query}")
                dash.wait_loaded("history")
            found = told()
            wrong = {
                name: (found[name], value)
                for name, value in expected.items()
                if abs(found[name] - value) > max(2, value / 100)
            }
            assert not wrong, f"{query}: on the page and in the proxy's ledger: {wrong}"


def check_partial_minutes(dash: Dashboard) -> None:
    """The minute under way and the one in which all began are marked, with what they cover."""

    def are_marked() -> bool:
        # A tick may come between the two looks, and rows are drawn after it.
        covered = dash.table("history").column("covered_s")
        lines = dash.panel("history").locator("tbody tr[aria-rowindex]")
        marks = lines.evaluate_all(
            "(rows) => rows.map((row) => row.querySelector('[role=img]')?.ariaLabel ?? '')"
        )
        wanted = [float(text or 60) for text in covered]
        told = [re.fullmatch(r"not a whole minute: it covers (.+)", mark) for mark in marks]
        is_same = [mark is not None for mark in told] == [abs(one - 60) > 0.75 for one in wanted]
        assert not is_same or any(told), "no minute is whole yet, and none is marked"
        return is_same

    dash.wait_until(are_marked, "a mark at every minute that is not whole, and at no other")


def total_requests(zaidash: Zaidash, proxy: FakeProxy) -> int:
    """The proxy's requests when all of them have been scraped, else 0."""
    row = newest(zaidash).get("production", {})
    scraped = sum(row.get(f"requests_{digit}xx") or 0 for digit in (2, 4, 5))
    return scraped if scraped == proxy.truth.requests.total() else 0


def test_the_request_history_forgets_what_has_left_the_window(
    open_page: OpenPage, past: Past
) -> None:
    def install_clock(dash: Dashboard) -> None:
        dash.page.clock.install(time=datetime.now(UTC))
        # The page goes by the service's clock, which would undo the leap: an answer without it.
        dash.page.route(
            "**/api/config",
            lambda route: route.fulfill(
                body=route.fetch().text(), headers={"Content-Type": "application/json"}
            ),
        )

    dash = open_page(past.zaidash, "?range=5m", before=install_clock)
    assert len(dash.table("history").rows) >= 6
    dash.page.clock.fast_forward("04:00")
    opened = dash.page.evaluate("Date.now()")

    def oldest() -> int:
        return min((time_of(at) for at in dash.table("history").column("minute")), default=opened)

    dash.wait_until(
        lambda: oldest() >= opened - 6 * MINUTE_MS, "a table without minutes that are over", 60
    )


# --------------------------------------------------------------------------------------
# Live
# --------------------------------------------------------------------------------------


def test_a_chart_grows_by_every_tick_once_whenever_the_page_is_opened(
    open_page: OpenPage, fake_proxy: FakeProxy
) -> None:
    with traffic(fake_proxy), quick(fake_proxy) as zaidash:
        for wait_ms in (0, 170, 340):  # another part of a tick each time
            dash = open_page(zaidash, "?range=5m")
            dash.wait_drawn()
            dash.page.wait_for_timeout(wait_ms)
            assert_every_tick_once(wait_ticks(dash, zaidash, 3), ticks(zaidash))
            dash.page.close()


def test_a_window_that_ends_in_the_future_fills_up_to_its_end(
    open_page: OpenPage, fake_proxy: FakeProxy
) -> None:
    with traffic(fake_proxy), quick(fake_proxy) as zaidash:
        eventually(lambda: newest_tick(zaidash), what="a tick")
        start = newest_tick(zaidash) - 60_000
        end = start + 66_000
        dash = open_page(zaidash, f"?start={start}&end={end}")
        dash.wait_drawn()
        dash.wait_until(lambda: newest_tick(zaidash) > end + 1_000, "the end of the window")

        def within() -> list[int]:
            return [time for time in ticks(zaidash) if start <= time <= end]

        dash.wait_until(lambda: times_in(dash)[-1] == within()[-1], "its last tick on the page")
        dash.wait_until(lambda: newest_tick(zaidash) > end + 2_000, "two more ticks")
        assert_every_tick_once(times_in(dash), within())
        assert times_in(dash)[-1] <= end


@pytest.mark.parametrize("is_window", [False, True], ids=["a range", "a window yet to end"])
def test_a_pause_holds_charts_table_and_totals_and_so_does_a_reload(
    open_page: OpenPage, fake_proxy: FakeProxy, is_window: bool
) -> None:
    with traffic(fake_proxy), quick(fake_proxy) as zaidash:
        eventually(lambda: newest_tick(zaidash), what="a tick")
        start = newest_tick(zaidash) - 60_000
        window = f"?start={start}&end={start + 200_000}"
        dash = open_page(zaidash, window if is_window else "?range=5m")
        dash.wait_drawn()
        dash.wait_loaded("history")
        wait_ticks(dash, zaidash, 3)

        def is_of_the_pause(url: str) -> bool:
            end = re.search(r"/api/summary\?.*\bend=(\d+)", url)
            return end is not None and int(end[1]) < start + 200_000

        def pauses_at_a_tick() -> int:
            """The time of the pause; 0 where the page had not heard of a tick for long."""
            if dash.connection.get_attribute("data-connection") == "paused":
                dash.page.keyboard.press(" ")
                dash.wait_connection("live")
            with dash.page.expect_response(lambda response: is_of_the_pause(response.url)):
                dash.page.keyboard.press(" ")
            dash.wait_connection("paused")
            paused_ms = int(re.findall(r"paused=(\d+)", dash.page.url)[0])
            return paused_ms if paused_ms in ticks(zaidash) else 0

        paused_ms = dash.wait_until(pauses_at_a_tick, "a pause at a tick")

        def picture() -> tuple[list[int], list[list[str]], str]:
            dash.wait_loaded("history")
            table = dash.table("history")
            totals = dash.panel("tokens").get_by_role("table").inner_text()
            return times_in(dash), table.rows, totals

        pictures = [picture()]

        def is_still() -> bool:
            pictures.append(picture())
            return pictures[-1] == pictures[-2]

        dash.wait_until(is_still, "the totals on the page")
        told = pictures[-1]
        assert told[0][-1] <= paused_ms
        dash.wait_until(lambda: newest_tick(zaidash) > paused_ms + 4_000, "time to go by")
        assert picture() == told
        dash.page.reload()
        dash.wait_drawn()
        assert dash.wait_until(lambda: (found := picture()) == told and found, "it to be the same")


def wait_ticks(dash: Dashboard, zaidash: Zaidash, count: int) -> list[int]:
    """Wait for so many more ticks, and return the times of all that a chart shows then."""
    first = newest_tick(zaidash)
    interval_ms = round(1000 * zaidash.json("/api/config")["scrape_interval"])
    wanted = first + count * interval_ms
    dash.wait_until(lambda: newest_tick(zaidash) >= wanted, f"{count} more ticks")

    def times() -> list[int]:
        found = times_in(dash)
        return found if found and found[-1] >= wanted else []

    return dash.wait_until(times, "them on the page")


def assert_every_tick_once(times: Sequence[int], known: Sequence[int]) -> None:
    """Compare the page's ticks with the API's, of which there may be more by now."""
    assert list(times) == sorted(set(times)), "ticks are double or out of order"
    expected = [t for t in known if t <= times[-1]]
    missing, surplus = set(expected) - set(times), set(times) - set(expected)
    assert not missing and not surplus, f"missing: {sorted(missing)}, too many: {sorted(surplus)}"


def test_after_a_kill_9_the_page_reconnects_and_no_tick_is_missing_or_double(
    open_page: OpenPage, fake_proxy: FakeProxy, tmp_path: Path
) -> None:
    env = {"DB_PATH": str(tmp_path / "zaidash.db"), "LISTEN_ADDR": f"127.0.0.1:{free_port()}"}
    with traffic(fake_proxy):
        with quick(fake_proxy, **env) as zaidash:
            dash = open_page(zaidash, "?range=5m&variant=production")
            dash.wait_drawn()
            before = wait_ticks(dash, zaidash, 4)
            dash.expect_trouble(SERVER_GONE)
            zaidash.kill()
            killed_at = now_ms()
        wait_reconnecting(dash)
        assert set(before) <= set(times_in(dash)), "the picture before the outage is gone"
        dash.wait_until(lambda: now_ms() > killed_at + 3_000, "an outage of 3 s")
        with quick(fake_proxy, **env) as zaidash:
            dash.wait_connection("live")
            after = wait_ticks(dash, zaidash, 4)
            known = ticks(zaidash)
            lost = {t for t in after if t <= killed_at} - set(known)
            assert len(lost) <= 2, "the file lacks more than the tick under way"
            assert_every_tick_once([t for t in after if t not in lost], known)
            check_no_line_over(dash, Span(killed_at, min(t for t in known if t > killed_at)))


def wait_reconnecting(dash: Dashboard) -> None:
    """Wait until the header counts down to the next attempt."""
    expect(dash.connection.get_by_role("button", name="retry now")).to_be_visible()
    dash.wait_until(lambda: seconds_left(dash) >= 1, "a pause before the next attempt")


def seconds_left(dash: Dashboard) -> int:
    """What the header counts down from; -1 where it does not."""
    match = re.search(r"reconnecting in (\d+) s", dash.connection.inner_text())
    return int(match[1]) if match else -1


def check_no_line_over(dash: Dashboard, outage: Span) -> None:
    """Nothing is drawn in the middle of a time between ticks, and something before it."""
    middle, quarter = (outage.start + outage.end) // 2, (outage.end - outage.start) // 4
    assert outage.end - outage.start > 3_000

    def is_gap() -> bool:
        # The chart goes on meanwhile: on a busy machine it may be elsewhere when it is looked at.
        now = now_ms()
        window = Span(now - 5 * MINUTE_MS, now)
        gap, before = (
            Span(middle - quarter, middle + quarter),
            Span(outage.start - 2_000, outage.start),
        )
        return (
            coloured(dash, "concurrency", gap, window) == 0
            and coloured(dash, "concurrency", before, window) > 0
        )

    dash.wait_until(is_gap, "a gap, and a line before it")


#: A pause of two seconds or more before the next attempt, which is no whole number, never ends.
ENDLESS_PAUSES = """(() => {
    const plain = window.setTimeout;
    window.isPausing = false;
    window.setTimeout = (callback, ms, ...rest) => {
        const isPause = ms >= 2000 && !Number.isInteger(ms);
        if (isPause) window.isPausing = true;
        return plain(callback, isPause ? 1e9 : ms, ...rest);
    };
})()"""


def test_retry_now_does_not_wait_for_the_countdown(
    open_page: OpenPage, fake_proxy: FakeProxy
) -> None:
    with quick(fake_proxy) as zaidash:
        dash = open_page(
            zaidash, "?range=5m", before=lambda dash: dash.page.add_init_script(ENDLESS_PAUSES)
        )
        dash.wait_connection("live")
        dash.expect_trouble(r"Failed to load resource: net::ERR_.*/api/events")
        outage = Obstacle(dash, "**/api/events*", lambda route: route.abort())
        # The stream that is open goes on until it is opened anew: by pausing.
        dash.page.keyboard.press(" ")
        dash.wait_connection("paused")
        dash.page.keyboard.press(" ")
        dash.wait_until(lambda: dash.page.evaluate("isPausing"), "a pause between two attempts")
        outage.clear()
        dash.connection.get_by_role("button", name="retry now").click()
        dash.wait_connection("live")


def test_a_clock_that_is_an_hour_off_does_not_empty_the_charts(
    open_page: OpenPage, past: Past
) -> None:
    def set_clock(dash: Dashboard) -> None:
        dash.page.clock.install(time=datetime.fromtimestamp(time.time() - 3600, UTC))

    dash = open_page(past.zaidash, "?range=5m&variant=production", before=set_clock)
    dash.wait_drawn()
    dash.wait_connection("live")
    times = wait_ticks(dash, past.zaidash, 2)
    known = ticks(past.zaidash)
    begin = known[0] + 3_000  # the page's clock may be a little ahead, and its window with it
    assert_every_tick_once([t for t in times if t >= begin], [t for t in known if t >= begin])


def test_long_ranges_grow_by_minute_averages_and_not_by_snapshots(
    open_page: OpenPage, past: Past
) -> None:
    dash = open_page(past.zaidash, "?range=6h&variant=production")
    dash.wait_drawn()
    told = cells(dash.table("tokens"))["production input"]
    last = max(told)
    assert all(t % MINUTE_MS == 0 for t in told)
    assert last >= now_ms() - 2 * MINUTE_MS, "the chart does not end now"

    def is_average() -> bool:
        told = cells(dash.table("tokens"))["production input"]
        last = max(told)
        rows = snapshots(past.zaidash, "production", Span(last, last + MINUTE_MS - 1))
        # The row is drawn anew every ten seconds: it is the average up to some snapshot.
        prefixes = [average(rows[:count])["token_rate_in"] for count in range(1, len(rows) + 1)]
        return len(rows) > 3 and any(close(told[last], value) for value in prefixes)

    dash.wait_until(is_average, "the average of the minute so far")
    # One that was just over does not grow any more: then it is the next one.
    seen: defaultdict[int, set[float | None]] = defaultdict(set)

    def has_grown() -> bool:
        told = cells(dash.table("tokens"))["production input"]
        last = max(told)
        seen[last].add(told[last])
        return len(seen[last]) > 1

    dash.wait_until(has_grown, "a minute to grow")
    told = cells(dash.table("tokens"))["production input"]
    assert all(t % MINUTE_MS == 0 for t in told)


def test_a_page_left_open_keeps_no_more_rows_than_its_window_has(
    open_page: OpenPage, fake_proxy: FakeProxy, tmp_path: Path
) -> None:
    path, tick_ms = tmp_path / "zaidash.db", 250
    end = now_ms() // tick_ms * tick_ms
    history = History("production")
    store = Store(load_config(["--db-path", str(path)], {})[0])
    store.open()
    times = range(end - 6 * MINUTE_MS, end, tick_ms)
    store.fill(history.snapshot(ts, tick_ms)[0].row() for ts in times)
    store.close()
    with quick(fake_proxy, tick=f"{tick_ms}ms", DB_PATH=str(path)) as zaidash:
        # A panel that fills the screen has as many pixels as there are ticks: no row is an average.
        dash = open_page(zaidash, "?range=5m&panel=concurrency")
        dash.wait_drawn()
        window = 5 * MINUTE_MS // tick_ms
        shown = times_in(dash)
        # All there are: the service took a moment to start, which a busy machine makes a long one.
        there = len(snapshots(zaidash, "production", Span(shown[0], shown[-1])))
        assert abs(len(shown) - there) <= 20
        assert there > 0.8 * window
        before = longest_array(dash)
        # The minute before the window stays: what is told per minute looks back that far.
        window += MINUTE_MS // tick_ms
        assert before <= window + 25
        assert len(wait_ticks(dash, zaidash, 36)) <= window + 1
        after = longest_array(dash)
        assert after <= window + 25, f"{before} numbers grew to {after}"


def longest_array(dash: Dashboard) -> int:
    """The length of the longest array of numbers that the page holds on to."""
    session = dash.page.context.new_cdp_session(dash.page)
    session.send("HeapProfiler.collectGarbage")
    prototype = session.send("Runtime.evaluate", {"expression": "Array.prototype"})
    found = session.send(
        "Runtime.queryObjects", {"prototypeObjectId": prototype["result"]["objectId"]}
    )
    longest = session.send(
        "Runtime.callFunctionOn",
        {
            "objectId": found["objects"]["objectId"],
            "functionDeclaration": """function () {
                return Math.max(...this.map((array) =>
                    array.some((value) => typeof value === "number") ? array.length : 0));
            }""",
            "returnByValue": True,
        },
    )
    session.detach()
    return int(longest["result"]["value"])


#: What a browser does with a hidden tab: it says so, and calls no animation frames. Headless
#: Chromium under test counts every tab as visible, so this does it in its place. Every drawing of
#: a chart begins by clearing its canvas.
HIDEABLE = """(() => {
    const request = window.requestAnimationFrame.bind(window);
    const cancel = window.cancelAnimationFrame.bind(window);
    const held = new Map();
    let isHidden = false;
    window.requestAnimationFrame = (callback) => {
        const id = request((time) => (isHidden ? held.set(id, callback) : callback(time)));
        return id;
    };
    window.cancelAnimationFrame = (id) => held.delete(id) || cancel(id);
    for (const [name, value] of [["hidden", () => isHidden],
        ["visibilityState", () => (isHidden ? "hidden" : "visible")]]) {
        Object.defineProperty(Document.prototype, name, { get: value, configurable: true });
    }
    window.setHidden = (value) => {
        isHidden = value;
        document.dispatchEvent(new Event("visibilitychange"));
        if (value) return;
        for (const [id, callback] of held) request((time) => held.delete(id) && callback(time));
    };
    window.drawn = [];
    const clear = CanvasRenderingContext2D.prototype.clearRect;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        window.drawn.push(this.canvas);
        return clear.apply(this, box);
    };
    window.newest = 0;
    window.heard = 0;
    window.EventSource = class extends EventSource {
        constructor(url) {
            super(url);
            this.addEventListener("message", ({ data }) => {
                window.heard += 1;
                window.newest = Math.max(window.newest, JSON.parse(data).data?.timestamp ?? 0);
            });
        }
    };
})()"""


def make_hideable(dash: Dashboard) -> None:
    dash.page.add_init_script(HIDEABLE)


def open_hidden(dash: Dashboard) -> None:
    make_hideable(dash)
    dash.page.add_init_script("setHidden(true)")


def newest_heard(dash: Dashboard) -> int:
    """The time of the newest snapshot that a hideable page has from its stream, drawn or not."""
    newest: int = dash.page.evaluate("newest")
    return newest


def test_a_hidden_tab_draws_nothing_and_catches_up_in_one_drawing(
    open_page: OpenPage, fake_proxy: FakeProxy
) -> None:
    with traffic(fake_proxy), quick(fake_proxy, tick="1s") as zaidash:
        dash = open_page(zaidash, "?range=5m", before=make_hideable)
        dash.wait_drawn()
        dash.wait_until(lambda: dash.page.evaluate("drawn.length") > 0, "a drawing")
        most = dash.wait_until(partial(drawings_after_hiding, dash), "no tick meanwhile")
        assert most == 1, f"a chart was drawn {most} times to catch up"
        assert_every_tick_once(wait_ticks(dash, zaidash, 1), ticks(zaidash))


def drawings_after_hiding(dash: Dashboard) -> int:
    """How often a chart is drawn when the tab is shown again; 0 where a tick came in between."""
    dash.page.evaluate("() => { setHidden(true); drawn.length = 0; }")
    hidden_at = newest_heard(dash)
    dash.wait_until(lambda: newest_heard(dash) >= hidden_at + 6_000, "six ticks")
    assert dash.page.evaluate("drawn.length") == 0, "the hidden tab was drawn"
    most: int = dash.page.evaluate(
        """async () => {
            const before = heard;
            setHidden(false);
            await new Promise((done) => setTimeout(done, 500));
            const counts = new Map();
            for (const canvas of drawn) counts.set(canvas, (counts.get(canvas) ?? 0) + 1);
            return heard === before ? Math.max(0, ...counts.values()) : 0;
        }"""
    )
    return most


def test_a_tab_opened_in_the_background_is_drawn_when_it_is_shown(
    open_page: OpenPage, fake_proxy: FakeProxy
) -> None:
    with traffic(fake_proxy), quick(fake_proxy, tick="1s") as zaidash:
        dash = open_page(zaidash, "?range=5m", before=open_hidden)
        opened_at = dash.wait_until(partial(newest_heard, dash), "a tick")
        dash.wait_until(lambda: newest_heard(dash) >= opened_at + 3_000, "three ticks")
        assert dash.page.evaluate("drawn.length") == 0, "the hidden tab was drawn"

        dash.page.evaluate("setHidden(false)")
        for panel in ("requests", "heat-map", "sizes"):
            expect(dash.panel(panel).locator("canvas")).to_have_count(1)
        assert_every_tick_once(wait_ticks(dash, zaidash, 1), ticks(zaidash))


# --------------------------------------------------------------------------------------
# Trouble
# --------------------------------------------------------------------------------------


def test_a_target_that_is_down_is_said_with_its_reason_and_forgotten_when_it_is_up(
    open_page: OpenPage,
) -> None:
    with (
        FakeProxy("production") as production,
        FakeProxy("canary") as canary,
        traffic(production, canary),
        quick(production, canary) as zaidash,
    ):
        dash = open_page(zaidash, "?range=5m")
        dash.wait_connection("live")
        banners = dash.page.get_by_text(" is down: ")
        rate = {variant: dash.tile("requests", variant) for variant in VARIANTS}
        for row in rate.values():
            expect(row).to_contain_text("/s")
        expect(banners).to_have_count(0)

        canary.stop_serving()
        expect(rate["canary"]).to_contain_text(DASH)
        banner = dash.page.get_by_text(f"canary target {canary.url} is down: ")
        expect(banner).to_have_count(1)
        dash.wait_reason(banner, zaidash, "canary")
        expect(rate["production"]).to_contain_text("/s")
        dash.wait_connection("live")

        production.stop_serving()
        dash.wait_connection("stale")
        last = newest_tick(zaidash)
        first = seconds_stale(dash)
        dash.wait_until(lambda: seconds_stale(dash) >= first + 2, "the header to count")

        def tells_the_age() -> bool:
            least_s = (now_ms() - last) / 1000
            shown_s = seconds_stale(dash)
            most_s = (now_ms() - last) / 1000
            return least_s - 2 <= shown_s <= most_s + 2

        dash.wait_until(tells_the_age, "the header to tell how old the data are")
        for lines in tile_texts(dash).values():
            assert DASH in lines[1], f"a tile shows {lines} though nothing is known"
        for panel in ("requests", "tokens", "errors"):
            expect(dash.panel(panel).locator("p").first).to_contain_text(DASH)

        production.start_serving()
        canary.start_serving()
        dash.wait_connection("live")
        for row in rate.values():
            expect(row).to_contain_text("/s")
        expect(banners).to_have_count(0)
        expect(dash.page.get_by_text("stale")).to_have_count(0)


def seconds_stale(dash: Dashboard) -> int:
    text = dash.connection.inner_text()
    match = re.search(r"stale: last data (?:(\d+) min ?)?(?:(\d+) s )?ago", text)
    assert match, f"the header says {text!r}"
    return 60 * int(match[1] or 0) + int(match[2] or 0)


def test_storage_trouble_is_said_with_its_reason_while_charts_go_on(
    open_page: OpenPage, fake_proxy: FakeProxy
) -> None:
    with traffic(fake_proxy), quick(fake_proxy) as zaidash:
        with closing(sqlite3.connect(zaidash.db_path, isolation_level=None, timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            reason = eventually(partial(storage_problem, zaidash), 60, "the problem")
            dash = open_page(zaidash, "?range=5m", before=lambda dash: dash.page.clock.install())
            banner = dash.page.get_by_text(re.compile("^storage"))
            expect(banner).to_contain_text(reason)
            wait_ticks(dash, zaidash, 3)
            dash.wait_connection("live")
            other.execute("ROLLBACK")
        dash.wait_until(lambda: not storage_problem(zaidash), "the end of the problem")
        dash.page.clock.fast_forward(10_000)  # to the next time that the page asks
        expect(banner).to_have_count(0)
        assert_every_tick_once(times_in(dash), ticks(zaidash))


def storage_problem(zaidash: Zaidash) -> str:
    reply = zaidash.get("/readyz")
    reasons = [] if reply.status == 200 else json.loads(reply.body)["reasons"]
    return next((reason for reason in reasons if reason.startswith("storage")), "")


def asks_for(fields: str) -> Callable[[str], bool]:
    """Whether an address asks for the history of these fields and no others."""
    return lambda url: "/api/metrics" in url and url.endswith(f"&fields={fields}")


def fail_with_json(route: Route) -> None:
    route.fulfill(status=500, json={"error": "the disk is on fire"})


def fail_with_page(route: Route) -> None:
    route.fulfill(status=502, content_type="text/html", body="<h1>Bad gateway</h1>")


def half_an_answer(route: Route) -> None:
    route.fulfill(status=200, content_type="application/json", body='{"production":{"timesta')


def log_in(route: Route) -> None:
    route.fulfill(status=200, content_type="text/html", body="<!doctype html><h1>Log in</h1>")


class Failure(NamedTuple):
    """An answer that is none, and what the page says of it."""

    answer: Callable[[Route], None]
    reason: str


FAILURES: list[Any] = [
    pytest.param(
        "heat-map",
        "latency_buckets",
        [
            Failure(fail_with_json, "the disk is on fire"),
            Failure(log_in, "/api/metrics answered with a web page, as a proxy or a login"),
        ],
        id="a 500, a login page",
    ),
    pytest.param(
        "requests",
        "elapsed_s%2Cstatus_code_rates",
        [
            Failure(fail_with_page, "502"),
            Failure(half_an_answer, "/api/metrics answered with data that break off after 23"),
        ],
        id="a proxy's 502, half a JSON",
    ),
]


#: How many questions a click asks at once: too soon for those that the page asks by itself.
ASKED_BY_CLICK = """
(button) => new Promise((resolve) => {
  const { fetch } = window;
  let count = 0;
  window.fetch = (...question) => {
    count += 1;
    return fetch(...question);
  };
  button.click();
  setTimeout(() => {
    window.fetch = fetch;
    resolve(count);
  });
})
"""


@pytest.mark.parametrize(("failing", "fields", "failures"), FAILURES)
def test_a_panel_that_fails_says_why_leaves_the_others_alone_and_can_be_retried(
    open_page: OpenPage, past: Past, failing: str, fields: str, failures: Sequence[Failure]
) -> None:
    obstacles: list[Obstacle] = []
    first, second = failures

    def break_it(dash: Dashboard) -> None:
        dash.expect_trouble(r"Failed to load resource: .*/api/metrics.*fields=" + fields)
        obstacles.append(Obstacle(dash, asks_for(fields), first.answer))

    window = Span(past.end - 8 * MINUTE_MS, past.end - MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}", before=break_it)
    alert = dash.panel(failing).get_by_role("alert")
    expect(alert).to_contain_text("Failed")
    expect(alert).to_contain_text(first.reason)
    dash.wait_drawn()
    part = Span(window.start + MINUTE_MS, window.end - MINUTE_MS)
    for panel in CHARTS:
        if panel != failing:
            expect(dash.panel(panel).get_by_role("alert")).to_have_count(0)
            assert coloured(dash, panel, part, window) > 0.9, f"{panel} is empty"
    expect(dash.page.get_by_role("alert")).to_have_count(1)

    obstacles[0].answer = second.answer
    retry = alert.get_by_role("button", name=re.compile("Retry"))
    assert retry.evaluate(ASKED_BY_CLICK), "the button asks for nothing"
    expect(alert).to_contain_text(second.reason)
    obstacles[0].clear()
    with suppress(TimedOut):  # it may have tried by itself just now
        retry.click(timeout=5_000)
    expect(alert).to_have_count(0)
    assert len(dash.table(failing).rows) >= 400
    dash.wait_until(lambda: coloured(dash, failing, part, window) > 0.9, "the chart")


#: While `isBroken`, no canvas can be drawn on.
NO_CANVAS = """
(() => {
  const canvas = HTMLCanvasElement.prototype;
  const { getContext } = canvas;
  window.isBroken = true;
  canvas.getContext = function (...kind) {
    if (window.isBroken) throw new Error("no canvas today");
    return getContext.apply(this, kind);
  };
})();
"""


def test_a_chart_that_cannot_be_made_says_so_and_can_be_tried_again(
    open_page: OpenPage, past: Past
) -> None:
    def break_it(dash: Dashboard) -> None:
        dash.expect_trouble("no canvas today")
        dash.page.add_init_script(NO_CANVAS)

    window = Span(past.end - 8 * MINUTE_MS, past.end - MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}", before=break_it)
    alert = dash.panel("latency").get_by_role("alert")
    expect(alert).to_contain_text("Latency cannot be shown")
    expect(alert).to_contain_text("no canvas today")
    expect(dash.page.locator("[data-tile=requests] .live-text").first).to_have_text(
        re.compile("/s")
    )
    for is_broken in (True, False):
        dash.page.evaluate("(is) => { window.isBroken = is; }", is_broken)
        alert.get_by_role("button", name="Try again").click()
        expect(alert).to_have_count(int(is_broken))
    dash.wait_until(lambda: coloured(dash, "latency", window, window) > 0.9, "the chart")


def test_a_panel_that_failed_is_there_again_without_anybody_pressing_a_button(
    open_page: OpenPage, past: Past
) -> None:
    obstacles: list[Obstacle] = []

    def break_it(dash: Dashboard) -> None:
        dash.expect_trouble("Failed to load resource: .*/api/metrics")
        dash.page.clock.install()
        obstacles.append(Obstacle(dash, "**/api/metrics*", fail_with_json))

    window = Span(past.end - 8 * MINUTE_MS, past.end - MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}", before=break_it)
    alerts = dash.page.get_by_role("alert")
    expect(alerts.first).to_contain_text("the disk is on fire")
    obstacles[0].clear()
    dash.page.clock.fast_forward(15_000)  # it waits longer than for a tick, in case it is too much
    expect(alerts).to_have_count(0, timeout=60_000)
    dash.wait_drawn()


def test_totals_of_another_window_are_not_shown_as_those_of_this_one(
    open_page: OpenPage, past: Past
) -> None:
    window = Span(past.end - 20 * MINUTE_MS, past.end - 10 * MINUTE_MS)
    dash = open_page(past.zaidash, f"?start={window.start}&end={window.end}")
    totals = dash.panel("tokens").get_by_role("table", name="in all").locator("tbody td")
    tile = dash.tile("requests", "production")
    expect(totals.first).to_have_text(re.compile("[0-9]"))
    before = totals.all_inner_texts()

    dash.expect_trouble("Failed to load resource: .*/api/summary")
    outage = Obstacle(dash, "**/api/summary*", fail_with_json)
    dash.page.keyboard.press("ArrowLeft")
    expect(totals).to_have_text(["\u2013"] * len(before))
    expect(tile).not_to_contain_text("/s")
    banner = dash.page.get_by_text("Totals of the window and changes are missing or old")
    expect(banner).to_contain_text("the disk is on fire")
    outage.clear()
    expect(totals.first).to_have_text(re.compile("[0-9]"), timeout=60_000)
    expect(tile).to_contain_text("/s")
    assert totals.all_inner_texts() != before
    expect(banner).to_have_count(0)


def test_a_window_older_than_all_that_is_kept_has_no_data_and_no_rows(
    open_page: OpenPage, past: Past
) -> None:
    start = past.end - 365 * 24 * HOUR_MS
    dash = open_page(past.zaidash, f"?start={start}&end={start + HOUR_MS}")
    for panel in (*CHARTS, "history"):
        dash.wait_loaded(panel)
        expect(dash.panel(panel)).to_contain_text("No data in this range.")
    assert dash.table("history").rows == []


def test_a_proxy_nobody_asks_has_no_requests_and_not_no_data(
    open_page: OpenPage, fake_proxy: FakeProxy
) -> None:
    nothing = {
        "requests": "No requests in this range.",
        "latency": "No values of the series that are shown.",
        "heat-map": "No request finished in this range.",
    }
    with quick(fake_proxy) as zaidash:
        eventually(lambda: len(ticks(zaidash)) >= 3, what="three ticks")
        dash = open_page(zaidash, "?range=5m&hidden=latency:p50")
        for panel, text in nothing.items():
            expect(dash.panel(panel)).to_contain_text(text)
        expect(dash.tile("requests", "production")).to_contain_text("0/s")
        generate_traffic(fake_proxy, random.Random(1), 30)
        for panel, text in nothing.items():
            expect(dash.panel(panel)).not_to_contain_text(text)
        # There are requests: it is the user who does not want to see them.
        eventually(partial(total_requests, zaidash, fake_proxy), what="all to be scraped")
        wait_ticks(dash, zaidash, 1)
        codes = dash.panel("requests").get_by_role("list", name="Series").get_by_role("button")
        for button in codes.all():
            button.click()
        expect(dash.panel("requests")).to_contain_text("No values of the series that are shown.")


def test_a_range_longer_than_anything_is_kept_has_its_totals(open_page: OpenPage) -> None:
    with FakeProxy() as proxy:
        settings = {
            "SCRAPE_TARGETS": proxy.url,
            "SCRAPE_INTERVAL": "200ms",
            "RETENTION_5S": "1h",
            "RETENTION_1M": "2h",
        }
        with run_zaidash(env=settings) as zaidash:
            # Totals take two scrapes, and the page asks for those of a day every two minutes.
            eventually(lambda: len(ticks(zaidash)) >= 2, what="two ticks")
            dash = open_page(zaidash, "?range=24h")
            totals = dash.panel("tokens").get_by_role("table", name="in all").locator("tbody td")
            expect(totals.first).to_have_text(re.compile("[0-9]"))


def test_a_page_is_not_called_live_where_nothing_has_come_yet(
    open_page: OpenPage,
) -> None:
    settings = {"SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/metrics"}
    with run_zaidash(env=settings) as zaidash:
        dash = open_page(zaidash)
        dash.wait_connection("waiting")
        expect(dash.connection).to_contain_text("no data yet")


# --------------------------------------------------------------------------------------
# Answers that come late
# --------------------------------------------------------------------------------------


def hold_long_questions(dash: Dashboard) -> Obstacle:
    """Keep the answers to questions about more than two hours back, as long as it may take."""
    dash.page.add_init_script("AbortSignal.timeout = () => new AbortController().signal")

    def is_long(url: str) -> bool:
        match = re.search(r"/api/metrics\?.*start=(\d+)&end=(\d+)", url)
        return match is not None and now_ms() - int(match[1]) > 2 * HOUR_MS

    return Obstacle(dash, is_long)


def test_a_late_answer_to_an_old_question_is_thrown_away(open_page: OpenPage, past: Past) -> None:
    held: list[Obstacle] = []
    dash = open_page(
        past.zaidash, "?range=15m", before=lambda dash: held.append(hold_long_questions(dash))
    )
    dash.wait_drawn()
    dash.page.keyboard.press("4")
    held[0].wait(3)
    dash.page.keyboard.press("1")
    dash.wait_until(lambda: is_window(dash, 5 * MINUTE_MS), "five minutes")
    held[0].clear()
    watched_until = now_ms() + 1_500
    while now_ms() < watched_until:
        assert is_window(dash, 5 * MINUTE_MS), "the old answer was drawn"
    for panel in CHARTS:
        expect(dash.panel(panel)).not_to_contain_text("Loading")
    assert "range=5m" in dash.page.url


def test_the_old_picture_stays_and_says_so_until_the_new_one_is_there(
    open_page: OpenPage, past: Past
) -> None:
    held: list[Obstacle] = []
    dash = open_page(
        past.zaidash, "?range=1h", before=lambda dash: held.append(hold_long_questions(dash))
    )
    dash.wait_drawn()
    place = place_of(dash, "latency")
    expect(dash.page.get_by_role("progressbar")).to_have_count(0)
    dash.page.keyboard.press("4")
    held[0].wait(3)
    now = now_ms()
    window = Span(now - HOUR_MS, now)
    part = Span(window.start + MINUTE_MS, past.end - MINUTE_MS)
    expect(dash.panel("latency").get_by_role("progressbar")).to_be_visible()
    assert place_of(dash, "latency") == place, "something jumped"
    for panel in CHARTS:
        expect(dash.panel(panel).get_by_role("progressbar")).to_be_visible()
        expect(dash.panel(panel)).to_have_attribute("aria-busy", "true")
        expect(dash.panel(panel)).not_to_contain_text("Loading")
        assert coloured(dash, panel, part, window) > 0.9, f"{panel} is empty meanwhile"
    assert is_window(dash, HOUR_MS)
    held[0].clear()
    dash.wait_until(lambda: is_window(dash, 6 * HOUR_MS), "six hours")
    expect(dash.page.get_by_role("progressbar")).to_have_count(0)


def place_of(dash: Dashboard, panel: str) -> Any:
    """Where a panel is among the panels: a banner above them may come and go."""
    return dash.panel(panel).evaluate(
        """(panel) => {
            const { x, y, width, height } = panel.getBoundingClientRect();
            const boxes = [...document.querySelectorAll("[data-panel]")]
                .map((one) => one.getBoundingClientRect());
            return [x, y - boxes[0].y, width, height, boxes.at(-1).y - y];
        }"""
    )


def is_window(dash: Dashboard, length_ms: int) -> bool:
    """Whether a chart shows so much time up to now, but for what may be missing at its edges."""
    times, now = times_in(dash), now_ms()
    # From the last row on: the chart may be drawn late, and now be later still.
    begins = times[-1] - length_ms - 2 * SECOND_MS <= times[0] <= now - 0.7 * length_ms
    return begins and now - times[-1] < 2 * MINUTE_MS
