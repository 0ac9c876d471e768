"""Node, the preload in it, and the other end of its socket."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from sidecar.demo.errors import NpmFailedError, NpmMissingError
from sidecar.demo.packages import GatewayPackage, default_cache_dir, ensure_gateway
from tests.preload.kit import Gateway, Sidecar, socket_directory

GATEWAY_VERSION = "2026.5.18"


@pytest.fixture(scope="session")
def packages(request: pytest.FixtureRequest) -> Callable[[str], GatewayPackage]:
    """Installed gateways, for their Node and their session managers. Without npm a skip, but on CI an error."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled():
            sys.stdout.write(f"\n{line}")
            sys.stdout.flush()

    def ensure(version: str) -> GatewayPackage:
        try:
            return ensure_gateway(version, default_cache_dir(), show)
        except (NpmMissingError, NpmFailedError) as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no Node to run the preload in: {error}")

    return ensure


@pytest.fixture(scope="session")
def package(packages: Callable[[str], GatewayPackage]) -> GatewayPackage:
    """The oldest supported gateway."""
    return packages(GATEWAY_VERSION)


@pytest.fixture(scope="session")
def node(package: GatewayPackage) -> Path:
    """The Node that gateways run on."""
    return package.node


@pytest.fixture
def sidecar() -> Iterator[Sidecar]:
    """A sidecar that says only what the test has it say."""
    with socket_directory() as directory, Sidecar(directory / "s.sock") as opened:
        yield opened


class Start(Protocol):
    """Starts a model of the gateway."""

    def __call__(self, *, socket_path: Path | None = None, model: str = "swap", **env: str) -> Gateway:
        """With the preload in it, linked to the test's sidecar unless told otherwise."""
        ...


@pytest.fixture
def start(node: Path, tmp_path: Path, sidecar: Sidecar) -> Iterator[Start]:
    """Models of the gateway, each in a process of its own."""
    opened: list[Gateway] = []
    with ExitStack() as stack:

        def started(*, socket_path: Path | None = None, model: str = "swap", **env: str) -> Gateway:
            directory = tmp_path / str(len(opened))
            gateway = Gateway(node, directory, socket_path or sidecar.path, model=model, **env)
            opened.append(stack.enter_context(gateway))
            return gateway

        yield started


class Pair(NamedTuple):
    """A model of the gateway and the sidecar that it is linked to."""

    gateway: Gateway
    sidecar: Sidecar


@pytest.fixture(scope="session", params=["swap", "publish"])
def either(request: pytest.FixtureRequest, node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair of each generation of the fence, for all tests that leave the process as it was."""
    with linked(node, tmp_path_factory.mktemp("g"), request.param) as pair:
        yield pair


@pytest.fixture(scope="session")
def older(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair of the older generation."""
    with linked(node, tmp_path_factory.mktemp("g"), "swap") as pair:
        yield pair


@pytest.fixture(scope="session")
def unwatched(node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair of the releases whose runs do not come to their fence."""
    with linked(node, tmp_path_factory.mktemp("g"), "unwatched") as pair:
        yield pair


@contextmanager
def linked(node: Path, directory: Path, model: str) -> Iterator[Pair]:
    """A gateway and its sidecar, linked."""
    with (
        socket_directory() as sockets,
        Sidecar(sockets / "s.sock") as sidecar,
        Gateway(node, directory, sidecar.path, model=model) as gateway,
    ):
        sidecar.wait_for(lambda: [m for m in sidecar.said("adapter") if m["adapter"] != "pending"], "the adapter")
        yield Pair(gateway, sidecar)
