"""The fence, on models of the two generations of controllers. The real controllers are driven in tests/e2e.

Rule 2 is what these tests are about: a command names a window, a fence and a file; on any difference, and whatever else
a sidecar says or does not say, the controller decides as it does unpatched.
"""

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec
import pytest

from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from sidecar.wire.codec import encode
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
    approving,
    welcome,
)


def refusing(_connection: Connection, message: Told) -> Iterable[Answer]:
    """No to everything."""
    yield from welcome(_connection, message)
    if message["t"] == "ask":
        yield wire.Refuse(window=message["window"], ask=message["ask"], verdict="external", reason="no")


def lineage(gateway: Gateway) -> list[str]:
    """Ids from the last record to the root."""
    records = {record["id"]: record for record in gateway.records() if record["type"] != "session"}
    here = gateway.records()[-1]["id"]
    path = []
    while here is not None:
        path.append(here)
        here = records[here]["parentId"]
    return path


@pytest.fixture
def gateway(either: Pair) -> Gateway:
    """A gateway with a run that waits for its model; one of each generation."""
    return waiting(either)


@pytest.fixture
def swap(older: Pair) -> Gateway:
    """The same, of the older generation only."""
    return waiting(older)


@pytest.fixture
def sidecar(request: pytest.FixtureRequest) -> Sidecar:
    """The other end of whatever gateway the test has."""
    name = "either" if "gateway" in request.fixturenames else "older"
    pair: Pair = request.getfixturevalue(name)
    return pair.sidecar


def waiting(pair: Pair) -> Gateway:
    pair.sidecar.renew()
    pair.gateway.renew()
    pair.gateway.do("await startRun()")
    pair.sidecar.wait_for_said("fence.set")
    pair.sidecar.sync()
    return pair.gateway


def outcome(sidecar: Sidecar) -> Told:
    [applied] = sidecar.wait_for_said("applied")
    return applied


def end_stopped(gateway: Gateway, write: str = "") -> Told:
    """The run ends with the controller's own takeover."""
    ended: Told = gateway.do(f"return await endRun({write})")
    assert (ended["outcome"], ended["takeover"]) == ("takeover", True)
    return ended


# What is approved


def test_an_approved_step_lets_the_turn_go_on_and_makes_one_line_of_history(gateway: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = approving
    fence = fingerprint_of(gateway.file).encode()
    gateway.do("await coTenant()")
    current = fingerprint_of(gateway.file).encode()
    assert gateway.do("return await endRun()")["outcome"] == "answered"
    assert lineage(gateway) == ["answer", "note", "first"]

    [asked] = sidecar.said("ask")
    told = outcome(sidecar)
    assert (asked["fence"], asked["current"]) == (told["fence"], told["current"]) == (fence, current)
    assert (told["ok"], told["pushed"], told["records"], told["reason"]) == (True, False, ["note"], "")
    assert 0 < int(told["latency"]) < PATIENT_MS * 1_000_000


def test_an_approval_that_came_ahead_needs_no_question(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do("await coTenant()")
    push(sidecar, gateway)
    assert gateway.do("return await endRun()")["outcome"] == "answered"
    assert lineage(gateway) == ["answer", "note", "first"]
    assert (outcome(sidecar)["ok"], outcome(sidecar)["pushed"]) == (True, True)
    assert sidecar.said("ask") == []


def push(sidecar: Sidecar, gateway: Gateway, **other: str) -> None:
    """Approve the step to the file as it is now, or to something else."""
    window = sidecar.said("fence.set")[-1]
    fitting = {
        "window": window["window"],
        "fence": window["fence"],
        "current": fingerprint_of(gateway.file).encode(),
    }
    sidecar.link.say(wire.Approve(**{**fitting, **other}))
    sidecar.sync()


def test_an_approval_that_is_taken_back_has_to_be_asked_for(gateway: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = refusing
    gateway.do("await coTenant()")
    push(sidecar, gateway)
    window = sidecar.said("fence.set")[-1]["window"]
    sidecar.link.say(wire.Refuse(window=window, ask="", verdict="", reason="taken back"))
    sidecar.sync()
    end_stopped(gateway)
    assert len(sidecar.said("ask")) == 1
    assert sidecar.said("applied") == []


def test_an_approval_that_came_ahead_is_of_no_use_after_a_further_change(gateway: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = refusing
    gateway.do("await coTenant()")
    push(sidecar, gateway)
    gateway.do('await coTenant("other", "note")')
    end_stopped(gateway)
    assert len(sidecar.said("ask")) == 1


def test_an_approval_is_used_once(swap: Gateway, sidecar: Sidecar) -> None:
    """The file comes back to the same bytes, but never to the same fingerprint."""
    sidecar.answer = refusing
    swap.do("await coTenant()")
    push(sidecar, swap)
    swap.do('await g.controller.withSessionWriteLock(async () => g.manager.append("own"))')
    swap.do('await coTenant("other", "own")')
    end_stopped(swap)


def test_an_approval_dies_with_its_link(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do("await coTenant()")
    push(sidecar, gateway)
    sidecar.answer = refusing
    sidecar.hang_up(sidecar.link)
    sidecar.wait_for_said("hello")
    sidecar.sync()
    end_stopped(gateway)
    assert sidecar.said("applied") == []


def test_no_question_is_asked_when_nothing_has_changed(gateway: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = refusing
    assert gateway.do("return await endRun()") | {"ms": 0} == {"outcome": "answered", "ms": 0, "takeover": False}
    sidecar.sync()
    assert sidecar.said("ask") == sidecar.said("applied") == sidecar.said("tripped") == []


# What is refused


def test_a_refusal_leaves_the_decision_to_the_controller(gateway: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = refusing
    gateway.do("await coTenant()")
    end_stopped(gateway)
    assert [record["id"] for record in gateway.records()] == ["s1", "first", "note"]
    [tripped] = sidecar.wait_for_said("tripped")
    assert tripped["current"] == fingerprint_of(gateway.file).encode() != tripped["fence"]
    assert sidecar.wait_for_said("fence.closed")[0]["takeover"] is True


def test_a_step_is_refused_when_the_controller_has_another_fence(swap: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = approving
    swap.do("const before = await bundle.readSessionFileFingerprint(file); g.before = before; await coTenant()")
    swap.do("g.controller.forgeFence({ ...g.before, mtimeNs: g.before.mtimeNs + 1n })")
    end_stopped(swap)
    assert (outcome(sidecar)["ok"], outcome(sidecar)["reason"]) == (False, "the fence is another one")
    assert swap.do("return g.manager.leafId") == "first", "the session manager was taught what was not taken in"


def test_a_step_is_refused_when_the_file_changed_after_the_approval(gateway: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = approving
    gateway.do(
        """
        await coTenant();
        globalThis.atComparison = () => { delete globalThis.atComparison; fs.utimesSync(file, 1, 1); };
        """
    )
    end_stopped(gateway)
    assert (outcome(sidecar)["ok"], outcome(sidecar)["reason"]) == (False, "the file changed after the approval")


def grow(file: Path) -> None:
    with file.open("ab") as out:
        out.write(b'{"type":"message","id":"foreign","parentId":"note"}\n')


@pytest.mark.parametrize("meddle", [grow, os.utime])
def test_a_file_that_changes_with_every_approval_is_refused_within_the_bound(
    gateway: Gateway, sidecar: Sidecar, meddle: Callable[[Path], None]
) -> None:
    """A stranger is at work between question and answer, again and again."""
    gateway.wait_at_most(BOUND_MS)
    gateway.do("await coTenant()")

    def meddling(connection: Connection, message: Told) -> Iterable[Answer]:
        yield from welcome(connection, message)
        if message["t"] == "ask":
            meddle(gateway.file)
            yield approval(message)

    sidecar.answer = meddling
    assert end_stopped(gateway)["ms"] < BOUND_MS + SLACK_MS
    sidecar.sync()
    assert all(not told["ok"] for told in sidecar.said("applied"))
    assert "foreign" not in gateway.do("return [...g.manager.byId.keys()]")


def test_a_file_that_a_co_tenant_is_still_writing_to_is_looked_at_again(gateway: Gateway, sidecar: Sidecar) -> None:
    """The lock does not keep this process' own writers out; one that is under way at the check is waited for."""
    sidecar.answer = approving
    gateway.do("await coTenant()")
    code = """
      const late = fsp.appendFile(file, JSON.stringify({ type: "message", id: "late", parentId: "note" }) + "\\n");
      const ended = await endRun();
      await late;
      return ended;
    """
    assert gateway.do(code)["outcome"] == "answered"
    assert lineage(gateway) == ["answer", "late", "note", "first"]


# Rule 3, where the lock lets others of the process in


def test_rule_3_a_co_tenant_that_is_in_the_lock_at_the_check_is_waited_for(gateway: Gateway, sidecar: Sidecar) -> None:
    """And for no longer than it takes: it leaves when the run has begun to wait, and the bound does not come."""
    sidecar.answer = approving
    code = """
      await coTenant();
      const [inside, waiting] = [moment(), moment()];
      const late = guest("late", async () => { inside.now(); await waiting.come; });
      await inside.come;
      const [bounds, end] = timersOf(100, waiting.now);
      const ended = await endRun();
      await late;
      end();
      return [ended.outcome, bounds];
    """
    assert gateway.do(code) == ["answered", [{"rang": False}]]
    assert lineage(gateway) == ["answer", "late", "note", "first"]


def test_rule_3_a_co_tenant_that_comes_while_the_run_writes_waits_outside(gateway: Gateway, sidecar: Sidecar) -> None:
    """And no longer than the run takes."""
    sidecar.answer = approving
    code = """
      await coTenant();
      const [writing, waiting] = [moment(), moment()];
      const late = writing.come.then(() => guest("late", () => after(1)));
      let bounds, end;
      const ended = await endRun(async () => {
        [bounds, end] = timersOf(askBoundMs, waiting.now);
        writing.now();
        await waiting.come;
        g.manager.append("answer");
      });
      await late;
      end();
      return [ended.outcome, bounds];
    """
    assert gateway.do(code) == ["answered", [{"rang": False}]]
    assert lineage(gateway) == ["late", "answer", "note", "first"]


def test_rule_3_a_recovered_run_writes_alone_to_its_end(gateway: Gateway, sidecar: Sidecar) -> None:
    """Its later checks find nothing changed, and a co-tenant may be in the lock all the same."""
    sidecar.answer = approving
    code = """
      await coTenant();
      const [recovered, inside, waiting] = [moment(), moment(), moment()];
      const late = recovered.come.then(() => guest("late", async () => { inside.now(); await waiting.come; }));
      let bounds, end;
      g.rest = async () => {
        await g.controller.withSessionWriteLock(async () => g.manager.append("one"));
        recovered.now();
        await inside.come;
        [bounds, end] = timersOf(100, waiting.now);
        await g.controller.withSessionWriteLock(async () => g.manager.append("two"));
      };
      g.answer();
      await g.run;
      await late;
      end();
      return bounds;
    """
    assert gateway.do(code) == [{"rang": False}]
    assert lineage(gateway) == ["two", "late", "one", "note", "first"]


def test_rule_3_what_a_run_writes_as_it_cleans_up_is_written_alone(swap: Gateway, sidecar: Sidecar) -> None:
    """Cleaning up, the run is given the lock, and writes until it gives it back."""
    sidecar.answer = approving
    code = """
      await coTenant();
      const [writing, waiting] = [moment(), moment()];
      const late = writing.come.then(() => guest("late", () => after(1)));
      let bounds, end;
      g.rest = async () => {
        g.lockOptions.allowReentrant = true;
        const lock = await g.controller.acquireForCleanup();
        [bounds, end] = timersOf(askBoundMs, waiting.now);
        writing.now();
        await waiting.come;
        g.manager.append("end");
        await lock.release();
      };
      g.answer();
      await g.run;
      await late;
      end();
      return bounds;
    """
    assert swap.do(code) == [{"rang": False}]
    assert lineage(swap) == ["late", "end", "note", "first"]


def test_a_run_that_is_alone_waits_for_nobody(gateway: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = approving
    code = """
      await coTenant();
      const [bounds, end] = timersOf(100);
      const ended = await endRun();
      end();
      return [ended.outcome, bounds];
    """
    assert gateway.do(code) == ["answered", []]


def test_a_refused_run_keeps_nobody_out(gateway: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = refusing
    code = """
      await coTenant();
      const [bounds, end] = timersOf(askBoundMs);
      await endRun();
      await coTenant("late");
      end();
      return bounds;
    """
    assert gateway.do(code) == []


def test_who_has_had_the_lock_for_long_is_not_waited_for(gateway: Gateway, sidecar: Sidecar) -> None:
    """The gateway's own watchdog may have taken it away without a word."""
    sidecar.answer = approving
    code = """
      await coTenant();
      const [inside, over] = [moment(), moment()];
      const late = guest("late", async () => { inside.now(); await over.come; });
      await inside.come;
      const { now } = performance;
      performance.now = () => now.call(performance) + 6000;
      const [bounds, end] = timersOf(100);
      const ended = await endRun();
      end();
      delete performance.now;
      over.now();
      await late;
      return [ended.outcome, bounds];
    """
    assert gateway.do(code) == ["answered", []]


@pytest.mark.parametrize("call", ["", "await bundle.callGateway({ params: { idempotencyKey: 'k' }, send: () => {} });"])
def test_nothing_keeps_a_run_that_is_over(swap: Gateway, sidecar: Sidecar, call: str) -> None:
    """Neither its session, which may be many megabytes, nor its controller."""
    sidecar.answer = approving
    code = """
      await bundle.executeJobCore({ execute: async () => {
        await startRun({ trigger: "cron" });
        await coTenant();
        const { append } = g.manager;
        const outcome = endRun(async () => { CALL g.manager.append("answer"); });
        if ((await outcome).outcome !== "answered") throw new Error("lost");
      } }, { id: "j-1", name: "digest" });
      const refs = [g.manager, g.controller, g.lockOptions].map((kept) => new WeakRef(kept));
      for (const name of Object.keys(g)) delete g[name];
      await collectGarbage();
      return refs.map((ref) => ref.deref() === undefined);
    """
    swap.do("await endRun()")
    sidecar.sync()
    swap.do("use(file)")
    assert swap.do(code.replace("CALL", call)) == [True, True, True]


def test_a_run_that_itself_waits_for_a_co_tenant_goes_on_within_the_bound(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.wait_at_most(BOUND_MS)
    sidecar.answer = approving
    code = """
      await coTenant();
      const writing = moment();
      const late = writing.come.then(() => guest("late", () => after(1)));
      return await endRun(async () => {
        writing.now();
        await late;
      });
    """
    ended = gateway.do(code)
    assert ended["outcome"] == "answered"
    assert ended["ms"] < BOUND_MS + SLACK_MS


def test_a_co_tenant_that_does_not_leave_the_lock_is_waited_for_within_the_bound(
    gateway: Gateway, sidecar: Sidecar
) -> None:
    sidecar.answer = approving
    code = """
      await coTenant();
      const [inside, over] = [moment(), moment()];
      const late = guest("late", async () => { inside.now(); await over.come; });
      await inside.come;
      const ended = await endRun();
      over.now();
      await late;
      return ended;
    """
    ended = gateway.do(code)
    assert ended["outcome"] == "answered"
    assert ended["ms"] < BOUND_MS + SLACK_MS


@pytest.mark.parametrize("mode", ["recover", "observe"])
def test_only_a_sidecar_that_recovers_makes_the_run_wait_for_others(
    gateway: Gateway, sidecar: Sidecar, mode: str
) -> None:
    sidecar.answer = refusing
    sidecar.link.say(msgspec.structs.replace(WELCOME, mode=mode))
    sidecar.sync()
    code = """
      await coTenant();
      const [inside, over] = [moment(), moment()];
      const late = guest("late", async () => { inside.now(); await over.come; });
      await inside.come;
      const [bounds, end] = timersOf(100);
      await endRun();
      end();
      over.now();
      await late;
      return bounds;
    """
    assert len(gateway.do(code)) == (1 if mode == "recover" else 0)


def test_a_step_is_refused_when_the_file_changes_while_the_fence_is_moved(swap: Gateway, sidecar: Sidecar) -> None:
    """The step is real; the stranger sits in the session manager, which is what is touched in that moment."""
    sidecar.answer = approving
    swap.do(
        """
        await coTenant();
        const set = g.manager.byId.set.bind(g.manager.byId);
        g.manager.byId.set = (...args) => { fs.utimesSync(file, 1, 1); return set(...args); };
        """
    )
    end_stopped(swap)
    assert (outcome(sidecar)["ok"], outcome(sidecar)["reason"]) == (False, "the file changed while the fence was moved")


@pytest.mark.parametrize(
    "damage",
    [
        "g.manager.getSessionFile = () => '/elsewhere/sessions/s1.jsonl'",
        "g.manager.byId = {}",
        "g.manager.fileEntries = undefined",
        "fs.appendFileSync(file, 'no JSON\\n')",
        'fs.appendFileSync(file, \'{"type":"message","id":"half\')',
    ],
)
def test_a_step_is_refused_when_the_history_can_not_be_continued(
    gateway: Gateway, sidecar: Sidecar, damage: str
) -> None:
    sidecar.answer = approving
    gateway.do(f"await coTenant(); {damage}")
    end_stopped(gateway, "() => {}")
    told = outcome(sidecar)
    assert told["ok"] is False
    assert told["reason"] != ""


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("fs.appendFileSync(file, 'my password is 123\\n')", "a new record is no JSON"),
        ("g.manager.getSessionFile = () => { throw new Error('my password is 123'); }", "Error"),
        ("g.manager.byId.set = () => { throw new TypeError('my password is 123'); }", "TypeError"),
    ],
)
def test_rule_7_a_reason_of_a_refusal_holds_no_text_of_others(
    swap: Gateway, sidecar: Sidecar, damage: str, reason: str
) -> None:
    sidecar.answer = approving
    swap.do(f"await coTenant(); {damage}")
    end_stopped(swap, "() => {}")
    sidecar.wait_for_said("applied")
    sidecar.sync()
    assert any(told["reason"].startswith(reason) for told in sidecar.said("applied"))
    assert not any(b"password" in line for line in sidecar.link.raw)


def test_more_than_some_megabytes_are_not_read_while_the_gateway_waits(swap: Gateway, sidecar: Sidecar) -> None:
    """Reading and parsing block it; a turn that would have to wait for that is better stopped."""
    sidecar.answer = approving
    record = '{ type: "message", id: "long", parentId: "first", text: "x".repeat(5 << 20) }'
    swap.do(f'fs.appendFileSync(file, JSON.stringify({record}) + "\\n")')
    end_stopped(swap, "() => {}")
    assert outcome(sidecar)["reason"] == "there is too much to be read again in time"


# What is late, missing or nonsense


def test_a_sidecar_that_never_answers_costs_the_bound_and_no_more(gateway: Gateway) -> None:
    gateway.wait_at_most(BOUND_MS)
    gateway.do("await coTenant()")
    assert BOUND_MS - 5 <= end_stopped(gateway)["ms"] < BOUND_MS + SLACK_MS


def test_an_answer_that_comes_too_late_moves_nothing(swap: Gateway, sidecar: Sidecar) -> None:
    swap.wait_at_most(BOUND_MS)
    swap.do("await coTenant()")
    end_stopped(swap)
    sidecar.link.say(approval(sidecar.said("ask")[0]))
    sidecar.sync()
    assert swap.do("return g.controller.hasSessionTakeover()") is True
    ask = sidecar.said("ask")[0]["ask"]
    assert [(told["ok"], told["ask"]) for told in sidecar.said("applied")] == [(False, ask)] * 2
    order = [message["t"] for message in sidecar.told if message["t"] in {"ask", "applied", "tripped"}]
    assert order == ["ask", "applied", "tripped", "applied"], "nobody waits any more: said ahead of what follows"


def test_an_answer_in_time_counts_though_the_gateway_was_too_busy_to_hear_it(
    gateway: Gateway, sidecar: Sidecar, tmp_path: Path
) -> None:
    """Its timers go before what has come in meanwhile: the bound of time is the sidecar's, not its own."""
    gateway.wait_at_most(BOUND_MS)
    asked, busy = tmp_path / "asked", tmp_path / "busy"

    def told(connection: Connection, message: Told) -> Iterable[Answer]:
        if message["t"] == "ask":
            asked.touch()
            while not busy.exists():
                time.sleep(0.001)
        yield from approving(connection, message)

    sidecar.answer = told
    code = f"""
      await coTenant();
      const ended = endRun();
      while (!fs.existsSync({str(asked)!r})) await new Promise((on) => setImmediate(on));
      fs.writeFileSync({str(busy)!r}, "");
      const until = performance.now() + {BOUND_MS + 200};
      while (performance.now() < until);
      return await ended;
    """
    assert gateway.do(code)["outcome"] == "answered"


def test_a_link_that_breaks_while_a_question_waits_ends_the_wait(swap: Gateway, sidecar: Sidecar) -> None:
    def breaking(connection: Connection, message: Told) -> Iterable[Answer]:
        yield from welcome(connection, message)
        if message["t"] == "ask":
            sidecar.hang_up(connection)

    sidecar.answer = breaking
    swap.do("await coTenant()")
    assert end_stopped(swap)["ms"] < PATIENT_MS / 2


def wrong_answers(ask: Told) -> dict[str, tuple[Answer, ...]]:
    """What a sidecar might say instead of the yes that was asked for."""
    other_file = f"{ask['current'].rpartition(':')[0]}:1"
    fitting = encode(approval(ask))
    return {
        "another window": (approval(ask, window="1.2.3"),),
        "another fence": (approval(ask, fence=other_file),),
        "another file": (approval(ask, current=other_file),),
        "an absent file": (approval(ask, current="absent"),),
        "fence and file swapped": (approval(ask, fence=ask["current"], current=ask["fence"]),),
        "another question": (approval(ask, ask="0.99"),),
        "ahead, for another fence": (approval(ask, ask="", fence=other_file),),
        "a question of no text": (fitting.replace(b'"ask":"%s"' % ask["ask"].encode(), b'"ask":{"a":1}'),),
        "half a line": (fitting[:-20],),
        "without a newline": (fitting.rstrip(b"\n"),),
        "another type": (fitting.replace(b'"approve"', b'"approved"'),),
        "no type": (fitting.replace(b'"t":"approve",', b""),),
        "a type of no text": (fitting.replace(b'"approve"', b'["approve"]'),),
        "no object": (b"null\n", b"17\n", b"[]\n", b'"approve"\n'),
        "prototypes": (b'{"t":"__proto__"}\n', b'{"__proto__":{"t":"approve"}}\n', b'{"t":"constructor"}\n'),
        "random bytes": (os.urandom(5000) + b"\n",),
        "a huge line": (b'{"t":"approve","x":"' + b"y" * (2 << 20),),
        "a huge message": (fitting[:-2] + b',"x":"' + b"y" * (1 << 20) + b'"}\n', b"garbage\n"),
        "broken UTF-8": (b'{"t":"approve","window":"\xff\xfe"}\n',),
        "a second welcome": (encode(wire.Welcome(protocol=99, sidecar="x", mode="x")),),
        "a rejection": (wire.Reject(protocol=99, reason="line one\nline two\x1b[31m"),),
        "a refusal of something else": (wire.Refuse(window="x", ask="0.99", verdict="x", reason="x"),),
    }


NONSENSE: Final = tuple(wrong_answers({"window": "w", "fence": "1:1:1:1:1", "current": "1:1:1:1:2", "ask": "0.1"}))


UNFINISHED: Final = {"half a line", "without a newline", "a huge line"}
"""After these the link is of no further use."""


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_never_changes_the_decision(swap: Gateway, sidecar: Sidecar, name: str) -> None:
    swap.wait_at_most(BOUND_MS)

    def talking(connection: Connection, message: Told) -> Iterable[Answer]:
        yield from welcome(connection, message)
        if message["t"] == "ask":
            yield from wrong_answers(message)[name]

    sidecar.answer = talking
    swap.do("await coTenant()")
    assert end_stopped(swap)["ms"] < BOUND_MS + SLACK_MS
    assert [record["id"] for record in swap.records()] == ["s1", "first", "note"]
    assert all(not told["ok"] for told in sidecar.said("applied"))
    if name in UNFINISHED:
        sidecar.hang_up(sidecar.link)


def test_an_approval_without_a_difference_changes_nothing(swap: Gateway, sidecar: Sidecar) -> None:
    """Not even for a later check: the fence that it names is gone by then."""
    sidecar.answer = refusing
    push(sidecar, swap)
    assert swap.do('await g.controller.withSessionWriteLock(async () => g.manager.append("own")); return 1') == 1
    swap.do('await coTenant("note", "own")')
    end_stopped(swap)
    assert sidecar.said("applied") == []


# What is told


def test_a_fence_is_told_before_the_lock_is_given_back(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do("await coTenant()")
    kinds = [message["t"] for message in sidecar.told if message["t"] in {"fence.set", "lock.released", "lock.taken"}]
    assert kinds[:3] == ["lock.taken", "fence.set", "lock.released"]


def test_a_fence_moves_with_the_runs_own_writes(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do('await g.controller.withSessionWriteLock(async () => g.manager.append("own"))')
    sidecar.wait_for_said("fence.set", 2)
    assert sidecar.said("fence.set")[-1]["fence"] == fingerprint_of(gateway.file).encode()
    assert sidecar.said("fence.set")[-1]["run"]["run"] == "run-1"
    assert gateway.do("return await endRun()")["outcome"] == "answered"
    assert sidecar.said("ask") == []


def test_what_the_run_does_under_its_lock_is_no_check(swap: Gateway, sidecar: Sidecar) -> None:
    """A reading inside the locked section, and a locked section inside it, see the run's own write."""
    sidecar.answer = refusing
    code = """
      const again = () => g.controller.withSessionWriteLock(async () => g.manager.append("inner"));
      return await endRun(async () => {
        g.manager.append("outer");
        await bundle.readSessionFileFingerprint(file);
        await again();
      });
    """
    assert swap.do(code)["outcome"] == "answered"
    assert sidecar.said("ask") == []


def test_a_cleanup_after_a_change_asks_too(swap: Gateway, sidecar: Sidecar) -> None:
    sidecar.answer = approving
    swap.do("await coTenant()")
    swap.do("g.lock = await g.controller.acquireForCleanup(); g.manager.append('end'); await g.lock.release()")
    assert outcome(sidecar)["ok"] is True
    assert lineage(swap) == ["end", "note", "first"]


def test_a_lock_timeout_is_told_as_such_and_not_as_a_change(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do("g.lockOptions.timeoutMs = 1; fs.writeFileSync(`${file}.lock`, 'held by a stranger')")
    assert "SessionWriteLockTimeoutError" in gateway.do("return await endRun()")["outcome"]
    assert sidecar.wait_for_said("lock.failed")[0]["reason"] == "timeout"
    gateway.do("fs.unlinkSync(`${file}.lock`)")
    sidecar.sync()
    assert sidecar.said("tripped") == []


def test_a_window_ends_with_its_run(gateway: Gateway, sidecar: Sidecar) -> None:
    assert gateway.do("return await endRun()")["outcome"] == "answered"
    [closed] = sidecar.wait_for_said("fence.closed")
    assert closed["window"] == sidecar.said("fence.set")[0]["window"]
    assert closed.get("takeover", False) is False


def test_a_controller_that_is_used_after_its_run_asks_nothing(gateway: Gateway, sidecar: Sidecar) -> None:
    """2026.7 does: what a run has begun, such as the announcement of a subagent, finds its controller in its context.

    Nobody waits for an answer then; a question would make a window that never ends, and a page.
    """
    assert gateway.do("return await endRun()")["outcome"] == "answered"
    gateway.do("await coTenant()")
    late = (
        "return await g.controller.withSessionWriteLock(async () => {}).then(() => 'done', (e) => e.constructor.name)"
    )
    assert gateway.do(late) == "Takeover"
    sidecar.sync()
    assert sidecar.said("ask") == []


def test_a_stop_after_the_end_of_a_run_is_told_and_leaves_no_window_open(gateway: Gateway, sidecar: Sidecar) -> None:
    gateway.do("await endRun(); await coTenant()")
    gateway.do("await g.controller.withSessionWriteLock(async () => {}).catch(() => {})")
    sidecar.sync()
    ends = [m["t"] for m in sidecar.told if m["t"] in {"tripped", "fence.closed"}]
    assert ends == ["fence.closed", "tripped", "fence.closed"]
    assert sidecar.said("fence.closed")[1]["takeover"] is True


def test_a_reading_by_what_a_check_left_behind_moves_no_fence(gateway: Gateway, sidecar: Sidecar) -> None:
    """The fence that is told is the controller's own, not what a timer of an ended call has read."""
    gateway.do(
        """
        let go;
        const gate = new Promise((open) => (go = open));
        await g.controller.withSessionWriteLock(async () => {
          g.late = gate.then(() => bundle.readSessionFileFingerprint(file));
        });
        await coTenant();
        go();
        await g.late;
        """
    )
    sidecar.sync()
    assert fingerprint_of(gateway.file).encode() not in {told["fence"] for told in sidecar.said("fence.set")}
