"""A recording as plain values, and as bytes."""

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args

import msgspec

from sidecar.core.events import Event
from sidecar.core.policy.policy import Mode, Policy
from sidecar.core.replay.recording import Recording
from sidecar.store import codec

_FAST: Final = 1
"""Level of compression. Digests are most of a recording: the default level takes five times as long for 4 % (2,000 of
them: 36 and 7 ms), and a gateway may be waiting."""

_EVENTS: Final = {kind.__name__: kind for kind in get_args(Event)}


def encode(recording: Recording) -> dict[str, Any]:
    """Plain values. Digests in place of bytes: a content that was not heard has been left out before."""
    return {
        "window": recording.window,
        "mode": recording.mode.value,
        "policy": msgspec.to_builtins(recording.policy),
        "whole": recording.whole,
        "events": [{"event": type(event).__name__, **msgspec.to_builtins(event)} for event in recording.events],
    }


def decode(body: Any) -> Recording:  # noqa: ANN401 - any JSON value
    """The inverse of `encode`.

    Raises:
        ValueError: This is no recording; the text names the place. So are KeyError and TypeError.
    """
    return Recording(
        window=str(body["window"]),
        policy=codec.build(Policy, body["policy"]),
        mode=Mode(body["mode"]),
        events=tuple(_events(body["events"])),
        whole=bool(body["whole"]),
    )


def pack(recording: Recording) -> bytes:
    """A recording as it is on disk."""
    return zlib.compress(codec.encode(encode(recording)).encode(), _FAST)


def unpack(packed: bytes) -> Recording:
    """A recording as it is on disk.

    Raises:
        ValueError: It is none.
    """
    return decode(json.loads(zlib.decompress(packed)))


def _events(rows: Iterable[Any]) -> Iterator[Event]:
    for number, row in enumerate(rows):
        kind = _EVENTS.get(row["event"])
        if kind is None:
            raise ValueError(f"events[{number}]: there is no event {row['event']!r}")
        yield codec.build(kind, {name: value for name, value in row.items() if name != "event"})
