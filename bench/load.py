"""What zaidash does with 10,000 open pages while it is asked and scrapes; `python bench/load.py`.

A real zaidash process scrapes 20 replicas of three variants every second. First 5,000 streams alone
are measured with an empty database, which is to be compared with the original; then another process
with a week of history has up to 10,000, where the limit of open files allows that, and for a minute
50 requests a second of all kinds, compressed and not. This process is all clients (`clients.py`);
the replicas are a third one (`replicas.py`). All share the machine, so the CPU of each is shown,
that of anything else, and this process's own delay: what is measured contains it.

Every snapshot has to be on every stream: the same bytes, in the same order. They have to be what
`/api/metrics` says afterwards, a tick per second, and what really happened: from scrape to scrape
each replica has 60 requests more.

How long a snapshot takes is counted twice: from the first client that has it to the last, and from
the tick, which includes the scrape of all replicas, to the last. A request's time begins when it is
due, whether this process sends it in time or not.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from clients import Answer, Ask, Clients, Event, Stream
from common import (
    ROOT,
    Table,
    cpu_s,
    machine_cpu_s,
    megabytes,
    milliseconds,
    peak_bytes,
    percentile,
    raise_file_limit,
    resident_bytes,
    run_helper,
    say,
    thread_count,
)
from history_rows import build_database
from replicas import MAX_WORKERS, REQUESTS_PER_VERSION
from support import Zaidash, eventually, run_zaidash

from zaidash import load_config

STREAMS, MOST_STREAMS = 5_000, 10_000
#: Beside its streams, zaidash allows itself 2,000 connections and some files.
OTHER_FILES = 2_300
SECONDS = 60
ASKS_PER_S = 50
REPLICAS = {"production": 10, "canary": 6, "blue": 4}
SAMPLES = 400
TICK_S = 1.0

IDLE_S, STREAMS_ONLY_S = 5, 12
STATUS_TARGET_S = 0.05
REACH_TARGET_S = 0.5
QUIET_REACH_TARGET_S = 0.3
QUIET_MEMORY_TARGET_BYTES = 60e6
THREADS_TARGET = 20
#: What memory may grow by in the second half: the median of its second part to that of its first.
GROWTH_TARGET = 0.02

#: What zaidash logs where a replica did not answer within its tick.
LATE_SCRAPE = "reason=no complete answer within "

#: Streams asked for at once: fewer than MAX_REQUESTS, past which zaidash answers 503.
OPENING_AT_ONCE = 40
TIMEOUT_S = 30.0

PAGE_FIELDS = (
    "req_rate,error_rate_pct,latency_p50,latency_p95,latency_p99,token_rate_in,token_rate_out"
)
COLUMNS = f"/api/metrics?format=columns&points=600&fields={PAGE_FIELDS}&range="
STATUS = "/api/status"
#: What is asked for in a second, and how often; assets come on top.
MIX = {
    STATUS: 20,
    "/api/metrics?range=5m": 4,
    "/api/metrics?range=15m": 3,
    "/api/metrics?range=1h": 3,
    "/api/metrics?range=1h&variant=canary&fields=req_rate,latency_p95": 1,
    "/api/metrics?range=15m&format=csv": 1,
    f"{COLUMNS}6h": 2,
    f"{COLUMNS}24h": 1,
    f"{COLUMNS}7d": 1,
    "/api/summary?range=1h": 2,
    "/api/summary?range=24h": 1,
    "/api/targets": 3,
    "/api/config": 2,
    "/healthz": 1,
    "/metrics": 1,
    "/": 1,
}


class Moment(NamedTuple):
    """What was seen of zaidash in one second."""

    at_s: float
    memory_bytes: int
    threads: int


class Cpu:
    """CPU time of the three, and of all others, since it was made, as shares of one core."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before_s = self._now()
        self._started_s = time.monotonic()

    def _now(self) -> dict[str, float]:
        used_s = {name: cpu_s(pid) for name, pid in self._pids.items()}
        return {**used_s, "anything else on the machine": machine_cpu_s() - sum(used_s.values())}

    def seconds(self) -> float:
        """Return what zaidash used."""
        return self._now()["zaidash"] - self._before_s["zaidash"]

    def shares(self) -> str:
        took_s = time.monotonic() - self._started_s
        used = {name: now_s - self._before_s[name] for name, now_s in self._now().items()}
        return ", ".join(f"{name} {seconds / took_s:.0%}" for name, seconds in used.items())


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Put zaidash under load.")
    most = MOST_STREAMS
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < MOST_STREAMS + OTHER_FILES:
        most = STREAMS
    parser.add_argument("--streams", type=int, default=most, help="(here: %(default)s)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="(default: %(default)s)")
    parser.add_argument("--empty", action="store_true", help="with no history to begin with")
    options = parser.parse_args()
    if options.streams < 1 or options.seconds < 2:
        parser.error("--streams has to be 1 at least, and --seconds 2")
    return options


def main() -> int:
    options = parse_options()
    table = Table(f"load: about {options.seconds + 50} s")
    raise_file_limit(options.streams + OTHER_FILES)
    count, versions = sum(REPLICAS.values()), options.seconds + 120
    arguments = f"--count {count} --samples {SAMPLES} --versions {versions}".split()
    with (
        tempfile.TemporaryDirectory(prefix="zaidash-load-") as directory,
        run_helper(ROOT / "bench" / "replicas.py", *arguments) as urls,
    ):
        env = {
            "SCRAPE_TARGETS": targets(urls.split(",")),
            "SCRAPE_INTERVAL": f"{TICK_S:g}s",
            "DB_PATH": str(Path(directory) / "load.db"),
            "MAX_STREAMS": str(max(options.streams, STREAMS)),
            "LOG_LEVEL": "warning",
        }
        with run_zaidash(env={**env, "DB_PATH": str(Path(directory) / "empty.db")}) as zaidash:
            eventually(lambda: zaidash.get("/readyz").status == 200, TIMEOUT_S, "a snapshot")
            Load(table, zaidash, options).run_streams_alone()
        if not options.empty:
            say("filling a week of history")
            build_database(load_config([], env)[0], time.time())
        with run_zaidash(env=env) as zaidash:
            eventually(lambda: zaidash.get("/readyz").status == 200, TIMEOUT_S, "a snapshot")
            Load(table, zaidash, options).run()
    return table.finish()


def targets(urls: Sequence[str]) -> str:
    variants = [name for name, count in REPLICAS.items() for _ in range(count)]
    return ",".join(f"{name}={url}" for name, url in zip(variants, urls, strict=True))


def child_pids(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Load:
    """One run: what is done to a zaidash, and what is to be said of it."""

    def __init__(self, table: Table, zaidash: Zaidash, options: argparse.Namespace) -> None:
        self._table = table
        self._zaidash = zaidash
        self._options = options
        self._clients = Clients(zaidash.port)
        (replicas,) = (pid for pid in child_pids(os.getpid()) if pid != zaidash.pid)
        self._pids = {"zaidash": zaidash.pid, "the clients": os.getpid(), "replicas": replicas}
        self._moments: list[Moment] = []
        self._answers: list[Answer] = []

    def run_streams_alone(self) -> None:
        idle_bytes = resident_bytes(self._zaidash.pid)
        idle_s = self._idle_cpu_s(min(IDLE_S, self._options.seconds // 2))
        self._open(min(self._options.streams, STREAMS))
        self._streams_only(idle_bytes, idle_s)
        self._goodbye()
        self._clients.close()

    def run(self) -> None:
        self._open(self._options.streams)
        events = self._load()
        self._judge_snapshots(events)
        self._judge_times(events)
        self._judge_answers()
        self._judge_memory()
        self._goodbye()
        self._clients.close()
        log = self._zaidash.stderr().splitlines()
        # Its own row: a machine that stops for a second is no fault of zaidash's.
        late = [line for line in log if LATE_SCRAPE in line]
        self._table.check("scrapes that came too late", f"{len(late)}", "0", not late)
        texts = [*self._clients.problems.texts, *(line for line in log if line not in late)]
        told = texts[0][:200].replace("|", "/") if texts else "-"
        self._table.check("any other error", f"{len(texts)}: {told}", "0", not texts)
        for text in (*late, *texts):
            say(text[:300])

    # What is done

    def _serve(self, seconds: float) -> None:
        """Let the clients do their work for so long, and look at zaidash every second."""
        ends_s = time.monotonic() + seconds
        look_s = time.monotonic()
        while (now_s := time.monotonic()) < ends_s:
            if now_s >= look_s:
                look_s += 1
                pid = self._zaidash.pid
                self._moments.append(Moment(now_s, resident_bytes(pid), thread_count(pid)))
            self._clients.turn()

    def _await_greetings(self, streams: Sequence[Stream]) -> None:
        ends_s = time.monotonic() + TIMEOUT_S
        while not all(stream.is_greeted for stream in streams):
            problems = self._clients.problems.texts
            assert time.monotonic() < ends_s, f"streams that zaidash does not greet: {problems}"
            self._clients.turn()

    def _idle_cpu_s(self, ticks: int) -> float:
        """Return what zaidash uses in a tick with no stream."""
        cpu = Cpu(self._pids)
        self._serve(ticks * TICK_S)
        return cpu.seconds() / ticks

    def _open(self, count: int) -> None:
        streams = self._clients.streams
        cpu, started_s = Cpu(self._pids), time.monotonic()
        for first in range(0, count, OPENING_AT_ONCE):
            some = [streams.add() for _ in range(min(OPENING_AT_ONCE, count - first))]
            self._await_greetings(some)
        took_s, took_cpu_s = time.monotonic() - started_s, cpu.seconds()
        self._table.note(
            f"open {count:,} streams, {OPENING_AT_ONCE} at a time",
            f"{took_s:.1f} s, {took_cpu_s:.1f} s CPU",
        )

    def _streams_only(self, idle_bytes: int, idle_s: float) -> None:
        """Measure what is to be compared with the original: nothing but streams."""
        cpu = Cpu(self._pids)
        before = len(self._clients.streams.events)
        seconds = min(STREAMS_ONLY_S, self._options.seconds)
        self._serve(seconds)
        used_s = cpu.seconds() - seconds / TICK_S * idle_s
        self._settle()
        events = self._clients.streams.events[before + len(REPLICAS) :]
        spreads_s = [event.last_s - event.first_s for event in events]
        streams = len(self._clients.streams.open)
        self._table.check(
            f"one snapshot reaches {streams:,} clients, first to last",
            f"{milliseconds(percentile(spreads_s, 50))} (worst of {len(events)}:"
            f" {milliseconds(max(spreads_s))})",
            f"≤ {milliseconds(QUIET_REACH_TARGET_S)} (original: 107 ms)",
            percentile(spreads_s, 50) <= QUIET_REACH_TARGET_S,
        )
        each_s = used_s / max(len(events), 1)
        self._table.note(
            "CPU of zaidash for one snapshot to all",
            f"{milliseconds(each_s)} ({each_s / streams * 1e6:.1f} µs each)",
            "original: 101 ms",
        )
        memory_bytes = resident_bytes(self._zaidash.pid)
        self._table.check(
            f"memory with {streams:,} streams open",
            f"{megabytes(memory_bytes)} (without any: {megabytes(idle_bytes)})",
            f"< {megabytes(QUIET_MEMORY_TARGET_BYTES)} (original: 162 MB)",
            memory_bytes < QUIET_MEMORY_TARGET_BYTES,
        )
        threads = max(moment.threads for moment in self._moments)
        self._table.check("threads", str(threads), f"< {THREADS_TARGET}", threads < THREADS_TARGET)

    def _settle(self) -> None:
        """Wait until every stream has what any stream has."""
        streams = self._clients.streams

        def is_settled() -> bool:
            newest = streams.events[-1]
            return all(stream.last is newest for stream in streams.open.values())

        # Not in every turn: it looks at all of them.
        for _ in range(int(TIMEOUT_S / 0.1)):
            if is_settled():
                return
            self._serve(0.1)

    def _load(self) -> list[Event]:
        """Ask for a minute; return the snapshots of it."""
        seconds = self._options.seconds
        self._moments.clear()
        self._clients.forget_delays()
        before = len(self._clients.streams.events)
        self._clients.schedule(mixed_asks(seconds), ASKS_PER_S)
        cpu = Cpu(self._pids)
        while self._clients.is_asking or len(self._moments) < seconds:
            self._serve(1)
            self._answers += drain(self._clients)
            assert len(self._moments) < 3 * seconds + TIMEOUT_S, "the answers do not come"
        self._table.note(
            f"CPU, of one core: {len(self._clients.streams.open):,} streams, {ASKS_PER_S}"
            f" requests/s, {sum(REPLICAS.values())} scrapes/s",
            cpu.shares(),
        )
        self._settle()
        events = self._clients.streams.events[before:]
        complete = {event.data["timestamp"] for event in events[len(REPLICAS) :]}
        return [event for event in events if event.data["timestamp"] in complete]

    # What is said of it

    def _judge_snapshots(self, events: list[Event]) -> None:
        streams = len(self._clients.streams.open)
        missed = sum(streams - event.count for event in events)
        lost, problems = self._options.streams - streams, self._clients.problems.count
        self._table.check(
            "snapshots that a stream misses, or has twice, late or otherwise than the others",
            f"{missed + problems} of {len(events) * streams:,} ({len(events)} snapshots)",
            "0",
            not missed and not lost and not problems,
        )
        data = [event.data for event in events]
        for what, wrong in {
            "ticks left out": wrong_ticks(data),
            "snapshots that lack a replica": [
                f"{row['variant']}: {row['max_workers']} workers" for row in data if lacks(row)
            ],
            "snapshots that do not say what the replicas did": wrong_counts(data),
        }.items():
            for text in wrong:
                say(text)
            self._table.check(what, f"{len(wrong)} of {len(events)}", "0", not wrong)
        stamps = [row["timestamp"] for row in data]
        stored = self._zaidash.json(f"/api/metrics?start={min(stamps)}&end={max(stamps)}")
        differing = sum(row not in stored for row in data) + abs(len(stored) - len(data))
        self._table.check(
            "snapshots that `/api/metrics` has otherwise", str(differing), "0", not differing
        )

    def _judge_times(self, events: list[Event]) -> None:
        for what, times_s in {
            "broadcast to the last client: from the first that has it": [
                event.last_s - event.first_s for event in events
            ],
            "from the tick to the last client, the scrape included": [
                event.last_s - event.data["timestamp"] / 1000 for event in events
            ],
        }.items():
            worst_s = percentile(times_s, 99)
            self._table.check(
                f"{what}, p99",
                f"{milliseconds(worst_s)} (median: {milliseconds(percentile(times_s, 50))},"
                f" worst: {milliseconds(max(times_s))})",
                f"< {milliseconds(REACH_TARGET_S)}",
                worst_s < REACH_TARGET_S,
            )
        self._table.note(
            "of it at most the clients' own delay", spread(self._clients.stream_delays_s)
        )

    def _judge_answers(self) -> None:
        by_path = defaultdict(list)
        for answer in self._answers:
            by_path[answer.ask.path].append(answer.seconds)
        worst_s = percentile(by_path[STATUS], 99)
        self._table.check(
            f"`{STATUS}`, p99 of {len(by_path[STATUS]):,}",
            f"{milliseconds(worst_s)} (median: {milliseconds(percentile(by_path[STATUS], 50))},"
            f" worst: {milliseconds(max(by_path[STATUS]))})",
            f"< {milliseconds(STATUS_TARGET_S)}",
            worst_s < STATUS_TARGET_S,
        )
        self._table.note("of it at most the clients' own delay", spread(self._clients.delays_s))
        self._table.note(
            f"all {len(self._answers):,} requests",
            spread([answer.seconds for answer in self._answers]),
        )
        slowest = max(by_path, key=lambda path: percentile(by_path[path], 50))
        self._table.note(
            f"the slowest of them: `{slowest.replace(PAGE_FIELDS, '…')}`", spread(by_path[slowest])
        )
        wrong = Counter(text for answer in self._answers if (text := what_is_wrong(answer)))
        for text, count in wrong.items():
            say(f"{count} x {text}")
        missing = ASKS_PER_S * self._options.seconds - len(self._answers)
        self._table.check(
            "requests without an answer, or with a wrong one",
            f"{missing + wrong.total()} of {len(self._answers) + missing:,}",
            "0",
            not missing and not wrong,
        )

    def _judge_memory(self) -> None:
        sizes = [moment.memory_bytes for moment in self._moments]
        third, last = (sizes[len(sizes) * n // 4 : len(sizes) * (n + 1) // 4] for n in (2, 3))
        level, now = (statistics.median(some) for some in (third, last))
        self._table.check(
            "memory in the last quarter, to the one before",
            f"{now / level - 1:+.1%} of {megabytes(level)}"
            f" (most ever: {megabytes(peak_bytes(self._zaidash.pid))})",
            f"≤ {GROWTH_TARGET:+.0%}",
            now - level <= GROWTH_TARGET * level,
        )
        self._table.note("threads, most", str(max(m.threads for m in self._moments)))

    def _goodbye(self) -> None:
        """Add what it takes to notice that all clients are gone, and what is left then."""
        cpu = Cpu(self._pids)
        for stream in list(self._clients.streams.open.values()):
            self._clients.streams.end(stream)

        def is_empty() -> bool:
            return b"\nzaidash_streams 0\n" in self._zaidash.get("/metrics").body

        eventually(is_empty, TIMEOUT_S, "no stream left")
        left_bytes = resident_bytes(self._zaidash.pid)
        self._table.note(
            "all clients go away at once",
            f"{cpu.seconds():.2f} s CPU, {megabytes(left_bytes)} afterwards",
        )


def mixed_asks(seconds: int) -> list[Ask]:
    """Return what is asked for in so many seconds, each second's in another order."""
    assets = [f"/assets/{path.name}" for path in (ROOT / "static" / "assets").iterdir()]
    paths = [path for path, count in MIX.items() for _ in range(count)]
    paths += itertools.islice(itertools.cycle(assets), ASKS_PER_S - len(paths))
    assert len(paths) == ASKS_PER_S, "MIX has more than a second's requests"
    rng = random.Random(5)
    seen: Counter[str] = Counter()
    asks = []
    for _ in range(seconds):
        for path in rng.sample(paths, len(paths)):
            seen[path] += 1
            asks.append(Ask(path, is_gzip=bool(seen[path] % 2)))
    return asks


def drain(clients: Clients) -> list[Answer]:
    """Take the answers; the bodies of all but the last of a second are checked and forgotten."""
    answers = list(clients.requests.answers)
    clients.requests.answers.clear()
    last = {answer.ask: number for number, answer in enumerate(answers)}
    return [
        answer if last[answer.ask] == number or answer.status != 200 else answer._replace(raw=b"")
        for number, answer in enumerate(answers)
    ]


def what_is_wrong(answer: Answer) -> str:
    """Return what an answer is not, in words; nothing where it is right."""
    path = answer.ask.path
    if answer.status != 200:
        return f"{path}: {answer.status} {answer.raw[:200]!r}"
    if not answer.raw:
        return ""
    if answer.is_gzip and not answer.ask.is_gzip:
        return f"{path} is compressed, which was not asked for"
    body = answer.body()
    if path.startswith("/api/") and "csv" not in path:
        try:
            found = json.loads(body)
        except ValueError as error:
            return f"{path} is no JSON: {error}"
        return "" if found else f"{path} is empty"
    return "" if body else f"{path} is empty"


def wrong_ticks(data: list[dict[str, Any]]) -> list[str]:
    """Return where a variant's ticks do not follow one another."""
    wrong = []
    for variant in REPLICAS:
        stamps = [row["timestamp"] for row in data if row["variant"] == variant]
        for before, after in itertools.pairwise(stamps):
            if after - before != TICK_S * 1000:
                wrong.append(f"{variant}: a tick of {after - before} ms")
    return wrong


def lacks(row: dict[str, Any]) -> bool:
    """Say whether a replica was not scraped in time."""
    return bool(row["max_workers"] != MAX_WORKERS * REPLICAS[row["variant"]])


def wrong_counts(data: list[dict[str, Any]]) -> list[str]:
    """Return where a snapshot has not the requests that the replicas had since the one before."""
    wrong = []
    for variant, replicas in REPLICAS.items():
        expected = replicas * REQUESTS_PER_VERSION
        rows = [row for row in data if row["variant"] == variant]
        for before, after in itertools.pairwise(rows):
            if lacks(before) or lacks(after):
                continue
            grown = sum(after[f"requests_{n}xx"] - before[f"requests_{n}xx"] for n in (2, 4, 5))
            timed = sum(after["latency_buckets"].values())
            if not grown == timed == expected:
                wrong.append(f"{variant}: {grown} requests, {timed} of them timed")
    return wrong


def spread(times_s: Sequence[float]) -> str:
    return (
        f"p99 {milliseconds(percentile(times_s, 99))}"
        f" (median: {milliseconds(percentile(times_s, 50))}, worst: {milliseconds(max(times_s))})"
    )


if __name__ == "__main__":
    sys.exit(main())
