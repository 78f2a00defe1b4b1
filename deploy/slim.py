"""Put together all that the container image holds: `python deploy/slim.py ROOTFS VOLUME`.

The build stage of the Dockerfile runs it, on any Debian with CPython 3.11 or later. It writes two
trees: ROOTFS becomes the root of an image built FROM scratch, VOLUME holds the one directory there
that belongs to the user zaidash runs as. No list of files is kept by hand:

- modules: what a run of zaidash imports (every command, every endpoint, scrapes that fail), and
  what it may import on a day when something else goes wrong (`Closure`);
- shared libraries: what `ldd` says the interpreter and the extension modules among these need;
- packages: those of Debian that own any of these files, with their licences, and with their
  versions where scanners for vulnerabilities look.

Modules of the standard library are compiled, and their sources left out; zaidash.py is there as
text, too, so that a traceback shows its lines. Paths are those of the base image. The same base
and the same sources give the same bytes. A table of what weighs what is printed at the end; more
than MAX_BYTES is an error.
"""

from __future__ import annotations

import argparse
import ast
import http.client
import importlib.machinery
import importlib.util
import os
import py_compile
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent

#: The base image's interpreter and standard library.
INTERPRETER = Path(sys.executable).resolve()
STDLIB = Path(sysconfig.get_path("stdlib"))
EXTENSIONS = Path(sysconfig.get_config_var("DESTSHARED"))
LIBRARY = (STDLIB, EXTENSIONS)

#: Where the image has zaidash, and the interpreter, wherever the base image has it.
APP = Path("/app")
PYTHON = Path("/usr/bin/python3")

#: "nonroot" of many base images.
USER_ID = 65532

#: The README promises it.
MAX_BYTES = 40_000_000

#: Shared libraries from this size on have a line of their own in the table.
LARGE_BYTES = 500_000

#: How long zaidash may take to answer, and to end, while what it imports is recorded.
TIMEOUT_S = 300.0
POLL_INTERVAL_S = 0.05

#: Where Debian keeps the CA certificates as one file.
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

#: What makes that file, which no package owns.
CA_BUNDLE_MAKER = "/usr/sbin/update-ca-certificates"

#: What glibc opens by name when it needs it, so that `ldd` does not see it: to cancel a thread
#: and, before glibc 2.34, to look names up.
OPENED_BY_NAME = ("libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2")

#: No shell: nobody logs in. Container engines lay their own hosts over this one.
ETC = {
    "passwd": (
        "root:x:0:0:root:/:/sbin/nologin\n"
        f"zaidash:x:{USER_ID}:{USER_ID}:zaidash:/data:/sbin/nologin\n"
    ),
    "group": f"root:x:0:\nzaidash:x:{USER_ID}:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

#: Python compiles the script it is given at every start, but not what that one imports.
MAIN = '''\
"""Runs zaidash, compiled."""

import sys

from zaidash import main

sys.exit(main())
'''


class SlimError(Exception):
    """The image cannot be put together: why, and what helps."""


# --------------------------------------------------------------------------------------
# Modules: what zaidash imports when it runs
# --------------------------------------------------------------------------------------

#: Writes down what was imported at the end. It imports nothing by itself.
RECORDER = """
import sys
sys.path.insert(0, sys.argv[1])
from zaidash import main
exit_code = main(sys.argv[3:])
with open(sys.argv[2], "w") as file:
    file.write(" ".join(sys.modules))
sys.exit(exit_code)
"""

#: Paths asked for: every kind of answer, and errors.
PATHS = (
    *("/", "/icon.svg", "/healthz", "/readyz", "/metrics", "/nothing-here"),
    *("/api/status", "/api/config", "/api/targets", "/api/summary?range=1h", "/api/openapi.json"),
    *("/api/metrics?range=5m", "/api/metrics?range=7d&points=100&format=columns"),
    "/api/metrics?start=2026-11-23T10:00:00Z&end=2026-11-23T10:30:00Z&format=csv",
    "/api/metrics?range=nonsense",
)

#: Targets that fail, each in its own way: refused, no TLS there, no address, no such name, a name
#: with an umlaut, for which Python loads codecs that nothing imports, and a page that is no
#: exposition.
BAD_TARGETS = (
    "refused=http://localhost:1/metrics,tls=https://localhost:{port}/metrics,"
    "dns=dns+http://localhost:1/metrics,gone=http://zai-proxy.invalid/metrics,"
    "umlaut=http://bücher.invalid/metrics,umlaut=dns+http://bücher.invalid/metrics,"
    "page=http://user:secret@127.0.0.1:{port}/"
)


def modules_at_start() -> set[str]:
    """Return what the interpreter imports before it runs anything."""
    command = [str(INTERPRETER), "-I", "-c", "import sys; print(*sys.modules)"]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return set(done.stdout.split())


def modules_of_runs() -> set[str]:
    """Return what zaidash imports, whatever it is told to do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings = {"LISTEN_ADDR": f"127.0.0.1:{port}", "SCRAPE_INTERVAL": "500ms"}
    targets = {"SCRAPE_TARGETS": BAD_TARGETS.format(port=port), "LOG_FORMAT": "json"}
    return {
        *modules_of_run(["--help"], settings, exit_code=0),
        *modules_of_run(["--version"], settings, exit_code=0),
        *modules_of_run(["--check-config"], settings, exit_code=0),
        *modules_of_run(["--healthcheck"], settings, exit_code=1),
        *modules_of_run(["--range"], settings, exit_code=2),
        *modules_of_run(["--demo"], settings, exit_code=0, port=port),
        *modules_of_run([], settings | targets, exit_code=0, port=port),
    }


def modules_of_run(
    options: list[str], settings: Mapping[str, str], exit_code: int, port: int | None = None
) -> set[str]:
    """Return what one run imports. With a port, it serves there, is used, and is told to end."""
    with tempfile.TemporaryDirectory() as folder:
        record, log = Path(folder, "modules"), Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [INTERPRETER, "-I", "-c", RECORDER, SOURCE, record, *options],
                env={"DB_PATH": f"{folder}/zaidash.db", "TMPDIR": folder, **settings},
                stdout=output,
                stderr=output,
            )
        try:
            if port is not None:
                use(process, port)
                process.send_signal(signal.SIGTERM)
            ended_with = process.wait(TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SlimError(
                f"zaidash {options} does not work: {error}\n{log.read_text()}"
            ) from None
        finally:
            process.kill()
            process.wait()
        if ended_with != exit_code:
            raise SlimError(f"zaidash {options} exited with {ended_with}:\n{log.read_text()}")
        return set(record.read_text(encoding="utf-8").split())


def use(process: subprocess.Popen[bytes], port: int) -> None:
    """Ask a zaidash for all it has, once it answers and every target was scraped."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not is_scraping(port):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise OSError("it did not start")
        time.sleep(POLL_INTERVAL_S)
    for path in PATHS:
        ask(port, path, {"Accept-Encoding": "gzip"})
        ask(port, path, {})
    ask(port, "/healthz", {}, method="POST")
    ask(port, "/api/events", {"Last-Event-ID": "1-1"}, has_end=False)


def is_scraping(port: int) -> bool:
    try:
        return b"unknown" not in ask(port, "/api/targets", {})
    except OSError:
        return False


def ask(
    port: int, path: str, headers: Mapping[str, str], method: str = "GET", has_end: bool = True
) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        return response.read() if has_end else response.readline()
    finally:
        connection.close()


# --------------------------------------------------------------------------------------
# Modules: what zaidash may import
# --------------------------------------------------------------------------------------


@dataclass
class Code:
    """What one piece of code refers to: modules it imports, and functions it may call.

    A function is written `module:name` where the code says whose it is, and else `:name`.
    """

    imports: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)


class Reader(ast.NodeVisitor):
    """Reads one module: the code it runs when it is imported, under "", and its functions by name.

    Functions of the same name are one. What only type checkers and `python -m` run is left out.
    """

    def __init__(self, module: str, package: str) -> None:
        self.code: defaultdict[str, Code] = defaultdict(Code)
        self._module = module
        self._package = package
        self._current = self.code[""]

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, node.args):
            self.visit(part)
        outside, self._current = self._current, self.code[node.name]
        for statement in node.body:
            self.visit(statement)
        self._current = outside

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_If(self, node: ast.If) -> None:
        test = ast.unparse(node.test)
        is_run = not test.startswith("__name__ ==") and not test.endswith("TYPE_CHECKING")
        for statement in (*(node.body if is_run else ()), *node.orelse):
            self.visit(statement)
        self.visit(node.test)

    def visit_Assign(self, node: ast.Assign) -> None:
        if "__all__" not in map(ast.unparse, node.targets):  # names all it has, calls nothing
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._current.imports |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level:
            module = importlib.util.resolve_name("." * node.level + module, self._package)
        names = {alias.name for alias in node.names}
        self._current.imports |= {module, *(f"{module}.{name}" for name in names)}
        self._current.calls |= {f"{module}:{name}" for name in names}

    def visit_Name(self, node: ast.Name) -> None:
        self._current.calls.add(f"{self._module}:{node.id}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._current.calls.add(f":{node.attr}")
        self.visit(node.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and node.value.isidentifier():  # perhaps for getattr()
            self._current.calls.add(f":{node.value}")


class Closure:
    """The modules of the standard library that some code may import, directly or not.

    What a module imports while it is imported itself always counts; an import in the body of a
    function, where code that counts may call the function, going by its name alone. Special
    methods may always be called. That is more than what happens, and far less than every import
    there is: the tests that many modules carry along lead to unittest, asyncio and most of the
    library. Functions behind `from module import *` are missed, unless called as attributes.
    """

    def __init__(self, library: Sequence[Path] = LIBRARY) -> None:
        self.origins: dict[str, Path] = {}
        self._library = library
        self._calls: set[str] = set()
        self._waiting: defaultdict[str, list[Code]] = defaultdict(list)  # by what calls it

    def add_script(self, path: Path) -> None:
        """Add what a file imports, all its functions included."""
        reader = Reader("__main__", package="")
        reader.visit(ast.parse(path.read_bytes()))
        for code in reader.code.values():
            self._run(code)

    def add(self, module: str, is_followed: bool = True) -> None:
        """Add a module, with its packages, and unless told otherwise with what it imports.

        Modules that are built in, or not there on this system, are no files and are passed over.
        """
        if module in self.origins:
            return
        spec = find_module(module, self._library)
        if not spec or not spec.origin:
            return
        self.origins[module] = origin = Path(spec.origin)
        self.add(module.rpartition(".")[0])
        if is_followed and origin.suffix == ".py":
            self._read(module, origin, spec.parent or "")

    def _read(self, module: str, path: Path, package: str) -> None:
        reader = Reader(module, package)
        reader.visit(ast.parse(path.read_bytes()))
        for name, code in reader.code.items():
            calls = {f":{name}", f"{module}:{name}"}
            if not name or name.startswith("__") or calls & self._calls:
                self._run(code)
            else:
                for call in calls:
                    self._waiting[call].append(code)

    def _run(self, code: Code) -> None:
        for call in sorted(code.calls - self._calls):
            self._calls.add(call)
            for called in self._waiting.pop(call, ()):
                self._run(called)
        for module in sorted(code.imports):
            self.add(module)


def find_module(name: str, library: Sequence[Path]) -> importlib.machinery.ModuleSpec | None:
    """Return where a module is. Unlike importlib's function of this kind, it imports nothing."""
    package = name.rpartition(".")[0]
    folders = [str(folder) for folder in library]
    if package:
        parent = find_module(package, library)
        folders = list(parent.submodule_search_locations or ()) if parent else []
    return importlib.machinery.PathFinder.find_spec(name, folders) if name else None


def needed_modules() -> dict[str, Path]:
    """Return the files of all modules the image needs, by name."""
    closure = Closure()
    # The interpreter's own first: what help() and breakpoint() would import is not wanted.
    for module in sorted(modules_at_start()):
        closure.add(module, is_followed=False)
    closure.add_script(SOURCE / "zaidash.py")
    for module in sorted(modules_of_runs()):
        closure.add(module)
    return dict(sorted(closure.origins.items()))


# --------------------------------------------------------------------------------------
# Shared libraries and packages
# --------------------------------------------------------------------------------------


def needed_libraries(objects: Iterable[Path]) -> set[Path]:
    """Return the shared libraries, the loader included, that these files need to be loaded."""
    libraries = libraries_of(objects)
    folders = {path.parent for path in libraries if path.name.startswith("libc.so")}
    named = (folder / name for folder in folders for name in OPENED_BY_NAME)
    by_name = [path for path in named if path.exists()]
    return libraries | set(by_name) | libraries_of(by_name)


def libraries_of(objects: Iterable[Path]) -> set[Path]:
    listing = subprocess.run(
        ["ldd", *objects], check=True, capture_output=True, encoding="utf-8"
    ).stdout
    missing = re.findall(r"^\s+(\S+) => not found", listing, re.MULTILINE)
    if missing:
        raise SlimError(f"shared libraries are missing in the base image: {', '.join(missing)}")
    return {
        Path(path) for path in re.findall(r"^\s+(?:\S+ => )?(/\S+) \(0x", listing, re.MULTILINE)
    }


def debian_packages(files: Iterable[Path]) -> set[str]:
    """Return the packages that own files; none where the base image is no Debian."""
    if not shutil.which("dpkg-query"):
        return set()
    real = {str(path.resolve()) for path in files}
    # A package may name its files by a path from before /lib became a link to /usr/lib.
    wanted = real | {path.removeprefix("/usr") for path in real} | {CA_BUNDLE_MAKER}
    command = ["dpkg-query", "--search", *sorted(wanted)]
    found = subprocess.run(command, check=False, capture_output=True, encoding="utf-8").stdout
    return owners(found)


def owners(listing: str) -> set[str]:
    """Return the packages in lines of `dpkg-query --search`, such as `libc6:amd64, tzdata: /path`.

    Lines that tell of a diversion are left out: they name no owner.
    """
    package = r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?"
    lines = re.findall(rf"^({package}(?:, {package})*): /", listing, re.MULTILINE)
    return {name.partition(":")[0] for line in lines for name in line.split(", ")}


# --------------------------------------------------------------------------------------
# The trees
# --------------------------------------------------------------------------------------


class Tree:
    """A directory that becomes the root of the image. Paths are those in the image."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources: set[Path] = set()  # what was copied from the base image

    def place(self, path: Path) -> Path:
        """Return where a file of the image is written, after making the directories it lies in.

        Links on the way, such as /lib to /usr/lib, are made as the base image has them.
        """
        folder = Path("/")
        for part in path.parent.parts[1:]:
            self._link(folder / part)
            folder = (folder / part).resolve()
            (self.root / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)
        return self.root / folder.relative_to("/") / path.name

    def write(self, path: Path, text: str) -> None:
        self.place(path).write_text(text, encoding="utf-8")

    def copy(self, path: Path) -> None:
        """Copy a file of the base image; a link with what it leads to."""
        place = self.place(path)
        self.sources.add(path)
        self._link(path)
        if path.is_symlink():
            self.copy(path.resolve())
        elif not place.exists():
            shutil.copyfile(path, place)

    def compile(self, path: Path) -> None:
        """Write a module of the base image as bytecode that stands for its source."""
        self.sources.add(path)
        compile_module(path, self.place(path).with_suffix(".pyc"), path, is_checked=False)

    def link(self, path: Path, target: Path) -> None:
        self.place(path).symlink_to(target)

    def _link(self, path: Path) -> None:
        """Make a link where the base image has one, straight to where that one leads in the end."""
        place = self.root / path.parent.resolve().relative_to("/") / path.name
        if path.is_symlink() and not place.is_symlink():
            place.symlink_to(os.path.relpath(path.resolve(), path.parent.resolve()))


def compile_module(source: Path, target: Path, known_as: Path, is_checked: bool) -> None:
    """Compile without the time of the source, so that the same source gives the same bytes."""
    mode = py_compile.PycInvalidationMode
    py_compile.compile(
        str(source),
        cfile=str(target),
        dfile=str(known_as),
        doraise=True,
        invalidation_mode=mode.CHECKED_HASH if is_checked else mode.UNCHECKED_HASH,
    )


def add_python(tree: Tree, modules: Mapping[str, Path]) -> None:
    extensions = [path for path in modules.values() if path.suffix == ".so"]
    tree.copy(INTERPRETER)
    if INTERPRETER != PYTHON:
        tree.link(PYTHON, Path(os.path.relpath(INTERPRETER, PYTHON.parent)))
    for path in modules.values():
        if path.suffix == ".so":
            tree.copy(path)
        else:
            tree.compile(path)
    tree.place(EXTENSIONS / "any")  # Python looks for this directory to know where it lives
    libraries = needed_libraries([INTERPRETER, *extensions])
    for path in libraries:
        tree.copy(path)
    # The image has no cache that tells the loader of other directories than libc's, such as
    # /usr/local/lib for libpython.
    libc = next(path for path in libraries if path.name.startswith("libc.so"))
    for path in libraries:
        beside_libc = libc.with_name(path.name)
        if path.name.startswith("lib") and not tree.place(beside_libc).exists():
            tree.link(beside_libc, path)


def add_certificates(tree: Tree) -> None:
    """The CA certificates, where OpenSSL looks first, and where everybody lays their own."""
    if not CA_BUNDLE.is_file():
        raise SlimError(f"the base image has no {CA_BUNDLE}: install ca-certificates in it")
    tree.write(CA_BUNDLE, CA_BUNDLE.read_text(encoding="utf-8"))
    looked_for = Path(ssl.get_default_verify_paths().openssl_cafile)
    if looked_for != CA_BUNDLE:
        tree.link(looked_for, CA_BUNDLE)


def add_system(tree: Tree) -> None:
    """Users, names, and what this image was made of."""
    for name, text in ETC.items():
        tree.write(Path("/etc", name), text)
    release = Path("/etc/os-release")
    if release.is_file():
        tree.copy(release)
    for package in sorted(debian_packages(tree.sources)):
        status = subprocess.run(
            ["dpkg-query", "--status", package], check=True, capture_output=True, encoding="utf-8"
        ).stdout
        tree.write(Path("/var/lib/dpkg/status.d", package), status)
        licence = Path("/usr/share/doc", package, "copyright")
        if licence.is_file():
            tree.write(licence, licence.read_text(encoding="utf-8"))
    licence = STDLIB / "LICENSE.txt"
    if licence.is_file():
        tree.copy(licence)


def add_zaidash(tree: Tree) -> None:
    shutil.copyfile(SOURCE / "zaidash.py", tree.place(APP / "zaidash.py"))
    tree.write(APP / "__main__.py", MAIN)
    for script in (APP / "zaidash.py", APP / "__main__.py"):
        cached = APP / "__pycache__" / f"{script.stem}.{sys.implementation.cache_tag}.pyc"
        # Checked, so that another zaidash.py may be laid over this one.
        compile_module(tree.place(script), tree.place(cached), script, is_checked=True)
    # zaidash serves no hidden file, so none is worth its place.
    no_hidden = shutil.ignore_patterns(".*")
    shutil.copytree(SOURCE / "static", tree.place(APP / "static"), ignore=no_hidden)
    shutil.copyfile(SOURCE / "LICENSE", tree.place(APP / "LICENSE"))


def even_out(root: Path) -> None:
    """Give all files one time, and the modes they need: the kernel runs Python, by its loader."""
    moment_s = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            is_run = path.name == INTERPRETER.name or path.name.startswith("ld-")
            path.chmod(0o755 if path.is_dir() or is_run else 0o644)
        os.utime(path, (moment_s, moment_s), follow_symlinks=False)


# --------------------------------------------------------------------------------------
# What weighs what
# --------------------------------------------------------------------------------------


def kind(path: Path) -> str:
    """Return the line of the table that a file of the image belongs to."""
    place = "/" + path.as_posix()
    if place == str(INTERPRETER) or path.name.startswith("libpython"):
        return "Python's interpreter"
    if place.startswith(f"{STDLIB}/"):
        is_extension = path.suffix == ".so"
        return f"its standard library, {'extension modules' if is_extension else 'compiled'}"
    if place.startswith(str(APP / "static")):
        return "the page"
    if place.startswith(str(APP)):
        return "zaidash, as text and compiled"
    if place == str(CA_BUNDLE):
        return "CA certificates"
    return "shared libraries" if ".so" in path.name else "licences, versions of packages, users"


def weigh(root: Path) -> dict[str, int]:
    """Return the bytes of the image by what they are for, the heaviest first."""
    weights: defaultdict[str, int] = defaultdict(int)
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            size_bytes = path.stat().st_size
            name = kind(path.relative_to(root))
            if name == "shared libraries":
                name = f"`{path.name}`" if size_bytes >= LARGE_BYTES else "smaller shared libraries"
            weights[name] += size_bytes
    return dict(sorted(weights.items(), key=lambda item: -item[1]))


def table(weights: Mapping[str, int]) -> Iterator[str]:
    yield "| part | MB |"
    yield "|---|---:|"
    for name, size_bytes in weights.items():
        yield f"| {name} | {size_bytes / 1e6:.2f} |"
    yield f"| **together** | **{sum(weights.values()) / 1e6:.2f}** |"


def check_page() -> None:
    if not (SOURCE / "static" / "index.html").is_file():
        raise SlimError(f"no page in {SOURCE / 'static'}: run make page first")


def build(rootfs: Path, volume: Path) -> None:
    check_page()
    for folder in (rootfs, volume):
        folder.mkdir(parents=True)  # one that is there may hold anything
    modules = needed_modules()
    tree = Tree(rootfs)
    add_python(tree, modules)
    add_certificates(tree)
    add_system(tree)
    add_zaidash(tree)
    even_out(rootfs)
    data = volume / "data"
    data.mkdir()
    even_out(volume)
    os.chown(data, USER_ID, USER_ID)
    print(f"{len(modules)} modules:", *modules)
    weights = weigh(rootfs)
    print(*table(weights), sep="\n")
    if sum(weights.values()) > MAX_BYTES:
        raise SlimError(f"the image is larger than {MAX_BYTES / 1e6:g} MB; the table says by what")


def check_version(expected: str) -> None:
    """Refuse a label that lies; zaidash.py has the only version there is."""
    if expected and expected != (found := zaidash_version()):
        raise SlimError(f"VERSION={expected}, but zaidash.py is {found}: give that, or nothing")


def zaidash_version() -> str:
    text = (SOURCE / "zaidash.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if not found:
        raise SlimError('zaidash.py has no line __version__ = "..."')
    return found[1]


def main() -> int:
    parser = argparse.ArgumentParser(description="Put together what the container image holds.")
    parser.add_argument("rootfs", type=Path, help="becomes the image; must not exist")
    parser.add_argument("volume", type=Path, help="becomes the volume; must not exist")
    parser.add_argument("--version", default="", help="of zaidash, as the image's label has it")
    options = parser.parse_args()
    try:
        check_version(options.version)
        build(options.rootfs, options.volume)
    except (SlimError, OSError) as error:
        print(f"slim.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
