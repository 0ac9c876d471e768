"""A slow model: an OpenAI-compatible server that answers when it is told to."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from sidecar.demo.errors import ToolMissingError
from sidecar.demo.loopback import LoopbackServer

MODEL_ID: Final = "slow"


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
    _response: asyncio.Future[Response | None] = field(repr=False)

    @property
    def traceparent(self) -> str:
        """The W3C trace context that came with the call; empty when none did."""
        return self.headers.get("traceparent", "")

    def answer(self, text: str) -> None:
        """Let the model answer; a call that has its answer already keeps it."""
        self._settle(self._spoken({"content": text}, "stop"))

    def call_tool(self, name: str, **arguments: object) -> None:
        """Let the model call a tool; the gateway comes back with its result in a call of its own.

        Raises:
            ToolMissingError: The gateway did not offer this tool.
        """
        offered = sorted(tool["function"]["name"] for tool in self.body.get("tools", []))
        if name not in offered:
            raise ToolMissingError(name, offered)
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"index": 0, "id": f"call_{self.number}", "type": "function", "function": function}
        self._settle(self._spoken({"content": None, "tool_calls": [call]}, "tool_calls"))

    def fail(self, status: int = 500, message: str = "the model failed") -> None:
        """Let the model fail with an HTTP status."""
        self._settle(JSONResponse({"error": {"message": message, "type": "server_error"}}, status))

    def mentions(self, text: str) -> bool:
        """Whether the conversation that the gateway sent contains a text."""
        return text in json.dumps(self.body.get("messages", []), ensure_ascii=False)

    def hang_up(self) -> None:
        """The gateway has given the call up."""
        self._settle(None)

    async def settled(self) -> Response | None:
        """Wait for the answer; None when the gateway hung up first."""
        return await asyncio.shield(self._response)

    def _settle(self, response: Response | None) -> None:
        if not self._response.done():
            self._response.set_result(response)

    def _spoken(self, message: dict[str, Any], finish_reason: str) -> Response:
        """An answer as the API has it: in chunks if the gateway asked for a stream, else whole."""
        spoken = {"role": "assistant", **message}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        head = {"id": f"chatcmpl-{self.number}", "created": int(time.time()), "model": MODEL_ID}
        if not self.body.get("stream"):
            choice = {"index": 0, "message": spoken, "finish_reason": finish_reason}
            return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        chunks = (
            {"choices": [{"index": 0, "delta": spoken, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]},
            {"choices": [], "usage": usage},
        )
        data = [*(json.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks), "[DONE]"]
        return Response("".join(f"data: {item}\n\n" for item in data), media_type="text/event-stream")


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
            return await call.settled() or Response()  # nobody is there to read it
        finally:
            disconnected.cancel()
