import pytest

from sidecar.faults import Faults


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_the_share_is_lost_and_counted(share: float) -> None:
    faults = Faults(share)
    lost = sum(faults.lose_next() for _ in range(20_000))
    assert lost == faults.lost
    assert abs(lost / 20_000 - share) < 0.02


def test_the_same_share_loses_the_same_items() -> None:
    one, two = Faults(0.3), Faults(0.3)
    assert [one.lose_next() for _ in range(100)] == [two.lose_next() for _ in range(100)]
