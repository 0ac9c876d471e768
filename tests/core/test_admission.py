"""Programs outside of OpenClaw: none is a co-tenant unless the policy names it, and its own word is no proof."""

from typing import Any, Final

import pytest

from sidecar.core.facts.reasons import ReasonCode
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.glob import Glob
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import AccessRequest, Permission, Rule

PYTHON: Final = "/usr/bin/python3.11"
BACKUP: Final = Writer(WriterKind.DECLARED, "backup", 900, uid=1000, exe=PYTHON)
PROVED: Final = replace(BACKUP, token=True)
FILE: Final = "/state/agents/main/sessions/0a1b.jsonl"
NAMES: Final[dict[str, Any]] = {"names": (Glob("backup"),)}
EXE: Final[dict[str, Any]] = {"executables": (Glob(PYTHON, path=True),)}
UIDS: Final[dict[str, Any]] = {"uids": frozenset({1000})}
OTHERS: Final[dict[str, Any]] = {"agents": (Glob("ops"),)}


def rule(name: str = "r", may: Permission = Permission.APPEND, **conditions: Any) -> Rule:  # noqa: ANN401 - any condition
    return Rule(name=name, may=may, **({"kinds": frozenset({WriterKind.DECLARED})} | conditions))


def appends(policy: Policy, program: Writer) -> bool:
    request = AccessRequest(writer=program, did=Permission.APPEND, session="5e55000011112222", file=FILE)
    return policy.decide(request).allows(request.did)


@pytest.mark.parametrize("default", list(Permission))
@pytest.mark.parametrize("program", [BACKUP, PROVED])
def test_by_default_no_program_is_a_co_tenant(default: Permission, program: Writer) -> None:
    policy = Policy(default=default)
    refused = policy.refusal(program)
    assert refused is not None
    assert refused.code is ReasonCode.NOT_DECLARED_BY_POLICY
    assert not appends(policy, program)


@pytest.mark.parametrize(
    ("conditions", "program", "admitted"),
    [
        (NAMES, PROVED, True),
        (NAMES, BACKUP, False),
        (EXE, BACKUP, True),
        (UIDS, BACKUP, True),
        (NAMES | EXE, BACKUP, True),
        (NAMES | UIDS, BACKUP, True),
        (NAMES | EXE | {"token": True}, BACKUP, False),
        (NAMES | EXE | {"token": True}, PROVED, True),
        (UIDS | {"token": True}, BACKUP, False),
        (NAMES | EXE, replace(PROVED, name="evil"), False),
        (NAMES | EXE, replace(PROVED, exe="/usr/bin/perl"), False),
        (NAMES | EXE, replace(PROVED, exe=""), False),
        (NAMES | UIDS, replace(PROVED, uid=1001), False),
        (NAMES | UIDS, replace(PROVED, uid=-1), False),
        (NAMES | {"kinds": frozenset()}, PROVED, True),
        (NAMES | {"kinds": frozenset({WriterKind.CRON})}, PROVED, False),
        ({}, PROVED, False),
        ({"kinds": frozenset()}, PROVED, False),
        ({"token": True}, PROVED, False),
        (EXE | {"kinds": frozenset(), "unverified": True}, PROVED, False),
        (NAMES | {"agents": (Glob("main"),)}, PROVED, True),
    ],
)
def test_a_rule_admits_a_program_that_meets_all_that_it_asks_for(
    conditions: dict[str, Any], program: Writer, *, admitted: bool
) -> None:
    policy = Policy(rules=(rule(**conditions),))
    assert (policy.refusal(program) is None) is admitted
    assert appends(policy, program) is admitted


def test_a_rule_for_other_sessions_admits_it_and_does_not_let_it_write_here() -> None:
    policy = Policy(rules=(rule(**NAMES, **OTHERS),))
    assert policy.refusal(PROVED) is None
    assert not appends(policy, PROVED)


@pytest.mark.parametrize(
    "ahead",
    [
        rule("no-programs", Permission.NOTHING),
        rule("none-of-that-name", Permission.NOTHING, **NAMES),
        rule("no-python", Permission.NOTHING, **EXE),
        rule("nobody", Permission.NOTHING, kinds=frozenset()),
    ],
    ids=lambda ahead: ahead.name,
)
@pytest.mark.parametrize("program", [BACKUP, PROVED, replace(PROVED, exe="")])
def test_a_rule_ahead_that_forbids_holds_whatever_the_program_did_not_prove(ahead: Rule, program: Writer) -> None:
    policy = Policy(rules=(ahead, rule("all", **UIDS)))
    refused = policy.refusal(program)
    assert refused is not None
    assert dict(refused.parameters)["rule"] == ahead.name
    assert not appends(policy, program)


def test_a_rule_that_names_nobody_narrows_what_the_one_behind_it_grants() -> None:
    narrow = rule("metadata-only", Permission.METADATA, kinds=frozenset())
    policy = Policy(rules=(narrow, rule("all", Permission.REWRITE, **UIDS)))
    assert policy.refusal(BACKUP) is None
    assert not appends(policy, BACKUP)


def test_what_it_lacks_for_the_rule_that_names_it_is_told() -> None:
    policy = Policy(rules=(rule("backup", **NAMES, **EXE, token=True),))
    refused = policy.refusal(replace(BACKUP, exe="/usr/bin/perl"))
    assert refused is not None
    [nearly] = refused.details
    assert dict(nearly.parameters) == {"rule": "backup", "keys": ("executables", "token")}
    other = policy.refusal(replace(BACKUP, name="evil"))
    assert other is not None
    assert other.details == ()


def test_a_rule_about_programs_that_names_none_is_cautioned_of() -> None:
    [caution] = Policy(rules=(rule("programs"), rule("backup", **NAMES), rule("no", Permission.NOTHING))).cautions
    assert caution.startswith("[[rule]] programs: ")
