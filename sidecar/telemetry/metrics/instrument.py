"""What a metric is: how it is measured, its unit, and the closed sets of its labels (rule 8)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod
from typing import Final

from sidecar.telemetry.names.labels import NONE, OTHER
from sidecar.telemetry.names.names import SCOPE, Label

MAX_ZEROED: Final = 16
"""A counter with at most so many label sets starts with all of them at 0, so that its first increase shows."""


class Kind(StrEnum):
    """How a metric is measured."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instrument:
    """One metric.

    Attributes:
        name: Without the suffixes for unit and type that Prometheus adds.
        kind: How it is measured.
        help: One sentence.
        unit: In UCUM, as OpenTelemetry wants it.
        labels: The values that each label may have besides ``other``; None where something else bounds them: the build,
            or `sidecar.telemetry.metrics.agents`.
        buckets: Upper bounds of a histogram, in its unit.
    """

    name: str
    kind: Kind
    help: str
    unit: str
    labels: Mapping[Label, frozenset[str] | None] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()

    @property
    def weight(self) -> int:
        """How many time series one label set takes in Prometheus."""
        return len(self.buckets) + 3 if self.kind is Kind.HISTOGRAM else 1

    @property
    def zeroed(self) -> bool:
        """It starts at 0 for each of its label sets."""
        if self.kind is not Kind.COUNTER or None in self.labels.values():
            return False
        return prod(len(values or ()) for values in self.labels.values()) <= MAX_ZEROED

    def close(self, labels: Mapping[Label, str]) -> dict[str, str]:
        """These labels with every value outside its closed set replaced by ``other``.

        The values are plain strings: the SDK takes an enum of the same text for another value.
        """
        closed = {}
        for label, allowed in self.labels.items():
            if label is Label.ERROR_TYPE and label not in labels:
                continue  # by the conventions, only an error has one
            value = str(labels.get(label, NONE))
            closed[label.value] = value if allowed is None or value in allowed else OTHER
        return closed


LOCK_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
"""Seconds, 1 ms to 10 min: 60 s is the gateway's time-out, 300 s its longest hold."""

LATENCY_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Seconds: a gateway waits 250 ms for an answer."""


def counter(
    name: str, unit: str, help_: str, labels: Mapping[Label, frozenset[str] | None] | None = None
) -> Instrument:
    """A number that only grows."""
    return Instrument(name=f"{SCOPE}.{name}", kind=Kind.COUNTER, unit=unit, help=help_, labels=labels or {})


def histogram(
    name: str,
    help_: str,
    buckets: tuple[float, ...],
    labels: Mapping[Label, frozenset[str] | None] | None = None,
) -> Instrument:
    """Lengths of time in seconds."""
    return Instrument(
        name=f"{SCOPE}.{name}", kind=Kind.HISTOGRAM, unit="s", help=help_, labels=labels or {}, buckets=buckets
    )


def gauge(name: str, unit: str, help_: str, labels: Mapping[Label, frozenset[str] | None] | None = None) -> Instrument:
    """A number that is read at the moment of a collection."""
    return Instrument(name=f"{SCOPE}.{name}", kind=Kind.GAUGE, unit=unit, help=help_, labels=labels or {})


def values(words: Iterable[str], *more: str) -> frozenset[str]:
    """The closed set of a label."""
    return frozenset(str(word) for word in words) | frozenset(more)
