"""Storage: what reaches the SQLite file, how minutes come about, and what a query answers.

Every test works on a real file. Time is a `Clock` where it matters, and rows are written through
`Store.put` where the writer thread matters, else through `Store.fill`.
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import eventually

from zaidash import (
    FIELDS,
    Config,
    DatabaseFile,
    History,
    PastParts,
    Query,
    Snapshot,
    Store,
    _PartKey,
    load_config,
)

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

#: 2026-01-01T00:00:00Z: a whole day, hour and minute.
T0 = 1_767_225_600_000

#: Downsampling takes place when the store starts, and not again while a test runs.
NEVER_S = 3_600.0
#: Downsampling takes place all the time.
ALWAYS_S = 0.01

OBJECTS = ("status_code_rates", "latency_buckets")
RATES = (
    *("req_rate", "token_rate_in", "token_rate_out"),
    *("token_rate_cache_read", "token_rate_cache_write"),
    *("rate_limit_rejection_rate", "rate_limit_adj_increase_rate", "rate_limit_adj_decrease_rate"),
    *("upstream_error_rate", "retry_rate"),
)
SUMMED = ("elapsed_s", "latency_buckets")
COUNTERS = (
    *("requests_2xx", "requests_4xx", "requests_5xx"),
    *("tokens_input", "tokens_output", "tokens_cache_read", "tokens_cache_write"),
    *("rate_limit_rejections", "rate_limit_adj_increase", "rate_limit_adj_decrease"),
    *("upstream_errors", "retry_attempts"),
)
#: Every field of a snapshot but `timestamp` and `variant`, as the contract lists them.
NAMES = (
    *("elapsed_s", *COUNTERS),
    *("concurrent_requests", "max_workers", "worker_utilization", "rate_limit_rps"),
    *RATES,
    *("status_code_rates", "error_rate_pct"),
    *("latency_p50", "latency_p95", "latency_p99", "request_size_avg", "response_size_avg"),
    "latency_buckets",
)
NUMBERS = tuple(name for name in NAMES if name not in OBJECTS)
FIELD = {field.name: field for field in FIELDS}

Row = dict[str, Any]


class Clock:
    """A wall clock that stands until a test moves it."""

    def __init__(self, ms: int = T0) -> None:
        self.ms = ms

    def __call__(self) -> float:
        return self.ms / 1000


def make_config(path: Path, **changes: Any) -> Config:
    return replace(load_config(["--db-path", str(path)], {})[0], **changes)


@contextmanager
def a_store(path: Path, clock: Clock, **changes: Any) -> Iterator[Store]:
    """A store that is open, and closed at the end. `start()` is the test's."""
    changes = {"downsample_interval_s": NEVER_S, **changes}
    store = Store(make_config(path, **changes), wall=clock)
    store.open()
    try:
        yield store
    finally:
        store.close()


def snapshot(ts_ms: int, variant: str = "production", /, **values: Any) -> Snapshot:
    """A snapshot with these values; the other fields are null."""
    assert not values.keys() - set(NAMES)
    return Snapshot.build(ts_ms, variant, [values.get(field.name) for field in FIELDS])


def busy(ts_ms: int, variant: str = "production") -> Snapshot:
    """A snapshot whose every value follows from its time, so that averages differ everywhere."""
    n = (ts_ms - T0) // SECOND_MS
    values: dict[str, Any] = {name: i + n % (7 + i) for i, name in enumerate(NUMBERS)}
    values["elapsed_s"] = 5.0
    values["latency_p99"] = None if n % 4 == 0 else n / 8
    values["status_code_rates"] = {"200": n % 11, **({"500": 0.25} if n % 3 == 0 else {})}
    values["latency_buckets"] = {"0.5": n % 5, **({"+Inf": 1} if n % 7 == 0 else {})}
    return snapshot(ts_ms, variant, **values)


def ticks(start_ms: int, end_ms: int, step_ms: int = 5 * SECOND_MS) -> range:
    return range(start_ms, end_ms, step_ms)


def fill(store: Store, snapshots: Iterable[Snapshot]) -> None:
    store.fill(one.row() for one in snapshots)


def write(store: Store, snapshots: Iterable[Snapshot]) -> None:
    """Put snapshots and wait until they are on disk."""
    for one in snapshots:
        store.put(one)
    eventually(lambda: store.waiting == 0, what="the writer")


def ask(
    store: Store,
    start_ms: int,
    end_ms: int,
    fields: Iterable[str] = NAMES,
    *,
    variants: tuple[str, ...] = ("production",),
    points: int | None = None,
) -> list[Row]:
    query = Query(start_ms, end_ms, variants, tuple(FIELD[name] for name in fields), points)
    rows: list[Row] = json.loads(b"".join(History(store).json_rows(query)))
    return rows


def long_ask(store: Store, end_ms: int, fields: Iterable[str] = NAMES, **more: Any) -> list[Row]:
    """Ask for a range that ends there and is answered by minutes."""
    return ask(store, end_ms - DAY_MS, end_ms, fields, **more)


def sql(path: Path, statement: str, *parameters: Any) -> list[Any]:
    """What another program finds in the file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


def stored_minutes(path: Path, variant: str = "production") -> list[int]:
    return [ts for (ts,) in sql(path, "SELECT ts FROM metrics_1m WHERE variant = ?", variant)]


def times(rows: Iterable[Row]) -> list[int]:
    return [row["timestamp"] for row in rows]


# --------------------------------------------------------------------------------------
# The schema
# --------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zaidash.db"


TABLES = ("metrics_5s", "metrics_1m")


@pytest.mark.parametrize("table", TABLES)
def test_every_field_is_a_typed_column_under_its_own_name(path: Path, table: str) -> None:
    with a_store(path, Clock()):
        columns = {name: (kind, key) for _, name, kind, _, _, key in sql(path, info(table))}
    assert set(columns) == {"variant", "ts", *NAMES}
    assert columns["variant"] == ("TEXT", 1)
    assert columns["ts"] == ("INTEGER", 2)
    assert {columns[name] for name in OBJECTS} == {("TEXT", 0)}
    assert {columns[name][0] for name in NUMBERS} == {"INTEGER", "REAL"}
    assert all(columns[name][0] == "INTEGER" for name in COUNTERS)


def test_both_tables_have_the_same_columns(path: Path) -> None:
    with a_store(path, Clock()):
        assert sql(path, info("metrics_5s")) == sql(path, info("metrics_1m"))


def test_readers_do_not_block_the_writer_because_the_file_is_in_wal_mode(path: Path) -> None:
    with a_store(path, Clock()):
        assert sql(path, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("table", TABLES)
def test_no_program_can_store_a_variant_and_time_twice(path: Path, table: str) -> None:
    with a_store(path, Clock()):
        insert = f"INSERT INTO {table} (variant, ts) VALUES ('production', 0)"
        sql(path, insert)
        with pytest.raises(sqlite3.IntegrityError):
            sql(path, insert)


def info(table: str) -> str:
    return f"PRAGMA table_info({table})"


#: What `sqlite3 FILE STATEMENT` prints, for machines without that program.
_SHELL = """
import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):
    print("|".join("" if value is None else str(value) for value in row))
"""

SHELL_CASES = [
    pytest.param("SELECT variant, ts FROM metrics_5s", f"production|{T0}", id="the key"),
    pytest.param(
        "SELECT requests_2xx, typeof(requests_2xx) FROM metrics_5s",
        "12345|integer",
        id="a counter is an integer",
    ),
    pytest.param(
        "SELECT req_rate, typeof(req_rate) FROM metrics_5s", "2.0|real", id="a rate is a real"
    ),
    pytest.param("SELECT latency_p50 IS NULL FROM metrics_5s", "1", id="no value is NULL"),
    pytest.param(
        "SELECT json_extract(status_code_rates, '$.200') FROM metrics_5s",
        "1.5",
        id="rates by code are JSON",
    ),
    pytest.param(
        """SELECT json_extract(latency_buckets, '$."+Inf"') FROM metrics_5s""",
        "3",
        id="latency buckets are JSON",
    ),
    pytest.param(
        "SELECT datetime(ts / 1000, 'unixepoch') FROM metrics_5s",
        "2026-01-01 00:00:00",
        id="ts is milliseconds since the epoch",
    ),
    pytest.param("PRAGMA integrity_check", "ok", id="the file is sound"),
]


@pytest.mark.parametrize(("statement", "printed"), SHELL_CASES)
def test_the_sqlite3_shell_answers_by_itself_while_zaidash_runs(
    path: Path, statement: str, printed: str
) -> None:
    with a_store(path, Clock()) as store:
        store.start()
        one = snapshot(
            *(T0, "production"),
            requests_2xx=12_345,
            req_rate=2,
            status_code_rates={"200": 1.5},
            latency_buckets={"+Inf": 3},
        )
        write(store, [one])
        shell = shutil.which("sqlite3")
        command = [shell] if shell else [sys.executable, "-c", _SHELL]
        done = subprocess.run(
            [*command, str(path), statement], capture_output=True, text=True, timeout=30, check=True
        )
    assert done.stdout.strip() == printed


# --------------------------------------------------------------------------------------
# Round trip: what is read is what was measured
# --------------------------------------------------------------------------------------

ROUND_TRIPS: list[Any] = [
    pytest.param({}, id="nothing is known"),
    pytest.param({name: 0 for name in NUMBERS}, id="everything is zero"),
    pytest.param({"status_code_rates": {}, "latency_buckets": {}}, id="objects without a key"),
    pytest.param({"tokens_input": 2**53 + 1}, id="a counter that no double holds"),
    pytest.param({"tokens_input": 2**63 - 1}, id="the largest 64-bit counter"),
    pytest.param({"tokens_input": 12_345_678_901_234_567_890}, id="a counter above 64 bits"),
    pytest.param({"tokens_input": 3.25}, id="a counter that is no whole number"),
    pytest.param({"req_rate": 1e-9}, id="a tiny rate"),
    pytest.param({"req_rate": 1 / 3}, id="a rate without an end"),
    pytest.param({"req_rate": 2 / 3e5, "token_rate_in": 2e22 / 3}, id="rates of all sizes"),
    pytest.param({"concurrent_requests": -1, "rate_limit_rps": -0.5}, id="negative gauges"),
    pytest.param({"req_rate": math.nan, "latency_p50": math.inf}, id="no number at all"),
    pytest.param(
        {"status_code_rates": {'"': 1, "\\": 2, "%s": 3, "\u00e9\U0001f600": 4, "": 5}},
        id="strange status codes",
    ),
    pytest.param({"latency_buckets": {"0.005": 1, "300": 2**53, "+Inf": 3}}, id="latency buckets"),
]


@pytest.mark.parametrize("variant", ["production", "v1.2_x-y"])
@pytest.mark.parametrize("values", ROUND_TRIPS)
def test_history_shows_the_same_object_as_the_stream(
    path: Path, values: dict[str, Any], variant: str
) -> None:
    one = snapshot(T0, variant, **values)
    with a_store(path, Clock()) as store:
        store.put(one)
        while_waiting = ask(store, T0, T0, variants=(variant,))
        store.start()
        write(store, [])
        assert ask(store, T0, T0, variants=(variant,)) == [json.loads(one.encoded)]
    assert while_waiting == [json.loads(one.encoded)]


def test_the_keys_come_in_the_same_order_from_memory_and_from_disk(path: Path) -> None:
    with a_store(path, Clock()) as store:
        fill(store, [busy(T0)])
        assert list(ask(store, T0, T0)[0]) == list(json.loads(busy(T0).encoded))


MEASURED = st.none() | st.integers(0, 10**15) | st.floats(1e-9, 1e15) | st.just(0.0)
BY_KEY = st.none() | st.dictionaries(
    st.sampled_from(["200", "404", "500", "0.5", "+Inf"]), MEASURED
)
VALUES = st.fixed_dictionaries({n: BY_KEY if n in OBJECTS else MEASURED for n in NAMES})


@settings(max_examples=40, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=8))
def test_whatever_is_measured_reads_the_same_from_memory_and_disk(measured: list[Row]) -> None:
    made = [snapshot(T0 + i, **tidy_objects(values)) for i, values in enumerate(measured)]
    expected = [json.loads(one.encoded) for one in made]
    with tempfile.TemporaryDirectory() as name, a_store(Path(name) / "a.db", Clock()) as store:
        for one in made:
            store.put(one)
        assert ask(store, T0, T0 + 100) == expected
        fill(store, made)
        assert ask(store, T0, T0 + 100) == expected
        assert [json.loads(text) for _, _, text in History(store).last_hour()] == expected[:1]


def tidy_objects(values: Row) -> Row:
    """An object's numbers are always known."""
    return {
        name: {key: number or 0 for key, number in value.items()}
        if isinstance(value, dict)
        else value
        for name, value in values.items()
    }


def test_a_restart_brings_back_the_last_hour_and_nothing_older(path: Path) -> None:
    clock = Clock(T0 + 2 * HOUR_MS)
    with a_store(path, clock) as store:
        fill(store, map(busy, ticks(T0, clock.ms + MINUTE_MS, MINUTE_MS)))
        hour = History(store).last_hour()
    assert [ts for ts, _, _ in hour] == list(ticks(T0 + HOUR_MS, clock.ms + 1, MINUTE_MS))
    assert [text for _, _, text in hour] == [busy(ts).encoded for ts, _, _ in hour]


# --------------------------------------------------------------------------------------
# Downsampling: the rules
# --------------------------------------------------------------------------------------

AVERAGES: list[Any] = [
    pytest.param("req_rate", [1, 2, 6], 3, id="a rate is averaged"),
    pytest.param("req_rate", [1, None, 3], 2, id="a null is left out"),
    pytest.param("req_rate", [None, None], None, id="nothing but nulls stays null"),
    pytest.param("req_rate", [0, 0, 3], 1, id="a zero counts"),
    pytest.param("req_rate", [7], 7, id="a single snapshot stands for its minute"),
    pytest.param("requests_2xx", [1, 2], 1.5, id="a counter's average need not be whole"),
    pytest.param("requests_2xx", [10, 20, 30], 20, id="a counter's average"),
    pytest.param("error_rate_pct", [0, 50, None], 25, id="an error rate is averaged"),
    pytest.param("latency_p99", [100, None, 300], 200, id="a quantile is averaged"),
    pytest.param("elapsed_s", [5, 5, 5.5], 15.5, id="the time covered is summed"),
    pytest.param("elapsed_s", [None, 5], 5, id="a first snapshot covers no time"),
    pytest.param("elapsed_s", [None], None, id="a lone first snapshot covers no time"),
    pytest.param(
        "status_code_rates",
        [{"200": 4}, {"200": 2, "500": 1}],
        {"200": 3, "500": 0.5},
        id="a code that is absent counts as 0",
    ),
    pytest.param(
        "status_code_rates",
        [None, {"200": 4}, {"200": 2}],
        {"200": 3},
        id="a snapshot without rates is left out",
    ),
    pytest.param("status_code_rates", [{}, {"200": 4}], {"200": 2}, id="no request is 0 req/s"),
    pytest.param("status_code_rates", [{}, {}], {}, id="no code at all"),
    pytest.param("status_code_rates", [None, None], None, id="no rates at all"),
    pytest.param(
        "latency_buckets",
        [{"0.5": 3, "1": 9}, {"0.5": 1, "+Inf": 2}, {}],
        {"0.5": 4, "1": 9, "+Inf": 2},
        id="buckets are summed",
    ),
    pytest.param("latency_buckets", [None, {"1": 2}], {"1": 2}, id="no buckets yet"),
    pytest.param("latency_buckets", [None, None], None, id="no buckets at all"),
    pytest.param("latency_buckets", [{}, {}], {}, id="no request finished"),
]


class Views(NamedTuple):
    """The same minute, seen in every way there is."""

    on_the_fly: list[Row]
    unwritten: list[Row]
    stored: list[Row]
    as_one_point: list[Row]


def see(directory: Path, snapshots: Sequence[Snapshot], end_ms: int = T0 + MINUTE_MS) -> Views:
    clock = Clock(T0)
    path = directory / "minutes.db"
    with a_store(path, clock) as store:
        fill(store, snapshots)
        clock.ms = end_ms + MINUTE_MS
        assert not stored_minutes(path)
        on_the_fly = long_ask(store, end_ms)
        as_one_point = ask(store, T0, end_ms - 1, points=1)
        store.start()
        eventually(lambda: stored_minutes(path), what="the start-up job")
        stored = long_ask(store, end_ms)
    with a_store(directory / "unwritten.db", clock) as store:
        for one in snapshots:
            store.put(one)
        unwritten = long_ask(store, end_ms)
    return Views(on_the_fly, unwritten, stored, as_one_point)


@pytest.mark.parametrize(("name", "values", "expected"), AVERAGES)
def test_a_minute_is_what_its_snapshots_say(
    tmp_path: Path, name: str, values: list[Any], expected: Any
) -> None:
    views = see(tmp_path, [snapshot(T0 + i * 5_000, **{name: v}) for i, v in enumerate(values)])
    for rows in views:
        assert [(row["timestamp"], row[name]) for row in rows] == [(T0, expected)]


#: What rows say and how long each covers, and what they are together.
AVERAGES_BY_TIME: list[Any] = [
    pytest.param("req_rate", [(4, 5), (1, 55)], 1.25, id="an outage has its share of the time"),
    pytest.param("req_rate", [(None, None), (4, 5), (7, 10)], 6, id="a first snapshot has none"),
    pytest.param("req_rate", [(90, None), (4, 5), (7, 10)], 6, id="of an unknown time, little"),
    pytest.param("req_rate", [(1, None), (3, None)], 2, id="where no time is known, all the same"),
    pytest.param("retry_rate", [(None, 50), (4, 5), (7, 10)], 6, id="who knows none is left out"),
    pytest.param("latency_p99", [(100, 5), (200, 55)], 150, id="a quantile is of no time"),
    pytest.param("concurrent_requests", [(4, 5), (8, 55)], 6, id="nor is a gauge"),
    pytest.param("requests_2xx", [(10, 5), (20, 55)], 15, id="nor is a total"),
    pytest.param(
        "status_code_rates",
        [({"200": 4}, 5), ({"200": 2, "500": 1}, 15)],
        {"200": 2.5, "500": 0.75},
        id="codes count by the time, too",
    ),
    pytest.param(
        "status_code_rates",
        [(None, 30), ({"200": 9}, None), ({"200": 4}, 5)],
        {"200": 4},
        id="and only where both are known",
    ),
    pytest.param("latency_buckets", [({"1": 3}, 5), ({"1": 4}, 55)], {"1": 7}, id="not so a sum"),
]


@pytest.mark.parametrize(("name", "values", "expected"), AVERAGES_BY_TIME)
def test_a_rate_counts_by_the_time_it_covers(
    tmp_path: Path, name: str, values: list[tuple[Any, float | None]], expected: Any
) -> None:
    rows = [
        snapshot(T0 + i * 5_000, **{name: value, "elapsed_s": elapsed_s})
        for i, (value, elapsed_s) in enumerate(values)
    ]
    for view in see(tmp_path, rows):
        (row,) = view
        assert row[name] == pytest.approx(expected, rel=1e-12)


def test_every_number_has_its_average_in_its_own_column(tmp_path: Path) -> None:
    rows = [
        snapshot(T0 + add * 5_000, **{name: 10 * i + add for i, name in enumerate(NUMBERS)})
        for add in (1, 2, 6)
    ]
    expected: Row = {name: 10 * i + 3 for i, name in enumerate(NUMBERS)}
    # Rates count by `elapsed_s`, the first of NUMBERS: 1, 2 and 6 seconds.
    expected.update({name: expected[name] - 3 + (1 + 2 * 2 + 6 * 6) / 9 for name in RATES})
    expected["elapsed_s"] = 9
    expected.update(timestamp=T0, variant="production")
    expected.update(status_code_rates=None, latency_buckets=None)
    for view in see(tmp_path, rows):
        (row,) = view
        assert row == {name: near(value) for name, value in expected.items()}


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12) if isinstance(value, float) else value


def test_running_minutes_look_the_same_before_and_after_they_are_stored(tmp_path: Path) -> None:
    end_ms = T0 + 20 * MINUTE_MS
    views = see(tmp_path, list(map(busy, ticks(T0, end_ms))), end_ms)
    assert times(views.stored) == list(ticks(T0, end_ms, MINUTE_MS))
    assert views.on_the_fly == views.stored
    assert views.unwritten == views.stored


def test_the_table_itself_holds_the_averages(path: Path) -> None:
    clock = Clock(T0)
    with a_store(path, clock) as store:
        fill(store, [snapshot(T0 + i * 5_000, req_rate=i, requests_2xx=i) for i in range(3)])
        clock.ms = T0 + 5 * MINUTE_MS
        store.start()
        eventually(lambda: stored_minutes(path), what="the start-up job")
    statement = "SELECT variant, ts, req_rate, requests_2xx, latency_p50 FROM metrics_1m"
    assert sql(path, statement) == [("production", T0, 1.0, 1, None)]


#: What a hand may have written into a column of objects, none of which may cost the rest.
NOT_OURS = [
    *("", "nonsense", "[1, 2]", '{"200": "4"}', '{"200": null}', '{"200": 4', "7", b"\xff"),
    *('{"200": 1' + "0" * 400 + "}", '{"200": 1e999}', '{"200": NaN}', "[" * 5_000),
    *('{"200": 1}, {"200": 1}', " ", '{"200": 1e160}'),
]


def test_what_somebody_else_wrote_into_the_file_is_left_out_of_averages(path: Path) -> None:
    with a_store(path, Clock(T0 + 5 * MINUTE_MS)) as store:
        count = 300  # more than are decoded in one go
        fill(store, [snapshot(T0 + i * 100, status_code_rates={"200": 4}, latency_buckets={"1": 2})
                     for i in range(count)])  # fmt: skip
        for i, text in enumerate(NOT_OURS):
            sql(path, "UPDATE metrics_5s SET status_code_rates = ?, latency_buckets = ?"
                      " WHERE ts = ?", text, text, T0 + i * 2_000)  # fmt: skip
        names = ("status_code_rates", "latency_buckets")
        (row,) = ask(store, T0, T0 + MINUTE_MS - 1, names, points=1)
    assert row["status_code_rates"] == {"200": 4}
    assert row["latency_buckets"] == {"1": 2 * (count - len(NOT_OURS))}


@pytest.mark.parametrize("text", NOT_OURS)
@pytest.mark.parametrize("elapsed_s", [None, -100, 0, 1, 5])
def test_what_somebody_else_wrote_moves_the_weight_of_no_other_row(
    path: Path, text: str | bytes, elapsed_s: float | None
) -> None:
    rows = [snapshot(T0 + i * 5_000, status_code_rates={"200": rate}, req_rate=rate, elapsed_s=s)
            for i, (rate, s) in enumerate([(1, 5), (10, 55), (20, 5)])]  # fmt: skip
    with a_store(path, Clock(T0 + 5 * MINUTE_MS)) as store:
        fill(store, rows)
        sql(path, "UPDATE metrics_5s SET status_code_rates = ?, req_rate = 'many', elapsed_s = ?"
                  " WHERE ts = ?", text, elapsed_s, T0)  # fmt: skip
        names = ("status_code_rates", "req_rate", "elapsed_s")
        (row,) = ask(store, T0, T0 + MINUTE_MS - 1, names, points=1)
    average = pytest.approx((10 * 55 + 20 * 5) / 60)
    assert (row["req_rate"], row["status_code_rates"]) == (average, {"200": average})
    assert row["elapsed_s"] == 60 + max(elapsed_s or 0, 0)


def test_a_summary_has_the_errors_of_every_object_however_it_is_written(path: Path) -> None:
    texts = [
        *('{"200":4.0}', '{"200":4.0,"500":0}', '{"500":0,"503":0.0}', '{"429":5,"200":0.5}'),
        *('{"500":2}', '{"200":4.0,"500":0.25}', '{"500":0,"200":4,"503":1e-07}', '{"599":0.001}'),
        *('{ "500" : 3 }', '{"500": 0 , "501": 7}', '{"500":0,"200":5,"502":10.0}'),
        *(r'{"\u003500":6}', r'{"\u00350\u0030":0.5,"404":9}', '{"5":1.5}', '{"6":8,"4":8}', "{}"),
    ]
    found = [sum(v for k, v in json.loads(text).items() if k.startswith("5")) for text in texts]
    with a_store(path, Clock(T0 + 5 * MINUTE_MS)) as store:
        fill(store, [snapshot(T0 + i * 5_000, req_rate=20.0, elapsed_s=5.0)
                     for i in range(len(texts))])  # fmt: skip
        for i, text in enumerate(texts):
            sql(path, "UPDATE metrics_5s SET status_code_rates = ? WHERE ts = ?", text,
                T0 + i * 5_000)  # fmt: skip
        for i, wanted in enumerate(found):
            ts_ms = T0 + i * 5_000
            (summary,) = History(store).summarize(Query(ts_ms, ts_ms, ("production",))).values()
            assert summary.counts[1] == pytest.approx(5 * wanted), texts[i]


def test_text_that_is_no_utf8_ends_neither_averaging_nor_the_writer(path: Path) -> None:
    clock = Clock(T0 + 5 * MINUTE_MS)
    with a_store(path, clock) as store:
        fill(store, [snapshot(T0 + i * 1_000, status_code_rates={"200": 4}) for i in range(60)])
    sql(path, "DELETE FROM metrics_1m")
    for ts_ms, text in ((T0, "x'ff'"), (T0 + 1_000, "x'7b22ff223a317d'")):  # a name of 0xff: 1
        sql(path, f"UPDATE metrics_5s SET status_code_rates = CAST({text} AS TEXT) WHERE ts = ?",
            ts_ms)  # fmt: skip
    with a_store(path, clock) as store:
        store.start()
        eventually(lambda: stored_minutes(path) == [T0], what="the minute")
        write(store, [snapshot(T0 + 4 * MINUTE_MS)])
        assert store.problem is None
        row, _ = long_ask(store, clock.ms, ["status_code_rates"])
    assert row["status_code_rates"] == {"200": 4}


# --------------------------------------------------------------------------------------
# Downsampling: which minutes, and when
# --------------------------------------------------------------------------------------


def log_changes(path: Path) -> None:
    """Let the database itself note whatever happens to a minute."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE happened (what, variant, ts)")
        for what, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
            connection.execute(
                f"CREATE TRIGGER log_{what} AFTER {what} ON metrics_1m BEGIN"
                f" INSERT INTO happened VALUES ('{what}', {row}.variant, {row}.ts); END"
            )


def is_stored(path: Path, minute_ms: int) -> bool:
    """Say whether the job has been over a minute; there is none before T0."""
    return minute_ms < T0 or minute_ms in stored_minutes(path)


def test_a_minute_is_stored_once_however_often_the_job_runs(path: Path) -> None:
    clock = Clock(T0)
    variants = ("production", "canary")
    with a_store(path, clock, downsample_interval_s=ALWAYS_S) as store:
        log_changes(path)
        store.start()
        for start_ms in ticks(T0, T0 + 12 * MINUTE_MS, MINUTE_MS):
            for ts_ms in ticks(start_ms, start_ms + MINUTE_MS, 10_000):
                clock.ms = ts_ms
                write(store, [busy(ts_ms, variant) for variant in variants])
            eventually(partial(is_stored, path, start_ms - MINUTE_MS), what="the job")
        happened = Counter(sql(path, "SELECT what, variant, ts FROM happened"))
    expected = [("INSERT", v, ts) for v in variants for ts in ticks(T0, clock.ms, MINUTE_MS)]
    assert happened == Counter(e for e in expected if e[2] < T0 + 11 * MINUTE_MS)


def test_a_minute_that_still_runs_is_not_stored(path: Path) -> None:
    clock = Clock(T0)
    with a_store(path, clock, downsample_interval_s=ALWAYS_S) as store:
        fill(store, map(busy, ticks(T0, T0 + 2 * MINUTE_MS)))
        clock.ms = T0 + 2 * MINUTE_MS - 1
        store.start()
        eventually(lambda: stored_minutes(path) == [T0], what="the first minute")
        # Another turn of the job: what is put now is written after it.
        write(store, [busy(T0 + 2 * MINUTE_MS - 1)])
        write(store, [busy(T0 + 2 * MINUTE_MS - 2)])
        assert stored_minutes(path) == [T0]


def test_a_minute_waits_for_a_scrape_that_takes_its_whole_deadline(path: Path) -> None:
    clock = Clock(T0 + 50_000)
    with a_store(path, clock, downsample_interval_s=ALWAYS_S, timeout_s=3.0) as store:
        store.start()
        write(store, [snapshot(T0 + 50_000, req_rate=1)])
        clock.ms = T0 + MINUTE_MS + 2_000
        write(store, [snapshot(T0 + 45_000, req_rate=1)])  # the job had its turn
        write(store, [snapshot(T0 + 55_000, req_rate=7)])
        clock.ms = T0 + 2 * MINUTE_MS
        eventually(lambda: stored_minutes(path), what="the job")
        assert [row["req_rate"] for row in long_ask(store, clock.ms)] == [3]


def test_what_a_stop_left_undone_is_done_at_the_start(path: Path) -> None:
    end_ms = T0 + 3 * HOUR_MS
    with a_store(path, Clock(T0)) as store:
        fill(store, map(busy, ticks(T0, end_ms)))
    with a_store(path, Clock(T0 + 12 * HOUR_MS)) as store:
        before = long_ask(store, end_ms)
        store.start()
        wanted = list(ticks(T0, end_ms, MINUTE_MS))
        eventually(lambda: stored_minutes(path) == wanted, what="the catch-up")
        assert long_ask(store, end_ms) == before
        assert times(before) == wanted


def test_a_hole_left_in_the_middle_is_filled_and_its_neighbours_stay(path: Path) -> None:
    minutes = list(ticks(T0, T0 + 10 * MINUTE_MS, MINUTE_MS))
    clock = Clock(T0)
    with a_store(path, clock) as store:
        fill(store, map(busy, ticks(T0, T0 + 10 * MINUTE_MS)))
        for ts_ms in minutes[:3] + minutes[6:]:
            sql(path, "INSERT INTO metrics_1m (variant, ts, req_rate) VALUES (?, ?, -1)",
                "production", ts_ms)  # fmt: skip
    clock.ms = T0 + HOUR_MS
    with a_store(path, clock) as store:
        store.start()
        eventually(lambda: stored_minutes(path) == minutes, what="the catch-up")
    kept = sql(path, "SELECT ts FROM metrics_1m WHERE req_rate = -1 ORDER BY ts")
    assert [ts for (ts,) in kept] == minutes[:3] + minutes[6:]


def test_a_job_cut_off_half_way_leaves_no_minute_out_and_none_double(path: Path) -> None:
    clock = Clock(T0)
    minutes = list(ticks(T0, T0 + 10 * MINUTE_MS, MINUTE_MS))
    with a_store(path, clock, interval_s=0.1, downsample_interval_s=ALWAYS_S) as store:
        fill(store, map(busy, ticks(T0, T0 + 10 * MINUTE_MS)))
        log_changes(path)
        sql(
            path,
            f"CREATE TRIGGER cut BEFORE INSERT ON metrics_1m WHEN NEW.ts = {minutes[5]}"
            " BEGIN SELECT RAISE(ABORT, 'cut off'); END",
        )
        clock.ms = T0 + HOUR_MS
        store.start()
        assert "cut off" in str(eventually(lambda: store.problem, what="the cut"))
        assert stored_minutes(path) == []
        assert times(long_ask(store, clock.ms)) == minutes
        sql(path, "DROP TRIGGER cut")
        eventually(lambda: stored_minutes(path) == minutes, what="the next run")
        eventually(lambda: store.problem is None, what="the end of the problem")
    assert sql(path, "SELECT what, ts FROM happened ORDER BY ts") == [
        ("INSERT", ts_ms) for ts_ms in minutes
    ]


def test_a_gap_stays_a_gap(path: Path) -> None:
    clock = Clock(T0)
    with a_store(path, clock) as store:
        fill(store, [busy(T0), busy(T0 + 30 * MINUTE_MS)])
        clock.ms = T0 + HOUR_MS
        store.start()
        eventually(lambda: len(stored_minutes(path)) == 2, what="the job")
        assert times(long_ask(store, clock.ms)) == [T0, T0 + 30 * MINUTE_MS]


def test_a_late_snapshot_is_kept_and_changes_no_stored_minute(path: Path) -> None:
    clock = Clock(T0)
    with a_store(path, clock, downsample_interval_s=ALWAYS_S) as store:
        fill(store, [snapshot(T0, req_rate=1)])
        log_changes(path)
        clock.ms = T0 + 5 * MINUTE_MS
        store.start()
        eventually(lambda: stored_minutes(path) == [T0], what="the job")
        write(store, [snapshot(T0 + 5_000, req_rate=9)])
        write(store, [snapshot(T0 + 2 * MINUTE_MS, req_rate=2)])
        eventually(lambda: len(stored_minutes(path)) == 2, what="the next run")
        assert [row["req_rate"] for row in ask(store, T0, T0 + 5_000)] == [1, 9]
        assert [row["req_rate"] for row in long_ask(store, clock.ms)] == [1, 2]
    assert len(sql(path, "SELECT * FROM happened")) == 2


def test_a_variant_whose_snapshots_come_late_gets_its_minute(path: Path) -> None:
    clock = Clock(T0)
    with a_store(path, clock, downsample_interval_s=ALWAYS_S) as store:
        fill(store, map(busy, ticks(T0, T0 + 5 * MINUTE_MS)))
        clock.ms = T0 + 10 * MINUTE_MS
        store.start()
        eventually(lambda: len(stored_minutes(path)) == 5, what="the job")
        write(store, [snapshot(T0 + 61_000, "canary", req_rate=3)])
        eventually(lambda: stored_minutes(path, "canary"), what="the next run")
        late = long_ask(store, clock.ms, ["req_rate"], variants=("canary",))
    assert late == [{"timestamp": T0 + MINUTE_MS, "variant": "canary", "req_rate": 3}]


# --------------------------------------------------------------------------------------
# Query routing
# --------------------------------------------------------------------------------------

ROUTES: list[Any] = [
    pytest.param(5 * MINUTE_MS, 5_000, id="five minutes are snapshots"),
    pytest.param(HOUR_MS - 1, 5_000, id="range=1h is snapshots"),
    pytest.param(HOUR_MS, 5_000, id="an hour between start and end is snapshots"),
    pytest.param(HOUR_MS + 1, MINUTE_MS, id="more than an hour is minutes"),
    pytest.param(DAY_MS, MINUTE_MS, id="a day is minutes"),
    pytest.param(7 * DAY_MS, MINUTE_MS, id="a week is minutes"),
]


@pytest.mark.parametrize(("span_ms", "step_ms"), ROUTES)
def test_a_range_is_answered_at_its_resolution(path: Path, span_ms: int, step_ms: int) -> None:
    clock = Clock(T0 + 2 * HOUR_MS)
    with a_store(path, clock) as store:
        fill(store, map(busy, ticks(T0, clock.ms + 1)))
        found = times(ask(store, clock.ms - span_ms, clock.ms, ["req_rate"]))
    first_ms = max(T0, -(-(clock.ms - span_ms) // step_ms) * step_ms)
    assert found == list(range(first_ms, clock.ms + 1, step_ms))


OLD_WINDOWS: list[Any] = [
    pytest.param(5 * HOUR_MS, 10 * MINUTE_MS, id="long before the snapshots that are left"),
    pytest.param(HOUR_MS + 10 * MINUTE_MS, 20 * MINUTE_MS, id="across the oldest snapshot left"),
]


@pytest.mark.parametrize(("age_ms", "span_ms"), OLD_WINDOWS)
def test_zooming_into_what_has_expired_at_5_s_shows_its_minutes(
    path: Path, age_ms: int, span_ms: int
) -> None:
    clock = Clock(T0 + 6 * HOUR_MS)
    with a_store(path, clock, retention_5s_s=3_600.0) as store:
        fill(store, map(busy, ticks(T0, clock.ms)))
        store.start()
        eventually(lambda: oldest(path, "metrics_5s") > T0, what="the retention")
        start_ms = clock.ms - age_ms
        found = times(ask(store, start_ms, start_ms + span_ms, ["req_rate"]))
    assert found == list(range(start_ms, start_ms + span_ms + 1, MINUTE_MS))


def oldest(path: Path, table: str) -> int:
    ((ts_ms,),) = sql(path, f"SELECT MIN(ts) FROM {table}")
    return int(ts_ms)


@pytest.mark.parametrize("seconds", [0, 1, 59, 60, 61, 300, 539])
def test_a_long_chart_ends_now_and_shows_every_minute_once(path: Path, seconds: int) -> None:
    clock = Clock(T0 + 2 * HOUR_MS + 30_000)
    with a_store(path, clock) as store:
        fill(store, map(busy, ticks(T0, clock.ms)))  # which stores all minutes that are over
        stored = len(stored_minutes(path))
        clock.ms += seconds * SECOND_MS
        for ts_ms in ticks(T0 + 2 * HOUR_MS + 30_000, clock.ms + 1):
            store.put(busy(ts_ms))
        unwritten = long_ask(store, clock.ms)
        now_minute = clock.ms // MINUTE_MS * MINUTE_MS
        assert stored == 120
        assert times(unwritten) == list(range(T0, now_minute + 1, MINUTE_MS))
        clock.ms = T0 + 2 * HOUR_MS + 30_000  # the start-up job has nothing to do
        store.start()
        write(store, [])
        write(store, [snapshot(T0 - DAY_MS)])
        assert len(stored_minutes(path)) <= 121
        clock.ms += seconds * SECOND_MS
        assert long_ask(store, clock.ms)[-121:] == unwritten[-121:]


def test_every_window_agrees_with_the_whole_at_the_seam(path: Path) -> None:
    clock = Clock(T0 + 90 * MINUTE_MS)
    with a_store(path, clock) as store:
        fill(store, map(busy, ticks(T0, clock.ms)))
        for ts_ms in ticks(clock.ms, clock.ms + 30 * MINUTE_MS):
            store.put(busy(ts_ms))
        clock.ms += 30 * MINUTE_MS
        whole = long_ask(store, clock.ms)
        assert len(whole) == 120
        for start_ms in range(T0 - 1, T0 + 40 * MINUTE_MS, 7 * MINUTE_MS + 13_777):
            for span_ms in (HOUR_MS + 1, 77 * MINUTE_MS + 777):
                end_ms = start_ms + span_ms
                inside = [row for row in whole if start_ms <= row["timestamp"] <= end_ms]
                assert ask(store, start_ms, end_ms) == inside


def test_the_variants_asked_for_come_and_no_others(path: Path) -> None:
    both = ("production", "canary")
    with a_store(path, Clock()) as store:
        fill(store, [busy(ts, v) for ts in ticks(T0, T0 + 60_000) for v in both])
        rows = ask(store, T0, T0 + 60_000, variants=both)
        assert [(r["timestamp"], r["variant"]) for r in rows] == [
            (ts, v) for ts in ticks(T0, T0 + 60_000) for v in sorted(both)
        ]
        only = ask(store, T0, T0 + 60_000, variants=("canary",))
        assert {row["variant"] for row in only} == {"canary"}
        assert ask(store, T0, T0 + 60_000, variants=("nobody",)) == []


def test_a_slow_reader_gets_one_resolution_though_its_window_expires_meanwhile(path: Path) -> None:
    clock = Clock(T0 + HOUR_MS)
    with a_store(path, clock, retention_5s_s=3_600.0) as store:
        fill(store, map(busy, ticks(T0, clock.ms)))
        pieces = []
        query = Query(T0, clock.ms, ("production",), (FIELD["req_rate"],))
        for piece in History(store).json_rows(query):
            pieces.append(piece)
            clock.ms += 10_000
        assert times(json.loads(b"".join(pieces))) == list(ticks(T0, T0 + HOUR_MS))


# --------------------------------------------------------------------------------------
# points
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history() -> Iterator[tuple[Store, int]]:
    """Three hours of two variants, one with gaps, and the time it is then."""
    now_ms = T0 + 3 * HOUR_MS + 17_300
    with tempfile.TemporaryDirectory() as name:
        with a_store(Path(name) / "history.db", Clock(now_ms - 25 * MINUTE_MS)) as store:
            fill(store, (busy(ts, "production") for ts in ticks(T0, now_ms)))
            canary = (ts for ts in ticks(T0, now_ms) if (ts - T0) // (9 * MINUTE_MS) % 3)
            fill(store, (busy(ts, "canary") for ts in canary))
        with a_store(Path(name) / "history.db", Clock(now_ms)) as store:
            yield store, now_ms


BOTH = ("production", "canary")


@settings(max_examples=120, deadline=None)
@given(
    start=st.integers(-HOUR_MS, 3 * HOUR_MS),
    span=st.one_of(st.integers(0, HOUR_MS), st.integers(0, 5 * HOUR_MS)),
    points=st.one_of(st.integers(1, 12), st.integers(1, 1_000)),
)
def test_points_are_never_too_many_and_average_what_they_cover(
    history: tuple[Store, int], start: int, span: int, points: int
) -> None:
    store, _ = history
    start_ms, end_ms = T0 + start, T0 + start + span
    names = ("elapsed_s", "req_rate", "latency_p99", "status_code_rates", "latency_buckets")
    plain = ask(store, start_ms, end_ms, names, variants=BOTH)
    few = ask(store, start_ms, end_ms, names, variants=BOTH, points=points)
    assert times(few) == sorted(times(few))
    for variant in BOTH:
        check_points(
            [row for row in plain if row["variant"] == variant],
            [row for row in few if row["variant"] == variant],
            points,
        )


def check_points(plain: list[Row], few: list[Row], points: int) -> None:
    """Each point covers the rows from its time up to the next point's."""
    assert len(few) <= points
    ends = [*times(few), math.inf][1:]
    covered = [
        [row for row in plain if point["timestamp"] <= row["timestamp"] < end]
        for point, end in zip(few, ends, strict=True)
    ]
    assert sum(map(len, covered)) == len(plain)
    for point, rows in zip(few, covered, strict=True):
        assert rows
        for name in ("elapsed_s", "req_rate", "latency_p99"):
            assert point[name] == pytest.approx(merge(name, [row[name] for row in rows], rows))
        for name in OBJECTS:
            keys = {key for row in rows for key in row[name]}
            assert point[name] == pytest.approx(
                {key: merge(name, [row[name].get(key, 0) for row in rows], rows) for key in keys}
            )


def merge(name: str, values: Sequence[float | None], rows: Sequence[Row]) -> float | None:
    is_rate = name in (*RATES, "status_code_rates")
    weights = [row["elapsed_s"] if is_rate else 1 for row in rows]
    known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None]
    if not known:
        return None
    total = math.fsum(value * weight for value, weight in known)
    return total if name in SUMMED else total / math.fsum(weight for _, weight in known)


@pytest.mark.parametrize("span_ms", [HOUR_MS, 3 * HOUR_MS, 7 * DAY_MS])
@pytest.mark.parametrize("points", [1, 2, 3, 100, 600])
def test_few_points_still_make_a_chart(
    history: tuple[Store, int], span_ms: int, points: int
) -> None:
    store, now_ms = history
    every = ask(store, now_ms - span_ms, now_ms, ["req_rate"])
    few = ask(store, now_ms - span_ms, now_ms, ["req_rate"], points=points)
    wanted = min(points, len(every)) * min(1, 3 * HOUR_MS / span_ms)
    assert wanted / 2 - 1 <= len(few) <= points


def test_one_point_is_the_average_of_the_whole_window(history: tuple[Store, int]) -> None:
    store, _ = history
    start_ms, end_ms = T0 + 1_234_567, T0 + 1_234_567 + 41 * MINUTE_MS
    every = ask(store, start_ms, end_ms, ["elapsed_s", "req_rate"])
    (point,) = ask(store, start_ms, end_ms, ["elapsed_s", "req_rate"], points=1)
    assert point["elapsed_s"] == 5 * len(every)
    assert point["req_rate"] == pytest.approx(sum(r["req_rate"] for r in every) / len(every))


def test_more_points_than_rows_change_nothing(history: tuple[Store, int]) -> None:
    store, _ = history
    window = (T0 + MINUTE_MS, T0 + 11 * MINUTE_MS)
    assert ask(store, *window, points=100_000) == ask(store, *window)


# --------------------------------------------------------------------------------------
# Parts of charts and summaries that are kept
# --------------------------------------------------------------------------------------


def key_of(start_ms: int, end_ms: int, question: str = "") -> _PartKey:
    return _PartKey(start_ms, end_ms, (question,))


def test_a_part_is_found_by_its_time_and_question_alone() -> None:
    parts = PastParts()
    parts.keep(key_of(0, 9, "a"), (b"it",), parts.edition)
    assert parts.find(key_of(0, 9, "a")) == (b"it",)
    assert parts.find(key_of(0, 9, "b")) is None
    assert parts.find(key_of(0, 8, "a")) is None


CHANGES = [
    pytest.param((0, 9), False, id="before it"),
    pytest.param((0, 10), True, id="up to its begin"),
    pytest.param((12, 13), True, id="within it"),
    pytest.param((19, 30), True, id="from its end on"),
    pytest.param((20, 30), False, id="after it"),
    pytest.param((), True, id="anywhere"),
]


@pytest.mark.parametrize(("time_ms", "is_gone"), CHANGES)
def test_what_was_written_into_a_kept_part_shows(time_ms: tuple[int, ...], is_gone: bool) -> None:
    parts = PastParts()
    parts.keep(key_of(10, 19), (b"it",), parts.edition)
    parts.forget(*time_ms)
    assert (parts.find(key_of(10, 19)) is None) is is_gone


@pytest.mark.parametrize(("time_ms", "is_gone"), CHANGES)
def test_what_was_written_while_a_part_was_read_shows(
    time_ms: tuple[int, ...], is_gone: bool
) -> None:
    parts = PastParts()
    edition = parts.edition
    parts.forget(*time_ms)
    parts.forget(100, 200)
    parts.keep(key_of(10, 19), (b"it",), edition)
    assert (parts.find(key_of(10, 19)) is None) is is_gone


def test_a_reader_overtaken_by_countless_changes_keeps_nothing() -> None:
    parts = PastParts()
    edition = parts.edition
    for _ in range(PastParts.MOST_CHANGES + 1):
        parts.forget(100, 200)
    parts.keep(key_of(10, 19), (b"it",), edition)
    assert parts.find(key_of(10, 19)) is None


def test_parts_that_nobody_asked_for_the_longest_make_room() -> None:
    parts = PastParts()
    size = PastParts.MOST_BYTES // 10
    for number in range(9):
        parts.keep(key_of(number, number), (b"x" * size,), parts.edition)
    assert parts.find(key_of(0, 0))
    parts.keep(key_of(9, 9), (b"x" * size,), parts.edition)
    found = [number for number in range(10) if parts.find(key_of(number, number))]
    assert found == [0, 2, 3, 4, 5, 6, 7, 8, 9]


#: So that rows expire within the time that is looked at.
SHORT: dict[str, Any] = {"retention_5s_s": 2_700.0, "retention_1m_s": 7_200.0, "interval_s": 30.0}


@pytest.mark.parametrize("seed", range(6))
def test_charts_and_totals_put_together_from_parts_say_what_the_file_says(
    path: Path, seed: int
) -> None:
    """Through ticks, clocks that are set, minutes that are averaged, and rows that expire."""
    rng = random.Random(seed)
    clock = Clock(T0)
    with a_store(path, clock, downsample_interval_s=ALWAYS_S, **SHORT) as store:
        store.start()
        for _ in range(12):
            begin_ms = clock.ms
            step_ms = rng.choice([MINUTE_MS, 7 * MINUTE_MS, HOUR_MS, -20 * MINUTE_MS, -HOUR_MS])
            clock.ms += step_ms
            late = range(clock.ms, begin_ms, 45_000) if step_ms < 0 else ()
            new = [*ticks(begin_ms, clock.ms, 30_000), *late]
            write(store, (busy(ts + rng.randrange(3)) for ts in new))
            eventually(partial(agrees, store, path, clock), what="agreement")


def agrees(store: Store, path: Path, clock: Clock) -> bool:
    """Whether a store answers as one does that opens a copy of its file only now."""
    copy = path.with_name("copy.db")
    copy.unlink(missing_ok=True)
    sql(path, "VACUUM INTO ?", str(copy))
    with a_store(copy, clock, **SHORT) as fresh:
        return answers(store, clock.ms) == answers(fresh, clock.ms)


def answers(store: Store, now_ms: int) -> list[Any]:
    """Charts and totals of the last hour and of five, after a first time that leaves parts."""
    for _ in range(2):
        found: list[Any] = []
        for span_ms in (HOUR_MS, 5 * HOUR_MS):
            window = (now_ms - span_ms + 1, now_ms)
            found += [ask(store, *window, points=points) for points in (20, 120, 700)]
            found += [History(store).summarize(Query(*window, ("production",)))]
    return found


@pytest.mark.parametrize("points", [300, 700])
def test_a_week_asked_for_again_costs_a_fraction(path: Path, points: int) -> None:
    now_ms = T0 + 7 * DAY_MS
    with a_store(path, Clock(now_ms)) as store:
        store.fill((busy(ts).row() for ts in ticks(T0, now_ms, MINUTE_MS)), "metrics_1m")
        query = Query(T0 + 1_234, now_ms, ("production",), points=points)

        def cost_s() -> float:
            started_s = time.thread_time()
            b"".join(History(store).json_columns(query))
            History(store).summarize(query)
            return time.thread_time() - started_s

        first_s = cost_s()
        assert min(cost_s() for _ in range(3)) < first_s / 3


def test_a_file_put_in_place_of_another_shows_at_once_in_charts(path: Path) -> None:
    clock = Clock(T0 + 3 * HOUR_MS)
    other = path.with_name("other.db")
    for file, rate in ((path, 1.0), (other, 2.0)):
        with a_store(file, clock) as store:
            fill(store, (snapshot(ts, req_rate=rate) for ts in ticks(T0, clock.ms)))
    with a_store(path, clock) as store:
        store.start()
        for rate in (1.0, 2.0):
            write(store, [snapshot(clock.ms, req_rate=rate)])
            for start_ms in (T0, T0 + 2 * HOUR_MS):  # from minutes, and from snapshots
                for _ in range(2):
                    rows = ask(store, start_ms, clock.ms, ["req_rate"], points=300)
                    assert {row["req_rate"] for row in rows} == {rate}
            if rate == 1.0:
                other.replace(path)


# --------------------------------------------------------------------------------------
# Forms: columns, CSV, fields
# --------------------------------------------------------------------------------------

FORMS: list[Any] = [
    pytest.param(NAMES, 10 * MINUTE_MS, None, id="every field of some snapshots"),
    pytest.param(NAMES, 3 * HOUR_MS, None, id="every field of some minutes"),
    pytest.param(NAMES, 3 * HOUR_MS, 20, id="every field of some points"),
    pytest.param(("req_rate",), 3 * HOUR_MS, None, id="one field"),
    pytest.param(OBJECTS, HOUR_MS, 7, id="objects"),
    pytest.param((), HOUR_MS, None, id="no field at all"),
    pytest.param(NAMES, 0, None, id="no row at all"),
]


def form_query(now_ms: int, names: Sequence[str], span_ms: int, points: int | None) -> Query:
    return Query(now_ms - span_ms, now_ms, BOTH, tuple(FIELD[n] for n in names), points)


@pytest.mark.parametrize(("names", "span_ms", "points"), FORMS)
def test_columns_hold_the_same_values_as_rows(
    history: tuple[Store, int], names: Sequence[str], span_ms: int, points: int | None
) -> None:
    store, now_ms = history
    query = form_query(now_ms, names, span_ms, points)
    rows = json.loads(b"".join(History(store).json_rows(query)))
    columns = json.loads(b"".join(History(store).json_columns(query)))
    assert columns == {
        variant: {
            name: [row[name] for row in rows if row["variant"] == variant]
            for name in ("timestamp", *names)
        }
        for variant in BOTH
    }


@pytest.mark.parametrize(("names", "span_ms", "points"), FORMS)
def test_a_spreadsheet_gets_the_same_values_as_a_browser(
    history: tuple[Store, int], names: Sequence[str], span_ms: int, points: int | None
) -> None:
    store, now_ms = history
    query = form_query(now_ms, names, span_ms, points)
    rows = json.loads(b"".join(History(store).json_rows(query)))
    text = b"".join(History(store).csv_rows(query)).decode()
    header, *lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert header == ["timestamp", "variant", *names]
    assert [
        {
            name: cell if name == "variant" else json.loads(cell or "null")
            for name, cell in zip(header, line, strict=True)
        }
        for line in lines
    ] == rows


@pytest.mark.parametrize("names", [("req_rate",), ("latency_p99", "elapsed_s"), OBJECTS, ()])
def test_only_the_fields_asked_for_come(history: tuple[Store, int], names: tuple[str, ...]) -> None:
    store, now_ms = history
    whole = ask(store, now_ms - MINUTE_MS, now_ms)
    assert ask(store, now_ms - MINUTE_MS, now_ms, names) == [
        {name: row[name] for name in ("timestamp", "variant", *names)} for row in whole
    ]


def test_all_columns_are_equally_long_though_snapshots_arrive_meanwhile(path: Path) -> None:
    clock = Clock(T0 + MINUTE_MS)
    with a_store(path, clock) as store:
        store.start()
        write(store, map(busy, ticks(T0, T0 + 30_000)))
        query = Query(T0, T0 + MINUTE_MS, ("production",))
        pieces = []
        for number, piece in enumerate(History(store).json_columns(query)):
            pieces.append(piece)
            write(store, [busy(T0 + 30_000 + number)])
        columns = json.loads(b"".join(pieces))["production"]
    assert len({len(column) for column in columns.values()}) == 1


# --------------------------------------------------------------------------------------
# Retention
# --------------------------------------------------------------------------------------


def test_rows_past_their_retention_go_and_the_others_stay(path: Path) -> None:
    clock = Clock(T0)
    with a_store(path, clock, retention_5s_s=7_200.0, retention_1m_s=86_400.0) as store:
        fill(store, map(busy, ticks(T0, T0 + 30 * HOUR_MS, MINUTE_MS)))
        clock.ms = T0 + 30 * HOUR_MS
        store.start()
        fine_ms, coarse_ms = clock.ms - 2 * HOUR_MS, clock.ms - DAY_MS
        eventually(lambda: oldest(path, "metrics_5s") >= fine_ms, what="the retention")
    assert oldest(path, "metrics_5s") == fine_ms
    assert oldest(path, "metrics_1m") == coarse_ms
    assert sql(path, "SELECT COUNT(*) FROM metrics_5s") == [(120,)]
    assert sql(path, "SELECT COUNT(*) FROM metrics_1m") == [(24 * 60 - 1,)]  # one may still run


def test_no_snapshot_expires_before_its_minute_is_stored(path: Path) -> None:
    with a_store(path, Clock(T0), retention_5s_s=60.0) as store:
        fill(store, map(busy, ticks(T0, T0 + 30 * MINUTE_MS)))
    with a_store(path, Clock(T0 + 3 * DAY_MS), retention_5s_s=60.0) as store:
        before = ask(store, T0 - DAY_MS, T0 + DAY_MS)
        store.start()
        eventually(lambda: sql(path, "SELECT COUNT(*) FROM metrics_5s") == [(0,)], what="retention")
        assert ask(store, T0 - DAY_MS, T0 + DAY_MS) == before
        assert len(before) == 30


def test_the_file_stops_growing(path: Path) -> None:
    clock = Clock(T0)
    retention = {"retention_5s_s": 3_600.0, "retention_1m_s": 6 * 3_600.0}
    used: list[int] = []

    def is_as_small_as_before() -> bool:
        """What old rows leave free is used again, and at most a quarter of the file.

        The size alone would be a matter of chance: it is that of the largest moment so far, and how
        large that was depends on what was written between two runs of the job.
        """
        ((pages, free),) = sql(path, "SELECT * FROM pragma_page_count, pragma_freelist_count")
        used.append(pages - free)
        return free <= pages / 4 and (len(used) <= 48 or used[-1] <= 1.1 * max(used[12:48]))

    with a_store(path, clock, downsample_interval_s=ALWAYS_S, **retention) as store:
        store.start()
        for hour in range(4 * 24):
            start_ms = T0 + hour * HOUR_MS
            clock.ms = start_ms + HOUR_MS
            write(store, [busy(ts, v) for ts in ticks(start_ms, clock.ms, 60_000) for v in BOTH])
            eventually(partial(has_expired, path, start_ms), what="the retention")
            eventually(is_as_small_as_before, what="a file that has not grown")
        assert store.file.size_bytes() < 12 * 1024 * 1024


def has_expired(path: Path, before_ms: int) -> bool:
    return oldest(path, "metrics_5s") >= before_ms


def test_a_shorter_retention_gives_the_disk_back(path: Path) -> None:
    clock = Clock(T0 + 8 * HOUR_MS)
    with a_store(path, clock) as store:
        fill(store, map(busy, ticks(T0, clock.ms)))
    size = path.stat().st_size
    with a_store(path, clock, retention_5s_s=3_600.0) as store:
        store.start()
        eventually(lambda: sql(path, "PRAGMA page_count")[0][0] * 4096 < size / 2, what="space")
    assert path.stat().st_size < size / 2


# --------------------------------------------------------------------------------------
# Readers beside the writer
# --------------------------------------------------------------------------------------

CHARTS: list[Any] = [
    pytest.param(T0, 5_000, 5_000, {}, id="snapshots"),
    pytest.param(T0 - DAY_MS, MINUTE_MS, 20_000, {}, id="minutes"),
    pytest.param(
        *(T0 - DAY_MS, MINUTE_MS, 20_000, {"retention_5s_s": 60.0}),
        id="minutes whose snapshots expire at once",
    ),
]


@pytest.mark.parametrize(("start_ms", "step_ms", "tick_ms", "changes"), CHARTS)
def test_no_reader_sees_a_row_twice_or_misses_one_while_the_writer_works(
    path: Path, start_ms: int, step_ms: int, tick_ms: int, changes: dict[str, float]
) -> None:
    clock = Clock(T0)
    with a_store(path, clock, downsample_interval_s=0.0005, **changes) as store:
        store.start()
        done = threading.Event()
        seen: list[list[Row]] = []

        def read() -> None:
            while not done.is_set():
                seen.append(ask(store, start_ms, clock.ms, ["elapsed_s"]))

        with in_threads(read, read, read):
            for number, ts_ms in enumerate(ticks(T0, T0 + 400 * tick_ms, tick_ms)):
                clock.ms = ts_ms
                store.put(busy(ts_ms))
                if number % 5 == 0:
                    write(store, [])
            done.set()
    assert len(seen) > 10
    broken = [
        [(row["timestamp"] - T0, row["elapsed_s"]) for row in rows[-5:]]
        for rows in seen
        if times(rows) != [T0 + i * step_ms for i in range(len(rows))]
        or any(row["elapsed_s"] != 5 * step_ms / tick_ms for row in rows[:-1])
    ]
    assert not broken, f"{len(broken)} of {len(seen)} answers, the first ends: {broken[0]}"


@contextmanager
def in_threads(*work: Callable[[], None]) -> Iterator[None]:
    """Run functions beside the block; what one of them raises fails the test."""
    failures: list[BaseException] = []

    def run(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def test_a_snapshot_shows_before_it_is_written(path: Path) -> None:
    with a_store(path, Clock()) as store:
        store.put(busy(T0))
        assert store.waiting == 1
        assert times(ask(store, T0, T0)) == [T0]
        assert sql(path, "SELECT COUNT(*) FROM metrics_5s") == [(0,)]


def test_long_charts_show_the_last_hour_too_while_the_file_is_gone(path: Path) -> None:
    clock = Clock(T0 + 3 * HOUR_MS)
    last_hour = list(map(busy, ticks(clock.ms - HOUR_MS, clock.ms)))
    store = Store(make_config(path), lambda: [one.encoded for one in last_hour], clock)
    with closing(store):
        store.open()
        fill(store, map(busy, ticks(T0, clock.ms)))
        path.rename(path.with_name("moved"))
        shown = times(long_ask(store, clock.ms))
    assert shown == list(ticks(clock.ms - HOUR_MS, clock.ms, MINUTE_MS))


def test_totals_of_a_variant_that_is_gone_are_those_of_its_minutes(path: Path) -> None:
    clock = Clock(T0 + 3 * HOUR_MS)
    with a_store(path, clock) as store:
        fill(store, (busy(ts) for ts in ticks(T0, clock.ms)))
        gone = [snapshot(ts, "canary", req_rate=2.0, elapsed_s=60.0).row() for ts in
                ticks(T0, T0 + HOUR_MS, MINUTE_MS)]  # fmt: skip
        store.fill(gone, "metrics_1m")
        for variants in (("canary",), BOTH):
            found = History(store).summarize(Query(T0, clock.ms, variants))
            assert found["canary"].counts[0] == pytest.approx(60 * 120.0)


def test_a_file_that_was_away_for_a_moment_shows_whole_in_charts(path: Path) -> None:
    """What is answered in its stead, a few snapshots alone, is not kept for it."""
    clock = Clock(T0 + 24 * HOUR_MS)
    with a_store(path, clock) as store:
        store.fill((busy(ts).row() for ts in ticks(T0, clock.ms, MINUTE_MS)), "metrics_1m")
        some = [busy(ts).encoded for ts in ticks(T0 + 20 * HOUR_MS, T0 + 23 * HOUR_MS, MINUTE_MS)]
        store.recent = lambda: some[::5]
        away = path.with_name("away.db")
        path.rename(away)
        few = ask(store, T0, clock.ms, ["req_rate"], points=1_440)
        away.rename(path)
        whole = ask(store, T0, clock.ms, ["req_rate"], points=1_440)
    assert 0 < len(few) <= 36
    assert len(whole) == 720  # two minutes each


def test_numbers_beyond_all_bounds_leave_the_totals_an_answer(path: Path) -> None:
    clock = Clock(T0 + HOUR_MS)
    with a_store(path, clock) as store:
        fill(store, (busy(ts) for ts in ticks(T0, clock.ms)))
        for minute, rate in ((1, 1.7e308), (11, 1.7e308), (21, math.inf), (31, -math.inf)):
            sql(path, "UPDATE metrics_5s SET req_rate = ? WHERE ts = ?", rate,
                T0 + minute * MINUTE_MS)  # fmt: skip
        (found,) = History(store).summarize(Query(T0, clock.ms, ("production",))).values()
    assert found.counts[2] is not None


FORMS_OF_A_WEEK = [
    pytest.param(lambda history, query: b"".join(history.csv_rows(query)), id="rows"),
    pytest.param(lambda history, query: b"".join(history.json_columns(query)), id="columns"),
    pytest.param(lambda history, query: history.summarize(query), id="totals"),
]


@pytest.mark.parametrize("form", FORMS_OF_A_WEEK)
@pytest.mark.parametrize("span_ms", [HOUR_MS, 7 * DAY_MS])
def test_an_hour_that_waits_is_encoded_once_for_a_request_not_for_each_part_of_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, form: Callable[..., object], span_ms: int
) -> None:
    """It took 10 s to answer while the disk was full."""
    encode, encoded = Snapshot.encoded.fget, Counter[int]()  # type: ignore[attr-defined]

    def count(snapshot: Snapshot) -> bytes:
        encoded[snapshot.ts_ms] += 1
        text: bytes = encode(snapshot)
        return text

    clock = Clock(T0 + HOUR_MS)
    with a_store(path, clock) as store:
        for ts_ms in ticks(T0, clock.ms):  # and nobody writes them
            store.put(busy(ts_ms))
        monkeypatch.setattr(Snapshot, "encoded", property(count))
        form(History(store), Query(clock.ms - span_ms, clock.ms, ("production",)))
    passes = 4 if span_ms == HOUR_MS else 8  # over some columns each
    assert max(encoded.values()) <= passes


@pytest.mark.parametrize("form", FORMS_OF_A_WEEK)
def test_the_last_hour_is_made_ready_once_while_the_file_is_gone(
    path: Path, form: Callable[..., object]
) -> None:
    """It was made again for each part of an answer, which took a minute."""
    clock = Clock(T0 + HOUR_MS)
    hour = [busy(ts).encoded for ts in ticks(T0, clock.ms)]
    asked = 0

    def recent() -> list[bytes]:
        nonlocal asked
        asked += 1
        return hour

    store = Store(make_config(path), recent, clock)
    store.open()
    path.rename(path.with_name("away.db"))
    for _ in range(3):
        form(History(store), Query(clock.ms - 7 * DAY_MS, clock.ms, ("production",)))
    store.close()
    assert asked == 1


def test_a_time_that_comes_twice_shows_once_while_it_waits(path: Path) -> None:
    with a_store(path, Clock()) as store:
        store.put(snapshot(T0, req_rate=1))
        store.put(snapshot(T0, req_rate=9))
        while_waiting = [row["req_rate"] for row in ask(store, T0, T0)]
        store.start()
        write(store, [])
        assert [row["req_rate"] for row in ask(store, T0, T0)] == [1]
    assert while_waiting == [1]


def test_closing_writes_what_waits(path: Path) -> None:
    with a_store(path, Clock()) as store:
        store.start()
        for ts_ms in ticks(T0, T0 + HOUR_MS):
            store.put(busy(ts_ms))
    assert store.waiting == 0
    assert sql(path, "SELECT COUNT(*) FROM metrics_5s") == [(720,)]
    assert not path.with_name(path.name + "-wal").exists()


# --------------------------------------------------------------------------------------
# The wall clock is set
# --------------------------------------------------------------------------------------


def test_a_clock_set_back_overwrites_and_deletes_nothing(path: Path) -> None:
    clock = Clock(T0 + HOUR_MS)
    with a_store(path, clock, downsample_interval_s=ALWAYS_S) as store:
        fill(store, map(busy, ticks(T0, clock.ms)))
        store.start()
        before = sql(path, "SELECT * FROM metrics_5s"), sql(path, "SELECT * FROM metrics_1m")
        clock.ms = T0 + 30 * MINUTE_MS
        write(store, [snapshot(ts, req_rate=-1) for ts in ticks(clock.ms, clock.ms + MINUTE_MS)])
        write(store, [snapshot(clock.ms + 1, req_rate=-1)])
        after = sql(path, "SELECT * FROM metrics_5s"), sql(path, "SELECT * FROM metrics_1m")
    assert [row for row in after[0] if row[1] != T0 + 30 * MINUTE_MS + 1] == before[0]
    assert len(after[0]) == len(before[0]) + 1
    assert after[1] == before[1]


def test_a_chart_ends_now_after_a_clock_that_was_ahead_is_put_right(path: Path) -> None:
    clock = Clock(T0 + 5 * HOUR_MS)
    with a_store(path, clock) as store:
        fill(store, map(busy, ticks(clock.ms - 10 * MINUTE_MS, clock.ms)))
        store.start()
        write(store, [busy(clock.ms)])
        write(store, [busy(clock.ms + 1)])  # the start-up job is over
        clock.ms = T0 + 5 * MINUTE_MS
        write(store, map(busy, ticks(T0, clock.ms)))
        assert times(long_ask(store, clock.ms)) == list(ticks(T0, clock.ms, MINUTE_MS))


def test_snapshots_of_a_clock_that_was_ahead_are_averaged_again_once_only(path: Path) -> None:
    clock = Clock(T0 + HOUR_MS)
    with a_store(path, clock, downsample_interval_s=ALWAYS_S) as store:
        log_changes(path)
        store.start()
        write(store, map(busy, ticks(T0 + 50 * MINUTE_MS, T0 + HOUR_MS)))
        clock.ms = T0 + 10 * MINUTE_MS
        write(store, map(busy, ticks(T0, clock.ms)))
        while clock.ms < T0 + 70 * MINUTE_MS:
            clock.ms += MINUTE_MS
            write(store, map(busy, ticks(clock.ms - MINUTE_MS, clock.ms)))
        minutes = list(ticks(T0, T0 + 69 * MINUTE_MS, MINUTE_MS))
        eventually(lambda: stored_minutes(path)[:69] == minutes, what="all minutes")
        assert times(long_ask(store, clock.ms - 1)) == list(ticks(T0, clock.ms, MINUTE_MS))
    counted = Counter(sql(path, "SELECT what, ts FROM happened"))
    assert set(counted.values()) == {1}


def test_a_disk_that_fails_is_not_tried_without_a_pause(tmp_path: Path) -> None:
    """A job that is due meanwhile must not keep a core busy, nor fill the log."""
    tries = 0

    class FailingFile(DatabaseFile):
        def usable_writer(self) -> sqlite3.Connection:
            nonlocal tries
            tries += 1
            raise OSError("no such luck")

    settings = {"DB_PATH": str(tmp_path / "x.db"), "SCRAPE_INTERVAL": "200ms"}
    config = load_config([], {**settings, "DOWNSAMPLE_INTERVAL": "1s"})[0]
    store = Store(config)
    store.file = FailingFile(config, time.time)
    store.open()
    store.start()
    started_s = time.monotonic()
    eventually(lambda: tries >= 8, what="the eighth try")
    assert time.monotonic() - started_s >= 7 * 0.2 * 0.9
    store.close()
