"""The route ``POST /v1/hooks``: who may call it, what it takes, what it answers."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest

from sidecar.store.incidents import IncidentStore
from sidecar.web.app import create_app
from sidecar.web.guard import MAX_BODY_BYTES
from sidecar.web.hooks import HookBegin, HookEnd, HookRefused
from tests.web.conftest import Service, serving

TOKEN = "t" * 43
BEGIN = {"phase": "begin", "session": "abc", "name": "sync"}
END = {"phase": "end", "hook": "0a1b", "ranges": [{"offset": 0, "length": 5}]}


@dataclass
class Desk:
    """Remembers what it was told."""

    secret: str | None = TOKEN
    told: list[HookBegin | HookEnd] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def token(self) -> str:
        if self.secret is None:
            raise HookRefused(HTTPStatus.FORBIDDEN, "hooks are off")
        return self.secret

    def begin(self, begin: HookBegin) -> dict[str, Any]:
        self.told.append(begin)
        return {"hook": "0a1b"}

    def end(self, end: HookEnd) -> dict[str, Any]:
        self.told.append(end)
        return {"ranges": []}

    def rejected(self, detail: str) -> None:
        self.refused.append(detail)


@dataclass
class Caller:
    """Calls the real server."""

    address: str

    def __call__(self, body: object, token: str | None = TOKEN, **headers: str) -> tuple[int, Any, dict[str, str]]:
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.address, timeout=20)
        try:
            connection.request("POST", "/v1/hooks", sent, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def call(desk: Desk, store: IncidentStore) -> Iterator[Caller]:
    with serving(create_app(Service().status, store, hooks=desk)) as address:
        yield Caller(address)


def test_begin_and_end_reach_the_desk(call: Caller, desk: Desk) -> None:
    assert call(BEGIN)[:2] == (200, {"hook": "0a1b"})
    assert call(END)[:2] == (200, {"ranges": []})
    assert [type(message) for message in desk.told] == [HookBegin, HookEnd]


@pytest.mark.parametrize("token", [None, "", TOKEN[:-1], TOKEN + "t", "x" * 43, "ü"])
def test_without_the_token_nothing_is_taken(call: Caller, desk: Desk, token: str | None) -> None:
    headers = {} if token != "ü" else {"authorization": "Bearer \xfc"}
    status, body, answered = call(BEGIN, None if token == "ü" else token, **headers)

    assert (status, answered["www-authenticate"]) == (401, "Bearer")
    assert answered["content-type"] == "application/problem+json"
    assert "Authorization" in body["detail"]
    assert TOKEN not in json.dumps(body)
    assert (desk.told, desk.refused) == ([], [body["detail"]])


@pytest.mark.parametrize("kind", ["Basic", "Token", ""])
def test_the_token_in_another_form_is_none(call: Caller, kind: str) -> None:
    assert call(BEGIN, None, authorization=f"{kind} {TOKEN}".strip())[0] == 401


def test_without_a_token_of_its_own_it_takes_nothing_whatever_is_sent(call: Caller, desk: Desk) -> None:
    desk.secret = None
    assert [call(BEGIN, token)[0] for token in (None, "", TOKEN)] == [403, 403, 403]
    assert desk.told == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "Invalid JSON"),
        (b"{", "Invalid JSON"),
        (b"\xff", "JSON"),
        ([], "object"),
        ({}, "phase"),
        (BEGIN | {"phase": "middle"}, "phase"),
        ({"phase": "begin", "name": "x"}, "session: Field required"),
        (BEGIN | {"name": "two words"}, "name"),
        (BEGIN | {"name": "x\n"}, "name"),
        (BEGIN | {"pid": "7"}, "pid"),
        (BEGIN | {"pid": 0}, "pid"),
        (BEGIN | {"sesion": "x"}, "sesion: Extra inputs"),
        (END | {"ranges": [{"offset": -1, "length": 5}]}, "ranges.0.offset"),
        (END | {"ranges": [{"offset": 0, "length": 0}]}, "ranges.0.length"),
        (END | {"ranges": [{"offset": 0, "length": 1.5}]}, "ranges.0.length"),
        (END | {"ranges": [{"offset": 0, "length": 1, "sha256": "zz"}]}, "ranges.0.sha256"),
        (END | {"ranges": [{"offset": n, "length": 1} for n in range(101)]}, "ranges"),
    ],
)
def test_a_body_that_is_no_hook_is_refused_with_the_place(call: Caller, desk: Desk, body: object, why: str) -> None:
    status, answered, _ = call(body)

    assert status == 400
    assert why in answered["detail"]
    assert desk.told == []


def test_a_body_that_is_too_large_is_not_read_to_its_end(call: Caller, desk: Desk) -> None:
    status, answered, _ = call(b" " * (MAX_BODY_BYTES + 1))

    assert (status, desk.told) == (413, [])
    assert str(MAX_BODY_BYTES) in answered["detail"]


def test_the_schema_has_the_route(desk: Desk, store: IncidentStore) -> None:
    route = create_app(Service().status, store, hooks=desk).openapi()["paths"]["/v1/hooks"]["post"]

    assert {"401", "403", "404", "409", "413", "429"} <= set(route["responses"])
    schema = json.dumps(route["requestBody"]["content"]["application/json"]["schema"])
    assert all(name in schema for name in ("HookBegin", "HookEnd", "HookRange", "sha256"))
