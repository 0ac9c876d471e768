"""A test is run again for an answer that was late, and for nothing else."""

from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.core.facts.reasons import ReasonCode
from sidecar.demo.companion import Companion
from tests.e2e.answers import TurnNotAnsweredError, some_answer_was_late

SESSIONS: Final[list[str]] = []


class Busy(Companion):
    """A sidecar that was too slow in the first try."""

    pid = 1

    def __init__(self, root: Path) -> None:
        super().__init__(root, root, root / "s.sock")
        self.log.path.touch()
        self.found: list[dict[str, Any]] = []

    async def incidents(self, session: str = "") -> list[dict[str, Any]]:
        return self.found


@pytest.fixture
def busy(tmp_path: Path) -> Busy:
    return Busy(tmp_path)


def incident(verdict: str = "co_tenant", outcome: str = "late", code: str = "") -> dict[str, Any]:
    details = [{"code": code}]
    return {
        "id": "1",
        "verdict": verdict,
        "recovery": {"outcome": outcome},
        "reason_code": "custody_unknown",
        "reason_details": details,
    }


async def test_a_turn_that_was_lost_by_a_late_answer_is_tried_again_in_another_session(
    busy: Busy, session_key: str
) -> None:
    SESSIONS.append(session_key)
    if len(SESSIONS) == 1:
        busy.found = [incident()]
        raise TurnNotAnsweredError
    assert len(set(SESSIONS)) == 2


@pytest.mark.parametrize(
    ("incidents", "late"),
    [
        ([incident()], True),
        ([incident(outcome="refused", code=ReasonCode.PROCESS_UNHEARD)], True),
        ([incident(outcome="ineffective")], False),
        ([incident(outcome="refused")], False),
        ([incident(), incident(verdict="external", outcome="refused")], False),
        ([], False),
    ],
)
def test_only_a_late_answer_counts_and_never_beside_a_takeover(incidents: list[dict[str, Any]], *, late: bool) -> None:
    assert some_answer_was_late(incidents) is late
