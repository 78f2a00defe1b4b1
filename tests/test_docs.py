"""README and CHANGELOG say what there is, all of it, and nothing that is not so."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fake_proxy import FakeProxy
from support import ROOT, eventually, run_to_exit, run_zaidash

from zaidash import FIELDS, SETTINGS, __version__

README = (ROOT / "README.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CI_RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return what stands below a heading, up to the next one of its rank or a higher one."""
    start = re.search(rf"^(#+) {re.escape(title)}$", README, re.MULTILINE)
    assert start, f"no heading {title!r}"
    rest = README[start.end() :]
    end = re.search(rf"^#{{1,{len(start[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows, without the lines between head and body."""
    lines = (line for line in text.splitlines() if line.startswith("|"))
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [row for row in cells if not set("".join(row)) <= set("-:")]


def names(text: str) -> list[str]:
    """Return what is written as code within a line."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


# --------------------------------------------------------------------------------------
# Configuration
# --------------------------------------------------------------------------------------

SETTING_ROWS = {
    names(row[0])[0]: row
    for row in rows(section("Configuration"))
    if len(row) == 4 and "`" in row[0]
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_setting_is_described_with_its_flag_and_default(setting: Any) -> None:
    _, flag, default, meaning = SETTING_ROWS[setting.name]
    assert flag == f"`{setting.flag}`"
    assert default == ("unset" if setting.default is None else f"`{setting.default}`")
    assert len(meaning) > 10


def test_no_setting_is_described_that_does_not_exist() -> None:
    assert list(SETTING_ROWS) == [setting.name for setting in SETTINGS]


def test_every_flag_of_the_help_is_in_the_readme() -> None:
    result = run_to_exit("--help")
    flags = set(re.findall(r"(?<![\w-])--[a-z0-9][a-z0-9-]*", result.stdout))
    assert {"--demo", "--check-config", "--healthcheck", "--version"} <= flags
    assert flags - set(re.findall(r"--[a-z0-9][a-z0-9-]*", section("Configuration"))) == set()


def test_no_flag_is_described_that_does_not_exist() -> None:
    described = {row[0].strip("`") for row in rows(section("Configuration")) if len(row) == 2}
    for flag in sorted(described - {"flag", "--demo"}):
        assert run_to_exit(flag).returncode in (0, 1), flag


# --------------------------------------------------------------------------------------
# Endpoints, fields, keys
# --------------------------------------------------------------------------------------

#: The contract's table of endpoints.
PATHS = [
    *("/healthz", "/readyz", "/api/status", "/api/metrics", "/api/config", "/api/targets"),
    *("/api/health", "/api/summary", "/api/events", "/api/openapi.json", "/metrics", "/"),
]
PATH_ROWS = [names(row[0])[0] for row in rows(section("API")) if row[0].startswith("`/")]


@pytest.mark.parametrize("path", PATHS)
def test_endpoint_is_in_the_table(path: str) -> None:
    assert PATH_ROWS.count(path) == 1


def test_no_endpoint_is_in_the_table_that_does_not_exist() -> None:
    with run_zaidash() as zaidash:
        missing = [p for p in PATH_ROWS if zaidash.get(p, method="HEAD").status == 404]
    assert missing == []


FIELD_ROWS = {
    names(row[0])[0]: row for row in rows(section("Snapshot")) if len(row) == 3 and "`" in row[0]
}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_field_is_described_with_its_unit(field: Any) -> None:
    _, unit, meaning = FIELD_ROWS[field.name]
    assert unit == field.unit
    assert meaning


def test_fields_stand_in_the_order_of_a_snapshot() -> None:
    assert list(FIELD_ROWS) == ["timestamp", "variant", *(field.name for field in FIELDS)]


@pytest.mark.parametrize(
    "parameter", ["range", "start", "end", "variant", "fields", "points", "format"]
)
def test_parameter_of_the_history_is_described(parameter: str) -> None:
    described = [names(row[0]) for row in rows(section("`/api/metrics`"))]
    assert parameter in [name for some in described for name in some]


class Live(NamedTuple):
    """What a running zaidash says."""

    status: dict[str, Any]
    summary: dict[str, Any]
    config: dict[str, Any]
    target: dict[str, Any]
    metrics: str
    database: Path


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    path = tmp_path_factory.mktemp("docs") / "zaidash.db"
    with FakeProxy() as proxy:
        environment = {
            "SCRAPE_TARGETS": proxy.url,
            "SCRAPE_INTERVAL": "100ms",
            "DB_PATH": str(path),
        }
        with run_zaidash(env=environment) as zaidash:
            eventually(lambda: zaidash.json("/api/metrics"), 60, "a snapshot")
            for _ in range(20):
                proxy.request(tokens=(10, 20, 30, 40))
            eventually(
                lambda: zaidash.json("/api/metrics")[-1]["requests_2xx"] == 20, 15, "the requests"
            )
            answers = Live(
                zaidash.json("/api/status")["production"],
                zaidash.json("/api/summary")["production"],
                zaidash.json("/api/config"),
                zaidash.json("/api/targets")[0],
                zaidash.get("/metrics").body.decode(),
                path,
            )
            assert zaidash.terminate() == 0
    yield answers


def described_keys(title: str) -> set[str]:
    return {name for row in rows(section(title)) for name in names(row[0])}


@pytest.mark.parametrize("kind", ["status", "config", "target"])
def test_key_of_an_answer_is_described(live: Live, kind: str) -> None:
    title = {"target": "targets"}.get(kind, kind)
    assert described_keys(f"`/api/{title}`") == set(getattr(live, kind))


def test_key_of_a_summary_is_described(live: Live) -> None:
    assert described_keys("`/api/summary`") == set(live.summary) - {"previous"}
    assert "`previous`" in section("`/api/summary`")


def test_own_metric_is_described_with_its_type(live: Live) -> None:
    described = {names(row[0])[0]: row[1] for row in rows(section("Own metrics")) if "`" in row[0]}
    exported = dict(re.findall(r"^# TYPE (\S+) (\S+)$", live.metrics, re.MULTILINE))
    assert described == exported


# --------------------------------------------------------------------------------------
# Examples
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", code_blocks("sql"), ids=lambda text: text.splitlines()[0])
def test_example_query_answers_something(live: Live, statement: str) -> None:
    with sqlite3.connect(live.database) as database:
        database.execute(  # a minute, as the ten-minute job would have made it
            "INSERT OR IGNORE INTO metrics_1m SELECT * FROM metrics_5s WHERE req_rate IS NOT NULL"
        )
        found = database.execute(statement).fetchall()
        database.rollback()
    database.close()
    assert found and None not in found[0]


def test_there_are_example_queries() -> None:
    assert len(code_blocks("sql")) >= 3


def example_requests() -> list[str]:
    lines = "\n".join(code_blocks("sh")).splitlines()
    words = [shlex.split(line) for line in lines if line.startswith("curl ")]
    return [
        word.removeprefix("localhost:8080") for some in words for word in some if "/api/" in word
    ]


def test_example_requests_work() -> None:
    requests = example_requests()
    assert len(requests) >= 4
    with run_zaidash() as zaidash:
        answers = {path: zaidash.get(path).status for path in requests}
    assert set(answers.values()) == {200}, answers


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "docs/load.md"]
)
def test_links_of_a_document_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)]+)\)", text)
    for target in links:
        path, _, anchor = target.partition("#")
        if not path:
            assert anchor in anchors, target
        elif not target.startswith("https://"):
            assert ((ROOT / document).parent / path).exists(), target


@pytest.mark.parametrize("path", ["zaidash.py", "static/", "tests/fake_proxy.py", ".ci/run"])
def test_file_that_the_readme_names_is_there(path: str) -> None:
    assert f"`{path}`" in README or path in README
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "script",
    [
        *("bench/bench_history.py", "bench/bench_scrape.py", "bench/bench_limits.py"),
        *("bench/load.py", "bench/soak.py"),
    ],
)
def test_benchmark_that_the_readme_names_is_there(script: str) -> None:
    assert f"`python {script}`" in section("Performance")
    assert (ROOT / script).is_file()


@pytest.mark.parametrize("script", ["bench/load.py", "bench/soak.py"])
def test_script_with_a_table_of_its_own_is_in_its_document_and_in_the_makefile(script: str) -> None:
    assert f"`python {script}`" in (ROOT / "docs" / "load.md").read_text(encoding="utf-8")
    assert f"$(PYTHON) {script}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_benchmark_results_have_their_place() -> None:
    begin, end = README.index("<!-- bench:begin -->"), README.index("<!-- bench:end -->")
    assert begin < end


# --------------------------------------------------------------------------------------
# The threat model
# --------------------------------------------------------------------------------------

THREATS = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
THREAT_ROWS = [row for row in rows(THREATS) if len(row) == 3 and "`test_" in row[2]]


def test_every_test_that_the_threat_model_names_is_there() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/test_*.py"))
    named = {name for row in THREAT_ROWS for name in names(row[2])}
    assert len(named) > 30
    assert {name for name in named if f"def {name}(" not in tests} == set()


def test_whatever_the_threat_model_says_holds_an_attack_is_there() -> None:
    source = (ROOT / "zaidash.py").read_text(encoding="utf-8")
    named = {name for row in THREAT_ROWS for name in names(row[1])}
    assert len(named) > 25
    here = {name for name in named if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", source)}
    assert named - here == set()


def test_threat_model_and_security_policy_lead_to_one_another() -> None:
    assert "](../SECURITY.md)" in THREATS
    assert "](docs/threat-model.md)" in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


# --------------------------------------------------------------------------------------
# The project
# --------------------------------------------------------------------------------------


def test_commands_for_a_stranger_stand_at_the_top() -> None:
    top = README[: README.index("## Configuration")]
    assert "`python zaidash.py --demo`" in top
    assert re.search(r"`SCRAPE_TARGETS=http://\S+/metrics python zaidash.py`", top)


def test_test_command_is_what_ci_runs() -> None:
    (command,) = {name for name in names(README) if "pytest" in name and "&&" in name}
    assert command == "pip install -e '.[test]' && pytest"
    install, test = command.split(" && ")
    assert re.search(rf"^\s*(bounded )?{re.escape(install)}( |$)", CI_RUN, re.MULTILINE)
    assert re.search(rf"^\s*check {re.escape(test)}( |$)", CI_RUN, re.MULTILINE)


def test_commands_of_the_page_are_what_ci_runs() -> None:
    assert "pip install -e '.[page]'" in README and "pip install -e '.[page]'" in CI_RUN
    (command,) = re.findall(r"^cd frontend && (.*)$", README, re.MULTILINE)
    run = re.findall(r"^ *bounded (npm [^-\n]*?)(?: --.*)?$", CI_RUN, re.MULTILINE)
    assert command.split(" && ") == run


def test_layout_leads_a_contributor_through_the_source_in_its_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (layout,) = re.findall(r"^## How zaidash.py is laid out\n(.*?)^## ", text, re.M | re.S)
    items = layout[layout.index("1. ") :]
    source = (ROOT / "zaidash.py").read_text(encoding="utf-8")
    sections = re.findall(r"^# ---- (.+?) -+$", source, re.MULTILINE)
    assert len(sections) > 8
    assert re.findall("|".join(f"{re.escape(title)}(?=:)" for title in sections), items) == sections
    places = []
    for name in names(items):
        (found,) = re.finditer(rf"^(?:class |def )?{name}\b(?=[(:]| =)", source, re.MULTILINE)
        places.append(found.start())
    assert len(places) > 10
    assert places == sorted(places)


def test_changelog_has_this_version_with_a_date() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", CHANGELOG, re.MULTILINE)
    assert versions and versions[0][0] == __version__
    assert versions == sorted(versions, reverse=True)


def test_changelog_uses_the_headings_of_keep_a_changelog() -> None:
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= allowed
    assert "## [Unreleased]" in CHANGELOG


def test_version_is_the_same_everywhere() -> None:
    assert run_to_exit("--version").stdout == f"zaidash {__version__}\n"
