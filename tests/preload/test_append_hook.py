"""A run that writes without its controller's check: what is approved by then is taken in, and nothing else.

On a model of 2026.5.22's fence, and on the session manager that it has from pi. The real gateway is run in
tests/e2e/test_unwatched_fence.py.
"""

import msgspec
import pytest

from sidecar.watch.reading import fingerprint_of
from sidecar.wire import messages as wire
from tests.preload.conftest import Pair
from tests.preload.kit import WELCOME, Gateway, Sidecar
from tests.preload.test_fence import lineage, push

STRANGER = 'fs.appendFileSync(file, JSON.stringify({ type: "message", id: "x", parentId: "note" }) + "\\n")'


@pytest.fixture
def sidecar(unwatched: Pair) -> Sidecar:
    """The other end of the model's link, with nothing said so far."""
    unwatched.sidecar.renew()
    return unwatched.sidecar


@pytest.fixture
def gateway(unwatched: Pair) -> Gateway:
    """A model with a session file of its own."""
    unwatched.gateway.renew()
    return unwatched.gateway


def begin(gateway: Gateway, sidecar: Sidecar, before: str = "") -> None:
    """A run that waits for its model."""
    gateway.do(f"{before}; await startRun()")
    sidecar.wait_for_said("fence.set")
    sidecar.sync()


def begin_approved(gateway: Gateway, sidecar: Sidecar) -> None:
    """A run that waits for its model while a co-tenant's record is approved."""
    begin(gateway, sidecar)
    gateway.do("await coTenant()")
    push(sidecar, gateway)


def end(gateway: Gateway, sidecar: Sidecar, ids: str = '["answer"]', before: str = "") -> None:
    """The run writes and ends; it is never stopped."""
    assert gateway.do(f"return await endUnwatched({ids}, () => {{ {before} }})") == "answered"
    sidecar.wait_for_said("fence.closed")
    assert sidecar.said("trouble") == []


def test_an_approved_record_is_on_the_line_that_the_run_goes_on_with(gateway: Gateway, sidecar: Sidecar) -> None:
    begin(gateway, sidecar)
    fence = fingerprint_of(gateway.file).encode()
    gateway.do("await coTenant()")
    current = fingerprint_of(gateway.file).encode()
    push(sidecar, gateway)
    end(gateway, sidecar, '["answer", "more"]')

    assert lineage(gateway) == ["more", "answer", "note", "first"]
    [told] = sidecar.said("applied")
    assert (told["ok"], told["pushed"], told["records"], told["reason"]) == (True, True, ["note"], "")
    assert (told["fence"], told["current"]) == (fence, current)
    assert int(told["latency"]) > 0
    kinds = [message["t"] for message in sidecar.told]
    assert kinds.index("applied") < max(at for at, kind in enumerate(kinds) if kind == "fence.set")


def test_it_is_taken_in_again_after_the_runs_own_record(gateway: Gateway, sidecar: Sidecar) -> None:
    begin(gateway, sidecar)
    for number in range(2):
        gateway.do(f"await coTenant('n{number}', g.manager.leafId)")
        push(sidecar, gateway)
        gateway.do(f"await writeUnwatched('a{number}')")
        sidecar.sync()
    end(gateway, sidecar)
    assert lineage(gateway) == ["answer", "a1", "n1", "a0", "n0", "first"]
    assert [told["records"] for told in sidecar.said("applied")] == [["n0"], ["n1"]]


def test_a_first_turn_goes_behind_what_the_file_has_begun_with(gateway: Gateway, sidecar: Sidecar) -> None:
    begin(gateway, sidecar, "fs.unlinkSync(file)")
    gateway.do(
        "g.manager.learn({ type: 'message', id: 'hi', parentId: null });"
        "fs.writeFileSync(file, JSON.stringify({ type: 'session', id: 's1' }) + '\\n'); await coTenant('note', null)"
    )
    push(sidecar, gateway)
    end(gateway, sidecar)
    assert [record["id"] for record in gateway.records()] == ["s1", "note", "hi", "answer"]
    assert lineage(gateway) == ["answer", "hi", "note"]
    assert [told["records"] for told in sidecar.said("applied")] == [["note"]]


def assert_untouched(gateway: Gateway, sidecar: Sidecar) -> None:
    """As it is without us: the run's record is a child of the last one that the run knew, and nothing was done."""
    assert lineage(gateway) == ["answer", "first"]
    assert sidecar.said("applied") == []


def test_without_an_approval_nothing_is_touched(gateway: Gateway, sidecar: Sidecar) -> None:
    begin(gateway, sidecar)
    gateway.do("await coTenant()")
    end(gateway, sidecar)
    assert_untouched(gateway, sidecar)


def test_an_approval_that_is_taken_back_touches_nothing(gateway: Gateway, sidecar: Sidecar) -> None:
    begin_approved(gateway, sidecar)
    sidecar.link.say(
        wire.Refuse(window=sidecar.said("fence.set")[-1]["window"], ask="", verdict="", reason="taken back")
    )
    sidecar.sync()
    end(gateway, sidecar)
    assert_untouched(gateway, sidecar)


@pytest.mark.parametrize("field", ["fence", "current"])
def test_an_approval_of_another_step_touches_nothing(gateway: Gateway, sidecar: Sidecar, field: str) -> None:
    begin(gateway, sidecar)
    gateway.do("await coTenant()")
    push(sidecar, gateway, **{field: "1:1:1:1:1"})
    end(gateway, sidecar)
    assert_untouched(gateway, sidecar)


def test_a_byte_behind_the_approved_state_leaves_all_untouched(gateway: Gateway, sidecar: Sidecar) -> None:
    begin_approved(gateway, sidecar)
    gateway.do(STRANGER)
    end(gateway, sidecar)
    assert_untouched(gateway, sidecar)


def test_a_sidecar_that_only_looks_has_nothing_touched(gateway: Gateway, sidecar: Sidecar) -> None:
    begin(gateway, sidecar)
    gateway.do("await coTenant()")
    sidecar.link.say(msgspec.structs.replace(WELCOME, mode="observe"))
    push(sidecar, gateway)
    try:
        end(gateway, sidecar)
    finally:
        sidecar.link.say(WELCOME)
        sidecar.sync()
    assert_untouched(gateway, sidecar)


def test_a_link_that_is_lost_takes_the_approval_with_it(gateway: Gateway, sidecar: Sidecar) -> None:
    begin_approved(gateway, sidecar)
    sidecar.hang_up(sidecar.connections[-1])
    sidecar.wait_for(lambda: sidecar.said("hello"), "another link")
    end(gateway, sidecar)
    assert_untouched(gateway, sidecar)


def test_what_can_not_be_learnt_is_refused_and_the_run_goes_on(gateway: Gateway, sidecar: Sidecar) -> None:
    begin(gateway, sidecar)
    gateway.do("fs.appendFileSync(file, 'no JSON\\n')")
    push(sidecar, gateway)
    assert gateway.do("return await endUnwatched()") == "answered"
    [told] = sidecar.wait_for_said("applied")
    assert (told["ok"], told["reason"], told["records"]) == (False, "a new record is no JSON", [])


def test_a_branch_that_is_made_on_purpose_stays_one(gateway: Gateway, sidecar: Sidecar) -> None:
    begin_approved(gateway, sidecar)
    end(gateway, sidecar, before="g.manager.leafId = null")
    assert lineage(gateway) == ["answer"]
    assert sidecar.said("applied") == []


def test_another_writer_with_this_manager_takes_nothing_in(gateway: Gateway, sidecar: Sidecar) -> None:
    """Only the run itself goes on from what it has learnt."""
    begin_approved(gateway, sidecar)
    gateway.do("g.manager.append('other')")
    sidecar.sync()
    assert sidecar.said("applied") == []
    end(gateway, sidecar)


def test_a_write_within_the_check_is_left_to_the_check(gateway: Gateway, sidecar: Sidecar) -> None:
    begin_approved(gateway, sidecar)
    assert gateway.do("return await endRun()")["outcome"] == "answered"
    assert lineage(gateway) == ["answer", "note", "first"]
    [told] = sidecar.wait_for_said("applied")
    assert (told["ok"], told["pushed"], told["records"]) == (True, True, ["note"])


def test_a_session_whose_events_come_to_the_check_is_not_watched(gateway: Gateway, sidecar: Sidecar) -> None:
    begin(gateway, sidecar, "g.agent = { _processAgentEvent() {} }")
    assert gateway.do("return Object.hasOwn(g.manager, '_appendEntry')") is False
    end(gateway, sidecar)


def test_a_change_without_a_record_needs_nothing(gateway: Gateway, sidecar: Sidecar) -> None:
    begin(gateway, sidecar)
    gateway.do("fs.utimesSync(file, 1, 1)")
    push(sidecar, gateway)
    end(gateway, sidecar)
    assert_untouched(gateway, sidecar)


def test_a_change_while_the_records_are_read_is_refused_and_nothing_learnt(gateway: Gateway, sidecar: Sidecar) -> None:
    """Rule 2: the file is looked at again ahead of what is done."""
    begin_approved(gateway, sidecar)
    gateway.do(
        "const { byId } = g.manager; const has = byId.has.bind(byId);"
        f"byId.has = (id) => {{ byId.has = has; {STRANGER}; return has(id); }}"
    )
    end(gateway, sidecar)
    assert lineage(gateway) == ["answer", "first"]
    [told] = sidecar.said("applied")
    assert (told["ok"], told["reason"], told["records"]) == (False, "the file changed after the approval", [])


def test_an_approval_that_comes_within_the_check_is_left_to_the_check(gateway: Gateway, sidecar: Sidecar) -> None:
    """There the controller looks at the file itself, and so does the adapter."""
    begin(gateway, sidecar)
    gateway.do(
        "const go = new Promise((release) => { g.release = release; });"
        "await new Promise((inside) => {"
        " g.ending = endRun(async () => { inside(); await go; g.manager.append('answer'); }); })"
    )
    gateway.do("fs.appendFileSync(file, JSON.stringify({ type: 'message', id: 'note', parentId: 'first' }) + '\\n')")
    push(sidecar, gateway)
    assert gateway.do("g.release(); return await g.ending")["outcome"] == "answered"
    sidecar.wait_for_said("fence.closed")
    assert_untouched(gateway, sidecar)


def test_a_session_manager_that_the_run_has_left_has_nothing_taken_in(gateway: Gateway, sidecar: Sidecar) -> None:
    begin_approved(gateway, sidecar)
    end(
        gateway,
        sidecar,
        before="const sessionManager = new Manager(); sessionManager.byId.delete('note');"
        "bundle.installSessionEventWriteLock({ session: { sessionManager } })",
    )
    assert_untouched(gateway, sidecar)
