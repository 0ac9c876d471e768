"""Each step of the verification, over what was seen of a process."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.identity import steps
from sidecar.identity.seen import Seen

NODE: Final = "/usr/bin/node"
PACKAGE: Final = "/usr/lib/node_modules/openclaw"
LOCK: Final = "/tmp/openclaw-1000/gateway.0a1b2c3d.lock"
GROUP: Final = "/system.slice/openclaw.service"


def seen(**other: Any) -> Seen:  # noqa: ANN401 - fields of what was seen
    """A gateway as a person starts it, or what differs from it."""
    fields = {"pid": 10, "start": 100, "exe": NODE, "script": f"{PACKAGE}/openclaw.mjs", "package": PACKAGE}
    return Seen(**{**fields, "cgroup": GROUP, "ancestors": ((2, 20), (1, 1)), **other})


GATEWAY: Final = seen()
CHILD: Final = {"pid": 11, "start": 200, "ancestors": ((10, 100), (2, 20), (1, 1))}
ORPHAN: Final = {"pid": 11, "start": 200, "ancestors": ((1, 1),), "orphan": True}


def test_a_gateway_as_a_person_starts_it_passes_every_step() -> None:
    assert steps.refusal(GATEWAY, ()) is None
    assert steps.checks(GATEWAY) == (f"executable {NODE}", PACKAGE)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"same": False}, Reason.of(ReasonCode.LINK_PROCESS_CHANGED, pid=10)),
        ({"exe": "/usr/bin/python3.11"}, Reason.of(ReasonCode.LINK_NOT_NODE, exe="/usr/bin/python3.11")),
        ({"exe": "/usr/bin/node-of-mine"}, Reason.of(ReasonCode.LINK_NOT_NODE, exe="/usr/bin/node-of-mine")),
        ({"package": "", "script": "/tmp/x.mjs"}, Reason.of(ReasonCode.LINK_NOT_OPENCLAW, script="/tmp/x.mjs")),
        ({"package": "", "script": ""}, Reason.of(ReasonCode.LINK_NOT_OPENCLAW, script="")),
        ({"hidden": True, "package": "", "script": ""}, Reason(ReasonCode.LINK_HIDDEN)),
        ({"hidden": True, "package": "", "script": "", "lock": LOCK}, None),
        ({"hidden": True}, None),
        ({"hidden": True, "package": "", "script": "/x.mjs"}, Reason.of(ReasonCode.LINK_NOT_OPENCLAW, script="/x.mjs")),
    ],
)
def test_the_first_step_that_fails_says_why(other: dict[str, Any], why: Reason | None) -> None:
    assert steps.refusal(seen(**other), ()) == why


BY_AGENT: Final = Reason.of(ReasonCode.LINK_AGENT_TOOL, pid=10)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({}, None),
        ({"package": "/tmp/evil", "script": "/tmp/evil/x.mjs"}, BY_AGENT),
        ({"exe": "/tmp/node"}, BY_AGENT),
        ({"hidden": True, "package": "", "script": "", "lock": LOCK}, BY_AGENT),
        ({"hidden": True}, BY_AGENT),
        ({"ancestors": ((10, 99), (1, 1)), "exe": "/tmp/node"}, None),
        ({"ancestors": ((12, 150), (10, 100)), "exe": "/tmp/node"}, BY_AGENT),
    ],
)
def test_what_a_gateway_has_started_must_be_its_own_program_for_all_to_see(
    other: dict[str, Any], why: Reason | None
) -> None:
    assert steps.refusal(seen(**{**CHILD, **other}), (GATEWAY,)) == why


def test_a_gateway_that_hid_its_package_takes_its_own_program_by_the_executable() -> None:
    hidden = seen(hidden=True, package="", script="", lock=LOCK)
    assert steps.refusal(seen(**CHILD), (hidden,)) is None
    assert steps.refusal(seen(**CHILD, exe="/opt/node"), (hidden,)) == BY_AGENT


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        ({}, False),
        ({"package": "/tmp/evil"}, True),
        ({"package": "/tmp/evil", "orphan": False}, False),
        ({"package": "/tmp/evil", "cgroup": "/user.slice"}, False),
        ({"package": "/tmp/evil", "start": 50}, False),
        ({"hidden": True, "lock": LOCK}, False),
        ({"hidden": True}, True),
        ({"hidden": True, "cgroup": "/user.slice"}, False),
    ],
)
def test_an_orphan_of_a_gateways_control_group_must_be_its_own_program(other: dict[str, Any], *, refused: bool) -> None:
    why = Reason.of(ReasonCode.LINK_ORPHAN, pid=10) if refused else None
    assert steps.refusal(seen(**{**ORPHAN, **other}), (GATEWAY,)) == why


def test_nothing_is_concluded_from_the_root_group_about_a_program_that_shows_itself() -> None:
    orphan = seen(**ORPHAN, package="/opt/other/openclaw", cgroup="")
    assert steps.refusal(orphan, (seen(cgroup=""),)) is None


def test_an_orphan_that_hides_its_command_line_is_no_gateway_in_the_root_group_either() -> None:
    orphan = seen(**ORPHAN, hidden=True, cgroup="")
    assert steps.refusal(orphan, (seen(cgroup=""),)) == Reason.of(ReasonCode.LINK_ORPHAN, pid=10)


def test_a_process_is_no_tool_of_itself() -> None:
    assert steps.refusal(GATEWAY, (GATEWAY,)) is None


@pytest.mark.parametrize("step", [steps.one_process, steps.runs_node, steps.runs_openclaw])
def test_no_step_believes_what_was_not_seen(step: Callable[[Seen], Reason | None]) -> None:
    assert step(Seen(10, same=False)) is not None
