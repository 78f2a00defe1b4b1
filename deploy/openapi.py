#!/usr/bin/env python3
"""Write docs/openapi.yaml: what zaidash serves at /api/openapi.json, as YAML.

    python deploy/openapi.py [--output FILE]

It needs PyYAML, which `pip install -e '.[deploy]'` brings along.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from zaidash import describe_api  # noqa: E402

HEAD = "# Made by `make openapi` from zaidash.py; not edited by hand.\n"


def to_yaml(description: Any) -> str:
    import yaml  # type: ignore[import-untyped]

    # By way of JSON, or YAML would write a pointer where one object stands in two places.
    plain = json.loads(json.dumps(description))
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    return HEAD + text


def main() -> int:
    parser = argparse.ArgumentParser(description="Write docs/openapi.yaml.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "openapi.yaml")
    output = parser.parse_args().output
    output.write_text(to_yaml(describe_api()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
