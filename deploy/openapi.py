#!/usr/bin/env python3
"""Write the description of the API, OpenAPI 3.1: what is served at /api/openapi.json.

    python deploy/openapi.py [--output DIRECTORY]

Fields, units and limits come from the tables of zaidash.py; what answers look like stands here. It
goes to docs/openapi.yaml for who reads it, and to frontend/public/, from where `make page` takes it
into static/ with the rest of the page. It needs PyYAML: `pip install -e '.[deploy]'`.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from zaidash import (  # noqa: E402
    _DURATION,
    _VARIANT,
    FIELD_INDEX,
    FIELDS,
    FORMATS,
    LEVELS,
    MOST_POINTS,
    PRESETS,
    ROUTES,
    STATUS_FIELDS,
    Field,
    __version__,
)

YAML_HEAD = "# Made by `make openapi` from deploy/openapi.py; not edited by hand.\n"
YAML_PATH = Path("docs/openapi.yaml")
JSON_PATH = Path("frontend/public/api/openapi.json")

Schema = Mapping[str, Any]

_JSON = "application/json"


# --------------------------------------------------------------------------------------
# What answers look like, in JSON Schema
# --------------------------------------------------------------------------------------

_STRING: Schema = {"type": "string"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_SECONDS: Schema = {"type": "number", "description": "s"}


def _list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _ref(name: str, kind: str = "schemas") -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _number(unit: str) -> Schema:
    return {"type": ["number", "null"], "description": unit}


def _object(properties: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "required": required, "properties": dict(properties)}


def _by_variant(name: str) -> Schema:
    return {"type": "object", "additionalProperties": _ref(name)}


def _field_schema(field: Field) -> Schema:
    if field.sql_type != "TEXT":
        return _number(field.unit)
    values = {"additionalProperties": {"type": "number"}, "description": field.unit}
    return {"type": ["object", "null"], **values}


_UNITS = {field.name: field.unit for field in FIELDS}
_SNAPSHOT_SCHEMAS: Mapping[str, Schema] = {
    "timestamp": {"type": "integer", "description": "ms since the epoch"},
    "variant": _STRING,
    **{field.name: _field_schema(field) for field in FIELDS},
}
_SUMMARY_SCHEMAS: Mapping[str, Schema] = {
    "requests": _number("requests"),
    "errors": _number("requests answered with 5xx"),
    "error_rate_pct": _number("%"),
    **{name: _number("tokens") for name in FIELD_INDEX if name.startswith("tokens_")},
    "cache_hit_ratio": _number("0-1"),
    **{f"latency_p{q}": _number("ms") for q in (50, 95, 99)},
    **{name: _number(_UNITS[name]) for name in LEVELS},
}


def _event_schema(kind: str, properties: Mapping[str, Schema]) -> Schema:
    return _object({"type": {"const": kind}, **properties})


_SCHEMAS: Mapping[str, Schema] = {
    "Error": _object({"error": {"type": "string", "description": "what and why"}}),
    "Unready": _object({"status": {"const": "not ready"}, "reasons": _list_of(_STRING)}),
    "Health": _object({"ready": {"type": "boolean"}, "reasons": _list_of(_STRING)}),
    "Status": _object({
        "healthy": {"type": "boolean", "description": "a snapshot within the last 3 ticks"},
        "last_scrape": _or_null(_MOMENT),
        **{name: _number(_UNITS[field]) for name, field in STATUS_FIELDS.items()},
    }),
    # With the parameter `fields`, the others are left out.
    "Snapshot": _object(_SNAPSHOT_SCHEMAS, optional=FIELD_INDEX),
    "Columns": {
        **_object({name: _list_of(schema) for name, schema in _SNAPSHOT_SCHEMAS.items()
                   if name != "variant"}, optional=FIELD_INDEX),
        "description": "arrays of one length",
    },
    "Totals": _object(_SUMMARY_SCHEMAS),
    "Summary": _object({**_SUMMARY_SCHEMAS, "previous": _ref("Totals")}),
    "Config": _object({
        "scrape_interval": _SECONDS,
        "targets": _list_of(_STRING),
        "variants": _list_of(_STRING),
        "retention_5s": _SECONDS,
        "retention_1m": _SECONDS,
        "version": _STRING,
    }),
    "Target": _object({
        "url": _STRING,
        "variant": _STRING,
        "health": {"type": "string", "enum": ["up", "down", "unknown"]},
        "last_error": _or_null(_STRING),
        "last_scrape": _or_null(_MOMENT),
        "scrape_duration_ms": _number("ms"),
        "samples": _or_null({"type": "integer", "description": "series"}),
        "warning": _or_null(_STRING),
    }),
    "Event": {
        "description": "the JSON of one `data:` line of /api/events",
        "oneOf": [
            _event_schema("connected", {"scrape_interval": _SECONDS,
                                        "variants": _list_of(_STRING)}),
            _event_schema("metrics", {"data": _ref("Snapshot")}),
            _event_schema("status", {"data": _object({
                "variant": _STRING, "healthy": {"type": "boolean"},
                "error": _or_null(_STRING)})}),
        ],
    },
}  # fmt: skip


# --------------------------------------------------------------------------------------
# Parameters and paths
# --------------------------------------------------------------------------------------

_TIME = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 10**15 - 1, "description": "ms"},
        _MOMENT,
    ]
}
#: Every parameter of a query, as OpenAPI describes it.
PARAMETERS: Mapping[str, Schema] = {
    "range": {
        "description": "a duration from 1s up to the longer of RETENTION_5S and RETENTION_1M",
        "schema": {"type": "string", "pattern": rf"^\+?{_DURATION.pattern}$",
                   "default": "1h", "examples": list(PRESETS)},
    },
    "start": {"description": "included; wins over range", "schema": _TIME},
    "end": {"description": "included; now where it is left out", "schema": _TIME},
    "variant": {
        "description": "all, a configured variant, production or canary",
        "schema": {"type": "string", "pattern": f"^{_VARIANT.pattern}$", "default": "all"},
    },
    "fields": {
        "description": "a comma list; timestamp and variant come along in any case",
        "schema": {"type": "array", "minItems": 1,
                   "items": {"type": "string", "enum": list(_SNAPSHOT_SCHEMAS)}},
        "explode": False,
    },
    "points": {
        "description": "at most that many rows per variant, averaged; rates by the time they cover",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_POINTS},
    },
    "format": {"schema": {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]}},
    "last_event_id": {
        "description": "as the header Last-Event-ID: where to go on after a break",
        "schema": _STRING,
    },
}  # fmt: skip


class Operation(NamedTuple):
    """What is told of a path: what it answers, and the schema of it by media type."""

    name: str
    summary: str
    content: Mapping[str, Schema]


_OBJECT: Schema = {"type": "object"}
_ROWS = {"anyOf": [_list_of(_ref("Snapshot")), _by_variant("Columns")]}
OPERATIONS: Mapping[str, Operation] = {
    "/healthz": Operation("get_healthz", "Whether the process is alive",
                          {_JSON: _object({"status": {"const": "ok"}})}),
    "/readyz": Operation("get_readyz", "Whether there was a scrape and the storage can be written",
                         {_JSON: _object({"status": {"const": "ready"}})}),
    "/api/health": Operation("get_health", "What /readyz says, always with 200",
                             {_JSON: _ref("Health")}),
    "/api/status": Operation("get_status", "The present of every variant",
                             {_JSON: _by_variant("Status")}),
    "/api/metrics": Operation("get_metrics", "Snapshots, oldest first",
                              {_JSON: _ROWS, "text/csv": _STRING}),
    "/api/config": Operation("get_config", "What the page needs to know of the settings",
                             {_JSON: _ref("Config")}),
    "/api/targets": Operation("get_targets", "Every target, and how its last scrape went",
                              {_JSON: _list_of(_ref("Target"))}),
    "/api/summary": Operation("get_summary", "Totals of a time range, and of the one before",
                              {_JSON: _by_variant("Summary")}),
    "/api/events": Operation("get_events", "Live events; each data line is an Event",
                             {"text/event-stream": _STRING}),
    "/api/openapi.json": Operation("get_openapi", "This description", {_JSON: _OBJECT}),
    "/metrics": Operation("get_own_metrics", "zaidash's own metrics for Prometheus",
                          {"text/plain": _STRING}),
    "/": Operation("get_page", "The page; its files are below /assets/", {"text/html": _STRING}),
}  # fmt: skip


# --------------------------------------------------------------------------------------
# The description of all of it
# --------------------------------------------------------------------------------------

_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "s"}}
_FAILURES: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "400": ("BadRequest", "A parameter is unknown, given twice or out of range, or the request is"
            " not HTTP/1.1; the message lists what is allowed", {}),
    "401": ("Unauthorized", "AUTH_TOKEN is set, and the request lacks it",
            {"WWW-Authenticate": {"schema": _STRING}}),
    "404": ("NotFound", "There is no such path; the message lists those there are", {}),
    "405": ("MethodNotAllowed", "Neither GET nor HEAD", {"Allow": {"schema": _STRING}}),
    "503": ("Unavailable", "MAX_REQUESTS or MAX_STREAMS is reached, or the history cannot be read",
            _RETRY_AFTER),
    "default": ("Failure", "408 too slow, 431 too large a head, 500 a bug, 505 not HTTP/1.1", {}),
}  # fmt: skip


def _responses(content: Mapping[str, Schema], *left_out: str) -> dict[str, Any]:
    failures = {status: name for status, (name, *_) in _FAILURES.items() if status not in left_out}
    return {
        "200": {"description": "OK", "content": _content(content)},
        **{status: _ref(name, "responses") for status, name in failures.items()},
    }


def _describe(path: str, operation: Operation) -> dict[str, Any]:
    route = ROUTES.get(path)
    described: dict[str, Any] = {"operationId": operation.name, "summary": operation.summary}
    if route is None:  # a file of static/
        return {**described, "responses": _responses(operation.content)}
    described["parameters"] = [
        {"name": name, "in": "query", **parameter}
        for name, parameter in PARAMETERS.items()
        if name in route.parameters
    ]
    responses = _responses(operation.content, "404", *(["401"] if route.is_open else []))
    if path == "/readyz":
        reasons = _content({_JSON: {"anyOf": [_ref("Unready"), _ref("Error")]}})
        responses["503"] = {"description": "Not ready, or busy", "content": reasons}
    return {**described, "responses": responses, **({"security": []} if route.is_open else {})}


def _content(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type, schema in schemas.items()}


def describe_api() -> dict[str, Any]:
    """The whole API as an OpenAPI document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "zaidash",
            "version": __version__,
            "description": "The dashboard for zai-proxy. Every path takes GET, and HEAD, which gets"
            " the same answer without its body. Numbers are never NaN or Infinity: what is not"
            " known is null. Descriptions of numbers are their units.",
        },
        "servers": [{"url": "..", "description": "where /api/openapi.json came from"}],
        # None is asked for where AUTH_TOKEN is not set.
        "security": [{}, {"bearer": []}, {"password": []}],
        "paths": {path: {"get": _describe(path, one)} for path, one in OPERATIONS.items()},
        "components": {
            "schemas": _SCHEMAS,
            "responses": {
                name: {"description": text, "headers": headers,
                       "content": _content({_JSON: _ref("Error")})}
                for name, text, headers in _FAILURES.values()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "AUTH_TOKEN"},
                "password": {"type": "http", "scheme": "basic",
                             "description": "AUTH_TOKEN as the password of any user"},
            },
        },
    }  # fmt: skip


def to_yaml(description: Any) -> str:
    import yaml  # type: ignore[import-untyped]

    # By way of JSON, or YAML would write a pointer where one object stands in two places.
    plain = json.loads(json.dumps(description))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return YAML_HEAD + text


def to_json(description: Any) -> str:
    return json.dumps(description, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the description of the API.")
    parser.add_argument("--output", type=Path, default=ROOT, help="in place of this checkout")
    directory = parser.parse_args().output
    description = describe_api()
    for path, text in ((YAML_PATH, to_yaml(description)), (JSON_PATH, to_json(description))):
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
