"""Fixtures for all tests. Helpers that are no fixtures are in `support`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_proxy import FakeProxy


@pytest.fixture
def fake_proxy() -> Iterator[FakeProxy]:
    """A zai-proxy of the variant `production` that serves until the test ends."""
    with FakeProxy() as proxy:
        yield proxy
