"""How two workers share the tests (`make test`), and the releases of OpenClaw that many of them need.

One worker drives the gateways, which wait a lot, one takes the rest.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from sidecar.demo.errors import NpmFailedError, NpmMissingError
from sidecar.demo.packages import GatewayPackage, default_cache_dir, ensure_gateway

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


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Callable[[str], GatewayPackage]:
    """Releases from the cache, or from npm. Without npm the tests are skipped, but on CI that is an error."""
    plugins = request.config.pluginmanager
    capture, terminal = plugins.getplugin("capturemanager"), plugins.getplugin("terminalreporter")

    def show(line: str) -> None:
        if terminal is None:  # in a worker, whose standard error is the run's own
            print(line, file=sys.__stderr__)
            return
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(line)

    def ensure(version: str) -> GatewayPackage:
        try:
            return ensure_gateway(version, default_cache_dir(), show)
        except (NpmMissingError, NpmFailedError) as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no gateway to test with: {error}")

    return ensure


@pytest.fixture(scope="session")
def package(packages: Callable[[str], GatewayPackage]) -> GatewayPackage:
    """The oldest supported gateway."""
    return packages("2026.5.18")


@pytest.fixture(scope="session")
def node(package: GatewayPackage) -> Path:
    """The Node that gateways run on."""
    return package.node
