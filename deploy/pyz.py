#!/usr/bin/env python3
"""Build dist/zaidash.pyz: zaidash and its page in one file that Python runs as it is.

    python deploy/pyz.py [--output FILE]

The same sources give the same bytes, whoever builds them, when and with which Python: the files are
in order, none has a time or a user's permissions, and they are stored, not compressed, for not
every zlib compresses alike.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SHEBANG = b"#!/usr/bin/env python3\n"

#: Runs on any Python 3, to say what is wrong where it is too old a one.
MAIN = b"""\
import sys

if sys.version_info < (3, 11):
    sys.exit("zaidash: needs Python 3.11 or later, and this is %d.%d; run a later one on it,"
             " such as: python3.11 zaidash.pyz" % sys.version_info[:2])

from zaidash import main

sys.exit(main())
"""


def entries() -> Iterator[tuple[str, bytes]]:
    """The archive's files by name, in order."""
    yield "LICENSE", (ROOT / "LICENSE").read_bytes()
    yield "__main__.py", MAIN
    paths = [path.relative_to(ROOT).as_posix() for path in (ROOT / "static").rglob("*")]
    for name in sorted(name for name in paths if (ROOT / name).is_file() and "/." not in name):
        yield name, (ROOT / name).read_bytes()
    yield "zaidash.py", (ROOT / "zaidash.py").read_bytes()


def build(output: Path) -> None:
    """Write the archive, executable; one that runs from there keeps the file it has open."""
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(SHEBANG)
            with zipfile.ZipFile(file, "w") as archive:
                for name, body in entries():
                    entry = zipfile.ZipInfo(name)  # of 1980-01-01, when zip's time begins
                    entry.create_system = 3  # Unix, wherever it is built
                    entry.external_attr = 0o100644 << 16
                    archive.writestr(entry, body)
        unfinished.chmod(0o755)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build zaidash and its page as one file.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "zaidash.pyz")
    output: Path = parser.parse_args().output
    if not (ROOT / "static" / "index.html").is_file():
        print(f"pyz: no page in {ROOT / 'static'}: run make page first", file=sys.stderr)
        return 2
    try:
        build(output)
    except OSError as error:
        print(f"pyz: cannot write {output}: {error}; choose another --output", file=sys.stderr)
        return 1
    body = output.read_bytes()
    print(f"{output}: {len(body):,} bytes, sha256 {hashlib.sha256(body).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
