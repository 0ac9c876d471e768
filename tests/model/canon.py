"""Which states are alike: those with the same future but for names, times and bytes that nothing can look at any more.

The search goes on from one state of each class, and never from a renamed one, so what is renamed here has a part in
nothing but the question whether a state is new. Two states are alike where all of this is equal:

- places of runs and co-tenants, the lock, messages under way, and what the engine knows;
- times by their order only: the core and the preload compare fingerprints, and ask which of two is later;
- the numbers of reports likewise;
- sizes and places by their distance from the end of a beginning that all that is known of the file has in common, and
  of the file and of manifests only what lies behind it: digests are asked for whole segments, from a fence on, so
  that a beginning that every manifest describes alike always matches or never, and where nobody refers into it, it does
  not matter how long it is (whether the stranger has put another byte in the place of the first is kept apart). Nor
  does the cut of a manifest into segments: all of them must match;
- of a window whose custody is lost only that, as it is `unattributed` until the next fence whatever else is known;
- an approval that the engine remembers only where it is for the file as it is (it gives none twice);
- of two equal runs, not which is which: names, windows and bytes of the two are exchanged (`SWAPPED`).

Commands are not heard in steps of their own (`Gateway.late`). An answer is heard at once: until then the run that waits
for it holds the lock and does nothing, and no other step reads what the answer changes. A push is heard where its run
compares, as nothing else reads it: there it has come, or has not. One for another fence or file than they are now can
have no effect, as no fingerprint comes back (`forget_commands`).
"""

from hashlib import blake2b
from marshal import dumps

from tests.model.minds import Minds
from tests.model.pieces import STRANGE, SWAPPED, body, of_change, of_command, of_message, of_run, of_stat
from tests.model.world import Message, RunState, World


class Canon:
    """Names states so that those that are alike have one name."""

    def __init__(self, minds: Minds) -> None:
        """Nothing was named."""
        self._minds = minds

    def key(self, world: World) -> bytes:
        """The name of a state: a digest of 16 bytes."""
        first, second = (_age(run) for run in world.runs)
        if first != second:
            return self._digest(world, swapped=first < second)
        return min(self._digest(world, swapped=False), self._digest(world, swapped=True))

    def _digest(self, world: World, *, swapped: bool) -> bytes:
        mind = self._minds.pieces(world.mind, swapped=swapped)
        first, second = world.runs[::-1] if swapped else world.runs
        parts = [mind.flat, of_run(first, swapped=swapped), of_run(second, swapped=swapped)]
        if world.locked_before is not None:
            parts.append(of_stat(world.locked_before))
        if world.loose_change is not None:
            parts.append(of_change(world.loose_change))
        if world.link:
            parts += [of_message(code, swapped=swapped) for code in world.link]
        if world.commands:
            parts += sorted(of_command(command, swapped=swapped) for command in world.commands)
        clock = world.clock
        shape = [
            SWAPPED.get(world.holder, world.holder) if swapped else world.holder,
            world.locked,
            world.loose,
            world.led,
            world.stranger,
            world.lost,
            world.data[:1] == STRANGE,
            world.fresh,
            len(world.link),
            *[time == clock for time in mind.approved],
        ]
        data = body(world.data, swapped=swapped)
        times, sizes, datas = [clock], [len(data)], [data]
        numbers: list[int] = []
        for number, some_times, some_sizes, some_numbers, some_datas in parts:
            shape.append(number)
            times += some_times
            sizes += some_sizes
            numbers += some_numbers
            datas += some_datas
        common = _common(datas, min(sizes))
        name = (
            shape,
            _ranks(times),
            bytes(map(common.__rsub__, sizes)),
            _ranks(numbers),
            [data[common:] for data in datas],
        )
        return blake2b(dumps(name, 0), digest_size=16).digest()


def _age(run: RunState) -> tuple[int, int]:
    """Tells most pairs of runs apart, whatever they are called."""
    return run.at, run.fence.ctime_ns if run.fence is not None else 0


def _ranks(values: list[int]) -> bytes:
    rank = {value: n for n, value in enumerate(sorted(set(values)))}
    return bytes(map(rank.__getitem__, values))


def _common(datas: list[bytes], most: int) -> int:
    """How long a beginning all have in common, at most up to the first place that something refers to."""
    low, high = min(datas), max(datas)
    most = min(most, *map(len, datas), len(low))
    if low[:most] == high[:most]:
        return most
    return next(n for n in range(most) if low[n] != high[n])


def forget_commands(world: World) -> None:
    """Hear an answer, and drop what can have no effect any more.

    Commands are kept apart for each run: that one was heard does not mean that those ahead of it to the other run
    were. That is more than can happen, never less.
    """
    now = world.fingerprint
    for number, run in enumerate(world.runs):
        if run.pushed is not None and run.pushed != (run.fence, now):
            world.run(number, pushed=None)
    live: dict[int, Message] = {}
    for command in world.commands:
        number = command[1]
        run = world.runs[number]
        if command[0] == "push" and not run.at.is_checked and command[2:] == (run.fence, now):
            live[number] = command
    if live or world.commands:
        world.commands = tuple(live[number] for number in sorted(live))
