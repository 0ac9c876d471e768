"""Who is on call: a receiver that speaks PagerDuty's Events API v2, and takes what goes to chat and tickets beside it.

The one part of the way that is not real: PagerDuty itself is a service on the internet. What it asks of an event, and
how it answers, is from its reference (https://developer.pagerduty.com/docs/send-alert-event).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from types import TracebackType
from typing import Any, Final, Self

from tests.servers.process import HOST

ROUTING_KEY: Final = "0123456789abcdef0123456789abcdef"
_ENQUEUE: Final = "/v2/enqueue"
_SEVERITIES: Final = frozenset({"critical", "error", "warning", "info"})
_MAX_SUMMARY: Final = 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event that was accepted.

    Attributes:
        action: trigger, acknowledge or resolve.
        dedup_key: Names the incident at PagerDuty.
        body: The whole of it.
    """

    action: str
    dedup_key: str
    body: dict[str, Any]


class OnCall:
    """Records events, and posts to other paths.

    Attributes:
        events: Accepted events, oldest first.
        refused: Why events were not accepted.
        posts: Path and body of every other post.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refused: list[str] = []
        self.posts: list[tuple[str, Any]] = []
        self._news = Condition()
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        """Its address; events go to ``/v2/enqueue`` below it."""
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def of(self, action: str) -> list[Event]:
        """The accepted events with an action."""
        return [event for event in self.events if event.action == action]

    def wait(self, what: Callable[[], bool], timeout_seconds: float) -> bool:
        """Wait until a condition holds; False when it does not in time."""
        with self._news:
            return self._news.wait_for(what, timeout_seconds)

    def _take(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401 - JSON
        with self._news:
            self._news.notify_all()
            if path != _ENQUEUE:
                self.posts.append((path, body))
                return 200, {}
            errors = _errors(body)
            if errors:
                self.refused.extend(errors)
                return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            self.events.append(Event(body["event_action"], body["dedup_key"], body))
            return 202, {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        on_call = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, answer = on_call._take(self.path, body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_args: object) -> None:
                """Stay quiet."""

        return Handler


def _errors(body: dict[str, Any]) -> list[str]:
    errors = []
    if body.get("routing_key") != ROUTING_KEY:
        errors.append("'routing_key' is not known")
    action = body.get("event_action")
    if action not in {"trigger", "acknowledge", "resolve"}:
        errors.append(f"'event_action' is {action!r}")
    if not body.get("dedup_key"):
        errors.append("'dedup_key' is missing")
    if action == "trigger":
        payload = body.get("payload") or {}
        if not 0 < len(payload.get("summary") or "") <= _MAX_SUMMARY:
            errors.append("'payload.summary' is missing or too long")
        if not payload.get("source"):
            errors.append("'payload.source' is missing")
        if payload.get("severity") not in _SEVERITIES:
            errors.append(f"'payload.severity' is {payload.get('severity')!r}")
    return errors
