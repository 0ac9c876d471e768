"""What the engine knows, as a number: each state of knowledge is kept once, as is what each event makes of it."""

from collections.abc import Hashable
from dataclasses import fields
from typing import Any, Final

from sidecar.core import events as ev
from sidecar.core.custody.files.ledger import Ledger
from sidecar.core.decisions import Decision
from sidecar.core.engine import Engine
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Adapter, Gateway
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.window import Window
from tests.core.kit import FILE, LINK
from tests.model.pieces import Mind, of_mind
from tests.model.world import AT, OLD, PID, snapshot_of

_NAMES: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (Ledger, Window)
}


class Minds:
    """Every state of the engine that was met."""

    def __init__(self) -> None:
        """None was met."""
        self._pieces: dict[tuple[int, bool], Mind] = {}
        self._known: dict[tuple[Any, ...], int] = {}
        self._all: list[Engine] = []
        self._told: dict[tuple[int, Hashable], tuple[int, list[Decision]]] = {}

    def first(self, fingerprint: Fingerprint) -> int:
        """A file whose bytes are known, and a linked gateway; nothing has happened yet."""
        engine = Engine(Policy(), Mode.RECOVER)
        engine.handle(ev.LinkOpened(gateway=Gateway(LINK, PID, "1", Adapter.PUBLISH, can_reload=True), at_ns=AT))
        ledger = engine.files.ledgers[FILE]
        ledger.read(snapshot_of(OLD, fingerprint), AT)
        ledger.asked = True
        return self._number(engine)

    def _number(self, engine: Engine) -> int:
        number = self._known.setdefault(_knowledge(engine), len(self._all))
        if number == len(self._all):
            self._all.append(engine)
        return number

    def of(self, number: int) -> Engine:
        """That engine. It is never told anything itself."""
        return self._all[number]

    def pieces(self, number: int, *, swapped: bool) -> Mind:
        """What it knows, taken apart."""
        pieces = self._pieces.get((number, swapped))
        if pieces is None:
            pieces = self._pieces[number, swapped] = of_mind(self._all[number], swapped=swapped)
        return pieces

    def tell(self, number: int, name: Hashable, event: ev.Event) -> tuple[int, list[Decision]]:
        """What it knows after an event, and what it decides. ``name`` stands for the event."""
        known = self._told.get((number, name))
        if known is None:
            engine = _forked(self._all[number])
            decisions = engine.handle(event)
            known = self._told[number, name] = (self._number(engine), decisions)
        return known

    @property
    def size(self) -> int:
        """How many were met."""
        return len(self._all)


def _forked(engine: Engine) -> Engine:
    """An engine with the same knowledge that goes its own way."""
    made = Engine(engine.policy, engine.mode)
    old, new = engine.registry, made.registry
    new.gateways = old.gateways
    new.kernel_log = old.kernel_log
    new.unsettled = set(old.unsettled)
    for file, ledger in engine.files.ledgers.items():
        made.files.ledgers[file] = _copy(ledger, Ledger)
    for name, window in old.windows.items():
        new.windows[name] = kept = _copy(window, Window)
        kept.records, kept.moments = list(window.records), []
    return made


def _copy(value: Any, kind: type) -> Any:  # noqa: ANN401 - a dataclass with slots
    made: Any = object.__new__(kind)
    for name in _NAMES[kind]:
        setattr(made, name, getattr(value, name))
    return made


def _knowledge(engine: Engine) -> tuple[Any, ...]:
    """All that can have a part in an answer.

    Not the timeline, nor the record of what was done about an incident: of an incident only that it is one of a
    takeover bars a later answer. No budget is set here.
    """
    registry = engine.registry
    ledger = engine.files.ledgers[FILE]
    windows = tuple(
        (
            *(w.window_id, w.fence, w.account, w.state, w.approved),
            w.incident and w.incident.verdict is Verdict.EXTERNAL,
            w.unjudged,
        )
        for w in registry.windows.values()
    )
    return (ledger.account, tuple(registry.unsettled), windows)
