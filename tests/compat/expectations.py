"""What must be true of each cell: by itself, as in the fence matrix; with the sidecar, as in the table of issue 3."""

from collections.abc import Mapping

from tests.compat.measure import Cell
from tests.compat.scenarios import BY_NAME, Change, Scenario, Twice, Writer


def as_in_the_matrix(name: str, cell: Cell) -> str:
    """A measured cell in the words of the fence matrix."""
    scenario = BY_NAME[name]
    last = "TRIP" if cell.tripped else "ok"
    if scenario.change is Change.LOCK_TIMEOUT:
        return f"{cell.checks[0]} -> {last} takeover={str(cell.takeover).lower()}"
    if scenario.twice is Twice.CHECK:
        return f"{last} / cleanup {cell.cleanup} takeover={str(cell.takeover).lower()}"
    return last


def disagreements(matrix: Mapping[str, str], stock: Mapping[tuple[str, Writer], Cell]) -> dict[tuple[str, Writer], str]:
    """Cells that the matrix has otherwise; it has a remark in brackets here and there."""
    return {
        key: f"{as_in_the_matrix(key[0], cell)}, not {matrix[key[0]]}"
        for key, cell in stock.items()
        if _comparable(*key) and as_in_the_matrix(key[0], cell) != matrix[key[0]].partition(" (")[0]
    }


def _comparable(name: str, writer: Writer) -> bool:
    """The matrix has this change. What `write --edit` only adds to a session it appends, to the same inode."""
    scenario = BY_NAME[name]
    return scenario.in_matrix and not (writer is Writer.DECLARED and scenario.operation == "replaceAndMirror")


def problems(name: str, writer: Writer, stock: Cell, guarded: Cell) -> list[str]:
    """How a cell with the sidecar differs from what must be true."""
    scenario = BY_NAME[name]
    if writer is Writer.FOREIGN or (writer is Writer.DECLARED and scenario.change is Change.REMOVE):
        return _foreign(scenario, stock, guarded)
    found = _known(scenario, guarded)
    if writer is Writer.OWN and guarded.verdict not in {"own", ""}:
        found.append(f"its own bytes are called {guarded.verdict}")
    return found


def _known(scenario: Scenario, cell: Cell) -> list[str]:
    """By the gateway itself: a co-tenant's change, or the run's own."""
    found = []
    if cell.pages:
        found.append(f"a person was paged {cell.pages} times")
    if scenario.change is Change.REMOVE:
        if cell.verdict != "reset" or not cell.tripped:
            found.append(f"the verdict is {cell.verdict or 'none'}, not reset")
        return found
    if scenario.change is Change.REWRITE and cell.tripped:
        if cell.outcome != "refused" or not cell.reason or cell.verdict != "co_tenant":
            found.append(f"neither recovered nor refused with a reason: {cell.verdict} {cell.outcome}")
        return found
    if scenario.change is Change.LOCK_TIMEOUT and cell.outcome != "effective":
        what = f"{cell.verdict} {cell.outcome} {cell.reason} {' '.join(cell.checks)}"
        found.append(f"the wait for the lock is not on record: {what}".rstrip())
    if cell.tripped:
        found.append(f"the run was lost: {cell.verdict} {cell.outcome} {cell.reason} {' '.join(cell.checks)}".rstrip())
    if cell.lost:
        found.append(f"{cell.lost} records are not on the line of history")
    return found


def _foreign(scenario: Scenario, stock: Cell, cell: Cell) -> list[str]:
    if scenario.change is Change.SAME:
        wrong = cell.tripped or cell.pages or cell.lost or cell.verdict not in {"unchanged", ""}
        return [f"same bytes: {cell.verdict} {cell.outcome}, {cell.pages} pages"] if wrong else []
    if scenario.change is Change.LOCK_TIMEOUT:
        told = cell.outcome == "refused" and "which is no co-tenant" in cell.reason and cell.turn_lost
        wrong = cell.tripped is not stock.tripped or cell.pages or not told
        return [f"a foreign hold: {cell.verdict} {cell.outcome} {cell.reason}, {cell.pages} pages"] if wrong else []
    found = []
    if cell.outcome not in {"refused", "none"}:
        found.append(f"a foreign byte was recovered across: {cell.outcome}")
    if cell.tripped is not stock.tripped:
        found.append(f"the stock fence {'stops' if stock.tripped else 'lets pass'} what is not so with the sidecar")
    if cell.verdict != "external":
        found.append(f"the verdict is {cell.verdict or 'none'}, not external")
    if cell.pages != 1:
        found.append(f"a person was paged {cell.pages} times")
    return found
