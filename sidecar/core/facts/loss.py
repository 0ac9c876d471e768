"""Why custody became unknown: a closed set, so that no one has to read it out of a sentence."""

from enum import StrEnum


class Loss(StrEnum):
    """Classes of reasons; a label of the metric `custody.losses`, and a key in `status`."""

    OVERFLOW = "overflow"
    """The kernel's queue of file events was full."""
    KERNEL_OVERFLOW = "kernel_overflow"
    """Fanotify's queue was full."""
    GAP = "gap"
    """Reports of a linked process are missing in their sequence."""
    DROPPED = "dropped"
    """A preload had to drop reports."""
    LINK_LOST = "link_lost"
    """A link was lost without a goodbye."""
    SUSPENDED = "suspended"
    """The machine slept."""
    CLOCK_STEP = "clock_step"
    """The clock was set, so that the times of files say nothing about their order."""
    RENAMED = "renamed"
    """A directory was renamed under the watch. Touches the files in it only."""
    PRELOAD = "preload"
    """A preload could not account for a write: an error of its own."""
    WRITE_FAILED = "write_failed"
    """A write failed half-way: how much of it is in the file is not known. Touches that file only."""
    ILLEGAL_STEP = "illegal_step"
    """What was said of a window does not go with its state. Touches that window only."""
    OTHER = "other"
