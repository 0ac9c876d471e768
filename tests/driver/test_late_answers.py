"""A question that was answered when its gateway had gone on: real links, real files."""

from pathlib import Path

from sidecar.core.verdict.incident import Outcome
from sidecar.wire import messages as wire
from sidecar.words import sentence
from tests.driver.kit import fenced, fenced_beside_another
from tests.link.running import until


async def test_an_answer_to_a_gateway_that_went_on_is_late_and_pages_nobody(place: Path) -> None:
    """What a stopped sidecar reads when it is continued: the question, and all that the gateway did without it."""
    async with fenced(place) as (stage, gateway, fence):
        gateway.append(stage.file, "note")
        gateway.ask(stage.file, fence)
        gateway.stop_waiting(stage.file, fence)
        gateway.trip(stage.file, fence)
        gateway.end(takeover=True)
        assert isinstance(await gateway.answer(), wire.Approve)
        gateway.stop_waiting(stage.file, fence, 420_000_000)
        await stage.said()
    assert stage.incident.recovery.outcome is Outcome.LATE
    assert "170 ms after the gateway had stopped waiting" in sentence(stage.incident.recovery.reason)
    assert stage.incident.turn_lost
    assert stage.sinks.paged == []


async def test_a_question_that_waits_for_another_link_is_late_when_its_gateway_goes_on(place: Path) -> None:
    async with fenced_beside_another(place) as (stage, gateway, silent, fence):
        gateway.append(stage.file, "note")
        silent.deaf = True
        gateway.ask(stage.file, fence)
        await until(lambda: stage.driver._questions._waiting)
        gateway.stop_waiting(stage.file, fence)
        gateway.trip(stage.file, fence)
        silent.hear_again()
        await until(lambda: not stage.driver._questions._waiting and not stage.driver._tasks._tasks)
        gateway.end(takeover=True)
        await stage.said()
        assert stage.incident.recovery.outcome is Outcome.LATE
        assert stage.incident.turn_lost
        assert stage.sinks.paged == []
