"""Logs: for people on a terminal, JSON elsewhere, every line counted.

Lines of other libraries (uvicorn, apscheduler, OpenTelemetry) go the same way. A traceback never shows the values of
variables: these may hold text of a transcript. Names from outside can't work on a terminal, nor look like another line.
"""

import io
import logging
import sys
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from sidecar.store.printable import one_line

CHATTER_SECONDS: Final = 60.0
"""OpenTelemetry repeats itself while a collector is down, and uvicorn with each request that is none: each line of
theirs is shown at most once in this time."""


class LineCounter:
    """Counts lines by level, for whoever listens; what came before the listener is kept for it."""

    def __init__(self) -> None:
        self._kept: Counter[str] = Counter()
        self._listener: Callable[[str, int], None] | None = None

    def count(self, level: str) -> None:
        """A line was written."""
        if self._listener is None:
            self._kept[level] += 1
        else:
            self._listener(level, 1)

    def listen(self, listener: Callable[[str, int], None] | None) -> None:
        """Tell this listener of each line from now on, and of all before; None to tell nobody."""
        self._listener = listener
        if listener is not None:
            for level, count in self._kept.items():
                listener(level, count)
            self._kept.clear()


LINES: Final = LineCounter()
"""Logging is one for the whole process, and so is the count of its lines."""


def configure_logging(style: str = "auto", *, stream: TextIO | None = None) -> None:
    """Set structlog and the standard library's logging up, for the whole process.

    Args:
        style: How a line looks: ``console``, ``json``, or ``auto`` for console on a terminal and JSON elsewhere.
        stream: Where lines go; standard error when not given.
    """
    out = stream or sys.stderr
    consoles = {"auto": out.isatty(), "console": True, "json": False}
    if style not in consoles:
        raise ValueError(f"there is no style {style} of log lines")
    console = consoles[style]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _counted,
    ]
    rendered = _renderers(out, console=console)
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        logger_factory=structlog.WriteLoggerFactory(out),
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(ChatterFilter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # What goes well in other libraries is of no interest to an operator.
    root.setLevel(logging.WARNING)


class ChatterFilter(logging.Filter):
    """Lets a line of the OpenTelemetry SDK, or a warning of uvicorn, through once in a while."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """Nothing shown yet; ``clock`` is in seconds."""
        super().__init__()
        self._clock = clock
        self._shown: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """The line is of another library, or has not been shown lately."""
        uvicorn = record.name.startswith("uvicorn") and record.levelno < logging.ERROR
        if not (uvicorn or record.name.startswith("opentelemetry")):
            return True
        key, now = (record.name, str(record.msg)), self._clock()
        if now - self._shown.get(key, -CHATTER_SECONDS) < CHATTER_SECONDS:
            return False
        self._shown[key] = now
        return True


def _counted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    LINES.count(str(event.get("level", "")))
    return event


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: one_line(value) if isinstance(value, str) else value for key, value in event.items()}


def _traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Indented: no line of it, such as one of the error's own text, can pass for a line of the log."""
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    out.writelines(f"\n  {one_line(line)}" for line in plain.getvalue().strip("\n").split("\n"))


def _renderers(out: TextIO, *, console: bool) -> list[Processor]:
    if console:
        return [_printable, structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=_traceback)]
    # JSON is in ASCII, its control characters escaped.
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer(default=str)]
