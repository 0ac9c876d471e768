"""A small world around the real custodian: one file, one lock, the preload's protocol, and the wire in both directions.

The preload is written after `sidecar/preload/fence.mjs` (reading, settling, comparing, applying, looking again),
`account.mjs` (a fingerprint ahead of a call and one after it) and `link.mjs` (one stream each way, in order); the
sidecar's part after `sidecar/recovery/warden.py` (an answer reads the file at once; a look reads, has the link say what
it has done, and looks whether the file is still the same). The custodian is the product's.

A step is what can't be divided: a call of the file system, or what JavaScript and asyncio do without waiting.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum, IntEnum, auto
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sidecar.core import events as ev
from sidecar.core.change import Change, Operation
from sidecar.core.content import BytesContent, Snapshot
from sidecar.core.custodian import Custodian
from sidecar.core.decisions import Approve, ReadFile, Refuse, SaveIncident, Withdraw
from sidecar.core.fingerprint import Fingerprint
from sidecar.core.gateway import Adapter, Gateway, Run
from sidecar.core.ledger import Ledger
from sidecar.core.policy import Mode, Policy
from sidecar.core.verdict import Verdict
from sidecar.core.window import Window
from sidecar.core.writer import Writer, WriterKind
from tests.core.kit import FILE, LINK, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from sidecar.core.decisions import Decision

PID: Final = 100
AT: Final = 1

RUNS: Final = (0, 1)
OWN: Final = tuple(Writer(WriterKind.USER_TURN, "", PID, f"run-{n}") for n in RUNS)
LOCKED: Final = Writer(WriterKind.CRON, "locked", PID, "run-c1")
LOOSE: Final = Writer(WriterKind.CHANNEL, "loose", PID, "run-c2")


class Foreign(Enum):
    """What the stranger does, once."""

    APPEND = auto()
    OVERWRITE = auto()
    """A byte in place: the size stays."""
    TOUCH = auto()
    """No byte."""


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
    DONE = auto()
    LOST = auto()


_BUSY: Final = (At.COMPARING, At.MOVING, At.WRITTEN)


class RunState(NamedTuple):
    """One run and its fence controller."""

    at: At = At.START
    fence: Fingerprint | None = None
    fenced: bytes = b""
    """What the file held at the fence."""
    whole: bool = True
    """The reports alone lead up to the fence: no call was under way then, none had overlapped another, and no stranger
    had been there. Else the file has to be read at the fence, which may come too late for the turn."""
    pushed: tuple[Fingerprint, Fingerprint] | None = None
    current: Fingerprint | None = None
    """What the controller was given to compare."""
    pending: Fingerprint | None = None
    """What was approved at this check."""
    answered: bool = False
    moved: tuple[Fingerprint, Fingerprint] | None = None
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
    overlapped: bool
    """Two calls, or a call and a fence, came in one another's midst: the fingerprints do not meet end to end."""
    stranger: bool
    """The stranger has acted."""
    sequence: int
    """Of reports of changes; other messages need no number here."""
    link: tuple[int, ...]
    """On its way to the sidecar."""
    commands: tuple[Message, ...]
    """On its way to the preload."""
    fresh: int
    """Messages at the end of the link that were said after the last change of the file, and the report of it if that
    was made in the same breath."""
    mind: int
    """What the custodian knows; see `Minds`."""

    @property
    def fingerprint(self) -> Fingerprint:
        """What a stat says. Each change of the file has a time of its own."""
        return _fingerprint(len(self.data), self.clock)

    def copy(self) -> World:
        """Another one that can be changed."""
        return World(*_fields_of(self))

    def key(self) -> tuple[Any, ...]:
        """Equal for states with the same future."""
        return _fields_of(self)

    @property
    def occupied(self) -> bool:
        """The gateway's one thread does not let go: a synchronous call, or no wait between comparing and moving."""
        return self.locked == 1 or any(run.at in _BUSY for run in self.runs)

    def run(self, number: int, **new: Any) -> None:  # noqa: ANN401 - fields of a run
        """Change a run."""
        runs = list(self.runs)
        runs[number] = runs[number]._replace(**new)
        self.runs = tuple(runs)

    def write(self, data: bytes) -> None:
        """The file holds this from now on."""
        others = self.locked == 1 or any(run.at is At.WRITTEN for run in self.runs)
        self.overlapped = self.overlapped or self.loose in {1, 2} or others
        self.data = data
        self.clock += 1
        self.fresh = 0

    def say(self, *message: Any) -> None:  # noqa: ANN401 - a message of any kind
        """The preload says something."""
        self.link = (*self.link, code_of(message))
        self.fresh += 1


_CODES: Final[dict[Message, int]] = {}
_MESSAGES: Final[list[Message]] = []


def code_of(message: Message) -> int:
    """A number for each message, so that a state is quick to compare."""
    code = _CODES.setdefault(message, len(_MESSAGES))
    if code == len(_MESSAGES):
        _MESSAGES.append(message)
    return code


_fields_of: Final[Callable[[World], tuple[Any, ...]]] = attrgetter(*(f.name for f in fields(World)))


class Stamp(Fingerprint):
    """A fingerprint that is quick to compare: its time tells it from every other one of a file."""

    __slots__ = ()

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
def _run(number: int) -> Run:
    return Run(run_id=OWN[number].run_id)


class Memo(BytesContent):
    """Bytes whose digests are remembered: the same few are asked for again and again."""

    def digest(self, offset: int, length: int) -> str:
        """SHA-256 of a range."""
        return digest_of(self.data[offset : offset + length])


digest_of = cache(digest)


@cache
def _snapshot(data: bytes, fingerprint: Fingerprint) -> Snapshot:
    return Snapshot(fingerprint, Memo(data), uid=1000)


class Minds:
    """Every state of the custodian that was met, once. What an event makes of one is worked out once, too."""

    def __init__(self) -> None:
        """None was met."""
        self._known: dict[tuple[Any, ...], int] = {}
        self._all: list[Custodian] = []
        self._told: dict[tuple[int, Hashable], tuple[int, list[Decision]]] = {}

    def number(self, custodian: Custodian) -> int:
        """The number of this state of knowledge."""
        number = self._known.setdefault(mind_of(custodian), len(self._all))
        if number == len(self._all):
            self._all.append(custodian)
        return number

    def of(self, number: int) -> Custodian:
        """That custodian. It is never told anything itself."""
        return self._all[number]

    def tell(self, number: int, name: Hashable, event: ev.Event) -> tuple[int, list[Decision]]:
        """What it knows after an event, and what it decides. ``name`` stands for the event."""
        known = self._told.get((number, name))
        if known is None:
            custodian = forked(self._all[number])
            decisions = custodian.handle(event)
            known = self._told[number, name] = (self.number(custodian), decisions)
        return known

    @property
    def size(self) -> int:
        """How many were met."""
        return len(self._all)


def forked(custodian: Custodian) -> Custodian:
    """A custodian with the same knowledge that goes its own way."""
    made = Custodian(custodian.policy, custodian.mode)
    old, new = custodian._registry, made._registry
    new.gateways = old.gateways
    new.witness = old.witness
    new.unsettled = set(old.unsettled)
    for file, ledger in old.ledgers.items():
        new.ledgers[file] = copied = _copy(ledger, Ledger)
        copied.changes = list(ledger.changes)
    for name, window in old.windows.items():
        new.windows[name] = kept = _copy(window, Window)
        kept.changes, kept.records, kept.moments = list(window.changes), list(window.records), []
    return made


def _copy(value: Any, kind: type) -> Any:  # noqa: ANN401 - a dataclass with slots
    made: Any = object.__new__(kind)
    for name in kind.__slots__:  # type: ignore[attr-defined] # both have them
        setattr(made, name, getattr(value, name))
    return made


def mind_of(custodian: Custodian) -> tuple[Any, ...]:
    """All that can have a part in a decision. Not the timeline, nor counts of what was saved."""
    registry = custodian._registry
    ledger = registry.ledgers[FILE]
    windows = tuple(
        (
            *(w.window_id, w.fence, w.trusted, tuple(w.changes), w.broken, w.awaiting, w.approved),
            *((w.incident.verdict, w.incident.recovery.outcome, w.incident.paged) if w.incident else ()),
        )
        for w in registry.windows.values()
    )
    return (ledger.manifest, ledger.head, tuple(ledger.changes), tuple(registry.unsettled), windows)


def beginning(minds: Minds, cast: Cast) -> World:
    """A file whose bytes are known, and a linked gateway; nothing has happened yet."""
    custodian = Custodian(Policy(), Mode.RECOVER)
    custodian.handle(ev.LinkOpened(gateway=Gateway(LINK, PID, "1", Adapter.PUBLISH, can_reload=True), at_ns=AT))
    data = b"old\n"
    first = _fingerprint(len(data), 1)
    registry = custodian._registry
    registry.ledger(FILE).read(_snapshot(data, first), AT)
    registry.ledger(FILE).asked = True
    return World(
        data=data,
        clock=1,
        holder="",
        runs=(RunState(), RunState() if cast.runs > 1 else RunState(at=At.DONE)),
        locked=0 if cast.locked else 2,
        locked_before=None,
        loose=0 if cast.loose else 3,
        loose_change=None,
        overlapped=False,
        stranger=False,
        sequence=0,
        link=(),
        commands=(),
        fresh=0,
        mind=minds.number(custodian),
    )


@dataclass(frozen=True)
class Cast:
    """Who acts beside the stranger.

    Attributes:
        runs: One or two.
        locked: A co-tenant that takes the lock.
        loose: A co-tenant that does not, and whose write takes time.
    """

    runs: int = 2
    locked: bool = True
    loose: bool = True


class WrongError(Exception):
    """A property does not hold."""


class Model:
    """All steps that are possible in a state.

    Args:
        foreign: What the stranger does.
        rules: What is left out, if anything.
    """

    def __init__(self, foreign: Foreign, rules: Rules) -> None:
        """Nothing is explored yet."""
        self.foreign = foreign
        self.rules = rules
        self.minds = Minds()

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Every next state, with the name of the step that leads there.

        Messages that have no effect outside of the custodian are heard as soon as they are said (`_swallow`).

        Raises:
            WrongError: A step breaks a property.
        """
        for name, made in self._gateway_steps(world):
            self._swallow(made)
            yield name, made
        if world.link:
            yield from self._hear(world)
        if self._may_look(world):
            made = world.copy()
            self._read(made, made.data, made.fingerprint)
            self._swallow(made)
            yield "the sidecar looks", made

    def _gateway_steps(self, world: World) -> Iterator[tuple[str, World]]:
        free = not world.occupied
        for number in RUNS:
            if free or world.runs[number].at in _BUSY:
                yield from self._run_steps(world, number)
        if free or world.locked == 1:
            yield from self._locked_steps(world)
        if free or world.loose == 1:
            yield from self._loose_steps(world)
        yield from self._stranger_steps(world)
        if world.commands and free:
            made = world.copy()
            command, *made_commands = made.commands
            made.commands = tuple(made_commands)
            self._obey(made, command)
            yield f"the preload hears {command[0]}", made

    def is_over(self, world: World) -> bool:
        """No property can be broken from here on, so there is no need to go on.

        Either both runs are over and heard of; or the stranger has written, and every run that is under way set its
        fence afterwards: only the first property still says something then, and the stranger acts once.
        """
        under_way = [run for run in world.runs if run.at not in {At.DONE, At.LOST}]
        if not under_way:
            return not world.link
        if not world.stranger or self.foreign is Foreign.TOUCH:
            return False
        strange = world.data.count(b"F")
        return all(run.at is At.START or run.fenced.count(b"F") == strange for run in under_way)

    # Runs

    def _run_steps(  # noqa: C901 - one case for each place
        self, world: World, number: int
    ) -> Iterator[tuple[str, World]]:
        run = world.runs[number]
        name = f"run {number}"
        match run.at:
            case At.START if not world.holder and (number == 0 or world.runs[0].at is not At.START):
                made = world.copy()
                self._set_fence(made, number)
                yield f"{name} sets its fence", made
            case At.WINDOW if not world.holder:
                made = world.copy()
                made.holder = name
                self._consider(made, number, made.fingerprint)
                yield f"{name} takes the lock and compares", made
            case At.SETTLING:
                yield from self._settle(world, number)
            case At.COMPARING:
                yield from self._compare(world, number)
            case At.MOVING:
                made = world.copy()
                if self.rules.second_stat and made.fingerprint != run.pending:
                    self._lose(made, number, "the file changed while the fence was moved")
                else:
                    self._moved(made, number)
                yield f"{name} looks again after the move", made
            case At.WRITING:
                made = world.copy()
                made.run(number, at=At.WRITTEN, before=made.fingerprint)
                made.write(made.data + b"abcdefgh"[number : number + 1] + b"\n")
                yield f"{name} writes", made
            case At.WRITTEN:
                made = world.copy()
                self._report(made, OWN[number], b"abcdefgh"[number : number + 1] + b"\n", run.before)
                made.run(number, at=At.REPORTED, before=None)
                made.fresh = 0
                yield f"{name} reports its write", made
            case At.REPORTED:
                made = world.copy()
                self._set_fence(made, number)
                made.run(number, at=At.FENCED)
                yield f"{name} records its new fence", made
            case At.FENCED:
                made = world.copy()
                made.holder = ""
                made.run(number, **RunState(at=At.DONE)._asdict())
                made.say("event", ev.FenceClosed(window=window_of(number), takeover=False, at_ns=AT))
                yield f"{name} ends", made
            case _:
                pass

    def _set_fence(self, world: World, number: int) -> None:
        fence = world.fingerprint
        world.overlapped = world.overlapped or world.loose in {1, 2}
        whole = not world.stranger and not world.overlapped
        world.run(number, at=At.WINDOW, fence=fence, fenced=world.data, whole=whole, pushed=None, moved=None)
        world.say(
            "event",
            ev.FenceSet(link=LINK, window=window_of(number), file=FILE, fence=fence, run=_run(number), at_ns=AT),
        )

    def _consider(self, world: World, number: int, current: Fingerprint) -> None:
        """`#consider`: is this step approved already? Else ask."""
        run = world.runs[number]
        world.run(number, current=current, pending=None, answered=False)
        if current == run.fence or run.moved == (run.fence, current):
            world.run(number, at=At.WRITING)
            return
        exact = run.pushed == (run.fence, current) if self.rules.compare_pushed else run.pushed is not None
        if exact:
            world.run(number, at=At.SETTLING, pending=current, pushed=None, answered=True)
        else:
            world.run(number, at=At.ASKING)
            world.say("ask", number, run.fence, current)

    def _settle(self, world: World, number: int) -> Iterator[tuple[str, World]]:
        """`#settle`: once nobody in this process is writing, and the file is as it was read."""
        run = world.runs[number]
        busy = world.loose in {1, 2}
        if not busy and world.fingerprint == run.current:
            made = world.copy()
            made.run(number, at=At.COMPARING)
            yield f"run {number} has settled", made
            return
        if not busy:
            made = world.copy()
            self._consider(made, number, made.fingerprint)
            yield f"run {number} reads the file again", made
        late = world.copy()
        late.run(number, at=At.COMPARING, waited=False)
        yield f"run {number} has no time left", late

    def _compare(self, world: World, number: int) -> Iterator[tuple[str, World]]:
        """`#apply`: only from exactly this fence to exactly this file."""
        run = world.runs[number]
        made = world.copy()
        if run.pending is None:
            self._lose(made, number, "")
            yield f"run {number} is stopped", made
            return
        if self.rules.second_stat and made.fingerprint != run.pending:
            self._lose(made, number, "the file changed after the approval")
        else:
            made.run(number, at=At.MOVING)
        yield f"run {number} moves its fence", made

    def _moved(self, world: World, number: int) -> None:
        run = world.runs[number]
        self._must_be_clean(world, run)
        world.run(number, at=At.WRITING, moved=(run.fence, run.pending), pending=None, current=None, answered=False)
        self._applied(world, number, run, ok=True, reason="")

    def _must_be_clean(self, world: World, run: RunState) -> None:
        """Property 1: what the run goes on with holds no foreign byte that was not there at its fence."""
        if world.data.count(b"F") > run.fenced.count(b"F"):
            message = "a fence was moved across a foreign byte"
            raise WrongError(message)

    def _applied(self, world: World, number: int, run: RunState, *, ok: bool, reason: str) -> None:
        assert run.fence is not None
        assert run.pending is not None
        world.say(
            "event",
            ev.RecoveryApplied(
                window=window_of(number),
                applied=ok,
                fence=run.fence,
                current=run.pending,
                pushed=False,
                latency_ns=0,
                reason=reason,
                records=(),
                at_ns=AT,
            ),
        )

    def _lose(self, world: World, number: int, reason: str) -> None:
        run = world.runs[number]
        if run.pending is not None:
            self._applied(world, number, run, ok=False, reason=reason)
        # A touch in the very moment of the move costs the turn, as it would without us; else it must not.
        excused = world.stranger and (self.foreign is not Foreign.TOUCH or bool(reason))
        if run.waited and run.whole and not excused:
            message = f"a turn among co-tenants only was lost ({reason or 'refused'})"
            raise WrongError(message)
        world.say("tripped", number, run.fence, world.fingerprint)
        world.say("event", ev.FenceClosed(window=window_of(number), takeover=True, at_ns=AT))
        world.run(number, **RunState(at=At.LOST)._asdict())
        world.holder = ""

    # Co-tenants

    def _report(
        self, world: World, writer: Writer, data: bytes, before: Fingerprint | None, begun: Change | None = None
    ) -> None:
        world.sequence = number = world.sequence + 1
        change = begun or Change(
            change_id=f"c{writer.run_id}",
            operation=Operation.APPEND,
            writer=writer,
            at_ns=AT,
            offset=before.size if before else -1,
            before=before,
            link=LINK,
            began=number,
        )
        done = change.finish(ended=number, length=len(data), sha256=digest_of(data), after=world.fingerprint)
        world.say("event", ev.FileChanged(file=FILE, change=done))

    def _locked_steps(self, world: World) -> Iterator[tuple[str, World]]:
        """A co-tenant that takes the lock and writes in one call."""
        if world.locked == 0 and not world.holder:
            made = world.copy()
            made.holder = "locked"
            made.locked_before = made.fingerprint
            made.write(made.data + b"x\n")
            made.locked = 1
            yield "the locked co-tenant takes the lock and writes", made
        elif world.locked == 1:
            made = world.copy()
            self._report(made, LOCKED, b"x\n", made.locked_before)
            made.fresh = 0
            made.locked_before = None
            made.locked = 2
            made.holder = ""
            yield "the locked co-tenant reports, and releases the lock", made

    def _loose_steps(self, world: World) -> Iterator[tuple[str, World]]:
        """A co-tenant of the gateway's own process: it may enter a lock that a run holds, and its write takes time."""
        if world.loose > 2:
            return
        made = world.copy()
        match world.loose:
            case 0:
                made.sequence += 1
                made.loose_change = Change(
                    change_id="loose",
                    operation=Operation.APPEND,
                    writer=LOOSE,
                    at_ns=AT,
                    length=2,
                    sha256=digest_of(b"y\n"),
                    offset=len(made.data),
                    before=made.fingerprint,
                    link=LINK,
                    began=made.sequence,
                    ended=None,
                )
                made.say("event", ev.FileChanged(file=FILE, change=made.loose_change))
                made.loose = 1
                yield "the loose co-tenant announces a write", made
            case 1:
                made.loose = 3
                made.write(made.data + b"y\n")
                made.loose = 2
                yield "the loose co-tenant's bytes land", made
            case 2:
                self._report(made, LOOSE, b"y\n", None, made.loose_change)
                made.loose_change = None
                made.loose = 3
                yield "the loose co-tenant reports", made
            case _:
                pass

    def _stranger_steps(self, world: World) -> Iterator[tuple[str, World]]:
        if world.stranger:
            return
        made = world.copy()
        made.stranger = True
        match self.foreign:
            case Foreign.APPEND:
                made.write(made.data + b"F\n")
            case Foreign.OVERWRITE:
                made.write(b"F" + made.data[1:])
            case Foreign.TOUCH:
                made.write(made.data)
        yield "the stranger acts", made

    # The wire and the sidecar

    def _may_look(self, world: World) -> bool:
        """A look that nobody waits for may conclude now.

        The warden reads the file, has the link say what it has done, and concludes only if the file still is the same.
        So whenever it does conclude, the file is what it was when the link spoke, and everything that was said before
        the file's last change has been heard. Looks that conclude nothing have no effect. Here one may come at any
        moment at which a window is open, whether or not anything asks for it.
        """
        if world.locked == 1 or any(run.at is At.WRITTEN for run in world.runs):
            # The link can't speak between a synchronous write and its report.
            return False
        heard = not self.rules.hear_first or len(world.link) <= world.fresh
        return heard and bool(self.minds.of(world.mind).windows)

    def _next(self, world: World) -> bool:
        """Hear one message; false, and nothing is heard, where it would have an effect outside of the custodian."""
        if not world.link:
            return False
        code = world.link[0]
        message = _MESSAGES[code]
        if message[0] != "event":
            return False
        mind, decisions = self.minds.tell(world.mind, code, message[1])
        if self._speaks(decisions):
            return False
        self._must_be_fair(world, decisions)
        world.mind = mind
        self._drop(world)
        return True

    def _drop(self, world: World) -> Message:
        code = world.link[0]
        world.link = world.link[1:]
        world.fresh = min(world.fresh, len(world.link))
        return _MESSAGES[code]

    def _swallow(self, world: World) -> None:
        """Hear everything that has no effect outside.

        Nothing but the order of the link has an effect on these messages, so it makes no difference when they are
        heard, but for looks in between; and those are steps of their own before each is said.
        """
        while self._next(world):
            pass

    def _hear(self, world: World) -> Iterator[tuple[str, World]]:
        """The sidecar takes in the message at which it looks at the file or speaks.

        Then it takes in what has come behind it, with looks in between.
        """
        made = world.copy()
        code = made.link[0]
        message = self._drop(made)
        if message[0] == "event":
            self._carry_out(made, self._tell(made, code, message[1]))
        else:
            self._take(made, message)
        for looks, heard in self._interleaved(made, 0):
            yield f"the sidecar hears {message[0]}, and looks {looks} times behind it", heard

    def _interleaved(self, world: World, looks: int) -> Iterator[tuple[int, World]]:
        further = world.copy()
        if self._next(further):
            yield from self._interleaved(further, looks)
            if self._may_look(world):
                looked = world.copy()
                self._read(looked, looked.data, looked.fingerprint)
                if self._next(looked):
                    yield from self._interleaved(looked, looks + 1)
                else:
                    yield looks + 1, looked
        else:
            yield looks, world

    @staticmethod
    def _speaks(decisions: list[Decision]) -> bool:
        """Something follows outside of the custodian."""
        return any(isinstance(d, Approve | Withdraw) or (isinstance(d, ReadFile) and not d.settle) for d in decisions)

    def _obey(self, world: World, command: Message) -> None:
        match command:
            case ("answer", number, yes, fence, current):
                run = world.runs[number]
                if run.at is not At.ASKING:
                    return
                exact = (fence, current) == (run.fence, run.current)
                world.run(number, at=At.SETTLING, answered=True, pending=run.current if yes and exact else None)
            case ("push", number, fence, current):
                if world.runs[number].at not in {At.DONE, At.LOST}:
                    world.run(number, pushed=(fence, current))
            case ("withdraw", number):
                if world.runs[number].at not in {At.DONE, At.LOST}:
                    world.run(number, pushed=None)
            case _:
                raise AssertionError(command)

    def _tell(self, world: World, name: Hashable, event: ev.Event) -> list[Decision]:
        world.mind, decisions = self.minds.tell(world.mind, name, event)
        self._must_be_fair(world, decisions)
        return decisions

    def _take(self, world: World, message: Message) -> None:
        match message:
            case ("ask", number, fence, current):
                seen = world.fingerprint if self.rules.exact_step else current
                asked = ev.VerdictAsked(
                    ask=str(number),
                    link=LINK,
                    window=window_of(number),
                    file=FILE,
                    fence=fence,
                    current=current,
                    run=_run(number),
                    snapshot=_snapshot(world.data, seen),
                    at_ns=AT,
                )
                name = ("ask", number, fence, current, world.data, seen)
                self._carry_out(world, self._tell(world, name, asked))
            case ("tripped", number, fence, current):
                snapshot = _snapshot(world.data, current)
                if world.fingerprint != current:
                    snapshot = Snapshot(current, uid=1000, problem="it has changed since the turn was stopped")
                tripped = ev.TurnTripped(
                    link=LINK,
                    window=window_of(number),
                    file=FILE,
                    fence=fence,
                    run=_run(number),
                    snapshot=snapshot,
                    at_ns=AT,
                )
                name = ("tripped", number, fence, current, world.data, world.fingerprint)
                self._carry_out(world, self._tell(world, name, tripped))
            case _:
                raise AssertionError(message)

    def _read(self, world: World, data: bytes, fingerprint: Fingerprint) -> None:
        taken = ev.SnapshotTaken(file=FILE, snapshot=_snapshot(data, fingerprint), at_ns=AT)
        self._carry_out(world, self._tell(world, ("read", data, fingerprint), taken))

    def _carry_out(self, world: World, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case Approve(window=window, fence=fence, current=current, ask=ask):
                    number = int(window[1:])
                    word = ("answer", number, True, fence, current) if ask else ("push", number, fence, current)
                    world.commands = (*world.commands, word)
                case Refuse(window=window):
                    yes = not self.rules.account_for_bytes
                    number = int(window[1:])
                    run = world.runs[number]
                    world.commands = (*world.commands, ("answer", number, yes, run.fence, run.current))
                case Withdraw(window=window):
                    world.commands = (*world.commands, ("withdraw", int(window[1:])))
                case ReadFile(settle=False):
                    self._read(world, world.data, world.fingerprint)
                case _:
                    pass

    def _must_be_fair(self, world: World, decisions: list[Decision]) -> None:
        """Property 3: nobody is accused while no stranger has changed a byte."""
        for decision in decisions:
            accused = isinstance(decision, SaveIncident) and decision.incident.verdict is Verdict.EXTERNAL
            if accused and not (world.stranger and self.foreign is not Foreign.TOUCH):
                message = "a stranger is accused where there was none"
                raise WrongError(message)


__all__ = ["Cast", "Foreign", "Model", "Rules", "World", "WrongError", "beginning", "replace"]
