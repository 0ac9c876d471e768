"""A reason is a code with exactly its parameters; each code has words, and these use what the code gives."""

import json
import re
from string import Formatter
from typing import Any

import pytest

from sidecar.core.facts.reasons import Parameter, Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.verdict.incident import Moment
from sidecar.store.codec import decode, encode
from sidecar.words import REASONS, detail, sentence

SAMPLES: dict[str, Parameter] = {
    "did": "append",
    "may": "metadata",
    "ranges": ("18+8", "40+0"),
    "writers": ("cron a", "channel b"),
    "processes": ("process 7",),
    "records": ("r1", "r2"),
    "exe": "/usr/bin/touch",
}
"""Values of parameters that are neither a number nor a plain name."""

NUMBERS = frozenset({"pid", "uid", "before", "after", "count", "sessions", "used", "limit", "line"})


def sample(code: ReasonCode) -> Reason:
    """A reason with this code."""
    values: dict[str, Parameter] = {}
    for name in code.parameters:
        number = name in NUMBERS or name.endswith("_ns")
        values[name] = SAMPLES.get(name, 3_600_000_000_000 if number else f"a {name}")
    return Reason.of(code, **values)


def test_every_code_has_words() -> None:
    assert set(REASONS) == set(ReasonCode)


@pytest.mark.parametrize("code", ReasonCode)
def test_the_words_of_a_code_use_exactly_its_parameters(code: ReasonCode) -> None:
    used = [name for _text, name, _form, _conversion in Formatter().parse(REASONS[code]) if name is not None]

    assert sorted(used) == sorted(code.parameters)


@pytest.mark.parametrize("code", ReasonCode)
def test_a_reason_is_one_plain_sentence(code: ReasonCode) -> None:
    words = sentence(sample(code))

    assert words
    assert not words.endswith((".", ":", ";", " "))
    assert words[0] == words[0].lower() or words.startswith("[")
    assert not re.search(r"[{}\n]|_ns", words)


@pytest.mark.parametrize("code", ReasonCode)
def test_a_reason_comes_back_from_the_store_as_it_was(code: ReasonCode) -> None:
    reason = sample(code).also(sample(ReasonCode.RULE_FORBIDS), Reason(ReasonCode.NO_RELOAD))

    assert decode(Reason, encode(reason)) == reason
    assert json.loads(json.dumps(reason.plain())) == reason.plain()


def test_no_reason_is_nothing_to_say() -> None:
    assert sentence(None) == ""


@pytest.mark.parametrize(
    "parameters", [{}, {"pid": 1}, {"count": 1, "pid": 1, "more": 1}], ids=["none", "too few", "too many"]
)
def test_a_reason_with_other_parameters_than_its_code_has_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="reports_missing"):
        Reason.of(ReasonCode.REPORTS_MISSING, **parameters)
    with pytest.raises(ValueError, match="reports_missing"):
        Reason(ReasonCode.REPORTS_MISSING, tuple(parameters.items()))


@pytest.mark.parametrize(
    "text",
    [
        '{"code": "thunder"}',
        '{"code": "reports_missing"}',
        '{"code": "reports_missing", "parameters": [["count", 1.5], ["pid", 1]]}',
        '"a sentence"',
        "[]",
    ],
)
def test_what_is_no_reason_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Reason|reason"):
        decode(Reason, text)


def test_reasons_are_equal_by_code_parameters_and_details() -> None:
    one = Reason.of(ReasonCode.REPORTS_MISSING, pid=7, count=2)

    assert one == Reason.of(ReasonCode.REPORTS_MISSING, count=2, pid=7)
    assert one != Reason.of(ReasonCode.REPORTS_MISSING, count=3, pid=7)
    assert one != one.also(Reason(ReasonCode.LINK_LOST))
    assert len({one, replace(one), one.also(Reason(ReasonCode.LINK_LOST))}) == 2


def test_details_follow_a_colon_where_the_sentence_asks_for_them_and_a_semicolon_elsewhere() -> None:
    lost = Reason(ReasonCode.LINK_LOST)
    unknown = Reason.of(ReasonCode.CUSTODY_UNKNOWN, lost)

    assert sentence(unknown) == "custody is unknown: a gateway's link was lost without a goodbye"
    assert sentence(Reason(ReasonCode.FILE_GONE).also(unknown)) == f"the file is gone; {sentence(unknown)}"
    assert sentence(Reason(ReasonCode.CUSTODY_UNKNOWN)) == "custody is unknown"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            Reason.of(ReasonCode.UNEXPLAINED_BYTES, ranges=("18+8", "40+0")),
            "bytes 18..26, missing at 40 were written by nobody in the gateway's unbroken account",
        ),
        (
            Reason.of(ReasonCode.UNEXPLAINED_ROWS, ranges=("7+1", "9+2")),
            "nobody in the gateway's unbroken account added, changed or deleted row 7, rows 9 to 10",
        ),
        (
            Reason.of(ReasonCode.PAUSED, until_ns=1_790_000_000_000_000_000, note="an upgrade"),
            "recovery is paused until 2026-09-21T14:13:20Z: an upgrade",
        ),
        (
            Reason.of(ReasonCode.SESSION_BUDGET_USED, used=2, limit=2, period_ns=3_600_000_000_000, free_at_ns=0),
            "the budget of this session is used up: 2 of 2 recoveries in 1 h",
        ),
        (
            Reason.of(ReasonCode.LOCK_HOLDER_STRANGER, pid=7, exe=""),
            "it was held by process 7 (unknown), which is no co-tenant",
        ),
    ],
)
def test_numbers_are_written_for_people(reason: Reason, words: str) -> None:
    assert sentence(reason) == words


def test_a_line_of_a_timeline_says_its_detail_and_then_its_reason() -> None:
    lost = Reason(ReasonCode.LINK_LOST)

    assert detail(Moment(1, "write", "4 bytes")) == "4 bytes"
    assert detail(Moment(1, "custody lost", reason=lost)) == sentence(lost)
    assert detail(Moment(1, "verdict", "unattributed", lost)) == f"unattributed: {sentence(lost)}"
    assert detail(Moment(1, "window closed")) == ""
