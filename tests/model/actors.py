"""Who changes the file beside the runs: two co-tenants and a stranger."""

from collections.abc import Iterator

from sidecar.core import events as ev
from sidecar.core.facts.change import Change, Operation
from sidecar.core.facts.fingerprint import Fingerprint
from sidecar.core.facts.value import replace
from sidecar.core.facts.writer import Writer
from tests.core.kit import FILE, LINK
from tests.model.world import AT, LOCKED, LOCKED_BYTES, LOOSE, LOOSE_BYTES, Cast, Foreign, World, digest_of


class Actors:
    """Their steps.

    Args:
        foreign: What the stranger does.
        cast: Who acts.
    """

    def __init__(self, foreign: Foreign, cast: Cast) -> None:
        """Nobody has acted."""
        self.foreign = foreign
        self.cast = cast

    def written(self, world: World, data: bytes) -> Iterator[World]:
        """The file holds this from now on. A coarse clock may not have moved, if the size has."""
        for moved in (True, False) if self.cast.coarse and len(data) != len(world.data) else (True,):
            made = world.copy()
            made.data = data
            made.clock += moved
            made.fresh = 0
            yield made

    def told(self, world: World) -> Iterator[World]:
        """The report that was said last reaches the sidecar, or is lost and leaves a gap."""
        if self.cast.lossy and not world.lost:
            less = world.copy()
            less.link = less.link[:-1]
            less.fresh -= 1
            less.say("gap")
            less.lost = True
            less.led = False
            for number in range(len(less.runs)):
                less.run(number, whole=False)
            yield less
        yield world

    def report(self, world: World, writer: Writer, data: bytes, before: Fingerprint | None) -> Iterator[World]:
        """A synchronous call has returned."""
        world.sequence = number = world.sequence + 1
        call = Change(
            change_id=f"c{writer.run_id}",
            operation=Operation.APPEND,
            writer=writer,
            at_ns=AT,
            offset=before.size if before else -1,
            before=before,
            link=LINK,
            began=number,
        )
        done = call.finish(ended=number, length=len(data), sha256=digest_of(data), after=world.fingerprint)
        world.say("event", ev.FileChanged(file=FILE, change=done))
        world.fresh = 0
        return self.told(world)

    def locked_steps(self, world: World) -> Iterator[tuple[str, World]]:
        """A co-tenant that takes the lock and writes in one call."""
        if world.locked == 0 and not world.holder:
            taken = world.copy()
            taken.holder = "locked"
            taken.locked_before = taken.fingerprint
            taken.locked = 1
            for made in self.written(taken, taken.data + LOCKED_BYTES):
                yield "the locked co-tenant takes the lock and writes", made
        elif world.locked == 1:
            done = world.copy()
            before, done.locked_before = done.locked_before, None
            done.locked = 2
            done.holder = ""
            for made in self.report(done, LOCKED, LOCKED_BYTES, before):
                yield "the locked co-tenant reports, and releases the lock", made

    def loose_steps(self, world: World) -> Iterator[tuple[str, World]]:
        """A co-tenant of the gateway's own process: it may enter a lock that a run holds, and its write takes time."""
        made = world.copy()
        match world.loose:
            case 0:
                made.sequence += 1
                made.loose_change = Change(
                    change_id="loose",
                    operation=Operation.APPEND,
                    writer=LOOSE,
                    at_ns=AT,
                    length=len(LOOSE_BYTES),
                    sha256=digest_of(LOOSE_BYTES),
                    offset=len(made.data),
                    before=made.fingerprint,
                    link=LINK,
                    began=made.sequence,
                    ended=None,
                )
                made.say("event", ev.FileChanged(file=FILE, change=made.loose_change))
                made.loose = 1
                for told in self.told(made):
                    yield "the loose co-tenant announces a write", told
            case 1:
                made.loose = 2
                # Between the fingerprints of a call of another, which came first can't be told by their sizes.
                made.led = made.led and not made.writing
                for landed in self.written(made, made.data + LOOSE_BYTES):
                    yield "the loose co-tenant's bytes land", landed
            case 2 if made.loose_change is not None:
                made.sequence += 1
                done = replace(made.loose_change, ended=made.sequence, after=made.fingerprint)
                made.say("event", ev.FileChanged(file=FILE, change=done))
                made.loose_change = None
                made.loose = 3
                for told in self.told(made):
                    yield "the loose co-tenant reports", told
            case _:
                pass

    def stranger_steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Once, at any point, and whoever holds the lock."""
        if world.stranger:
            return
        came = world.copy()
        came.stranger = True
        came.led = False
        data = came.data
        after = {Foreign.APPEND: data + b"F\n", Foreign.OVERWRITE: b"F" + data[1:], Foreign.TOUCH: data}[self.foreign]
        for made in self.written(came, after):
            yield "the stranger acts", made
