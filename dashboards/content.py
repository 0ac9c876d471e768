"""What a dashboard is made of, in our words; `dashboards.render` turns it into Grafana's."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

GOOD: Final = "green"
WARN: Final = "orange"
BAD: Final = "red"

QUIET: Final = "none in this time: nothing is wrong"
"""What a panel says that is empty on a healthy system."""


class Source(Enum):
    """Where a panel's data come from: its data source variable and plugin."""

    METRICS = ("datasource", "prometheus")
    TRACES = ("traces", "tempo")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        text: PromQL, or TraceQL in a panel of traces.
        legend: What a series is called; labels in ``{{ }}``.
        exemplars: Show traces as dots on the lines.
    """

    text: str
    legend: str = ""
    exemplars: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What every panel has.

    Attributes:
        title: A few words.
        about: What it shows, and what to think of it. Never empty.
        queries: Its data.
        traces: TraceQL that leads from here to the traces; empty where there are none of it.
        unit: In Grafana's words.
        limits: From which value on which colour holds; below the first it is good.
        empty: What is said when there are no data. Never empty.
        width: Of 24.
        height: In grid units.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    traces: str = "{ name = `session.fence` }"
    unit: str = "short"
    limits: tuple[tuple[float, str], ...] = ()
    empty: str = QUIET
    width: int = 8
    height: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Panel):
    """One number, coloured by its limits.

    Attributes:
        words: What a value is called instead.
    """

    words: tuple[tuple[str, str, str], ...] = ()
    width: int = 4
    height: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart(Panel):
    """Lines over time; bars, stacked, where things are counted."""

    counted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans(Panel):
    """A table of spans; a click on one shows its trace in the dashboard *One session*."""

    width: int = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline(Panel):
    """One trace, span by span."""

    width: int = 24
    height: int = 16


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that answer one question."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A dashboard.

    Attributes:
        uid: Part of its address.
        title: Its name.
        about: What it is for.
        rows: Its panels.
        agents: It has a variable for the agent.
        texts: Variables that are typed in: name, label, what it is, default.
        refresh: How often Grafana asks again.
    """

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    agents: bool = False
    texts: tuple[tuple[str, str, str, str], ...] = field(default_factory=tuple)
    refresh: str = "30s"


def increase(metric: str, by: str = "", where: str = "", over: str = "$__rate_interval", *, legend: str = "") -> Query:
    """How much a counter grew, by label; whole numbers, as what is counted is whole.

    A series that is new within the time counts with its whole value: most label sets appear with their first event, and
    increase() alone would never show it. New is what was not there in the hour before; a missed scrape makes none new.
    """
    series = f"{metric}{{{selector(where)}}}"
    new = f"{series} unless last_over_time({series}[1h] offset {over})"
    return _query(f"round({_grouped('sum', by)} (({new}) or increase({series}[{over}])))", by, legend)


def per_second(metric: str, by: str = "", where: str = "", *, legend: str = "") -> Query:
    """How fast a counter grows."""
    rate = f"rate({metric}{{{selector(where)}}}[$__rate_interval])"
    return _query(f"{_grouped('sum', by)} ({rate})", by, legend)


def quantile(share: float, histogram: str, by: str = "", *, legend: str = "", exemplars: bool = False) -> Query:
    """The value that so large a share of measurements stays below."""
    labels = ", ".join(filter(None, ("le", by)))
    rate = f"sum by ({labels}) (rate({histogram}_bucket{{{selector()}}}[$__rate_interval]))"
    return _query(f"histogram_quantile({share}, {rate})", by, legend, exemplars=exemplars)


def now(metric: str, by: str = "", where: str = "", how: str = "sum", *, legend: str = "") -> Query:
    """A gauge."""
    return _query(f"{_grouped(how, by)} ({metric}{{{selector(where)}}})", by, legend)


def selector(where: str = "") -> str:
    """The chosen gateways, and more."""
    return ", ".join(filter(None, ('instance=~"$gateway"', where)))


def _grouped(how: str, by: str) -> str:
    return f"{how} by ({by})" if by else how


def _query(text: str, by: str, legend: str, *, exemplars: bool = False) -> Query:
    """A series is called what its label says, unless there is a legend."""
    return Query(text, legend or (by and f"{{{{{by}}}}}"), exemplars)
