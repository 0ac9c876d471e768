"""The other end of a channel: Telegram's Bot API, as far as the gateway's own Telegram channel speaks to it.

A fake, because the real one is an outside service. Everything on the gateway's side of it is the published channel.
"""

import asyncio
import time
from itertools import count
from typing import Any, Final

from fastapi import Request
from fastapi.responses import JSONResponse

from sidecar.demo.loopback import LoopbackServer

TOKEN: Final = "1:fake"
BOT: Final = {"id": 1, "is_bot": True, "first_name": "Rig", "username": "rig_bot"}
PERSON_ID: Final = 4711
PERSON: Final = {"id": PERSON_ID, "is_bot": False, "first_name": "Pat"}
GROUP_ID: Final = -1001234567
LONGEST_POLL_SECONDS: Final = 5.0


class BotApi(LoopbackServer):
    """Hands the gateway what a person writes, and keeps what the gateway sends to that person."""

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.sent: list[dict[str, Any]] = []
        self._updates: list[dict[str, Any]] = []
        self._numbers = count(1)
        self._changed = asyncio.Condition()

    def settings(self) -> dict[str, Any]:
        """What to lay over a gateway's configuration for it to use this."""
        telegram = {
            "enabled": True,
            "botToken": TOKEN,
            "apiRoot": f"http://{self.address}",
            "dmPolicy": "open",
            "allowFrom": ["*"],
            "groupPolicy": "open",
            "groups": {"*": {"requireMention": False}},
        }
        return {"plugins": {"enabled": True, "allow": ["telegram"]}, "channels": {"telegram": telegram}}

    async def write(self, text: str, chat: int = PERSON_ID) -> None:
        """A person writes to the bot, or to a group that it is in."""
        number = next(self._numbers)
        entities = [{"type": "bot_command", "offset": 0, "length": len(text)}] if text.startswith("/") else []
        message = {"message_id": number, "date": int(time.time()), "chat": _chat(chat), "from": PERSON, "text": text}
        async with self._changed:
            self._updates.append({"update_id": number, "message": {**message, "entities": entities}})
            self._changed.notify_all()

    async def wait_sent(self, text: str, timeout_seconds: float = 30.0) -> None:
        """Wait until the gateway has sent a message with a text in it."""
        async with asyncio.timeout(timeout_seconds), self._changed:
            await self._changed.wait_for(lambda: any(text in str(message.get("text")) for message in self.sent))

    async def _serve(self, request: Request) -> JSONResponse:
        params = await request.json() if await request.body() else {}
        result = await self._answer(request.url.path.rpartition("/")[2], params)
        return JSONResponse({"ok": True, "result": result})

    async def _answer(self, method: str, params: dict[str, Any]) -> object:
        if method == "getMe":
            return BOT
        if method == "getUpdates":
            return await self._poll(int(params.get("offset") or 0), float(params.get("timeout") or 0))
        if method == "sendMessage":
            number = next(self._numbers)
            async with self._changed:
                self.sent.append(params)
                self._changed.notify_all()
            chat = _chat(int(params["chat_id"]))
            return {"message_id": number, "date": int(time.time()), "chat": chat, "from": BOT, "text": params["text"]}
        if method == "getChat":
            return _chat(int(params["chat_id"]))
        return True

    async def _poll(self, offset: int, timeout_seconds: float) -> list[dict[str, Any]]:
        def due() -> list[dict[str, Any]]:
            return [update for update in self._updates if update["update_id"] >= offset]

        try:
            async with asyncio.timeout(min(timeout_seconds, LONGEST_POLL_SECONDS)), self._changed:
                return await self._changed.wait_for(due)
        except TimeoutError:
            return []


def _chat(number: int) -> dict[str, Any]:
    return {"id": number, "type": "private" if number > 0 else "supergroup", "title": "Rig"}
