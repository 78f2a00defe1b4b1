"""What many tests need: a plain HTTP client, waiting with a deadline, zaidash as a process.

Nothing here depends on pytest, so `bench/` and `.ci/` use it too. Failures are `AssertionError`s
whose message says what was waited for and what there was instead.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserType

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "zaidash.py"

#: How long zaidash may take from its start to its first answer; the demo writes a week of history.
START_TIMEOUT_S = 300.0

#: How long zaidash may take to stop. It promises 5 s, which tests check themselves.
STOP_TIMEOUT_S = 15.0

POLL_INTERVAL_S = 0.02

#: How much of its log a test shows that fails while zaidash runs.
LOG_LINES_SHOWN = 50

#: How coverage reaches a process that a test starts; absent when coverage is off.
COVERAGE_VARIABLES = ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")

T = TypeVar("T")


def eventually(
    condition: Callable[[], T], timeout_s: float = 60.0, what: str = "the condition"
) -> T:
    """Return the first truthy value of `condition()`; fail when there is none in time.

    An exception of `condition` is not waited out: it ends the test as it would anywhere else.
    """
    deadline_s = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited {timeout_s:g} s for {what}; the last value is {value!r}")
        time.sleep(POLL_INTERVAL_S)
    return value


def free_port() -> int:
    """Return a port that nothing on 127.0.0.1 listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


# --------------------------------------------------------------------------------------
# HTTP
# --------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """An HTTP answer as it came: not decompressed, not redirected. Header names ignore case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def get(
    url: str,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    *,
    timeout_s: float = 60.0,
) -> Reply:
    """Send one request on a connection of its own. Environment proxies play no part."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


# --------------------------------------------------------------------------------------
# Chromium
# --------------------------------------------------------------------------------------

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


#: How far tests' browsers are behind all else that wants the processors, as `nice` counts it.
PATIENCE = 5


def launch_chromium(chromium: BrowserType, niceness: int = 0, **options: Any) -> Browser:
    """Start Debian's Chromium; Playwright's own is not downloaded."""
    return chromium.launch(
        executable_path=str(Path(__file__).with_name("chromium.sh")),
        args=list(CHROMIUM_ARGS),
        env={**os.environ, "CHROMIUM_NICE": str(niceness)},
        **options,
    )


# --------------------------------------------------------------------------------------
# zaidash as a process
# --------------------------------------------------------------------------------------


class Zaidash:
    """A zaidash that runs. Made by `run_zaidash`, which also ends it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, db_path: Path, log: Path):
        self.process = process
        self.url = url
        self.db_path = db_path
        self._log = log

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def pid(self) -> int:
        return self.process.pid

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Reply:
        return get(self.url + path, headers, method)

    def json(self, path: str) -> Any:
        """Return the parsed body of an answer that has to be a 200."""
        reply = self.get(path)
        assert reply.status == 200, f"GET {path}: {reply.status} {reply.body!r}"
        return json.loads(reply.body)

    def stderr(self) -> str:
        """Return what was logged so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def answers(self) -> bool:
        """Say whether `/healthz` answers 200. Fail when the process is gone."""
        exit_code = self.process.poll()
        assert exit_code is None, f"zaidash exited with {exit_code}"
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code. A process that has ended already keeps its own."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """Send SIGKILL and return the exit code, -9."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"zaidash runs on {STOP_TIMEOUT_S:g} s after {number.name}"
            ) from None


@contextmanager
def run_zaidash(
    *args: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    python: Sequence[str] = (sys.executable,),
    is_measured: bool = False,
) -> Iterator[Zaidash]:
    """Run zaidash as a process of its own, from its first answer to the end of the block.

    Its environment is `PATH` and `env`, and where `env` does not say otherwise, `LISTEN_ADDR` is a
    free port on 127.0.0.1 and `DB_PATH` lies in a directory deleted afterwards, which is also
    where it runs. Choose the address by `env`, not by a flag and not as port 0: the URL is taken
    from it. Coverage takes several times the processor time, so only a process that `is_measured`
    adds to it: those of the end-to-end tests and of the faults.
    """
    with tempfile.TemporaryDirectory(prefix="zaidash-test-") as name:
        directory = Path(name)
        kept = COVERAGE_VARIABLES if is_measured else ()
        environment = _clean_environment(directory, env or {}, kept)
        log = directory / "stderr.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*python, str(SCRIPT), *args],
                env=environment,
                cwd=cwd or directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        url = _local_url(environment["LISTEN_ADDR"])
        zaidash = Zaidash(process, url, Path(environment["DB_PATH"]), log)
        try:
            eventually(zaidash.answers, START_TIMEOUT_S, f"an answer of {url}/healthz")
            yield zaidash
        except AssertionError as error:
            last_lines = zaidash.stderr().splitlines()[-LOG_LINES_SHOWN:]
            error.add_note("\n".join(["zaidash logged:", *last_lines]))
            raise
        finally:
            end_process(process)


def run_to_exit(
    *args: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    python: Sequence[str] = (sys.executable,),
    timeout_s: float = START_TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    """Run zaidash where it is expected to end by itself: `--version`, a bad setting."""
    with tempfile.TemporaryDirectory(prefix="zaidash-test-") as name:
        directory = Path(name)
        return subprocess.run(
            [*python, str(SCRIPT), *args],
            env=_clean_environment(directory, env or {}, COVERAGE_VARIABLES),
            cwd=cwd or directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_s,
            check=False,
        )


def _clean_environment(
    directory: Path, given: Mapping[str, str], variables: Sequence[str]
) -> dict[str, str]:
    """Return an environment in which no setting of the machine reaches zaidash.

    Of the machine's it has the `PATH` and some more variables, where they are set.
    """
    kept = {name: os.environ[name] for name in ("PATH", *variables) if name in os.environ}
    defaults = {
        "LISTEN_ADDR": f"127.0.0.1:{free_port()}",
        "DB_PATH": str(directory / "zaidash.db"),
    }
    return {**kept, **defaults, **given}


def _local_url(listen_addr: str) -> str:
    """Return where this machine reaches a server that listens on `host:port` or `:port`."""
    host, _, port = listen_addr.rpartition(":")
    return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"


def end_process(process: subprocess.Popen[Any], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Send SIGTERM, and SIGKILL to a process that does not end by it."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
