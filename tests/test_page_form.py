"""What the page hands out and looks like: files, screens, themes, for everybody, anywhere.

As in `test_page_use`, numbers are compared with the API's, by arithmetic of the tests' own.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from browser import (
    CHART_FIELDS,
    Dashboard,
    Obstacle,
    TimedOut,
    expect,
)
from desk import (
    CHARTS,
    HUGE,
    LINE_PANELS,
    MINUTE_MS,
    NARROW,
    NOTHING,
    TWO_FRAMES,
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
from needs import needed_module
from support import Zaidash, get

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ViewportSize

pytest_plugins = ["browser", "desk"]


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


CONTROLS = "button, select, input, a[href], summary"


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
        control.click(trial=True)
    for panel in CHARTS:
        desk.hover(panel, 0.95)
        (tip,) = desk.dash.wait_until(lambda: tooltips(desk), "a tooltip")
        assert tip["isInside"], panel
        assert_fits(desk)
    desk.press("compare with before")
    desk.settle()
    desk.hover("tokens", 0.95)
    (tip,) = desk.dash.wait_until(lambda: tooltips(desk), "a tooltip")
    assert len(tip["rows"][0]) == 5, "a time, and two columns of either variant"
    assert tip["isInside"]
    assert_fits(desk)
    desk.page.mouse.move(1, 1)
    desk.key("?")
    desk.page.get_by_role("dialog").get_by_role("button", name="Close").click(trial=True)
    assert_fits(desk)


@pytest.mark.parametrize("screen", [NARROW, WIDE], ids=["narrow", "wide"])
def test_many_variants_with_long_names_fit_on_a_screen(
    open_desk: OpenDesk, screen: ViewportSize
) -> None:
    names = ["production", "canary", "blue", "green", "x" * 64]
    with serving(names) as (zaidash, proxies):
        desk = open_desk(zaidash, "?range=5m", viewport=screen)
        expect(desk.dash.tile("requests", names[-1])).to_contain_text("/s")
        assert_fits(desk)
        for proxy in proxies:
            proxy.stop_serving()
        expect(desk.page.get_by_text(f"{names[-1]} target")).to_be_visible()
        assert_fits(desk)
        desk.press(names[-1])
        desk.settle()
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
    desk.dash.wait_until(lambda: desk.page.evaluate("() => window.beats") >= 2, "a beat for a tick")
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
        desk.dash.wait_reason(banner, zaidash, "canary")
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

    def shown() -> str:
        label = image.get_attribute("aria-label") or ""
        found = re.search(r"production p95: ([^,]*),", label)
        return found[1] if found else ""

    def is_present() -> bool:
        before, table, after = shown(), desk.dash.table("latency"), shown()
        rows = rows_of(demo, int(time.time() * 1000) - MINUTE_MS, 10**13, "latency_p95")
        value = table.column("production p95")[-1]
        return (
            len(rows) > 0
            and to_ms(table.rows[-1][0]) >= rows[-1]["timestamp"] - 1_000
            and any(text and same(text, value) for text in (before, after))
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


def test_the_heat_maps_scale_ends_with_the_most_in_a_cell(still: Desk) -> None:
    table = still.dash.table("heat-map")
    scales = still.dash.panel("heat-map").get_by_text("requests in a cell, from").locator("..")
    for variant, scale in zip(("production", "canary"), scales.all(), strict=True):
        cells = (float(cell) for row in table.rows if row[1] == variant for cell in row[2:])
        words, most = (scale.text_content() or "").split("to")
        assert words == "requests in a cell, from1"
        assert same(most, max(cells))


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
