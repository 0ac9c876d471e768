"""Programs outside of OpenClaw that announce their writes, as the core takes them."""

from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import Approve, Refuse
from sidecar.core.facts.change import Operation
from sidecar.core.facts.gateway import Gateway, Role
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import FILE, Bench, naming

BACKUP_LINK: Final = "link-9"
BACKUP: Final = Writer(WriterKind.DECLARED, "backup", 900, uid=1000, exe="/usr/bin/python3", token=True)
NOTE: Final = b'{"type":"custom"}\n'


@pytest.fixture
def bench() -> Bench:
    """A fenced file, and a co-tenant outside of OpenClaw."""
    made = Bench(policy=naming("backup"))
    made.fence()
    gateway = Gateway(BACKUP_LINK, BACKUP.pid, role=Role.COTENANT)
    made.handle(ev.LinkOpened(gateway=gateway, at_ns=made.now()))
    return made


def _gone(bench: Bench, *, clean: bool) -> None:
    bench.handle(ev.LinkLost(link=BACKUP_LINK, clean=clean, at_ns=bench.now()))


@pytest.mark.parametrize("clean", [True, False], ids=["said-goodbye", "killed"])
def test_what_it_announced_and_finished_is_recovered_however_it_ended(bench: Bench, *, clean: bool) -> None:
    call = bench.begin(Operation.APPEND, BACKUP, NOTE, link=BACKUP_LINK)
    bench.disk.append(NOTE)
    bench.end(call)
    _gone(bench, clean=clean)

    assert isinstance(bench.ask(), Approve)
    assert bench.incident.verdict is Verdict.CO_TENANT
    assert [(w.kind, w.name, w.pid) for w in bench.incident.writers] == [("declared", "backup", 900)]


def test_a_write_that_it_was_killed_in_is_not_recovered_and_does_not_page(bench: Bench) -> None:
    bench.begin(Operation.APPEND, BACKUP, NOTE, link=BACKUP_LINK)
    bench.disk.append(NOTE[:7])
    _gone(bench, clean=False)

    answer = bench.ask()
    assert isinstance(answer, Refuse)
    assert answer.verdict is Verdict.UNATTRIBUTED
    assert bench.pages == []


def test_what_it_did_not_announce_is_external_and_pages_once(bench: Bench) -> None:
    bench.disk.append(NOTE)
    _gone(bench, clean=False)

    answer = bench.ask()
    assert isinstance(answer, Refuse)
    assert answer.verdict is Verdict.EXTERNAL
    assert len(bench.pages) == 1


def test_a_strangers_byte_beside_its_own_is_external(bench: Bench) -> None:
    call = bench.begin(Operation.APPEND, BACKUP, NOTE, link=BACKUP_LINK)
    bench.disk.append(NOTE)
    bench.disk.append(b"x", foreign=1)
    bench.end(call)

    answer = bench.ask()
    assert isinstance(answer, Refuse)
    assert answer.verdict is Verdict.EXTERNAL


def test_its_end_leaves_custody_of_other_files_alone(bench: Bench) -> None:
    call = bench.begin(Operation.APPEND, BACKUP, NOTE, link=BACKUP_LINK)
    bench.disk.append(NOTE)
    bench.end(call)
    other = bench.begin(Operation.APPEND, BACKUP, NOTE, link=BACKUP_LINK)
    bench.handle(ev.FileChanged(file=FILE.replace("0a1b", "ffff"), change=other))
    _gone(bench, clean=False)

    assert [w.account.broken for w in bench.engine.windows] == [Reason(ReasonCode.GONE_WHILE_WRITING)]


def test_what_it_announced_is_no_incident_where_no_gateway_is_linked_either() -> None:
    """The watch looks at the file a moment later, when the co-tenant may have said goodbye."""
    bench = Bench(linked=False)
    bench.handle(ev.LinkOpened(gateway=Gateway(BACKUP_LINK, BACKUP.pid, role=Role.COTENANT), at_ns=bench.now()))
    call = bench.begin(Operation.APPEND, BACKUP, NOTE, link=BACKUP_LINK)
    bench.disk.append(NOTE)
    bench.end(call)
    _gone(bench, clean=True)
    bench.look()
    assert bench.incidents == {}

    bench.disk.append(b"somebody else's\n", foreign=1)
    bench.look()
    assert [i.verdict for i in bench.incidents.values()] == [Verdict.UNATTRIBUTED]
