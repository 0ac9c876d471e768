"""A slow model: an OpenAI-compatible server that answers when it is told to."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Self

from sidecar.demo.errors import ToolMissingError
from sidecar.demo.loopback import HOST, LoopbackServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from sidecar.demo.loopback import Exchange

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
        hung_up: Set when the gateway gave the call up.
    """

    number: int
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    hung_up: asyncio.Event
    _answer: asyncio.Future[Answer] = field(repr=False)

    @property
    def traceparent(self) -> str:
        """The W3C trace context that came with the call; empty when none did."""
        return self.headers.get("traceparent", "")

    @property
    def answered(self) -> bool:
        """Whether it has been told its answer."""
        return self._answer.done()

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

    async def settled(self) -> Answer | None:
        """Wait for the answer; None when the gateway hung up first."""
        hang_up = asyncio.get_running_loop().create_task(self.hung_up.wait())
        waiting: set[asyncio.Future[Any]] = {self._answer, hang_up}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hang_up.cancel()
        return self._answer.result() if self.answered else None

    def _settle(self, answer: Answer) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)


class SlowModel:
    """Model calls stay open until a test, or a delay, answers them.

    Args:
        answer_after_seconds: Answer each call by itself after this time; None waits for `ModelCall.answer`.
    """

    def __init__(self, answer_after_seconds: float | None = None) -> None:
        self.answer_after_seconds = answer_after_seconds
        self._server = LoopbackServer(self._serve)
        self._numbers = count(1)
        self._unclaimed: list[ModelCall] = []
        self._arrived = asyncio.Condition()

    @property
    def base_url(self) -> str:
        """What to configure as the provider's address."""
        return f"http://{HOST}:{self._server.port}/v1"

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop open calls and stop listening."""
        await self._server.__aexit__(exc_type, exc, traceback)

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

    async def _serve(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method != "POST" or not request.path.endswith("/chat/completions"):
            await exchange.reply(404, "application/json", b'{"error": {"message": "no such endpoint"}}')
            return
        loop = asyncio.get_running_loop()
        body = json.loads(request.body)
        call = ModelCall(next(self._numbers), request.headers, body, exchange.hung_up, loop.create_future())
        if self.answer_after_seconds is not None:
            loop.call_later(self.answer_after_seconds, call.answer, f"Answer {call.number}.")
        async with self._arrived:
            self._unclaimed.append(call)
            self._arrived.notify_all()
        answer = await call.settled()
        if answer is not None:
            await _reply(exchange, call, answer)


async def _reply(exchange: Exchange, call: ModelCall, answer: Answer) -> None:
    if answer.status != 200:  # noqa: PLR2004 - the HTTP status itself
        error = {"error": {"message": answer.text, "type": "server_error"}}
        await exchange.reply(answer.status, "application/json", json.dumps(error).encode())
    elif call.body.get("stream"):
        await exchange.start(200, "text/event-stream")
        for chunk in _chunks(call, answer):
            await exchange.send(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await exchange.send(b"data: [DONE]\n\n")
        await exchange.finish()
    else:
        choice = {"index": 0, "message": _message(call, answer), "finish_reason": answer.finish_reason}
        whole = {**_head(call, "chat.completion"), "choices": [choice], "usage": _usage()}
        await exchange.reply(200, "application/json", json.dumps(whole).encode())


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
