"""Draws the dashboards of docs/images: ``make images``.

Grafana does not run here, so these are no screenshots: each panel's own queries are asked of the Prometheus of the
scripted hour (of its spans, in panels of traces), and drawn with matplotlib where Grafana would put the panel.
"""

import math
import re
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.dashboards.grafana import FILES, filled, load
from tests.dashboards.hour import SCRAPE_SECONDS, Hour, lived, spans_of
from tests.dashboards.traceql import Seen, select

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
NOTE: Final = (
    "Drawn with matplotlib from a real Prometheus' answers to the panels' own queries; no screenshot of Grafana."
    " Time: minutes of the scripted hour."
)
_COLUMNS: Final = 24
_INCHES: Final = (0.62, 0.36)
"""Width and height of a grid unit."""
_GAP: Final = 0.9
_LEGEND: Final = 6
_LINES: Final = 9
_COLOURS: Final = {"green": "#2f8f3a", "orange": "#e07b00", "red": "#c4162a", None: "#444444"}
_RATE: Final = f"{int(6 * SCRAPE_SECONDS)}s"


def draw(board: dict[str, Any], hour: Hour, path: Path) -> None:
    """One dashboard as a picture."""
    spans = spans_of(hour.backend)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    size = (_COLUMNS * _INCHES[0], (rows + 3) * _INCHES[1])
    figure = plt.figure(figsize=size, dpi=70)
    figure.text(0.01, 1 - 0.8 / (rows + 3), board["title"], size=15, weight="bold")
    figure.text(0.01, 1 - 1.7 / (rows + 3), NOTE, size=8, color="#666666")
    for panel in board["panels"]:
        place = panel["gridPos"]
        if panel["type"] == "row":
            figure.text(0.01, 1 - (place["y"] + 3.75) / (rows + 3), panel["title"], size=11, weight="bold")
            continue
        axes = _axes(figure, place, rows)
        _title(axes, panel)
        if panel["type"] == "stat":
            _number(axes, panel, hour)
        elif panel["type"] == "timeseries":
            _chart(axes, panel, hour)
        else:
            _traces(axes, panel, spans)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": ""})
    plt.close(figure)


def _axes(figure: Figure, place: dict[str, int], rows: int) -> Axes:
    height = 1 / (rows + 3)
    left = place["x"] / _COLUMNS + 0.022
    bottom = 1 - (place["y"] + place["h"] + 3) * height + _GAP * height
    return figure.add_axes(
        (left, bottom, place["w"] / _COLUMNS - 0.03, (place["h"] - 1.6) * height - _GAP * height * 0.3)
    )


def _title(axes: Axes, panel: dict[str, Any]) -> None:
    axes.set_title(panel["title"], size=8.5, loc="left", weight="bold")
    axes.tick_params(labelsize=6.5)
    axes.margins(x=0)


def _number(axes: Axes, panel: dict[str, Any], hour: Hour) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    asked = filled(panel["targets"][0]["expr"], _RATE, f"{int(hour.end - hour.begin)}s")
    found = hour.prometheus.query(asked, hour.end)
    value = float(found[0]["value"][1]) if found else math.nan
    text, colour = defaults["noValue"], _COLOURS[None]
    if not math.isnan(value):
        text = f"{value:.1%}" if defaults["unit"] == "percentunit" else f"{value:g}"
        colour = _COLOURS[_step(defaults["thresholds"]["steps"], value)]
        for mapping in defaults.get("mappings", []):
            if text in mapping["options"]:
                chosen = mapping["options"][text]
                text, colour = chosen["text"], _COLOURS[chosen["color"]]
    axes.set_axis_off()
    axes.text(
        0.5,
        0.45,
        text,
        size=20 if len(text) < 9 else 8,
        color=colour,
        ha="center",
        va="center",
        weight="bold",
        transform=axes.transAxes,
    )


def _step(steps: list[dict[str, Any]], value: float) -> str:
    return str([step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1])


def _chart(axes: Axes, panel: dict[str, Any], hour: Hour) -> None:
    counted = panel["fieldConfig"]["defaults"].get("custom", {}).get("drawStyle") == "bars"
    lines: dict[str, dict[float, float]] = {}
    for target in panel["targets"]:
        asked = filled(target["expr"], _RATE, "60s")
        for series in hour.prometheus.query_range(asked, hour.begin, hour.end, SCRAPE_SECONDS):
            points = {_minute(hour, at): float(value) for at, value in series["values"] if _finite(value)}
            lines[_legend(target, series["metric"])] = points
    minutes = sorted({minute for points in lines.values() for minute in points})
    if not minutes:
        axes.text(
            0.5,
            0.5,
            panel["fieldConfig"]["defaults"]["noValue"],
            size=8,
            ha="center",
            va="center",
            transform=axes.transAxes,
        )
        axes.set_axis_off()
        return
    shown = {name: points for name, points in lines.items() if any(points.values())} or dict(list(lines.items())[:1])
    if counted:
        axes.stackplot(
            minutes,
            [[p.get(m, 0.0) for m in minutes] for p in shown.values()],
            labels=list(shown),
            step="mid",
            alpha=0.8,
        )
    else:
        for name, points in shown.items():
            axes.plot(list(points), list(points.values()), ".-", ms=3, lw=1.2, label=name)
    axes.set_xlim(0, 60)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    handles, labels = axes.get_legend_handles_labels()
    more = [f"and {len(labels) - _LEGEND} more"] if len(labels) > _LEGEND else []
    axes.legend(
        handles[:_LEGEND], labels[:_LEGEND], fontsize=5.5, loc="upper left", framealpha=0.6, title="".join(more)
    )


def _minute(hour: Hour, at: float) -> float:
    return 60 * (at - hour.begin) / (hour.end - hour.begin)


def _finite(value: str) -> bool:
    return math.isfinite(float(value))


def _legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), target["legendFormat"]) or "all"


def _traces(axes: Axes, panel: dict[str, Any], spans: list[Seen]) -> None:
    window = next(seen for seen in spans if seen.field("span.openclaw.recovery.outcome") == "effective")
    trace = str(window.field("trace:id"))
    if panel["type"] == "traces":
        _timeline(axes, [seen for seen in spans if seen.field("trace:id") == trace])
        return
    query = panel["targets"][0]["query"].replace("$trace", trace).replace("$session", ".+")
    columns: list[str] = re.findall(r"span\.[\w.]+", query.partition("| select")[2])
    found = sorted(select(query, spans), key=lambda seen: -seen.span.start_time_unix_nano)
    cells = [[seen.span.name, *(_cell(seen.field(name)) for name in columns)] for seen in found[:_LINES]]
    axes.set_axis_off()
    heads = ["name", *(".".join(name.split(".")[-2:]) for name in columns)]
    made = axes.table(cellText=cells, colLabels=heads, loc="upper left", cellLoc="left")
    made.auto_set_font_size(value=False)
    made.set_fontsize(6)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else textwrap.shorten(str(value), 26)


def _timeline(axes: Axes, trace: list[Seen]) -> None:
    ordered = sorted(trace, key=lambda seen: (seen.span.start_time_unix_nano, -seen.span.end_time_unix_nano))
    first = ordered[0].span.start_time_unix_nano
    for line, seen in enumerate(ordered):
        begin, end = (at - first for at in (seen.span.start_time_unix_nano, seen.span.end_time_unix_nano))
        axes.barh(line, max((end - begin) / 1e9, 0.05), left=begin / 1e9, height=0.6)
        axes.plot(
            [(e.time_unix_nano - first) / 1e9 for e in seen.span.events], [line] * len(seen.span.events), "k|", ms=9
        )
        axes.text(end / 1e9, line, f"  {seen.span.name}", size=7, va="center")
    axes.set_yticks([])
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel("seconds; strokes are events", size=7)


def main() -> int:
    """Live through the hour and draw every dashboard."""
    with tempfile.TemporaryDirectory(prefix="ocs-") as place, lived(Path(place) / "work", Path(place)) as hour:
        for path in FILES:
            draw(load(path), hour, IMAGES / f"{path.stem}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
