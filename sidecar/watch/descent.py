"""Which processes descend from a gateway, as /proc shows it at this moment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.core.facts.process import Ancestor
from sidecar.watch.identity import cgroup_of, start_ticks
from sidecar.watch.processes import command_of, parent_of

MAX_GENERATIONS: Final = 16

_PROC: Final = Path("/proc")


def parents_of(pid: int, gateways: Mapping[int, int], proc: Path = _PROC) -> tuple[Ancestor, ...]:
    """Who started it, and who that one, up to a gateway; empty when it descends from none.

    A parent is older than its child: an id that means a younger process has been given anew.

    Args:
        pid: The process.
        gateways: Each gateway's pid, with its start in clock ticks since the machine was.
        proc: Where processes are.
    """
    found: list[Ancestor] = []
    child, started = pid, start_ticks(pid, proc)
    while started is not None and len(found) < MAX_GENERATIONS:
        parent = parent_of(child, proc)
        parent_started = start_ticks(parent, proc) if parent else None
        if parent_started is None or parent_started > started or parent_of(child, proc) != parent:
            return ()
        found.append(Ancestor(parent, command_of(parent, proc)))
        if gateways.get(parent) == parent_started:
            return tuple(found)
        child, started = parent, parent_started
    return ()


def group_of(pid: int, gateways: Mapping[int, int], proc: Path = _PROC) -> int:
    """The gateway in whose control group it was started; 0 when that can't be known.

    That can be known where a gateway has a control group of its own, as in a container or a unit of systemd: where
    this process, which the gateway did not start, is in the same one, it says nothing.
    """
    group, started = cgroup_of(pid, proc), start_ticks(pid, proc)
    if not group or started is None or group == cgroup_of(os.getpid(), proc):
        return 0
    older = [gateway for gateway, began in gateways.items() if began <= started and cgroup_of(gateway, proc) == group]
    return older[0] if len(older) == 1 else 0
