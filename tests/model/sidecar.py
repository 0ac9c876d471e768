"""The sidecar: it hears the link in order, looks at the file, and has the product's engine decide.

Written after `sidecar/driver/driver.py`: an answer reads the file at once; a look reads, has the link say what it has
done, and looks whether the file still is the same.
"""

from collections.abc import Hashable, Iterator

from sidecar.core import events as ev
from sidecar.core.decisions import Approve, Decision, ReadFile, Refuse, ReportIllegalStep, SaveIncident, Withdraw
from sidecar.core.facts.content import Snapshot
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.loss import Loss
from sidecar.core.facts.reasons import Reason, ReasonCode
from sidecar.core.verdict.judge import Verdict
from tests.core.kit import FILE, LINK
from tests.model.gateway import Gateway
from tests.model.minds import Minds
from tests.model.world import (
    AT,
    MESSAGES,
    At,
    Cast,
    Foreign,
    Message,
    Rules,
    World,
    WrongError,
    describe,
    snapshot_of,
    window_of,
)

_MISSING = Reason.of(ReasonCode.REPORTS_MISSING, count=1, pid=1)


class Sidecar(Gateway):
    """Its steps.

    Args:
        foreign: What the stranger does.
        cast: Who acts.
        rules: What is left out, if anything.
        late: Commands are heard where they matter; see `canon`.
    """

    def __init__(self, foreign: Foreign, cast: Cast, rules: Rules, *, late: bool) -> None:
        """It knows nothing yet."""
        super().__init__(foreign, cast, rules, late=late)
        self.minds = Minds()

    def sidecar_steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Everything that the sidecar may do next."""
        if world.link:
            yield from self._hear(world)
        if self._may_look(world):
            made = world.copy()
            self._read(made, settled=True)
            self.swallow(made)
            yield "the sidecar looks", made

    def _may_look(self, world: World) -> bool:
        """A look that nobody waits for may conclude now.

        The driver reads the file, has the link say what it has done, and concludes only if the file still is the same.
        So whenever it does conclude, the file is what it was when the link spoke, and everything that was said before
        the file's last change has been heard. Looks that conclude nothing have no effect. Here one may come at any
        moment at which a window is open, whether or not anything asks for it.
        """
        if world.writing:
            # The link can't speak between a synchronous write and its report.
            return False
        heard = not self.rules.hear_first or len(world.link) <= world.fresh
        return heard and bool(self.minds.of(world.mind).windows)

    def swallow(self, world: World) -> None:
        """Hear everything that has no effect outside.

        Nothing but the order of the link has an effect on these messages, so it makes no difference when they are
        heard, but for looks in between; and those are steps of their own before each is said.
        """
        while self._next(world):
            pass

    def _next(self, world: World) -> bool:
        """Hear one message; false, and nothing is heard, where it would have an effect outside of the engine."""
        if not world.link:
            return False
        code = world.link[0]
        message = MESSAGES[code]
        if message[0] != "event":
            return False
        mind, decisions = self.minds.tell(world.mind, code, message[1])
        if any(isinstance(d, Approve | Withdraw) or (isinstance(d, ReadFile) and not d.settle) for d in decisions):
            return False
        self._must_be_fair(world, decisions)
        world.mind = mind
        _drop(world)
        return True

    def _hear(self, world: World) -> Iterator[tuple[str, World]]:
        """The sidecar takes in the message at which it looks at the file or speaks.

        Then it takes in what has come behind it, with looks in between.
        """
        made = world.copy()
        code = made.link[0]
        message = _drop(made)
        if message[0] == "event":
            self._tell(made, code, message[1])
        else:
            self._take(made, message)
        for looks, heard in self._interleaved(made, 0):
            yield f"the sidecar hears {message[0]}, and looks {looks} times behind it", heard

    def _interleaved(self, world: World, looks: int) -> Iterator[tuple[int, World]]:
        further = world.copy()
        if not self._next(further):
            yield looks, world
            return
        yield from self._interleaved(further, looks)
        if self._may_look(world):
            looked = world.copy()
            self._read(looked, settled=True)
            if self._next(looked):
                yield from self._interleaved(looked, looks + 1)
            else:
                yield looks + 1, looked

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
                    run=describe(number),
                    snapshot=self._snapshot(world, seen),
                    at_ns=AT,
                )
                self._tell(world, ("ask", number, fence, current, world.data, seen), asked)
            case ("tripped", number, fence, current):
                snapshot = self._snapshot(world, current)
                if world.fingerprint != current:
                    snapshot = Snapshot(current, uid=1000, problem="it has changed since the turn was stopped")
                tripped = ev.TurnTripped(
                    link=LINK,
                    window=window_of(number),
                    file=FILE,
                    fence=fence,
                    run=describe(number),
                    snapshot=snapshot,
                    at_ns=AT,
                )
                self._tell(world, ("tripped", number, fence, current, world.data, world.fingerprint), tripped)
            case ("gap",):
                if self.rules.heed_gaps:
                    self._tell(world, "gap", ev.AccountBroken(loss=Loss.GAP, reason=_MISSING, at_ns=AT))
                world.led = False
                for number in range(len(world.runs)):
                    world.run(number, whole=False)
            case _:
                raise AssertionError(message)

    def _snapshot(self, world: World, fingerprint: Fingerprint) -> Snapshot:
        data = world.data if self.rules.whole_file else b"o" + world.data[1:]
        return snapshot_of(data, fingerprint)

    def _read(self, world: World, *, settled: bool) -> None:
        """The file is read.

        That tells what it holds now, and so what it held at a fence that is like it. A reading that did not wait for
        reports is taken only at a fence. Nothing is told where a call is under way that did not find the file so:
        whether its bytes were read can't be known when it returns.
        """
        now = world.fingerprint
        taken = settled or any(w.fence == now for w in self.minds.of(world.mind).windows)
        if taken and not world.lost:
            world.led = world.quiet or (world.led and (world.loose_change is None or world.loose_change.before == now))
            for number, run in enumerate(world.runs):
                if run.at is At.WINDOW and run.fence == now and world.quiet and not world.link:
                    world.run(number, whole=True)
        read = ev.SnapshotTaken(file=FILE, snapshot=self._snapshot(world, now), at_ns=AT)
        self._tell(world, ("read", world.data, now), read)

    def _tell(self, world: World, name: Hashable, event: ev.Event) -> None:
        world.mind, decisions = self.minds.tell(world.mind, name, event)
        self._must_be_fair(world, decisions)
        for decision in decisions:
            match decision:
                case Approve(window=window, fence=fence, current=current, ask=ask):
                    number = int(window[1:])
                    word = ("answer", number, True, fence, current) if ask else ("push", number, fence, current)
                    world.commands = (*world.commands, word)
                case Refuse(window=window):
                    number = int(window[1:])
                    run = world.runs[number]
                    yes = not self.rules.account_for_bytes
                    world.commands = (*world.commands, ("answer", number, yes, run.fence, run.current))
                case Withdraw(window=window):
                    world.commands = (*world.commands, ("withdraw", int(window[1:])))
                case ReadFile(settle=False):
                    self._read(world, settled=False)
                case _:
                    pass

    def _must_be_fair(self, world: World, decisions: list[Decision]) -> None:
        """Property 3: nobody is accused while no stranger has changed a byte. And no step is off the tables."""
        for decision in decisions:
            if isinstance(decision, ReportIllegalStep):
                raise WrongError(decision.reason)
            accused = isinstance(decision, SaveIncident) and decision.incident.verdict is Verdict.EXTERNAL
            # A call whose begin was lost can't be told from a stranger until it returns.
            excused = world.lost and self.cast.loose
            if accused and not excused and not (world.stranger and self.foreign is not Foreign.TOUCH):
                raise WrongError("a stranger is accused where there was none")
            if accused:
                self.outcomes.add(("accused", b""))


def _drop(world: World) -> Message:
    code = world.link[0]
    world.link = world.link[1:]
    world.fresh = min(world.fresh, len(world.link))
    return MESSAGES[code]
