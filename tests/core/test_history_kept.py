"""Rule 3: a recovered turn loses nothing. What can't be seen to be kept is not taken to be."""

import pytest

from sidecar.core import events as ev
from sidecar.core.decisions import Approve, Refuse
from sidecar.core.facts.reasons import ReasonCode
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.words import sentence
from tests.core.kit import CRON, GATEWAY_PID, HEARTBEAT, OWN, RUN, WINDOW, Bench, fenced, said

HEAD = b'{"type":"session"}\n'
NOTE = b'{"id":"note"}\n'
REPLY = b'{"id":"reply"}\n'
UNREADABLE = "the history can't be read: [Errno 2] No such file or directory"


def recovered() -> Bench:
    """A run that went on after a co-tenant's write, and has ended."""
    bench = fenced()
    bench.cotenant(NOTE)
    answer = bench.ask()
    assert isinstance(answer, Approve)
    bench.apply(answer, "note")
    return bench


def test_a_history_that_can_not_be_read_is_no_proof_of_an_effect() -> None:
    bench = recovered()
    bench.close()
    bench.handle(ev.LineageChecked(window=WINDOW, missing=(), problem=UNREADABLE, at_ns=bench.now()))
    assert bench.incident.recovery.outcome is Outcome.INEFFECTIVE
    assert "No such file" in sentence(bench.incident.recovery.reason)
    assert len(bench.pages) == 1


def test_a_history_that_the_gateway_removed_itself_is_nobodys_loss() -> None:
    bench = recovered()
    bench.remove(HEARTBEAT)
    bench.close()
    bench.handle(ev.LineageChecked(window=WINDOW, missing=(), problem=UNREADABLE, at_ns=bench.now()))
    assert bench.incident.recovery.outcome is Outcome.EFFECTIVE
    assert bench.pages == []


@pytest.mark.parametrize("can_reload", [True, False])
@pytest.mark.parametrize("writer", [OWN, HEARTBEAT])
def test_a_rewrite_that_leaves_out_what_a_co_tenant_wrote_is_refused(writer: Writer, *, can_reload: bool) -> None:
    bench = Bench(can_reload=can_reload)
    bench.fence()
    bench.cotenant(NOTE)
    bench.rewrite(writer, HEAD + REPLY)
    assert isinstance(bench.ask(), Refuse)
    assert bench.incident.verdict is Verdict.CO_TENANT
    assert ReasonCode.REWRITE_LOST_BYTES in {r.code for r in said(bench.incident.recovery.reason)}


def test_a_cut_that_takes_away_what_a_co_tenant_wrote_is_refused() -> None:
    bench = fenced()
    bench.cotenant(NOTE)
    bench.truncate(OWN, len(HEAD))
    assert isinstance(bench.ask(), Refuse)


def test_a_rewrite_that_keeps_what_a_co_tenant_wrote_is_not() -> None:
    bench = fenced()
    bench.cotenant(NOTE)
    bench.rewrite(OWN, HEAD + NOTE + REPLY)
    assert isinstance(bench.ask(), Approve)


def test_a_rewrite_that_leaves_out_the_rewriters_own_record_is_its_own_affair() -> None:
    bench = fenced()
    bench.cotenant(NOTE, HEARTBEAT)
    bench.rewrite(HEARTBEAT, HEAD + REPLY)
    assert isinstance(bench.ask(), Approve)


@pytest.mark.parametrize("kind", [WriterKind.COMPACTION, WriterKind.TRUNCATION])
def test_the_gateways_own_compaction_may_leave_records_out(kind: WriterKind) -> None:
    bench = fenced()
    bench.cotenant(NOTE, CRON)
    bench.rewrite(Writer(kind, "", GATEWAY_PID, RUN.run_id), HEAD + REPLY)
    assert isinstance(bench.ask(), Approve)
