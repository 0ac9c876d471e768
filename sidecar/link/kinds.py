"""Which messages of a gateway are of what kind."""

from typing import Final

from sidecar.wire import messages as wire

OF_COTENANTS: Final = frozenset({wire.Changed, wire.LockTaken, wire.LockReleased, wire.LockFailed})
"""What a program outside of OpenClaw may report."""

REPORTS: Final = frozenset(
    {
        wire.Changed,
        wire.LockTaken,
        wire.LockReleased,
        wire.DatabaseLocked,
        wire.FenceSet,
        wire.FenceClosed,
        wire.Applied,
        wire.Tripped,
        wire.Diagnostic,
    }
)
"""What simulated loss may drop."""
