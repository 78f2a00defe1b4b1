"""How fast history is answered, and how large it is; `python bench/bench_history.py`.

A database of full size (24 h of 5 s rows, 7 d of minutes, two variants) is served by a real zaidash
process that scrapes two live targets. This process is the client. Every answer is compared with
the plain way of making it, in the same round: read the same rows with `sqlite3` into dicts, and
`json.dumps` them (JSON columns are left the texts they are, which is the cheaper way). Medians.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from common import (
    Table,
    elapsed_s,
    forget_peak,
    look_often_for_the_first_answer,
    megabytes,
    milliseconds,
    peak_bytes,
    resident_bytes,
    run_proxy,
    say,
)
from history_rows import VARIANTS, build_database
from support import Zaidash, eventually, run_zaidash

from zaidash import load_config

ROUNDS = 7
STATUS_REQUESTS = 500
STATUS_TARGET_S = 0.002
DISK_TARGET_BYTES = 20e6
QUERIES_AT_ONCE = 8
QUERIES_MEMORY_TARGET_BYTES = 120e6
DEMO_MEMORY_TARGET_BYTES = 70e6
DEMO_RUNS_S = 20.0
WRK_S = 3
WRK_CONNECTIONS = 8
TIMEOUT_S = 60.0

#: What the charts of a week ask for.
CHART_FIELDS = (
    "req_rate,error_rate_pct,latency_p50,latency_p95,latency_p99,token_rate_in,token_rate_out"
)
CHART_PATH = f"/api/metrics?range=7d&format=columns&points=600&fields={CHART_FIELDS}"
ALL_COLUMNS_PATH = "/api/metrics?range=7d&format=columns"
JSON_CHART_PATH = CHART_PATH.replace("token_rate_in", "status_code_rates")


class Case(NamedTuple):
    """A question to both sides, and what share of the plain way's time zaidash may take."""

    path: str
    table: str
    seconds: int
    most_share: float
    original: str
    repeats: int = 1  # in a round: short ones suffer more from what else the machine does

    @property
    def key(self) -> str:
        return self.path.rpartition("=")[2]


CASES = (
    Case("/api/metrics?range=1h", "metrics_5s", 3_600, 0.20, "40-67 ms", 5),
    Case("/api/metrics?range=24h", "metrics_1m", 86_400, 0.45, "72-118 ms", 5),
    Case("/api/metrics?range=7d", "metrics_1m", 7 * 86_400, 0.45, "500-640 ms"),
)
CHART_SHARE = 0.15


def main() -> int:
    table = Table("bench_history: about 75 s")
    look_often_for_the_first_answer()
    with tempfile.TemporaryDirectory(prefix="zaidash-bench-") as name, ExitStack() as stack:
        urls = {
            variant: stack.enter_context(run_proxy(variant, rate))
            for variant, rate in VARIANTS.items()
        }
        env = {
            "SCRAPE_TARGETS": ",".join(f"{variant}={url}" for variant, url in urls.items()),
            "DB_PATH": str(Path(name) / "zaidash.db"),
            "LOG_LEVEL": "warning",
        }
        say("filling the database")
        sizes = build_database(load_config([], env)[0], time.time())
        table.check(
            "disk for a day, two variants (5 s rows and minutes)",
            megabytes(sizes.day_bytes),
            f"≤ {megabytes(DISK_TARGET_BYTES)} (original: 39.9 MB)",
            sizes.day_bytes <= DISK_TARGET_BYTES,
        )
        say(f"{sizes.fine_rows} rows of 5 s and {sizes.minute_rows} of a minute")
        measure_process(table, env)
    measure_demo(table)
    return table.finish()


def measure_process(table: Table, env: dict[str, str]) -> None:
    started_s = time.monotonic()
    with run_zaidash(env=env) as process:
        first_answer_s = time.monotonic() - started_s
        table.note("start-up to the first answer", milliseconds(first_answer_s), "original: 23 ms")
        eventually(lambda: all(s["last_scrape"] for s in process.json("/api/status").values()))
        time.sleep(6)  # a tick, and the job of the start
        table.note("memory, idle", megabytes(resident_bytes(process.pid)), "original: 14 MB")
        measure_history(table, process, Path(env["DB_PATH"]))
        measure_status(table, process)
        measure_load(table, process)
        measure_memory(table, process)
        table.note(
            "memory after all that", megabytes(resident_bytes(process.pid)), "original: 37 MB"
        )
        assert not process.stderr(), process.stderr()


# --------------------------------------------------------------------------------------
# History, against the plain way
# --------------------------------------------------------------------------------------


class Client:
    """A keep-alive connection of a process of its own, as a browser has one."""

    def __init__(self, process: Zaidash) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=TIMEOUT_S)

    def get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        body = response.read()
        assert response.status == 200, f"GET {path}: {response.status} {body[:200]!r}"
        return body

    def close(self) -> None:
        self._connection.close()


def read_plainly(database: sqlite3.Connection, case: Case) -> bytes:
    """Make the same answer the plain way. `dict(zip())` is faster than `dict(sqlite3.Row)`."""
    now_ms = round(time.time() * 1000)
    cursor = database.execute(
        f"SELECT * FROM {case.table} WHERE variant IN (?, ?) AND ts BETWEEN ? AND ?"
        " ORDER BY ts, variant",
        (*VARIANTS, now_ms - case.seconds * 1000 + 1, now_ms),
    )
    names = [column[0] for column in cursor.description]
    return json.dumps([dict(zip(names, row, strict=True)) for row in cursor]).encode()


def measure_history(table: Table, process: Zaidash, db_path: Path) -> None:
    """Add a row per range: medians of rounds in which both sides take turns."""
    plain_s: dict[str, list[float]] = defaultdict(list)
    times_s: dict[str, list[float]] = defaultdict(list)
    with closing(Client(process)) as client, closing(sqlite3.connect(db_path)) as database:
        found = {case.key: _compare(client, database, case) for case in CASES}
        for _ in range(ROUNDS):
            for case in CASES:
                for _ in range(case.repeats):
                    plain_s[case.key].append(elapsed_s(_reading(database, case)))
                    times_s[case.key].append(elapsed_s(_asking(client, case.path)))
            for path in (CHART_PATH, JSON_CHART_PATH):
                times_s[path].append(elapsed_s(_asking(client, path)))
    for case in CASES:
        ours_s, theirs_s = (statistics.median(t[case.key]) for t in (times_s, plain_s))
        # Neighbours are compared: what slows the machine down for a while slows both.
        share = statistics.median(map(float.__truediv__, times_s[case.key], plain_s[case.key]))
        table.check(
            f"`{case.path}` ({found[case.key]})",
            f"{milliseconds(ours_s)}, {share:.0%} of {milliseconds(theirs_s)}",
            f"≤ {case.most_share:.0%} (original: {case.original})",
            share <= case.most_share,
        )
    week_s = statistics.median(plain_s["7d"])
    chart_s = statistics.median(times_s[CHART_PATH])
    table.check(
        "7 fields over 7 d as columns, `points=600`",
        f"{milliseconds(chart_s)}, {chart_s / week_s:.0%} of {milliseconds(week_s)}",
        f"≤ {CHART_SHARE:.0%}",
        chart_s / week_s <= CHART_SHARE,
    )
    chart_s = statistics.median(times_s[JSON_CHART_PATH])
    table.note(
        "the same with `status_code_rates` among the 7",
        f"{milliseconds(chart_s)}, {chart_s / week_s:.0%}",
    )


def _reading(database: sqlite3.Connection, case: Case) -> Callable[[], bytes]:
    return lambda: read_plainly(database, case)


def _asking(client: Client, path: str) -> Callable[[], bytes]:
    return lambda: client.get(path)


def _compare(client: Client, database: sqlite3.Connection, case: Case) -> str:
    """Make sure that both sides answer the same; return how much that is."""
    body = client.get(case.path)
    ours: list[dict[str, Any]] = json.loads(body)
    theirs: list[dict[str, Any]] = json.loads(read_plainly(database, case))
    # zaidash also has the minute that runs, and the tick that came in between.
    assert abs(len(ours) - len(theirs)) <= 6, f"{case.path}: {len(ours)} rows, {len(theirs)} read"
    by_key = {(row["variant"], row["timestamp"]): row for row in ours}
    middle = theirs[len(theirs) // 2]
    for name, value in by_key[middle["variant"], middle["ts"]].items():
        if name != "timestamp":
            expected = json.loads(middle[name]) if isinstance(value, dict) else middle[name]
            assert value == expected, f"{case.path}: {name} is {value!r}, read {expected!r}"
    return f"{len(ours):,} rows, {megabytes(len(body))}"


# --------------------------------------------------------------------------------------
# Status, load, memory
# --------------------------------------------------------------------------------------


def measure_status(table: Table, process: Zaidash) -> None:
    with closing(Client(process)) as client:
        quiet_s = [elapsed_s(_asking(client, "/api/status")) for _ in range(STATUS_REQUESTS)]
        with _busy(process, "/api/metrics?range=7d", 1):
            busy_s = [elapsed_s(_asking(client, "/api/status")) for _ in range(STATUS_REQUESTS)]
    median = statistics.median(quiet_s)
    table.check(
        "`/api/status`",
        f"{milliseconds(median)} (p99 {milliseconds(_p99(quiet_s))})",
        f"< {milliseconds(STATUS_TARGET_S)} (original: 17 ms)",
        median < STATUS_TARGET_S,
    )
    table.note(
        "`/api/status` while 7 d queries run without a pause",
        f"{milliseconds(statistics.median(busy_s))} (p99 {milliseconds(_p99(busy_s))})",
        "original: 29-430 ms",
    )


def _p99(times_s: list[float]) -> float:
    return statistics.quantiles(times_s, n=100)[98]


@contextmanager
def _busy(process: Zaidash, path: str, clients: int) -> Iterator[list[float]]:
    """Let so many clients ask without a pause until the block ends; gives their times."""
    stop, times_s = threading.Event(), list[float]()

    def ask() -> None:
        with closing(Client(process)) as client:
            while not stop.is_set():
                times_s.append(elapsed_s(_asking(client, path)))

    threads = [threading.Thread(target=ask, name="client", daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield times_s
    finally:
        stop.set()
        for thread in threads:
            thread.join(TIMEOUT_S)


def measure_load(table: Table, process: Zaidash) -> None:
    """Add requests per second by `wrk`, where that is installed."""
    if shutil.which("wrk") is None:
        say("no wrk here: requests per second are left out")
        return
    for path, least, original in (
        ("/api/metrics?range=1h", 60, "14-20/s"),
        ("/api/status", 1_000, "59/s"),
        ("/healthz", None, "8,200-24,000/s"),
    ):
        rate, failures = _run_wrk(process.url + path)
        what = f"`{path}` with {WRK_CONNECTIONS} connections"
        shown = f"{rate:,.0f}/s" + (f", FAILURES: {failures}" if failures else "")
        if least is None:
            table.note(what, shown, f"original: {original}")
        else:
            ok = rate >= least and not failures
            table.check(what, shown, f"≥ {least:,}/s (original: {original})", ok)


def _run_wrk(url: str) -> tuple[float, str]:
    """Return requests per second, and what wrk complains about."""
    command = ["wrk", "-t1", f"-c{WRK_CONNECTIONS}", f"-d{WRK_S}s", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", done.stdout)
    assert rate is not None, done.stdout
    failures = re.findall(r"(?:Non-2xx|Socket errors).*", done.stdout)
    return float(rate[1]), "; ".join(failures)


def measure_memory(table: Table, process: Zaidash) -> None:
    """Add the most memory that eight 7 d queries at once take, of either form."""
    for form, path in (("rows", "/api/metrics?range=7d"), ("columns", ALL_COLUMNS_PATH)):
        forget_peak(process.pid)
        with _busy(process, path, QUERIES_AT_ONCE) as times_s:
            eventually(lambda: len(times_s) >= 2 * QUERIES_AT_ONCE, TIMEOUT_S, "the queries")
        peak = peak_bytes(process.pid)
        table.check(
            f"memory, most while {QUERIES_AT_ONCE} queries over 7 d run at once, as {form}",
            f"{megabytes(peak)} (a query: {milliseconds(statistics.median(times_s))})",
            f"< {megabytes(QUERIES_MEMORY_TARGET_BYTES)}",
            peak < QUERIES_MEMORY_TARGET_BYTES,
        )


def measure_demo(table: Table) -> None:
    started_s = time.monotonic()
    with run_zaidash("--demo", env={"LOG_LEVEL": "warning"}) as process:
        first_answer_s = time.monotonic() - started_s
        time.sleep(DEMO_RUNS_S)
        now, peak = resident_bytes(process.pid), peak_bytes(process.pid)
    table.note("`--demo`: start-up to the first answer", milliseconds(first_answer_s))
    table.check(
        f"`--demo`: memory after {DEMO_RUNS_S:g} s",
        f"{megabytes(now)} (most: {megabytes(peak)})",
        f"< {megabytes(DEMO_MEMORY_TARGET_BYTES)}",
        now < DEMO_MEMORY_TARGET_BYTES,
    )


if __name__ == "__main__":
    sys.exit(main())
