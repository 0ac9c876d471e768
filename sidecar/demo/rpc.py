"""The gateway's RPC over its WebSocket, as an operator's client speaks it."""

import asyncio
import json
import uuid
from contextlib import suppress
from itertools import count
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from sidecar.demo.errors import ConnectionLostError, RpcError
from sidecar.demo.running import Running

PROTOCOL: Final = {"minProtocol": 3, "maxProtocol": 4}
CLIENT: Final = {"id": "gateway-client", "version": "1", "platform": "linux", "mode": "backend"}
SCOPES: Final = ("operator.admin", "operator.read", "operator.write")
FINAL_STATES: Final = frozenset({"final", "error", "aborted"})


class GatewayClient(Running):
    """One connection to a gateway on loopback.

    Args:
        url: Address of the gateway's WebSocket.
        token: What it authenticates with.
        timeout_seconds: How long any one answer may take.
    """

    def __init__(self, url: str, token: str, timeout_seconds: float = 60.0) -> None:
        self._url = url
        self._token = token
        self._timeout_seconds = timeout_seconds
        self._numbers = count(1)
        self._awaited: dict[str, asyncio.Future[dict[str, Any]]] = {}
        """By the number of a call, or the id of a run."""
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and authenticate."""
        self._socket = await connect(self._url, proxy=None, max_size=None, open_timeout=self._timeout_seconds)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                while json.loads(await self._socket.recv()).get("event") != "connect.challenge":
                    pass
            self._reader = asyncio.get_running_loop().create_task(self._read(self._socket))
            client = {"client": CLIENT, "role": "operator", "scopes": SCOPES, "auth": {"token": self._token}}
            await self.call("connect", {**PROTOCOL, **client, "caps": [], "commands": [], "permissions": {}})
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Disconnect."""
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
        if self._socket is not None:
            await self._socket.close()

    async def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Call a method and return the payload of its answer.

        Raises:
            RpcError: The gateway refused.
            ConnectionLostError: The connection ended before the answer.
            TimeoutError: No answer in time.
        """
        if self._socket is None:
            raise ConnectionLostError("it was never made")
        number = str(next(self._numbers))
        self._awaited[number] = asyncio.get_running_loop().create_future()
        try:
            await self._socket.send(json.dumps({"type": "req", "id": number, "method": method, "params": params}))
        except ConnectionClosed as error:
            del self._awaited[number]
            raise ConnectionLostError(str(error)) from error
        frame = await self._arrival(number)
        if not frame.get("ok"):
            refusal = frame.get("error") or {}
            raise RpcError(method, str(refusal.get("code")), str(refusal.get("message")))
        payload: dict[str, Any] = frame.get("payload") or {}
        return payload

    async def chat_inject(self, session_key: str, message: str, label: str = "cron") -> str:
        """Have the gateway append a note to a session; it is in the file when this returns.

        Returns:
            The id of its record.
        """
        params = {"sessionKey": session_key, "message": message, "label": label}
        return str((await self.call("chat.inject", params))["messageId"])

    async def chat_send(self, session_key: str, message: str) -> str:
        """Send what a person types in a chat window; returns at once.

        Returns:
            The id of the run, for `chat_end`.
        """
        run_id = str(uuid.uuid4())
        self._awaited[run_id] = asyncio.get_running_loop().create_future()
        await self.call("chat.send", {"sessionKey": session_key, "message": message, "idempotencyKey": run_id})
        return run_id

    async def chat_end(self, run_id: str) -> dict[str, Any]:
        """Wait until a run of `chat_send` has ended; what it writes to the session is in the file then.

        Returns:
            What the gateway says of its end: ``state`` (final, error or aborted), with an ``errorMessage`` if there is
            one, and the ``message`` that it left.

        Raises:
            ConnectionLostError: The connection ended first.
            TimeoutError: It has not ended in time.
        """
        payload: dict[str, Any] = (await self._arrival(run_id))["payload"]
        return payload

    async def chat_history(self, session_key: str) -> list[dict[str, Any]]:
        """The messages of a session as the gateway shows them, oldest first."""
        history = await self.call("chat.history", {"sessionKey": session_key})
        messages: list[dict[str, Any]] = history["messages"]
        return messages

    async def _read(self, socket: ClientConnection) -> None:
        reason = "it was closed"
        try:
            async for text in socket:
                self._take(json.loads(text))
        except ConnectionClosed as error:
            reason = str(error)
        finally:
            for waiting in self._awaited.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionLostError(reason))
                    waiting.exception()  # marks it as seen: nobody may be waiting for it

    def _take(self, frame: dict[str, Any]) -> None:
        payload = frame.get("payload") or {}
        ended = frame.get("event") == "chat" and payload.get("state") in FINAL_STATES
        waiting = self._awaited.get(payload["runId"] if ended else str(frame.get("id")))
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    async def _arrival(self, name: str) -> dict[str, Any]:
        """The frame that is waited for."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._awaited[name]
        finally:
            del self._awaited[name]
