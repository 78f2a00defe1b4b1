"""zaidash next to Prometheus and VictoriaMetrics: `python bench/peers.py`, ten minutes.

All three scrape the same two zai-proxies every 5 s and have the same week behind them
(`peers_history.py`). They run side by side on loopback, as processes of their own, and take turns:
every number is from the same minutes of the same machine, so the ratios hold where the times do
not. `--quick` makes do with a day of history, in two minutes.

What is measured:

    a picture of the page   all panels for both variants as the page draws them, 360 to 672 points
                            each: three requests of zaidash, 18 `query_range` of the peers
                            (`peers_queries.py`), over the six connections of a browser; then the
                            figures above them, by `/api/summary` and by instant queries
    start-up                from the start of the process to its first good answer, a chart of the
                            last hour, with all of the week there
    memory                  PSS, at rest and after all the pictures
    disk                    of the week, and of one day of scrapes
    scraping                CPU time of 1,000 scrapes, 20 replicas every second
    live                    from a proxy's counter to a browser (`peers_live.py`)

Before anything is timed, the answers of all three are compared: request and token rates have to
agree within 2 %. The exit code is 1 where zaidash is behind in what it claims to be ahead in: the
pictures, start-up, memory, live.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from agree_proxy import RecordingProxy
from common import (
    ROOT,
    cpu_s,
    elapsed_s,
    megabytes,
    memory_share,
    milliseconds,
    run_helper,
    run_proxy,
    say,
)
from history_rows import VARIANTS
from peers_history import INTERVAL_S, Sizes, peer_labels, write_history
from peers_live import (
    BEACON,
    REFRESHES_S,
    count_scrapes,
    knows_the_beacon,
    measure_delays,
)
from peers_queries import (
    Picture,
    figure_queries,
    instant_path,
    panel_queries,
    range_path,
    zaidash_chart_paths,
    zaidash_figure_paths,
)
from peers_servers import (
    AS_SCRIPT,
    NAMES,
    PROMETHEUS,
    VICTORIA,
    ZAIDASH,
    Browser,
    First,
    Running,
    Target,
    decoded,
    find_program,
    make_sides,
    scrape_config,
    start_victoria,
    tidy_victoria,
    zaidash_env,
)
from support import eventually, get

from zaidash import load_config

HOUR = Picture("1h", 3_600, INTERVAL_S)
DAY = Picture("24h", 86_400, INTERVAL_S)
WEEK = Picture("7d", 7 * 86_400, INTERVAL_S)

#: What the three may differ by before they are timed.
AGREEMENT = 0.02
#: The mean of the minutes' percentiles is not the percentile of a quarter of an hour.
QUANTILE_AGREEMENT = 0.1

REPLICAS = 20
SAMPLES = 250
FAST_INTERVAL_S = 1.0

SETTLE_TIMEOUT_S = 60.0

#: `/proc` counts CPU time in steps of this.
CPU_STEP_S = 0.01

#: VictoriaMetrics keeps parts of answers: what it takes where it has none yet is told, too.
UNCACHED = ", not from its cache"
#: And so does zaidash, which forgets them only when it ends.
AT_FIRST = f"{ZAIDASH}, asked for the first time"


class Scale(NamedTuple):
    """How much of everything: the whole, or what two minutes allow."""

    days: int
    rounds: Mapping[Picture, int]
    starts: int
    rest_s: float
    scrapes_s: float
    live_s: Mapping[float, float]  # by scrape interval


FULL = Scale(7, {HOUR: 11, DAY: 7, WEEK: 3}, 5, 15, 30, {1: 25, 5: 40})
QUICK = Scale(1, {HOUR: 5, DAY: 3}, 2, 5, 10, {1: 10})

# --------------------------------------------------------------------------------------
# The table
# --------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A number of all three; less is better. Each may have been measured several times."""

    what: str
    measured: Mapping[str, Sequence[float]]
    show: Callable[[float], str]
    is_aim: bool

    def ratio(self, name: str) -> float:
        """Return how many times zaidash's the other's is: the median of neighbours."""
        mine, theirs = self.measured[ZAIDASH], self.measured[name]
        if len(mine) == len(theirs):
            return statistics.median(b / a for a, b in zip(mine, theirs, strict=True))
        return statistics.median(theirs) / statistics.median(mine)

    @property
    def is_ahead(self) -> bool:
        return all(self.ratio(key) >= 1 for key in self.measured if not key.startswith(ZAIDASH))

    @property
    def verdict(self) -> str:
        if self.is_aim:
            return "PASS" if self.is_ahead else "FAIL"
        return "ahead" if self.is_ahead else "behind"

    def cell(self, name: str) -> str:
        """Return what is shown of one of the three, with everything that is about it."""
        return "; ".join(self._shown(key) for key in self.measured if key.startswith(name))

    def _shown(self, key: str) -> str:
        shown = self.show(statistics.median(self.measured[key]))
        if key == ZAIDASH:
            return shown
        _, comma, note = key.partition(", ")
        return f"{shown} ({factor(self.ratio(key))}){comma}{note}"


def factor(ratio: float) -> str:
    return f"{ratio:.0f} x" if ratio >= 10 else f"{ratio:.1f} x" if ratio >= 1 else f"{ratio:.2f} x"


class Results:
    """The rows of a run. Progress goes to stderr, the table alone to stdout."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._started_s = time.monotonic()

    def add(
        self,
        what: str,
        measured: Mapping[str, Sequence[float]],
        show: Callable[[float], str],
        *,
        is_aim: bool = False,
    ) -> None:
        row = Row(what, measured, show, is_aim)
        self._rows.append(row)
        say(f"{row.verdict:6}  {what}: " + ", ".join(f"{name} {row.cell(name)}" for name in NAMES))

    def finish(self) -> int:
        """Print the table and return the exit code: 1 when an aim is missed."""
        print(f"| less is better | {' | '.join(NAMES)} | zaidash is |")
        print("|---|---|---|---|---|")
        for row in self._rows:
            cells = " | ".join(row.cell(name) for name in NAMES)
            print(f"| {row.what} | {cells} | {row.verdict} |")
        seconds = time.monotonic() - self._started_s
        say(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, {seconds:.0f} s")
        return int(any(row.is_aim and not row.is_ahead for row in self._rows))


def seconds_shown(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else milliseconds(seconds)


# --------------------------------------------------------------------------------------
# The run
# --------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure zaidash next to its peers.")
    parser.add_argument("--quick", action="store_true", help="a day of history, two minutes")
    scale = QUICK if parser.parse_args().quick else FULL
    for program, package in (
        ("prometheus", "prometheus"),
        ("promtool", "prometheus"),
        ("victoria-metrics", "victoria-metrics"),
    ):
        find_program(program, package)
    results = Results()
    with tempfile.TemporaryDirectory(prefix="zaidash-peers-") as name:
        measure_history(results, scale, Path(name))
    measure_installed(results)
    for interval_s in scale.live_s:
        with tempfile.TemporaryDirectory(prefix="zaidash-peers-") as name:
            measure_live(results, scale, interval_s, Path(name))
    return results.finish()


def measure_history(results: Results, scale: Scale, directory: Path) -> None:
    """Fill all three, and measure what depends on what they hold."""
    with ExitStack() as stack:
        targets = [
            Target(variant, stack.enter_context(run_proxy(variant, rate)), peer_labels(variant))
            for variant, rate in VARIANTS.items()
        ]
        sizes = fill(targets, scale, directory)
        measure_disk(results, sizes, scale, directory)
        servers = measure_starts(results, targets, scale, directory, stack)
        eventually(lambda: has_all(servers), SETTLE_TIMEOUT_S, "live scrapes of all three")
        time.sleep(scale.rest_s)
        measure_memory(results, servers, "at rest")
        for picture, rounds in scale.rounds.items():
            measure_picture(results, servers, picture, rounds)
        measure_memory(results, servers, "after these pictures")


def fill(targets: Sequence[Target], scale: Scale, directory: Path) -> Sizes:
    """Write the same history into all three; they are not running afterwards."""
    say("filling all three")
    empty = directory / "no-targets.yml"
    empty.write_text(scrape_config([], INTERVAL_S), encoding="utf-8")
    blocks = directory / PROMETHEUS
    blocks.mkdir()
    config = load_config([], zaidash_env(targets, INTERVAL_S, directory))[0]
    is_up = First(lambda: "/api/v1/query?query=1", lambda body: True)
    with start_victoria(directory, empty, is_up) as victoria:
        sizes = write_history(scale.days, config, blocks, victoria.url)
        tidy_victoria(victoria.url)
    say(f"{sizes.series} series, {sizes.ticks:,} ticks, {sizes.samples / 1e6:.1f} M samples")
    return sizes


def measure_disk(results: Results, sizes: Sizes, scale: Scale, directory: Path) -> None:
    peers = {name: tree_bytes(directory / name) for name in NAMES[1:]}
    days = "a day" if scale.days == 1 else f"{scale.days} days"
    results.add(
        f"disk for {days}: zaidash one of snapshots and all in minutes, the peers every sample",
        {
            ZAIDASH: [(directory / "zaidash.db").stat().st_size],
            **{name: [size] for name, size in peers.items()},
        },
        megabytes,
    )
    results.add(
        "disk that one day of scrapes takes",
        {ZAIDASH: [sizes.day_bytes], **{name: [peers[name] / scale.days] for name in peers}},
        megabytes,
    )


def tree_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


# --------------------------------------------------------------------------------------
# Start-up, memory
# --------------------------------------------------------------------------------------


def measure_starts(
    results: Results, targets: Sequence[Target], scale: Scale, directory: Path, stack: ExitStack
) -> dict[str, Running]:
    """Start all three some times; the last time they stay, until `stack` ends them."""
    sides = make_sides(targets, INTERVAL_S, directory)
    starts_s: dict[str, list[float]] = {name: [] for name in (ZAIDASH, AS_SCRIPT, *NAMES[1:])}
    servers = {}
    for number in range(scale.starts):
        for side in sides:
            with ExitStack() as until_next:
                is_last = number == scale.starts - 1 and side.name in NAMES
                started_s = time.perf_counter()
                server = (stack if is_last else until_next).enter_context(
                    side.start(first_answer(side.name))
                )
                starts_s[side.name].append(time.perf_counter() - started_s)
                if is_last:
                    servers[side.name] = server
    results.add("start-up to the first good answer", starts_s, seconds_shown, is_aim=True)
    return servers


def first_answer(name: str) -> First:
    """Return the request of a chart of the last hour, whose answer has most of its points."""
    least = HOUR.seconds // HOUR.step_s // 2

    def zaidash_has(body: bytes) -> bool:
        return len(json.loads(body)["production"]["timestamp"]) >= least

    def peer_has(body: bytes) -> bool:
        result = json.loads(body)["data"]["result"]
        return bool(result) and len(result[0]["values"]) >= least

    if name.startswith(ZAIDASH):
        (path,) = (p for p in zaidash_chart_paths(HOUR) if p.endswith("status_code_rates"))
        return First(lambda: path, zaidash_has)
    (query,) = panel_queries(HOUR)["requests"]
    return First(lambda: range_path(query, HOUR, time.time()), peer_has)


def has_all(servers: Mapping[str, Running]) -> bool:
    """Say whether all three have scraped the live targets."""
    status = get_json(servers[ZAIDASH], "/api/status")
    is_here = all(status[variant]["last_scrape"] for variant in VARIANTS)
    return is_here and all(
        len(get_json(servers[name], instant_path("up == 1", time.time()))["data"]["result"])
        == len(VARIANTS)
        for name in NAMES[1:]
    )


def get_json(server: Running, path: str) -> Any:
    reply = get(server.url + path)
    assert reply.status == 200, f"GET {path}: {reply.status} {reply.body!r}"
    return json.loads(reply.body)


def measure_memory(results: Results, servers: Mapping[str, Running], when: str) -> None:
    shares = {name: memory_share(server.pid) for name, server in servers.items()}
    results.add(
        f"memory {when} (PSS)",
        {name: [share.all_bytes] for name, share in shares.items()},
        megabytes,
        is_aim=True,
    )
    results.add(
        "of it, without pages of files",
        {name: [share.anonymous_bytes] for name, share in shares.items()},
        megabytes,
    )


# --------------------------------------------------------------------------------------
# Pictures
# --------------------------------------------------------------------------------------


class Asker(NamedTuple):
    """What a server is asked for a picture."""

    name: str
    browser: Browser
    picture: Picture
    cache: str  # what makes it leave its cache out

    def charts(self, now_s: float) -> list[str]:
        if self.name == ZAIDASH:
            return zaidash_chart_paths(self.picture)
        queries = itertools.chain(*panel_queries(self.picture).values())
        return [range_path(query, self.picture, now_s) + self.cache for query in queries]

    def figures(self, now_s: float) -> list[str]:
        if self.name == ZAIDASH:
            return zaidash_figure_paths(self.picture)
        # As zaidash: nothing is told of a time before that is partly gone.
        queries = figure_queries(self.picture, has_before=self.picture != WEEK)
        return [instant_path(query, now_s) + self.cache for query in queries]

    def load(self, paths: Sequence[str]) -> float:
        """Return how long it takes until all answers are there."""
        return elapsed_s(lambda: self.browser.load(paths))


def make_askers(servers: Mapping[str, Running], picture: Picture, stack: ExitStack) -> list[Asker]:
    askers = []
    for name, server in servers.items():
        browser = Browser(server.url)
        stack.callback(browser.close)
        askers.append(Asker(name, browser, picture, ""))
        if name == VICTORIA:
            askers.append(Asker(name + UNCACHED, browser, picture, "&nocache=1"))
    return askers


def measure_picture(
    results: Results, servers: Mapping[str, Running], picture: Picture, rounds: int
) -> None:
    charts_s: dict[str, list[float]] = defaultdict(list)
    figures_s: dict[str, list[float]] = defaultdict(list)
    work_s: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        askers = make_askers(servers, picture, stack)
        (mine,) = (asker for asker in askers if asker.name == ZAIDASH)
        charts_s[AT_FIRST].append(mine.load(mine.charts(time.time())))
        figures_s[AT_FIRST].append(mine.load(mine.figures(time.time())))
        check_agreement(askers, picture)
        for _ in range(rounds):
            for asker in askers:
                pid = servers[asker.name.removesuffix(UNCACHED)].pid
                now_s, before_s = time.time(), cpu_s(pid)
                charts_s[asker.name].append(asker.load(asker.charts(now_s)))
                figures_s[asker.name].append(asker.load(asker.figures(now_s)))
                work_s[asker.name].append(max(cpu_s(pid) - before_s, CPU_STEP_S))
    results.add(f"{picture.name}: all charts", charts_s, seconds_shown, is_aim=True)
    results.add(f"{picture.name}: the figures above them", figures_s, seconds_shown, is_aim=True)
    results.add(f"{picture.name}: CPU time of the server for both", work_s, seconds_shown)


def check_agreement(askers: Sequence[Asker], picture: Picture) -> None:
    """Fail where the three do not draw the same rates: means over all points they share."""
    now_s = time.time()
    rates = {}
    for asker in askers:
        replies = [decoded(reply) for reply in asker.browser.load(asker.charts(now_s))]
        read = read_zaidash if asker.name == ZAIDASH else read_peer
        rates[asker.name] = read(replies, picture)
    mine = rates.pop(ZAIDASH)
    for name, theirs in rates.items():
        for key, values in mine.items():
            other = theirs[key]
            # PromQL's rate at a time is about what was before it, a row about what comes after.
            # The first and the last may be cut off.
            shared = [at_s for at_s in sorted(values) if at_s + picture.step_s in other][1:-1]
            assert len(shared) > len(values) / 2, f"{name}, {picture.name}: {len(shared)} in common"
            a = statistics.fmean(values[at_s] for at_s in shared)
            b = statistics.fmean(other[at_s + picture.step_s] for at_s in shared)
            most = QUANTILE_AGREEMENT if key[1] == "p95" else AGREEMENT
            told = f"{picture.name}, {' '.join(key)}: {name} {b:.5g}, zaidash {a:.5g}"
            say(f"{told}, {b / a - 1:+.2%}")
            assert abs(b / a - 1) <= most, f"{told} differ by more than {most:.0%}"


#: Values by time, s; of a variant and a quantity.
Lines = dict[tuple[str, str], dict[float, float]]


def read_zaidash(replies: Sequence[Any], picture: Picture) -> Lines:
    found: Lines = defaultdict(dict)
    numbers, codes, _ = replies
    for variant in VARIANTS:
        for at_ms, rates in zip(*_columns(codes[variant], "status_code_rates"), strict=True):
            if rates is not None:
                found[variant, "requests/s"][at_ms / 1000] = sum(rates.values())
        for name, field in (("input tokens/s", "token_rate_in"), ("p95", "latency_p95")):
            for at_ms, value in zip(*_columns(numbers[variant], field), strict=True):
                if value is not None:
                    found[variant, name][at_ms / 1000] = value
    return dict(found)


def _columns(columns: Mapping[str, list[Any]], field: str) -> tuple[list[Any], list[Any]]:
    return columns["timestamp"], columns[field]


def read_peer(replies: Sequence[Any], picture: Picture) -> Lines:
    queries = [query for panel in panel_queries(picture).values() for query in panel]
    by_query = dict(zip(queries, (reply["data"]["result"] for reply in replies), strict=False))
    panels = panel_queries(picture)
    found: Lines = defaultdict(lambda: defaultdict(float))
    for name, query, direction in (
        ("requests/s", panels["requests"][0], None),
        ("input tokens/s", panels["tokens"][0], "input"),
        ("p95", panels["latency"][1], None),
    ):
        for series in by_query[query]:
            if direction in (None, series["metric"].get("direction")):
                line = found[series["metric"]["job"], name]
                for at_s, value in series["values"]:
                    if value != "NaN":
                        line[at_s] += float(value)
    return dict(found)


# --------------------------------------------------------------------------------------
# Size on disk of what one installs
# --------------------------------------------------------------------------------------


def measure_installed(results: Results) -> None:
    with tempfile.TemporaryDirectory(prefix="zaidash-peers-") as name:
        pyz = Path(name) / "zaidash.pyz"
        build = [sys.executable, str(ROOT / "deploy" / "pyz.py"), "--output", str(pyz)]
        subprocess.run(build, stdout=subprocess.DEVNULL, timeout=60, check=True)
        mine = pyz.stat().st_size
    programs = {
        PROMETHEUS: find_program("prometheus", "prometheus"),
        VICTORIA: find_program("victoria-metrics", "victoria-metrics"),
    }
    theirs = {name: [Path(path).resolve().stat().st_size] for name, path in programs.items()}
    results.add("size of what one copies: `zaidash.pyz`, the program", {ZAIDASH: [mine], **theirs},
                megabytes)  # fmt: skip
    results.add("the same with CPython and all of its library", {ZAIDASH: [mine + python_bytes()],
                **theirs}, megabytes)  # fmt: skip


def python_bytes() -> int:
    """Return the size of this Python: program, library without its tests, what they link to."""
    library = Path(sysconfig.get_path("stdlib"))
    left_out = {"__pycache__", "test", "tests", "site-packages", "dist-packages", "idlelib",
                "ensurepip", "lib2to3", "tkinter", "turtledemo"}  # fmt: skip
    files = {Path(sys.executable).resolve()}
    for directory, names, here in os.walk(library):
        names[:] = [n for n in names if n not in left_out and not n.startswith("config-")]
        files |= {(Path(directory) / name).resolve() for name in here}
    mapped = Path("/proc/self/maps").read_text().splitlines()
    files |= {
        Path(line.split()[5]).resolve() for line in mapped if line.endswith(".so") or ".so." in line
    }
    return sum(file.stat().st_size for file in files if file.is_file())


# --------------------------------------------------------------------------------------
# Scraping, and live
# --------------------------------------------------------------------------------------


def measure_live(results: Results, scale: Scale, interval_s: float, directory: Path) -> None:
    """Start all three anew, with nothing behind them, on many replicas and the beacon."""
    replicas = ("--count", str(REPLICAS), "--samples", str(SAMPLES), "--versions", "240")
    with ExitStack() as stack:
        urls = stack.enter_context(run_helper(ROOT / "bench" / "replicas.py", *replicas))
        beacon = RecordingProxy(BEACON)
        stack.enter_context(beacon)
        targets = [
            Target(list(VARIANTS)[number % 2], url, {"job": f"replica-{number}"})
            for number, url in enumerate(urls.split(","))
        ]
        targets.append(Target(BEACON, beacon.url, {"job": BEACON}))
        is_up = {name: First(lambda: "/api/v1/query?query=1", lambda body: True) for name in NAMES}
        is_up[ZAIDASH] = First(lambda: "/healthz", lambda body: True)
        servers = {
            side.name: stack.enter_context(side.start(is_up[side.name]))
            for side in make_sides(targets, interval_s, directory)
            if side.name in NAMES
        }
        eventually(lambda: knows_the_beacon(servers), SETTLE_TIMEOUT_S, "scrapes of the beacon")
        if interval_s == FAST_INTERVAL_S:
            measure_scraping(results, servers, beacon, scale.scrapes_s)
        found = measure_delays(beacon, servers, interval_s, scale.live_s[interval_s])
    every = f"scrapes every {interval_s:g} s"
    for refresh_s in REFRESHES_S:
        results.add(
            f"from a counter to the browser, {every}, the peers asked every {refresh_s:g} s",
            {ZAIDASH: found.pushed, **found.polled[refresh_s]},
            seconds_shown,
            is_aim=True,
        )
    results.add(
        f"of it, from the scrape to when it can be had, {every}",
        found.from_scrape,
        seconds_shown,
    )


def measure_scraping(
    results: Results, servers: Mapping[str, Running], beacon: RecordingProxy, seconds: float
) -> None:
    time.sleep(5 * FAST_INTERVAL_S)  # what all do once is done
    begin_s = time.time()
    before_s = {name: cpu_s(server.pid) for name, server in servers.items()}
    time.sleep(seconds)
    after_s = {name: cpu_s(server.pid) for name, server in servers.items()}
    scrapes = count_scrapes(beacon, begin_s, time.time())
    assert min(scrapes.values()) > 0.9 * seconds / FAST_INTERVAL_S, f"scrapes missed: {scrapes}"
    results.add(
        f"CPU time of 1,000 scrapes of {SAMPLES} samples",
        {
            name: [1_000 * (after_s[name] - before_s[name]) / scrapes[name] / (REPLICAS + 1)]
            for name in NAMES
        },
        seconds_shown,
    )


if __name__ == "__main__":
    sys.exit(main())
