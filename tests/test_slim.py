"""The container image holds what zaidash needs; `.ci/image` shows that this is enough to run."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import slim
from needs import needed_tool
from support import ROOT, free_port

from zaidash import __version__

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

# --------------------------------------------------------------------------------------
# Modules
# --------------------------------------------------------------------------------------


class Case(NamedTuple):
    """What follows when a script imports `first`, which may import `wanted`, or may not."""

    first: str
    is_wanted: bool
    script: str = "import first"


CASES = {
    "a module that is imported": Case("import wanted", True),
    "a module of which a name is imported": Case("from wanted import thing", True),
    "a module imported where another is missing": Case(
        "try:\n    import missing\nexcept ImportError:\n    import wanted", True
    ),
    "an import in a class": Case("class Some:\n    import wanted", True),
    "an import in a function of the script": Case("", True, "def f():\n    import wanted"),
    "an import in a function that is called as an attribute": Case(
        "def call():\n    import wanted", True, "import first\nfirst.call()"
    ),
    "an import in a function that is called by its name": Case(
        "def call():\n    import wanted", True, "from first import call\ncall()"
    ),
    "an import in a function that its module calls": Case(
        "def call():\n    import wanted\ncall()", True
    ),
    "an import in a function that is called by way of another": Case(
        "def call():\n    import wanted\ndef outer():\n    call()",
        True,
        "import first\nfirst.outer",
    ),
    "an import in a function called by way of another that is read later": Case(
        "def outer():\n    import second\n    second.call()", True, "import first\nfirst.outer()"
    ),
    "an import in a function that getattr finds": Case(
        "def call():\n    import wanted", True, "import first\ngetattr(first, 'call')()"
    ),
    "an import in a function inside one that is called": Case(
        "def call():\n    def inner():\n        import wanted\n    return inner",
        True,
        "import first\nfirst.call()()",
    ),
    "an import in a method that is called": Case(
        "class Some:\n    def call(self):\n        import wanted",
        True,
        "import first\nfirst.Some().call()",
    ),
    "an import in a coroutine that is called": Case(
        "async def call():\n    import wanted", True, "import first\nfirst.call()"
    ),
    "an import in a special method": Case(
        "class Some:\n    def __getattr__(self, name):\n        import wanted", True
    ),
    "an import in a function that nobody calls": Case("def call():\n    import wanted", False),
    "an import in a function that is only exported": Case(
        "__all__ = ['call']\ndef call():\n    import wanted", False
    ),
    "an import in a function of the same name as one that is called": Case(
        "def main():\n    import wanted", False, "import first\ndef main(): ...\nmain()"
    ),
    "an import that only a script makes": Case(
        "if __name__ == '__main__':\n    import wanted", False
    ),
    "an import that only a type checker makes": Case(
        "import typing\nif typing.TYPE_CHECKING:\n    import wanted", False
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_image_has_what_may_be_imported_and_no_more(case: Case, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "first.py").write_text(case.first)
    (library / "second.py").write_text("def call():\n    import wanted\n")
    (library / "wanted.py").write_text("")
    script = tmp_path / "script.py"
    script.write_text(case.script)
    closure = slim.Closure([library])
    closure.add_script(script)
    assert ("wanted" in closure.origins) is case.is_wanted


def test_package_comes_with_a_module_in_it(tmp_path: Path) -> None:
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    for path in ("outer/__init__.py", "outer/other.py", "outer/inner/__init__.py"):
        (tmp_path / path).write_text("")
    (tmp_path / "outer" / "inner" / "leaf.py").write_text("from .. import other")
    closure = slim.Closure([tmp_path])
    closure.add("outer.inner.leaf")
    assert set(closure.origins) == {"outer", "outer.inner", "outer.inner.leaf", "outer.other"}


def test_module_that_is_not_followed_brings_nothing_along(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text("import second")
    (tmp_path / "second.py").write_text("")
    closure = slim.Closure([tmp_path])
    closure.add("first", is_followed=False)
    assert set(closure.origins) == {"first"}


def test_what_zaidash_imports_itself_is_found_and_tests_are_not() -> None:
    closure = slim.Closure()
    closure.add_script(ROOT / "zaidash.py")
    assert {"sqlite3", "ssl", "http.server", "json", "email.utils"} <= set(closure.origins)
    assert {"unittest", "doctest", "asyncio", "pydoc", "tkinter"} & set(closure.origins) == set()


def test_codecs_that_python_loads_by_name_are_found() -> None:
    """No import leads to them: the image lacks them unless a recorded run has looked them up."""
    port = free_port()
    settings = {
        "LISTEN_ADDR": f"127.0.0.1:{port}",
        "SCRAPE_TARGETS": slim.BAD_TARGETS.format(port=port),
        "SCRAPE_INTERVAL": "500ms",
    }
    recorded = slim.modules_of_run([], settings, exit_code=0, port=port)
    assert {"encodings.idna", "encodings.punycode"} <= recorded


# --------------------------------------------------------------------------------------
# Files
# --------------------------------------------------------------------------------------


def test_shared_libraries_of_python_are_found_with_their_loader() -> None:
    needed_tool("ldd")
    names = {path.name for path in slim.needed_libraries([Path(sys.executable).resolve()])}
    assert [name for name in names if name.startswith("libc.so")]
    assert [name for name in names if name.startswith("ld-")]
    assert "libgcc_s.so.1" in names, "a thread that ends while Python does would abort it"


def test_debian_package_of_a_file_is_found() -> None:
    dpkg = Path(needed_tool("dpkg-query"))
    assert slim.debian_packages([dpkg, ROOT / "zaidash.py"]) - {"ca-certificates"} == {"dpkg"}


def test_every_owner_of_what_packages_share_is_found() -> None:
    needed_tool("dpkg-query")
    assert slim.debian_packages([Path("/usr/share/doc")]) >= {"dpkg", "libc6"}


def test_owners_are_read_with_and_without_their_architecture() -> None:
    listing = (
        "libc6:amd64: /usr/lib/x86_64-linux-gnu/libc.so.6\n"
        "libone1:amd64, tzdata, g++-12: /usr/share/some: /where\n"
        "diversion by dash from: /bin/sh\n"
        "diversion by dash to: /bin/sh.distrib\n"
        "local diversion from: /bin/other\n"
    )
    assert slim.owners(listing) == {"libc6", "libone1", "tzdata", "g++-12"}


def test_hidden_files_stay_out_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    for name in ("static/index.html", "static/.DS_Store", "static/.git/config", "LICENSE"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    (source / "zaidash.py").write_text("")
    monkeypatch.setattr(slim, "SOURCE", source)
    tree = slim.Tree(tmp_path / "root")
    slim.add_zaidash(tree)
    assert [path.name for path in (tree.root / "app" / "static").rglob("*")] == ["index.html"]


def test_links_to_directories_are_kept(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "usr" / "lib").mkdir(parents=True)
    (base / "usr" / "lib" / "libthing.so.1.2").write_text("thing")
    (base / "usr" / "lib" / "libthing.so.1").symlink_to("libthing.so.1.2")
    (base / "lib").symlink_to("usr/lib")
    tree = slim.Tree(tmp_path / "root")
    tree.copy(base / "lib" / "libthing.so.1")
    copied = tree.root / base.relative_to("/")
    assert os.readlink(copied / "lib") == "usr/lib"
    assert os.readlink(copied / "usr/lib/libthing.so.1") == "libthing.so.1.2"
    assert (copied / "lib" / "libthing.so.1").read_text() == "thing"


def test_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    compiled = []
    for moment_s in (0, 1_000_000_000):
        source.write_text("NAMES = {'one', 'two'}\ndef f(): return 1 in {1, 2, 3}\n")
        os.utime(source, (moment_s, moment_s))
        target = tmp_path / f"{moment_s}.pyc"
        slim.compile_module(source, target, Path("/lib/module.py"), is_checked=False)
        compiled.append(target.read_bytes())
    assert compiled[0] == compiled[1]
    assert str(tmp_path).encode() not in compiled[0]


def test_modes_and_times_depend_on_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    (folder / "tool").write_text("")
    (folder / "tool").chmod(0o6777)
    (folder / "link").symlink_to("tool")
    slim.even_out(folder)
    seen = {path.name: path.lstat() for path in (folder, *folder.iterdir())}
    assert {name: entry.st_mtime for name, entry in seen.items()} == dict.fromkeys(seen, 1e9)
    assert oct(seen["root"].st_mode) == "0o40755"
    assert oct(seen["tool"].st_mode) == "0o100644", "not executable, and nobody else's rights"


def test_table_adds_up(tmp_path: Path) -> None:
    (tmp_path / "app" / "static").mkdir(parents=True)
    (tmp_path / "app" / "zaidash.py").write_bytes(b"x" * 120_000)
    (tmp_path / "app" / "static" / "index.html").write_bytes(b"x" * 30_000)
    (tmp_path / "libsmall.so.1").write_bytes(b"x" * 10_000)
    (tmp_path / "liblarge.so.2").write_bytes(b"x" * slim.LARGE_BYTES)
    (tmp_path / "link").symlink_to("liblarge.so.2")
    assert list(slim.table(slim.weigh(tmp_path)))[2:] == [
        "| `liblarge.so.2` | 0.50 |",
        "| zaidash, as text and compiled | 0.12 |",
        "| the page | 0.03 |",
        "| smaller shared libraries | 0.01 |",
        "| **together** | **0.66** |",
    ]


def test_label_with_another_version_is_refused() -> None:
    slim.check_version("")
    slim.check_version(__version__)
    with pytest.raises(slim.SlimError, match=rf"VERSION=9\.9\.9, but zaidash\.py is {__version__}"):
        slim.check_version("9.9.9")


# --------------------------------------------------------------------------------------
# What is written down
# --------------------------------------------------------------------------------------


def test_builder_gets_what_it_copies_and_nothing_else() -> None:
    ignored, *wanted = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert ignored == "*"
    assert sorted(wanted) == sorted(f"!{path}" for paths in copied for path in paths.split())
    for path in wanted:
        assert (ROOT / path.removeprefix("!")).exists(), path


def test_readme_names_the_base_image() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert f"default is `{base}`" in README
    assert "/" not in base, "a user's own mirrors apply to a name without a registry"


def test_build_arguments_are_in_the_readme() -> None:
    arguments = re.findall(r"^ARG (\w+)=", DOCKERFILE, re.MULTILINE)
    told = {"BASE", "VERSION"}
    assert set(arguments) == told | {"SOURCE_DATE_EPOCH"}  # which builders know
    for argument in told:
        assert f"`--build-arg {argument}=`" in README


LABEL = r"org\.opencontainers\.image\.(\w+)=(.+?)(?: \\| \.)?$"


def test_label_is_never_empty_whoever_builds() -> None:
    """One that an argument fills is empty where nobody gives it, and would still be there."""
    labels = dict(re.findall(LABEL, DOCKERFILE, re.MULTILINE))
    assert labels.keys() == {"title", "description", "licenses"}
    for name, value in labels.items():
        assert re.fullmatch(r'"[\w -]+"', value), name


def test_labels_that_the_readme_adds_are_those_of_the_image_that_is_tested() -> None:
    script = (ROOT / ".ci" / "image").read_text(encoding="utf-8")
    added = re.findall(r"--label " + LABEL, README, re.MULTILINE)
    assert [name for name, _ in added] == ["version", "revision", "created"]
    tested = {name for name, _ in re.findall(LABEL, script, re.MULTILINE)}
    assert tested == dict(added).keys()


def test_table_of_the_readme_adds_up_to_what_is_promised() -> None:
    table = README[README.index("| part | MB |") : README.index("| **together** |")]
    (together,) = re.findall(r"^\| \*\*together\*\* \| \*\*(\S+)\*\* \|$", README, re.MULTILINE)
    parts = [float(size) for size in re.findall(r"\| (\d+\.\d+) \|$", table, re.MULTILINE)]
    assert len(parts) > 5
    assert sum(parts) == pytest.approx(float(together), abs=0.005 * len(parts))
    assert float(together) * 1e6 <= slim.MAX_BYTES
