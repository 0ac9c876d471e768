"""Log lines."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sidecar.config.settings import LogFormat
from sidecar.telemetry import Telemetry, configure_logging, open_pipeline
from sidecar.telemetry.logs.setup import CHATTER_SECONDS, LINES, ChatterFilter, LineCounter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    LINES.listen(lambda _level, _count: None)
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)
    LINES.listen(None)


def test_a_line_is_json_where_no_person_looks() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    structlog.contextvars.bind_contextvars(trace_id="4bf9")
    structlog.get_logger("sidecar").warning("custody_lost", reason="overflow", path="/s/\udcff")
    line = json.loads(out.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "custody_lost",
        "level": "warning",
        "reason": "overflow",
        "path": "/s/\udcff",
        "trace_id": "4bf9",
    }


def test_a_line_on_a_terminal_is_for_people() -> None:
    out = Terminal()
    configure_logging(stream=out)
    structlog.get_logger().info("ready", http="127.0.0.1:1")
    assert "ready" in out.getvalue()
    assert not out.getvalue().startswith("{")


@pytest.mark.parametrize("style", ["json", LogFormat.JSON])
def test_the_style_can_be_set(style: str) -> None:
    out = Terminal()
    configure_logging(style, stream=out)
    structlog.get_logger().info("ready")
    assert json.loads(out.getvalue())["event"] == "ready"


def test_a_style_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="xml"):
        configure_logging("xml")


def test_lines_of_other_libraries_go_the_same_way() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    logging.getLogger("uvicorn.error").warning("port %d in use", 80)
    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["logger"]) == ("port 80 in use", "warning", "uvicorn.error")


def test_less_important_lines_are_neither_shown_nor_counted() -> None:
    out = io.StringIO()
    configure_logging(stream=out)
    counted: list[tuple[str, int]] = []
    LINES.listen(lambda level, count: counted.append((level, count)))
    structlog.get_logger().debug("looked")
    logging.getLogger("uvicorn").info("started")
    structlog.get_logger().info("ready")
    structlog.get_logger().error("broken")
    assert counted == [("info", 1), ("error", 1)]
    assert len(out.getvalue().splitlines()) == 2


def test_a_line_has_a_counter_beside_it() -> None:
    configure_logging(stream=io.StringIO())
    telemetry = Telemetry(open_pipeline())
    structlog.get_logger().warning("one")
    logging.getLogger("uvicorn").error("two")
    body = telemetry.render_metrics()[0].decode()
    assert 'openclaw_sidecar_log_lines_total{level="warning"} 1.0' in body
    assert 'openclaw_sidecar_log_lines_total{level="error"} 1.0' in body
    telemetry.shutdown()


def test_lines_before_the_first_listener_are_kept_for_it() -> None:
    lines, heard = LineCounter(), list[tuple[str, int]]()
    lines.count("info")
    lines.count("info")
    lines.listen(lambda level, count: heard.append((level, count)))
    lines.count("error")
    assert heard == [("info", 2), ("error", 1)]


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_shows_no_values(style: str) -> None:
    out = io.StringIO()
    configure_logging(style, stream=out)
    secret = "hunter2"
    try:
        [][len(secret)]
    except IndexError:
        structlog.get_logger().exception("look_failed")
        logging.getLogger("uvicorn").exception("failed")
    assert "IndexError" in out.getvalue()
    assert "hunter2" not in out.getvalue()


def test_the_sdk_does_not_repeat_itself() -> None:
    now = [0.0]
    chatter = ChatterFilter(lambda: now[0])

    def passes(name: str, message: str) -> bool:
        return chatter.filter(logging.LogRecord(name, logging.ERROR, "", 0, message, (), None))

    exporter = "opentelemetry.exporter.otlp"
    assert passes(exporter, "Failed to export")
    assert not passes(exporter, "Failed to export")
    assert passes(exporter, "Queue full")
    assert passes("uvicorn", "Failed to export")
    assert passes("uvicorn", "Failed to export")
    now[0] += CHATTER_SECONDS
    assert passes(exporter, "Failed to export")
