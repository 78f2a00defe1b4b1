"""Faults: what is left, and what goes on, when the disk, the file or the process fails.

Every fault is a real one, done to a real zaidash process that scrapes a real target every 100 ms
while a browser's event stream is open, or to a real file. What the stream showed is the measure:
a snapshot that somebody saw has to be in the file, too.
"""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fake_proxy import FakeProxy
from support import (
    SCRIPT,
    Zaidash,
    eventually,
    run_to_exit,
    run_zaidash,
)

from zaidash import FIELDS, DatabaseFile, History, Query, Snapshot, StorageError, Store, load_config

TICK_MS = 100
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PAGE = 4_096

#: How long anything may take to be noticed, or to work again, on a machine that is busy.
PATIENCE_S = 60.0

#: What zaidash promises for its end.
STOP_S = 5.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "zaidash.db"


# --------------------------------------------------------------------------------------
# The file, as another program sees it
# --------------------------------------------------------------------------------------


def sql(path: Path, statement: str, *parameters: Any) -> list[Any]:
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        return connection.execute(statement, parameters).fetchall()


def stored(path: Path) -> set[int]:
    """The times of all snapshots in a file; none where there is no such table yet."""
    if not path.exists() or not sql(path, "SELECT 1 FROM sqlite_master WHERE name='metrics_5s'"):
        return set()
    return {ts for (ts,) in sql(path, "SELECT ts FROM metrics_5s")}


def assert_sound(path: Path) -> None:
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]


def snapshot(ts_ms: int, **values: Any) -> Snapshot:
    return Snapshot.build(ts_ms, "production", [values.get(field.name) for field in FIELDS])


def history(first_ms: int, last_ms: int, step_ms: int = 5_000) -> Iterator[Snapshot]:
    """Snapshots that take as much room as real ones."""
    for ts_ms in range(first_ms, last_ms, step_ms):
        n = ts_ms // step_ms
        values: dict[str, Any] = {field.name: 1_000_000 + n % 1_000 for field in FIELDS}
        values["status_code_rates"] = {"200": n % 10, "500": 1}
        values["latency_buckets"] = {"0.5": n % 10, "+Inf": 1}
        yield snapshot(ts_ms, **{**values, "elapsed_s": 5, "req_rate": n % 60})


def write_history(path: Path, *snapshots: Snapshot, minutes: bool = True) -> None:
    """Make a database of another day's run. Without `minutes`, downsampling is left to do."""
    clock_s = time.time() if minutes else 0.0
    store = Store(load_config(["--db-path", str(path)], {})[0], wall=lambda: clock_s)
    store.open()
    store.fill(one.row() for one in snapshots)
    store.close()


def now_ms() -> int:
    return round(time.time() * 1000)


# --------------------------------------------------------------------------------------
# The process, and who watches it
# --------------------------------------------------------------------------------------


class Viewer:
    """An open browser: it notes all that the stream shows, and the id of the last event."""

    def __init__(self, port: int, last_id: str = "") -> None:
        self.seen: list[int] = []  # their times
        self.snapshots: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.last_id = last_id
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        self._connection.request("GET", "/api/events", headers=headers)
        self._socket = self._connection.sock
        self._response = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in iter(self._response.readline, b""):
                if line.startswith(b"id: "):
                    self.last_id = line[4:].decode().strip()
                elif line.startswith(b'data: {"type":"metrics"'):
                    self.snapshots.append(json.loads(line[6:])["data"])
                    self.seen.append(self.snapshots[-1]["timestamp"])
                elif line.startswith(b'data: {"type":"status"'):
                    self.statuses.append(json.loads(line[6:])["data"])
        except (OSError, http.client.HTTPException, ValueError):
            pass  # the process was killed, maybe in the middle of a line

    def wait_for(self, more: int) -> None:
        wanted = len(self.seen) + more
        eventually(lambda: len(self.seen) >= wanted, PATIENCE_S, f"{more} more snapshots")

    def hang_up(self) -> None:
        """Leave before the stream ends."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self) -> None:
        """Wait for the end of the stream, which is the end of the process."""
        self._thread.join(PATIENCE_S)
        self._response.close()
        self._connection.close()
        assert not self._thread.is_alive()


@contextmanager
def dashboard(
    proxy: FakeProxy,
    path: Path,
    *,
    python: Sequence[str] = (sys.executable,),
    is_measured: bool = True,
    **env: str,
) -> Iterator[tuple[Zaidash, Viewer]]:
    """zaidash with a tick of 100 ms, and its viewer."""
    settings = {
        "SCRAPE_TARGETS": proxy.url,
        "SCRAPE_INTERVAL": "100ms",
        "DOWNSAMPLE_INTERVAL": "1s",
        "DB_PATH": str(path),
    }
    viewer: Viewer | None = None
    try:
        own = {**settings, **env}
        with run_zaidash(env=own, python=python, is_measured=is_measured) as zaidash:
            viewer = Viewer(zaidash.port)
            yield zaidash, viewer
    finally:
        if viewer:
            viewer.close()


def is_ready(zaidash: Zaidash) -> bool:
    return zaidash.get("/readyz").status == 200


def is_healthy(zaidash: Zaidash) -> bool:
    return bool(zaidash.json("/api/status")["production"]["healthy"])


def last_scrape(zaidash: Zaidash) -> datetime:
    return datetime.fromisoformat(zaidash.json("/api/status")["production"]["last_scrape"])


def storage_problem(zaidash: Zaidash) -> str:
    """What /readyz says about storage; empty when it is well."""
    reply = zaidash.get("/readyz")
    reasons = [] if reply.status == 200 else json.loads(reply.body)["reasons"]
    return " ".join(reason for reason in reasons if "storage" in reason)


def assert_goes_on(zaidash: Zaidash, viewer: Viewer) -> None:
    """Scraping, streaming, status and the charts of the last hour do not care about storage."""
    viewer.wait_for(1)
    before = last_scrape(zaidash)
    viewer.wait_for(2)
    assert last_scrape(zaidash) > before
    eventually(partial(is_healthy, zaidash), PATIENCE_S, "health, which a busy machine may blur")
    shown = set(viewer.seen)
    for question in ("range=1h", "range=1h&fields=req_rate"):
        rows = zaidash.json(f"/api/metrics?{question}")
        times = [row["timestamp"] for row in rows]
        assert shown <= set(times), f"{question} does not show what the stream showed"
        assert len(times) == len(set(times)), f"{question} shows a row twice"


def assert_nothing_is_lost(zaidash: Zaidash, viewer: Viewer) -> None:
    """All that was ever shown gets to the disk, and is shown from there."""
    eventually(lambda: is_ready(zaidash), PATIENCE_S, "/readyz to say ready")
    assert_goes_on(zaidash, viewer)
    shown = set(viewer.seen)
    eventually(lambda: shown <= stored(zaidash.db_path), PATIENCE_S, "all snapshots on disk")
    rows = zaidash.json("/api/metrics?range=1h&fields=req_rate")
    assert shown <= {row["timestamp"] for row in rows}
    assert_sound(zaidash.db_path)


# --------------------------------------------------------------------------------------
# kill -9, see also test_fire; SIGTERM
# --------------------------------------------------------------------------------------


def test_kill_9_in_the_middle_of_the_catch_up_leaves_every_minute_there_once(
    fake_proxy: FakeProxy, path: Path
) -> None:
    first_ms = now_ms() // MINUTE_MS * MINUTE_MS - 20 * HOUR_MS
    last_ms = first_ms + 9 * HOUR_MS
    write_history(path, *history(first_ms, last_ms), minutes=False)
    assert sql(path, "SELECT COUNT(*) FROM metrics_1m") == [(0,)]
    rng = random.Random(7)
    for _ in range(5):
        kill_after(rng.uniform(0.1, 0.6), fake_proxy, path)
        assert_sound(path)
    with dashboard(fake_proxy, path):
        eventually(partial(has_minutes_until, path, last_ms), PATIENCE_S, "the catch-up")
    minutes = sql(
        path,
        "SELECT ts, elapsed_s, req_rate, max_workers FROM metrics_1m WHERE ts < ? ORDER BY ts",
        last_ms,
    )
    expected = sql(
        path,
        "SELECT ts / 60000 * 60000, SUM(elapsed_s), AVG(req_rate), AVG(max_workers)"
        " FROM metrics_5s WHERE ts < ? GROUP BY 1 ORDER BY 1",
        last_ms,
    )
    assert len(minutes) == 9 * 60
    assert minutes == expected


def has_minutes_until(path: Path, end_ms: int) -> bool:
    ((newest_ms,),) = sql(path, "SELECT MAX(ts) FROM metrics_1m WHERE ts < ?", end_ms)
    return bool(newest_ms == end_ms - MINUTE_MS)


def kill_after(seconds: float, proxy: FakeProxy, path: Path, **settings: str) -> None:
    """Start zaidash and kill it some moment later, whether it answers yet or not."""
    own = {"SCRAPE_TARGETS": proxy.url, "SCRAPE_INTERVAL": "100ms", "DB_PATH": str(path)}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--listen-addr", "127.0.0.1:0"],
        env={"PATH": os.environ["PATH"], **own, **settings},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    threading.Event().wait(seconds)
    process.kill()
    assert process.wait(PATIENCE_S) == -signal.SIGKILL


STOPS: list[Any] = [
    pytest.param(signal.SIGTERM, 0.0, id="SIGTERM"),
    pytest.param(signal.SIGINT, 0.0, id="Ctrl-C"),
    pytest.param(signal.SIGTERM, 2.0, id="SIGTERM while a scrape hangs"),
]


@pytest.mark.parametrize(("number", "delay_s"), STOPS)
def test_a_stop_is_quick_and_loses_nothing(
    fake_proxy: FakeProxy, path: Path, number: signal.Signals, delay_s: float
) -> None:
    with dashboard(fake_proxy, path) as (zaidash, viewer):
        viewer.wait_for(5)
        fake_proxy.delay_s = delay_s
        started_s = time.monotonic()
        zaidash.process.send_signal(number)
        assert zaidash.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - started_s < STOP_S
    assert set(viewer.seen) <= stored(path)
    assert not path.with_name(f"{path.name}-wal").exists(), "the log was not checkpointed"
    assert_sound(path)


#: Runs zaidash so that the kernel gives every SIGTERM to a thread that is not the main one.
TAKEN_BY_ANOTHER_THREAD = """
import runpy, signal, sys, threading

def take():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Event().wait()

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
threading.Thread(target=take, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_stop_is_heard_whichever_thread_the_kernel_tells(
    fake_proxy: FakeProxy, path: Path
) -> None:
    environment = {"SCRAPE_TARGETS": fake_proxy.url, "DB_PATH": str(path)}
    python = (sys.executable, "-c", TAKEN_BY_ANOTHER_THREAD)
    with run_zaidash(env=environment, python=python) as zaidash:
        assert zaidash.terminate() == 0


def test_a_stop_is_quick_though_the_file_is_locked(fake_proxy: FakeProxy, path: Path) -> None:
    with dashboard(fake_proxy, path) as (zaidash, viewer):
        viewer.wait_for(2)
        with locked(path):
            eventually(partial(storage_problem, zaidash), PATIENCE_S, "the problem")
            started_s = time.monotonic()
            assert zaidash.terminate() == 0
            assert time.monotonic() - started_s < STOP_S
    assert_sound(path)


# --------------------------------------------------------------------------------------
# A disk that takes nothing
# --------------------------------------------------------------------------------------


def test_a_full_disk_stops_nothing_but_writing(fake_proxy: FakeProxy, path: Path) -> None:
    old_ms = now_ms() - 20 * HOUR_MS
    write_history(path, *history(old_ms, old_ms + 4 * HOUR_MS))
    assert path.stat().st_size > 500_000
    with dashboard(fake_proxy, path) as (zaidash, viewer):
        viewer.wait_for(2)
        resource.prlimit(zaidash.pid, resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
        eventually(partial(storage_problem, zaidash), PATIENCE_S, "/readyz to say so")
        assert_goes_on(zaidash, viewer)
        assert storage_problem(zaidash), "it was said to work while it cannot"
        assert viewer.seen[-2] not in stored(path)
        assert zaidash.get("/api/metrics?range=24h").status == 200
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(zaidash.pid, resource.RLIMIT_FSIZE, unlimited)
        assert_nothing_is_lost(zaidash, viewer)
    assert len(stored(path)) >= 4 * 720


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the file in a transaction."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def test_a_locked_file_stops_nothing_but_writing(fake_proxy: FakeProxy, path: Path) -> None:
    with dashboard(fake_proxy, path) as (zaidash, viewer):
        viewer.wait_for(2)
        with locked(path):
            eventually(partial(storage_problem, zaidash), PATIENCE_S, "/readyz to say so")
            assert_goes_on(zaidash, viewer)
            assert viewer.seen[-2] not in stored(path)
        assert_nothing_is_lost(zaidash, viewer)


def test_a_file_locked_at_the_start_is_used_when_it_is_free(
    fake_proxy: FakeProxy, path: Path
) -> None:
    write_history(path, snapshot(now_ms() - HOUR_MS))
    with ExitStack() as lock:
        lock.enter_context(locked(path))
        with dashboard(fake_proxy, path) as (zaidash, viewer):
            eventually(partial(storage_problem, zaidash), PATIENCE_S, "/readyz to say so")
            assert_goes_on(zaidash, viewer)
            lock.close()
            assert_nothing_is_lost(zaidash, viewer)


#: Starts Python without CAP_DAC_OVERRIDE: then permission bits bind root, too. For anybody else
#: prctl(PR_CAPBSET_DROP) fails, and they bind anyway.
_BOUND_BY_PERMISSIONS = """
import ctypes, os, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl is not None:
    prctl(24, 1, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize("history_first", [True, False], ids=["with history", "without a file"])
def test_a_read_only_directory_stops_nothing_but_writing(
    fake_proxy: FakeProxy, tmp_path: Path, history_first: bool
) -> None:
    directory = tmp_path / "volume"
    directory.mkdir()
    path = directory / "zaidash.db"
    if history_first:
        write_history(path, snapshot(now_ms() - HOUR_MS))
    check_read_only(fake_proxy, directory, path)


def test_a_link_in_place_of_a_journal_does_not_open_another_file(
    path: Path, tmp_path: Path
) -> None:
    """Who may write into the directory must not choose a file for zaidash to make readable."""
    private = tmp_path / "private"
    private.write_text("secret", encoding="utf-8")
    private.chmod(0o600)
    path.touch()
    path.chmod(0o666)
    Path(f"{path}-shm").symlink_to(private)
    store = Store(load_config([], {"DB_PATH": str(path)})[0])
    with pytest.raises(StorageError, match="is a link"):
        store.open()
    store.close()
    assert oct(private.stat().st_mode & 0o777) == "0o600"


@pytest.mark.parametrize("suffix", ["-lock", "-wal", "-shm", "-journal"])
def test_a_link_beside_the_database_is_not_followed_and_said_with_the_remedy(
    path: Path, tmp_path: Path, suffix: str
) -> None:
    """Who may write into the directory must not have zaidash create or overwrite another file."""
    beside = Path(f"{path}{suffix}")
    victims = (tmp_path / "there", tmp_path / "not there")
    victims[0].write_text("precious", encoding="utf-8")
    for victim in victims:
        beside.symlink_to(victim)
        done = run_to_exit(env={"DB_PATH": str(path), "SCRAPE_TARGETS": "http://127.0.0.1:9/"})
        assert (done.returncode, done.stderr.count(f"{beside} is a link")) == (2, 1)
        assert "delete it" in done.stderr
        assert "Traceback" not in done.stderr
        beside.unlink()
    assert victims[0].read_text(encoding="utf-8") == "precious"
    assert not victims[1].exists()


def test_a_link_laid_while_it_runs_is_reported_and_nothing_is_lost(
    fake_proxy: FakeProxy, path: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "precious"
    victim.write_text("precious", encoding="utf-8")
    with dashboard(fake_proxy, path) as (zaidash, viewer):
        eventually(path.exists, PATIENCE_S, "a database")
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink()
        Path(f"{path}-wal").symlink_to(victim)
        eventually(lambda: "is a link" in (storage_problem(zaidash) or ""), PATIENCE_S, "a report")
        assert_goes_on(zaidash, viewer)
        Path(f"{path}-wal").unlink()
        assert_nothing_is_lost(zaidash, viewer)
    assert victim.read_text(encoding="utf-8") == "precious"


def test_a_read_only_file_stops_nothing_but_writing(fake_proxy: FakeProxy, path: Path) -> None:
    write_history(path, snapshot(now_ms() - HOUR_MS))
    check_read_only(fake_proxy, path, path)


def check_read_only(proxy: FakeProxy, what: Path, path: Path) -> None:
    mode = what.stat().st_mode
    what.chmod(mode & ~0o222)
    try:
        with dashboard(proxy, path, python=(sys.executable, "-c", _BOUND_BY_PERMISSIONS)) as both:
            eventually(partial(storage_problem, both[0]), PATIENCE_S, "/readyz to say so")
            assert_goes_on(*both)
            what.chmod(mode)
            assert_nothing_is_lost(*both)
    finally:
        what.chmod(mode)


def test_a_directory_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "zaidash.db"
    done = run_to_exit(env={"DB_PATH": str(path), "SCRAPE_TARGETS": "http://127.0.0.1:9/metrics"})
    assert done.returncode == 2
    assert f"DB_PATH={path}" in done.stderr
    assert "directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_hour_of_snapshots_waits_for_the_disk_and_not_more(path: Path) -> None:
    start_ms = now_ms()
    with a_store(path, interval_s=5.0) as store:
        store.start()
        with locked(path):
            for one in history(start_ms, start_ms + 3 * HOUR_MS):
                store.put(one)
            assert 720 <= store.waiting <= 722
        eventually(lambda: store.waiting == 0, PATIENCE_S, "the writer")
    last_ms = start_ms + 3 * HOUR_MS - 5_000
    assert stored(path) >= set(range(last_ms - HOUR_MS + 5_000, last_ms + 1, 5_000))


# --------------------------------------------------------------------------------------
# A file that is no use
# --------------------------------------------------------------------------------------


@contextmanager
def a_store(
    path: Path,
    interval_s: float = TICK_MS / 1000,
    recent: Callable[[], list[bytes]] = list,
) -> Iterator[Store]:
    config = replace(load_config(["--db-path", str(path)], {})[0], interval_s=interval_s)
    store = Store(config, recent)
    store.open()
    try:
        yield store
    finally:
        store.close()


def overwrite(path: Path, offset: int, junk: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(junk)


def make_valid(path: Path) -> None:
    write_history(path, *history(now_ms() - DAY_MS, now_ms() - DAY_MS + HOUR_MS))


def spoil_middle(path: Path) -> None:
    make_valid(path)
    overwrite(path, path.stat().st_size // 2 // PAGE * PAGE, random.Random(1).randbytes(PAGE))


def spoil_schema(path: Path) -> None:
    make_valid(path)
    overwrite(path, 100, random.Random(2).randbytes(PAGE - 100))


def spoil_format(path: Path) -> None:
    """No SQLite knows the schema format 255: "unsupported file format"."""
    make_valid(path)
    overwrite(path, 47, b"\xff")


def truncate_to(size: Callable[[int], int], path: Path) -> None:
    make_valid(path)
    os.truncate(path, size(path.stat().st_size))


def write_junk(junk: bytes, path: Path) -> None:
    path.write_bytes(junk)


def make_foreign(*statements: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return make


USELESS: list[Any] = [
    pytest.param(partial(write_junk, b"hello\n"), id="a few bytes"),
    pytest.param(partial(write_junk, b"not a database\n" * 1_000), id="text"),
    pytest.param(partial(write_junk, bytes(2 * PAGE)), id="nothing but zeros"),
    pytest.param(partial(write_junk, gzip.compress(b"backup" * 10_000)), id="a compressed backup"),
    pytest.param(partial(write_junk, random.Random(3).randbytes(65_537)), id="random bytes"),
    pytest.param(
        partial(write_junk, b"SQLite format 3\0" + random.Random(4).randbytes(9_000)),
        id="junk behind SQLite's magic",
    ),
    pytest.param(spoil_middle, id="junk in the middle of a good file"),
    pytest.param(spoil_schema, id="junk in place of the schema"),
    pytest.param(spoil_format, id="a schema format that nobody knows"),
    pytest.param(partial(truncate_to, lambda size: size // 2), id="half of a good file"),
    pytest.param(partial(truncate_to, lambda size: size - PAGE), id="all but the last page"),
    pytest.param(partial(truncate_to, lambda _: PAGE), id="the first page of a good file"),
    pytest.param(partial(truncate_to, lambda _: 50), id="half a header"),
    pytest.param(
        make_foreign("CREATE TABLE metrics_5s (id INTEGER PRIMARY KEY, metric TEXT, value REAL)",
                     "INSERT INTO metrics_5s VALUES (1, 'cpu', 0.5)"),
        id="somebody else's table metrics_5s",
    ),
    pytest.param(
        make_foreign("CREATE TABLE data (a)", "CREATE VIEW metrics_1m AS SELECT a FROM data"),
        id="a view in place of a table",
    ),
]  # fmt: skip


@pytest.mark.parametrize("make", USELESS)
def test_a_useless_file_is_kept_under_a_new_name_and_a_fresh_one_started_loudly(
    path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    make(path)
    before = path.read_bytes()
    one = snapshot(now_ms(), req_rate=1)
    with caplog.at_level(logging.ERROR), a_store(path) as store:
        store.put(one)
        store.start()
        eventually(lambda: store.waiting == 0, what="the writer")
        eventually(lambda: store.problem is None, what="the end of the problem")
        query = Query(one.ts_ms, one.ts_ms, ("production",))
        assert json.loads(b"".join(History(store).json_rows(query))) == [json.loads(one.encoded)]
    assert stored(path) == {one.ts_ms}
    assert_sound(path)
    (kept,) = set_aside(path)
    # Of a database, SQLite itself may count and convert in the header before anything is wrong.
    header = 100 if before.startswith(b"SQLite format 3\0") else 0
    assert kept.read_bytes()[header:] == before[header:]
    assert any(kept.name in record.getMessage() for record in caplog.records)


def set_aside(path: Path) -> list[Path]:
    """What lies beside the database and does not belong to it."""
    own = (f"{path.name}-lock", f"{path.name}-wal", f"{path.name}-shm", f"{path.name}-journal")
    others = [p for p in path.parent.iterdir() if p != path and not p.name.startswith(own)]
    return [p for p in others if not p.name.endswith(("-wal", "-shm"))]


def test_a_file_set_aside_before_is_not_overwritten(path: Path) -> None:
    for junk in (b"first" * 1_000, b"second" * 1_000, b"third" * 1_000):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(junk)
        with a_store(path):
            pass
    assert {kept.read_bytes()[:5] for kept in set_aside(path)} == {b"first", b"secon", b"third"}


def test_any_page_may_be_spoilt_and_the_next_start_still_works(tmp_path: Path) -> None:
    good = tmp_path / "good.db"
    write_history(good, *history(now_ms() - HOUR_MS, now_ms() - HOUR_MS + 12 * MINUTE_MS))
    data = good.read_bytes()
    one = snapshot(now_ms())
    rng = random.Random(5)
    for page in range(len(data) // PAGE):
        directory = tmp_path / str(page)
        directory.mkdir()
        path = directory / "zaidash.db"
        path.write_bytes(data)
        overwrite(path, page * PAGE, rng.randbytes(PAGE))
        with a_store(path) as store:
            store.put(one)
            store.start()
            eventually(partial(is_written, store), what=f"the writer, page {page}")
        assert one.ts_ms in stored(path), f"page {page}"
        assert_sound(path)


def is_written(store: Store) -> bool:
    return store.waiting == 0


def test_an_empty_file_is_a_fresh_database(path: Path) -> None:
    path.touch()
    with a_store(path) as store:
        assert store.problem is None
    assert set_aside(path) == []


def test_junk_at_the_start_does_not_keep_the_page_from_coming_up(
    fake_proxy: FakeProxy, path: Path
) -> None:
    path.write_bytes(b"junk" * 10_000)
    with dashboard(fake_proxy, path) as (zaidash, viewer):
        assert_nothing_is_lost(zaidash, viewer)
        (kept,) = set_aside(path)
        assert kept.name in zaidash.stderr()
    assert kept.read_bytes() == b"junk" * 10_000


# --------------------------------------------------------------------------------------
# Files of other versions
# --------------------------------------------------------------------------------------

OLD_MS = now_ms() // MINUTE_MS * MINUTE_MS - 2 * HOUR_MS

OLD_TABLE = """
CREATE TABLE {} (variant TEXT NOT NULL, ts INTEGER NOT NULL, requests_2xx INTEGER, req_rate REAL,
                 PRIMARY KEY (variant, ts))"""
OLD_ROW = "INSERT INTO {} VALUES ('production', {}, 7, 0.5)"

OLDER_FILES: list[Any] = [
    pytest.param(
        [*map(OLD_TABLE.format, ("metrics_5s", "metrics_1m")),
         OLD_ROW.format("metrics_5s", OLD_MS), OLD_ROW.format("metrics_1m", OLD_MS)],
        id="fields were added since",
    ),
    pytest.param(
        [OLD_TABLE.format("metrics_5s"), OLD_ROW.format("metrics_5s", OLD_MS)],
        id="there were no minutes yet",
    ),
    pytest.param(
        ["PRAGMA journal_mode = DELETE",
         *map((OLD_TABLE + " WITHOUT ROWID").format, ("metrics_5s", "metrics_1m")),
         OLD_ROW.format("metrics_5s", OLD_MS), OLD_ROW.format("metrics_1m", OLD_MS)],
        id="the tables were made in another way",
    ),
    pytest.param(
        [*map(OLD_TABLE.format, ("metrics_5s", "metrics_1m")),
         "ALTER TABLE metrics_5s ADD COLUMN of_a_later_version TEXT DEFAULT 'kept'",
         *(OLD_ROW.replace("{} VALUES", "{} (variant, ts, requests_2xx, req_rate) VALUES")
           .format(table, OLD_MS) for table in ("metrics_5s", "metrics_1m")),
         "CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('mine')"],
        id="there is more in it than zaidash knows",
    ),
]  # fmt: skip


@pytest.mark.parametrize("statements", OLDER_FILES)
def test_a_file_of_another_version_keeps_its_data_and_gains_the_columns(
    path: Path, statements: list[str]
) -> None:
    make_foreign(*statements)(path)
    tables = [name for (name,) in sql(path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    before = {table: sql(path, f"SELECT * FROM {table}") for table in tables}
    widths = {table: len(sql(path, f"PRAGMA table_info({table})")) for table in tables}
    one = snapshot(now_ms(), req_rate=1, latency_buckets={"1": 2})
    with a_store(path) as store:
        store.put(one)
        store.start()
        eventually(lambda: store.waiting == 0, what="the writer")
        assert store.problem is None
        (minute,) = ask(store, OLD_MS - DAY_MS, OLD_MS)
        rows = ask(store, OLD_MS, OLD_MS)
    assert set_aside(path) == []
    for table, old in before.items():
        now = [row[: widths[table]] for row in sql(path, f"SELECT * FROM {table}")]
        assert set(old) <= set(now)
    for row in (minute, *rows):
        assert (row["requests_2xx"], row["req_rate"]) == (7, 0.5)
        assert row["latency_buckets"] is None
    for table in ("metrics_5s", "metrics_1m"):
        columns = {column[1] for column in sql(path, f"PRAGMA table_info({table})")}
        assert columns >= {"variant", "ts", *(field.name for field in FIELDS)}
    assert one.ts_ms in stored(path)


def ask(store: Store, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
    query = Query(start_ms, end_ms, ("production",))
    rows: list[dict[str, Any]] = json.loads(b"".join(History(store).json_rows(query)))
    return rows


class SlowDisk(DatabaseFile):
    """A file that takes its time to be looked at."""

    def _id_there(self, suffix: str) -> tuple[int, int] | None:
        time.sleep(0.02)
        return super()._id_there(suffix)


def test_no_chart_keeps_to_what_there_was_while_the_file_was_opened_again(path: Path) -> None:
    """Somebody looks at charts all the time; what they read from is kept for the next one."""
    times = [now_ms() + number for number in range(3)]
    recent: list[bytes] = []
    config = replace(load_config(["--db-path", str(path)], {})[0], interval_s=TICK_MS / 1000)
    is_over = threading.Event()

    def put(ts_ms: int) -> None:
        recent.append(snapshot(ts_ms).encoded)
        store.put(snapshot(ts_ms))
        eventually(lambda: ts_ms in stored(path), PATIENCE_S, "the snapshot")

    def look() -> None:
        while not is_over.is_set():
            with suppress(StorageError):
                ask(store, times[0], times[-1])

    with closing(Store(config, lambda: list(recent))) as store:
        store.file = SlowDisk(config, time.time)
        store.open()
        store.start()
        put(times[0])
        viewer = threading.Thread(target=look)
        viewer.start()
        try:
            path.rename(path.with_name("moved"))
            put(times[1])
        finally:
            is_over.set()
            viewer.join(PATIENCE_S)
        put(times[2])
        assert [row["timestamp"] for row in ask(store, times[0], times[-1])] == times


# --------------------------------------------------------------------------------------
# What somebody does to the file while it is in use
# --------------------------------------------------------------------------------------


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()


def replace_by_junk(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"junk" * 5_000)
    other.replace(path)


def replace_by_backup(path: Path) -> None:
    other = path.with_name("other")
    write_history(other, *history(now_ms() - DAY_MS, now_ms() - DAY_MS + HOUR_MS))
    other.replace(path)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "notes.txt").write_text("mine", encoding="utf-8")


def replace_by_another_program(path: Path) -> None:
    other = path.with_name("other")
    make_foreign("CREATE TABLE notes (text)", "INSERT INTO notes VALUES ('mine')")(other)
    other.replace(path)


def copy_of(path: Path) -> Path:
    """An older copy of the file itself, made as an administrator makes one while it is in use."""
    other = path.with_name("other")
    sql(path, f"VACUUM INTO '{other}'")
    sql(other, "DELETE FROM metrics_5s WHERE ts > ?", now_ms() - HOUR_MS)
    return other


def replace_by_older_copy(path: Path) -> None:
    copy_of(path).replace(path)


def overwrite_by_older_copy(path: Path) -> None:
    """As by `cp`: the same file with other contents, and its old log beside it."""
    path.write_bytes(copy_of(path).read_bytes())


def cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // PAGE * PAGE)


def overwrite_pages(path: Path) -> None:
    size = path.stat().st_size
    for offset in range(size // 4 // PAGE * PAGE, size // 4 * 3, PAGE):
        overwrite(path, offset, b"\xa5" * PAGE)


def drop_tables(path: Path) -> None:
    sql(path, "DROP TABLE metrics_5s")
    sql(path, "DROP TABLE metrics_1m")


DEEDS: list[Any] = [
    pytest.param(delete, id="deleted"),
    pytest.param(delete_all, id="deleted with its log"),
    pytest.param(replace_by_junk, id="replaced by junk"),
    pytest.param(replace_by_backup, id="replaced by a backup"),
    pytest.param(replace_by_directory, id="replaced by a directory"),
    pytest.param(replace_by_another_program, id="replaced by another program's database"),
    pytest.param(replace_by_older_copy, id="replaced by an older copy of itself"),
    pytest.param(overwrite_by_older_copy, id="overwritten by an older copy of itself"),
    pytest.param(cut_to_nothing, id="cut to nothing"),
    pytest.param(cut_in_half, id="cut in half"),
    pytest.param(overwrite_pages, id="overwritten in the middle"),
    pytest.param(drop_tables, id="emptied by hand"),
]


@pytest.fixture(scope="module")
def yesterday(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("yesterday") / "yesterday.db"
    make_yesterday(path)
    return path


def make_yesterday(path: Path) -> None:
    """A database with six hours of another day."""
    old_ms = now_ms() - 20 * HOUR_MS
    write_history(path, *history(old_ms, old_ms + 6 * HOUR_MS))


@pytest.mark.parametrize("deed", DEEDS)
def test_the_last_hour_comes_back_after_the_file_was(
    fake_proxy: FakeProxy, yesterday: Path, path: Path, deed: Callable[[Path], None]
) -> None:
    shutil.copyfile(yesterday, path)
    bring_back_the_last_hour(fake_proxy, path, deed)


def bring_back_the_last_hour(proxy: FakeProxy, path: Path, deed: Callable[[Path], None]) -> float:
    """Do something to a database in use; return the seconds until the last hour is on disk."""
    ((old_ms,),) = sql(path, "SELECT MIN(ts) FROM metrics_5s")
    with dashboard(proxy, path) as (zaidash, viewer):
        viewer.wait_for(3)
        eventually(lambda: viewer.seen[1] in stored(path), PATIENCE_S, "the first snapshots")
        deed(path)
        started_s, shown = time.monotonic(), set(viewer.seen)

        def is_back() -> bool:
            # Somebody looks at a week and zooms in, which touches every page there is. An answer
            # that has begun is cut off when it meets the fault.
            with suppress(http.client.HTTPException):
                zaidash.get("/api/metrics?range=7d")
            with suppress(http.client.HTTPException):
                zaidash.get(f"/api/metrics?start={old_ms}&end={old_ms + 5 * HOUR_MS}&format=csv")
                zaidash.get(f"/api/metrics?start={old_ms}&end={old_ms + HOUR_MS}&format=csv")
            return is_ready(zaidash) and shown <= readable(path)

        eventually(is_back, PATIENCE_S, "the last hour on disk")
        took_s = time.monotonic() - started_s
        assert_nothing_is_lost(zaidash, viewer)
        assert zaidash.get("/api/metrics?range=7d").status == 200
        logged = [line for line in zaidash.stderr().splitlines() if " error " in line]
        assert any("storage" in line and str(path) in line for line in logged), "nobody was told"
    return took_s


def move_away(path: Path) -> None:
    path.rename(path.with_name("moved"))


#: A deed, and where the rows of yesterday have to be afterwards, all of them.
REPLACEMENTS: list[Any] = [
    pytest.param(replace_by_older_copy, "zaidash.db", id="an older copy of itself"),
    pytest.param(replace_by_another_program, None, id="another program's database"),
    pytest.param(replace_by_junk, None, id="junk"),
    pytest.param(replace_by_directory, None, id="a directory"),
    pytest.param(move_away, "moved", id="nothing, since it was moved away"),
]


@pytest.mark.parametrize(("deed", "kept"), REPLACEMENTS)
def test_what_was_put_in_place_of_the_file_is_not_spoilt_by_its_log(
    path: Path, deed: Callable[[Path], None], kept: str | None
) -> None:
    """The log of the old file lies beside the new one, and SQLite would take it for its own."""
    old = list(history(now_ms() - 20 * HOUR_MS, now_ms() - 14 * HOUR_MS))
    write_history(path, *old)
    shown = list(history(now_ms() - HOUR_MS // 2, now_ms()))
    recent = [one.encoded for one in shown]
    with a_store(path, recent=lambda: recent) as store:
        store.start()
        for one in shown[:-1]:  # enough for a log with pages of all kinds
            store.put(one)
        eventually(partial(is_written, store), PATIENCE_S, "the writer")
        deed(path)
        put_there = path.read_bytes() if path.is_file() else b""
        assert ask(store, shown[0].ts_ms, shown[-1].ts_ms)  # before the writer looks
        store.put(shown[-1])
        eventually(partial(is_written, store), PATIENCE_S, "the writer, after the deed")
        assert store.problem is None
    # Not sooner: whoever opened the file before zaidash has noticed would do it what is feared.
    assert {one.ts_ms for one in shown} <= stored(path)
    assert_sound(path)
    if kept:
        assert {one.ts_ms for one in old} <= stored(path.with_name(kept))
        assert_sound(path.with_name(kept))
    elif deed is replace_by_another_program:
        assert sql(path, "SELECT text FROM notes") == [("mine",)]
    else:
        (aside,) = [p for p in set_aside(path) if p.name.startswith("zaidash.db.corrupt")]
        content = aside / "notes.txt" if aside.is_dir() else aside
        assert content.read_bytes() == (put_there or b"mine")


def test_a_chart_that_cannot_be_read_is_answered_with_the_reason(
    fake_proxy: FakeProxy, path: Path
) -> None:
    with dashboard(fake_proxy, path, DOWNSAMPLE_INTERVAL="1h") as (zaidash, viewer):
        viewer.wait_for(3)
        eventually(lambda: len(stored(path)) > 1, PATIENCE_S, "the first snapshots")
        sql(path, "DROP TABLE metrics_1m")
        for question in ("format=json", "format=csv", "format=columns", "fields=req_rate"):
            reply = zaidash.get(f"/api/metrics?range=24h&{question}")
            assert reply.status == 503, question
            assert "metrics_1m" in json.loads(reply.body)["error"]


def readable(path: Path) -> set[int]:
    """What is in a file that may be spoilt at the moment."""
    try:
        return stored(path)
    except sqlite3.DatabaseError:
        return set()


def test_a_directory_that_vanishes_and_comes_back_costs_nothing_of_the_last_hour(
    fake_proxy: FakeProxy, tmp_path: Path
) -> None:
    directory = tmp_path / "volume"
    directory.mkdir()
    with dashboard(fake_proxy, directory / "zaidash.db") as (zaidash, viewer):
        viewer.wait_for(5)
        directory.rename(tmp_path / "unmounted")
        eventually(partial(storage_problem, zaidash), PATIENCE_S, "/readyz to say so")
        assert_goes_on(zaidash, viewer)
        directory.mkdir()
        assert_nothing_is_lost(zaidash, viewer)


# --------------------------------------------------------------------------------------
# A second zaidash
# --------------------------------------------------------------------------------------


def same(path: Path) -> Path:
    return path


def link_to_file(path: Path) -> Path:
    link = path.with_name("link.db")
    link.symlink_to(path)
    return link


def link_to_directory(path: Path) -> Path:
    link = path.parent.with_name("link")
    link.symlink_to(path.parent)
    return link / path.name


def deleted_meanwhile(path: Path) -> Path:
    """As by `rm dashboard.db*`, to start afresh."""
    for file in path.parent.glob("zaidash.db*"):
        file.unlink()
    eventually(lambda: stored(path), PATIENCE_S, "the fresh file")
    return path


def away_meanwhile(path: Path) -> Path:
    path.parent.rename(path.parent.with_name("away"))
    time_to_notice = threading.Event()
    time_to_notice.wait(3 * TICK_MS / 1000)
    path.parent.mkdir()
    eventually(lambda: stored(path), PATIENCE_S, "the fresh file")
    return path


def unlocked_meanwhile(path: Path) -> Path:
    """As by somebody who takes the lock for a left-over."""
    lock = path.with_name(f"{path.name}-lock")
    lock.unlink()
    eventually(lock.exists, PATIENCE_S, "the lock")
    return path


WAYS_TO_THE_SAME_FILE: list[Any] = [
    pytest.param(same, id="the same path"),
    pytest.param(link_to_directory, id="a linked directory"),
    pytest.param(link_to_file, id="a linked file"),
    pytest.param(deleted_meanwhile, id="a file deleted and made again meanwhile"),
    pytest.param(away_meanwhile, id="a directory that was away for a moment"),
    pytest.param(unlocked_meanwhile, id="a lock deleted meanwhile"),
]


@pytest.mark.parametrize("way", WAYS_TO_THE_SAME_FILE)
def test_a_second_zaidash_on_the_same_file_says_so_and_ends(
    fake_proxy: FakeProxy, tmp_path: Path, way: Callable[[Path], Path]
) -> None:
    path = tmp_path / "data" / "zaidash.db"
    path.parent.mkdir()
    with dashboard(fake_proxy, path) as (zaidash, viewer):
        viewer.wait_for(2)
        second = way(path)
        env = {"DB_PATH": str(second), "SCRAPE_TARGETS": fake_proxy.url}
        done = exit_of_second(env)
        assert done.returncode == 2
        sentence = done.stderr.strip().splitlines()[-1]
        assert f"DB_PATH={second}" in sentence
        assert "another zaidash" in sentence
        assert "Traceback" not in done.stderr
        assert_nothing_is_lost(zaidash, viewer)


def test_of_two_whose_lock_was_deleted_one_waits_and_loses_nothing(path: Path) -> None:
    """The second one is there before the first one's next tick."""
    now, lock = now_ms(), path.with_name(f"{path.name}-lock")
    with a_store(path) as first:
        lock.unlink()
        with a_store(path):
            first.put(snapshot(now))
            first.start()
            eventually(lambda: first.problem, PATIENCE_S, "what is wrong")
            assert "another zaidash uses this database" in str(first.problem)
            assert not stored(path)
        eventually(lambda: first.problem is None, PATIENCE_S, "the end of the problem")
        assert stored(path) == {now}


def exit_of_second(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return run_to_exit(env=env, timeout_s=6.0)
    except subprocess.TimeoutExpired:
        raise AssertionError("the second zaidash runs on the same file") from None
