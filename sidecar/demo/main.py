"""``openclaw-sidecar demo``: the main job, visibly."""

import asyncio
import json
import shlex
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from sidecar.demo.companion import Companion, command
from sidecar.demo.errors import NothingLostError, NpmFailedError, NpmMissingError, RigError
from sidecar.demo.packages import GatewayPackage, default_cache_dir, ensure_gateway
from sidecar.demo.pager import PageReceiver
from sidecar.demo.rig import Rig
from sidecar.demo.scenes import Scene, Stage, guarded_scene, takeover_scene, unpatched_scene
from sidecar.demo.stages import real_stage
from sidecar.demo.standin import StandIn
from sidecar.preload import preload_path
from sidecar.store.printable import one_line

VERSION: Final = "2026.5.18"
"""The release of the report that began it."""

NEWEST: Final = "2026.9.6"
"""The newest one that loses turns."""

_WIDTH: Final = 40


def run_demo(release: str | None, *, once: bool, as_json: bool) -> int:
    """Play the scenes and say what came of them.

    Args:
        release: The release of OpenClaw, as npm names it; None for `VERSION`, or a stand-in where npm has none to give.
        once: End by itself instead of staying for a look around.
        as_json: Print a JSON summary as the last line.

    Returns:
        0 when everything went as promised, 1 otherwise.
    """
    try:
        return asyncio.run(_play(release, once=once, as_json=as_json))
    except RigError as error:
        _say(f"the demonstration failed: {error}")
        return 1
    except TimeoutError:
        _say("the demonstration failed: what it waited for did not come in time")
        return 1
    except KeyboardInterrupt:
        return 0


async def _play(release: str | None, *, once: bool, as_json: bool) -> int:
    package = await asyncio.to_thread(_package, release)
    if package is not None and not package.has_fence:
        raise NothingLostError(package.version, NEWEST)
    async with AsyncExitStack() as stack:
        # Short, because a socket's path has 108 bytes at most.
        work_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ocs-")))
        pager = await stack.enter_async_context(PageReceiver())
        socket = work_dir / "sidecar.sock"
        plain, guarded, state_dir = await _stages(stack, package, work_dir, socket)
        sidecar = Companion(
            state_dir,
            work_dir / "sidecar",
            socket,
            ("--notify", pager.url),
            believes=None if isinstance(guarded, Rig) else Path(sys.executable),
        )
        sidecar.log.path.parent.mkdir(parents=True, exist_ok=True)
        await stack.enter_async_context(sidecar)
        stage: Stage
        if isinstance(guarded, Rig):
            await sidecar.wait_linked(guarded.gateway.pid)
            stage = real_stage(guarded, sidecar)
        else:
            await stack.enter_async_context(guarded.linked())
            stage = guarded
        unpatched: Stage = real_stage(plain) if isinstance(plain, Rig) else plain
        scenes = []
        for play in (
            unpatched_scene(unpatched),
            guarded_scene(stage, sidecar, pager),
            takeover_scene(stage, sidecar, pager),
        ):
            scenes.append(await play)
            _say(_line(scenes[-1]))
        _say("", "The page, as on-call received it:", *(f"  | {line}" for line in _page_lines(pager)))
        _look_around(sidecar, scenes)
        if not once:
            await _until_told(sidecar)
        if as_json:
            print(json.dumps(_summary(package, sidecar, scenes)), flush=True)  # noqa: T201 - the summary asked for
    return 0 if all(scene.expected for scene in scenes) else 1


def _package(release: str | None) -> GatewayPackage | None:
    """The gateway from npm, or None where there is none to be had.

    Raises:
        NpmMissingError: There is no npm, and a release was asked for.
        NpmFailedError: npm could not install it, likewise.
    """
    try:
        return ensure_gateway(release or VERSION, default_cache_dir(), _say)
    except (NpmMissingError, NpmFailedError) as error:
        if release is not None:
            raise
        _say(str(error), "", "Going on with an embedded STAND-IN for the gateway: a model of its fence, not OpenClaw.")
        return None


async def _stages(
    stack: AsyncExitStack, package: GatewayPackage | None, work_dir: Path, socket: Path
) -> tuple[Rig | StandIn, Rig | StandIn, Path]:
    """One gateway as published, one with the preload, and the state directory of the latter."""
    if package is None:
        state_dir = work_dir / "guarded"
        return StandIn(work_dir / "plain", None), StandIn(state_dir, socket), state_dir
    env = {"NODE_OPTIONS": f"--import={preload_path().as_uri()}", "OPENCLAW_SIDECAR_SOCKET": str(socket)}
    plain, guarded = Rig(package, work_dir / "plain"), Rig(package, work_dir / "guarded", env)
    _say(f"starting two gateways of OpenClaw {package.version}, one as published and one with the preload ...")
    stack.push_async_callback(plain.stop)
    stack.push_async_callback(guarded.stop)
    await asyncio.gather(plain.start(), guarded.start())
    return plain, guarded, guarded.gateway.state_dir


def _line(scene: Scene) -> str:
    turn = "answered" if scene.answered else "LOST"
    facts = [f"turn {turn}"]
    if scene.verdict:
        facts += [f"verdict {scene.verdict}", f"recovery {scene.recovery}", f"pages {scene.pages}"]
    mark = "as promised" if scene.expected else "NOT AS PROMISED"
    return f"{scene.title:<{_WIDTH}} {', '.join(facts)}   [{mark}]"


def _page_lines(pager: PageReceiver) -> list[str]:
    page = pager.pages[-1]
    return [page.title, *page.message.splitlines()]


def _look_around(sidecar: Companion, scenes: list[Scene]) -> None:
    tool = f"{shlex.quote(str(command()))}"
    data = f"--data-dir {shlex.quote(str(sidecar.data_dir))} --state-dir {shlex.quote(str(sidecar.state_dir))}"
    _say("", "Look around:")
    for scene in scenes:
        if scene.incident:
            _say(f"  {tool} explain {scene.incident} {data}")
    _say(f"  {tool} status {data}", f"  {sidecar.url}/v1/incidents", f"  {sidecar.metrics_url}/metrics")


async def _until_told(sidecar: Companion) -> None:
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    _say("", f"The sidecar (process {sidecar.pid}) stays until Ctrl-C.")
    await told.wait()


def _summary(package: GatewayPackage | None, sidecar: Companion, scenes: list[Scene]) -> dict[str, object]:
    return {
        "gateway": f"openclaw {package.version}" if package else "stand-in",
        "real": package is not None,
        "as_promised": all(scene.expected for scene in scenes),
        "scenes": [scene.facts() for scene in scenes],
        "api": sidecar.url,
        "metrics": sidecar.metrics_url,
    }


def _say(*lines: str) -> None:
    """Progress goes to stderr: stdout is for the summary."""
    for line in lines or ("",):
        print(one_line(line), file=sys.stderr, flush=True)  # noqa: T201 - the demonstration talks to a person
