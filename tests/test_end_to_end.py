"""The whole path with a process of its own: proxies are scraped, and the numbers have to be right.

What zaidash says is compared with the ledger of the fake proxies, by arithmetic that shares
nothing with zaidash's.
"""

from __future__ import annotations

import http.client
import json
import math
import random
import sqlite3
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fake_proxy import DURATION_BUCKETS_S, FakeProxy, Truth, generate_traffic
from prometheus_client.parser import text_string_to_metric_families
from support import Zaidash, eventually
from support import run_zaidash as run_unmeasured
from test_own_metrics import lint

PATIENCE_S = 60.0
TICK = "200ms"
#: Replicas are not scraped at the very same moment: of a tick of a second that is nearly nothing.
TRAFFIC_TICK = "1s"

#: What only a process of its own goes through, such as `main`, counts for the coverage here.
run_zaidash = partial(run_unmeasured, is_measured=True)


# --------------------------------------------------------------------------------------
# What is right
# --------------------------------------------------------------------------------------


def percentile_ms(latencies_s: Sequence[float], share: float) -> float:
    """Return what a histogram with the proxy's buckets can know of a percentile.

    The bucket that holds the rank is found among the sorted latencies; within it, requests are
    taken to be evenly spread.
    """
    ordered = sorted(latencies_s)
    rank = share * len(ordered)
    edges = [0.0, *DURATION_BUCKETS_S]
    upper = edges[bisect_left(DURATION_BUCKETS_S, ordered[math.ceil(rank) - 1]) + 1]
    lower = max(edge for edge in edges if edge < upper)
    before = sum(1 for latency in ordered if latency <= lower)
    inside = sum(1 for latency in ordered if lower < latency <= upper)
    return 1_000 * (lower + (upper - lower) * (rank - before) / inside)


def test_yardstick_is_right_where_the_answer_is_plain() -> None:
    latencies = [0.6, 0.7, 0.8, 0.9]  # all in the bucket from 0.5 to 1
    assert percentile_ms(latencies, 0.5) == pytest.approx(750)
    assert percentile_ms([*latencies, 4.0, 4.5, 3.0, 2.6], 0.75) == pytest.approx(3_750)


def merged(truths: Sequence[Truth]) -> Truth:
    total = Truth()
    for truth in truths:
        total.requests += truth.requests
        total.tokens += truth.tokens
        total.adjustments += truth.adjustments
        total.latencies_s.extend(truth.latencies_s)
        total.request_bytes += truth.request_bytes
        total.response_bytes += truth.response_bytes
        total.rejections += truth.rejections
        total.upstream_errors += truth.upstream_errors
        total.retries += truth.retries
    return total


def error_rate_pct(truth: Truth) -> float:
    return 100 * truth.count_class(5) / truth.requests.total()


# --------------------------------------------------------------------------------------
# Asking
# --------------------------------------------------------------------------------------


def snapshots(zaidash: Zaidash, variant: str, query: str = "range=1h") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = zaidash.json(f"/api/metrics?{query}&variant={variant}")
    return rows


def seen_requests(zaidash: Zaidash, variant: str) -> float:
    """Return the requests in the totals of the last snapshot."""
    rows = snapshots(zaidash, variant)
    if not rows:
        return -1
    return float(sum(rows[-1][f"requests_{n}xx"] for n in (2, 4, 5)))


def wait_for_requests(zaidash: Zaidash, variant: str, count: float) -> None:
    eventually(
        lambda: seen_requests(zaidash, variant) == count,
        PATIENCE_S,
        f"{count:g} requests of {variant}",
    )


def grown(rows: Sequence[dict[str, Any]], rate: str) -> float:
    """Return what a rate amounts to over the time its snapshots cover."""
    return math.fsum(row[rate] * row["elapsed_s"] for row in rows if row[rate] is not None)


@contextmanager
def stream(zaidash: Zaidash) -> Iterator[Iterator[dict[str, Any]]]:
    """Open /api/events; what is iterated over are the parsed events."""
    connection = http.client.HTTPConnection("127.0.0.1", zaidash.port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/api/events")
        response = connection.getresponse()
        assert response.status == 200
        yield (
            json.loads(line.removeprefix(b"data: "))
            for line in iter(response.readline, b"")
            if line.startswith(b"data: ")
        )
    finally:
        connection.close()


def wait_for_event(events: Iterator[dict[str, Any]], kind: str) -> dict[str, Any]:
    ends_s = time.monotonic() + PATIENCE_S
    for event in events:
        if event["type"] == kind:
            return event
        assert time.monotonic() < ends_s, f"no {kind} event"
    raise AssertionError("the stream ended")


# --------------------------------------------------------------------------------------
# Numbers
# --------------------------------------------------------------------------------------


class Traffic:
    """Two production replicas and a canary, their traffic, and the zaidash that watched it."""

    def __init__(self, zaidash: Zaidash, proxies: Sequence[FakeProxy]) -> None:
        self.zaidash = zaidash
        self.truth = {
            "production": merged([proxy.truth for proxy in proxies[:2]]),
            "canary": proxies[2].truth,
        }

    def last(self, variant: str) -> dict[str, Any]:
        return snapshots(self.zaidash, variant)[-1]


@pytest.fixture(scope="module")
def traffic() -> Iterator[Traffic]:
    with (
        FakeProxy() as one,
        FakeProxy() as two,
        FakeProxy("canary") as canary,
        run_zaidash(
            env={
                "SCRAPE_TARGETS": f"{one.url},{two.url},canary={canary.url}",
                "SCRAPE_INTERVAL": TRAFFIC_TICK,
                "RATE_WINDOW": "10m",
            }
        ) as zaidash,
    ):
        for variant in ("production", "canary"):
            eventually(
                lambda: snapshots(zaidash, variant),  # noqa: B023 - called within the loop
                PATIENCE_S,
                f"a snapshot of {variant}",
            )
        rng = random.Random(20_261_123)
        for round_number in range(3):
            generate_traffic(one, rng, 400, error_share=0.1)
            generate_traffic(two, rng, 50)
            generate_traffic(canary, rng, 120, slow_factor=3, error_share=0.3)
            wait_for_requests(zaidash, "production", 450 * (round_number + 1))
        one.set_gauges(concurrent=30, max_workers=60, utilization=0.5, rate_limit_rps=80)
        two.set_gauges(concurrent=4, max_workers=20, utilization=0.2, rate_limit_rps=20)
        wait_for_requests(zaidash, "canary", 360)
        eventually(
            lambda: snapshots(zaidash, "production")[-1]["max_workers"] == 80,
            PATIENCE_S,
            "the gauges",
        )
        yield Traffic(zaidash, (one, two, canary))
        assert "Traceback" not in zaidash.stderr()
        assert zaidash.terminate() == 0


VARIANTS = ("production", "canary")


@pytest.mark.parametrize("variant", VARIANTS)
def test_first_snapshot_claims_no_rates(traffic: Traffic, variant: str) -> None:
    first = snapshots(traffic.zaidash, variant)[0]
    unknown = [name for name, value in first.items() if value is None]
    assert {"elapsed_s", "req_rate", "token_rate_in", "status_code_rates"} <= set(unknown)
    assert {"latency_p50", "request_size_avg", "latency_buckets"} <= set(unknown)
    assert (first["requests_2xx"], first["tokens_input"]) == (0, 0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_totals_are_what_the_proxies_counted(traffic: Traffic, variant: str) -> None:
    last, truth = traffic.last(variant), traffic.truth[variant]
    for digit in (2, 4, 5):
        assert last[f"requests_{digit}xx"] == truth.count_class(digit) > 0
    for direction in ("input", "output", "cache_read", "cache_write"):
        assert last[f"tokens_{direction}"] == truth.tokens[direction] > 0
    assert last["rate_limit_rejections"] == truth.rejections > 0
    assert last["rate_limit_adj_increase"] == truth.adjustments["increase"]
    assert last["rate_limit_adj_decrease"] == truth.adjustments["decrease"]
    assert last["upstream_errors"] == truth.upstream_errors > 0
    assert last["retry_attempts"] == truth.retries > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_rates_lose_and_invent_nothing(traffic: Traffic, variant: str) -> None:
    """Rate times time, over all snapshots, is every request there was."""
    rows, truth = snapshots(traffic.zaidash, variant), traffic.truth[variant]
    assert grown(rows, "req_rate") == pytest.approx(truth.requests.total(), rel=0.02)
    for rate, direction in (
        ("token_rate_in", "input"),
        ("token_rate_out", "output"),
        ("token_rate_cache_read", "cache_read"),
        ("token_rate_cache_write", "cache_write"),
    ):
        assert grown(rows, rate) == pytest.approx(truth.tokens[direction], rel=0.02)
    codes = {code for row in rows for code in row["status_code_rates"] or ()}
    assert codes == set(truth.requests)
    for row in rows:
        if row["status_code_rates"] is not None:
            assert row["req_rate"] == pytest.approx(sum(row["status_code_rates"].values()))


@pytest.mark.parametrize("variant", VARIANTS)
def test_elapsed_times_add_up_to_the_time_that_passed(traffic: Traffic, variant: str) -> None:
    rows = snapshots(traffic.zaidash, variant)
    passed_s = (rows[-1]["timestamp"] - rows[0]["timestamp"]) / 1_000
    covered_s = sum(row["elapsed_s"] or 0 for row in rows)
    assert covered_s == pytest.approx(passed_s, abs=0.5)
    assert {row["timestamp"] % 1_000 for row in rows} == {0}


@pytest.mark.parametrize("variant", VARIANTS)
def test_error_rate_is_the_share_of_5xx(traffic: Traffic, variant: str) -> None:
    expected = error_rate_pct(traffic.truth[variant])
    assert traffic.last(variant)["error_rate_pct"] == pytest.approx(expected, rel=1e-9)
    status = traffic.zaidash.json("/api/status")[variant]
    assert status["error_rate_pct"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("percent", [50, 95, 99])
def test_percentiles_are_those_of_the_requests(
    traffic: Traffic, variant: str, percent: int
) -> None:
    latencies = traffic.truth[variant].latencies_s
    expected = percentile_ms(list(latencies), percent / 100)
    assert traffic.last(variant)[f"latency_p{percent}"] == pytest.approx(expected, rel=1e-9)
    summary = traffic.zaidash.json("/api/summary?range=1h")[variant]
    assert summary[f"latency_p{percent}"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_buckets_hold_every_request_once(traffic: Traffic, variant: str) -> None:
    rows, latencies = snapshots(traffic.zaidash, variant), traffic.truth[variant].latencies_s
    names = [f"{bound:g}" for bound in DURATION_BUCKETS_S] + ["+Inf"]
    expected = dict.fromkeys(names, 0)
    for latency in latencies:
        expected[names[bisect_left(DURATION_BUCKETS_S, latency)]] += 1
    found = dict.fromkeys(names, 0)
    for row in rows:
        for name, count in (row["latency_buckets"] or {}).items():
            found[name] += count
    assert found == expected


@pytest.mark.parametrize("variant", VARIANTS)
def test_sizes_are_the_averages_of_all_requests(traffic: Traffic, variant: str) -> None:
    last, truth = traffic.last(variant), traffic.truth[variant]
    assert last["request_size_avg"] == pytest.approx(truth.request_size_avg, rel=1e-9)
    assert last["response_size_avg"] == pytest.approx(truth.response_size_avg, rel=1e-9)


def test_gauges_of_replicas_are_added_and_weighted(traffic: Traffic) -> None:
    last = traffic.last("production")
    assert (last["concurrent_requests"], last["max_workers"]) == (34, 80)
    assert last["rate_limit_rps"] == 100
    assert last["worker_utilization"] == pytest.approx((0.5 * 60 + 0.2 * 20) / 80)
    status = traffic.zaidash.json("/api/status")["production"]
    assert (status["healthy"], status["concurrent"], status["rate_limit_rps"]) == (True, 34, 100)
    assert status["latency_p50_ms"] == last["latency_p50"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_summary_is_what_happened(traffic: Traffic, variant: str) -> None:
    summary, truth = traffic.zaidash.json("/api/summary")[variant], traffic.truth[variant]
    assert summary["requests"] == pytest.approx(truth.requests.total(), rel=0.02)
    assert summary["errors"] == pytest.approx(truth.count_class(5), rel=0.02)
    assert summary["error_rate_pct"] == pytest.approx(error_rate_pct(truth), rel=0.02)
    for direction in ("input", "output", "cache_read", "cache_write"):
        assert summary[f"tokens_{direction}"] == pytest.approx(truth.tokens[direction], rel=0.02)
    assert 0 < summary["cache_hit_ratio"] < 1
    assert not summary["previous"]["requests"]


def test_stream_and_history_and_file_say_the_same(traffic: Traffic) -> None:
    zaidash = traffic.zaidash
    with stream(zaidash) as events:
        hello = next(events)
        assert hello == {
            "type": "connected",
            "scrape_interval": int(TRAFFIC_TICK[:-1]),
            "variants": ["production", "canary"],
        }
        live = [wait_for_event(events, "metrics")["data"] for _ in range(4)]
    assert {snapshot["variant"] for snapshot in live} == set(VARIANTS)
    by_key = {(s["timestamp"], s["variant"]): s for v in VARIANTS for s in snapshots(zaidash, v)}
    with sqlite3.connect(zaidash.db_path) as database:
        database.row_factory = sqlite3.Row
        for snapshot in live:
            key = (snapshot["timestamp"], snapshot["variant"])
            assert by_key[key] == snapshot
            rows = eventually(
                lambda: database.execute(
                    "SELECT * FROM metrics_5s WHERE ts = ? AND variant = ?",
                    key,  # noqa: B023 - called within the loop
                ).fetchall(),
                PATIENCE_S,
                "the row on disk",
            )
            row = dict(rows[0])
            assert row.pop("ts") == snapshot["timestamp"]
            for name in ("status_code_rates", "latency_buckets"):
                row[name] = json.loads(row[name])
            assert {"timestamp": snapshot["timestamp"], **row} == snapshot
    database.close()


# --------------------------------------------------------------------------------------
# Things that happen
# --------------------------------------------------------------------------------------


def test_proxy_that_restarts_makes_no_rate_negative(fake_proxy: FakeProxy) -> None:
    environment = {"SCRAPE_TARGETS": fake_proxy.url, "SCRAPE_INTERVAL": TICK}
    with run_zaidash(env=environment) as zaidash:
        eventually(lambda: snapshots(zaidash, "production"), PATIENCE_S, "a snapshot")
        for _ in range(100):
            fake_proxy.request(200, 0.2, tokens=(10, 10, 0, 0))
        wait_for_requests(zaidash, "production", 100)
        fake_proxy.restart()
        for _ in range(130):  # more than before: the total alone does not give it away
            fake_proxy.request(200, 0.2, tokens=(10, 10, 0, 0))
        wait_for_requests(zaidash, "production", 130)
        rows = snapshots(zaidash, "production")
        assert min(row["req_rate"] or 0 for row in rows) == 0
        assert grown(rows, "req_rate") == pytest.approx(230, rel=0.02)
        assert grown(rows, "token_rate_in") == pytest.approx(2_300, rel=0.02)


def test_many_targets_do_not_take_an_arena_of_memory_each(fake_proxy: FakeProxy) -> None:
    names = [f"variant-{number}" for number in range(12)]
    env = {
        "SCRAPE_TARGETS": ",".join(f"{name}={fake_proxy.url}" for name in names),
        "SCRAPE_INTERVAL": TICK,
    }
    with run_zaidash(env=env) as zaidash:

        def are_healthy() -> bool:
            return all(one["healthy"] for one in zaidash.json("/api/status").values())

        eventually(are_healthy, PATIENCE_S, "snapshots")
        assert arena_count(zaidash.pid) <= 1, "beside the one that all processes have"


def arena_count(pid: int) -> int:
    """Count the reservations of 64 MB that glibc's malloc makes for threads; others make none."""
    maps = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, access = line.split()[:2]
        start, _, end = addresses.partition("-")
        maps.append((int(start, 16), int(end, 16), access))
    return sum(
        access == "rw-p" and after == "---p" and end == next_start and last - start == 64 * 2**20
        for (start, end, access), (next_start, last, after) in pairwise(maps)
    )


def test_target_that_goes_and_comes_back_is_told_to_everybody(fake_proxy: FakeProxy) -> None:
    environment = {"SCRAPE_TARGETS": fake_proxy.url, "SCRAPE_INTERVAL": TICK}
    with run_zaidash(env=environment) as zaidash:

        def is_healthy() -> bool:
            return bool(zaidash.json("/api/status")["production"]["healthy"])

        eventually(is_healthy, PATIENCE_S, "a healthy variant")
        for _ in range(50):
            fake_proxy.request()
        wait_for_requests(zaidash, "production", 50)
        with stream(zaidash) as events:
            assert next(events)["type"] == "connected"
            fake_proxy.stop_serving()
            down = wait_for_event(events, "status")["data"]
            assert (down["variant"], down["healthy"]) == ("production", False)
            assert "refused" in down["error"] and fake_proxy.url in down["error"]
            assert not is_healthy()
            (target,) = zaidash.json("/api/targets")
            assert target["health"] == "down" and "refused" in target["last_error"]
            count = len(snapshots(zaidash, "production"))
            last_ms = snapshots(zaidash, "production")[-1]["timestamp"]
            for _ in range(30):
                fake_proxy.request()
            fake_proxy.start_serving()
            up = wait_for_event(events, "status")["data"]
            assert up == {"variant": "production", "healthy": True, "error": None}
            back = wait_for_event(events, "metrics")["data"]
        rows = snapshots(zaidash, "production")
        first = next(row for row in rows if row["timestamp"] > last_ms)
        assert first["timestamp"] <= back["timestamp"]
        assert len(rows) > count
        gap_s = (first["timestamp"] - last_ms) / 1_000
        assert gap_s >= 0.6  # a gap, not zeros
        assert first["elapsed_s"] == pytest.approx(gap_s, abs=0.5)
        assert first["req_rate"] * first["elapsed_s"] == pytest.approx(30, rel=1e-6)
        (target,) = zaidash.json("/api/targets")
        assert (target["health"], target["last_error"]) == ("up", None)
        assert "connection refused" in zaidash.stderr().lower()


def is_on_disk(zaidash: Zaidash, ts_ms: int) -> bool:
    """Say whether a snapshot is where a kill cannot reach it."""
    with closing(sqlite3.connect(f"{zaidash.db_path.as_uri()}?mode=ro", uri=True)) as database:
        ((newest_ms,),) = database.execute("SELECT MAX(ts) FROM metrics_5s").fetchall()
    return bool(newest_ms and newest_ms >= ts_ms)


@pytest.mark.parametrize("ending", ["terminate", "kill"])
def test_restart_keeps_the_data(tmp_path: Path, fake_proxy: FakeProxy, ending: str) -> None:
    environment = {
        "SCRAPE_TARGETS": fake_proxy.url,
        "SCRAPE_INTERVAL": TICK,
        "DB_PATH": str(tmp_path / "zaidash.db"),
    }
    with run_zaidash(env=environment) as zaidash:
        fake_proxy.request()
        eventually(lambda: len(snapshots(zaidash, "production")) >= 5, PATIENCE_S, "5 snapshots")
        before = snapshots(zaidash, "production")
        started = time.monotonic()
        if ending == "terminate":
            assert zaidash.terminate() == 0
            assert time.monotonic() - started < 5
            assert not Path(f"{zaidash.db_path}-wal").exists()
        else:
            newest_ms = before[-1]["timestamp"]
            eventually(lambda: is_on_disk(zaidash, newest_ms), PATIENCE_S, "the writer")
            assert zaidash.kill() == -9
    with run_zaidash(env=environment) as zaidash:
        after = snapshots(zaidash, "production")
        assert after[: len(before)] == before
        eventually(
            lambda: len(snapshots(zaidash, "production")) > len(after), PATIENCE_S, "new ones"
        )
        new = [
            r for r in snapshots(zaidash, "production") if r["timestamp"] > before[-1]["timestamp"]
        ]
        assert any(row["req_rate"] is None for row in new)  # its first scrape knows no rate
        assert max(row["req_rate"] or 0 for row in new) == 0


# --------------------------------------------------------------------------------------
# The demo, on a Python without any package
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> Iterator[Zaidash]:
    with run_zaidash("--demo", python=(sys.executable, "-S", "-E")) as zaidash:
        eventually(
            lambda: all(
                status["healthy"] and status["req_rate"] is not None
                for status in zaidash.json("/api/status").values()
            ),
            PATIENCE_S,
            "live rates of the demo",
        )
        yield zaidash
        assert "Traceback" not in zaidash.stderr()
        started = time.monotonic()
        assert zaidash.terminate() == 0
        assert time.monotonic() - started < 5


def test_promtool_finds_nothing_to_complain_about_in_the_demos_own_metrics(demo: Zaidash) -> None:
    lint(demo.get("/metrics").body)


def test_demo_answers_every_path(demo: Zaidash) -> None:
    assert demo.get("/healthz").body == b'{"status":"ok"}'
    assert demo.get("/readyz").body == b'{"status":"ready"}'
    assert b"<html" in demo.get("/").body
    assert demo.json("/api/config")["scrape_interval"] == 1
    assert demo.json("/api/config")["variants"] == ["production", "canary"]
    assert {target["health"] for target in demo.json("/api/targets")} == {"up"}
    names = {f.name for f in text_string_to_metric_families(demo.get("/metrics").body.decode())}
    assert {"zaidash_scrapes", "zaidash_streams"} <= names

    def busy() -> bool:
        status = demo.json("/api/status")
        if any(value is None for one in status.values() for value in one.values()):
            return False
        return bool(0 < status["canary"]["req_rate"] < status["production"]["req_rate"])

    # In a quiet hour the canary has seconds without a request, and others with some.
    eventually(busy, 60, "a second with requests of the canary, and more of production")


@pytest.mark.parametrize(
    ("query", "at_least", "step_ms"),
    [("range=5m", 30, 5_000), ("range=15m", 100, 5_000), ("range=1h", 600, 5_000),
     ("range=6h", 350, 60_000), ("range=24h", 1_400, 60_000), ("range=7d", 10_000, 60_000),
     ("range=7d&points=600", 500, 1_020_000)],
)  # fmt: skip
def test_every_range_of_the_demo_is_full_at_once(
    demo: Zaidash, query: str, at_least: int, step_ms: int
) -> None:
    columns = demo.json(f"/api/metrics?{query}&format=columns")
    for variant in VARIANTS:
        times = columns[variant]["timestamp"]
        holes = [(a, b) for a, b in pairwise(times) if b - a > max(step_ms, 60_000) * 1.5]
        assert holes == []
        assert len(times) >= at_least
        assert time.time() * 1_000 - times[-1] < step_ms + 130_000
        for name in ("req_rate", "latency_p95", "token_rate_out", "worker_utilization"):
            known = [value for value in columns[variant][name] if value is not None]
            assert len(known) > 0.9 * len(times), name
            assert min(known) >= 0, name
        # Whole requests in a second: the canary, with few of them, has few different rates.
        assert len(set(columns[variant]["req_rate"])) > (10 if variant == "production" else 3)


def test_demo_shows_a_canary_that_is_slower_and_a_limit_that_bites(demo: Zaidash) -> None:
    summary = demo.json("/api/summary?range=7d")
    assert summary["canary"]["latency_p50"] > summary["production"]["latency_p50"] * 1.02
    assert summary["production"]["requests"] > 1_000_000
    rows = demo.json("/api/metrics?range=7d&points=200&fields=status_code_rates,req_rate")
    assert {"200", "429", "500"} <= {code for row in rows for code in row["status_code_rates"]}
    rates = [row["req_rate"] for row in rows if row["variant"] == "production"]
    assert max(rates) > 1.5 * min(rates)  # the daily wave


def test_demo_streams_live_data(demo: Zaidash) -> None:
    with stream(demo) as events:
        assert next(events)["type"] == "connected"
        live = [wait_for_event(events, "metrics")["data"] for _ in range(4)]
    assert {snapshot["variant"] for snapshot in live} == set(VARIANTS)
    rates = [one["req_rate"] for one in live if one["variant"] == "production"]
    assert rates and all(rate > 0 for rate in rates)


def test_demo_writes_nowhere_but_in_a_temporary_file(demo: Zaidash) -> None:
    assert not demo.db_path.exists()
