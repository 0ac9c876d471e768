"""Which rule decides, and what it grants."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from sidecar.core.custody.files.examine import permission_used
from sidecar.core.facts.change import Operation
from sidecar.core.facts.grade import Grade
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import AccessRequest, Match, Permission, Rule
from sidecar.core.policy.rules import covers as is_covered
from tests.core.kit import CRON, HEARTBEAT, STRANGER, reported
from tests.core.test_verdict import Scene

CRONS: Final = frozenset({WriterKind.CRON})
PROGRAMS: Final = frozenset({WriterKind.DECLARED})
FILE: Final = "/state/agents/main/sessions/0a1b.jsonl"
WRITER: Final = Writer(WriterKind.CRON, "ops-backup", 7, "run-3", uid=1000, exe="/usr/bin/node")
DEED: Final = AccessRequest(writer=WRITER, did=Permission.APPEND, session="5e55000011112222", file=FILE)


def rule(name: str = "r", may: Permission = Permission.REWRITE, **conditions: Any) -> Rule:  # noqa: ANN401 - any condition
    return Rule(name=name, may=may, **conditions)


def globs(*texts: str, path: bool = False) -> tuple[Glob, ...]:
    return tuple(Glob(text, path) for text in texts)


@pytest.mark.parametrize(
    ("conditions", "exe", "uid", "admitted"),
    [
        ({"executables": globs("/usr/bin/node", path=True)}, "/usr/bin/node", 1000, True),
        ({"executables": globs("/usr/bin/node", path=True)}, "/usr/bin/python3", 1000, False),
        ({"executables": globs("**", path=True)}, "", 1000, False),
        ({"uids": frozenset({1000})}, "", 1000, True),
        ({"uids": frozenset({1000})}, "/usr/bin/node", 0, False),
        ({"uids": frozenset({1000})}, "/usr/bin/node", -1, False),
        ({"executables": globs("/usr/bin/node", path=True), "uids": frozenset({0})}, "/usr/bin/node", 1000, False),
        ({"kinds": frozenset({WriterKind.CRON}), "uids": frozenset({1000})}, "/usr/bin/node", 1000, True),
        ({}, "/usr/bin/node", 1000, False),
    ],
)
def test_a_link_is_admitted_by_what_the_kernel_says_of_its_process_alone(
    conditions: dict[str, Any], exe: str, uid: int, *, admitted: bool
) -> None:
    policy = Policy(rules=(rule("first"), rule("r", unverified=True, **conditions)))
    assert policy.admits(exe, uid) == ("r" if admitted else "")
    assert not Policy(rules=(rule("r", **conditions),)).admits(exe, uid)


@pytest.mark.parametrize(
    ("conditions", "match"),
    [
        ({}, Match.YES),
        ({"kinds": frozenset({WriterKind.CRON, WriterKind.INJECT})}, Match.YES),
        ({"kinds": frozenset({WriterKind.INJECT})}, Match.NO),
        ({"names": globs("ops-*")}, Match.YES),
        ({"names": globs("dev-*")}, Match.NO),
        ({"executables": globs("/usr/bin/*", path=True)}, Match.YES),
        ({"executables": globs("/opt/**", path=True)}, Match.NO),
        ({"uids": frozenset({0, 1000})}, Match.YES),
        ({"uids": frozenset({0})}, Match.NO),
        ({"agents": globs("ma*")}, Match.YES),
        ({"agents": globs("other")}, Match.NO),
        ({"sessions": globs("5e55*")}, Match.YES),
        ({"sessions": globs("0000000000000000")}, Match.NO),
        ({"files": globs("*.jsonl", path=True)}, Match.YES),
        ({"files": globs("/elsewhere/*", path=True)}, Match.NO),
        ({"kinds": frozenset({WriterKind.CRON}), "agents": globs("other")}, Match.NO),
    ],
)
def test_a_rule_matches_when_all_its_conditions_do(conditions: dict[str, Any], match: Match) -> None:
    assert rule(**conditions).matches(DEED) is match


@pytest.mark.parametrize(
    ("conditions", "access"),
    [
        ({"executables": globs("*", path=True)}, replace(DEED, writer=replace(WRITER, exe=""))),
        ({"uids": frozenset({1000})}, replace(DEED, writer=replace(WRITER, uid=-1))),
        ({"sessions": globs("*")}, replace(DEED, session="")),
        ({"agents": globs("*")}, replace(DEED, file="/elsewhere/0a1b.jsonl")),
    ],
)
def test_a_condition_about_something_unknown_neither_holds_nor_fails(
    conditions: dict[str, Any], access: AccessRequest
) -> None:
    asked = rule(**conditions)
    assert asked.matches(access) is Match.UNKNOWN
    assert replace(asked, kinds=frozenset({WriterKind.INJECT})).matches(access) is Match.NO


def test_the_first_rule_that_matches_decides() -> None:
    policy = Policy(
        rules=(
            rule("notes", Permission.NOTHING, kinds=frozenset({WriterKind.INJECT})),
            rule("jobs", Permission.APPEND, kinds=frozenset({WriterKind.CRON}), needs=Grade.KERNEL),
            rule("all", Permission.REWRITE),
        )
    )
    ruling = policy.decide(DEED)
    assert (ruling.rule, ruling.may, ruling.needs, ruling.unknown) == ("jobs", Permission.APPEND, Grade.KERNEL, False)


def test_the_default_decides_where_no_rule_matches() -> None:
    policy = Policy(rules=(rule("notes", kinds=frozenset({WriterKind.INJECT})),), default=Permission.METADATA)
    assert (policy.decide(DEED).rule, policy.decide(DEED).may) == ("default", Permission.METADATA)


def test_the_built_in_policy_trusts_every_writer_of_a_linked_process() -> None:
    for kind in set(WriterKind) - {WriterKind.FOREIGN, WriterKind.DECLARED}:
        assert Policy().decide(replace(DEED, writer=Writer(kind))).allows(Permission.REWRITE)


@pytest.mark.parametrize("rules", [(), (rule("all", Permission.REWRITE),)])
def test_a_foreign_writer_may_do_nothing_whatever_the_policy_says(rules: tuple[Rule, ...]) -> None:
    ruling = Policy(rules=rules).decide(replace(DEED, writer=STRANGER))
    assert (ruling.rule, ruling.may) == ("never", Permission.NOTHING)
    assert not any(ruling.allows(did) for did in Permission)


UNSEEN: Final = replace(DEED, writer=replace(WRITER, exe=""))


def test_a_rule_that_forbids_does_so_where_it_is_not_known_whether_it_matches() -> None:
    deny = rule("no-python", Permission.NOTHING, executables=globs("/usr/bin/python3", path=True))
    ruling = Policy(rules=(deny,)).decide(UNSEEN)
    assert (ruling.rule, ruling.may, ruling.unknown) == ("no-python", Permission.NOTHING, True)
    assert Policy(rules=(deny,)).decide(DEED).may is Permission.REWRITE


def test_a_rule_that_permits_does_not_where_it_is_not_known_whether_it_matches() -> None:
    allow = rule("node", Permission.REWRITE, executables=globs("/usr/bin/node", path=True))
    policy = Policy(rules=(allow,), default=Permission.NOTHING)
    assert policy.decide(UNSEEN).may is Permission.NOTHING
    assert policy.decide(DEED).may is Permission.REWRITE


def test_a_rule_that_may_match_raises_the_evidence_that_is_asked_for() -> None:
    strict = rule("strict", Permission.REWRITE, executables=globs("/usr/bin/node", path=True), needs=Grade.KERNEL)
    assert Policy(rules=(strict,)).decide(UNSEEN).needs is Grade.KERNEL


@pytest.mark.parametrize("granted", list(Permission))
@pytest.mark.parametrize("did", list(Permission))
def test_a_grant_includes_those_ahead_of_it(granted: Permission, did: Permission) -> None:
    order = [Permission.NOTHING, Permission.METADATA, Permission.APPEND, Permission.REWRITE]
    ruling = Policy(default=granted).decide(DEED)
    assert ruling.allows(did) is (granted is not Permission.NOTHING and order.index(did) <= order.index(granted))


@pytest.mark.parametrize(
    ("act", "did"),
    [
        (lambda s: s.append(CRON), Permission.APPEND),
        (lambda s: s.touch(CRON), Permission.METADATA),
        (lambda s: s.rewrite(CRON, b"all anew\n"), Permission.REWRITE),
        (lambda s: s.truncate(CRON, 3), Permission.REWRITE),
        (lambda s: s.remove(CRON), Permission.REWRITE),
        (lambda s: s.overwrite(CRON, 2, b"x"), Permission.REWRITE),
        (lambda s: s.overwrite(CRON, len(s.disk.data), b"x\n"), Permission.APPEND),
        (lambda s: (s.touch(CRON), s.append(CRON), s.touch(CRON)), Permission.APPEND),
        (lambda s: s.rewrite(HEARTBEAT, b"all anew\n"), Permission.METADATA),
    ],
)
def test_what_a_writer_did_is_the_most_of_its_reports(act: Callable[[Scene], object], did: Permission) -> None:
    scene = Scene()
    act(scene)
    assert permission_used(scene.changes, CRON) is did


def test_a_write_at_a_place_that_is_not_known_counts_as_a_rewrite() -> None:
    change = reported(Operation.WRITE, CRON, b"x\n", change_id="c", span=(1, 1))
    assert permission_used([change], CRON) is Permission.REWRITE


@pytest.mark.parametrize(
    ("file", "agent"),
    [
        (FILE, "main"),
        ("/s/agents/ops-1/sessions/x.jsonl", "ops-1"),
        ("/s/agents/main/x.jsonl", ""),
        ("x.jsonl", ""),
        ("", ""),
    ],
)
def test_the_agent_is_read_from_the_path(file: str, agent: str) -> None:
    assert replace(DEED, file=file).agent == agent


@pytest.mark.parametrize(
    ("above", "below", "covers"),
    [
        ({}, {"kinds": frozenset({WriterKind.CRON})}, True),
        ({"kinds": frozenset({WriterKind.CRON})}, {}, False),
        ({"names": globs("a", "b")}, {"names": globs("a")}, True),
        ({"names": globs("a")}, {"names": globs("a", "b")}, False),
        ({"kinds": CRONS, "names": globs("a")}, {"kinds": CRONS, "names": globs("a"), "uids": frozenset({1})}, True),
        # Of a program outside of OpenClaw the upper one asks for the token, or does not decide.
        ({"names": globs("a")}, {"names": globs("a"), "uids": frozenset({1})}, False),
        ({"kinds": PROGRAMS}, {"kinds": PROGRAMS, "names": globs("a")}, False),
        ({"kinds": PROGRAMS, "names": globs("a")}, {"kinds": PROGRAMS, "names": globs("a"), "token": True}, True),
        ({}, {"kinds": PROGRAMS, "names": globs("a")}, False),
        ({}, {"kinds": PROGRAMS}, True),
        ({"names": globs("*")}, {"names": globs("a")}, False),
    ],
)
def test_a_rule_covers_what_is_written_to_be_part_of_it(
    above: dict[str, Any], below: dict[str, Any], *, covers: bool
) -> None:
    assert is_covered(rule(**above).conditions, rule(**below).conditions) is covers
