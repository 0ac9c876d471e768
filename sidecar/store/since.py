"""Points in time as people write them: ``2h``, ``2026-06-01``, ``2026-06-01T12:00:00Z``."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from sidecar.core.errors import SidecarError
from sidecar.core.facts.units import NS_PER_SECOND
from sidecar.store.printable import one_line

_DURATION: Final = re.compile(r"\d{1,9}[smhdw]", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class SinceError(SidecarError, ValueError):
    """A text is no point in time."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{one_line(text[:40])!r} is no time: give a duration up to now such as 30m, 2h or 7d, or a date and time"
            " such as 2026-06-01T12:00:00Z (UTC unless it names another offset)"
        )


def duration_ns(text: str) -> int:
    """A length of time such as ``30s``, which has been checked."""
    return int(text[:-1]) * _SECONDS[text[-1]] * NS_PER_SECOND


def parse_since(text: str, now_ns: int) -> int:
    """The point in time, nanoseconds since the epoch.

    Args:
        text: A duration that ends now, or an ISO 8601 date or date and time.
        now_ns: Nanoseconds since the epoch.

    Raises:
        SinceError: It is neither.
    """
    if _DURATION.fullmatch(text):
        return max(0, now_ns - duration_ns(text))
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise SinceError(text) from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0, (at - _EPOCH) // timedelta(microseconds=1) * 1000)
