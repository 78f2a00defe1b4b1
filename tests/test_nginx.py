"""Behind nginx under a sub-path, with the lines of the README: page, API and live events.

Debian's nginx, as a process of its own on loopback, with gzip on and buffering as it is by default.
The README's block is read from there; only the address of zaidash is replaced.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import statistics
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import pytest
from browser import OpenPage, expect
from fake_proxy import FakeProxy
from needs import needed_tool
from support import ROOT, Zaidash, eventually, free_port, get, run_zaidash

from zaidash import App, Hub, load_config

pytest_plugins = ["browser"]

README = (ROOT / "README.md").read_text(encoding="utf-8")
(LOCATION,) = re.findall(r"^```nginx\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

#: What nginx does where the README's lines that tune it are left out: HTTP/1.0, 60 s.
BARE_LOCATION = "".join(
    line
    for line in LOCATION.splitlines(keepends=True)
    if not re.match(r"\s*proxy_(http|read)", line)
)

#: gzip as Debian's nginx.conf has it, then for all that there is.
GZIP, GZIP_ALL = "gzip on;", "gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;"

CONFIG = """
daemon off;
user root;
pid {directory}/nginx.pid;
events {{ }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    {http}
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""

#: nginx's own default of proxy_read_timeout.
READ_TIMEOUT_S = 60.0

STOP_TIMEOUT_S = 10.0
TICK_S = 1.0


@contextmanager
def run_nginx(
    directory: Path, zaidash_port: int, *, location: str = LOCATION, http: str = GZIP
) -> Iterator[str]:
    """Run nginx in front of a zaidash until the block ends; gives the address of the page."""
    nginx = needed_tool("nginx")
    assert "127.0.0.1:8080" in location
    port = free_port()
    config = directory / "nginx.conf"
    config.write_text(
        CONFIG.format(
            directory=directory,
            http=http,
            port=port,
            location=location.replace("127.0.0.1:8080", f"127.0.0.1:{zaidash_port}"),
        )
    )
    log = directory / "nginx.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [nginx, "-p", str(directory), "-c", str(config), "-e", "stderr"],
            stdin=subprocess.DEVNULL,
            stderr=stderr,
        )
    url = f"http://127.0.0.1:{port}/zaidash"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return get(f"{url}/healthz").status == 200
        except OSError:
            return False

    try:
        eventually(answers, 30, "an answer through nginx")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Site(NamedTuple):
    zaidash: Zaidash
    proxy: FakeProxy
    url: str  # through nginx, without a slash at the end

    def open_streams(self) -> int:
        """What zaidash itself says, not through nginx."""
        metrics = self.zaidash.get("/metrics").body.decode()
        (count,) = re.findall(r"^zaidash_streams (\d+)$", metrics, re.MULTILINE)
        return int(count)

    def wait_until_streams_are(self, count: int) -> None:
        eventually(lambda: self.open_streams() == count, 60, f"{count} open streams")


@pytest.fixture(scope="module")
def proxied() -> Iterator[tuple[Zaidash, FakeProxy]]:
    with FakeProxy() as proxy:
        env = {"SCRAPE_TARGETS": proxy.url, "SCRAPE_INTERVAL": f"{TICK_S:g}s"}
        with run_zaidash(env=env) as zaidash:
            eventually(lambda: len(zaidash.json("/api/metrics")) > 2, 30, "snapshots")
            yield zaidash, proxy


@pytest.fixture(scope="module")
def site(
    proxied: tuple[Zaidash, FakeProxy], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """zaidash behind the very lines of the README."""
    zaidash, proxy = proxied
    with run_nginx(tmp_path_factory.mktemp("nginx"), zaidash.port) as url:
        yield Site(zaidash, proxy, url)


# --------------------------------------------------------------------------------------
# Page and API
# --------------------------------------------------------------------------------------


class Links(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attributes if name in ("src", "href") and value]


def test_readme_has_five_lines() -> None:
    assert len(LOCATION.splitlines()) == 5
    assert "proxy_buffering" not in LOCATION
    assert len(BARE_LOCATION.splitlines()) == 3


def test_page_and_all_its_files_come_from_below_the_sub_path(site: Site) -> None:
    page = get(f"{site.url}/")
    assert page.status == 200
    links = Links(page.body.decode()).found
    assert len(links) >= 3
    for link in links:
        target = urljoin(f"{site.url}/", link)
        assert target.startswith(f"{site.url}/"), link
        file = get(target, {"Accept-Encoding": "gzip"})
        direct = site.zaidash.get(target.removeprefix(site.url), {"Accept-Encoding": "gzip"})
        assert (file.status, file.headers["Content-Type"]) == (200, direct.headers["Content-Type"])
        assert file.body == direct.body
        assert file.headers["Cache-Control"] == direct.headers["Cache-Control"]


def test_a_user_who_forgets_the_slash_gets_to_the_page(site: Site) -> None:
    reply = get(site.url)
    assert reply.status == 301
    assert reply.headers["Location"] == f"{site.url}/"


def test_api_answers_the_same_through_nginx(site: Site) -> None:
    path = "/api/metrics?range=5m&fields=req_rate,latency_p95&points=1&start=0&end=1"
    assert get(site.url + path).body == site.zaidash.get(path).body
    bad = get(f"{site.url}/api/metrics?range=never")
    assert bad.status == 400 and "range" in json.loads(bad.body)["error"]


def test_a_long_answer_comes_whole_and_compressed_once(site: Site) -> None:
    path = f"{site.url}/api/metrics?range=5m"
    reply = get(path, {"Accept-Encoding": "gzip"})
    assert reply.headers["Content-Encoding"] == "gzip"
    rows = json.loads(gzip.decompress(reply.body))
    assert len(rows) > 2 and rows[0]["variant"] == "production"


# --------------------------------------------------------------------------------------
# Live events
# --------------------------------------------------------------------------------------


class EventStream:
    """A client of /api/events as a browser is one, which notes when each event arrived."""

    def __init__(self, base_url: str, **headers: str) -> None:
        parts = urlsplit(base_url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("GET", f"{parts.path}/api/events", headers=names)
        self.reply = self._connection.getresponse()
        is_gzip = self.reply.headers["Content-Encoding"] == "gzip"
        self._gunzip = zlib.decompressobj(16 + zlib.MAX_WBITS) if is_gzip else None
        self._unread = b""

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.reply.close()
        self._connection.close()

    def line(self) -> str:
        """Wait for the next line; of a compressed stream, for no more than it takes to end it."""
        while b"\n" not in self._unread:
            received = self.reply.read1(65_536)
            assert received, "the stream ended"
            self._unread += self._gunzip.decompress(received) if self._gunzip else received
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode().rstrip("\r")

    def block(self) -> dict[str, str]:
        """Wait for the next event or comment: its lines by name, a comment under ''."""
        fields: dict[str, str] = {}
        while line := self.line():
            name, _, value = line.partition(": ")
            fields[name] = value
        return fields

    def snapshot(self) -> tuple[str, dict[str, Any]]:
        """Wait for the next snapshot: its event id and data."""
        while True:
            block = self.block()
            event = json.loads(block.get("data", "{}"))
            if event.get("type") == "metrics":
                return block["id"], event["data"]


WAYS = [
    pytest.param(LOCATION, id="the lines of the README"),
    pytest.param(BARE_LOCATION, id="HTTP 1.0 to zaidash, nginx's default"),
]


def delay_s(stream: EventStream) -> float:
    """Return how long typical events take: of four in a row, once these come within a second.

    A busy machine makes some late; buffered, none would come for seconds.
    """
    assert json.loads(stream.block()["data"])["type"] == "connected"
    delays_s: list[float] = []
    while len(delays_s) < 4 or (statistics.median(delays_s[-4:]) >= 1 and len(delays_s) < 20):
        _, data = stream.snapshot()
        delays_s.append(time.time() - data["timestamp"] / 1000)
    return statistics.median(delays_s[-4:])


@pytest.mark.parametrize("location", WAYS)
def test_events_arrive_within_a_second_and_uncompressed(
    proxied: tuple[Zaidash, FakeProxy], tmp_path: Path, location: str
) -> None:
    zaidash, _ = proxied
    with (
        run_nginx(tmp_path, zaidash.port, location=location) as url,
        EventStream(url, Accept_Encoding="identity") as stream,
    ):
        assert stream.reply.status == 200
        assert stream.reply.headers["Content-Type"] == "text/event-stream"
        assert stream.reply.headers["Content-Encoding"] is None
        assert delay_s(stream) < 1


@pytest.mark.parametrize("location", WAYS)
def test_events_that_nginx_compresses_are_as_early_and_the_same(
    proxied: tuple[Zaidash, FakeProxy], tmp_path: Path, location: str
) -> None:
    """Where it is told to compress every type there is, and asked to, nginx does so to events."""
    zaidash, _ = proxied
    with (
        run_nginx(tmp_path, zaidash.port, location=location, http=GZIP_ALL) as url,
        EventStream(url, Accept_Encoding="gzip") as stream,
        EventStream(zaidash.url) as direct,
    ):
        assert stream.reply.headers["Content-Encoding"] == "gzip"
        assert stream.reply.headers["Content-Type"] == "text/event-stream"
        assert delay_s(stream) < 1
        (event_id, data), seen = stream.snapshot(), dict(direct.snapshot() for _ in range(5))
        assert seen[event_id] == data


def test_a_browser_that_accepts_gzip_gets_its_events_plain(site: Site) -> None:
    with EventStream(site.url, Accept_Encoding="gzip, deflate, br") as stream:
        assert stream.reply.headers["Content-Encoding"] is None
        assert json.loads(stream.block()["data"])["type"] == "connected"


def test_a_reconnection_through_nginx_misses_and_repeats_nothing(site: Site) -> None:
    with EventStream(site.url) as stream:
        last_id, last = stream.snapshot()
    eventually(
        lambda: site.zaidash.json("/api/metrics")[-1]["timestamp"] > last["timestamp"] + 1000,
        30,
        "two more snapshots",
    )
    with EventStream(site.url, Last_Event_ID=last_id) as stream:
        times = [stream.snapshot()[1]["timestamp"] for _ in range(3)]
    stored = [row["timestamp"] for row in site.zaidash.json("/api/metrics")]
    after = stored.index(last["timestamp"]) + 1
    assert times == stored[after : after + 3]


def test_a_client_that_leaves_frees_its_stream(site: Site) -> None:
    site.wait_until_streams_are(0)
    with EventStream(site.url) as first, EventStream(site.url) as second:
        first.block()
        second.block()
        site.wait_until_streams_are(2)
    site.wait_until_streams_are(0)


def test_heartbeats_come_often_enough_for_the_default_of_nginx() -> None:
    assert Hub.HEARTBEAT_S * 2 <= READ_TIMEOUT_S


@pytest.mark.parametrize(
    ("heartbeat_s", "survives"), [(0.5, True), (30.0, False)], ids=["with heartbeats", "without"]
)
def test_a_quiet_stream_lives_by_its_heartbeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heartbeat_s: float, survives: bool
) -> None:
    # A minute's wait made short: nginx gives up after 2 s. Nobody is there to be scraped.
    monkeypatch.setattr(Hub, "HEARTBEAT_S", heartbeat_s)
    environ = {
        "LISTEN_ADDR": "127.0.0.1:0",
        "DB_PATH": str(tmp_path / "zaidash.db"),
        "SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/metrics",
    }
    app = App(load_config([], environ)[0])
    app.start()
    try:
        location = re.sub(r"(proxy_read_timeout) \w+;", r"\1 2s;", LOCATION)
        assert location != LOCATION
        with (
            run_nginx(tmp_path, app.server.server_port, location=location) as url,
            EventStream(url) as stream,
        ):
            stream.block()
            until_s = time.monotonic() + 6
            try:
                while time.monotonic() < until_s:
                    stream.block()
                is_open = True
            except (AssertionError, http.client.IncompleteRead):
                is_open = False
    finally:
        app.stop()
    assert is_open is survives


def test_the_token_is_asked_for_and_taken_through_nginx(tmp_path: Path) -> None:
    env = {
        "AUTH_TOKEN": "s3cret",
        "SCRAPE_TARGETS": f"http://127.0.0.1:{free_port()}/metrics",
    }
    with run_zaidash(env=env) as zaidash, run_nginx(tmp_path, zaidash.port) as url:
        refused = get(f"{url}/api/status")
        assert refused.status == 401 and "Basic" in refused.headers["WWW-Authenticate"]
        assert get(f"{url}/api/status", {"Authorization": "Bearer s3cret"}).status == 200
        with EventStream(url, Authorization="Bearer s3cret") as stream:
            assert stream.reply.status == 200


# --------------------------------------------------------------------------------------
# A browser
# --------------------------------------------------------------------------------------


def test_a_browser_shows_the_page_live_and_frees_its_stream(
    site: Site, open_page: OpenPage
) -> None:
    site.wait_until_streams_are(0)
    dashboard = open_page(site.url, "?range=5m")
    dashboard.wait_drawn()
    dashboard.wait_connection("live")
    assert site.open_streams() == 1
    site.proxy.set_gauges(concurrent=321, max_workers=400)
    expect(dashboard.tile("concurrency", "production")).to_contain_text("321")
    dashboard.page.goto("about:blank")
    dashboard.wait_until(lambda: site.open_streams() == 0, "the stream to be freed")
