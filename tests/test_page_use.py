"""The page as people use it: its address, the mouse, the keyboard, files, screens and assistants.

Real Chromium, real service. Most tests share one demo, whose history stands still once it is past:
numbers on the page are compared with those the API gives for the same time, by arithmetic that
shares nothing with the page's.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from browser import (
    CHART_FIELDS,
    SCREEN,
    WAIT_S,
    Dashboard,
    Obstacle,
    OpenPage,
    Table,
    TimedOut,
    expect,
)
from fake_proxy import FakeProxy, generate_traffic
from needs import needed_module
from support import Zaidash, eventually, get, launch_chromium, run_zaidash

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Request, ViewportSize

pytest_plugins = ["browser"]

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

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
  return panels.length > 0
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
    charts: all("[role=img]").map((one) => one.getAttribute("aria-label")),
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
        eventually(lambda: zaidash.get("/readyz").status == 200, 30, "200 from /readyz")
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


@pytest.fixture(scope="module")
def paused(window: Window) -> str:
    """The address of a page that was paused: every range ends then."""
    return f"?paused={window.end}"


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
# The address
# --------------------------------------------------------------------------------------


def choose_window(desk: Desk) -> None:
    desk.press("custom")
    now = time.time()
    # Both to the second, as the fields have it.
    for label, back_s in (("from", 900), ("to", 300)):
        text = datetime.fromtimestamp(int(now - back_s), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        desk.page.get_by_label(label, exact=True).fill(text)
    desk.press("show")


class Choice(NamedTuple):
    does: Callable[[Desk], object]
    #: What the address has to say: a value, or a pattern for it.
    address: dict[str, str]
    #: Whether it is made on a page that shows a fixed window.
    is_fixed: bool = True


CHOICES = {
    "a variant": Choice(lambda desk: desk.press("canary"), {"variant": "canary"}),
    "a range": Choice(
        lambda desk: desk.press("Last 15 minutes"),
        {"range": "15m", "paused": r"\d{13}"},
        is_fixed=False,
    ),
    "a long range": Choice(
        lambda desk: desk.press("Last 7 days"),
        {"range": "7d", "paused": r"\d{13}"},
        is_fixed=False,
    ),
    "a window of one's own": Choice(choose_window, {"start": r"\d{10}000", "end": r"\d{10}000"}),
    "a zoomed window": Choice(
        lambda desk: desk.drag("latency", 0.3, 0.6), {"start": r"\d{13}", "end": r"\d{13}"}
    ),
    "a theme": Choice(
        lambda desk: desk.page.get_by_label("Theme").select_option("dark"),
        {"theme": "dark"},
    ),
    "a hidden series": Choice(
        lambda desk: desk.legend("latency", "p50").click(), {"hidden": "latency:p50"}
    ),
    "a full screen": Choice(lambda desk: desk.press("Latency: full screen"), {"panel": "latency"}),
    "the comparison": Choice(lambda desk: desk.press("compare with before"), {"compare": "1"}),
    "the order of the table": Choice(
        lambda desk: desk.dash.panel("history").get_by_role("button", name="tokens in").click(),
        {"sort": "tokensIn"},
    ),
    "the logarithmic axis": Choice(
        lambda desk: desk.press("Latency: logarithmic axis"), {"scale": "log"}
    ),
}


def test_a_choice_is_in_the_address_and_comes_back_by_reload_and_in_a_new_tab(
    demo: Zaidash, window: Window, paused: str, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query, timezone_id="UTC")
    tab = open_desk(demo, window.query, timezone_id="UTC")
    before: dict[str, dict[str, Any]] = {}
    for name, choice in CHOICES.items():
        base = window.query if choice.is_fixed else paused
        desk.dash.goto(base)
        if base not in before:
            before[base] = desk.picture("latency")
        desk.settle()
        choice.does(desk)
        chosen = desk.picture("latency")
        assert chosen != before[base], f"{name} does not show"
        for key, pattern in choice.address.items():
            assert re.fullmatch(pattern, desk.address.get(key, "")), (name, desk.page.url)
        address = desk.page.url
        desk.page.reload()
        assert desk.picture("latency") == chosen, name
        assert desk.page.url == address, name
        tab.dash.goto("?" + urlsplit(address).query)
        assert tab.picture("latency") == chosen, name
        assert tab.page.url == address, name


def test_many_choices_together_come_back_by_reload_and_in_a_new_tab(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query)
    desk.press("canary")
    desk.press("compare with before")
    desk.press("Latency: logarithmic axis")
    desk.legend("tokens", "output").click()
    desk.legend("errors", "retries").click(modifiers=["Shift"])
    desk.page.get_by_label("Theme").select_option("light")
    tables = ("latency", "tokens", "errors", "heat-map")
    chosen = desk.picture(*tables)
    assert "canary output" not in chosen["tokens"][0]
    address = desk.page.url
    desk.page.reload()
    assert desk.picture(*tables) == chosen
    assert desk.page.url == address
    other = open_desk(demo, "?" + urlsplit(desk.page.url).query, color_scheme="dark")
    assert other.picture(*tables) == chosen


@pytest.mark.parametrize("range_key", ["5m", "1h", "24h"])
def test_a_paused_page_shows_the_same_after_a_reload(
    demo: Zaidash, open_desk: OpenDesk, range_key: str
) -> None:
    """Rows wider than a tick are averages: what came after the pause must not get into the last."""
    desk = open_desk(demo, f"?range={range_key}")
    desk.dash.wait_connection("live")
    desk.press("pause")
    desk.dash.wait_connection("paused")
    at = int(desk.address["paused"])
    assert abs(at - time.time() * 1000) < 60_000
    chosen = desk.picture("latency")
    # As long as the widest row needs to be told from the one that was there.
    wait_ticks(desk, demo, 4)
    desk.page.reload()
    again = desk.picture("latency")
    assert again["pressed"] == chosen["pressed"]
    assert again["latency"][0] == chosen["latency"][0]
    for row, wanted in zip(again["latency"][1:], chosen["latency"][1:], strict=True):
        assert row[0] == wanted[0]
        got = [float(text) for text in row[1:] if text]
        assert got == pytest.approx([float(text) for text in wanted[1:] if text], rel=1e-9), row


STEPS: dict[str, Callable[[Desk], None]] = {
    "15 minutes": lambda desk: desk.press("Last 15 minutes"),
    "canary": lambda desk: desk.press("canary"),
    "compared": lambda desk: desk.press("compare with before"),
    "zoomed": lambda desk: desk.drag("tokens", 0.2, 0.5),
    "zoomed again": lambda desk: desk.drag("errors", 0.5, 0.9),
    "full screen": lambda desk: desk.press("Sizes: full screen"),
}


def test_back_and_forward_lead_through_the_same_pictures(
    demo: Zaidash, paused: str, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, paused)
    pictures = [("begin", desk.page.url, desk.picture())]
    for name, step in STEPS.items():
        step(desk)
        desk.page.wait_for_url(other_than(pictures[-1][1]))  # the browser tells of it later
        pictures.append((name, desk.page.url, desk.picture()))
    assert len({url for _, url, _ in pictures}) == len(pictures)
    for name, url, picture in reversed(pictures[:-1]):
        desk.page.go_back()
        assert (desk.page.url, desk.picture()) == (url, picture), f"back to {name}"
    for name, url, picture in pictures[1:]:
        desk.page.go_forward()
        assert (desk.page.url, desk.picture()) == (url, picture), f"forward to {name}"


def other_than(address: str) -> Callable[[str], bool]:
    return lambda url: url != address


#: Addresses, and what is left of them: all of it where that is None.
NONSENSE = {
    "names nobody knows": (
        "?range=9y&theme=pink&panel=nope&variant=__proto__&hidden=,,a:b,tokens:output,%3Cb%3E",
        "?hidden=tokens:output",
    ),
    "broken escapes": ("?variant=%00&panel=%E0%A4%A&hidden=%", ""),
    "words for numbers": ("?start=-5&end=banana&paused=soon&compare=yes&scale=banana", ""),
    "an end before the start": ("?start=1700000000000&end=1600000000000", ""),
    "everything twice": (
        "?range=7d&range=5m&theme=dark&theme=light&variant=&variant=canary",
        "?range=7d&theme=dark",
    ),
    "a pause at the beginning of time": ("?paused=0", None),
    "a pause at the end of time": ("?paused=999999999999999", ""),
    "a window before any data": ("?start=0&end=20000", None),
    "a window over all of time": ("?start=0&end=999999999999999", None),
    "a comparison with the time before 1970": ("?start=1&end=2000000000000&compare=1", None),
    "numbers with more digits than there is time": (
        f"?start=1&end={'9' * 40}&paused={'9' * 40}",
        "",
    ),
    "a very long list": ("?hidden=" + ",".join(f"latency:{i}" for i in range(100, 600)), None),
}


def test_nonsense_in_the_address_is_harmless_and_goes_from_it(
    demo: Zaidash, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo)
    for case, (query, left) in NONSENSE.items():
        desk.dash.goto(query)
        desk.settle()
        assert desk.page.get_by_role("alert").all_inner_texts() == [], case
        kept = query if left is None else left
        assert desk.address == dict(parse_qsl(kept.removeprefix("?"))), case
        # It is usable: a choice leads out of it.
        desk.press("Last 5 minutes")
        desk.key("Escape")
        desk.key("Escape")
        if "resume" in desk.page.locator("header").first.inner_text():
            desk.press("resume")
        desk.dash.wait_connection("live")
        desk.settle()
        assert desk.address.get("range") == "5m", case
        assert desk.dash.table("latency").rows != [], case


def assert_full_screen(desk: Desk, panel: str) -> None:
    """Fail unless a panel is the only one, and fills what the header leaves of the screen."""
    desk.settle()
    assert desk.page.evaluate(PICTURE)["panels"] == [panel]
    box, size = desk.dash.panel(panel).bounding_box(), desk.page.viewport_size
    assert box is not None
    assert size is not None
    assert box["width"] >= 0.9 * size["width"], panel
    if size == WIDE:
        assert size["height"] - 40 <= box["y"] + box["height"] <= size["height"], panel


def test_an_address_opens_any_panel_on_any_screen_and_escape_leads_back(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query)
    for panel in PANELS:
        desk.dash.goto(f"{window.query}&panel={panel}")
        assert_full_screen(desk, panel)
        resize(desk, NARROW)
        assert_full_screen(desk, panel)
        assert_fits(desk)
        name = re.compile("back to all panels")
        expect(desk.dash.panel(panel).get_by_role("button", name=name)).to_be_visible()
        resize(desk, WIDE)
        desk.key("Escape")
        desk.settle()
        assert desk.picture()["panels"] == list(PANELS_IN_ORDER)
        assert "panel" not in desk.address
        assert desk.address["start"] == str(window.start), "the window stays for the next Esc"


# --------------------------------------------------------------------------------------
# The mouse: zoom, pan, crosshair, legend
# --------------------------------------------------------------------------------------


def follows(table: Table, start: int, end: int, step: int) -> bool:
    """Whether a chart's rows fill a window."""
    times = times_of(table)
    return start <= times[0] <= start + 2 * step and end - 2 * step <= times[-1] <= end


def test_dragging_over_a_chart_zooms_all_of_them_to_finer_detail(
    demo: Zaidash, paused: str, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, f"{paused}&range=6h")
    coarse = {panel: desk.dash.table(panel) for panel in CHARTS}
    end = int(desk.address["paused"])
    desk.asked.clear()
    desk.drag("latency", 0.9, 0.97)
    desk.settle()
    window = Window(int(desk.address["start"]), int(desk.address["end"]))
    # The plot's first pixel is the range's begin, its last one the pause.
    assert window.start == pytest.approx(end - 0.1 * 6 * HOUR_MS, abs=2 * MINUTE_MS)
    assert window.end == pytest.approx(end - 0.03 * 6 * HOUR_MS, abs=2 * MINUTE_MS)

    metrics = [query for query in desk.asked if "fields" in query]
    assert metrics
    # Whole rows, and the snapshots of the row that the window's end cuts through.
    for fields in {query["fields"] for query in metrics}:
        asked = [query for query in metrics if query["fields"] == fields]
        first = min(int(query["start"]) for query in asked)
        last = max(int(query["end"]) for query in asked)
        assert first == pytest.approx(window.start, abs=MINUTE_MS)
        assert last == pytest.approx(window.end, abs=MINUTE_MS)
    for panel, before in coarse.items():
        after = desk.dash.table(panel)
        seen = len({row[1] for row in after.rows}) if panel == "heat-map" else 1
        step = step_of(after._replace(rows=after.rows[: len(after.rows) // seen]))
        assert step < step_of(before._replace(rows=before.rows[: len(before.rows) // seen])), panel
        fine = after._replace(rows=after.rows[: len(after.rows) // seen])
        assert follows(fine, *window, step), panel
    expect(desk.page.get_by_text("Fixed window")).to_be_visible()
    expect(desk.pressed("custom")).to_be_visible()


def test_zooming_into_the_last_day_finds_data_wherever_the_day_chart_has_some(
    demo: Zaidash, paused: str, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, f"{paused}&range=24h")
    for ago_h in (0.5, 12, 20):
        place = 1 - ago_h / 24
        desk.drag("latency", place - 0.008, place + 0.008)
        desk.settle()
        assert int(desk.address["end"]) - int(desk.address["start"]) < HOUR_MS, ago_h
        for panel in CHARTS:
            expect(desk.dash.panel(panel)).not_to_contain_text("No data")
        assert len(desk.dash.table("latency").rows) >= 10, ago_h
        desk.key("Escape")
        desk.settle()


WAYS_BACK: dict[str, Callable[[Desk], object]] = {
    "Esc": lambda desk: desk.key("Escape"),
    "a double click": lambda desk: desk.page.mouse.dblclick(
        desk.plot("sizes")["x"] + 100, desk.plot("sizes")["y"] + 50
    ),
    "the button": lambda desk: desk.page.get_by_role("button", name="back to the last").click(),
    "a range": lambda desk: desk.press("Last hour"),
    "the key of a range": lambda desk: desk.key("3"),
    "the browser": lambda desk: desk.page.go_back(),
}


def test_a_zoomed_window_is_left_in_many_ways(
    demo: Zaidash, paused: str, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, paused)
    before = desk.picture("latency")
    for name, way in WAYS_BACK.items():
        desk.drag("requests", 0.4, 0.6)
        assert desk.picture("latency") != before, name
        way(desk)
        assert desk.picture("latency") == before, name
        assert {"start", "end"}.isdisjoint(desk.address), name


DRAGS = {
    "from right to left": (0.6, 0.4),
    "beyond the right edge": (0.6, 1.2),
    "beyond the left edge": (0.3, -0.05),
    "within two pixels, which makes it the shortest window": (0.5, 0.515),
}


def test_a_drag_may_go_anywhere(demo: Zaidash, paused: str, open_desk: OpenDesk) -> None:
    desk = open_desk(demo, paused)
    last = int(desk.address["paused"])
    for name, (start, end) in DRAGS.items():
        desk.drag("concurrency", start, end)
        desk.settle()
        low, high = sorted((start, end))
        shown = [int(desk.address[name]) for name in ("start", "end")]
        wanted = [last - (1 - min(max(share, 0.0), 1.0)) * HOUR_MS for share in (low, high)]
        assert shown == pytest.approx(wanted, abs=20_000), name
        assert desk.dash.table("concurrency").rows != [], name
        desk.key("Escape")
        desk.settle()


def test_a_click_or_a_plain_wheel_on_a_chart_does_not_zoom(
    demo: Zaidash, paused: str, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, paused)
    desk.drag("latency", 0.5, 0.502)
    box = desk.plot("latency")
    top = desk.page.evaluate("scrollY")
    desk.page.mouse.move(box["x"] + 100, box["y"] + 50)
    desk.page.mouse.wheel(0, 60)
    desk.dash.wait_until(lambda: desk.page.evaluate("scrollY") != top, "the page to scroll")
    desk.settle()
    assert {"start", "end"}.isdisjoint(desk.address)


def turn_wheel(desk: Desk, delta_x: float, delta_y: float, *, shift: bool = False) -> None:
    desk.hover("latency", 0.5)
    if shift:
        desk.page.keyboard.down("Shift")
    desk.page.mouse.wheel(delta_x, delta_y)
    if shift:
        desk.page.keyboard.up("Shift")


class Pan(NamedTuple):
    does: Callable[[Desk], None]
    sign: int
    #: The share of the window it moves by, where that is fixed.
    share: float | None = None


PANS = {
    "Shift and the wheel up go back": Pan(lambda desk: turn_wheel(desk, 0, -200, shift=True), -1),
    "Shift and the wheel down go on": Pan(lambda desk: turn_wheel(desk, 0, 100, shift=True), 1),
    "the wheel sideways goes back": Pan(lambda desk: turn_wheel(desk, -200, 0), -1),
    "the left arrow goes back": Pan(lambda desk: desk.key("ArrowLeft"), -1, 0.25),
    "the right arrow goes on": Pan(lambda desk: desk.key("ArrowRight"), 1, 0.25),
}


def test_a_window_is_moved(demo: Zaidash, window: Window, open_desk: OpenDesk) -> None:
    # Short, so that there is room on both sides.
    start, end = window.start + 5 * MINUTE_MS, window.start + 9 * MINUTE_MS
    desk = open_desk(demo, f"?start={start}&end={end}")
    for name, pan in PANS.items():
        start, end = int(desk.address["start"]), int(desk.address["end"])
        pan.does(desk)
        desk.dash.wait_until(lambda: desk.address["start"] != str(start), "the window to move")  # noqa: B023
        desk.settle()
        moved = int(desk.address["start"]) - start
        assert int(desk.address["end"]) - end == moved, f"{name}: it keeps its length"
        assert moved * pan.sign > 0, name
        if pan.share is not None:
            assert moved == pan.sign * pan.share * (end - start), name
        table = desk.dash.table("requests")
        assert follows(table, start + moved, end + moved, step_of(table)), name


def test_panning_a_live_page_back_holds_it_there_and_forth_again_makes_it_live(
    demo: Zaidash, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, "?range=5m")
    desk.key("ArrowLeft")
    desk.settle()
    moved = time.time() * 1000 - int(desk.address["end"])
    assert moved == pytest.approx(75_000, abs=15_000)
    fixed = desk.page.get_by_text("Fixed window")
    expect(fixed).to_be_visible()
    for _ in range(2):  # the present has moved on meanwhile
        desk.key("ArrowRight")
    expect(fixed).to_have_count(0)
    assert desk.address == {"range": "5m"}
    # What was zoomed into goes on in the shortest range that holds it, paused or not.
    now = int(time.time() * 1000)
    desk.dash.goto(f"?range=7d&start={now - 400_000}&end={now - 60_000}&paused={now - 60_000}")
    desk.settle()
    desk.key("ArrowRight")
    expect(desk.pressed("Last 15 minutes")).to_be_visible()
    desk.dash.wait_connection("live")
    assert desk.address == {"range": "15m"}


#: Ranges by their key, and what pans to where there is nothing more.
EDGES = {"1": "ArrowRight", "6": "ArrowLeft"}


def test_a_live_page_stays_live_when_it_is_panned_to_where_there_is_nothing(
    demo: Zaidash, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo)
    desk.dash.wait_connection("live")
    for range_key, arrow in EDGES.items():
        desk.key(range_key)
        desk.settle()
        for _ in range(2):
            wait_ticks(desk, demo, 1)
            desk.key(arrow)
        desk.settle()
        assert desk.address.get("start") is None, "it froze, and looks as if it were live"


#: Addresses a page may have in 10 s: Safari, the strictest, throws an error at the next one.
MOST_CHANGES = 100


def test_a_long_sweep_of_the_wheel_arrives_in_the_address(
    demo: Zaidash, window: Window, chromium: Browser
) -> None:
    """A trackpad turns the wheel at every frame; Chromium refuses more than 200 addresses in 10 s.

    It does so only without the switch that playwright gives it, so this is another one.
    """
    browser = launch_chromium(
        chromium.browser_type, ignore_default_args=["--disable-ipc-flooding-protection"]
    )
    try:
        page = browser.new_page(viewport=SCREEN)
        dash = Dashboard(page, demo.url)
        desk = Desk(dash)
        dash.goto(window.query)
        desk.settle()
        desk.asked.clear()
        page.evaluate(
            """async () => {
              const over = document.querySelector("[data-panel=latency] .u-over");
              window.changes = [];
              const plain = history.replaceState;
              history.replaceState = function (...all) {
                window.changes.push(performance.now());
                return plain.apply(this, all);
              };
              for (let i = 0; i < 220; i += 1) {
                over.dispatchEvent(new WheelEvent("wheel", {
                  deltaX: i % 2 ? -6 : 5, bubbles: true, cancelable: true,
                }));
                await new Promise(requestAnimationFrame);
              }
            }"""
        )
        desk.settle()
        dash.check()
        # Where the machine is too busy for Chromium to refuse any, it would have elsewhere.
        changes: list[float] = page.evaluate("window.changes")
        most = max(sum(at <= one < at + 10_000 for one in changes) for at in changes)
        assert most <= MOST_CHANGES, f"{most} changes of the address within 10 s"
        assert int(desk.address["start"]) < window.start
        dash.wait_until(
            lambda: (
                times_of(dash.table("requests"))[0] - int(desk.address["start"]) in range(10_000)
            ),
            "the window that the address names",
        )
    finally:
        browser.close()


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


#: Where the vertical line stands in each chart, as a share of its plot's width.
CROSSHAIRS = """() => [...document.querySelectorAll(".u-over")].map((over) => {
  const line = over.querySelector(".u-cursor-x");
  const isOff = line.classList.contains("u-off") || !line.checkVisibility();
  const place = line.getBoundingClientRect().left - over.getBoundingClientRect().left;
  return isOff ? null : place / over.clientWidth;
})"""

INDIA = timezone(timedelta(hours=5, minutes=30))


def test_the_crosshair_tells_all_values_of_the_hovered_panel_and_stands_in_all_charts(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query, timezone_id="Asia/Kolkata")
    for panel in LINE_PANELS:
        assert_crosshair(desk, window, panel)


def assert_crosshair(desk: Desk, window: Window, panel: str) -> None:
    table = desk.dash.table(panel)
    desk.hover(panel, 0.4)
    (tip,) = desk.dash.wait_until(lambda: tooltips(desk), "a tooltip")
    assert tip["panel"] == panel
    assert tip["isInside"]
    (clock, *variants), *rows = tip["rows"]
    assert variants == ["production", "canary"]

    (row,) = [
        dict(zip(table.header, row, strict=True))
        for row in table.rows
        if datetime.fromisoformat(row[0]).astimezone(INDIA).strftime("%H:%M:%S") == clock
    ]
    wanted_ms = window.start + 0.4 * (window.end - window.start)
    assert to_ms(row.pop("time")) == pytest.approx(wanted_ms, abs=5_000)
    shown = {
        f"{variant} {label}": value
        for label, *values in rows
        for variant, value in zip(variants, values, strict=True)
    }
    assert shown.keys() == row.keys(), "all series"
    for series, value in row.items():
        assert same(shown[series], value, factor_of(series)), (series, shown[series], value)

    shares = desk.page.evaluate(CROSSHAIRS)
    assert len(shares) == len(LINE_PANELS) + 2, "a heat map for each variant"
    assert shares == pytest.approx([0.4] * len(shares), abs=0.01)

    desk.page.mouse.move(2, 2)
    desk.dash.wait_until(lambda: not tooltips(desk), "the tooltip to go")
    assert set(desk.page.evaluate(CROSSHAIRS)) == {None}


def test_hovering_the_heat_map_tells_a_bucket_and_its_count(still: Desk) -> None:
    desk = still
    table = desk.dash.table("heat-map")
    box = desk.plot("heat-map")
    bounds = table.header[2:]
    seen = 0
    for place in range(len(bounds)):
        y = box["y"] + box["height"] * (1 - (place + 0.5) / len(bounds))
        desk.page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=2)
        (tip,) = desk.dash.wait_until(lambda: tooltips(desk), "a tooltip")
        assert tip["panel"] == "heat-map"
        (clock, title), (bucket, count) = tip["rows"]
        assert title.startswith("production")
        (row,) = [row for row in table.rows if row[1] == "production" and row[0][11:19] == clock]
        assert same(count, row[2 + place]), (bucket, count, row)
        seen += float(row[2 + place]) > 0
    assert seen >= 3, "the map has something to tell"


def test_a_tooltip_stays_and_keeps_up_while_ticks_come(demo: Zaidash, open_desk: OpenDesk) -> None:
    desk = open_desk(demo, "?range=5m")
    desk.hover("latency", 0.5)
    (first,) = desk.dash.wait_until(lambda: tooltips(desk), "a tooltip")
    wait_ticks(desk, demo, 3)
    (later,) = tooltips(desk)
    assert later["rows"][0][0] > first["rows"][0][0], "the chart moved on below the pointer"


def test_a_click_in_the_legend_hides_and_with_shift_isolates(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query)

    def header() -> list[str]:
        desk.settle()
        return desk.dash.table("latency").header[1:]

    def columns(*series: str) -> list[str]:
        return [f"{variant} {name}" for variant in ("production", "canary") for name in series]

    others = desk.picture("tokens")
    assert header() == columns("p50", "p95", "p99")
    desk.legend("latency", "p95").click()
    assert header() == columns("p50", "p99")
    expect(desk.legend("latency", "p95")).to_have_attribute("aria-pressed", "false")
    desk.legend("latency", "p99").click(modifiers=["Shift"])
    assert header() == columns("p99")
    assert desk.address["hidden"] == "latency:p50,latency:p95"
    desk.legend("latency", "p99").click(modifiers=["Shift"])
    assert header() == columns("p50", "p95", "p99")
    assert "hidden" not in desk.address
    # By the keyboard as well, which is how a screen reader presses it.
    desk.legend("latency", "p50").focus()
    desk.key("Enter")
    assert header() == columns("p95", "p99")
    for name in ("p95", "p99"):
        desk.legend("latency", name).click()
    assert desk.dash.table("tokens").header == others["tokens"][0], "other panels keep theirs"


# --------------------------------------------------------------------------------------
# The keyboard
# --------------------------------------------------------------------------------------


KEYS = {
    "1": {"range": "5m"},
    "2": {"range": "15m"},
    "3": {},
    "4": {"range": "6h"},
    "5": {"range": "24h"},
    "6": {"range": "7d"},
    "p": {"variant": "production"},
    "c": {"variant": "canary"},
    "t": {"theme": "light"},
}
RANGE_NAMES = {
    "1": "Last 5 minutes",
    "2": "Last 15 minutes",
    "3": "Last hour",
    "4": "Last 6 hours",
    "5": "Last 24 hours",
    "6": "Last 7 days",
}


def test_keys_choose_range_variant_and_theme(
    demo: Zaidash, paused: str, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, paused)
    base = desk.address
    for key, choice in KEYS.items():
        desk.key(key)
        name = RANGE_NAMES.get(key) or choice.get("variant")
        if name:
            expect(desk.pressed(name)).to_be_visible()
        assert desk.address | base | choice == desk.address, key
        if key in "123456":
            assert desk.address.get("range") == choice.get("range")
    desk.key("b")
    expect(desk.pressed("both")).to_be_visible()
    assert "variant" not in desk.address
    for theme in ("dark", "system", "light"):
        desk.key("t")
        expect(desk.page.get_by_label("Theme")).to_have_value(theme)
    desk.settle()


def test_space_pauses_and_resumes(demo: Zaidash, open_desk: OpenDesk) -> None:
    desk = open_desk(demo)
    desk.dash.wait_connection("live")
    desk.key("Space")
    desk.dash.wait_connection("paused")
    assert "paused" in desk.address
    desk.key("Space")
    desk.dash.wait_connection("live")
    assert "paused" not in desk.address


def test_a_question_mark_lists_all_keys_and_escape_closes_the_list(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query)
    address = desk.page.url
    desk.key("?")
    dialog = desk.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    text = dialog.inner_text()
    for key in ("p", "c", "b", "t", "?", "Space", "Esc"):
        expect(dialog.locator("kbd", has_text=re.compile(f"^{re.escape(key)}$"))).to_be_visible()
    assert re.search(rf"1\s*{NOTHING}\s*6", text)
    for word in ("5m", "7d", "production", "canary", "pause", "theme", "pan"):
        assert word in text
    # Behind it, keys do nothing.
    for key in ("1", "c", "t", "ArrowLeft"):
        desk.key(key)
    desk.key("Escape")
    expect(dialog).to_be_hidden()
    assert desk.page.url == address, "Esc closed the list and nothing else"
    desk.press("Keyboard shortcuts")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    expect(desk.page.get_by_role("button", name="Keyboard shortcuts")).to_be_focused()


TYPED = ("1", "p", "c", "b", "t", "Space", "?", "ArrowLeft", "Escape")


def test_keys_do_nothing_while_typing_a_time(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query)
    desk.press("custom")
    address = desk.page.url
    for field in ("from", "to"):
        desk.page.get_by_label(field, exact=True).focus()
        for key in TYPED:
            desk.key(key)
        assert desk.page.url == address, field
        expect(desk.page.get_by_role("dialog")).to_have_count(0)


def test_keys_with_control_or_alt_are_the_browsers(still: Desk) -> None:
    address = still.page.url
    for key in ("Control+c", "Control+b", "Alt+1", "Control+ArrowLeft", "Meta+t"):
        still.key(key)
    assert still.page.url == address


def test_arrows_scroll_the_table_that_has_the_focus(still: Desk) -> None:
    desk = still
    desk.show_history()
    desk.page.get_by_role("region", name="Request history, scrollable").focus()
    address = desk.page.url
    desk.key("ArrowLeft")
    desk.key("ArrowDown")
    scrolled = "() => document.querySelector('[data-panel=history] [data-scrolls]').scrollTop > 0"
    desk.page.wait_for_function(scrolled)
    assert desk.page.url == address


def test_a_panel_fills_the_screen_and_escape_leads_back_before_it_leaves_the_window(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query)
    small = desk.dash.panel("tokens").locator("canvas").bounding_box()
    before = desk.picture()
    desk.press("Tokens: full screen")
    assert_full_screen(desk, "tokens")
    large = desk.dash.panel("tokens").locator("canvas").bounding_box()
    assert small is not None
    assert large is not None
    assert large["width"] > 1.5 * small["width"]
    assert large["height"] > 1.5 * small["height"]
    desk.key("Escape")
    assert desk.picture() == before
    desk.key("Escape")
    desk.settle()
    assert "start" not in desk.address


# --------------------------------------------------------------------------------------
# A window of one's own
# --------------------------------------------------------------------------------------


def local(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, INDIA).strftime("%Y-%m-%dT%H:%M:%S")


def test_two_times_make_a_window(demo: Zaidash, window: Window, open_desk: OpenDesk) -> None:
    desk = open_desk(demo, "?range=6h", timezone_id="Asia/Kolkata")
    desk.press("custom")
    desk.page.get_by_label("from", exact=True).fill(local(window.start))
    desk.page.get_by_label("to", exact=True).fill(local(window.end))
    desk.asked.clear()
    desk.key("Enter")
    expect(desk.page.get_by_label("from", exact=True)).to_be_hidden()
    desk.settle()
    assert desk.address["start"] == str(window.start)
    assert desk.address["end"] == str(window.end)
    assert all("range" not in query for query in desk.asked)
    table = desk.dash.table("latency")
    assert follows(table, *window, step_of(table))
    bar = desk.page.get_by_text("Fixed window").inner_text()
    assert local(window.start).replace("T", " ") in bar
    assert local(window.end).replace("T", " ") in bar


WRONG = {
    "the end before the beginning": (600, 900),
    "both the same": (600, 600),
    "nine seconds": (609, 600),
    "no beginning": (None, 600),
    "no end": (600, None),
    "neither": (None, None),
}


def test_a_window_that_is_none_is_refused_in_words(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, "", timezone_id="Asia/Kolkata")
    address = desk.page.url
    for case, (start_ago_s, end_ago_s) in WRONG.items():
        desk.press("custom")
        for label, ago_s in (("from", start_ago_s), ("to", end_ago_s)):
            text = "" if ago_s is None else local(window.end - 1000 * ago_s)
            desk.page.get_by_label(label, exact=True).fill(text)
        desk.press("show")
        expect(desk.page.get_by_role("alert"), case).not_to_be_empty()
        assert desk.page.url == address, case
        desk.press("custom")
    # It can be put right at once.
    desk.press("custom")
    desk.page.get_by_label("from", exact=True).fill("")
    desk.press("show")
    expect(desk.page.get_by_role("alert")).not_to_be_empty()
    desk.page.get_by_label("from", exact=True).fill(local(window.start))
    desk.page.get_by_label("to", exact=True).fill(local(window.end))
    desk.press("show")
    expect(desk.page.get_by_role("alert")).to_have_count(0)
    assert desk.address["start"] == str(window.start)
    desk.settle()


def test_a_window_of_long_ago_survives_a_reload(demo: Zaidash, open_desk: OpenDesk) -> None:
    desk = open_desk(demo, "", timezone_id="UTC")
    desk.press("custom")
    desk.page.get_by_label("from", exact=True).fill("1965-01-01T00:00:00")
    desk.page.get_by_label("to", exact=True).fill("1965-01-02T00:00:00")
    desk.press("show")
    desk.settle()
    if desk.page.get_by_role("alert").count() == 0:  # else it was refused, in words
        chosen = desk.picture()
        desk.page.reload()
        assert desk.picture() == chosen
    assert "Failed" not in desk.page.locator("main").inner_text()


# --------------------------------------------------------------------------------------
# Pause
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


def test_a_paused_picture_stands_still_and_catches_up_when_resumed(
    demo: Zaidash, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, "?range=5m")
    desk.dash.wait_connection("live")
    live = desk.canvases()
    wait_ticks(desk, demo, 2)
    assert desk.canvases() != live, "a live picture moves"

    desk.press("pause")
    desk.dash.wait_connection("paused")
    desk.settle()
    still = desk.canvases()
    pause = demo.json("/api/metrics?range=10s&fields=req_rate")[-1]["timestamp"]
    wait_ticks(desk, demo, 3)
    assert desk.canvases() == still

    desk.press("resume")
    desk.dash.wait_connection("live")
    desk.dash.wait_until(
        lambda: times_of(desk.dash.table("latency"))[-1] >= pause + 3000, "what was missed"
    )
    table = desk.dash.table("latency")
    times = times_of(table)
    # A busy machine may have missed a tick; then the service has no row of it either.
    rows = rows_of(demo, times[0], times[-1] + 1, "latency_p95")
    known = sorted({row["timestamp"] for row in rows})
    assert times == known, "nothing is missing or double"
    assert [at for at in times if pause < at <= pause + 3000], "it has what came meanwhile"
    values = {
        row["timestamp"]: row["latency_p95"] for row in rows if row["variant"] == "production"
    }
    assert_column(table, "production p95", values)


#: The large number of every tile and variant.
TILE_NUMBERS = "[data-tile] [data-variant] .text-xl"


def test_pausing_does_not_change_the_numbers_that_were_to_be_read(
    demo: Zaidash, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, "?variant=production")
    desk.dash.wait_connection("live")
    desk.dash.tile("requests", "production").get_by_text("/s").first.wait_for()
    # Pressed within the frame after a tick, so that no other one comes in between.
    before = desk.page.evaluate(
        """(selector) => new Promise((done) => {
          const numbers = () => [...document.querySelectorAll(selector)]
            .map((one) => one.textContent);
          const seen = JSON.stringify(numbers());
          const look = () => {
            const now = numbers();
            if (JSON.stringify(now) === seen) return requestAnimationFrame(look);
            [...document.querySelectorAll("header button")]
              .find((one) => one.textContent === "pause").click();
            done(now);
          };
          look();
        })""",
        TILE_NUMBERS,
    )
    desk.dash.wait_connection("paused")
    desk.settle()
    after = desk.page.locator(TILE_NUMBERS).all_text_contents()
    assert after == before


# --------------------------------------------------------------------------------------
# Variants
# --------------------------------------------------------------------------------------


#: Remembers every line pattern that is drawn with, in CSS px.
def test_a_variant_may_be_named_like_a_property_that_every_object_has(open_desk: OpenDesk) -> None:
    names = ["toString", "constructor", "__proto__"]
    with serving(names) as (zaidash, _):
        desk = open_desk(zaidash, "?range=5m")
        for name in names:
            desk.press(name)
            desk.settle()
            expect(desk.dash.tile("requests", name)).to_contain_text("/s")
            columns = [f"{name} {quantile}" for quantile in ("p50", "p95", "p99")]
            assert desk.dash.table("latency").header[1:] == columns


RECORD_DASHES = """(() => {
  window.dashes = new Set();
  const plain = CanvasRenderingContext2D.prototype.setLineDash;
  CanvasRenderingContext2D.prototype.setLineDash = function (dash) {
    window.dashes.add(dash.map((px) => px / devicePixelRatio).join(" "));
    return plain.call(this, dash);
  };
})()"""

SWATCHES = """(panel) => [...document.querySelectorAll(
  `[data-panel=${panel}] [aria-label=Series] li:has(svg)`)].map((item) =>
    [item.textContent, item.querySelector("path").getAttribute("stroke-dasharray")])"""


def test_canary_is_drawn_dashed_and_production_solid_as_the_legends_say(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    def record(dash: Dashboard) -> None:
        dash.page.add_init_script(RECORD_DASHES)

    both = open_desk(demo, window.query, before=record)
    for panel in LINE_PANELS:
        (first, solid), (second, dashed) = both.page.evaluate(SWATCHES, panel)
        assert (first, second) == ("production", "canary")
        assert solid is None
        assert dashed
    assert dashed in both.page.evaluate("[...window.dashes]")
    production = open_desk(demo, f"{window.query}&variant=production", before=record)
    assert dashed not in production.page.evaluate("[...window.dashes]")
    assert "" in production.page.evaluate("[...window.dashes]")


class Variants(NamedTuple):
    names: list[str]
    #: The word on the button that shows all; None where there is no choice.
    all: str | None
    #: What `p` and `c` choose; None for all.
    keys: Mapping[str, str | None]


VARIANTS = {
    "canary alone": Variants(["canary"], None, {}),
    "two of other names": Variants(["blue", "green"], "both", {"p": "blue", "c": "green"}),
    "canary before production": Variants(
        ["canary", "production"], "both", {"p": "production", "c": "canary"}
    ),
    "three": Variants(["blue", "green", "red"], "all", {"p": "blue", "c": "green"}),
}


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
            eventually(lambda: zaidash.get("/readyz").status == 200, 30, "200 from /readyz")
            yield zaidash, proxies
    finally:
        stop.set()
        thread.join()
        for proxy in proxies:
            proxy.stop_serving()


@pytest.mark.parametrize("case", VARIANTS.values(), ids=VARIANTS)
def test_as_many_variants_are_offered_as_there_are(open_desk: OpenDesk, case: Variants) -> None:
    with serving(case.names) as (zaidash, _):
        desk = open_desk(zaidash, "?range=5m")
        for name in case.names:
            expect(desk.dash.tile("requests", name)).to_contain_text("/s")
        desk.dash.wait_until(lambda: desk.dash.table("requests").rows, "rows")
        columns = desk.dash.table("latency").header[1:]
        assert columns == [f"{name} {p}" for name in case.names for p in ("p50", "p95", "p99")]
        switch = desk.page.get_by_role("group", name="Variant")
        if case.all is None:
            expect(switch).to_have_count(0)
            for key in "pcb":  # harmless
                desk.key(key)
            desk.settle()
            assert desk.dash.table("latency").header[1:] == columns
            assert desk.page.evaluate(SWATCHES, "latency") == []
            return
        assert switch.get_by_role("button").all_inner_texts() == [*case.names, case.all]
        patterns = [dash for _, dash in desk.page.evaluate(SWATCHES, "latency")]
        assert len(set(patterns)) == len(case.names), "every variant has its own pattern"
        for name in case.names:
            desk.press(name)
            desk.settle()
            header = desk.dash.table("latency").header[1:]
            assert header == [f"{name} {p}" for p in ("p50", "p95", "p99")]
            tiles = desk.page.locator("[data-tile=requests] [data-variant]")
            expect(tiles).to_have_count(1)
            assert desk.asked[-1]["variant"] == name
        desk.press(case.all)
        for key, chosen in case.keys.items():
            desk.key(key)
            assert desk.address.get("variant") == chosen
            expect(desk.pressed(chosen or case.all)).to_be_visible()
        desk.key("b")
        expect(desk.pressed(case.all)).to_be_visible()
        desk.settle()
        assert desk.dash.table("latency").header[1:] == columns


# --------------------------------------------------------------------------------------
# Files
# --------------------------------------------------------------------------------------


def mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def rows_at(
    rows: Sequence[dict[str, Any]], variant: str, step: int
) -> dict[int, list[dict[str, Any]]]:
    """Return a variant's snapshots by the begin of the row of a chart they belong to."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if row["variant"] == variant:
            found.setdefault(row["timestamp"] // step * step, []).append(row)
    return found


def assert_column(
    table: Table, name: str, wanted: Mapping[int, float | None], shift: int = 0
) -> None:
    for time_ms, text in zip(times_of(table), table.column(name), strict=True):
        value = wanted.get(time_ms - shift)
        got = float(text) if text else None
        wanted_here = None if value is None else pytest.approx(value, rel=1e-9)
        assert got == wanted_here, (name, time_ms)
    assert any(table.column(name)), f"{name} is empty"


def test_csv_files_have_the_services_numbers_and_those_of_the_window_before(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, f"{window.query}&compare=1")
    for panel in CHART_FIELDS:
        assert_csv(desk, demo, window, panel)
    assert_requests_csv(desk, demo, window)


def assert_csv(desk: Desk, demo: Zaidash, window: Window, panel: str) -> None:
    table = desk.dash.table(panel)
    length = window.end - window.start
    step = step_of(table)
    assert length % step == 0, "or rows of both windows could not be compared"
    assert len(table.rows) >= length / step
    fields = CHART_FIELDS[panel]
    # Both ends of a window belong to it, and nothing after them.
    asked = ",".join(fields.values())
    shown = rows_of(demo, window.start, window.end + 1, asked)
    earlier = rows_of(demo, window.start - length, window.start + 1, asked)
    compared = 0
    for variant in ("production", "canary"):
        for series, field in fields.items():
            wanted, wanted_before = (
                {at: mean([row[field] for row in found]) for at, found in bins.items()}
                for bins in (rows_at(shown, variant, step), rows_at(earlier, variant, step))
            )
            assert_column(table, f"{variant} {series}", wanted)
            before = f"{variant} {series} before"
            if before in table.header:
                assert_column(table, before, wanted_before, shift=length)
                compared += 1
    assert compared >= 2, "something is compared"
    assert re.fullmatch(rf"zaidash-{panel}-\d{{8}}T\d{{6}}Z\.csv", table.file_name)


def assert_requests_csv(desk: Desk, demo: Zaidash, window: Window) -> None:
    """It has the rates by status code, and of the window before their sum."""
    table = desk.dash.table("requests")
    length, step = window.end - window.start, step_of(table)
    shown = rows_of(demo, window.start, window.end + 1, "status_code_rates")
    earlier = rows_of(demo, window.start - length, window.start + 1, "status_code_rates")
    codes = {code for row in shown for code in row["status_code_rates"] or {}}
    for variant in ("production", "canary"):
        bins = rows_at(shown, variant, step)
        for code in codes:
            wanted = {
                at: mean([row["status_code_rates"].get(code, 0.0) for row in found])
                for at, found in bins.items()
            }
            if any(wanted.values()):
                assert_column(table, f"{variant} {code}", wanted)
        sums = {
            at: mean([sum(row["status_code_rates"].values()) for row in found])
            for at, found in rows_at(earlier, variant, step).items()
        }
        assert_column(table, f"{variant} all before", sums, shift=length)


def test_the_heat_maps_csv_adds_up_to_the_services_buckets(
    demo: Zaidash, window: Window, still: Desk
) -> None:
    table = still.dash.table("heat-map")
    for variant in ("production", "canary"):
        shown = [row for row in table.rows if row[1] == variant]
        rows = rows_of(demo, window.start, window.end + 1, "latency_buckets")
        for place, name in enumerate(table.header[2:], start=2):
            bound = name.removeprefix("le ")
            wanted = sum(
                (row["latency_buckets"] or {}).get(bound, 0)
                for row in rows
                if row["variant"] == variant
            )
            assert sum(float(row[place]) for row in shown) == pytest.approx(wanted), bound


#: Headers of the request table on the page, and what they are called in its file.
TABLE_COLUMNS = {
    "minute": "minute",
    "variant": "variant",
    "requests": "requests",
    "2xx": "2xx",
    "3xx": "3xx",
    "4xx": "4xx",
    "5xx": "5xx",
    "error rate": "error_rate_pct",
    "p95": "latency_p95_ms",
    "tokens in": "tokens_input",
    "tokens out": "tokens_output",
}

#: What follows in the file only: how many seconds the counts of a minute are about.
COVERED = "covered_s"


VISIBLE_ROWS = """() => {
  const box = document.querySelector("[data-panel=history] [data-scrolls]");
  const { top, bottom } = box.getBoundingClientRect();
  const head = box.querySelector("thead").getBoundingClientRect().bottom;
  return [...box.querySelectorAll("tbody tr")].filter((row) => row.children.length > 1)
    .filter((row) => {
      const at = row.getBoundingClientRect();
      return at.top >= Math.max(top, head) - 2 && at.bottom <= bottom + 2;
    })
    .map((row) => [...row.children].map((cell) => cell.textContent.trim()));
}"""


def assert_rows(shown: Sequence[Sequence[str]], filed: Sequence[Sequence[str]]) -> None:
    """Fail unless rows of the table on the page (in UTC) are those of the file."""
    for (minute, variant, *cells), (at, filed_variant, *values, covered) in zip(
        shown, filed, strict=True
    ):
        assert minute.endswith("…") == (abs(float(covered) - 60) > 0.75), (minute, covered)
        assert minute.removesuffix("…").strip() == at[:16].replace("T", " ")
        assert variant == filed_variant
        for cell, value in zip(cells, values, strict=True):
            assert same(cell, value), (minute, variant, cell, value)


def test_the_request_tables_file_is_exactly_what_is_shown_in_every_order(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query, timezone_id="UTC")
    desk.show_history()
    panel = desk.dash.panel("history")
    table = desk.dash.table("history")
    assert table.header == [*TABLE_COLUMNS.values(), COVERED]
    assert len(table.rows) == 2 * 20, "a row per minute and variant"
    assert len({(row[0], row[1]) for row in table.rows}) == len(table.rows)
    assert f"{len(table.rows)} rows" in panel.inner_text()
    minutes = table.column("minute")
    assert minutes == sorted(minutes, reverse=True), "newest first"
    as_set = sorted(map(tuple, table.rows))

    for title, name in TABLE_COLUMNS.items():
        for order in ("descending", "ascending"):
            header = panel.get_by_role("columnheader", name=title, exact=True)
            if header.get_attribute("aria-sort") != order:
                header.get_by_role("button").click()
            if header.get_attribute("aria-sort") != order:
                header.get_by_role("button").click()
            expect(header).to_have_attribute("aria-sort", order)
            table = desk.dash.table("history")
            assert sorted(map(tuple, table.rows)) == as_set, "the same rows"
            values = [value for value in table.column(name) if value]
            keys: list[Any] = (
                values if name in ("minute", "variant") else [float(value) for value in values]
            )
            assert keys == sorted(keys, reverse=order == "descending"), (title, order)
            shown = desk.page.evaluate(VISIBLE_ROWS)
            assert len(shown) >= 8
            assert_rows(shown, table.rows[: len(shown)])


def test_the_request_table_adds_up_to_the_summary_of_the_window(
    demo: Zaidash, window: Window, still: Desk
) -> None:
    still.show_history()
    table = still.dash.table("history")
    query = f"/api/summary?start={window.start}&end={window.end - 1}"
    for variant, summary in demo.json(query).items():
        rows = [row for row in table.rows if row[1] == variant]
        for column, key in (
            ("requests", "requests"),
            ("5xx", "errors"),
            ("tokens_input", "tokens_input"),
            ("tokens_output", "tokens_output"),
        ):
            place = table.header.index(column)
            total = sum(float(row[place]) for row in rows)
            # Every minute is rounded to whole requests.
            assert total == pytest.approx(summary[key], rel=0.01, abs=len(rows) / 2), column
        classes = sum(float(text) for row in rows for text in row[3:7])
        requests = sum(float(row[2]) for row in rows)
        assert classes == pytest.approx(requests, abs=2 * len(rows))


def test_a_week_of_minutes_can_be_scrolled_to_its_end_with_few_rows_in_the_page(
    demo: Zaidash, paused: str, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, f"{paused}&range=7d", timezone_id="UTC")
    desk.show_history()
    panel = desk.dash.panel("history")
    table = desk.dash.table("history")
    assert len(table.rows) > 19_000
    box = desk.page.get_by_role("region", name="Request history, scrollable")
    assert_rows(rows := desk.page.evaluate(VISIBLE_ROWS), table.rows[: len(rows)])
    for share in (0.25, 0.5, 1.0):
        box.evaluate(
            "(element, share) => { element.scrollTop = share * element.scrollHeight; }", share
        )
        shown = desk.dash.wait_until(
            lambda: len(rows := desk.page.evaluate(VISIBLE_ROWS)) >= 8 and rows, "rows in sight"
        )
        assert isinstance(shown, list)
        first = (shown[0][0].replace(" ", "T") + ":00Z", shown[0][1])
        place = [(row[0], row[1]) for row in table.rows].index(first)
        assert_rows(shown, table.rows[place : place + len(shown)])
        assert panel.locator("tbody tr").count() < 100
        if share == 1.0:
            assert place + len(shown) == len(table.rows), "the last row is in sight"


#: A picture's size, how many of its pixels differ from its first one, and how many colours it has.
LOOK_AT_PNG = """async (base64) => {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const pixels = new Uint32Array(data.buffer);
  const colours = new Map();
  for (const pixel of pixels) colours.set(pixel, (colours.get(pixel) ?? 0) + 1);
  return {
    width: image.width,
    height: image.height,
    drawn: 1 - colours.get(pixels[0]) / pixels.length,
    colours: colours.size,
    ground: [...data.slice(0, 3)],
  };
}"""


#: Remembers the words that are written into pictures, which are made out of the page.
RECORD_WORDS = """(() => {
  window.words = [];
  const plain = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
    if (!this.canvas.isConnected) window.words.push(text);
    return plain.call(this, text, ...place);
  };
})()"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_are_pngs_that_can_be_read_by_themselves(
    demo: Zaidash, window: Window, open_desk: OpenDesk, chromium: Browser, theme: str
) -> None:
    desk = open_desk(
        demo,
        f"{window.query}&theme={theme}&compare=1&hidden=latency:p50",
        before=lambda dash: dash.page.add_init_script(RECORD_WORDS),
        timezone_id="UTC",
    )
    times = [datetime.fromtimestamp(ms / 1000, UTC).strftime("%F %T") for ms in window]
    # Somewhere without the page's policy on images.
    looker = chromium.new_page()
    try:
        for panel in CHARTS:
            canvas = desk.dash.panel(panel).locator("canvas").first.bounding_box()
            assert canvas is not None
            desk.page.evaluate("window.words = []")
            with desk.page.expect_download() as waiting:
                desk.dash.panel(panel).get_by_role("button", name=re.compile("save as PNG")).click()
            assert re.fullmatch(
                rf"zaidash-{panel}-\d{{8}}T\d{{6}}Z\.png", waiting.value.suggested_filename
            )
            data = Path(waiting.value.path()).read_bytes()
            assert data.startswith(b"\x89PNG\r\n\x1a\n")
            assert len(data) > 5_000
            seen = looker.evaluate(LOOK_AT_PNG, base64.b64encode(data).decode())
            assert seen["width"] >= canvas["width"], panel
            assert seen["height"] >= canvas["height"], panel
            assert seen["drawn"] > 0.02, (panel, seen)
            assert seen["colours"] > 20, (panel, seen)
            assert (sum(seen["ground"]) > 3 * 200) == (theme == "light"), (panel, seen)
            words = desk.page.evaluate("window.words")
            title = desk.dash.panel(panel).get_by_role("heading").inner_text()
            assert words[0] == title
            assert f"{times[0]} {NOTHING} {times[1]}" in words
            assert {"production", "canary"} <= set(words), panel
            assert ("before (faint)" in words) == (panel != "heat-map"), panel
            assert ("p50" in words, "p95" in words) == (False, panel == "latency"), panel
    finally:
        looker.context.close()


# --------------------------------------------------------------------------------------
# Screens, themes, motion
# --------------------------------------------------------------------------------------


def resize(desk: Desk, size: ViewportSize) -> None:
    desk.page.set_viewport_size(size)
    # The page waits for the end of such changes before it asks for as many rows as it has pixels.
    desk.page.wait_for_timeout(250)
    desk.settle()


#: What sticks out of the screen to the right or to the left, where it cannot be scrolled to.
STICKING_OUT = """() => [...document.querySelectorAll("body *")].filter((one) => {
  if (one.closest("[data-scrolls] > *, .sr-only, svg, .u-over, dialog:not([open])")) return false;
  if (!one.checkVisibility()) return false;
  const { left, right, width } = one.getBoundingClientRect();
  return width > 0 && (right > innerWidth + 0.5 || left < -0.5);
}).map((one) => one.outerHTML.slice(0, 120))"""

CONTROLS = "button, select, input, a[href], summary"


def assert_fits(desk: Desk) -> None:
    scrolls, inner = desk.page.evaluate(
        "() => [Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),"
        " document.documentElement.clientWidth]"
    )
    assert scrolls <= inner, "the page scrolls sideways"
    assert desk.page.evaluate(STICKING_OUT) == []


def test_a_narrow_screen_shows_everything_without_scrolling_sideways(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query, viewport=NARROW)
    assert_fits(desk)
    desk.press("custom")
    desk.page.get_by_label("from", exact=True).fill("")
    desk.press("show")
    expect(desk.page.get_by_role("alert")).to_be_visible()
    assert_fits(desk)
    desk.show_history()
    assert_fits(desk)
    # Each of them can be clicked: it is not below anything, nor out of reach.
    controls = desk.page.locator(CONTROLS)
    assert controls.count() > 60
    for control in controls.all():
        control.click(trial=True, timeout=30_000)
    for panel in CHARTS:
        desk.hover(panel, 0.95)
        (tip,) = desk.dash.wait_until(lambda: tooltips(desk), "a tooltip")
        assert tip["isInside"], panel
        assert_fits(desk)
    desk.page.mouse.move(1, 1)
    desk.key("?")
    desk.page.get_by_role("dialog").get_by_role("button", name="Close").click(trial=True)
    assert_fits(desk)


#: What is wrong with the grid of key figures: rows that end early, figures that are cut off.
CROOKED = """() => {
  const grid = document.querySelector(".tiles");
  const ends = new Map();
  for (const tile of grid.children) {
    const { top, right } = tile.getBoundingClientRect();
    ends.set(top, Math.max(right, ends.get(top) ?? 0));
  }
  const { right } = grid.getBoundingClientRect();
  return [
    ...[...ends.values()].filter((end) => Math.abs(end - right) > 1).map((end) => `ends at ${end}`),
    ...[...grid.children].filter((tile) => tile.scrollWidth > tile.clientWidth)
      .map((tile) => `cuts ${tile.innerText}`),
  ];
}"""


def test_key_figures_fill_their_rows_and_fit_on_every_screen(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    for variant in ("", "&variant=canary"):
        desk = open_desk(demo, window.query + variant, viewport=NARROW)
        for width in (360, 640, 768, 1024, 1280, 1440, 1920, 2240, 2560):
            desk.page.set_viewport_size({"width": width, "height": 900})
            desk.page.evaluate(TWO_FRAMES)
            assert desk.page.evaluate(CROOKED) == [], (width, variant)
            assert_fits(desk)


def test_a_4k_screen_is_used(demo: Zaidash, window: Window, open_desk: OpenDesk) -> None:
    desk = open_desk(demo, window.query, viewport=HUGE)
    assert_fits(desk)
    for panel in CHARTS:
        box = desk.dash.panel(panel).locator("canvas").first.bounding_box()
        assert box is not None
        assert box["width"] > 1_700, panel
    narrow = open_desk(demo, f"{window.query}&range=7d", viewport=NARROW)
    # One for every tick here, for every other one there.
    assert len(desk.dash.table("latency").rows) > 1_000 > len(narrow.dash.table("latency").rows)


LOOK = """() => ({
  theme: document.documentElement.dataset.theme,
  scheme: getComputedStyle(document.documentElement).colorScheme,
  page: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.body).color,
})"""


def brightness(colour: str) -> float:
    red, green, blue = (float(part) for part in re.findall(r"[\d.]+", colour)[:3])
    return (red + green + blue) / 3


def test_a_theme_is_the_chosen_one_or_the_machines(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query, color_scheme="light")
    for choice in ("system", "light", "dark"):
        desk.page.emulate_media(color_scheme="light")
        desk.dash.goto(window.query + ("" if choice == "system" else f"&theme={choice}"))
        desk.settle()
        pixels = {"light": desk.canvases()}
        assert_theme(desk, "light" if choice == "system" else choice)
        # The machine changes its mind at dusk.
        desk.page.emulate_media(color_scheme="dark")
        wanted = "dark" if choice == "system" else choice
        desk.page.wait_for_function(
            "(theme) => document.documentElement.dataset.theme === theme", arg=wanted
        )
        desk.settle()
        pixels["dark"] = desk.canvases()
        assert_theme(desk, wanted)
        desk.page.reload()
        desk.settle()
        assert_theme(desk, wanted)
        assert (pixels["light"] != pixels["dark"]) == (choice == "system"), "charts go along"


def assert_theme(desk: Desk, theme: str) -> None:
    look = desk.page.evaluate(LOOK)
    assert look["theme"] == look["scheme"] == theme
    assert (brightness(look["page"]) > brightness(look["ink"])) == (theme == "light")


RECORD_MOTION = """(() => {
  window.motions = [];
  for (const kind of ["animationstart", "transitionrun"]) {
    addEventListener(kind, (event) => window.motions.push(
      `${kind} ${event.animationName ?? event.propertyName} ${event.target.className}`), true);
  }
})()"""


#: The one thing that moves: the edge of a panel that waits for an answer.
WAITING = "animationstart to-and-fro progress"

#: Counts how often the dot beside "live" gets or loses its ring, and how often one is seen.
RECORD_BEATS = """(() => {
  window.beats = 0;
  window.rings = 0;
  new MutationObserver((changes) => {
    for (const { target, oldValue } of changes) {
      const isRinged = target.classList.contains("pulse");
      if (!isRinged && !oldValue?.includes("pulse")) continue;
      window.beats += 1;
      if (isRinged && getComputedStyle(target).boxShadow !== "none") window.rings += 1;
    }
  }).observe(document, { attributeFilter: ["class"], attributeOldValue: true, subtree: true });
})()"""


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_nothing_moves_for_those_who_asked_for_less_motion(
    demo: Zaidash, open_desk: OpenDesk, motion: str
) -> None:
    def record(dash: Dashboard) -> None:
        dash.page.add_init_script(RECORD_MOTION)
        dash.page.add_init_script(RECORD_BEATS)

    desk = open_desk(demo, before=record, reduced_motion=motion)
    desk.dash.wait_connection("live")
    wait_ticks(desk, demo, 2)
    slow = Obstacle(desk.dash, "**/api/metrics*")
    for key in ("t", "c", "?", "Escape"):
        desk.key(key)
    expect(desk.dash.panel("latency").get_by_role("progressbar")).to_be_visible()
    slow.clear()
    desk.settle()
    desk.hover("latency", 0.5)
    wait_ticks(desk, demo, 1)
    assert desk.page.evaluate("() => window.beats") >= 2, "a beat for every tick"
    rings = desk.page.evaluate("() => window.rings")
    assert rings == 0 if motion == "reduce" else rings >= 1
    # A page that is open all day animates nothing in any case: that would never let it rest.
    running = desk.page.evaluate("() => document.getAnimations().length")
    motions = set(desk.page.evaluate("() => window.motions"))
    assert (running, motions) == (0, set() if motion == "reduce" else {WAITING})


# --------------------------------------------------------------------------------------
# For everybody: axe, keyboard, names
# --------------------------------------------------------------------------------------

AXE_OPTIONS = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    },
    "resultTypes": ["violations"],
}


@pytest.fixture(scope="module")
def axe() -> Any:
    """Give axe-core."""
    return needed_module("axe_playwright_python.sync_playwright").Axe()


def assert_accessible(desk: Desk, axe: Any, within: str | None = None) -> None:
    """Fail where axe finds anything, in either theme, on a wide and on a narrow screen.

    `within` is a selector of what is new, where the rest of the page is looked at elsewhere.
    """
    found: list[str] = []
    for viewport in (WIDE, NARROW):
        resize(desk, viewport)
        for theme in ("light", "dark"):
            scheme: Any = theme
            desk.page.emulate_media(color_scheme=scheme)
            desk.page.wait_for_function(
                "(theme) => document.documentElement.dataset.theme === theme", arg=theme
            )
            desk.settle()
            results = axe.run(desk.page, context=within, options=AXE_OPTIONS)
            assert results.response["testEngine"]["name"] == "axe-core"
            for violation in results.response["violations"]:
                for node in violation["nodes"]:
                    found.append(
                        f"{theme}, {viewport['width']} px: {violation['id']}: "
                        f"{node['target']} {node['html'][:150]} {node['failureSummary']}"
                    )
    assert found == []


def open_custom_form(desk: Desk) -> None:
    desk.press("custom")
    desk.page.get_by_label("to", exact=True).fill("")
    desk.press("show")
    expect(desk.page.get_by_role("alert")).to_be_visible()


def open_help(desk: Desk) -> None:
    desk.key("?")
    expect(desk.page.get_by_role("dialog")).to_be_visible()


#: Addresses, what is done there, and the part of the page that this is about.
STATES: dict[str, tuple[str, Callable[[Desk], None], str | None]] = {
    "an hour of both variants": ("", lambda desk: desk.dash.wait_connection("live"), None),
    "a full-screen panel": ("?panel=latency", lambda desk: None, None),
    "the list of keys": ("?panel=latency", open_help, "dialog"),
    "the form for a window, with its complaint": ("?panel=latency", open_custom_form, "header"),
    "a zoomed window": ("", lambda desk: desk.drag("latency", 0.5, 0.8), None),
    "a paused page with the table": ("?hidden=latency:p50", Desk.show_history, None),
}


@pytest.mark.parametrize(("query", "does", "within"), STATES.values(), ids=STATES)
def test_axe_finds_nothing_to_complain_about_in(
    demo: Zaidash,
    paused: str,
    open_desk: OpenDesk,
    axe: Any,
    query: str,
    does: Callable[[Desk], None],
    within: str | None,
) -> None:
    if does is Desk.show_history:
        query = f"{paused}&{query.removeprefix('?')}"
    desk = open_desk(demo, query)
    does(desk)
    assert_accessible(desk, axe, within)


def test_axe_finds_nothing_to_complain_about_while_a_target_is_down(
    open_desk: OpenDesk, axe: Any
) -> None:
    with serving(["production", "canary"]) as (zaidash, (_, canary)):
        canary.stop_serving()
        desk = open_desk(zaidash, "?range=5m")
        banner = desk.page.get_by_text("canary target")
        expect(banner).to_contain_text("is down: ")
        (reason,) = (
            target["last_error"]
            for target in zaidash.json("/api/targets")
            if target["variant"] == "canary"
        )
        expect(banner).to_contain_text(reason)
        assert_accessible(desk, axe)
        resize(desk, NARROW)
        assert_fits(desk)


def test_axe_finds_nothing_to_complain_about_where_panels_have_failed(
    demo: Zaidash, open_desk: OpenDesk, axe: Any
) -> None:
    def fail(dash: Dashboard) -> None:
        dash.expect_trouble("status of 500")
        dash.page.route(
            lambda url: "/api/metrics" in url and "latency_buckets" in url,
            lambda route: route.fulfill(
                status=500, json={"error": "the disk fell off, as far as this test is concerned"}
            ),
        )

    desk = open_desk(demo, before=fail)
    alert = desk.dash.panel("heat-map").get_by_role("alert")
    expect(alert).to_contain_text("the disk fell off")
    assert desk.dash.table("latency").rows != [], "the others go on"
    assert_accessible(desk, axe)
    desk.page.unroute_all()
    with suppress(TimedOut):  # it may have tried by itself just now
        alert.get_by_role("button", name="Retry").click(timeout=5_000)
    expect(alert).to_have_count(0)
    desk.settle()


#: The control that has the focus: its place among all, and whether one can see that it has it.
FOCUSED = """(selector) => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const groundOf = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(element);
  const isInside = Number.parseFloat(style.outlineOffset) < 0;
  const ground = groundOf(isInside ? element : element.parentElement);
  const [low, high] = [luminance(rgba(style.outlineColor)), luminance(ground)]
    .sort((a, b) => a - b);
  const { left, top, width, height } = element.getBoundingClientRect();
  const hit = document.elementFromPoint(
    Math.min(left + width / 2, innerWidth - 1), Math.min(top + height / 2, innerHeight - 1));
  return {
    place: [...document.querySelectorAll(selector)].indexOf(element),
    name: element.getAttribute("aria-label") ?? element.textContent,
    outline: style.outlineStyle === "none" ? 0 : Number.parseFloat(style.outlineWidth),
    contrast: (high + 0.05) / (low + 0.05),
    isCovered: hit === null || !(element.contains(hit) || hit.contains(element)),
    below: hit?.outerHTML.slice(0, 80) ?? "nothing: it is out of sight",
  };
}"""

TABBABLE = "button, select, input, a[href], summary, [tabindex='0']"


def walk(desk: Desk, key: str, steps: int) -> list[dict[str, Any]]:
    """Press a key again and again, and return what had the focus each time."""
    stops: list[dict[str, Any]] = []
    for _ in range(steps):
        desk.key(key)
        stop = desk.page.evaluate(FOCUSED, TABBABLE)
        if stop is not None:
            stops.append(stop)
    return stops


def unseen(stops: Sequence[dict[str, Any]]) -> list[str]:
    """Return the stops at which a reader would not see where they are."""
    wrong: dict[str, None] = {}
    for stop in stops:
        if stop["isCovered"]:
            wrong[f"{stop['name']!r} is covered by {stop['below']}"] = None
        # Within a field for a time, the button of the calendar has an outline of its own.
        places = [one for one in stops if one["place"] == stop["place"]]
        if all(one["outline"] < 1.5 for one in places):
            wrong[f"{stop['name']!r} has no outline"] = None
        elif stop["outline"] >= 1.5 and stop["contrast"] < 3:
            wrong[f"{stop['name']!r} has an outline of contrast {stop['contrast']:.1f}"] = None
    return list(wrong)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_control_is_reached_by_tab_and_shows_that_it_has_the_focus(
    demo: Zaidash, window: Window, open_desk: OpenDesk, theme: str
) -> None:
    desk = open_desk(demo, f"{window.query}&theme={theme}&compare=1")
    desk.show_history()
    desk.press("custom")
    count = desk.page.locator(TABBABLE).count()
    assert count > 60
    names = desk.page.locator(TABBABLE).evaluate_all("(all) => all.map((one) => one.outerHTML)")
    for key in ("Tab", "Shift+Tab"):
        desk.page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
        # A field for a time is several stops: day, month, …
        stops = walk(desk, key, count + 25)
        missed = set(range(count)) - {stop["place"] for stop in stops}
        assert [names[place][:120] for place in sorted(missed)] == [], key
        assert unseen(stops) == [], key


def test_tab_does_not_get_lost_behind_a_full_screen_panel(
    demo: Zaidash, window: Window, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, window.query)
    desk.press("Latency: full screen")
    desk.settle()
    expect(desk.dash.panel("latency")).to_be_focused()
    stops = walk(desk, "Tab", 30)
    assert len({stop["place"] for stop in stops}) >= 6
    covered = [stop["name"] for stop in stops if stop["isCovered"]]
    assert covered == []


ROLES_WITH_NAMES = {
    *("button", "combobox", "textbox", "link", "checkbox", "spinbutton", "img", "image"),
    *("Date", "DateTime", "InputTime", "region", "group", "table", "list", "dialog", "figure"),
}


@pytest.mark.parametrize("query", ["", "&panel=latency"], ids=["all panels", "full screen"])
def test_everything_a_screen_reader_stops_at_has_a_name(
    demo: Zaidash, window: Window, open_desk: OpenDesk, query: str
) -> None:
    desk = open_desk(demo, window.query + query)
    if not query:
        desk.press("custom")
    session = desk.page.context.new_cdp_session(desk.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    named = {role: 0 for role in ROLES_WITH_NAMES}
    nameless = []
    for node in nodes:
        role = node.get("role", {}).get("value")
        focusable = any(
            one["name"] == "focusable" and one["value"].get("value")
            for one in node.get("properties", [])
        )
        needs_name = role in {"button", "combobox", "textbox", "link", "img", "image"} or (
            focusable and role not in {"RootWebArea", "MenuListPopup", "option"}
        )
        if node["ignored"] or not needs_name:
            continue
        named[role] = named.get(role, 0) + 1
        if not node.get("name", {}).get("value", "").strip():
            nameless.append(node)
    assert nameless == []
    assert named["button"] > (15 if query else 40)


def test_charts_summaries_tell_their_last_least_and_greatest_values(still: Desk) -> None:
    for panel in LINE_PANELS:
        assert_summary(still, panel)


def assert_summary(desk: Desk, panel: str) -> None:
    table = desk.dash.table(panel)
    text = desk.dash.panel(panel).get_by_role("img").get_attribute("aria-label")
    assert text is not None
    title = desk.dash.panel(panel).get_by_role("heading").inner_text()
    assert text.startswith(f"{title}. ")
    for series in table.header[1:]:
        match = re.search(
            rf"{re.escape(series)}: (\S.*?), lowest (.*?), highest (.*?)\.(?: |$)", text
        )
        assert match, (series, text)
        values = [float(value) for value in table.column(series) if value]
        for shown, value in zip(
            match.groups(), (values[-1], min(values), max(values)), strict=True
        ):
            assert same(shown, value, factor_of(series)), (series, shown, value)


def test_summaries_of_charts_tell_the_present_while_they_are_live(
    demo: Zaidash, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, "?range=5m&variant=production")
    desk.dash.wait_connection("live")
    image = desk.dash.panel("latency").get_by_role("img")

    def is_present() -> bool:
        table = desk.dash.table("latency")
        shown = re.search(r"production p95: ([^,]*),", image.get_attribute("aria-label") or "")
        newest = rows_of(demo, int(time.time() * 1000) - 5_000, 10**13, "latency_p95")[-1]
        return (
            shown is not None
            and to_ms(table.rows[-1][0]) >= newest["timestamp"] - 1_000
            and same(shown[1], table.column("production p95")[-1])
        )

    for _ in range(2):
        desk.dash.wait_until(is_present, "the summary to tell the newest value")
        wait_ticks(desk, demo, 2)


def test_the_heat_maps_summary_tells_how_many_requests_it_shows(still: Desk) -> None:
    table = still.dash.table("heat-map")
    for variant in ("production", "canary"):
        image = still.dash.panel("heat-map").get_by_role("img", name=variant)
        text = image.get_attribute("aria-label") or ""
        shown = re.search(r": (\S+) requests, (\d+) % of them", text)
        assert shown, text
        sums = [
            sum(float(row[place]) for row in table.rows if row[1] == variant)
            for place in range(2, len(table.header))
        ]
        assert same(shown[1], sum(sums)), text
        assert float(shown[2]) == pytest.approx(100 * max(sums) / sum(sums), abs=0.6)


# --------------------------------------------------------------------------------------
# Somewhere else: below a path, behind a password
# --------------------------------------------------------------------------------------

PREFIX = "/zaidash/"

#: Headers that are between two ends of one connection.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class _SubPath(BaseHTTPRequestHandler):
    """Passes what lies below the prefix on to the service, and every byte back as it comes."""

    server: _SubPathServer

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if not self.path.startswith(PREFIX):
            self.send_error(404)
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            connection.request("GET", "/" + self.path.removeprefix(PREFIX), headers=headers)
            response = connection.getresponse()
            self.send_response(response.status)
            for name, value in response.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while piece := response.read1(65_536):
                self.wfile.write(piece)
                self.wfile.flush()
        finally:
            connection.close()

    def handle(self) -> None:
        with suppress(OSError, http.client.HTTPException):  # one of the two ends has gone
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test's output is the test's."""


class _SubPathServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), _SubPath)


@pytest.fixture
def sub_path(demo: Zaidash) -> Iterator[_SubPathServer]:
    """A reverse proxy that has the demo at /zaidash/ and nothing anywhere else."""
    server = _SubPathServer(demo.port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="sub-path")
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_page_works_below_a_path_of_a_reverse_proxy(
    demo: Zaidash, window: Window, sub_path: _SubPathServer, open_desk: OpenDesk
) -> None:
    desk = open_desk(f"http://127.0.0.1:{sub_path.server_port}{PREFIX}", "?range=5m")
    desk.dash.wait_connection("live")
    newest = times_of(desk.dash.table("latency"))[-1]
    desk.dash.wait_until(
        lambda: times_of(desk.dash.table("latency"))[-1] >= newest + 2_000, "live ticks"
    )
    desk.press("canary")
    desk.press("Last 15 minutes")
    assert urlsplit(desk.page.url).path == PREFIX
    desk.page.reload()
    expect(desk.pressed("Last 15 minutes")).to_be_visible()
    expect(desk.pressed("canary")).to_be_visible()
    desk.dash.goto(window.query)
    shown = desk.picture("latency")
    assert open_desk(demo, window.query).picture("latency") == shown
    # The browser asks for an icon where a page names none; this one names its own.
    assert [path for path in sub_path.paths if not path.startswith(PREFIX)] == []
    assert any(path.startswith(f"{PREFIX}api/events") for path in sub_path.paths)


TOKEN = "sesame-0123456789"


def test_the_page_works_with_a_password_and_its_stream_too(open_desk: OpenDesk) -> None:
    with serving(["production"], AUTH_TOKEN=TOKEN) as (zaidash, _):
        assert zaidash.get("/").status == 401
        assert zaidash.get("/api/events").status == 401
        desk = open_desk(
            zaidash,
            "?range=5m",
            http_credentials={"username": "anybody", "password": TOKEN},
        )
        desk.dash.wait_connection("live")
        first = desk.dash.wait_until(lambda: desk.dash.table("requests").rows, "rows")
        desk.dash.wait_until(
            lambda: len(desk.dash.table("requests").rows) >= len(first) + 5, "live ticks"
        )
        assert any("/api/events" in url for url in desk.urls)
        desk.press("Last 15 minutes")
        desk.settle()
        assert not any(TOKEN in url for url in desk.urls)
        bearer = {"Authorization": "Basic " + base64.b64encode(f"x:{TOKEN}".encode()).decode()}
        rows = json.loads(get(f"{zaidash.url}/api/metrics?range=5m", bearer).body)
        assert rows
