import pytest

from sidecar.store.since import SinceError, parse_since
from tests.store.samples import NOON, SECOND


@pytest.mark.parametrize(
    ("text", "seconds_before_noon"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("7d", 7 * 86_400),
        ("1w", 7 * 86_400),
        ("2026-06-01T11:00:00Z", 3600),
        ("2026-06-01T13:00:00+02:00", 3600),
        ("2026-06-01T11:00", 3600),
        ("2026-06-01", 12 * 3600),
    ],
)
def test_a_time_is_read_in_the_forms_that_people_write(text: str, seconds_before_noon: int) -> None:
    assert parse_since(text, NOON) == NOON - seconds_before_noon * SECOND


def test_a_time_before_all_records_is_the_beginning() -> None:
    assert parse_since("999999999w", NOON) == 0
    assert parse_since("0001-01-01", NOON) == 0


@pytest.mark.parametrize("text", ["", "2", "h", "-2h", "2 h", "2H", "yesterday", "2026-13-01", "٢h", "x\n" * 80])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SinceError, match="is no time: ") as caught:
        parse_since(text, NOON)
    assert "\n" not in str(caught.value)
