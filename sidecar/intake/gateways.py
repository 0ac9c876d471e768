"""The OpenClaw processes that are known, with and without a link."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar import __version__
from sidecar.core.engine import Engine
from sidecar.core.facts.gateway import Adapter, Role
from sidecar.job import Job
from sidecar.link.session import LinkSession, OpenLinks
from sidecar.status import GatewayStatus, Problem
from sidecar.watch.processes import GatewayProcess, gateways_of, is_alive
from sidecar.watch.tree import printable

SEARCH_SECONDS: Final = 30
"""How often we look for gateways without the preload."""

_NOT_NEEDED: Final = {
    Adapter.NONE: "this release has no file fence: recovery is not needed",
    Adapter.WATCH: "this release lets a run answer behind newer rows: recovery is not needed",
}


@dataclass(frozen=True, slots=True)
class Unlinked:
    """An OpenClaw process without the preload."""

    pid: int
    exe: str
    noticed: str


class KnownGateways:
    """The gateways without a link, and the status of all."""

    def __init__(self, engine: Engine, links: OpenLinks, state_dir: Path) -> None:
        """Ask ``engine`` for the linked processes, and ``links`` for what came over their sockets."""
        self._engine = engine
        self._links = links
        self._state_dir = state_dir
        self._without_preload: dict[int, Unlinked] = {}
        self._refused: dict[int, str] = {}
        self.jobs = (Job("gateways without the preload", SEARCH_SECONDS, self.search),)

    def find(self) -> None:
        """Note the gateways of this state directory that carry no preload."""
        self._note(gateways_of(self._state_dir))

    async def search(self) -> None:
        """The same in another thread: where there are many processes it takes long."""
        self._note(await asyncio.to_thread(lambda: list(gateways_of(self._state_dir))))

    def noticed(self, pid: int, exe: str, how: str) -> None:
        """A process without a link was seen at work."""
        if pid not in self.linked_pids() and pid not in self._without_preload and pid not in self._refused:
            self._without_preload[pid] = Unlinked(pid, exe, how)

    def refused(self, pid: int, text: str) -> bool:
        """A process was turned away at the door: what it speaks is not understood. False when that was known."""
        new = self._refused.get(pid) != text
        self._refused[pid] = text
        return new

    def linked_pids(self) -> set[int]:
        """Processes with at least one link."""
        return self._engine.registry.linked_pids()

    def pids(self) -> set[int]:
        """Every process that is known for a gateway, with a link or without."""
        return (
            self.linked_pids()
            | {found.pid for found in self.without_preload()}
            | {pid for pid, _ in self._still_refused()}
        )

    def without_preload(self) -> tuple[Unlinked, ...]:
        """Those without a link that are still alive."""
        linked = self.linked_pids()
        self._without_preload = {p: u for p, u in self._without_preload.items() if p not in linked and is_alive(p)}
        return tuple(self._without_preload.values())

    def gateways(self) -> tuple[GatewayStatus, ...]:
        """Everybody, one line for each process."""
        by_pid: dict[int, list[LinkSession]] = {}
        for session in self._links.open_sessions():
            if session.role is Role.COTENANT:
                continue
            by_pid.setdefault(session.pid, []).append(session)
        linked = [_linked_status(pid, sessions) for pid, sessions in sorted(by_pid.items())]
        missing = [
            GatewayStatus(pid=u.pid, linked=False, reason=f"{u.noticed} ({u.exe})" if u.exe else u.noticed)
            for u in self.without_preload()
        ]
        refused = [GatewayStatus(pid=pid, linked=False, reason=text) for pid, text in self._still_refused()]
        return (*linked, *missing, *refused)

    def problems(self) -> Iterable[Problem]:
        """What is wrong with the gateways."""
        for found in self.without_preload():
            yield Problem(
                code="preload_missing",
                what=f"gateway process {found.pid} carries no preload: no turn is recovered, no writer named",
                remedy="add the lines that `openclaw-sidecar hook` prints to its environment, and restart it",
            )
        for pid, text in self._still_refused():
            yield Problem(
                code="protocol_version",
                what=f"gateway process {pid} carries a preload of another version and is not linked: {text}",
                remedy="restart the gateway; if that does not help, its NODE_OPTIONS name another installation: "
                "`openclaw-sidecar hook`",
            )
        for gateway in self.gateways():
            if gateway.adapter == Adapter.UNKNOWN:
                yield Problem(
                    code="release_unknown",
                    what=f"gateway process {gateway.pid} (OpenClaw {gateway.version}) has a fence that this preload "
                    "does not know; it is left untouched",
                    remedy="update openclaw-sidecar; docs/fence.md says which fences it knows",
                )
            if not gateway.preload_fits:
                yield Problem(
                    code="preload_version",
                    what=f"gateway process {gateway.pid} carries the preload of version {printable(gateway.preload)}, "
                    f"this sidecar is {__version__}",
                    remedy="restart the gateway, so that it loads the preload of this version",
                )

    def _note(self, gateways: Iterable[GatewayProcess]) -> None:
        for found in gateways:
            self.noticed(found.pid, found.exe, "it runs on this state directory")

    def _still_refused(self) -> tuple[tuple[int, str], ...]:
        linked = self.linked_pids()
        self._refused = {pid: text for pid, text in self._refused.items() if pid not in linked and is_alive(pid)}
        return tuple(self._refused.items())


def _linked_status(pid: int, sessions: list[LinkSession]) -> GatewayStatus:
    """One process; worker threads speak on links of their own, the one with a fence is the one that counts."""
    first = max(sessions, key=lambda s: (s.adapter is not None and s.adapter.adapter != Adapter.PENDING, s.messages))
    adapter = first.gateway.adapter
    reason = first.adapter.reason if first.adapter else ""
    return GatewayStatus(
        pid=pid,
        linked=True,
        version=first.hello.openclaw if first.hello else "",
        adapter=adapter.value,
        can_reload=first.adapter.reload if first.adapter else False,
        reason=_NOT_NEEDED.get(adapter, reason),
        threads=len(sessions),
        messages=sum(s.messages for s in sessions),
        gaps=sum(s.gaps for s in sessions),
        lost=sum(s.lost for s in sessions),
        preload=next((s.hello.preload for s in sessions if s.hello), ""),
        preload_fits=all(s.hello is None or s.hello.preload in {"", __version__} for s in sessions),
        backlog_bytes=sum(s.backlog_bytes for s in sessions),
    )
