"""Percentiles are those of PromQL: zaidash's `quantile` beside Prometheus's own, case by case.

`promtool test rules` evaluates `histogram_quantile` over the same buckets. `bench/agree.py`
compares everything else, which takes minutes.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_proxy import DURATION_BUCKETS_S
from needs import needed_tool

from zaidash import format_bound, quantile

#: Upper bounds and how many requests each has, up to it.
Buckets = Sequence[tuple[float, float]]

QUANTILES = (0.0, 0.001, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)

#: Both compute in floats, in a different order.
TOLERANCE = 1e-12

PROMTOOL_TIMEOUT_S = 60.0


def increases(*counts: float) -> Buckets:
    """Return a histogram with a zai-proxy's bounds from the requests in each bucket."""
    assert len(counts) <= len(DURATION_BUCKETS_S) + 1
    filled = (*counts, *[0.0] * (len(DURATION_BUCKETS_S) + 1 - len(counts)))
    return cumulative(zip((*DURATION_BUCKETS_S, math.inf), filled, strict=True))


def cumulative(buckets: Any) -> Buckets:
    bounds, counts = zip(*buckets, strict=True)
    return list(zip(bounds, itertools.accumulate(counts), strict=True))


def only(index: int, count: float) -> Buckets:
    """Return a histogram in which one bucket has everything."""
    counts = [0.0] * (len(DURATION_BUCKETS_S) + 1)
    counts[index] = count
    return increases(*counts)


INF = math.inf

BY_HAND: dict[str, Buckets] = {
    "no request": increases(),
    "one request in the first bucket": only(0, 1),
    "one request in the middle": only(7, 1),
    "one request in the last finite bucket": only(14, 1),
    "one request beyond the last bound": only(15, 1),
    "all in the first bucket": only(0, 1_000),
    "all in the middle": only(8, 1_000),
    "all beyond the last bound": only(15, 1_000),
    "one in every bucket": increases(*[1] * 16),
    "half in the first, half beyond the last": increases(50, *[0] * 14, 50),
    "a gap of empty buckets in the middle": increases(10, 0, 0, 0, 0, 0, 0, 10),
    "the rank is exactly a bucket's end": increases(50, 0, 0, 50),
    "the rank of p95 is exactly a bucket's end": increases(95, 5),
    "the rank of p99 is just past a bucket's end": increases(98, 1, 1),
    "one slow request among a million": increases(0, 999_999, *[0] * 12, 1),
    "one request beyond among a million": increases(0, 999_999, *[0] * 13, 1),
    "parts of requests, as a rate gives": increases(0.1, 0.25, 0.031, 0, 0.7),
    "less than one request": only(5, 0.0167),
    "counts too large for whole floats": increases(1e17, 3e17, 7e16),
    "only +Inf": [(INF, 10)],
    "only +Inf, and nothing in it": [(INF, 0)],
    "one bound and +Inf": [(1.0, 5), (INF, 5)],
    "one bound and +Inf, half beyond": [(1.0, 5), (INF, 10)],
    "no +Inf": [(0.5, 5), (1.0, 10)],
    "one bound alone": [(0.5, 5)],
    "a first bound of 0": [(0.0, 4), (1.0, 8), (INF, 8)],
    "bounds below 0": [(-2.0, 1), (-1.0, 4), (1.0, 8), (INF, 8)],
    "all below a bound below 0": [(-1.0, 4), (INF, 4)],
    "a bucket that is below the one before": [(0.1, 10), (0.5, 9), (1.0, 20), (INF, 20)],
    "a +Inf that is below the last bound": [(0.1, 10), (0.5, 30), (INF, 28)],
    "bounds far apart": [(1e-9, 1), (1.0, 2), (1e9, 3), (INF, 3)],
    "bounds close together": [(1.0, 1), (1.0000001, 2), (1.0000002, 3), (INF, 3)],
}


def at_random(seed: int) -> Buckets:
    """Return a histogram with bounds, gaps and counts nobody has thought of."""
    rng = random.Random(seed)
    bounds = sorted({round(10 ** rng.uniform(-3, 3), 4) for _ in range(rng.randint(1, 25))})
    share_empty = rng.random()
    counts = [
        0.0 if rng.random() < share_empty else round(rng.lognormvariate(3, 2), rng.randint(0, 6))
        for _ in (*bounds, INF)
    ]
    return cumulative(zip((*bounds, INF), counts, strict=True))


CASES = {**BY_HAND, **{f"at random, seed {seed}": at_random(seed) for seed in range(30)}}


@pytest.mark.parametrize("name", CASES)
def test_percentile_is_the_one_prometheus_would_show(name: str, tmp_path: Path) -> None:
    expected = {q: quantile(q, CASES[name]) for q in QUANTILES}
    result = run_promtool(tmp_path, CASES[name], expected)
    assert result.returncode == 0, f"{CASES[name]}\n{expected}\n{result.stdout}{result.stderr}"


def test_wrong_percentile_would_be_noticed(tmp_path: Path) -> None:
    buckets = CASES["one in every bucket"]
    right = quantile(0.5, buckets)
    assert right is not None
    for wrong in (right * (1 + 1e-9), None):
        assert "FAILED" in run_promtool(tmp_path, buckets, {0.5: wrong}).stderr
    empty = CASES["no request"]
    assert "FAILED" in run_promtool(tmp_path, empty, {0.5: 0.0}).stderr


def run_promtool(
    directory: Path, buckets: Buckets, expected: dict[float, float | None]
) -> subprocess.CompletedProcess[str]:
    """Let Prometheus's own code record quantiles of the buckets, and compare them."""
    rules = [
        {"record": record_name(q), "expr": f"histogram_quantile({q}, sum by (le) (increases))"}
        for q in expected
    ]
    series = [
        {"series": f'increases{{le="{format_bound(bound)}"}}', "values": repr(float(count))}
        for bound, count in buckets
    ]
    expressions = [
        {
            "expr": comparison(record_name(q), value),
            "eval_time": "0s",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for q, value in expected.items()
    ]
    (directory / "rules.yml").write_text(json.dumps({"groups": [{"name": "q", "rules": rules}]}))
    (directory / "tests.yml").write_text(  # JSON is YAML too
        json.dumps(
            {
                "rule_files": ["rules.yml"],
                "evaluation_interval": "1m",
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": series,
                        "promql_expr_test": expressions,
                    }
                ],
            }
        )
    )
    return subprocess.run(
        [needed_tool("promtool"), "test", "rules", str(directory / "tests.yml")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROMTOOL_TIMEOUT_S,
        check=False,
    )


def record_name(q: float) -> str:
    return f"quantile_{q}".replace(".", "_")


def comparison(record: str, value: float | None) -> str:
    """Return an expression that is 1 where a record has this value: NaN where there is none."""
    if value is None:
        return f"sum({record} != bool {record})"
    return f"sum(abs({record} - ({value!r})) <= bool {abs(value) * TOLERANCE!r})"
