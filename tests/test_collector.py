"""Scraping: what a target may answer, and what it must never cost anybody else.

Every target is a real server on loopback. Most are `Target`, a raw TCP server whose answers are
written by hand, because no HTTP library sends half a header or lies about a length.
"""

from __future__ import annotations

import base64
import gzip
import logging
import math
import re
import shutil
import socket
import socketserver
import ssl
import statistics
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from fake_proxy import FakeProxy
from pytest_httpserver import HTTPServer
from support import eventually, free_port, run_zaidash
from werkzeug import Response

from zaidash import Collector, Config, Snapshot, load_config

#: How long a test waits for what takes a few ticks.
PATIENCE_S = 60.0

#: Short ticks, and deadlines that a scrape on loopback meets however busy the machine is.
TICK_MS = 100
EASY = {"SCRAPE_INTERVAL": f"{TICK_MS}ms", "SCRAPE_TIMEOUT": f"{TICK_MS}ms"}


# --------------------------------------------------------------------------------------
# A collector that runs, and what it said
# --------------------------------------------------------------------------------------


class Arrival(NamedTuple):
    """A snapshot and when it came: on the wall clock of the machine, and on the monotonic one."""

    snapshot: Snapshot
    wall_s: float
    mono_s: float

    @property
    def delay_s(self) -> float:
        """How long after its tick it came."""
        return self.wall_s - self.snapshot.ts_ms / 1000


class Watched:
    """A collector, every snapshot it handed on, and every change of health it told."""

    def __init__(self) -> None:
        self.collector: Collector
        self.arrivals: list[Arrival] = []
        self.statuses: list[tuple[str, bool, str | None]] = []

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self.arrivals.append(Arrival(snapshot, time.time(), time.monotonic()))

    def on_status(self, variant: str, healthy: bool, error: str | None) -> None:
        self.statuses.append((variant, healthy, error))

    def snapshots(self, variant: str = "production") -> list[Snapshot]:
        return [a.snapshot for a in list(self.arrivals) if a.snapshot.variant == variant]

    def timestamps(self, variant: str = "production") -> list[int]:
        return [snapshot.ts_ms for snapshot in self.snapshots(variant)]

    def wait_for(self, count: int, variant: str = "production") -> list[Snapshot]:
        """Return the snapshots of a variant once there are that many more than now."""
        wanted = len(self.snapshots(variant)) + count
        eventually(
            lambda: len(self.snapshots(variant)) >= wanted,
            PATIENCE_S,
            f"{count} more snapshots of {variant}; the targets: {self.collector.reports()}",
        )
        return self.snapshots(variant)

    def wait_until_prompt(self, most_s: float, variant: str = "production") -> None:
        """Wait until half of the last snapshots come so soon after their ticks.

        A busy machine is not busy for ever. Who waits for a neighbour does so at every tick.
        """

        def is_prompt() -> bool:
            mine = [a for a in list(self.arrivals) if a.snapshot.variant == variant][-5:]
            return len(mine) == 5 and statistics.median(a.delay_s for a in mine) < most_s

        eventually(is_prompt, PATIENCE_S, f"snapshots of {variant} {most_s} s after their ticks")

    def wait_until_steady(self, since_s: float) -> None:
        """Wait for twelve snapshots since some moment, the last of which come when they are due."""

        def is_steady() -> bool:
            times_s = [a.mono_s for a in list(self.arrivals) if a.mono_s > since_s]
            steps_s = [after - before for before, after in pairwise(times_s[-5:])]
            return len(times_s) >= 12 and all(abs(s - TICK_MS / 1_000) < 0.05 for s in steps_s)

        eventually(is_steady, PATIENCE_S, f"a snapshot each tick; {self.collector.reports()}")

    def reports(self) -> dict[str, Any]:
        """The reports as /api/targets shows them, by label."""
        return {label: report for _, label, report in self.collector.reports()}

    def report(self) -> Any:
        """The report of the only target."""
        (report,) = self.reports().values()
        return report

    def reason(self, pattern: str = ".") -> str:
        """Why the only target is down, once that matches.

        It may take some ticks: on a busy machine a scrape may run into its deadline first.
        """

        def found() -> bool:
            report = self.report()
            return report.health == "down" and bool(re.search(pattern, report.last_error or ""))

        eventually(found, PATIENCE_S, f"a failed scrape; the target: {self.reports()}")
        return str(self.report().last_error)


def quickest_s(run: Callable[[], float], wanted_s: float) -> float:
    """Return how long something takes at its quickest: once it is as quick as wanted, or of five.

    Other work on the machine makes a try late, but not each.
    """
    times_s = [run()]
    while times_s[-1] >= wanted_s and len(times_s) < 5:
        times_s.append(run())
    return min(times_s)


def make_config(targets: str, settings: Mapping[str, str] = EASY) -> Config:
    environ = {"SCRAPE_TARGETS": targets, "DB_PATH": "unused.db", **settings}
    return load_config([], environ)[0]


@contextmanager
def watch(
    targets: str,
    settings: Mapping[str, str] = EASY,
    kind: type[Collector] = Collector,
    **clocks: Any,
) -> Iterator[Watched]:
    """Run a collector for the block. `clocks` are the callables its constructor takes."""
    watched = Watched()
    config = make_config(targets, settings)
    watched.collector = kind(config, watched.on_snapshot, watched.on_status, **clocks)
    watched.collector.start()
    try:
        yield watched
    finally:
        watched.collector.close()


def increase(snapshots: Iterable[Snapshot]) -> float:
    """All requests the snapshots tell of: rates times the seconds they cover."""
    total = 0.0
    for snapshot in snapshots:
        rate, elapsed_s = snapshot.get("req_rate"), snapshot.get("elapsed_s")
        if isinstance(rate, (int, float)) and isinstance(elapsed_s, (int, float)):
            total += rate * elapsed_s
    return total


def number(snapshot: Snapshot, name: str) -> float:
    value = snapshot.get(name)
    assert isinstance(value, (int, float)), f"{name} is {value!r}"
    return value


def scrape_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "scrape"]


# --------------------------------------------------------------------------------------
# Targets written by hand
# --------------------------------------------------------------------------------------


def exposition(requests: float = 100, start_s: float = 1_700_000_000, extra: str = "") -> bytes:
    """What a zai-proxy exports, at its smallest."""
    return (
        "# TYPE zai_proxy_requests_total counter\n"
        f'zai_proxy_requests_total{{method="POST",status_code="200"}} {requests}\n'
        "zai_proxy_max_workers 50\n"
        f"process_start_time_seconds {start_s}\n{extra}"
    ).encode()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return head(*lines) + body


def head(*lines: str) -> bytes:
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunked(*pieces: bytes) -> bytes:
    """The pieces as chunks, without the last one."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


OK_CHUNKED = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
LAST_CHUNK = b"0\r\n\r\n"


class _TargetServer(socketserver.ThreadingTCPServer):
    daemon_threads = False  # server_close() waits for them: no socket outlives its test
    allow_reuse_address = True
    request_queue_size = 128
    target: Target

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.target.lock:
            self.target.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.target.lock:
            self.target.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: that a scraper hangs up is what these targets are for."""


class _TargetHandler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        lines = []
        while (line := self.rfile.readline(65_536)) not in (b"\r\n", b""):
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        assert isinstance(self.server, _TargetServer)
        if lines:
            self.server.target.serve(self.connection, lines)


class Target:
    """A server that answers every request by calling `reply(target, connection)`.

    `requests` is its counter. The lines of every request are kept in `heads`, and when each good
    answer was sent, on the monotonic clock, in `answered_s`.
    """

    def __init__(self, reply: Reply | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.reply = reply or good
        self.requests = 100
        self.start_s = 1_700_000_000.0
        self.heads: list[list[str]] = []
        self.answered_s: list[float] = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()  # guards `connections`
        self.connections: set[socket.socket] = set()
        self._server = _TargetServer((host, port), _TargetHandler)
        self._server.target = self
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Target:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        with self.lock:
            for connection in self.connections:
                with suppress(OSError):  # the scraper was faster
                    connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/metrics"

    def serve(self, connection: socket.socket, lines: list[str]) -> None:
        self.heads.append(lines)
        with suppress(OSError):  # the scraper hung up
            self.reply(self, connection)

    def body(self) -> bytes:
        return exposition(self.requests, self.start_s)


Reply = Callable[[Target, socket.socket], None]


def good(target: Target, connection: socket.socket) -> None:
    target.answered_s.append(time.monotonic())
    connection.sendall(answer(target.body()))


def says(data: bytes) -> Reply:
    """Send these bytes and close."""
    return lambda target, connection: connection.sendall(data)


def hangs_after(data: bytes) -> Reply:
    """Send these bytes, then nothing, and keep the connection open."""

    def reply(target: Target, connection: socket.socket) -> None:
        connection.sendall(data)
        target.stopping.wait(60)

    return reply


def drips_after(data: bytes, drops: bytes) -> Reply:
    """Send these bytes at once and the drops one by one, each well within any read timeout."""

    def reply(target: Target, connection: socket.socket) -> None:
        connection.sendall(data)
        for drop in drops:
            connection.sendall(bytes((drop,)))
            if target.stopping.wait(0.02):
                break

    return reply


def repeats(first: bytes, data: bytes, most_bytes: int = 1 << 28) -> Reply:
    """Send `first` and then `data` over and over, for as long as somebody takes it."""

    def reply(target: Target, connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(most_bytes // len(data)):
            connection.sendall(data)

    return reply


def resets(target: Target, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.close(connection.detach())


def redirects_slowly(target: Target, connection: socket.socket) -> None:
    """Each answer well within the deadline, all of them together far past it."""
    target.stopping.wait(0.15)
    connection.sendall(answer(b"", "Location: /metrics", status="302 Found"))


# --------------------------------------------------------------------------------------
# Bad answers: all of them at once, each a target of a variant of its own
# --------------------------------------------------------------------------------------

MAX_BYTES, MAX_SERIES = 100_000, 200
#: Short enough that scrapes which hang cost the run little.
STORM = {
    "SCRAPE_INTERVAL": "400ms",
    "SCRAPE_TIMEOUT": "400ms",
    "SCRAPE_MAX_BYTES": str(MAX_BYTES),
    "SCRAPE_MAX_SERIES": str(MAX_SERIES),
}
LONG = b"# a comment that nobody reads, only to be long\n" * 10_000
LATE = r"within|deadline|timed? ?out"
TOO_LARGE = rf"larger|{MAX_BYTES}|SCRAPE_MAX_BYTES"
GOOD = exposition()
ZIPPED = gzip.compress(GOOD)
GZIP = "Content-Encoding: gzip"


def series(count: int) -> str:
    return "".join(f'zai_proxy_tokens_total{{model="m{i}"}} {i}\n' for i in range(count))


class Bad(NamedTuple):
    """How a target misbehaves, and what its report has to mention (a regular expression)."""

    reply: Reply
    reason: str


BAD_ANSWERS = {
    # too slow
    "a header that drips": Bad(drips_after(b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x" * 3_000), LATE),
    "a status line that drips": Bad(drips_after(b"", b"HTTP/1.1 200 " + b"O" * 3_000), LATE),
    "a body that drips": Bad(
        drips_after(head("HTTP/1.1 200 OK", "Content-Length: 5000"), b"#" * 5_000), LATE
    ),
    "a body without a length that drips": Bad(
        drips_after(head("HTTP/1.0 200 OK") + GOOD, b"#" * 5_000), LATE
    ),
    "chunks that drip": Bad(drips_after(OK_CHUNKED, chunked(*[b"#"] * 1_000)), LATE),
    "a chunk size that drips": Bad(drips_after(OK_CHUNKED, b"0" * 5_000), LATE),
    "a gzip body that drips": Bad(
        drips_after(head("HTTP/1.1 200 OK", "Content-Length: 9000", GZIP), ZIPPED * 50), LATE
    ),
    "silence after the request": Bad(hangs_after(b""), LATE),
    "silence after the header": Bad(
        hangs_after(head("HTTP/1.1 200 OK", "Content-Length: 9")), LATE
    ),
    "silence in the middle of the body": Bad(
        hangs_after(head("HTTP/1.1 200 OK", "Content-Length: 9000") + GOOD), LATE
    ),
    "silence instead of the last chunk": Bad(hangs_after(OK_CHUNKED + chunked(GOOD)), LATE),
    "redirects that add up past the deadline": Bad(redirects_slowly, LATE),
    "interim answers without end": Bad(
        repeats(b"", head("HTTP/1.1 100 Continue")), LATE + "|HTTP|header"
    ),
    # cut off
    "no answer at all": Bad(says(b""), r"."),
    "a reset": Bad(resets, r"reset|closed|HTTP"),
    "a header cut off": Bad(says(b"HTTP/1.1 200 OK\r\nContent-Le"), r"header|stop|clos|HTTP"),
    "a body cut off before its length": Bad(
        says(head("HTTP/1.1 200 OK", f"Content-Length: {len(GOOD) + 5}") + GOOD), r"stop|incomplete"
    ),
    "a cut within a chunk": Bad(says(OK_CHUNKED + b"fff\r\n" + GOOD), r"stop|incomplete"),
    "a cut between two chunks": Bad(says(OK_CHUNKED + chunked(GOOD)), r"stop|incomplete|chunk"),
    "a cut within the size of a chunk": Bad(says(OK_CHUNKED + chunked(GOOD) + b"1"), r"."),
    "half a gzip body": Bad(says(answer(ZIPPED[:-20], GZIP)), r"gzip.*(stop|half|incomplete)"),
    "a gzip body without its trailer": Bad(says(answer(ZIPPED[:-8], GZIP)), r"gzip"),
    # not what was asked for
    "a gzip body with a wrong checksum": Bad(
        says(answer(ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:], GZIP)), r"gzip"
    ),
    "plain text that claims to be gzip": Bad(says(answer(GOOD, GZIP)), r"gzip"),
    "gzip that claims to be plain": Bad(says(answer(ZIPPED)), r"line 1\b"),
    "an encoding nobody asked for": Bad(
        says(answer(GOOD, "Content-Encoding: br")), r"(?i)content-encoding.*br"
    ),
    "another protocol": Bad(says(b"SSH-2.0-OpenSSH_9.6\r\n"), r"HTTP"),
    "chunks of no size": Bad(says(OK_CHUNKED + b"many\r\n" + GOOD), r"."),
    "a header line without end": Bad(repeats(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 8_192), r"."),
    "headers without end": Bad(repeats(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n" * 100), r"."),
    "status 404": Bad(says(answer(b"no such page", status="404 Not Found")), r"404 Not Found"),
    "status 401": Bad(says(answer(b"", status="401 Unauthorized")), r"401"),
    "status 500 with metrics": Bad(says(answer(GOOD, status="500 Oh No")), r"500 Oh No"),
    "status 503": Bad(says(answer(b"", status="503 Service Unavailable")), r"503"),
    "status 204": Bad(says(head("HTTP/1.1 204 No Content")), r"204"),
    "status 206 with metrics": Bad(says(answer(GOOD, status="206 Partial Content")), r"206"),
    "status 304": Bad(says(head("HTTP/1.1 304 Not Modified")), r"304"),
    "status 302 without a location": Bad(says(answer(b"", status="302 Found")), r"302"),
    "a redirect to itself": Bad(
        says(answer(b"", "Location: /metrics", status="302 Found")), r"redirect"
    ),
    "a redirect to ftp": Bad(
        says(answer(b"", "Location: ftp://127.0.0.1/metrics", status="302 Found")), r"redirect"
    ),
    "a redirect to a file": Bad(
        says(answer(b"", "Location: file:///etc/hostname", status="301 Moved")), r"redirect"
    ),
    "a redirect to no host": Bad(
        says(answer(b"", "Location: http:///metrics", status="301 Moved")), r"redirect|host"
    ),
    "a redirect to nonsense": Bad(
        says(answer(b"", "Location: http://[::1/metrics", status="301 Moved")), r"redirected to"
    ),
    # too much
    "a body too large": Bad(says(answer(LONG)), TOO_LARGE),
    "chunks too large": Bad(says(OK_CHUNKED + chunked(*[LONG] * 2) + LAST_CHUNK), TOO_LARGE),
    "a body without length and end": Bad(repeats(head("HTTP/1.0 200 OK"), LONG), TOO_LARGE),
    "a gzip body too large": Bad(says(answer(gzip.compress(LONG), GZIP)), TOO_LARGE),
    "a gzip bomb": Bad(says(answer(gzip.compress(b"\n" * 50_000_000, 9), GZIP)), TOO_LARGE),
    "a gzip bomb in pieces": Bad(
        says(answer(gzip.compress(b"#" * 60_000 + b"\n") * 100, GZIP)), TOO_LARGE
    ),
    "too many series": Bad(
        says(answer(exposition(extra=series(MAX_SERIES + 10)))), rf"{MAX_SERIES} series"
    ),
    # a body that is no exposition
    "an HTML page": Bad(says(answer(b"<!DOCTYPE html>\n<title>Login</title>\n")), r"line 1\b"),
    "JSON": Bad(says(answer(b'{"status": "ok"}\n')), r"line 1\b"),
    "binary": Bad(says(answer(bytes(range(256)) * 40)), r"line 1\b"),
    "zeros": Bad(says(answer(GOOD + b"\0" * 512)), r"line 5\b"),
    "UTF-16": Bad(says(answer(GOOD.decode().encode("utf-16"))), r"line 1\b"),
    "a line that does not parse": Bad(says(answer(GOOD + b"zai_proxy oops\n")), r"line 5\b"),
    "a value that is no number": Bad(
        says(answer(b"zai_proxy_max_workers fifty\n")), r"line 1\b.*fifty"
    ),
    "a label without its end": Bad(
        says(answer(b'\n\nzai_proxy_requests_total{status_code="200} 1\n')), r"line 3\b"
    ),
    "a label that is not UTF-8": Bad(
        says(answer(b'zai_proxy_requests_total{status_code="200",path="\xff"} 1\n')), r"line 1\b"
    ),
    "a series twice": Bad(says(answer(GOOD + b"zai_proxy_max_workers 51\n")), r"twice"),
    "an empty body": Bad(says(answer(b"")), r"zai_proxy_"),
    "metrics of something else": Bad(
        says(answer(b"go_goroutines 7\nprocess_start_time_seconds 1700000000\n")), r"zai_proxy_"
    ),
}  # fmt: skip


class Outcome(NamedTuple):
    """What a variant went through in the storm: good scrapes, bad ones, good ones."""

    target: Target
    label: str
    down: Any  # its report while the target misbehaved
    reasons: set[str]  # why it was down, over some ticks: a busy machine adds a timeout
    up: Any  # its report afterwards
    snapshots_while_bad: int
    snapshots: list[Snapshot]
    log: list[str]  # what the log says of it


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def variant_of(case: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in case)


@pytest.fixture(scope="module")
def storm() -> Iterator[dict[str, Outcome]]:
    """Every bad answer of the table at the same time, before and after it good ones.

    The counter of each target stands at 100 before and at 130 after.
    """
    lines, logger = Lines(), logging.getLogger("zaidash.collector")
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        with ExitStack() as stack:
            targets = {variant_of(case): stack.enter_context(Target()) for case in BAD_ANSWERS}
            urls = ",".join(f"{variant}={target.url}" for variant, target in targets.items())
            watched = stack.enter_context(watch(urls, STORM))
            yield weather(watched, targets, lines)
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)


def weather(
    watched: Watched, targets: Mapping[str, Target], lines: Lines
) -> dict[str, Outcome]:  # fmt: skip
    def reports() -> dict[str, Any]:
        return {spec.variant: report for spec, _, report in watched.collector.reports()}

    def everyone(health: str) -> bool:
        return all(report.health == health for report in reports().values())

    def missing(health: str) -> str:
        others = [variant for variant, r in reports().items() if r.health != health]
        return f"every target to be {health}, unlike {others}"

    eventually(lambda: all(watched.snapshots(v) for v in targets), PATIENCE_S, "first snapshots")
    for target, bad in zip(targets.values(), BAD_ANSWERS.values(), strict=True):
        target.reply = bad.reply
    eventually(lambda: everyone("down"), PATIENCE_S, missing("down"))
    before = {variant: len(watched.snapshots(variant)) for variant in targets}
    tick = max(watched.timestamps("a-reset"))
    reasons: dict[str, set[str]] = {variant: set() for variant in targets}

    def two_more_ticks() -> bool:
        for variant, report in reports().items():
            reasons[variant].add(str(report.last_error))
        is_told = all(
            any(re.search(bad.reason, reason) for reason in reasons[variant_of(name)])
            for name, bad in BAD_ANSWERS.items()
        )
        return is_told and all(r.last_scrape_ms >= tick + 800 for r in reports().values())

    eventually(two_more_ticks, PATIENCE_S, "two more ticks, and every reason")
    down = reports()
    while_bad = {variant: len(watched.snapshots(variant)) - before[variant] for variant in targets}
    for target in targets.values():
        target.requests, target.reply = 130, good
    eventually(
        lambda: all(len(watched.snapshots(v)) > before[v] for v in targets),
        PATIENCE_S,
        "snapshots of everyone after the storm",
    )
    eventually(lambda: everyone("up"), PATIENCE_S, missing("up"))
    up = reports()
    labels = {spec.variant: label for spec, label, _ in watched.collector.reports()}
    watched.collector.close()
    return {
        variant: Outcome(
            target,
            labels[variant],
            down[variant],
            reasons[variant],
            up[variant],
            while_bad[variant],
            watched.snapshots(variant),
            [line for line in lines.lines if f"target={labels[variant]}" in line.split()],
        )
        for variant, target in targets.items()
    }


@pytest.fixture(params=BAD_ANSWERS, ids=list(BAD_ANSWERS))
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_bad_answer_is_reported_with_its_reason(case: str, storm: dict[str, Outcome]) -> None:
    outcome = storm[variant_of(case)]
    assert outcome.down.health == "down"
    assert outcome.down.last_error in outcome.reasons
    expected = BAD_ANSWERS[case].reason
    assert any(re.search(expected, reason) for reason in outcome.reasons), outcome.reasons
    assert max(map(len, outcome.reasons)) < 500  # a sentence, not the body of the answer


def test_a_bad_answer_is_logged_once_and_so_is_its_end(
    case: str, storm: dict[str, Outcome]
) -> None:
    outcome = storm[variant_of(case)]
    assert any(outcome.down.last_error in line for line in outcome.log), outcome.log
    assert all(a != b for a, b in pairwise(outcome.log)), "a failure that goes on is told once"
    # It works again; afterwards it may be told of a machine too busy to scrape in time.
    told = [outcome.down.last_error in line for line in outcome.log].index(True)
    assert any("again" in line for line in outcome.log[told:]), outcome.log


def test_a_bad_answer_makes_no_snapshot(case: str, storm: dict[str, Outcome]) -> None:
    assert storm[variant_of(case)].snapshots_while_bad == 0


def test_what_a_bad_answer_hid_is_counted_exactly_afterwards(
    case: str, storm: dict[str, Outcome]
) -> None:
    outcome = storm[variant_of(case)]
    assert outcome.up.last_error is None
    assert increase(outcome.snapshots) == pytest.approx(30)
    grown = [snapshot for snapshot in outcome.snapshots if number_or_none(snapshot, "req_rate")]
    assert len(grown) == 1  # at once, at the first good scrape
    assert number(grown[0], "requests_2xx") == 130


def test_an_increase_is_spread_over_the_real_time_of_the_outage(
    case: str, storm: dict[str, Outcome]
) -> None:
    outcome = storm[variant_of(case)]
    index = next(i for i, s in enumerate(outcome.snapshots) if number_or_none(s, "req_rate"))
    elapsed_s = number(outcome.snapshots[index], "elapsed_s")
    gaps = [b - a for a, b in pairwise(outcome.target.answered_s)]
    assert elapsed_s > 0.8  # two ticks at least had failed
    assert elapsed_s == pytest.approx(max(gaps), abs=0.3)


def number_or_none(snapshot: Snapshot, name: str) -> float:
    value = snapshot.get(name)
    return value if isinstance(value, (int, float)) else 0.0


# --------------------------------------------------------------------------------------
# Unusual answers that are good
# --------------------------------------------------------------------------------------

GOOD_ANSWERS = {
    "a body without a final newline": answer(GOOD.rstrip(b"\n")),
    "lines that end as on Windows": answer(GOOD.replace(b"\n", b"\r\n")),
    "the end mark of OpenMetrics": answer(GOOD + b"# EOF\n"),
    "one chunk": OK_CHUNKED + chunked(GOOD) + LAST_CHUNK,
    "a chunk for every byte": OK_CHUNKED
    + chunked(*(GOOD[i : i + 1] for i in range(len(GOOD))))
    + LAST_CHUNK,
    "chunks with extensions and a trailer": OK_CHUNKED
    + b"%X;x=y\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(GOOD), GOOD),
    "a body that ends with the connection": head("HTTP/1.0 200 OK") + GOOD,
    "gzip": answer(ZIPPED, GZIP),
    "gzip in capitals": answer(ZIPPED, "CONTENT-ENCODING: GZip"),
    "gzip in chunks": head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", GZIP)
    + chunked(ZIPPED[:30], ZIPPED[30:])
    + LAST_CHUNK,
    "gzip of two members": answer(gzip.compress(GOOD[:50]) + gzip.compress(GOOD[50:]), GZIP),
    "the encoding identity": answer(GOOD, "Content-Encoding: identity"),
    "an interim answer first": head("HTTP/1.1 100 Continue") + answer(GOOD),
    "the largest body allowed": answer(GOOD + b"#" * (MAX_BYTES - len(GOOD))),
    "as many series as are allowed": answer(exposition(extra=series(MAX_SERIES - 3))),
    "a status line without a reason": head("HTTP/1.1 200", f"Content-Length: {len(GOOD)}") + GOOD,
}


@pytest.fixture(scope="module")
def calm() -> Iterator[Watched]:
    """Every answer of the table from a target of its own."""
    with ExitStack() as stack:
        targets = {
            variant_of(case): stack.enter_context(Target(says(data)))
            for case, data in GOOD_ANSWERS.items()
        }
        urls = ",".join(f"{variant}={target.url}" for variant, target in targets.items())
        watched = stack.enter_context(watch(urls, STORM))
        eventually(lambda: all(r.last_scrape_ms for r in watched.reports().values()), PATIENCE_S)
        yield watched


@pytest.mark.parametrize("case", GOOD_ANSWERS, ids=list(GOOD_ANSWERS))
def test_an_unusual_but_correct_answer_is_read(case: str, calm: Watched) -> None:
    variant = variant_of(case)
    report = next(r for spec, _, r in calm.collector.reports() if spec.variant == variant)
    eventually(lambda: calm.snapshots(variant), PATIENCE_S, f"a snapshot: {report}")
    assert calm.snapshots(variant)[0].get("requests_2xx") == 100
    assert calm.snapshots(variant)[0].get("max_workers") == 50


def test_an_answer_that_drips_but_is_done_in_time_is_read() -> None:
    def reply(target: Target, connection: socket.socket) -> None:
        for byte in answer(GOOD):
            connection.sendall(bytes((byte,)))

    with Target(reply) as target, watch(target.url) as watched:
        assert watched.wait_for(1)[0].get("requests_2xx") == 100


def test_a_foreign_server_is_up_but_says_why_it_shows_nothing() -> None:
    with Target(says(answer(b"go_goroutines 7\n"))) as target, watch(target.url) as watched:
        eventually(lambda: watched.report().health != "unknown", PATIENCE_S)
        report = watched.report()
        assert report.health == "down" or "zai_proxy_" in report.warning


# --------------------------------------------------------------------------------------
# Attacks on memory and processor time
# --------------------------------------------------------------------------------------


def test_a_negative_chunk_size_does_not_lift_the_size_limit() -> None:
    """`-1` reads "until the end" to whoever hands it on to read()."""
    sent = [0]

    def reply(target: Target, connection: socket.socket) -> None:
        connection.sendall(OK_CHUNKED + b"-1\r\n")
        while sent[0] < 200_000_000 and not target.stopping.is_set():
            connection.sendall(LONG)
            sent[0] += len(LONG)

    with Target(reply) as target, watch(target.url, STORM) as watched:
        watched.reason()
        assert sent[0] < 20_000_000, "zaidash took it all in, with a limit of 100 kB"


# --------------------------------------------------------------------------------------
# Nobody pays for a neighbour
# --------------------------------------------------------------------------------------


def test_a_dead_neighbour_delays_no_snapshot_and_shifts_no_tick() -> None:
    slow = {
        "hangs": hangs_after(b""),
        "drips": drips_after(b"HTTP/1.1 200 OK\r\n", b"x" * 9_000),
        "broken": says(answer(b"<html>")),
    }
    with ExitStack() as stack:
        proxy = stack.enter_context(FakeProxy())
        others = {name: stack.enter_context(Target(reply)) for name, reply in slow.items()}
        urls = [f"{name}={target.url}" for name, target in others.items()]
        watched = stack.enter_context(watch(",".join([*urls, f"production={proxy.url}"])))
        watched.wait_until_prompt(0.1)
        arrivals = [a for a in watched.arrivals if a.snapshot.variant == "production"]
    assert min(a.delay_s for a in arrivals) >= 0, "a snapshot came before its tick"
    ticks = [a.snapshot.ts_ms for a in arrivals]
    assert all(ts_ms % TICK_MS == 0 for ts_ms in ticks), "ticks lie on multiples of the interval"
    steps = [b - a for a, b in pairwise(ticks[-5:])]
    assert statistics.median_low(steps) == TICK_MS


def test_a_hanging_replica_delays_only_its_own_variant_and_only_to_the_deadline() -> None:
    settings = {"SCRAPE_INTERVAL": "450ms", "SCRAPE_TIMEOUT": "250ms"}
    with Target() as good_one, Target(hangs_after(b"")) as dead, Target() as other:
        urls = f"blue={good_one.url},blue={dead.url},green={other.url}"
        with watch(urls, settings) as watched:
            watched.wait_until_prompt(0.15, "green")
            watched.wait_until_prompt(0.6, "blue")
            assert min(a.delay_s for a in watched.arrivals if a.snapshot.variant == "blue") > 0.24
            assert watched.snapshots("blue")[-1].get("requests_2xx") == 100


def test_ticks_lie_on_multiples_of_the_interval() -> None:
    with ExitStack() as stack:
        target = stack.enter_context(Target())
        runs = {}
        for interval_ms in (100, 150, 400):
            settings = {"SCRAPE_INTERVAL": f"{interval_ms}ms", "SCRAPE_TIMEOUT": "3s"}
            runs[interval_ms] = stack.enter_context(watch(target.url, settings))
        runs[400].wait_for(3)
        for interval_ms, watched in runs.items():
            assert all(ts_ms % interval_ms == 0 for ts_ms in watched.timestamps())
            assert watched.timestamps() == sorted(set(watched.timestamps()))
            assert len(watched.timestamps()) >= 3


def test_the_deadline_is_one_for_the_whole_scrape() -> None:
    settings = {"SCRAPE_INTERVAL": "600ms", "SCRAPE_TIMEOUT": "300ms"}
    drip = drips_after(head("HTTP/1.1 200 OK", "Content-Length: 5000"), b"#" * 5_000)
    with Target(drip) as target, watch(target.url, settings) as watched:
        watched.reason("300ms")
        seen_ms: set[float] = set()

        def is_in_time() -> bool:  # as soon as the machine is not busy with something else
            seen_ms.add(watched.report().duration_ms)
            return min(seen_ms) < 800

        eventually(is_in_time, PATIENCE_S, "a scrape that ends at its deadline")
        assert min(seen_ms) >= 295
        eventually(lambda: not scrape_threads(), PATIENCE_S, "the scrape's thread to end")


def test_a_connection_that_is_never_accepted_fails_at_the_deadline() -> None:
    """A full backlog: the kernel drops every SYN, and connect() hangs."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):  # more than fit
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", port))
        other = stack.enter_context(Target())
        urls = f"production=http://127.0.0.1:{port}/metrics,canary={other.url}"
        watched = stack.enter_context(watch(urls))
        watched.wait_for(4, "canary")
        report = watched.reports()[f"http://127.0.0.1:{port}/metrics"]
        assert report.health == "down"
        assert f"{TICK_MS}ms" in report.last_error
        assert len(scrape_threads()) <= 3
        watched.wait_until_prompt(0.1, "canary")
    eventually(lambda: not scrape_threads(), PATIENCE_S, "the scrapes' threads to end")


def test_a_port_nobody_listens_on_is_reported_and_recovers() -> None:
    with FakeProxy() as proxy, watch(proxy.url) as watched:
        proxy.request(200)
        watched.wait_for(1)
        proxy.stop_serving()
        watched.reason("refused")
        for _ in range(7):
            proxy.request(200)
        proxy.start_serving()
        watched.wait_for(1)
        assert increase(watched.snapshots()) == pytest.approx(7)


def test_a_restart_counts_what_the_new_process_did() -> None:
    with FakeProxy() as proxy, watch(proxy.url) as watched:
        for _ in range(50):
            proxy.request(200)
        watched.wait_for(1)
        proxy.restart()
        for _ in range(60):  # past where it stood before: only the start time tells
            proxy.request(200)
        watched.wait_for(2)
        assert increase(watched.snapshots()) == pytest.approx(60)


def test_all_targets_down_is_a_gap_and_not_a_zero() -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(Target()) for _ in range(2))
        with watch(f"{one.url},production={two.url}") as watched:
            watched.wait_for(2)
            # A replica that answered late is missing from its tick: it has half the requests.
            eventually(lambda: watched.snapshots()[-1].get("requests_2xx") == 200, PATIENCE_S)
            one.reply = two.reply = says(answer(b"", status="500 Broken"))
            eventually(
                lambda: all(r.health == "down" for r in watched.reports().values()), PATIENCE_S
            )
            count = len(watched.snapshots())
            tick = max(r.last_scrape_ms for r in watched.reports().values())
            eventually(
                lambda: (
                    min(r.last_scrape_ms for r in watched.reports().values()) >= tick + 4 * TICK_MS
                )
            )
            assert len(watched.snapshots()) == count
            assert {s.get("requests_2xx") for s in watched.snapshots()} <= {100, 200}


# --------------------------------------------------------------------------------------
# Replicas
# --------------------------------------------------------------------------------------


def test_two_replicas_make_one_snapshot() -> None:
    with FakeProxy() as one, FakeProxy() as two:
        one.set_gauges(concurrent=3, max_workers=10, utilization=0.3)
        two.set_gauges(concurrent=27, max_workers=30, utilization=0.9)
        with watch(f"{one.url},{two.url}") as watched:
            watched.wait_for(2)
            one.request(200, tokens=(10, 20, 30, 40))
            two.request(503)
            two.request(200, tokens=(1, 2, 3, 4))
            eventually(lambda: increase(watched.snapshots()) > 2.5, PATIENCE_S, "three requests")
            watched.wait_for(2)
            last = watched.snapshots()[-1]
            assert len(set(watched.timestamps())) == len(watched.timestamps())
            assert increase(watched.snapshots()) == pytest.approx(3)
    shown = ("requests_2xx", "requests_5xx", "tokens_input", "tokens_cache_write")
    assert [last.get(name) for name in shown] == [2, 1, 11, 44]
    assert last.get("concurrent_requests") == 30
    assert last.get("worker_utilization") == pytest.approx(0.75)


def test_one_of_two_replicas_failing_loses_no_request() -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(Target()) for _ in range(2))
        with watch(f"{one.url},production={two.url}") as watched:
            watched.wait_for(2)
            two.reply = says(answer(b"", status="500 Broken"))
            eventually(
                lambda: any(r.health == "down" for r in watched.reports().values()), PATIENCE_S
            )
            watched.wait_for(2)
            one.requests, two.requests = 110, 107
            watched.wait_for(1)
            two.reply = good
            watched.wait_for(3)
            rates = [s.get("req_rate") for s in watched.snapshots()]
    # By hand: the one went from 100 to 110 while the other failed, the other from 100 to 107.
    assert all(rate is None or number_of(rate) >= 0 for rate in rates)
    assert increase(watched.snapshots()) == pytest.approx(10 + 7)


def number_of(value: Any) -> float:
    assert isinstance(value, (int, float))
    return value


def test_a_load_balanced_address_is_reported_with_the_remedy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turn = [0]

    def reply(target: Target, connection: socket.socket) -> None:
        turn[0] += 1
        behind = turn[0] % 2
        connection.sendall(answer(exposition(1_000 * (behind + 1) + turn[0], 1_000.0 + behind)))

    caplog.set_level(logging.INFO, "zaidash")
    with Target(reply) as target, watch(target.url) as watched:
        warning = eventually(lambda: watched.report().warning, PATIENCE_S, "a warning")
        watched.wait_for(3)
        assert "dns+" in warning
        assert watched.report().health == "up"
        warned = [r for r in caplog.records if "dns+" in r.getMessage()]
        assert len(warned) == 1, "it is told once, not at every tick"
        rates = [number_or_none(s, "req_rate") for s in watched.snapshots()]
        # Each process counts by itself: switching between them is no thousand requests.
        assert all(0 <= rate < 2_000 for rate in rates[3:])


def test_a_restart_is_not_taken_for_a_load_balancer() -> None:
    with FakeProxy() as proxy, watch(proxy.url) as watched:
        for _ in range(3):
            watched.wait_for(1)
            proxy.restart()
        watched.wait_for(1)
        assert watched.report().warning is None


# --------------------------------------------------------------------------------------
# What is sent
# --------------------------------------------------------------------------------------

DEAD_PROXY_VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY")


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in DEAD_PROXY_VARIABLES:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with FakeProxy() as proxy, watch(proxy.url) as watched:
        watched.wait_for(1)
        assert watched.report().last_error is None


def test_a_request_asks_for_the_text_format_and_gzip() -> None:
    with Target() as target, watch(target.url.replace("metrics", "a/b?c=d&e=%20")) as watched:
        watched.wait_for(1)
        request, *headers = target.heads[0]
    assert request == "GET /a/b?c=d&e=%20 HTTP/1.1"
    fields = dict(line.lower().split(": ", 1) for line in headers)
    assert fields["host"] == f"127.0.0.1:{target.port}"
    assert "text/plain" in fields["accept"]
    assert "gzip" in fields["accept-encoding"]
    assert "authorization" not in fields


SECRET_URLS = {
    "plain": ("user", "hunter2"),
    "a colon and an at sign, escaped": ("a:b", "hun@ter2:"),
    "letters beyond ASCII, escaped": ("jörg", "hünter2"),
    "no user": ("", "hunter2"),
    "no password": ("hunter2", ""),
}


@pytest.mark.parametrize(("user", "password"), SECRET_URLS.values(), ids=list(SECRET_URLS))
def test_credentials_are_sent_as_basic_authentication(user: str, password: str) -> None:
    with FakeProxy() as proxy:
        pair = f"{quote(user, safe='')}:{quote(password, safe='')}"
        with watch(proxy.url.replace("//", f"//{pair}@")) as watched:
            watched.wait_for(1)
        sent = base64.b64encode(f"{user}:{password}".encode()).decode()
        assert proxy.last_headers["authorization"] == f"Basic {sent}"
        assert proxy.last_headers["host"] == f"127.0.0.1:{proxy.port}"


FAILURES_WITH_CREDENTIALS = {
    "a good scrape": good,
    "a refusal": says(answer(b"", status="401 Unauthorized")),
    "another protocol": says(b"SSH-2.0\r\n"),
    "a hang": hangs_after(b""),
    "a redirect to ftp with the credentials": says(
        answer(b"", "Location: ftp://zed:hunter2@127.0.0.1/", status="302 Found")
    ),
    "a redirect with the credentials and a bad port": says(
        answer(b"", "Location: http://zed:hunter2@127.0.0.1:99999/", status="302 Found")
    ),
    "a redirect with the credentials and bad brackets": says(
        answer(b"", "Location: http://zed:hun[hunter2]@127.0.0.1/", status="302 Found")
    ),
    "an echo of the credentials in the status line": says(
        answer(b"", status="403 zed is not allowed")
    ),
}


@pytest.mark.parametrize(
    "reply", FAILURES_WITH_CREDENTIALS.values(), ids=list(FAILURES_WITH_CREDENTIALS)
)
def test_credentials_are_shown_nowhere(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), Target(reply) as target:
        url = target.url.replace("//", "//zed:hunter2@")
        with watch(url) as watched:
            eventually(lambda: watched.report().health != "unknown", PATIENCE_S)
            (variant,) = watched.collector.variants.values()
            shown = [str(watched.reports()), str(watched.collector.error(variant)), caplog.text]
            shown += [label for _, label, _ in watched.collector.reports()]
    assert "***@" in shown[0]
    token = base64.b64encode(b"zed:hunter2").decode()
    for text in (*shown, caplog.text):
        assert "hunter2" not in text
        assert token not in text


# --------------------------------------------------------------------------------------
# Redirects
# --------------------------------------------------------------------------------------


def redirect(server: HTTPServer, path: str, location: str, status: int = 302) -> None:
    server.expect_request(path).respond_with_data(
        "moved " * 10_000, status=status, headers={"Location": location}
    )


def serve_metrics(server: HTTPServer, path: str = "/metrics") -> None:
    server.expect_request(path).respond_with_handler(lambda _: Response(GOOD))


REDIRECTS = {
    "301": (301, "/metrics"),
    "302": (302, "/metrics"),
    "303": (303, "/metrics"),
    "307": (307, "/metrics"),
    "308": (308, "/metrics"),
    "a relative path": (302, "metrics"),
    "only a query": (302, "?x=y"),
    "a host without a scheme": (302, "//{host}/metrics"),
    "a whole URL": (302, "http://{host}/metrics"),
}


@pytest.mark.parametrize(("status", "location"), REDIRECTS.values(), ids=list(REDIRECTS))
def test_a_redirect_is_followed(httpserver: HTTPServer, status: int, location: str) -> None:
    host = f"{httpserver.host}:{httpserver.port}"
    httpserver.expect_request("/start", query_string="x=y").respond_with_data(GOOD)
    redirect(httpserver, "/start", location.format(host=host), status)
    serve_metrics(httpserver)
    with watch(f"production={httpserver.url_for('/start')}") as watched:
        assert watched.wait_for(1)[0].get("requests_2xx") == 100


def test_five_redirects_are_followed(httpserver: HTTPServer) -> None:
    for hop in range(5):
        redirect(httpserver, f"/{hop}", f"/{hop + 1}")
    serve_metrics(httpserver, "/5")
    with watch(httpserver.url_for("/0")) as watched:
        watched.wait_for(1)
        assert watched.report().health == "up"


def test_six_redirects_are_too_many(httpserver: HTTPServer) -> None:
    for hop in range(6):
        redirect(httpserver, f"/{hop}", f"/{hop + 1}")
    serve_metrics(httpserver, "/6")
    with watch(httpserver.url_for("/0")) as watched:
        watched.reason("redirect")
        assert watched.snapshots() == []


def test_credentials_stay_with_a_redirect_within_the_server(httpserver: HTTPServer) -> None:
    redirect(httpserver, "/start", "/metrics")
    serve_metrics(httpserver)
    with watch(httpserver.url_for("/start").replace("//", "//zed:hunter2@")) as watched:
        watched.wait_for(1)
    sent = [request.headers.get("Authorization") for request, _ in httpserver.log]
    expected = "Basic " + base64.b64encode(b"zed:hunter2").decode()
    assert set(sent) == {expected}


ELSEWHERE = {
    "another port": "http://127.0.0.1:{port}/metrics",
    "another host": "http://127.0.0.2:{port}/metrics",
    "another name of the host": "http://localhost:{port}/metrics",
    "without a scheme": "//127.0.0.2:{port}/metrics",
}


@pytest.mark.parametrize("location", ELSEWHERE.values(), ids=list(ELSEWHERE))
def test_credentials_do_not_travel_to_another_server(httpserver: HTTPServer, location: str) -> None:
    host = "127.0.0.2" if "127.0.0.2" in location else "127.0.0.1"
    with Target(host=host) as elsewhere:
        redirect(httpserver, "/start", location.format(port=elsewhere.port))
        url = f"http://zed:hunter2@127.0.0.1:{httpserver.port}/start"
        with watch(url) as watched:
            watched.wait_for(1)
        sent = "\n".join("\n".join(lines) for lines in elsewhere.heads).lower()
    assert "host: " in sent
    assert "authorization" not in sent
    assert "hunter2" not in sent


def test_credentials_come_back_after_a_detour(httpserver: HTTPServer) -> None:
    """They are meant for the first server, wherever the request was in between."""
    home = f"http://127.0.0.1:{httpserver.port}"
    back = says(answer(b"", f"Location: {home}/metrics", status="302 Found"))
    serve_metrics(httpserver)
    with Target(back) as elsewhere:
        redirect(httpserver, "/start", elsewhere.url)
        with watch(f"{home.replace('//', '//zed:hunter2@')}/start") as watched:
            watched.wait_for(1)
        assert not any("uthorization" in line for line in elsewhere.heads[0])


def test_a_redirect_shows_nobody_what_another_server_says(httpserver: HTTPServer) -> None:
    """A proxy that was taken over could show the reader of the page what only zaidash may reach."""
    with Target(says(answer(b'{"SecretAccessKey":"hunter2"}\n'))) as elsewhere:
        redirect(httpserver, "/start", elsewhere.url)
        with watch(httpserver.url_for("/start")) as watched:
            reason = watched.reason("another server")
    assert "line 1" in reason
    assert "Secret" not in reason and "hunter2" not in reason


# --------------------------------------------------------------------------------------
# TLS
# --------------------------------------------------------------------------------------

#: For a machine without openssl: a certificate of 127.0.0.1 for a hundred years, and its key, made
#: for this test and used nowhere else.
FALLBACK_PEM = """\
-----BEGIN CERTIFICATE-----
MIIBkTCCATagAwIBAgIUD4E3PqUlwto/F7wND4QjjpR/l4owCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyMzEwMzQyMVoYDzIxMjYxMDMw
MTAzNDIxWjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATRFByXh6+4v9MqYRTKH30K80jU7pvjvc7xqOUJKfWVmvFr9Z6Lhvh6
C7I+9UvrSE0C+3oqYtQtRBSLDBgPdVE+o2QwYjAdBgNVHQ4EFgQU0LpU0aPR52Cg
4FHV++MWU6WoQ0EwHwYDVR0jBBgwFoAU0LpU0aPR52Cg4FHV++MWU6WoQ0EwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0kAMEYC
IQCVCQGXNPDCbn2JZBINsiQ5L4u+Wh2lwGD6elCWgg0CzwIhAO9Hhe+rVNxZhvPG
HNrAW1M3Eal4nzCG6C8phlOi/Eja
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfaaBH+IeOubM3KQ6
M+8cklW91sPNWTb/8cIHd24+oEShRANCAATRFByXh6+4v9MqYRTKH30K80jU7pvj
vc7xqOUJKfWVmvFr9Z6Lhvh6C7I+9UvrSE0C+3oqYtQtRBSLDBgPdVE+
-----END PRIVATE KEY-----
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-made certificate for 127.0.0.1 with its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "server.pem"
    if shutil.which("openssl") is None:
        path.write_text(FALLBACK_PEM)
        return path
    key = folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + key.read_text())
    return path


@contextmanager
def tls_server(certificate: Path) -> Iterator[HTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        serve_metrics(server)
        yield server


def test_a_self_made_certificate_is_refused_with_a_clear_reason(certificate: Path) -> None:
    with tls_server(certificate) as server, watch(server.url_for("/metrics")) as watched:
        reason = watched.reason("certificate")
        assert "HTTP" not in reason, "the answer was no answer: it is about the certificate"
        assert server.log == []  # nothing was sent, no credentials either


def test_a_certificate_the_system_trusts_is_accepted(certificate: Path) -> None:
    with tls_server(certificate) as server:
        env = {
            "SSL_CERT_FILE": str(certificate),
            "SCRAPE_TARGETS": server.url_for("/metrics"),
            "SCRAPE_INTERVAL": "1s",
        }
        with run_zaidash(env=env) as zaidash:
            eventually(
                lambda: zaidash.json("/api/targets")[0]["health"] == "up",
                PATIENCE_S,
                f"a scrape over TLS: {zaidash.json('/api/targets')}",
            )


def test_tls_to_a_plain_port_is_reported(httpserver: HTTPServer) -> None:
    with watch(httpserver.url_for("/metrics").replace("http:", "https:")) as watched:
        watched.reason("(?i)ssl|tls")


def test_a_tls_handshake_that_hangs_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/metrics"
        with watch(url) as watched:
            watched.reason(f"{TICK_MS}ms")
    eventually(lambda: not scrape_threads(), PATIENCE_S, "the scrape's thread to end")


# --------------------------------------------------------------------------------------
# Names that stand for many addresses
# --------------------------------------------------------------------------------------


class QuickCollector(Collector):
    DISCOVERY_S = 0.05


class Names:
    """What names resolve to, changed by the test; an exception is raised."""

    def __init__(self, **addresses: Any) -> None:
        self.addresses: dict[str, Any] = addresses
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> tuple[str, ...]:
        self.asked.append((host, port))
        found = self.addresses[host]
        if isinstance(found, BaseException):
            raise found
        return tuple(found)


@contextmanager
def replicas(count: int) -> Iterator[list[Target]]:
    """Targets on 127.0.0.1, 127.0.0.2, ... which listen on the same port."""
    with ExitStack() as stack:
        for _ in range(50):
            with suppress(OSError):  # a port that is free on one address only
                port, found = free_port(), []
                for index in range(count):
                    found.append(Target(host=f"127.0.0.{index + 1}", port=port))
                for target in found:
                    stack.enter_context(target)
                break
        else:
            raise AssertionError("no port is free on all addresses")
        yield found


@contextmanager
def watch_names(targets: str, names: Callable[..., Any]) -> Iterator[Watched]:
    with watch(targets, kind=QuickCollector, resolve=names) as watched:
        yield watched


def requests_of(watched: Watched) -> Any:
    return watched.snapshots()[-1].get("requests_2xx") if watched.snapshots() else None


def shows(watched: Watched, requests: int) -> bool:
    return bool(requests_of(watched) == requests)


def test_every_address_of_a_name_is_scraped_with_the_host_header_kept() -> None:
    with replicas(3) as targets:
        port = targets[0].port
        names = Names(proxies=[t.host for t in targets])
        with watch_names(f"dns+http://proxies:{port}/metrics", names) as watched:
            eventually(lambda: requests_of(watched) == 300, PATIENCE_S, "all three replicas")
            assert set(names.asked) == {("proxies", port)}
            assert len(watched.reports()) == 3
            for target in targets:
                assert any(target.host in label for label in watched.reports())
                assert target.heads[0][0] == "GET /metrics HTTP/1.1"
                assert f"Host: proxies:{port}" in target.heads[0]


def test_credentials_of_a_name_reach_every_replica() -> None:
    with replicas(2) as targets:
        names = Names(proxies=[t.host for t in targets])
        url = f"dns+http://zed:hunter2@proxies:{targets[0].port}/metrics"
        with watch_names(url, names) as watched:
            eventually(lambda: requests_of(watched) == 200, PATIENCE_S, "both replicas")
            assert "hunter2" not in str(watched.reports())
        sent = "Authorization: Basic " + base64.b64encode(b"zed:hunter2").decode()
        assert all(sent in target.heads[0] for target in targets)


def test_a_redirect_of_a_replica_stays_with_it() -> None:
    def reply(target: Target, connection: socket.socket) -> None:
        if "GET /metrics " in target.heads[-1][0]:
            url = f"http://proxies:{target.port}/real"
            connection.sendall(answer(b"", f"Location: {url}", status="302 Found"))
        else:
            good(target, connection)

    with replicas(2) as targets:
        for target in targets:
            target.reply = reply
        names = Names(proxies=[t.host for t in targets])
        with watch_names(f"dns+http://proxies:{targets[0].port}/metrics", names) as watched:
            eventually(lambda: requests_of(watched) == 200, PATIENCE_S, "both replicas")


def test_replicas_come_and_go_without_a_negative_rate_or_a_burst() -> None:
    with replicas(3) as targets:
        one, two, three = (t.host for t in targets)
        names = Names(proxies=[one])
        with watch_names(f"dns+http://proxies:{targets[0].port}/metrics", names) as watched:
            for now in ([one], [one, two, three], [three], [two, three], [one]):
                names.addresses["proxies"] = now
                eventually(partial(shows, watched, 100 * len(now)), PATIENCE_S, f"{now}")
                watched.wait_for(1)
            assert all(number_or_none(s, "req_rate") == 0 for s in watched.snapshots())
            assert all(number_or_none(s, "elapsed_s") >= 0 for s in watched.snapshots())
            # One whose scrape has just failed goes a moment later.
            eventually(lambda: len(watched.reports()) == 1, PATIENCE_S, "one report")


class SmallCollector(QuickCollector):
    MAX_REPLICAS = 2


def test_a_name_with_countless_addresses_is_scraped_in_part_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each of them is a thread per tick: who answers for a name must not have thousands of them."""
    assert Collector.MAX_REPLICAS < 1_000
    caplog.set_level(logging.WARNING, "zaidash")
    with replicas(4) as targets:
        one, two, three, four = (t.host for t in targets)
        names = Names(proxies=[two, three])
        url = f"dns+http://proxies:{targets[0].port}/metrics"
        with watch(url, kind=SmallCollector, resolve=names) as watched:
            eventually(lambda: requests_of(watched) == 200, PATIENCE_S, "two replicas")
            names.addresses["proxies"] = [one, two, three, four]
            eventually(lambda: "addresses" in caplog.text, PATIENCE_S, "a warning")
            watched.wait_for(2)
            assert "more than 2 addresses" in caplog.text
            kept = {host for host in (one, two, three, four) if host in str(watched.reports())}
            assert kept == {two, three}, "those that were there go on"
            names.addresses["proxies"] = [one, four]
            eventually(lambda: four in str(watched.reports()), PATIENCE_S, "the others")


def test_a_machine_without_threads_to_spare_loses_ticks_and_no_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "scrape":
            raise RuntimeError("can't start new thread")
        real(thread)

    with Target() as target, watch(target.url) as watched:
        watched.wait_for(2)
        monkeypatch.setattr(threading.Thread, "start", start)
        watched.reason("can't start new thread; allow")
        tick = watched.report().last_scrape_ms
        eventually(
            lambda: watched.report().last_scrape_ms > tick + 2 * Collector.MAX_UNDER_WAY * TICK_MS,
            PATIENCE_S,
            "more failures than look-ups may hang",
        )
        target.requests += 9
        monkeypatch.undo()
        watched.wait_for(2)
        assert watched.report().health == "up"
        assert increase(watched.snapshots()) == pytest.approx(9)


def test_a_replica_that_stays_keeps_its_counters_while_others_change() -> None:
    with replicas(2) as targets:
        names = Names(proxies=[targets[0].host])
        with watch_names(f"dns+http://proxies:{targets[0].port}/metrics", names) as watched:
            watched.wait_for(2)
            targets[0].requests += 11
            names.addresses["proxies"] = [targets[1].host, targets[0].host]
            eventually(lambda: requests_of(watched) == 211, PATIENCE_S, "both replicas")
            assert increase(watched.snapshots()) == pytest.approx(11, rel=0.6)


LOOKUP_FAILURES = {
    "the name server does not answer": socket.gaierror(socket.EAI_AGAIN, "Try again"),
    "the look-up fails": socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"),
    "the system fails": OSError(24, "Too many open files"),
    "the name has an empty label": UnicodeError("label empty or too long"),
}


@pytest.mark.parametrize("failure", LOOKUP_FAILURES.values(), ids=list(LOOKUP_FAILURES))
def test_a_failing_look_up_keeps_the_replicas_known(failure: Exception) -> None:
    with replicas(2) as targets:
        names = Names(proxies=[targets[0].host])
        with watch_names(f"dns+http://proxies:{targets[0].port}/metrics", names) as watched:
            watched.wait_for(1)
            names.addresses["proxies"] = failure
            asked = len(names.asked)
            eventually(lambda: len(names.asked) > asked + 1, PATIENCE_S, "more look-ups")
            watched.wait_for(1)
            names.addresses["proxies"] = [t.host for t in targets]
            eventually(lambda: requests_of(watched) == 200, PATIENCE_S, "the look-up to recover")


@pytest.mark.parametrize("failure", LOOKUP_FAILURES.values(), ids=list(LOOKUP_FAILURES))
def test_a_look_up_that_never_worked_is_reported(failure: Exception) -> None:
    with Target() as target:
        names = Names(proxies=failure)
        urls = f"dns+http://proxies:{target.port}/metrics"
        with watch_names(urls, names) as watched:
            assert watched.reason()
            assert watched.snapshots() == []
            names.addresses["proxies"] = [target.host]
            watched.wait_for(1)
            assert watched.report().health == "up"


def test_a_name_that_is_gone_takes_its_replicas_along() -> None:
    with replicas(1) as targets:
        names = Names(proxies=[targets[0].host])
        with watch_names(f"dns+http://proxies:{targets[0].port}/metrics", names) as watched:
            watched.wait_for(1)
            names.addresses["proxies"] = socket.gaierror(socket.EAI_NONAME, "Name not known")
            watched.reason("resolve")


def test_a_name_that_cannot_exist_is_reported_by_the_real_look_up() -> None:
    with watch("dns+http://a..b:8080/metrics", kind=QuickCollector) as watched:
        assert watched.reason()


def test_a_real_name_is_looked_up() -> None:
    with Target() as target, watch(f"dns+http://localhost:{target.port}/metrics") as watched:
        watched.wait_for(1)
        assert any("127.0.0.1" in label for label in watched.reports())


def test_a_hanging_look_up_of_one_name_does_not_keep_another_from_being_found() -> None:
    release = threading.Event()

    def resolve(host: str, port: int) -> tuple[str, ...]:
        if host == "stuck":
            release.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "Try again")
        return ("127.0.0.1",)

    with Target() as target:
        urls = f"blue=dns+http://stuck:1/metrics,green=dns+http://fine:{target.port}/metrics"
        try:
            with watch_names(urls, resolve) as watched:
                watched.wait_for(2, "green")
        finally:
            release.set()


def test_threads_do_not_pile_up_while_a_name_look_up_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """getaddrinfo() knows no deadline: a dead name server holds each caller for many seconds."""
    release, real = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "stuck":
            release.wait(60)
            host = "127.0.0.1"
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with Target() as target, Target() as other:
        urls = f"blue=http://stuck:{target.port}/metrics,green={other.url}"
        try:
            with watch(urls) as watched:
                watched.wait_for(12, "green")
                eventually(lambda: len(scrape_threads()) <= 6, what="few threads")
                assert watched.reports()[f"http://stuck:{target.port}/metrics"].health == "down"
                watched.wait_until_prompt(0.1, "green")
                release.set()
                watched.wait_for(2, "blue")  # and when it answers again, so does the target
        finally:
            release.set()
    eventually(lambda: not scrape_threads(), PATIENCE_S, "the scrapes' threads to end")


def test_a_collector_closes_at_once_however_many_look_ups_hang() -> None:
    """zaidash has five seconds to stop, and a dead name server is dead for every name."""
    release = threading.Event()
    targets = ",".join(f"dns+http://stuck{i}:1/metrics" for i in range(6))
    hanging: list[str] = []

    def resolve(host: str, port: int) -> tuple[str, ...]:
        hanging.append(host)
        release.wait(30)
        return ()

    def close_s() -> float:
        hanging.clear()
        with watch(targets, resolve=resolve):
            eventually(lambda: len(hanging) == 6, PATIENCE_S, "six look-ups")
            started_s = time.monotonic()
        return time.monotonic() - started_s

    try:
        assert quickest_s(close_s, 2.5) < 2.5
    finally:
        release.set()


# --------------------------------------------------------------------------------------
# Health
# --------------------------------------------------------------------------------------


def test_a_flip_of_health_is_told_once_with_its_reason() -> None:
    assert quickest_s(flip_s, 2.5) < 2.5


def flip_s() -> float:
    """Let a target fail and recover; return how long after its last snapshot it was told."""
    settings = {"SCRAPE_INTERVAL": "250ms", "SCRAPE_TIMEOUT": "250ms"}
    with Target() as target, watch(target.url, settings) as watched:
        watched.wait_for(2)
        assert watched.statuses == [("production", True, None)]
        target.reply = says(answer(b"", status="503 Gone Fishing"))
        eventually(lambda: len(watched.statuses) == 2, PATIENCE_S, "the flip")
        after_s = time.monotonic() - watched.arrivals[-1].mono_s
        variant, healthy, error = watched.statuses[1]
        assert (variant, healthy) == ("production", False)
        assert "503 Gone Fishing" in (error or "")
        # Three ticks without a snapshot, not one bad scrape.
        assert after_s > 0.45
        target.reply = good
        eventually(lambda: len(watched.statuses) == 3, PATIENCE_S, "the flip back")
        assert watched.statuses[2] == ("production", True, None)
        return after_s


def test_one_bad_scrape_does_not_flip_the_health() -> None:
    turn = [0]

    def reply(target: Target, connection: socket.socket) -> None:
        turn[0] += 1
        (says(answer(b"", status="500 No")) if turn[0] % 2 else good)(target, connection)

    settings = {"SCRAPE_INTERVAL": "250ms", "SCRAPE_TIMEOUT": "250ms"}
    with Target(reply) as target, watch(target.url, settings) as watched:
        watched.wait_for(3)
        assert [healthy for _, healthy, _ in watched.statuses] == [True]


def test_the_health_of_one_variant_says_nothing_of_another() -> None:
    settings = {"SCRAPE_INTERVAL": "200ms", "SCRAPE_TIMEOUT": "200ms"}
    with ExitStack() as stack:
        one, two = (stack.enter_context(Target(reply)) for reply in (good, says(b"")))
        with watch(f"blue={one.url},green={two.url}", settings) as watched:
            watched.wait_for(4, "blue")
            assert {variant for variant, _, _ in watched.statuses} == {"blue"}
            variants = watched.collector.variants
            assert watched.collector.is_healthy(variants["blue"])
            assert not watched.collector.is_healthy(variants["green"])
            assert watched.collector.error(variants["blue"]) is None
            assert watched.collector.error(variants["green"])


# --------------------------------------------------------------------------------------
# Clocks
# --------------------------------------------------------------------------------------


class WallClock:
    """The machine's clock, which a test may set."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset_s


JUMPS_S = {
    "an hour ahead": 3_600.0,
    "an hour back": -3_600.0,
    "a week back": -604_800.0,
    "a bit more than a tick ahead": 1.5 * TICK_MS / 1_000,
    "a bit more than a tick back": -1.5 * TICK_MS / 1_000,
    "half a tick ahead": 0.5 * TICK_MS / 1_000,
    "half a tick back": -0.5 * TICK_MS / 1_000,
}


class Jump(NamedTuple):
    """A run in which the wall clock was set, about in its middle, from shortly before that."""

    jump_s: float
    arrivals: list[Arrival]
    jumped_s: float  # when, on the monotonic clock
    ended_s: float
    ended_wall_s: float  # what the clock then showed


@pytest.fixture(scope="module")
def jumps() -> dict[str, Jump]:
    """One run for each jump of the table, all at the same time.

    The targets count 1,000 requests a second of real time.
    """
    started_s = time.monotonic()

    def reply(target: Target, connection: socket.socket) -> None:
        target.requests = round((time.monotonic() - started_s) * 1_000)
        good(target, connection)

    with ExitStack() as stack:
        walls = {name: WallClock() for name in JUMPS_S}
        targets = {name: stack.enter_context(Target(reply)) for name in JUMPS_S}
        runs = {
            name: stack.enter_context(watch(targets[name].url, EASY, wall=walls[name]))
            for name in JUMPS_S
        }
        jumped_s, made = {}, {}
        for name, watched in runs.items():
            watched.wait_until_steady(0)
            jumped_s[name] = time.monotonic()
            walls[name].offset_s = JUMPS_S[name]
        for name, watched in runs.items():
            watched.wait_until_steady(jumped_s[name])
            watched.collector.close()
            before = sum(arrival.mono_s <= jumped_s[name] for arrival in watched.arrivals)
            made[name] = Jump(
                JUMPS_S[name],
                watched.arrivals[max(0, before - 4) :],
                jumped_s[name],
                time.monotonic(),
                walls[name](),
            )
        return made


@pytest.fixture(params=JUMPS_S, ids=list(JUMPS_S))
def jump(request: pytest.FixtureRequest, jumps: dict[str, Jump]) -> Jump:
    return jumps[request.param]


def test_a_wall_clock_that_jumps_makes_no_rate_wrong(jump: Jump) -> None:
    snapshots = [arrival.snapshot for arrival in jump.arrivals]
    rates = [number(snapshot, "req_rate") for snapshot in snapshots[1:]]
    # A reply that is late by some of a tick's 100 ms makes one rate higher and the next one lower.
    assert statistics.median(rates) == pytest.approx(1_000, rel=0.1)
    assert increase(snapshots[1:]) == pytest.approx(
        number(snapshots[-1], "requests_2xx") - number(snapshots[0], "requests_2xx")
    )
    covered_s = math.fsum(number(snapshot, "elapsed_s") for snapshot in snapshots[1:])
    took_s = jump.arrivals[-1].mono_s - jump.arrivals[0].mono_s
    assert covered_s == pytest.approx(took_s, abs=0.25)
    assert all(number(snapshot, "elapsed_s") > 0 for snapshot in snapshots[1:])


def test_a_wall_clock_that_jumps_neither_stops_the_ticks_nor_doubles_them(jump: Jump) -> None:
    after = [arrival for arrival in jump.arrivals if arrival.mono_s > jump.jumped_s]
    took_s = jump.ended_s - jump.jumped_s
    assert len(after) >= 4, "the ticks wait for the clock to come round again"
    assert len(after) <= took_s / (TICK_MS / 1_000) + 2, "a burst makes up for the time skipped"
    assert all(arrival.snapshot.ts_ms % TICK_MS == 0 for arrival in jump.arrivals)
    last_ms = after[-1].snapshot.ts_ms
    assert 0 <= jump.ended_wall_s * 1_000 - last_ms < 2_000, "the ticks follow the clock"


def test_no_tick_comes_twice_when_the_clock_is_set_by_less_than_a_tick(
    jumps: dict[str, Jump],
) -> None:
    for jump in jumps.values():
        if jump.jump_s > -TICK_MS / 1_000:
            ticks = [arrival.snapshot.ts_ms for arrival in jump.arrivals]
            assert ticks == sorted(set(ticks))


def test_a_late_round_does_not_come_after_the_next_one() -> None:
    """The clock is set ahead while a replica hangs: the next tick is done before this one.

    The same happens by itself where SCRAPE_TIMEOUT is the interval and a tick starts some
    milliseconds late.
    """
    wall, hang_once = WallClock(), threading.Event()

    def slow(target: Target, connection: socket.socket) -> None:
        if hang_once.is_set():
            hang_once.clear()
            target.stopping.wait(20)
        else:
            good(target, connection)

    def lazy(target: Target, connection: socket.socket) -> None:
        target.stopping.wait(0.2)  # its end wakes the collector in the middle of a round
        good(target, connection)

    settings = {"SCRAPE_INTERVAL": "400ms", "SCRAPE_TIMEOUT": "400ms"}
    with Target() as one, Target(slow) as two, Target(lazy) as three:
        urls = f"blue={one.url},blue={two.url},green={three.url}"
        with watch(urls, settings, wall=wall) as watched:
            watched.wait_for(2, "blue")
            hang_once.set()
            eventually(lambda: not hang_once.is_set(), PATIENCE_S, "the scrape that hangs")
            wall.offset_s += 0.32
            watched.wait_for(3, "blue")
            assert watched.timestamps("blue") == sorted(set(watched.timestamps("blue")))
            elapsed_s = [number(s, "elapsed_s") for s in watched.snapshots("blue")[1:]]
            assert all(one_s > 0 for one_s in elapsed_s), elapsed_s


# --------------------------------------------------------------------------------------
# The end
# --------------------------------------------------------------------------------------

UNDER_WAY = {
    "a hang": hangs_after(b""),
    "a drip": drips_after(b"HTTP/1.1 200 OK\r\n", b"x" * 9_000),
    "a good scrape": good,
}


@pytest.mark.parametrize("reply", UNDER_WAY.values(), ids=list(UNDER_WAY))
def test_closing_is_prompt_whatever_is_under_way(reply: Reply) -> None:
    assert quickest_s(partial(close_s, reply), 1.0) < 1.0


def close_s(reply: Reply) -> float:
    """Close a collector in the middle of a scrape; return how long that took."""
    settings = {"SCRAPE_INTERVAL": "30s", "SCRAPE_TIMEOUT": "30s"}
    wall = WallClock()
    wall.offset_s = 30 - time.time() % 30 - 0.2  # the tick comes at once
    with Target(reply) as target, watch(target.url, settings, wall=wall) as watched:
        eventually(lambda: target.heads, PATIENCE_S, "the scrape")
        started_s = time.monotonic()
        watched.collector.close()
        watched.collector.close()
        took_s = time.monotonic() - started_s
        eventually(lambda: not scrape_threads(), PATIENCE_S, "the scrape's thread to end")
        count = len(watched.arrivals)
    assert len(watched.arrivals) == count
    return took_s


def test_nothing_is_scraped_after_closing() -> None:
    settings = {"SCRAPE_INTERVAL": "100ms"}
    with Target() as target, watch(target.url, settings) as watched:
        watched.wait_for(2)
        watched.collector.close()
        eventually(lambda: not scrape_threads(), PATIENCE_S, "the last scrape to end")
        asked, told = len(target.heads), len(watched.arrivals)
        threading.Event().wait(0.5)  # five ticks
        assert (len(target.heads), len(watched.arrivals)) == (asked, told)


def test_a_collector_that_never_started_closes() -> None:
    collector = Collector(make_config("http://127.0.0.1:9/metrics"), print, print)
    collector.close()
    collector.close()


# --------------------------------------------------------------------------------------
# Last, for where it fails, its threads keep a processor busy for a while
# --------------------------------------------------------------------------------------


def test_a_body_of_countless_tiny_gzip_members_ends_with_its_deadline() -> None:
    """Copying the rest after every member takes the square of their number."""
    member = gzip.compress(b"")
    bomb = answer(member * (4_000_000 // len(member)), GZIP)

    def end_s() -> float:
        with Target(says(bomb)) as target, watch(target.url) as watched:
            watched.reason()
            started_s = time.monotonic()
            watched.collector.close()
            eventually(lambda: not scrape_threads(), PATIENCE_S, "the scrape's thread to end")
        return time.monotonic() - started_s

    assert quickest_s(end_s, 4) < 4
