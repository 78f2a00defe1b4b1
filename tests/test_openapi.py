"""The description of the API: what it says is so, of every answer, and it is the one that is kept.

Answers come from two zaidashes: a demo, which has everything, with a token set; and one that waits
for its first scrape, which has nothing. A key that the description does not name fails here too,
though clients should put up with one.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_proxy import FakeProxy
from needs import needed_module
from openapi import JSON_PATH, PARAMETERS, YAML_PATH, describe_api
from support import ROOT, Reply, Zaidash, eventually, free_port, run_zaidash

from zaidash import FIELDS, ROUTES

yaml = needed_module("yaml")
jsonschema_rs = needed_module("jsonschema_rs")
schemathesis = needed_module("schemathesis")

TOKEN = "open-sesame"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
DESCRIPTION: Any = json.loads(json.dumps(describe_api()))

#: How long the fuzzer may take, on a machine that is busy with other things.
FUZZ_TIMEOUT_S = 300

#: Test cases the fuzzer makes up for an operation, beside those that its limits ask for.
FUZZ_EXAMPLES = 25


# --------------------------------------------------------------------------------------
# Sites
# --------------------------------------------------------------------------------------


#: Runs zaidash with a demo that makes up a day instead of a week, which takes its time.
DEMO_OF_A_DAY = """
import sys
from pathlib import Path

sys.argv = sys.argv[1:]
sys.path.insert(0, str(Path(sys.argv[0]).parent))
import zaidash

zaidash.Demo.HISTORY_S = 86_400
sys.exit(zaidash.main())
"""


@pytest.fixture(scope="module")
def demo() -> Iterator[Zaidash]:
    """Two variants with a day of history, behind a token."""
    python = (sys.executable, "-c", DEMO_OF_A_DAY)
    with run_zaidash("--demo", env={"AUTH_TOKEN": TOKEN}, python=python) as zaidash:

        def has_rates() -> bool:
            variants = json.loads(zaidash.get("/api/status", AUTHORIZED).body)
            return all(status["req_rate"] is not None for status in variants.values())

        eventually(has_rates, 30, "rates of both variants")
        yield zaidash


@pytest.fixture(scope="module")
def empty() -> Iterator[Zaidash]:
    """A target that refuses every connection, and one whose name says nothing."""
    targets = f"http://127.0.0.1:{free_port()}/metrics,blue=dns+http://zai-proxy.invalid/metrics"
    environment = {"SCRAPE_TARGETS": targets, "SCRAPE_INTERVAL": "100ms", "MAX_STREAMS": "0"}
    with run_zaidash(env=environment) as zaidash:
        eventually(
            lambda: all(target["last_error"] for target in zaidash.json("/api/targets")),
            30,
            "the errors of all targets",
        )
        yield zaidash


# --------------------------------------------------------------------------------------
# Schemas
# --------------------------------------------------------------------------------------


def closed(schema: Any) -> Any:
    """The same schema, with no key allowed that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        parts.setdefault("additionalProperties", False)
    return parts


def check(value: Any, schema: Mapping[str, Any]) -> None:
    """Fail where a value is not what a schema of the description says."""
    whole = closed({**schema, "components": DESCRIPTION["components"]})
    validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
    problems = [f"{e.instance_path}: {e.message[:300]}" for e in validator.iter_errors(value)]
    assert problems == []


def described(path: str, status: int) -> dict[str, Any]:
    """What the description says of an answer."""
    responses = DESCRIPTION["paths"][path]["get"]["responses"]
    response: dict[str, Any] = responses.get(str(status), responses["default"])
    if "$ref" in response:
        response = DESCRIPTION["components"]["responses"][response["$ref"].rpartition("/")[2]]
    return response


def check_reply(path: str, reply: Reply) -> Any:
    """Fail where an answer is not as described; return its body."""
    response = described(path.partition("?")[0], reply.status)
    media_type = reply.headers["Content-Type"].partition(";")[0]
    assert media_type in response["content"], f"{path}: {media_type}"
    for name in response.get("headers", {}):
        assert reply.headers[name], f"{path}: no {name}"
    value = json.loads(reply.body) if media_type == "application/json" else reply.body.decode()
    check(value, response["content"][media_type]["schema"])
    return value


# --------------------------------------------------------------------------------------
# One description
# --------------------------------------------------------------------------------------


def test_description_can_be_fetched_from_where_the_api_is(demo: Zaidash) -> None:
    assert json.loads(demo.get("/api/openapi.json", AUTHORIZED).body) == DESCRIPTION
    assert demo.get("/api/openapi.json").status == 401


def test_description_in_docs_is_the_one_that_is_served() -> None:
    """Run `make openapi` where this fails."""
    assert yaml.safe_load((ROOT / YAML_PATH).read_text(encoding="utf-8")) == DESCRIPTION


def test_descriptions_are_what_their_script_writes(tmp_path: Path) -> None:
    """Run `make openapi page` where this fails."""
    command = [sys.executable, str(ROOT / "deploy" / "openapi.py")]
    subprocess.run([*command, "--output", str(tmp_path)], check=True, timeout=60)
    for path in (YAML_PATH, JSON_PATH):
        assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes()
    in_page = ROOT / "static" / JSON_PATH.relative_to("frontend/public")
    assert in_page.read_bytes() == (ROOT / JSON_PATH).read_bytes()


def test_description_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(DESCRIPTION).validate()


def test_broken_description_would_be_noticed() -> None:
    with pytest.raises(Exception, match="nonsense"):
        schemathesis.openapi.from_dict({**DESCRIPTION, "servers": "nonsense"}).validate()


def test_every_path_is_described_and_no_other() -> None:
    assert set(DESCRIPTION["paths"]) == {*ROUTES, "/", "/api/openapi.json"}


def test_every_parameter_is_described_where_it_is_taken() -> None:
    for path, route in ROUTES.items():
        names = [each["name"] for each in DESCRIPTION["paths"][path]["get"]["parameters"]]
        assert sorted(names) == sorted(route.parameters), path
    assert set(PARAMETERS) == set().union(*(route.parameters for route in ROUTES.values()))


def test_every_field_is_described_with_its_unit() -> None:
    snapshot = DESCRIPTION["components"]["schemas"]["Snapshot"]["properties"]
    assert list(snapshot) == ["timestamp", "variant", *(field.name for field in FIELDS)]
    assert {field.name: snapshot[field.name]["description"] for field in FIELDS} == {
        field.name: field.unit for field in FIELDS
    }


def test_every_part_of_the_description_is_used() -> None:
    text = json.dumps(DESCRIPTION)
    for kind in ("schemas", "responses"):
        unused = {n for n in DESCRIPTION["components"][kind] if f'/{kind}/{n}"' not in text}
        assert unused == ({"Event"} if kind == "schemas" else set())  # OpenAPI 3.1 knows no SSE


# --------------------------------------------------------------------------------------
# Answers
# --------------------------------------------------------------------------------------

HOUR = "start=2020-01-01T00:00:00Z&end=2020-01-01T01:00:00Z"
QUERIES = [
    *("/healthz", "/readyz", "/", "/metrics", "/api/openapi.json"),
    *("/api/health", "/api/status", "/api/config", "/api/targets"),
    *(f"/api/metrics?range={r}" for r in DESCRIPTION["paths"]["/api/metrics"]["get"]["parameters"]
      [0]["schema"]["examples"]),
    *(f"/api/metrics?format={kind}" for kind in ("json", "columns", "csv")),
    *(f"/api/metrics?range=24h&points=7&format={kind}" for kind in ("json", "columns", "csv")),
    *(f"/api/metrics?fields=latency_p50,status_code_rates&format={kind}"
      for kind in ("json", "columns", "csv")),
    *(f"/api/metrics?variant={name}&range=5m" for name in ("all", "production", "canary")),
    *(f"/api/metrics?{HOUR}&format={kind}" for kind in ("json", "columns", "csv")),
    *(f"/api/summary?range={r}" for r in ("5m", "24h", "7d")),
    f"/api/summary?{HOUR}",
    "/api/summary?variant=canary",
]  # fmt: skip


@pytest.mark.parametrize("path", QUERIES)
def test_answer_with_data_is_as_described(demo: Zaidash, path: str) -> None:
    reply = demo.get(path, AUTHORIZED)
    assert reply.status == 200
    check_reply(path, reply)


@pytest.mark.parametrize("path", QUERIES)
def test_answer_without_data_is_as_described(empty: Zaidash, path: str) -> None:
    reply = empty.get(path)
    assert reply.status == (503 if path == "/readyz" else 200)
    check_reply(path, reply)


@pytest.mark.parametrize("format_", ["json", "columns"])
def test_every_field_is_there_where_none_is_chosen(demo: Zaidash, format_: str) -> None:
    path = f"/api/metrics?range=5m&format={format_}"
    answer = check_reply(path, demo.get(path, AUTHORIZED))
    rows = answer if format_ == "json" else list(answer.values())
    names = {"timestamp", *(field.name for field in FIELDS)}
    assert rows
    assert {frozenset(names - set(row)) for row in rows} == {frozenset()}


def test_null_is_allowed_wherever_nothing_is_known(empty: Zaidash) -> None:
    status = check_reply("/api/status", empty.get("/api/status"))["production"]
    assert {name for name, value in status.items() if value is None} == set(status) - {"healthy"}
    summary = check_reply("/api/summary", empty.get("/api/summary"))["blue"]
    assert all(value is None for value in [*summary["previous"].values(), summary["requests"]])
    targets = check_reply("/api/targets", empty.get("/api/targets"))
    assert [target["samples"] for target in targets] == [None, None]
    assert targets[1]["last_scrape"] is None


FAILURES = [
    pytest.param("/api/metrics?points=0", 400, id="a value out of range"),
    pytest.param("/api/summary?range=5m&range=5m", 400, id="a parameter given twice"),
    pytest.param("/healthz?verbose=1", 400, id="a parameter that does not exist"),
    pytest.param("/readyz", 503, id="not ready"),
    pytest.param("/api/events", 503, id="too many streams"),
]


@pytest.mark.parametrize(("path", "status"), FAILURES)
def test_failure_is_as_described(empty: Zaidash, path: str, status: int) -> None:
    reply = empty.get(path)
    assert reply.status == status
    check_reply(path, reply)


@pytest.mark.parametrize(
    "path", [path for path, one in DESCRIPTION["paths"].items() if "401" in one["get"]["responses"]]
)
def test_missing_token_is_answered_as_described(demo: Zaidash, path: str) -> None:
    reply = demo.get(path)
    assert reply.status == 401
    check_reply(path, reply)


def test_every_path_that_needs_no_token_says_so(demo: Zaidash) -> None:
    free = {path for path, one in DESCRIPTION["paths"].items() if one["get"].get("security") == []}
    assert free == {path for path in DESCRIPTION["paths"] if demo.get(path).status == 200}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", DESCRIPTION["paths"])
def test_other_methods_are_refused_as_described(empty: Zaidash, path: str, method: str) -> None:
    reply = empty.get(path, method=method)
    assert reply.status == 405
    check_reply(path, reply)


def test_path_that_does_not_exist_is_answered_as_described(empty: Zaidash) -> None:
    reply = empty.get("/nothing")
    assert reply.status == 404
    check(json.loads(reply.body), described("/", 404)["content"]["application/json"]["schema"])


def test_live_events_are_as_described(tmp_path: Path) -> None:
    """All three kinds: a variant goes down while a client listens."""
    with FakeProxy() as proxy:
        environment = {"SCRAPE_TARGETS": proxy.url, "SCRAPE_INTERVAL": "100ms"}
        with run_zaidash(env=environment) as zaidash:
            eventually(lambda: zaidash.json("/api/metrics"), 30, "a snapshot")
            with socket.create_connection(("127.0.0.1", zaidash.port), timeout=30) as client:
                client.sendall(b"GET /api/events HTTP/1.0\r\n\r\n")
                received = receive_until(client, rb'"type":"metrics"')
                proxy.stop_serving()
                received += receive_until(client, rb'"type":"status".*\n\n')
    head, _, stream = received.partition(b"\r\n\r\n")
    media_type = re.findall(rb"Content-Type: ([^\r;]+)", head)[0].decode()
    assert list(described("/api/events", 200)["content"]) == [media_type]
    complete = stream[: stream.rindex(b"\n\n")].decode()
    events = [json.loads(text) for text in re.findall(r"^data: (.*)$", complete, re.MULTILINE)]
    for event in events:
        check(event, {"$ref": "#/components/schemas/Event"})
    assert {event["type"] for event in events} == {"connected", "metrics", "status"}


def receive_until(client: socket.socket, pattern: bytes) -> bytes:
    deadline_s = time.monotonic() + 30
    received = b""
    while not re.search(pattern, received):
        assert time.monotonic() < deadline_s, f"no {pattern!r} in {received[-300:]!r}"
        received += client.recv(65_536)
    return received


# --------------------------------------------------------------------------------------
# Fuzzing
# --------------------------------------------------------------------------------------


def test_fuzzer_finds_no_answer_that_is_not_as_described(demo: Zaidash, tmp_path: Path) -> None:
    """What it sends is right, at a limit or wrong; every wrong request has to be refused.

    That every right one is accepted cannot be asked of it: how long a range may be, and which
    variants there are, is a matter of settings. A stream does not end, so it is left out.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    result = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"http://127.0.0.1:{demo.port}/api/openapi.json",
            *("--header", f"Authorization: Bearer {TOKEN}"),
            *("--exclude-path", "/api/events"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", str(FUZZ_EXAMPLES)),
            *("--seed", "1", "--request-timeout", "60", "--continue-on-failure", "--no-color"),
        ],
        cwd=tmp_path,
        env={**kept, "HYPOTHESIS_STORAGE_DIRECTORY": str(tmp_path / "hypothesis")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=FUZZ_TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(rf"Tested: {len(DESCRIPTION['paths']) - 1}$", result.stdout, re.MULTILINE)
    assert "Traceback" not in demo.stderr()
