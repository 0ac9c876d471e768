"""Real gateways for the tests: one per release and kind for the whole session, started side by side.

Tests here are coroutines on one event loop for the session: a gateway, its model and its client outlive a test.
"""

import asyncio
import inspect
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from sidecar.demo.companion import Companion
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.pager import PageReceiver
from sidecar.demo.rig import Rig
from sidecar.preload import preload_path
from tests.e2e.answers import TRIES, TurnNotAnsweredError, some_answer_was_late
from tests.e2e.guard import Guard, guarded
from tests.e2e.row_gateway import Trio, Trios

_NAMED = os.environ.get("OPENCLAW_SIDECAR_TEST_VERSIONS", "").split()
VERSIONS = tuple(_NAMED or ("2026.5.18", "2026.7.35"))
"""The releases under test; `make test-releases` names more."""

MAIN_JOB_ONLY = () if _NAMED else ("2026.6.11",)
"""Releases that are put through the main job's table, and nothing else."""

TEST_SECONDS = 180
_TAIL = 12
_WIDTH = 160
RUNNER = pytest.StashKey[asyncio.Runner]()
TRY = pytest.StashKey[int]()
LATE = pytest.StashKey[bool]()


class Kind(StrEnum):
    """What a gateway runs with."""

    STOCK = "stock"
    """Nothing of ours."""
    HOOKED = "hooked"
    """The preload, which looks for a sidecar at the gateway's own socket."""


class Rigs:
    """The session's gateways: all of a kind that the chosen tests need are started when the first is asked for."""

    def __init__(self, runner: asyncio.Runner, wanted: Mapping[Kind, set[str]], work_dir: Path) -> None:
        self._runner = runner
        self._wanted = wanted
        self._work_dir = work_dir
        self._rigs: dict[tuple[Kind, str], Rig | Exception] = {}

    def get(self, kind: Kind, version: str, packages: Callable[[str], GatewayPackage]) -> Rig:
        """The running gateway of a kind and release; one that did not start says why each time."""
        if (kind, version) not in self._rigs:
            rigs = [self._rig(kind, packages(name)) for name in sorted(self._wanted[kind])]
            for rig, started in zip(rigs, self._runner.run(self._start_all(rigs)), strict=True):
                self._rigs[kind, rig.package.version] = started
        found = self._rigs[kind, version]
        if isinstance(found, Exception):
            raise found
        return found

    def stop(self) -> None:
        """Stop all of them."""
        self._runner.run(self._stop_all([rig for rig in self._rigs.values() if isinstance(rig, Rig)]))

    def _rig(self, kind: Kind, package: GatewayPackage) -> Rig:
        work_dir = self._work_dir / f"{kind}-{package.version}"
        if kind is Kind.STOCK:
            return Rig(package, work_dir)
        env = {"NODE_OPTIONS": f"--import={preload_path()}", "OPENCLAW_SIDECAR_SOCKET": str(work_dir / "sidecar.sock")}
        return Rig(package, work_dir, env)

    async def _start_all(self, rigs: Sequence[Rig]) -> list[Rig | Exception]:
        async def start(rig: Rig) -> Rig | Exception:
            try:
                await rig.start()
            except Exception as error:  # noqa: BLE001 - for the tests of this release; the others go on
                return error
            return rig

        return await asyncio.gather(*map(start, rigs))

    async def _stop_all(self, rigs: Sequence[Rig]) -> None:
        await asyncio.gather(*(rig.stop() for rig in rigs))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what drives a gateway; installs and starts of gateways are not counted as a test's time."""
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    left_out = [i for i in ours if _version(i) in MAIN_JOB_ONLY and i.path.stem != "test_main_job"]
    left_out += [i for i in ours if any(_version(i).startswith(m.args) for m in i.iter_markers("not_on"))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        kept = set(items) - set(left_out)
        items[:] = [item for item in items if item in kept]
    for item in items:
        if here in item.path.parents and "version" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(2 * _seconds(item), func_only=True))


def _seconds(item: pytest.Item) -> int:
    """How long a test may take."""
    longer = item.get_closest_marker("seconds")
    return int(longer.args[0]) if longer else TEST_SECONDS


def _version(item: pytest.Item) -> str:
    """The release that a test of this folder is about; empty for any other."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return str(parameters.get("version", "")) if "version" in getattr(item, "fixturenames", ()) else ""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on the session's loop, and end it in order when it takes too long."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    # The signature names what the test itself wants; funcargs has the autouse fixtures too.
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}

    sidecars = _sidecars(pyfuncitem)

    async def limited() -> None:
        before = set(await _incidents(sidecars))
        try:
            async with asyncio.timeout(_seconds(pyfuncitem)):
                await pyfuncitem.obj(**arguments)
        except TurnNotAnsweredError:
            pyfuncitem.stash[LATE] = await _late(sidecars, before)
            raise

    pyfuncitem.config.stash[RUNNER].run(limited())
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test again whose turn was lost because an answer was late, and for no other reason."""
    if Path(__file__).parent not in item.path.parents:
        return None
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for number in range(1, TRIES + 1):
        item.stash[TRY], item.stash[LATE] = number, False
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if not item.stash[LATE]:
            break
    for report in reports:
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _sidecars(item: pytest.Item) -> list[Companion]:
    """The running sidecars of a test's fixtures."""
    values = list(getattr(item, "funcargs", {}).values())
    found = {id(it): it for value in values if isinstance(it := getattr(value, "sidecar", value), Companion)}
    return [sidecar for sidecar in found.values() if sidecar.pid]


async def _late(sidecars: Sequence[Companion], before: Collection[str]) -> bool:
    """Whether an answer was late, by the incidents that are new; they may be a moment behind the turn."""
    for _ in range(50):
        new = [incident for name, incident in (await _incidents(sidecars)).items() if name not in before]
        if some_answer_was_late(new):
            return True
        await asyncio.sleep(0.1)
    return False


async def _incidents(sidecars: Sequence[Companion]) -> dict[str, dict[str, Any]]:
    """All that they know of, by id; none of a sidecar that does not answer."""
    found: dict[str, dict[str, Any]] = {}
    for sidecar in sidecars:
        with suppress(OSError, KeyError):
            found |= {incident["id"]: incident for incident in await sidecar.incidents()}
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:  # noqa: ANN401 - pytest's report
    """Show beside a failure what a gateway said last, and what its sidecar made of it.

    Little of each, and a gateway once: what failed has to stay in sight.
    """
    report = yield
    if report.failed:
        values = list(getattr(item, "funcargs", {}).values())
        rigs = {id(rig): rig for value in values if isinstance(rig := getattr(value, "rig", value), Rig)}
        for rig in rigs.values():
            lines = (*rig.gateway.stdout.tail(_TAIL), "", *rig.gateway.stderr.tail(_TAIL))
            title = f"output of the gateway of {rig.package.version}"
            report.sections.append((title, "\n".join(line[:_WIDTH] for line in lines)))
        for sidecar in _sidecars(item):
            report.sections.append(("the sidecar's log", "\n".join(sidecar.log.tail(_TAIL))))
            with suppress(OSError, KeyError):
                [newest, *_] = item.config.stash[RUNNER].run(sidecar.incidents()) or [{}]
                report.sections.append(("its newest incident", json.dumps(newest)))
    return report


@pytest.fixture(scope="session", autouse=True)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """The session's event loop."""
    with asyncio.Runner() as opened:
        request.config.stash[RUNNER] = opened
        yield opened


@pytest.fixture(scope="session", params=VERSIONS + MAIN_JOB_ONLY)
def version(request: pytest.FixtureRequest) -> str:
    """The release of the gateway."""
    return str(request.param)


@pytest.fixture(scope="session")
def rigs(request: pytest.FixtureRequest, runner: asyncio.Runner) -> Iterator[Rigs]:
    """The session's gateways; everything that they write goes when the session ends."""
    wanted: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for item in request.session.items:
        for kind in Kind:
            if isinstance(item, pytest.Function) and kind in item.fixturenames:
                wanted[kind].add(str(item.callspec.params["version"]))
    with tempfile.TemporaryDirectory(prefix="ocs-") as work_dir:  # short: a socket's path has 108 bytes
        opened = Rigs(runner, wanted, Path(work_dir))
        try:
            yield opened
        finally:
            opened.stop()


@pytest.fixture(scope="session")
def stock(rigs: Rigs, version: str, packages: Callable[[str], GatewayPackage]) -> Rig:
    """The gateway as it is published."""
    return rigs.get(Kind.STOCK, version, packages)


@pytest.fixture(scope="session")
def hooked(rigs: Rigs, version: str, packages: Callable[[str], GatewayPackage]) -> Rig:
    """The gateway with the preload; its socket is OPENCLAW_SIDECAR_SOCKET in `Rig.env`."""
    return rigs.get(Kind.HOOKED, version, packages)


@pytest.fixture(scope="session")
def all_trios(runner: asyncio.Runner) -> Iterator[Trios]:
    """The session's gateways with rows."""
    opened = Trios(runner)
    try:
        yield opened
    finally:
        opened.stop()


@pytest.fixture
def trio(all_trios: Trios, version: str, packages: Callable[[str], GatewayPackage]) -> Iterator[Trio]:
    """The gateway with rows of this release and the sidecar beside it, one for all tests; each leaves them running."""
    shared = all_trios.get(packages(version))
    yield shared
    shared.mended()


@pytest.fixture
def session_key(request: pytest.FixtureRequest) -> str:
    """A session for each case of each test, and for each try of it."""
    number = request.node.stash.get(TRY, 1)
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    return f"agent:main:{name[:80]}" + (f"-{number}" if number > 1 else "")


@pytest.fixture(scope="session")
def pager(runner: asyncio.Runner) -> Iterator[PageReceiver]:
    """The person who is paged."""
    opened = PageReceiver()
    runner.run(opened.__aenter__())
    yield opened
    runner.run(opened.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def shared_guard(
    runner: asyncio.Runner, hooked: Rig, pager: PageReceiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guard]:
    """A gateway with the preload, and a sidecar that recovers; one for all tests of a module and release."""
    yield from guarded(runner, hooked, pager, tmp_path_factory.mktemp("sidecar"))


@pytest.fixture
def guard(runner: asyncio.Runner, shared_guard: Guard) -> Guard:
    """The shared one, running, with no page so far."""
    runner.run(shared_guard.ensure_running())
    shared_guard.begin()
    return shared_guard
