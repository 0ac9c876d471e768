"""The steps that a process is verified by. Each returns why it fails, or None.

They hold against programs that an agent starts, and against any process that is no OpenClaw. Somebody with the rights
of the gateway's user can install a package of that name, or change the memory of a running gateway: that is not seen
here.
"""

from collections.abc import Collection
from pathlib import PurePath
from typing import Final

from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.identity.seen import Seen

NODE: Final = frozenset({"node", "nodejs"})
"""What OpenClaw runs on."""


def one_process(seen: Seen) -> Reason | None:
    """All that was read is of the process that had connected."""
    return None if seen.same else Reason.of(ReasonCode.LINK_PROCESS_CHANGED, pid=seen.pid)


def runs_node(seen: Seen) -> Reason | None:
    """The executable is Node."""
    return None if PurePath(seen.exe).name in NODE else Reason.of(ReasonCode.LINK_NOT_NODE, exe=seen.exe)


def runs_openclaw(seen: Seen) -> Reason | None:
    """The main script is OpenClaw's. Where a title hides it, its own word counts, or the lock that gateways hold.

    OpenClaw's own programs hide their command lines ahead of their link. What an agent has started is held against the
    steps below, whatever it says here.
    """
    if seen.hidden and not seen.script:
        return None if seen.lock else Reason.of(ReasonCode.LINK_HIDDEN)
    return None if seen.package else Reason.of(ReasonCode.LINK_NOT_OPENCLAW, script=seen.script)


def is_no_tool(seen: Seen, gateways: Collection[Seen]) -> Reason | None:
    """No linked gateway has started it, or it shows that it runs the same program: OpenClaw's own workers and CLI."""
    linked = {gateway.process: gateway for gateway in gateways}
    for ancestor in seen.ancestors:
        gateway = linked.get(ancestor)
        if gateway is not None and (seen.hidden or not seen.of_the_program(gateway)):
            return Reason.of(ReasonCode.LINK_AGENT_TOOL, pid=gateway.pid)
    return None


def is_no_orphan(seen: Seen, gateways: Collection[Seen]) -> Reason | None:
    """It is no tool that outlived its parents: one of an older gateway's control group that runs another program."""
    if not seen.orphan or seen.lock:
        return None
    for gateway in gateways:
        shared = gateway.cgroup == seen.cgroup and gateway.start < seen.start
        if shared and (seen.hidden or (seen.cgroup and not seen.of_the_program(gateway))):
            return Reason.of(ReasonCode.LINK_ORPHAN, pid=gateway.pid)
    return None


def is_outside(seen: Seen, gateways: Collection[Seen]) -> Reason | None:
    """It is no child of a linked gateway, nor an orphan of its control group: no co-tenant is, whatever it runs."""
    linked = {gateway.process: gateway for gateway in gateways}
    parent = next((linked[ancestor] for ancestor in seen.ancestors if ancestor in linked), None)
    if parent is not None:
        return Reason.of(ReasonCode.LINK_AGENT_TOOL, pid=parent.pid)
    if not seen.orphan or not seen.cgroup:
        return None
    older = (gateway for gateway in gateways if gateway.cgroup == seen.cgroup and gateway.start < seen.start)
    gateway = next(older, None)
    return None if gateway is None else Reason.of(ReasonCode.LINK_ORPHAN, pid=gateway.pid)


def refusal(seen: Seen, gateways: Collection[Seen]) -> Reason | None:
    """Why the process is not verified by what is seen of it: the first step that fails."""
    others = [gateway for gateway in gateways if gateway.process != seen.process]
    return (
        one_process(seen)
        or runs_node(seen)
        or runs_openclaw(seen)
        or is_no_tool(seen, others)
        or is_no_orphan(seen, others)
    )


def checks(seen: Seen) -> tuple[str, ...]:
    """What was found, in short words, in the order of the steps."""
    found = (
        f"executable {seen.exe}",
        seen.package and (f"{seen.package}, by its own word" if seen.hidden else seen.package),
        f"holds {seen.lock}" if seen.lock else "",
    )
    return tuple(word for word in found if word)
