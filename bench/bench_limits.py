"""What zaidash takes under the limits of `deploy/kubernetes.yaml`; `python bench/bench_limits.py`.

A real zaidash process with a week of history scrapes six replicas at the default tick, under half a
CPU: it may use one, and is stopped for half of every 100 ms, which is a little harsher than the
kernel's quota, as a stopped process cannot save its share up. Its memory is not limited but
watched: what counts is the most it ever held (VmHWM in proc(5)), which a limit would have met.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from common import (
    ROOT,
    Table,
    cpu_s,
    elapsed_s,
    forget_peak,
    megabytes,
    milliseconds,
    peak_bytes,
    resident_bytes,
    run_helper,
)
from history_rows import build_database
from support import Zaidash, eventually, get, run_zaidash

from zaidash import load_config

#: As in deploy/kubernetes.yaml; tests/test_deploy.py compares them.
CPU_REQUEST, CPU_LIMIT = 0.1, 0.5
MEMORY_REQUEST_BYTES, MEMORY_LIMIT_BYTES = 64 * 2**20, 256 * 2**20
MAX_REQUESTS = 32
PROBE_TIMEOUT_S = 5.0

REPLICAS = {"production": 4, "canary": 2}
STREAMS = 100
QUIET_S = 60.0
PERIOD_S = 0.1
TIMEOUT_S = 300.0
STREAM_REQUEST = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"

#: What the page asks for when it opens on a week.
CHART_PATH = (
    "/api/metrics?range=7d&format=columns&points=600&fields=req_rate,error_rate_pct,latency_p50,"
    "latency_p95,latency_p99,token_rate_in,token_rate_out"
)
LONG_PATHS = (
    ("as rows", "/api/metrics?range=7d"),
    ("as columns", "/api/metrics?range=7d&format=columns"),
    ("as CSV", "/api/metrics?range=7d&format=csv"),
    ("as a summary", "/api/summary?range=7d"),
)


def main() -> int:
    table = Table("bench_limits: about 2 min")
    script = ROOT / "bench" / "replicas.py"
    with (
        tempfile.TemporaryDirectory(prefix="zaidash-bench-") as name,
        run_helper(script, "--count", str(sum(REPLICAS.values()))) as urls,
    ):
        db_path = Path(name) / "zaidash.db"
        build_database(load_config([], {"DB_PATH": str(db_path)})[0], time.time())
        env = {
            "DB_PATH": str(db_path),
            "SCRAPE_TARGETS": targets(urls.split(",")),
            "MAX_REQUESTS": str(MAX_REQUESTS),
            "LOG_LEVEL": "warning",
        }
        with run_zaidash(env=env) as process, throttled(process.pid), ExitStack() as streams:
            measure_quiet(table, process, streams)
            measure_chart(table, process)
            for how, path in LONG_PATHS:
                measure_crowd(table, process, how, path)
            assert not process.stderr(), process.stderr()
    return table.finish()


def targets(urls: list[str]) -> str:
    names = [name for name, count in REPLICAS.items() for _ in range(count)]
    return ",".join(f"{name}={url}" for name, url in zip(names, urls, strict=True))


@contextmanager
def throttled(pid: int) -> Iterator[None]:
    """Give a process half of one CPU until the block ends."""
    os.sched_setaffinity(pid, {min(os.sched_getaffinity(0))})
    done = threading.Event()

    def keep_down() -> None:
        while not done.wait(PERIOD_S * CPU_LIMIT):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(PERIOD_S * (1 - CPU_LIMIT))
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=keep_down, name="throttle", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def measure_quiet(table: Table, process: Zaidash, streams: ExitStack) -> None:
    """Add what it takes while nothing but scrapes and open pages keep it busy."""
    for _ in range(STREAMS):  # they stay open for all that follows
        streams.enter_context(open_stream(process))
    forget_peak(process.pid)
    before_s, started_s = cpu_s(process.pid), time.monotonic()
    time.sleep(QUIET_S)
    share = (cpu_s(process.pid) - before_s) / (time.monotonic() - started_s)
    what = f"{sum(REPLICAS.values())} replicas scraped every 5 s, {STREAMS} open pages"
    table.check(
        f"half a CPU: {what}",
        f"{1000 * share:.0f}m CPU",
        f"< {1000 * CPU_REQUEST:.0f}m, the request",
        share < CPU_REQUEST,
    )
    table.check(
        "the same, most memory",
        megabytes(peak_bytes(process.pid)),
        f"< {megabytes(MEMORY_REQUEST_BYTES)} (64Mi), the request",
        peak_bytes(process.pid) < MEMORY_REQUEST_BYTES,
    )


@contextmanager
def open_stream(process: Zaidash) -> Iterator[None]:
    """Keep an event stream open and read, as a page does."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=TIMEOUT_S) as stream:
        stream.sendall(STREAM_REQUEST)

        def read() -> None:
            with suppress(OSError):
                while stream.recv(65_536):
                    pass

        thread = threading.Thread(target=read, name="page", daemon=True)
        thread.start()
        yield
        with suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)  # which ends the read
        thread.join(TIMEOUT_S)


def measure_chart(table: Table, process: Zaidash) -> None:
    times_s = [elapsed_s(lambda: ask(process, CHART_PATH)) for _ in range(7)]
    table.note(
        "half a CPU: 7 fields over 7 d as columns, `points=600`",
        milliseconds(statistics.median(times_s)),
    )


def ask(process: Zaidash, path: str) -> int:
    return get(process.url + path, {"Accept-Encoding": "gzip"}, timeout_s=TIMEOUT_S).status


def measure_crowd(table: Table, process: Zaidash, how: str, path: str) -> None:
    """Add the most memory and the slowest probe while as many long queries run as may."""
    crowd = MAX_REQUESTS // 2
    forget_peak(process.pid)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(ask(process, path)), daemon=True)
        for _ in range(crowd)
    ]
    for thread in threads:
        thread.start()
    probes_s = []
    while any(thread.is_alive() for thread in threads):
        probes_s.append(elapsed_s(lambda: ask(process, "/healthz")))
        time.sleep(0.2)
    assert statuses.count(200) == crowd, statuses
    peak = peak_bytes(process.pid)
    table.check(
        f"half a CPU: most memory while {crowd} queries over 7 d run at once, {how}",
        f"{megabytes(peak)} (afterwards: {megabytes(resident_bytes(process.pid))})",
        f"< {megabytes(MEMORY_LIMIT_BYTES)} (256Mi), the limit",
        peak < MEMORY_LIMIT_BYTES,
    )
    table.check(
        "meanwhile, `/healthz` as the liveness probe asks",
        f"{milliseconds(statistics.median(probes_s))} (worst of {len(probes_s)}:"
        f" {milliseconds(max(probes_s))})",
        f"< {milliseconds(PROBE_TIMEOUT_S)}",
        max(probes_s) < PROBE_TIMEOUT_S,
    )
    eventually(lambda: ask(process, "/readyz") == 200, TIMEOUT_S, "200 from /readyz")


if __name__ == "__main__":
    sys.exit(main())
