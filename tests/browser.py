"""A real Chromium for the tests of the page: pages that are watched, and waiting with a deadline.

A test module says `pytest_plugins = ["browser"]` and takes the fixture `open_page`:

    def test_something(open_page: OpenPage) -> None:
        with run_zaidash(env=...) as zaidash:
            dash = open_page(zaidash, "?range=5m")
            dash.wait_drawn()
            expect(dash.tile("requests", "production")).to_contain_text("/s")

A page that logs an error or a warning, throws, or asks another host for anything fails its test,
wherever that happens. A test that provokes such lines names them beforehand:
`dash.expect_trouble(SERVER_GONE)`.

It takes playwright and Chromium; see `needs` for what happens where they are missing.

A service that ends while its page is open is gone for the browser, too, which says so on the
console: such lines pass once the process has exited. So a test may end with its page open.

While a test waits by any other means than this module's or playwright's (`support.eventually`,
`time.sleep`), the browser goes on but no event of it arrives: no route is answered, no message
collected. `Dashboard.wait_until` is the same for pages.

PYTEST_DONT_REWRITE: test modules import this before pytest learns that it is a plugin.
"""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

import pytest
from needs import give_up
from support import CHROMIUM, PATIENCE, Zaidash, launch_chromium

if TYPE_CHECKING:
    from playwright.sync_api import (
        Browser,
        BrowserContext,
        Locator,
        Page,
        Route,
        ViewportSize,
    )

try:
    from playwright.sync_api import TimeoutError as TimedOut
    from playwright.sync_api import expect, sync_playwright

    has_playwright = True
except ImportError:  # then the fixture `chromium` skips or fails
    has_playwright = False
    expect = sync_playwright = TimedOut = None  # type: ignore

__all__ = [
    "CHART_FIELDS",
    "SCREEN",
    "SERVER_GONE",
    "WAIT_S",
    "Dashboard",
    "Obstacle",
    "OpenPage",
    "Table",
    "TimedOut",
    "chromium",
    "expect",
    "open_page",
]

#: The size of a screen where a test says nothing else.
SCREEN: ViewportSize = {"width": 1280, "height": 900}

#: How long anything on a page may take before the test fails; the machine may be busy.
WAIT_S = 90.0

#: How often `Dashboard.wait_until` looks.
POLL_MS = 50

#: The least time between two downloads: past ten a second Chromium drops them without a word.
DOWNLOAD_PAUSE_S = 0.12

#: What the browser itself logs while nobody listens on the service's port.
SERVER_GONE = r"Failed to load resource: net::ERR_(CONNECTION_|EMPTY_RESPONSE|INCOMPLETE_CHUNKED)"

#: What it may log while the service ends.
_SERVICE_ENDS = rf"{SERVER_GONE}|status of 503"

#: Fields of the charts of lines, by panel and what a line is called.
CHART_FIELDS: dict[str, dict[str, str]] = {
    "latency": {"p50": "latency_p50", "p95": "latency_p95", "p99": "latency_p99"},
    "tokens": {
        "input": "token_rate_in",
        "output": "token_rate_out",
        "cache read": "token_rate_cache_read",
        "cache write": "token_rate_cache_write",
    },
    "concurrency": {
        "under way": "concurrent_requests",
        "max workers": "max_workers",
        "utilisation": "worker_utilization",
    },
    "rate-limit": {"limit": "rate_limit_rps", "requests": "req_rate"},
    "errors": {"error rate (5xx)": "error_rate_pct"},
    "sizes": {"request": "request_size_avg", "response": "response_size_avg"},
}

T = TypeVar("T")


class Table(NamedTuple):
    """A CSV file that the page handed out, all fields still text."""

    file_name: str
    header: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """Return all fields below a name of the header."""
        place = self.header.index(name)
        return [row[place] for row in self.rows]


class Dashboard:
    """A page that shows a zaidash, and everything it complained about."""

    def __init__(self, page: Page, zaidash: Zaidash | str) -> None:
        self.page = page
        self.url = (zaidash if isinstance(zaidash, str) else zaidash.url).rstrip("/")
        self._process = None if isinstance(zaidash, str) else zaidash.process
        self.problems: list[str] = []
        self._expected: list[str] = []
        self._next_download_s = 0.0
        page.on("console", lambda line: self._on_console(line.type, line.text, line.location))
        page.on("pageerror", lambda error: self._add(f"page error: {error}"))
        page.on("crash", lambda _: self._add("the page crashed"))
        page.on("request", lambda request: self._on_request(request.url))
        page.on("websocket", lambda socket: self._on_request(socket.url))

    # What goes wrong

    def expect_trouble(self, *patterns: str) -> None:
        """Let console lines and page errors pass from now on that match a regular expression.

        A line is `<type>: <text> <URL it is about>`. Requests to other hosts never pass.
        """
        self._expected.extend(patterns)

    def check(self) -> None:
        """Fail when the page complained. `open_page` does it at the end of every test."""
        if self.problems:
            raise AssertionError("\n".join(["the page complained:", *self.problems]))

    def _on_console(self, kind: str, text: str, location: Any) -> None:
        if kind in ("error", "warning", "assert"):
            self._add(f"{kind}: {text} {location.get('url', '')}")

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.problems.append(f"request to another host: {url}")

    def _add(self, problem: str) -> None:
        has_ended = self._process is not None and self._process.poll() is not None
        expected = [*self._expected, *([_SERVICE_ENDS] if has_ended else [])]
        if not any(re.search(pattern, problem) for pattern in expected):
            self.problems.append(problem)

    # Going somewhere, waiting for something

    def goto(self, query: str = "") -> None:
        """Load the page anew at an address such as `?range=5m`."""
        self.page.goto(f"{self.url}/{query}")

    def wait_until(
        self, condition: Callable[[], T], what: str = "the condition", timeout_s: float = WAIT_S
    ) -> T:
        """Return the first truthy value of `condition()`; events of the page arrive meanwhile."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline_s:
                raise AssertionError(f"waited {timeout_s:g} s for {what}; last value: {value!r}")
            self.page.wait_for_timeout(POLL_MS)
        return value

    def wait_drawn(self) -> None:
        """Wait until every panel shows something and none says that it is loading.

        The request history loads when it is scrolled to, so it does not count: `wait_loaded`.
        """
        self.page.wait_for_function(
            """() => document.querySelector("[data-panel]") !== null
              && ![...document.querySelectorAll("[data-panel]:not([data-panel=history])")]
                .some((panel) => panel.innerText.includes("Loading"))"""
        )

    def wait_loaded(self, panel: str) -> None:
        """Scroll to a panel and wait until it does not say that it is loading."""
        self.panel(panel).evaluate("(element) => element.scrollIntoView({ block: 'nearest' })")
        expect(self.panel(panel)).not_to_contain_text("Loading")

    def wait_connection(self, kind: str) -> None:
        """Wait until the header says `live`, `waiting`, `reconnecting`, `stale`, `paused` ..."""
        expect(self.page.locator(f"[data-connection={kind}]")).to_be_visible()

    def wait_reason(self, banner: Locator, zaidash: Zaidash, variant: str) -> None:
        """Wait until a banner says why a variant's only target is down, as of the last scrape."""

        def tells_it() -> bool:
            targets = zaidash.json("/api/targets")
            (reason,) = (one["last_error"] for one in targets if one["variant"] == variant)
            return bool(reason) and f" is down: {reason}" in banner.inner_text()

        self.wait_until(tells_it, "the reason")

    # What is on the page

    @property
    def connection(self) -> Locator:
        """The connection's state in the header."""
        return self.page.locator("[data-connection]")

    def panel(self, name: str) -> Locator:
        """A panel: requests, latency, heat-map, tokens, concurrency, rate-limit, errors, sizes,
        history or targets."""
        return self.page.locator(f"[data-panel={name}]")

    def tile(self, name: str, variant: str) -> Locator:
        """A variant's row in a tile."""
        return self.page.locator(f"[data-tile={name}] [data-variant={variant}]")

    def table(self, panel: str) -> Table:
        """Wait for a panel's data, press its CSV button and read the file."""
        self.wait_loaded(panel)
        button = self.panel(panel).get_by_role("button", name=re.compile("save as CSV"))
        self.page.wait_for_timeout(1000 * max(0, self._next_download_s - time.monotonic()))
        self._next_download_s = time.monotonic() + DOWNLOAD_PAUSE_S
        with self.page.expect_download() as waiting:
            # Unlike `click()`, this does not wait for frames, which a busy machine draws slowly.
            button.dispatch_event("click")
        download = waiting.value
        with Path(download.path()).open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(io.StringIO(file.read()), strict=True)
        return Table(download.suggested_filename, header, rows)


class Obstacle:
    """What some requests of a page meet instead of the service, until it is cleared.

    To be made before the page is loaded where its first requests are to meet it: those escape that
    are under way when a first route is set.
    """

    def __init__(
        self,
        dash: Dashboard,
        matching: str | Callable[[str], bool],
        answer: Callable[[Route], object] | None = None,
        *,
        is_there: bool = True,
    ) -> None:
        #: Requests that wait for an answer; all of them, where there is none to give.
        self.held: list[Route] = []
        self.is_there = is_there
        self._dash = dash
        self.answer = answer or self.held.append
        dash.page.route(matching, self._meet)

    def _meet(self, route: Route) -> None:
        if self.is_there:
            self.answer(route)
        else:
            route.continue_()

    def wait(self, count: int) -> None:
        """Wait until so many requests are held."""
        what = f"{count} requests of {self._dash.page.url} to be held"
        self._dash.wait_until(lambda: len(self.held) >= count, what)

    def clear(self) -> None:
        """Let everything through, and what was held first."""
        self.is_there = False
        for route in self.held:
            with suppress(Exception):  # the page may have hung up
                route.continue_()
        self.held.clear()


class OpenPage(Protocol):
    """Opens a page of a zaidash (or at a URL), in a browser context of its own.

    `options` are those of playwright's `Browser.new_context`: `viewport`, `color_scheme`,
    `reduced_motion`, `timezone_id`, `base_url` ... `before` is called with the page before it goes
    anywhere: for init scripts, and for routes, which miss requests when they are set later.
    """

    def __call__(
        self,
        zaidash: Zaidash | str,
        query: str = "",
        *,
        before: Callable[[Dashboard], object] | None = None,
        **options: Any,
    ) -> Dashboard: ...


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Give one Chromium for all tests; each of them opens contexts of its own."""
    if not has_playwright:
        give_up("the Python package playwright is not installed")
    if not CHROMIUM.exists():
        give_up(f"there is no Chromium at {CHROMIUM}")
    expect.set_options(timeout=WAIT_S * 1000)
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright.chromium, PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Give a function that opens watched pages; at the end, none of them may have complained."""
    contexts: list[BrowserContext] = []
    dashboards: list[Dashboard] = []

    def open_one(
        zaidash: Zaidash | str,
        query: str = "",
        *,
        before: Callable[[Dashboard], object] | None = None,
        **options: Any,
    ) -> Dashboard:
        options.setdefault("viewport", SCREEN)
        context = chromium.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(WAIT_S * 1000)
        dashboard = Dashboard(context.new_page(), zaidash)
        dashboards.append(dashboard)
        if before is not None:
            before(dashboard)
        dashboard.goto(query)
        return dashboard

    try:
        yield open_one
    finally:
        for context in contexts:
            context.close()
    for dashboard in dashboards:
        dashboard.check()
