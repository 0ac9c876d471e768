"""Base of the metric families: meters, exemplars, and a guard that keeps errors from the service."""

import functools
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from sidecar.core.facts.writer import Writer, WriterKind
from sidecar.telemetry.metrics.agents import Agents
from sidecar.telemetry.metrics.instrument import Instrument, counter, values
from sidecar.telemetry.metrics.meters import Meters
from sidecar.telemetry.names.names import Label
from sidecar.telemetry.names.runs import RunTraces

ERRORS = counter("telemetry.errors", "{error}", "Errors inside telemetry that were kept from the service.")

BY_WRITER: Final = {Label.WRITER_KIND: values(WriterKind)}
BY_AGENT: Final[Mapping[Label, frozenset[str] | None]] = {Label.AGENT: None}

P = ParamSpec("P")
F = TypeVar("F")
S = TypeVar("S", bound="Guarded")


class Guarded:
    """Telemetry must not be able to hurt the service: an error is counted, and that is all."""

    _meters: Meters
    _last_error = ""

    @property
    def last_error(self) -> str:
        """Type and place of the last error that was kept from the service; empty when there was none."""
        return self._last_error

    def failed(self, error: Exception) -> None:
        """An error was kept from the service."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        self._last_error = " ".join([type(error).__name__, *(f"at {Path(f.filename).name}:{f.lineno}" for f in where)])
        with suppress(Exception):  # the counter itself fails: there is nothing left to do
            self._meters.add(ERRORS)


def guarded(method: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Of a `Guarded`: nothing is raised."""

    @functools.wraps(method)
    def caught(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - that is what the guard is for
            self.failed(error)

    return caught


@dataclass(frozen=True, slots=True)
class Counting:
    """What facts are counted with: events and outcomes of the core, and reports.

    Attributes:
        meters: Where the counts go.
        runs: Tells which trace is an example of a measurement.
        agents: Tells the agent of a session file.
    """

    meters: Meters
    runs: RunTraces
    agents: Agents


Handlers = Mapping[type, Callable[[Counting, Any], None]]
"""How a fact of each type is counted."""


def by(fact: type[F], metric: Instrument, label: Label, value: Callable[[F], str]) -> Handlers:
    """Each fact of a type counts once, under this value of the metric's one label."""
    return {fact: lambda into, found: into.meters.add(metric, labels={label: value(found)})}


_WRITER_KINDS: Final[Mapping[WriterKind, Mapping[Label, str]]] = {
    kind: {Label.WRITER_KIND: kind.value} for kind in WriterKind
}


def kind_of(writer: Writer) -> Mapping[Label, str]:
    """The label of a writer."""
    return _WRITER_KINDS[writer.kind]
