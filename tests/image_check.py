"""The container image is what the README says, and does what zaidash does. Called by `.ci/image`.

`ZAIDASH_IMAGE_ROOT` is the image's root, mounted, and `ZAIDASH_IMAGE_JSON` what `buildah inspect`
prints. `ZAIDASH_LABELLED_ROOT` and `ZAIDASH_LABELLED_JSON` are the same of an image that was built
again, with the labels of who publishes it. `pytest` alone does not collect this file: there is no
image before `.ci/image` made it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from container import MOUNT_POINTS, container_command
from fake_proxy import FakeProxy
from pytest_httpserver import HTTPServer
from support import ROOT, START_TIMEOUT_S, STOP_TIMEOUT_S, Zaidash, eventually, free_port

from zaidash import __version__

#: Promises of the README, and of `deploy/kubernetes.yaml` on memory.
MAX_IMAGE_BYTES = 40_000_000
MAX_STOP_S = 5.0
MAX_IDLE_BYTES = 64 * 2**20

INTERVAL = "200ms"

#: The demo writes a week of history before it answers, and the machine may be busy.
START_S = 4 * START_TIMEOUT_S


class Image(NamedTuple):
    """An image as an engine has it: a root, and a configuration as `docker inspect` names it."""

    root: Path
    config: dict[str, Any]

    @property
    def user(self) -> str:
        user: str = self.config["User"]
        return user

    def files(self) -> list[Path]:
        """Return all there is but what is mounted, relative to the root."""
        found = (path.relative_to(self.root) for path in self.root.rglob("*"))
        return sorted(path for path in found if str(path) not in MOUNT_POINTS)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    root = tmp_path_factory.mktemp("image") / "root"
    copy = ["cp", "--archive", os.environ["ZAIDASH_IMAGE_ROOT"], str(root)]
    subprocess.run(copy, check=True, timeout=120)
    for name in MOUNT_POINTS:
        (root / name).mkdir()
    return Image(root, config_in("ZAIDASH_IMAGE_JSON"))


def config_in(variable: str) -> dict[str, Any]:
    """Return the configuration in a file that an environment variable names."""
    inspected = json.loads(Path(os.environ[variable]).read_text(encoding="utf-8"))
    config: dict[str, Any] = inspected["Docker"]["config"]
    return config


@pytest.fixture
def volume(image: Image, tmp_path: Path) -> Path:
    """A new volume, which an engine gives the owner and the mode of the directory below it."""
    folder = tmp_path / "volume"
    shutil.copytree(image.root / "data", folder)
    below = (image.root / "data").stat()
    os.chown(folder, below.st_uid, below.st_gid)
    return folder


# --------------------------------------------------------------------------------------
# Containers
# --------------------------------------------------------------------------------------


class Container(Zaidash):
    """zaidash in a container. Signals go to its process 1, as those of `docker stop` do."""

    @property
    def pid(self) -> int:
        parent = self.process.pid
        (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(child)

    def _end(self, number: signal.Signals) -> int:
        os.kill(self.pid, number)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it runs on after {number.name} to process 1") from None


def command_of(
    image: Image,
    volume: Path,
    command: list[str],
    env: Mapping[str, str],
    is_read_only: bool = True,
) -> list[str]:
    variables = [variable.partition("=") for variable in image.config["Env"]]
    return container_command(
        image.root,
        volume,
        command,
        {name: value for name, _, value in variables} | dict(env),
        user=image.user,
        directory=image.config["WorkingDir"],
        is_read_only=is_read_only,
    )


@contextmanager
def run(
    image: Image,
    volume: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    is_read_only: bool = True,
) -> Iterator[Container]:
    """Run the image from its first answer to the end of the block."""
    port = free_port()
    settings = {
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "SCRAPE_INTERVAL": INTERVAL,
        "SCRAPE_TARGETS": "http://127.0.0.1:1/metrics",
        **(env or {}),
    }
    command = [*image.config["Entrypoint"], *args]
    log = volume.parent / f"log-{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command_of(image, volume, command, settings, is_read_only),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    container = Container(process, f"http://127.0.0.1:{port}", volume / "dashboard.db", log)
    try:
        eventually(container.answers, START_S, "an answer of /healthz")
        yield container
    except AssertionError as error:
        error.add_note(f"the container logged:\n{container.stderr()}")
        raise
    finally:
        process.kill()  # process 1 dies with it, and the rest of the container with that
        process.wait()


def run_once(
    image: Image, volume: Path, command: list[str], env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command_of(image, volume, command, env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=START_S,
        check=False,
    )


def run_python(
    image: Image, volume: Path, script: str, env: Mapping[str, str] | None = None
) -> Any:
    """Run a script by the image's interpreter and return what it prints as JSON."""
    done = run_once(image, volume, [image.config["Entrypoint"][0], "-I", "-c", script], env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def serve_requests(proxy: FakeProxy, number: int) -> None:
    for _ in range(number):
        proxy.request(200, seconds=0.12, tokens=(900, 250, 0, 0))


def newest(container: Container) -> dict[str, Any]:
    rows = container.json("/api/metrics?range=5m")
    row: dict[str, Any] = rows[-1] if rows else {}
    return row


def last_error(container: Container, number: int) -> str:
    return container.json("/api/targets")[number]["last_error"] or ""


def wait_for_requests(container: Container, number: int) -> None:
    eventually(
        lambda: newest(container).get("requests_2xx") == number, 30, f"{number} requests in the API"
    )


# --------------------------------------------------------------------------------------
# It works
# --------------------------------------------------------------------------------------


def test_api_tells_what_a_proxy_exports(image: Image, volume: Path) -> None:
    with FakeProxy() as proxy, run(image, volume, env={"SCRAPE_TARGETS": proxy.url}) as container:
        eventually(lambda: container.get("/readyz").status == 200, 30, "200 from /readyz")
        serve_requests(proxy, 20)
        wait_for_requests(container, 20)
        assert container.json("/api/status")["production"]["healthy"] is True
        assert container.json("/api/targets")[0]["health"] == "up"
        assert container.json("/api/summary?range=5m")["production"]["requests"] == 20


#: As browsers insist on them; the image has no /etc/mime.types.
CONTENT_TYPES = {
    ".js": r"(text|application)/javascript; charset=utf-8",
    ".css": r"text/css; charset=utf-8",
    ".svg": r"image/svg\+xml",
}


def test_page_comes_with_all_it_needs(image: Image, volume: Path) -> None:
    with run(image, volume) as container:
        page = container.get("/")
        assert page.status == 200
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        paths = re.findall(r'(?:href|src)="\./?([^"]+)"', page.body.decode())
        assert {Path(path).suffix for path in paths} >= set(CONTENT_TYPES), paths
        for path in paths:
            file = container.get(f"/{path}")
            assert file.body == (ROOT / "static" / path).read_bytes()
            expected = CONTENT_TYPES.get(Path(path).suffix, ".+")
            assert re.fullmatch(expected, file.headers["Content-Type"]), path


def test_live_events_arrive(image: Image, volume: Path) -> None:
    with (
        FakeProxy() as proxy,
        run(image, volume, env={"SCRAPE_TARGETS": proxy.url}) as container,
        socket.create_connection(("127.0.0.1", container.port), timeout=30) as stream,
    ):
        stream.sendall(b"GET /api/events HTTP/1.1\r\nHost: zaidash\r\n\r\n")
        heard = b""
        while heard.count(b'data: {"type":"metrics"') < 2:
            heard += (received := stream.recv(65_536))
            assert received, heard


def test_history_outlives_the_container(image: Image, volume: Path) -> None:
    with FakeProxy() as proxy:
        settings = {"SCRAPE_TARGETS": proxy.url}
        with run(image, volume, env=settings) as container:
            serve_requests(proxy, 7)
            wait_for_requests(container, 7)
            before = container.json("/api/metrics?range=5m")
            assert container.terminate() == 0
        with run(image, volume, env=settings) as container:
            after = container.json("/api/metrics?range=5m")
    assert after[: len(before)] == before
    assert f"{(volume / 'dashboard.db').stat().st_uid}:{os.stat(volume).st_gid}" == image.user


@pytest.mark.parametrize("is_read_only", [True, False], ids=["read-only", "writable"])
def test_nothing_but_the_volume_is_written(image: Image, volume: Path, is_read_only: bool) -> None:
    before = manifest(image)
    with (
        FakeProxy() as proxy,
        run(
            image, volume, env={"SCRAPE_TARGETS": proxy.url}, is_read_only=is_read_only
        ) as container,
    ):
        eventually(lambda: container.get("/readyz").status == 200, 30, "200 from /readyz")
        container.json("/api/metrics?range=7d")
        assert container.terminate() == 0
    assert manifest(image) == before
    assert {path.name for path in volume.iterdir()} >= {"dashboard.db"}


def manifest(image: Image) -> dict[str, tuple[Any, ...]]:
    return {str(path): fingerprint(image.root / path) for path in image.files()}


def fingerprint(path: Path) -> tuple[Any, ...]:
    seen = path.lstat()
    content = ""
    if path.is_symlink():
        content = os.readlink(path)
    elif path.is_file():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return seen.st_mode, seen.st_uid, seen.st_gid, seen.st_size, seen.st_mtime_ns, content


def test_demo_runs_on_a_read_only_root(image: Image, volume: Path) -> None:
    with run(image, volume, "--demo") as container:
        assert len(container.json("/api/metrics?range=7d&variant=canary&points=100")) >= 99
        assert container.terminate() == 0
    assert list(volume.iterdir()) == []


@pytest.mark.parametrize("command", ["Entrypoint", "Healthcheck"])
def test_command_is_one_that_needs_no_shell(image: Image, command: str) -> None:
    words = image.config[command]
    words = words if command == "Entrypoint" else words["Test"][1:]
    assert (image.root / words[0].lstrip("/")).resolve().is_file()


def test_health_check_tells_up_from_down(image: Image, volume: Path) -> None:
    kind, *command = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    with run(image, volume) as container:
        listening = {"LISTEN_ADDR": f"127.0.0.1:{container.port}"}
        assert run_once(image, volume, command, listening).returncode == 0
        assert container.terminate() == 0
        down = run_once(image, volume, command, listening)
    assert down.returncode == 1
    assert "no answer from" in down.stderr


def test_bad_setting_is_named_before_it_starts(image: Image, volume: Path) -> None:
    done = run_once(image, volume, image.config["Entrypoint"], {"SCRAPE_INTERVAL": "never"})
    assert done.returncode == 2
    assert "SCRAPE_INTERVAL=never: expected" in done.stderr


def test_volume_of_another_user_is_named(image: Image, volume: Path) -> None:
    os.chown(volume, 0, 0)
    with run(image, volume) as container:
        reply = container.get("/readyz")
        assert reply.status == 503
        assert b"storage not writable" in reply.body
        assert "/data/dashboard.db" in container.stderr()


# --------------------------------------------------------------------------------------
# It stops
# --------------------------------------------------------------------------------------


def test_sigterm_ends_process_1_in_time(image: Image, volume: Path) -> None:
    with FakeProxy() as proxy, run(image, volume, env={"SCRAPE_TARGETS": proxy.url}) as container:
        status = Path(f"/proc/{container.pid}/status").read_text()
        assert re.search(r"^NSpid:\t\d+(\t\d+)*\t1$", status, re.MULTILINE), "not process 1"
        with socket.create_connection(("127.0.0.1", container.port), timeout=30) as stream:
            stream.sendall(b"GET /api/events HTTP/1.1\r\nHost: zaidash\r\n\r\n")
            assert stream.recv(1024).startswith(b"HTTP/1.1 200 ")
            began_s = time.monotonic()
            assert container.terminate() == 0
            took_s = time.monotonic() - began_s
        assert took_s < MAX_STOP_S
        assert "stopped" in container.stderr()


# --------------------------------------------------------------------------------------
# It can ask others: names, certificates
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "dns+http"])
def test_target_is_found_by_name(image: Image, volume: Path, scheme: str) -> None:
    with FakeProxy() as proxy:
        url = proxy.url.replace("http://127.0.0.1", f"{scheme}://localhost")
        assert "localhost" in url
        with run(image, volume, env={"SCRAPE_TARGETS": url}) as container:
            eventually(lambda: newest(container), 30, "a snapshot")


def test_name_with_an_umlaut_is_looked_up_until_it_resolves(image: Image, volume: Path) -> None:
    """Python loads a codec for it. Were that missing, a dns+ target would be given up for good."""
    hosts = image.root / "etc" / "hosts"
    before, changed_ns = hosts.read_text(encoding="utf-8"), hosts.stat().st_mtime_ns
    with FakeProxy() as proxy:
        url = proxy.url.replace("127.0.0.1", "bücher.invalid")
        assert url != proxy.url
        settings = {"SCRAPE_TARGETS": f"plain={url},dns=dns+{url}"}
        with run(image, volume, env=settings) as container:
            try:
                wanted = "the host name cannot be resolved: "
                eventually(
                    lambda: all(last_error(container, n).startswith(wanted) for n in (0, 1)),
                    30,
                    "a name that is not found",
                )
                hosts.write_text(f"{before}127.0.0.1 xn--bcher-kva.invalid\n", encoding="utf-8")
                # zaidash looks again every 30 s.
                eventually(
                    lambda: (
                        {row["variant"] for row in container.json("/api/metrics")}
                        == {"plain", "dns"}
                    ),
                    90,
                    "snapshots of both targets",
                )
            finally:
                hosts.write_text(before, encoding="utf-8")
                os.utime(hosts, ns=(changed_ns, changed_ns))


def test_certificates_of_the_usual_authorities_are_trusted(image: Image, volume: Path) -> None:
    script = (
        "import json, ssl\n"
        "store = ssl.create_default_context().cert_store_stats()\n"
        "print(json.dumps(store))"
    )
    assert run_python(image, volume, script)["x509_ca"] > 50


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that no authority knows, and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
        *("-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2"),
        *("-subj", "/CN=zai-proxy", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key


def test_target_with_https_is_scraped_only_when_trusted(
    image: Image, volume: Path, certificate: tuple[Path, Path]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with FakeProxy() as proxy, HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        server.expect_request("/metrics").respond_with_data(proxy.exposition())
        settings = {"SCRAPE_TARGETS": server.url_for("/metrics")}
        with run(image, volume, env=settings) as container:
            # On a busy machine a scrape may run into its deadline first.
            eventually(lambda: "certificate" in last_error(container, 0), 30, "what is wrong")
        shutil.copyfile(certificate[0], volume / "ca.pem")
        with run(image, volume, env=settings | {"SSL_CERT_FILE": "/data/ca.pem"}) as container:
            eventually(lambda: newest(container), 30, "a snapshot")


# --------------------------------------------------------------------------------------
# It holds what it needs, and nothing else
# --------------------------------------------------------------------------------------


def test_image_is_small(image: Image) -> None:
    files = [image.root / path for path in image.files()]
    size_bytes = sum(
        path.stat().st_size for path in files if path.is_file() and not path.is_symlink()
    )
    assert 5_000_000 < size_bytes <= MAX_IMAGE_BYTES


def test_idle_memory_stays_in_what_is_requested(
    image: Image, volume: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began_s = time.monotonic()
    with FakeProxy() as proxy, run(image, volume, env={"SCRAPE_TARGETS": proxy.url}) as container:
        started_s = time.monotonic() - began_s
        eventually(lambda: container.get("/readyz").status == 200, 30, "200 from /readyz")
        container.json("/api/metrics?range=1h")
        own = container.get("/metrics").body.decode()
        (resident,) = re.findall(r"^process_resident_memory_bytes (\d+)$", own, re.MULTILINE)
        with capsys.disabled():
            print(f"\n{started_s * 1000:.0f} ms to the first answer, {int(resident) / 1e6:.1f} MB")
        assert int(resident) < MAX_IDLE_BYTES


def test_only_python_can_be_executed(image: Image) -> None:
    """So there is no shell, no package manager and no other tool, whatever its name."""
    files = (image.root / file for file in image.files())
    executable = {
        path.name
        for path in files
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o111
    }
    loaders = {name for name in executable if name.startswith("ld-")}
    python = (image.root / "usr/bin/python3").resolve().name
    assert executable - loaders == {python}


#: What people look for first, whether it may be executed or not.
UNWANTED = {
    *("sh", "bash", "dash", "ash", "busybox", "apt", "apt-get", "dpkg", "apk", "pip", "pip3"),
    *("env", "su", "sudo", "mount", "perl", "ld.so", "ldconfig", "gconv"),
}


def test_no_shell_and_no_package_manager_by_name(image: Image) -> None:
    files = {path for path in image.files() if not (image.root / path).is_dir()}
    assert {path.name for path in files} & UNWANTED == set()


def test_nobody_can_gain_rights_by_a_file(image: Image) -> None:
    odd = []
    for file in image.files():
        path = image.root / file
        mode = path.lstat().st_mode
        is_plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
        has_capability = "security.capability" in os.listxattr(path, follow_symlinks=False)
        if not is_plain or mode & (stat.S_ISUID | stat.S_ISGID) or has_capability:
            odd.append(str(file))
    assert odd == []


def test_only_the_volume_belongs_to_the_user(image: Image) -> None:
    writable = []
    for file in image.files():
        seen = (image.root / file).lstat()
        is_open = not stat.S_ISLNK(seen.st_mode) and seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if seen.st_uid or seen.st_gid or is_open:
            writable.append((str(file), f"{seen.st_uid}:{seen.st_gid}", oct(seen.st_mode)))
    assert writable == [("data", image.user, "0o40755")]


UNUSED_MODULES = [
    *("pip", "ensurepip", "idlelib", "tkinter", "turtle", "turtledemo", "test", "unittest"),
    *("asyncio", "distutils", "lib2to3", "multiprocessing", "pydoc", "pydoc_data", "doctest"),
    *("venv", "xmlrpc", "curses", "setuptools"),
]


def test_modules_that_zaidash_does_not_use_are_not_there(image: Image, volume: Path) -> None:
    script = (
        "import importlib.util, json\n"
        f"found = [name for name in {UNUSED_MODULES} if importlib.util.find_spec(name)]\n"
        "print(json.dumps(found))"
    )
    assert run_python(image, volume, script) == []


def test_zaidash_is_there_as_it_is_here(image: Image) -> None:
    here = [ROOT / "zaidash.py", *(path for path in (ROOT / "static").rglob("*") if path.is_file())]
    for path in here:
        assert (image.root / "app" / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_same_sources_and_base_give_the_same_files(image: Image) -> None:
    again = Image(Path(os.environ["ZAIDASH_LABELLED_ROOT"]), config_in("ZAIDASH_LABELLED_JSON"))
    assert manifest(again) == manifest(image)


def test_traceback_shows_lines_of_zaidash(image: Image, volume: Path) -> None:
    script = "import sys; sys.path.insert(0, '/app'); import zaidash; zaidash.main(7)"
    done = run_once(image, volume, [image.config["Entrypoint"][0], "-I", "-c", script])
    assert 'File "/app/zaidash.py", line ' in done.stderr
    assert '"--help" in argv' in done.stderr


def test_start_compiles_nothing(image: Image, volume: Path) -> None:
    script = (
        "import json, sys\n"
        "sys.path.insert(0, '/app')\n"
        "compiled = []\n"
        "sys.addaudithook(lambda event, _: event == 'compile' and compiled.append(event))\n"
        "import zaidash\n"
        "print(json.dumps(['/app/__pycache__' in zaidash.__cached__, len(compiled)]))"
    )
    is_cached, compiled = run_python(image, volume, script)
    assert is_cached
    assert compiled < 200, "dataclasses and namedtuples compile a line each, zaidash.py is not read"


def test_scanners_learn_which_versions_are_inside(image: Image) -> None:
    folder = image.root / "var/lib/dpkg/status.d"
    packages = {path.name for path in folder.iterdir()}
    assert {"libc6", "ca-certificates"} <= packages
    assert [name for name in packages if name.startswith("libssl3")]
    for name in packages:
        assert re.search(r"^Version: \S+$", (folder / name).read_text(), re.MULTILINE), name
        assert (image.root / "usr/share/doc" / name / "copyright").is_file(), name
    assert "ID=debian" in (image.root / "etc/os-release").read_text()


# --------------------------------------------------------------------------------------
# It tells engines how to run it
# --------------------------------------------------------------------------------------


def test_rights_are_gone_inside(image: Image, volume: Path) -> None:
    script = (
        "import json, os\n"
        "status = dict(line.split(':\\t', 1) for line in open('/proc/self/status'))\n"
        "print(json.dumps([os.getuid(), os.getgid(), os.getgroups(), os.getcwd(),"
        " int(status['CapEff'], 16), os.path.expanduser('~')]))"
    )
    assert run_python(image, volume, script) == [65532, 65532, [], "/data", 0, "/data"]


def test_configuration_is_what_the_dockerfile_says(image: Image) -> None:
    config = image.config
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/python3", "-I", "/app"]
    assert not config["Cmd"]
    assert config["WorkingDir"] == "/data"
    assert "DB_PATH=/data/dashboard.db" in config["Env"]
    assert list(config["Volumes"]) == ["/data"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert config["StopSignal"] == "SIGTERM"
    second_ns = 1_000_000_000
    assert config["Healthcheck"] == {
        "Test": ["CMD", *config["Entrypoint"], "--healthcheck"],
        "Interval": 30 * second_ns,
        "Timeout": 5 * second_ns,
        "StartPeriod": 30 * second_ns,
        "Retries": 3,
    }


def labels_of(config: dict[str, Any]) -> dict[str, str]:
    prefix = "org.opencontainers.image."
    labels: dict[str, str] = config["Labels"]
    return {k.removeprefix(prefix): v for k, v in labels.items() if k.startswith(prefix)}


def test_labels_of_who_gives_none_tell_what_it_is_and_nothing_empty(image: Image) -> None:
    labels = labels_of(image.config)
    assert (labels["title"], labels["licenses"]) == ("zaidash", "MIT")
    assert labels.keys() == {"title", "licenses", "description"}
    assert all(labels.values())


def test_labels_of_who_publishes_it_are_kept(image: Image) -> None:
    published = config_in("ZAIDASH_LABELLED_JSON")
    labels = labels_of(published)
    assert labels.items() >= labels_of(image.config).items()
    assert labels["version"] == __version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["created"])
    if (ROOT / ".git").exists():
        assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])
    assert all(labels.values())
    of_a_build = {name: image.config[name] for name in ("Labels", "Hostname")}
    assert published | of_a_build == image.config


def test_version_that_runs_is_the_one_of_the_label(image: Image, volume: Path) -> None:
    done = run_once(image, volume, [*image.config["Entrypoint"], "--version"])
    assert done.stdout == f"zaidash {__version__}\n"


def test_defaults_fit_the_image(image: Image, volume: Path) -> None:
    done = run_once(image, volume, [*image.config["Entrypoint"], "--check-config"])
    assert done.returncode == 0, done.stderr
    assert re.search(r"^DB_PATH\W+/data/dashboard\.db", done.stdout, re.MULTILINE), done.stdout
    (port,) = image.config["ExposedPorts"]
    assert re.search(rf"^LISTEN_ADDR\W+:{port.removesuffix('/tcp')}", done.stdout, re.MULTILINE)
