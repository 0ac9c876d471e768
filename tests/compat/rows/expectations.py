"""What must be true of each cell: by itself, as the release asks or does not; with the sidecar, as in issue 11."""

from collections.abc import Callable, Mapping
from typing import Final

from tests.compat.rows.measure import MeasuredRows, RowCell
from tests.compat.rows.scenarios import SCENARIOS, Kind, Scenario

COMMANDS: Final = {"command", "commands"}


def problems(release: MeasuredRows) -> dict[str, list[str]]:
    """How cells differ from what must be true, by scenario."""
    found = {scenario.name: _problems(release, scenario) for scenario in SCENARIOS}
    return {name: what for name, what in found.items() if what}


def _problems(release: MeasuredRows, scenario: Scenario) -> list[str]:
    stock, guarded = release.stock[scenario.name], release.guarded[scenario.name]
    found = []
    if scenario.operation in COMMANDS and (stock.error == "conflict") is not release.asks:
        found.append(f"by itself: {stock.error or 'ok'}, and the bundle asks: {release.asks}")
    return found + _RULES[scenario.kind](stock, guarded)


def _nothing(_stock: RowCell, cell: RowCell) -> list[str]:
    return [f"not undisturbed: {cell}"] if cell.error or cell.incidents or cell.pages else []


def _known(stock: RowCell, cell: RowCell) -> list[str]:
    found = []
    if cell.error or cell.beside or cell.cut:
        found.append(f"the run or a row is lost: {cell}")
    if cell.pages:
        found.append(f"a person was paged {cell.pages} times")
    wanted = ("co_tenant", "effective" if stock.error else "none")
    if [(told.verdict, told.outcome) for told in cell.incidents] != [wanted]:
        found.append(f"told: {cell.incidents}, not {wanted}")
    return found


def _unanswered(stock: RowCell, cell: RowCell) -> list[str]:
    found = _as_by_itself(stock, cell)
    if cell.pages:
        found.append(f"a person was paged {cell.pages} times")
    if [told.verdict for told in cell.incidents] != ["co_tenant"]:
        found.append(f"told: {cell.incidents}")
    return found


def _foreign(stock: RowCell, cell: RowCell) -> list[str]:
    found = _as_by_itself(stock, cell)
    if [told.verdict for told in cell.incidents] != ["external"]:
        found.append(f"told: {cell.incidents}")
    if cell.pages != 1:
        found.append(f"a person was paged {cell.pages} times")
    return found


def _held(stock: RowCell, cell: RowCell) -> list[str]:
    found = _as_by_itself(stock, cell)
    if [(told.verdict, told.turn_lost) for told in cell.incidents] != ([("unchanged", True)] if cell.error else []):
        found.append(f"told: {cell.incidents}")
    if cell.pages:
        found.append(f"a person was paged {cell.pages} times")
    return found


def _as_by_itself(stock: RowCell, cell: RowCell) -> list[str]:
    outcomes = [(c.error, c.stored, c.beside, c.cut) for c in (stock, cell)]
    return [] if outcomes[0] == outcomes[1] else [f"by itself {stock}, with the sidecar {cell}"]


_RULES: Final[Mapping[Kind, Callable[[RowCell, RowCell], list[str]]]] = {
    Kind.NOTHING: _nothing,
    Kind.KNOWN: _known,
    Kind.UNANSWERED: _unanswered,
    Kind.FOREIGN: _foreign,
    Kind.SEIZED: _foreign,
    Kind.HELD: _held,
}
