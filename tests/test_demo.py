"""The demo: what it makes up is a proxy's metrics and a history that fits them."""

from __future__ import annotations

import itertools
import json
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import get

import zaidash
from zaidash import Demo, DemoProxy, History, Query, Store, load_config, quantile

DAY_S = 86_400
VARIANTS = ("production", "canary")


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """The demo with three hours of history instead of a week, which is all that is made smaller."""
    config, command = load_config(["--demo"], {})
    assert command == "demo"
    demo = Demo(config)
    demo.start()
    yield demo
    demo.close()


class Filled(NamedTuple):
    """A store with the history of a demo, and when it was finished."""

    store: Store
    at_ms: int


@pytest.fixture(scope="module")
def filled(demo: Demo) -> Iterator[Filled]:
    store = Store(demo.config)
    store.open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Demo, "HISTORY_S", 2 * 3_600)
        demo.fill(store)
    yield Filled(store, round(time.time() * 1000))
    store.close()


def samples(demo: Demo, variant: str) -> dict[tuple[str, ...], float]:
    (url,) = [spec.url for spec in demo.config.targets if spec.variant == variant]
    reply = get(url)
    assert reply.status == 200
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_simulated_proxy_can_be_scraped_and_only_counts_up(
    demo: Demo, filled: Filled, variant: str
) -> None:
    before = samples(demo, variant)
    time.sleep(0.2)  # traffic is a matter of time
    after = samples(demo, variant)
    counters = [key for key in before if key[0].endswith(("_total", "_bucket", "_sum", "_count"))]
    assert len(counters) > 30
    assert all(after[key] >= before[key] for key in counters)
    buckets = [(float(k[1][3:]), n) for k, n in after.items() if k[0].endswith("_seconds_bucket")]
    counts = [count for _, count in sorted(buckets)]
    assert counts == sorted(counts) and counts[-1] > 0
    assert 0 <= after[("zai_proxy_worker_utilization_ratio", f"variant={variant}")] <= 1


def test_an_address_that_is_no_proxy_is_not_found(demo: Demo) -> None:
    assert get(demo.config.targets[0].url.replace("production", "staging")).status == 404


def test_the_history_is_whole_and_the_counters_go_on_from_it(demo: Demo, filled: Filled) -> None:
    store, now_ms = filled
    query = Query(now_ms - 4 * 3_600_000, now_ms, VARIANTS)
    columns = json.loads(b"".join(History(store).json_columns(query)))
    for variant in VARIANTS:
        times, totals = columns[variant]["timestamp"], columns[variant]["requests_2xx"]
        assert {b - a for a, b in itertools.pairwise(times)} == {60_000}
        assert 195 <= len(times) <= 197 and now_ms - times[-1] < 120_000  # of 2 h and of 75 min
        assert totals == sorted(totals)
        live = samples(demo, variant)
        key = ("zai_proxy_requests_total", "status_code=200", f"variant={variant}")
        assert live[key] >= totals[-1]


def test_no_temporary_directory_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not" / "there"))
    # The handler that is set up here writes to what pytest closes after this test.
    monkeypatch.setattr(zaidash.log, "handlers", list(zaidash.log.handlers))
    monkeypatch.setattr(zaidash.log, "propagate", True)
    config, _ = load_config(["--demo"], {})
    assert zaidash.serve(config, is_demo=True) == 2
    assert "TMPDIR" in capsys.readouterr().err


def test_the_canary_is_the_slower_and_the_smaller_one(filled: Filled) -> None:
    store, now_ms = filled
    query = Query(now_ms - 3 * 3_600_000, now_ms, VARIANTS)
    rows = json.loads(b"".join(History(store).json_rows(query)))
    mean = {
        (variant, name): math.fsum(row[name] for row in rows if row["variant"] == variant)
        for variant in VARIANTS
        for name in ("latency_p50", "req_rate")
    }
    assert mean["canary", "latency_p50"] > 1.1 * mean["production", "latency_p50"]
    assert mean["canary", "req_rate"] < 0.3 * mean["production", "req_rate"]


def test_traffic_has_a_daily_wave_bursts_and_rejections() -> None:
    proxy = DemoProxy("production", share=1.0, slowness=1.0, seed=1)
    minutes = [proxy.advance(at_s, 60.0) for at_s in range(0, 2 * DAY_S, 60)]
    by_hour = [
        math.fsum(m["requests", "200"] for m in minutes[first : first + 60])
        for first in range(0, len(minutes), 60)
    ]
    assert max(by_hour) > 2 * min(by_hour)
    assert 0 < sum(m["requests", "429"] > 0 for m in minutes) < len(minutes) / 2
    assert all(m["latency", "+Inf"] >= m["latency", "1"] >= 0 for m in minutes)


def test_percentiles_are_the_same_whether_it_is_scraped_every_second_or_every_minute() -> None:
    """The last hour of the demo is made of ticks, what is before it of minutes."""
    p99 = {}
    for step_s in (1.0, 60.0):
        proxy = DemoProxy("canary", share=0.12, slowness=1.25, seed=1)
        for tick in range(round(10 * 3_600 / step_s)):
            proxy.advance(tick * step_s, step_s)
        buckets = {float(key): n for (what, key), n in proxy.totals.items() if what == "latency"}
        p99[step_s] = quantile(0.99, sorted(buckets.items()))
    assert p99[1.0] == pytest.approx(p99[60.0], rel=0.05)
