"""How long it takes from a counter of a proxy to a browser, for `peers.py`.

The beacon is a zai-proxy in this process that counts a retry now and then, at moments that are
random. Three things are watched at once:

    zaidash           `/api/events`, as the page does: when the snapshot with the new count is there
    the peers         an instant query every second, and another every 5 s, as a dashboard asks that
                      refreshes so often (5 s is the shortest that Grafana allows by default); each
                      from several clients whose moments lie evenly between two refreshes
    the beacon        when each of the three scraped it, by the name it gave

Drawing, and what a dashboard's own server adds on the way, are left out for all.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from agree_proxy import RecordingProxy
from peers_servers import AGENTS, NAMES, ZAIDASH, Running
from support import get

BEACON = "beacon"
QUERY = f'sum(zai_proxy_retry_attempts_total{{job="{BEACON}"}})'

#: How often a dashboard asks, s: what Grafana can be set to, and what it allows by default.
REFRESHES_S = (1.0, 5.0)
CLIENTS = 4
#: How often the peers are asked for the moment from which a scrape shows in their answers.
CLOSE_POLL_S = 0.05
READ_TIMEOUT_S = 15.0


class Sight(NamedTuple):
    """A client saw this count at that time, s since the epoch."""

    at_s: float
    retries: float


class Delays(NamedTuple):
    """Seconds until a change was seen, by server; the peers' by how often they were asked."""

    pushed: Sequence[float]
    polled: Mapping[float, Mapping[str, Sequence[float]]]
    #: From the scrape that had it until the server's answers did.
    from_scrape: Mapping[str, Sequence[float]]


def measure_delays(
    proxy: RecordingProxy, servers: Mapping[str, Running], interval_s: float, seconds: float
) -> Delays:
    """Count retries for so long, and return when they were seen."""
    stop = threading.Event()
    pushes: list[Sight] = []
    polls: dict[tuple[str, float], list[list[Sight]]] = defaultdict(list)
    watches: list[Callable[[], None]] = [lambda: _watch_stream(servers[ZAIDASH], pushes, stop)]
    for name in NAMES[1:]:
        clients = {refresh_s: CLIENTS for refresh_s in REFRESHES_S} | {CLOSE_POLL_S: 1}
        for refresh_s, count in clients.items():
            for number in range(count):
                sights: list[Sight] = []
                polls[name, refresh_s].append(sights)
                phase_s = refresh_s * number / count
                watches.append(_poll(servers[name], refresh_s, phase_s, sights, stop))
    with _running(watches, stop):
        time.sleep(2 * interval_s)
        moments = _count_retries(proxy, seconds)
        time.sleep(2 * interval_s + max(REFRESHES_S))
    scrapes = _scrapes(proxy)
    close = {ZAIDASH: pushes} | {name: polls[name, CLOSE_POLL_S][0] for name in NAMES[1:]}
    return Delays(
        delays(moments, pushes),
        {
            refresh_s: {
                name: [s for sights in polls[name, refresh_s] for s in delays(moments, sights)]
                for name in NAMES[1:]
            }
            for refresh_s in REFRESHES_S
        },
        {name: _after(scrapes[name], moments, close[name]) for name in NAMES},
    )


def delays(moments: Sequence[float], sights: Sequence[Sight]) -> list[float]:
    """Return how long it took until each count, the first being 1, was seen."""
    counts = [sight.retries for sight in sights]  # never falls: the beacon does not restart
    assert counts == sorted(counts), "the beacon's count went back"
    found = []
    for number, moment_s in enumerate(moments, 1):
        place = bisect_left(counts, number)
        assert place < len(sights), f"retry {number} of {len(moments)} was never seen"
        found.append(sights[place].at_s - moment_s)
    return found


def _after(
    scrapes: Sequence[float], moments: Sequence[float], sights: Sequence[Sight]
) -> list[float]:
    """Return how long after the scrape that had it each count was seen."""
    seen = [
        moment_s + delay_s
        for moment_s, delay_s in zip(moments, delays(moments, sights), strict=True)
    ]
    return [
        seen_s - scrapes[bisect_left(scrapes, moment_s)]
        for moment_s, seen_s in zip(moments, seen, strict=True)
    ]


def _scrapes(proxy: RecordingProxy) -> dict[str, list[float]]:
    """Return when each server scraped the beacon."""
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for kind, at_s, *rest in list(proxy.ledger):
        if kind == "scrape" and rest[0] in AGENTS:
            found[AGENTS[rest[0]]].append(at_s)
    return found


def count_scrapes(proxy: RecordingProxy, begin_s: float, end_s: float) -> dict[str, int]:
    """Return how often each server scraped the beacon in a time."""
    return {
        name: sum(1 for at_s in times if begin_s <= at_s < end_s)
        for name, times in _scrapes(proxy).items()
    }


def _count_retries(proxy: RecordingProxy, seconds: float) -> list[float]:
    """Count a retry some times a second, at random; returns the moments."""
    moments = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        time.sleep(random.uniform(0.1, 0.7))
        moments.append(time.time())
        proxy.retry()
    return moments


# --------------------------------------------------------------------------------------
# Clients
# --------------------------------------------------------------------------------------


@contextmanager
def _running(watches: Sequence[Callable[[], None]], stop: threading.Event) -> Iterator[None]:
    threads = [threading.Thread(target=watch, name="client", daemon=True) for watch in watches]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(READ_TIMEOUT_S)


def _watch_stream(server: Running, sights: list[Sight], stop: threading.Event) -> None:
    """Note the beacon's count of every snapshot that is pushed."""
    with closing(_connect(server)) as connection:
        connection.request("GET", "/api/events")
        reply = connection.getresponse()
        while not stop.is_set():
            line = reply.readline()
            at_s = time.time()
            if line.startswith(b"data: "):
                event = json.loads(line.removeprefix(b"data: "))
                if event["type"] == "metrics" and event["data"]["variant"] == BEACON:
                    sights.append(Sight(at_s, event["data"]["retry_attempts"]))


def _poll(
    server: Running, refresh_s: float, phase_s: float, sights: list[Sight], stop: threading.Event
) -> Callable[[], None]:
    """Return a client that asks at fixed moments, whatever an answer takes."""

    def run() -> None:
        with closing(_connect(server)) as connection:
            due_s = time.time() + phase_s
            while not stop.wait(max(0.0, due_s - time.time())):
                due_s += refresh_s
                if (count := _ask(connection)) is not None:
                    sights.append(Sight(time.time(), count))

    return run


def _connect(server: Running) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=READ_TIMEOUT_S)


def _ask(connection: http.client.HTTPConnection) -> float | None:
    parameters = urlencode({"query": QUERY, "time": f"{time.time():.3f}"})
    connection.request("GET", f"/api/v1/query?{parameters}")
    reply = connection.getresponse()
    result = json.loads(reply.read())["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def knows_the_beacon(servers: Mapping[str, Running]) -> bool:
    """Say whether all three have scraped it."""
    status = json.loads(get(f"{servers[ZAIDASH].url}/api/status").body)
    peers = [servers[name] for name in NAMES[1:]]
    return status[BEACON]["last_scrape"] is not None and all(_has_beacon(peer) for peer in peers)


def _has_beacon(server: Running) -> bool:
    with closing(_connect(server)) as connection:
        return _ask(connection) is not None
