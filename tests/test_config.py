"""Configuration (§2): what is set is what runs, what is wrong is all said at once, no secret shows.

Most cases go through `load_config`; what depends on the process (exit codes, streams, the port)
goes through a real one.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from support import (
    SCRIPT,
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    eventually,
    free_port,
    get,
    run_to_exit,
    run_zaidash,
)

import zaidash
from zaidash import SETTINGS, Config, ConfigError, load_config

SECRET = "s3cr3t"


def load(*argv: str, **environ: str) -> Config:
    config, _ = load_config(argv, environ)
    return config


def problems_of(*argv: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(argv, environ)
    return caught.value.problems


# ---- Every setting -------------------------------------------------------------------------------


class Case(NamedTuple):
    """A setting, its default, and two values that are no default, as written and as read."""

    name: str
    attribute: str
    default: Any
    text: str
    value: Any
    other_text: str
    other_value: Any


EVERY_SETTING = (
    Case("LISTEN_ADDR", "listen", ("", 8080),
         "127.0.0.1:9000", ("127.0.0.1", 9000), "[::1]:9001", ("::1", 9001)),
    Case("SCRAPE_TARGETS", "targets",
         (("production", "http://zai-proxy.mcp.svc.cluster.local:8080/metrics", False),),
         "blue=http://10.0.0.1/m", (("blue", "http://10.0.0.1/m", False),),
         "dns+http://h/m", (("production", "http://h/m", True),)),
    Case("SCRAPE_INTERVAL", "interval_s", 5.0, "10s", 10.0, "4s", 4.0),
    Case("SCRAPE_TIMEOUT", "timeout_s", 3.0, "1s", 1.0, "2500ms", 2.5),
    Case("DB_PATH", "db_path", Path("zaidash.db").absolute(),
         "one.db", Path("one.db").absolute(), "two.db", Path("two.db").absolute()),
    Case("RETENTION_5S", "retention_5s_s", 86_400.0, "48h", 172_800.0, "1d", 86_400.0),
    Case("RETENTION_1M", "retention_1m_s", 604_800.0, "30d", 2_592_000.0, "1h", 3_600.0),
    Case("DOWNSAMPLE_INTERVAL", "downsample_interval_s", 600.0, "5m", 300.0, "1h", 3_600.0),
    Case("RATE_WINDOW", "window_s", 60.0, "5m", 300.0, "30s", 30.0),
    Case("SCRAPE_MAX_BYTES", "max_body_bytes", 16_777_216, "1048576", 1_048_576, "99", 99),
    Case("SCRAPE_MAX_SERIES", "max_series", 20_000, "500", 500, "1", 1),
    Case("MAX_STREAMS", "max_streams", 10_000, "7", 7, "8", 8),
    Case("MAX_REQUESTS", "max_requests", 64, "9", 9, "10", 10),
    Case("AUTH_TOKEN", "auth_token", None, "abc", "abc", "def", "def"),
    Case("CORS_ALLOW_ORIGIN", "cors_allow_origin", None,
         "*", "*", "https://dash.example", "https://dash.example"),
    Case("LOG_LEVEL", "log_level", "info", "debug", "debug", "error", "error"),
    Case("LOG_FORMAT", "log_format", "text", "json", "json", "text", "text"),
)  # fmt: skip

each_setting = pytest.mark.parametrize("case", EVERY_SETTING, ids=lambda case: case.name)


def flag(case: Case) -> str:
    return "--" + case.name.lower().replace("_", "-")


def test_the_table_above_leaves_no_setting_untested() -> None:
    assert [case.name for case in EVERY_SETTING] == [setting.name for setting in SETTINGS]


@each_setting
def test_unset_means_the_documented_default(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zaidash, "_SYSTEM_DB_PATH", "/this-directory-is-not-there/dashboard.db")
    assert getattr(load(), case.attribute) == case.default


@each_setting
def test_the_environment_variable_is_read(case: Case) -> None:
    assert getattr(load(**{case.name: case.text}), case.attribute) == case.value


@each_setting
def test_the_flag_is_read_in_both_its_forms(case: Case) -> None:
    assert getattr(load(flag(case), case.text), case.attribute) == case.value
    assert getattr(load(f"{flag(case)}={case.text}"), case.attribute) == case.value


@each_setting
def test_the_flag_wins_over_the_environment_variable(case: Case) -> None:
    config = load(flag(case), case.other_text, **{case.name: case.text})
    assert getattr(config, case.attribute) == case.other_value


@each_setting
def test_a_good_flag_makes_a_bad_environment_variable_irrelevant(case: Case) -> None:
    assert getattr(load(flag(case), case.text, **{case.name: "\t"}), case.attribute) == case.value


def test_variants_are_listed_once_each_in_the_order_they_are_configured() -> None:
    targets = "b=http://1/m,a=http://2/m,b=http://3/m,http://4/m"
    assert load(SCRAPE_TARGETS=targets).variants == ("b", "a", "production")


COMMANDS = {
    "no command serves": ([], None),
    "demo": (["--demo"], "demo"),
    "check-config": (["--check-config"], "check-config"),
    "healthcheck": (["--healthcheck"], "healthcheck"),
}


@pytest.mark.parametrize(("argv", "command"), COMMANDS.values(), ids=COMMANDS)
def test_the_command_is_read_from_the_flags(argv: list[str], command: str | None) -> None:
    assert load_config(argv, {})[1] == command


def test_the_demo_ticks_every_second_unless_told_otherwise() -> None:
    assert load("--demo").interval_s == 1
    assert load("--demo", SCRAPE_INTERVAL="2s").interval_s == 2


# ---- Durations -----------------------------------------------------------------------------------

DURATIONS = {
    "300ms": 0.3,
    "100ms": 0.1,
    "0.1s": 0.1,
    "1.5h": 5_400,
    "2h45m": 9_900,
    "1h0m0s": 3_600,
    "1d": 86_400,
    "1.5d": 129_600,
    "7d12h": 648_000,
    "1h30m15s500ms": 5_415.5,
    "30s1m": 90,  # Go asks for no order
    "1m1m": 120,  # and lets a unit come twice
    ".5s": 0.5,
    "1.s": 1,
    "+5s": 5,
    "000005s": 5,
    "100000us": 0.1,
    "100000µs": 0.1,
    "100000μs": 0.1,
    "100000000ns": 0.1,
    "1001ms": 1.001,
    "1.001s": 1.001,
    "4.35s": 4.35,
}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items(), ids=DURATIONS)
def test_a_duration_of_go_is_understood(text: str, seconds: float) -> None:
    assert load(SCRAPE_INTERVAL=text).interval_s == pytest.approx(seconds, abs=1e-9)


@given(st.integers(100, 3_000_000_000))
@example(1001)
def test_every_duration_as_go_prints_it_is_understood_to_the_millisecond(total_ms: int) -> None:
    minutes, ms = divmod(total_ms, 60_000)
    text = f"{minutes // 60}h{minutes % 60}m{ms // 1000}.{ms % 1000:03}s"
    assert load(SCRAPE_INTERVAL=text).interval_s == pytest.approx(total_ms / 1000, abs=1e-7)


NO_DURATIONS = {
    "empty": "",
    "a space": " ",
    "no unit": "5",
    "no number": "s",
    "a point but no digit": ".s",
    "two points": "1..5s",
    "a comma": "1,5s",
    "a space between": "5 s",
    "a space after": "5s ",
    "a space before": " 5s",
    "a line break after": "5s\n",
    "negative": "-5s",
    "a difference": "1h-5m",
    "a capital unit": "5S",
    "a spelled unit": "5sec",
    "weeks": "1w",
    "an exponent": "1e3s",
    "hexadecimal": "0x5s",
    "Arabic digits": "\u0665s",
    "a unit missing at the end": "5s5",
    "the unit in front": "h1",
    "infinity": "inf",
    "not a number": "nans",
    "zero": "0",
    "zero seconds": "0s",
    "longer than a life": "99999999999h",
    "longer than a float": "9" * 400 + "h",
    "longer than any number": "9" * 6000 + "h",
}


@pytest.mark.parametrize("text", NO_DURATIONS.values(), ids=NO_DURATIONS)
def test_what_is_no_duration_is_refused(text: str) -> None:
    (problem,) = problems_of(SCRAPE_INTERVAL=text)
    assert problem.startswith(f"SCRAPE_INTERVAL={text}: expected ")


def test_a_tick_below_100_ms_is_refused() -> None:
    assert load(SCRAPE_INTERVAL="100ms").interval_s == 0.1
    (problem,) = problems_of(SCRAPE_INTERVAL="99ms")
    assert "at least 100ms" in problem


TIMEOUTS = {
    "shorter than the tick: as given": ("2s", "5s", 2.0),
    "as long as the tick: as given": ("5s", "5s", 5.0),
    "longer than the tick: capped at it": ("10s", "5s", 5.0),
}


@pytest.mark.parametrize(("timeout", "interval", "seconds"), TIMEOUTS.values(), ids=TIMEOUTS)
def test_a_scrape_never_outlasts_its_tick(timeout: str, interval: str, seconds: float) -> None:
    assert load(SCRAPE_TIMEOUT=timeout, SCRAPE_INTERVAL=interval).timeout_s == seconds


def test_the_default_timeout_is_capped_by_a_short_tick_too() -> None:
    assert load(SCRAPE_INTERVAL="1s").timeout_s == 1


WINDOWS = {
    "longer than two ticks: as given": ("15s", "5s", 15.0),
    "exactly two ticks: as given": ("10s", "5s", 10.0),
    "shorter than two ticks: two ticks": ("6s", "5s", 10.0),
    "shorter than one tick: two ticks": ("1s", "5s", 10.0),
}


@pytest.mark.parametrize(("window", "interval", "seconds"), WINDOWS.values(), ids=WINDOWS)
def test_percentiles_always_have_two_ticks_to_look_at(
    window: str, interval: str, seconds: float
) -> None:
    assert load(RATE_WINDOW=window, SCRAPE_INTERVAL=interval).window_s == seconds


def test_the_default_window_is_stretched_by_a_long_tick_too() -> None:
    assert load(SCRAPE_INTERVAL="45s").window_s == 90


# ---- Addresses -----------------------------------------------------------------------------------

ADDRESSES = {
    ":8080": ("", 8080),
    ":0": ("", 0),
    "127.0.0.1:80": ("127.0.0.1", 80),
    "0.0.0.0:65535": ("0.0.0.0", 65_535),
    "localhost:8080": ("localhost", 8080),
    "dash-1.example:8080": ("dash-1.example", 8080),
    "[::1]:9090": ("::1", 9090),
    "[::]:9090": ("::", 9090),
    "[fe80::1%eth0]:9090": ("fe80::1%eth0", 9090),
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=ADDRESSES)
def test_an_address_to_listen_on_is_understood(text: str, address: tuple[str, int]) -> None:
    assert load(LISTEN_ADDR=text).listen == address


NO_ADDRESSES = (
    *("", ":", "8080", "localhost", "localhost:", ":http", ":65536", ":123456", ":-1", ": 80"),
    *(
        ":80 ",
        ":8O",
        ":\u0668\u0660",
        "::1:8080",
        "[::1]",
        "[::1]8080",
        "[]:80",
        "[::1:80",
        "a b:80",
    ),
    *("http://localhost:80", "localhost:80/", "u@h:80:80"),
)


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_is_no_address_is_refused(text: str) -> None:
    (problem,) = problems_of(LISTEN_ADDR=text)
    assert problem.startswith(f"LISTEN_ADDR={text}: expected host:port")


NO_HOSTS = {
    "an empty part in a host name": "a..b:8080",
    "a host name too long to look up": "x" * 70 + ":8080",
    "four numbers that are no address": "256.1.1.1:8080",
}


@pytest.mark.parametrize("text", NO_HOSTS.values(), ids=NO_HOSTS)
def test_a_host_that_cannot_be_listened_on_ends_with_a_sentence(text: str) -> None:
    ended = run_to_exit(env={"LISTEN_ADDR": text})
    assert "Traceback" not in ended.stderr
    assert text.partition(":")[0] in ended.stderr
    assert ended.returncode == 2


# ---- Targets -------------------------------------------------------------------------------------

TARGETS: dict[str, tuple[str, list[tuple[str, str, bool]]]] = {
    "a plain URL is production": (
        "http://zai-proxy:8080/metrics",
        [("production", "http://zai-proxy:8080/metrics", False)],
    ),
    "test in the host is canary": ("http://zai-test/m", [("canary", "http://zai-test/m", False)]),
    "canary in the host is canary": ("https://canary/m", [("canary", "https://canary/m", False)]),
    "canary in the path is canary": (
        "http://h/canary/metrics",
        [("canary", "http://h/canary/metrics", False)],
    ),
    "test within a word is canary": ("http://latest/m", [("canary", "http://latest/m", False)]),
    "a name wins over the URL": (
        "production=http://zai-test/m",
        [("production", "http://zai-test/m", False)],
    ),
    "any name will do": ("blue-2.x_y=http://h/m", [("blue-2.x_y", "http://h/m", False)]),
    "an equals sign in the query is no name": (
        "http://h/m?job=zai&x=1",
        [("production", "http://h/m?job=zai&x=1", False)],
    ),
    "dns+http is discovered": ("dns+http://h:80/m", [("production", "http://h:80/m", True)]),
    "dns+https is discovered": ("dns+https://h/m", [("production", "https://h/m", True)]),
    "a name and discovery": ("green=dns+http://h/m", [("green", "http://h/m", True)]),
    "IPv6": ("http://[::1]:9/m", [("production", "http://[::1]:9/m", False)]),
    "several, with spaces around": (
        " a=http://1/m , http://2/m ,b=http://3/m",
        [
            ("a", "http://1/m", False),
            ("production", "http://2/m", False),
            ("b", "http://3/m", False),
        ],
    ),
    "replicas of one variant": (
        "http://1/m,http://2/m",
        [("production", "http://1/m", False), ("production", "http://2/m", False)],
    ),
    "one URL as two variants": (
        "a=http://1/m,b=http://1/m",
        [("a", "http://1/m", False), ("b", "http://1/m", False)],
    ),
}


@pytest.mark.parametrize(("text", "targets"), TARGETS.values(), ids=TARGETS)
def test_a_target_goes_to_its_variant(text: str, targets: list[tuple[str, str, bool]]) -> None:
    assert list(load(SCRAPE_TARGETS=text).targets) == targets


NO_TARGETS = {
    "empty": "",
    "only a comma": ",",
    "a comma too many": "http://h/m,",
    "two commas": "http://1/m,,http://2/m",
    "no scheme": "zai-proxy:8080/metrics",
    "only a path": "/metrics",
    "ftp": "ftp://h/m",
    "a file": "file:///etc/passwd",
    "discovery of ftp": "dns+ftp://h/m",
    "discovery twice": "dns+dns+http://h/m",
    "no host": "http:///metrics",
    "a port and no host": "http://:8080/metrics",
    "a port out of range": "http://h:99999/m",
    "a port that is a word": "http://h:port/m",
    "brackets left open": "http://[::1/m",
    "a space inside": "http://h/me trics",
    "a line break inside": "http://h/m\nX-Header: 1",
    "a name that is empty": "=http://h/m",
    "a name with a space": "bl ue=http://h/m",
    "a name that would be markup": "<b>=http://h/m",
    "the name that stands for all": "all=http://h/m",
    "a name without a URL": "blue=",
    "one target twice": "http://h/m,http://h/m",
    "one target twice, once by name": "http://h/m,production=http://h/m",
}


@pytest.mark.parametrize("text", NO_TARGETS.values(), ids=NO_TARGETS)
def test_what_is_no_target_is_refused(text: str) -> None:
    (problem,) = problems_of(SCRAPE_TARGETS=text)
    assert problem.startswith(f"SCRAPE_TARGETS={text}: ")


def test_the_problem_names_the_bad_one_of_several_targets() -> None:
    (problem,) = problems_of(SCRAPE_TARGETS="http://good/m,gopher://bad/m")
    assert "entry 2 'gopher://bad/m': expected" in problem


def test_every_bad_target_is_named() -> None:
    (problem,) = problems_of(SCRAPE_TARGETS="http://a:80,b=htp://b/m,c=http://")
    assert "entry 2 'b=htp://b/m': expected" in problem
    assert "entry 3 'c=http://': expected" in problem
    assert "entry 1" not in problem


def test_a_problem_stays_on_its_line() -> None:
    ended = run_to_exit(env={"LOG_LEVEL": "loud\nzaidash: all is well"})
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


# ---- Whole numbers, words ------------------------------------------------------------------------

BAD_VALUES = {
    "bytes in words": ("SCRAPE_MAX_BYTES", "16MB"),
    "no bytes at all": ("SCRAPE_MAX_BYTES", "0"),
    "a fraction of a series": ("SCRAPE_MAX_SERIES", "1.5"),
    "series with an exponent": ("SCRAPE_MAX_SERIES", "1e4"),
    "series with an underscore": ("SCRAPE_MAX_SERIES", "20_000"),
    "no series": ("SCRAPE_MAX_SERIES", "0"),
    "less than no streams": ("MAX_STREAMS", "-1"),
    "streams in Arabic digits": ("MAX_STREAMS", "\u0663"),
    "requests with a plus sign": ("MAX_REQUESTS", "+4"),
    "no requests": ("MAX_REQUESTS", "0"),
    "requests without end": ("MAX_REQUESTS", "9" * 5000),
    "a retention of nothing": ("RETENTION_5S", "0s"),
    "a negative retention": ("RETENTION_1M", "-1h"),
    "a downsample interval of nothing": ("DOWNSAMPLE_INTERVAL", "0s"),
    "a window without a unit": ("RATE_WINDOW", "60"),
    "a timeout of nothing": ("SCRAPE_TIMEOUT", "0"),
    "a level that is none": ("LOG_LEVEL", "loud"),
    "a format that is none": ("LOG_FORMAT", "xml"),
    "an origin that smuggles in a header": ("CORS_ALLOW_ORIGIN", "*\r\nSet-Cookie: a=b"),
    "an origin that no header can carry": ("CORS_ALLOW_ORIGIN", "https://ü.example"),
}


@pytest.mark.parametrize(("name", "text"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_a_bad_value_is_never_ignored(name: str, text: str) -> None:
    (problem,) = problems_of(**{name: text})
    assert problem.startswith(f"{name}={text}: expected ")


@each_setting
def test_an_empty_value_is_not_taken_for_unset(case: Case) -> None:
    (problem,) = problems_of(**{case.name: ""})
    assert problem.startswith(f"{case.name}=") and "expected" in problem
    (problem,) = problems_of(f"{flag(case)}=")
    assert problem.startswith(f"{flag(case)}=") and "expected" in problem


def test_a_token_that_no_header_can_carry_is_refused_and_not_shown() -> None:
    for token in (f"{SECRET} {SECRET}", f"{SECRET}ü", f"{SECRET}\n"):
        (problem,) = problems_of(AUTH_TOKEN=token)
        assert problem.startswith("AUTH_TOKEN=***: expected ")
        assert SECRET not in problem


# ---- The database path ---------------------------------------------------------------------------


def test_a_directory_that_cannot_be_looked_at_is_told_by_its_setting() -> None:
    path = (
        f"/tmp/{'x' * 300}/zaidash.db"  # the same error as without the right to, and for root too
    )
    (problem,) = problems_of(DB_PATH=path)
    assert problem.startswith(f"DB_PATH={path}: ") and "File name too long" in problem


def test_a_working_directory_that_is_gone_is_told_in_a_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f"cd {gone} && rmdir {gone} && exec {sys.executable} {SCRIPT} --check-config"
    ended = subprocess.run(
        ["sh", "-c", shell], env={"DB_PATH": "x.db"}, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("zaidash: DB_PATH=x.db: cannot look there: ")
    assert len(ended.stderr.splitlines()) == 1


def test_the_database_lies_in_data_where_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zaidash, "_SYSTEM_DB_PATH", str(tmp_path / "dashboard.db"))
    assert load().db_path == tmp_path / "dashboard.db"


def test_the_database_lies_in_the_working_directory_where_there_is_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zaidash, "_SYSTEM_DB_PATH", str(tmp_path / "data" / "dashboard.db"))
    assert load().db_path == tmp_path / "zaidash.db"


def test_a_file_called_data_is_not_taken_for_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").touch(0o777)
    monkeypatch.setattr(zaidash, "_SYSTEM_DB_PATH", str(tmp_path / "data" / "dashboard.db"))
    assert load().db_path == tmp_path / "zaidash.db"


#: zaidash as `python -c`, started on a machine without /data and without DB_PATH.
NO_DATA = (
    "import os, sys; sys.path.insert(0, os.path.dirname(sys.argv[1])); import zaidash;"
    "os.environ.pop('DB_PATH', None); zaidash._SYSTEM_DB_PATH = '/no-such-data/dashboard.db';"
    "sys.exit(zaidash.main(sys.argv[2:]))"
)


def test_the_log_says_that_the_database_is_in_the_working_directory(tmp_path: Path) -> None:
    with run_zaidash(cwd=tmp_path, python=(sys.executable, "-c", NO_DATA)) as dash:
        assert (tmp_path / "zaidash.db").is_file()
        line = next(line for line in dash.stderr().splitlines() if "zaidash.db" in line)
        assert "storage" in line and str(tmp_path / "zaidash.db") in line


def test_the_log_makes_nothing_up_where_the_database_path_was_chosen(tmp_path: Path) -> None:
    arguments = ("--db-path", str(tmp_path / "zaidash.db"))
    with run_zaidash(*arguments, python=(sys.executable, "-c", NO_DATA)) as dash:
        assert "no writable /data" not in dash.stderr()


BAD_PATHS = {"a directory": ".", "a directory that is not there": "not/there.db"}


@pytest.mark.parametrize("name", BAD_PATHS.values(), ids=BAD_PATHS)
def test_a_path_that_cannot_hold_a_database_is_refused(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / name)
    (problem,) = problems_of(DB_PATH=path)
    assert problem.startswith(f"DB_PATH={path}: expected a file")


# ---- All problems at once ------------------------------------------------------------------------


def test_every_problem_is_listed_in_one_go() -> None:
    problems = problems_of(**{case.name: "\t" for case in EVERY_SETTING if case.name != "DB_PATH"},
                           DB_PATH="/not/there/x.db")  # fmt: skip
    assert len(problems) == len(EVERY_SETTING)
    for case, problem in zip(EVERY_SETTING, problems, strict=True):
        assert problem.startswith(case.name + "=") and "expected" in problem


def test_problems_of_flags_and_variables_are_listed_together() -> None:
    problems = problems_of(
        "--scrape-interval=soon", "--tick", LOG_LEVEL="loud", SCRAPE_INTERVAL="5s"
    )
    assert len(problems) == 3
    text = "\n".join(problems)
    assert "--scrape-interval=soon: expected" in text
    assert "--tick: unknown" in text
    assert "LOG_LEVEL=loud: expected" in text


def test_a_flag_without_its_value_hides_no_other_problem() -> None:
    text = "\n".join(problems_of("--scrape-interval=soon", "--tick", "--listen-addr"))
    assert "--listen-addr" in text
    assert "--scrape-interval=soon: expected" in text
    assert "--tick" in text


def test_a_flag_without_its_value_makes_up_no_problem() -> None:
    problems = problems_of("--scrape-interval=5s", "--listen-addr", SCRAPE_INTERVAL="soon")
    assert not any("SCRAPE_INTERVAL" in problem for problem in problems)


UNKNOWN = {
    "a flag that does not exist": ["--tick=5s"],
    "a flag cut short": ["--listen=:80"],
    "a single dash": ["-x"],
    "a word": ["serve"],
}


@pytest.mark.parametrize("argv", UNKNOWN.values(), ids=UNKNOWN)
def test_an_unknown_argument_is_refused(argv: list[str]) -> None:
    (problem,) = problems_of(*argv)
    # A flag is named without its value, a word by its place: either may be a mistyped secret.
    assert problem.startswith(argv[0].partition("=")[0] if argv[0][0] == "-" else "argument 1")


def test_two_commands_at_once_are_refused() -> None:
    (problem,) = problems_of("--demo", "--healthcheck")
    assert "--demo" in problem and "--healthcheck" in problem


def test_bad_settings_exit_2_before_the_port_is_touched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = {"LISTEN_ADDR": address, "SCRAPE_INTERVAL": "soon", "MAX_STREAMS": "many"}
        ended = run_to_exit("--log-format", "yaml", env=environment)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 3
    assert "SCRAPE_INTERVAL=soon: expected" in ended.stderr
    assert "MAX_STREAMS=many: expected" in ended.stderr
    assert "--log-format=yaml: expected" in ended.stderr
    assert address not in ended.stderr  # nobody tried to listen there


FATAL = {
    "an unknown flag": (["--tick"], {}, "--tick"),
    "a target without http": ([], {"SCRAPE_TARGETS": "zai:80/metrics"}, "zai:80/metrics"),
    "a bad value with --check-config": (["--check-config"], {"LOG_LEVEL": "loud"}, "loud"),
    "a bad value with --healthcheck": (["--healthcheck"], {"LISTEN_ADDR": "80"}, "LISTEN_ADDR"),
    "a bad value with --demo": (["--demo"], {"RATE_WINDOW": "1"}, "RATE_WINDOW=1"),
}


@pytest.mark.parametrize(("argv", "environ", "said"), FATAL.values(), ids=FATAL)
def test_a_mistake_ends_the_process_with_code_2_and_a_sentence(
    argv: list[str], environ: dict[str, str], said: str
) -> None:
    ended = run_to_exit(*argv, env=environ)
    assert ended.returncode == 2
    assert said in ended.stderr and "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_port_in_use_ends_the_process_with_code_2_and_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run_to_exit(env={"LISTEN_ADDR": address})
    assert ended.returncode == 2
    assert address in ended.stderr and "Traceback" not in ended.stderr


# ---- Secrets -------------------------------------------------------------------------------------

BAD_TARGETS_WITH_A_SECRET = {
    "another scheme": "ftp://me:s3cr3t@h/m",
    "the second of two": "http://you:s3cr3t@h/m,ftp://me:s3cr3t@h/m",
    "a good one beside a bad one": "ftp://h/m,http://me:s3cr3t@h/m,http://you:s3cr3t@h/m",
    "one target twice": "http://me:s3cr3t@h/m,http://me:s3cr3t@h/m",
    "a scheme forgotten": "me:s3cr3t@h/m",
    "a slash forgotten": "http:/me:s3cr3t@h/m",
    "a slash in the password": "http://me:s3cr3t/s3cr3t@h/m",
    "a question mark in the password": "http://me:s3cr3t?s3cr3t@h/m",
    "a hash in the password": "http://me:s3cr3t#s3cr3t@h/m",
    "a comma in the password": "http://me:s3cr3t,s3cr3t@h/m",
    "an at sign in the password": "ftp://me:s3cr3t@s3cr3t@h/m",
    "a space in the password": "http://me:s3cr3t s3cr3t@h/m",
    "only a password": "ftp://:s3cr3t@h/m",
    "only a user": "ftp://s3cr3t@h/m",
    "a bad port": "http://me:s3cr3t@h:99999/m",
    "a bad name": "bl ue=http://me:s3cr3t@h/m",
    "discovery": "dns+ftp://me:s3cr3t@h/m",
    "backslashes": "http:\\\\me:s3cr3t@h\\m",
}


@pytest.mark.parametrize("text", BAD_TARGETS_WITH_A_SECRET.values(), ids=BAD_TARGETS_WITH_A_SECRET)
def test_no_problem_shows_a_password(text: str) -> None:
    for problems in (problems_of(SCRAPE_TARGETS=text), problems_of("--scrape-targets", text)):
        assert SECRET not in "\n".join(problems)
        assert "***" in "\n".join(problems)


MISTYPED_FLAGS_WITH_A_SECRET = {
    "a mistyped flag with a URL": ["--scrape-target=http://me:s3cr3t@h/m"],
    "a mistyped flag, then a URL": ["--scrape-target", "http://me:s3cr3t@h/m"],
    "a URL alone": ["http://me:s3cr3t@h/m"],
    "a URL given to a command": ["--demo=http://me:s3cr3t@h/m"],
    "a mistyped flag with a token": ["--auth-tokens=s3cr3t"],
}


@pytest.mark.parametrize(
    "argv", MISTYPED_FLAGS_WITH_A_SECRET.values(), ids=MISTYPED_FLAGS_WITH_A_SECRET
)
def test_a_mistyped_flag_shows_no_password(argv: list[str]) -> None:
    assert SECRET not in "\n".join(problems_of(*argv))


def test_check_config_prints_the_effective_settings_without_secrets() -> None:
    environ = {
        "SCRAPE_TARGETS": "http://me:s3cr3t@h/m,blue=dns+https://you:s3cr3t@h2/m",
        "SCRAPE_INTERVAL": "90s",
        "SCRAPE_TIMEOUT": "10m",
        "RATE_WINDOW": "1m",
        "AUTH_TOKEN": SECRET,
        "LOG_FORMAT": "json",
    }
    ended = run_to_exit("--check-config", "--max-streams=5", env=environ)
    assert ended.returncode == 0, ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
    shown = dict(line.split("=", 1) for line in ended.stdout.splitlines())
    assert shown.keys() == {setting.name for setting in SETTINGS}
    assert shown["SCRAPE_TARGETS"] == "production=http://***@h/m,blue=dns+https://***@h2/m"
    assert shown["AUTH_TOKEN"] == "***"
    assert shown["CORS_ALLOW_ORIGIN"] == ""
    assert shown["MAX_STREAMS"] == "5"
    assert shown["LOG_FORMAT"] == "json"
    for name, seconds in (
        ("SCRAPE_INTERVAL", 90),
        ("SCRAPE_TIMEOUT", 90),  # capped at the tick
        ("RATE_WINDOW", 180),  # two ticks
        ("RETENTION_1M", 604_800),
    ):
        assert load(DOWNSAMPLE_INTERVAL=shown[name]).downsample_interval_s == seconds, name


def test_check_config_opens_neither_port_nor_database(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        database = tmp_path / "new.db"
        ended = run_to_exit(
            "--check-config", env={"LISTEN_ADDR": address, "DB_PATH": str(database)}
        )
    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_running_instance_uses_the_password_and_shows_it_nowhere(httpserver: HTTPServer) -> None:
    basic = base64.b64encode(b"me:s3cr3t").decode()
    scrape = httpserver.expect_request("/metrics", headers={"Authorization": f"Basic {basic}"})
    scrape.respond_with_data("zai_proxy_requests_total 1\n", content_type="text/plain")
    good = f"http://me:{SECRET}@127.0.0.1:{httpserver.port}/metrics"
    dead = f"canary=http://me:{SECRET}@127.0.0.1:{free_port()}/metrics"
    environ = {
        "SCRAPE_TARGETS": f"{good},{dead}",
        "SCRAPE_INTERVAL": "200ms",
        "LOG_LEVEL": "debug",
    }
    with run_zaidash(env=environ) as dash:

        def both_scraped() -> bool:
            return {t["health"] for t in dash.json("/api/targets")} == {"up", "down"}

        eventually(both_scraped, what="one target up, one down")
        paths = ("/api/config", "/api/targets", "/api/status", "/api/metrics", "/metrics", "/")
        shown = {path: dash.get(path).body.decode() for path in paths}
        assert dash.terminate() == 0
        shown["the log"] = dash.stderr()
    for place, text in shown.items():
        assert SECRET not in text and basic not in text, place
    assert "***@127.0.0.1" in shown["/api/config"]
    assert "***@127.0.0.1" in shown["/api/targets"]
    assert "***@127.0.0.1" in shown["the log"]


# ---- Commands that end by themselves -------------------------------------------------------------


def test_version_is_printed_even_where_settings_are_wrong() -> None:
    ended = run_to_exit("--version", env={"LOG_LEVEL": "loud"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split()[-1] == zaidash.__version__


def test_help_names_every_flag_variable_and_command() -> None:
    ended = run_to_exit("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    for setting in SETTINGS:
        assert setting.flag in ended.stdout and setting.name in ended.stdout
    for command in ("--demo", "--check-config", "--healthcheck", "--version"):
        assert command in ended.stdout


def test_help_names_every_default() -> None:
    unwrapped = "".join(run_to_exit("--help").stdout.split())
    for setting in SETTINGS:
        assert setting.default is None or f"default{setting.default}" in unwrapped, setting.name


HEALTHY = {
    "an open instance": {},
    "one that asks for a token": {"AUTH_TOKEN": SECRET},
}


@pytest.mark.parametrize("environ", HEALTHY.values(), ids=HEALTHY)
def test_healthcheck_is_content_with_a_running_instance(environ: dict[str, str]) -> None:
    with run_zaidash(
        env={**environ, "SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/m"}
    ) as dash:
        for address in (f"127.0.0.1:{dash.port}", f"localhost:{dash.port}"):
            ended = run_to_exit("--healthcheck", env={"LISTEN_ADDR": address})
            assert (ended.returncode, ended.stderr) == (0, "")


def test_healthcheck_finds_an_instance_on_all_interfaces() -> None:
    environ = {"LISTEN_ADDR": f":{free_port()}", "SCRAPE_TARGETS": "http://127.0.0.1:9/m"}
    with run_zaidash(env=environ):
        assert run_to_exit("--healthcheck", env=environ).returncode == 0


def test_healthcheck_fails_where_nobody_listens() -> None:
    ended = run_to_exit("--healthcheck", env={"LISTEN_ADDR": f"127.0.0.1:{free_port()}"})
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1 and "Traceback" not in ended.stderr


def test_healthcheck_says_that_it_cannot_know_a_port_that_was_free() -> None:
    ended = run_to_exit("--healthcheck", env={"LISTEN_ADDR": ":0"})
    assert ended.returncode == 1
    assert "LISTEN_ADDR" in ended.stderr and len(ended.stderr.splitlines()) == 1


def test_healthcheck_fails_where_the_answer_is_an_error(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/healthz").respond_with_data("no", status=500)
    ended = run_to_exit("--healthcheck", env={"LISTEN_ADDR": f"127.0.0.1:{httpserver.port}"})
    assert ended.returncode == 1
    assert "500" in ended.stderr


def test_healthcheck_does_not_wait_for_ever_for_an_instance_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts by the backlog, never answers
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        ended = run_to_exit("--healthcheck", env={"LISTEN_ADDR": address}, timeout_s=20)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_healthcheck_fails_with_a_sentence_where_something_else_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(1000)

        greeter = threading.Thread(target=greet, daemon=True)
        greeter.start()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = run_to_exit("--healthcheck", env={"LISTEN_ADDR": address})
        greeter.join(10)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


# ---- The log -------------------------------------------------------------------------------------


def logged(style: str, message: str, *args: object, error: Exception | None = None) -> str:
    """What a handler with zaidash's formatter writes for one event."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(zaidash.LineFormatter(style))
    logger = logging.Logger("zaidash.collector")
    logger.addHandler(handler)
    logger.warning(message, *args, exc_info=error)
    return stream.getvalue()


HOSTILE = {
    "a line break": "a\nERROR forged",
    "a carriage return": "a\rERROR forged",
    "a terminal's colours": "\x1b[31mred\x1b[0m",
    "a null byte": "a\x00b",
    "a Unicode line break": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "text that turns round": "\u202eabc",
    "half a character": "\udc80",
    "quotes and braces": '"}{%s %d {0}\\',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("style", ["text", "json"])
def test_what_a_target_sends_cannot_forge_a_line_of_the_log(style: str, text: str) -> None:
    written = logged(style, "scrape failed: reason=%s", text)
    assert written.endswith("\n")
    assert written[:-1].isprintable()
    assert len(written.splitlines()) == 1


@given(st.text())
@settings(deadline=None)
def test_any_text_stays_one_line_and_json_keeps_it_whole(text: str) -> None:
    assert len(logged("text", "%s", text).splitlines()) == 1
    (line,) = logged("json", "%s", text).splitlines()
    assert json.loads(line)["message"] == text


def an_error() -> Exception:
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        return error


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_traceback_stays_within_its_line(style: str) -> None:
    written = logged(style, "went wrong", error=an_error())
    assert len(written.splitlines()) == 1
    assert "ValueError" in written and "second" in written and "an_error" in written


def test_a_line_of_text_says_when_how_bad_who_and_what() -> None:
    line = logged("text", "target is down: url=%s", "http://h/m")
    moment, rest = line.split(" ", 1)
    assert moment.endswith("Z") and "T" in moment
    assert rest.split() == ["warning", "collector:", "target", "is", "down:", "url=http://h/m"]


def test_a_line_of_json_says_when_how_bad_who_and_what() -> None:
    event = json.loads(logged("json", "target is down: url=%s", "http://h/m"))
    assert event.pop("time").endswith("Z")
    assert event == {
        "level": "warning",
        "component": "collector",
        "message": "target is down: url=http://h/m",
    }


COMPONENTS = {"collector", "storage", "sse", "http"}


def events_of_a_run() -> list[dict[str, str]]:
    """What a short run logs in which the only target is down, JSON by JSON."""
    environ = {
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "debug",
        "SCRAPE_INTERVAL": "200ms",
        "SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/m",
    }
    with run_zaidash(env=environ) as dash:
        eventually(lambda: "collector" in dash.stderr(), what="a scrape that failed")
        dash.get("/no/such/path")
        assert dash.terminate() == 0
        return [json.loads(line) for line in dash.stderr().splitlines()]


def test_every_line_of_a_run_is_json_when_asked_for() -> None:
    events = events_of_a_run()
    assert len(events) >= 2  # it listens, and a target is down
    for event in events:
        assert event.keys() >= {"time", "level", "component", "message"}


def test_every_line_of_a_run_has_one_of_the_four_components() -> None:
    assert {event["component"] for event in events_of_a_run()} <= COMPONENTS


def test_a_quiet_level_says_nothing_about_what_is_well() -> None:
    environ = {"LOG_LEVEL": "error", "SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/m"}
    with run_zaidash(env=environ) as dash:
        assert dash.terminate() == 0
        assert "listening" not in dash.stderr()


def test_port_0_takes_a_free_port_and_the_log_says_which(tmp_path: Path) -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "LISTEN_ADDR": "127.0.0.1:0",
        "DB_PATH": str(tmp_path / "zaidash.db"),
        "SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/m",
    }
    log = tmp_path / "stderr.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, str(SCRIPT)], env=environ, stderr=stderr)
    try:
        url = eventually(
            lambda: re.search(r"listening.*(http://127\.0\.0\.1:[1-9][0-9]*)/", log.read_text()),
            START_TIMEOUT_S,
            "the address in the log",
        )
        assert url is not None
        assert get(url[1] + "/healthz").status == 200
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
