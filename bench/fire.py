"""All of the fire; `python bench/fire.py [--seed N] [NAME ...]`, or `make fire`.

What zaidash is put through, and what has to hold, is in `tests/under_fire.py`; this takes the full
amounts and prints a table. With names only those are run. The file system that is filled has to be
mounted, so it takes root. The exit code is 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from common import Table, raise_file_limit, say
from test_faults import DEEDS
from under_fire import (
    crowd_out,
    fill_the_disk,
    kill_at_random_moments,
    run_out_of_files,
    scrape_hostile_targets,
    scrape_made_up_expositions,
    send_made_up_requests,
    set_the_clock,
    survive_deeds,
)

SEED = 20_260_101


class Trial(NamedTuple):
    """A row of the table: what is done, and a function of (directory, seed) that does it."""

    name: str
    what: str
    holds: str
    run: Callable[[Path, int], str]


TRIALS = (
    Trial(
        "kill",
        "`kill -9` at 50 random moments, while it writes, averages and deletes",
        "file sound, no snapshot older than a tick missing, each minute once",
        lambda directory, seed: kill_at_random_moments(directory, 50, seed),
    ),
    Trial(
        "disk",
        "a disk that is full, 5 times",
        "the rest goes on, all is written afterwards",
        lambda directory, _: fill_the_disk(directory, 5),
    ),
    Trial(
        "clock",
        "the clock set 1 h forth, right, 1 h back, right",
        "no wrong rate, no snapshot or minute lost, healthy",
        lambda directory, _: set_the_clock(directory, 5.0),
    ),
    Trial(
        "file",
        f"the database removed, replaced, cut or overwritten in {len(DEEDS)} ways",
        "told, and the last hour on disk again",
        lambda directory, _: survive_deeds(directory),
    ),
    Trial(
        "targets",
        "every bad answer of a target at once, for 60 s",
        "the good target misses no tick, every reason is told",
        lambda _, __: scrape_hostile_targets(60.0, 1),
    ),
    Trial(
        "crowd",
        "500 half requests that drip and 200 streams that never read",
        "`/` and `/api/status` within 100 ms",
        lambda directory, _: crowd_out(directory, 500, 200, 2_000, most_s=0.1),
    ),
    Trial(
        "files",
        "300 half requests where 200 files may be open",
        "answers, and snapshots go on",
        lambda directory, _: run_out_of_files(directory, 200, 300, 10.0),
    ),
    Trial(
        "expositions",
        "100,000 made-up expositions",
        "no crash, a snapshot with sense or a reason, memory flat",
        lambda _, seed: scrape_made_up_expositions(100_000, seed),
    ),
    Trial(
        "requests",
        "100,000 made-up HTTP requests",
        "no crash, no 5xx but 505, an answer to each whole one, memory flat",
        lambda directory, seed: send_made_up_requests(directory, 100_000, seed),
    ),
)


def main() -> int:
    options = parse_options()
    table = Table(f"fire: about seven minutes; seed {options.seed}")
    raise_file_limit(2_000)
    for trial in TRIALS:
        if not options.names or trial.name in options.names:
            run(table, trial, options.seed)
    return table.finish()


def run(table: Table, trial: Trial, seed: int) -> None:
    say(f"      {trial.what} ...")
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zaidash-fire-") as name:
        try:
            measured, holds = trial.run(Path(name), seed), True
        except pytest.skip.Exception as reason:
            table.note(trial.what, str(reason))
            return
        except AssertionError as error:
            say("".join(traceback.format_exception(error)))
            measured, holds = str(error).partition("\n")[0][:300], False
    seconds = time.monotonic() - started_s
    table.check(trial.what, f"{measured} ({seconds:.0f} s)", trial.holds, holds)


def parse_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Put zaidash through all of the fire.")
    parser.add_argument("--seed", type=int, default=SEED, help="of all that is random")
    known = [trial.name for trial in TRIALS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(known):
        parser.error(f"there is no {', '.join(sorted(unknown))}, only {', '.join(known)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
