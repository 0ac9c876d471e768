"""A machine that slept and a clock that was set are noticed, with clocks that the test turns."""

from sidecar.core.facts.loss import Loss
from sidecar.intake.clocks import Clocks, read_clocks
from tests.service.kit import Turning


class Turned(Turning):
    """Clocks and what they show."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[tuple[Loss, str]] = []
        self.clocks = Clocks(lambda *loss: self.losses.append(loss), self.read)

    def seen(self) -> list[Loss]:
        """What is found since the last look."""
        self.losses.clear()
        self.clocks.check()
        return [loss for loss, _text in self.losses]


def test_time_that_passes_is_no_loss() -> None:
    turned = Turned()
    for seconds in (0.0, 0.001, 5.0, 86_400.0):
        turned.run(seconds)
        assert turned.seen() == []


def test_a_machine_that_slept_is_noticed_once_and_is_no_clock_step() -> None:
    turned = Turned()
    turned.run(5)
    turned.sleep(600)
    assert turned.seen() == [Loss.SUSPENDED]
    assert turned.seen() == []


def test_a_clock_that_was_set_either_way_is_noticed_once() -> None:
    for seconds in (3600.0, -0.5):
        turned = Turned()
        turned.run(5)
        turned.step(seconds)
        assert turned.seen() == [Loss.CLOCK_STEP]
        assert turned.seen() == []


def test_slewing_is_no_step() -> None:
    turned = Turned()
    for _ in range(100):
        turned.run(5)
        turned.step(5 * 0.0005)
        assert turned.seen() == []


def test_both_at_once_are_both_told() -> None:
    turned = Turned()
    turned.sleep(60)
    turned.step(-7200)
    assert turned.seen() == [Loss.SUSPENDED, Loss.CLOCK_STEP]


def test_the_kernels_clocks_agree_with_themselves() -> None:
    losses: list[Loss] = []
    Clocks(lambda loss, _text: losses.append(loss), read_clocks).check()
    assert losses == []
