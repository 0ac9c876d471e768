"""The shapes of the API's answers."""

import json
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import JSONResponse

from sidecar.status import Status
from sidecar.store.printable import clean_json
from sidecar.store.public import iso_utc


class JsonAnswer(JSONResponse):
    """JSON in ASCII: shown by a terminal, no text in it can move the cursor or reorder what is read."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - any JSON value
        """The body."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def status_json(status: Status) -> dict[str, Any]:
    """The whole status as JSON, encodable as UTF-8 whatever the names in it."""
    body: dict[str, Any] = clean_json(msgspec.to_builtins(status))
    return body | {"started_at": iso_utc(status.started_at_ns)}


def problem(status: HTTPStatus, detail: str) -> JsonAnswer:
    """An error in the form of RFC 9457."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return JsonAnswer(clean_json(body), status_code=status, media_type="application/problem+json")
