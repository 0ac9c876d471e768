"""How two workers share the tests (`make test`): one drives the gateways, which wait a lot, one takes the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A worker takes a group of tests at a time; the long one begins first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: (item.get_closest_marker("last") is not None, _group(item) != "e2e"))


def _group(item: pytest.Item) -> str:
    path = item.path.relative_to(_HERE)
    return "e2e" if path.parts[0] == "e2e" else str(path)
