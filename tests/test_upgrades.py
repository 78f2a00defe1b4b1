"""A database of another version: an older one loses nothing, a newer one is left as it is.

`data/schema-0.1.0.db` was written by the first release, which scraped a production and a canary
every 5 s for seven minutes: before five columns of rates were added, and an index. It was stopped
with two minutes not averaged yet. Tests work on a copy.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_proxy import FakeProxy
from needs import needed_tool
from support import ROOT, eventually, free_port, run_zaidash

from zaidash import FIELDS, Snapshot, Store, load_config

OLD_FILE = ROOT / "tests" / "data" / "schema-0.1.0.db"
ADDED = (
    *("rate_limit_rejection_rate", "rate_limit_adj_increase_rate", "rate_limit_adj_decrease_rate"),
    *("upstream_error_rate", "retry_rate"),
)
NAMES = tuple(field.name for field in FIELDS)
TABLES = ("metrics_5s", "metrics_1m")
VARIANTS = ("canary", "production")

#: The first and the last tick in the file, and how many there are of a variant.
FIRST_MS, LAST_MS, TICKS = 1_795_449_335_000, 1_795_449_735_000, 81
MINUTE_MS = 60_000
TICK_MS = 5_000

#: No row of the file expires, whenever the tests run.
KEEP_ALL = {"RETENTION_5S": "36500d", "RETENTION_1M": "36500d"}

Row = dict[str, Any]


#: Both variants of the file; nobody is there to be scraped.
TARGETS = ",".join(f"{variant}=http://127.0.0.1:{free_port()}/metrics" for variant in VARIANTS)


def settings(path: Path) -> dict[str, str]:
    return {**KEEP_ALL, "SCRAPE_TARGETS": TARGETS, "DB_PATH": str(path)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Path(shutil.copy(OLD_FILE, tmp_path / "zaidash.db"))


def rows(path: Path, table: str) -> list[Row]:
    """Every row of a table, by the names of its columns."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]


def columns(path: Path, table: str) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as database:
        return {row[1]: row[2] for row in database.execute(f"PRAGMA table_info({table})")}


def open_and_close(path: Path) -> None:
    config, _ = load_config([], settings(path))
    store = Store(config)
    store.open()
    store.close()


def put_and_close(
    path: Path, snapshots: list[Snapshot], now_ms: int, until: Callable[[], object]
) -> None:
    """Run a store at that time, hand it the snapshots, and wait for what they should lead to."""
    config, _ = load_config([], {**settings(path), "DOWNSAMPLE_INTERVAL": "1s"})
    store = Store(config, wall=lambda: now_ms / 1000)
    store.open()
    try:
        for snapshot in snapshots:
            store.put(snapshot)
        store.start()
        eventually(until, 30, "the store")
        assert store.problem is None
    finally:
        store.close()


def snapshot(ts_ms: int, **values: Any) -> Snapshot:
    return Snapshot.build(ts_ms, "production", [values.get(name) for name in NAMES])


# --------------------------------------------------------------------------------------
# From an older version
# --------------------------------------------------------------------------------------


def test_the_file_is_one_that_lacks_what_was_added() -> None:
    for table in TABLES:
        assert columns(OLD_FILE, table).keys() == {"variant", "ts", *NAMES} - set(ADDED)
    assert len(rows(OLD_FILE, "metrics_5s")) == TICKS * len(VARIANTS)
    assert len(rows(OLD_FILE, "metrics_1m")) == 6 * len(VARIANTS)


@pytest.mark.parametrize("table", TABLES)
def test_no_row_of_an_older_file_is_lost_or_changed(path: Path, table: str) -> None:
    before = rows(path, table)
    open_and_close(path)
    assert rows(path, table) == [{**row, **dict.fromkeys(ADDED)} for row in before]


@pytest.mark.parametrize("table", TABLES)
def test_an_older_file_gets_the_columns_of_a_new_one(
    path: Path, table: str, tmp_path: Path
) -> None:
    open_and_close(path)
    open_and_close(tmp_path / "new.db")
    assert columns(path, table) == columns(tmp_path / "new.db", table)


def test_an_older_file_gets_what_makes_a_new_one_fast(path: Path, tmp_path: Path) -> None:
    def indexes(path: Path) -> set[str]:
        with closing(sqlite3.connect(path)) as database:
            return {name for (name,) in database.execute("SELECT name FROM sqlite_schema")}

    open_and_close(path)
    open_and_close(tmp_path / "new.db")
    assert indexes(path) == indexes(tmp_path / "new.db") != indexes(OLD_FILE)


def test_an_upgrade_happens_once(path: Path) -> None:
    open_and_close(path)
    with run_zaidash(env=settings(path)) as zaidash:
        assert "missing column" not in zaidash.stderr()
        assert zaidash.terminate() == 0


def test_the_log_says_what_was_added(path: Path) -> None:
    with run_zaidash(env=settings(path)) as zaidash:
        log = zaidash.stderr()
    for table in TABLES:
        for name in ADDED:
            assert f"added a missing column: table={table} column={name}\n" in log


def test_older_history_is_answered_with_null_for_what_it_has_not(path: Path) -> None:
    old = rows(path, "metrics_5s")
    with run_zaidash(env=settings(path)) as zaidash:
        window = f"start={FIRST_MS}&end={LAST_MS}"
        answer = zaidash.json(f"/api/metrics?{window}")
        chart = zaidash.json(f"/api/metrics?{window}&format=columns&fields=req_rate,retry_rate")
        summary = zaidash.json(f"/api/summary?{window}")
    assert len(answer) == len(old)
    by_key = {(row["variant"], row["ts"]): row for row in old}
    for row in answer:
        before = by_key[row["variant"], row["timestamp"]]
        assert list(row) == ["timestamp", "variant", *NAMES]
        assert [row[name] for name in ADDED] == [None] * len(ADDED)
        for name in ("requests_2xx", "req_rate", "latency_p95", "elapsed_s"):
            assert row[name] == before[name], name
    for variant in VARIANTS:
        ours = [row for row in old if row["variant"] == variant]
        assert chart[variant]["retry_rate"] == [None] * TICKS
        requests = sum(row["req_rate"] * row["elapsed_s"] for row in ours if row["req_rate"])
        assert summary[variant]["requests"] == pytest.approx(requests, rel=1e-6) and requests > 1000


def test_minutes_the_older_version_left_undone_are_averaged(path: Path) -> None:
    with run_zaidash(env=settings(path)) as zaidash:
        eventually(lambda: len(rows(path, "metrics_1m")) == 8 * len(VARIANTS), 30, "two minutes")
        # More than an hour, so minutes are what answers.
        window = f"start={FIRST_MS - 7_200_000}&end={LAST_MS}&variant=production"
        minutes = zaidash.json(f"/api/metrics?{window}")
    assert [row["timestamp"] for row in minutes] == list(
        range(FIRST_MS // MINUTE_MS * MINUTE_MS, LAST_MS, MINUTE_MS)
    )
    assert all(row["req_rate"] and row["retry_rate"] is None for row in minutes)


def test_the_minute_of_the_upgrade_counts_what_either_version_saw(path: Path) -> None:
    minute_ms = LAST_MS // MINUTE_MS * MINUTE_MS
    old = [r for r in rows(path, "metrics_5s") if r["ts"] >= minute_ms and r["variant"] == "canary"]
    # The older version's rows end within a minute, which the newer one fills up.
    ticks = range(LAST_MS + TICK_MS, minute_ms + MINUTE_MS, TICK_MS)
    new = [
        snapshot(ts, elapsed_s=5, req_rate=60, retry_rate=index)._replace(variant="canary")
        for index, ts in enumerate(ticks)
    ]
    assert len(old) == 4 and len(new) == 8

    def minute() -> list[Row]:
        found = rows(path, "metrics_1m")
        return [row for row in found if row["ts"] == minute_ms and row["variant"] == "canary"]

    put_and_close(path, new, minute_ms + 2 * MINUTE_MS, until=minute)
    (row,) = minute()
    requests = sum(r["req_rate"] * r["elapsed_s"] for r in old) + 8 * 5 * 60
    assert row["req_rate"] * row["elapsed_s"] == pytest.approx(requests)
    assert row["elapsed_s"] == pytest.approx(sum(r["elapsed_s"] for r in old) + 8 * 5)
    assert row["retry_rate"] == pytest.approx(3.5), "the average of those who know it"


# --------------------------------------------------------------------------------------
# From a newer version
# --------------------------------------------------------------------------------------


@pytest.fixture
def newer(path: Path) -> Path:
    """A file as a later version might leave it: a column, a table and an index more than ours."""
    open_and_close(path)
    with closing(sqlite3.connect(path)) as database, database:
        for table in TABLES:
            database.execute(f"ALTER TABLE {table} ADD COLUMN queue_depth REAL")
            database.execute(f"UPDATE {table} SET queue_depth = ts % 97")
        database.execute("CREATE TABLE metrics_1h (variant TEXT, ts INTEGER, queue_depth REAL)")
        database.execute("INSERT INTO metrics_1h VALUES ('canary', 1795449600000, 7.5)")
        database.execute("CREATE INDEX metrics_5s_by_depth ON metrics_5s (queue_depth)")
    return path


def test_a_downgrade_loses_nothing_that_the_newer_version_stored(newer: Path) -> None:
    before = {table: rows(newer, table) for table in (*TABLES, "metrics_1h")}
    last_ms = LAST_MS + TICK_MS

    def is_written() -> bool:
        return rows(newer, "metrics_5s")[-1]["ts"] == last_ms and len(
            rows(newer, "metrics_1m")
        ) > len(before["metrics_1m"])

    put_and_close(newer, [snapshot(last_ms, req_rate=1.5)], last_ms + 1, until=is_written)
    after = {table: rows(newer, table) for table in before}
    assert after["metrics_1h"] == before["metrics_1h"]
    for table in TABLES:
        kept = [row for row in after[table] if row in before[table]]
        added = [row for row in after[table] if row not in before[table]]
        assert kept == before[table]
        assert added and {row["queue_depth"] for row in added} == {None}


def test_a_downgrade_answers_with_the_fields_it_knows(newer: Path) -> None:
    with run_zaidash(env=settings(newer)) as zaidash:
        answer = zaidash.json(f"/api/metrics?start={FIRST_MS}&end={LAST_MS}")
        reply = zaidash.get("/api/metrics?fields=queue_depth")
        log = zaidash.stderr()
    assert len(answer) == TICKS * len(VARIANTS)
    assert all(list(row) == ["timestamp", "variant", *NAMES] for row in answer)
    assert reply.status == 400
    assert "set aside" not in log


# --------------------------------------------------------------------------------------
# A copy beforehand
# --------------------------------------------------------------------------------------


def test_the_backups_of_the_readme_hold_everything_and_open(path: Path, tmp_path: Path) -> None:
    needed_tool("sqlite3")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("### Upgrades") :]
    (commands,) = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)[:1]
    copies = re.findall(r"([\w-]+\.db)'", commands)
    assert len(copies) == 2

    with FakeProxy() as proxy:
        targets = f"{TARGETS},live={proxy.url}"
        env = {**settings(path), "SCRAPE_TARGETS": targets, "SCRAPE_INTERVAL": "200ms"}
        with run_zaidash(env=env) as zaidash:
            eventually(lambda: len(zaidash.json("/api/metrics?variant=live")) > 2, 30, "snapshots")
            subprocess.run(
                ["bash", "-euc", commands], cwd=tmp_path, check=True, timeout=60, text=True
            )
            # What was only in the log beside the file is in the copies too.
            assert Path(f"{path}-wal").stat().st_size > 0
    for name in copies:
        copied = rows(tmp_path / name, "metrics_5s")
        assert len([row for row in copied if row["variant"] == "live"]) > 2
        assert len(copied) > TICKS * len(VARIANTS)
        with run_zaidash(env=settings(tmp_path / name)) as zaidash:
            answer = zaidash.json(f"/api/metrics?start={FIRST_MS}&end={LAST_MS}")
            assert len(answer) == TICKS * len(VARIANTS)
