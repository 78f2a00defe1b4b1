"""Whether zaidash goes on as it began: hours of operation in minutes; `python bench/soak.py`.

A real zaidash process lives 50 times as fast (`sped_up.py`): a tick of the default 5 s comes every
100 ms, minutes are averaged every 2 s (DOWNSAMPLE_INTERVAL is 100 s), and an hour takes 72 s. So
the hour of events it keeps, its retention (an hour of snapshots, two of minutes) and its 30 s and
five minutes of this and that are all passed through, many times, in its own code.

Meanwhile, in real time: every second a replica has a label set that nobody saw before, and it
restarts with none of them every 10 s; replicas refuse connections, answer with 500 and come back,
at times all of a variant; a tenth of the streams leave every second and as many come, half of them
to go on where another one left off; some stop reading; pages ask for history and summaries.

Whether something levels off is judged after two and a half hours of its life, by the trend of what
is seen every second since, after Theil and Sen (`common.trend_per_s`), over all of that time:
memory may grow by 3 %, the file by 5 %, threads and open files by one. Open files are all but the
connections to clients that are open at that moment, so one to a client that is gone counts. A run
that is too short for that only shows these numbers, and has a retention that it passes through
nevertheless.

Every minute of which a snapshot was streamed has to be in `metrics_1m`, once and for good, and be
about exactly those snapshots: its `elapsed_s` is their sum, and so are its requests.

A machine that is busy makes zaidash skip ticks, and this process late in reading and in looking
into the file. That is no fault of zaidash's: what counts is what was streamed, all of which is read
before it is judged, and a minute has to be there whenever a look finds one before and one after it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import random
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from clients import CUT_OFF, METRONOME_S, Ask, Clients, Stream
from common import (
    ROOT,
    Table,
    megabytes,
    open_file_count,
    open_file_count_without,
    percentile,
    resident_bytes,
    say,
    thread_count,
    trend_per_s,
)
from fake_proxy import FakeProxy, generate_traffic
from support import Zaidash, eventually, run_zaidash

SPEED = 50
SECONDS = 330
TICK_S = 5.0
MINUTE_MS = 60_000
HOUR_S = 3_600
DOWNSAMPLE_S = 100
#: What a row may outlive its retention by: the job's interval, whole minutes, a busy machine.
RETENTION_SLACK_S = DOWNSAMPLE_S + 60 + 60
#: Of snapshots, which a short run keeps for a sixth of its time.
RETENTION_S = HOUR_S
#: Of minutes, which a short run keeps for half of its time: a look that is late still finds them.
MINUTES_RETENTION_S = 2 * HOUR_S
#: By now everything that is kept for some time has been forgotten once.
LEVEL_AFTER_S = 2.5 * HOUR_S

#: Five of its own, one per scrape and per request; a burst of late ones.
THREADS_TARGET = 30
FILES_TARGET = 250
#: Open files beside those at the start: four idle connections of readers, each with its log.
FILES_LEFT = 12

STREAMS = 100
#: One in so many streams leaves every second, and as many come.
CHANGING = 10
ASKS_PER_S = 10
#: How long a client that does not read stays; it is dropped before.
NOT_READING_S = 20
#: Real seconds, as many of its life as the job's interval: no minute comes and goes in between.
LOOK_INTO_FILE_S = 2
#: Real seconds for the clients in every one, however long the rest of it took on a busy machine.
LEAST_SERVED_S = 0.5
ASKS = [
    Ask("/api/status"),
    Ask("/api/metrics?range=1h", is_gzip=True),
    Ask("/api/metrics?range=1h&format=columns&points=600&fields=req_rate,latency_p95"),
    Ask("/api/metrics?range=1h&format=csv", is_gzip=True),
    Ask("/api/summary?range=1h"),
    Ask("/api/targets"),
    Ask("/", is_gzip=True),
    Ask("/metrics"),
    Ask("/healthz"),
    Ask("/api/config"),
]
TIMEOUT_S = 60.0
#: How long zaidash waits, in its time, for a client to take a piece of an answer.
PATIENCE_S = 10.0
#: Real seconds that a client goes on using a connection for. zaidash closes it after 75 s of its
#: time, and whoever asks at that moment is not answered.
REUSE_S = 0.5 * 75 / SPEED
BEATS_PER_S = round(1 / METRONOME_S)


class Moment(NamedTuple):
    """What was seen of zaidash, so many real seconds after the start."""

    at_s: float
    memory_bytes: float
    file_bytes: float
    threads: float
    files: float
    own_files: float


class Look(NamedTuple):
    """Which minutes were in the file, from the oldest to the newest of each variant."""

    at_ms: float  # on zaidash's clock, at the latest
    ranges: dict[str, tuple[int, int]]

    def has_to_find(self, variant: str, ts: int, retention_ms: float) -> bool:
        """Say whether a minute had to be there: what is deleted is the oldest, past its time."""
        oldest, newest = self.ranges.get(variant, (0, -1))
        return ts <= newest and (ts > oldest or self.at_ms - ts <= retention_ms)


#: What has to level off: what it may grow by, of itself (0: by one), how to show it, where it is.
LEVELS: tuple[tuple[str, float, Callable[[float], str], Callable[[Moment], float]], ...] = (
    ("memory", 0.03, megabytes, lambda moment: moment.memory_bytes),
    ("the file with its log", 0.05, megabytes, lambda moment: moment.file_bytes),
    ("threads", 0, "{:.0f}".format, lambda moment: moment.threads),
    ("open files but for open clients", 0, "{:.0f}".format, lambda moment: moment.own_files),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Let zaidash run for hours, in minutes.")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="(default: %(default)s)")
    parser.add_argument("--streams", type=int, default=STREAMS, help="(default: %(default)s)")
    options = parser.parse_args()
    seconds = options.seconds
    if seconds < 5 or options.streams < 10:
        parser.error("--seconds has to be 5 at least, and --streams 10")
    hours = seconds * SPEED / HOUR_S
    fine_s = min(RETENTION_S, seconds * SPEED // 6)
    minutes_s = min(MINUTES_RETENTION_S, seconds * SPEED // 2)
    retention_s = {"metrics_5s": fine_s, "metrics_1m": minutes_s}
    table = Table(f"soak: {hours:.1f} hours of operation in {seconds} s")
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(FakeProxy(variant))
            for variant in ("production", "production", "production", "canary", "canary", "blue")
        ]
        env = {
            "SCRAPE_TARGETS": ",".join(f"{replica.variant}={replica.url}" for replica in replicas),
            "SCRAPE_INTERVAL": f"{TICK_S:g}s",
            "SCRAPE_TIMEOUT": f"{TICK_S:g}s",
            "DOWNSAMPLE_INTERVAL": f"{DOWNSAMPLE_S}s",
            "RETENTION_5S": f"{retention_s['metrics_5s']}s",
            "RETENTION_1M": f"{retention_s['metrics_1m']}s",
            "LOG_LEVEL": "error",
        }
        python = (sys.executable, str(ROOT / "bench" / "sped_up.py"), str(SPEED))
        born_s = time.time()
        with run_zaidash(env=env, python=python) as zaidash:
            eventually(lambda: zaidash.get("/readyz").status == 200, TIMEOUT_S, "a snapshot")
            soak = Soak(table, zaidash, replicas, options.streams, born_s)
            soak.run(seconds, retention_s)
    return table.finish()


class Soak:
    """One run: what happens to a zaidash, and what is to be said of it."""

    def __init__(
        self,
        table: Table,
        zaidash: Zaidash,
        replicas: Sequence[FakeProxy],
        streams: int,
        born_s: float,
    ) -> None:
        self._table = table
        self._zaidash = zaidash
        self._replicas = replicas
        self._stream_count = streams
        self._changing = streams // CHANGING
        self._born_s = born_s
        self._rng = random.Random(4)
        self._clients = Clients(zaidash.port, REUSE_S)
        self._started_s = time.monotonic()
        self._moments: list[Moment] = []
        self._not_reading: list[tuple[float, Stream]] = []
        self._left: list[Stream] = []
        self._anchor = self._clients.streams.add()  # sees everything
        self._minutes: dict[tuple[str, int], tuple[Any, ...]] = {}
        self._looks: list[Look] = []
        self._changed_minutes = 0
        self._answered = self._failed = self._too_slow = 0
        self._come = 1
        self._worst_stall_s = 0.0

    def run(self, seconds: int, retention_s: Mapping[str, int]) -> None:
        files_before = open_file_count(self._zaidash.pid)
        ends_s = self._started_s + seconds
        for second in itertools.count():
            if time.monotonic() >= ends_s:
                break
            self._look()  # before any client comes or goes: both sides know the same of them
            self._disturb_replicas(second)
            self._change_streams(second)
            self._clients.schedule(self._rng.sample(ASKS, len(ASKS)), ASKS_PER_S)
            if second % LOOK_INTO_FILE_S == 0:
                self._look_into_file()
            served_s = time.monotonic() + LEAST_SERVED_S
            self._serve_until(max(self._started_s + second + 1, served_s))
        self._look_into_file()
        self._judge_levels()
        self._catch_up()
        self._judge_clients()
        self._judge_minutes(retention_s["metrics_1m"] * 1_000)
        self._judge_retention(retention_s)
        self._judge_end(files_before)

    # What happens

    def _disturb_replicas(self, second: int) -> None:
        """Do what is due in this real second. The first replica and the last one are steady."""
        _, flapping, noisy, failing, down, _ = self._replicas
        for replica in self._replicas:
            generate_traffic(replica, self._rng, 10)
        if second % 10 == 9:
            noisy.restart()
        noisy.request(self._rng.choice((200, 404, 500)), path=f"/scan/{second}")
        if second % 2:
            flapping.stop_serving()
        else:
            flapping.start_serving()
        failing.is_failing = second % 7 >= 4
        if second % 11 == 5:
            down.stop_serving()
        elif second % 11 == 7:
            down.start_serving()

    def _change_streams(self, second: int) -> None:
        streams = self._clients.streams
        for stream in self._rng.sample(list(streams.open.values()), len(streams.open)):
            if len(streams.open) <= self._stream_count - self._changing:
                break
            if stream is not self._anchor and stream.is_reading and stream.last:
                streams.end(stream)
                self._left.append(stream)
        for number in range(self._stream_count - len(streams.open)):
            # Half of them go on after what somebody else had a while ago.
            is_old = number % 2 and len(self._left) > self._changing
            last = self._left.pop(0).last if is_old else None
            streams.add(last)
            self._come += 1
        if second % 3 == 0:
            stream = streams.add()
            streams.stop_reading(stream)
            self._not_reading.append((time.monotonic(), stream))
        while self._not_reading and self._not_reading[0][0] < time.monotonic() - NOT_READING_S:
            streams.end(self._not_reading.pop(0)[1])
        del self._left[: -10 * self._changing]

    def _serve_until(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            self._clients.turn()
        stall_s = max(self._clients.delays_s)
        self._worst_stall_s = max(self._worst_stall_s, stall_s)
        del self._clients.delays_s[: -2 * BEATS_PER_S]
        while self._clients.requests.answers:
            answer = self._clients.requests.answers.popleft()
            self._answered += 1
            if answer.status == CUT_OFF and stall_s > PATIENCE_S / SPEED:
                self._too_slow += 1
            elif answer.status != 200 or not answer.raw:
                self._failed += 1
                say(f"{answer.ask.path}: {answer.status} {answer.raw[:200]!r}")

    def _look(self) -> None:
        pid, path = self._zaidash.pid, self._zaidash.db_path
        size = path.stat().st_size
        with contextlib.suppress(FileNotFoundError):
            size += path.with_name(f"{path.name}-wal").stat().st_size
        at_s = time.monotonic() - self._started_s
        memory, threads, files = resident_bytes(pid), thread_count(pid), open_file_count(pid)
        own_files = open_file_count_without(pid, self._zaidash.port, self._clients.ports())
        self._moments.append(Moment(at_s, memory, size, threads, files, own_files))

    def _look_into_file(self) -> None:
        """Note the minutes that are there; one that was there has to be what it was."""
        statement = "SELECT variant, ts, elapsed_s, req_rate FROM metrics_1m"
        ranges: dict[str, tuple[int, int]] = {}
        for variant, ts, *values in self._query(statement):
            known = self._minutes.setdefault((variant, ts), tuple(values))
            self._changed_minutes += known != tuple(values)
            oldest, newest = ranges.get(variant, (ts, ts))
            ranges[variant] = min(oldest, ts), max(newest, ts)
        at_s = self._born_s + (time.time() - self._born_s) * SPEED
        self._looks.append(Look(at_s * 1_000, ranges))

    def _catch_up(self) -> None:
        """Read all that was streamed of what is in the file, however far behind the client is."""
        streams = self._clients.streams
        for stream in list(streams.open.values()):
            if stream is not self._anchor:
                streams.end(stream)
        self._not_reading.clear()
        ((newest_ms,),) = self._query("SELECT MAX(ts) FROM metrics_5s")
        ends_s = time.monotonic() + TIMEOUT_S
        while not streams.events or streams.events[-1].data["timestamp"] <= newest_ms:
            assert time.monotonic() < ends_s, "what is in the file was not streamed"
            self._clients.turn()

    def _query(self, statement: str) -> list[Any]:
        uri = f"{self._zaidash.db_path.as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=TIMEOUT_S)) as database:
            return database.execute(statement).fetchall()

    # What is said of it

    def _judge_levels(self) -> None:
        late = [m for m in self._moments if m.at_s * SPEED >= LEVEL_AFTER_S]
        is_long = bool(late) and (late[-1].at_s - late[0].at_s) * SPEED >= HOUR_S
        judged = late if is_long else self._moments[len(self._moments) // 2 :]
        hours = (judged[-1].at_s - judged[0].at_s) * SPEED / HOUR_S
        over = f"over the last {hours:.1f} hours"
        for what, share, show, of in LEVELS:
            level, growth = self._trend(judged, of)
            most = show(max(of(moment) for moment in judged))
            shown = f"{growth / level:+.1%} of {show(level)} (most: {most})"
            allowed = share * level if share else 1.0
            name, target = f"growth of {what}, {over}", f"≤ {share:.0%}" if share else "≤ 1"
            if is_long:
                self._table.check(name, shown, target, growth <= allowed)
            else:
                self._table.note(name, shown)
        for what, bound, of in (
            ("threads", THREADS_TARGET, lambda m: m.threads),
            ("open files", FILES_TARGET, lambda m: m.files),
        ):
            most = max(of(moment) for moment in self._moments)
            self._table.check(f"{what}, most ever", f"{most:.0f}", f"< {bound}", most < bound)

    def _trend(self, moments: list[Moment], of: Callable[[Moment], float]) -> tuple[float, float]:
        """Return the median and what the trend adds in the whole time."""
        samples = [(moment.at_s, of(moment)) for moment in moments]
        level = percentile([value for _, value in samples], 50)
        return level, trend_per_s(samples) * (samples[-1][0] - samples[0][0])

    def _judge_clients(self) -> None:
        events = self._clients.streams.events
        got = sum(event.count for event in events)
        problems = self._clients.problems
        self._table.check(
            f"events missed, doubled or different on {self._come:,} streams that came and went",
            f"{problems.count} of {got:,}",
            "0",
            not problems.count and got > len(events),
        )
        for text in problems.texts:
            say(text[:300])
        self._table.check(
            "requests without a right answer",
            f"{self._failed} of {self._answered:,}",
            "0",
            self._answered > 0 and not self._failed,
        )
        self._table.note("requests cut off when this process itself stalled", str(self._too_slow))
        stamps = {event.data["timestamp"] for event in events}
        due = (max(stamps) - min(stamps)) / (1000 * TICK_S) + 1
        self._table.note("ticks with a snapshot", f"{len(stamps):,} of {due:,.0f}")
        lines = self._zaidash.get("/metrics").body.decode().splitlines()
        (dropped,) = [n for n in lines if n.startswith("zaidash_slow_streams_dropped_total ")]
        self._table.note("streams dropped, whose clients had stopped reading", dropped.split()[1])

    def _judge_minutes(self, retention_ms: float) -> None:
        streamed = defaultdict(list)
        for event in self._clients.streams.events:
            row = event.data
            streamed[row["variant"], row["timestamp"] // MINUTE_MS * MINUTE_MS].append(row)
        first_ms = min(ts for _, ts in streamed)  # was under way when the first stream came
        last_ms = max(ts for _, ts in self._minutes)
        due = {key for key in streamed if first_ms < key[1] <= last_ms}
        found = {key for key in self._minutes if first_ms < key[1]}
        unseen = {
            key
            for key in due - found
            if not any(look.has_to_find(*key, retention_ms) for look in self._looks)
        }
        expected = due - unseen
        wrong = [key for key in expected & found if not is_about(self._minutes[key], streamed[key])]
        for variant, ts in sorted(wrong)[:10]:
            say(f"{variant} {ts}: {self._minutes[variant, ts]} of {len(streamed[variant, ts])}")
        self._table.check(
            "minutes that are missing, and minutes of nothing",
            f"{len(expected - found)} and {len(found - expected)} of {len(expected):,}",
            "0 and 0",
            bool(expected) and expected == found,
        )
        self._table.note("minutes that went before a look that was late", str(len(unseen)))
        self._table.check(
            "minutes not made of exactly their snapshots, or changed afterwards",
            f"{len(wrong)} and {self._changed_minutes}",
            "0 and 0",
            not wrong and not self._changed_minutes,
        )

    def _judge_retention(self, retention_s: Mapping[str, int]) -> None:
        newest_ms = max(event.data["timestamp"] for event in self._clients.streams.events)
        # What kept this process from its work will have kept zaidash's job from its own.
        slack_s = RETENTION_SLACK_S + self._worst_stall_s * SPEED
        for table, seconds in retention_s.items():
            ((oldest_ms, count),) = self._query(f"SELECT MIN(ts), COUNT(*) FROM {table}")
            age_s = (newest_ms - oldest_ms) / 1000
            self._table.check(
                f"age of the oldest row of `{table}`",
                f"{age_s / 60:.0f} minutes ({count:,} rows)",
                f"≤ {(seconds + slack_s) / 60:.0f} minutes",
                age_s <= seconds + slack_s,
            )

    def _judge_end(self, files_before: int) -> None:
        self._clients.close()

        def is_empty() -> bool:
            return b"\nzaidash_streams 0\n" in self._zaidash.get("/metrics").body

        eventually(is_empty, TIMEOUT_S, "no stream left")
        most = files_before + FILES_LEFT

        def are_closed() -> bool:
            return open_file_count(self._zaidash.pid) <= most

        with contextlib.suppress(AssertionError):
            eventually(are_closed, TIMEOUT_S, "files closed")
        left = open_file_count(self._zaidash.pid)
        self._table.check(
            "open files when all clients have left",
            f"{left} (before they came: {files_before})",
            f"≤ {most}",
            left <= most,
        )
        started_s = time.monotonic()
        code = self._zaidash.terminate()
        errors = self._zaidash.stderr().strip().splitlines()
        for line in errors[:10]:
            say(line[:300])
        self._table.check(
            "exit code after SIGTERM, and errors in the log",
            f"{code} after {time.monotonic() - started_s:.1f} s, {len(errors)}",
            "0, 0",
            not code and not errors,
        )


def is_about(minute: tuple[Any, ...], rows: Sequence[dict[str, Any]]) -> bool:
    """Say whether a minute covers the time of these snapshots and has their requests."""
    known = [row for row in rows if row["elapsed_s"] is not None]
    seconds = sum(row["elapsed_s"] for row in known)
    requests = sum(row["req_rate"] * row["elapsed_s"] for row in known)
    expected = (seconds, requests / seconds) if known else (None, None)
    return all(
        value is None
        if wanted is None
        else value is not None and math.isclose(value, wanted, rel_tol=1e-6)
        for value, wanted in zip(minute, expected, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
