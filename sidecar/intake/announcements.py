"""Takes the announcements of tools that can't be wrapped, and makes reports of them.

A hook is an account of one file between its begin and its end, and nothing more: what the tool does not name at the end
is nobody's. What it names is read from the file here, so that its digest is the file's own. While a hook is open, the
file's custody is in doubt: nothing is recovered and nobody is paged for bytes that may be the tool's.
"""

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import structlog

from sidecar.config.errors import TokenError
from sidecar.config.policyedit import CotenantRule
from sidecar.config.token import read_token
from sidecar.core import events as ev
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.reasons import Reason
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.cotenant.errors import SessionNameError
from sidecar.cotenant.locate import writable
from sidecar.driver.driver import Driver
from sidecar.watch.reading import fingerprint_of, take_snapshot
from sidecar.watch.tree import printable
from sidecar.web.hooks import HookBegin, HookEnd, HookRange, HookRefused
from sidecar.words import sentence

EXPIRY_SECONDS: Final = 60.0
"""A begin without an end is given up after so long; the ledger of the core has the same bound for any call."""

MAX_OPEN: Final = 64
_REFUSED: Final = "hook_refused"
"""A word of `sidecar.telemetry.names.labels.Rejection`."""

log = structlog.get_logger("sidecar.hooks")


@dataclass(frozen=True, slots=True)
class _Open:
    """A hook that has begun."""

    change: Change
    file: Path
    before: Fingerprint
    expiry: asyncio.TimerHandle


@dataclass(eq=False, slots=True)
class Hooks:
    """The `HookDesk` of the service.

    Attributes:
        _state_dir: Where sessions are.
        _token_file: Holds the secret.
        _refuse: Counts bad input and says one line about it.
        _refusal: Why the policy in force lets a program announce nothing; None when it does.
        _expiry_seconds: When a begin without an end is given up.
    """

    _driver: Driver
    _state_dir: Path
    _token_file: Path
    _now_ns: Callable[[], int]
    _refuse: Callable[[str, str], None]
    _refusal: Callable[[Writer], Reason | None]
    _expiry_seconds: float = EXPIRY_SECONDS
    _open: dict[str, _Open] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def token(self) -> str:
        """The secret, as the file has it now.

        Raises:
            HookRefused: There is none that can be used.
        """
        try:
            token = read_token(self._token_file)
        except TokenError as error:
            raise HookRefused(HTTPStatus.FORBIDDEN, str(error)) from error
        if token is None:
            what = f"hooks are off: there is no {self._token_file}; `openclaw-sidecar hooks token` makes one"
            raise HookRefused(HTTPStatus.FORBIDDEN, what)
        return token

    def rejected(self, detail: str) -> None:
        """A call was refused."""
        self._refuse(_REFUSED, detail)

    def begin(self, begin: HookBegin) -> dict[str, Any]:
        """A write comes.

        Raises:
            HookRefused: The policy does not make it a co-tenant, the session or the process is not to be found, or too
                many hooks are open.
        """
        writer = _writer(begin)
        refused = self._refusal(writer)
        if refused is not None:
            what = (
                f"{sentence(refused)}; add to the policy (`openclaw-sidecar policy allow {begin.name} --write` does):"
            )
            raise HookRefused(HTTPStatus.FORBIDDEN, f"{what}\n{CotenantRule(name=begin.name).text}")
        if len(self._open) >= MAX_OPEN:
            what = f"{MAX_OPEN} hooks have begun and not ended; end them, or wait until they expire"
            raise HookRefused(HTTPStatus.TOO_MANY_REQUESTS, what)
        try:
            file = writable(begin.session, self._state_dir)
            before = fingerprint_of(file)
        except (SessionNameError, OSError) as error:
            raise HookRefused(HTTPStatus.BAD_REQUEST, f"session: {error}") from error
        hook = secrets.token_hex(8)
        change = Change(
            change_id="hook",
            operation=Operation.APPEND,
            writer=writer,
            at_ns=self._now_ns(),
            before=before,
            link=f"hook-{next(self._numbers)}",
            began=1,
            ended=None,
        )
        expiry = asyncio.get_running_loop().call_later(self._expiry_seconds, self._expired, hook)
        self._open[hook] = _Open(change, file, before, expiry)
        self._driver.handle(ev.FileChanged(file=str(file), change=change))
        log.info("hook_begun", hook=hook, name=begin.name, file=printable(str(file)))
        return {"hook": hook, "session_file": str(file), "size": before.size, "expires_seconds": self._expiry_seconds}

    def end(self, end: HookEnd) -> dict[str, Any]:
        """The write has been made. Whatever comes of it, the hook is closed.

        Raises:
            HookRefused: There is no such hook, or the file does not hold what is said of it.
        """
        opened = self._open.pop(end.hook, None)
        if opened is None:
            what = (
                f"there is no hook {printable(end.hook)}, or not any more: a begin holds {self._expiry_seconds:.0f} s"
            )
            raise HookRefused(HTTPStatus.NOT_FOUND, what)
        opened.expiry.cancel()
        snapshot = take_snapshot(opened.file)
        try:
            digests = _digests(end.ranges, snapshot, opened.before.size)
        except HookRefused:
            # An announcement that is wrong says nothing.
            self._report(opened, (), (), snapshot)
            raise
        self._report(opened, end.ranges, digests, snapshot)
        told = [
            {"offset": r.offset, "length": r.length, "sha256": digest}
            for r, digest in zip(end.ranges, digests, strict=True)
        ]
        return {"session_file": str(opened.file), "name": opened.change.writer.name, "ranges": told}

    def policy_changed(self) -> None:
        """Give up the open ones of programs that the policy does not make co-tenants any more."""
        for hook, opened in list(self._open.items()):
            if self._refusal(opened.change.writer) is not None:
                opened.expiry.cancel()
                self._give_up(hook, "is no co-tenant by the new policy")

    def stop(self) -> None:
        """Forget the open ones; the sidecar ends."""
        for opened in self._open.values():
            opened.expiry.cancel()
        self._open.clear()

    def _report(self, opened: _Open, ranges: Sequence[HookRange], digests: Sequence[str], snapshot: Snapshot) -> None:
        """Make changes of the ranges: the first one ends the begun call, the others follow it."""
        begun, after, file = opened.change, snapshot.fingerprint, str(opened.file)
        size = opened.before.size
        made = [
            replace(
                begun,
                change_id="hook" if number == 0 else f"hook-{number}",
                operation=_operation(where, size, after.size),
                at_ns=self._now_ns(),
                length=where.length,
                sha256=digest,
                offset=where.offset,
                before=opened.before if number == 0 else after,
                after=after,
                began=1 if number == 0 else number + 2,
                ended=number + 2,
            )
            for number, (where, digest) in enumerate(zip(ranges, digests, strict=True))
        ] or [replace(begun, operation=Operation.METADATA, at_ns=self._now_ns(), after=after, ended=2)]
        for done in made:
            self._driver.handle(ev.FileChanged(file=file, change=done))
        log.info("hook_ended", name=begun.writer.name, file=printable(file), ranges=len(ranges))
        if after != opened.before:
            moved = ev.FingerprintChanged(file=file, before=opened.before, fingerprint=after, at_ns=self._now_ns())
            self._driver.look_again(moved)

    def _expired(self, hook: str) -> None:
        self._give_up(hook, "never ended it")

    def _give_up(self, hook: str, why: str) -> None:
        opened = self._open.pop(hook, None)
        if opened is None:
            return
        name = opened.change.writer.name
        log.warning("hook_given_up", hook=hook, name=name, file=printable(str(opened.file)), why=why)
        self._refuse(_REFUSED, f"{name} began a write to {opened.file} and {why}")
        self._driver.handle(ev.LinkLost(link=opened.change.link, clean=True, at_ns=self._now_ns()))


def _writer(begin: HookBegin) -> Writer:
    """Who announces: it has the token. Nothing shows that the process is its own, so of that only the id is taken."""
    if begin.pid is None:
        return Writer(WriterKind.DECLARED, begin.name, token=True)
    if not Path(f"/proc/{begin.pid}").exists():
        what = f"pid: there is no process {begin.pid} to be seen from here; leave it out"
        raise HookRefused(HTTPStatus.BAD_REQUEST, what)
    return Writer(WriterKind.DECLARED, begin.name, begin.pid, token=True)


def _operation(where: HookRange, before: int, after: int) -> Operation:
    if where.offset >= before:
        return Operation.APPEND
    return Operation.REWRITE if where.offset == 0 and where.length == after else Operation.WRITE


def _digests(ranges: Sequence[HookRange], snapshot: Snapshot, before: int) -> list[str]:
    """What the file holds at the ranges.

    Raises:
        HookRefused: That is not what was said.
    """
    if not ranges:
        return []
    if snapshot.content is None:
        raise _conflict(f"the session file can't be read: {snapshot.problem or 'it is gone'}")
    end = 0
    digests = []
    for number, where in enumerate(ranges):
        if where.offset < end:
            raise _conflict(f"ranges.{number} begins at {where.offset}, inside or before the range ahead of it")
        end = where.offset + where.length
        if end > snapshot.content.size:
            raise _conflict(f"ranges.{number} ends at {end}, and the file has {snapshot.content.size} bytes")
        digest = snapshot.content.digest(where.offset, where.length)
        if where.sha256 not in {"", digest}:
            raise _conflict(f"ranges.{number}: the file holds bytes of another digest there")
        if where.offset < before and not where.sha256:
            raise _conflict(f"ranges.{number} replaces old bytes, and does not say what is to be there (sha256)")
        digests.append(digest)
    return digests


def _conflict(what: str) -> HookRefused:
    return HookRefused(HTTPStatus.CONFLICT, f"{what}; nothing is announced, so what was written is unexplained")
