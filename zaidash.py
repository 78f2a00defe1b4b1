#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""zaidash: the dashboard for zai-proxy, in one file that needs nothing but Python.

It scrapes the Prometheus metrics of every zai-proxy replica, turns them into one snapshot per
variant (production, canary, ...) and tick, keeps the snapshots in SQLite at two resolutions,
answers history over REST, pushes live data over SSE, and serves the page that draws it all::

    zai-proxy /metrics          every SCRAPE_INTERVAL, all targets at once
        |  bytes
    Fetch -> ExpositionParser -> TargetState     one per target: increases since its last scrape
                                     |  Reading
                                VariantState     one per variant: replicas merged, quantiles
                                     |  Snapshot
                     +---------------+---------------+
                     v                               v
              Store.put -> metrics_5s          Hub.publish -> the last hour, encoded
                     | every 10 minutes              |           |
                     v                               v           v
               metrics_1m ----> /api/metrics    /api/events   /api/metrics?range=1h

The file reads from top to bottom, pure before impure; each section uses only what stands above it:
errors, settings, logging, the snapshot's field table, the exposition parser, derivation, storage,
history, the collector, the stream hub, HTTP, the demo, and the App that puts the parts together.

Threads (each is a daemon, ends by its owner's ``close()``, and is joined with a timeout):

==============  ===========  ======================================================================
name            owner        what it does and may touch
==============  ===========  ======================================================================
MainThread      main()       starts and stops the App; waits for a signal
collector       Collector    ticks; all derivation state; the only caller of on_snapshot, on_status
scrape          Collector    one per target and tick: fetches and parses, nothing else
discovery       Collector    one per dns+http name: looks it up every 30 s
storage         Store        the only one that writes to the database
streams         Hub          all SSE sockets, in one selector
connections     Server       accepts; holds every connection that waits between two requests
request         Server       one per request under way, at most MAX_REQUESTS
==============  ===========  ======================================================================

So state has one owner, and what crosses threads is an immutable tuple behind a queue or a lock.

Tables: ``metrics_5s`` (a row per snapshot) and ``metrics_1m`` (minute averages), one column per
field of the snapshot; see FIELDS. Endpoints: see ROUTES. Settings: see SETTINGS.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import contextlib
import email.utils
import functools
import hashlib
import hmac
import http.client
import io
import itertools
import json
import logging
import math
import mimetypes
import os
import queue
import random
import re
import signal
import socket
import socketserver
import sqlite3
import ssl
import sys
import tempfile
import threading
import time
import urllib.parse
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any, ClassVar, NamedTuple

__version__ = "0.1.0"

__all__ = [
    "FIELDS",
    "SETTINGS",
    "App",
    "Collector",
    "Config",
    "ConfigError",
    "ExpositionError",
    "ExpositionParser",
    "Hub",
    "RequestError",
    "ScrapeError",
    "Server",
    "Snapshot",
    "StorageError",
    "Store",
    "TargetState",
    "VariantState",
    "ZaidashError",
    "load_config",
    "main",
    "quantile",
]

log = logging.getLogger("zaidash")


# ---- Errors --------------------------------------------------------------------------------------


class ZaidashError(Exception):
    """Root of everything zaidash raises on purpose::

    ZaidashError
     +-- ConfigError          the settings do not make sense; start-up ends with exit code 2
     +-- StorageError         the database cannot be used
     +-- ScrapeError          one scrape of one target failed; its earlier state stays
     |    +-- ExpositionError   ... because a line of it does not parse
     +-- RequestError         an HTTP request gets this status and message as its answer
    """


class ConfigError(ZaidashError):
    """Every problem of the settings at once, one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class StorageError(ZaidashError):
    """The database cannot be used; the message says which file and why."""


class ScrapeError(ZaidashError):
    """A scrape failed; the message is what /api/targets shows as ``last_error``."""


class ExpositionError(ScrapeError):
    """A line of an exposition does not parse. ``line`` counts from 1; 0 means the whole body."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line


class RequestError(ZaidashError):
    """An HTTP request that cannot be answered as asked."""

    def __init__(
        self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


# ---- Settings ------------------------------------------------------------------------------------

_DURATION_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, Greek mu: Go takes both
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
# One way to read any text, and all of it matched before a part is looked for: text from outside
# must not cost more than its length.
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")
_DURATION_MAX_S = 36_500 * 86_400

_VARIANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NAMED_TARGET = re.compile(r"([^=/?#]*)=(.*)", re.DOTALL)
_CREDENTIALS = re.compile(r"//[^/?#]*@")

_SYSTEM_DB_PATH = "/data/dashboard.db"
_LOCAL_DB_PATH = "zaidash.db"


def parse_duration(text: str) -> float:
    """Seconds, from Go's grammar (``300ms``, ``1.5h``, ``2h45m``) plus ``d`` for 24 hours."""
    digits = text.removeprefix("+")
    if digits == "0":
        return 0.0
    if not _DURATION.fullmatch(digits):
        raise ValueError("expected a duration such as 5s, 300ms, 1h30m or 7d")
    parts = _DURATION_PART.findall(digits)
    seconds = float(sum(Decimal(number) * _DURATION_UNITS_NS[unit] for number, unit in parts)) / 1e9
    if seconds > _DURATION_MAX_S:
        raise ValueError("expected a duration of at most 36500d")
    return seconds


def _duration(at_least: str) -> Callable[[str], float]:
    """A parser of durations with a lower bound."""
    least_s = parse_duration(at_least)

    def parse(text: str) -> float:
        seconds = parse_duration(text)
        if seconds < least_s:
            raise ValueError(f"expected a duration of at least {at_least}")
        return seconds

    return parse


def _interval(text: str) -> float:
    """A tick length: whole milliseconds, since ticks lie on multiples of it."""
    seconds = _duration("100ms")(text)
    if round(seconds * 1000) / 1000 != seconds:
        raise ValueError("expected a duration in whole milliseconds")
    return seconds


def _whole(at_least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < at_least:
            raise ValueError(f"expected a whole number of at least {at_least}")
        return int(text)

    return parse


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return text.lower()

    return parse


def _header_value(text: str) -> str:
    if not text:
        raise ValueError("expected some characters; leave it unset to have none")
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("expected printable ASCII characters without a space")
    return text


def _db_path(text: str) -> Path:
    if not text:
        raise ValueError("expected a file")
    try:
        path = Path(text).absolute()
        if path.is_dir():
            raise ValueError("expected a file, this is a directory")
        if path.parent.is_dir():
            return path
    except (
        OSError
    ) as error:  # the working directory is gone, or one on the way is not ours to enter
        raise ValueError(
            f"cannot look there: {error.strerror}; give a file in a directory that exists"
            f" and that this user may enter"
        ) from None
    raise ValueError(f"expected a file in an existing directory, create {path.parent} first")


class Address(NamedTuple):
    """Where to listen. An empty host means all interfaces, IPv4 and IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """``host:port``, ``:port`` or ``[::1]:port``."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/\s]*)):([0-9]{1,5})", text)
    if match is None or int(match[3]) > 65_535:
        raise ValueError("expected host:port, :port or [::1]:port with a port up to 65535")
    return Address(match[1] or match[2] or "", int(match[3]))


def mask_credentials(url: str) -> str:
    """The URL as it may be shown: ``http://user:secret@host/`` becomes ``http://***@host/``."""
    return _CREDENTIALS.sub("//***@", url, count=1)


def _mask_all(text: str) -> str:
    """Text that failed to parse as it may be shown: who knows where in it a secret begins."""
    return "***@" + text.rpartition("@")[2] if "@" in text else text


class TargetSpec(NamedTuple):
    """One entry of SCRAPE_TARGETS. With ``discover``, the URL's host stands for many addresses."""

    variant: str
    url: str
    discover: bool = False

    def __str__(self) -> str:
        return mask_credentials(("dns+" if self.discover else "") + self.url)


def parse_target(text: str) -> TargetSpec:
    """``[variant=]url``; without a name, ``canary`` where the URL contains test or canary."""
    variant, url = "", text
    if named := _NAMED_TARGET.fullmatch(text):
        variant, url = named.groups()
        if not _VARIANT.fullmatch(variant) or variant == "all":
            raise ValueError(f"{variant!r} cannot name a variant, expected letters, digits, _ . -")
    discover = url.startswith("dns+")
    url = url.removeprefix("dns+")
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port out of range, brackets that do not match
        usable = False
    if not usable or re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError(
            "expected [variant=]url with http://, https://, dns+http:// or dns+https:// and a host"
        )
    if not variant:
        address = mask_credentials(url).lower()
        variant = "canary" if "test" in address or "canary" in address else "production"
    return TargetSpec(variant, url, discover)


def parse_targets(text: str) -> tuple[TargetSpec, ...]:
    """A comma-separated list of ``[variant=]url``, none of them twice."""
    specs: list[TargetSpec] = []
    problems: list[str] = []
    for number, entry in enumerate(text.split(","), 1):
        # A password may hold a comma, so with one in the list no entry is safe to show.
        name = f"entry {number}" + ("" if "@" in text else f" {entry.strip()!r}")
        try:
            spec = parse_target(entry.strip())
        except ValueError as error:
            problems.append(f"{name}: {error}")
            continue
        if str(spec) in [str(other) for other in specs if other.variant == spec.variant]:
            problems.append(f"{name} is listed twice, its numbers would count double")
        specs.append(spec)
    if problems:
        raise ValueError("; ".join(problems))
    return tuple(specs)


class Setting(NamedTuple):
    """A row of SETTINGS: the environment variable, the Config attribute, and how to read it."""

    name: str
    attribute: str
    default: str | None
    parse: Callable[[str], Any]
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


SETTINGS = (
    Setting(
        "LISTEN_ADDR",
        "listen",
        ":8080",
        parse_address,
        "host:port, :port (all interfaces) or [::1]:port; port 0 takes a free one",
    ),
    Setting(
        "SCRAPE_TARGETS",
        "targets",
        "http://zai-proxy.mcp.svc.cluster.local:8080/metrics",
        parse_targets,
        "comma-separated list of [variant=]url; dns+http:// scrapes every address of the name",
    ),
    Setting("SCRAPE_INTERVAL", "interval_s", "5s", _interval, "tick length"),
    Setting(
        "SCRAPE_TIMEOUT",
        "timeout_s",
        "3s",
        _duration("1ms"),
        "deadline of a whole scrape, connect to last byte; capped at the interval",
    ),
    Setting(
        "DB_PATH",
        "db_path",
        _SYSTEM_DB_PATH,
        _db_path,
        "SQLite file; without a writable /data, zaidash.db in the working directory",
    ),
    Setting("RETENTION_5S", "retention_5s_s", "24h", _duration("1m"), "how long snapshots stay"),
    Setting("RETENTION_1M", "retention_1m_s", "168h", _duration("1m"), "how long minutes stay"),
    Setting(
        "DOWNSAMPLE_INTERVAL",
        "downsample_interval_s",
        "10m",
        _duration("1s"),
        "how often minutes are averaged and expired rows deleted",
    ),
    Setting(
        "RATE_WINDOW",
        "window_s",
        "1m",
        _duration("100ms"),
        "window of percentiles, error rate and average sizes; at least 2 ticks",
    ),
    Setting(
        "SCRAPE_MAX_BYTES",
        "max_body_bytes",
        "16777216",
        _whole(1),
        "largest exposition accepted, after decompression",
    ),
    Setting(
        "SCRAPE_MAX_SERIES",
        "max_series",
        "20000",
        _whole(1),
        "most series a target may export in the families zaidash reads",
    ),
    Setting("MAX_STREAMS", "max_streams", "10000", _whole(0), "open SSE streams; past it 503"),
    Setting(
        "MAX_REQUESTS", "max_requests", "64", _whole(1), "requests served at once; past it 503"
    ),
    Setting(
        "AUTH_TOKEN",
        "auth_token",
        None,
        _header_value,
        "when set, asked for as Bearer token or Basic password, except by the health checks",
    ),
    Setting(
        "CORS_ALLOW_ORIGIN",
        "cors_allow_origin",
        None,
        _header_value,
        "when set, sent as Access-Control-Allow-Origin; unset means same origin only",
    ),
    Setting(
        "LOG_LEVEL",
        "log_level",
        "info",
        _one_of("debug", "info", "warning", "error"),
        "debug, info, warning or error",
    ),
    Setting("LOG_FORMAT", "log_format", "text", _one_of("text", "json"), "text or json"),
)


@dataclass(frozen=True)
class Config:
    """The settings after checking. Durations are seconds; see SETTINGS for the meanings."""

    listen: Address
    targets: tuple[TargetSpec, ...]
    interval_s: float
    timeout_s: float
    db_path: Path
    retention_5s_s: float
    retention_1m_s: float
    downsample_interval_s: float
    window_s: float
    max_body_bytes: int
    max_series: int
    max_streams: int
    max_requests: int
    auth_token: str | None
    cors_allow_origin: str | None
    log_level: str
    log_format: str

    @property
    def variants(self) -> tuple[str, ...]:
        """The configured variants in the order they are first named."""
        return tuple(dict.fromkeys(spec.variant for spec in self.targets))

    def lines(self) -> Iterator[str]:
        """The effective settings, ``NAME=value`` a line, secrets masked."""
        for setting in SETTINGS:
            value = getattr(self, setting.attribute)
            if setting.name == "AUTH_TOKEN" and value is not None:
                value = "***"
            elif setting.name == "SCRAPE_TARGETS":
                value = ",".join(f"{spec.variant}={spec}" for spec in value)
            elif isinstance(value, float):
                value = format_duration(value)
            yield f"{setting.name}={'' if value is None else value}"


def format_duration(seconds: float) -> str:
    """``90.0`` as ``1m30s``: what parse_duration reads back."""
    text = ""
    left_ms = round(seconds * 1000)
    for unit, size_ms in (("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)):
        count, left_ms = divmod(left_ms, size_ms)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


COMMANDS = {
    "demo": "run against two simulated proxies with a week of history in a temporary database",
    "check-config": "print the effective settings and exit",
    "healthcheck": "ask the running instance's /healthz; exit 0 when it answers, 1 when not",
    "version": "print the version and exit",
    "help": "print this and exit",
}


def help_text() -> str:
    """What ``--help`` prints: every command, and every setting with its variable and default."""
    lines = [
        "usage: zaidash [--COMMAND] [--SETTING VALUE ...]",
        "",
        "The dashboard for zai-proxy. Every setting is an environment variable too; the flag wins.",
        "",
        *(f"  --{command:<14} {text}" for command, text in COMMANDS.items()),
        "",
    ]
    for setting in SETTINGS:
        default = "" if setting.default is None else f", default {setting.default}"
        lines += [f"  {setting.flag} VALUE", f"      {setting.help} ({setting.name}{default})"]
    return "\n".join(lines)


class _Flags(NamedTuple):
    """A command line taken apart. A flag whose value is missing has None."""

    values: dict[str, str | None]
    commands: list[str]
    problems: list[str]


def _read_flags(argv: Sequence[str]) -> _Flags:
    """``--name value`` and ``--name=value``.

    argparse would stop at the first problem, and repeat a mistyped secret in its message.
    """
    flags = _Flags({}, [], [])
    known = {setting.flag for setting in SETTINGS}
    words = deque(argv)
    while words:
        flag, equals, value = words.popleft().partition("=")
        if flag in known:
            if not equals and (not words or words[0].startswith("--")):
                flags.problems.append(f"{flag}: expected a value")
                flags.values[flag] = None
            else:
                flags.values[flag] = value if equals else words.popleft()
        elif flag.startswith("--") and flag[2:] in COMMANDS and not equals:
            flags.commands.append(flag[2:])
        elif flag.startswith("-"):
            flags.problems.append(f"{_mask_all(flag)}: unknown flag, see --help")
        else:
            position = len(argv) - len(words)
            flags.problems.append(f"argument {position}: expected a flag, see --help")
    return flags


def load_config(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[Config, str | None]:
    """The settings and the command (a key of COMMANDS, or None to serve).

    A flag wins over its environment variable. Raises ConfigError with every problem at once.
    """
    flags, commands, problems = _read_flags(argv)
    if len(set(commands)) > 1:
        problems.append("--" + " --".join(commands) + ": give one of them at a time")
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        name, text = setting.name, environ.get(setting.name)
        if setting.flag in flags:
            name, text = setting.flag, flags[setting.flag]
        elif text is None:
            text = _default(setting, demo="demo" in commands)
        try:
            values[setting.attribute] = None if text is None else setting.parse(text)
        except ValueError as error:
            problems.append(f"{name}={_masked(setting, str(text))}: {error}")
    if problems:
        raise ConfigError(problems)
    values["timeout_s"] = min(values["timeout_s"], values["interval_s"])
    values["window_s"] = max(values["window_s"], 2 * values["interval_s"])
    return Config(**values), commands[0] if commands else None


def _masked(setting: Setting, text: str) -> str:
    """A value that failed to parse as it may be shown."""
    if setting.name == "AUTH_TOKEN":
        return "***"
    return _mask_all(text) if setting.name == "SCRAPE_TARGETS" else text


def _default(setting: Setting, demo: bool) -> str | None:
    if setting.name == "SCRAPE_INTERVAL" and demo:
        return "1s"
    if setting.name == "DB_PATH":
        data = os.path.dirname(_SYSTEM_DB_PATH)
        is_writable = os.path.isdir(data) and os.access(data, os.W_OK | os.X_OK)
        return _SYSTEM_DB_PATH if is_writable else _LOCAL_DB_PATH
    return setting.default


# ---- Logging -------------------------------------------------------------------------------------


class LineFormatter(logging.Formatter):
    """One line per event, as text or as a JSON object; a traceback is folded into its line."""

    def __init__(self, style: str) -> None:
        super().__init__()
        self._as_json = style == "json"

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": format_time(round(record.created * 1000), milliseconds=True),
            "level": record.levelname.lower(),
            "component": record.name.rpartition(".")[2],
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(event)
        line = "{time} {level:<7} {component}: {message}".format_map(event)
        if record.exc_info:
            line += f" exception={event['exception']!r}"
        return _printable(line)


def _printable(text: str) -> str:
    """Text on one line: what others sent may be part of it, and must not begin another."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def set_up_logging(config: Config) -> None:
    """Send the events of all components to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(config.log_format))
    log.handlers[:] = [handler]
    log.setLevel(config.log_level.upper())
    log.propagate = False


def format_time(ts_ms: int, milliseconds: bool | None = None) -> str:
    """Milliseconds since the epoch as RFC 3339 in UTC; a fraction only where there is one."""
    if milliseconds is None:
        milliseconds = ts_ms % 1000 != 0
    text = datetime.fromtimestamp(ts_ms / 1000, UTC).isoformat(
        timespec="milliseconds" if milliseconds else "seconds"
    )
    return text.replace("+00:00", "Z")


# ---- The snapshot --------------------------------------------------------------------------------

#: A field's value: None where there is nothing to say, a dict for the two JSON fields.
Value = int | float | dict[str, Any] | None


class Field(NamedTuple):
    """A row of FIELDS, from which the columns, statements, JSON, CSV and documentation follow.

    sql_type    INTEGER, REAL, or TEXT (JSON)
    average     how rows become one, of _AVERAGES; nulls are left out
    derive      the value, asked of one variant's merged scrapes
    """

    name: str
    unit: str
    sql_type: str
    average: str
    derive: Callable[[Merged], Value]


FIELDS = (
    Field("elapsed_s", "s", "REAL", "SUM", lambda m: m.elapsed_s),
    Field("requests_2xx", "requests", "INTEGER", "AVG", lambda m: m.requests("2")),
    Field("requests_4xx", "requests", "INTEGER", "AVG", lambda m: m.requests("4")),
    Field("requests_5xx", "requests", "INTEGER", "AVG", lambda m: m.requests("5")),
    Field("tokens_input", "tokens", "INTEGER", "AVG", lambda m: m.total("tokens", "input")),
    Field("tokens_output", "tokens", "INTEGER", "AVG", lambda m: m.total("tokens", "output")),
    Field("tokens_cache_read", "tokens", "INTEGER", "AVG",
          lambda m: m.total("tokens", "cache_read")),
    Field("tokens_cache_write", "tokens", "INTEGER", "AVG",
          lambda m: m.total("tokens", "cache_write")),
    Field("rate_limit_rejections", "events", "INTEGER", "AVG", lambda m: m.total("rejections")),
    Field("rate_limit_adj_increase", "events", "INTEGER", "AVG",
          lambda m: m.total("adjustments", "increase")),
    Field("rate_limit_adj_decrease", "events", "INTEGER", "AVG",
          lambda m: m.total("adjustments", "decrease")),
    Field("upstream_errors", "events", "INTEGER", "AVG", lambda m: m.total("upstream_errors")),
    Field("retry_attempts", "events", "INTEGER", "AVG", lambda m: m.total("retries")),
    Field("concurrent_requests", "requests", "INTEGER", "AVG", lambda m: m.gauge("concurrent")),
    Field("max_workers", "workers", "INTEGER", "AVG", lambda m: m.gauge("workers")),
    Field("worker_utilization", "0-1", "REAL", "AVG", lambda m: m.utilization()),
    Field("rate_limit_rps", "req/s", "REAL", "AVG", lambda m: m.gauge("rate_limit")),
    Field("req_rate", "req/s", "REAL", "RATE", lambda m: m.rate("requests")),
    Field("token_rate_in", "tokens/s", "REAL", "RATE", lambda m: m.rate("tokens", "input")),
    Field("token_rate_out", "tokens/s", "REAL", "RATE", lambda m: m.rate("tokens", "output")),
    Field("token_rate_cache_read", "tokens/s", "REAL", "RATE",
          lambda m: m.rate("tokens", "cache_read")),
    Field("token_rate_cache_write", "tokens/s", "REAL", "RATE",
          lambda m: m.rate("tokens", "cache_write")),
    # What a chart needs of the totals above: those of a minute are averages, so a restart within it
    # or a replica that goes cannot be told from them any more.
    Field("rate_limit_rejection_rate", "events/s", "REAL", "RATE", lambda m: m.rate("rejections")),
    Field("rate_limit_adj_increase_rate", "events/s", "REAL", "RATE",
          lambda m: m.rate("adjustments", "increase")),
    Field("rate_limit_adj_decrease_rate", "events/s", "REAL", "RATE",
          lambda m: m.rate("adjustments", "decrease")),
    Field("upstream_error_rate", "events/s", "REAL", "RATE", lambda m: m.rate("upstream_errors")),
    Field("retry_rate", "events/s", "REAL", "RATE", lambda m: m.rate("retries")),
    Field("status_code_rates", "req/s by code", "TEXT", "RATE_BY_KEY",
          lambda m: m.rates_by_key("requests")),
    Field("error_rate_pct", "%", "REAL", "AVG", lambda m: m.error_rate_pct()),
    Field("latency_p50", "ms", "REAL", "AVG", lambda m: m.latency_ms(0.50)),
    Field("latency_p95", "ms", "REAL", "AVG", lambda m: m.latency_ms(0.95)),
    Field("latency_p99", "ms", "REAL", "AVG", lambda m: m.latency_ms(0.99)),
    Field("request_size_avg", "bytes", "REAL", "AVG", lambda m: m.average("request_size")),
    Field("response_size_avg", "bytes", "REAL", "AVG", lambda m: m.average("response_size")),
    Field("latency_buckets", "requests by le", "TEXT", "SUM_BY_KEY", lambda m: m.latency_buckets()),
)  # fmt: skip

FIELD_INDEX = {field.name: index for index, field in enumerate(FIELDS)}

#: Larger numbers are taken for nonsense: products of two, added up, would overflow into Infinity.
_LARGEST = 1e150


def tidy(value: float, whole: bool) -> int | float | None:
    """A number as it is stored and shown: never NaN or Infinity, 12 significant digits.

    SQLite prints 15 digits and Python up to 17; with 12, a snapshot reads the same from memory,
    from the stream and from disk. Whole numbers stay exact.
    """
    if not abs(value) <= _LARGEST:
        return None
    if whole and abs(value) < 2**63 and value == math.floor(value):
        return int(value)
    return float(f"{value:.12g}")


def _tidy_value(field: Field, value: Value) -> Value:
    if value is None:
        return None
    if isinstance(value, dict):
        whole = field.average == "SUM_BY_KEY"
        return {key: tidy(number, whole) or 0 for key, number in value.items()}
    return tidy(value, whole=field.sql_type == "INTEGER")


class Snapshot(NamedTuple):
    """What one variant did at one tick; ``values`` follow FIELDS."""

    ts_ms: int
    variant: str
    values: tuple[Value, ...]

    @classmethod
    def build(cls, ts_ms: int, variant: str, values: Iterable[Value]) -> Snapshot:
        return cls(ts_ms, variant, tuple(map(_tidy_value, FIELDS, values)))

    @property
    def encoded(self) -> bytes:
        """The snapshot as one flat JSON object."""
        named = zip(FIELD_INDEX, self.values, strict=True)
        return _encode({"timestamp": self.ts_ms, "variant": self.variant, **dict(named)})

    @classmethod
    def decode(cls, encoded: bytes) -> Snapshot:
        """The snapshot that ``encoded`` shows."""
        named = json.loads(encoded)
        return cls(named["timestamp"], named["variant"], tuple(map(named.get, FIELD_INDEX)))

    def get(self, name: str) -> Value:
        return self.values[FIELD_INDEX[name]]

    def row(self) -> tuple[Any, ...]:
        """The database row: variant, ts, then one value per field, objects as JSON text."""
        values = (_encode(v).decode() if isinstance(v, dict) else v for v in self.values)
        return (self.variant, self.ts_ms, *values)


_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_quoted = json.encoder.encode_basestring_ascii


def _encode(value: Any) -> bytes:
    return _encoder.encode(value).encode()


# ---- Exposition ----------------------------------------------------------------------------------

#: What a series feeds: a measure and a key within it, such as ("requests", "200").
Slot = tuple[str, str]


class Series(NamedTuple):
    """One series of a target. ``key`` is its name and sorted labels, the same in any text order."""

    key: bytes
    slot: Slot


Sample = tuple[Series, float]

_NEW = Series(b"", ("", "new"))  # no series at all: what a look-up finds of an unknown text
_UNWANTED = Series(b"", ("", "unwanted"))  # one that nobody asks for

# Possessive quantifiers throughout: a hostile line costs no more than its length.
_LINE = re.compile(
    rb"""
    [ \t]*+
    (?P<series>
        (?P<name> [a-zA-Z_:][a-zA-Z0-9_:]*+ )
        (?:
            [ \t]*+ \{ [ \t]*+
            (?P<labels> (?:
                [a-zA-Z_][a-zA-Z0-9_]*+ [ \t]*+ = [ \t]*+ "[^"\\]*+ (?: \\. [^"\\]*+ )*+ "
                [ \t]*+ (?: , [ \t]*+ | (?=\}) )
            )*+ )
            \}
            | (?=[ \t])
        )
    )
    [ \t]*+ (?P<value> [^ \t\r\#]++ )
    (?: [ \t]++ (?P<time> [^ \t\r\#]++ ) )?
    [ \t]*+ (?: \#.*+ )? \r?
    """,
    re.VERBOSE,
)
_LABEL = re.compile(rb'([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"([^"\\]*+(?:\\.[^"\\]*+)*+)"')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"\\": b"\\", b'"': b'"'}


class ExpositionParser:
    """Prometheus text format 0.0.4 (and what OpenMetrics adds to it) into samples.

    ``resolve(name, labels)`` says what a series feeds, or None where nobody asks for it; it is
    asked once per series. The text in front of the value is remembered, so a series seen before
    costs a dictionary look-up and a ``float()``. Only families whose name starts with one of
    ``prefixes`` are looked at; other lines must be well formed and cost one regular expression.

    Format: https://prometheus.io/docs/instrumenting/exposition_formats/
    """

    #: How often a parse looks up: whether it is still wanted, and whether there is too much.
    LINES_BETWEEN_CHECKS = 4_096
    #: No other thread runs while an expression goes over a line, so no line takes seconds.
    MAX_LINE_BYTES = 262_144

    def __init__(
        self,
        resolve: Callable[[str, dict[str, str]], Slot | None],
        prefixes: tuple[bytes, ...] = (b"",),
        max_series: int = 20_000,
    ) -> None:
        self._resolve = resolve
        self._prefixes = prefixes
        self._max_series = max_series
        self._known: dict[bytes, Series] = {}
        self._used = 0  # series in the last good scrape, the unwanted ones too

    def parse(self, body: bytes, is_abandoned: Callable[[], bool] = lambda: False) -> list[Sample]:
        """All samples of a body that somebody asks for. Raises ExpositionError.

        ``is_abandoned`` is asked now and then whether the answer is still wanted.
        """
        try:
            samples = self._parse_lines(body, is_abandoned)
            if len({series.key for series, _ in samples}) != len(samples):
                raise _find_twin(samples)
            return samples
        finally:
            self._forget()

    def _parse_lines(self, body: bytes, is_abandoned: Callable[[], bool]) -> list[Sample]:
        samples: list[Sample] = []
        known, add, unwanted = self._known.get, samples.append, 0
        for number, line in enumerate(io.BytesIO(body), 1):  # a list of lines might be huge
            if number % self.LINES_BETWEEN_CHECKS == 0:
                if is_abandoned():
                    raise ExpositionError("gave up, the deadline has passed", number)
                self._check_count(samples, number)
            text, _, value = line.rpartition(b" ")
            series = known(text, _NEW)
            if series is not _NEW and b"_" not in value:
                # float() takes 1_000 for a number, Prometheus does not: such a line goes below.
                try:  # contextlib.suppress would double the time of a line
                    sample = (series, float(value))
                    if series is _UNWANTED:
                        unwanted += 1
                    else:
                        add(sample)
                    continue
                except ValueError:
                    pass
            if line == b"\n" or line.startswith(b"#"):
                continue
            if len(line) > self.MAX_LINE_BYTES:
                raise ExpositionError(f"longer than {self.MAX_LINE_BYTES} bytes", number)
            parsed = self._parse_line(line.removesuffix(b"\n"), number)
            if parsed is not None and parsed[0] is _UNWANTED:
                unwanted += 1
            elif parsed is not None:
                add(parsed)
                self._check_count(samples, number)
        self._check_count(samples, 0)
        self._used = len(samples) + unwanted
        return samples

    def _check_count(self, samples: Sequence[Sample], number: int) -> None:
        if len(samples) > self._max_series:
            raise ExpositionError(
                f"more than {self._max_series} series; raise SCRAPE_MAX_SERIES"
                " or find the label that has too many values", number)  # fmt: skip

    def _forget(self) -> None:
        """Keep the memory in step with what the target exports: past twice that, start over."""
        if len(self._known) > 2 * self._used + 100:
            self._known.clear()

    def _parse_line(self, line: bytes, number: int) -> Sample | None:
        """A line whose series is new, or that is written in another way than usual."""
        if line.lstrip(b" \t\r")[:1] in (b"", b"#"):
            return None
        match = _LINE.fullmatch(line)
        if match is None:
            raise ExpositionError(f"expected 'name{{labels}} value', got {_clip(line)}", number)
        value = _parse_value(match["value"], "value", number)
        if match["time"] is not None:
            _parse_value(match["time"], "timestamp", number)
        text, name = match["series"], match["name"]
        if not name.startswith(self._prefixes):
            return None
        series = self._known.get(text)
        if series is None:
            labels = _parse_labels(match["labels"] or b"", number)
            slot = self._resolve(name.decode(), labels)
            key = json.dumps([name.decode(), *sorted(labels.items())]).encode()
            series = _UNWANTED if slot is None else Series(key, slot)
            self._known[text] = series
        return (series, value)


def _parse_value(text: bytes, what: str, number: int) -> float:
    try:
        if b"_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise ExpositionError(f"{_clip(text)} is no {what}", number) from None


def _parse_labels(text: bytes, number: int) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name, value in _LABEL.findall(text):
        if name.decode() in labels:
            raise ExpositionError(f"label {name.decode()} is given twice", number)
        labels[name.decode()] = _unescape(value, number)
    return labels


def _unescape(text: bytes, number: int) -> str:
    def character(match: re.Match[bytes]) -> bytes:
        if match[1] not in _ESCAPES:
            raise ExpositionError(f"unknown escape {_clip(match[0])} in a label value", number)
        return _ESCAPES[match[1]]

    try:
        return _ESCAPE.sub(character, text).decode() if b"\\" in text else text.decode()
    except UnicodeDecodeError:
        raise ExpositionError(f"{_clip(text)} is not UTF-8", number) from None


def _find_twin(samples: Sequence[Sample]) -> ExpositionError:
    seen: set[bytes] = set()
    for series, _ in samples:
        if series.key in seen:
            return ExpositionError(f"the series {_clip(series.key)} is there twice")
        seen.add(series.key)
    return ExpositionError("a series is there twice")


def _clip(text: bytes, most: int = 80) -> str:
    """Bytes from outside as they may stand in a message: quoted, escaped and short."""
    shown = text[:most].decode("utf-8", "backslashreplace")
    return repr(shown) + ("..." if len(text) > most else "")


# ---- Derivation ----------------------------------------------------------------------------------


class Source(NamedTuple):
    """What the samples of one name feed: a measure, and the label that tells its keys apart."""

    measure: str
    label: str | None = None


SOURCES: Mapping[str, Source] = {
    "zai_proxy_requests_total": Source("requests", "status_code"),
    "zai_proxy_tokens_total": Source("tokens", "direction"),
    "zai_proxy_request_duration_seconds_bucket": Source("latency", "le"),
    "zai_proxy_request_size_bytes_sum": Source("request_size_sum"),
    "zai_proxy_request_size_bytes_count": Source("request_size_count"),
    "zai_proxy_response_size_bytes_sum": Source("response_size_sum"),
    "zai_proxy_response_size_bytes_count": Source("response_size_count"),
    "zai_proxy_rate_limit_rejections_total": Source("rejections"),
    "zai_proxy_rate_limit_adjustments_total": Source("adjustments", "direction"),
    "zai_proxy_upstream_errors_total": Source("upstream_errors"),
    "zai_proxy_retry_attempts_total": Source("retries"),
    "zai_proxy_concurrent_requests": Source("concurrent"),
    "zai_proxy_max_workers": Source("workers"),
    "zai_proxy_worker_utilization_ratio": Source("utilization"),
    "zai_proxy_rate_limit_requests_per_second": Source("rate_limit"),
    "process_start_time_seconds": Source("start_time"),
}
_DIRECTIONS = {"input", "output", "cache_read", "cache_write", "increase", "decrease"}
#: Measures that are levels, not counts: summed as they are, with no increase.
GAUGES = frozenset({"concurrent", "workers", "utilization", "rate_limit", "start_time"})
_PREFIXES = (b"zai_proxy_", b"process_start_time_seconds")


def resolve_series(name: str, labels: Mapping[str, str]) -> Slot | None:
    """The slot a series of zai-proxy feeds, or None where zaidash does not read it."""
    source = SOURCES.get(name)
    if source is None:
        return None
    key = labels.get(source.label, "") if source.label else ""
    if source.measure == "latency":
        bound = parse_bound(key)
        return None if bound is None else ("latency", format_bound(bound))
    if source.measure == "requests" and not re.fullmatch(r"[0-9]{3}", key):
        # One name for all of a class: a target must not be able to invent keys without end.
        key = f"{key[0]}xx" if key[:1] in ("1", "2", "3", "4", "5") else "other"
    elif source.label == "direction" and key not in _DIRECTIONS:
        key = "other"
    return (source.measure, key)


def parse_bound(text: str) -> float | None:
    """A bucket's upper bound; None for what is no number."""
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound


def format_bound(bound: float) -> str:
    """A bucket's upper bound as Go's clients print it: ``1``, ``0.5``, ``+Inf``."""
    return "+Inf" if bound == math.inf else repr(bound).removesuffix(".0")


class Reading(NamedTuple):
    """What one scrape of one target says.

    at_s        when its answer began, on a monotonic clock
    elapsed_s   seconds the increases cover; None on a target's first scrape, which has none
    totals      counters and gauges by slot, summed over the label sets
    increases   how much each counter grew, by slot
    """

    at_s: float
    elapsed_s: float | None
    totals: Mapping[Slot, float]
    increases: Mapping[Slot, float]


class _Process:
    """The counters of one process of a target, as they stood when it was last seen."""

    __slots__ = ("gone", "last", "seen_s")

    def __init__(self, seen_s: float | None) -> None:
        self.last: dict[bytes, float] = {}
        self.gone: dict[bytes, tuple[float, float]] = {}  # key -> (value, when it vanished)
        self.seen_s = seen_s

    def increase(self, key: bytes, value: float) -> float:
        """How much a counter grew since it was last seen; from 0 where it is new or fell."""
        previous = self.last.pop(key, None)
        if previous is None:
            previous = self.gone.pop(key, (0.0, 0.0))[0]
        return value - previous if value >= previous else value

    def remember(self, current: dict[bytes, float], now_s: float, most_gone: int) -> None:
        """Take ``current`` for the last values; what is in it no more counts as gone from now."""
        for key, value in self.last.items():
            self.gone[key] = (value, now_s)
        for key, (_, gone_s) in list(self.gone.items()):  # the longest gone come first
            if now_s - gone_s <= TargetState.FORGET_AFTER_S and len(self.gone) <= most_gone:
                break
            del self.gone[key]
        self.last, self.seen_s = current, now_s


class TargetState:
    """Turns the samples of one target's scrapes into increases, exactly and per series.

    A counter that fell, or a process start time that moved on, is a restart: the count begins at 0.
    A start time that goes *back* is no restart but another process answering, as behind a load
    balancer; each process then keeps counters of its own, and ``is_balanced`` says so.
    """

    #: Seconds after which a series, or a process, that is not seen any more is forgotten.
    FORGET_AFTER_S = 300.0
    #: Processes remembered per target; a restart loop must not collect more.
    MAX_PROCESSES = 16
    #: Distinct bucket bounds accepted; they end up in every snapshot.
    MAX_BOUNDS = 200

    def __init__(self, max_series: int = 20_000) -> None:
        self._max_series = max_series
        self._processes: dict[float | None, _Process] = {}
        self._start: float | None = None
        self._balanced_s = -math.inf
        self._had_proxy_series = False
        self.has_proxy_series = False

    def is_balanced(self, now_s: float) -> bool:
        """Whether several processes answered in turn within the last five minutes."""
        return now_s - self._balanced_s < self.FORGET_AFTER_S

    def read(self, samples: Sequence[Sample], now_s: float) -> Reading:
        """Derive a scrape. Raises ScrapeError, and then remembers nothing of it."""
        start = _start_time(samples)
        self._check(samples, start)
        process = self._process(start, now_s)
        elapsed_s = None if process.seen_s is None else now_s - process.seen_s
        totals: dict[Slot, float] = defaultdict(float)
        increases: dict[Slot, float] = defaultdict(float)
        current: dict[bytes, float] = {}
        for (key, slot), value in samples:
            if slot[0] in GAUGES:
                if value == value:  # a NaN gauge counts as absent
                    totals[slot] += value
            elif 0 <= value < math.inf:  # and so does a counter that is no count
                totals[slot] += value
                increases[slot] += process.increase(key, value)
                current[key] = value
        process.remember(current, now_s, self._max_series)
        if elapsed_s is None or elapsed_s <= 0:
            return Reading(now_s, None, totals, {})
        return Reading(now_s, elapsed_s, totals, increases)

    def _check(self, samples: Sequence[Sample], start: float | None) -> None:
        proxy_series = sum(1 for series, _ in samples if series.slot[0] != "start_time")
        same_process = start is None or start == self._start or self._start is None
        if not proxy_series and self._had_proxy_series and same_process:
            raise ScrapeError("answered without any zai_proxy_ series, though it had some before")
        bounds = len({series.slot for series, _ in samples if series.slot[0] == "latency"})
        if bounds > self.MAX_BOUNDS:
            raise ScrapeError(f"{bounds} latency buckets, at most {self.MAX_BOUNDS} are read")
        self.has_proxy_series = proxy_series > 0
        # Another process has had none yet, and may go on like that until it has something to tell.
        self._had_proxy_series = self.has_proxy_series or (same_process and self._had_proxy_series)

    def _process(self, start: float | None, now_s: float) -> _Process:
        """The state of the process that answered, which is the current one from now on."""
        previous = self._processes.get(self._start)
        if start is not None and self._start is not None and start < self._start:
            self._balanced_s = now_s
        if start is None or (self._start is None and previous is not None):
            # It says nothing, or says so for the first time: take it for the one before.
            start = self._start if start is None else start
            process = previous or _Process(None)
            self._processes.pop(self._start, None)
        elif start in self._processes:
            process = self._processes.pop(start)
        elif self.is_balanced(now_s):
            process = _Process(None)  # another one of many: no restart, but a first scrape
        else:  # a restart: everything in it has happened since the scrape before
            process = _Process(previous.seen_s if previous else None)
        self._start = start
        self._processes[start] = process
        self._forget_processes(now_s)
        return process

    def _forget_processes(self, now_s: float) -> None:
        for start, process in list(self._processes.items()):  # the longest unseen come first
            is_old = process.seen_s is not None and now_s - process.seen_s > self.FORGET_AFTER_S
            is_surplus = len(self._processes) > self.MAX_PROCESSES
            if start != self._start and (is_old or is_surplus):
                del self._processes[start]


def _start_time(samples: Sequence[Sample]) -> float | None:
    for series, value in samples:
        if series.slot[0] == "start_time" and math.isfinite(value):
            return value
    return None


class Merged:
    """One variant at one tick: the readings of its targets, asked by FIELDS.

    ``elapsed_s`` is None where no increase is known. ``window`` has the increases of RATE_WINDOW by
    slot, or is None where there are none yet.
    """

    def __init__(
        self,
        readings: Sequence[Reading],
        elapsed_s: float | None,
        window: Mapping[Slot, float] | None,
    ) -> None:
        self.elapsed_s: float | None = elapsed_s
        self._readings = readings
        self._totals = _merge(reading.totals for reading in readings)
        self._increases = _merge(reading.increases for reading in readings)
        self._window = None if window is None else _merge([window])
        self._durations = _cumulative(self._window or {})

    def total(self, measure: str, key: str = "") -> float:
        return self._totals.get(measure, {}).get(key, 0.0)

    def requests(self, first_digit: str) -> float:
        """The requests answered with a status code of one class."""
        codes = self._totals.get("requests", {})
        return sum(count for code, count in codes.items() if code[0] == first_digit)

    def gauge(self, measure: str) -> float | None:
        return self._totals.get(measure, {}).get("")

    def utilization(self) -> float | None:
        """The exported ratio; over replicas weighted by ``max_workers`` where all export it."""
        with_ratio = [r.totals for r in self._readings if ("utilization", "") in r.totals]
        if not with_ratio:
            return None
        ratios = [totals[("utilization", "")] for totals in with_ratio]
        weights = [totals.get(("workers", ""), -1.0) for totals in with_ratio]
        if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
            weights = [1.0] * len(ratios)
        return sum(map(float.__mul__, ratios, weights)) / sum(weights)

    def rate(self, measure: str, key: str | None = None) -> float | None:
        """All that was counted since the snapshot before, per second of ``elapsed_s``.

        A replica that failed meanwhile brings what it did in all that time: a peak after a dip, but
        rates times ``elapsed_s`` add up to the requests there were.
        """
        if self.elapsed_s is None:
            return None
        increases = self._increases.get(measure, {})
        counted = sum(increases.values()) if key is None else increases.get(key, 0.0)
        return counted / self.elapsed_s

    def rates_by_key(self, measure: str) -> dict[str, Any] | None:
        """The same for every key of a measure."""
        if self.elapsed_s is None:
            return None
        increases = self._increases.get(measure, {})
        return {key: increases[key] / self.elapsed_s for key in sorted(increases)}

    def error_rate_pct(self) -> float | None:
        """Share of 5xx in all requests of the window; 0 where there were none."""
        if self._window is None:
            return None
        requests = self._window.get("requests", {})
        everything = sum(requests.values())
        errors = sum(count for code, count in requests.items() if code[0] == "5")
        return 100 * errors / everything if everything else 0.0

    def latency_ms(self, q: float) -> float | None:
        """A quantile of the window's request durations, in milliseconds."""
        seconds = quantile(q, self._durations)
        return None if seconds is None else seconds * 1000

    def average(self, measure: str) -> float | None:
        """Sum over count of the window, as for a size; None where nothing was counted."""
        window = self._window or {}
        count = window.get(measure + "_count", {}).get("", 0.0)
        return window.get(measure + "_sum", {}).get("", 0.0) / count if count else None

    def latency_buckets(self) -> dict[str, Any] | None:
        """Requests by bucket since the scrape before: empty buckets left out, +Inf always there."""
        buckets = _cumulative(self._increases)
        if not buckets:
            return None
        counts, below = {}, 0.0
        for bound, count in buckets:
            if count > below or bound == math.inf:
                counts[format_bound(bound)] = max(count - below, 0.0)
            below = max(count, below)
        return counts


def _merge(parts: Iterable[Mapping[Slot, float]]) -> dict[str, dict[str, float]]:
    """The sum of all parts, as measure -> key -> sum."""
    merged: dict[str, dict[str, float]] = defaultdict(dict)
    for slots in parts:
        for (measure, key), value in slots.items():
            keys = merged[measure]
            keys[key] = keys.get(key, 0.0) + value
    return merged


def _cumulative(increases: Mapping[str, Mapping[str, float]]) -> list[tuple[float, float]]:
    """The histogram in the increases: (upper bound in seconds, requests up to it), ascending."""
    return sorted((float(le), count) for le, count in increases.get("latency", {}).items())


def quantile(q: float, buckets: Sequence[tuple[float, float]]) -> float | None:
    """PromQL's ``histogram_quantile`` over ascending (upper bound, cumulative count) pairs.

    Linear inside a bucket, 0 as the lower bound of the first, the largest finite bound where the
    quantile falls into +Inf. None where Prometheus says NaN: no observation, no +Inf bucket.
    https://github.com/prometheus/prometheus/blob/main/promql/quantile.go
    """
    if len(buckets) < 2 or buckets[-1][0] != math.inf:
        return None
    # A histogram scraped while it is written may be a little out of order.
    counts = list(itertools.accumulate((count for _, count in buckets), max))
    if counts[-1] <= 0:
        return None
    if not 0 <= q <= 1:
        return math.copysign(math.inf, q)
    rank = q * counts[-1]
    index = bisect.bisect_left(counts, rank)
    upper = buckets[index][0]
    if upper == math.inf:
        return buckets[-2][0]
    if index == 0 and upper <= 0:
        return upper
    lower, below = (buckets[index - 1][0], counts[index - 1]) if index else (0.0, 0.0)
    if counts[index] <= below:
        return None  # a rank so small that it is 0
    return lower + (upper - lower) * (rank - below) / (counts[index] - below)


class SlidingSum:
    """What was added within the last ``length_s``, without ever subtracting: crumbs would add up.

    Two stacks: ``_old`` has for each of its entries the sum from there to the youngest of them,
    ``_new`` what came since, with one sum. When the last old one leaves, the new become old.
    """

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._old: list[tuple[float, dict[Slot, float]]] = []  # the oldest at the end
        self._new: list[tuple[float, Mapping[Slot, float]]] = []
        self._new_sum: dict[Slot, float] = {}

    def add(self, at_s: float, increases: Mapping[Slot, float]) -> None:
        self._new.append((at_s, increases))
        _add_to(self._new_sum, increases)

    def total(self, now_s: float) -> dict[Slot, float]:
        expired_s = now_s - self._length_s
        while self._old and self._old[-1][0] <= expired_s:
            self._old.pop()
        if not self._old:
            self._turn(expired_s)
        total = dict(self._old[-1][1]) if self._old else {}
        _add_to(total, self._new_sum)
        return total

    def _turn(self, expired_s: float) -> None:
        total: dict[Slot, float] = {}
        for at_s, increases in reversed(self._new):
            if at_s <= expired_s:
                break
            total = dict(total)
            _add_to(total, increases)
            self._old.append((at_s, total))
        self._new, self._new_sum = [], {}


class VariantState:
    """Merges the readings of one variant's targets into snapshots, tick by tick."""

    def __init__(self, variant: str, interval_s: float, window_s: float) -> None:
        self.variant = variant
        #: Finite bucket bounds seen last, in seconds: latency_buckets leaves the empty ones out.
        self.bounds: tuple[float, ...] = ()
        # Scrapes are not spaced to the millisecond; half a tick decides what is still inside.
        self._window = SlidingSum(window_s - interval_s / 2)
        self._has_increases = False
        # When the replicas of the snapshot before answered: on average, and the first of them.
        self._previous_s = self._earliest_s = -math.inf

    def snapshot(self, ts_ms: int, readings: Sequence[Reading]) -> Snapshot:
        """The variant's snapshot of a tick, from at least one reading."""
        at_s = sum(reading.at_s for reading in readings) / len(readings)
        elapsed_s = self._elapsed_s(at_s, readings)
        if elapsed_s is not None:
            self._has_increases = True
            increases: dict[Slot, float] = {}  # of all replicas: the window is long
            for reading in readings:
                _add_to(increases, reading.increases)
            self._window.add(at_s, increases)
        self._previous_s, self._earliest_s = at_s, min(reading.at_s for reading in readings)
        window = self._window.total(at_s) if self._has_increases else None
        merged = Merged(readings, elapsed_s, window)
        slots = {slot for reading in readings for slot in reading.totals if slot[0] == "latency"}
        self.bounds = tuple(sorted(float(le) for _, le in slots if le != "+Inf"))
        return Snapshot.build(ts_ms, self.variant, (field.derive(merged) for field in FIELDS))

    def _elapsed_s(self, at_s: float, readings: Sequence[Reading]) -> float | None:
        """Seconds since the snapshot before; None where no reading has an increase.

        Taken from the replicas that were in it, lest a slow one that comes or goes move the mean.
        """
        rated = [(r.at_s, r.elapsed_s) for r in readings if r.elapsed_s is not None]
        kept = [elapsed_s for at, elapsed_s in rated if at - elapsed_s >= self._earliest_s]
        if kept:
            return sum(kept) / len(kept)
        return at_s - self._previous_s if rated else None


def _add_to(sums: dict[Slot, float], increases: Mapping[Slot, float]) -> None:
    for slot, value in increases.items():
        sums[slot] = sums.get(slot, 0.0) + value


# ---- Storage -------------------------------------------------------------------------------------

_MINUTE_MS = 60_000


def _minute(ts_ms: int) -> int:
    """When the minute of a time begins."""
    return ts_ms - ts_ms % _MINUTE_MS


_TABLES = ("metrics_5s", "metrics_1m")
_COLUMNS = ", ".join(["variant", "ts", *FIELD_INDEX])
_TYPED_COLUMNS = ",\n    ".join(f"{field.name} {field.sql_type}" for field in FIELDS)
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS {{table}} (
    variant TEXT NOT NULL,
    ts INTEGER NOT NULL, -- milliseconds since the epoch
    {_TYPED_COLUMNS},
    PRIMARY KEY (variant, ts)
)"""
# What all variants did in a time, in order, without a sort: a fifth of the cost of long answers.
_MINUTES_BY_TIME = "CREATE INDEX IF NOT EXISTS metrics_1m_by_time ON metrics_1m (ts, variant)"
#: What comes of a column that somebody else wrote into, when it is taken for objects of numbers.
_NOT_OURS = (TypeError, ValueError, AttributeError, OverflowError, RecursionError)


class _MergeByKey:
    """Base of two SQL aggregates over JSON objects of numbers, which SQLite cannot merge itself.

    They are called for every row of a week, so many are decoded in one go: half the time of a step
    that decodes.
    """

    #: Texts decoded in one go; all of a week at once would take megabytes.
    AT_ONCE = 256

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._weights: list[float] = []

    def step(self, text: bytes | None, weight: float = 1) -> None:
        if text:
            self._texts.append(text)
            self._weights.append(weight)

    def _sum(self) -> tuple[dict[str, float], float]:
        """The sums by key, each number times its row's weight, and the sum of the weights."""
        sums: dict[str, float] = {}
        total = 0.0
        for first in range(0, len(self._texts), self.AT_ONCE):
            some = self._texts[first : first + self.AT_ONCE]
            weights = self._weights[first : first + self.AT_ONCE]
            try:
                # A text that makes two rows of itself, or none, leaves them unlike the weights.
                part = _sum_by_key(json.loads(b"[%s]" % b",".join(some)), weights)
                largest = _LARGEST * min(weights)
                if not all([abs(number) <= largest for number in part.values()]):
                    raise OverflowError
            except _NOT_OURS:
                rows = [_numbers_by_key(text) for text in some]
                weights = [0 if row is None else w for row, w in zip(rows, weights, strict=True)]
                part = _sum_by_key([row or {} for row in rows], weights)
            total += sum(weights)
            sums = _sum_by_key([sums, part]) if sums else part
        return sums, total


class SumByKey(_MergeByKey):
    """``{"1":2} , {"1":1,"2":4}`` become ``{"1":3,"2":4}``."""

    def finalize(self) -> str | None:
        sums, rows = self._sum()
        merged = {key: tidy(number, whole=True) or 0 for key, number in sums.items()}
        return _encode(merged).decode() if rows else None


class RateByKey(_MergeByKey):
    """``{"200":4}`` of 1 s, ``{"200":2,"500":1}`` of 3 s become ``{"200":2.5,"500":0.75}``."""

    def finalize(self) -> str | None:
        sums, seconds = self._sum()
        # As tidy() would have it, in a third of the time of that and an encoder.
        means = [f"{_quoted(key)}:{number / seconds:.12g}" for key, number in sums.items()]
        return "{" + ",".join(means) + "}" if seconds else None


def _sum_by_key(
    rows: Iterable[Mapping[str, float]], weights: Sequence[float] | None = None
) -> dict[str, float]:
    sums: dict[str, float] = {}
    weighed = zip(rows, itertools.repeat(1)) if weights is None else zip(rows, weights, strict=True)
    for row, weight in weighed:
        for key, number in row.items():
            sums[key] = sums[key] + number * weight if key in sums else number * weight
    return sums


def _numbers_by_key(text: bytes) -> dict[str, float] | None:
    """A JSON object of numbers that a float can hold; None for what is none."""
    try:
        value = json.loads(text)
    except _NOT_OURS:
        return None
    is_ours = isinstance(value, dict) and all(
        isinstance(n, int | float) and abs(n) <= _LARGEST for n in value.values()
    )
    return value if is_ours else None


class Timings:
    """A Prometheus histogram of durations in seconds; any thread may observe."""

    BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

    def __init__(self) -> None:
        self._counts_lock = threading.Lock()  # guards the two below
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        index = next((i for i, le in enumerate(self.BOUNDS) if seconds <= le), len(self.BOUNDS))
        with self._counts_lock:
            self._counts[index] += 1
            self._sum_s += seconds

    @contextlib.contextmanager
    def time(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.observe(time.perf_counter() - started)

    def read(self) -> tuple[list[tuple[str, int]], float]:
        """Cumulative (le, count) pairs up to +Inf, and the sum in seconds."""
        with self._counts_lock:
            counts, total_s = list(itertools.accumulate(self._counts)), self._sum_s
        return list(zip([*map(format_bound, self.BOUNDS), "+Inf"], counts, strict=True)), total_s


class _PartKey(NamedTuple):
    """First and last millisecond of a part, and what else tells it from others."""

    start_ms: int
    end_ms: int
    question: tuple[Any, ...]

    def overlaps(self, start_ms: float, end_ms: float) -> bool:
        return self.start_ms <= end_ms and self.end_ms >= start_ms


class PastParts:
    """Parts of answers about a time that is over, kept to put the next answer together from.

    Readers find and keep them, the writer forgets those whose time it has changed: none is ever
    older than the file. Those not used for the longest time make room.
    """

    #: An hour of the page, or a day and a week, take a megabyte.
    MOST_BYTES = 4 * 1024 * 1024
    #: What a part takes beside its texts.
    PART_BYTES = 1_000
    #: Changes remembered; a reader that was overtaken by more of them keeps nothing.
    MOST_CHANGES = 100

    def __init__(self) -> None:
        self._parts_lock = threading.Lock()  # guards the four below: readers and the writer thread
        self._parts: dict[_PartKey, tuple[tuple[Any, ...], int]] = {}  # the longest unused first
        self._bytes = 0
        self._changes: deque[tuple[float, float]] = deque(maxlen=self.MOST_CHANGES)
        self.edition = 0  # how often something was changed

    def find(self, key: _PartKey) -> tuple[Any, ...] | None:
        with self._parts_lock:
            if key not in self._parts:
                return None
            self._parts[key] = found = self._parts.pop(key)
            return found[0]

    def keep(self, key: _PartKey, value: tuple[Any, ...], edition: int) -> None:
        """Keep what was read in ``edition``, unless its time has been changed since."""
        size_bytes = self.PART_BYTES + sum(len(v) for v in value if isinstance(v, bytes | str))
        with self._parts_lock:
            missed = self.edition - edition
            changes = itertools.islice(reversed(self._changes), missed)
            if missed > len(self._changes) or any(key.overlaps(*change) for change in changes):
                return
            self._remove(key)
            self._parts[key] = (value, size_bytes)
            self._bytes += size_bytes
            while self._bytes > self.MOST_BYTES:
                self._remove(next(iter(self._parts)))

    def forget(self, start_ms: float = -math.inf, end_ms: float = math.inf) -> None:
        """Something in this time has been changed in the file."""
        with self._parts_lock:
            self.edition += 1
            self._changes.append((start_ms, end_ms))
            for key in [key for key in self._parts if key.overlaps(start_ms, end_ms)]:
                self._remove(key)

    def _remove(self, key: _PartKey) -> None:
        _, size_bytes = self._parts.pop(key, ((), 0))
        self._bytes -= size_bytes


_READER_PRAGMAS = (
    "PRAGMA cache_size = -1024",  # KiB per connection; the kernel caches the file anyway
    "PRAGMA temp_store = MEMORY",  # the root file system may be read-only
    "PRAGMA trusted_schema = OFF",  # a file from elsewhere calls no functions with side effects
)
_PRAGMAS = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # of effect on a new file only: lets it shrink later
    "PRAGMA journal_mode = WAL",  # readers do not block the writer, nor the writer them
    "PRAGMA synchronous = NORMAL",  # safe against a crash of the process; no fsync per commit
    "PRAGMA journal_size_limit = 4194304",  # the log shrinks again after a burst
    *_READER_PRAGMAS,
)
#: The file, its log, and what its users share in memory.
_SUFFIXES = ("", "-wal", "-shm")
#: Opens no link, and does not wait for the other end of a pipe.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
#: What makes a connection ready for use, or raises.
_Prepare = Callable[[sqlite3.Connection], object]


def _connect(uri: str, prepare: _Prepare, timeout_s: float = 1.0) -> sqlite3.Connection:
    """A connection that leaves transactions to us, closed where it cannot be prepared."""
    connection = sqlite3.connect(
        uri, timeout=timeout_s, isolation_level=None, check_same_thread=False, uri=True
    )
    try:
        # typeshed asks for arguments and results of a single type.
        connection.create_aggregate("sum_by_key", 1, SumByKey)  # type: ignore[arg-type]
        connection.create_aggregate("rate_by_key", 2, RateByKey)  # type: ignore[arg-type]
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


class FileLock:
    """An exclusive lock beside the database, for as long as the process lives.

    The kernel drops it with the process, whatever ends that. It is SQLite's own lock on an empty
    file, so it works wherever the database does, and readers such as ``sqlite3`` may still open
    the database itself.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: sqlite3.Connection | None = None
        self._id: tuple[int, int] | None = None
        self._problem = ""
        self._log = log.getChild("storage")

    def is_lost(self) -> bool:
        """Whoever removed the file removed the lock with it: another zaidash could write, too."""
        return self._file is not None and self._id != _file_id(self._path)

    def take(self) -> bool:
        """Hold it, if that can be done at all; False where another process holds it."""
        if self._file and not self.is_lost():
            return True
        try:
            file = _connect(str(self._path), lambda it: it.execute("BEGIN EXCLUSIVE"), timeout_s=0)
        except sqlite3.Error as error:
            if _primary_code(error) == sqlite3.SQLITE_BUSY:
                return False
            if str(error) != self._problem:
                self._log.warning("cannot lock the database: path=%s reason=%s", self._path, error)
            self._problem = str(error)
        else:
            if self._file:
                self._log.error("the lock of the database was removed: path=%s", self._path)
            self.release()
            self._file, self._id = file, _file_id(self._path)
        return True

    def release(self) -> None:
        if self._file:
            self._file.close()
            self._file = None


class DatabaseFile:
    """The database: its path, its lock, every connection to it, and parts of what was read there.

    Connections and parts end before the file is renamed or another one is opened in its place.
    SQLite finds journals by their names, and would take those of the one for the other's.

    Any thread reads, with a connection that ``reading`` lends. All else is the storage thread's.
    """

    #: Idle reading connections kept, each with its page cache.
    MAX_IDLE_READERS = 4

    def __init__(self, config: Config, wall: Callable[[], float]) -> None:
        # The file itself, not a link to it: the lock and the journals lie beside the file.
        self.path = Path(os.path.realpath(config.db_path))
        self.lock = FileLock(self._beside("-lock"))
        self.writer: sqlite3.Connection | None = None
        #: Tables and their parts of answers, which readers keep and the storage thread forgets.
        self.past = {table: PastParts() for table in _TABLES}
        self._shown_path = config.db_path
        self._wall = wall
        self._log = log.getChild("storage")
        # Device and inode of the open file and its journals, by what their names end with.
        self._ids: dict[str, tuple[int, int] | None] = {}
        self._is_checked = False  # opened, and so checked, since check() was called
        self._is_damaged = False  # a reader came upon a damaged page
        # Guards the idle readers, of the file and in its stead, whose lists are others once the
        # file is: readers, and close().
        self._idle_lock = threading.Lock()
        self._idle: dict[str, list[sqlite3.Connection]] = {"file": [], "stead": []}

    def _beside(self, suffix: str) -> Path:
        return Path(f"{self.path}{suffix}")

    def _id_there(self, suffix: str) -> tuple[int, int] | None:
        return _file_id(self._beside(suffix))

    def size_bytes(self) -> int:
        """The database file with its log, 0 where there is none."""
        size = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                size += self._beside(suffix).stat().st_size
        return size

    # Opening and closing: the storage thread

    def usable_writer(self) -> sqlite3.Connection:
        """The writing connection, opened again where the file failed, vanished or was replaced.

        Raises StorageError where another zaidash holds the file, else what SQLite or the system do.
        """
        if self._is_damaged:  # opening checks the file, with no page cache in between
            self._is_damaged = False
            self._log.error("a reader found the database file damaged: path=%s", self.path)
            self.close()
        if self.writer and self._ids[""] != self._id_there(""):
            self._log.error("the database file was removed or replaced: path=%s", self.path)
            self._leave_file()
        if self.writer is None or self.lock.is_lost():
            self._refuse_links()
            if not self.lock.take():
                raise StorageError(
                    f"DB_PATH={self._shown_path}: another zaidash uses this database;"
                    " stop it or choose another file"
                )
        return self.writer or self._open()

    def _refuse_links(self) -> None:
        """SQLite would follow a link beside the database, and lock or overwrite another file."""
        for suffix in ("-lock", "-wal", "-shm", "-journal"):
            if os.path.islink(self._beside(suffix)):
                raise StorageError(
                    f"DB_PATH={self._shown_path}: {self._beside(suffix)} is a link, which is not"
                    " followed; delete it, and let nobody else write into that directory"
                )

    def _open(self) -> sqlite3.Connection:
        """Open and prepare the file; one that is no use is set aside, and a fresh one opened."""
        self._share_mode()
        try:
            writer = self._connect("rwc", self._prepare_writer)
        except sqlite3.DatabaseError as error:
            is_directory = self.path.is_dir()  # it was none at the start: see _db_path
            if not (is_directory or _is_damage(error)):
                raise
            self.set_aside("it is a directory" if is_directory else str(error))
            writer = self._connect("rwc", self._prepare_writer)
        # Before readers of what was there are closed: whoever comes then reads from this file.
        self._ids = {suffix: self._id_there(suffix) for suffix in _SUFFIXES}
        self.close()
        self.writer, self._is_checked = writer, True
        return writer

    def _share_mode(self) -> None:
        """Let the journals be as writable as the file: SQLite makes them so, but only once."""
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                # Not by name: somebody else's link there would lead it to another file.
                journal = os.open(self._beside(suffix), os.O_RDONLY | _NO_LINK)
                try:
                    os.fchmod(journal, self.path.stat().st_mode & 0o777)
                finally:
                    os.close(journal)

    def _connect(self, mode: str, prepare: _Prepare) -> sqlite3.Connection:
        return _connect(f"file:{urllib.parse.quote(str(self.path))}?mode={mode}", prepare)

    def _prepare_writer(self, writer: sqlite3.Connection) -> None:
        """A check, pragmas, and the tables with all their columns."""
        _check_pages(writer)
        for table in _TABLES:
            _check_key(writer, table)
        for pragma in _PRAGMAS:
            writer.execute(pragma)
        with _transaction(writer):
            _create_tables(writer)
            for table in _TABLES:
                self._add_columns(writer, table)

    def _add_columns(self, writer: sqlite3.Connection, table: str) -> None:
        present = {name for _, name, *_ in writer.execute(f"PRAGMA table_info({table})")}
        for field in FIELDS:
            if field.name not in present:
                writer.execute(f"ALTER TABLE {table} ADD COLUMN {field.name} {field.sql_type}")
                self._log.info("added a missing column: table=%s column=%s", table, field.name)

    def check(self) -> None:
        """Look at every page, where opening did not just do so. Raises sqlite3.DatabaseError."""
        if not self._is_checked:
            self._connect("rw", _check_pages).close()  # another one, with nothing cached in it
        self._is_checked = False

    def set_aside(self, reason: str) -> None:
        """Rename the file and its journals, so that nothing of them is lost. Raises OSError."""
        self.close()
        stamp = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y%m%dT%H%M%SZ")
        first = f"{self.path}.corrupt-{stamp}"
        names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
        aside = next(name for name in names if not os.path.lexists(name))
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                os.rename(self._beside(suffix), f"{aside}{suffix}")
        self._log.error(
            "the database cannot be used and was set aside, starting a fresh one:"
            " path=%s kept=%s reason=%s", self.path, aside, reason)  # fmt: skip

    def _leave_file(self) -> None:
        """Close a file that was removed or replaced, with all in it, and remove its journals.

        SQLite would take them for those of what is there now, and spoil it with what is in them.
        """
        self.checkpoint("PASSIVE")
        self.close()
        for suffix in ("-wal", "-shm"):
            if self._id_there(suffix) == self._ids[suffix]:
                self._beside(suffix).unlink(missing_ok=True)

    def checkpoint(self, mode: str) -> None:
        """Bring what is in the log into the file, as far as that can be done."""
        if self.writer:
            with contextlib.suppress(sqlite3.Error):
                self.writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()

    def close(self) -> None:
        """Close all connections but those under way, which ``reading`` closes; forget all parts."""
        with self._idle_lock:
            connections = [reader for idle in self._idle.values() for reader in idle]
            self._idle = {"file": [], "stead": []}
        for past in self.past.values():
            past.forget()
        if self.writer:
            connections.append(self.writer)
            self.writer = None
        for connection in connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    # Reading: any thread

    @contextlib.contextmanager
    def reading(
        self, stand_in: Callable[[], sqlite3.Connection]
    ) -> Iterator[tuple[sqlite3.Connection, bool]]:
        """A connection for one read, and whether it is one to the file.

        Where there is no file to read it is that of ``stand_in``. Raises StorageError where the
        database fails it.
        """
        idle, reader = self._take_idle("file")
        try:
            reader = reader or self._connect_reader()
            is_file = reader is not None
            if reader is None:
                idle, reader = self._take_idle("stead")
                reader = reader or stand_in()
            yield reader, is_file
            with self._idle_lock:
                is_usable = any(idle is one for one in self._idle.values())
                if is_usable and len(idle) < self.MAX_IDLE_READERS:
                    idle.append(reader)
                    reader = None
        except sqlite3.Error as error:
            if _is_damage(error):
                self._is_damaged = True  # the storage thread looks into it
            raise StorageError(f"the history cannot be read: {error} ({self.path})") from error
        finally:
            if reader is not None:
                reader.close()

    def _take_idle(self, kind: str) -> tuple[list[sqlite3.Connection], sqlite3.Connection | None]:
        """The list of idle readers, to which one may be given back, and one of them."""
        with self._idle_lock:
            idle = self._idle[kind]
            return idle, idle.pop() if idle else None

    def _connect_reader(self) -> sqlite3.Connection | None:
        # Where another one was put there, the old log lies beside it until the writer removes it.
        if self._ids.get("") not in (None, self._id_there("")):
            return None
        try:
            return self._connect("rw", _prepare_reader)
        except sqlite3.OperationalError:
            if self.writer:
                raise
            return None


def _file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file, None where there is none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return (status.st_dev, status.st_ino)
    return None


def _create_tables(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(_SCHEMA.format(table=table))
    connection.execute(_MINUTES_BY_TIME)


def _prepare_reader(reader: sqlite3.Connection) -> None:
    for pragma in _READER_PRAGMAS:
        reader.execute(pragma)
    reader.execute("SELECT 1 FROM metrics_5s LIMIT 1").fetchall()  # fails now, if at all


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock from the start: no deadlock half way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


class _DamageError(sqlite3.DatabaseError):
    """As SQLite's own error for a file that is no use as a database."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _check_key(connection: sqlite3.Connection, table: str) -> None:
    """A table of that name must have our primary key; it may lack columns, or not be there."""
    info = connection.execute(f"PRAGMA table_info({table})").fetchall()
    keys = [name for _, name, _, _, _, key in sorted(info, key=lambda c: c[5]) if key]
    if info and keys != ["variant", "ts"]:
        raise _DamageError(f"its table {table} is not zaidash's")


def _check_pages(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _DamageError(verdict)


def _primary_code(error: Exception) -> int:
    """SQLite's primary result code, the low byte of the extended one; 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_damage(error: Exception) -> bool:
    """Whether an error means that the file is no use as a database."""
    is_damage = _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return is_damage or "unsupported file format" in str(error)


_INSERT = f"""
INSERT OR IGNORE INTO {{table}} ({_COLUMNS})
VALUES ({", ".join("?" * (len(FIELDS) + 2))})"""

_NOT_AVERAGED = f"""
NOT EXISTS (SELECT 1 FROM metrics_1m AS minute
            WHERE minute.variant = snapshot.variant
              AND minute.ts = snapshot.ts / {_MINUTE_MS} * {_MINUTE_MS})"""


def _number_of(field: Field) -> str:
    """A column in SQL; NULL where somebody else wrote text, a blob or Infinity for a number."""
    if field.sql_type == "TEXT":
        return field.name
    least = 0 if field.unit == "s" else -_LARGEST  # no time is negative
    return f"CASE WHEN {field.name} BETWEEN {least} AND {_LARGEST} THEN {field.name} END"


def _select_list(fields: Iterable[Field], expression: Callable[[Field], str]) -> str:
    return ", ".join(["variant", "ts", *(f"{expression(f)} AS {f.name}" for f in fields)])


# What a rate counts for: the time it covers, so that their average times all of it is what was
# counted. Next to nothing where nobody knows it, as in rows that somebody else wrote.
_SECONDS = "max(ifnull(elapsed_s, 0), 1e-15)"
# How rows become one, by Field.average. Of a text as bytes: what is no UTF-8 would fail before our
# code sees it.
_AVERAGES = {
    "SUM": "SUM({0})",
    "AVG": "AVG({0})",
    "RATE": f"TOTAL({{0}} * {_SECONDS}) / SUM({_SECONDS} + 0 * {{0}})",
    "SUM_BY_KEY": "sum_by_key(CAST({0} AS BLOB))",
    "RATE_BY_KEY": f"rate_by_key(CAST({{0}} AS BLOB), {_SECONDS})",
}


def _with_time(fields: Iterable[Field]) -> tuple[Field, ...]:
    """The fields that rows need to be averaged."""
    return tuple(dict.fromkeys([FIELDS[FIELD_INDEX["elapsed_s"]], *fields]))


def _averaged(rows: str, fields: Iterable[Field], step_ms: int, origin_ms: int = 0) -> str:
    """The rows, which have elapsed_s, averaged within bins of one width, counted from an origin."""
    bin_number = f"(ts - {origin_ms}) / {step_ms}"
    averages = (f"{_AVERAGES[f.average].format(f.name)} AS {f.name}" for f in fields)
    columns = ", ".join(["variant", f"{bin_number} * {step_ms} + {origin_ms} AS ts", *averages])
    return f"SELECT {columns} FROM ({rows}) GROUP BY variant, {bin_number}"


_TO_AVERAGE = f"""
SELECT {_select_list(FIELDS, _number_of)}
FROM metrics_5s AS snapshot
WHERE ts >= ? AND ts < ? AND {_NOT_AVERAGED}"""
_DOWNSAMPLE = f"""
INSERT OR IGNORE INTO metrics_1m ({_COLUMNS})
{_averaged(_TO_AVERAGE, FIELDS, _MINUTE_MS)}"""


class Store:
    """The one thread that writes to the database file, and what waits for it.

    ``put`` never blocks and never fails: a snapshot waits in memory until the writer has it on
    disk, for an hour if need be. ``problem`` says in a sentence what is wrong, or is None.

    ``recent`` returns the encoded snapshots of the last hour; with it a fresh file, after the old
    one was removed or set aside, starts out with that hour.
    """

    #: Seconds of snapshots that wait for a disk that does not take them.
    WAIT_S = 3_600
    #: Seconds until a write that failed is tried again, or the tick where that is shorter.
    RETRY_S = 5.0

    def __init__(
        self,
        config: Config,
        recent: Callable[[], list[bytes]] = list,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.config, self.recent, self.wall = config, recent, wall
        self.file = DatabaseFile(config, wall)
        self._most_waiting = math.ceil(self.WAIT_S / config.interval_s) * len(config.variants)
        self._log = log.getChild("storage")
        # Guards the three below, which put(), readers and the storage thread share.
        self._waiting_lock = threading.Condition()
        self._waiting: deque[Snapshot] = deque()
        self._averaged_ms = 0  # all minutes before this that have snapshots are in metrics_1m
        self._closing = False
        #: Why the database takes no snapshots at the moment, or None.
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)
        self.writes = Timings()
        self.written = 0
        self.dropped = 0

    def open(self) -> None:
        """Lock and open the file. Raises StorageError where another zaidash holds it.

        A file that cannot be opened for another reason is a ``problem``, retried by the writer.
        """
        try:
            self.file.usable_writer()
        except (sqlite3.Error, OSError) as error:
            self._fail(error)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 3.0) -> None:
        """Write what waits, checkpoint and close. May be called again."""
        with self._waiting_lock:
            self._closing = True
            self._waiting_lock.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._log.error("the database did not close in time: timeout=%ss", timeout_s)
            return
        self.file.close()
        self.file.lock.release()

    def put(self, snapshot: Snapshot) -> None:
        """Hand a snapshot to the writer."""
        with self._waiting_lock:
            if any(s[:2] == snapshot[:2] for s in self._waiting):
                return  # the clock was set back: as in the table, the first of a time stays
            self._waiting.append(snapshot)
            if len(self._waiting) > self._most_waiting:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting_lock.notify_all()

    def unwritten(self) -> tuple[list[Snapshot], dict[str, int]]:
        """What waits; and by table: all before this time is in it, and stays as it is."""
        with self._waiting_lock:
            waiting, averaged_ms = list(self._waiting), self._averaged_ms
        times = [snapshot.ts_ms for snapshot in waiting]
        over_ms = {
            "metrics_5s": min([self._over_ms(), *times]),
            "metrics_1m": _minute(min([averaged_ms, *times])),
        }
        return waiting, over_ms

    @property
    def waiting(self) -> int:
        """Snapshots that are not on disk yet."""
        return len(self._waiting)

    def insert_last_hour(self, database: sqlite3.Connection) -> None:
        """Write the snapshots of it, as far as they are not there."""
        rows = (Snapshot.decode(encoded).row() for encoded in self.recent())
        database.executemany(_INSERT.format(table="metrics_5s"), rows)

    def fill(self, rows: Iterable[Sequence[Any]], table: str = "metrics_5s") -> None:
        """Write rows, as Snapshot.row makes them, and average their minutes: before start()."""
        if self.file.writer:
            with _transaction(self.file.writer):
                self.file.writer.executemany(_INSERT.format(table=table), rows)
            self.file.past[table].forget()
            self._averaged_ms = 0
            self._downsample(self.file.writer, self._over_ms())

    def _run(self) -> None:
        next_job_s, is_last = time.monotonic(), False
        while not is_last:
            with self._waiting_lock:
                timeout_s = max(next_job_s - time.monotonic(), 0)
                if self.problem:  # a job that is due must not make it try without a pause
                    timeout_s = min(self.RETRY_S, self.config.interval_s)
                if (not self._waiting or self.problem) and not self._closing:
                    self._waiting_lock.wait(min(timeout_s, 60))
                is_last = self._closing
            is_due = time.monotonic() >= next_job_s
            self._work(job=is_due and not is_last)
            if is_due and not self.problem:
                next_job_s = time.monotonic() + self.config.downsample_interval_s
        if self._waiting:
            self._log.error("snapshots were not written: count=%s", len(self._waiting))
        self.file.checkpoint("TRUNCATE")

    def _work(self, job: bool) -> None:
        """Write what waits, and do the periodic job where it is due; any failure is a problem."""
        try:
            before = self.file.writer
            writer = self.file.usable_writer()
            over_ms = self._over_ms()  # before writing, lest a minute be averaged without its end
            self._write_waiting(writer)
            is_fresh = writer is not before
            if is_fresh:  # the last hour may be missing in it, and any minute
                self._restore(writer)
            if job or is_fresh:
                self.file.check()
                self._downsample(writer, over_ms)
                self._delete_expired(writer, over_ms)
        except Exception as error:  # neither the disk nor a bug must end the writing for good
            self._fail(error)
        else:
            if self.problem:
                self._log.info("the database works again: path=%s", self.file.path)
            self.problem = None

    def _restore(self, writer: sqlite3.Connection) -> None:
        with _transaction(writer):
            self.insert_last_hour(writer)
        self.file.past["metrics_5s"].forget()
        with self._waiting_lock:
            self._averaged_ms = 0

    def _write_waiting(self, writer: sqlite3.Connection) -> None:
        with self._waiting_lock:
            batch = list(self._waiting)
        if not batch:
            return
        with self.writes.time(), _transaction(writer):
            before = writer.total_changes
            insert = _INSERT.format(table="metrics_5s")
            writer.executemany(insert, (snapshot.row() for snapshot in batch))
            written = writer.total_changes - before
        times = [snapshot.ts_ms for snapshot in batch]
        self.file.past["metrics_5s"].forget(min(times), max(times))
        with self._waiting_lock:
            self._averaged_ms = min(self._averaged_ms, *times)
            for snapshot in batch:  # put() may have dropped the oldest meanwhile
                if self._waiting and self._waiting[0] is snapshot:
                    self._waiting.popleft()
        self.written += written
        if written < len(batch):
            self._log.warning(
                "snapshots were not stored, their time is taken already: the clock went back, or"
                " zaidash was restarted within a tick: count=%s", len(batch) - written)  # fmt: skip

    def _over_ms(self) -> int:
        """The minutes before this have all their snapshots; a scrape may take its deadline."""
        return _minute(round((self.wall() - self.config.timeout_s - 1) * 1000))

    def _downsample(self, writer: sqlite3.Connection, over_ms: int) -> None:
        """Average the minutes that are over into metrics_1m, each once: the table is the proof."""
        from_ms = _minute(self._averaged_ms)
        with _transaction(writer):
            writer.execute(_DOWNSAMPLE, (from_ms, over_ms))
        self.file.past["metrics_1m"].forget(from_ms, over_ms)
        with self._waiting_lock:
            self._averaged_ms = over_ms

    def _delete_expired(self, writer: sqlite3.Connection, over_ms: int) -> None:
        now_ms = round(self.wall() * 1000)
        retention = (
            ("metrics_5s", self.config.retention_5s_s, over_ms),
            ("metrics_1m", self.config.retention_1m_s, now_ms),
        )
        for table, seconds, at_most_ms in retention:
            # Whole minutes, or the first one would be cut.
            before_ms = _minute(min(now_ms - round(seconds * 1000), at_most_ms))
            with _transaction(writer):
                writer.execute(f"DELETE FROM {table} WHERE ts < ?", (before_ms,))
            self.file.past[table].forget(end_ms=before_ms)
        (free,) = writer.execute("PRAGMA freelist_count").fetchone()
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        if free > pages // 4:  # a shorter retention; else the free pages are used again anyway
            # Not execute(), which makes one step, and so frees one page.
            writer.executescript(f"PRAGMA incremental_vacuum({free - pages // 8})")

    def _fail(self, error: Exception) -> None:
        """Note why the file cannot be used; log when that starts and when the reason changes."""
        self.file.close()
        reason = f"{error} ({self.file.path})"
        if _is_damage(error):
            with contextlib.suppress(OSError):
                self.file.set_aside(str(error))
        if reason != self.problem:
            self._log.error(
                "cannot write to the database, snapshots wait in memory: path=%s reason=%s",
                self.file.path, error)  # fmt: skip
        self.problem = reason


# ---- History -------------------------------------------------------------------------------------


class Query(NamedTuple):
    """A question to the history: times in milliseconds, both ends included.

    ``points`` asks for at most so many rows per variant, averaged; None for all there are.
    """

    start_ms: int
    end_ms: int
    variants: tuple[str, ...]
    fields: tuple[Field, ...] = FIELDS
    points: int | None = None


class Summary(NamedTuple):
    """Totals of one variant over a window; None where no rate is known in it."""

    #: requests, 5xx, and tokens: input, output, cache_read, cache_write
    counts: tuple[float | None, ...]
    #: The averages of LEVELS, by the time they stood for.
    levels: tuple[float | None, ...]
    latency_buckets: dict[str, float]


#: Fields of which a Summary has the average, beside its totals.
LEVELS = ("req_rate", "token_rate_in", "token_rate_out",
          "concurrent_requests", "max_workers", "worker_utilization", "rate_limit_rps")  # fmt: skip


class _Plan(NamedTuple):
    """How a query is answered, decided once for all of it."""

    query: Query
    table: str
    #: Read in one go; whole slices are kept for who asks next, once their time is over.
    slice_ms: int
    is_kept: bool = True
    #: Rows that are not averaged go out as they are, unless they are to be reckoned with.
    is_checked: bool = False
    #: From one row to the next; averaged ones begin at multiples of it, counted from an origin.
    step_ms: int = _MINUTE_MS
    origin_ms: int = 0

    def only(self, variant: str, names: Collection[str]) -> _Plan:
        """The same for one variant and for these columns."""
        fields = tuple(field for field in FIELDS if field.name in names)
        return self._replace(query=self.query._replace(variants=(variant,), fields=fields))

    def slices(self) -> Iterator[tuple[int, int]]:
        """First and last millisecond of each slice: cut at multiples of a slice's width."""
        start_ms, end_ms = self.query[:2]
        while start_ms <= end_ms:
            into_ms = (start_ms - self.origin_ms) % self.slice_ms
            last_ms = min(start_ms - into_ms + self.slice_ms - 1, end_ms)
            yield start_ms, last_ms
            start_ms = last_ms + 1


_END_MS = 10**15  # no time of ours is later; in SQLite, text and blobs are "larger" than numbers

# Snapshots that are not in the table yet, read as if they were; the parameter is a JSON array of
# them. What is in it by now is left out, or a sum would count it twice.
_FROM_JSON = f"""
SELECT json_extract(value, '$.variant') AS variant, json_extract(value, '$.timestamp') AS ts,
       {", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in FIELD_INDEX)}
FROM json_each(?)"""
_UNWRITTEN = f"""
SELECT * FROM ({_FROM_JSON}) AS unwritten
WHERE NOT EXISTS (SELECT 1 FROM metrics_5s AS written
                  WHERE written.variant = unwritten.variant AND written.ts = unwritten.ts)"""

_Statement = tuple[str, list[Any]]  # and its parameters


class _View(NamedTuple):
    """What a read sees: the file in one transaction, and the snapshots not in it yet."""

    reader: sqlite3.Connection
    #: Of what is read in its stead no part is kept.
    is_file: bool
    waiting: list[Snapshot]
    #: By table: all before this is in it, and is what it will be.
    over_ms: Mapping[str, int]
    #: By table: parts kept of it, and their edition when this was read.
    past: Mapping[str, PastParts]
    editions: Mapping[str, int]

    def read(self, plan: _Plan, start_ms: int, end_ms: int, select: str) -> tuple[Any, ...] | None:
        """What a statement makes of ``found``, the rows of a slice; None where there are none."""
        past = self.past[plan.table]
        question = (plan.query.variants, plan.step_ms, plan.origin_ms, select)
        key = _PartKey(start_ms, end_ms, question)
        is_whole = end_ms - start_ms + 1 == plan.slice_ms
        is_over = end_ms < self.over_ms[plan.table]
        is_kept = plan.is_kept and self.is_file and is_whole and is_over
        part = past.find(key) if is_kept else None
        if part is None:
            rows, parameters = self._rows(plan, start_ms, end_ms)
            statement = f"WITH found AS ({rows}) SELECT COUNT(*), {select}"
            count, *values = self.reader.execute(statement, parameters).fetchone()
            part = tuple(values) if count else None
            if is_kept and part is not None:
                past.keep(key, part, self.editions[plan.table])
        return part

    def _rows(self, plan: _Plan, start_ms: int, end_ms: int) -> _Statement:
        """The statement for the rows of a slice, with its parameters."""
        query, is_averaged = plan.query, plan.query.points is not None
        if is_averaged:
            query = query._replace(fields=_with_time(query.fields))
        # To look at every value takes a third longer.
        is_checked = is_averaged or plan.is_checked
        columns = _select_list(query.fields, _number_of if is_checked else lambda f: f.name)
        rows_of = self._snapshots if plan.table == "metrics_5s" else self._minutes
        rows, parameters = rows_of(query, columns, start_ms, end_ms)
        if is_averaged:
            rows = _averaged(rows, plan.query.fields, plan.step_ms, plan.origin_ms)
        return rows, parameters

    def _snapshots(self, query: Query, columns: str, start_ms: int, end_ms: int) -> _Statement:
        """The snapshots written and unwritten."""
        within = f"variant IN ({', '.join('?' * len(query.variants))}) AND ts BETWEEN ? AND ?"
        rows = f"SELECT {columns} FROM metrics_5s WHERE {within}"
        parameters = [*query.variants, start_ms, end_ms]
        # There may be an hour of them: no slice takes on those of the others.
        waiting = [s.encoded for s in self.waiting if start_ms <= s.ts_ms <= end_ms]
        if waiting:
            rows += f" UNION ALL SELECT {columns} FROM ({_UNWRITTEN}) WHERE {within}"
            parameters += [(b"[%s]" % b",".join(waiting)).decode(), *parameters]
        return rows, parameters

    def _minutes(self, query: Query, columns: str, start_ms: int, end_ms: int) -> _Statement:
        """The minutes stored, and those still to be averaged."""
        among = f"variant IN ({', '.join('?' * len(query.variants))})"
        if len(query.variants) > 1:
            among = f"+{among}"  # not the primary key, but the index by time
        rows = f"SELECT {columns} FROM metrics_1m WHERE {among} AND ts BETWEEN ? AND ?"
        parameters: list[Any] = [*query.variants, start_ms, end_ms]
        # A minute that has begun within the window is wanted whole, as the stored ones are.
        first_ms = max(_minute(start_ms - 1) + _MINUTE_MS, self.over_ms["metrics_1m"])
        last_ms = _minute(end_ms) + _MINUTE_MS - 1
        if first_ms <= last_ms:
            needed = _select_list(_with_time(query.fields), _number_of)
            running, more = self._snapshots(query, needed, first_ms, last_ms)
            running = f"SELECT * FROM ({running}) AS snapshot WHERE {_NOT_AVERAGED}"
            rows += f" UNION ALL {_averaged(running, query.fields, _MINUTE_MS)}"
            parameters += more
        return rows, parameters

    def fine_from_ms(self, variant: str) -> int:
        """The minute from which on metrics_5s has all snapshots of a variant."""
        oldest = f"SELECT MIN(ts) FROM metrics_5s WHERE variant = ? AND ts < {_END_MS}"
        (ts_ms,) = self.reader.execute(oldest, (variant,)).fetchone()
        return _END_MS if ts_ms is None else _minute(ts_ms)


def _json_object(fields: Sequence[Field]) -> str:
    """An SQL expression for a row as Snapshot.encoded has it; printf is SQLite's fastest way."""
    pairs = "".join(f',"{field.name}":%s' for field in fields)
    values = "".join(f", ifnull({field.name}, 'null')" for field in fields)
    return f"""printf('{{"timestamp":%d,"variant":"%s"{pairs}}}', ts, variant{values})"""


def _csv_line(fields: Sequence[Field]) -> str:
    quoted = """'"' || replace({}, '"', '""') || '"'"""
    values = (quoted.format(f.name) if f.sql_type == "TEXT" else f.name for f in fields)
    return f"printf('%d,%s{',%s' * len(fields)}', {', '.join(['ts', 'variant', *values])})"


def _select_texts(expressions: Sequence[str], separator: str) -> str:
    """Of each expression over the rows found, one text in their order."""
    texts = range(len(expressions))
    # The expressions inside: one text to hand on for each, instead of every column.
    inner = ", ".join(f"{expressions[i]} AS text{i}" for i in texts)
    outer = ", ".join(f"CAST(group_concat(text{i}, {separator}) AS BLOB)" for i in texts)
    return f"{outer} FROM (SELECT {inner} FROM found ORDER BY ts, variant)"


def _object_of(field: Field) -> str:
    """As _number_of, and NULL where they wrote no JSON object; averages see to that themselves."""
    if field.sql_type != "TEXT":
        return _number_of(field)
    # JSON ends at a NUL for SQLite, and so does length(); for whoever gets the text it does not.
    name, is_whole = field.name, f"length({field.name}) = length(CAST({field.name} AS BLOB))"
    return f"CASE WHEN json_valid({name}) AND {name} GLOB '{{*}}' AND {is_whole} THEN {name} END"


_LAST_HOUR = f"""
SELECT ts, CAST(variant AS BLOB), CAST({_json_object(FIELDS)} AS BLOB)
FROM (SELECT {_select_list(FIELDS, _object_of)} FROM metrics_5s
      WHERE variant IN (SELECT DISTINCT variant FROM metrics_5s) AND ts BETWEEN ? AND ?)
ORDER BY ts, variant"""

_SUMMARY_RATES = ("token_rate_in", "token_rate_out",
                  "token_rate_cache_read", "token_rate_cache_write")  # fmt: skip
_SUMMARY_NAMES = {*_SUMMARY_RATES, *LEVELS, "elapsed_s", "status_code_rates", "latency_buckets"}
# Often there is no error: to see that only 0 follows such a key is cheaper than to read it. A key
# may be written with escapes by others.
_HAS_ERRORS = " OR ".join(
    f"status_code_rates GLOB '{pattern}'" for pattern in ('*"5*:[^0]*', '*"5*:0[^,}]*', "*\\*")
)
_ERROR_RATE = f"""
CASE WHEN {_HAS_ERRORS} THEN (
    SELECT SUM(value) FROM json_each(iif(json_valid(status_code_rates), status_code_rates, NULL))
    WHERE key >= '5' AND key < '6') END"""
_SUMMARY_COUNTS = ("req_rate", f"ifnull({_ERROR_RATE}, 0 * req_rate)", *_SUMMARY_RATES)
# A rate stands for all of its time, even an outage; a gauge for a minute at most.
_LEVEL_SECONDS = {
    name: f"{'elapsed_s' if '_rate' in name else 'min(elapsed_s, 60)'} + 0 * {name}"
    for name in LEVELS
}
#: What a summary adds up: buckets, the counts, and each level times its seconds, and those.
_SUMMARY = ", ".join([
    "sum_by_key(CAST(latency_buckets AS BLOB))",
    *(f"SUM({count} * elapsed_s)" for count in _SUMMARY_COUNTS),
    *(f"SUM({name} * ({seconds}))" for name, seconds in _LEVEL_SECONDS.items()),
    *(f"SUM({seconds})" for seconds in _LEVEL_SECONDS.values()),
]) + " FROM found"  # fmt: skip


class History:
    """What was measured, from the file and from what waits to be written into it; any thread.

    Waiting snapshots show as if they were written, and the last hour even where the file is gone.
    Every method raises StorageError where the file cannot be read.
    """

    #: Ranges up to this long read metrics_5s, longer ones metrics_1m.
    FINE_RANGE_MS = 3_600_000
    #: Rows per variant read in one go: bounds a query's memory and how long it holds a connection.
    SLICE_ROWS = 200
    #: Rows of a column that format=columns holds at the same time, of all columns: a megabyte.
    COLUMN_ROWS = 80_000
    #: Rows per variant of a part of a chart that is kept when its time is over.
    PART_ROWS = 50
    #: With more points an answer is no chart, and not kept.
    MOST_CHART_POINTS = 2_000
    #: Parts of a summary that are kept are so wide, or six times that as often as there would be
    #: more of them in its window: half an hour for a day, three hours for a week.
    SUMMARY_PART_MS = 300_000
    MOST_SUMMARY_PARTS = 60

    def __init__(self, store: Store) -> None:
        self._store = store
        self.queries = Timings()

    def last_hour(self) -> list[tuple[int, str, bytes]]:
        """(ts, variant, encoded snapshot) of the last hour in the file, oldest first."""
        now_ms = round(self._store.wall() * 1000)
        with self._view() as view:
            rows = view.reader.execute(_LAST_HOUR, (now_ms - self.FINE_RANGE_MS, now_ms))
            named = ((ts, name.decode("latin-1"), _utf8(encoded)) for ts, name, encoded in rows)
            # A name with a quote or a line end in it would be events of its own.
            return [row for row in named if _VARIANT.fullmatch(row[1])]

    def json_rows(self, query: Query) -> Iterator[bytes]:
        """A JSON array of snapshots, oldest first, in pieces that SQLite has put together."""
        before = b"["
        for text in self._lines(query, _json_object(query.fields), "','"):
            yield before
            yield text
            before = b","
        yield b"]" if before == b"," else b"[]"

    def csv_rows(self, query: Query) -> Iterator[bytes]:
        """A header and one line per row, oldest first; JSON fields quoted, null left empty."""
        names = ["timestamp", "variant", *(field.name for field in query.fields)]
        yield ",".join(names).encode() + b"\r\n"
        for text in self._lines(query, _csv_line(query.fields), "char(13, 10)"):
            yield text
            yield b"\r\n"

    def _lines(self, query: Query, line: str, separator: str) -> Iterator[bytes]:
        """An SQL expression over all rows, slice by slice; no view stays open in between."""
        plan, select = self._plan(query), _select_texts([line], separator)
        for start_ms, end_ms in plan.slices():
            with self._view() as view:
                texts = self._texts(view, plan, start_ms, end_ms, select)
            if texts:
                yield texts[0]

    def json_columns(self, query: Query) -> Iterator[bytes]:
        """``{"production":{"timestamp":[...],"req_rate":[...]}}``, a few columns at a time.

        All from one view: columns have one length, whatever arrives meanwhile.
        """
        plan = self._plan(query)
        names = ["ts", *(field.name for field in query.fields)]
        # As many columns as may be in one statement: each reads all of the rows again.
        rows = (query.end_ms - query.start_ms) // plan.step_ms + 1
        at_once = max(self.COLUMN_ROWS // rows, 1)
        before = b"{"
        with self._view() as view:
            for variant in query.variants:
                yield before + _encode(variant) + b":{"
                for first in range(0, len(names), at_once):
                    yield b"," if first else b""
                    some = names[first : first + at_once]
                    yield from self._columns(view, plan.only(variant, some), some)
                yield b"}"
                before = b","
        yield b"}"

    def _columns(self, view: _View, plan: _Plan, names: Sequence[str]) -> Iterator[bytes]:
        select = _select_texts([f"ifnull({name}, 'null')" for name in names], "','")
        slices = [self._texts(view, plan, *times_ms, select) for times_ms in plan.slices()]
        for index, name in enumerate(names):
            title = "timestamp" if name == "ts" else name
            yield f'{"," if index else ""}"{title}":['.encode()
            yield b",".join(texts[index] for texts in slices if texts)
            yield b"]"

    def _texts(
        self, view: _View, plan: _Plan, start_ms: int, end_ms: int, select: str
    ) -> tuple[bytes, ...] | None:
        """The texts of a slice, as _select_texts asks for them; None where it has no rows."""
        with self.queries.time():
            texts = view.read(plan, start_ms, end_ms, select)
        return texts and tuple(map(_utf8, texts))

    def _plan(self, query: Query) -> _Plan:
        """A short range reads metrics_5s, if it has not expired there."""
        config, now_s = self._store.config, self._store.wall()
        interval_ms = round(config.interval_s * 1000)
        oldest_ms = round((now_s - config.retention_5s_s) * 1000) - interval_ms
        is_short = query.end_ms - query.start_ms <= self.FINE_RANGE_MS
        is_fine = is_short and query.start_ms >= oldest_ms
        step_ms, origin_ms = _bins(query, interval_ms if is_fine else max(_MINUTE_MS, interval_ms))
        is_chart = query.points is not None and query.points <= self.MOST_CHART_POINTS
        slice_ms = step_ms * (self.PART_ROWS if is_chart else self.SLICE_ROWS)
        table = "metrics_5s" if is_fine else "metrics_1m"
        return _Plan(query, table, slice_ms, is_kept=is_chart, step_ms=step_ms, origin_ms=origin_ms)

    def summarize(self, query: Query) -> dict[str, Summary]:
        """Totals per variant over a window: rates times the time they cover, buckets added up.

        From snapshots as far as they go back: a window need not begin with a minute, nor does a
        minute tell for how long a gauge was not seen.
        """
        found = {}
        with self.queries.time(), self._view() as view:
            # Each variant by itself: grouping them would sort a week of rows, all of it in memory.
            for variant in query.variants:
                fine_ms = min(max(view.fine_from_ms(variant), query.start_ms), query.end_ms + 1)
                plans = (
                    self._summary_plan("metrics_1m", query._replace(end_ms=fine_ms - 1)),
                    self._summary_plan("metrics_5s", query._replace(start_ms=fine_ms)),
                )
                own = [plan.only(variant, _SUMMARY_NAMES) for plan in plans]
                read = (view.read(p, *times, _SUMMARY) for p in own for times in p.slices())
                parts = [part for part in read if part is not None]
                if parts:
                    found[variant] = _add_up(parts)
        return found

    def _summary_plan(self, table: str, query: Query) -> _Plan:
        width_ms = self.SUMMARY_PART_MS
        while query.end_ms - query.start_ms > self.MOST_SUMMARY_PARTS * width_ms:
            width_ms *= 6
        return _Plan(query, table, width_ms, is_checked=True)

    @contextlib.contextmanager
    def _view(self) -> Iterator[_View]:
        """One unchanging view of the file and of what waits."""
        file = self._store.file
        # First, so that the reader has all that waits no longer; what it has already is left out.
        editions = {table: past.edition for table, past in file.past.items()}
        waiting, over_ms = self._store.unwritten()
        with file.reading(lambda: self._last_hour(over_ms["metrics_1m"])) as (reader, is_file):
            reader.execute("BEGIN")
            yield _View(reader, is_file, waiting, over_ms, file.past, editions)
            reader.execute("COMMIT")

    def _last_hour(self, over_ms: int) -> sqlite3.Connection:
        """A database of it in memory. What comes afterwards waits to be written, and shows so."""
        reader = _connect(":memory:", _create_tables)
        with _transaction(reader):
            self._store.insert_last_hour(reader)
            reader.execute(_DOWNSAMPLE, (0, over_ms))
        return reader


def _utf8(text: bytes) -> bytes:
    """What SQLite takes for text, though somebody else may have written any bytes into it."""
    return text if text.isascii() else text.decode("utf-8", "replace").encode()


def _bins(query: Query, base_ms: int) -> tuple[int, int]:
    """Width and origin of the bins that leave at most ``points`` rows per variant.

    They lie on multiples of their width, so that a row does not wander between requests; but no
    multiple need hold a whole window, so a single bin begins where the window does.
    """
    span_ms = query.end_ms - query.start_ms + 1
    if query.points is None:
        return base_ms, 0
    if query.points == 1:
        return span_ms, query.start_ms
    step_ms = max(math.ceil(span_ms / query.points / base_ms), 1) * base_ms
    while query.end_ms // step_ms - query.start_ms // step_ms >= query.points:
        step_ms += base_ms
    return step_ms, 0


def _add_up(parts: Sequence[tuple[Any, ...]]) -> Summary:
    """Rows of _SUMMARY as one; a sum of nothing is None."""
    buckets, *columns = zip(*parts, strict=True)
    known = ([number for number in column if number is not None] for column in columns)
    sums = [sum(numbers) if numbers else None for numbers in known]
    first, last = len(_SUMMARY_COUNTS), len(_SUMMARY_COUNTS) + len(LEVELS)
    levels = (
        None if not seconds or weighted is None else weighted / seconds
        for weighted, seconds in zip(sums[first:last], sums[last:], strict=True)
    )
    merged = _sum_by_key(json.loads(text) for text in buckets if text)
    return Summary(tuple(sums[:first]), tuple(levels), merged)


# ---- Collector -----------------------------------------------------------------------------------


class _HttpConnection(http.client.HTTPConnection):
    """A connection that asks its Fetch for the socket."""

    fetch: Fetch

    def connect(self) -> None:
        self.sock = self.fetch.dial(self.host, self.port)


class _HttpsConnection(http.client.HTTPSConnection):
    fetch: Fetch
    context: ClassVar[ssl.SSLContext | None] = None

    def connect(self) -> None:
        if self.context is None:  # reading the CA certificates takes 20 ms: once, where needed
            type(self).context = ssl.create_default_context()
        assert self.context is not None
        plain = self.fetch.dial(self.host, self.port)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.host)


class Fetch:
    """One GET of a target's metrics, which another thread may ``abort`` at its deadline.

    ``address`` is connected to instead of the URL's host, whose name still goes into the Host
    header and is checked against the certificate. Proxies of the environment play no part.
    urllib.request would not do: it bounds each read but not the whole, reads the body of a
    redirect however long it is, and takes credentials along to another host.
    """

    MAX_REDIRECTS = 5
    REDIRECTS = frozenset({301, 302, 303, 307, 308})
    CHUNK_BYTES = 65_536

    def __init__(self, url: str, timeout_s: float, max_bytes: int, address: str | None = None):
        self._url = url
        self._timeout_s = timeout_s
        self._deadline_s = time.monotonic() + timeout_s
        self._max_bytes = max_bytes
        self._address = address
        self.is_elsewhere = False  # redirected to another server than the URL's
        self._socket_lock = threading.Lock()  # guards the two below against abort()
        self._handle: socket.socket | None = None
        self._is_aborted = False

    def abort(self) -> None:
        """Let ``run`` fail now, whatever it waits for; a name look-up alone cannot be cut short."""
        with self._socket_lock:
            self._is_aborted = True
            if self._handle:
                with contextlib.suppress(OSError):
                    self._handle.shutdown(socket.SHUT_RDWR)

    def run(self) -> tuple[bytes, float]:
        """The body, decompressed, and when the answer began on the monotonic clock.

        Raises ScrapeError.
        """
        try:
            return self._follow()
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._is_aborted or isinstance(error, TimeoutError):
                raise self.too_late(self._timeout_s) from None
            raise ScrapeError(_reason(error)) from error
        finally:
            self._release()

    @staticmethod
    def too_late(timeout_s: float) -> ScrapeError:
        return ScrapeError(f"no complete answer within {format_duration(timeout_s)}")

    def dial(self, host: str, port: int) -> socket.socket:
        """A connected socket; a second handle on it stays here for ``abort``."""
        self._release()
        first_host = urllib.parse.urlsplit(self._url).hostname
        name = self._address if self._address and host.strip("[]") == first_host else host
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(
            name.strip("[]"), port, type=socket.SOCK_STREAM
        ):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(max(self._deadline_s - time.monotonic(), 0.001))
                connection.connect(address)
                self._hold(connection)
                return connection
            except OSError as failure:
                error = failure
                connection.close()
        raise error or OSError(f"{host} has no address")

    def _hold(self, connection: socket.socket) -> None:
        with self._socket_lock:
            if self._is_aborted:
                raise TimeoutError
            self._handle = connection.dup()

    def _release(self) -> None:
        with self._socket_lock:
            if self._handle:
                self._handle.close()
                self._handle = None

    def _follow(self) -> tuple[bytes, float]:
        url = self._url
        for _ in range(self.MAX_REDIRECTS + 1):
            parts = urllib.parse.urlsplit(url)
            self.is_elsewhere = _server(parts) != _server(urllib.parse.urlsplit(self._url))
            connection = self._connection(parts)
            try:
                connection.request("GET", _request_target(parts), headers=self._headers(url))
                # A response that ends its connection owns the socket: closing the latter is no use.
                with connection.getresponse() as response:
                    at_s = time.monotonic()
                    if response.status in self.REDIRECTS and response.headers["Location"]:
                        url = _redirect(url, response.headers["Location"])
                        continue
                    if response.status != 200:
                        reason = response.reason[:80]
                        raise ScrapeError(f"answered {response.status} {reason}".rstrip())
                    return self._body(response), at_s
            finally:
                connection.close()
        raise ScrapeError(f"more than {self.MAX_REDIRECTS} redirects")

    def _connection(self, parts: urllib.parse.SplitResult) -> http.client.HTTPConnection:
        scheme, host, port = _server(parts)
        kind = _HttpsConnection if scheme == "https" else _HttpConnection
        connection: _HttpConnection | _HttpsConnection = kind(host, port)
        connection.fetch = self
        return connection

    def _headers(self, url: str) -> dict[str, str]:
        headers = {
            "Accept": "text/plain;version=0.0.4,*/*;q=0.1",
            "Accept-Encoding": "gzip",
            "User-Agent": f"zaidash/{__version__}",
            "Connection": "close",
        }
        parts, first = urllib.parse.urlsplit(url), urllib.parse.urlsplit(self._url)
        if parts.username is None and _server(parts) == _server(first):
            parts = first  # the credentials are meant for this server, and for no other
        if parts.username is not None:
            pair = f"{parts.username}:{parts.password or ''}"
            token = base64.b64encode(urllib.parse.unquote_to_bytes(pair))
            headers["Authorization"] = f"Basic {token.decode()}"
        return headers

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        encoding = (response.headers["Content-Encoding"] or "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise ScrapeError(f"answered with Content-Encoding {encoding[:40]!r}, asked for gzip")
        received = self._receive(response)
        return self._gunzip(received) if encoding == "gzip" else received

    def _receive(self, response: http.client.HTTPResponse) -> bytes:
        chunks, size = [], 0
        expected = response.length  # http.client counts this down and says nothing at the end
        # Not read(): it would take a chunk of negative length for "all there is".
        while chunk := response.read1(self.CHUNK_BYTES):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
        if self._is_aborted:
            raise TimeoutError
        if expected is not None and size < expected:
            raise ScrapeError(f"the body stopped after {size} of {expected} bytes")
        if expected is None and not size:
            raise ScrapeError("the answer ended before its body, or within its headers")
        return b"".join(chunks)

    def _gunzip(self, data: bytes) -> bytes:
        body, stream = bytearray(), None
        for start in range(0, len(data), self.CHUNK_BYTES):
            rest = data[start : start + self.CHUNK_BYTES]
            while rest:
                if self._is_aborted:  # a body may hold a million empty members
                    raise TimeoutError
                stream = stream or zlib.decompressobj(wbits=31)
                try:
                    body += stream.decompress(rest, self._max_bytes - len(body) + 1)
                except zlib.error as error:
                    raise ScrapeError(f"the body is not gzip: {error}") from None
                if len(body) > self._max_bytes:
                    raise self._too_large()
                rest, stream = (stream.unused_data, None) if stream.eof else (b"", stream)
        if stream is not None:
            raise ScrapeError(f"the gzip body stopped half way, after {len(data)} bytes")
        return bytes(body)

    def _too_large(self) -> ScrapeError:
        return ScrapeError(f"the body is larger than {self._max_bytes} bytes (SCRAPE_MAX_BYTES)")


def _redirect(url: str, location: str) -> str:
    """The URL to go on with. Raises ScrapeError where it is none of http(s)."""
    try:
        url = urllib.parse.urljoin(url, location)
        scheme, host, _ = _server(urllib.parse.urlsplit(url))
    except ValueError:
        scheme = host = ""
    if scheme and scheme not in ("http", "https"):
        raise ScrapeError(f"redirected to {scheme[:20]}://, which is not http(s)")
    if not host:  # what it is instead may hold credentials
        raise ScrapeError("redirected to what is not a URL")
    return url


def _server(parts: urllib.parse.SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port of a URL."""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port


def _request_target(parts: urllib.parse.SplitResult) -> str:
    safe = "/?%:@!$&'()*+,;=~-._"
    target = urllib.parse.quote(parts.path or "/", safe=safe)
    return f"{target}?{urllib.parse.quote(parts.query, safe=safe)}" if parts.query else target


def _reason(error: Exception) -> str:
    """A failed fetch in words; nothing in it comes from the URL, so no credential can."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the host name cannot be resolved: {getattr(error, 'strerror', error)}"
    if isinstance(error, http.client.IncompleteRead):
        return f"the body stopped half way, after {len(error.partial)} bytes of the last piece"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason}"
    if isinstance(error, http.client.HTTPException | ValueError):
        return f"the answer is not HTTP: {type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"{type(error).__name__}: {error}"


class TargetReport(NamedTuple):
    """What /api/targets says of a target."""

    health: str = "unknown"  # unknown, up, down
    last_error: str | None = None
    last_scrape_ms: int | None = None
    duration_ms: float | None = None
    samples: int | None = None
    warning: str | None = None


class Target:
    """A URL to scrape, what it said so far, and how the last scrape went.

    The collector thread owns ``state`` and changes ``report``, one immutable tuple for another.
    """

    BALANCED = (
        "process_start_time_seconds goes back and forth: several processes answer at this address,"
        " so its numbers are a part of the whole; list every replica, or let dns+http:// find them"
    )
    FOREIGN = "no zai-proxy metrics here: the answer has no zai_proxy_ series; check the address"

    def __init__(self, spec: TargetSpec, config: Config, address: str | None = None) -> None:
        self.spec = spec
        self.address = address
        self.parser = ExpositionParser(resolve_series, _PREFIXES, config.max_series)
        self.state = TargetState(config.max_series)
        self.report = TargetReport()
        self.durations = Timings()
        self.failures = 0
        self.under_way = 0  # threads that scrape it; more than one only where a look-up hangs

    @property
    def label(self) -> str:
        """The URL that is scraped, as it may be shown, with the address of a replica."""
        if self.address is None:
            return str(self.spec)
        parts = urllib.parse.urlsplit(mask_credentials(self.spec.url))
        scheme, _, port = _server(parts)
        credentials = "***@" if "@" in parts.netloc else ""
        netloc = f"{credentials}{Address(self.address, port)}"
        return urllib.parse.urlunsplit(parts._replace(scheme=scheme, netloc=netloc))

    def succeeded(self, tick_ms: int, duration_s: float, samples: int, now_s: float) -> None:
        warning = None
        if self.state.is_balanced(now_s):
            warning = self.BALANCED
        elif not self.state.has_proxy_series:
            warning = self.FOREIGN
        report = TargetReport("up", None, tick_ms, round(duration_s * 1000, 3), samples, warning)
        self._note(report, duration_s)

    def failed(self, tick_ms: int, duration_s: float, reason: str) -> None:
        self.failures += 1
        report = self.report._replace(
            health="down", last_error=reason, last_scrape_ms=tick_ms,
            duration_ms=round(duration_s * 1000, 3), samples=None)  # fmt: skip
        self._note(report, duration_s)

    def _note(self, report: TargetReport, duration_s: float) -> None:
        """Take the report, and log what changed: a failure that goes on is told once."""
        before, self.report = self.report, report
        self.durations.observe(duration_s)
        logger = log.getChild("collector")
        if report.last_error and report.last_error != before.last_error:
            logger.warning("scrape failed: target=%s reason=%s", self.label, report.last_error)
        elif before.last_error and not report.last_error:
            logger.info("scrape works again: target=%s", self.label)
        if report.warning and report.warning != before.warning:
            logger.warning("%s: target=%s", report.warning, self.label)


class _Scrape:
    """One scrape of one target at one tick, run by a thread of its own."""

    def __init__(self, target: Target, config: Config, started_s: float) -> None:
        self.target = target
        self.started_s = started_s
        self.fetch = Fetch(
            target.spec.url, config.timeout_s, config.max_body_bytes, target.address
        )  # fmt: skip
        self.is_abandoned = False  # past its deadline: the collector has counted it as failed
        self.samples: list[Sample] = []
        self.at_s = started_s
        self.error: str | None = None

    def run(self, done: queue.SimpleQueue[Any]) -> None:
        try:
            body, self.at_s = self.fetch.run()
            if not self.is_abandoned:
                self.samples = self.target.parser.parse(body, lambda: self.is_abandoned)
        except ExpositionError as error:
            # A target may lead anywhere in the network: what is there is not for the page to show.
            hidden = (
                f"redirected to another server, whose answer is no exposition: line {error.line}"
            )
            self.error = hidden if self.fetch.is_elsewhere and error.line else str(error)
        except ScrapeError as error:
            self.error = str(error)
        except Exception as error:  # a bug must not end the scraping of this target for good
            self.error = f"{type(error).__name__}: {error}"
            log.getChild("collector").exception("scrape crashed: target=%s", self.target.label)
        done.put(self)


class _Round:
    """The scrapes of one variant at one tick."""

    def __init__(self, tick_ms: int, deadline_s: float, scrapes: Iterable[_Scrape]) -> None:
        self.tick_ms = tick_ms
        self.deadline_s = deadline_s
        self.waiting = set(scrapes)
        self.readings: list[Reading] = []


class Variant:
    """What is known of one variant. The collector thread changes it, others read attributes."""

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.state = VariantState(name, config.interval_s, config.window_s)
        self.last: Snapshot | None = None
        self.last_tick_s = -math.inf  # monotonic
        self.is_healthy = False

    def has_snapshot_within(self, seconds: float, now_s: float) -> bool:
        return now_s - self.last_tick_s < seconds


class _Resolved(NamedTuple):
    """The addresses a dns+ target stands for now, or why they are not known."""

    spec: TargetSpec
    addresses: tuple[str, ...]
    error: str | None


def resolve_host(host: str, port: int) -> tuple[str, ...]:
    """Every address of a name, sorted. Raises socket.gaierror."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(sorted({str(address[0]) for *_, address in found}))


class Collector:
    """Scrapes all targets at once on every tick and hands each variant's snapshot on.

    Ticks lie on multiples of the interval in wall-clock time, so replicas of zaidash and charts of
    different days line up; everything measured uses the monotonic clock. A variant's snapshot
    leaves as soon as its own targets are done. One thread derives; it alone calls ``on_snapshot``
    with a Snapshot, and ``on_status`` with (variant, healthy, error) when a variant's health flips.
    """

    #: Ticks without a snapshot after which a variant is not healthy.
    UNHEALTHY_TICKS = 3
    #: Seconds between two look-ups of a dns+ target.
    DISCOVERY_S = 30.0
    #: Addresses of a dns+ target that are scraped: each is a thread per tick.
    MAX_REPLICAS = 256
    #: Threads of one target that may hang in a name look-up before it is no more tried.
    MAX_UNDER_WAY = 3

    def __init__(
        self,
        config: Config,
        on_snapshot: Callable[[Snapshot], None],
        on_status: Callable[[str, bool, str | None], None],
        wall: Callable[[], float] = time.time,
        resolve: Callable[[str, int], tuple[str, ...]] = resolve_host,
    ) -> None:
        self._config = config
        self._on_snapshot = on_snapshot
        self._on_status = on_status
        self._wall = wall
        self._resolve = resolve
        self._log = log.getChild("collector")
        self._interval_ms = round(config.interval_s * 1000)
        self._next_ms = 0  # the next tick
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._rounds: list[tuple[Variant, _Round]] = []
        self._discovery_errors: dict[TargetSpec, str | None] = {}
        self._stopping = threading.Event()
        self.variants = {name: Variant(name, config) for name in config.variants}
        # Replaced as a whole by the collector thread, so that others may walk through it.
        self.targets: tuple[Target, ...] = tuple(
            Target(spec, config) for spec in config.targets if not spec.discover
        )
        self._threads = [threading.Thread(target=self._run, name="collector", daemon=True)]
        self._threads += [
            threading.Thread(target=self._discover, args=(spec,), name="discovery", daemon=True)
            for spec in config.targets
            if spec.discover
        ]

    def start(self) -> None:
        self._log.info(
            "scraping: interval=%s targets=%s", format_duration(self._config.interval_s),
            ",".join(f"{spec.variant}={spec}" for spec in self._config.targets))  # fmt: skip
        for thread in self._threads:
            thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop ticking and cut off scrapes under way. May be called again."""
        self._stopping.set()
        self._done.put(None)
        stop_by_s = time.monotonic() + timeout_s
        for thread in self._threads:  # one that hangs in a look-up is left behind
            if thread.is_alive():
                thread.join(max(stop_by_s - time.monotonic(), 0))

    # What others ask: any thread

    def is_healthy(self, variant: Variant) -> bool:
        """Whether it had a snapshot within the last three ticks."""
        return variant.has_snapshot_within(
            self.UNHEALTHY_TICKS * self._config.interval_s, time.monotonic()
        )

    def error(self, variant: Variant) -> str | None:
        """Why targets of a variant are down, or None where none is."""
        failures = [
            f"{target.label}: {target.report.last_error}"
            for target in self.targets
            if target.spec.variant == variant.name and target.report.health == "down"
        ]
        failures += [
            f"{spec}: {error}"
            for spec, error in list(self._discovery_errors.items())
            if error and spec.variant == variant.name
        ]
        return "; ".join(failures) or None

    def reports(self) -> list[tuple[TargetSpec, str, TargetReport]]:
        """(spec, label, report) of every target; a name without addresses stands for itself."""
        rows = [(target.spec, target.label, target.report) for target in self.targets]
        found = {target.spec for target in self.targets}
        for spec in self._config.targets:
            if spec.discover and spec not in found:
                error = self._discovery_errors.get(spec)
                health = "down" if error else "unknown"
                rows.append((spec, str(spec), TargetReport(health=health, last_error=error)))
        return rows

    # The tick loop: the collector thread

    def _run(self) -> None:
        self._next_ms = self._next_tick_ms()
        while not self._stopping.is_set():
            try:
                self._take_all()
                self._close_late_rounds(time.monotonic())
                self._tick_if_due()
                self._watch_health()
            except Exception:  # a bug met by one tick must not end all the others
                self._log.exception("the collector failed")
        for _, one in self._rounds:
            for scrape in one.waiting:
                scrape.fetch.abort()

    def _tick_if_due(self) -> None:
        now_ms, next_ms = self._wall() * 1000, self._next_ms
        if now_ms >= next_ms:
            is_late = now_ms - next_ms >= self._interval_ms  # asleep, or the clock set forward
            self._next_ms = self._next_tick_ms()
            self._start_tick(self._next_ms - self._interval_ms if is_late else next_ms)
        elif next_ms - now_ms > 2 * self._interval_ms:
            # The wall clock was set back: go with it, but wait where one tick would come twice.
            self._next_ms = self._next_tick_ms()

    def _next_tick_ms(self) -> int:
        now_ms = math.floor(self._wall() * 1000)
        return now_ms - now_ms % self._interval_ms + self._interval_ms

    def _pause_s(self) -> float:
        """Until the next tick or the next deadline, whichever is first."""
        pause_s = self._next_ms / 1000 - self._wall()
        if self._rounds:
            pause_s = min(pause_s, min(r.deadline_s for _, r in self._rounds) - time.monotonic())
        return min(max(pause_s, 0.0), self._config.interval_s)

    def _start_tick(self, tick_ms: int) -> None:
        self._close_late_rounds(math.inf)  # or a snapshot might come after the next one
        now_s = time.monotonic()
        for variant in self.variants.values():
            scrapes = []
            for target in self.targets:
                if target.spec.variant == variant.name:
                    if target.under_way >= self.MAX_UNDER_WAY:
                        target.failed(tick_ms, 0.0, "the name look-ups of earlier ticks still hang")
                    else:
                        scrapes.append(_Scrape(target, self._config, now_s))
            if scrapes:
                one = _Round(tick_ms, now_s + self._config.timeout_s, scrapes)
                self._rounds.append((variant, one))
                for scrape in scrapes:
                    scrape.target.under_way += 1
                    thread = threading.Thread(
                        target=scrape.run, args=(self._done,), name="scrape", daemon=True
                    )
                    try:
                        thread.start()
                    except RuntimeError as error:  # the system has no thread left
                        scrape.error = f"{error}; allow this machine or container more of them"
                        self._done.put(scrape)

    def _take_all(self) -> None:
        """Wait for something to come in, and take whatever has."""
        with contextlib.suppress(queue.Empty):
            self._take(self._done.get(timeout=self._pause_s()))
            while True:
                self._take(self._done.get_nowait())

    def _take(self, message: Any) -> None:
        """Something came in: a scrape that ended, or what a name stands for now."""
        if isinstance(message, _Resolved):
            self._update_targets(message)
        elif isinstance(message, _Scrape):
            message.target.under_way -= 1
            if not message.is_abandoned:
                for variant, one in self._rounds:
                    if message in one.waiting:
                        self._finish_scrape(one, message)
                        self._finish_round(variant, one)
                        break

    def _finish_scrape(self, one: _Round, scrape: _Scrape) -> None:
        one.waiting.discard(scrape)
        target, now_s = scrape.target, time.monotonic()
        duration_s = now_s - scrape.started_s
        try:
            if scrape.error is not None:
                raise ScrapeError(scrape.error)
            reading = target.state.read(scrape.samples, scrape.at_s)
        except ScrapeError as error:
            target.failed(one.tick_ms, duration_s, str(error))
        else:
            one.readings.append(reading)
            target.succeeded(one.tick_ms, duration_s, len(scrape.samples), now_s)

    def _close_late_rounds(self, now_s: float) -> None:
        """Count what is past its deadline as failed; the thread ends when its fetch notices."""
        for variant, one in list(self._rounds):
            if one.deadline_s <= now_s:
                for scrape in list(one.waiting):
                    scrape.is_abandoned = True
                    scrape.fetch.abort()
                    scrape.error = str(Fetch.too_late(self._config.timeout_s))
                    self._finish_scrape(one, scrape)
                self._finish_round(variant, one)

    def _finish_round(self, variant: Variant, one: _Round) -> None:
        if one.waiting:
            return
        self._rounds = [(v, r) for v, r in self._rounds if r is not one]
        if not one.readings:
            return  # a gap, not a zero
        snapshot = variant.state.snapshot(one.tick_ms, one.readings)
        variant.last = snapshot
        variant.last_tick_s = one.deadline_s - self._config.timeout_s
        self._on_snapshot(snapshot)

    def _watch_health(self) -> None:
        for variant in self.variants.values():
            is_healthy = self.is_healthy(variant)
            if is_healthy != variant.is_healthy:
                variant.is_healthy = is_healthy
                error = self.error(variant)
                word = "healthy" if is_healthy else "not healthy"
                reason = f" error={error}" if error else ""
                self._log.info("variant is %s: variant=%s%s", word, variant.name, reason)
                self._on_status(variant.name, is_healthy, error)

    # Discovery

    def _discover(self, spec: TargetSpec) -> None:
        """Look a dns+ name up, at once and then every 30 s: a discovery thread."""
        _, host, port = _server(urllib.parse.urlsplit(spec.url))
        while not self._stopping.is_set():
            try:
                found = self._bounded(spec, self._resolve(host, port))
            except (OSError, ValueError, LookupError) as error:  # names no codec knows, too
                is_gone = getattr(error, "errno", None) in _NO_SUCH_NAME
                addresses = () if is_gone else self._addresses(spec)
                found = _Resolved(spec, addresses, _reason(error))
            self._done.put(found)
            self._stopping.wait(self.DISCOVERY_S)

    def _bounded(self, spec: TargetSpec, addresses: tuple[str, ...]) -> _Resolved:
        """At most MAX_REPLICAS addresses, those first that are scraped already."""
        if len(addresses) <= self.MAX_REPLICAS:
            return _Resolved(spec, addresses, None)
        before = self._addresses(spec)
        some = sorted(addresses, key=lambda address: address not in before)[: self.MAX_REPLICAS]
        error = (
            f"the name stands for more than {self.MAX_REPLICAS} addresses, the others are not"
            " scraped; spread them over several names"
        )
        return _Resolved(spec, tuple(some), error)

    def _addresses(self, spec: TargetSpec) -> tuple[str, ...]:
        return tuple(t.address for t in self.targets if t.spec == spec and t.address)

    def _update_targets(self, found: _Resolved) -> None:
        """Start with replicas that appeared, drop those that are gone, keep the rest."""
        if found.error != self._discovery_errors.get(found.spec) and found.error:
            self._log.warning("discovery failed: target=%s reason=%s", found.spec, found.error)
        self._discovery_errors[found.spec] = found.error
        before = self._addresses(found.spec)
        if set(before) == set(found.addresses):
            return
        self._log.info("replicas changed: target=%s addresses=%s", found.spec,
                       ",".join(found.addresses) or "none")  # fmt: skip
        kept = [t for t in self.targets if t.spec != found.spec or t.address in found.addresses]
        new = [Target(found.spec, self._config, a) for a in found.addresses if a not in before]
        self.targets = (*kept, *new)


#: A name that does not exist (any more), unlike a name server that does not answer.
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


# ---- Stream hub ----------------------------------------------------------------------------------


class Waker:
    """Gets a thread out of its selector: ``wake`` from anywhere, ``clear`` in that thread."""

    def __init__(self, selector: DefaultSelector) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        selector.register(self._reader, EVENT_READ, self)

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it is awake already; closed: it needs no call
            self._writer.send(b"\0")

    def clear(self) -> None:
        with contextlib.suppress(OSError):
            self._reader.recv(4096)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class Event(NamedTuple):
    """An SSE event as it goes over the wire, encoded once for all streams.

    ``frame`` is a chunk of ``Transfer-Encoding: chunked``; its payload, what an HTTP/1.0 client
    gets, lies between ``payload_at`` and the last two bytes. A snapshot's JSON lies at ``json``.
    ``end`` counts all bytes of frames up to and with this one.
    """

    number: int
    end: int
    at_s: float
    frame: bytes
    payload_at: int
    ts_ms: int | None = None
    variant: str = ""
    json: slice = slice(0)


_LAST_CHUNK = b"0\r\n\r\n"
_METRICS_HEAD, _METRICS_TAIL = b'data: {"type":"metrics","data":', b"}\n\n"


def parse_event_id(text: str | None) -> dict[str, int] | None:
    """The newest time a client has of every variant, from the id of the last event it got.

    Such as ``canary=1708500000000,production=1708500000000@5f3a9c21-1440``. None where there is
    no id, or none of ours. What follows the @ is for the Hub that made it.
    """
    seen = {}
    for part in (text or "").partition("@")[0].split(","):
        variant, _, ts_ms = part.strip().partition("=")
        if not _VARIANT.fullmatch(variant) or not re.fullmatch(r"[0-9]{1,15}", ts_ms):
            return None
        seen[variant] = int(ts_ms)
    return seen


class Stream:
    """One client's place in the log of events; only the streams thread touches it."""

    __slots__ = ("buffer", "end", "is_blocked", "is_chunked", "join", "join_end", "next",
                 "received", "seen", "socket")  # fmt: skip

    def __init__(self, connection: socket.socket, head: bytes, is_chunked: bool) -> None:
        self.socket = connection
        self.buffer = memoryview(head)  # what of an event is still to be sent
        self.is_chunked = is_chunked
        self.is_blocked = False  # the socket takes no more for now
        self.next = 0  # number of the next event to send
        self.end = 0  # Event.end of the last one taken
        self.join = 0  # number of the first event after it came; those before are replay
        self.join_end = 0
        self.received = 0  # bytes from the client
        self.seen: dict[str, int] = {}  # newest snapshots its client has, by variant


class Hub:
    """The log of the last hour's events, and one thread that brings every stream up to it.

    A stream is a socket and a position in the log, so replay, live data and lag are one thing: what
    lies between its position and the end. A stream with more than MAX_WAITING_BYTES of events
    since it joined still unsent is dropped; nobody waits for anybody.
    """

    #: How long events are kept for a reconnecting client, and for /api/metrics.
    KEEP_S = 3_660.0
    #: Bytes of events kept at most: an hour of two variants at 5 s takes 1.5 MB.
    KEEP_BYTES = 32 * 1024 * 1024
    #: A stream for which more than this waits is dropped.
    MAX_WAITING_BYTES = 256 * 1024
    #: The kernel's share of a stream's backlog; left alone it would hide hours of lag.
    SEND_BUFFER_BYTES = 32 * 1024
    #: What a client may send on its stream; one that floods it is ended.
    MAX_RECEIVED_BYTES = 16 * 1024
    #: Events sent together at most.
    AT_ONCE = 8
    HEARTBEAT_S = 30.0

    def __init__(
        self,
        hello: Mapping[str, Any],
        max_streams: int = 10_000,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hello = _encode(hello)
        self.max_streams = max_streams
        self._wall, self._mono = wall, mono
        self._log = log.getChild("sse")
        # Guards the six below, which publishers, readers and the streams thread share.
        self._log_lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._first = 0  # number of the oldest event kept
        self._end = 0  # bytes of all frames ever
        self._newest: dict[str, int] = {}  # ts_ms by variant
        self._run_id = os.urandom(4).hex()  # tells the event numbers of this run from others
        self._complete_from_ms = round(wall() * 1000)  # every snapshot since then is in the log
        self._joining: list[Stream] = []
        self._streams: set[Stream] = set()
        self._selector = DefaultSelector()
        self._waker = Waker(self._selector)
        self._heartbeat_at_s = 0.0
        self._tail = (0, 0, memoryview(b""))  # first number, last plus one, and all their frames
        self._sent_end = 0  # every stream that is not blocked has got all up to here
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self.dropped = 0

    # Publishing and reading: any thread

    def load(self, snapshots: Iterable[tuple[int, str, bytes]], complete_from_ms: int) -> None:
        """Begin the log with (ts, variant, encoded) of earlier runs, oldest first."""
        with self._log_lock:
            self._complete_from_ms = complete_from_ms
        behind_s = self._mono() - self._wall()
        for ts_ms, variant, encoded in snapshots:
            self._append_snapshot(ts_ms, variant, encoded, ts_ms / 1000 + behind_s)

    def publish(self, snapshot: Snapshot) -> None:
        """Send a snapshot to every stream."""
        self._append_snapshot(snapshot.ts_ms, snapshot.variant, snapshot.encoded, self._mono())
        self._waker.wake()

    def announce(self, kind: str, data: Mapping[str, Any]) -> None:
        """Send ``{"type": kind, "data": data}`` to the streams open now; it is not replayed."""
        payload = b"data: %s\n\n" % _encode({"type": kind, "data": data})
        with self._log_lock:
            self._append(payload, self._mono())
        self._waker.wake()

    def recent(self, start_ms: int, variants: Sequence[str]) -> list[Event] | None:
        """The snapshots since a time, oldest first; None where the log begins later."""
        with self._log_lock:
            if start_ms < self._complete_from_ms:
                return None
            events = list(self._events)
        wanted = {  # the first of a time stays, as in the table
            (event.ts_ms, event.variant): event
            for event in reversed(events)
            if event.ts_ms is not None and event.ts_ms >= start_ms and event.variant in variants
        }
        return [wanted[key] for key in sorted(wanted)]

    def everything(self) -> list[bytes]:
        """The encoded snapshots of the last hour, however much of it there is."""
        with self._log_lock:
            return [event.frame[event.json] for event in self._events if event.ts_ms is not None]

    @property
    def is_full(self) -> bool:
        return self.open_streams >= self.max_streams

    @property
    def open_streams(self) -> int:
        return len(self._streams) + len(self._joining)

    def join(
        self, connection: socket.socket, head: bytes, is_chunked: bool, last_id: str | None
    ) -> bool:
        """Take over a socket: send it ``head``, the greeting, what it missed, and all that comes.

        ``last_id`` is the id of the last event its client has, or None to start with what is new.
        False, with the socket untouched, where there are too many streams or the hub is closing.
        """
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.SEND_BUFFER_BYTES)
        frame, payload_at = _frame(b"data: %s\n\n" % self._hello)
        greeting = frame if is_chunked else frame[payload_at:-2]
        stream = Stream(connection, head + greeting, is_chunked)
        with self._log_lock:
            if self._stopping or self.is_full:
                return False
            stream.join = self._first + len(self._events)
            stream.next, stream.seen = self._begin(last_id, stream.join)
            stream.join_end = self._end
            self._joining.append(stream)
        self._waker.wake()
        return True

    def _begin(self, last_id: str | None, end: int) -> tuple[int, dict[str, int]]:
        """The number of the event to begin with, and times up to which to leave events out."""
        seen = parse_event_id(last_id)
        run_id, _, number = (last_id or "").partition("@")[2].partition("-")
        if seen is not None and run_id == self._run_id and re.fullmatch(r"[0-9]{1,15}", number):
            return min(int(number) + 1, end), {}  # exact, even where the clock was set back
        if seen is None:
            return end, {}
        # Whoever sends a thousand made-up names must not have them kept for as long as it listens.
        return self._first, {name: ts for name, ts in seen.items() if name in self._newest}

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout_s: float = 1.0) -> None:
        """End all streams and the thread. May be called again."""
        with self._log_lock:
            self._stopping = True  # from here on nobody joins
        self._waker.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._waker.close()
            self._selector.close()

    def _append_snapshot(self, ts_ms: int, variant: str, encoded: bytes, at_s: float) -> None:
        with self._log_lock:
            self._newest[variant] = max(ts_ms, self._newest.get(variant, 0))
            newest = ",".join(f"{name}={ts}" for name, ts in sorted(self._newest.items()))
            number = self._first + len(self._events)
            head = f"id: {newest}@{self._run_id}-{number}\n".encode() + _METRICS_HEAD
            payload = head + encoded + _METRICS_TAIL
            json_at = slice(len(head), len(head) + len(encoded))
            self._append(payload, at_s, ts_ms, variant, json_at)

    def _append(self, payload: bytes, at_s: float, ts_ms: int | None = None, variant: str = "",
                json_at: slice = slice(0)) -> None:  # fmt: skip
        """Add an event; the log lock is held."""
        frame, payload_at = _frame(payload)
        if variant:
            json_at = slice(payload_at + json_at.start, payload_at + json_at.stop)
        self._end += len(frame)
        number = self._first + len(self._events)
        event = Event(number, self._end, at_s, frame, payload_at, ts_ms, variant, json_at)
        self._events.append(event)
        self._trim()

    def _trim(self) -> None:
        """Forget what is too old or too much; the log lock is held."""
        oldest_s = self._mono() - self.KEEP_S
        while self._events and (
            self._events[0].at_s < oldest_s or self._end - self._events[0].end > self.KEEP_BYTES
        ):
            event = self._events.popleft()
            self._first += 1
            self._complete_from_ms = max(self._complete_from_ms, (event.ts_ms or 0) + 1)

    # The streams thread

    def _run(self) -> None:
        self._heartbeat_at_s = self._mono() + self.HEARTBEAT_S
        while not self._stopping:
            try:
                self._serve()
            except Exception:  # a bug met by one stream must not end all the others
                self._log.exception("the streams thread failed")
        self._say_goodbye()

    def _serve(self) -> None:
        """Wait for something to do, and do it for all streams."""
        ready = self._selector.select(max(self._heartbeat_at_s - self._mono(), 0))
        if self._mono() >= self._heartbeat_at_s:
            self._heartbeat_at_s += self.HEARTBEAT_S
            with self._log_lock:
                self._append(b": heartbeat\n\n", self._mono())
        for key, mask in ready:
            if key.data is self._waker:
                self._waker.clear()
            elif mask & EVENT_READ:
                self._listen(key.data)
            elif key.data in self._streams:
                self._send(key.data)
        self._welcome()
        if self._end != self._sent_end:  # only then is there something for all of them
            self._sent_end = self._end
            for stream in list(self._streams):
                if not stream.is_blocked:
                    self._send(stream)
                elif self._waiting_bytes(stream) > self.MAX_WAITING_BYTES:
                    self._drop_slow(stream)

    def _drop_slow(self, stream: Stream) -> None:
        self.dropped += 1
        waiting_bytes = self._waiting_bytes(stream)
        self._log.warning("dropped a stream that does not read: peer=%s waiting_bytes=%s",
                          _peer(stream.socket), waiting_bytes)  # fmt: skip
        self._end_stream(stream)

    def _welcome(self) -> None:
        with self._log_lock:
            joining, self._joining = self._joining, []
            self._streams.update(joining)
        for stream in joining:
            try:
                self._selector.register(stream.socket, EVENT_READ, stream)
            except (OSError, ValueError):  # closed by its client in the meantime
                self._end_stream(stream)
            else:
                self._send(stream)

    def _waiting_bytes(self, stream: Stream) -> int:
        return self._end - max(stream.end, stream.join_end) + len(stream.buffer)

    def _listen(self, stream: Stream) -> None:
        """A client has nothing to say on a stream; that it can be read mostly means it is gone."""
        try:
            received = len(stream.socket.recv(4096))
        except BlockingIOError:
            return
        except OSError:
            received = 0
        stream.received += received
        if not received or stream.received > self.MAX_RECEIVED_BYTES:
            self._end_stream(stream)

    def _send(self, stream: Stream) -> None:
        """Send until the stream is up to date or its socket is full."""
        try:
            while self._fill(stream):
                sent = stream.socket.send(stream.buffer)
                stream.buffer = stream.buffer[sent:]
        except BlockingIOError:
            self._set_blocked(stream, True)
        except OSError:
            self._end_stream(stream)
        else:
            self._set_blocked(stream, False)

    def _fill(self, stream: Stream) -> bool:
        """Put what comes next into an empty buffer; False where there is nothing."""
        if stream.buffer:
            return True
        if stream.end == self._end:  # read without the lock: it has the last event of all
            return False
        with self._log_lock:
            # Events a slow replay did not reach within the hour are gone.
            stream.next = max(stream.next, self._first)
            if stream.is_chunked and not stream.is_blocked and stream.next >= stream.join:
                return self._fill_from_tail(stream)
            while (index := stream.next - self._first) < len(self._events):
                event = self._events[index]
                stream.next += 1
                if event.number < stream.join and not _is_missed(event, stream.seen):
                    continue
                stream.end = event.end
                frame = memoryview(event.frame)
                stream.buffer = frame if stream.is_chunked else frame[event.payload_at : -2]
                return True
        return False

    def _fill_from_tail(self, stream: Stream) -> bool:
        """Several events in one call of the kernel, which costs most; the log lock is held.

        Variants publish in a row, and so thousands of streams lag by the same few events.
        """
        until = min(self._first + len(self._events), stream.next + self.AT_ONCE)
        if until == stream.next:
            return False
        if self._tail[:2] != (stream.next, until):
            numbers = range(stream.next - self._first, until - self._first)
            frames = b"".join(self._events[index].frame for index in numbers)
            self._tail = stream.next, until, memoryview(frames)
        stream.next, stream.end = until, self._events[until - self._first - 1].end
        stream.buffer = self._tail[2]
        return True

    def _set_blocked(self, stream: Stream, is_blocked: bool) -> None:
        if is_blocked != stream.is_blocked:
            stream.is_blocked = is_blocked
            events = EVENT_READ | EVENT_WRITE if is_blocked else EVENT_READ
            self._selector.modify(stream.socket, events, stream)

    def _end_stream(self, stream: Stream) -> None:
        self._streams.discard(stream)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(stream.socket)
        stream.socket.close()

    def _say_goodbye(self) -> None:
        self._welcome()
        for stream in list(self._streams):
            with contextlib.suppress(OSError):
                if stream.is_chunked and not stream.buffer:
                    stream.socket.send(_LAST_CHUNK)
            self._end_stream(stream)


def _frame(payload: bytes) -> tuple[bytes, int]:
    """A payload as one chunk, and where in it the payload begins."""
    head = b"%x\r\n" % len(payload)
    return head + payload + b"\r\n", len(head)


def _is_missed(event: Event, seen: Mapping[str, int]) -> bool:
    """Whether a client that knows of ``seen`` has yet to get this event from before it joined."""
    return event.ts_ms is not None and event.ts_ms > seen.get(event.variant, -1)


def _peer(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0])
    except OSError:
        return "gone"


# ---- HTTP ----------------------------------------------------------------------------------------

_JSON, _TEXT, _CSV = "application/json", "text/plain; version=0.0.4; charset=utf-8", "text/csv"
PRESETS = ("5m", "15m", "1h", "6h", "24h", "7d")
FORMATS = ("json", "columns", "csv")
MOST_POINTS = 100_000
_SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:;"
        " font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'self'",
    ),
)


class Request(NamedTuple):
    """What a route function may know of a request."""

    path: str
    query: Mapping[str, str]
    head: Head


class StreamStart(NamedTuple):
    """A body that becomes an SSE stream, from the event after the client's last one on."""

    last_id: str | None


class Response(NamedTuple):
    """An answer. A body that is an iterator is sent piece by piece as it is made."""

    body: bytes | Iterator[bytes] | StreamStart
    content_type: str = _JSON
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)
    gzipped: bytes | None = None  # the same body, compressed beforehand


def _json_response(value: Any, status: int = 200) -> Response:
    return Response(_encode(value), status=status)


def _whole_or_float(number: float) -> int | float:
    return int(number) if number.is_integer() else number


def error_response(error: RequestError) -> Response:
    body = _encode({"error": str(error)})
    return Response(
        body, status=error.status, headers=(("Cache-Control", "no-store"), *error.headers)
    )


# Parameters


def parse_time(text: str) -> int:
    """Milliseconds since the epoch, from that or from RFC 3339. Raises ValueError."""
    if re.fullmatch(r"[0-9]{1,15}", text):
        return int(text)
    # A + that nobody escaped arrives as a space.
    moment = datetime.fromisoformat(text.replace(" ", "+"))
    if moment.tzinfo is None:
        raise ValueError("no offset from UTC")
    return math.floor(moment.timestamp() * 1000)


def parse_window(query: Mapping[str, str], config: Config, now_ms: int) -> tuple[int, int]:
    """First and last millisecond of ``start``/``end``, or of the ``range`` up to ``end`` or now."""
    range_ms = _parse_range(query.get("range", "1h"), config)
    times = {}
    for name in ("start", "end"):
        if name in query:
            try:
                times[name] = parse_time(query[name])
            except (ValueError, OverflowError):
                raise RequestError(
                    400,
                    f"{name}={query[name]!r}: expected milliseconds since the epoch"
                    " or RFC 3339 such as 2026-06-21T10:30:00Z",
                ) from None
    end_ms = times.get("end", now_ms)
    start_ms = times.get("start", end_ms - range_ms + 1)
    if start_ms > end_ms:
        raise RequestError(
            400, f"start={start_ms} lies after end={end_ms}; both are ms since the epoch"
        )
    # Nothing is older than the retention, and a window without end would be cut in endless slices.
    oldest_ms = now_ms - 2 * round(max(config.retention_5s_s, config.retention_1m_s) * 1000)
    return max(start_ms, oldest_ms), min(end_ms, max(now_ms, oldest_ms))


def _parse_range(text: str, config: Config) -> int:
    longest_s = max(config.retention_5s_s, config.retention_1m_s)
    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0
    if text not in PRESETS and not 1 <= seconds <= longest_s:
        raise RequestError(
            400,
            f"range={text!r}: expected {', '.join(PRESETS)} or another duration from 1s"
            f" up to the retention of {format_duration(longest_s)}",
        )
    return round(seconds * 1000)


def parse_variants(query: Mapping[str, str], config: Config) -> tuple[str, ...]:
    """The variants asked for: ``all``, a configured one, or one of the two everybody knows."""
    text = query.get("variant", "all")
    if text == "all":
        return config.variants
    allowed = dict.fromkeys(("all", *config.variants, "production", "canary"))
    if text not in allowed:
        raise RequestError(400, f"variant={text!r}: expected one of {', '.join(allowed)}")
    return (text,)


def parse_fields(query: Mapping[str, str]) -> tuple[Field, ...]:
    """The fields asked for, in the table's order; timestamp and variant come in any case."""
    if "fields" not in query:
        return FIELDS
    names = {name.strip() for name in query["fields"].split(",")} - {"timestamp", "variant"}
    if unknown := sorted(names - FIELD_INDEX.keys()):
        raise RequestError(
            400, f"fields={unknown[0]!r}: expected a comma list of {', '.join(FIELD_INDEX)}"
        )
    return tuple(field for field in FIELDS if field.name in names)


def parse_points(query: Mapping[str, str]) -> int | None:
    text = query.get("points")
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST_POINTS:
        raise RequestError(400, f"points={text!r}: expected a whole number from 1 to {MOST_POINTS}")
    return int(text)


# Routes: (app, request) -> Response


def get_healthz(app: App, request: Request) -> Response:
    return _json_response({"status": "ok"})


def get_readyz(app: App, request: Request) -> Response:
    reasons = app.not_ready()
    if reasons:
        return _json_response({"status": "not ready", "reasons": reasons}, status=503)
    return _json_response({"status": "ready"})


def get_health(app: App, request: Request) -> Response:
    """What /readyz says, for the page: a browser logs an error for every 503."""
    reasons = app.not_ready()
    return _json_response({"ready": not reasons, "reasons": reasons})


#: What /api/status takes from the last snapshot, and the names it has there.
STATUS_FIELDS = {
    "req_rate": "req_rate",
    "error_rate_pct": "error_rate_pct",
    "latency_p50_ms": "latency_p50",
    "concurrent": "concurrent_requests",
    "worker_utilization": "worker_utilization",
    "rate_limit_rps": "rate_limit_rps",
    "token_rate_in": "token_rate_in",
    "token_rate_out": "token_rate_out",
}


def get_status(app: App, request: Request) -> Response:
    answer = {}
    for variant in app.collector.variants.values():
        last = variant.last
        answer[variant.name] = {
            "healthy": app.collector.is_healthy(variant),
            "last_scrape": format_time(last.ts_ms) if last else None,
            **{name: last.get(field) if last else None for name, field in STATUS_FIELDS.items()},
        }
    return _json_response(answer)


def get_metrics(app: App, request: Request) -> Response:
    now_ms = round(app.wall() * 1000)
    start_ms, end_ms = parse_window(request.query, app.config, now_ms)
    query = Query(start_ms, end_ms, parse_variants(request.query, app.config),
                  parse_fields(request.query), parse_points(request.query))  # fmt: skip
    kind = request.query.get("format", "json")
    if kind == "columns":
        return Response(app.history.json_columns(query))
    if kind == "csv":
        return Response(app.history.csv_rows(query), content_type=_CSV + "; charset=utf-8")
    if kind != "json":
        raise RequestError(400, f"format={kind!r}: expected one of {', '.join(FORMATS)}")
    is_last_hour = end_ms == now_ms and end_ms - start_ms < History.FINE_RANGE_MS
    if is_last_hour and query.fields == FIELDS and query.points is None:
        recent = app.hub.recent(start_ms, query.variants)
        if recent is not None:
            return Response(_joined(recent))
    return Response(app.history.json_rows(query))


def _joined(events: Sequence[Event], at_once: int = 100) -> Iterator[bytes]:
    """A JSON array of snapshots, in pieces of some ten kilobytes: a whole hour may be 32 MB."""
    yield b"["
    for first in range(0, len(events), at_once):
        yield b"," if first else b""
        yield b",".join(event.frame[event.json] for event in events[first : first + at_once])
    yield b"]"


def get_config(app: App, request: Request) -> Response:
    config = app.config
    return _json_response({
        "scrape_interval": _whole_or_float(config.interval_s),
        "targets": [str(spec) for spec in config.targets],
        "variants": list(config.variants),
        "retention_5s": _whole_or_float(config.retention_5s_s),
        "retention_1m": _whole_or_float(config.retention_1m_s),
        "version": __version__,
    })  # fmt: skip


def get_targets(app: App, request: Request) -> Response:
    return _json_response([
        {
            "url": label,
            "variant": spec.variant,
            "health": report.health,
            "last_error": report.last_error,
            "last_scrape": None if report.last_scrape_ms is None
                           else format_time(report.last_scrape_ms),
            "scrape_duration_ms": report.duration_ms,
            "samples": report.samples,
            "warning": report.warning,
        }
        for spec, label, report in app.collector.reports()
    ])  # fmt: skip


def get_summary(app: App, request: Request) -> Response:
    now_ms = round(app.wall() * 1000)
    start_ms, end_ms = parse_window(request.query, app.config, now_ms)
    variants = parse_variants(request.query, app.config)
    query = Query(start_ms, end_ms, variants)
    before = Query(start_ms - (end_ms - start_ms + 1), start_ms - 1, variants)
    now = app.history.summarize(query)
    # Where retention has cut into the window before, there is nothing to compare with.
    oldest_ms = now_ms - round(app.config.retention_1m_s * 1000)
    then = app.history.summarize(before) if before.start_ms >= oldest_ms else {}
    answer = {}
    for name in variants:
        variant = app.collector.variants.get(name)
        bounds = variant.state.bounds if variant else ()
        answer[name] = {**_summary(now.get(name), bounds),
                        "previous": _summary(then.get(name), bounds)}  # fmt: skip
    return _json_response(answer)


def _summary(summary: Summary | None, bounds: Iterable[float]) -> dict[str, Any]:
    summary = summary or Summary((None,) * 6, (None,) * len(LEVELS), {})
    # Rates times seconds leave crumbs behind the comma; these are counts.
    counts = [None if count is None else round(count, 3) for count in summary.counts]
    requests, errors, inputs, outputs, reads, writes = counts
    prompt = None if inputs is None else inputs + (reads or 0) + (writes or 0)
    by_bound = {**dict.fromkeys(map(format_bound, bounds), 0), **summary.latency_buckets}
    bounds_and_counts = ((parse_bound(le), count) for le, count in by_bound.items())
    buckets = sorted((bound, count) for bound, count in bounds_and_counts if bound is not None)
    totals = itertools.accumulate(count for _, count in buckets)
    cumulative = list(zip((bound for bound, _ in buckets), totals, strict=True))
    answer = {
        "requests": requests,
        "errors": errors,
        "error_rate_pct": None if requests is None else 100 * (errors or 0) / (requests or 1),
        "tokens_input": inputs,
        "tokens_output": outputs,
        "tokens_cache_read": reads,
        "tokens_cache_write": writes,
        "cache_hit_ratio": (reads or 0) / prompt if prompt else None,
    }
    for q in (50, 95, 99):
        seconds = quantile(q / 100, cumulative)
        answer[f"latency_p{q}"] = None if seconds is None else seconds * 1000
    answer.update(zip(LEVELS, summary.levels, strict=True))
    return {name: None if x is None else tidy(x, whole=False) for name, x in answer.items()}


def get_events(app: App, request: Request) -> Response:
    return Response(
        StreamStart(request.head.get("last-event-id") or request.query.get("last_event_id")),
        content_type="text/event-stream",
        headers=(("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")),
    )


def get_own_metrics(app: App, request: Request) -> Response:
    return Response(app.exposition().encode(), content_type=_TEXT)


# Routes


class Route(NamedTuple):
    """A row of ROUTES: who answers a path, which parameters it takes, whether it is ``open``.

    ``is_long`` answers come out of the database: only half of MAX_REQUESTS may be such, so that a
    crowd of slow readers leaves room for everything else.
    """

    answer: Callable[[App, Request], Response]
    parameters: frozenset[str] = frozenset()
    is_open: bool = False
    is_long: bool = False


_WINDOW = frozenset({"range", "start", "end", "variant"})
#: What there is beside the page. deploy/openapi.py describes each of them.
ROUTES: Mapping[str, Route] = {
    "/healthz": Route(get_healthz, is_open=True),
    "/readyz": Route(get_readyz, is_open=True),
    "/api/health": Route(get_health),
    "/api/status": Route(get_status),
    "/api/metrics": Route(get_metrics, _WINDOW | {"fields", "points", "format"}, is_long=True),
    "/api/config": Route(get_config),
    "/api/targets": Route(get_targets),
    "/api/summary": Route(get_summary, _WINDOW, is_long=True),
    "/api/events": Route(get_events, frozenset({"last_event_id"})),
    "/metrics": Route(get_own_metrics),
}


# The page


class StaticFile(NamedTuple):
    body: bytes
    content_type: str
    etag: str
    is_immutable: bool


_HASHED_NAME = re.compile(r".+-(?=[^.]*[0-9A-Z])[0-9A-Za-z_-]{8}\.[0-9a-z]+")


def find_static() -> tuple[Path, ...]:
    """Where the page may be: beside this file, wherever links to it lead, or as it was called.

    In zaidash.pyz "beside" is inside the archive, and in an installed package it is the package.
    """
    file = globals().get("__file__", "<string>")
    if file.startswith("<"):  # ``python -c``, or piped into ``python -``
        return ()
    here = Path(file)
    return tuple(dict.fromkeys(f.parent / "static" for f in (here.resolve(), here.absolute())))


def read_static(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their relative names, also where it lies in a zip archive."""
    if folder.is_dir():
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in _files(folder)}
    for archive in filter(Path.is_file, folder.parents):
        import zipfile  # nobody else should wait for it

        start = folder.relative_to(archive).as_posix() + "/"
        with zipfile.ZipFile(archive) as entries:
            names = [name for name in entries.namelist() if not name.endswith("/")]
            return {n.removeprefix(start): entries.read(n) for n in names if n.startswith(start)}
    return {}


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder. Links are followed, hidden names are not.

    A mounted ConfigMap is nothing but links into a hidden folder.
    """
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith("."):
            yield from _files(path)
        elif path.is_file() and not path.name.startswith("."):
            yield path


def load_static(folders: Sequence[Path]) -> dict[str, StaticFile]:
    """The page of the first folder that has one, by URL path.

    It is read once: no path of a request ever meets the file system. Without a page all else works.
    """
    looked = ", ".join(map(str, folders)) or "nowhere, for zaidash.py was not run from a file"
    try:
        page = next(filter(None, map(read_static, folders)), None)
    except OSError as error:
        log.getChild("http").warning("there is no page: %s; make its files readable", error)
        return {}
    if page is None:
        log.getChild("http").warning(
            "there is no page: copy the folder static/ beside zaidash.py; looked=%s", looked
        )
        return {}
    files = {f"/{n}": _static_file(n, body) for n, body in page.items() if not n.endswith(".gz")}
    return files | ({"/": files["/index.html"]} if "/index.html" in files else {})


def _static_file(name: str, body: bytes) -> StaticFile:
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if content_type.startswith("text/") or content_type.endswith(("javascript", "json")):
        content_type += "; charset=utf-8"
    return StaticFile(
        body,
        content_type,
        f'"{hashlib.sha256(body).hexdigest()[:16]}"',
        name.startswith("assets/") and _HASHED_NAME.fullmatch(Path(name).name) is not None,
    )


@functools.cache
def _compressed(body: bytes) -> bytes | None:
    """A file of the page, made small when it is first asked for: start-up does not wait for it."""
    gzipped = _gzip(body, 9)
    return gzipped if len(gzipped) < len(body) else None


def _gzip(body: bytes, level: int = 6) -> bytes:
    return zlib.compress(body, level, wbits=31)


def get_static(files: Mapping[str, StaticFile], request: Request) -> Response:
    file = files.get(request.path)
    if file is None:
        known = ", ".join(path for path in (*ROUTES, "/"))
        raise RequestError(404, f"nothing at {request.path[:200]!r}; there are {known}")
    caching = "public, max-age=31536000, immutable" if file.is_immutable else "no-cache"
    # The tag is weak: it names the content, gzipped or not.
    etag = f"W/{file.etag}"
    headers = (("Cache-Control", caching), ("ETag", etag), ("Vary", "Accept-Encoding"))
    etags = request.head.get("if-none-match").split(",")
    asked = [etag.strip().removeprefix("W/") for etag in etags]
    if file.etag in asked or "*" in asked:
        return Response(b"", file.content_type, 304, headers)
    return Response(file.body, file.content_type, 200, headers, _compressed(file.body))


# The server


class Connection:
    """A client's socket and what is in hand of it; passed between server thread and handlers."""

    __slots__ = ("address", "deadline_s", "head", "inbox", "is_closing", "is_kept", "is_taken",
                 "outbox", "socket", "stuck_from_s")  # fmt: skip

    def __init__(self, connection: socket.socket, address: Any) -> None:
        self.socket = connection
        self.address = address
        self.inbox = b""  # received, not yet parsed
        self.head = b""  # the request to answer now
        self.outbox: deque[memoryview] = deque()  # pieces of an answer, still to be sent
        self.is_kept = True  # another request may follow
        self.is_taken = False  # the stream hub has the socket now
        self.is_closing = False  # nothing more is sent; what arrives is thrown away
        self.deadline_s = 0.0
        # While a long answer waits for its client: since when, had it waited in one go.
        self.stuck_from_s = math.inf

    def keep(self, pieces: Iterable[bytes], sent: int = 0) -> None:
        """Leave pieces to be sent, but for their first bytes; a file is shared, never copied."""
        for piece in pieces:
            if left := memoryview(piece)[sent:]:
                self.outbox.append(left)
            sent = max(sent - len(piece), 0)


#: What a client that goes away makes of a socket.
_GONE = (ConnectionError, TimeoutError, ssl.SSLError)
#: Begins with what a search can jump to: whoever drips a head has it looked for at every byte.
_HEAD_END = re.compile(rb"\n\r?\n")


class Server(ThreadingHTTPServer):
    """HTTP/1.1, with a thread for a request under way and none for a connection that waits.

    ``serve_forever`` holds the listening socket and all idle connections in one selector: half a
    request line, an idle keep-alive or an answer nobody reads costs a file descriptor. Only with a
    whole request head in hand is a thread started, at most MAX_REQUESTS of them; the next one gets
    503. What a client does not take of an answer at once is sent from here as well, except a long
    answer, whose thread waits and is one of at most half of MAX_REQUESTS.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 1024

    #: Seconds for a whole request head, and for the next request on an idle connection.
    HEAD_TIMEOUT_S = 10.0
    IDLE_TIMEOUT_S = 75.0
    #: Seconds a closed connection still listens, lest the client lose the answer to a reset.
    LINGER_S = 2.0
    #: Seconds within which a client takes a buffered answer, or a piece of a long one.
    SEND_TIMEOUT_S = 10.0
    #: Seconds within which it takes the whole of a long answer.
    LONG_ANSWER_S = 120.0
    #: Seconds that a long answer waits for its client before it gives its place to another request.
    GIVE_WAY_S = 5.0
    MAX_HEAD_BYTES = 16_384
    #: Waiting connections; past it the one that has waited longest makes room.
    MAX_CONNECTIONS = 2_000

    def __init__(self, app: App) -> None:
        self.app = app
        self._log = log.getChild("http")
        self._selector = DefaultSelector()
        self._waker = Waker(self._selector)
        self._returned: deque[Connection] = deque()
        self._waiting: dict[Connection, None] = {}  # the longest waiting first
        self._slots_lock = threading.Lock()  # guards the two below: handlers and this thread
        self._busy = 0
        self._long: set[Connection] = set()  # those with a long answer
        self._tell_again_s = 0.0  # when to log again that nobody can be accepted
        self._stopping = False
        self._stop_at_s = math.inf
        address = app.config.listen
        if address.host:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            self.address_family = found[0][0]
        elif socket.has_dualstack_ipv6():
            self.address_family = socket.AF_INET6
        super().__init__((address.host, address.port), RequestHandler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6 and not self.app.config.listen.host:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)  # without HTTPServer's look-up of our own name
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    # The connections thread

    def serve_forever(self, poll_interval: float = 1.0) -> None:
        self.socket.setblocking(False)
        self._selector.register(self.socket, EVENT_READ, self)
        next_sweep_s = time.monotonic() + 1
        while time.monotonic() < self._stop_at_s and not (self._stopping and self._is_drained()):
            ready = self._selector.select(0.05 if self._stopping else poll_interval)
            for key, mask in ready:
                try:
                    self._handle_event(key.data, mask)
                except Exception:  # a bug met by one connection must not end all the others
                    self._log.exception("the connections thread failed")
            while self._returned:
                self._flush(self._returned.popleft())
            if time.monotonic() >= next_sweep_s:
                next_sweep_s = time.monotonic() + 1
                self._sweep()
        for connection in list(self._waiting):
            self._drop(connection)

    def _handle_event(self, subject: Any, mask: int) -> None:
        if subject is self:
            self._accept()
        elif subject is self._waker:
            self._waker.clear()
        elif mask & EVENT_WRITE:
            self._flush(subject)
        else:
            self._receive(subject)

    def shutdown(self, timeout_s: float = 2.0) -> None:
        """Accept nothing more; let ``serve_forever`` return once what is under way is answered."""
        self._stop_at_s = time.monotonic() + timeout_s
        self._stopping = True
        self._waker.wake()

    def server_close(self) -> None:
        super().server_close()
        self._waker.close()
        self._selector.close()

    def _is_drained(self) -> bool:
        """Whether every request under way has its answer, all of it."""
        return not (self._busy or self._returned or any(c.outbox for c in self._waiting))

    def _accept(self) -> None:
        if self._stopping:
            self._selector.unregister(self.socket)
            return
        for _ in range(64):
            try:
                accepted, address = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of file descriptors, most likely: make room
                if time.monotonic() >= self._tell_again_s:
                    self._tell_again_s = time.monotonic() + 60
                    self._log.error("cannot accept a connection: reason=%s", error)
                oldest = list(self._waiting)[:16]
                for connection in oldest:
                    self._drop(connection)
                if not oldest:
                    time.sleep(0.05)
                return
            accepted.setblocking(False)
            with contextlib.suppress(OSError):
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._wait_for(Connection(accepted, address), EVENT_READ, self.HEAD_TIMEOUT_S)

    def _wait_for(self, connection: Connection, events: int, timeout_s: float) -> None:
        connection.deadline_s = time.monotonic() + timeout_s
        if connection in self._waiting:
            self._selector.modify(connection.socket, events, connection)
        else:
            self._selector.register(connection.socket, events, connection)
        self._waiting.pop(connection, None)
        self._waiting[connection] = None
        if len(self._waiting) > self.MAX_CONNECTIONS:
            self._drop(next(iter(self._waiting)))

    def _release(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self._selector.unregister(connection.socket)

    def _drop(self, connection: Connection) -> None:
        self._release(connection)
        connection.socket.close()

    def _sweep(self) -> None:
        """End what waited too long: in silence, but for half a request."""
        now_s = time.monotonic()
        for connection in list(self._waiting):
            if connection.deadline_s <= now_s:
                if connection.inbox and not connection.outbox and not connection.is_closing:
                    self._refuse(
                        connection, RequestError(408, "the request did not arrive in time")
                    )
                else:
                    self._drop(connection)

    def _receive(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(self.MAX_HEAD_BYTES)  # what follows waits in the kernel
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._drop(connection)
        if connection.is_closing:
            return
        is_idle = not connection.inbox
        connection.inbox = (connection.inbox + data).lstrip(b"\r\n")
        if is_idle and connection.inbox:  # from its first byte on, a request has its own deadline
            connection.deadline_s = time.monotonic() + self.HEAD_TIMEOUT_S
        self._dispatch(connection)

    def _dispatch(self, connection: Connection) -> bool:
        """Start a thread for a request whose head is complete."""
        if not self.take_head(connection):
            if len(connection.inbox) > self.MAX_HEAD_BYTES:
                most = f"the request head is larger than {self.MAX_HEAD_BYTES} bytes"
                self._refuse(connection, RequestError(431, most))
            return False
        if not self._take_slot():
            self._refuse(connection, RequestError(
                503, f"{self.app.config.max_requests} requests are under way (MAX_REQUESTS)",
                (("Retry-After", "1"),)))  # fmt: skip
            return False
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(connection, connection.address),
            name="request",
            daemon=True,
        )
        self._release(connection)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread left
            with self._slots_lock:
                self._busy -= 1
            self._refuse(connection, RequestError(503, str(error), (("Retry-After", "1"),)))
            return False
        return True

    def take_head(self, connection: Connection) -> bool:
        """Move a complete request head from the inbox to ``head``."""
        connection.inbox = connection.inbox.lstrip(b"\r\n")
        end = _HEAD_END.search(connection.inbox, 0, self.MAX_HEAD_BYTES)
        if end is None:
            return False
        connection.head = connection.inbox[: end.end()]
        connection.inbox = connection.inbox[end.end() :]
        return True

    def _refuse(self, connection: Connection, error: RequestError) -> None:
        """Answer without a thread, and close."""
        response = error_response(error)
        assert isinstance(response.body, bytes)
        head = response_head(response, [("Content-Length", str(len(response.body))),
                                        ("Connection", "close")], self.app.config)  # fmt: skip
        connection.is_kept = False
        connection.inbox = b""
        connection.keep([head, response.body])
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Send on what is left of an answer; then wait for the next request, or close."""
        try:
            while connection.outbox:
                sent = connection.socket.send(connection.outbox[0])
                connection.outbox[0] = connection.outbox[0][sent:]
                if not connection.outbox[0]:
                    connection.outbox.popleft()
        except BlockingIOError:
            return self._wait_for(connection, EVENT_WRITE, self.SEND_TIMEOUT_S)
        except OSError:
            return self._drop(connection)
        if not connection.is_kept or self._stopping:
            self._close_politely(connection)
        elif not (connection.inbox and self._dispatch(connection)) and connection.is_kept:
            timeout_s = self.HEAD_TIMEOUT_S if connection.inbox else self.IDLE_TIMEOUT_S
            self._wait_for(connection, EVENT_READ, timeout_s)

    def _close_politely(self, connection: Connection) -> None:
        """Say that nothing follows, and let the client close first."""
        try:
            connection.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return self._drop(connection)
        connection.is_closing = True
        self._wait_for(connection, EVENT_READ, self.LINGER_S)

    # Slots: the connections thread and handlers

    def _take_slot(self) -> bool:
        with self._slots_lock:
            if self._busy >= self.app.config.max_requests:
                return False
            self._busy += 1
            return True

    @contextlib.contextmanager
    def long_answer(self, connection: Connection) -> Iterator[None]:
        """Hold one of the slots for long answers. Raises RequestError where none is free."""
        limit = max(self.app.config.max_requests // 2, 1)
        with self._slots_lock:
            if len(self._long) >= limit and not self._end_slowest():
                raise RequestError(
                    503, f"{limit} history queries are under way (half of MAX_REQUESTS)",
                    (("Retry-After", "1"),))  # fmt: skip
            self._long.add(connection)
        try:
            yield
        finally:
            with self._slots_lock:
                self._long.discard(connection)

    def _end_slowest(self) -> bool:
        """Cut off the long answer whose client reads the least, if it is slow; the lock is held."""
        slowest = min(self._long, key=lambda connection: connection.stuck_from_s)
        if time.monotonic() - slowest.stuck_from_s < self.GIVE_WAY_S:
            return False
        self._long.discard(slowest)
        with contextlib.suppress(OSError):
            slowest.socket.shutdown(socket.SHUT_RDWR)  # its thread waits in sendall(), and ends
        return True

    @property
    def busy(self) -> int:
        """Requests under way."""
        return self._busy

    def shutdown_request(self, request: Any) -> None:
        """A handler's thread ends: give the slot back, and the connection where it lives on."""
        with self._slots_lock:
            self._busy -= 1
        if request.is_taken:
            return
        self._returned.append(request)
        self._waker.wake()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handler's thread failed; that a client goes away is no failure."""
        request.is_kept = False
        request.outbox.clear()
        if not isinstance(sys.exception(), _GONE):
            self._log.exception("a request failed: peer=%s", client_address[0])


def response_head(response: Response, extra: Iterable[tuple[str, str]], config: Config) -> bytes:
    """Status line and headers; HTTP/1.1 whatever the client speaks, as RFC 9110 has it."""
    reason = http.client.responses.get(response.status, "")
    date = email.utils.formatdate(usegmt=True)
    headers = [("Date", date), ("Content-Type", response.content_type), *response.headers, *extra]
    if config.cors_allow_origin:
        headers.append(("Access-Control-Allow-Origin", config.cors_allow_origin))
    lines = [f"HTTP/1.1 {response.status} {reason}"]
    lines += [f"{name}: {value}" for name, value in (*headers, *_SECURITY_HEADERS)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Head(NamedTuple):
    """A parsed request head. Header names in lower case, with every value they are given."""

    method: str
    target: str
    minor: int  # of HTTP/1.x
    headers: Mapping[str, list[str]]

    def get(self, name: str) -> str:
        """The values of a header as one, empty where there is none."""
        return ", ".join(self.headers.get(name, ()))


#: Header lines of a request.
MAX_HEADERS = 100

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/([0-9])\.([0-9])")
# Possessive, and the space behind the value cut off later: three runs of spaces that may share them
# in any way would take hours for a head full of them.
_HEADER_LINE = re.compile(rf"({_TOKEN}):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)")


def parse_head(head: bytes) -> Head:
    """A request line and headers, strictly: what one side of a proxy reads one way and the other
    side another way is how requests are smuggled. Raises RequestError.
    """
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\n")
    if len(lines) > MAX_HEADERS:
        raise RequestError(431, f"more than {MAX_HEADERS} headers")
    request = _REQUEST_LINE.fullmatch(first.removesuffix("\r"))
    if request is None:
        raise RequestError(400, f"expected an HTTP/1.1 request line, got {first[:80]!r}")
    method, target, major, minor = request.groups()
    if (major, minor) not in (("1", "0"), ("1", "1")):
        raise RequestError(505, f"HTTP/{major}.{minor} is not spoken here, only HTTP/1.1")
    headers: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        header = _HEADER_LINE.fullmatch(line.removesuffix("\r"))
        if header is None:
            raise RequestError(400, f"expected 'Name: value', got {line[:80]!r}")
        headers[header[1].lower()].append(header[2].rstrip(" \t"))
    if minor == "1" and len(headers["host"]) != 1:
        raise RequestError(400, "expected one Host header")
    lengths = headers.get("content-length", ["0"])
    if len(set(lengths)) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
        raise RequestError(400, f"expected one Content-Length, got {', '.join(lengths)[:80]!r}")
    return Head(method, target, int(minor), dict(headers))


def _origin_form(target: str) -> str:
    """``/path?query`` of a target that may be a whole URL, as a client sends it to a proxy."""
    absolute = re.fullmatch(r"https?://[^/?#\[\]]+(/[^#]*|\?[^#]*|)", target, re.IGNORECASE)
    if absolute is None:
        return target
    return absolute[1] if absolute[1].startswith("/") else f"/{absolute[1]}"


class RequestHandler(socketserver.BaseRequestHandler):
    """Parses one request, asks its route, writes the answer."""

    server: Server
    #: Smaller bodies are not worth compressing.
    GZIP_LEAST_BYTES = 1_000

    def setup(self) -> None:
        self._client: Connection = self.request
        self._head = Head("GET", "", 1, {})
        self._is_started = False
        self._keep_alive = False
        self._stuck_s = 0.0  # how long the client has let a long answer wait so far

    def handle(self) -> None:
        try:
            self._head = parse_head(self._client.head)
            connection = self._head.get("connection").lower()
            self._keep_alive = "close" not in connection and (
                self._head.minor == 1 or "keep-alive" in connection
            )
        except RequestError as error:
            self._write(error_response(error))
        else:
            self._answer()
        self._client.is_kept = self._keep_alive and not self._client.is_taken

    def _answer(self) -> None:
        head = self._head
        if "transfer-encoding" in head.headers or set(head.headers.get("content-length", ())) - {
            "0"
        }:
            self._keep_alive = False  # a body is not read, so nothing after it can be either
        path, _, query_text = _origin_form(head.target).partition("?")
        route = ROUTES.get(path)
        try:
            self._check(route)
            if route is None:
                request = Request(path, {}, head)
                self._write(get_static(self.server.app.static, request))
                return
            request = Request(path, _parse_query(query_text, path, route), head)
            slot = (
                self.server.long_answer(self._client) if route.is_long else contextlib.nullcontext()
            )
            with slot:
                self._write(route.answer(self.server.app, request))
        except RequestError as error:
            self._write(error_response(error))
        except StorageError as error:
            self._fail(RequestError(503, str(error), (("Retry-After", "5"),)))
        except _GONE:
            raise
        except Exception as error:
            log.getChild("http").exception("a request failed: path=%s", path[:200])
            self._fail(RequestError(500, f"an error in zaidash: {type(error).__name__}"))

    def _fail(self, error: RequestError) -> None:
        """Answer with an error; where the answer has begun already, cut it off instead."""
        self._keep_alive = False
        if not self._is_started:
            self._write(error_response(error))

    def _check(self, route: Route | None) -> None:
        if self._head.method not in ("GET", "HEAD"):
            message = f"{self._head.method[:40]} is not allowed, only GET and HEAD"
            raise RequestError(405, message, (("Allow", "GET, HEAD"),))
        if not (route and route.is_open) and not self._is_authorized():
            raise RequestError(
                401,
                "expected the token as 'Authorization: Bearer <token>' or as Basic password",
                (("WWW-Authenticate", 'Basic realm="zaidash", charset="UTF-8"'),),
            )

    def _is_authorized(self) -> bool:
        token = self.server.app.config.auth_token
        if token is None:
            return True
        scheme, _, given = self._head.get("authorization").partition(" ")
        credential = given.strip().encode("latin-1")
        if scheme.lower() == "basic":
            try:
                credential = base64.b64decode(credential, validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(credential, token.encode())

    def _write(self, response: Response) -> None:
        if isinstance(response.body, StreamStart):
            self._write_stream(response, response.body)
        elif isinstance(response.body, bytes):
            self._write_whole(response, response.body)
        else:
            self._write_pieces(response, response.body)

    def _begin(self, response: Response, *extra: tuple[str, str]) -> bytes:
        if not self._keep_alive:
            extra = (*extra, ("Connection", "close"))
        elif self._head.minor == 0:
            extra = (*extra, ("Connection", "keep-alive"))
        log.getChild("http").debug(
            "answered: peer=%s method=%s target=%s status=%s",
            self.client_address[0],
            self._head.method,
            self._head.target,
            response.status,
        )
        self._is_started = True
        return response_head(response, extra, self.server.app.config)

    def _write_whole(self, response: Response, body: bytes) -> None:
        """Send what the socket takes now; the server's thread sends the rest."""
        extra = []
        if self._accepts_gzip() and len(body) >= self.GZIP_LEAST_BYTES:
            body = response.gzipped or _gzip(body)
            extra.append(("Content-Encoding", "gzip"))
        if response.status != 304:
            extra.append(("Content-Length", str(len(body))))
        pieces = [self._begin(response, *extra), b"" if self._head.method == "HEAD" else body]
        try:
            sent = self._client.socket.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        self._client.keep(pieces, sent)

    def _write_pieces(self, response: Response, pieces: Iterator[bytes]) -> None:
        """Send a long answer as it is made; an error half way cuts it off, so that it shows."""
        is_chunked = self._head.minor == 1
        extra = [("Transfer-Encoding", "chunked")] if is_chunked else []
        self._keep_alive &= is_chunked
        compressor = zlib.compressobj(1, wbits=31) if self._accepts_gzip() else None
        if compressor:
            extra.append(("Content-Encoding", "gzip"))
        if self._head.method == "HEAD":
            self._client.keep([self._begin(response, *extra)])
            return
        batches = _batched(pieces, compressor)
        first = next(batches, [])  # what fails here can still be told
        before = self._begin(response, *extra)
        ends_s = time.monotonic() + self.server.LONG_ANSWER_S
        for batch in itertools.chain((first,), batches):
            if is_chunked and batch:
                batch = [b"%x\r\n" % sum(map(len, batch)), *batch, b"\r\n"]
            self._send(b"".join([before, *batch]), ends_s)
            before = b""
        self._client.keep([_LAST_CHUNK] if is_chunked else [])

    def _send(self, data: bytes, ends_s: float) -> None:
        left_s = min(self.server.SEND_TIMEOUT_S, ends_s - time.monotonic())
        if left_s <= 0:
            raise TimeoutError
        self._client.socket.settimeout(left_s)
        self._client.stuck_from_s = time.monotonic() - self._stuck_s
        try:
            self._client.socket.sendall(data)
        finally:
            self._stuck_s = time.monotonic() - self._client.stuck_from_s
            self._client.stuck_from_s = math.inf
            self._client.socket.setblocking(False)

    def _write_stream(self, response: Response, start: StreamStart) -> None:
        is_chunked = self._head.minor == 1
        extra = [("Transfer-Encoding", "chunked")] if is_chunked else []
        self._keep_alive = False
        head = self._begin(response, *extra)
        if self._head.method == "HEAD":
            self._client.keep([head])
            return
        hub = self.server.app.hub
        if not hub.join(self._client.socket, head, is_chunked, start.last_id):
            most = f"{hub.max_streams} streams are open already (MAX_STREAMS)"
            raise RequestError(503, most, (("Retry-After", "10"),))
        self._client.is_taken = True

    def _accepts_gzip(self) -> bool:
        qualities = {}
        for part in self._head.get("accept-encoding").lower().split(","):
            coding, _, parameters = part.partition(";")
            quality = re.fullmatch(r"\s*q=(0(?:\.0*)?)\s*", parameters)
            qualities[coding.strip()] = quality is None
        return qualities.get("gzip", qualities.get("*", False))


def _parse_query(text: str, path: str, route: Route) -> dict[str, str]:
    """The parameters by name; one the route does not know, or one given twice, is an error."""
    query: dict[str, str] = {}
    if text.count("&") > 50:
        raise RequestError(400, "more than 50 parameters")
    for name, value in urllib.parse.parse_qsl(text, keep_blank_values=True):
        if name not in route.parameters:
            known = ", ".join(sorted(route.parameters)) or "none"
            raise RequestError(400, f"{path} has no parameter {name[:80]!r}, expected: {known}")
        if name in query:
            raise RequestError(400, f"the parameter {name!r} is given twice")
        query[name] = value
    return query


def _batched(
    pieces: Iterable[bytes], compressor: Any, least: int = 16_384
) -> Iterator[list[bytes]]:
    """The pieces, compressed where asked, gathered into lists that are worth a system call."""
    batch: list[bytes] = []
    size = 0
    for piece in pieces:
        batch.append(compressor.compress(piece) if compressor else piece)
        size += len(batch[-1])
        if size >= least:
            yield batch
            batch, size = [], 0
    batch.append(compressor.flush() if compressor else b"")
    if any(batch):
        yield batch


# ---- Demo ----------------------------------------------------------------------------------------


class DemoProxy:
    """A simulated zai-proxy: traffic with a daily wave, bursts, 429s and a few errors.

    ``advance`` moves it on in time; the history of ``--demo`` and the metrics served live come from
    the same counters.
    """

    BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
    BUCKETS = tuple((("latency", format_bound(bound)), math.log(bound)) for bound in BOUNDS)

    def __init__(self, variant: str, share: float, slowness: float, seed: int) -> None:
        self.variant = variant
        self.start_s = 0.0
        self._share = share
        self._slowness = slowness
        self._random = random.Random(seed)
        self._phases = [self._random.uniform(0, math.tau) for _ in range(4)]
        self.totals: dict[Slot, float] = defaultdict(float)
        self.gauges: dict[Slot, float] = {}

    def load(self, at_s: float) -> float:
        """Requests per second that clients would like to make."""
        day = math.sin(at_s / 86_400 * math.tau - math.pi / 2)
        hour = math.sin(at_s / 2_400 + self._phases[0])
        burst = max(0.0, math.sin(at_s / 1_700 + self._phases[1]) - 0.9) * 14
        return self._share * (30 + 18 * day + 4 * hour + 40 * burst)

    def advance(self, at_s: float, elapsed_s: float) -> dict[Slot, float]:
        """Let time pass up to ``at_s``; returns how much each counter grew."""
        chance = self._random
        load, limit = self.load(at_s), 60 * self._share
        wanted = max(0.0, chance.gauss(load * elapsed_s, math.sqrt(load * elapsed_s)))
        served = round(min(wanted, limit * elapsed_s))
        rejected = round(wanted) - served
        trouble = math.sin(at_s / 5_300 + self._phases[2]) > 0.97
        grown: dict[Slot, float] = {}
        failed = self._count(served, 0.06 if trouble else 0.003)
        broken = self._count(served, 0.02 if trouble else 0.001)
        invalid = self._count(served, 0.008)
        for code, count in (
            ("200", served - failed - broken - invalid), ("400", invalid), ("429", rejected),
            ("502", failed), ("500", broken),
        ):  # fmt: skip
            grown["requests", code] = max(count, 0)
        median_s = 1.4 * self._slowness * (1 + max(0.0, load / limit - 0.6))
        self._finish(grown, served, median_s)
        self._spend(grown, served)
        grown["rejections", ""] = rejected
        grown["upstream_errors", ""] = failed
        grown["retries", ""] = failed + self._count(served, 0.004)
        grown["adjustments", "increase"] = self._count(elapsed_s, 0.01)
        grown["adjustments", "decrease"] = self._count(elapsed_s, 0.04 if rejected else 0.008)
        for slot, increase in grown.items():
            self.totals[slot] += increase
        workers = round(300 * self._share)
        mean_s = 2.24 * median_s  # of a log-normal distribution this wide
        busy = min(workers, max(0, round(chance.gauss(min(load, limit) * mean_s, 1.5))))
        self.gauges = {
            ("concurrent", ""): busy, ("workers", ""): workers,
            ("utilization", ""): busy / workers, ("rate_limit", ""): limit,
        }  # fmt: skip
        return grown

    def _count(self, of: float, share: float) -> int:
        """A whole number that is ``of * share`` on average."""
        return math.floor(of * share + self._random.random())

    def _finish(self, grown: dict[Slot, float], served: int, median_s: float) -> None:
        """Sort the requests into buckets, durations being log-normal."""
        middle = math.log(median_s)
        luck = self._random.random()  # the same for all: so each is right on average, and in order
        for slot, log_bound in self.BUCKETS:
            share = 0.5 + 0.5 * math.erf((log_bound - middle) / 1.27)
            grown[slot] = int(served * share + luck)
        grown["latency", "300"] = grown["latency", "+Inf"] = served

    def _spend(self, grown: dict[Slot, float], served: int) -> None:
        for direction, each in (("input", 900), ("output", 420), ("cache_read", 5_200),
                                ("cache_write", 610)):  # fmt: skip
            grown["tokens", direction] = round(served * each * self._random.uniform(0.85, 1.15))
        for size, each in (("request_size", 14_000), ("response_size", 5_600)):
            grown[size + "_sum", ""] = round(served * each * self._random.uniform(0.9, 1.1))
            grown[size + "_count", ""] = served

    def exposition(self) -> bytes:
        """The metrics page of the proxy, as a Go client would write it."""
        names = {source: name for name, source in SOURCES.items()}
        lines = [f"process_start_time_seconds {self.start_s!r}"]
        for (measure, key), value in (*self.totals.items(), *self.gauges.items()):
            source = next(s for s in names if s.measure == measure)
            labels = f'variant="{self.variant}"'
            if source.label:
                labels += f',{source.label}="{key}"'
            lines.append(f"{names[source]}{{{labels}}} {value!r}")
        return "\n".join([*lines, ""]).encode()


class Demo:
    """Two simulated proxies on loopback, and a week of what they did in a temporary database."""

    HISTORY_S = 7 * 86_400
    FINE_S = 4_500.0  # of the snapshots: an hour, for a quarter of an hour after the start too

    def __init__(self, config: Config) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="zaidash-demo-")
        self._advance_lock = threading.Lock()  # guards the proxies and the time they stand at
        self.proxies = {
            "production": DemoProxy("production", share=1.0, slowness=1.0, seed=1),
            "canary": DemoProxy("canary", share=0.12, slowness=1.25, seed=2),
        }
        self._at_s = time.time()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        url = f"http://127.0.0.1:{self._server.server_port}"
        self.config = replace(
            config,
            targets=tuple(TargetSpec(name, f"{url}/{name}/metrics") for name in self.proxies),
            db_path=Path(self._folder.name) / "demo.db",
            retention_5s_s=min(config.retention_5s_s, self.FINE_S),
        )

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, name="demo", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    def fill(self, store: Store) -> None:
        """A minute a row for a week, and then a row every tick for as long as they are kept."""
        log.getChild("storage").info("making up a week of history")
        fine_s = (time.time() - self.FINE_S) // 60 * 60
        store.fill(self._rows(fine_s - self.HISTORY_S, lambda: fine_s, 60.0), "metrics_1m")
        # As dense as what comes live, or charts would take the ticks in between for outages.
        store.fill(self._rows(fine_s, time.time, self.config.interval_s))  # takes a moment itself
        for proxy in self.proxies.values():
            proxy.start_s = self._at_s

    def _rows(
        self, at_s: float, until: Callable[[], float], step_s: float
    ) -> Iterator[tuple[Any, ...]]:
        states = [VariantState(name, step_s, 60.0) for name in self.proxies]
        while at_s < until():
            for state in states:
                yield self._snapshot(state, at_s, step_s).row()
            self._at_s = at_s
            at_s += step_s

    def _snapshot(self, state: VariantState, at_s: float, step_s: float) -> Snapshot:
        proxy = self.proxies[state.variant]
        grown = proxy.advance(at_s, step_s)
        reading = Reading(at_s, step_s, {**proxy.totals, **proxy.gauges}, grown)
        return state.snapshot(round(at_s * 1000), [reading])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        demo = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy = demo.proxies.get(self.path.strip("/").partition("/")[0])
                body = demo._exposition(proxy) if proxy else b""
                self.send_response(200 if proxy else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def _exposition(self, proxy: DemoProxy) -> bytes:
        with self._advance_lock:
            now_s = time.time()
            if now_s > self._at_s:
                for each in self.proxies.values():
                    each.advance(now_s, min(now_s - self._at_s, 3_600))
                self._at_s = now_s
            return proxy.exposition()


# ---- The App -------------------------------------------------------------------------------------


class App:
    """All parts together: built from a Config, started in order, stopped in the opposite one."""

    def __init__(
        self, config: Config, demo: Demo | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self.wall = wall
        self.started_at_s = wall()
        self.static = load_static(find_static())
        hello = {"type": "connected", "scrape_interval": _whole_or_float(config.interval_s),
                 "variants": list(config.variants)}  # fmt: skip
        self.hub = Hub(hello, config.max_streams, wall)
        self.store = Store(config, self.hub.everything, wall)
        self.history = History(self.store)
        self.collector = Collector(config, self._on_snapshot, self._on_status, wall)
        self._demo = demo
        self.server: Server
        self._server_thread: threading.Thread

    def start(self) -> None:
        """Open the database, then the port, then begin. Raises StorageError and OSError."""
        log.getChild("storage").info("opening the database: path=%s", self.config.db_path)
        self.store.open()
        try:
            self.server = Server(self)
        except (OSError, UnicodeError):
            self.store.close()
            raise
        if self._demo:
            self._demo.fill(self.store)
            self._demo.start()
        self._load_last_hour()
        self._server_thread = threading.Thread(
            target=self.server.serve_forever, name="connections", daemon=True
        )
        self.store.start()
        self.hub.start()
        self.collector.start()
        self._server_thread.start()
        log.getChild("http").info("listening: url=%s", self.url)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page, once it listens."""
        host = self.config.listen.host
        local = "localhost" if host in ("", "0.0.0.0", "::") else host
        return f"http://{Address(local, self.server.server_port)}/"

    def stop(self) -> None:
        """End streams, finish requests under way, write what waits; in less than five seconds."""
        stop_by_s = time.monotonic() + 4.5
        self.server.shutdown(timeout_s=2.0)
        self.collector.close(timeout_s=0.5)
        self.hub.close(timeout_s=0.5)
        self._server_thread.join(2.2)
        self.server.server_close()
        self.store.close(timeout_s=max(stop_by_s - time.monotonic(), 0.5))
        if self._demo:
            self._demo.close()

    def _load_last_hour(self) -> None:
        try:
            snapshots = self.history.last_hour()
        except StorageError as error:
            log.getChild("storage").error("%s", error)
        else:
            self.hub.load(snapshots, round(self.wall() * 1000) - History.FINE_RANGE_MS)

    def _on_snapshot(self, snapshot: Snapshot) -> None:
        self.store.put(snapshot)
        self.hub.publish(snapshot)

    def _on_status(self, variant: str, healthy: bool, error: str | None) -> None:
        self.hub.announce("status", {"variant": variant, "healthy": healthy, "error": error})

    def not_ready(self) -> list[str]:
        """Why requests should not come here yet; empty when all is well."""
        reasons = []
        if self.store.problem:
            reasons.append(f"storage not writable: {self.store.problem}")
        if all(variant.last is None for variant in self.collector.variants.values()):
            reasons.append("no scrape yet")
        return reasons

    def exposition(self) -> str:
        """zaidash's own metrics, in the format it reads."""
        families = [
            _family("zaidash_build_info", "gauge", "Version of zaidash, always 1.",
                    [({"version": __version__, "python": sys.version.split()[0],
                       "sqlite": sqlite3.sqlite_version}, 1)]),
            *self._target_families(),
            *self._storage_families(),
            _family("zaidash_streams", "gauge", "Open SSE streams.",
                    [({}, self.hub.open_streams)]),
            _family("zaidash_slow_streams_dropped_total", "counter",
                    "Streams dropped because their client did not read.",
                    [({}, self.hub.dropped)]),
            _family("zaidash_requests_under_way", "gauge", "HTTP requests being answered.",
                    [({}, self.server.busy)]),
            _family("process_start_time_seconds", "gauge", "Start, seconds since the epoch.",
                    [({}, self.started_at_s)]),
            _family("process_cpu_seconds_total", "counter", "CPU time used.",
                    [({}, time.process_time())]),
        ]  # fmt: skip
        resident = resident_memory_bytes()
        if resident is not None:
            families.append(_family("process_resident_memory_bytes", "gauge",
                                    "Resident memory size.", [({}, resident)]))  # fmt: skip
        return "".join(families)

    def _target_families(self) -> Iterator[str]:
        labelled = [
            ({"target": target.label, "variant": target.spec.variant}, target)
            for target in self.collector.targets
        ]
        timings = [(labels, target.durations.read()) for labels, target in labelled]
        up = [(labels, int(target.report.health == "up")) for labels, target in labelled]
        yield _family("zaidash_scrapes_total", "counter", "Scrapes, failed ones too.",
                      [(labels, buckets[-1][1]) for labels, (buckets, _) in timings])  # fmt: skip
        yield _family("zaidash_scrape_failures_total", "counter", "Scrapes that failed.",
                      [(labels, target.failures) for labels, target in labelled])  # fmt: skip
        yield _family("zaidash_target_up", "gauge", "Whether the last scrape worked.", up)
        yield _histogram("zaidash_scrape_duration_seconds", "How long scrapes took.", timings)

    def _storage_families(self) -> Iterator[str]:
        store = self.store
        yield _family("zaidash_storage_up", "gauge", "Whether the database takes snapshots.",
                      [({}, int(store.problem is None))])  # fmt: skip
        yield _family("zaidash_snapshots_written_total", "counter", "Snapshots on disk.",
                      [({}, store.written)])  # fmt: skip
        yield _family("zaidash_snapshots_waiting", "gauge", "Snapshots not on disk yet.",
                      [({}, store.waiting)])  # fmt: skip
        yield _family("zaidash_snapshots_dropped_total", "counter",
                      "Snapshots given up after an hour without a working disk.",
                      [({}, store.dropped)])  # fmt: skip
        yield _family("zaidash_database_bytes", "gauge", "Size of the database with its log.",
                      [({}, store.file.size_bytes())])  # fmt: skip
        yield _histogram("zaidash_write_duration_seconds", "How long writing snapshots took.",
                         [({}, store.writes.read())])  # fmt: skip
        yield _histogram("zaidash_query_duration_seconds", "How long reads of the history took.",
                         [({}, self.history.queries.read())])  # fmt: skip


def _labels(labels: Mapping[str, str]) -> str:
    escaped = (
        '{}="{}"'.format(k, v.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for k, v in labels.items()
    )
    return "{" + ",".join(escaped) + "}" if labels else ""


def _family(
    name: str, kind: str, text: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> str:
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{_labels(labels)} {value!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _histogram(
    name: str, text: str,
    timings: Iterable[tuple[Mapping[str, str], tuple[list[tuple[str, int]], float]]],
) -> str:  # fmt: skip
    lines = [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
    for labels, (buckets, total_s) in timings:
        lines += [f"{name}_bucket{_labels({**labels, 'le': le})} {n}" for le, n in buckets]
        lines += [f"{name}_sum{_labels(labels)} {total_s!r}",
                  f"{name}_count{_labels(labels)} {buckets[-1][1]}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def resident_memory_bytes() -> int | None:
    """What the process holds of memory now; None where the kernel has no /proc."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def check_health(address: Address, timeout_s: float = 3.0) -> str | None:
    """Ask a running instance's /healthz; None when it is well, or else what is wrong."""
    if address.port == 0:
        return "LISTEN_ADDR has port 0, any free one: set it to the port that the log names"
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=timeout_s)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        response.read()
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        return f"no answer from {Address(host, address.port)}: {_reason(error)}"
    finally:
        connection.close()
    return None if response.status == 200 else f"/healthz answered {response.status}"


def _raise_file_limit(wanted: int) -> None:
    """Every stream is a file descriptor, and the usual soft limit is 1024."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _limit_arenas(most: int = 2) -> None:
    """Let all threads share so few of glibc's arenas, each of which keeps the most it ever held.

    It would make eight per processor: 20 MB that threads, one at a time in Python, do not need.
    """
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):
        import ctypes  # not in every Python, nor is this function in every C library

        ctypes.CDLL(None).mallopt(-8, most)  # M_ARENA_MAX of malloc.h


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. 0 after a clean stop, 1 for a failed health check, 2 for bad settings."""
    argv = sys.argv[1:] if argv is None else argv
    if "--help" in argv or "--version" in argv:
        print(help_text() if "--help" in argv else f"zaidash {__version__}")
        return 0
    try:
        config, command = load_config(argv, os.environ)
    except ConfigError as error:
        return _complain(error.problems)
    if command == "check-config":
        print("\n".join(config.lines()))
        return 0
    if command == "healthcheck":
        problem = check_health(config.listen)
        return _complain([problem], 1) if problem else 0
    return serve(config, is_demo=command == "demo")


def _complain(problems: Sequence[str], code: int = 2) -> int:
    for problem in problems:
        print(f"zaidash: {_printable(problem)}", file=sys.stderr)
    return code


def serve(config: Config, is_demo: bool = False) -> int:
    """Run until SIGTERM or SIGINT; explicit handlers, for PID 1 has no default ones."""
    # Handlers run in the main thread, which sleeps on where the kernel gives the signal to another
    # thread, or just before it falls asleep. The byte that Python writes at once is never missed.
    stop, wakeup = socket.socketpair()
    with stop, wakeup:
        wakeup.setblocking(False)
        signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, frame: None)
        try:
            return _run(config, is_demo, lambda: stop.recv(1))
        finally:
            signal.set_wakeup_fd(-1)


def _run(config: Config, is_demo: bool, wait_for_stop: Callable[[], object]) -> int:
    """From the first thread to the last."""
    set_up_logging(config)
    _raise_file_limit(config.max_streams + Server.MAX_CONNECTIONS + 256)
    _limit_arenas()  # before the first thread
    try:
        demo = Demo(config) if is_demo else None
    except OSError as error:
        return _complain([f"--demo needs a temporary directory, set TMPDIR to one: {error}"])
    app = App(demo.config if demo else config, demo)
    try:
        app.start()
    except StorageError as error:
        return _complain([str(error)])
    except (OSError, UnicodeError) as error:
        return _complain([f"LISTEN_ADDR={config.listen}: cannot listen: {_reason(error)};"
                          " choose another address or stop what uses it"])  # fmt: skip
    if is_demo:
        with contextlib.suppress(OSError):  # a closed stdout is no reason to end
            print(f"zaidash: open {app.url} in a browser; Ctrl-C ends the demo", flush=True)
    wait_for_stop()
    log.getChild("http").info("stopping")
    app.stop()
    log.getChild("http").info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
