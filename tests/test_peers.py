"""`bench/peers.py` is fair: it asks its peers for the page's own charts, of the same history.

Only what needs no server; the comparison itself takes minutes.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from fake_proxy import FakeProxy
from needs import needed_tool
from peers import FULL, QUICK, Row, factor
from peers_history import (
    INTERVAL_S,
    LAST_TICK_S,
    Filler,
    Proxy,
    Tick,
    create_blocks,
    json_lines,
    openmetrics,
    peer_labels,
)
from peers_live import Sight, delays
from peers_queries import FIELD_GROUPS, figure_queries, panel_queries
from prometheus_client.parser import text_string_to_metric_families
from support import ROOT

from zaidash import FIELD_INDEX

PANELS = ROOT / "frontend" / "src" / "panels"
PROMTOOL_TIMEOUT_S = 60.0

BEGIN_S = 1_790_000_040  # on a minute
TICKS = 60

PICTURES = {picture.name: picture for scale in (FULL, QUICK) for picture in scale.rounds}


# --------------------------------------------------------------------------------------
# The questions
# --------------------------------------------------------------------------------------


def test_peers_are_asked_for_every_chart_of_the_page_and_no_other() -> None:
    sources = [path.read_text(encoding="utf-8") for path in PANELS.glob("*.ts*")]
    charts = {
        found
        for text in sources
        for found in re.findall(r'^  id: "(.+)",$|^export const HEAT_MAP = "(.+)"', text, re.M)
    }
    ids = {chart or heat_map for chart, heat_map in charts}
    assert len(ids) >= 8
    assert panel_queries(PICTURES["1h"]).keys() == ids


def test_zaidash_is_asked_for_the_fields_of_the_page() -> None:
    text = (PANELS / "spec.ts").read_text(encoding="utf-8")
    (groups,) = re.findall(r"FIELD_GROUPS = \{(.*?)\n\}", text, re.S)
    found = {
        name: tuple(re.findall(r'"(\w+)"', fields))
        for name, fields in re.findall(r"(\w+): \[(.*?)\]", groups, re.S)
    }
    assert dict(FIELD_GROUPS) == found


@pytest.mark.parametrize(("name", "rows"), [("1h", 360), ("24h", 480), ("7d", 672)])
def test_peers_draw_as_many_points_as_the_page(name: str, rows: int) -> None:
    picture = PICTURES[name]
    assert picture.seconds / picture.step_s == rows


@pytest.mark.parametrize("name", PICTURES)
def test_every_question_to_the_peers_is_promql(name: str, tmp_path: Path) -> None:
    queries = [query for panel in panel_queries(PICTURES[name]).values() for query in panel]
    queries += figure_queries(PICTURES[name], has_before=True)
    rules = [{"record": f"query_{n}", "expr": query} for n, query in enumerate(queries)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = run_promtool("check", "rules", str(path))
    assert f"SUCCESS: {len(queries)} rules found" in done.stdout, done.stdout + done.stderr


def run_promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [needed_tool("promtool"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PROMTOOL_TIMEOUT_S,
        check=False,
    )


# --------------------------------------------------------------------------------------
# The history
# --------------------------------------------------------------------------------------

TIMES = range(BEGIN_S, BEGIN_S + TICKS * INTERVAL_S, INTERVAL_S)


def some_ticks() -> tuple[Proxy, list[Tick]]:
    proxy = Proxy("production", 20.0, BEGIN_S - 1_000)
    return proxy, [proxy.tick(at_s) for at_s in TIMES]


def test_live_scrapes_go_on_with_the_series_of_the_history() -> None:
    history, live = Proxy("production", 20.0, BEGIN_S), FakeProxy("production")
    codes = {
        named.labels["status_code"] for named in history.series if "status_code" in named.labels
    }
    for code in codes:
        live.request(int(code), tokens=(1, 1, 1, 1))
    for direction in ("increase", "decrease"):
        live.adjust(direction)
    text = live.exposition().decode()
    scraped = {
        (sample.name, frozenset(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(("zai_proxy_", "process_start_time_seconds"))
    }
    assert {(name, frozenset(labels.items())) for name, labels in history.series} == scraped


def test_every_counter_of_the_history_only_grows() -> None:
    proxy, rows = some_ticks()
    for named, values in zip(proxy.series, zip(*rows, strict=True), strict=True):
        if re.search("_(total|bucket|count|sum)$", named.name):
            assert list(values) == sorted(values), named


def test_histogram_of_the_history_has_every_request_in_its_last_bucket() -> None:
    proxy, rows = some_ticks()
    last = {
        (named.name, named.labels.get("status_code"), named.labels.get("le")): value
        for named, value in zip(proxy.series, rows[-1], strict=True)
    }
    name = "zai_proxy_request_duration_seconds"
    for code in ("200", "429", "502"):
        requests = last["zai_proxy_requests_total", code, None]
        assert last[f"{name}_bucket", code, "+Inf"] == last[f"{name}_count", code, None] == requests
    assert last["zai_proxy_requests_total", "200", None] > 1_000


def test_zaidash_has_the_requests_that_the_peers_have() -> None:
    proxy, rows = some_ticks()
    filler = Filler(proxy, BEGIN_S)
    filler.add(TIMES, rows)
    rate, elapsed = (2 + FIELD_INDEX[name] for name in ("req_rate", "elapsed_s"))
    counted = sum(row[rate] * row[elapsed] for row in filler.rows("metrics_5s") if row[elapsed])
    assert counted == pytest.approx(requests_of(proxy, rows[-1]) - requests_of(proxy, rows[0]))


def test_minute_of_the_history_is_the_average_of_its_ticks() -> None:
    proxy, rows = some_ticks()
    minutes, ticks = Filler(proxy, BEGIN_S + 86_400), Filler(proxy, BEGIN_S)
    for filler in (minutes, ticks):
        filler.add(TIMES, rows)
    column = 2 + FIELD_INDEX["req_rate"]
    second = list(minutes.rows("metrics_1m"))[1]
    assert second[1] == 1_000 * (BEGIN_S + 60)
    of_it = [r[column] for r in ticks.rows("metrics_5s") if 0 <= r[1] - second[1] < 60_000]
    assert len(of_it) == LAST_TICK_S // INTERVAL_S + 1
    assert second[column] == pytest.approx(sum(of_it) / len(of_it))


def requests_of(proxy: Proxy, row: Tick) -> float:
    name = "zai_proxy_requests_total"
    return sum(v for named, v in zip(proxy.series, row, strict=True) if named.name == name)


def test_prometheus_gets_every_sample(tmp_path: Path) -> None:
    needed_tool("promtool")
    proxy, rows = some_ticks()
    text, blocks = tmp_path / "text.om", tmp_path / "blocks"
    columns = list(zip(*rows, strict=True))
    lines = openmetrics(proxy.series, peer_labels("production"), TIMES, columns)
    text.write_text("".join(lines) + "# EOF\n", encoding="utf-8")
    create_blocks(text, blocks)
    (blocks / "wal").mkdir()  # promtool reads a whole database
    dump = run_promtool("tsdb", "dump", str(blocks)).stdout.splitlines()
    assert len(dump) == len(proxy.series) * TICKS
    place, named = next(
        (place, named)
        for place, named in enumerate(proxy.series)
        if named.labels.get("status_code") == "200"
    )
    labels = {"__name__": named.name, **named.labels, **peer_labels("production")}
    wanted = {f'{key}="{value}"' for key, value in labels.items()}
    found = [line for line in dump if set(line[1 : line.index("}")].split(", ")) == wanted]
    assert [float(line.split()[-2]) for line in found] == list(columns[place])
    assert [int(line.split()[-1]) for line in found] == [1_000 * at_s for at_s in TIMES]


def test_victoria_metrics_gets_every_sample() -> None:
    proxy, rows = some_ticks()
    columns = list(zip(*rows, strict=True))
    lines = list(json_lines(proxy.series, peer_labels("production"), TIMES, columns))
    assert len(lines) == len(proxy.series)
    for named, values, line in zip(proxy.series, columns, lines, strict=True):
        series = json.loads(line)
        assert series["metric"] == {
            "__name__": named.name, **named.labels, **peer_labels("production"),
        }  # fmt: skip
        assert series["values"] == list(values)
        assert series["timestamps"] == [1_000 * at_s for at_s in TIMES]


# --------------------------------------------------------------------------------------
# The numbers
# --------------------------------------------------------------------------------------


def test_delay_is_until_the_first_sight_of_a_count() -> None:
    sights = [Sight(10.0, 0), Sight(11.0, 1), Sight(12.0, 1), Sight(13.0, 3)]
    assert delays([10.5, 11.25, 12.5], sights) == [0.5, 1.75, 0.5]


def test_change_that_nobody_saw_is_no_delay() -> None:
    with pytest.raises(AssertionError, match="retry 2 of 2 was never seen"):
        delays([10.5, 11.5], [Sight(11.0, 1)])


@pytest.mark.parametrize(
    ("theirs", "is_aim", "verdict"),
    [
        ((2.0, 3.0), True, "PASS"),
        ((2.0, 0.5), True, "FAIL"),
        ((2.0, 3.0), False, "ahead"),
        ((0.5, 3.0), False, "behind"),
    ],
    ids=["ahead of both", "behind one", "ahead of both, no aim", "behind one, no aim"],
)
def test_table_tells_where_zaidash_is_behind(
    theirs: tuple[float, float], is_aim: bool, verdict: str
) -> None:
    measured = {
        "zaidash": [1.0],
        "Prometheus": [theirs[0]],
        "VictoriaMetrics": [theirs[1]],
    }
    assert Row("a time", measured, str, is_aim).verdict == verdict


def test_ratio_is_that_of_neighbours() -> None:
    # The machine was slow in the second round, for both.
    measured = {"zaidash": [1.0, 10.0, 1.0], "Prometheus": [3.0, 30.0, 3.0]}
    assert Row("a time", measured, str, True).ratio("Prometheus") == 3.0
    assert [factor(ratio) for ratio in (0.5, 1.04, 12.3)] == ["0.50 x", "1.0 x", "12 x"]


def test_ratio_of_different_numbers_of_measurements_is_that_of_medians() -> None:
    measured = {"zaidash": [1.0, 10.0, 1.0], "Prometheus": [2.0]}
    assert Row("a time", measured, str, True).ratio("Prometheus") == 2.0


def test_row_has_a_peer_that_is_asked_in_two_ways_in_one_cell() -> None:
    measured = {
        "zaidash": [1.0],
        "VictoriaMetrics": [2.0],
        "VictoriaMetrics, not from its cache": [4.0],
    }
    cell = Row("a time", measured, lambda s: f"{s:g} s", True).cell("VictoriaMetrics")
    assert cell == "2 s (2.0 x); 4 s (4.0 x), not from its cache"
