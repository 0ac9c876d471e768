"""Who is paged: an HTTP server that receives what Apprise posts to a ``json://`` address."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from sidecar.demo.loopback import LoopbackServer


@dataclass(frozen=True, slots=True)
class Page:
    """One page that was received and acknowledged.

    Attributes:
        title: Its subject.
        message: Its text.
        severity: What Apprise calls the type: info, success, warning or failure.
        body: The whole JSON body.
    """

    title: str
    message: str
    severity: str
    body: Mapping[str, Any]


class PageReceiver(LoopbackServer):
    """Records pages, and can be told to refuse some.

    Attributes:
        pages: All pages that were acknowledged, oldest first.
        attempts: How many requests came, the refused ones included.
    """

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.pages: list[Page] = []
        self.attempts = 0
        self._refuse = 0
        self._unread: asyncio.Queue[Page] = asyncio.Queue()

    @property
    def url(self) -> str:
        """The Apprise address to notify."""
        return f"json://{self.address}/"

    def refuse_next(self, count: int) -> None:
        """Answer the next requests with status 503."""
        self._refuse = count

    async def next_page(self, timeout_seconds: float = 60.0) -> Page:
        """Wait for the next page that has not been returned yet.

        Raises:
            TimeoutError: None came in time.
        """
        async with asyncio.timeout(timeout_seconds):
            return await self._unread.get()

    async def quiet_for(self, seconds: float) -> bool:
        """Watch for a while, and say whether no page came that has not been returned yet."""
        try:
            await self.next_page(seconds)
        except TimeoutError:
            return True
        return False

    async def _serve(self, request: Request) -> Response:
        self.attempts += 1
        if self._refuse > 0:
            self._refuse -= 1
            return Response("refused", 503)
        body = await request.json()
        page = Page(str(body.get("title", "")), str(body.get("message", "")), str(body.get("type", "")), body)
        self.pages.append(page)
        self._unread.put_nowait(page)
        return Response()
