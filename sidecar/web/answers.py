"""The shapes of the API's answers."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import JSONResponse

from sidecar.status import Status
from sidecar.store.printable import clean_json
from sidecar.store.public import iso_utc

PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
"""The JSON Schema of what `problem` answers."""


def problems(meanings: Mapping[HTTPStatus, str]) -> dict[int | str, dict[str, Any]]:
    """What the API's document says of errors: those named, and all others."""
    content = {"application/problem+json": {"schema": PROBLEM}}
    said: dict[int | str, dict[str, Any]] = {
        status.value: {"description": meaning, "content": content} for status, meaning in meanings.items()
    }
    return said | {"default": {"description": "Any other error.", "content": content}}


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
