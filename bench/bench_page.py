"""What the page weighs, how fast it draws and what it holds; `python bench/bench_page.py`.

A headless Chromium opens the page of a real `zaidash --demo` (ticks of 1 s, an hour of them, a week
of minutes, two variants that are both shown). It needs the Python package playwright and Debian's
chromium.

*Drawn* means: on the canvas of every chart there are coloured pixels at both ends of the plot (grid
and labels are grey), the labels of its time axis fit the range, and its panel does not say that it
loads or failed. A script in the page looks after every frame; its clock starts with the navigation,
or with the time stamp of the key. Ticks and memory are measured on pages without that script.

A tick's main-thread time is that of all tasks of the page's main thread from one tick to the next,
as Chromium's Performance domain adds them up (`TaskDuration`): drawing, but also styles, layout,
paint, garbage collection and whatever the page does in between. Chromium's tracing, which tells the
tasks apart, works in them itself and makes a tick 1.2 to 1.5 times as long; what it says stands
beside it.
"""

from __future__ import annotations

import gzip
import itertools
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from common import ROOT, Table, megabytes, milliseconds, run_proxy, say
from history_rows import VARIANTS
from playwright.sync_api import Browser, CDPSession, Page, ViewportSize, sync_playwright
from support import Zaidash, eventually, launch_chromium, run_zaidash

LAPTOP = ViewportSize(width=1440, height=1000)
SCREEN = ViewportSize(width=1920, height=1080)
#: How often each is opened and changed, and how many ticks are looked at.
ROUNDS = {1440: 5, 1920: 3}
TICKS = {1440: 20, 1920: 20}
TIMEOUT_MS = 30_000

WEIGHT_TARGET_BYTES = 130_000
OPEN_TARGET_S = 1.0
RANGE_TARGET_S = 0.5
TICK_TARGET_S = 0.016
#: What a page holds may waver by as much between an hour and a day.
DAY_TARGET_RATIO = 1.05

#: A tick's work begins at most so much before its time: the clocks are rounded.
EARLY_S = 0.05
#: So much before the next tick, the page has long been at rest.
RESTING_S = 0.3
#: How long a browser has to itself after a new tab, and a page after it was drawn.
SETTLE_S = 1.0

#: A simulated day of ticks as they are by default; drawn at every so many of them.
DAY_HOURS = 24
DAY_TICK_S = 5
DAY_TICKS_A_FRAME = 60

#: Charts on the page, and how many of each panel where two variants are shown.
CHARTS = {
    "requests": 1,
    "latency": 1,
    "heat-map": 2,
    "tokens": 1,
    "concurrency": 1,
    "rate-limit": 1,
    "errors": 1,
    "sizes": 1,
}
#: What the time axis says in a range up to and of 1 h, and in one of days.
CLOCK, DATE = r"^\d\d:\d\d(:\d\d)?$", r"^\d\d-\d\d"

#: Runs in the page before anything of it. `benchDrawn(labels)` gives the moment at which all charts
#: in sight are drawn (those out of sight are drawn when they come into it), `benchKeyAt` the moment
#: of the last key; both in ms on the page's own clock.
PROBE = """
((charts) => {
  const PART = 0.05, COLOURED = 40, TIMEOUT_MS = 30_000;
  const labels = new WeakMap();
  const context = CanvasRenderingContext2D.prototype;
  const { clearRect, fillText } = context;
  context.clearRect = function (...box) {
    labels.set(this.canvas, []);
    return clearRect.apply(this, box);
  };
  context.fillText = function (text, ...rest) {
    labels.get(this.canvas)?.push(String(text));
    return fillText.call(this, text, ...rest);
  };

  const isColoured = (canvas, left, top, width, height) => {
    const { data } = canvas.getContext("2d").getImageData(left, top, width, height);
    for (let i = 0; i < data.length; i += 4) {
      const [r, g, b, a] = data.subarray(i, i + 4);
      if (a > 64 && Math.max(r, g, b) - Math.min(r, g, b) > COLOURED) return true;
    }
    return false;
  };
  const isDrawn = (canvas, pattern) => {
    const plot = canvas.closest(".uplot").querySelector(".u-over");
    const scale = canvas.width / canvas.clientWidth;
    const [left, top, width, height] = [
      plot.offsetLeft, plot.offsetTop, plot.offsetWidth, plot.offsetHeight,
    ].map((px) => Math.round(px * scale));
    const part = Math.ceil(width * PART);
    return (
      (labels.get(canvas) ?? []).some((text) => pattern.test(text)) &&
      isColoured(canvas, left, top, part, height) &&
      isColoured(canvas, left + width - part, top, part, height)
    );
  };
  const isReady = (panel, pattern) => {
    const section = document.querySelector(`[data-panel="${panel}"]`);
    if (section && section.getBoundingClientRect().top > window.innerHeight) return true;
    const found = section?.querySelectorAll(".uplot canvas") ?? [];
    return (
      found.length === charts[panel] &&
      section.querySelector("[role=status], [role=alert]") === null &&
      [...found].every((canvas) => isDrawn(canvas, pattern))
    );
  };

  window.benchDrawn = (text) =>
    new Promise((resolve, reject) => {
      const pattern = new RegExp(text);
      const deadline = performance.now() + TIMEOUT_MS;
      const ready = new Set(); // looking at pixels is work: no chart is looked at again
      const { port1, port2 } = new MessageChannel();
      // A message sent by a frame arrives after that frame was painted.
      port1.onmessage = () => {
        const at = performance.now();
        const missing = Object.keys(charts).filter((panel) => {
          if (!ready.has(panel) && isReady(panel, pattern)) ready.add(panel);
          return !ready.has(panel);
        });
        if (missing.length === 0) resolve(at);
        else if (at > deadline) reject(new Error(`not drawn: ${missing}`));
        else requestAnimationFrame(() => port2.postMessage(null));
      };
      requestAnimationFrame(() => port2.postMessage(null));
    });
  window.addEventListener("keydown", (event) => { window.benchKeyAt = event.timeStamp; }, true);
  performance.setResourceTimingBufferSize(10_000);
})(CHARTS)
""".replace("CHARTS", json.dumps(CHARTS))

#: Called after a key: gives the moments from the key to the last answer and to the drawn charts.
AFTER_KEY = """
async () => {
  const drawnAt = await window.benchDrawing;
  const ends = performance.getEntriesByType("resource")
    .filter(({ name, startTime }) => name.includes("api/metrics") && startTime >= benchKeyAt)
    .map(({ responseEnd }) => responseEnd);
  return [Math.max(...ends) - benchKeyAt, drawnAt - benchKeyAt];
}
"""


#: Runs in the page before anything of it: `benchHour` lets an hour of snapshots come at once.
DAY_STREAM = """
(() => {
  const now = Date.now;
  let ahead = 0, source = null, count = 0;
  Date.now = () => now() + ahead;
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  window.EventSource = class {
    constructor() {
      source = this;
      setTimeout(() => this.tell({ type: "connected", scrape_interval: 5, variants: [] }));
    }
    tell(event) {
      count += 1;
      this.onmessage?.({ data: JSON.stringify(event), lastEventId: String(count) });
    }
    close() {
      if (source === this) source = null;
    }
  };
  window.benchHour = async ([snapshots, tickS, ticksAFrame]) => {
    for (let tick = 1; tick <= 3600 / tickS; tick += 1) {
      ahead += tickS * 1000;
      const timestamp = Math.floor(Date.now() / (tickS * 1000)) * tickS * 1000;
      for (const snapshot of snapshots) {
        const change = 1 + Math.sin(timestamp);
        const changed = Object.entries(snapshot).map(([field, value]) =>
          [field, typeof value === "number" ? value * change : value]);
        source?.tell({ type: "metrics", data: { ...Object.fromEntries(changed), timestamp } });
      }
      if (tick % ticksAFrame === 0) {
        await frame(); // the page draws
        await frame();
      }
    }
  };
})()
"""


def main() -> int:
    table = Table("bench_page: about 250 s")
    measure_files(table)
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright.chromium)
        with run_zaidash("--demo", env={"LOG_LEVEL": "warning"}) as demo:
            say(f"Chromium {browser.version}")
            eventually(lambda: all(s["healthy"] for s in demo.json("/api/status").values()))
            measure_transfer(table, browser, demo)
            for size in (LAPTOP, SCREEN):
                measure_opening(table, browser, demo, size)
                measure_range_change(table, browser, demo, size)
                measure_ticks(table, browser, demo, size)
            assert not demo.stderr(), demo.stderr()
        measure_memory(table, browser)
        browser.close()
    return table.finish()


def named(size: ViewportSize) -> str:
    return f"{size['width']} x {size['height']}"


def kilobytes(size_bytes: float) -> str:
    return f"{size_bytes / 1000:.1f} kB"


def median_and_worst(times_s: Sequence[float]) -> str:
    median_s, worst_s = statistics.median(times_s), max(times_s)
    return f"{milliseconds(median_s)} (worst of {len(times_s)}: {milliseconds(worst_s)})"


@contextmanager
def open_page(browser: Browser, size: ViewportSize, script: str | None = None) -> Iterator[Page]:
    """Give a page in a context of its own, with empty caches, that has not gone anywhere.

    The script runs there before anything of the page.
    """
    with browser.new_context(viewport=size) as context:
        context.set_default_timeout(TIMEOUT_MS)
        if script is not None:
            context.add_init_script(script)
        yield context.new_page()


# --------------------------------------------------------------------------------------
# Weight
# --------------------------------------------------------------------------------------


def measure_files(table: Table) -> None:
    """Add what JavaScript and CSS weigh when compressed as well as gzip can."""
    sizes = {
        suffix: sum(
            len(gzip.compress(path.read_bytes(), 9, mtime=0))
            for path in (ROOT / "static").rglob(f"*{suffix}")
        )
        for suffix in (".js", ".css")
    }
    assert all(sizes.values()), f"static/ has no page: {sizes}"
    size_bytes = sum(sizes.values())
    table.check(
        "JavaScript and CSS in `static/`, `gzip -9`",
        f"{kilobytes(size_bytes)} ({kilobytes(sizes['.js'])} + {kilobytes(sizes['.css'])})",
        f"≤ {kilobytes(WEIGHT_TARGET_BYTES)}",
        size_bytes <= WEIGHT_TARGET_BYTES,
    )


def measure_transfer(table: Table, browser: Browser, demo: Zaidash) -> None:
    """Add what a browser gets, headers included. This first page is not timed."""
    with open_page(browser, LAPTOP, PROBE) as page:
        page.goto(f"{demo.url}/")
        page.evaluate("(labels) => benchDrawn(labels)", CLOCK)
        sizes: list[int] = page.evaluate(
            """() => performance.getEntriesByType("resource")
              .filter(({ name }) => /\\.(js|css)$/.test(name)).map((entry) => entry.transferSize)"""
        )
    assert len(sizes) >= 2 and all(sizes), sizes
    table.check(
        "JavaScript and CSS as they are sent, headers included",
        f"{kilobytes(sum(sizes))} in {len(sizes)} answers",
        f"≤ {kilobytes(WEIGHT_TARGET_BYTES)}",
        sum(sizes) <= WEIGHT_TARGET_BYTES,
    )


# --------------------------------------------------------------------------------------
# Opening, and another range
# --------------------------------------------------------------------------------------


def measure_opening(table: Table, browser: Browser, demo: Zaidash, size: ViewportSize) -> None:
    """Add the time from the start of the navigation until an hour is drawn on all charts.

    The tab is there before: starting its process is the browser's work, which would go on at the
    same time on the same two cores.
    """
    times_s = []
    for _ in range(ROUNDS[size["width"]]):
        with open_page(browser, size, PROBE) as page:
            time.sleep(SETTLE_S)
            page.goto(f"{demo.url}/?range=1h", wait_until="commit")
            times_s.append(page.evaluate("(labels) => benchDrawn(labels)", CLOCK) / 1000)
    table.check(
        f"open 1 h until all charts are drawn, {named(size)}, nothing cached",
        median_and_worst(times_s),
        f"≤ {milliseconds(OPEN_TARGET_S)}",
        statistics.median(times_s) <= OPEN_TARGET_S,
    )


class Change(NamedTuple):
    """Another range, in seconds from the key."""

    answered_s: float
    drawn_s: float


def measure_range_change(table: Table, browser: Browser, demo: Zaidash, size: ViewportSize) -> None:
    """Add the time from the key until 7 d are drawn on all charts."""
    with open_page(browser, size, PROBE) as page:
        page.goto(f"{demo.url}/?range=1h")
        page.evaluate("(labels) => benchDrawn(labels)", CLOCK)
        changes = [change_to_week(page) for _ in range(ROUNDS[size["width"]])]
        # Once it was seen, the table of minutes asks too: 7 d of them, as many as there are.
        see_all_panels(page)
        changes_with_table = [change_to_week(page) for _ in range(ROUNDS[size["width"]])]
    drawn_s = [change.drawn_s for change in changes]
    table.check(
        f"1 h to 7 d until all charts are drawn, {named(size)}",
        median_and_worst(drawn_s),
        f"≤ {milliseconds(RANGE_TARGET_S)}",
        statistics.median(drawn_s) <= RANGE_TARGET_S,
    )
    table.note(
        "of it: until the last answer is there, and drawing after it",
        milliseconds(statistics.median(change.answered_s for change in changes))
        + " + "
        + milliseconds(statistics.median(c.drawn_s - c.answered_s for c in changes)),
    )
    table.note(
        "the same while the table of minutes is in use too",
        median_and_worst([change.drawn_s for change in changes_with_table]),
    )


def change_to_week(page: Page) -> Change:
    """Go from 1 h to 7 d and, not measured, back."""
    week = press_range(page, "6", DATE)
    press_range(page, "3", CLOCK)
    return week


def press_range(page: Page, key: str, labels: str) -> Change:
    page.evaluate("(labels) => { window.benchDrawing = benchDrawn(labels); }", labels)
    page.keyboard.press(key)
    answered_ms, drawn_ms = page.evaluate(AFTER_KEY)
    # The totals are asked for when the charts are there: the next change begins after them.
    page.wait_for_function(
        """() => performance.getEntriesByType("resource").some(
          ({ name, startTime }) => name.includes("api/summary") && startTime >= benchKeyAt)"""
    )
    return Change(answered_ms / 1000, drawn_ms / 1000)


# --------------------------------------------------------------------------------------
# A live tick
# --------------------------------------------------------------------------------------


class Tick(NamedTuple):
    """The main thread from one tick to the next."""

    busy_s: float
    cpu_s: float


class TracedTick(NamedTuple):
    """The same, as a trace has it, which tells the tasks apart."""

    busy_s: float
    longest_task_s: float
    frames: int


def measure_ticks(table: Table, browser: Browser, demo: Zaidash, size: ViewportSize) -> None:
    """Add what live snapshots of two variants cost, on an hour of 1 s data in all panels."""
    with open_page(browser, size) as page:
        page.goto(f"{demo.url}/?range=1h")
        see_all_panels(page)
        ticks = watch_ticks(page, TICKS[size["width"]])
        traced = trace_ticks(browser, page, TICKS[size["width"]])
    busy_s = [tick.busy_s for tick in ticks]
    mean_s, middle_s = statistics.mean(busy_s), statistics.median(busy_s)
    table.check(
        f"main thread in a live tick, {named(size)}",
        f"{milliseconds(mean_s)} (mean of {len(ticks)}; median {milliseconds(middle_s)},"
        f" worst {milliseconds(max(busy_s))})",
        f"< {milliseconds(TICK_TARGET_S)}",
        mean_s < TICK_TARGET_S,
    )
    table.note(
        "of it: on the CPU, not waiting for one",
        milliseconds(statistics.mean(tick.cpu_s for tick in ticks)),
    )
    table.note(
        "the same while Chromium writes a trace of it",
        milliseconds(statistics.mean(tick.busy_s for tick in traced)),
    )
    longest_s = [tick.longest_task_s for tick in traced]
    table.note(
        "there, the longest task of a tick",
        f"{milliseconds(statistics.median(longest_s))} (worst: {milliseconds(max(longest_s))})",
    )
    table.note("frames in a tick", f"{statistics.mean(tick.frames for tick in traced):.1f}")


def see_all_panels(page: Page) -> None:
    """Scroll to the table of minutes and back: it begins when it is seen, and then goes on."""
    page.locator("[data-panel=sizes] canvas").wait_for()
    page.locator("[data-panel=history]").scroll_into_view_if_needed()
    page.locator("[data-panel=history] tbody tr").first.wait_for()
    page.evaluate("() => scrollTo(0, 0)")


def watch_ticks(page: Page, count: int) -> list[Tick]:
    """Return some whole ticks of a page, of which it is asked once in each."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    time.sleep(2 * SETTLE_S)  # what opening leaves to do
    readings = []
    for _ in range(count + 1):
        time.sleep((-RESTING_S - time.time()) % 1)
        answer = session.send("Performance.getMetrics")
        readings.append({metric["name"]: metric["value"] for metric in answer["metrics"]})
    session.detach()
    return [
        Tick(
            busy_s=after["TaskDuration"] - before["TaskDuration"],
            cpu_s=after["ThreadTime"] - before["ThreadTime"],
        )
        for before, after in itertools.pairwise(readings)
    ]


def trace_ticks(browser: Browser, page: Page, count: int) -> list[TracedTick]:
    """Return some whole ticks of a page from a trace. Nothing is asked of it meanwhile."""
    browser.start_tracing(
        page=page,
        categories=[
            "devtools.timeline",
            "disabled-by-default-devtools.timeline",
            "blink.user_timing",
        ],
    )
    page.evaluate("() => performance.mark(`bench ${performance.timeOrigin + performance.now()}`)")
    time.sleep(count + 2)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    mark = next(e for e in events if e["name"].startswith("bench ") and "ts" in e)
    # Trace time in µs at which the Unix clock stood at 0: ticks are whole seconds of it.
    zero_us = mark["ts"] - float(mark["name"].split()[1]) * 1000
    first_s = int((mark["ts"] - zero_us) / 1e6 + EARLY_S) + 1
    thread = [e for e in events if (e["pid"], e["tid"]) == (mark["pid"], mark["tid"])]
    return [
        tick_of(thread, zero_us + (first_s + number - EARLY_S) * 1e6) for number in range(count)
    ]


def tick_of(events: list[dict[str, Any]], begin_us: float) -> TracedTick:
    """Add up a main thread's tasks that begin within a second."""
    inside = [e for e in events if begin_us <= e["ts"] < begin_us + 1e6]
    tasks = sorted(
        (e for e in inside if e["name"] == "RunTask" and e["ph"] == "X"), key=lambda e: e["ts"]
    )
    assert tasks, "the trace has no tasks of the page"
    outer: list[dict[str, Any]] = []  # without those within another
    for task in tasks:
        if not outer or task["ts"] >= outer[-1]["ts"] + outer[-1]["dur"]:
            outer.append(task)
    return TracedTick(
        busy_s=sum(task["dur"] for task in outer) / 1e6,
        longest_task_s=max(task["dur"] for task in outer) / 1e6,
        frames=sum(e["name"] == "Commit" for e in inside),
    )


# --------------------------------------------------------------------------------------
# Memory
# --------------------------------------------------------------------------------------


class Held(NamedTuple):
    """What a page holds once its garbage is collected."""

    heap_bytes: float
    code_bytes: float  # of the heap; V8 compiles more of what runs often, for hours
    nodes: float
    listeners: float


def measure_memory(table: Table, browser: Browser) -> None:
    """Add what a page holds that is left open for a day.

    The service, its history and its snapshots are real; the day is not: in the page, a stand-in for
    EventSource hands out the snapshots again and again, with later times, and the clock follows.
    """
    with ExitStack() as stack:
        urls = {
            variant: stack.enter_context(run_proxy(variant, rate))
            for variant, rate in VARIANTS.items()
        }
        env = {
            "SCRAPE_TARGETS": ",".join(f"{variant}={url}" for variant, url in urls.items()),
            "SCRAPE_INTERVAL": f"{DAY_TICK_S:g}s",
            "LOG_LEVEL": "error",
        }
        process = stack.enter_context(run_zaidash(env=env))
        snapshots = eventually(
            lambda: complete_snapshots(process), 6 * DAY_TICK_S, "snapshots of both variants"
        )
        page = stack.enter_context(open_page(browser, LAPTOP, DAY_STREAM))
        page.goto(f"{process.url}/?range=1h")
        see_all_panels(page)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        samples = [held_by(session)]
        for _ in range(DAY_HOURS):
            page.evaluate("(hour) => benchHour(hour)", [snapshots, DAY_TICK_S, DAY_TICKS_A_FRAME])
            samples.append(held_by(session))
        label = page.locator("[data-connection]").get_attribute("data-connection")
        assert label == "live", f"the page is {label}"
    add_memory(table, samples)


def complete_snapshots(process: Zaidash) -> list[dict[str, Any]] | None:
    """Return the newest snapshot of each variant, once they have rates."""
    rows: list[dict[str, Any]] = process.json("/api/metrics?range=5m")
    newest = {row["variant"]: row for row in rows if row["req_rate"] and row["latency_buckets"]}
    return list(newest.values()) if len(newest) == len(VARIANTS) else None


def held_by(session: CDPSession) -> Held:
    session.send("HeapProfiler.collectGarbage")
    session.send("HeapProfiler.collectGarbage")  # what only the first run set free
    answer = session.send("Performance.getMetrics")
    metrics = {metric["name"]: metric["value"] for metric in answer["metrics"]}
    return Held(
        metrics["JSHeapUsedSize"],
        code_bytes_by(session),
        metrics["Nodes"],
        metrics["JSEventListeners"],
    )


def code_bytes_by(session: CDPSession) -> int:
    """Return the size of all compiled code on the heap, of which only a snapshot of it tells."""
    chunks: list[str] = []

    def keep(event: dict[str, Any]) -> None:
        chunks.append(event["chunk"])

    session.on("HeapProfiler.addHeapSnapshotChunk", keep)
    session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    session.remove_listener("HeapProfiler.addHeapSnapshotChunk", keep)
    snapshot = json.loads("".join(chunks))
    nodes, fields = snapshot["nodes"], snapshot["snapshot"]["meta"]["node_fields"]
    code = snapshot["snapshot"]["meta"]["node_types"][0].index("code")
    kinds = nodes[fields.index("type") :: len(fields)]
    sizes = nodes[fields.index("self_size") :: len(fields)]
    return sum(size for kind, size in zip(kinds, sizes, strict=True) if kind == code)


def add_memory(table: Table, samples: Sequence[Held]) -> None:
    """Compare the end of the day with its second hour; medians, since requests come and go."""
    # samples[n] is what was held after n hours; the window is full of live rows after one.
    first, early = samples[0], middle_of(samples[2:5])
    noon = middle_of(samples[DAY_HOURS // 2 - 1 : DAY_HOURS // 2 + 2])
    late = middle_of(samples[-3:])
    shown = (first, early, noon, late)
    data = [held.heap_bytes - held.code_bytes for held in shown]
    ratio = data[-1] / data[1]
    table.check(
        "data on the heap on 1 h: opened, after 3 h, 12 h and 24 h of live snapshots",
        ", ".join(map(megabytes, data)) + f" (24 h to 3 h: {ratio:.2f})",
        f"≤ {DAY_TARGET_RATIO:g} times the 3 h",
        ratio <= DAY_TARGET_RATIO,
    )
    table.note("compiled code beside it", ", ".join(megabytes(held.code_bytes) for held in shown))
    for what, early_count, counts in (
        ("DOM nodes", early.nodes, [held.nodes for held in shown]),
        ("event listeners", early.listeners, [held.listeners for held in shown]),
    ):
        table.check(
            f"{what}, at the same times",
            ", ".join(f"{count:,.0f}" for count in counts),
            f"≤ {DAY_TARGET_RATIO:g} times the 3 h",
            counts[-1] <= DAY_TARGET_RATIO * early_count,
        )


def middle_of(samples: Sequence[Held]) -> Held:
    return Held(*(statistics.median(values) for values in zip(*samples, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
