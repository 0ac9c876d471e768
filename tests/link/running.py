"""Runs tests that are coroutines, each on an event loop of its own. The conftest of a room that has some imports it."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Final

import pytest

TEST_SECONDS: Final = 90.0
"""What must come takes milliseconds; this is when a test gives up."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test; an exception that nobody took fails it."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    untaken: list[str] = []

    async def limited() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: untaken.append(str(context)))
        async with asyncio.timeout(TEST_SECONDS):
            await pyfuncitem.obj(**arguments)

    asyncio.run(limited())
    assert untaken == []
    return True


async def until(condition: Callable[[], object]) -> None:
    """Wait for what announces itself to nobody."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.002)
