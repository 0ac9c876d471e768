"""What the custodian knows, as a number: each state of knowledge is kept once, as is what each event makes of it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from sidecar.core import events as ev
from sidecar.core.custodian import Custodian
from sidecar.core.gateway import Adapter, Gateway
from sidecar.core.ledger import Ledger
from sidecar.core.policy import Mode, Policy
from sidecar.core.verdict import Verdict
from sidecar.core.window import Window
from tests.core.kit import FILE, LINK
from tests.model.pieces import of_mind
from tests.model.world import AT, OLD, PID, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sidecar.core.decisions import Decision
    from sidecar.core.fingerprint import Fingerprint
    from tests.model.pieces import Mind

_NAMES: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in (Ledger, Window)
}


class Minds:
    """Every state of the custodian that was met."""

    def __init__(self) -> None:
        """None was met."""
        self._pieces: dict[tuple[int, bool], Mind] = {}
        self._known: dict[tuple[Any, ...], int] = {}
        self._all: list[Custodian] = []
        self._told: dict[tuple[int, Hashable], tuple[int, list[Decision]]] = {}

    def first(self, fingerprint: Fingerprint) -> int:
        """A file whose bytes are known, and a linked gateway; nothing has happened yet."""
        custodian = Custodian(Policy(), Mode.RECOVER)
        custodian.handle(ev.LinkOpened(gateway=Gateway(LINK, PID, "1", Adapter.PUBLISH, can_reload=True), at_ns=AT))
        ledger = custodian._registry.ledger(FILE)
        ledger.read(snapshot_of(OLD, fingerprint), AT)
        ledger.asked = True
        return self._number(custodian)

    def _number(self, custodian: Custodian) -> int:
        number = self._known.setdefault(_knowledge(custodian), len(self._all))
        if number == len(self._all):
            self._all.append(custodian)
        return number

    def of(self, number: int) -> Custodian:
        """That custodian. It is never told anything itself."""
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
            custodian = _forked(self._all[number])
            decisions = custodian.handle(event)
            known = self._told[number, name] = (self._number(custodian), decisions)
        return known

    @property
    def size(self) -> int:
        """How many were met."""
        return len(self._all)


def _forked(custodian: Custodian) -> Custodian:
    """A custodian with the same knowledge that goes its own way."""
    made = Custodian(custodian.policy, custodian.mode)
    old, new = custodian._registry, made._registry
    new.gateways = old.gateways
    new.witness = old.witness
    new.unsettled = set(old.unsettled)
    for file, ledger in old.ledgers.items():
        new.ledgers[file] = _copy(ledger, Ledger)
    for name, window in old.windows.items():
        new.windows[name] = kept = _copy(window, Window)
        kept.records, kept.moments = list(window.records), []
    return made


def _copy(value: Any, kind: type) -> Any:  # noqa: ANN401 - a dataclass with slots
    made: Any = object.__new__(kind)
    for name in _NAMES[kind]:
        setattr(made, name, getattr(value, name))
    return made


def _knowledge(custodian: Custodian) -> tuple[Any, ...]:
    """All that can have a part in an answer.

    Not the timeline, nor the record of what was done about an incident: of an incident only that it is one of a
    takeover bars a later answer. No budget is set here.
    """
    registry = custodian._registry
    ledger = registry.ledgers[FILE]
    windows = tuple(
        (
            *(w.window_id, w.fence, w.account, w.state, w.approved),
            w.incident and w.incident.verdict is Verdict.EXTERNAL,
            w.unjudged,
        )
        for w in registry.windows.values()
    )
    return (ledger.account, tuple(registry.unsettled), windows)
