"""Fire: attacks on a real zaidash in any amount, and what has to hold meanwhile and afterwards.

Each function takes how much of it there is to be, fails with an AssertionError where zaidash does
not hold, and returns in a sentence what it measured. `test_fire.py` runs them small,
`bench/fire.py` in full. What is random comes from a seed, which a failure names.
"""

from __future__ import annotations

import json
import math
import random
import re
import resource
import shutil
import socket
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from fake_proxy import FakeProxy, generate_traffic
from needs import give_up
from support import Zaidash, eventually, run_zaidash
from test_collector import BAD_ANSWERS, STORM, variant_of
from test_collector import Target as RawTarget
from test_collector import good as answer_well
from test_faults import (
    DEEDS,
    HOUR_MS,
    MINUTE_MS,
    PATIENCE_S,
    TICK_MS,
    Viewer,
    assert_goes_on,
    assert_nothing_is_lost,
    assert_sound,
    bring_back_the_last_hour,
    dashboard,
    history,
    is_ready,
    kill_after,
    make_yesterday,
    now_ms,
    sql,
    storage_problem,
    stored,
    write_history,
)

from zaidash import App, ScrapeError, Target, VariantState, load_config, parse_target

PAGE = 4_096


def resident_bytes(pid: int | str = "self") -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


def thread_count(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def waited_for_cpu_s(pid: int) -> float:
    """How long the threads of a process were ready to run and had to wait for a processor."""
    waits_ns = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            waits_ns.append(int((task / "schedstat").read_text().split()[1]))
    return sum(waits_ns) / 1e9


def mb(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def assert_no_traceback(zaidash: Zaidash) -> None:
    assert "Traceback" not in zaidash.stderr(), zaidash.stderr()[-4_000:]


# --------------------------------------------------------------------------------------
# kill -9
# --------------------------------------------------------------------------------------

BACKLOG_MINUTES = 20
#: Such that averaging what a start finds takes a moment in which to be killed.
BACKLOG_STEP_MS = 250


def kill_at_random_moments(directory: Path, kills: int, seed: int) -> str:
    """Kill zaidash while it writes, averages and deletes; look into the file each time.

    Every other time it is killed in its first second, with minutes of another day to average, the
    older of which are past their retention; else while a viewer notes what it shows.
    """
    path = directory / "zaidash.db"
    rng = random.Random(seed)
    begin_ms = now_ms() // MINUTE_MS * MINUTE_MS - 20 * HOUR_MS
    seen: set[int] = set()
    newest: set[int] = set()
    settings = {"DOWNSAMPLE_INTERVAL": "1s", "RETENTION_5S": "10h"}
    with FakeProxy() as proxy:
        for number in range(kills):
            first_ms = begin_ms + number * BACKLOG_MINUTES * MINUTE_MS
            last_ms = first_ms + BACKLOG_MINUTES * MINUTE_MS
            write_history(path, *history(first_ms, last_ms, BACKLOG_STEP_MS), minutes=False)
            if number % 2:
                kill_after(rng.uniform(0.05, 1.0), proxy, path, **settings)
            else:
                with dashboard(proxy, path, is_measured=False, **settings) as (zaidash, viewer):
                    viewer.wait_for(2)
                    waited_s = waited_for_cpu_s(zaidash.pid)
                    threading.Event().wait(rng.uniform(0, 1.3))
                    # The whole ticks that a busy machine kept it from writing in; mostly none.
                    waited_s = waited_for_cpu_s(zaidash.pid) - waited_s
                    ticks_late = int(1_000 * waited_s / TICK_MS)
                    zaidash.kill()
                seen |= set(viewer.seen)
                # The newest, and what is not older than a tick.
                newest |= set(viewer.seen[-2 - ticks_late :])
            assert_sound(path)
            missing = seen - stored(path)
            assert missing <= newest, (
                f"kill {number}, seed {seed}: {len(missing - newest)} snapshots are gone that were"
                " shown more than a tick before"
            )
        with dashboard(proxy, path, is_measured=False, **settings):
            averaged = partial(minutes_between, path, begin_ms, last_ms)
            wanted = kills * BACKLOG_MINUTES
            eventually(lambda: len(averaged()) >= wanted, PATIENCE_S, f"{wanted} minutes")
    rows = MINUTE_MS // BACKLOG_STEP_MS
    expected = [(begin_ms + n * MINUTE_MS, 5 * rows) for n in range(wanted)]
    assert averaged() == expected, f"seed {seed}: a minute is missing, double or averaged in part"
    assert not different_minutes(path), f"seed {seed}: {different_minutes(path)}"
    return (
        f"{len(seen)} snapshots shown, {len(seen - stored(path))} of the last ticks missing;"
        f" {wanted} minutes once each; seed {seed}"
    )


def minutes_between(path: Path, start_ms: int, end_ms: int) -> list[Any]:
    return sql(
        path,
        "SELECT ts, elapsed_s FROM metrics_1m WHERE ts >= ? AND ts < ? ORDER BY ts",
        start_ms,
        end_ms,
    )


def different_minutes(path: Path) -> list[Any]:
    """Minutes that are not what their snapshots give, where these are there."""
    return sql(
        path,
        "SELECT minute.ts FROM metrics_1m AS minute JOIN ("
        " SELECT variant, ts / 60000 * 60000 AS ts, SUM(elapsed_s) AS elapsed_s,"
        " SUM(req_rate * elapsed_s) AS requests"
        " FROM metrics_5s GROUP BY 1, 2) AS snapshots USING (variant, ts)"
        " WHERE abs(minute.elapsed_s - snapshots.elapsed_s) > 0.001"
        " OR abs(minute.req_rate * minute.elapsed_s - snapshots.requests) > 0.001",
    )


# --------------------------------------------------------------------------------------
# A disk that is full
# --------------------------------------------------------------------------------------


@contextmanager
def small_file_system(directory: Path) -> Iterator[Path]:
    """A file system of 2 MB in memory; needs root."""
    volume = directory / "volume"
    volume.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "zaidash-test", str(volume)]
    done = subprocess.run(mount, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode:
        give_up(f"no file system can be mounted: {done.stderr.strip()}")
    try:
        yield volume
    finally:
        subprocess.run(["umount", "--lazy", str(volume)], check=True, timeout=PATIENCE_S)


def fill_the_disk(directory: Path, times: int) -> str:
    """Fill a small file system to its last byte and empty it again."""
    with small_file_system(directory) as volume:
        return fill_again_and_again(volume, times)


def fill_again_and_again(volume: Path, times: int) -> str:
    filler = volume / "filler"
    noticed_s, healed_s = [], []
    with FakeProxy() as proxy, dashboard(proxy, volume / "zaidash.db") as (zaidash, viewer):
        viewer.wait_for(2)
        for _ in range(times):
            started_s = time.monotonic()
            eventually(partial(is_told_of, zaidash, filler), PATIENCE_S, "/readyz to say so")
            noticed_s.append(time.monotonic() - started_s)
            assert "full" in storage_problem(zaidash), storage_problem(zaidash)
            assert_goes_on(zaidash, viewer)
            filler.unlink()
            started_s = time.monotonic()
            eventually(lambda: not storage_problem(zaidash), PATIENCE_S, "/readyz to be well")
            healed_s.append(time.monotonic() - started_s)
            assert_nothing_is_lost(zaidash, viewer)
        assert_no_traceback(zaidash)
    return f"told within {max(noticed_s):.1f} s, written within {max(healed_s):.1f} s of its end"


def is_told_of(zaidash: Zaidash, filler: Path) -> bool:
    """Take what room there is, also what was freed meanwhile."""
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * PAGE)
    return bool(storage_problem(zaidash))


# --------------------------------------------------------------------------------------
# What somebody does to the file
# --------------------------------------------------------------------------------------


def survive_deeds(directory: Path) -> str:
    """Do to a database in use all that `test_faults.DEEDS` knows, to another one each time."""
    yesterday = directory / "yesterday.db"
    make_yesterday(yesterday)
    times_s = []
    with FakeProxy() as proxy:
        for number, deed in enumerate(DEEDS):
            path = directory / str(number) / "zaidash.db"
            path.parent.mkdir()
            shutil.copyfile(yesterday, path)
            times_s.append(bring_back_the_last_hour(proxy, path, deed.values[0]))
    return f"within {max(times_s):.1f} s, told each time"


# --------------------------------------------------------------------------------------
# A clock that is set
# --------------------------------------------------------------------------------------


class Watcher(Viewer):
    """A viewer that goes away in the end."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()


#: An hour forth, right again, an hour back, right again.
OFFSETS_S = (3_600.0, 0.0, -3_600.0, 0.0)
#: Requests a second of real time that the target counts.
STEADY_RATE = 1_000


class Clock:
    """The machine's clock, as somebody sets it."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset_s


def set_the_clock(directory: Path, stay_s: float) -> str:
    """Set the wall clock an hour forth, right, back and right, and stay at each for a while."""
    path = directory / "zaidash.db"
    old = [*history(now_ms() - 22 * HOUR_MS, now_ms() - 3 * HOUR_MS, 30_000)]
    write_history(path, *old)
    minutes = sql(path, "SELECT * FROM metrics_1m ORDER BY ts")
    clock, started_s = Clock(), time.monotonic()

    def count_steadily(target: RawTarget, connection: socket.socket) -> None:
        target.requests = round((time.monotonic() - started_s) * STEADY_RATE)
        answer_well(target, connection)

    with ExitStack() as stack:
        target = stack.enter_context(RawTarget(count_steadily))
        app = stack.enter_context(running(path, target.url, clock))
        viewer = stack.enter_context(Watcher(app.server.server_port))
        viewer.wait_for(3)
        last_id, already = viewer.last_id, len(viewer.seen)
        for offset_s in OFFSETS_S:
            clock.offset_s = offset_s
            before = len(viewer.seen)
            ends_s = time.monotonic() + stay_s
            while time.monotonic() < ends_s or len(viewer.seen) < before + 3:
                assert time.monotonic() < ends_s + PATIENCE_S, "no snapshot comes any more"
                time.sleep(0.02)
        missed = viewer.seen[already:]
        again = stack.enter_context(Watcher(app.server.server_port, last_id))
        eventually(lambda: again.seen[: len(missed)] == missed, PATIENCE_S, "what was missed")
        assert all(status["healthy"] for status in viewer.statuses), viewer.statuses
        shown = list(viewer.snapshots)
        eventually(lambda: not app.store.waiting, PATIENCE_S, "the writer")
    check_rates(shown)
    assert {one["timestamp"] for one in shown} <= stored(path), "a snapshot was not stored"
    assert {one.ts_ms for one in old} <= stored(path), "retention took what was not past it"
    kept = sql(path, "SELECT * FROM metrics_1m WHERE ts <= ? ORDER BY ts", minutes[-1][1])
    assert kept == minutes, "minutes changed"
    assert_sound(path)
    return f"{len(shown)} snapshots, all right, stored, and replayed to who had missed them"


@contextmanager
def running(path: Path, url: str, wall: Callable[[], float]) -> Iterator[App]:
    """An App in this process, whose clock can be set."""
    environment = {
        "LISTEN_ADDR": "127.0.0.1:0",
        "DB_PATH": str(path),
        "SCRAPE_TARGETS": url,
        "SCRAPE_INTERVAL": "500ms",
        "DOWNSAMPLE_INTERVAL": "1s",
    }
    app = App(load_config([], environment)[0], wall=wall)
    app.start()
    try:
        yield app
    finally:
        app.stop()


def check_rates(snapshots: Sequence[dict[str, Any]]) -> None:
    """No rate is wrong, and together they tell of every request."""
    first, *others = snapshots
    assert all(one["elapsed_s"] > 0 for one in others)
    rates = [one["req_rate"] for one in others]
    assert abs(statistics.median(rates) - STEADY_RATE) < 0.1 * STEADY_RATE, rates
    told = sum(one["req_rate"] * one["elapsed_s"] for one in others)
    happened = snapshots[-1]["requests_2xx"] - first["requests_2xx"]
    assert abs(told - happened) < 0.01 * happened, (told, happened)


# --------------------------------------------------------------------------------------
# Targets that mean harm
# --------------------------------------------------------------------------------------


def scrape_hostile_targets(seconds: float, interval_s: int) -> str:
    """Let every bad answer there is come at every tick, beside a good target."""
    with ExitStack() as stack:
        targets = {variant_of(case): stack.enter_context(RawTarget()) for case in BAD_ANSWERS}
        proxy = stack.enter_context(FakeProxy("good"))
        urls = [f"{variant}={target.url}" for variant, target in targets.items()]
        env = {
            **STORM,
            "SCRAPE_TARGETS": ",".join([f"good={proxy.url}", *urls]),
            "SCRAPE_INTERVAL": f"{interval_s}s",
            "SCRAPE_TIMEOUT": f"{800 * interval_s}ms",
        }
        zaidash = stack.enter_context(run_zaidash(env=env))
        eventually(lambda: states(zaidash) == {"up"}, PATIENCE_S, "every target to be scraped")
        for target, bad in zip(targets.values(), BAD_ANSWERS.values(), strict=True):
            target.reply = bad.reply
        eventually(partial(is_storm, zaidash), PATIENCE_S, "every bad answer to be told")
        viewer = Viewer(zaidash.port)
        before_bytes, ends_s, times_s = resident_bytes(zaidash.pid), time.monotonic() + seconds, []
        for number in count():
            if time.monotonic() > ends_s:
                break
            proxy.request(200)
            started_s = time.monotonic()
            assert zaidash.get("/api/status").status == 200
            times_s.append(time.monotonic() - started_s)
            if number % 10 == 0:
                assert is_storm(zaidash), zaidash.json("/api/targets")
            threading.Event().wait(0.05)
        ticks = [s["timestamp"] for s in viewer.snapshots if s["variant"] == "good"]
        grown_bytes = resident_bytes(zaidash.pid) - before_bytes
        gaps = [b - a for a, b in pairwise(ticks) if b - a != 1_000 * interval_s]
        assert len(ticks) >= seconds / interval_s - 2 and not gaps, (
            f"the good target missed ticks: {gaps}"
        )
        for target in targets.values():
            target.reply = answer_well
        eventually(lambda: states(zaidash) == {"up"}, PATIENCE_S, "everybody to recover")
        assert_no_traceback(zaidash)
        zaidash.terminate()
        viewer.close()
    assert grown_bytes < 50e6, f"memory grew by {mb(grown_bytes)}"
    return (
        f"{len(BAD_ANSWERS)} bad targets, the good one at all of {len(ticks)} ticks; /api/status in"
        f" {ms(statistics.median(times_s))} (most: {ms(max(times_s))}), {mb(grown_bytes)} more"
    )


def states(zaidash: Zaidash) -> set[str]:
    return {target["health"] for target in zaidash.json("/api/targets")}


def is_storm(zaidash: Zaidash) -> bool:
    """Whether the good target is up, and of every other one the reason is told why it is not."""
    return all(
        target["health"] == ("up" if target["variant"] == "good" else "down")
        and bool(target["last_error"]) == (target["variant"] != "good")
        for target in zaidash.json("/api/targets")
    )


# --------------------------------------------------------------------------------------
# A crowd of clients that mean harm
# --------------------------------------------------------------------------------------

#: How a request may begin that never ends.
HALVES = (
    b"",
    b"G",
    b"\r\n",
    b"GET / HTTP/1.1\r\n",
    b"GET /api/status HTTP/1.1\r\nHost: x\r\n",
    b"GET /api/events HTTP/1.1\r\nHost: x\r\nCookie: ",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /" + b"a" * 8_000,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n",
)
STREAM = b"GET /api/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: production=1\r\n\r\n"
DRIP_S = 0.5


class Crowd:
    """Connections that drip and never finish a request, and streams that nobody reads.

    Who is shut out comes back at once. One thread; close() ends it.
    """

    def __init__(self, port: int, halves: int, streams: int) -> None:
        self.shut_out = 0
        self._port = port
        self._halves = [self._connect(number) for number in range(halves)]
        self._streams = [self._stream() for _ in range(streams)]
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()

    def close(self) -> None:
        self._done.set()
        self._thread.join(PATIENCE_S)
        for connection in (*self._halves, *self._streams):
            connection.close()

    def _connect(self, number: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
        connection.sendall(HALVES[number % len(HALVES)])
        connection.setblocking(False)
        return connection

    def _stream(self) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(PATIENCE_S)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PAGE)
        connection.connect(("127.0.0.1", self._port))
        connection.sendall(STREAM)
        assert connection.recv(12) == b"HTTP/1.1 200"
        return connection

    def _drip(self) -> None:
        while not self._done.wait(DRIP_S):
            for number, connection in enumerate(self._halves):
                if self._is_shut_out(connection):
                    self.shut_out += 1
                    connection.close()
                    self._halves[number] = self._connect(number)

    def _is_shut_out(self, connection: socket.socket) -> bool:
        try:
            connection.send(b"a")
            while data := connection.recv(65_536):
                del data
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True


def crowd_out(
    directory: Path, halves: int, streams: int, questions: int, most_s: float = math.inf
) -> str:
    """Ask for the page and the status on connections of their own while the crowd is there.

    All but one in a hundred answers take at most `most_s`, and half of them 100 ms in any case, or
    where that is more, five times as long as without the crowd.
    """
    path = directory / "zaidash.db"
    write_history(path, *history(now_ms() - HOUR_MS, now_ms()))
    with FakeProxy() as proxy:
        env = {"SCRAPE_TARGETS": proxy.url, "SCRAPE_INTERVAL": "1s", "DB_PATH": str(path)}
        with run_zaidash(env=env) as zaidash:
            alone_s = ask(zaidash, questions)
            crowd = Crowd(zaidash.port, halves, streams)
            try:
                assert own(zaidash, "zaidash_streams") == streams
                before_bytes = resident_bytes(zaidash.pid)
                times_s = ask(zaidash, questions)
                threads = thread_count(zaidash.pid)
                grown_bytes = resident_bytes(zaidash.pid) - before_bytes
                with Watcher(zaidash.port) as watcher:
                    watcher.wait_for(2)
                shut_out = crowd.shut_out
            finally:
                crowd.close()
            assert_no_traceback(zaidash)
    assert threads < 30, f"{threads} threads"
    assert grown_bytes < 20e6, f"memory grew by {mb(grown_bytes)}"
    median_s, p99_s = quantiles_of(times_s)
    alone_median_s, alone_p99_s = quantiles_of(alone_s)
    # On a machine that is busy with something else, an answer takes its time without them as well.
    bound_s = max(0.1, 5 * alone_median_s)
    assert median_s < bound_s and p99_s < most_s, (
        f"an answer takes {ms(median_s)}, p99 {ms(p99_s)}; without them {ms(alone_median_s)}"
    )
    return (
        f"median {ms(median_s)}, p99 {ms(p99_s)} (without them {ms(alone_median_s)} and"
        f" {ms(alone_p99_s)}); {threads} threads, {shut_out} shut out"
    )


def run_out_of_files(directory: Path, files: int, connections: int, seconds: float) -> str:
    """Let more clients come than there may be open files, and come again when they are shut out."""
    path = directory / "zaidash.db"
    with FakeProxy() as proxy:
        env = {"SCRAPE_TARGETS": proxy.url, "SCRAPE_INTERVAL": "200ms", "DB_PATH": str(path)}
        with run_zaidash(env=env) as zaidash:
            eventually(partial(is_ready, zaidash), PATIENCE_S, "the first scrape")
            resource.prlimit(zaidash.pid, resource.RLIMIT_NOFILE, (files, files))
            crowd = Crowd(zaidash.port, connections, 0)
            try:
                before, ends_s = len(stored(path)), time.monotonic() + seconds
                questions = 0
                while time.monotonic() < ends_s:
                    assert zaidash.get("/api/status").status == 200
                    questions += 1
                eventually(lambda: len(stored(path)) >= before + 5, PATIENCE_S, "snapshots")
                told = zaidash.stderr().count("cannot accept")
            finally:
                crowd.close()
            assert_no_traceback(zaidash)
    assert told == 1, f"told {told} times"
    return f"{questions} answers, {crowd.shut_out} shut out, told once"


def own(zaidash: Zaidash, name: str) -> float:
    """The value of one of zaidash's own metrics, one without labels."""
    found = re.search(rf"^{name} (\S+)$", zaidash.get("/metrics").body.decode(), re.MULTILINE)
    assert found, name
    return float(found[1])


def ask(zaidash: Zaidash, questions: int) -> list[float]:
    """How long the page and the status take, turn by turn."""
    times_s = []
    for number in range(questions):
        started_s = time.monotonic()
        assert zaidash.get(("/", "/api/status")[number % 2]).status == 200
        times_s.append(time.monotonic() - started_s)
        threading.Event().wait(0.01)
    return times_s


def quantiles_of(times_s: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ordered = sorted(times_s)
    return statistics.median(ordered), ordered[int(0.99 * (len(ordered) - 1))]


# --------------------------------------------------------------------------------------
# Input that was made up
# --------------------------------------------------------------------------------------


def mutate(rng: random.Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the corpus with a few accidents, of which a part is a word that parsers trip over."""
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 5, 8))):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice((0, 1, 1, 2, 4, 16, 64, 256)))
        accident = rng.randrange(8)
        if accident == 0:
            data[at:to] = rng.randbytes(to - at)
        elif accident == 1:
            del data[at:to]
        elif accident == 2:
            data[at:at] = data[at:to] * rng.choice((1, 1, 2, 50))
        elif accident == 3:
            other = rng.choice(corpus)
            begin = rng.randrange(len(other) + 1)
            data[at:to] = other[begin : begin + 64]
        elif accident == 4:
            del data[at:]
        else:
            replace_field(rng, data, at, rng.choice(words))
    return bytes(data)


#: What a word takes the place of, from where the accident happens.
_FIELD = re.compile(rb"[^\s\"'=&?/,:{}]+")


def replace_field(rng: random.Random, data: bytearray, at: int, word: bytes) -> None:
    found = _FIELD.search(data, at)
    if found and rng.random() < 0.8:
        data[found.start() : found.end()] = word
    else:
        data[at:at] = word


NUMBERS = (
    *(b"0", b"-1", b"1", b"NaN", b"+Inf", b"-Inf", b"1e308", b"-1e308", b"1e-320", b"1e999"),
    *(
        b"9" * 400,
        b"0x10",
        b"1_000",
        b"1,5",
        b"1e+06",
        b".5",
        b"5.",
        b"--1",
        b"18446744073709551616",
    ),
)
SERIES_WORDS = (
    *NUMBERS,
    *(b"200", b"500", b"60", b"x", b"+Inf", b"zai_proxy_requests_total", b"le", b"status_code"),
    *(b"process_start_time_seconds", b"zai_proxy_request_duration_seconds_bucket", b"direction"),
    *(b"{", b"}", b'"', b"\\", b"\\n", b"\\x", b"=", b",", b"#", b"# EOF\n", b"# TYPE ", b"\n"),
    *(b"\r\n", b"\t", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xa8", "ü".encode()),
    *(b'{status_code="200"}', b" 1700000000000", b' # {trace_id="x"} 1', b"input", b"cache_read"),
)
GO_STYLE = b"""# HELP zai_proxy_requests_total Requests.
# TYPE zai_proxy_requests_total counter
zai_proxy_requests_total{method="POST",path="/v1/messages",status_code="200",variant="a"} 1.027e+06
zai_proxy_requests_total{status_code="500"} 3 1395066363000
zai_proxy_tokens_total{direction="input"} 1e+06
zai_proxy_tokens_total{direction="cache_read"} 12
zai_proxy_request_duration_seconds_bucket{le="0.005"} 1
zai_proxy_request_duration_seconds_bucket{le="1"} 7
zai_proxy_request_duration_seconds_bucket{le="+Inf"} 9
zai_proxy_request_duration_seconds_sum 12.5
zai_proxy_request_duration_seconds_count 9
zai_proxy_request_size_bytes_sum 1e4
zai_proxy_request_size_bytes_count 9
zai_proxy_concurrent_requests NaN
zai_proxy_max_workers 50
zai_proxy_worker_utilization_ratio 0.5
process_start_time_seconds 1.7e+09
"""


def scrape_made_up_expositions(inputs: int, seed: int) -> str:
    """Read accidents of expositions one after the other, as of one target, into snapshots."""
    rng = random.Random(seed)
    corpus = [GO_STYLE, GO_STYLE.replace(b"1.7e+09", b"1.8e+09"), *real_expositions(rng)]
    config = load_config([], {"DB_PATH": "unused.db", "SCRAPE_MAX_SERIES": "2000"})[0]
    target = Target(parse_target("production=http://127.0.0.1/metrics"), config)
    variant = VariantState("production", 1.0, 60.0)
    good, slowest_s, middle_bytes = 0, 0.0, 0
    for number in range(inputs):
        if number == inputs // 2:
            middle_bytes = resident_bytes()
        body = mutate(rng, corpus, SERIES_WORDS)
        started_s = time.thread_time()
        try:
            reading = target.state.read(target.parser.parse(body), float(number))
        except ScrapeError as error:
            assert str(error).isprintable() and len(str(error)) < 500, error
        except Exception as error:
            raise AssertionError(f"input {number}, seed {seed}: {error!r} of {body!r}") from error
        else:
            good += 1
            snapshot = variant.snapshot(number * 1_000, [reading])
            check_snapshot(snapshot.encoded, f"input {number}, seed {seed}")
        slowest_s = max(slowest_s, time.thread_time() - started_s)
    grown_bytes = resident_bytes() - middle_bytes
    assert slowest_s < 1, f"seed {seed}: one took {slowest_s:.2f} s"
    assert grown_bytes < 20e6, f"seed {seed}: {mb(grown_bytes)} more in the second half"
    assert inputs // 20 < good < inputs, "most inputs have to be neither good nor bad"
    return (
        f"{good} read, the others refused; slowest {ms(slowest_s)}; {mb(grown_bytes)} more in the"
        f" second half; seed {seed}"
    )


def real_expositions(rng: random.Random) -> Iterator[bytes]:
    """Of a proxy over its life, with a restart."""
    proxy = FakeProxy()
    for requests in (0, 5, 50):
        generate_traffic(proxy, rng, requests)
        yield proxy.exposition()
    proxy.restart()
    yield proxy.exposition()


def check_snapshot(encoded: bytes, which: str) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{which}: {constant} in {encoded!r}")

    values = json.loads(encoded, parse_constant=refuse)
    for name, value in values.items():
        is_number = isinstance(value, float | int)
        assert not (is_number and name.endswith(("rate", "_pct", "elapsed_s")) and value < 0), (
            f"{which}: {name} is {value}"
        )


_HEADERS = (
    b"Host: localhost\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\n"
)
PATHS = (
    b"/", b"/healthz", b"/readyz", b"/api/status", b"/api/config", b"/api/targets", b"/metrics",
    b"/api/metrics?range=5m", b"/api/metrics?range=24h&variant=all&format=columns&points=100",
    b"/api/metrics?start=1700000000000&end=2100000000000&fields=req_rate,latency_buckets",
    b"/api/metrics?range=1h&format=csv", b"/api/summary?range=1h&variant=production",
    b"/api/events", b"/api/openapi.json", b"/assets/index.js", b"/favicon.ico",
)  # fmt: skip
REQUESTS = (
    *(b"GET " + path + b" HTTP/1.1\r\n" + _HEADERS + b"\r\n" for path in PATHS),
    *(b"HEAD " + path + b" HTTP/1.0\r\n\r\n" for path in PATHS),
    b"GET /api/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: production=1700000000000@ab-1\r\n\r\n",
    b"POST /api/metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n",
    b'GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: "abc", W/"def"\r\n\r\n',
    b"GET http://x/api/status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /api/config HTTP/1.1\r\nHost: x\r\n\r\n",
)
REQUEST_WORDS = (
    *NUMBERS,
    *(b"%00", b"%", b"%zz", b"%ff%fe", b"..", b"../../etc/passwd", b"//", b"*", b"?", b"#", b";"),
    *(b"&range=1h", b"range=1h", b"start=0", b"end=99999999999999999999", b"points=1", b"fields=,"),
    *(b"variant=%27;DROP", b"format=csv", b"36500d", b"1h" * 100, b"1970-01-01T00:00:00Z", b"0001"),
    *(b"\r\n", b"\n", b"\r", b"\x00", b"\t", b" ", b"\xff", b": ", b"HTTP/1.0", b"HTTP/2.0"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: close\r\n", b"Upgrade: h2c\r\n", b"Range: bytes=0-\r\n", b"gzip;q=0", b"q=1e9"),
    *(
        b"A" * 20_000,
        b"a: b\r\n" * 120,
        b"CONNECT",
        b"OPTIONS",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ),
)
#: Every status there is a reason for; what is not here is a failure.
STATUSES = {200, 304, 400, 404, 405, 408, 414, 431, 505}
CLIENTS = 4


class Answers(NamedTuple):
    """What a client of the fuzzer got."""

    statuses: Counter[int]
    slowest_s: float


def send_made_up_requests(directory: Path, requests: int, seed: int) -> str:
    """Send accidents of requests, each on a connection of its own, read to its end."""
    path = directory / "zaidash.db"
    write_history(path, *history(now_ms() - 2 * HOUR_MS, now_ms(), 60_000))
    with FakeProxy() as proxy:
        env = {"SCRAPE_TARGETS": proxy.url, "DB_PATH": str(path), "LOG_LEVEL": "warning"}
        with run_zaidash(env=env) as zaidash, ThreadPoolExecutor(CLIENTS) as pool:

            def half(part: int) -> list[Answers]:
                seeds = range(seed + part, seed + part + 2 * CLIENTS, 2)
                work = [
                    pool.submit(send_some, zaidash.port, requests // CLIENTS // 2, one)
                    for one in seeds
                ]
                return [one.result() for one in work]

            eventually(partial(is_ready, zaidash), PATIENCE_S, "the first scrape")
            answers = half(0)
            middle_bytes = resident_bytes(zaidash.pid)
            answers += half(1)
            grown_bytes = resident_bytes(zaidash.pid) - middle_bytes
            assert zaidash.get("/api/status").status == 200
            eventually(lambda: own(zaidash, "zaidash_streams") == 0, PATIENCE_S, "streams to end")
            eventually(lambda: thread_count(zaidash.pid) < 10, PATIENCE_S, "threads to end")
            logged = zaidash.stderr()
            assert_no_traceback(zaidash)
            assert not logged, f"seed {seed}: {logged[-2_000:]}"
    statuses = sum((one.statuses for one in answers), Counter[int]())
    assert grown_bytes < 10e6, f"seed {seed}: {mb(grown_bytes)} more in the second half"
    assert statuses[200] > 0 and statuses[400] > 0, statuses
    told = ", ".join(f"{n} x {status}" for status, n in sorted(statuses.items()))
    slowest_s = max(one.slowest_s for one in answers)
    return (
        f"{told}; slowest {ms(slowest_s)}; {mb(grown_bytes)} more in the second half; seed {seed}"
    )


_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")


def send_some(port: int, requests: int, seed: int) -> Answers:
    rng = random.Random(seed)
    statuses: Counter[int] = Counter()
    slowest_s = 0.0
    for number in range(requests):
        request = mutate(rng, REQUESTS, REQUEST_WORDS)
        started_s = time.monotonic()
        try:
            received = exchange(port, request)
        except TimeoutError:
            raise AssertionError(f"request {number}, seed {seed} hangs: {request!r}") from None
        slowest_s = max(slowest_s, time.monotonic() - started_s)
        if received:
            found = _STATUS_LINE.match(received)
            assert found, f"request {number}, seed {seed}: {received[:80]!r} for {request!r}"
            status = int(found[1])
            assert status in STATUSES, f"request {number}, seed {seed}: {status} for {request!r}"
            statuses[status] += 1
    return Answers(statuses, slowest_s)


def exchange(port: int, request: bytes) -> bytes:
    """Send it, say that there is no more, and return what comes back up to the end."""
    received = []
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client,
        suppress(ConnectionError, BrokenPipeError),
    ):
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(65_536):
            received.append(data)
    return b"".join(received)
