"""A zai-proxy that only pretends: real metrics over real HTTP, and it knows what really happened.

`FakeProxy` exports the families of a zai-proxy through `prometheus_client`, so what zaidash reads
comes from an encoder that shares no code with its parser. Every event is also written to a ledger,
`FakeProxy.truth`, which is what a test compares zaidash's numbers with:

    with FakeProxy(variant="canary") as proxy:
        proxy.request(200, seconds=0.12, tokens=(900, 250, 0, 0))
        proxy.restart()  # counters back at zero; the ledger remembers
        proxy.truth.requests["200"]  # 1

By hand, `python tests/fake_proxy.py --port 9101 --rate 20` prints its URL and makes traffic until
Ctrl-C.

Threads: the owner calls the methods; one thread accepts scrapes, and one more serves each open
connection. `_state_lock` makes every event and every exposition atomic, so a scrape never shows
half of an event.
"""

from __future__ import annotations

import argparse
import gzip
import math
import random
import signal
import socket
import threading
import time
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any, Literal, NamedTuple

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    disable_created_metrics,
    generate_latest,
)

# A Go client exports no `_created` series beside its counters, so neither does its double.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Upper bounds in seconds; `+Inf` is implied.
DURATION_BUCKETS_S = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)

#: Upper bounds in bytes: 100 B to 100 MB.
SIZE_BUCKETS_BYTES = tuple(10.0**exponent for exponent in range(2, 9))

#: The values of the label `direction` of `zai_proxy_tokens_total`, in the order of `Tokens`.
TOKEN_DIRECTIONS = ("input", "output", "cache_read", "cache_write")

#: The longest latency list a ledger keeps: a fake proxy left running overnight stays small.
LATENCIES_KEPT = 200_000

#: How long an idle connection may hold its thread.
IDLE_TIMEOUT_S = 30.0

MESSAGES_PATH = "/v1/messages"

# --------------------------------------------------------------------------------------
# What happened: the ledger
# --------------------------------------------------------------------------------------


class Tokens(NamedTuple):
    """Tokens of one request, by direction."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass
class Truth:
    """Everything a proxy did since it was made, across restarts."""

    requests: Tally[str] = field(default_factory=Tally)  # by status code
    tokens: Tally[str] = field(default_factory=Tally)  # by direction
    adjustments: Tally[str] = field(default_factory=Tally)  # by direction
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))
    request_bytes: int = 0
    response_bytes: int = 0
    rejections: int = 0
    upstream_errors: int = 0
    retries: int = 0
    restarts: int = 0

    @property
    def request_size_avg(self) -> float:
        return self.request_bytes / self.requests.total()

    @property
    def response_size_avg(self) -> float:
        return self.response_bytes / self.requests.total()

    def count_class(self, first_digit: int) -> int:
        """Requests whose status code begins with `first_digit`: 2, 4 or 5."""
        return sum(n for code, n in self.requests.items() if code[0] == str(first_digit))


@dataclass(frozen=True)
class Gauges:
    """What the gauges show. They are settings and states, so a restart keeps them."""

    concurrent: float = 0
    max_workers: float = 50
    utilization: float = 0
    rate_limit_rps: float = 100


# --------------------------------------------------------------------------------------
# What is exported: the metrics of one process lifetime
# --------------------------------------------------------------------------------------


class _Lifetime:
    """The registry of one process, from its start to its restart."""

    def __init__(self, start_time_s: float) -> None:
        self.start_time_s = start_time_s
        self.registry = CollectorRegistry()
        by_request = ("method", "path", "status_code", "variant")
        by_path = ("method", "path", "variant")

        self.requests = self._counter("zai_proxy_requests_total", "Requests answered.", by_request)
        self.tokens = self._counter(
            "zai_proxy_tokens_total",
            "Tokens passed through.",
            ("direction", "model", "pricing_tier", "variant"),
        )
        self.duration = self._histogram(
            "zai_proxy_request_duration_seconds", "Time to answer.", by_request, DURATION_BUCKETS_S
        )
        self.request_size = self._histogram(
            "zai_proxy_request_size_bytes", "Size of request bodies.", by_path, SIZE_BUCKETS_BYTES
        )
        self.response_size = self._histogram(
            "zai_proxy_response_size_bytes", "Size of response bodies.", by_path, SIZE_BUCKETS_BYTES
        )
        self.concurrent = self._gauge("zai_proxy_concurrent_requests", "Requests being served.")
        self.max_workers = self._gauge("zai_proxy_max_workers", "Requests served at most.")
        self.utilization = self._gauge(
            "zai_proxy_worker_utilization_ratio", "Share of the workers that are busy."
        )
        self.rate_limit = self._gauge(
            "zai_proxy_rate_limit_requests_per_second", "The rate limit in force."
        )
        self.rejections = self._counter(
            "zai_proxy_rate_limit_rejections_total", "Requests turned away by the rate limit."
        )
        self.upstream_errors = self._counter(
            "zai_proxy_upstream_errors_total", "Requests the upstream failed."
        )
        self.retries = self._counter(
            "zai_proxy_retry_attempts_total", "Requests sent upstream again."
        )
        self.adjustments = self._counter(
            "zai_proxy_rate_limit_adjustments_total", "Rate limit changes.", ("direction",)
        )
        self.scrapes = self._counter(
            "promhttp_metric_handler_requests_total", "Scrapes answered.", ("code",)
        )
        self._export_runtime()

    def _export_runtime(self) -> None:
        """Add some of what every Go process exports; zaidash reads the start time alone."""
        self._gauge("process_start_time_seconds", "Process start, Unix time.").set(
            self.start_time_s
        )
        self._gauge("process_open_fds", "Open file descriptors.").set(17)
        self._gauge("go_goroutines", "Goroutines that exist.").set(23)
        self._gauge("go_memstats_alloc_bytes", "Bytes allocated and in use.").set(4_194_304)
        self._gauge("go_info", "The Go environment.", ("version",)).labels("go1.22.5").set(1)
        Summary("go_gc_duration_seconds", "GC pauses.", registry=self.registry).observe(0.00012)

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def show(self, gauges: Gauges) -> None:
        self.concurrent.set(gauges.concurrent)
        self.max_workers.set(gauges.max_workers)
        self.utilization.set(gauges.utilization)
        self.rate_limit.set(gauges.rate_limit_rps)


# --------------------------------------------------------------------------------------
# How it is served
# --------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    """Serves one `FakeProxy`. Its connections end with it, as those of a process that dies."""

    daemon_threads = False  # server_close() then waits for them, and no socket outlives a test
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], proxy: FakeProxy) -> None:
        self.proxy = proxy
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()
        # Guards `_connections`, which the accepting and the serving threads change.
        self._connections_lock = threading.Lock()
        super().__init__(address, _Handler)
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.02,), name=f"fake-proxy-{self.server_port}"
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._connections_lock:
            for connection in self._connections:
                with suppress(OSError):  # the scraper was faster
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S
    disable_nagle_algorithm = True  # headers and body are two writes; no 40 ms in between

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, "text/plain; charset=utf-8", b"404 page not found\n")
            return
        self.server.proxy.last_headers = {k.lower(): v for k, v in self.headers.items()}
        self.server.stopping.wait(self.server.proxy.delay_s)
        if self.server.proxy.is_failing:
            self._answer(500, "text/plain; charset=utf-8", b"500 told to fail\n")
            return
        self._answer(200, CONTENT_TYPE, self.server.proxy.scrape())

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if _accepts_gzip(self.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, compresslevel=1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self) -> None:
        with suppress(ConnectionError, TimeoutError):  # scrapers in tests hang up, some on purpose
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test's output is the test's."""


def _accepts_gzip(accept_encoding: str) -> bool:
    codings = (coding.replace(" ", "").lower() for coding in accept_encoding.split(","))
    return any(c.partition(";")[0] == "gzip" and not c.endswith(";q=0") for c in codings)


# --------------------------------------------------------------------------------------
# The proxy
# --------------------------------------------------------------------------------------


class FakeProxy:
    """One replica of a zai-proxy, serving `/metrics` on 127.0.0.1 while its context is open.

    `port` 0 takes a free one; it stays the same over `stop_serving()` and `start_serving()`.
    `start_time_s` (since the epoch) is what `process_start_time_seconds` shows at first.
    """

    def __init__(
        self,
        variant: str = "production",
        *,
        port: int = 0,
        start_time_s: float | None = None,
        delay_s: float = 0.0,
        model: str = "glm-4.6",
        pricing_tier: str = "standard",
    ) -> None:
        self.variant = variant
        self.model = model
        self.pricing_tier = pricing_tier
        #: Every scrape waits this long for its answer. May be changed at any time.
        self.delay_s = delay_s
        #: Every scrape is answered with 500. May be changed at any time.
        self.is_failing = False
        #: Headers of the last scrape, names in lower case.
        self.last_headers: dict[str, str] = {}
        self.truth = Truth()
        self.port = port
        self._gauges = Gauges()
        self._lifetime = _Lifetime(time.time() if start_time_s is None else start_time_s)
        self._lifetime.show(self._gauges)
        # Guards `truth`, `_gauges` and `_lifetime`: the owner changes them, scrapes read them.
        self._state_lock = threading.Lock()
        self._server: _Server | None = None

    def __enter__(self) -> FakeProxy:
        self.start_serving()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_serving()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    @property
    def start_time_s(self) -> float:
        return self._lifetime.start_time_s

    # ---- serving

    def start_serving(self) -> None:
        """Open the port, the same one as before if there was one. Does nothing when it is open."""
        if self._server is None:
            self._server = _Server(("127.0.0.1", self.port), self)
            self.port = self._server.server_port
            self._server.start()

    def stop_serving(self) -> None:
        """Close the port and cut every connection. Does nothing when it is closed."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def restart(self) -> None:
        """Be a new process: counters at zero, a later start time. The port stays open."""
        with self._state_lock:
            # A second later at least, or a test that restarts at once would go unnoticed.
            start_time_s = max(time.time(), self._lifetime.start_time_s + 1)
            self._lifetime = _Lifetime(start_time_s)
            self._lifetime.show(self._gauges)
            self.truth.restarts += 1

    def exposition(self) -> bytes:
        """Return what a scrape would get now, in the text format 0.0.4."""
        with self._state_lock:
            return generate_latest(self._lifetime.registry)

    def scrape(self) -> bytes:
        """Return the exposition and count it, as the server does for every GET."""
        body = self.exposition()
        with self._state_lock:
            self._lifetime.scrapes.labels("200").inc()
        return body

    # ---- events

    def request(
        self,
        status_code: int = 200,
        seconds: float = 0.12,
        *,
        request_bytes: int = 2_000,
        response_bytes: int = 8_000,
        tokens: tuple[int, int, int, int] = Tokens(),
        path: str = MESSAGES_PATH,
        method: str = "POST",
    ) -> None:
        """Finish one request. `tokens` is (input, output, cache read, cache write)."""
        code = str(status_code)
        with self._state_lock:
            lifetime = self._lifetime
            lifetime.requests.labels(method, path, code, self.variant).inc()
            lifetime.duration.labels(method, path, code, self.variant).observe(seconds)
            lifetime.request_size.labels(method, path, self.variant).observe(request_bytes)
            lifetime.response_size.labels(method, path, self.variant).observe(response_bytes)
            self.truth.requests[code] += 1
            self.truth.latencies_s.append(seconds)
            self.truth.request_bytes += request_bytes
            self.truth.response_bytes += response_bytes
            self._count_tokens(tokens)

    def _count_tokens(self, tokens: tuple[int, int, int, int]) -> None:
        for direction, count in zip(TOKEN_DIRECTIONS, tokens, strict=True):
            if count:  # a direction never used stays absent, as in a Go counter vector
                self._lifetime.tokens.labels(
                    direction, self.model, self.pricing_tier, self.variant
                ).inc(count)
                self.truth.tokens[direction] += count

    def reject(self) -> None:
        """Turn a request away by the rate limit. Its 429 is a `request()` of its own."""
        with self._state_lock:
            self._lifetime.rejections.inc()
            self.truth.rejections += 1

    def adjust(self, direction: str) -> None:
        """Change the rate limit: "increase", "decrease", or what zaidash is to leave uncounted."""
        with self._state_lock:
            self._lifetime.adjustments.labels(direction).inc()
            self.truth.adjustments[direction] += 1

    def upstream_error(self) -> None:
        with self._state_lock:
            self._lifetime.upstream_errors.inc()
            self.truth.upstream_errors += 1

    def retry(self) -> None:
        with self._state_lock:
            self._lifetime.retries.inc()
            self.truth.retries += 1

    def set_gauges(
        self,
        *,
        concurrent: float | None = None,
        max_workers: float | None = None,
        utilization: float | None = None,
        rate_limit_rps: float | None = None,
    ) -> None:
        """Set the gauges that are given; the others keep their values."""
        with self._state_lock:
            old = self._gauges
            self._gauges = Gauges(
                old.concurrent if concurrent is None else concurrent,
                old.max_workers if max_workers is None else max_workers,
                old.utilization if utilization is None else utilization,
                old.rate_limit_rps if rate_limit_rps is None else rate_limit_rps,
            )
            self._lifetime.show(self._gauges)


# --------------------------------------------------------------------------------------
# Traffic
# --------------------------------------------------------------------------------------

#: Mean length of a run of 5xx answers: upstreams fail in bursts.
BURST_REQUESTS = 4

MEDIAN_LATENCY_S = 1.2
MEAN_LATENCY_S = MEDIAN_LATENCY_S * math.exp(0.8**2 / 2)

Outcome = Literal["ok", "bad_request", "rate_limited", "upstream_failure"]


def outcomes(rng: random.Random, error_share: float = 0.01) -> Iterator[Outcome]:
    """Yield how one request after the other ends, for ever.

    Failures follow a two-state Markov chain (Gilbert's model of bursty loss): in a burst every
    request fails, and `error_share`, at most 0.8, is how many do in the long run.
    """
    leave = 1 / BURST_REQUESTS
    enter = leave * error_share / (1 - error_share)
    in_burst = False
    while True:
        in_burst = rng.random() < (1 - leave if in_burst else enter)
        if in_burst:
            yield "upstream_failure"
        else:
            yield rng.choices(("ok", "bad_request", "rate_limited"), (97, 1, 2))[0]


def make_request(
    proxy: FakeProxy, rng: random.Random, outcome: Outcome, slow_factor: float = 1.0
) -> None:
    """Send one random request through `proxy`, with everything that goes along with its outcome."""
    request_bytes = round(rng.lognormvariate(math.log(6_000), 1.0))
    if outcome == "rate_limited":
        proxy.reject()
        proxy.adjust("decrease")
        proxy.request(429, 0.002, request_bytes=request_bytes, response_bytes=120)
    elif outcome == "bad_request":
        proxy.request(400, 0.004, request_bytes=request_bytes, response_bytes=180)
    elif outcome == "upstream_failure":
        proxy.upstream_error()
        proxy.retry()
        seconds = slow_factor * rng.lognormvariate(math.log(0.4), 0.6)
        code = rng.choice((500, 502, 503, 529))
        proxy.request(code, seconds, request_bytes=request_bytes, response_bytes=240)
    else:
        _make_success(proxy, rng, request_bytes, slow_factor)


def _make_success(
    proxy: FakeProxy, rng: random.Random, request_bytes: int, slow_factor: float
) -> None:
    tokens = random_tokens(rng, spread=(0.9, 0.8), write_share=0.1)
    proxy.request(
        200,
        slow_factor * rng.lognormvariate(math.log(MEDIAN_LATENCY_S), 0.8),
        request_bytes=request_bytes,
        response_bytes=400 + 5 * tokens.output,
        tokens=tokens,
    )
    if rng.random() < 0.02:
        proxy.adjust("increase")


def random_tokens(rng: random.Random, spread: tuple[float, float], write_share: float) -> Tokens:
    """Return the tokens of a request; `spread` is the sigma of its input and of its output."""
    prompt = round(rng.lognormvariate(math.log(1_500), spread[0]))
    cached = round(prompt * rng.betavariate(4, 2)) if rng.random() < 0.6 else 0
    return Tokens(
        input=prompt - cached,
        output=round(rng.lognormvariate(math.log(300), spread[1])),
        cache_read=cached,
        cache_write=prompt // 2 if rng.random() < write_share else 0,
    )


def generate_traffic(
    proxy: FakeProxy,
    rng: random.Random,
    requests: int,
    *,
    slow_factor: float = 1.0,
    error_share: float = 0.01,
) -> None:
    """Send that many random requests at once: lognormal latencies, 429s, bursts of 5xx."""
    for outcome in islice(outcomes(rng, error_share), requests):
        make_request(proxy, rng, outcome, slow_factor)


# --------------------------------------------------------------------------------------
# By hand
# --------------------------------------------------------------------------------------

REPORT_INTERVAL_S = 10.0


def run_traffic(proxy: FakeProxy, options: argparse.Namespace, stop: threading.Event) -> None:
    """Send requests at random moments, `options.rate` a second on average, until `stop` is set."""
    rng = random.Random(options.seed)
    endings = outcomes(rng, options.error_share)
    now_s = due_s = report_s = time.monotonic()
    while not stop.wait(max(0.0, due_s - now_s)):
        now_s = time.monotonic()
        while due_s <= now_s:
            make_request(proxy, rng, next(endings), options.slow_factor)
            due_s += rng.expovariate(options.rate)
        _wander(proxy, rng, options.rate * MEAN_LATENCY_S * options.slow_factor)
        if not options.quiet and now_s >= report_s + REPORT_INTERVAL_S:
            report_s = now_s
            codes = " ".join(f"{code}={n}" for code, n in sorted(proxy.truth.requests.items()))
            print(f"requests={proxy.truth.requests.total()} {codes}", flush=True)


def _wander(proxy: FakeProxy, rng: random.Random, mean_concurrent: float) -> None:
    """Let the number of requests under way (Little's law: rate x latency) drift a little."""
    max_workers = max(50, math.ceil(2 * mean_concurrent))
    busy = min(max_workers, max(0, round(rng.gauss(mean_concurrent, math.sqrt(mean_concurrent)))))
    proxy.set_gauges(concurrent=busy, max_workers=max_workers, utilization=busy / max_workers)


def parse_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pretend to be a zai-proxy with traffic.")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--variant", default="production", help="the label (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=20.0, help="requests/s (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, help="makes the same traffic every time")
    parser.add_argument("--slow-factor", type=float, default=1.0, help="multiplies latencies")
    parser.add_argument(
        "--error-share", type=float, default=0.01, help="share of 5xx, 0 to 0.8 (default: 0.01)"
    )
    parser.add_argument("--quiet", action="store_true", help="print the URL and nothing else")
    options = parser.parse_args(argv)
    if options.rate <= 0 or not 0 <= options.error_share <= 0.8:
        parser.error("--rate must be positive and --error-share between 0 and 0.8")
    return options


def set_by_a_signal() -> threading.Event:
    """Return an event that Ctrl-C or SIGTERM sets from now on."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def main() -> int:
    options = parse_options()
    stop = set_by_a_signal()
    with FakeProxy(options.variant, port=options.port) as proxy:
        print(proxy.url, flush=True)
        run_traffic(proxy, options, stop)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
