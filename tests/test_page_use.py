"""The page as people use it: its address, the mouse, the keyboard, windows, pauses, variants.

Real Chromium, real service. Most tests share one demo, whose history stands still once it is past:
numbers on the page are compared with those the API gives for the same time, by arithmetic that
shares nothing with the page's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
from browser import (
    SCREEN,
    WAIT_S,
    Dashboard,
    Table,
    expect,
)
from desk import (
    CHARTS,
    HOUR_MS,
    LINE_PANELS,
    MINUTE_MS,
    NARROW,
    NOTHING,
    PANELS,
    PANELS_IN_ORDER,
    PICTURE,
    WIDE,
    Desk,
    OpenDesk,
    Window,
    assert_column,
    assert_fits,
    factor_of,
    resize,
    rows_of,
    same,
    serving,
    step_of,
    times_of,
    to_ms,
    tooltips,
    wait_ticks,
)
from support import PATIENCE, Zaidash, launch_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest_plugins = ["browser", "desk"]


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

    def pauses_at_a_tick() -> int:
        """The time of the pause; 0 where the page had not heard of a tick for long."""
        if "paused" in desk.address:
            desk.press("resume")
            desk.dash.wait_connection("live")
        desk.press("pause")
        desk.dash.wait_connection("paused")
        at = int(desk.address["paused"])
        return at if at % 1000 == 0 else 0

    at = desk.dash.wait_until(pauses_at_a_tick, "a pause at a tick")
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
    "moved": lambda desk: desk.key("ArrowLeft"),
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
    before_s = time.time()
    desk.key("ArrowLeft")
    desk.page.wait_for_url(re.compile(r"end="))
    # The page's present is that of its last tick.
    end_s = int(desk.address["end"]) / 1000 + 75
    assert before_s - 15 <= end_s <= time.time() + 2
    desk.settle()
    fixed = desk.page.get_by_text("Fixed window")
    expect(fixed).to_be_visible()

    def pans_until(is_live: Callable[[], bool]) -> Callable[[], bool]:
        """The present has moved on meanwhile; on a live page the key does nothing."""

        def press() -> bool:
            desk.key("ArrowRight")
            return is_live()

        return press

    desk.dash.wait_until(pans_until(lambda: fixed.count() == 0), "the present")
    assert desk.address == {"range": "5m"}
    # What was zoomed into goes on in the shortest range that holds it, paused or not.
    now = int(time.time() * 1000)
    desk.dash.goto(f"?range=7d&start={now - 400_000}&end={now - 60_000}&paused={now - 60_000}")
    desk.settle()
    quarter = desk.pressed("Last 15 minutes")
    desk.dash.wait_until(pans_until(lambda: quarter.count() == 1), "the present")
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
        chromium.browser_type,
        PATIENCE,
        ignore_default_args=["--disable-ipc-flooding-protection"],
    )
    try:
        page = browser.new_page(viewport=SCREEN)
        page.set_default_timeout(WAIT_S * 1000)
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
                  deltaX: -4, bubbles: true, cancelable: true,
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
    began = first["rows"][0][0]
    (later,) = desk.dash.wait_until(
        lambda: [tip for tip in tooltips(desk) if tip["rows"][0][0] != began],
        "the chart to move on below the pointer",
    )
    assert later["rows"][0][0] > began or began.startswith("23:")


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
    # The page may have asked for the range once more before it got to know of the window.
    ends = [query.get("end") for query in desk.asked]
    assert all("range" not in query for query in desk.asked[ends.index(str(window.end)) :])
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


def test_a_paused_picture_stands_still_and_catches_up_when_resumed(
    demo: Zaidash, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, "?range=5m")
    desk.dash.wait_connection("live")
    live = desk.canvases()
    desk.dash.wait_until(lambda: desk.canvases() != live, "a live picture to move")

    desk.press("pause")
    desk.dash.wait_connection("paused")
    desk.settle()
    still = desk.canvases()
    pause = int(desk.address["paused"])
    wait_ticks(desk, demo, 3)
    assert desk.canvases() == still
    missed = [row["timestamp"] for row in rows_of(demo, pause + 1, 10**13, "latency_p95")]

    desk.press("resume")
    desk.dash.wait_connection("live")

    tables: list[Table] = []

    def catches_up() -> bool:
        """Whether the chart's file has what was missed, and no variant is still to come."""
        tables.append(desk.dash.table("latency"))
        return all(tables[-1].rows[-1][1:]) and times_of(tables[-1])[-1] >= missed[-1]

    desk.dash.wait_until(catches_up, "what was missed")
    table = tables[-1]
    times = times_of(table)
    # A busy machine may have missed a tick; then the service has no row of it either.
    rows = rows_of(demo, times[0], times[-1] + 1, "latency_p95")
    known = sorted({row["timestamp"] for row in rows})
    assert times == known, "nothing is missing or double"
    assert set(missed) <= set(times), "it has what came meanwhile"
    values = {
        row["timestamp"]: row["latency_p95"] for row in rows if row["variant"] == "production"
    }
    assert_column(table, "production p95", values)


#: The large number of every tile and variant.
TILE_NUMBERS = "[data-tile] [data-variant] .text-xl"


def test_pausing_does_not_change_the_numbers_that_were_to_be_read(
    demo: Zaidash, open_desk: OpenDesk
) -> None:
    desk = open_desk(demo, "?variant=both")
    desk.dash.wait_connection("live")
    for variant in ("production", "canary"):
        desk.dash.tile("requests", variant).get_by_text("/s").first.wait_for()
    # Pressed within the frame after a tick, so that no other one comes in between; after one that
    # is there for both variants, since a pause holds the last tick that all of them have.
    before = desk.page.evaluate(
        """(selector) => new Promise((done) => {
          const numbers = (variant) => [...document.querySelectorAll(selector)]
            .filter((one) => one.closest(`[data-variant=${variant}]`))
            .map((one) => one.textContent).join();
          const both = () => [numbers("production"), numbers("canary")];
          let seen = both();
          const look = () => {
            const now = both();
            const changed = now.filter((one, i) => one !== seen[i]).length;
            if (changed > 0) seen = now;
            if (changed < 2) return requestAnimationFrame(look);
            [...document.querySelectorAll("header button")]
              .find((one) => one.textContent === "pause").click();
            done([...document.querySelectorAll(selector)].map((one) => one.textContent));
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


#: Remembers every line pattern that is drawn with, in CSS px.
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
