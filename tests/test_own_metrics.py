"""zaidash's own /metrics: another parser reads it, and it counts what really happened."""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_proxy import FakeProxy
from needs import needed_tool
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from support import eventually, free_port, get, run_zaidash

import zaidash
from zaidash import App, Hub, load_config

PATIENCE_S = 60.0

#: Every family, its type and its labels beside `le`.
FAMILIES = {
    "zaidash_build_info": ("gauge", {"version", "python", "sqlite"}),
    "zaidash_scrapes": ("counter", {"target", "variant"}),
    "zaidash_scrape_failures": ("counter", {"target", "variant"}),
    "zaidash_target_up": ("gauge", {"target", "variant"}),
    "zaidash_scrape_duration_seconds": ("histogram", {"target", "variant"}),
    "zaidash_storage_up": ("gauge", set()),
    "zaidash_snapshots_written": ("counter", set()),
    "zaidash_snapshots_waiting": ("gauge", set()),
    "zaidash_snapshots_dropped": ("counter", set()),
    "zaidash_database_bytes": ("gauge", set()),
    "zaidash_write_duration_seconds": ("histogram", set()),
    "zaidash_query_duration_seconds": ("histogram", set()),
    "zaidash_streams": ("gauge", set()),
    "zaidash_slow_streams_dropped": ("counter", set()),
    "zaidash_requests_under_way": ("gauge", set()),
    "process_start_time_seconds": ("gauge", set()),
    "process_cpu_seconds": ("counter", set()),
    "process_resident_memory_bytes": ("gauge", set()),
}


@contextmanager
def serving(directory: Path, targets: str, **settings: str) -> Iterator[App]:
    config, _ = load_config(
        [],
        {
            "LISTEN_ADDR": "127.0.0.1:0",
            "DB_PATH": str(directory / "zaidash.db"),
            "SCRAPE_TARGETS": targets,
            "SCRAPE_INTERVAL": "100ms",
            **settings,
        },
    )
    app = App(config)
    app.start()
    try:
        yield app
    finally:
        app.stop()


def base_url(app: App) -> str:
    return f"http://127.0.0.1:{app.server.server_port}"


def families(app: App) -> dict[str, Metric]:
    """Ask for /metrics and let prometheus_client read it."""
    reply = get(base_url(app) + "/metrics")
    assert reply.status == 200
    return {f.name: f for f in text_string_to_metric_families(reply.body.decode())}


def value(app: App, name: str, **labels: str) -> float:
    """Return the value of the one series of that name and those labels."""
    found = [
        sample.value
        for family in families(app).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def wait_for(app: App, name: str, at_least: float, **labels: str) -> float:
    eventually(
        lambda: value(app, name, **labels) >= at_least, PATIENCE_S, f"{name} >= {at_least:g}"
    )
    return value(app, name, **labels)


def test_every_family_is_there_with_its_type_and_labels(
    tmp_path: Path, fake_proxy: FakeProxy
) -> None:
    with serving(tmp_path, fake_proxy.url) as app:
        wait_for(app, "zaidash_snapshots_written_total", 1)
        found = families(app)
    assert {name: family.type for name, family in found.items()} == {
        name: kind for name, (kind, _) in FAMILIES.items()
    }
    for name, (_, labels) in FAMILIES.items():
        assert found[name].documentation
        assert found[name].samples, name
        for sample in found[name].samples:
            assert set(sample.labels) - {"le"} == labels, name


def test_histograms_are_cumulative_and_agree_with_their_count(
    tmp_path: Path, fake_proxy: FakeProxy
) -> None:
    with serving(tmp_path, fake_proxy.url) as app:
        wait_for(app, "zaidash_scrapes_total", 3)
        get(base_url(app) + "/api/metrics?range=6h")
        found = families(app)
    for name in (name for name, (kind, _) in FAMILIES.items() if kind == "histogram"):
        samples = found[name].samples
        buckets = [(s.labels["le"], s.value) for s in samples if s.name == f"{name}_bucket"]
        bounds = [float(le) for le, _ in buckets]
        counts = [count for _, count in buckets]
        (total,) = (s.value for s in samples if s.name == f"{name}_count")
        (seconds,) = (s.value for s in samples if s.name == f"{name}_sum")
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf")
        assert counts == sorted(counts) and counts[-1] == total > 0
        assert 0 < seconds < 60


def test_scrapes_are_counted_by_target_and_failures_apart(
    tmp_path: Path, fake_proxy: FakeProxy
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/metrics"
    # At ticks that no busy machine makes a scrape miss: the timeout is no longer than one.
    targets = f"{fake_proxy.url},canary={dead}"
    with serving(tmp_path, targets, SCRAPE_INTERVAL="2s") as app:
        alive_labels = {"target": fake_proxy.url, "variant": "production"}
        dead_labels = {"target": dead, "variant": "canary"}
        wait_for(app, "zaidash_scrape_failures_total", 3, **dead_labels)
        wait_for(app, "zaidash_scrapes_total", 3, **alive_labels)
        assert value(app, "zaidash_scrape_failures_total", **alive_labels) == 0
        assert value(app, "zaidash_target_up", **alive_labels) == 1
        assert value(app, "zaidash_target_up", **dead_labels) == 0
        app.collector.close()  # so that the numbers stand still
        scrapes = value(app, "zaidash_scrapes_total", **dead_labels)
        assert scrapes == value(app, "zaidash_scrape_failures_total", **dead_labels)
        (served,) = (
            sample.value
            for family in text_string_to_metric_families(fake_proxy.exposition().decode())
            for sample in family.samples
            if sample.name == "promhttp_metric_handler_requests_total"
        )
        counted = value(app, "zaidash_scrapes_total", **alive_labels)
        assert served - 1 <= counted <= served  # one may have been under way at the end
        taken = value(app, "zaidash_scrape_duration_seconds_count", **alive_labels)
        assert taken == counted


def test_slow_scrapes_show_in_the_durations(tmp_path: Path) -> None:
    with (
        FakeProxy(delay_s=0.15) as proxy,
        serving(tmp_path, proxy.url, SCRAPE_INTERVAL="500ms") as app,
    ):
        wait_for(app, "zaidash_scrapes_total", 2)
        found = families(app)["zaidash_scrape_duration_seconds"].samples
        fast = {s.labels["le"]: s.value for s in found if s.name.endswith("_bucket")}["0.1"]
        count = next(s.value for s in found if s.name.endswith("_count"))
        seconds = next(s.value for s in found if s.name.endswith("_sum"))
        assert fast == 0
        assert seconds >= 0.15 * count


def test_written_snapshots_are_the_rows_on_disk(tmp_path: Path, fake_proxy: FakeProxy) -> None:
    with serving(tmp_path, fake_proxy.url) as app:
        wait_for(app, "zaidash_snapshots_written_total", 5)
        app.collector.close()
        eventually(lambda: value(app, "zaidash_snapshots_waiting") == 0, PATIENCE_S, "all written")
        written = value(app, "zaidash_snapshots_written_total")
        rows = get(base_url(app) + "/api/metrics?range=1h&fields=req_rate&format=csv").body
        assert written == rows.count(b"\r\n") - 1
        assert value(app, "zaidash_storage_up") == 1
        assert value(app, "zaidash_snapshots_dropped_total") == 0
        files = [tmp_path / "zaidash.db", tmp_path / "zaidash.db-wal"]
        size = sum(file.stat().st_size for file in files if file.exists())
        assert value(app, "zaidash_database_bytes") == size > 4_096


def test_writes_and_queries_are_timed(tmp_path: Path, fake_proxy: FakeProxy) -> None:
    with serving(tmp_path, fake_proxy.url) as app:
        wait_for(app, "zaidash_write_duration_seconds_count", 1)
        before = value(app, "zaidash_query_duration_seconds_count")
        for _ in range(3):
            get(base_url(app) + "/api/metrics?range=6h")
        assert value(app, "zaidash_query_duration_seconds_count") >= before + 3


def test_database_that_fails_shows(tmp_path: Path, fake_proxy: FakeProxy) -> None:
    with serving(tmp_path, fake_proxy.url) as app:
        wait_for(app, "zaidash_snapshots_written_total", 1)
        with contextlib.closing(sqlite3.connect(tmp_path / "zaidash.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            eventually(lambda: value(app, "zaidash_storage_up") == 0, PATIENCE_S, "storage down")
            wait_for(app, "zaidash_snapshots_waiting", 2)
        eventually(lambda: value(app, "zaidash_storage_up") == 1, PATIENCE_S, "storage up again")


def open_stream(app: App, receive_buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    client.settimeout(PATIENCE_S)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", app.server.server_port))
    client.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def test_open_streams_are_counted_while_they_are_open(
    tmp_path: Path, fake_proxy: FakeProxy
) -> None:
    with serving(tmp_path, fake_proxy.url) as app:
        assert value(app, "zaidash_streams") == 0
        with open_stream(app), open_stream(app):
            assert value(app, "zaidash_streams") == 2
        eventually(lambda: value(app, "zaidash_streams") == 0, PATIENCE_S, "no stream")


def test_stream_that_does_not_read_is_counted_as_dropped(
    tmp_path: Path, fake_proxy: FakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "MAX_WAITING_BYTES", 4_096)
    monkeypatch.setattr(Hub, "SEND_BUFFER_BYTES", 4_096)
    with serving(tmp_path, fake_proxy.url) as app, open_stream(app, receive_buffer=2_048):
        dropped = eventually(lambda: value(app, "zaidash_slow_streams_dropped_total"), 30, "a drop")
        assert dropped == 1
        eventually(lambda: value(app, "zaidash_streams") == 0, PATIENCE_S, "no stream")


def test_request_under_way_counts_itself(tmp_path: Path, fake_proxy: FakeProxy) -> None:
    with serving(tmp_path, fake_proxy.url) as app:
        assert value(app, "zaidash_requests_under_way") == 1


def test_process_metrics_are_those_of_this_process(tmp_path: Path, fake_proxy: FakeProxy) -> None:
    before = time.time()
    with serving(tmp_path, fake_proxy.url) as app:
        assert before <= value(app, "process_start_time_seconds") <= time.time()
        assert 0 < value(app, "process_cpu_seconds_total") <= time.process_time()
        status = Path("/proc/self/status").read_text(encoding="ascii")
        resident_kb = int(re.findall(r"^VmRSS:\s*([0-9]+) kB$", status, re.MULTILINE)[0])
        assert value(app, "process_resident_memory_bytes") == pytest.approx(
            resident_kb * 1024, rel=0.3
        )
        (build,) = families(app)["zaidash_build_info"].samples
        assert (build.labels["version"], build.value) == (zaidash.__version__, 1)


def test_credentials_of_a_target_are_not_in_a_label(tmp_path: Path, fake_proxy: FakeProxy) -> None:
    secret = fake_proxy.url.replace("http://", "http://user:hunter2@")
    with serving(tmp_path, secret) as app:
        body = get(base_url(app) + "/metrics").body
        assert b"hunter2" not in body and b"user" not in body


HARD_TARGETS = {
    "a quote and a backslash": 'http://127.0.0.1:1/m"etr\\ics?a="b"',
    "letters beyond ASCII": "http://127.0.0.1:1/métriques",
    "braces and commas": "http://127.0.0.1:1/{a}?b={c}=d}",
    "a name without addresses": "dns+http://does-not-exist.invalid/metrics",
    "an account": "http://a:b@127.0.0.1:1/metrics",
}


@pytest.mark.parametrize("targets", HARD_TARGETS.values(), ids=HARD_TARGETS.keys())
def test_no_target_makes_the_text_invalid(tmp_path: Path, targets: str) -> None:
    with serving(tmp_path, targets) as app:
        found = families(app)
        seen = [
            (s.name, *sorted(s.labels.items())) for family in found.values() for s in family.samples
        ]
        assert len(set(seen)) == len(seen), "a series is there twice: Prometheus takes none of it"
        if not targets.startswith("dns+"):
            target = found["zaidash_scrapes"].samples[0].labels["target"]
            assert target == re.sub(r"//[^/@]*@", "//***@", targets.split(",")[0])
        lint(get(base_url(app) + "/metrics").body)


def test_metrics_are_read_while_everything_changes(tmp_path: Path, fake_proxy: FakeProxy) -> None:
    """Counters never go back, whoever reads in between."""
    with serving(tmp_path, fake_proxy.url) as app:
        failures: list[str] = []

        def watch() -> None:
            last: Mapping[str, float] = {}
            end_s = time.monotonic() + 1.5
            while time.monotonic() < end_s:
                now = {
                    s.name: s.value
                    for family in families(app).values()
                    for s in family.samples
                    if s.name.endswith(("_total", "_count"))
                }
                failures.extend(name for name in last if now[name] < last[name])
                last = now

        threads = [threading.Thread(target=watch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []


# --------------------------------------------------------------------------------------
# promtool
# --------------------------------------------------------------------------------------


def lint(exposition: bytes) -> None:
    """Let promtool judge."""
    verdict = subprocess.run(
        [needed_tool("promtool"), "check", "metrics"],
        input=exposition,
        capture_output=True,
        timeout=30,
    )
    said = verdict.stdout + verdict.stderr
    assert (verdict.returncode, said) == (0, b"")


def test_promtool_finds_nothing_to_complain_about() -> None:
    with FakeProxy() as proxy:
        dead = f"http://127.0.0.1:{free_port()}/metrics"
        environment = {
            "SCRAPE_TARGETS": f"{proxy.url},canary={dead}",
            "SCRAPE_INTERVAL": "100ms",
        }
        with run_zaidash(env=environment) as zaidash_process:
            eventually(lambda: zaidash_process.get("/readyz").status == 200, PATIENCE_S, "a scrape")
            lint(zaidash_process.get("/metrics").body)
