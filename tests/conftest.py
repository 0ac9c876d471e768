"""How two workers share the tests (`make test`): one drives the gateways, which wait a lot, one takes the rest."""

from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")  # how long an example takes says how busy the machine is, and nothing of the code

_HERE = Path(__file__).parent
_GATEWAYS = f"{_HERE.name}/e2e"


class _Groups(LoadScopeScheduling):  # type: ignore[misc] # xdist publishes no types
    """Gives a worker a file at a time, or all tests on whole gateways, which share these."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return _GATEWAYS if path.startswith(_GATEWAYS) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Groups:
    """Used when the tests have several workers."""
    return _Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long group begins first, and what has to wait for minutes ends it."""
    items.sort(key=lambda item: (item.get_closest_marker("last") is not None, _HERE / "e2e" not in item.path.parents))
