"""Node, the preload in it, and the other end of its socket."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from tests.preload.kit import Gateway, Sidecar, socket_directory


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
        sidecar.wait_for_adapter()
        yield Pair(gateway, sidecar)
