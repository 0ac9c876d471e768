"""Rows, files and their versions are told apart by the id of the transcript, whatever a message says."""

import pytest

from sidecar.core import events as ev
from sidecar.core.errors import FingerprintError
from sidecar.core.facts.rows import RowChange, RowVersion
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.questions import TurnStopped
from sidecar.link.changes import Speaker
from sidecar.link.translate import Translator
from sidecar.wire import messages as wire
from sidecar.wire.codec import WireError

ROWS = "/state/agents/main/agent/openclaw-agent.sqlite#5e55"
FILE = "/state/agents/main/sessions/5e55.jsonl"
VERSION = RowVersion(exists=True, generation="g1", seq=1, digest="a" * 64)
FINGERPRINT = "1:2:3:4:5"
WRITER = wire.WireWriter(kind="command", name="help")


def translator(declared: str = "") -> Translator:
    program = Writer(WriterKind.DECLARED, declared, 7) if declared else None
    return Translator("link-1", Speaker(7, program=program))


def committed(
    file: str = ROWS, change: str = "r1", seq: int = 0, *, more: bool = False, op: str = "append"
) -> wire.Committed:
    row = wire.WireRow(seq=seq, sha256="b" * 64)
    return wire.Committed(
        seq=1, at="1", file=file, change=change, op=op, after=VERSION.encode(), writer=WRITER, rows=(row,), more=more
    )


def test_the_parts_of_a_change_are_one_change() -> None:
    link = translator()
    assert link.understand(committed(more=True)) == ()
    [heard] = link.understand(committed(seq=1))
    assert isinstance(heard, ev.FileChanged)
    assert isinstance(heard.change, RowChange)
    assert [row.seq for row in heard.change.rows] == [0, 1]
    assert heard.change.after == VERSION


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(committed(file=FILE), id="rows of a file"),
        pytest.param(committed(op="truncate"), id="an operation that rows do not have"),
        pytest.param(
            wire.Changed(seq=1, at="1", file=ROWS, change="c1", phase="done", op="append", writer=WRITER),
            id="bytes of rows",
        ),
        pytest.param(
            wire.Ask(
                seq=1,
                at="1",
                ask="a",
                window="w",
                file=ROWS,
                fence=VERSION.encode(),
                current="absent",
                run=wire.WireRun(),
            ),
            id="a question about rows",
        ),
    ],
)
def test_what_does_not_go_with_its_transcript_is_refused(message: wire.GatewayMessage) -> None:
    with pytest.raises(WireError):
        translator().understand(message)


def test_a_change_that_is_not_ended_is_refused() -> None:
    link = translator()
    link.understand(committed(more=True))
    with pytest.raises(WireError):
        link.understand(committed(change="r2"))


def test_a_program_outside_of_openclaw_commits_nothing() -> None:
    with pytest.raises(WireError):
        translator("backup").understand(committed())


@pytest.mark.parametrize(("file", "fence"), [(ROWS, FINGERPRINT), (FILE, VERSION.encode())])
def test_a_fence_of_the_other_kind_is_refused(file: str, fence: str) -> None:
    with pytest.raises(FingerprintError):
        translator().understand(wire.FenceSet(seq=1, at="1", window="w", file=file, fence=fence, run=wire.WireRun()))


def test_a_turn_that_is_stopped_over_no_rows_names_the_version_without_rows() -> None:
    tripped = wire.Tripped(
        seq=1, at="1", window="w", file=ROWS, fence=VERSION.encode(), current="absent", run=wire.WireRun()
    )
    [heard] = translator().understand(tripped)
    assert isinstance(heard, TurnStopped)
    assert heard.current == RowVersion.absent()
