"""A link that is not believed keeps nobody waiting, takes no custody, and speaks of no window but its own."""

import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import Refuse
from sidecar.core.facts.gateway import Gateway
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.turn_loss import LossCause, TurnLoss
from sidecar.core.facts.value import replace
from sidecar.core.facts.window_name import apart
from sidecar.core.questions import CheckAsked
from sidecar.core.reports import PreloadTrouble, WriteFailed
from sidecar.core.verdict.judge import Verdict
from sidecar.driver import questions
from sidecar.driver.driver import Driver
from sidecar.intake.gateways import KnownGateways
from sidecar.intake.link import LinkIntake
from sidecar.intake.tools import AgentTools
from sidecar.link.session import LinkSession
from sidecar.link.translate import Heard
from sidecar.wire import messages as wire
from tests.core.kit import FILE, RUN, Disk, fence_set
from tests.driver.kit import Desk, Sinks, desk

NOT_NODE = Reason.of(ReasonCode.LINK_NOT_NODE, exe="/usr/bin/python3")
LIAR = "link-77"


def doubt(stage: Desk) -> None:
    """The gateway that linked first is not believed."""
    session = stage.links.open_sessions()[0]
    gateway = replace(session.gateway, unverified=NOT_NODE)
    stage.driver.handle(ev.LinkOpened(gateway=gateway, at_ns=time.time_ns()))


async def test_no_question_waits_for_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "SYNC_SECONDS", 3600)
    async with desk(place) as stage:
        silent = await stage.link()
        await stage.said()
        doubt(stage)
        gateway = await stage.link()
        fence = gateway.fence(stage.file)
        await stage.said()
        silent.deaf = True
        gateway.append(stage.file, "note")
        await gateway.is_approved(stage.file, fence)


async def test_a_look_that_nobody_waits_for_gives_it_a_moment_and_goes_on_without_its_word(place: Path) -> None:
    async with desk(place) as stage:
        silent = await stage.link()
        await stage.said()
        doubt(stage)
        silent.deaf = True
        silent.fence(stage.file, "w1")
        reading, heard = await stage.driver._reads.patient(str(stage.file))
        assert heard
        assert not reading.problem


async def test_the_answer_has_the_name_that_the_gateway_gave_its_window(place: Path) -> None:
    async with desk(place) as stage:
        gateway = await stage.link()
        await stage.said()
        doubt(stage)
        (session,) = stage.links.open_sessions()
        reason = Reason(ReasonCode.LINK_PINNED)
        refuse = Refuse(
            link=session.name, window=apart("w1", session.name), ask="a1", verdict=Verdict.UNATTRIBUTED, reason=reason
        )
        stage.driver._send(refuse)
        answer = await gateway.answer()
        assert isinstance(answer, wire.Refuse)
        assert answer.window == "w1"


class Told:
    """A driver that keeps what it is told, and the losses that the intake told."""

    def __init__(self, *, believed: bool) -> None:
        self.events: list[object] = []
        self.losses: Counter[Loss] = Counter()
        self.watched: list[str] = []
        gateway = Gateway(LIAR, 4711, unverified=None if believed else NOT_NODE)
        session = SimpleNamespace(name=LIAR, pid=4711, gateway=gateway, lost=3, hello=None, role=gateway.role)
        self.session = cast("LinkSession", session)
        driver = SimpleNamespace(handle=self.events.append, asked=self.events.append, closed=self.events.append)
        self.intake = LinkIntake(
            cast("Driver", driver),
            cast("KnownGateways", SimpleNamespace(linked=lambda _session: None)),
            Sinks(),
            time.time_ns,
            self.lose,
            lambda: None,
            self.watched.append,
            AgentTools(dict),
        )

    def lose(self, loss: Loss, reason: Reason, file: str = "") -> None:
        del reason, file
        self.losses[loss] += 1

    def hear(self, *heard: Heard) -> None:
        self.intake.link_heard(self.session, heard)

    def window(self) -> str:
        """The window that the last event was of."""
        return str(getattr(self.events[-1], "window", ""))


DISK = Disk()
OF_A_WINDOW: list[Heard] = [
    replace(fence_set(DISK.fingerprint, 1, window="w1"), link=LIAR),
    CheckAsked(
        link=LIAR, window="w1", file=FILE, fence=DISK.fingerprint, run=RUN, at_ns=1, ask="a", current=DISK.fingerprint
    ),
    ev.FenceClosed(window="w1", takeover=True, at_ns=1),
    ev.AnswerLate(ask="a", window="w1", waited_ns=1, at_ns=1, heard_ns=0),
    ev.LockWaitEnded(window="w1", had=True, waited_ns=1, at_ns=1),
    ev.RecoveryApplied(
        window="w1",
        applied=True,
        fence=DISK.fingerprint,
        current=DISK.fingerprint,
        pushed=False,
        latency_ns=1,
        reason="",
        records=(),
        at_ns=1,
    ),
    ev.TurnLost(link=LIAR, window="w1", file="", run=RUN, loss=TurnLoss(LossCause.RESET), at_ns=1),
]


@pytest.mark.parametrize("heard", OF_A_WINDOW, ids=lambda heard: type(heard).__name__)
def test_whatever_it_says_of_a_window_is_of_one_that_is_set_apart(heard: Heard) -> None:
    doubted, believed = Told(believed=False), Told(believed=True)
    doubted.hear(heard)
    believed.hear(heard)
    assert doubted.window() == apart("w1", LIAR)
    assert believed.window() == "w1"


def test_a_lost_turn_without_a_window_has_none_all_the_same() -> None:
    doubted = Told(believed=False)
    doubted.hear(ev.TurnLost(link=LIAR, window="", file="", run=RUN, loss=TurnLoss(LossCause.RESET), at_ns=1))
    assert doubted.window() == ""


def test_what_it_lost_costs_nobody_custody() -> None:
    doubted, believed = Told(believed=False), Told(believed=True)
    for told in (doubted, believed):
        told.intake.link_opened(told.session)
        told.intake.link_gap(told.session, 4)
        told.hear(WriteFailed(file=FILE), PreloadTrouble(where="account", reason="x"))
    assert doubted.losses == Counter()
    assert set(believed.losses) == {Loss.DROPPED, Loss.GAP, Loss.WRITE_FAILED, Loss.PRELOAD}


OTHER_FILES = [
    "/etc/shadow",
    "/state/agents/main/sessions/sessions.json",
    "/home/somebody/notes.jsonl",
    "/etc/passwd#s",
    "/state/agents/main/sessions/0a1b.trajectory.jsonl",
]


@pytest.mark.parametrize("file", OTHER_FILES)
def test_it_can_not_have_another_file_read_than_a_transcript(file: str) -> None:
    """The sidecar may be allowed to read more than the process that asks for it."""
    doubted = Told(believed=False)
    doubted.hear(replace(fence_set(DISK.fingerprint, 1, window="w1"), link=LIAR, file=file))
    assert doubted.events == []
    assert doubted.intake.rejected == {"bad_name": 1}


@pytest.mark.parametrize("file", [FILE, "/state/agents/main/agent/openclaw-agent.sqlite#s"])
def test_it_has_nothing_watched_of_what_it_speaks(file: str) -> None:
    doubted, believed = Told(believed=False), Told(believed=True)
    for told in (doubted, believed):
        told.hear(replace(fence_set(DISK.fingerprint, 1, window="w1"), link=LIAR, file=file))
        assert len(told.events) == 1
    assert (doubted.watched, believed.watched) == ([], [file])
