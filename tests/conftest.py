"""Fixtures for all tests. Helpers that are no fixtures are in `support`."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from fake_proxy import FakeProxy
from hypothesis import HealthCheck, settings

# How long an example takes is a matter of what else the machine does.
settings.register_profile(
    "patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")

# Without any handler, logging falls back on sys.stderr, which pytest closes between two tests: an
# App that lives as long as a module would then fail to log what happens to it.
logging.getLogger("zaidash").addHandler(logging.NullHandler())


@pytest.fixture
def fake_proxy() -> Iterator[FakeProxy]:
    """A zai-proxy of the variant `production` that serves until the test ends."""
    with FakeProxy() as proxy:
        yield proxy
