"""The protocol: every step that is possible in a state, and when a state need not be followed."""

from collections.abc import Hashable, Iterator
from typing import Final

from tests.model.canon import Canon, forget_commands
from tests.model.sidecar import Sidecar
from tests.model.world import OLD, At, Cast, Foreign, Rules, RunState, World, fields_of

_EXPOSED: Final = frozenset({At.WINDOW, At.ASKING, At.SETTLING, At.COMPARING, At.MOVING})


class Model(Sidecar):
    """All of it.

    Args:
        foreign: What the stranger does.
        cast: Who acts.
        rules: What is left out, if anything.
        reduced: States that are alike are one (`canon`), and those from which no property can be broken are the last.
        checks: Only properties of checks: a state in which both runs have compared is the last. That nobody is accused
            later on is for smaller casts to show.
    """

    def __init__(
        self, foreign: Foreign, cast: Cast, rules: Rules | None = None, *, reduced: bool = True, checks: bool = False
    ) -> None:
        """Nothing is explored yet."""
        super().__init__(foreign, cast, rules or Rules(), late=reduced)
        self._reduced = reduced
        self._checks = checks
        self._canon = Canon(self.minds)

    def beginning(self) -> World:
        """Nothing has happened yet."""
        cast = self.cast
        world = World(
            data=OLD,
            clock=1,
            holder="",
            runs=(RunState(), RunState(at=At.START if cast.runs > 1 else At.OVER)),
            locked=0 if cast.locked else 2,
            locked_before=None,
            loose=0 if cast.loose else 3,
            loose_change=None,
            led=True,
            stranger=False,
            lost=False,
            sequence=0,
            link=(),
            commands=(),
            fresh=0,
            mind=0,
        )
        world.mind = self.minds.first(world.fingerprint)
        return world

    def key(self, world: World) -> Hashable:
        """Equal for states with the same future."""
        return self._canon.key(world) if self._reduced else fields_of(world)

    def steps(self, world: World) -> Iterator[tuple[str, World]]:
        """Every next state, with the name of the step that leads there.

        Messages that have no effect outside of the engine are heard as soon as they are said (`Sidecar.swallow`).

        Raises:
            WrongError: A step breaks a property.
        """
        for name, made in self.gateway_steps(world):
            self.swallow(made)
            yield name, self._settled(made)
        for name, made in self.sidecar_steps(world):
            yield name, self._settled(made)

    def _settled(self, world: World) -> World:
        if not self._reduced:
            return world
        while any(command[0] == "answer" for command in world.commands):
            self.hear_command(world)
        if self.rules.compare_pushed:
            forget_commands(world)
        return world

    def is_over(self, world: World) -> bool:
        """No property can be broken from here on, so there is no need to go on.

        Either both runs are over and heard of; or the stranger has written, and no run is left whose fence was set
        before that and who has not compared yet: only the first property says something then, and the stranger acts
        once.
        """
        first, second = world.runs
        if first.at is second.at is At.OVER:
            return not world.link or self._checks
        if self._checks and first.at.is_checked and second.at.is_checked:
            return True
        if not self._reduced or not world.stranger or self.foreign is Foreign.TOUCH:
            return False
        strange = world.data.count(b"F")
        return not any(run.at in _EXPOSED and run.fenced.count(b"F") < strange for run in world.runs)
