"""The part of TraceQL that the dashboards use, asked of spans as they came over OTLP.

A model of Tempo, which does not run in tests: ``{ a = `x` && b =~ `y` }``, one of them below another with ``>``, and
``| select(...)``, which chooses columns and no spans.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | bool | float
_COMPARISON: Final = re.compile(r"^([\w:.]+)\s*(=~|!=|=|>)\s*(`[^`]*`|\w+)$")
_SECONDS: Final = {"s": 1, "m": 60}
_HOLDS: Final[Mapping[str, Callable[[Value, Value], bool]]] = {
    "=": lambda found, wanted: found == wanted,
    "!=": lambda found, wanted: found != wanted,
    "=~": lambda found, wanted: re.fullmatch(str(wanted), str(found)) is not None,
    ">": lambda found, wanted: float(found) > float(wanted),
}


class TraceQLError(ValueError):
    """Not of the part that the dashboards use."""


@dataclass(frozen=True)
class Seen:
    """A span, and the resource that sent it."""

    span: Span
    service: str

    def field(self, name: str) -> Value | None:
        """What TraceQL calls so; None when the span has none of it."""
        if name == "name":
            return self.span.name
        if name == "trace:id":
            return self.span.trace_id.hex()
        if name == "duration":
            return (self.span.end_time_unix_nano - self.span.start_time_unix_nano) / 1e9
        if name == "status":
            return "error" if self.span.status.code == 2 else "unset"
        if name == "resource.service.name":
            return self.service
        if name.startswith("span."):
            found = {attribute.key: attribute.value for attribute in self.span.attributes}
            return _plain(found[name[5:]]) if name[5:] in found else None
        raise TraceQLError(f"no such field: {name}")


def select(query: str, spans: Sequence[Seen]) -> list[Seen]:
    """The spans that a query chooses."""
    chosen, _, rest = query.partition("|")
    if rest and not re.fullmatch(r"\s*select\([\w., ]+\)\s*", rest):
        raise TraceQLError(f"not understood: {rest}")
    parts = re.findall(r"\{([^}]*)\}", chosen)
    if re.sub(r"\{[^}]*\}", "{}", chosen).strip() not in {"{}", "{} > {}"}:
        raise TraceQLError(f"not understood: {chosen}")
    found = _matching(parts[0], spans)
    for below in parts[1:]:
        above = {(seen.span.trace_id, seen.span.span_id) for seen in found}
        found = [s for s in _matching(below, spans) if (s.span.trace_id, s.span.parent_span_id) in above]
    return found


def _matching(conditions: str, spans: Iterable[Seen]) -> list[Seen]:
    return [seen for seen in spans if all(_holds(one.strip(), seen) for one in conditions.split("&&"))]


def _holds(condition: str, seen: Seen) -> bool:
    read = _COMPARISON.match(condition)
    if read is None:
        raise TraceQLError(f"not understood: {condition}")
    found = seen.field(read[1])
    return found is not None and _HOLDS[read[2]](found, _literal(read[3]))


def _literal(text: str) -> Value:
    if text.startswith("`"):
        return text.strip("`")
    if text in {"true", "false"}:
        return text == "true"
    if duration := re.fullmatch(r"(\d+)([sm])", text):
        return float(int(duration[1]) * _SECONDS[duration[2]])
    return text


def _plain(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    found: Value = getattr(value, kind) if kind else ""
    return found
