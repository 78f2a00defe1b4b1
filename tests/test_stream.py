"""The live stream: exact bytes on the wire, nothing lost, nothing double, nobody waits for anybody.

Clients are raw sockets on a real App, so what is compared is what a browser would get. Where a
test needs a snapshot of its own, it publishes one through the hub, as the collector does.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import statistics
import struct
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fake_proxy import FakeProxy
from hypothesis import example, given
from hypothesis import strategies as st
from support import eventually, free_port, get

from zaidash import FIELDS, App, Hub, Snapshot, load_config, parse_event_id

#: How long a client waits for bytes that have to come.
PATIENCE_S = 60.0

#: Two variants, and nothing that listens: what is published is what the test publishes.
SILENT = "http://127.0.0.1:9/metrics,canary=http://127.0.0.1:9/canary"


# --------------------------------------------------------------------------------------
# A zaidash and its clients
# --------------------------------------------------------------------------------------


class Client:
    """A socket that asked for a stream, and reads it byte by byte or event by event."""

    def __init__(
        self,
        port: int,
        headers: Mapping[str, str] | None = None,
        path: str = "/api/events",
        version: str = "HTTP/1.1",
        receive_bytes: int | None = None,
        method: str = "GET",
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        if receive_bytes:  # before connecting, or it has no effect
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        fields = {"Host": "dashboard", "Accept": "text/event-stream", **(headers or {})}
        lines = [f"{method} {path} {version}", *(f"{k}: {v}" for k, v in fields.items())]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._received = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Go without a farewell, as a machine that loses its network does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def until(self, mark: bytes) -> bytes:
        """Return everything up to and with `mark`."""
        while mark not in self._received:
            more = self.socket.recv(65_536)
            assert more, f"the stream ended after {self._received!r}, before {mark!r}"
            self._received += more
        text, mark, self._received = self._received.partition(mark)
        return text + mark

    def exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            more = self.socket.recv(65_536)
            assert more, f"the stream ended after {self._received!r}"
            self._received += more
        data, self._received = self._received[:count], self._received[count:]
        return data

    def rest(self) -> bytes:
        """Return what comes until the server closes."""
        with suppress(ConnectionResetError):
            while more := self.socket.recv(65_536):
                self._received += more
        return self._received

    def head(self) -> tuple[str, dict[str, str]]:
        """Return the status line and the headers, names in lower case."""
        status, *lines = self.until(b"\r\n\r\n").decode().rstrip("\r\n").split("\r\n")
        return status, {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}

    def chunk(self) -> bytes:
        """Return the payload of the next chunk."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size + 2)
        assert data[-2:] == b"\r\n"
        return data[:-2]

    def greet(self) -> Client:
        """Read the header and the greeting."""
        status, _ = self.head()
        assert status == "HTTP/1.1 200 OK"
        assert b'"connected"' in self.chunk()
        return self

    def metrics(self) -> tuple[str, dict[str, Any]]:
        """Return the id and the snapshot of the next metrics event, past all others."""
        while True:
            payload = self.chunk()
            if match := METRICS.fullmatch(payload):
                return match["id"].decode(), json.loads(match["data"])


METRICS = re.compile(rb'id: (?P<id>[^\n]+)\ndata: \{"type":"metrics","data":(?P<data>[^\n]+)\}\n\n')


def chunk(payload: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(payload), payload)


def make_app(folder: Path, targets: str = SILENT, **settings: str) -> App:
    environ = {
        "LISTEN_ADDR": "127.0.0.1:0",
        "SCRAPE_TARGETS": targets,
        "DB_PATH": str(folder / "zaidash.db"),
        **settings,
    }
    return App(load_config([], environ)[0])


@contextmanager
def running(app: App) -> Iterator[App]:
    app.start()
    try:
        yield app
    finally:
        app.stop()


def port_of(app: App) -> int:
    return int(app.server.server_port)


def url_of(app: App, path: str) -> str:
    return f"http://127.0.0.1:{port_of(app)}{path}"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    with running(make_app(tmp_path)) as app:
        yield app


def now_ms() -> int:
    return round(time.time() * 1000)


def snapshot(ts_ms: int, variant: str = "production") -> Snapshot:
    return Snapshot.build(ts_ms, variant, [None] * len(FIELDS))


def bulky(ts_ms: int, size: int = 8_192) -> Snapshot:
    """A snapshot far larger than real ones, so that limits are reached soon."""
    rates = {"x" * size: 1.0}
    values = [rates if field.name == "status_code_rates" else None for field in FIELDS]
    return Snapshot.build(ts_ms, "production", values)


def open_streams(app: App, count: int) -> None:
    eventually(lambda: app.hub.open_streams == count, PATIENCE_S, f"{count} open streams")


# --------------------------------------------------------------------------------------
# Bytes on the wire
# --------------------------------------------------------------------------------------

GREETING = b'data: {"type":"connected","scrape_interval":5,"variants":["production","canary"]}\n\n'


def test_a_stream_begins_with_its_headers_and_the_greeting(app: App) -> None:
    with Client(port_of(app)) as client:
        status, headers = client.head()
        assert status == "HTTP/1.1 200 OK"
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-cache"
        assert headers["transfer-encoding"] == "chunked"
        assert headers["x-accel-buffering"] == "no"
        assert "content-length" not in headers
        assert "content-encoding" not in headers
        expected = chunk(GREETING)
        assert client.exactly(len(expected)) == expected


def test_a_stream_is_not_compressed_even_for_a_browser_that_asks(app: App) -> None:
    with Client(port_of(app), {"Accept-Encoding": "gzip, br"}) as client:
        _, headers = client.head()
        assert "content-encoding" not in headers
        assert client.chunk() == GREETING


def test_a_snapshot_arrives_byte_for_byte_in_one_chunk(app: App) -> None:
    with Client(port_of(app)) as client:
        client.greet()
        for variant in ("production", "canary", "production"):
            sent = snapshot(now_ms(), variant)
            app.hub.publish(sent)
            event = client.until(b"\n\n\r\n")
            event_id = event.partition(b"id: ")[2].partition(b"\n")[0]
            assert parse_event_id(event_id.decode()) is not None
            payload = b'id: %s\ndata: {"type":"metrics","data":%s}\n\n' % (event_id, sent.encoded)
            assert event == chunk(payload)


def test_the_snapshot_of_the_stream_has_every_field_of_the_api(app: App) -> None:
    with Client(port_of(app)) as client:
        client.greet()
        app.hub.publish(snapshot(now_ms()))
        _, data = client.metrics()
        assert set(data) == {"timestamp", "variant", *(field.name for field in FIELDS)}


def test_a_heartbeat_is_a_comment_that_keeps_proxies_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "HEARTBEAT_S", 0.1)
    with running(make_app(tmp_path)) as app, Client(port_of(app)) as client:
        client.greet()
        started_s = time.monotonic()
        for _ in range(3):
            expected = b"d\r\n: heartbeat\n\n\r\n"
            assert client.exactly(len(expected)) == expected
        assert time.monotonic() - started_s > 0.15


def test_the_heartbeat_comes_every_thirty_seconds() -> None:
    assert Hub.HEARTBEAT_S == 30


def test_a_variant_that_fails_and_recovers_is_told_byte_for_byte(tmp_path: Path) -> None:
    proxy = FakeProxy(port=free_port())
    app = make_app(tmp_path, proxy.url, SCRAPE_INTERVAL="200ms")
    with running(app), Client(port_of(app)) as client:
        client.greet()

        def status() -> bytes:
            while b'"metrics"' in (payload := client.chunk()):
                pass
            return payload

        try:
            proxy.start_serving()
            assert status() == (
                b'data: {"type":"status","data":'
                b'{"variant":"production","healthy":true,"error":null}}\n\n'
            )
            proxy.stop_serving()
            down = status()
            error = json.loads(down.removeprefix(b"data: "))["data"]["error"]
            assert "refused" in error
            assert down == (
                b'data: {"type":"status","data":'
                b'{"variant":"production","healthy":false,"error":%s}}\n\n'
                % json.dumps(error).encode()
            )
            proxy.start_serving()
            assert b'"healthy":true' in status()
        finally:
            proxy.stop_serving()


def test_a_client_of_http_1_0_gets_a_stream_without_chunks(app: App) -> None:
    with Client(port_of(app), version="HTTP/1.0") as client:
        _, headers = client.head()
        assert "transfer-encoding" not in headers
        assert "content-length" not in headers
        assert headers["content-type"] == "text/event-stream"
        assert client.exactly(len(GREETING)) == GREETING
        sent = snapshot(now_ms())
        app.hub.publish(sent)
        assert METRICS.fullmatch(client.until(b"\n\n"))
        app.stop()
        assert client.rest() == b""  # the end is the end of the connection


def test_asking_for_the_headers_alone_opens_no_stream(app: App) -> None:
    with Client(port_of(app), method="HEAD", headers={"Connection": "close"}) as client:
        status, headers = client.head()
        assert status == "HTTP/1.1 200 OK"
        assert headers["content-type"] == "text/event-stream"
        assert client.rest() == b""
    assert app.hub.open_streams == 0


def test_a_client_that_talks_on_its_stream_is_ignored(app: App) -> None:
    with Client(port_of(app)) as client:
        client.greet()
        talk = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 400
        assert len(talk) < Hub.MAX_RECEIVED_BYTES
        client.socket.sendall(talk)
        (stream,) = app.hub._streams
        eventually(lambda: stream.received == len(talk), PATIENCE_S, "all that was said")
        app.hub.publish(snapshot(now_ms()))
        assert METRICS.fullmatch(client.chunk())


def test_a_client_that_floods_its_stream_is_ended(app: App) -> None:
    with Client(port_of(app)) as client:
        client.greet()
        with suppress(ConnectionError):
            client.socket.sendall(b"x" * (Hub.MAX_RECEIVED_BYTES + 1))
        open_streams(app, 0)


# --------------------------------------------------------------------------------------
# Reconnecting
# --------------------------------------------------------------------------------------

RECONNECTS: dict[str, Callable[[App, str], Client]] = {
    "by the header": lambda app, last_id: Client(port_of(app), {"Last-Event-ID": last_id}),
    "by the parameter": lambda app, last_id: Client(
        port_of(app), path="/api/events?last_event_id=" + quote(last_id, safe="")
    ),
    "by the parameter, hardly escaped": lambda app, last_id: Client(
        port_of(app), path="/api/events?last_event_id=" + last_id
    ),
}


@pytest.mark.parametrize("reconnect", RECONNECTS.values(), ids=list(RECONNECTS))
def test_a_client_that_reconnects_gets_what_it_missed(
    app: App, reconnect: Callable[[App, str], Client]
) -> None:
    ids, sent = [], []
    start_ms = now_ms() - 60_000
    with Client(port_of(app)) as client:
        client.greet()
        for tick in range(10):
            for variant in ("canary", "production"):
                app.hub.publish(snapshot(start_ms + tick * 1_000, variant))
                ids.append(client.metrics()[0])
                sent.append((start_ms + tick * 1_000, variant))
    for index, last_id in enumerate(ids):
        with reconnect(app, last_id) as client:
            client.greet()
            missed = [client.metrics() for _ in sent[index + 1 :]]
            assert [(d["timestamp"], d["variant"]) for _, d in missed] == sent[index + 1 :]
            assert [event_id for event_id, _ in missed] == ids[index + 1 :]
            # What comes next is new: nothing came double.
            app.hub.announce("status", {"variant": "canary", "healthy": True, "error": None})
            assert b'"status"' in client.chunk()


def test_replay_and_live_events_join_without_a_gap(app: App) -> None:
    """Clients reconnect while snapshots are being published."""
    start_ms = now_ms() - 600_000
    stop = threading.Event()
    published: list[int] = []

    def publish() -> None:
        while not stop.wait(0.001):
            ts_ms = start_ms + len(published)
            app.hub.publish(snapshot(ts_ms))
            published.append(ts_ms)

    with Client(port_of(app)) as client:
        client.greet()
        app.hub.publish(snapshot(start_ms - 1))
        last_id, _ = client.metrics()
    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        seen: list[int] = []
        for _ in range(25):
            with Client(port_of(app), {"Last-Event-ID": last_id}) as client:
                client.greet()
                for _ in range(20):
                    last_id, data = client.metrics()
                    seen.append(data["timestamp"])
    finally:
        stop.set()
        publisher.join()
    assert seen == list(range(start_ms, start_ms + 500))


def test_a_client_that_reconnects_after_a_restart_of_zaidash_misses_nothing(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(FakeProxy())
        canary = stack.enter_context(FakeProxy("canary"))
        targets = f"{proxy.url},canary={canary.url}"

        def start() -> App:
            return make_app(tmp_path, targets, SCRAPE_INTERVAL="100ms")

        with running(start()) as app, Client(port_of(app)) as client:
            client.greet()
            before = [client.metrics() for _ in range(7)]
            eventually(lambda: len(json.loads(get(url_of(app, "/api/metrics")).body)) > 16)
        with running(start()) as app:
            with Client(port_of(app), {"Last-Event-ID": before[-1][0]}) as client:
                client.greet()
                after = [client.metrics() for _ in range(30)]
            rows = json.loads(get(url_of(app, "/api/metrics?range=5m")).body)
    seen = [(data["timestamp"], data["variant"]) for _, data in (*before, *after)]
    assert len(seen) == len(set(seen)), "a snapshot came twice"
    newest = {v: max(ts for ts, of in seen if of == v) for v in ("production", "canary")}
    first_ms = min(ts for ts, _ in seen)
    stored = {
        (row["timestamp"], row["variant"])
        for row in rows
        if first_ms < row["timestamp"] <= newest[row["variant"]]
    }
    assert stored <= set(seen), "a snapshot is on disk that the client never saw"
    by_id = {(d["timestamp"], d["variant"]): d for _, d in (*before, *after)}
    for row in rows:
        if (row["timestamp"], row["variant"]) in by_id:
            assert by_id[row["timestamp"], row["variant"]] == row


def test_a_snapshot_from_before_a_step_back_of_the_clock_hides_no_later_one(app: App) -> None:
    """Times then come again or run backwards; what was published later was still missed."""
    start_ms = now_ms()
    with Client(port_of(app)) as client:
        client.greet()
        app.hub.publish(snapshot(start_ms))
        last_id, _ = client.metrics()
    app.hub.publish(snapshot(start_ms - 60_000))
    app.hub.publish(snapshot(start_ms - 59_000))
    with Client(port_of(app), {"Last-Event-ID": last_id}) as client:
        client.greet()
        app.hub.announce("status", {"variant": "production", "healthy": True, "error": None})
        first = client.chunk()
        assert METRICS.fullmatch(first), f"missed two snapshots, got {first!r}"
        second = METRICS.fullmatch(client.chunk())
        assert second and json.loads(second["data"])["timestamp"] == start_ms - 59_000


def test_a_new_client_gets_no_replay(app: App) -> None:
    app.hub.publish(snapshot(now_ms() - 5_000))
    with Client(port_of(app)) as client:
        client.greet()
        app.hub.publish(snapshot(now_ms()))
        assert client.metrics()[1]["timestamp"] > now_ms() - 4_000


MALFORMED_IDS = {
    "nothing": "",
    "a word": "latest",
    "a number": "1708500000000",
    "no time": "production=",
    "no variant": "=1708500000000",
    "a negative time": "production=-1",
    "a time with a point": "production=1.5",
    "a time beyond all numbers": "production=" + "9" * 400,
    "an underscore in the time": "production=1_000",
    "half of it": "production=1,canary",
    "a comma at its end": "production=1,",
    "markup": "<script>=1",
    "letters beyond ASCII": "production=\u0661\u0662",
    "a long list of nonsense": "x" * 4_000,
}


@pytest.mark.parametrize("last_id", MALFORMED_IDS.values(), ids=list(MALFORMED_IDS))
@pytest.mark.parametrize("reconnect", list(RECONNECTS.values())[:2], ids=list(RECONNECTS)[:2])
def test_a_malformed_id_means_a_stream_from_now_on(
    app: App, reconnect: Callable[[App, str], Client], last_id: str
) -> None:
    app.hub.publish(snapshot(now_ms() - 5_000))
    with reconnect(app, last_id) as client:
        client.greet()
        newest = snapshot(now_ms())
        app.hub.publish(newest)
        assert client.metrics()[1]["timestamp"] == newest.ts_ms


def test_an_id_from_the_future_hides_nothing_that_is_new(app: App) -> None:
    with Client(port_of(app), {"Last-Event-ID": "production=999999999999999"}) as client:
        client.greet()
        newest = snapshot(now_ms())
        app.hub.publish(newest)
        assert client.metrics()[1]["timestamp"] == newest.ts_ms


def test_a_variant_the_client_never_saw_is_replayed_whole(app: App) -> None:
    start_ms = now_ms() - 10_000
    app.hub.publish(snapshot(start_ms, "canary"))
    app.hub.publish(snapshot(start_ms, "production"))
    with Client(port_of(app), {"Last-Event-ID": f"production={start_ms}"}) as client:
        client.greet()
        assert client.metrics()[1]["variant"] == "canary"


# --------------------------------------------------------------------------------------
# Ids
# --------------------------------------------------------------------------------------

VARIANT_NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
POSITIONS = st.dictionaries(VARIANT_NAMES, st.integers(0, 10**15 - 1), min_size=1)


@given(POSITIONS, st.sampled_from([",", ", ", " ,"]))
def test_an_id_is_read_as_it_was_written(position: dict[str, int], comma: str) -> None:
    assert parse_event_id(comma.join(f"{v}={ts}" for v, ts in position.items())) == position


@given(st.text() | st.text("=,0123456789ab _.-\x00\u0663") | st.from_regex(r"(\w*=\d*,?)*"))
@example("a=1\n")
@example("a=1,,b=2")
def test_whatever_a_client_sends_as_id_is_a_position_or_nothing(text: str) -> None:
    position = parse_event_id(text)
    if position is not None:
        assert position
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", variant) for variant in position)
        assert all(0 <= ts_ms < 10**15 for ts_ms in position.values())
        assert all(f"{variant}=" in text for variant in position)


def test_an_id_of_a_thousand_variants_is_not_kept_while_its_client_listens(app: App) -> None:
    """Times as many clients as there may be, it would be gigabytes."""
    app.hub.publish(snapshot(now_ms()))
    last_id = ",".join(["production=1", *(f"v{number}=1" for number in range(1_500))])
    with Client(port_of(app), {"Last-Event-ID": last_id}) as client:
        client.greet()
        client.metrics()
        (stream,) = app.hub._streams
        assert stream.seen == {"production": 1}


def test_an_hour_that_is_asked_for_is_not_copied_before_it_is_sent() -> None:
    """Times as many requests as there may be, it would be a gigabyte."""
    hub = Hub({}, wall=lambda: 1_000.0)
    hub.load(((ts, "production", b"x" * 8_192) for ts in range(2_000)), complete_from_ms=0)
    tracemalloc.start()
    try:
        found = hub.recent(0, ["production"])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        hub.close()
    assert found is not None and len(found) == 2_000
    assert most < 2_000_000


def test_no_id_is_no_position() -> None:
    assert parse_event_id(None) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=40))
def test_an_id_names_the_newest_snapshot_of_every_variant(events: list[tuple[str, int]]) -> None:
    """So that a client needs to remember no more than the last one."""
    hub = Hub({"type": "connected"})
    hub.start()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    with ours:
        hub.join(theirs, b"", False, None)
        for variant, ts_ms in events:
            hub.publish(snapshot(ts_ms, variant))
        newest: dict[str, int] = {}
        stream = ours.makefile("rb")
        with stream:
            assert stream.readline() and stream.readline()  # the greeting
            for variant, ts_ms in events:
                event_id = stream.readline().decode().removeprefix("id: ").rstrip("\n")
                newest[variant] = max(ts_ms, newest.get(variant, 0))
                assert parse_event_id(event_id) == newest
                assert stream.readline() and stream.readline()
    hub.close()


def test_an_id_never_hides_the_snapshot_of_a_second_publisher(app: App) -> None:
    """Every id stands for exactly what came before it, whoever published at the same moment."""
    start_ms, count, stop = now_ms() - 100_000, 300, threading.Event()
    unread = threading.Semaphore(60)  # or the client would be dropped for its slowness

    def publish(variant: str) -> None:
        for index in range(count):
            unread.acquire(timeout=PATIENCE_S)
            if stop.is_set():
                break
            app.hub.publish(snapshot(start_ms + index, variant))

    publishers = [threading.Thread(target=publish, args=(v,)) for v in ("a", "b", "c")]
    interval_s = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)  # every few instructions, or the moment is hardly ever hit
        with Client(port_of(app)) as client:
            client.greet()
            for publisher in publishers:
                publisher.start()
            newest: dict[str, int] = {}
            for _ in range(3 * count):
                event_id, data = client.metrics()
                unread.release()
                assert data["timestamp"] == newest.get(data["variant"], start_ms - 1) + 1
                newest[data["variant"]] = data["timestamp"]
                assert parse_event_id(event_id) == newest
    finally:
        sys.setswitchinterval(interval_s)
        stop.set()
        unread.release(len(publishers))
        for publisher in publishers:
            if publisher.ident:
                publisher.join()


# --------------------------------------------------------------------------------------
# Slow clients
# --------------------------------------------------------------------------------------

LIMIT_BYTES = 256 * 1024


def test_a_client_that_does_not_read_is_dropped_and_nobody_else_notices(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zaidash")
    start_ms = now_ms() - 60_000
    with Client(port_of(app), receive_bytes=4_096) as slow, Client(port_of(app)) as client:
        client.greet()
        open_streams(app, 2)
        published, delays_s = 0, []
        while app.hub.dropped == 0:
            assert published < 3 * LIMIT_BYTES, "a client may lag for ever"
            sent = bulky(start_ms + published)
            sent_s = time.monotonic()
            app.hub.publish(sent)
            assert client.metrics()[1]["timestamp"] == sent.ts_ms
            delays_s.append(time.monotonic() - sent_s)
            published += len(sent.encoded)
        assert published > LIMIT_BYTES, "it may have been slow for a moment only"
        # What the kernel takes on top must not hide hours: 1 kB a snapshot, 12 a minute.
        assert published < LIMIT_BYTES + 192 * 1024
        assert statistics.median(delays_s) < 0.05
        open_streams(app, 1)
        assert len(slow.rest()) < LIMIT_BYTES
        app.hub.publish(snapshot(now_ms()))
        client.metrics()
    assert any("does not read" in r.getMessage() for r in caplog.records)
    metrics = get(url_of(app, "/metrics")).body.decode()
    assert re.search(r"^zaidash_\w*dropped_total 1(\.0)?$", metrics, re.MULTILINE), metrics


def test_a_client_that_pauses_loses_nothing_below_the_limit(app: App) -> None:
    start_ms = now_ms() - 60_000
    with Client(port_of(app), receive_bytes=4_096) as client:
        client.greet()
        for index in range(28):  # 28 x 8 KiB
            app.hub.publish(bulky(start_ms + index))
        with Client(port_of(app)) as other:  # the hub has been round since
            other.greet()
        seen = [client.metrics()[1]["timestamp"] for _ in range(28)]
        assert seen == list(range(start_ms, start_ms + 28))
    assert app.hub.dropped == 0


def test_a_long_replay_drops_no_client_that_reads_it(app: App) -> None:
    start_ms = now_ms() - 60_000
    with Client(port_of(app)) as client:
        client.greet()
        app.hub.publish(snapshot(start_ms - 1))
        last_id, _ = client.metrics()
    for index in range(200):  # 1.6 MB
        app.hub.publish(bulky(start_ms + index))
    with Client(port_of(app), {"Last-Event-ID": last_id}, receive_bytes=8_192) as client:
        client.greet()
        for index in range(200, 220):  # while it reads, life goes on
            app.hub.publish(bulky(start_ms + index))
        seen = [client.metrics()[1]["timestamp"] for _ in range(220)]
        assert seen == list(range(start_ms, start_ms + 220))
    assert app.hub.dropped == 0


def test_a_client_that_does_not_read_its_replay_is_dropped_too(app: App) -> None:
    start_ms = now_ms() - 60_000
    for index in range(100):
        app.hub.publish(bulky(start_ms + index))
    with Client(port_of(app), {"Last-Event-ID": "production=1"}, receive_bytes=4_096):
        open_streams(app, 1)
        with Client(port_of(app)) as client:
            client.greet()
            for index in range(100, 200):
                app.hub.publish(bulky(start_ms + index))
                client.metrics()
            eventually(lambda: app.hub.dropped == 1, PATIENCE_S, "the drop")
            open_streams(app, 1)


# --------------------------------------------------------------------------------------
# Many streams
# --------------------------------------------------------------------------------------


def test_three_hundred_streams_hold_no_thread_each_and_all_get_everything(tmp_path: Path) -> None:
    with ExitStack() as stack:
        app = stack.enter_context(running(make_app(tmp_path, MAX_STREAMS="300")))
        threads = threading.active_count()
        clients = [stack.enter_context(Client(port_of(app))) for _ in range(300)]
        for client in clients:
            client.greet()
        open_streams(app, 300)
        eventually(lambda: threading.active_count() <= threads, PATIENCE_S, "the threads to end")
        sent_s = time.monotonic()
        sent = snapshot(now_ms())
        app.hub.publish(sent)
        assert all(client.metrics()[1]["timestamp"] == sent.ts_ms for client in clients)
        assert time.monotonic() - sent_s < 3

        reply = get(url_of(app, "/api/events"))
        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert "MAX_STREAMS" in json.loads(reply.body)["error"]
        assert get(url_of(app, "/healthz")).status == 200

        clients[7].socket.close()
        open_streams(app, 299)
        stack.enter_context(Client(port_of(app))).greet()


def test_no_more_streams_than_allowed_when_all_come_at_once(tmp_path: Path) -> None:
    with running(make_app(tmp_path, MAX_STREAMS="3")) as app:
        for _ in range(8):
            with ExitStack() as stack:
                clients = [stack.enter_context(Client(port_of(app))) for _ in range(40)]
                statuses = [client.head()[0] for client in clients]
                assert sum("200" in status for status in statuses) == 3, statuses
                assert sum("503" in status for status in statuses) == 37
            open_streams(app, 0)


LEAVING: dict[str, Callable[[Client], None]] = {
    "closes": lambda client: client.socket.close(),
    "resets": Client.reset,
    "closes before it read anything": lambda client: client.socket.close(),
}


@pytest.mark.parametrize("leave", LEAVING.values(), ids=list(LEAVING))
def test_a_client_that_goes_frees_its_stream_at_once(
    app: App, leave: Callable[[Client], None]
) -> None:
    clients = [Client(port_of(app)) for _ in range(5)]
    if leave is not LEAVING["closes before it read anything"]:
        for client in clients:
            client.greet()
    open_streams(app, 5)
    for client in clients:
        leave(client)
    open_streams(app, 0)
    assert b"\nzaidash_streams 0" in get(url_of(app, "/metrics")).body


def test_clients_that_come_and_go_while_events_flow_leave_nothing_behind(app: App) -> None:
    stop, failures = threading.Event(), []
    start_ms = now_ms() - 100_000

    def publish() -> None:
        for index in range(200):  # not so much that `steady` has to be dropped
            if stop.wait(0.002):
                break
            app.hub.publish(snapshot(start_ms + index))

    def come_and_go(index: int) -> None:
        try:
            for round_number in range(15):
                client = Client(port_of(app), {"Last-Event-ID": "production=1"})
                if (index + round_number) % 3:
                    client.greet().metrics()
                client.reset() if round_number % 2 else client.socket.close()
        except Exception as error:
            failures.append(error)

    with Client(port_of(app)) as steady:
        steady.greet()
        threads = [threading.Thread(target=come_and_go, args=(i,)) for i in range(6)]
        publisher = threading.Thread(target=publish)
        for thread in (publisher, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        for expected in range(start_ms, start_ms + 100):
            assert steady.metrics()[1]["timestamp"] == expected
        stop.set()
        publisher.join()
        open_streams(app, 1)
    open_streams(app, 0)


# --------------------------------------------------------------------------------------
# The end
# --------------------------------------------------------------------------------------


def test_stopping_ends_a_stream_with_the_last_chunk(app: App) -> None:
    with Client(port_of(app)) as client:
        client.greet()
        app.hub.publish(snapshot(now_ms()))
        client.metrics()
        app.stop()
        assert client.rest() == b"0\r\n\r\n"


def test_stopping_takes_no_longer_for_clients_that_do_not_read(tmp_path: Path) -> None:
    with ExitStack() as stack:
        app = stack.enter_context(running(make_app(tmp_path)))
        for _ in range(20):
            stack.enter_context(Client(port_of(app), receive_bytes=4_096))
        open_streams(app, 20)
        for index in range(20):
            app.hub.publish(bulky(now_ms() + index))
        started_s = time.monotonic()
        app.stop()
        assert time.monotonic() - started_s < 5


def test_snapshots_that_pile_up_reach_every_stream_once_in_order_byte_for_byte() -> None:
    """Many streams lag by the same few events, which go out together; some by one more or less."""
    hub = Hub({"type": "connected"}, wall=lambda: 1_000.0)
    with ExitStack() as stack:
        clients = []
        for number in range(25):
            ours, client = (stack.enter_context(end) for end in socket.socketpair())
            ours.setblocking(False)
            client.settimeout(10)
            is_chunked = number % 4 != 0
            assert hub.join(ours, b"", is_chunked, None)
            clients.append((client, is_chunked, number))
            hub.publish(snapshot(number))
        frames = [event.frame for event in hub._events]
        hub.start()
        try:
            for client, is_chunked, number in clients:
                greeting = b'data: {"type":"connected"}\n\n'
                if is_chunked:
                    greeting = b"%x\r\n%s\r\n" % (len(greeting), greeting)
                missed = frames[number:]
                if not is_chunked:
                    missed = [frame.partition(b"\r\n")[2][:-2] for frame in missed]
                expected = greeting + b"".join(missed)
                received = b""
                while len(received) < len(expected) and (data := client.recv(65_536)):
                    received += data
                assert received == expected
        finally:
            hub.close()


def test_closing_the_hub_twice_is_fine_and_so_is_never_starting_it() -> None:
    hub = Hub({"type": "connected"})
    hub.close()
    hub.close()
    started = Hub({"type": "connected"})
    started.start()
    started.close()
    started.close()


def test_publishing_to_a_closed_hub_harms_nobody() -> None:
    """The collector may be a moment behind when zaidash stops."""
    hub = Hub({"type": "connected"})
    hub.start()
    hub.close()
    hub.publish(snapshot(now_ms()))
    hub.announce("status", {"variant": "production", "healthy": True, "error": None})


def test_a_client_that_comes_as_the_streams_end_is_not_left_hanging(app: App) -> None:
    """While zaidash stops, the port is open a little longer than the streams."""
    app.hub.close()
    with Client(port_of(app), {"Connection": "close"}) as client:
        assert client.rest().startswith(b"HTTP/1.1 503 ")
