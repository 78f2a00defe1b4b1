"""Whether zaidash is right: next to a real Prometheus, and next to the truth.

`python bench/agree.py` lets Prometheus and zaidash scrape the same zai-proxies every second for
five minutes (`--minutes`), production with two replicas and canary with one, on loopback. The
proxies count with `prometheus_client`, and write every request down (`agree_proxy.py`). Traffic is
random, from `--seed`, with what happens in real life: a burst of errors across the border of two
minutes, a status code that is new, restarts, an idle stretch, scrapes that fail.

For every variant and minute (T, T + 60 s], and for the whole run, three numbers are compared:

    zaidash      `/api/metrics`: the rates of the snapshots of T + 1 s ... T + 60 s, averaged
                 (`points=1`); error rate, percentiles and sizes of the snapshot of T + 60 s, which
                 are over RATE_WINDOW, a minute. `/api/summary` over the same snapshots. A tick's
                 snapshot tells what was new since the tick before, so all of these are about what
                 was counted between the scrapes of T and of T + 60 s, 60 intervals.
    Prometheus   `rate(...[1m])`, `increase(...[1m])` and `histogram_quantile(...)` over it, as an
                 instant query at T + 60 s. It scrapes each target at an offset of its own within
                 the second, so 60 samples lie in the minute, 59 intervals; it extrapolates them to
                 60 s.
    the truth    what the ledgers have with a time in (T, T + 60 s].

A quantile's truth is that of the exact bucket counts, with requests spread evenly inside a bucket:
no scraper can know more.

Differences between zaidash and Prometheus beyond 2 % are listed one by one with their causes, which
are not guessed: `agree_model.py` predicts from the ledger what each of the two must say, given the
moments of its scrapes, and takes what it suffers from away one after the other. Where one of them
does not say what is predicted (within 1 %), in any minute, the difference is unexplained, and the
exit code is 1. So it is where zaidash's total error against the truth, over five minutes or more,
is not the smaller one.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from agree_model import (
    FLAWS,
    QUANTILES,
    SIZES,
    TOKEN_RATES,
    Answers,
    Flaws,
    Replica,
    Totals,
    Window,
    answers,
    predict_prometheus,
    predict_zaidash,
    truth,
)
from agree_proxy import Step
from common import ROOT, Table, run_helper, say
from support import Zaidash, end_process, eventually, free_port, get, run_zaidash

INTERVAL_S = 1.0
MINUTE_S = 60.0
#: Traffic and scrapes before the first minute, and after the last one.
WARM_UP_S = 8.0
COOL_DOWN_S = 2.5
#: Requests a second of each replica.
RATES = {"production": (200.0, 200.0), "canary": (300.0,)}

#: What zaidash and Prometheus may differ by.
TARGET = 0.02
#: What each of them may differ from its prediction by: a scrape reads its target some
#: milliseconds after the moment it is dated.
PREDICTION_TARGET = 0.01
#: Whose error is the smaller one is asked of at least so many windows: how much a restart costs the
#: one and the other is chance.
ENOUGH_WINDOWS = 10
#: A cause is named from this difference on.
WORTH_NAMING = 0.001

START_TIMEOUT_S = 30.0

#: Status codes that turn up late, one after the other.
NEW_CODES = ("529", "504", "500", "400")


# --------------------------------------------------------------------------------------
# What happens when
# --------------------------------------------------------------------------------------


class Happening(NamedTuple):
    """A step of one replica's plan. `at_s` counts from the first minute."""

    variant: str
    replica: int
    step: Step

    @property
    def words(self) -> str:
        what = f"status code {self.step.what}" if self.step.what.isdigit() else self.step.what
        lasts = f" for {self.step.lasts_s:g} s" if self.step.lasts_s else ""
        return f"{what} at {self.step.at_s % MINUTE_S:.1f} s{lasts}"

    def is_in(self, begin_s: float, end_s: float) -> bool:
        """Say whether a window, in seconds since the first minute, has anything of it."""
        return self.step.at_s < end_s and self.step.at_s + self.step.lasts_s > begin_s


def plan(minutes: int, rng: random.Random) -> list[Happening]:
    """Return what happens in all minutes: a pattern of five, the first of which is calm."""
    found = []
    for first in range(0, minutes, 5):
        # (minute, second, variant, replica, what, how long); moments that matter are random
        pattern = (
            (1, 20.3, "canary", 0, NEW_CODES[first // 5 % len(NEW_CODES)], 0),
            (1, 54.2, "production", 0, "burst", 9),
            (2, 15 + 30 * rng.random(), "canary", 0, "restart", 0),
            (3, 15 + 30 * rng.random(), "production", 1, "restart", 0),
            (2, 57.2, "canary", 0, "idle", 66),  # the whole next minute
            (4, 25.5, "production", 0, "failing", 4),
            (4, 33.5, "canary", 0, "failing", 5),
        )
        for minute, second, variant, replica, what, lasts in pattern:
            if first + minute < minutes:
                at_s = (first + minute) * MINUTE_S + second
                found.append(Happening(variant, replica, Step(at_s, what, lasts)))
    return found


def quick_plan(rng: random.Random) -> list[Happening]:
    """Return what happens where there is only one minute."""
    return [
        Happening("canary", 0, Step(20.3, NEW_CODES[0], 0)),
        Happening("production", 1, Step(15 + 30 * rng.random(), "restart", 0)),
    ]


# --------------------------------------------------------------------------------------
# The scrapers
# --------------------------------------------------------------------------------------


class Prometheus:
    """A Prometheus that runs on a free port. Made by `run_prometheus`, which also ends it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self._process = process
        self._url = url
        self._log = log

    def is_ready(self) -> bool:
        code = self._process.poll()
        assert code is None, f"Prometheus exited with {code}: {self._log.read_text()}"
        try:
            return get(f"{self._url}/-/ready").status == 200
        except OSError:
            return False

    def query(self, expression: str, at_s: float) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        parameters = urlencode({"query": expression, "time": f"{at_s:.3f}"})
        reply = get(f"{self._url}/api/v1/query?{parameters}")
        assert reply.status == 200, f"{expression}: {reply.status} {reply.body!r}"
        result: list[dict[str, Any]] = json.loads(reply.body)["data"]["result"]
        return result

    def number(self, expression: str, at_s: float) -> float | None:
        """Return the one number of an expression; None where there is none, or NaN."""
        found = self.query(expression, at_s)
        assert len(found) <= 1, f"{expression}: {found}"
        value = float(found[0]["value"][1]) if found else math.nan
        return None if math.isnan(value) else value


@contextmanager
def run_prometheus(targets: Mapping[str, Sequence[str]]) -> Iterator[Prometheus]:
    """Run a Prometheus with a job per variant until the end of the block."""
    program = shutil.which("prometheus")
    if program is None:
        raise SystemExit(
            "the program prometheus is not on the PATH: apt-get install prometheus (its service"
            " is not needed)"
        )
    with tempfile.TemporaryDirectory(prefix="zaidash-agree-") as name:
        directory = Path(name)
        jobs = [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
            for job, addresses in targets.items()
        ]
        interval = f"{INTERVAL_S:g}s"
        times = {"scrape_interval": interval, "scrape_timeout": interval}
        config = directory / "prometheus.yml"  # JSON is YAML too
        config.write_text(json.dumps({"global": times, "scrape_configs": jobs}))
        address = f"127.0.0.1:{free_port()}"
        log = directory / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    program,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address={address}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            prometheus = Prometheus(process, f"http://{address}", log)
            eventually(prometheus.is_ready, START_TIMEOUT_S, "a Prometheus that is ready")
            yield prometheus
        finally:
            end_process(process)


def ask_prometheus(prometheus: Prometheus, job: str, window: Window) -> Answers:
    """Return what PromQL says of a window that ends now, or then."""
    length = f"{window.seconds:g}s"

    def rate(name: str, matchers: str = "", function: str = "rate") -> str:
        return f'{function}(zai_proxy_{name}{{job="{job}"{matchers}}}[{length}])'

    requests = f"sum({rate('requests_total')})"
    failures = rate("requests_total", ',status_code=~"5.."')
    expressions = {
        "req_rate": requests,
        "error_rate_pct": f"100 * sum({failures}) / {requests}",
    }
    for name, direction in TOKEN_RATES.items():
        matcher = f',direction="{direction}"'
        increase = rate("tokens_total", matcher, "increase")
        expressions[name] = f"sum({increase}) / {window.seconds:g}"
    by_bucket = f"sum by (le) ({rate('request_duration_seconds_bucket')})"
    for name, q in QUANTILES.items():
        expressions[name] = f"1000 * histogram_quantile({q}, {by_bucket})"
    for measure in SIZES:
        parts = [f"sum({rate(f'{measure}_bytes_{part}')})" for part in ("sum", "count")]
        expressions[f"{measure}_avg"] = " / ".join(parts)
    return {name: prometheus.number(text, window.end_s) for name, text in expressions.items()}


def sample_times(prometheus: Prometheus, job: str, window: Window) -> dict[str, list[float]]:
    """Return the moments of the samples in a window by instance."""
    series = f'process_start_time_seconds{{job="{job}"}}[{window.seconds:g}s]'
    return {
        found["metric"]["instance"]: [at_s for at_s, _ in found["values"]]
        for found in prometheus.query(series, window.end_s)
    }


#: The sources of zaidash's numbers.
METRICS, SUMMARY = "/api/metrics", "/api/summary"

#: What a snapshot has of RATE_WINDOW, not of the tick alone.
OF_THE_WINDOW = ("error_rate_pct", *QUANTILES, *(f"{measure}_avg" for measure in SIZES))


def ask_zaidash(zaidash: Zaidash, variant: str, window: Window) -> dict[str, Answers]:
    """Return what zaidash says of a window, by source."""
    first_ms, last_ms = (round(1000 * at_s) for at_s in (window.begin_s + INTERVAL_S, window.end_s))
    query = f"variant={variant}&start={first_ms}&end={last_ms}"
    summary = zaidash.json(f"{SUMMARY}?{query}")[variant]
    from_summary = {
        "req_rate": _per_second(summary["requests"], window),
        "error_rate_pct": summary["error_rate_pct"] if summary["requests"] else None,
    }
    for name, direction in TOKEN_RATES.items():
        from_summary[name] = _per_second(summary[f"tokens_{direction}"], window)
    found = {SUMMARY: {**from_summary, **{name: summary[name] for name in QUANTILES}}}
    if window.seconds == MINUTE_S:  # RATE_WINDOW
        averages = zaidash.json(f"{METRICS}?{query}&points=1")
        last = zaidash.json(f"{METRICS}?variant={variant}&start={last_ms}&end={last_ms}")
        rates = {name: averages[0][name] for name in ("req_rate", *TOKEN_RATES)} if averages else {}
        found[METRICS] = {
            **rates,
            **({name: last[0][name] for name in OF_THE_WINDOW} if last else {}),
        }
    return found


def _per_second(count: float | None, window: Window) -> float | None:
    return None if count is None else count / window.seconds


# --------------------------------------------------------------------------------------
# Comparing
# --------------------------------------------------------------------------------------


class Comparison(NamedTuple):
    """One quantity of one variant in one window, from one source of zaidash."""

    quantity: str
    source: str
    variant: str
    where: str  # "minute 3" or "whole run"
    special: str  # what happened in it, by the plan
    zaidash: float | None
    prometheus: float | None
    truth: float | None
    predicted_zaidash: float | None
    predicted_prometheus: float | None
    causes: str

    @property
    def has_answers(self) -> bool:
        return None not in (self.zaidash, self.prometheus, self.truth)

    @property
    def difference(self) -> float:
        return relative(self.zaidash, self.prometheus)

    @property
    def is_explained(self) -> bool:
        """Both say what they must; zaidash has a number wherever there is one, and only there."""
        if self.truth is None and self.zaidash:  # an error rate is 0 where there was no request
            return False
        if self.truth is not None and self.zaidash is None:
            return False
        mine = relative(self.zaidash, self.predicted_zaidash)
        theirs = relative(self.prometheus, self.predicted_prometheus)
        return abs(mine) <= PREDICTION_TARGET and abs(theirs) <= PREDICTION_TARGET


def relative(value: float | None, reference: float | None) -> float:
    """Return by which part of the reference a value is off; 0 where one of them is not there."""
    if value is None or reference is None or value == reference:
        return 0.0
    return (value - reference) / reference if reference else math.inf


class Ground:
    """Everything that is known of one variant in one window."""

    def __init__(
        self, replicas: Mapping[str, Replica], scrapes: Mapping[str, list[float]], window: Window
    ) -> None:
        self._window = window
        self._by_prometheus = {
            replica: scrapes.get(address, []) for address, replica in replicas.items()
        }
        # Ten seconds more, for the scrape before the first one.
        self._by_zaidash = {
            replica: [
                at_s
                for at_s in replica.scrapes["zaidash"]
                if window.begin_s - 10 <= at_s <= window.end_s + INTERVAL_S / 2
            ]
            for replica in replicas.values()
        }
        self.truth = self._answers(truth(replicas.values(), window))
        self.prometheus = [self._prometheus(flaws) for flaws in (Flaws(), *FLAWS.values())]
        self.zaidash = [self._zaidash(flaws) for flaws in (Flaws(), *FLAWS.values())]

    def _answers(self, totals: Totals) -> Answers:
        return answers(totals, self._window.seconds)

    def _prometheus(self, flaws: Flaws) -> Answers:
        totals = predict_prometheus(self._by_prometheus, self._window, INTERVAL_S, flaws)
        return self._answers(totals)

    def _zaidash(self, flaws: Flaws) -> dict[str, Answers]:
        counted, averaged = (
            self._answers(totals)
            for totals in predict_zaidash(self._by_zaidash, self._window, INTERVAL_S, flaws)
        )
        of_the_window = {name: counted[name] for name in OF_THE_WINDOW}
        return {METRICS: {**averaged, **of_the_window}, SUMMARY: counted}

    def causes(self, quantity: str, source: str) -> str:
        """Return the parts of each one's distance from the truth, by cause."""
        mine = [prediction[source].get(quantity) for prediction in self.zaidash]
        theirs = [prediction.get(quantity) for prediction in self.prometheus]
        true = self.truth[quantity]
        return "; ".join(
            f"{who}: {', '.join(parts)}"
            for who, parts in (
                ("Prometheus", _parts(theirs, true, "extrapolation at the borders")),
                ("zaidash", _parts(mine, true, "moments of the scrapes")),
            )
            if parts
        )


def _parts(predictions: Sequence[float | None], true: float | None, rest: str) -> list[str]:
    """Return what each flaw does, in percent of the truth: what goes away when it goes away."""
    shares = []
    steps = zip((*FLAWS, rest), predictions, (*predictions[1:], true), strict=True)
    for name, with_it, without_it in steps:
        share = (with_it or 0) - (without_it or 0)
        if true and abs(share / true) >= WORTH_NAMING:
            shares.append(f"{name} {percent(share / true, signed=True)}")
    return shares


def compare(
    ground: Ground,
    mine: Mapping[str, Answers],
    theirs: Answers,
    names: tuple[str, str, str],
) -> Iterator[Comparison]:
    variant, where, special = names
    for source, found in sorted(mine.items()):
        for quantity, value in found.items():
            yield Comparison(
                quantity,
                source,
                variant,
                where,
                special,
                value,
                theirs[quantity],
                ground.truth[quantity],
                ground.zaidash[0][source][quantity],
                ground.prometheus[0][quantity],
                ground.causes(quantity, source),
            )


def percent(share: float, *, signed: bool = False) -> str:
    digits = 3 if abs(share) < 0.001 else 2
    return f"{100 * share:{'+' if signed else ''}.{digits}f} %"


# --------------------------------------------------------------------------------------
# The run
# --------------------------------------------------------------------------------------


class Run(NamedTuple):
    """What was asked for."""

    minutes: int
    begin_s: float
    seed: str
    happenings: list[Happening]

    def windows(self) -> Iterator[tuple[str, Window]]:
        for minute in range(self.minutes):
            begin_s = self.begin_s + minute * MINUTE_S
            yield f"minute {minute + 1}", Window(begin_s, begin_s + MINUTE_S)
        if self.minutes > 1:
            yield "whole run", Window(self.begin_s, self.begin_s + self.minutes * MINUTE_S)

    def special(self, variant: str, window: Window) -> str:
        """Return what happens in a window, in words."""
        begin_s, end_s = (at_s - self.begin_s for at_s in window)
        return ", ".join(
            h.words for h in self.happenings if h.variant == variant and h.is_in(begin_s, end_s)
        )


Answered = dict[tuple[str, Window], tuple[dict[str, Answers], Answers, dict[str, list[float]]]]


def measure(run: Run, directory: Path) -> tuple[dict[str, dict[str, Replica]], Answered]:
    """Let both scrape, ask them, and read the ledgers: replicas by variant and address."""
    targets: dict[str, list[str]] = defaultdict(list)
    ledgers: dict[str, dict[str, Path]] = defaultdict(dict)
    with ExitStack() as stack:
        for variant, rates in RATES.items():
            for number, rate in enumerate(rates):
                ledger = directory / f"{variant}-{number}"
                url = stack.enter_context(run_proxy(run, variant, number, rate, ledger))
                address = url.removeprefix("http://").removesuffix("/metrics")
                targets[variant].append(address)
                ledgers[variant][address] = ledger
        prometheus = stack.enter_context(run_prometheus(targets))
        env = {
            "SCRAPE_TARGETS": ",".join(
                f"{variant}=http://{address}/metrics"
                for variant, addresses in targets.items()
                for address in addresses
            ),
            "SCRAPE_INTERVAL": f"{INTERVAL_S:g}s",
            "RATE_WINDOW": f"{MINUTE_S:g}s",
            "LOG_LEVEL": "warning",
        }
        zaidash = stack.enter_context(run_zaidash(env=env))
        late_s = time.time() - (run.begin_s - 3 * INTERVAL_S)
        assert late_s < 0, f"starting took {late_s:.1f} s too long: try again on a calm machine"
        found: Answered = {}
        for where, window in run.windows():
            time.sleep(max(window.end_s + COOL_DOWN_S - time.time(), 0))
            say(f"  {where} is over")
            for variant in RATES:
                found[variant, window] = (
                    ask_zaidash(zaidash, variant, window),
                    ask_prometheus(prometheus, variant, window),
                    sample_times(prometheus, variant, window),
                )
    replicas = {
        variant: {address: Replica.read(path) for address, path in paths.items()}
        for variant, paths in ledgers.items()
    }
    return replicas, found


def run_proxy(run: Run, variant: str, number: int, rate: float, ledger: Path) -> Any:
    steps = [h.step for h in run.happenings if (h.variant, h.replica) == (variant, number)]
    return run_helper(
        ROOT / "bench" / "agree_proxy.py",
        f"--variant={variant}",
        f"--rate={rate}",
        f"--seed={run.seed}-{variant}-{number}",
        f"--begin={run.begin_s}",
        f"--plan={json.dumps(steps)}",
        f"--ledger={ledger}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare zaidash, Prometheus and the truth.")
    parser.add_argument("--minutes", type=int, default=5, help="1 to 60 (default: %(default)s)")
    parser.add_argument("--seed", default="1", help="makes the same traffic (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="a single minute, with a new status code and a restart"
    )
    options = parser.parse_args()
    if not 1 <= options.minutes <= 60:
        parser.error(f"--minutes {options.minutes}: expected 1 to 60")
    minutes = 1 if options.quick else options.minutes
    rng = random.Random(f"{options.seed}-plan")
    happenings = quick_plan(rng) if options.quick else plan(minutes, rng)
    # Whole minutes of the clock, as charts have them; a quick run does not wait for one.
    step_s = 5.0 if options.quick else MINUTE_S
    begin_s = math.ceil((time.time() + WARM_UP_S) / step_s) * step_s
    run = Run(minutes, begin_s, options.seed, happenings)
    seconds = begin_s - time.time() + minutes * MINUTE_S + 10
    table = Table(f"agree: about {seconds:.0f} s, seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="zaidash-agree-") as name:
        replicas, found = measure(run, Path(name))
    comparisons: list[Comparison] = []
    for where, window in run.windows():
        for variant in RATES:
            mine, theirs, scrapes = found[variant, window]
            ground = Ground(replicas[variant], scrapes, window)
            names = (variant, where, run.special(variant, window))
            comparisons += compare(ground, mine, theirs, names)
    events = sum(r.events for some in replicas.values() for r in some.values())
    table.note("requests of both variants, all in the ledgers", f"{events:,}")
    return report(table, comparisons)


# --------------------------------------------------------------------------------------
# The report
# --------------------------------------------------------------------------------------


def report(table: Table, comparisons: Sequence[Comparison]) -> int:
    """Fill and print the table, then the differences one by one; return the exit code."""
    groups: dict[tuple[str, str, bool], list[Comparison]] = defaultdict(list)
    for one in comparisons:
        groups[one.source, one.quantity, one.where == "whole run"].append(one)
    for (source, quantity, is_whole), group in sorted(groups.items(), key=_order):
        add_row(table, f"{quantity}, {'whole run' if is_whole else source}", group)
    unexplained = [c for c in comparisons if not c.is_explained]
    listed = [c for c in comparisons if c.has_answers and abs(c.difference) > TARGET]
    silent = [c for c in comparisons if c.zaidash is not None and c.prometheus is None]
    table.note(
        f"numbers compared; beyond {percent(TARGET)}; where Prometheus has no answer",
        f"{len(comparisons)}; {len(listed)}; {len(silent)}",
    )
    table.check(
        f"numbers that are not what is predicted, within {percent(PREDICTION_TARGET)}",
        str(len(unexplained)),
        "0",
        not unexplained,
    )
    exit_code = table.finish()
    print_minutes(comparisons)
    print(f"\nDifferences beyond {percent(TARGET)}, and why\n")
    print("| variant, window | quantity | zaidash to Prometheus | causes, in % of the truth |")
    print("|---|---|---|---|")
    for one in listed:
        print(
            f"| {one.variant}, {one.where} ({one.special or 'calm'}) | {one.quantity}, {one.source}"
            f" | {percent(one.difference, signed=True)} | {one.causes} |"
        )
    for one in unexplained:
        print(f"unexplained: {one}")
    return exit_code


#: What the table of minutes shows.
SHOWN = ("req_rate", "token_rate_out", "error_rate_pct", "latency_p50", "latency_p99")


def print_minutes(comparisons: Sequence[Comparison]) -> None:
    """Print how far both are from the truth in each minute: zaidash, then Prometheus."""
    cells: dict[tuple[str, str, str], dict[str, str]] = defaultdict(dict)
    for one in comparisons:
        if one.source == METRICS:
            pair = (relative(value, one.truth) for value in (one.zaidash, one.prometheus))
            both = " and ".join(percent(share, signed=True) for share in pair)
            cells[one.variant, one.where, one.special][one.quantity] = (
                both if one.has_answers else "no answer"
            )
    print("\nOff the truth, zaidash (`/api/metrics`) and Prometheus\n")
    print(f"| variant, minute | what happened | {' | '.join(SHOWN)} |")
    print(f"|---|---|{'---|' * len(SHOWN)}")
    for (variant, where, special), row in cells.items():
        shown = " | ".join(row[name] for name in SHOWN)
        print(f"| {variant}, {where} | {special or '-'} | {shown} |")


def _order(item: tuple[tuple[str, str, bool], Any]) -> tuple[bool, str]:
    (source, _, is_whole), _ = item
    return (is_whole, source)


def add_row(table: Table, what: str, group: Sequence[Comparison]) -> None:
    """Add how far zaidash is from Prometheus, and both from the truth."""
    answered = [one for one in group if one.has_answers]
    calm = [abs(one.difference) for one in answered if not one.special]
    every = [abs(one.difference) for one in answered]
    mine, theirs = total_error(answered)
    apart = f"median {percent(statistics.median(every))}, worst {percent(max(every))}"
    if calm and len(calm) < len(every):
        apart += f", of {len(calm)} calm minutes {percent(max(calm))}"
    beyond = [one for one in answered if abs(one.difference) > TARGET and not one.is_explained]
    is_enough = len(group) >= ENOUGH_WINDOWS
    table.check(
        what,
        f"{apart}; error: {percent(mine)}, Prometheus {percent(theirs)}",
        f"≤ {percent(TARGET)} or explained{'; smaller error' if is_enough else ''}",
        not beyond and (mine < theirs or not is_enough),
    )


def total_error(group: Sequence[Comparison]) -> tuple[float, float]:
    """Return the distances from the truth in parts of it: those of zaidash and of Prometheus."""
    whole = sum(abs(one.truth or 0) for one in group)
    mine = sum(abs((one.zaidash or 0) - (one.truth or 0)) for one in group)
    theirs = sum(abs((one.prometheus or 0) - (one.truth or 0)) for one in group)
    return mine / whole, theirs / whole


if __name__ == "__main__":
    sys.exit(main())
