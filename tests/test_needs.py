"""A check that cannot be made is never silent, and where `CI` is set it is a failure."""

from __future__ import annotations

import re
from collections.abc import Callable

import needs
import pytest
from support import ROOT

MISSING: list[Callable[[], object]] = [
    lambda: needs.needed_tool("no-such-tool-anywhere"),
    lambda: needs.needed_module("no_such_package_anywhere"),
    lambda: needs.need_commands("no_such_package_anywhere"),
]


@pytest.mark.parametrize("missing", MISSING, ids=["tool", "module", "command"])
@pytest.mark.parametrize("value", ["true", "1", "yes"])
def test_missing_thing_fails_in_ci_whatever_the_value(
    missing: Callable[[], object], value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", value)
    with pytest.raises(pytest.fail.Exception, match=r"no.such.* is not installed, and CI is set"):
        missing()


@pytest.mark.parametrize("missing", MISSING, ids=["tool", "module", "command"])
def test_missing_thing_is_told_elsewhere(
    missing: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"no.such.* is not installed"):
        missing()


def test_nothing_else_skips_or_looks_whether_this_is_ci() -> None:
    own = {ROOT / "tests" / "needs.py", ROOT / "tests" / "test_needs.py"}
    elsewhere = [
        path.name
        for path in sorted((ROOT / "tests").glob("*.py"))
        if path not in own
        and re.search(r"importorskip|pytest\.skip|mark\.skip|[\"']CI[\"']", path.read_text("utf-8"))
    ]
    assert elsewhere == []


def test_ci_skips_nothing_by_whatever_name_it_is_started() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert re.search(r"^export CI=true$", script, re.MULTILINE)
