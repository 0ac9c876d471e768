"""Node, the preload in it, and the other end of its socket."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from sidecar.demo.errors import NpmFailedError, NpmMissingError
from sidecar.demo.packages import default_cache_dir, ensure_gateway
from tests.preload.kit import Sidecar, socket_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sidecar.demo.packages import GatewayPackage

GATEWAY_VERSION = "2026.5.18"


@pytest.fixture(scope="session")
def package(request: pytest.FixtureRequest) -> GatewayPackage:
    """An installed gateway, for its Node and its session manager. Without npm a skip, but on CI an error."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{line}")
            sys.stdout.flush()

    try:
        return ensure_gateway(GATEWAY_VERSION, default_cache_dir(), show)
    except (NpmMissingError, NpmFailedError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no Node to run the preload in: {error}")


@pytest.fixture(scope="session")
def node(package: GatewayPackage) -> Path:
    """The Node that gateways run on."""
    return package.node


@pytest.fixture
def sidecar() -> Iterator[Sidecar]:
    """A sidecar that says only what the test has it say."""
    with socket_directory() as directory, Sidecar(directory / "s.sock") as opened:
        yield opened
