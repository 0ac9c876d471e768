"""The three scenes of the demonstration, on a real gateway or on its stand-in."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from sidecar.demo.companion import Companion
from sidecar.demo.pager import PageReceiver

COTENANT_ON_UNPATCHED: Final = "co-tenant write, gateway as published"
COTENANT_ON_GUARDED: Final = "the same write, with the sidecar"
FOREIGN_ON_GUARDED: Final = "a foreign write, with the sidecar"


@dataclass(frozen=True, slots=True)
class Scene:
    """What was done and what came of it.

    Attributes:
        title: What was done.
        answered: The user got an answer.
        verdict: The sidecar's; empty where there was none.
        recovery: Outcome of the recovery; empty likewise.
        lost_records: Records that are in the file but no longer in the conversation.
        pages: How often on-call was paged.
        incident: The incident's id; empty where there was none.
        expected: It went as the sidecar promises.
    """

    title: str
    answered: bool
    verdict: str = ""
    recovery: str = ""
    lost_records: int = 0
    pages: int = 0
    incident: str = ""
    expected: bool = True

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Played:
    """What a stage saw of one turn.

    Attributes:
        answered: The user got an answer.
        session: The session file's name.
        lost_records: Records that are in the file but no longer in the conversation.
    """

    answered: bool
    session: str
    lost_records: int


class Stage(Protocol):
    """A gateway to play on."""

    async def cotenant(self, session_key: str) -> Played:
        """A turn in whose model call a co-tenant writes."""

    async def foreign(self, session_key: str) -> Played:
        """A turn in whose model call another process writes."""


async def unpatched_scene(stage: Stage) -> Scene:
    """Without the sidecar the turn is lost."""
    played = await stage.cotenant("agent:main:as-published")
    return Scene(COTENANT_ON_UNPATCHED, played.answered, expected=not played.answered)


async def guarded_scene(stage: Stage, sidecar: Companion, pager: PageReceiver) -> Scene:
    """With it, it is not, and nothing is lost."""
    before = len(pager.pages)
    played = await stage.cotenant("agent:main:with-the-sidecar")
    incident = await sidecar.closed_incident(played.session)
    pages = len(pager.pages) - before
    good = played.answered and incident["verdict"] == "co_tenant" and not played.lost_records and not pages
    return _scene(COTENANT_ON_GUARDED, played, incident, pages, expected=good)


async def takeover_scene(stage: Stage, sidecar: Companion, pager: PageReceiver) -> Scene:
    """A foreign write still stops the turn, and pages."""
    before = len(pager.pages)
    played = await stage.foreign("agent:main:taken-over")
    incident = await sidecar.closed_incident(played.session)
    await pager.next_page(timeout_seconds=30)
    pages = len(pager.pages) - before
    good = not played.answered and incident["verdict"] == "external" and pages == 1
    return _scene(FOREIGN_ON_GUARDED, played, incident, pages, expected=good)


def _scene(title: str, played: Played, incident: dict[str, Any], pages: int, *, expected: bool) -> Scene:
    return Scene(
        title,
        played.answered,
        incident["verdict"],
        incident["recovery"]["outcome"],
        played.lost_records,
        pages,
        incident["id"],
        expected,
    )
