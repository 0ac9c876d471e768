"""What a gateway's diagnostics bus said, as a line of a timeline."""

from sidecar.core import events as ev
from sidecar.core.reports import Diagnostic


def timeline_note(report: Diagnostic, link: str) -> ev.TimelineNote | None:
    """The line that this link told; None where the event is not worth one."""
    detail = _detail(report)
    if detail is None:
        return None
    return ev.TimelineNote(file="", run_id=report.run, what=report.event, detail=detail, at_ns=report.at_ns, link=link)


def _detail(report: Diagnostic) -> str | None:
    match report.event:
        case "model.call.started":
            return f"{report.provider}/{report.model}"
        case "model.call.completed":
            return f"{report.provider}/{report.model} after {report.duration_ms / 1000:.1f} s"
        case "model.call.error":
            return f"{report.provider}/{report.model}: {report.error or 'failed'}"
        case "session.stalled" | "session.stuck":
            return report.reason or report.state
        case _:
            return None
