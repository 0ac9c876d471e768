"""What a run lost its turn to, and who claimed a session, as the link understands it."""

import pytest

from sidecar.core import events as ev
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.turn_loss import LossCause, LossDetail, TurnLoss
from sidecar.link.changes import Speaker
from sidecar.link.translate import Translator
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError

ROWS = "/state/agents/main/agent/openclaw-agent.sqlite#5e55"
RUN = wire.WireRun(run="run-1", kind="user_turn", session="0123456789abcdef")


def lost(cause: str = "rebound", detail: str = "claim", file: str = ROWS) -> wire.TurnLost:
    return wire.TurnLost(
        seq=1, at="5", run=RUN, cause=cause, detail=detail, window="w1", file=file, other="run-2", tools=("exec",)
    )


def test_a_lost_turn_is_told_with_its_cause() -> None:
    [heard] = Translator("link-1", Speaker(7)).understand(lost())
    loss = TurnLoss(LossCause.REBOUND, LossDetail.CLAIM, other_run="run-2", tools=("exec",))
    run = Run(run_id="run-1", kind="user_turn", session="0123456789abcdef")
    assert heard == ev.TurnLost(link="link-1", window="w1", file=ROWS, run=run, loss=loss, at_ns=5)


def test_a_detail_that_is_not_known_is_left_out() -> None:
    [heard] = Translator("link-1", Speaker(7)).understand(lost(detail="a sentence"))
    assert isinstance(heard, ev.TurnLost)
    assert heard.loss.detail is LossDetail.NONE


@pytest.mark.parametrize("message", [lost(cause="bad luck"), lost(file="/state/agents/main/sessions/5e55.jsonl")])
def test_another_cause_or_a_session_file_is_refused(message: wire.TurnLost) -> None:
    with pytest.raises(WireError):
        Translator("link-1", Speaker(7)).understand(message)


def test_a_claim_is_told_with_whom_it_displaced() -> None:
    claim = wire.WriterClaimed(seq=1, at="5", run=RUN, previous="run-0", superseded=True)
    assert Translator("link-1", Speaker(7)).understand(claim) == (
        ev.WriterClaimed(
            link="link-1", session=RUN.session, run_id="run-1", previous="run-0", superseded=True, at_ns=5
        ),
    )
