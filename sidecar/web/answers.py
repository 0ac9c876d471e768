"""The shapes of the API's answers."""

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.responses import JSONResponse

from sidecar.status import Status
from sidecar.store.printable import clean_json
from sidecar.store.public import iso_utc


def status_json(status: Status) -> dict[str, Any]:
    """The whole status as JSON, encodable as UTF-8 whatever the names in it."""
    body: dict[str, Any] = clean_json(msgspec.to_builtins(status))
    return body | {"started_at": iso_utc(status.started_at_ns)}


def problem(status: HTTPStatus, detail: str) -> JSONResponse:
    """An error in the form of RFC 9457."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    return JSONResponse(clean_json(body), status_code=status, media_type="application/problem+json")
