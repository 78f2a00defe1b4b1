"""A zai-proxy for `agree.py` that follows a plan and writes down all that happens to it.

`python bench/agree_proxy.py --ledger FILE --begin 1790000000 --plan '[[30.5, "restart", 0]]'`
prints its URL and makes random traffic until it is ended; then it writes the ledger. The metrics
are those of `tests/fake_proxy.py`, so `prometheus_client` counts and encodes them.

A plan has steps (seconds after `--begin`, what, how long):

    burst     three times the requests, a fifth of them answered with 503 while it lasts
    idle      no request at all
    restart   a new process: counters at 0, a later start time
    failing   scrapes are answered with 500, requests go on
    <code>    from now on this status code is answered too, 25 times at once at first

The ledger has a line for each thing, in the order of time (seconds since the epoch):

    request TIME CODE SECONDS REQUEST_BYTES RESPONSE_BYTES INPUT OUTPUT CACHE_READ CACHE_WRITE
    restart TIME
    scrape TIME USER_AGENT     an answer with the metrics, not a 500
"""

from __future__ import annotations

import argparse
import json
import math
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import common  # noqa: F401  (the path to what follows)
from fake_proxy import FakeProxy, Tokens, random_tokens, set_by_a_signal

#: Latencies are lognormal; with these they reach from the first buckets to the last.
MEDIAN_LATENCY_S = 0.8
LATENCY_SIGMA = 1.2

#: How many answers of a hundred have which status code, on a calm day.
STATUS_CODES = {200: 93, 400: 1, 429: 2, 500: 2, 502: 2}

BURST_FACTOR = 3
BURST_CODE = 503
BURST_ERROR_SHARE = 0.2

#: A status code that is new: so many at once, and then this share.
NEW_CODE_AT_ONCE = 25
NEW_CODE_SHARE = 0.01

#: Requests that are due are made in steps of this; each has the time at which it is really made.
STEP_S = 0.005


class Step(NamedTuple):
    """A step of the plan: `at_s` after its beginning, for `lasts_s`."""

    at_s: float
    what: str
    lasts_s: float


class RecordingProxy(FakeProxy):
    """A fake proxy whose ledger has a time for every event. One thread makes the requests."""

    #: Each thread that serves a connection has its own last headers: so a scrape knows whose it is.
    _serving = threading.local()

    def __init__(self, variant: str) -> None:
        self.ledger: list[tuple[Any, ...]] = []  # appended to by all threads, which is atomic
        super().__init__(variant)

    @property
    def last_headers(self) -> dict[str, str]:
        headers: dict[str, str] = getattr(self._serving, "headers", {})
        return headers

    @last_headers.setter
    def last_headers(self, headers: dict[str, str]) -> None:
        self._serving.headers = headers

    def scrape(self) -> bytes:
        agent = self.last_headers.get("user-agent", "-").partition("/")[0]
        self.ledger.append(("scrape", time.time(), agent))
        return super().scrape()

    def restart(self) -> None:
        self.ledger.append(("restart", time.time()))
        super().restart()

    def answer(
        self, code: int, seconds: float, request_bytes: int, response_bytes: int, tokens: Tokens
    ) -> None:
        """Finish one request, and write it down first: a scrape sees both or at most the line."""
        sizes = (request_bytes, response_bytes)
        self.ledger.append(("request", time.time(), code, repr(seconds), *sizes, *tokens))
        self.request(
            code,
            seconds,
            request_bytes=request_bytes,
            response_bytes=response_bytes,
            tokens=tokens,
        )


class Traffic:
    """Random requests at random moments, as the plan wants them."""

    def __init__(self, proxy: RecordingProxy, rate: float, plan: Sequence[Step], seed: str) -> None:
        self._proxy = proxy
        self._rate = rate
        self._plan = plan
        self._rng = random.Random(seed)
        self._codes = dict(STATUS_CODES)
        self._done: set[Step] = set()

    def answer_everything_once(self) -> None:
        """Let all there is on a calm day be there before the first scrape."""
        for code in (*STATUS_CODES, BURST_CODE):
            self._answer(code)
        self._proxy.answer(200, 0.1, 2_000, 8_000, Tokens(1, 1, 1, 1))

    def run(self, begin_s: float, stop: threading.Event) -> None:
        """Send requests until `stop` is set."""
        due_s = time.time()
        while not stop.wait(STEP_S):
            now_s = time.time()
            under_way = {s.what for s in self._plan if self._is_on(s, now_s - begin_s)}
            self._proxy.is_failing = "failing" in under_way
            rate = self._rate * (BURST_FACTOR if "burst" in under_way else 1)
            for step in self._plan:
                if step.at_s <= now_s - begin_s and step not in self._done:
                    self._done.add(step)
                    self._begin(step)
            while due_s <= now_s:
                if "idle" not in under_way:
                    is_failure = "burst" in under_way and self._rng.random() < BURST_ERROR_SHARE
                    self._answer(BURST_CODE if is_failure else self._random_code())
                due_s += self._rng.expovariate(rate)

    @staticmethod
    def _is_on(step: Step, now_s: float) -> bool:
        return step.at_s <= now_s < step.at_s + step.lasts_s

    def _begin(self, step: Step) -> None:
        if step.what == "restart":
            self._proxy.restart()
        elif step.what.isdigit():
            code = int(step.what)
            self._codes[code] = round(100 * NEW_CODE_SHARE)
            for _ in range(NEW_CODE_AT_ONCE):
                self._answer(code)

    def _random_code(self) -> int:
        return self._rng.choices(list(self._codes), list(self._codes.values()))[0]

    def _answer(self, code: int) -> None:
        rng = self._rng
        seconds = rng.lognormvariate(math.log(MEDIAN_LATENCY_S), LATENCY_SIGMA)
        request_bytes = round(rng.lognormvariate(math.log(6_000), 0.8))
        if code != 200:
            self._proxy.answer(code, seconds, request_bytes, rng.randrange(100, 300), Tokens())
            return
        tokens = random_tokens(rng, spread=(0.7, 0.6), write_share=0.3)
        self._proxy.answer(code, seconds, request_bytes, 400 + 5 * tokens.output, tokens)


def main() -> int:
    parser = argparse.ArgumentParser(description="Pretend to be a zai-proxy, and keep a ledger.")
    parser.add_argument("--variant", default="production", help="the label (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=200.0, help="requests/s (default: 200)")
    parser.add_argument("--seed", default="1", help="makes the same requests every time")
    parser.add_argument("--begin", type=float, required=True, help="beginning of the plan, epoch")
    parser.add_argument("--plan", default="[]", help="JSON: [[at, what, how long], ...]")
    parser.add_argument("--ledger", type=Path, required=True, help="file to write at the end")
    options = parser.parse_args()
    stop = set_by_a_signal()
    plan = [Step(*step) for step in json.loads(options.plan)]
    proxy = RecordingProxy(options.variant)
    traffic = Traffic(proxy, options.rate, plan, options.seed)
    traffic.answer_everything_once()
    with proxy:
        print(proxy.url, flush=True)
        traffic.run(options.begin, stop)
    with options.ledger.open("w", encoding="utf-8") as file:
        file.writelines(" ".join(map(str, line)) + "\n" for line in proxy.ledger)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
