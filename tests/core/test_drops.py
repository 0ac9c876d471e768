from __future__ import annotations

import pytest

from sidecar.core.drops import Drops


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_the_share_is_dropped_and_counted(share: float) -> None:
    drops = Drops(share)
    dropped = sum(drops.next() for _ in range(20_000))
    assert dropped == drops.dropped
    assert abs(dropped / 20_000 - share) < 0.02


def test_the_same_share_drops_the_same_items() -> None:
    one, two = Drops(0.3), Drops(0.3)
    assert [one.next() for _ in range(100)] == [two.next() for _ in range(100)]
