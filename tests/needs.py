"""What a test needs beside Python and the packages of `pip install -e '.[test]'`.

Where it is missing, the test is skipped with the reason. Where the environment variable `CI` is
set it fails instead: there `.ci/run` has to install it. This is the only place that skips.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

#: Where Debian keeps daemons, which is on nobody's `PATH` but root's.
SYSTEM_PATH = "/usr/sbin:/sbin"


def needed_tool(name: str) -> str:
    """Return the path of a program: the one of this Python's environment, if it has one."""
    beside = Path(sys.executable).parent
    path = shutil.which(name, path=f"{beside}:{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}")
    return path or give_up(f"the program {name} is not installed")


def needed_module(name: str) -> Any:
    """Return a package that only some tests import."""
    try:
        return importlib.import_module(name)
    except ImportError:
        give_up(f"the Python package {name} is not installed")


def need_commands(*names: str) -> None:
    """Go on where there are these packages, for `python -m`; they are not imported."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            give_up(f"the Python package {name} is not installed")


def give_up(reason: str) -> NoReturn:
    """Skip, or fail where tests must not be skipped; also while a module is collected."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set")
    pytest.skip(reason, allow_module_level=True)
