"""Many zai-proxy replicas in one process, for `bench_scrape.py` and `load.py`; runs by hand, too.

`python bench/replicas.py --count 50 --samples 750` prints the URLs of 50 targets, comma-separated,
and serves them until it is ended. The expositions come from `tests/fake_proxy.py` and are made
beforehand, so serving costs next to nothing: every scrape of a replica gets the next version, in
which the counters have grown; after the last version they stand still.

Like a Go client, it exports `go_` families that zaidash does not read, and compresses its answers
unless `--plain`.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import random
import signal
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import common  # noqa: F401  (the path to what follows)
from fake_proxy import CONTENT_TYPE, FakeProxy

#: Versions made beforehand: so many scrapes of a replica show growing counters.
VERSIONS = 40

REQUESTS_PER_VERSION = 60
MAX_WORKERS = 50
PATHS = ("/v1/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/complete")
STATUS_CODES = (200, 201, 400, 401, 404, 429, 500, 502, 503, 529)


def expositions(samples: int, versions: int = VERSIONS) -> Iterator[bytes]:
    """Yield bodies with exactly so many sample lines each, and growing counters.

    What is missing to that number is filled up with families of the Go runtime.
    """
    rng = random.Random(samples)
    proxy = FakeProxy()
    proxy.set_gauges(concurrent=12, max_workers=MAX_WORKERS, utilization=0.24, rate_limit_rps=40.0)
    for event in (proxy.upstream_error, proxy.retry, proxy.reject):
        event()
    for path, code in itertools.product(PATHS, STATUS_CODES):
        if _sample_count(proxy.exposition()) > samples - 40:
            break  # one more label set has 19 lines, up to 39 with the sizes of a new path
        _make_request(proxy, rng, path, code)
    known = sorted(proxy.truth.requests)
    for _ in range(versions):
        for _ in range(REQUESTS_PER_VERSION):
            _make_request(proxy, rng, PATHS[0], int(rng.choice(known)))
        yield _fill_up(proxy.exposition(), samples)


def _make_request(proxy: FakeProxy, rng: random.Random, path: str, code: int) -> None:
    tokens = (rng.randrange(1, 2_000), rng.randrange(1, 800), rng.randrange(1, 9_000), 17)
    proxy.request(
        code,
        rng.lognormvariate(0.2, 0.8),
        request_bytes=rng.randrange(400, 60_000),
        response_bytes=rng.randrange(200, 20_000),
        tokens=tokens,
        path=path,
    )


def _sample_count(body: bytes) -> int:
    return sum(1 for line in body.splitlines() if line and not line.startswith(b"#"))


def _fill_up(body: bytes, samples: int) -> bytes:
    missing = samples - _sample_count(body)
    assert missing >= 0, f"{samples} samples are fewer than a proxy has"
    lines = [
        b'go_memstats_frees_by_size{size="%d"} %d.5e+06\n' % (8 * n, n) for n in range(missing)
    ]
    return body + b"".join(lines)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        body = self.server.next_body(self.path)
        head = (
            "HTTP/1.1 200 OK\r\n"
            f"Content-Type: {CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\n"
            + ("Content-Encoding: gzip\r\n" if self.server.is_gzipped else "")
            + "Connection: close\r\n\r\n"
        )
        self.close_connection = True
        self.wfile.write(head.encode() + body)

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, bodies: Sequence[bytes], is_gzipped: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.is_gzipped = is_gzipped
        self._bodies = [gzip.compress(body, 6) for body in bodies] if is_gzipped else list(bodies)
        self._served_lock = threading.Lock()  # guards the next: a thread serves each connection
        self._served: defaultdict[str, int] = defaultdict(int)

    def next_body(self, path: str) -> bytes:
        with self._served_lock:
            number = self._served[path]
            self._served[path] += 1
        return self._bodies[min(number, len(self._bodies) - 1)]


def main() -> int:
    parser = argparse.ArgumentParser(description="Pretend to be many replicas of a zai-proxy.")
    parser.add_argument("--count", type=int, default=50, help="replicas (default: %(default)s)")
    parser.add_argument(
        "--samples", type=int, default=750, help="sample lines each (default: %(default)s)"
    )
    parser.add_argument(
        "--versions", type=int, default=VERSIONS, help="scrapes that differ (default: %(default)s)"
    )
    parser.add_argument("--plain", action="store_true", help="do not compress")
    options = parser.parse_args()
    server = _Server(list(expositions(options.samples, options.versions)), not options.plain)
    threading.Thread(target=server.serve_forever, name="server", daemon=True).start()
    urls = (
        f"http://127.0.0.1:{server.server_port}/{number}/metrics" for number in range(options.count)
    )
    print(",".join(urls), flush=True)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
