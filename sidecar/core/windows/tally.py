"""Which outcomes of an open window were emitted already."""

from dataclasses import dataclass, field

from sidecar.core.facts.version import AnyChange
from sidecar.core.verdict.judge import Verdict


@dataclass(slots=True)
class Tally:
    """Of one window.

    Attributes:
        partial: Its beginning was not seen.
        unjudged: Finished changes that nobody has judged.
        verdicts: Those under which bytes without a writer were found.
        ranges: Offset and length of these bytes.
    """

    partial: bool = False
    unjudged: list[AnyChange] = field(default_factory=list)
    verdicts: set[Verdict] = field(default_factory=set)
    ranges: set[tuple[int, int]] = field(default_factory=set)
