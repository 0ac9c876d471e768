"""Programs that agents start: which process is one, and whose tool call it was.

A name for people: nothing rests on it, and what such a program writes is as foreign as anybody's.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.core.facts.bounded import Bounded
from sidecar.core.facts.process import Process, Tool
from sidecar.core.facts.value import replace
from sidecar.core.reports import Diagnostic
from sidecar.watch.descent import group_of, parents_of
from sidecar.watch.identity import start_ticks
from sidecar.watch.processes import command_of, is_helper_of

STARTS_PROGRAMS: Final = frozenset({"exec", "bash", "shell", "process"})
"""Tools of an agent that start programs."""

MAX_CALLS: Final = 256
MAX_SEEN: Final = 256
"""Processes of which is remembered as what they were seen first: a parent may be gone by the next time."""

_PREFIX: Final = "tool.execution."
_STARTED: Final = "tool.execution.started"


class AgentTools:
    """The tool calls that are under way, by the gateways' own events, and the processes of tools that were seen."""

    def __init__(self, gateways: Callable[[], Mapping[int, int]]) -> None:
        """``gateways`` are the pids of linked gateways that can be seen from here, with their starts in clock ticks."""
        self._gateways = gateways
        self._calls: Bounded[tuple[int, str, str], tuple[int, Diagnostic]] = Bounded(MAX_CALLS)
        self._seen: Bounded[tuple[int, int], Tool] = Bounded(MAX_SEEN)

    def heard(self, gateway: int, event: Diagnostic) -> bool:
        """An event of the bus of this gateway. True where it is about a tool call."""
        if not event.event.startswith(_PREFIX):
            return False
        key = (gateway, event.run, event.call)
        if event.event == _STARTED:
            self._calls.put(key, (gateway, event))
        else:
            self._calls.pop(key)
        return True

    def forget(self, gateway: int) -> None:
        """A link of this gateway is gone: which of its calls end is not heard."""
        self._calls.take(lambda call: call[0] == gateway)

    def named(self, process: Process) -> Process:
        """The process as it was found, with what is known of it as a program that an agent started."""
        start = start_ticks(process.pid) if process.pid and process.started_at_ns else None
        if start is None:
            return process
        key = (process.pid, start)
        tool = self._seen.get(key) or self._look(process.pid)
        if tool is None:
            return process
        self._seen.put(key, tool)
        return replace(process, tool=tool)

    def _look(self, pid: int) -> Tool | None:
        gateways = self._gateways()
        if pid in gateways or is_helper_of(pid, gateways):
            return None
        parents = parents_of(pid, gateways)
        gateway = parents[-1].pid if parents else group_of(pid, gateways)
        if not gateway:
            return None
        calls = {
            (call.run, call.session, call.tool)
            for caller, call in self._calls.values()
            if caller == gateway and call.tool in STARTS_PROGRAMS
        }
        run, session, name = calls.pop() if len(calls) == 1 else ("", "", "")
        return Tool(command_of(pid), parents, gateway, run, session, name)
