"""What a test expects of a turn that has to be recovered, and the one reason why it may not be.

A gateway waits 250 ms for an answer. On a busy machine the sidecar may not have run for so long: then the turn is lost,
as it has to be, and nothing is wrong. A test that fails for this reason alone is run again, in a session of its own.
"""

from collections.abc import Iterable
from typing import Any, Final

from sidecar.core.facts.reasons import ReasonCode
from sidecar.demo.gateway import TurnResult

TRIES: Final = 4
"""How many times a test is run at most."""


class TurnNotAnsweredError(AssertionError):
    """A turn was stopped that should have been answered."""


def assert_answered(turn: TurnResult, text: str | None = None) -> None:
    """The turn was answered, with this text.

    Raises:
        TurnNotAnsweredError: The gateway stopped it.
    """
    if not turn.answered:
        raise TurnNotAnsweredError(turn)
    assert text is None or turn.text == text


def some_answer_was_late(incidents: Iterable[dict[str, Any]]) -> bool:
    """A recovery in these incidents was held up by a busy machine alone, and none of them is a takeover."""
    found = list(incidents)
    if any(incident["verdict"] == "external" for incident in found):
        return False
    return any(incident["recovery"]["outcome"] == "late" or _was_unheard(incident) for incident in found)


def _was_unheard(incident: dict[str, Any]) -> bool:
    """Another linked process was too slow to say what it had done."""
    codes = {incident["reason_code"], *(detail["code"] for detail in incident["reason_details"])}
    return ReasonCode.PROCESS_UNHEARD in codes
