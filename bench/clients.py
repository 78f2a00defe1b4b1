"""Many clients of zaidash in one process, for `load.py` and `soak.py`; Linux only, for its epoll.

No thread per client: what the clients take from the service on the same machine has to be little,
and known. So there are two selectors. Streams are read 64 at a time, and in between whatever
belongs to a request is handled: its answer does not lie behind 10,000 streams with a new snapshot.
A metronome tells what that leaves of delay that is this process's own: every 10 ms it is due to do
something, and how late it does it is `Clients.delays_s`; it also sends itself a message that lies
among the streams to be read, and how late that is read is `Clients.stream_delays_s`. A time
measured here is at most so much too long, and never too short.

Streams: zaidash sends each event as one chunk, the same bytes to all. An event is parsed when it is
seen for the first time; whoever gets it later is checked by looking its bytes up. What a stream got
before an event has to be what every other stream got before it.
"""

from __future__ import annotations

import json
import math
import re
import select
import socket
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

HOST = "127.0.0.1"
#: Streams read before requests are looked after again.
AT_ONCE = 64
METRONOME_S = 0.01
#: What is said of errors; a thousand streams have the same one.
PROBLEMS_KEPT = 20

CONNECT_TIMEOUT_S = 20.0
#: Half of the time that zaidash keeps an idle connection open for.
REUSE_S = 75 / 2
#: Requests under way at once, at most; past MAX_REQUESTS, which is 64, zaidash answers 503. What a
#: stall of this process kept from being sent waits for its turn, and its time goes on.
UNDER_WAY = 50
RECEIVE_BYTES = 65_536

_EVENT_ID = re.compile(rb"id: (\S+@[0-9a-f]+-([0-9]+))\n")
_METRICS = b'data: {"type":"metrics","data":'

# --------------------------------------------------------------------------------------
# Streams
# --------------------------------------------------------------------------------------


class Event:
    """A snapshot as it was sent, and how it spread."""

    __slots__ = ("before", "count", "data", "first_s", "id", "last_s", "number")

    def __init__(self, event_id: str, number: int, data: dict[str, Any], now_s: float) -> None:
        self.id = event_id
        self.number = number
        self.data = data
        self.before: int | None = None  # number of the event before it
        self.count = 0  # streams that have it
        self.first_s = self.last_s = now_s  # on the wall clock


class Stream:
    """One client that listens."""

    __slots__ = ("is_greeted", "is_reading", "last", "rest", "socket")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.is_greeted = False
        self.is_reading = True
        self.rest = b""  # received, not a whole event yet
        self.last: Event | None = None


class Streams:
    """All open streams, and every snapshot that any of them got."""

    def __init__(self, poll: select.epoll, port: int, problems: Problems) -> None:
        self._poll = poll
        self._port = port
        self._problems = problems
        self._by_frame: dict[bytes, Event | None] = {}  # None: it is no snapshot
        self._by_number: dict[int, Event] = {}
        self.open: dict[int, Stream] = {}
        self.events: list[Event] = []

    def add(self, last_event: Event | None = None) -> Stream:
        """Ask for a stream; with the last event of an earlier one it goes on after that."""
        connection = socket.create_connection((HOST, self._port), CONNECT_TIMEOUT_S)
        head = f"GET /api/events HTTP/1.1\r\nHost: {HOST}\r\n"
        if last_event is not None:
            head += f"Last-Event-ID: {last_event.id}\r\n"
        connection.sendall(f"{head}\r\n".encode())
        connection.setblocking(False)
        stream = Stream(connection)
        stream.last = last_event
        self.open[connection.fileno()] = stream
        self._poll.register(connection, select.EPOLLIN)
        return stream

    def end(self, stream: Stream) -> None:
        """Hang up."""
        del self.open[stream.socket.fileno()]
        stream.socket.close()  # which also takes it out of the selector

    def stop_reading(self, stream: Stream) -> None:
        """Be a client that is open and does not read."""
        stream.is_reading = False
        self._poll.unregister(stream.socket)

    def receive(self, number: int) -> None:
        """Read what there is on a stream."""
        stream = self.open.get(number)
        if stream is None:  # ended since it was found ready
            return
        try:
            data = stream.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:  # a new one, with the number of one that ended
            return
        except OSError as error:
            data = b""
            self._problems.add(f"a stream failed: {error}")
        if not data:
            self._problems.add("zaidash ended a stream")
            self.end(stream)
            return
        now_s = time.time()
        if not stream.rest and (event := self._by_frame.get(data)):
            self._take(stream, event, now_s)  # by far the most frequent case
            return
        stream.rest += data
        if not stream.is_greeted:
            self._greet(stream)
        if stream.is_greeted:
            for frame in _whole_frames(stream):
                if frame not in self._by_frame:
                    self._learn(frame, now_s)
                if event := self._by_frame[frame]:
                    self._take(stream, event, now_s)

    def _greet(self, stream: Stream) -> None:
        head, separator, rest = stream.rest.partition(b"\r\n\r\n")
        if separator:
            stream.is_greeted, stream.rest = True, rest
            if not head.startswith(b"HTTP/1.1 200 "):
                self._problems.add(f"a stream was refused: {head[:200]!r}")

    def _take(self, stream: Stream, event: Event, now_s: float) -> None:
        event.count += 1
        event.last_s = now_s
        last, stream.last = stream.last, event
        if last is None:
            return
        if event.before is None:
            event.before = last.number
        elif event.before != last.number:
            self._problems.add(
                f"a stream got event {event.number} after {last.number}, not {event.before}"
            )

    def _learn(self, frame: bytes, now_s: float) -> None:
        payload = frame.partition(b"\r\n")[2][:-2]
        match = _EVENT_ID.match(payload)
        if match is None:
            self._by_frame[frame] = None
            return
        start = match.end() + len(_METRICS)
        if payload[match.end() : start] != _METRICS or not payload.endswith(b"}\n\n"):
            self._problems.add(f"not a snapshot: {payload[:200]!r}")
        event = Event(match[1].decode(), int(match[2]), json.loads(payload[start:-3]), now_s)
        if event.number in self._by_number:
            self._problems.add(f"event {event.number} differs from stream to stream")
        self._by_frame[frame] = self._by_number[event.number] = event
        self.events.append(event)


def _whole_frames(stream: Stream) -> Iterator[bytes]:
    """Cut whole chunks off what a stream has received."""
    at, data = 0, stream.rest
    while (line_end := data.find(b"\r\n", at)) >= 0:
        end = line_end + 2 + int(data[at:line_end], 16) + 2
        if end > len(data):
            break
        yield data[at:end]
        at = end
    stream.rest = data[at:]


# --------------------------------------------------------------------------------------
# Requests
# --------------------------------------------------------------------------------------


class Ask(NamedTuple):
    """What is asked for."""

    path: str
    is_gzip: bool = False

    @property
    def head(self) -> bytes:
        lines = [f"GET {self.path} HTTP/1.1", f"Host: {HOST}"]
        if self.is_gzip:
            lines.append("Accept-Encoding: gzip")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


#: The status of an answer that did not come to its end.
CUT_OFF = 0


class Answer(NamedTuple):
    """What came, and how long it took since it was due to be asked for."""

    ask: Ask
    status: int
    is_gzip: bool
    seconds: float
    raw: bytes  # the body as it was sent

    def body(self) -> bytes:
        """Return the body without chunks and compression. It is large: ask for it later."""
        return zlib.decompress(self.raw, wbits=31) if self.is_gzip else self.raw


class _Exchange:
    """A connection with a request under way, or none."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.idle_from_s = 0.0
        self.begin(Ask("/"), 0.0)

    def begin(self, ask: Ask, due_s: float) -> None:
        self.ask = ask
        self.due_s = due_s
        self._buffer = bytearray()
        self._body: list[bytes] = []
        self._head = ""
        self._at = 0

    def feed(self, data: bytes) -> bool:
        """Take what was received; say whether that is the whole answer."""
        self._buffer += data
        if not self._head:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._head = self._buffer[:end].decode("latin-1").lower()
            self._at = end + 4
        length = re.search(r"\ncontent-length: (\d+)", self._head)
        if length:
            if len(self._buffer) < self._at + int(length[1]):
                return False
            self._body = [bytes(self._buffer[self._at :])]
            return True
        return self._take_chunks()

    def _take_chunks(self) -> bool:
        while (line_end := self._buffer.find(b"\r\n", self._at)) >= 0:
            size = int(self._buffer[self._at : line_end], 16)
            end = line_end + 2 + size
            if len(self._buffer) < end + 2:
                return False
            if not size:
                return True
            self._body.append(bytes(self._buffer[line_end + 2 : end]))
            self._at = end + 2
        return False

    def answer(self) -> Answer:
        status = int(self._head.split(maxsplit=2)[1])
        is_gzip = "\ncontent-encoding: gzip" in self._head
        took_s = time.monotonic() - self.due_s
        return Answer(self.ask, status, is_gzip, took_s, b"".join(self._body))


class Requests:
    """Requests on as many kept-alive connections as it takes.

    A connection that nobody used for `reuse_s` is left alone until zaidash closes it: that may
    happen at the moment it is used again.
    """

    def __init__(self, poll: select.epoll, port: int, reuse_s: float) -> None:
        self._poll = poll
        self._port = port
        self._reuse_s = reuse_s
        self._idle: list[_Exchange] = []
        self._busy: dict[int, _Exchange] = {}
        self.answers: deque[Answer] = deque()  # for the caller to take

    @property
    def under_way(self) -> int:
        return len(self._busy)

    def connections(self) -> list[socket.socket]:
        return [exchange.socket for exchange in (*self._idle, *self._busy.values())]

    def send(self, ask: Ask, due_s: float) -> None:
        if self._idle and time.monotonic() - self._idle[-1].idle_from_s < self._reuse_s:
            exchange = self._idle.pop()
        else:
            connection = socket.create_connection((HOST, self._port), CONNECT_TIMEOUT_S)
            connection.setblocking(False)
            exchange = _Exchange(connection)
            self._poll.register(connection, select.EPOLLIN)
        exchange.begin(ask, due_s)
        self._busy[exchange.socket.fileno()] = exchange
        exchange.socket.send(ask.head)

    def receive(self, number: int) -> None:
        exchange = self._busy.get(number)
        if exchange is None:
            self._close_idle(number)
            return
        try:
            data = exchange.socket.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        if not data:
            del self._busy[number]
            exchange.socket.close()
            took_s = time.monotonic() - exchange.due_s
            self.answers.append(Answer(exchange.ask, CUT_OFF, False, took_s, b""))
        elif exchange.feed(data):
            del self._busy[number]
            exchange.idle_from_s = time.monotonic()
            self._idle.append(exchange)
            self.answers.append(exchange.answer())

    def _close_idle(self, number: int) -> None:
        """Do as zaidash does with a connection that nobody used for long: close it."""
        for exchange in [e for e in self._idle if e.socket.fileno() == number]:
            self._idle.remove(exchange)
            exchange.socket.close()

    def close(self) -> None:
        for connection in self.connections():
            connection.close()
        self._idle.clear()
        self._busy.clear()


# --------------------------------------------------------------------------------------
# All of them
# --------------------------------------------------------------------------------------


class Problems:
    """What went wrong: how often, and the first of it in words."""

    def __init__(self) -> None:
        self.count = 0
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.texts) < PROBLEMS_KEPT:
            self.texts.append(text)


class Clients:
    """Streams and requests of one zaidash, and the loop that serves them."""

    def __init__(self, port: int, reuse_s: float = REUSE_S) -> None:
        self.problems = Problems()
        self._stream_poll, self._request_poll = select.epoll(), select.epoll()
        self._outer = select.epoll()
        for poll in (self._stream_poll, self._request_poll):
            self._outer.register(poll, select.EPOLLIN)
        self.streams = Streams(self._stream_poll, port, self.problems)
        self.requests = Requests(self._request_poll, port, reuse_s)
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._stream_poll.register(self._reader, select.EPOLLIN)
        self._beat_s = time.monotonic()
        self._sent_s: deque[float] = deque()
        self._asks: deque[tuple[float, Ask]] = deque()
        self.delays_s: list[float] = []
        self.stream_delays_s: list[float] = []

    def schedule(self, asks: Sequence[Ask], per_s: float) -> None:
        """Send requests from now on, evenly, whether those before are answered or not."""
        now_s = time.monotonic()
        self._asks.extend((now_s + number / per_s, ask) for number, ask in enumerate(asks))

    @property
    def is_asking(self) -> bool:
        return bool(self._asks or self.requests.under_way)

    def ports(self) -> set[int]:
        """Return this side's port of every connection that is open."""
        connections = (
            *(stream.socket for stream in self.streams.open.values()),
            *self.requests.connections(),
        )
        return {connection.getsockname()[1] for connection in connections}

    def forget_delays(self) -> None:
        self.delays_s.clear()
        self.stream_delays_s.clear()

    def turn(self) -> None:
        """Serve all that are ready; where there are none, wait for the next beat or request."""
        may_ask = self._asks and self.requests.under_way < UNDER_WAY
        due_s = min(self._beat_s, self._asks[0][0] if may_ask else math.inf)
        self._outer.poll(max(due_s - time.monotonic(), 0))
        now_s = time.monotonic()
        if now_s >= self._beat_s:
            self._beat(now_s)
        while self._asks and self._asks[0][0] <= now_s and self.requests.under_way < UNDER_WAY:
            due_s, ask = self._asks.popleft()
            self.requests.send(ask, due_s)
        for number, _ in self._request_poll.poll(0):
            self.requests.receive(number)
        for number, _ in self._stream_poll.poll(0, AT_ONCE):
            if number == self._reader.fileno():
                self._reader.recv(RECEIVE_BYTES)
                now_s = time.monotonic()
                self.stream_delays_s += [now_s - due_s for due_s in self._sent_s]
                self._sent_s.clear()
            else:
                self.streams.receive(number)

    def _beat(self, now_s: float) -> None:
        while self._beat_s <= now_s:
            self.delays_s.append(now_s - self._beat_s)
            self._sent_s.append(self._beat_s)
            self._beat_s += METRONOME_S
        self._writer.send(b"\0")

    def close(self) -> None:
        for stream in list(self.streams.open.values()):
            self.streams.end(stream)
        self.requests.close()
        for poll in (self._outer, self._stream_poll, self._request_poll):
            poll.close()
        self._reader.close()
        self._writer.close()
