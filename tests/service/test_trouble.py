"""Rule 5, where the preload itself went wrong: a report that it could not make is a lost report."""

import pytest

from sidecar.wire import messages as wire
from tests.driver.kit import foreign_append
from tests.link.kit import AT
from tests.service.kit import Place


@pytest.mark.parametrize(("where", "verdict"), [("account", "unattributed"), ("diagnostics", "external")])
async def test_rule_5_trouble_in_the_account_is_lost_custody_and_other_trouble_is_none(
    place: Place, where: str, verdict: str
) -> None:
    """Bytes that nobody reported prove a takeover only as long as the account is whole."""
    async with place.companion() as sidecar:
        gateway = await place.gateway(sidecar)
        try:
            fence = gateway.fence(place.file)
            await sidecar.wait_for(lambda status: status["windows"] == 1)
            gateway.say(wire.Trouble(seq=gateway.seq(), at=AT, where=where, reason="a strange argument"))
            foreign_append(place.file)
            gateway.ask(place.file, fence)
            answer = await gateway.answer()
            assert isinstance(answer, wire.Refuse)
            assert answer.verdict == verdict
            status = await sidecar.status()
        finally:
            await gateway.hang_up()
    lost = {name: count for name, count in status["custody_losses"].items() if count}
    assert lost == ({"preload": 1} if where == "account" else {})


async def test_a_gateway_that_does_not_take_the_sidecar_for_its_own_is_a_problem_in_its_status(place: Place) -> None:
    """Such as one whose socket is in a directory that others may write to."""
    async with place.companion() as sidecar:
        gateway = await place.gateway(sidecar)
        reason = "others may write to the socket's directory (mode 777)"
        gateway.say(wire.Trouble(seq=gateway.seq(), at=AT, where="sidecar", reason=reason))
        status = await sidecar.wait_for(lambda status: status["gateways"][0]["disobeys"])
        [problem] = [problem for problem in status["problems"] if problem["code"] == "not_obeyed"]
        assert reason in problem["what"]
        assert status["custody_losses"] == {} or not any(status["custody_losses"].values())
        await gateway.hang_up()
        status = await sidecar.wait_for(lambda status: not status["gateways"])
        assert [problem for problem in status["problems"] if problem["code"] == "not_obeyed"] == []
