"""Derivation (§5): counters into increases, rates, windows and quantiles, with numbers by hand.

Everything goes the way of a real scrape: exposition text, parser, `TargetState`, `VariantState`,
snapshot. Only the clock is the test's own.
"""

from __future__ import annotations

import bisect
import json
import math
import random
import tracemalloc
from collections import Counter as Tally
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import pytest
from fake_proxy import DURATION_BUCKETS_S, FakeProxy
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

import zaidash
from zaidash import (
    FIELDS,
    ExpositionParser,
    ScrapeError,
    SlidingSum,
    Snapshot,
    TargetState,
    VariantState,
    quantile,
)
from zaidash import Reading as ScrapeReading

INTERVAL_S = 5.0
WINDOW_S = 60.0
T0_MS = 1_700_000_000_000


class Replica:
    """One target: exposition text in, reading out. Remembers what a `Target` remembers."""

    def __init__(self) -> None:
        self.parser = ExpositionParser(zaidash.resolve_series)
        self.state = TargetState()

    def scrape(self, text: str | bytes, at_s: float) -> ScrapeReading:
        body = text.encode() if isinstance(text, str) else text
        return self.state.read(self.parser.parse(body), at_s)

    def increases(self, text: str, at_s: float) -> dict[tuple[str, str], float]:
        """What a scrape adds, slots without an increase left out."""
        reading = self.scrape(text, at_s)
        return {slot: value for slot, value in reading.increases.items() if value}


class Variant:
    """One variant of one replica or more, tick by tick."""

    def __init__(self, replicas: int = 1, window_s: float = WINDOW_S) -> None:
        self.replicas = [Replica() for _ in range(replicas)]
        self.state = VariantState("production", INTERVAL_S, window_s)

    def tick(self, at_s: float, *texts: str | bytes | None) -> Snapshot:
        """Scrape every replica at one moment. A text of None is a scrape that failed."""
        readings = [
            replica.scrape(text, at_s)
            for replica, text in zip(self.replicas, texts, strict=False)
            if text is not None
        ]
        return self.state.snapshot(T0_MS + round(at_s * 1000), readings)


def shown(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as a browser gets it."""
    decoded: dict[str, Any] = json.loads(snapshot.encoded)
    return decoded


# ---- Expositions ---------------------------------------------------------------------------------


def started(at: float) -> str:
    return f"process_start_time_seconds {at}\n"


def requests(counts: Mapping[str, float | str], path: str = "/v1/messages") -> str:
    return "".join(
        f'zai_proxy_requests_total{{method="POST",path="{path}",status_code="{code}"}} {n}\n'
        for code, n in counts.items()
    )


def tokens(counts: Mapping[str, float], model: str = "glm-4.6") -> str:
    return "".join(
        f'zai_proxy_tokens_total{{direction="{direction}",model="{model}"}} {n}\n'
        for direction, n in counts.items()
    )


def durations(buckets: Mapping[str, float | str], path: str = "/v1/messages") -> str:
    """Cumulative counts by `le`, as they are exported."""
    name = "zai_proxy_request_duration_seconds"
    return "".join(
        f'{name}_bucket{{path="{path}",le="{le}"}} {n}\n' for le, n in buckets.items()
    ) + f'{name}_sum{{path="{path}"}} 1\n{name}_count{{path="{path}"}} 1\n'  # fmt: skip


def sizes(of: str, total: float | str, count: float | str) -> str:
    name = f"zai_proxy_{of}_size_bytes"
    return f'{name}_bucket{{le="+Inf"}} {count}\n{name}_sum {total}\n{name}_count {count}\n'


def gauges(
    concurrent: float | str, workers: float | str, utilization: float | str, limit: float | str
) -> str:
    return (
        f"zai_proxy_concurrent_requests {concurrent}\n"
        f"zai_proxy_max_workers {workers}\n"
        f"zai_proxy_worker_utilization_ratio {utilization}\n"
        f"zai_proxy_rate_limit_requests_per_second {limit}\n"
    )


# ---- The whole snapshot --------------------------------------------------------------------------

FIRST_SCRAPE = "".join((
    started(1_000),
    requests({"200": 100, "201": 5, "404": 7, "429": 3, "500": 2}),
    requests({"200": 10, "502": 1}, path="/v1/models"),
    tokens({"input": 1_000, "output": 400, "cache_read": 50, "cache_write": 20}),
    tokens({"input": 500}, model="other"),
    durations({"0.1": 50, "0.5": 90, "1": 118, "+Inf": 120}),
    sizes("request", 50_000, 25),
    sizes("response", 90_000, 30),
    gauges(4, 50, 0.08, 99.5),
    "zai_proxy_rate_limit_rejections_total 3\n",
    "zai_proxy_upstream_errors_total 2\n",
    "zai_proxy_retry_attempts_total 6\n",
    'zai_proxy_rate_limit_adjustments_total{direction="increase"} 5\n',
    'zai_proxy_rate_limit_adjustments_total{direction="decrease"} 4\n',
    'zai_proxy_rate_limit_adjustments_total{direction="reset"} 100\n',
    "zai_proxy_something_else_total 77\n",
))  # fmt: skip

#: Five seconds later: 20 requests more, 4 of them with an error.
SECOND_SCRAPE = "".join((
    started(1_000),
    requests({"200": 110, "201": 5, "404": 9, "429": 3, "500": 5, "503": 1}),
    requests({"200": 14, "502": 1}, path="/v1/models"),
    tokens({"input": 1_100, "output": 450, "cache_read": 60, "cache_write": 20}),
    tokens({"input": 600}, model="other"),
    durations({"0.1": 56, "0.5": 106, "1": 136, "+Inf": 140}),
    sizes("request", 56_000, 28),
    sizes("response", 90_000, 30),
    gauges(6, 50, 0.12, 98.25),
    "zai_proxy_rate_limit_rejections_total 4\n",
    "zai_proxy_upstream_errors_total 6\n",
    "zai_proxy_retry_attempts_total 8\n",
    'zai_proxy_rate_limit_adjustments_total{direction="increase"} 6\n',
    'zai_proxy_rate_limit_adjustments_total{direction="decrease"} 4\n',
    'zai_proxy_rate_limit_adjustments_total{direction="reset"} 200\n',
    "zai_proxy_something_else_total 99\n",
))  # fmt: skip


def test_the_first_snapshot_has_totals_and_gauges_and_claims_no_rate() -> None:
    assert shown(Variant().tick(0, FIRST_SCRAPE)) == {
        "timestamp": T0_MS,
        "variant": "production",
        "elapsed_s": None,
        "requests_2xx": 115,
        "requests_4xx": 10,
        "requests_5xx": 3,
        "tokens_input": 1_500,
        "tokens_output": 400,
        "tokens_cache_read": 50,
        "tokens_cache_write": 20,
        "rate_limit_rejections": 3,
        "rate_limit_adj_increase": 5,
        "rate_limit_adj_decrease": 4,
        "upstream_errors": 2,
        "retry_attempts": 6,
        "concurrent_requests": 4,
        "max_workers": 50,
        "worker_utilization": 0.08,
        "rate_limit_rps": 99.5,
        "req_rate": None,
        "token_rate_in": None,
        "token_rate_out": None,
        "token_rate_cache_read": None,
        "token_rate_cache_write": None,
        "rate_limit_rejection_rate": None,
        "rate_limit_adj_increase_rate": None,
        "rate_limit_adj_decrease_rate": None,
        "upstream_error_rate": None,
        "retry_rate": None,
        "status_code_rates": None,
        "error_rate_pct": None,
        "latency_p50": None,
        "latency_p95": None,
        "latency_p99": None,
        "request_size_avg": None,
        "response_size_avg": None,
        "latency_buckets": None,
    }


def test_the_second_snapshot_has_every_number_as_worked_out_by_hand() -> None:
    variant = Variant()
    variant.tick(0, FIRST_SCRAPE)
    snapshot = shown(variant.tick(5, SECOND_SCRAPE))
    # The buckets grew by 6, 16, 18 and 20: 6 up to 0.1 s, 10 up to 0.5 s, 2 up to 1 s, 2 beyond.
    # p50 is number 10 of 20: 4 of 10 into 0.1..0.5. p95 is number 19: beyond the last bound.
    assert snapshot == {
        "timestamp": T0_MS + 5_000,
        "variant": "production",
        "elapsed_s": 5,
        "requests_2xx": 129,
        "requests_4xx": 12,
        "requests_5xx": 7,
        "tokens_input": 1_700,
        "tokens_output": 450,
        "tokens_cache_read": 60,
        "tokens_cache_write": 20,
        "rate_limit_rejections": 4,
        "rate_limit_adj_increase": 6,
        "rate_limit_adj_decrease": 4,
        "upstream_errors": 6,
        "retry_attempts": 8,
        "concurrent_requests": 6,
        "max_workers": 50,
        "worker_utilization": 0.12,
        "rate_limit_rps": 98.25,
        "req_rate": 4,
        "token_rate_in": 40,
        "token_rate_out": 10,
        "token_rate_cache_read": 2,
        "token_rate_cache_write": 0,
        "rate_limit_rejection_rate": 0.2,
        "rate_limit_adj_increase_rate": 0.2,
        "rate_limit_adj_decrease_rate": 0,
        "upstream_error_rate": 0.8,
        "retry_rate": 0.4,
        "status_code_rates": {
            "200": 2.8, "201": 0, "404": 0.4, "429": 0, "500": 0.6, "502": 0, "503": 0.2,
        },
        "error_rate_pct": 20,
        "latency_p50": 260,
        "latency_p95": 1_000,
        "latency_p99": 1_000,
        "request_size_avg": 2_000,
        "response_size_avg": None,
        "latency_buckets": {"0.1": 6, "0.5": 10, "1": 2, "+Inf": 2},
    }  # fmt: skip


def test_a_proxy_that_has_done_nothing_yet_counts_zero_and_has_no_level() -> None:
    variant = Variant()
    nothing = started(1)
    first, second = shown(variant.tick(0, nothing)), shown(variant.tick(5, nothing))
    totals = [field.name for field in FIELDS if field.unit in ("tokens", "events")]
    for name in ("requests_2xx", "requests_4xx", "requests_5xx", *totals):
        assert first[name] == second[name] == 0, name
    for name in ("concurrent_requests", "max_workers", "worker_utilization", "rate_limit_rps"):
        assert first[name] is None and second[name] is None, name
    assert second["req_rate"] == second["error_rate_pct"] == 0
    assert second["latency_p50"] is None and second["request_size_avg"] is None


def test_whole_numbers_are_shown_whole() -> None:
    variant = Variant()
    variant.tick(0, FIRST_SCRAPE)
    encoded = variant.tick(5, SECOND_SCRAPE).encoded.decode()
    assert '"requests_2xx":129,' in encoded
    assert '"latency_buckets":{"0.1":6,"0.5":10,"1":2,"+Inf":2}' in encoded


# ---- Counters ------------------------------------------------------------------------------------


class Step(NamedTuple):
    """Two scrapes five seconds apart, and the requests by code that happened in between."""

    before: str
    after: str
    increases: dict[str, float]


STEPS = {
    "a counter that grew": Step(requests({"200": 10}), requests({"200": 13}), {"200": 3}),
    "a counter that stands still": Step(requests({"200": 10}), requests({"200": 10}), {}),
    "a counter that fell has started again": Step(
        requests({"200": 10}), requests({"200": 4}), {"200": 4}
    ),
    "a counter that fell to 0": Step(requests({"200": 10}), requests({"200": 0}), {}),
    "a series that is new counts from 0": Step(
        requests({"200": 10}), requests({"200": 10, "500": 1}), {"500": 1}
    ),
    "a series that is gone takes nothing away": Step(
        requests({"200": 10, "500": 5}), requests({"200": 11}), {"200": 1}
    ),
    "one label set grows while another falls": Step(
        requests({"200": 10}, "/a") + requests({"200": 10}, "/b"),
        requests({"200": 12}, "/a") + requests({"200": 3}, "/b"),
        {"200": 5},
    ),
    "one label set comes as another goes": Step(
        requests({"200": 10}, "/a"), requests({"200": 10}, "/b"), {"200": 10}
    ),
    "the order of lines and labels means nothing": Step(
        requests({"200": 1, "404": 2}),
        'zai_proxy_requests_total{status_code="404",path="/v1/messages",method="POST"} 5\n'
        'zai_proxy_requests_total{status_code="200",path="/v1/messages",method="POST"} 2\n',
        {"200": 1, "404": 3},
    ),
    "a restart, by its start time, before the counter has caught up": Step(
        started(1) + requests({"200": 10}), started(2) + requests({"200": 4}), {"200": 4}
    ),
    "a restart, by its start time, after the counter has passed": Step(
        started(1) + requests({"200": 10}), started(2) + requests({"200": 40}), {"200": 40}
    ),
    "a restart with the very same count": Step(
        started(1) + requests({"200": 10}), started(2) + requests({"200": 10}), {"200": 10}
    ),
    "a start time that shows up is no restart": Step(
        requests({"200": 10}), started(2) + requests({"200": 12}), {"200": 2}
    ),
    "a start time that goes missing is no restart": Step(
        started(1) + requests({"200": 10}), requests({"200": 12}), {"200": 2}
    ),
    "a start time that is no number is no restart": Step(
        started(1) + requests({"200": 10}), started(math.nan) + requests({"200": 12}), {"200": 2}
    ),
    "a counter that is no number has not moved": Step(
        requests({"200": 10}), requests({"200": "NaN"}), {}
    ),
    "a counter that is infinite has not moved": Step(
        requests({"200": 10}), requests({"200": "+Inf"}), {}
    ),
    "a counter below zero has not moved": Step(requests({"200": 10}), requests({"200": -3}), {}),
    "numbers as Go writes them": Step(
        requests({"200": "1e+06"}), requests({"200": "1.000002e+06"}), {"200": 2}
    ),
}  # fmt: skip


@pytest.mark.parametrize("step", STEPS.values(), ids=list(STEPS))
def test_an_increase_is_what_happened_between_two_scrapes(step: Step) -> None:
    variant = Variant()
    variant.tick(0, step.before)
    rates = shown(variant.tick(5, step.after))["status_code_rates"]
    assert {code: rate * 5 for code, rate in rates.items() if rate} == pytest.approx(step.increases)


def test_the_first_scrape_of_a_target_is_no_burst_of_requests() -> None:
    reading = Replica().scrape(FIRST_SCRAPE, 0)
    assert reading.elapsed_s is None
    assert dict(reading.increases) == {}
    assert reading.totals["requests", "200"] == 110


@pytest.mark.parametrize("broken", ["NaN", "+Inf", "-Inf", "-1"])
def test_a_counter_goes_on_from_its_last_good_value(broken: str) -> None:
    replica = Replica()
    replica.scrape(requests({"200": 10}), 0)
    assert replica.increases(requests({"200": broken}), 5) == {}
    assert replica.increases(requests({"200": 12}), 10) == {("requests", "200"): 2}


def test_a_fresh_error_is_an_error_though_its_series_is_new() -> None:
    variant = Variant()
    variant.tick(0, requests({"200": 1_000}))
    snapshot = shown(variant.tick(5, requests({"200": 1_003, "503": 1})))
    assert snapshot["error_rate_pct"] == 25
    assert snapshot["status_code_rates"] == {"200": 0.6, "503": 0.2}


STEADY = requests({"200": 1})


def after_a_blink(gone_s: int, back: str, steady: str = STEADY) -> dict[tuple[str, str], float]:
    """The increases when the series of 500s, last at 5, is away for a time and `back` comes."""
    replica = Replica()
    replica.scrape(steady + requests({"500": 5}), 0)
    for at_s in range(5, 5 + gone_s, 5):
        assert replica.increases(steady, at_s) == {}
    return replica.increases(steady + back, 5 + gone_s)


BLINKS_S = {"one scrape": 5, "a minute": 60, "almost five minutes": 290}


@pytest.mark.parametrize("gone_s", BLINKS_S.values(), ids=list(BLINKS_S))
def test_a_series_that_blinks_goes_on_from_its_last_value(gone_s: int) -> None:
    assert after_a_blink(gone_s, requests({"500": 5})) == {}
    assert after_a_blink(gone_s, requests({"500": 7})) == {("requests", "500"): 2}


def test_a_series_that_comes_back_after_more_than_five_minutes_counts_from_0() -> None:
    assert after_a_blink(310, requests({"500": 7})) == {("requests", "500"): 7}


def test_a_series_that_comes_back_lower_has_started_again() -> None:
    assert after_a_blink(30, requests({"500": 3})) == {("requests", "500"): 3}


def test_a_series_that_comes_back_after_a_restart_counts_from_0() -> None:
    replica = Replica()
    replica.scrape(started(1) + requests({"500": 5, "200": 1}), 0)
    replica.scrape(started(1) + requests({"200": 1}), 5)
    replica.scrape(started(2) + requests({"200": 1}), 10)
    after = started(2) + requests({"500": 7, "200": 1})
    assert replica.increases(after, 15) == {("requests", "500"): 7}


def test_a_series_that_blinks_again_and_again_is_counted_once() -> None:
    replica = Replica()
    replica.scrape(STEADY + requests({"500": 5}), 0)
    counted: float = 0
    for round_ in range(1, 40):
        assert replica.increases(STEADY, round_ * 200 - 100) == {}
        back = replica.increases(STEADY + requests({"500": 5 + round_}), round_ * 200)
        counted += back["requests", "500"]
    assert counted == 39


def test_a_failed_scrape_leaves_the_counters_as_they_were() -> None:
    variant = Variant(replicas=2)
    variant.tick(0, requests({"200": 10}), requests({"200": 100}))
    with pytest.raises(ScrapeError, match="zai_proxy_"):
        variant.replicas[0].scrape("go_goroutines 5\n", 5)
    assert variant.replicas[0].increases(requests({"200": 13}), 10) == {("requests", "200"): 3}


def test_a_body_without_proxy_series_is_fine_where_there_never_were_any() -> None:
    replica = Replica()
    for at_s in (0, 5):
        assert replica.increases(started(1), at_s) == {}


def test_a_body_without_proxy_series_is_fine_right_after_a_restart() -> None:
    replica = Replica()
    replica.scrape(started(1) + requests({"200": 10}), 0)
    assert replica.increases(started(2), 5) == {}
    assert replica.increases(started(2) + requests({"200": 2}), 10) == {("requests", "200"): 2}


def test_a_body_without_proxy_series_stays_fine_until_the_new_process_has_some() -> None:
    replica, started_anew = Replica(), "process_start_time_seconds 200\n"
    replica.scrape("process_start_time_seconds 100\nzai_proxy_max_workers 4\n", at_s=0)
    replica.scrape(started_anew, at_s=5)
    replica.scrape(started_anew, at_s=10)
    replica.scrape(started_anew + "zai_proxy_max_workers 4\n", at_s=15)
    with pytest.raises(ScrapeError, match="without any zai_proxy_ series"):
        replica.scrape(started_anew, at_s=20)


def test_a_histogram_with_bounds_without_end_fails_the_scrape() -> None:
    many = durations({f"{n}.5": n for n in range(5_000)})
    with pytest.raises(ScrapeError, match="buckets"):
        Replica().scrape(many, 0)


# ---- Outages and time ----------------------------------------------------------------------------


def test_after_an_outage_the_increase_is_spread_over_the_time_it_took() -> None:
    variant = Variant()
    variant.tick(0, requests({"200": 100}))
    variant.tick(5, requests({"200": 110}))
    snapshot = shown(variant.tick(65, requests({"200": 710})))
    assert snapshot["elapsed_s"] == 60
    assert snapshot["req_rate"] == 10
    assert snapshot["status_code_rates"] == {"200": 10}


def test_a_restart_during_an_outage_is_spread_over_the_same_time() -> None:
    variant = Variant()
    variant.tick(0, started(1) + requests({"200": 100}))
    snapshot = shown(variant.tick(40, started(30) + requests({"200": 60})))
    assert (snapshot["elapsed_s"], snapshot["req_rate"]) == (40, 1.5)


def test_a_late_scrape_changes_no_rate() -> None:
    variant = Variant()
    variant.tick(0.0, requests({"200": 100}))
    snapshot = shown(variant.tick(6.25, requests({"200": 150})))
    assert (snapshot["elapsed_s"], snapshot["req_rate"]) == (6.25, 8)


@pytest.mark.parametrize("jump_ms", [-86_400_000, 3_600_000], ids=["a day back", "an hour ahead"])
def test_a_jump_of_the_wall_clock_makes_no_rate_wrong(jump_ms: int) -> None:
    replica, state = Replica(), VariantState("production", INTERVAL_S, WINDOW_S)
    state.snapshot(T0_MS, [replica.scrape(requests({"200": 10}), 100)])
    snapshot = state.snapshot(T0_MS + jump_ms, [replica.scrape(requests({"200": 20}), 105)])
    assert (snapshot.get("elapsed_s"), snapshot.get("req_rate")) == (5, 2)
    assert snapshot.ts_ms == T0_MS + jump_ms


# ---- A target that answers from changing processes -----------------------------------------------


def process(start: float, count: float) -> str:
    return started(start) + requests({"200": count})


def test_each_process_behind_a_balanced_address_is_counted_for_itself() -> None:
    replica = Replica()
    replica.scrape(process(100, 1_000), 0)
    answers = [
        (process(200, 30), 30),  # looks like a restart, and may be one
        (process(100, 1_010), 10),  # the old one is back, so it was none
        (process(200, 35), 5),
        (process(200, 36), 1),
        (process(100, 1_010), 0),
        (process(100, 1_050), 40),
        (process(200, 40), 4),
    ]
    for number, (text, increase) in enumerate(answers, 1):
        reading = replica.scrape(text, number * 5)
        assert reading.increases["requests", "200"] == increase, number


def test_a_process_that_answers_again_spreads_its_increase_over_its_own_absence() -> None:
    replica = Replica()
    replica.scrape(process(100, 1_000), 0)
    replica.scrape(process(200, 30), 5)
    assert replica.scrape(process(100, 1_010), 10).elapsed_s == 10
    assert replica.scrape(process(200, 35), 20).elapsed_s == 15


def test_requests_behind_a_balanced_address_are_all_in_the_rates() -> None:
    variant = Variant()
    counted = 0.0
    for tick in range(10):  # two processes with 10 requests/s each, asked in turn
        snapshot = shown(variant.tick(5 * tick, process(100 + tick % 2, 50 * tick)))
        counted += 5 * (snapshot["req_rate"] or 0)
    # By hand: the one went from 0 (tick 0) to 400 (tick 8). The other was taken for a restart at
    # tick 1, so its 50 count, and stood at 450 at tick 9.
    assert counted == 400 + 450


def test_a_balanced_address_is_found_out() -> None:
    replica = Replica()
    for at_s, start in ((0, 100), (5, 200), (10, 100)):
        replica.scrape(process(start, 1), at_s)
    assert replica.state.is_balanced(10)
    assert replica.state.is_balanced(300)


def test_a_balanced_address_is_found_out_however_many_processes_answer() -> None:
    replica = Replica()
    for number in range(60):
        replica.scrape(process(100 + number % 20, number), number * 5)
    assert replica.state.is_balanced(60 * 5)


def test_a_balanced_address_that_was_repaired_is_forgiven() -> None:
    replica = Replica()
    for at_s, start in ((0, 100), (5, 200), (10, 100)):
        replica.scrape(process(start, 1), at_s)
    for at_s in range(15, 330, 5):
        replica.scrape(process(100, 1), at_s)
    assert not replica.state.is_balanced(330)


def test_restarts_are_not_taken_for_a_balanced_address() -> None:
    replica = Replica()
    for number in range(40):  # a crash loop
        replica.scrape(process(100 + number, 1), number * 5)
        assert not replica.state.is_balanced(number * 5)


# ---- Replicas ------------------------------------------------------------------------------------


def test_replicas_make_one_snapshot_together() -> None:
    variant = Variant(replicas=3)
    variant.tick(0, *(requests({"200": n}) + gauges(n, 10, 0.5, 20) for n in (1, 2, 3)))
    snapshot = shown(
        variant.tick(
            5,
            requests({"200": 6}) + gauges(1, 10, 0.5, 20),
            requests({"200": 4, "500": 1}) + gauges(2, 10, 0.5, 20.5),
            requests({"200": 3}) + gauges(3, 10, 0.5, 20),
        )
    )
    assert snapshot["requests_2xx"] == 13
    assert snapshot["requests_5xx"] == 1
    assert snapshot["req_rate"] == pytest.approx(8 / 5)
    assert snapshot["status_code_rates"] == pytest.approx({"200": 7 / 5, "500": 1 / 5})
    assert snapshot["error_rate_pct"] == 12.5
    assert snapshot["concurrent_requests"] == 6
    assert snapshot["max_workers"] == 30
    assert snapshot["rate_limit_rps"] == 60.5


def test_percentiles_of_replicas_come_from_their_common_histogram() -> None:
    variant = Variant(replicas=2)
    none = durations({"0.1": 0, "1": 0, "10": 0, "+Inf": 0})
    variant.tick(0, none, none)
    snapshot = shown(
        variant.tick(
            5,
            durations({"0.1": 90, "1": 90, "10": 90, "+Inf": 90}),
            durations({"0.1": 0, "1": 0, "10": 10, "+Inf": 10}),
        )
    )
    # 90 fast ones and 10 slow ones: number 50 is among the first 90, number 95 half way in 1..10.
    assert snapshot["latency_p50"] == pytest.approx(100 * 50 / 90)
    assert snapshot["latency_p95"] == pytest.approx(5_500)
    assert snapshot["latency_p99"] == pytest.approx(9_100)
    assert snapshot["latency_buckets"] == {"0.1": 90, "10": 10, "+Inf": 0}


def test_average_sizes_of_replicas_are_weighted_by_their_requests() -> None:
    variant = Variant(replicas=2)
    variant.tick(0, sizes("request", 0, 0), sizes("request", 0, 0))
    snapshot = shown(variant.tick(5, sizes("request", 100, 1), sizes("request", 9_000, 9)))
    assert snapshot["request_size_avg"] == 910


UTILIZATIONS = {
    "one replica: as exported": ([(10, 0.5)], 0.5),
    "replicas of one size: the mean": ([(10, 0.5), (10, 0.7)], 0.6),
    "a big one counts for more": ([(10, 0.9), (30, 0.1)], 0.3),
    "an idle one counts too": ([(10, 1), (90, 0)], 0.1),
    "three": ([(1, 0.6), (2, 0.3), (3, 0.2)], 0.3),
    "one that has no workers yet takes no part": ([(0, 1), (20, 0.2), (60, 0.6)], 0.5),
    "without any workers: the mean": ([(0, 0.2), (0, 0.4)], 0.3),
}


@pytest.mark.parametrize(("replicas", "utilization"), UTILIZATIONS.values(), ids=list(UTILIZATIONS))
def test_utilization_is_weighted_by_workers(
    replicas: list[tuple[int, float]], utilization: float
) -> None:
    variant = Variant(len(replicas))
    snapshot = variant.tick(0, *(gauges(0, workers, ratio, 0) for workers, ratio in replicas))
    assert snapshot.get("worker_utilization") == pytest.approx(utilization)


def test_a_replica_that_fails_takes_nothing_away_from_the_others() -> None:
    variant = Variant(replicas=2)
    variant.tick(0, requests({"200": 100}), requests({"200": 1_000}))
    alone = shown(variant.tick(5, requests({"200": 150}), None))
    assert (alone["requests_2xx"], alone["req_rate"], alone["elapsed_s"]) == (150, 10, 5)
    again = shown(variant.tick(10, requests({"200": 200}), requests({"200": 1_100})))
    assert again["requests_2xx"] == 1_300
    # By hand: 50 of the first one and 100 of the second one were new in these 5 s. With the 50 of
    # the snapshot before that makes 200 requests in 10 s, and so many there were.
    assert (again["req_rate"], again["elapsed_s"]) == ((50 + 100) / 5, 5)
    assert again["status_code_rates"] == {"200": 30}


def test_a_slow_replica_that_comes_and_goes_moves_no_rate_of_the_others() -> None:
    """It answers 3 s into a tick, so the mean moment of the answers moves by 1.5 s with it."""
    quick, slow = Replica(), Replica()
    state = VariantState("production", INTERVAL_S, WINDOW_S)
    for tick in range(8):
        readings = [quick.scrape(requests({"200": 50 * tick}), 5 * tick)]
        if tick in (0, 1, 4, 5):
            readings.append(slow.scrape(requests({"200": 7}), 5 * tick + 3))
        snapshot = state.snapshot(T0_MS + 5_000 * tick, readings)
        if tick:
            assert (snapshot.get("elapsed_s"), snapshot.get("req_rate")) == (5, 10), tick


def test_replicas_that_answer_in_turn_lose_nothing() -> None:
    variant = Variant(replicas=2)
    variant.tick(0, requests({"200": 0}), requests({"200": 0}))
    counted = 0.0
    for tick in range(1, 9):  # each does 10 requests/s, and each answers every other tick
        texts: list[str | None] = [None, None]
        texts[tick % 2] = requests({"200": 50 * tick})
        snapshot = shown(variant.tick(5 * tick, *texts))
        assert snapshot["elapsed_s"] == 5
        counted += 5 * snapshot["req_rate"]
    # By hand: the one was last seen at tick 8 with 400, the other at tick 7 with 350.
    assert counted == 750


def test_a_replica_that_appears_is_no_burst_of_requests() -> None:
    variant = Variant(replicas=2)
    variant.tick(0, requests({"200": 100}), None)
    appeared = shown(variant.tick(5, requests({"200": 105}), requests({"200": 50_000})))
    assert (appeared["requests_2xx"], appeared["req_rate"]) == (50_105, 1)
    later = shown(variant.tick(10, requests({"200": 110}), requests({"200": 50_005})))
    assert later["req_rate"] == 2


def test_a_replica_that_takes_the_place_of_another_is_counted_from_its_second_scrape() -> None:
    """As in a roll-out of one replica: nothing is known of the time in between."""
    variant = Variant(replicas=2)
    variant.tick(0, requests({"200": 100}), None)
    assert shown(variant.tick(5, requests({"200": 150}), None))["req_rate"] == 10
    swapped = shown(variant.tick(10, None, requests({"200": 9_000})))
    assert (swapped["requests_2xx"], swapped["req_rate"], swapped["elapsed_s"]) == (
        9_000,
        None,
        None,
    )
    after = shown(variant.tick(15, None, requests({"200": 9_060})))
    assert (after["req_rate"], after["elapsed_s"]) == (12, 5)
    # The first one is back: its 200 since the scrape at 5 s are in this snapshot.
    both = shown(variant.tick(20, requests({"200": 350}), requests({"200": 9_120})))
    assert (both["req_rate"], both["elapsed_s"]) == ((200 + 60) / 5, 5)


def test_a_replica_that_disappears_is_no_negative_rate() -> None:
    variant = Variant(replicas=2)
    variant.tick(0, requests({"200": 100}), requests({"200": 50_000}))
    variant.tick(5, requests({"200": 105}), requests({"200": 50_010}))
    for at_s, count in ((10, 110), (15, 115)):
        snapshot = shown(variant.tick(at_s, requests({"200": count}), None))
        assert snapshot["req_rate"] == 1
        assert snapshot["requests_2xx"] == count
        assert min(snapshot["status_code_rates"].values()) >= 0


def test_two_variants_never_mix() -> None:
    one, other = Variant(), Variant()
    for variant, step in ((one, 5), (other, 50)):
        variant.tick(0, requests({"200": 0}))
        assert shown(variant.tick(5, requests({"200": step})))["req_rate"] == step / 5


# ---- Gauges --------------------------------------------------------------------------------------

LEVELS: dict[str, tuple[list[str], float | None]] = {
    "a number": (["2.5"], 2.5),
    "zero": (["0"], 0),
    "a level below zero": (["-3"], -3),
    "no number is null": (["NaN"], None),
    "infinity is null": (["+Inf"], None),
    "minus infinity is null": (["-Inf"], None),
    "what is no number does not spoil another replica": (["NaN", "4"], 4),
    "no number anywhere is null": (["NaN", "NaN"], None),
    "infinities that cancel out are null": (["+Inf", "-Inf"], None),
}


@pytest.mark.parametrize(("exported", "level"), LEVELS.values(), ids=list(LEVELS))
def test_a_gauge_is_a_number_or_null(exported: list[str], level: float | None) -> None:
    texts = [f"zai_proxy_rate_limit_requests_per_second {value}\n" for value in exported]
    assert shown(Variant(len(texts)).tick(0, *texts))["rate_limit_rps"] == level


@pytest.mark.parametrize("ratio", ["NaN", "+Inf", "-Inf"])
def test_a_utilization_that_is_no_number_is_null(ratio: str) -> None:
    assert shown(Variant().tick(0, gauges(1, 10, ratio, 1)))["worker_utilization"] is None


def test_a_gauge_that_disappears_is_null_and_not_its_last_value() -> None:
    variant = Variant()
    variant.tick(0, requests({"200": 1}) + gauges(4, 50, 0.1, 100))
    snapshot = shown(variant.tick(5, requests({"200": 1})))
    for name in ("concurrent_requests", "max_workers", "worker_utilization", "rate_limit_rps"):
        assert snapshot[name] is None, name


# ---- The window ----------------------------------------------------------------------------------


def test_the_error_rate_looks_back_over_the_window_and_no_further() -> None:
    variant = Variant()
    variant.tick(0, requests({"200": 0, "500": 0}))
    seen = []
    for tick in range(1, 15):  # 10 requests a tick; all those of the first one fail
        counts = {"200": 10 * (tick - 1), "500": 10}
        seen.append(shown(variant.tick(tick * 5, requests(counts)))["error_rate_pct"])
    # 12 ticks of 5 s make the minute, so the failures are part of 12 snapshots.
    assert seen[:12] == pytest.approx([100 / tick for tick in range(1, 13)])
    assert seen[12:] == [0, 0]


@pytest.mark.parametrize("jitter_s", [0.05, -0.05, 1.0, -1.0])
def test_a_scrape_that_comes_a_little_late_moves_nothing_out_of_the_window(jitter_s: float) -> None:
    variant = Variant()
    variant.tick(0, requests({"200": 0}))
    variant.tick(5, requests({"200": 0, "500": 1}))
    variant.tick(60 + jitter_s, requests({"200": 1, "500": 1}))
    assert shown(variant.tick(60.1 + jitter_s, requests({"200": 1, "500": 1})))[
        "error_rate_pct"
    ] == pytest.approx(50)
    assert shown(variant.tick(65 + jitter_s, requests({"200": 1, "500": 1})))["error_rate_pct"] == 0


def test_percentiles_and_sizes_look_back_over_the_window_and_no_further() -> None:
    variant = Variant(window_s=10)

    def text(fast: int, slow: int) -> str:
        n = fast + slow
        return (
            durations({"0.1": fast, "1": fast, "2": n, "+Inf": n})
            + sizes("request", 100 * n, n)
            + sizes("response", 10 * fast + 1_000 * slow, n)
        )

    variant.tick(0, text(0, 0))
    variant.tick(5, text(0, 4))
    both = shown(variant.tick(10, text(4, 4)))
    assert both["latency_p50"] == pytest.approx(100)  # number 4 of 8: the last of the fast ones
    assert both["latency_p95"] == pytest.approx(1_900)  # number 7.6: 3.6 of 4 into 1..2
    assert both["response_size_avg"] == pytest.approx(505)
    fast_alone = shown(variant.tick(15, text(4, 4)))
    assert fast_alone["latency_p50"] == pytest.approx(50)
    assert fast_alone["response_size_avg"] == pytest.approx(10)
    nothing = shown(variant.tick(20, text(4, 4)))
    assert nothing["latency_p50"] is None
    assert nothing["latency_p99"] is None
    assert nothing["request_size_avg"] is None
    assert nothing["error_rate_pct"] == 0
    assert nothing["latency_buckets"] == {"+Inf": 0}


def test_latency_buckets_are_of_one_tick_while_percentiles_are_of_the_window() -> None:
    variant = Variant()
    variant.tick(0, durations({"0.1": 0, "1": 0, "+Inf": 0}))
    variant.tick(5, durations({"0.1": 8, "1": 8, "+Inf": 8}))
    snapshot = shown(variant.tick(10, durations({"0.1": 8, "1": 10, "+Inf": 10})))
    assert snapshot["latency_buckets"] == {"1": 2, "+Inf": 0}
    assert snapshot["latency_p50"] == pytest.approx(62.5)  # number 5 of 10, the 8 within 100 ms


# ---- Buckets -------------------------------------------------------------------------------------

Buckets = Mapping[str, float | str]

BUCKETS: dict[str, tuple[Buckets, Buckets, dict[str, float] | None]] = {
    "not cumulative": (
        {"0.5": 0, "1": 0, "+Inf": 0},
        {"0.5": 3, "1": 12, "+Inf": 12},
        {"0.5": 3, "1": 9, "+Inf": 0},
    ),
    "empty ones are left out": (
        {"0.5": 1, "1": 2, "2": 3, "+Inf": 3},
        {"0.5": 1, "1": 2, "2": 8, "+Inf": 9},
        {"2": 5, "+Inf": 1},
    ),
    "beyond the last bound": (
        {"0.5": 1, "+Inf": 1},
        {"0.5": 1, "+Inf": 5},
        {"+Inf": 4},
    ),
    "bounds as other clients write them": (
        {"0.5": 0, "1.0": 0, "1e+01": 0, "+Inf": 0},
        {"0.5": 1, "1.0": 3, "1e+01": 6, "+Inf": 6},
        {"0.5": 1, "1": 2, "10": 3, "+Inf": 0},
    ),
    "bounds in any order": (
        {"+Inf": 0, "10": 0, "2": 0},
        {"+Inf": 6, "10": 6, "2": 1},
        {"2": 1, "10": 5, "+Inf": 0},
    ),
    "a histogram that is new counts from 0": ({}, {"1": 2, "+Inf": 3}, {"1": 2, "+Inf": 1}),
    "a histogram that is gone": ({"1": 2, "+Inf": 3}, {}, None),
}


@pytest.mark.parametrize(("before", "after", "counts"), BUCKETS.values(), ids=list(BUCKETS))
def test_latency_buckets_say_how_many_requests_were_how_slow(
    before: Buckets, after: Buckets, counts: dict[str, float] | None
) -> None:
    variant = Variant()
    variant.tick(0, requests({"200": 1}) + (durations(before) if before else ""))
    snapshot = variant.tick(5, requests({"200": 1}) + (durations(after) if after else ""))
    assert shown(snapshot)["latency_buckets"] == counts


def test_buckets_are_summed_by_bound_over_all_label_sets() -> None:
    variant = Variant()
    variant.tick(0, durations({"1": 0, "+Inf": 0}, "/a") + durations({"1": 0, "+Inf": 0}, "/b"))
    text = durations({"1": 2, "+Inf": 2}, "/a") + durations({"1": 1, "+Inf": 5}, "/b")
    assert shown(variant.tick(5, text))["latency_buckets"] == {"1": 3, "+Inf": 4}


def test_a_histogram_caught_half_written_has_no_negative_bucket() -> None:
    variant = Variant()
    variant.tick(0, durations({"0.5": 0, "1": 0, "+Inf": 0}))
    snapshot = shown(variant.tick(5, durations({"0.5": 5, "1": 4, "+Inf": 5})))
    assert min(snapshot["latency_buckets"].values()) >= 0
    assert sum(snapshot["latency_buckets"].values()) == 5
    assert snapshot["latency_p50"] == pytest.approx(250)


# ---- Quantiles -----------------------------------------------------------------------------------


class Quantile(NamedTuple):
    """What `promtool` (Prometheus 2.42) answers; NaN as None."""

    q: float
    buckets: Sequence[tuple[float, float]]
    result: float | None


INF = math.inf

QUANTILES = {
    "half way into a bucket": Quantile(0.5, [(0.5, 0), (1, 10), (INF, 10)], 0.75),
    "the first bucket begins at 0": Quantile(0.99, [(0.005, 100), (INF, 100)], 0.00495),
    "exactly at a bound": Quantile(0.5, [(1, 10), (2, 20), (INF, 20)], 1),
    "exactly at a bound that is followed by an empty bucket": Quantile(
        0.4, [(1, 4), (2, 4), (3, 10), (INF, 10)], 1
    ),
    "just past an empty bucket": Quantile(
        0.41, [(1, 4), (2, 4), (3, 10), (INF, 10)], 2.0166666666666666
    ),
    "beyond the last bound: the largest finite one": Quantile(
        0.9, [(1, 1), (2, 1), (4, 1), (INF, 10)], 4
    ),
    "beyond a bucket that is empty": Quantile(0.5, [(1, 4), (2, 4), (INF, 10)], 2),
    "counts that are no whole numbers": Quantile(
        0.95, [(0.1, 0.5), (0.2, 1.25), (INF, 1.25)], 0.19166666666666668
    ),
    "counts out of order": Quantile(0.5, [(1, 10), (2, 8), (4, 20), (INF, 20)], 1),
    "the lowest": Quantile(0, [(1, 2), (2, 5), (INF, 5)], 0),
    "the lowest of an empty first bucket": Quantile(0, [(1, 0), (2, 5), (INF, 5)], None),
    "the highest": Quantile(1, [(1, 2), (2, 5), (INF, 5)], 2),
    "the highest, beyond the last bound": Quantile(1, [(1, 2), (2, 5), (INF, 6)], 2),
    "below 0": Quantile(-0.1, [(1, 10), (INF, 20)], -INF),
    "above 1": Quantile(1.1, [(1, 10), (INF, 20)], INF),
    "a bucket that spans 0": Quantile(0.5, [(-1, 2), (1, 5), (INF, 5)], -2 / 3),
    "a first bucket below 0": Quantile(0.2, [(-1, 2), (1, 5), (INF, 5)], -1),
    "a first bucket up to 0": Quantile(0.2, [(0, 2), (1, 5), (INF, 5)], 0),
    "no bucket up to infinity": Quantile(0.5, [(1, 2), (2, 5)], None),
    "only the bucket up to infinity": Quantile(0.5, [(INF, 5)], None),
    "no observation": Quantile(0.5, [(1, 0), (INF, 0)], None),
    "no bucket": Quantile(0.5, [], None),
    "fewer observations than one can count": Quantile(0.5, [(1, 0), (INF, 5e-324)], None),
}


@pytest.mark.parametrize("case", QUANTILES.values(), ids=list(QUANTILES))
def test_a_quantile_is_what_promql_says(case: Quantile) -> None:
    assert quantile(case.q, case.buckets) == (
        None if case.result is None else pytest.approx(case.result, rel=1e-12)
    )


COUNTS = st.lists(st.integers(0, 50), min_size=16, max_size=16)


@given(COUNTS, st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_of_its_rank(counts: list[int], q: float) -> None:
    bounds = (*DURATION_BUCKETS_S, INF)
    cumulative = [sum(counts[: n + 1]) for n in range(len(counts))]
    result = quantile(q, list(zip(bounds, map(float, cumulative), strict=True)))
    if not cumulative[-1]:
        assert result is None
        return
    at = next(n for n, total in enumerate(cumulative) if total >= q * cumulative[-1])
    assert result is not None
    if bounds[at] == INF:
        assert result == bounds[-2]
    else:
        lower = bounds[at - 1] if at else 0.0
        assert lower <= result <= bounds[at] * (1 + 1e-12)


@given(COUNTS)
def test_percentiles_never_cross(counts: list[int]) -> None:
    cumulative = {
        zaidash.format_bound(bound): sum(counts[: n + 1])
        for n, bound in enumerate((*DURATION_BUCKETS_S, INF))
    }
    variant = Variant()
    variant.tick(0, durations(dict.fromkeys(cumulative, 0)))
    snapshot = shown(variant.tick(5, durations(cumulative)))
    p50, p95, p99 = (snapshot[f"latency_p{n}"] for n in (50, 95, 99))
    if sum(counts):
        assert p50 <= p95 <= p99
    else:
        assert (p50, p95, p99) == (None, None, None)


# ---- Numbers and JSON ----------------------------------------------------------------------------

TIDY: dict[str, tuple[float, bool, float | None]] = {
    "a whole number stays whole": (5.0, True, 5),
    "a large whole number stays exact": (9_007_199_254_740_991.0, True, 9_007_199_254_740_991),
    "a fraction of something whole stays": (0.5, True, 0.5),
    "noise in the last digits goes": (0.1 + 0.2, False, 0.3),
    "12 digits stay": (123.456789012, False, 123.456789012),
    "small numbers stay": (1.5e-9, False, 1.5e-9),
    "no number is null": (math.nan, False, None),
    "infinity is null": (INF, False, None),
    "minus infinity is null": (-INF, True, None),
    "a whole that is no number is null": (math.nan, True, None),
    "a number whose sums would overflow is null": (1e308, True, None),
}


@pytest.mark.parametrize(("value", "whole", "tidied"), TIDY.values(), ids=list(TIDY))
def test_a_number_is_shown_short_and_finite(
    value: float, whole: bool, tidied: float | None
) -> None:
    result = zaidash.tidy(value, whole)
    assert result == tidied
    assert type(result) is type(tidied)


def test_a_whole_number_too_large_for_sqlite_is_no_int() -> None:
    assert isinstance(zaidash.tidy(1e20, True), float)
    assert isinstance(zaidash.tidy(2.0**63, True), float)
    assert isinstance(zaidash.tidy(2.0**62, True), int)


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} in a snapshot")


EXTREME = st.one_of(
    st.sampled_from(["NaN", "+Inf", "-Inf", "0", "-0", "-1", "5e-324", "1e-300", "1e308", "1e999"]),
    st.floats().map(repr),
    st.integers(0, 10).map(str),
)


@given(st.lists(st.lists(EXTREME, min_size=14, max_size=14), min_size=2, max_size=4), st.data())
@settings(deadline=None, max_examples=200)
def test_no_exposition_brings_nan_or_infinity_into_a_snapshot(
    scrapes: list[list[str]], data: st.DataObject
) -> None:
    variant = Variant(replicas=2)
    for number, v in enumerate(scrapes):
        text = (
            requests({"200": v[0], "500": v[1], "other": v[2]})
            + durations({"0.5": v[3], "1": v[4], "+Inf": v[5]})
            + sizes("request", v[6], v[7])
            + gauges(*v[8:12])
            + sizes("response", v[12], v[13])
        )
        other = data.draw(st.sampled_from([None, text, FIRST_SCRAPE]))
        snapshot = variant.tick(number * 5, text, other)
        decoded = json.loads(snapshot.encoded, parse_constant=refuse)
        assert decoded["timestamp"] == T0_MS + number * 5_000
        numbers = [value for value in snapshot.values if isinstance(value, int | float)]
        assert all(map(math.isfinite, numbers))


LE = st.one_of(
    EXTREME, st.text(st.characters(codec="utf-8", exclude_characters='\\"\n'), max_size=5)
)


@given(st.lists(st.tuples(LE, EXTREME), max_size=6, unique_by=lambda pair: pair[0]))
@settings(deadline=None, max_examples=200)
def test_no_bucket_bound_brings_nan_or_infinity_into_a_snapshot(
    buckets: list[tuple[str, str]],
) -> None:
    variant = Variant()
    zeros = dict.fromkeys((le for le, _ in buckets), "0")
    variant.tick(0, requests({"200": 1}) + durations(zeros))
    snapshot = variant.tick(5, requests({"200": 1}) + durations(dict(buckets)))
    json.loads(snapshot.encoded, parse_constant=refuse)


TINY_COUNTS = ("5e-324", "1e-320", "1e-300")


@pytest.mark.parametrize("count", TINY_COUNTS)
def test_less_than_an_observation_ends_no_tick(count: str) -> None:
    variant = Variant()
    variant.tick(0, durations({"1": 0, "+Inf": 0}) + sizes("request", 0, 0))
    snapshot = variant.tick(5, durations({"1": 0, "+Inf": count}) + sizes("request", 1, count))
    json.loads(snapshot.encoded, parse_constant=refuse)


def test_an_odd_status_code_is_counted_among_all_requests() -> None:
    variant = Variant()
    variant.tick(0, requests({"200": 0, "500": 0, "": 0, "-1": 0}))
    snapshot = shown(variant.tick(5, requests({"200": 1, "500": 1, "": 1, "-1": 1})))
    assert snapshot["req_rate"] == pytest.approx(0.8)
    assert snapshot["error_rate_pct"] == 25
    assert sum(snapshot["status_code_rates"].values()) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("zai_proxy_requests_total", "status_code"),
        ("zai_proxy_tokens_total", "direction"),
        ("zai_proxy_rate_limit_adjustments_total", "direction"),
        ("zai_proxy_upstream_errors_total", "reason"),
    ],
)
def test_a_target_cannot_invent_keys_without_end(name: str, label: str) -> None:
    """A key is kept for every tick of the window, a series for the last scrape only."""
    made_up = [f"{number}-made-up" for number in range(1_000)]
    assert len({zaidash.resolve_series(name, {label: value}) for value in made_up}) <= 6


def test_the_row_for_the_database_holds_the_same_numbers_as_the_json() -> None:
    variant = Variant()
    variant.tick(0, FIRST_SCRAPE)
    snapshot = variant.tick(5, SECOND_SCRAPE)
    name, ts_ms, *values = snapshot.row()
    read = {
        field.name: json.loads(value) if field.sql_type == "TEXT" else value
        for field, value in zip(FIELDS, values, strict=True)
    }
    assert {"timestamp": ts_ms, "variant": name, **read} == shown(snapshot)


# ---- Nothing is lost, nothing is counted twice ---------------------------------------------------

CODES = ("200", "429", "500")


class Happening(NamedTuple):
    """What a proxy goes through between two scrapes, and how the next scrape turns out."""

    requests: tuple[int, int, int]
    restarts: bool
    after_restart: tuple[int, int, int]
    passes_s: int
    fails: bool
    hides: str | None


FEW = st.tuples(st.integers(0, 9), st.integers(0, 2), st.integers(0, 2))
HAPPENINGS = st.builds(
    Happening,
    requests=FEW,
    restarts=st.integers(0, 5).map(lambda n: n == 0),
    after_restart=FEW,
    passes_s=st.integers(1, 20),
    fails=st.integers(0, 4).map(lambda n: n == 0),
    hides=st.sampled_from([None, None, None, *CODES]),
)


@given(st.lists(HAPPENINGS, max_size=14))
@settings(deadline=None, max_examples=300)
def test_the_increases_add_up_to_what_really_happened(happenings: list[Happening]) -> None:
    """Whatever a process did not live to show is lost; everything else is counted, once."""
    replica = Replica()
    start, at_s = 100, 0
    exported: Tally[str] = Tally()
    pending: Tally[str] = Tally()  # happened, not seen by a scrape yet
    truth: Tally[str] = Tally()
    counted: Tally[str] = Tally()
    replica.scrape(started(start), at_s)
    for one in happenings:
        batches = [one.requests]
        if one.restarts:
            start += 1
            exported.clear()
            pending.clear()
            batches = [one.after_restart]
        for batch in batches:
            grown = dict(zip(CODES, batch, strict=True))
            exported.update(grown)
            pending.update(grown)
        at_s += one.passes_s
        if one.fails:
            continue
        visible = {code: n for code, n in exported.items() if n and code != one.hides}
        text = started(start) + gauges(0, 1, 0, 1) + requests(visible)
        for (_, code), value in replica.increases(text, at_s).items():
            counted[code] += round(value)
        for code in visible:
            truth[code] += pending.pop(code, 0)
    assert +counted == +truth


class Scraped(NamedTuple):
    """What a replica does in a tick: requests, and how long its answer takes; None: it fails."""

    requests: int
    takes_s: float | None
    restarts: bool


SCRAPED = st.builds(
    Scraped,
    requests=st.integers(0, 50),
    takes_s=st.sampled_from([None, None, 0.01, 0.01, 0.5, 4.9]),
    restarts=st.integers(0, 9).map(lambda n: n == 0),
)


@given(st.lists(st.tuples(SCRAPED, SCRAPED, SCRAPED), min_size=1, max_size=20))
@settings(deadline=None, max_examples=200)
def test_rates_times_the_time_they_cover_are_the_requests_there_were(
    ticks: list[tuple[Scraped, Scraped, Scraped]],
) -> None:
    """Whichever replica fails, appears, restarts or goes for good, and however slow it is."""
    replicas = [Replica() for _ in range(3)]
    state = VariantState("production", INTERVAL_S, WINDOW_S)
    totals, pending, starts = [0, 0, 0], [0, 0, 0], [100, 100, 100]
    seen: set[int] = set()
    truth, counted = 0, 0.0
    for tick, scraped in enumerate(ticks):
        readings = []
        for index, one in enumerate(scraped):
            if one.restarts:
                starts[index] += 1
                totals[index] = pending[index] = 0
            totals[index] += one.requests
            pending[index] += one.requests
            if one.takes_s is not None:
                text = process(starts[index], totals[index])
                readings.append(replicas[index].scrape(text, 5 * tick + one.takes_s))
                truth += pending[index] if index in seen else 0
                seen.add(index)
                pending[index] = 0
        if readings:
            snapshot = state.snapshot(T0_MS + 5_000 * tick, readings)
            rate, elapsed_s = snapshot.get("req_rate"), snapshot.get("elapsed_s")
            assert (rate is None) == (elapsed_s is None)
            if isinstance(rate, int | float) and isinstance(elapsed_s, int | float):
                assert rate >= 0
                assert elapsed_s > 0
                counted += rate * elapsed_s
    assert counted == pytest.approx(truth)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 20)), min_size=1, max_size=30))
@settings(deadline=None)
def test_the_increases_behind_a_balanced_address_add_up_too(
    answers: list[tuple[int, int]],
) -> None:
    replica = Replica()
    totals = [0, 0, 0]
    seen: set[int] = set()
    truth, counted = 0.0, 0.0
    # The processes show up in the order of their start, so each may be taken for a restart.
    for at_s, (answering, grown) in enumerate([(0, 5), (1, 5), (2, 5), *answers]):
        totals[answering] += grown
        if seen:
            truth += grown
        seen.add(answering)
        reading = replica.scrape(process(100 + answering, totals[answering]), float(at_s))
        counted += reading.increases.get(("requests", "200"), 0)
    assert counted == truth


# ---- The end of it: histograms of prometheus_client ----------------------------------------------


def by_hand(q: float, observed_s: Sequence[float]) -> float:
    """The quantile in ms, from the observations themselves: which bucket, and how far into it."""
    ordered = sorted(observed_s)
    rank = q * len(ordered)
    for lower, upper in zip((0.0, *DURATION_BUCKETS_S), DURATION_BUCKETS_S, strict=False):
        within = bisect.bisect_right(ordered, upper)
        if within >= rank:
            below = bisect.bisect_right(ordered, lower)
            return 1000 * (lower + (upper - lower) * (rank - below) / (within - below))
    return 1000 * DURATION_BUCKETS_S[-1]


class Exporter:
    """A process with the histogram of a zai-proxy, and every observation since the last look."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.observed_s: list[float] = []
        self._histogram = Histogram(
            "zai_proxy_request_duration_seconds", "Time to answer.", ["path", "status_code"],
            registry=self.registry, buckets=DURATION_BUCKETS_S,
        )  # fmt: skip

    def work(self, source: random.Random, count: int) -> None:
        for _ in range(count):
            seconds = source.lognormvariate(0, 1.8)
            path, code = source.choice(("/a", "/b")), source.choice(("200", "429"))
            self._histogram.labels(path, code).observe(seconds)
            self.observed_s.append(seconds)

    def scraped(self) -> bytes:
        return generate_latest(self.registry)


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_of_real_histograms_equal_an_independent_calculation(seed: int) -> None:
    source = random.Random(seed)
    exporters = [Exporter(), Exporter()]
    variant = Variant(replicas=2)
    for exporter in exporters:
        exporter.work(source, 500)  # before zaidash came, so none of its business
    variant.tick(0, *(exporter.scraped() for exporter in exporters))
    window: list[list[float]] = []
    for tick in range(1, 16):
        for exporter in exporters:
            exporter.observed_s.clear()
            exporter.work(source, source.randrange(1, 60))
        window.append([s for exporter in exporters for s in exporter.observed_s])
        snapshot = shown(variant.tick(tick * 5, *(exporter.scraped() for exporter in exporters)))
        last_minute = [seconds for observed in window[-12:] for seconds in observed]
        for name, q in (("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)):
            assert snapshot[name] == pytest.approx(by_hand(q, last_minute), rel=1e-9)
        assert sum(snapshot["latency_buckets"].values()) == len(window[-1])
        for le, count in snapshot["latency_buckets"].items():
            upper = float(le)
            lower = max((b for b in DURATION_BUCKETS_S if b < upper), default=0.0)
            assert count == sum(lower < seconds <= upper for seconds in window[-1])


def test_a_fake_proxy_and_its_snapshot_agree_through_a_restart() -> None:
    proxy = FakeProxy(start_time_s=1_000)
    variant = Variant()
    proxy.request(200)
    variant.tick(0, proxy.scrape())
    proxy.request(500, seconds=0.2)
    proxy.request(200, seconds=0.2, tokens=(900, 250, 40, 0))
    snapshot = shown(variant.tick(5, proxy.scrape()))
    assert snapshot["error_rate_pct"] == 50
    assert snapshot["token_rate_in"] == 180
    assert snapshot["latency_buckets"] == {"0.25": 2, "+Inf": 0}
    proxy.restart()
    proxy.request(200, seconds=3, request_bytes=1_000)
    snapshot = shown(variant.tick(10, proxy.scrape()))
    assert (snapshot["requests_2xx"], snapshot["requests_5xx"]) == (1, 0)
    assert snapshot["req_rate"] == 0.2
    assert snapshot["error_rate_pct"] == pytest.approx(100 / 3)
    assert snapshot["latency_buckets"] == {"5": 1, "+Inf": 0}
    assert snapshot["request_size_avg"] == pytest.approx(5_000 / 3)
    assert proxy.truth.requests == {"200": 3, "500": 1}


def window_bytes(replicas: int) -> int:
    """What memory grows by while the window fills and is turned once."""
    variant = Variant(replicas, window_s=100 * INTERVAL_S)

    def tick(number: int) -> None:
        codes = {"200": 3 * number, "429": 2 * number, "500": number}
        variant.tick(number * INTERVAL_S, *[requests(codes)] * replicas)

    for number in range(5):
        tick(number)
    tracemalloc.start()
    try:
        for number in range(5, 150):
            tick(number)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_the_memory_of_a_window_does_not_grow_with_the_replicas() -> None:
    assert window_bytes(replicas=20) < 3 * window_bytes(replicas=1)


def test_the_window_holds_at_every_tick_what_came_within_it() -> None:
    """Beside a plain list, over ticks that are late, missing, or further apart than the window."""
    chance = random.Random(1)
    window, everything, now_s = SlidingSum(57.5), [], 0.0
    for _ in range(3_000):
        now_s += chance.choice([0.1, 1, 5, 5, 20, 70])
        if chance.random() < 0.9:
            increases = {("requests", chance.choice(["200", "429", "500"])): chance.randrange(9)}
            window.add(now_s, increases)
            everything.append((now_s, increases))
        expected: dict[tuple[str, str], float] = {}
        for at_s, increases in everything[-600:]:
            if at_s > now_s - 57.5:
                for slot, count in increases.items():
                    expected[slot] = expected.get(slot, 0) + count
        assert window.total(now_s) == expected
