"""``POST /v1/hooks``: tools that can't be wrapped announce what they write to a session."""

from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sidecar.web.answers import JsonAnswer, problem, problems
from sidecar.web.guard import HOOKS_PATH, MAX_BODY_BYTES, Refused, is_bearer

MAX_RANGES: Final = 100
MAX_DETAIL: Final = 1000
"""Characters of a refusal, which may quote what it refuses."""

_COUNT: Final = (1 << 53) - 1


class _Strict(BaseModel):
    """A misspelt field is refused: what it says would be lost."""

    model_config = ConfigDict(extra="forbid", strict=True)


class HookRange(_Strict):
    """Bytes of the session file that the tool wrote."""

    offset: int = Field(ge=0, le=_COUNT)
    length: int = Field(ge=1, le=_COUNT)
    sha256: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        description="Their digest; the sidecar compares it with the file. Needed where old bytes are replaced.",
    )


class HookBegin(_Strict):
    """The tool is about to write."""

    phase: Literal["begin"]
    session: str = Field(
        min_length=1, max_length=4096, description="A session file's path, a session id, or a key as in sessions.json."
    )
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="Who writes: a word.")
    pid: int | None = Field(
        None,
        ge=1,
        le=(1 << 31) - 1,
        description="The writing process, if known. It is no proof: no rule with executables or uids matches by it.",
    )


class HookEnd(_Strict):
    """The tool has written."""

    phase: Literal["end"]
    hook: str = Field(min_length=1, max_length=64, description="As `begin` answered it.")
    ranges: list[HookRange] = Field(
        max_length=MAX_RANGES, description="What it wrote, by rising offset; [] for nothing."
    )


_BODY: Final[TypeAdapter[HookBegin | HookEnd]] = TypeAdapter(
    Annotated[HookBegin | HookEnd, Field(discriminator="phase")]
)


_BEARER: Final = Depends(HTTPBearer(scheme_name="hooks", auto_error=False))
"""For the document; the route looks for itself."""


class HookRefused(Refused):
    """A hook is not taken."""


class HookDesk(Protocol):
    """Who takes hooks. Called in the event loop's thread."""

    def token(self) -> str:
        """The secret that callers must know; read anew each time. Raises `HookRefused` when there is none."""

    def begin(self, begin: HookBegin) -> dict[str, Any]:
        """A write comes; the answer to the caller. Raises `HookRefused`."""

    def end(self, end: HookEnd) -> dict[str, Any]:
        """It has been made; the answer to the caller. Raises `HookRefused`."""

    def rejected(self, detail: str) -> None:
        """A call was refused."""


def add_hooks(app: FastAPI, desk: HookDesk) -> None:
    """Add the route."""
    body = {"content": {"application/json": {"schema": _whole(_BODY.json_schema())}}, "required": True}
    answers = problems(
        {
            HTTPStatus.BAD_REQUEST: "The body is no hook, or names no session.",
            HTTPStatus.UNAUTHORIZED: "The token is missing or wrong.",
            HTTPStatus.FORBIDDEN: "This sidecar has no token (`openclaw-sidecar hooks token` makes one), or its policy"
            " does not make the program a co-tenant (`openclaw-sidecar policy allow` does).",
            HTTPStatus.NOT_FOUND: "There is no such hook, or not any more.",
            HTTPStatus.CONFLICT: "The ranges are not what the file holds; what was written stays unexplained.",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
            HTTPStatus.TOO_MANY_REQUESTS: "Too many hooks have begun and not ended.",
        }
    )

    @app.post(HOOKS_PATH, openapi_extra={"requestBody": body}, responses=answers, dependencies=[_BEARER])
    async def hooks(request: Request) -> JsonAnswer:
        """Announce a write: `begin` before the first byte, `end` with the byte ranges after the last one."""
        try:
            _authenticate(request, desk.token())
            message = _parse(await _bounded(request))
            answer = desk.begin(message) if isinstance(message, HookBegin) else desk.end(message)
        except HookRefused as refused:
            desk.rejected(refused.detail)
            answered = problem(refused.status, refused.detail)
            if refused.status is HTTPStatus.UNAUTHORIZED:
                answered.headers["www-authenticate"] = "Bearer"
            return answered
        return JsonAnswer(answer)


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without references: those that pydantic makes point nowhere in the document of the API."""
    named = schema.pop("$defs", {})
    del schema["discriminator"]

    def resolved(part: Any) -> Any:  # noqa: ANN401 - any part of a schema
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            return resolved(named[name]) if name else {key: resolved(value) for key, value in part.items()}
        return [resolved(item) for item in part] if isinstance(part, list) else part

    whole: dict[str, Any] = resolved(schema)
    return whole


def _authenticate(request: Request, token: str) -> None:
    if not is_bearer(request.headers.get("authorization", "").encode("latin-1"), token):
        raise HookRefused(HTTPStatus.UNAUTHORIZED, "send the hooks token as `Authorization: Bearer TOKEN`")


async def _bounded(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HookRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body of at most {MAX_BODY_BYTES} bytes is taken")
    return bytes(body)


def _parse(body: bytes) -> HookBegin | HookEnd:
    try:
        return _BODY.validate_json(body)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}".strip(": ") for e in error.errors()[:4])
        raise HookRefused(HTTPStatus.BAD_REQUEST, wrong[:MAX_DETAIL]) from None
