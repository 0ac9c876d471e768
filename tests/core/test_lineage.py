"""Rule 3: every record is on the path from the tip of the history to its root."""

import pytest

from sidecar.core.custody.lineage import HEADER, LEAF, Record, off_path, path_to_root


def message(record_id: str, parent_id: str | None = "", *, side: bool = False) -> Record:
    return Record(record_id, "message", parent_id, side)


def leaf(record_id: str, target_id: str, append_parent_id: str | None = None) -> Record:
    return Record(record_id, LEAF, target_id=target_id, append_parent_id=append_parent_id)


HEAD = Record("session", HEADER)
LINE = (HEAD, message("a"), message("b", "a"), message("c", "b"))

HISTORIES: dict[str, tuple[tuple[Record, ...], tuple[str, ...]]] = {
    "nothing": ((), ()),
    "a header alone": ((HEAD,), ()),
    "one line": (LINE, ("a", "b", "c")),
    "a fork: the last record is the tip": ((*LINE, message("d", "b")), ("a", "b", "d")),
    "a second root": ((*LINE, message("d", "")), ("d",)),
    "a record that names no parent follows the tip": ((*LINE, message("d", None)), ("a", "b", "c", "d")),
    "a parent that is not there": ((message("b", "lost"), message("c", "b")), ("b", "c")),
    "records without an id are passed over": ((*LINE, Record("", "custom")), ("a", "b", "c")),
    "records that name each other": ((message("a", "b"), message("b", "a")), ("a", "b")),
    "a record beside the tip": ((*LINE, message("d", "c", side=True)), ("a", "b", "c")),
    "the tip goes on past a record beside it": (
        (*LINE, message("d", "c", side=True), message("e", "c")),
        ("a", "b", "c", "e"),
    ),
    "what is appended behind a record beside the tip belongs to the tip": (
        (*LINE, message("d", "c", side=True), message("e", "d")),
        ("a", "b", "c", "e"),
    ),
    "a leaf moves the tip back": ((*LINE, leaf("l", "b")), ("a", "b")),
    "a leaf is not on the path": ((*LINE, leaf("l", "b"), message("d", "b")), ("a", "b", "d")),
    "a leaf says what later records name as their parent": (
        (*LINE, leaf("l", "b", "c"), message("d", "c")),
        ("a", "b", "d"),
    ),
    "the later leaf counts": ((*LINE, leaf("l", "a"), leaf("m", "c")), ("a", "b", "c")),
}


@pytest.mark.parametrize(("records", "path"), HISTORIES.values(), ids=HISTORIES.keys())
def test_the_path_leads_from_the_root_to_the_tip(records: tuple[Record, ...], path: tuple[str, ...]) -> None:
    assert path_to_root(records) == path


@pytest.mark.parametrize(
    ("records", "missing"),
    [
        (LINE, ()),
        ((*LINE, message("d", "b")), ("c",)),
        (LINE[:3], ("c",)),
        ((), ("a", "b", "c")),
        ((*LINE, leaf("l", "b")), ("c",)),
        ((HEAD, message("a"), message("b", "a"), message("c", "b", side=True)), ()),
        ((HEAD, message("a"), leaf("b", "a"), message("c", "a")), ()),
    ],
)
def test_rule_3_a_record_that_is_off_the_path_is_named(records: tuple[Record, ...], missing: tuple[str, ...]) -> None:
    """A leaf, and what its writer put beside the tip on purpose, are not missed."""
    assert off_path(records, ("a", "b", "c")) == missing


def test_the_fork_that_a_bare_swap_leaves_is_found() -> None:
    """Measured on 2026.5.18: the run did not know the co-tenant's record, so both have one parent."""
    records = (HEAD, message("user"), message("cotenant", "user"), message("answer", "user"))

    assert off_path(records, ("cotenant",)) == ("cotenant",)


def test_a_long_history_is_walked_without_recursion() -> None:
    records = [message(str(n), str(n - 1) if n else "") for n in range(20_000)]

    assert len(path_to_root(records)) == 20_000
