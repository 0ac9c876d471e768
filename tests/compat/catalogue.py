"""From the name of a release to its measurement."""

import asyncio
from typing import Final

from sidecar.demo.packages import default_cache_dir, ensure_gateway
from tests.compat.measure import Measured, measure
from tests.compat.packs import ensure_release, ensure_session_manager

NODE_FROM: Final = "2026.5.18"
"""The installed gateway whose Node runs every release here."""


async def measure_release(version: str) -> Measured:
    """Fetch what is missing, and measure.

    Raises:
        NpmMissingError: Something is not in the cache and there is no npm.
        NpmFailedError: npm failed.
    """
    cache_dir = default_cache_dir()
    release = await asyncio.to_thread(ensure_release, version, cache_dir)
    manager = await asyncio.to_thread(ensure_session_manager, release, cache_dir)
    gateway = await asyncio.to_thread(ensure_gateway, NODE_FROM, cache_dir, lambda _line: None)
    return await measure(release, manager, gateway.node)
