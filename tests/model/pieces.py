"""States taken apart: what is compared as it is, and what is renamed first (times, sizes, numbers, bytes)."""

from collections.abc import Iterable
from functools import cache
from typing import Any, Final, NamedTuple

from sidecar.core import events as ev
from sidecar.core.custody.account import AnyAccount
from sidecar.core.custody.files.account import FileAccount
from sidecar.core.custody.files.manifest import Manifest
from sidecar.core.engine import Engine
from sidecar.core.facts.change import Change
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.version import Version
from sidecar.core.verdict.judge import Verdict
from sidecar.core.windows.life import Behind, Custody
from tests.core.kit import FILE
from tests.model.world import MESSAGES, Message, RunState, bytes_of

SWAPPED = {"w0": "w1", "w1": "w0", "crun-0": "crun-1", "crun-1": "crun-0", "run 0": "run 1", "run 1": "run 0"}
STRANGE: Final = b"F"
"""What the stranger leaves in the place of the file's first byte."""

_LETTERS = bytes.maketrans(b"ab", b"ba")


@cache
def body(data: bytes, *, swapped: bool) -> bytes:
    """Bytes of a file or a manifest, as if nobody had touched the first."""
    whole = b"o" + data[1:] if data[:1] == STRANGE else data
    return whole.translate(_LETTERS) if swapped else whole


class Flat(NamedTuple):
    """A value in pieces: what is compared as it is, and what is renamed first."""

    shape: int
    """A number for what is compared as it is; see `_number`."""
    times: tuple[int, ...]
    sizes: tuple[int, ...]
    numbers: tuple[int, ...]
    datas: tuple[bytes, ...]


_SHAPES: Final[dict[tuple[Any, ...], int]] = {}


def _number(shape: tuple[Any, ...]) -> int:
    return _SHAPES.setdefault(shape, len(_SHAPES))


class _Pieces:
    """Takes values apart."""

    def __init__(self, *, swapped: bool) -> None:
        self._swapped = swapped
        self.shape: list[Any] = []
        self.times: list[int] = []
        self.sizes: list[int] = []
        self.numbers: list[int] = []
        self.datas: list[bytes] = []

    def done(self) -> Flat:
        shape = _number(tuple(self.shape))
        return Flat(shape, tuple(self.times), tuple(self.sizes), tuple(self.numbers), tuple(self.datas))

    def plain(self, *values: str | int | bool | None) -> None:
        self.shape += values

    def name(self, name: str) -> None:
        self.shape.append(SWAPPED.get(name, name) if self._swapped else name)

    def fingerprints(self, *values: Version | None) -> None:
        for value in values:
            self.shape.append(value is not None)
            if value is not None:
                assert isinstance(value, Fingerprint)
                self.times.append(value.ctime_ns)
                self.sizes.append(value.size)

    def changes(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self.name(change.change_id)
            self.fingerprints(change.before, change.after)
            self.plain(change.finished)
            self.numbers += [change.began] if change.ended is None else [change.began, change.ended]
            self.sizes.append(change.offset)
        self.plain("end of changes")

    def data(self, data: bytes | None) -> None:
        self.plain(data is not None)
        if data is not None:
            self.plain(data[:1] == STRANGE)
            self.datas.append(body(data, swapped=self._swapped))

    def manifest(self, manifest: Manifest | None) -> None:
        self.data(None if manifest is None else b"".join(bytes_of(s.sha256) for s in manifest.segments))

    def account(self, account: AnyAccount) -> None:
        assert isinstance(account, FileAccount)
        self.fingerprints(account.head)
        self.manifest(account.manifest)
        self.changes(account.changes)


@cache
def of_run(run: RunState, *, swapped: bool) -> Flat:
    pieces = _Pieces(swapped=swapped)
    pieces.plain(int(run.at), run.whole, run.waited, run.fenced.count(b"F"), run.pushed is not None)
    pieces.fingerprints(run.fence, run.current, run.pending, run.before, *(run.pushed or ()))
    return pieces.done()


@cache
def of_change(change: Change | None) -> Flat:
    pieces = _Pieces(swapped=False)
    pieces.changes(() if change is None else (change,))
    return pieces.done()


@cache
def of_stat(fingerprint: Fingerprint | None) -> Flat:
    pieces = _Pieces(swapped=False)
    pieces.fingerprints(fingerprint)
    return pieces.done()


@cache
def of_message(code: int, *, swapped: bool) -> Flat:
    pieces = _Pieces(swapped=swapped)
    match MESSAGES[code]:
        case ("event", event):
            pieces.plain(type(event).__name__)
            match event:
                case ev.FenceSet():
                    pieces.name(event.window)
                    pieces.fingerprints(event.fence)
                case ev.FenceClosed():
                    pieces.name(event.window)
                    pieces.plain(event.takeover)
                case ev.FileChanged():
                    assert isinstance(event.change, Change)
                    pieces.changes((event.change,))
                case ev.RecoveryApplied():
                    pieces.name(event.window)
                    pieces.plain(event.applied)
                    pieces.fingerprints(event.fence, event.current)
                case _:
                    raise AssertionError(event)
        case (str(kind), *rest):
            pieces.plain(kind)
            _put(pieces, rest, swapped=swapped)
        case message:
            raise AssertionError(message)
    return pieces.done()


@cache
def of_command(command: Message, *, swapped: bool) -> Flat:
    pieces = _Pieces(swapped=swapped)
    pieces.plain(command[0])
    _put(pieces, command[1:], swapped=swapped)
    return pieces.done()


def _put(pieces: _Pieces, values: Iterable[Any], *, swapped: bool) -> None:
    """The number of a run, and what is said of it."""
    number, *rest = values or (None,)
    pieces.plain(number if number is None or not swapped else 1 - number)
    for value in rest:
        if isinstance(value, Fingerprint):
            pieces.fingerprints(value)
        else:
            pieces.plain(value)


class Mind(NamedTuple):
    """What the engine knows, in pieces."""

    flat: Flat
    approved: tuple[int, ...]
    """For each window the time of the file that was approved; -1 for none."""


def of_mind(engine: Engine, *, swapped: bool) -> Mind:
    registry = engine.registry
    ledger = engine.files.ledgers[FILE]
    pieces = _Pieces(swapped=swapped)
    pieces.account(ledger.account)
    pieces.plain(bool(registry.unsettled))
    approved: list[int] = []
    for window in sorted(registry.windows.values(), key=lambda w: w.window_id, reverse=swapped):
        approved.append(window.approved.ctime_ns if isinstance(window.approved, Fingerprint) else -1)
        incident = window.incident
        pieces.name(window.window_id)
        pieces.plain(incident is not None, incident is not None and incident.verdict is Verdict.EXTERNAL)
        pieces.fingerprints(window.fence)
        pieces.plain(window.state.custody.value)
        if window.state.custody is not Custody.LOST:
            pieces.account(window.account)
        pieces.plain(window.state.behind is Behind.TOLD, window.unjudged is not None)
        if window.unjudged is not None:
            pieces.account(window.unjudged)
    return Mind(pieces.done(), tuple(approved))
