"""No text of a transcript leaves the process (rule 7), whatever comes in the fields that should hold none."""

import json
from typing import Final

import pytest

from sidecar.core import events as ev
from sidecar.core.facts.change import Operation
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.outcomes import Answer
from sidecar.core.verdict.incident import Outcome
from sidecar.core.verdict.judge import Verdict
from sidecar.telemetry.names.attributes import error_type, token
from tests.telemetry import facts
from tests.telemetry.conftest import Bench
from tests.telemetry.facts import FILE, GATEWAY, MS, SECOND, T0

TEXT: Final = "My password is hunter2, please remember"

SPOKEN = Reason.of(ReasonCode.PRELOAD_REFUSED, problem=TEXT)


def everything(bench: Bench) -> str:
    spans = "".join(span.to_json() for span in bench.spans())
    return spans + bench.telemetry.render_metrics()[0].decode()


def test_text_in_any_field_never_appears(bench: Bench) -> None:
    writer = Writer(kind=WriterKind.INJECT, name=TEXT, pid=1, run_id=TEXT)
    run = Run(run_id=TEXT, kind=TEXT, name=TEXT, session=TEXT, trace_id=TEXT, span_id=TEXT)
    incident = facts.incident(Verdict.EXTERNAL, Outcome.REFUSED, reason=SPOKEN, turn_lost=True)
    bench.tell(
        facts.opened(gateway=replace(GATEWAY, version=TEXT)),
        facts.fence(T0, run=run),
        facts.taken(T0 + 1, writer),
        facts.wrote(T0 + 2, writer, operation=Operation.REWRITE),
        facts.released(T0 + 3, writer),
        ev.TimelineNote(file=FILE, run_id=TEXT, what=TEXT, detail=TEXT, at_ns=T0 + 4),
        ev.AccountBroken(loss=Loss.OTHER, reason=SPOKEN, at_ns=T0 + 5),
        facts.asked(T0 + 6, run=run),
        facts.changed(incident),
        facts.given(incident, Answer.REFUSED),
        replace(facts.applied(T0 + 7, ok=False), reason=TEXT, records=(TEXT,)),
        facts.tripped(T0 + 8, run=run),
        facts.closed(T0 + 9, takeover=True),
        facts.changed(replace(incident, closed_at_ns=T0 + 9)),
    )
    fields = dict.fromkeys(("run", "call", "session", "provider", "model", "state", "reason", "error", "trace"), TEXT)
    for event in ("model.call.started", "model.call.error", "session.stuck", TEXT):
        bench.telemetry.diagnostic(facts.diagnostic(event, T0 + SECOND, **fields), GATEWAY)
    bench.telemetry.lock_failed(facts.lock_failed(T0 + SECOND, reason=TEXT, run=TEXT))
    bench.telemetry.rejected(TEXT)
    bench.telemetry.shutdown()
    assert len(bench.spans()) == 7
    shown = everything(bench)
    for word in ("hunter2", "password", "remember"):
        assert word not in shown


def test_ids_stay_as_they_are_and_sentences_become_digests() -> None:
    for name in ("", "run-1", "0a1b2c3d-4e5f", "daily-digest", "claude-sonnet-4-5", "openai/gpt-5.1:beta", "a@b+c"):
        assert token(name) == name
    assert token("two words") == token("two words")
    assert token("two words").startswith("sha256:")
    assert token("line\nbreak") != token("line break")


def test_an_error_type_is_a_word_or_other() -> None:
    assert error_type("timeout") == "timeout"
    assert error_type("TypeError") == "TypeError"
    assert error_type("could not read: hello") == "_OTHER"
    assert error_type("") == "_OTHER"


@pytest.mark.parametrize("path", ["/s/\udcff\udc80.jsonl", "/s/with\nnewline.jsonl", "/s/" + "x" * 5000])
def test_a_strange_path_does_not_harm_the_span(bench: Bench, path: str) -> None:
    bench.tell(facts.fence(T0, file=path), facts.closed(T0 + MS))
    shown = json.loads(bench.span("session.fence").to_json())["attributes"]["file.path"]
    assert shown.encode("utf-8").startswith(b"/s/")
    assert len(shown) <= 512 * 6
