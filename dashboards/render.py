"""Our words into Grafana's, through the types of grafana-foundation-sdk.

The classic schema (v1) is written, which every Grafana from 10 on imports; the SDK's builder warns that there is a v2.
"""

import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, table, tempo, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.tempo import SearchTableType

from dashboards.content import GOOD, Board, Chart, Number, Panel, Source, Spans, Timeline
from sidecar.json_layout import layout

SESSION_UID: Final = "openclaw-one-session"
TAG: Final = "openclaw-sidecar"
_FILL: Final = 60
_NEEDLESS: Final = frozenset({"auto", "auto_count", "auto_min", "footer"})
_MENU: Final = "inControlsMenu"
_DEFAULTS: Final = {
    "transparent": False,
    "repeatDirection": "h",
    "exemplar": False,
    "instant": False,
    "range": False,
    "colorMode": "value",
    "justifyMode": "auto",
    "percentChangeColorMode": "standard",
    "showPercentChange": False,
    "textMode": "auto",
    "wideLayout": True,
}
"""What Grafana takes where a panel or a query does not say."""
_OF_A_DATA_LINK: Final = ("title", "url", "targetBlank")
_WIDE: Final = 24
_Styled = timeseries.Panel | stat.Panel | table.Panel | builders.Panel


def render(board: Board) -> str:
    """The dashboard's JSON."""
    made = (
        builders.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags([TAG])
        .timezone("browser")
        .time("now-1h", "now")
        .refresh(board.refresh)
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .editable()
        .link(
            builders.DashboardLink("OpenClaw sidecar")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .annotation(_alerts())
    )
    for variable in _variables(board):
        made.with_variable(variable)
    number = 0
    y = 0
    for row in board.rows:
        number += 1
        made.with_row(builders.Row(row.title).id(number).grid_pos(dashboard.GridPos(x=0, y=y, w=_WIDE, h=1)))
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > _WIDE:
                x, y, tallest = 0, y + tallest, 0
            number += 1
            place = dashboard.GridPos(x=x, y=y, w=panel.width, h=panel.height)
            made.with_panel(_panel(panel).id(number).grid_pos(place))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    built = json.loads(json.dumps(made.build(), cls=JSONEncoder), object_hook=_without_needless)
    return layout(built)


def _without_needless(found: dict[str, object]) -> dict[str, object]:
    """Without defaults that the SDK writes and Grafana does not need, or its schema does not have everywhere.

    The SDK has no type for the links of panels and fields, and writes them with all that a dashboard's own links have.
    """
    if found.get("type") == "link":
        return {key: found[key] for key in _OF_A_DATA_LINK}
    return {
        key: value
        for key, value in found.items()
        if key not in _NEEDLESS and value != _MENU and not (key in _DEFAULTS and value == _DEFAULTS[key])
    }


def explore(traceql: str) -> str:
    """Address of Grafana's Explore with a query for traces, over the time that the dashboard shows."""
    source = {"type": "tempo", "uid": "${traces}"}
    query = {"refId": "A", "datasource": source, "queryType": "traceql", "tableType": "spans", "query": traceql}
    pane = {"datasource": "${traces}", "queries": [query], "range": {"from": "${__from}", "to": "${__to}"}}
    text = quote(json.dumps({"traces": pane}, separators=(",", ":")), safe="")
    # Variables stay as they are, for Grafana to fill in.
    text = re.sub(r"%24%7B(\w+)%7D", r"${\1}", text)
    text = re.sub(r"%24([a-z]+)", r"${\1}", text)
    return f"/explore?schemaVersion=1&panes={text}"


def _ref(source: Source) -> common.DataSourceRef:
    variable, plugin = source.value
    return common.DataSourceRef(type_val=plugin, uid=f"${{{variable}}}")


def _variables(board: Board) -> Iterator[Builder[dashboard.VariableModel]]:
    yield builders.DatasourceVariable("datasource").label("Metrics").description("The Prometheus").type("prometheus")
    yield builders.DatasourceVariable("traces").label("Traces").description("The Tempo").type("tempo")
    yield _labels("gateway", "Gateway", "label_values(openclaw_sidecar_build_info, instance)")
    if board.agents:
        of_gateway = 'label_values(openclaw_sidecar_written_bytes_total{instance=~"$gateway"}, agent)'
        yield _labels("agent", "Agent", of_gateway)
    for name, label, about, default in board.texts:
        yield (
            builders.TextBoxVariable(name)
            .label(label)
            .description(about)
            .default_value(default)
            .current(dashboard.VariableOption(text=default, value=default))
        )


def _labels(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(_ref(Source.METRICS))
        .query({"query": query, "refId": name})
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(dashboard.VariableOption(text=["All"], value=["$__all"]))
    )


def _alerts() -> builders.AnnotationQuery:
    return (
        builders.AnnotationQuery()
        .name("Takeovers")
        .datasource(_ref(Source.METRICS))
        .enable(enable=True)
        .icon_color("red")
        .target(
            prometheus.Dataquery()
            .expr('ALERTS{alertname="OpenClawSessionTakeover", alertstate="firing", instance=~"$gateway"}')
            .legend_format("takeover on {{instance}}")
            .ref_id("Takeovers")
        )
    )


def _panel(panel: Panel) -> _Styled:
    if isinstance(panel, Number):
        made: _Styled = _number(panel)
    elif isinstance(panel, Chart):
        made = _chart(panel)
    elif isinstance(panel, Spans):
        made = table.Panel().cell_options(common.TableAutoCellOptions()).data_links([_this_trace()])
    else:
        # The SDK has no builder for Grafana's panel of one trace.
        made = builders.Panel().type("traces")
    source = Source.TRACES if isinstance(panel, Spans | Timeline) else Source.METRICS
    made.title(panel.title).description(panel.about).datasource(_ref(source)).no_value(panel.empty)
    for ref_id, target in zip("ABCDEF", _targets(panel, source), strict=False):
        made.with_target(target.ref_id(ref_id))
    if panel.traces:
        made.links([builders.DashboardLink("Traces").url(explore(panel.traces)).target_blank(target_blank=True)])
    if not isinstance(panel, Timeline):
        made.unit(panel.unit).thresholds(_thresholds(panel))
    return made


def _targets(panel: Panel, source: Source) -> Iterator[prometheus.Dataquery | tempo.Dataquery]:
    for query in panel.queries:
        if source is Source.TRACES:
            yield (
                tempo.Dataquery()
                .query_type("traceql")
                .query(query.text)
                .limit(200)
                .table_type(SearchTableType.SPANS)
                .datasource(_ref(source))
            )
        else:
            asked = prometheus.Dataquery().expr(query.text).legend_format(query.legend).datasource(_ref(source))
            yield asked.instant() if isinstance(panel, Number) else asked.range().exemplar(query.exemplars)


def _number(panel: Number) -> stat.Panel:
    made = (
        stat.Panel()
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(common.BigValueGraphMode.NONE)
    )
    if panel.words:
        options = {
            value: dashboard.ValueMappingResult(text=text, color=colour, index=at)
            for at, (value, text, colour) in enumerate(panel.words)
        }
        made.mappings([dashboard.ValueMap(options=options)])
    return made


def _chart(panel: Chart) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .show_points(common.VisibilityMode.AUTO)
        .axis_soft_min(0)
        .legend(
            common_builders.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST).show_legend(show_legend=True)
        )
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
    )
    if panel.counted:
        made.draw_style(common.GraphDrawStyle.BARS).fill_opacity(_FILL).stacking(
            common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        )
    elif panel.limits:
        made.thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    return made


def _thresholds(panel: Panel) -> builders.ThresholdsConfig:
    steps = [dashboard.Threshold(value=None, color=GOOD)]
    steps += [dashboard.Threshold(value=value, color=colour) for value, colour in panel.limits]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def _this_trace() -> builders.DashboardLink:
    """From a line of a table of spans to its trace."""
    trace = "${__data.fields.traceIdHidden}"
    return builders.DashboardLink("Show this trace here").url(
        f"/d/{SESSION_UID}?var-trace={trace}&var-session=${{session}}&var-traces=${{traces}}&${{__url_time_range}}"
    )
