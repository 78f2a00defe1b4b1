"""How much CPU it takes to scrape: parse, derive, merge, store; `python bench/bench_scrape.py`.

Parsing and deriving are timed in this process, on an exposition with 750 samples that
`prometheus_client` has written. A tick is timed on a real zaidash process, which scrapes 50 targets
over HTTP that another process serves: its CPU time for some ticks, divided by their number.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, Table, cpu_s, elapsed_s, median_s, milliseconds, run_helper
from prometheus_client.parser import text_string_to_metric_families
from replicas import expositions
from support import Zaidash, run_zaidash

import zaidash
from zaidash import Config, Snapshot, Store, TargetState, VariantState, load_config

SAMPLES = 750
PARSE_TARGET_S = 0.001
REPLICAS = 50
TICK_TARGET_S = 0.3
TICK_S = 1.0
TICKS = 10
WARM_UP_TICKS = 4
#: When in a tick its scrapes are over and the next ones have not begun.
QUIET_PHASE_S = 0.8
WRITES = 200


def main() -> int:
    table = Table("bench_scrape: about 35 s")
    bodies = list(expositions(SAMPLES, versions=10))
    measure_parsing(table, bodies)
    snapshots = measure_deriving(table, bodies)
    measure_writing(table, snapshots[-1])
    for arguments, how in (((), "gzip"), (("--plain",), "not compressed")):
        script = ROOT / "bench" / "replicas.py"
        counts = ("--count", str(REPLICAS), "--samples", str(SAMPLES))
        with run_helper(script, *counts, *arguments) as urls:
            measure_tick(table, urls, how)
    return table.finish()


# --------------------------------------------------------------------------------------
# In this process
# --------------------------------------------------------------------------------------


def make_target() -> zaidash.Target:
    """Return a target as the collector makes it, with a parser that knows nothing yet."""
    config = make_config()
    return zaidash.Target(config.targets[0], config)


def make_config(**environ: str) -> Config:
    return load_config([], {"SCRAPE_TARGETS": "http://127.0.0.1:9/metrics", **environ})[0]


def measure_parsing(table: Table, bodies: Sequence[bytes]) -> None:
    body = bodies[0]
    first_s = median_s(lambda: make_target().parser.parse(body), 21)
    parser = make_target().parser
    samples = parser.parse(body)
    known_s = statistics.median(
        elapsed_s(lambda b=each: parser.parse(b))  # type: ignore[misc]
        for each in itertools.chain(*[bodies] * 30)
    )
    text = body.decode()
    client_s = median_s(lambda: list(text_string_to_metric_families(text)), 7)
    lines = body.count(b"\n")
    table.check(
        f"parse a known exposition: {SAMPLES} samples, {lines} lines, {len(body) / 1000:.0f} kB",
        f"{milliseconds(known_s)} ({len(samples)} samples kept)",
        f"< {milliseconds(PARSE_TARGET_S)}",
        known_s < PARSE_TARGET_S,
    )
    table.note("the same, seen for the first time", milliseconds(first_s))
    table.note(
        "the same by `prometheus_client`", f"{milliseconds(client_s)}, {client_s / known_s:.0f} x"
    )


def measure_deriving(table: Table, bodies: Sequence[bytes]) -> list[Snapshot]:
    """Time what follows the parser: increases of one target, then the snapshot of 1 and of 50."""
    parser = make_target().parser
    scrapes = [parser.parse(body) for body in bodies]
    targets = [TargetState() for _ in range(REPLICAS)]
    one, many = (VariantState("production", 5.0, 60.0) for _ in range(2))
    snapshots, derive_s, one_s, many_s = [], [], [], []
    for number, samples in enumerate(itertools.chain(*[scrapes] * 3)):
        at_s = 1_000.0 + 5 * number
        started_s = time.perf_counter()
        readings = [target.read(samples, at_s) for target in targets]
        derive_s.append((time.perf_counter() - started_s) / REPLICAS)
        ts_ms = 1_700_000_000_000 + 5_000 * number
        started_s = time.perf_counter()
        snapshots.append(one.snapshot(ts_ms, readings[:1]))
        one_s.append(time.perf_counter() - started_s)
        started_s = time.perf_counter()
        many.snapshot(ts_ms, readings)
        many_s.append(time.perf_counter() - started_s)
    table.note("derive the increases of one scrape", milliseconds(statistics.median(derive_s)))
    table.note("make the snapshot of 1 replica", milliseconds(statistics.median(one_s)))
    table.note(f"make the snapshot of {REPLICAS} replicas", milliseconds(statistics.median(many_s)))
    return snapshots


def measure_writing(table: Table, snapshot: Snapshot) -> None:
    """Time from `put` until the row is committed, by the writer thread, one at a time."""
    with tempfile.TemporaryDirectory(prefix="zaidash-bench-") as name:
        store = Store(make_config(DB_PATH=str(Path(name) / "zaidash.db")))
        store.open()
        store.start()
        try:
            now_ms = round(time.time() * 1000)
            times_s = [_time_write(store, snapshot, now_ms + number) for number in range(WRITES)]
        finally:
            store.close()
    table.note(
        "write one snapshot, from `put` to the commit",
        f"{milliseconds(statistics.median(times_s))} (worst of {WRITES}:"
        f" {milliseconds(max(times_s))})",
        "original: 0.7 ms",
    )


def _time_write(store: Store, snapshot: Snapshot, ts_ms: int) -> float:
    written = store.written
    started_s = time.perf_counter()
    store.put(snapshot._replace(ts_ms=ts_ms))
    while store.written == written:
        assert time.perf_counter() < started_s + 10, f"not written: {store.problem}"
        time.sleep(0.00005)
    return time.perf_counter() - started_s


# --------------------------------------------------------------------------------------
# A real process
# --------------------------------------------------------------------------------------


def measure_tick(table: Table, urls: str, how: str) -> None:
    """Add the CPU time of a tick of all replicas, averaged over some."""
    targets = ",".join(f"production={url}" for url in urls.split(","))
    env = {"SCRAPE_TARGETS": targets, "SCRAPE_INTERVAL": f"{TICK_S:g}s", "LOG_LEVEL": "warning"}
    with run_zaidash(env=env) as process:
        _sleep_until_between_ticks(WARM_UP_TICKS)
        first, first_cpu_s = _snapshots_written(process), cpu_s(process.pid)
        _sleep_until_between_ticks(TICKS)
        last_cpu_s, last = cpu_s(process.pid), _snapshots_written(process)
        reports = process.json("/api/targets")
        health = {report["health"] for report in reports}
        assert len(reports) == REPLICAS and health == {"up"}, f"{health} {process.stderr()}"
        slowest_ms = max(report["scrape_duration_ms"] for report in reports)
    tick_s = (last_cpu_s - first_cpu_s) / (last - first)
    table.check(
        f"CPU of a tick, {REPLICAS} replicas with {SAMPLES} samples each, {how}",
        f"{milliseconds(tick_s)} (mean of {last - first}; the slowest scrape of one took"
        f" {slowest_ms:.0f} ms)",
        f"< {milliseconds(TICK_TARGET_S)}",
        tick_s < TICK_TARGET_S,
    )


def _sleep_until_between_ticks(ticks: int) -> None:
    """Let so many ticks pass, and end well after the last of them: ticks lie on whole seconds.

    Asking zaidash how far it is would cost it CPU time, which is what is measured.
    """
    time.sleep(ticks * TICK_S - (time.time() - QUIET_PHASE_S) % TICK_S)


def _snapshots_written(process: Zaidash) -> int:
    name = "zaidash_snapshots_written_total "
    lines = process.get("/metrics").body.decode().splitlines()
    return int(next(line for line in lines if line.startswith(name)).removeprefix(name))


if __name__ == "__main__":
    sys.exit(main())
