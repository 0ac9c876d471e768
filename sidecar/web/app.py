"""The routes of the API. Each answers from the service's status or from the store, but one that takes announcements."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Final, Protocol

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from sidecar import __version__
from sidecar.core.custody.kept import AnyChain
from sidecar.core.errors import SidecarError
from sidecar.core.verdict.judge import Verdict
from sidecar.status import Status
from sidecar.store.custody_json import chain_json
from sidecar.store.public import incident_json
from sidecar.store.reader import IncidentReader
from sidecar.store.since import SinceError, parse_since
from sidecar.web.answers import JsonAnswer, problem, problems, status_json
from sidecar.web.hooks import HookDesk, add_hooks

_BEARER: Final = Depends(HTTPBearer(scheme_name="api", auto_error=False))
"""For the document; `sidecar.web.guard` asks for it where it is needed."""

_ASKED_WRONGLY: Final = problems({HTTPStatus.BAD_REQUEST: "A condition is not known, or has no such value."})
_UNKNOWN: Final = problems({HTTPStatus.NOT_FOUND: "Nothing goes by this name."})
_AMBIGUOUS: Final = problems({HTTPStatus.CONFLICT: "Several go by this name."})
_FAILING: Final = problems({HTTPStatus.SERVICE_UNAVAILABLE: "The store can't be read."})


class CustodySource(Protocol):
    """Who knows the chains of custody. Called in the event loop's thread."""

    def files(self, session: str) -> tuple[str, ...]:
        """The transcripts that go by this name."""

    async def chain(self, file: str) -> AnyChain:
        """The chain of that transcript, held against what it is now."""


class Wanted(BaseModel):
    """Which incidents are wanted. A misspelt condition is refused: ignored, it would give too many."""

    model_config = ConfigDict(extra="forbid")

    session: str | None = Field(None, description="A session file's path or name, a session key or the hash of one.")
    since: str | None = Field(None, description="A duration up to now such as 2h, or an ISO 8601 time.")
    verdict: Verdict | None = None
    limit: int = Field(100, ge=1, le=1000)


def create_app(
    status: Callable[[], Status],
    store: IncidentReader,
    clock: Callable[[], int] = time.time_ns,
    *,
    custody: CustodySource | None = None,
    hooks: HookDesk | None = None,
) -> FastAPI:
    """Make the API.

    Args:
        status: How the sidecar is. Called in the event loop's thread.
        store: Knows the incidents; called in other threads.
        clock: The time in nanoseconds since the epoch.
        custody: Knows the chains of custody; without it there is no such route.
        hooks: Takes the announcements of tools; None for no such route.
    """
    # Its pages of documentation would have the browser load scripts from elsewhere; the schema itself is served.
    app = FastAPI(
        title="openclaw-sidecar",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems({}),
    )
    _add_status(app, status)
    _add_incidents(app, store, clock)
    if custody is not None:
        _add_custody(app, custody)
    if hooks is not None:
        add_hooks(app, hooks)
    add_errors(app)
    return app


def _add_status(app: FastAPI, status: Callable[[], Status]) -> None:
    @app.get("/v1/status", name="status", dependencies=[_BEARER])
    async def whole() -> JsonAnswer:
        """What the sidecar says of itself, with what an operator should mend."""
        return JsonAnswer(status_json(status()))


def _add_incidents(app: FastAPI, store: IncidentReader, clock: Callable[[], int]) -> None:
    # Plain functions: FastAPI runs them in threads, so that reading the disk does not hold up the event loop.
    @app.get("/v1/incidents", responses=_ASKED_WRONGLY | _FAILING, dependencies=[_BEARER])
    def incidents(wanted: Annotated[Wanted, Query()]) -> JsonAnswer:
        """Incidents that meet every condition given, newest first."""
        since_ns = None if wanted.since is None else parse_since(wanted.since, clock())
        found = store.find(wanted.session, since_ns, wanted.verdict, wanted.limit)
        return JsonAnswer({"incidents": [incident_json(stored) for stored in found]})

    @app.get("/v1/incidents/{incident_id}", responses=_UNKNOWN | _FAILING, dependencies=[_BEARER])
    def incident(incident_id: str) -> JsonAnswer:
        """One incident with its timeline."""
        stored = store.get(incident_id)
        if stored is None:
            return problem(HTTPStatus.NOT_FOUND, f"there is no incident {incident_id}; /v1/incidents lists those kept")
        return JsonAnswer(incident_json(stored))


def _add_custody(app: FastAPI, custody: CustodySource) -> None:
    @app.get("/v1/custody", responses=_ASKED_WRONGLY | _UNKNOWN | _AMBIGUOUS, dependencies=[_BEARER])
    async def chain(
        session: Annotated[str, Query(description="A session file's path or name, a session key or the hash of one.")],
    ) -> JsonAnswer:
        """The chain of custody of one transcript: its ranges with their writers, held against what it is now."""
        files = custody.files(session)
        if not files:
            return problem(HTTPStatus.NOT_FOUND, f"no session is known by the name {session}")
        if len(files) > 1:
            return problem(HTTPStatus.CONFLICT, f"{session} may be any of {', '.join(files[:5])}: give the path")
        return JsonAnswer(chain_json(await custody.chain(files[0])))


def add_errors(app: FastAPI) -> None:
    """Answer every error in the form of RFC 9457."""

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JsonAnswer:
        answer = problem(HTTPStatus(error.status_code), str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    async def bad_query(_request: Request, error: RequestValidationError) -> JsonAnswer:
        wrong = (f"{'.'.join(str(part) for part in e['loc'][1:])}: {e['msg']}" for e in error.errors())
        return problem(HTTPStatus.BAD_REQUEST, "; ".join(wrong))

    @app.exception_handler(SinceError)
    async def bad_time(_request: Request, error: SinceError) -> JsonAnswer:
        return problem(HTTPStatus.BAD_REQUEST, f"since: {error}")

    @app.exception_handler(SidecarError)
    async def failing(_request: Request, error: SidecarError) -> JsonAnswer:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
