"""A gateway on another link tells again of its windows: they are known where the file is as at the fence."""

from pathlib import Path

from sidecar.core.verdict.judge import Verdict
from sidecar.wire import messages as wire
from tests.driver.kit import desk, foreign_append
from tests.link.running import until


async def test_a_window_that_is_told_again_is_known_again(place: Path) -> None:
    async with desk(place) as stage:
        first = await stage.link()
        first.fence(stage.file)
        await stage.said()
        await first.hang_up()
        await until(lambda: not stage.engine.windows)
        second = await stage.link()
        fence = second.fence(stage.file)
        await stage.said()
        second.append(stage.file, "note")
        await second.is_approved(stage.file, fence)


async def test_a_change_from_the_time_without_a_link_stays_unexplained(place: Path) -> None:
    async with desk(place) as stage:
        first = await stage.link()
        fence = first.fence(stage.file)
        await stage.said()
        await first.hang_up()
        await until(lambda: not stage.engine.windows)
        foreign_append(stage.file)
        second = await stage.link()
        second.say(
            wire.FenceSet(
                seq=second.seq(),
                at="5",
                window="w1",
                file=str(stage.file),
                fence=fence,
                run=wire.WireRun(run="run-1", kind="user_turn"),
            )
        )
        await stage.said()
        await second.is_refused(stage.file, fence)
    assert stage.incident.verdict is Verdict.UNATTRIBUTED
