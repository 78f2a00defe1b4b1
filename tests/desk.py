"""Somebody at the page: what the tests of its use and of its form have in common.

A test module says `pytest_plugins = ["browser", "desk"]` and takes the fixture `open_desk`, that is
`open_page` of a page that is drawn, with somebody at it who presses, drags and reads:

    def test_something(demo: Zaidash, open_desk: OpenDesk) -> None:
        desk = open_desk(demo, "?range=5m")
        desk.press("canary")
        assert desk.address["variant"] == "canary"

`demo` is a zaidash with a week of history that a module's tests share, `window` a part of it that
stands still, and `still` a page at this window for tests that only look.

PYTEST_DONT_REWRITE: test modules import this before pytest learns that it is a plugin.
"""

from __future__ import annotations

import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from browser import (
    SCREEN,
    WAIT_S,
    Dashboard,
    OpenPage,
    Table,
)
from fake_proxy import FakeProxy, generate_traffic
from support import Zaidash, eventually, run_zaidash

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Request, ViewportSize

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

WIDE = SCREEN
NARROW: ViewportSize = {"width": 360, "height": 780}
HUGE: ViewportSize = {"width": 3840, "height": 2160}

#: Panels of lines, as the page's address names them.
LINE_PANELS = ("requests", "latency", "tokens", "concurrency", "rate-limit", "errors", "sizes")
CHARTS = (*LINE_PANELS, "heat-map")
PANELS = (*CHARTS, "history", "targets")
PANELS_IN_ORDER = ("requests", "latency", "heat-map", *LINE_PANELS[2:], "history", "targets")

#: What a query for history begins with, on the page's own server.
HISTORY = re.compile(r"/api/(metrics|summary)\?")


# --------------------------------------------------------------------------------------
# A page, and what a test asks of it
# --------------------------------------------------------------------------------------

TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

#: Panels out of sight may wait with their question until they are seen.
IS_DRAWN = """() => {
  const panels = [...document.querySelectorAll("[data-panel]")];
  const isSeen = (panel) => {
    const { top, bottom } = panel.getBoundingClientRect();
    return top < innerHeight && bottom > 0;
  };
  const isLoading = (panel) => [...panel.querySelectorAll("[role=status]")]
    .some((status) => status.textContent.startsWith("Loading"));
  // What is out of sight is drawn a moment later, on a busy machine a long one.
  const plots = [...document.querySelectorAll("div[role=img]")];
  return panels.length > 0
    && plots.every((plot) => plot.querySelector("canvas") !== null)
    && !panels.some((panel) => (isSeen(panel) || panel.dataset.panel !== "history")
      && isLoading(panel));
}"""

#: All that tells what is chosen and drawn, but for what a clock moves.
PICTURE = """() => {
  const placeOf = (element) => element.closest("[data-panel]")?.dataset.panel ?? "page";
  const nameOf = (element) => element.getAttribute("aria-label") ?? element.textContent;
  const all = (selector) => [...document.querySelectorAll(selector)];
  return {
    pressed: all("[aria-pressed=true]").map((one) => `${placeOf(one)}: ${nameOf(one)}`),
    theme: document.documentElement.dataset.theme,
    chosen: document.querySelector("select").value,
    panels: all("[data-panel]").map(placeOf),
    charts: all("[role=img]:not(tbody *)").map((one) => one.getAttribute("aria-label")),
    sorted: all("[aria-sort=ascending], [aria-sort=descending]")
      .map((one) => `${one.textContent} ${one.ariaSort}`),
    pixels: all("canvas").map((one) => `${one.width} x ${one.height}`),
    totals: all("[data-panel] dl").map((one) => one.textContent),
  };
}"""


class Desk:
    """A page somebody works at: it knows what it asked the service, and when it has settled."""

    def __init__(self, dash: Dashboard) -> None:
        self.dash = dash
        self.page: Page = dash.page
        #: The queries for history and totals so far, oldest first.
        self.asked: list[dict[str, str]] = []
        self.urls: list[str] = []
        self._under_way: set[Request] = set()
        self.page.on("request", self._on_request)
        self.page.on("requestfinished", self._on_end)
        self.page.on("requestfailed", self._on_end)

    def _on_request(self, request: Request) -> None:
        self.urls.append(request.url)
        if HISTORY.search(request.url):
            self.asked.append(dict(parse_qsl(urlsplit(request.url).query)))
            self._under_way.add(request)

    def _on_end(self, request: Request) -> None:
        self._under_way.discard(request)

    def settle(self) -> None:
        """Wait until all answers are there and drawn."""
        calm = 0

        def is_calm() -> bool:
            nonlocal calm
            self.page.evaluate(TWO_FRAMES)
            calm = calm + 1 if not self._under_way and self.page.evaluate(IS_DRAWN) else 0
            return calm == 2

        self.dash.wait_until(is_calm, "all panels to be drawn")

    # What it shows

    @property
    def address(self) -> dict[str, str]:
        """The choices in the address, by name."""
        return dict(parse_qsl(urlsplit(self.page.url).query))

    def picture(self, *tables: str) -> dict[str, Any]:
        """Return what is chosen and drawn, with the CSV files of some panels."""
        # A scrape that a busy machine makes late brings a banner, and with it other places.
        self.dash.wait_until(
            lambda: self.page.get_by_text(" is down: ").count() == 0, "the demo to be up"
        )
        self.settle()
        picture: dict[str, Any] = self.page.evaluate(PICTURE)
        for panel in tables:
            table = self.dash.table(panel)
            picture[panel] = [table.header, *table.rows]
        return picture

    def canvases(self) -> list[str]:
        """Return all pixels of all charts."""
        pixels: list[str] = self.page.evaluate(
            "() => [...document.querySelectorAll('canvas')].map((one) => one.toDataURL())"
        )
        return pixels

    def pressed(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, pressed=True, exact=True)

    # What is done to it

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def key(self, key: str) -> None:
        self.page.keyboard.press(key)

    def legend(self, panel: str, series: str) -> Locator:
        legend = self.dash.panel(panel).get_by_role("list", name="Series")
        return legend.get_by_role("button", name=series, exact=True)

    def plot(self, panel: str) -> dict[str, float]:
        """Bring a chart into sight and return where it lies: x, y, width, height."""
        over = self.dash.panel(panel).locator(".u-over").first
        over.scroll_into_view_if_needed()
        # Not below the header, which stays on top.
        over.evaluate("(element) => element.scrollIntoView({ block: 'center' })")
        box = over.bounding_box()
        assert box is not None
        return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}

    def hover(self, panel: str, share: float) -> None:
        box = self.plot(panel)
        self.page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2, steps=3)

    def drag(self, panel: str, start: float, end: float) -> None:
        """Press at one share of a chart's width, release at another."""
        box = self.plot(panel)
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + start * box["width"], y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + end * box["width"], y, steps=5)
        self.page.mouse.up()

    def show_history(self) -> None:
        """Scroll to the request table, which asks for its rows only then."""
        self.dash.panel("history").scroll_into_view_if_needed()
        self.dash.panel("history").locator("tbody tr").first.wait_for()
        self.settle()


class OpenDesk(Protocol):
    def __call__(
        self,
        zaidash: Zaidash | str,
        query: str = "",
        *,
        before: Callable[[Dashboard], object] | None = None,
        **options: Any,
    ) -> Desk: ...


@pytest.fixture
def open_desk(open_page: OpenPage) -> OpenDesk:
    """Open a watched page and wait until it is drawn."""

    def open_one(
        zaidash: Zaidash | str,
        query: str = "",
        *,
        before: Callable[[Dashboard], object] | None = None,
        **options: Any,
    ) -> Desk:
        desks: list[Desk] = []

        def prepare(dash: Dashboard) -> None:
            desks.append(Desk(dash))
            if before is not None:
                before(dash)

        open_page(zaidash, query, before=prepare, **options)
        desks[0].settle()
        return desks[0]

    return open_one


@pytest.fixture(scope="module")
def demo(chromium: Browser) -> Iterator[Zaidash]:
    """Production and canary, scraped every second, with a week of history."""
    with run_zaidash("--demo") as zaidash:
        eventually(lambda: zaidash.get("/readyz").status == 200, WAIT_S, "200 from /readyz")
        yield zaidash


class Window(NamedTuple):
    """A time that has passed, in ms: its history changes no more."""

    start: int
    end: int

    @property
    def query(self) -> str:
        return f"?start={self.start}&end={self.end}"


@pytest.fixture(scope="module")
def window(demo: Zaidash) -> Window:
    """Twenty minutes, of which the demo has every second, and of the twenty before too."""
    end = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS - 4 * MINUTE_MS
    return Window(end - 20 * MINUTE_MS, end)


@pytest.fixture
def paused(demo: Zaidash) -> str:
    """The address of a page that was paused: every range ends then.

    Made for each test: an hour that ends then leaves the snapshots that the demo keeps before long.
    """
    return f"?paused={int(time.time() * 1000) // MINUTE_MS * MINUTE_MS - 4 * MINUTE_MS}"


@pytest.fixture(scope="module")
def still_desk(chromium: Browser, demo: Zaidash, window: Window) -> Iterator[Desk]:
    """A page at the window, in UTC, which tests share that only look at it."""
    context = chromium.new_context(viewport=SCREEN, timezone_id="UTC")
    context.set_default_timeout(WAIT_S * 1000)
    desk = Desk(Dashboard(context.new_page(), demo))
    desk.dash.goto(window.query)
    desk.settle()
    yield desk
    context.close()


@pytest.fixture
def still(still_desk: Desk) -> Iterator[Desk]:
    """The shared page, which may not have complained afterwards, and is as it was."""
    address = still_desk.page.url
    yield still_desk
    still_desk.page.mouse.move(2, 2)
    still_desk.dash.check()
    assert still_desk.page.url == address, "this test does more than look"


def rows_of(zaidash: Zaidash, start: int, end: int, fields: str = "") -> list[dict[str, Any]]:
    """Return the API's snapshots from `start` up to, but not at, `end`."""
    query = urlencode({"start": start, "end": end - 1, **({"fields": fields} if fields else {})})
    rows: list[dict[str, Any]] = zaidash.json(f"/api/metrics?{query}")
    return rows


def to_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def times_of(table: Table) -> list[int]:
    return [to_ms(text) for text in table.column("time")]


def step_of(table: Table) -> int:
    """Return how far the rows of a chart are apart, ms."""
    steps = sorted(after - before for before, after in pairwise(times_of(table)))
    return steps[len(steps) // 2]


#: The signs the page writes where there is no value, and before a negative one.
NOTHING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"

POWERS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
BYTES = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
UNITS = {**POWERS, **BYTES, "ms": 1.0, "s": 1e3, "%": 1.0}


def read_number(text: str) -> float | None:
    """Return what a number on the page stands for, in ms, bytes or units; None for a dash."""
    if text.strip() == NOTHING:
        return None
    match = re.fullmatch(rf"({MINUS}?[\d.]+) ?([a-zA-Z%]*)(/s|/min)?", text.strip())
    assert match is not None, f"no number: {text!r}"
    return float(match[1].replace(MINUS, "-")) * UNITS[match[2]]


def same(shown: str, value: str | float, factor: float = 1.0) -> bool:
    """Whether a number on the page is a value, as far as three digits can tell."""
    number = read_number(shown)
    if value == "" or number is None:
        return value == "" and number is None
    wanted = factor * float(value)
    return math.isclose(number, wanted, rel_tol=0.0051, abs_tol=0.0006 * max(factor, 1.0))


def factor_of(series: str) -> float:
    """Return what a number in a CSV file is to be multiplied by to be what the page shows."""
    return 100.0 if "utilisation" in series else 1.0


# --------------------------------------------------------------------------------------
# What tests of several things do, and look at
# --------------------------------------------------------------------------------------


def wait_ticks(desk: Desk, zaidash: Zaidash, count: int) -> None:
    """Wait until the service has made that many more snapshots of each variant."""

    def newest() -> float:
        status: dict[str, dict[str, Any]] = zaidash.json("/api/status")
        return min(to_ms(one["last_scrape"]) for one in status.values()) / 1000

    interval_s = zaidash.json("/api/config")["scrape_interval"]
    first = newest()
    desk.dash.wait_until(lambda: newest() >= first + count * interval_s, f"{count} ticks")
    desk.page.evaluate(TWO_FRAMES)


def resize(desk: Desk, size: ViewportSize) -> None:
    desk.page.set_viewport_size(size)
    # The page waits for the end of such changes before it asks for as many rows as it has pixels.
    desk.page.wait_for_timeout(250)
    desk.settle()


def tooltips(desk: Desk) -> list[dict[str, Any]]:
    """Return the boxes that are shown, with the panel each is in."""
    found: list[dict[str, Any]] = desk.page.evaluate(
        """() => [...document.querySelectorAll(".tooltip")].filter((one) => one.checkVisibility())
          .map((one) => ({
            panel: one.closest("[data-panel]").dataset.panel,
            rows: [...one.querySelectorAll("tr")].map((row) =>
              [...row.children].map((cell) => cell.textContent)),
            isInside: one.getBoundingClientRect().right <= innerWidth
              && one.getBoundingClientRect().left >= 0,
          }))"""
    )
    return found


#: What sticks out of the screen to the right or to the left, where it cannot be scrolled to.
STICKING_OUT = """() => [...document.querySelectorAll("body *")].filter((one) => {
  if (one.closest("[data-scrolls] > *, .sr-only, svg, .u-over, dialog:not([open])")) return false;
  if (!one.checkVisibility()) return false;
  const { left, right, width } = one.getBoundingClientRect();
  return width > 0 && (right > innerWidth + 0.5 || left < -0.5);
}).map((one) => one.outerHTML.slice(0, 120))"""


def assert_fits(desk: Desk) -> None:
    scrolls, inner = desk.page.evaluate(
        "() => [Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),"
        " document.documentElement.clientWidth]"
    )
    assert scrolls <= inner, "the page scrolls sideways"
    assert desk.page.evaluate(STICKING_OUT) == []


def assert_column(
    table: Table, name: str, wanted: Mapping[int, float | None], shift: int = 0
) -> None:
    for time_ms, text in zip(times_of(table), table.column(name), strict=True):
        value = wanted.get(time_ms - shift)
        got = float(text) if text else None
        wanted_here = None if value is None else pytest.approx(value, rel=1e-9)
        assert got == wanted_here, f"{name} at {time_ms}: {got}, and not {value}"
    assert any(table.column(name)), f"{name} is empty"


@contextmanager
def serving(names: Sequence[str], **env: str) -> Iterator[tuple[Zaidash, list[FakeProxy]]]:
    """Run zaidash over proxies with some traffic, one per variant, at five ticks a second."""
    proxies = [FakeProxy(name) for name in names]
    stop = threading.Event()

    def make_traffic() -> None:
        rng = random.Random(1)
        while not stop.wait(0.05):
            for proxy in proxies:
                generate_traffic(proxy, rng, 3)

    thread = threading.Thread(target=make_traffic, name="traffic")
    for proxy in proxies:
        proxy.start_serving()
    thread.start()
    try:
        targets = ",".join(f"{p.variant}={p.url}" for p in proxies)
        settings = {"SCRAPE_TARGETS": targets, "SCRAPE_INTERVAL": "200ms", **env}
        with run_zaidash(env=settings) as zaidash:
            eventually(lambda: zaidash.get("/readyz").status == 200, WAIT_S, "200 from /readyz")
            yield zaidash, proxies
    finally:
        stop.set()
        thread.join()
        for proxy in proxies:
            proxy.stop_serving()
