"""A slow model: an OpenAI-compatible server that answers when it is told to."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from fastapi.responses import JSONResponse, Response

from sidecar.demo.errors import ToolMissingError
from sidecar.demo.loopback import LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

MODEL_ID: Final = "slow"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called, with its arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is answered with: text, tools to call, or the status of a failure."""

    text: str
    status: int = 200
    tools: tuple[ToolCall, ...] = ()

    @property
    def finish_reason(self) -> str:
        """Why the model stops, as the API has it."""
        return "tool_calls" if self.tools else "stop"


@dataclass(frozen=True, slots=True, eq=False)
class ModelCall:
    """One call that the gateway has made and that waits for its answer.

    Attributes:
        number: 1 for the first call of the model's life.
        headers: The request's headers, names in lower case.
        body: The request's JSON body.
    """

    number: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    _answer: asyncio.Future[Answer | None] = field(repr=False)

    @property
    def traceparent(self) -> str:
        """The W3C trace context that came with the call; empty when none did."""
        return self.headers.get("traceparent", "")

    def answer(self, text: str) -> None:
        """Let the model answer; a call that has its answer already keeps it."""
        self._settle(Answer(text))

    def call_tool(self, name: str, **arguments: object) -> None:
        """Let the model call a tool; the gateway comes back with its result in a call of its own.

        Raises:
            ToolMissingError: The gateway did not offer this tool.
        """
        offered = sorted(tool["function"]["name"] for tool in self.body.get("tools", []))
        if name not in offered:
            raise ToolMissingError(name, offered)
        self._settle(Answer("", tools=(ToolCall(name, arguments),)))

    def fail(self, status: int = 500, message: str = "the model failed") -> None:
        """Let the model fail with an HTTP status."""
        self._settle(Answer(message, status))

    def mentions(self, text: str) -> bool:
        """Whether the conversation that the gateway sent contains a text."""
        return text in json.dumps(self.body.get("messages", []), ensure_ascii=False)

    def hang_up(self) -> None:
        """The gateway has given the call up."""
        self._settle(None)

    async def settled(self) -> Answer | None:
        """Wait for the answer; None when the gateway hung up first."""
        return await asyncio.shield(self._answer)

    def _settle(self, answer: Answer | None) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)


class SlowModel(LoopbackServer):
    """Model calls stay open until a test, or a delay, answers them.

    Args:
        answer_after_seconds: Answer each call by itself after this time; None waits for `ModelCall.answer`.
    """

    def __init__(self, answer_after_seconds: float | None = None) -> None:
        super().__init__(self._serve)
        self.answer_after_seconds = answer_after_seconds
        self._numbers = count(1)
        self._unclaimed: list[ModelCall] = []
        self._arrived = asyncio.Condition()

    @property
    def base_url(self) -> str:
        """What to configure as the provider's address."""
        return f"http://{self.address}/v1"

    async def next_call(self, mentioning: str = "", timeout_seconds: float = 60.0) -> ModelCall:
        """Wait for a call that nobody has claimed yet, and claim it.

        Args:
            mentioning: Only a call whose conversation contains this; tells the calls of concurrent turns apart.
            timeout_seconds: How long to wait.

        Raises:
            TimeoutError: None came in time.
        """
        async with asyncio.timeout(timeout_seconds), self._arrived:
            while not (matching := [call for call in self._unclaimed if call.mentions(mentioning)]):
                await self._arrived.wait()
            self._unclaimed.remove(matching[0])
            return matching[0]

    async def _serve(self, request: Request) -> Response:
        if request.method != "POST" or not request.url.path.endswith("/chat/completions"):
            return JSONResponse({"error": {"message": "no such endpoint"}}, 404)
        loop = asyncio.get_running_loop()
        call = ModelCall(next(self._numbers), request.headers, await request.json(), loop.create_future())
        if self.answer_after_seconds is not None:
            loop.call_later(self.answer_after_seconds, call.answer, f"Answer {call.number}.")
        async with self._arrived:
            self._unclaimed.append(call)
            self._arrived.notify_all()
        disconnected = asyncio.ensure_future(request.receive())
        disconnected.add_done_callback(lambda _: call.hang_up())
        try:
            return _reply(call, await call.settled())
        finally:
            disconnected.cancel()


def _reply(call: ModelCall, answer: Answer | None) -> Response:
    if answer is None:
        return Response()  # nobody is there to read it
    if answer.status != 200:  # noqa: PLR2004 - the HTTP status itself
        return JSONResponse({"error": {"message": answer.text, "type": "server_error"}}, answer.status)
    if call.body.get("stream"):
        data = [*(json.dumps(chunk) for chunk in _chunks(call, answer)), "[DONE]"]
        return Response("".join(f"data: {item}\n\n" for item in data), media_type="text/event-stream")
    choice = {"index": 0, "message": _message(call, answer), "finish_reason": answer.finish_reason}
    return JSONResponse({**_head(call, "chat.completion"), "choices": [choice], "usage": _usage()})


def _chunks(call: ModelCall, answer: Answer) -> tuple[dict[str, Any], ...]:
    head = _head(call, "chat.completion.chunk")
    return (
        {**head, "choices": [{"index": 0, "delta": _message(call, answer), "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]},
        {**head, "choices": [], "usage": _usage()},
    )


def _message(call: ModelCall, answer: Answer) -> dict[str, Any]:
    if not answer.tools:
        return {"role": "assistant", "content": answer.text}
    calls = [
        {
            "index": index,
            "id": f"call_{call.number}_{index}",
            "type": "function",
            "function": {"name": tool.name, "arguments": json.dumps(tool.arguments)},
        }
        for index, tool in enumerate(answer.tools)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _head(call: ModelCall, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{call.number}", "object": kind, "created": int(time.time()), "model": MODEL_ID}


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
