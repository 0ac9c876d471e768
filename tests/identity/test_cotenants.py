"""A program outside of OpenClaw: named by the policy, seen or with the token, and no child of a gateway."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.core.policy.policy import Policy
from sidecar.core.policy.rules import Permission, Rule
from sidecar.identity.peer import Peer
from sidecar.identity.seen import Seen
from sidecar.identity.verification import Shown, Verification
from tests.identity.test_steps import CHILD, GATEWAY, NODE, ORPHAN, PACKAGE, seen

PYTHON: Final = "/usr/bin/python3.11"
ALL_OF_THE_USER: Final = Policy(
    rules=(Rule(name="ours", kinds=frozenset({WriterKind.DECLARED}), uids=frozenset({1000}), may=Permission.REWRITE),)
)
OUTSIDE: Final = seen(pid=11, start=200, exe=PYTHON, script="", package="", cgroup="/user.slice")
BY_AGENT: Final = Reason.of(ReasonCode.LINK_AGENT_TOOL, pid=10)
BY_ORPHAN: Final = Reason.of(ReasonCode.LINK_ORPHAN, pid=10)
UNSEEN: Final = Reason(ReasonCode.COTENANT_UNSEEN)
CHANGED: Final = Reason.of(ReasonCode.LINK_PROCESS_CHANGED, pid=11)


class Shows:
    """A reader that shows these processes, by their ids."""

    def __init__(self, *processes: Seen) -> None:
        self._processes = {process.pid: process for process in processes}

    def look(self, peer: Peer) -> Seen:
        return self._processes[peer.pid]

    def told(self, seen: Seen, _script: str) -> Seen:
        return seen


def answer(place: Path, program: Seen, *, token: bool = False, policy: Policy = ALL_OF_THE_USER) -> Reason | None:
    """What a program is told that links beside a gateway."""
    reader = Shows(GATEWAY, program)
    verification = Verification(place, lambda: policy, lambda: "", reader)  # type: ignore[arg-type] # it only looks
    verification.meet("link-1", Peer(GATEWAY.pid, 1000, GATEWAY.exe))
    assert verification.verify("link-1", Peer(GATEWAY.pid, 1000, GATEWAY.exe), "", Shown()).unverified is None
    verification.meet("link-2", Peer(program.pid, 1000, program.exe))
    return verification.cotenant(
        "link-2", Writer(WriterKind.DECLARED, "backup", program.pid, uid=1000, exe=program.exe, token=token)
    )


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (OUTSIDE, None),
        (replace(OUTSIDE, orphan=True), None),
        (seen(**CHILD, exe=PYTHON, package=""), BY_AGENT),
        (seen(**CHILD, exe=NODE, package=PACKAGE), BY_AGENT),
        (seen(**CHILD, exe=NODE, package="", script="/tmp/x.mjs"), BY_AGENT),
        (seen(**{**CHILD, "ancestors": ((12, 150), (10, 100), (1, 1))}, exe=PYTHON), BY_AGENT),
        (seen(**{**CHILD, "ancestors": ((10, 99), (1, 1))}, exe=PYTHON), None),
        (seen(**ORPHAN, exe=PYTHON, package=""), BY_ORPHAN),
        (seen(**{**ORPHAN, "start": 50}, exe=PYTHON, package=""), None),
        (replace(OUTSIDE, same=False), CHANGED),
    ],
)
@pytest.mark.parametrize("token", [False, True])
def test_a_tool_of_the_agent_is_no_co_tenant_whatever_the_policy_says(
    tmp_path: Path, program: Seen, why: Reason | None, *, token: bool
) -> None:
    assert answer(tmp_path, program, token=token) == why


@pytest.mark.parametrize("hidden", [Seen(0), replace(OUTSIDE, exe="")], ids=["no-pid", "no-executable"])
def test_one_that_can_not_be_seen_must_prove_the_token(tmp_path: Path, hidden: Seen) -> None:
    assert answer(tmp_path, hidden) == UNSEEN
    assert answer(tmp_path, hidden, token=True) is None


def test_the_policy_is_asked_first(tmp_path: Path) -> None:
    refused = answer(tmp_path, OUTSIDE, token=True, policy=Policy())
    assert refused is not None
    assert refused.code is ReasonCode.NOT_DECLARED_BY_POLICY
