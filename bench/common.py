"""What the benchmarks share: the table they print, and what the kernel says of a process.

Import it before anything of `tests/`: it puts that directory and the repository on the path, so
that `python bench/bench_scrape.py` runs from anywhere. Linux only: the numbers are from `/proc`.

Units: MB are 10^6 bytes, also for memory, which is a little harsher than what `ps` shows.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

HELPER_STOP_TIMEOUT_S = 5.0

# --------------------------------------------------------------------------------------
# The table
# --------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A line of the table. `ok` is None where a number is shown and nothing is promised."""

    what: str
    measured: str
    target: str
    ok: bool | None

    @property
    def verdict(self) -> str:
        return {True: "PASS", False: "FAIL", None: "-"}[self.ok]


class Table:
    """The rows of one benchmark. Progress goes to stderr, the table alone to stdout."""

    def __init__(self, title: str) -> None:
        self._rows: list[Row] = []
        self._started_s = time.monotonic()
        say(title)

    def check(self, what: str, measured: str, target: str, ok: bool) -> None:
        """Add a number and whether it keeps its promise."""
        self._add(Row(what, measured, target, ok))

    def note(self, what: str, measured: str, mark: str = "-") -> None:
        """Add a number that decides nothing; `mark` is what to compare it with."""
        self._add(Row(what, measured, mark, None))

    def _add(self, row: Row) -> None:
        self._rows.append(row)
        say(f"{row.verdict:4}  {row.what}: {row.measured}")

    def finish(self) -> int:
        """Print the table and return the exit code: 1 when a target is missed."""
        print("| what | measured | target | ok |")
        print("|---|---|---|---|")
        for row in self._rows:
            print(f"| {row.what} | {row.measured} | {row.target} | {row.verdict} |")
        seconds = time.monotonic() - self._started_s
        say(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, {seconds:.0f} s")
        return int(any(row.ok is False for row in self._rows))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def milliseconds(seconds: float) -> str:
    """Return a time with two or three digits that mean something."""
    ms = seconds * 1000
    return f"{ms:.0f} ms" if ms >= 100 else f"{ms:.1f} ms" if ms >= 10 else f"{ms:.2f} ms"


def megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


# --------------------------------------------------------------------------------------
# Measuring
# --------------------------------------------------------------------------------------


def elapsed_s(action: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


def median_s(action: Callable[[], object], rounds: int) -> float:
    """Return the median time of one call."""
    return statistics.median(elapsed_s(action) for _ in range(rounds))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent do not exceed: one that was measured."""
    return sorted(values)[max(math.ceil(percent / 100 * len(values)), 1) - 1]


def trend_per_s(samples: Sequence[tuple[float, float]]) -> float:
    """Return by how much values of (second, value) grow in a second, by Theil and Sen.

    It is the median of the slopes between any two of them: a burst among them moves it little.
    """
    pairs = itertools.combinations(samples, 2)
    return statistics.median((later - value) / (then_s - at_s)
                             for (at_s, value), (then_s, later) in pairs)  # fmt: skip


def resident_bytes(pid: int) -> int:
    """Return what a process holds of memory now."""
    return 1024 * int(_status(pid, "VmRSS").split()[0])


class Share(NamedTuple):
    """What a process has of memory, pages that others have too counted in part: its PSS."""

    all_bytes: int
    #: Without pages of files, which the kernel may drop at any time.
    anonymous_bytes: int


def memory_share(pid: int) -> Share:
    """Return the PSS of a process now; see smaps_rollup in proc(5)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kibibytes = {key: value.split()[0] for key, _, value in (line.partition(":") for line in lines)}
    return Share(1024 * int(kibibytes["Pss"]), 1024 * int(kibibytes["Pss_Anon"]))


def forget_peak(pid: int) -> None:
    """Let `peak_bytes` begin anew; see clear_refs in proc(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_bytes(pid: int) -> int:
    """Return the most memory a process held since its start, or since `forget_peak`."""
    return 1024 * int(_status(pid, "VmHWM").split()[0])


def thread_count(pid: int) -> int:
    return int(_status(pid, "Threads"))


def open_file_count(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def open_file_count_without(pid: int, port: int, client_ports: Collection[int]) -> int:
    """Return the same without the connections of a server's port to these ports of its clients."""
    files = Path(f"/proc/{pid}/fd")
    targets = []
    for name in os.listdir(files):
        with contextlib.suppress(FileNotFoundError):  # closed in the meantime
            targets.append(os.readlink(files / name))
    connections = set()
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            here, there = (int(address.rpartition(":")[2], 16) for address in fields[1:3])
            if here == port and there in client_ports:
                connections.add(f"socket:[{fields[9]}]")
    return sum(target not in connections for target in targets)


def _status(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value
    raise LookupError(name)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process so far, all its threads, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    utime, stime = int(fields[11]), int(fields[12])  # fields 14 and 15 in proc(5)
    return (utime + stime) / os.sysconf("SC_CLK_TCK")


def machine_cpu_s() -> float:
    """Return the CPU time of everything on this machine so far, all its cores."""
    user, nice, system, _idle, _waiting, *others = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


def look_often_for_the_first_answer() -> None:
    """Let `run_zaidash` ask every 2 ms whether the process is up: the time that takes is shown."""
    import support  # here, as below

    support.POLL_INTERVAL_S = 0.002


def raise_file_limit(wanted: int) -> None:
    """Allow so many open files, or fail with what to do about it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise SystemExit(f"{wanted} open files are needed and {hard} allowed; see ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def run_helper(script: Path, *arguments: str) -> Iterator[str]:
    """Run a script of this repository until the block ends; gives its first line of output."""
    from support import end_process  # here, for it is this module that makes it importable

    command: Sequence[str] = [sys.executable, str(script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first_line = process.stdout.readline().strip()
            assert first_line, f"{script.name} ended with {process.wait()} and said nothing"
            yield first_line
        finally:
            end_process(process, HELPER_STOP_TIMEOUT_S)


def run_proxy(variant: str, rate: float) -> AbstractContextManager[str]:
    """Run a live zai-proxy double with so many requests a second; gives its URL."""
    script = ROOT / "tests" / "fake_proxy.py"
    return run_helper(script, "--quiet", "--variant", variant, "--rate", str(rate))
