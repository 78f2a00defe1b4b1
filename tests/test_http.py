"""The HTTP interface over real sockets: every endpoint, every limit, and clients that mean harm.

Three sites serve the tests. `live` scrapes two fake proxies. `still` stands still in time: a
history known to the last digit and a clock that does not run. `full_database` is a file of full
size (a day of 5 s rows, a week of minutes, two variants) for what only hurts at that size.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import gzip
import http.client
import io
import json
import logging
import re
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from fake_proxy import FakeProxy
from prometheus_client.parser import text_string_to_metric_families
from support import ROOT, Reply, Zaidash, eventually, free_port, get, run_zaidash

from zaidash import FIELDS, App, Server, Snapshot, Store, load_config

VARIANTS = ("production", "canary")

#: The fields of a snapshot in the order of the contract; `timestamp` and `variant` come first.
FIELD_NAMES = (
    *("elapsed_s", "requests_2xx", "requests_4xx", "requests_5xx"),
    *("tokens_input", "tokens_output", "tokens_cache_read", "tokens_cache_write"),
    *("rate_limit_rejections", "rate_limit_adj_increase", "rate_limit_adj_decrease"),
    *("upstream_errors", "retry_attempts"),
    *("concurrent_requests", "max_workers", "worker_utilization", "rate_limit_rps"),
    *("req_rate", "token_rate_in", "token_rate_out"),
    *("token_rate_cache_read", "token_rate_cache_write"),
    *("rate_limit_rejection_rate", "rate_limit_adj_increase_rate", "rate_limit_adj_decrease_rate"),
    *("upstream_error_rate", "retry_rate"),
    *("status_code_rates", "error_rate_pct", "latency_p50", "latency_p95", "latency_p99"),
    *("request_size_avg", "response_size_avg", "latency_buckets"),
)
SNAPSHOT_KEYS = {"timestamp", "variant", *FIELD_NAMES}

LIVE_PATHS = (
    *("/healthz", "/readyz", "/api/status", "/api/metrics", "/api/config", "/api/targets"),
    *("/api/health", "/api/summary", "/metrics"),
)

#: How long a test waits for an answer on a machine that is busy with other things.
PATIENCE_S = 60.0


# --------------------------------------------------------------------------------------
# Sites
# --------------------------------------------------------------------------------------


class LogKeeper(logging.Handler):
    """Keeps what zaidash logs, to find a traceback in it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def tracebacks(self) -> list[str]:
        return [f"{r.getMessage()}: {r.exc_info[1]!r}" for r in self.records if r.exc_info]


class Site(NamedTuple):
    """An App that runs in this process."""

    app: App
    url: str
    log: LogKeeper

    @property
    def port(self) -> int:
        return self.app.server.server_port

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Reply:
        return get(self.url + path, headers, method, timeout_s=PATIENCE_S)

    def json(self, path: str) -> Any:
        reply = self.get(path)
        assert reply.status == 200, f"GET {path}: {reply.status} {reply.body[:300]!r}"
        return json.loads(reply.body)

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        client = socket.socket()
        client.settimeout(PATIENCE_S)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.connect(("127.0.0.1", self.port))
        return client

    def exchange(self, data: bytes) -> bytes:
        """Send bytes as they are, say that there are no more, and return all that comes back."""
        with self.connect() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return receive_all(client)


@contextmanager
def serving(
    directory: Path, wall: Callable[[], float] = time.time, **settings: str
) -> Iterator[Site]:
    environment = {
        "LISTEN_ADDR": "127.0.0.1:0",
        "DB_PATH": str(directory / "zaidash.db"),
        "SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/metrics",
        **settings,
    }
    config, _ = load_config([], environment)
    log = LogKeeper()
    logger = logging.getLogger("zaidash")
    logger.addHandler(log)
    app = App(config, wall=wall)
    app.start()
    try:
        yield Site(app, f"http://127.0.0.1:{app.server.server_port}", log)
    finally:
        app.stop()
        logger.removeHandler(log)
    assert log.tracebacks() == []


def dead_targets() -> str:
    """Return a target of either variant that refuses every connection."""
    url = f"http://127.0.0.1:{free_port()}"
    return f"production={url}/metrics,canary={url}/canary"


def receive_all(client: socket.socket) -> bytes:
    """Return everything up to the end of the connection, however it ends."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65_536):
            received += data
    return bytes(received)


def parse_answers(data: bytes) -> list[Reply]:
    """Return the answers that came one after the other on a connection; none was to a HEAD."""
    answers = []
    while data:
        head, separator, rest = data.partition(b"\r\n\r\n")
        assert separator, f"half an answer: {data[:200]!r}"
        status_line, _, header_lines = head.partition(b"\r\n")
        assert re.fullmatch(rb"HTTP/1\.1 [0-9]{3} [A-Za-z -]*", status_line), status_line
        headers = http.client.parse_headers(io.BytesIO(header_lines + b"\r\n\r\n"))
        status = int(status_line.split()[1])
        if headers.get("Transfer-Encoding") == "chunked":
            body, data = split_chunked(rest)
        else:
            length = headers.get("Content-Length")
            size = int(length) if length is not None else len(rest)
            body, data = rest[:size], rest[size:]
            assert len(body) == size, f"{len(body)} of {size} bytes"
        answers.append(Reply(status, headers, body))
    return answers


def split_chunked(data: bytes) -> tuple[bytes, bytes]:
    """Return the body of a chunked answer and what follows it."""
    body = bytearray()
    while True:
        size_text, separator, rest = data.partition(b"\r\n")
        assert separator, "a chunked body that does not end"
        size = int(size_text, 16)
        body += rest[:size]
        assert rest[size : size + 2] == b"\r\n", "a chunk that is not as long as it says"
        data = rest[size + 2 :]
        if size == 0:
            return bytes(body), data


def request_threads() -> list[str]:
    """Return the threads that serve a request at this moment."""
    return [thread.name for thread in threading.enumerate() if thread.name == "request"]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that scrapes a production and a canary proxy twice a second: half a second is enough
    for an answer also where other tests keep all cores busy."""
    with ExitStack() as stack:
        proxies = [stack.enter_context(FakeProxy(variant)) for variant in VARIANTS]
        targets = ",".join(f"{proxy.variant}={proxy.url}" for proxy in proxies)
        site = stack.enter_context(
            serving(
                tmp_path_factory.mktemp("live"), SCRAPE_TARGETS=targets, SCRAPE_INTERVAL="500ms"
            )
        )
        for proxy in proxies:
            proxy.request(200, 0.3, tokens=(900, 200, 100, 10))
            proxy.request(500, 0.1)
        eventually(
            lambda: all(
                status["req_rate"] is not None for status in site.json("/api/status").values()
            ),
            PATIENCE_S,
            "rates of both variants",
        )
        yield site


# --------------------------------------------------------------------------------------
# The still site: 2 h of rows, the clock stands
# --------------------------------------------------------------------------------------

#: 2026-06-21T10:30:02.500Z
NOW_MS = 1_782_037_802_500
TICK_MS = 5_000
LAST_TS = NOW_MS // TICK_MS * TICK_MS
FIRST_TS = LAST_TS - 7_200_000 + TICK_MS


def known_values(ts_ms: int, variant: str) -> list[Any]:
    """Return the values of a snapshot: whole, broken, null and by key, different every tick."""
    step = ts_ms // TICK_MS % 1_000 + (500 if variant == "canary" else 0)
    quiet = step % 7 == 0
    special: dict[str, Any] = {
        "elapsed_s": 5.0,
        "worker_utilization": step / 2_000,
        "req_rate": step / 3,
        "status_code_rates": {"200": step / 4, "529": 0.5} if step % 2 else {"200": step / 4},
        "latency_p50": None if quiet else step * 1.5,
        "latency_p95": None if quiet else step * 2.5,
        "latency_buckets": {"+Inf": 0} if quiet else {"0.5": step, "1": 2, "+Inf": 0},
        "max_workers": None,
    }
    return [special.get(name, step + number) for number, name in enumerate(FIELD_NAMES)]


def known_rows(ticks: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    for ts_ms in ticks:
        for variant in VARIANTS:
            yield Snapshot.build(ts_ms, variant, known_values(ts_ms, variant)).row()


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("still")
    config, _ = load_config([], {"DB_PATH": str(directory / "zaidash.db")})
    store = Store(config, wall=lambda: NOW_MS / 1000)
    store.open()
    store.fill(known_rows(range(FIRST_TS, LAST_TS + 1, TICK_MS)))
    store.close()
    with serving(directory, lambda: NOW_MS / 1000, SCRAPE_TARGETS=dead_targets()) as site:
        yield site


def expected_snapshot(ts_ms: int, variant: str) -> Any:
    values = zip(FIELD_NAMES, known_values(ts_ms, variant), strict=True)
    return {"timestamp": ts_ms, "variant": variant, **dict(values)}


def test_field_table_has_the_fields_of_the_contract_in_their_order() -> None:
    assert tuple(field.name for field in FIELDS) == FIELD_NAMES


# --------------------------------------------------------------------------------------
# Every row of the endpoint table
# --------------------------------------------------------------------------------------


def test_healthz_is_exactly_what_a_probe_compares_with(live: Site) -> None:
    reply = live.get("/healthz")
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')
    assert reply.headers["Content-Type"].startswith("application/json")


def test_readyz_is_ready_after_a_scrape(live: Site) -> None:
    reply = live.get("/readyz")
    assert (reply.status, reply.body) == (200, b'{"status":"ready"}')


def test_readyz_says_why_it_is_not_ready(still: Site) -> None:
    reply = still.get("/readyz")
    assert reply.status == 503
    assert "no scrape yet" in reply.body.decode()


def test_health_says_the_same_without_an_error_in_the_console(live: Site, still: Site) -> None:
    assert live.json("/api/health") == {"ready": True, "reasons": []}
    assert still.json("/api/health") == {"ready": False, "reasons": ["no scrape yet"]}
    assert json.loads(still.get("/readyz").body)["reasons"] == ["no scrape yet"]


def test_status_has_every_key_of_every_variant(live: Site) -> None:
    status = live.json("/api/status")
    assert list(status) == list(VARIANTS)
    for one in status.values():
        assert set(one) == {
            *("healthy", "last_scrape", "req_rate", "error_rate_pct", "latency_p50_ms"),
            *("concurrent", "worker_utilization", "rate_limit_rps"),
            *("token_rate_in", "token_rate_out"),
        }
        assert one["healthy"] is True
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", one["last_scrape"])
        last = datetime.fromisoformat(one["last_scrape"])
        assert abs((datetime.now(UTC) - last).total_seconds()) < PATIENCE_S


def test_status_shows_a_variant_that_was_never_scraped(still: Site) -> None:
    status = still.json("/api/status")
    assert set(status) == set(VARIANTS)
    for one in status.values():
        assert one["healthy"] is False
        assert {value for key, value in one.items() if key != "healthy"} == {None}


def test_metrics_are_snapshots_oldest_first_with_every_field(live: Site) -> None:
    rows = live.json("/api/metrics")
    assert rows and all(set(row) == SNAPSHOT_KEYS for row in rows)
    times = [row["timestamp"] for row in rows]
    assert times == sorted(times)
    assert {row["variant"] for row in rows} == set(VARIANTS)


def test_config_is_exact_to_the_byte_where_clients_compare(still: Site) -> None:
    reply = still.get("/api/config")
    config = json.loads(reply.body)
    assert set(config) == {
        *("scrape_interval", "targets", "variants", "retention_5s", "retention_1m", "version")
    }
    assert b'"scrape_interval":5,' in reply.body
    assert config["variants"] == list(VARIANTS)
    assert (config["retention_5s"], config["retention_1m"]) == (86_400, 604_800)
    assert [type(config[name]) for name in ("retention_5s", "retention_1m")] == [int, int]


def test_config_shows_a_broken_interval_as_it_is(live: Site) -> None:
    assert live.json("/api/config")["scrape_interval"] == 0.5


def test_targets_tell_their_state(live: Site) -> None:
    targets = live.json("/api/targets")
    assert [target["variant"] for target in targets] == list(VARIANTS)
    for target in targets:
        assert set(target) == {
            *("url", "variant", "health", "last_error", "last_scrape"),
            *("scrape_duration_ms", "samples", "warning"),
        }
        assert (target["health"], target["last_error"], target["warning"]) == ("up", None, None)
        assert target["samples"] > 20 and target["scrape_duration_ms"] > 0


def test_target_that_was_not_scraped_yet_is_unknown(still: Site) -> None:
    assert {target["health"] for target in still.json("/api/targets")} == {"unknown"}


SUMMARY_KEYS = {
    *("requests", "errors", "error_rate_pct"),
    *("tokens_input", "tokens_output", "tokens_cache_read", "tokens_cache_write"),
    *("cache_hit_ratio", "latency_p50", "latency_p95", "latency_p99"),
    *("req_rate", "token_rate_in", "token_rate_out"),
    *("concurrent_requests", "max_workers", "worker_utilization", "rate_limit_rps"),
}


def test_summary_has_every_key_now_and_before(still: Site) -> None:
    summary = still.json("/api/summary?range=1h")
    assert set(summary) == set(VARIANTS)
    for one in summary.values():
        assert set(one) == {*SUMMARY_KEYS, "previous"}
        assert set(one["previous"]) == SUMMARY_KEYS
        for window in (one, one["previous"]):
            unknown = {name for name, value in window.items() if value is None}
            assert unknown == {"max_workers"}  # which these snapshots do not have


def test_summary_compares_with_nothing_where_retention_has_cut(still: Site) -> None:
    """A few minutes that happen to be there still would pass for a whole week."""
    previous = still.json("/api/summary?range=7d&variant=canary")["canary"]["previous"]
    assert set(previous.values()) == {None}


@pytest.mark.parametrize("previous", [False, True], ids=["this hour", "the hour before"])
def test_summary_adds_the_window_up(still: Site, previous: bool) -> None:
    end = NOW_MS - 3_600_000 if previous else NOW_MS
    ticks = [t for t in range(FIRST_TS, LAST_TS + 1, TICK_MS) if end - 3_600_000 < t <= end]
    answer = still.json("/api/summary?range=1h&variant=canary")
    assert list(answer) == ["canary"]
    summary = answer["canary"]["previous"] if previous else answer["canary"]
    rows = [expected_snapshot(ts_ms, "canary") for ts_ms in ticks]
    requests = sum(row["req_rate"] * 5 for row in rows)
    errors = sum(row["status_code_rates"].get("529", 0) * 5 for row in rows)
    reads, inputs, writes = (
        sum(row[f"token_rate_{name}"] * 5 for row in rows)
        for name in ("cache_read", "in", "cache_write")
    )
    assert summary["requests"] == pytest.approx(requests, rel=1e-6)
    assert summary["errors"] == pytest.approx(errors, rel=1e-6)
    assert summary["error_rate_pct"] == pytest.approx(100 * errors / requests, rel=1e-6)
    assert summary["tokens_input"] == pytest.approx(inputs, rel=1e-6)
    assert summary["cache_hit_ratio"] == pytest.approx(reads / (reads + inputs + writes), rel=1e-6)
    # Nearly all requests took less than 0.5 s, evenly spread as far as a bucket knows.
    count = sum(sum(row["latency_buckets"].values()) for row in rows)
    below = sum(row["latency_buckets"].get("0.5", 0) for row in rows)
    assert summary["latency_p50"] == pytest.approx(500 * 0.5 * count / below, rel=1e-6)
    for level in ("req_rate", "token_rate_in", "concurrent_requests", "worker_utilization"):
        average = sum(row[level] for row in rows) / len(rows)
        assert summary[level] == pytest.approx(average, rel=1e-6), level


def fill_after_outage(tmp_path: Path) -> None:
    """A minute after ten of outage: 600 requests while it was away, then 11 ticks of 50."""
    minute = NOW_MS // 60_000 * 60_000 - 600_000
    config, _ = load_config([], {"DB_PATH": str(tmp_path / "zaidash.db")})
    store = Store(config, wall=lambda: NOW_MS / 1000)
    store.open()
    rows = []
    for number in range(12):
        after_outage = number == 0
        values: dict[str, Any] = dict.fromkeys(FIELD_NAMES, 0)
        values["elapsed_s"] = 600.0 if after_outage else 5.0
        values["req_rate"] = 1.0 if after_outage else 10.0
        values["concurrent_requests"] = 40 if after_outage else 4
        values["status_code_rates"] = {"200": values["req_rate"]}
        ts_ms = minute + number * TICK_MS
        rows.append(Snapshot.build(ts_ms, "production", values.values()).row())
    store.fill(rows)
    store.close()


@pytest.mark.parametrize("query", ["range=1h", "range=6h"])
def test_summary_counts_an_outage_once(tmp_path: Path, query: str) -> None:
    fill_after_outage(tmp_path)
    with serving(tmp_path, lambda: NOW_MS / 1000) as site:
        summary = site.json(f"/api/summary?{query}")["production"]
    assert summary["requests"] == pytest.approx(600 + 11 * 50)
    assert summary["req_rate"] == pytest.approx((600 + 11 * 50) / 655)
    # A gauge says nothing of the time it was not seen.
    assert summary["concurrent_requests"] == pytest.approx((60 * 40 + 55 * 4) / 115)


@pytest.mark.parametrize("has_snapshots", [True, False], ids=["with snapshots", "minutes only"])
@pytest.mark.parametrize(
    "query", ["range=1h", "range=1h&points=1", "range=6h", "range=6h&points=1"]
)
def test_rows_and_totals_say_what_was_counted_whatever_was_missed(
    tmp_path: Path, query: str, has_snapshots: bool
) -> None:
    fill_after_outage(tmp_path)
    if not has_snapshots:
        with contextlib.closing(sqlite3.connect(tmp_path / "zaidash.db")) as database, database:
            database.execute("DELETE FROM metrics_5s")
    with serving(tmp_path, lambda: NOW_MS / 1000) as site:
        rows = site.json(f"/api/metrics?{query}&variant=production")
        summary = site.json(f"/api/summary?{query.partition('&')[0]}")["production"]
    if has_snapshots or "6h" in query:  # a short range is of snapshots
        counted = [
            sum(row["req_rate"] * row["elapsed_s"] for row in rows),
            sum(row["status_code_rates"]["200"] * row["elapsed_s"] for row in rows),
        ]
        assert counted == [pytest.approx(600 + 11 * 50)] * 2
        assert sum(row["elapsed_s"] for row in rows) == 655
    assert summary["requests"] == pytest.approx(600 + 11 * 50)
    assert summary["req_rate"] == pytest.approx((600 + 11 * 50) / 655)


#: What somebody may write into a row of either table, and what they must not do with it.
INTRUSIONS = {
    "text for a number": "req_rate = 'abc', latency_p95 = '1,\"variant\":\"x\"', retry_rate = ''",
    "a blob for a number": "req_rate = x'00ff', token_rate_in = x'31', elapsed_s = x'31'",
    "infinity": "req_rate = 9e999, latency_p50 = -9e999, tokens_input = 9e999, elapsed_s = 9e999",
    "numbers whose sum is no number": "req_rate = 1.7e308, elapsed_s = 1.7e308, retry_rate = 1e308",
    "a large number": "req_rate = 1e300, elapsed_s = 1e300, token_rate_in = -1e300",
    "numbers just not too large": "req_rate = 1e150, elapsed_s = 1e150, retry_rate = -1e150",
    "a time that is negative": "elapsed_s = -100",
    "text that is no JSON": "status_code_rates = '{', latency_buckets = 'nonsense'",
    "JSON that is no object": "status_code_rates = '[1]', latency_buckets = '\"text\"'",
    "objects of no numbers": """status_code_rates = '{"500":"many","200":null,"503":[1]}',"""
    """ latency_buckets = '{"0.5":"x","1":{}}'""",
    "bounds that are no numbers": """latency_buckets = '{"slow":1,"nan":2,"-1e999":3,"":4}'""",
    "counts below 0": """latency_buckets = '{"0.5":-5,"1":-1}', status_code_rates = '{"500":-1}'""",
    "huge counts": """latency_buckets = '{"0.5":1e308,"1":1e308}',"""
    """ status_code_rates = '{"500":1e308,"501":1e308}'""",
    "blobs for objects": """status_code_rates = x'7b7d', latency_buckets = x'ff'""",
    "a number for objects": "status_code_rates = 7, latency_buckets = 1e999",
    "what follows a NUL": """status_code_rates = '{"200":1}' || char(0) || '}{'""",
    "text that is no UTF-8": "status_code_rates = CAST(x'7b22ff223a317d' AS TEXT),"
    " latency_buckets = CAST(x'ff' AS TEXT)",
    "objects nested too deep": "status_code_rates = replace(hex(zeroblob(3000)), '0', '{\"a\":')",
    "a name that is none": """variant = 'x"}' || char(10, 10) || 'data: forged', ts = ts + 1""",
    "a name that is a blob": "variant = x'ff00', ts = ts + 1",
    "a name that is no UTF-8": "variant = CAST(x'22ff' AS TEXT), ts = ts + 1",
    "a time that is text": "ts = 'now ' || ts",
    "a time that is a blob": "ts = CAST('now ' || ts AS BLOB)",
    "a time between two milliseconds": "ts = ts + 0.5",
    "a time beyond all clocks": "ts = 9223372036854775807 - ts % 100000007",
    "a time before all clocks": "ts = -ts",
}


def no_number(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} in an answer")


def check_rows(rows: list[Any]) -> None:
    """What the page draws: numbers for numbers, objects for objects, or null."""
    for row in rows:
        assert set(row) == SNAPSHOT_KEYS
        for name, value in row.items():
            kind: Any = {"variant": str, "status_code_rates": dict, "latency_buckets": dict}
            assert value is None or isinstance(value, kind.get(name, int | float)), (name, value)


@pytest.mark.parametrize("intrusion", INTRUSIONS.values(), ids=list(INTRUSIONS))
def test_whatever_somebody_writes_into_the_file_charts_and_events_are_what_they_promise(
    tmp_path: Path, intrusion: str
) -> None:
    config, _ = load_config([], {"DB_PATH": str(tmp_path / "zaidash.db")})
    store = Store(config, wall=lambda: NOW_MS / 1000)
    store.open()
    store.fill(known_rows(range(FIRST_TS, LAST_TS + 1, 60_000)))
    store.close()
    with contextlib.closing(sqlite3.connect(config.db_path)) as connection, connection:
        for table in ("metrics_5s", "metrics_1m"):
            connection.execute(
                f"UPDATE OR REPLACE {table} SET {intrusion} WHERE ts / 60000 % 2 = 0"
            )
    with serving(tmp_path, lambda: NOW_MS / 1000, SCRAPE_TARGETS=dead_targets()) as site:
        every = "fields=" + ",".join(FIELD_NAMES)
        for query in ("range=1h", f"range=1h&{every}", "range=6h"):  # rows as they are
            reply = site.get(f"/api/metrics?{query}")
            assert reply.status == 200, reply.body
        for query in ("range=1h&points=7", "range=6h&points=20", "range=7d&points=1"):
            reply = site.get(f"/api/metrics?{query}")
            assert reply.status == 200, reply.body
            check_rows(json.loads(reply.body, parse_constant=no_number))
            columns = json.loads(site.get(f"/api/metrics?{query}&format=columns").body)
            assert {len(column) for of in columns.values() for column in of.values()} <= {
                len(of["timestamp"]) for of in columns.values()
            }
            lines = csv.reader(
                io.StringIO(site.get(f"/api/metrics?{query}&format=csv").body.decode())
            )
            assert {len(line) for line in lines} == {len(SNAPSHOT_KEYS)}
        for query in ("range=1h", "range=2h", "range=7d"):
            summary = site.get(f"/api/summary?{query}")
            assert summary.status == 200, summary.body
            totals = json.loads(summary.body, parse_constant=no_number)
            if "1e150" not in intrusion:  # 1e300 requests are no number; else, those between
                assert all(totals[variant]["requests"] > 0 for variant in VARIANTS), totals
        with site.connect() as client:
            client.sendall(b"GET /api/events?last_event_id=production=1 HTTP/1.0\r\n\r\n")
            body, count = b"", 1 + len(site.app.hub.everything())
            while body.count(b"\n\n") < count:  # the head ends with a line of its own
                received = client.recv(65_536)
                assert received
                body += received
        for event in filter(None, body.partition(b"\r\n\r\n")[2].split(b"\n\n")):
            data = json.loads(event[event.index(b"data: ") + 6 :], parse_constant=no_number)
            assert data["type"] in ("connected", "metrics")
            if data["type"] == "metrics":
                check_rows([data["data"]])


def test_events_begin_as_a_browser_and_a_proxy_need_it(live: Site) -> None:
    with live.connect() as client:
        client.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"\n\n" not in received:
            received += client.recv(4_096)
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {
        "Content-Type: text/event-stream",
        "Cache-Control: no-cache",
        "Transfer-Encoding: chunked",
        "X-Accel-Buffering: no",
    } <= set(lines)
    assert b'data: {"type":"connected","scrape_interval":0.5,"variants":["pro' in body


def test_own_metrics_are_prometheus_text(live: Site) -> None:
    reply = live.get("/metrics")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(reply.body.decode())}
    assert "zaidash_build_info" in names


def test_page_is_at_the_root(live: Site) -> None:
    reply = live.get("/")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/html")


# --------------------------------------------------------------------------------------
# Parameters of /api/metrics
# --------------------------------------------------------------------------------------


def rfc3339(ts_ms: int) -> str:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat().replace("+00:00", "Z")


MIDDLE = LAST_TS - 1_800_000  # 10:00:00.000Z


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        pytest.param("range=5m", NOW_MS - 299_999, NOW_MS, id="a preset"),
        pytest.param("", NOW_MS - 3_599_999, NOW_MS, id="the last hour where nothing is said"),
        pytest.param("range=90s", NOW_MS - 89_999, NOW_MS, id="any other duration"),
        pytest.param("range=1m30s", NOW_MS - 89_999, NOW_MS, id="a duration in two units"),
        pytest.param(f"start={MIDDLE}", MIDDLE, NOW_MS, id="a start up to now"),
        pytest.param(
            f"start={MIDDLE}&end={MIDDLE + 60_000}", MIDDLE, MIDDLE + 60_000, id="both in ms"
        ),
        pytest.param(
            f"start={rfc3339(MIDDLE)}&end={rfc3339(MIDDLE + 60_000)}",
            *(MIDDLE, MIDDLE + 60_000),
            id="both as RFC 3339",
        ),
        pytest.param(
            "start=2026-06-21T12:00:00%2B02:00&end=2026-06-21T12:01:00%2B02:00",
            *(MIDDLE, MIDDLE + 60_000),
            id="RFC 3339 with an offset",
        ),
        pytest.param(
            f"start={MIDDLE + 1}&end={MIDDLE + 59_999}",
            *(MIDDLE + 1, MIDDLE + 59_999),
            id="a window that cuts between ticks",
        ),
        pytest.param(f"start={MIDDLE}&end={MIDDLE}", MIDDLE, MIDDLE, id="a single millisecond"),
        pytest.param(
            f"range=7d&start={MIDDLE}&end={MIDDLE + 60_000}",
            *(MIDDLE, MIDDLE + 60_000),
            id="start and end win over a range",
        ),
        pytest.param(f"range=2m&end={MIDDLE}", MIDDLE - 119_999, MIDDLE, id="a range up to an end"),
    ],
)
def test_window_holds_exactly_the_ticks_asked_for(
    still: Site, query: str, first: int, last: int
) -> None:
    expected = [
        expected_snapshot(ts_ms, variant)
        for ts_ms in range(FIRST_TS, LAST_TS + 1, TICK_MS)
        if first <= ts_ms <= last
        for variant in sorted(VARIANTS)
    ]
    assert expected
    rows = still.json(f"/api/metrics?{query}")
    assert [(row["timestamp"], row["variant"]) for row in rows] == [
        (row["timestamp"], row["variant"]) for row in expected
    ]
    for row, want in zip(rows, expected, strict=True):
        for name in FIELD_NAMES:
            same = want[name] if want[name] is None else pytest.approx(want[name], rel=1e-9)
            assert row[name] == same, name


def test_hour_from_memory_is_the_hour_from_disk_to_the_byte(still: Site) -> None:
    memory = still.get("/api/metrics?range=1h").body
    disk = still.get(f"/api/metrics?start={NOW_MS - 3_599_999}&end={NOW_MS - 1}").body
    assert len(memory) > 100_000 and memory == disk


def test_range_over_an_hour_is_minutes_up_to_now(still: Site) -> None:
    rows = [row for row in still.json("/api/metrics?range=6h") if row["variant"] == "canary"]
    times = [row["timestamp"] for row in rows]
    assert {ts_ms % 60_000 for ts_ms in times} == {0}
    assert times == list(range(FIRST_TS // 60_000 * 60_000, NOW_MS, 60_000))
    middle = next(row for row in rows if row["timestamp"] == MIDDLE)
    within = [expected_snapshot(ts, "canary") for ts in range(MIDDLE, MIDDLE + 60_000, TICK_MS)]
    p50 = [row["latency_p50"] for row in within if row["latency_p50"] is not None]
    errors = [row["status_code_rates"].get("529", 0) for row in within]
    assert middle["req_rate"] == pytest.approx(sum(row["req_rate"] for row in within) / 12)
    assert middle["elapsed_s"] == 60
    assert middle["latency_p50"] == pytest.approx(sum(p50) / len(p50))
    assert middle["status_code_rates"]["529"] == pytest.approx(sum(errors) / 12)
    assert middle["latency_buckets"]["0.5"] == sum(
        row["latency_buckets"].get("0.5", 0) for row in within
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_is_the_only_one_in_its_answer(still: Site, variant: str) -> None:
    rows = still.json(f"/api/metrics?range=5m&variant={variant}")
    assert {row["variant"] for row in rows} == {variant}


def test_known_variant_that_is_not_configured_is_empty_and_no_error(tmp_path: Path) -> None:
    with serving(tmp_path, SCRAPE_TARGETS="blue=http://127.0.0.1:1/metrics") as site:
        assert site.json("/api/metrics?variant=canary") == []
        assert site.json("/api/metrics?variant=blue") == []
        assert site.get("/api/metrics?variant=green").status == 400
        assert "blue" in site.get("/api/metrics?variant=green").body.decode()


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        pytest.param("req_rate", ["req_rate"], id="one"),
        pytest.param("latency_p99,req_rate", ["req_rate", "latency_p99"], id="several"),
        pytest.param("req_rate,timestamp,variant", ["req_rate"], id="what comes anyway"),
        pytest.param("req_rate,%20latency_p50", ["req_rate", "latency_p50"], id="with a space"),
        pytest.param("status_code_rates", ["status_code_rates"], id="one that is an object"),
        pytest.param(",".join(FIELD_NAMES), list(FIELD_NAMES), id="all of them"),
    ],
)
@pytest.mark.parametrize("query", ["range=5m", "range=6h", "range=1h&points=10"])
def test_fields_are_all_that_is_sent(
    still: Site, query: str, fields: str, names: list[str]
) -> None:
    rows = still.json(f"/api/metrics?{query}&fields={fields}")
    whole = still.json(f"/api/metrics?{query}")
    keys = ["timestamp", "variant", *names]
    assert rows == [{key: row[key] for key in keys} for row in whole]


@pytest.mark.parametrize("points", [1, 2, 7, 60, 100, 719, 720, 5_000])
@pytest.mark.parametrize(
    "query",
    [
        "range=1h",
        "range=6h",
        f"start={MIDDLE + 1}&end={MIDDLE + 1_234_567}",
        f"start={MIDDLE}&end={MIDDLE}",
    ],
    ids=["an hour", "six hours", "a crooked window", "a millisecond"],
)
def test_points_bound_the_rows_and_lose_no_request(still: Site, query: str, points: int) -> None:
    rows = still.json(f"/api/metrics?{query}&points={points}")
    whole = still.json(f"/api/metrics?{query}")
    for variant in VARIANTS:
        some = [row for row in rows if row["variant"] == variant]
        every = [row for row in whole if row["variant"] == variant]
        assert 1 <= len(some) <= points
        assert len({row["timestamp"] for row in some}) == len(some)
        for name in ("0.5", "1"):
            assert sum(row["latency_buckets"].get(name, 0) for row in some) == sum(
                row["latency_buckets"].get(name, 0) for row in every
            )
        assert sum(row["elapsed_s"] for row in some) == sum(row["elapsed_s"] for row in every)
    if points == 1:
        p50 = [row["latency_p50"] for row in whole if row["variant"] == "canary"]
        known = [value for value in p50 if value is not None]
        (one,) = (row for row in rows if row["variant"] == "canary")
        if known:
            assert one["latency_p50"] == pytest.approx(sum(known) / len(known))


WINDOWS = [
    "range=5m",
    "range=6h",
    "range=1h&points=13",
    "range=15m&fields=req_rate,latency_buckets",
]


@pytest.mark.parametrize("query", WINDOWS)
def test_csv_says_what_json_says(still: Site, query: str) -> None:
    rows = still.json(f"/api/metrics?{query}")
    reply = still.get(f"/api/metrics?{query}&format=csv")
    assert reply.headers["Content-Type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))
    assert len(lines) == len(rows) > 0
    assert list(lines[0]) == list(rows[0])
    for line, row in zip(lines, rows, strict=True):
        for name, value in row.items():
            if value is None:
                assert line[name] == ""
            else:
                assert line[name] == value if name == "variant" else json.loads(line[name]) == value


@pytest.mark.parametrize("query", WINDOWS)
def test_columns_say_what_json_says(still: Site, query: str) -> None:
    rows = still.json(f"/api/metrics?{query}")
    columns = still.json(f"/api/metrics?{query}&format=columns")
    assert set(columns) == set(VARIANTS)
    for variant in VARIANTS:
        own = [row for row in rows if row["variant"] == variant]
        names = [name for name in own[0] if name != "variant"]
        assert columns[variant] == {name: [row[name] for row in own] for name in names}


@pytest.mark.parametrize(
    ("format", "empty"),
    [
        ("json", b"[]"),
        ("csv", b"timestamp,variant,req_rate\r\n"),
        ("columns", b'{"canary":{"timestamp":[],"req_rate":[]}}'),
    ],
)
@pytest.mark.parametrize(
    "window", ["start=0&end=1", "start=0&end=1&points=1", "start=0&end=1&points=5"]
)
def test_window_without_data_is_an_empty_answer(
    still: Site, format: str, empty: bytes, window: str
) -> None:
    reply = still.get(f"/api/metrics?{window}&format={format}&fields=req_rate&variant=canary")
    assert (reply.status, reply.body) == (200, empty)


def test_columns_stay_in_step_while_snapshots_arrive(tmp_path: Path) -> None:
    """A chart with columns of different lengths draws nonsense."""
    with serving(tmp_path, SCRAPE_INTERVAL="100ms") as site:
        now_ms = round(time.time() * 1000)
        values = known_values(NOW_MS, "production")
        for ts_ms in range(now_ms - 3_000_000, now_ms - 2_700_000, 100):
            site.app.store.put(Snapshot.build(ts_ms, "production", values))
        eventually(lambda: site.app.store.waiting == 0, PATIENCE_S, "the rows on disk")
        stopping = threading.Event()

        def keep_writing() -> None:
            ts_ms = now_ms - 2_000_000
            while not stopping.wait(0.001):
                ts_ms += 100
                site.app.store.put(Snapshot.build(ts_ms, "production", values))

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            end_s = time.monotonic() + 3
            while time.monotonic() < end_s:
                columns = site.json(f"/api/metrics?start={now_ms - 3_400_000}&format=columns")
                lengths = {name: len(column) for name, column in columns["production"].items()}
                assert len(set(lengths.values())) == 1, lengths
        finally:
            stopping.set()
            writer.join()


GOOD = [
    *(f"/api/metrics?range={r}" for r in ("5m", "15m", "1h", "6h", "24h", "7d", "168h", "1s")),
    "/api/metrics?range=1.5h",
    "/api/metrics?range=%2B5m",
    "/api/metrics?variant=all",
    "/api/metrics?start=0",
    "/api/metrics?start=0001-01-01T00:00:00Z",
    "/api/metrics?end=999999999999999",
    "/api/metrics?end=9999-12-31T23:59:59Z",
    "/api/metrics?start=1969-12-31T23:59:59.999Z&end=0&points=3&format=columns",
    "/api/metrics?points=100000",
    "/api/metrics?fields=timestamp",
    "/api/metrics?fields=timestamp&format=columns",
    "/api/metrics?fields=timestamp&format=csv&points=4",
    "/api/summary?range=7d&variant=production",
    "/api/summary?start=0&end=5",
    "/api/summary?start=0",
]


@pytest.mark.parametrize("path", GOOD)
def test_parameter_is_accepted(still: Site, path: str) -> None:
    reply = still.get(path)
    assert reply.status == 200, reply.body
    if "csv" not in path:
        json.loads(reply.body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


PRESETS = ["5m", "15m", "1h", "6h", "24h", "7d"]
PARAMETERS = ["range", "start", "end", "variant", "fields", "points", "format"]
BAD: list[tuple[str, list[str]]] = [
    *(
        (f"range={text}", [*PRESETS, "168h"])
        for text in ("", "-5m", "0", "0s", "abc", "5", "1e3s", "NaN", "8d", "169h", "1ns")
    ),
    *((f"range={text}", PRESETS) for text in ("9" * 400 + "d", "%F0%9F%8C%8D", "5m%00", "%D9%A3m")),
    *((f"variant={text}", ["all", *VARIANTS]) for text in ("", "foo", "Canary", "all,canary", "*")),
    *(
        (f"{name}={text}", ["RFC 3339"])
        for name in ("start", "end")
        for text in ("", "-1", "1e12", "yesterday", "2026-06-21T10:30:00", "2026-13-01T00:00:00Z",
                     "12:00Z", "NaN", "9" * 16, "%00", "%F0%9F%8C%8D", "%D9%A3")
    ),
    (f"start={NOW_MS}&end={NOW_MS - 1}", ["start", "end"]),
    (f"start={NOW_MS + 1}", ["start", "end"]),
    *((f"fields={text}", ["req_rate", "latency_p50"]) for text in ("", "foo", "req_rate,", "*",
      "req_rate;drop table metrics_5s", "ts", "REQ_RATE")),
    *(
        (f"points={text}", ["1", "100000"])
        for text in ("", "0", "-1", "1.5", "abc", "100001", "1e3", "%D9%A3", "9" * 5_000, "1_0")
    ),
    *((f"format={text}", ["json", "columns", "csv"]) for text in ("", "xml", "JSON", "csv,json")),
    ("foo=1", PARAMETERS),
    ("Range=1h", PARAMETERS),
    ("range=1h&_=123", PARAMETERS),
    ("range=1h&range=1h", ["range", "twice"]),
    ("range=1h&%72ange=5m", ["range", "twice"]),
    ("&".join(f"a{n}=1" for n in range(60)), []),
    ("&".join(["range=1h"] * 200), []),
]  # fmt: skip


@pytest.mark.parametrize(("query", "allowed"), BAD, ids=[query[:50] or "-" for query, _ in BAD])
def test_bad_parameter_is_400_and_says_what_is_allowed(
    still: Site, query: str, allowed: list[str]
) -> None:
    reply = still.get("/api/metrics?" + query.replace(" ", "%20"))
    assert reply.status == 400, reply.body[:300]
    error = json.loads(reply.body)
    assert list(error) == ["error"]
    assert [word for word in allowed if word not in error["error"]] == []


@pytest.mark.parametrize(
    "path", [path for path in (*LIVE_PATHS, "/api/events") if path != "/api/metrics"]
)
def test_parameter_that_means_nothing_is_400(live: Site, path: str) -> None:
    reply = live.get(f"{path}?foo=1")
    assert reply.status == 400
    assert "foo" in json.loads(reply.body)["error"]


@pytest.mark.parametrize("query", ["fields=req_rate", "format=csv", "points=3", "range=x"])
def test_summary_refuses_what_it_cannot_do(still: Site, query: str) -> None:
    assert still.get(f"/api/summary?{query}").status == 400


# --------------------------------------------------------------------------------------
# Methods, errors, headers
# --------------------------------------------------------------------------------------

PAGE_PATHS = ("/", "/index.html")


@pytest.mark.parametrize("path", [*LIVE_PATHS, *PAGE_PATHS, "/nothing", "/api/metrics?points=x"])
def test_head_is_get_without_a_body(still: Site, path: str) -> None:
    whole, head = still.get(path), still.get(path, method="HEAD")
    assert head.status == whole.status
    assert head.body == b""
    changing = {"date", "content-length"} if path == "/metrics" else {"date"}
    assert {name.lower() for name in head.headers} == {name.lower() for name in whole.headers}
    for name, value in whole.headers.items():
        if name.lower() not in changing:
            assert head.headers[name] == value


def test_connection_goes_on_after_a_head(still: Site) -> None:
    head = b"HEAD /%s HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    received = still.exchange(head % b"api/metrics" + head % b"" + head % b"nothing" + last)
    assert received.endswith(b'\r\n\r\n{"status":"ok"}')
    assert received.count(b"HTTP/1.1 ") == 4 and received.count(b"\r\n\r\n") == 4


def test_head_of_the_stream_ends(live: Site) -> None:
    reply = live.get("/api/events", method="HEAD")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["Content-Type"] == "text/event-stream"


METHODS = [
    *("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "GETS"),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/", "/api/status", "/api/events", "/healthz", "/nothing"])
def test_other_methods_change_nothing_and_are_405(live: Site, method: str, path: str) -> None:
    (reply,) = parse_answers(
        live.exchange(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    )
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, HEAD"
    assert list(json.loads(reply.body)) == ["error"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/api", "/api/", "/api/foo", "/api/status/", "/favicon.ico", "/Healthz"]
)
def test_unknown_path_is_404_in_json(live: Site, path: str) -> None:
    reply = live.get(path)
    assert reply.status == 404
    assert reply.headers["Content-Type"].startswith("application/json")
    assert list(json.loads(reply.body)) == ["error"]


def check_security(reply: Reply) -> None:
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    directives = map(str.split, str(reply.headers["Content-Security-Policy"]).split(";"))
    policy = {name: sources for name, *sources in directives}
    assert policy["default-src"] in (["'none'"], ["'self'"])
    assert policy.get("script-src", policy["default-src"]) in (["'none'"], ["'self'"])


RAW_KINDS = [
    *(pytest.param(f"GET {p} HTTP/1.1\r\nHost: x\r\n\r\n", 200, id=f"200 {p}") for p in LIVE_PATHS),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200, id="200 page"),
    pytest.param("GET /api/metrics?format=csv HTTP/1.1\r\nHost: x\r\n\r\n", 200, id="200 csv"),
    pytest.param("GET /api/metrics?points=x HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="400"),
    pytest.param("what is this\r\n\r\n", 400, id="400 no HTTP"),
    pytest.param("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="404"),
    pytest.param("POST / HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="405"),
    pytest.param(f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n", 431, id="431"),
    pytest.param("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, id="505"),
]


@pytest.mark.parametrize(("request_text", "status"), RAW_KINDS)
def test_every_answer_has_the_security_headers(live: Site, request_text: str, status: int) -> None:
    (reply,) = parse_answers(live.exchange(request_text.encode()))
    assert reply.status == status
    check_security(reply)


def test_stream_and_not_modified_have_the_security_headers(live: Site) -> None:
    check_security(live.get("/api/events", method="HEAD"))
    tag = live.get("/").headers["ETag"]
    reply = live.get("/", {"If-None-Match": tag})
    assert reply.status == 304
    check_security(reply)


@pytest.mark.parametrize("path", [*LIVE_PATHS, "/api/metrics?format=columns", "/api/nothing"])
def test_live_data_is_never_cached(live: Site, path: str) -> None:
    assert "no-store" in live.get(path).headers["Cache-Control"]


def test_other_origins_are_not_let_in_by_default(live: Site) -> None:
    for path in (*LIVE_PATHS, "/", "/nothing"):
        reply = live.get(path, {"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in reply.headers


def test_cors_header_is_on_every_answer_where_it_is_set(tmp_path: Path) -> None:
    origin = "https://ops.example"
    with serving(tmp_path, CORS_ALLOW_ORIGIN=origin, AUTH_TOKEN="t") as site:
        authorized = {"Authorization": "Bearer t"}
        for path in (*LIVE_PATHS, "/", "/nothing", "/api/metrics?points=x"):
            assert site.get(path, authorized).headers["Access-Control-Allow-Origin"] == origin
        assert site.get("/api/status").headers["Access-Control-Allow-Origin"] == origin
        head = site.get("/api/events", authorized, method="HEAD").headers
        assert head["Access-Control-Allow-Origin"] == origin


# --------------------------------------------------------------------------------------
# gzip
# --------------------------------------------------------------------------------------


#: The page's script; index.html is too small for it to be worth while.
SCRIPT_PATH = f"/assets/{next((ROOT / 'static' / 'assets').glob('*.js')).name}"


@pytest.mark.parametrize(
    "accept",
    ["gzip", "GZIP", "gzip;q=0.5", "br, gzip", "deflate,gzip ; q=1.0", "*", "gzip, *;q=0",
     "*;q=0, gzip", "identity;q=0.5, gzip;q=1", "gzip;q=0.001"],
)  # fmt: skip
@pytest.mark.parametrize(
    "path", ["/api/metrics?range=5m", "/api/metrics?range=6h&format=csv", SCRIPT_PATH]
)
def test_gzip_is_used_where_the_client_takes_it(still: Site, path: str, accept: str) -> None:
    plain = still.get(path)
    packed = still.get(path, {"Accept-Encoding": accept})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body)


@pytest.mark.parametrize(
    "accept",
    ["", "identity", "br", "gzip;q=0", "gzip; q=0.0", "gzip;q=0.000", "*;q=0", "gzip;q=0, *",
     "*, gzip;q=0", "deflate", "gzipped"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api/metrics?range=5m", SCRIPT_PATH])
def test_gzip_is_not_sent_to_who_cannot_read_it(still: Site, path: str, accept: str) -> None:
    reply = still.get(path, {"Accept-Encoding": accept})
    assert "Content-Encoding" not in reply.headers
    assert reply.body == still.get(path).body


# --------------------------------------------------------------------------------------
# Connections
# --------------------------------------------------------------------------------------


def test_connection_is_kept_for_the_next_request(live: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=PATIENCE_S)
    try:
        connection.connect()
        own_port = connection.sock.getsockname()[1]
        for path in (*LIVE_PATHS, "/", "/nothing", "/api/metrics?points=x", "/api/status"):
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.read()
            assert connection.sock and connection.sock.getsockname()[1] == own_port
    finally:
        connection.close()


def test_connection_is_closed_where_the_client_asks_for_it(live: Site) -> None:
    with live.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        (reply,) = parse_answers(receive_all(client))  # ends, though this side stays open
    assert (reply.status, reply.headers["Connection"]) == (200, "close")


def test_pipelined_requests_are_answered_in_order(still: Site) -> None:
    paths = ["/healthz", "/api/config", "/nothing", "/api/metrics?range=5m", "/", "/healthz"] * 5
    sent = "".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in paths).encode()
    answers = parse_answers(still.exchange(sent))
    assert [(reply.status, reply.body) for reply in answers] == [
        (reply.status, reply.body) for reply in map(still.get, paths)
    ]


def test_requests_may_arrive_byte_by_byte(live: Site) -> None:
    with live.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for (
            byte
        ) in b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\nHost: x\n\n":
            client.sendall(bytes([byte]))
        client.shutdown(socket.SHUT_WR)
        answers = parse_answers(receive_all(client))
    assert [reply.body for reply in answers] == [b'{"status":"ok"}'] * 2


def test_http_1_0_client_gets_an_answer_it_understands(still: Site) -> None:
    for path in ("/healthz", "/api/metrics?range=6h", "/"):
        with still.connect() as client:
            client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            (reply,) = parse_answers(receive_all(client))
        assert reply.status == 200
        assert "Transfer-Encoding" not in reply.headers
        assert reply.body == still.get(path).body


def test_http_1_0_client_may_keep_its_connection(live: Site) -> None:
    request = b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answers = parse_answers(live.exchange(request * 2))
    assert [(r.status, r.headers["Connection"]) for r in answers] == [(200, "keep-alive")] * 2


def test_http_1_0_stream_is_not_chunked(live: Site) -> None:
    with live.connect() as client:
        client.sendall(b"GET /api/events HTTP/1.0\r\n\r\n")
        received = b""
        while b'"type":"metrics"' not in received:
            received += client.recv(4_096)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body.startswith(b'data: {"type":"connected"')


@pytest.mark.parametrize(
    "target",
    [
        "http://dash.example/healthz",
        "http://dash.example:8080/healthz",
        "HTTP://dash.example/healthz",
        "https://user@dash.example/healthz",
    ],
)
def test_absolute_form_names_the_same_path(live: Site, target: str) -> None:
    """RFC 9112, section 3.2.2: a server MUST accept it, even if only proxies are sent it."""
    (reply,) = parse_answers(
        live.exchange(f"GET {target} HTTP/1.1\r\nHost: dash.example\r\n\r\n".encode())
    )
    assert (reply.status, reply.body) == (200, b'{"status":"ok"}')


def test_absolute_form_keeps_the_query_and_may_lack_a_path(live: Site) -> None:
    ask = "GET http://h{} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    (rows,) = parse_answers(live.exchange(ask.format("/api/metrics?range=x").encode()))
    (page,) = parse_answers(live.exchange(ask.format("").encode()))
    assert (rows.status, page.status) == (400, 200)
    assert page.headers["Content-Type"].startswith("text/html")


# --------------------------------------------------------------------------------------
# Requests that mean two things at once
# --------------------------------------------------------------------------------------

SECOND = "GET /api/config HTTP/1.1\r\nHost: smuggled\r\n\r\n"

#: (headers after the request line), each followed by SECOND as a body that might be a request.
TWO_MEANINGS = [
    pytest.param(f"Host: x\r\nContent-Length: {len(SECOND)}\r\n", id="a body on a GET"),
    pytest.param(
        f"Host: x\r\nContent-Length: {len(SECOND)}\r\nTransfer-Encoding: chunked\r\n",
        id="length and chunked",
    ),
    pytest.param("Host: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n", id="0, chunked"),
    pytest.param("Host: x\r\nTransfer-Encoding: identity, chunked\r\n", id="two codings"),
    pytest.param("Host: x\r\nTransfer-Encoding:\r\n", id="an empty coding"),
    pytest.param(
        f"Host: x\r\nContent-Length: 0\r\nContent-Length: {len(SECOND)}\r\n",
        id="two lengths, the first one 0",
    ),
    pytest.param(
        f"Host: x\r\nContent-Length: {len(SECOND)}\r\nContent-Length: 0\r\n",
        id="two lengths, the last one 0",
    ),
    pytest.param(f"Host: x\r\nContent-Length: 0, {len(SECOND)}\r\n", id="two lengths in one"),
    *(
        pytest.param(f"Host: x\r\nContent-Length: {length}\r\n", id=f"length {length!r}")
        for length in ("-1", "+0", "0x0", "00", "1e1", "abc", "", "0 0", "9" * 40, "\xb2")
    ),
    pytest.param(f"Host: x\r\nContent-Length : {len(SECOND)}\r\n", id="a space before the colon"),
    pytest.param("Host: x\r\nTransfer-Encoding : chunked\r\n", id="a space before that colon"),
    pytest.param(f"Host: x\r\n\x0bContent-Length: {len(SECOND)}\r\n", id="a control character"),
    pytest.param(f"Host: x\r\nno colon\r\nContent-Length: {len(SECOND)}\r\n", id="no colon"),
    pytest.param(f"Host: x\r\n: empty\r\nContent-Length: {len(SECOND)}\r\n", id="no name"),
    pytest.param(f"Host: x\r\nA: b\rContent-Length: {len(SECOND)}\r\n", id="a lone CR"),
    pytest.param(f"Host: x\r\nA: b\rX: y\r\nContent-Length: {len(SECOND)}\r\n", id="CR, then more"),
    pytest.param(f"Host: x\r\nA: \0\r\nContent-Length: {len(SECOND)}\r\n", id="a NUL"),
    pytest.param(f"Host: x\r\nFrom me\r\nContent-Length: {len(SECOND)}\r\n", id="a mail header"),
]


@pytest.mark.parametrize("headers", TWO_MEANINGS)
def test_no_second_request_is_read_out_of_a_body(still: Site, headers: str) -> None:
    """With a proxy in front, an extra answer here is the answer somebody else gets."""
    sent = f"GET /healthz HTTP/1.1\r\n{headers}\r\n{SECOND}".encode("latin-1")
    answers = parse_answers(still.exchange(sent))
    assert len(answers) == 1, [(reply.status, reply.body) for reply in answers]
    assert answers[0].status in (200, 400, 501)


def test_body_of_a_post_is_not_a_request(still: Site) -> None:
    sent = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(SECOND)}\r\n\r\n{SECOND}"
    assert [reply.status for reply in parse_answers(still.exchange(sent.encode()))] == [405]


MALFORMED = [
    pytest.param("GET\r\n\r\n", {400}, id="a method alone"),
    pytest.param("GET /healthz\r\n\r\n", {400}, id="no version"),
    pytest.param("GET /healthz HTTP/1.1 more\r\nHost: x\r\n\r\n", {400}, id="four words"),
    pytest.param("GET  /healthz HTTP/1.1\r\n\r\n", {400}, id="two spaces and no host"),
    *(
        pytest.param(f"GET /healthz {version}\r\nHost: x\r\n\r\n", {400, 505}, id=version)
        for version in ("HTTP/2.0", "HTTP/0.9", "HTTP/9.9", "HTTP/1", "HTTP/1.1.1", "HTTP/-1.1",
                        "http/1.1", "HTTPS/1.1", "HTTP/1.\xb2", "HTTP/11.1", "HTTP/ 1.1", "FTP/1.1",
                        "HTTP/01.1", "HTTP/1.01")
    ),
    pytest.param("GET /healthz HTTP/1.1\r\n\r\n", {400}, id="no Host"),
    pytest.param("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400}, id="two Hosts"),
    pytest.param("GET /healthz HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", {400}, id="the same twice"),
    pytest.param("GET /healthz HTTP/1.2\r\n\r\n", {400, 505}, id="a later minor, and no Host"),
    pytest.param("GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}, id="a path without slash"),
    pytest.param("GET * HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}, id="an asterisk"),
    pytest.param("GET x:443 HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}, id="an authority"),
    pytest.param("GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", {200, 400, 404}, id="half an URL"),
    pytest.param(
        "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", {400}, id="length < 0"
    ),
    pytest.param("GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}, id="a broken URL"),
    pytest.param("GET ?range=1h HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}, id="a query alone"),
    pytest.param("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}, id="a NUL in the path"),
    pytest.param("GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}, id="bytes in the path"),
    pytest.param("\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", {400}, id="a TLS hello"),
    pytest.param("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 405, 505}, id="an HTTP/2 preface"),
    pytest.param("\0\0\0\0\r\n\r\n", {400}, id="zeros"),
    pytest.param("GET /healthz HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 150 + "\r\n", {431},
                 id="150 headers"),
    pytest.param("GET /healthz HTTP/1.1\r\n" + "A: b\r\n" * 5_000 + "\r\n", {431}, id="30 kB"),
    pytest.param("GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + "b" * 20_000 + "\r\n\r\n", {431},
                 id="a long header"),
    pytest.param("GET /" + "a" * 100_000 + " HTTP/1.1\r\nHost: x\r\n\r\n", {414, 431},
                 id="a long path"),
    pytest.param("A" * 300_000, {431}, id="a line that does not end"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "statuses"), MALFORMED)
def test_malformed_request_is_refused_in_json(still: Site, sent: str, statuses: set[int]) -> None:
    answers = parse_answers(still.exchange(sent.encode("latin-1")))
    assert answers and answers[0].status in statuses
    assert answers[0].status == 200 or list(json.loads(answers[0].body)) == ["error"]


def test_request_that_is_refused_ends_the_connection(still: Site) -> None:
    follows = "GET /api/config HTTP/1.1\r\nHost: x\r\n\r\n"
    for start in ("GET / FTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "nonsense\r\n\r\n"):
        assert len(parse_answers(still.exchange((start + follows).encode()))) == 1


def test_large_head_within_the_limit_is_served(still: Site) -> None:
    sent = "GET /healthz HTTP/1.1\r\nHost: x\r\n" + ("A: " + "b" * 900 + "\r\n") * 12 + "\r\n"
    assert parse_answers(still.exchange(sent.encode()))[0].status == 200


CHUNKED_SECOND = f"{len(SECOND):x}\r\n{SECOND}\r\n0\r\n\r\n"

#: Requests that announce a body, or that say where they end in two ways, up to their empty line. By
#: RFC 9112, section 6, who does not read a body has to close the connection.
ANNOUNCED = [
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", {200},
                 id="a chunked body on a GET"),
    pytest.param("HEAD / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", {200},
                 id="a chunked body on a HEAD"),
    pytest.param("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", {405},
                 id="a chunked body on a method that is refused"),
    pytest.param("GET /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", {404},
                 id="a chunked body for a path that does not exist"),
    pytest.param("GET / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked",
                 {200, 400}, id="a chunked body of an HTTP/1.0 client, which cannot mean it"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                 "Transfer-Encoding: identity", {200, 400, 501},
                 id="a coding that a second one undoes"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked", {200, 400, 501},
                 id="a coding that nobody knows"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\tchunked", {200, 400, 501},
                 id="a coding behind a tab"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"", {200, 400, 501},
                 id="a coding in quotation marks"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4",
                 {200, 400}, id="a coding and then a length"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4", {200, 400},
                 id="the same length twice"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5", {400},
                 id="two lengths, neither of them 0"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4", {200, 400},
                 id="the same length twice in one header"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n Content-Length: 4", {400},
                 id="a length in a folded line"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tTransfer-Encoding: chunked", {400},
                 id="a coding in a line folded with a tab"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked", {400},
                 id="a coding on the line after its name"),
    pytest.param("GET / HTTP/1.1\r\n Host: x\r\nContent-Length: 4", {400},
                 id="a space before the first header"),
    pytest.param("GET / HTTP/1.1\rHost: x\r\nHost: x\r\nContent-Length: 4", {400},
                 id="a bare CR in the request line"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\rContent-Length: 4", {400},
                 id="two bare CR for an empty line"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\r\nContent-Length: 4", {400},
                 id="a CR too many at the end of a line"),
    pytest.param("GET / HTTP/1.1\nHost: x\nContent-Length: 4", {200, 400},
                 id="bare LF at the end of every line"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nA: b\nContent-Length: 4", {200, 400},
                 id="a bare LF before the length"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nContent\0-Length: 4", {400}, id="a NUL in a name"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\0", {400}, id="a NUL in a length"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 1_000 + "Content-Length: 4", {431},
                 id="a length behind a thousand headers"),
    pytest.param("GET http://other/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4", {200},
                 id="a whole URL, and another Host"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 4", {200},
                 id="a wish to keep the connection"),
]  # fmt: skip


@pytest.mark.parametrize("body", [SECOND, CHUNKED_SECOND], ids=["plain", "in chunks"])
@pytest.mark.parametrize(("head", "statuses"), ANNOUNCED)
def test_connection_ends_where_a_body_may_follow(
    still: Site, head: str, statuses: set[int], body: str
) -> None:
    """The client keeps its side open, so that only the server can have ended it."""
    with still.connect() as client:
        client.sendall(f"{head}\r\n\r\n{body}".encode("latin-1"))
        received = receive_all(client)
    assert len(re.findall(rb"^HTTP/1\.1 ", received, re.MULTILINE)) == 1
    assert int(received[9:12]) in statuses
    assert b"\r\nConnection: close\r\n" in received
    assert b'"scrape_interval"' not in received


#: A request, and whether the one pipelined behind it is answered: as RFC 9112, section 9.3, has it,
#: whatever the status, as long as it is clear where the first one ended.
FIRST = [
    pytest.param("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", [404, 200], id="no such path"),
    pytest.param("PUT / HTTP/1.1\r\nHost: x\r\n\r\n", [405, 200], id="a method that is refused"),
    pytest.param("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [405, 200],
                 id="a question to the server"),
    pytest.param("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", [405, 200], id="a tunnel"),
    pytest.param("GET /api/metrics?points=0 HTTP/1.1\r\nHost: x\r\n\r\n", [400, 200],
                 id="a parameter out of range"),
    pytest.param("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", [200, 200],
                 id="a body of no bytes"),
    pytest.param("\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", [200, 200],
                 id="empty lines before"),
    pytest.param("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", [200],
                 id="the wish to close"),
    pytest.param("GET /healthz HTTP/1.0\r\n\r\n", [200], id="a client of HTTP/1.0"),
    pytest.param("GET /healthz HTTP/1.1\r\n\r\n", [400], id="no Host"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", [400], id="a space before a colon"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 1_000 + "\r\n", [431],
                 id="a thousand headers"),
    pytest.param("GET / HTTP/2.0\r\nHost: x\r\n\r\n", [505], id="a later version"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "statuses"), FIRST)
def test_request_behind_another_is_answered_only_where_the_first_one_is_clear(
    still: Site, first: str, statuses: list[int]
) -> None:
    answers = parse_answers(still.exchange((first + SECOND).encode()))
    assert [reply.status for reply in answers] == statuses


#: What a regular expression that may be matched in many ways would chew on for hours, and nobody
#: else would get an answer meanwhile.
SPENDTHRIFT = [
    pytest.param(f"GET / HTTP/1.1\r\nHost: x\r\nA:{' ' * 15_000}\x7f\r\n\r\n", id="spaces"),
    pytest.param(f"GET / HTTP/1.1\r\nHost: x\r\nA: {'b ' * 7_500}\x7f\r\n\r\n", id="words"),
    pytest.param(f"GET / HTTP/1.1\r\nHost: x\r\n{'A' * 15_000}\r\n\r\n", id="a long name"),
    *(
        pytest.param(f"GET /api/metrics?range={text} HTTP/1.1\r\nHost: x\r\n\r\n", id=name)
        for name, text in (
            ("a number without a unit", "9" * 15_000),
            ("a fraction without a unit", "1." + "9" * 15_000),
            ("many durations and a number", "1h" * 7_000 + "9"),
            ("dots", "." * 15_000),
        )
    ),
    pytest.param(f"GET http://{'a' * 15_000} HTTP/1.1\r\nHost: x\r\n\r\n", id="a long host"),
    pytest.param(
        f"GET /api/config HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip;{' ' * 15_000}\r\n\r\n",
        id="spaces for a quality",
    ),
]


@pytest.mark.parametrize("sent", SPENDTHRIFT)
def test_no_request_costs_more_than_its_length(separate: Zaidash, sent: str) -> None:
    """In a process of its own: in this one, the test would be the first to hang."""
    with socket.create_connection(("127.0.0.1", separate.port), PATIENCE_S) as client:
        client.sendall(sent.encode("latin-1"))
        assert client.recv(20).startswith(b"HTTP/1.1 ")


def resident_bytes(zaidash: Zaidash) -> float:
    found = re.search(rb"^process_resident_memory_bytes (\S+)$", zaidash.get("/metrics").body, re.M)
    assert found
    return float(found[1])


def test_clients_that_do_not_read_the_page_hold_no_copies_of_it(separate: Zaidash) -> None:
    """Its largest file, times the connections there may be, is more than a container has."""
    request = f"GET {SCRIPT_PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    size = len(separate.get(SCRIPT_PATH).body)
    before = resident_bytes(separate)
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket()) for _ in range(300)]
        for client in clients:
            client.settimeout(PATIENCE_S)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
            client.connect(("127.0.0.1", separate.port))
            client.sendall(request)
            assert client.recv(12) == b"HTTP/1.1 200"
        assert resident_bytes(separate) - before < 300 * size / 4


@pytest.fixture(scope="module")
def separate() -> Iterator[Zaidash]:
    with run_zaidash() as zaidash:
        yield zaidash


# --------------------------------------------------------------------------------------
# Paths that lead out of the page
# --------------------------------------------------------------------------------------

ESCAPES = [
    *("/zaidash.py", "/../zaidash.py", "/assets/../../zaidash.py", "/assets/..", "/assets/."),
    *(
        "/%2e%2e/zaidash.py",
        "/..%2fzaidash.py",
        "/%2e%2e%2fzaidash.py",
        "/assets/%2e%2e/index.html",
    ),
    *("/..\\zaidash.py", "/assets/..\\..\\zaidash.py", "/%5c..%5czaidash.py", "/..;/zaidash.py"),
    *("//etc/passwd", "/etc/passwd", "///etc/passwd", "/../../../../../../etc/passwd"),
    *("/%252e%252e/zaidash.py", "/\xc0\xae\xc0\xae/zaidash.py", "/assets/\0../../zaidash.py"),
    *("/static/index.html", "/static/", "/assets", "/assets/", "/index.html/", "/./index.html"),
    *("/index.html%00.js", "/.git/config", "/.gitignore", "/pyproject.toml", "/tests/support.py"),
    *("file:///etc/passwd", "http://x/../zaidash.py", "http://x//etc/passwd", "/~root/.profile"),
    *("/zaidash.db", "/C:/windows/win.ini", "/api/../zaidash.py", "/index.html.gz"),
    *(
        pytest.param(path, id=name)
        for name, path in {
            "dots of which one is encoded": "/.%2e/zaidash.py",
            "a slash encoded twice": "/..%252fzaidash.py",
            "dots encoded three times": "/%25252e%25252e/zaidash.py",
            "an encoded backslash behind dots": "/..%5czaidash.py",
            "a backslash encoded twice": "/..%255czaidash.py",
            "an overlong slash": "/..%c0%afzaidash.py",
            "overlong dots": "/%c0%ae%c0%ae/zaidash.py",
            "overlong dots of three bytes": "/%e0%80%ae%e0%80%ae/zaidash.py",
            "dots of full width": "/%ef%bc%8e%ef%bc%8e/zaidash.py",
            "dots as IIS once read them": "/%u002e%u002e/zaidash.py",
            "a share of Windows": "/\\\\localhost\\c$\\windows\\win.ini",
            "a drive of Windows": "/C:\\windows\\win.ini",
            "a device of Windows": "/assets/CON",
            "a stream of Windows": "/index.html::$DATA",
            "a dot at the end, which Windows drops": "/index.html.",
            "a space at the end, which Windows drops": "/index.html%20",
            "a short name of Windows": "/INDEX~1.HTM",
            "capital letters": "/INDEX.HTML",
            "an encoded NUL": "/%00",
            "a NUL behind dots": "/..%00/zaidash.py",
            "a line feed": "/index.html%0a",
            "a name of a page, encoded": "/%69ndex.html",
            "two slashes": "//index.html",
            "a parameter of a path": "/index.html;v=1",
            "a fragment": "/index.html#/../zaidash.py",
            "a whole URL with dots": "http://x/assets/../../zaidash.py",
            "a whole URL of a file": "file://x/etc/passwd",
            "the process's own memory": "/proc/self/environ",
            "a path of many dots": "/" + "../" * 5_000 + "etc/passwd",
            "a path of one long name": "/" + "a" * 15_000,
            "a path of many slashes": "/" * 15_000 + "etc/passwd",
        }.items()
    ),
]


@pytest.mark.parametrize("path", ESCAPES)
def test_no_file_outside_the_page_is_served(still: Site, path: str) -> None:
    sent = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1")
    (reply,) = parse_answers(still.exchange(sent))
    assert reply.status in (400, 404)
    assert list(json.loads(reply.body)) == ["error"]
    assert b"root:" not in reply.body and b"import " not in reply.body


# --------------------------------------------------------------------------------------
# Authentication
# --------------------------------------------------------------------------------------

TOKEN = "open:sesame"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("locked"), AUTH_TOKEN=TOKEN) as site:
        yield site


LOCKED_PATHS = [
    *("/", "/index.html", "/api/status", "/api/metrics", "/api/config", "/api/targets"),
    *("/api/summary", "/api/events", "/api/openapi.json", "/metrics", "/nothing"),
]


@pytest.mark.parametrize("path", LOCKED_PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_without_the_token_nothing_is_told(locked: Site, path: str, method: str) -> None:
    reply = locked.get(path, method=method)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Basic ")
    assert TOKEN.encode() not in reply.body
    check_security(reply)


@pytest.mark.parametrize(("path", "statuses"), [("/healthz", {200}), ("/readyz", {200, 503})])
def test_health_checks_need_no_token(locked: Site, path: str, statuses: set[int]) -> None:
    assert locked.get(path).status in statuses
    assert locked.get(path, {"Authorization": "Bearer wrong"}).status in statuses


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer   {TOKEN}", basic("", TOKEN),
     basic("anybody", TOKEN), basic("anybody", TOKEN).replace("Basic", "BASIC")],
)  # fmt: skip
def test_token_opens_everything(locked: Site, authorization: str) -> None:
    for path in LOCKED_PATHS:
        method = "HEAD" if path == "/api/events" else "GET"
        status = locked.get(path, {"Authorization": authorization}, method).status
        assert status == (404 if path == "/nothing" else 200)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}",
     TOKEN, f"Token {TOKEN}", f"Basic {TOKEN}", "Basic", "Basic !!!", "Basic AAA", basic(TOKEN, ""),
     basic("x", "sesame"), basic("x", TOKEN + "x"), f"Bearer {TOKEN} {TOKEN}", "Bearer \xe9\xff",
     "Basic \xe9\xff", f"Digest username=x, response={TOKEN}",
     "Basic " + base64.b64encode(TOKEN.encode("utf-16")).decode()],
)  # fmt: skip
def test_wrong_token_opens_nothing(locked: Site, authorization: str) -> None:
    sent = f"GET /api/config HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n"
    (reply,) = parse_answers(locked.exchange(sent.encode("latin-1")))
    assert reply.status == 401


@pytest.mark.parametrize(
    "path",
    ["/healthz/../api/config", "/healthz/..%2fapi/config", "/api/config?/healthz", "//healthz",
     "/healthz/", "/%68ealthz", "/healthz;/api/config", "/healthz#", "/healthz%00", "/HEALTHZ",
     "/api/config#/healthz", "http://healthz/api/config", "http://x/healthz/../api/config",
     "http://x@/healthz/api/config", "/\\healthz"],
)  # fmt: skip
def test_nothing_that_looks_like_a_health_check_is_a_way_around_the_token(
    locked: Site, path: str
) -> None:
    (reply,) = parse_answers(locked.exchange(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))
    assert reply.status == 401


def test_absolute_form_is_no_way_around_the_token(locked: Site) -> None:
    sent = b"GET http://x/api/config HTTP/1.1\r\nHost: x\r\n\r\n"
    (reply,) = parse_answers(locked.exchange(sent))
    assert reply.status == 401


# --------------------------------------------------------------------------------------
# Limits, on a site of its own for each
# --------------------------------------------------------------------------------------


def test_page_answers_while_200_clients_send_half_a_request(still: Site) -> None:
    halves = (b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n", b"")
    with ExitStack() as stack:
        clients = [stack.enter_context(still.connect()) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(halves[number % len(halves)])
        times_s = []
        for _ in range(5):
            for client in clients[:40]:
                with contextlib.suppress(OSError):
                    client.sendall(b"A")  # a drip, to look alive
            started = time.monotonic()
            assert still.get("/").status == 200
            times_s.append(time.monotonic() - started)
        assert sorted(times_s)[2] < 1
        assert len(request_threads()) <= 1


def test_half_a_request_is_told_that_it_is_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "HEAD_TIMEOUT_S", 0.3)
    with serving(tmp_path) as site, site.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHos")
        (reply,) = parse_answers(receive_all(client))
    assert reply.status == 408
    assert reply.headers["Connection"] == "close"
    check_security(reply)


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nA: ", b"a", id="a header byte by byte"),
        pytest.param(b"", b"\r\n", id="empty lines"),
        pytest.param(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /", b"a", id="half a second one"
        ),
    ],
)
def test_dripping_client_is_shut_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes, drip: bytes
) -> None:
    """Each byte must not buy another ten seconds."""
    monkeypatch.setattr(Server, "HEAD_TIMEOUT_S", 0.5)
    monkeypatch.setattr(Server, "LINGER_S", 0.2)
    with serving(tmp_path) as site, site.connect() as client:
        client.sendall(first)
        client.settimeout(0.05)
        ends_s = time.monotonic() + PATIENCE_S
        is_open = True
        while is_open:
            assert time.monotonic() < ends_s, "still served"
            try:
                client.sendall(drip)
                is_open = client.recv(4_096) != b""
            except TimeoutError:
                continue
            except OSError:
                is_open = False


def test_idle_connection_ends_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(Server, "IDLE_TIMEOUT_S", 0.3)
    with serving(tmp_path) as site:
        with site.connect() as client:
            assert receive_all(client) == b""
        with site.connect() as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert [reply.status for reply in parse_answers(receive_all(client))] == [200]


def test_more_connections_than_allowed_shut_the_oldest_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "MAX_CONNECTIONS", 20)
    with serving(tmp_path) as site, ExitStack() as stack:
        first = stack.enter_context(site.connect())
        for _ in range(30):
            stack.enter_context(site.connect()).sendall(b"GET ")
        assert receive_all(first) == b""
        assert site.get("/healthz").status == 200


def test_stream_past_the_limit_is_told_to_come_back(tmp_path: Path) -> None:
    with serving(tmp_path, MAX_STREAMS="1") as site, site.connect() as client:
        client.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        reply = site.get("/api/events")
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert "MAX_STREAMS" in json.loads(reply.body)["error"]


# --------------------------------------------------------------------------------------
# A database of full size
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day of 5 s rows and a week of minutes, two variants, up to now."""
    path = tmp_path_factory.mktemp("full") / "zaidash.db"
    config, _ = load_config([], {"DB_PATH": str(path)})
    store = Store(config)
    store.open()
    store.close()
    now_ms = round(time.time() * 1000)
    patterns = {variant: list(_busy_rows(variant)) for variant in VARIANTS}
    connection = sqlite3.connect(path)
    names = ", ".join(("variant", "ts", *FIELD_NAMES))
    marks = ", ".join("?" * (len(FIELD_NAMES) + 2))
    for table, step_ms, span_ms in (
        ("metrics_1m", 60_000, 7 * 86_400_000),
        ("metrics_5s", 5_000, 86_400_000),
    ):
        last = now_ms // step_ms * step_ms - step_ms
        connection.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",
            (
                (variant, ts_ms, *patterns[variant][ts_ms // step_ms % 60])
                for variant in VARIANTS
                for ts_ms in range(last - span_ms + step_ms, last + 1, step_ms)
            ),
        )
    connection.commit()
    connection.close()
    return path


def _busy_rows(variant: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows of the size a busy proxy makes: some 820 bytes as JSON."""
    bounds = ("0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "+Inf")
    for step in range(60):
        values: dict[str, Any] = {name: 1_000 * step + 543.21 for name in FIELD_NAMES}
        counters = FIELD_NAMES[FIELD_NAMES.index("requests_2xx") :][:12]
        values |= {name: 12_345_678 + step for name in counters}
        values["status_code_rates"] = {code: step + 0.123 for code in ("200", "429", "500")}
        values["latency_buckets"] = {bound: step * 7 for bound in bounds}
        yield Snapshot.build(0, variant, values.values()).row()[2:]


@contextmanager
def serving_full(full_database: Path, directory: Path, max_requests: int = 64) -> Iterator[Site]:
    shutil.copyfile(full_database, directory / "zaidash.db")
    with serving(directory, SCRAPE_TARGETS=dead_targets(), MAX_REQUESTS=str(max_requests)) as site:
        yield site


def ask_and_not_read(site: Site, path: str = "/api/metrics?range=7d") -> socket.socket:
    """Ask for an answer of megabytes through a tiny window, and read only how it begins."""
    client = site.connect(receive_buffer=4_096)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


def status_of(client: socket.socket) -> int:
    return int(client.recv(12).split()[1])


def test_past_max_requests_clients_are_told_to_come_back(
    full_database: Path, tmp_path: Path
) -> None:
    with serving_full(full_database, tmp_path, max_requests=1) as site:
        with ask_and_not_read(site) as client:
            assert status_of(client) == 200
            reply = site.get("/healthz")
            assert reply.status == 503
            assert int(reply.headers["Retry-After"]) > 0
            assert "MAX_REQUESTS" in json.loads(reply.body)["error"]
            check_security(reply)
            assert len(request_threads()) == 1
        eventually(lambda: site.get("/healthz").status == 200, PATIENCE_S, "room again")


def test_clients_that_do_not_read_a_week_leave_room_for_everybody_else(
    full_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "SEND_TIMEOUT_S", 2.0)
    with serving_full(full_database, tmp_path, max_requests=8) as site, ExitStack() as stack:
        clients = [stack.enter_context(ask_and_not_read(site)) for _ in range(12)]
        statuses = [status_of(client) for client in clients]
        assert set(statuses) == {200, 503}
        started = time.monotonic()
        for path in ("/", "/healthz", "/api/status", "/api/config"):
            assert site.get(path).status == 200
        assert time.monotonic() - started < 4
        eventually(lambda: not request_threads(), PATIENCE_S, "the end of who does not read")
        assert len(site.json("/api/metrics?range=7d&points=100&fields=req_rate")) > 100


def drip(clients: Sequence[socket.socket], stop: threading.Event) -> None:
    """Read a byte of each answer now and then: enough to be no dead connection."""
    while not stop.wait(0.1):
        for client in clients:
            with contextlib.suppress(OSError):
                client.recv(1)


def test_clients_that_read_a_byte_at_a_time_keep_nobody_else_from_the_history(
    full_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "SEND_TIMEOUT_S", 60.0)
    monkeypatch.setattr(Server, "GIVE_WAY_S", 1.0)
    stop = threading.Event()
    with serving_full(full_database, tmp_path, max_requests=8) as site, ExitStack() as stack:
        clients = [stack.enter_context(ask_and_not_read(site)) for _ in range(4)]
        assert [status_of(client) for client in clients] == [200] * 4
        dripping = threading.Thread(target=drip, args=(clients, stop))
        dripping.start()
        try:
            for _ in range(3):
                eventually(
                    lambda: site.get("/api/metrics?range=7d&points=9&variant=canary").status == 200,
                    PATIENCE_S,
                    "room for somebody who reads",
                )
            assert len(request_threads()) > 1, "no more of them give way than have to"
        finally:
            stop.set()
            dripping.join()


def test_a_machine_without_threads_to_spare_takes_no_place_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of processes is all it takes; the slot of a request that never began must be free."""
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "request":
            raise RuntimeError("can't start new thread")
        real(thread)

    with serving(tmp_path, MAX_REQUESTS="2") as site:
        monkeypatch.setattr(threading.Thread, "start", start)
        for _ in range(5):
            reply = site.get("/healthz")
            assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
            assert "thread" in json.loads(reply.body)["error"]
        monkeypatch.undo()
        assert site.get("/healthz").status == 200
        eventually(lambda: site.app.server.busy == 0, PATIENCE_S, "both places to be free")


def test_answer_of_a_week_is_whole_and_valid(full_database: Path, tmp_path: Path) -> None:
    with serving_full(full_database, tmp_path) as site:
        rows = site.json("/api/metrics?range=7d")
        assert len(rows) > 20_100
        keys = [(row["timestamp"], row["variant"]) for row in rows]
        assert keys == sorted(keys) and len(set(keys)) == len(keys)
        columns = site.json("/api/metrics?range=7d&format=columns&points=600&fields=req_rate")
        assert 300 < len(columns["canary"]["timestamp"]) <= 600


#: What zaidash may take of memory while eight queries over 7 days run.
MEMORY_LIMIT_KB = 120_000


def peak_memory_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"^VmHWM:\s*([0-9]+) kB$", status, re.MULTILINE)[0])


@pytest.mark.parametrize(
    "query",
    ["range=7d", "range=7d&format=columns", "range=7d&format=csv", "range=24h"],
)
def test_eight_long_queries_at_once_do_not_multiply_memory(
    full_database: Path, tmp_path: Path, query: str
) -> None:
    path = tmp_path / "zaidash.db"
    shutil.copyfile(full_database, path)
    environment = {"DB_PATH": str(path), "SCRAPE_TARGETS": dead_targets()}
    with run_zaidash(env=environment) as zaidash:
        sizes: list[int] = []

        def ask() -> None:
            reply = get(f"{zaidash.url}/api/metrics?{query}", timeout_s=60)
            assert reply.status == 200
            sizes.append(len(reply.body))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(sizes) == 8 and min(sizes) > 1_000_000
        assert peak_memory_kb(zaidash.pid) < MEMORY_LIMIT_KB
        assert "Traceback" not in zaidash.stderr()
