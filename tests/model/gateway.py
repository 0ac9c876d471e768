"""The runs of a gateway, as the preload has them check their fences.

Written after the preload: `fence/fence.mjs` (reading, settling, comparing, applying, looking again),
`account/reports.mjs` (a fingerprint ahead of a call and one after it) and `link.mjs` (one stream each way, in order).
"""

from collections.abc import Iterator
from typing import Final

from sidecar.core import events as ev
from sidecar.core.facts.fingerprint import Fingerprint
from tests.core.kit import FILE, LINK
from tests.model.actors import Actors
from tests.model.world import (
    AT,
    OWN,
    OWN_BYTES,
    RUNS,
    At,
    Cast,
    Foreign,
    Message,
    Rules,
    RunState,
    World,
    WrongError,
    describe,
    window_of,
)

_MOVED: Final = "a fence was moved across a foreign byte"
_TOO_LATE: Final = "the file changed after the approval"
_JUST_THEN: Final = "the file changed while the fence was moved"

Outcome = tuple[str, bytes]


class Gateway(Actors):
    """The steps of the runs.

    Args:
        foreign: What the stranger does.
        cast: Who acts.
        rules: What is left out, if anything.
        late: Commands are heard where they matter, and not as steps of their own; see `canon`.
    """

    def __init__(self, foreign: Foreign, cast: Cast, rules: Rules, *, late: bool) -> None:
        """Nothing has happened."""
        super().__init__(foreign, cast)
        self.rules = rules
        self.late = late
        self.outcomes: set[Outcome] = set()
        """What came of checks so far, each with the bytes that it was about; a run's own are `o`, another run's `p`."""

    def gateway_steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Everything that may happen next on the gateway's side of the wire, or to the file."""
        free = not world.occupied
        for number in RUNS:
            if free or world.runs[number].at in {At.COMPARING, At.MOVING, At.WRITTEN}:
                yield from self._run_steps(world, number)
        if free or world.locked == 1:
            yield from self.locked_steps(world)
        if free or world.loose == 1:
            yield from self.loose_steps(world)
        yield from self.stranger_steps(world)
        if not self.late and world.commands and free:
            made = world.copy()
            self.hear_command(made)
            yield f"the preload hears {world.commands[0][0]}", made

    def _run_steps(  # noqa: C901, PLR0912 - one case for each place
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
                for heard, further in self._considered(made, number):
                    yield f"{name} takes the lock and compares{heard}", further
            case At.SETTLING:
                yield from self._settle(world, number)
            case At.COMPARING:
                yield from self._compare(world, number)
            case At.MOVING:
                made = world.copy()
                if self.rules.second_stat and made.fingerprint != run.pending:
                    self._lose(made, number, _JUST_THEN)
                else:
                    self._moved(made, number)
                yield f"{name} looks again after the move", made
            case At.WRITING:
                begun = world.copy()
                begun.run(number, at=At.WRITTEN, before=begun.fingerprint)
                for made in self.written(begun, begun.data + OWN_BYTES[number]):
                    yield f"{name} writes", made
            case At.WRITTEN:
                done = world.copy()
                done.move(number, At.REPORTED)
                for made in self.report(done, OWN[number], OWN_BYTES[number], run.before):
                    yield f"{name} reports its write", made
            case At.REPORTED:
                made = world.copy()
                self._set_fence(made, number)
                made.move(number, At.FENCED)
                yield f"{name} records its new fence", made
            case At.FENCED:
                made = world.copy()
                made.holder = ""
                made.move(number, At.OVER)
                made.say("event", ev.FenceClosed(window=window_of(number), takeover=False, at_ns=AT))
                yield f"{name} ends", made
            case _:
                pass

    def _set_fence(self, world: World, number: int) -> None:
        fence = world.fingerprint
        whole = world.led and world.loose not in {1, 2}
        world.run(number, at=At.WINDOW, fence=fence, fenced=world.data, whole=whole, pushed=None)
        fence_set = ev.FenceSet(
            link=LINK, window=window_of(number), file=FILE, fence=fence, run=describe(number), at_ns=AT
        )
        world.say("event", fence_set)

    def _considered(self, world: World, number: int) -> Iterator[tuple[str, World]]:
        """`#consider`, after more or fewer of the commands that are on their way."""
        first = world.copy()
        self._consider(first, number)
        yield "", first
        if not self.late:
            return
        for count, command in enumerate(world.commands):
            if command[1] == number:
                heard = world.copy()
                heard.commands = world.commands[:count] + world.commands[count + 1 :]
                self._obey(heard, command)
                self._consider(heard, number)
                yield ", command heard", heard

    def _consider(self, world: World, number: int) -> None:
        """Is this step approved already? Else ask."""
        run, current = world.runs[number], world.fingerprint
        if current == run.fence:
            world.move(number, At.WRITING)
            return
        exact = run.pushed == (run.fence, current) if self.rules.compare_pushed else run.pushed is not None
        if exact:
            world.run(number, at=At.SETTLING, current=current, pending=current, pushed=None)
        else:
            world.run(number, at=At.ASKING, current=current, pending=None)
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
            for heard, made in self._considered(world, number):
                yield f"run {number} reads the file again{heard}", made
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
            self._lose(made, number, _TOO_LATE)
        else:
            made.run(number, at=At.MOVING)
        yield f"run {number} moves its fence", made

    def _moved(self, world: World, number: int) -> None:
        """Property 1: what the run goes on with holds no foreign byte that was not there at its fence."""
        run = world.runs[number]
        self.outcomes.add(("moved", self._since(world, number)))
        if world.data.count(b"F") > run.fenced.count(b"F"):
            raise WrongError(_MOVED)
        world.move(number, At.WRITING)
        self._applied(world, number, run, ok=True, reason="")

    def _lose(self, world: World, number: int, reason: str) -> None:
        """Property 2: not while only co-tenants have written, with whole evidence."""
        run = world.runs[number]
        self.outcomes.add((f"lost: {reason}", self._since(world, number)))
        if run.pending is not None:
            self._applied(world, number, run, ok=False, reason=reason)
        # A touch in the very moment of the move costs the turn, as it would without us; else it must not.
        excused = world.stranger and (self.foreign is not Foreign.TOUCH or bool(reason))
        if run.waited and run.whole and not excused:
            raise WrongError(f"a turn among co-tenants only was lost ({reason or 'refused'})")
        world.say("tripped", number, run.fence, world.fingerprint)
        world.say("event", ev.FenceClosed(window=window_of(number), takeover=True, at_ns=AT))
        world.move(number, At.OVER)
        world.holder = ""

    def _applied(self, world: World, number: int, run: RunState, *, ok: bool, reason: str) -> None:
        applied = ev.RecoveryApplied(
            window=window_of(number),
            applied=ok,
            fence=_known(run.fence),
            current=_known(run.pending),
            pushed=False,
            latency_ns=0,
            reason=reason,
            records=(),
            at_ns=AT,
        )
        world.say("event", applied)

    @staticmethod
    def _since(world: World, number: int) -> bytes:
        """What the file holds beyond the fence, whoever the run is."""
        fenced = len(world.runs[number].fenced)
        head = b"F" if world.data[:fenced] != world.runs[number].fenced else b""
        return head + world.data[fenced:].replace(OWN_BYTES[number], b"o\n").replace(OWN_BYTES[1 - number], b"p\n")

    # Commands

    def hear_command(self, world: World) -> int:
        """Take in the first command.

        Returns:
            Whose run it is about.
        """
        command, *rest = world.commands
        world.commands = tuple(rest)
        self._obey(world, command)
        number: int = command[1]
        return number

    @staticmethod
    def _obey(world: World, command: Message) -> None:
        match command:
            case ("answer", number, yes, fence, current):
                run = world.runs[number]
                exact = (fence, current) == (run.fence, run.current)
                if run.at is At.ASKING:
                    world.run(number, at=At.SETTLING, pending=run.current if yes and exact else None)
            case ("push", number, fence, current):
                if not world.runs[number].at.is_checked:
                    world.run(number, pushed=(fence, current))
            case ("withdraw", number):
                if not world.runs[number].at.is_checked:
                    world.run(number, pushed=None)
            case _:
                raise AssertionError(command)


def _known(fingerprint: Fingerprint | None) -> Fingerprint:
    assert fingerprint is not None
    return fingerprint
