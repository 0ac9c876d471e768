"""A real gateway together with its model and an operator's client."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

from sidecar.demo.gateway import Gateway, TurnResult
from sidecar.demo.model import SlowModel
from sidecar.demo.packages import GatewayPackage
from sidecar.demo.rpc import GatewayClient
from sidecar.demo.running import Running
from sidecar.demo.window import OpenWindow, open_window

WARM_UP_KEY = "agent:main:warm-up"
WARM_UP_SECONDS = 240.0
"""The first turn of a gateway takes seconds, on a busy machine many."""


class Rig(Running):
    """Everything that a test or a demonstration needs of one gateway.

    Args:
        package: The release to run.
        work_dir: Gets all files of the gateway.
        env: Added to the gateway's environment, for example NODE_OPTIONS.
        settings: Laid over the gateway's configuration.
        prefix: What starts the gateway, ahead of its own command.

    Attributes:
        gateway: The gateway.
        model: Its model.
        client: An operator connected to it.
    """

    gateway: Gateway
    model: SlowModel
    client: GatewayClient

    def __init__(
        self,
        package: GatewayPackage,
        work_dir: Path,
        env: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.package = package
        self.prefix = tuple(prefix)
        self.work_dir = work_dir
        self.env = dict(env or {})
        self.settings = dict(settings or {})
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Start model and gateway, connect, and take the first turn, which alone costs several seconds.

        Raises:
            StartError: The gateway did not become ready.
        """
        try:
            self.model = await self._stack.enter_async_context(SlowModel())
            where = (self.package, self.work_dir, self.model.base_url)
            gateway = Gateway(*where, self.env, self.settings, prefix=self.prefix)
            self.gateway = await self._stack.enter_async_context(gateway)
            self.client = await self._stack.enter_async_context(GatewayClient(gateway.url, gateway.token))
            async with open_window(self.gateway, self.model, WARM_UP_KEY, "Good morning.", WARM_UP_SECONDS) as window:
                await window.close("Good morning.")
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Disconnect and stop gateway and model."""
        await self._stack.aclose()

    async def say(self, session_key: str, text: str = "Good morning.", answer: str = "Good morning.") -> TurnResult:
        """Take a turn with nothing in its window. A new session has a file after it, but not before."""
        async with self.window(session_key, text) as window:
            return await window.close(answer)

    def window(self, session_key: str, text: str = "What is new?") -> AbstractAsyncContextManager[OpenWindow]:
        """Start a turn and hold its model call open; see `open_window`."""
        return open_window(self.gateway, self.model, session_key, text)
