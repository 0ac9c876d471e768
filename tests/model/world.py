"""One state of a small world: a file, a lock, two runs, two co-tenants, a stranger, and the wire in both directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import Enum, IntEnum, auto
from functools import cache
from operator import attrgetter
from typing import Any, Final, NamedTuple

from sidecar.core.facts.change import Change
from sidecar.core.facts.content import BytesContent, Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.gateway import Run
from sidecar.core.facts.writer import Writer, WriterKind
from tests.core.kit import digest

PID: Final = 100
AT: Final = 1
OLD: Final = b"old\n"

RUNS: Final = (0, 1)
OWN: Final = tuple(Writer(WriterKind.USER_TURN, "", PID, f"run-{n}") for n in RUNS)
OWN_BYTES: Final = (b"a\n", b"b\n")
LOCKED: Final = Writer(WriterKind.CRON, "locked", PID, "run-c1")
LOCKED_BYTES: Final = b"x\n"
LOOSE: Final = Writer(WriterKind.CHANNEL, "loose", PID, "run-c2")
LOOSE_BYTES: Final = b"y\n"


class Foreign(Enum):
    """What the stranger does, once."""

    APPEND = auto()
    OVERWRITE = auto()
    """A byte in place: the size stays."""
    TOUCH = auto()
    """No byte."""


@dataclass(frozen=True)
class Cast:
    """Who acts beside the stranger.

    Attributes:
        runs: One or two.
        locked: A co-tenant that takes the lock.
        loose: A co-tenant that does not, and whose write takes time.
        coarse: The clock may stand still between two changes, if the size tells them apart.
        lossy: One report may be lost on its way.
    """

    runs: int = 2
    locked: bool = True
    loose: bool = True
    coarse: bool = False
    lossy: bool = False


@dataclass(frozen=True)
class Rules:
    """What may be left out, to see that the search finds it."""

    second_stat: bool = True
    """Look at the file again ahead of the move and after it."""
    compare_pushed: bool = True
    """An approval that was pushed holds for exactly its fence and file."""
    hear_first: bool = True
    """The link says what it has done before a look is concluded."""
    account_for_bytes: bool = True
    """The core refuses what it can't explain."""
    exact_step: bool = True
    """The core answers for the fingerprint that the gateway saw."""
    whole_file: bool = True
    """The whole file is read, and not only what has come since the fence."""
    heed_gaps: bool = True
    """A gap in what the link said makes custody unknown."""


class At(IntEnum):
    """Where a run is."""

    __hash__ = int.__hash__  # a name's is slow, and there are millions

    START = auto()
    WINDOW = auto()
    ASKING = auto()
    SETTLING = auto()
    COMPARING = auto()
    MOVING = auto()
    WRITING = auto()
    WRITTEN = auto()
    REPORTED = auto()
    FENCED = auto()
    OVER = auto()
    """It went on and has ended, or was stopped."""

    @property
    def is_checked(self) -> bool:
        """The fence that was set first does not matter any more."""
        return self >= At.WRITING


_BUSY: Final = frozenset({At.COMPARING, At.MOVING, At.WRITTEN})


class RunState(NamedTuple):
    """One run and its fence controller."""

    at: At = At.START
    fence: Fingerprint | None = None
    fenced: bytes = b""
    """What the file held at the fence."""
    whole: bool = True
    """There is whole evidence of what the file held at the fence: see `World.led`."""
    pushed: tuple[Fingerprint, Fingerprint] | None = None
    current: Fingerprint | None = None
    """What the controller was given to compare."""
    pending: Fingerprint | None = None
    """What was approved at this check."""
    waited: bool = True
    """It did not run out of time."""
    before: Fingerprint | None = None
    """Ahead of its own write."""


Message = tuple[Any, ...]


@dataclass(slots=True)
class World:
    """One state of everything."""

    data: bytes
    clock: int
    holder: str
    runs: tuple[RunState, ...]
    locked: int
    locked_before: Fingerprint | None
    loose: int
    loose_change: Change | None
    led: bool
    """Reports lead without a gap from what the sidecar has read to the file as it is: nobody's bytes came between the
    two fingerprints around another's call, no stranger was there, and nothing was lost."""
    stranger: bool
    """The stranger has acted."""
    lost: bool
    """A report was lost, or none can be."""
    sequence: int
    """Of reports of changes; other messages need no number here."""
    link: tuple[int, ...]
    """On its way to the sidecar; see `code_of`."""
    commands: tuple[Message, ...]
    """On its way to the preload."""
    fresh: int
    """Messages at the end of the link that were said after the last change of the file, and the report of it if that
    was made in the same breath."""
    mind: int
    """What the engine knows; see `Minds`."""

    @property
    def fingerprint(self) -> Fingerprint:
        """What a stat says."""
        return _fingerprint(len(self.data), self.clock)

    def copy(self) -> World:
        """Another one that can be changed."""
        return World(*fields_of(self))

    @property
    def occupied(self) -> bool:
        """The gateway's one thread does not let go: a synchronous call, or no wait between comparing and moving."""
        return self.locked == 1 or self.runs[0].at in _BUSY or self.runs[1].at in _BUSY

    @property
    def writing(self) -> bool:
        """A synchronous call has written, and the fingerprint behind it is not taken yet."""
        return self.locked == 1 or any(run.at is At.WRITTEN for run in self.runs)

    @property
    def quiet(self) -> bool:
        """No call is under way."""
        return self.loose not in {1, 2} and not self.writing

    def run(self, number: int, **new: Any) -> None:  # noqa: ANN401 - fields of a run
        """Change a run."""
        changed = self.runs[number]._replace(**new)
        self.runs = (changed, self.runs[1]) if number == 0 else (self.runs[0], changed)

    def move(self, number: int, at: At) -> None:
        """A run gets to a place where nothing of before matters."""
        self.run(number, **RunState(at=at)._asdict())

    def say(self, *message: Any) -> None:  # noqa: ANN401 - a message of any kind
        """The preload says something."""
        self.link = (*self.link, code_of(message))
        self.fresh += 1


fields_of: Final[Callable[[World], tuple[Any, ...]]] = attrgetter(*(f.name for f in fields(World)))

_CODES: Final[dict[Message, int]] = {}
MESSAGES: Final[list[Message]] = []


def code_of(message: Message) -> int:
    """A number for each message, its place in `MESSAGES`, so that a state is quick to compare."""
    code = _CODES.setdefault(message, len(MESSAGES))
    if code == len(MESSAGES):
        MESSAGES.append(message)
    return code


class Stamp(Fingerprint, frozen=True):
    """A fingerprint that is quick to compare: there is one file, so time and size tell it from every other one."""

    def __hash__(self) -> int:
        """By time and size."""
        return self.ctime_ns * 997 + self.size

    def __eq__(self, other: object) -> bool:
        """Likewise."""
        return self is other or (
            isinstance(other, Fingerprint)
            and (self.ctime_ns, self.size, self.exists) == (other.ctime_ns, other.size, other.exists)
        )


@cache
def _fingerprint(size: int, clock: int) -> Fingerprint:
    return Stamp(exists=True, dev=1, ino=1, size=size, mtime_ns=clock, ctime_ns=clock)


@cache
def window_of(number: int) -> str:
    """The id of a run's window."""
    return f"w{number}"


@cache
def describe(number: int) -> Run:
    """A run as the preload names it."""
    return Run(run_id=OWN[number].run_id)


_BYTES: Final[dict[str, bytes]] = {}


@cache
def digest_of(data: bytes) -> str:
    """SHA-256; the same few are asked for again and again."""
    text = digest(data)
    _BYTES[text] = data
    return text


def bytes_of(sha256: str) -> bytes:
    """The inverse of `digest_of`."""
    return _BYTES[sha256]


class Memo(BytesContent, frozen=True):
    """Bytes whose digests are remembered."""

    def digest(self, offset: int, length: int) -> str:
        """SHA-256 of a range."""
        return digest_of(self.data[offset : offset + length])


@cache
def snapshot_of(data: bytes, fingerprint: Fingerprint) -> Snapshot:
    """The file as it is read."""
    return Snapshot(fingerprint, Memo(data), uid=1000)


class WrongError(Exception):
    """A property does not hold."""
