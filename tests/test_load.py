"""`bench/load.py` and `bench/soak.py`, the short way: all that holds also on a busy machine.

How fast it is with 10,000 streams, and whether memory levels off over hours, is for
`make load` and `make soak`. These are their first seconds; what loses an event or a minute fails
here, too.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import NamedTuple

import pytest
from common import open_file_count_without
from support import COVERAGE_VARIABLES, ROOT

TIMEOUT_S = 300.0


class Row(NamedTuple):
    """What a script's table says of one thing."""

    measured: str
    target: str
    verdict: str  # PASS, FAIL or -


def rows_of(script: str, *arguments: str) -> dict[str, Row]:
    """Run the script; return its table, which has to end it, by what each row is about."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "bench" / script), *arguments],
        # Measuring coverage would take the time that the many clients need.
        env={k: v for k, v in os.environ.items() if k not in COVERAGE_VARIABLES},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    print(run.stderr, run.stdout)  # what pytest shows of a failure
    rows = [line.strip("| ").split(" | ") for line in run.stdout.splitlines()[2:]]
    assert rows, f"no table: {run.stderr}"
    found = {what: Row(*cells) for what, *cells in rows}
    failed = any(row.verdict == "FAIL" for row in found.values())
    assert run.returncode == int(failed), "the exit code is not what failed"
    return found


@pytest.fixture(scope="module")
def load() -> dict[str, Row]:
    return rows_of("load.py", "--streams", "300", "--seconds", "4", "--empty")


@pytest.mark.parametrize(
    "what",
    [
        "snapshots that a stream misses, or has twice, late or otherwise than the others",
        "snapshots that do not say what the replicas did",
        "snapshots that `/api/metrics` has otherwise",
        "requests without an answer, or with a wrong one",
        "any other error",
    ],
)
def test_under_load_nobody_gets_less_or_other_than_what_happened(
    load: dict[str, Row], what: str
) -> None:
    assert load[what].verdict == "PASS", load[what].measured


@pytest.fixture(scope="module")
def soak() -> dict[str, Row]:
    return rows_of("soak.py", "--seconds", "12", "--streams", "40")


@pytest.mark.parametrize(
    "what",
    [
        "minutes that are missing, and minutes of nothing",
        "minutes not made of exactly their snapshots, or changed afterwards",
        "requests without a right answer",
        "age of the oldest row of `metrics_5s`",
        "age of the oldest row of `metrics_1m`",
        "open files when all clients have left",
        "exit code after SIGTERM, and errors in the log",
    ],
)
def test_hours_leave_every_minute_once_and_nothing_behind(soak: dict[str, Row], what: str) -> None:
    assert soak[what].verdict == "PASS", soak[what].measured


def test_whoever_comes_back_to_a_stream_goes_on_where_another_one_left_off(
    soak: dict[str, Row],
) -> None:
    (found,) = (name for name in soak if name.startswith("events missed, doubled or different on"))
    assert soak[found].verdict == "PASS", soak[found].measured


def test_the_connection_to_a_client_that_is_gone_counts_as_an_open_file() -> None:
    """The soak would otherwise take a leak for clients; both ends are in this process here."""
    pid = os.getpid()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        before = open_file_count_without(pid, port, ())
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0]:
            client_port = client.getsockname()[1]
            assert open_file_count_without(pid, port, {client_port}) == before + 1
            client.close()
            assert open_file_count_without(pid, port, ()) == before + 1
