"""What holds for every policy: it can only narrow what the evidence allows."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.custody.kernel_evidence import NO_KERNEL_EVIDENCE
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.process import Process
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import WriterKind
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Policy, Unchanged
from sidecar.core.policy.rules import Permission, Rule
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import CHANNEL, CRON, HEARTBEAT, Evidence, judge
from tests.core.test_verdict import Scene, knowing, scenes

_ValueT = TypeVar("_ValueT")
FILE: Final = "/state/agents/main/sessions/0a1b.jsonl"
NARROWEST: Final = Policy(default=Permission.NOTHING, unchanged=Unchanged(allow=False), needs=Grade.KERNEL)
GRADES: Final = st.sampled_from((Grade.BYTES, Grade.KERNEL))


def subset(*texts: str, path: bool = False) -> st.SearchStrategy[tuple[Glob, ...]]:
    return st.lists(st.sampled_from([Glob(t, path) for t in texts]), unique=True, max_size=2).map(tuple)


def built(kind: Callable[..., _ValueT], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[_ValueT]:
    """Values of a kind; `builds` wants the fields' types, which a module may import for checking only."""
    return st.fixed_dictionaries(fields).map(lambda found: kind(**found))


RULES: Final = built(
    Rule,
    name=st.sampled_from("abc"),
    kinds=st.frozensets(st.sampled_from((WriterKind.CRON, WriterKind.CHANNEL, WriterKind.HEARTBEAT)), max_size=2),
    names=subset("daily-*", "telegram", "*"),
    executables=subset("/usr/bin/node", "/opt/**", path=True),
    uids=st.frozensets(st.sampled_from((0, 1000)), max_size=1),
    agents=subset("main", "other"),
    sessions=subset("5e55*", "0000000000000000"),
    files=subset("*.jsonl", "/elsewhere/*", path=True),
    may=st.sampled_from(Permission),
    needs=st.none() | GRADES,
)
POLICIES: Final = built(
    Policy,
    rules=st.lists(RULES, max_size=4).map(tuple),
    default=st.sampled_from(Permission),
    needs=GRADES,
    unchanged=built(Unchanged, allow=st.booleans(), executables=subset("/usr/bin/rsync", path=True)),
)


def evidence(scene: Scene, exes: Sequence[str], uid: int, session: str, file: str) -> Evidence:
    """The scene's, with writers of which more or less is known."""
    known = dict(zip((CRON, CHANNEL, HEARTBEAT), exes, strict=True))
    changes = tuple(replace(c, writer=replace(c.writer, exe=known.get(c.writer, ""), uid=uid)) for c in scene.changes)
    return replace(knowing(scene.evidence(), changes=changes), session=session, file=file)


EVIDENCE: Final = st.builds(
    evidence,
    scenes(),
    st.tuples(*[st.sampled_from(("", "/usr/bin/node", "/opt/tool"))] * 3),
    st.sampled_from((-1, 0, 1000)),
    st.sampled_from(("", "5e55000011112222")),
    st.sampled_from((FILE, "/elsewhere/x.jsonl", "")),
)


@given(EVIDENCE, POLICIES)
@settings(max_examples=250, derandomize=True)
def test_no_policy_allows_more_than_the_built_in_one(found: Evidence, policy: Policy) -> None:
    """Which crosses no unexplained byte: see test_verdict. And no policy makes a takeover less than one."""
    widest = judge(found, Policy())
    judgement = judge(found, policy)
    assert widest.may_recover or not judgement.may_recover
    assert (judgement.verdict is Verdict.EXTERNAL) == (widest.verdict is Verdict.EXTERNAL)
    if judgement.unexplained:
        assert not judgement.may_recover


@st.composite
def narrowed(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """A policy, and one that grants less here or there and nowhere more."""
    policy = draw(POLICIES)
    return policy, draw(st.sampled_from((_lower, _stricter, _forbid_first, _no_unchanged)))(draw, policy)


def _lower(draw: st.DrawFn, policy: Policy) -> Policy:
    def less(may: Permission) -> Permission:
        return draw(st.sampled_from([m for m in Permission if m.strength <= may.strength]))

    rules = tuple(replace(rule, may=less(rule.may)) for rule in policy.rules)
    return replace(policy, rules=rules, default=less(policy.default))


def _stricter(draw: st.DrawFn, policy: Policy) -> Policy:
    rules = tuple(replace(r, needs=Grade.KERNEL if draw(st.booleans()) else r.needs) for r in policy.rules)
    return replace(policy, rules=rules)


def _forbid_first(draw: st.DrawFn, policy: Policy) -> Policy:
    return replace(policy, rules=(replace(draw(RULES), may=Permission.NOTHING), *policy.rules))


def _no_unchanged(_draw: st.DrawFn, policy: Policy) -> Policy:
    return replace(policy, unchanged=Unchanged(allow=False))


@given(EVIDENCE, narrowed())
@settings(max_examples=250, derandomize=True)
def test_a_narrower_policy_never_recovers_more(found: Evidence, policies: tuple[Policy, Policy]) -> None:
    wide, narrow = policies
    assert judge(found, wide).may_recover or not judge(found, narrow).may_recover


@given(EVIDENCE)
@settings(max_examples=50, derandomize=True)
def test_the_narrowest_policy_recovers_nothing(found: Evidence) -> None:
    assert not judge(found, NARROWEST).may_recover


def touched(*processes: Process) -> Evidence:
    scene = Scene()
    scene.disk.touch()
    return replace(scene.evidence(), kernel_evidence=replace(NO_KERNEL_EVIDENCE, touched=processes))


RSYNC: Final = Process(pid=5, exe="/usr/bin/rsync", uid=1000)
TOUCH: Final = Process(pid=6, exe="/usr/bin/touch", uid=0)


@pytest.mark.parametrize(
    ("unchanged", "found", "may"),
    [
        (Unchanged(), touched(TOUCH), True),
        (Unchanged(allow=False), touched(RSYNC), False),
        (Unchanged(executables=(Glob("/usr/bin/rsync", path=True),)), touched(RSYNC), True),
        (Unchanged(executables=(Glob("/usr/bin/rsync", path=True),)), touched(RSYNC, TOUCH), False),
        (Unchanged(executables=(Glob("*sync", path=True),)), touched(replace(RSYNC, exe="")), False),
        (Unchanged(uids=frozenset({1000})), touched(RSYNC), True),
        (Unchanged(uids=frozenset({1000})), touched(TOUCH), False),
        (Unchanged(uids=frozenset({1000})), replace(touched(RSYNC), kernel_evidence=NO_KERNEL_EVIDENCE), False),
    ],
)
def test_a_change_without_bytes_may_be_left_to_some_programs(
    unchanged: Unchanged, found: Evidence, *, may: bool
) -> None:
    judgement = judge(found, Policy(unchanged=unchanged))
    assert (judgement.verdict, judgement.may_recover) == (Verdict.UNCHANGED, may)
    assert judgement.rule == "unchanged"


def test_no_program_that_is_named_may_change_bytes() -> None:
    """Rule 1: `unchanged` is about changes without bytes only."""
    scene = Scene()
    scene.disk.append(b"strange\n", foreign=1)
    found = replace(scene.evidence(), kernel_evidence=replace(NO_KERNEL_EVIDENCE, touched=(RSYNC,)))
    policy = Policy(unchanged=Unchanged(executables=(Glob("/usr/bin/rsync", path=True),)))
    assert judge(found, policy).verdict is Verdict.EXTERNAL
