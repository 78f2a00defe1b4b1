"""Run a Python script in which time goes faster; `python bench/sped_up.py 50 zaidash.py`.

Whatever the script asks for the time is told that so many seconds have gone by for each real one,
from the moment it starts, and whatever it waits for with a timeout waits that much shorter. So an
hour of its life takes 72 s at 50, with the same settings and the same code as ever. The clock of
the CPU goes on as it does. What the kernel and C code wait for by themselves is not sped up:
SQLite's wait for a lock, keep-alive of TCP.
"""

from __future__ import annotations

import queue
import runpy
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def speed_up(times: float) -> None:
    """Let time go so many times as fast in this process, from now on."""
    _hasten_clock("time", times)
    _hasten_clock("monotonic", times)
    # All that zaidash waits with; each with the place of its timeout among the arguments.
    _hasten_wait(time, "sleep", 0, times)
    _hasten_wait(threading.Condition, "wait", 1, times)  # and so Event, and Queue
    _hasten_wait(threading.Thread, "join", 1, times)
    _hasten_wait(socket.socket, "settimeout", 1, times)
    _hasten_wait(selectors.DefaultSelector, "select", 1, times)

    class SimpleQueue(queue.SimpleQueue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return super().get(block, timeout / times if timeout is not None else None)

    queue.SimpleQueue = SimpleQueue  # type: ignore[misc]


def _hasten_clock(name: str, times: float) -> None:
    real: Callable[[], float] = getattr(time, name)
    start_s = real()

    def now_s() -> float:
        return start_s + (real() - start_s) * times

    setattr(time, name, now_s)


def _hasten_wait(owner: Any, name: str, place: int, times: float) -> None:
    real = getattr(owner, name)

    def wait(*arguments: Any, timeout: float | None = None) -> Any:
        given = list(arguments)
        if len(given) > place:
            timeout = given.pop(place)
        return real(*given, timeout / times if timeout is not None else None)

    setattr(owner, name, wait)


def main() -> None:
    times, script = float(sys.argv[1]), sys.argv[2]
    speed_up(times)
    sys.argv = sys.argv[2:]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
