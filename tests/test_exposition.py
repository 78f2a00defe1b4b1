"""Exposition text into samples (§4): what `prometheus_client` reads, or an error with its line.

The resolver of these tests keeps every series as (name, its labels as JSON), so that nothing a
parser may get wrong is lost before it is compared.
"""

from __future__ import annotations

import json
import math
import random
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    generate_latest,
)
from prometheus_client.parser import text_string_to_metric_families

from zaidash import ExpositionError, ExpositionParser

#: What a test compares: (name, labels as JSON) -> value, NaN as None so that it equals itself.
Samples = dict[tuple[str, str], float | None]


def slot_of(name: str, labels: Mapping[str, str]) -> tuple[str, str]:
    return name, json.dumps(labels, sort_keys=True)


def comparable(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def parse(text: str | bytes, parser: ExpositionParser | None = None) -> Samples:
    """Every sample of a text. A slot that comes twice fails the test."""
    body = text.encode() if isinstance(text, str) else text
    samples = (parser or ExpositionParser(slot_of)).parse(body)
    named = {series.slot: comparable(value) for series, value in samples}
    assert len(named) == len(samples)
    return named


def oracle(text: str) -> Samples:
    """The same, as `prometheus_client` reads it."""
    return {
        slot_of(sample.name, sample.labels): comparable(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# ---- Against the oracle --------------------------------------------------------------------------

NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,15}", fullmatch=True)
LABEL_NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,10}", fullmatch=True)
#: What breaks parsers comes more often than by chance.
AWKWARD = st.text(st.sampled_from('"\\\n{}=,# \t\rn€é\x00\u2028😀'), max_size=12)
LABEL_VALUES = st.one_of(st.text(max_size=12), AWKWARD)
LABELS = st.dictionaries(LABEL_NAMES, LABEL_VALUES, max_size=4)

COMMENTS = (
    "",
    "   ",
    "#",
    "# a comment with {braces} and \"quotes",
    "# HELP a_name Some help, with a \\n in it",
    "# TYPE a_name gauge",
    "\t# indented",
)  # fmt: skip


def go_style(value: float) -> str:
    """A number as Go prints it: `1e+06`, `+Inf`, `NaN`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value).removesuffix(".0")


NUMBER_STYLES: tuple[Callable[[float], str], ...] = (go_style, repr, "{:e}".format, "{:+g}".format)


def escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@st.composite
def expositions(draw: st.DrawFn) -> tuple[str, Samples]:
    """An exposition written in every way the format allows, and what it says."""
    all_series = draw(
        st.lists(st.tuples(NAMES, LABELS), max_size=8, unique_by=lambda s: slot_of(s[0], s[1]))
    )
    lines: list[str] = []
    truth: Samples = {}
    for name, labels in all_series:
        lines += draw(st.lists(st.sampled_from(COMMENTS), max_size=2))
        number = draw(st.sampled_from(NUMBER_STYLES))(draw(st.floats()))
        truth[slot_of(name, labels)] = comparable(float(number))
        lines.append(draw(lines_of(name, labels, number)))
    return "\n".join(lines) + draw(st.sampled_from(["", "\n", "\n\n"])), truth


@st.composite
def lines_of(draw: st.DrawFn, name: str, labels: dict[str, str], number: str) -> str:
    gap = st.sampled_from(["", "", " ", "\t"])
    parts = [
        f'{label}{draw(gap)}={draw(gap)}"{escaped(labels[label])}"'
        for label in draw(st.permutations(sorted(labels)))
    ]
    inside = f"{draw(gap)},{draw(gap)}".join(parts) + (
        draw(st.sampled_from(["", ","])) * bool(parts)
    )
    braces = f"{draw(gap)}{{{inside}}}" if labels else draw(st.sampled_from(["", "{}"]))
    blank = draw(st.sampled_from([" ", " ", "  ", "\t"]))
    moment = draw(st.sampled_from(["", "", f"{blank}1700000000000", f"{blank}-5"]))
    return f"{draw(gap)}{name}{braces}{blank}{number}{moment}{draw(gap)}"


@given(expositions())
@settings(deadline=None, max_examples=100)
def test_any_exposition_says_what_prometheus_client_reads_in_it(
    exposition: tuple[str, Samples],
) -> None:
    text, truth = exposition
    parser = ExpositionParser(slot_of)
    first = parse(text, parser)
    assert first == oracle(text)
    assert first == truth
    assert parse(text, parser) == truth  # now from memory


@given(st.lists(LABEL_VALUES, min_size=1, max_size=5, unique=True), st.floats(0, 1e9))
@settings(deadline=None, max_examples=100)
def test_what_prometheus_client_writes_is_read_back(values: list[str], amount: float) -> None:
    registry = CollectorRegistry()
    counter = Counter("a_total", 'Help with "quotes" and \\ and\nlines.', ["x"], registry=registry)
    gauge = Gauge("b", "", ["x", "y"], registry=registry)
    histogram = Histogram("c_seconds", "", ["x"], registry=registry)
    Summary("d", "", registry=registry).observe(amount)
    for value in values:
        counter.labels(value).inc(amount)
        gauge.labels(value, "y").set(-amount)
        histogram.labels(value).observe(amount)
    text = generate_latest(registry)
    assert parse(text) == oracle(text.decode())


# ---- As written ----------------------------------------------------------------------------------

#: One line, and the sample in it.
AS_WRITTEN: dict[str, tuple[str, tuple[str, dict[str, str], float]]] = {
    "a bare name": ("up 1", ("up", {}, 1)),
    "a label": ('up{job="zai"} 1', ("up", {"job": "zai"}, 1)),
    "empty braces": ("up{} 1", ("up", {}, 1)),
    "a comma at the end": ('up{job="zai",} 1', ("up", {"job": "zai"}, 1)),
    "an empty label": ('up{job=""} 1', ("up", {"job": ""}, 1)),
    "no space before the value": ('up{job="zai"}1', ("up", {"job": "zai"}, 1)),
    "spaces wherever they may be": (
        ' up { a = "1" , b = "2" }  3  4 ',
        ("up", {"a": "1", "b": "2"}, 3),
    ),
    "tabs wherever they may be": (
        '\tup\t{\ta\t=\t"1"\t,\tb\t=\t"2"\t}\t3\t4\t',
        ("up", {"a": "1", "b": "2"}, 3),
    ),
    "colons in a name": ("job:up:sum 1", ("job:up:sum", {}, 1)),
    "a big number of Go": ("up 1e+06", ("up", {}, 1_000_000)),
    "a small number of Go": ("up 1.5e-09", ("up", {}, 1.5e-9)),
    "infinity": ("up +Inf", ("up", {}, math.inf)),
    "infinity without a sign": ("up Inf", ("up", {}, math.inf)),
    "minus infinity": ("up -Inf", ("up", {}, -math.inf)),
    "a number too big for a float": ("up 1e999", ("up", {}, math.inf)),
    "negative": ("up -0.5", ("up", {}, -0.5)),
    "more digits than a float has": ("up 0.1000000000000000055", ("up", {}, 0.1)),
    "a timestamp": ("up 1 1700000000000", ("up", {}, 1)),
    "a timestamp before 1970": ("up 1 -1", ("up", {}, 1)),
    "a timestamp of OpenMetrics": ("up 1 1700000000.123", ("up", {}, 1)),
    "an exemplar": (
        'up_bucket{le="1"} 17 # {trace_id="a b"} 0.67 1700000000.1',
        ("up_bucket", {"le": "1"}, 17),
    ),
    "an exemplar after a timestamp": (
        'up_total{a="b"} 1 1700000000 # {} 1.0',
        ("up_total", {"a": "b"}, 1),
    ),
    "an exemplar on a bare name": ('up_total 5 # {t="x"} 1', ("up_total", {}, 5)),
    "a quote in a label": (r'up{a="say \"hi\""} 1', ("up", {"a": 'say "hi"'}, 1)),
    "a backslash in a label": (r'up{a="C:\\n"} 1', ("up", {"a": "C:\\n"}, 1)),
    "a line break in a label": (r'up{a="1\n2"} 1', ("up", {"a": "1\n2"}, 1)),
    "a backslash before the closing quote": (r'up{a="x\\"} 1', ("up", {"a": "x\\"}, 1)),
    "braces in a label": ('up{a="}{",b="} 2"} 1', ("up", {"a": "}{", "b": "} 2"}, 1)),
    "commas and equals signs in a label": ('up{a="b=\\"c\\",d"} 1', ("up", {"a": 'b="c",d'}, 1)),
    "a hash in a label": ('up{a="x # y"} 1', ("up", {"a": "x # y"}, 1)),
    "spaces at the ends of a label": ('up{a=" b "} 1', ("up", {"a": " b "}, 1)),
    "other scripts in a label": ('up{a="Zürich 東京 😀"} 1', ("up", {"a": "Zürich 東京 😀"}, 1)),
    "a carriage return in a label": ('up{a="b\rc"} 1', ("up", {"a": "b\rc"}, 1)),
    "a null byte in a label": ('up{a="b\0c"} 1', ("up", {"a": "b\0c"}, 1)),
    "a label that is called le": ('up{le="+Inf"} 1', ("up", {"le": "+Inf"}, 1)),
}

each_as_written = pytest.mark.parametrize(
    ("line", "sample"), AS_WRITTEN.values(), ids=list(AS_WRITTEN)
)


@each_as_written
def test_a_line_says_what_is_written(line: str, sample: tuple[str, dict[str, str], float]) -> None:
    name, labels, value = sample
    for ending in ("", "\n", "\r\n"):
        assert parse(line + ending) == {slot_of(name, labels): value}


@each_as_written
def test_a_line_says_the_same_from_memory(
    line: str, sample: tuple[str, dict[str, str], float]
) -> None:
    parser = ExpositionParser(slot_of)
    assert parse(line, parser) == parse(line, parser) == {slot_of(*sample[:2]): sample[2]}


def test_a_nan_is_read_as_one() -> None:
    assert parse("up NaN") == {("up", "{}"): None}


GO_TEXT = """\
# HELP go_goroutines Number of goroutines that currently exist.
# TYPE go_goroutines gauge
go_goroutines 23

# HELP zai_proxy_request_duration_seconds Time to answer.
# TYPE zai_proxy_request_duration_seconds histogram
zai_proxy_request_duration_seconds_bucket{method="POST",path="/v1/messages",le="0.005"} 0
zai_proxy_request_duration_seconds_bucket{method="POST",path="/v1/messages",le="+Inf"} 1.234567e+06
zai_proxy_request_duration_seconds_sum{method="POST",path="/v1/messages"} 3.0860000000000003
zai_proxy_request_duration_seconds_count{method="POST",path="/v1/messages"} 1.234567e+06
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.70000000012e+09
"""

OPENMETRICS_TEXT = """\
# TYPE zai_proxy_tokens counter
# UNIT zai_proxy_tokens tokens
# HELP zai_proxy_tokens Tokens passed through.
zai_proxy_tokens_total{direction="input"} 10.0 1700000000.5 # {trace_id="abc"} 1.0 1700000000.4
zai_proxy_tokens_created{direction="input"} 1700000000.0
# TYPE build info
build_info{version="1.2"} 1
# EOF
"""


def test_the_text_of_a_go_client_comes_out_as_written() -> None:
    path = {"method": "POST", "path": "/v1/messages"}
    duration = "zai_proxy_request_duration_seconds"
    assert parse(GO_TEXT) == {
        ("go_goroutines", "{}"): 23,
        slot_of(duration + "_bucket", {**path, "le": "0.005"}): 0,
        slot_of(duration + "_bucket", {**path, "le": "+Inf"}): 1_234_567,
        slot_of(duration + "_sum", path): 3.0860000000000003,
        slot_of(duration + "_count", path): 1_234_567,
        ("process_start_time_seconds", "{}"): 1_700_000_000.12,
    }


def test_openmetrics_extras_do_not_disturb() -> None:
    assert parse(OPENMETRICS_TEXT) == {
        ("zai_proxy_tokens_total", '{"direction": "input"}'): 10,
        ("zai_proxy_tokens_created", '{"direction": "input"}'): 1_700_000_000,
        ("build_info", '{"version": "1.2"}'): 1,
    }


def test_windows_line_ends_make_no_difference() -> None:
    for text in (GO_TEXT, OPENMETRICS_TEXT):
        assert parse(text.replace("\n", "\r\n")) == parse(text)


def test_a_missing_final_newline_loses_no_sample() -> None:
    for text in (GO_TEXT, OPENMETRICS_TEXT):
        assert parse(text.rstrip("\n")) == parse(text)


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n \t\n", b"# nothing\n"])
def test_a_body_with_nothing_in_it_has_no_samples(body: bytes) -> None:
    assert parse(body) == {}


# ---- Broken --------------------------------------------------------------------------------------

BROKEN: dict[str, bytes] = {
    "a name and no value": b"up",
    "a name, a space and no value": b"up ",
    "labels and no value": b'up{a="b"}',
    "a value and no name": b'{a="b"} 1',
    "a word for a value": b"up yes",
    "a value with a comma": b"up 1,5",
    "a value with an underscore": b"up 1_000",
    "a value with a null byte": b"up 1\x00",
    "a value in Arabic digits": "up \u0665".encode(),
    "two signs": b"up +-1",
    "two values and a timestamp": b"up 1 2 3",
    "a word for a timestamp": b"up 1 now",
    "a name that starts with a digit": b"1up 1",
    "a name with a dash": b"zai-proxy 1",
    "a name with a dot": b"zai.proxy 1",
    "a name in another script": "größe 1".encode(),
    "a brace left open": b'up{a="b" 1',
    "a quote left open": b'up{a="b} 1',
    "a quote escaped and left open": b'up{a="b\\"} 1',
    "a brace too many": b'up{a="b"}} 1',
    "a label without quotes": b"up{a=b} 1",
    "a label in single quotes": b"up{a='b'} 1",
    "a label without a value": b"up{a} 1",
    "a label without a name": b'up{="b"} 1',
    "a label that starts with a digit": b'up{1a="b"} 1',
    "a label with a dash": b'up{a-b="c"} 1',
    "a label with a colon": b'up{a:b="c"} 1',
    "no comma between labels": b'up{a="b" c="d"} 1',
    "two commas between labels": b'up{a="b",,c="d"} 1',
    "a label twice": b'up{a="b",a="c"} 1',
    "a label that is no UTF-8": b'up{a="\xff\xfe"} 1',
    "HTML": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "JSON": b'{"status":"ok"}',
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "null bytes": b"\x00\x00\x00",
    "two lines on one, by an old Mac": b"up 1\rdown 1",
}

each_broken = pytest.mark.parametrize("line", BROKEN.values(), ids=list(BROKEN))


@each_broken
def test_a_broken_line_is_an_error_that_says_which_line(line: bytes) -> None:
    body = b"# HELP fine Fine.\n\nfine 1\n" + line + b"\nalso_fine 1\n"
    with pytest.raises(ExpositionError, match=r"^line 4: .") as caught:
        parse(body)
    assert caught.value.line == 4


@each_broken
def test_a_broken_line_is_an_error_where_it_is_the_last_one_too(line: bytes) -> None:
    with pytest.raises(ExpositionError, match=r"^line 2: ."):
        parse(b"fine 1\n" + line)


@each_broken
def test_a_broken_line_spoils_nothing_that_was_known(line: bytes) -> None:
    parser = ExpositionParser(slot_of)
    good = b'up 1\nfine{a="b"} 2\n'
    before = parse(good, parser)
    with pytest.raises(ExpositionError):
        parse(good + line, parser)
    assert parse(good, parser) == before


BROKEN_VALUES = ("", "x", "1_0", "1 2 3", "1 x", "1\0", "--1")


@pytest.mark.parametrize("value", BROKEN_VALUES)
def test_a_known_series_with_a_broken_value_is_still_an_error(value: str) -> None:
    parser = ExpositionParser(slot_of)
    parse('up{a="b"} 1\n', parser)
    with pytest.raises(ExpositionError, match="line 1"):
        parse(f'up{{a="b"}} {value}\n', parser)


def test_the_message_of_an_error_is_short_and_printable() -> None:
    with pytest.raises(ExpositionError) as caught:
        parse(b"\x1b[31m\x00\xff" + b"x" * 50_000)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_an_unknown_family_has_to_be_well_formed_too() -> None:
    parser = ExpositionParser(slot_of, prefixes=(b"zai_",))
    for line in (b"other", b"other x", b'other{a="b} 1', b"<html>"):
        with pytest.raises(ExpositionError, match="line 1"):
            parser.parse(line)


# ---- Twice ---------------------------------------------------------------------------------------

TWICE = {
    "the same line": 'up{a="1",b="2"} 1\nup{a="1",b="2"} 1\n',
    "another value": 'up{a="1",b="2"} 1\nup{a="1",b="2"} 5\n',
    "another order of labels": 'up{a="1",b="2"} 1\nup{b="2",a="1"} 1\n',
    "other spaces": 'up{a="1",b="2"} 1\nup{ a="1", b="2", } 1\n',
    "far apart": 'up 1\nmiddle{x="y"} 1\nother 1\nup 2\n',
    "with and without braces": "up 1\nup{} 1\n",
}


@pytest.mark.parametrize("text", TWICE.values(), ids=list(TWICE))
def test_a_series_that_comes_twice_is_not_counted_twice(text: str) -> None:
    parser = ExpositionParser(slot_of)
    for _ in range(2):
        with pytest.raises(ExpositionError, match="twice"):
            parse(text, parser)
    for line in text.splitlines():  # each line alone is fine, also from memory
        assert len(parse(line, parser)) == 1
    with pytest.raises(ExpositionError, match="twice"):
        parse(text, parser)


def test_series_that_only_look_alike_are_kept_apart() -> None:
    text = 'up{a="b\\",c=\\"d"} 1\nup{a="b",c="d"} 2\nup{a="b"} 3\nup{c="d"} 4\nup 5\nupa 6\n'
    assert len(parse(text)) == 6
    assert parse(text) == oracle(text)


# ---- Memory --------------------------------------------------------------------------------------


class Counting(NamedTuple):
    """A parser, and every series it asked its resolver about."""

    parser: ExpositionParser
    asked: list[tuple[str, str]]


def counting(prefixes: tuple[bytes, ...] = (b"",), max_series: int = 20_000) -> Counting:
    asked: list[tuple[str, str]] = []

    def resolve(name: str, labels: dict[str, str]) -> tuple[str, str]:
        asked.append(slot_of(name, labels))
        return asked[-1]

    return Counting(ExpositionParser(resolve, prefixes, max_series), asked)


def test_a_series_seen_before_costs_no_second_look_at_its_labels() -> None:
    parser, asked = counting()
    samples = parse(GO_TEXT, parser)
    assert sorted(asked) == sorted(samples)
    asked.clear()
    for changed in (GO_TEXT, GO_TEXT.replace("} 0\n", "} 99\n"), GO_TEXT.replace(" 23", " NaN")):
        parse(changed, parser)
    assert asked == []


def test_only_a_new_series_is_looked_at_again() -> None:
    parser, asked = counting()
    parse('up{a="1"} 1\n', parser)
    asked.clear()
    assert parse('up{a="1"} 2\nup{a="2"} 3\n', parser) == {
        ("up", '{"a": "1"}'): 2,
        ("up", '{"a": "2"}'): 3,
    }
    assert asked == [("up", '{"a": "2"}')]


ANOTHER_WAY = (
    *('a{x="1"} 7', 'a{x="1"}  7', 'a{x="1"}\t7', 'a{x="1"}7', ' a{x="1"} 7', 'a{x="1",} 7'),
    *('a{x="1"} 7 99', 'a{x="1"} 7 # {} 1', 'a{x="1"} 7\r', 'a{x="1"} 7 ', 'a{x="1"} 7.0'),
)


def test_a_known_series_may_be_written_in_another_way_from_scrape_to_scrape() -> None:
    parser = ExpositionParser(slot_of)
    for line in ANOTHER_WAY:
        assert parse(line, parser) == {("a", '{"x": "1"}'): 7}, line


def test_the_identity_of_a_series_does_not_depend_on_the_order_of_its_labels() -> None:
    parser = ExpositionParser(slot_of)
    ((one, _),) = parser.parse(b'up{a="1",b="2"} 1')
    ((two, _),) = parser.parse(b'up{b="2",a="1"} 1')
    ((three, _),) = parser.parse(b'up{a="2",b="1"} 1')
    assert one.key == two.key != three.key


def test_families_nobody_reads_are_not_looked_at() -> None:
    parser, asked = counting(prefixes=(b"zai_",))
    text = 'zai_a 1\ngo_b{x="y"} 2\nprocess_c 3\nzai 4\n'
    assert parse(text, parser) == {("zai_a", "{}"): 1}
    assert asked == [("zai_a", "{}")]


def test_a_series_the_resolver_does_not_want_leaves_no_sample() -> None:
    parser = ExpositionParser(lambda name, _: (name, "") if name == "wanted" else None)
    for _ in range(2):
        samples = parser.parse(b'wanted 1\nunwanted{a="b"} 2\n')
        assert [(series.slot, value) for series, value in samples] == [(("wanted", ""), 1.0)]


def test_a_series_nobody_wants_costs_no_second_look_at_its_labels_either() -> None:
    asked: list[str] = []

    def want_nothing(name: str, labels: dict[str, str]) -> None:
        asked.append(name)

    parser = ExpositionParser(want_nothing)
    for _ in range(3):
        assert parser.parse(b'zai_proxy_request_size_bytes_bucket{le="1"} 2\n') == []
    assert len(asked) == 1


#: 100 series of 1 KB that no scrape has shown before, as a scanner leaves them in a `path` label.
def scanned(round_: int) -> bytes:
    padding = "x" * 1000
    return "".join(f'up{{path="/{round_}/{n}/{padding}"}} 1\n' for n in range(100)).encode()


def grown_bytes(act: Callable[[], None]) -> int:
    """What `act` leaves behind in memory."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        act()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


SCRAPE_BYTES = len(scanned(0))


def test_labels_that_never_come_again_do_not_pile_up() -> None:
    parser = ExpositionParser(slot_of)

    def scan() -> None:
        for round_ in range(50):
            assert len(parser.parse(scanned(round_))) == 100

    assert grown_bytes(scan) < 15 * SCRAPE_BYTES


def test_labels_that_nobody_wants_do_not_pile_up_either() -> None:
    parser = ExpositionParser(lambda name, labels: None)

    def scan() -> None:
        for round_ in range(50):
            assert parser.parse(scanned(round_)) == []

    assert grown_bytes(scan) < 15 * SCRAPE_BYTES


def test_labels_of_scrapes_that_fail_do_not_pile_up() -> None:
    parser = ExpositionParser(slot_of)

    def scan() -> None:
        for round_ in range(50):
            with pytest.raises(ExpositionError):
                parser.parse(scanned(round_) + b"broken")

    assert grown_bytes(scan) < 15 * SCRAPE_BYTES


def test_labels_of_scrapes_with_too_many_series_do_not_pile_up() -> None:
    parser = ExpositionParser(slot_of, max_series=90)

    def scan() -> None:
        for round_ in range(50):
            with pytest.raises(ExpositionError):
                parser.parse(scanned(round_))

    assert grown_bytes(scan) < 15 * SCRAPE_BYTES


def test_a_target_that_shrinks_gives_its_memory_back() -> None:
    parser = ExpositionParser(slot_of)
    small = b"".join(b"up_%d 1\n" % n for n in range(10))

    def shrink() -> None:
        parser.parse(b"".join(scanned(n) for n in range(30)))
        for _ in range(3):
            parser.parse(small)

    assert grown_bytes(shrink) < 3 * SCRAPE_BYTES


# ---- Limits --------------------------------------------------------------------------------------


def lines(first: int, last: int) -> str:
    return "".join(f"up_{n} {n}\n" for n in range(first, last + 1))


def test_as_many_series_as_allowed_are_read() -> None:
    parser = ExpositionParser(slot_of, max_series=5)
    for _ in range(2):
        assert len(parse(lines(1, 5), parser)) == 5


def test_one_series_too_many_fails_the_scrape() -> None:
    parser = ExpositionParser(slot_of, max_series=5)
    with pytest.raises(ExpositionError, match="5 series"):
        parse(lines(1, 6), parser)
    assert len(parse(lines(1, 5), parser)) == 5


def test_the_limit_holds_for_series_that_are_known_already_too() -> None:
    parser = ExpositionParser(slot_of, max_series=5)
    parse(lines(1, 5), parser)
    parse(lines(6, 10), parser)
    with pytest.raises(ExpositionError, match="5 series"):
        parse(lines(1, 10), parser)


def test_one_known_series_a_million_times_is_refused_before_it_fills_the_memory() -> None:
    parser = ExpositionParser(slot_of, max_series=5)
    parse("up 1\n", parser)
    body = b"up 1\n" * 100_000

    def repeat() -> None:
        tracemalloc.reset_peak()
        with pytest.raises(ExpositionError):
            parser.parse(body)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000

    grown_bytes(repeat)


def test_series_nobody_reads_do_not_count_towards_the_limit() -> None:
    wanted = ExpositionParser(lambda n, _: (n, "") if n == "up" else None, max_series=1)
    assert len(wanted.parse((lines(1, 50) + "up 1\n").encode())) == 1
    prefixed = ExpositionParser(slot_of, prefixes=(b"zai_",), max_series=1)
    assert len(prefixed.parse((lines(1, 50) + "zai_up 1\n").encode())) == 1


LONG = "x" * 100_000


def test_a_label_of_100_kb_does_not_fail_the_scrape() -> None:
    """A scanner can put a path that long into a label, and then it stays until a restart."""
    parser = ExpositionParser(slot_of)
    for _ in range(2):
        assert parse(f'up{{path="/{LONG}"}} 1\nfine 2\n', parser) == {
            slot_of("up", {"path": "/" + LONG}): 1,
            ("fine", "{}"): 2,
        }


def test_a_comment_of_100_kb_does_not_fail_the_scrape() -> None:
    assert parse(f"# HELP up {LONG}\nup 1\n") == {("up", "{}"): 1}


def test_a_label_of_100_kb_in_a_family_nobody_reads_does_not_fail_the_scrape() -> None:
    parser = ExpositionParser(slot_of, prefixes=(b"zai_",))
    assert parse(f'other{{path="{LONG}"}} 1\nzai_up 1\n', parser) == {("zai_up", "{}"): 1}


# ---- Junk ----------------------------------------------------------------------------------------

#: No line of a few KB may take longer; a regular expression that backtracks takes for ever.
MOST_CPU_S = 2.0


def survives(body: bytes, parser: ExpositionParser) -> None:
    """Parse anything: samples or an ExpositionError, soon."""
    started_s = time.thread_time()
    try:
        samples = parser.parse(body)
    except ExpositionError as error:
        assert error.line <= body.count(b"\n") + 1
        assert str(error).isprintable()
    else:
        assert all(isinstance(value, float) for _, value in samples)
    assert time.thread_time() - started_s < MOST_CPU_S


def used_parser() -> ExpositionParser:
    parser = ExpositionParser(slot_of)
    parse(GO_TEXT, parser)
    return parser


@given(st.binary(max_size=2_000))
@settings(deadline=None, max_examples=100)
def test_binary_junk_is_an_error_at_worst(body: bytes) -> None:
    survives(body, used_parser())


TOKENS = (b"up", b"{", b"}", b'"', b"\\", b"\\n", b"=", b",", b" ", b"\t", b"\r", b"\n", b"#", b"1",
          b"e", b"+Inf", b"NaN", b"le", b"\xff", b"\x00", b"_", b":", b"-", b".", b"\xc3\xa9",
          b"go_goroutines ", b"# TYPE ", b"# EOF")  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=60).map(b"".join))
@settings(deadline=None, max_examples=500)
def test_junk_that_looks_like_an_exposition_is_an_error_at_worst(body: bytes) -> None:
    survives(body, used_parser())


@given(st.integers(0, len(GO_TEXT) - 1), st.integers(0, 12), st.sampled_from((b"", *TOKENS)))
@settings(deadline=None, max_examples=300)
def test_a_damaged_exposition_is_an_error_at_worst(at: int, cut: int, put_in: bytes) -> None:
    text = GO_TEXT.encode()
    survives(text[:at] + put_in + text[at + cut :], used_parser())


@given(st.integers(0, len(GO_TEXT)))
@settings(deadline=None)
def test_a_body_cut_anywhere_gives_no_sample_a_wrong_name(at: int) -> None:
    whole = parse(GO_TEXT)
    try:
        part = parse(GO_TEXT[:at])
    except ExpositionError as error:
        assert error.line == GO_TEXT[:at].count("\n") + 1
    else:
        assert part.keys() <= whole.keys()


NASTY: dict[str, bytes] = {
    "quotes": b"up{" + b'"' * 60_000,
    "backslashes": b'up{a="' + b"\\" * 60_000,
    "escaped quotes": b'up{a="' + b'\\"' * 30_000,
    "open braces": b"up{" * 20_000,
    "closed braces": b'up{a="b"' + b"}" * 60_000,
    "labels without end": b"up{" + b'a="b",' * 10_000,
    "labels that differ": b"up{" + b",".join(b'l%d="v"' % n for n in range(6_000)) + b"} 1",
    "commas": b"up{" + b"," * 60_000 + b"} 1",
    "spaces first": b" " * 60_000 + b"!",
    "spaces inside": b"up" + b" " * 60_000 + b"{",
    "spaces and tabs at the end": b"up 1" + b" \t" * 30_000 + b"!",
    "a name without end": b"a" * 60_000,
    "digits without end": b"up " + b"1" * 60_000,
    "hashes": b"up 1 " + b"#" * 60_000,
    "carriage returns": b"\r" * 60_000,
    "a million empty lines": b"\n" * 1_000_000,
    "gigabytes of zero, unpacked": b"\0" * 1_000_000,
}


@pytest.mark.parametrize("body", NASTY.values(), ids=list(NASTY))
def test_a_hostile_body_is_dealt_with_quickly(body: bytes) -> None:
    survives(body, used_parser())


ONE_LINE = {
    "labels": b"up{" + b",".join(b'l%d="v"' % n for n in range(1_200_000)) + b"} 1",
    "escapes": b'zai_proxy_requests_total{path="' + b"\\n" * 8_000_000 + b'"} 1',
    "spaces": b" " * 16_000_000 + b"!",
    "a number": b"zai_proxy_max_workers 0." + b"1" * 16_000_000,
}


@pytest.mark.parametrize("line", ONE_LINE.values(), ids=list(ONE_LINE))
def test_no_line_is_so_long_that_everybody_waits_for_its_end(line: bytes) -> None:
    """While an expression goes over it no request is answered: it took seconds for 16 MB."""
    with pytest.raises(ExpositionError, match="line 2: longer than 262144 bytes"):
        parse(b"up 1\n" + line + b"\n")
    comment = b"# " + line
    assert parse(comment + b"\nup 1\n") == parse(b"up 1\n")


def test_random_bytes_of_every_length_are_an_error_at_worst() -> None:
    source = random.Random(7)
    parser = used_parser()
    for length in (*range(64), 1_000, 100_000):
        survives(source.randbytes(length), parser)
    assert parse(GO_TEXT, parser) == parse(GO_TEXT)
