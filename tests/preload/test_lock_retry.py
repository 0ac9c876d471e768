"""A lock timeout inside a window: with the sidecar's word the run waits on, without it all is as it is unpatched.

On models of the two generations of controllers; tests/compat drives the real ones.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import pytest

from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from tests.preload.conftest import Pair
from tests.preload.kit import (
    BOUND_MS,
    PATIENT_MS,
    SLACK_MS,
    WELCOME,
    Answer,
    Connection,
    Gateway,
    Sidecar,
    Told,
    approval,
)

MAX_QUESTIONS: Final = 5
ANSWERING: Final = msgspec.structs.replace(WELCOME, answers=wire.ANSWERS)

HELD: Final = "g.lock = await bundle.acquireSessionWriteLock({ sessionFile: file });"
"""A co-tenant of the same process takes the lock."""


def answers(
    make: Callable[[Told], Iterable[Answer]], hello: wire.Welcome = ANSWERING
) -> Callable[[Connection, Told], Iterable[Answer]]:
    """A sidecar that answers questions about locks."""

    def answer(_connection: Connection, message: Told) -> Iterable[Answer]:
        if message["t"] == "hello":
            yield hello
        if message["t"] == "ask.lock":
            yield from make(message)
        if message["t"] == "ask":
            yield approval(message)

    return answer


def yes(message: Told) -> Iterable[Answer]:
    """It may wait."""
    yield wire.Wait(window=message["window"], ask=message["ask"])


def no(message: Told) -> Iterable[Answer]:
    """It may not."""
    yield wire.Refuse(window=message["window"], ask=message["ask"], verdict="", reason="a stranger")


def link(pair: Pair, answer: Callable[[Connection, Told], Iterable[Answer]]) -> tuple[Gateway, Sidecar]:
    """A gateway with a run in its window, linked anew to a sidecar that answers so; the run waits 20 ms for a lock."""
    sidecar, gateway = pair.sidecar, pair.gateway
    sidecar.renew()
    before = len(sidecar.connections)
    sidecar.answer = answer
    sidecar.hang_up(sidecar.link)
    sidecar.wait_for(lambda: len(sidecar.connections) > before and sidecar.link.greeted, "another link")
    sidecar.sync()
    gateway.renew()
    gateway.do("await startRun(); g.lockOptions.timeoutMs = 20;")
    sidecar.sync()
    return gateway, sidecar


def end_held(gateway: Gateway, sidecar: Sidecar) -> Told:
    """The run ends while a co-tenant keeps the lock, by the controller's own error."""
    ended: Told = gateway.do(f"{HELD} return await endRun()")
    gateway.do("await g.lock.release()")
    sidecar.sync()
    assert "SessionWriteLockTimeoutError" in ended["outcome"]
    assert ended["takeover"] is True
    return ended


def test_a_run_that_may_wait_has_the_lock_in_the_end_and_no_takeover(either: Pair) -> None:
    gateway, sidecar = link(either, answers(yes))
    fence = fingerprint_of(gateway.file).encode()
    ended = gateway.do(f"{HELD} setTimeout(() => g.lock.release(), 60); return await endRun()")
    assert (ended["outcome"], ended["takeover"]) == ("answered", False)
    sidecar.sync()
    asked = sidecar.said("ask.lock")
    assert (asked[0]["fence"], asked[0]["file"]) == (fence, str(gateway.file.resolve()))
    assert 20_000_000 <= int(asked[0]["waited"]) < int(asked[-1]["waited"]) + 1
    assert asked[0]["run"]["run"] == "run-1"
    [waited] = sidecar.said("lock.waited")
    assert (waited["ok"], waited["tries"]) == (True, len(asked))
    assert int(waited["waited"]) >= 50_000_000
    assert sidecar.said("fence.closed")[-1].get("takeover", False) is False


def test_a_co_tenant_may_write_meanwhile_and_its_record_is_on_the_line_of_history(either: Pair) -> None:
    gateway, _ = link(either, answers(yes))
    write = 'fs.appendFileSync(file, JSON.stringify({ type: "message", id: "note", parentId: "first" }) + "\\n");'
    ended = gateway.do(f"{HELD} {write} setTimeout(() => g.lock.release(), 60); return await endRun()")
    assert (ended["outcome"], ended["takeover"]) == ("answered", False)
    assert [(r["id"], r.get("parentId")) for r in gateway.records()[1:]] == [
        ("first", None),
        ("note", "first"),
        ("answer", "note"),
    ]


def test_a_lock_that_is_never_given_back_is_waited_for_a_bounded_number_of_times(either: Pair) -> None:
    gateway, sidecar = link(either, answers(yes))
    end_held(gateway, sidecar)
    assert len(sidecar.said("ask.lock")) == MAX_QUESTIONS
    [waited] = sidecar.said("lock.waited")
    assert (waited.get("ok", False), waited["tries"]) == (False, MAX_QUESTIONS)


def test_a_refusal_gives_the_controller_the_very_error(either: Pair) -> None:
    gateway, sidecar = link(either, answers(no))
    end_held(gateway, sidecar)
    assert len(sidecar.said("ask.lock")) == 1
    assert sidecar.said("lock.waited") == []


def test_a_sidecar_that_never_answers_costs_the_bound_and_no_more(either: Pair) -> None:
    gateway, sidecar = link(either, answers(lambda _message: ()))
    gateway.wait_at_most(BOUND_MS)
    assert BOUND_MS - 5 <= end_held(gateway, sidecar)["ms"] < 20 + BOUND_MS + SLACK_MS


def test_a_sidecar_that_does_not_know_the_question_is_not_asked(either: Pair) -> None:
    """An older one: it would take the question for malformed, and cut the link."""
    gateway, sidecar = link(either, answers(yes, WELCOME))
    assert end_held(gateway, sidecar)["ms"] < PATIENT_MS / 2
    assert sidecar.said("ask.lock") == []


@pytest.mark.parametrize(
    "nonsense",
    [
        {"window": "1.2.3"},
        {"ask": "0.99"},
        {"t": "approve", "fence": "1:1:1:1:1", "current": "1:1:1:1:1"},
        {"t": "waits"},
    ],
    ids=str,
)
def test_nonsense_is_no_word_to_wait(older: Pair, nonsense: dict[str, Any]) -> None:
    def talk(message: Told) -> Iterable[Answer]:
        fields = {"t": "wait", "window": message["window"], "ask": message["ask"], **nonsense}
        yield str(fields).replace("'", '"').encode() + b"\n"

    gateway, sidecar = link(older, answers(talk))
    gateway.wait_at_most(BOUND_MS)
    end_held(gateway, sidecar)


def test_another_error_of_the_lock_is_no_timeout(older: Pair) -> None:
    gateway, sidecar = link(older, answers(yes))
    ended = gateway.do('g.lockOptions.sessionFile = "/nowhere/sessions/s.jsonl"; return await endRun()')
    assert "ENOENT" in ended["outcome"]
    sidecar.sync()
    assert sidecar.said("ask.lock") == []


def test_a_timeout_ahead_of_the_window_takes_its_course(older: Pair) -> None:
    """The first lock of a run: there is no fence, and so nothing that sticks."""
    gateway, sidecar = link(older, answers(yes))
    assert gateway.do("return await endRun()")["outcome"] == "answered"
    code = f"""
      {HELD}
      const params = {{ acquireSessionWriteLock: bundle.acquireSessionWriteLock,
        lockOptions: {{ sessionFile: file, timeoutMs: 20 }} }};
      const met = await bundle.createEmbeddedAttemptSessionLockController(params).catch((error) => error.name);
      await g.lock.release();
      return met;
    """
    assert gateway.do(code) == "SessionWriteLockTimeoutError"
    sidecar.sync()
    assert sidecar.said("ask.lock") == []
