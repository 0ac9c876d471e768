"""The pin: one process that can't be seen is believed, through restarts of the sidecar too."""

from pathlib import Path
from typing import Final

import pytest

from sidecar.identity.errors import PinAwaitedError
from sidecar.identity.pin import AWAITED_SECONDS, PIN_FILE, Pin

FIRST: Final = "1" * 32
SECOND: Final = "2" * 32


class Clock:
    """Seconds that go on only when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pin(place: Path, clock: Clock | None = None) -> Pin:
    return Pin(place / PIN_FILE, clock or Clock())


def test_one_is_pinned_until_its_last_link_is_gone(tmp_path: Path) -> None:
    held = pin(tmp_path)
    assert held.free
    held.take("a", FIRST)
    assert held.join("b", FIRST) == frozenset()
    held.leave("a")
    held.leave("another")
    assert not held.free
    held.leave("b")
    assert held.free
    assert not (tmp_path / PIN_FILE).exists()


def test_a_later_pin_does_not_come_in_and_an_earlier_one_throws_it_out(tmp_path: Path) -> None:
    held = pin(tmp_path)
    held.take("b", SECOND)
    held.join("c", SECOND)
    assert held.join("a", FIRST) == frozenset({"b", "c"})
    assert held.join("b", SECOND) is None
    held.leave("b")
    assert not held.free


def test_whoever_was_pinned_is_waited_for_after_a_restart(tmp_path: Path) -> None:
    before = pin(tmp_path)
    before.take("a", FIRST)
    before.close()
    before.leave("a")
    clock = Clock()
    after = pin(tmp_path, clock)
    with pytest.raises(PinAwaitedError, match="try again"):
        assert after.free
    assert after.join("b", SECOND) is None
    assert after.join("a", FIRST) == frozenset()
    assert not after.free
    clock.now += AWAITED_SECONDS
    assert not after.free


def test_nobody_is_waited_for_longer_than_that(tmp_path: Path) -> None:
    before = pin(tmp_path)
    before.take("a", FIRST)
    before.close()
    clock = Clock()
    after = pin(tmp_path, clock)
    clock.now += AWAITED_SECONDS
    assert after.free
    assert not (tmp_path / PIN_FILE).exists()


def test_a_later_pin_comes_in_where_the_earlier_one_did_not_come_back(tmp_path: Path) -> None:
    before = pin(tmp_path)
    before.take("a", FIRST)
    before.close()
    clock = Clock()
    after = pin(tmp_path, clock)
    clock.now += AWAITED_SECONDS
    assert after.join("b", SECOND) == frozenset()
