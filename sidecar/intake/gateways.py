"""The OpenClaw processes that are known, with and without a link."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar import __version__
from sidecar.core.facts.gateway import Adapter, Gateway, Role
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.job import Job
from sidecar.link.open_links import OpenLinks
from sidecar.link.session import LinkSession
from sidecar.status import GatewayStatus, Problem
from sidecar.watch.identity import start_ticks, started, started_at_ns
from sidecar.watch.namespaces import Found, Namespaces, pids_of
from sidecar.watch.processes import GatewayProcess, gateways_of
from sidecar.watch.tree import printable
from sidecar.words import sentence

SEARCH_SECONDS: Final = 30
"""How often we look for gateways without the preload."""

HIDDEN_SECONDS: Final = 600.0
"""So long is told of a process that can't be seen from here and was: whether it still runs is not known."""

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

    def __init__(
        self,
        links: OpenLinks,
        state_dir: Path,
        namespaces: Namespaces | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask ``links`` for the linked processes; ``clock`` is in seconds."""
        self._links = links
        self._state_dir = state_dir
        self._namespaces = namespaces or Namespaces()
        self._clock = clock
        self._without_preload: dict[int, Unlinked] = {}
        self._refused: dict[int, str] = {}
        self._hidden: dict[int, float] = {}
        self._some_here = self._some_elsewhere = False
        self.jobs = (Job("gateways without the preload", SEARCH_SECONDS, self.search),)

    def find(self) -> None:
        """Note the gateways of this state directory that carry no preload."""
        self._note(gateways_of(self._state_dir))

    async def search(self) -> None:
        """The same in another thread: where there are many processes it takes long."""
        self._note(await asyncio.to_thread(lambda: list(gateways_of(self._state_dir))))

    def linked(self, session: LinkSession) -> None:
        """A process has linked: find out where it lives."""
        told = session.hello.pid if session.hello else 0
        session.pids = self._namespaces.of_link(session.peer.pid, told)
        session.started_at_ns = started(session.pids[0])
        if session.pids[0]:
            self._some_here = True
        else:
            self._some_elsewhere = True

    def roots(self) -> dict[int, int]:
        """The gateways that are believed and can be seen from here, by their pids, with their starts in clock ticks."""
        pids = {g.visible_pid for g in self._gateways() if g.believed and g.role is Role.GATEWAY and g.visible_pid}
        return {pid: start for pid in pids if (start := start_ticks(pid)) is not None}

    def speaks(self, own_pid: int, start: int | None) -> bool:
        """The process that a lock file names so tells of its locks itself."""
        return any(
            gateway.believed
            and gateway.own_pid == own_pid
            and (start is None or gateway.started_at_ns in {0, started_at_ns(start)})
            for gateway in self._gateways()
        )

    def holder(self, own_pid: int, start: int | None) -> Found:
        """The process that a lock file names so.

        Nothing is concluded from one that is not seen, where one that linked was not to be seen either, or none has
        linked yet.
        """
        return self._namespaces.find(own_pid, start, here=self._some_here and not self._some_elsewhere)

    def not_visible(self, own_pid: int) -> None:
        """A process that can't be seen from here, and has no link, was seen at work."""
        if all(gateway.own_pid != own_pid for gateway in self._gateways()):
            self._hidden[own_pid] = self._clock()

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
        """Processes with at least one link, believed or not, by their ids here; 0 for those that can't be seen."""
        return {gateway.visible_pid for gateway in self._gateways()}

    def believed_pids(self) -> set[int]:
        """The same of links that are believed."""
        return {gateway.visible_pid for gateway in self._gateways() if gateway.believed}

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
        self._without_preload = {p: u for p, u in self._without_preload.items() if p not in linked and pids_of(p)}
        return tuple(self._without_preload.values())

    def hidden(self) -> tuple[int, ...]:
        """Those without a link that can't be seen from here and were seen at work lately, by their own ids."""
        linked = {gateway.own_pid for gateway in self._gateways()}
        since = self._clock() - HIDDEN_SECONDS
        self._hidden = {pid: at for pid, at in self._hidden.items() if pid not in linked and at >= since}
        return tuple(self._hidden)

    def gateways(self) -> tuple[GatewayStatus, ...]:
        """Everybody, one line for each process."""
        by_pids: dict[tuple[int, ...], list[LinkSession]] = {}
        for session in self._links.open_sessions():
            if session.role is Role.COTENANT:
                continue
            by_pids.setdefault(session.pids or (session.pid,), []).append(session)
        linked = [_linked_status(sessions) for _, sessions in sorted(by_pids.items())]
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
        for pid in self.hidden():
            yield Problem(
                code="gateway_not_visible",
                what=f"process {pid} of a pid namespace that can't be seen from here took a session lock and has no"
                " link: whether it is a gateway without the preload, and whether it still runs, is not known",
                remedy="if it is a gateway, add the lines that `openclaw-sidecar hook` prints to its environment; in"
                " one pid namespace with the sidecar (shareProcessNamespace: true, --pid) it is seen",
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
            if gateway.doubt:
                yield _unverified(gateway)
            if not gateway.preload_fits:
                yield Problem(
                    code="preload_version",
                    what=f"gateway process {gateway.pid} carries the preload of version {printable(gateway.preload)}, "
                    f"this sidecar is {__version__}",
                    remedy="restart the gateway, so that it loads the preload of this version",
                )

            if gateway.disobeys:
                yield Problem(
                    code="not_obeyed",
                    what=f"gateway process {gateway.pid} does not take this sidecar for its own, so no turn of it is"
                    f" recovered: {printable(gateway.disobeys)}",
                    remedy="do what it says, then restart this sidecar; docs/architecture.md says whom a gateway obeys",
                )

    def _note(self, gateways: Iterable[GatewayProcess]) -> None:
        for found in gateways:
            self.noticed(found.pid, found.exe, "it runs on this state directory")

    def _still_refused(self) -> tuple[tuple[int, str], ...]:
        linked = self.linked_pids()
        self._refused = {pid: text for pid, text in self._refused.items() if pid not in linked and pids_of(pid)}
        return tuple(self._refused.items())

    def _gateways(self) -> list[Gateway]:
        return [session.gateway for session in self._links.open_sessions()]


def _linked_status(sessions: list[LinkSession]) -> GatewayStatus:
    """One process; worker threads speak on links of their own, the one with a fence is the one that counts."""
    first = max(sessions, key=lambda s: (s.adapter is not None and s.adapter.adapter != Adapter.PENDING, s.messages))
    adapter = first.gateway.adapter
    told = next((s.gateway for s in sessions if not s.gateway.believed), first.gateway)
    reason = first.adapter.reason if first.adapter else ""
    return GatewayStatus(
        pid=first.pid,
        own_pid=first.gateway.own_pid,
        visible=first.gateway.visible_pid > 0,
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
        disobeys=next((s.disobeyed for s in sessions if s.disobeyed), ""),
        backlog_bytes=sum(s.backlog_bytes for s in sessions),
        verified=told.believed,
        proof=told.proof.value if told.proof is not None else "",
        checks=told.checks,
        doubt=sentence(told.doubt),
        doubt_code=_failed(told.doubt),
    )


def _failed(doubt: Reason | None) -> str:
    """The check that failed."""
    if doubt is None:
        return ""
    return doubt.details[0].code.value if doubt.details else doubt.code.value


def _unverified(gateway: GatewayStatus) -> Problem:
    """A link that is not believed: what it is, why, and how it comes to be believed."""
    if gateway.doubt_code == ReasonCode.LINK_PINNED:
        remedy = (
            "if it is the gateway, end the process that linked before it, or restart both containers, the sidecar's"
            " first; where processes can be seen (shareProcessNamespace: true, --pid) each is verified by itself"
        )
    else:
        remedy = (
            "if it is a gateway, restart it by its own service while the sidecar runs; if that does not help and you"
            " trust the program, add a [[rule]] to the policy with unverified = true and its `executables` or `uids`"
            " (docs/policy.md)"
        )
    what = f"process {gateway.pid} has a link and is not verified, so no turn of it is recovered: {gateway.doubt}"
    return Problem(code="unverified_link", what=printable(what), remedy=remedy)
