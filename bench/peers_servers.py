"""zaidash, Prometheus and VictoriaMetrics side by side, for `peers.py`: to start and to ask.

The peers run as their manuals advise, with these settings and no others:

    Prometheus        the defaults (15 days of retention)
    VictoriaMetrics   15 days of retention too, and `-search.latencyOffset` of nothing instead of
                      30 s: with it, a chart would end half a minute ago

They are Debian's programs, on loopback; none of them is installed as a service. Every one is a
process of its own, ended by the block that started it.
"""

from __future__ import annotations

import gzip
import http.client
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from common import look_often_for_the_first_answer
from support import SCRIPT, end_process, eventually, free_port, get, run_zaidash

NAMES = ("zaidash", "Prometheus", "VictoriaMetrics")
ZAIDASH, PROMETHEUS, VICTORIA = NAMES

#: Python compiles a script at every start; what `pip` or the image installs, it has compiled once.
AS_SCRIPT = f"{ZAIDASH}, as a script that is compiled anew"
INSTALLED = (
    "import os, sys; sys.path[0] = os.path.dirname(sys.argv.pop(1)); import zaidash;"
    " sys.exit(zaidash.main())"
)

#: How each calls itself when it scrapes.
AGENTS = {"zaidash": ZAIDASH, "Prometheus": PROMETHEUS, "vm_promscrape": VICTORIA}

RETENTION = "15d"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 120.0

#: Connections that a browser opens to one server, at most, for HTTP/1.1.
CONNECTIONS = 6


class Running(NamedTuple):
    """A server that runs."""

    name: str
    pid: int
    url: str


class Target(NamedTuple):
    """What all three scrape: a zai-proxy of a variant, and the labels that the peers give it."""

    variant: str
    url: str
    labels: Mapping[str, str]


class First(NamedTuple):
    """A request, and whether an answer to it is a good one."""

    path: Callable[[], str]
    is_good: Callable[[bytes], bool]


class Side(NamedTuple):
    """One of the three: how it is started on its data, until its first good answer."""

    name: str
    start: Callable[[First], AbstractContextManager[Running]]


def find_program(name: str, package: str) -> str:
    """Return the path of a program of Debian."""
    path = shutil.which(name)
    if path is None:
        raise SystemExit(
            f"the program {name} is not on the PATH: apt-get install {package} (its service is not"
            f" needed), or apt-get download {package}, dpkg-deb --extract, and add its usr/bin"
        )
    return path


def scrape_config(targets: Sequence[Target], interval_s: float) -> str:
    """Return the configuration of both peers, in JSON, which is YAML too."""
    times = {"scrape_interval": f"{interval_s:g}s", "scrape_timeout": f"{min(interval_s, 3):g}s"}
    jobs = []
    for target in targets:
        parts = urlsplit(target.url)
        labels = {key: value for key, value in target.labels.items() if key != "job"}
        jobs.append({
            "job_name": target.labels["job"],
            "metrics_path": parts.path,
            "static_configs": [{"targets": [parts.netloc], "labels": labels}],
        })  # fmt: skip
    return json.dumps({"global": times, "scrape_configs": jobs})


def zaidash_env(targets: Sequence[Target], interval_s: float, directory: Path) -> dict[str, str]:
    return {
        "SCRAPE_TARGETS": ",".join(f"{target.variant}={target.url}" for target in targets),
        "SCRAPE_INTERVAL": f"{interval_s:g}s",
        "DB_PATH": str(directory / "zaidash.db"),
        "LOG_LEVEL": "warning",
    }


def make_sides(targets: Sequence[Target], interval_s: float, directory: Path) -> list[Side]:
    """Return all three, zaidash in two ways, with their data below `directory`, to be started."""
    config = directory / "scrape.yml"
    config.write_text(scrape_config(targets, interval_s), encoding="utf-8")
    env = zaidash_env(targets, interval_s, directory)
    env["PYTHONPYCACHEPREFIX"] = str(directory / "pycache")
    installed = (sys.executable, "-c", INSTALLED)
    subprocess.run([*installed, str(SCRIPT), "--version"], env=env, check=True, timeout=60,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return [
        # First, for one database takes one zaidash, and the other one stays.
        Side(AS_SCRIPT, lambda first: _start_zaidash((sys.executable,), env, first)),
        Side(ZAIDASH, lambda first: _start_zaidash(installed, env, first)),
        Side(PROMETHEUS, lambda first: start_prometheus(directory, config, first)),
        Side(VICTORIA, lambda first: start_victoria(directory, config, first)),
    ]


@contextmanager
def _start_zaidash(
    python: Sequence[str], env: Mapping[str, str], first: First
) -> Iterator[Running]:
    look_often_for_the_first_answer()
    with run_zaidash(env=env, python=python) as zaidash:
        running = Running(ZAIDASH, zaidash.pid, zaidash.url)
        wait_for_answer(running.url, first, lambda: None)
        yield running


def start_prometheus(
    directory: Path, config: Path, first: First
) -> AbstractContextManager[Running]:
    address = f"127.0.0.1:{free_port()}"
    command = [
        find_program("prometheus", "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / PROMETHEUS}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    ]
    return _run(PROMETHEUS, command, address, directory, first)


def start_victoria(directory: Path, config: Path, first: First) -> AbstractContextManager[Running]:
    address = f"127.0.0.1:{free_port()}"
    command = [
        find_program("victoria-metrics", "victoria-metrics"),
        f"-promscrape.config={config}",
        f"-storageDataPath={directory / VICTORIA}",
        f"-retentionPeriod={RETENTION}",
        f"-httpListenAddr={address}",
        "-search.latencyOffset=0s",
        "-loggerLevel=WARN",
    ]
    return _run(VICTORIA, command, address, directory, first)


@contextmanager
def _run(
    name: str, command: Sequence[str], address: str, directory: Path, first: First
) -> Iterator[Running]:
    """Run a peer until the end of the block, from its first good answer on."""
    log = directory / f"{name}.log"

    def check() -> None:
        code = process.poll()
        assert code is None, f"{name} exited with {code}: {log.read_text()[-2_000:]}"

    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        url = f"http://{address}"
        wait_for_answer(url, first, check)
        yield Running(name, process.pid, url)
    finally:
        end_process(process, STOP_TIMEOUT_S)


def wait_for_answer(url: str, first: First, check: Callable[[], None]) -> None:
    """Ask until there is a good answer; `check` raises where there never will be one."""

    def is_good() -> bool:
        check()
        try:
            reply = get(url + first.path(), timeout_s=REQUEST_TIMEOUT_S)
        except OSError:
            return False
        return reply.status == 200 and first.is_good(reply.body)

    eventually(is_good, START_TIMEOUT_S, f"a good answer of {url}")


# --------------------------------------------------------------------------------------
# Asking
# --------------------------------------------------------------------------------------


class Browser:
    """Asks as a page does: compressed, all at once over a browser's connections, kept open."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._pool = ThreadPoolExecutor(CONNECTIONS, "browser")
        self._of_thread = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def load(self, paths: Sequence[str]) -> list[tuple[bytes, bool]]:
        """Return the bodies as they come, and whether each is compressed."""
        return list(self._pool.map(self._get, paths))

    def _get(self, path: str) -> tuple[bytes, bool]:
        connection: http.client.HTTPConnection | None
        connection = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self._address, timeout=REQUEST_TIMEOUT_S)
            self._of_thread.connection = connection
            self._connections.append(connection)
        connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
        reply = connection.getresponse()
        body = reply.read()
        assert reply.status == 200, f"GET {path}: {reply.status} {body[:500]!r}"
        return body, reply.headers.get("Content-Encoding") == "gzip"

    def close(self) -> None:
        self._pool.shutdown()
        for connection in self._connections:
            connection.close()


def decoded(reply: tuple[bytes, bool]) -> Any:
    body, is_compressed = reply
    return json.loads(gzip.decompress(body) if is_compressed else body)


def victoria_metric(url: str, name: str) -> float:
    """Return the sum of a metric of VictoriaMetrics's own, with the labels given in the name."""
    lines = get(f"{url}/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def tidy_victoria(url: str) -> None:
    """Let VictoriaMetrics write what it has, and merge its parts as it does in time by itself."""
    get(f"{url}/internal/force_flush", timeout_s=REQUEST_TIMEOUT_S)
    get(f"{url}/internal/force_merge", timeout_s=REQUEST_TIMEOUT_S)
    time.sleep(1)
    eventually(
        lambda: victoria_metric(url, "vm_active_force_merges") == 0,
        REQUEST_TIMEOUT_S,
        "the merge of VictoriaMetrics",
    )
