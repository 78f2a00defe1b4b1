"""zaidash as users get it: one file, a package, copied files. Built, installed and run for real.

Everything is built from a copy of the sources and installed into environments of its own, without
the network but for setuptools, which `pip install .` asks an index for. It takes the extra
`package` and make.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import distribution, version
from pathlib import Path
from typing import NamedTuple

import pytest
from needs import give_up, need_commands, needed_tool
from support import COVERAGE_VARIABLES, ROOT, eventually, free_port, get
from test_docs import section

from zaidash import __version__

#: What `static/` holds, by path: any form of zaidash has to serve exactly this.
PAGE = {
    path.relative_to(ROOT / "static").as_posix(): path.read_bytes()
    for path in (ROOT / "static").rglob("*")
    if path.is_file()
}

#: Where an unpacked source distribution says what is in it.
SDIST_LIST = ROOT / "zaidash.egg-info" / "SOURCES.txt"

#: How long an installation, or the start of a command that installs first, may take.
INSTALL_TIMEOUT_S = 120.0


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command that has to succeed and return what it printed."""
    # Without the place that CI gives all bytecode: pip looks there for what it is to uninstall. And
    # without coverage, which would take copies of the sources for files that are never run.
    left_out = ("PYTHONPYCACHEPREFIX", *COVERAGE_VARIABLES)
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    done = subprocess.run(
        list(command),
        cwd=cwd,
        env=environment | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def need_build_tools() -> None:
    need_commands("build", "setuptools")
    if int(version("setuptools").partition(".")[0]) < 77:
        give_up(f"setuptools {version('setuptools')} is installed, older than 77")


def source_files() -> list[str]:
    """Everything that belongs to the project: all git does not ignore, or an sdist's own list."""
    if (ROOT / ".git").exists():
        git = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
        listed = run(*git, cwd=ROOT)
    elif SDIST_LIST.exists():
        listed = SDIST_LIST.read_text(encoding="utf-8")
    else:
        give_up(f"{ROOT} is neither a git checkout nor a source distribution")
    return sorted(n for n in listed.splitlines() if (ROOT / n).is_file() and not is_generated(n))


def is_generated(name: str) -> bool:
    """Say whether a file of a source distribution was made with it."""
    return name in ("PKG-INFO", "setup.cfg") or name.startswith("zaidash.egg-info/")


def copy_sources(folder: Path) -> Path:
    for name in source_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


class Environment(NamedTuple):
    """An environment with no package but what a test installs there."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def pip(self, *arguments: str | Path, env: Mapping[str, str] | None = None) -> None:
        pip = (sys.executable, "-m", "pip", "--python", str(self.python))
        run(*pip, *arguments, cwd=self.folder, env=env)


def make_environment(folder: Path) -> Environment:
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    return Environment(folder)


def borrowed_setuptools() -> dict[str, str]:
    """What lets pip build in an empty environment: this one's setuptools, and no network."""
    return {"PYTHONPATH": str(distribution("setuptools").locate_file(""))}


@contextmanager
def serving(
    command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Path]]:
    """Run a command that ends in a zaidash; give its URL and the file of what it prints.

    It gets nothing of this environment, where another zaidash may be installed, but the `PATH`.
    """
    port = free_port()
    output = cwd.parent / f"output-{port}.txt"
    environment = {
        "PATH": os.environ["PATH"],
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "DB_PATH": str(cwd.parent / f"{port}.db"),
        **(env or {}),
    }
    with output.open("wb") as file:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def answers() -> bool:
        assert process.poll() is None, f"exited with {process.returncode}"
        with suppress(OSError):
            return get(f"http://127.0.0.1:{port}/healthz").status == 200
        return False

    try:
        eventually(answers, INSTALL_TIMEOUT_S, f"an answer of {command}")
        yield f"http://127.0.0.1:{port}", output
    except AssertionError as error:
        error.add_note(output.read_text(encoding="utf-8", errors="replace")[-4000:])
        raise
    finally:
        end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a command with all that it started, which are a process group of their own."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + 15
        while time.monotonic() < deadline_s:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_page(url: str) -> None:
    """The page, every file of it, and the interface it asks."""
    assert get(f"{url}/").body == PAGE["index.html"]
    served = {name: get(f"{url}/{name}").body for name in PAGE}
    assert served == PAGE
    assert get(f"{url}/api/config").status == 200
    assert f'"version":"{__version__}"'.encode() in get(f"{url}/api/config").body


# --------------------------------------------------------------------------------------
# One file
# --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """zaidash.pyz, alone in a directory nobody may write to."""
    folder = tmp_path_factory.mktemp("one file") / "read-only"
    output = folder / "zaidash.pyz"
    run(sys.executable, ROOT / "deploy" / "pyz.py", "--output", output, cwd=folder.parent)
    folder.chmod(0o555)
    return output


def test_one_file_shows_its_page_from_any_directory_and_leaves_nothing_there(pyz: Path) -> None:
    with serving([sys.executable, pyz], cwd=pyz.parent) as (url, _):
        check_page(url)
    assert sorted(path.name for path in pyz.parent.iterdir()) == ["zaidash.pyz"]


def test_one_file_runs_by_its_name_a_relative_one_and_a_link(pyz: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "bin").mkdir(parents=True)
    (tmp_path / "run" / "bin" / "zaidash").symlink_to(pyz)
    assert run(pyz, "--version", cwd=tmp_path) == f"zaidash {__version__}\n"
    with serving([sys.executable, "bin/zaidash"], cwd=tmp_path / "run") as (url, _):
        check_page(url)


def test_one_file_holds_zaidash_its_page_its_licence_and_no_more(pyz: Path) -> None:
    with zipfile.ZipFile(pyz) as archive:
        files = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    assert files.pop("__main__.py")
    assert files == {
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
        "zaidash.py": (ROOT / "zaidash.py").read_bytes(),
        **{f"static/{name}": body for name, body in PAGE.items()},
    }


def test_one_file_has_the_same_bytes_whoever_builds_it(pyz: Path, tmp_path: Path) -> None:
    sources = copy_sources(tmp_path / "elsewhere")
    for at_s, path in enumerate(sorted(sources.rglob("*"), reverse=True), start=1_000_000_000):
        path.chmod(0o700)
        os.utime(path, (at_s, at_s))
    (sources / "static" / ".DS_Store").write_bytes(b"left by a file manager")
    build = f"umask 077 && TZ=Asia/Tokyo '{sys.executable}' -X utf8=0 deploy/pyz.py"
    run("sh", "-c", build, cwd=sources)
    built = sources / "dist" / "zaidash.pyz"
    assert built.read_bytes() == pyz.read_bytes()
    assert built.stat().st_mode & 0o777 == pyz.stat().st_mode & 0o777 == 0o755


def test_one_file_tells_an_old_python_what_it_needs(pyz: Path, tmp_path: Path) -> None:
    pretend = f"import runpy, sys; sys.version_info = (3, 9, 2); runpy.run_path({str(pyz)!r})"
    done = subprocess.run(
        [sys.executable, "-c", pretend], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr.startswith("zaidash: needs Python 3.11 or later, and this is 3.9; ")
    assert done.stderr.count("\n") == 1


def test_zaidash_piped_into_python_works_without_a_page(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "index.html").write_text("somebody else's", encoding="utf-8")
    script = f"'{sys.executable}' - < '{ROOT / 'zaidash.py'}'"
    with serving(["sh", "-c", script], cwd=tmp_path) as (url, output):
        assert get(f"{url}/api/config").status == 200
        assert get(f"{url}/").status == 404
        assert "there is no page" in output.read_text()


# --------------------------------------------------------------------------------------
# Package
# --------------------------------------------------------------------------------------


class Built(NamedTuple):
    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A source distribution, and the wheel built from it and from nothing else."""
    need_build_tools()
    sources = copy_sources(tmp_path_factory.mktemp("build") / "zaidash")
    run(sys.executable, "-m", "build", "--no-isolation", cwd=sources)
    (sdist,) = (sources / "dist").glob("*.tar.gz")
    (wheel,) = (sources / "dist").glob("*.whl")
    return Built(sdist, wheel)


def test_wheel_holds_zaidash_its_page_and_its_types_and_no_more(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    info = f"zaidash-{__version__}.dist-info/"
    package = {name: body for name, body in files.items() if not name.startswith(info)}
    assert package.pop("zaidash/__main__.py")
    assert package == {
        "zaidash/__init__.py": (ROOT / "zaidash.py").read_bytes(),
        "zaidash/py.typed": b"",
        **{f"zaidash/static/{name}": body for name, body in PAGE.items()},
    }
    metadata = files[f"{info}METADATA"].decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    assert not re.search("^Requires-Dist: (?!.*extra)", metadata, re.MULTILINE)
    assert files[f"{info}licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_sdist_holds_all_it_takes_to_test_and_build(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = [m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()]
    assert sorted(name for name in names if not is_generated(name)) == source_files()


@pytest.mark.parametrize("form", ["wheel", "sdist"])
def test_installed_package_has_its_command_and_page_and_leaves_nothing(
    built: Built, tmp_path: Path, form: str
) -> None:
    environment = make_environment(tmp_path / "venv")
    before = sorted(environment.folder.rglob("*"))
    offline = ("--quiet", "--no-index", "--no-build-isolation", "--no-compile")
    environment.pip("install", *offline, built._asdict()[form], env=borrowed_setuptools())
    command = environment.folder / "bin" / "zaidash"
    (tmp_path / "run").mkdir()
    assert run(command, "--version", cwd=tmp_path / "run") == f"zaidash {__version__}\n"
    with serving([command], cwd=tmp_path / "run") as (url, _):
        check_page(url)
    assert list((tmp_path / "run").iterdir()) == []
    environment.pip("uninstall", "--quiet", "--yes", "zaidash")
    assert sorted(environment.folder.rglob("*")) == before


def test_editable_installation_runs_the_checkout_with_its_page(tmp_path: Path) -> None:
    need_build_tools()
    sources = copy_sources(tmp_path / "zaidash")
    environment = make_environment(tmp_path / "venv")
    offline = ("--quiet", "--no-index", "--no-build-isolation", "--no-compile")
    environment.pip("install", *offline, "--editable", sources, env=borrowed_setuptools())
    (sources / "static" / "index.html").write_text("edited", encoding="utf-8")
    with serving([environment.folder / "bin" / "zaidash"], cwd=tmp_path) as (url, _):
        assert get(f"{url}/").body == b"edited"


def test_package_in_a_directory_or_an_archive_of_somebody_else_has_its_page(
    built: Built, tmp_path: Path
) -> None:
    app = tmp_path / "app"
    install = ("-m", "pip", "install", "--quiet", "--no-index", "--target", str(app))
    run(sys.executable, *install, built.wheel, cwd=tmp_path)
    (app / "static").mkdir()
    (app / "static" / "index.html").write_text("somebody else's", encoding="utf-8")
    with serving([sys.executable, "-m", "zaidash"], cwd=app, env={"PYTHONPATH": str(app)}) as (
        url,
        _,
    ):
        check_page(url)
    run(sys.executable, "-m", "zipapp", app, "-m", "zaidash:main", cwd=tmp_path)
    with serving([sys.executable, "app.pyz"], cwd=tmp_path) as (url, _):
        check_page(url)


def test_package_that_is_installed_again_leaves_out_the_page_before(tmp_path: Path) -> None:
    need_build_tools()
    sources = copy_sources(tmp_path / "zaidash")
    old = sources / "static" / "assets" / "index-0ldPage1.js"
    old.write_text("old", encoding="utf-8")
    # As `pip install .` does, this builds in the checkout and leaves `build/` there.
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation")
    run(*build, cwd=sources)
    old.unlink()
    run(*build, cwd=sources)
    (wheel,) = (sources / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        pages = {name for name in archive.namelist() if "/static/" in name}
    assert pages == {f"zaidash/static/{name}" for name in PAGE}


@pytest.mark.parametrize(
    "command",
    ["deploy/pyz.py", "-m build --wheel --no-isolation", "deploy/slim.py dist/root dist/volume"],
    ids=["one file", "wheel", "image"],
)
def test_nothing_is_shipped_without_its_page(command: str, tmp_path: Path) -> None:
    if "build" in command:
        need_build_tools()
    sources = copy_sources(tmp_path / "sources")
    (sources / "static" / "index.html").unlink()
    done = subprocess.run(
        [sys.executable, *command.split()],
        cwd=sources,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"no page in {sources / 'static'}: run make page first\n" in said
    assert not list(sources.glob("dist/*"))


def test_wheel_leaves_out_hidden_files(tmp_path: Path) -> None:
    need_build_tools()
    sources = copy_sources(tmp_path / "zaidash")
    (sources / "static" / ".DS_Store").write_bytes(b"left by a file manager")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=sources)
    (wheel,) = (sources / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "/." in name]


def test_who_imports_the_package_gets_its_types(built: Built, tmp_path: Path) -> None:
    need_commands("mypy")
    environment = make_environment(tmp_path / "venv")
    environment.pip("install", "--quiet", "--no-index", "--no-compile", built.wheel)
    script = tmp_path / "use.py"
    script.write_text("import zaidash\nzaidash.quantile('x', [])\n", encoding="utf-8")
    mypy = ("-m", "mypy", "--strict", "--python-executable", str(environment.python))
    done = subprocess.run(
        [sys.executable, *mypy, "--cache-dir", str(tmp_path / "cache"), str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
    )
    assert 'Argument 1 to "quantile" has incompatible type "str"' in done.stdout
    assert "Found 1 error in 1 file" in done.stdout


# --------------------------------------------------------------------------------------
# What the README says, as it stands
# --------------------------------------------------------------------------------------

BLOCKS = [
    pytest.param(block, id=f"{title}: {' && '.join(block.splitlines())}")
    for title in ("One file", "Package", "Copied files")
    for block in re.findall(r"^```sh\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)
]


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip and pipx get from an index to build with: they ask nobody else."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    try:
        run(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--dest", folder, "setuptools>=77", "pip"),
            cwd=folder,
        )
    except AssertionError as error:
        give_up(f"pip cannot download setuptools: {error}")
    return folder


def user_environment(folder: Path, wheelhouse: Path) -> dict[str, str]:
    """The environment of a user with make, uv, pipx and an active venv, and without zaidash."""
    make_environment(folder / "venv")
    (folder / "tools").mkdir()
    for tool in ("make", "uv", "pipx"):
        (folder / "tools" / tool).symlink_to(needed_tool(tool))
    path = [folder / "venv" / "bin", folder / "pipx" / "bin", folder / "tools", "/usr/bin", "/bin"]
    return {
        "PATH": ":".join(map(str, path)),
        "HOME": str(folder),
        "PIPX_HOME": str(folder / "pipx"),
        "PIPX_BIN_DIR": str(folder / "pipx" / "bin"),
        "PIP_FIND_LINKS": str(wheelhouse),
        "PIP_NO_INDEX": "1",
        "PIPX_DEFAULT_BACKEND": "pip",
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }


@pytest.mark.parametrize("block", BLOCKS)
def test_commands_of_the_readme_bring_up_the_page(
    block: str, tmp_path: Path, wheelhouse: Path
) -> None:
    environment = user_environment(tmp_path, wheelhouse)
    if "pip install" in block:
        venv = tmp_path / "venv"
        run(venv / "bin" / "python", "-m", "ensurepip", "--default-pip", cwd=venv)
    sources = copy_sources(tmp_path / "zaidash")
    with serving(["bash", "-euc", block], cwd=sources, env=environment) as (url, output):
        check_page(url)
        if "--demo" in block:
            line = f"zaidash: open {url}/ in a browser; Ctrl-C ends the demo\n"
            eventually(lambda: line in output.read_text(), what="the address to open")


@pytest.mark.parametrize(
    "command",
    ["dist/zaidash.pyz --demo", "pip install .", "pipx install .", "uv run zaidash.py",
     "pipx run ./zaidash.py", "cp -r zaidash.py static "],
)  # fmt: skip
def test_readme_shows_every_way_to_run_it(command: str) -> None:
    assert any(command in str(block.values[0]) for block in BLOCKS)


# --------------------------------------------------------------------------------------
# The project
# --------------------------------------------------------------------------------------


def test_version_stands_in_no_other_file() -> None:
    """A second one would be forgotten at the next release.

    The lock file's are other packages', and that of the API's description is compared elsewhere.
    """
    literal = re.compile(rf"(?<![\d.]){re.escape(__version__)}(?![\d.])".encode())
    elsewhere = [
        name
        for name in source_files()
        if name not in ("zaidash.py", "CHANGELOG.md", "frontend/package-lock.json")
        and not Path(name).name.startswith("openapi.")
        and literal.search((ROOT / name).read_bytes())
    ]
    assert elsewhere == []


def make_targets() -> dict[str, str]:
    lines = (ROOT / "Makefile").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z]+):.*?## (.+)$", lines, re.MULTILINE))


def test_make_alone_lists_every_target() -> None:
    lines = run(needed_tool("make"), cwd=ROOT).splitlines()
    assert {line.split()[0]: line.split(maxsplit=1)[1] for line in lines} == make_targets()
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony and set(phony[1].split()) == set(make_targets())


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_documents_name_targets_that_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE))
    assert named and named <= set(make_targets())
