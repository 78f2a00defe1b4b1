"""What 5,000 open browsers cost; `python bench/bench_streams.py`.

A real zaidash process scrapes one live target every other second. This process is all the clients:
one selector, so what is measured between the first and the last of them includes reading 5,000
sockets here. It needs some 5,100 file descriptors on either side.
"""

from __future__ import annotations

import select
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from typing import NamedTuple

from common import (
    Table,
    cpu_s,
    megabytes,
    milliseconds,
    peak_bytes,
    raise_file_limit,
    resident_bytes,
    run_proxy,
    thread_count,
)
from support import Zaidash, run_zaidash

STREAMS = 5_000
MEMORY_TARGET_BYTES = 60e6
THREADS_TARGET = 20
REACH_TARGET_S = 0.3
TICK_S = 2.0
BROADCASTS = 8

#: Streams asked for at once: fewer than MAX_REQUESTS, past which zaidash answers 503.
OPENING_AT_ONCE = 40
TIMEOUT_S = 20.0

REQUEST = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
TIMESTAMP = b'"data":{"timestamp":'


class Broadcast(NamedTuple):
    """One snapshot's way to all clients, in seconds of the wall clock."""

    tick_s: float
    first_s: float
    last_s: float

    @property
    def spread_s(self) -> float:
        return self.last_s - self.first_s


def main() -> int:
    table = Table("bench_streams: about 35 s")
    raise_file_limit(STREAMS + 200)
    with run_proxy("production", 20) as url, ExitStack() as sockets:
        env = {
            "SCRAPE_TARGETS": f"production={url}",
            "SCRAPE_INTERVAL": f"{TICK_S:g}s",
            "LOG_LEVEL": "warning",
        }
        with run_zaidash(env=env) as process:
            time.sleep(2 * TICK_S)
            idle_bytes, idle_s = resident_bytes(process.pid), cpu_per_tick(process, 3)
            streams = measure_opening(table, process, sockets)
            measure_broadcasts(table, process, streams, idle_s)
            table.check(
                f"memory with {STREAMS:,} streams open",
                f"{megabytes(resident_bytes(process.pid))} (without any: {megabytes(idle_bytes)},"
                f" most: {megabytes(peak_bytes(process.pid))})",
                f"< {megabytes(MEMORY_TARGET_BYTES)} (original: 162 MB)",
                resident_bytes(process.pid) < MEMORY_TARGET_BYTES,
            )
            threads = thread_count(process.pid)
            table.check("threads", str(threads), f"< {THREADS_TARGET}", threads < THREADS_TARGET)
            measure_goodbye(table, process, sockets)
            assert not process.stderr(), process.stderr()
    return table.finish()


def cpu_per_tick(process: Zaidash, ticks: int) -> float:
    before_s = cpu_s(process.pid)
    time.sleep(ticks * TICK_S)
    return (cpu_s(process.pid) - before_s) / ticks


def measure_opening(table: Table, process: Zaidash, stack: ExitStack) -> list[socket.socket]:
    streams: list[socket.socket] = []
    started_s, started_cpu_s, most_threads = time.perf_counter(), cpu_s(process.pid), 0
    while len(streams) < STREAMS:
        some = [stack.enter_context(_ask(process)) for _ in range(OPENING_AT_ONCE)]
        for stream in some:
            _await_greeting(stream)
        most_threads = max(most_threads, thread_count(process.pid))
        streams += some
    took_s, took_cpu_s = time.perf_counter() - started_s, cpu_s(process.pid) - started_cpu_s
    table.note(
        f"open {len(streams):,} streams, {OPENING_AT_ONCE} at a time",
        f"{took_s:.1f} s, {took_cpu_s:.1f} s CPU (threads meanwhile: {most_threads})",
    )
    return streams


def _ask(process: Zaidash) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", process.port), timeout=TIMEOUT_S)
    stream.sendall(REQUEST)
    return stream


def _await_greeting(stream: socket.socket) -> None:
    received = b""
    while b'"connected"' not in received or not received.endswith(b"\r\n"):
        chunk = stream.recv(65_536)
        assert chunk, f"a stream ended with {received!r}"
        received += chunk
    assert received.startswith(b"HTTP/1.1 200 "), received


def measure_broadcasts(
    table: Table, process: Zaidash, streams: list[socket.socket], idle_s: float
) -> None:
    """Add how long some snapshots take to all clients, and the CPU each takes."""
    receiver = Receiver(streams)
    receiver.receive()  # one may be under way right now
    before_s = cpu_s(process.pid)
    broadcasts = [receiver.receive() for _ in range(BROADCASTS)]
    broadcast_cpu_s = (cpu_s(process.pid) - before_s) / BROADCASTS - idle_s
    receiver.close()
    # Not earlier than the tick: what the scrape takes is part of it.
    delay_s = statistics.median(b.last_s - b.tick_s for b in broadcasts)
    spreads_s = [b.spread_s for b in broadcasts]
    spread_s = statistics.median(spreads_s)
    table.check(
        f"one snapshot reaches {len(streams):,} clients, first to last",
        f"{milliseconds(spread_s)} (worst of {BROADCASTS}: {milliseconds(max(spreads_s))})",
        f"≤ {milliseconds(REACH_TARGET_S)} (original: 107 ms)",
        spread_s <= REACH_TARGET_S,
    )
    table.check(
        "from the tick to the last client, the scrape included",
        milliseconds(delay_s),
        f"≤ {milliseconds(REACH_TARGET_S)}",
        delay_s <= REACH_TARGET_S,
    )
    table.note(
        "CPU of zaidash for one snapshot to all",
        f"{milliseconds(broadcast_cpu_s)} ({broadcast_cpu_s / len(streams) * 1e6:.1f} µs each)",
        "original: 101 ms",
    )


class Receiver:
    """All clients of this process."""

    def __init__(self, streams: list[socket.socket]) -> None:
        self._streams = {stream.fileno(): stream for stream in streams}
        self._poll = select.epoll(len(streams))
        for number, stream in self._streams.items():
            stream.setblocking(False)
            self._poll.register(number, select.EPOLLIN)

    def close(self) -> None:
        self._poll.close()

    def receive(self) -> Broadcast:
        """Wait until the next snapshot is with every client."""
        arrivals_s: dict[bytes, list[float]] = {}
        deadline_s = time.monotonic() + TIMEOUT_S
        while True:
            assert time.monotonic() < deadline_s, {k: len(v) for k, v in arrivals_s.items()}
            for number, _ in self._poll.poll(1.0, len(self._streams)):
                data = self._streams[number].recv(65_536)
                assert data, "zaidash ended a stream"
                at = data.find(TIMESTAMP)
                if at >= 0:
                    tick = data[at + len(TIMESTAMP) :].partition(b",")[0]
                    arrivals_s.setdefault(tick, []).append(time.time())
            for tick, times_s in arrivals_s.items():
                if len(times_s) == len(self._streams):
                    return Broadcast(int(tick) / 1000, times_s[0], times_s[-1])


def measure_goodbye(table: Table, process: Zaidash, sockets: ExitStack) -> None:
    """Add what it takes to notice that all clients are gone, and what is left then."""
    before_s = cpu_s(process.pid)
    sockets.close()
    open_streams = STREAMS
    deadline_s = time.monotonic() + TIMEOUT_S
    while open_streams and time.monotonic() < deadline_s:
        time.sleep(0.1)
        lines = process.get("/metrics").body.decode().splitlines()
        line = next(line for line in lines if line.startswith("zaidash_streams "))
        open_streams = int(line.split()[1])
    assert not open_streams, f"{open_streams} streams are left"
    table.note(
        "all clients go away at once",
        f"{cpu_s(process.pid) - before_s:.2f} s CPU,"
        f" {megabytes(resident_bytes(process.pid))} afterwards",
    )


if __name__ == "__main__":
    sys.exit(main())
